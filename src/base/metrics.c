#include "base/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

const char *const metric_kind_names[METRIC_KIND_COUNT] = {"counter", "gauge", "histogram"};

/* Seconds; wide enough for a commit on a fast disk and for an event that waited for its broker. */
static const double bounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                0.5,    1,     2.5,    5,     10,   30,    60,   300};
#define BOUND_COUNT ARRAY_LEN(bounds)
#define LABEL_MAX 64
/* A power of two. With a thousand cameras some 16 names share a bucket. */
#define HASH_BUCKETS 64

struct metric_series {
    char label[LABEL_MAX]; /* as it is shown, so that no two look alike */
    uint32_t hash;
    struct metric_series *_Atomic chain; /* of its hash bucket */
    struct metric_series *_Atomic next;  /* of all */
    _Atomic double value;                /* counter, gauge; histogram: sum */
    atomic_ullong buckets[];             /* BOUND_COUNT + 1 of them in a histogram, else none */
};

/* Both kinds of list only grow, so readers walk them without a lock. */
struct metric_table {
    struct metric_series *_Atomic first;
    size_t count; /* guarded by `lock` */
    struct metric_series *_Atomic hashed[HASH_BUCKETS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* rows, and the making of series */
static struct metric *first_metric;

/* Held while collectors run. */
static pthread_mutex_t collect_lock = PTHREAD_MUTEX_INITIALIZER;
static struct collector {
    void (*f)(void *arg);
    void *arg;
} collectors[METRIC_COLLECTORS_MAX];
static size_t collector_count;

/* What the format allows and Prometheus's conventions want. */
static bool name_is_right(const struct metric *m)
{
    size_t len = strlen(m->name), total = strlen("_total");
    bool ends = len > total && strcmp(m->name + len - total, "_total") == 0;
    return len == strspn(m->name, "abcdefghijklmnopqrstuvwxyz0123456789_") && m->name[0] >= 'a' &&
           ends == (m->kind == METRIC_COUNTER);
}

void metric_register(struct metric *m)
{
    assert(m->name && m->help && m->help[0] && name_is_right(m));
    assert(!m->label || strcmp(m->label, "le") != 0);
    pthread_mutex_lock(&lock);
    struct metric **at = &first_metric;
    while (*at && *at != m && strcmp((*at)->name, m->name) < 0)
        at = &(*at)->next;
    if (*at != m) {
        assert(!*at || strcmp((*at)->name, m->name) != 0);
        m->next = *at;
        *at = m;
    }
    pthread_mutex_unlock(&lock);
}

/* ---- series ---- */

/* FNV-1a, of what fits into a label. */
static uint32_t hash_of(const char *label)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; label[i] && i < LABEL_MAX - 1; i++)
        h = (h ^ (unsigned char)label[i]) * 16777619u;
    return h;
}

static struct metric_table *table_of(const struct metric *m)
{
    return __atomic_load_n(&m->table, __ATOMIC_ACQUIRE);
}

static struct metric_series *find(struct metric_table *t, const char *label, uint32_t hash)
{
    struct metric_series *s =
        t ? atomic_load_explicit(&t->hashed[hash % HASH_BUCKETS], memory_order_acquire) : NULL;
    while (s && (s->hash != hash || strncmp(s->label, label, LABEL_MAX - 1) != 0))
        s = atomic_load_explicit(&s->chain, memory_order_acquire);
    return s;
}

/* The form in which a value is kept and shown: cut to its place, and what would need an escape that
 * the format does not know becomes "?". Two values of one form are one series: a page with the same
 * series twice is refused as a whole. */
static void tidy_label(const char *from, char to[LABEL_MAX])
{
    size_t left = strlen(from), at = 0;
    while (left) {
        size_t n = text_utf8_length(from, left);
        unsigned char c = (unsigned char)*from;
        bool odd = n == 0 || (c < 0x20 && c != '\n') || c == 0x7f;
        size_t width = odd ? 1 : n;
        if (at + width >= LABEL_MAX)
            break;
        if (odd)
            to[at] = '?';
        else
            memcpy(to + at, from, n);
        at += width;
        from += n ? n : 1;
        left -= n ? n : 1;
    }
    to[at] = '\0';
}

static struct metric_series *make_series(struct metric *m, const char *label)
{
    struct metric_table *t = m->table;
    size_t max = m->kind == METRIC_HISTOGRAM ? METRIC_HISTOGRAM_SERIES_MAX : METRIC_SERIES_MAX;
    if (!t) {
        t = xcalloc(1, sizeof(*t));
        __atomic_store_n(&m->table, t, __ATOMIC_RELEASE);
    }
    uint32_t hash = hash_of(label);
    struct metric_series *s = find(t, label, hash);
    if (!s && t->count >= max) {
        label = "other";
        hash = hash_of(label);
        s = find(t, label, hash);
    }
    if (s)
        return s;
    size_t buckets = m->kind == METRIC_HISTOGRAM ? BOUND_COUNT + 1 : 0;
    s = xcalloc(1, sizeof(*s) + buckets * sizeof(s->buckets[0]));
    text_copy(s->label, sizeof(s->label), label);
    s->hash = hash;
    t->count++;
    atomic_store(&s->chain, t->hashed[hash % HASH_BUCKETS]);
    atomic_store(&s->next, t->first);
    atomic_store_explicit(&t->hashed[hash % HASH_BUCKETS], s, memory_order_release);
    atomic_store_explicit(&t->first, s, memory_order_release);
    return s;
}

static struct metric_series *series_of(struct metric *m, const char *label_value)
{
    const char *value = label_value && m->label ? label_value : "";
    struct metric_series *s = find(table_of(m), value, hash_of(value));
    if (s)
        return s;
    char label[LABEL_MAX];
    tidy_label(value, label);
    pthread_mutex_lock(&lock);
    s = make_series(m, label);
    pthread_mutex_unlock(&lock);
    return s;
}

/* ---- counting ---- */

static void add(_Atomic double *value, double v)
{
    double before = atomic_load_explicit(value, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(value, &before, before + v, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

void metric_add(struct metric *m, const char *label_value, double v)
{
    add(&series_of(m, label_value)->value, v);
}

void metric_set(struct metric *m, const char *label_value, double v)
{
    assert(m->kind == METRIC_GAUGE);
    atomic_store(&series_of(m, label_value)->value, v);
}

void metric_mirror(struct metric *m, const char *label_value, double v)
{
    assert(m->kind == METRIC_COUNTER);
    atomic_store(&series_of(m, label_value)->value, v);
}

void metric_touch(struct metric *m, const char *label_value)
{
    (void)series_of(m, label_value); /* it is there now */
}

void metric_observe(struct metric *m, const char *label_value, double seconds)
{
    assert(m->kind == METRIC_HISTOGRAM);
    struct metric_series *s = series_of(m, label_value);
    size_t i = 0;
    while (i < BOUND_COUNT && seconds > bounds[i])
        i++;
    add(&s->value, seconds);
    atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
}

static unsigned long long histogram_count(struct metric_series *s)
{
    unsigned long long n = 0;
    for (size_t i = 0; i <= BOUND_COUNT; i++)
        n += atomic_load(&s->buckets[i]);
    return n;
}

double metric_value(struct metric *m, const char *label_value)
{
    char label[LABEL_MAX];
    tidy_label(label_value && m->label ? label_value : "", label);
    struct metric_series *s = find(table_of(m), label, hash_of(label));
    if (!s)
        return 0;
    return m->kind == METRIC_HISTOGRAM ? (double)histogram_count(s) : atomic_load(&s->value);
}

double metric_sum(const char *name, const char *label_value)
{
    pthread_mutex_lock(&lock);
    struct metric *m = first_metric;
    while (m && strcmp(m->name, name) != 0)
        m = m->next;
    pthread_mutex_unlock(&lock);
    if (!m)
        return 0;
    if (label_value)
        return metric_value(m, label_value);
    double sum = 0;
    struct metric_table *t = table_of(m);
    for (struct metric_series *s = t ? atomic_load(&t->first) : NULL; s; s = atomic_load(&s->next))
        sum += m->kind == METRIC_HISTOGRAM ? (double)histogram_count(s) : atomic_load(&s->value);
    return sum;
}

/* ---- the page ---- */

void metrics_add_collector(void (*f)(void *arg), void *arg)
{
    pthread_mutex_lock(&collect_lock);
    assert(collector_count < METRIC_COLLECTORS_MAX);
    collectors[collector_count++] = (struct collector){f, arg};
    pthread_mutex_unlock(&collect_lock);
}

void metrics_remove_collector(void (*f)(void *arg), void *arg)
{
    pthread_mutex_lock(&collect_lock);
    for (size_t i = 0; i < collector_count; i++)
        if (collectors[i].f == f && collectors[i].arg == arg)
            collectors[i--] = collectors[--collector_count];
    pthread_mutex_unlock(&collect_lock);
}

/* A label value has three escapes, a help text two of them. */
static void put_escaped(struct dynbuf *out, const char *text, bool quotes)
{
    for (; *text; text++) {
        if (*text == '\n')
            (void)dynbuf_puts(out, "\\n");
        else if (*text == '\\' || (quotes && *text == '"'))
            (void)dynbuf_printf(out, "\\%c", *text);
        else
            (void)dynbuf_append(out, text, 1);
    }
}

/* {key="value"} or {key="value",le="0.1"}; nothing when there is neither. */
static void render_labels(const struct metric *m, const struct metric_series *s, const char *le,
                          struct dynbuf *out)
{
    if (!m->label && !le)
        return;
    (void)dynbuf_puts(out, "{");
    if (m->label) {
        (void)dynbuf_printf(out, "%s=\"", m->label);
        put_escaped(out, s->label, true);
        (void)dynbuf_puts(out, "\"");
    }
    if (le)
        (void)dynbuf_printf(out, "%sle=\"%s\"", m->label ? "," : "", le);
    (void)dynbuf_puts(out, "}");
}

static void render_histogram(const struct metric *m, struct metric_series *s, struct dynbuf *out)
{
    unsigned long long below = 0;
    for (size_t i = 0; i <= BOUND_COUNT; i++) {
        char le[32];
        below += atomic_load(&s->buckets[i]);
        (void)text_format(le, sizeof(le), i < BOUND_COUNT ? "%g" : "+Inf",
                          i < BOUND_COUNT ? bounds[i] : 0);
        (void)dynbuf_printf(out, "%s_bucket", m->name);
        render_labels(m, s, le, out);
        (void)dynbuf_printf(out, " %llu\n", below);
    }
    (void)dynbuf_printf(out, "%s_sum", m->name);
    render_labels(m, s, NULL, out);
    (void)dynbuf_printf(out, " %.9g\n%s_count", atomic_load(&s->value), m->name);
    render_labels(m, s, NULL, out);
    (void)dynbuf_printf(out, " %llu\n", below);
}

static void render_metric(struct metric *m, struct dynbuf *out)
{
    (void)dynbuf_printf(out, "# HELP %s ", m->name);
    put_escaped(out, m->help, false);
    (void)dynbuf_printf(out, "\n# TYPE %s %s\n", m->name, metric_kind_names[m->kind]);
    if (!m->label)
        (void)make_series(m, ""); /* there is a value before the first event */
    struct metric_series *s = m->table ? atomic_load(&m->table->first) : NULL;
    for (; s; s = atomic_load(&s->next)) {
        if (m->kind == METRIC_HISTOGRAM) {
            render_histogram(m, s, out);
            continue;
        }
        (void)dynbuf_puts(out, m->name);
        render_labels(m, s, NULL, out);
        (void)dynbuf_printf(out, " %.15g\n", atomic_load(&s->value));
    }
}

void metrics_render(struct dynbuf *out)
{
    pthread_mutex_lock(&collect_lock);
    for (size_t i = 0; i < collector_count; i++)
        collectors[i].f(collectors[i].arg);
    pthread_mutex_unlock(&collect_lock);
    pthread_mutex_lock(&lock);
    for (struct metric *m = first_metric; m; m = m->next)
        render_metric(m, out);
    pthread_mutex_unlock(&lock);
}

void metrics_each(void (*f)(const struct metric *m, void *arg), void *arg)
{
    pthread_mutex_lock(&lock);
    for (struct metric *m = first_metric; m; m = m->next)
        f(m, arg);
    pthread_mutex_unlock(&lock);
}

static void write_row(const struct metric *m, void *arg)
{
    struct dynbuf *out = arg;
    (void)dynbuf_printf(out, "| `%s` | %s | ", m->name, metric_kind_names[m->kind]);
    if (m->label)
        (void)dynbuf_printf(out, "`%s`", m->label);
    size_t len = strlen(m->help);
    while (len && m->help[len - 1] == '.') /* some help texts are sentences, some are not */
        len--;
    (void)dynbuf_printf(out, " | %.*s |\n", (int)len, m->help);
}

void metrics_write_reference(struct dynbuf *out)
{
    (void)dynbuf_puts(
        out, "# Metrics\n\n"
             "<!-- Made by `snapshotd metrics --reference`; do not edit. -->\n\n"
             "`GET /metrics` answers in Prometheus's text format, version 0.0.4. Where a row has a "
             "label, each\nvalue of it is a series of its own, at most ");
    (void)dynbuf_printf(out, "%d (%d of a histogram); further values are\ncounted under `other`. ",
                        METRIC_SERIES_MAX, METRIC_HISTOGRAM_SERIES_MAX);
    (void)dynbuf_puts(out, "Histograms count seconds, with the bounds");
    for (size_t i = 0; i < BOUND_COUNT; i++)
        (void)dynbuf_printf(out, "%s%g", i ? ", " : " ", bounds[i]);
    (void)dynbuf_puts(
        out, ".\n\nA Grafana board and alert rules that use them are in `packaging/grafana/` and\n"
             "`packaging/prometheus/`; `doc/monitoring.md` says how to install them and what to do "
             "when an\nalert fires.\n\n"
             "| name | kind | label | what |\n|---|---|---|---|\n");
    metrics_each(write_row, out);
}
