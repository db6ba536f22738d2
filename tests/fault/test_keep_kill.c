/* Killed between any two steps of removing pictures, or of putting one into a folder: what is left
 * is told by the ledger or the mark, and the next run ends it. */

#include "../unit/ledger/fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/fsutil.h"
#include "base/mem.h"
#include "ledger/ledger_browse.h"
#include "ledger/ledger_trash.h"
#include "stage/retention.h"
#include "storage/directory.h"
#include "sys/hash.h"

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

/* ---- retention ---- */

static const struct retention_config old_goes = {.age_ms = {1, 1, 0}};

static void remove_old(void *arg)
{
    struct fixture *f = arg;
    struct retention_report report;
    struct retention_options o = {
        .ledger = f->l, .store = f->s, .config = &old_goes, .now = {(int64_t)1000000000000}};
    fixture_open(f);
    o.ledger = f->l;
    o.store = f->s;
    int r = retention_run(&o, &report, &f->e);
    fixture_close(f);
    if (r < 0)
        _exit(1);
}

static void add_picture(struct fixture *f, uint64_t n)
{
    AUTO(snapshot) s = make_snapshot(n, "front");
    char copy[SNAPSHOT_PATH_MAX];
    assert_int_equal(store_put(f->s, s->id, false, "four", 4, &f->e), 0);
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    assert_int_equal(store_place(f->s, s->id, false, s->path, &f->e), 0);
    assert_true(snapshot_name_annotated(s->path, copy, sizeof(copy)) >= 0);
    struct verdict v = make_verdict(NULL, NULL, 0);
    assert_int_equal(ledger_snapshot_examined(f->l, s, &v, NULL, copy, NULL, NULL, 0, &f->e), 0);
    verdict_done(&v);
    assert_int_equal(store_put(f->s, s->id, true, "boxes", 5, &f->e), 0);
    assert_int_equal(store_place(f->s, s->id, true, copy, &f->e), 0);
    assert_int_equal(ledger_settle(f->l, &s->row, 1, &f->e), 0);
}

static int count_orphan(void *arg, const char *path UNUSED, const struct stat *st UNUSED)
{
    ++*(int *)arg;
    return 0;
}

static int64_t pictures_left(struct fixture *f)
{
    static const struct retention_class any = {-1, -1};
    struct retention_sums sums;
    assert_int_equal(ledger_retention_sums(f->l, &any, NULL, &sums, &f->e), 0);
    return sums.files;
}

static void purge(void *arg)
{
    struct fixture *f = arg;
    struct retention_report report;
    static const struct retention_config at_once = {.trash_keep_ms = 0};
    struct retention_options o = {.config = &at_once,
                                  .without = RETENTION_BITS_ALL & ~RETENTION_BITS_TRASH,
                                  .now = {(int64_t)1000000000000}};
    fixture_open(f);
    o.ledger = f->l;
    o.store = f->s;
    int r = retention_run(&o, &report, &f->e);
    fixture_close(f);
    if (r < 0)
        _exit(1);
}

static void delete_all(struct fixture *f)
{
    static const struct browse_budget whole = {0};
    struct browse_filter q = BROWSE_EVERYTHING;
    struct snapshot *all[400];
    struct browse_end end;
    q.present = 1;
    int n =
        ledger_browse_page(f->l, &q, (struct ledger_page_key){0}, &whole, all, 400, &end, &f->e);
    assert_true(n > 0 && end.whole);
    for (int i = 0; i < n; i++) {
        assert_int_equal(ledger_snapshot_delete(f->l, all[i]->id, false, &f->e), 0);
        snapshot_unref(all[i]);
    }
}

/* `deleted`: by a person instead of by their age. */
static void kill_while_removing(struct fixture *f, bool deleted)
{
    static const char *const points[] = {
        "before-leave-commit",        "before-leave-commit:2",   "retention-leaving",
        "retention-leaving:2",        "retention-before-unlink", "retention-before-unlink:2",
        "retention-before-unlink:70", "retention-unlinked",      "retention-unlinked:2",
        "before-removed-commit",      "before-removed-commit:2", "retention-removed",
        "retention-removed:2",
    };
    void (*work)(void *arg) = deleted ? purge : remove_old;
    uint64_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        for (int k = 0; k < 100; k++) /* two batches */
            add_picture(f, ++n);
        if (deleted)
            delete_all(f);
        fixture_close(f);
        if (!dies_at(points[i], work, f))
            fail_msg("%s was not passed", points[i]);
        fixture_open(f);
        int orphans = 0;
        assert_int_equal(store_orphans(f->s, f->l, count_orphan, &orphans, &f->e), 0);
        assert_int_equal(orphans, 0);
        assert_sound(f);
        fixture_close(f);
        assert_false(dies_at("nowhere", work, f));
        fixture_open(f);
        assert_int_equal(pictures_left(f), 0);
        assert_sound(f);
        struct dynbuf report;
        dynbuf_init(&report, 65536);
        if (store_check(f->s, f->l, &report, &f->e) != 0)
            fail_msg("%s: %s", points[i], dynbuf_str(&report));
        dynbuf_done(&report);
    }
}

static void a_kill_while_removing_leaves_no_file_without_a_row(void **state)
{
    kill_while_removing(*state, false);
}

static void a_kill_while_purging_leaves_no_file_without_a_row(void **state)
{
    kill_while_removing(*state, true);
}

static void delete_one(void *arg)
{
    struct fixture *f = arg;
    fixture_open(f);
    if (ledger_snapshot_delete(f->l, "00000000000000000000000000000001", false, &f->e) < 0 ||
        ledger_snapshot_undelete(f->l, "00000000000000000000000000000001", &f->e) < 0)
        _exit(1);
    fixture_close(f);
}

static void a_kill_while_deleting_is_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    add_picture(f, 1);
    fixture_close(f);
    for (int i = 0; i < 2; i++) {
        AUTO(snapshot) s = NULL;
        assert_true(
            dies_at(i == 0 ? "before-delete-commit" : "before-undelete-commit", delete_one, f));
        fixture_open(f);
        assert_int_equal(ledger_snapshot_get(f->l, "00000000000000000000000000000001", &s, &f->e),
                         0);
        assert_int_equal(s->deleted_at.us != 0, i);
        assert_sound(f);
        fixture_close(f);
    }
    fixture_open(f);
}

/* ---- a folder ---- */

struct put {
    char path[200], saved[200]; /* the folder, and the file that stands for the ledger */
    const char *bytes;
};

static int save(void *arg, const struct storage_mark *mark, struct err *e)
{
    const struct put *p = arg;
    return fs_replace(AT_FDCWD, p->saved, mark, sizeof(*mark), 0600, e);
}

static void put_one(void *arg)
{
    struct put *p = arg;
    struct directory_config config = {.path = p->path,
                                      .prefix = "",
                                      .marker = DIRECTORY_MARKER,
                                      .require_mount = DIRECTORY_MOUNT_NO};
    struct storage *s = NULL;
    struct storage_session *w = NULL;
    struct storage_mark mark = {0};
    struct storage_failure failure;
    struct err e = {0};
    char md5[HASH_MD5_HEX], sha256[HASH_SHA256_HEX];
    AUTO(blob) bytes = blob_new_copy(p->bytes, strlen(p->bytes));
    AUTO(blob) saved = NULL;
    hash_md5_hex(p->bytes, strlen(p->bytes), md5);
    hash_sha256_hex(p->bytes, strlen(p->bytes), sha256);
    struct storage_object o = {.snapshot_id = "0123456789abcdef0123456789abcdef",
                               .annotated = true,
                               .name = "detect_1.jpg",
                               .path = "front/2026/01/02/detect_1.jpg",
                               .md5 = "",
                               .sha256 = ""};
    bool failed = directory_open(&config, "directory:nas", &s, &e) < 0 ||
                  s->ops->session_new(s, -1, NULL, &w, &e) < 0;
    if (!failed && fs_read_blob(AT_FDCWD, p->saved, 1 << 20, &saved, NULL) == 0) {
        memcpy(&mark, saved->data, sizeof(mark));
    } else {
        failed =
            failed || s->ops->reserve(w, &o, &mark, 1, &failure, &e) < 0 || save(p, &mark, &e) < 0;
    }
    o.bytes = bytes;
    o.md5 = md5;
    o.sha256 = sha256;
    failed = failed || s->ops->put(w, &o, &mark, save, p, &failure, &e) < 0;
    if (failed) {
        print_message("# %s\n", e.text);
        _exit(1);
    }
    s->ops->session_free(w);
    s->ops->free(s);
}

static int files;
static int count_file(const char *path UNUSED, const struct stat *st UNUSED, int kind,
                      struct FTW *ftw UNUSED)
{
    files += kind == FTW_F;
    return 0;
}

/* A copy with boxes is drawn again after a kill, with other bytes each time. */
static void a_kill_while_putting_leaves_one_file_in_the_end(void **state)
{
    struct fixture *f = *state;
    static const char *const points[] = {"directory-written", "directory-noted",
                                         "directory-renamed"};
    static const char *const bytes[] = {"first", "second", "the third"};
    for (size_t a = 0; a < ARRAY_LEN(points); a++)
        for (size_t b = 0; b < ARRAY_LEN(points); b++) {
            struct put p = {0};
            (void)snprintf(p.path, sizeof(p.path), "%s/nas-%zu-%zu", f->folder, a, b);
            (void)snprintf(p.saved, sizeof(p.saved), "%s/mark-%zu-%zu", f->folder, a, b);
            assert_int_equal(mkdir(p.path, 0700), 0);
            p.bytes = bytes[0];
            assert_true(dies_at(points[a], put_one, &p));
            p.bytes = bytes[1];
            assert_true(dies_at(points[b], put_one, &p));
            p.bytes = bytes[2];
            assert_false(dies_at("nowhere", put_one, &p));
            files = 0;
            assert_int_equal(nftw(p.path, count_file, 16, FTW_PHYS), 0);
            if (files != 1)
                fail_msg("%s, %s: %d files", points[a], points[b], files);
            AUTO(blob) got = NULL;
            char path[300];
            (void)snprintf(path, sizeof(path), "%s/front/2026/01/02/detect_1.jpg", p.path);
            assert_int_equal(fs_read_blob(AT_FDCWD, path, 1 << 20, &got, &f->e), 0);
            assert_int_equal(got->size, strlen(bytes[2]));
            assert_memory_equal(got->data, bytes[2], got->size);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_kill_while_removing_leaves_no_file_without_a_row, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_kill_while_purging_leaves_no_file_without_a_row, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_kill_while_deleting_is_all_or_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kill_while_putting_leaves_one_file_in_the_end, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
