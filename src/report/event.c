#include "report/event.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/hash.h"

static json_t *contexts(const struct event_origin *origin);
static json_t *os_context(const struct utsname *u);
static json_t *device_context(const struct utsname *u);

/* Sentry has no "notice". */
static const char *const level_words[LOG_LEVEL_COUNT] = {"error", "warning", "info", "info",
                                                         "debug"};

void event_record_copy(struct event_record *to, const struct log_record *from)
{
    to->at = from->at;
    to->level = from->level;
    text_copy(to->id, sizeof(to->id), from->id ? from->id : "");
    text_copy(to->stage, sizeof(to->stage), from->stage ? from->stage : "");
    text_copy(to->camera, sizeof(to->camera), from->camera ? from->camera : "");
    text_copy(to->snapshot, sizeof(to->snapshot), from->snapshot ? from->snapshot : "");
    const char *text = from->text ? from->text : "";
    size_t len = text_cut_length(text, sizeof(to->text) - 1);
    memcpy(to->text, text, len);
    to->text[len] = '\0';
}

void event_new_id(char ret[EVENT_ID_SIZE])
{
    uint8_t id[16];
    hash_random(id, sizeof(id));
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x40); /* version 4, */
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80); /* of the usual variant */
    text_hex(id, sizeof(id), ret);
}

static void put_new(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new(object, key, value); /* without memory an event has one member less */
}

static void put_time(json_t *object, const char *key, struct wall_time at)
{
    char text[WALL_ISO_MAX];
    put_new(object, key, json_string(wall_format_iso(at, true, text)));
}

void event_put_text(json_t *object, const char *key, const struct scrub *scrub, const char *text,
                    size_t max)
{
    if (!text || !text[0])
        return;
    AUTO_FREE char *clean = scrub_text(scrub, text);
    clean[text_cut_length(clean, max)] = '\0';
    put_new(object, key, js_string(clean));
}

json_t *event_new(const struct event_origin *origin, const char id[EVENT_ID_SIZE],
                  struct wall_time at, const char *level)
{
    json_t *event = json_object();
    put_new(event, "event_id", json_string(id));
    put_time(event, "timestamp", at);
    put_new(event, "platform", json_string("native"));
    put_new(event, "level", json_string(level));
    put_new(event, "logger", json_string("snapshotd"));
    event_put_text(event, "release", NULL, origin->release, EVENT_TAG_MAX);
    event_put_text(event, "environment", NULL, origin->environment, EVENT_TAG_MAX);
    event_put_text(event, "server_name", NULL, origin->server_name, EVENT_TAG_MAX);
    put_new(event, "sdk", json_pack("{s:s,s:s}", "name", "snapshotd", "version", origin->version));
    put_new(event, "contexts", contexts(origin));
    put_new(event, "tags", json_object());
    return event;
}

json_t *event_crumb(const struct scrub *scrub, const struct event_record *record)
{
    json_t *crumb = json_object(), *data = json_object();
    put_time(crumb, "timestamp", record->at);
    put_new(crumb, "type", json_string(record->level == LOG_LEVEL_ERROR ? "error" : "default"));
    put_new(crumb, "category", js_string(record->id));
    put_new(crumb, "level", json_string(level_words[record->level]));
    event_put_text(crumb, "message", scrub, record->text, EVENT_TEXT_MAX);
    event_put_text(data, "stage", scrub, record->stage, EVENT_TAG_MAX);
    event_put_text(data, "camera", scrub, record->camera, EVENT_TAG_MAX);
    event_put_text(data, "snapshot", NULL, record->snapshot, EVENT_TAG_MAX);
    put_new(crumb, "data", data);
    return crumb;
}

json_t *event_of_record(const struct event_origin *origin, const struct scrub *scrub,
                        const char id[EVENT_ID_SIZE], const struct event_record *record,
                        unsigned long long count, const struct event_record *crumbs,
                        size_t crumb_count)
{
    assert(crumb_count <= EVENT_CRUMBS_MAX);
    json_t *event = event_new(origin, id, record->at, level_words[record->level]);
    event_put_text(event, "message", scrub, record->text, EVENT_TEXT_MAX);
    put_new(event, "fingerprint", json_pack("[o]", js_string(record->id)));
    put_new(event, "transaction", js_string(record->id));
    json_t *tags = json_object_get(event, "tags");
    put_new(tags, "log_id", js_string(record->id));
    event_put_text(tags, "stage", scrub, record->stage, EVENT_TAG_MAX);
    event_put_text(tags, "camera", scrub, record->camera, EVENT_TAG_MAX);
    event_put_text(tags, "snapshot", NULL, record->snapshot, EVENT_TAG_MAX);
    put_new(event, "extra", json_pack("{s:I}", "occurrences", (json_int_t)count));
    json_t *values = json_array();
    for (size_t i = 0; i < crumb_count; i++)
        (void)json_array_append_new(values, event_crumb(scrub, &crumbs[i]));
    put_new(event, "breadcrumbs", json_pack("{s:o}", "values", values));
    return event;
}

int event_envelope(const char *id, const void *event, size_t size, struct wall_time sent_at,
                   const char *version, struct dynbuf *out)
{
    char when[WALL_ISO_MAX];
    AUTO_JSON json_t *head = json_pack("{s:s,s:s,s:{s:s,s:s}}", "event_id", id, "sent_at",
                                       wall_format_iso(sent_at, true, when), "sdk", "name",
                                       "snapshotd", "version", version);
    AUTO_JSON json_t *item = json_pack("{s:s,s:I,s:s}", "type", "event", "length", (json_int_t)size,
                                       "content_type", "application/json");
    int r = js_write(head, out);
    if (r == 0)
        r = dynbuf_puts(out, "\n");
    if (r == 0)
        r = js_write(item, out);
    if (r == 0)
        r = dynbuf_puts(out, "\n");
    if (r == 0)
        r = dynbuf_append(out, event, size);
    return r < 0 ? r : dynbuf_puts(out, "\n");
}

/* ---- the machine ---- */

static json_t *contexts(const struct event_origin *origin)
{
    struct utsname u;
    if (uname(&u) < 0)
        memset(&u, 0, sizeof(u));
    return json_pack("{s:o,s:o,s:{s:s,s:s,s:s}}", "os", os_context(&u), "device",
                     device_context(&u), "runtime", "type", "runtime", "name", "snapshotd",
                     "version", origin->version);
}

/* PRETTY_NAME="Debian GNU/Linux 12 (bookworm)" */
static void distribution(char *ret, size_t size)
{
    static const char key[] = "PRETTY_NAME=";
    AUTO_FREE char *real = realpath("/etc/os-release", NULL);
    AUTO(blob) file = NULL;
    ret[0] = '\0';
    if (!real || fs_read_blob(AT_FDCWD, real, 64 * 1024, &file, NULL) < 0)
        return;
    AUTO_FREE char *text = xstrndup((const char *)file->data, file->size);
    const char *at = strstr(text, key);
    if (!at)
        return;
    at += strlen(key) + (at[strlen(key)] == '"');
    (void)text_format(ret, size, "%.*s", (int)strcspn(at, "\"\n"), at); /* cut is fine */
}

static json_t *os_context(const struct utsname *u)
{
    char name[128];
    distribution(name, sizeof(name));
    json_t *os = json_pack("{s:s,s:o,s:o}", "type", "os", "name", js_string(u->sysname), "version",
                           js_string(u->release));
    event_put_text(os, "distribution", NULL, name, EVENT_TAG_MAX);
    return os;
}

static json_t *device_context(const struct utsname *u)
{
    json_int_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return json_pack("{s:s,s:o,s:I,s:I}", "type", "device", "arch", js_string(u->machine),
                     "memory_size", pages * page, "processor_count",
                     (json_int_t)sysconf(_SC_NPROCESSORS_ONLN));
}
