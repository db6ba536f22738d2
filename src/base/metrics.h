#pragma once
/* Counters, gauges and histograms as rows. A module defines its rows as static structs and enters
 * them once at start with metric_register(); every row has a help text. One optional label per row;
 * at most METRIC_SERIES_MAX values of it, further ones are counted under "other". All update calls
 * are thread-safe and wait-free but for the first use of a label value. */

#include <stdbool.h>
#include <stddef.h>

#include "base/dynbuf.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_KIND_COUNT };

#define METRIC_SERIES_MAX 128
struct metric_series;

struct metric {
    const char *name; /* "snapshotd_fetch_failures_total": Prometheus conventions, base units */
    enum metric_kind kind;
    const char *label; /* label key or NULL */
    const char *help;
    /* private */
    struct metric_series *series;
    struct metric *next;
};

/* Histograms count seconds in fixed buckets from 1 ms to 60 s. */
void metric_register(struct metric *m); /* asserts unique name, help present; idempotent per row */
void metric_add(struct metric *m, const char *label_value,
                double v); /* label_value NULL without label */
void metric_set(struct metric *m, const char *label_value, double v); /* gauges */
void metric_observe(struct metric *m, const char *label_value, double seconds);
static inline void metric_inc(struct metric *m, const char *label_value)
{
    metric_add(m, label_value, 1.0);
}
double metric_value(struct metric *m, const char *label_value); /* histogram: count */
/* Of a registered row by its name: of one label value, or with NULL the sum of all. 0 when there is
 * no such thing (yet). */
double metric_sum(const char *name, const char *label_value);
/* Text exposition format 0.0.4 of all registered rows. */
void metrics_render(struct dynbuf *out);
/* Calls f for each registered row (reference pages, tests). */
void metrics_each(void (*f)(const struct metric *m, void *arg), void *arg);
