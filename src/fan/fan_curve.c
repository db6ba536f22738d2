#include "fan/fan_curve.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/macros.h"
#include "base/parse.h"
#include "base/text.h"

static int parse_point(const char *text, struct fan_point *ret)
{
    int64_t pwm;
    size_t degrees = strcspn(text, ":");
    if (text[degrees] != ':' ||
        parse_double(text, degrees, FAN_CELSIUS_MIN, FAN_CELSIUS_MAX, &ret->celsius) < 0 ||
        parse_int64(text + degrees + 1, strlen(text + degrees + 1), 0, FAN_PWM_MAX, &pwm) < 0)
        return -EINVAL;
    ret->pwm = (int)pwm;
    return 0;
}

int fan_curve_parse(const char *const *texts, struct fan_curve *ret, char *why, size_t why_size)
{
    struct fan_curve c = {0};
    for (; texts && *texts; texts++) {
        if (c.count == FAN_POINTS_MAX)
            return (void)text_format(why, why_size, "at most %d points", FAN_POINTS_MAX), -EINVAL;
        struct fan_point *p = &c.points[c.count];
        if (parse_point(*texts, p) < 0)
            return (void)text_format(why, why_size,
                                     "each point is TEMPERATURE:VALUE, degrees from %g to %g and a "
                                     "value from 0 to %d, as 55:80",
                                     FAN_CELSIUS_MIN, FAN_CELSIUS_MAX, FAN_PWM_MAX),
                   -EINVAL;
        if (c.count && p->celsius <= p[-1].celsius)
            return (void)text_format(why, why_size, "the temperatures must rise"), -EINVAL;
        if (c.count && p->pwm < p[-1].pwm)
            return (void)text_format(why, why_size, "a warmer point must not be slower"), -EINVAL;
        c.count++;
    }
    if (c.count == 0)
        return (void)text_format(why, why_size, "it needs a point at least"), -EINVAL;
    if (c.points[c.count - 1].pwm == 0)
        return (void)text_format(why, why_size, "the last point must turn the fan"), -EINVAL;
    *ret = c;
    return 0;
}

int fan_curve_pwm(const struct fan_curve *c, double celsius)
{
    if (!isfinite(celsius))
        return FAN_PWM_MAX;
    size_t i = 0;
    while (i < c->count && celsius >= c->points[i].celsius)
        i++;
    if (i == 0)
        return c->points[0].pwm;
    if (i == c->count)
        return c->points[i - 1].pwm;
    const struct fan_point *low = &c->points[i - 1], *high = &c->points[i];
    double part = (celsius - low->celsius) / (high->celsius - low->celsius);
    /* The small number is for what rounds up only because doubles are not exact. */
    return (int)ceil(low->pwm + part * (high->pwm - low->pwm) - 1e-9);
}

int fan_governor_next(struct fan_governor *g, double celsius, int64_t now_ms)
{
    if (!g->began)
        g->held = celsius;
    g->held = MIN(MAX(g->held, celsius), celsius + g->hysteresis);
    int pwm = fan_curve_pwm(&g->curve, g->held);
    if (pwm > 0 && (!g->began || g->pwm == 0))
        g->push_until_ms = now_ms + g->spin_up_ms;
    if (pwm > 0 && now_ms < g->push_until_ms)
        pwm = MAX(pwm, g->spin_up);
    g->began = true;
    g->pwm = pwm;
    return pwm;
}
