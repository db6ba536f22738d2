#include "fixture.h"

#include "base/mem.h"
#include "ledger/ledger_again.h"
#include "ledger/ledger_trash.h"
#include "ledger/ledger_upload.h"

static const char *const console[] = {"console", NULL};
static const struct upload_wish wish = {"gdrive", true, false};

static struct snapshot *add_examined(struct fixture *f, uint64_t n)
{
    struct snapshot *s = make_snapshot(n, "porch");
    struct verdict v = {.outcome = VERDICT_EXAMINED};
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    assert_int_equal(ledger_snapshot_examined(f->l, s, &v, NULL, NULL, console, &wish, 1, &f->e),
                     0);
    return s;
}

static struct retention_sums sums(struct fixture *f)
{
    static const struct retention_class all = {-1, -1};
    struct retention_sums r;
    assert_int_equal(ledger_retention_sums(f->l, &all, NULL, &r, &f->e), 0);
    return r;
}

static int in_trash(struct fixture *f, struct wall_time before)
{
    struct snapshot *found[8];
    int n = ledger_trash_next(f->l, before, found, 8, &f->e);
    for (int i = 0; i < n; i++)
        snapshot_unref(found[i]);
    return n;
}

static struct wall_time later(void)
{
    return (struct wall_time){ledger_now().us + 1000000};
}

static bool tells(struct fixture *f, const char *id, const char *what)
{
    struct ledger_story steps[64];
    int n = ledger_story(f->l, id, steps, 64, &f->e);
    bool found = false;
    for (int i = 0; i < n; i++)
        found = found || strcmp(steps[i].what, what) == 0;
    return found;
}

static void a_deleted_picture_can_be_taken_back(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_examined(f, 1);
    AUTO(snapshot) now = NULL;
    struct retention_sums before = sums(f);
    assert_int_equal(ledger_snapshot_delete(f->l, s->id, false, &f->e), 0);
    assert_int_equal(ledger_snapshot_get(f->l, s->id, &now, &f->e), 0);
    struct wall_time at = now->deleted_at;
    assert_true(at.us > 0 && !now->removed);
    assert_int_equal(in_trash(f, later()), 1);
    assert_int_equal(in_trash(f, (struct wall_time){at.us - 1}), 0);
    /* Again: the time of grace does not begin anew. */
    assert_int_equal(ledger_snapshot_delete(f->l, s->id, false, &f->e), 0);
    snapshot_unref(STEAL(now));
    assert_int_equal(ledger_snapshot_get(f->l, s->id, &now, &f->e), 0);
    assert_int_equal(now->deleted_at.us, at.us);
    assert_int_equal(sums(f).files, before.files); /* the file is here */
    assert_sound(f);
    assert_int_equal(ledger_snapshot_undelete(f->l, s->id, &f->e), 0);
    assert_int_equal(ledger_snapshot_undelete(f->l, s->id, &f->e), 0);
    assert_int_equal(in_trash(f, later()), 0);
    assert_true(tells(f, s->id, "deleted") && tells(f, s->id, "undeleted"));
    assert_sound(f);
}

static void a_star_protects_unless_it_is_meant(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_examined(f, 1);
    assert_int_equal(ledger_snapshot_star(f->l, s->id, true, &f->e), 0);
    assert_int_equal(ledger_snapshot_delete(f->l, s->id, false, &f->e), -EPERM);
    assert_int_equal(in_trash(f, later()), 0);
    assert_int_equal(ledger_snapshot_delete(f->l, s->id, true, &f->e), 0);
    assert_int_equal(in_trash(f, later()), 1);
    assert_int_equal(ledger_snapshot_undelete(f->l, "00000000000000000000000000000009", &f->e),
                     -ENOENT);
}

/* An event and an upload that wait go on waiting in the trash, and end with the purge. */
static void a_purge_ends_what_waits_and_keeps_the_row(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_examined(f, 1);
    AUTO(snapshot) other = add_examined(f, 2);
    struct upload_order order = {.live_after = INT64_MAX};
    struct upload_job jobs[4];
    struct upload_counts counts;
    struct outbox_counts outbox;
    assert_int_equal(ledger_snapshot_delete(f->l, s->id, false, &f->e), 0);
    assert_int_equal(
        ledger_upload_due(f->l, "gdrive", &order, ledger_now(), NULL, 0, jobs, 4, &f->e), 2);
    int64_t rows[] = {s->row, other->row};
    assert_int_equal(
        ledger_snapshot_leave(f->l, rows, 2, LEAVE_TRASH, "deleted by a person", &f->e), 1);
    assert_int_equal(rows[0], s->row);
    assert_int_equal(ledger_snapshot_removed(f->l, rows, 1, NULL, false, &f->e), 0);
    assert_int_equal(sums(f).files, 1);
    assert_int_equal(sums(f).bytes, 4);
    assert_int_equal(ledger_upload_counts(f->l, "gdrive", &counts, &f->e), 0);
    assert_int_equal(counts.pending, 1);
    assert_int_equal(counts.dead, 1);
    /* The event is about what was seen, not about the file. */
    assert_int_equal(ledger_outbox_counts(f->l, "console", &outbox, &f->e), 0);
    assert_int_equal(outbox.pending, 2);
    /* The upload that was under way comes too late to count, and does no harm. */
    assert_int_equal(ledger_upload_done(f->l, jobs, NULL, 2, &f->e), 0);
    assert_int_equal(ledger_upload_counts(f->l, "gdrive", &counts, &f->e), 0);
    assert_int_equal(counts.done, 1);
    assert_int_equal(ledger_snapshot_undelete(f->l, s->id, &f->e), -ESTALE);
    assert_int_equal(ledger_snapshot_delete(f->l, s->id, false, &f->e), -ESTALE);
    assert_true(tells(f, s->id, "removed"));
    assert_sound(f);
}

/* Between the first step of a removal and its last. */
static void a_picture_that_leaves_cannot_be_held(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_examined(f, 1);
    AUTO(snapshot) now = NULL;
    struct snapshot *found[4];
    int64_t row = s->row;
    assert_int_equal(ledger_snapshot_delete(f->l, s->id, false, &f->e), 0);
    assert_int_equal(ledger_snapshot_leave(f->l, &row, 1, LEAVE_TRASH, "why", &f->e), 1);
    assert_int_equal(ledger_snapshot_leave(f->l, &row, 1, LEAVE_ANY, "twice", &f->e), 0);
    assert_int_equal(ledger_snapshot_undelete(f->l, s->id, &f->e), -ESTALE);
    assert_int_equal(ledger_again_want(f->l, s->id, &f->e), -ESTALE);
    assert_int_equal(ledger_upload_again(f->l, s->id, &f->e), -ENOENT);
    assert_int_equal(ledger_unsettle(f->l, s->row, &f->e), 0);
    assert_int_equal(in_trash(f, later()), 0);
    assert_int_equal(ledger_snapshot_get(f->l, s->id, &now, &f->e), 0);
    assert_true(now->removed);
    assert_sound(f);
    /* As after a crash. */
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(ledger_leaving_next(f->l, 0, found, 4, &f->e), 1);
    assert_string_equal(found[0]->id, s->id);
    snapshot_unref(found[0]);
    for (int i = 0; i < 2; i++) { /* and twice, as two janitors at once */
        assert_int_equal(ledger_snapshot_removed(f->l, &s->row, 1, NULL, false, &f->e), 0);
        assert_int_equal(sums(f).files, 0);
    }
    assert_int_equal(ledger_leaving_next(f->l, 0, found, 4, &f->e), 0);
    assert_sound(f);
}

static void only_those_leave_that_are_as_they_were_found(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) plain = add_examined(f, 1);
    AUTO(snapshot) starred = add_examined(f, 2);
    AUTO(snapshot) undeleted = add_examined(f, 3);
    AUTO(snapshot) waiting = make_snapshot(4, "porch");
    assert_int_equal(ledger_snapshot_add(f->l, waiting, &f->e), 0);
    assert_int_equal(ledger_snapshot_star(f->l, starred->id, true, &f->e), 0);
    int64_t rows[] = {starred->row, waiting->row, undeleted->row, plain->row, 999};
    int64_t trash[] = {undeleted->row};
    assert_int_equal(ledger_snapshot_leave(f->l, trash, 1, LEAVE_TRASH, "x", &f->e), 0);
    assert_int_equal(ledger_snapshot_leave(f->l, rows, 5, LEAVE_UNSTARRED, "x", &f->e), 2);
    assert_int_equal(rows[0], undeleted->row);
    assert_int_equal(rows[1], plain->row);
    assert_sound(f);
}

/* Whoever deletes what waits for detection: it goes through, and then it can go. */
static void the_trash_waits_for_the_verdict(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = make_snapshot(1, "porch");
    struct verdict v = {.outcome = VERDICT_EXAMINED};
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    assert_int_equal(ledger_snapshot_delete(f->l, s->id, false, &f->e), 0);
    assert_int_equal(in_trash(f, later()), 0);
    assert_int_equal(
        ledger_snapshot_examined(f->l, s, &v, NULL, "porch/detect.jpg", NULL, NULL, 0, &f->e), 0);
    assert_int_equal(in_trash(f, later()), 0); /* its copy is still to be drawn */
    assert_int_equal(ledger_settle(f->l, &s->row, 1, &f->e), 0);
    assert_int_equal(in_trash(f, later()), 1);
    assert_sound(f);
}

static void a_story_does_not_grow_without_end(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_examined(f, 1);
    assert_int_equal(ledger_group_begin(f->l, &f->e), 0);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(ledger_snapshot_delete(f->l, s->id, false, &f->e), 0);
        assert_int_equal(ledger_snapshot_undelete(f->l, s->id, &f->e), 0);
    }
    assert_int_equal(ledger_group_end(f->l, &f->e), 0);
    struct ledger_story steps[128];
    assert_true(ledger_story(f->l, s->id, steps, 128, &f->e) < 30);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_deleted_picture_can_be_taken_back),
        CASE(a_star_protects_unless_it_is_meant),
        CASE(a_purge_ends_what_waits_and_keeps_the_row),
        CASE(a_picture_that_leaves_cannot_be_held),
        CASE(only_those_leave_that_are_as_they_were_found),
        CASE(the_trash_waits_for_the_verdict),
        CASE(a_story_does_not_grow_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
