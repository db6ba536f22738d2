#pragma once
/* Which files were told and stay as they are: 24 bytes each, no names. A path is its hash, and what
 * a file was is a hash of its inode, size and mtime. (Two hashes of 64 bits agree by chance once in
 * many ages of the world.) */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct watch_told_entry {
    uint64_t key;      /* of the path; 0 = free */
    uint64_t identity; /* of the file */
    uint32_t folder;   /* number of the folder in which it was seen last */
    uint32_t cycle;    /* in which it was seen last */
};

struct watch_told {
    struct watch_told_entry *entries;
    size_t capacity, used, max;
};

void watch_told_init(struct watch_told *t, size_t max);
void watch_told_done(struct watch_told *t);
/* Whether this very file was told; notes where and when it was seen. */
bool watch_told_has(struct watch_told *t, const struct watch_told_entry *e);
/* True when the next new key needs room that can be made by watch_told_sweep() or by growing. */
bool watch_told_full(const struct watch_told *t);
/* False when `max` are there: it is not remembered. */
bool watch_told_add(struct watch_told *t, const struct watch_told_entry *e);
void watch_told_remove(struct watch_told *t, uint64_t key);
/* Keeps what `keep` says; shrinks. */
void watch_told_sweep(struct watch_told *t,
                      bool (*keep)(const struct watch_told_entry *e, const void *arg),
                      const void *arg);
