/* Uploads on a virtual clock: exactly once, the order, pauses, bad files, restarts, stops. The
 * test turns the stage by hand; its workers are real threads and the storage is a shelf in memory
 * that does what the test says. */
#include "flow.h"

#include <poll.h>
#include <sys/syscall.h>

#include "../unit/sanitized.h"
#include "base/parse.h"
#include "ledger/ledger_upload.h"
#include "sys/db.h"

#define PLACES 10240

static _Atomic int64_t now_us = 1000000000; /* monotonic */

static struct mono_time virtual_mono(void)
{
    return (struct mono_time){atomic_load(&now_us)};
}
static void pass_ms(int64_t ms)
{
    atomic_fetch_add(&now_us, ms * 1000);
}

/* Thousands of commits would wait for the disk that other tests use; nobody pulls its plug. */
static atomic_bool syncs_skipped;
int fsync(int fd)
{
    return atomic_load(&syncs_skipped) ? 0 : (int)syscall(SYS_fsync, fd);
}
int fdatasync(int fd)
{
    return atomic_load(&syncs_skipped) ? 0 : (int)syscall(SYS_fdatasync, fd);
}

/* ---- the shelf ---- */

struct answer {
    int code;
    enum err_retry retry;
    struct storage_failure failure;
    bool stored; /* it is there nevertheless: the answer got lost */
};

struct shelf {
    struct storage base;
    struct storage_ops ops;
    struct storage_common common;
    struct flow *flow;
    int go_fd; /* readable: calls are not held */
    /* Guarded by the flow's lock. */
    struct answer now;     /* to all puts */
    struct answer reserve; /* to all reserves */
    const char *bad_name;  /* part of a name: puts of it get `bad` instead */
    struct answer bad;
    int ids, reserves, reserved_last, puts, inside, inside_max;
    int stock;  /* ids that ask nobody */
    int refill; /* who fills it up; never comes back */
    struct {
        char id[64], name[128];
        int times;
        bool annotated, starred;
    } places[PLACES]; /* in the order in which they came */
    int count;
    int place_of[PLACES]; /* by the number in the id; 1 more than the place, 0 = none */
    int archives, archive_code;
    int stars, tended, rooms;
    const char *bad_star; /* of this id stars get `bad` */
    char labels[64], md5[40], path[256];
};

struct storage_session {
    struct shelf *shelf;
    int stop_fd;
    const struct storage_memory memory;
};

static int shelf_session_new(struct storage *s, int stop_fd, const struct storage_memory *memory,
                             struct storage_session **ret, struct err *e UNUSED)
{
    struct storage_session *w = xcalloc(1, sizeof(*w));
    struct storage_session start = {container_of(s, struct shelf, base), stop_fd, *memory};
    memcpy(w, &start, sizeof(start));
    *ret = w;
    return 0;
}

static void shelf_session_free(struct storage_session *w)
{
    free(w);
}

static int give(const struct answer *a, struct storage_failure *f, struct err *e)
{
    *f = a->failure;
    return a->code < 0 ? err_set(e, a->code, a->retry, "the shelf has its day") : 0;
}

static int shelf_reserve(struct storage_session *w, const struct storage_object *objects,
                         struct storage_mark *marks, int count, struct storage_failure *f,
                         struct err *e)
{
    struct shelf *s = w->shelf;
    pthread_mutex_lock(&s->flow->lock);
    struct answer a = s->reserve;
    s->reserves++;
    s->reserved_last = count;
    for (int i = 0; i < count && a.code == 0; i++) {
        assert_null(objects[i].bytes);
        (void)snprintf(marks[i].id, sizeof(marks[i].id), "id-%d", s->ids++);
    }
    pthread_cond_broadcast(&s->flow->changed);
    pthread_mutex_unlock(&s->flow->lock);
    return give(&a, f, e);
}

/* Of no object it fills the stock, and hangs. */
static int shelf_reserve_or_hang(struct storage_session *w, const struct storage_object *objects,
                                 struct storage_mark *marks, int count, struct storage_failure *f,
                                 struct err *e)
{
    struct shelf *s = w->shelf;
    struct pollfd fd = {.fd = w->stop_fd, .events = POLLIN};
    if (count > 0)
        return shelf_reserve(w, objects, marks, count, f, e);
    pthread_mutex_lock(&s->flow->lock);
    s->refill++;
    pthread_cond_broadcast(&s->flow->changed);
    pthread_mutex_unlock(&s->flow->lock);
    (void)poll(&fd, 1, -1);
    return err_set(e, -ECANCELED, ERR_LATER, "stopped");
}

static int shelf_reserve_stocked(struct storage *storage, struct storage_mark *marks, int count)
{
    struct shelf *s = container_of(storage, struct shelf, base);
    pthread_mutex_lock(&s->flow->lock);
    bool enough = s->stock >= count;
    for (int i = 0; i < count && enough; i++) {
        marks[i] = (struct storage_mark){0};
        (void)snprintf(marks[i].id, sizeof(marks[i].id), "id-%d", s->ids++);
    }
    s->stock -= enough ? count : 0;
    pthread_mutex_unlock(&s->flow->lock);
    return enough ? 0 : -EAGAIN;
}

/* The same id again is the same place. */
static void place(struct shelf *s, const struct storage_object *o, const char *id)
{
    int64_t number;
    const char *digits = id + strlen("id-");
    assert_int_equal(parse_int64(digits, strlen(digits), 0, PLACES - 1, &number), 0);
    assert_true(s->count < PLACES);
    if (s->place_of[number] == 0)
        s->place_of[number] = ++s->count;
    int i = s->place_of[number] - 1;
    text_copy(s->places[i].id, sizeof(s->places[i].id), id);
    text_copy(s->places[i].name, sizeof(s->places[i].name), o->name);
    s->places[i].annotated = o->annotated;
    s->places[i].starred = o->starred;
    s->places[i].times++;
    text_copy(s->labels, sizeof(s->labels), o->labels);
    text_copy(s->md5, sizeof(s->md5), o->md5);
    text_copy(s->path, sizeof(s->path), o->path);
}

static int shelf_put(struct storage_session *w, const struct storage_object *o,
                     struct storage_mark *mark,
                     int (*save)(void *arg, const struct storage_mark *mark, struct err *e),
                     void *arg, struct storage_failure *f, struct err *e)
{
    struct shelf *s = w->shelf;
    struct pollfd fds[] = {{.fd = w->stop_fd, .events = POLLIN},
                           {.fd = s->go_fd, .events = POLLIN}};
    pthread_mutex_lock(&s->flow->lock);
    s->puts++;
    s->inside++;
    s->inside_max = MAX(s->inside_max, s->inside);
    pthread_cond_broadcast(&s->flow->changed);
    pthread_mutex_unlock(&s->flow->lock);
    (void)poll(fds, 2, -1);
    pthread_mutex_lock(&s->flow->lock);
    s->inside--;
    bool stopped = !(fds[1].revents & POLLIN);
    struct answer a = s->bad_name && strstr(o->name, s->bad_name) ? s->bad : s->now;
    assert_int_equal(o->bytes->size > 0, 1);
    if (!stopped && (a.code == 0 || a.stored))
        place(s, o, mark->id);
    pthread_cond_broadcast(&s->flow->changed);
    pthread_mutex_unlock(&s->flow->lock);
    if (stopped)
        return err_set(e, -ECANCELED, ERR_LATER, "stopped");
    if (a.code < 0 && a.stored) { /* a resumable upload has begun */
        text_copy(mark->resume, sizeof(mark->resume), "session");
        if (save(arg, mark, e) < 0)
            return e->code;
    }
    text_copy(mark->url, sizeof(mark->url), "shelf://");
    if (a.code == 0)
        text_copy(mark->resume, sizeof(mark->resume), "how it looked");
    return give(&a, f, e);
}

static int shelf_verify(struct storage_session *w UNUSED, const struct storage_object *o UNUSED,
                        const struct storage_mark *mark UNUSED, struct storage_failure *f UNUSED,
                        struct err *e UNUSED)
{
    return 0;
}

static int shelf_archive(struct storage_session *w, struct wall_time now UNUSED,
                         struct storage_failure *f UNUSED, struct err *e)
{
    struct shelf *s = w->shelf;
    char text[16];
    assert_int_equal(w->memory.get(w->memory.arg, "none", text, sizeof(text), e), -ENOENT);
    assert_int_equal(w->memory.set(w->memory.arg, "folder", "f-1", e), 0);
    assert_int_equal(w->memory.get(w->memory.arg, "folder", text, sizeof(text), e), 0);
    pthread_mutex_lock(&s->flow->lock);
    s->archives++;
    int code = s->archive_code;
    pthread_cond_broadcast(&s->flow->changed);
    pthread_mutex_unlock(&s->flow->lock);
    return code < 0 ? err_set(e, code, ERR_LATER, "no tidying today") : code;
}

static int shelf_star(struct storage_session *w, const struct storage_mark *mark, bool starred,
                      struct storage_failure *f, struct err *e)
{
    struct shelf *s = w->shelf;
    struct answer a = {0};
    pthread_mutex_lock(&s->flow->lock);
    s->stars++;
    if (s->bad_star && strcmp(s->bad_star, mark->id) == 0)
        a = s->bad;
    for (int i = 0; i < s->count && a.code == 0; i++)
        if (strcmp(s->places[i].id, mark->id) == 0)
            s->places[i].starred = starred;
    pthread_cond_broadcast(&s->flow->changed);
    pthread_mutex_unlock(&s->flow->lock);
    return give(&a, f, e);
}

static int shelf_free_bytes(struct storage_session *w, int64_t *ret, struct err *e UNUSED)
{
    struct shelf *s = w->shelf;
    pthread_mutex_lock(&s->flow->lock);
    *ret = 1000 + s->rooms++;
    pthread_cond_broadcast(&s->flow->changed);
    pthread_mutex_unlock(&s->flow->lock);
    return 0;
}

static int64_t shelf_tend(struct storage_session *w)
{
    struct shelf *s = w->shelf;
    pthread_mutex_lock(&s->flow->lock);
    s->tended++;
    pthread_cond_broadcast(&s->flow->changed);
    pthread_mutex_unlock(&s->flow->lock);
    return 5000;
}

static void shelf_describe(struct storage *s UNUSED, struct storage_state *ret)
{
    text_copy(ret->text, sizeof(ret->text), "a shelf");
    text_copy(ret->url, sizeof(ret->url), "shelf://");
}

static void shelf_init(struct shelf *s, struct flow *f, const char *name)
{
    *s = (struct shelf){
        .ops = {.kind = "shelf",
                .session_new = shelf_session_new,
                .session_free = shelf_session_free,
                .reserve = shelf_reserve,
                .put = shelf_put,
                .verify = shelf_verify,
                .describe = shelf_describe},
        .common = {.enabled = true,
                   .upload = UPLOAD_ALL,
                   .order = STORAGE_OLDEST_FIRST,
                   .parallel = 4},
        .flow = f,
        .go_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK),
    };
    s->base = (struct storage){.ops = &s->ops, .name = name};
    struct storage_plan *p = &f->storage_plans[f->storage_count++];
    *p = (struct storage_plan){.common = &s->common};
    text_copy(p->name, sizeof(p->name), name);
    p->rule = storage_common_rule(&s->common, p->name);
}

static void hold(struct shelf *s, bool held)
{
    uint64_t n = 1;
    if (held)
        (void)!read(s->go_fd, &n, sizeof(n));
    else
        (void)!write(s->go_fd, &n, sizeof(n));
}

/* ---- the stage by hand ---- */

struct by_hand {
    struct flow *f;
    struct shelf shelf;
    struct stage *stage;
    void *upload;
};

static int64_t nothing_to_do(void *self UNUSED)
{
    return 3600000;
}
static const struct stage_ops idle_ops = {.name = "idle", .sweep = nothing_to_do};

static void start(struct by_hand *h)
{
    struct err e = {0};
    h->upload = upload_stage_new(&h->f->p, &h->shelf.base);
    if (upload_stage.init(h->upload, h->stage, &e) < 0)
        fail_msg("%s", e.text);
}

static void stop(struct by_hand *h)
{
    upload_stage.fini(h->upload);
    free(h->upload);
    h->upload = NULL;
}

static struct by_hand *open_hand(void)
{
    struct by_hand *h = xcalloc(1, sizeof(*h));
    h->f = flow_new(1, 0);
    shelf_init(&h->shelf, h->f, "shelf");
    return h;
}

static struct by_hand *begin(void)
{
    struct by_hand *h = open_hand();
    flow_configure(h->f, "");
    h->stage = h->f->stages[flow_start_stage(h->f, &idle_ops, NULL, 0, NULL, 0)];
    start(h);
    return h;
}

/* With what the test has set before. */
static void begin_as_set(struct by_hand *h)
{
    flow_configure(h->f, "");
    h->stage = h->f->stages[flow_start_stage(h->f, &idle_ops, NULL, 0, NULL, 0)];
    start(h);
}

static void close_hand(struct by_hand *h)
{
    if (h->upload)
        stop(h);
    flow_assert_sound(h->f);
    (void)close(h->shelf.go_fd);
    flow_free(h->f);
    free(h);
}

/* An examined picture with a job for each plan; "fetch_NAME_N.jpg". */
static void add_picture(struct by_hand *h, const char *name, int n, bool placed,
                        char ret_id[SNAPSHOT_ID_SIZE])
{
    struct upload_wish wishes[2];
    struct detection found[2] = {{.label = "person", .confidence = 0.9f},
                                 {.label = "dog", .confidence = 0.5f}};
    struct verdict v = {.outcome = VERDICT_EXAMINED, .found = {found, 2}};
    struct err e = {0};
    AUTO(snapshot) s = flow_store(h->f, name, n, placed);
    for (size_t i = 0; i < h->f->storage_count; i++)
        wishes[i] = (struct upload_wish){h->f->storage_plans[i].name, true, false};
    if (ledger_snapshot_examined(h->f->l, s, &v, NULL, NULL, NULL, wishes, h->f->storage_count,
                                 &e) < 0)
        fail_msg("%s", e.text);
    if (ret_id)
        text_copy(ret_id, SNAPSHOT_ID_SIZE, s->id);
}

static void picture(struct by_hand *h, const char *name, int n, char ret_id[SNAPSHOT_ID_SIZE])
{
    add_picture(h, name, n, true, ret_id);
}

static struct upload_counts counts_of(struct by_hand *h, const char *storage)
{
    struct upload_counts c = {0};
    struct err e = {0};
    if (ledger_upload_counts(h->f->l, storage, &c, &e) < 0)
        fail_msg("%s", e.text);
    return c;
}
static struct upload_counts counts(struct by_hand *h)
{
    return counts_of(h, "shelf");
}

static struct storage_status status(struct by_hand *h)
{
    struct storage_status st;
    upload_stage_status(h->upload, &st);
    return st;
}

/* Turns the stage until this holds. It turns without the flow's lock, since it writes log lines. */
#define TURN_UNTIL(h, condition)                                                                   \
    do {                                                                                           \
        struct timespec late_, look_;                                                              \
        bool there_ = false;                                                                       \
        (void)clock_gettime(CLOCK_REALTIME, &late_);                                               \
        late_.tv_sec += FLOW_PATIENCE_S;                                                           \
        do {                                                                                       \
            (void)upload_stage.sweep((h)->upload);                                                 \
            pthread_mutex_lock(&(h)->f->lock);                                                     \
            there_ = (condition);                                                                  \
            (void)clock_gettime(CLOCK_REALTIME, &look_);                                           \
            bool over_ = look_.tv_sec > late_.tv_sec;                                              \
            look_.tv_nsec += 2000000;                                                              \
            if (look_.tv_nsec >= 1000000000) {                                                     \
                look_.tv_nsec -= 1000000000;                                                       \
                look_.tv_sec++;                                                                    \
            }                                                                                      \
            if (!there_)                                                                           \
                (void)pthread_cond_timedwait(&(h)->f->changed, &(h)->f->lock, &look_);             \
            pthread_mutex_unlock(&(h)->f->lock);                                                   \
            if (!there_ && over_)                                                                  \
                CASE_FAILS("never came: %s", #condition);                                          \
        } while (!there_);                                                                         \
    } while (0)

/* Some turns, in which nothing may happen. */
static void turn(struct by_hand *h)
{
    for (int i = 0; i < 5; i++)
        (void)upload_stage.sweep(h->upload);
}

static void name_of(const char *camera, int n, char ret[64])
{
    (void)snprintf(ret, 64, "fetch_%s_%d.jpg", camera, n);
}

static void assert_order(struct by_hand *h, const int *wanted, int count)
{
    assert_int_equal(h->shelf.count, count);
    for (int i = 0; i < count; i++) {
        char name[64];
        name_of("c", wanted[i], name);
        if (strcmp(h->shelf.places[i].name, name) != 0)
            fail_msg("place %d has %s, not %s", i, h->shelf.places[i].name, name);
    }
}

/* ---- the tests ---- */

static void every_file_arrives_once(void **state UNUSED)
{
    struct by_hand *h = begin();
    for (int i = 0; i < 100; i++)
        picture(h, "c", i, NULL);
    TURN_UNTIL(h, counts(h).done == 100);
    assert_int_equal(h->shelf.count, 100);
    assert_int_equal(h->shelf.puts, 100);
    assert_true(h->shelf.inside_max <= 4);
    assert_true(h->shelf.reserves <= 10); /* marks are made for many at once */
    assert_string_equal(h->shelf.labels, "person,dog");
    assert_int_equal(strlen(h->shelf.md5), 32);
    assert_true(text_starts_with(h->shelf.path, "c/2023/11/14/fetch_c_"));
    assert_int_equal(status(h).kept, 100);
    assert_int_equal(counts(h).pending, 0);
    close_hand(h);
}

/* What a crash leaves is the database as it was then. */
static void copy_file(const char *from, const char *to)
{
    struct err e = {0};
    AUTO(blob) b = NULL;
    (void)unlink(to);
    if (fs_read_blob(AT_FDCWD, from, 64 << 20, &b, &e) < 0)
        return;
    if (fs_create_synced(AT_FDCWD, to, b->data, b->size, 0600, &e) < 0)
        fail_msg("%s", e.text);
}
static void copy_database(const char *from, const char *to)
{
    static const char *const parts[] = {"", "-wal"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        char a[200], b[200];
        (void)snprintf(a, sizeof(a), "%s%s", from, parts[i]);
        (void)snprintf(b, sizeof(b), "%s%s", to, parts[i]);
        copy_file(a, b);
    }
}

static void a_crash_between_the_upload_and_its_record_makes_no_second_one(void **state UNUSED)
{
    struct by_hand *h = begin();
    struct err e = {0};
    char saved[160], shm[160];
    (void)snprintf(saved, sizeof(saved), "%s/saved.db", h->f->dir);
    (void)snprintf(shm, sizeof(shm), "%s-shm", h->f->ledger_path);
    for (int i = 0; i < 100; i++)
        picture(h, "c", i, NULL);
    /* All but the last of each round are written down; then the lights go out. */
    for (int round = 1; round <= 4; round++) {
        int before = FLOW_GET(h->f, h->shelf.count);
        TURN_UNTIL(h, h->shelf.count > before);
        FLOW_WAIT(h->f, h->shelf.inside == 0 && status(h).under_way == 0);
        copy_database(h->f->ledger_path, saved);
        stop(h); /* it writes what it knows, which is then lost */
        ledger_close(h->f->l);
        copy_database(saved, h->f->ledger_path);
        (void)unlink(shm);
        assert_int_equal(ledger_open(h->f->ledger_path, &h->f->l, &e), 0);
        assert_true(counts(h).done < FLOW_GET(h->f, h->shelf.count));
        start(h);
    }
    TURN_UNTIL(h, counts(h).done == 100);
    assert_int_equal(h->shelf.count, 100);
    assert_true(h->shelf.puts > 100); /* some were sent again, to where they were */
    close_hand(h);
}

static void a_lost_answer_makes_no_second_one(void **state UNUSED)
{
    struct by_hand *h = begin();
    struct upload_job job;
    struct err e = {0};
    h->shelf.now = (struct answer){-EIO, ERR_LATER, {STORAGE_AWAY, 0}, true};
    picture(h, "c", 1, NULL);
    TURN_UNTIL(h, status(h).trouble == STORAGE_AWAY);
    assert_int_equal(h->shelf.count, 1);
    struct upload_order order = {.live_after = INT64_MAX};
    assert_int_equal(
        ledger_upload_due(h->f->l, "shelf", &order, ledger_now(), NULL, 0, &job, 1, &e), 1);
    assert_string_equal(job.mark, "id-0\nsession\n"); /* saved by the storage on the way */
    assert_int_equal(job.attempts, 0);
    FLOW_SET(h->f, h->shelf.now, (struct answer){0});
    pass_ms(1000);
    TURN_UNTIL(h, counts(h).done == 1);
    assert_int_equal(h->shelf.count, 1);
    assert_int_equal(h->shelf.places[0].times, 2);
    assert_int_equal(ledger_upload_kept(h->f->l, "shelf", 0, &job, 1, &e), 1);
    assert_string_equal(job.mark, "id-0\nhow it looked\nshelf://"); /* as the storage left it */
    close_hand(h);
}

static void after_an_outage_all_goes_in_the_order_of_the_rule(void **state UNUSED)
{
    for (int newest = 0; newest <= 1; newest++) {
        struct by_hand *h = open_hand();
        int wanted[30];
        h->shelf.common.parallel = 1;
        h->shelf.common.order = newest ? STORAGE_NEWEST_FIRST : STORAGE_OLDEST_FIRST;
        h->shelf.now = (struct answer){-EHOSTUNREACH, ERR_LATER, {STORAGE_AWAY, 0}, false};
        flow_configure(h->f, "");
        h->stage = h->f->stages[flow_start_stage(h->f, &idle_ops, NULL, 0, NULL, 0)];
        start(h);
        picture(h, "c", 0, NULL);
        TURN_UNTIL(h, status(h).trouble == STORAGE_AWAY);
        for (int i = 1; i < 30; i++) {
            picture(h, "c", i, NULL);
            turn(h);
        }
        for (int i = 0; i < 30; i++)
            wanted[i] = newest ? 29 - i : i;
        FLOW_SET(h->f, h->shelf.now, (struct answer){0});
        pass_ms(300000);
        TURN_UNTIL(h, counts(h).done == 30);
        assert_order(h, wanted, 30);
        close_hand(h);
    }
}

/* As picture() does, for many at once: one transaction, and one file under all of their names. */
static void pictures(struct by_hand *h, int from, int to)
{
    struct upload_wish wish = {"shelf", true, false};
    struct verdict v = {.outcome = VERDICT_EXAMINED};
    AUTO_DONE(dynbuf) jpeg;
    struct err e = {0};
    char first[300], other[700];
    make_jpeg(&jpeg, 1);
    assert_int_equal(ledger_group_begin(h->f->l, &e), 0);
    for (int i = from; i < to; i++) {
        AUTO(snapshot) s = snapshot_new();
        snapshot_id_new(clock_wall(), s->id);
        text_copy(s->camera, sizeof(s->camera), "c");
        text_copy(s->device_key, sizeof(s->device_key), "c");
        text_copy(s->device_label, sizeof(s->device_label), "c");
        s->event_at = wall_from_seconds(1700000000 + i);
        s->received_at = clock_wall();
        (void)snprintf(s->path, sizeof(s->path), "c/2023/11/14/fetch_c_%d.jpg", i);
        s->size = (int64_t)jpeg.len;
        hash_sha256_hex(jpeg.data, jpeg.len, s->sha256);
        text_copy(s->format, sizeof(s->format), "jpeg");
        s->width = s->height = 16;
        s->orientation = 1;
        if (ledger_snapshot_add(h->f->l, s, &e) < 0 ||
            ledger_snapshot_examined(h->f->l, s, &v, NULL, NULL, NULL, &wish, 1, &e) < 0)
            fail_msg("%s", e.text);
        (void)snprintf(other, sizeof(other), "%s/%s", h->f->store_path, s->path);
        if (i == 0) {
            assert_int_equal(store_put(h->f->p.store, s->id, false, jpeg.data, jpeg.len, &e), 0);
            assert_int_equal(store_place(h->f->p.store, s->id, false, s->path, &e), 0);
        } else {
            (void)snprintf(first, sizeof(first), "%s/c/2023/11/14/fetch_c_0.jpg", h->f->store_path);
            assert_int_equal(link(first, other), 0);
        }
    }
    assert_int_equal(ledger_group_end(h->f->l, &e), 0);
}

/* A day away, with a picture every nine seconds. Sanitizers take ten times as long, and a tenth
 * shows them as much. */
static void after_a_day_ten_thousand_go_once_each_in_the_order_of_the_rule(void **state UNUSED)
{
    enum { COUNT = TEST_SANITIZED ? 1000 : 10000, LOOKS = 24 * 12 }; /* every five minutes */
    static int wanted[COUNT];
    atomic_store(&syncs_skipped, true);
    for (int newest = 0; newest <= 1; newest++) {
        struct by_hand *h = open_hand();
        h->shelf.common.parallel = 1;
        h->shelf.common.order = newest ? STORAGE_NEWEST_FIRST : STORAGE_OLDEST_FIRST;
        h->shelf.now = (struct answer){-EHOSTUNREACH, ERR_LATER, {STORAGE_AWAY, 0}, false};
        begin_as_set(h);
        for (int look = 0; look < LOOKS; look++) {
            int puts = FLOW_GET(h->f, h->shelf.puts);
            pictures(h, look * COUNT / LOOKS, (look + 1) * COUNT / LOOKS);
            TURN_UNTIL(h,
                       h->shelf.puts > puts && status(h).under_way == 0 && status(h).pause_ms > 1);
            assert_true(look == 0 || FLOW_GET(h->f, h->shelf.puts) <= puts + 2);
            pass_ms(300000);
        }
        assert_int_equal(status(h).trouble, STORAGE_AWAY);
        assert_int_equal(counts(h).pending, COUNT);
        FLOW_SET(h->f, h->shelf.now, (struct answer){0});
        int puts = FLOW_GET(h->f, h->shelf.puts);
        for (int done = COUNT / 10; done <= COUNT; done += COUNT / 10) /* patience for each */
            TURN_UNTIL(h, h->shelf.count >= done && counts(h).done >= done);
        for (int i = 0; i < COUNT; i++)
            wanted[i] = newest ? COUNT - 1 - i : i;
        assert_order(h, wanted, COUNT);
        assert_int_equal(h->shelf.puts, puts + COUNT); /* so no place was taken twice */
        assert_int_equal(counts(h).dead + counts(h).pending, 0);
        close_hand(h);
    }
    atomic_store(&syncs_skipped, false);
}

static void a_live_picture_goes_before_the_backlog(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    h->shelf.common.parallel = 1;
    flow_configure(h->f, "");
    h->stage = h->f->stages[flow_start_stage(h->f, &idle_ops, NULL, 0, NULL, 0)];
    for (int i = 0; i < 40; i++)
        picture(h, "c", i, NULL);
    start(h); /* what was there before is backlog */
    hold(&h->shelf, true);
    TURN_UNTIL(h, h->shelf.inside == 1);
    picture(h, "live", 1, NULL);
    int before = FLOW_GET(h->f, h->shelf.reserves);
    TURN_UNTIL(h, h->shelf.reserves > before); /* its mark */
    turn(h);
    TURN_UNTIL(h, ({
                   struct upload_job jobs[2];
                   struct upload_order o = {.live_after = 40};
                   struct err e = {0};
                   ledger_upload_due(h->f->l, "shelf", &o, ledger_now(), NULL, 0, jobs, 1, &e) ==
                           1 &&
                       jobs[0].mark[0];
               }));
    turn(h); /* it is in the queue */
    hold(&h->shelf, false);
    TURN_UNTIL(h, counts(h).done == 41);
    assert_string_equal(h->shelf.places[1].name, "fetch_live_1.jpg");
    close_hand(h);
}

/* However much of the backlog wants a mark: it does not wait for theirs. */
static void the_mark_of_a_live_picture_is_made_alone(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    h->shelf.common.parallel = 1;
    for (int i = 0; i < 100; i++)
        picture(h, "c", i, NULL);
    begin_as_set(h);
    hold(&h->shelf, true);
    TURN_UNTIL(h, h->shelf.inside == 1);
    turn(h);
    int before = FLOW_GET(h->f, h->shelf.reserves);
    picture(h, "live", 1, NULL);
    TURN_UNTIL(h, h->shelf.reserves > before);
    assert_int_equal(FLOW_GET(h->f, h->shelf.reserved_last), 1);
    /* But not without end: the next time others have their share. */
    TURN_UNTIL(h, status(h).under_way == 1);
    picture(h, "live", 2, NULL);
    TURN_UNTIL(h, h->shelf.reserves > before + 1);
    assert_true(FLOW_GET(h->f, h->shelf.reserved_last) > 1);
    hold(&h->shelf, false);
    TURN_UNTIL(h, counts(h).done == 102);
    close_hand(h);
}

/* Its storage asks nobody for marks: what the worker takes next after a single turn is live. */
static void a_live_picture_goes_next_after_one_turn(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    h->shelf.common.parallel = 1;
    h->shelf.ops.reserve_asks_nobody = true;
    for (int i = 0; i < 40; i++)
        picture(h, "c", i, NULL);
    begin_as_set(h);
    hold(&h->shelf, true);
    TURN_UNTIL(h, h->shelf.inside == 1);
    picture(h, "live", 1, NULL);
    (void)upload_stage.sweep(h->upload);
    hold(&h->shelf, false);
    TURN_UNTIL(h, counts(h).done == 41);
    assert_string_equal(h->shelf.places[1].name, "fetch_live_1.jpg");
    close_hand(h);
}

/* Its mark is there; whoever makes more for later is still at it. */
static void a_live_picture_does_not_wait_for_marks_of_later_ones(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    h->shelf.common.parallel = 1;
    h->shelf.ops.reserve = shelf_reserve_or_hang;
    h->shelf.ops.reserve_stocked = shelf_reserve_stocked;
    h->shelf.stock = 100;
    for (int i = 0; i < 40; i++)
        picture(h, "c", i, NULL);
    begin_as_set(h);
    hold(&h->shelf, true);
    TURN_UNTIL(h, h->shelf.inside == 1 && h->shelf.refill == 1);
    picture(h, "live", 1, NULL);
    (void)upload_stage.sweep(h->upload);
    hold(&h->shelf, false);
    TURN_UNTIL(h, counts(h).done == 41);
    assert_string_equal(h->shelf.places[1].name, "fetch_live_1.jpg");
    assert_int_equal(h->shelf.reserves, 0);
    close_hand(h);
}

static void *sweep_once(void *upload)
{
    (void)upload_stage.sweep(upload);
    return NULL;
}

/* While its mark is written, which another one's commit holds up, a worker becomes free: that has
 * enough of the backlog to do, but the live one would have to wait for it next. */
static void a_worker_waits_for_a_live_picture_that_is_about_to_come(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    struct err e = {0};
    pthread_t sweep;
    AUTO(db) db = NULL;
    h->shelf.common.parallel = 1;
    h->shelf.ops.reserve_asks_nobody = true;
    for (int i = 0; i < 40; i++)
        picture(h, "c", i, NULL);
    begin_as_set(h);
    hold(&h->shelf, true);
    TURN_UNTIL(h, h->shelf.inside == 1);
    turn(h);
    int before = FLOW_GET(h->f, h->shelf.reserves);
    picture(h, "live", 1, NULL);
    assert_int_equal(db_open(h->f->ledger_path, false, &db, &e), 0);
    assert_int_equal(db_begin(db, &e), 0);
    assert_int_equal(pthread_create(&sweep, NULL, sweep_once, h->upload), 0);
    FLOW_WAIT(h->f, h->shelf.reserves > before);
    hold(&h->shelf, false);
    FLOW_WAIT(h->f, h->shelf.inside == 0);
    assert_int_equal(db_commit(db, &e), 0);
    assert_int_equal(pthread_join(sweep, NULL), 0);
    TURN_UNTIL(h, counts(h).done == 41);
    assert_string_equal(h->shelf.places[1].name, "fetch_live_1.jpg");
    close_hand(h);
}

static void a_storage_that_is_away_is_asked_less_and_less(void **state UNUSED)
{
    static const int64_t pauses_s[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300};
    struct by_hand *h = begin();
    struct upload_job job;
    struct err e = {0};
    h->shelf.now = (struct answer){-EHOSTUNREACH, ERR_LATER, {STORAGE_AWAY, 0}, false};
    flow_listen(h->f, "storage-paused");
    picture(h, "c", 1, NULL);
    TURN_UNTIL(h, status(h).trouble == STORAGE_AWAY);
    for (int i = 2; i < 10; i++)
        picture(h, "c", i, NULL);
    for (size_t i = 0; i < ARRAY_LEN(pauses_s); i++) {
        int puts = FLOW_GET(h->f, h->shelf.puts);
        pass_ms(pauses_s[i] * 1000 - 1);
        turn(h);
        assert_int_equal(FLOW_GET(h->f, h->shelf.puts), puts);
        pass_ms(1);
        /* After each third time the next one is tried as well: it might be the file. */
        puts += 1 + (i % 3 == 1);
        TURN_UNTIL(h, h->shelf.puts == puts && status(h).pause_ms > 1);
        assert_int_equal(FLOW_GET(h->f, h->shelf.inside_max), 1);
    }
    assert_int_equal(FLOW_GET(h->f, flow_heard(h->f, "storage-paused")), 1); /* said once */
    struct upload_order order = {.live_after = INT64_MAX};
    assert_int_equal(
        ledger_upload_due(h->f->l, "shelf", &order, ledger_now(), NULL, 0, &job, 1, &e), 1);
    assert_int_equal(job.attempts, 0); /* it is no fault of the file */
    FLOW_SET(h->f, h->shelf.now, (struct answer){0});
    pass_ms(300000);
    TURN_UNTIL(h, counts(h).done == 9);
    assert_int_equal(status(h).trouble, STORAGE_WELL);
    assert_string_equal(status(h).error, "");
    close_hand(h);
}

static void waits_as_long_as_the_storage_asks(void **state UNUSED)
{
    struct by_hand *h = begin();
    h->shelf.now = (struct answer){-EAGAIN, ERR_LATER, {STORAGE_RATE, 7000}, false};
    picture(h, "c", 1, NULL);
    TURN_UNTIL(h, status(h).trouble == STORAGE_RATE);
    pass_ms(6999);
    turn(h);
    assert_int_equal(FLOW_GET(h->f, h->shelf.puts), 1);
    FLOW_SET(h->f, h->shelf.now, (struct answer){0});
    pass_ms(1);
    TURN_UNTIL(h, counts(h).done == 1);
    close_hand(h);
}

static void what_people_have_to_mend_is_tried_hourly_and_after_a_reload(void **state UNUSED)
{
    static const struct answer answers[] = {
        {-ENOKEY, ERR_NEVER, {STORAGE_LOGIN, 0}, false},
        {-ENOSPC, ERR_LATER, {STORAGE_QUOTA, 0}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(answers) * 2; i++) {
        struct by_hand *h = begin();
        bool by_put = i % 2;
        struct answer *which = by_put ? &h->shelf.now : &h->shelf.reserve;
        int *tries = by_put ? &h->shelf.puts : &h->shelf.reserves;
        *which = answers[i / 2];
        picture(h, "c", 1, NULL);
        TURN_UNTIL(h, status(h).trouble == answers[i / 2].failure.trouble);
        assert_int_equal(FLOW_GET(h->f, *tries), 1);
        for (int hour = 1; hour <= 4; hour++) { /* a full one is no doubt of the file's */
            pass_ms(3599999);
            turn(h);
            assert_int_equal(FLOW_GET(h->f, *tries), hour);
            pass_ms(1);
            TURN_UNTIL(h, *tries == hour + 1 && status(h).pause_ms > 3000000);
        }
        FLOW_SET(h->f, *which, (struct answer){0});
        flow_configure(h->f, "");
        TURN_UNTIL(h, counts(h).done == 1);
        close_hand(h);
    }
}

/* The answer tells of a time before somebody mended it. */
static void an_answer_from_before_a_reload_is_no_reason_to_wait(void **state UNUSED)
{
    struct by_hand *h = begin();
    h->shelf.now = (struct answer){-ENOKEY, ERR_NEVER, {STORAGE_LOGIN, 300000}, false};
    hold(&h->shelf, true);
    picture(h, "c", 1, NULL);
    TURN_UNTIL(h, h->shelf.inside == 1);
    flow_configure(h->f, "");
    turn(h);
    hold(&h->shelf, false);
    FLOW_WAIT(h->f, h->shelf.inside == 0);
    FLOW_SET(h->f, h->shelf.now, (struct answer){0});
    TURN_UNTIL(h, counts(h).done == 1);
    close_hand(h);
}

/* Of the storage's trouble alone: what the file has got is not known. */
static struct upload_job first_job(struct by_hand *h)
{
    struct upload_order order = {.live_after = INT64_MAX};
    struct upload_job job = {0};
    struct err e = {0};
    struct wall_time then = {ledger_now().us + 3600 * (int64_t)1000000};
    assert_int_equal(ledger_upload_due(h->f->l, "shelf", &order, then, NULL, 0, &job, 1, &e), 1);
    return job;
}

/* Nothing can be opened: as with a disk that fails, all reads do. */
static void a_minute_of_an_unreadable_store_puts_nothing_aside(void **state UNUSED)
{
    struct by_hand *h = begin();
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    for (int i = 0; i < 50; i++)
        picture(h, "c", i, NULL);
    flow_listen(h->f, "read-failed");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    TURN_UNTIL(h, flow_heard(h->f, "read-failed") == 1);
    for (int s = 0; s < 60; s++) {
        turn(h);
        pass_ms(1000);
    }
    int heard = FLOW_GET(h->f, flow_heard(h->f, "read-failed"));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(heard <= 14); /* once for all that fail together */
    assert_int_equal(counts(h).dead, 0);
    assert_int_equal(status(h).trouble, STORAGE_WELL);
    assert_int_equal(FLOW_GET(h->f, h->shelf.puts), 0);
    assert_int_equal(first_job(h).attempts, 0);
    for (int s = 0; s < 65; s++) {
        turn(h);
        pass_ms(1000);
    }
    TURN_UNTIL(h, counts(h).done == 50);
    close_hand(h);
}

/* What the disk says of the one file that is bad; read() is what reads it. */
static _Atomic ino_t bad_sector;
ssize_t read(int fd, void *into, size_t size)
{
    struct stat st;
    if (atomic_load(&bad_sector) && fstat(fd, &st) == 0 && st.st_ino == atomic_load(&bad_sector)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_read, fd, into, size);
}

static void make_bad(struct by_hand *h, const char *id)
{
    char path[700];
    struct stat st;
    struct snapshot s = flow_get_snapshot(h->f, id);
    (void)snprintf(path, sizeof(path), "%s/%s", h->f->store_path, s.path);
    assert_int_equal(stat(path, &st), 0);
    atomic_store(&bad_sector, st.st_ino);
}

/* Others come and are kept, one in half an hour; it is tried for a day, less and less often. */
static void a_file_with_a_bad_sector_ends_after_a_day(void **state UNUSED)
{
    struct by_hand *h = begin();
    struct ledger_story story[64];
    struct err e = {0};
    char bad[SNAPSHOT_ID_SIZE];
    int others = 0, minutes = 0;
    atomic_store(&syncs_skipped, true);
    flow_listen(h->f, "read-failed");
    picture(h, "bad", 0, bad);
    make_bad(h, bad);
    while (counts(h).dead == 0 && minutes < 3 * 24 * 60) {
        if (minutes % 30 == 0) {
            picture(h, "c", ++others, NULL);
            TURN_UNTIL(h, (pass_ms(100), counts(h).done == others));
        }
        pass_ms(600000);
        turn(h);
        minutes += 10;
    }
    atomic_store(&bad_sector, 0);
    assert_in_range(minutes, 24 * 60, 36 * 60);
    assert_true(FLOW_GET(h->f, flow_heard(h->f, "read-failed")) < 100);
    assert_int_equal(counts(h).done, others);
    assert_int_equal(status(h).trouble, STORAGE_WELL);
    int n = ledger_story(h->f->l, bad, story, 64, &e);
    assert_string_equal(story[n - 1].what, "not kept");
    assert_non_null(strstr(story[n - 1].detail, "the file could not be read for a day"));
    assert_int_equal(ledger_upload_again(h->f->l, bad, &e), 1);
    TURN_UNTIL(h, counts(h).done == others + 1);
    close_hand(h);
    atomic_store(&syncs_skipped, false);
}

/* Nothing else could be read either, for days: it may be the disk. */
static void a_disk_that_cannot_be_read_puts_nothing_aside(void **state UNUSED)
{
    struct by_hand *h = begin();
    char bad[SNAPSHOT_ID_SIZE];
    picture(h, "bad", 0, bad);
    make_bad(h, bad);
    for (int minute = 0; minute < 3 * 24 * 60; minute += 10) {
        pass_ms(600000);
        turn(h);
    }
    TURN_UNTIL(h, status(h).under_way == 0);
    assert_int_equal(counts(h).pending, 1);
    assert_int_equal(first_job(h).attempts, 0);
    atomic_store(&bad_sector, 0);
    TURN_UNTIL(h, (pass_ms(1000), counts(h).done == 1));
    close_hand(h);
}

static void a_ledger_that_takes_no_note_is_no_trouble_of_the_storage(void **state UNUSED)
{
    struct by_hand *h = begin();
    struct rlimit before, none;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = before;
    none.rlim_cur = 1;
    hold(&h->shelf, true);
    h->shelf.now = (struct answer){-EIO, ERR_LATER, {STORAGE_QUOTA, 0}, true};
    picture(h, "c", 1, NULL);
    TURN_UNTIL(h, h->shelf.inside == 1);
    flow_listen(h->f, "ledger-failed");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    hold(&h->shelf, false);
    TURN_UNTIL(h, flow_heard(h->f, "ledger-failed") == 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status(h).trouble, STORAGE_WELL);
    assert_string_equal(first_job(h).mark, "id-0\n\n");
    assert_int_equal(first_job(h).attempts, 0);
    FLOW_SET(h->f, h->shelf.now, (struct answer){0});
    turn(h);
    assert_int_equal(counts(h).done, 0);
    pass_ms(5000);
    TURN_UNTIL(h, counts(h).done == 1);
    assert_int_equal(h->shelf.count, 1);
    close_hand(h);
}

static void a_picture_that_intake_could_not_place_is_no_lost_one(void **state UNUSED)
{
    struct by_hand *h = begin();
    add_picture(h, "c", 1, false, NULL);
    TURN_UNTIL(h, counts(h).done + counts(h).dead == 1);
    assert_int_equal(counts(h).done, 1);
    close_hand(h);
}

static void what_was_taken_is_kept_under_a_smaller_limit_too(void **state UNUSED)
{
    struct by_hand *h = begin();
    h->f->p.settings_now->limits.bytes_max = 1; /* no other thread looks at it yet */
    picture(h, "c", 1, NULL);
    TURN_UNTIL(h, counts(h).done + counts(h).dead == 1);
    assert_int_equal(counts(h).done, 1);
    close_hand(h);
}

static void a_file_that_always_finds_its_storage_away_stops_no_other(void **state UNUSED)
{
    struct by_hand *h = begin();
    char bad[SNAPSHOT_ID_SIZE];
    h->shelf.bad_name = "bad";
    h->shelf.bad = (struct answer){-EIO, ERR_LATER, {STORAGE_AWAY, 0}, false};
    picture(h, "bad", 0, bad);
    TURN_UNTIL(h, status(h).trouble == STORAGE_AWAY);
    for (int i = 1; i < 20; i++)
        picture(h, "c", i, NULL);
    pass_ms(1000);
    TURN_UNTIL(h, h->shelf.puts == 2 && status(h).pause_ms > 1);
    assert_int_equal(counts(h).done, 0);
    pass_ms(2000); /* the third time, and then the next one at once */
    TURN_UNTIL(h, counts(h).done == 19);
    assert_int_equal(status(h).trouble, STORAGE_WELL);
    assert_int_equal(counts(h).pending, 1);
    assert_int_equal(first_job(h).attempts, 1); /* its own fault, then */
    FLOW_SET(h->f, h->shelf.bad, (struct answer){0});
    pass_ms(3600000);
    TURN_UNTIL(h, counts(h).done == 20);
    close_hand(h);
}

/* A fault that is seen here says nothing of the storage. */
static void a_fault_that_asked_nobody_ends_no_pause(void **state UNUSED)
{
    struct by_hand *h = begin();
    h->shelf.bad_name = "bad";
    h->shelf.bad = (struct answer){-EINVAL, ERR_NEVER, {STORAGE_WELL, 0, true}, false};
    h->shelf.now = (struct answer){-EHOSTUNREACH, ERR_LATER, {STORAGE_AWAY, 0}, false};
    picture(h, "c", 0, NULL);
    TURN_UNTIL(h, status(h).trouble == STORAGE_AWAY);
    pass_ms(1000);
    TURN_UNTIL(h, h->shelf.puts == 2 && status(h).pause_ms > 1);
    FLOW_SET(h->f, h->shelf.bad_name, "c_0"); /* whose turn it is */
    pass_ms(2000);
    TURN_UNTIL(h, counts(h).dead == 1);
    assert_int_equal(status(h).trouble, STORAGE_AWAY);
    picture(h, "c", 1, NULL);
    TURN_UNTIL(h, h->shelf.puts == 4 && status(h).pause_ms > 2001); /* on from where it was */
    FLOW_SET(h->f, h->shelf.now, (struct answer){0});
    pass_ms(300000);
    TURN_UNTIL(h, counts(h).done == 1);
    close_hand(h);
}

static void change_ledger(struct by_hand *h, const char *sql)
{
    AUTO(db) db = NULL;
    struct err e = {0};
    if (db_open(h->f->ledger_path, true, &db, &e) < 0 || db_exec(db, sql, &e) < 0)
        fail_msg("%s", e.text);
}

static void a_damaged_row_stops_no_other(void **state UNUSED)
{
    static const char *const damages[][2] = {
        {"UPDATE snapshots SET id = replace(id, substr(id, 1, 1), 'z') WHERE row = 1",
         "UPDATE snapshots SET id = replace(id, 'z', '0') WHERE row = 1"},
        {"UPDATE snapshots SET path = '../' || path WHERE row = 1",
         "UPDATE snapshots SET path = substr(path, 4) WHERE row = 1"}};
    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        struct by_hand *h = begin();
        for (int n = 0; n < 10; n++)
            picture(h, "c", n, NULL);
        change_ledger(h, damages[i][0]);
        TURN_UNTIL(h, counts(h).done == 9);
        turn(h);
        assert_int_equal(counts(h).dead, 1);
        change_ledger(h, damages[i][1]);
        close_hand(h);
    }
}

static void a_bad_file_holds_up_no_other(void **state UNUSED)
{
    struct by_hand *h = begin();
    struct ledger_story story[16];
    struct err e = {0};
    char bad[SNAPSHOT_ID_SIZE];
    h->shelf.bad_name = "bad";
    h->shelf.bad = (struct answer){-EBADMSG, ERR_LATER, {STORAGE_WELL, 0}, false};
    picture(h, "bad", 0, bad);
    for (int i = 1; i < 20; i++)
        picture(h, "c", i, NULL);
    TURN_UNTIL(h, counts(h).done == 19 && status(h).failed == 1);
    assert_int_equal(status(h).trouble, STORAGE_WELL);
    /* It waits by itself: 1, 2, 4 s. */
    for (int i = 1; i <= 3; i++) {
        int puts = FLOW_GET(h->f, h->shelf.puts);
        pass_ms(((int64_t)1000 << (i - 1)) - 1);
        turn(h);
        assert_int_equal(FLOW_GET(h->f, h->shelf.puts), puts);
        pass_ms(1);
        TURN_UNTIL(h, status(h).failed == i + 1);
    }
    FLOW_SET(h->f, h->shelf.bad, ((struct answer){-EINVAL, ERR_NEVER, {STORAGE_WELL, 0}, false}));
    pass_ms(8000);
    TURN_UNTIL(h, counts(h).dead == 1);
    pass_ms(86400000);
    turn(h);
    assert_int_equal(counts(h).pending, 0);
    int n = ledger_story(h->f->l, bad, story, 16, &e);
    assert_true(n > 0);
    assert_string_equal(story[n - 1].what, "not kept");
    assert_string_equal(story[n - 1].detail, "in shelf, attempt 5: the shelf has its day");
    /* Somebody asks for it again. */
    FLOW_SET(h->f, h->shelf.bad, (struct answer){0});
    assert_int_equal(ledger_upload_again(h->f->l, bad, &e), 1);
    TURN_UNTIL(h, counts(h).done == 20);
    close_hand(h);
}

static void a_file_that_is_gone_ends_with_a_reason(void **state UNUSED)
{
    struct by_hand *h = begin();
    struct err e = {0};
    char gone[SNAPSHOT_ID_SIZE], changed[SNAPSHOT_ID_SIZE], path[700];
    hold(&h->shelf, true);
    picture(h, "c", 1, gone);
    picture(h, "c", 2, changed);
    picture(h, "c", 3, NULL);
    struct snapshot s = flow_get_snapshot(h->f, gone);
    assert_int_equal(store_unlink(h->f->p.store, s.path, &e), 0);
    s = flow_get_snapshot(h->f, changed);
    (void)snprintf(path, sizeof(path), "%s/%s", h->f->store_path, s.path);
    FILE *file = fopen(path, "r+e");
    assert_non_null(file);
    assert_int_equal(fputc('x', file), 'x');
    assert_int_equal(fclose(file), 0);
    hold(&h->shelf, false);
    TURN_UNTIL(h, counts(h).done == 1 && counts(h).dead == 2);
    struct ledger_story story[16];
    int n = ledger_story(h->f->l, gone, story, 16, &e);
    assert_string_equal(story[n - 1].what, "not kept");
    assert_non_null(strstr(story[n - 1].detail, "the file cannot be read any more"));
    assert_int_equal(status(h).trouble, STORAGE_WELL);
    int64_t row = flow_get_snapshot(h->f, gone).row;
    assert_int_equal(ledger_snapshot_removed(h->f->l, &row, 1, "a test", false, &e), 0);
    close_hand(h);
}

static void what_was_pending_goes_on_after_a_restart(void **state UNUSED)
{
    struct by_hand *h = begin();
    hold(&h->shelf, true);
    for (int i = 0; i < 10; i++)
        picture(h, "c", i, NULL);
    TURN_UNTIL(h, h->shelf.inside == 4);
    stop(h);
    assert_int_equal(counts(h).pending, 10);
    assert_int_equal(h->shelf.count, 0);
    hold(&h->shelf, false);
    int ids = h->shelf.ids;
    start(h);
    TURN_UNTIL(h, counts(h).done == 10);
    assert_int_equal(h->shelf.count, 10);
    assert_int_equal(h->shelf.ids, ids); /* the marks are those of before */
    close_hand(h);
}

static void a_stop_ends_what_hangs(void **state UNUSED)
{
    struct by_hand *h = begin();
    struct upload_job job;
    struct err e = {0};
    hold(&h->shelf, true);
    picture(h, "c", 1, NULL);
    TURN_UNTIL(h, h->shelf.inside == 1);
    assert_false(upload_stage.idle(h->upload)); /* it has a moment to finish */
    pass_ms(999);
    assert_false(upload_stage.idle(h->upload));
    pass_ms(1);
    while (!upload_stage.idle(h->upload)) /* the call ends at once */
        FLOW_WAIT(h->f, h->shelf.inside == 0);
    assert_int_equal(h->shelf.inside, 0);
    stop(h);
    struct upload_order order = {.live_after = INT64_MAX};
    assert_int_equal(
        ledger_upload_due(h->f->l, "shelf", &order, ledger_now(), NULL, 0, &job, 1, &e), 1);
    assert_int_equal(job.attempts, 0);
    close_hand(h);
}

static void a_storage_that_hangs_holds_up_no_other(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    struct shelf other;
    struct err e = {0};
    shelf_init(&other, h->f, "other");
    flow_configure(h->f, "");
    h->stage = h->f->stages[flow_start_stage(h->f, &idle_ops, NULL, 0, NULL, 0)];
    start(h);
    void *second = upload_stage_new(&h->f->p, &other.base);
    assert_int_equal(upload_stage.init(second, h->stage, &e), 0);
    hold(&h->shelf, true);
    for (int i = 0; i < 30; i++)
        picture(h, "c", i, NULL);
    TURN_UNTIL(h, h->shelf.inside == 4);
    struct by_hand two = {.f = h->f, .upload = second};
    TURN_UNTIL(&two, counts_of(h, "other").done == 30);
    assert_int_equal(counts(h).done, 0);
    hold(&h->shelf, false);
    TURN_UNTIL(h, counts(h).done == 30);
    upload_stage.fini(second);
    free(second);
    (void)close(other.go_fd);
    close_hand(h);
}

static void keeps_to_the_rate(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    h->shelf.common.rate = 30; /* one in two seconds */
    flow_configure(h->f, "");
    h->stage = h->f->stages[flow_start_stage(h->f, &idle_ops, NULL, 0, NULL, 0)];
    start(h);
    for (int i = 0; i < 5; i++)
        picture(h, "c", i, NULL);
    for (int i = 1; i <= 5; i++) {
        TURN_UNTIL(h, counts(h).done == i);
        turn(h);
        assert_int_equal(FLOW_GET(h->f, h->shelf.puts), i);
        pass_ms(1999);
        turn(h);
        assert_int_equal(FLOW_GET(h->f, h->shelf.puts), i);
        pass_ms(1);
    }
    close_hand(h);
}

static void tidies_at_the_start_and_daily(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    h->shelf.ops.archive = shelf_archive;
    h->shelf.archive_code = -EIO;
    flow_configure(h->f, "");
    h->stage = h->f->stages[flow_start_stage(h->f, &idle_ops, NULL, 0, NULL, 0)];
    start(h);
    TURN_UNTIL(h, status(h).archive_error[0]);
    assert_int_equal(h->shelf.archives, 1);
    pass_ms(299999);
    turn(h);
    assert_int_equal(FLOW_GET(h->f, h->shelf.archives), 1);
    FLOW_SET(h->f, h->shelf.archive_code, 3);
    pass_ms(1);
    TURN_UNTIL(h, h->shelf.archives == 2 && !status(h).archive_error[0]);
    pass_ms(86399999);
    turn(h);
    assert_int_equal(FLOW_GET(h->f, h->shelf.archives), 2);
    pass_ms(1);
    TURN_UNTIL(h, h->shelf.archives == 3);
    close_hand(h);
}

static void cares_for_the_login_when_it_is_time_even_in_trouble(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    h->shelf.ops.tend = shelf_tend;
    h->shelf.now = (struct answer){-EHOSTUNREACH, ERR_LATER, {STORAGE_AWAY, 0}, false};
    flow_configure(h->f, "");
    h->stage = h->f->stages[flow_start_stage(h->f, &idle_ops, NULL, 0, NULL, 0)];
    start(h);
    picture(h, "c", 1, NULL);
    TURN_UNTIL(h, h->shelf.tended == 1 && status(h).trouble == STORAGE_AWAY);
    turn(h);
    assert_int_equal(FLOW_GET(h->f, h->shelf.tended), 1);
    /* Its five seconds begin when the stage has heard the answer, which may be only now. */
    TURN_UNTIL(h, (pass_ms(500), h->shelf.tended == 2));
    close_hand(h);
}

static void stars_are_passed_on(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    struct err e = {0};
    char first[SNAPSHOT_ID_SIZE], second[SNAPSHOT_ID_SIZE];
    h->shelf.ops.star = shelf_star;
    h->shelf.common.parallel = 1;
    flow_configure(h->f, "");
    h->stage = h->f->stages[flow_start_stage(h->f, &idle_ops, NULL, 0, NULL, 0)];
    picture(h, "c", 1, first);
    picture(h, "c", 2, second);
    assert_int_equal(ledger_snapshot_star(h->f->l, first, true, &e), 0);
    start(h);
    TURN_UNTIL(h, counts(h).done == 2);
    turn(h);
    assert_true(h->shelf.places[0].starred); /* with the upload */
    assert_int_equal(FLOW_GET(h->f, h->shelf.stars), 0);
    assert_int_equal(ledger_snapshot_star(h->f->l, first, false, &e), 0);
    assert_int_equal(ledger_snapshot_star(h->f->l, second, true, &e), 0);
    TURN_UNTIL(h, h->shelf.stars == 2);
    assert_false(h->shelf.places[0].starred);
    assert_true(h->shelf.places[1].starred);
    TURN_UNTIL(h, ({
                   struct upload_job job;
                   ledger_upload_stars(h->f->l, "shelf", 0, &job, 1, &e) == 0;
               }));
    close_hand(h);
}

/* The first of two stars is refused, for now or for good. */
static void a_star_that_fails_holds_up_no_other(void **state UNUSED)
{
    for (int for_good = 0; for_good <= 1; for_good++) {
        struct by_hand *h = open_hand();
        struct err e = {0};
        char ids[2][SNAPSHOT_ID_SIZE];
        h->shelf.ops.star = shelf_star;
        h->shelf.common.parallel = 1;
        h->shelf.bad = (struct answer){-EIO, for_good ? ERR_NEVER : ERR_LATER, {0}, false};
        begin_as_set(h);
        for (int i = 0; i < 2; i++)
            picture(h, "c", i, ids[i]);
        TURN_UNTIL(h, counts(h).done == 2);
        FLOW_SET(h->f, h->shelf.bad_star, "id-0");
        for (int i = 0; i < 2; i++)
            assert_int_equal(ledger_snapshot_star(h->f->l, ids[i], true, &e), 0);
        struct upload_job left[2];
        TURN_UNTIL(h, ledger_upload_stars(h->f->l, "shelf", 0, left, 2, &e) == !for_good &&
                          h->shelf.stars == 2);
        turn(h);
        assert_true(h->shelf.places[1].starred);
        FLOW_SET(h->f, h->shelf.bad_star, NULL);
        pass_ms(299000);
        turn(h);
        assert_int_equal(FLOW_GET(h->f, h->shelf.stars), 2); /* nothing goes round and round */
        pass_ms(1001);
        if (for_good)
            turn(h);
        else
            TURN_UNTIL(h, h->shelf.places[0].starred);
        assert_int_equal(FLOW_GET(h->f, h->shelf.stars), for_good ? 2 : 3);
        close_hand(h);
    }
}

static void a_star_waits_as_long_as_the_storage_asks(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    struct err e = {0};
    char id[SNAPSHOT_ID_SIZE];
    h->shelf.ops.star = shelf_star;
    h->shelf.bad = (struct answer){-EAGAIN, ERR_LATER, {STORAGE_RATE, 1000000}, false};
    begin_as_set(h);
    picture(h, "c", 1, id);
    TURN_UNTIL(h, counts(h).done == 1);
    FLOW_SET(h->f, h->shelf.bad_star, "id-0");
    assert_int_equal(ledger_snapshot_star(h->f->l, id, true, &e), 0);
    TURN_UNTIL(h, h->shelf.stars == 1);
    turn(h);
    FLOW_SET(h->f, h->shelf.bad_star, NULL);
    pass_ms(990000);
    turn(h);
    assert_int_equal(FLOW_GET(h->f, h->shelf.stars), 1);
    TURN_UNTIL(h, (pass_ms(10000), h->shelf.places[0].starred));
    close_hand(h);
}

/* Many stars hold up neither tidying nor the care for the login. */
static void what_is_beside_files_takes_turns(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    struct err e = {0};
    char ids[10][SNAPSHOT_ID_SIZE];
    h->shelf.ops.star = shelf_star;
    h->shelf.ops.archive = shelf_archive;
    h->shelf.ops.tend = shelf_tend;
    h->shelf.archive_code = -EIO;
    begin_as_set(h);
    for (int i = 0; i < 10; i++)
        picture(h, "c", i, ids[i]);
    TURN_UNTIL(h, counts(h).done == 10 && h->shelf.tended == 1 && status(h).archive_error[0]);
    FLOW_SET(h->f, h->shelf.archive_code, 0);
    pass_ms(300000);
    for (int i = 0; i < 10; i++)
        assert_int_equal(ledger_snapshot_star(h->f->l, ids[i], true, &e), 0);
    TURN_UNTIL(h, h->shelf.archives == 2);
    assert_true(FLOW_GET(h->f, h->shelf.stars) <= 2);
    TURN_UNTIL(h, (pass_ms(1000), h->shelf.tended == 2));
    assert_true(FLOW_GET(h->f, h->shelf.stars) < 10);
    TURN_UNTIL(h, h->shelf.stars == 10);
    close_hand(h);
}

static void tells_how_much_room_there_is(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    h->shelf.ops.free_bytes = shelf_free_bytes;
    begin_as_set(h);
    turn(h);
    assert_int_equal(status(h).free_bytes, -1);
    pass_ms(60000);
    TURN_UNTIL(h, status(h).free_bytes == 1000);
    turn(h);
    pass_ms(600000);
    TURN_UNTIL(h, status(h).free_bytes == 1001);
    close_hand(h);
}

static void verdicts_become_uploads_by_the_rules(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    static const struct flow_answer person[] = {{.person = true}, {.person = false}};
    h->shelf.common.upload = UPLOAD_PERSONS;
    h->f->storage_plans[0].rule = storage_common_rule(&h->shelf.common, "shelf");
    h->f->detector.script = person;
    h->f->detector.script_len = 2;
    flow_configure(h->f, "");
    struct flow_by_hand d;
    flow_by_hand_init(&d, h->f);
    h->stage = h->f->stages[0];
    snapshot_unref(flow_store(h->f, "c", 1, true));
    snapshot_unref(flow_store(h->f, "c", 2, true));
    for (int i = 0; i < 10 && flow_counts(h->f).stored; i++)
        (void)flow_by_hand_sweep(&d);
    assert_int_equal(counts(h).pending, 1);
    start(h);
    TURN_UNTIL(h, counts(h).done == 1);
    assert_string_equal(h->shelf.places[0].name, "human_c_1.jpg");
    flow_by_hand_done(&d);
    close_hand(h);
}

static void what_a_flag_pauses_waits_and_goes_on(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    h->shelf.ops.archive = shelf_archive;
    flow_configure(h->f, "");
    h->stage = h->f->stages[flow_start_stage(h->f, &idle_ops, NULL, 0, NULL, 0)];
    start(h);
    picture(h, "c", 1, NULL);
    TURN_UNTIL(h, counts(h).done == 1 && h->shelf.archives == 1);
    h->f->storage_plans[0].paused = true;
    flow_configure(h->f, "");
    picture(h, "c", 2, NULL);
    picture(h, "c", 3, NULL);
    for (int i = 0; i < 20; i++) {
        pass_ms(86400000);
        turn(h);
    }
    assert_int_equal(FLOW_GET(h->f, h->shelf.puts), 1);
    assert_int_equal(FLOW_GET(h->f, h->shelf.archives), 1);
    assert_int_equal(counts(h).pending, 2);
    h->f->storage_plans[0].paused = false;
    flow_configure(h->f, "");
    TURN_UNTIL(h, counts(h).done == 3 && h->shelf.archives == 2);
    close_hand(h);
}

static void what_is_paused_gets_nothing_new(void **state UNUSED)
{
    struct by_hand *h = open_hand();
    h->f->storage_plans[0].paused = true;
    flow_configure(h->f, "");
    struct flow_by_hand d;
    flow_by_hand_init(&d, h->f);
    h->stage = h->f->stages[0];
    snapshot_unref(flow_store(h->f, "c", 1, true));
    for (int i = 0; i < 10 && flow_counts(h->f).stored; i++)
        (void)flow_by_hand_sweep(&d);
    assert_int_equal(counts(h).pending, 0);
    flow_by_hand_done(&d);
    close_hand(h);
}

static int virtual_clock(void **state UNUSED)
{
    clock_set_mono_source(virtual_mono);
    return 0;
}
static int real_clock(void **state UNUSED)
{
    clock_set_mono_source(NULL);
    return 0;
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, virtual_clock, real_clock)
    const struct CMUnitTest tests[] = {
        CASE(every_file_arrives_once),
        CASE(a_crash_between_the_upload_and_its_record_makes_no_second_one),
        CASE(a_lost_answer_makes_no_second_one),
        CASE(after_an_outage_all_goes_in_the_order_of_the_rule),
        CASE(after_a_day_ten_thousand_go_once_each_in_the_order_of_the_rule),
        CASE(a_live_picture_goes_before_the_backlog),
        CASE(the_mark_of_a_live_picture_is_made_alone),
        CASE(a_live_picture_goes_next_after_one_turn),
        CASE(a_live_picture_does_not_wait_for_marks_of_later_ones),
        CASE(a_worker_waits_for_a_live_picture_that_is_about_to_come),
        CASE(a_storage_that_is_away_is_asked_less_and_less),
        CASE(waits_as_long_as_the_storage_asks),
        CASE(what_people_have_to_mend_is_tried_hourly_and_after_a_reload),
        CASE(an_answer_from_before_a_reload_is_no_reason_to_wait),
        CASE(a_minute_of_an_unreadable_store_puts_nothing_aside),
        CASE(a_file_with_a_bad_sector_ends_after_a_day),
        CASE(a_disk_that_cannot_be_read_puts_nothing_aside),
        CASE(a_ledger_that_takes_no_note_is_no_trouble_of_the_storage),
        CASE(a_picture_that_intake_could_not_place_is_no_lost_one),
        CASE(what_was_taken_is_kept_under_a_smaller_limit_too),
        CASE(a_file_that_always_finds_its_storage_away_stops_no_other),
        CASE(a_fault_that_asked_nobody_ends_no_pause),
        CASE(a_damaged_row_stops_no_other),
        CASE(a_bad_file_holds_up_no_other),
        CASE(a_file_that_is_gone_ends_with_a_reason),
        CASE(what_was_pending_goes_on_after_a_restart),
        CASE(a_stop_ends_what_hangs),
        CASE(a_storage_that_hangs_holds_up_no_other),
        CASE(keeps_to_the_rate),
        CASE(tidies_at_the_start_and_daily),
        CASE(cares_for_the_login_when_it_is_time_even_in_trouble),
        CASE(stars_are_passed_on),
        CASE(a_star_that_fails_holds_up_no_other),
        CASE(a_star_waits_as_long_as_the_storage_asks),
        CASE(what_is_beside_files_takes_turns),
        CASE(tells_how_much_room_there_is),
        CASE(verdicts_become_uploads_by_the_rules),
        CASE(what_a_flag_pauses_waits_and_goes_on),
        CASE(what_is_paused_gets_nothing_new),
    };
    return RUN_TESTS(tests);
}
