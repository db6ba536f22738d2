#include "sys/httpc.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dynbuf.h"
#include "base/mem.h"
#include "base/text.h"

/* The design in short: curl's multi interface in socket-action mode. curl names its sockets and one
 * timer; sockets go into an epoll set, the timer into a timerfd in the same set, so the whole
 * client is one descriptor that is readable when there is work.
 *
 * Three things are done here and not by curl, each for a reason:
 * - Silence. curl's low-speed limit counts whole seconds and averages; we keep the time of the last
 *   byte ourselves.
 * - Redirects. curl keeps our own header lines (an API key among them) when it follows to another
 *   host; we follow by hand and leave everything personal behind when the origin changes.
 * - A digest challenge that went stale without the server saying so. curl takes the second 401 on a
 *   kept challenge for a wrong password; a camera that was restarted looks just like that. We
 * forget the challenge and ask once more before anybody hears of a 401.
 *
 * CURLOPT_QUICK_EXIT is on for every request: without it, giving up on a name that does not resolve
 * waits for the resolver thread, and one silent name server would stall every camera. */

enum {
    EVENTS_PER_WAIT = 64,
    BODY_FIRST_BYTES = 64 * 1024,     /* when the length is not known: most small pictures */
    CONNECTIONS_KEPT_MAX = 1024,      /* idle ones; one per camera */
    RECEIVE_BUFFER_BYTES = 64 * 1024, /* a 2 MB picture in some 30 reads */
    BODY_LOOKS = 8,                   /* while a body goes out, within the time of a silence */
    URL_MAX = 8 * 1024,               /* what servers accept at most */
    HEADER_MAX = 64 * 1024,           /* of one answer: curl itself would keep any amount */
};

struct httpc {
    CURLM *multi;
    int epoll_fd;
    int timer_fd;
    int64_t curl_due_us; /* monotonic; -1 = curl has no timer */
    int64_t armed_us;    /* what the timerfd is set to; -1 = disarmed */
    struct httpc_channel *active;
    int active_count;
    struct httpc_channel *channels;
    int64_t budget_max;
    int64_t budget_used;
};

struct httpc_channel {
    struct httpc *httpc;                             /* NULL after httpc_free() */
    struct httpc_channel *next, *prev;               /* all channels */
    struct httpc_channel *active_next, *active_prev; /* those with a request */
    CURL *easy;
    struct curl_slist *headers;
    bool active;
    bool ca_changed;    /* the easy handle's CA differs from the built-in default */
    bool digest_primed; /* a challenge of an earlier request is kept */

    httpc_done_fn *done;
    void *arg;
    char shown[256];
    char curl_error[CURL_ERROR_SIZE];
    struct mono_time started;
    struct mono_time progress_at, looked_at;
    curl_off_t body_size, uploaded; /* what goes out, and what of it had gone at `looked_at` */
    bool in_exchange;               /* connected, request on its way */
    bool too_big;
    bool header_too_big;
    bool no_memory;
    char forbidden[48]; /* an address that `hosts` does not have, "" = none */
    bool knocked;       /* at one that it has */
    size_t header_bytes;
    int sink_result;
    int answers; /* final status lines seen in this hop: more than one means a login round */
    bool rechallenged;
    int redirects;
    double connect_ms, first_ms;

    /* What of the request is needed after the start. */
    enum httpc_auth auth;
    bool has_login;
    bool follows;
    bool tls;
    int redirects_max;
    int64_t connect_timeout_ms, stall_timeout_ms, total_timeout_ms, size_max;
    int (*sink)(void *arg, const void *bytes, size_t size);
    int (*sink_begin)(void *arg, long status, int64_t content_length, const char *etag);
    void *sink_arg;
    enum httpc_look (*look)(void *arg, const void *body, size_t size);
    void *look_arg;
    enum httpc_look looked;
    const struct host_list *hosts;

    char *body;
    size_t body_len, body_cap;
};

const char *const httpc_failure_names[HTTPC_FAILURE_COUNT] = {
    [HTTPC_OK] = "ok",
    [HTTPC_FAIL_REQUEST] = "request",
    [HTTPC_FAIL_RESOLVE] = "resolve",
    [HTTPC_FAIL_CONNECT] = "connect",
    [HTTPC_FAIL_TLS] = "tls",
    [HTTPC_FAIL_TIMEOUT] = "timeout",
    [HTTPC_FAIL_TRANSFER] = "transfer",
    [HTTPC_FAIL_REPLY] = "reply",
    [HTTPC_FAIL_SIZE] = "size",
    [HTTPC_FAIL_MEMORY] = "memory",
    [HTTPC_FAIL_CANCELED] = "canceled",
};

static void init_curl(void);
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg);
static int on_timer(CURLM *multi, long timeout_ms, void *arg);
static void set_timer(struct httpc *h);
static void check_silence(struct httpc *h);
static void reap(struct httpc *h);
static int apply(struct httpc_channel *c, const struct httpc_request *req, struct err *e);
static void activate(struct httpc_channel *c);
static void fill_answer(struct httpc_channel *c, long status, struct httpc_response *r);
static void finish(struct httpc_channel *c, struct httpc_response *r);
static void body_drop(struct httpc_channel *c);

int httpc_new(struct httpc **ret, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);

    struct httpc *h = xcalloc(1, sizeof(*h));
    h->curl_due_us = -1;
    h->armed_us = -1;
    h->timer_fd = -1;
    h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (h->epoll_fd < 0) {
        int r = err_errno(e, -errno, "HTTP client");
        httpc_free(h);
        return r;
    }
    h->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = h->timer_fd};
    if (h->timer_fd < 0 || epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, h->timer_fd, &ev) < 0) {
        int r = err_errno(e, -errno, "HTTP client");
        httpc_free(h);
        return r;
    }
    h->multi = curl_multi_init();
    if (!h->multi) {
        httpc_free(h);
        return err_set(e, -ENOMEM, ERR_LATER, "HTTP client: no memory");
    }
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT_MAX);
    *ret = h;
    return 0;
}

void httpc_free(struct httpc *h)
{
    if (!h)
        return;
    while (h->channels) {
        struct httpc_channel *c = h->channels;
        httpc_cancel(c); /* its callback may free any channel, this one too */
        if (h->channels != c)
            continue;
        h->channels = c->next;
        if (c->next)
            c->next->prev = NULL;
        c->next = c->prev = NULL;
        c->httpc = NULL;
        /* The handle borrows the multi's connections: it must not outlive it. */
        curl_easy_cleanup(c->easy);
        c->easy = NULL;
    }
    if (h->multi)
        curl_multi_cleanup(h->multi);
    if (h->timer_fd >= 0)
        (void)close(h->timer_fd); /* a timer holds nothing to lose */
    if (h->epoll_fd >= 0)
        (void)close(h->epoll_fd); /* nor does the set */
    free(h);
}

void httpc_set_budget(struct httpc *h, int64_t bytes)
{
    h->budget_max = bytes;
}

int httpc_fd(const struct httpc *h)
{
    return h->epoll_fd;
}

int httpc_in_flight(const struct httpc *h)
{
    return h->active_count;
}

void httpc_process(struct httpc *h)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    int running;
    int n = epoll_wait(h->epoll_fd, events, EVENTS_PER_WAIT, 0);
    for (int i = 0; i < n; i++) {
        if (events[i].data.fd == h->timer_fd) {
            uint64_t expirations;
            if (read(h->timer_fd, &expirations, sizeof(expirations)) > 0)
                h->armed_us = -1;
            continue;
        }
        int mask = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0);
        /* An error alone, as the kernel shows a reset for a moment, curl takes for one of sending;
         * by reading it learns what it is. */
        if (events[i].events & (EPOLLERR | EPOLLHUP))
            mask |= CURL_CSELECT_ERR | CURL_CSELECT_IN;
        curl_multi_socket_action(h->multi, events[i].data.fd, mask, &running);
    }
    if (h->curl_due_us >= 0 && clock_mono().us >= h->curl_due_us) {
        h->curl_due_us = -1;
        curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    reap(h);
    check_silence(h);
    set_timer(h);
}

int httpc_channel_new(struct httpc *h, struct httpc_channel **ret, struct err *e)
{
    CURL *easy = curl_easy_init();
    if (!easy)
        return err_set(e, -ENOMEM, ERR_LATER, "HTTP client: no memory");
    struct httpc_channel *c = xcalloc(1, sizeof(*c));
    c->easy = easy;
    c->httpc = h;
    c->next = h->channels;
    if (c->next)
        c->next->prev = c;
    h->channels = c;
    *ret = c;
    return 0;
}

void httpc_channel_free(struct httpc_channel *c)
{
    if (!c)
        return;
    httpc_cancel(c);
    if (c->httpc) {
        if (c->prev)
            c->prev->next = c->next;
        else
            c->httpc->channels = c->next;
        if (c->next)
            c->next->prev = c->prev;
    }
    if (c->easy)
        curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    free(c);
}

int httpc_start(struct httpc_channel *c, const struct httpc_request *req, httpc_done_fn *done,
                void *arg, struct err *e)
{
    assert(c->httpc);
    assert(done);
    if (c->active)
        return err_set(e, -EBUSY, ERR_LATER, "a request is under way");
    if (req->shown)
        text_copy(c->shown, sizeof(c->shown), req->shown);
    else
        httpc_show_url(req->url, c->shown, sizeof(c->shown));

    c->done = done;
    c->arg = arg;
    c->redirects = 0;
    c->rechallenged = false;
    c->connect_ms = c->first_ms = 0;
    c->auth = req->auth;
    c->has_login = req->auth != HTTPC_AUTH_NONE && req->user && *req->user;
    c->follows = !req->method || !strcmp(req->method, "GET") || !strcmp(req->method, "HEAD");
    c->redirects_max = req->redirects_max;
    c->connect_timeout_ms =
        req->connect_timeout_ms ? req->connect_timeout_ms : HTTPC_CONNECT_TIMEOUT_MS;
    c->stall_timeout_ms = req->stall_timeout_ms;
    c->body_size = (curl_off_t)req->body_size;
    c->total_timeout_ms = req->total_timeout_ms;
    c->size_max = req->size_max ? req->size_max : HTTPC_SIZE_MAX;
    c->sink = req->sink;
    c->sink_begin = req->sink_begin;
    c->sink_arg = req->sink_arg;
    c->look = req->look;
    c->look_arg = req->look_arg;
    c->hosts = req->hosts;
    c->started = clock_mono();

    int r = apply(c, req, e);
    if (r < 0)
        return r;
    activate(c);
    if (curl_multi_add_handle(c->httpc->multi, c->easy) != CURLM_OK) {
        body_drop(c);
        c->active = false;
        c->httpc->active_count--;
        if (c->active_prev)
            c->active_prev->active_next = c->active_next;
        else
            c->httpc->active = c->active_next;
        if (c->active_next)
            c->active_next->active_prev = c->active_prev;
        return err_set(e, -ENOMEM, ERR_LATER, "%s: no memory", c->shown);
    }
    set_timer(c->httpc);
    return 0;
}

void httpc_cancel(struct httpc_channel *c)
{
    if (!c->active)
        return;
    assert(c->httpc); /* only httpc_free() takes it away, after cancelling */
    curl_multi_remove_handle(c->httpc->multi, c->easy);
    struct err error = {0};
    struct httpc_response r = {
        .failure = HTTPC_FAIL_CANCELED,
        .error = &error,
        .retry_after_s = -1,
        .content_length = -1,
        .date_s = -1,
        .last_modified_s = -1,
    };
    r.code = err_set(&error, -ECANCELED, ERR_LATER, "%s: given up", c->shown);
    finish(c, &r);
}

/* Status lines of streaming servers, which some cameras were made of; taken with http09 only. */
static struct curl_slist icy_status = {.data = (char *)"ICY 200 OK"};

static void init_curl(void)
{
    /* Without memory for this nothing that follows can work; curl_multi_init() then says so. */
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* curl names a socket and what it waits for. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    (void)easy;
    struct httpc *h = arg;
    if (what == CURL_POLL_REMOVE) {
        /* A socket that was given up while it connected is closed by now, and with it gone from the
         * set; its number may be another thread's. That thread is none of ours, but the thread
         * sanitizer follows numbers through the library's call and not through the kernel's. */
        (void)syscall(SYS_epoll_ctl, h->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        curl_multi_assign(h->multi, fd, NULL);
        return 0;
    }
    struct epoll_event ev = {.data.fd = fd};
    if (what & CURL_POLL_IN)
        ev.events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        ev.events |= EPOLLOUT;
    if (socket_arg && epoll_ctl(h->epoll_fd, EPOLL_CTL_MOD, fd, &ev) == 0)
        return 0;
    if (epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 && errno == EEXIST)
        (void)epoll_ctl(h->epoll_fd, EPOLL_CTL_MOD, fd, &ev);
    curl_multi_assign(h->multi, fd, h);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    struct httpc *h = arg;
    h->curl_due_us = timeout_ms < 0 ? -1 : clock_mono().us + (int64_t)timeout_ms * 1000;
    return 0;
}

/* curl does not tell when a piece of the body goes out, so we look now and then. */
static int64_t silence_due_us(const struct httpc_channel *c)
{
    if (!c->stall_timeout_ms || !c->in_exchange)
        return -1;
    struct mono_time due = mono_add_ms(c->progress_at, c->stall_timeout_ms);
    if (c->uploaded < c->body_size)
        due.us = MIN(due.us, mono_add_ms(c->looked_at, c->stall_timeout_ms / BODY_LOOKS).us);
    return due.us;
}

/* One timer for curl's own deadlines and our silence limits. */
static void set_timer(struct httpc *h)
{
    int64_t due = h->curl_due_us;
    for (struct httpc_channel *c = h->active; c; c = c->active_next) {
        int64_t at = silence_due_us(c);
        if (at >= 0 && (due < 0 || at < due))
            due = at;
    }
    if (due == h->armed_us)
        return;
    struct itimerspec its = {0};
    if (due >= 0) {
        int64_t wait_us = MAX(due - clock_mono().us, (int64_t)0);
        its.it_value.tv_sec = (time_t)(wait_us / 1000000);
        /* Zero would disarm. */
        its.it_value.tv_nsec = (long)(wait_us % 1000000) * 1000 + 1;
    }
    if (timerfd_settime(h->timer_fd, 0, &its, NULL) == 0)
        h->armed_us = due;
}

static void report_silence(struct httpc_channel *c)
{
    struct err error = {0};
    struct httpc_response r = {
        .failure = HTTPC_FAIL_TIMEOUT,
        .error = &error,
        .retry_after_s = -1,
        .content_length = -1,
        .date_s = -1,
        .last_modified_s = -1,
    };
    curl_multi_remove_handle(c->httpc->multi, c->easy);
    if (c->body_len)
        r.code =
            err_set(&error, -ETIMEDOUT, ERR_LATER, "%s: fell silent for %lld ms after %zu bytes",
                    c->shown, (long long)c->stall_timeout_ms, c->body_len);
    else
        r.code = err_set(&error, -ETIMEDOUT, ERR_LATER, "%s: connected, but no answer for %lld ms",
                         c->shown, (long long)c->stall_timeout_ms);
    finish(c, &r);
}

static void check_silence(struct httpc *h)
{
    struct mono_time now = clock_mono();
    struct httpc_channel *c = h->active;
    while (c) {
        int64_t due = silence_due_us(c);
        if (due < 0 || now.us < due) {
            c = c->active_next;
            continue;
        }
        curl_off_t uploaded = 0;
        curl_easy_getinfo(c->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
        c->looked_at = now;
        if (uploaded > c->uploaded) { /* a long body still leaves: that is life too */
            c->uploaded = uploaded;
            c->progress_at = now;
        }
        if (now.us < mono_add_ms(c->progress_at, c->stall_timeout_ms).us) {
            c = c->active_next;
            continue;
        }
        report_silence(c);
        c = h->active; /* the callback may have changed the list in any way */
    }
}

/* Connected (or a kept connection chosen): the request goes out now. */
static int on_request(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    (void)local_ip;
    (void)port;
    (void)local_port;
    struct httpc_channel *c = arg;
    /* A connection that is kept from another request was not opened for this one's list. */
    if (c->hosts && !host_list_has(c->hosts, ip)) {
        text_copy(c->forbidden, sizeof(c->forbidden), ip);
        return CURL_PREREQFUNC_ABORT;
    }
    c->progress_at = c->looked_at = clock_mono();
    if (!c->in_exchange && c->connect_ms <= 0)
        c->connect_ms = mono_diff_ms(c->progress_at, c->started);
    c->in_exchange = true;
    return CURL_PREREQFUNC_OK;
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    (void)size; /* always 1 */
    struct httpc_channel *c = arg;
    c->progress_at = clock_mono();
    if (c->first_ms <= 0)
        c->first_ms = mono_diff_ms(c->progress_at, c->started);
    if (count > 5 && !strncasecmp(line, "HTTP/", 5)) {
        const char *space = memchr(line, ' ', count);
        bool interim = space && space + 1 < line + count && space[1] == '1';
        if (!interim)
            c->answers++;
        c->header_bytes = 0;
    }
    c->header_bytes += count;
    c->header_too_big = c->header_bytes > HEADER_MAX;
    return c->header_too_big ? 0 : count;
}

static void note_forbidden(struct httpc_channel *c, const struct sockaddr *address, socklen_t size)
{
    if (getnameinfo(address, size, c->forbidden, sizeof(c->forbidden), NULL, 0, NI_NUMERICHOST) !=
        0)
        text_copy(c->forbidden, sizeof(c->forbidden), "of an unknown kind");
}

/* As curl would, but not inherited by a child, and not for every address. */
static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *at)
{
    (void)purpose;
    struct httpc_channel *c = arg;
    if (c->hosts && !host_list_has_address(c->hosts, &at->addr)) {
        note_forbidden(c, &at->addr, at->addrlen);
        return CURL_SOCKET_BAD;
    }
    c->knocked = true;
    return socket(at->family, at->socktype | SOCK_CLOEXEC, at->protocol);
}

/* Room for `need` bytes in the body, within the request's maximum and the client's budget. */
static bool body_reserve(struct httpc_channel *c, size_t need)
{
    if (need <= c->body_cap)
        return true;
    struct httpc *h = c->httpc;
    curl_off_t promised = -1;
    curl_easy_getinfo(c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &promised);
    size_t cap = MAX(c->body_cap * 2, (size_t)BODY_FIRST_BYTES);
    if (promised > 0 && c->body_cap == 0)
        cap = (size_t)MIN((int64_t)promised, c->size_max);
    cap = MIN(MAX(cap, need), (size_t)c->size_max);
    int64_t more = (int64_t)(cap - c->body_cap);
    if (h->budget_max && h->budget_used + more > h->budget_max)
        return false;
    char *grown = mem_try_realloc(c->body, cap, 1, (size_t)c->size_max);
    if (!grown)
        return false;
    c->body = grown;
    c->body_cap = cap;
    h->budget_used += more;
    return true;
}

static void body_drop(struct httpc_channel *c)
{
    free(c->body);
    c->body = NULL;
    c->httpc->budget_used -= (int64_t)c->body_cap;
    c->body_len = c->body_cap = 0;
}

static int begin_sink(struct httpc_channel *c, long status)
{
    if (!c->sink_begin)
        return 0;
    curl_off_t promised = -1;
    struct curl_header *etag = NULL;
    curl_easy_getinfo(c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &promised);
    bool has_etag = curl_easy_header(c->easy, "ETag", 0, CURLH_HEADER, -1, &etag) == CURLHE_OK;
    return c->sink_begin(c->sink_arg, status, (int64_t)promised, has_etag ? etag->value : "");
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    (void)size; /* always 1 */
    struct httpc_channel *c = arg;
    c->progress_at = clock_mono();
    if (c->first_ms <= 0)
        c->first_ms = mono_diff_ms(c->progress_at, c->started);

    /* Counted here: CURLOPT_MAXFILESIZE knows nothing of bodies without a length. An announced
     * length that is too big ends it with the first piece. */
    curl_off_t promised = -1;
    if (c->body_len == 0)
        curl_easy_getinfo(c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &promised);
    if ((int64_t)(c->body_len + count) > c->size_max || promised > c->size_max) {
        c->too_big = true;
        return 0;
    }
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    if (c->sink && status >= 200 && status < 300) {
        if (c->body_len == 0)
            c->sink_result = begin_sink(c, status);
        c->body_len += count;
        if (c->sink_result == 0)
            c->sink_result = c->sink(c->sink_arg, bytes, count);
        return c->sink_result < 0 ? 0 : count;
    }
    if (!body_reserve(c, c->body_len + count)) {
        c->no_memory = true;
        return 0;
    }
    memcpy(c->body + c->body_len, bytes, count);
    c->body_len += count;
    if (c->look && status >= 200 && status < 300)
        c->looked = c->look(c->look_arg, c->body, c->body_len);
    return c->looked == HTTPC_LOOK_ENOUGH ? 0 : count;
}

static long curl_auth(const struct httpc_request *req)
{
    if (!req->user || !*req->user)
        return CURLAUTH_NONE;
    switch (req->auth) {
    case HTTPC_AUTH_NONE:
        return CURLAUTH_NONE;
    case HTTPC_AUTH_BASIC:
        return CURLAUTH_BASIC;
    case HTTPC_AUTH_DIGEST:
        return CURLAUTH_DIGEST;
    case HTTPC_AUTH_ANY:
        /* Over plain HTTP a server (or whoever answers in its place) could ask for the password in
         * the clear; that needs a configuration that says basic. */
        return strncasecmp(req->url, "https:", 6) ? (long)CURLAUTH_DIGEST
                                                  : (long)(CURLAUTH_DIGEST | CURLAUTH_BASIC);
    case HTTPC_AUTH_COUNT:
        break;
    }
    return CURLAUTH_NONE;
}

static int build_headers(struct httpc_channel *c, const struct httpc_request *req, struct err *e)
{
    curl_slist_free_all(c->headers);
    c->headers = NULL;
    /* "Expect: 100-continue" costs a second with the many servers that do not answer it. */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    if (!list)
        return err_set(e, -ENOMEM, ERR_LATER, "%s: no memory", c->shown);
    for (const char *const *line = req->headers; line && *line; line++) {
        if (!strchr(*line, ':') || strpbrk(*line, "\r\n")) {
            curl_slist_free_all(list);
            return err_set(e, -EINVAL, ERR_NEVER, "%s: a header line must read 'Name: value'",
                           c->shown);
        }
        struct curl_slist *longer = curl_slist_append(list, *line);
        if (!longer) {
            curl_slist_free_all(list);
            return err_set(e, -ENOMEM, ERR_LATER, "%s: no memory", c->shown);
        }
        list = longer;
    }
    c->headers = list;
    return 0;
}

/* Options that stay valid over redirects and repeated challenges. */
static int apply(struct httpc_channel *c, const struct httpc_request *req, struct err *e)
{
    if (!req->url || strlen(req->url) > URL_MAX ||
        (strncasecmp(req->url, "http://", 7) != 0 && strncasecmp(req->url, "https://", 8) != 0))
        return err_set(e, -EINVAL, ERR_NEVER, "%s: the URL must begin with http:// or https://",
                       c->shown);
    int r = build_headers(c, req, e);
    if (r < 0)
        return r;
    /* Neither option has a way back to the built-in default but this. It also forgets a challenge.
     */
    if (c->ca_changed && !req->tls_ca_file) {
        curl_easy_reset(c->easy);
        c->ca_changed = false;
        c->digest_primed = false;
    }

    c->tls = !strncasecmp(req->url, "https:", 6);
    CURL *easy = c->easy;
    CURLcode code = CURLE_OK;
#define SET(option, value)                                                                         \
    do {                                                                                           \
        if (code == CURLE_OK)                                                                      \
            code = curl_easy_setopt(easy, option, value);                                          \
    } while (0)
    SET(CURLOPT_PRIVATE, c);
    SET(CURLOPT_ERRORBUFFER, c->curl_error);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_UNRESTRICTED_AUTH, 0L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, c);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, c);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(CURLOPT_OPENSOCKETDATA, c);
    SET(CURLOPT_PREREQFUNCTION, on_request);
    SET(CURLOPT_PREREQDATA, c);
    SET(CURLOPT_USERAGENT, "snapshotd");
    SET(CURLOPT_URL, req->url);
    SET(CURLOPT_HTTPHEADER, c->headers);
    SET(CURLOPT_NOPROXY, req->use_proxy ? NULL : "*");
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L); /* a proxy's are no part of the answer */
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)MIN(c->connect_timeout_ms, (int64_t)INT_MAX));
    SET(CURLOPT_TIMEOUT_MS, (long)MIN(c->total_timeout_ms, (int64_t)INT_MAX));

    /* The order matters: each of these but the last sets the method, POSTFIELDS too. */
    SET(CURLOPT_POSTFIELDS, NULL);
    SET(CURLOPT_NOBODY, 0L);
    SET(CURLOPT_HTTPGET, 1L);
    SET(CURLOPT_CUSTOMREQUEST, NULL);
    bool head = req->method && !strcmp(req->method, "HEAD");
    if (head)
        SET(CURLOPT_NOBODY, 1L);
    if (req->body || (req->method && !strcmp(req->method, "POST"))) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body_size);
        SET(CURLOPT_POSTFIELDS, req->body ? req->body : "");
    }
    if (req->method && !head && strcmp(req->method, "GET") != 0)
        SET(CURLOPT_CUSTOMREQUEST, req->method);

    SET(CURLOPT_HTTPAUTH, curl_auth(req));
    SET(CURLOPT_USERNAME, c->has_login ? req->user : NULL);
    SET(CURLOPT_PASSWORD, c->has_login ? (req->password ? req->password : "") : NULL);

    SET(CURLOPT_SSL_VERIFYPEER, req->tls_insecure ? 0L : 1L);
    SET(CURLOPT_SSL_VERIFYHOST, req->tls_insecure ? 0L : 2L);
    SET(CURLOPT_PINNEDPUBLICKEY, req->tls_pin && *req->tls_pin ? req->tls_pin : NULL);
    SET(CURLOPT_SSLVERSION,
        req->tls_legacy ? (long)CURL_SSLVERSION_TLSv1_0 : (long)CURL_SSLVERSION_DEFAULT);
    SET(CURLOPT_SSL_CIPHER_LIST, req->tls_legacy ? "DEFAULT:@SECLEVEL=0" : NULL);
    if (req->tls_ca_file && *req->tls_ca_file) {
        SET(CURLOPT_CAINFO, req->tls_ca_file);
        SET(CURLOPT_CAPATH, NULL); /* this file alone decides */
        c->ca_changed = true;
    }
    SET(CURLOPT_SSL_ENABLE_ALPN, req->http1_only ? 0L : 1L);
    SET(CURLOPT_HTTP_VERSION,
        req->http1_only ? (long)CURL_HTTP_VERSION_1_1 : (long)CURL_HTTP_VERSION_2TLS);
    SET(CURLOPT_HTTP09_ALLOWED, req->http09 ? 1L : 0L);
    SET(CURLOPT_HTTP200ALIASES, req->http09 ? &icy_status : NULL);
#undef SET
    /* After a name that was not found libcurl 7.88 still has the buffer, and refuses to hear of its
     * size, which is this one already. */
    (void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECEIVE_BUFFER_BYTES);
    if (code == CURLE_OUT_OF_MEMORY)
        return err_set(e, -ENOMEM, ERR_LATER, "%s: no memory", c->shown);
    if (code != CURLE_OK)
        return err_set(e, -EINVAL, ERR_NEVER, "%s: %s", c->shown, curl_easy_strerror(code));
    return 0;
}

static void reset_hop(struct httpc_channel *c)
{
    c->curl_error[0] = '\0';
    c->in_exchange = false;
    c->too_big = false;
    c->header_too_big = false;
    c->header_bytes = 0;
    c->no_memory = false;
    c->forbidden[0] = '\0';
    c->knocked = false;
    c->sink_result = 0;
    c->looked = HTTPC_LOOK_MORE;
    c->answers = 0;
    c->uploaded = 0;
    body_drop(c);
}

static void activate(struct httpc_channel *c)
{
    struct httpc *h = c->httpc;
    reset_hop(c);
    c->active = true;
    c->active_prev = NULL;
    c->active_next = h->active;
    if (h->active)
        h->active->active_prev = c;
    h->active = c;
    h->active_count++;
}

/* A failure behind a body that is enough, or would do, is none. */
static void settle(struct httpc_channel *c, struct httpc_response *r)
{
    if (r->code == 0 || c->looked == HTTPC_LOOK_MORE || r->failure == HTTPC_FAIL_CANCELED)
        return;
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    static const struct err none = {0};
    r->error = &none;
    r->code = 0;
    r->failure = HTTPC_OK;
    fill_answer(c, status, r);
}

/* Takes the channel out of the running ones and tells the caller. The channel may be gone after. */
static void finish(struct httpc_channel *c, struct httpc_response *r)
{
    struct httpc *h = c->httpc;
    settle(c, r);
    if (c->active_prev)
        c->active_prev->active_next = c->active_next;
    else
        h->active = c->active_next;
    if (c->active_next)
        c->active_next->active_prev = c->active_prev;
    c->active_next = c->active_prev = NULL;
    c->active = false;
    h->active_count--;

    AUTO(blob) body = NULL;
    struct err no_memory = {0};
    if (r->code == 0 && c->body_len && c->body) {
        h->budget_used -= (int64_t)c->body_cap;
        /* Growing by doubling may have left half of it empty; giving that back moves nothing. */
        char *fit = c->body_cap > c->body_len ? realloc(c->body, c->body_len) : c->body;
        body = blob_new_take(fit ? fit : c->body, c->body_len);
        c->body = NULL;
        c->body_len = c->body_cap = 0;
        r->body = body;
        if (!body) {
            r->failure = HTTPC_FAIL_MEMORY;
            r->code =
                err_set(&no_memory, -ENOMEM, ERR_LATER, "%s: no memory for the answer", c->shown);
            r->error = &no_memory;
        }
    }
    body_drop(c);
    r->shown = c->shown;
    r->sent = c->in_exchange || c->redirects > 0 || c->rechallenged;
    r->handle = c->easy;
    r->redirects = c->redirects;
    r->connect_ms = c->connect_ms;
    r->first_ms = c->first_ms;
    r->total_ms = mono_diff_ms(clock_mono(), c->started);
    c->done(c->arg, r);
}

const char *httpc_response_header(const struct httpc_response *r, const char *name)
{
    struct curl_header *header = NULL;
    if (curl_easy_header(r->handle, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return NULL;
    return header->value;
}

/* True when both URLs have scheme, host and port in common. */
static bool same_origin(const char *a, const char *b)
{
    CURLU *ua = curl_url(), *ub = curl_url();
    bool same = ua && ub && curl_url_set(ua, CURLUPART_URL, a, 0) == CURLUE_OK &&
                curl_url_set(ub, CURLUPART_URL, b, 0) == CURLUE_OK;
    static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
    for (size_t i = 0; same && i < ARRAY_LEN(parts); i++) {
        char *pa = NULL, *pb = NULL;
        same = curl_url_get(ua, parts[i], &pa, CURLU_DEFAULT_PORT) == CURLUE_OK &&
               curl_url_get(ub, parts[i], &pb, CURLU_DEFAULT_PORT) == CURLUE_OK &&
               strcasecmp(pa, pb) == 0;
        curl_free(pa);
        curl_free(pb);
    }
    curl_url_cleanup(ua);
    curl_url_cleanup(ub);
    return same;
}

/* 1: another hop is under way; 0: the answer stands; negative: refused, said in `e`. */
static int follow_redirect(struct httpc_channel *c, long status, struct err *e)
{
    if (!c->redirects_max || !c->follows || status < 300 || status > 308 || status == 304)
        return 0;
    char *target = NULL, *from = NULL;
    curl_easy_getinfo(c->easy, CURLINFO_REDIRECT_URL, &target);
    curl_easy_getinfo(c->easy, CURLINFO_EFFECTIVE_URL, &from);
    if (!target)
        return 0;
    if (strncasecmp(target, "http://", 7) != 0 && strncasecmp(target, "https://", 8) != 0) {
        char scheme[16] = "";
        text_copy(scheme, sizeof(scheme), target);
        scheme[strcspn(scheme, ":")] = '\0';
        char escaped[64];
        return err_set(e, -EPERM, ERR_NEVER, "%s: redirects to a %s: address, refused", c->shown,
                       text_escape(scheme, strlen(scheme), escaped, sizeof(escaped)));
    }
    if (c->redirects >= c->redirects_max)
        return err_set(e, -ELOOP, ERR_NEVER, "%s: more than %d redirects", c->shown,
                       c->redirects_max);
    int64_t left_ms = 0;
    if (c->total_timeout_ms) {
        left_ms = c->total_timeout_ms - mono_diff_us(clock_mono(), c->started) / 1000;
        if (left_ms <= 0)
            return err_set(e, -ETIMEDOUT, ERR_LATER, "%s: not finished within %lld ms", c->shown,
                           (long long)c->total_timeout_ms);
    }
    if (strlen(target) > URL_MAX)
        return err_set(e, -EPERM, ERR_NEVER, "%s: redirects to an over-long address", c->shown);

    AUTO_FREE char *url = xstrdup(target); /* curl's copy dies with the next setopt */
    c->redirects++;
    c->tls = !strncasecmp(url, "https:", 6);
    if (!same_origin(from ? from : "", url)) {
        c->has_login = false;
        curl_easy_setopt(c->easy, CURLOPT_HTTPAUTH, CURLAUTH_NONE);
        curl_easy_setopt(c->easy, CURLOPT_USERNAME, NULL);
        curl_easy_setopt(c->easy, CURLOPT_PASSWORD, NULL);
        curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, NULL);
    }
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, (long)MIN(left_ms, (int64_t)INT_MAX));
    if (curl_easy_setopt(c->easy, CURLOPT_URL, url) != CURLE_OK)
        return err_set(e, -ENOMEM, ERR_LATER, "%s: no memory", c->shown);
    reset_hop(c);
    if (curl_multi_add_handle(c->httpc->multi, c->easy) != CURLM_OK)
        return err_set(e, -ENOMEM, ERR_LATER, "%s: no memory", c->shown);
    return 1;
}

/* Options are copied to a new handle, a challenge is not. */
static bool forget_challenge(struct httpc_channel *c)
{
    CURL *fresh = curl_easy_duphandle(c->easy);
    if (!fresh)
        return false;
    curl_easy_cleanup(c->easy);
    c->easy = fresh;
    c->digest_primed = false;
    return true;
}

/* A 401 on a challenge kept from an earlier request proves nothing. True: asked again. */
static bool ask_for_a_new_challenge(struct httpc_channel *c, long status)
{
    if (status != 401 || !c->digest_primed || c->rechallenged || !forget_challenge(c))
        return false;
    c->rechallenged = true;
    if (c->total_timeout_ms) {
        int64_t left_ms = c->total_timeout_ms - mono_diff_us(clock_mono(), c->started) / 1000;
        curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, (long)MAX(left_ms, (int64_t)1));
    }
    reset_hop(c);
    return curl_multi_add_handle(c->httpc->multi, c->easy) == CURLM_OK;
}

struct failure_row {
    CURLcode curl;
    enum httpc_failure failure;
    int code;
    enum err_retry retry;
    const char *text; /* NULL: curl's own words */
};

/* What curl's codes mean to us. Those with more to tell are in describe_failure(). */
static const struct failure_row failure_rows[] = {
    {CURLE_URL_MALFORMAT, HTTPC_FAIL_REQUEST, -EINVAL, ERR_NEVER, "the URL is not valid"},
    {CURLE_COULDNT_RESOLVE_HOST, HTTPC_FAIL_RESOLVE, -EHOSTUNREACH, ERR_LATER,
     "no address is known for this name"},
    {CURLE_COULDNT_RESOLVE_PROXY, HTTPC_FAIL_RESOLVE, -EHOSTUNREACH, ERR_LATER,
     "no address is known for the proxy"},
    {CURLE_GOT_NOTHING, HTTPC_FAIL_TRANSFER, -ECONNRESET, ERR_NOW,
     "the connection was closed without an answer"},
    {CURLE_SEND_ERROR, HTTPC_FAIL_TRANSFER, -ECONNRESET, ERR_NOW,
     "the connection broke while sending the request"},
    {CURLE_HTTP2, HTTPC_FAIL_TRANSFER, -EPROTO, ERR_NOW, NULL},
    {CURLE_HTTP2_STREAM, HTTPC_FAIL_TRANSFER, -EPROTO, ERR_NOW, NULL},
    {CURLE_WEIRD_SERVER_REPLY, HTTPC_FAIL_REPLY, -EPROTO, ERR_NEVER,
     "the answer's header is not valid HTTP"},
    {CURLE_BAD_CONTENT_ENCODING, HTTPC_FAIL_REPLY, -EPROTO, ERR_NEVER, NULL},
    {CURLE_OUT_OF_MEMORY, HTTPC_FAIL_MEMORY, -ENOMEM, ERR_LATER, "no memory"},
    {CURLE_PEER_FAILED_VERIFICATION, HTTPC_FAIL_TLS, -EKEYREJECTED, ERR_NEVER, NULL},
    {CURLE_SSL_PINNEDPUBKEYNOTMATCH, HTTPC_FAIL_TLS, -EKEYREJECTED, ERR_NEVER,
     "the server's key is not the pinned one"},
    {CURLE_SSL_CACERT_BADFILE, HTTPC_FAIL_TLS, -EINVAL, ERR_NEVER,
     "the file with the trusted certificates cannot be read"},
    {CURLE_SSL_CERTPROBLEM, HTTPC_FAIL_TLS, -EPROTO, ERR_NEVER, NULL},
    {CURLE_SSL_CIPHER, HTTPC_FAIL_TLS, -EPROTO, ERR_NEVER, NULL},
};

static const char *words(struct httpc_channel *c, CURLcode code, char *buf, size_t size)
{
    const char *text = c->curl_error[0] ? c->curl_error : curl_easy_strerror(code);
    text_escape(text, strlen(text), buf, size);
    text_redact_urls(buf);
    return buf;
}

static int describe_timeout(struct httpc_channel *c, struct httpc_response *r, struct err *e)
{
    r->failure = HTTPC_FAIL_TIMEOUT;
    bool connecting = !c->in_exchange;
    bool total_passed = c->total_timeout_ms &&
                        mono_diff_us(clock_mono(), c->started) >= (c->total_timeout_ms - 1) * 1000;
    if (connecting) {
        curl_off_t lookup_us = 0;
        curl_easy_getinfo(c->easy, CURLINFO_NAMELOOKUP_TIME_T, &lookup_us);
        int64_t limit = total_passed ? c->total_timeout_ms : c->connect_timeout_ms;
        r->failure = lookup_us == 0 ? HTTPC_FAIL_RESOLVE : HTTPC_FAIL_CONNECT;
        const char *what = lookup_us == 0 ? "the name was not resolved"
                           : c->tls       ? "no TLS connection"
                                          : "no connection";
        return err_set(e, -ETIMEDOUT, ERR_LATER, "%s: %s within %lld ms", c->shown, what,
                       (long long)limit);
    }
    return err_set(e, -ETIMEDOUT, ERR_LATER, "%s: not finished within %lld ms, %zu bytes came",
                   c->shown, (long long)c->total_timeout_ms, c->body_len);
}

static int describe_connect(struct httpc_channel *c, struct httpc_response *r, struct err *e)
{
    r->failure = HTTPC_FAIL_CONNECT;
    long os = 0;
    curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &os);
    const char *why = os > 0 ? strerrordesc_np((int)os) : NULL;
    if (!why)
        return err_set(e, -ECONNREFUSED, ERR_LATER, "%s: no connection", c->shown);
    return err_set(e, -(int)os, ERR_LATER, "%s: no connection: %s", c->shown, why);
}

/* A proxy's word on the way to a server, or 0: curl has only that the connection was reset. */
static long proxy_refusal(struct httpc_channel *c)
{
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_HTTP_CONNECTCODE, &status);
    return status >= 300 ? status : 0;
}

static int describe_proxy(struct httpc_channel *c, long status, struct httpc_response *r,
                          struct err *e)
{
    r->failure = HTTPC_FAIL_CONNECT;
    return err_set(e, -ECONNREFUSED, ERR_LATER, "%s: the proxy does not let us through: HTTP %ld%s",
                   c->shown, status, status == 407 ? ", it wants another login" : "");
}

static int describe_tls(struct httpc_channel *c, struct httpc_response *r, CURLcode code,
                        struct err *e)
{
    r->failure = HTTPC_FAIL_TLS;
    long os = 0;
    curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &os);
    char text[CURL_ERROR_SIZE];
    words(c, code, text, sizeof(text));
    if (os == ECONNRESET || os == EPIPE || strstr(text, "SSL_ERROR_SYSCALL"))
        return err_set(e, -ECONNRESET, ERR_LATER, "%s: the TLS handshake was cut off", c->shown);
    return err_set(e, -EPROTO, ERR_NEVER, "%s: TLS: %s", c->shown, text);
}

/* Fills the failed response; the story goes to `e`. */
static int describe_failure(struct httpc_channel *c, CURLcode code, struct httpc_response *r,
                            struct err *e)
{
    char text[CURL_ERROR_SIZE];
    if (c->too_big) {
        r->failure = HTTPC_FAIL_SIZE;
        return err_set(e, -EFBIG, ERR_NEVER, "%s: the answer is longer than the %lld bytes allowed",
                       c->shown, (long long)c->size_max);
    }
    if (c->header_too_big) {
        r->failure = HTTPC_FAIL_REPLY;
        return err_set(e, -EPROTO, ERR_NEVER, "%s: the answer's header is longer than %d bytes",
                       c->shown, HEADER_MAX);
    }
    if (c->no_memory) {
        r->failure = HTTPC_FAIL_MEMORY;
        return err_set(e, -ENOMEM, ERR_LATER, "%s: no memory for the answer", c->shown);
    }
    /* Of several addresses one that may be asked counts more: then its failure is the story. */
    if (c->forbidden[0] && (code == CURLE_ABORTED_BY_CALLBACK || !c->knocked)) {
        r->failure = HTTPC_FAIL_REQUEST;
        return err_set(e, -EPERM, ERR_NEVER, "%s: address %s must not be asked", c->shown,
                       c->forbidden);
    }
    if (c->sink_result < 0) {
        r->failure = HTTPC_FAIL_MEMORY;
        return err_errno(e, c->sink_result, "%s: the answer cannot be kept", c->shown);
    }
    for (size_t i = 0; i < ARRAY_LEN(failure_rows); i++) {
        const struct failure_row *row = &failure_rows[i];
        if (row->curl != code)
            continue;
        r->failure = row->failure;
        if (row->text)
            return err_set(e, row->code, row->retry, "%s: %s", c->shown, row->text);
        return err_set(e, row->code, row->retry, "%s: %s", c->shown,
                       words(c, code, text, sizeof(text)));
    }
    if (proxy_refusal(c))
        return describe_proxy(c, proxy_refusal(c), r, e);
    switch ((int)code) {
    case CURLE_OPERATION_TIMEDOUT:
        return describe_timeout(c, r, e);
    case CURLE_COULDNT_CONNECT:
        return describe_connect(c, r, e);
    case CURLE_SSL_CONNECT_ERROR:
        return describe_tls(c, r, code, e);
    case CURLE_PARTIAL_FILE: {
        r->failure = HTTPC_FAIL_TRANSFER;
        curl_off_t promised = -1;
        curl_easy_getinfo(c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &promised);
        if (promised >= 0)
            return err_set(e, -ECONNRESET, ERR_NOW, "%s: cut off after %zu of %lld bytes", c->shown,
                           c->body_len, (long long)promised);
        return err_set(e, -ECONNRESET, ERR_NOW, "%s: cut off after %zu bytes", c->shown,
                       c->body_len);
    }
    case CURLE_RECV_ERROR:
        r->failure = HTTPC_FAIL_TRANSFER;
        return err_set(e, -ECONNRESET, ERR_NOW, "%s: the connection was reset after %zu bytes",
                       c->shown, c->body_len);
    case CURLE_UNSUPPORTED_PROTOCOL:
        if (strstr(c->curl_error, "0.9")) {
            r->failure = HTTPC_FAIL_REPLY;
            return err_set(e, -EPROTO, ERR_NEVER, "%s: the answer has no HTTP header", c->shown);
        }
        break;
    default:
        break;
    }
    r->failure = HTTPC_FAIL_TRANSFER;
    return err_set(e, -EIO, ERR_LATER, "%s: %s", c->shown, words(c, code, text, sizeof(text)));
}

static int64_t date_header(struct httpc_channel *c, const char *name)
{
    struct curl_header *h = NULL;
    if (curl_easy_header(c->easy, name, 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return -1;
    return (int64_t)curl_getdate(h->value, NULL); /* -1 when it is none */
}

/* A date is one of the server's clock, which libcurl compares with ours: with one that is two hours
 * off a pause of seconds took two hours. The answer's own date tells. */
static int64_t retry_after(struct httpc_channel *c, int64_t date_s)
{
    struct curl_header *h = NULL;
    curl_off_t seconds = 0;
    bool is_date = curl_easy_header(c->easy, "Retry-After", 0, CURLH_HEADER, -1, &h) == CURLHE_OK &&
                   h->value[0] > '9';
    int64_t until = is_date && date_s >= 0 ? date_header(c, "Retry-After") : -1;
    if (until >= 0)
        return until > date_s ? until - date_s : -1;
    curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &seconds);
    return seconds > 0 ? (int64_t)seconds : -1;
}

static void fill_answer(struct httpc_channel *c, long status, struct httpc_response *r)
{
    r->status = status;
    r->date_s = date_header(c, "Date");
    r->last_modified_s = date_header(c, "Last-Modified");
    char *type = NULL;
    curl_easy_getinfo(c->easy, CURLINFO_CONTENT_TYPE, &type);
    if (type)
        text_escape(type, strlen(type), r->content_type, sizeof(r->content_type));
    r->retry_after_s = retry_after(c, r->date_s);
    curl_off_t length = -1;
    curl_easy_getinfo(c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    r->content_length = (int64_t)length;
    long offered = 0;
    curl_easy_getinfo(c->easy, CURLINFO_HTTPAUTH_AVAIL, &offered);
    r->offers_digest = (offered & (long)CURLAUTH_DIGEST) != 0;
    r->offers_basic = (offered & (long)CURLAUTH_BASIC) != 0;
    r->login_sent =
        c->has_login && (c->auth == HTTPC_AUTH_BASIC || c->answers > 1 || c->digest_primed);
    /* curl keeps the challenge of an answer for the next request. That of a failed login must not
     * be mistaken for a good one, and on that of a request without login it would send a wrong
     * password twice: the second time because the first might have been too old. */
    if (status == 401)
        (void)forget_challenge(c); /* without memory the next 401 costs a round more */
    else if (r->login_sent && c->auth != HTTPC_AUTH_BASIC)
        c->digest_primed = true;
}

static void reap(struct httpc *h)
{
    CURLMsg *msg;
    int left;
    while ((msg = curl_multi_info_read(h->multi, &left))) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        CURLcode code = msg->data.result;
        char *private = NULL;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &private);
        struct httpc_channel *c = (struct httpc_channel *)(void *)private;
        curl_multi_remove_handle(h->multi, c->easy);

        struct err error = {0};
        struct httpc_response r = {
            .error = &error,
            .retry_after_s = -1,
            .content_length = -1,
            .date_s = -1,
            .last_modified_s = -1,
        };
        if (code != CURLE_OK) {
            r.code = describe_failure(c, code, &r, &error);
            finish(c, &r);
            continue;
        }
        long status = 0;
        curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
        if (ask_for_a_new_challenge(c, status))
            continue;
        int hop = follow_redirect(c, status, &error);
        if (hop > 0)
            continue;
        fill_answer(c, status, &r);
        if (hop < 0) {
            r.failure = hop == -ENOMEM ? HTTPC_FAIL_MEMORY : HTTPC_FAIL_REQUEST;
            r.code = hop;
        }
        finish(c, &r);
    }
}

/* ---- the waiting form ---- */

struct waiting {
    bool done;
    int code;
    struct httpc_reply *reply;
    struct err *e;
};

static void on_waited(void *arg, const struct httpc_response *r)
{
    struct waiting *w = arg;
    w->done = true;
    w->code = r->code;
    if (r->code < 0) {
        if (w->e)
            *w->e = *r->error;
        return;
    }
    w->reply->status = r->status;
    w->reply->body = blob_ref(r->body);
    w->reply->content_length = r->content_length;
    w->reply->retry_after_s = r->retry_after_s;
    text_copy(w->reply->content_type, sizeof(w->reply->content_type), r->content_type);
}

int httpc_fetch(const struct httpc_request *req, struct httpc_reply *ret, struct err *e)
{
    struct httpc *h = NULL;
    int r = httpc_new(&h, e);
    if (r < 0)
        return r;
    struct httpc_channel *c = NULL;
    struct httpc_reply reply = {0};
    struct waiting w = {.reply = &reply, .e = e};
    r = httpc_channel_new(h, &c, e);
    if (r == 0)
        r = httpc_start(c, req, on_waited, &w, e);
    while (r == 0 && !w.done) {
        struct pollfd p = {.fd = httpc_fd(h), .events = POLLIN};
        if (poll(&p, 1, -1) > 0)
            httpc_process(h);
    }
    httpc_channel_free(c);
    httpc_free(h);
    if (r < 0)
        return r;
    if (w.code < 0)
        return w.code;
    *ret = reply;
    return 0;
}

void httpc_reply_done(struct httpc_reply *r)
{
    blob_unref(r->body);
    r->body = NULL;
}

/* ---- texts ---- */

int httpc_escape(struct dynbuf *out, const char *s, size_t len)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < len; i++) {
        unsigned char b = (unsigned char)s[i];
        bool plain = (b >= '0' && b <= '9') || (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z') ||
                     b == '-' || b == '.' || b == '_' || b == '~';
        char coded[3] = {'%', hex[b >> 4], hex[b & 15]};
        int r = plain ? dynbuf_append(out, &s[i], 1) : dynbuf_append(out, coded, sizeof(coded));
        if (r < 0)
            return r;
    }
    return 0;
}

const char *httpc_show_url(const char *url, char *buf, size_t size)
{
    /* By hand and not by curl's parser: what does not parse must not leak either. A password with a
     * slash or a question mark ends the authority early, so a host that does not look like one, or
     * an '@' behind it, hides everything. */
    const char *host = url ? strstr(url, "://") : NULL;
    if (!host) {
        text_copy(buf, size, "(not a URL)");
        return buf;
    }
    host += 3;
    size_t authority = strcspn(host, "/?#");
    const char *at = memrchr(host, '@', authority);
    const char *rest = at ? at + 1 : host;
    size_t shown = strcspn(rest, "?#");
    size_t name =
        strspn(rest, "[]:.-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    const char *port = memrchr(rest, ':', name);
    bool port_ok = !port || rest[0] == '[' ||
                   strspn(port + 1, "0123456789") == (size_t)(rest + name - port - 1);
    if (rest + name != host + authority || !port_ok || memchr(rest, '@', shown)) {
        text_format(buf, size, "%.*s***", (int)MIN(host - url, 16), url);
        return buf;
    }
    AUTO_FREE char *text = xasprintf("%.*s%.*s", (int)(host - url), url, (int)shown, rest);
    text_escape(text, strlen(text), buf, size);
    return buf;
}
