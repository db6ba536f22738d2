#include "../test.h"

#include <errno.h>

#include "base/mem.h"
#include "camera/camera_config.h"
#include "camera/camera_switches.h"

struct fixture {
    char folder[64], path[96];
    int fd;
    struct camera_switches *s;
    struct err e;
};

static int open_again(struct fixture *f)
{
    camera_switches_close(f->s);
    f->s = NULL;
    f->e = (struct err){0};
    return camera_switches_open(f->path, &f->s, &f->e);
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    f->fd = test_folder_new(f->folder);
    (void)snprintf(f->path, sizeof(f->path), "%s/cameras-off.json", f->folder);
    *state = f;
    return open_again(f);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    camera_switches_close(f->s);
    test_folder_remove(f->folder, f->fd);
    free(f);
    return 0;
}

static void write_file(struct fixture *f, const char *text)
{
    FILE *out = fopen(f->path, "we");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, strlen(text), out), strlen(text));
    assert_int_equal(fclose(out), 0);
}

static bool is_off(struct fixture *f, const char *camera)
{
    return atomic_load(camera_switch_of(f->s, camera));
}

static void without_a_file_all_cameras_are_on(void **state)
{
    struct fixture *f = *state;
    assert_false(is_off(f, "porch"));
    assert_int_equal(camera_switches_turn(f->s, "porch", false, &f->e), 0);
    assert_int_not_equal(access(f->path, F_OK), 0); /* nothing to write down */
    assert_int_equal(camera_switches_changes(f->s), 0);
    assert_int_equal(camera_switches_changes(NULL), 0);
}

static void a_switch_stays_as_it_was_left_over_a_restart(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"porch", "Back <b>/\"Yard\"", "Garten \xc3\xa4"};
    const atomic_bool *porch = camera_switch_of(f->s, "porch");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(camera_switches_turn(f->s, names[i], true, &f->e), 0);
    assert_true(atomic_load(porch));
    assert_int_equal(camera_switches_changes(f->s), 3);
    assert_int_equal(open_again(f), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_true(is_off(f, names[i]));
    assert_int_equal(camera_switches_turn(f->s, names[0], false, &f->e), 0);
    assert_int_equal(open_again(f), 0);
    assert_false(is_off(f, names[0]));
    assert_true(is_off(f, names[1]));
}

static void a_wish_that_cannot_be_written_down_does_not_count(void **state)
{
    struct fixture *f = *state;
    char away[64];
    (void)snprintf(away, sizeof(away), "%.50s-away", f->folder);
    assert_int_equal(rename(f->folder, away), 0);
    assert_true(camera_switches_turn(f->s, "porch", true, &f->e) < 0);
    assert_non_null(strstr(f->e.text, "switch a camera"));
    assert_false(is_off(f, "porch"));
    assert_int_equal(camera_switches_changes(f->s), 0);
    assert_int_equal(rename(away, f->folder), 0);
    assert_int_equal(camera_switches_turn(f->s, "porch", true, &f->e), 0);
    assert_true(is_off(f, "porch"));
}

static void a_file_that_says_nothing_is_a_fault_of_the_start(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{\"on\": []}",
        "{\"off\": 5}",
        "{\"off\": [\"porch\"]}",
        "{\"off\": [{\"camera\": \"\"}]}",
        "{\"off\": [{\"camera\": 5}]}",
        "{\"off\": [{\"since\": \"2026-01-31T17:30:00Z\"}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        write_file(f, texts[i]);
        if (open_again(f) != -EINVAL || !strstr(f->e.text, "cameras-off.json") ||
            !strstr(f->e.text, "remove it"))
            CASE_FAILS("%s: %s", texts[i], f->e.text);
    }
    write_file(f,
               "{\"off\": [{\"camera\": \"porch\", \"since\": \"once\"}], \"note\": \"by hand\"}");
    assert_int_equal(open_again(f), 0);
    assert_true(is_off(f, "porch"));
}

static void an_enabled_camera_obeys_its_switch_and_says_who_switched_it_off(void **state)
{
    struct fixture *f = *state;
    const atomic_bool *off = camera_switch_of(f->s, "porch");
    struct camera cam = {.name = "porch", .enabled = true, .switched_off = off};
    assert_true(camera_is_enabled(&cam));
    assert_int_equal(camera_switches_turn(f->s, "porch", true, &f->e), 0);
    assert_false(camera_is_enabled(&cam));
    assert_int_equal(camera_is_off(&cam, &f->e), -ECANCELED);
    assert_non_null(strstr(f->e.text, "by hand"));
    cam.enabled = false;
    assert_int_equal(camera_switches_turn(f->s, "porch", false, &f->e), 0);
    assert_false(camera_is_enabled(&cam));
    assert_int_equal(camera_is_off(&cam, &f->e), -ECANCELED);
    assert_non_null(strstr(f->e.text, "enabled = yes"));
    cam = (struct camera){.name = "porch", .enabled = true}; /* of a command, without switches */
    assert_true(camera_is_enabled(&cam));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(without_a_file_all_cameras_are_on),
        CASE(a_switch_stays_as_it_was_left_over_a_restart),
        CASE(a_wish_that_cannot_be_written_down_does_not_count),
        CASE(a_file_that_says_nothing_is_a_fault_of_the_start),
        CASE(an_enabled_camera_obeys_its_switch_and_says_who_switched_it_off),
    };
    return RUN_TESTS(tests);
}
