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
    CFG_SECRET,   /* const char *; shown as ***; value may be env:NAME, file:PATH,
                     credential:NAME */
    CFG_BOOL,     /* bool */
    CFG_INT,      /* int64_t, min..max */
    CFG_DOUBLE,   /* double, min..max */
    CFG_DURATION, /* int64_t milliseconds, min..max in ms; "5s", "10m"; bare number in row's
                     bare_unit_ms */
    CFG_SIZE,     /* int64_t bytes, min..max; "10MB" */
    CFG_CHOICE,   /* int: index in `choices`; one that has yes and no takes a bool's other words
                     for them as well (true, off, 1 ...) */
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
    CFG_NUMBERED = 1 << 3, /* name holds one '#': any number of keys (I#: I1, I2, ...), see
                              cfg_numbered(); always text; `env` may hold a '#' as well */
    CFG_ENV_NAME = 1 << 4, /* an environment variable with exactly the key's name overrides, as the
                              program's predecessor has it; not for named sections */
    CFG_COMPAT = 1 << 5,   /* kept for files of the predecessor: not in the sample */
    CFG_HIDDEN = 1 << 6,   /* shown as *** like a secret (header lines may hold tokens), but
                              without the ways to give a secret */
    CFG_EARLY = 1 << 7,    /* has its value before references are asked for, so it cannot be one */
};

/* Where a value comes from; each overrides those above it. */
enum cfg_origin {
    CFG_FROM_DEFAULT,
    CFG_FROM_PATH,    /* what stands at the row's `path` in 1Password */
    CFG_FROM_RETIRED, /* a retired key, see `successor` */
    CFG_FROM_FILE,
    CFG_FROM_ENVIRONMENT, /* the row's `env`, overridden by the key's own name (CFG_ENV_NAME) */
    CFG_FROM_PREFIXED,    /* PREFIX_SECTION_KEY, PREFIX_SECTION_INSTANCE_KEY */
    CFG_FROM_SETTING,     /* --set */
    CFG_ORIGIN_COUNT
};

/* How the warning about a CFG_LATER row ends. */
#define CFG_LATER_WORDS "accepted, without effect until a later release"

struct cfg_key {
    const char *name;
    enum cfg_type type;
    size_t offset;        /* in the section's struct; ignored for CFG_LATER and CFG_NUMBERED */
    const char *fallback; /* default as text; NULL = empty / zero */
    double min, max;      /* bounds; both 0 = none */
    const char *const *choices; /* NULL-terminated; any case is accepted */
    const char *unit;           /* "ms", "bytes", "0..1", or NULL */
    unsigned flags;
    const char
        *env; /* environment variable that overrides, besides the option's own name; or NULL */
    const char
        *successor;   /* retired key: "section.key" that replaces it (its value is still taken) */
    const char *help; /* one line, mandatory */
    const char *doc;  /* a paragraph for the reference, or NULL */
    int64_t bare_unit_ms; /* CFG_DURATION */
    /* Where the value is asked for when nothing gives it: a path ("flags/x/value"), or the
     * "section.key" of an early key that holds one; or NULL. */
    const char *path;
    /* Extra check of the parsed value; NULL = none. `value` points at the field. Returns negative
     * and writes what would be right: the message is "<value> is not accepted: <why>". */
    int (*validate)(const void *value, char *why, size_t why_size);
};

struct cfg;
struct cfg_faults;

struct cfg_section {
    const char *name; /* "detection"; or "camera" with `named`: [camera:NAME], any number */
    bool named;
    size_t struct_size;
    const struct cfg_key *keys;
    size_t key_count;
    const char *help; /* one line about the section */
    /* Cross-key check of one instance; appends faults via cfg_fault(). NULL = none. It runs in any
     * case, so that all faults of a file are named at once: a key with a fault has its default
     * then, and further faults of that key are not reported. */
    void (*check)(const void *values, const char *instance, struct cfg_faults *faults);
};

/* A program's whole schema: NULL-terminated list of sections. */
struct cfg_schema {
    const struct cfg_section *const *sections;
    const char *env_prefix;          /* SNAPSHOTD_SECTION_KEY overrides any key; NULL = none */
    const char *const *env_reserved; /* names with that prefix that mean something else;
                                        NULL-terminated or NULL */
    /* What a section's own check cannot see. NULL = none; called like those of the sections. */
    void (*check)(const struct cfg *c, struct cfg_faults *faults);
    const char *preface; /* Markdown that the reference has before the sections; or NULL */
};

/* Collected faults, each "file:line: section.key: what, and what would be right"; `key` NULL speaks
 * of the section, `section` NULL of the whole. The place is that of the value's origin. A row's
 * `check` may call this, and what resolves a cfg further (see cfg_faults_new). */
void cfg_fault(struct cfg_faults *faults, const char *section, const char *instance,
               const char *key, const char *fmt, ...) PRINTF_LIKE(5, 6);

/* For checks beyond one section after a successful cfg_load(): collects faults about `c`.
 * cfg_faults_take() returns malloc()ed text, sorted by line, or NULL when there were none. */
struct cfg_faults *cfg_faults_new(const struct cfg *c);
char *cfg_faults_take(struct cfg_faults *faults);
void cfg_faults_free(struct cfg_faults *faults);
DEFINE_AUTO(cfg_faults, cfg_faults_free)

/* Any value of any key may be a reference to 1Password, op://vault/item/[section/]field: it is
 * resolved between the reading of values and their checking. Whatever a reference stands for is
 * never shown: documents have the reference itself, and fault texts have *** instead. */
#define CFG_REFERENCE "op://"

enum cfg_answer {
    CFG_ANSWER_NONE,    /* a fault, with `why` */
    CFG_ANSWER_VALUE,   /* `value`; with `why` a warning as well */
    CFG_ANSWER_DEFAULT, /* as if the key were not given; with `why` a warning */
};
struct cfg_reference {
    const struct cfg_section *section;
    const struct cfg_key *key;
    const char *text; /* the reference, or the path */
    /* Not given but looked up by the row's `path`; then `from` is the key that says so, or NULL. */
    bool implied;
    const struct cfg_key *from;
    bool from_given; /* that key is not at its default */
    /* To be filled in: */
    enum cfg_answer answer;
    char *value; /* malloc()ed, goes over; wiped after use */
    char why[500];
    void *slot; /* private */
    const char *name, *instance;
};

struct cfg_source {
    /* Answers all references of a configuration in one call, not made when there are none. Of `c`
     * only the values of early keys may be read. NULL: each reference is a fault. */
    void (*resolve)(void *arg, const struct cfg *c, struct cfg_reference *list, size_t count);
    void *resolve_arg;
    const char *path; /* file, or NULL for none (defaults and environment only) */
    const char *text; /* instead of a file (tests, fuzzing); with `path` as its shown name */
    const char *const *settings; /* "section.key=value" from --set, NULL-terminated, or NULL */
    char *const *environment;    /* NULL = environ */
};

/* Loads and validates. Always reports all faults at once: on -EINVAL `*ret_faults` (malloc()ed
 * text, a line per fault) says them; other negative codes when the file cannot be read or memory
 * is short (text likewise, without memory perhaps NULL). Warnings (CFG_LATER, retired keys,
 * environment variables with the prefix that match nothing) go to `*ret_warnings` the same way,
 * also on success; either is NULL when empty. Each pointer may be NULL when not wanted.
 *
 * In values of the file `%(NAME)s` stands for the environment variable NAME, whose text is taken
 * as it is; an unset one is a fault. The predecessor's file is interpolated twice, so this is done
 * here too: `%%` becomes `%` in each of two passes. A lone `%` stays.
 *
 * A secret is the text itself, env:NAME, file:PATH (relative to the configuration file; a trailing
 * line break is cut), credential:NAME (a file in $CREDENTIALS_DIRECTORY, see systemd.exec(5)), or
 * a reference, see above. */
int cfg_load(const struct cfg_schema *schema, const struct cfg_source *source, struct cfg **ret,
             char **ret_faults, char **ret_warnings);
/* `c` but for the value of one key of a plain section, which is as if its `path` had been answered
 * anew. 0; -EINVAL: it is no such value. Shares all else. */
int cfg_override(struct cfg *c, const struct cfg_section *section, const char *key,
                 const char *text, struct cfg **ret);
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
/* True when the key was given by file, environment or setting (not the default). A numbered key is
 * given when any number of it is. */
bool cfg_is_set(const struct cfg *c, const struct cfg_section *section, const char *instance,
                const char *key);
enum cfg_origin cfg_key_origin(const struct cfg *c, const struct cfg_section *section,
                               const char *instance, const char *key);
/* The value as text (secrets as ***), "" when empty; NULL when there is no such key. For
 * CFG_LATER rows the only access. */
const char *cfg_key_text(const struct cfg *c, const struct cfg_section *section,
                         const char *instance, const char *key);
/* Calls f for each value that must not be shown: secrets, whatever way they were given, keys that
 * are shown as ***, and what references had. Of header lines also what follows the name. For
 * whoever tells something to strangers and has to leave these out. */
void cfg_each_secret(const struct cfg *c, void (*f)(const char *value, void *arg), void *arg);
const char *cfg_path(const struct cfg *c); /* as given in the source; NULL = none */

/* Documents. All return 0 or -ENOSPC (dynbuf's maximum). */
int cfg_write_sample(const struct cfg_schema *schema, struct dynbuf *out);
int cfg_write_reference(const struct cfg_schema *schema, struct dynbuf *out); /* Markdown */
/* The same for a manual page of section 5: roff with man(7), from .TH to its end. */
int cfg_write_manual(const struct cfg_schema *schema, const char *title, const char *version,
                     struct dynbuf *out);
int cfg_write_effective(const struct cfg *c,
                        struct dynbuf *out); /* secrets as ***, source of each value as a comment */
/* Keys of the predecessor that were not given are left out. Effective text can be loaded again, but
 * for secrets that were given literally: their mask *** is refused as a value. Secrets given by
 * reference (env:NAME ...) are shown as that. */
/* The same value by value, for programs: the lines of lists are separated by line breaks. `source`
 * is
 * "" for a default. Pointers are borrowed for the call. 0 or -ENOMEM. */
struct cfg_shown {
    const struct cfg_section *section;
    const char *instance; /* "" of a plain section */
    const struct cfg_key *key;
    const char *name; /* the key's, with its number */
    const char *value, *source;
    enum cfg_origin origin;
};
int cfg_each_shown(const struct cfg *c, void (*f)(const struct cfg_shown *shown, void *arg),
                   void *arg);
/* Names of keys that differ, one "section.key" a line, those that need a restart marked "
 * (restart)". */
int cfg_write_difference(const struct cfg *before, const struct cfg *after, struct dynbuf *out);
