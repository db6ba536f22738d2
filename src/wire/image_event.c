#include "wire/image_event.h"

#include <assert.h>
#include <errno.h>
#include <math.h>

#include "base/mem.h"
#include "base/text.h"
#include "wire/message.h"

const char *const event_format_names[EVENT_FORMAT_COUNT] = {"original", "extended", "claim_check"};

/* What is written, and where the picture belongs. */
struct writing {
    const struct image_event *ie;
    size_t *gap;
};

static void write_event(struct msgpack_writer *w, const void *what);
static void write_original_pairs(struct msgpack_writer *w, const struct writing *writing);
static void write_more_pairs(struct msgpack_writer *w, const struct event *ev);
static void write_detection(struct msgpack_writer *w, const struct detection *d);
static void write_key(struct msgpack_writer *w, const char *key);
static void write_text(struct msgpack_writer *w, const char *key, const char *value);
static void write_text_or_nil(struct msgpack_writer *w, const char *key, const char *value);
static void write_rounded(struct msgpack_writer *w, double v, double steps);

enum { ORIGINAL_PAIRS = 7, MORE_PAIRS = 12 };

int image_event_encode(const struct image_event *ie, struct message_body *ret, struct err *e)
{
    bool claim = ie->format == EVENT_FORMAT_CLAIM_CHECK;
    assert(!claim || ie->image_url);
    dynbuf_reset(&ret->around);
    blob_unref(ret->picture);
    ret->picture = NULL;
    if (!claim && !ie->event->bytes)
        return err_set(e, -ENODATA, ERR_NEVER, "image event: the picture's bytes are gone");
    /* A length of MessagePack has 32 bits. */
    if (!claim && ie->event->bytes->size > MESSAGE_SIZE_MAX)
        return err_set(e, -EMSGSIZE, ERR_NEVER, "image event: a picture of %zu bytes",
                       ie->event->bytes->size);
    struct writing w = {.ie = ie, .gap = &ret->gap};
    int r = message_encode(write_event, &w, claim ? 0 : ie->event->bytes->size, ie->size_max,
                           &ret->around, e);
    if (r < 0)
        return err_prefix(e, "image event");
    if (claim)
        ret->gap = ret->around.len;
    else
        ret->picture = blob_ref(ie->event->bytes);
    return 0;
}

static void write_event(struct msgpack_writer *w, const void *what)
{
    const struct writing *writing = what;
    const struct image_event *ie = writing->ie;
    const struct verdict *v = ie->event->verdict;
    char at[WALL_ISO_MAX], detail[VERDICT_DETAIL_MAX];
    bool original = ie->format == EVENT_FORMAT_ORIGINAL;
    bool told = verdict_detail(v, detail)[0] != '\0';
    msgpack_write_map(w, 2);
    write_text(w, "timestamp", wall_format_iso(ie->published_at, false, at));
    write_key(w, "inputs");
    msgpack_write_array(w, 1);
    msgpack_write_map(w, ORIGINAL_PAIRS + told + (original ? 0 : MORE_PAIRS));
    write_original_pairs(w, writing);
    if (told)
        write_text(w, "event_detail", detail);
    if (!original)
        write_more_pairs(w, ie->event);
}

static void write_original_pairs(struct msgpack_writer *w, const struct writing *writing)
{
    const struct image_event *ie = writing->ie;
    const struct snapshot *s = ie->event->snapshot;
    char fetched[SNAPSHOT_PATH_MAX], unix_seconds[24];
    snapshot_name_original(s, fetched);
    AUTO_FREE char *path = xasprintf("%s/%s", ie->store_root, fetched);
    (void)text_format(unix_seconds, sizeof(unix_seconds), "%lld", /* has room for any */
                      (long long)wall_seconds(s->event_at));
    write_text(w, "device_key", s->device_key);
    write_text(w, "device_label", s->device_label);
    write_text(w, "type", "camera");
    if (ie->format == EVENT_FORMAT_CLAIM_CHECK) {
        write_text(w, "image_url", ie->image_url);
    } else {
        write_key(w, "image");
        msgpack_write_bin_head(w, ie->event->bytes->size);
        *writing->gap = w->len;
    }
    write_text(w, "image_timestamp", unix_seconds);
    write_text_or_nil(w, "storage_url", ie->storage_url);
    write_text(w, "storage_path", path);
}

/* Names and units as the HTTP API has them. */
static void write_more_pairs(struct msgpack_writer *w, const struct event *ev)
{
    const struct snapshot *s = ev->snapshot;
    const struct verdict *v = ev->verdict;
    write_text(w, "snapshot_id", s->id);
    write_key(w, "size");
    msgpack_write_uint(w, (uint64_t)s->size);
    write_text(w, "sha256", s->sha256);
    write_text(w, "content_type", snapshot_content_type(s->format));
    write_key(w, "width");
    msgpack_write_uint(w, (uint64_t)s->width);
    write_key(w, "height");
    msgpack_write_uint(w, (uint64_t)s->height);
    write_text(w, "outcome", verdict_outcome_names[v->outcome]);
    write_text_or_nil(w, "model", v->model[0] ? v->model : NULL);
    write_key(w, "detections");
    msgpack_write_array(w, (uint32_t)v->found.count);
    for (size_t i = 0; i < v->found.count; i++)
        write_detection(w, &v->found.items[i]);
    write_key(w, "fetch_ms");
    if (s->source == SNAPSHOT_FETCHED)
        write_rounded(w, s->fetch_ms, 100);
    else
        msgpack_write_nil(w);
    write_key(w, "decode_ms");
    write_rounded(w, v->decode_ms, 100);
    write_key(w, "infer_ms");
    write_rounded(w, v->infer_ms, 100);
}

static void write_detection(struct msgpack_writer *w, const struct detection *d)
{
    msgpack_write_map(w, 3);
    write_text(w, "label", d->label);
    write_key(w, "confidence");
    write_rounded(w, (double)d->confidence, 10000);
    write_key(w, "box");
    if (!d->has_box) {
        msgpack_write_nil(w);
        return;
    }
    const float edges[] = {d->box.x1, d->box.y1, d->box.x2, d->box.y2};
    msgpack_write_array(w, ARRAY_LEN(edges));
    for (size_t i = 0; i < ARRAY_LEN(edges); i++)
        write_rounded(w, (double)edges[i], 100);
}

static void write_key(struct msgpack_writer *w, const char *key)
{
    msgpack_write_str(w, key);
}

static void write_text(struct msgpack_writer *w, const char *key, const char *value)
{
    write_key(w, key);
    msgpack_write_str(w, value);
}

static void write_text_or_nil(struct msgpack_writer *w, const char *key, const char *value)
{
    write_key(w, key);
    if (value)
        msgpack_write_str(w, value);
    else
        msgpack_write_nil(w);
}

/* As far as it was measured. Readers that make JSON of it know no infinity. */
static void write_rounded(struct msgpack_writer *w, double v, double steps)
{
    if (isfinite(v))
        msgpack_write_float(w, round(v * steps) / steps);
    else
        msgpack_write_nil(w);
}
