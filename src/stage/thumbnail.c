/* Thumbnail: makes the small copies that pages of pictures are made of.
 *
 * A picture that was examined is offered by the record stage, and its copy is made in a moment in
 * which nothing is being examined; the newest first, and without a queue on the disk: what was not
 * made when the program ends is made when somebody asks. Who asks waits for at most a moment of
 * examining, then both share the processors, and this thread has the least priority. So no picture
 * is ever later for the sake of a small one.
 *
 * The scaled decoding of libjpeg makes the cost one of reading the file's bits: a picture of 4K
 * takes some 15 ms, which is why none of it is done on the web thread. */

#include "stage/pipeline.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "picture/annotate.h"

#define SWEEP_MS 60000 /* only the disk is looked at */
/* How often it is looked whether the detectors rest, and for how long they may keep people waiting.
 */
#define BUSY_LOOK_MS 100
#define BUSY_MAX_MS 300
#define QUALITY 78 /* 8 to 20 kB at 320 pixels; what is lost is lost by the size, too */
#define NICENESS 19

struct thumbnail_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct ledger *ledger;       /* NULL while there is nothing to make */
    struct mono_time busy_since; /* 0 = the detectors rested when we looked last */
};

static struct metric made = {.name = "snapshotd_thumbnails_total",
                             .kind = METRIC_COUNTER,
                             .label = "outcome",
                             .help =
                                 "Small copies of pictures: made, unkept (made and given to who "
                                 "asked, there was no room for it), or failed"};
static struct metric bytes_now = {.name = "snapshotd_thumbnail_bytes",
                                  .kind = METRIC_GAUGE,
                                  .help = "Room that small copies of pictures take, as far as it "
                                          "was counted since the start"};

static void register_metrics(void)
{
    metric_register(&made);
    metric_register(&bytes_now);
}

/* The picture may be on its way from one name to the next, see the annotate stage. */
static int get_bytes(struct thumbnail_self *t, const struct snapshot *s, struct blob **ret,
                     struct err *e)
{
    int r = pipeline_bytes_placed(t->pipeline, s, ret, e);
    struct ledger_unsettled u;
    struct store_recovery done = {0};
    if (r != -ENOENT || ledger_unsettled_get(t->ledger, s->id, &u, NULL) != 1)
        return r;
    (void)store_finish(t->pipeline->store, &u, &done, NULL); /* the read below tells */
    return pipeline_bytes(t->pipeline, s, ret, e);
}

static int shrink(struct thumbnail_self *t, const struct snapshot *s, int width, struct blob **ret,
                  struct err *e)
{
    static const struct detection_list nothing = {0};
    AUTO(settings) now = pipeline_settings(t->pipeline);
    AUTO(blob) bytes = NULL;
    int r = get_bytes(t, s, &bytes, e);
    if (r < 0)
        return r;
    return picture_annotate(bytes->data, bytes->size, &now->limits, &nothing, width, QUALITY, ret,
                            e);
}

/* Meanwhile the picture may have been removed, and its copies with it: not this one. */
static void remove_if_removed(struct thumbnail_self *t, const struct snapshot *s)
{
    AUTO(snapshot) now = NULL;
    int r = ledger_snapshot_get(t->ledger, s->id, &now, NULL);
    if (r == -ENOENT || (r == 0 && now->removed))
        thumbnails_remove(t->pipeline->thumbnails, s);
}

/* Who asked gets it also when it cannot be kept. */
static void keep(struct thumbnail_self *t, const struct thumbnail_wish *wish,
                 const struct snapshot *s, struct blob *copy)
{
    struct err e = {0};
    int r = thumbnails_write(t->pipeline->thumbnails, s, wish->width, copy, &e);
    if (r < 0 && r != -ENOSPC) {
        log_warn("thumbnail-unkept", "%s; it is made anew whenever somebody asks", e.text);
        stage_count_failed(t->stage, e.text);
    }
    if (r == 0)
        remove_if_removed(t, s);
    metric_inc(&made, r == 0 ? "made" : "unkept");
    stage_count_done(t->stage);
    thumbnail_wishes_made(t->pipeline->thumbnail_wishes, wish, r == 0 ? NULL : copy);
}

static int make(struct thumbnail_self *t, const struct thumbnail_wish *wish, struct err *e)
{
    AUTO(snapshot) s = NULL;
    AUTO(blob) copy = NULL;
    int r = t->ledger ? 0 : ledger_open(t->pipeline->ledger_path, &t->ledger, e);
    if (r == 0)
        r = ledger_snapshot_get(t->ledger, wish->id, &s, e);
    if (r < 0)
        return r;
    if (s->removed)
        return err_set(e, -ENOENT, ERR_NEVER, "the picture was removed from here");
    if (!wish->asked && (thumbnails_hold(t->pipeline->thumbnails, s, wish->width) ||
                         !thumbnails_have_room(t->pipeline->thumbnails)))
        return 0;
    r = shrink(t, s, wish->width, &copy, e);
    if (r == 0)
        keep(t, wish, s, copy);
    return r;
}

static void serve(struct thumbnail_self *t, const struct thumbnail_wish *wish)
{
    struct err e = {0};
    log_context_snapshot(wish->id);
    if (make(t, wish, &e) < 0) {
        log_debug("thumbnail-failed", "no thumbnail: %s", e.text);
        metric_inc(&made, "failed");
        stage_count_failed(t->stage, e.text);
        thumbnail_wishes_failed(t->pipeline->thumbnail_wishes, wish, &e);
    }
    if (wish->asked)
        pipeline_outcome(t->pipeline, wish->id);
    log_context_snapshot(NULL);
}

/* For how long pictures have been examined without a rest. */
static int64_t busy_ms(struct thumbnail_self *t)
{
    struct mono_time now = clock_mono();
    if (claims_count(t->pipeline->claims) == 0) {
        t->busy_since.us = 0;
        return 0;
    }
    if (!t->busy_since.us)
        t->busy_since = now;
    return MAX((int64_t)mono_diff_ms(now, t->busy_since), (int64_t)1);
}

/* Between two pictures there is nothing that is worth its memory. */
static int64_t rest(struct thumbnail_self *t, int64_t pause_ms)
{
    if (t->ledger == NULL)
        return pause_ms;
    ledger_close(t->ledger);
    t->ledger = NULL;
    return pause_ms;
}

/* One at a time, so that a stop and the pictures of now are never further away than that. */
static int64_t thumbnail_sweep(void *self)
{
    struct thumbnail_self *t = self;
    struct thumbnail_wishes *wishes = t->pipeline->thumbnail_wishes;
    struct thumbnail_wish wish;
    int64_t busy = busy_ms(t);
    if ((busy == 0 || busy >= BUSY_MAX_MS) && thumbnail_wishes_take(wishes, busy == 0, &wish)) {
        serve(t, &wish);
        return 0;
    }
    metric_set(&bytes_now, NULL, (double)thumbnails_bytes(t->pipeline->thumbnails));
    if (busy > 0)
        return thumbnail_wishes_count(wishes, true) > 0 ? BUSY_LOOK_MS : SWEEP_MS;
    return thumbnails_tidy(t->pipeline->thumbnails) ? 0 : rest(t, SWEEP_MS);
}

static int thumbnail_init(void *self, struct stage *st, struct err *e UNUSED)
{
    struct thumbnail_self *t = self;
    t->stage = st;
    /* 0 is this thread on Linux. If it fails, small copies compete with detection, that is all. */
    (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICENESS);
    return 0;
}

static void thumbnail_fini(void *self)
{
    struct thumbnail_self *t = self;
    ledger_close(t->ledger);
}

void *thumbnail_stage_new(struct pipeline *p)
{
    struct thumbnail_self *t = xcalloc(1, sizeof(*t));
    t->pipeline = p;
    return t;
}

const struct stage_ops thumbnail_stage = {
    .name = "thumbnail",
    .register_metrics = register_metrics,
    .init = thumbnail_init,
    .sweep = thumbnail_sweep,
    .fini = thumbnail_fini,
};
