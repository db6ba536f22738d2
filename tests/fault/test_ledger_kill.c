/* Kills a process that writes to ledger and store, at every named point and at random moments, and
 * looks at what is left: everything that was acknowledged is there once, each file has its row and
 * each row its file. */

#include "../unit/ledger/fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fault.h"
#include "ledger/ledger_upload.h"

enum { THREADS = 3, ROUNDS = 50, SETTLE_BATCH = 3 };
#define NUMBERS_MAX 100000

/* What the child told us before it died. */
enum ack { ACK_TRIGGER, ACK_SNAPSHOT, ACK_DELIVERED, ACK_MARKED, ACK_KEPT, ACK_COUNT };
struct ack_message {
    uint32_t number;
    uint32_t kind;
};
struct witness {
    bool acks[ACK_COUNT][NUMBERS_MAX];
    uint32_t next; /* first number that was never used */
};

struct worker {
    struct fixture *f;
    struct ledger *l;
    unsigned number;
    int out;
    uint32_t next;
    int64_t settled[SETTLE_BATCH];
    int settled_count;
};

static const char *const destinations[] = {"amqp", NULL};
static const struct upload_wish wish = {"gdrive", true, true};

/* ---- the child ---- */

static void die(const char *what, const struct err *e)
{
    (void)fprintf(stderr, "child: %s: %s\n", what, e->text);
    _exit(3);
}

static void tell(struct worker *w, enum ack kind, uint32_t number)
{
    struct ack_message m = {number, (uint32_t)kind};
    if (write(w->out, &m, sizeof(m)) != sizeof(m))
        _exit(4);
}

static uint32_t number_of(const char *id)
{
    return (uint32_t)strtoul(id + 24, NULL, 16);
}

static size_t picture_of(uint32_t n, char buf[64])
{
    return (size_t)snprintf(buf, 64, "picture %u %.*s", n, (int)(n % 20), "xxxxxxxxxxxxxxxxxxxx");
}

static void settle(struct worker *w, int64_t row, int least)
{
    struct err e;
    if (row != 0)
        w->settled[w->settled_count++] = row;
    if (w->settled_count < least)
        return;
    if (ledger_settle(w->l, w->settled, w->settled_count, &e) < 0)
        die("settle", &e);
    w->settled_count = 0;
}

/* What a detect stage does; every second picture shows a person. */
static void examine(struct worker *w, struct snapshot *s)
{
    struct err e;
    uint32_t n = number_of(s->id);
    bool person = n % 2 == 0;
    char human[SNAPSHOT_PATH_MAX] = "", detect[SNAPSHOT_PATH_MAX] = "";
    if (person) {
        if (snapshot_name_renamed(s->path, "human", human, sizeof(human)) < 0 ||
            snapshot_name_renamed(s->path, "detect", detect, sizeof(detect)) < 0)
            _exit(5);
        if (store_put(w->f->s, s->id, true, "copy", 4, &e) < 0)
            die("put copy", &e);
    }
    static const char *const labels[] = {"person"};
    static const float scores[] = {0.9f};
    struct verdict v = make_verdict(labels, scores, person);
    if (ledger_snapshot_examined(w->l, s, &v, human, detect, destinations, &wish, 1, &e) < 0)
        die("examined", &e);
    verdict_done(&v);
    if (!person)
        return;
    if (store_place(w->f->s, s->id, true, detect, &e) < 0 ||
        store_rename(w->f->s, s->path, human, &e) < 0 || store_sync(w->f->s, human, &e) < 0)
        die("move", &e);
    settle(w, s->row, SETTLE_BATCH);
}

/* What fetch and intake do. */
static void take_in(struct worker *w, const struct trigger *t)
{
    struct err e;
    uint32_t n = number_of(t->id);
    AUTO(snapshot) s = make_snapshot(n, t->camera);
    char picture[64];
    s->size = (int64_t)picture_of(n, picture);
    s->event_at.us = (int64_t)(n / 5) * 1000000; /* several share a name */
    if (n % 7 == 0 && t->attempts == 0) {
        struct wall_time soon = {1};
        if (ledger_trigger_retry(w->l, t, soon, "busy", &e) < 0)
            die("retry", &e);
    }
    if (store_put(w->f->s, s->id, false, picture, (size_t)s->size, &e) < 0)
        die("put", &e);
    int r;
    do {
        r = store_path_fetched(w->f->s, w->l, s, "pictures", s->path, sizeof(s->path), &e);
        if (r == 0)
            r = ledger_snapshot_add(w->l, s, &e);
    } while (r == -ENOTUNIQ); /* another thread took it meanwhile */
    if (r < 0)
        die("add", &e);
    tell(w, ACK_SNAPSHOT, n);
    if (store_place(w->f->s, s->id, false, s->path, &e) < 0)
        die("place", &e);
    examine(w, s);
}

static void deliver(struct worker *w)
{
    struct err e;
    struct outbox_item items[4];
    int n = ledger_outbox_due(w->l, "amqp", ledger_now(), items, 4, &e);
    if (n < 0)
        die("due", &e);
    if (n == 4 && ledger_outbox_retry(w->l, &items[3], (struct wall_time){1}, "busy", &e) < 0)
        die("retry", &e);
    if (ledger_outbox_done(w->l, items, n, &e) < 0)
        die("done", &e);
    for (int i = 0; i < n; i++)
        tell(w, ACK_DELIVERED, number_of(items[i].snapshot_id));
}

/* What an upload stage does: no mark is made twice. */
static void upload(struct worker *w)
{
    static const struct upload_order order = {.live_after = INT64_MAX};
    struct err e;
    struct upload_job jobs[4];
    int n = ledger_upload_due(w->l, "gdrive", &order, ledger_now(), NULL, 0, jobs, 4, &e);
    if (n < 0)
        die("upload due", &e);
    for (int i = 0; i < n; i++)
        if (jobs[i].mark[0] == '\0')
            (void)snprintf(jobs[i].mark, sizeof(jobs[i].mark), "%u-%d-%d",
                           number_of(jobs[i].snapshot_id), jobs[i].annotated, (int)getpid());
    if (ledger_upload_mark(w->l, jobs, n, &e) < 0)
        die("mark", &e);
    for (int i = 0; i < n; i++)
        if (!jobs[i].annotated)
            tell(w, ACK_MARKED, number_of(jobs[i].snapshot_id));
    if (n == 4 && ledger_upload_retry(w->l, &jobs[3], (struct wall_time){1}, "busy", &e) < 0)
        die("upload retry", &e);
    if (ledger_upload_done(w->l, jobs, NULL, n, &e) < 0)
        die("upload done", &e);
    for (int i = 0; i < n; i++)
        if (!jobs[i].annotated)
            tell(w, ACK_KEPT, number_of(jobs[i].snapshot_id));
}

/* What was left by the last one first, then new pictures without end. */
static void *work(void *arg)
{
    struct worker *w = arg;
    struct err e;
    struct snapshot *backlog[200];
    int n = ledger_backlog(w->l, 0, backlog, 200, &e);
    for (int i = 0; i < n; i++) {
        if (number_of(backlog[i]->id) % THREADS == w->number)
            examine(w, backlog[i]);
        snapshot_unref(backlog[i]);
    }
    /* Each thread has a camera of its own, so what is due for it waits for nobody else. */
    for (bool more = true; more;) {
        struct trigger due[THREADS];
        more = false;
        n = ledger_trigger_due(w->l, ledger_now(), due, THREADS, &e);
        for (int i = 0; i < n; i++) {
            if (number_of(due[i].id) % THREADS != w->number)
                continue;
            take_in(w, &due[i]);
            more = true;
        }
    }
    for (uint32_t number = w->next; number < NUMBERS_MAX; number += THREADS) {
        static const char *const cameras[THREADS] = {"porch", "yard", "gate"};
        struct trigger t = make_trigger(number, cameras[w->number]);
        if (ledger_trigger_add(w->l, &t, &e) < 0)
            die("trigger", &e);
        tell(w, ACK_TRIGGER, number);
        take_in(w, &t);
        if (w->number == 0)
            deliver(w);
        if (w->number == 1)
            upload(w);
    }
    return NULL;
}

static void run_child(struct fixture *f, int out, uint32_t next)
{
    struct err e;
    struct ledger *first = NULL;
    struct store_recovery done;
    if (ledger_open(f->db, &first, &e) < 0 || store_open(f->root, 0, &f->s, &e) < 0 ||
        store_recover(f->s, first, &done, &e) < 0)
        die("open", &e);
    struct worker workers[THREADS] = {0};
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        struct worker *w = &workers[i];
        *w = (struct worker){.f = f, .number = i, .out = out};
        w->next = next + (i + THREADS - next % THREADS) % THREADS;
        if (ledger_open(f->db, &w->l, &e) < 0)
            die("open", &e);
        if (pthread_create(&threads[i], NULL, work, w) != 0)
            _exit(6);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    _exit(7); /* the numbers ran out before we were killed */
}

/* ---- the parent ---- */

static uint64_t seed = 4711;

static unsigned dice(unsigned sides)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)((seed >> 33) % sides);
}

/* Lets a child work until it dies at the named point, or is killed after that many messages. */
static void run_and_kill(struct fixture *f, struct witness *w, const char *point, unsigned messages)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (point != NULL)
            (void)setenv("SNAPSHOTD_CRASH_AT", point, 1);
        (void)close(ends[0]);
        run_child(f, ends[1], w->next);
    }
    (void)close(ends[1]);
    struct ack_message m;
    unsigned seen = 0;
    for (;;) {
        ssize_t n = read(ends[0], &m, sizeof(m));
        if (n == 0)
            break;
        assert_int_equal(n, sizeof(m));
        w->acks[m.kind][m.number] = true;
        w->next = MAX(w->next, m.number + 1);
        if (++seen == messages && point == NULL)
            (void)kill(child, SIGKILL);
    }
    (void)close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("%s: the child ended with status %x", point != NULL ? point : "random", status);
    /* Each thread may have used one more number than it could tell. */
    w->next += 2 * THREADS;
}

static void check_acknowledged(struct fixture *f, const struct witness *w)
{
    for (uint32_t n = 1; n < w->next; n++) {
        char id[SNAPSHOT_ID_SIZE];
        make_id(n, id);
        struct trigger t;
        AUTO(snapshot) s = NULL;
        int triggered = ledger_trigger_get(f->l, id, &t, &f->e);
        int recorded = ledger_snapshot_get(f->l, id, &s, &f->e);
        assert_true(triggered == 0 || triggered == -ENOENT);
        assert_true(recorded == 0 || recorded == -ENOENT);
        if (w->acks[ACK_TRIGGER][n])
            assert_int_equal(triggered, 0);
        if (w->acks[ACK_SNAPSHOT][n])
            assert_int_equal(recorded, 0);
        if (recorded < 0)
            continue;
        assert_int_equal(t.state, TRIGGER_DONE);
        char picture[64];
        size_t size = picture_of(n, picture);
        AUTO(blob) b = NULL;
        if (store_read(f->s, s->path, 1000, &b, &f->e) < 0)
            fail_msg("%s", f->e.text);
        assert_int_equal(b->size, size);
        assert_memory_equal(b->data, picture, size);
    }
}

/* What was said to be kept is, and what was said to be marked has its mark. */
static void check_uploads(struct fixture *f, const struct witness *w)
{
    AUTO_FREE bool *kept = calloc(NUMBERS_MAX, sizeof(*kept));
    struct upload_job job;
    int64_t row = 0;
    int n;
    while ((n = ledger_upload_kept(f->l, "gdrive", row, &job, 1, &f->e)) == 1) {
        row = job.row;
        assert_true(job.mark[0] != '\0');
        assert_int_equal(strtoul(job.mark, NULL, 10), number_of(job.snapshot_id));
        if (!job.annotated)
            kept[number_of(job.snapshot_id)] = true;
    }
    assert_int_equal(n, 0);
    for (uint32_t i = 1; i < w->next; i++)
        if (w->acks[ACK_KEPT][i])
            assert_true(kept[i]);
    static const struct upload_order order = {.live_after = INT64_MAX};
    static struct upload_job jobs[256];
    n = ledger_upload_due(f->l, "gdrive", &order, ledger_now(), NULL, 0, jobs, 256, &f->e);
    for (int i = 0; i < n; i++)
        if (!jobs[i].annotated && w->acks[ACK_MARKED][number_of(jobs[i].snapshot_id)])
            assert_true(jobs[i].mark[0] != '\0');
}

/* `snapshotd verify --repair` may run before the daemon does, and deletes what no row names. */
static int is_no_orphan(void *arg UNUSED, const char *path, const struct stat *st UNUSED)
{
    if (!text_starts_with(path, ".incoming/"))
        fail_msg("%s waits for its recovery and no row names it", path);
    return 0;
}

static void check_what_is_left(struct fixture *f, const struct witness *w)
{
    fixture_open(f);
    if (store_orphans(f->s, f->l, is_no_orphan, NULL, &f->e) < 0)
        fail_msg("%s", f->e.text);
    struct store_recovery done;
    if (store_recover(f->s, f->l, &done, &f->e) < 0)
        fail_msg("%s", f->e.text);
    assert_int_equal(done.missing, 0);
    struct dynbuf report;
    dynbuf_init(&report, 65536);
    int n = store_check(f->s, f->l, &report, &f->e);
    if (n != 0)
        fail_msg("%d findings: %s%s", n, dynbuf_str(&report), n < 0 ? f->e.text : "");
    dynbuf_done(&report);
    assert_sound(f);
    check_acknowledged(f, w);
    check_uploads(f, w);
    struct ledger_unsettled u;
    assert_int_equal(ledger_unsettled(f->l, 0, &u, 1, &f->e), 0);
    fixture_close(f);
}

static void a_kill_at_every_named_point_leaves_all_in_order(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name;
        bool once; /* is passed once in a run */
    } points[] = {
        {"before-migration-commit", true},
        {"before-trigger-commit", false},
        {"after-trigger-commit", false},
        {"before-trigger-retry-commit", false},
        {"after-store-part", false},
        {"before-store-sync", false},
        {"after-store-put", false},
        {"before-snapshot-commit", false},
        {"after-snapshot-commit", false},
        {"before-store-place", false},
        {"after-store-mkdirs", true},
        {"after-store-place", false},
        {"before-examined-commit", false},
        {"after-examined-commit", false},
        {"before-store-rename", false},
        {"after-store-rename", false},
        {"after-store-sync", false},
        {"before-settle-commit", false},
        {"before-outbox-done-commit", false},
        {"after-outbox-done-commit", false},
        {"before-outbox-retry-commit", false},
        {"before-upload-mark-commit", false},
        {"after-upload-mark-commit", false},
        {"before-upload-retry-commit", false},
        {"before-upload-done-commit", false},
        {"after-upload-done-commit", false},
    };
    struct witness *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    w->next = 1;
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        static const char *const passes[] = {"", ":4", ":9"};
        for (size_t k = 0; k < (points[i].once ? 1 : ARRAY_LEN(passes)); k++) {
            char point[64];
            (void)snprintf(point, sizeof(point), "%s%s", points[i].name, passes[k]);
            if (points[i].once) { /* they need a new ledger or a new folder */
                (void)nftw(f->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
                assert_int_equal(mkdir(f->folder, 0700), 0);
                memset(w, 0, sizeof(*w));
                w->next = 1;
            }
            run_and_kill(f, w, point, 0);
            check_what_is_left(f, w);
        }
    }
    free(w);
}

static void a_kill_while_recovering_leaves_all_in_order(void **state)
{
    struct fixture *f = *state;
    struct witness *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    w->next = 1;
    static const struct {
        const char *first, *then;
    } cases[] = {
        {"after-store-put", "before-recovery-discard"},
        {"after-snapshot-commit", "before-store-place"},
        {"after-snapshot-commit", "after-store-place"},
        {"after-examined-commit:2", "after-store-place"},
        {"before-store-rename", "before-store-rename"},
        {"before-store-rename", "after-store-rename"},
        {"after-store-rename", "before-settle-commit"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        run_and_kill(f, w, cases[i].first, 0);
        run_and_kill(f, w, cases[i].then, 0);
        check_what_is_left(f, w);
    }
    free(w);
}

static void a_kill_at_any_moment_leaves_all_in_order(void **state)
{
    struct fixture *f = *state;
    struct witness *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    w->next = 1;
    for (int i = 0; i < ROUNDS; i++) {
        run_and_kill(f, w, NULL, 1 + dice(40));
        check_what_is_left(f, w);
    }
    free(w);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup_folder, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_kill_at_every_named_point_leaves_all_in_order),
        CASE(a_kill_while_recovering_leaves_all_in_order),
        CASE(a_kill_at_any_moment_leaves_all_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
