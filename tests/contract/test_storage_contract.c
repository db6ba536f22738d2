/* What every storage promises (storage/storage.h), asked of each in turn. */

#include "storage_place.h"

#include <pthread.h>
#include <sys/eventfd.h>

static const struct storage_place *const places[] = {
    &memory_place,
    &directory_place,
    &gdrive_place,
    &s3_place,
};

/* ---- a place, a session, objects ---- */

struct rig {
    const struct storage_place *p;
    void *place;
    struct storage *s;
    struct storage_session *w;
    int stop_fd;
    struct storage_mark saved; /* the last one that save() made durable */
    int saves;
    bool save_fails;
    struct err e;
    struct storage_failure f;
};

struct item {
    char id[SNAPSHOT_ID_SIZE], md5[HASH_MD5_HEX], sha256[HASH_SHA256_HEX];
    char path[SNAPSHOT_PATH_MAX];
    struct storage_object o;
    struct storage_mark mark;
};

static int memory_get(void *arg UNUSED, const char *key UNUSED, char *ret UNUSED,
                      size_t size UNUSED, struct err *e)
{
    return err_set(e, -ENOENT, ERR_NEVER, "nothing is remembered");
}

static int memory_set(void *arg UNUSED, const char *key UNUSED, const char *value UNUSED,
                      struct err *e UNUSED)
{
    return 0;
}

static const struct storage_memory no_memory = {memory_get, memory_set, NULL};

static void rig_open(struct rig *r, const struct storage_place *p)
{
    char why[256] = "";
    *r = (struct rig){.p = p, .stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    int code = p->open(&r->place, &r->s, why, sizeof(why));
    if (code == -ENOTSUP) {
        (void)close(r->stop_fd);
        print_message("# %s is skipped: %s\n", p->name, why);
        skip();
    }
    assert_int_equal(code, 0);
    assert_int_equal(r->s->ops->session_new(r->s, r->stop_fd, &no_memory, &r->w, &r->e), 0);
}

static void rig_close(struct rig *r)
{
    r->s->ops->session_free(r->w);
    r->s->ops->free(r->s);
    r->p->close(r->place);
    (void)close(r->stop_fd);
}

/* As after a kill: nothing is left but the place and what was made durable. */
static void rig_restart(struct rig *r)
{
    r->s->ops->session_free(r->w);
    r->s->ops->free(r->s);
    r->s = r->p->reopen(r->place);
    assert_int_equal(r->s->ops->session_new(r->s, r->stop_fd, &no_memory, &r->w, &r->e), 0);
}

static int save(void *arg, const struct storage_mark *mark, struct err *e)
{
    struct rig *r = arg;
    r->saves++;
    if (r->save_fails)
        return err_set(e, -ENOSPC, ERR_LATER, "the ledger is full");
    r->saved = *mark;
    return 0;
}

static void item_bytes(struct item *i, const void *bytes, size_t size)
{
    blob_unref(i->o.bytes);
    i->o.bytes = blob_new_copy(bytes, size);
    assert_non_null(i->o.bytes);
    hash_md5_hex(bytes, size, i->md5);
    hash_sha256_hex(bytes, size, i->sha256);
    i->o.md5 = i->md5;
    i->o.sha256 = i->sha256;
}

static void item_make(struct item *i, unsigned nth, const char *name)
{
    *i = (struct item){0};
    (void)snprintf(i->id, sizeof(i->id), "%032x", nth + 1);
    (void)snprintf(i->path, sizeof(i->path), "frontdoor/2026/01/02/%s", name);
    i->o = (struct storage_object){.snapshot_id = i->id,
                                   .name = strrchr(i->path, '/') + 1,
                                   .path = i->path,
                                   .content_type = "image/jpeg",
                                   .taken_at = {1767323045000000},
                                   .camera = "front",
                                   .device_label = "Front Door",
                                   .labels = "person,car"};
    char bytes[5000];
    for (size_t k = 0; k < sizeof(bytes); k++)
        bytes[k] = (char)(k * 31 + nth);
    item_bytes(i, bytes, sizeof(bytes));
}

static void item_done(struct item *i)
{
    blob_unref(i->o.bytes);
}

static void must_reserve(struct rig *r, struct item *i)
{
    int code = r->s->ops->reserve(r->w, &i->o, &i->mark, 1, &r->f, &r->e);
    if (code < 0)
        CASE_FAILS("%s: reserve: %s", r->p->name, r->e.text);
    r->saved = i->mark;
}

static int try_put(struct rig *r, struct item *i)
{
    err_clear(&r->e);
    return r->s->ops->put(r->w, &i->o, &i->mark, save, r, &r->f, &r->e);
}

static void must_put(struct rig *r, struct item *i)
{
    if (try_put(r, i) < 0)
        CASE_FAILS("%s: put %s: %s", r->p->name, i->o.name, r->e.text);
}

static void must_hold(struct rig *r, const struct item *i)
{
    AUTO(blob) got = r->p->get(r->place, &i->mark);
    if (got == NULL)
        CASE_FAILS("%s: %s is not there", r->p->name, i->o.name);
    assert_int_equal(got->size, i->o.bytes->size);
    assert_memory_equal(got->data, i->o.bytes->data, got->size);
}

static int try_verify(struct rig *r, struct item *i)
{
    err_clear(&r->e);
    return r->s->ops->verify(r->w, &i->o, &i->mark, &r->f, &r->e);
}

/* ---- the promises ---- */

static void a_repeat_makes_no_second_one(struct rig *r)
{
    struct item i;
    item_make(&i, 0, "human_front_1767323045.jpg");
    must_reserve(r, &i);
    for (int n = 0; n < 3; n++) {
        must_put(r, &i);
        must_hold(r, &i);
        assert_int_equal(r->p->count(r->place), 1);
    }
    assert_int_equal(try_verify(r, &i), 0);
    item_done(&i);
}

static void a_repeat_after_a_kill_makes_no_second_one(struct rig *r)
{
    struct item i;
    item_make(&i, 0, "human_front_1767323045.jpg");
    must_reserve(r, &i);
    for (int n = 0; n < 3; n++) {
        i.mark = r->saved; /* what put changed without a save never was */
        must_put(r, &i);
        rig_restart(r);
    }
    i.mark = r->saved;
    must_hold(r, &i);
    assert_int_equal(r->p->count(r->place), 1);
    item_done(&i);
}

static void marks_are_made_before_and_differ(struct rig *r)
{
    enum { N = 20 };
    static struct item items[N];
    struct storage_object objects[N];
    struct storage_mark marks[N];
    for (unsigned n = 0; n < N; n++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "human_%u.jpg", n / 2);
        item_make(&items[n], n / 2, name);
        objects[n] = items[n].o;
        objects[n].bytes = NULL; /* as the upload stage reserves */
        objects[n].annotated = n % 2 == 1;
        if (objects[n].annotated) {
            (void)snprintf(items[n].path, sizeof(items[n].path), "f/2026/01/02/detect_%u.jpg", n);
            objects[n].md5 = objects[n].sha256 = "";
        }
    }
    assert_int_equal(r->s->ops->reserve(r->w, objects, marks, N, &r->f, &r->e), 0);
    for (int n = 0; n < N; n++) {
        assert_true(marks[n].id[0] != '\0');
        for (int k = 0; k < n; k++)
            assert_string_not_equal(marks[n].id, marks[k].id);
        item_done(&items[n]);
    }
    assert_int_equal(r->p->count(r->place), 0); /* nothing is there before a put */
}

static void a_picture_and_its_copy_are_two(struct rig *r)
{
    struct item picture, copy;
    item_make(&picture, 0, "human_front_1.jpg");
    item_make(&copy, 0, "detect_front_1.jpg");
    copy.o.annotated = true;
    item_bytes(&copy, "boxes", 5);
    must_reserve(r, &picture);
    must_reserve(r, &copy);
    must_put(r, &picture);
    must_put(r, &copy);
    must_hold(r, &picture);
    must_hold(r, &copy);
    assert_int_equal(r->p->count(r->place), 2);
    item_done(&picture);
    item_done(&copy);
}

/* A copy with boxes whose bytes are not known before the put, and that is drawn again after a kill:
 * other bytes, one file, the last ones. */
static void changed_bytes_take_the_place_of_the_old(struct rig *r)
{
    struct item i;
    item_make(&i, 0, "detect_front_1767323045.jpg");
    i.o.annotated = true;
    i.o.md5 = i.o.sha256 = "";
    must_reserve(r, &i);
    i.o.md5 = i.md5;
    i.o.sha256 = i.sha256;
    must_put(r, &i);
    for (int n = 0; n < 3; n++) {
        char bytes[3000];
        memset(bytes, 'a' + n, sizeof(bytes));
        item_bytes(&i, bytes, sizeof(bytes));
        rig_restart(r);
        i.mark = r->saved;
        must_put(r, &i);
        must_hold(r, &i);
        assert_int_equal(r->p->count(r->place), 1);
        assert_int_equal(try_verify(r, &i), 0);
    }
    item_done(&i);
}

/* A copy that is drawn again after its upload was done: the mark is as put() left it. */
static void what_is_kept_is_replaced_by_its_new_bytes(struct rig *r)
{
    struct item i;
    item_make(&i, 0, "detect_front_1767323045.jpg");
    i.o.annotated = true;
    i.o.md5 = i.o.sha256 = "";
    must_reserve(r, &i);
    i.o.md5 = i.md5;
    i.o.sha256 = i.sha256;
    must_put(r, &i);
    for (int n = 0; n < 3; n++) {
        char bytes[3000];
        memset(bytes, 'a' + n, sizeof(bytes));
        item_bytes(&i, bytes, sizeof(bytes));
        rig_restart(r);
        must_put(r, &i);
        must_hold(r, &i);
        assert_int_equal(r->p->count(r->place), 1);
        assert_int_equal(try_verify(r, &i), 0);
    }
    item_done(&i);
}

/* A camera that always pushes the same name, after its row was forgotten; two houses with one
 * place. */
static void what_others_have_there_stays(struct rig *r)
{
    struct item i;
    if (r->p->occupy == NULL)
        return;
    item_make(&i, 0, "snap.jpg");
    must_reserve(r, &i);
    struct storage_mark taken = i.mark;
    r->p->occupy(r->place, &taken);
    must_put(r, &i);
    assert_string_not_equal(i.mark.id, taken.id);
    assert_string_equal(r->saved.id, i.mark.id); /* durable before anything was there */
    must_hold(r, &i);
    AUTO(blob) theirs = r->p->get(r->place, &taken);
    assert_non_null(theirs);
    assert_int_equal(theirs->size, 15);
    assert_memory_equal(theirs->data, "somebody else's", 15);
    assert_int_equal(try_verify(r, &i), 0);
    rig_restart(r); /* nobody heard that it was there */
    i.mark = r->saved;
    must_put(r, &i);
    assert_int_equal(r->p->count(r->place), 2);
    item_done(&i);
}

static void an_empty_file_is_kept(struct rig *r)
{
    struct item i;
    item_make(&i, 0, "human_front_1767323045.jpg");
    item_bytes(&i, "", 0);
    must_reserve(r, &i);
    must_put(r, &i);
    must_put(r, &i);
    must_hold(r, &i);
    assert_int_equal(r->p->count(r->place), 1);
    assert_int_equal(try_verify(r, &i), 0);
    item_done(&i);
}

static void odd_names_are_kept(struct rig *r)
{
    char longest[256], longest_utf8[256];
    memset(longest, 'x', sizeof(longest));
    memcpy(longest + 251, ".jpg", 5);
    for (size_t n = 0; n < 125; n++)
        memcpy(longest_utf8 + 2 * n, "ü", 2);
    memcpy(longest_utf8 + 250, "x.jpg", 6);
    assert_int_equal(strlen(longest), 255);
    assert_int_equal(strlen(longest_utf8), 255);
    const char *const names[] = {"with a space.jpg",
                                 " leading.jpg",
                                 "[brackets](and) {more}.jpg",
                                 "Haustür Süd.jpg",
                                 "猫.jpg",
                                 "50%25 + a&b=c.jpg",
                                 "quote'and\"quote.jpg",
                                 "hash#query?.jpg",
                                 "back\\slash.jpg",
                                 ".hidden.jpg",
                                 "no-dot",
                                 "semi;colon:~@!$^.jpg",
                                 "-dash.jpg",
                                 "two..dots.jpg",
                                 longest,
                                 longest_utf8};
    struct item items[ARRAY_LEN(names)];
    for (unsigned n = 0; n < ARRAY_LEN(names); n++) {
        item_make(&items[n], n, names[n]);
        must_reserve(r, &items[n]);
        must_put(r, &items[n]);
    }
    for (unsigned n = 0; n < ARRAY_LEN(names); n++) {
        must_hold(r, &items[n]);
        if (try_verify(r, &items[n]) < 0)
            CASE_FAILS("%s: verify %s: %s", r->p->name, names[n], r->e.text);
    }
    assert_int_equal(r->p->count(r->place), ARRAY_LEN(names));
    for (unsigned n = 0; n < ARRAY_LEN(names); n++)
        item_done(&items[n]);
}

static void a_cut_leaves_nothing_half_and_is_repeated(struct rig *r)
{
    if (r->p->cut == NULL)
        return;
    struct item i;
    item_make(&i, 0, "human_front_1767323045.jpg");
    must_reserve(r, &i);
    r->p->cut(r->place, true);
    assert_true(try_put(r, &i) < 0);
    AUTO(blob) half = r->p->get(r->place, &i.mark);
    assert_null(half);
    r->p->cut(r->place, false);
    must_put(r, &i);
    must_hold(r, &i);
    assert_int_equal(r->p->count(r->place), 1);
    item_done(&i);
}

static void one_that_is_away_says_so_and_takes_it_later(struct rig *r)
{
    if (r->p->away == NULL)
        return;
    struct item i;
    item_make(&i, 0, "human_front_1767323045.jpg");
    must_reserve(r, &i);
    r->p->away(r->place, true);
    assert_true(try_put(r, &i) < 0);
    assert_int_equal(r->f.trouble, STORAGE_AWAY);
    assert_int_equal(r->e.retry, ERR_LATER);
    assert_true(r->e.text[0] != '\0');
    assert_true(try_verify(r, &i) < 0); /* away is not gone */
    assert_int_not_equal(r->e.code, -ENOENT);
    assert_int_equal(r->f.trouble, STORAGE_AWAY);
    r->p->away(r->place, false);
    must_put(r, &i);
    must_hold(r, &i);
    assert_int_equal(r->p->count(r->place), 1);
    item_done(&i);
}

static void a_stop_ends_the_call_and_the_next_start_goes_on(struct rig *r)
{
    struct item i;
    item_make(&i, 0, "human_front_1767323045.jpg");
    must_reserve(r, &i);
    assert_int_equal(eventfd_write(r->stop_fd, 1), 0);
    assert_int_equal(try_put(r, &i), -ECANCELED);
    assert_int_equal(r->f.trouble, STORAGE_WELL);
    eventfd_t taken;
    assert_int_equal(eventfd_read(r->stop_fd, &taken), 0);
    rig_restart(r);
    i.mark = r->saved;
    must_put(r, &i);
    must_hold(r, &i);
    assert_int_equal(r->p->count(r->place), 1);
    item_done(&i);
}

/* A storage may save or not; when it does, what could not be made durable must not be done. */
static void a_mark_that_cannot_be_saved_fails_the_call(struct rig *r)
{
    struct item i;
    item_make(&i, 0, "detect_front_1767323045.jpg");
    i.o.annotated = true;
    i.o.md5 = i.o.sha256 = "";
    must_reserve(r, &i);
    i.o.md5 = i.md5;
    i.o.sha256 = i.sha256;
    r->save_fails = true;
    int code = try_put(r, &i);
    assert_true((code < 0) == (r->saves > 0));
    r->save_fails = false;
    i.mark = r->saved;
    must_put(r, &i);
    must_hold(r, &i);
    assert_int_equal(r->p->count(r->place), 1);
    item_done(&i);
}

static void verify_tells_gone_from_changed(struct rig *r)
{
    struct item i;
    item_make(&i, 0, "human_front_1767323045.jpg");
    must_reserve(r, &i);
    assert_int_equal(try_verify(r, &i), -ENOENT);
    assert_int_equal(r->f.trouble, STORAGE_WELL);
    must_put(r, &i);
    assert_int_equal(try_verify(r, &i), 0);
    r->p->spoil(r->place, &i.mark);
    assert_int_equal(try_verify(r, &i), -EBADMSG);
    assert_int_equal(r->f.trouble, STORAGE_WELL);
    r->p->lose(r->place, &i.mark);
    assert_int_equal(try_verify(r, &i), -ENOENT);
    must_reserve(r, &i); /* as ledger_upload_lost() has it: a new object */
    must_put(r, &i);
    assert_int_equal(try_verify(r, &i), 0);
    assert_int_equal(r->p->count(r->place), 1);
    item_done(&i);
}

static void no_release(void *arg UNUSED)
{
}

/* Of pictures that are not here any more only size and digests are known. */
static void verify_needs_no_bytes(struct rig *r)
{
    struct item i;
    item_make(&i, 0, "human_front_1767323045.jpg");
    must_reserve(r, &i);
    must_put(r, &i);
    size_t size = i.o.bytes->size;
    blob_unref(i.o.bytes);
    i.o.bytes = blob_new_hook(NULL, size, no_release, NULL);
    assert_int_equal(try_verify(r, &i), 0);
    r->p->spoil(r->place, &i.mark);
    assert_int_equal(try_verify(r, &i), -EBADMSG);
    item_done(&i);
}

static void it_says_how_it_is(struct rig *r)
{
    struct storage_state state;
    memset(&state, 'x', sizeof(state));
    r->s->ops->describe(r->s, &state);
    assert_true(state.text[0] != '\0');
    test_expect_text("error of one that is well", state.error, "");
    assert_non_null(r->s->ops->kind);
    assert_true(r->s->name[0] != '\0');
    int64_t free_bytes = -1;
    if (r->s->ops->free_bytes != NULL) {
        assert_int_equal(r->s->ops->free_bytes(r->w, &free_bytes, &r->e), 0);
        assert_true(free_bytes > 0);
    }
}

/* ---- several sessions ---- */

enum { SESSIONS = 4, PER_SESSION = 12 };

struct worker {
    struct rig r; /* its own session of the common storage */
    pthread_t thread;
    struct item items[PER_SESSION];
    int failures;
};

static void *work(void *arg)
{
    struct worker *k = arg;
    for (int n = 0; n < PER_SESSION; n++)
        k->failures += try_put(&k->r, &k->items[n]) < 0;
    return NULL;
}

static void run_sessions(struct rig *r, bool same)
{
    struct worker *workers = xcalloc(SESSIONS, sizeof(*workers));
    for (unsigned k = 0; k < SESSIONS; k++) {
        workers[k].r = *r;
        assert_int_equal(
            r->s->ops->session_new(r->s, r->stop_fd, &no_memory, &workers[k].r.w, &r->e), 0);
        for (unsigned n = 0; n < PER_SESSION; n++) {
            struct item *i = &workers[k].items[n];
            unsigned number = same ? n : k * PER_SESSION + n;
            char name[64];
            (void)snprintf(name, sizeof(name), "human_front_%u.jpg", number);
            item_make(i, number, name);
            if (same && k > 0)
                i->mark = workers[0].items[n].mark;
            else
                must_reserve(r, i);
        }
    }
    for (int k = 0; k < SESSIONS; k++)
        assert_int_equal(pthread_create(&workers[k].thread, NULL, work, &workers[k]), 0);
    for (int k = 0; k < SESSIONS; k++)
        assert_int_equal(pthread_join(workers[k].thread, NULL), 0);
    for (int k = 0; k < SESSIONS; k++) {
        if (workers[k].failures)
            CASE_FAILS("%s: %s", r->p->name, workers[k].r.e.text);
        r->s->ops->session_free(workers[k].r.w);
        for (int n = 0; n < PER_SESSION; n++) {
            must_hold(r, &workers[k].items[n]);
            item_done(&workers[k].items[n]);
        }
    }
    free(workers);
    assert_int_equal(r->p->count(r->place), same ? PER_SESSION : SESSIONS * PER_SESSION);
}

static void sessions_work_beside_each_other(struct rig *r)
{
    run_sessions(r, false);
}

/* Nobody should; a second program with a copy of the ledger does. */
static void sessions_that_put_the_same_make_one(struct rig *r)
{
    run_sessions(r, true);
}

/* ---- each promise, each place ---- */

#define PROMISE(name)                                                                              \
    static void name##_(void **state)                                                              \
    {                                                                                              \
        struct rig r;                                                                              \
        rig_open(&r, *state);                                                                      \
        name(&r);                                                                                  \
        rig_close(&r);                                                                             \
    }

#define PROMISES(X)                                                                                \
    X(a_repeat_makes_no_second_one)                                                                \
    X(a_repeat_after_a_kill_makes_no_second_one)                                                   \
    X(marks_are_made_before_and_differ)                                                            \
    X(a_picture_and_its_copy_are_two)                                                              \
    X(changed_bytes_take_the_place_of_the_old)                                                     \
    X(what_is_kept_is_replaced_by_its_new_bytes)                                                   \
    X(what_others_have_there_stays)                                                                \
    X(an_empty_file_is_kept)                                                                       \
    X(odd_names_are_kept)                                                                          \
    X(a_cut_leaves_nothing_half_and_is_repeated)                                                   \
    X(one_that_is_away_says_so_and_takes_it_later)                                                 \
    X(a_stop_ends_the_call_and_the_next_start_goes_on)                                             \
    X(a_mark_that_cannot_be_saved_fails_the_call)                                                  \
    X(verify_tells_gone_from_changed)                                                              \
    X(verify_needs_no_bytes)                                                                       \
    X(it_says_how_it_is)                                                                           \
    X(sessions_work_beside_each_other)                                                             \
    X(sessions_that_put_the_same_make_one)

PROMISES(PROMISE)

static const struct {
    const char *name;
    CMUnitTestFunction test;
} promises[] = {
#define ROW(name) {#name, name##_},
    PROMISES(ROW)
#undef ROW
};

int main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(places) * ARRAY_LEN(promises)];
    char names[ARRAY_LEN(tests)][128];
    size_t count = 0;
    for (size_t p = 0; p < ARRAY_LEN(places); p++)
        for (size_t n = 0; n < ARRAY_LEN(promises); n++, count++) {
            (void)snprintf(names[count], sizeof(names[count]), "%s: %s", places[p]->name,
                           promises[n].name);
            tests[count] = (struct CMUnitTest){.name = names[count],
                                               .test_func = promises[n].test,
                                               .initial_state = (void *)(uintptr_t)places[p]};
        }
    return _cmocka_run_group_tests("storages", tests, count, NULL, NULL);
}
