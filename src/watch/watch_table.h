#pragma once
/* A hash table of nodes that live inside other structs, and the hash that all of watch/ uses. The
 * hash is keyed: names come from outside, and nobody shall choose them so that they collide. */

#include <stddef.h>
#include <stdint.h>

struct watch_node {
    struct watch_node *next;
    uint64_t key;
};

struct watch_table {
    struct watch_node **slots;
    size_t slot_count; /* a power of two */
    size_t used;
};

uint64_t watch_hash(uint64_t seed, const void *data, size_t size);

void watch_table_init(struct watch_table *t);
void watch_table_done(struct watch_table *t); /* the nodes are their owners' */
void watch_table_add(struct watch_table *t, struct watch_node *n, uint64_t key);
void watch_table_remove(struct watch_table *t, struct watch_node *n);
/* First node of that key, then watch_table_next(): the caller tells equal keys apart. */
struct watch_node *watch_table_find(const struct watch_table *t, uint64_t key);
struct watch_node *watch_table_next(const struct watch_node *n);
