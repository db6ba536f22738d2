#include "secrets/secret_item.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

/* A vault may have thousands of items; who misspelt one sees it among so many or not at all. */
enum { NAMES_MAX = 24, NAME_MAX = 64 };

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

static bool is_called(const json_t *object, const char *name)
{
    return strcmp(text_of(object, "label"), name) == 0 || strcmp(text_of(object, "id"), name) == 0;
}

/* Fields name their section by its id and, in some versions, by its label as well. */
static bool is_in_section(const json_t *item, const json_t *field, const char *name)
{
    const json_t *own = json_object_get(field, "section");
    const char *id = text_of(own, "id");
    size_t i;
    const json_t *s;

    if (!json_is_object(own))
        return false;
    if (is_called(own, name))
        return true;
    json_array_foreach(json_object_get(item, "sections"), i,
                       s) if (*id && strcmp(text_of(s, "id"), id) == 0 &&
                              is_called(s, name)) return true;
    return false;
}

static bool has_section(const json_t *item, const char *name)
{
    size_t i;
    const json_t *s, *f;

    json_array_foreach(json_object_get(item, "sections"), i, s) if (is_called(s, name)) return true;
    json_array_foreach(json_object_get(item, "fields"), i,
                       f) if (is_in_section(item, f, name)) return true;
    return false;
}

static void add_called(struct secret_list *l, const json_t *object)
{
    char name[NAME_MAX + 16];

    if (*text_of(object, "label"))
        secret_list_add(l, text_of(object, "label"));
    else if (text_format(name, sizeof(name), "(no label, id %s)", text_of(object, "id")) > 0)
        secret_list_add(l, name);
}

static void add_text(struct secret_list *l, const char *text, size_t size)
{
    size_t used = strlen(l->text);

    if (used + size + 3 > sizeof(l->text)) {
        l->left_out++;
        return;
    }
    (void)text_format(l->text + used, sizeof(l->text) - used, "%s%s", used ? ", " : "", text);
    l->count++;
}

void secret_list_add(struct secret_list *l, const char *name)
{
    char shown[NAME_MAX + 1];

    if (l->count == NAMES_MAX) {
        l->left_out++;
        return;
    }
    (void)text_printable(name, text_cut_length(name, NAME_MAX), shown, sizeof(shown)); /* cut */
    add_text(l, shown, strlen(shown));
}

const char *secret_list_text(struct secret_list *l)
{
    size_t used = strlen(l->text);

    if (l->left_out)
        (void)text_format(l->text + used, sizeof(l->text) - used, " (%d more)",
                          l->left_out); /* cut */
    l->left_out = 0;
    return l->text[0] ? l->text : "none";
}

static int say_no_section(const json_t *item, const char *section, struct err *e)
{
    struct secret_list l = {0};
    size_t i;
    const json_t *s;

    json_array_foreach(json_object_get(item, "sections"), i, s) add_called(&l, s);
    return err_set(e, -ENOENT, ERR_NEVER, "the item has no section \"%s\"; its sections: %s",
                   section, secret_list_text(&l));
}

static int say_fields(const json_t *item, const struct secret_path *p, int found, struct err *e)
{
    struct secret_list l = {0};
    size_t i;
    const json_t *f;

    json_array_foreach(json_object_get(item, "fields"), i,
                       f) if (!p->section || is_in_section(item, f, p->section)) add_called(&l, f);
    const char *where = p->section ? "the section" : "the item";
    if (!p->field)
        return err_set(e, -EEXIST, ERR_NEVER,
                       "%s has %d fields with a value: write item/field; its fields: %s", where,
                       found, secret_list_text(&l));
    return err_set(e, -ENOENT, ERR_NEVER, "%s has no field \"%s\"; its fields: %s", where, p->field,
                   secret_list_text(&l));
}

/* Several fields of one label have ids that tell them apart. */
static int say_several(const json_t *item, const struct secret_path *p, int found, struct err *e)
{
    struct secret_list l = {0};
    size_t i;
    const json_t *f;

    json_array_foreach(json_object_get(item, "fields"), i,
                       f) if ((!p->section || is_in_section(item, f, p->section)) &&
                              is_called(f, p->field)) secret_list_add(&l, text_of(f, "id"));
    return err_set(e, -EEXIST, ERR_NEVER,
                   "%d fields are called \"%s\": name the section, or the field by its id, one of: "
                   "%s",
                   found, p->field, secret_list_text(&l));
}

static int only_field(const json_t *item, const struct secret_path *p, const char **ret,
                      struct err *e)
{
    const json_t *fields = json_object_get(item, "fields"), *f;
    const char *value = "";
    int found = 0;
    size_t i;

    json_array_foreach(fields, i, f)
    {
        if (!*text_of(f, "value"))
            continue;
        value = text_of(f, "value");
        found++;
    }
    if (found > 1)
        return say_fields(item, p, found, e);
    if (json_array_size(fields) == 0)
        return err_set(e, -ENOENT, ERR_NEVER, "the item has no fields");
    *ret = value;
    return 0;
}

int secret_item_value(const json_t *item, const struct secret_path *p, const char **ret,
                      struct err *e)
{
    const json_t *first = NULL, *outside = NULL, *f;
    int found = 0, found_outside = 0;
    size_t i;

    if (!p->field)
        return only_field(item, p, ret, e);
    if (p->section && !has_section(item, p->section))
        return say_no_section(item, p->section, e);
    json_array_foreach(json_object_get(item, "fields"), i, f)
    {
        if (!is_called(f, p->field) || (p->section && !is_in_section(item, f, p->section)))
            continue;
        if (found++ == 0)
            first = f;
        if (!json_is_object(json_object_get(f, "section")) && found_outside++ == 0)
            outside = f;
    }
    if (found == 0)
        return say_fields(item, p, found, e);
    if (p->reference && found > 1) {
        if (p->section || found_outside != 1)
            return say_several(item, p, found, e);
        first = outside;
    }
    *ret = text_of(first, "value");
    return 0;
}

int secret_item_each(const json_t *item, const char *section,
                     void (*f)(void *arg, const char *label, const char *value), void *arg,
                     struct err *e)
{
    size_t i;
    const json_t *field;

    if (!has_section(item, section))
        return say_no_section(item, section, e);
    json_array_foreach(json_object_get(item, "fields"), i,
                       field) if (is_in_section(item, field, section) && *text_of(field, "label"))
        f(arg, text_of(field, "label"), text_of(field, "value"));
    return 0;
}
