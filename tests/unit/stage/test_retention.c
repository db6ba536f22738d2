/* Rules of retention over a real ledger and store, one picture above and below each limit. */

#include "../ledger/fixture.h"

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "stage/retention.h"

#define DAY_S ((int64_t)86400)
#define NOW_S (1000 * DAY_S)
#define SIZE 1000

struct rig {
    struct fixture *f;
    struct retention_config config;
    struct retention_options o;
    struct retention_report report;
    int64_t free_bytes, frees; /* what is free, and what each removed picture gives back */
    int64_t free_then;         /* with nothing removed */
    bool lags;                 /* what was removed counts in the next run only */
    int64_t files_before;      /* this run */
    int progress_calls, stop_after;
    uint64_t next;
};

static int64_t count_files(struct rig *r)
{
    static const struct retention_class any = {-1, -1};
    struct retention_sums sums;
    assert_int_equal(ledger_retention_sums(r->f->l, &any, NULL, &sums, &r->f->e), 0);
    return sums.files;
}

static int64_t free_bytes(void *arg)
{
    struct rig *r = arg;
    int64_t files = r->lags ? r->files_before : count_files(r);
    return r->free_then + ((int64_t)r->next - files) * r->frees;
}

static int rig_setup(void **state)
{
    struct rig *r = xcalloc(1, sizeof(*r));
    void *f = NULL;
    if (setup(&f) < 0)
        return -1;
    r->f = f;
    r->free_then = (int64_t)1 << 40;
    r->o = (struct retention_options){.ledger = r->f->l,
                                      .store = r->f->s,
                                      .config = &r->config,
                                      .now = {NOW_S * 1000000},
                                      .free_bytes = free_bytes,
                                      .arg = r};
    *state = r;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *r = *state;
    void *f = r->f;
    free(r);
    return teardown(&f);
}

enum look { PLAIN, PERSON, STARRED, STARRED_PERSON };

struct what {
    enum look look;
    const char *camera; /* "front" */
    int64_t age_s;      /* of the arrival, at NOW_S */
    bool copy, unexamined, waits_for_event, waits_for_upload, pushed;
};

static struct snapshot *add(struct rig *r, struct what what)
{
    struct fixture *f = r->f;
    const char *camera = what.camera != NULL ? what.camera : "front";
    uint64_t n = ++r->next;
    struct snapshot *s = make_snapshot(n, camera);
    static const char bytes[SIZE];
    s->size = SIZE;
    s->event_at.us = (NOW_S - what.age_s) * 1000000 - 500000;
    s->received_at.us = (NOW_S - what.age_s) * 1000000;
    s->source = what.pushed ? SNAPSHOT_PUSHED : SNAPSHOT_FETCHED;
    (void)snprintf(s->path, sizeof(s->path), "%s/1972/%02d/01/fetch_%llu.jpg", camera,
                   (int)(what.age_s / DAY_S % 12) + 1, (unsigned long long)n);
    assert_int_equal(store_put(f->s, s->id, false, bytes, sizeof(bytes), &f->e), 0);
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    assert_int_equal(store_place(f->s, s->id, false, s->path, &f->e), 0);
    if (what.unexamined)
        return s;
    static const char *const person[] = {"person"}, *const car[] = {"car"};
    static const float score[] = {0.9f};
    bool has_person = what.look == PERSON || what.look == STARRED_PERSON;
    struct verdict v = make_verdict(has_person ? person : car, score, 1);
    char copy[SNAPSHOT_PATH_MAX] = "";
    if (what.copy) {
        assert_true(snapshot_name_annotated(s->path, copy, sizeof(copy)) >= 0);
        assert_int_equal(store_put(f->s, s->id, true, bytes, sizeof(bytes), &f->e), 0);
        assert_int_equal(store_place(f->s, s->id, true, copy, &f->e), 0);
    }
    static const char *const one[] = {"console", NULL};
    static const struct upload_wish wish = {.storage = "gdrive", .picture = true};
    if (ledger_snapshot_examined(f->l, s, &v, NULL, copy, what.waits_for_event ? one : NULL, &wish,
                                 what.waits_for_upload, &f->e) < 0)
        fail_msg("%s", f->e.text);
    verdict_done(&v);
    assert_int_equal(ledger_settle(f->l, &s->row, 1, &f->e), 0);
    if (what.look == STARRED || what.look == STARRED_PERSON)
        assert_int_equal(ledger_snapshot_star(f->l, s->id, true, &f->e), 0);
    return s;
}

static void put_in(struct rig *r, struct what what)
{
    snapshot_unref(add(r, what));
}

static void run(struct rig *r)
{
    r->files_before = count_files(r);
    if (retention_run(&r->o, &r->report, &r->f->e) < 0)
        fail_msg("%s", r->f->e.text);
}

/* The ids that are still here, as digits of their numbers: "1 3". */
static const char *left(struct rig *r)
{
    static char text[256];
    struct retention_class any = {-1, -1};
    struct snapshot *list[64];
    text[0] = '\0';
    int n = ledger_retention_next(r->f->l, &any, NULL, (struct wall_time){0}, false, 0, list, 64,
                                  &r->f->e);
    for (int i = 0; i < n; i++) {
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof(text) - len, "%s%llx", len ? " " : "",
                       strtoull(list[i]->id, NULL, 16));
        if (!store_holds(r->f->s, list[i]->path))
            fail_msg("%s is not there", list[i]->path);
        snapshot_unref(list[i]);
    }
    return text;
}

static void expect_left(struct rig *r, const char *wanted)
{
    if (strcmp(left(r), wanted) != 0)
        fail_msg("left are %s, not %s", left(r), wanted);
    struct dynbuf report;
    dynbuf_init(&report, 65536);
    if (store_check(r->f->s, r->f->l, &report, &r->f->e) != 0)
        fail_msg("%s", dynbuf_str(&report));
    dynbuf_done(&report);
    assert_sound(r->f);
}

/* ---- age ---- */

static void each_class_goes_at_its_age(void **state)
{
    struct rig *r = *state;
    static const enum look looks[] = {PLAIN, PERSON, STARRED, STARRED_PERSON};
    r->config.age_ms[RETENTION_PLAIN] = 2 * DAY_S * 1000;
    r->config.age_ms[RETENTION_PERSON] = 5 * DAY_S * 1000;
    r->config.age_ms[RETENTION_STARRED] = 9 * DAY_S * 1000;
    static const int64_t days[] = {9, 5, 2};
    for (size_t d = 0; d < ARRAY_LEN(days); d++)
        for (int64_t more = 1; more >= -1; more--)
            for (size_t i = 0; i < ARRAY_LEN(looks); i++)
                put_in(r, (struct what){looks[i], .age_s = days[d] * DAY_S + more});
    run(r);
    /* 1..12 around nine days, d..18 around five, 19..24 around two. */
    expect_left(r, "b c f 10 13 14 16 17 18 1a 1b 1c 1e 1f 20 21 22 23 24");
    assert_int_equal(r->report.files[RETENTION_RULE_PLAIN_AGE], 8);
    assert_int_equal(r->report.bytes[RETENTION_RULE_PLAIN_AGE], 8 * SIZE);
    assert_int_equal(r->report.files[RETENTION_RULE_PERSON_AGE], 5);
    assert_int_equal(r->report.files[RETENTION_RULE_STARRED_AGE], 4);
    run(r);
    assert_int_equal(r->report.files[RETENTION_RULE_PLAIN_AGE], 0);
}

static void without_limits_all_stay(void **state)
{
    struct rig *r = *state;
    put_in(r, (struct what){PLAIN, .age_s = 999 * DAY_S});
    put_in(r, (struct what){STARRED, .age_s = 999 * DAY_S});
    run(r);
    expect_left(r, "1 2");
}

static void the_defaults_are_the_predecessors(void **state)
{
    struct rig *r = *state;
    static const struct cfg_section *const sections[] = {&retention_cfg_section, NULL};
    static const struct cfg_schema schema = {.sections = sections};
    static char *none[] = {NULL};
    struct cfg_source source = {.text = "", .environment = none};
    struct cfg *c = NULL;
    assert_int_equal(cfg_load(&schema, &source, &c, NULL, NULL), 0);
    r->config = *(const struct retention_config *)cfg_values(c, &retention_cfg_section);
    cfg_unref(c);
    put_in(r, (struct what){PLAIN, .age_s = 48 * 3600});
    put_in(r, (struct what){PERSON, .age_s = 48 * 3600});
    put_in(r, (struct what){STARRED_PERSON, .age_s = 900 * DAY_S});
    put_in(r, (struct what){PLAIN, .age_s = 48 * 3600 - 1});
    put_in(r, (struct what){PERSON, .age_s = 48 * 3600 - 1});
    run(r);
    expect_left(r, "3 4 5");
}

/* An old picture that is copied in is as old as its arrival. */
static void the_arrival_counts_and_not_the_event(void **state)
{
    struct rig *r = *state;
    r->config.age_ms[RETENTION_PLAIN] = 2 * DAY_S * 1000;
    struct snapshot *s = make_snapshot(++r->next, "front");
    static const char bytes[4] = "abcd";
    s->event_at.us = 1000000;
    s->received_at.us = (NOW_S - 10) * 1000000;
    assert_int_equal(store_put(r->f->s, s->id, false, bytes, 4, &r->f->e), 0);
    assert_int_equal(ledger_snapshot_add(r->f->l, s, &r->f->e), 0);
    assert_int_equal(store_place(r->f->s, s->id, false, s->path, &r->f->e), 0);
    struct verdict v = make_verdict(NULL, NULL, 0);
    assert_int_equal(ledger_snapshot_examined(r->f->l, s, &v, NULL, NULL, NULL, NULL, 0, &r->f->e),
                     0);
    verdict_done(&v);
    snapshot_unref(s);
    run(r);
    expect_left(r, "1");
}

static void a_clock_that_was_wrong_for_a_while_takes_nothing_young(void **state)
{
    struct rig *r = *state;
    r->config.age_ms[RETENTION_PLAIN] = 2 * DAY_S * 1000;
    put_in(r, (struct what){PLAIN, .age_s = 3 * DAY_S});    /* 1: old */
    put_in(r, (struct what){PLAIN, .age_s = -400 * DAY_S}); /* 2: the clock was ahead */
    put_in(r, (struct what){PLAIN, .age_s = 3 * DAY_S});    /* 3: old */
    put_in(r, (struct what){PLAIN, .age_s = DAY_S});        /* 4: young */
    put_in(r, (struct what){PLAIN, .age_s = NOW_S - 5});    /* 5: the clock was at 1970 */
    put_in(r, (struct what){PLAIN, .age_s = DAY_S - 9});    /* 6: young */
    run(r);
    expect_left(r, "2 4 5 6");
}

/* ---- numbers and sizes ---- */

static void each_camera_keeps_its_newest(void **state)
{
    struct rig *r = *state;
    r->config.per_camera[RETENTION_PLAIN] = 2;
    r->config.per_camera[RETENTION_PERSON] = 1;
    static const char *const cameras[] = {"front", "yard", "attic"};
    static const int counts[] = {3, 2, 1}; /* one above, at, and one below the limit */
    for (size_t c = 0; c < ARRAY_LEN(cameras); c++)
        for (int i = 0; i < counts[c]; i++)
            put_in(r, (struct what){PLAIN, cameras[c], .age_s = 100});
    put_in(r, (struct what){PERSON, "yard", .age_s = 100});
    put_in(r, (struct what){PERSON, "yard", .age_s = 90});
    put_in(r, (struct what){STARRED, "yard", .age_s = 100});
    put_in(r, (struct what){STARRED_PERSON, "yard", .age_s = 100});
    run(r);
    expect_left(r, "2 3 4 5 6 8 9 a");
    assert_int_equal(r->report.files[RETENTION_RULE_PLAIN_PER_CAMERA], 1);
    assert_int_equal(r->report.files[RETENTION_RULE_PERSON_PER_CAMERA], 1);
}

static void sizes_are_kept_to_the_byte(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 5; i++)
        put_in(r, (struct what){PLAIN, .age_s = 100 - i});
    put_in(r, (struct what){PERSON, .age_s = 100, .copy = true}); /* counts twice */
    put_in(r, (struct what){PERSON, .age_s = 99});
    r->config.size[RETENTION_PLAIN] = 5 * SIZE;
    r->config.size[RETENTION_PERSON] = 3 * SIZE;
    run(r);
    expect_left(r, "1 2 3 4 5 6 7");
    r->config.size[RETENTION_PLAIN] = 5 * SIZE - 1;
    run(r);
    expect_left(r, "2 3 4 5 6 7");
    r->config.size[RETENTION_PERSON] = 3 * SIZE - 1;
    run(r);
    expect_left(r, "2 3 4 5 7"); /* with its copy */
    assert_false(store_holds(r->f->s, "front/1972/01/01/detect_6.jpg"));
    assert_int_equal(r->report.bytes[RETENTION_RULE_PERSON_SIZE], 2 * SIZE);
}

static void the_total_takes_plain_ones_first_and_starred_never(void **state)
{
    struct rig *r = *state;
    put_in(r, (struct what){STARRED, .age_s = 100});
    put_in(r, (struct what){PERSON, .age_s = 90});
    put_in(r, (struct what){PLAIN, .age_s = 80});
    put_in(r, (struct what){PERSON, .age_s = 70});
    put_in(r, (struct what){PLAIN, .age_s = 60});
    r->config.total_size = 5 * SIZE;
    run(r);
    expect_left(r, "1 2 3 4 5");
    r->config.total_size = 4 * SIZE;
    run(r);
    expect_left(r, "1 2 4 5");
    r->config.total_size = 2 * SIZE;
    run(r);
    expect_left(r, "1 4");
    r->config.total_size = 1;
    run(r);
    expect_left(r, "1");
    assert_int_equal(r->report.files[RETENTION_RULE_TOTAL_SIZE], 1);
}

/* ---- what has not arrived ---- */

static void what_has_not_reached_its_destinations_stays(void **state)
{
    struct rig *r = *state;
    put_in(r, (struct what){PLAIN, .age_s = 9 * DAY_S, .waits_for_event = true});
    put_in(r, (struct what){PLAIN, .age_s = 9 * DAY_S, .waits_for_upload = true});
    put_in(r, (struct what){PLAIN, .age_s = 9 * DAY_S, .unexamined = true});
    put_in(r, (struct what){PLAIN, .age_s = 9 * DAY_S});
    r->config.age_ms[RETENTION_PLAIN] = DAY_S * 1000;
    r->config.per_camera[RETENTION_PLAIN] = 1;
    r->config.size[RETENTION_PLAIN] = 1;
    r->config.total_size = 1;
    r->config.free_space = INT64_MAX / 2;
    run(r);
    expect_left(r, "1 2 3");

    struct outbox_item item;
    assert_int_equal(
        ledger_outbox_due(r->f->l, "console", (struct wall_time){INT64_MAX}, &item, 1, &r->f->e),
        1);
    assert_int_equal(ledger_outbox_done(r->f->l, &item, 1, &r->f->e), 0);
    run(r);
    expect_left(r, "2 3");

    /* One that was given up may be asked for again. */
    static const struct upload_order order = {.live_after = INT64_MAX};
    struct upload_job job;
    assert_int_equal(ledger_upload_due(r->f->l, "gdrive", &order, (struct wall_time){INT64_MAX / 2},
                                       NULL, 0, &job, 1, &r->f->e),
                     1);
    assert_int_equal(ledger_upload_dead(r->f->l, &job, "refused", &r->f->e), 0);
    run(r);
    expect_left(r, "2 3");
    assert_int_equal(ledger_upload_again(r->f->l, job.snapshot_id, &r->f->e), 1);
    assert_int_equal(ledger_upload_done(r->f->l, &job, NULL, 1, &r->f->e), 0);
    run(r);
    expect_left(r, "3");
}

/* ---- room ---- */

static void room_is_made_to_the_byte(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 6; i++)
        put_in(r, (struct what){i % 2 ? PERSON : PLAIN, .age_s = 100 - i});
    r->frees = SIZE;
    r->free_then = 10000;
    r->config.free_space = 10000;
    run(r);
    expect_left(r, "1 2 3 4 5 6");
    r->config.free_space = 10001;
    run(r);
    expect_left(r, "2 3 4 5 6");
    r->config.free_space = 10000 + 4 * SIZE;
    run(r);
    expect_left(r, "4 6"); /* plain ones are gone, then the oldest person */
    assert_int_equal(r->report.files[RETENTION_RULE_FREE_SPACE], 3);
    r->free_then = -1 - ((int64_t)r->next - count_files(r)) * r->frees; /* not known */
    r->config.free_space = INT64_MAX / 2;
    run(r);
    expect_left(r, "4 6");
}

/* reserve 4000: it is about to fill below 5000. */
static void a_disk_that_fills_takes_the_undelivered_in_their_order(void **state)
{
    struct rig *r = *state;
    r->o.reserve = 4000;
    assert_int_equal(retention_filling_below(4000), 5000);
    put_in(r, (struct what){PERSON, .age_s = 100, .waits_for_upload = true}); /* 1 */
    put_in(r, (struct what){PLAIN, .age_s = 95, .waits_for_event = true});    /* 2 */
    put_in(r, (struct what){STARRED, .age_s = 94});                           /* 3 */
    put_in(r, (struct what){PLAIN, .age_s = 93, .unexamined = true});         /* 4 */
    put_in(r, (struct what){PERSON, .age_s = 92});                            /* 5 */
    put_in(r, (struct what){PLAIN, .age_s = 91, .waits_for_upload = true});   /* 6 */
    r->frees = SIZE;
    r->free_then = 5000;
    run(r);
    expect_left(r, "1 2 3 4 5 6");
    assert_false(r->report.short_of_space);

    r->free_then = 4999; /* what is delivered is enough */
    run(r);
    expect_left(r, "1 2 3 4 6");
    assert_int_equal(r->report.files[RETENTION_RULE_FREE_SPACE], 1);
    assert_int_equal(r->report.files[RETENTION_RULE_FILLING], 0);

    r->free_then = 3999; /* with the one removed 4999: one more */
    run(r);
    expect_left(r, "1 3 4 6");
    assert_int_equal(r->report.files[RETENTION_RULE_FILLING], 1);
    assert_false(r->report.short_of_space);

    r->free_then = 0;
    run(r);
    expect_left(r, "3 4"); /* a star, and what nobody has looked at */
    assert_int_equal(r->report.files[RETENTION_RULE_FILLING], 2);
    assert_true(r->report.short_of_space);

    struct upload_counts counts;
    assert_int_equal(ledger_upload_counts(r->f->l, "gdrive", &counts, &r->f->e), 0);
    assert_int_equal(counts.dead, 2); /* their end is written down */
    struct ledger_story story[32];
    char id[SNAPSHOT_ID_SIZE];
    make_id(1, id);
    int n = ledger_story(r->f->l, id, story, 32, &r->f->e);
    bool told = false;
    for (int i = 0; i < n; i++)
        told = told || strstr(story[i].detail, "the disk was about to fill");
    assert_true(told);
}

/* btrfs counts what was removed when it commits, half a minute later. */
static void a_disk_that_gives_back_late_loses_nothing_for_it(void **state)
{
    struct rig *r = *state;
    r->o.reserve = 4000;
    r->frees = SIZE;
    r->lags = true;
    for (int i = 0; i < 8; i++)
        put_in(r, (struct what){PLAIN, .age_s = 100 - i, .waits_for_upload = i % 2});
    r->free_then = 4500; /* 6000 are to be free then: two */
    run(r);
    expect_left(r, "2 4 5 6 7 8");
    assert_int_equal(r->report.files[RETENTION_RULE_FREE_SPACE], 2);
    run(r);
    expect_left(r, "2 4 5 6 7 8");
    r->free_then = 2500; /* 4500, and only two more are delivered */
    run(r);
    expect_left(r, "2 4 6 8");
    assert_int_equal(r->report.files[RETENTION_RULE_FILLING], 0);
    assert_true(r->report.short_of_space); /* as far as anybody knows */
    run(r);
    expect_left(r, "2 4 6 8");
    assert_false(r->report.short_of_space);
}

/* By age as well: what was removed in this run may be enough. */
static void a_run_that_removed_anything_takes_nothing_undelivered(void **state)
{
    struct rig *r = *state;
    r->o.reserve = 4000;
    r->frees = SIZE;
    r->lags = true;
    r->config.age_ms[RETENTION_PERSON] = 1000;
    put_in(r, (struct what){PLAIN, .age_s = 100, .waits_for_upload = true});
    put_in(r, (struct what){PERSON, .age_s = 100});
    r->free_then = 4500;
    run(r);
    expect_left(r, "1");
    run(r);
    expect_left(r, "1");
}

/* A hard link elsewhere (after = keep), a snapshot of the file system. */
static void what_brings_no_room_is_not_gone_on_with(void **state)
{
    struct rig *r = *state;
    r->o.reserve = 4000;
    r->frees = 0;
    for (int i = 0; i < 8; i++)
        put_in(r, (struct what){PLAIN, .age_s = 100 - i, .waits_for_upload = i > 3});
    r->free_then = 4500; /* two are wanted */
    run(r);
    expect_left(r, "3 4 5 6 7 8");
    run(r);
    expect_left(r, "5 6 7 8");
    run(r); /* one is wanted */
    expect_left(r, "6 7 8");
    assert_int_equal(r->report.files[RETENTION_RULE_FILLING], 1);
}

static void rules_can_be_left_out(void **state)
{
    struct rig *r = *state;
    r->o.reserve = 4000;
    r->frees = SIZE;
    r->free_then = 0;
    r->config.age_ms[RETENTION_PLAIN] = 1000;
    put_in(r, (struct what){PLAIN, .age_s = 100});
    put_in(r, (struct what){PLAIN, .age_s = 0});
    put_in(r, (struct what){PLAIN, .age_s = 0, .waits_for_upload = true});
    r->o.without = RETENTION_BITS_ALL & ~RETENTION_BITS_AGES;
    run(r);
    expect_left(r, "2 3");
    r->o.without = RETENTION_BIT(RETENTION_RULE_FILLING);
    run(r);
    run(r);
    expect_left(r, "3");
    assert_true(r->report.short_of_space);
    r->o.without = 0;
    run(r);
    expect_left(r, "");
}

static void only_room_is_made_when_that_is_asked_for(void **state)
{
    struct rig *r = *state;
    r->config.age_ms[RETENTION_PLAIN] = 1000;
    r->o.without = RETENTION_BITS_ALL & ~RETENTION_BITS_SPACE;
    put_in(r, (struct what){PLAIN, .age_s = 100});
    run(r);
    expect_left(r, "1");
}

/* ---- history ---- */

static void rows_are_forgotten_after_their_time(void **state)
{
    struct rig *r = *state;
    put_in(r, (struct what){PLAIN, .age_s = 100});
    put_in(r, (struct what){PLAIN, .age_s = 100, .pushed = true});
    put_in(r, (struct what){PLAIN, .age_s = 1});
    r->config.age_ms[RETENTION_PLAIN] = 50000;
    run(r); /* removed now, by the real clock */
    r->config.history_age_ms = 1000;
    r->o.now = clock_wall();
    r->config.age_ms[RETENTION_PLAIN] = 0;
    run(r);
    assert_int_equal(r->report.files[RETENTION_RULE_HISTORY], 0);
    r->o.now.us += 2000000;
    r->o.keeps_files = true; /* a pushed one's row tells that its file was taken */
    run(r);
    assert_int_equal(r->report.files[RETENTION_RULE_HISTORY], 1);
    char id[SNAPSHOT_ID_SIZE];
    make_id(2, id);
    assert_int_equal(ledger_snapshot_exists(r->f->l, id, &r->f->e), 1);
    r->o.keeps_files = false;
    run(r);
    assert_int_equal(r->report.files[RETENTION_RULE_HISTORY], 1);
    assert_int_equal(ledger_snapshot_exists(r->f->l, id, &r->f->e), 0);
    expect_left(r, "3");
}

/* Folders are by the day of the event: as long as a picture of that day may come, the row keeps its
 * name from being given again, here and where it is kept. */
static void rows_of_events_of_today_are_not_forgotten(void **state)
{
    struct rig *r = *state;
    put_in(r, (struct what){PLAIN, .age_s = 100});
    r->config.age_ms[RETENTION_PLAIN] = 1000;
    run(r); /* removed now, by the real clock */
    r->config.history_age_ms = 1000;
    struct wall_time event = {(NOW_S - 100) * 1000000 - 500000};
    struct wall_time soon = clock_wall();
    int64_t rows[4];
    soon.us += 2000000;
    assert_int_equal(ledger_history_next(r->f->l, soon, event, true, rows, 4, &r->f->e), 0);
    event.us++;
    assert_int_equal(ledger_history_next(r->f->l, soon, event, true, rows, 4, &r->f->e), 1);
    r->o.now = soon;
    run(r);
    assert_int_equal(r->report.files[RETENTION_RULE_HISTORY], 1);
}

/* ---- dry runs, stops, failures ---- */

static void a_dry_run_counts_what_a_run_does_and_touches_nothing(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 40; i++)
        put_in(r, (struct what){(enum look)(i % 3), i % 5 ? "front" : "yard",
                                .age_s = (50 - i) * 3600, .copy = i % 4 == 0});
    r->config.age_ms[RETENTION_PLAIN] = 45 * 3600 * 1000;
    r->config.age_ms[RETENTION_PERSON] = 40 * 3600 * 1000;
    r->config.per_camera[RETENTION_PLAIN] = 8;
    r->config.per_camera[RETENTION_STARRED] = 7;
    r->config.size[RETENTION_PERSON] = 9 * SIZE;
    r->config.total_size = 30 * SIZE;
    r->o.dry_run = true;
    run(r);
    struct retention_report dry = r->report;
    assert_int_equal(count_files(r), 40);
    r->o.dry_run = false;
    run(r);
    for (int i = 0; i < RETENTION_RULE_COUNT; i++)
        if (dry.files[i] != r->report.files[i] || dry.bytes[i] != r->report.bytes[i])
            fail_msg("%s: %lld foretold, %lld removed", retention_rule_names[i],
                     (long long)dry.files[i], (long long)r->report.files[i]);
    assert_true(dry.files[RETENTION_RULE_TOTAL_SIZE] > 0);
    assert_true(dry.files[RETENTION_RULE_PLAIN_PER_CAMERA] > 0);
    (void)left(r);
    assert_sound(r->f);
}

static bool stop_after_some(void *arg)
{
    struct rig *r = arg;
    return ++r->progress_calls >= r->stop_after;
}

static void a_stop_ends_it_between_two_batches(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 200; i++)
        put_in(r, (struct what){PLAIN, .age_s = 100});
    r->config.age_ms[RETENTION_PLAIN] = 1000;
    r->o.progress = stop_after_some;
    r->stop_after = 1;
    run(r);
    assert_int_equal(r->report.files[RETENTION_RULE_PLAIN_AGE], 64);
    r->stop_after = 1000;
    run(r);
    assert_int_equal(r->report.files[RETENTION_RULE_PLAIN_AGE], 136);
    expect_left(r, "");
}

static void a_file_that_cannot_be_removed_keeps_its_row(void **state)
{
    struct rig *r = *state;
    put_in(r, (struct what){PLAIN, .age_s = 100});
    put_in(r, (struct what){PLAIN, .age_s = 100});
    AUTO(snapshot) s = NULL;
    char id[SNAPSHOT_ID_SIZE], path[1024];
    make_id(1, id);
    assert_int_equal(ledger_snapshot_get(r->f->l, id, &s, &r->f->e), 0);
    (void)snprintf(path, sizeof(path), "%s/%s", r->f->root, s->path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0); /* a folder is no file that unlink takes */
    r->config.age_ms[RETENTION_PLAIN] = 1000;
    run(r);
    assert_int_equal(r->report.failed, 1);
    assert_true(r->report.failure[0] != '\0');
    assert_int_equal(r->report.files[RETENTION_RULE_PLAIN_AGE], 1);
    assert_int_equal(rmdir(path), 0);
    run(r); /* an absent file is as good as an unlinked one */
    assert_int_equal(r->report.failed, 0);
    expect_left(r, "");
}

static void empty_folders_of_old_days_go_and_others_stay(void **state)
{
    struct rig *r = *state;
    struct stat st;
    char path[300];
    put_in(r, (struct what){PLAIN, .age_s = 4 * DAY_S});         /* 1972/05 */
    put_in(r, (struct what){PLAIN, "yard", .age_s = 1 * DAY_S}); /* 1972/02 */
    r->config.age_ms[RETENTION_PLAIN] = 1000;
    run(r);
    expect_left(r, "");
    (void)snprintf(path, sizeof(path), "%s/front/1972", r->f->root);
    assert_int_not_equal(stat(path, &st), 0);
    (void)snprintf(path, sizeof(path), "%s/front", r->f->root);
    assert_int_equal(stat(path, &st), 0);
    (void)snprintf(path, sizeof(path), "%s/yard/1972/02/01", r->f->root);
    assert_int_equal(stat(path, &st), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_class_goes_at_its_age),
        TEST(without_limits_all_stay),
        TEST(the_defaults_are_the_predecessors),
        TEST(the_arrival_counts_and_not_the_event),
        TEST(a_clock_that_was_wrong_for_a_while_takes_nothing_young),
        TEST(each_camera_keeps_its_newest),
        TEST(sizes_are_kept_to_the_byte),
        TEST(the_total_takes_plain_ones_first_and_starred_never),
        TEST(what_has_not_reached_its_destinations_stays),
        TEST(room_is_made_to_the_byte),
        TEST(a_disk_that_fills_takes_the_undelivered_in_their_order),
        TEST(a_disk_that_gives_back_late_loses_nothing_for_it),
        TEST(a_run_that_removed_anything_takes_nothing_undelivered),
        TEST(what_brings_no_room_is_not_gone_on_with),
        TEST(rules_can_be_left_out),
        TEST(only_room_is_made_when_that_is_asked_for),
        TEST(rows_are_forgotten_after_their_time),
        TEST(rows_of_events_of_today_are_not_forgotten),
        TEST(a_dry_run_counts_what_a_run_does_and_touches_nothing),
        TEST(a_stop_ends_it_between_two_batches),
        TEST(a_file_that_cannot_be_removed_keeps_its_row),
        TEST(empty_folders_of_old_days_go_and_others_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
