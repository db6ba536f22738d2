/* A storage that keeps pictures in memory: the smallest one that obeys the contract, and a false
 * one for tests of those who use storages. */

#include "storage_place.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>

#include "storage/storage.h"

#define KEPT_MAX 256

struct kept {
    char id[STORAGE_ID_MAX];
    struct blob *bytes;
};

struct place {
    pthread_mutex_t lock;
    struct kept kept[KEPT_MAX];
    int count;
    bool cut, away;
};

struct memory_storage {
    struct storage storage;
    struct place *place;
};
struct storage_session {
    struct place *place;
    int stop_fd;
};

static int session_new(struct storage *s, int stop_fd, const struct storage_memory *memory UNUSED,
                       struct storage_session **ret, struct err *e UNUSED)
{
    struct storage_session *w = xcalloc(1, sizeof(*w));
    *w = (struct storage_session){container_of(s, struct memory_storage, storage)->place, stop_fd};
    *ret = w;
    return 0;
}

static void session_free(struct storage_session *w)
{
    free(w);
}

static int reserve(struct storage_session *w UNUSED, const struct storage_object *objects,
                   struct storage_mark *marks, int count, struct storage_failure *f UNUSED,
                   struct err *e UNUSED)
{
    for (int i = 0; i < count; i++) {
        marks[i] = (struct storage_mark){0};
        (void)text_format(marks[i].id, sizeof(marks[i].id), "%s%s", objects[i].snapshot_id,
                          objects[i].annotated ? "+" : ""); /* fits */
    }
    return 0;
}

static struct kept *find(struct place *p, const char *id)
{
    for (int i = 0; i < p->count; i++)
        if (strcmp(p->kept[i].id, id) == 0)
            return &p->kept[i];
    return NULL;
}

static int refuse(struct storage_session *w, struct storage_failure *f, struct err *e)
{
    struct pollfd poll_stop = {.fd = w->stop_fd, .events = POLLIN};
    if (w->stop_fd >= 0 && poll(&poll_stop, 1, 0) > 0)
        return err_set(e, -ECANCELED, ERR_LATER, "stopped");
    if (!w->place->away && !w->place->cut)
        return 0;
    f->trouble = STORAGE_AWAY;
    return err_set(e, -EIO, ERR_LATER, w->place->away ? "away" : "cut in the middle");
}

static int put(struct storage_session *w, const struct storage_object *o, struct storage_mark *mark,
               int (*save)(void *arg, const struct storage_mark *mark, struct err *e), void *arg,
               struct storage_failure *f, struct err *e)
{
    struct place *p = w->place;
    *f = (struct storage_failure){0};
    int r = refuse(w, f, e);
    if (r == 0)
        r = save(arg, mark, e);
    if (r < 0)
        return r;
    pthread_mutex_lock(&p->lock);
    struct kept *k = find(p, mark->id);
    if (k == NULL) {
        assert(p->count < KEPT_MAX);
        k = &p->kept[p->count++];
        (void)text_copy(k->id, sizeof(k->id), mark->id); /* of one size */
    }
    blob_unref(k->bytes);
    k->bytes = blob_ref(o->bytes);
    pthread_mutex_unlock(&p->lock);
    return 0;
}

static const char *md5_of(const struct blob *b, char ret[HASH_MD5_HEX])
{
    hash_md5_hex(b->data, b->size, ret);
    return ret;
}

static int verify(struct storage_session *w, const struct storage_object *o,
                  const struct storage_mark *mark, struct storage_failure *f, struct err *e)
{
    *f = (struct storage_failure){0};
    int r = refuse(w, f, e);
    char md5[HASH_MD5_HEX];
    if (r < 0)
        return r;
    pthread_mutex_lock(&w->place->lock);
    const struct kept *k = find(w->place, mark->id);
    if (k == NULL)
        r = err_set(e, -ENOENT, ERR_NEVER, "gone");
    else if (strcmp(md5_of(k->bytes, md5), o->md5) != 0)
        r = err_set(e, -EBADMSG, ERR_NEVER, "other bytes");
    pthread_mutex_unlock(&w->place->lock);
    return r;
}

static void describe(struct storage *s UNUSED, struct storage_state *ret)
{
    *ret = (struct storage_state){.text = "memory"};
}

static void storage_free(struct storage *s)
{
    free(container_of(s, struct memory_storage, storage));
}

static const struct storage_ops memory_ops = {
    .kind = "memory",
    .session_new = session_new,
    .session_free = session_free,
    .reserve = reserve,
    .put = put,
    .verify = verify,
    .describe = describe,
    .free = storage_free,
};

static struct storage *reopen_place(void *place)
{
    struct memory_storage *m = xcalloc(1, sizeof(*m));
    *m = (struct memory_storage){{&memory_ops, "memory"}, place};
    return &m->storage;
}

static int open_place(void **ret, struct storage **storage, char *why UNUSED,
                      size_t why_size UNUSED)
{
    struct place *p = xcalloc(1, sizeof(*p));
    pthread_mutex_init(&p->lock, NULL);
    *storage = reopen_place(p);
    *ret = p;
    return 0;
}

static void close_place(void *place)
{
    struct place *p = place;
    for (int i = 0; i < p->count; i++)
        blob_unref(p->kept[i].bytes);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static int count(void *place)
{
    return ((struct place *)place)->count;
}

static struct blob *get(void *place, const struct storage_mark *mark)
{
    const struct kept *k = find(place, mark->id);
    return k != NULL ? blob_ref(k->bytes) : NULL;
}

static void lose(void *place, const struct storage_mark *mark)
{
    struct place *p = place;
    struct kept *k = find(p, mark->id);
    blob_unref(k->bytes);
    *k = p->kept[--p->count];
    p->kept[p->count].bytes = NULL;
}

static void spoil(void *place, const struct storage_mark *mark)
{
    struct kept *k = find(place, mark->id);
    char *bytes = xmemdup(k->bytes->data, k->bytes->size);
    bytes[0] = (char)(bytes[0] ^ 1);
    size_t size = k->bytes->size;
    blob_unref(k->bytes);
    k->bytes = blob_new_take(bytes, size);
}

static void cut(void *place, bool on)
{
    ((struct place *)place)->cut = on;
}

static void away(void *place, bool on)
{
    ((struct place *)place)->away = on;
}

const struct storage_place memory_place = {
    .name = "memory",
    .open = open_place,
    .close = close_place,
    .reopen = reopen_place,
    .count = count,
    .get = get,
    .lose = lose,
    .spoil = spoil,
    .cut = cut,
    .away = away,
    .one_name_many = true,
};
