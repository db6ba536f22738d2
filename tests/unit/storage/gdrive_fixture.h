#pragma once
/* A Drive storage before a server that follows a script, with a login that needs nobody. */

#include "http_script.h"

#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "storage/gdrive.h"
#include "sys/hash.h"

/* ---- the login ---- */

struct google_login {
    int tokens, refused; /* asked for; given back */
    int code;            /* of the next tokens */
    uint64_t generation; /* of the next looks */
    int changes_at;      /* so many looks until somebody logs in; 0 = never */
    enum google_login_kind kind;
    enum err_retry retry;
    const char *error;
};
static struct google_login false_login;

int google_login_open(const struct google_login_options *o UNUSED, struct google_login **ret,
                      struct err *e UNUSED)
{
    *ret = &false_login;
    return 0;
}
void google_login_close(struct google_login *l UNUSED)
{
}
int google_login_token(struct google_login *l, struct http_client *c UNUSED,
                       char ret[GOOGLE_TOKEN_MAX], struct err *e)
{
    if (l->code < 0)
        return err_set(e, l->code, l->retry, "no token");
    (void)text_format(ret, GOOGLE_TOKEN_MAX, "token%d", l->refused);
    l->tokens++;
    return 0;
}
void google_login_refused(struct google_login *l, const char *token UNUSED)
{
    l->refused++;
}
void google_login_reload(struct google_login *l UNUSED)
{
}
void google_login_place(struct google_login *l UNUSED)
{
}
uint64_t google_login_generation(struct google_login *l)
{
    if (l->changes_at > 0 && --l->changes_at == 0)
        l->generation++;
    return l->generation;
}
void google_login_describe(struct google_login *l, struct google_login_state *ret)
{
    *ret = (struct google_login_state){.kind = l->kind, .usable = true};
    (void)text_copy(ret->text, sizeof(ret->text), "signed in");
    (void)text_copy(ret->error, sizeof(ret->error), l->error ? l->error : "");
}

/* ---- the ledger's notes ---- */

#define NOTES_MAX 32
struct notes {
    struct {
        char key[700], value[200];
    } rows[NOTES_MAX];
    int count, writes;
};
static struct notes notes;

static inline int notes_find(const char *key)
{
    for (int i = 0; i < notes.count; i++)
        if (!strcmp(notes.rows[i].key, key))
            return i;
    return -1;
}
static inline int notes_get(void *arg UNUSED, const char *key, char *ret, size_t size,
                            struct err *e)
{
    int i = notes_find(key);
    if (i < 0 || !notes.rows[i].value[0])
        return err_set(e, -ENOENT, ERR_NEVER, "no note");
    assert_true(text_copy(ret, size, notes.rows[i].value));
    return 0;
}
static inline int notes_set(void *arg UNUSED, const char *key, const char *value,
                            struct err *e UNUSED)
{
    int i = notes_find(key);
    if (i < 0) {
        assert_true(notes.count < NOTES_MAX);
        i = notes.count++;
        assert_true(text_copy(notes.rows[i].key, sizeof(notes.rows[i].key), key));
    }
    assert_true(text_copy(notes.rows[i].value, sizeof(notes.rows[i].value), value ? value : ""));
    notes.writes++;
    return 0;
}
static inline UNUSED const char *note_of(const char *key)
{
    int i = notes_find(key);
    return i < 0 ? "" : notes.rows[i].value;
}

/* ---- the whole ---- */

struct fixture {
    struct http_script server;
    int stop[2];
    struct gdrive_options options;
    struct storage *storage;
    struct storage_session *session;
    struct storage_failure f;
    struct err e;
    struct storage_mark mark;
    bool starred;                 /* the picture */
    struct storage_mark saved[8]; /* what was made durable, in order */
    int saves, save_fails_at;
    int warnings;
    char warning[512];
};

static inline bool on_log(enum log_level level, const char *id UNUSED, const char *text, void *arg)
{
    struct fixture *x = arg;
    if (level == LOG_LEVEL_WARNING) {
        x->warnings++;
        (void)text_copy(x->warning, sizeof(x->warning), text);
    }
    return true;
}

/* What a restart of the program does: a new storage over the old notes. */
static inline void fixture_restart(struct fixture *x)
{
    static const struct storage_memory memory = {.get = notes_get, .set = notes_set};
    if (x->session) {
        x->storage->ops->session_free(x->session);
        x->storage->ops->free(x->storage);
    }
    assert_int_equal(gdrive_new(&x->options, &x->storage, &x->e), 0);
    assert_int_equal(
        x->storage->ops->session_new(x->storage, x->stop[0], &memory, &x->session, &x->e), 0);
}

static inline void fixture_start(struct fixture *x)
{
    *x = (struct fixture){0};
    notes = (struct notes){0};
    false_login = (struct google_login){.kind = GOOGLE_LOGIN_USER};
    script_start(&x->server);
    assert_int_equal(pipe(x->stop), 0);
    log_set_hook(on_log, x);
    x->options = (struct gdrive_options){.name = "gdrive",
                                         .folder = "cam's",
                                         .api_url = x->server.url,
                                         .multipart_max = 64,
                                         .login = &false_login};
    fixture_restart(x);
}

static inline void fixture_stop(struct fixture *x)
{
    x->storage->ops->session_free(x->session);
    x->storage->ops->free(x->storage);
    (void)close(x->stop[0]);
    (void)close(x->stop[1]);
    script_stop(&x->server);
    log_set_hook(NULL, NULL);
}

/* The exchange so far, a line per request: "GET files/ID1", without what all have in common. */
static inline void expect_requests(struct fixture *x, int from, const char *const *wanted)
{
    int n = 0;
    script_sync(&x->server);
    for (; wanted[n]; n++) {
        char got[2100] = "(none)";
        if (from + n < x->server.request_count)
            (void)snprintf(got, sizeof(got), "%s %s", x->server.requests[from + n].method,
                           x->server.requests[from + n].target);
        /* "POST /upload... ~ text": begins so, and holds the text. */
        const char *tilde = strstr(wanted[n], " ~ ");
        size_t head = tilde ? (size_t)(tilde - wanted[n]) : strlen(wanted[n]);
        if (strncmp(got, wanted[n], head) != 0 || (tilde && !strstr(got, tilde + 3)))
            CASE_FAILS("request %d: got %s, wanted %s", from + n, got, wanted[n]);
    }
    if (x->server.request_count != from + n)
        CASE_FAILS("%d requests, wanted %d; one more: %s %s", x->server.request_count, from + n,
                   x->server.requests[from + n].method, x->server.requests[from + n].target);
}
#define EXPECT_REQUESTS(x, from, ...)                                                              \
    expect_requests((x), (from), (const char *const[]){__VA_ARGS__, NULL})

/* Before an answer that gets lost: on a connection that was used before, libcurl would send the
 * request once more by itself. */
#define CLOSE "Connection: close\r\n"

#define IDS(...) "{\"ids\":[" __VA_ARGS__ "]}"
#define FOLDER_JSON(id, created)                                                                   \
    "{\"id\":\"" id "\",\"name\":\"cam's\",\"mimeType\":"                                          \
    "\"application/vnd.google-apps.folder\",\"parents\":[\"ROOT\"],\"createdTime\":\"" created     \
    "\",\"webViewLink\":\"https://drive/" id "\",\"trashed\":false}"
#define TOP FOLDER_JSON("TOP", "2026-01-01T00:00:00Z")
#define FILES(...) "{\"files\":[" __VA_ARGS__ "]}"
#define ERROR_JSON(code, reason)                                                                   \
    "{\"error\":{\"code\":" code ",\"message\":\"m\",\"errors\":[{\"reason\":\"" reason "\"}]}}"
#define NOT_FOUND ERROR_JSON("404", "notFound")

/* "0123456789" and its digest. */
#define MD5_OF_TEN "781e5e245d69b566979b86e28d23f2c7"
#define PICTURE_JSON(id, md5, more)                                                                \
    "{\"id\":\"" id "\",\"size\":\"10\",\"md5Checksum\":\"" md5 "\",\"parents\":[\"TOP\"],"        \
    "\"webViewLink\":\"https://drive/f/" id "\",\"appProperties\":{\"sd_key\":\"" KEY "\"}" more   \
    "}"
/* sha256("0198c0ffee0198c0ffee0198c0ffee01/picture") */
#define KEY "5e5d620ec31d9af02b8234ae467f213934d478c179a5af0f0eb94b76c1b14077"
