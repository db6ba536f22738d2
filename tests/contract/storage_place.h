#pragma once
/* A place behind a storage, as the contract suite of storages needs it: opened empty, looked into
 * from behind, damaged on request. A new storage is entered by a file with a `struct storage_place`
 * and one line in the table of test_storage_contract.c. */

#include "../unit/test.h"

#include <errno.h>

#include "base/mem.h"
#include "base/text.h"
#include "storage/storage.h"
#include "sys/hash.h"

struct storage_place {
    const char *name;
    /* An empty place of its own for one test, and a storage for it. -ENOTSUP: what it needs is not
     * on this machine (the reason in `why`); then its tests are skipped. */
    int (*open)(void **ret, struct storage **storage, char *why, size_t why_size);
    void (*close)(void *place); /* after the storage was freed */
    /* Another storage for the same place, as after a restart. */
    struct storage *(*reopen)(void *place);
    /* Pictures that a person would find there, half-written ones and leftovers included. */
    int (*count)(void *place);
    /* The bytes of one; NULL when it is not there. */
    struct blob *(*get)(void *place, const struct storage_mark *mark);
    void (*lose)(void *place, const struct storage_mark *mark);  /* somebody deletes it */
    void (*spoil)(void *place, const struct storage_mark *mark); /* one byte differs now */
    /* From now on (true) each put breaks off in the middle of the bytes; NULL = cannot be made to.
     */
    void (*cut)(void *place, bool on);
    /* From now on it is away; NULL = cannot be made to. */
    void (*away)(void *place, bool on);
    /* Somebody has put bytes of his own where the mark points to; NULL = nobody can. */
    void (*occupy)(void *place, const struct storage_mark *mark);
    bool one_name_many; /* names need not differ there */
};

extern const struct storage_place directory_place, gdrive_place, memory_place, s3_place;
