#include "detect/breaker.h"

#include "base/macros.h"

/* While a probe is under way nobody knows how long it takes. */
#define PROBE_WAIT_MS 1000

const char *const breaker_state_names[BREAKER_STATE_COUNT] = {"closed", "half-open", "open"};

void breaker_init(struct breaker *b, const struct breaker_rules *rules, struct mono_time now)
{
    *b = (struct breaker){.rules = *rules, .rest_ms = rules->rest_ms, .closed_at = now};
}

enum breaker_pass breaker_ask(struct breaker *b, struct mono_time now)
{
    switch (b->state) {
    case BREAKER_CLOSED:
        return BREAKER_YES;
    case BREAKER_HALF_OPEN:
        return BREAKER_NO;
    case BREAKER_OPEN:
        if (mono_diff_us(now, b->until) < 0)
            return BREAKER_NO;
        b->state = BREAKER_HALF_OPEN;
        return BREAKER_PROBE;
    case BREAKER_STATE_COUNT:
        break;
    }
    return BREAKER_NO;
}

static void open_for_a_rest(struct breaker *b, struct mono_time now)
{
    b->state = BREAKER_OPEN;
    b->failures = 0;
    b->until = mono_add_ms(now, b->rest_ms);
    b->rest_ms = MIN(b->rest_ms * 2, b->rules.rest_ms_max);
}

void breaker_good(struct breaker *b, enum breaker_pass pass, struct mono_time now)
{
    if (pass == BREAKER_PROBE) {
        b->state = BREAKER_CLOSED;
        b->closed_at = now;
    }
    if (b->state == BREAKER_CLOSED)
        b->failures = 0;
}

void breaker_bad(struct breaker *b, enum breaker_pass pass, bool at_once, struct mono_time now)
{
    if (pass == BREAKER_PROBE) {
        open_for_a_rest(b, now);
        return;
    }
    if (b->state != BREAKER_CLOSED)
        return;
    b->failures++;
    if (!at_once && b->failures < b->rules.failures_max)
        return;
    if (mono_diff_us(now, b->closed_at) >= b->rules.calm_ms * 1000)
        b->rest_ms = b->rules.rest_ms;
    open_for_a_rest(b, now);
}

void breaker_unknown(struct breaker *b, enum breaker_pass pass)
{
    if (pass == BREAKER_PROBE)
        b->state = BREAKER_OPEN; /* the rest is over: the next call is the probe */
}

int64_t breaker_wait_ms(const struct breaker *b, struct mono_time now)
{
    if (b->state == BREAKER_HALF_OPEN)
        return PROBE_WAIT_MS;
    int64_t left_us = b->state == BREAKER_OPEN ? mono_diff_us(b->until, now) : 0;
    return left_us > 0 ? (left_us + 999) / 1000 : 0;
}
