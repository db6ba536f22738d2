/* Any bytes as a request to the API, over a real ledger with a few rows and a pipeline that answers
 * all kinds of things. The first line is "METHOD TARGET", then headers to an empty line, then the
 * body. What comes out must be an answer that can be sent.
 *
 * Each input is asked by a stranger, by a proxy's client and at the machine itself. Secrets cannot
 * be guessed: a seed writes "good" where one stands, see `secrets`. What has changed something is
 * undone, so that no run depends on those before. */

#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "ledger/ledger_trash.h"
#include "sys/http_peer.h"
#include "web/events.h"
#include "web/export.h"
#include "web/routes.h"

enum peer { STRANGER, PROXY, MACHINE, PEER_COUNT };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void fuzz_replayed(void);

static void ask(enum peer peer, const uint8_t *data, size_t size);
static struct web_context *context(void);
static void start_over(void);
static char *next_line(char **cursor);
static void split_header(char *line, struct http_request *req);
static const char *fill_in(const char *text);
static void find_peer(enum peer peer, struct http_request *req);
static const struct web_route *answer(struct web_context *w, struct http_request *req,
                                      struct http_response *r);
static void check_access(const struct web_context *w, const struct web_route *route,
                         const struct http_response *r);
static void check_answer(const struct http_response *r);
static void check_events(const struct http_response *r);
static void check_zip(const struct http_response *r);
static bool is_reading(const struct web_route *route);

static enum peer peer_now; /* who asks; the pipeline is ready for some of them */
static sem_t woken;
static unsigned long answered[128]; /* by route: successes */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int peer = 0; peer < PEER_COUNT; peer++)
        ask((enum peer)peer, data, size);
    return 0;
}

/* The seeds open every route: else what stands behind it is not fuzzed. */
void fuzz_replayed(void)
{
    for (size_t i = 0; i < web_route_count; i++) {
        if (answered[i] > 0)
            continue;
        (void)fprintf(stderr, "no seed gets an answer from %s %s\n", web_routes[i].method,
                      web_routes[i].pattern);
        abort();
    }
}

static void ask(enum peer peer, const uint8_t *data, size_t size)
{
    struct web_context *w = context();
    AUTO_FREE char *text = xmalloc(size + 1);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    AUTO_FREE struct http_request *req = xcalloc(1, sizeof(*req));
    char *cursor = text;
    char *line = next_line(&cursor);
    req->method = line;
    char *space = strchr(line, ' ');
    if (space)
        *space = '\0';
    req->target = fill_in(space ? space + 1 : "/");
    req->may_wait = true;
    while (cursor < text + size && req->header_count < HTTP_HEADERS_MAX) {
        line = next_line(&cursor);
        if (!line[0])
            break;
        split_header(line, req);
    }
    req->body = cursor;
    req->body_size = size - (size_t)MIN(cursor - text, (ptrdiff_t)size);

    struct http_response r;
    http_response_init(&r);
    struct err e;
    err_clear(&e);
    if (http_request_parse(req, &e) < 0) {
        assert(e.text[0]);
        return;
    }
    find_peer(peer, req);
    if (http_request_check_framing(req, &e) < 0) /* the server goes no further; routes must cope */
        assert(e.text[0]);
    (void)web_admit(w, req, &r);
    if (r.status) /* refused before its body was read */
        http_response_done(&r);
    const struct web_route *route = answer(w, req, &r);
    check_access(w, route, &r);
    bool done = route && r.status < 400;
    if (done)
        answered[route - web_routes]++;
    http_response_finish(req, &r);
    check_answer(&r);
    if (r.stream.read && r.stream.endless)
        check_events(&r);
    else if (r.stream.read)
        check_zip(&r);
    http_response_done(&r);
    if (done && !is_reading(route))
        start_over();
}

/* Waits where the answer does: for the hash of a password until it is there, else once. */
static const struct web_route *answer(struct web_context *w, struct http_request *req,
                                      struct http_response *r)
{
    const struct web_route *route = web_answer(w, req, r);
    if (!r->waits)
        return route;
    struct http_wait wait = r->wait;
    assert(wait.key[0] && wait.recheck.us <= wait.deadline.us);
    if (strncmp(wait.key, "hash-", 5) == 0)
        (void)sem_wait(&woken);
    http_response_done(r);
    req->resumed = &wait;
    req->may_wait = false;
    route = web_answer(w, req, r);
    assert(!r->waits);
    req->resumed = NULL;
    return route;
}

static bool is_reading(const struct web_route *route)
{
    return strcmp(route->method, "GET") == 0;
}

/* Whatever is asked, and however: nobody gets nothing, and a viewer changes nothing. */
static void check_access(const struct web_context *w, const struct web_route *route,
                         const struct http_response *r)
{
    if (!route || route->access == WEB_OPEN)
        return;
    const struct access_who *who = &w->who;
    if (who->how == ACCESS_BY_NOTHING)
        assert(r->status == 401);
    else if (who->role != ACCESS_ADMIN && who->how != ACCESS_BY_TOKEN && !is_reading(route) &&
             route->access != WEB_VIEW)
        assert(r->status == 403);
    else if (who->how == ACCESS_BY_TOKEN && route->access == WEB_ADMIN)
        assert(r->status == 403);
}

static char *next_line(char **cursor)
{
    char *line = *cursor, *end = line + strcspn(line, "\n");
    *cursor = *end ? end + 1 : end;
    *end = '\0';
    if (end > line && end[-1] == '\r')
        end[-1] = '\0';
    return line;
}

static void split_header(char *line, struct http_request *req)
{
    char *colon = strchr(line, ':');
    if (colon)
        *colon++ = '\0';
    req->headers[req->header_count++] =
        (struct http_pair){line, fill_in(colon ? colon + strspn(colon, " \t") : "")};
}

static void check_answer(const struct http_response *r)
{
    assert(r->status >= 200 && r->status <= 599);
    for (size_t i = 0; i < r->header_count; i++)
        assert(!strpbrk(r->headers[i].value, "\r\n"));
    assert(!r->body || r->body_offset + r->body_length <= r->body->size);
    if (r->status == 304)
        assert(r->body_length == 0);
    if (!r->body || !r->content_type || strcmp(r->content_type, "application/json") != 0)
        return;
    AUTO_JSON json_t *j = NULL;
    int parsed = js_parse((const char *)r->body->data, r->body->size, WEB_BODY_MAX, &j, NULL);
    assert(parsed == 0);
    if (r->status >= 400)
        assert(json_string_value(json_object_get(json_object_get(j, "error"), "code")));
}

/* What a listener hears at first. */
static void check_events(const struct http_response *r)
{
    char block[512];
    struct http_wait wait = {0};
    ssize_t n = 1;
    for (int reads = 0; n > 0; reads++) {
        n = r->stream.read(r->stream.arg, block, sizeof(block), &wait);
        assert(n >= 0 && n <= (ssize_t)sizeof(block) && (n > 0 || reads > 0));
        assert(reads < 1000);
    }
    assert(wait.key[0] && wait.recheck.us > 0);
}

/* The whole of it: its thread reads what the request says once more. */
static void check_zip(const struct http_response *r)
{
    static char block[65536];
    struct http_wait wait = {0};
    size_t size = 0;
    ssize_t n;
    while ((n = r->stream.read(r->stream.arg, block, sizeof(block), &wait)) >= 0) {
        if (n == 0)
            (void)sem_wait(&woken);
        else if (size == 0)
            assert(n >= 4 && memcmp(block, "PK", 2) == 0);
        size += (size_t)n;
    }
    assert(n == HTTP_STREAM_END && size > 0);
}

static void find_peer(enum peer peer, struct http_request *req)
{
    static const char *const proxies[] = {"127.0.0.1", "10.0.0.0/8", NULL};
    static struct host_list *trusted;
    in_addr_t from = peer == STRANGER ? 0xc0000209 : INADDR_LOOPBACK;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(from)}};
    if (!trusted && host_list_new(proxies, &trusted, NULL) < 0)
        abort();
    peer_now = peer;
    http_peer_find(req, (struct sockaddr *)&a, false, peer == PROXY ? trusted : NULL);
    assert(req->peer.trusted == (peer == PROXY));
    assert(!req->peer.loopback || peer == MACHINE);
    struct in6_addr parsed;
    assert(inet_pton(AF_INET, req->peer.address, &parsed) == 1 ||
           inet_pton(AF_INET6, req->peer.address, &parsed) == 1);
}

/* ---- what stands behind ---- */

static struct ledger *ledger; /* while it is filled */

#define FAILED_TRIGGER "0000000000000000000000000000eeee"

/* Which answer depends on the name, so that the fuzzer can choose. */
static int fake_trigger(void *arg, const char *camera, struct trigger *ret, struct err *e)
{
    (void)arg;
    static const int codes[] = {-ENOENT, -ECANCELED, -EBUSY, -EIO};
    if (camera[0] >= '0' && camera[0] <= '3')
        return err_set(e, codes[camera[0] - '0'], ERR_NEVER, "camera '%s'", camera);
    *ret = (struct trigger){.origin = TRIGGER_API};
    text_copy(ret->id, sizeof(ret->id),
              camera[0] == 'd'   ? "00000000000000000000000000000001"
              : camera[0] == 'e' ? FAILED_TRIGGER
                                 : "0000000000000000000000000000ffff");
    return 0;
}

static json_t *fake_status(void *arg)
{
    (void)arg;
    return json_pack("{s:[{s:s},{}]}", "cameras", "name", "porch");
}

static int fake_bytes(void *arg, const struct snapshot *s, bool annotated, struct blob **ret,
                      struct err *e)
{
    (void)arg;
    (void)e;
    *ret = blob_new_copy(annotated ? "boxes" : s->id, annotated ? 5 : SNAPSHOT_ID_LEN);
    return 0;
}

static int fake_push_check(void *arg, const char *camera, size_t *ret_max, struct err *e)
{
    *ret_max = 1000;
    struct trigger t;
    return camera[0] == 'p' ? 0 : fake_trigger(arg, camera, &t, e);
}

/* Which answer depends on the first byte, and what becomes of it on the second. */
static int fake_push(void *arg, const struct web_post *post, char ret_id[SNAPSHOT_ID_SIZE],
                     struct err *e)
{
    (void)arg;
    static const int codes[] = {-EFBIG, -EAGAIN, -ENOSPC, -EINVAL, 0, 1};
    assert(post->bytes && post->bytes->size > 0);
    (void)snprintf(ret_id, SNAPSHOT_ID_SIZE, "%032x",
                   post->bytes->size > 1 ? post->bytes->data[1] % 6u : 1u);
    int code = codes[post->bytes->data[0] % ARRAY_LEN(codes)];
    return code < 0 ? err_set(e, code, ERR_NEVER, "%s", post->name) : code;
}

static int fake_push_result(void *arg, const char *id, char ret_id[SNAPSHOT_ID_SIZE], struct err *e)
{
    (void)arg;
    static const int codes[] = {0, -EINPROGRESS, 1, -EINVAL, -ENOSPC, -EIO};
    text_copy(ret_id, SNAPSHOT_ID_SIZE, id);
    int code = codes[(unsigned)(id[SNAPSHOT_ID_LEN - 1] - '0') % ARRAY_LEN(codes)];
    return code < 0 && code != -EINPROGRESS ? err_set(e, code, ERR_NEVER, "snapshot '%s'", id)
                                            : code;
}

static int fake_ready(void *arg, struct err *e)
{
    (void)arg;
    return peer_now == STRANGER ? err_set(e, -EAGAIN, ERR_LATER, "not for strangers") : 0;
}

static void fake_attention(void *arg, char ret[ERR_TEXT_MAX])
{
    (void)arg;
    text_copy(ret, ERR_TEXT_MAX, "a storage \"wants\" a login");
}

static json_t *fake_parts(void *arg)
{
    (void)arg;
    return json_pack("[{s:s,s:s}]", "name", "detector", "state", "ready");
}

static void take_note(void *arg)
{
    (void)arg;
}

static int64_t fake_trash_keep_ms(void *arg)
{
    (void)arg;
    return 600000;
}

static json_t *fake_cameras(void *arg, const char *camera)
{
    (void)arg;
    if (camera && strcmp(camera, "porch") != 0)
        return json_array();
    return json_pack("[{s:s},{}]", "name", "porch");
}

static int fake_switch(void *arg, const char *camera, bool off, struct err *e)
{
    struct trigger t;
    (void)off;
    return fake_trigger(arg, camera, &t, e);
}

static json_t *fake_document(void *arg)
{
    (void)arg;
    return json_object();
}

static int fake_thumbnail(void *arg, const struct snapshot *s, int width, struct blob **ret,
                          struct err *e)
{
    static const int codes[] = {-EAGAIN, -EBUSY, -EINVAL, -EOPNOTSUPP};
    int n = s->id[SNAPSHOT_ID_LEN - 1] % 8;
    if (n < 4)
        return err_set(e, codes[n], ERR_LATER, "snapshot '%s'", s->id);
    return fake_bytes(arg, s, width == 320, ret, e);
}

static void add_snapshot(int n, bool examine)
{
    AUTO(snapshot) s = snapshot_new();
    struct err e;
    (void)snprintf(s->id, sizeof(s->id), "%032x", n);
    text_copy(s->camera, sizeof(s->camera), n % 2 ? "porch" : "\"<yard>");
    text_copy(s->device_key, sizeof(s->device_key), "Front Door Camera");
    s->event_at.us = 1700000000000000 + n / 3 * 1000000;
    s->received_at = s->event_at;
    (void)snprintf(s->path, sizeof(s->path), "porch/fetch_%d.jpg", n);
    text_copy(s->format, sizeof(s->format), "jpeg");
    memset(s->sha256, 'b', 64);
    memset(s->md5, 'a', 32);
    s->size = 1;
    int r = ledger_snapshot_add(ledger, s, &e);
    assert(r == 0);
    if (!examine)
        return;
    struct detection found = {.label = "person", .confidence = 0.5f, .has_box = n % 2};
    struct verdict v = {.found = {&found, (size_t)(n % 3 > 0)}};
    r = ledger_snapshot_examined(ledger, s, &v, NULL, n == 1 ? "porch/detect_1.jpg" : NULL, NULL,
                                 NULL, 0, &e);
    assert(r == 0);
}

static void stay_asleep(void *arg)
{
    (void)arg;
}

static void wake_up(void *arg, const char *key)
{
    (void)arg;
    (void)key;
    (void)sem_post(&woken);
}

/* Passwords are hashed as slowly as they should be: not here. Where they wait, the real threads do
 * it. */
int __wrap_passwd_hash(const char *password, char ret[PASSWD_HASH_MAX], struct err *e);
int __wrap_passwd_hash(const char *password, char ret[PASSWD_HASH_MAX], struct err *e)
{
    (void)e;
    (void)snprintf(ret, PASSWD_HASH_MAX, "%.300s", password);
    return 0;
}

bool __wrap_passwd_matches(const char *hash, const char *password);
bool __wrap_passwd_matches(const char *hash, const char *password)
{
    return strncmp(hash, password, 300) == 0;
}

/* ---- its state ---- */

static char folder[64];
static const char *const kept_names[] = {"snapshotd.db", ACCESS_DB_NAME};
static struct blob *kept[ARRAY_LEN(kept_names)]; /* as they are before each run */
static struct web_context now;

/* What a seed writes, and what stands for it. */
static struct {
    const char *written;
    char meant[192];
} secrets[] = {{"Bearer good", ""},
               {"snapshotd=good", ""},
               {"csrf=good", ""},
               {"/s/good", ""},
               {"/api/v1/tokens/good", ""}};

static const char *fill_in(const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
        if (strcmp(text, secrets[i].written) == 0)
            return secrets[i].meant;
    return text;
}

static void mean(size_t i, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void mean(size_t i, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(secrets[i].meant, sizeof(secrets[i].meant), fmt, ap);
    va_end(ap);
    assert(n > 0 && n < (int)sizeof(secrets[i].meant));
}

static void path_of(const char *name, char ret[128])
{
    (void)snprintf(ret, 128, "%s/%s", folder, name);
}

static void remove_files(void)
{
    DIR *d = opendir(folder);
    struct dirent *entry;
    while (d && (entry = readdir(d)))
        (void)unlinkat(dirfd(d), entry->d_name, 0); /* "." and ".." stay by themselves */
    if (d)
        (void)closedir(d);
}

static void stop(void)
{
    exports_free(now.exports);
    events_free(now.events);
    access_free(now.access);
    ledger_close(now.ledger);
    now = (struct web_context){0};
}

static void clean_up(void)
{
    stop();
    remove_files();
    (void)rmdir(folder);
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        blob_unref(kept[i]);
}

static void fill_ledger(void)
{
    struct err e;
    char path[128];
    path_of("snapshotd.db", path);
    int r = ledger_open(path, &ledger, &e);
    assert(r == 0);
    for (int n = 1; n <= 9; n++)
        add_snapshot(n, n < 7);
    r = ledger_snapshot_delete(ledger, "00000000000000000000000000000009", false, &e);
    assert(r == 0);
    struct trigger t = {.id = FAILED_TRIGGER, .camera = "porch", .origin = TRIGGER_API};
    r = ledger_trigger_add(ledger, &t, &e);
    assert(r == 0);
    r = ledger_trigger_fail(ledger, &t, "\"no\" picture", &e);
    assert(r == 0);
    ledger_close(ledger);
}

static void fill_access(void)
{
    struct err e;
    struct access_db *d;
    char path[128], text[ACCESS_SECRET_MAX];
    path_of(ACCESS_DB_NAME, path);
    int r = access_db_open(path, true, &d, &e);
    assert(r == 0);
    r = access_user_add(d, "anna", ACCESS_ADMIN, "a quiet porch", &e);
    assert(r == 0);
    r = access_user_add(d, "bert", ACCESS_VIEWER, "a silent yard", &e);
    assert(r == 0);
    struct access_token t = {.name = "door", .scopes = ACCESS_SCOPES_ALL};
    r = access_token_add(d, &t, text, &e);
    assert(r == 0);
    mean(0, "Bearer %s", text);
    mean(4, "/api/v1/tokens/%s", t.id);
    r = access_session_add(d, "anna", "192.0.2.9", (struct wall_time){0}, text, &e);
    assert(r == 0);
    mean(1, "snapshotd=%s", text);
    access_db_close(d);
}

static struct blob *read_whole(const char *name)
{
    char path[128];
    path_of(name, path);
    FILE *f = fopen(path, "rb");
    assert(f);
    size_t size = 0, max = 4 << 20;
    AUTO_FREE char *bytes = xmalloc(max);
    size = fread(bytes, 1, max, f);
    assert(size > 0 && size < max);
    (void)fclose(f);
    return blob_new_copy(bytes, size);
}

static void keep(void)
{
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        blob_unref(kept[i]);
        kept[i] = read_whole(kept_names[i]);
    }
}

/* Everything as it was before the last run. */
static void start_over(void)
{
    static const struct web_backend backend = {.trigger = fake_trigger,
                                               .status = fake_status,
                                               .bytes = fake_bytes,
                                               .starred = take_note,
                                               .ready = fake_ready,
                                               .attention = fake_attention,
                                               .parts = fake_parts,
                                               .healthy = fake_ready,
                                               .pulse = fake_document,
                                               .push_check = fake_push_check,
                                               .push = fake_push,
                                               .push_result = fake_push_result,
                                               .examine = take_note,
                                               .trash_keep_ms = fake_trash_keep_ms,
                                               .cameras = fake_cameras,
                                               .switch_camera = fake_switch,
                                               .destinations = fake_document,
                                               .config = fake_document,
                                               .thumbnail = fake_thumbnail,
                                               .queues = fake_document};
    static const char *const names[] = {"cam.example", NULL};
    stop();
    remove_files();
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        path_of(kept_names[i], path);
        FILE *f = fopen(path, "wb");
        assert(f);
        size_t written = fwrite(kept[i]->data, 1, kept[i]->size, f);
        assert(written == kept[i]->size);
        (void)fclose(f);
    }
    struct access_options access = {.path = path, /* the last one */
                                    .proxy_user_header = "X-Remote-User",
                                    .proxy_role = ACCESS_VIEWER,
                                    .wake = wake_up};
    now = (struct web_context){.backend = &backend, .host_names = names};
    now.access = access_new(&access);
    path_of(kept_names[0], path);
    struct err e;
    int r = ledger_open(path, &now.ledger, &e);
    assert(r == 0);
    struct events_options events = {.ledger = now.ledger, .backend = &backend, .wake = stay_asleep};
    now.events = events_new(&events);
    struct exports_options exports = {.ledger_path = path, .backend = &backend, .wake = wake_up};
    now.exports = exports_new(&exports);
}

/* The word of the session, and a link that is good for long. */
static void ask_for_secrets(void)
{
    struct err e;
    AUTO_FREE struct http_request *req = xcalloc(1, sizeof(*req));
    req->headers[req->header_count++] = (struct http_pair){"Cookie", secrets[1].meant};
    struct access_who who;
    access_identify(now.access, req, &who);
    assert(who.how == ACCESS_BY_SESSION);
    mean(2, "%s", who.csrf);
    char mac[HASH_SHA256_HEX];
    int r =
        access_sign(now.access, "link:00000000000000000000000000000001:1099511627775:0", mac, &e);
    assert(r == 0);
    mean(3, "/s/00000000000000000000000000000001.ffffffffff.%s", mac);
}

static struct web_context *context(void)
{
    if (now.ledger)
        return &now;
    assert(web_route_count <= ARRAY_LEN(answered));
    log_set_level(LOG_LEVEL_ERROR);
    (void)sem_init(&woken, 0, 0);
    (void)snprintf(folder, sizeof(folder), "%s/fuzz-http-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"); /* the faster one */
    if (!mkdtemp(folder))
        abort();
    (void)atexit(clean_up);
    fill_ledger();
    fill_access();
    keep();
    start_over();
    ask_for_secrets(); /* which makes the key of links */
    stop();
    keep();
    start_over();
    return &now;
}
