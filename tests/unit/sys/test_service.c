#include "../test.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "sys/service.h"

/* The service manager's end: a datagram socket. */
static char folder[64];
static int folder_fd = -1, manager = -1;

static int set_up(void **state UNUSED)
{
    folder_fd = test_folder_new(folder);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", folder);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return bind(manager, (struct sockaddr *)&address, sizeof(address)) < 0 ||
           setenv("NOTIFY_SOCKET", address.sun_path, 1) < 0;
}

static int tear_down(void **state UNUSED)
{
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    (void)close(manager);
    test_folder_remove(folder, folder_fd);
    return 0;
}

static void expect_message(const char *wanted)
{
    char buf[1000] = "";
    ssize_t n = recv(manager, buf, sizeof(buf) - 1, MSG_DONTWAIT);
    assert_true(n > 0);
    if (strncmp(buf, wanted, strlen(wanted)) != 0)
        CASE_FAILS("got \"%s\", wanted \"%s\"", buf, wanted);
}

static void tells_the_manager(void **state UNUSED)
{
    service_ready();
    expect_message("READY=1");
    service_status("%d cameras", 3);
    expect_message("STATUS=3 cameras");
    service_reloading();
    expect_message("RELOADING=1\nMONOTONIC_USEC=");
    service_extend_start(60000, "opening %s", "it");
    expect_message("EXTEND_TIMEOUT_USEC=60000000\nSTATUS=opening it");
    service_watchdog_ping();
    expect_message("WATCHDOG=1");
    service_stopping();
    expect_message("STOPPING=1");
}

static void pings_twice_per_watchdog_interval(void **state UNUSED)
{
    assert_int_equal(service_watchdog_ms(), 0);
    assert_int_equal(setenv("WATCHDOG_USEC", "30000000", 1), 0);
    assert_int_equal(service_watchdog_ms(), 15000);
}

static void does_nothing_without_a_manager(void **state UNUSED)
{
    unsetenv("NOTIFY_SOCKET");
    service_ready();
    service_status("x");
    service_stopping();
    char buf[10];
    assert_int_equal(recv(manager, buf, sizeof(buf), MSG_DONTWAIT), -1);
}

/* Two descriptors from 3 on are open in any case: the folder and the manager's socket. */
static void finds_sockets_by_their_name(void **state UNUSED)
{
    int fds[2] = {-1, -1};
    char pid[16];
    assert_int_equal(service_listen_fds("ftp", fds, 2), 0);
    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    assert_int_equal(setenv("LISTEN_PID", pid, 1), 0);
    assert_int_equal(setenv("LISTEN_FDS", "2", 1), 0);
    assert_int_equal(setenv("LISTEN_FDNAMES", "ftp:ftps", 1), 0);
    assert_int_equal(service_listen_fds("ftps", fds, 2), 1);
    assert_int_equal(fds[0], 4);
    assert_int_equal(service_listen_fds("ftp", fds, 2), 1);
    assert_int_equal(fds[0], 3);
    assert_int_equal(service_listen_fds("http", fds, 2), 0);
    assert_int_equal(setenv("LISTEN_FDNAMES", "ftp:ftp", 1), 0);
    assert_int_equal(service_listen_fds("ftp", fds, 1), 1);
    assert_int_equal(service_listen_fds("ftp", fds, 2), 2);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tells_the_manager),
        TEST(pings_twice_per_watchdog_interval),
        TEST(does_nothing_without_a_manager),
        TEST(finds_sockets_by_their_name),
    };
    return RUN_TESTS(tests);
}
