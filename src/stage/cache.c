#include "stage/cache.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

/* A list in order of use. The number of entries is small (a 64 MB cache of 200 kB pictures has
 * 320), so a walk is cheaper than it looks and needs no second structure; the cap keeps it so for
 * tiny pictures. */
#define ENTRIES_MAX 1024

struct entry {
    char id[SNAPSHOT_ID_SIZE];
    struct blob *bytes;
    struct entry *newer, *older;
};

struct picture_cache {
    pthread_mutex_t lock;
    struct entry *newest, *oldest;
    size_t bytes, bytes_max, count;
};

struct picture_cache *picture_cache_new(size_t bytes_max)
{
    struct picture_cache *c = xcalloc(1, sizeof(*c));
    pthread_mutex_init(&c->lock, NULL);
    c->bytes_max = bytes_max;
    return c;
}

static void unlink_entry(struct picture_cache *c, struct entry *en)
{
    *(en->newer ? &en->newer->older : &c->newest) = en->older;
    *(en->older ? &en->older->newer : &c->oldest) = en->newer;
    en->newer = en->older = NULL;
}

static void push_newest(struct picture_cache *c, struct entry *en)
{
    en->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = en;
    c->newest = en;
}

static void drop(struct picture_cache *c, struct entry *en)
{
    unlink_entry(c, en);
    c->bytes -= en->bytes->size;
    c->count--;
    blob_unref(en->bytes);
    free(en);
}

static struct entry *find(struct picture_cache *c, const char *id)
{
    struct entry *en = c->newest;
    while (en && strcmp(en->id, id) != 0)
        en = en->older;
    return en;
}

void picture_cache_free(struct picture_cache *c)
{
    if (!c)
        return;
    while (c->oldest)
        drop(c, c->oldest);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void picture_cache_put(struct picture_cache *c, const char *id, struct blob *bytes)
{
    if (bytes->size > c->bytes_max)
        return;
    pthread_mutex_lock(&c->lock);
    struct entry *en = find(c, id);
    if (en)
        drop(c, en);
    while (c->oldest && (c->bytes + bytes->size > c->bytes_max || c->count >= ENTRIES_MAX))
        drop(c, c->oldest);
    en = xcalloc(1, sizeof(*en));
    text_copy(en->id, sizeof(en->id), id);
    en->bytes = blob_ref(bytes);
    push_newest(c, en);
    c->bytes += bytes->size;
    c->count++;
    pthread_mutex_unlock(&c->lock);
}

struct blob *picture_cache_get(struct picture_cache *c, const char *id)
{
    pthread_mutex_lock(&c->lock);
    struct entry *en = find(c, id);
    struct blob *bytes = NULL;
    if (en) {
        unlink_entry(c, en);
        push_newest(c, en);
        bytes = blob_ref(en->bytes);
    }
    pthread_mutex_unlock(&c->lock);
    return bytes;
}

size_t picture_cache_bytes(struct picture_cache *c)
{
    pthread_mutex_lock(&c->lock);
    size_t bytes = c->bytes;
    pthread_mutex_unlock(&c->lock);
    return bytes;
}
