#include "fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/mem.h"

static const char *const console[] = {"console", NULL};
static const char *const two_destinations[] = {"amqp", "webhook", NULL};
static const char *const person_label[] = {"person"};
static const float person_score[] = {0.9f};

/* A snapshot of this number, recorded. */
static struct snapshot *add(struct fixture *f, uint64_t n, const char *camera)
{
    struct snapshot *s = make_snapshot(n, camera);
    int r = ledger_snapshot_add(f->l, s, &f->e);
    if (r < 0)
        fail_msg("%s", f->e.text);
    return s;
}

static void examine(struct fixture *f, const struct snapshot *s, const char *const *destinations)
{
    struct verdict v = make_verdict(person_label, person_score, 1);
    int r = ledger_snapshot_examined(f->l, s, &v, NULL, NULL, destinations, NULL, 0, &f->e);
    if (r < 0)
        fail_msg("%s", f->e.text);
    verdict_done(&v);
}

static void add_examined(struct fixture *f, uint64_t n, const char *camera,
                         const char *const *destinations)
{
    AUTO(snapshot) s = add(f, n, camera);
    examine(f, s, destinations);
}

/* ---- triggers ---- */

static void keeps_a_trigger_as_it_was_given(void **state)
{
    struct fixture *f = *state;
    struct trigger t = make_trigger(7, "porch"), back;
    t.origin = TRIGGER_AMQP;
    assert_int_equal(ledger_trigger_add(f->l, &t, &f->e), 0);
    assert_true(t.row > 0);
    assert_int_equal(ledger_trigger_get(f->l, t.id, &back, &f->e), 0);
    assert_int_equal(back.row, t.row);
    assert_string_equal(back.id, t.id);
    assert_string_equal(back.camera, "porch");
    assert_string_equal(back.device_key, "Front Door Camera");
    assert_string_equal(back.device_label, "Front Door");
    assert_int_equal(back.origin, TRIGGER_AMQP);
    assert_int_equal(back.state, TRIGGER_PENDING);
    assert_int_equal(back.event_at.us, 7000000);
    assert_int_equal(back.accepted_at.us, 7000005);
    assert_int_equal(back.not_before.us, 7000005);
    assert_int_equal(back.attempts, 0);
    assert_string_equal(back.error, "");
}

static void takes_one_trigger_once(void **state)
{
    struct fixture *f = *state;
    struct trigger t = make_trigger(1, "porch");
    assert_int_equal(ledger_trigger_add(f->l, &t, &f->e), 0);
    struct trigger again = make_trigger(1, "porch");
    assert_int_equal(ledger_trigger_add(f->l, &again, &f->e), -EEXIST);
    assert_int_equal(again.row, 0);
    struct ledger_counts c;
    assert_int_equal(ledger_counts(f->l, &c, &f->e), 0);
    assert_int_equal(c.triggers_pending, 1);
}

static struct trigger make_trigger_with_login(uint64_t n)
{
    struct trigger t = make_trigger(n, "porch");
    t.origin = TRIGGER_AMQP;
    text_copy(t.address, sizeof(t.address), "[fd00::7]:88");
    text_copy(t.user, sizeof(t.user), "admin");
    text_copy(t.password, sizeof(t.password), "hunter2hunter2");
    return t;
}

static void assert_login(const struct fixture *f, const struct trigger *t, bool there)
{
    struct trigger got;
    struct err e;
    assert_int_equal(ledger_trigger_get(f->l, t->id, &got, &e), 0);
    assert_string_equal(got.address, there ? t->address : "");
    assert_string_equal(got.user, there ? t->user : "");
    assert_string_equal(got.password, there ? t->password : "");
}

static void a_login_stays_until_the_trigger_ends(void **state)
{
    struct fixture *f = *state;
    struct trigger failed = make_trigger_with_login(1), done = make_trigger_with_login(2);
    struct trigger due;
    assert_int_equal(ledger_trigger_add(f->l, &failed, &f->e), 0);
    assert_int_equal(ledger_trigger_add(f->l, &done, &f->e), 0);
    assert_int_equal(ledger_trigger_due(f->l, done.accepted_at, &due, 1, &f->e), 1);
    assert_string_equal(due.password, "hunter2hunter2");
    assert_int_equal(ledger_trigger_retry(f->l, &failed, failed.accepted_at, "busy", &f->e), 0);
    assert_login(f, &failed, true);
    assert_login(f, &done, true);
    assert_sound(f);
    assert_int_equal(ledger_trigger_fail(f->l, &failed, "wrong password", &f->e), 0);
    assert_login(f, &failed, false);
    AUTO(snapshot) s = make_snapshot(2, "porch");
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    assert_login(f, &done, false);
    assert_sound(f);
}

static void a_login_without_an_address_is_not_kept(void **state)
{
    struct fixture *f = *state;
    struct trigger t = make_trigger_with_login(1);
    t.address[0] = '\0';
    assert_int_equal(ledger_trigger_add(f->l, &t, &f->e), 0);
    struct trigger got;
    assert_int_equal(ledger_trigger_get(f->l, t.id, &got, &f->e), 0);
    assert_string_equal(got.user, "");
    assert_string_equal(got.password, "");
    assert_sound(f);
}

static bool file_holds(const char *path, const char *text)
{
    AUTO(blob) whole = NULL;
    struct err e;
    if (fs_read_blob(AT_FDCWD, path, 10000000, &whole, &e) < 0)
        fail_msg("%s", e.text);
    return memmem(whole->data, whole->size, text, strlen(text)) != NULL;
}

static void a_password_of_before_is_not_in_the_file(void **state)
{
    struct fixture *f = *state;
    struct trigger t = make_trigger_with_login(1);
    assert_int_equal(ledger_trigger_add(f->l, &t, &f->e), 0);
    fixture_close(f); /* moves the log into the file */
    assert_true(file_holds(f->db, t.password));
    fixture_open(f);
    assert_int_equal(ledger_trigger_fail(f->l, &t, "wrong password", &f->e), 0);
    fixture_close(f);
    assert_false(file_holds(f->db, t.password));
    fixture_open(f);
}

static void refuses_a_trigger_without_a_camera(void **state)
{
    struct fixture *f = *state;
    struct trigger t = make_trigger(1, "");
    assert_int_equal(ledger_trigger_add(f->l, &t, &f->e), -EINVAL);
}

static void gives_the_longest_due_trigger_of_each_camera(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint64_t n;
        const char *camera;
    } order[] = {{5, "porch"}, {2, "porch"}, {9, "attic"}, {3, "yard"}, {1, "gate"}, {4, "yard"}};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        struct trigger t = make_trigger(order[i].n, order[i].camera);
        assert_int_equal(ledger_trigger_add(f->l, &t, &f->e), 0);
    }
    struct trigger due[8];
    struct wall_time now = {5000005};
    assert_int_equal(ledger_trigger_due(f->l, now, due, 8, &f->e), 3);
    assert_string_equal(due[0].camera, "gate");
    assert_string_equal(due[1].camera, "porch");
    assert_int_equal(due[1].event_at.us, 2000000);
    assert_string_equal(due[2].camera, "yard");
    assert_int_equal(due[2].event_at.us, 3000000);
    assert_int_equal(ledger_trigger_due(f->l, now, due, 2, &f->e), 2);
    assert_string_equal(due[1].camera, "porch");
    struct wall_time next;
    assert_int_equal(ledger_trigger_next(f->l, &next, &f->e), 0);
    assert_int_equal(next.us, 1000005);
    /* One that waits does not hold up the next of its camera. */
    struct wall_time later = {8000000};
    assert_int_equal(ledger_trigger_retry(f->l, &due[1], later, "busy", &f->e), 0);
    assert_int_equal(ledger_trigger_due(f->l, now, due, 8, &f->e), 3);
    assert_int_equal(due[2].event_at.us, 5000000);
}

static void many_triggers_of_one_camera_do_not_crowd_out_another(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 1; i <= 20; i++) {
        struct trigger t = make_trigger(i, "dead");
        assert_int_equal(ledger_trigger_add(f->l, &t, &f->e), 0);
    }
    struct trigger last = make_trigger(30, "alive");
    assert_int_equal(ledger_trigger_add(f->l, &last, &f->e), 0);
    struct trigger due[4];
    assert_int_equal(ledger_trigger_due(f->l, (struct wall_time){60000000}, due, 4, &f->e), 2);
    assert_string_equal(due[0].camera, "dead");
    assert_int_equal(due[0].event_at.us, 1000000);
    assert_string_equal(due[1].camera, "alive");
}

static void says_when_no_trigger_is_pending(void **state)
{
    struct fixture *f = *state;
    struct wall_time next;
    struct trigger t;
    assert_int_equal(ledger_trigger_next(f->l, &next, &f->e), -ENOENT);
    assert_int_equal(ledger_trigger_get(f->l, "00", &t, &f->e), -ENOENT);
    assert_int_equal(ledger_trigger_due(f->l, next, &t, 1, &f->e), 0);
}

static void counts_attempts_and_keeps_the_last_failure(void **state)
{
    struct fixture *f = *state;
    struct trigger t = make_trigger(1, "porch"), back;
    assert_int_equal(ledger_trigger_add(f->l, &t, &f->e), 0);
    for (int i = 1; i <= 30; i++) {
        char why[40];
        (void)snprintf(why, sizeof(why), "refused %d", i);
        struct wall_time when = {2000000 + i};
        assert_int_equal(ledger_trigger_retry(f->l, &t, when, why, &f->e), 0);
    }
    assert_int_equal(ledger_trigger_get(f->l, t.id, &back, &f->e), 0);
    assert_int_equal(back.attempts, 30);
    assert_string_equal(back.error, "refused 30");
    assert_int_equal(back.not_before.us, 2000030);
    /* The first failures and the last one are told; those between are not kept. */
    struct ledger_story story[40];
    int n = ledger_story(f->l, t.id, story, 40, &f->e);
    assert_int_equal(n, 21);
    assert_string_equal(story[1].detail, "refused 1");
    assert_string_equal(story[20].detail, "refused 30");
    assert_sound(f);
}

static void a_word_on_the_way_is_told_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct trigger t = make_trigger(1, "porch"), back;
    assert_int_equal(ledger_trigger_add(f->l, &t, &f->e), 0);
    assert_int_equal(ledger_trigger_note(f->l, &t, "stale", "asked once more", &f->e), 0);
    assert_int_equal(ledger_trigger_note(f->l, &t, "stale", "kept all the same", &f->e), 0);
    assert_int_equal(ledger_trigger_get(f->l, t.id, &back, &f->e), 0);
    assert_int_equal(back.state, TRIGGER_PENDING);
    assert_int_equal(back.attempts, 0);
    struct ledger_story story[8];
    assert_int_equal(ledger_story(f->l, t.id, story, 8, &f->e), 3);
    assert_string_equal(story[2].what, "stale");
    assert_string_equal(story[2].detail, "kept all the same");
    assert_sound(f);
}

static void a_failed_trigger_stays_failed(void **state)
{
    struct fixture *f = *state;
    struct trigger t = make_trigger(1, "porch"), back;
    assert_int_equal(ledger_trigger_add(f->l, &t, &f->e), 0);
    assert_int_equal(ledger_trigger_fail(f->l, &t, "wrong password", &f->e), 0);
    assert_int_equal(ledger_trigger_get(f->l, t.id, &back, &f->e), 0);
    assert_int_equal(back.state, TRIGGER_FAILED);
    assert_int_equal(back.attempts, 1);
    assert_int_equal(ledger_trigger_fail(f->l, &t, "again", &f->e), -EALREADY);
    assert_int_equal(ledger_trigger_retry(f->l, &t, t.not_before, "again", &f->e), -EALREADY);
    AUTO(snapshot) s = make_snapshot(1, "porch");
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), -EALREADY);
    assert_int_equal(ledger_snapshot_exists(f->l, s->id, &f->e), 0);
    struct ledger_counts c;
    assert_int_equal(ledger_counts(f->l, &c, &f->e), 0);
    assert_int_equal(c.triggers_failed, 1);
    assert_int_equal(c.triggers_pending, 0);
    assert_sound(f);
}

static void a_wait_from_before_the_clock_was_set_back_counts_as_due(void **state)
{
    struct fixture *f = *state;
    struct trigger t = make_trigger(1, "porch");
    int64_t year = 365LL * 86400 * 1000000;
    t.not_before.us = ledger_now().us + 10 * year;
    assert_int_equal(ledger_trigger_add(f->l, &t, &f->e), 0);
    struct trigger due;
    assert_int_equal(ledger_trigger_due(f->l, ledger_now(), &due, 1, &f->e), 1);
    struct wall_time next;
    assert_int_equal(ledger_trigger_next(f->l, &next, &f->e), 0);
    assert_true(next.us <= ledger_now().us);
    /* No caller can ask for a wait that long. */
    assert_int_equal(ledger_trigger_retry(f->l, &t, t.not_before, "busy", &f->e), 0);
    assert_int_equal(ledger_trigger_due(f->l, ledger_now(), &due, 1, &f->e), 0);
    assert_int_equal(ledger_trigger_next(f->l, &next, &f->e), 0);
    assert_in_range(next.us - ledger_now().us, 1, (int64_t)LEDGER_WAIT_MAX_S * 1000000);
}

/* ---- snapshots ---- */

static void keeps_a_snapshot_as_it_was_given(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = make_snapshot(3, "porch");
    s->source = SNAPSHOT_PUSHED;
    s->orientation = 6;
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    assert_true(s->row > 0);
    AUTO(snapshot) back = NULL;
    assert_int_equal(ledger_snapshot_get(f->l, s->id, &back, &f->e), 0);
    assert_int_equal(back->row, s->row);
    assert_string_equal(back->id, s->id);
    assert_string_equal(back->camera, s->camera);
    assert_string_equal(back->device_key, s->device_key);
    assert_string_equal(back->device_label, s->device_label);
    assert_int_equal(back->source, SNAPSHOT_PUSHED);
    assert_int_equal(back->state, SNAPSHOT_STORED);
    assert_int_equal(back->event_at.us, s->event_at.us);
    assert_int_equal(back->received_at.us, s->received_at.us);
    assert_string_equal(back->path, s->path);
    assert_string_equal(back->annotated_path, "");
    assert_int_equal(back->size, 4);
    assert_string_equal(back->md5, s->md5);
    assert_string_equal(back->sha256, s->sha256);
    assert_string_equal(back->format, "jpeg");
    assert_int_equal(back->width, 640);
    assert_int_equal(back->height, 480);
    assert_int_equal(back->orientation, 6);
    assert_true(back->fetch_ms > 120.4 && back->fetch_ms < 120.6);
    assert_null(back->bytes);
    assert_sound(f);
}

static void recording_finishes_the_trigger(void **state)
{
    struct fixture *f = *state;
    struct trigger t = make_trigger(1, "porch"), back;
    assert_int_equal(ledger_trigger_add(f->l, &t, &f->e), 0);
    AUTO(snapshot) s = add(f, 1, "porch");
    assert_int_equal(ledger_trigger_get(f->l, t.id, &back, &f->e), 0);
    assert_int_equal(back.state, TRIGGER_DONE);
    assert_int_equal(ledger_trigger_fail(f->l, &t, "late", &f->e), -EALREADY);
    assert_sound(f);
}

static void records_one_id_once(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add(f, 1, "porch");
    AUTO(snapshot) again = make_snapshot(1, "porch");
    (void)text_copy(again->path, sizeof(again->path), "porch/other.jpg");
    assert_int_equal(ledger_snapshot_add(f->l, again, &f->e), -EEXIST);
    assert_int_equal(again->row, 0);
    assert_int_equal(ledger_snapshot_exists(f->l, s->id, &f->e), 1);
    assert_int_equal(ledger_path_taken(f->l, "porch/other.jpg", &f->e), 0);
}

static void refuses_a_path_that_is_taken(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add(f, 1, "porch");
    static const char *const paths[] = {
        "porch/1970/01/01/fetch_porch_1.jpg",
        "porch/1970/01/01/human_porch_1.jpg",
        "porch/1970/01/01/detect_porch_1.jpg",
    };
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        AUTO(snapshot) other = make_snapshot(2, "porch");
        (void)text_copy(other->path, sizeof(other->path), paths[i]);
        assert_int_equal(ledger_snapshot_add(f->l, other, &f->e), -ENOTUNIQ);
        assert_int_equal(f->e.retry, ERR_NOW);
        assert_int_equal(ledger_path_taken(f->l, paths[i], &f->e), 1);
        assert_int_equal(ledger_path_named(f->l, paths[i], &f->e), i == 0);
    }
    assert_int_equal(ledger_path_taken(f->l, "porch/1970/01/01/fetch_porch_2.jpg", &f->e), 0);
}

static void refuses_paths_outside_the_store(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"", "/etc/passwd", "../x.jpg", "a/../../x.jpg", "a//b.jpg"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        AUTO(snapshot) s = make_snapshot(2, "porch");
        (void)text_copy(s->path, sizeof(s->path), paths[i]);
        assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), -EINVAL);
    }
    AUTO(snapshot) s = add(f, 1, "porch");
    struct verdict v = {.outcome = VERDICT_SKIPPED};
    assert_int_equal(ledger_snapshot_examined(f->l, s, &v, "../x", NULL, NULL, NULL, 0, &f->e),
                     -EINVAL);
    assert_int_equal(ledger_snapshot_examined(f->l, s, &v, NULL, "/x", NULL, NULL, 0, &f->e),
                     -EINVAL);
}

static void keeps_the_verdict_with_all_its_detections(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add(f, 1, "porch");
    static const char *const labels[] = {"person", "dog", "person"};
    static const float scores[] = {0.9f, 0.7f, 0.4f};
    struct verdict v = make_verdict(labels, scores, 3), back;
    v.damaged = true;
    const char *human = "porch/1970/01/01/human_porch_1.jpg";
    const char *detect = "porch/1970/01/01/detect_porch_1.jpg";
    assert_int_equal(ledger_verdict_get(f->l, s->id, &back, &f->e), -ENOENT);
    assert_int_equal(ledger_snapshot_examined(f->l, s, &v, human, detect, console, NULL, 0, &f->e),
                     0);
    assert_int_equal(ledger_verdict_get(f->l, s->id, &back, &f->e), 0);
    assert_int_equal(back.outcome, VERDICT_EXAMINED);
    assert_string_equal(back.model, v.model);
    assert_true(back.damaged);
    assert_true(back.decode_ms > 3.9 && back.infer_ms > 29.9);
    assert_int_equal(back.found.count, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct detection *a = &back.found.items[i], *b = &v.found.items[i];
        assert_string_equal(a->label, b->label);
        assert_int_equal(a->class_id, b->class_id);
        assert_memory_equal(&a->confidence, &b->confidence, sizeof(a->confidence));
        assert_int_equal(a->has_box, b->has_box);
        assert_memory_equal(&a->box, &b->box, sizeof(a->box));
    }
    AUTO(snapshot) now = NULL;
    assert_int_equal(ledger_snapshot_get(f->l, s->id, &now, &f->e), 0);
    assert_int_equal(now->state, SNAPSHOT_EXAMINED);
    assert_string_equal(now->path, human);
    assert_string_equal(now->annotated_path, detect);
    verdict_done(&v);
    verdict_done(&back);
    assert_sound(f);
}

static void a_verdict_without_detections_keeps_its_reason(void **state)
{
    struct fixture *f = *state;
    static const enum verdict_outcome outcomes[] = {VERDICT_EXAMINED, VERDICT_SKIPPED,
                                                    VERDICT_FAILED};
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        AUTO(snapshot) s = add(f, i + 1, "porch");
        struct verdict v = {.outcome = outcomes[i]}, back;
        if (v.outcome == VERDICT_FAILED)
            (void)text_copy(v.error, sizeof(v.error), "not a picture");
        assert_int_equal(ledger_snapshot_examined(f->l, s, &v, NULL, NULL, NULL, NULL, 0, &f->e),
                         0);
        assert_int_equal(ledger_verdict_get(f->l, s->id, &back, &f->e), 0);
        assert_int_equal(back.outcome, outcomes[i]);
        assert_string_equal(back.error, v.error);
        assert_string_equal(back.model, "");
        assert_int_equal(back.found.count, 0);
        verdict_done(&back);
    }
    assert_sound(f);
}

static void examines_once(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add(f, 1, "porch");
    examine(f, s, console);
    struct verdict v = {.outcome = VERDICT_SKIPPED};
    assert_int_equal(ledger_snapshot_examined(f->l, s, &v, NULL, NULL, console, NULL, 0, &f->e),
                     -EALREADY);
    AUTO(snapshot) unknown = make_snapshot(9, "porch");
    unknown->row = 4711;
    assert_int_equal(
        ledger_snapshot_examined(f->l, unknown, &v, NULL, NULL, console, NULL, 0, &f->e), -ENOENT);
    struct ledger_counts c;
    assert_int_equal(ledger_counts(f->l, &c, &f->e), 0);
    assert_int_equal(c.outbox_pending, 1);
    assert_int_equal(c.examined, 1);
    assert_int_equal(c.persons, 1);
    assert_int_equal(c.stored, 0);
}

static void refuses_a_new_name_that_another_snapshot_holds(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) a = add(f, 1, "porch");
    AUTO(snapshot) b = add(f, 2, "porch");
    struct verdict v = {.outcome = VERDICT_SKIPPED};
    assert_int_equal(ledger_snapshot_examined(f->l, a, &v, b->path, NULL, console, NULL, 0, &f->e),
                     -ENOTUNIQ);
    struct ledger_counts c;
    assert_int_equal(ledger_counts(f->l, &c, &f->e), 0);
    assert_int_equal(c.stored, 2);
    assert_int_equal(c.outbox_pending, 0);
}

static void pages_through_the_backlog_in_order(void **state)
{
    struct fixture *f = *state;
    for (uint64_t n = 1; n <= 10; n++) {
        AUTO(snapshot) s = add(f, n, n % 2 ? "porch" : "yard");
        if (n % 3 == 0)
            examine(f, s, NULL);
    }
    int64_t after = 0, seen = 0;
    for (;;) {
        struct snapshot *batch[3];
        int n = ledger_backlog(f->l, after, batch, 3, &f->e);
        assert_true(n >= 0);
        for (int i = 0; i < n; i++) {
            assert_true(batch[i]->row > after);
            assert_int_equal(batch[i]->state, SNAPSHOT_STORED);
            after = batch[i]->row;
            seen++;
            snapshot_unref(batch[i]);
        }
        if (n == 0)
            break;
    }
    assert_int_equal(seen, 7);
}

static void settles_what_was_renamed(void **state)
{
    struct fixture *f = *state;
    struct verdict v = {.outcome = VERDICT_SKIPPED};
    AUTO(snapshot) a = add(f, 1, "porch");
    AUTO(snapshot) b = add(f, 2, "porch");
    AUTO(snapshot) c = add(f, 3, "porch");
    const char *human = "porch/1970/01/01/human_porch_1.jpg";
    const char *detect = "porch/1970/01/01/detect_porch_2.jpg";
    assert_int_equal(ledger_snapshot_examined(f->l, a, &v, human, NULL, NULL, NULL, 0, &f->e), 0);
    assert_int_equal(ledger_snapshot_examined(f->l, b, &v, NULL, detect, NULL, NULL, 0, &f->e), 0);
    assert_int_equal(ledger_snapshot_examined(f->l, c, &v, c->path, "", NULL, NULL, 0, &f->e), 0);
    struct ledger_unsettled u[4];
    assert_int_equal(ledger_unsettled(f->l, 0, u, 4, &f->e), 2);
    assert_string_equal(u[0].previous_path, a->path);
    assert_string_equal(u[0].path, human);
    assert_string_equal(u[0].annotated_path, "");
    assert_string_equal(u[1].previous_path, "");
    assert_string_equal(u[1].path, b->path);
    assert_string_equal(u[1].annotated_path, detect);
    int64_t rows[] = {u[0].row, u[1].row, c->row};
    assert_int_equal(ledger_settle(f->l, rows, 3, &f->e), 0);
    assert_int_equal(ledger_unsettled(f->l, 0, u, 4, &f->e), 0);
    assert_int_equal(ledger_settle(f->l, rows, 0, &f->e), 0);
}

/* ---- pages ---- */

#define PAGE_ROWS 400

static uint64_t seed = 12345;

static unsigned dice(unsigned sides)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)((seed >> 33) % sides);
}

struct model_row {
    struct snapshot *s;
    bool examined;
    float best[3]; /* per label, -1 without */
};
static const char *const page_labels[] = {"person", "dog", "car"};
static const char *const page_cameras[] = {"porch", "yard", "gate"};

static void fill(struct fixture *f, struct model_row *rows)
{
    for (size_t i = 0; i < PAGE_ROWS; i++) {
        struct model_row *m = &rows[i];
        m->s = make_snapshot(i + 1, page_cameras[dice(3)]);
        m->s->event_at.us = 1000000LL * (1 + dice(60)); /* many share their time */
        assert_int_equal(ledger_snapshot_add(f->l, m->s, &f->e), 0);
        m->examined = dice(4) != 0;
        const char *labels[5];
        float scores[5];
        size_t count = m->examined ? dice(5) : 0;
        for (size_t k = 0; k < 3; k++)
            m->best[k] = -1;
        for (size_t k = 0; k < count; k++) {
            unsigned label = dice(3);
            labels[k] = page_labels[label];
            scores[k] = (float)(1 + dice(9)) / 10.0f;
            m->best[label] = MAX(m->best[label], scores[k]);
        }
        if (!m->examined)
            continue;
        struct verdict v = make_verdict(labels, scores, count);
        assert_int_equal(ledger_snapshot_examined(f->l, m->s, &v, NULL, NULL, NULL, NULL, 0, &f->e),
                         0);
        verdict_done(&v);
    }
}

static bool matches(const struct model_row *m, const struct ledger_filter *q)
{
    float best = -1;
    for (size_t k = 0; k < 3; k++)
        if (q->label == NULL || strcmp(q->label, page_labels[k]) == 0)
            best = MAX(best, m->best[k]);
    if (q->label != NULL && (best < 0 || best < (float)q->confidence_min))
        return false;
    if (q->label == NULL && q->confidence_min > 0 && best < (float)q->confidence_min)
        return false;
    if (q->camera != NULL && strcmp(q->camera, m->s->camera) != 0)
        return false;
    if (q->person >= 0 && (m->best[0] >= 0) != (q->person == 1))
        return false;
    if (q->from.us != 0 && m->s->event_at.us < q->from.us)
        return false;
    if (q->to.us != 0 && m->s->event_at.us >= q->to.us)
        return false;
    return q->state == NULL || (strcmp(q->state, "examined") == 0) == m->examined;
}

static int newest_first(const void *a, const void *b)
{
    const struct model_row *x = a, *y = b;
    if (x->s->event_at.us != y->s->event_at.us)
        return x->s->event_at.us < y->s->event_at.us ? 1 : -1;
    return x->s->row < y->s->row ? 1 : -1;
}

static void pages_agree_with_a_plain_search_for_every_filter(void **state)
{
    struct fixture *f = *state;
    static struct model_row rows[PAGE_ROWS];
    fill(f, rows);
    qsort(rows, PAGE_ROWS, sizeof(rows[0]), newest_first);
    size_t compared = 0;
    for (unsigned combination = 0; combination < 1024; combination++) {
        struct ledger_filter q = {
            .camera = combination & 1 ? page_cameras[dice(3)] : NULL,
            .label = combination & 2 ? page_labels[dice(3)] : NULL,
            .confidence_min = combination & 4 ? (double)(1 + dice(9)) / 10.0 : 0,
            .person = combination & 8 ? (int)dice(2) : -1,
            .from.us = combination & 16 ? 1000000LL * dice(60) : 0,
            .to.us = combination & 32 ? 1000000LL * dice(62) : 0,
            .state = combination & 64 ? snapshot_state_names[dice(2)] : NULL,
        };
        int max = 1 + (int)dice(90);
        struct ledger_page_key key = {0};
        size_t at = 0;
        for (;;) {
            struct snapshot *page[90];
            int n = ledger_snapshot_page(f->l, &q, key, page, max, &f->e);
            if (n < 0)
                fail_msg("%s", f->e.text);
            for (int i = 0; i < n; i++) {
                while (at < PAGE_ROWS && !matches(&rows[at], &q))
                    at++;
                assert_true(at < PAGE_ROWS);
                assert_string_equal(page[i]->id, rows[at].s->id);
                key = (struct ledger_page_key){page[i]->event_at, page[i]->row};
                snapshot_unref(page[i]);
                at++;
                compared++;
            }
            if (n < max)
                break;
        }
        while (at < PAGE_ROWS)
            assert_false(matches(&rows[at++], &q));
    }
    assert_true(compared > 10000);
    for (size_t i = 0; i < PAGE_ROWS; i++)
        snapshot_unref(rows[i].s);
    assert_sound(f);
}

static void unknown_names_match_nothing(void **state)
{
    struct fixture *f = *state;
    add_examined(f, 1, "porch", NULL);
    struct snapshot *page[4];
    struct ledger_filter camera = {.camera = "attic", .person = -1};
    struct ledger_filter label = {.label = "giraffe", .person = -1};
    struct ledger_filter bad_state = {.state = "lost", .person = -1};
    struct ledger_page_key start = {0};
    assert_int_equal(ledger_snapshot_page(f->l, &camera, start, page, 4, &f->e), 0);
    assert_int_equal(ledger_snapshot_page(f->l, &label, start, page, 4, &f->e), 0);
    assert_int_equal(ledger_snapshot_page(f->l, &bad_state, start, page, 4, &f->e), -EINVAL);
    assert_int_equal(ledger_snapshot_page(f->l, NULL, start, page, 4, &f->e), 1);
    snapshot_unref(page[0]);
}

/* ---- outbox ---- */

static void each_destination_has_its_own_queue(void **state)
{
    struct fixture *f = *state;
    for (uint64_t n = 1; n <= 3; n++)
        add_examined(f, n, "porch", two_destinations);
    struct outbox_item items[8];
    assert_int_equal(ledger_outbox_due(f->l, "amqp", ledger_now(), items, 8, &f->e), 3);
    assert_int_equal(items[0].attempts, 0);
    assert_string_equal(items[0].camera, "porch");
    assert_int_equal(ledger_outbox_done(f->l, items, 3, &f->e), 0);
    assert_int_equal(ledger_outbox_due(f->l, "amqp", ledger_now(), items, 8, &f->e), 0);
    assert_int_equal(ledger_outbox_due(f->l, "webhook", ledger_now(), items, 8, &f->e), 3);
    assert_int_equal(ledger_outbox_due(f->l, "nobody", ledger_now(), items, 8, &f->e), 0);
    struct wall_time next;
    assert_int_equal(ledger_outbox_next(f->l, "amqp", &next, &f->e), -ENOENT);
    assert_int_equal(ledger_outbox_next(f->l, "nobody", &next, &f->e), -ENOENT);
    assert_int_equal(ledger_outbox_next(f->l, "webhook", &next, &f->e), 0);
    assert_true(next.us <= ledger_now().us);
    assert_sound(f);
}

static void a_long_backlog_of_one_camera_does_not_hold_up_another(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"porch", "porch", "porch", "porch",
                                        "yard",  "attic", "yard"};
    for (size_t n = 0; n < ARRAY_LEN(names); n++)
        add_examined(f, n + 1, names[n], console);
    struct outbox_item items[8];
    assert_int_equal(ledger_outbox_due(f->l, "console", ledger_now(), items, 8, &f->e), 7);
    static const char *const turns[] = {"porch", "yard",  "attic", "porch",
                                        "yard",  "porch", "porch"};
    for (int i = 0; i < 7; i++) {
        assert_string_equal(items[i].camera, turns[i]);
        for (int before = 0; before < i; before++)
            assert_true(strcmp(turns[i], turns[before]) != 0 || items[before].row < items[i].row);
    }
}

static struct outbox_counts counts_of(struct fixture *f, const char *destination)
{
    struct outbox_counts c;
    assert_int_equal(ledger_outbox_counts(f->l, destination, &c, &f->e), 0);
    return c;
}

static void tells_since_when_the_oldest_event_waits(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(counts_of(f, two_destinations[0]).oldest_pending.us, 0);
    for (uint64_t n = 1; n <= 3; n++)
        add_examined(f, n, n == 2 ? "a first by name" : "porch", two_destinations);
    struct outbox_item due[3];
    assert_int_equal(ledger_outbox_due(f->l, two_destinations[0], ledger_now(), due, 3, &f->e), 3);
    int64_t first = MIN(due[0].row, due[1].row), created = 0;
    for (int i = 0; i < 3; i++)
        created = due[i].row == first ? due[i].created_at.us : created;
    assert_true(created > 0);
    assert_int_equal(counts_of(f, two_destinations[0]).oldest_pending.us, created);
    assert_int_equal(ledger_outbox_done(f->l, due, 3, &f->e), 0);
    assert_int_equal(counts_of(f, two_destinations[0]).oldest_pending.us, 0);
    assert_int_equal(counts_of(f, two_destinations[0]).pending, 0);
}

static void the_oldest_rows_are_given_up_when_too_many_wait(void **state)
{
    struct fixture *f = *state;
    struct wall_time never = {0};
    for (uint64_t n = 1; n <= 9; n++)
        add_examined(f, n, n % 3 ? "porch" : "yard", two_destinations);
    struct outbox_item before[9], after[9];
    assert_int_equal(ledger_outbox_due(f->l, "amqp", ledger_now(), before, 9, &f->e), 9);
    assert_int_equal(ledger_outbox_expire(f->l, "amqp", never, 9, &f->e), 0);
    assert_int_equal(ledger_outbox_expire(f->l, "amqp", never, 0, &f->e), 0);
    assert_int_equal(ledger_outbox_expire(f->l, "nobody", never, 1, &f->e), 0);
    assert_int_equal(ledger_outbox_expire(f->l, "amqp", never, 4, &f->e), 5);
    assert_int_equal(ledger_outbox_expire(f->l, "amqp", never, 4, &f->e), 0);
    assert_int_equal(counts_of(f, "amqp").pending, 4);
    assert_int_equal(counts_of(f, "amqp").dead, 5);
    assert_int_equal(counts_of(f, "webhook").pending, 9);
    assert_int_equal(counts_of(f, "nobody").pending, 0);
    assert_int_equal(ledger_outbox_due(f->l, "amqp", ledger_now(), after, 9, &f->e), 4);
    int64_t oldest = INT64_MAX, given_up = 0;
    for (int i = 0; i < 4; i++)
        oldest = MIN(oldest, after[i].row);
    for (int i = 0; i < 9; i++)
        given_up += before[i].row < oldest;
    assert_int_equal(given_up, 5);
    assert_sound(f);
}

static void rows_above_an_age_are_given_up(void **state)
{
    struct fixture *f = *state;
    for (uint64_t n = 1; n <= 4; n++)
        add_examined(f, n, n % 2 ? "porch" : "yard", console);
    struct outbox_item items[4];
    assert_int_equal(ledger_outbox_due(f->l, "console", ledger_now(), items, 4, &f->e), 4);
    assert_int_equal(ledger_outbox_expire(f->l, "console", items[0].created_at, 0, &f->e), 0);
    struct wall_time second = {items[1].created_at.us + 1};
    assert_int_equal(ledger_outbox_expire(f->l, "console", second, 0, &f->e), 2);
    struct ledger_story story[8];
    int n = ledger_story(f->l, items[0].snapshot_id, story, 8, &f->e);
    assert_true(n > 0);
    assert_string_equal(story[n - 1].what, "not delivered");
    assert_non_null(strstr(story[n - 1].detail, "waited for longer than is allowed"));
    assert_int_equal(counts_of(f, "console").pending, 2);
    assert_sound(f);
}

static void a_waiting_row_holds_up_its_camera_only(void **state)
{
    struct fixture *f = *state;
    for (uint64_t n = 1; n <= 8; n++)
        add_examined(f, n, n % 2 ? "porch" : "yard", console);
    struct outbox_item items[8], left[8];
    struct wall_time now = ledger_now();
    assert_int_equal(ledger_outbox_due(f->l, "console", now, items, 8, &f->e), 8);
    for (int i = 1; i < 8; i++)
        assert_true(items[i].row > items[i - 1].row);
    struct wall_time later = {now.us + 60000000};
    assert_int_equal(ledger_outbox_retry(f->l, &items[2], later, "refused", &f->e), 0);
    /* Of the porch only what stands before the waiting row. */
    assert_int_equal(ledger_outbox_due(f->l, "console", now, left, 8, &f->e), 5);
    static const int expected[] = {0, 1, 3, 5, 7};
    for (int i = 0; i < 5; i++)
        assert_int_equal(left[i].row, items[expected[i]].row);
    assert_int_equal(ledger_outbox_done(f->l, left, 5, &f->e), 0);
    assert_int_equal(ledger_outbox_due(f->l, "console", now, left, 8, &f->e), 0);
    struct wall_time next;
    assert_int_equal(ledger_outbox_next(f->l, "console", &next, &f->e), 0);
    assert_int_equal(next.us, later.us);
    assert_int_equal(ledger_outbox_due(f->l, "console", later, left, 8, &f->e), 3);
    assert_int_equal(left[0].row, items[2].row);
    assert_int_equal(left[0].attempts, 1);
    assert_int_equal(ledger_outbox_dead(f->l, &left[0], "refused for good", &f->e), 0);
    assert_int_equal(ledger_outbox_due(f->l, "console", now, left, 8, &f->e), 2);
    struct ledger_counts c;
    assert_int_equal(ledger_counts(f->l, &c, &f->e), 0);
    assert_int_equal(c.outbox_pending, 2);
    assert_int_equal(c.outbox_dead, 1);
    assert_sound(f);
}

static void gives_no_more_rows_than_asked(void **state)
{
    struct fixture *f = *state;
    for (uint64_t n = 1; n <= 9; n++)
        add_examined(f, n, n < 5 ? "porch" : "yard", console);
    struct outbox_item items[4];
    assert_int_equal(ledger_outbox_due(f->l, "console", ledger_now(), items, 4, &f->e), 4);
    for (int i = 0; i < 4; i++)
        assert_string_equal(items[i].camera, i % 2 ? "yard" : "porch");
}

static void a_finished_row_cannot_finish_again(void **state)
{
    struct fixture *f = *state;
    add_examined(f, 1, "porch", console);
    struct outbox_item item;
    assert_int_equal(ledger_outbox_due(f->l, "console", ledger_now(), &item, 1, &f->e), 1);
    assert_int_equal(ledger_outbox_done(f->l, &item, 1, &f->e), 0);
    assert_int_equal(ledger_outbox_done(f->l, &item, 1, &f->e), 0);
    assert_int_equal(ledger_outbox_done(f->l, &item, 0, &f->e), 0);
    assert_int_equal(ledger_outbox_retry(f->l, &item, ledger_now(), "x", &f->e), -EALREADY);
    assert_int_equal(ledger_outbox_dead(f->l, &item, "x", &f->e), -EALREADY);
}

/* ---- life story ---- */

static void tells_the_life_of_a_snapshot_in_order(void **state)
{
    struct fixture *f = *state;
    struct trigger t = make_trigger(1, "porch");
    assert_int_equal(ledger_trigger_add(f->l, &t, &f->e), 0);
    AUTO(snapshot) s = add(f, 1, "porch");
    examine(f, s, two_destinations);
    struct outbox_item item;
    assert_int_equal(ledger_outbox_due(f->l, "amqp", ledger_now(), &item, 1, &f->e), 1);
    assert_int_equal(ledger_outbox_retry(f->l, &item, ledger_now(), "connection refused", &f->e),
                     0);
    assert_int_equal(ledger_outbox_done(f->l, &item, 1, &f->e), 0);
    assert_int_equal(ledger_outbox_due(f->l, "webhook", ledger_now(), &item, 1, &f->e), 1);
    assert_int_equal(ledger_outbox_dead(f->l, &item, "HTTP 410", &f->e), 0);
    static const struct {
        const char *what, *detail;
    } expected[] = {
        {"triggered", "api"},
        {"fetched", "4 bytes jpeg, 640 x 480, in 121 ms"},
        {"stored", "porch/1970/01/01/fetch_porch_1.jpg"},
        {"examined", "1 persons, 1 things, by yolov8n-640.onnx in 34 ms"},
        {"delivery-failed", "connection refused"},
        {"delivered", "amqp, attempt 2"},
        {"not delivered", "webhook, attempt 1: HTTP 410"},
    };
    struct ledger_story story[16];
    int n = ledger_story(f->l, s->id, story, 16, &f->e);
    assert_int_equal(n, (int)ARRAY_LEN(expected));
    for (int i = 0; i < n; i++) {
        assert_string_equal(story[i].what, expected[i].what);
        assert_string_equal(story[i].detail, expected[i].detail);
        if (i > 0)
            assert_true(story[i].at.us >= story[i - 1].at.us);
    }
    char nobody[SNAPSHOT_ID_SIZE];
    make_id(99, nobody);
    assert_int_equal(ledger_story(f->l, nobody, story, 16, &f->e), -ENOENT);
}

/* ---- the whole ---- */

static void everything_is_there_after_reopening(void **state)
{
    struct fixture *f = *state;
    struct trigger t = make_trigger(1, "porch"), back;
    assert_int_equal(ledger_trigger_add(f->l, &t, &f->e), 0);
    add_examined(f, 2, "porch", console);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(ledger_trigger_get(f->l, t.id, &back, &f->e), 0);
    struct outbox_item item;
    assert_int_equal(ledger_outbox_due(f->l, "console", ledger_now(), &item, 1, &f->e), 1);
    assert_sound(f);
}

static void failing_memory_is_an_answer_and_not_a_crash(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add(f, 1, "porch");
    examine(f, s, console);
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        struct verdict v;
        mem_fail_at(n);
        int r = ledger_verdict_get(f->l, s->id, &v, &f->e);
        mem_fail_at(0);
        failed = r < 0;
        if (failed) {
            assert_int_equal(r, -ENOMEM);
            assert_int_equal(f->e.retry, ERR_LATER);
            continue;
        }
        verdict_done(&v);
    }
    failed = true;
    for (uint64_t n = 1; failed; n++) {
        struct outbox_item item;
        mem_fail_at(n);
        int r = ledger_outbox_due(f->l, "console", ledger_now(), &item, 1, &f->e);
        mem_fail_at(0);
        failed = r < 0;
        assert_true(r == 1 || r == -ENOMEM);
    }
    assert_sound(f);
}

/* ---- many threads ---- */

enum { WRITERS = 10, ROUNDS = 30 };

struct writer {
    const char *db;
    unsigned number;
    atomic_int *examined;
    int failed;
};

/* Each thread adds its own pictures, and all of them race to examine everybody's. */
static void *write_much(void *arg)
{
    struct writer *w = arg;
    struct ledger *l = NULL;
    struct err e;
    if (ledger_open(w->db, &l, &e) < 0) {
        w->failed = e.code;
        return NULL;
    }
    for (unsigned i = 0; i < ROUNDS && w->failed == 0; i++) {
        uint64_t n = 1 + w->number * ROUNDS + i;
        struct trigger t = make_trigger(n, page_cameras[n % 3]);
        AUTO(snapshot) s = make_snapshot(n, page_cameras[n % 3]);
        int r = ledger_trigger_add(l, &t, &e);
        if (r == 0)
            r = ledger_snapshot_add(l, s, &e);
        struct snapshot *batch[2];
        int count = r < 0 ? r : ledger_backlog(l, 0, batch, 2, &e);
        for (int k = 0; k < count; k++) {
            struct verdict v = {.outcome = VERDICT_SKIPPED};
            r = ledger_snapshot_examined(l, batch[k], &v, NULL, NULL, console, NULL, 0, &e);
            if (r == 0)
                atomic_fetch_add(w->examined, 1);
            if (r < 0 && r != -EALREADY)
                w->failed = r;
            snapshot_unref(batch[k]);
        }
        if (count < 0)
            w->failed = count;
    }
    ledger_close(l);
    return NULL;
}

static void ten_writers_get_along(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[WRITERS];
    struct writer writers[WRITERS];
    atomic_int examined = 0;
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.db = f->db, .number = i, .examined = &examined};
        assert_int_equal(pthread_create(&threads[i], NULL, write_much, &writers[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(writers[i].failed, 0);
    }
    struct ledger_counts c;
    assert_int_equal(ledger_counts(f->l, &c, &f->e), 0);
    assert_int_equal(c.snapshots, WRITERS * ROUNDS);
    assert_int_equal(c.triggers_pending, 0);
    assert_int_equal(c.examined, atomic_load(&examined));
    assert_int_equal(c.outbox_pending, c.examined);
    assert_sound(f);
}

static void knows_a_picture_that_its_camera_pushed_before(void **state)
{
    struct fixture *f = *state;
    char id[SNAPSHOT_ID_SIZE] = "";
    AUTO(snapshot) first = make_snapshot(1, "porch");
    AUTO(snapshot) again = make_snapshot(1, "porch");
    first->source = again->source = SNAPSHOT_PUSHED;
    make_id(2, again->id);
    assert_int_equal(ledger_push_twin(f->l, again, id, &f->e), 0); /* an unknown camera */
    assert_int_equal(ledger_snapshot_add(f->l, first, &f->e), 0);
    assert_int_equal(ledger_push_twin(f->l, first, id, &f->e), 0); /* not of itself */
    assert_int_equal(ledger_push_twin(f->l, again, id, &f->e), 1);
    assert_string_equal(id, first->id);
    again->event_at.us++;
    assert_int_equal(ledger_push_twin(f->l, again, id, &f->e), 0);
    again->event_at.us--;
    again->sha256[0] = 'c';
    assert_int_equal(ledger_push_twin(f->l, again, id, &f->e), 0);
    again->sha256[0] = 'b';
    (void)text_copy(again->camera, sizeof(again->camera), "attic");
    assert_int_equal(ledger_push_twin(f->l, again, id, &f->e), 0);
}

static void a_word_about_a_file_that_is_no_picture_is_kept_and_dropped(void **state)
{
    struct fixture *f = *state;
    struct ledger_story story[4];
    char id[SNAPSHOT_ID_SIZE];
    make_id(7, id);
    assert_int_equal(ledger_noted(f->l, id, &f->e), 0);
    assert_int_equal(ledger_note(f->l, id, "refused", "an HTML page", &f->e), 0);
    assert_int_equal(ledger_noted(f->l, id, &f->e), 1);
    assert_int_equal(ledger_story(f->l, id, story, 4, &f->e), 1);
    assert_string_equal(story[0].what, "refused");
    assert_string_equal(story[0].detail, "an HTML page");
    assert_int_equal(ledger_note_drop(f->l, id, &f->e), 0);
    assert_int_equal(ledger_noted(f->l, id, &f->e), 0);
    /* The story of a picture stays. */
    AUTO(snapshot) s = make_snapshot(7, "porch");
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    assert_int_equal(ledger_note(f->l, id, "stale", "x", &f->e), 0);
    assert_int_equal(ledger_note_drop(f->l, id, &f->e), 0);
    assert_int_equal(ledger_noted(f->l, id, &f->e), 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(keeps_a_trigger_as_it_was_given),
        CASE(takes_one_trigger_once),
        CASE(a_login_stays_until_the_trigger_ends),
        CASE(a_login_without_an_address_is_not_kept),
        CASE(a_password_of_before_is_not_in_the_file),
        CASE(refuses_a_trigger_without_a_camera),
        CASE(gives_the_longest_due_trigger_of_each_camera),
        CASE(many_triggers_of_one_camera_do_not_crowd_out_another),
        CASE(says_when_no_trigger_is_pending),
        CASE(counts_attempts_and_keeps_the_last_failure),
        CASE(a_word_on_the_way_is_told_and_changes_nothing),
        CASE(a_failed_trigger_stays_failed),
        CASE(a_wait_from_before_the_clock_was_set_back_counts_as_due),
        CASE(keeps_a_snapshot_as_it_was_given),
        CASE(recording_finishes_the_trigger),
        CASE(records_one_id_once),
        CASE(refuses_a_path_that_is_taken),
        CASE(refuses_paths_outside_the_store),
        CASE(knows_a_picture_that_its_camera_pushed_before),
        CASE(a_word_about_a_file_that_is_no_picture_is_kept_and_dropped),
        CASE(keeps_the_verdict_with_all_its_detections),
        CASE(a_verdict_without_detections_keeps_its_reason),
        CASE(examines_once),
        CASE(refuses_a_new_name_that_another_snapshot_holds),
        CASE(pages_through_the_backlog_in_order),
        CASE(settles_what_was_renamed),
        CASE(pages_agree_with_a_plain_search_for_every_filter),
        CASE(unknown_names_match_nothing),
        CASE(each_destination_has_its_own_queue),
        CASE(a_waiting_row_holds_up_its_camera_only),
        CASE(a_long_backlog_of_one_camera_does_not_hold_up_another),
        CASE(tells_since_when_the_oldest_event_waits),
        CASE(the_oldest_rows_are_given_up_when_too_many_wait),
        CASE(rows_above_an_age_are_given_up),
        CASE(gives_no_more_rows_than_asked),
        CASE(a_finished_row_cannot_finish_again),
        CASE(tells_the_life_of_a_snapshot_in_order),
        CASE(everything_is_there_after_reopening),
        CASE(failing_memory_is_an_answer_and_not_a_crash),
        CASE(ten_writers_get_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
