/* Killed between any two steps of examining a picture once more: the next run ends it, with the new
 * verdict and its copy, and nobody is told or sent anything a second time. */

#include "../unit/ledger/fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "ledger/ledger_again.h"
#include "ledger/ledger_upload.h"
#include "stage/pipeline.h"

#define ID "00000000000000000000000000000001"

static const char *const person[] = {"person"}, *const dog[] = {"dog"};
static const float sure[] = {0.9f};
static const char *const console[] = {"console", NULL};
static const struct upload_wish wish = {"gdrive", true, true};

struct run {
    struct fixture *f;
    bool with_person; /* on the second look */
};

/* Runs `f` in a process of its own that dies at the point; false when it came to its end. */
static bool dies_at(const char *point, void (*f)(void *arg), void *arg)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)setenv("SNAPSHOTD_CRASH_AT", point, 1);
        f(arg);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return false;
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return true;
}

/* As annotate and intake do with what is unsettled. */
static int draw_and_settle(struct fixture *f)
{
    struct ledger_unsettled u;
    struct store_recovery done = {0};
    int r = ledger_unsettled(f->l, 0, &u, 1, &f->e);
    if (r != 1)
        return r;
    if (!store_holds(f->s, u.annotated_path))
        r = store_put(f->s, u.id, true, "new boxes", 9, &f->e);
    return r < 0 ? r : store_settle(f->s, f->l, &u, 1, &done, &f->e);
}

/* As detect and record do with one that is wanted again. */
static int examine(struct fixture *f, const struct snapshot *s, bool with_person)
{
    struct pipeline p = {.store = f->s};
    if (s->unsettled)
        return pipeline_clear_copy(&p, f->l, s, &f->e);
    struct verdict v = make_verdict(with_person ? person : dog, sure, 1);
    int r = ledger_again_examined(f->l, s, &v, with_person ? s->annotated_path : NULL, &f->e);
    verdict_done(&v);
    return r == 1 ? pipeline_clear_copy(&p, f->l, s, &f->e) : r;
}

/* A start of the program. */
static void work(void *arg)
{
    struct run *run = arg;
    struct fixture *f = run->f;
    struct snapshot *s;
    struct store_recovery done = {0};
    fixture_open(f);
    int r = store_recover(f->s, f->l, &done, &f->e);
    while (r >= 0 && (r = ledger_again_next(f->l, 0, &s, 1, &f->e)) == 1) {
        r = examine(f, s, run->with_person);
        snapshot_unref(s);
    }
    if (r >= 0)
        r = draw_and_settle(f);
    fixture_close(f);
    if (r < 0) {
        print_message("# %s\n", f->e.text);
        _exit(1);
    }
}

static void want(void *arg)
{
    struct run *run = arg;
    fixture_open(run->f);
    if (ledger_again_want(run->f->l, ID, &run->f->e) < 0)
        _exit(1);
    fixture_close(run->f);
}

/* With a person and a copy; told, and uploaded but for the copy. */
static void add(struct fixture *f)
{
    AUTO(snapshot) s = make_snapshot(1, "front");
    char copy[SNAPSHOT_PATH_MAX];
    struct outbox_item item;
    struct upload_job job;
    struct upload_order order = {.live_after = INT64_MAX};
    assert_int_equal(store_put(f->s, s->id, false, "four", 4, &f->e), 0);
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    assert_int_equal(store_place(f->s, s->id, false, s->path, &f->e), 0);
    assert_true(snapshot_name_annotated(s->path, copy, sizeof(copy)) >= 0);
    struct verdict v = make_verdict(person, sure, 1);
    assert_int_equal(ledger_snapshot_examined(f->l, s, &v, NULL, copy, console, &wish, 1, &f->e),
                     0);
    verdict_done(&v);
    assert_int_equal(store_put(f->s, s->id, true, "old boxes", 9, &f->e), 0);
    assert_int_equal(store_place(f->s, s->id, true, copy, &f->e), 0);
    assert_int_equal(ledger_settle(f->l, &s->row, 1, &f->e), 0);
    assert_int_equal(ledger_outbox_due(f->l, "console", ledger_now(), &item, 1, &f->e), 1);
    assert_int_equal(ledger_outbox_done(f->l, &item, 1, &f->e), 0);
    assert_int_equal(
        ledger_upload_due(f->l, "gdrive", &order, ledger_now(), NULL, 0, &job, 1, &f->e), 1);
    assert_int_equal(ledger_upload_done(f->l, &job, NULL, 1, &f->e), 0);
}

static int count_orphan(void *arg, const char *path UNUSED, const struct stat *st UNUSED)
{
    ++*(int *)arg;
    return 0;
}

static void assert_consistent(struct fixture *f)
{
    int orphans = 0;
    struct outbox_counts outbox;
    struct upload_counts uploads;
    assert_int_equal(store_orphans(f->s, f->l, count_orphan, &orphans, &f->e), 0);
    assert_int_equal(orphans, 0);
    assert_int_equal(ledger_outbox_counts(f->l, "console", &outbox, &f->e), 0);
    assert_int_equal(outbox.pending + outbox.dead, 0);
    assert_int_equal(ledger_upload_counts(f->l, "gdrive", &uploads, &f->e), 0);
    assert_int_equal(uploads.pending + uploads.dead, 1);
    assert_int_equal(uploads.done, 1);
    assert_sound(f);
}

static void assert_examined_again(struct fixture *f, bool with_person)
{
    AUTO(snapshot) s = NULL;
    AUTO(blob) copy = NULL;
    struct verdict v;
    assert_int_equal(ledger_snapshot_get(f->l, ID, &s, &f->e), 0);
    assert_false(s->again || s->unsettled);
    assert_int_equal(ledger_verdict_get(f->l, ID, &v, &f->e), 0);
    assert_string_equal(v.found.items[0].label, with_person ? "person" : "dog");
    verdict_done(&v);
    assert_int_equal(s->annotated_path[0] != '\0', with_person);
    if (!with_person)
        return;
    assert_int_equal(store_read(f->s, s->annotated_path, 100, &copy, &f->e), 0);
    assert_memory_equal(copy->data, "new boxes", 9);
}

static void a_kill_at_any_step_ends_with_the_new_verdict_and_its_copy(void **state)
{
    struct fixture *f = *state;
    static const char *const points[] = {"before-again-examined-commit",
                                         "after-again-examined-commit", "before-old-copy-unlink",
                                         "after-old-copy-unlink", "before-again-cleared-commit"};
    for (size_t i = 0; i < 2 * ARRAY_LEN(points); i++) {
        struct run run = {.f = f, .with_person = i % 2 == 0};
        const char *point = points[i / 2];
        if (i > 0) {
            (void)nftw(f->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
            (void)unlink(f->db);
            fixture_open(f);
        }
        add(f);
        fixture_close(f);
        assert_true(dies_at("before-again-commit", want, &run));
        assert_false(dies_at("nowhere", want, &run));
        if (!dies_at(point, work, &run))
            fail_msg("%s was not passed", point);
        fixture_open(f);
        assert_consistent(f);
        fixture_close(f);
        assert_false(dies_at("nowhere", work, &run));
        fixture_open(f);
        assert_consistent(f);
        assert_examined_again(f, run.with_person);
        fixture_close(f);
    }
    fixture_open(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_kill_at_any_step_ends_with_the_new_verdict_and_its_copy,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
