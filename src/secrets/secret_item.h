#pragma once
/* What is in an item of 1Password, as Connect gives it. Pure. No error text ever holds a value:
 * they list sections and labels, which is what somebody who misspelt one needs. */

#include "secrets/secret_path.h"
#include "sys/json.h"

/* The value at section and field of `p`; borrowed from the item, "" of a field without one.
 *
 * A path without a section means the first field of that label in any section; one without a field
 * the only field. A reference must mean exactly one: of several of a label those in no section go
 * first. -ENOENT, -EEXIST (several): what there is. */
int secret_item_value(const json_t *item, const struct secret_path *p, const char **ret,
                      struct err *e);

/* Calls f for each field of the section (by label or id) that has a label, in the item's order.
 * -ENOENT: no such section; what there is. */
int secret_item_each(const json_t *item, const char *section,
                     void (*f)(void *arg, const char *label, const char *value), void *arg,
                     struct err *e);

/* Appends a name to a list for people: at most so many, then the number of the others. */
struct secret_list {
    char text[320]; /* leaves room for the sentence around it in an error */
    int count, left_out;
};
void secret_list_add(struct secret_list *l, const char *name);
const char *secret_list_text(struct secret_list *l); /* "none" when empty */
