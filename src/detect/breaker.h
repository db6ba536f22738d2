#pragma once
/* A circuit breaker: keeps calls away from a partner that fails, and finds out by itself when it is
 * well again. Pure: the time is given. Not thread-safe.
 *
 * Closed, all calls pass. After `failures_max` failures in a row, or one that cost a time-out, it
 * opens: none pass for `rest_ms`. Then one call is let through, the probe; its success closes the
 * breaker, its failure opens it for twice the rest, up to `rest_ms_max`. A partner that has not
 * been well for `calm_ms` between two openings is rested for longer each time as well, so that one
 * that comes and goes does not cost a call each time. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

enum breaker_state { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN, BREAKER_STATE_COUNT };
extern const char *const breaker_state_names[BREAKER_STATE_COUNT];

struct breaker_rules {
    int failures_max;
    int64_t rest_ms, rest_ms_max, calm_ms;
};

struct breaker {
    struct breaker_rules rules;
    enum breaker_state state; /* open stays so until a call asks, however long ago the rest ended */
    int failures;             /* in a row, while closed */
    int64_t rest_ms;          /* of the next opening */
    struct mono_time until;   /* open: end of the rest */
    struct mono_time closed_at;
};

enum breaker_pass { BREAKER_NO, BREAKER_YES, BREAKER_PROBE };

void breaker_init(struct breaker *b, const struct breaker_rules *rules, struct mono_time now);
/* Whether a call may go now. A probe must be followed by exactly one of the three below. */
enum breaker_pass breaker_ask(struct breaker *b, struct mono_time now);
/* How the call ended that was given `pass`. What comes of an ordinary call after the breaker opened
 * is old news and changes nothing. */
void breaker_good(struct breaker *b, enum breaker_pass pass, struct mono_time now);
void breaker_bad(struct breaker *b, enum breaker_pass pass, bool at_once, struct mono_time now);
void breaker_unknown(struct breaker *b, enum breaker_pass pass); /* it never came to that */
/* 0 when a call may go now; else how long until one may, as far as is known. */
int64_t breaker_wait_ms(const struct breaker *b, struct mono_time now);
