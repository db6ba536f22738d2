/* Open addressing with linear probing, at most three quarters full. Removal moves the followers
 * back, so there are no tombstones and a look-up never gets slower with age. */

#include "watch/watch_told.h"

#include <stdlib.h>

#include "base/mem.h"

#define CAPACITY_MIN 64

void watch_told_init(struct watch_told *t, size_t max)
{
    *t = (struct watch_told){.entries = xcalloc(CAPACITY_MIN, sizeof(*t->entries)),
                             .capacity = CAPACITY_MIN,
                             .max = max};
}

void watch_told_done(struct watch_told *t)
{
    free(t->entries);
    *t = (struct watch_told){0};
}

/* Where the key is, or the free place where it would go. */
static size_t place_of(const struct watch_told *t, uint64_t key)
{
    size_t at = (size_t)key & (t->capacity - 1);
    while (t->entries[at].key != 0 && t->entries[at].key != key)
        at = (at + 1) & (t->capacity - 1);
    return at;
}

static uint64_t usable(uint64_t key)
{
    return key ? key : 1;
}

bool watch_told_has(struct watch_told *t, const struct watch_told_entry *e)
{
    struct watch_told_entry *found = &t->entries[place_of(t, usable(e->key))];
    if (found->key == 0 || found->identity != e->identity)
        return false;
    found->folder = e->folder;
    found->cycle = e->cycle;
    return true;
}

bool watch_told_full(const struct watch_told *t)
{
    return t->used >= t->max || (t->used + 1) * 4 > t->capacity * 3;
}

static bool keep_all(const struct watch_told_entry *e, const void *arg)
{
    (void)e;
    (void)arg;
    return true;
}

static void rebuild(struct watch_told *t, size_t capacity,
                    bool (*keep)(const struct watch_told_entry *e, const void *arg),
                    const void *arg)
{
    struct watch_told fresh = {
        .entries = xcalloc(capacity, sizeof(*t->entries)), .capacity = capacity, .max = t->max};
    for (size_t i = 0; i < t->capacity; i++) {
        const struct watch_told_entry *e = &t->entries[i];
        if (e->key == 0 || !keep(e, arg))
            continue;
        fresh.entries[place_of(&fresh, e->key)] = *e;
        fresh.used++;
    }
    free(t->entries);
    *t = fresh;
}

bool watch_told_add(struct watch_told *t, const struct watch_told_entry *e)
{
    size_t at = place_of(t, usable(e->key));
    if (t->entries[at].key == 0) {
        if (t->used >= t->max)
            return false;
        if (watch_told_full(t)) {
            rebuild(t, t->capacity * 2, keep_all, NULL);
            at = place_of(t, usable(e->key));
        }
        t->used++;
    }
    t->entries[at] = *e;
    t->entries[at].key = usable(e->key);
    return true;
}

void watch_told_remove(struct watch_told *t, uint64_t key)
{
    size_t mask = t->capacity - 1;
    size_t hole = place_of(t, usable(key));
    if (t->entries[hole].key == 0)
        return;
    for (size_t at = (hole + 1) & mask; t->entries[at].key != 0; at = (at + 1) & mask) {
        /* One whose home lies behind the hole (cyclically) stays. */
        size_t home = (size_t)t->entries[at].key & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        t->entries[hole] = t->entries[at];
        hole = at;
    }
    t->entries[hole] = (struct watch_told_entry){0};
    t->used--;
    if (t->capacity > CAPACITY_MIN && t->used < t->capacity / 8)
        rebuild(t, t->capacity / 2, keep_all, NULL);
}

void watch_told_sweep(struct watch_told *t,
                      bool (*keep)(const struct watch_told_entry *e, const void *arg),
                      const void *arg)
{
    rebuild(t, t->capacity, keep, arg);
    size_t capacity = t->capacity;
    while (capacity > CAPACITY_MIN && t->used < capacity / 8)
        capacity /= 2;
    if (t->used > capacity / 2)
        capacity *= 2; /* or the next sweep would come soon for little */
    if (capacity != t->capacity)
        rebuild(t, capacity, keep_all, NULL);
}
