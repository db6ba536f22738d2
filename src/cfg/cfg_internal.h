#pragma once
/* What the parts of the configuration engine share; not for other folders. */

#include <stdatomic.h>

#include "cfg/cfg.h"

enum {
    CFG_INSTANCES_MAX = 1000, /* cameras of one household, generously */
    CFG_NUMBER_MAX = 9999,    /* I1 .. I9999 */
    CFG_NUMBERED_MAX = 4000,  /* values of numbered keys in one section */
    CFG_ITEMS_MAX = 1000,     /* of one list */
    CFG_VALUE_MAX = 64 << 10, /* bytes of one value: secrets from files, long lists */
    CFG_FAULTS_MAX = 200,     /* nobody reads more at once; the rest is counted */
    CFG_FAULT_TEXT_MAX = 600,
    CFG_INSTANCE_NAME_MAX = 40,
    CFG_PLACE_MAX = 300,      /* of "path:line: " in a fault */
    CFG_REFERENCES_MAX = 256, /* each may cost a request; a household has some dozen secrets */
};

/* One value as text and where it came from. */
struct cfg_slot {
    const char *text;   /* trimmed and interpolated; "" when empty; never NULL after loading */
    const char *source; /* environment: the variable's name; retired: the key's name */
    enum cfg_origin origin;
    int line;    /* 1-based; 0: not from the file. An environment's value with a line is one that
                    the file takes in itself */
    bool faulty; /* given in a way that was reported already */
    const char *value; /* what a reference stands for; NULL: `text` is the value itself */
};

struct cfg_numbered_slot {
    const struct cfg_key *key;
    unsigned number;
    struct cfg_slot slot;
};

struct cfg_instance {
    const char *name;       /* "" of a plain section */
    int line;               /* of its header, 0 when not in the file */
    void *values;           /* struct_size bytes */
    struct cfg_slot *slots; /* one per key */
    struct cfg_numbered_slot *numbered;
    size_t numbered_count, numbered_capacity;
};

struct cfg_part {
    const struct cfg_section *section;
    struct cfg_instance *instances;
    size_t count, capacity;
};

struct cfg_memory;

/* A value that came from a reference, kept out of fault texts. */
struct cfg_hidden {
    struct cfg_hidden *next;
    const char *value;
};

struct cfg {
    atomic_uint references;
    struct cfg *parent; /* owns what this one shares; NULL = none */
    struct cfg_hidden *hidden;
    const struct cfg_schema *schema;
    const char *path;
    struct cfg_part *parts; /* in the schema's order */
    size_t part_count;
    struct cfg_memory *memory; /* everything above lives here */
    bool no_memory;            /* an allocation failed: the load ends with -ENOMEM */
};

struct cfg_faults {
    const struct cfg *c;
    struct cfg_fault_line *lines;
    size_t count, dropped;
    bool no_memory;
};

/* Zeroed memory that lives as long as the cfg; NULL (and no_memory) when there is none. */
void *cfg_keep(struct cfg *c, size_t count, size_t size);
char *cfg_keep_text(struct cfg *c, const char *text, size_t len);

struct cfg_part *cfg_part_of(const struct cfg *c, const struct cfg_section *section);
struct cfg_instance *cfg_instance_of(const struct cfg_part *part, const char *name);
size_t cfg_key_index(const struct cfg_section *section, const char *name); /* SIZE_MAX = none */
/* "O12" in the row "O#"? */
bool cfg_number_matches(const char *pattern, const char *name, unsigned *ret);
const char *cfg_full_name(const struct cfg_section *section, const char *instance, const char *key,
                          char *buf, size_t size); /* "camera:porch.url" */

/* cfg_fault.c */
void cfg_faults_init(struct cfg_faults *f, const struct cfg *c);
void cfg_faults_done(struct cfg_faults *f);
/* A fault at a place of the file (line 0: about the file), or elsewhere ("--set"; path NULL). */
void cfg_fault_at(struct cfg_faults *f, const char *path, int line, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* Sorted text, malloc()ed; NULL when empty or without memory. */
char *cfg_faults_text(struct cfg_faults *f);
/* Nearest of the candidates to `name`, or NULL when none is near. Feed one at a time. */
struct cfg_nearest {
    const char *name;
    const char *best;
    unsigned distance;
};
void cfg_nearest_try(struct cfg_nearest *n, const char *candidate);
bool cfg_nearest_found(const struct cfg_nearest *n);

/* cfg_reference.c */
#define CFG_MASK "***"
/* What would be right, without what is wrong. */
void cfg_reference_describe(const struct cfg_key *key, char *why, size_t why_size);
/* Asks for all references and puts the answers into their slots. Early keys have their values. */
void cfg_references_resolve(struct cfg *c, const struct cfg_source *source,
                            struct cfg_faults *faults, struct cfg_faults *warnings);
static inline const char *cfg_slot_value(const struct cfg_slot *s)
{
    return s->value ? s->value : s->text;
}
/* May the value of this slot be shown? */
static inline bool cfg_slot_is_reference(const struct cfg_slot *s)
{
    return s->value != NULL;
}

/* cfg_value.c */
/* Checks the text and, with `field`, stores the value. On -EINVAL `why` says what is wrong and what
 * would be right; -ENOMEM. Secrets are taken as they are. */
int cfg_value_parse(struct cfg *c, const struct cfg_key *key, const char *text, void *field,
                    char *why, size_t why_size);
bool cfg_value_equal(const struct cfg_key *key, const void *a, const void *b);
/* The way to give a secret, when the text is one: "env:", "file:" ...; NULL for the text itself. */
const char *cfg_secret_scheme(const char *text);
const char *cfg_duration_text(int64_t ms, char *buf, size_t size);
const char *cfg_size_text(int64_t bytes, char *buf, size_t size);
/* "0..1", "1s..10m", "" without bounds. */
const char *cfg_bounds_text(const struct cfg_key *key, char *buf, size_t size);
extern const char *const cfg_type_names[CFG_TYPE_COUNT];
