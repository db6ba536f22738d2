#include "web/access_db.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "sys/db.h"

#define SECRET_BYTES 32      /* 256 random bits: nothing to guess, so a plain digest guards them */
#define TOKEN_PREFIX "snap_" /* so that scanners for leaked secrets can know them */

/* Times are microseconds since 1970 in UTC, 0 = never. */
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS users ("
    " name TEXT PRIMARY KEY,"
    " role INTEGER NOT NULL CHECK (role BETWEEN 1 AND 2),"
    " hash TEXT NOT NULL,"
    " created_at INTEGER NOT NULL,"
    " login_at INTEGER NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS sessions ("
    " row INTEGER PRIMARY KEY AUTOINCREMENT," /* a stream may hold one that has ended */
    " digest TEXT NOT NULL UNIQUE,"
    " user TEXT NOT NULL REFERENCES users (name),"
    " address TEXT NOT NULL,"
    " created_at INTEGER NOT NULL,"
    " seen_at INTEGER NOT NULL) STRICT;"
    "CREATE INDEX IF NOT EXISTS sessions_user ON sessions (user, row);"
    "CREATE TABLE IF NOT EXISTS tokens ("
    " id TEXT PRIMARY KEY,"
    " digest TEXT NOT NULL UNIQUE,"
    " name TEXT NOT NULL,"
    " scopes INTEGER NOT NULL CHECK (scopes BETWEEN 1 AND 15),"
    " created_at INTEGER NOT NULL,"
    " expires_at INTEGER NOT NULL,"
    " used_at INTEGER NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS audit ("
    " row INTEGER PRIMARY KEY,"
    " kind INTEGER NOT NULL,"
    " at INTEGER NOT NULL,"
    " who TEXT NOT NULL,"
    " how TEXT NOT NULL,"
    " address TEXT NOT NULL,"
    " what TEXT NOT NULL,"
    " detail TEXT NOT NULL) STRICT;"
    "CREATE INDEX IF NOT EXISTS audit_kind ON audit (kind, row);"
    "PRAGMA user_version = 1";

#define VERSION 1

struct access_db {
    struct db *db;
};

static int set_up(struct access_db *d, struct err *e);

/* ---- the connection ---- */

/* A command that root gives makes a file that the daemon's user can read: it belongs to whom the
 * folder belongs to. SQLite's own files follow this one. Whatever fails here fails again, with a
 * reason, when the file is opened. */
static void make_file(const char *path)
{
    struct stat folder;
    AUTO_FREE char *place = xstrdup(path);
    char *slash = strrchr(place, '/');
    if (slash)
        slash[slash == place] = '\0'; /* "/" stays */
    if (geteuid() != 0 || stat(slash ? place : ".", &folder) < 0)
        return;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return; /* it is there */
    (void)!fchown(fd, folder.st_uid, folder.st_gid);
    (void)close(fd); /* empty, and no database yet: no lock of SQLite's is lost */
}

int access_db_open(const char *path, bool create, struct access_db **ret, struct err *e)
{
    AUTO(access_db) d = xcalloc(1, sizeof(*d));
    if (create)
        make_file(path);
    int r = db_open(path, create, &d->db, e);
    if (r == 0)
        r = set_up(d, e);
    if (r < 0)
        return r;
    *ret = STEAL(d);
    return 0;
}

void access_db_close(struct access_db *d)
{
    if (!d)
        return;
    db_close(d->db);
    free(d);
}

static int read_version(struct access_db *d, int64_t *ret, struct err *e)
{
    AUTO(db_query) q = db_query(d->db, "PRAGMA user_version");
    return db_query_int(q, ret, e);
}

static int set_up(struct access_db *d, struct err *e)
{
    int64_t version = 0;
    int r = read_version(d, &version, e);
    if (r < 0 || version == VERSION)
        return r;
    if (version > VERSION)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "database '%s' is of a later release (version %lld, known is %d): install "
                       "that release again",
                       db_path(d->db), (long long)version, VERSION);
    r = db_begin(d->db, e);
    if (r == 0)
        r = db_finish(d->db, db_exec(d->db, schema, e), e);
    return r;
}

static int64_t now(void)
{
    return clock_wall().us;
}

static int count_rows(struct access_db *d, const char *sql, int64_t *ret, struct err *e)
{
    AUTO(db_query) q = db_query(d->db, sql);
    return db_query_int(q, ret, e);
}

/* Runs one statement with these texts bound. */
static int run_with(struct access_db *d, const char *sql, const char *a, const char *b,
                    struct err *e)
{
    AUTO(db_query) q = db_query(d->db, sql);
    if (a)
        db_bind_text(q, a);
    if (b)
        db_bind_text(q, b);
    return db_run(q, e);
}

static int run_with_int(struct access_db *d, const char *sql, int64_t a, struct err *e)
{
    AUTO(db_query) q = db_query(d->db, sql);
    db_bind_int(q, a);
    return db_run(q, e);
}

/* ---- secrets ---- */

static void new_secret(const char *prefix, char ret_text[ACCESS_SECRET_MAX])
{
    uint8_t bytes[SECRET_BYTES];
    char hex[2 * SECRET_BYTES + 1];
    hash_random(bytes, sizeof(bytes));
    text_hex(bytes, sizeof(bytes), hex);
    (void)text_format(ret_text, ACCESS_SECRET_MAX, "%s%s", prefix, hex); /* fits */
    explicit_bzero(bytes, sizeof(bytes));
    explicit_bzero(hex, sizeof(hex));
}

static void digest_of(const char *text, char ret[HASH_SHA256_HEX])
{
    hash_sha256_hex(text, strlen(text), ret);
}

/* The index has found it by its digest, of which nobody can choose the beginning; compared once
 * more in full, in constant time, so that nothing rests on how an index compares. */
static bool digest_is(struct db_query *q, int column, const char digest[HASH_SHA256_HEX])
{
    const char *have = db_text(q, column);
    return strlen(have) == HASH_SHA256_HEX - 1 && passwd_same(have, digest, HASH_SHA256_HEX - 1);
}

int access_key(struct access_db *d, uint8_t ret[HASH_SHA256_BYTES], struct err *e)
{
    char fresh[ACCESS_SECRET_MAX];
    new_secret("", fresh);
    int64_t have = 0;
    int r = count_rows(d, "SELECT count(*) FROM secrets WHERE name = 'links'", &have, e);
    if (r == 0 && have == 0)
        r = run_with(d, "INSERT OR IGNORE INTO secrets (name, value) VALUES ('links', ?)", fresh,
                     NULL, e);
    explicit_bzero(fresh, sizeof(fresh));
    if (r < 0)
        return r;
    AUTO(db_query) q = db_query(d->db, "SELECT value FROM secrets WHERE name = 'links'");
    r = db_step(q, e);
    if (r < 0)
        return r;
    if (r == 0 || strlen(db_text(q, 0)) != 2 * SECRET_BYTES)
        return db_damaged(d->db, e, "the key of signed links");
    hash_sha256(db_text(q, 0), 2 * SECRET_BYTES, ret);
    return 0;
}

/* ---- users ---- */

#define USER_COLUMNS "name, role, hash, created_at, login_at"

static void take_user(struct db_query *q, struct access_user *ret)
{
    *ret = (struct access_user){.role = (enum access_role)db_int(q, 1),
                                .created_at = {db_int(q, 3)},
                                .login_at = {db_int(q, 4)}};
    (void)text_copy(ret->name, sizeof(ret->name), db_text(q, 0)); /* checked when it was written */
    (void)text_copy(ret->hash, sizeof(ret->hash), db_text(q, 2)); /* likewise */
}

static int add_user(struct access_db *d, const char *name, enum access_role role, const char *hash,
                    struct err *e)
{
    int64_t count = 0;
    int r = count_rows(d, "SELECT count(*) FROM users", &count, e);
    if (r < 0)
        return r;
    if (count >= ACCESS_USERS_MAX)
        return err_set(e, -ENOSPC, ERR_NEVER, "there are %d users, more is not possible",
                       ACCESS_USERS_MAX);
    AUTO(db_query)
    q = db_query(d->db, "INSERT INTO users (" USER_COLUMNS ")"
                        " VALUES (?, ?, ?, ?, 0)");
    db_bind_text(q, name);
    db_bind_int(q, role);
    db_bind_text(q, hash);
    db_bind_int(q, now());
    r = db_run(q, e);
    return r == -EEXIST ? err_set(e, r, ERR_NEVER, "there is a user '%s' already", name) : r;
}

int access_user_add(struct access_db *d, const char *name, enum access_role role, const char *hash,
                    struct err *e)
{
    int r = db_begin(d->db, e);
    return r < 0 ? r : db_finish(d->db, add_user(d, name, role, hash, e), e);
}

int access_user_get(struct access_db *d, const char *name, struct access_user *ret, struct err *e)
{
    AUTO(db_query) q = db_query(d->db, "SELECT " USER_COLUMNS " FROM users WHERE name = ?");
    db_bind_text(q, name);
    int r = db_step(q, e);
    if (r == 1)
        take_user(q, ret);
    return r < 0 ? r : r == 1 ? 0 : -ENOENT;
}

static int need_user(struct access_db *d, const char *name, struct access_user *ret, struct err *e)
{
    int r = access_user_get(d, name, ret, e);
    return r == -ENOENT ? err_set(e, r, ERR_NEVER, "there is no user '%s'", name) : r;
}

static int keep_an_admin(struct access_db *d, const struct access_user *u, const char *but,
                         struct err *e)
{
    int64_t admins = 0;
    int r = count_rows(d, "SELECT count(*) FROM users WHERE role = 2", &admins, e);
    if (r < 0)
        return r;
    if (u->role == ACCESS_ADMIN && admins == 1)
        return err_set(e, -EPERM, ERR_NEVER, "'%s' is the only admin: make another one first%s",
                       u->name, but);
    return 0;
}

static int end_sessions(struct access_db *d, const char *user, struct err *e)
{
    return run_with(d, "DELETE FROM sessions WHERE user = ?", user, NULL, e);
}

static int change_user(struct access_db *d, const char *name, enum access_role role,
                       const char *hash, struct err *e)
{
    struct access_user u;
    int r = need_user(d, name, &u, e);
    bool less = role != ACCESS_NOBODY && role < u.role;
    if (r == 0 && less)
        r = keep_an_admin(d, &u, "", e);
    if (r == 0 && role != ACCESS_NOBODY) {
        AUTO(db_query) q = db_query(d->db, "UPDATE users SET role = ? WHERE name = ?");
        db_bind_int(q, role);
        db_bind_text(q, name);
        r = db_run(q, e);
    }
    if (r == 0 && hash)
        r = run_with(d, "UPDATE users SET hash = ? WHERE name = ?", hash, name, e);
    if (r == 0 && (hash || less))
        r = end_sessions(d, name, e);
    return r;
}

int access_user_change(struct access_db *d, const char *name, enum access_role role,
                       const char *hash, struct err *e)
{
    int r = db_begin(d->db, e);
    return r < 0 ? r : db_finish(d->db, change_user(d, name, role, hash, e), e);
}

static int remove_user(struct access_db *d, const char *name, struct err *e)
{
    struct access_user u;
    int64_t users = 0;
    int r = need_user(d, name, &u, e);
    if (r == 0)
        r = count_rows(d, "SELECT count(*) FROM users", &users, e);
    if (r == 0 && users > 1)
        r = keep_an_admin(d, &u, ", or remove the others before", e);
    if (r == 0)
        r = end_sessions(d, name, e);
    return r < 0 ? r : run_with(d, "DELETE FROM users WHERE name = ?", name, NULL, e);
}

int access_user_remove(struct access_db *d, const char *name, struct err *e)
{
    int r = db_begin(d->db, e);
    return r < 0 ? r : db_finish(d->db, remove_user(d, name, e), e);
}

int access_user_list(struct access_db *d, struct access_user *ret, size_t size, struct err *e)
{
    AUTO(db_query) q = db_query(d->db, "SELECT " USER_COLUMNS " FROM users ORDER BY name");
    size_t n = 0;
    int r = db_step(q, e);
    for (; r == 1 && n < size; r = db_step(q, e))
        take_user(q, &ret[n++]);
    return r < 0 ? r : (int)n;
}

/* ---- sessions ---- */

static int add_session(struct access_db *d, const char *user, const char *address,
                       struct wall_time oldest, const char *digest, struct err *e)
{
    int r = run_with_int(d, "DELETE FROM sessions WHERE created_at < ?", oldest.us, e);
    if (r < 0)
        return r;
    AUTO(db_query)
    trim = db_query(d->db, "DELETE FROM sessions WHERE user = ? AND row NOT IN"
                           " (SELECT row FROM sessions WHERE user = ?"
                           "  ORDER BY row DESC LIMIT ?)");
    db_bind_text(trim, user);
    db_bind_text(trim, user);
    db_bind_int(trim, ACCESS_SESSIONS_MAX - 1);
    r = db_run(trim, e);
    if (r < 0)
        return r;
    AUTO(db_query)
    q = db_query(d->db, "INSERT INTO sessions (digest, user, address, created_at, seen_at)"
                        " VALUES (?, ?, ?, ?, ?)");
    db_bind_text(q, digest);
    db_bind_text(q, user);
    db_bind_text(q, address);
    db_bind_int(q, now());
    db_bind_int(q, now());
    r = db_run(q, e);
    if (r < 0)
        return r;
    AUTO(db_query) seen = db_query(d->db, "UPDATE users SET login_at = ? WHERE name = ?");
    db_bind_int(seen, now());
    db_bind_text(seen, user);
    return db_run(seen, e);
}

int access_session_add(struct access_db *d, const char *user, const char *address,
                       struct wall_time oldest, char ret_text[ACCESS_SECRET_MAX], struct err *e)
{
    char text[ACCESS_SECRET_MAX], digest[HASH_SHA256_HEX];
    new_secret("", text);
    digest_of(text, digest);
    int r = db_begin(d->db, e);
    if (r == 0)
        r = db_finish(d->db, add_session(d, user, address, oldest, digest, e), e);
    if (r == 0)
        (void)text_copy(ret_text, ACCESS_SECRET_MAX, text); /* the same size */
    explicit_bzero(text, sizeof(text));
    return r;
}

#define SESSION_QUERY                                                                              \
    "SELECT s.row, s.user, u.role, s.created_at, s.seen_at, s.digest"                              \
    " FROM sessions s JOIN users u ON u.name = s.user"

static void take_session(struct db_query *q, struct access_session *ret)
{
    *ret = (struct access_session){.row = db_int(q, 0),
                                   .role = (enum access_role)db_int(q, 2),
                                   .created_at = {db_int(q, 3)},
                                   .seen_at = {db_int(q, 4)}};
    (void)text_copy(ret->user, sizeof(ret->user), db_text(q, 1)); /* checked when it was written */
}

int access_session_get(struct access_db *d, const char *text, struct access_session *ret,
                       struct err *e)
{
    char digest[HASH_SHA256_HEX];
    digest_of(text, digest);
    AUTO(db_query) q = db_query(d->db, SESSION_QUERY " WHERE s.digest = ?");
    db_bind_text(q, digest);
    int r = db_step(q, e);
    if (r < 0)
        return r;
    if (r == 0 || !digest_is(q, 5, digest))
        return -ENOENT;
    take_session(q, ret);
    return 0;
}

int access_session_find(struct access_db *d, int64_t row, struct access_session *ret, struct err *e)
{
    AUTO(db_query) q = db_query(d->db, SESSION_QUERY " WHERE s.row = ?");
    db_bind_int(q, row);
    int r = db_step(q, e);
    if (r == 1)
        take_session(q, ret);
    return r < 0 ? r : r == 1 ? 0 : -ENOENT;
}

int access_session_seen(struct access_db *d, int64_t row, struct err *e)
{
    AUTO(db_query) q = db_query(d->db, "UPDATE sessions SET seen_at = ? WHERE row = ?");
    db_bind_int(q, now());
    db_bind_int(q, row);
    return db_run(q, e);
}

int access_session_end(struct access_db *d, int64_t row, struct err *e)
{
    return run_with_int(d, "DELETE FROM sessions WHERE row = ?", row, e);
}

/* ---- tokens ---- */

#define TOKEN_COLUMNS "id, name, scopes, created_at, expires_at, used_at, digest"

static void take_token(struct db_query *q, struct access_token *ret)
{
    *ret = (struct access_token){.scopes = (unsigned)db_int(q, 2),
                                 .created_at = {db_int(q, 3)},
                                 .expires_at = {db_int(q, 4)},
                                 .used_at = {db_int(q, 5)}};
    (void)text_copy(ret->id, sizeof(ret->id), db_text(q, 0));     /* checked when it was */
    (void)text_copy(ret->name, sizeof(ret->name), db_text(q, 1)); /* written */
}

static int add_token(struct access_db *d, const struct access_token *t, const char *digest,
                     struct err *e)
{
    int64_t count = 0;
    int r = count_rows(d, "SELECT count(*) FROM tokens", &count, e);
    if (r < 0)
        return r;
    if (count >= ACCESS_TOKENS_MAX)
        return err_set(e, -ENOSPC, ERR_NEVER, "there are %d tokens: remove some that nobody uses",
                       ACCESS_TOKENS_MAX);
    AUTO(db_query)
    q = db_query(d->db, "INSERT INTO tokens (" TOKEN_COLUMNS ")"
                        " VALUES (?, ?, ?, ?, ?, 0, ?)");
    db_bind_text(q, t->id);
    db_bind_text(q, t->name);
    db_bind_int(q, t->scopes);
    db_bind_int(q, t->created_at.us);
    db_bind_int(q, t->expires_at.us);
    db_bind_text(q, digest);
    return db_run(q, e);
}

int access_token_add(struct access_db *d, struct access_token *t, char ret_text[ACCESS_SECRET_MAX],
                     struct err *e)
{
    char text[ACCESS_SECRET_MAX], digest[HASH_SHA256_HEX];
    uint8_t id[(ACCESS_TOKEN_ID_MAX - 1) / 2];
    new_secret(TOKEN_PREFIX, text);
    digest_of(text, digest);
    hash_random(id, sizeof(id));
    text_hex(id, sizeof(id), t->id);
    t->created_at.us = now();
    t->used_at.us = 0;
    int r = db_begin(d->db, e);
    if (r == 0)
        r = db_finish(d->db, add_token(d, t, digest, e), e);
    if (r == 0)
        (void)text_copy(ret_text, ACCESS_SECRET_MAX, text); /* the same size */
    explicit_bzero(text, sizeof(text));
    return r;
}

int access_token_get(struct access_db *d, const char *text, struct access_token *ret, struct err *e)
{
    char digest[HASH_SHA256_HEX];
    digest_of(text, digest);
    AUTO(db_query)
    q = db_query(d->db, "SELECT " TOKEN_COLUMNS " FROM tokens WHERE digest = ?"
                        " AND (expires_at = 0 OR expires_at > ?)");
    db_bind_text(q, digest);
    db_bind_int(q, now());
    int r = db_step(q, e);
    if (r < 0)
        return r;
    if (r == 0 || !digest_is(q, 6, digest))
        return -ENOENT;
    take_token(q, ret);
    return 0;
}

int access_token_get_by_id(struct access_db *d, const char *id, struct access_token *ret,
                           struct err *e)
{
    AUTO(db_query) q = db_query(d->db, "SELECT " TOKEN_COLUMNS " FROM tokens WHERE id = ?");
    db_bind_text(q, id);
    int r = db_step(q, e);
    if (r == 1)
        take_token(q, ret);
    return r < 0 ? r : r == 1 ? 0 : -ENOENT;
}

int access_token_used(struct access_db *d, const char *id, struct err *e)
{
    AUTO(db_query) q = db_query(d->db, "UPDATE tokens SET used_at = ? WHERE id = ?");
    db_bind_int(q, now());
    db_bind_text(q, id);
    return db_run(q, e);
}

int access_token_remove(struct access_db *d, const char *id, struct err *e)
{
    int r = run_with(d, "DELETE FROM tokens WHERE id = ?", id, NULL, e);
    if (r == 0 && db_changes(d->db) == 0)
        return err_set(e, -ENOENT, ERR_NEVER, "there is no token '%s'", id);
    return r;
}

int access_token_list(struct access_db *d, struct access_token *ret, size_t size, struct err *e)
{
    AUTO(db_query)
    q = db_query(d->db, "SELECT " TOKEN_COLUMNS " FROM tokens ORDER BY created_at, id");
    size_t n = 0;
    int r = db_step(q, e);
    for (; r == 1 && n < size; r = db_step(q, e))
        take_token(q, &ret[n++]);
    return r < 0 ? r : (int)n;
}

/* ---- the audit log ---- */

static int trim_events(struct access_db *d, enum access_event_kind kind, struct err *e)
{
    AUTO(db_query)
    q = db_query(d->db, "DELETE FROM audit WHERE kind = ? AND row <="
                        " (SELECT row FROM audit WHERE kind = ?"
                        "  ORDER BY row DESC LIMIT 1 OFFSET ?)");
    db_bind_int(q, kind);
    db_bind_int(q, kind);
    db_bind_int(q, ACCESS_AUDIT_MAX);
    return db_run(q, e);
}

static int add_event(struct access_db *d, const struct access_event *ev, struct err *e)
{
    AUTO(db_query)
    q = db_query(d->db, "INSERT INTO audit (kind, at, who, how, address, what, detail)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?)");
    db_bind_int(q, ev->kind);
    db_bind_int(q, now());
    db_bind_text(q, ev->who);
    db_bind_text(q, ev->how);
    db_bind_text(q, ev->address);
    db_bind_text(q, ev->what);
    db_bind_text(q, ev->detail);
    int r = db_run(q, e);
    return r < 0 ? r : trim_events(d, ev->kind, e);
}

int access_audit_add(struct access_db *d, const struct access_event *ev, struct err *e)
{
    int r = db_begin(d->db, e);
    return r < 0 ? r : db_finish(d->db, add_event(d, ev, e), e);
}

static void take_event(struct db_query *q, struct access_event *ret)
{
    *ret = (struct access_event){
        .row = db_int(q, 0), .at = {db_int(q, 1)}, .kind = (enum access_event_kind)db_int(q, 7)};
    (void)text_copy(ret->who, sizeof(ret->who), db_text(q, 2)); /* all cut when they were written */
    (void)text_copy(ret->how, sizeof(ret->how), db_text(q, 3));
    (void)text_copy(ret->address, sizeof(ret->address), db_text(q, 4));
    (void)text_copy(ret->what, sizeof(ret->what), db_text(q, 5));
    (void)text_copy(ret->detail, sizeof(ret->detail), db_text(q, 6));
}

int access_audit_list(struct access_db *d, int64_t before, struct access_event *ret, size_t size,
                      struct err *e)
{
    AUTO(db_query)
    q = db_query(d->db, "SELECT row, at, who, how, address, what, detail, kind"
                        " FROM audit"
                        " WHERE row < ? ORDER BY row DESC LIMIT ?");
    db_bind_int(q, before > 0 ? before : INT64_MAX);
    db_bind_int(q, (int64_t)size);
    size_t n = 0;
    int r = db_step(q, e);
    for (; r == 1 && n < size; r = db_step(q, e))
        take_event(q, &ret[n++]);
    return r < 0 ? r : (int)n;
}
