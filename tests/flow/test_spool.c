/* Spool: files in watched folders become pictures, each once, whoever puts them there and whatever
 * goes wrong. Real stages, watch, ledger and store. */
#include "flow.h"

#include <dirent.h>
#include <sys/syscall.h>

#define CAMERAS                                                                                    \
    "[camera:front]\nlocation = Front Door\n[camera:porch]\nlocation = Porch\nsize_max = 200000\n"
#define ALL (FLOW_DELIVER | FLOW_DETECT | FLOW_INTAKE | FLOW_SPOOL)

/* What somebody does to a file in the moment before a name with `moment` in it is made, once. The
 * store puts a picture in its place so ("porch/20"), whose row is committed by then; the spool
 * takes a file away so (".taken-"), or makes the folder for what is refused. */
static struct {
    const char *moment;
    void (*act)(struct flow *f);
    struct flow *flow;
    atomic_bool armed;
} meanwhile;
static atomic_bool births_unknown;

static void arm(struct flow *f, const char *moment, void (*act)(struct flow *f))
{
    meanwhile.flow = f;
    meanwhile.moment = moment;
    meanwhile.act = act;
    atomic_store(&meanwhile.armed, true);
}

static void act_at(const char *path)
{
    if (atomic_load(&meanwhile.armed) && strstr(path, meanwhile.moment) &&
        atomic_exchange(&meanwhile.armed, false))
        meanwhile.act(meanwhile.flow);
}

/* These stand before those of the C library. */
int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    act_at(to);
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

int mkdirat(int fd, const char *path, mode_t mode)
{
    act_at(path);
    return (int)syscall(SYS_mkdirat, fd, path, mode);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return renameat2(from_fd, from, to_fd, to, 0);
}

int statx(int fd, const char *restrict path, int flags, unsigned mask, struct statx *restrict ret)
{
    int r = (int)syscall(SYS_statx, fd, path, flags, mask, ret);
    if (r == 0 && atomic_load(&births_unknown))
        ret->stx_mask &= ~STATX_BTIME;
    return r;
}

/* <dir>/ftp is the FTP root, <dir>/watched is [watch:cam] of the camera "porch". */
static struct flow *spool_new(bool keep, int notifiers)
{
    struct flow *f = flow_new(1, notifiers);
    static char ftp[128], watched[128], refused[128];
    (void)snprintf(ftp, sizeof(ftp), "%s/ftp", f->dir);
    (void)snprintf(watched, sizeof(watched), "%s/watched", f->dir);
    (void)snprintf(refused, sizeof(refused), "%s/refused", f->dir);
    f->spool_folders[0] = (struct spool_folder){.name = "ftp",
                                                .root = ftp,
                                                .camera = "",
                                                .ftp = true,
                                                .recursive = true,
                                                .poll_ms = 100,
                                                .settle_ms = 50,
                                                .settle_unsure_ms = 50,
                                                .settle_unfinished_ms = 50};
    f->spool_folders[1] = f->spool_folders[0];
    f->spool_folders[1].name = "cam";
    f->spool_folders[1].root = watched;
    f->spool_folders[1].camera = "porch";
    f->spool_folders[1].ftp = false;
    f->spool_folders[1].keep = keep;
    f->spool_options = (struct spool_options){
        .folders = f->spool_folders, .count = 2, .upload_dir = "uploads", .refused_path = refused};
    f->p.spool = &f->spool_options;
    f->spool_rules = (struct spool_rules){.clock_behind_ms = (int64_t)366 * 86400000,
                                          .clock_ahead_ms = (int64_t)25 * 3600000,
                                          .refused_max = 10,
                                          .refused_size = 1 << 20,
                                          .refused_age_ms = 86400000};
    flow_configure(f, CAMERAS);
    struct err e = {0};
    assert_int_equal(fs_mkdirs(f->dir_fd, "ftp/uploads/frontdoor", 0700, &e), 0);
    assert_int_equal(fs_mkdirs(f->dir_fd, "watched", 0700, &e), 0);
    return f;
}

/* As the server does: a hidden name, then the final one. Each number makes other bytes. */
static void put_bytes(struct flow *f, const char *path, const void *data, size_t size)
{
    char folder[256], hidden[300];
    struct err e = {0};
    text_copy(folder, sizeof(folder), path);
    *strrchr(folder, '/') = '\0';
    if (fs_mkdirs(f->dir_fd, folder, 0700, &e) < 0)
        fail_msg("%s", e.text);
    (void)snprintf(hidden, sizeof(hidden), "%s/.incoming-x", folder);
    if (fs_create_synced(f->dir_fd, hidden, data, size, 0600, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(renameat(f->dir_fd, hidden, f->dir_fd, path), 0);
}

static void put_picture(struct flow *f, const char *path, int number)
{
    AUTO_DONE(dynbuf) jpeg;
    make_jpeg(&jpeg, 0);
    /* What stands behind the end of a JPEG is padding. */
    assert_int_equal(dynbuf_printf(&jpeg, "%d", number), 0);
    put_bytes(f, path, jpeg.data, jpeg.len);
}

static void put_text(struct flow *f, const char *path, const char *text)
{
    put_bytes(f, path, text, strlen(text));
}

static bool is_there(struct flow *f, const char *path)
{
    return fs_exists(f->dir_fd, path);
}

static struct spool_status status_of(struct flow *f, size_t folder)
{
    struct spool_status list[2];
    assert_int_equal(spool_stage_status(f->spool, list, 2), 2);
    return list[folder];
}

/* All pictures, oldest first; returns how many. */
static int pictures(struct flow *f, struct snapshot *ret, int max)
{
    struct snapshot *found[300];
    struct ledger_filter all = {.person = -1};
    struct err e = {0};
    int n = ledger_snapshot_page(f->l, &all, (struct ledger_page_key){0}, found, 300, &e);
    if (n < 0)
        fail_msg("%s", e.text);
    for (int i = n - 1; i >= 0; i--) {
        if (n - 1 - i < max)
            ret[n - 1 - i] = *found[i];
        snapshot_unref(found[i]);
    }
    return n;
}

static const char *base_of(const struct snapshot *s)
{
    return strrchr(s->path, '/') + 1;
}

static bool has_base(struct flow *f, const char *base)
{
    struct snapshot list[300];
    int n = pictures(f, list, 300);
    for (int i = 0; i < n; i++)
        if (strcmp(base_of(&list[i]), base) == 0)
            return true;
    return false;
}

static void a_file_in_a_cameras_folder_becomes_its_picture(void **state UNUSED)
{
    struct flow *f = spool_new(true, 1);
    struct snapshot s;
    struct stat before, after;
    static const char path[] = "ftp/uploads/frontdoor/2026/01 [M]@#\xc3\xbc.jpg";
    flow_start(f, ALL);
    struct wall_time from = clock_wall();
    put_picture(f, path, 1);
    assert_int_equal(fstatat(f->dir_fd, path, &before, 0), 0);
    FLOW_WAIT(f, f->notifiers[0].delivered == 1);
    FLOW_WAIT(f, !is_there(f, path));
    flow_stop(f);
    assert_int_equal(pictures(f, &s, 1), 1);
    assert_int_equal(s.source, SNAPSHOT_PUSHED);
    assert_string_equal(s.camera, "front");
    assert_string_equal(s.device_key, "Front Door Camera");
    assert_string_equal(s.device_label, "Front Door");
    assert_string_equal(base_of(&s), "01 [M]@#\xc3\xbc.jpg");
    assert_true(text_starts_with(s.path, "frontdoor/20"));
    assert_true(s.event_at.us / 1000000 >= from.us / 1000000 - 1 &&
                s.event_at.us <= clock_wall().us);
    /* Nothing was written a second time. */
    AUTO_FREE char *stored = xasprintf("%s/%s", f->store_path, s.path);
    assert_int_equal(stat(stored, &after), 0);
    assert_true(after.st_ino == before.st_ino && after.st_nlink == 1);
    assert_int_equal(flow_counts(f).triggers_pending, 0);
    flow_assert_sound(f);
    flow_free(f);
}

static void an_accounts_folder_goes_before_the_cameras(void **state UNUSED)
{
    static const struct push_folder folders[] = {{"cam7", "porch"},
                                                 {"uploads/frontdoor/annexe", "porch"}};
    struct flow *f = spool_new(true, 0);
    f->push_folders = folders;
    f->push_folder_count = ARRAY_LEN(folders);
    flow_configure(f, CAMERAS);
    flow_start(f, ALL);
    put_picture(f, "ftp/cam7/snap/a.jpg", 1);
    put_picture(f, "ftp/uploads/frontdoor/b.jpg", 2);
    put_picture(f, "ftp/uploads/frontdoor/annexe/c.jpg", 3);
    FLOW_WAIT(f, flow_counts(f).examined == 3);
    flow_stop(f);
    struct snapshot list[3];
    assert_int_equal(pictures(f, list, 3), 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(list[i].camera, base_of(&list[i])[0] == 'b' ? "front" : "porch");
    flow_assert_sound(f);
    flow_free(f);
}

static void what_was_there_before_the_start_is_taken(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    char path[80];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(path, sizeof(path), "ftp/uploads/%s/%d/%d.jpg",
                       i % 2 ? "porch" : "frontdoor", i % 7, i);
        put_picture(f, path, i);
    }
    flow_start(f, ALL);
    FLOW_WAIT(f, flow_counts(f).examined == 100);
    FLOW_WAIT(f, status_of(f, 0).taken == 100);
    flow_stop(f);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(path, sizeof(path), "ftp/uploads/%s/%d/%d.jpg",
                       i % 2 ? "porch" : "frontdoor", i % 7, i);
        assert_false(is_there(f, path));
    }
    flow_assert_sound(f);
    flow_free(f);
}

static void a_name_that_is_always_the_same_gives_a_picture_each_time(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    flow_start(f, ALL);
    for (int i = 0; i < 4; i++) {
        put_picture(f, "ftp/uploads/porch/snap.jpg", 7); /* the same bytes, too */
        FLOW_WAIT(f, flow_counts(f).examined == i + 1);
        FLOW_WAIT(f, !is_there(f, "ftp/uploads/porch/snap.jpg"));
    }
    flow_stop(f);
    assert_true(has_base(f, "snap.jpg") && has_base(f, "snap-2.jpg") && has_base(f, "snap-4.jpg"));
    flow_assert_sound(f);
    flow_free(f);
}

static void a_rename_while_it_settles_is_one_picture_of_the_last_name(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    f->spool_folders[0].settle_ms = 1000;
    flow_start(f, ALL);
    put_picture(f, "ftp/uploads/porch/upload.tmp.jpg", 1);
    FLOW_WAIT(f, status_of(f, 0).settling == 1);
    assert_int_equal(renameat(f->dir_fd, "ftp/uploads/porch/upload.tmp.jpg", f->dir_fd,
                              "ftp/uploads/porch/final.jpg"),
                     0);
    FLOW_WAIT(f, flow_counts(f).examined == 1);
    FLOW_WAIT(f, status_of(f, 0).taken == 1);
    flow_stop(f);
    assert_int_equal(flow_counts(f).snapshots, 1);
    assert_true(has_base(f, "final.jpg"));
    flow_free(f);
}

static void what_is_no_picture_by_its_name_is_left_alone_and_counted(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    flow_start(f, ALL);
    put_text(f, "ftp/uploads/porch/test.txt", "hello");
    put_text(f, "ftp/uploads/porch/alarm.mp4", "video");
    put_text(f, "ftp/uploads/porch/alarm2.mkv", "video");
    put_picture(f, "ftp/uploads/porch/a.jpg", 1);
    FLOW_WAIT(f, status_of(f, 0).left[SPOOL_LEFT_VIDEO] == 2 &&
                     status_of(f, 0).left[SPOOL_LEFT_OTHER] == 1 && status_of(f, 0).taken == 1);
    flow_stop(f);
    assert_true(is_there(f, "ftp/uploads/porch/test.txt"));
    assert_true(is_there(f, "ftp/uploads/porch/alarm.mp4"));
    assert_int_equal(flow_counts(f).snapshots, 1);
    flow_free(f);
}

static void a_name_that_stays_unfinished_is_a_picture_or_counted(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    flow_start(f, ALL);
    put_picture(f, "ftp/uploads/porch/.in.a.jpg", 1);
    put_picture(f, "ftp/uploads/porch/.cam/b.jpg", 2);
    put_text(f, "ftp/uploads/porch/c.jpg.part", "half");
    put_text(f, "ftp/uploads/porch/_d.mp4", "half");
    put_text(f, "ftp/uploads/porch/.e", "?");
    put_picture(f, "watched/.x/f.jpg", 3); /* of others */
    FLOW_WAIT(f, status_of(f, 0).left[SPOOL_LEFT_UNFINISHED] == 3 && status_of(f, 0).taken == 2);
    flow_stop(f);
    assert_true(has_base(f, "_in.a.jpg") && has_base(f, "b.jpg"));
    assert_int_equal(flow_counts(f).snapshots, 2);
    assert_true(is_there(f, "ftp/uploads/porch/c.jpg.part"));
    assert_true(is_there(f, "watched/.x/f.jpg"));
    flow_assert_sound(f);
    flow_free(f);
}

static void pictures_of_no_camera_wait_for_one_and_are_told_once(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    flow_listen(f, "push-unknown");
    flow_start(f, ALL);
    put_picture(f, "ftp/uploads/attic/a.jpg", 1);
    put_picture(f, "ftp/uploads/attic/b.jpg", 2);
    put_picture(f, "ftp/uploads/frontdoo/c.jpg", 3);
    FLOW_WAIT(f, status_of(f, 0).left[SPOOL_LEFT_UNKNOWN] == 3);
    assert_int_equal(FLOW_GET(f, flow_heard(f, "push-unknown")), 2); /* a folder each */
    assert_int_equal(flow_counts(f).snapshots, 0);
    flow_configure(f, CAMERAS "[camera:attic]\n");
    pipeline_wake(&f->p, PIPELINE_SPOOL);
    FLOW_WAIT(f, flow_counts(f).examined == 2);
    FLOW_WAIT(f, status_of(f, 0).left[SPOOL_LEFT_UNKNOWN] == 1);
    flow_stop(f);
    assert_true(is_there(f, "ftp/uploads/frontdoo/c.jpg"));
    assert_false(is_there(f, "ftp/uploads/attic/a.jpg"));
    flow_assert_sound(f);
    flow_free(f);
}

static void pictures_of_a_camera_that_is_off_wait(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    flow_configure(f, "[camera:porch]\nenabled = no\n");
    flow_listen(f, "push-off");
    flow_start(f, ALL);
    put_picture(f, "ftp/uploads/porch/a.jpg", 1);
    put_picture(f, "watched/b.jpg", 2);
    FLOW_WAIT(f, status_of(f, 0).left[SPOOL_LEFT_OFF] == 1 &&
                     status_of(f, 1).left[SPOOL_LEFT_OFF] == 1);
    assert_int_equal(FLOW_GET(f, flow_heard(f, "push-off")), 1);
    flow_configure(f, "[camera:porch]\n");
    pipeline_wake(&f->p, PIPELINE_SPOOL);
    FLOW_WAIT(f, flow_counts(f).examined == 2);
    flow_stop(f);
    flow_free(f);
}

/* The only file in refused/porch, or "". */
static void refused_name(struct flow *f, char ret[300])
{
    AUTO_FREE char *path = xasprintf("%s/refused/porch", f->dir);
    DIR *dir = opendir(path);
    ret[0] = '\0';
    for (const struct dirent *e; dir && (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.')
            text_copy(ret, 300, e->d_name);
    if (dir)
        closedir(dir);
}

static void a_file_that_is_no_picture_is_moved_away_and_told(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    char name[300], id[SNAPSHOT_ID_SIZE];
    struct ledger_story story[2];
    struct err e = {0};
    flow_listen(f, "push-refused");
    flow_start(f, ALL);
    put_text(f, "ftp/uploads/porch/page.jpg", "<html>login</html>");
    FLOW_WAIT(f, status_of(f, 0).refused == 1);
    FLOW_WAIT(f, !is_there(f, "ftp/uploads/porch/page.jpg"));
    flow_stop(f);
    refused_name(f, name);
    assert_true(text_ends_with(name, "-page.jpg"));
    text_copy(id, sizeof(id), name);
    assert_int_equal(ledger_story(f->l, id, story, 2, &e), 1);
    assert_string_equal(story[0].what, "refused");
    assert_non_null(strstr(story[0].detail, "HTML"));
    assert_int_equal(flow_heard(f, "push-refused"), 1);
    assert_non_null(strstr(f->last_line, "page.jpg"));
    flow_assert_sound(f);
    flow_free(f);
}

static void a_file_that_is_too_large_is_moved_away(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    AUTO_DONE(dynbuf) jpeg;
    make_jpeg(&jpeg, 6); /* 400 kB, and the porch takes 200 */
    flow_start(f, ALL);
    put_bytes(f, "ftp/uploads/porch/large.jpg", jpeg.data, jpeg.len);
    put_bytes(f, "ftp/uploads/frontdoor/large.jpg", jpeg.data, jpeg.len);
    FLOW_WAIT(f, status_of(f, 0).refused == 1 && status_of(f, 0).taken == 1);
    FLOW_WAIT(f, !is_there(f, "ftp/uploads/porch/large.jpg"));
    flow_stop(f);
    char name[300];
    refused_name(f, name);
    assert_true(text_ends_with(name, "-large.jpg"));
    flow_free(f);
}

static void a_file_too_large_to_be_kept_among_the_refused_stays(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    AUTO_DONE(dynbuf) jpeg;
    make_jpeg(&jpeg, 20); /* 1.3 MB, and 1 MB is kept */
    flow_start(f, ALL);
    put_bytes(f, "ftp/uploads/porch/large.jpg", jpeg.data, jpeg.len);
    FLOW_WAIT(f, status_of(f, 0).refused == 1);
    flow_stop(f);
    assert_true(is_there(f, "ftp/uploads/porch/large.jpg"));
    flow_free(f);
}

/* A second name of the recorded picture looks like what a crash before the removal leaves. */
static void a_file_whose_picture_is_recorded_is_only_removed(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    struct snapshot s;
    flow_start(f, ALL);
    put_picture(f, "ftp/uploads/porch/a.jpg", 1);
    FLOW_WAIT(f, flow_counts(f).examined == 1);
    FLOW_WAIT(f, !is_there(f, "ftp/uploads/porch/a.jpg"));
    flow_stop(f);
    assert_int_equal(pictures(f, &s, 1), 1);
    AUTO_FREE char *stored = xasprintf("%s/%s", f->store_path, s.path);
    assert_int_equal(linkat(AT_FDCWD, stored, f->dir_fd, "ftp/uploads/porch/a.jpg", 0), 0);
    flow_start(f, ALL);
    FLOW_WAIT(f, status_of(f, 0).repeated == 1);
    FLOW_WAIT(f, !is_there(f, "ftp/uploads/porch/a.jpg"));
    flow_stop(f);
    assert_int_equal(flow_counts(f).snapshots, 1);
    flow_assert_sound(f);
    flow_free(f);
}

/* MFMT, as lftp sends it after each upload. */
static void touch(struct flow *f)
{
    struct timespec then[2] = {{.tv_sec = 1700000000}, {.tv_sec = 1700000000}};
    assert_int_equal(utimensat(f->dir_fd, "ftp/uploads/porch/a.jpg", then, 0), 0);
}

static void rename_and_touch(struct flow *f)
{
    touch(f);
    assert_int_equal(
        renameat(f->dir_fd, "ftp/uploads/porch/a.jpg", f->dir_fd, "ftp/uploads/porch/b.jpg"), 0);
}

/* As the server puts an older picture aside. */
static void upload_again(struct flow *f)
{
    assert_int_equal(
        renameat(f->dir_fd, "ftp/uploads/porch/a.jpg", f->dir_fd, "ftp/uploads/porch/a~1.jpg"), 0);
    put_picture(f, "ftp/uploads/porch/a.jpg", 2);
}

static void write_again(struct flow *f)
{
    int fd = openat(f->dir_fd, "watched/a.jpg", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    off_t end = lseek(fd, -1, SEEK_END);
    assert_int_equal(pwrite(fd, "2", 1, end), 1);
    assert_int_equal(close(fd), 0);
}

/* The folder is empty in the end, and it stays so many pictures after a restart. */
static void expect_pictures(struct flow *f, const char *folder, int count)
{
    AUTO_FREE char *path = xasprintf("%s/%s", f->dir, folder);
    FLOW_WAIT(f, flow_counts(f).examined == count);
    FLOW_WAIT(f, rmdir(path) == 0);
    flow_stop(f);
    assert_false(atomic_load(&meanwhile.armed));
    flow_start(f, ALL);
    FLOW_WAIT(f, status_of(f, 0).settling == 0 && status_of(f, 0).taking == 0);
    flow_stop(f);
    assert_int_equal(flow_counts(f).snapshots, count);
    flow_assert_sound(f);
}

static void a_picture_that_is_touched_while_it_is_taken_is_one(void **state UNUSED)
{
    static const struct {
        const char *moment;
        void (*act)(struct flow *f);
    } cases[] = {{"porch/20", touch}, {".taken-", touch}, {"porch/20", rename_and_touch}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct flow *f = spool_new(true, 0);
        flow_start(f, ALL);
        arm(f, cases[i].moment, cases[i].act);
        put_picture(f, "ftp/uploads/porch/a.jpg", 1);
        expect_pictures(f, "ftp/uploads/porch", 1);
        flow_free(f);
    }
}

static void where_no_births_are_known_one_put_aside_is_one(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    atomic_store(&births_unknown, true);
    flow_start(f, ALL);
    arm(f, "porch/20", upload_again);
    put_picture(f, "ftp/uploads/porch/a.jpg", 1);
    expect_pictures(f, "ftp/uploads/porch", 2);
    atomic_store(&births_unknown, false);
    assert_true(has_base(f, "a.jpg") && has_base(f, "a-2.jpg"));
    flow_free(f);
}

static void a_picture_that_is_written_over_while_it_is_taken_is_another(void **state UNUSED)
{
    struct flow *f = spool_new(false, 0);
    flow_start(f, ALL);
    arm(f, "porch/20", write_again);
    put_picture(f, "watched/a.jpg", 1);
    expect_pictures(f, "watched", 2);
    flow_free(f);
}

static void a_file_that_is_touched_while_it_is_refused_goes_all_the_same(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    flow_start(f, ALL);
    arm(f, "refused/porch", touch);
    put_text(f, "ftp/uploads/porch/a.jpg", "<html>login</html>");
    FLOW_WAIT(f, !is_there(f, "ftp/uploads/porch/a.jpg"));
    flow_stop(f);
    assert_false(atomic_load(&meanwhile.armed));
    flow_assert_sound(f);
    flow_free(f);
}

static void a_folder_that_keeps_its_files_gives_each_once(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    put_picture(f, "watched/a.jpg", 1);
    put_picture(f, "watched/deep/er/b.jpg", 2);
    put_text(f, "watched/no.jpg", "text");
    flow_start(f, ALL);
    FLOW_WAIT(f, flow_counts(f).examined == 2);
    FLOW_WAIT(f, status_of(f, 1).refused == 1 && status_of(f, 1).taken == 2);
    flow_stop(f);
    flow_listen(f, "push-refused");
    flow_start(f, ALL);
    FLOW_WAIT(f, status_of(f, 1).repeated == 3);
    put_picture(f, "watched/a.jpg", 3); /* another file of that name */
    FLOW_WAIT(f, flow_counts(f).examined == 3);
    flow_stop(f);
    assert_int_equal(flow_counts(f).snapshots, 3);
    assert_int_equal(flow_heard(f, "push-refused"), 0);
    assert_true(is_there(f, "watched/a.jpg") && is_there(f, "watched/deep/er/b.jpg") &&
                is_there(f, "watched/no.jpg"));
    assert_true(has_base(f, "a.jpg") && has_base(f, "b.jpg"));
    /* Copied, never linked: whoever owns them may write to them. */
    struct stat st;
    assert_int_equal(fstatat(f->dir_fd, "watched/a.jpg", &st, 0), 0);
    assert_int_equal(st.st_nlink, 1);
    flow_assert_sound(f);
    flow_free(f);
}

static void a_folder_whose_files_are_removed_is_empty_afterwards(void **state UNUSED)
{
    struct flow *f = spool_new(false, 0);
    flow_start(f, ALL);
    put_picture(f, "watched/a.jpg", 1);
    put_picture(f, "watched/b.jpg", 2);
    FLOW_WAIT(f, flow_counts(f).examined == 2);
    FLOW_WAIT(f, !is_there(f, "watched/a.jpg") && !is_there(f, "watched/b.jpg"));
    flow_stop(f);
    flow_assert_sound(f);
    flow_free(f);
}

static void a_picture_that_does_not_end_yet_is_waited_for(void **state UNUSED)
{
    struct flow *f = spool_new(false, 0);
    AUTO_DONE(dynbuf) jpeg;
    make_jpeg(&jpeg, 1);
    flow_start(f, ALL);
    /* A writer that closes in between and goes on. */
    struct err e = {0};
    size_t half = jpeg.len / 2;
    assert_int_equal(fs_create_synced(f->dir_fd, "watched/a.jpg", jpeg.data, half, 0600, &e), 0);
    FLOW_WAIT(f, status_of(f, 1).settling == 1);
    put_picture(f, "watched/b.jpg", 1); /* settles behind it */
    FLOW_WAIT(f, flow_counts(f).examined == 1);
    int fd = openat(f->dir_fd, "watched/a.jpg", O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, jpeg.data + half, jpeg.len - half), jpeg.len - half);
    (void)close(fd);
    FLOW_WAIT(f, flow_counts(f).examined == 2);
    flow_stop(f);
    struct snapshot list[2];
    assert_int_equal(pictures(f, list, 2), 2);
    assert_true(list[0].size == (int64_t)jpeg.len || list[1].size == (int64_t)jpeg.len);
    flow_assert_sound(f);
    flow_free(f);
}

static void the_same_picture_of_the_same_moment_is_dropped(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    char name[80], path[120], when[32];
    time_t now = time(NULL) - 60;
    struct tm tm;
    assert_non_null(localtime_r(&now, &tm));
    (void)strftime(when, sizeof(when), "%Y%m%d-%H%M%S", &tm);
    (void)snprintf(name, sizeof(name), "MDAlarm_%s.jpg", when);
    (void)snprintf(path, sizeof(path), "ftp/uploads/porch/%s", name);
    flow_listen(f, "push-repeated");
    flow_start(f, ALL);
    put_picture(f, path, 1);
    FLOW_WAIT(f, flow_counts(f).examined == 1);
    FLOW_WAIT(f, !is_there(f, path));
    put_picture(f, path, 1); /* the camera did not hear our 226 */
    FLOW_WAIT(f, flow_heard(f, "push-repeated") == 1);
    FLOW_WAIT(f, !is_there(f, path));
    put_picture(f, path, 2); /* another one of that second */
    FLOW_WAIT(f, flow_counts(f).examined == 2);
    flow_stop(f);
    struct snapshot list[2];
    assert_int_equal(pictures(f, list, 2), 2);
    assert_int_equal(list[0].event_at.us, (int64_t)now * 1000000);
    assert_int_equal(list[1].event_at.us, (int64_t)now * 1000000);
    flow_assert_sound(f);
    flow_free(f);
}

static void a_clock_that_is_off_gives_the_time_of_arrival(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    struct snapshot list[2];
    flow_listen(f, "push-clock");
    flow_start(f, ALL);
    struct wall_time from = clock_wall();
    put_picture(f, "ftp/uploads/porch/MDAlarm_19700101-000102.jpg", 1);
    put_picture(f, "ftp/uploads/porch/MDAlarm_20990101-000102.jpg", 2);
    FLOW_WAIT(f, flow_counts(f).examined == 2);
    flow_stop(f);
    assert_int_equal(flow_heard(f, "push-clock"), 1); /* once per camera */
    assert_int_equal(pictures(f, list, 2), 2);
    for (int i = 0; i < 2; i++)
        assert_true(list[i].event_at.us >= from.us - 1000000 &&
                    list[i].event_at.us <= clock_wall().us);
    flow_free(f);
}

static void limit_files(rlim_t bytes, struct rlimit *before)
{
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, before), 0);
    struct rlimit l = *before;
    l.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void pictures_wait_in_their_folder_while_the_disk_is_full(void **state UNUSED)
{
    struct flow *f = spool_new(false, 0);
    AUTO_DONE(dynbuf) jpeg;
    make_jpeg(&jpeg, 2);
    struct rlimit before;
    flow_listen(f, "picture-refused");
    put_bytes(f, "watched/a.jpg", jpeg.data, jpeg.len);
    limit_files(4096, &before); /* not even the ledger can be written to */
    put_picture(f, "ftp/uploads/porch/b.jpg", 1);
    flow_start(f, ALL);
    FLOW_WAIT(f, flow_heard(f, "picture-refused") >= 2);
    bool kept = is_there(f, "watched/a.jpg") && is_there(f, "ftp/uploads/porch/b.jpg");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(kept);
    FLOW_WAIT(f, flow_counts(f).examined == 2);
    FLOW_WAIT(f, !is_there(f, "watched/a.jpg") && !is_there(f, "ftp/uploads/porch/b.jpg"));
    flow_stop(f);
    flow_assert_sound(f);
    flow_free(f);
}

static void a_stop_in_the_middle_loses_and_doubles_nothing(void **state UNUSED)
{
    struct flow *f = spool_new(true, 0);
    char path[80];
    for (int i = 0; i < 200; i++) {
        (void)snprintf(path, sizeof(path), "ftp/uploads/porch/%d.jpg", i);
        put_picture(f, path, i);
    }
    for (int stop = 1; stop <= 4; stop++) {
        flow_start(f, ALL);
        FLOW_WAIT(f, flow_counts(f).snapshots >= stop * 20);
        flow_stop(f);
        flow_assert_sound(f);
    }
    flow_start(f, ALL);
    FLOW_WAIT(f, flow_counts(f).examined == 200);
    FLOW_WAIT(f, status_of(f, 0).settling == 0 && status_of(f, 0).taking == 0);
    flow_stop(f);
    assert_int_equal(flow_counts(f).snapshots, 200);
    flow_assert_sound(f);
    flow_free(f);
}

static void a_root_that_comes_and_goes_is_met_each_time(void **state UNUSED)
{
    struct flow *f = spool_new(false, 0);
    assert_int_equal(unlinkat(f->dir_fd, "watched", AT_REMOVEDIR), 0);
    flow_start(f, ALL);
    put_picture(f, "other/a.jpg", 1);
    assert_int_equal(renameat(f->dir_fd, "other", f->dir_fd, "watched"), 0);
    FLOW_WAIT(f, flow_counts(f).examined == 1);
    FLOW_WAIT(f, !is_there(f, "watched/a.jpg"));
    assert_int_equal(renameat(f->dir_fd, "watched", f->dir_fd, "gone"), 0);
    put_picture(f, "watched/b.jpg", 2);
    FLOW_WAIT(f, flow_counts(f).examined == 2);
    flow_stop(f);
    flow_assert_sound(f);
    flow_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_in_a_cameras_folder_becomes_its_picture),
        cmocka_unit_test(an_accounts_folder_goes_before_the_cameras),
        cmocka_unit_test(what_was_there_before_the_start_is_taken),
        cmocka_unit_test(a_name_that_is_always_the_same_gives_a_picture_each_time),
        cmocka_unit_test(a_rename_while_it_settles_is_one_picture_of_the_last_name),
        cmocka_unit_test(what_is_no_picture_by_its_name_is_left_alone_and_counted),
        cmocka_unit_test(a_name_that_stays_unfinished_is_a_picture_or_counted),
        cmocka_unit_test(pictures_of_no_camera_wait_for_one_and_are_told_once),
        cmocka_unit_test(pictures_of_a_camera_that_is_off_wait),
        cmocka_unit_test(a_file_that_is_no_picture_is_moved_away_and_told),
        cmocka_unit_test(a_file_that_is_too_large_is_moved_away),
        cmocka_unit_test(a_file_too_large_to_be_kept_among_the_refused_stays),
        cmocka_unit_test(a_file_whose_picture_is_recorded_is_only_removed),
        cmocka_unit_test(a_picture_that_is_touched_while_it_is_taken_is_one),
        cmocka_unit_test(where_no_births_are_known_one_put_aside_is_one),
        cmocka_unit_test(a_picture_that_is_written_over_while_it_is_taken_is_another),
        cmocka_unit_test(a_file_that_is_touched_while_it_is_refused_goes_all_the_same),
        cmocka_unit_test(a_folder_that_keeps_its_files_gives_each_once),
        cmocka_unit_test(a_folder_whose_files_are_removed_is_empty_afterwards),
        cmocka_unit_test(a_picture_that_does_not_end_yet_is_waited_for),
        cmocka_unit_test(the_same_picture_of_the_same_moment_is_dropped),
        cmocka_unit_test(a_clock_that_is_off_gives_the_time_of_arrival),
        cmocka_unit_test(pictures_wait_in_their_folder_while_the_disk_is_full),
        cmocka_unit_test(a_stop_in_the_middle_loses_and_doubles_nothing),
        cmocka_unit_test(a_root_that_comes_and_goes_is_met_each_time),
    };
    return RUN_TESTS(tests);
}
