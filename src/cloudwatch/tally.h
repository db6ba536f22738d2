#pragma once
/* What waits to be told to CloudWatch: a row for each metric and minute. Counts of the same minute
 * add up in one row, so two hours without CloudWatch are some hundred rows and not one for each
 * thing that happened. Pure: the time is given. Not thread-safe. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

/* What one request may hold, so that all that waits goes with one: nine metrics for 110 minutes. */
#define TALLY_ROWS_MAX 1000

struct tally_row {
    int metric; /* the caller's number */
    bool level; /* `value` is how much there was, else how often something happened */
    int64_t minute;
    struct mono_time at; /* of the first thing in it: wall clocks may be set in between */
    double value;
};
struct tally {
    struct tally_row rows[TALLY_ROWS_MAX]; /* in order of their time */
    size_t count;
};

/* `n` more of something that is counted; what has no room any more joins the last row of its
 * metric. False: there is no such row either, and it is not kept. */
bool tally_add(struct tally *t, int metric, double n, struct wall_time now, struct mono_time at);
/* How much there is of something; the last one of a minute counts, without room none. */
void tally_level(struct tally *t, int metric, double value, struct wall_time now,
                 struct mono_time at);
/* Drops what is older than `before`; returns how many counts were in it. */
double tally_expire(struct tally *t, struct mono_time before);
/* Drops the first `count` rows; returns the counts that were in them. */
double tally_shift(struct tally *t, size_t count);
double tally_counts(const struct tally *t); /* that wait; levels are none */
