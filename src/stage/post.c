#include "stage/post.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/push_name.h"
#include "picture/picture.h"
#include "sys/hash.h"

/* Under way at a time, and their bytes (one picture may have more): two of intake's batches. */
#define FLIGHTS_MAX 32
#define FLIGHT_BYTES_MAX ((size_t)32 << 20)
#define FORGOTTEN_MS 60000       /* nobody waits so long for an answer */
#define POSTED_DEPTH FLIGHTS_MAX /* on the edge: all of them fit */

struct post_box {
    struct pipeline *pipeline;
    struct bus_out *out; /* opened by the first */
    struct fetched *flights[FLIGHTS_MAX];
    struct mono_time sent[FLIGHTS_MAX];
    size_t bytes;
};

struct post_box *post_box_new(struct pipeline *p)
{
    struct post_box *b = xcalloc(1, sizeof(*b));
    b->pipeline = p;
    return b;
}

void post_box_free(struct post_box *b)
{
    if (!b)
        return;
    for (int i = 0; i < FLIGHTS_MAX; i++)
        fetched_unref(b->flights[i]);
    bus_out_close(b->out);
    free(b);
}

/* ---- in ---- */

static const struct camera *find_camera(const struct settings *now, const char *name, struct err *e)
{
    const struct camera *cam = camera_set_find(now->cameras, name);
    if (!cam)
        (void)pipeline_unknown_camera(now->cameras, name, e);
    else if (!camera_is_enabled(cam))
        (void)err_set(e, -ECANCELED, ERR_NEVER,
                      "camera \"%s\" is switched off: its pictures are not taken", name);
    return cam && camera_is_enabled(cam) ? cam : NULL;
}

static size_t size_max(const struct settings *now, const struct camera *cam)
{
    return MIN((size_t)cam->size_max, now->limits.bytes_max);
}

int post_check(struct post_box *b, const char *camera, size_t *ret_max, struct err *e)
{
    AUTO(settings) now = pipeline_settings(b->pipeline);
    struct err why;
    const struct camera *cam = find_camera(now, camera, &why);
    if (!cam) {
        if (e)
            *e = why;
        return why.code;
    }
    *ret_max = size_max(now, cam);
    return 0;
}

/* As those of pushed files: 48 bits of time, and a digest of all that makes it this picture. */
static void make_id(const struct post *post, char ret[SNAPSHOT_ID_SIZE])
{
    char digest[HASH_SHA256_HEX];
    struct hash_stream *h = hash_stream_new();
    hash_stream_update(h, "post", sizeof("post"));
    hash_stream_update(h, post->camera, strlen(post->camera) + 1);
    hash_stream_update(h, &post->event_at.us, sizeof(post->event_at.us));
    hash_stream_update(h, post->bytes->data, post->bytes->size);
    hash_stream_end(h, digest);
    unsigned long long ms = (unsigned long long)MAX(post->event_at.us / 1000, (int64_t)0);
    (void)text_format(ret, SNAPSHOT_ID_SIZE, "%012llx%.20s", ms & 0xffffffffffff,
                      digest); /* fits */
}

/* Its place, or -1. */
static int find_flight(const struct post_box *b, const char *id)
{
    for (int i = 0; i < FLIGHTS_MAX; i++)
        if (b->flights[i] && strcmp(b->flights[i]->trigger.id, id) == 0)
            return i;
    return -1;
}

static void land(struct post_box *b, int i)
{
    b->bytes -= b->flights[i]->bytes->size;
    fetched_unref(STEAL(b->flights[i]));
}

/* Those whose outcome nobody has asked for. */
static void clear_forgotten(struct post_box *b)
{
    struct mono_time now = clock_mono();
    for (int i = 0; i < FLIGHTS_MAX; i++)
        if (b->flights[i] && atomic_load(&b->flights[i]->outcome) != FETCHED_PENDING &&
            mono_diff_ms(now, b->sent[i]) > FORGOTTEN_MS)
            land(b, i);
}

/* Its own, when that is a picture's. */
static void choose_name(const struct post *post, char *ret, size_t size)
{
    const char *slash = strrchr(post->name, '/'), *backslash = strrchr(post->name, '\\');
    const char *name = MAX(slash, backslash) ? MAX(slash, backslash) + 1 : post->name;
    enum picture_format format = picture_sniff(post->bytes->data, post->bytes->size);
    if (name[0] && name[0] != '.' && push_name_is_picture(name) && strlen(name) < size)
        text_copy(ret, size, name);
    else
        (void)text_format(ret, size, "post_%lld.%s", (long long)wall_seconds(post->event_at),
                          format == PICTURE_UNKNOWN || format == PICTURE_JPEG
                              ? "jpg"
                              : picture_format_names[format]); /* fits */
}

static struct fetched *make_item(const struct post *post, const struct camera *cam, const char *id)
{
    struct fetched *item = xcalloc(1, sizeof(*item));
    struct pushed *p = xcalloc(1, sizeof(*p));
    struct trigger *t = &item->trigger;
    atomic_init(&item->refs, 1);
    item->pushed = p;
    item->bytes = blob_ref(post->bytes);
    item->received_at = clock_wall();
    t->event_at = post->event_at;
    text_copy(t->id, sizeof(t->id), id);
    text_copy(t->camera, sizeof(t->camera), cam->name);
    text_copy(t->device_key, sizeof(t->device_key), cam->device_key);
    text_copy(t->device_label, sizeof(t->device_label), cam->device_label);
    text_copy(item->directory, sizeof(item->directory), cam->directory);
    choose_name(post, p->name, sizeof(p->name));
    p->named = post->timed;
    p->awaited = true;
    p->fd = -1;
    return item;
}

static int launch(struct post_box *b, struct fetched *item, struct err *e)
{
    size_t size = item->bytes->size;
    int i = 0;
    clear_forgotten(b);
    while (i < FLIGHTS_MAX && b->flights[i])
        i++;
    int r = i < FLIGHTS_MAX && (b->bytes == 0 || b->bytes + size <= FLIGHT_BYTES_MAX) ? 0 : -EAGAIN;
    if (r == 0 && !b->out)
        r = bus_out_open(b->pipeline->bus, EDGE_FETCHED, 1, POSTED_DEPTH, &b->out, e);
    if (r == 0)
        r = bus_send(b->out, fetched_ref(item), fetched_unref);
    else
        (void)fetched_ref(item);
    if (r < 0) {
        fetched_unref(item);
        return r == -EAGAIN ? err_set(e, r, ERR_LATER,
                                      "too many pictures are on their way; send "
                                      "it again in a moment")
                            : r;
    }
    b->flights[i] = fetched_ref(item);
    b->sent[i] = clock_mono();
    b->bytes += size;
    return 0;
}

int post_send(struct post_box *b, struct ledger *l, const struct post *post,
              char ret_id[SNAPSHOT_ID_SIZE], struct err *e)
{
    AUTO(settings) now = pipeline_settings(b->pipeline);
    struct err why;
    const struct camera *cam = find_camera(now, post->camera, &why);
    if (!cam) {
        if (e)
            *e = why;
        return why.code;
    }
    if (post->bytes->size > size_max(now, cam))
        return err_set(e, -EFBIG, ERR_NEVER, "a picture of this camera may have at most %zu bytes",
                       size_max(now, cam));
    make_id(post, ret_id);
    if (find_flight(b, ret_id) >= 0)
        return 0; /* sent twice at once: one picture, two answers */
    int r = ledger_snapshot_exists(l, ret_id, e);
    if (r != 0)
        return r;
    struct fetched *item = make_item(post, cam, ret_id);
    r = launch(b, item, e);
    fetched_unref(item);
    return r;
}

/* ---- out ---- */

/* Recorded, unless the ledger knew these bytes of this moment by another id. */
static int recorded(struct ledger *l, const struct fetched *item, char ret_id[SNAPSHOT_ID_SIZE],
                    struct err *e)
{
    int r = ledger_snapshot_exists(l, item->trigger.id, e);
    if (r != 0)
        return r == 1 ? 0 : r;
    AUTO(snapshot) s = snapshot_new();
    text_copy(s->camera, sizeof(s->camera), item->trigger.camera);
    s->event_at = item->trigger.event_at;
    s->size = (int64_t)item->bytes->size;
    hash_sha256_hex(item->bytes->data, item->bytes->size, s->sha256);
    r = ledger_push_twin(l, s, ret_id, e);
    if (r == 0) /* removed within a moment */
        return err_set(e, -EAGAIN, ERR_LATER, "the picture is gone again");
    return r;
}

/* Another one that sent the same has asked before. */
static int look_up(struct ledger *l, const char *id, struct err *e)
{
    int r = ledger_snapshot_exists(l, id, e);
    if (r == 0)
        return err_set(e, -EAGAIN, ERR_LATER, "the picture was not recorded: send it again");
    return r == 1 ? 0 : r;
}

static int outcome_of(const struct fetched *item, struct ledger *l, char ret_id[SNAPSHOT_ID_SIZE],
                      struct err *e)
{
    switch ((enum fetched_outcome)atomic_load(&item->outcome)) {
    case FETCHED_PENDING:
        return -EINPROGRESS;
    case FETCHED_RECORDED:
        return recorded(l, item, ret_id, e);
    case FETCHED_REFUSED:
        return err_set(e, item->pushed->code < 0 ? item->pushed->code : -EIO, ERR_LATER, "%s",
                       item->pushed->why);
    case FETCHED_UNUSABLE:
        break;
    }
    return err_set(e, -EINVAL, ERR_NEVER, "%s", item->pushed->why);
}

int post_result(struct post_box *b, struct ledger *l, const char *id, char ret_id[SNAPSHOT_ID_SIZE],
                struct err *e)
{
    text_copy(ret_id, SNAPSHOT_ID_SIZE, id);
    int i = find_flight(b, id);
    int r = i < 0 ? look_up(l, id, e) : outcome_of(b->flights[i], l, ret_id, e);
    if (i >= 0 && r != -EINPROGRESS)
        land(b, i);
    return r;
}
