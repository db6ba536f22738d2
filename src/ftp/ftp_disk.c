#include "ftp/ftp_disk.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
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
 * A thread that has begun to carry an upload (ftp_carry.h) does not wait for its bytes while there
 * is other work: it holds several, and takes up again those whose bytes are here. It sleeps in
 * poll(), on them and a bell of its own; of those that sleep the last is woken first, whose memory
 * is the warmest. While it holds some it does nothing that takes long.
 *
 * Rejected: to wake no more threads than there are processors. On tmpfs it gave 5 % more uploads at
 * 8 clients; but a thread cannot know that the others are stuck with the disk, so somebody would
 * have to stand by and wait for the suspicion. To look for bytes for 40 us before the sleep: 4 %
 * more with one client, 10 % less with 8. Not to wake the server's thread for an upload whose
 * client has had its 226 already: no more of them, and the log would be late.
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
/* Carried uploads whose bytes one thread waits for. */
#define HELD_MAX 8
/* So many jobs are begun before those are looked at, while jobs wait. */
#define HELD_BATCH 4
/* A disk that takes longer than that for the end of uploads is waited for with empty hands. */
#define SLOW_US 200
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

struct worker {
    struct ftp_disk *disk;
    pthread_t thread;
    int wake_fd;
    struct worker *below; /* of those that sleep; under the lock */
    bool asleep;
    struct ftp_disk_job *held[HELD_MAX];
    struct mono_time until[HELD_MAX]; /* the patience with each */
    int held_count, begun;
};

struct ftp_disk {
    int event_fd;
    _Atomic(struct ftp_disk_job *) done; /* the last that was done first */

    pthread_mutex_t lock;  /* of all below */
    struct queue waiting;  /* in order of arrival */
    int ends_waiting;      /* FTP_DISK_FINISH in `waiting` */
    struct worker *asleep; /* the last that fell asleep first: its memory is the warmest */
    void *rooms;    /* to receive in, FTP_CARRY_ROOM each: each begins with a pointer to the next */
    int64_t end_us; /* what the end of uploads takes, about */
    int ending, ending_max; /* threads that make uploads safe */
    int logins, logins_max; /* passwords being checked; the other threads are the cameras' */
    bool stopping;

    int thread_count;
    struct worker workers[THREADS_MAX];
};

static int start_threads(struct ftp_disk *d, int threads, struct err *e);
static int start_worker(struct ftp_disk *d, struct worker *w);
static void *thread_main(void *arg);
static struct ftp_disk_job *take(struct worker *w);
static void work_on(struct worker *w, struct ftp_disk_job *job);
static void look_at_held(struct worker *w, bool patient);
static void give_back(struct worker *w, int i);
static void go_on(struct worker *w, int i);
static void wake_all(struct ftp_disk *d);
static void end_worker(struct worker *w);
static void *take_room(struct ftp_disk *d);
static void hand_on(struct worker *w, struct ftp_disk_job *job);
static void finish(struct ftp_disk *d, struct ftp_disk_job *job);
static void wake_another(struct ftp_disk *d);
static struct worker *rouse(struct ftp_disk *d);
static void ring(const struct worker *w);
static void do_job(struct ftp_disk *d, struct ftp_disk_job *job);
static bool begin_to_carry(struct ftp_disk_job *job);
static void end_uploads(struct ftp_disk *d, struct ftp_disk_job **jobs, int count);
static int receive_last(struct ftp_disk_job *job);
static void finish_group(struct ftp_disk *d, struct ftp_disk_job **jobs, int count);
static void complete_end(struct ftp_disk *d, struct ftp_disk_job *job);
static void complete(struct ftp_disk *d, struct ftp_disk_job *job);
static struct ftp_upload_options options_of(const struct ftp_request *q);
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

static int start_worker(struct ftp_disk *d, struct worker *w)
{
    w->disk = d;
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->wake_fd < 0)
        return errno;
    int r = pthread_create(&w->thread, NULL, thread_main, w);
    if (r != 0)
        end_worker(w);
    return r;
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
        r = start_worker(d, &d->workers[d->thread_count]);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r != 0 ? err_errno(e, -r, "thread %d of %d", d->thread_count + 1, threads) : 0;
}

void ftp_disk_stop(struct ftp_disk *d)
{
    (void)pthread_mutex_lock(&d->lock);
    d->stopping = true;
    wake_all(d);
    (void)pthread_mutex_unlock(&d->lock);
    for (int i = 0; i < d->thread_count; i++)
        (void)pthread_join(d->workers[i].thread, NULL); /* ours, and not ourselves */
    for (; d->thread_count > 0; d->thread_count--)      /* one may have woken another to its end */
        end_worker(&d->workers[d->thread_count - 1]);
}

void ftp_disk_free(struct ftp_disk *d)
{
    if (d == NULL)
        return;
    ftp_disk_stop(d);
    if (d->event_fd >= 0)
        (void)close(d->event_fd); /* a counter */
    while (d->rooms != NULL)
        free(take_room(d));
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

/* Before the first login of a stranger that waits, if there is one. */
static void push_login(struct queue *q, struct ftp_disk_job *job)
{
    struct ftp_disk_job **at = &q->first;
    while (*at != NULL && !(job->known && (*at)->kind == FTP_DISK_LOGIN && !(*at)->known))
        at = &(*at)->next;
    if (*at == NULL) {
        push(q, job);
        return;
    }
    job->next = *at;
    *at = job;
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
    if (job->kind == FTP_DISK_LOGIN)
        push_login(&d->waiting, job);
    else
        push(&d->waiting, job);
    d->ends_waiting += job->kind == FTP_DISK_FINISH;
    struct worker *w = rouse(d);
    (void)pthread_mutex_unlock(&d->lock);
    ring(w);
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

/* ---- who sleeps and who wakes whom ---- */

/* With the lock held: one that sleeps, for whom the bell is to be rung, or NULL. Rather one that
 * holds nothing: it may take every job. */
static struct worker *rouse(struct ftp_disk *d)
{
    struct worker **at = &d->asleep;
    while (*at != NULL && (*at)->held_count > 0)
        at = &(*at)->below;
    if (*at == NULL)
        at = &d->asleep;
    struct worker *w = *at;
    if (w == NULL)
        return NULL;
    *at = w->below;
    w->asleep = false;
    return w;
}

static void ring(const struct worker *w)
{
    uint64_t one = 1;
    if (w != NULL)
        (void)!write(w->wake_fd, &one, sizeof(one)); /* a counter far from full */
}

static void wake_all(struct ftp_disk *d)
{
    while (d->asleep != NULL)
        ring(rouse(d));
}

static void fall_asleep(struct worker *w)
{
    w->below = w->disk->asleep;
    w->disk->asleep = w;
    w->asleep = true;
}

/* Unless somebody got it up, who rings, or is about to: that is heard the next time, for nothing.
 */
static void get_up(struct worker *w)
{
    if (!w->asleep)
        return;
    struct worker **at = &w->disk->asleep;
    while (*at != w)
        at = &(*at)->below;
    *at = w->below;
    w->asleep = false;
}

static void end_worker(struct worker *w)
{
    (void)close(w->wake_fd); /* a counter */
}

/* ---- the threads ---- */

static void *thread_main(void *arg)
{
    struct worker *w = arg;
    struct ftp_disk *d = w->disk;
    altstack_use();
    (void)pthread_setname_np(pthread_self(), "ftp.disk"); /* short enough */
    (void)pthread_mutex_lock(&d->lock);
    while (true) {
        bool full = w->held_count == HELD_MAX;
        struct ftp_disk_job *job = full ? NULL : take(w);
        if (job != NULL) {
            work_on(w, job);
            if (w->held_count == 0 || ++w->begun < HELD_BATCH)
                continue;
        }
        if (d->stopping && d->waiting.first == NULL && w->held_count == 0)
            break;
        w->begun = 0;
        look_at_held(w, job == NULL && !full);
    }
    /* One that may not take what waits sees only now that there is nothing left. */
    wake_all(d);
    (void)pthread_mutex_unlock(&d->lock);
    return NULL;
}

static bool may_take(const struct ftp_disk *d, const struct ftp_disk_job *job)
{
    return job->kind == FTP_DISK_LOGIN    ? d->logins < d->logins_max
           : job->kind == FTP_DISK_FINISH ? d->ending < d->ending_max
                                          : true;
}

/* Whose bytes come does not wait for another's disk. */
static bool is_long(const struct ftp_disk *d, enum ftp_disk_kind kind)
{
    return kind == FTP_DISK_FINISH ? d->end_us >= SLOW_US : kind != FTP_DISK_CARRY;
}

/* The first job that may be done now. When it is a long one, what this thread holds comes first:
 * that takes no longer than the patience, and nobody overtakes the job meanwhile. */
static struct ftp_disk_job *take(struct worker *w)
{
    struct ftp_disk *d = w->disk;
    struct ftp_disk_job *before = NULL, *job = d->waiting.first;
    while (job != NULL && !may_take(d, job)) {
        before = job;
        job = job->next;
    }
    if (job == NULL || (w->held_count > 0 && is_long(d, job->kind)))
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
static void work_on(struct worker *w, struct ftp_disk_job *job)
{
    struct ftp_disk *d = w->disk;
    enum ftp_disk_kind kind = job->kind; /* once completed it is not ours */
    if (kind == FTP_DISK_FINISH) {
        finish(d, job);
        return;
    }
    (void)pthread_mutex_unlock(&d->lock);
    if (kind == FTP_DISK_CARRY && begin_to_carry(job)) {
        w->until[w->held_count] = mono_add_ms(clock_mono(), FTP_CARRY_PATIENCE_MS);
        w->held[w->held_count++] = job;
    } else {
        do_job(d, job);
    }
    (void)pthread_mutex_lock(&d->lock);
    d->logins -= kind == FTP_DISK_LOGIN;
    if (kind == FTP_DISK_LOGIN)
        wake_another(d);
}

/* One that may be taken only now: we take one job ourselves, an idle thread another. */
static void wake_another(struct ftp_disk *d)
{
    if (d->waiting.count > 1)
        ring(rouse(d));
}

/* What this thread has received it ends as well, if it may: else another does, or itself later,
 * with those that wait by then. */
static void hand_on(struct worker *w, struct ftp_disk_job *job)
{
    struct ftp_disk *d = w->disk;
    job->kind = FTP_DISK_FINISH;
    bool may = may_take(d, job);
    if (may && !(w->held_count > 0 && is_long(d, job->kind))) {
        d->ending++;
        finish(d, job);
        return;
    }
    push(&d->waiting, job);
    d->ends_waiting++;
    if (may)
        ring(rouse(d));
}

/* With the lock held, which is given up meanwhile. */
static void finish(struct ftp_disk *d, struct ftp_disk_job *job)
{
    struct ftp_disk_job *group[GROUP_MAX];
    int count = take_group(d, group, job);
    (void)pthread_mutex_unlock(&d->lock);
    struct mono_time began = clock_mono();
    end_uploads(d, group, count);
    int64_t took_us = mono_diff_us(clock_mono(), began);
    (void)pthread_mutex_lock(&d->lock);
    d->end_us += (took_us - d->end_us) / 8;
    d->ending--;
    wake_another(d);
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
    case FTP_DISK_CARRY:
        break; /* done already: it goes back */
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

/* ---- from the first byte to the last ---- */

/* False when it is over, or goes back. */
static bool begin_to_carry(struct ftp_disk_job *job)
{
    struct ftp_carry *c = job->carry;
    c->end = FTP_CARRY_REFUSED;
    job->code = do_open(job);
    return job->code == 0 && ftp_carry_say_ready(c) == 0;
}

/* How long it may sleep; -1 = until it is woken. */
static int patience_ms(const struct worker *w)
{
    int ms = -1;
    for (int i = 0; i < w->held_count; i++) {
        int left = mono_until_ms(w->until[i]);
        ms = ms < 0 ? left : MIN(ms, left);
    }
    return ms;
}

/* Takes what has come for those that it holds; with patience it sleeps before that, until
 * something comes, or a job. With the lock held, which is given up meanwhile. */
static void look_at_held(struct worker *w, bool patient)
{
    struct ftp_disk *d = w->disk;
    struct pollfd p[HELD_MAX + 1];
    int count = w->held_count;
    for (int i = 0; i < count; i++)
        p[i] = (struct pollfd){.fd = w->held[i]->carry->data_fd, .events = POLLIN};
    p[count] = (struct pollfd){.fd = w->wake_fd, .events = POLLIN};
    if (patient)
        fall_asleep(w);
    (void)pthread_mutex_unlock(&d->lock);
    int n = poll(p, (nfds_t)count + patient, patient ? patience_ms(w) : 0);
    uint64_t rings;
    if (patient && n > 0 && p[count].revents != 0)
        (void)!read(w->wake_fd, &rings, sizeof(rings)); /* only to make it silent */
    (void)pthread_mutex_lock(&d->lock);
    if (patient)
        get_up(w);
    struct mono_time now = clock_mono();
    for (int i = count - 1; i >= 0; i--) { /* what is let go of gives its place to the last */
        int64_t late_us = mono_diff_us(now, w->until[i]);
        if (n > 0 && p[i].revents != 0 && late_us < FTP_CARRY_TIME_MS * 1000)
            go_on(w, i);
        else if (late_us >= 0 || count == HELD_MAX)
            give_back(w, i);
    }
}

/* The last that was used, which the processor remembers. */
static void *take_room(struct ftp_disk *d)
{
    void *room = d->rooms;
    if (room == NULL)
        return xmalloc(FTP_CARRY_ROOM);
    memcpy(&d->rooms, room, sizeof(d->rooms));
    return room;
}

static void return_room(struct ftp_disk *d, void *room)
{
    memcpy(room, &d->rooms, sizeof(d->rooms));
    d->rooms = room;
}

static struct ftp_disk_job *let_go(struct worker *w, int i)
{
    struct ftp_disk_job *job = w->held[i];
    w->held_count--;
    w->held[i] = w->held[w->held_count];
    w->until[i] = w->until[w->held_count];
    return job;
}

static void give_back(struct worker *w, int i)
{
    struct ftp_disk_job *job = let_go(w, i);
    job->carry->end = FTP_CARRY_BACK;
    complete(w->disk, job);
}

static void go_on(struct worker *w, int i)
{
    struct ftp_disk *d = w->disk;
    struct ftp_disk_job *job = w->held[i];
    struct ftp_carry *c = job->carry;
    void *room = take_room(d);
    (void)pthread_mutex_unlock(&d->lock);
    int r = ftp_carry_receive(c, job->upload, room, &job->error);
    bool waits = c->end == FTP_CARRY_WAITS;
    if (r == 0)
        (void)close(STEAL_FD(c->data_fd)); /* it has said all it has to say */
    if (c->end == FTP_CARRY_CUT || c->end == FTP_CARRY_FAILED) {
        job->code = r;
        ftp_upload_close(STEAL(job->upload));
    }
    (void)pthread_mutex_lock(&d->lock);
    return_room(d, room);
    if (waits)
        return;
    (void)let_go(w, i);
    if (r == 0)
        hand_on(w, job);
    else
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
    int r = 0;
    if (job->block_size > 0)
        r = ftp_upload_write(job->upload, job->block, job->block_size, &job->error);
    if (r == 0 && job->check_end)
        r = ftp_upload_check_end(job->upload, &job->error);
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
    if (job->carry && job->code == 0)
        ftp_carry_say_stored(job->carry, &job->file);
    complete(d, job);
}

/* ---- where nothing waits ---- */

int ftp_disk_open_at_once(struct ftp_jail *j, const struct ftp_request *q, struct ftp_upload **ret,
                          struct err *e)
{
    struct ftp_upload_options o = options_of(q);
    o.at_once = true;
    return ftp_upload_open(j, &o, ret, e);
}

int ftp_disk_end_at_once(struct ftp_upload *u, bool check_end, struct ftp_file *ret, struct err *e)
{
    int r = check_end ? ftp_upload_check_end(u, e) : 0;
    if (r == 0)
        r = ftp_upload_finish_at_once(u, e);
    if (r == -EAGAIN)
        return r;
    *ret = *ftp_upload_file(u);
    metric_inc(&finished, NULL);
    return r;
}

/* ---- the other jobs ---- */

static struct ftp_leave leave_of(const struct ftp_request *q)
{
    return (struct ftp_leave){.any = q->overwrite, .one = q->over};
}

static struct ftp_upload_options options_of(const struct ftp_request *q)
{
    return (struct ftp_upload_options){
        .path = q->path,
        .leave = leave_of(q),
        .unique = q->unique,
        .offset = q->op == FTP_OP_APPEND ? q->offset : 0,
        .announced = q->announced,
        .exact = q->exact,
    };
}

/* One that is gone again was made all the same. */
static int make(struct ftp_disk_job *job)
{
    job->file = (struct ftp_file){.folder = true};
    int r = ftp_jail_make(job->jail, job->request.path, &job->error);
    if (r == 0)
        (void)ftp_jail_stat(job->jail, job->request.path, &job->file, NULL);
    return r;
}

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
        return make(job);
    case FTP_OP_REMOVE_FOLDER:
        return ftp_jail_remove_folder(job->jail, q->path, &q->only, e);
    case FTP_OP_DELETE:
        return ftp_jail_delete(job->jail, q->path, &q->only, e);
    case FTP_OP_RENAME:
        return ftp_jail_rename(job->jail, q->path, &q->only, q->path_to, leave_of(q), e);
    case FTP_OP_MODIFIED:
        return ftp_jail_set_modified(job->jail, q->path, &q->only, q->modified, e);
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
        struct ftp_upload_options o = options_of(q);
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
    if (atomic_load(&job->dropped))
        return err_set(&job->error, -ECANCELED, ERR_NEVER, "nobody waits for it");
    job->account = ftp_accounts_login(job->accounts, job->user, job->password, job->from);
    return job->account != NULL
               ? 0
               : err_set(&job->error, -EACCES, ERR_NEVER, "wrong user, password or address");
}
