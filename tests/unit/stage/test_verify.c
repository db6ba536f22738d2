/* What verify finds and mends, over a real ledger and store and a folder as the storage. */

#include "../ledger/fixture.h"

#include <fcntl.h>
#include <sys/eventfd.h>

#include "base/fsutil.h"
#include "base/mem.h"
#include "ledger/ledger_again.h"
#include "stage/upload_object.h"
#include "stage/verify.h"
#include "storage/directory.h"
#include "sys/hash.h"

#define STORAGE "directory:nas"

struct rig {
    struct fixture *f;
    char nas[200];
    struct directory_config config;
    struct storage *storages[2];
    struct storage_session *w;
    struct verify_options o;
    struct verify_report report;
    char lines[4096];
};

static void keep_line(void *arg, const char *text)
{
    struct rig *r = arg;
    size_t len = strlen(r->lines);
    (void)snprintf(r->lines + len, sizeof(r->lines) - len, "%s\n", text);
}

static int rig_setup(void **state)
{
    struct rig *r = xcalloc(1, sizeof(*r));
    void *f = NULL;
    if (setup(&f) < 0)
        return -1;
    r->f = f;
    (void)snprintf(r->nas, sizeof(r->nas), "%s/nas", r->f->folder);
    assert_int_equal(mkdir(r->nas, 0700), 0);
    r->config = (struct directory_config){.path = r->nas,
                                          .prefix = "",
                                          .marker = DIRECTORY_MARKER,
                                          .require_mount = DIRECTORY_MOUNT_NO};
    assert_int_equal(directory_open(&r->config, STORAGE, &r->storages[0], &r->f->e), 0);
    assert_int_equal(r->storages[0]->ops->session_new(r->storages[0], -1, NULL, &r->w, &r->f->e),
                     0);
    r->o = (struct verify_options){.ledger = r->f->l,
                                   .store = r->f->s,
                                   .stop_fd = -1,
                                   .now = {clock_wall().us + (int64_t)7200 * 1000000},
                                   .line = keep_line,
                                   .arg = r};
    *state = r;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *r = *state;
    r->storages[0]->ops->session_free(r->w);
    r->storages[0]->ops->free(r->storages[0]);
    void *f = r->f;
    free(r);
    return teardown(&f);
}

static void run(struct rig *r)
{
    r->lines[0] = '\0';
    if (verify_run(&r->o, &r->report, &r->f->e) < 0)
        fail_msg("%s", r->f->e.text);
}

static void expect(struct rig *r, int64_t findings, int64_t repaired, const char *words)
{
    if (r->report.findings != findings || r->report.repaired != repaired ||
        (words != NULL && strstr(r->lines, words) == NULL))
        fail_msg("%lld findings, %lld repaired:\n%s", (long long)r->report.findings,
                 (long long)r->report.repaired, r->lines);
}

static int no_save(void *arg UNUSED, const struct storage_mark *mark UNUSED, struct err *e UNUSED)
{
    return 0;
}

/* Uploads what is due, as the stage does. */
static void upload_all(struct rig *r)
{
    static const struct upload_order order = {.live_after = INT64_MAX};
    struct upload_job jobs[8];
    struct fixture *f = r->f;
    int n = ledger_upload_due(f->l, STORAGE, &order, (struct wall_time){INT64_MAX / 2}, NULL, 0,
                              jobs, 8, &f->e);
    for (int i = 0; i < n; i++) {
        AUTO(snapshot) s = NULL;
        AUTO(blob) bytes = NULL;
        struct storage_mark mark;
        struct storage_failure failure;
        assert_int_equal(ledger_snapshot_get(f->l, jobs[i].snapshot_id, &s, &f->e), 0);
        struct storage_object o = upload_object(s, &jobs[i], "");
        assert_int_equal(store_read(f->s, o.path, 1 << 20, &bytes, &f->e), 0);
        const struct storage_ops *ops = r->storages[0]->ops;
        if (jobs[i].mark[0])
            upload_mark_read(jobs[i].mark, &mark);
        else
            assert_int_equal(ops->reserve(r->w, &o, &mark, 1, &failure, &f->e), 0);
        char md5[HASH_MD5_HEX], sha256[HASH_SHA256_HEX];
        hash_md5_hex(bytes->data, bytes->size, md5);
        hash_sha256_hex(bytes->data, bytes->size, sha256);
        o.bytes = bytes;
        o.md5 = md5;
        o.sha256 = sha256;
        if (ops->put(r->w, &o, &mark, no_save, NULL, &failure, &f->e) < 0)
            fail_msg("%s", f->e.text);
        assert_int_equal(upload_mark_write(&mark, jobs[i].mark, &f->e), 0);
    }
    assert_int_equal(ledger_upload_done(f->l, jobs, NULL, n, &f->e), 0);
}

static struct snapshot *add(struct rig *r, uint64_t n, bool copy)
{
    struct fixture *f = r->f;
    struct snapshot *s = make_snapshot(n, "front");
    char bytes[32];
    (void)snprintf(bytes, sizeof(bytes), "picture %llu", (unsigned long long)n);
    s->size = (int64_t)strlen(bytes);
    hash_md5_hex(bytes, strlen(bytes), s->md5);
    hash_sha256_hex(bytes, strlen(bytes), s->sha256);
    assert_int_equal(store_put(f->s, s->id, false, bytes, strlen(bytes), &f->e), 0);
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    assert_int_equal(store_place(f->s, s->id, false, s->path, &f->e), 0);
    static const char *const person[] = {"person"};
    static const float score[] = {0.9f};
    struct verdict v = make_verdict(person, score, 1);
    if (copy) {
        assert_true(
            snapshot_name_annotated(s->path, s->annotated_path, sizeof(s->annotated_path)) >= 0);
        assert_int_equal(store_put(f->s, s->id, true, "boxes", 5, &f->e), 0);
        assert_int_equal(store_place(f->s, s->id, true, s->annotated_path, &f->e), 0);
    }
    struct upload_wish wish = {.storage = STORAGE, .picture = true, .annotated = copy};
    assert_int_equal(
        ledger_snapshot_examined(f->l, s, &v, NULL, s->annotated_path, NULL, &wish, 1, &f->e), 0);
    verdict_done(&v);
    assert_int_equal(ledger_settle(f->l, &s->row, 1, &f->e), 0);
    return s;
}

static void overwrite(struct rig *r, const char *root, const char *path, const char *bytes)
{
    char whole[1024];
    (void)snprintf(whole, sizeof(whole), "%s/%s", root, path);
    assert_int_equal(fs_replace(AT_FDCWD, whole, bytes, strlen(bytes), 0600, &r->f->e), 0);
}

static void remove_at(const char *root, const char *path)
{
    char whole[1024];
    (void)snprintf(whole, sizeof(whole), "%s/%s", root, path);
    assert_int_equal(unlink(whole), 0);
}

static void nothing_is_found_where_all_is_well(void **state)
{
    struct rig *r = *state;
    AUTO(snapshot) one = add(r, 1, true);
    AUTO(snapshot) two = add(r, 2, false);
    upload_all(r);
    r->o.deep = r->o.repair = true;
    r->o.storages = r->storages;
    run(r);
    expect(r, 0, 0, NULL);
    assert_int_equal(r->report.pictures, 2);
    assert_int_equal(r->report.kept, 3);
}

static void a_picture_that_is_missing_short_or_changed_is_found(void **state)
{
    struct rig *r = *state;
    AUTO(snapshot) missing = add(r, 1, false);
    AUTO(snapshot) cut = add(r, 2, false);
    AUTO(snapshot) changed = add(r, 3, false);
    remove_at(r->f->root, missing->path);
    overwrite(r, r->f->root, cut->path, "pict");
    overwrite(r, r->f->root, changed->path, "picture 4");
    r->o.repair = true; /* nobody can */
    run(r);
    expect(r, 2, 0, "00000001: file front/1970/01/01/fetch_front_1.jpg is missing");
    expect(r, 2, 0, "has 4 bytes, recorded are 9");
    r->o.deep = true;
    run(r);
    expect(r, 3, 0, "00000003: file front/1970/01/01/fetch_front_3.jpg has other bytes than");
}

static void a_copy_that_is_missing_is_drawn_again(void **state)
{
    struct rig *r = *state;
    AUTO(snapshot) s = add(r, 1, true);
    AUTO(snapshot) empty = add(r, 2, true);
    struct ledger_unsettled rows[4];
    remove_at(r->f->root, s->annotated_path);
    overwrite(r, r->f->root, empty->annotated_path, "");
    run(r);
    expect(r, 2, 0, "detect_front_1.jpg is missing");
    assert_int_equal(ledger_unsettled(r->f->l, 0, rows, 4, &r->f->e), 0);
    r->o.repair = true;
    run(r);
    expect(r, 2, 2, "it will be drawn again");
    assert_int_equal(ledger_unsettled(r->f->l, 0, rows, 4, &r->f->e), 2); /* annotate's work */
    run(r); /* what is on its way is no finding */
    expect(r, 0, 0, NULL);
    assert_sound(r->f);
}

static void a_file_of_nobody_is_listed_and_deleted_when_told_to(void **state)
{
    struct rig *r = *state;
    AUTO(snapshot) s = add(r, 1, false);
    overwrite(r, r->f->root, "front/1970/01/01/stray.jpg", "x");
    overwrite(r, r->f->root, "notes.txt", "somebody's own");
    run(r);
    expect(r, 2, 0, "file front/1970/01/01/stray.jpg belongs to no picture");
    r->o.now = clock_wall(); /* too young to be sure */
    r->o.repair = true;
    run(r);
    expect(r, 0, 0, NULL);
    r->o.now.us += (int64_t)7200 * 1000000;
    run(r);
    expect(r, 2, 1, "stray.jpg belongs to no picture; deleted");
    expect(r, 2, 1, "notes.txt belongs to no picture; it is not where pictures are put");
    run(r);
    expect(r, 1, 0, NULL);
}

/* The verdict is committed and names what the file is going to be called; a power cut came before
 * the rename. Recovery finishes that when the daemon runs, and verify may come first. */
static void a_picture_whose_rename_is_due_belongs_to_its_row(void **state)
{
    struct rig *r = *state;
    struct fixture *f = r->f;
    AUTO(snapshot) s = make_snapshot(1, "front");
    static const char bytes[] = "the only copy";
    s->size = (int64_t)strlen(bytes);
    assert_int_equal(store_put(f->s, s->id, false, bytes, strlen(bytes), &f->e), 0);
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    assert_int_equal(store_place(f->s, s->id, false, s->path, &f->e), 0);
    static const char *const person[] = {"person"};
    static const float score[] = {0.9f};
    struct verdict v = make_verdict(person, score, 1);
    char path[SNAPSHOT_PATH_MAX];
    assert_true(snapshot_name_renamed(s->path, "human", path, sizeof(path)) >= 0);
    assert_int_equal(ledger_snapshot_examined(f->l, s, &v, path, NULL, NULL, NULL, 0, &f->e), 0);
    verdict_done(&v);
    r->o.repair = true;
    run(r);
    expect(r, 0, 0, NULL);
    if (!store_holds(f->s, "front/1970/01/01/fetch_front_1.jpg"))
        fail_msg("the only copy was deleted: %s", r->lines);
    struct store_recovery done;
    assert_int_equal(store_recover(f->s, f->l, &done, &f->e), 0);
    assert_true(store_holds(f->s, path));
    assert_sound(f);
}

/* A NAS keeps its own beside the pictures. */
static void only_what_lies_in_the_folder_of_a_day_is_deleted(void **state)
{
    struct rig *r = *state;
    static const struct {
        const char *path;
        bool ours;
    } cases[] = {
        {"porch/2026/01/@eaDir/x.jpg", false}, {"porch/@eaDir/01/02/x.jpg", false},
        {"porch/2026/@eaDir/02/x.jpg", false}, {"porch/2026/1/02/x.jpg", false},
        {"porch/2026/01/02/a/x.jpg", false},   {"porch/2026/01/x.jpg", false},
        {"porch/20260/01/02/x.jpg", false},    {"porch/2026/01/02/x.jpg", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char folder[256];
        (void)snprintf(folder, sizeof(folder), "%s/%.*s", r->f->root,
                       (int)(strrchr(cases[i].path, '/') - cases[i].path), cases[i].path);
        assert_int_equal(fs_mkdirs(AT_FDCWD, folder, 0700, &r->f->e), 0);
        overwrite(r, r->f->root, cases[i].path, "x");
    }
    r->o.repair = true;
    run(r);
    expect(r, ARRAY_LEN(cases), 1, "porch/2026/01/02/x.jpg belongs to no picture; deleted");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (store_holds(r->f->s, cases[i].path) == cases[i].ours)
            fail_msg("%s: %s", cases[i].path, r->lines);
}

static void what_a_storage_lost_or_spoiled_is_uploaded_again(void **state)
{
    struct rig *r = *state;
    AUTO(snapshot) lost = add(r, 1, true);
    AUTO(snapshot) spoiled = add(r, 2, false);
    AUTO(snapshot) well = add(r, 3, false);
    upload_all(r);
    remove_at(r->nas, lost->path);
    remove_at(r->nas, spoiled->path);
    overwrite(r, r->nas, spoiled->path, "picture 5");
    run(r); /* not asked about */
    expect(r, 0, 0, NULL);
    r->o.storages = r->storages;
    run(r);
    expect(r, 2, 0, STORAGE ": front/1970/01/01/fetch_front_1.jpg is there no more");
    expect(r, 2, 0, "fetch_front_2.jpg has another size or other bytes there");
    assert_int_equal(r->report.kept, 2);
    r->o.repair = true;
    run(r);
    expect(r, 2, 2, "it will be uploaded again");
    struct upload_counts counts;
    assert_int_equal(ledger_upload_counts(r->f->l, STORAGE, &counts, &r->f->e), 0);
    assert_int_equal(counts.pending, 2);
    upload_all(r);
    run(r);
    expect(r, 0, 0, NULL);
    assert_int_equal(r->report.kept, 4);
    assert_sound(r->f);
}

/* Examined again, a picture gets another copy of the same name. */
static void a_copy_that_is_drawn_again_replaces_the_one_there(void **state)
{
    struct rig *r = *state;
    struct fixture *f = r->f;
    AUTO(snapshot) s = add(r, 1, true);
    AUTO(snapshot) w = NULL;
    static const char *const person[] = {"person"};
    static const float score[] = {0.5f};
    upload_all(r);
    r->o.storages = r->storages;
    assert_int_equal(ledger_again_want(f->l, s->id, &f->e), 0);
    assert_int_equal(ledger_again_next(f->l, 0, &w, 1, &f->e), 1);
    struct verdict v = make_verdict(person, score, 1);
    assert_int_equal(ledger_again_examined(f->l, w, &v, s->annotated_path, &f->e), 1);
    verdict_done(&v);
    remove_at(f->root, s->annotated_path);
    assert_int_equal(ledger_again_cleared(f->l, s->row, &f->e), 0);
    assert_int_equal(store_put(f->s, s->id, true, "other boxes", 11, &f->e), 0);
    assert_int_equal(store_place(f->s, s->id, true, s->annotated_path, &f->e), 0);
    assert_int_equal(ledger_settle(f->l, &s->row, 1, &f->e), 0);
    run(r); /* the old one is no loss */
    expect(r, 0, 0, NULL);
    upload_all(r);
    run(r);
    expect(r, 0, 0, NULL);
    assert_int_equal(r->report.kept, 2);
    char second[512];
    (void)snprintf(second, sizeof(second), "%s/front/1970/01/01/detect_front_1-2.jpg", r->nas);
    assert_int_equal(access(second, F_OK), -1);
    assert_sound(f);
}

/* Most pictures are removed here after two days and are still to be there. */
static void pictures_that_are_removed_here_are_still_compared(void **state)
{
    struct rig *r = *state;
    AUTO(snapshot) s = add(r, 1, true);
    AUTO(snapshot) gone = add(r, 2, false);
    upload_all(r);
    int64_t rows[] = {s->row, gone->row};
    const char *const paths[] = {s->path, s->annotated_path, gone->path};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        assert_int_equal(store_unlink(r->f->s, paths[i], &r->f->e), 0);
    assert_int_equal(ledger_snapshot_removed(r->f->l, rows, 2, "age", false, &r->f->e), 0);
    remove_at(r->nas, gone->path);
    r->o.storages = r->storages;
    r->o.repair = true;
    run(r);
    expect(r, 1, 0, "it is not here any more either");
    assert_int_equal(r->report.pictures, 0);
    assert_int_equal(r->report.kept, 1);
    assert_int_equal(r->report.not_compared, 1); /* nobody knows what the copy should be */
}

static void a_storage_that_is_away_is_one_finding(void **state)
{
    struct rig *r = *state;
    AUTO(snapshot) one = add(r, 1, false);
    AUTO(snapshot) two = add(r, 2, false);
    upload_all(r);
    char away[220];
    (void)snprintf(away, sizeof(away), "%s-away", r->nas);
    assert_int_equal(rename(r->nas, away), 0);
    r->o.storages = r->storages;
    r->o.repair = true;
    run(r);
    expect(r, 1, 0, STORAGE ": cannot be asked any further: ");
    assert_int_equal(r->report.storages_failed, 1);
    struct upload_counts counts;
    assert_int_equal(ledger_upload_counts(r->f->l, STORAGE, &counts, &r->f->e), 0);
    assert_int_equal(counts.done, 2);
    assert_int_equal(rename(away, r->nas), 0);
}

static void a_stop_ends_it(void **state)
{
    struct rig *r = *state;
    AUTO(snapshot) one = add(r, 1, false);
    AUTO_CLOSE int fd = eventfd(1, EFD_CLOEXEC);
    r->o.stop_fd = fd;
    assert_int_equal(verify_run(&r->o, &r->report, &r->f->e), -ECANCELED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_found_where_all_is_well),
        TEST(a_picture_that_is_missing_short_or_changed_is_found),
        TEST(a_copy_that_is_missing_is_drawn_again),
        TEST(a_file_of_nobody_is_listed_and_deleted_when_told_to),
        TEST(a_picture_whose_rename_is_due_belongs_to_its_row),
        TEST(only_what_lies_in_the_folder_of_a_day_is_deleted),
        TEST(what_a_storage_lost_or_spoiled_is_uploaded_again),
        TEST(a_copy_that_is_drawn_again_replaces_the_one_there),
        TEST(pictures_that_are_removed_here_are_still_compared),
        TEST(a_storage_that_is_away_is_one_finding),
        TEST(a_stop_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
