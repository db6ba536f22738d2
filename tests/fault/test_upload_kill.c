/* Kills a process that stores uploads in groups, at every named point and at random moments, and
 * looks at what is left: what was acknowledged is there and whole, nothing else has a name unless
 * it is whole too, and the start cleans what was not finished. */

#include "../unit/ftp/fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"

enum { GROUP = 8, KILLS = 30, SIZE_MAX_OF_ONE = 5000 };

/* Bytes that tell the upload's number and its size. */
static size_t picture_of(unsigned n, char *bytes)
{
    size_t size = 100 + (size_t)(n * 2654435761U >> 8) % (SIZE_MAX_OF_ONE - 100);
    memset(bytes, (int)('a' + n % 26), size);
    (void)snprintf(bytes, 64, "picture %u of %zu bytes.", n, size);
    return size;
}

static void name_of(unsigned n, char path[64])
{
    (void)snprintf(path, 64, "/%u/%u/p%u.jpg", n / 40, n % 3, n);
}

/* ---- the child ---- */

static void store_group(struct fixture *f, unsigned first, int out)
{
    struct ftp_upload *group[GROUP] = {0};
    int codes[GROUP];
    struct err errs[GROUP];
    char bytes[SIZE_MAX_OF_ONE];
    for (unsigned i = 0; i < GROUP; i++) {
        char path[64];
        name_of(first + i, path);
        struct ftp_upload_options o = {.path = path};
        size_t size = picture_of(first + i, bytes);
        if (ftp_upload_open(f->jail, &o, &group[i], &errs[i]) < 0 ||
            ftp_upload_write(group[i], bytes, size, &errs[i]) < 0) {
            (void)fprintf(stderr, "child: %s\n", errs[i].text);
            _exit(3);
        }
    }
    ftp_upload_finish(group, GROUP, codes, errs);
    for (unsigned i = 0; i < GROUP; i++) {
        unsigned n = first + i;
        if (codes[i] < 0 || write(out, &n, sizeof(n)) != sizeof(n))
            _exit(4);
        ftp_upload_close(group[i]);
    }
}

static void run_child(struct fixture *f, unsigned first, int out)
{
    fixture_jail(f);
    for (unsigned n = first;; n += GROUP)
        store_group(f, n, out);
}

/* ---- what is left ---- */

static bool is_whole(struct fixture *f, unsigned n)
{
    char path[64], bytes[SIZE_MAX_OF_ONE];
    AUTO(blob) b = NULL;
    name_of(n, path);
    if (fs_read_blob(AT_FDCWD, fixture_real(f, path), 1 << 20, &b, &f->e) < 0)
        return false;
    size_t size = picture_of(n, bytes);
    return b->size == size && memcmp(b->data, bytes, size) == 0;
}

static bool is_there(struct fixture *f, unsigned n)
{
    char path[64];
    name_of(n, path);
    return fixture_has(f, path);
}

/* Runs a child until it dies; returns how many it acknowledged. */
static unsigned run_until_dead(struct fixture *f, unsigned first, const char *crash_at,
                               unsigned kill_after)
{
    int ends[2];
    unsigned n, acknowledged = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(ends[0]);
        if (crash_at != NULL)
            (void)setenv("SNAPSHOTD_CRASH_AT", crash_at, 1);
        run_child(f, first, ends[1]);
    }
    (void)close(ends[1]);
    while (read(ends[0], &n, sizeof(n)) == sizeof(n)) {
        if (!is_whole(f, n))
            CASE_FAILS("upload %u was acknowledged and is not there", n);
        if (++acknowledged == kill_after)
            (void)kill(child, SIGKILL);
    }
    (void)close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return acknowledged;
}

static void expect_order(struct fixture *f, unsigned first, unsigned acknowledged)
{
    int unfinished = ftp_jail_clean(f->root, &f->e);
    assert_true(unfinished >= 0 && unfinished <= GROUP);
    assert_int_equal(ftp_jail_clean(f->root, &f->e), 0);
    for (unsigned n = first; n < first + acknowledged + 2 * GROUP; n++) {
        if (n < first + acknowledged && !is_whole(f, n))
            CASE_FAILS("upload %u was acknowledged and is gone", n);
        if (is_there(f, n) && !is_whole(f, n))
            CASE_FAILS("upload %u has its name and is not whole", n);
    }
}

static void keeps_its_word_at_every_point(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *point;
        unsigned acknowledged, named; /* of the group that it dies in */
    } points[] = {
        {"ftp-before-sync", 0, 0},
        {"ftp-before-rename", 0, 0},
        {"ftp-before-folder-sync", 0, GROUP},
        {"ftp-after-folder-sync", 0, GROUP},
    };
    unsigned first = 0;
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        for (unsigned nth = 1; nth <= 3; nth++, first += 100 * GROUP) {
            char crash_at[64];
            unsigned named = 0;
            (void)snprintf(crash_at, sizeof(crash_at), "%s:%u", points[i].point, nth);
            unsigned acknowledged = run_until_dead(f, first, crash_at, 0);
            assert_int_equal(acknowledged, (nth - 1) * GROUP);
            for (unsigned n = first + acknowledged; n < first + acknowledged + GROUP; n++)
                named += is_there(f, n);
            if (named != points[i].named)
                CASE_FAILS("%s: %u of the group have their name", crash_at, named);
            expect_order(f, first, acknowledged);
        }
    }
}

static void keeps_its_word_at_any_moment(void **state)
{
    struct fixture *f = *state;
    unsigned first = 0;
    for (unsigned i = 0; i < KILLS; i++, first += 1000 * GROUP) {
        unsigned acknowledged = run_until_dead(f, first, NULL, 1 + i * 7 % 50);
        assert_true(acknowledged >= 1);
        expect_order(f, first, acknowledged);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keeps_its_word_at_every_point),
        TEST(keeps_its_word_at_any_moment),
    };
    return RUN_TESTS(tests);
}
