/* What the ledger says to files that are not as it left them, and to those of other versions. */

#include "fixture.h"

#include <fcntl.h>

#include "base/fsutil.h"
#include "sys/db.h"

/* A ledger with some hundred rows, closed. */
static void fill(struct fixture *f)
{
    assert_int_equal(ledger_open(f->db, &f->l, &f->e), 0);
    static const char *const labels[] = {"person", "dog"};
    static const float scores[] = {0.9f, 0.5f};
    static const char *const destinations[] = {"console", NULL};
    for (uint64_t n = 1; n <= 120; n++) {
        AUTO(snapshot) s = make_snapshot(n, "porch");
        assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
        struct verdict v = make_verdict(labels, scores, 2);
        assert_int_equal(
            ledger_snapshot_examined(f->l, s, &v, NULL, NULL, destinations, NULL, 0, &f->e), 0);
        verdict_done(&v);
    }
    ledger_close(f->l);
    f->l = NULL;
}

static void overwrite(const char *path, off_t at, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, size, at), (ssize_t)size);
    (void)close(fd);
}

static off_t size_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void write_whole(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    (void)close(fd);
}

static void assert_says_how_to_go_on(struct fixture *f)
{
    assert_int_equal(f->e.code, -EUCLEAN);
    assert_int_equal(f->e.retry, ERR_NEVER);
    assert_non_null(strstr(f->e.text, f->db));
    assert_non_null(strstr(f->e.text, "is damaged"));
    assert_non_null(strstr(f->e.text, "snapshotd integrity --database"));
    assert_non_null(strstr(f->e.text, "start fresh"));
}

static void assert_refused(struct fixture *f, const char *words)
{
    assert_int_equal(ledger_open(f->db, &f->l, &f->e), -EUCLEAN);
    assert_null(f->l);
    assert_says_how_to_go_on(f);
    if (strstr(f->e.text, words) == NULL)
        fail_msg("no \"%s\" in: %s", words, f->e.text);
}

static void recognises_a_file_that_is_no_database(void **state)
{
    struct fixture *f = *state;
    char garbage[8192];
    memset(garbage, 'g', sizeof(garbage));
    write_whole(f->db, garbage, sizeof(garbage));
    assert_refused(f, "file is not a database");
}

static void recognises_a_damaged_head(void **state)
{
    struct fixture *f = *state;
    fill(f);
    overwrite(f->db, 0, "SQLite format 9", 15);
    assert_refused(f, "file is not a database");
}

static void recognises_a_damaged_schema(void **state)
{
    struct fixture *f = *state;
    fill(f);
    char zero[3900] = {0};
    overwrite(f->db, 100, zero, sizeof(zero));
    assert_refused(f, "malformed");
}

static void recognises_a_truncated_file(void **state)
{
    struct fixture *f = *state;
    fill(f);
    assert_int_equal(truncate(f->db, size_of(f->db) / 2), 0);
    assert_refused(f, "malformed");
}

static void an_empty_file_is_a_new_ledger(void **state)
{
    struct fixture *f = *state;
    write_whole(f->db, "", 0);
    assert_int_equal(ledger_open(f->db, &f->l, &f->e), 0);
    assert_sound(f);
}

/* Each page in turn is overwritten: reading says damage or works, the check finds it, and nothing
 * crashes. */
static void any_overwritten_page_is_an_error_and_never_a_crash(void **state)
{
    struct fixture *f = *state;
    fill(f);
    off_t pages = size_of(f->db) / 4096;
    AUTO(blob) whole = NULL;
    assert_int_equal(fs_read_blob(AT_FDCWD, f->db, 10000000, &whole, &f->e), 0);
    char garbage[4096];
    for (size_t i = 0; i < sizeof(garbage); i++)
        garbage[i] = (char)(i * 7 + 13);
    assert_true(pages > 20);
    int found = 0;
    for (off_t page = 1; page < pages; page++) {
        write_whole(f->db, whole->data, whole->size);
        overwrite(f->db, page * 4096, garbage, sizeof(garbage));
        int r = ledger_open(f->db, &f->l, &f->e);
        if (r < 0) {
            assert_int_equal(r, -EUCLEAN);
            found++;
            continue;
        }
        struct dynbuf report;
        dynbuf_init(&report, 65536);
        int n = ledger_integrity(f->l, &report, &f->e);
        if (n < 0)
            assert_says_how_to_go_on(f);
        found += n != 0;
        dynbuf_done(&report);
        struct ledger_page_key key = {0};
        struct snapshot *batch[16];
        do {
            n = ledger_snapshot_page(f->l, NULL, key, batch, 16, &f->e);
            for (int i = 0; i < n; i++) {
                key = (struct ledger_page_key){batch[i]->event_at, batch[i]->row};
                struct verdict v;
                r = ledger_verdict_get(f->l, batch[i]->id, &v, &f->e);
                if (r == 0)
                    verdict_done(&v);
                else
                    assert_true(r == -EUCLEAN || r == -ENOENT);
                snapshot_unref(batch[i]);
            }
        } while (n > 0);
        if (n < 0)
            assert_says_how_to_go_on(f);
        struct outbox_item items[8];
        n = ledger_outbox_due(f->l, "console", ledger_now(), items, 8, &f->e);
        assert_true(n >= 0 || n == -EUCLEAN);
        AUTO(snapshot) s = make_snapshot(1000, "porch");
        r = ledger_snapshot_add(f->l, s, &f->e);
        assert_true(r == 0 || r == -EUCLEAN || r == -EEXIST || r == -ENOTUNIQ || r == -EINVAL);
        ledger_close(f->l);
        f->l = NULL;
    }
    assert_true(found >= pages - 4); /* a page may be free */
}

/* Rescues f->db into a new file beside it and opens that. */
static struct ledger_rescue rescue(struct fixture *f)
{
    char to[200];
    (void)snprintf(to, sizeof(to), "%s/rescued.db", f->folder);
    (void)unlink(to);
    struct ledger_rescue saved = {0};
    if (ledger_rescue(f->db, to, &saved, &f->e) < 0)
        fail_msg("%s", f->e.text);
    assert_int_equal(ledger_rescue(f->db, to, &saved, &f->e), -EEXIST);
    assert_int_equal(ledger_open(to, &f->l, &f->e), 0);
    assert_sound(f);
    struct ledger_counts c;
    assert_int_equal(ledger_counts(f->l, &c, &f->e), 0);
    assert_int_equal(c.snapshots, saved.snapshots);
    struct ledger_page_key key = {0};
    for (;;) { /* each row that is left can be read */
        struct snapshot *s = NULL;
        int n = ledger_snapshot_page(f->l, NULL, key, &s, 1, &f->e);
        assert_true(n >= 0);
        if (n == 0)
            break;
        struct verdict v;
        assert_int_equal(ledger_verdict_get(f->l, s->id, &v, &f->e), 0);
        verdict_done(&v);
        key = (struct ledger_page_key){s->event_at, s->row};
        snapshot_unref(s);
    }
    ledger_close(f->l);
    f->l = NULL;
    return saved;
}

static void rescues_everything_of_a_good_file(void **state)
{
    struct fixture *f = *state;
    fill(f);
    struct ledger_rescue saved = rescue(f);
    assert_int_equal(saved.snapshots, 120);
    assert_int_equal(saved.gaps, 0);
    /* 120 pictures with two detections and an outbox row each, and the names. */
    assert_int_equal(saved.rows, 120 * 4 + 6);
}

static void rescues_most_of_a_damaged_file_and_leaves_it_alone(void **state)
{
    struct fixture *f = *state;
    fill(f);
    off_t pages = size_of(f->db) / 4096;
    AUTO(blob) whole = NULL;
    assert_int_equal(fs_read_blob(AT_FDCWD, f->db, 10000000, &whole, &f->e), 0);
    char garbage[4096];
    memset(garbage, 0xa5, sizeof(garbage));
    int64_t best = 0, sum = 0;
    for (off_t page = 4; page < pages; page++) { /* the first ones hold the schema */
        write_whole(f->db, whole->data, whole->size);
        overwrite(f->db, page * 4096, garbage, sizeof(garbage));
        struct ledger_rescue saved = rescue(f);
        best = MAX(best, saved.snapshots);
        sum += saved.snapshots;
        AUTO(blob) after = NULL;
        assert_int_equal(fs_read_blob(AT_FDCWD, f->db, 10000000, &after, &f->e), 0);
        assert_int_equal(after->size, whole->size);
        assert_memory_equal(after->data + page * 4096, garbage, sizeof(garbage));
    }
    assert_int_equal(best, 120);
    assert_true(sum / (pages - 4) > 100);
    write_whole(f->db, whole->data, whole->size * 3 / 4 / 4096 * 4096); /* truncated */
    (void)rescue(f);
}

static void rows_in_impossible_states_are_damage(void **state)
{
    struct fixture *f = *state;
    static const char *const updates[] = {
        "UPDATE snapshots SET source = 7 WHERE row = 1",
        "UPDATE snapshots SET path = '../../etc/passwd' WHERE row = 1",
        "UPDATE snapshots SET id = upper(replace(id, '0', 'g')) WHERE row = 1",
        "UPDATE snapshots SET format = 'a format that is too long' WHERE row = 1",
        "UPDATE snapshots SET width = -5 WHERE row = 1",
        "UPDATE cameras SET name = printf('%200d', 1) WHERE id = 1",
    };
    for (size_t i = 0; i < ARRAY_LEN(updates); i++) {
        (void)unlink(f->db);
        fill(f);
        struct db *db = NULL;
        assert_int_equal(db_open(f->db, false, &db, &f->e), 0);
        assert_int_equal(db_exec(db, updates[i], &f->e), 0);
        db_close(db);
        assert_int_equal(ledger_open(f->db, &f->l, &f->e), 0);
        struct ledger_page_key key = {.event_at = {1000001}, .row = 0};
        struct snapshot *page[2] = {NULL, NULL};
        assert_int_equal(ledger_snapshot_page(f->l, NULL, key, page, 2, &f->e), -EUCLEAN);
        assert_null(page[0]);
        assert_says_how_to_go_on(f);
        ledger_close(f->l);
        f->l = NULL;
    }
}

static void the_check_finds_rows_that_do_not_fit_together(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *update, *finding;
    } cases[] = {
        {"DELETE FROM detections WHERE snapshot = 3 AND ordinal = 1",
         "snapshots whose detections do not match their count: 1, the first is "
         "00000000000000000000000000000003"},
        {"UPDATE outbox SET state = 1 WHERE snapshot = 4",
         "outbox rows finished without a time: 1"},
        {"UPDATE sightings SET event_at = 5 WHERE snapshot = 5", "sightings at another time"},
        {"INSERT INTO triggers (id, camera, device, origin, state, event_at, accepted_at, attempts,"
         " not_before) VALUES (printf('%032d', 6), 1, 1, 0, 0, 0, 0, 0, 0)",
         "triggers not done though their snapshot is recorded: 1"},
        {"PRAGMA foreign_keys = OFF; DELETE FROM snapshots WHERE row = 9",
         "outbox row 9 refers to a missing row of snapshots"},
        {"UPDATE snapshots SET annotated_path = (SELECT path FROM snapshots WHERE row = 2)"
         " WHERE row = 1",
         "paths that two snapshots use: 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void)unlink(f->db);
        fill(f);
        struct db *db = NULL;
        assert_int_equal(db_open(f->db, false, &db, &f->e), 0);
        if (db_exec(db, cases[i].update, &f->e) < 0)
            fail_msg("%s", f->e.text);
        db_close(db);
        assert_int_equal(ledger_open(f->db, &f->l, &f->e), 0);
        struct dynbuf report;
        dynbuf_init(&report, 65536);
        assert_true(ledger_integrity(f->l, &report, &f->e) > 0);
        if (strstr(dynbuf_str(&report), cases[i].finding) == NULL)
            fail_msg("no \"%s\" in: %s", cases[i].finding, dynbuf_str(&report));
        dynbuf_done(&report);
        ledger_close(f->l);
        f->l = NULL;
    }
}

/* Somebody deletes the log while the program is down after a crash: what was moved into the
 * database before is there, and whole. */
static void a_lost_log_costs_rows_but_not_the_database(void **state)
{
    struct fixture *f = *state;
    fill(f);
    char copy[200], wal[200];
    (void)snprintf(copy, sizeof(copy), "%s/copy.db", f->folder);
    assert_int_equal(ledger_open(f->db, &f->l, &f->e), 0);
    AUTO(snapshot) s = make_snapshot(500, "porch");
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    AUTO(blob) whole = NULL;
    assert_int_equal(fs_read_blob(AT_FDCWD, f->db, 10000000, &whole, &f->e), 0);
    (void)snprintf(wal, sizeof(wal), "%s-wal", f->db);
    assert_true(size_of(wal) > 0);
    write_whole(copy, whole->data, whole->size); /* the file without its log */
    ledger_close(f->l);
    f->l = NULL;
    assert_int_equal(ledger_open(copy, &f->l, &f->e), 0);
    assert_int_equal(ledger_snapshot_exists(f->l, s->id, &f->e), 0);
    struct ledger_counts c;
    assert_int_equal(ledger_counts(f->l, &c, &f->e), 0);
    assert_int_equal(c.snapshots, 120);
    assert_sound(f);
}

static void a_torn_log_loses_only_its_tail(void **state)
{
    struct fixture *f = *state;
    char copy[200], copy_wal[200], wal[200];
    (void)snprintf(copy, sizeof(copy), "%s/copy.db", f->folder);
    (void)snprintf(copy_wal, sizeof(copy_wal), "%s/copy.db-wal", f->folder);
    (void)snprintf(wal, sizeof(wal), "%s-wal", f->db);
    assert_int_equal(ledger_open(f->db, &f->l, &f->e), 0);
    for (uint64_t n = 1; n <= 10; n++) {
        AUTO(snapshot) s = make_snapshot(n, "porch");
        assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    }
    AUTO(blob) whole = NULL;
    AUTO(blob) log = NULL;
    assert_int_equal(fs_read_blob(AT_FDCWD, f->db, 10000000, &whole, &f->e), 0);
    assert_int_equal(fs_read_blob(AT_FDCWD, wal, 10000000, &log, &f->e), 0);
    ledger_close(f->l);
    f->l = NULL;
    int64_t before = INT64_MAX;
    for (size_t cut = 0; cut < log->size; cut += log->size / 16) {
        write_whole(copy, whole->data, whole->size);
        write_whole(copy_wal, log->data, log->size - cut);
        assert_int_equal(ledger_open(copy, &f->l, &f->e), 0);
        struct ledger_counts c;
        assert_int_equal(ledger_counts(f->l, &c, &f->e), 0);
        assert_true(c.snapshots <= before);
        before = c.snapshots;
        assert_sound(f);
        ledger_close(f->l);
        f->l = NULL;
        (void)unlink(copy);
    }
}

static void a_folder_without_write_permission_says_so(void **state)
{
    struct fixture *f = *state;
    fill(f);
    if (geteuid() == 0) {
        /* Root may write anywhere; the file system still can say no. */
        if (mount(f->folder, f->folder, NULL, MS_BIND, NULL) < 0)
            skip();
        if (mount(NULL, f->folder, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0) {
            (void)umount2(f->folder, MNT_DETACH);
            skip();
        }
    } else {
        assert_int_equal(chmod(f->folder, 0500), 0);
    }
    int r = ledger_open(f->db, &f->l, &f->e);
    if (r != -EROFS && r != -EACCES)
        fail_msg("%d: %s", r, f->e.text);
    assert_int_equal(f->e.retry, ERR_NEVER);
    assert_non_null(strstr(f->e.text, f->db));
    assert_non_null(strstr(f->e.text, "writable"));
    (void)umount2(f->folder, MNT_DETACH);
    assert_int_equal(chmod(f->folder, 0700), 0);
}

static void refuses_the_database_of_another_program(void **state)
{
    struct fixture *f = *state;
    struct db *db = NULL;
    assert_int_equal(db_open(f->db, true, &db, &f->e), 0);
    assert_int_equal(db_exec(db, "CREATE TABLE theirs (x)", &f->e), 0);
    db_close(db);
    assert_int_equal(ledger_open(f->db, &f->l, &f->e), -EUCLEAN);
    assert_non_null(strstr(f->e.text, "belongs to another program"));
}

static void refuses_a_newer_version_and_leaves_it_alone(void **state)
{
    struct fixture *f = *state;
    fill(f);
    struct db *db = NULL;
    assert_int_equal(db_open(f->db, false, &db, &f->e), 0);
    char sql[60];
    (void)snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", LEDGER_VERSION + 1);
    assert_int_equal(db_exec(db, sql, &f->e), 0);
    db_close(db);
    assert_int_equal(ledger_open(f->db, &f->l, &f->e), -ENOTSUP);
    assert_non_null(strstr(f->e.text, "knows up to"));
    assert_int_equal(db_open(f->db, false, &db, &f->e), 0);
    AUTO(db_query) q = db_query(db, "PRAGMA user_version");
    int64_t version = 0;
    assert_int_equal(db_query_int(q, &version, &f->e), 0);
    db_query_end(STEAL(q));
    assert_int_equal(version, LEDGER_VERSION + 1);
    db_close(db);
}

/* Each file tests/unit/ledger/versions/<n>.sql is a ledger as version n wrote it. */
static void make_version(struct fixture *f, const char *source, int version)
{
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/tests/unit/ledger/versions/%d.sql", source, version);
    AUTO(blob) sql = NULL;
    if (fs_read_blob(AT_FDCWD, path, 60000, &sql, &f->e) < 0)
        fail_msg("%s", f->e.text);
    (void)unlink(f->db);
    struct db *db = NULL;
    assert_int_equal(db_open(f->db, true, &db, &f->e), 0);
    AUTO_FREE char *text = strndup((const char *)sql->data, sql->size);
    if (db_exec(db, text, &f->e) < 0)
        fail_msg("%s", f->e.text);
    db_close(db);
}

static void rescues_ledgers_of_every_version(void **state)
{
    struct fixture *f = *state;
    const char *source = getenv("SOURCE_ROOT");
    if (source == NULL)
        skip();
    for (int version = 1; version <= LEDGER_VERSION; version++) {
        make_version(f, source, version);
        struct ledger_rescue saved = {0};
        char to[200];
        (void)snprintf(to, sizeof(to), "%s/rescued-%d.db", f->folder, version);
        if (ledger_rescue(f->db, to, &saved, &f->e) < 0)
            fail_msg("%s", f->e.text);
        assert_int_equal(saved.gaps, 0);
        assert_int_equal(saved.snapshots, 2);
        assert_int_equal(ledger_open(to, &f->l, &f->e), 0);
        assert_sound(f);
        struct ledger_counts c;
        assert_int_equal(ledger_counts(f->l, &c, &f->e), 0);
        assert_int_equal(c.triggers_pending, 1);
        assert_int_equal(c.outbox_pending, 1);
        ledger_close(f->l);
        f->l = NULL;
    }
}

static void opens_ledgers_of_every_version(void **state)
{
    struct fixture *f = *state;
    const char *source = getenv("SOURCE_ROOT");
    if (source == NULL)
        skip();
    for (int version = 1; version <= LEDGER_VERSION; version++) {
        make_version(f, source, version);
        if (ledger_open(f->db, &f->l, &f->e) < 0)
            fail_msg("%s", f->e.text);
        assert_sound(f);
        struct ledger_counts c;
        assert_int_equal(ledger_counts(f->l, &c, &f->e), 0);
        assert_int_equal(c.snapshots, 2);
        assert_int_equal(c.stored, 1);
        assert_int_equal(c.persons, 1);
        assert_int_equal(c.outbox_pending, 1);
        assert_int_equal(c.triggers_pending, 1);
        ledger_close(f->l);
        f->l = NULL;
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup_folder, teardown)
    const struct CMUnitTest tests[] = {
        CASE(recognises_a_file_that_is_no_database),
        CASE(recognises_a_damaged_head),
        CASE(recognises_a_damaged_schema),
        CASE(recognises_a_truncated_file),
        CASE(an_empty_file_is_a_new_ledger),
        CASE(any_overwritten_page_is_an_error_and_never_a_crash),
        CASE(rescues_everything_of_a_good_file),
        CASE(rescues_most_of_a_damaged_file_and_leaves_it_alone),
        CASE(rows_in_impossible_states_are_damage),
        CASE(the_check_finds_rows_that_do_not_fit_together),
        CASE(a_lost_log_costs_rows_but_not_the_database),
        CASE(a_torn_log_loses_only_its_tail),
        CASE(a_folder_without_write_permission_says_so),
        CASE(refuses_the_database_of_another_program),
        CASE(refuses_a_newer_version_and_leaves_it_alone),
        CASE(rescues_ledgers_of_every_version),
        CASE(opens_ledgers_of_every_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
