/* FTP clients that upload as fast as a server takes it, for any server: one thread with epoll, so
 * that the clients cost little beside what is measured.
 *
 *   ftp_load HOST PORT USER PASSWORD PICTURE NAMES [clients N] [uploads N] [kept 0|1] [epsv 0|1]
 *            [idle N] [sources N] [interval MS] [hold 0|1]
 *
 * NAMES is what every file's path begins with. Each client logs in for every picture, or with
 * `kept` once. `idle` sessions are logged in before and stay silent. `interval` is from the start
 * of one upload of a client to that of its next. Clients come in turn from the first N addresses
 * from 127.0.1.1 on. With `hold` it says when all sessions are there, and goes on when its standard
 * input ends. A JPEG that begins with a comment gets a number into it, so that no two uploads are
 * the same.
 *
 * One line of JSON comes out; ms are from the start of an upload (with its login) to its 226. */

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

#define SESSIONS_MAX 20000
#define UPLOADS_MAX 10000000
#define SIZE_MAX_BYTES (1024u * 1024 * 1024)
#define FAILURES_MAX 100 /* then there is nothing to measure */
#define HEAD 64          /* bytes of the picture of which each client has its own */
#define NUMBER_AT 6      /* behind SOI, and marker and length of the comment */
#define PATIENCE_MS 60000

enum state {
    REST, /* no connection, or a session between two uploads */
    GREETING,
    USER,
    PASS,
    TYPE,
    PASSIVE,
    STORING, /* waits for 150 */
    SENDING,
    STORED, /* waits for 226 */
    QUITTING
};

struct client {
    int control, data;
    enum state state;
    bool idle; /* only holds its session */
    bool logged_in;
    struct mono_time began, next;
    char line[512];
    size_t line_size;
    char head[HEAD];
    size_t sent;
};

struct load {
    struct sockaddr_in server;
    const char *user, *password, *names;
    int64_t clients, uploads, kept, epsv, idle, sources, interval, hold;
    char *picture;
    size_t picture_size;
    int poll;
    struct client *client; /* the idle ones first */
    int64_t count;         /* of them */
    int64_t started, done, failed, logged_in;
    int64_t number; /* of the next file */
    double *ms;
    char failure[256];
};

static void parse(int argc, char **argv, struct load *ret);
static void read_picture(struct load *l, const char *path);
static void open_sessions(struct load *l, int64_t first, int64_t count);
static void upload_all(struct load *l);
static void turn(struct load *l, int timeout_ms);
static int start_due(struct load *l);
static void begin(struct load *l, struct client *c);
static void connect_control(struct load *l, struct client *c);
static void control_ready(struct load *l, struct client *c);
static bool take_line(struct client *c, char *ret, size_t size, int *ret_code);
static void answer(struct load *l, struct client *c, int code, const char *text);
static void connect_data(struct load *l, struct client *c, const char *text);
static void data_ready(struct load *l, struct client *c);
static void stored(struct load *l, struct client *c);
static void say(struct load *l, struct client *c, enum state next, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static void fail(struct load *l, struct client *c, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void hang_up(struct client *c);
static void watch(struct load *l, int fd, uint32_t events, const struct client *c, bool data);
static void report(struct load *l, double seconds, double cpu_s);
static double cpu_s(void);
static _Noreturn void die(const char *what); /* with errno */
static _Noreturn void give_up(const char *why);

int main(int argc, char **argv)
{
    struct load l = {.clients = 1, .uploads = 100, .sources = 1};
    parse(argc, argv, &l);
    l.poll = epoll_create1(EPOLL_CLOEXEC);
    if (l.poll < 0)
        die("epoll");
    open_sessions(&l, 0, l.idle);
    if (l.kept)
        open_sessions(&l, l.idle, l.clients);
    if (l.hold) {
        printf("holding\n");
        (void)fflush(stdout);
        while (getchar() != EOF)
            ;
    }
    struct mono_time start = clock_mono();
    double cpu = cpu_s();
    upload_all(&l);
    report(&l, mono_diff_ms(clock_mono(), start) / 1000, cpu_s() - cpu);
    return l.failed ? 1 : 0;
}

/* ---- what is to be done ---- */

static void parse(int argc, char **argv, struct load *ret)
{
    int64_t port;
    struct {
        const char *name;
        int64_t min, max, *value;
    } words[] = {
        {"clients", 0, SESSIONS_MAX, &ret->clients},
        {"uploads", 0, UPLOADS_MAX, &ret->uploads},
        {"kept", 0, 1, &ret->kept},
        {"epsv", 0, 1, &ret->epsv},
        {"idle", 0, SESSIONS_MAX, &ret->idle},
        {"sources", 1, 50000, &ret->sources},
        {"interval", 0, 60000, &ret->interval},
        {"hold", 0, 1, &ret->hold},
    };
    ret->server.sin_family = AF_INET;
    if (argc < 7 || argc % 2 == 0 || inet_pton(AF_INET, argv[1], &ret->server.sin_addr) != 1 ||
        parse_int64(argv[2], strlen(argv[2]), 1, 65535, &port) < 0)
        give_up("usage: see the head of its source");
    ret->server.sin_port = htons((uint16_t)port);
    ret->user = argv[3];
    ret->password = argv[4];
    ret->names = argv[6];
    for (int i = 7; i < argc; i += 2) {
        size_t w = 0;
        while (w < ARRAY_LEN(words) && strcmp(words[w].name, argv[i]) != 0)
            w++;
        if (w == ARRAY_LEN(words) || parse_int64(argv[i + 1], strlen(argv[i + 1]), words[w].min,
                                                 words[w].max, words[w].value) < 0)
            give_up(argv[i]);
    }
    read_picture(ret, argv[5]);
    ret->count = ret->idle + ret->clients;
    ret->client = xcalloc((size_t)ret->count + 1, sizeof(*ret->client));
    ret->ms = xcalloc((size_t)ret->uploads + 1, sizeof(*ret->ms));
    for (int64_t i = 0; i < ret->count; i++) {
        struct client *c = &ret->client[i];
        c->control = c->data = -1;
        c->idle = i < ret->idle;
        memcpy(c->head, ret->picture, HEAD);
    }
}

static void read_picture(struct load *l, const char *path)
{
    FILE *f = fopen(path, "rbe");
    if (!f || fseek(f, 0, SEEK_END) < 0)
        die(path);
    long size = ftell(f);
    if (size < HEAD || size > (long)SIZE_MAX_BYTES || fseek(f, 0, SEEK_SET) < 0)
        give_up("a picture has at least 64 bytes");
    l->picture_size = (size_t)size;
    l->picture = xmalloc(l->picture_size);
    if (fread(l->picture, 1, l->picture_size, f) != l->picture_size)
        die(path);
    (void)fclose(f);
}

/* Logs all of these in and leaves them at rest. */
static void open_sessions(struct load *l, int64_t first, int64_t count)
{
    int64_t before = l->logged_in, next = first;
    struct mono_time end = mono_add_ms(clock_mono(), PATIENCE_MS);
    while (l->logged_in < before + count) {
        /* Not more at once than a server's backlog holds. */
        while (next < first + count && next - first - (l->logged_in - before) < 32)
            connect_control(l, &l->client[next++]);
        turn(l, 1000);
        if (l->failed || mono_passed(end))
            give_up(l->failed ? l->failure : "the sessions take too long");
    }
}

static void upload_all(struct load *l)
{
    struct mono_time moved = clock_mono();
    int64_t seen = 0;
    while (l->done < l->uploads && l->clients > 0) {
        turn(l, start_due(l));
        if (l->done != seen) {
            seen = l->done;
            moved = clock_mono();
        }
        if (l->failed >= FAILURES_MAX || mono_diff_ms(clock_mono(), moved) > PATIENCE_MS)
            give_up(l->failed ? l->failure : "nothing moves any more");
    }
}

/* Starts the clients whose time has come. Returns how long to wait for the next of them. */
static int start_due(struct load *l)
{
    int wait = 1000;
    for (int64_t i = l->idle; i < l->count && l->started - l->failed < l->uploads; i++) {
        struct client *c = &l->client[i];
        if (c->state != REST)
            continue;
        int left = mono_until_ms(c->next);
        if (left == 0)
            begin(l, c);
        else if (left < wait)
            wait = left;
    }
    return wait;
}

static void begin(struct load *l, struct client *c)
{
    c->began = clock_mono();
    c->next = mono_add_ms(c->began, l->interval);
    l->started++;
    if (c->logged_in)
        say(l, c, PASSIVE, l->epsv ? "EPSV\r\n" : "PASV\r\n");
    else
        connect_control(l, c);
}

static void turn(struct load *l, int timeout_ms)
{
    struct epoll_event events[256];
    int n = epoll_wait(l->poll, events, ARRAY_LEN(events), timeout_ms);
    for (int i = 0; i < n; i++) {
        struct client *c = &l->client[events[i].data.u64 / 2];
        if (events[i].data.u64 % 2 == 0)
            control_ready(l, c);
        else if (c->data >= 0)
            data_ready(l, c);
    }
}

/* ---- the control connection ---- */

static void connect_control(struct load *l, struct client *c)
{
    int on = 1;
    c->control = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->control < 0)
        die("socket (ulimit -n?)");
    if (l->sources > 1) {
        int64_t n = (c - l->client) % l->sources;
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl((uint32_t)(0x7f000100 + (n / 250) * 256 + n % 250 + 1));
        /* Else the port would be taken for all peers at once, and there are not so many. */
        (void)setsockopt(c->control, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        if (bind(c->control, (struct sockaddr *)&from, sizeof(from)) < 0)
            die("bind");
    }
    (void)setsockopt(c->control, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(c->control, (struct sockaddr *)&l->server, sizeof(l->server)) < 0 &&
        errno != EINPROGRESS)
        die("connect");
    c->state = GREETING;
    c->line_size = 0;
    watch(l, c->control, EPOLLIN, c, false);
}

static void control_ready(struct load *l, struct client *c)
{
    char line[512];
    int code;
    ssize_t n = recv(c->control, c->line + c->line_size, sizeof(c->line) - c->line_size, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        if (c->state == QUITTING) /* not every server says goodbye */
            hang_up(c);
        else
            fail(l, c, "the server closed in state %d", (int)c->state);
        return;
    }
    c->line_size += (size_t)n;
    while (c->control >= 0 && take_line(c, line, sizeof(line), &code))
        if (code)
            answer(l, c, code, line);
}

/* The next whole line; the code is 0 for one in the middle of a reply. */
static bool take_line(struct client *c, char *ret, size_t size, int *ret_code)
{
    char *end = memchr(c->line, '\n', c->line_size);
    if (!end) {
        if (c->line_size == sizeof(c->line)) /* a long line in the middle: its start is enough */
            c->line_size = 0;
        return false;
    }
    size_t length = (size_t)(end - c->line);
    *end = '\0';
    text_copy(ret, size, c->line);
    c->line_size -= length + 1;
    memmove(c->line, end + 1, c->line_size);
    int64_t code = 0;
    *ret_code =
        length > 3 && ret[3] == ' ' && parse_int64(ret, 3, 100, 599, &code) == 0 ? (int)code : 0;
    return true;
}

static void answer(struct load *l, struct client *c, int code, const char *text)
{
    static const int expected[] = {[GREETING] = 220, [USER] = 331,   [PASS] = 230,    [TYPE] = 200,
                                   [PASSIVE] = 227,  [STORED] = 226, [QUITTING] = 221};
    int wanted = c->state == PASSIVE && l->epsv ? 229 : expected[c->state];
    if (c->state == STORING && code == 125)
        code = 150;
    if (c->state == STORING)
        wanted = 150;
    if (c->state == REST || code != wanted) {
        fail(l, c, "in state %d: %s", (int)c->state, text);
        return;
    }
    switch (c->state) {
    case GREETING:
        say(l, c, USER, "USER %s\r\n", l->user);
        break;
    case USER:
        say(l, c, PASS, "PASS %s\r\n", l->password);
        break;
    case PASS:
        say(l, c, TYPE, "TYPE I\r\n");
        break;
    case TYPE:
        c->logged_in = true;
        l->logged_in++;
        c->state = REST;
        if (!c->idle && !l->kept)
            say(l, c, PASSIVE, l->epsv ? "EPSV\r\n" : "PASV\r\n");
        break;
    case PASSIVE:
        connect_data(l, c, text);
        break;
    case STORING:
        c->state = SENDING;
        watch(l, c->data, EPOLLOUT, c, true);
        break;
    case STORED:
        stored(l, c);
        break;
    case QUITTING:
        hang_up(c);
        break;
    case SENDING:
    case REST:
        break;
    }
}

static void stored(struct load *l, struct client *c)
{
    if (l->done < l->uploads)
        l->ms[l->done] = mono_diff_ms(clock_mono(), c->began);
    l->done++;
    c->state = REST;
    if (!l->kept)
        say(l, c, QUITTING, "QUIT\r\n");
    else if (l->started - l->failed < l->uploads && mono_passed(c->next))
        begin(l, c);
}

/* ---- the data connection ---- */

static void connect_data(struct load *l, struct client *c, const char *text)
{
    struct sockaddr_in to = l->server;
    const char *open = strchr(text, '(');
    unsigned part[6] = {0};
    if (open && l->epsv)
        part[5] = (unsigned)strtoul(open + 4, NULL, 10);
    for (int i = 0; open && !l->epsv && i < 6; i++) {
        char *end;
        part[i] = (unsigned)strtoul(open + 1, &end, 10);
        open = end;
    }
    to.sin_port = htons((uint16_t)(part[4] * 256 + part[5]));
    c->data = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->data < 0)
        die("socket");
    if (l->sources > 1) { /* a server takes data from the peer of the session only */
        struct sockaddr_in from;
        socklen_t size = sizeof(from);
        int on = 1;
        (void)setsockopt(c->data, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        if (getsockname(c->control, (struct sockaddr *)&from, &size) < 0)
            die("getsockname");
        from.sin_port = 0;
        if (bind(c->data, (struct sockaddr *)&from, sizeof(from)) < 0)
            die("bind");
    }
    if (connect(c->data, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
        fail(l, c, "data connection: %s", strerror(errno));
        return;
    }
    c->sent = 0;
    int64_t number = l->number++;
    char digits[24];
    (void)text_format(digits, sizeof(digits), "%016lld", (long long)number);
    if (memcmp(l->picture, "\xff\xd8\xff\xfe", 4) == 0)
        memcpy(c->head + NUMBER_AT, digits, 16);
    say(l, c, STORING, "STOR %s%08lld.jpg\r\n", l->names, (long long)number);
}

static void data_ready(struct load *l, struct client *c)
{
    while (c->sent < l->picture_size) {
        size_t own = c->sent < HEAD ? HEAD - c->sent : 0, from = c->sent + own;
        struct iovec parts[2] = {{c->head + (own ? c->sent : 0), own},
                                 {l->picture + from, l->picture_size - from}};
        struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t n = sendmsg(c->data, &m, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            fail(l, c, "sending: %s", strerror(errno));
            return;
        }
        c->sent += (size_t)n;
    }
    (void)close(c->data);
    c->data = -1;
    c->state = STORED;
}

/* ---- helpers ---- */

static void say(struct load *l, struct client *c, enum state next, const char *fmt, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, arguments);
    va_end(arguments);
    assert(n > 0 && (size_t)n < sizeof(line));
    c->state = next;
    /* The socket's buffer has room for a line: nothing else is ever in it. */
    if (send(c->control, line, (size_t)n, MSG_NOSIGNAL) != n)
        fail(l, c, "cannot say %s", line);
}

static void fail(struct load *l, struct client *c, const char *fmt, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, arguments);
    va_end(arguments);
    if (l->failed++ == 0)
        (void)text_printable(text, strlen(text), l->failure, sizeof(l->failure));
    hang_up(c);
}

static void hang_up(struct client *c)
{
    if (c->data >= 0)
        (void)close(c->data);
    if (c->control >= 0)
        (void)close(c->control);
    c->control = c->data = -1;
    c->logged_in = false;
    c->state = REST;
}

static void watch(struct load *l, int fd, uint32_t events, const struct client *c, bool data)
{
    struct epoll_event e = {.events = events};
    e.data.u64 = (uint64_t)(c - l->client) * 2 + data;
    if (epoll_ctl(l->poll, EPOLL_CTL_ADD, fd, &e) < 0)
        die("epoll_ctl");
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void report(struct load *l, double seconds, double cpu)
{
    size_t n = (size_t)(l->done < l->uploads ? l->done : l->uploads);
    qsort(l->ms, n, sizeof(*l->ms), by_size);
    printf("{\"uploads\": %zu, \"failed\": %lld, \"first_failure\": \"%s\", \"seconds\": %.4f,"
           " \"per_second\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f,"
           " \"client_cpu_ms\": %.4f}\n",
           n, (long long)l->failed, l->failure, seconds, (double)n / seconds, n ? l->ms[n / 2] : 0,
           n ? l->ms[n * 99 / 100] : 0, n ? l->ms[n - 1] : 0, n ? cpu * 1000 / (double)n : 0);
}

static double cpu_s(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) < 0)
        die("getrusage");
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "ftp_load: %s: %s\n", what, strerror(errno));
    exit(2);
}

static _Noreturn void give_up(const char *why)
{
    (void)fprintf(stderr, "ftp_load: %s\n", why);
    exit(2);
}
