#include "health/judge.h"

#include <assert.h>
#include <string.h>

#include "base/macros.h"
#include "base/text.h"

const char *const health_state_names[HEALTH_STATE_COUNT] = {"ok", "waiting", "sick", "stuck"};

static void judge_stage(const struct health_stage *s, double patience, struct health_report *r);
static void judge_queue(struct health_judge *j, const struct health_queue *q, struct mono_time now,
                        double patience, struct health_report *r);
static void judge_fact(const struct health_fact *f, struct health_report *r);
static void sum_up(struct health_report *r);

void health_judge(struct health_judge *j, const struct health_view *v, struct mono_time now,
                  double patience, struct health_report *ret)
{
    assert(v->stage_count <= HEALTH_STAGES_MAX && v->queue_count <= HEALTH_QUEUES_MAX &&
           v->fact_count <= HEALTH_FACTS_MAX);
    *ret = (struct health_report){.at = now, .alive = true, .ready = true};
    for (size_t i = 0; i < v->stage_count; i++)
        judge_stage(&v->stages[i], patience, ret);
    for (size_t i = 0; i < v->queue_count; i++)
        judge_queue(j, &v->queues[i], now, patience, ret);
    for (size_t i = 0; i < v->fact_count; i++)
        judge_fact(&v->facts[i], ret);
    sum_up(ret);
}

int64_t health_limit_ms(int64_t limit_ms, double patience)
{
    return MAX((int64_t)((double)limit_ms * patience), (int64_t)HEALTH_LIMIT_MIN_MS);
}

const struct health_part *health_part_find(const struct health_report *r, const char *name)
{
    for (size_t i = 0; i < r->part_count; i++)
        if (strcmp(r->parts[i].name, name) == 0)
            return &r->parts[i];
    return NULL;
}

/* The part of this name, made when it is not there: of several the worst counts. */
static struct health_part *part_of(struct health_report *r, const char *prefix, const char *name,
                                   int name_size)
{
    char whole[sizeof(r->parts[0].name)];
    (void)text_format(whole, sizeof(whole), "%s%.*s", prefix, name_size, name); /* fits */
    for (size_t i = 0; i < r->part_count; i++)
        if (strcmp(r->parts[i].name, whole) == 0)
            return &r->parts[i];
    assert(r->part_count < HEALTH_PARTS_MAX);
    struct health_part *p = &r->parts[r->part_count++];
    text_copy(p->name, sizeof(p->name), whole);
    return p;
}

static void worsen(struct health_part *p, enum health_state state, const char *reason)
{
    if (state <= p->state)
        return;
    p->state = state;
    text_copy(p->reason, sizeof(p->reason), reason); /* cut is fine */
}

static void judge_stage(const struct health_stage *s, double patience, struct health_report *r)
{
    int64_t limit = health_limit_ms(s->limit_ms, patience);
    bool hangs = s->heartbeat_age_ms > limit;
    struct health_part *p = part_of(r, "stage:", s->name, (int)strcspn(s->name, "."));
    char reason[HEALTH_REASON_MAX];
    if (s->running && !hangs) {
        r->stages_running++;
        return;
    }
    r->stages_missing++;
    if (!s->running)
        (void)text_format(reason, sizeof(reason), "stage %s has ended", s->name); /* cut, likewise
                                                                                     below */
    else
        (void)text_format(reason, sizeof(reason),
                          "stage %s hangs for %lld s, its longest work takes %lld s", s->name,
                          (long long)s->heartbeat_age_ms / 1000, (long long)limit / 1000);
    worsen(p, HEALTH_STUCK, reason);
    if (!r->stuck[0])
        text_copy(r->stuck, sizeof(r->stuck), s->name);
}

static struct health_memory *memory_of(struct health_judge *j, const struct health_queue *q,
                                       struct mono_time now)
{
    for (size_t i = 0; i < j->queue_count; i++)
        if (strcmp(j->queues[i].name, q->name) == 0)
            return &j->queues[i];
    assert(j->queue_count < HEALTH_QUEUES_MAX); /* queues come and go with a configuration only */
    struct health_memory *m = &j->queues[j->queue_count++];
    *m = (struct health_memory){.finished = q->finished, .since = now};
    text_copy(m->name, sizeof(m->name), q->name);
    return m;
}

static void judge_queue(struct health_judge *j, const struct health_queue *q, struct mono_time now,
                        double patience, struct health_report *r)
{
    struct health_memory *m = memory_of(j, q, now);
    struct health_part *p = part_of(r, "queue:", q->name, (int)strlen(q->name));
    char reason[HEALTH_REASON_MAX];
    if (q->waiting <= 0 || q->finished != m->finished || q->waits_for[0])
        m->since = now;
    m->finished = q->finished;
    if (q->waiting <= 0)
        return;
    if (q->waits_for[0]) {
        (void)text_format(reason, sizeof(reason), "%lld wait for %s", (long long)q->waiting,
                          q->waits_for); /* cut is fine, likewise below */
        worsen(p, HEALTH_WAITING, reason);
        return;
    }
    int64_t still_ms = mono_diff_us(now, m->since) / 1000;
    if (still_ms <= health_limit_ms(q->limit_ms, patience))
        return;
    (void)text_format(reason, sizeof(reason), "%lld wait and nothing was finished for %lld s",
                      (long long)q->waiting, (long long)still_ms / 1000);
    worsen(p, HEALTH_SICK, reason);
}

static void judge_fact(const struct health_fact *f, struct health_report *r)
{
    worsen(part_of(r, "", f->name, (int)strlen(f->name)), f->state, f->reason);
}

static void sum_up(struct health_report *r)
{
    const struct health_part *worst = NULL;
    for (size_t i = 0; i < r->part_count; i++) {
        const struct health_part *p = &r->parts[i];
        r->alive &= p->state != HEALTH_STUCK;
        r->ready &= p->state < HEALTH_SICK;
        r->parts_unwell += p->state >= HEALTH_SICK;
        if (p->state != HEALTH_OK && (!worst || p->state > worst->state))
            worst = p;
    }
    if (worst)
        (void)text_format(r->why, sizeof(r->why), "%s: %s", worst->name, worst->reason); /* fits */
}
