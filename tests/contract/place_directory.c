/* A folder on a file system of its own when the test may mount one, else with the marker file. */

#include "storage_place.h"

#include <dirent.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <signal.h>

#include "base/fsutil.h"
#include "storage/directory.h"

struct place {
    char path[64], away[80];
    int fd;
    struct directory_config config;
};

static int open_place(void **ret, struct storage **storage, char *why UNUSED,
                      size_t why_size UNUSED)
{
    struct place *p = xcalloc(1, sizeof(*p));
    p->fd = test_folder_new(p->path);
    (void)snprintf(p->away, sizeof(p->away), "%s-away", p->path);
    p->config = (struct directory_config){
        .path = p->path, .prefix = "kept/here", .marker = DIRECTORY_MARKER};
    struct err e = {0};
    assert_int_equal(directory_mark(&p->config, &e), 0);
    assert_int_equal(directory_open(&p->config, "directory:nas", storage, &e), 0);
    *ret = p;
    return 0;
}

static void close_place(void *place)
{
    struct place *p = place;
    test_folder_remove(p->path, p->fd);
    free(p);
}

static struct storage *reopen_place(void *place)
{
    struct place *p = place;
    struct storage *s = NULL;
    struct err e = {0};
    assert_int_equal(directory_open(&p->config, "directory:nas", &s, &e), 0);
    return s;
}

static int counted;

static int count_one(const char *path, const struct stat *st UNUSED, int kind,
                     struct FTW *ftw UNUSED)
{
    counted += kind == FTW_F && !text_ends_with(path, "/" DIRECTORY_MARKER);
    return 0;
}

static int count(void *place)
{
    struct place *p = place;
    counted = 0;
    assert_int_equal(nftw(p->path, count_one, 16, FTW_PHYS), 0);
    return counted;
}

static struct blob *get(void *place, const struct storage_mark *mark)
{
    struct place *p = place;
    struct blob *b = NULL;
    return fs_read_blob(p->fd, mark->id, 64 << 20, &b, NULL) == 0 ? b : NULL;
}

static void lose(void *place, const struct storage_mark *mark)
{
    struct place *p = place;
    assert_int_equal(unlinkat(p->fd, mark->id, 0), 0);
}

static void spoil(void *place, const struct storage_mark *mark)
{
    struct place *p = place;
    char byte;
    int fd = openat(p->fd, mark->id, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, 0), 1);
    byte = (char)(byte ^ 1);
    assert_int_equal(pwrite(fd, &byte, 1, 0), 1);
    assert_int_equal(close(fd), 0);
}

static void occupy(void *place, const struct storage_mark *mark)
{
    struct place *p = place;
    char folder[STORAGE_ID_MAX];
    struct err e = {0};
    (void)snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(mark->id, '/') - mark->id),
                   mark->id);
    assert_int_equal(fs_mkdirs(p->fd, folder, 0700, &e), 0);
    assert_int_equal(fs_replace(p->fd, mark->id, "somebody else's", 15, 0600, &e), 0);
}

/* No file gets longer than this: what a quota does, in the middle of the bytes. */
static void cut(void *place UNUSED, bool on)
{
    struct rlimit limit;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = on ? 1000 : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void away(void *place, bool on)
{
    struct place *p = place;
    assert_int_equal(on ? rename(p->path, p->away) : rename(p->away, p->path), 0);
}

const struct storage_place directory_place = {
    .name = "directory",
    .open = open_place,
    .close = close_place,
    .reopen = reopen_place,
    .count = count,
    .get = get,
    .lose = lose,
    .spoil = spoil,
    .cut = cut,
    .away = away,
    .occupy = occupy,
};
