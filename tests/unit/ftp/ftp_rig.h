#pragma once
/* A server in this process on a free loopback port, on a clock that can be moved, and a client that
 * says exactly what a test tells it to. */

#include "../test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "ftp/ftp_server.h"

#define RIG_PASSWORD "long enough"
/* What does not come within this time does not come. */
#define RIG_PATIENCE_MS 20000

struct rig {
    char folder[64], root[128];
    int folder_fd;
    struct cfg *cfg;
    struct ftp_accounts *accounts;
    struct ftp_server *server;
    int port;
};

/* ---- time: the real one, and what was added ---- */

static atomic_llong rig_ahead_us;

static struct mono_time rig_clock(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (struct mono_time){(int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 +
                              atomic_load(&rig_ahead_us)};
}

static int rig_connect_from(const char *from, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in local = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(inet_pton(AF_INET, from, &local.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&local, sizeof(local)), 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        int r = -errno;
        (void)close(fd);
        return r;
    }
    return fd;
}

/* The server sees the new time when something happens. */
static void UNUSED rig_pass(struct rig *r, int64_t ms)
{
    atomic_fetch_add(&rig_ahead_us, ms * 1000);
    int fd = rig_connect_from("127.0.0.9", r->port);
    assert_true(fd >= 0);
    char greeting[128];
    (void)!recv(fd, greeting, sizeof(greeting), 0);
    (void)close(fd);
}

/* ---- the server ---- */

static const struct cfg_section *const rig_sections[] = {&ftp_cfg_section, &ftp_account_cfg_section,
                                                         NULL};
static const struct cfg_schema rig_schema = {.sections = rig_sections};

static struct cfg *rig_load(const char *text)
{
    static char *const no_environment[] = {NULL};
    struct cfg_source source = {.path = "t.conf", .text = text, .environment = no_environment};
    struct cfg *c = NULL;
    AUTO_FREE char *faults = NULL;
    if (cfg_load(&rig_schema, &source, &c, &faults, NULL) < 0)
        fail_msg("%s: %s", text, faults);
    return c;
}

static bool rig_swallow(enum log_level level UNUSED, const char *id UNUSED, const char *text UNUSED,
                        void *arg UNUSED)
{
    return getenv("RIG_LOG") == NULL;
}

/* `ftp` are lines of [ftp], `account` of the account "cam"; NULL = none. */
static UNUSED struct rig *rig_start(const char *ftp, const char *account)
{
    struct rig *r = xcalloc(1, sizeof(*r));
    struct err e = {0};
    log_set_hook(rig_swallow, NULL);
    clock_set_mono_source(rig_clock);
    r->folder_fd = test_folder_new(r->folder);
    (void)text_format(r->root, sizeof(r->root), "%s/ftp", r->folder);
    AUTO_FREE char *text = xasprintf("[ftp]\nlisten = 127.0.0.1:0\nsync = no\n%s\n"
                                     "[ftp_account:cam]\npassword = " RIG_PASSWORD "\n"
                                     "rights = all\ndirectory = cam\n%s\n",
                                     ftp ? ftp : "", account ? account : "");
    r->cfg = rig_load(text);
    assert_int_equal(ftp_accounts_load(r->cfg, &r->accounts, &e), 0);
    struct ftp_server_options o = {.config = cfg_values(r->cfg, &ftp_cfg_section),
                                   .accounts = r->accounts,
                                   .app_name = "test",
                                   .upload_dir = "uploads",
                                   .root = r->root};
    if (ftp_server_start(&o, &r->server, &e) < 0)
        fail_msg("%s", e.text);
    r->port = ftp_server_port(r->server);
    return r;
}

static UNUSED void rig_end(struct rig *r)
{
    ftp_server_free(r->server);
    ftp_accounts_unref(r->accounts);
    cfg_unref(r->cfg);
    test_folder_remove(r->folder, r->folder_fd);
    free(r);
    log_set_hook(NULL, NULL);
}

/* Files below the account's folder, unfinished ones as well. */
static UNUSED int rig_count_files(struct rig *r)
{
    char path[256];
    int n = 0;
    (void)text_format(path, sizeof(path), "%s/cam", r->root);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    (void)closedir(d);
    return n;
}

static UNUSED bool rig_has(struct rig *r, const char *name, const void *bytes, size_t size)
{
    char path[256];
    struct stat st;
    (void)text_format(path, sizeof(path), "%s/cam/%s", r->root, name);
    if (stat(path, &st) < 0)
        return false;
    assert_int_equal(st.st_size, size);
    AUTO_FREE char *got = xmalloc(size);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_int_equal(fread(got, 1, size, f), size);
    (void)fclose(f);
    return memcmp(got, bytes, size) == 0;
}

/* ---- the client ---- */

struct client {
    struct rig *rig;
    int fd;
    char reply[4096]; /* the last one, all its lines */
    char ahead[8192]; /* what came behind it */
    size_t ahead_len;
};

static UNUSED void client_send(struct client *c, const char *text)
{
    assert_int_equal(send(c->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* False at the end of the connection. */
static bool client_fill(struct client *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    if (poll(&p, 1, RIG_PATIENCE_MS) != 1)
        fail_msg("no answer came; the last was \"%s\"", c->reply);
    ssize_t n = recv(c->fd, c->ahead + c->ahead_len, sizeof(c->ahead) - 1 - c->ahead_len, 0);
    if (n <= 0)
        return false;
    c->ahead_len += (size_t)n;
    c->ahead[c->ahead_len] = '\0';
    return true;
}

static bool is_last_line(const char *line)
{
    return line[0] >= '1' && line[0] <= '5' && strlen(line) > 3 && line[3] == ' ';
}

/* The code of the next reply, 0 at the end of the connection. */
static int client_reply(struct client *c)
{
    c->reply[0] = '\0';
    while (true) {
        char *end;
        while (!(end = c->ahead_len ? strstr(c->ahead, "\r\n") : NULL))
            if (!client_fill(c))
                return 0;
        char line[1024] = "";
        size_t len = (size_t)(end - c->ahead);
        memcpy(line, c->ahead, MIN(len, sizeof(line) - 1));
        c->ahead_len -= len + 2;
        memmove(c->ahead, end + 2, c->ahead_len + 1);
        size_t used = strlen(c->reply);
        (void)text_format(c->reply + used, sizeof(c->reply) - used, "%s\n", line);
        if (is_last_line(line))
            return (line[0] - 48) * 100 + (line[1] - 48) * 10 + line[2] - 48;
    }
}

static UNUSED void client_expect_(struct client *c, int code, int line)
{
    int got = client_reply(c);
    if (got != code)
        fail_msg("line %d: wanted %d, got %d \"%s\"", line, code, got, c->reply);
}
#define client_expect(c, code) client_expect_(c, code, __LINE__)

static UNUSED void client_say_(struct client *c, int code, const char *text, int line)
{
    AUTO_FREE char *command = xasprintf("%s\r\n", text); /* in one piece, else Nagle holds it up */
    client_send(c, command);
    client_expect_(c, code, line);
}
#define client_say(c, code, text) client_say_(c, code, text, __LINE__)

static UNUSED struct client client_open(struct rig *r, const char *from)
{
    struct client c = {.rig = r, .fd = rig_connect_from(from, r->port)};
    assert_true(c.fd >= 0);
    return c;
}

static UNUSED struct client client_login_from(struct rig *r, const char *from)
{
    struct client c = client_open(r, from);
    client_expect(&c, 220);
    client_say(&c, 331, "USER cam");
    client_say(&c, 230, "PASS " RIG_PASSWORD);
    client_say(&c, 200, "TYPE I");
    return c;
}

static UNUSED struct client client_login(struct rig *r)
{
    return client_login_from(r, "127.0.0.1");
}

static UNUSED void client_close(struct client *c)
{
    (void)close(c->fd);
}

static UNUSED int client_passive_port(struct client *c)
{
    int port = 0;
    client_say(c, 229, "EPSV");
    assert_int_equal(sscanf(strstr(c->reply, "(|||"), "(|||%d|)", &port), 1);
    return port;
}

static UNUSED int client_passive(struct client *c)
{
    int fd = rig_connect_from("127.0.0.1", client_passive_port(c));
    assert_true(fd >= 0);
    return fd;
}

/* An upload whose bytes are the caller's to send over what it returns. */
static UNUSED int client_begin_(struct client *c, const char *name, int line)
{
    AUTO_FREE char *command = xasprintf("STOR %s", name);
    int data = client_passive(c);
    client_say_(c, 125, command, line);
    return data;
}
#define client_begin(c, name) client_begin_(c, name, __LINE__)

/* Closes this end of it, and hears what became of the transfer. */
static UNUSED void client_finish_(struct client *c, int data, int code, int line)
{
    (void)close(data);
    client_expect_(c, code, line);
}
#define client_finish(c, data, code) client_finish_(c, data, code, __LINE__)

static UNUSED void send_all(int fd, const void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = send(fd, (const char *)bytes + done, size - done, MSG_NOSIGNAL);
        assert_true(n > 0);
        done += (size_t)n;
    }
}

/* Until the other end closes. */
static UNUSED size_t receive_all(int fd, char *to, size_t size)
{
    size_t done = 0;
    while (true) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, RIG_PATIENCE_MS), 1);
        ssize_t n = recv(fd, to + done, size - done, 0);
        assert_true(n >= 0);
        if (n == 0)
            return done;
        done += (size_t)n;
        assert_true(done < size);
    }
}

/* The other end closes or cuts it; what comes before is of no interest. */
static UNUSED void expect_closed(int fd)
{
    char bytes[4096];
    ssize_t n;
    do {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, RIG_PATIENCE_MS), 1);
        n = recv(fd, bytes, sizeof(bytes), 0);
    } while (n > 0);
}

static UNUSED void cut(int fd)
{
    struct linger l = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), 0);
    (void)close(fd);
}

/* As a picture: a begin and an end of a JPEG, and the bytes between. */
static UNUSED char *make_picture(size_t size)
{
    char *p = xmalloc(size);
    memset(p, 'x', size);
    static const uint8_t begin[] = {
        0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 16, 0, 16, 1, 1, 0x11, 0, /* SOI, SOF0 */
        0xff, 0xda, 0,    8,    1, 1,  0, 0, 63, 0                     /* SOS */
    };
    static const uint8_t end[] = {0xff, 0xd9};
    memcpy(p, begin, sizeof(begin));
    memcpy(p + size - sizeof(end), end, sizeof(end));
    return p;
}
