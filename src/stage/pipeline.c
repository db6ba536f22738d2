#include "stage/pipeline.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/dynbuf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "ledger/ledger_again.h"

/* For room on the way to the record stage. */
#define JUDGED_WAIT_MS 10000

struct settings *settings_ref(struct settings *s)
{
    (void)__atomic_fetch_add(&s->refs, 1, __ATOMIC_RELAXED);
    return s;
}

void settings_unref(struct settings *s)
{
    if (!s || __atomic_fetch_sub(&s->refs, 1, __ATOMIC_ACQ_REL) != 1)
        return;
    camera_set_unref(s->cameras);
    if (s->release)
        s->release(s->owner);
    free(s);
}

struct settings *pipeline_settings(struct pipeline *p)
{
    pthread_mutex_lock(&p->lock);
    struct settings *s = settings_ref(p->settings_now);
    pthread_mutex_unlock(&p->lock);
    return s;
}

void pipeline_publish(struct pipeline *p, struct settings *s)
{
    pthread_mutex_lock(&p->lock);
    struct settings *before = p->settings_now;
    p->settings_now = s;
    pthread_mutex_unlock(&p->lock);
    settings_unref(before);
}

void pipeline_wake(struct pipeline *p, enum pipeline_stage which)
{
    for (int i = 0; i < PIPELINE_POOL_MAX; i++) {
        struct stage *st = atomic_load(&p->woken[which][i]);
        if (st)
            stage_wake(st);
    }
}

void pipeline_outcome(struct pipeline *p, const char *id)
{
    if (p->outcome)
        p->outcome(p->outcome_arg, id);
}

void pipeline_tell(struct pipeline *p, enum news what, const char *subject)
{
    if (p->news)
        p->news(p->news_arg, what, subject);
}

void pipeline_rest_ledger(struct pipeline *p)
{
    atomic_store(&p->ledger_rest_us, mono_add_ms(clock_mono(), PIPELINE_LEDGER_REST_MS).us);
}

int64_t pipeline_ledger_rest_ms(struct pipeline *p)
{
    return mono_until_ms((struct mono_time){atomic_load(&p->ledger_rest_us)});
}

const char *const pipeline_error_names[PIPELINE_ERROR_COUNT] = {
    [PIPELINE_UNKNOWN_CAMERA] = "unknown_camera",
    [PIPELINE_MALFORMED] = "malformed",
    [PIPELINE_NO_PICTURE] = "no_picture",
};

static struct metric errors = {
    .name = "snapshotd_errors_total",
    .kind = METRIC_COUNTER,
    .label = "reason",
    .help = "Triggers that came to nothing: unknown_camera, malformed, no_picture; this is the "
            "metric Errors at CloudWatch",
};

void pipeline_register_metrics(void)
{
    metric_register(&errors);
}

void pipeline_count_error(enum pipeline_error error)
{
    metric_inc(&errors, pipeline_error_names[error]);
}

int pipeline_unknown_camera(const struct camera_set *set, const char *camera, struct err *e)
{
    AUTO_DONE(dynbuf) known = {0};
    char quoted[SNAPSHOT_KEY_MAX];
    dynbuf_init(&known, ERR_TEXT_MAX / 2);
    for (size_t i = 0; i < camera_set_count(set); i++)
        (void)dynbuf_printf(&known, "%s%s", i ? ", " : "", camera_set_at(set, i)->name);
    return err_set(e, -ENOENT, ERR_NEVER, "no camera \"%s\" is configured; there is: %s",
                   text_escape(camera, strlen(camera), quoted, sizeof(quoted)),
                   known.len ? dynbuf_str(&known) : "none");
}

int pipeline_trigger(struct pipeline *p, struct ledger *l, const char *camera,
                     enum trigger_origin origin, struct wall_time event_at, struct trigger *ret,
                     struct err *e)
{
    AUTO(settings) now = pipeline_settings(p);
    const struct camera *cam = camera_set_find(now->cameras, camera);
    if (!cam) {
        pipeline_count_error(PIPELINE_UNKNOWN_CAMERA);
        return pipeline_unknown_camera(now->cameras, camera, e);
    }
    if (!camera_is_enabled(cam))
        return camera_is_off(cam, e);
    if (!camera_is_fetchable(cam))
        return err_set(e, -ECANCELED, ERR_NEVER,
                       "camera \"%s\" has no address, it can only push its pictures: add one in a "
                       "section [camera:NAME] with its location",
                       cam->name);
    struct trigger t = {.origin = origin, .event_at = event_at, .accepted_at = ledger_now()};
    t.not_before = t.accepted_at;
    text_copy(t.camera, sizeof(t.camera), cam->name);
    text_copy(t.device_key, sizeof(t.device_key), cam->device_key);
    text_copy(t.device_label, sizeof(t.device_label), cam->device_label);
    snapshot_id_new(clock_wall(), t.id);
    int r = ledger_trigger_add(l, &t, e);
    if (r < 0)
        return r;
    *ret = t;
    pipeline_wake(p, PIPELINE_FETCH);
    return 0;
}

int pipeline_switch_camera(struct pipeline *p, const char *camera, bool off, struct err *e)
{
    AUTO(settings) now = pipeline_settings(p);
    const struct camera *cam = camera_set_find(now->cameras, camera);
    if (!cam)
        return pipeline_unknown_camera(now->cameras, camera, e);
    if (!off && !cam->enabled)
        return camera_is_off(cam, e);
    bool changes = cam->switched_off && atomic_load(cam->switched_off) != off;
    int r = camera_switches_turn(p->switches, cam->name, off, e);
    if (r < 0 || !changes)
        return r;
    log_notice("camera-switched", "camera \"%s\" was switched %s by hand", cam->name,
               off ? "off: it is neither asked nor listened to" : "on");
    pipeline_wake(p, PIPELINE_FETCH);
    pipeline_wake(p, PIPELINE_SPOOL);
    return 0;
}

bool pipeline_thumbnails_early(const struct pipeline *p)
{
    return p->thumbnails_always || (p->thumbnails_auto && thumbnails_in_use(p->thumbnails));
}

int pipeline_bytes(struct pipeline *p, const struct snapshot *s, struct blob **ret, struct err *e)
{
    struct blob *b = s->bytes ? blob_ref(s->bytes) : picture_cache_get(p->cache, s->id);
    if (b) {
        *ret = b;
        return 0;
    }
    /* Its own size is the limit: it was taken under the limit of that day, and may have waited. */
    int r = store_read(p->store, s->path, (size_t)MAX(s->size, (int64_t)0), ret, e);
    return r == -EFBIG ? err_set(e, -EBADMSG, ERR_NEVER,
                                 "%s is not what was received: its bytes have changed", s->path)
                       : r;
}

int pipeline_bytes_placed(struct pipeline *p, const struct snapshot *s, struct blob **ret,
                          struct err *e)
{
    int r = pipeline_bytes(p, s, ret, e);
    if (r != -ENOENT)
        return r;
    (void)store_place(p->store, s->id, false, s->path, NULL); /* the read below tells */
    return pipeline_bytes(p, s, ret, e);
}

int pipeline_clear_copy(struct pipeline *p, struct ledger *l, const struct snapshot *s,
                        struct err *e)
{
    store_discard(p->store, s->id, true); /* one that was drawn and not placed */
    FAULT_POINT("before-old-copy-unlink");
    int r = store_unlink(p->store, s->annotated_path, e);
    if (r == 0)
        r = store_sync(p->store, s->annotated_path, e);
    if (r == -ENOENT) /* its folder is gone, and so is it */
        r = 0;
    FAULT_POINT("after-old-copy-unlink");
    return r < 0 ? r : ledger_again_cleared(l, s->row, e);
}

bool pipeline_hand_over(struct pipeline *p, struct bus_out *out, struct snapshot *s,
                        struct verdict *v)
{
    struct judged *j = judged_new(p->claims, s, v);
    if (bus_send_within(out, j, judged_unref, JUDGED_WAIT_MS) == 0)
        return true;
    judged_unref(j);
    log_error("record-late", "no verdict was recorded for %d s; the picture is examined again",
              JUDGED_WAIT_MS / 1000);
    return false;
}

bool pipeline_stopping(const struct pipeline *p)
{
    struct pollfd fd = {.fd = p->stop_fd > 0 ? p->stop_fd : -1, .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

struct cascade_rule pipeline_cascade_rule(const struct settings *s, const char *camera)
{
    const struct camera *cam = camera_set_find(s->cameras, camera);
    const struct detect_config *d = &s->detect;
    return (struct cascade_rule){
        .low = cam && cam->cascade_low > 0 ? cam->cascade_low : d->cascade_low,
        .high = cam && cam->cascade_high > 0 ? cam->cascade_high : d->cascade_high,
        .labels = d->cascade_labels,
        .empty = d->cascade_empty};
}

const char *pipeline_storage_url(const struct pipeline *p, char buf[STORAGE_ID_MAX])
{
    for (size_t i = 0; p->storages && p->storages[i]; i++) {
        struct storage_state st = {0};
        p->storages[i]->ops->describe(p->storages[i], &st);
        if (st.url[0] && text_copy(buf, STORAGE_ID_MAX, st.url))
            return buf;
    }
    return NULL;
}

struct fetched *fetched_ref(struct fetched *f)
{
    atomic_fetch_add(&f->refs, 1);
    return f;
}

void fetched_unref(void *fetched)
{
    struct fetched *f = fetched;
    if (!f || atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    fetched_unref(f->rival);
    blob_unref(f->bytes);
    if (f->pushed && f->pushed->fd >= 0)
        (void)close(f->pushed->fd); /* read only */
    free(f->pushed);
    free(f);
}

struct judged *judged_new(struct claims *claims, struct snapshot *s, struct verdict *v)
{
    struct judged *j = xcalloc(1, sizeof(*j));
    atomic_init(&j->refs, 1);
    j->claims = claims;
    j->snapshot = snapshot_ref(s);
    j->verdict = *v;
    *v = (struct verdict){0};
    return j;
}

struct judged *judged_ref(struct judged *j)
{
    atomic_fetch_add(&j->refs, 1);
    return j;
}

void judged_unref(void *judged)
{
    struct judged *j = judged;
    if (!j || atomic_fetch_sub(&j->refs, 1) != 1)
        return;
    claims_drop(j->claims, j->snapshot->row);
    snapshot_unref(j->snapshot);
    verdict_done(&j->verdict);
    free(j);
}
