#include "ftp/ftp_fresh.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

/* More than so many that failed mean a broken disk, not a bad moment. */
#define DOUBTFUL_MAX 64

struct ftp_fresh {
    struct ftp_fresh *next;
    bool doubtful;
    char *root, *path;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct ftp_fresh *first;
    int doubtful;
    atomic_int count; /* of the list: nearly always 0, and then nobody takes the lock */
} fresh = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct ftp_fresh *find_above(const char *root, const char *path);

struct ftp_fresh *ftp_fresh_begin(const char *root, const char *path)
{
    struct ftp_fresh *f = NULL;
    (void)pthread_mutex_lock(&fresh.lock);
    if (fresh.doubtful < DOUBTFUL_MAX) {
        f = xcalloc(1, sizeof(*f));
        *f = (struct ftp_fresh){fresh.first, false, xstrdup(root), xstrdup(path)};
        fresh.first = f;
        (void)atomic_fetch_add(&fresh.count, 1);
    }
    (void)pthread_mutex_unlock(&fresh.lock);
    return f;
}

void ftp_fresh_safe(struct ftp_fresh *f)
{
    (void)pthread_mutex_lock(&fresh.lock);
    struct ftp_fresh **at = &fresh.first;
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    (void)atomic_fetch_sub(&fresh.count, 1);
    (void)pthread_cond_broadcast(&fresh.changed);
    (void)pthread_mutex_unlock(&fresh.lock);
    free(f->root);
    free(f->path);
    free(f);
}

void ftp_fresh_doubtful(struct ftp_fresh *f)
{
    (void)pthread_mutex_lock(&fresh.lock);
    f->doubtful = true;
    fresh.doubtful++;
    (void)pthread_cond_broadcast(&fresh.changed);
    (void)pthread_mutex_unlock(&fresh.lock);
}

int ftp_fresh_wait(const char *root, const char *path)
{
    if (atomic_load(&fresh.count) == 0)
        return 0;
    (void)pthread_mutex_lock(&fresh.lock);
    const struct ftp_fresh *f = find_above(root, path);
    while (f != NULL && !f->doubtful) {
        (void)pthread_cond_wait(&fresh.changed, &fresh.lock);
        f = find_above(root, path);
    }
    (void)pthread_mutex_unlock(&fresh.lock);
    return f != NULL ? -EIO : 0;
}

/* A folder of the list that is `path` or above it. */
static struct ftp_fresh *find_above(const char *root, const char *path)
{
    for (struct ftp_fresh *f = fresh.first; f != NULL; f = f->next) {
        size_t len = strlen(f->path);
        if (strcmp(root, f->root) == 0 && strncmp(path, f->path, len) == 0 &&
            (path[len] == '\0' || path[len] == '/'))
            return f;
    }
    return NULL;
}
