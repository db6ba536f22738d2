#include "ftp_rig.h"

#include <crypt.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/metrics.h"
#include "ftp/ftp_data.h"

#define PICTURE_SIZE 100000
/* Who comes from here seems to come from the internet, which a test cannot do otherwise. */
#define FAR_AWAY "127.0.0.77"
#define FAR_AWAY_SEEN "203.0.113.77"

static char *picture;

/* This one stands before that of libc. */
int accept4(int fd, struct sockaddr *from, socklen_t *size, int flags)
{
    int r = (int)syscall(SYS_accept4, fd, from, size, flags);
    if (r >= 0 && from && from->sa_family == AF_INET) {
        struct sockaddr_in *peer = (struct sockaddr_in *)from;
        if (peer->sin_addr.s_addr == inet_addr(FAR_AWAY))
            peer->sin_addr.s_addr = inet_addr(FAR_AWAY_SEEN);
    }
    return r;
}

/* Likewise: these are the passwords of every hash. Each check is written down, and waits
 * where a test wants it to. */
static struct {
    pthread_mutex_t lock;
    atomic_bool gated;
    sem_t gate;
    atomic_int count;
    char passwords[64][32];
} checks = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const hash_passwords[] = {"correct horse", "short", "PassWord", "hash"};

char *crypt_r(const char *password, const char *setting, struct crypt_data *data)
{
    (void)pthread_mutex_lock(&checks.lock);
    int n = atomic_load(&checks.count);
    assert_true(n < (int)ARRAY_LEN(checks.passwords));
    (void)text_copy(checks.passwords[n], sizeof(checks.passwords[n]), password); /* cut is fine */
    atomic_store(&checks.count, n + 1);
    (void)pthread_mutex_unlock(&checks.lock);
    while (atomic_load(&checks.gated) && sem_wait(&checks.gate) < 0)
        continue;
    bool right = false;
    for (size_t i = 0; i < ARRAY_LEN(hash_passwords); i++)
        right |= strcmp(password, hash_passwords[i]) == 0;
    (void)text_copy(data->output, sizeof(data->output), right ? setting : "*0"); /* fits */
    return data->output;
}

static void gate_checks(void)
{
    while (sem_trywait(&checks.gate) == 0)
        continue;
    atomic_store(&checks.count, 0);
    atomic_store(&checks.gated, true);
}

static void let_check(void)
{
    (void)sem_post(&checks.gate);
}

static void let_all_checks(void)
{
    atomic_store(&checks.gated, false);
    for (size_t i = 0; i < ARRAY_LEN(checks.passwords); i++)
        let_check();
}

/* Until the n-th has begun. */
static const char *check_of(int n)
{
    struct mono_time until = mono_add_ms(clock_mono(), RIG_PATIENCE_MS);
    while (atomic_load(&checks.count) < n)
        if (mono_until_ms(until) == 0)
            fail_msg("only %d checks began", atomic_load(&checks.count));
        else
            (void)poll(NULL, 0, 1);
    return checks.passwords[n - 1];
}

static int set_up(void **state UNUSED)
{
    (void)sem_init(&checks.gate, 0, 0); /* cannot fail */
    picture = make_picture(PICTURE_SIZE);
    ftp_server_register_metrics();
    return 0;
}

static int tear_down(void **state UNUSED)
{
    free(picture);
    return 0;
}

static void upload(struct client *c, const char *name, const void *bytes, size_t size, int code)
{
    int data = client_begin(c, name);
    send_all(data, bytes, size);
    client_finish(c, data, code);
}

/* ---- the way of a picture ---- */

static void stores_a_picture(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    upload(&c, "a.jpg", picture, PICTURE_SIZE, 226);
    assert_true(rig_has(r, "a.jpg", picture, PICTURE_SIZE));
    client_say(&c, 221, "QUIT");
    assert_int_equal(client_reply(&c), 0);
    struct ftp_server_status st;
    ftp_server_status(r->server, &st);
    assert_int_equal(st.stored, 1);
    assert_int_equal(st.failed, 0);
    assert_true(text_starts_with(st.listen, "127.0.0.1:"));
    client_close(&c);
    rig_end(r);
}

static void takes_the_data_connection_after_the_command_as_well(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    int port = client_passive_port(&c);
    client_say(&c, 150, "STOR a.jpg");
    int data = rig_connect_from("127.0.0.1", port);
    send_all(data, picture, PICTURE_SIZE);
    client_finish(&c, data, 226);
    assert_true(rig_has(r, "a.jpg", picture, PICTURE_SIZE));
    client_close(&c);
    rig_end(r);
}

static void stores_what_is_larger_than_all_blocks(void **state UNUSED)
{
    struct rig *r = rig_start("buffers = 512k", NULL);
    struct client c = client_login(r);
    size_t size = 5000001;
    AUTO_FREE char *large = make_picture(size);
    upload(&c, "a.jpg", large, size, 226);
    assert_true(rig_has(r, "a.jpg", large, size));
    client_close(&c);
    rig_end(r);
}

static void stores_an_empty_file(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    upload(&c, "test.txt", "", 0, 226);
    assert_true(rig_has(r, "test.txt", "", 0));
    client_close(&c);
    rig_end(r);
}

static void connects_to_an_active_client(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &size), 0);
    char command[64];
    (void)text_format(command, sizeof(command), "PORT 127,0,0,1,%d,%d", ntohs(at.sin_port) >> 8,
                      ntohs(at.sin_port) & 255);
    client_say(&c, 200, command);
    client_say(&c, 150, "STOR a.jpg");
    int data = accept(listener, NULL, NULL);
    send_all(data, picture, PICTURE_SIZE);
    client_finish(&c, data, 226);
    assert_true(rig_has(r, "a.jpg", picture, PICTURE_SIZE));
    /* And where nobody listens it says so. */
    (void)close(listener);
    client_say(&c, 200, command);
    client_say(&c, 150, "STOR b.jpg");
    client_expect(&c, 425);
    assert_int_equal(rig_count_files(r), 1);
    client_close(&c);
    rig_end(r);
}

static void sends_files_and_lists(void **state UNUSED)
{
    struct rig *r = rig_start("buffers = 512k", NULL);
    struct client c = client_login(r);
    size_t size = 3000000;
    AUTO_FREE char *large = make_picture(size);
    AUTO_FREE char *got = xmalloc(size + 1);
    upload(&c, "a.jpg", large, size, 226);
    int data = client_passive(&c);
    client_say(&c, 125, "RETR a.jpg");
    assert_int_equal(receive_all(data, got, size + 1), size);
    assert_memory_equal(got, large, size);
    client_finish(&c, data, 226);
    data = client_passive(&c);
    client_say(&c, 125, "NLST");
    assert_int_equal(receive_all(data, got, size), strlen("a.jpg\r\n"));
    assert_memory_equal(got, "a.jpg\r\n", strlen("a.jpg\r\n"));
    client_finish(&c, data, 226);
    data = client_passive(&c);
    client_say(&c, 350, "REST 2999990");
    client_say(&c, 125, "RETR a.jpg");
    assert_int_equal(receive_all(data, got, size), 10);
    client_finish(&c, data, 226);
    client_close(&c);
    rig_end(r);
}

/* ---- what it says of itself ---- */

static void greets_with_the_configured_banner(void **state UNUSED)
{
    static const struct {
        const char *line, *greeting;
    } cases[] = {{NULL, "220 test FTP.\n"}, {"banner = Front gate.", "220 Front gate.\n"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig *r = rig_start(cases[i].line, NULL);
        struct client c = client_open(r, "127.0.0.1");
        client_expect(&c, 220);
        assert_string_equal(c.reply, cases[i].greeting);
        client_close(&c);
        rig_end(r);
    }
}

/* Uploads as a client that goes where PASV sends it, and checks that it is sent to `told`. */
static void upload_from(struct rig *r, const char *from, const char *told)
{
    int port_high = 0, port_low = 0;
    struct client c = client_login_from(r, from);
    client_say(&c, 227, "PASV");
    const char *numbers = strstr(c.reply, told);
    if (!numbers || sscanf(numbers + strlen(told), ",%d,%d)", &port_high, &port_low) != 2)
        CASE_FAILS("%s is told \"%s\", wanted %s", from, c.reply, told);
    /* A router or a container's host would forward it from there. */
    int data = rig_connect_from(from, port_high * 256 + port_low);
    client_say(&c, 125, "STOR a.jpg");
    send_all(data, picture, PICTURE_SIZE);
    client_finish(&c, data, 226);
    client_close(&c);
}

static void who_comes_from_outside_is_told_the_masquerade_address(void **state UNUSED)
{
    struct rig *r = rig_start("masquerade = 198.51.100.7", NULL);
    upload_from(r, FAR_AWAY, "(198,51,100,7");
    upload_from(r, "127.0.0.1", "(127,0,0,1");
    rig_end(r);
}

static void in_a_container_all_are_told_the_masquerade_address(void **state UNUSED)
{
    struct rig *r = rig_start("masquerade = 198.51.100.7\nmasquerade_all = yes", NULL);
    upload_from(r, FAR_AWAY, "(198,51,100,7");
    upload_from(r, "127.0.0.1", "(198,51,100,7");
    rig_end(r);
}

static void without_masquerade_all_are_told_the_address_that_they_came_to(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    upload_from(r, FAR_AWAY, "(127,0,0,1");
    rig_end(r);
}

/* ---- the control connection ---- */

static void takes_commands_byte_by_byte(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_open(r, "127.0.0.1");
    client_expect(&c, 220);
    static const char text[] = "USER cam\r\nPASS " RIG_PASSWORD "\r\nNOOP\n";
    for (const char *p = text; *p; p++)
        assert_int_equal(send(c.fd, p, 1, MSG_NOSIGNAL), 1);
    client_expect(&c, 331);
    client_expect(&c, 230);
    client_expect(&c, 200);
    client_close(&c);
    rig_end(r);
}

static void takes_everything_in_one_write(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_open(r, "127.0.0.1");
    client_send(&c, "USER cam\r\nPASS " RIG_PASSWORD
                    "\r\nMKD a\r\nCWD a\r\nPWD\r\nSIZE none\r\nQUIT\r\nNOOP\r\n");
    static const int codes[] = {220, 331, 230, 257, 250, 257, 550, 221, 0};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        client_expect(&c, codes[i]);
    client_close(&c);
    rig_end(r);
}

/* What is sent ahead waits for its turn, however much it is. */
static void runs_what_was_sent_ahead_after_the_transfer(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    int data = client_begin(&c, "a.jpg");
    enum { COUNT = 4000 }; /* more than the server keeps, less than the kernel does */
    for (int i = 0; i < COUNT; i++)
        client_send(&c, "NOOP\r\n");
    send_all(data, picture, PICTURE_SIZE);
    client_finish(&c, data, 226);
    for (int i = 0; i < COUNT; i++)
        client_expect(&c, 200);
    client_close(&c);
    rig_end(r);
}

static void waits_for_a_client_that_does_not_read(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    /* HELP is long; nothing of it is read, until the server stops taking commands. */
    static const char command[] = "HELP                                                    \r\n";
    const size_t len = strlen(command);
    int small = 4096;
    assert_int_equal(setsockopt(c.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    size_t bytes = 0;
    ssize_t n;
    while ((n = send(c.fd, command + bytes % len, len - bytes % len, MSG_NOSIGNAL | MSG_DONTWAIT)) >
           0)
        bytes += (size_t)n;
    size_t sent = bytes / len; /* the rest of the last one is never sent */
    for (size_t i = 0; i < sent; i++)
        client_expect(&c, 214);
    client_close(&c);
    rig_end(r);
}

static void closes_on_a_browser(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_open(r, "127.0.0.1");
    client_send(&c, "POST / HTTP/1.1\r\nHost: x\r\n\r\nUSER cam\r\nPASS " RIG_PASSWORD "\r\n");
    client_expect(&c, 220);
    client_expect(&c, 421);
    assert_int_equal(client_reply(&c), 0);
    client_close(&c);
    rig_end(r);
}

/* ---- the data connection ---- */

static void takes_one_data_connection(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    int port = client_passive_port(&c);
    int data = rig_connect_from("127.0.0.1", port);
    client_say(&c, 125, "STOR a.jpg");
    assert_int_equal(rig_connect_from("127.0.0.1", port), -ECONNREFUSED);
    send_all(data, picture, PICTURE_SIZE);
    client_finish(&c, data, 226);
    client_close(&c);
    rig_end(r);
}

static void another_passive_replaces_the_first(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    int first = client_passive(&c);
    int second = client_passive(&c);
    expect_closed(first);
    client_say(&c, 125, "STOR a.jpg");
    send_all(second, picture, PICTURE_SIZE);
    (void)close(first);
    (void)close(second);
    client_expect(&c, 226);
    assert_true(rig_has(r, "a.jpg", picture, PICTURE_SIZE));
    client_close(&c);
    rig_end(r);
}

static void sends_a_stranger_away_from_the_data_port(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    /* Before the command, ... */
    int port = client_passive_port(&c);
    int stranger = rig_connect_from("127.0.0.2", port);
    expect_closed(stranger);
    (void)close(stranger);
    /* ... and behind it, also when it is first. */
    client_say(&c, 150, "STOR a.jpg");
    stranger = rig_connect_from("127.0.0.2", port);
    int data = rig_connect_from("127.0.0.1", port);
    expect_closed(stranger);
    (void)close(stranger);
    send_all(data, picture, PICTURE_SIZE);
    client_finish(&c, data, 226);
    assert_true(rig_has(r, "a.jpg", picture, PICTURE_SIZE));
    client_close(&c);
    rig_end(r);
}

static void takes_a_stranger_where_the_account_says_so(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, "foreign_data = yes");
    struct client c = client_login(r);
    int data = rig_connect_from("127.0.0.2", client_passive_port(&c));
    client_say(&c, 125, "STOR a.jpg");
    send_all(data, picture, PICTURE_SIZE);
    client_finish(&c, data, 226);
    client_close(&c);
    rig_end(r);
}

static void refuses_to_connect_elsewhere(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    client_send(&c, "PORT 127,0,0,2,100,1\r\n");
    assert_in_range(client_reply(&c), 500, 599);
    client_send(&c, "PORT 127,0,0,1,0,80\r\n");
    assert_in_range(client_reply(&c), 500, 599);
    client_send(&c, "EPRT |1|127.0.0.2|30000|\r\n");
    assert_in_range(client_reply(&c), 500, 599);
    client_close(&c);
    rig_end(r);
}

static void waits_for_the_data_connection_only_so_long(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    int port = client_passive_port(&c);
    client_say(&c, 150, "STOR a.jpg");
    rig_pass(r, 31000);
    client_expect(&c, 425);
    assert_int_equal(rig_connect_from("127.0.0.1", port), -ECONNREFUSED);
    assert_int_equal(rig_count_files(r), 0);
    client_say(&c, 200, "NOOP");
    client_close(&c);
    rig_end(r);
}

/* Chi-square of 10,000 ports in 100 bins; 200 is far beyond what chance gives (99 degrees). */
static void passive_ports_are_spread_evenly(void **state UNUSED)
{
    enum { DRAWS = 10000, BINS = 100 };
    struct ftp_ports ports = {50000, 50999};
    int counts[BINS] = {0};
    double chi = 0, wanted = (double)DRAWS / BINS;
    for (int i = 0; i < DRAWS; i++) {
        int port = ftp_data_random_port(ports);
        assert_in_range(port, ports.min, ports.max);
        counts[(port - ports.min) * BINS / 1000]++;
    }
    for (int i = 0; i < BINS; i++)
        chi += (counts[i] - wanted) * (counts[i] - wanted) / wanted;
    assert_true(chi < 200);
    assert_true(chi > 30);
}

/* So many in a row that nobody has; below those that the kernel gives to others. */
static int find_free_ports(int count)
{
    for (int first = 10000 + (int)getpid() % 1000; first + count < 32768; first += count) {
        int fds[16], made = 0;
        assert_in_range(count, 1, ARRAY_LEN(fds));
        for (bool free_one = true; free_one && made < count;) {
            struct sockaddr_in at = {.sin_family = AF_INET,
                                     .sin_port = htons((uint16_t)(first + made))};
            at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            fds[made] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            free_one = bind(fds[made], (struct sockaddr *)&at, sizeof(at)) == 0;
            made++;
            if (!free_one)
                (void)close(fds[--made]);
        }
        for (int i = 0; i < made; i++)
            (void)close(fds[i]);
        if (made == count)
            return first;
    }
    fail_msg("no %d free ports", count);
    return 0;
}

static void uses_the_whole_of_a_small_range_and_then_says_so(void **state UNUSED)
{
    int first = find_free_ports(4);
    AUTO_FREE char *range =
        xasprintf("passive_port_min = %d\npassive_port_max = %d", first, first + 3);
    struct rig *r = rig_start(range, NULL);
    enum { COUNT = 4 };
    struct client c[COUNT];
    for (int i = 0; i < COUNT; i++) {
        c[i] = client_login(r);
        assert_in_range(client_passive_port(&c[i]), first, first + 3);
    }
    struct client more = client_login(r);
    client_say(&more, 425, "EPSV");
    for (int i = 0; i < COUNT; i++)
        client_close(&c[i]);
    client_close(&more);
    rig_end(r);
}

/* ---- ends that are none ---- */

static void cut_uploads_leave_nothing(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    int data = client_begin(&c, "a.jpg");
    send_all(data, picture, PICTURE_SIZE / 2);
    cut(data);
    client_expect(&c, 426);
    assert_int_equal(rig_count_files(r), 0);
    upload(&c, "b.jpg", picture, PICTURE_SIZE / 2, 451); /* has no end */
    assert_int_equal(rig_count_files(r), 0);
    upload(&c, "b.jpg", picture, PICTURE_SIZE, 226);
    assert_int_equal(rig_count_files(r), 1);
    client_close(&c);
    rig_end(r);
}

static void abor_with_urgent_bytes_ends_the_transfer(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    int data = client_begin(&c, "a.jpg");
    send_all(data, picture, PICTURE_SIZE / 2);
    /* As RFC 959 wants it: IP, then DM as the urgent byte, then the command. */
    assert_int_equal(send(c.fd, "\xff\xf4\xff", 3, MSG_NOSIGNAL), 3);
    assert_int_equal(send(c.fd, "\xf2", 1, MSG_NOSIGNAL | MSG_OOB), 1);
    client_send(&c, "ABOR\r\n");
    client_expect(&c, 426);
    client_expect(&c, 226);
    expect_closed(data);
    (void)close(data);
    assert_int_equal(rig_count_files(r), 0);
    client_say(&c, 200, "NOOP");
    client_close(&c);
    rig_end(r);
}

static void stat_in_the_middle_tells_how_far_it_is(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    int data = client_begin(&c, "a.jpg");
    send_all(data, picture, 1000);
    do /* until the bytes are there */
        client_say(&c, 211, "STAT");
    while (!strstr(c.reply, "1000 bytes"));
    send_all(data, picture + 1000, PICTURE_SIZE - 1000);
    client_finish(&c, data, 226);
    client_close(&c);
    rig_end(r);
}

static void quit_in_the_middle_waits_for_the_end(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    int data = client_begin(&c, "a.jpg");
    send_all(data, picture, 1000);
    client_send(&c, "QUIT\r\n");
    send_all(data, picture + 1000, PICTURE_SIZE - 1000);
    client_finish(&c, data, 226);
    client_expect(&c, 221);
    assert_int_equal(client_reply(&c), 0);
    assert_true(rig_has(r, "a.jpg", picture, PICTURE_SIZE));
    client_close(&c);
    rig_end(r);
}

static void wait_until_stored(struct rig *r, int64_t stored, int64_t failed)
{
    struct ftp_server_status st;
    for (int i = 0; i < RIG_PATIENCE_MS; i++) {
        ftp_server_status(r->server, &st);
        if (st.stored == stored && st.failed == failed)
            return;
        (void)poll(NULL, 0, 1);
    }
    fail_msg("%lld stored, %lld failed", (long long)st.stored, (long long)st.failed);
}

/* A camera that does not wait for the answer has sent a whole picture all the same; of bytes whose
 * end cannot be seen it is not known. */
static void finishes_a_picture_whose_client_has_gone(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    int data = client_begin(&c, "a.jpg");
    send_all(data, picture, 1000);
    client_close(&c);
    send_all(data, picture + 1000, PICTURE_SIZE - 1000);
    (void)close(data);
    wait_until_stored(r, 1, 0);
    assert_true(rig_has(r, "a.jpg", picture, PICTURE_SIZE));

    c = client_login(r);
    data = client_begin(&c, "b.mp4");
    send_all(data, "video", 5);
    client_close(&c);
    expect_closed(data);
    (void)close(data);
    wait_until_stored(r, 1, 1);
    assert_int_equal(rig_count_files(r), 1);
    rig_end(r);
}

static void refuses_what_is_too_large_at_once(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, "size_max = 1M");
    struct client c = client_login(r);
    size_t size = 4 << 20;
    AUTO_FREE char *large = make_picture(size);
    int data = client_begin(&c, "a.jpg");
    for (size_t done = 0; done < size;) { /* until it is cut */
        ssize_t n = send(data, large + done, size - done, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    client_expect(&c, 552);
    (void)close(data);
    assert_int_equal(rig_count_files(r), 0);
    client_say(&c, 200, "NOOP");
    client_close(&c);
    rig_end(r);
}

/* ---- what was announced ---- */

static void fewer_bytes_than_announced_are_not_all(void **state UNUSED)
{
    const char *film = "twenty bytes of film", *whole = picture;
    const struct {
        const char *first, *command;
        const char *bytes;
        size_t size;
        int code;
    } table[] = {
        {"ALLO 21", "STOR a.mp4", film, 20, 451},          {"ALLO 21", "STOU a.mp4", film, 20, 451},
        {"ALLO 21", "STOR a.mp4", film, 0, 451},           {"ALLO 20", "STOR a.mp4", film, 20, 226},
        {"ALLO 19", "STOR a.mp4", film, 20, 226},          {"NOOP", "STOR a.mp4", film, 20, 226},
        {"ALLO 21", "APPE b.mp4", film, 20, 226},          /* the whole, or what is added? */
        {"ALLO 100001", "STOR a.jpg", whole, 100000, 226}, /* it has its end */
        {"ALLO 100000", "STOR a.jpg", whole, 99000, 451},  /* and here it has not */
        {"ALLO 100000", "STOR a.jpg", "\xff\xd8", 2, 451},
    };
    for (int late = 0; late < 2; late++)
        for (size_t i = 0; i < ARRAY_LEN(table); i++) {
            struct rig *r = rig_start(NULL, NULL);
            struct client c = client_login(r);
            client_say(&c, table[i].first[0] == 'A' ? 202 : 200, table[i].first);
            int port = client_passive_port(&c);
            int data = late ? -1 : rig_connect_from("127.0.0.1", port);
            client_say(&c, late ? 150 : 125, table[i].command);
            if (late)
                data = rig_connect_from("127.0.0.1", port);
            send_all(data, table[i].bytes, table[i].size);
            client_finish(&c, data, table[i].code);
            assert_int_equal(rig_count_files(r), table[i].code == 226);
            client_close(&c);
            rig_end(r);
        }
}

static void an_announced_size_is_no_promise_of(struct rig *r, struct client *c, const char *name)
{
    upload(c, name, "short", 5, 226);
    assert_true(rig_has(r, name, "short", 5));
}

static void what_was_announced_is_of_one_binary_upload(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    client_say(&c, 202, "ALLO 10");
    client_say(&c, 200, "TYPE A"); /* line ends may count otherwise here */
    an_announced_size_is_no_promise_of(r, &c, "text.txt");
    client_say(&c, 200, "TYPE I");
    client_say(&c, 202, "ALLO 10");
    client_say(&c, 425, "STOR refused.txt");
    an_announced_size_is_no_promise_of(r, &c, "next.txt");
    client_close(&c);
    rig_end(r);
    r = rig_start("check_end = no", NULL);
    c = client_login(r);
    client_say(&c, 202, "ALLO 10");
    an_announced_size_is_no_promise_of(r, &c, "a.txt");
    client_close(&c);
    rig_end(r);
}

/* ---- whose file it is ---- */

#define STORE_ONLY                                                                                 \
    "[ftp_account:low]\npassword = " RIG_PASSWORD "\nrights = store\ndirectory = cam\n"

static struct client login_low(struct rig *r)
{
    struct client c = client_open(r, "127.0.0.1");
    client_expect(&c, 220);
    client_say(&c, 331, "USER low");
    client_say(&c, 230, "PASS " RIG_PASSWORD);
    return c;
}

/* As the spool does. */
static void take(struct rig *r, const char *name)
{
    char path[256];
    (void)text_format(path, sizeof(path), "%s/cam/%s", r->root, name);
    assert_int_equal(unlink(path), 0);
}

static void a_new_name_for_what_was_taken_makes_no_other_file_ones_own(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, STORE_ONLY);
    struct client owner = client_login(r), c = login_low(r);
    upload(&owner, "film.mp4", "of the owner", 12, 226);
    upload(&c, "t.jpg", picture, PICTURE_SIZE, 226);
    take(r, "t.jpg");
    client_say(&c, 350, "RNFR t.jpg");
    client_say(&c, 550, "RNTO film.mp4");
    client_say(&c, 550, "DELE film.mp4");
    assert_true(rig_has(r, "film.mp4", "of the owner", 12));
    client_say(&c, 350, "RNFR t.jpg"); /* a free name is fine */
    client_say(&c, 250, "RNTO free.mp4");
    upload(&owner, "free.mp4", "of the owner", 12, 226);
    client_say(&c, 250, "DELE free.mp4"); /* its own, which was taken */
    assert_true(rig_has(r, "free.mp4", "of the owner", 12));
    client_close(&owner);
    client_close(&c);
    rig_end(r);
}

/* Each of them may be done with what one has stored, whoever has it now. */
static void what_another_stored_under_ones_name_stays_his(void **state UNUSED)
{
    static const struct {
        const char *first, *then;
        int code;
    } table[] = {
        {"DELE a.txt", NULL, 250},
        {"RNFR a.txt", "RNTO mine.txt", 350},
        {"MFMT 20200101000000 a.txt", NULL, 213},
        {"SIZE a.txt", NULL, 213},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct rig *r = rig_start(NULL, STORE_ONLY);
        struct client a = login_low(r), b = login_low(r);
        upload(&a, "a.txt", "mine", 4, 226);
        take(r, "a.txt");
        upload(&b, "a.txt", "another's", 9, 226);
        client_say(&a, table[i].code, table[i].first);
        if (text_starts_with(table[i].first, "SIZE"))
            assert_string_equal(a.reply, "213 4\n");
        if (table[i].then)
            client_say(&a, 250, table[i].then);
        assert_true(rig_has(r, "a.txt", "another's", 9));
        client_say(&b, 213, "MDTM a.txt");
        assert_null(strstr(b.reply, "2020010100"));
        int data = client_passive(&a);
        client_say(&a, 550, "STOR a.txt"); /* nor is it written over */
        (void)close(data);
        data = client_passive(&a);
        client_say(&a, 550, "APPE a.txt");
        (void)close(data);
        upload(&b, "a.txt", "once more", 9, 226); /* but by its own session it is */
        assert_true(rig_has(r, "a.txt", "once more", 9));
        client_say(&b, 250, "DELE a.txt");
        assert_false(rig_has(r, "a.txt", "once more", 9));
        client_close(&a);
        client_close(&b);
        rig_end(r);
    }
}

static void a_file_stays_ones_own_over_a_new_name_and_a_new_time(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, STORE_ONLY);
    struct client c = login_low(r);
    client_say(&c, 257, "MKD d");
    upload(&c, "d/a.txt", "mine", 4, 226);
    client_say(&c, 213, "MFMT 20200101000000 d/a.txt");
    client_say(&c, 350, "RNFR d/a.txt");
    client_say(&c, 250, "RNTO d/b.txt");
    client_say(&c, 350, "RNFR d");
    client_say(&c, 250, "RNTO e");
    upload(&c, "e/b.txt", "more", 4, 226);
    assert_true(rig_has(r, "e/b.txt", "more", 4));
    client_say(&c, 250, "DELE e/b.txt");
    client_say(&c, 250, "RMD e");
    assert_int_equal(rig_count_files(r), 0);
    client_close(&c);
    rig_end(r);
}

/* ---- time ---- */

static void a_silent_upload_ends(void **state UNUSED)
{
    struct rig *r = rig_start("stall_timeout = 60s", NULL);
    struct client c = client_login(r);
    int data = client_begin(&c, "a.jpg");
    send_all(data, picture, 1000);
    do
        client_say(&c, 211, "STAT");
    while (!strstr(c.reply, "1000 bytes"));
    rig_pass(r, 59000);
    client_say(&c, 211, "STAT");
    rig_pass(r, 2000);
    client_expect(&c, 426);
    (void)close(data);
    assert_int_equal(rig_count_files(r), 0);
    client_close(&c);
    rig_end(r);
}

static void an_upload_that_dribbles_ends(void **state UNUSED)
{
    struct rig *r = rig_start("stall_timeout = 60s\nrate_min = 256", NULL);
    struct client c = client_login(r);
    int data = client_begin(&c, "a.jpg");
    for (int i = 1; i <= 2; i++) { /* never silent for long, but some 100 bytes a second */
        char wanted[32];
        send_all(data, picture, 3000);
        (void)text_format(wanted, sizeof(wanted), " %d bytes", 3000 * i);
        do
            client_say(&c, 211, "STAT");
        while (!strstr(c.reply, wanted));
        rig_pass(r, 31000);
    }
    client_expect(&c, 426);
    (void)close(data);
    client_close(&c);
    rig_end(r);
}

static void an_idle_session_ends_and_a_transfer_is_not_idle(void **state UNUSED)
{
    struct rig *r = rig_start("idle_timeout = 300s\nstall_timeout = 600s\nrate_min = 0", NULL);
    struct client c = client_login(r), quiet = client_login(r);
    int data = client_begin(&c, "a.jpg");
    send_all(data, picture, PICTURE_SIZE - 1000);
    rig_pass(r, 200000);
    client_say(&quiet, 200, "NOOP");
    rig_pass(r, 200000);
    client_say(&quiet, 200, "NOOP");
    send_all(data, picture + PICTURE_SIZE - 1000, 1000);
    client_finish(&c, data, 226);
    rig_pass(r, 299000);
    client_say(&c, 200, "NOOP");
    rig_pass(r, 2000);
    client_expect(&quiet, 421);
    assert_int_equal(client_reply(&quiet), 0);
    client_say(&c, 200, "NOOP");
    client_close(&c);
    client_close(&quiet);
    rig_end(r);
}

static void strangers_have_little_time(void **state UNUSED)
{
    struct rig *r = rig_start("command_timeout = 15s\nlogin_timeout = 30s", NULL);
    struct client silent = client_open(r, "127.0.0.1"), talker = client_open(r, "127.0.0.1");
    client_expect(&silent, 220);
    client_expect(&talker, 220);
    client_send(&silent, "NOO"); /* no whole command */
    client_say(&talker, 331, "USER cam");
    rig_pass(r, 16000);
    client_expect(&silent, 421);
    client_say(&talker, 331, "USER cam");
    rig_pass(r, 16000);
    client_expect(&talker, 421);
    client_close(&silent);
    client_close(&talker);
    rig_end(r);
}

/* ---- passwords ---- */

static void says_no_late_and_three_times_at_most(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_open(r, "127.0.0.3");
    client_expect(&c, 220);
    for (int i = 0; i < 3; i++) {
        client_say(&c, 331, i == 1 ? "USER nobody" : "USER cam");
        client_send(&c, "PASS wrong\r\n");
        struct pollfd p = {.fd = c.fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 20), 0); /* the clock stands still but for these 20 ms */
        rig_pass(r, 1000);
        client_expect(&c, i == 2 ? 421 : 530);
    }
    assert_int_equal(client_reply(&c), 0);
    client_close(&c);
    rig_end(r);
}

static void shuts_an_address_out_that_guesses(void **state UNUSED)
{
    struct rig *r = rig_start("login_failures_max = 2\nban = 10m", NULL);
    struct client c = client_open(r, "127.0.0.3"), other = client_open(r, "127.0.0.3");
    client_expect(&c, 220);
    client_expect(&other, 220);
    for (int i = 0; i < 2; i++) {
        client_say(&c, 331, "USER cam");
        client_send(&c, "PASS wrong\r\n");
        rig_pass(r, 1000);
        client_expect(&c, 530);
    }
    /* Neither over what is open nor over what is new, ... */
    client_say(&other, 331, "USER cam");
    client_say(&other, 421, "PASS " RIG_PASSWORD);
    struct client late = client_open(r, "127.0.0.3");
    client_expect(&late, 421);
    assert_int_equal(client_reply(&late), 0);
    /* ... and a camera elsewhere does not feel it. */
    struct client camera = client_login(r);
    rig_pass(r, 660000);
    struct client again = client_open(r, "127.0.0.3");
    client_expect(&again, 220);
    client_close(&c);
    client_close(&other);
    client_close(&late);
    client_close(&camera);
    client_close(&again);
    rig_end(r);
}

#define HASHED                                                                                     \
    "[ftp_account:hash]\n"                                                                         \
    "password = $2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e\n"

static void checks_hashed_passwords_beside(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, HASHED);
    struct client c = client_open(r, "127.0.0.1");
    client_send(&c, "USER hash\r\nPASS correct horse\r\nPWD\r\n");
    client_expect(&c, 220);
    client_expect(&c, 331);
    client_expect(&c, 230);
    client_expect(&c, 257);
    client_close(&c);
    c = client_open(r, "127.0.0.1");
    client_expect(&c, 220);
    client_say(&c, 331, "USER hash");
    client_send(&c, "PASS correct horsE\r\n");
    client_close(&c); /* nobody waits for it any more */
    c = client_login(r);
    client_close(&c);
    rig_end(r);
}

/* The server has seen all that was sent before. */
static void come_round(struct rig *r)
{
    struct client c = client_open(r, "127.0.0.99");
    client_expect(&c, 220);
    client_say(&c, 530, "PWD");
    client_close(&c);
}

/* Comes back when the server has been asked for the check. */
static struct client ask_for_login(struct rig *r, const char *from, const char *user,
                                   const char *password)
{
    struct client c = client_open(r, from);
    AUTO_FREE char *pass = xasprintf("PASS %s\r\n", password);
    AUTO_FREE char *name = xasprintf("USER %s", user);
    client_expect(&c, 220);
    client_say(&c, 331, name);
    client_send(&c, pass);
    come_round(r);
    return c;
}

static void known_cameras_pass_the_queue_of_strangers(void **state UNUSED)
{
    struct rig *r = rig_start("disk_threads = 2", HASHED);
    struct client camera = ask_for_login(r, "127.0.0.5", "hash", "correct horse");
    client_expect(&camera, 230);
    client_close(&camera);
    gate_checks();
    struct client strangers[6];
    for (int i = 0; i < 6; i++)
        strangers[i] = ask_for_login(r, (const char *[]){"127.0.0.11", "127.0.0.12"}[i % 2],
                                     i < 4 ? "hash" : "nobody", "guess");
    assert_string_equal(check_of(1), "guess");
    camera = ask_for_login(r, "127.0.0.5", "hash", "correct horse");
    struct client plain = client_login(r); /* has no need of the queue */
    let_check();
    assert_string_equal(check_of(2), "correct horse");
    let_all_checks();
    client_expect(&camera, 230);
    check_of(1 + 1 + 5);
    for (int i = 0; i < 6; i++)
        client_close(&strangers[i]);
    client_close(&camera);
    client_close(&plain);
    rig_end(r);
}

/* All that are open at once do not buy more guesses, nor more work, than one after the other. */
static void an_address_has_one_check_at_a_time_and_none_once_it_is_banned(void **state UNUSED)
{
    struct rig *r = rig_start("login_failures_max = 2\ndisk_threads = 8", HASHED);
    struct client guessers[5];
    gate_checks();
    for (int i = 0; i < 5; i++)
        guessers[i] = ask_for_login(r, "127.0.0.11", "hash", "guess");
    check_of(1);
    struct client other = ask_for_login(r, "127.0.0.12", "hash", "correct horse");
    assert_string_equal(check_of(2), "correct horse");
    assert_int_equal(atomic_load(&checks.count), 2);
    client_close(&guessers[0]); /* who does not wait for the answer has failed as well */
    let_all_checks();
    client_expect(&other, 230);
    for (int i = 2; i < 5; i++)
        client_expect(&guessers[i], 421);
    assert_int_equal(atomic_load(&checks.count), 3);
    rig_pass(r, 1000);
    client_expect(&guessers[1], 530);
    for (int i = 1; i < 5; i++)
        client_close(&guessers[i]);
    client_close(&other);
    rig_end(r);
}

static void who_waits_for_a_check_may_go_and_the_server_may_stop(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, HASHED);
    struct client c[4];
    gate_checks();
    for (int i = 0; i < 4; i++)
        c[i] = ask_for_login(r, "127.0.0.11", "hash", "correct horse");
    check_of(1);
    cut(c[1].fd);
    client_send(&c[2], "QUIT\r\n");
    come_round(r);
    let_check();
    client_expect(&c[0], 230);
    let_check();
    client_expect(&c[2], 230);
    client_expect(&c[2], 221);
    check_of(3);
    let_all_checks();
    for (int i = 0; i < 4; i++)
        if (i != 1)
            client_close(&c[i]);
    rig_end(r);
}

static void find_refused(const struct metric *m, void *arg)
{
    if (strcmp(m->name, "snapshotd_ftp_logins_refused_total") == 0)
        *(double *)arg = metric_value((struct metric *)m, NULL);
}

static double count_refused(void)
{
    double n = 0;
    metrics_each(find_refused, &n);
    return n;
}

/* Until one more login was refused. */
static void wait_refused(double before)
{
    struct mono_time until = mono_add_ms(clock_mono(), RIG_PATIENCE_MS);
    while (count_refused() == before)
        if (mono_until_ms(until) == 0)
            fail_msg("nobody was refused");
        else
            (void)poll(NULL, 0, 1);
}

static void nobody_is_checked_who_has_gone(void **state UNUSED)
{
    static const char *const from[] = {"127.0.0.11", "127.0.0.12", "127.0.0.13"};
    struct rig *r = rig_start("disk_threads = 2", HASHED);
    struct client c[3];
    gate_checks();
    for (int i = 0; i < 3; i++)
        c[i] = ask_for_login(r, from[i], "hash", "guess");
    check_of(1);
    for (int i = 1; i < 3; i++)
        cut(c[i].fd);
    come_round(r);
    double before = count_refused();
    let_all_checks();
    rig_pass(r, 1000);
    client_expect(&c[0], 530);
    client_close(&c[0]);
    rig_end(r); /* what was asked for is done */
    assert_int_equal(atomic_load(&checks.count), 1);
    assert_int_equal(count_refused() - before, 1);
}

/* What of the real time passes until the answer, where the server's clock has gone on for `wait_ms`
 * from the question on, `check_ms` of them before the check was done. */
static int64_t answer_ms(struct rig *r, const char *from, int check_ms, int wait_ms)
{
    gate_checks();
    struct client c = ask_for_login(r, from, "hash", "guess");
    check_of(1);
    double before = count_refused();
    rig_pass(r, check_ms);
    let_all_checks();
    wait_refused(before);
    struct mono_time begin = clock_mono();
    atomic_fetch_add(&rig_ahead_us, (wait_ms - check_ms) * 1000LL);
    begin = mono_add_ms(begin, wait_ms - check_ms);
    come_round(r);
    client_expect(&c, 530);
    client_close(&c);
    return mono_diff_us(clock_mono(), begin) / 1000;
}

/* How long the check takes would tell whose name it was. An answer that comes too late waits for
 * the real clock; on a busy machine one in time may, too, but not each time. */
static void says_no_a_second_after_the_question_however_long_the_check_takes(void **state UNUSED)
{
    static const struct {
        int check_ms, wait_ms;
    } table[] = {{0, 1000}, {400, 1000}, {800, 1000}, {1300, 2000}};
    struct rig *r = rig_start(NULL, HASHED);
    int address = 20;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        int64_t least = INT64_MAX;
        for (int n = 0; n < 10 && least >= 250; n++) {
            AUTO_FREE char *from = xasprintf("127.0.0.%d", address++);
            least = MIN(least, answer_ms(r, from, table[i].check_ms, table[i].wait_ms));
        }
        if (least >= 250)
            CASE_FAILS("%d ms: %lld ms late", table[i].check_ms, (long long)least);
    }
    rig_end(r);
}

static bool keep_weak(enum log_level level, const char *id, const char *text, void *arg)
{
    char *ret = arg;
    if (level == LOG_LEVEL_WARNING && strcmp(id, "ftp-password-weak") == 0)
        (void)text_copy(ret, 256, text); /* cut is fine */
    return true;
}

/* A hash does not show what it is of until somebody says it. */
static void a_hash_of_a_bad_password_lets_nobody_in(void **state UNUSED)
{
    static const struct {
        const char *password, *why; /* NULL = good */
    } table[] = {{"correct horse", NULL},
                 {"short", "at least 8 characters"},
                 {"PassWord", "everybody tries first"},
                 {"hash", "at least 8 characters"}};
    struct rig *r = rig_start("login_failures_max = 100", HASHED);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char said[256] = "";
        log_set_hook(keep_weak, said);
        double before = count_refused();
        struct client c = ask_for_login(r, "127.0.0.5", "hash", table[i].password);
        if (table[i].why)
            wait_refused(before);
        rig_pass(r, 1000);
        client_expect(&c, table[i].why ? 530 : 230);
        log_set_hook(rig_swallow, NULL); /* from now on `said` is ours */
        if (table[i].why) {
            assert_non_null(strstr(said, table[i].why));
            assert_non_null(strstr(said, "'hash'"));
        }
        assert_null(strstr(said, "PassWord"));
        client_close(&c);
    }
    rig_end(r);
}

static void a_login_is_of_the_accounts_that_there_are_at_its_end(void **state UNUSED)
{
    static const struct {
        const char *accounts;
        int code;
    } table[] = {{"[ftp_account:other]\npassword = another one\n", 530},
                 {"[ftp_account:other]\npassword = another one\n" HASHED "rights = list\n", 230}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct rig *r = rig_start(NULL, HASHED);
        gate_checks();
        struct client c = ask_for_login(r, "127.0.0.5", "hash", "correct horse");
        check_of(1);
        AUTO(cfg) cfg = rig_load(table[i].accounts);
        AUTO(ftp_accounts) accounts = NULL;
        struct err e = {0};
        assert_int_equal(ftp_accounts_load(cfg, &accounts, &e), 0);
        assert_int_equal(ftp_server_set_accounts(r->server, accounts, &e), 0);
        struct client other = client_open(r, "127.0.0.1"); /* by its answer it has come to pass */
        client_expect(&other, 220);
        client_say(&other, 331, "USER other");
        client_say(&other, 230, "PASS another one");
        let_all_checks();
        if (table[i].code == 530)
            rig_pass(r, 1000);
        client_expect(&c, table[i].code);
        if (table[i].code == 230)
            client_say(&c, 550, "MKD folder");
        client_close(&c);
        client_close(&other);
        rig_end(r);
    }
}

/* ---- limits ---- */

static void limits_sessions(void **state UNUSED)
{
    struct rig *r = rig_start("sessions_per_address = 2", "sessions_max = 3");
    struct client a = client_login(r), b = client_login(r);
    struct client c = client_open(r, "127.0.0.1");
    client_expect(&c, 421);
    client_close(&c);
    client_say(&a, 221, "QUIT");
    assert_int_equal(client_reply(&a), 0);
    client_close(&a);
    a = client_login(r); /* there is room again */
    /* The account's own limit holds over all addresses. */
    struct client far = client_open(r, "127.0.0.4"), farther = client_open(r, "127.0.0.4");
    client_expect(&far, 220);
    client_say(&far, 331, "USER cam");
    client_say(&far, 230, "PASS " RIG_PASSWORD);
    client_expect(&farther, 220);
    client_say(&farther, 331, "USER cam");
    client_say(&farther, 421, "PASS " RIG_PASSWORD);
    client_close(&a);
    client_close(&b);
    client_close(&far);
    client_close(&farther);
    rig_end(r);
}

static void survives_without_descriptors(void **state UNUSED)
{
    struct rig *r = rig_start("sessions_per_address = 100", NULL);
    struct client c = client_login(r);
    int data = client_begin(&c, "a.jpg");
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    int lowest = dup(c.fd); /* sockets made before are below it */
    enum { COUNT = 4 };
    int fds[COUNT];
    for (int i = 0; i < COUNT; i++)
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    few.rlim_cur = (rlim_t)lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)r->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(connect(fds[i], (struct sockaddr *)&to, sizeof(to)), 0);
    /* Who is in goes on. */
    send_all(data, picture, PICTURE_SIZE);
    (void)shutdown(data, SHUT_WR);
    client_expect(&c, 226);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (int i = 0; i < COUNT; i++) {
        struct client late = {.rig = r, .fd = fds[i]};
        int code = client_reply(&late);
        assert_true(code == 421 || code == 220);
        (void)close(fds[i]);
    }
    (void)close(lowest);
    (void)close(data);
    struct client again = client_login(r);
    client_close(&again);
    client_close(&c);
    rig_end(r);
}

/* All blocks are with slow uploads; a fast one beside them is not kept waiting for their end. */
static void slow_uploads_do_not_starve_a_fast_one(void **state UNUSED)
{
    struct rig *r = rig_start("buffers = 512k\nsessions_per_address = 200", NULL);
    enum { COUNT = 100 };
    struct client *slow = xcalloc(COUNT, sizeof(*slow));
    int data[COUNT];
    for (int i = 0; i < COUNT; i++) {
        char command[32];
        slow[i] = client_login(r);
        data[i] = client_passive(&slow[i]);
        (void)text_format(command, sizeof(command), "STOR s%d.jpg", i);
        client_say(&slow[i], 125, command);
        send_all(data[i], picture, 1000);
    }
    struct client fast = client_login(r);
    size_t size = 2 << 20;
    AUTO_FREE char *large = make_picture(size);
    upload(&fast, "fast.jpg", large, size, 226);
    assert_true(rig_has(r, "fast.jpg", large, size));
    for (int i = 0; i < COUNT; i++) {
        send_all(data[i], picture + 1000, PICTURE_SIZE - 1000);
        (void)close(data[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        char name[32];
        client_expect(&slow[i], 226);
        (void)text_format(name, sizeof(name), "s%d.jpg", i);
        assert_true(rig_has(r, name, picture, PICTURE_SIZE));
        client_close(&slow[i]);
    }
    free(slow);
    client_close(&fast);
    rig_end(r);
}

/* Clients that do not take what they asked for hold no block for ever. */
static void slow_downloads_do_not_starve_an_upload(void **state UNUSED)
{
    struct rig *r = rig_start("buffers = 512k", NULL);
    enum { COUNT = 6 };
    size_t size = 16 << 20;
    AUTO_FREE char *large = make_picture(size), *got = xmalloc(size + 1);
    struct client up = client_login(r), slow[COUNT];
    int data[COUNT];
    upload(&up, "large.jpg", large, size, 226);
    for (int i = 0; i < COUNT; i++) {
        slow[i] = client_login(r);
        data[i] = client_passive(&slow[i]);
        client_say(&slow[i], 125, "RETR large.jpg");
    }
    upload(&up, "a.jpg", picture, PICTURE_SIZE, 226);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(receive_all(data[i], got, size + 1), size);
        assert_memory_equal(got, large, size);
        client_expect(&slow[i], 226);
        (void)close(data[i]);
        client_close(&slow[i]);
    }
    client_close(&up);
    rig_end(r);
}

static void keeps_to_the_rate_of_the_account(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, "rate = 1M");
    struct client c = client_login(r);
    struct mono_time began = clock_mono();
    size_t size = 400000;
    AUTO_FREE char *large = make_picture(size);
    upload(&c, "a.jpg", large, size, 226);
    /* 0.1 s worth of it comes at once. */
    assert_true(mono_diff_ms(clock_mono(), began) > 200);
    client_close(&c);
    rig_end(r);
}

/* ---- stop and reload ---- */

static void *stop_server(void *arg)
{
    struct rig *r = arg;
    return (void *)(intptr_t)ftp_server_stop(r->server, 10000);
}

static void a_stop_finishes_uploads_and_dismisses_the_rest(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r), idle = client_login(r);
    int data = client_begin(&c, "a.jpg");
    send_all(data, picture, 1000);
    pthread_t stopper;
    assert_int_equal(pthread_create(&stopper, NULL, stop_server, r), 0);
    client_expect(&idle, 421);
    assert_int_equal(client_reply(&idle), 0);
    assert_int_equal(rig_connect_from("127.0.0.1", r->port), -ECONNREFUSED);
    send_all(data, picture + 1000, PICTURE_SIZE - 1000);
    client_finish(&c, data, 226);
    client_expect(&c, 421);
    assert_int_equal(client_reply(&c), 0);
    void *result = NULL;
    assert_int_equal(pthread_join(stopper, &result), 0);
    assert_null(result);
    assert_true(rig_has(r, "a.jpg", picture, PICTURE_SIZE));
    client_close(&c);
    client_close(&idle);
    rig_end(r);
}

static void a_stop_without_grace_drops_uploads(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, NULL);
    struct client c = client_login(r);
    int data = client_begin(&c, "a.jpg");
    send_all(data, picture, 1000);
    assert_int_equal(ftp_server_stop(r->server, 0), 0);
    assert_int_equal(ftp_server_stop(r->server, 0), 0);
    client_expect(&c, 421);
    assert_int_equal(client_reply(&c), 0);
    (void)close(data);
    assert_int_equal(rig_count_files(r), 0);
    client_close(&c);
    rig_end(r);
}

static void a_changed_account_logs_in_again(void **state UNUSED)
{
    struct rig *r = rig_start(NULL, "[ftp_account:kept]\npassword = another one\n");
    struct client c = client_login(r), kept = client_open(r, "127.0.0.1");
    client_expect(&kept, 220);
    client_say(&kept, 331, "USER kept");
    client_say(&kept, 230, "PASS another one");
    int data = client_begin(&c, "a.jpg");
    send_all(data, picture, 1000);
    AUTO(cfg)
    cfg = rig_load("[ftp_account:cam]\npassword = changed it\ndirectory = cam\n"
                   "[ftp_account:kept]\npassword = another one\n");
    AUTO(ftp_accounts) accounts = NULL;
    struct err e = {0};
    assert_int_equal(ftp_accounts_load(cfg, &accounts, &e), 0);
    assert_int_equal(ftp_server_set_accounts(r->server, accounts, &e), 0);
    /* Its transfer is finished first. */
    send_all(data, picture + 1000, PICTURE_SIZE - 1000);
    client_finish(&c, data, 226);
    client_expect(&c, 421);
    assert_int_equal(client_reply(&c), 0);
    client_close(&c);
    client_say(&kept, 200, "NOOP");
    c = client_open(r, "127.0.0.1");
    client_expect(&c, 220);
    client_say(&c, 331, "USER cam");
    client_say(&c, 230, "PASS changed it");
    client_close(&c);
    client_close(&kept);
    rig_end(r);
}

static void leaves_no_descriptor_behind(void **state UNUSED)
{
    int before = test_count_fds();
    stores_a_picture(NULL);
    cut_uploads_leave_nothing(NULL);
    assert_int_equal(test_count_fds(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_a_picture),
        cmocka_unit_test(takes_the_data_connection_after_the_command_as_well),
        cmocka_unit_test(stores_what_is_larger_than_all_blocks),
        cmocka_unit_test(stores_an_empty_file),
        cmocka_unit_test(connects_to_an_active_client),
        cmocka_unit_test(sends_files_and_lists),
        cmocka_unit_test(greets_with_the_configured_banner),
        cmocka_unit_test(who_comes_from_outside_is_told_the_masquerade_address),
        cmocka_unit_test(in_a_container_all_are_told_the_masquerade_address),
        cmocka_unit_test(without_masquerade_all_are_told_the_address_that_they_came_to),
        cmocka_unit_test(takes_commands_byte_by_byte),
        cmocka_unit_test(takes_everything_in_one_write),
        cmocka_unit_test(runs_what_was_sent_ahead_after_the_transfer),
        cmocka_unit_test(waits_for_a_client_that_does_not_read),
        cmocka_unit_test(closes_on_a_browser),
        cmocka_unit_test(takes_one_data_connection),
        cmocka_unit_test(another_passive_replaces_the_first),
        cmocka_unit_test(sends_a_stranger_away_from_the_data_port),
        cmocka_unit_test(takes_a_stranger_where_the_account_says_so),
        cmocka_unit_test(refuses_to_connect_elsewhere),
        cmocka_unit_test(waits_for_the_data_connection_only_so_long),
        cmocka_unit_test(passive_ports_are_spread_evenly),
        cmocka_unit_test(uses_the_whole_of_a_small_range_and_then_says_so),
        cmocka_unit_test(cut_uploads_leave_nothing),
        cmocka_unit_test(abor_with_urgent_bytes_ends_the_transfer),
        cmocka_unit_test(stat_in_the_middle_tells_how_far_it_is),
        cmocka_unit_test(quit_in_the_middle_waits_for_the_end),
        cmocka_unit_test(finishes_a_picture_whose_client_has_gone),
        cmocka_unit_test(refuses_what_is_too_large_at_once),
        cmocka_unit_test(a_silent_upload_ends),
        cmocka_unit_test(an_upload_that_dribbles_ends),
        cmocka_unit_test(an_idle_session_ends_and_a_transfer_is_not_idle),
        cmocka_unit_test(fewer_bytes_than_announced_are_not_all),
        cmocka_unit_test(what_was_announced_is_of_one_binary_upload),
        cmocka_unit_test(a_new_name_for_what_was_taken_makes_no_other_file_ones_own),
        cmocka_unit_test(what_another_stored_under_ones_name_stays_his),
        cmocka_unit_test(a_file_stays_ones_own_over_a_new_name_and_a_new_time),
        cmocka_unit_test(strangers_have_little_time),
        cmocka_unit_test(says_no_late_and_three_times_at_most),
        cmocka_unit_test(shuts_an_address_out_that_guesses),
        cmocka_unit_test(checks_hashed_passwords_beside),
        cmocka_unit_test(known_cameras_pass_the_queue_of_strangers),
        cmocka_unit_test(an_address_has_one_check_at_a_time_and_none_once_it_is_banned),
        cmocka_unit_test(who_waits_for_a_check_may_go_and_the_server_may_stop),
        cmocka_unit_test(nobody_is_checked_who_has_gone),
        cmocka_unit_test(says_no_a_second_after_the_question_however_long_the_check_takes),
        cmocka_unit_test(a_hash_of_a_bad_password_lets_nobody_in),
        cmocka_unit_test(a_login_is_of_the_accounts_that_there_are_at_its_end),
        cmocka_unit_test(limits_sessions),
        cmocka_unit_test(survives_without_descriptors),
        cmocka_unit_test(slow_uploads_do_not_starve_a_fast_one),
        cmocka_unit_test(slow_downloads_do_not_starve_an_upload),
        cmocka_unit_test(keeps_to_the_rate_of_the_account),
        cmocka_unit_test(a_stop_finishes_uploads_and_dismisses_the_rest),
        cmocka_unit_test(a_stop_without_grace_drops_uploads),
        cmocka_unit_test(a_changed_account_logs_in_again),
        cmocka_unit_test(leaves_no_descriptor_behind),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
