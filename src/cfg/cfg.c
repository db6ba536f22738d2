/* Loading goes in steps, each of which collects faults and goes on, so that one run names all:
 *
 *   collect   every assignment of the file, then of the environment, then of --set goes into the
 *             slot of its key, in the order of precedence, the later over the earlier;
 *   convert   each slot's text, or the row's default, becomes the typed value in the section's
 *             block; retired keys hand their text to their successors before;
 *   resolve   in between, when the early keys have their values, references are asked for;
 *   check     the sections' own cross-key checks run, then the schema's. A key with a fault has
 *             its default by then, and what else they say of it is not reported.
 *
 * All memory of a cfg hangs on one list and dies with it; every allocation whose size or number
 * follows the input may fail and ends the load with -ENOMEM. */

#include "cfg/cfg.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/blob.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "cfg/cfg_internal.h"
#include "sys/ini.h"

extern char **environ;

struct cfg_memory {
    struct cfg_memory *next;
    max_align_t content[];
};

struct loader {
    struct cfg *c;
    struct cfg_faults faults, warnings;
    const struct cfg_source *source;
    char *const *environment;
    bool any_prefixed;      /* some variable begins with the schema's prefix */
    const char *shown_path; /* for places in the file */
    /* Where the file's reader stands. */
    struct cfg_part *part; /* NULL: before the first section, or in an unknown one */
    size_t instance;
    bool section_unknown;
    const struct cfg_key *last_key; /* that a continuation line would continue; NULL = none */
    struct cfg_slot *last_slot;
};

static int new_cfg(const struct cfg_schema *schema, const char *path, struct cfg **ret);
static int read_file(struct loader *l, const char *path, struct blob **ret);
static int collect_file(struct loader *l, const char *text, size_t size);
static void collect_environment(struct loader *l);
static void collect_settings(struct loader *l);
static void convert_all(struct loader *l);
static void check_all(struct loader *l);

int cfg_load(const struct cfg_schema *schema, const struct cfg_source *source, struct cfg **ret,
             char **ret_faults, char **ret_warnings)
{
    AUTO(cfg) c = NULL;
    AUTO(blob) file = NULL;
    struct loader l = {.source = source,
                       .environment = source->environment ? source->environment : environ,
                       .shown_path = source->path ? source->path : "configuration"};
    int r;

    if (ret_faults)
        *ret_faults = NULL;
    if (ret_warnings)
        *ret_warnings = NULL;
    r = new_cfg(schema, source->path || !source->text ? source->path : l.shown_path, &c);
    if (r < 0)
        return r;
    l.c = c;
    cfg_faults_init(&l.faults, c);
    cfg_faults_init(&l.warnings, c);
    if (source->text)
        r = collect_file(&l, source->text, strlen(source->text));
    else if (source->path)
        r = read_file(&l, source->path, &file);
    if (file)
        r = collect_file(&l, (const char *)file->data, file->size);
    if (r == 0) {
        collect_environment(&l);
        collect_settings(&l);
        convert_all(&l);
        if (!c->no_memory)
            check_all(&l);
        if (l.faults.count > 0)
            r = -EINVAL;
    }
    if (c->no_memory || l.faults.no_memory || l.warnings.no_memory)
        r = -ENOMEM;
    if (ret_faults && r < 0)
        *ret_faults = r == -ENOMEM ? strdup("out of memory\n") : cfg_faults_text(&l.faults);
    if (ret_warnings && r != -ENOMEM)
        *ret_warnings = cfg_faults_text(&l.warnings);
    cfg_faults_done(&l.faults);
    cfg_faults_done(&l.warnings);
    if (r == 0)
        *ret = STEAL(c);
    return r;
}

/* --- memory and structure --------------------------------------------------------------------- */

void *cfg_keep(struct cfg *c, size_t count, size_t size)
{
    enum { LARGEST = 64 << 20 }; /* far above what INI_SIZE_MAX of text can ask for */
    struct cfg_memory *m;

    if (count > 0 && size > (LARGEST - sizeof *m) / count)
        m = NULL;
    else
        m = mem_try_alloc(1, sizeof *m + count * size, LARGEST);
    if (!m) {
        c->no_memory = true;
        return NULL;
    }
    memset(m, 0, sizeof *m + count * size);
    m->next = c->memory;
    c->memory = m;
    return m->content;
}

char *cfg_keep_text(struct cfg *c, const char *text, size_t len)
{
    char *copy = cfg_keep(c, 1, len + 1);

    if (copy)
        memcpy(copy, text, len);
    return copy;
}

static int add_instance(struct cfg *c, struct cfg_part *part, const char *name, int line)
{
    if (part->count == part->capacity) {
        size_t capacity = part->capacity ? 2 * part->capacity : part->section->named ? 8 : 1;
        struct cfg_instance *grown = cfg_keep(c, capacity, sizeof *grown);
        if (!grown)
            return -ENOMEM;
        if (part->count > 0)
            memcpy(grown, part->instances, part->count * sizeof *grown);
        part->instances = grown;
        part->capacity = capacity;
    }
    struct cfg_instance *inst = &part->instances[part->count];
    *inst = (struct cfg_instance){
        .name = cfg_keep_text(c, name, strlen(name)),
        .line = line,
        .values = cfg_keep(c, 1, part->section->struct_size),
        .slots = cfg_keep(c, part->section->key_count, sizeof *inst->slots),
    };
    if (c->no_memory)
        return -ENOMEM;
    for (size_t k = 0; k < part->section->key_count; k++)
        inst->slots[k].text = "";
    part->count++;
    return 0;
}

static int new_cfg(const struct cfg_schema *schema, const char *path, struct cfg **ret)
{
    struct cfg *c = xcalloc(1, sizeof *c);
    size_t count = 0;

    atomic_init(&c->references, 1);
    c->schema = schema;
    while (schema->sections[count])
        count++;
    if (path)
        c->path = cfg_keep_text(c, path, strlen(path));
    c->parts = cfg_keep(c, count, sizeof *c->parts);
    for (size_t i = 0; i < count && !c->no_memory; i++) {
        c->parts[i].section = schema->sections[i];
        c->part_count = i + 1;
        if (!schema->sections[i]->named)
            (void)add_instance(c, &c->parts[i], "", 0); /* failure is in no_memory */
    }
    if (c->no_memory) {
        cfg_unref(c);
        return -ENOMEM;
    }
    *ret = c;
    return 0;
}

struct cfg *cfg_ref(struct cfg *c)
{
    if (c)
        atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
    return c;
}

void cfg_unref(struct cfg *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) != 1)
        return;
    while (c->memory) {
        struct cfg_memory *next = c->memory->next;
        free(c->memory);
        c->memory = next;
    }
    cfg_unref(c->parent);
    free(c);
}

struct cfg_part *cfg_part_of(const struct cfg *c, const struct cfg_section *section)
{
    for (size_t i = 0; i < c->part_count; i++)
        if (c->parts[i].section == section)
            return &c->parts[i];
    return NULL;
}

struct cfg_instance *cfg_instance_of(const struct cfg_part *part, const char *name)
{
    for (size_t i = 0; i < part->count; i++)
        if (!part->section->named || strcmp(part->instances[i].name, name) == 0)
            return &part->instances[i];
    return NULL;
}

size_t cfg_key_index(const struct cfg_section *section, const char *name)
{
    for (size_t k = 0; k < section->key_count; k++)
        if (strcmp(section->keys[k].name, name) == 0)
            return k;
    return SIZE_MAX;
}

bool cfg_number_matches(const char *pattern, const char *name, unsigned *ret)
{
    const char *hash = strchr(pattern, '#');
    int64_t number;

    if (!hash || strncmp(pattern, name, (size_t)(hash - pattern)) != 0)
        return false;
    const char *digits = name + (hash - pattern);
    size_t len = strspn(digits, "0123456789");
    if (strcmp(digits + len, hash + 1) != 0 || len == 0 || digits[0] == '0' ||
        parse_int64(digits, len, 1, CFG_NUMBER_MAX, &number) < 0)
        return false;
    *ret = (unsigned)number;
    return true;
}

const char *cfg_full_name(const struct cfg_section *section, const char *instance, const char *key,
                          char *buf, size_t size)
{
    (void)text_format(buf, size, "%s%s%s%s%s", section->name, section->named ? ":" : "",
                      section->named && instance ? instance : "", key ? "." : "", key ? key : "");
    return buf;
}

/* --- collecting ------------------------------------------------------------------------------- */

/* The slot of a key by name, made for a numbered one. NULL when unknown or without memory. */
static struct cfg_slot *slot_of(struct cfg *c, const struct cfg_section *section,
                                struct cfg_instance *inst, const char *name,
                                const struct cfg_key **ret_key)
{
    for (size_t k = 0; k < section->key_count; k++) {
        const struct cfg_key *key = &section->keys[k];
        unsigned number;

        if (!(key->flags & CFG_NUMBERED)) {
            if (strcmp(key->name, name) != 0)
                continue;
            *ret_key = key;
            return &inst->slots[k];
        }
        if (!cfg_number_matches(key->name, name, &number))
            continue;
        *ret_key = key;
        for (size_t i = 0; i < inst->numbered_count; i++)
            if (inst->numbered[i].key == key && inst->numbered[i].number == number)
                return &inst->numbered[i].slot;
        if (inst->numbered_count == inst->numbered_capacity) {
            size_t capacity = inst->numbered_capacity ? 2 * inst->numbered_capacity : 16;
            struct cfg_numbered_slot *grown = cfg_keep(c, capacity, sizeof *grown);
            if (!grown)
                return NULL;
            if (inst->numbered_count > 0)
                memcpy(grown, inst->numbered, inst->numbered_count * sizeof *grown);
            inst->numbered = grown;
            inst->numbered_capacity = capacity;
        }
        struct cfg_numbered_slot *n = &inst->numbered[inst->numbered_count++];
        *n = (struct cfg_numbered_slot){.key = key, .number = number, .slot.text = ""};
        return &n->slot;
    }
    return NULL;
}

/* Blanks around a value carry no meaning from any source, as in the file. */
static char *keep_trimmed(struct cfg *c, const char *text)
{
    size_t len;

    text += strspn(text, " \t\r\n");
    len = strlen(text);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]))
        len--;
    return cfg_keep_text(c, text, len);
}

static bool fill(struct loader *l, struct cfg_slot *slot, const char *text, enum cfg_origin origin,
                 const char *source, int line)
{
    char *kept = keep_trimmed(l->c, text);
    char *kept_source = source ? cfg_keep_text(l->c, source, strlen(source)) : NULL;

    if (!kept || (source && !kept_source))
        return false;
    *slot = (struct cfg_slot){.text = kept, .source = kept_source, .origin = origin, .line = line};
    return true;
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t' && *text != '\n') || *text == 0x7f)
            return true;
    return false;
}

static const char *find_environment(const struct loader *l, const char *name)
{
    size_t len = strlen(name);

    for (char *const *e = l->environment; *e; e++)
        if (strncmp(*e, name, len) == 0 && (*e)[len] == '=')
            return *e + len + 1;
    return NULL;
}

/* The file. -- */

/* Not by fs_read_blob(): that refuses links and "..", which are the user's own business here. */
static int read_file(struct loader *l, const char *path, struct blob **ret)
{
    struct err e = {0};
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int r;

    if (fd < 0) {
        r = -errno;
        (void)err_errno(&e, r, "cannot open it");
        cfg_fault_at(&l->faults, path, 0, "%s", e.text);
        return r;
    }
    size_t used = 0;
    uint8_t *data = mem_try_alloc(1, INI_SIZE_MAX + 1, INI_SIZE_MAX + 1);
    if (!data)
        return -ENOMEM;
    for (;;) {
        ssize_t n = read(fd, data + used, INI_SIZE_MAX + 1 - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            r = -errno;
            (void)err_errno(&e, r, "cannot read it");
            cfg_fault_at(&l->faults, path, 0, "%s", e.text);
            free(data);
            return r;
        }
        used += (size_t)n;
        if (n == 0 || used > INI_SIZE_MAX)
            break;
    }
    *ret = blob_new_take(data, used);
    return *ret ? 0 : -ENOMEM;
}

static void take_section(void *arg, int line, const char *name);
static void take_pair(void *arg, int line, const char *key, const char *value, bool continued,
                      bool in_section);
static void take_fault(void *arg, int line, const char *text);

static int collect_file(struct loader *l, const char *text, size_t size)
{
    static const struct ini_sink sink = {
        .section = take_section, .pair = take_pair, .fault = take_fault};
    int r = ini_read(text, size, &sink, l);

    if (r == -EFBIG)
        cfg_fault_at(&l->faults, l->shown_path, 0, "the file is larger than %d KB",
                     INI_SIZE_MAX >> 10);
    else if (r == -EILSEQ)
        cfg_fault_at(&l->faults, l->shown_path, 0,
                     "the file is not plain text; save it as UTF-8 (without NUL bytes)");
    return r < 0 ? -EINVAL : 0;
}

/* Finds "detect" or "camera:porch" in the schema. With a colon only named sections are meant. */
static struct cfg_part *find_part(struct loader *l, const char *name, const char **ret_instance)
{
    const char *colon = strchr(name, ':');
    size_t len = colon ? (size_t)(colon - name) : strlen(name);

    for (size_t i = 0; i < l->c->part_count; i++) {
        const struct cfg_section *s = l->c->parts[i].section;
        if (s->named == (colon != NULL) && strlen(s->name) == len &&
            strncmp(s->name, name, len) == 0) {
            *ret_instance = colon ? colon + 1 : "";
            return &l->c->parts[i];
        }
    }
    return NULL;
}

static void say_unknown_section(struct loader *l, const char *path, int line, const char *name)
{
    struct cfg_nearest near = {0};
    const char *colon = strchr(name, ':');
    char base[64], shown[128];

    (void)text_copy(base, sizeof base, name);
    if (colon && (size_t)(colon - name) < sizeof base)
        base[colon - name] = '\0';
    near.name = base;
    bool named_exists = false, plain_exists = false;
    for (size_t i = 0; i < l->c->part_count; i++) {
        const struct cfg_section *s = l->c->parts[i].section;
        named_exists = named_exists || (s->named && strcmp(s->name, base) == 0);
        plain_exists = plain_exists || (!s->named && strcmp(s->name, base) == 0);
        if (s->named == (colon != NULL) || !colon)
            cfg_nearest_try(&near, s->name);
    }
    (void)text_escape(name, strlen(name), shown, sizeof shown);
    if (named_exists && !colon)
        cfg_fault_at(&l->faults, path, line, "[%s]: the section needs a name; write [%s:NAME]",
                     shown, base);
    else if (plain_exists && colon)
        cfg_fault_at(&l->faults, path, line, "[%s]: the section has no name of its own; write [%s]",
                     shown, base);
    else if (cfg_nearest_found(&near))
        cfg_fault_at(&l->faults, path, line, "[%s]: unknown section; did you mean [%s%s]?", shown,
                     near.best, colon ? colon : "");
    else
        cfg_fault_at(&l->faults, path, line,
                     "[%s]: unknown section; `snapshotd config --reference` lists all", shown);
}

static bool instance_name_is_good(const char *name)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";

    return *name && strspn(name, good) == strlen(name) && strlen(name) <= CFG_INSTANCE_NAME_MAX &&
           name[0] != '.' && name[0] != '-';
}

/* Finds or makes [camera:NAME]; false after a fault. */
static bool find_instance(struct loader *l, struct cfg_part *part, const char *name,
                          const char *path, int line, size_t *ret)
{
    if (!part->section->named) {
        *ret = 0;
        if (part->instances[0].line == 0)
            part->instances[0].line = line;
        return true;
    }
    for (size_t i = 0; i < part->count; i++) {
        if (strcmp(part->instances[i].name, name) == 0) {
            *ret = i;
            return true;
        }
        if (text_equal_nocase(part->instances[i].name, name)) {
            cfg_fault_at(&l->faults, path, line,
                         "[%s:%s]: differs from [%s:%s] by letter case only; choose another name",
                         part->section->name, name, part->section->name, part->instances[i].name);
            return false;
        }
    }
    if (!instance_name_is_good(name)) {
        char shown[128];
        cfg_fault_at(&l->faults, path, line,
                     "[%s:%s]: the name after the colon must be 1 to %d letters, digits, '_', '-' "
                     "or '.', and begin with a letter, digit or '_'",
                     part->section->name, text_escape(name, strlen(name), shown, sizeof shown),
                     CFG_INSTANCE_NAME_MAX);
        return false;
    }
    if (part->count == CFG_INSTANCES_MAX) {
        cfg_fault_at(&l->faults, path, line, "[%s:%s]: more than %d sections of this kind",
                     part->section->name, name, CFG_INSTANCES_MAX);
        return false;
    }
    if (add_instance(l->c, part, name, line) < 0)
        return false;
    *ret = part->count - 1;
    return true;
}

static void take_section(void *arg, int line, const char *name)
{
    struct loader *l = arg;
    const char *instance = "";
    struct cfg_part *part = find_part(l, name, &instance);

    l->last_slot = NULL;
    l->last_key = NULL;
    l->part = NULL;
    l->section_unknown = true;
    if (!part) {
        say_unknown_section(l, l->shown_path, line, name);
        return;
    }
    const struct cfg_instance *before = cfg_instance_of(part, instance);
    if (before && before->line > 0)
        cfg_fault_at(&l->faults, l->shown_path, line,
                     "[%s]: the section is here twice; its first place is line %d", name,
                     before->line);
    if (!find_instance(l, part, instance, l->shown_path, line, &l->instance))
        return;
    l->part = part;
    l->section_unknown = false;
}

static void say_unknown_key(struct loader *l, const struct cfg_section *section,
                            struct cfg_instance *inst, const char *name, const char *path, int line)
{
    struct cfg_nearest near = {.name = name};
    char full[200], shown[128];

    (void)text_escape(name, strlen(name), shown, sizeof shown);
    (void)cfg_full_name(section, inst->name, shown, full, sizeof full);
    for (size_t k = 0; k < section->key_count; k++)
        cfg_nearest_try(&near, section->keys[k].name);
    /* The key that was meant is not missing as well. */
    size_t meant = cfg_nearest_found(&near) ? cfg_key_index(section, near.best) : SIZE_MAX;
    if (meant != SIZE_MAX && inst->slots[meant].origin == CFG_FROM_DEFAULT)
        inst->slots[meant].faulty = true;
    if (near.best && near.distance == 0) {
        cfg_fault_at(&l->faults, path, line,
                     "%s: unknown key; did you mean \"%s\"? Names are case-sensitive", full,
                     near.best);
        return;
    }
    for (size_t i = 0; i < l->c->part_count; i++) {
        const struct cfg_section *s = l->c->parts[i].section;
        if (cfg_key_index(s, name) == SIZE_MAX)
            continue;
        cfg_fault_at(&l->faults, path, line, "%s: unknown key here; it belongs in [%s%s]", full,
                     s->name, s->named ? ":NAME" : "");
        return;
    }
    if (cfg_nearest_found(&near))
        cfg_fault_at(&l->faults, path, line, "%s: unknown key; did you mean \"%s\"?", full,
                     near.best);
    else
        cfg_fault_at(&l->faults, path, line,
                     "%s: unknown key; `snapshotd config --reference` lists all of [%s%s]", full,
                     section->name, section->named ? ":NAME" : "");
}

static char *interpolate(struct loader *l, int line, const char *name, const char *text);

static void take_pair(void *arg, int line, const char *name, const char *value, bool continued,
                      bool in_section)
{
    struct loader *l = arg;
    const struct cfg_key *key = NULL;
    char full[200];

    if (!in_section) {
        if (!continued)
            cfg_fault_at(&l->faults, l->shown_path, line,
                         "%s: the key stands before any section; put [section] above it", name);
        return;
    }
    if (l->section_unknown)
        return; /* one fault for the section is enough */
    const struct cfg_section *section = l->part->section;
    struct cfg_instance *inst = &l->part->instances[l->instance];
    (void)cfg_full_name(section, inst->name, name, full, sizeof full);
    if (has_control(value)) {
        cfg_fault_at(&l->faults, l->shown_path, line, "%s: the value holds a control character",
                     full);
        return;
    }
    if (continued) {
        if (!l->last_slot)
            return; /* of a line that was refused */
        if (l->last_key->type != CFG_LIST && l->last_key->type != CFG_LINES) {
            cfg_fault_at(&l->faults, l->shown_path, line,
                         "%s: the indented line continues the value above, which has only one "
                         "line; remove the blanks at its beginning, or the line",
                         full);
            return;
        }
        char *more = interpolate(l, line, full, value);
        if (!more) {
            l->last_slot->faulty = true;
            return;
        }
        size_t len = strlen(l->last_slot->text) + 1 + strlen(more);
        char *joined = len <= CFG_VALUE_MAX ? cfg_keep(l->c, 1, len + 1) : NULL;
        if (len > CFG_VALUE_MAX)
            cfg_fault_at(&l->faults, l->shown_path, line, "%s: the value is longer than %d KB",
                         full, CFG_VALUE_MAX >> 10);
        if (!joined)
            return;
        (void)text_format(joined, len + 1, "%s\n%s", l->last_slot->text, more);
        l->last_slot->text = joined;
        return;
    }
    l->last_slot = NULL;
    struct cfg_slot *slot = slot_of(l->c, section, inst, name, &key);
    if (!slot) {
        if (!l->c->no_memory)
            say_unknown_key(l, section, inst, name, l->shown_path, line);
        return;
    }
    if (inst->numbered_count > CFG_NUMBERED_MAX) {
        cfg_fault_at(&l->faults, l->shown_path, line, "%s: more than %d numbered keys", full,
                     CFG_NUMBERED_MAX);
        return;
    }
    if (slot->line > 0) {
        cfg_fault_at(&l->faults, l->shown_path, line, "%s: given twice; its first place is line %d",
                     full, slot->line);
        return;
    }
    char *text = interpolate(l, line, full, value);
    if (!text) {
        /* It was given, so a required key is not missing as well, nor a second one the first. */
        slot->line = line;
        slot->origin = CFG_FROM_FILE;
        slot->faulty = true;
        return;
    }
    if (!fill(l, slot, text, CFG_FROM_FILE, NULL, line))
        return;
    l->last_slot = slot;
    l->last_key = key;
}

static void take_fault(void *arg, int line, const char *text)
{
    struct loader *l = arg;

    l->last_slot = NULL;
    cfg_fault_at(&l->faults, l->shown_path, line, "%s", text);
}

/* One pass of interpolation. `fixed` has a byte per byte of `text`: 1 marks what came out of the
 * environment and is not looked at again. */
static int interpolate_once(struct loader *l, int line, const char *name, const struct dynbuf *text,
                            const struct dynbuf *fixed, struct dynbuf *out,
                            struct dynbuf *out_fixed)
{
    const char *s = dynbuf_str(text), *f = dynbuf_str(fixed);

    for (size_t i = 0; i < text->len;) {
        if (s[i] != '%' || f[i] == 1 || (s[i + 1] != '%' && s[i + 1] != '(')) {
            (void)dynbuf_append(out, s + i, 1);
            (void)dynbuf_append(out_fixed, f + i, 1);
            i++;
            continue;
        }
        if (s[i + 1] == '%') {
            (void)dynbuf_append(out, "%", 1);
            (void)dynbuf_append(out_fixed, "\2", 1);
            i += 2;
            continue;
        }
        const char *close = strchr(s + i, ')');
        char variable[128], shown[160];
        size_t len = close ? (size_t)(close - (s + i + 2)) : 0;
        if (!close || close[1] != 's' || len == 0 || len >= sizeof variable) {
            cfg_fault_at(
                &l->faults, l->shown_path, line,
                "%s: %%( begins a variable but no )s ends it; write %%(NAME)s, or %%%%%%%%( "
                "for the two characters themselves",
                name);
            return -EINVAL;
        }
        memcpy(variable, s + i + 2, len);
        variable[len] = '\0';
        const char *value = find_environment(l, variable);
        if (!value) {
            cfg_fault_at(&l->faults, l->shown_path, line,
                         "%s: the environment variable %s is not set; set it, or write the value "
                         "itself",
                         name, text_escape(variable, len, shown, sizeof shown));
            return -EINVAL;
        }
        if (has_control(value)) {
            cfg_fault_at(&l->faults, l->shown_path, line,
                         "%s: the environment variable %s holds a control character", name,
                         text_escape(variable, len, shown, sizeof shown));
            return -EINVAL;
        }
        if (out->len + strlen(value) + text->len > CFG_VALUE_MAX) {
            cfg_fault_at(&l->faults, l->shown_path, line, "%s: the value is longer than %d KB",
                         name, CFG_VALUE_MAX >> 10);
            return -EINVAL;
        }
        (void)dynbuf_puts(out, value);
        for (size_t n = strlen(value); n > 0; n--)
            (void)dynbuf_append(out_fixed, "\1", 1);
        i = (size_t)(close - s) + 2;
    }
    return 0;
}

/* Kept text, or NULL after a fault or without memory. */
static char *interpolate(struct loader *l, int line, const char *name, const char *text)
{
    AUTO_DONE(dynbuf) a, a_fixed, b, b_fixed;
    int r = 0;

    dynbuf_init(&a, CFG_VALUE_MAX);
    dynbuf_init(&a_fixed, CFG_VALUE_MAX);
    dynbuf_init(&b, CFG_VALUE_MAX);
    dynbuf_init(&b_fixed, CFG_VALUE_MAX);
    if (!strchr(text, '%'))
        return cfg_keep_text(l->c, text, strlen(text));
    (void)dynbuf_puts(&a, text);
    for (size_t i = 0; i < a.len; i++)
        (void)dynbuf_append(&a_fixed, "\2", 1);
    for (int pass = 0; pass < 2 && r == 0; pass++) {
        dynbuf_reset(&b);
        dynbuf_reset(&b_fixed);
        r = a_fixed.len == a.len ? interpolate_once(l, line, name, &a, &a_fixed, &b, &b_fixed) : 0;
        struct dynbuf swap = a;
        a = b;
        b = swap;
        swap = a_fixed;
        a_fixed = b_fixed;
        b_fixed = swap;
        if (a.failed || a_fixed.failed || b.failed || b_fixed.failed) {
            l->c->no_memory = true;
            r = -ENOMEM;
        }
    }
    return r == 0 ? cfg_keep_text(l->c, dynbuf_str(&a), a.len) : NULL;
}

/* The environment. -- */

/* "SNAPSHOTD_CAMERA_PORCH_URL": upper case, what is no letter or digit becomes '_'. */
static void environment_name(const struct cfg_schema *schema, const struct cfg_section *section,
                             const char *instance, const char *key, char *buf, size_t size)
{
    (void)text_format(buf, size, "%s_%s%s%s_%s", schema->env_prefix, section->name,
                      section->named ? "_" : "", section->named ? instance : "", key);
    for (char *p = buf; *p; p++)
        *p = isalnum((unsigned char)*p) ? (char)toupper((unsigned char)*p) : *p == '#' ? '#' : '_';
}

static void take_variable(struct loader *l, struct cfg_slot *slot, const char *name,
                          const char *value, enum cfg_origin origin)
{
    if (has_control(value))
        cfg_fault_at(&l->faults, NULL, 0,
                     "environment variable %s: the value holds a control character", name);
    else if (strlen(value) > CFG_VALUE_MAX)
        cfg_fault_at(&l->faults, NULL, 0, "environment variable %s: the value is longer than %d KB",
                     name, CFG_VALUE_MAX >> 10);
    else
        (void)fill(l, slot, value, origin, name, 0); /* failure is in no_memory */
}

/* A numbered row: every variable of the environment whose name fits the pattern. */
static void take_numbered(struct loader *l, const struct cfg_section *section,
                          struct cfg_instance *inst, const struct cfg_key *row, const char *pattern,
                          enum cfg_origin origin, bool empty_counts)
{
    for (char *const *e = l->environment; *e; e++) {
        const char *equals = strchr(*e, '=');
        char name[128], key_name[128];
        const struct cfg_key *key;
        unsigned number;

        if (!equals || (size_t)(equals - *e) >= sizeof name || (!empty_counts && !equals[1]))
            continue;
        memcpy(name, *e, (size_t)(equals - *e));
        name[equals - *e] = '\0';
        if (!cfg_number_matches(pattern, name, &number))
            continue;
        const char *hash = strchr(row->name, '#');
        (void)text_format(key_name, sizeof key_name, "%.*s%u%s", (int)(hash - row->name), row->name,
                          number, hash + 1);
        if (inst->numbered_count >= CFG_NUMBERED_MAX)
            return;
        struct cfg_slot *slot = slot_of(l->c, section, inst, key_name, &key);
        if (slot)
            take_variable(l, slot, name, equals + 1, origin);
    }
}

static void take_row_environment(struct loader *l, const struct cfg_section *section,
                                 struct cfg_instance *inst, size_t k)
{
    const struct cfg_key *key = &section->keys[k];
    char name[200];
    const char *value;

    /* Container set-ups list all their variables, those without a value too: there empty means not
     * given. What is addressed to this very key may empty it. */
    if (key->flags & CFG_NUMBERED) {
        if (key->env)
            take_numbered(l, section, inst, key, key->env, CFG_FROM_ENVIRONMENT, false);
        if (l->any_prefixed) {
            environment_name(l->c->schema, section, inst->name, key->name, name, sizeof name);
            take_numbered(l, section, inst, key, name, CFG_FROM_PREFIXED, true);
        }
        return;
    }
    value = key->env ? find_environment(l, key->env) : NULL;
    /* The predecessor's file takes this very variable in; then the file stays the place to name. */
    int line = value && strcmp(value, inst->slots[k].text) == 0 ? inst->slots[k].line : 0;
    if (value && *value) {
        take_variable(l, &inst->slots[k], key->env, value, CFG_FROM_ENVIRONMENT);
        inst->slots[k].line = line;
    }
    value = (key->flags & CFG_ENV_NAME) && !section->named ? find_environment(l, key->name) : NULL;
    if (value)
        take_variable(l, &inst->slots[k], key->name, value, CFG_FROM_ENVIRONMENT);
    if (!l->any_prefixed)
        return;
    environment_name(l->c->schema, section, inst->name, key->name, name, sizeof name);
    value = find_environment(l, name);
    if (value)
        take_variable(l, &inst->slots[k], name, value, CFG_FROM_PREFIXED);
}

/* Variables with our prefix that no key took: most likely misspelt. Only a warning, because others
 * make such names too (Kubernetes: SNAPSHOTD_SERVICE_HOST for a service of that name). */
static void warn_unused_variables(struct loader *l)
{
    const struct cfg_schema *schema = l->c->schema;
    size_t prefix = strlen(schema->env_prefix);

    for (char *const *e = l->environment; *e; e++) {
        const char *equals = strchr(*e, '=');
        char name[160];
        bool used = false;
        struct cfg_nearest near = {.name = name};
        char best[200] = "", candidate[200];

        if (!equals || strncmp(*e, schema->env_prefix, prefix) != 0 || (*e)[prefix] != '_' ||
            (size_t)(equals - *e) >= sizeof name)
            continue;
        memcpy(name, *e, (size_t)(equals - *e));
        name[equals - *e] = '\0';
        for (const char *const *r = schema->env_reserved; r && *r && !used; r++)
            used = strcmp(*r, name) == 0;
        for (size_t p = 0; p < l->c->part_count && !used; p++) {
            const struct cfg_part *part = &l->c->parts[p];
            for (size_t i = 0; i < part->count && !used; i++) {
                for (size_t k = 0; k < part->section->key_count && !used; k++) {
                    unsigned number;
                    environment_name(schema, part->section, part->instances[i].name,
                                     part->section->keys[k].name, candidate, sizeof candidate);
                    used = strcmp(candidate, name) == 0 ||
                           cfg_number_matches(candidate, name, &number);
                    const char *before = near.best;
                    unsigned distance = near.distance;
                    cfg_nearest_try(&near, candidate);
                    if (near.best != before || near.distance != distance)
                        (void)text_copy(best, sizeof best, candidate);
                    near.best = best;
                }
            }
        }
        char shown[200];
        (void)text_escape(name, strlen(name), shown, sizeof shown);
        if (!used && cfg_nearest_found(&near))
            cfg_fault_at(&l->warnings, NULL, 0,
                         "environment variable %s: matches no key; did you mean %s?", shown, best);
        else if (!used)
            cfg_fault_at(&l->warnings, NULL, 0,
                         "environment variable %s: matches no key and has no effect", shown);
    }
}

/* Without this a thousand cameras would search the environment thirty thousand times in vain. */
static bool has_prefixed(const struct loader *l)
{
    const char *prefix = l->c->schema->env_prefix;

    for (char *const *e = l->environment; prefix && *e; e++)
        if (text_starts_with(*e, prefix) && (*e)[strlen(prefix)] == '_')
            return true;
    return false;
}

static void collect_environment(struct loader *l)
{
    l->any_prefixed = has_prefixed(l);
    for (size_t p = 0; p < l->c->part_count && !l->c->no_memory; p++) {
        struct cfg_part *part = &l->c->parts[p];
        for (size_t i = 0; i < part->count; i++)
            for (size_t k = 0; k < part->section->key_count; k++)
                take_row_environment(l, part->section, &part->instances[i], k);
    }
    if (l->any_prefixed && !l->c->no_memory)
        warn_unused_variables(l);
}

/* --set. -- */

static void collect_setting(struct loader *l, const char *setting)
{
    static const char where[] = "--set";
    const char *equals = strchr(setting, '=');
    const char *dot = equals ? memrchr(setting, '.', (size_t)(equals - setting)) : NULL;
    char section_name[128], key_name[128], shown[160];
    const char *instance = "";
    const struct cfg_key *key;
    size_t i;

    if (!dot || dot == setting || (size_t)(dot - setting) >= sizeof section_name ||
        (size_t)(equals - dot) >= sizeof key_name) {
        /* The value may be a secret, so only what is before "=" is shown. */
        size_t len = equals ? (size_t)(equals - setting) : strlen(setting);
        cfg_fault_at(&l->faults, where, 0, "\"%s\" is not understood; write section.key=value",
                     text_escape(setting, MIN(len, (size_t)100), shown, sizeof shown));
        return;
    }
    memcpy(section_name, setting, (size_t)(dot - setting));
    section_name[dot - setting] = '\0';
    memcpy(key_name, dot + 1, (size_t)(equals - dot - 1));
    key_name[equals - dot - 1] = '\0';
    struct cfg_part *part = find_part(l, section_name, &instance);
    if (!part) {
        say_unknown_section(l, where, 0, section_name);
        return;
    }
    if (!find_instance(l, part, instance, where, 0, &i))
        return;
    struct cfg_instance *inst = &part->instances[i];
    struct cfg_slot *slot = slot_of(l->c, part->section, inst, key_name, &key);
    if (!slot) {
        if (!l->c->no_memory)
            say_unknown_key(l, part->section, inst, key_name, where, 0);
        return;
    }
    if (has_control(equals + 1) || strlen(equals + 1) > CFG_VALUE_MAX) {
        cfg_fault_at(&l->faults, where, 0,
                     "%s.%s: the value holds a control character or is longer than %d KB",
                     section_name, key_name, CFG_VALUE_MAX >> 10);
        return;
    }
    (void)fill(l, slot, equals + 1, CFG_FROM_SETTING, NULL, 0);
}

/* A camera that only --set brings is new to the environment too; so the environment is collected
 * before, and names of such instances are not looked up there. */
static void collect_settings(struct loader *l)
{
    for (const char *const *s = l->source->settings; s && *s && !l->c->no_memory; s++)
        collect_setting(l, *s);
}

/* --- converting ------------------------------------------------------------------------------- */

static void move_retired(struct loader *l, const struct cfg_part *part, size_t k);
static void convert_some(struct loader *l, bool early);
static void convert(struct loader *l, const struct cfg_part *part, struct cfg_instance *inst,
                    size_t k);
static void warn_later(struct loader *l, const struct cfg_part *part,
                       const struct cfg_instance *inst);

static int by_number(const void *a, const void *b)
{
    const struct cfg_numbered_slot *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static void convert_all(struct loader *l)
{
    struct cfg *c = l->c;

    for (size_t p = 0; p < c->part_count; p++)
        for (size_t k = 0; k < c->parts[p].section->key_count; k++)
            if (c->parts[p].section->keys[k].successor)
                move_retired(l, &c->parts[p], k);
    for (size_t p = 0; p < c->part_count; p++)
        for (size_t i = 0; i < c->parts[p].count; i++) {
            struct cfg_instance *inst = &c->parts[p].instances[i];
            if (inst->numbered_count > 0)
                qsort(inst->numbered, inst->numbered_count, sizeof *inst->numbered, by_number);
        }
    convert_some(l, true);
    if (!c->no_memory)
        cfg_references_resolve(c, l->source, &l->faults, &l->warnings);
    convert_some(l, false);
    for (size_t p = 0; p < c->part_count && !c->no_memory; p++)
        for (size_t i = 0; i < c->parts[p].count; i++)
            warn_later(l, &c->parts[p], &c->parts[p].instances[i]);
}

static void convert_some(struct loader *l, bool early)
{
    struct cfg *c = l->c;

    for (size_t p = 0; p < c->part_count && !c->no_memory; p++) {
        struct cfg_part *part = &c->parts[p];
        for (size_t i = 0; i < part->count; i++)
            for (size_t k = 0; k < part->section->key_count; k++)
                if (early == ((part->section->keys[k].flags & CFG_EARLY) != 0))
                    convert(l, part, &part->instances[i], k);
    }
}

/* A retired key's text goes to its successor, unless that was given itself. */
static void move_retired(struct loader *l, const struct cfg_part *part, size_t k)
{
    const struct cfg_key *key = &part->section->keys[k];
    const char *dot = strchr(key->successor, '.');
    const char *instance = "";
    char section_name[64], full[128];

    if (!dot || (size_t)(dot - key->successor) >= sizeof section_name)
        abort(); /* a row of ours is wrong */
    memcpy(section_name, key->successor, (size_t)(dot - key->successor));
    section_name[dot - key->successor] = '\0';
    for (size_t i = 0; i < part->count; i++) {
        const struct cfg_slot *old = &part->instances[i].slots[k];
        if (old->origin == CFG_FROM_DEFAULT)
            continue;
        struct cfg_part *to = find_part(l, section_name, &instance);
        size_t index = to ? cfg_key_index(to->section, dot + 1) : SIZE_MAX;
        if (!to || to->section->named || index == SIZE_MAX)
            abort();
        struct cfg_slot *slot = &to->instances[0].slots[index];
        (void)cfg_full_name(part->section, part->instances[i].name, key->name, full, sizeof full);
        if (slot->origin != CFG_FROM_DEFAULT) {
            cfg_fault_at(&l->warnings, old->line ? l->shown_path : NULL, old->line,
                         "%s: retired, and without effect beside %s", full, key->successor);
            continue;
        }
        cfg_fault_at(&l->warnings, old->line ? l->shown_path : NULL, old->line,
                     "%s: retired; write %s", full, key->successor);
        slot->text = old->text;
        slot->source = cfg_keep_text(l->c, full, strlen(full));
        slot->origin = CFG_FROM_RETIRED;
        slot->line = old->line;
    }
}

static int resolve_secret(struct loader *l, const char *reference, const char **ret, char *why,
                          size_t why_size);

/* Fills the field; a fault when the text is no such value. */
static void convert(struct loader *l, const struct cfg_part *part, struct cfg_instance *inst,
                    size_t k)
{
    const struct cfg_key *key = &part->section->keys[k];
    struct cfg_slot *slot = &inst->slots[k];
    void *field = key->flags & CFG_LATER ? NULL : (char *)inst->values + key->offset;
    const char *text = cfg_slot_value(slot);
    char why[320];
    int r = 0;

    if (key->flags & CFG_NUMBERED || key->successor)
        return; /* texts; and what moved to its successor */
    if (slot->origin == CFG_FROM_DEFAULT || slot->faulty) {
        text = key->fallback ? key->fallback : "";
        slot->text = text;
        slot->value = NULL;
        /* Zero is a good value of every scalar without a default. */
        if (!*text &&
            (key->type == CFG_BOOL || key->type == CFG_INT || key->type == CFG_DOUBLE ||
             key->type == CFG_DURATION || key->type == CFG_SIZE || key->type == CFG_CHOICE))
            text = NULL;
    }
    if (key->flags & CFG_REQUIRED && (!text || !*text)) {
        cfg_fault(&l->faults, part->section->name, part->section->named ? inst->name : NULL,
                  key->name, "must be given: %s", key->help);
        slot->faulty = true;
    }
    if (!text)
        return;
    if (key->flags & CFG_HIDDEN && strcmp(text, "***") == 0) {
        (void)text_copy(why, sizeof why, "*** is the mask of the value, not the value; write it");
        r = -EINVAL;
    }
    if (key->flags & CFG_EARLY && text_starts_with(text, CFG_REFERENCE)) {
        (void)text_copy(why, sizeof why,
                        "is needed to ask 1Password and cannot come from there: "
                        "write it, or env:NAME, file:PATH or credential:NAME "
                        "where it is a secret");
        r = -EINVAL;
    }
    if (r == 0 && key->type == CFG_SECRET && !(key->flags & CFG_LATER) && !slot->value)
        r = resolve_secret(l, text, &text, why, sizeof why);
    if (r == 0 && strchr(text, '\n') && key->type != CFG_SECRET && key->type != CFG_LIST &&
        key->type != CFG_LINES) {
        (void)text_copy(why, sizeof why, "has several lines; only lists may");
        r = -EINVAL;
    }
    if (r == 0)
        r = cfg_value_parse(l->c, key, text, field, why, sizeof why);
    if (r == -EINVAL && slot->value && key->type != CFG_SECRET && !(key->flags & CFG_HIDDEN))
        cfg_reference_describe(key, why, sizeof why);
    if (r == -EINVAL && !slot->faulty) {
        cfg_fault(&l->faults, part->section->name, part->section->named ? inst->name : NULL,
                  key->name, "%s", why);
        slot->faulty = true;
        convert(l, part, inst, k); /* once more, to the default */
    }
}

/* One warning per section, not one per key: a whole file of the predecessor may be of this kind. */
static void warn_later(struct loader *l, const struct cfg_part *part,
                       const struct cfg_instance *inst)
{
    char names[CFG_FAULT_TEXT_MAX - 100] = "";
    size_t used = 0, count = 0;
    int line = 0;

    for (size_t k = 0; k < part->section->key_count; k++) {
        const struct cfg_key *key = &part->section->keys[k];
        if (!(key->flags & CFG_LATER) || (key->flags & CFG_NUMBERED) ||
            inst->slots[k].origin == CFG_FROM_DEFAULT || !inst->slots[k].text[0])
            continue;
        if (line == 0)
            line = inst->slots[k].line;
        int n = text_format(names + used, sizeof names - used, "%s%s", used ? ", " : "", key->name);
        used += n > 0 ? (size_t)n : 0;
        count++;
    }
    if (count == 0)
        return;
    cfg_fault_at(&l->warnings, line ? l->shown_path : NULL, line, "%s: %s: " CFG_LATER_WORDS,
                 part->section->name, names);
}

/* Reads a small file that holds a secret; the trailing line break, which every editor adds, goes.
 */
static int read_secret(struct loader *l, const char *path, const char **ret, char *why,
                       size_t why_size)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    char shown[300];
    struct err e = {0};

    (void)text_escape(path, strlen(path), shown, sizeof shown);
    if (fd < 0) {
        (void)err_errno(&e, -errno, "cannot open %s", shown);
        (void)text_copy(why, why_size, e.text);
        return -EINVAL;
    }
    char *text = cfg_keep(l->c, 1, CFG_VALUE_MAX + 1);
    if (!text)
        return -ENOMEM;
    ssize_t n = read(fd, text, CFG_VALUE_MAX + 1);
    if (n < 0) {
        (void)err_errno(&e, -errno, "cannot read %s", shown);
        (void)text_copy(why, why_size, e.text);
        return -EINVAL;
    }
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    if (n > CFG_VALUE_MAX || memchr(text, '\0', (size_t)n)) {
        (void)text_format(why, why_size, "%s is no secret: too long, or not text", shown);
        return -EINVAL;
    }
    text[n] = '\0';
    *ret = text;
    return 0;
}

static int resolve_secret(struct loader *l, const char *reference, const char **ret, char *why,
                          size_t why_size)
{
    const char *scheme = cfg_secret_scheme(reference);
    const char *rest = scheme ? reference + strlen(scheme) : NULL;
    char path[4096], shown[160];
    int r = 0;

    if (!scheme) {
        if (strcmp(reference, "***") == 0) {
            (void)text_copy(why, why_size,
                            "*** is the mask of a secret, not a value; write the secret, or "
                            "env:NAME, file:PATH or credential:NAME");
            return -EINVAL;
        }
        return 0;
    }
    (void)text_escape(rest, strlen(rest), shown, sizeof shown);
    if (strcmp(scheme, CFG_REFERENCE) == 0)
        return 0; /* of a key that has its value later */
    if (strcmp(scheme, "env:") == 0) {
        *ret = find_environment(l, rest);
        if (!*ret) {
            (void)text_format(why, why_size, "the environment variable %s is not set", shown);
            return -EINVAL;
        }
        *ret = cfg_keep_text(l->c, *ret, strlen(*ret));
        return *ret ? 0 : -ENOMEM;
    }
    if (strcmp(scheme, "credential:") == 0) {
        const char *folder = find_environment(l, "CREDENTIALS_DIRECTORY");
        if (!folder || !*folder) {
            (void)text_format(why, why_size,
                              "there are no credentials ($CREDENTIALS_DIRECTORY is not set); start "
                              "by systemd with LoadCredential=%s:...",
                              shown);
            return -EINVAL;
        }
        if (strchr(rest, '/') || !*rest || *rest == '.') {
            (void)text_format(why, why_size, "\"%s\" is no name of a credential", shown);
            return -EINVAL;
        }
        r = text_format(path, sizeof path, "%s/%s", folder, rest);
    } else {
        const char *slash = l->c->path && rest[0] != '/' ? strrchr(l->c->path, '/') : NULL;
        r = text_format(path, sizeof path, "%.*s%s", slash ? (int)(slash + 1 - l->c->path) : 0,
                        slash ? l->c->path : "", rest);
    }
    if (r < 0 || !*rest) {
        (void)text_copy(why, why_size, "the path is empty or too long; write file:/path/of/it");
        return -EINVAL;
    }
    return read_secret(l, path, ret, why, why_size);
}

/* --- changing one value ------------------------------------------------------------------------
 */

static int copy_parts(struct cfg *to, const struct cfg *from)
{
    to->parts = cfg_keep(to, from->part_count, sizeof *to->parts);
    if (!to->parts)
        return -ENOMEM;
    memcpy(to->parts, from->parts, from->part_count * sizeof *to->parts);
    to->part_count = from->part_count;
    return 0;
}

/* The instance of a plain section, no longer shared. */
static struct cfg_instance *own_instance(struct cfg *c, struct cfg_part *part)
{
    const struct cfg_section *s = part->section;
    struct cfg_instance *inst = cfg_keep(c, 1, sizeof *inst);
    void *values = cfg_keep(c, 1, s->struct_size);
    struct cfg_slot *slots = cfg_keep(c, s->key_count, sizeof *slots);

    if (!inst || !values || !slots)
        return NULL;
    *inst = part->instances[0];
    inst->values = memcpy(values, inst->values, s->struct_size);
    inst->slots = memcpy(slots, inst->slots, s->key_count * sizeof *slots);
    part->instances = inst;
    return inst;
}

int cfg_override(struct cfg *c, const struct cfg_section *section, const char *key,
                 const char *text, struct cfg **ret)
{
    AUTO(cfg) next = xcalloc(1, sizeof *next);
    size_t k = cfg_key_index(section, key);
    char why[320];

    assert(!section->named && k != SIZE_MAX);
    atomic_init(&next->references, 1);
    next->schema = c->schema;
    next->path = c->path;
    next->hidden = c->hidden;
    next->parent = cfg_ref(c);
    int r = copy_parts(next, c);
    struct cfg_part *part = r == 0 ? cfg_part_of(next, section) : NULL;
    struct cfg_instance *inst = part ? own_instance(next, part) : NULL;
    char *kept = cfg_keep_text(next, text, strlen(text));
    if (!inst || !kept)
        return -ENOMEM;
    r = cfg_value_parse(next, &section->keys[k], kept,
                        (char *)inst->values + section->keys[k].offset, why, sizeof why);
    if (r < 0)
        return r;
    inst->slots[k].origin = CFG_FROM_PATH;
    inst->slots[k].text = CFG_MASK;
    inst->slots[k].value = kept;
    *ret = STEAL(next);
    return 0;
}

/* --- checking --------------------------------------------------------------------------------- */

static void check_all(struct loader *l)
{
    for (size_t p = 0; p < l->c->part_count; p++) {
        const struct cfg_part *part = &l->c->parts[p];
        for (size_t i = 0; i < part->count && part->section->check; i++)
            part->section->check(part->instances[i].values,
                                 part->section->named ? part->instances[i].name : NULL, &l->faults);
    }
    if (l->c->schema->check)
        l->c->schema->check(l->c, &l->faults);
}

/* --- access ----------------------------------------------------------------------------------- */

const void *cfg_values(const struct cfg *c, const struct cfg_section *section)
{
    const struct cfg_part *part = cfg_part_of(c, section);

    if (!part || section->named)
        abort(); /* the program asks for what its schema does not have */
    return part->instances[0].values;
}

size_t cfg_instance_count(const struct cfg *c, const struct cfg_section *section)
{
    const struct cfg_part *part = cfg_part_of(c, section);

    return part ? part->count : 0;
}

const char *cfg_instance_name(const struct cfg *c, const struct cfg_section *section, size_t i)
{
    const struct cfg_part *part = cfg_part_of(c, section);

    return part && i < part->count ? part->instances[i].name : NULL;
}

const void *cfg_instance_values(const struct cfg *c, const struct cfg_section *section, size_t i)
{
    const struct cfg_part *part = cfg_part_of(c, section);

    return part && i < part->count ? part->instances[i].values : NULL;
}

void cfg_numbered(const struct cfg *c, const struct cfg_section *section, const char *key,
                  void (*f)(unsigned number, const char *value, void *arg), void *arg)
{
    const struct cfg_part *part = cfg_part_of(c, section);

    for (size_t p = 0; part && p < part->count; p++) {
        const struct cfg_instance *inst = &part->instances[p];
        for (size_t i = 0; i < inst->numbered_count; i++)
            if (strcmp(inst->numbered[i].key->name, key) == 0)
                f(inst->numbered[i].number, cfg_slot_value(&inst->numbered[i].slot), arg);
    }
}

static const struct cfg_slot *find_slot(const struct cfg *c, const struct cfg_section *section,
                                        const char *instance, const char *key, size_t *ret_index)
{
    const struct cfg_part *part = cfg_part_of(c, section);
    const struct cfg_instance *inst = part ? cfg_instance_of(part, instance ? instance : "") : NULL;
    size_t k = cfg_key_index(section, key);

    if (!inst || k == SIZE_MAX)
        return NULL;
    *ret_index = k;
    for (size_t i = 0; i < inst->numbered_count; i++)
        if (inst->numbered[i].key == &section->keys[k])
            return &inst->numbered[i].slot;
    return &inst->slots[k];
}

bool cfg_is_set(const struct cfg *c, const struct cfg_section *section, const char *instance,
                const char *key)
{
    return cfg_key_origin(c, section, instance, key) != CFG_FROM_DEFAULT;
}

enum cfg_origin cfg_key_origin(const struct cfg *c, const struct cfg_section *section,
                               const char *instance, const char *key)
{
    size_t k;
    const struct cfg_slot *slot = find_slot(c, section, instance, key, &k);

    return slot ? slot->origin : CFG_FROM_DEFAULT;
}

const char *cfg_key_text(const struct cfg *c, const struct cfg_section *section,
                         const char *instance, const char *key)
{
    size_t k;
    const struct cfg_slot *slot = find_slot(c, section, instance, key, &k);

    if (!slot)
        return NULL;
    if ((section->keys[k].type == CFG_SECRET && !cfg_secret_scheme(slot->text)) ||
        section->keys[k].flags & CFG_HIDDEN)
        return slot->text[0] ? "***" : "";
    return slot->text;
}

/* A header line's name is no secret, its value is one with and without it. */
static void tell_hidden(const char *text, void (*f)(const char *value, void *arg), void *arg)
{
    f(text, arg);
    const char *value = strchr(text, ':');
    if (value && value[1])
        f(value + 1 + strspn(value + 1, " "), arg);
}

static void tell_secret(const struct cfg_key *key, const struct cfg_slot *slot, const char *field,
                        void (*f)(const char *value, void *arg), void *arg)
{
    if (key->flags & CFG_LATER || key->successor) {
        if (slot->text[0] && !cfg_secret_scheme(slot->text))
            f(slot->text, arg);
        return;
    }
    bool many = key->type == CFG_LIST || key->type == CFG_LINES;
    if (!many && key->type != CFG_SECRET && key->type != CFG_STRING)
        return;
    const char *one[] = {many ? NULL : *(const char *const *)field, NULL};
    const char *const *all = many ? *(const char *const *const *)field : one;
    for (size_t i = 0; all && all[i]; i++)
        if (key->type == CFG_SECRET)
            f(all[i], arg);
        else
            tell_hidden(all[i], f, arg);
}

void cfg_each_secret(const struct cfg *c, void (*f)(const char *value, void *arg), void *arg)
{
    for (size_t p = 0; p < c->part_count; p++) {
        const struct cfg_section *s = c->parts[p].section;
        for (size_t k = 0; k < s->key_count; k++) {
            const struct cfg_key *key = &s->keys[k];
            bool secret = key->type == CFG_SECRET || key->flags & CFG_HIDDEN;
            if (key->flags & CFG_NUMBERED)
                continue;
            for (size_t i = 0; i < c->parts[p].count; i++) {
                const struct cfg_instance *inst = &c->parts[p].instances[i];
                const struct cfg_slot *slot = &inst->slots[k];
                if (secret)
                    tell_secret(key, slot, (const char *)inst->values + key->offset, f, arg);
                else if (slot->value && text_starts_with(slot->text, CFG_REFERENCE))
                    f(slot->value, arg); /* whatever it is for */
            }
        }
    }
}

const char *cfg_path(const struct cfg *c)
{
    return c->path;
}
