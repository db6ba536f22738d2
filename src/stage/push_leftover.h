#pragma once
/* Pictures that are recorded while their file is still there under another id: it got another time
 * (MFMT) while it was being taken, or another name where the file system knows no birth times. Such
 * a file is known by its inode, its size and its bytes, for long enough that the watch tells it
 * once more. In one thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/clock.h"
#include "stage/push_file.h"

/* The oldest goes when one more comes. */
#define PUSH_LEFTOVERS_MAX 64
/* Some looks at a tree that is only looked at. */
#define PUSH_LEFTOVER_MS 120000

struct push_leftovers {
    struct push_leftover {
        char id[SNAPSHOT_ID_SIZE]; /* "" = free */
        struct push_identity is;
        uint64_t bytes; /* hash */
        struct mono_time until;
    } list[PUSH_LEFTOVERS_MAX];
    size_t next;
};

void push_leftovers_add(struct push_leftovers *l, const char *id, const struct push_identity *is,
                        const struct blob *bytes);
/* True, with the picture's id, when this file's is recorded already. It is forgotten with this: who
 * cannot remove the file adds it again. */
bool push_leftovers_take(struct push_leftovers *l, const struct push_identity *is,
                         const struct blob *bytes, char ret_id[SNAPSHOT_ID_SIZE]);
