#pragma once
/* Temperatures and fans as the kernel shows them below /sys. Numbers of thermal zones and hwmon
 * devices change between boots, so everything is found by name:
 *
 *   thermal:TYPE         class/thermal/thermal_zone*, by its `type`; value in `temp`
 *   hwmon:NAME           class/hwmon/hwmon*, by its `name`; all of its temp*_input, or its pwm1
 *   hwmon:NAME/temp2     one of them; likewise hwmon:NAME/pwm2
 *   pwm-fan              devices/pwm-fan/target_pwm, NVIDIA's driver of JetPack 4 and before
 *
 * TYPE and NAME may hold * and ?. All paths begin at a root, which is /sys but in tests. */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define FAN_SENSORS_MAX 32 /* the largest Jetson has 13 zones */
#define FAN_PATH_MAX 512
#define FAN_NAME_MAX 64

struct fan_sensor {
    char path[FAN_PATH_MAX];
    char name[FAN_NAME_MAX]; /* "CPU-therm", "pwmfan/temp1" */
    bool good;               /* has given a temperature that can be */
};

/* Finds those that match one of `wanted` and none of `ignored` (lists of patterns as above,
 * NULL-terminated). Returns the count; -ENOENT when there is none: the text lists what there is. */
int fan_find_sensors(const char *root, const char *const *wanted, const char *const *ignored,
                     struct fan_sensor ret[FAN_SENSORS_MAX], struct err *e);
/* Degrees. -EAGAIN when the kernel says that there is none now (its part of the chip is off);
 * -ERANGE when it cannot be; -ENOENT ... */
int fan_read_sensor(const struct fan_sensor *s, double *ret, struct err *e);

struct fan_output {
    char value[FAN_PATH_MAX]; /* takes 0..255 */
    char mode[FAN_PATH_MAX];  /* who drives the fan, "" = there is no such file */
    const char *mode_ours;    /* what it must be for ours to count */
    char mode_before[16];     /* what it was, when that was the kernel's own control; else "" */
    char name[FAN_NAME_MAX];
};

/* `which` is one of the forms above, or "auto": pwm-fan, else the hwmon device of the kernel's
 * pwm-fan driver. -ENOENT when there is none: the text lists what there is. */
int fan_find_output(const char *root, const char *which, struct fan_output *ret, struct err *e);
/* Takes the fan over from the kernel, and remembers how it was. */
int fan_take(struct fan_output *o, struct err *e);
int fan_read(const struct fan_output *o, int *ret, struct err *e);
int fan_write(const struct fan_output *o, int pwm, struct err *e);
/* Full speed, and back to the kernel's control if it had it. Tries both. */
int fan_give_back(const struct fan_output *o, struct err *e);
