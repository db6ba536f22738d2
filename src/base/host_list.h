#pragma once
/* Which hosts may be asked: names, addresses, networks ("10.0.0.0/8"), and the word "private" for
 * all networks that end at the house's router, this machine's own among them. Immutable once made;
 * any thread. */

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"

struct host_list;
struct sockaddr;

/* `items` is NULL-terminated. -EINVAL: which item is wrong, and what would be right. */
int host_list_new(const char *const *items, struct host_list **ret, struct err *e);
void host_list_free(struct host_list *l);
DEFINE_AUTO(host_list, host_list_free)

/* Whether this name stands in the list, in any case, or this address lies in one of its networks.
 * Resolves nothing: of a name that is not listed only its addresses tell, once they are known. */
bool host_list_has(const struct host_list *l, const char *host);
bool host_list_has_address(const struct host_list *l, const struct sockaddr *address);
/* Whether there are names in it: a fault where only addresses make sense. */
bool host_list_has_names(const struct host_list *l);
