#include "fixture.h"

#include "ledger/ledger_again.h"
#include "ledger/ledger_browse.h"
#include "ledger/ledger_trash.h"
#include "ledger/ledger_upload.h"

static const char *const console[] = {"console", NULL};
static const struct upload_wish wish = {"gdrive", true, true};
static const char *const person[] = {"person"}, *const dogs[] = {"dog", "dog"};
static const float sure[] = {0.9f, 0.8f};

#define COPY "porch/1970/01/01/detect_porch_1.jpg"

/* With a person and a copy or with nothing on it; its files are still to be put in place. */
static struct snapshot *examined(struct fixture *f, bool with_person)
{
    struct snapshot *s = make_snapshot(1, "porch");
    struct verdict v = make_verdict(person, sure, with_person);
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    assert_int_equal(ledger_snapshot_examined(f->l, s, &v, NULL, with_person ? COPY : NULL, console,
                                              &wish, 1, &f->e),
                     0);
    verdict_done(&v);
    return s;
}

/* The same, told and uploaded; settled. */
static struct snapshot *add(struct fixture *f, bool with_person)
{
    struct snapshot *s = examined(f, with_person);
    struct outbox_item item;
    assert_int_equal(ledger_settle(f->l, &s->row, 1, &f->e), 0);
    assert_int_equal(ledger_outbox_due(f->l, "console", ledger_now(), &item, 1, &f->e), 1);
    assert_int_equal(ledger_outbox_done(f->l, &item, 1, &f->e), 0);
    return s;
}

/* The one picture that there is something to do with, or NULL. */
static struct snapshot *wanted(struct fixture *f)
{
    struct snapshot *s = NULL, *same = NULL;
    int n = ledger_again_next(f->l, 0, &s, 1, &f->e);
    assert_true(n >= 0);
    if (n == 0)
        return NULL;
    assert_true(s->again);
    assert_int_equal(ledger_again_get(f->l, s->row, &same, &f->e), 1);
    assert_string_equal(same->id, s->id);
    snapshot_unref(same);
    return s;
}

static int examine(struct fixture *f, const struct snapshot *s, const char *const *labels,
                   size_t count, const char *copy)
{
    struct verdict v = make_verdict(labels, sure, count);
    int r = ledger_again_examined(f->l, s, &v, copy, &f->e);
    verdict_done(&v);
    return r;
}

static void assert_nothing_new(struct fixture *f, int64_t jobs)
{
    struct outbox_counts outbox;
    struct upload_counts uploads;
    assert_int_equal(ledger_outbox_counts(f->l, "console", &outbox, &f->e), 0);
    assert_int_equal(outbox.pending, 0);
    assert_int_equal(ledger_upload_counts(f->l, "gdrive", &uploads, &f->e), 0);
    assert_int_equal(uploads.pending + uploads.done + uploads.dead, jobs);
}

static int unsettled(struct fixture *f)
{
    struct ledger_unsettled u[2];
    return ledger_unsettled(f->l, 0, u, 2, &f->e);
}

static int64_t with_label(struct fixture *f, const char *label)
{
    static const struct browse_budget whole = {0};
    struct browse_filter q = BROWSE_EVERYTHING;
    int64_t count;
    bool exact;
    q.labels = &label;
    q.label_count = 1;
    assert_int_equal(ledger_browse_count(f->l, &q, &whole, &count, &exact, &f->e), 0);
    return count;
}

static void a_new_verdict_takes_the_place_of_the_old(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add(f, false);
    assert_null(wanted(f));
    assert_int_equal(ledger_again_want(f->l, s->id, &f->e), 0);
    assert_int_equal(ledger_again_want(f->l, s->id, &f->e), 0);
    AUTO(snapshot) w = wanted(f);
    assert_non_null(w);
    assert_int_equal(w->state, SNAPSHOT_EXAMINED);
    assert_int_equal(examine(f, w, dogs, 2, NULL), 0);
    struct verdict v;
    assert_int_equal(ledger_verdict_get(f->l, s->id, &v, &f->e), 0);
    assert_int_equal(v.found.count, 2);
    verdict_done(&v);
    assert_int_equal(with_label(f, "dog"), 1);
    assert_null(wanted(f));
    assert_nothing_new(f, 1);
    assert_sound(f);
    /* A worker that had it in hand, too. */
    assert_int_equal(examine(f, w, person, 1, NULL), -EALREADY);
    assert_int_equal(with_label(f, "person"), 0);
}

static void a_first_copy_is_drawn_and_not_uploaded(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add(f, false);
    assert_int_equal(ledger_again_want(f->l, s->id, &f->e), 0);
    AUTO(snapshot) w = wanted(f);
    assert_int_equal(examine(f, w, person, 1, COPY), 0);
    assert_null(wanted(f));
    assert_int_equal(unsettled(f), 1);
    assert_sound(f);
    assert_int_equal(ledger_settle(f->l, &s->row, 1, &f->e), 0);
    assert_nothing_new(f, 1);
    assert_sound(f);
}

/* The old one is on the disk until somebody removed it, and nobody takes it for the new one. */
static void an_old_copy_goes_before_the_new_one_is_drawn(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add(f, true);
    assert_int_equal(ledger_again_want(f->l, s->id, &f->e), 0);
    AUTO(snapshot) w = wanted(f);
    assert_int_equal(examine(f, w, person, 1, COPY), 1);
    assert_int_equal(unsettled(f), 0);
    assert_int_equal(ledger_settle(f->l, &s->row, 1, &f->e), 0); /* by an old list */
    AUTO(snapshot) old = wanted(f);
    assert_non_null(old);
    assert_true(old->unsettled);
    assert_int_equal(examine(f, old, dogs, 1, NULL), -EALREADY);
    assert_sound(f);
    fixture_close(f); /* as after a crash */
    fixture_open(f);
    snapshot_unref(STEAL(old));
    old = wanted(f);
    assert_non_null(old);
    assert_string_equal(old->annotated_path, COPY);
    assert_int_equal(ledger_again_cleared(f->l, s->row, &f->e), 0);
    assert_null(wanted(f));
    assert_int_equal(unsettled(f), 1);
    assert_int_equal(ledger_settle(f->l, &s->row, 1, &f->e), 0);
    assert_nothing_new(f, 2);
    assert_sound(f);
}

/* With the mark of the old one, which it replaces there. */
static void a_new_copy_goes_where_the_old_one_was_kept(void **state)
{
    static const struct upload_order order = {.live_after = INT64_MAX};
    struct fixture *f = *state;
    AUTO(snapshot) s = add(f, true);
    struct upload_job jobs[2];
    struct upload_counts counts;
    assert_int_equal(
        ledger_upload_due(f->l, "gdrive", &order, ledger_now(), NULL, 0, jobs, 2, &f->e), 2);
    for (int i = 0; i < 2; i++)
        (void)snprintf(jobs[i].mark, sizeof(jobs[i].mark), "id-%d\n\n", jobs[i].annotated);
    assert_int_equal(ledger_upload_done(f->l, jobs, NULL, 2, &f->e), 0);
    assert_int_equal(ledger_again_want(f->l, s->id, &f->e), 0);
    AUTO(snapshot) w = wanted(f);
    assert_int_equal(examine(f, w, person, 1, COPY), 1);
    assert_int_equal(ledger_upload_counts(f->l, "gdrive", &counts, &f->e), 0);
    assert_int_equal(counts.done, 1);
    assert_int_equal(counts.pending, 1);
    assert_int_equal(
        ledger_upload_due(f->l, "gdrive", &order, ledger_now(), NULL, 0, jobs, 2, &f->e),
        0); /* not before it is drawn */
    assert_sound(f);
    assert_int_equal(ledger_again_cleared(f->l, s->row, &f->e), 0);
    assert_int_equal(ledger_settle(f->l, &s->row, 1, &f->e), 0);
    assert_int_equal(
        ledger_upload_due(f->l, "gdrive", &order, ledger_now(), NULL, 0, jobs, 2, &f->e), 1);
    assert_true(jobs[0].annotated);
    assert_string_equal(jobs[0].mark, "id-1\n\n");
    assert_int_equal(ledger_upload_done(f->l, jobs, NULL, 1, &f->e), 0);
    /* The same for one that was missing here. */
    assert_int_equal(ledger_unsettle(f->l, s->row, &f->e), 1);
    assert_int_equal(ledger_upload_counts(f->l, "gdrive", &counts, &f->e), 0);
    assert_int_equal(counts.pending, 1);
    assert_int_equal(ledger_settle(f->l, &s->row, 1, &f->e), 0);
    assert_int_equal(
        ledger_upload_due(f->l, "gdrive", &order, ledger_now(), NULL, 0, jobs, 2, &f->e), 1);
    assert_string_equal(jobs[0].mark, "id-1\n\n");
    assert_sound(f);
}

static void a_copy_without_persons_goes_for_good(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add(f, true);
    AUTO(snapshot) now = NULL;
    struct upload_counts uploads;
    assert_int_equal(ledger_again_want(f->l, s->id, &f->e), 0);
    AUTO(snapshot) w = wanted(f);
    assert_int_equal(examine(f, w, dogs, 1, NULL), 1);
    assert_int_equal(unsettled(f), 0);
    assert_sound(f);
    for (int i = 0; i < 2; i++) /* the second changes nothing */
        assert_int_equal(ledger_again_cleared(f->l, s->row, &f->e), 0);
    assert_int_equal(ledger_snapshot_get(f->l, s->id, &now, &f->e), 0);
    assert_string_equal(now->annotated_path, "");
    assert_false(now->unsettled || now->again);
    assert_int_equal(ledger_upload_counts(f->l, "gdrive", &uploads, &f->e), 0);
    assert_int_equal(uploads.dead, 1); /* the job of the copy */
    assert_nothing_new(f, 2);
    assert_sound(f);
}

static void a_detector_that_fails_leaves_the_old_verdict(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add(f, true);
    assert_int_equal(ledger_again_want(f->l, s->id, &f->e), 0);
    AUTO(snapshot) w = wanted(f);
    struct verdict v = {.outcome = VERDICT_FAILED, .error = "no memory"};
    assert_int_equal(ledger_again_examined(f->l, w, &v, NULL, &f->e), 0);
    assert_null(wanted(f));
    assert_int_equal(ledger_verdict_get(f->l, s->id, &v, &f->e), 0);
    assert_int_equal(v.outcome, VERDICT_EXAMINED);
    assert_int_equal(v.found.count, 1);
    verdict_done(&v);
    assert_sound(f);
}

static void the_janitor_and_the_wish_do_not_meet(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add(f, true);
    int64_t row = s->row;
    assert_int_equal(ledger_again_want(f->l, s->id, &f->e), 0);
    AUTO(snapshot) w = wanted(f);
    /* It leaves while a worker looks at it. */
    assert_int_equal(ledger_snapshot_leave(f->l, &row, 1, LEAVE_ANY, "age", &f->e), 1);
    assert_int_equal(examine(f, w, person, 1, COPY), -EALREADY);
    assert_null(wanted(f));
    assert_int_equal(unsettled(f), 0);
    assert_sound(f);
    assert_int_equal(ledger_snapshot_removed(f->l, &row, 1, NULL, false, &f->e), 0);
    assert_int_equal(ledger_again_want(f->l, s->id, &f->e), -ESTALE);
    assert_sound(f);
}

/* The other way round: with a new copy to come it does not leave. */
static void a_copy_that_is_being_drawn_holds_the_janitor_off(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add(f, true);
    int64_t row = s->row;
    assert_int_equal(ledger_again_want(f->l, s->id, &f->e), 0);
    AUTO(snapshot) w = wanted(f);
    assert_int_equal(examine(f, w, person, 1, COPY), 1);
    assert_int_equal(ledger_snapshot_leave(f->l, &row, 1, LEAVE_ANY, "age", &f->e), 0);
    assert_int_equal(ledger_again_cleared(f->l, row, &f->e), 0);
    assert_int_equal(ledger_snapshot_leave(f->l, &row, 1, LEAVE_ANY, "age", &f->e), 0);
    assert_int_equal(ledger_settle(f->l, &row, 1, &f->e), 0);
    assert_int_equal(ledger_snapshot_leave(f->l, &row, 1, LEAVE_ANY, "age", &f->e), 1);
    assert_sound(f);
}

static void only_what_was_examined_is_wanted_again(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = make_snapshot(2, "porch");
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    assert_int_equal(ledger_again_want(f->l, s->id, &f->e), 0); /* its first time is to come */
    assert_null(wanted(f));
    assert_int_equal(ledger_again_want(f->l, "00000000000000000000000000000009", &f->e), -ENOENT);
    assert_int_equal(ledger_snapshot_delete(f->l, s->id, false, &f->e), 0);
    assert_int_equal(ledger_again_want(f->l, s->id, &f->e), -ECANCELED);
    assert_sound(f);
}

/* Else a wish in that moment left a copy that nobody draws, and an upload that waits for it. */
static void first_files_are_put_in_place_before_the_second_look(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = examined(f, true);
    assert_int_equal(unsettled(f), 1);
    assert_int_equal(ledger_again_want(f->l, s->id, &f->e), 0);
    assert_int_equal(unsettled(f), 1);
    assert_null(wanted(f));
    assert_int_equal(ledger_settle(f->l, &s->row, 1, &f->e), 0);
    assert_int_equal(unsettled(f), 0);
    AUTO(snapshot) w = wanted(f);
    assert_non_null(w);
    assert_false(w->unsettled);
    assert_int_equal(examine(f, w, dogs, 2, COPY), 1); /* the old copy goes first */
    assert_sound(f);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_new_verdict_takes_the_place_of_the_old),
        CASE(a_first_copy_is_drawn_and_not_uploaded),
        CASE(an_old_copy_goes_before_the_new_one_is_drawn),
        CASE(a_new_copy_goes_where_the_old_one_was_kept),
        CASE(a_copy_without_persons_goes_for_good),
        CASE(a_detector_that_fails_leaves_the_old_verdict),
        CASE(the_janitor_and_the_wish_do_not_meet),
        CASE(a_copy_that_is_being_drawn_holds_the_janitor_off),
        CASE(only_what_was_examined_is_wanted_again),
        CASE(first_files_are_put_in_place_before_the_second_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
