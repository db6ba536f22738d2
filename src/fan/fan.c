#include "fan/fan.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/altstack.h"
#include "base/clock.h"
#include "base/dynbuf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "fan/fan_sysfs.h"
#include "sys/stack.h"

/* A look that takes so much longer than the interval hangs in the kernel. */
#define HUNG_MS 10000
/* A driver may round to steps of its own. */
#define ROUNDING 8
/* What a stop waits for the thread: a look takes milliseconds. */
#define STOP_MS 2000
/* 8 KB of devices are on the heap; what is left is small. */
#define STACK_SIZE (128 * 1024)

const char *const fan_state_names[FAN_STATE_COUNT] = {"off", "running", "safe", "hung"};

/* What the thread works by; immutable while it runs. */
struct plan {
    char *root, *pwm;
    char **sensors, **ignore;
    struct fan_governor governor;
    int64_t interval_ms;
    bool (*well)(void *arg);
    void *well_arg;
};

struct fan {
    struct plan plan;
    pthread_t thread;
    /* The main thread's. */
    char *applied; /* the configuration that runs, as text; NULL = none */
    bool started;
    bool lost; /* the thread hangs in the kernel, and may still use all this */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop, ended; /* guarded by lock, as is what follows */
    struct fan_status shown;
    struct mono_time looked_at;
    /* The thread's own. */
    struct fan_sensor sensors[FAN_SENSORS_MAX];
    int sensor_count; /* 0 = not found yet */
    struct fan_output output;
    bool taken;
    int written; /* -1 = nothing */
    bool contested;
};

static struct metric temperature = {.name = "snapshotd_fan_temperature_celsius",
                                    .kind = METRIC_GAUGE,
                                    .label = "sensor",
                                    .help = "Temperatures that the fan is driven by"};
static struct metric value = {.name = "snapshotd_fan_pwm",
                              .kind = METRIC_GAUGE,
                              .help = "Value that the fan has, 0 to 255; 0 also without one"};
static struct metric safe = {.name = "snapshotd_fan_safe",
                             .kind = METRIC_GAUGE,
                             .help = "1 while the fan runs at full speed because something failed"};
static struct metric failures = {.name = "snapshotd_fan_failures_total",
                                 .kind = METRIC_COUNTER,
                                 .label = "reason",
                                 .help =
                                     "Looks that failed: sensor, pwm (the fan does not take its "
                                     "value), hang (a part of the program does)"};

void fan_register_metrics(void)
{
    metric_register(&temperature);
    metric_register(&value);
    metric_register(&safe);
    metric_register(&failures);
}

/* ---- the end by a signal ---- */

/* Written by the fan's thread before `driven` says that it is whole. */
static char emergency_path[FAN_PATH_MAX];
static atomic_bool driven;

void fan_emergency(void)
{
    if (!atomic_load(&driven))
        return;
    int fd = open(emergency_path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return;
    (void)!write(fd, "255\n", 4); /* nothing else can be tried here */
    (void)close(fd);
}

/* ---- one look ---- */

static bool is_known(const struct fan *f, const char *path)
{
    for (int i = 0; i < f->sensor_count; i++)
        if (strcmp(f->sensors[i].path, path) == 0)
            return true;
    return false;
}

/* Drivers that are loaded again have other numbers. A sensor that was good once stays wanted. */
static void find_again(struct fan *f, struct fan_sensor *lost)
{
    AUTO_FREE struct fan_sensor *found = xcalloc(FAN_SENSORS_MAX, sizeof(*found));
    int count = fan_find_sensors(f->plan.root, (const char *const *)f->plan.sensors,
                                 (const char *const *)f->plan.ignore, found, NULL);
    for (int i = 0; i < count; i++) {
        if (strcmp(found[i].name, lost->name) != 0 || is_known(f, found[i].path))
            continue;
        text_copy(lost->path, sizeof(lost->path), found[i].path);
        return;
    }
}

static int find_sensors(struct fan *f, struct err *e)
{
    if (f->sensor_count > 0)
        return 0;
    int r = fan_find_sensors(f->plan.root, (const char *const *)f->plan.sensors,
                             (const char *const *)f->plan.ignore, f->sensors, e);
    f->sensor_count = MAX(r, 0);
    return MIN(r, 0);
}

/* The hottest. One that never gave a temperature is left out: boards show zones that they do not
 * have. So is one whose part of the chip is off. Any other silence is a failure. */
static int read_temperature(struct fan *f, const struct fan_sensor **ret, double *ret_celsius,
                            struct err *e)
{
    struct err why = {0};
    int r = find_sensors(f, e);
    if (r < 0)
        return r;
    *ret = NULL;
    for (int i = 0; i < f->sensor_count; i++) {
        struct fan_sensor *s = &f->sensors[i];
        double celsius;
        int code = fan_read_sensor(s, &celsius, &why);
        if (code < 0 && code != -EAGAIN && s->good) {
            find_again(f, s);
            if (e)
                *e = why;
            return code;
        }
        if (code < 0)
            continue;
        s->good = true;
        metric_set(&temperature, s->name, celsius);
        if (!*ret || celsius > *ret_celsius) {
            *ret = s;
            *ret_celsius = celsius;
        }
    }
    if (*ret)
        return 0;
    f->sensor_count = 0; /* look for others */
    return err_set(e, -ENODATA, ERR_LATER, "no sensor gives a temperature: %s", why.text);
}

static int take(struct fan *f, struct err *e)
{
    if (f->taken)
        return 0;
    int r = fan_find_output(f->plan.root, f->plan.pwm, &f->output, e);
    if (r == 0)
        r = fan_take(&f->output, e);
    if (r < 0)
        return r;
    f->taken = true;
    f->written = -1;
    text_copy(emergency_path, sizeof(emergency_path), f->output.value);
    atomic_store(&driven, true);
    log_notice("fan-taken", "driving the fan %s", f->output.name);
    return 0;
}

/* Somebody else who writes the same file makes a fan that howls up and down. */
static void look_for_others(struct fan *f)
{
    int seen;
    if (f->contested || f->written < 0 || fan_read(&f->output, &seen, NULL) < 0)
        return;
    if (abs(seen - f->written) > ROUNDING) {
        f->contested = true;
        log_warn("fan-contested",
                 "the fan %s was set to %d by something else, we had set %d: stop what drives it "
                 "(nvfancontrol.service, fancontrol.service, jtop)",
                 f->output.name, seen, f->written);
    }
}

static int set_pwm(struct fan *f, int pwm, struct err *e)
{
    int r = take(f, e);
    if (r < 0)
        return r;
    look_for_others(f);
    r = fan_write(&f->output, pwm, e);
    if (r < 0) {
        f->taken = false; /* it may have come back under another number */
        return r;
    }
    f->written = pwm;
    metric_set(&value, NULL, pwm);
    return 0;
}

/* Logged when it begins, changes its kind or ends; not at each look. */
static void show(struct fan *f, enum fan_state state, const struct err *e,
                 const struct fan_sensor *hottest, double celsius)
{
    struct fan_status *s = &f->shown;
    pthread_mutex_lock(&f->lock);
    bool changed = state != s->state || (state == FAN_SAFE && strcmp(s->trouble, e->text) != 0);
    bool was_safe = s->state == FAN_SAFE;
    s->state = state;
    s->pwm = f->written;
    if (hottest) {
        s->celsius = celsius;
        text_copy(s->sensor, sizeof(s->sensor), hottest->name);
    }
    text_copy(s->output, sizeof(s->output), f->taken ? f->output.name : "");
    text_copy(s->trouble, sizeof(s->trouble), e->text);
    f->looked_at = clock_mono();
    pthread_mutex_unlock(&f->lock);
    metric_set(&safe, NULL, state == FAN_SAFE);
    if (changed && state == FAN_SAFE)
        log_error("fan-safe", "%s; the fan runs at full speed as far as it can be set", e->text);
    else if (changed && was_safe)
        log_notice("fan-well", "the fan follows %s again: %.1f degrees, value %d", s->sensor,
                   celsius, f->written);
}

static void look(struct fan *f)
{
    const struct fan_sensor *hottest = NULL;
    double celsius = 0;
    struct err e = {0}, second = {0};
    int pwm = FAN_PWM_MAX;
    bool well = !f->plan.well || f->plan.well(f->plan.well_arg);
    int r = well ? read_temperature(f, &hottest, &celsius, &e)
                 : err_set(&e, -ETIMEDOUT, ERR_LATER, "a part of the program hangs");
    if (r < 0)
        metric_inc(&failures, well ? "sensor" : "hang");
    else
        pwm = fan_governor_next(&f->plan.governor, celsius, clock_mono().us / 1000);
    int written = set_pwm(f, pwm, &second);
    if (written < 0)
        metric_inc(&failures, "pwm");
    if (written < 0 && r < 0)
        (void)err_prefix(&e, "%.200s", second.text);
    else if (written < 0)
        e = second;
    show(f, r < 0 || written < 0 ? FAN_SAFE : FAN_RUNNING, &e, hottest, celsius);
}

static void give_back(struct fan *f)
{
    struct err e = {0};
    if (!f->taken)
        return;
    if (fan_give_back(&f->output, &e) < 0)
        log_error("fan-left", "the fan was left as it is: %s", e.text);
    else
        log_notice("fan-left", "the fan %s runs at full speed%s", f->output.name,
                   f->output.mode_before[0] ? ", and the kernel drives it again" : "");
    atomic_store(&driven, false);
    f->taken = false;
}

/* Called with the lock held. False when the time is over before the flag is set. */
static bool wait_for(struct fan *f, const bool *flag, int64_t ms)
{
    struct mono_time end = mono_add_ms(clock_mono(), ms);
    struct timespec until = {.tv_sec = (time_t)(end.us / 1000000),
                             .tv_nsec = (long)(end.us % 1000000 * 1000)};
    int code = 0;
    while (!*flag && code == 0)
        code = pthread_cond_timedwait(&f->wake, &f->lock, &until);
    return *flag;
}

static void *thread_main(void *arg)
{
    struct fan *f = arg;
    sigset_t all; /* signals belong to the main loop */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    stack_thread_ready();
    altstack_use();
    pthread_setname_np(pthread_self(), "fan");
    log_context_stage("fan");
    pthread_mutex_lock(&f->lock);
    while (!f->stop) {
        pthread_mutex_unlock(&f->lock);
        look(f);
        pthread_mutex_lock(&f->lock);
        (void)wait_for(f, &f->stop, f->plan.interval_ms);
    }
    pthread_mutex_unlock(&f->lock);
    give_back(f);
    pthread_mutex_lock(&f->lock);
    f->ended = true;
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* ---- start and stop ---- */

static char **copy_list(const char *const *list)
{
    size_t count = 0;
    while (list && list[count])
        count++;
    char **copy = xcalloc(count + 1, sizeof(*copy));
    for (size_t i = 0; i < count; i++)
        copy[i] = xstrdup(list[i]);
    return copy;
}

static void free_list(char **list)
{
    for (char **p = list; p && *p; p++)
        free(*p);
    free(list);
}

static void plan_done(struct plan *p)
{
    free(p->root);
    free(p->pwm);
    free_list(p->sensors);
    free_list(p->ignore);
    *p = (struct plan){0};
}

struct fan *fan_new(void)
{
    struct fan *f = xcalloc(1, sizeof(*f));
    pthread_condattr_t clock;
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&f->wake, &clock);
    pthread_condattr_destroy(&clock);
    f->shown.pwm = f->written = -1;
    return f;
}

static int start(struct fan *f, struct err *e)
{
    pthread_attr_t attr;
    f->contested = false;
    f->sensor_count = 0;
    f->written = -1;
    pthread_mutex_lock(&f->lock);
    f->stop = f->ended = false;
    f->looked_at = clock_mono();
    pthread_mutex_unlock(&f->lock);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    int code = pthread_create(&f->thread, &attr, thread_main, f);
    pthread_attr_destroy(&attr);
    f->started = code == 0;
    return code ? err_errno(e, -code, "fan: start a thread") : 0;
}

static void put_list(struct dynbuf *out, const char *const *list)
{
    for (; list && *list; list++)
        (void)dynbuf_printf(out, "%s\n", *list);
    (void)dynbuf_puts(out, "\n");
}

/* All that counts, so that a reload which changes nothing here leaves the fan alone. */
static char *as_text(const struct fan_config *c)
{
    struct dynbuf out;
    dynbuf_init(&out, 1 << 20);
    (void)dynbuf_printf(&out, "%s\n%s\n%g %lld %lld %lld\n", c->sysfs_root, c->pwm, c->hysteresis,
                        (long long)c->spin_up, (long long)c->spin_up_ms, (long long)c->interval_ms);
    put_list(&out, c->sensors);
    put_list(&out, c->ignore);
    put_list(&out, c->curve);
    return dynbuf_steal(&out, NULL);
}

int fan_apply(struct fan *f, const struct fan_config *c, bool (*well)(void *arg), void *arg,
              struct err *e)
{
    AUTO_FREE char *text = c->enabled ? as_text(c) : NULL;
    if (f->lost)
        return err_set(e, -EBUSY, ERR_LATER, "the fan's thread hangs in the kernel");
    if (f->started && text && strcmp(text, f->applied) == 0)
        return 0;
    fan_stop(f);
    if (!text || f->lost)
        return 0;
    plan_done(&f->plan);
    free(f->applied);
    f->applied = STEAL(text);
    f->plan = (struct plan){.root = xstrdup(c->sysfs_root),
                            .pwm = xstrdup(c->pwm),
                            .sensors = copy_list(c->sensors),
                            .ignore = copy_list(c->ignore),
                            .governor = fan_config_governor(c),
                            .interval_ms = c->interval_ms,
                            .well = well,
                            .well_arg = arg};
    return start(f, e);
}

void fan_stop(struct fan *f)
{
    if (!f || !f->started)
        return;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_broadcast(&f->wake);
    bool ended = wait_for(f, &f->ended, STOP_MS);
    if (ended)
        f->shown = (struct fan_status){.pwm = -1};
    pthread_mutex_unlock(&f->lock);
    f->started = false;
    f->lost = !ended;
    if (f->lost) {
        pthread_detach(f->thread);
        log_error("fan-hung", "the fan's thread hangs in the kernel; ending without it");
        return;
    }
    pthread_join(f->thread, NULL);
    metric_set(&value, NULL, 0);
    metric_set(&safe, NULL, 0);
}

void fan_free(struct fan *f)
{
    if (!f)
        return;
    fan_stop(f);
    if (f->lost)
        return; /* its thread may still come back to it */
    plan_done(&f->plan);
    free(f->applied);
    pthread_cond_destroy(&f->wake);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

void fan_status(struct fan *f, struct fan_status *ret)
{
    pthread_mutex_lock(&f->lock);
    *ret = f->shown;
    int64_t age_ms = (clock_mono().us - f->looked_at.us) / 1000;
    /* The interval is set before the thread begins, and the lock comes after it. */
    if (ret->state != FAN_OFF && age_ms > f->plan.interval_ms + HUNG_MS)
        ret->state = FAN_HUNG;
    pthread_mutex_unlock(&f->lock);
}
