#pragma once
/* A real ledger in a directory of its own, and a fake pipeline behind the API. */

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "web/events.h"
#include "web/export.h"
#include "web/routes.h"

struct fixture {
    char folder[64];
    char path[96];
    struct ledger *ledger;
    struct web_backend backend;
    struct web_context context;
    struct events *events;
    struct exports *exports;
    struct err e;

    /* What the fake pipeline answers, and what it was asked. */
    int trigger_code, ready_code, healthy_code, bytes_code;
    const char *trigger_text;
    unsigned triggers, wakes, examines;
    atomic_uint byte_reads;
    uint64_t next_id;
    const char *picture;
    atomic_uint key_wakes;
    int push_code, result_code;
    const char *push_text;
    char pushed[64], pushed_name[256]; /* the bytes, and what their sender calls them */
    struct wall_time pushed_at;
    bool pushed_timed;
    int switch_code, thumbnail_code, thumbnail_width;
    bool switched_off;
};

static UNUSED void make_id(uint64_t n, char ret[SNAPSHOT_ID_SIZE])
{
    (void)snprintf(ret, SNAPSHOT_ID_SIZE, "%032llx", (unsigned long long)n);
}

static UNUSED void add_trigger(struct fixture *f, uint64_t n, const char *camera)
{
    struct trigger t = {.origin = TRIGGER_API};
    make_id(n, t.id);
    text_copy(t.camera, sizeof(t.camera), camera);
    text_copy(t.device_key, sizeof(t.device_key), "Front Door Camera");
    text_copy(t.device_label, sizeof(t.device_label), "Front Door");
    t.event_at.us = (int64_t)n * 1000000;
    t.accepted_at.us = t.event_at.us + 250000;
    if (ledger_trigger_add(f->ledger, &t, &f->e) < 0)
        fail_msg("%s", f->e.text);
}

static UNUSED struct snapshot *add_snapshot(struct fixture *f, uint64_t n, const char *camera,
                                            int64_t event_us)
{
    struct snapshot *s = snapshot_new();
    make_id(n, s->id);
    text_copy(s->camera, sizeof(s->camera), camera);
    text_copy(s->device_key, sizeof(s->device_key), "Front Door Camera");
    text_copy(s->device_label, sizeof(s->device_label), "Front Door");
    s->source = SNAPSHOT_FETCHED;
    s->event_at.us = event_us;
    s->received_at.us = event_us + 143000;
    (void)snprintf(s->path, sizeof(s->path), "porch/2026/01/02/fetch_front-door-camera_%llu.jpg",
                   (unsigned long long)n);
    s->size = 10;
    memset(s->md5, 'a', 32);
    memset(s->sha256, 'b', 64);
    text_copy(s->format, sizeof(s->format), "jpeg");
    s->width = 1280;
    s->height = 720;
    s->fetch_ms = 43.21098;
    if (ledger_snapshot_add(f->ledger, s, &f->e) < 0)
        fail_msg("%s", f->e.text);
    return s;
}

static UNUSED void examine(struct fixture *f, struct snapshot *s, const char *const *labels,
                           const float *scores, size_t count, bool annotate)
{
    struct verdict v = {.outcome = VERDICT_EXAMINED, .decode_ms = 5.5, .infer_ms = 30.25};
    text_copy(v.model, sizeof(v.model), "test.onnx");
    v.found.items = xcalloc(count + 1, sizeof(*v.found.items));
    v.found.count = count;
    for (size_t i = 0; i < count; i++) {
        text_copy(v.found.items[i].label, DETECTION_LABEL_MAX, labels[i]);
        v.found.items[i].confidence = scores[i];
        v.found.items[i].has_box = i % 2 == 0;
        v.found.items[i].box = (struct box){10.125f, 20, 30.5f, 40};
    }
    char annotated[SNAPSHOT_PATH_MAX] = "";
    if (annotate)
        (void)snapshot_name_renamed(s->path, "detect", annotated, sizeof(annotated));
    static const char *const nowhere[] = {NULL};
    if (ledger_snapshot_examined(f->ledger, s, &v, NULL, annotated, nowhere, NULL, 0, &f->e) < 0)
        fail_msg("%s", f->e.text);
    verdict_done(&v);
}

static int fake_trigger(void *arg, const char *camera, struct trigger *ret, struct err *e)
{
    struct fixture *f = arg;
    f->triggers++;
    if (f->trigger_code < 0)
        return err_set(e, f->trigger_code, ERR_NEVER, "%s", f->trigger_text);
    char id[SNAPSHOT_ID_SIZE];
    make_id(f->next_id, id);
    add_trigger(f, f->next_id++, camera);
    return ledger_trigger_get(f->ledger, id, ret, e);
}

static json_t *fake_cameras(void *arg, const char *camera)
{
    static const char *const states[][2] = {{"porch", "ok"}, {"Back <b>/Yard", "failing"}};
    json_t *list = json_array();
    (void)arg;
    for (size_t i = 0; i < 2; i++)
        if (!camera || strcmp(camera, states[i][0]) == 0)
            json_array_append_new(
                list, json_pack("{s:s,s:s}", "name", states[i][0], "state", states[i][1]));
    return list;
}

static json_t *fake_status(void *arg)
{
    (void)arg;
    return json_pack("{s:s,s:b,s:o}", "version", "1.2.3", "ready", 1, "cameras",
                     fake_cameras(arg, NULL));
}

static int fake_bytes(void *arg, const struct snapshot *s, bool annotated, struct blob **ret,
                      struct err *e)
{
    struct fixture *f = arg;
    f->byte_reads++;
    if (f->bytes_code < 0)
        return err_set(e, f->bytes_code, ERR_NEVER, "%s: no such file", s->path);
    const char *bytes = annotated ? "annotated!" : f->picture;
    struct blob *blob = blob_new_copy(bytes, strlen(bytes));
    if (!blob)
        return err_errno(e, -ENOMEM, "picture");
    *ret = blob;
    return 0;
}

static int fake_push_check(void *arg, const char *camera, size_t *ret_max, struct err *e)
{
    (void)arg;
    if (strcmp(camera, "porch") != 0)
        return err_set(e, strcmp(camera, "off") == 0 ? -ECANCELED : -ENOENT, ERR_NEVER, "camera %s",
                       camera);
    *ret_max = 100000;
    return 0;
}

static int fake_push(void *arg, const struct web_post *post, char ret_id[SNAPSHOT_ID_SIZE],
                     struct err *e)
{
    struct fixture *f = arg;
    (void)snprintf(f->pushed, sizeof(f->pushed), "%.*s", (int)MIN(post->bytes->size, (size_t)63),
                   (const char *)post->bytes->data);
    text_copy(f->pushed_name, sizeof(f->pushed_name), post->name);
    f->pushed_at = post->event_at;
    f->pushed_timed = post->timed;
    make_id(f->next_id, ret_id);
    return f->push_code < 0 ? err_set(e, f->push_code, ERR_NEVER, "%s", f->push_text)
                            : f->push_code;
}

static int fake_push_result(void *arg, const char *id, char ret_id[SNAPSHOT_ID_SIZE], struct err *e)
{
    struct fixture *f = arg;
    text_copy(ret_id, SNAPSHOT_ID_SIZE, id);
    return f->result_code < 0 && f->result_code != -EINPROGRESS
               ? err_set(e, f->result_code, ERR_NEVER, "%s", f->push_text)
               : f->result_code;
}

static int fake_switch(void *arg, const char *camera, bool off, struct err *e)
{
    struct fixture *f = arg;
    if (f->switch_code < 0)
        return err_set(e, f->switch_code, ERR_NEVER, "camera \"%s\" is not to be switched", camera);
    f->switched_off = off;
    return 0;
}

static json_t *fake_destinations(void *arg UNUSED)
{
    return json_pack("{s:[],s:[]}", "destinations", "storages");
}

static json_t *fake_queues(void *arg UNUSED)
{
    return json_pack("{s:i,s:[]}", "span_s", 300, "spans");
}

static json_t *fake_config(void *arg UNUSED)
{
    return json_pack("{s:n,s:[]}", "file", "sections");
}

static int fake_thumbnail(void *arg, const struct snapshot *s, int width, struct blob **ret,
                          struct err *e)
{
    struct fixture *f = arg;
    f->thumbnail_width = width;
    if (f->thumbnail_code < 0)
        return err_set(e, f->thumbnail_code, ERR_NEVER, "%s: it cannot be", s->path);
    *ret = blob_new_copy("small", 5);
    return *ret ? 0 : err_errno(e, -ENOMEM, "picture");
}

static int fake_ready(void *arg, struct err *e)
{
    struct fixture *f = arg;
    return f->ready_code < 0 ? err_set(e, f->ready_code, ERR_LATER, "the model is loading") : 0;
}

static json_t *fake_parts(void *arg UNUSED)
{
    return json_pack("[{s:s,s:s}]", "name", "detector", "state", "waiting");
}

static int fake_healthy(void *arg, struct err *e)
{
    struct fixture *f = arg;
    return f->healthy_code < 0 ? err_set(e, f->healthy_code, ERR_LATER, "stage detect is stuck")
                               : 0;
}

static void count_wake(void *arg)
{
    struct fixture *f = arg;
    f->wakes++;
}

static void count_key(void *arg, const char *key UNUSED)
{
    struct fixture *f = arg;
    atomic_fetch_add(&f->key_wakes, 1);
}

static void fake_examine(void *arg)
{
    struct fixture *f = arg;
    f->examines++;
}

static int64_t fake_trash_keep_ms(void *arg UNUSED)
{
    return 600000;
}

static UNUSED int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(f->folder, sizeof(f->folder), "%.40s/web-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(f->folder))
        return -1;
    (void)snprintf(f->path, sizeof(f->path), "%s/snapshotd.db", f->folder);
    if (ledger_open(f->path, &f->ledger, &f->e) < 0)
        return -1;
    f->next_id = 1000;
    f->picture = "0123456789";
    f->backend = (struct web_backend){.arg = f,
                                      .trigger = fake_trigger,
                                      .status = fake_status,
                                      .bytes = fake_bytes,
                                      .cameras = fake_cameras,
                                      .switch_camera = fake_switch,
                                      .destinations = fake_destinations,
                                      .queues = fake_queues,
                                      .config = fake_config,
                                      .thumbnail = fake_thumbnail,
                                      .parts = fake_parts,
                                      .ready = fake_ready,
                                      .healthy = fake_healthy,
                                      .push_check = fake_push_check,
                                      .push = fake_push,
                                      .push_result = fake_push_result,
                                      .examine = fake_examine,
                                      .trash_keep_ms = fake_trash_keep_ms};
    struct events_options events = {
        .ledger = f->ledger, .backend = &f->backend, .wake = count_wake, .arg = f};
    f->events = events_new(&events);
    struct exports_options exports = {
        .ledger_path = f->path, .backend = &f->backend, .wake = count_key, .arg = f};
    f->exports = exports_new(&exports);
    f->context = (struct web_context){
        .ledger = f->ledger, .backend = &f->backend, .events = f->events, .exports = f->exports};
    *state = f;
    return 0;
}

static UNUSED int tear_down(void **state)
{
    struct fixture *f = *state;
    exports_free(f->exports);
    events_free(f->events);
    ledger_close(f->ledger);
    DIR *folder = opendir(f->folder);
    struct dirent *entry;
    while (folder && (entry = readdir(folder)))
        (void)unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder)
        (void)closedir(folder);
    (void)rmdir(f->folder);
    free(f);
    return snapshot_live_count() == 0 && blob_live_count() == 0 ? 0 : -1;
}

/* ---- asking without a socket ---- */

struct reply {
    struct http_request request;
    struct http_response response;
    const struct web_route *route;
    json_t *json; /* NULL when it is none */
};

static UNUSED void reply_done(struct reply *r)
{
    json_decref(r->json);
    r->json = NULL;
    http_response_done(&r->response);
}

/* `headers` NULL or pairs, NULL-terminated. */
static UNUSED void send_to(struct fixture *f, const char *method, const char *target,
                           const char *const *headers, const char *body, size_t size,
                           struct reply *ret)
{
    *ret = (struct reply){
        .request = {
            .method = method, .target = target, .may_wait = true, .body = body, .body_size = size}};
    ret->request.peer = (struct http_peer){.address = "127.0.0.1", .loopback = true};
    for (size_t i = 0; headers && headers[i]; i += 2)
        ret->request.headers[ret->request.header_count++] =
            (struct http_pair){headers[i], headers[i + 1]};
    http_response_init(&ret->response);
    if (http_request_parse(&ret->request, &f->e) < 0)
        fail_msg("%s: %s", target, f->e.text);
    ret->route = web_answer(&f->context, &ret->request, &ret->response);
    if (ret->response.waits)
        return;
    http_response_finish(&ret->request, &ret->response);
    if (ret->response.body && ret->response.content_type &&
        strcmp(ret->response.content_type, "application/json") == 0 &&
        js_parse((const char *)ret->response.body->data, ret->response.body->size, WEB_BODY_MAX,
                 &ret->json, &f->e) < 0)
        fail_msg("%s: %s", target, f->e.text);
}

static UNUSED void ask_with(struct fixture *f, const char *method, const char *target,
                            const char *const *headers, struct reply *ret)
{
    send_to(f, method, target, headers, "", 0, ret);
}

static UNUSED void ask(struct fixture *f, const char *method, const char *target, struct reply *ret)
{
    ask_with(f, method, target, NULL, ret);
}

static UNUSED const char *header_of(const struct reply *r, const char *name)
{
    for (size_t i = 0; i < r->response.header_count; i++)
        if (strcmp(r->response.headers[i].name, name) == 0)
            return r->response.headers[i].value;
    return NULL;
}

/* A member by a dotted path: "error.code", "snapshots.0.id". Borrowed; NULL when there is none. */
static UNUSED json_t *at(json_t *j, const char *path)
{
    char key[64];
    while (j && *path) {
        size_t len = strcspn(path, ".");
        (void)snprintf(key, sizeof(key), "%.*s", (int)len, path);
        j = json_is_array(j) ? json_array_get(j, strtoul(key, NULL, 10)) : json_object_get(j, key);
        path += len + (path[len] == '.');
    }
    return j;
}

static UNUSED const char *text_at(json_t *j, const char *path)
{
    const char *text = json_string_value(at(j, path));
    return text ? text : "(none)";
}
