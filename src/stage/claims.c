#include "stage/claims.h"

#include <assert.h>
#include <pthread.h>

#include "base/mem.h"

struct claims {
    pthread_mutex_t lock;
    int64_t rows[CLAIM_WORKERS_MAX]; /* 0 = nothing in hand */
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

bool claims_take(struct claims *c, unsigned worker, int64_t row)
{
    assert(worker < CLAIM_WORKERS_MAX && row > 0);
    bool free_row = true;
    pthread_mutex_lock(&c->lock);
    for (unsigned i = 0; i < CLAIM_WORKERS_MAX; i++)
        free_row = free_row && c->rows[i] != row;
    if (free_row)
        c->rows[worker] = row;
    pthread_mutex_unlock(&c->lock);
    return free_row;
}

void claims_drop(struct claims *c, unsigned worker)
{
    pthread_mutex_lock(&c->lock);
    c->rows[worker] = 0;
    pthread_mutex_unlock(&c->lock);
}
