#pragma once
/* Counters, gauges and histograms as rows. A module defines its rows as static structs and enters
 * them once at start with metric_register(); every row has a help text. One optional label per row;
 * at most METRIC_SERIES_MAX values of it, further ones are counted under "other", so that names
 * that come from outside never make series without end. All update calls are thread-safe and
 * wait-free but for the first use of a label value; an observation costs some 20 to 60 ns
 * (bench/metrics). */

#include <stdbool.h>
#include <stddef.h>

#include "base/dynbuf.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_KIND_COUNT };
extern const char *const metric_kind_names[METRIC_KIND_COUNT];

/* As many as there may be cameras, and some. A histogram's value has 20 lines on the page where a
 * counter's has one, so there are fewer of them. */
#define METRIC_SERIES_MAX 1024
#define METRIC_HISTOGRAM_SERIES_MAX 128
#define METRIC_COLLECTORS_MAX 8
struct metric_table;

struct metric {
    const char *name; /* "snapshotd_fetch_failures_total": Prometheus conventions, base units */
    enum metric_kind kind;
    const char *label; /* label key or NULL */
    const char *help;
    /* private */
    struct metric_table *table;
    struct metric *next;
};

/* Histograms count seconds in fixed buckets from 0.5 ms to 5 min. */
void metric_register(struct metric *m); /* asserts name and help; idempotent per row */
void metric_add(struct metric *m, const char *label_value,
                double v); /* label_value NULL without label */
void metric_set(struct metric *m, const char *label_value, double v); /* gauges */
/* A counter that is kept elsewhere: its whole count so far. */
void metric_mirror(struct metric *m, const char *label_value, double v);
void metric_observe(struct metric *m, const char *label_value, double seconds);
static inline void metric_inc(struct metric *m, const char *label_value)
{
    metric_add(m, label_value, 1.0);
}
/* Shows the label value from now on, as 0 until something is counted: rates begin at the first
 * event, not at the second. */
void metric_touch(struct metric *m, const char *label_value);
double metric_value(struct metric *m, const char *label_value); /* histogram: count; 0 = unknown */

/* Calls f at the beginning of each metrics_render(), on its thread: for values that cost something
 * to look up. f must not add or remove collectors; after the removal it does not run any more. */
void metrics_add_collector(void (*f)(void *arg), void *arg);
void metrics_remove_collector(void (*f)(void *arg), void *arg);

/* Of a registered row by its name: of one label value, or with NULL the sum of all. 0 when there is
 * no such thing (yet). */
double metric_sum(const char *name, const char *label_value);
/* Text exposition format 0.0.4 of all registered rows. */
void metrics_render(struct dynbuf *out);
/* Calls f for each registered row, by name (reference pages, tests). */
void metrics_each(void (*f)(const struct metric *m, void *arg), void *arg);
/* The page for people (Markdown), from the rows that are registered. */
void metrics_write_reference(struct dynbuf *out);
