#pragma once
/* A root with one account's jail in it, and what the tests of jail, uploads and disk threads ask.
 */

#include "../test.h"

#include <dirent.h>
#include <errno.h>

#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "ftp/ftp_beneath.h"
#include "ftp/ftp_jail.h"
#include "ftp/ftp_path.h"

static const struct ftp_leave any = {.any = true}, none;

struct fixture {
    char folder[64]; /* holds the root, and beside it what nobody may reach */
    int fd;
    char root[96];
    int fds_before;
    struct ftp_jail_options options;
    struct ftp_account account;
    struct ftp_jail *jail;
    struct err e;
};

/* Anew, after options or account were changed. */
static inline UNUSED void fixture_jail(struct fixture *f)
{
    ftp_jail_unref(STEAL(f->jail));
    if (ftp_jail_open(&f->options, &f->account, &f->jail, &f->e) < 0)
        CASE_FAILS("%s", f->e.text);
}

static inline UNUSED int fixture_set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    f->fds_before = test_count_fds();
    f->fd = test_folder_new(f->folder);
    (void)text_format(f->root, sizeof(f->root), "%s/ftp", f->folder);
    f->options = (struct ftp_jail_options){.root = f->root, .sync = true};
    f->account = (struct ftp_account){.name = "porch", .directory = "porch"};
    fixture_jail(f);
    *state = f;
    return 0;
}

static inline UNUSED int fixture_tear_down(void **state)
{
    struct fixture *f = *state;
    ftp_jail_unref(f->jail);
    test_folder_remove(f->folder, f->fd);
    int leaked = test_count_fds() - f->fds_before;
    free(f);
    return leaked != 0 ? -1 : 0; /* every descriptor was closed */
}

/* The real path of a virtual one. */
static inline UNUSED const char *fixture_real(const struct fixture *f, const char *path)
{
    static char real[4096];
    const char *home = f->account.directory;
    (void)text_format(real, sizeof(real), "%s/%s%s%s", f->root, home, *home ? "" : ".", path);
    return real;
}

static inline UNUSED void fixture_put(struct fixture *f, const char *path, const char *text)
{
    FILE *file = fopen(fixture_real(f, path), "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static inline UNUSED bool fixture_has(struct fixture *f, const char *path)
{
    struct stat st;
    return lstat(fixture_real(f, path), &st) == 0;
}

static inline UNUSED void fixture_expect(struct fixture *f, const char *path, const char *text)
{
    AUTO(blob) b = NULL;
    if (fs_read_blob(AT_FDCWD, fixture_real(f, path), 100000000, &b, &f->e) < 0)
        CASE_FAILS("%s", f->e.text);
    if (b->size != strlen(text) || memcmp(b->data, text, b->size) != 0)
        CASE_FAILS("%s holds %zu bytes \"%.*s\", wanted \"%s\"", path, b->size,
                   (int)MIN(b->size, (size_t)40), (const char *)b->data, text);
}

/* Entries of a folder that begin so, whatever they are; "" counts all. */
static inline UNUSED int fixture_count(struct fixture *f, const char *path, const char *prefix)
{
    int n = 0;
    DIR *dir = opendir(fixture_real(f, path));
    assert_non_null(dir);
    for (struct dirent *d = readdir(dir); d != NULL; d = readdir(dir))
        n += strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 &&
             text_starts_with(d->d_name, prefix);
    (void)closedir(dir);
    return n;
}

#define expect_code(f, call, code)                                                                 \
    do {                                                                                           \
        int got_ = (call);                                                                         \
        if (got_ != (code))                                                                        \
            CASE_FAILS("line %d: " #call " gave %d, wanted " #code ": %s", __LINE__, got_,         \
                       (f)->e.text);                                                               \
    } while (0)

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
