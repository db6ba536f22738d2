#include "fan/fan_sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dynbuf.h"
#include "base/macros.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "fan/fan_curve.h"

/* A line of /sys that we read has a name or a number. */
#define LINE_SIZE 64
#define DEVICES_MAX 64

/* ---- files ---- */

/* The first line without its end. Never waits for a FIFO that somebody put there. */
static int read_line(const char *path, char ret[LINE_SIZE], struct err *e)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_errno(e, -errno, "%s", path);
    ssize_t n = read(fd, ret, LINE_SIZE - 1);
    if (n < 0)
        return err_errno(e, -errno, "read %s", path);
    ret[n] = '\0';
    ret[strcspn(ret, "\r\n")] = '\0';
    return 0;
}

static int explain_write(const char *path, int code, struct err *e)
{
    if (code == EACCES || code == EPERM)
        return err_set(e, -code, ERR_LATER,
                       "%s cannot be written: %s: let the program's group write it by a udev rule "
                       "(doc/fan.md has one), and in a container mount it writable",
                       path, strerror(code));
    if (code == EROFS)
        return err_set(e, -code, ERR_LATER,
                       "%s cannot be written: /sys is mounted read-only here; the unit needs "
                       "ProtectKernelTunables=no, a container a writable mount (doc/fan.md)",
                       path);
    return err_errno(e, -code, "write %s", path);
}

static int write_text(const char *path, const char *text, struct err *e)
{
    /* Cut to nothing, as a shell does: /sys does not mind, and an ordinary file has no old end. */
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return explain_write(path, errno, e);
    size_t len = strlen(text);
    ssize_t n = write(fd, text, len);
    if (n < 0)
        return explain_write(path, errno, e);
    return (size_t)n == len ? 0
                            : err_set(e, -EIO, ERR_LATER, "%s took a part of \"%s\"", path, text);
}

/* ---- devices ---- */

struct device {
    char path[FAN_PATH_MAX];
    char name[LINE_SIZE];
};

struct device_list {
    struct device at[DEVICES_MAX];
    size_t count;
};

static int by_path(const void *a, const void *b)
{
    const struct device *x = a, *y = b;
    return strverscmp(x->path, y->path);
}

/* Those of a class whose names begin so, with what their file `name_file` says. */
static void list_devices(const char *root, const char *folder, const char *prefix,
                         const char *name_file, struct device_list *ret)
{
    char path[FAN_PATH_MAX];
    struct dirent *entry;
    ret->count = 0;
    if (text_format(path, sizeof(path), "%s/%s", root, folder) < 0)
        return;
    DIR *dir = opendir(path);
    while (dir && ret->count < DEVICES_MAX && (entry = readdir(dir)) != NULL) {
        struct device *d = &ret->at[ret->count];
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 ||
            text_format(d->path, sizeof(d->path), "%s/%s/%s", root, folder, entry->d_name) < 0 ||
            text_format(path, sizeof(path), "%s/%s", d->path, name_file) < 0)
            continue;
        if (read_line(path, d->name, NULL) == 0 && d->name[0])
            ret->count++;
    }
    if (dir)
        (void)closedir(dir); /* was only read */
    qsort(ret->at, ret->count, sizeof(ret->at[0]), by_path);
}

/* Whether "kind:NAME" or "kind:NAME/part" means this one. */
static bool matches(const char *pattern, const char *kind, const char *name, const char *part)
{
    char text[FAN_NAME_MAX];
    size_t len = strlen(kind);
    if (strncmp(pattern, kind, len) != 0 || pattern[len] != ':')
        return false;
    text_copy(text, sizeof(text), pattern + len + 1);
    char *slash = strrchr(text, '/');
    if (slash)
        *slash = '\0';
    return fnmatch(text, name, 0) == 0 && (!slash || (part && strcmp(slash + 1, part) == 0));
}

static bool any_matches(const char *const *patterns, const char *kind, const char *name,
                        const char *part)
{
    for (; patterns && *patterns; patterns++)
        if (matches(*patterns, kind, name, part))
            return true;
    return false;
}

static void list_names(const char *root, struct dynbuf *out)
{
    AUTO_FREE struct device_list *list = xmalloc(sizeof(*list));
    const struct {
        const char *folder, *prefix, *file, *kind;
    } classes[] = {{"class/thermal", "thermal_zone", "type", "thermal"},
                   {"class/hwmon", "hwmon", "name", "hwmon"}};
    for (size_t c = 0; c < ARRAY_LEN(classes); c++) {
        list_devices(root, classes[c].folder, classes[c].prefix, classes[c].file, list);
        for (size_t i = 0; i < list->count; i++) {
            char name[2 * LINE_SIZE];
            (void)dynbuf_printf(
                out, "%s%s:%s", out->len ? ", " : "", classes[c].kind,
                text_printable(list->at[i].name, strlen(list->at[i].name), name, sizeof(name)));
        }
    }
}

static int nothing_found(const char *root, const char *what, struct err *e)
{
    AUTO_DONE(dynbuf) names = {0};
    dynbuf_init(&names, 4096);
    list_names(root, &names);
    return err_set(e, -ENOENT, ERR_LATER, "%s; below %s there is %s", what, root,
                   names.len ? dynbuf_str(&names) : "no thermal zone and no hwmon device");
}

/* ---- temperatures ---- */

/* A line of /sys may hold anything; the name goes into logs and labels. */
static void add_sensor(struct fan_sensor *list, int *count, const char *path, const char *name)
{
    if (*count == FAN_SENSORS_MAX)
        return;
    struct fan_sensor *s = &list[(*count)++];
    *s = (struct fan_sensor){0};
    text_copy(s->path, sizeof(s->path), path);
    (void)text_printable(name, strlen(name), s->name, sizeof(s->name)); /* cut is fine */
}

static void find_zones(const char *root, const char *const *wanted, const char *const *ignored,
                       struct fan_sensor *ret, int *count)
{
    AUTO_FREE struct device_list *list = xmalloc(sizeof(*list));
    char path[FAN_PATH_MAX];
    list_devices(root, "class/thermal", "thermal_zone", "type", list);
    for (size_t i = 0; i < list->count; i++) {
        const struct device *d = &list->at[i];
        if (any_matches(wanted, "thermal", d->name, NULL) &&
            !any_matches(ignored, "thermal", d->name, NULL) &&
            text_format(path, sizeof(path), "%s/temp", d->path) > 0)
            add_sensor(ret, count, path, d->name);
    }
}

#define INPUTS_MAX 16 /* temp1_input ... of one device */

static void find_inputs(const char *root, const char *const *wanted, const char *const *ignored,
                        struct fan_sensor *ret, int *count)
{
    AUTO_FREE struct device_list *list = xmalloc(sizeof(*list));
    char path[FAN_PATH_MAX], part[16], name[2 * FAN_NAME_MAX];
    list_devices(root, "class/hwmon", "hwmon", "name", list);
    for (size_t i = 0; i < list->count * INPUTS_MAX; i++) {
        const struct device *d = &list->at[i / INPUTS_MAX];
        (void)text_format(part, sizeof(part), "temp%zu", i % INPUTS_MAX + 1); /* fits */
        if (!any_matches(wanted, "hwmon", d->name, part) ||
            any_matches(ignored, "hwmon", d->name, part) ||
            text_format(path, sizeof(path), "%s/%s_input", d->path, part) < 0 ||
            access(path, F_OK) < 0)
            continue;
        (void)text_format(name, sizeof(name), "%s/%s", d->name, part); /* fits */
        add_sensor(ret, count, path, name);
    }
}

int fan_find_sensors(const char *root, const char *const *wanted, const char *const *ignored,
                     struct fan_sensor ret[FAN_SENSORS_MAX], struct err *e)
{
    int count = 0;
    find_zones(root, wanted, ignored, ret, &count);
    find_inputs(root, wanted, ignored, ret, &count);
    return count ? count : nothing_found(root, "no temperature is what `sensors` names", e);
}

int fan_read_sensor(const struct fan_sensor *s, double *ret, struct err *e)
{
    char text[LINE_SIZE];
    int64_t thousandths;
    int r = read_line(s->path, text, e);
    if (r < 0)
        return r;
    if (parse_int64(text, strlen(text), INT64_MIN, INT64_MAX, &thousandths) < 0) {
        char shown[2 * LINE_SIZE];
        return err_set(e, -EINVAL, ERR_LATER, "%s says \"%s\", which is no temperature", s->path,
                       text_escape(text, strlen(text), shown, sizeof(shown)));
    }
    double celsius = (double)thousandths / 1000;
    if (celsius < FAN_CELSIUS_MIN || celsius > FAN_CELSIUS_MAX)
        return err_set(e, -ERANGE, ERR_LATER, "%s says %g degrees, which cannot be", s->path,
                       celsius);
    *ret = celsius;
    return 0;
}

/* ---- the fan ---- */

/* NVIDIA's driver: temp_control 1 lets the kernel's thermal framework set the value. */
static bool find_target_pwm(const char *root, struct fan_output *ret)
{
    if (text_format(ret->value, sizeof(ret->value), "%s/devices/pwm-fan/target_pwm", root) < 0 ||
        access(ret->value, F_OK) < 0)
        return false;
    (void)text_format(ret->mode, sizeof(ret->mode), "%s/devices/pwm-fan/temp_control",
                      root); /* shorter than the other */
    ret->mode_ours = "0";
    text_copy(ret->name, sizeof(ret->name), "pwm-fan");
    return true;
}

/* hwmon: pwmN_enable 1 is ours, 2 and above is the chip's own control. */
static bool find_hwmon_pwm(const char *root, const char *const *patterns, struct fan_output *ret)
{
    AUTO_FREE struct device_list *list = xmalloc(sizeof(*list));
    list_devices(root, "class/hwmon", "hwmon", "name", list);
    for (size_t i = 0; i < list->count; i++) {
        const struct device *d = &list->at[i];
        for (int n = 1; n <= INPUTS_MAX; n++) {
            char part[16], name[2 * FAN_NAME_MAX];
            (void)text_format(part, sizeof(part), "pwm%d", n); /* fits */
            if (!any_matches(patterns, "hwmon", d->name, part) ||
                text_format(ret->value, sizeof(ret->value), "%s/%s", d->path, part) < 0 ||
                text_format(ret->mode, sizeof(ret->mode), "%s/%s_enable", d->path, part) < 0 ||
                access(ret->value, F_OK) < 0)
                continue;
            (void)text_format(name, sizeof(name), "%s/%s", d->name, part); /* fits */
            (void)text_printable(name, strlen(name), ret->name, sizeof(ret->name));
            ret->mode_ours = "1";
            return true;
        }
    }
    return false;
}

int fan_find_output(const char *root, const char *which, struct fan_output *ret, struct err *e)
{
    /* As the kernel's driver calls itself in this and that release. */
    static const char *const drivers[] = {"hwmon:pwmfan", "hwmon:pwm-fan", "hwmon:pwm_fan",
                                          "hwmon:tegra_pwmfan", NULL};
    const char *const one[] = {which, NULL};
    struct fan_output o = {0};
    bool by_itself = strcmp(which, "auto") == 0;
    bool found = (by_itself || strcmp(which, "pwm-fan") == 0) && find_target_pwm(root, &o);
    if (!found)
        found = find_hwmon_pwm(root, by_itself ? drivers : one, &o);
    if (!found)
        return nothing_found(root, "no fan is what `pwm` names", e);
    if (access(o.mode, F_OK) < 0)
        o.mode[0] = '\0';
    *ret = o;
    return 0;
}

int fan_take(struct fan_output *o, struct err *e)
{
    char text[LINE_SIZE];
    if (!o->mode[0])
        return 0;
    int r = read_line(o->mode, text, e);
    if (r < 0 || strcmp(text, o->mode_ours) == 0)
        return r;
    /* hwmon's 0 is "no control": nothing to give back to. */
    if (strcmp(text, "0") != 0 && strlen(text) < sizeof(o->mode_before))
        text_copy(o->mode_before, sizeof(o->mode_before), text);
    return write_text(o->mode, o->mode_ours, e);
}

int fan_read(const struct fan_output *o, int *ret, struct err *e)
{
    char text[LINE_SIZE];
    int64_t pwm;
    int r = read_line(o->value, text, e);
    if (r == 0 && parse_int64(text, strlen(text), 0, FAN_PWM_MAX, &pwm) < 0)
        r = err_set(e, -EINVAL, ERR_LATER, "%s holds no value from 0 to %d", o->value, FAN_PWM_MAX);
    if (r == 0)
        *ret = (int)pwm;
    return r;
}

int fan_write(const struct fan_output *o, int pwm, struct err *e)
{
    char text[16];
    (void)text_format(text, sizeof(text), "%d\n", MAX(0, MIN(pwm, FAN_PWM_MAX))); /* fits */
    return write_text(o->value, text, e);
}

int fan_give_back(const struct fan_output *o, struct err *e)
{
    int r = fan_write(o, FAN_PWM_MAX, e);
    int back =
        o->mode[0] && o->mode_before[0] ? write_text(o->mode, o->mode_before, r < 0 ? NULL : e) : 0;
    return r < 0 ? r : back;
}
