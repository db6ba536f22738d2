#include "base/blob.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct owned_blob {
    struct blob public;
    atomic_uint refs;
    void (*release)(void *arg);
    void *arg;
};

static atomic_size_t live;

struct blob *blob_new_hook(const void *data, size_t size, void (*release)(void *arg), void *arg)
{
    struct owned_blob *b = xmalloc(sizeof(*b));
    *b = (struct owned_blob){
        .public = {.data = data, .size = size}, .refs = 1, .release = release, .arg = arg};
    atomic_fetch_add(&live, 1);
    return &b->public;
}

struct blob *blob_new_take(void *data, size_t size)
{
    return blob_new_hook(data, size, free, data);
}

struct blob *blob_new_copy(const void *data, size_t size)
{
    void *copy = mem_try_alloc(size, 1, SIZE_MAX);
    if (!copy)
        return NULL;
    if (size)
        memcpy(copy, data, size);
    return blob_new_take(copy, size);
}

struct blob *blob_ref(struct blob *b)
{
    if (b)
        atomic_fetch_add(&container_of(b, struct owned_blob, public)->refs, 1);
    return b;
}

void blob_unref(struct blob *b)
{
    if (!b)
        return;
    struct owned_blob *o = container_of(b, struct owned_blob, public);
    if (atomic_fetch_sub(&o->refs, 1) != 1)
        return;
    if (o->release)
        o->release(o->arg);
    free(o);
    atomic_fetch_sub(&live, 1);
}

size_t blob_live_count(void)
{
    return atomic_load(&live);
}
