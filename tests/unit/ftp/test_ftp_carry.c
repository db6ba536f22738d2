#include "fixture.h"

#include "system_calls.h"

#include "ftp_rig.h"

#include <linux/magic.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/vfs.h>

#include "ftp/ftp_disk.h"

static const char ready_text[] = "125 Ready.\r\n";

/* An upload in the hands of a disk thread, its data connection, and what its client hears. */
struct carried {
    struct ftp_disk_job job;
    struct ftp_carry carry;
    int client, hears; /* -1 when closed */
};

static int set_up(void **state)
{
    calls_reset();
    return fixture_set_up(state);
}

static int tear_down(void **state)
{
    calls_reset();
    return fixture_tear_down(state);
}

static struct ftp_disk *start(struct fixture *f, int threads)
{
    struct ftp_disk *d = NULL;
    if (ftp_disk_start(threads, &d, &f->e) < 0)
        CASE_FAILS("%s", f->e.text);
    return d;
}

static void make_pair(int *ours, int *theirs)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    *ours = fds[0];
    *theirs = fds[1];
}

static struct carried *carried_new(struct fixture *f, const char *path)
{
    struct carried *c = xcalloc(1, sizeof(*c));
    c->job = (struct ftp_disk_job){.kind = FTP_DISK_CARRY,
                                   .jail = f->jail,
                                   .request = {.op = FTP_OP_STORE, .overwrite = true},
                                   .carry = &c->carry,
                                   .fd = -1};
    (void)text_copy(c->job.request.path, sizeof(c->job.request.path), path);
    make_pair(&c->carry.data_fd, &c->client);
    make_pair(&c->carry.control_fd, &c->hears);
    dynbuf_init(&c->carry.ready, 100);
    dynbuf_init(&c->carry.stored, 100);
    assert_int_equal(dynbuf_puts(&c->carry.ready, ready_text), 0);
    return c;
}

static void close_if_open(int *fd)
{
    if (*fd >= 0)
        (void)close(STEAL_FD(*fd));
}

static void carried_free(struct carried *c)
{
    ftp_upload_close(c->job.upload);
    close_if_open(&c->carry.data_fd);
    close_if_open(&c->carry.control_fd);
    close_if_open(&c->client);
    close_if_open(&c->hears);
    dynbuf_done(&c->carry.ready);
    dynbuf_done(&c->carry.stored);
    free(c);
}

static void send_bytes(struct carried *c, const char *bytes, size_t size)
{
    assert_int_equal(send(c->client, bytes, size, MSG_NOSIGNAL), size);
}

/* All that there is. */
static void send_whole(struct carried *c, const char *text)
{
    send_bytes(c, text, strlen(text));
    close_if_open(&c->client);
}

static struct ftp_disk_job *collect(struct ftp_disk *d)
{
    while (true) {
        struct pollfd p = {ftp_disk_fd(d), POLLIN, 0};
        assert_int_equal(poll(&p, 1, 20000), 1);
        struct ftp_disk_job *jobs = ftp_disk_collect(d);
        if (jobs != NULL)
            return jobs;
    }
}

static void carry(struct ftp_disk *d, struct carried *c)
{
    ftp_disk_submit(d, &c->job);
    assert_ptr_equal(collect(d), &c->job);
}

static const char *heard(const struct carried *c)
{
    static char text[400];
    ssize_t n = recv(c->hears, text, sizeof(text) - 1, MSG_PEEK);
    text[MAX(n, 0)] = '\0';
    return text;
}

/* ---- to the end ---- */

static struct carried *watched;
static bool spoke_early;

static void listen_before_the_sync(int fd UNUSED)
{
    spoke_early |= strstr(heard(watched), "226") != NULL;
}

static void carries_it_to_its_name_and_says_so_when_it_is_safe(void **state)
{
    struct fixture *f = *state;
    struct ftp_disk *d = start(f, 2);
    struct carried *c = watched = carried_new(f, "/a.txt");
    send_whole(c, "hello");
    spoke_early = false;
    calls.before[CALL_SYNC_FOLDER] = listen_before_the_sync;
    calls_trace();
    carry(d, c);
    assert_string_equal(calls.trace, "fnd");
    assert_false(spoke_early);
    assert_int_equal(c->job.code, 0);
    assert_int_equal(c->carry.end, FTP_CARRY_ENDED);
    assert_int_equal(c->carry.bytes, 5);
    assert_int_equal(c->carry.data_fd, -1);
    assert_null(c->job.upload);
    assert_int_equal(c->job.file.size, 5);
    assert_string_equal(heard(c), "125 Ready.\r\n226 Stored, 5 bytes.\r\n");
    fixture_expect(f, "/a.txt", "hello");
    carried_free(c);
    ftp_disk_free(d);
}

static void says_nothing_of_what_cannot_be_opened(void **state)
{
    struct fixture *f = *state;
    struct ftp_disk *d = start(f, 1);
    f->options.reserve = 1000;
    fixture_jail(f);
    calls.free_bytes = 999;
    struct carried *c = carried_new(f, "/a.txt");
    send_whole(c, "hello");
    carry(d, c);
    assert_int_equal(c->carry.end, FTP_CARRY_REFUSED);
    assert_int_equal(c->job.code, -ENOSPC);
    assert_string_equal(heard(c), "");
    assert_true(c->carry.data_fd >= 0);
    assert_int_equal(fixture_count(f, "/", ""), 0);
    carried_free(c);
    ftp_disk_free(d);
}

/* Whatever fails: no word of it from the thread, and nothing is kept. */
static void expect_failure(struct fixture *f, struct ftp_disk *d, const char *text,
                           enum ftp_carry_end end, int code)
{
    struct carried *c = carried_new(f, "/a.jpg");
    c->job.check_end = true;
    send_whole(c, text);
    carry(d, c);
    assert_int_equal(c->job.code, code);
    assert_int_equal(c->job.error.code, code);
    assert_int_equal(c->carry.end, end);
    assert_null(c->job.upload);
    assert_string_equal(heard(c), ready_text);
    assert_int_equal(fixture_count(f, "/", ""), 0);
    carried_free(c);
}

static void of_what_fails_in_its_hands_nothing_is_kept(void **state)
{
    struct fixture *f = *state;
    struct ftp_disk *d = start(f, 2);
    static const int codes[] = {ENOSPC, EIO, EDQUOT};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        calls_fail(CALL_WRITE, 1, codes[i]);
        expect_failure(f, d, "hello", FTP_CARRY_FAILED, -codes[i]);
    }
    calls_fail(CALL_SYNC_FILE, 1, EIO);
    expect_failure(f, d, "hello", FTP_CARRY_ENDED, -EIO);
    calls_fail(CALL_SYNC_FOLDER, 1, EIO);
    expect_failure(f, d, "hello", FTP_CARRY_ENDED, -EIO);
    expect_failure(f, d, "\xff\xd8\xff", FTP_CARRY_ENDED, -EBADMSG);
    ftp_disk_free(d);
}

static void keeps_to_the_limits_to_the_byte(void **state)
{
    struct fixture *f = *state;
    struct ftp_disk *d = start(f, 2);
    f->account.size_max = 5;
    fixture_jail(f);
    expect_failure(f, d, "123456", FTP_CARRY_FAILED, -EFBIG);
    f->account.size_max = 0;
    f->account.quota = 5;
    fixture_jail(f);
    expect_failure(f, d, "123456", FTP_CARRY_FAILED, -EDQUOT);
    f->account.size_max = 5;
    fixture_jail(f);
    static const char *const texts[] = {"1234", "12345"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct carried *c = carried_new(f, "/a.txt");
        send_whole(c, texts[i]);
        carry(d, c);
        assert_int_equal(c->job.code, 0);
        carried_free(c);
    }
    fixture_expect(f, "/a.txt", "12345");
    ftp_disk_free(d);
}

static void of_a_connection_that_breaks_nothing_is_kept(void **state)
{
    struct fixture *f = *state;
    struct ftp_disk *d = start(f, 1);
    struct carried *c = carried_new(f, "/a.txt");
    assert_int_equal(send(c->carry.data_fd, "x", 1, MSG_NOSIGNAL), 1); /* unread: that is a reset */
    send_whole(c, "hello");
    carry(d, c);
    assert_int_equal(c->carry.end, FTP_CARRY_CUT);
    assert_int_equal(c->carry.error, -ECONNRESET);
    assert_null(c->job.upload);
    assert_string_equal(heard(c), ready_text);
    assert_int_equal(fixture_count(f, "/", ""), 0);
    carried_free(c);
    ftp_disk_free(d);
}

/* ---- and back ---- */

static void a_stall_gives_it_back_as_it_is(void **state)
{
    struct fixture *f = *state;
    struct ftp_disk *d = start(f, 1);
    struct carried *c = carried_new(f, "/a.txt");
    char rest[] = "lo";
    send_bytes(c, "hel", 3);
    carry(d, c);
    assert_int_equal(c->job.code, 0);
    assert_int_equal(c->carry.end, FTP_CARRY_BACK);
    assert_int_equal(c->carry.bytes, 3);
    assert_true(c->carry.data_fd >= 0);
    assert_non_null(c->job.upload);
    assert_string_equal(heard(c), ready_text);
    c->job.kind = FTP_DISK_FINISH;
    c->job.carry = NULL;
    c->job.block = rest;
    c->job.block_size = 2;
    carry(d, c);
    assert_int_equal(c->job.code, 0);
    fixture_expect(f, "/a.txt", "hello");
    carried_free(c);
    ftp_disk_free(d);
}

static void it_comes_back_when_it_is_recalled(void **state)
{
    struct fixture *f = *state;
    struct ftp_disk *d = start(f, 1);
    struct carried *c = carried_new(f, "/a.txt");
    send_whole(c, "hello");
    atomic_store(&c->carry.recall, true);
    carry(d, c);
    assert_int_equal(c->carry.end, FTP_CARRY_BACK);
    assert_int_equal(c->carry.bytes, 0);
    assert_non_null(c->job.upload);
    carried_free(c);
    assert_int_equal(fixture_count(f, "/", ""), 0);
    ftp_disk_free(d);
}

static void it_comes_back_from_a_client_that_does_not_read(void **state)
{
    struct fixture *f = *state;
    struct ftp_disk *d = start(f, 1);
    struct carried *c = carried_new(f, "/a.txt");
    char filling[4096] = {0};
    while (send(c->carry.control_fd, filling, sizeof(filling), MSG_NOSIGNAL) > 0)
        ;
    send_whole(c, "hello");
    carry(d, c);
    assert_int_equal(c->carry.end, FTP_CARRY_BACK);
    assert_int_equal(c->carry.ready_said, 0);
    assert_int_equal(c->carry.bytes, 0);
    carried_free(c);
    ftp_disk_free(d);
}

static void silent_ones_keep_no_thread_from_others(void **state)
{
    struct fixture *f = *state;
    enum { SILENT = 40 };
    struct ftp_disk *d = start(f, 1);
    struct carried *silent[SILENT];
    for (int i = 0; i < SILENT; i++) {
        char path[32];
        (void)text_format(path, sizeof(path), "/silent-%d.txt", i);
        silent[i] = carried_new(f, path);
        ftp_disk_submit(d, &silent[i]->job);
    }
    struct carried *fast = carried_new(f, "/fast.txt");
    send_whole(fast, "hello");
    ftp_disk_submit(d, &fast->job);
    struct ftp_disk_job look = {
        .kind = FTP_DISK_FILE, .jail = f->jail, .request = {.op = FTP_OP_STAT, .path = "/"}};
    ftp_disk_submit(d, &look);
    for (int left = SILENT + 2; left > 0;)
        for (struct ftp_disk_job *job = collect(d); job != NULL; job = job->next)
            left--;
    assert_int_equal(look.code, 0);
    assert_int_equal(fast->carry.end, FTP_CARRY_ENDED);
    carried_free(fast);
    for (int i = 0; i < SILENT; i++) {
        assert_int_equal(silent[i]->carry.end, FTP_CARRY_BACK);
        carried_free(silent[i]);
    }
    fixture_expect(f, "/fast.txt", "hello");
    ftp_disk_free(d);
}

/* ---- with a server: what happens while the bytes are written ---- */

static sem_t writing, write_on;
static atomic_bool pausing;

static void pause_at_first_write(int fd UNUSED)
{
    if (atomic_exchange(&pausing, false)) {
        (void)sem_post(&writing);
        test_wait(&write_on);
    }
}

struct held_up {
    struct rig *rig;
    struct client client, other;
    int data;
    char *picture;
};
/* More than a block: also when a slow machine makes the thread give it back it is written soon. */
#define HALF (300 * 1024)

/* Half of a picture has come and is being written. */
static struct held_up hold_up_with(const char *ftp)
{
    calls.before[CALL_WRITE] = pause_at_first_write; /* before there are threads */
    struct held_up h = {.rig = rig_start(ftp, NULL), .picture = make_picture(2 * (size_t)HALF)};
    (void)sem_init(&writing, 0, 0);
    (void)sem_init(&write_on, 0, 0);
    h.client = client_login(h.rig);
    h.other = client_login(h.rig);
    atomic_store(&pausing, true);
    h.data = client_begin(&h.client, "a.jpg");
    send_all(h.data, h.picture, HALF);
    test_wait(&writing);
    return h;
}

static struct held_up hold_up(void)
{
    return hold_up_with(NULL);
}

/* The server has seen what was done before. */
static void go_on(struct held_up *h)
{
    client_say(&h->other, 200, "NOOP");
    (void)sem_post(&write_on);
}

static void let_go(struct held_up *h)
{
    client_close(&h->other);
    rig_end(h->rig);
    free(h->picture);
}

static void abor_ends_what_a_thread_has_in_its_hands(void **state UNUSED)
{
    struct held_up h = hold_up();
    client_send(&h.client, "ABOR\r\n");
    go_on(&h);
    client_expect(&h.client, 426);
    client_expect(&h.client, 226);
    expect_closed(h.data);
    (void)close(h.data);
    assert_int_equal(rig_count_files(h.rig), 0);
    client_say(&h.client, 200, "NOOP");
    client_close(&h.client);
    let_go(&h);
}

static void stat_is_answered_and_the_upload_goes_on(void **state UNUSED)
{
    struct held_up h = hold_up();
    client_send(&h.client, "STAT\r\n");
    go_on(&h);
    client_expect(&h.client, 211);
    send_all(h.data, h.picture + HALF, HALF);
    client_finish(&h.client, h.data, 226);
    assert_true(rig_has(h.rig, "a.jpg", h.picture, 2 * (size_t)HALF));
    client_close(&h.client);
    let_go(&h);
}

static void what_is_sent_ahead_waits_for_the_end(void **state UNUSED)
{
    struct held_up h = hold_up();
    client_send(&h.client, "NOOP\r\nPWD\r\n");
    go_on(&h);
    send_all(h.data, h.picture + HALF, HALF);
    client_finish(&h.client, h.data, 226);
    client_expect(&h.client, 200);
    client_expect(&h.client, 257);
    client_close(&h.client);
    let_go(&h);
}

static void finishes_a_picture_whose_client_has_gone(void **state UNUSED)
{
    struct held_up h = hold_up();
    cut(h.client.fd);
    send_all(h.data, h.picture + HALF, HALF);
    (void)close(h.data);
    go_on(&h);
    while (!rig_has(h.rig, "a.jpg", h.picture, 2 * (size_t)HALF))
        client_say(&h.other, 200, "NOOP");
    let_go(&h);
}

/* Where there is no device to wait for. */
static void in_memory_it_does_not_wait_for_a_thread_that_is_stuck(void **state UNUSED)
{
    struct statfs fs;
    if (statfs("/dev/shm", &fs) < 0 || fs.f_type != TMPFS_MAGIC)
        skip();
    (void)setenv("SNAPSHOT_TEST_FOLDER", "/dev/shm", 1);
    struct held_up h = hold_up_with("disk_threads = 1");
    (void)unsetenv("SNAPSHOT_TEST_FOLDER");
    int data = client_begin(&h.other, "b.jpg");
    send_all(data, h.picture, 2 * (size_t)HALF);
    client_finish(&h.other, data, 226);
    assert_true(rig_has(h.rig, "b.jpg", h.picture, 2 * (size_t)HALF));
    data = client_begin(&h.other, "cut.jpg");
    send_all(data, "\xff\xd8\xff\xe0 and no end", 15);
    client_finish(&h.other, data, 451);
    assert_int_equal(rig_count_files(h.rig), 2); /* b.jpg, and the one that is stuck */
    go_on(&h);
    send_all(h.data, h.picture + HALF, HALF);
    client_finish(&h.client, h.data, 226);
    assert_true(rig_has(h.rig, "a.jpg", h.picture, 2 * (size_t)HALF));
    client_close(&h.client);
    let_go(&h);
}

static void a_stop_without_grace_waits_for_the_thread_only(void **state UNUSED)
{
    struct held_up h = hold_up();
    (void)sem_post(&write_on);
    assert_int_equal(ftp_server_stop(h.rig->server, 0), 0);
    assert_int_equal(rig_count_files(h.rig), 0);
    expect_closed(h.client.fd);
    client_close(&h.client);
    (void)close(h.data);
    let_go(&h);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(carries_it_to_its_name_and_says_so_when_it_is_safe),
        TEST(says_nothing_of_what_cannot_be_opened),
        TEST(of_what_fails_in_its_hands_nothing_is_kept),
        TEST(keeps_to_the_limits_to_the_byte),
        TEST(of_a_connection_that_breaks_nothing_is_kept),
        TEST(a_stall_gives_it_back_as_it_is),
        TEST(it_comes_back_when_it_is_recalled),
        TEST(it_comes_back_from_a_client_that_does_not_read),
        TEST(silent_ones_keep_no_thread_from_others),
        TEST(abor_ends_what_a_thread_has_in_its_hands),
        TEST(stat_is_answered_and_the_upload_goes_on),
        TEST(what_is_sent_ahead_waits_for_the_end),
        TEST(finishes_a_picture_whose_client_has_gone),
        TEST(in_memory_it_does_not_wait_for_a_thread_that_is_stuck),
        TEST(a_stop_without_grace_waits_for_the_thread_only),
    };
    return RUN_TESTS(tests);
}
