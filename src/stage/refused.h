#pragma once
/* Where files go that are called pictures and are none: <data>/refused/<camera>/<id>-<name>.
 * Nothing is asked again for ever and nothing vanishes unseen: each has a word in the ledger under
 * its id, and goes with it when it is too old or too many others came after it. */

#include "ledger/ledger.h"
#include "stage/push_file.h"
#include "stage/spool_config.h"

/* Whether it may be kept at all: it is not larger than all that may be. */
bool refused_has_room(const struct push_file *f, const struct spool_rules *rules);
/* Moves the file into the folder of its camera and makes room there. -EFBIG (ERR_NEVER) when there
 * is none for it: then it stays where it is. */
int refused_take(const char *root, const char *camera, const struct push_file *f, const char *id,
                 const struct spool_rules *rules, struct ledger *l, struct err *e);
/* Makes room in all of its folders. Returns how many files went; an absent root has none. */
int refused_clean(const char *root, const struct spool_rules *rules, struct ledger *l,
                  struct err *e);
