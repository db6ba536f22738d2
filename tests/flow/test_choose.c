/* Bursts: which picture is kept when the detector is asked, fails, is busy, or has no time. */
#include "flow.h"

#include "sys/jpeg.h"

#define WIDTH 320
#define HEIGHT 240
#define WITHOUT_DETECT (FLOW_INTAKE | FLOW_CHOOSE | FLOW_FETCH)

/* Stripes; `blur` pixels of each row are averaged, as motion does. */
static struct blob *make_scene(int blur)
{
    AUTO_FREE uint32_t *pixels = xcalloc((size_t)WIDTH * HEIGHT, sizeof(*pixels));
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            uint32_t sum = 0;
            for (int k = 0; k <= blur; k++)
                sum += ((x + k) / (5 + y / 30) + y / 20) % 2 ? 220 : 30;
            uint32_t v = sum / (uint32_t)(blur + 1);
            pixels[y * WIDTH + x] = v << 16 | v << 8 | v;
        }
    struct blob *b = NULL;
    struct err e = {0};
    if (jpeg_encode(pixels, WIDTH, HEIGHT, 90, &b, &e) < 0)
        fail_msg("%s", e.text);
    return b;
}

/* Cameras that show three pictures in turn, of which the second is the sharpest. Its size. */
static size_t add_cameras(struct flow *f, size_t count)
{
    static const int blurs[] = {6, 0, 12};
    struct err e = {0};
    size_t sharp = 0;
    AUTO_FREE char *folder = xasprintf("%s/scenes", f->dir);
    assert_int_equal(mkdir(folder, 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(blurs); i++) {
        AUTO(blob) b = make_scene(blurs[i]);
        AUTO_FREE char *path = xasprintf("%s/%zu.jpg", folder, i);
        if (fs_create_synced(AT_FDCWD, path, b->data, b->size, 0600, &e) < 0)
            fail_msg("%s", e.text);
        if (blurs[i] == 0)
            sharp = b->size;
    }
    struct camera_sim_source sources[4] = {0};
    assert_true(count <= ARRAY_LEN(sources));
    for (size_t i = 0; i < count; i++)
        sources[i].path = folder;
    flow_run_cameras(f, sources, count, NULL);
    flow_use_cameras(f, "burst = 3\nburst_time = 20ms\n");
    return sharp;
}

static void script(struct flow *f, const struct flow_answer *answers, int count)
{
    f->detector.script = answers;
    f->detector.script_len = count;
}

/* One burst; the size of the picture that is kept. */
static size_t take_burst(struct flow *f)
{
    char id[SNAPSHOT_ID_SIZE];
    flow_start(f, WITHOUT_DETECT);
    flow_trigger(f, "c0", id);
    FLOW_WAIT(f, flow_is_recorded(f, id));
    flow_stop(f);
    assert_int_equal(flow_counts(f).snapshots, 1);
    assert_int_equal(flow_get_trigger(f, id).state, TRIGGER_DONE);
    flow_assert_sound(f);
    return (size_t)flow_get_snapshot(f, id).size;
}

static void the_picture_with_a_person_is_kept_though_another_is_sharper(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    size_t sharp = add_cameras(f, 1);
    static const struct flow_answer answers[] = {{0}, {.person = true}, {0}};
    script(f, answers, 3);
    flow_listen(f, "burst");
    size_t kept = take_burst(f);
    assert_int_equal(f->detector.calls, 3);
    assert_int_equal(f->detector.seen[0], sharp);
    assert_int_equal(kept, f->detector.seen[1]);
    assert_int_not_equal(kept, sharp);
    assert_int_equal(flow_heard(f, "burst"), 1);
    assert_non_null(strstr(f->last_line, "one of 3 pictures is kept because somebody is on it"));
    flow_free(f);
}

static void the_sharpest_is_kept_when_all_have_a_person(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    size_t sharp = add_cameras(f, 1);
    static const struct flow_answer answers[] = {{.person = true}};
    script(f, answers, 1);
    assert_int_equal(take_burst(f), sharp);
    assert_int_equal(f->detector.calls, 3);
    flow_free(f);
}

static void a_detector_that_fails_leaves_it_to_sharpness(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    size_t sharp = add_cameras(f, 1);
    static const struct flow_answer answers[] = {{-ENOMEM, ERR_LATER, false}};
    script(f, answers, 1);
    flow_listen(f, "detect-failed");
    assert_int_equal(take_burst(f), sharp);
    assert_int_equal(flow_heard(f, "detect-failed"), 3);
    flow_free(f);
}

static void a_picture_that_cannot_be_examined_counts_as_one_of_nothing(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    (void)add_cameras(f, 1);
    static const struct flow_answer answers[] = {
        {-EINVAL, ERR_NEVER, false}, {0}, {.person = true}};
    script(f, answers, 3);
    size_t kept = take_burst(f);
    assert_int_equal(kept, f->detector.seen[2]);
    flow_free(f);
}

static void without_a_detector_nobody_is_asked(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    size_t sharp = add_cameras(f, 1);
    f->p.detector = NULL;
    assert_int_equal(take_burst(f), sharp);
    assert_int_equal(f->detector.calls, 0);
    flow_free(f);
}

/* One picture is in work, two wait on the edge, the fourth has to go. */
static void a_busy_detector_and_a_stop_cost_no_picture(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    size_t sharp = add_cameras(f, 4);
    FLOW_SET(f, f->detector.held, true);
    flow_listen(f, "burst");
    flow_start(f, WITHOUT_DETECT);
    char ids[4][SNAPSHOT_ID_SIZE], name[8];
    for (int i = 0; i < 4; i++) {
        (void)snprintf(name, sizeof(name), "c%d", i);
        flow_trigger(f, name, ids[i]);
    }
    FLOW_WAIT(f, flow_counts(f).snapshots == 1);
    assert_int_equal(FLOW_GET(f, f->detector.calls), 1);
    assert_int_equal(FLOW_GET(f, flow_heard(f, "burst")), 1);
    assert_non_null(strstr(f->last_line, "the detector is busy with other bursts"));
    stage_stop(f->stages[f->stage_count - 1]);
    FLOW_SET(f, f->detector.held, false);
    flow_stop(f);
    for (int i = 0; i < 4; i++) {
        assert_true(flow_is_recorded(f, ids[i]));
        assert_int_equal(flow_get_snapshot(f, ids[i]).size, sharp);
    }
    flow_assert_sound(f);
    flow_free(f);
}

static struct fetched *fetched_new(int blur, struct fetched *rival)
{
    struct fetched *f = xcalloc(1, sizeof(*f));
    atomic_init(&f->refs, 1);
    f->bytes = make_scene(blur);
    f->rival = rival;
    return f;
}

static void a_hurried_burst_is_chosen_without_the_detector(void **state UNUSED)
{
    struct flow *f = flow_new(1, 0);
    flow_configure(f, "");
    void *choose = choose_stage_new(&f->p);
    struct bus_in *chosen = NULL;
    struct bus_item item;
    struct err e = {0};
    assert_int_equal(bus_in_open(f->p.bus, EDGE_FETCHED, 0, 8, &chosen, &e), 0);
    static const struct stage_ops idle = {.name = "idle", .sweep = flow_nothing_to_do};
    struct stage *st = f->stages[flow_start_stage(f, &idle, NULL, 0, NULL, 0)];
    assert_int_equal(choose_stage.init(choose, st, &e), 0);
    struct fetched *burst = fetched_new(0, fetched_new(5, NULL));
    size_t sharp = burst->bytes->size;
    atomic_store(&burst->hurried, true);
    choose_stage.step(choose, burst);
    assert_int_equal(f->detector.calls, 0);
    assert_int_equal(bus_receive(chosen, &item), 0);
    assert_ptr_equal(item.ref, burst);
    assert_null(burst->rival);
    assert_int_equal(burst->bytes->size, sharp);
    bus_item_done(&item);
    fetched_unref(burst);
    choose_stage.fini(choose);
    free(choose);
    bus_in_close(chosen);
    flow_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_picture_with_a_person_is_kept_though_another_is_sharper),
        cmocka_unit_test(the_sharpest_is_kept_when_all_have_a_person),
        cmocka_unit_test(a_detector_that_fails_leaves_it_to_sharpness),
        cmocka_unit_test(a_picture_that_cannot_be_examined_counts_as_one_of_nothing),
        cmocka_unit_test(without_a_detector_nobody_is_asked),
        cmocka_unit_test(a_busy_detector_and_a_stop_cost_no_picture),
        cmocka_unit_test(a_hurried_burst_is_chosen_without_the_detector),
    };
    return RUN_TESTS(tests);
}
