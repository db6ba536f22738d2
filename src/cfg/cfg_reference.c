/* References: collected from all slots, answered by the source's resolver in one call, put back.
 * What is asked for is what a key was given, or, for a key that nothing gives, its row's path. */

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "cfg/cfg_internal.h"

struct collecting {
    struct cfg *c;
    struct cfg_faults *faults;
    struct cfg_reference *list; /* NULL: only counting */
    size_t count;
};

static void collect(struct collecting *x);
static void take_answer(struct cfg *c, struct cfg_reference *r, struct cfg_faults *faults,
                        struct cfg_faults *warnings);

void cfg_references_resolve(struct cfg *c, const struct cfg_source *source,
                            struct cfg_faults *faults, struct cfg_faults *warnings)
{
    struct collecting x = {.c = c, .faults = faults};

    collect(&x);
    if (x.count == 0)
        return;
    x.list = cfg_keep(c, x.count, sizeof *x.list);
    x.count = 0;
    if (!x.list)
        return;
    collect(&x);
    if (x.count > CFG_REFERENCES_MAX)
        cfg_fault(faults, NULL, NULL, NULL, "%zu references to 1Password; at most %d are allowed",
                  x.count, CFG_REFERENCES_MAX);
    else if (source->resolve)
        source->resolve(source->resolve_arg, c, x.list, x.count);
    for (size_t i = 0; i < x.count; i++)
        take_answer(c, &x.list[i], faults, warnings);
}

void cfg_reference_describe(const struct cfg_key *key, char *why, size_t why_size)
{
    char bounds[80];

    (void)cfg_bounds_text(key, bounds, sizeof bounds);
    (void)text_format(why, why_size,
                      "what 1Password has there is not accepted: right would be %s%s%s",
                      cfg_type_names[key->type], *bounds ? ", " : "", bounds); /* cut */
    for (size_t i = 0; key->type == CFG_CHOICE && key->choices[i]; i++) {
        size_t used = strlen(why);
        (void)text_format(why + used, why_size - used, "%s%s", i ? ", " : ": ", key->choices[i]);
    }
}

/* ---- collecting ---- */

static void add(struct collecting *x, const struct cfg_reference *r)
{
    if (x->list)
        x->list[x->count] = *r;
    x->count++;
}

/* The path that a row names: itself, or what another key says, if the schema has its section. */
static bool find_path(const struct cfg *c, const struct cfg_key *key, struct cfg_reference *r)
{
    const char *dot = strchr(key->path, '.');

    r->text = key->path;
    if (strchr(key->path, '/'))
        return true;
    for (size_t p = 0; dot && p < c->part_count; p++) {
        const struct cfg_section *s = c->parts[p].section;
        size_t len = (size_t)(dot - key->path), k;
        if (s->named || strlen(s->name) != len || strncmp(s->name, key->path, len) != 0)
            continue;
        k = cfg_key_index(s, dot + 1);
        if (k == SIZE_MAX || !(s->keys[k].flags & CFG_EARLY))
            abort(); /* a row of ours is wrong */
        const struct cfg_slot *slot = &c->parts[p].instances[0].slots[k];
        r->from = &s->keys[k];
        r->from_given = slot->origin != CFG_FROM_DEFAULT;
        r->text = slot->text;
        return *r->text != '\0';
    }
    return false;
}

static void collect_slot(struct collecting *x, const struct cfg_part *part,
                         const struct cfg_instance *inst, const struct cfg_key *key,
                         const char *name, struct cfg_slot *slot)
{
    struct cfg_reference r = {.section = part->section,
                              .key = key,
                              .slot = slot,
                              .name = name,
                              .instance = part->section->named ? inst->name : NULL,
                              .text = slot->text};

    if (key->flags & (CFG_LATER | CFG_EARLY) || slot->faulty || key->successor)
        return;
    if (slot->origin != CFG_FROM_DEFAULT) {
        if (text_starts_with(slot->text, CFG_REFERENCE))
            add(x, &r);
        return;
    }
    r.implied = key->path != NULL;
    r.answer = CFG_ANSWER_DEFAULT; /* without a resolver as well */
    if (r.implied && find_path(x->c, key, &r))
        add(x, &r);
}

static void collect_numbered(struct collecting *x, const struct cfg_part *part,
                             struct cfg_instance *inst)
{
    char name[128];

    for (size_t i = 0; i < inst->numbered_count; i++) {
        struct cfg_numbered_slot *n = &inst->numbered[i];
        const char *hash = strchr(n->key->name, '#');
        const char *kept = "";
        if (!text_starts_with(n->slot.text, CFG_REFERENCE))
            continue;
        (void)text_format(name, sizeof name, "%.*s%u%s", (int)(hash - n->key->name), n->key->name,
                          n->number, hash + 1); /* cut */
        if (x->list)
            kept = cfg_keep_text(x->c, name, strlen(name));
        collect_slot(x, part, inst, n->key, kept, &n->slot);
    }
}

static void collect(struct collecting *x)
{
    for (size_t p = 0; p < x->c->part_count; p++) {
        struct cfg_part *part = &x->c->parts[p];
        for (size_t i = 0; i < part->count; i++) {
            struct cfg_instance *inst = &part->instances[i];
            for (size_t k = 0; k < part->section->key_count; k++)
                if (!(part->section->keys[k].flags & CFG_NUMBERED))
                    collect_slot(x, part, inst, &part->section->keys[k],
                                 part->section->keys[k].name, &inst->slots[k]);
            collect_numbered(x, part, inst);
        }
    }
}

/* ---- answers ---- */

static bool has_control(const char *text)
{
    for (; *text; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t' && *text != '\n') || *text == 0x7f)
            return true;
    return false;
}

/* Line breaks at the end are an editor's, not the value's, as with secrets from files. */
static char *keep_value(struct cfg *c, const char *value)
{
    size_t len = strlen(value);

    while (len > 0 && (value[len - 1] == '\n' || value[len - 1] == '\r'))
        len--;
    return cfg_keep_text(c, value, len);
}

static void hide(struct cfg *c, const char *value)
{
    struct cfg_hidden *h = cfg_keep(c, 1, sizeof *h);

    if (!h)
        return;
    *h = (struct cfg_hidden){.next = c->hidden, .value = value};
    c->hidden = h;
}

static const char *why_not(const struct cfg_reference *r)
{
    if (r->answer == CFG_ANSWER_NONE)
        return *r->why ? r->why : "references to 1Password cannot be resolved here";
    if (r->answer == CFG_ANSWER_VALUE && strlen(r->value) > CFG_VALUE_MAX)
        return "what 1Password has there is longer than 64 KB";
    if (r->answer == CFG_ANSWER_VALUE && has_control(r->value))
        return "what 1Password has there holds a control character";
    return NULL;
}

static void take_answer(struct cfg *c, struct cfg_reference *r, struct cfg_faults *faults,
                        struct cfg_faults *warnings)
{
    struct cfg_slot *slot = r->slot;
    const char *why = why_not(r);

    if (why) {
        cfg_fault(faults, r->section->name, r->instance, r->name, "%s: %s", r->text, why);
        slot->faulty = true;
    } else if (*r->why) {
        cfg_fault(warnings, r->section->name, r->instance, r->name, "%s: %s", r->text, r->why);
    }
    if (!why && r->answer == CFG_ANSWER_VALUE) {
        slot->value = keep_value(c, r->value);
        if (r->implied) {
            slot->origin = CFG_FROM_PATH;
            slot->text = CFG_MASK;
        }
        if (slot->value)
            hide(c, slot->value);
    } else if (!why && !r->implied) {
        slot->faulty = true; /* to the default, and no word about what follows from it */
    }
    if (r->value)
        explicit_bzero(r->value, strlen(r->value));
    free(r->value);
    r->value = NULL;
}
