#include "sim/camera_sim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "base/blob.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "sim/sim_fault.h"
#include "sim/sim_frames.h"
#include "sim/sim_makers.h"
#include "sim/sim_request.h"
#include "sys/hash.h"

/* An answer is head, then `body_send` bytes of the picture, then a tail, then perhaps a filler
 * without end, then one of: keep the connection, close it, reset it, say nothing more. Every
 * misbehaviour is a choice of these, so the sending code knows none of them. */

enum {
    EVENTS_PER_WAIT = 128,
    REQUEST_MAX = 8 * 1024, /* a camera's buffer */
    CONNECTIONS_MAX = 4096, /* beyond that the newest is closed at once */
    ANSWER_MAX = 64 * 1024, /* head and tail */
    FILLER_BYTES = 64 * 1024,
    DRIP_STEP_MS = 100, /* or a second, for less than ten bytes a second */
};
#define REALM "camera-sim"

const char *const sim_auth_names[SIM_AUTH_COUNT] = {"none", "basic", "digest", "both"};
const char *const sim_digest_names[SIM_DIGEST_COUNT] = {"md5", "md5-sess", "sha-256", "rfc2069"};

struct device {
    struct camera_sim *sim;
    char *name;
    char address[80];
    int listen_fd;
    struct sim_frames frames;
    unsigned long next; /* frame, without fps */
    struct sim_fault_set faults;
    unsigned long faults_struck[SIM_FAULT_COUNT];
    char *user, *password;
    char nonce[33];
    int nonce_used;
    struct sim_maker_memory memory;
    unsigned long connections, requests, pictures, refused, authorized_headers;
};

enum after { AFTER_KEEP, AFTER_CLOSE, AFTER_RESET, AFTER_SILENCE };

struct conn {
    struct conn *next, *prev;
    struct device *device;
    int fd;
    bool loopback;
    bool wants_out;
    char in[REQUEST_MAX];
    size_t in_len;
    size_t skip;    /* bytes of a request's body still to read over */
    char *question; /* the body of the request that is answered, NULL when it was read over */
    size_t question_size;

    bool answering;
    bool head_only;              /* HEAD */
    struct mono_time not_before; /* us 0: at once */
    struct dynbuf head, tail;
    struct sim_frame *frame; /* counted as sent when all is out */
    struct blob *body;
    size_t body_send;
    uint64_t sent;
    const char *filler; /* FILLER_BYTES, over and over */
    uint64_t filler_left;
    size_t drip; /* bytes per step, 0 = as fast as it goes */
    int drip_step_ms;
    enum after after;
};

struct camera_sim {
    int epoll_fd;
    struct device *devices;
    size_t device_count;
    struct conn *conns;
    size_t conn_count;
    enum sim_auth auth;
    enum sim_digest digest;
    int nonce_uses;
    double fps;
    bool once;
    int delay_ms;
    bool reolink_token, onvif_http_login;
    int clock_ahead_s;
    struct mono_time started;
    char *zeros;
    char *flood; /* header lines */
};

static int open_listener(struct device *d, const char *listen_at, size_t offset, struct err *e);
static void new_nonce(struct device *d);
static void accept_all(struct device *d);
static void conn_free(struct conn *c);
static void on_readable(struct conn *c);
static void send_more(struct conn *c);
static int next_wait_ms(const struct camera_sim *sim);

int camera_sim_new(const struct camera_sim_options *options, struct camera_sim **ret, struct err *e)
{
    struct camera_sim *sim = xcalloc(1, sizeof(*sim));
    sim->auth = options->auth;
    sim->digest = options->digest;
    sim->nonce_uses = options->nonce_uses;
    sim->fps = options->fps;
    sim->once = options->once;
    sim->delay_ms = options->delay_ms;
    sim->reolink_token = options->reolink_token;
    sim->onvif_http_login = options->onvif_http_login;
    sim->clock_ahead_s = options->clock_ahead_s;
    sim->started = clock_mono();
    sim->zeros = xcalloc(1, FILLER_BYTES);
    sim->flood = xcalloc(1, FILLER_BYTES);
    static const char line[] = "X-Flood: 0123\r\n"; /* 16 bytes: whole lines in each piece */
    for (size_t i = 0; i < FILLER_BYTES; i++)
        sim->flood[i] = line[i % (sizeof(line) - 1)];
    sim->devices = xcalloc(options->source_count, sizeof(*sim->devices));
    sim->device_count = options->source_count;
    for (size_t i = 0; i < sim->device_count; i++)
        sim->devices[i].listen_fd = -1;
    int r = 0;
    sim->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (sim->epoll_fd < 0)
        r = err_errno(e, -errno, "simulated camera");
    for (size_t i = 0; r == 0 && i < sim->device_count; i++) {
        struct device *d = &sim->devices[i];
        d->sim = sim;
        d->name = xstrdup(options->sources[i].name ? options->sources[i].name : "");
        d->user = xstrdup(options->user ? options->user : "");
        d->password = xstrdup(options->password ? options->password : "");
        new_nonce(d);
        for (const char *const *f = options->faults; r == 0 && f && *f; f++)
            r = sim_fault_parse(&d->faults, *f, e);
        if (r == 0)
            r = sim_frames_load(&d->frames, options->sources[i].path, e);
        if (r == 0)
            r = open_listener(d, options->listen, i, e);
    }
    if (r < 0) {
        camera_sim_free(sim);
        return r;
    }
    *ret = sim;
    return 0;
}

void camera_sim_free(struct camera_sim *sim)
{
    if (!sim)
        return;
    while (sim->conns)
        conn_free(sim->conns);
    for (size_t i = 0; i < sim->device_count; i++) {
        struct device *d = &sim->devices[i];
        sim_frames_done(&d->frames);
        free(d->name);
        free(d->user);
        free(d->password);
        if (d->listen_fd >= 0)
            (void)close(d->listen_fd); /* nothing is written to it */
    }
    if (sim->epoll_fd >= 0)
        (void)close(sim->epoll_fd); /* holds nothing */
    free(sim->devices);
    free(sim->zeros);
    free(sim->flood);
    free(sim);
}

size_t camera_sim_count(const struct camera_sim *sim)
{
    return sim->device_count;
}

const char *camera_sim_address(const struct camera_sim *sim, size_t i)
{
    return sim->devices[i].address;
}

const char *camera_sim_name(const struct camera_sim *sim, size_t i)
{
    return sim->devices[i].name;
}

static bool is_device(const struct camera_sim *sim, const void *p)
{
    const struct device *d = p;
    return d >= sim->devices && d < sim->devices + sim->device_count;
}

int camera_sim_run(struct camera_sim *sim, int stop_fd, struct err *e)
{
    struct epoll_event stop = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(sim->epoll_fd, EPOLL_CTL_ADD, stop_fd, &stop) < 0)
        return err_errno(e, -errno, "simulated camera");
    bool running = true;
    while (running) {
        struct epoll_event events[EVENTS_PER_WAIT];
        int n = epoll_wait(sim->epoll_fd, events, EVENTS_PER_WAIT, next_wait_ms(sim));
        if (n < 0 && errno != EINTR)
            return err_errno(e, -errno, "simulated camera");
        for (int i = 0; i < n; i++) {
            void *p = events[i].data.ptr;
            if (!p)
                running = false;
            else if (is_device(sim, p))
                accept_all(p);
        }
        /* A connection appears once per wait, and only its own event frees it. */
        for (int i = 0; i < n; i++) {
            void *p = events[i].data.ptr;
            if (!p || is_device(sim, p))
                continue;
            struct conn *c = p;
            if (events[i].events & (EPOLLERR | EPOLLHUP))
                conn_free(c);
            else if (events[i].events & EPOLLOUT)
                send_more(c);
            else
                on_readable(c);
        }
        struct mono_time now = clock_mono();
        for (struct conn *c = sim->conns, *next; c; c = next) {
            next = c->next;
            if (c->answering && c->not_before.us && now.us >= c->not_before.us)
                send_more(c);
        }
    }
    (void)epoll_ctl(sim->epoll_fd, EPOLL_CTL_DEL, stop_fd, NULL); /* the set may go anyway */
    return 0;
}

void camera_sim_describe_faults(struct dynbuf *out)
{
    for (int i = 0; i < SIM_FAULT_COUNT; i++) {
        const struct sim_fault_kind *k = &sim_fault_kinds[i];
        char name[64];
        (void)text_format(name, sizeof(name), "%s%s%s", k->name, k->parameter ? ":" : "",
                          k->parameter && strlen(k->parameter) < 12 ? k->parameter : "");
        (void)dynbuf_printf(out, "  %-18s %s\n", name, k->help);
    }
}

/* ---- frames ---- */

static struct sim_frame *choose_frame(struct device *d, const char *query)
{
    char name[SIM_VALUE_MAX];
    struct sim_frame *f = NULL;
    if (sim_query_get(query, "frame", name)) {
        for (size_t i = 0; i < d->frames.count && !f; i++)
            if (!strcmp(d->frames.list[i].name, name))
                f = &d->frames.list[i];
    } else {
        unsigned long n = d->next;
        if (d->sim->fps > 0)
            n = (unsigned long)(mono_diff_ms(clock_mono(), d->sim->started) / 1000 * d->sim->fps);
        else
            d->next++;
        f = &d->frames.list[d->sim->once ? MIN(n, d->frames.count - 1) : n % d->frames.count];
    }
    struct err error = {0};
    if (f && sim_frame_read(f, &error) < 0) {
        log_warn("sim-frame", "%s", error.text);
        return NULL;
    }
    return f;
}

/* ---- sockets ---- */

static int open_listener(struct device *d, const char *listen_at, size_t offset, struct err *e)
{
    const char *colon = strrchr(listen_at, ':');
    int64_t port;
    if (!colon || parse_int64(colon + 1, strlen(colon + 1), 0, 65535, &port) < 0)
        return err_set(e, -EINVAL, ERR_NEVER, "'%s' is not host:port", listen_at);
    bool v6 = listen_at[0] == '[' && colon[-1] == ']';
    AUTO_FREE char *host = xstrndup(listen_at + v6, (size_t)(colon - listen_at) - (v6 ? 2 : 0));
    char service[8];
    (void)text_format(service, sizeof(service), "%u",
                      (unsigned)(port ? port + (int64_t)offset : 0)); /* fits */
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *at = NULL;
    if (getaddrinfo(host, service, &hints, &at) != 0)
        return err_set(e, -EINVAL, ERR_NEVER, "'%s' is not a numeric address", listen_at);
    int on = 1, r = 0;
    d->listen_fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (d->listen_fd < 0 ||
        setsockopt(d->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(d->listen_fd, at->ai_addr, at->ai_addrlen) < 0 || listen(d->listen_fd, 512) < 0)
        r = err_errno(e, -errno, "listen on %s", listen_at);
    freeaddrinfo(at);
    if (r < 0)
        return r;
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof(bound);
    if (getsockname(d->listen_fd, (struct sockaddr *)&bound, &size) < 0)
        return err_errno(e, -errno, "listen on %s", listen_at);
    in_port_t net_port = bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                     : ((struct sockaddr_in *)&bound)->sin_port;
    (void)text_format(d->address, sizeof(d->address), v6 ? "[%s]:%u" : "%s:%u", host,
                      (unsigned)ntohs(net_port)); /* a numeric address fits */
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = d};
    if (epoll_ctl(d->sim->epoll_fd, EPOLL_CTL_ADD, d->listen_fd, &ev) < 0)
        return err_errno(e, -errno, "listen on %s", listen_at);
    return 0;
}

static bool is_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)a)->sin6_addr;
    return a->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(v6);
}

static void accept_all(struct device *d)
{
    struct camera_sim *sim = d->sim;
    for (;;) {
        struct sockaddr_storage from = {0};
        socklen_t size = sizeof(from);
        int fd =
            accept4(d->listen_fd, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        int on = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* only speed */
        struct conn *c = sim->conn_count < CONNECTIONS_MAX ? xcalloc(1, sizeof(*c)) : NULL;
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        if (!c || epoll_ctl(sim->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
            (void)close(fd); /* too many: the peer sees it */
            free(c);
            continue;
        }
        c->fd = fd;
        c->device = d;
        c->loopback = is_loopback(&from);
        dynbuf_init(&c->head, ANSWER_MAX);
        dynbuf_init(&c->tail, ANSWER_MAX);
        c->next = sim->conns;
        if (c->next)
            c->next->prev = c;
        sim->conns = c;
        sim->conn_count++;
        d->connections++;
    }
}

static void conn_free(struct conn *c)
{
    struct camera_sim *sim = c->device->sim;
    if (c->prev)
        c->prev->next = c->next;
    else
        sim->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    sim->conn_count--;
    (void)close(c->fd); /* whoever listens there knows by himself */
    blob_unref(c->body);
    dynbuf_done(&c->head);
    dynbuf_done(&c->tail);
    free(c->question);
    free(c);
}

static void conn_reset(struct conn *c)
{
    struct linger now = {.l_onoff = 1};
    (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)); /* close() then resets */
    conn_free(c);
}

static void want(struct conn *c, bool out)
{
    if (c->wants_out == out)
        return;
    struct epoll_event ev = {.events = out ? EPOLLOUT : EPOLLIN, .data.ptr = c};
    if (epoll_ctl(c->device->sim->epoll_fd, EPOLL_CTL_MOD, c->fd, &ev) == 0)
        c->wants_out = out;
}

static int next_wait_ms(const struct camera_sim *sim)
{
    int wait = -1;
    for (const struct conn *c = sim->conns; c; c = c->next) {
        if (!c->answering || !c->not_before.us)
            continue;
        int ms = mono_until_ms(c->not_before);
        if (wait < 0 || ms < wait)
            wait = ms;
    }
    return wait;
}

/* ---- answers ---- */

static void new_nonce(struct device *d)
{
    unsigned char bytes[16];
    hash_random(bytes, sizeof(bytes));
    text_hex(bytes, sizeof(bytes), d->nonce);
    d->nonce_used = 0;
}

static const char *reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 302:
        return "Found";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 429:
        return "Too Many Requests";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    default:
        return "Status";
    }
}

static void answer_text(struct conn *c, int status, const char *type, const char *extra,
                        const char *fmt, ...) PRINTF_LIKE(5, 6);
static void answer_text(struct conn *c, int status, const char *type, const char *extra,
                        const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)dynbuf_vprintf(&c->tail, fmt, ap); /* cut texts show in tests */
    va_end(ap);
    (void)dynbuf_printf(&c->head,
                        "HTTP/1.1 %d %s\r\nServer: camera-sim\r\nContent-Type: %s\r\n"
                        "Content-Length: %zu\r\n%s%s\r\n",
                        status, reason(status), type, c->tail.len,
                        c->after == AFTER_CLOSE ? "Connection: close\r\n" : "", extra);
    if (c->head_only)
        dynbuf_reset(&c->tail);
}

static void answer_foscam_code(struct conn *c, int code)
{
    answer_text(c, 200, "text/xml", "", "<CGI_Result>\n    <result>%d</result>\n</CGI_Result>\n",
                code);
}

static const char *content_type(const struct sim_frame *f)
{
    const char *dot = strrchr(f->name, '.');
    if (dot && !strcasecmp(dot, ".png"))
        return "image/png";
    if (dot && !strcasecmp(dot, ".webp"))
        return "image/webp";
    if (dot && !strcasecmp(dot, ".bmp"))
        return "image/bmp";
    if (dot && !strcasecmp(dot, ".gif"))
        return "image/gif";
    return "image/jpeg";
}

static void take_body(struct conn *c, struct sim_frame *f, size_t send)
{
    c->body = blob_ref(f->bytes);
    c->body_send = c->head_only ? 0 : send;
    if (send == f->bytes->size && !c->head_only)
        c->frame = f;
}

/* `lines` are further header lines; NULL type: none. */
static void picture_head(struct conn *c, const char *status_line, const char *type,
                         const char *lines)
{
    (void)dynbuf_printf(&c->head, "%s\r\nServer: camera-sim\r\n%s%s%s%s%s\r\n", status_line,
                        type ? "Content-Type: " : "", type ? type : "", type ? "\r\n" : "", lines,
                        c->after == AFTER_CLOSE ? "Connection: close\r\n" : "");
}

static void answer_picture(struct conn *c, struct sim_frame *f)
{
    char lines[64];
    (void)text_format(lines, sizeof(lines), "Content-Length: %zu\r\n", f->bytes->size); /* fits */
    picture_head(c, "HTTP/1.1 200 OK", content_type(f), lines);
    take_body(c, f, f->bytes->size);
}

static void answer_status(struct conn *c, const char *parameter)
{
    int64_t status = 404, pause = -1;
    const char *slash = strchrnul(parameter, '/');
    (void)parse_int64(parameter, (size_t)(slash - parameter), 100, 599, &status); /* else 404 */
    if (*slash)
        (void)parse_int64(slash + 1, strlen(slash + 1), 0, 86400, &pause); /* else none */
    char extra[48] = "";
    if (pause >= 0)
        (void)text_format(extra, sizeof(extra), "Retry-After: %lld\r\n", (long long)pause);
    answer_text(c, (int)status, "text/html", extra, "<html><body><h1>%d %s</h1></body></html>\n",
                (int)status, reason((int)status));
}

static int64_t number(const char *text, int64_t fallback)
{
    int64_t n = fallback;
    (void)parse_int64(text, strlen(text), INT32_MIN, 1LL << 40, &n); /* else the fallback */
    return n;
}

/* How a stream's parts are told apart, and what follows the second of them. */
struct stream_form {
    const char *name, *boundary, *delimiter, *line_end;
    int length; /* added to the true one; INT_MIN: no header line */
    bool without_first, with_text;
    int frames;
    enum after after;
    bool cut; /* in the second frame */
};
#define NO_LENGTH INT_MIN
static const struct stream_form stream_forms[] = {
    {"good", "=simboundary", "--simboundary", "\r\n", 0, .frames = 2, .after = AFTER_SILENCE},
    {"no-length", "=simboundary", "--simboundary", "\r\n", NO_LENGTH, .frames = 2,
     .after = AFTER_SILENCE},
    {"short-length", "=simboundary", "--simboundary", "\r\n", -100, .frames = 2,
     .after = AFTER_SILENCE},
    {"long-length", "=simboundary", "--simboundary", "\r\n", 100000, .frames = 2,
     .after = AFTER_SILENCE},
    {"dashes", "=--simboundary", "----simboundary", "\r\n", NO_LENGTH, .frames = 2,
     .after = AFTER_SILENCE},
    {"quoted", "=\"simboundary\"", "--simboundary", "\r\n", 0, .frames = 2, .after = AFTER_SILENCE},
    {"no-boundary", "", "--simboundary", "\r\n", NO_LENGTH, .frames = 2, .after = AFTER_SILENCE},
    {"no-first", "=simboundary", "--simboundary", "\r\n", NO_LENGTH, .without_first = true,
     .frames = 2, .after = AFTER_SILENCE},
    {"bare-lf", "=simboundary", "--simboundary", "\n", NO_LENGTH, .frames = 2,
     .after = AFTER_SILENCE},
    {"text", "=simboundary", "--simboundary", "\r\n", NO_LENGTH, .with_text = true, .frames = 2,
     .after = AFTER_SILENCE},
    {"one", "=simboundary", "--simboundary", "\r\n", 0, .frames = 1, .after = AFTER_SILENCE},
    {"cut", "=simboundary", "--simboundary", "\r\n", 0, .frames = 2, .after = AFTER_CLOSE,
     .cut = true},
    {"end", "=simboundary", "--simboundary", "\r\n", NO_LENGTH, .frames = 1, .after = AFTER_CLOSE},
};

static void put_part(struct dynbuf *out, const struct stream_form *form, const struct sim_frame *f,
                     bool first)
{
    const char *eol = form->line_end;
    if (!first || !form->without_first)
        (void)dynbuf_printf(out, "%s%s", form->delimiter, eol);
    (void)dynbuf_printf(out, "Content-Type: %s%s", content_type(f), eol);
    if (form->length != NO_LENGTH)
        (void)dynbuf_printf(out, "Content-Length: %lld%s", (long long)f->bytes->size + form->length,
                            eol);
    (void)dynbuf_puts(out, eol);
    (void)dynbuf_append(out, f->bytes->data, f->bytes->size);
    (void)dynbuf_puts(out, eol);
}

/* Two frames, then nothing more: real streams have no end, and nobody waits for it. */
static void answer_stream(struct conn *c, struct sim_frame *f, const char *name)
{
    const struct stream_form *form = &stream_forms[0];
    for (size_t i = 0; i < ARRAY_LEN(stream_forms); i++)
        if (!strcmp(stream_forms[i].name, name))
            form = &stream_forms[i];
    AUTO_DONE(dynbuf) body;
    dynbuf_init(&body, 3 * (size_t)SIM_FRAME_MAX);
    for (int i = 0; i < form->frames; i++) {
        if (form->with_text)
            (void)dynbuf_printf(&body, "%s%sContent-Type: text/plain%s%shello%s", form->delimiter,
                                form->line_end, form->line_end, form->line_end, form->line_end);
        put_part(&body, form, f, i == 0);
    }
    /* Behind the last frame as well: without a length it says where the frame ends. */
    if (form->after == AFTER_SILENCE)
        (void)dynbuf_printf(&body, "%s%s", form->delimiter, form->line_end);
    size_t size = form->cut ? body.len - f->bytes->size / 2 : body.len;
    char type[80];
    (void)text_format(type, sizeof(type), "multipart/x-mixed-replace%s%s",
                      *form->boundary ? "; boundary" : "", form->boundary); /* fits */
    c->after = form->after;
    picture_head(c, "HTTP/1.1 200 OK", type, "");
    c->body = blob_new_take(dynbuf_steal(&body, NULL), size);
    c->body_send = c->body && !c->head_only ? size : 0;
    c->frame = f;
}

static void put_date(char *dst, size_t size, const char *name, int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    gmtime_r(&t, &tm);
    char text[40];
    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    (void)text_format(dst, size, "%s: %s\r\n", name, text); /* fits */
}

static void answer_old(struct conn *c, struct sim_frame *f, int64_t age_s)
{
    int64_t now = wall_seconds(clock_wall());
    char date[64], modified[64], lines[200];
    put_date(date, sizeof(date), "Date", now);
    put_date(modified, sizeof(modified), "Last-Modified", now - age_s);
    (void)text_format(lines, sizeof(lines), "%s%sContent-Length: %zu\r\n", date, modified,
                      f->bytes->size); /* fits */
    picture_head(c, "HTTP/1.1 200 OK", content_type(f), lines);
    take_body(c, f, f->bytes->size);
}

/* Makes the answer that this fault gives instead of the good one. */
static void answer_fault(struct conn *c, const struct sim_fault *fault, struct sim_frame *f,
                         const struct sim_request *req)
{
    size_t size = f->bytes->size;
    const char *type = content_type(f);
    const char *p = fault->parameter;
    char lines[160];
    char extra[SIM_FAULT_PARAMETER_MAX + 32];
    (void)text_format(lines, sizeof(lines), "Content-Length: %zu\r\n", size); /* fits */

    switch ((enum sim_fault_id)fault->id) {
    case SIM_FAULT_NONE:
    case SIM_FAULT_COUNT:
        answer_picture(c, f);
        return;
    case SIM_FAULT_SHORT_BODY:
        c->after = AFTER_CLOSE;
        picture_head(c, "HTTP/1.1 200 OK", type, lines);
        take_body(c, f, size / 2);
        return;
    case SIM_FAULT_CHUNKED:
    case SIM_FAULT_CHUNKED_CUT:
        if (fault->id == SIM_FAULT_CHUNKED_CUT)
            c->after = AFTER_CLOSE;
        picture_head(c, "HTTP/1.1 200 OK", type, "Transfer-Encoding: chunked\r\n");
        (void)dynbuf_printf(&c->head, "%zx\r\n", size);
        take_body(c, f, fault->id == SIM_FAULT_CHUNKED_CUT ? size / 2 : size);
        if (fault->id == SIM_FAULT_CHUNKED)
            (void)dynbuf_puts(&c->tail, "\r\n0\r\n\r\n");
        return;
    case SIM_FAULT_NO_LENGTH:
    case SIM_FAULT_NO_LENGTH_CUT:
        c->after = AFTER_CLOSE;
        picture_head(c, "HTTP/1.0 200 OK", type, "");
        take_body(c, f, fault->id == SIM_FAULT_NO_LENGTH ? size : size / 2);
        return;
    case SIM_FAULT_LONGER_BODY:
        c->after = AFTER_CLOSE;
        picture_head(c, "HTTP/1.1 200 OK", type, lines);
        take_body(c, f, size);
        (void)dynbuf_puts(&c->tail, "\r\nmore than was announced\r\n");
        return;
    case SIM_FAULT_TRUNCATED:
        (void)text_format(lines, sizeof(lines), "Content-Length: %zu\r\n", size / 2); /* fits */
        picture_head(c, "HTTP/1.1 200 OK", type, lines);
        take_body(c, f, size / 2);
        return;
    case SIM_FAULT_EMPTY:
        picture_head(c, "HTTP/1.1 200 OK", type, "Content-Length: 0\r\n");
        return;
    case SIM_FAULT_CLOSE:
        c->after = AFTER_CLOSE;
        return;
    case SIM_FAULT_RESET:
        c->after = AFTER_RESET;
        picture_head(c, "HTTP/1.1 200 OK", type, lines);
        take_body(c, f, size / 2);
        return;
    case SIM_FAULT_RESET_EARLY:
        c->after = AFTER_RESET;
        return;
    case SIM_FAULT_RAW:
        c->after = AFTER_CLOSE;
        take_body(c, f, size);
        return;
    case SIM_FAULT_ICY:
        c->after = AFTER_CLOSE;
        picture_head(c, "ICY 200 OK", type, "");
        take_body(c, f, size);
        return;
    case SIM_FAULT_BAD_HEADER:
        (void)text_format(lines, sizeof(lines), "this line has no colon\r\nContent-Length: %zu\r\n",
                          size); /* fits */
        picture_head(c, "HTTP/1.1 200 OK", type, lines);
        take_body(c, f, size);
        c->frame = NULL; /* no client has to accept it */
        return;
    case SIM_FAULT_HEADER_FLOOD:
        c->after = AFTER_CLOSE;
        (void)dynbuf_puts(&c->head, "HTTP/1.1 200 OK\r\n");
        c->filler = c->device->sim->flood;
        c->filler_left = UINT64_MAX;
        return;
    case SIM_FAULT_NEGATIVE_LENGTH:
        c->after = AFTER_CLOSE;
        picture_head(c, "HTTP/1.1 200 OK", type, "Content-Length: -1\r\n");
        take_body(c, f, size);
        c->frame = NULL;
        return;
    case SIM_FAULT_TWO_LENGTHS:
        (void)text_format(lines, sizeof(lines), "Content-Length: %zu\r\nContent-Length: %zu\r\n",
                          size / 3, size); /* fits */
        picture_head(c, "HTTP/1.1 200 OK", type, lines);
        take_body(c, f, size);
        return;
    case SIM_FAULT_BARE_LF:
        (void)dynbuf_printf(&c->head, "HTTP/1.1 200OK\nContent-Type: %s\nContent-Length: %zu\n\n",
                            type, size);
        take_body(c, f, size);
        return;
    case SIM_FAULT_HTML:
        answer_text(c, (int)number(p, 200), "text/html", "",
                    "<!DOCTYPE html>\n<html><head><title>IPCam Client</title></head><body>\n"
                    "<form action=\"login.cgi\"><input name=\"user\"></form></body></html>\n");
        return;
    case SIM_FAULT_XML:
        answer_foscam_code(c, (int)number(p, -2));
        return;
    case SIM_FAULT_JSON:
        answer_text(c, 200, "text/html", "",
                    "[\n   {\n      \"cmd\" : \"Snap\",\n      \"code\" : 1,\n      \"error\" : {\n"
                    "         \"detail\" : \"login failed\",\n         \"rspCode\" : %d\n"
                    "      }\n   }\n]\n",
                    (int)number(p, -7));
        return;
    case SIM_FAULT_HIKVISION:
        answer_text(c, 403, "application/xml", "",
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ResponseStatus version=\"2.0\">\n"
                    "<requestURL>%.100s</requestURL>\n<statusCode>%d</statusCode>\n"
                    "<statusString>Device Busy</statusString>\n</ResponseStatus>\n",
                    req->path, (int)number(p, 2));
        return;
    case SIM_FAULT_HIKVISION_WORD:
        answer_text(c, 403, "application/xml", "",
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ResponseStatus version=\"2.0\">\n"
                    "<statusCode>4</statusCode>\n<statusString>Invalid Operation</statusString>\n"
                    "<subStatusCode>%.60s</subStatusCode>\n</ResponseStatus>\n",
                    p);
        return;
    case SIM_FAULT_HIKVISION_LOCKED:
        answer_text(
            c, 401, "application/xml", "",
            "<userCheck><statusValue>401</statusValue><lockStatus>lock</lockStatus>"
            "<unlockTime>1800</unlockTime><retryLoginTime>0</retryLoginTime></userCheck>\n");
        return;
    case SIM_FAULT_DAHUA:
        answer_text(c, 400, "text/plain", "", "Error\n%.100s\n", p);
        return;
    case SIM_FAULT_SOAP: /* strikes the services */
        answer_picture(c, f);
        return;
    case SIM_FAULT_STREAM:
        answer_stream(c, f, p);
        return;
    case SIM_FAULT_OLD:
        answer_old(c, f, number(p, 600));
        return;
    case SIM_FAULT_TYPE:
    case SIM_FAULT_NO_TYPE:
        picture_head(c, "HTTP/1.1 200 OK", fault->id == SIM_FAULT_TYPE ? p : NULL, lines);
        take_body(c, f, size);
        return;
    case SIM_FAULT_STATUS:
        answer_status(c, p);
        return;
    case SIM_FAULT_ENDLESS:
        c->after = AFTER_CLOSE;
        picture_head(c, "HTTP/1.1 200 OK", type, "");
        take_body(c, f, size);
        c->frame = NULL;
        c->filler = c->device->sim->zeros;
        c->filler_left = UINT64_MAX;
        return;
    case SIM_FAULT_HUGE: {
        uint64_t huge = (uint64_t)MAX(number(p, 1LL << 32), (int64_t)size);
        (void)text_format(lines, sizeof(lines), "Content-Length: %llu\r\n",
                          (unsigned long long)huge); /* fits */
        picture_head(c, "HTTP/1.1 200 OK", type, lines);
        take_body(c, f, size);
        c->frame = NULL;
        c->filler = c->device->sim->zeros;
        c->filler_left = huge - size;
        return;
    }
    case SIM_FAULT_DRIP: {
        int64_t rate = MAX(number(p, 1), (int64_t)1);
        answer_picture(c, f);
        c->drip_step_ms = rate < 10 ? 1000 : DRIP_STEP_MS;
        c->drip = (size_t)(rate < 10 ? rate : rate * DRIP_STEP_MS / 1000);
        return;
    }
    case SIM_FAULT_HANG:
        c->after = AFTER_SILENCE;
        return;
    case SIM_FAULT_HANG_BODY:
        c->after = AFTER_SILENCE;
        picture_head(c, "HTTP/1.1 200 OK", type, lines);
        take_body(c, f, size / 2);
        return;
    case SIM_FAULT_DELAY:
        answer_picture(c, f);
        c->not_before = mono_add_ms(clock_mono(), number(p, 500));
        return;
    case SIM_FAULT_REDIRECT:
    case SIM_FAULT_REDIRECT_FILE:
    case SIM_FAULT_REDIRECT_LOOP:
        (void)text_format(extra, sizeof(extra), "Location: %.*s\r\n", SIM_FAULT_PARAMETER_MAX,
                          fault->id == SIM_FAULT_REDIRECT_LOOP ? "/snapshot.jpg" : p); /* fits */
        answer_text(c, 302, "text/html", extra, "<html><body>moved</body></html>\n");
        return;
    }
}

static void serve_frame(struct conn *c, const struct sim_request *req, bool stream)
{
    struct device *d = c->device;
    struct sim_frame *f = choose_frame(d, req->query);
    if (!f) {
        answer_text(c, 404, "text/html", "", "<html><body>no such frame</body></html>\n");
        return;
    }
    const struct sim_fault *fault = sim_fault_pick(&d->faults);
    bool good = !fault || fault->id == SIM_FAULT_NONE || fault->id == SIM_FAULT_SOAP;
    if (fault)
        d->faults_struck[fault->id]++;
    if (!good)
        answer_fault(c, fault, f, req);
    else if (stream)
        answer_stream(c, f, "good");
    else
        answer_picture(c, f);
}

static void serve_picture(struct conn *c, const struct sim_request *req)
{
    serve_frame(c, req, false);
}

static void serve_foscam(struct conn *c, const struct sim_request *req)
{
    struct device *d = c->device;
    char cmd[SIM_VALUE_MAX], user[SIM_VALUE_MAX], password[SIM_VALUE_MAX];
    sim_query_get(req->query, "cmd", cmd);
    sim_query_get(req->query, "usr", user);
    sim_query_get(req->query, "pwd", password);
    if (*user || *password)
        d->authorized_headers++;
    if (*d->user && (strcmp(user, d->user) != 0 || strcmp(password, d->password) != 0)) {
        d->refused++;
        answer_foscam_code(c, -2);
        return;
    }
    if (!strcmp(cmd, "snapPicture2"))
        serve_picture(c, req);
    else if (!strcmp(cmd, "snapPicture"))
        answer_text(c, 200, "text/html", "",
                    "<html><body><img src=\"../snapPic/Snap_20260102-030405.jpg\"/></body></html>");
    else
        answer_foscam_code(c, -1);
}

static void challenge(struct conn *c, bool stale, const char *type, const char *text)
{
    struct camera_sim *sim = c->device->sim;
    char lines[512] = "";
    size_t len = 0;
    static const char *const algorithms[SIM_DIGEST_COUNT] = {"MD5", "MD5-sess", "SHA-256", "MD5"};
    if (sim->auth == SIM_AUTH_DIGEST || sim->auth == SIM_AUTH_BOTH) {
        int n = text_format(lines, sizeof(lines),
                            "WWW-Authenticate: Digest realm=\"" REALM "\", nonce=\"%s\"%s, "
                            "algorithm=%s%s\r\n",
                            c->device->nonce,
                            sim->digest == SIM_DIGEST_RFC2069 ? "" : ", qop=\"auth,auth-int\"",
                            algorithms[sim->digest], stale ? ", stale=true" : "");
        len = n > 0 ? (size_t)n : 0;
    }
    if (sim->auth == SIM_AUTH_BASIC || sim->auth == SIM_AUTH_BOTH)
        (void)text_format(lines + len, sizeof(lines) - len,
                          "WWW-Authenticate: Basic realm=\"" REALM "\"\r\n"); /* fits */
    answer_text(c, 401, type, lines, "%s", text);
}

/* True when the request bears the right login by header; else it was answered with a challenge. */
static bool is_allowed(struct conn *c, const struct sim_request *req, const char *type,
                       const char *text)
{
    struct device *d = c->device;
    struct camera_sim *sim = d->sim;
    if (req->authorization[0])
        d->authorized_headers++;
    if (!*d->user || sim->auth == SIM_AUTH_NONE)
        return true;
    enum sim_login login = SIM_LOGIN_MISSING;
    if (sim->auth == SIM_AUTH_DIGEST || sim->auth == SIM_AUTH_BOTH) {
        login = sim_check_digest(req, sim->digest, REALM, d->nonce, d->user, d->password);
        if (login == SIM_LOGIN_OK && sim->nonce_uses && ++d->nonce_used > sim->nonce_uses) {
            new_nonce(d);
            login = SIM_LOGIN_STALE;
        }
    }
    if (login == SIM_LOGIN_MISSING && (sim->auth == SIM_AUTH_BASIC || sim->auth == SIM_AUTH_BOTH))
        login = sim_check_basic(req, d->user, d->password);
    if (login == SIM_LOGIN_OK)
        return true;
    if (login == SIM_LOGIN_WRONG)
        d->refused++;
    /* A camera that was restarted knows nothing of its old challenges and does not call them stale:
     * only one that lets them run out does. */
    challenge(c, login == SIM_LOGIN_STALE && sim->nonce_uses, type, text);
    return false;
}

static void serve_plain(struct conn *c, const struct sim_request *req)
{
    if (is_allowed(c, req, "text/html", "<html><body>401 Unauthorized</body></html>\n"))
        serve_picture(c, req);
}

static void serve_makers(struct conn *c, const struct sim_request *req)
{
    struct device *d = c->device;
    const struct sim_fault *soap = sim_fault_find(&d->faults, SIM_FAULT_SOAP);
    const struct sim_maker_options options = {
        .user = d->user,
        .password = d->password,
        .reolink_token = d->sim->reolink_token,
        .onvif_http_login = d->sim->onvif_http_login,
        .clock_ahead_s = d->sim->clock_ahead_s,
        .soap_fault = soap ? soap->parameter : NULL,
    };
    AUTO_DONE(sim_reply) reply = {0};
    sim_makers_answer(req, c->question, c->question_size, &options, &d->memory, clock_wall(),
                      &reply);
    const char *text = dynbuf_str(&reply.text);
    d->authorized_headers += reply.login_seen;
    d->refused += reply.login_refused;
    bool own_text = reply.kind != SIM_REPLY_TEXT; /* which would be the answer itself */
    if (reply.header_login && !is_allowed(c, req, own_text ? reply.type : "text/html",
                                          own_text ? text : "<html>401 Unauthorized</html>\n"))
        return;
    switch (reply.kind) {
    case SIM_REPLY_NONE:
        answer_text(c, 404, "text/html", "", "<html><body>404 Not Found</body></html>\n");
        break;
    case SIM_REPLY_TEXT:
        answer_text(c, reply.status, reply.type, "", "%s", text);
        break;
    case SIM_REPLY_PICTURE:
    case SIM_REPLY_STREAM:
        serve_frame(c, req, reply.kind == SIM_REPLY_STREAM);
        break;
    }
}

static void json_text(struct dynbuf *out, const char *s)
{
    (void)dynbuf_puts(out, "\"");
    for (; *s; s++) {
        unsigned char b = (unsigned char)*s;
        if (b < 32 || b == '"' || b == '\\' || b >= 127)
            (void)dynbuf_printf(out, "\\u%04x", b);
        else
            (void)dynbuf_append(out, s, 1);
    }
    (void)dynbuf_puts(out, "\"");
}

/* The ledger that tests compare with what arrived. It may be long, so it goes out as a body. */
static void serve_stats(struct conn *c)
{
    struct device *d = c->device;
    AUTO_DONE(dynbuf) json;
    dynbuf_init(&json, 64u << 20); /* some 200 bytes a frame */
    (void)dynbuf_printf(&json,
                        "{\"connections\":%lu,\"requests\":%lu,\"pictures\":%lu,"
                        "\"logins_seen\":%lu,\"logins_refused\":%lu,\"faults\":{",
                        d->connections, d->requests, d->pictures, d->authorized_headers,
                        d->refused);
    bool first = true;
    for (int i = 0; i < SIM_FAULT_COUNT; i++) {
        if (!d->faults_struck[i])
            continue;
        (void)dynbuf_printf(&json, "%s\"%s\":%lu", first ? "" : ",", sim_fault_kinds[i].name,
                            d->faults_struck[i]);
        first = false;
    }
    (void)dynbuf_puts(&json, "},\"frames\":[");
    first = true;
    for (size_t i = 0; i < d->frames.count; i++) {
        const struct sim_frame *f = &d->frames.list[i];
        if (!f->sent)
            continue;
        (void)dynbuf_puts(&json, first ? "{\"name\":" : ",{\"name\":");
        json_text(&json, f->name);
        (void)dynbuf_printf(&json, ",\"sha256\":\"%s\",\"sent\":%lu}", f->sha256, f->sent);
        first = false;
    }
    (void)dynbuf_puts(&json, "]}\n");
    size_t size = json.len;
    c->body = blob_new_take(dynbuf_steal(&json, NULL), size);
    c->body_send = c->body ? size : 0;
    (void)dynbuf_printf(&c->head,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\n\r\n",
                        c->body_send);
}

static void serve_control(struct conn *c, const struct sim_request *req)
{
    struct device *d = c->device;
    char value[SIM_VALUE_MAX];
    struct err error = {0};
    if (!c->loopback) {
        answer_status(c, "404");
    } else if (!strcmp(req->path, "/sim/stats")) {
        serve_stats(c);
    } else if (!strcmp(req->path, "/sim/fault") && sim_query_get(req->query, "set", value)) {
        struct sim_fault_set set = {.random = d->faults.random};
        if (sim_fault_parse(&set, value, &error) < 0) {
            answer_text(c, 400, "text/plain", "", "%s\n", error.text);
            return;
        }
        d->faults = set;
        answer_text(c, 200, "text/plain", "", "ok\n");
    } else if (!strcmp(req->path, "/sim/login") && sim_query_get(req->query, "user", value)) {
        free(d->user);
        d->user = xstrdup(value);
        sim_query_get(req->query, "password", value);
        free(d->password);
        d->password = xstrdup(value);
        answer_text(c, 200, "text/plain", "", "ok\n");
    } else if (!strcmp(req->path, "/sim/restart")) {
        new_nonce(d);
        d->memory = (struct sim_maker_memory){0};
        answer_text(c, 200, "text/plain", "", "ok\n");
    } else {
        answer_status(c, "404");
    }
}

static void answer(struct conn *c, const struct sim_request *req)
{
    struct device *d = c->device;
    c->answering = true;
    c->head_only = !strcmp(req->method, "HEAD");
    c->after = req->keep_alive ? AFTER_KEEP : AFTER_CLOSE;
    if (text_starts_with(req->path, "/sim/")) {
        serve_control(c, req);
        return;
    }
    d->requests++;
    if (d->sim->delay_ms)
        c->not_before = mono_add_ms(clock_mono(), d->sim->delay_ms);
    if (!strcmp(req->path, "/cgi-bin/CGIProxy.fcgi"))
        serve_foscam(c, req);
    else if (!strcmp(req->path, "/snapshot.jpg") || !strcmp(req->path, "/snapshot"))
        serve_plain(c, req);
    else
        serve_makers(c, req);
}

/* ---- bytes ---- */

/* Answers the next whole request in the buffer; false when there is none. */
static bool take_request(struct conn *c)
{
    size_t over = MIN(c->skip, c->in_len);
    memmove(c->in, c->in + over, c->in_len - over);
    c->in_len -= over;
    c->skip -= over;
    if (c->skip)
        return false;
    struct sim_request req;
    long used = sim_request_parse(c->in, c->in_len, &req);
    if (used == 0 && c->in_len < sizeof(c->in))
        return false;
    if (used <= 0) {
        c->answering = true;
        c->after = AFTER_CLOSE;
        answer_text(c, 400, "text/html", "", "<html><body>400 Bad Request</body></html>\n");
        return true;
    }
    /* A body that fits is waited for, another is read over. */
    bool fits = req.body_size && req.body_size <= sizeof(c->in) - (size_t)used;
    if (fits && c->in_len - (size_t)used < req.body_size)
        return false;
    free(c->question);
    c->question = fits ? xmemdup(c->in + used, req.body_size) : NULL;
    c->question_size = fits ? req.body_size : 0;
    c->skip = fits ? 0 : req.body_size;
    if (fits)
        used += (long)req.body_size;
    memmove(c->in, c->in + used, c->in_len - (size_t)used);
    c->in_len -= (size_t)used;
    answer(c, &req);
    return true;
}

static void on_readable(struct conn *c)
{
    ssize_t n = read(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    /* A client that half-closes gets no answer; none of ours does. */
    if (n <= 0) {
        conn_free(c);
        return;
    }
    c->in_len += (size_t)n;
    if (c->answering) {
        /* Pipelined, or noise during a silence: keep it, but do not spin on a full buffer. */
        if (c->in_len == sizeof(c->in))
            conn_free(c);
        return;
    }
    if (take_request(c))
        send_more(c);
}

/* The answer's parts that are still to go, at most `limit` bytes; their number. */
static int parts_left(struct conn *c, size_t limit, struct iovec iov[4])
{
    const struct {
        const void *data;
        uint64_t size;
    } parts[] = {
        {c->head.data, c->head.len},
        {c->body ? c->body->data : NULL, c->body_send},
        {c->tail.data, c->tail.len},
    };
    uint64_t done = c->sent;
    int count = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts) && limit; i++) {
        if (done >= parts[i].size) {
            done -= parts[i].size;
            continue;
        }
        size_t n = MIN((size_t)(parts[i].size - done), limit);
        iov[count++] = (struct iovec){(char *)parts[i].data + done, n};
        limit -= n;
        done = 0;
    }
    if (count == 0 && c->filler_left) {
        limit = MIN(limit, (size_t)FILLER_BYTES);
        size_t n = (size_t)MIN(c->filler_left, (uint64_t)limit);
        iov[count++] = (struct iovec){(char *)c->filler, n};
    }
    return count;
}

/* The answer is out. False when the connection is gone. */
static bool answer_done(struct conn *c)
{
    struct device *d = c->device;
    if (c->frame) {
        c->frame->sent++;
        d->pictures++;
    }
    blob_unref(c->body);
    c->body = NULL;
    c->frame = NULL;
    c->body_send = 0;
    c->sent = 0;
    c->filler_left = 0;
    c->drip = 0;
    c->not_before.us = 0;
    dynbuf_reset(&c->head);
    dynbuf_reset(&c->tail);
    switch (c->after) {
    case AFTER_KEEP:
        c->answering = false;
        return true;
    case AFTER_CLOSE:
        /* A close with unread input would reset and may take the answer along. */
        (void)shutdown(c->fd, SHUT_WR);
        conn_free(c);
        return false;
    case AFTER_RESET:
        conn_reset(c);
        return false;
    case AFTER_SILENCE:
        want(c, false); /* `answering` stays: whatever comes is not answered */
        return true;
    }
    return true;
}

static void send_more(struct conn *c)
{
    for (;;) {
        if (c->not_before.us && clock_mono().us < c->not_before.us) {
            want(c, false);
            return;
        }
        /* The head goes at once, so that a drip is one of the body. */
        size_t limit = c->drip && c->sent >= c->head.len ? c->drip : SIZE_MAX;
        if (c->drip && c->sent < c->head.len)
            limit = (size_t)(c->head.len - c->sent);
        struct iovec iov[4];
        int count = parts_left(c, limit, iov);
        if (count == 0) {
            if (!answer_done(c))
                return;
            if (c->answering || !take_request(c)) {
                want(c, false);
                return;
            }
            continue;
        }
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
        ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL); /* clients go away at any time */
        if (n < 0 && errno == EAGAIN) {
            want(c, true);
            return;
        }
        if (n < 0) {
            conn_free(c);
            return;
        }
        c->sent += (uint64_t)n;
        uint64_t solid = c->head.len + c->body_send + c->tail.len;
        if (c->sent > solid) {
            if (c->filler_left != UINT64_MAX)
                c->filler_left -= c->sent - solid;
            c->sent = solid;
            want(c, true); /* others want their turn too */
            return;
        }
        if (c->drip)
            c->not_before = mono_add_ms(clock_mono(), c->drip_step_ms);
    }
}
