/* A watch against what really is below its root, after thousands of random changes. Every file has
 * a size of its own, so whatever its name is by now, it can be told from all others. */

#include "fixture.h"

#include "watch/watch_internal.h"

#define FILES_MAX 4000
#define FOLDERS 24
#define NAMES 12

struct model {
    struct fixture *f;
    uint64_t seed;
    int files; /* made so far; the n-th has n + 1 bytes */
    /* How often it was told under which last name. */
    uint8_t told[FILES_MAX][NAMES];
    char folders[FOLDERS][64]; /* paths that may be folders, or may have been */
    /* Told again for a good reason: it had another name meanwhile, or was out of the tree. */
    bool again[FILES_MAX];
    bool lossy;
};

static struct model *walker;

static uint32_t below(struct model *m, uint32_t n)
{
    m->seed = m->seed * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(m->seed >> 33) % n;
}

static void take(struct model *m)
{
    struct watch_file *file = &m->f->last;
    while (watch_next(m->f->w, file) == 1) {
        const char *name = strrchr(file->path, '/');
        int n = (name ? name[1] : file->path[0]) - 'a';
        assert_in_range(n, 0, NAMES - 1);
        assert_in_range(file->size, 1, m->files);
        m->told[file->size - 1][n]++;
        if (!m->lossy && !m->again[file->size - 1] && m->told[file->size - 1][n] > 1)
            CASE_FAILS("%s with %lld bytes is told again", file->path, (long long)file->size);
    }
}

static void run(struct model *m, int64_t ms)
{
    int64_t end_us = test_now_us + ms * 1000;
    for (;;) {
        int64_t wait_ms = watch_turn(m->f->w);
        take(m);
        if (wait_ms > 0 && test_now_us >= end_us)
            return;
        test_now_us += MIN(wait_ms * 1000, end_us - test_now_us);
    }
}

static const char *some_folder(struct model *m)
{
    return m->folders[below(m, FOLDERS)];
}

static const char *some_file(struct model *m, char path[96])
{
    (void)snprintf(path, 96, "%s/%c.jpg", some_folder(m), (char)('a' + below(m, NAMES)));
    return path;
}

static int mark_file(const char *path UNUSED, const struct stat *st, int kind,
                     struct FTW *ftw UNUSED)
{
    if (kind == FTW_F)
        walker->again[st->st_size - 1] = true;
    return 0;
}

static void move_and_mark(struct model *m, const char *from, const char *to)
{
    walker = m;
    if (rename(from, to) == 0)
        (void)nftw(to, mark_file, 16, FTW_PHYS);
}

/* Most of these fail, since what they name is not there: that is fine. */
static void change_something(struct model *m)
{
    static const char bytes[FILES_MAX];
    struct fixture *f = m->f;
    char one[96], two[96];
    int fd;
    switch (below(m, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
    case 5:
        if (m->files >= FILES_MAX)
            return;
        /* In place, or by a rename. */
        bool renamed = below(m, 2);
        (void)some_file(m, one);
        fd = open(in_root(f, renamed ? ".new" : one), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                  0644);
        if (fd < 0)
            return;
        m->files++;
        assert_int_equal(write(fd, bytes, (size_t)m->files), m->files);
        assert_int_equal(close(fd), 0);
        if (renamed)
            (void)rename(in_root(f, ".new"), in_root(f, one));
        return;
    case 6:
        (void)unlink(in_root(f, some_file(m, one)));
        return;
    case 7:
    case 8:
        move_and_mark(m, in_root(f, some_file(m, one)), in_root(f, some_file(m, two)));
        return;
    case 9:
    case 10:
    case 11:
        (void)mkdir(in_root(f, some_folder(m)), 0755);
        return;
    case 12:
    case 13:
        (void)rename(in_root(f, some_folder(m)), in_root(f, some_folder(m)));
        return;
    case 14:
        (void)rmdir(in_root(f, some_folder(m)));
        return;
    default:
        /* Out of the tree, and what is there back in. */
        move_and_mark(m, in_root(f, "../out"), in_root(f, some_folder(m)));
        (void)rename(in_root(f, some_folder(m)), in_root(f, "../out"));
    }
}

static int check_file(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    const char *name = path + ftw->base;
    if (kind != FTW_F || name[0] == '.')
        return 0;
    int times = walker->told[st->st_size - 1][name[0] - 'a'];
    if (times < 1)
        CASE_FAILS("%s with %lld bytes was not told", path, (long long)st->st_size);
    return 0;
}

/* The tree that the watch keeps is the one that is there. */
static void check_folders(struct model *m)
{
    struct watch *w = m->f->w;
    int count = 0;
    for (struct folder *f = w->root; f; f = watch_folder_next(f, w->root)) {
        char path[WATCH_PATH_MAX];
        struct stat st;
        assert_int_equal(watch_folder_path(f, "", path), 0);
        if (lstat(in_root(m->f, path), &st) < 0 || st.st_ino != f->inode)
            CASE_FAILS("\"%s\" is not there", path);
        assert_ptr_equal(watch_folder_find(w, path, strlen(path)), f);
        count++;
    }
    assert_int_equal(w->counts.folders, count);
    assert_int_equal(w->heap_size, 0);
    assert_int_equal(w->files.used, 0);
    assert_int_equal(w->names.used, count - 1);
}

static void start(struct model *m, struct fixture *f, uint64_t seed)
{
    *m = (struct model){.f = f, .seed = seed, .folders = {".", "p", "q", "r"}};
    for (int i = 4; i < FOLDERS; i++)
        (void)snprintf(m->folders[i], sizeof(m->folders[i]), "%.40s/%c",
                       m->folders[1 + below(m, (uint32_t)i - 1)], (char)('p' + i % 5));
    (void)mkdir(f->root, 0755);
    struct err e = {0};
    assert_int_equal(watch_new(&f->o, &f->w, &e), 0);
}

static void finish(struct model *m)
{
    struct fixture *f = m->f;
    run(m, LONG_MS);
    walker = m;
    assert_int_equal(nftw(f->root, check_file, 16, FTW_PHYS), 0);
    check_folders(m);
    assert_true(m->files > 200);
    watch_free(f->w);
    f->w = NULL;
    test_folder_remove(f->root, -1);
    char out[100];
    (void)snprintf(out, sizeof(out), "%s/out", f->home);
    if (access(out, F_OK) == 0)
        test_folder_remove(out, -1);
}

static void every_file_is_told_once_under_each_of_its_names(void **state)
{
    struct model *m = xcalloc(1, sizeof(*m));
    for (uint64_t seed = 1; seed <= 5; seed++) {
        start(m, *state, seed);
        for (int i = 0; i < 2500; i++) {
            change_something(m);
            /* Bursts between two readings, and pauses in which something settles. */
            if (below(m, 6) == 0)
                run(m, below(m, 10) == 0 ? below(m, 3000) : below(m, 200));
        }
        finish(m);
    }
    free(m);
}

/* Whatever the kernel had to tell is gone, and only that is known. */
static void lose_events(struct model *m)
{
    struct watch *w = m->f->w;
    while (read(w->fd, w->events, WATCH_EVENTS_SIZE) > 0)
        continue;
    w->rescan_wanted = true;
}

static void no_file_is_lost_with_the_events(void **state)
{
    struct model *m = xcalloc(1, sizeof(*m));
    for (uint64_t seed = 1; seed <= 5; seed++) {
        start(m, *state, seed);
        /* Folders that moved unseen are new ones, so their files may be told again. */
        m->lossy = true;
        for (int i = 0; i < 2500; i++) {
            change_something(m);
            if (below(m, 100) == 0)
                lose_events(m);
            if (below(m, 6) == 0)
                run(m, below(m, 10) == 0 ? below(m, 3000) : below(m, 200));
        }
        finish(m);
    }
    free(m);
}

static void polling_loses_nothing_either(void **state)
{
    struct fixture *f = *state;
    struct model *m = xcalloc(1, sizeof(*m));
    f->o.poll = WATCH_POLL_ALWAYS;
    f->o.poll_ms = 1000;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        start(m, f, seed);
        m->lossy = true;
        for (int i = 0; i < 2500; i++) {
            change_something(m);
            if (below(m, 6) == 0)
                run(m, below(m, 10) == 0 ? below(m, 3000) : below(m, 200));
        }
        finish(m);
    }
    free(m);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_in_memory, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_file_is_told_once_under_each_of_its_names),
        TEST(no_file_is_lost_with_the_events),
        TEST(polling_loses_nothing_either),
    };
    return RUN_TESTS(tests);
}
