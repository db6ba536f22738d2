#include "fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/dynbuf.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "sys/db.h"

static struct db *open_db(struct fixture *f)
{
    struct db *db = NULL;
    int r = db_open(f->db, true, &db, &f->e);
    if (r < 0)
        fail_msg("%s", f->e.text);
    return db;
}

static struct db *open_table(struct fixture *f)
{
    struct db *db = open_db(f);
    int r = db_exec(db,
                    "CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b TEXT UNIQUE,"
                    " c REAL CHECK (c >= 0)) STRICT",
                    &f->e);
    if (r < 0)
        fail_msg("%s", f->e.text);
    return db;
}

static int64_t number(struct db *db, const char *sql)
{
    AUTO(db_query) q = db_query(db, sql);
    int64_t n = -1;
    struct err e;
    if (db_query_int(q, &n, &e) < 0)
        fail_msg("%s: %s", sql, e.text);
    return n;
}

static int insert(struct db *db, int64_t a, const char *b, double c, struct err *e)
{
    AUTO(db_query) q = db_query(db, "INSERT INTO t VALUES (?, ?, ?)");
    db_bind_int(q, a);
    db_bind_text_or_null(q, b);
    db_bind_real(q, c);
    return db_run(q, e);
}

static void makes_a_private_file_only_when_asked(void **state)
{
    struct fixture *f = *state;
    struct db *db = NULL;
    assert_int_equal(db_open(f->db, false, &db, &f->e), -ENOENT);
    assert_null(db);
    assert_non_null(strstr(f->e.text, f->db));
    mode_t before = umask(0);
    db = open_table(f);
    umask(before);
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char path[200];
        struct stat st;
        (void)snprintf(path, sizeof(path), "%s%s", f->db, suffixes[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_string_equal(db_path(db), f->db);
    db_close(db);
    db_close(NULL);
}

static void refuses_what_is_not_a_file(void **state)
{
    struct fixture *f = *state;
    struct db *db = NULL;
    assert_int_equal(db_open(f->folder, true, &db, &f->e), -EINVAL);
    assert_int_equal(mkfifo(f->db, 0600), 0);
    assert_int_equal(db_open(f->db, true, &db, &f->e), -EINVAL);
    assert_int_equal(db_open("/nonexistent/folder/x.db", true, &db, &f->e), -ENOENT);
}

static void is_set_up_for_data_that_must_survive(void **state)
{
    struct fixture *f = *state;
    struct db *db = open_db(f);
    AUTO(db_query) q = db_query(db, "PRAGMA journal_mode");
    assert_int_equal(db_step(q, &f->e), 1);
    assert_string_equal(db_text(q, 0), "wal");
    db_query_end(STEAL(q));
    assert_int_equal(number(db, "PRAGMA synchronous"), 2);
    assert_int_equal(number(db, "PRAGMA foreign_keys"), 1);
    assert_int_equal(number(db, "PRAGMA trusted_schema"), 0);
    assert_int_equal(number(db, "PRAGMA temp_store"), 2);
    assert_int_equal(number(db, "PRAGMA cache_size"), -256);
    db_close(db);
}

static void keeps_values_of_each_kind(void **state)
{
    struct fixture *f = *state;
    struct db *db = open_table(f);
    assert_int_equal(insert(db, INT64_MAX, "h\xc3\xa9llo", 0.25, &f->e), 0);
    assert_int_equal(insert(db, INT64_MIN, "", 1e300, &f->e), 0);
    assert_int_equal(db_changes(db), 1);
    assert_int_equal(db_last_row(db), INT64_MIN);
    AUTO(db_query) q = db_query(db, "SELECT a, b, c FROM t ORDER BY a DESC");
    assert_int_equal(db_step(q, &f->e), 1);
    assert_int_equal(db_int(q, 0), INT64_MAX);
    assert_string_equal(db_text(q, 1), "h\xc3\xa9llo");
    assert_true(db_real(q, 2) > 0.24 && db_real(q, 2) < 0.26);
    assert_int_equal(db_step(q, &f->e), 1);
    assert_true(db_is_null(q, 1));
    assert_string_equal(db_text(q, 1), "");
    assert_int_equal(db_step(q, &f->e), 0);
    db_query_end(STEAL(q));
    db_close(db);
}

static void tells_which_rule_was_broken(void **state)
{
    struct fixture *f = *state;
    struct db *db = open_table(f);
    assert_int_equal(insert(db, 1, "x", 0, &f->e), 0);
    assert_int_equal(insert(db, 1, "y", 0, &f->e), -EEXIST);
    assert_int_equal(insert(db, 2, "x", 0, &f->e), -EEXIST);
    assert_int_equal(insert(db, 3, "z", -1, &f->e), -EINVAL);
    assert_int_equal(f->e.retry, ERR_NEVER);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 1);
    db_close(db);
}

static void a_statement_that_the_tables_do_not_know_means_damage(void **state)
{
    struct fixture *f = *state;
    struct db *db = open_db(f);
    for (int i = 0; i < 2; i++) {
        AUTO(db_query) q = db_query(db, "SELECT x FROM nowhere WHERE y = ?");
        db_bind_int(q, 1);
        assert_int_equal(db_step(q, &f->e), -EUCLEAN);
        assert_non_null(strstr(f->e.text, "no such table: nowhere"));
    }
    /* Once the table is there the same text works. */
    assert_int_equal(db_exec(db, "CREATE TABLE nowhere (x, y)", &f->e), 0);
    AUTO(db_query) q = db_query(db, "SELECT x FROM nowhere WHERE y = ?");
    db_bind_int(q, 1);
    assert_int_equal(db_step(q, &f->e), 0);
    db_query_end(STEAL(q));
    db_close(db);
}

static void uses_prepared_statements_again_and_forgets_the_oldest(void **state)
{
    struct fixture *f = *state;
    struct db *db = open_table(f);
    AUTO(db_query) held = db_query(db, "SELECT 4711");
    assert_int_equal(db_step(held, &f->e), 1);
    for (int i = 0; i < 500; i++) {
        char sql[40];
        (void)snprintf(sql, sizeof(sql), "SELECT %d", i);
        assert_int_equal(number(db, sql), i);
        assert_int_equal(number(db, "SELECT -1"), -1);
    }
    assert_int_equal(db_int(held, 0), 4711); /* in use: never thrown out */
    db_query_end(STEAL(held));
    db_close(db);
}

static void rolls_back_all_or_commits_all(void **state)
{
    struct fixture *f = *state;
    struct db *db = open_table(f);
    assert_int_equal(db_begin(db, &f->e), 0);
    assert_int_equal(insert(db, 1, "a", 0, &f->e), 0);
    db_rollback(db);
    db_rollback(db);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
    assert_int_equal(db_begin(db, &f->e), 0);
    assert_int_equal(insert(db, 1, "a", 0, &f->e), 0);
    assert_int_equal(db_finish(db, -ECANCELED, &f->e), -ECANCELED);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
    assert_int_equal(db_begin(db, &f->e), 0);
    assert_int_equal(insert(db, 1, "a", 0, &f->e), 0);
    assert_int_equal(db_finish(db, 7, &f->e), 7);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 1);
    db_close(db);
}

static void closing_in_the_middle_rolls_back(void **state)
{
    struct fixture *f = *state;
    struct db *db = open_table(f);
    assert_int_equal(db_begin(db, &f->e), 0);
    assert_int_equal(insert(db, 1, "a", 0, &f->e), 0);
    db_close(db);
    db = open_table(f);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
    assert_int_equal(db_begin(db, &f->e), 0); /* the writers' queue is free as well */
    db_rollback(db);
    db_close(db);
}

static void the_last_close_leaves_one_file(void **state)
{
    struct fixture *f = *state;
    struct db *db = open_table(f);
    assert_int_equal(insert(db, 1, "a", 0, &f->e), 0);
    db_close(db);
    char wal[200];
    (void)snprintf(wal, sizeof(wal), "%s-wal", f->db);
    assert_int_equal(access(wal, F_OK), -1);
}

static void a_reader_sees_one_state(void **state)
{
    struct fixture *f = *state;
    struct db *reader = open_table(f), *writer = open_table(f);
    assert_int_equal(db_begin_read(reader, &f->e), 0);
    assert_int_equal(number(reader, "SELECT count(*) FROM t"), 0);
    assert_int_equal(insert(writer, 1, "a", 0, &f->e), 0);
    assert_int_equal(number(reader, "SELECT count(*) FROM t"), 0);
    db_end_read(reader);
    assert_int_equal(number(reader, "SELECT count(*) FROM t"), 1);
    db_close(reader);
    db_close(writer);
}

/* ---- writers ---- */

struct turn {
    struct fixture *f;
    int number;
    atomic_int *arrived;
    int *order, *at; /* touched by whoever holds the write transaction */
};

static void *take_turn(void *arg)
{
    struct turn *t = arg;
    struct err e;
    struct db *db = NULL;
    if (db_open(t->f->db, false, &db, &e) < 0)
        return NULL;
    atomic_store(t->arrived, t->number);
    if (db_begin(db, &e) == 0) {
        t->order[(*t->at)++] = t->number;
        db_rollback(db);
    }
    db_close(db);
    return NULL;
}

static void writers_of_one_process_are_all_served(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 8 };
    struct db *db = open_table(f);
    assert_int_equal(db_begin(db, &f->e), 0);
    pthread_t threads[COUNT];
    struct turn turns[COUNT];
    atomic_int arrived = -1;
    int order[COUNT], at = 0;
    for (int i = 0; i < COUNT; i++) {
        turns[i] = (struct turn){f, i, &arrived, order, &at};
        assert_int_equal(pthread_create(&threads[i], NULL, take_turn, &turns[i]), 0);
        while (atomic_load(&arrived) != i)
            (void)sched_yield();
    }
    assert_int_equal(at, 0);
    db_rollback(db);
    for (int i = 0; i < COUNT; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(at, COUNT);
    unsigned seen = 0;
    for (int i = 0; i < COUNT; i++)
        seen |= 1u << order[i];
    assert_int_equal(seen, (1u << COUNT) - 1);
    db_close(db);
}

/* Another process holds the write lock until we have asked for it; SQLite waits for it. */
static void waits_for_a_writer_of_another_process(void **state)
{
    struct fixture *f = *state;
    db_close(open_table(f));
    int ready[2], go[2];
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct err e;
        struct db *db = NULL;
        char c = 'x';
        if (db_open(f->db, false, &db, &e) < 0 || db_begin(db, &e) < 0 ||
            write(ready[1], &c, 1) != 1 || read(go[0], &c, 1) != 1)
            _exit(1);
        int r = insert(db, 1, "child", 0, &e);
        _exit(db_finish(db, r, &e) == 0 ? 0 : 1);
    }
    char c;
    assert_int_equal(read(ready[0], &c, 1), 1);
    struct db *db = open_db(f);
    assert_int_equal(write(go[1], "x", 1), 1);
    assert_int_equal(db_begin(db, &f->e), 0);
    assert_int_equal(insert(db, 2, "parent", 0, &f->e), 0);
    assert_int_equal(db_commit(db, &f->e), 0);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 2);
    db_close(db);
    for (int i = 0; i < 2; i++) {
        (void)close(ready[i]);
        (void)close(go[i]);
    }
}

/* ---- full disk ---- */

static void a_full_disk_rolls_back_and_works_again_later(void **state)
{
    struct fixture *f = *state;
    struct db *db = open_table(f);
    assert_int_equal(insert(db, 1, "a", 0, &f->e), 0);
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    struct rlimit before, small;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int r = 0;
    int64_t rows = 1;
    for (int i = 0; i < 1000 && r == 0; i++) {
        text[0] = (char)('a' + i % 26);
        text[1] = (char)('a' + i / 26);
        r = db_begin(db, &f->e);
        assert_int_equal(r, 0);
        r = insert(db, 100 + i, text, 0, &f->e);
        r = db_finish(db, r, &f->e);
        rows += r == 0;
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    if (r != -ENOSPC)
        fail_msg("%s", f->e.text);
    assert_int_equal(f->e.retry, ERR_LATER);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), rows);
    assert_int_equal(db_begin(db, &f->e), 0);
    assert_int_equal(insert(db, 5000, "later", 0, &f->e), 0);
    assert_int_equal(db_commit(db, &f->e), 0);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), rows + 1);
    db_close(db);
}

static void a_limit_of_the_database_is_a_full_disk_too(void **state)
{
    struct fixture *f = *state;
    struct db *db = open_table(f);
    assert_int_equal(number(db, "PRAGMA max_page_count = 8"), 8);
    char text[3000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(db_begin(db, &f->e), 0);
    int r = 0;
    for (int i = 0; i < 100 && r == 0; i++) {
        text[0] = (char)('a' + i);
        r = insert(db, 1 + i, text, 0, &f->e);
    }
    assert_int_equal(r, -ENOSPC);
    assert_int_equal(db_finish(db, r, &f->e), -ENOSPC);
    assert_non_null(strstr(f->e.text, "disk full"));
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
    assert_int_equal(insert(db, 1, "small", 0, &f->e), 0);
    db_close(db);
}

static void a_value_beyond_the_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    struct db *db = open_table(f);
    size_t size = 2 * 1024 * 1024;
    char *big = malloc(size + 1);
    assert_non_null(big);
    memset(big, 'x', size);
    big[size] = '\0';
    assert_int_equal(insert(db, 1, big, 0, &f->e), -E2BIG);
    assert_int_equal(insert(db, 1, "small", 0, &f->e), 0); /* the statement is fit for use again */
    free(big);
    db_close(db);
}

/* ---- groups ---- */

static void a_group_commits_its_parts_together(void **state)
{
    struct fixture *f = *state;
    struct db *db = open_table(f), *other = open_db(f);
    assert_int_equal(db_group_begin(db, &f->e), 0);
    for (int64_t i = 1; i <= 3; i++) {
        assert_int_equal(db_begin(db, &f->e), 0);
        assert_int_equal(insert(db, i, NULL, 0, &f->e), 0);
        assert_int_equal(db_finish(db, 0, &f->e), 0);
    }
    assert_int_equal(number(other, "SELECT count(*) FROM t"), 0); /* not yet */
    assert_int_equal(db_group_end(db, &f->e), 0);
    assert_int_equal(number(other, "SELECT count(*) FROM t"), 3);
    assert_int_equal(db_begin(other, &f->e), 0); /* its turn is given back */
    db_rollback(other);
    db_close(db);
    db_close(other);
}

static void a_part_that_fails_is_undone_alone(void **state)
{
    struct fixture *f = *state;
    struct db *db = open_table(f);
    assert_int_equal(db_group_begin(db, &f->e), 0);
    for (int64_t i = 1; i <= 3; i++) {
        assert_int_equal(db_begin(db, &f->e), 0);
        assert_int_equal(insert(db, i, NULL, 0, &f->e), 0);
        int r = i == 2 ? insert(db, 20, NULL, -1, &f->e) : 0; /* against a rule */
        assert_int_equal(db_finish(db, r, &f->e), r);
    }
    assert_int_equal(db_group_end(db, &f->e), 0);
    assert_int_equal(number(db, "SELECT sum(a) FROM t"), 4);
    db_close(db);
}

static void an_empty_group_is_fine_and_an_open_one_ends_with_its_connection(void **state)
{
    struct fixture *f = *state;
    struct db *db = open_table(f);
    assert_int_equal(db_group_begin(db, &f->e), 0);
    assert_int_equal(db_group_end(db, &f->e), 0);
    assert_int_equal(db_group_begin(db, &f->e), 0);
    assert_int_equal(db_begin(db, &f->e), 0);
    assert_int_equal(insert(db, 1, NULL, 0, &f->e), 0);
    assert_int_equal(db_finish(db, 0, &f->e), 0);
    db_close(db);
    db = open_table(f);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
    assert_int_equal(db_begin(db, &f->e), 0); /* nobody waits for the dead */
    db_rollback(db);
    db_close(db);
}

static void a_group_that_had_to_be_undone_says_so(void **state)
{
    struct fixture *f = *state;
    struct db *db = open_table(f);
    assert_int_equal(db_group_begin(db, &f->e), 0);
    assert_int_equal(db_begin(db, &f->e), 0);
    assert_int_equal(insert(db, 1, NULL, 0, &f->e), 0);
    assert_int_equal(db_finish(db, 0, &f->e), 0);
    assert_int_equal(db_exec(db, "ROLLBACK", &f->e), 0); /* as SQLite does when the disk is full */
    assert_int_equal(db_begin(db, &f->e), -EIO);
    assert_int_equal(db_group_end(db, &f->e), -EIO);
    assert_int_equal(f->e.retry, ERR_LATER);
    assert_int_equal(db_begin(db, &f->e), 0); /* and life goes on */
    assert_int_equal(insert(db, 2, NULL, 0, &f->e), 0);
    assert_int_equal(db_finish(db, 0, &f->e), 0);
    assert_int_equal(number(db, "SELECT sum(a) FROM t"), 2);
    db_close(db);
}

/* The value of one line of the page. */
static double shown(const char *line)
{
    AUTO_DONE(dynbuf) page = {0};
    dynbuf_init(&page, 1 << 20);
    metrics_render(&page);
    const char *at = strstr(dynbuf_str(&page), line);
    return at ? strtod(at + strlen(line), NULL) : -1;
}

#define COMPLETE "snapshotd_ledger_checkpoints_total{result=\"complete\"} "
#define PARTIAL "snapshotd_ledger_checkpoints_total{result=\"partial\"} "

static void write_much(struct fixture *f, struct db *db, int from, int count)
{
    AUTO_FREE char *text = xcalloc(1, 8192);
    for (int i = from; i < from + count; i++) {
        memset(text, 'x', 8000);
        (void)snprintf(text + 8000, 32, "%d", i);
        assert_int_equal(db_begin(db, &f->e), 0);
        assert_int_equal(insert(db, i, text, 0, &f->e), 0);
        assert_int_equal(db_finish(db, 0, &f->e), 0);
    }
}

/* Our hook stands where SQLite's own checkpoints were. */
static void the_log_is_moved_into_the_database_and_that_is_counted(void **state)
{
    struct fixture *f = *state;
    db_register_metrics();
    struct db *db = open_table(f);
    double complete = MAX(shown(COMPLETE), 0), partial = MAX(shown(PARTIAL), 0);
    double commits = shown("snapshotd_ledger_commit_seconds_count ");
    write_much(f, db, 0, 600); /* some 5,000 pages of log */
    assert_true(shown(COMPLETE) >= complete + 2);
    assert_true(shown("snapshotd_ledger_commit_seconds_count ") == commits + 600);
    assert_true(shown("snapshotd_ledger_checkpoint_seconds_count ") > 0);
    char path[200];
    struct stat st;
    (void)snprintf(path, sizeof(path), "%s-wal", f->db);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < 8 << 20);

    struct db *reader = open_db(f); /* one that needs what was before */
    assert_int_equal(db_begin_read(reader, &f->e), 0);
    assert_int_equal(number(reader, "SELECT count(*) FROM t"), 600);
    write_much(f, db, 600, 200);
    assert_true(shown(PARTIAL) > partial);
    db_end_read(reader);
    db_close(reader);
    db_close(db);
}

static void failures_are_counted_by_reason(void **state)
{
    struct fixture *f = *state;
    db_register_metrics();
    struct db *db = open_table(f);
    double before = shown("snapshotd_ledger_failures_total{reason=\"damaged\"} ");
    assert_true(before >= 0); /* there from the start */
    assert_true(shown("snapshotd_ledger_failures_total{reason=\"full\"} ") >= 0);
    assert_int_equal(db_exec(db, "SELECT * FROM nothing", &f->e), -EUCLEAN);
    assert_true(shown("snapshotd_ledger_failures_total{reason=\"damaged\"} ") == before + 1);
    assert_int_equal(insert(db, 1, "one", 0, &f->e), 0);
    assert_int_equal(insert(db, 1, "one", 0, &f->e), -EEXIST); /* an answer, no failure */
    assert_true(shown("snapshotd_ledger_failures_total{reason=\"damaged\"} ") == before + 1);
    db_close(db);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup_folder, teardown)
    const struct CMUnitTest tests[] = {
        CASE(makes_a_private_file_only_when_asked),
        CASE(refuses_what_is_not_a_file),
        CASE(is_set_up_for_data_that_must_survive),
        CASE(keeps_values_of_each_kind),
        CASE(tells_which_rule_was_broken),
        CASE(a_statement_that_the_tables_do_not_know_means_damage),
        CASE(uses_prepared_statements_again_and_forgets_the_oldest),
        CASE(rolls_back_all_or_commits_all),
        CASE(closing_in_the_middle_rolls_back),
        CASE(the_last_close_leaves_one_file),
        CASE(a_reader_sees_one_state),
        CASE(writers_of_one_process_are_all_served),
        CASE(waits_for_a_writer_of_another_process),
        CASE(a_full_disk_rolls_back_and_works_again_later),
        CASE(a_limit_of_the_database_is_a_full_disk_too),
        CASE(a_value_beyond_the_limit_is_refused),
        CASE(a_group_commits_its_parts_together),
        CASE(a_part_that_fails_is_undone_alone),
        CASE(an_empty_group_is_fine_and_an_open_one_ends_with_its_connection),
        CASE(a_group_that_had_to_be_undone_says_so),
        CASE(the_log_is_moved_into_the_database_and_that_is_counted),
        CASE(failures_are_counted_by_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
