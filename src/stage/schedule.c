/* Schedule: triggers cameras at intervals and at times of day.
 *
 * Intervals run on the monotonic clock. Times of day follow the wall clock; when it jumps, the
 * moments jumped over are left out (one trigger at the most), because a hundred pictures of now do
 * not make up for pictures of then. */

#include "stage/pipeline.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "stage/cron.h"

#define SWEEP_MAX_MS 5000
/* A moment further in the past than this was jumped over, not met late. */
#define LATE_MAX_S 90

struct plan {
    char camera[SNAPSHOT_KEY_MAX];
    int64_t interval_ms;
    struct mono_time next;
    struct cron *crons;
    size_t cron_count;
    struct wall_time looked_at;
};

struct schedule_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct ledger *ledger;
    struct settings *settings;
    struct plan *plans;
    size_t plan_count;
};

static void free_plans(struct schedule_self *s)
{
    for (size_t i = 0; i < s->plan_count; i++)
        free(s->plans[i].crons);
    free(s->plans);
    s->plans = NULL;
    s->plan_count = 0;
}

static void make_plan(const struct camera *cam, size_t index, size_t count, struct plan *ret)
{
    *ret = (struct plan){.interval_ms = cam->interval_ms, .looked_at = clock_wall()};
    text_copy(ret->camera, sizeof(ret->camera), cam->name);
    /* Cameras of one interval are spread over it, so that they do not all ask at once. */
    if (cam->interval_ms)
        ret->next = mono_add_ms(clock_mono(), cam->interval_ms * (int64_t)index / (int64_t)count);
    for (const char *const *t = cam->times; t && *t; t++) {
        struct cron c;
        struct err e;
        if (cron_parse(*t, &c, &e) < 0) { /* `check` and the start refuse such a file */
            log_error("schedule-unusable", "%s", e.text);
            continue;
        }
        ret->crons = xrealloc(ret->crons, (ret->cron_count + 1) * sizeof(c));
        ret->crons[ret->cron_count++] = c;
    }
}

/* New settings: plans are made anew; an interval starts over, which a reload may cost. */
static void follow_settings(struct schedule_self *s)
{
    AUTO(settings) now = pipeline_settings(s->pipeline);
    if (now == s->settings)
        return;
    free_plans(s);
    size_t count = camera_set_count(now->cameras);
    s->plans = xcalloc(count, sizeof(*s->plans));
    for (size_t i = 0; i < count; i++) {
        const struct camera *cam = camera_set_at(now->cameras, i);
        if (cam->enabled && (cam->interval_ms || (cam->times && cam->times[0])))
            make_plan(cam, i, count, &s->plans[s->plan_count++]);
    }
    settings_unref(s->settings);
    s->settings = STEAL(now);
}

static void trigger(struct schedule_self *s, const struct plan *p)
{
    struct trigger t;
    struct err e = {0};
    const struct camera *cam = camera_set_find(s->settings->cameras, p->camera);
    if (!camera_is_enabled(cam)) /* by hand, which is no failure */
        return;
    log_context_camera(p->camera);
    int r =
        pipeline_trigger(s->pipeline, s->ledger, p->camera, TRIGGER_SCHEDULE, clock_wall(), &t, &e);
    if (r < 0) {
        log_error("schedule-missed", "%s", e.text);
        stage_count_failed(s->stage, e.text);
    } else {
        stage_count_done(s->stage);
    }
    log_context_camera(NULL);
}

static bool interval_due(struct plan *p)
{
    if (!p->interval_ms || !mono_passed(p->next))
        return false;
    p->next = mono_add_ms(p->next, p->interval_ms);
    if (mono_passed(p->next)) /* we were stopped for longer than an interval */
        p->next = mono_add_ms(clock_mono(), p->interval_ms);
    return true;
}

static bool time_due(struct plan *p)
{
    struct wall_time now = clock_wall();
    bool due = false;
    for (size_t i = 0; i < p->cron_count; i++) {
        struct wall_time next;
        if (cron_next(&p->crons[i], p->looked_at, &next) < 0 || next.us > now.us)
            continue;
        due = due || wall_seconds(now) - wall_seconds(next) <= LATE_MAX_S;
    }
    p->looked_at = now; /* also after a jump backwards */
    return due;
}

static int64_t schedule_sweep(void *self)
{
    struct schedule_self *s = self;
    follow_settings(s);
    int64_t pause = SWEEP_MAX_MS;
    for (size_t i = 0; i < s->plan_count; i++) {
        struct plan *p = &s->plans[i];
        bool by_interval = interval_due(p);
        if (time_due(p) || by_interval)
            trigger(s, p);
        if (p->interval_ms)
            pause = MIN(pause, mono_until_ms(p->next));
        if (p->cron_count)
            pause = MIN(pause, 1000);
    }
    stage_set_queued(s->stage, (int64_t)s->plan_count);
    return pause;
}

static int schedule_init(void *self, struct stage *st, struct err *e)
{
    struct schedule_self *s = self;
    s->stage = st;
    return ledger_open(s->pipeline->ledger_path, &s->ledger, e);
}

static void schedule_fini(void *self)
{
    struct schedule_self *s = self;
    free_plans(s);
    settings_unref(s->settings);
    s->settings = NULL;
    ledger_close(s->ledger);
}

void *schedule_stage_new(struct pipeline *p)
{
    struct schedule_self *s = xcalloc(1, sizeof(*s));
    s->pipeline = p;
    return s;
}

const struct stage_ops schedule_stage = {
    .name = "schedule",
    .init = schedule_init,
    .sweep = schedule_sweep,
    .fini = schedule_fini,
};
