#include "ftp/ftp_disk.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/altstack.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "ftp/ftp_list.h"

/* One queue under one lock, held for some pointers' moves; what is done goes to a list without a
 * lock, and the eventfd is written only when that list was empty. So a trip costs little more than
 * the two wake-ups.
 *
 * A thread that takes the end of an upload takes its share of the other ends that wait, too, and
 * makes them safe as one group; one thread never does, so that there is somebody for all other
 * work. Measured on ext4 on a disk with a write cache: one thread that syncs all is bound by the
 * flushes, one for each file, whereas the kernel makes one flush of those that several threads ask
 * for at the same time. With 64 uploads of 100 KB waiting, 350 a second got safe with 1 thread, 330
 * with 2 (of which one syncs), 650 with 4, 1,380 with 8, 1,410 with 16; a bare loop on one thread
 * made 370 (bench_ftp_disk on a busy machine: good for the order, not for the digits). */

/* Of one group: what a session waits for when it comes first. */
#define GROUP_MAX 64
#define THREADS_MAX 16
/* A camera asks for the list of its folder, not for that of an archive. */
#define LIST_ENTRIES_MAX 20000
#define LIST_TEXT_MAX (4 * 1024 * 1024)

static struct metric finished = {.name = "snapshotd_ftp_uploads_finished_total",
                                 .kind = METRIC_COUNTER,
                                 .help = "Uploads that came to their end, safe or failed"};
static struct metric groups = {.name = "snapshotd_ftp_upload_groups_total",
                               .kind = METRIC_COUNTER,
                               .help = "Groups of uploads that were made safe together"};

struct queue {
    struct ftp_disk_job *first, *last;
    int count;
};

struct ftp_disk {
    int event_fd;
    _Atomic(struct ftp_disk_job *) done; /* the last that was done first */

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t work;
    struct queue waiting;   /* in order of arrival */
    int ends_waiting;       /* FTP_DISK_FINISH in `waiting` */
    int idle;               /* threads that wait for work */
    int ending, ending_max; /* threads that make uploads safe */
    int logins, logins_max; /* passwords being checked; the other threads are the cameras' */
    bool stopping;

    int thread_count;
    pthread_t threads[THREADS_MAX];
};

static int start_threads(struct ftp_disk *d, int threads, struct err *e);
static void *thread_main(void *arg);
static struct ftp_disk_job *take(struct ftp_disk *d);
static void work_on(struct ftp_disk *d, struct ftp_disk_job *job);
static void do_job(struct ftp_disk *d, struct ftp_disk_job *job);
static void end_uploads(struct ftp_disk *d, struct ftp_disk_job **jobs, int count);
static int receive_last(struct ftp_disk_job *job);
static void finish_group(struct ftp_disk *d, struct ftp_disk_job **jobs, int count);
static void complete_end(struct ftp_disk *d, struct ftp_disk_job *job);
static void complete(struct ftp_disk *d, struct ftp_disk_job *job);
static int do_file(struct ftp_disk_job *job);
static int do_list(struct ftp_disk_job *job);
static int do_open(struct ftp_disk_job *job);
static int do_read(struct ftp_disk_job *job);
static int do_login(struct ftp_disk_job *job);

/* ---- life ---- */

int ftp_disk_start(int threads, struct ftp_disk **ret, struct err *e)
{
    struct ftp_disk *d = xcalloc(1, sizeof(*d));
    (void)pthread_mutex_init(&d->lock, NULL); /* cannot fail without attributes */
    (void)pthread_cond_init(&d->work, NULL);
    threads = MAX(1, MIN(threads, THREADS_MAX));
    d->ending_max = MAX(1, threads - 1);
    d->logins_max = MAX(1, threads / 2);
    d->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = d->event_fd < 0 ? err_errno(e, -errno, "eventfd") : 0;
    if (r == 0)
        r = start_threads(d, threads, e);
    if (r < 0) {
        ftp_disk_free(d);
        return err_prefix(e, "FTP disk threads"), r;
    }
    *ret = d;
    return 0;
}

/* Signals are the main loop's. And a write beyond RLIMIT_FSIZE must be an error of one upload, not
 * the end of the process. */
static int start_threads(struct ftp_disk *d, int threads, struct err *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = 0;
    for (; r == 0 && d->thread_count < threads; d->thread_count += r == 0)
        r = pthread_create(&d->threads[d->thread_count], NULL, thread_main, d);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r != 0 ? err_errno(e, -r, "thread %d of %d", d->thread_count + 1, threads) : 0;
}

void ftp_disk_stop(struct ftp_disk *d)
{
    (void)pthread_mutex_lock(&d->lock);
    d->stopping = true;
    (void)pthread_cond_broadcast(&d->work);
    (void)pthread_mutex_unlock(&d->lock);
    for (; d->thread_count > 0; d->thread_count--)
        (void)pthread_join(d->threads[d->thread_count - 1], NULL); /* ours, and not ourselves */
}

void ftp_disk_free(struct ftp_disk *d)
{
    if (d == NULL)
        return;
    ftp_disk_stop(d);
    if (d->event_fd >= 0)
        (void)close(d->event_fd);         /* a counter */
    (void)pthread_cond_destroy(&d->work); /* nobody waits any more */
    (void)pthread_mutex_destroy(&d->lock);
    free(d);
}

int ftp_disk_fd(const struct ftp_disk *d)
{
    return d->event_fd;
}

void ftp_disk_register_metrics(void)
{
    metric_register(&finished);
    metric_register(&groups);
}

/* ---- in and out ---- */

static void push(struct queue *q, struct ftp_disk_job *job)
{
    job->next = NULL;
    if (q->last != NULL)
        q->last->next = job;
    else
        q->first = job;
    q->last = job;
    q->count++;
}

static void unlink_job(struct queue *q, struct ftp_disk_job *before, struct ftp_disk_job *job)
{
    if (before != NULL)
        before->next = job->next;
    else
        q->first = job->next;
    if (q->last == job)
        q->last = before;
    q->count--;
    job->next = NULL;
}

void ftp_disk_submit(struct ftp_disk *d, struct ftp_disk_job *job)
{
    err_clear(&job->error);
    job->code = 0;
    (void)pthread_mutex_lock(&d->lock);
    assert(!d->stopping);
    push(&d->waiting, job);
    d->ends_waiting += job->kind == FTP_DISK_FINISH;
    bool wake = d->idle > 0;
    (void)pthread_mutex_unlock(&d->lock);
    if (wake)
        (void)pthread_cond_signal(&d->work);
}

struct ftp_disk_job *ftp_disk_collect(struct ftp_disk *d)
{
    uint64_t count;
    (void)!read(d->event_fd, &count, sizeof(count)); /* EAGAIN: nothing new, and that is fine */
    struct ftp_disk_job *job = atomic_exchange(&d->done, NULL), *list = NULL;
    while (job != NULL) { /* back into the order in which they were done */
        struct ftp_disk_job *next = job->next;
        job->next = list;
        list = job;
        job = next;
    }
    return list;
}

static void complete(struct ftp_disk *d, struct ftp_disk_job *job)
{
    struct ftp_disk_job *head = atomic_load(&d->done);
    do {
        job->next = head;
    } while (!atomic_compare_exchange_weak(&d->done, &head, job));
    uint64_t one = 1;
    if (head == NULL) /* else it has been told, and not yet looked */
        (void)!write(d->event_fd, &one, sizeof(one)); /* EAGAIN: the counter is full, so it knows */
}

/* ---- the threads ---- */

static void *thread_main(void *arg)
{
    struct ftp_disk *d = arg;
    altstack_use();
    (void)pthread_setname_np(pthread_self(), "ftp.disk"); /* short enough */
    (void)pthread_mutex_lock(&d->lock);
    while (true) {
        struct ftp_disk_job *job = take(d);
        if (job != NULL) {
            work_on(d, job);
            continue;
        }
        if (d->stopping && d->waiting.first == NULL)
            break;
        d->idle++;
        (void)pthread_cond_wait(&d->work, &d->lock);
        d->idle--;
    }
    /* One that may not take what waits sees only now that there is nothing left. */
    (void)pthread_cond_broadcast(&d->work);
    (void)pthread_mutex_unlock(&d->lock);
    return NULL;
}

static bool may_take(const struct ftp_disk *d, const struct ftp_disk_job *job)
{
    return job->kind == FTP_DISK_LOGIN    ? d->logins < d->logins_max
           : job->kind == FTP_DISK_FINISH ? d->ending < d->ending_max
                                          : true;
}

/* The first job that may be done now. */
static struct ftp_disk_job *take(struct ftp_disk *d)
{
    struct ftp_disk_job *before = NULL, *job = d->waiting.first;
    while (job != NULL && !may_take(d, job)) {
        before = job;
        job = job->next;
    }
    if (job == NULL)
        return NULL;
    unlink_job(&d->waiting, before, job);
    d->logins += job->kind == FTP_DISK_LOGIN;
    d->ending += job->kind == FTP_DISK_FINISH;
    d->ends_waiting -= job->kind == FTP_DISK_FINISH;
    return job;
}

/* Besides `job`, which was taken, this thread's share of the other ends that wait. */
static int take_group(struct ftp_disk *d, struct ftp_disk_job *group[GROUP_MAX],
                      struct ftp_disk_job *job)
{
    int threads = d->ending_max - d->ending + 1, count = 1; /* that have none yet, and this one */
    int share = MIN((d->ends_waiting + threads) / threads, GROUP_MAX);
    struct ftp_disk_job *before = NULL, *next = d->waiting.first;
    group[0] = job;
    while (count < share && next != NULL) {
        struct ftp_disk_job *at = next;
        next = at->next;
        if (at->kind != FTP_DISK_FINISH) {
            before = at;
            continue;
        }
        unlink_job(&d->waiting, before, at);
        d->ends_waiting--;
        group[count++] = at;
    }
    return count;
}

/* With the lock held, which is given up meanwhile. */
static void work_on(struct ftp_disk *d, struct ftp_disk_job *job)
{
    enum ftp_disk_kind kind = job->kind; /* once completed it is not ours */
    struct ftp_disk_job *group[GROUP_MAX];
    int count = kind == FTP_DISK_FINISH ? take_group(d, group, job) : 0;
    (void)pthread_mutex_unlock(&d->lock);
    if (kind == FTP_DISK_FINISH)
        end_uploads(d, group, count);
    else
        do_job(d, job);
    (void)pthread_mutex_lock(&d->lock);
    d->logins -= kind == FTP_DISK_LOGIN;
    d->ending -= kind == FTP_DISK_FINISH;
    /* One that may be taken only now: we take one job ourselves, an idle thread another. */
    if ((kind == FTP_DISK_LOGIN || kind == FTP_DISK_FINISH) && d->idle > 0 && d->waiting.count > 1)
        (void)pthread_cond_signal(&d->work);
}

static void do_job(struct ftp_disk *d, struct ftp_disk_job *job)
{
    switch (job->kind) {
    case FTP_DISK_FILE:
        job->code = do_file(job);
        break;
    case FTP_DISK_LIST:
        job->code = do_list(job);
        break;
    case FTP_DISK_OPEN:
        job->code = do_open(job);
        break;
    case FTP_DISK_WRITE:
        job->code = ftp_upload_write(job->upload, job->block, job->block_size, &job->error);
        job->file = *ftp_upload_file(job->upload);
        break;
    case FTP_DISK_FINISH:
        break; /* in end_uploads() */
    case FTP_DISK_READ:
        job->code = do_read(job);
        break;
    case FTP_DISK_DROP:
        ftp_upload_close(STEAL(job->upload));
        break;
    case FTP_DISK_LOGIN:
        job->code = do_login(job);
        break;
    }
    complete(d, job);
}

/* ---- the end of uploads ---- */

/* Those that fail with their last bytes are told at once; so are those that nobody syncs. */
static void end_uploads(struct ftp_disk *d, struct ftp_disk_job **jobs, int count)
{
    int good = 0;
    for (int i = 0; i < count; i++) {
        struct ftp_disk_job *job = jobs[i];
        job->code = receive_last(job);
        if (job->code < 0)
            complete_end(d, job);
        else if (!ftp_upload_is_durable(job->upload))
            finish_group(d, &job, 1);
        else
            jobs[good++] = job;
    }
    if (good > 0)
        finish_group(d, jobs, good);
}

static int receive_last(struct ftp_disk_job *job)
{
    const struct ftp_file *file = ftp_upload_file(job->upload);
    int r = 0;
    if (job->block_size > 0)
        r = ftp_upload_write(job->upload, job->block, job->block_size, &job->error);
    if (r == 0 && job->check_end && ftp_upload_is_cut(job->upload))
        r = err_set(&job->error, -EBADMSG, ERR_NOW, "store %s: a JPEG without its end, %lld bytes",
                    file->name, (long long)file->size);
    return r;
}

static void finish_group(struct ftp_disk *d, struct ftp_disk_job **jobs, int count)
{
    struct ftp_upload *uploads[GROUP_MAX] = {0};
    int codes[GROUP_MAX];
    struct err errs[GROUP_MAX];
    for (int i = 0; i < count; i++)
        uploads[i] = jobs[i]->upload;
    ftp_upload_finish(uploads, count, codes, errs);
    metric_inc(&groups, NULL);
    for (int i = 0; i < count; i++) {
        jobs[i]->code = codes[i];
        if (codes[i] < 0)
            jobs[i]->error = errs[i];
        complete_end(d, jobs[i]);
    }
}

static void complete_end(struct ftp_disk *d, struct ftp_disk_job *job)
{
    job->file = *ftp_upload_file(job->upload);
    ftp_upload_close(STEAL(job->upload));
    metric_inc(&finished, NULL);
    complete(d, job);
}

/* ---- the other jobs ---- */

static int do_file(struct ftp_disk_job *job)
{
    const struct ftp_request *q = &job->request;
    struct err *e = &job->error;
    int r;
    switch (q->op) {
    case FTP_OP_ENTER:
        r = ftp_jail_stat(job->jail, q->path, &job->file, e);
        return r == 0 && !job->file.folder
                   ? err_set(e, -ENOTDIR, ERR_NEVER, "%s is no folder", q->path)
                   : r;
    case FTP_OP_STAT:
        return ftp_jail_stat(job->jail, q->path, &job->file, e);
    case FTP_OP_LIST_INLINE:
        return do_list(job);
    case FTP_OP_MAKE:
        return ftp_jail_make(job->jail, q->path, e);
    case FTP_OP_REMOVE_FOLDER:
        return ftp_jail_remove_folder(job->jail, q->path, e);
    case FTP_OP_DELETE:
        return ftp_jail_delete(job->jail, q->path, e);
    case FTP_OP_RENAME:
        return ftp_jail_rename(job->jail, q->path, q->path_to, q->overwrite, e);
    case FTP_OP_MODIFIED:
        return ftp_jail_set_modified(job->jail, q->path, q->modified, e);
    case FTP_OP_STORE:
    case FTP_OP_APPEND:
    case FTP_OP_RETRIEVE:
    case FTP_OP_LIST:
        break;
    }
    return err_set(e, -EINVAL, ERR_NEVER, "operation %d is a transfer", (int)q->op);
}

static void list_line(void *arg, const struct ftp_file *file)
{
    struct ftp_disk_job *job = arg;
    /* A text that is full stays so, and is told at the end. */
    switch (job->request.form) {
    case FTP_FORM_LONG:
        (void)ftp_list_long(&job->text, file, job->now);
        break;
    case FTP_FORM_NAMES:
        (void)ftp_list_name(&job->text, file);
        break;
    case FTP_FORM_FACTS:
        (void)ftp_list_facts(&job->text, file, job->request.facts, job->rights, file->name);
        break;
    }
}

static int do_list(struct ftp_disk_job *job)
{
    const char *path = job->request.path;
    dynbuf_init(&job->text, LIST_TEXT_MAX);
    if (job->request.empty)
        return 0;
    int r = ftp_jail_list(job->jail, path, LIST_ENTRIES_MAX, list_line, job, &job->error);
    if (r == 0 && job->text.failed)
        r = err_set(&job->error, -E2BIG, ERR_NEVER, "list %s: more than %d MB of text", path,
                    LIST_TEXT_MAX >> 20);
    return r;
}

static int do_open(struct ftp_disk_job *job)
{
    const struct ftp_request *q = &job->request;
    struct err *e = &job->error;
    int64_t size;
    if (q->op != FTP_OP_RETRIEVE) {
        struct ftp_upload_options o = {
            .path = q->path,
            .overwrite = q->overwrite,
            .unique = q->unique,
            .offset = q->op == FTP_OP_APPEND ? q->offset : 0,
            .announced = q->announced,
        };
        int r = ftp_upload_open(job->jail, &o, &job->upload, e);
        if (r == 0)
            job->file = *ftp_upload_file(job->upload);
        return r;
    }
    AUTO_CLOSE int fd = -1;
    int r = ftp_jail_stat(job->jail, q->path, &job->file, e);
    if (r == 0)
        r = ftp_jail_open_read(job->jail, q->path, &fd, &size, e);
    if (r < 0)
        return r;
    if (q->offset < 0 || q->offset > size || lseek(fd, q->offset, SEEK_SET) < 0)
        return err_set(e, -EINVAL, ERR_NEVER, "read %s from byte %lld: it has %lld", q->path,
                       (long long)q->offset, (long long)size);
    job->file.size = size;
    job->fd = STEAL_FD(fd);
    return 0;
}

/* A full block, or what is left; nothing is the end. */
static int do_read(struct ftp_disk_job *job)
{
    size_t done = 0;
    while (done < job->block_size) {
        ssize_t n = read(job->fd, (char *)job->block + done, job->block_size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(&job->error, -errno, "read %s", job->request.path);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    job->block_size = done;
    return 0;
}

static int do_login(struct ftp_disk_job *job)
{
    job->account = ftp_accounts_login(job->accounts, job->user, job->password, job->from);
    return job->account != NULL
               ? 0
               : err_set(&job->error, -EACCES, ERR_NEVER, "wrong user, password or address");
}
