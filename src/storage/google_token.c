#include "storage/google_token.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"

#define REVOKE_URL "https://oauth2.googleapis.com/revoke"
#define INFO_URL "https://oauth2.googleapis.com/tokeninfo"
#define URL_MAX 512

static int parse_object(const char *text, size_t size, json_t **ret, struct err *e);
static int read_file(const char *path, struct blob **ret, struct err *e);
static const char *word_of(const json_t *keys, const char *key, size_t max);
static void borrow(struct google_token *t);
static void complete(json_t *keys);

/* ---- the client ---- */

static const char *first_local(const json_t *uris)
{
    static const char *const local[] = {"http://127.0.0.1", "http://localhost", "http://[::1]"};
    size_t i;
    const json_t *uri;
    json_array_foreach(uris, i, uri)
    {
        const char *s = json_is_string(uri) ? json_string_value(uri) : "";
        for (size_t k = 0; k < ARRAY_LEN(local); k++) {
            char next = text_starts_with(s, local[k]) ? s[strlen(local[k])] : 'x';
            if ((next == '\0' || next == ':' || next == '/') && strlen(s) < URL_MAX)
                return s;
        }
    }
    return "";
}

int google_client_parse(const char *text, size_t size, struct google_client **ret, struct err *e)
{
    AUTO_JSON json_t *keys = NULL;
    int r = parse_object(text, size, &keys, e);
    if (r < 0)
        return r;
    if (strcmp(google_text(keys, "type", 64), "service_account") == 0)
        return err_set(e, -EBADMSG, ERR_NEVER,
                       "this is the key of a service account, which needs no login: write it as "
                       "service_account_file of [gdrive]");
    bool web = json_is_object(json_object_get(keys, "web"));
    const json_t *c = json_object_get(keys, web ? "web" : "installed");
    if (!json_is_object(c))
        return err_set(e, -EBADMSG, ERR_NEVER,
                       "neither \"installed\" nor \"web\" is in it: download the OAuth client as "
                       "JSON from Google's console");
    const char *id = word_of(c, "client_id", GOOGLE_SECRET_MAX);
    if (!*id)
        return err_set(e, -EBADMSG, ERR_NEVER, "it has no client_id");
    const json_t *uris = json_object_get(c, "redirect_uris");
    struct google_client *client = xcalloc(1, sizeof(*client));
    *client = (struct google_client){
        .keys = STEAL(keys),
        .client_id = id,
        .client_secret = word_of(c, "client_secret", GOOGLE_SECRET_MAX),
        .auth_uri = word_of(c, "auth_uri", URL_MAX),
        .token_uri = word_of(c, "token_uri", URL_MAX),
        .redirect_uri = first_local(uris),
        .web = web,
    };
    *ret = client;
    return 0;
}

int google_client_read(const char *path, struct google_client **ret, struct err *e)
{
    AUTO(blob) text = NULL;
    int r = read_file(path, &text, e);
    if (r == 0)
        r = google_client_parse((const char *)text->data, text->size, ret, e);
    if (r < 0)
        (void)err_prefix(e, "the OAuth client %s", path);
    return r;
}

void google_client_free(struct google_client *c)
{
    if (!c)
        return;
    json_decref(c->keys);
    free(c);
}

/* ---- the token ---- */

int google_token_parse(const char *text, size_t size, struct google_token **ret, struct err *e)
{
    AUTO_JSON json_t *keys = NULL;
    int r = parse_object(text, size, &keys, e);
    if (r < 0)
        return r;
    if (strcmp(google_text(keys, "type", 64), "service_account") == 0)
        return err_set(e, -EBADMSG, ERR_NEVER,
                       "this is the key of a service account: write it as service_account_file of "
                       "[gdrive]");
    if (json_object_get(keys, "installed") || json_object_get(keys, "web"))
        return err_set(e, -EBADMSG, ERR_NEVER,
                       "this is an OAuth client and no login: write it as client_secret_file of "
                       "[gdrive] and run `snapshotd auth gdrive`");
    if (!*word_of(keys, "refresh_token", GOOGLE_SECRET_MAX))
        return err_set(e, -EBADMSG, ERR_NEVER,
                       "it has no refresh_token: log in by `snapshotd auth gdrive`");
    if (!*word_of(keys, "client_id", GOOGLE_SECRET_MAX))
        return err_set(e, -EBADMSG, ERR_NEVER,
                       "it has no client_id: log in by `snapshotd auth gdrive`");
    struct google_token *t = xcalloc(1, sizeof(*t));
    t->keys = STEAL(keys);
    borrow(t);
    *ret = t;
    return 0;
}

int google_token_read(const char *path, struct google_token **ret, struct err *e)
{
    AUTO(blob) text = NULL;
    int r = read_file(path, &text, e);
    if (r == 0)
        r = google_token_parse((const char *)text->data, text->size, ret, e);
    if (r < 0)
        (void)err_prefix(e, "the login %s", path);
    return r;
}

static void set_text(json_t *keys, const char *key, const char *value)
{
    (void)json_object_set_new(keys, key, js_string(value)); /* memory alone can fail */
}

struct google_token *google_token_new(const struct google_client *client,
                                      const struct google_grant *grant, const char *scope,
                                      struct wall_time now)
{
    struct google_token *t = xcalloc(1, sizeof(*t));
    t->keys = json_object();
    set_text(t->keys, "client_id", client->client_id);
    set_text(t->keys, "client_secret", client->client_secret);
    set_text(t->keys, "token_uri",
             google_url_is_googles(client->token_uri) ? client->token_uri : GOOGLE_TOKEN_URL);
    json_t *scopes = json_array();
    const char *granted = *grant->scope ? grant->scope : scope;
    while (*granted) {
        size_t len = strcspn(granted, " ");
        if (len > 0)
            (void)json_array_append_new(scopes, json_stringn(granted, len));
        granted += len + (granted[len] == ' ');
    }
    (void)json_object_set_new(t->keys, "scopes", scopes);
    google_token_take(t, grant, now);
    return t;
}

void google_token_free(struct google_token *t)
{
    if (!t)
        return;
    json_decref(t->keys);
    free(t);
}

void google_token_take(struct google_token *t, const struct google_grant *grant,
                       struct wall_time now)
{
    char expires[WALL_ISO_MAX];
    struct wall_time until = {now.us + grant->expires_s * 1000000};
    set_text(t->keys, "access_token", grant->access_token);
    if (*grant->refresh_token)
        set_text(t->keys, "refresh_token", grant->refresh_token);
    set_text(t->keys, "token_expiry", wall_format_iso(until, false, expires));
    (void)json_object_set_new(t->keys, "token_response", json_deep_copy(grant->answer));
    (void)json_object_set_new(t->keys, "invalid", json_false());
    complete(t->keys);
    borrow(t);
}

void google_token_set_invalid(struct google_token *t)
{
    (void)json_object_set_new(t->keys, "invalid", json_true());
    complete(t->keys);
    borrow(t);
}

bool google_token_is_same_login(const struct google_token *a, const struct google_token *b)
{
    return strcmp(a->refresh_token, b->refresh_token) == 0 &&
           strcmp(a->client_id, b->client_id) == 0;
}

/* What oauth2client wants to find when it reads the file; it stops at a key that is missing. */
static void complete(json_t *keys)
{
    static const struct {
        const char *key, *text; /* NULL = null */
    } wanted[] = {
        {"access_token", NULL},
        {"client_secret", NULL},
        {"token_expiry", NULL},
        {"token_uri", GOOGLE_TOKEN_URL},
        {"user_agent", NULL},
        {"revoke_uri", REVOKE_URL},
        {"id_token", NULL},
        {"id_token_jwt", NULL},
        {"token_response", NULL},
        {"token_info_uri", INFO_URL},
        {"_class", "OAuth2Credentials"},
        {"_module", "oauth2client.client"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (!json_object_get(keys, wanted[i].key))
            (void)json_object_set_new(keys, wanted[i].key,
                                      wanted[i].text ? json_string(wanted[i].text) : json_null());
    if (!json_object_get(keys, "scopes"))
        (void)json_object_set_new(keys, "scopes", json_array());
    if (!json_object_get(keys, "invalid"))
        (void)json_object_set_new(keys, "invalid", json_false());
}

static void borrow(struct google_token *t)
{
    t->refresh_token = word_of(t->keys, "refresh_token", GOOGLE_SECRET_MAX);
    t->client_id = word_of(t->keys, "client_id", GOOGLE_SECRET_MAX);
    t->client_secret = word_of(t->keys, "client_secret", GOOGLE_SECRET_MAX);
    t->access_token = word_of(t->keys, "access_token", GOOGLE_TOKEN_MAX);
    t->token_uri = word_of(t->keys, "token_uri", URL_MAX);
    t->invalid = json_is_true(json_object_get(t->keys, "invalid"));
    if (wall_parse_iso(google_text(t->keys, "token_expiry", 64), &t->expires) < 0)
        t->expires = (struct wall_time){0};
}

/* ---- files ---- */

/* A line end or a quote within a token would be a second header of a request. */
static const char *word_of(const json_t *keys, const char *key, size_t max)
{
    const char *s = google_text(keys, key, max);
    return google_is_word(s) ? s : "";
}

static int parse_object(const char *text, size_t size, json_t **ret, struct err *e)
{
    json_t *j = NULL;
    size_t blank = 0;
    while (blank < size && strchr(" \t\r\n", text[blank]))
        blank++;
    if (blank == size)
        return err_set(e, -EBADMSG, ERR_NEVER, "it is empty");
    /* The parser's own words quote the text, and the text is secret. */
    if (js_parse(text, size, GOOGLE_FILE_MAX, &j, NULL) < 0)
        return err_set(e, -EBADMSG, ERR_NEVER, "it is no JSON, or cut off");
    if (!json_is_object(j)) {
        json_decref(j);
        return err_set(e, -EBADMSG, ERR_NEVER, "it is no JSON object");
    }
    *ret = j;
    return 0;
}

static int read_file(const char *path, struct blob **ret, struct err *e)
{
    return fs_read_blob(AT_FDCWD, path, GOOGLE_FILE_MAX, ret, e);
}

static int folder_of(const char *path, char ret[PATH_MAX], struct err *e)
{
    const char *slash = strrchr(path, '/');
    int r = !slash          ? text_format(ret, PATH_MAX, ".")
            : slash == path ? text_format(ret, PATH_MAX, "/")
                            : text_format(ret, PATH_MAX, "%.*s", (int)(slash - path), path);
    return r < 0 ? err_set(e, -ENAMETOOLONG, ERR_NEVER, "the path %.64s... is too long", path) : 0;
}

/* Whoever holds the folder's lock writes; it is gone with the descriptor. */
static int lock_folder(const char *path, int *ret_fd, struct err *e)
{
    char folder[PATH_MAX];
    int r = folder_of(path, folder, e);
    if (r == 0 && access(folder, F_OK) < 0)
        r = fs_mkdirs(AT_FDCWD, folder, 0700, e);
    if (r < 0)
        return r;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, -errno, "open %s", folder);
    while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
        ;
    /* A file system without locks: then whoever is last wins, as ever. */
    *ret_fd = fd;
    return 0;
}

static int replace(const char *path, const struct google_token *t, struct err *e);

int google_token_save(const char *path, const struct google_token *t, const char *instead_of,
                      struct err *e)
{
    AUTO_CLOSE int lock = -1;
    AUTO(google_token) now = NULL;
    int r = lock_folder(path, &lock, e);
    if (r == 0 && instead_of && google_token_read(path, &now, NULL) == 0 &&
        strcmp(now->refresh_token, instead_of) != 0)
        return err_set(e, -ESTALE, ERR_NOW, "%s: somebody has logged in meanwhile", path);
    if (r == 0)
        r = replace(path, t, e);
    return r < 0 ? err_prefix(e, "cannot keep the login in %s", path) : 0;
}

char *google_token_text(const struct google_token *t)
{
    AUTO(google_token) again = NULL;
    char *text = json_dumps(t->keys, JSON_COMPACT);
    /* Without memory a key may be missing as well. What is no login must not replace one. */
    if (text && google_token_parse(text, strlen(text), &again, NULL) == 0)
        return text;
    free(text);
    return NULL;
}

static int replace(const char *path, const struct google_token *t, struct err *e)
{
    AUTO_FREE char *text = google_token_text(t);
    if (!text)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory; the file stays as it is");
    int r = fs_replace(AT_FDCWD, path, text, strlen(text), 0600, e);
    explicit_bzero(text, strlen(text));
    return r;
}

int google_token_save_text(const char *path, const char *text, size_t size, struct err *e)
{
    AUTO_CLOSE int lock = -1;
    int r = lock_folder(path, &lock, e);
    if (r == 0)
        r = fs_replace(AT_FDCWD, path, text, size, 0600, e);
    return r < 0 ? err_prefix(e, "cannot keep the login in %s", path) : 0;
}

bool google_token_is_missing(const char *path)
{
    struct stat st;
    return stat(path, &st) < 0 ? errno == ENOENT || errno == ENOTDIR : st.st_size == 0;
}

int google_token_restore(const char *path, const char *text, size_t size, struct err *e)
{
    AUTO_CLOSE int lock = -1;
    int r = lock_folder(path, &lock, e);
    if (r == 0 && !google_token_is_missing(path))
        return err_set(e, -EEXIST, ERR_NOW, "%s: somebody has logged in meanwhile", path);
    if (r == 0)
        r = fs_replace(AT_FDCWD, path, text, size, 0600, e);
    return r < 0 ? err_prefix(e, "cannot keep the login in %s", path) : 0;
}
