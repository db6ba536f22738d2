#include "ftp/ftp_guard.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "base/mem.h"
#include "sys/hash.h"

/* Failures are counted in slices of a minute and not one by one: seven slices of ten seconds cover
 * any sixty seconds whole, so that never more than failures_max fall into a minute; an address may
 * have to wait up to ten seconds longer than it must. */
enum { SLICES = 7 };
#define SLICE_US (10 * INT64_C(1000000))
#define KNOWN_US (24 * 3600 * INT64_C(1000000))
/* After so long without a failure the next ban is a first one again. */
#define FORGIVEN_US (3600 * INT64_C(1000000))

/* Which list an address is in. What has a session, or a password under examination, is never
 * forgotten: its end must be counted. */
enum kind { ACTIVE, STRANGER, KNOWN, KINDS };

struct address {
    uint8_t bytes[16];
    struct address *next_in_bucket;
    struct address *newer, *older; /* in its list */
    enum kind kind;
    bool known; /* also while ACTIVE */
    bool looking;
    int sessions;
    struct mono_time known_until;
    struct mono_time banned_until;
    struct mono_time failed_at; /* last time */
    int bans;                   /* in a row */
    uint16_t failures[SLICES];
    int64_t slice; /* number of the newest one */
};

struct list {
    struct address *newest, *oldest;
    int count;
};

/* Twice as many as quiet addresses; chains stay short with all sessions of one address each, too.
 */
#define BUCKETS 8192

struct ftp_guard {
    struct ftp_guard_limits limits;
    int sessions;
    int strangers; /* sessions of addresses that are not known */
    struct list lists[KINDS];
    uint8_t key[16]; /* nobody shall choose addresses that fall into one bucket */
    struct address *buckets[BUCKETS];
};

const char *const ftp_guard_answer_names[FTP_GUARD_ANSWER_COUNT] = {
    [FTP_GUARD_WELCOME] = "welcome",
    [FTP_GUARD_FULL] = "full",
    [FTP_GUARD_TOO_MANY] = "too_many",
    [FTP_GUARD_BANNED] = "banned",
};

static struct address *find(const struct ftp_guard *g, const struct sockaddr *from);
static struct address *find_or_add(struct ftp_guard *g, const struct sockaddr *from);
static void sort_in(struct ftp_guard *g, struct address *a);
static void set_known(struct ftp_guard *g, struct address *a, bool known);
static void look_at_clock(struct ftp_guard *g, struct address *a, struct mono_time now);
static int count_failures(struct address *a, struct mono_time now, int more);
static bool before(struct mono_time a, struct mono_time b);

struct ftp_guard *ftp_guard_new(const struct ftp_guard_limits *l)
{
    struct ftp_guard *g = xcalloc(1, sizeof(*g));
    hash_random(g->key, sizeof(g->key));
    ftp_guard_set_limits(g, l);
    return g;
}

void ftp_guard_free(struct ftp_guard *g)
{
    if (!g)
        return;
    for (int kind = 0; kind < KINDS; kind++) {
        struct address *next;
        for (struct address *a = g->lists[kind].oldest; a; a = next) {
            next = a->newer;
            free(a);
        }
    }
    free(g);
}

void ftp_guard_set_limits(struct ftp_guard *g, const struct ftp_guard_limits *l)
{
    assert(l->sessions_max > 0 && l->sessions_per_address > 0 && l->failures_max > 0);
    assert(l->failures_max < UINT16_MAX && l->ban_ms > 0);
    g->limits = *l;
}

enum ftp_guard_answer ftp_guard_enter(struct ftp_guard *g, const struct sockaddr *from,
                                      struct mono_time now)
{
    const struct ftp_guard_limits *l = &g->limits;
    struct address *a = find(g, from);
    if (a)
        look_at_clock(g, a, now);
    if (a && before(now, a->banned_until))
        return FTP_GUARD_BANNED;
    if (a && a->sessions >= l->sessions_per_address)
        return FTP_GUARD_TOO_MANY;
    bool known = a && a->known;
    if (g->sessions >= l->sessions_max ||
        (!known && g->strangers >= l->sessions_max - l->sessions_known))
        return FTP_GUARD_FULL;
    if (!a)
        a = find_or_add(g, from);
    a->sessions++;
    g->sessions++;
    g->strangers += !known;
    sort_in(g, a);
    return FTP_GUARD_WELCOME;
}

void ftp_guard_leave(struct ftp_guard *g, const struct sockaddr *from, struct mono_time now)
{
    struct address *a = find(g, from);
    assert(a && a->sessions > 0 && g->sessions > 0);
    look_at_clock(g, a, now);
    a->sessions--;
    g->sessions--;
    g->strangers -= !a->known;
    assert(g->strangers >= 0);
    sort_in(g, a);
}

bool ftp_guard_is_banned(struct ftp_guard *g, const struct sockaddr *from, struct mono_time now)
{
    const struct address *a = find(g, from);
    return a && before(now, a->banned_until);
}

static int64_t ban_ms(const struct ftp_guard *g, const struct address *a)
{
    int64_t growth = 1;
    for (int i = 1; i < a->bans && growth < FTP_GUARD_GROWTH_MAX && !a->known; i++)
        growth *= 2;
    return g->limits.ban_ms * growth;
}

int64_t ftp_guard_failed(struct ftp_guard *g, const struct sockaddr *from, struct mono_time now)
{
    struct address *a = find_or_add(g, from);
    look_at_clock(g, a, now);
    if (a->bans && mono_diff_us(now, a->failed_at) > FORGIVEN_US + ban_ms(g, a) * 1000)
        a->bans = 0;
    a->failed_at = now;
    int failures = count_failures(a, now, 1);
    /* An attempt that was under way when the ban began makes it no longer. */
    if (failures >= g->limits.failures_max && !before(now, a->banned_until)) {
        a->bans++;
        a->banned_until = mono_add_ms(now, ban_ms(g, a));
    }
    sort_in(g, a);
    return FTP_GUARD_DELAY_MS;
}

void ftp_guard_succeeded(struct ftp_guard *g, const struct sockaddr *from, struct mono_time now)
{
    struct address *a = find_or_add(g, from);
    set_known(g, a, true);
    a->known_until = (struct mono_time){now.us + KNOWN_US};
    sort_in(g, a);
}

bool ftp_guard_knows(struct ftp_guard *g, const struct sockaddr *from, struct mono_time now)
{
    struct address *a = find(g, from);
    if (a)
        look_at_clock(g, a, now);
    return a && a->known;
}

bool ftp_guard_look(struct ftp_guard *g, const struct sockaddr *from)
{
    struct address *a = find_or_add(g, from);
    if (a->looking)
        return false;
    a->looking = true;
    sort_in(g, a);
    return true;
}

void ftp_guard_looked(struct ftp_guard *g, const struct sockaddr *from)
{
    struct address *a = find(g, from);
    assert(a && a->looking);
    a->looking = false;
    sort_in(g, a);
}

int ftp_guard_sessions(const struct ftp_guard *g)
{
    return g->sessions;
}

int ftp_guard_banned(const struct ftp_guard *g, struct mono_time now)
{
    int count = 0;
    for (int kind = 0; kind < KINDS; kind++)
        for (const struct address *a = g->lists[kind].oldest; a; a = a->newer)
            count += before(now, a->banned_until);
    return count;
}

int ftp_guard_addresses(const struct ftp_guard *g)
{
    int count = 0;
    for (int kind = 0; kind < KINDS; kind++)
        count += g->lists[kind].count;
    return count;
}

/* ---- one address ---- */

static bool before(struct mono_time a, struct mono_time b)
{
    return a.us < b.us;
}

static void set_known(struct ftp_guard *g, struct address *a, bool known)
{
    if (a->known == known)
        return;
    a->known = known;
    g->strangers += known ? -a->sessions : a->sessions;
}

/* Whose session lives on is known for another day from its end, however long it lived. */
static void look_at_clock(struct ftp_guard *g, struct address *a, struct mono_time now)
{
    if (a->known && a->sessions > 0)
        a->known_until = (struct mono_time){now.us + KNOWN_US};
    if (a->known && !before(now, a->known_until))
        set_known(g, a, false);
}

/* Failures of the last minute, with `more` of them now. */
static int count_failures(struct address *a, struct mono_time now, int more)
{
    int64_t slice = now.us / SLICE_US;
    for (int64_t s = MAX(a->slice + 1, slice - SLICES + 1); s <= slice; s++)
        a->failures[s % SLICES] = 0;
    a->slice = slice;
    uint16_t *newest = &a->failures[slice % SLICES];
    *newest = (uint16_t)MIN(*newest + more, UINT16_MAX);
    int sum = 0;
    for (int i = 0; i < SLICES; i++)
        sum += a->failures[i];
    return sum;
}

/* ---- the table ---- */

static void key_of(const struct sockaddr *from, uint8_t ret[static 16])
{
    memset(ret, 0, 16);
    if (from->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, from, sizeof(v4));
        ret[10] = ret[11] = 0xff;
        memcpy(ret + 12, &v4.sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, from, sizeof(v6));
        memcpy(ret, &v6.sin6_addr, IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) ? 16 : 8);
    } /* else a local socket: they all count as one */
}

bool ftp_guard_is_same(const struct sockaddr *a, const struct sockaddr *b)
{
    uint8_t x[16], y[16];
    key_of(a, x);
    key_of(b, y);
    return memcmp(x, y, sizeof(x)) == 0;
}

static size_t bucket_of(const struct ftp_guard *g, const uint8_t bytes[static 16])
{
    uint8_t both[32];
    memcpy(both, g->key, 16);
    memcpy(both + 16, bytes, 16);
    return hash_64(both, sizeof(both)) % BUCKETS;
}

static struct address *find(const struct ftp_guard *g, const struct sockaddr *from)
{
    uint8_t bytes[16];
    key_of(from, bytes);
    for (struct address *a = g->buckets[bucket_of(g, bytes)]; a; a = a->next_in_bucket)
        if (memcmp(a->bytes, bytes, sizeof(bytes)) == 0)
            return a;
    return NULL;
}

static void list_add(struct list *l, struct address *a)
{
    a->newer = NULL;
    a->older = l->newest;
    if (l->newest)
        l->newest->newer = a;
    else
        l->oldest = a;
    l->newest = a;
    l->count++;
}

static void list_remove(struct list *l, struct address *a)
{
    if (a->newer)
        a->newer->older = a->older;
    else
        l->newest = a->older;
    if (a->older)
        a->older->newer = a->newer;
    else
        l->oldest = a->newer;
    l->count--;
}

static void forget(struct ftp_guard *g, struct address *a)
{
    assert(a->sessions == 0 && !a->looking);
    struct address **p = &g->buckets[bucket_of(g, a->bytes)];
    while (*p != a)
        p = &(*p)->next_in_bucket;
    *p = a->next_in_bucket;
    list_remove(&g->lists[a->kind], a);
    free(a);
}

static struct address *find_or_add(struct ftp_guard *g, const struct sockaddr *from)
{
    struct address *a = find(g, from);
    if (a)
        return a;
    a = xcalloc(1, sizeof(*a));
    key_of(from, a->bytes);
    a->kind = STRANGER;
    list_add(&g->lists[STRANGER], a);
    struct address **bucket = &g->buckets[bucket_of(g, a->bytes)];
    a->next_in_bucket = *bucket;
    *bucket = a;
    return a;
}

/* Puts it at the new end of the list that it belongs to now, and forgets whom there is no room for.
 */
static void sort_in(struct ftp_guard *g, struct address *a)
{
    list_remove(&g->lists[a->kind], a);
    a->kind = a->sessions > 0 || a->looking ? ACTIVE : a->known ? KNOWN : STRANGER;
    struct list *l = &g->lists[a->kind];
    list_add(l, a);
    if (a->kind != ACTIVE && l->count > FTP_GUARD_QUIET_MAX)
        forget(g, l->oldest);
}
