#include "fan/fan_config.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

#define FAN(field) .offset = offsetof(struct fan_config, field)

static bool has_kind(const char *text, const char *kind)
{
    size_t len = strlen(kind);
    return strncmp(text, kind, len) == 0 && text[len] == ':' && text[len + 1];
}

static int check_sensors(const void *value, char *why, size_t why_size)
{
    for (const char *const *p = *(const char *const *const *)value; p && *p; p++)
        if (!has_kind(*p, "thermal") && !has_kind(*p, "hwmon"))
            return (void)text_format(why, why_size,
                                     "each is thermal:TYPE, hwmon:NAME or hwmon:NAME/temp1"),
                   -EINVAL;
    return 0;
}

static int check_pwm(const void *value, char *why, size_t why_size)
{
    const char *text = *(const char *const *)value;
    if (strcmp(text, "auto") == 0 || strcmp(text, "pwm-fan") == 0 || has_kind(text, "hwmon"))
        return 0;
    return (void)text_format(why, why_size, "it is auto, pwm-fan, hwmon:NAME or hwmon:NAME/pwm2"),
           -EINVAL;
}

static int check_curve(const void *value, char *why, size_t why_size)
{
    struct fan_curve c;
    return fan_curve_parse(*(const char *const *const *)value, &c, why, why_size);
}

static const struct cfg_key keys[] = {
    {.name = "enabled",
     .type = CFG_BOOL,
     FAN(enabled),
     .fallback = "no",
     .flags = CFG_RELOAD,
     .help = "Whether the program drives the board's fan",
     .doc = "For boards whose fan nobody else drives, NVIDIA's Jetsons above all. Stop what drives "
            "it so far (`nvfancontrol`). The fan runs at full speed when the program ends, when no "
            "temperature can be read, and while a part of the program hangs. `doc/fan.md` has the "
            "rest, the rights that it needs among it."},
    {.name = "sensors",
     .type = CFG_LIST,
     FAN(sensors),
     .fallback = "thermal:*",
     .flags = CFG_RELOAD,
     .validate = check_sensors,
     .help = "Temperatures, of which the highest counts",
     .doc = "`thermal:TYPE` is a thermal zone by its type, `hwmon:NAME` all temperatures of a "
            "hwmon device by its name, `hwmon:NAME/temp1` one of them. `*` and `?` stand for any "
            "letters and any letter."},
    {.name = "ignore",
     .type = CFG_LIST,
     FAN(ignore),
     .fallback = "thermal:PMIC-Die",
     .flags = CFG_RELOAD,
     .validate = check_sensors,
     .help = "Temperatures that are left out, in the same forms",
     .doc = "`PMIC-Die` of the older Jetsons says 100 degrees for ever."},
    {.name = "pwm",
     .type = CFG_STRING,
     FAN(pwm),
     .fallback = "auto",
     .flags = CFG_RELOAD,
     .validate = check_pwm,
     .help = "The fan: auto, pwm-fan, hwmon:NAME or hwmon:NAME/pwm2",
     .doc = "`auto` takes `/sys/devices/pwm-fan` (JetPack 4 and before), else the hwmon device of "
            "the kernel's pwm-fan driver (JetPack 5 and later)."},
    {.name = "curve",
     .type = CFG_LIST,
     FAN(curve),
     .fallback = "40:0, 55:80, 70:255",
     .flags = CFG_RELOAD,
     .validate = check_curve,
     .help = "Points TEMPERATURE:VALUE; degrees Celsius, and 0 (off) to 255 (full speed)",
     .doc = "Between two points the value is in between; before the first and behind the last it "
            "is theirs. Temperatures rise, values do not fall, at most 16 points."},
    {.name = "hysteresis",
     .type = CFG_DOUBLE,
     FAN(hysteresis),
     .fallback = "3",
     .min = 0,
     .max = 30,
     .unit = "degrees",
     .flags = CFG_RELOAD,
     .help = "The fan slows down only when it has become so much cooler; it speeds up at once"},
    {.name = "spin_up",
     .type = CFG_INT,
     FAN(spin_up),
     .fallback = "100",
     .min = 0,
     .max = FAN_PWM_MAX,
     .flags = CFG_RELOAD,
     .help = "Value that surely starts the fan when it stands; 0 = the curve's is enough"},
    {.name = "spin_up_time",
     .type = CFG_DURATION,
     FAN(spin_up_ms),
     .fallback = "3s",
     .min = 0,
     .max = 60e3,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "How long it gets that value"},
    {.name = "interval",
     .type = CFG_DURATION,
     FAN(interval_ms),
     .fallback = "2s",
     .min = 100,
     .max = 60e3,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "Between two looks at the temperature"},
    {.name = "sysfs_root",
     .type = CFG_PATH,
     FAN(sysfs_root),
     .fallback = "/sys",
     .flags = CFG_RELOAD,
     .help = "Where the kernel shows its devices; another one is for tests"},
};

const struct cfg_section fan_cfg_section = {
    .name = "fan",
    .struct_size = sizeof(struct fan_config),
    .keys = keys,
    .key_count = ARRAY_LEN(keys),
    .help = "The fan of the board that the program runs on.",
};

struct fan_governor fan_config_governor(const struct fan_config *c)
{
    struct fan_governor g = {
        .hysteresis = c->hysteresis, .spin_up = (int)c->spin_up, .spin_up_ms = c->spin_up_ms};
    char why[160];
    if (fan_curve_parse(c->curve, &g.curve, why, sizeof(why)) < 0) /* it was checked */
        g.curve = (struct fan_curve){.points = {{0, FAN_PWM_MAX}}, .count = 1};
    return g;
}
