#include "fixture.h"

#include "system_calls.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "ftp/ftp_disk.h"
#include "ftp/ftp_list.h"

/* What a login takes is not tested here, only that it holds up nobody else. */
static sem_t login_may_end;

const struct ftp_account *ftp_accounts_login(const struct ftp_accounts *a UNUSED, const char *user,
                                             const char *password UNUSED,
                                             const struct sockaddr *from UNUSED)
{
    static const struct ftp_account porch = {.name = "porch"};
    if (strcmp(user, "slow") == 0)
        test_wait(&login_may_end);
    return strcmp(user, "nobody") == 0 ? NULL : &porch;
}

static int set_up(void **state)
{
    calls_reset();
    (void)sem_init(&login_may_end, 0, 0);
    return fixture_set_up(state);
}

static int tear_down(void **state)
{
    calls_reset();
    return fixture_tear_down(state);
}

static struct ftp_disk *start(struct fixture *f, int threads)
{
    struct ftp_disk *d = NULL;
    if (ftp_disk_start(threads, &d, &f->e) < 0)
        CASE_FAILS("%s", f->e.text);
    return d;
}

/* Waits until something is done. */
static struct ftp_disk_job *collect(struct ftp_disk *d)
{
    while (true) {
        struct pollfd p = {ftp_disk_fd(d), POLLIN, 0};
        assert_int_equal(poll(&p, 1, 20000), 1);
        struct ftp_disk_job *jobs = ftp_disk_collect(d);
        if (jobs != NULL)
            return jobs;
    }
}

static bool is_anything_done(struct ftp_disk *d)
{
    struct pollfd p = {ftp_disk_fd(d), POLLIN, 0};
    return poll(&p, 1, 0) == 1;
}

/* One job from its submission to its end. */
static int run(struct ftp_disk *d, struct ftp_disk_job *job)
{
    ftp_disk_submit(d, job);
    struct ftp_disk_job *done = collect(d);
    assert_ptr_equal(done, job);
    assert_null(done->next);
    assert_int_equal(job->code, job->error.code);
    return job->code;
}

static struct ftp_disk_job *new_job(struct fixture *f, enum ftp_disk_kind kind, enum ftp_op op,
                                    const char *path)
{
    struct ftp_disk_job *job = xcalloc(1, sizeof(*job));
    job->kind = kind;
    job->jail = f->jail;
    job->request.op = op;
    job->request.overwrite = true;
    job->fd = -1;
    (void)text_copy(job->request.path, sizeof(job->request.path), path);
    return job;
}

/* An upload that is open and has its bytes, all but the last block. */
static struct ftp_disk_job *new_upload(struct fixture *f, struct ftp_disk *d, const char *path)
{
    static char block[] = "the last block";
    struct ftp_disk_job *job = new_job(f, FTP_DISK_OPEN, FTP_OP_STORE, path);
    if (run(d, job) != 0)
        CASE_FAILS("%s", job->error.text);
    assert_non_null(job->upload);
    job->kind = FTP_DISK_FINISH;
    job->block = block;
    job->block_size = strlen(block);
    return job;
}

static void does_every_kind_of_work(void **state)
{
    struct fixture *f = *state;
    struct ftp_disk *d = start(f, 2);
    char first[] = "first ", second[] = "second", room[10];

    struct ftp_disk_job *job = new_job(f, FTP_DISK_FILE, FTP_OP_MAKE, "/d/e");
    assert_int_equal(run(d, job), 0);
    job->request.op = FTP_OP_ENTER;
    assert_int_equal(run(d, job), 0);
    assert_true(job->file.folder);
    (void)text_copy(job->request.path, sizeof(job->request.path), "/no");
    assert_int_equal(run(d, job), -ENOENT);
    free(job);

    job = new_job(f, FTP_DISK_OPEN, FTP_OP_STORE, "/d/a.txt");
    assert_int_equal(run(d, job), 0);
    assert_string_equal(job->file.name, "a.txt");
    job->kind = FTP_DISK_WRITE;
    job->block = first;
    job->block_size = 6;
    assert_int_equal(run(d, job), 0);
    assert_int_equal(job->file.size, 6);
    job->kind = FTP_DISK_FINISH;
    job->block = second;
    assert_int_equal(run(d, job), 0);
    assert_null(job->upload);
    assert_int_equal(job->file.size, 12);
    fixture_expect(f, "/d/a.txt", "first second");
    free(job);

    job = new_job(f, FTP_DISK_FILE, FTP_OP_ENTER, "/d/a.txt");
    assert_int_equal(run(d, job), -ENOTDIR);
    job->request.op = FTP_OP_STAT;
    assert_int_equal(run(d, job), 0);
    assert_int_equal(job->file.size, 12);
    job->request.op = FTP_OP_MODIFIED;
    job->request.modified = wall_from_seconds(1700000000);
    assert_int_equal(run(d, job), 0);
    free(job);

    job = new_job(f, FTP_DISK_OPEN, FTP_OP_RETRIEVE, "/d/a.txt");
    job->request.offset = 13;
    assert_int_equal(run(d, job), -EINVAL);
    assert_int_equal(job->fd, -1);
    job->request.offset = 1;
    assert_int_equal(run(d, job), 0);
    assert_int_equal(job->file.size, 12);
    job->kind = FTP_DISK_READ;
    job->block = room;
    job->block_size = sizeof(room);
    assert_int_equal(run(d, job), 0);
    assert_int_equal(job->block_size, sizeof(room));
    assert_memory_equal(room, "irst secon", sizeof(room));
    assert_int_equal(run(d, job), 0);
    assert_int_equal(job->block_size, 1);
    assert_int_equal(run(d, job), 0);
    assert_int_equal(job->block_size, 0);
    (void)close(job->fd);
    free(job);

    job = new_job(f, FTP_DISK_OPEN, FTP_OP_APPEND, "/d/a.txt");
    job->request.offset = -1;
    assert_int_equal(run(d, job), 0);
    job->kind = FTP_DISK_DROP;
    assert_int_equal(run(d, job), 0);
    assert_null(job->upload);
    free(job);

    job = new_job(f, FTP_DISK_FILE, FTP_OP_RENAME, "/d/a.txt");
    (void)text_copy(job->request.path_to, sizeof(job->request.path_to), "/d/b.txt");
    assert_int_equal(run(d, job), 0);
    (void)text_copy(job->request.path, sizeof(job->request.path), "/d/b.txt");
    job->request.op = FTP_OP_DELETE;
    assert_int_equal(run(d, job), 0);
    (void)text_copy(job->request.path, sizeof(job->request.path), "/d/e");
    job->request.op = FTP_OP_REMOVE_FOLDER;
    assert_int_equal(run(d, job), 0);
    assert_int_equal(fixture_count(f, "/d", ""), 0);
    job->request.op = FTP_OP_STORE; /* not a file operation: a slip of the caller's */
    assert_int_equal(run(d, job), -EINVAL);
    free(job);
    ftp_disk_free(d);
}

static void lists_in_every_form(void **state)
{
    struct fixture *f = *state;
    struct ftp_disk *d = start(f, 1);
    struct wall_time t = wall_from_seconds(1700000000);
    fixture_put(f, "/a.jpg", "12345");
    assert_int_equal(ftp_jail_set_modified(f->jail, "/a.jpg", NULL, t, &f->e), 0);
    static const struct {
        enum ftp_list_form form;
        const char *text;
    } cases[] = {
        {FTP_FORM_NAMES, "a.jpg\r\n"},
        {FTP_FORM_FACTS, "size=5;modify=20231114221320; a.jpg\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ftp_disk_job *job = new_job(f, FTP_DISK_LIST, FTP_OP_LIST, "/");
        job->request.form = cases[i].form;
        job->request.facts = FTP_FACT_SIZE | FTP_FACT_MODIFY;
        assert_int_equal(run(d, job), 0);
        assert_string_equal(dynbuf_str(&job->text), cases[i].text);
        dynbuf_done(&job->text);
        free(job);
    }
    struct ftp_disk_job *job = new_job(f, FTP_DISK_FILE, FTP_OP_LIST_INLINE, "/a.jpg");
    job->request.form = FTP_FORM_LONG;
    job->now = wall_from_seconds(1700000100);
    assert_int_equal(run(d, job), 0);
    assert_non_null(strstr(dynbuf_str(&job->text), "Nov 14 22:13 a.jpg\r\n"));
    dynbuf_done(&job->text);
    job->request.empty = true; /* who may not see: an empty list, and no look */
    (void)text_copy(job->request.path, sizeof(job->request.path), "/no");
    assert_int_equal(run(d, job), 0);
    assert_string_equal(dynbuf_str(&job->text), "");
    dynbuf_done(&job->text);
    job->request.empty = false;
    assert_int_equal(run(d, job), -ENOENT);
    dynbuf_done(&job->text);
    free(job);
    ftp_disk_free(d);
}

static void refuses_a_cut_picture(void **state)
{
    struct fixture *f = *state;
    struct ftp_disk *d = start(f, 2);
    char cut[] = "\xff\xd8\xff\xe0\x00\x10JFIF";
    for (int check = 0; check < 2; check++) {
        struct ftp_disk_job *job = new_upload(f, d, "/a.jpg");
        job->block = cut;
        job->block_size = sizeof(cut) - 1;
        job->check_end = check == 0;
        assert_int_equal(run(d, job), check == 0 ? -EBADMSG : 0);
        assert_null(job->upload);
        assert_int_equal(fixture_count(f, "/", ""), check);
        free(job);
    }
    ftp_disk_free(d);
}

/* ---- groups ---- */

static struct {
    sem_t reached, go_on;
    atomic_int left; /* how many more times */
} pause_at;

static void pause_here(int fd UNUSED)
{
    if (atomic_fetch_sub(&pause_at.left, 1) <= 0)
        return;
    (void)sem_post(&pause_at.reached);
    test_wait(&pause_at.go_on);
}

static void pause_first_sync(void)
{
    (void)sem_init(&pause_at.reached, 0, 0);
    (void)sem_init(&pause_at.go_on, 0, 0);
    atomic_store(&pause_at.left, 1);
    calls.before[CALL_SYNC_FILE] = pause_here;
}

static struct ftp_disk_job **new_uploads(struct fixture *f, struct ftp_disk *d, int count)
{
    struct ftp_disk_job **jobs = xcalloc((size_t)count, sizeof(struct ftp_disk_job *));
    for (int i = 0; i < count; i++) {
        char path[32];
        (void)text_format(path, sizeof(path), "/%03d.jpg", i);
        jobs[i] = new_upload(f, d, path);
    }
    return jobs;
}

static int collect_all(struct ftp_disk *d, int count)
{
    int failed = 0;
    for (int done = 0; done < count;) {
        for (struct ftp_disk_job *job = collect(d); job != NULL; job = job->next, done++) {
            assert_null(job->upload);
            failed += job->code != 0;
        }
    }
    return failed;
}

static void free_jobs(struct ftp_disk_job **jobs, int count)
{
    for (int i = 0; i < count; i++)
        free(jobs[i]);
    free(jobs);
}

/* `threads` of them; the first upload is being synced while the others come. */
static void sync_in_groups(struct fixture *f, int threads, int count, const char *trace)
{
    struct ftp_disk *d = start(f, threads);
    struct ftp_disk_job **jobs = new_uploads(f, d, count);
    pause_first_sync();
    calls_trace();
    ftp_disk_submit(d, jobs[0]);
    test_wait(&pause_at.reached);
    for (int i = 1; i < count; i++)
        ftp_disk_submit(d, jobs[i]);
    struct ftp_disk_job *other = new_job(f, FTP_DISK_FILE, FTP_OP_STAT, "/");
    if (threads > 1)
        assert_int_equal(run(d, other), 0);
    free(other);
    (void)sem_post(&pause_at.go_on);
    assert_int_equal(collect_all(d, count), 0);
    calls.tracing = false;
    assert_string_equal(calls.trace, trace);
    assert_int_equal(fixture_count(f, "/", ""), count);
    free_jobs(jobs, count);
    ftp_disk_free(d);
}

static void syncs_together_what_waits_together(void **state)
{
    sync_in_groups(*state, 1, 5, "fndssssffffnnnnd");
}

static void leaves_a_thread_for_other_work(void **state)
{
    sync_in_groups(*state, 2, 5, "fndssssffffnnnnd");
}

static void bounds_a_group(void **state)
{
    struct fixture *f = *state;
    char trace[400] = "fnd";
    static const int groups[] = {64, 35};
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        static const char steps[] = "sfn";
        for (const char *s = steps; *s != '\0'; s++) {
            size_t len = strlen(trace);
            memset(trace + len, *s, (size_t)groups[i]);
            trace[len + (size_t)groups[i]] = '\0';
        }
        size_t len = strlen(trace);
        trace[len] = 'd';
        trace[len + 1] = '\0';
    }
    sync_in_groups(f, 1, 100, trace);
}

static void does_other_work_while_a_group_is_synced(void **state)
{
    struct fixture *f = *state;
    struct ftp_disk *d = start(f, 2);
    struct ftp_disk_job *end = new_upload(f, d, "/a.jpg");
    struct ftp_disk_job *other = new_upload(f, d, "/b.jpg");
    pause_first_sync();
    ftp_disk_submit(d, end);
    test_wait(&pause_at.reached);
    other->kind = FTP_DISK_WRITE;
    for (int i = 0; i < 10; i++)
        assert_int_equal(run(d, other), 0);
    other->kind = FTP_DISK_FINISH; /* joins the next group: not done before the first */
    ftp_disk_submit(d, other);
    struct ftp_disk_job *look = new_job(f, FTP_DISK_FILE, FTP_OP_STAT, "/");
    assert_int_equal(run(d, look), 0);
    assert_false(is_anything_done(d));
    (void)sem_post(&pause_at.go_on);
    assert_int_equal(collect_all(d, 2), 0);
    free(end);
    free(other);
    free(look);
    ftp_disk_free(d);
}

/* Syncs at the same time share what the disk does for them. */
static void syncs_groups_beside_each_other(void **state)
{
    struct fixture *f = *state;
    struct ftp_disk *d = start(f, 3);
    struct ftp_disk_job **jobs = new_uploads(f, d, 2);
    pause_first_sync();
    atomic_store(&pause_at.left, 2);
    for (int i = 0; i < 2; i++) {
        ftp_disk_submit(d, jobs[i]);
        test_wait(&pause_at.reached);
    }
    struct ftp_disk_job *look = new_job(f, FTP_DISK_FILE, FTP_OP_STAT, "/");
    assert_int_equal(run(d, look), 0); /* and one thread is left for other work */
    for (int i = 0; i < 2; i++)
        (void)sem_post(&pause_at.go_on);
    assert_int_equal(collect_all(d, 2), 0);
    free(look);
    free_jobs(jobs, 2);
    ftp_disk_free(d);
}

static void tells_each_of_a_group_its_own_fate(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 4 };
    struct ftp_disk *d = start(f, 1);
    struct ftp_disk_job **jobs = new_uploads(f, d, COUNT);
    char cut[] = "\xff\xd8\xff";
    jobs[3]->block = cut;
    jobs[3]->block_size = 3;
    jobs[3]->check_end = true;
    pause_first_sync();
    ftp_disk_submit(d, jobs[0]);
    test_wait(&pause_at.reached);
    calls_fail(CALL_SYNC_FILE, 3, EIO); /* the first is one of them */
    for (int i = 1; i < COUNT; i++)
        ftp_disk_submit(d, jobs[i]);
    (void)sem_post(&pause_at.go_on);
    (void)collect_all(d, COUNT);
    assert_int_equal(jobs[0]->code, 0);
    assert_int_equal(jobs[1]->code, 0);
    assert_int_equal(jobs[2]->code, -EIO);
    assert_non_null(strstr(jobs[2]->error.text, "002.jpg"));
    assert_int_equal(jobs[3]->code, -EBADMSG);
    assert_int_equal(fixture_count(f, "/", ""), 2);
    free_jobs(jobs, COUNT);
    ftp_disk_free(d);
}

static void needs_no_group_without_sync(void **state)
{
    struct fixture *f = *state;
    f->options.sync = false;
    fixture_jail(f);
    struct ftp_disk *d = start(f, 2);
    struct ftp_disk_job **jobs = new_uploads(f, d, 5);
    calls_trace();
    for (int i = 0; i < 5; i++)
        ftp_disk_submit(d, jobs[i]);
    assert_int_equal(collect_all(d, 5), 0);
    calls.tracing = false;
    assert_string_equal(calls.trace, "nnnnn");
    free_jobs(jobs, 5);
    ftp_disk_free(d);
}

struct wanted_metric {
    const char *name;
    double value;
};

static void find_metric(const struct metric *m, void *arg)
{
    struct wanted_metric *w = arg;
    if (strcmp(m->name, w->name) == 0)
        w->value = metric_value((struct metric *)m, NULL);
}

static double value_of(const char *name)
{
    struct wanted_metric w = {name, -1};
    metrics_each(find_metric, &w);
    return w.value;
}

static void counts_uploads_and_groups(void **state)
{
    static const char uploads[] = "snapshotd_ftp_uploads_finished_total";
    static const char groups[] = "snapshotd_ftp_upload_groups_total";
    ftp_disk_register_metrics();
    double uploads_before = value_of(uploads), groups_before = value_of(groups);
    assert_true(uploads_before >= 0 && groups_before >= 0);
    sync_in_groups(*state, 1, 5, "fndssssffffnnnnd");
    assert_int_equal(value_of(uploads) - uploads_before, 5);
    assert_int_equal(value_of(groups) - groups_before, 2);
}

/* ---- neighbours ---- */

static void lets_passwords_hold_up_nobody(void **state)
{
    struct fixture *f = *state;
    enum { LOGINS = 8 };
    struct ftp_disk *d = start(f, 4);
    struct ftp_disk_job *logins[LOGINS];
    for (int i = 0; i < LOGINS; i++) {
        logins[i] = new_job(f, FTP_DISK_LOGIN, FTP_OP_STAT, "/");
        logins[i]->user = "slow";
        logins[i]->password = "x";
        ftp_disk_submit(d, logins[i]);
    }
    struct ftp_disk_job *job = new_upload(f, d, "/a.jpg");
    assert_int_equal(run(d, job), 0);
    free(job);
    for (int i = 0; i < LOGINS; i++)
        (void)sem_post(&login_may_end);
    assert_int_equal(collect_all(d, LOGINS), 0);
    for (int i = 0; i < LOGINS; i++) {
        assert_string_equal(logins[i]->account->name, "porch");
        free(logins[i]);
    }
    job = new_job(f, FTP_DISK_LOGIN, FTP_OP_STAT, "/");
    job->user = "nobody";
    assert_int_equal(run(d, job), -EACCES);
    assert_null(job->account);
    free(job);
    ftp_disk_free(d);
}

/* The signal that goes with it must not end the process. */
static void bears_the_process_limit_of_a_file(void **state)
{
    struct fixture *f = *state;
    struct ftp_disk *d = start(f, 1);
    struct ftp_disk_job *job = new_upload(f, d, "/a.jpg");
    AUTO_FREE char *bytes = xcalloc(1, 100000);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {50000, before.rlim_max};
    job->block = bytes;
    job->block_size = 100000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int r = run(d, job);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(r, -EFBIG);
    assert_int_equal(fixture_count(f, "/", ""), 0);
    free(job);
    ftp_disk_free(d);
}

static void finishes_what_was_submitted_before_it_stops(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 40 };
    for (int threads = 1; threads <= 4; threads++) {
        struct ftp_disk *d = start(f, threads);
        struct ftp_disk_job **jobs = new_uploads(f, d, COUNT);
        for (int i = 0; i < COUNT; i++) {
            if (i % 10 == 0) {
                jobs[i]->kind = FTP_DISK_LOGIN;
                jobs[i]->user = "quick";
                ftp_upload_close(STEAL(jobs[i]->upload));
            }
            ftp_disk_submit(d, jobs[i]);
        }
        ftp_disk_stop(d);
        ftp_disk_stop(d);
        assert_int_equal(collect_all(d, COUNT), 0);
        free_jobs(jobs, COUNT);
        ftp_disk_free(d);
    }
}

static void bounds_its_threads(void **state)
{
    struct fixture *f = *state;
    static const int asked[] = {-1, 0, 1, 1000};
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        struct ftp_disk *d = start(f, asked[i]);
        struct ftp_disk_job *job = new_upload(f, d, "/a.txt");
        assert_int_equal(run(d, job), 0);
        free(job);
        ftp_disk_free(d);
    }
    ftp_disk_free(NULL);
}

/* ---- many sessions ---- */

struct session {
    struct ftp_disk_job job;
    int number, uploads, blocks;
    char block[64];
};
enum { SESSIONS = 32, UPLOADS = 20, BLOCKS = 3 };

static void begin_upload(struct fixture *f, struct session *s)
{
    s->job.kind = FTP_DISK_OPEN;
    s->job.jail = f->jail;
    s->job.request.op = FTP_OP_STORE;
    s->job.owner = s;
    s->blocks = 0;
    (void)text_format(s->job.request.path, sizeof(s->job.request.path), "/%d/%d-%d.txt",
                      s->number % 5, s->number, s->uploads);
}

/* What a session does with the result of its job: false when it has stored all it wanted. */
static bool next_step(struct fixture *f, struct session *s)
{
    if (s->job.code != 0)
        CASE_FAILS("session %d: %s", s->number, s->job.error.text);
    if (s->job.kind == FTP_DISK_FINISH && ++s->uploads == UPLOADS)
        return false;
    if (s->job.kind == FTP_DISK_FINISH) {
        begin_upload(f, s);
        return true;
    }
    s->job.kind = ++s->blocks == BLOCKS ? FTP_DISK_FINISH : FTP_DISK_WRITE;
    (void)text_format(s->block, sizeof(s->block), "%d.%d.%d ", s->number, s->uploads, s->blocks);
    s->job.block = s->block;
    s->job.block_size = strlen(s->block);
    return true;
}

static void serves_many_sessions(void **state)
{
    struct fixture *f = *state;
    struct ftp_disk *d = start(f, 4);
    struct session *sessions = xcalloc(SESSIONS, sizeof(*sessions));
    int left = SESSIONS;
    f->account.quota = 1 << 30; /* all that can be counted is */
    f->account.files_max = 10000;
    f->options.folders_max = 5;
    fixture_jail(f);
    for (int i = 0; i < SESSIONS; i++) {
        sessions[i].number = i;
        begin_upload(f, &sessions[i]);
        ftp_disk_submit(d, &sessions[i].job);
    }
    while (left > 0) {
        struct ftp_disk_job *job = collect(d);
        while (job != NULL) {
            struct ftp_disk_job *next = job->next;
            if (next_step(f, job->owner))
                ftp_disk_submit(d, job);
            else
                left--;
            job = next;
        }
    }
    for (int i = 0; i < SESSIONS; i++) {
        for (int k = 0; k < UPLOADS; k++) {
            char path[64], text[64];
            (void)text_format(path, sizeof(path), "/%d/%d-%d.txt", i % 5, i, k);
            (void)text_format(text, sizeof(text), "%d.%d.1 %d.%d.2 %d.%d.3 ", i, k, i, k, i, k);
            fixture_expect(f, path, text);
        }
    }
    free(sessions);
    ftp_disk_free(d);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(does_every_kind_of_work),
        TEST(lists_in_every_form),
        TEST(refuses_a_cut_picture),
        TEST(syncs_together_what_waits_together),
        TEST(leaves_a_thread_for_other_work),
        TEST(bounds_a_group),
        TEST(does_other_work_while_a_group_is_synced),
        TEST(syncs_groups_beside_each_other),
        TEST(tells_each_of_a_group_its_own_fate),
        TEST(needs_no_group_without_sync),
        TEST(counts_uploads_and_groups),
        TEST(lets_passwords_hold_up_nobody),
        TEST(bears_the_process_limit_of_a_file),
        TEST(finishes_what_was_submitted_before_it_stops),
        TEST(bounds_its_threads),
        TEST(serves_many_sessions),
    };
    return RUN_TESTS(tests);
}
