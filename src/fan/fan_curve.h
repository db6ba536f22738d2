#pragma once
/* How fast a fan turns at which temperature. Pure: temperatures in, PWM values (0..255) out. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAN_PWM_MAX 255
#define FAN_POINTS_MAX 16
/* What a board in use can have; outside of it a sensor is broken, or is none. */
#define FAN_CELSIUS_MIN (-40.0)
#define FAN_CELSIUS_MAX 150.0

struct fan_point {
    double celsius;
    int pwm;
};
struct fan_curve {
    struct fan_point points[FAN_POINTS_MAX]; /* rising temperatures, never falling values */
    size_t count;                            /* at least 1 */
};

/* "40:0" as one of the texts (NULL-terminated). 0, or -EINVAL and what would be right. */
int fan_curve_parse(const char *const *texts, struct fan_curve *ret, char *why, size_t why_size);
/* Linear between two points, rounded up; flat before the first and behind the last. What is no
 * temperature gives full speed. */
int fan_curve_pwm(const struct fan_curve *c, double celsius);

/* The curve with a memory: it follows a rise at once and a fall only when it is larger than the
 * hysteresis, so that noise does not move it; and a fan that stands gets a push. */
struct fan_governor {
    struct fan_curve curve;
    double hysteresis;     /* degrees, >= 0 */
    int spin_up;           /* value that surely starts the fan */
    int64_t spin_up_ms;    /* for so long */
    bool began;            /* what follows is set */
    double held;           /* temperature that counts */
    int pwm;               /* given last */
    int64_t push_until_ms; /* monotonic */
};
/* The next value, at this moment of a monotonic clock. */
int fan_governor_next(struct fan_governor *g, double celsius, int64_t now_ms);
