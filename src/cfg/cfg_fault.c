#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "cfg/cfg_internal.h"

struct cfg_fault_line {
    int line; /* 0 sorts last */
    size_t order;
    char text[CFG_FAULT_TEXT_MAX];
};

static void hide(const struct cfg *c, char *text);
static void add(struct cfg_faults *f, int line, const char *place, const char *name,
                const char *fmt, va_list ap) __attribute__((format(printf, 5, 0)));

void cfg_fault(struct cfg_faults *f, const char *section, const char *instance, const char *key,
               const char *fmt, ...)
{
    const struct cfg *c = f->c;
    const struct cfg_slot *slot = NULL;
    const struct cfg_section *found = NULL;
    char place[CFG_PLACE_MAX], name[160];
    int line = 0;
    va_list ap;

    for (size_t p = 0; section && p < c->part_count; p++) {
        const struct cfg_part *part = &c->parts[p];
        const struct cfg_instance *inst;
        size_t k;

        if (strcmp(part->section->name, section) != 0 || part->section->named != (instance != NULL))
            continue;
        found = part->section;
        inst = cfg_instance_of(part, instance ? instance : "");
        if (!inst)
            continue;
        line = inst->line;
        k = key ? cfg_key_index(found, key) : SIZE_MAX;
        if (k != SIZE_MAX && inst->slots[k].faulty)
            return; /* the reason was reported, this follows from it */
        if (k != SIZE_MAX && inst->slots[k].origin != CFG_FROM_DEFAULT)
            slot = &inst->slots[k];
        for (size_t i = 0; key && k == SIZE_MAX && i < inst->numbered_count; i++) {
            unsigned number;
            if (cfg_number_matches(inst->numbered[i].key->name, key, &number) &&
                number == inst->numbered[i].number)
                slot = &inst->numbered[i].slot;
        }
    }
    if (slot)
        line = slot->line;
    if (slot && slot->line == 0 &&
        (slot->origin == CFG_FROM_ENVIRONMENT || slot->origin == CFG_FROM_PREFIXED))
        (void)text_format(place, sizeof place, "environment variable %s: ", slot->source);
    else if (slot && slot->origin == CFG_FROM_SETTING)
        (void)text_copy(place, sizeof place, "--set: ");
    else if (c->path && line > 0)
        (void)text_format(place, sizeof place, "%s:%d: ", c->path, line);
    else if (c->path)
        (void)text_format(place, sizeof place, "%s: ", c->path);
    else
        place[0] = '\0';
    if (found)
        (void)cfg_full_name(found, instance, key, name, sizeof name);
    else
        (void)text_format(name, sizeof name, "%s%s%s", section ? section : "", key ? "." : "",
                          key ? key : "");
    va_start(ap, fmt);
    add(f, line, place, name, fmt, ap);
    va_end(ap);
}

void cfg_fault_at(struct cfg_faults *f, const char *path, int line, const char *fmt, ...)
{
    char place[CFG_PLACE_MAX];
    va_list ap;

    if (path && line > 0)
        (void)text_format(place, sizeof place, "%s:%d: ", path, line);
    else if (path)
        (void)text_format(place, sizeof place, "%s: ", path);
    else
        place[0] = '\0';
    va_start(ap, fmt);
    add(f, line, place, "", fmt, ap);
    va_end(ap);
}

static void add(struct cfg_faults *f, int line, const char *place, const char *name,
                const char *fmt, va_list ap)
{
    struct cfg_fault_line *grown, *l;
    size_t used;

    if (f->count == CFG_FAULTS_MAX) {
        f->dropped++;
        return;
    }
    if (f->count % 16 == 0) {
        grown = mem_try_realloc(f->lines, f->count + 16, sizeof *f->lines, SIZE_MAX);
        if (!grown) {
            f->no_memory = true;
            f->dropped++;
            return;
        }
        f->lines = grown;
    }
    l = &f->lines[f->count];
    l->line = line;
    l->order = f->count++;
    (void)snprintf(l->text, sizeof l->text, "%s%s%s", place, name, *name ? ": " : "");
    used = strlen(l->text);
    (void)vsnprintf(l->text + used, sizeof l->text - used, fmt, ap);
    hide(f->c, l->text + used);
    /* Values that are quoted were escaped before; a path or name may still hold a line break. */
    for (char *p = l->text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
}

/* Whoever quotes a value does not know that it came from a reference. Short ones are in every
 * sentence. */
static void hide(const struct cfg *c, char *text)
{
    enum { SHORTEST = 4 };

    for (const struct cfg_hidden *h = c->hidden; h; h = h->next) {
        size_t len = strlen(h->value);
        for (char *at = text; len >= SHORTEST && (at = strstr(at, h->value));) {
            memcpy(at, CFG_MASK, strlen(CFG_MASK));
            at += strlen(CFG_MASK);
            memmove(at, at + len - strlen(CFG_MASK), strlen(at + len - strlen(CFG_MASK)) + 1);
        }
    }
}

static int by_place(const void *a, const void *b)
{
    const struct cfg_fault_line *x = a, *y = b;

    if ((x->line == 0) != (y->line == 0))
        return x->line == 0 ? 1 : -1;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

char *cfg_faults_text(struct cfg_faults *f)
{
    AUTO_DONE(dynbuf) out;

    dynbuf_init(&out, (size_t)(CFG_FAULTS_MAX + 1) * CFG_FAULT_TEXT_MAX);
    if (f->count == 0 && f->dropped == 0)
        return NULL;
    if (f->count > 0)
        qsort(f->lines, f->count, sizeof *f->lines, by_place);
    for (size_t i = 0; i < f->count; i++)
        (void)dynbuf_printf(&out, "%s\n", f->lines[i].text);
    if (f->dropped > 0)
        (void)dynbuf_printf(&out, "... and %zu more\n", f->dropped);
    return out.failed ? NULL : dynbuf_steal(&out, NULL);
}

void cfg_faults_init(struct cfg_faults *f, const struct cfg *c)
{
    *f = (struct cfg_faults){.c = c};
}

void cfg_faults_done(struct cfg_faults *f)
{
    free(f->lines);
    *f = (struct cfg_faults){.c = f->c};
}

struct cfg_faults *cfg_faults_new(const struct cfg *c)
{
    struct cfg_faults *f = xcalloc(1, sizeof *f);

    cfg_faults_init(f, c);
    return f;
}

void cfg_faults_free(struct cfg_faults *f)
{
    if (!f)
        return;
    cfg_faults_done(f);
    free(f);
}

char *cfg_faults_take(struct cfg_faults *f)
{
    char *text = cfg_faults_text(f);

    cfg_faults_done(f);
    return text;
}

void cfg_nearest_try(struct cfg_nearest *n, const char *candidate)
{
    unsigned d = text_equal_nocase(n->name, candidate) ? 0 : parse_distance(n->name, candidate);

    if (!n->best || d < n->distance) {
        n->best = candidate;
        n->distance = d;
    }
}

/* A third of the letters may differ, at least one and at most four: beyond that the proposal
 * confuses more than it helps. */
bool cfg_nearest_found(const struct cfg_nearest *n)
{
    size_t allowed = strlen(n->name) / 3;

    allowed = allowed < 1 ? 1 : allowed > 4 ? 4 : allowed;
    return n->best && n->distance <= allowed;
}
