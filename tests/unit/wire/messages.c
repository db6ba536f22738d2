#include "messages.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "wire/heartbeat.h"
#include "wire/image_event.h"
#include "whole.h"

const char *const message_names[] = {
    "event_3",
    "event_300",
    "event_70000",
    "event_person",
    "event_extended",
    "event_extended_skipped",
    "event_claim_check",
    "heartbeat",
    "heartbeat_empty",
    "event_pushed",
    NULL,
};

static struct blob *make_heartbeat(bool empty);
static struct blob *make_plain(size_t size);
static struct blob *make_person(enum event_format format);
static struct blob *make_skipped(void);
static struct blob *make_pushed(void);

struct blob *message_make(const char *name)
{
    if (strcmp(name, "heartbeat") == 0 || strcmp(name, "heartbeat_empty") == 0)
        return make_heartbeat(strcmp(name, "heartbeat_empty") == 0);
    if (strcmp(name, "event_person") == 0)
        return make_person(EVENT_FORMAT_ORIGINAL);
    if (strcmp(name, "event_extended") == 0)
        return make_person(EVENT_FORMAT_EXTENDED);
    if (strcmp(name, "event_claim_check") == 0)
        return make_person(EVENT_FORMAT_CLAIM_CHECK);
    if (strcmp(name, "event_extended_skipped") == 0)
        return make_skipped();
    if (strcmp(name, "event_pushed") == 0)
        return make_pushed();
    if (strcmp(name, "event_3") == 0)
        return make_plain(3);
    if (strcmp(name, "event_300") == 0)
        return make_plain(300);
    if (strcmp(name, "event_70000") == 0)
        return make_plain(70000);
    return NULL;
}

struct blob *picture_new(size_t size)
{
    AUTO_FREE uint8_t *bytes = xmalloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 31 + 7);
    memcpy(bytes, "\xff\xd8\xff", MIN(size, (size_t)3));
    return blob_new_copy(bytes, size);
}

/* What was written, or NULL. */
static struct blob *take(struct dynbuf *b, int r)
{
    size_t size;
    char *data = r == 0 ? dynbuf_steal(b, &size) : NULL;
    dynbuf_done(b);
    return data ? blob_new_take(data, size) : NULL;
}

static struct blob *make_heartbeat(bool empty)
{
    static const struct heartbeat_device blank[] = {{"", ""}, {NULL, NULL}, {"Attic", ""}};
    static const struct heartbeat_device inputs[] = {
        {"", ""}, {"Driveway", "Detector"}, {"Attic", NULL}};
    static const struct heartbeat_device outputs[] = {
        {"Front Door", "Camera"}, {NULL, ""}, {"", "Siren"}, {NULL, NULL}};
    struct heartbeat h = {.at = wall_from_seconds(MESSAGE_WHEN), .inputs = blank, .input_count = 3};
    if (!empty) {
        h.inputs = inputs;
        h.input_count = ARRAY_LEN(inputs);
        h.outputs = outputs;
        h.output_count = ARRAY_LEN(outputs);
    }
    struct dynbuf body;
    struct err e;
    dynbuf_init(&body, SIZE_MAX);
    return take(&body, heartbeat_encode(&h, &body, &e));
}

static struct snapshot *make_snapshot(size_t size, const char *path)
{
    struct snapshot *s = snapshot_new();
    text_copy(s->id, sizeof(s->id), "019b7c5a1b2c00112233445566778899");
    text_copy(s->device_key, sizeof(s->device_key), "Front Door Camera");
    text_copy(s->device_label, sizeof(s->device_label), "Front Door");
    text_copy(s->path, sizeof(s->path), path);
    text_copy(s->format, sizeof(s->format), "jpeg");
    for (size_t i = 0; i < 64; i++)
        s->sha256[i] = i % 2 ? 'b' : 'a';
    s->event_at = wall_from_seconds(MESSAGE_WHEN);
    s->event_at.us += 999999; /* seconds are cut, not rounded */
    s->size = (int64_t)size;
    s->width = 1920;
    s->height = 1080;
    s->fetch_ms = 41.2512;
    return s;
}

static struct blob *encode(const struct snapshot *s, const struct verdict *v,
                           enum event_format format, const char *storage_url)
{
    AUTO(blob) bytes = picture_new((size_t)s->size);
    struct event ev = {.snapshot = s, .verdict = v, .bytes = bytes, .attempt = 1};
    struct image_event ie = {
        .event = &ev,
        .format = format,
        .published_at = wall_from_seconds(MESSAGE_WHEN),
        .store_root = "/data",
        .storage_url = storage_url,
        .image_url = "http://snap.example/api/v1/snapshots/019b/image",
        .size_max = 1 << 20,
    };
    AUTO_DONE(message_body) body;
    struct dynbuf whole;
    struct err e;
    message_body_init(&body);
    dynbuf_init(&whole, SIZE_MAX);
    int r = image_event_encode(&ie, &body, &e);
    whole_body(&body, &whole);
    return take(&whole, r);
}

static struct blob *make_plain(size_t size)
{
    AUTO(snapshot)
    s = make_snapshot(size, "front/2026/01/02/fetch_front-door-camera_1767323045.jpg");
    struct verdict v = {.outcome = VERDICT_EXAMINED};
    return encode(s, &v, EVENT_FORMAT_ORIGINAL, NULL);
}

static struct blob *make_person(enum event_format format)
{
    struct detection found[] = {
        {.label = "person",
         .confidence = 0.91338f,
         .has_box = true,
         .box = {10.5f, 20, 110.251f, 400}},
        {.label = "Person", .confidence = 0.5f, .has_box = true, .box = {0, 0, 1920, 1080}},
        {.label = "car", .confidence = 0.25f},
    };
    struct verdict v = {
        .outcome = VERDICT_EXAMINED,
        .model = "yolov8n-640.onnx",
        .decode_ms = 3.5,
        .infer_ms = 12.7512,
        .found = {found, ARRAY_LEN(found)},
    };
    AUTO(snapshot)
    s = make_snapshot(300, "front/2026/01/02/human_front-door-camera_1767323045.jpg");
    text_copy(s->device_label, sizeof(s->device_label), "Haust\xc3\xbcr vorn");
    return encode(s, &v, format, "https://drive.example/folders/1a2b");
}

/* Pushed by its camera under a name that a fetched picture might have. */
static struct blob *make_skipped(void)
{
    AUTO(snapshot) s = make_snapshot(70000, "front/human_by-its-camera.png");
    struct verdict v = {.outcome = VERDICT_SKIPPED};
    s->source = SNAPSHOT_PUSHED;
    text_copy(s->format, sizeof(s->format), "png");
    return encode(s, &v, EVENT_FORMAT_EXTENDED, NULL);
}

/* By the original's keys: there the path is the one that the picture has. */
static struct blob *make_pushed(void)
{
    AUTO(snapshot)
    s = make_snapshot(300, "front/2026/01/02/Haust\xc3\xbcr 05[M][0@0][0].jpg");
    struct verdict v = {.outcome = VERDICT_EXAMINED};
    s->source = SNAPSHOT_PUSHED;
    return encode(s, &v, EVENT_FORMAT_ORIGINAL, NULL);
}
