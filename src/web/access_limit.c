#include "web/access_limit.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "sys/hash.h"

/* `full_at` is all there is to a bucket: each try moves it by one refill into the future, and it is
 * empty when it lies more than `burst` refills ahead. A slot of the past is as good as free. */
struct slot {
    uint64_t key;
    int64_t full_at_us; /* monotonic */
};

struct access_limit {
    int burst;
    int64_t refill_us;
    struct slot slots[ACCESS_LIMIT_KEYS];
};

struct access_limit *access_limit_new(int burst, int64_t refill_ms)
{
    struct access_limit *l = xcalloc(1, sizeof(*l));
    l->burst = burst;
    l->refill_us = refill_ms * 1000;
    return l;
}

void access_limit_free(struct access_limit *l)
{
    free(l);
}

static struct slot *find(struct access_limit *l, uint64_t key)
{
    for (size_t i = 0; i < ACCESS_LIMIT_KEYS; i++)
        if (l->slots[i].key == key)
            return &l->slots[i];
    return NULL;
}

static struct slot *fullest(struct access_limit *l)
{
    struct slot *best = &l->slots[0];
    for (size_t i = 1; i < ACCESS_LIMIT_KEYS; i++)
        if (l->slots[i].full_at_us < best->full_at_us)
            best = &l->slots[i];
    return best;
}

int64_t access_limit_take(struct access_limit *l, const char *key)
{
    uint64_t id = hash_64(key, strlen(key));
    int64_t now = clock_mono().us;
    struct slot *s = find(l, id);
    if (!s) {
        s = fullest(l);
        *s = (struct slot){.key = id};
    }
    int64_t after = MAX(s->full_at_us, now) + l->refill_us;
    int64_t over = after - now - l->burst * l->refill_us;
    if (over > 0)
        return over / 1000 + 1;
    s->full_at_us = after;
    return 0;
}

void access_limit_forgive(struct access_limit *l, const char *key)
{
    struct slot *s = find(l, hash_64(key, strlen(key)));
    if (s)
        s->full_at_us -= l->refill_us;
}
