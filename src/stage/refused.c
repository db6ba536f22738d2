#include "stage/refused.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#define MODE_FOLDER 0700

struct kept {
    char name[NAME_MAX + 1];
    int64_t size, since_us;
};

static int trim(int fd, const struct spool_rules *rules, struct ledger *l);

bool refused_has_room(const struct push_file *f, const struct spool_rules *rules)
{
    return rules->refused_max > 0 && f->is.size <= rules->refused_size;
}

int refused_take(const char *root, const char *camera, const struct push_file *f, const char *id,
                 const struct spool_rules *rules, struct ledger *l, struct err *e)
{
    if (!refused_has_room(f, rules))
        return err_set(e, -EFBIG, ERR_NEVER, "too large to be kept in %s", root);
    AUTO_FREE char *folder = xasprintf("%s/%s", root, camera);
    AUTO_CLOSE int fd = -1;
    int r = fs_mkdirs(AT_FDCWD, folder, MODE_FOLDER, e);
    if (r == 0)
        r = fs_open_dir(AT_FDCWD, folder, &fd, e);
    if (r < 0)
        return r;
    char safe[NAME_MAX + 1], name[2 * NAME_MAX];
    r = snapshot_name_pushed(f->name, 1, safe, sizeof(safe));
    if (r < 0)
        return err_set(e, r, ERR_NEVER, "its name is too long");
    (void)text_format(name, sizeof(name), "%s-%s", id, safe); /* fits, and a pushed name is short */
    r = push_file_move(f, fd, name, e);
    if (r == 0)
        (void)trim(fd, rules, l); /* what is too much now goes with the next one */
    return r;
}

int refused_clean(const char *root, const struct spool_rules *rules, struct ledger *l,
                  struct err *e)
{
    DIR *dir = opendir(root);
    if (!dir)
        return errno == ENOENT ? 0 : err_errno(e, -errno, "open folder %s", root);
    const struct dirent *entry;
    int count = 0;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        AUTO_CLOSE int fd =
            openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0)
            count += trim(fd, rules, l);
    }
    (void)closedir(dir); /* read only */
    return count;
}

/* ---- one folder ---- */

static int newest_first(const void *a, const void *b)
{
    const struct kept *x = a, *y = b;
    return x->since_us < y->since_us   ? 1
           : x->since_us > y->since_us ? -1
                                       : strcmp(y->name, x->name);
}

/* NULL and 0 when there are none. */
static struct kept *list(int fd, size_t *ret_count)
{
    struct kept *files = NULL;
    size_t count = 0, room = 0;
    AUTO_CLOSE int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    *ret_count = 0;
    if (!dir)
        return NULL;
    (void)STEAL_FD(copy); /* closedir() closes it */
    rewinddir(dir);       /* the position is shared with `fd` */
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        struct stat st;
        if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
            continue;
        if (count == room) {
            room = room ? room * 2 : 16;
            files = xrealloc(files, room * sizeof(*files));
        }
        files[count] =
            (struct kept){.size = st.st_size,
                          .since_us = st.st_ctim.tv_sec * 1000000 + st.st_ctim.tv_nsec / 1000};
        (void)text_copy(files[count++].name, sizeof(files->name), entry->d_name); /* fits */
    }
    (void)closedir(dir); /* read only */
    *ret_count = count;
    return files;
}

static void drop(int fd, const char *name, struct ledger *l)
{
    char id[SNAPSHOT_ID_SIZE];
    struct err e = {0};
    if (unlinkat(fd, name, 0) < 0)
        return;
    (void)text_copy(id, sizeof(id), name); /* cut on purpose: the name begins with it */
    if (snapshot_id_valid(id) && ledger_note_drop(l, id, &e) < 0)
        log_warn("ledger-failed", "forget a refused file: %s", e.text);
}

/* The newest stays in any case: who looks for it has just read of it. */
static int trim(int fd, const struct spool_rules *rules, struct ledger *l)
{
    size_t count = 0;
    AUTO_FREE struct kept *files = list(fd, &count);
    if (count)
        qsort(files, count, sizeof(*files), newest_first);
    int64_t bytes = 0, oldest_us = clock_wall().us - rules->refused_age_ms * 1000;
    int dropped = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += files[i].size;
        bool old = files[i].since_us < oldest_us;
        bool much = (int64_t)i >= rules->refused_max || bytes > rules->refused_size;
        if (!old && (!much || i == 0))
            continue;
        drop(fd, files[i].name, l);
        dropped++;
    }
    return dropped;
}
