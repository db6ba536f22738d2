/* Choose: which picture of a burst is the one? The detector is asked about each of them, and the
 * rule (stage/burst.h) decides. Only the chosen one goes on to intake, so for everybody behind this
 * stage a burst is a single picture.
 *
 * The pictures are in memory only: the trigger is still pending, and is asked for again when the
 * program dies here. A detector that has no answer costs its opinion, never the picture; a stop
 * does not wait for it either. */

#include "stage/pipeline.h"

#include <assert.h>

#include "base/log.h"
#include "base/mem.h"

#define SWEEP_MS 10000
/* Chosen pictures on the edge to intake. */
#define CHOSEN_DEPTH 1
/* How long intake may be busy before the trigger has to begin anew. */
#define INTAKE_WAIT_MS 10000

struct choose_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct bus_out *out;
};

static void examine(struct choose_self *c, const struct settings *now, struct fetched *f)
{
    struct detector *detector = c->pipeline->detector;
    struct detect_request req = {.bytes = f->bytes, .confidence_min = -1};
    AUTO_DONE(verdict) v = {0};
    struct err e = {0};
    int r = detector->ops->detect(detector, &req, &v, &e);
    stage_heartbeat(c->stage);
    if (r < 0) {
        log_warn("detect-failed", "%s; this picture of the burst counts as one of nothing", e.text);
        stage_count_failed(c->stage, e.text);
        return;
    }
    detect_filter(&now->detect, &v.found);
    burst_rank_found(&f->rank, &v.found);
}

/* Makes `f`, the sharpest, the best one, by taking that one's picture. */
static void choose(struct choose_self *c, struct fetched *f)
{
    AUTO(settings) now = pipeline_settings(c->pipeline);
    const struct fetched *pictures[CAMERA_BURST_MAX] = {f};
    struct burst_rank ranks[CAMERA_BURST_MAX];
    int count = 0;
    for (struct fetched *x = f; x; x = x->rival) {
        if (atomic_load(&f->hurried)) {
            log_info("burst", "the sharpest picture is kept: the program stops");
            return;
        }
        assert(count < CAMERA_BURST_MAX);
        examine(c, now, x);
        pictures[count] = x;
        ranks[count++] = x->rank;
    }
    enum burst_reason why;
    const struct fetched *best = pictures[burst_choose(ranks, count, &why)];
    log_info("burst",
             "one of %d pictures is kept because %s: person %.2f, any %.2f, sharpness %.1f", count,
             burst_reason_names[why], best->rank.person, best->rank.best, best->rank.sharpness);
    if (best == f)
        return;
    blob_unref(f->bytes);
    f->bytes = blob_ref(best->bytes);
    f->fetch_ms = best->fetch_ms;
    f->received_at = best->received_at;
    f->rank = best->rank;
}

static void choose_step(void *self, void *item)
{
    struct choose_self *c = self;
    struct fetched *f = item;
    log_context_camera(f->trigger.camera);
    log_context_snapshot(f->trigger.id);
    choose(c, f);
    fetched_unref(STEAL(f->rival));
    stage_count_done(c->stage);
    (void)atomic_fetch_add(&f->refs, 1);
    if (bus_send_within(c->out, f, fetched_unref, INTAKE_WAIT_MS) < 0) {
        log_error("intake-late",
                  "no picture was taken in for %d s; the camera is asked again for this one",
                  INTAKE_WAIT_MS / 1000);
        atomic_store(&f->outcome, FETCHED_REFUSED);
        fetched_unref(f);
        pipeline_wake(c->pipeline, PIPELINE_FETCH);
    }
    log_context_camera(NULL);
    log_context_snapshot(NULL);
}

/* What dies here comes back as a trigger: there is nothing to look for. */
static int64_t choose_sweep(void *self UNUSED)
{
    return SWEEP_MS;
}

static int choose_init(void *self, struct stage *st, struct err *e)
{
    struct choose_self *c = self;
    c->stage = st;
    return bus_out_open(c->pipeline->bus, EDGE_FETCHED, 1, CHOSEN_DEPTH, &c->out, e);
}

static void choose_fini(void *self)
{
    struct choose_self *c = self;
    bus_out_close(c->out);
}

void *choose_stage_new(struct pipeline *p)
{
    struct choose_self *c = xcalloc(1, sizeof(*c));
    c->pipeline = p;
    return c;
}

const struct stage_ops choose_stage = {
    .name = "choose",
    .hang_ms = 120000, /* as detect */
    .init = choose_init,
    .step = choose_step,
    .sweep = choose_sweep,
    .fini = choose_fini,
};
