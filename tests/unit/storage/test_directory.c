/* What the folder has beyond the contract of storages: mounts, other people's files, and system
 * calls that fail or do not return. */

#include "../test.h"

#include <pthread.h>
#include <sys/mount.h>

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "storage/directory.h"
#include "sys/hash.h"

#include "../ftp/system_calls.h"

#define BYTES "these are the bytes of a picture"

struct rig {
    char home[64], path[80];
    int home_fd, saves;
    int save_code; /* what the next ones say */
    struct directory_config config;
    struct storage *s;
    struct storage_session *w;
    struct storage_object o;
    struct storage_mark mark, saved;
    char md5[HASH_MD5_HEX], sha256[HASH_SHA256_HEX];
    struct storage_failure f;
    struct err e;
};

static int save(void *arg, const struct storage_mark *mark, struct err *e)
{
    struct rig *r = arg;
    if (r->save_code < 0)
        return err_errno(e, r->save_code, "the ledger");
    r->saves++;
    r->saved = *mark;
    return 0;
}

static void set_bytes(struct rig *r, const char *bytes)
{
    blob_unref(r->o.bytes);
    r->o.bytes = blob_new_copy(bytes, strlen(bytes));
    hash_md5_hex(bytes, strlen(bytes), r->md5);
    hash_sha256_hex(bytes, strlen(bytes), r->sha256);
    r->o.md5 = r->md5;
    r->o.sha256 = r->sha256;
}

static void open_storage(struct rig *r)
{
    assert_int_equal(directory_open(&r->config, "directory:nas", &r->s, &r->e), 0);
    assert_int_equal(r->s->ops->session_new(r->s, -1, NULL, &r->w, &r->e), 0);
    assert_int_equal(r->s->ops->reserve(r->w, &r->o, &r->mark, 1, &r->f, &r->e), 0);
}

static void close_storage(struct rig *r)
{
    r->s->ops->session_free(r->w);
    r->s->ops->free(r->s);
}

static int rig_setup(void **state)
{
    struct rig *r = xcalloc(1, sizeof(*r));
    calls_reset();
    r->home_fd = test_folder_new(r->home);
    (void)snprintf(r->path, sizeof(r->path), "%s/nas", r->home);
    assert_int_equal(mkdir(r->path, 0700), 0);
    r->config = (struct directory_config){.path = r->path,
                                          .prefix = "",
                                          .marker = DIRECTORY_MARKER,
                                          .require_mount = DIRECTORY_MOUNT_NO};
    r->o = (struct storage_object){.snapshot_id = "0123456789abcdef0123456789abcdef",
                                   .name = "human_1.jpg",
                                   .path = "front/2026/01/02/human_1.jpg",
                                   .taken_at = {1767323045000000}};
    set_bytes(r, BYTES);
    *state = r;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *r = *state;
    calls_reset();
    clock_set_mono_source(NULL);
    (void)umount2(r->path, MNT_DETACH); /* of the tests that mount; else it is no mount */
    test_folder_remove(r->home, r->home_fd);
    blob_unref(r->o.bytes);
    free(r);
    return 0;
}

static int put(struct rig *r)
{
    err_clear(&r->e);
    return r->s->ops->put(r->w, &r->o, &r->mark, save, r, &r->f, &r->e);
}

static int files;
static int count_file(const char *path UNUSED, const struct stat *st UNUSED, int kind,
                      struct FTW *ftw UNUSED)
{
    files += kind == FTW_F;
    return 0;
}
static int count_files(const struct rig *r)
{
    files = 0;
    assert_int_equal(nftw(r->path, count_file, 16, FTW_PHYS), 0);
    return files;
}

static void write_file(struct rig *r, const char *path, const char *bytes)
{
    int fd = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *slash = strrchr(path, '/');
    if (slash) {
        AUTO_FREE char *folder = xstrndup(path, (size_t)(slash - path));
        assert_int_equal(fs_mkdirs(fd, folder, 0700, &r->e), 0);
    }
    assert_int_equal(fs_create_synced(fd, path, bytes, strlen(bytes), 0600, &r->e), 0);
    (void)close(fd);
}

static void expect_file(struct rig *r, const char *path, const char *bytes)
{
    AUTO(blob) b = NULL;
    int fd = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = fs_read_blob(fd, path, 1 << 20, &b, &r->e);
    (void)close(fd);
    if (code < 0)
        CASE_FAILS("%s: %s", path, r->e.text);
    assert_int_equal(b->size, strlen(bytes));
    assert_memory_equal(b->data, bytes, b->size);
}

/* ---- is it the right folder? ---- */

static void mount_or_skip(struct rig *r, unsigned long flags, const char *options)
{
    if (mount("tmpfs", r->path, "tmpfs", flags, options) < 0)
        skip(); /* not root, or a container without the right to mount */
}

static void an_unmounted_folder_takes_nothing(void **state)
{
    struct rig *r = *state;
    static const int demands[] = {DIRECTORY_MOUNT_AUTO, DIRECTORY_MOUNT_YES};
    for (size_t i = 0; i < ARRAY_LEN(demands); i++) {
        r->config.require_mount = demands[i];
        open_storage(r);
        assert_int_equal(put(r), -ENODEV);
        assert_int_equal(r->f.trouble, STORAGE_AWAY);
        assert_int_equal(r->e.retry, ERR_LATER);
        assert_non_null(strstr(r->e.text, "nothing is mounted there"));
        assert_non_null(strstr(r->e.text, r->path));
        assert_int_equal(count_files(r), 0);
        struct storage_state st;
        r->s->ops->describe(r->s, &st);
        assert_non_null(strstr(st.error, "nothing is mounted there"));
        close_storage(r);
    }
}

static void a_folder_that_is_not_there_is_away(void **state)
{
    struct rig *r = *state;
    open_storage(r);
    assert_int_equal(rmdir(r->path), 0);
    assert_int_equal(put(r), -ENODEV);
    assert_int_equal(r->f.trouble, STORAGE_AWAY);
    assert_int_not_equal(access(r->path, F_OK), 0); /* and it is not made */
    close_storage(r);
}

static void the_marker_file_makes_it_the_right_one(void **state)
{
    struct rig *r = *state;
    r->config.require_mount = DIRECTORY_MOUNT_AUTO;
    open_storage(r);
    assert_int_equal(directory_mark(&r->config, &r->e), 0);
    assert_int_equal(directory_mark(&r->config, &r->e), -EEXIST);
    assert_int_equal(put(r), 0);
    expect_file(r, r->o.path, BYTES);
    close_storage(r);

    r->config.require_mount = DIRECTORY_MOUNT_YES; /* not enough there */
    open_storage(r);
    assert_int_equal(put(r), -ENODEV);
    close_storage(r);
}

static void a_mount_that_goes_and_comes_is_followed(void **state)
{
    struct rig *r = *state;
    r->config.require_mount = DIRECTORY_MOUNT_AUTO;
    mount_or_skip(r, 0, "size=1m");
    open_storage(r);
    assert_int_equal(put(r), 0);
    assert_int_equal(umount(r->path), 0);
    assert_int_equal(put(r), -ENODEV);
    assert_int_equal(r->f.trouble, STORAGE_AWAY);
    assert_int_equal(count_files(r), 0);
    assert_int_equal(mount("tmpfs", r->path, "tmpfs", 0, "size=1m"), 0);
    assert_int_equal(put(r), 0);
    expect_file(r, r->o.path, BYTES);
    struct storage_state st;
    r->s->ops->describe(r->s, &st);
    test_expect_text("error", st.error, "");
    close_storage(r);
}

static void a_bind_mount_is_a_mount(void **state)
{
    struct rig *r = *state;
    char other[96];
    r->config.require_mount = DIRECTORY_MOUNT_YES;
    (void)snprintf(other, sizeof(other), "%s/other", r->home);
    assert_int_equal(mkdir(other, 0700), 0);
    if (mount(other, r->path, NULL, MS_BIND, NULL) < 0)
        skip();
    assert_int_equal(directory_probe(&r->config, NULL, &r->f, &r->e), 0);
}

static void a_full_mount_is_full_and_a_read_only_one_wants_somebody(void **state)
{
    struct rig *r = *state;
    r->config.require_mount = DIRECTORY_MOUNT_YES;
    mount_or_skip(r, 0, "size=64k");
    char large[100000];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    set_bytes(r, large);
    open_storage(r);
    assert_int_equal(put(r), -ENOSPC); /* by the look before */
    assert_int_equal(r->f.trouble, STORAGE_QUOTA);
    calls.free_bytes = INT64_MAX / 2; /* by the server, in the middle */
    assert_int_equal(put(r), -ENOSPC);
    assert_int_equal(r->f.trouble, STORAGE_QUOTA);
    assert_int_equal(count_files(r), 0);
    calls.free_bytes = -1;
    assert_int_equal(mount(NULL, r->path, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    set_bytes(r, BYTES);
    calls.free_bytes = INT64_MAX / 2;
    assert_int_equal(put(r), -EROFS);
    assert_int_equal(r->f.trouble, STORAGE_LOGIN);
    assert_non_null(strstr(r->e.text, "mounted read-only"));
    close_storage(r);
}

/* ---- other people's files ---- */

static void the_same_bytes_are_taken_as_done(void **state)
{
    struct rig *r = *state;
    write_file(r, r->o.path, BYTES);
    open_storage(r);
    assert_int_equal(put(r), 0);
    assert_int_equal(count_files(r), 1);
    assert_int_equal(r->saves, 0);
    close_storage(r);
}

static void another_file_stays_and_ours_gets_a_number(void **state)
{
    struct rig *r = *state;
    write_file(r, r->o.path, "somebody else's");
    write_file(r, "front/2026/01/02/human_1-2.jpg", "likewise");
    open_storage(r);
    for (int n = 0; n < 3; n++) { /* with the mark of before as well */
        assert_int_equal(put(r), 0);
        expect_file(r, r->o.path, "somebody else's");
        expect_file(r, "front/2026/01/02/human_1-3.jpg", BYTES);
        assert_int_equal(count_files(r), 3);
        test_expect_text("id", r->saved.id, "front/2026/01/02/human_1-3.jpg");
        r->mark = r->saved;
    }
    close_storage(r);
}

static void a_name_that_is_full_gives_up_its_end_for_a_number(void **state)
{
    struct rig *r = *state;
    char path[300] = "front/", numbered[300] = "front/";
    memset(path + 6, 'n', 251);
    memcpy(path + 6 + 251, ".jpg", 5);
    memset(numbered + 6, 'n', 249);
    memcpy(numbered + 6 + 249, "-2.jpg", 7);
    r->o.path = path;
    write_file(r, path, "somebody else's");
    open_storage(r);
    assert_int_equal(put(r), 0);
    expect_file(r, numbered, BYTES);
    close_storage(r);
}

static void a_folder_in_the_place_of_the_file_is_not_touched(void **state)
{
    struct rig *r = *state;
    write_file(r, "front/2026/01/02/human_1.jpg/inside", "x");
    open_storage(r);
    assert_int_equal(put(r), 0);
    expect_file(r, "front/2026/01/02/human_1-2.jpg", BYTES);
    close_storage(r);
}

static void a_file_in_the_place_of_a_folder_ends_the_job_alone(void **state)
{
    struct rig *r = *state;
    write_file(r, "front/2026", "x");
    open_storage(r);
    assert_int_equal(put(r), -ENOTDIR);
    assert_int_equal(r->f.trouble, STORAGE_WELL);
    assert_int_equal(r->e.retry, ERR_NEVER);
    close_storage(r);
}

static void paths_that_lead_out_are_refused(void **state)
{
    struct rig *r = *state;
    static const char *const paths[] = {"../human_1.jpg", "/etc/human_1.jpg", "a//b.jpg", ""};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        r->o.path = paths[i];
        open_storage(r); /* reserves without a failure: others may be in the same call */
        assert_int_equal(put(r), -EINVAL);
        assert_int_equal(r->f.trouble, STORAGE_WELL);
        assert_int_equal(r->e.retry, ERR_NEVER);
        close_storage(r);
    }
}

/* ---- calls that fail or do not return ---- */

static void each_failing_call_leaves_nothing_and_is_repeated(void **state)
{
    struct rig *r = *state;
    static const struct {
        enum call_kind kind;
        int code, told;
        enum storage_trouble trouble;
    } cases[] = {
        {CALL_WRITE, ENOSPC, -ENOSPC, STORAGE_QUOTA},
        {CALL_WRITE, EDQUOT, -EDQUOT, STORAGE_QUOTA},
        {CALL_WRITE, EIO, -EIO, STORAGE_AWAY},
        {CALL_SYNC_FILE, EIO, -EIO, STORAGE_AWAY},
        {CALL_SYNC_FILE, ESTALE, -ESTALE, STORAGE_AWAY},
        {CALL_SYNC_FILE, ENOSPC, -ENOSPC, STORAGE_QUOTA},
        {CALL_RENAME_NEW, EACCES, -EACCES, STORAGE_LOGIN},
        {CALL_RENAME_NEW, EHOSTDOWN, -EHOSTDOWN, STORAGE_AWAY},
    };
    open_storage(r);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        calls_fail(cases[i].kind, 1, cases[i].code);
        int code = put(r);
        if (code != cases[i].told || r->f.trouble != cases[i].trouble || count_files(r) != 0)
            CASE_FAILS("%zu: %d: %s", i, code, r->e.text);
        assert_int_equal(r->e.retry, ERR_LATER);
    }
    assert_int_equal(put(r), 0);
    assert_int_equal(count_files(r), 1);
    close_storage(r);
}

static void a_folder_that_could_not_be_synced_is_synced_by_the_repeat(void **state)
{
    struct rig *r = *state;
    open_storage(r);
    assert_int_equal(put(r), 0);
    calls.fail_always[CALL_SYNC_FOLDER] = true;
    calls.code[CALL_SYNC_FOLDER] = EIO;
    assert_int_equal(put(r), -EIO); /* the file is there, its name perhaps not yet */
    calls.fail_always[CALL_SYNC_FOLDER] = false;
    assert_int_equal(put(r), 0);
    calls.fail_always[CALL_SYNC_FOLDER] = true;
    calls.code[CALL_SYNC_FOLDER] = EINVAL; /* some FUSE and SMB sync folders by themselves */
    assert_int_equal(put(r), 0);
    close_storage(r);
}

static void a_file_system_without_renames_that_look_first_will_do(void **state)
{
    struct rig *r = *state;
    open_storage(r);
    calls_fail(CALL_RENAME_NEW, 1, EINVAL); /* NFS: by a link */
    assert_int_equal(put(r), 0);
    expect_file(r, r->o.path, BYTES);
    assert_int_equal(count_files(r), 1);
    close_storage(r);
}

static void the_reserve_stays_free(void **state)
{
    struct rig *r = *state;
    int64_t size = (int64_t)strlen(BYTES);
    r->config.reserve = 1000000;
    open_storage(r);
    calls.free_bytes = 1000000 + size - 1;
    assert_int_equal(put(r), -ENOSPC);
    assert_int_equal(r->f.trouble, STORAGE_QUOTA);
    assert_non_null(strstr(r->e.text, "reserve"));
    calls.free_bytes = 1000000 + size;
    assert_int_equal(put(r), 0);
    close_storage(r);
}

static sem_t in_sync, go_on;

static void hang(int fd UNUSED)
{
    (void)sem_post(&in_sync);
    test_wait(&go_on);
}

static void *put_in_thread(void *arg)
{
    return (void *)(intptr_t)put(arg);
}

static _Atomic int64_t now_us;
static struct mono_time now(void)
{
    return (struct mono_time){now_us};
}

static void a_call_that_does_not_return_is_told_about(void **state)
{
    struct rig *r = *state;
    pthread_t thread;
    struct storage_state st;
    assert_int_equal(sem_init(&in_sync, 0, 0), 0);
    assert_int_equal(sem_init(&go_on, 0, 0), 0);
    now_us = 1000000;
    clock_set_mono_source(now);
    open_storage(r);
    calls.before[CALL_SYNC_FILE] = hang;
    assert_int_equal(pthread_create(&thread, NULL, put_in_thread, r), 0);
    test_wait(&in_sync);
    now_us += 9999000;
    r->s->ops->describe(r->s, &st);
    test_expect_text("error within 10 s", st.error, "");
    now_us += 20001000;
    r->s->ops->describe(r->s, &st);
    assert_non_null(strstr(st.error, "does not return since 30 s"));
    calls.before[CALL_SYNC_FILE] = NULL;
    (void)sem_post(&go_on);
    void *code;
    assert_int_equal(pthread_join(thread, &code), 0);
    assert_int_equal((intptr_t)code, 0);
    r->s->ops->describe(r->s, &st);
    test_expect_text("error afterwards", st.error, "");
    close_storage(r);
}

/* As pictures are: what their md5 is nobody knows before they are put. */
static void a_picture_costs_no_commit_of_its_own(void **state)
{
    struct rig *r = *state;
    r->o.md5 = "";
    open_storage(r);
    r->o.md5 = r->md5;
    assert_int_equal(put(r), 0);
    assert_int_equal(r->saves, 0);
    close_storage(r);
}

static void a_mark_of_an_older_version_knows_its_file(void **state)
{
    struct rig *r = *state;
    open_storage(r);
    assert_int_equal(put(r), 0);
    (void)snprintf(r->mark.resume, sizeof(r->mark.resume), "0123456789abcdef %s ", r->md5);
    set_bytes(r, "drawn again");
    assert_int_equal(put(r), 0);
    expect_file(r, r->o.path, "drawn again");
    assert_int_equal(count_files(r), 1);
    close_storage(r);
}

/* The daemon's disk is full, not the folder. */
static void a_note_that_is_not_taken_is_no_trouble_of_the_folder(void **state)
{
    static const int codes[] = {-ENOSPC, -EROFS};
    struct rig *r = *state;
    struct storage_state st;
    r->o.sha256 = ""; /* as copies are: it has to be noted */
    open_storage(r);
    r->o.sha256 = r->sha256;
    const struct storage_mark noted = r->mark;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        r->mark = noted;
        r->save_code = codes[i];
        assert_int_equal(put(r), codes[i]);
        assert_int_equal(r->f.trouble, STORAGE_WELL);
        assert_null(strstr(r->e.text, "folder '"));
        r->s->ops->describe(r->s, &st);
        test_expect_text("error", st.error, "");
        assert_int_equal(count_files(r), 0);
    }
    r->save_code = 0;
    r->mark = noted;
    assert_int_equal(put(r), 0);
    assert_int_equal(r->saves, 1);
    close_storage(r);
}

static void the_file_has_the_time_of_the_picture(void **state)
{
    struct rig *r = *state;
    struct stat st;
    char path[200];
    open_storage(r);
    assert_int_equal(put(r), 0);
    (void)snprintf(path, sizeof(path), "%s/%s", r->path, r->o.path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mtime, 1767323045);
    close_storage(r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_unmounted_folder_takes_nothing),
        TEST(a_folder_that_is_not_there_is_away),
        TEST(the_marker_file_makes_it_the_right_one),
        TEST(a_mount_that_goes_and_comes_is_followed),
        TEST(a_bind_mount_is_a_mount),
        TEST(a_full_mount_is_full_and_a_read_only_one_wants_somebody),
        TEST(the_same_bytes_are_taken_as_done),
        TEST(a_picture_costs_no_commit_of_its_own),
        TEST(a_mark_of_an_older_version_knows_its_file),
        TEST(a_note_that_is_not_taken_is_no_trouble_of_the_folder),
        TEST(another_file_stays_and_ours_gets_a_number),
        TEST(a_name_that_is_full_gives_up_its_end_for_a_number),
        TEST(a_folder_in_the_place_of_the_file_is_not_touched),
        TEST(a_file_in_the_place_of_a_folder_ends_the_job_alone),
        TEST(paths_that_lead_out_are_refused),
        TEST(each_failing_call_leaves_nothing_and_is_repeated),
        TEST(a_folder_that_could_not_be_synced_is_synced_by_the_repeat),
        TEST(a_file_system_without_renames_that_look_first_will_do),
        TEST(the_reserve_stays_free),
        TEST(a_call_that_does_not_return_is_told_about),
        TEST(the_file_has_the_time_of_the_picture),
    };
    return RUN_TESTS(tests);
}
