/* The janitor, by hand and on virtual clocks, on a disk that is as full as the test says. */
#include "flow.h"

#include "../unit/ftp/system_calls.h"

#include "ledger/ledger_trash.h"
#include "ledger/ledger_upload.h"
#include "stage/retention.h"

#define HOUR_S 3600
#define PLENTY ((int64_t)1 << 40)
#define SIZE 1000

static _Atomic int64_t mono_us = 1000000000, wall_us;

static struct mono_time virtual_mono(void)
{
    return (struct mono_time){atomic_load(&mono_us)};
}
static struct wall_time virtual_wall(void)
{
    return (struct wall_time){atomic_load(&wall_us)};
}

static int64_t nothing_to_do(void *self UNUSED)
{
    return 3600000;
}
static const struct stage_ops idle_ops = {.name = "idle", .sweep = nothing_to_do};

struct by_hand {
    struct flow *f;
    void *janitor;
    struct stage *stage;
    uint64_t next;
    int64_t elapsed_s;
};

static void janitor_open(struct by_hand *h, const struct retention_config *rules)
{
    calls.free_bytes = PLENTY;
    atomic_store(&wall_us, (int64_t)1767323045 * 1000000);
    *h = (struct by_hand){.f = flow_new(1, 0)};
    flow_configure(h->f, "[camera:a]\nkind = http\nurl = http://127.0.0.1:9/\n");
    {
        AUTO(settings) now = pipeline_settings(&h->f->p);
        now->retention = *rules;
        now->retention.enabled = true;
        now->retention.interval_ms = HOUR_S * 1000;
    }
    h->f->p.store_reserve = 4000; /* about to fill below 5000 */
    flow_listen(h->f, "retention");
    flow_listen(h->f, "retention-filling");
    flow_listen(h->f, "retention-short");
    flow_listen(h->f, "clock-ahead");
    flow_listen(h->f, "clock-believed");
    int n = flow_start_stage(h->f, &idle_ops, NULL, 0, NULL, 0);
    h->stage = h->f->stages[n];
    janitor_stage.register_metrics();
    h->janitor = janitor_stage_new(&h->f->p);
    struct err e = {0};
    assert_int_equal(janitor_stage.init(h->janitor, h->stage, &e), 0);
}

static void janitor_close(struct by_hand *h)
{
    janitor_stage.fini(h->janitor);
    free(h->janitor);
    flow_free(h->f);
    calls_reset();
}

/* Sleeps as long as the janitor says, as the loop does. Returns how often it was awake. */
static int run_s(struct by_hand *h, int64_t seconds)
{
    int64_t left_ms = seconds * 1000;
    int sweeps = 0;
    for (;; sweeps++) {
        int64_t pause = janitor_stage.sweep(h->janitor);
        assert_true(pause >= 0);
        if (pause > left_ms)
            pause = left_ms;
        atomic_fetch_add(&mono_us, pause * 1000);
        atomic_fetch_add(&wall_us, pause * 1000);
        left_ms -= pause;
        if (left_ms == 0)
            break;
    }
    (void)janitor_stage.sweep(h->janitor);
    return sweeps;
}

static void add_picture(struct by_hand *h, bool person, bool waits)
{
    struct flow *f = h->f;
    AUTO(snapshot) s = snapshot_new();
    static const char bytes[SIZE];
    struct err e = {0};
    uint64_t n = ++h->next;
    (void)snprintf(s->id, sizeof(s->id), "%032llx", (unsigned long long)n);
    text_copy(s->camera, sizeof(s->camera), "a");
    text_copy(s->device_key, sizeof(s->device_key), "A Camera");
    text_copy(s->device_label, sizeof(s->device_label), "A");
    s->event_at = s->received_at = clock_wall();
    (void)snprintf(s->path, sizeof(s->path), "a/2026/01/02/fetch_%llu.jpg", (unsigned long long)n);
    s->size = SIZE;
    memset(s->md5, 'a', 32);
    memset(s->sha256, 'b', 64);
    text_copy(s->format, sizeof(s->format), "jpeg");
    s->width = s->height = 10;
    assert_int_equal(store_put(f->p.store, s->id, false, bytes, SIZE, &e), 0);
    assert_int_equal(ledger_snapshot_add(f->l, s, &e), 0);
    assert_int_equal(store_place(f->p.store, s->id, false, s->path, &e), 0);
    struct verdict v = {.outcome = VERDICT_EXAMINED};
    text_copy(v.model, sizeof(v.model), "fake.onnx");
    if (person) {
        v.found.items = xcalloc(1, sizeof(*v.found.items));
        v.found.count = 1;
        v.found.items[0].confidence = 0.9f;
        text_copy(v.found.items[0].label, DETECTION_LABEL_MAX, "person");
    }
    struct upload_wish wish = {.storage = "gdrive", .picture = true};
    assert_int_equal(ledger_snapshot_examined(f->l, s, &v, NULL, NULL, NULL, &wish, waits, &e), 0);
    verdict_done(&v);
}

static int64_t left(struct by_hand *h)
{
    static const struct retention_class any = {-1, -1};
    struct retention_sums sums;
    struct err e = {0};
    assert_int_equal(ledger_retention_sums(h->f->l, &any, NULL, &sums, &e), 0);
    return sums.files;
}

static void old_pictures_go_at_the_next_look(void **state UNUSED)
{
    struct by_hand h;
    struct retention_config rules = {.age_ms = {2 * HOUR_S * 1000, 2 * HOUR_S * 1000, 0}};
    janitor_open(&h, &rules);
    add_picture(&h, false, false);
    add_picture(&h, true, false);
    add_picture(&h, true, true); /* not there yet */
    (void)run_s(&h, 60);         /* the first look */
    assert_int_equal(left(&h), 3);
    (void)run_s(&h, 2 * HOUR_S - 61); /* a second before their time; looks at 1 min and 1 h 1 min */
    assert_int_equal(left(&h), 3);
    (void)run_s(&h, 61); /* their time has come, and the look */
    assert_int_equal(left(&h), 1);
    assert_int_equal(FLOW_GET(h.f, flow_heard(h.f, "retention")), 3); /* the start, two rules */
    janitor_close(&h);
}

static void delete_last(struct by_hand *h)
{
    char id[SNAPSHOT_ID_SIZE];
    struct err e = {0};
    (void)snprintf(id, sizeof(id), "%032llx", (unsigned long long)h->next);
    assert_int_equal(ledger_snapshot_delete(h->f->l, id, false, &e), 0);
}

/* Also while nothing else is removed. */
static void what_people_delete_goes_after_its_time_of_grace(void **state UNUSED)
{
    struct by_hand h;
    struct retention_config rules = {.trash_keep_ms = 600000};
    janitor_open(&h, &rules);
    {
        AUTO(settings) now = pipeline_settings(&h.f->p);
        now->retention.enabled = false;
    }
    (void)run_s(&h, 60);
    add_picture(&h, true, false);
    add_picture(&h, true, true);
    delete_last(&h);
    (void)run_s(&h, 599);
    assert_int_equal(left(&h), 2);
    (void)run_s(&h, 16);
    assert_int_equal(left(&h), 1);
    (void)run_s(&h, HOUR_S);
    assert_int_equal(left(&h), 1);
    janitor_close(&h);
}

/* A clock that is set ahead purges nothing early: the ledger's own does not jump. */
static void a_jump_of_the_clock_empties_no_trash(void **state UNUSED)
{
    struct by_hand h;
    struct retention_config rules = {.trash_keep_ms = 600000};
    janitor_open(&h, &rules);
    (void)run_s(&h, 60);
    add_picture(&h, true, false);
    delete_last(&h);
    atomic_fetch_add(&wall_us, (int64_t)24 * HOUR_S * 1000000);
    (void)run_s(&h, 300);
    assert_int_equal(left(&h), 1);
    (void)run_s(&h, 316);
    assert_int_equal(left(&h), 0);
    janitor_close(&h);
}

static void it_sleeps_between_two_looks(void **state UNUSED)
{
    struct by_hand h;
    struct retention_config rules = {.age_ms = {1, 1, 0}};
    janitor_open(&h, &rules);
    int sweeps = run_s(&h, HOUR_S);
    assert_in_range(sweeps, 200, 250); /* four a minute, for the free space */
    janitor_close(&h);
}

static int told_removed;
static void count_news(void *arg UNUSED, enum news what, const char *subject)
{
    assert_int_equal(what, NEWS_REMOVED);
    assert_true(snapshot_id_valid(subject));
    told_removed++;
}

static void a_disk_that_fills_is_seen_within_seconds(void **state UNUSED)
{
    struct by_hand h;
    struct retention_config rules = {0};
    janitor_open(&h, &rules);
    h.f->p.news = count_news;
    told_removed = 0;
    add_picture(&h, true, false);
    add_picture(&h, false, true);
    (void)run_s(&h, HOUR_S / 2);
    calls.free_bytes = 5000;
    (void)run_s(&h, 30);
    assert_int_equal(left(&h), 2);
    calls.free_bytes = 4999; /* stays so: nothing that goes makes room on this disk */
    (void)run_s(&h, 15);
    assert_int_equal(left(&h), 1);
    (void)run_s(&h, 44); /* the disk may give back what it got a little later */
    assert_int_equal(left(&h), 1);
    assert_int_equal(FLOW_GET(h.f, flow_heard(h.f, "retention-filling")), 0);
    assert_int_equal(told_removed, 0); /* that one had reached all */
    (void)run_s(&h, 1);
    assert_int_equal(told_removed, 1);
    assert_int_equal(left(&h), 0);
    assert_int_equal(FLOW_GET(h.f, flow_heard(h.f, "retention-filling")), 1);
    assert_int_equal(FLOW_GET(h.f, flow_heard(h.f, "retention-short")), 0);
    (void)run_s(&h, 45);
    assert_int_equal(FLOW_GET(h.f, flow_heard(h.f, "retention-short")), 1);
    (void)run_s(&h, HOUR_S - 60); /* told once an hour */
    assert_int_equal(FLOW_GET(h.f, flow_heard(h.f, "retention-short")), 1);
    (void)run_s(&h, 420);
    assert_int_equal(FLOW_GET(h.f, flow_heard(h.f, "retention-short")), 2);
    janitor_close(&h);
}

static void what_was_removed_for_room_is_given_time_to_count(void **state UNUSED)
{
    struct by_hand h;
    struct retention_config rules = {0};
    janitor_open(&h, &rules);
    add_picture(&h, false, false);
    add_picture(&h, false, true);
    (void)run_s(&h, HOUR_S / 2);
    calls.free_bytes = 4999;
    (void)run_s(&h, 15);
    assert_int_equal(left(&h), 1);
    calls.free_bytes = 6000; /* half a minute later */
    (void)run_s(&h, 2 * HOUR_S);
    assert_int_equal(left(&h), 1);
    janitor_close(&h);
}

#define YEARS_10_US ((int64_t)3652 * 86400 * 1000000)

static void set_clock(int64_t us)
{
    (void)atomic_fetch_add(&wall_us, us);
}

static void a_clock_that_jumps_ahead_makes_nothing_old_for_an_hour(void **state UNUSED)
{
    struct by_hand h;
    struct retention_config rules = {.age_ms = {2 * HOUR_S * 1000, 2 * HOUR_S * 1000, 0},
                                     .history_age_ms = 1000};
    janitor_open(&h, &rules);
    add_picture(&h, false, false);
    add_picture(&h, true, false);
    (void)run_s(&h, 90);
    set_clock(YEARS_10_US);
    (void)run_s(&h, HOUR_S - 1); /* with an hourly look */
    assert_int_equal(left(&h), 2);
    assert_int_equal(FLOW_GET(h.f, flow_heard(h.f, "clock-ahead")), 1);
    set_clock(YEARS_10_US); /* once more: the hour begins anew */
    (void)run_s(&h, HOUR_S - 60);
    assert_int_equal(left(&h), 2);
    set_clock(-2 * YEARS_10_US); /* somebody saw it */
    (void)run_s(&h, 15);
    assert_int_equal(FLOW_GET(h.f, flow_heard(h.f, "clock-believed")), 1);
    assert_int_equal(left(&h), 2);
    (void)run_s(&h, HOUR_S + 120); /* their own time has come */
    assert_int_equal(left(&h), 0);
    janitor_close(&h);
}

static void a_clock_that_stays_where_it_was_set_is_believed(void **state UNUSED)
{
    struct by_hand h;
    struct retention_config rules = {.age_ms = {2 * HOUR_S * 1000, 2 * HOUR_S * 1000, 0}};
    janitor_open(&h, &rules);
    add_picture(&h, false, false);
    (void)run_s(&h, 90);
    set_clock((int64_t)50 * 60 * 1000000); /* summer time, or nearly */
    (void)run_s(&h, 90);
    assert_int_equal(FLOW_GET(h.f, flow_heard(h.f, "clock-ahead")), 0);
    set_clock(YEARS_10_US);
    (void)run_s(&h, 2 * HOUR_S + 120);
    assert_int_equal(FLOW_GET(h.f, flow_heard(h.f, "clock-ahead")), 1);
    assert_int_equal(FLOW_GET(h.f, flow_heard(h.f, "clock-believed")), 1);
    assert_int_equal(left(&h), 0);
    janitor_close(&h);
}

/* Room has nothing to do with clocks. */
static void a_clock_in_doubt_keeps_no_disk_full(void **state UNUSED)
{
    struct by_hand h;
    struct retention_config rules = {0};
    janitor_open(&h, &rules);
    add_picture(&h, false, false);
    (void)run_s(&h, 90);
    set_clock(YEARS_10_US);
    calls.free_bytes = 4999;
    (void)run_s(&h, 30);
    assert_int_equal(left(&h), 0);
    janitor_close(&h);
}

static void a_reload_counts_at_the_next_look(void **state UNUSED)
{
    struct by_hand h;
    struct retention_config rules = {.age_ms = {1000, 1000, 0}};
    janitor_open(&h, &rules);
    (void)run_s(&h, 120);
    add_picture(&h, false, false);
    {
        AUTO(settings) now = pipeline_settings(&h.f->p);
        now->retention.interval_ms = 60000;
    }
    (void)run_s(&h, 90);
    assert_int_equal(left(&h), 0);
    add_picture(&h, false, false);
    {
        AUTO(settings) now = pipeline_settings(&h.f->p);
        now->retention.enabled = false;
    }
    (void)run_s(&h, 2 * HOUR_S);
    assert_int_equal(left(&h), 1);
    janitor_close(&h);
}

int main(void)
{
    clock_set_mono_source(virtual_mono);
    clock_set_wall_source(virtual_wall);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_pictures_go_at_the_next_look),
        cmocka_unit_test(what_people_delete_goes_after_its_time_of_grace),
        cmocka_unit_test(a_jump_of_the_clock_empties_no_trash),
        cmocka_unit_test(it_sleeps_between_two_looks),
        cmocka_unit_test(a_disk_that_fills_is_seen_within_seconds),
        cmocka_unit_test(what_was_removed_for_room_is_given_time_to_count),
        cmocka_unit_test(a_clock_that_jumps_ahead_makes_nothing_old_for_an_hour),
        cmocka_unit_test(a_clock_that_stays_where_it_was_set_is_believed),
        cmocka_unit_test(a_clock_in_doubt_keeps_no_disk_full),
        cmocka_unit_test(a_reload_counts_at_the_next_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
