#include "watch/watch_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"

#define SLOTS_MIN 64

/* Multiply and fold: the high half of a product carries what the low half loses. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t watch_hash(uint64_t seed, const void *data, size_t size)
{
    static const uint64_t odd[2] = {0x9e3779b97f4a7c15, 0xd1b54a32d192ed03};
    const char *p = data;
    uint64_t h = fold(seed ^ odd[0], size ^ odd[1]);
    for (; size > 0; p += MIN(size, (size_t)8), size -= MIN(size, (size_t)8)) {
        uint64_t word = 0;
        memcpy(&word, p, MIN(size, (size_t)8));
        h = fold(h ^ word ^ odd[0], odd[1] ^ seed);
    }
    return fold(h ^ odd[1], odd[0]);
}

void watch_table_init(struct watch_table *t)
{
    *t = (struct watch_table){.slots = xcalloc(SLOTS_MIN, sizeof(*t->slots)),
                              .slot_count = SLOTS_MIN};
}

void watch_table_done(struct watch_table *t)
{
    free(t->slots);
    *t = (struct watch_table){0};
}

static struct watch_node **slot_of(const struct watch_table *t, uint64_t key)
{
    return &t->slots[key & (t->slot_count - 1)];
}

/* Up when full, down when nearly empty: 50,000 files at once shall not cost their memory for ever.
 */
static void resize(struct watch_table *t, size_t slot_count)
{
    struct watch_table bigger = {
        .slots = xcalloc(slot_count, sizeof(*t->slots)), .slot_count = slot_count, .used = t->used};
    for (size_t i = 0; i < t->slot_count; i++) {
        struct watch_node *next;
        for (struct watch_node *n = t->slots[i]; n; n = next) {
            next = n->next;
            struct watch_node **slot = slot_of(&bigger, n->key);
            n->next = *slot;
            *slot = n;
        }
    }
    free(t->slots);
    *t = bigger;
}

void watch_table_add(struct watch_table *t, struct watch_node *n, uint64_t key)
{
    if (t->used >= t->slot_count)
        resize(t, t->slot_count * 2);
    struct watch_node **slot = slot_of(t, key);
    *n = (struct watch_node){.next = *slot, .key = key};
    *slot = n;
    t->used++;
}

void watch_table_remove(struct watch_table *t, struct watch_node *n)
{
    struct watch_node **link = slot_of(t, n->key);
    while (*link != n) {
        assert(*link); /* it was added */
        link = &(*link)->next;
    }
    *link = n->next;
    t->used--;
    if (t->slot_count > SLOTS_MIN && t->used < t->slot_count / 8)
        resize(t, t->slot_count / 2);
}

struct watch_node *watch_table_find(const struct watch_table *t, uint64_t key)
{
    struct watch_node *n = *slot_of(t, key);
    while (n && n->key != key)
        n = n->next;
    return n;
}

struct watch_node *watch_table_next(const struct watch_node *n)
{
    uint64_t key = n->key;
    struct watch_node *next = n->next;
    while (next && next->key != key)
        next = next->next;
    return next;
}
