#pragma once
/* Whether the program makes progress: pure, a view of what the program does goes in, a report with
 * a reason per part comes out. It knows no thread, no clock and no ledger.
 *
 * Of stages it wants that their loops turn; of queues, that what waits gets finished. Somebody else
 * may be in the way, a broker that is away or a camera that does not answer: then the part "waits",
 * and the program is well. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

enum health_state {
    HEALTH_OK,
    HEALTH_WAITING, /* for something outside; nothing is lost meanwhile, and nobody need restart */
    HEALTH_SICK,    /* it does not do its work: not ready */
    HEALTH_STUCK,   /* a thread hangs or has ended: not alive, only a restart helps */
    HEALTH_STATE_COUNT
};
extern const char *const health_state_names[HEALTH_STATE_COUNT]; /* "ok", "waiting", ... */

#define HEALTH_NAME_MAX 64
#define HEALTH_REASON_MAX 256
/* Stages with their pools, a queue for each that has one, destinations and storages. */
#define HEALTH_STAGES_MAX 168
#define HEALTH_QUEUES_MAX 40
#define HEALTH_FACTS_MAX 40
#define HEALTH_PARTS_MAX (HEALTH_STAGES_MAX + HEALTH_QUEUES_MAX + HEALTH_FACTS_MAX)

/* A thread with a loop. */
struct health_stage {
    char name[HEALTH_NAME_MAX]; /* "detect.2": a pool's members share the part "stage:detect" */
    bool running;
    int64_t heartbeat_age_ms;
    int64_t limit_ms; /* its longest legal work without a turn of the loop */
};

/* Something that waits, and a count of what was finished, well or not. */
struct health_queue {
    char name[HEALTH_NAME_MAX];
    int64_t waiting, finished;
    int64_t limit_ms; /* with something waiting, so long without anything finished is legal */
    /* Who else is waited for, as a sentence's end: "the broker, connection refused". "" = nobody:
     * then the queue has to move. */
    char waits_for[HEALTH_REASON_MAX];
};

/* What needs no judging over time. */
struct health_fact {
    char name[HEALTH_NAME_MAX];
    enum health_state state;
    char reason[HEALTH_REASON_MAX]; /* "" when ok */
};

struct health_view {
    size_t stage_count, queue_count, fact_count;
    struct health_stage stages[HEALTH_STAGES_MAX];
    struct health_queue queues[HEALTH_QUEUES_MAX];
    struct health_fact facts[HEALTH_FACTS_MAX];
};

/* Names are stable: "stage:NAME", "queue:NAME", and those of the facts. Each part once, in the
 * view's order. */
struct health_part {
    char name[HEALTH_NAME_MAX + 8];
    enum health_state state;
    char reason[HEALTH_REASON_MAX];
};

struct health_report {
    struct mono_time at;             /* 0 = none was made yet */
    bool alive;                      /* no part is stuck */
    bool ready;                      /* none is stuck or sick */
    int stages_running;              /* threads whose loop turns */
    int stages_missing;              /* threads that hang or have ended */
    int parts_unwell;                /* parts sick or stuck */
    char why[HEALTH_REASON_MAX * 2]; /* the worst part with its reason; "" when all is ok. A part
                                        that waits is named as well, and is no fault */
    char stuck[HEALTH_NAME_MAX];     /* the first stage that hangs or has ended, or "" */
    size_t part_count;
    struct health_part parts[HEALTH_PARTS_MAX];
};

/* What is remembered between two looks. Zeroed to begin with. */
struct health_judge {
    struct health_memory {
        char name[HEALTH_NAME_MAX];
        int64_t finished;
        struct mono_time since; /* nothing waits, something was finished, or somebody else was in
                                   the way: the last time that this was so */
    } queues[HEALTH_QUEUES_MAX];
    size_t queue_count;
};

/* `patience` multiplies all limits; whatever it is, a limit is never below HEALTH_LIMIT_MIN_MS. */
#define HEALTH_LIMIT_MIN_MS 3000 /* loops turn once a second */
void health_judge(struct health_judge *j, const struct health_view *v, struct mono_time now,
                  double patience, struct health_report *ret);
/* The limit of a stage after patience. */
int64_t health_limit_ms(int64_t limit_ms, double patience);
/* NULL when there is no such part. */
const struct health_part *health_part_find(const struct health_report *r, const char *name);
