#pragma once
/* What a detector that costs money was asked: calls by day against a budget, and its answers, so
 * that the same picture is not paid for twice. See ledger.h for what all functions have in common.
 *
 * A call is counted before it is made and given back when it was not billed. Whatever dies between
 * leaves it counted: the budget may lose a call that way, it never spends one more. Days and months
 * are those of UTC, as they are billed, by the wall clock; one that is set back finds the calls of
 * that day again. */

#include "ledger/ledger.h"

struct cloud_budget {
    int64_t per_day, per_month; /* calls, 0 = no limit */
};

/* The days since 1970 of a time: its own, and those with which its month and the next one begin. */
struct cloud_period {
    int64_t day, month, next_month;
};
struct cloud_period cloud_period_of(struct wall_time at);

/* Counts a call of this moment; *ret_day is for what ends it. -EDQUOT (ERR_LATER) when the budget
 * is used up: the text says which, and when it begins anew. */
int ledger_cloud_reserve(struct ledger *l, const struct cloud_budget *b, struct wall_time now,
                         int64_t *ret_day, struct err *e);
/* The reserved call ended without an answer, and so many calls are billed for it. */
int ledger_cloud_settle(struct ledger *l, int64_t day, unsigned billed, struct err *e);

/* Answers that are older, or more than so many, are forgotten. */
struct cloud_bounds {
    int64_t age_ms; /* 0 = none is kept */
    int64_t count;
};
#define CLOUD_KEY_SIZE 65 /* 64 hex digits: SHA-256 of picture and question */
/* The reserved call ended with an answer: v->cloud_calls are billed, and from the same commit on
 * the answer is known. Of the verdict model, infer_ms and found are kept. */
int ledger_cloud_answered(struct ledger *l, int64_t day, const char *key, const struct verdict *v,
                          const struct cloud_bounds *bounds, struct wall_time now, struct err *e);
/* 1 with an answer that is not older (outcome examined, no calls), or 0. */
int ledger_cloud_answer(struct ledger *l, const char *key, const struct cloud_bounds *bounds,
                        struct wall_time now, struct verdict *ret, struct err *e);

struct cloud_spent {
    int64_t day, month; /* calls */
};
int ledger_cloud_spent(struct ledger *l, struct wall_time now, struct cloud_spent *ret,
                       struct err *e);
/* The same of a ledger that nobody opened, which stays as it is, for `check`. -ENOENT without one,
 * or with one of a version before budgets. */
int ledger_cloud_peek(const char *path, struct wall_time now, struct cloud_spent *ret,
                      struct err *e);
