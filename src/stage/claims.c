#include "stage/claims.h"

#include <assert.h>
#include <pthread.h>

#include "base/mem.h"

struct claims {
    pthread_mutex_t lock;
    int64_t rows[CLAIMS_MAX];
    int count;
};

struct claims *claims_new(void)
{
    struct claims *c = xcalloc(1, sizeof(*c));
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void claims_free(struct claims *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static int find(const struct claims *c, int64_t row)
{
    int i = 0;
    while (i < c->count && c->rows[i] != row)
        i++;
    return i;
}

bool claims_take(struct claims *c, int64_t row)
{
    assert(row > 0);
    pthread_mutex_lock(&c->lock);
    bool free_row = c->count < CLAIMS_MAX && find(c, row) == c->count;
    if (free_row)
        c->rows[c->count++] = row;
    pthread_mutex_unlock(&c->lock);
    return free_row;
}

void claims_drop(struct claims *c, int64_t row)
{
    pthread_mutex_lock(&c->lock);
    int i = find(c, row);
    if (i < c->count)
        c->rows[i] = c->rows[--c->count];
    pthread_mutex_unlock(&c->lock);
}
