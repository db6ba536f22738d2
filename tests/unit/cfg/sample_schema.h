#pragma once
/* A schema with a row of every type and every flag, for the tests of the engine. */

#include <string.h>

#include "base/text.h"
#include "cfg/cfg.h"

struct main_values {
    const char *title, *secret, *file, *listen;
    bool on;
    int64_t count, wait_ms, size;
    double level;
    int mode;
    const char *const *labels, *const *lines;
};

struct box_values {
    const char *url, *password;
    int64_t low, high;
};

static inline int validate_title(const void *value, char *why, size_t why_size)
{
    if (strcmp(*(const char *const *)value, "bad") != 0)
        return 0;
    (void)text_copy(why, why_size, "any title but bad");
    return -1;
}

static inline void check_box(const void *values, const char *instance, struct cfg_faults *faults)
{
    const struct box_values *b = values;
    if (b->low > b->high)
        cfg_fault(faults, "box", instance, "low", "%lld is above high = %lld", (long long)b->low,
                  (long long)b->high);
}

static const char *const mode_names[] = {"auto", "basic", "digest", NULL};

#define AT(s, f) .offset = offsetof(struct s, f)
static const struct cfg_key main_keys[] = {
    {"title", CFG_STRING, AT(main_values, title), .fallback = "none", .flags = CFG_RELOAD,
     .validate = validate_title, .help = "a title"},
    {"secret", CFG_SECRET, AT(main_values, secret), .help = "a secret"},
    {"file", CFG_PATH, AT(main_values, file), .fallback = "./data", .help = "a path",
     .doc = "A paragraph."},
    {"listen", CFG_ENDPOINT, AT(main_values, listen), .fallback = "127.0.0.1:80",
     .help = "an address"},
    {"on", CFG_BOOL, AT(main_values, on), .fallback = "true", .flags = CFG_RELOAD | CFG_ENV_NAME,
     .env = "MAIN_ON", .help = "a switch"},
    {"count", CFG_INT, AT(main_values, count), .fallback = "3", .min = 1, .max = 10,
     .help = "a number"},
    {"wait", CFG_DURATION, AT(main_values, wait_ms), .fallback = "5s", .min = 100, .max = 600000,
     .bare_unit_ms = 1000, .help = "a duration"},
    {"size", CFG_SIZE, AT(main_values, size), .fallback = "10MB", .min = 1024, .max = 1 << 30,
     .help = "a size"},
    {"level", CFG_DOUBLE, AT(main_values, level), .fallback = "0.5", .min = 0, .max = 1,
     .unit = "0..1", .help = "a level"},
    {"mode", CFG_CHOICE, AT(main_values, mode), .fallback = "auto", .choices = mode_names,
     .help = "a choice"},
    {"labels", CFG_LIST, AT(main_values, labels), .fallback = "a, b", .flags = CFG_RELOAD,
     .help = "a list"},
    {"lines", CFG_LINES, AT(main_values, lines), .help = "lines"},
    {"later", CFG_STRING, .flags = CFG_LATER, .help = "for later"},
    {"old_count", CFG_INT, .successor = "main.count", .help = "the old name"},
    {"N#", CFG_STRING, .flags = CFG_NUMBERED | CFG_COMPAT, .env = "N_#_NAME", .help = "numbered"},
};
static const struct cfg_section main_section = {
    "main",           false, sizeof(struct main_values), main_keys, ARRAY_LEN(main_keys),
    "The main part.", NULL};

static const struct cfg_key box_keys[] = {
    {"url", CFG_STRING, AT(box_values, url), .flags = CFG_REQUIRED | CFG_RELOAD,
     .help = "where the box is"},
    {"password", CFG_SECRET, AT(box_values, password), .flags = CFG_RELOAD, .help = "its password"},
    {"low", CFG_INT, AT(box_values, low), .fallback = "1", .flags = CFG_RELOAD, .help = "low end"},
    {"high", CFG_INT, AT(box_values, high), .fallback = "9", .flags = CFG_RELOAD,
     .help = "high end"},
};
static const struct cfg_section box_section = {
    "box", true, sizeof(struct box_values), box_keys, ARRAY_LEN(box_keys), "A box.", check_box};

static const struct cfg_section *const all_sections[] = {&main_section, &box_section, NULL};
static const char *const reserved[] = {"T_CONFIG", NULL};
static const struct cfg_schema test_schema = {all_sections, "T", reserved};

static char *const no_environment[] = {NULL};
