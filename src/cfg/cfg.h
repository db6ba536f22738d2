#pragma once
/* The configuration engine: one row per key, beside the module that uses it. Out of the rows alone
 * come the parser, environment overrides, validation, `check`, `config --sample`, `--reference`,
 * `--effective`, and the difference at a reload. Nothing about a key is written twice.
 *
 * A loaded `struct cfg` is immutable and reference-counted; a reload builds a second one and swaps.
 * A section's values live in one block of `struct_size` bytes laid out by the rows' offsets.
 * Strings in it are owned by the cfg. Any thread may read. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dynbuf.h"
#include "base/macros.h"

enum cfg_type {
    CFG_STRING,   /* const char *; never NULL, "" when empty */
    CFG_SECRET,   /* const char *; shown as ***; value may be env:NAME, file:PATH, op://...,
                     credential:NAME */
    CFG_BOOL,     /* bool */
    CFG_INT,      /* int64_t, min..max */
    CFG_DOUBLE,   /* double, min..max */
    CFG_DURATION, /* int64_t milliseconds, min..max in ms; "5s", "10m"; bare number in row's
                     bare_unit_ms */
    CFG_SIZE,     /* int64_t bytes, min..max; "10MB" */
    CFG_CHOICE,   /* int: index in `choices` */
    CFG_LIST,     /* const char *const *: NULL-terminated, comma-separated, never NULL */
    CFG_LINES,    /* the same, separated by ';' (headers, schedule lines hold commas) */
    CFG_ENDPOINT, /* const char *: host:port or [v6]:port, checked */
    CFG_PATH,     /* const char * */
    CFG_TYPE_COUNT
};

enum cfg_flags {
    CFG_RELOAD = 1 << 0,   /* takes effect by SIGHUP; others need a restart (reload warns) */
    CFG_REQUIRED = 1 << 1, /* must be present and not empty */
    CFG_LATER = 1 << 2,    /* accepted, its feature is not in this release: `check` says so */
    CFG_NUMBERED =
        1 << 3, /* name holds one '#': any number of keys (I#: I1, I2, ...), see cfg_numbered() */
};

struct cfg_key {
    const char *name;
    enum cfg_type type;
    size_t offset;        /* in the section's struct; ignored for CFG_LATER and CFG_NUMBERED */
    const char *fallback; /* default as text; NULL = empty / zero */
    double min, max;      /* bounds; both 0 = none */
    const char *const *choices;
    const char *unit; /* "ms", "bytes", "0..1", or NULL */
    unsigned flags;
    const char
        *env; /* environment variable that overrides, besides the option's own name; or NULL */
    const char
        *successor;   /* retired key: "section.key" that replaces it (its value is still taken) */
    const char *help; /* one line, mandatory */
    const char *doc;  /* a paragraph for the reference, or NULL */
    int64_t bare_unit_ms; /* CFG_DURATION */
    /* Extra check of the parsed value; writes what would be right; NULL = none. `value` points at
     * the field. */
    int (*validate)(const void *value, char *why, size_t why_size);
};

struct cfg_faults;

struct cfg_section {
    const char *name; /* "detection"; or "camera" with `named`: [camera:NAME], any number */
    bool named;
    size_t struct_size;
    const struct cfg_key *keys;
    size_t key_count;
    const char *help; /* one line about the section */
    /* Cross-key check of one instance; appends faults via cfg_fault(). NULL = none. */
    void (*check)(const void *values, const char *instance, struct cfg_faults *faults);
};

/* A program's whole schema: NULL-terminated list of sections. */
struct cfg_schema {
    const struct cfg_section *const *sections;
    const char *env_prefix; /* SNAPSHOTD_SECTION_KEY overrides any key; NULL = none */
};

/* Collected faults, each "file:line: section.key: what, and what would be right". */
void cfg_fault(struct cfg_faults *faults, const char *section, const char *instance,
               const char *key, const char *fmt, ...) PRINTF_LIKE(5, 6);

struct cfg;

struct cfg_source {
    const char *path; /* file, or NULL for none (defaults and environment only) */
    const char *text; /* instead of a file (tests, fuzzing); with `path` as its shown name */
    const char *const *settings; /* "section.key=value" from --set, NULL-terminated, or NULL */
    char *const *environment;    /* NULL = environ */
};

/* Loads and validates. Always reports all faults at once: on -EINVAL `*ret_faults` (malloc()ed
 * text, a line per fault) says them; other negative codes when the file cannot be read (text
 * likewise). Warnings (CFG_LATER, retired keys) go to
 * `*ret_warnings` the same way, also on success; either may be NULL when empty. */
int cfg_load(const struct cfg_schema *schema, const struct cfg_source *source, struct cfg **ret,
             char **ret_faults, char **ret_warnings);
struct cfg *cfg_ref(struct cfg *c);
void cfg_unref(struct cfg *c);
DEFINE_AUTO(cfg, cfg_unref)

/* Values of a plain section; never NULL (defaults when the file has none). */
const void *cfg_values(const struct cfg *c, const struct cfg_section *section);
/* Instances of a named section, in file order. */
size_t cfg_instance_count(const struct cfg *c, const struct cfg_section *section);
const char *cfg_instance_name(const struct cfg *c, const struct cfg_section *section, size_t i);
const void *cfg_instance_values(const struct cfg *c, const struct cfg_section *section, size_t i);
/* Values of a numbered key: calls f for each, ascending by number. */
void cfg_numbered(const struct cfg *c, const struct cfg_section *section, const char *key,
                  void (*f)(unsigned number, const char *value, void *arg), void *arg);
/* True when the key was given by file, environment or setting (not the default). */
bool cfg_is_set(const struct cfg *c, const struct cfg_section *section, const char *instance,
                const char *key);

/* Documents. All return 0 or -ENOSPC (dynbuf's maximum). */
int cfg_write_sample(const struct cfg_schema *schema, struct dynbuf *out);
int cfg_write_reference(const struct cfg_schema *schema, struct dynbuf *out); /* Markdown */
int cfg_write_effective(const struct cfg *c,
                        struct dynbuf *out); /* secrets as ***, source of each value as a comment */
/* Names of keys that differ, one "section.key" a line, those that need a restart marked "
 * (restart)". */
int cfg_write_difference(const struct cfg *before, const struct cfg *after, struct dynbuf *out);
