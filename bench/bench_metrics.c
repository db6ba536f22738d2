/* What a metric costs the thread that counts: nanoseconds of one call, with few and with a thousand
 * label values, alone and beside another thread that counts the same series. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/metrics.h"

#define ROUNDS 2000000
#define CAMERAS 1000

static struct metric plain = {
    .name = "bench_plain_total", .kind = METRIC_COUNTER, .help = "Without a label"};
static struct metric few = {
    .name = "bench_few_total", .kind = METRIC_COUNTER, .label = "camera", .help = "Few cameras"};
static struct metric many = {
    .name = "bench_many_total", .kind = METRIC_COUNTER, .label = "camera", .help = "A thousand"};
static struct metric seconds = {.name = "bench_seconds",
                                .kind = METRIC_HISTOGRAM,
                                .label = "camera",
                                .help = "A histogram of few cameras"};

static char names[CAMERAS][32];

static void count_plain(int i)
{
    (void)i;
    metric_inc(&plain, NULL);
}
static void count_few(int i)
{
    metric_inc(&few, names[i % 4]);
}
static void count_many(int i)
{
    metric_inc(&many, names[i % CAMERAS]);
}
static void observe(int i)
{
    metric_observe(&seconds, names[i % 4], 0.037);
}
static void look_at_the_clock(int i)
{
    (void)i;
    (void)clock_mono();
}

static double ns_each(void (*f)(int i))
{
    struct mono_time start = clock_mono();
    for (int i = 0; i < ROUNDS; i++)
        f(i);
    return mono_diff_ms(clock_mono(), start) * 1e6 / ROUNDS;
}

static atomic_bool stop;
static void *disturb(void *arg)
{
    (void)arg;
    for (int i = 0; !atomic_load(&stop); i++)
        observe(i);
    return NULL;
}

int main(void)
{
    for (int i = 0; i < CAMERAS; i++)
        (void)snprintf(names[i], sizeof(names[i]), "Back Garden %d", i);
    printf("%-46s %6.1f ns\n", "a look at the clock, to compare", ns_each(look_at_the_clock));
    printf("%-46s %6.1f ns\n", "count, no label", ns_each(count_plain));
    printf("%-46s %6.1f ns\n", "count, one of 4 cameras", ns_each(count_few));
    printf("%-46s %6.1f ns\n", "count, one of 1000 cameras", ns_each(count_many));
    printf("%-46s %6.1f ns\n", "observe, one of 4 cameras", ns_each(observe));
    pthread_t other;
    if (pthread_create(&other, NULL, disturb, NULL) != 0)
        return 1;
    printf("%-46s %6.1f ns\n", "observe, beside a thread that does the same", ns_each(observe));
    atomic_store(&stop, true);
    pthread_join(other, NULL);

    metric_register(&many);
    struct dynbuf out;
    dynbuf_init(&out, 4 << 20);
    struct mono_time start = clock_mono();
    metrics_render(&out);
    printf("%-46s %6.2f ms, %zu bytes\n", "the page with 1000 series",
           mono_diff_ms(clock_mono(), start), out.len);
    dynbuf_done(&out);
    return 0;
}
