#include "sys/db.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"

/* A commit takes milliseconds, a checkpoint on a slow card some hundred; who waits longer than this
 * should tell its caller, which comes back later. */
#define BUSY_TIMEOUT_MS 10000
/* Distinct statements of the program, with room for the combinations of the page filter. */
#define QUERY_CACHE_MAX 96
/* Per connection, and there is one per thread, ten and more; the system caches the file as well. */
#define CACHE_KIB 256
/* 4 MB of log between checkpoints: rare enough to cost little, short enough to read at a start. */
#define CHECKPOINT_PAGES 1000
#define WAL_KEEP_BYTES (8 * 1024 * 1024)
/* The longest text or row that we write is far below; a damaged length cannot ask for more. */
#define LENGTH_MAX (1024 * 1024)

struct write_lock;

struct db {
    sqlite3 *handle;
    char *path;
    struct write_lock *lock;
    bool writing;
    bool group;               /* several transactions as parts of one */
    bool full;                /* the disk was, in the present transaction */
    struct db_query *queries; /* most recently used first */
    size_t query_count;
};

struct db_query {
    struct db *db;
    struct db_query *next;
    char *sql;
    sqlite3_stmt *stmt; /* NULL when preparing failed */
    int failed;         /* SQLite's code of a failed prepare or bind */
    int bound;
    bool busy; /* between db_query() and db_query_end() */
};

/* Writers of one file in this process, first come first served. */
struct waiter {
    pthread_cond_t turn;
    bool granted;
    struct waiter *next;
};
struct write_lock {
    dev_t dev;
    ino_t ino;
    unsigned refs;
    bool held;
    struct waiter *first;
    struct write_lock *next;
};
static struct metric commit_seconds = {
    .name = "snapshotd_ledger_commit_seconds",
    .kind = METRIC_HISTOGRAM,
    .help = "Commits of the ledger, with their wait for the disk and a checkpoint that fell due"};
static struct metric wait_seconds = {.name = "snapshotd_ledger_wait_seconds",
                                     .kind = METRIC_HISTOGRAM,
                                     .help =
                                         "What a thread waits for its turn to write to the ledger"};
static struct metric checkpoint_seconds = {.name = "snapshotd_ledger_checkpoint_seconds",
                                           .kind = METRIC_HISTOGRAM,
                                           .help =
                                               "Moving the ledger's log (WAL) into the database"};
static struct metric checkpoints = {
    .name = "snapshotd_ledger_checkpoints_total",
    .kind = METRIC_COUNTER,
    .label = "result",
    .help = "Checkpoints of the ledger: complete, partial (a reader still needs the log), failed"};
static struct metric failures = {
    .name = "snapshotd_ledger_failures_total",
    .kind = METRIC_COUNTER,
    .label = "reason",
    .help = "Calls that the ledger failed: full, busy, memory, io, damaged, readonly"};

static const struct {
    int code;
    const char *reason;
} reasons[] = {{-ENOSPC, "full"}, {-EBUSY, "busy"},      {-ENOMEM, "memory"},
               {-EIO, "io"},      {-EUCLEAN, "damaged"}, {-EROFS, "readonly"}};

static pthread_mutex_t locks_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct write_lock *locks;

static void prepare_library(void);
static int open_handle(struct db *db, bool create, struct err *e);
static int create_private(const char *path, bool create, struct err *e);
static int check_writable(const char *path, struct err *e);
static int harden(struct db *db, struct err *e);
static int configure(struct db *db, struct err *e);
static int expect_pragma(struct db *db, const char *sql, const char *wanted, struct err *e);
static struct write_lock *lock_ref(const char *path);
static void lock_unref(struct write_lock *lock);
static int lock_acquire(struct write_lock *lock, struct err *e);
static void lock_release(struct write_lock *lock);
static void leave_queue(struct write_lock *lock, const struct waiter *w);
static void give_room(struct db *db);
static void reset_queries(struct db *db);
static struct db_query *cache_find(struct db *db, const char *sql);
static struct db_query *cache_add(struct db *db, const char *sql);
static void query_free(struct db_query *q);
static void bind_failed(struct db_query *q, int code);
static int fail(struct db *db, int code, struct err *e);
static int describe(struct db *db, int code, struct err *e);
static int on_wal(void *arg, sqlite3 *handle, const char *name, int pages);
static void count_failure(int code);

/* ---- the connection ---- */

int db_open(const char *path, bool create, struct db **ret, struct err *e)
{
    struct db *db = xcalloc(1, sizeof(*db));
    db->path = xstrdup(path);
    /* One opening at a time: closing any descriptor of a file drops the process's locks on it, so
     * the moment in which an absent file is made must not meet another thread's connection. */
    pthread_mutex_lock(&locks_mutex);
    int r = open_handle(db, create, e);
    pthread_mutex_unlock(&locks_mutex);
    if (r == 0)
        r = harden(db, e);
    if (r == 0)
        r = configure(db, e);
    if (r < 0) {
        db_close(db);
        return r;
    }
    *ret = db;
    return 0;
}

int db_open_damaged(const char *path, struct db **ret, struct err *e)
{
    AUTO(db) db = xcalloc(1, sizeof(*db));
    db->path = xstrdup(path);
    pthread_mutex_lock(&locks_mutex);
    int r = open_handle(db, false, e);
    pthread_mutex_unlock(&locks_mutex);
    if (r == 0)
        r = harden(db, e);
    if (r < 0)
        return r;
    /* A file that is shorter than its head says is read only in this mode. */
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1, NULL);
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    r = db_exec(db, "PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0", e);
    if (r == 0)
        *ret = STEAL(db);
    return r;
}

void db_close(struct db *db)
{
    if (db == NULL)
        return;
    if (db->handle != NULL)
        db_rollback(db);
    while (db->queries != NULL) {
        struct db_query *q = db->queries;
        db->queries = q->next;
        query_free(q);
    }
    /* The last connection that closes also moves the log into the database and removes it. */
    int code = sqlite3_close(db->handle);
    assert(code == SQLITE_OK); /* busy would mean a statement that nobody gave back */
    lock_unref(db->lock);
    free(db->path);
    free(db);
}

const char *db_path(const struct db *db)
{
    return db->path;
}

void db_release_memory(struct db *db)
{
    (void)sqlite3_db_release_memory(db->handle); /* always SQLITE_OK */
}

int db_exec(struct db *db, const char *sql, struct err *e)
{
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? 0 : fail(db, code, e);
}

/* SQLite's defaults suit a program with one connection. Of our dozen each would hold, touched or
 * not, 87 kB for its first 20 pages and 48 kB for the nodes of statements while they are compiled;
 * here both come from malloc() when they are needed. Its own sums of all memory cost a lock for
 * each allocation, and nobody asks for them. Before the first connection; the caller holds
 * locks_mutex. */
static void prepare_library(void)
{
    static bool done;
    if (done)
        return;
    done = true;
    /* They fail (SQLITE_MISUSE) only when the library is in use already: it works all the same. */
    (void)sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
    (void)sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static int open_handle(struct db *db, bool create, struct err *e)
{
    prepare_library();
    int r = create_private(db->path, create, e);
    if (r < 0)
        return r;
    int code =
        sqlite3_open_v2(db->path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (db->handle != NULL)
        (void)sqlite3_extended_result_codes(db->handle, 1); /* cannot fail */
    if (code != SQLITE_OK)
        return fail(db, code, e);
    db->lock = lock_ref(db->path);
    if (db->lock == NULL)
        return err_errno(e, -errno, "database '%s'", db->path);
    return 0;
}

/* SQLite would make the file with the mode 0644; its log and shared memory take the mode of this
 * one. Called with the mutex held. */
static int create_private(const char *path, bool create, struct err *e)
{
    struct stat st;
    if (stat(path, &st) == 0) {
        if (!S_ISREG(st.st_mode))
            return err_set(e, -EINVAL, ERR_NEVER, "database '%s': not a regular file", path);
        return check_writable(path, e);
    }
    if (errno != ENOENT || !create)
        return err_errno(e, -errno, "database '%s'", path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno != EEXIST) /* another process may have been first */
        return err_errno(e, -errno, "database '%s'", path);
    if (fd >= 0)
        (void)close(fd); /* empty, nothing to lose */
    return 0;
}

/* SQLite would go on read-only and fail later with a reason that misleads. The log is made beside
 * the file, so the folder counts too. */
static int check_writable(const char *path, struct err *e)
{
    AUTO_FREE char *folder = xstrdup(path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        slash[slash == folder] = '\0'; /* "/" stays */
    const char *places[] = {path, slash != NULL ? folder : "."};
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (access(places[i], W_OK) < 0)
            return err_set(e, -errno, ERR_NEVER,
                           "database '%s': %s: the file and its folder must be writable", path,
                           strerror(errno));
    return 0;
}

/* A database from elsewhere must not make us run code or take memory without end. */
static int harden(struct db *db, struct err *e)
{
    static const struct {
        int option;
        int value;
    } switches[] = {{SQLITE_DBCONFIG_DEFENSIVE, 1},      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
                    {SQLITE_DBCONFIG_ENABLE_FKEY, 1},    {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
                    {SQLITE_DBCONFIG_ENABLE_VIEW, 0},    {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
                    {SQLITE_DBCONFIG_DQS_DML, 0},        {SQLITE_DBCONFIG_DQS_DDL, 0},
                    {SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0}};
    for (size_t i = 0; i < ARRAY_LEN(switches); i++) {
        int code = sqlite3_db_config(db->handle, switches[i].option, switches[i].value, NULL);
        if (code != SQLITE_OK)
            return fail(db, code, e);
    }
    static const struct {
        int limit;
        int value;
    } limits[] = {{SQLITE_LIMIT_LENGTH, LENGTH_MAX},
                  {SQLITE_LIMIT_SQL_LENGTH, 65536},
                  {SQLITE_LIMIT_COLUMN, 128},
                  {SQLITE_LIMIT_EXPR_DEPTH, 64},
                  {SQLITE_LIMIT_COMPOUND_SELECT, 16},
                  {SQLITE_LIMIT_ATTACHED, 1}, /* VACUUM needs one */
                  {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 256},
                  {SQLITE_LIMIT_VARIABLE_NUMBER, 128},
                  {SQLITE_LIMIT_TRIGGER_DEPTH, 2},
                  {SQLITE_LIMIT_WORKER_THREADS, 0}};
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        (void)sqlite3_limit(db->handle, limits[i].limit, limits[i].value); /* returns the old one */
    (void)sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT_MS);               /* cannot fail */
    return 0;
}

static int configure(struct db *db, struct err *e)
{
    char sql[256];
    int r = text_format(sql, sizeof(sql),
                        "PRAGMA cache_size=-%d; PRAGMA temp_store=MEMORY; PRAGMA mmap_size=0;"
                        "PRAGMA cell_size_check=ON; PRAGMA secure_delete=ON;"
                        "PRAGMA journal_size_limit=%d",
                        CACHE_KIB, WAL_KEEP_BYTES);
    (void)sqlite3_wal_hook(db->handle, on_wal, db); /* instead of SQLite's own checkpoints */
    assert(r > 0);
    /* The first statement that reads the file: damage of its head shows here. */
    r = expect_pragma(db, "PRAGMA journal_mode=WAL", "wal", e);
    if (r < 0)
        return r;
    r = db_exec(db, "PRAGMA synchronous=FULL", e);
    if (r < 0)
        return r;
    r = db_exec(db, sql, e);
    if (r < 0)
        return r;
    r = expect_pragma(db, "PRAGMA synchronous", "2", e);
    if (r < 0)
        return r;
    return expect_pragma(db, "PRAGMA foreign_keys", "1", e);
}

static int expect_pragma(struct db *db, const char *sql, const char *wanted, struct err *e)
{
    AUTO(db_query) q = db_query(db, sql);
    int r = db_step(q, e);
    if (r < 0)
        return r;
    const char *seen = r == 1 ? db_text(q, 0) : "";
    if (!text_equal_nocase(seen, wanted))
        return err_set(e, -EINVAL, ERR_NEVER,
                       "database '%s': '%s' answers '%s', not '%s': the file system may not suit "
                       "(a network share?)",
                       db->path, sql, seen, wanted);
    return 0;
}

/* After a commit. What SQLite does by itself (PRAGMA wal_autocheckpoint), but measured. A
 * checkpoint that fails is none of the commit's business: the log keeps what it holds. */
static int on_wal(void *arg UNUSED, sqlite3 *handle, const char *name, int pages)
{
    if (pages < CHECKPOINT_PAGES)
        return SQLITE_OK;
    struct mono_time start = clock_mono();
    int log = 0, moved = 0;
    int code = sqlite3_wal_checkpoint_v2(handle, name, SQLITE_CHECKPOINT_PASSIVE, &log, &moved);
    metric_observe(&checkpoint_seconds, NULL, mono_diff_ms(clock_mono(), start) / 1000);
    metric_inc(&checkpoints, code != SQLITE_OK && code != SQLITE_BUSY ? "failed"
                             : code == SQLITE_OK && moved == log      ? "complete"
                                                                      : "partial");
    return SQLITE_OK;
}

void db_register_metrics(void)
{
    metric_register(&commit_seconds);
    metric_register(&wait_seconds);
    metric_register(&checkpoint_seconds);
    metric_register(&checkpoints);
    metric_register(&failures);
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        metric_touch(&failures, reasons[i].reason);
}

/* ---- the queue of writers ---- */

/* Called with the mutex held. NULL with errno when the file is gone. */
static struct write_lock *lock_ref(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return NULL;
    for (struct write_lock *lock = locks; lock != NULL; lock = lock->next) {
        if (lock->dev == st.st_dev && lock->ino == st.st_ino) {
            lock->refs++;
            return lock;
        }
    }
    struct write_lock *lock = xcalloc(1, sizeof(*lock));
    lock->dev = st.st_dev;
    lock->ino = st.st_ino;
    lock->refs = 1;
    lock->next = locks;
    locks = lock;
    return lock;
}

static void lock_unref(struct write_lock *lock)
{
    if (lock == NULL)
        return;
    pthread_mutex_lock(&locks_mutex);
    if (--lock->refs == 0) {
        struct write_lock **at = &locks;
        while (*at != lock)
            at = &(*at)->next;
        *at = lock->next;
        free(lock);
    }
    pthread_mutex_unlock(&locks_mutex);
}

static int lock_acquire(struct write_lock *lock, struct err *e)
{
    pthread_mutex_lock(&locks_mutex);
    if (!lock->held) {
        lock->held = true;
        pthread_mutex_unlock(&locks_mutex);
        return 0;
    }
    struct waiter self = {.granted = false};
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&self.turn, &attr);
    pthread_condattr_destroy(&attr);
    struct waiter **at = &lock->first;
    while (*at != NULL)
        at = &(*at)->next;
    *at = &self;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += BUSY_TIMEOUT_MS / 1000;
    int r = 0;
    while (!self.granted && r == 0)
        r = pthread_cond_timedwait(&self.turn, &locks_mutex, &until);
    bool granted = self.granted;
    if (!granted)
        leave_queue(lock, &self);
    pthread_mutex_unlock(&locks_mutex);
    pthread_cond_destroy(&self.turn);
    if (granted)
        return 0;
    count_failure(-EBUSY);
    return err_set(e, -EBUSY, ERR_LATER, "database: waited %d s for other writers",
                   BUSY_TIMEOUT_MS / 1000);
}

/* The lock goes straight to the one who waits longest, so that a busy thread cannot overtake. */
static void lock_release(struct write_lock *lock)
{
    pthread_mutex_lock(&locks_mutex);
    struct waiter *w = lock->first;
    if (w == NULL) {
        lock->held = false;
    } else {
        lock->first = w->next;
        w->granted = true;
        pthread_cond_signal(&w->turn);
    }
    pthread_mutex_unlock(&locks_mutex);
}

static void leave_queue(struct write_lock *lock, const struct waiter *w)
{
    struct waiter **at = &lock->first;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
}

/* ---- queries ---- */

struct db_query *db_query(struct db *db, const char *sql)
{
    struct db_query *q = cache_find(db, sql);
    if (q == NULL)
        q = cache_add(db, sql);
    assert(!q->busy); /* the same statement within itself would lose its first place */
    q->busy = true;
    q->bound = 0;
    return q;
}

void db_query_end(struct db_query *q)
{
    if (q == NULL)
        return;
    if (q->stmt != NULL) {
        (void)sqlite3_reset(q->stmt); /* repeats the error of the last step */
        (void)sqlite3_clear_bindings(q->stmt);
        q->failed = SQLITE_OK;
    }
    q->busy = false;
}

void db_bind_int(struct db_query *q, int64_t value)
{
    if (q->stmt != NULL)
        bind_failed(q, sqlite3_bind_int64(q->stmt, ++q->bound, value));
}

void db_bind_real(struct db_query *q, double value)
{
    if (q->stmt != NULL)
        bind_failed(q, sqlite3_bind_double(q->stmt, ++q->bound, value));
}

void db_bind_text(struct db_query *q, const char *value)
{
    if (q->stmt != NULL)
        bind_failed(q, sqlite3_bind_text(q->stmt, ++q->bound, value, -1, SQLITE_STATIC));
}

void db_bind_text_or_null(struct db_query *q, const char *value)
{
    db_bind_text(q, value != NULL && value[0] != '\0' ? value : NULL);
}

void db_bind_column(struct db_query *q, struct db_query *from, int column)
{
    if (q->stmt != NULL)
        bind_failed(
            q, sqlite3_bind_value(q->stmt, ++q->bound, sqlite3_column_value(from->stmt, column)));
}

int db_step(struct db_query *q, struct err *e)
{
    if (q->failed != SQLITE_OK)
        return fail(q->db, q->failed, e);
    /* SQLite keeps the system's reason of most failures, but not of a failing COMMIT. */
    errno = 0;
    int code = sqlite3_step(q->stmt);
    if (code == SQLITE_ROW)
        return 1;
    if (code == SQLITE_DONE)
        return 0;
    return fail(q->db, code, e);
}

int db_run(struct db_query *q, struct err *e)
{
    int r = db_step(q, e);
    if (q->stmt != NULL) {
        (void)sqlite3_reset(q->stmt); /* its result is known from the step */
        (void)sqlite3_clear_bindings(q->stmt);
        q->failed = SQLITE_OK;
    }
    q->bound = 0;
    assert(r <= 0);
    return r;
}

int64_t db_int(struct db_query *q, int column)
{
    return sqlite3_column_int64(q->stmt, column);
}

double db_real(struct db_query *q, int column)
{
    return sqlite3_column_double(q->stmt, column);
}

const char *db_text(struct db_query *q, int column)
{
    const unsigned char *text = sqlite3_column_text(q->stmt, column);
    return text != NULL ? (const char *)text : "";
}

bool db_is_null(struct db_query *q, int column)
{
    return sqlite3_column_type(q->stmt, column) == SQLITE_NULL;
}

int db_query_int(struct db_query *q, int64_t *ret, struct err *e)
{
    int r = db_step(q, e);
    if (r < 0)
        return r;
    if (r == 0)
        return -ENODATA;
    *ret = db_int(q, 0);
    return 0;
}

int64_t db_last_row(struct db *db)
{
    return sqlite3_last_insert_rowid(db->handle);
}

int db_changes(struct db *db)
{
    return sqlite3_changes(db->handle);
}

int db_columns(struct db_query *q)
{
    return sqlite3_column_count(q->stmt);
}

/* Found entries move to the front, so what falls out at the end is what nobody asks for. */
static struct db_query *cache_find(struct db *db, const char *sql)
{
    for (struct db_query **at = &db->queries; *at != NULL; at = &(*at)->next) {
        struct db_query *q = *at;
        if (strcmp(q->sql, sql) != 0)
            continue;
        if (q->stmt == NULL) { /* preparing failed last time; it may work now */
            *at = q->next;
            db->query_count--;
            assert(!q->busy);
            query_free(q);
            return NULL;
        }
        *at = q->next;
        q->next = db->queries;
        db->queries = q;
        return q;
    }
    return NULL;
}

static struct db_query *cache_add(struct db *db, const char *sql)
{
    if (db->query_count >= QUERY_CACHE_MAX) {
        struct db_query **idle = NULL;
        for (struct db_query **at = &db->queries; *at != NULL; at = &(*at)->next)
            if (!(*at)->busy)
                idle = at;
        assert(idle != NULL); /* nobody nests so deep */
        struct db_query *old = *idle;
        *idle = old->next;
        db->query_count--;
        query_free(old);
    }
    struct db_query *q = xcalloc(1, sizeof(*q));
    q->db = db;
    q->sql = xstrdup(sql);
    q->failed = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &q->stmt, NULL);
    q->next = db->queries;
    db->queries = q;
    db->query_count++;
    return q;
}

static void query_free(struct db_query *q)
{
    (void)sqlite3_finalize(q->stmt); /* repeats the error of the last step */
    free(q->sql);
    free(q);
}

static void bind_failed(struct db_query *q, int code)
{
    if (q->failed == SQLITE_OK)
        q->failed = code;
}

/* ---- transactions ---- */

static int begin_part(struct db *db, struct err *e);
static void rollback_part(struct db *db);

int db_begin(struct db *db, struct err *e)
{
    if (db->group)
        return begin_part(db, e);
    assert(!db->writing);
    assert(sqlite3_get_autocommit(db->handle) != 0);
    struct mono_time start = clock_mono();
    int r = lock_acquire(db->lock, e);
    metric_observe(&wait_seconds, NULL, mono_diff_ms(clock_mono(), start) / 1000);
    if (r < 0)
        return r;
    AUTO(db_query) q = db_query(db, "BEGIN IMMEDIATE");
    r = db_run(q, e);
    if (r < 0) {
        lock_release(db->lock);
        return r;
    }
    db->writing = true;
    return 0;
}

int db_commit(struct db *db, struct err *e)
{
    assert(db->writing);
    AUTO(db_query) q = db_query(db, db->group ? "RELEASE part" : "COMMIT");
    struct mono_time start = clock_mono();
    int r = db_run(q, e);
    if (!db->group)
        metric_observe(&commit_seconds, NULL, mono_diff_ms(clock_mono(), start) / 1000);
    if (r < 0) {
        db_rollback(db);
        return r;
    }
    if (db->group)
        return 0;
    db->writing = false;
    lock_release(db->lock);
    return 0;
}

void db_rollback(struct db *db)
{
    if (db->group) {
        rollback_part(db);
        return;
    }
    /* After some failures SQLite has rolled back by itself. */
    if (sqlite3_get_autocommit(db->handle) == 0) {
        reset_queries(db);
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL); /* memory only, in WAL */
    }
    if (db->full)
        give_room(db);
    if (db->writing) {
        db->writing = false;
        lock_release(db->lock);
    }
}

/* A statement in the middle would keep a transaction open. */
static void reset_queries(struct db *db)
{
    for (struct db_query *q = db->queries; q != NULL; q = q->next)
        (void)sqlite3_reset(q->stmt);
}

static int group_is_lost(const struct db *db, struct err *e)
{
    if (sqlite3_get_autocommit(db->handle) == 0)
        return 0;
    return err_set(e, -EIO, ERR_LATER, "database '%s': a group of changes had to be undone",
                   db->path);
}

static int begin_part(struct db *db, struct err *e)
{
    int r = group_is_lost(db, e);
    if (r < 0)
        return r;
    AUTO(db_query) q = db_query(db, "SAVEPOINT part");
    return db_run(q, e);
}

static void rollback_part(struct db *db)
{
    if (group_is_lost(db, NULL) < 0)
        return;
    reset_queries(db);
    (void)sqlite3_exec(db->handle, "ROLLBACK TO part; RELEASE part", NULL, NULL, NULL);
}

int db_group_begin(struct db *db, struct err *e)
{
    int r = db_begin(db, e);
    db->group = r == 0;
    return r;
}

int db_group_end(struct db *db, struct err *e)
{
    assert(db->group);
    db->group = false;
    int r = group_is_lost(db, e);
    if (r == 0)
        return db_commit(db, e);
    db_rollback(db);
    return r;
}

/* The log is emptied by commits that work; on a full disk none does. Its pages replace older ones
 * in the database for the most part, so emptying it gives back more than it takes. */
static void give_room(struct db *db)
{
    db->full = false;
    (void)sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
                                    NULL); /* at worst the log stays as it is */
}

int db_finish(struct db *db, int r, struct err *e)
{
    if (r < 0) {
        db_rollback(db);
        return r;
    }
    int committed = db_commit(db, e);
    return committed < 0 ? committed : r;
}

int db_begin_read(struct db *db, struct err *e)
{
    assert(!db->writing);
    AUTO(db_query) q = db_query(db, "BEGIN");
    return db_run(q, e);
}

void db_end_read(struct db *db)
{
    assert(!db->writing);
    db_rollback(db); /* nothing was written */
}

/* ---- damage and other failures ---- */

int db_check(struct db *db, void (*finding)(const char *text, void *arg), void *arg, struct err *e)
{
    static const char *const checks[] = {"PRAGMA integrity_check(100)", "PRAGMA foreign_key_check"};
    int count = 0;
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        AUTO(db_query) q = db_query(db, checks[i]);
        int r;
        while ((r = db_step(q, e)) == 1) {
            char line[256];
            if (i == 0 && strcmp(db_text(q, 0), "ok") == 0)
                continue;
            if (i == 0)
                (void)text_copy(line, sizeof(line), db_text(q, 0)); /* a cut line still helps */
            else
                (void)snprintf(line, sizeof(line), "%s row %lld refers to a missing row of %s",
                               db_text(q, 0), (long long)db_int(q, 1), db_text(q, 2));
            finding(line, arg);
            count++;
        }
        if (r < 0)
            return r;
    }
    return count;
}

static int damaged_va(const struct db *db, struct err *e, const char *what)
{
    return err_set(e, -EUCLEAN, ERR_NEVER,
                   "database '%s' is damaged: %s: stop the program, save what can be read with "
                   "\"snapshotd integrity --database '%s' --rescue NEW\" and put NEW in its place, "
                   "or move it away with its -wal and -shm and start fresh (the pictures in store/ "
                   "stay)",
                   db->path, what, db->path);
}

int db_damaged(const struct db *db, struct err *e, const char *fmt, ...)
{
    char what[160];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, ap); /* a cut text still tells */
    va_end(ap);
    return damaged_va(db, e, what);
}

/* A rule of the schema that says no (-EEXIST, -EINVAL) is an answer, no failure. */
static void count_failure(int code)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].code == code)
            metric_inc(&failures, reasons[i].reason);
}

static int fail(struct db *db, int code, struct err *e)
{
    int r = describe(db, code, e);
    count_failure(r);
    return r;
}

/* SQLite's result as an errno; the sentence names the file once. */
static int describe(struct db *db, int code, struct err *e)
{
    int last = errno;
    const char *words = db->handle != NULL ? sqlite3_errmsg(db->handle) : sqlite3_errstr(code);
    int sys = db->handle != NULL ? sqlite3_system_errno(db->handle) : 0;
    if (sys == 0)
        sys = last;
    switch (code & 0xff) {
    case SQLITE_FULL:
        db->full = true;
        return err_set(e, -ENOSPC, ERR_LATER, "database '%s': disk full", db->path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return err_set(e, -EBUSY, ERR_LATER, "database '%s': another process is writing (%s)",
                       db->path, words);
    case SQLITE_NOMEM:
        return err_set(e, -ENOMEM, ERR_LATER, "database '%s': out of memory", db->path);
    case SQLITE_IOERR:
        if (code == SQLITE_IOERR_NOMEM)
            return err_set(e, -ENOMEM, ERR_LATER, "database '%s': out of memory", db->path);
        db->full = sys == ENOSPC || sys == EDQUOT || sys == EFBIG;
        if (db->full)
            return err_set(e, -ENOSPC, ERR_LATER, "database '%s': %s", db->path, strerror(sys));
        if (code == SQLITE_IOERR_CORRUPTFS || code == SQLITE_IOERR_DATA)
            return damaged_va(db, e, words);
        return err_set(e, -EIO, ERR_LATER, "database '%s': %s (%s)", db->path, words,
                       sys != 0 ? strerror(sys) : sqlite3_errstr(code));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    /* Our statements are constants: when one is not understood the tables are not ours. */
    case SQLITE_ERROR:
    case SQLITE_SCHEMA:
        return damaged_va(db, e, words);
    case SQLITE_READONLY:
        return err_set(e, -EROFS, ERR_NEVER,
                       "database '%s': read-only: make the file and its folder writable", db->path);
    case SQLITE_CANTOPEN:
        if (sys == ENOSPC || sys == EMFILE || sys == ENFILE)
            return err_errno(e, -sys, "database '%s'", db->path);
        return err_set(e, sys != 0 ? -sys : -EACCES, ERR_NEVER,
                       "database '%s': cannot be opened: %s: the file and its folder must be "
                       "writable",
                       db->path, sys != 0 ? strerror(sys) : words);
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return err_set(e, -EACCES, ERR_NEVER, "database '%s': %s", db->path, words);
    case SQLITE_CONSTRAINT:
        return err_set(e,
                       code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY
                           ? -EEXIST
                           : -EINVAL,
                       ERR_NEVER, "database '%s': %s", db->path, words);
    case SQLITE_TOOBIG:
        return err_set(e, -E2BIG, ERR_NEVER, "database '%s': %s", db->path, words);
    default:
        return err_set(e, -EIO, ERR_NEVER, "database '%s': %s (%d)", db->path, words, code);
    }
}
