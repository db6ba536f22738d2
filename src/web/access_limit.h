#pragma once
/* How often somebody may try. Each key (an address, a user's name) has a bucket of tries that fills
 * again with time. A fixed number of keys is remembered: the one nearest to full makes room, so an
 * attacker with many addresses pushes out those that did nothing. One thread. */

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

struct access_limit;

#define ACCESS_LIMIT_KEYS 512

struct access_limit *access_limit_new(int burst, int64_t refill_ms);
void access_limit_free(struct access_limit *l);
DEFINE_AUTO(access_limit, access_limit_free)

/* Takes a try. 0; or the milliseconds until there is one again. */
int64_t access_limit_take(struct access_limit *l, const char *key);
/* It was no guess: this try comes back. Those before do not, or who has a login of his own would
 * guess others' between two of them for ever. */
void access_limit_forgive(struct access_limit *l, const char *key);
