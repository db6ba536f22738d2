#include "web/snapshot_json.h"

#include <math.h>
#include <string.h>

#include "base/text.h"
#include "sys/http_message.h"

static json_t *verdict_json(const struct verdict *v);
static json_t *detection_json(const struct detection *d);
static json_t *story_json(const struct ledger_story *story, int count);
static json_t *snapshot_links(const struct snapshot *s);
static json_t *rounded(double v, double steps);
static void put(json_t *object, const char *key, json_t *value);
static void put_text(json_t *object, const char *key, const char *value);

json_t *snapshot_json(const struct snapshot *s, const struct verdict *verdict,
                      const struct ledger_story *story, int story_count)
{
    json_t *o = json_object();
    char detail[VERDICT_DETAIL_MAX] = "";
    if (verdict)
        verdict_detail(verdict, detail);
    put_text(o, "id", s->id);
    put_text(o, "camera", s->camera);
    put_text(o, "device_key", s->device_key);
    put_text(o, "device_label", s->device_label);
    put_text(o, "source", snapshot_source_names[s->source]);
    put_text(o, "state", snapshot_state_names[s->state]);
    put(o, "starred", json_boolean(s->starred));
    put(o, "removed", json_boolean(s->removed));
    put(o, "deleted_at", time_json(s->deleted_at));
    put(o, "event_at", time_json(s->event_at));
    put(o, "received_at", time_json(s->received_at));
    put_text(o, "event_detail", detail);
    put_text(o, "path", s->path);
    put(o, "annotated_path", s->annotated_path[0] ? js_string(s->annotated_path) : json_null());
    put(o, "size", json_integer(s->size));
    put(o, "md5", s->md5[0] ? js_string(s->md5) : json_null());
    put_text(o, "sha256", s->sha256);
    put_text(o, "format", s->format);
    put(o, "width", json_integer(s->width));
    put(o, "height", json_integer(s->height));
    put(o, "orientation", json_integer(s->orientation));
    put(o, "fetch_ms", s->source == SNAPSHOT_FETCHED ? rounded(s->fetch_ms, 100) : json_null());
    put(o, "verdict", verdict ? verdict_json(verdict) : json_null());
    if (story)
        put(o, "story", story_json(story, story_count));
    put(o, "links", snapshot_links(s));
    return o;
}

json_t *trigger_json(const struct trigger *t)
{
    json_t *o = json_object();
    put_text(o, "id", t->id);
    put_text(o, "camera", t->camera);
    put_text(o, "device_key", t->device_key);
    put_text(o, "origin", trigger_origin_names[t->origin]);
    put_text(o, "state", trigger_state_names[t->state]);
    put(o, "event_at", time_json(t->event_at));
    put(o, "accepted_at", time_json(t->accepted_at));
    put(o, "attempts", json_integer(t->attempts));
    put(o, "next_attempt_at", t->state == TRIGGER_PENDING ? time_json(t->not_before) : json_null());
    put(o, "last_error", t->error[0] ? js_string(t->error) : json_null());
    json_t *links = json_object();
    char path[64 + SNAPSHOT_ID_SIZE];
    (void)text_format(path, sizeof(path), "/api/v1/triggers/%s", t->id);
    put_text(links, "self", path);
    (void)text_format(path, sizeof(path), "/api/v1/snapshots/%s", t->id);
    put_text(links, "snapshot", path);
    put(o, "links", links);
    return o;
}

json_t *time_json(struct wall_time t)
{
    char text[WALL_ISO_MAX];
    return t.us == 0 ? json_null() : json_string(wall_format_iso(t, true, text));
}

json_t *camera_link_json(const char *before, const char *camera, const char *after)
{
    AUTO_DONE(dynbuf) path;
    dynbuf_init(&path, 256 + 3 * SNAPSHOT_KEY_MAX);
    (void)dynbuf_puts(&path, before); /* the maximum holds the longest name */
    (void)http_escape(&path, camera);
    (void)dynbuf_puts(&path, after);
    return path.failed ? json_null() : json_string(dynbuf_str(&path));
}

static json_t *verdict_json(const struct verdict *v)
{
    json_t *o = json_object();
    put_text(o, "outcome", verdict_outcome_names[v->outcome]);
    put_text(o, "model", v->model);
    put(o, "decode_ms", rounded(v->decode_ms, 100));
    put(o, "infer_ms", rounded(v->infer_ms, 100));
    put(o, "damaged", json_boolean(v->damaged));
    put(o, "error", v->error[0] ? js_string(v->error) : json_null());
    put(o, "persons", json_integer(verdict_persons(v)));
    put(o, "things", json_integer(verdict_things(v)));
    json_t *list = json_array();
    for (size_t i = 0; i < v->found.count; i++)
        json_array_append_new(list, detection_json(&v->found.items[i]));
    put(o, "detections", list);
    return o;
}

static json_t *detection_json(const struct detection *d)
{
    json_t *o = json_object();
    put_text(o, "label", d->label);
    put(o, "confidence", rounded((double)d->confidence, 10000));
    if (!d->has_box) {
        put(o, "box", json_null());
        return o;
    }
    json_t *box = json_array();
    const float edges[] = {d->box.x1, d->box.y1, d->box.x2, d->box.y2};
    for (size_t i = 0; i < ARRAY_LEN(edges); i++)
        json_array_append_new(box, rounded((double)edges[i], 100));
    put(o, "box", box);
    return o;
}

static json_t *story_json(const struct ledger_story *story, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        json_t *step = json_object();
        put(step, "at", time_json(story[i].at));
        put_text(step, "what", story[i].what);
        put_text(step, "detail", story[i].detail);
        json_array_append_new(list, step);
    }
    return list;
}

static json_t *snapshot_links(const struct snapshot *s)
{
    json_t *links = json_object();
    char path[64 + SNAPSHOT_ID_SIZE];
    (void)text_format(path, sizeof(path), "/api/v1/snapshots/%s", s->id);
    put_text(links, "self", path);
    (void)text_format(path, sizeof(path), "/api/v1/snapshots/%s/image", s->id);
    put_text(links, "image", path);
    (void)text_format(path, sizeof(path), "/api/v1/snapshots/%s/image?annotated=1", s->id);
    put(links, "annotated", s->annotated_path[0] ? json_string(path) : json_null());
    (void)text_format(path, sizeof(path), "/api/v1/snapshots/%s/thumbnail", s->id);
    put_text(links, "thumbnail", path);
    put(links, "camera_snapshots", camera_link_json("/api/v1/snapshots?camera=", s->camera, ""));
    return links;
}

/* Digits beyond what was measured only make the answers long. JSON knows no infinity. */
static json_t *rounded(double v, double steps)
{
    return isfinite(v) ? json_real(round(v * steps) / steps) : json_null();
}

static void put(json_t *object, const char *key, json_t *value)
{
    /* Without memory the member is missing; the next one will not fit either, and web_answer_json
     * or the client notices. */
    (void)json_object_set_new_nocheck(object, key, value);
}

static void put_text(json_t *object, const char *key, const char *value)
{
    put(object, key, js_string(value));
}
