#include "base/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

/* Seconds; wide enough for a cached answer and for a camera that drips. */
static const double bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                0.25,  0.5,    1,     2.5,  5,     10,   60};
#define BOUND_COUNT ARRAY_LEN(bounds)

struct metric_series {
    char label[64];
    _Atomic double value; /* counter, gauge; histogram: sum */
    atomic_ullong buckets[BOUND_COUNT + 1];
    struct metric_series *_Atomic next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric *first_metric;

void metric_register(struct metric *m)
{
    assert(m->name && m->help && m->help[0]);
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

static struct metric_series *find(struct metric_series *s, const char *label)
{
    while (s && strcmp(s->label, label) != 0)
        s = atomic_load(&s->next);
    return s;
}

/* The list only grows, so readers walk it without the lock. */
static struct metric_series *series_of(struct metric *m, const char *label_value)
{
    char label[sizeof((struct metric_series){0}.label)];
    text_copy(label, sizeof(label), label_value && m->label ? label_value : "");
    struct metric_series *head = __atomic_load_n(&m->series, __ATOMIC_ACQUIRE);
    struct metric_series *s = find(head, label);
    if (s)
        return s;
    pthread_mutex_lock(&lock);
    size_t count = 0;
    for (s = m->series; s; s = atomic_load(&s->next))
        count++;
    if (count >= METRIC_SERIES_MAX)
        text_copy(label, sizeof(label), "other");
    s = find(m->series, label);
    if (!s) {
        s = xcalloc(1, sizeof(*s));
        text_copy(s->label, sizeof(s->label), label);
        atomic_store(&s->next, m->series);
        __atomic_store_n(&m->series, s, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&lock);
    return s;
}

static void add(_Atomic double *value, double v)
{
    double before = atomic_load(value);
    while (!atomic_compare_exchange_weak(value, &before, before + v))
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

void metric_observe(struct metric *m, const char *label_value, double seconds)
{
    assert(m->kind == METRIC_HISTOGRAM);
    struct metric_series *s = series_of(m, label_value);
    size_t i = 0;
    while (i < BOUND_COUNT && seconds > bounds[i])
        i++;
    atomic_fetch_add(&s->buckets[i], 1);
    add(&s->value, seconds);
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
    struct metric_series *s = series_of(m, label_value);
    return m->kind == METRIC_HISTOGRAM ? (double)histogram_count(s) : atomic_load(&s->value);
}

double metric_sum(const char *name, const char *label_value)
{
    double sum = 0;
    pthread_mutex_lock(&lock);
    struct metric *m = first_metric;
    while (m && strcmp(m->name, name) != 0)
        m = m->next;
    for (struct metric_series *s = m ? m->series : NULL; s; s = atomic_load(&s->next))
        if (!label_value || strcmp(s->label, label_value) == 0)
            sum +=
                m->kind == METRIC_HISTOGRAM ? (double)histogram_count(s) : atomic_load(&s->value);
    pthread_mutex_unlock(&lock);
    return sum;
}

/* The format knows three escapes; a reader may drop a page with any other, so what would need one
 * becomes "?". `dst` holds twice the label. */
static const char *escape_label(const char *label, char *dst)
{
    size_t left = strlen(label);
    char *out = dst;
    while (left) {
        size_t n = text_utf8_length(label, left);
        unsigned char c = (unsigned char)*label;
        if (c == '"' || c == '\\' || c == '\n') {
            *out++ = '\\';
            *out++ = c == '\n' ? 'n' : (char)c;
        } else if (n == 0 || c < 0x20 || c == 0x7f) {
            *out++ = '?';
        } else {
            memcpy(out, label, n);
            out += n;
        }
        label += n ? n : 1;
        left -= n ? n : 1;
    }
    *out = '\0';
    return dst;
}

/* {key="value"} or {key="value",le="0.1"}; nothing when there is neither. */
static void render_labels(const struct metric *m, const struct metric_series *s, const char *le,
                          struct dynbuf *out)
{
    char escaped[2 * sizeof(s->label)];
    if (!m->label && !le)
        return;
    (void)dynbuf_puts(out, "{");
    if (m->label)
        (void)dynbuf_printf(out, "%s=\"%s\"", m->label, escape_label(s->label, escaped));
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

void metrics_render(struct dynbuf *out)
{
    static const char *const kinds[METRIC_KIND_COUNT] = {"counter", "gauge", "histogram"};
    pthread_mutex_lock(&lock);
    for (struct metric *m = first_metric; m; m = m->next) {
        (void)dynbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name,
                            kinds[m->kind]);
        struct metric_series *s = m->series;
        if (!s && !m->label && m->kind != METRIC_HISTOGRAM)
            (void)dynbuf_printf(out, "%s 0\n", m->name);
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
    pthread_mutex_unlock(&lock);
}

void metrics_each(void (*f)(const struct metric *m, void *arg), void *arg)
{
    pthread_mutex_lock(&lock);
    for (struct metric *m = first_metric; m; m = m->next)
        f(m, arg);
    pthread_mutex_unlock(&lock);
}
