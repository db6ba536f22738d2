/* Any bytes as a request to the API, over a real ledger with a few rows and a pipeline that answers
 * all kinds of things. The first line is "METHOD TARGET", then headers to an empty line, then the
 * body. What comes out must be an answer that can be sent. */

#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "sys/http_peer.h"
#include "web/events.h"
#include "web/export.h"
#include "web/routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct web_context *context(void);
static char *next_line(char **cursor);
static void split_header(char *line, struct http_request *req);
static void check_answer(const struct http_response *r);
static void check_stream(const struct http_response *r);
static void find_peer(struct http_request *req);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
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
    req->target = space ? space + 1 : "/";
    req->may_wait = true;
    req->peer = (struct http_peer){.address = "127.0.0.1", .loopback = true};
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
        return 0;
    }
    find_peer(req);
    if (http_request_check_framing(req, &e) < 0) /* the server goes no further; routes must cope */
        assert(e.text[0]);
    (void)web_admit(w, req, &r);
    if (r.status) /* refused before its body was read */
        http_response_done(&r);
    (void)web_answer(w, req, &r);
    if (r.waits) { /* the wait is over */
        struct http_wait wait = r.wait;
        assert(wait.key[0] && wait.recheck.us <= wait.deadline.us);
        http_response_done(&r);
        req->resumed = &wait;
        req->may_wait = false;
        (void)web_answer(w, req, &r);
        assert(!r.waits);
    }
    http_response_finish(req, &r);
    check_answer(&r);
    check_stream(&r);
    http_response_done(&r);
    return 0;
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
        (struct http_pair){line, colon ? colon + strspn(colon, " \t") : ""};
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

/* What a listener hears at first. Zip files are made by a thread once they are read: not here. */
static void check_stream(const struct http_response *r)
{
    char block[512];
    struct http_wait wait = {0};
    if (!r->stream.read || !r->stream.endless)
        return;
    ssize_t n = r->stream.read(r->stream.arg, block, sizeof(block), &wait);
    assert(n > 0 && n <= (ssize_t)sizeof(block));
    n = r->stream.read(r->stream.arg, block, sizeof(block), &wait);
    assert(n == 0 && wait.key[0] && wait.recheck.us > 0);
}

static void find_peer(struct http_request *req)
{
    static const char *const proxies[] = {"127.0.0.1", "10.0.0.0/8", NULL};
    static struct host_list *trusted;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (!trusted && host_list_new(proxies, &trusted, NULL) < 0)
        abort();
    http_peer_find(req, (struct sockaddr *)&a, false, trusted);
    assert(req->peer.trusted && !req->peer.loopback);
    struct in6_addr parsed;
    assert(inet_pton(AF_INET, req->peer.address, &parsed) == 1 ||
           inet_pton(AF_INET6, req->peer.address, &parsed) == 1);
}

/* ---- what stands behind ---- */

static char folder[] = "/tmp/fuzz-http-XXXXXX";
static struct ledger *ledger;

/* Which answer depends on the name, so that the fuzzer can choose. No trigger is recorded: rows
 * would make one run depend on those before. */
static int fake_trigger(void *arg, const char *camera, struct trigger *ret, struct err *e)
{
    (void)arg;
    static const int codes[] = {-ENOENT, -ECANCELED, -EBUSY, -EIO};
    if (camera[0] >= '0' && camera[0] <= '3')
        return err_set(e, codes[camera[0] - '0'], ERR_NEVER, "camera '%s'", camera);
    *ret = (struct trigger){.origin = TRIGGER_API};
    text_copy(ret->id, sizeof(ret->id),
              camera[0] == 'd' ? "00000000000000000000000000000001"
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

/* Which answer depends on the first byte. */
static int fake_push(void *arg, const struct web_post *post, char ret_id[SNAPSHOT_ID_SIZE],
                     struct err *e)
{
    (void)arg;
    static const int codes[] = {-EFBIG, -EAGAIN, -ENOSPC, -EINVAL, 0, 1};
    assert(post->bytes && post->bytes->size > 0);
    text_copy(ret_id, SNAPSHOT_ID_SIZE, "00000000000000000000000000000001");
    int code = codes[post->bytes->data[0] % ARRAY_LEN(codes)];
    return code < 0 ? err_set(e, code, ERR_NEVER, "%s", post->name) : code;
}

static int fake_push_result(void *arg, const char *id, char ret_id[SNAPSHOT_ID_SIZE], struct err *e)
{
    (void)arg;
    (void)e;
    text_copy(ret_id, SNAPSHOT_ID_SIZE, id);
    return -EINPROGRESS;
}

static int fake_ready(void *arg, struct err *e)
{
    (void)arg;
    return err_set(e, -EAGAIN, ERR_LATER, "never");
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

static void stay_asleep_too(void *arg, const char *key)
{
    (void)arg;
    (void)key;
}

static struct events *listened;
static struct exports *exported;

static void clean_up(void)
{
    exports_free(exported);
    events_free(listened);
    ledger_close(ledger);
    DIR *d = opendir(folder);
    struct dirent *entry;
    while (d && (entry = readdir(d)))
        (void)unlinkat(dirfd(d), entry->d_name, 0); /* "." and ".." stay by themselves */
    if (d)
        (void)closedir(d);
    (void)rmdir(folder);
}

static struct web_context *context(void)
{
    static const struct web_backend backend = {.trigger = fake_trigger,
                                               .status = fake_status,
                                               .bytes = fake_bytes,
                                               .cameras = fake_cameras,
                                               .switch_camera = fake_switch,
                                               .destinations = fake_document,
                                               .config = fake_document,
                                               .thumbnail = fake_thumbnail,
                                               .ready = fake_ready,
                                               .healthy = fake_ready,
                                               .push_check = fake_push_check,
                                               .push = fake_push,
                                               .push_result = fake_push_result};
    static const char *const names[] = {"cam.example", NULL};
    static struct web_context w = {.backend = &backend, .host_names = names};
    if (w.ledger)
        return &w;
    char path[64];
    struct err e;
    if (!mkdtemp(folder))
        abort();
    (void)snprintf(path, sizeof(path), "%s/snapshotd.db", folder);
    int r = ledger_open(path, &ledger, &e);
    assert(r == 0);
    for (int n = 1; n <= 8; n++)
        add_snapshot(n, n < 7);
    (void)atexit(clean_up);
    w.ledger = ledger;
    struct events_options events = {.ledger = ledger, .backend = &backend, .wake = stay_asleep};
    w.events = listened = events_new(&events);
    struct exports_options exports = {
        .ledger_path = path, .backend = &backend, .wake = stay_asleep_too};
    w.exports = exported = exports_new(&exports);
    return &w;
}
