#include "ftp/ftp_recent.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "ftp/ftp_path.h"

struct ftp_recent_item {
    struct ftp_recent_item *older;
    struct ftp_mark mark;
    char path[];
};

/* The link that points to the item, or to NULL. */
static struct ftp_recent_item **link_to(struct ftp_recent *r, const char *path)
{
    struct ftp_recent_item **link = &r->newest;
    while (*link && strcmp((*link)->path, path) != 0)
        link = &(*link)->older;
    return link;
}

static struct ftp_recent_item *item_of(const struct ftp_recent *r, const char *path)
{
    struct ftp_recent_item *item = r->newest;
    while (item && strcmp(item->path, path) != 0)
        item = item->older;
    return item;
}

static void drop(struct ftp_recent_item **link)
{
    struct ftp_recent_item *item = *link;
    *link = item->older;
    free(item);
}

static struct ftp_recent_item *item_new(const char *path)
{
    size_t size = strlen(path) + 1;
    struct ftp_recent_item *item = xmalloc(sizeof(*item) + size);
    *item = (struct ftp_recent_item){0};
    memcpy(item->path, path, size);
    return item;
}

void ftp_recent_clear(struct ftp_recent *r)
{
    while (r->newest)
        drop(&r->newest);
}

void ftp_recent_add(struct ftp_recent *r, const char *path, const struct ftp_file *file)
{
    ftp_recent_remove(r, path);
    struct ftp_recent_item *item = item_new(path);
    item->older = r->newest;
    item->mark = ftp_mark_of(file);
    r->newest = item;

    struct ftp_recent_item **link = &r->newest;
    for (int n = 0; n < FTP_RECENT_MAX && *link; n++)
        link = &(*link)->older;
    if (*link)
        drop(link);
}

static void describe(const struct ftp_recent_item *item, struct ftp_file *ret)
{
    const struct ftp_mark *m = &item->mark;
    *ret = (struct ftp_file){.folder = m->folder, .size = m->size, .modified = m->modified};
    const char *slash = strrchr(item->path, '/');
    (void)text_copy(ret->name, sizeof(ret->name), slash ? slash + 1 : ""); /* a part fits */
}

bool ftp_recent_find(const struct ftp_recent *r, const char *path, struct ftp_file *ret)
{
    const struct ftp_recent_item *item = item_of(r, path);
    if (item)
        describe(item, ret);
    return item != NULL;
}

/* "/a/b" is right in "/a", and `/a/b` itself is listed as `ls` does with a file. */
static bool is_listed(const char *path, const char *folder)
{
    size_t len = folder[1] ? strlen(folder) : 0; /* of "/" the path begins with the slash */
    if (strncmp(path, folder, len) != 0)
        return false;
    return path[len] == '\0' || (path[len] == '/' && !strchr(path + len + 1, '/'));
}

bool ftp_recent_file_of(const struct ftp_recent *r, const char *folder, size_t n,
                        struct ftp_file *ret)
{
    for (const struct ftp_recent_item *item = r->newest; item; item = item->older) {
        if (item->mark.folder || !is_listed(item->path, folder) || n-- > 0)
            continue;
        describe(item, ret);
        return true;
    }
    return false;
}

bool ftp_recent_has(const struct ftp_recent *r, const char *path)
{
    return item_of(r, path) != NULL;
}

struct ftp_mark ftp_recent_mark(const struct ftp_recent *r, const char *path)
{
    const struct ftp_recent_item *item = item_of(r, path);
    return item ? item->mark : (struct ftp_mark){0};
}

void ftp_recent_remove(struct ftp_recent *r, const char *path)
{
    struct ftp_recent_item **link = link_to(r, path);
    if (*link)
        drop(link);
}

void ftp_recent_rename(struct ftp_recent *r, const char *from, const char *to)
{
    if (strcmp(from, to) == 0)
        return;
    ftp_recent_remove(r, to); /* it was written over */
    size_t len = strlen(from);
    for (struct ftp_recent_item **link = &r->newest; *link; link = &(*link)->older) {
        struct ftp_recent_item *old = *link;
        if (strncmp(old->path, from, len) != 0 || (old->path[len] && old->path[len] != '/'))
            continue;
        char moved[FTP_PATH_MAX];
        if (text_format(moved, sizeof(moved), "%s%s", to, old->path + len) < 0)
            moved[0] = '\0'; /* too long to be asked for by a path: nobody finds it */
        struct ftp_recent_item *item = item_new(moved);
        item->older = old->older;
        item->mark = old->mark;
        *link = item;
        free(old);
    }
}

void ftp_recent_set_modified(struct ftp_recent *r, const char *path, struct wall_time t)
{
    struct ftp_recent_item *item = item_of(r, path);
    if (item)
        item->mark.modified = t;
}
