/* Kind command: real programs, run by a real fetcher. */

#include "sim_fixture.h"

#include <errno.h>
#include <signal.h>

#include "base/dynbuf.h"
#include "base/fsutil.h"

#define SECRET "c4n4ry/p w"

struct room {
    char dir[64];
    char picture[96], script[96];
};

static void make_room(struct room *r)
{
    text_copy(r->dir, sizeof(r->dir), "/tmp/test-command-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    (void)text_format(r->picture, sizeof(r->picture), "%s/a.jpg", r->dir);
    (void)text_format(r->script, sizeof(r->script), "%s/script", r->dir);
    AUTO_DONE(dynbuf) jpeg;
    make_jpeg(&jpeg, 1);
    struct err e = {0};
    assert_int_equal(fs_create_synced(AT_FDCWD, r->picture, jpeg.data, jpeg.len, 0600, &e), 0);
}

static void write_script(struct room *r, const char *text)
{
    unlink(r->script);
    AUTO_FREE char *whole = xasprintf("#!/bin/sh\n%s\n", text);
    struct err e = {0};
    assert_int_equal(fs_create_synced(AT_FDCWD, r->script, whole, strlen(whole), 0700, &e), 0);
}

static void leave_room(struct room *r)
{
    unlink(r->picture);
    unlink(r->script);
    rmdir(r->dir);
}

static struct camera command_camera(const char *program)
{
    struct camera cam = test_camera("porch", "command");
    cam.program = program;
    cam.user = "us er";
    cam.password = SECRET;
    cam.address = "10.0.0.9:554";
    cam.credentials_digest = 1;
    return cam;
}

static struct outcome run(const struct camera *cam)
{
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    return fetch_once(f, cam, false);
}

static void what_a_program_prints_is_the_picture(void **state)
{
    (void)state;
    struct room room;
    make_room(&room);
    int fds = count_fds();
    AUTO_FREE char *program = xasprintf("/bin/cat  '%s'", room.picture);
    struct camera cam = command_camera(program);
    struct outcome got = run(&cam);
    if (got.code)
        fail_msg("%s", got.error.text);
    assert_true(got.bytes_right);
    assert_int_equal(count_fds(), fds);
    leave_room(&room);
}

struct word_case {
    const char *program;
    const char *words[6]; /* argv, or { NULL, what the refusal says } */
};

static const struct word_case word_cases[] = {
    {"/bin/x", {"/bin/x"}},
    {"  /bin/x  a\tb ", {"/bin/x", "a", "b"}},
    {"/bin/x 'a b' \"c 'd\" e'f'g ''", {"/bin/x", "a b", "c 'd", "efg", ""}},
    {"/bin/x $HOME `id` ; | >", {"/bin/x", "$HOME", "`id`", ";", "|", ">"}},
    {"/bin/x {address} {user} {channel}", {"/bin/x", "10.0.0.9:554", "us er", "1"}},
    {"/bin/x rtsp://{user}:{password}@{address}/s",
     {"/bin/x", "rtsp://us%20er:c4n4ry%2Fp%20w@10.0.0.9:554/s"}},
    {"/bin/x pw={password}", {"/bin/x", "pw=" SECRET}},
    {"", {NULL, "needs a program"}},
    {"ffmpeg -i x", {NULL, "begins with /"}},
    {"/bin/x 'a", {NULL, "quote that is not closed"}},
    {"/bin/x {foo}", {NULL, "holds {foo}"}},
};

static void a_line_becomes_words_without_any_shell(void **state)
{
    (void)state;
    const struct camera_kind *kind = camera_kind_find("command");
    for (size_t i = 0; i < ARRAY_LEN(word_cases); i++) {
        const struct word_case *t = &word_cases[i];
        struct camera cam = command_camera(t->program);
        struct camera_request req = {0};
        struct err e = {0};
        int r = kind->request(&cam, NULL, clock_wall(), &req, &e);
        assert_int_equal(kind->validate(&cam, NULL), r);
        if (!t->words[0]) {
            assert_int_equal(r, -EINVAL);
            if (!strstr(e.text, t->words[1]))
                fail_msg("'%s': %s", t->program, e.text);
            continue;
        }
        assert_int_equal(r, 0);
        for (size_t k = 0; k < ARRAY_LEN(t->words); k++) {
            if (!t->words[k] || !req.argv[k]) {
                assert_ptr_equal(t->words[k], req.argv[k]);
                break;
            }
            assert_string_equal(req.argv[k], t->words[k]);
        }
        assert_string_equal(req.shown, "/bin/x");
        camera_request_done(&req);
    }
}

static void a_program_has_the_configured_environment_and_no_descriptor_of_ours(void **state)
{
    (void)state;
    struct room room;
    make_room(&room);
    assert_int_equal(setenv("SECRET_OF_OURS", "visible", 1), 0);
    AUTO_CLOSE int inherited = open("/dev/null", O_RDONLY); /* without CLOEXEC, as a library may */
    assert_true(inherited > 2);
    sigset_t set, before;
    sigfillset(&set);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, &before), 0); /* as in a stage's thread */
    AUTO_FREE char *script = xasprintf(
        "{ env | sort; echo fds: /proc/$$/fd/*; pwd; grep SigBlk /proc/self/status; } >%s/seen\n"
        "cat %s",
        room.dir, room.picture);
    write_script(&room, script);
    struct camera cam = command_camera(room.script);
    struct outcome got = run(&cam);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    unsetenv("SECRET_OF_OURS");
    if (got.code)
        fail_msg("%s", got.error.text);
    AUTO_FREE char *seen_path = xasprintf("%s/seen", room.dir);
    AUTO(blob) seen = NULL;
    struct err e = {0};
    assert_int_equal(fs_read_blob(AT_FDCWD, seen_path, 65536, &seen, &e), 0);
    AUTO_FREE char *text = xstrndup((const char *)seen->data, seen->size);
    assert_non_null(strstr(text, "CAMERA=porch\n"));
    assert_non_null(strstr(text, "CAMERA_ADDRESS=10.0.0.9:554\n"));
    assert_non_null(strstr(text, "CAMERA_USER=us er\n"));
    assert_non_null(strstr(text, "CAMERA_PASSWORD=" SECRET "\n"));
    assert_null(strstr(text, "SECRET_OF_OURS"));
    assert_non_null(strstr(text, "SigBlk:\t0000000000000000\n"));
    assert_non_null(strstr(text, "\n/\n")); /* pwd */
    /* The shell itself holds its script open, above all that it inherited. */
    AUTO_FREE char *ours = xasprintf("/fd/%d ", inherited);
    assert_null(strstr(text, ours));
    unlink(seen_path);
    leave_room(&room);
}

static bool is_alive(pid_t pid)
{
    char path[40];
    (void)text_format(path, sizeof(path), "/proc/%d/stat", (int)pid);
    AUTO(blob) stat = NULL;
    if (fs_read_blob(AT_FDCWD, path, 4096, &stat, NULL) < 0)
        return false;
    const char *state = memrchr(stat->data, ')', stat->size);
    return state && state[2] != 'Z' && state[2] != 'X';
}

static pid_t read_pid(const char *path)
{
    AUTO(blob) b = NULL;
    struct err e = {0};
    if (fs_read_blob(AT_FDCWD, path, 100, &b, &e) < 0)
        fail_msg("%s", e.text);
    int64_t pid;
    assert_int_equal(parse_int64((const char *)b->data, b->size - 1, 1, INT32_MAX, &pid), 0);
    return (pid_t)pid;
}

/* The time limit ends the program and what it started; so does its own end. */
static void nothing_that_a_program_started_stays(void **state)
{
    (void)state;
    static const char *const ends[] = {"wait", "exit 0", "exit 3"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct room room;
        make_room(&room);
        AUTO_FREE char *script =
            xasprintf("sleep 1000 & echo $! >%s/pid\ncat %s\n%s", room.dir, room.picture, ends[i]);
        write_script(&room, script);
        struct camera cam = command_camera(room.script);
        if (i == 0)
            cam.total_timeout_ms = 1500;
        struct outcome got = run(&cam);
        assert_int_equal(got.code, i == 0 ? -ETIMEDOUT : i == 1 ? 0 : -EREMOTEIO);
        assert_true(i != 1 || got.bytes_right);
        AUTO_FREE char *pid_path = xasprintf("%s/pid", room.dir);
        pid_t pid = read_pid(pid_path);
        /* Killed is not yet gone: bounded by the watchdog of the test runner. */
        while (is_alive(pid))
            sched_yield();
        unlink(pid_path);
        leave_room(&room);
    }
}

struct failure_case {
    const char *script;
    int code;
    enum err_retry retry;
    enum camera_fault fault;
    const char *words;
    int64_t size_max;
};

static const struct failure_case failure_cases[] = {
    {"echo first >&2; echo 'no route to camera' >&2; exit 4", -EREMOTEIO, ERR_LATER,
     CAMERA_FAULT_OTHER, "exit status 4: no route to camera"},
    {"exit 0", -EREMOTEIO, ERR_LATER, CAMERA_FAULT_OTHER, "printed nothing"},
    {"kill -9 $$", -EREMOTEIO, ERR_LATER, CAMERA_FAULT_OTHER, "exit status 137"},
    {"echo '[rtsp] method DESCRIBE failed: 401 Unauthorized' >&2; exit 1", -EACCES, ERR_NEVER,
     CAMERA_FAULT_CREDENTIALS, "rejects the user or the password"},
    {"echo \"rtsp://a:b@cam/x?y=$CAMERA_PASSWORD and $CAMERA_PASSWORD: no\" >&2; exit 1",
     -EREMOTEIO, ERR_LATER, CAMERA_FAULT_OTHER, "rtsp://***"},
    {"echo hello", -EINVAL, ERR_NEVER, CAMERA_FAULT_NOT_PICTURE, "not a picture"},
    {"cat /dev/zero", -EFBIG, ERR_NEVER, CAMERA_FAULT_OTHER, "longer than the 100000 bytes",
     .size_max = 100000},
    {"cat /dev/zero >&2 & sleep 0.2; exit 7", -EREMOTEIO, ERR_LATER, CAMERA_FAULT_OTHER,
     "exit status 7"},
};

static void a_programs_failure_is_told_without_secrets(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(failure_cases); i++) {
        const struct failure_case *t = &failure_cases[i];
        struct room room;
        make_room(&room);
        write_script(&room, t->script);
        struct camera cam = command_camera(room.script);
        if (t->size_max)
            cam.size_max = t->size_max;
        struct outcome got = run(&cam);
        if (got.code != t->code || got.error.retry != t->retry || got.fault != t->fault ||
            !strstr(got.error.text, t->words) || strstr(got.error.text, "c4n4ry"))
            fail_msg("%s: %d, %s, %s: %s", t->script, got.code, err_retry_name(got.error.retry),
                     camera_fault_names[got.fault], got.error.text);
        leave_room(&room);
    }
}

static void a_program_that_is_not_there_is_told_at_once(void **state)
{
    (void)state;
    int fds = count_fds();
    struct camera cam = command_camera("/no/such/program -x");
    struct outcome got = run(&cam);
    assert_int_equal(got.code, -ENOENT);
    assert_int_equal(got.error.retry, ERR_NEVER);
    assert_non_null(strstr(got.error.text, "cannot start '/no/such/program'"));
    assert_int_equal(count_fds(), fds);
}

static void a_rejected_password_is_not_given_to_the_program_again(void **state)
{
    (void)state;
    struct room room;
    make_room(&room);
    AUTO_FREE char *script =
        xasprintf("echo x >>%s/runs; echo '401 Unauthorized' >&2; exit 1", room.dir);
    write_script(&room, script);
    struct camera cam = command_camera(room.script);
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    assert_int_equal(fetch_once(f, &cam, false).code, -EACCES);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fetch_once(f, &cam, false).code, -EACCES);
    AUTO_FREE char *runs_path = xasprintf("%s/runs", room.dir);
    AUTO(blob) runs = NULL;
    assert_int_equal(fs_read_blob(AT_FDCWD, runs_path, 100, &runs, &e), 0);
    assert_int_equal(runs->size, 2); /* one line */
    unlink(runs_path);
    leave_room(&room);
}

static void a_program_under_way_is_killed_when_its_camera_is_forgotten(void **state)
{
    (void)state;
    int fds = count_fds();
    struct camera cam = command_camera("/bin/sleep 1000");
    struct fetcher *f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    struct outcome o = {0}, second = {0};
    assert_int_equal(fetcher_start(f, &cam, false, &o, &e), 0);
    fetcher_forget(f, "porch");
    assert_true(o.done);
    assert_int_equal(o.code, -ECANCELED);
    assert_int_equal(fetcher_start(f, &cam, false, &second, &e), 0);
    fetcher_free(f);
    assert_int_equal(second.code, -ECANCELED);
    assert_int_equal(count_fds(), fds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_program_prints_is_the_picture),
        cmocka_unit_test(a_line_becomes_words_without_any_shell),
        cmocka_unit_test(a_program_has_the_configured_environment_and_no_descriptor_of_ours),
        cmocka_unit_test(nothing_that_a_program_started_stays),
        cmocka_unit_test(a_programs_failure_is_told_without_secrets),
        cmocka_unit_test(a_program_that_is_not_there_is_told_at_once),
        cmocka_unit_test(a_rejected_password_is_not_given_to_the_program_again),
        cmocka_unit_test(a_program_under_way_is_killed_when_its_camera_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
