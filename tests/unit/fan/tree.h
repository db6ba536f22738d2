#pragma once
/* A tree that looks like /sys, of ordinary files. */

#include "../test.h"

#include <stdarg.h>

struct tree {
    char root[64];
    int fd;
};

/* All at once, as the kernel does it: a reader never sees half of it. */
static inline UNUSED void tree_write(const struct tree *t, const char *path, const char *text)
{
    char full[256], next[264], *slash;
    (void)snprintf(full, sizeof(full), "%s/%s", t->root, path);
    for (slash = strchr(full + strlen(t->root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(full, 0755); /* may be there */
        *slash = '/';
    }
    (void)snprintf(next, sizeof(next), "%s.next", full);
    FILE *f = fopen(next, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(next, full), 0);
}

/* An ordinary file is empty for a moment while it is written. */
static inline UNUSED const char *tree_read(const struct tree *t, const char *path)
{
    static char text[64];
    ssize_t n = 0;
    for (int i = 0; i < 100000 && n == 0; i++) {
        int fd = openat(t->fd, path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        n = read(fd, text, sizeof(text) - 1);
        assert_true(n >= 0);
        (void)close(fd);
    }
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return text;
}

static inline UNUSED void tree_remove(const struct tree *t, const char *path)
{
    assert_int_equal(unlinkat(t->fd, path, 0), 0);
}

/* A Jetson Nano with JetPack 4, as far as it matters. */
static inline UNUSED struct tree tree_jetpack4(void)
{
    struct tree t;
    t.fd = test_folder_new(t.root);
    static const struct {
        const char *type, *temp;
    } zones[] = {{"AO-therm", "46000\n"},  {"CPU-therm", "41500\n"},
                 {"GPU-therm", "40000\n"}, {"PLL-therm", "39000\n"},
                 {"PMIC-Die", "100000\n"}, {"thermal-fan-est", "40750\n"}};
    for (size_t i = 0; i < ARRAY_LEN(zones); i++) {
        char path[128], text[64];
        (void)snprintf(path, sizeof(path), "class/thermal/thermal_zone%zu/type", i);
        (void)snprintf(text, sizeof(text), "%s\n", zones[i].type);
        tree_write(&t, path, text);
        (void)snprintf(path, sizeof(path), "class/thermal/thermal_zone%zu/temp", i);
        tree_write(&t, path, zones[i].temp);
    }
    tree_write(&t, "class/thermal/cooling_device0/type", "pwm-fan\n");
    tree_write(&t, "devices/pwm-fan/target_pwm", "0\n");
    tree_write(&t, "devices/pwm-fan/temp_control", "1\n");
    return t;
}

/* An Orin with JetPack 5. */
static inline UNUSED struct tree tree_jetpack5(void)
{
    struct tree t;
    t.fd = test_folder_new(t.root);
    tree_write(&t, "class/thermal/thermal_zone0/type", "CPU-therm\n");
    tree_write(&t, "class/thermal/thermal_zone0/temp", "52000\n");
    tree_write(&t, "class/hwmon/hwmon0/name", "tmp451\n");
    tree_write(&t, "class/hwmon/hwmon0/temp1_input", "44000\n");
    tree_write(&t, "class/hwmon/hwmon0/temp2_input", "58250\n");
    tree_write(&t, "class/hwmon/hwmon10/name", "pwmfan\n");
    tree_write(&t, "class/hwmon/hwmon10/pwm1", "64\n");
    tree_write(&t, "class/hwmon/hwmon10/pwm1_enable", "2\n");
    return t;
}

static inline UNUSED void tree_done(struct tree *t)
{
    test_folder_remove(t->root, t->fd);
}
