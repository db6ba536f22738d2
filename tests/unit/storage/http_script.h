#pragma once
/* A server that follows a script: for each request the next answer, whatever was asked. What was
 * asked is kept, so that a test reads the whole exchange afterwards, in order. */

#include "../test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>

#define SCRIPT_STEPS_MAX 64
#define SCRIPT_REQUEST_MAX 65536

struct script_step {
    int status; /* 0: the request is read, then the connection is closed without an answer */
    const char *headers; /* "Range: bytes=0-5\r\n" or NULL */
    const char *body;    /* or NULL */
};
struct script_request {
    char method[8], target[2048];
    char *head; /* all header lines */
    char *body;
    size_t size;
};
struct http_script {
    pthread_mutex_t lock; /* for steps and requests; see script_sync() */
    int fd, stop[2];
    char url[64];
    pthread_t thread;
    struct script_step steps[SCRIPT_STEPS_MAX];
    int step_count;
    struct script_request requests[SCRIPT_STEPS_MAX];
    int request_count;
};

/* Reads one request; false at the end of the connection. */
static inline bool script_read(int fd, struct script_request *q)
{
    char *buf = malloc(SCRIPT_REQUEST_MAX + 1);
    size_t len = 0, length = 0;
    char *end = NULL;
    while (!end || len < (size_t)(end + 4 - buf) + length) {
        ssize_t n = len < SCRIPT_REQUEST_MAX ? read(fd, buf + len, SCRIPT_REQUEST_MAX - len) : 0;
        if (n <= 0) {
            free(buf);
            return false;
        }
        len += (size_t)n;
        buf[len] = '\0';
        end = end ? end : strstr(buf, "\r\n\r\n");
        const char *header = end ? strcasestr(buf, "\r\ncontent-length:") : NULL;
        length = header && header < end ? strtoul(header + 17, NULL, 10) : 0;
    }
    size_t head = (size_t)(end + 4 - buf);
    q->size = length;
    q->body = calloc(1, length + 1);
    memcpy(q->body, buf + head, length);
    q->head = strndup(buf, head);
    (void)sscanf(buf, "%7s %2047s", q->method, q->target);
    free(buf);
    return true;
}

static inline bool script_wait(const struct http_script *s, int fd)
{
    struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = s->stop[0], .events = POLLIN}};
    while (poll(p, 2, -1) < 0)
        continue;
    return !p[1].revents;
}

static inline void *script_run(void *arg)
{
    struct http_script *s = arg;
    int c = -1;
    while (script_wait(s, c >= 0 ? c : s->fd)) {
        struct script_request q = {0};
        if (c < 0) {
            c = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
            continue;
        }
        if (!script_read(c, &q)) {
            (void)close(c);
            c = -1;
            continue;
        }
        (void)pthread_mutex_lock(&s->lock);
        struct script_step step = {.status =
                                       599}; /* beyond the script: a test that sees it fails */
        if (s->request_count < s->step_count)
            step = s->steps[s->request_count];
        if (s->request_count < SCRIPT_STEPS_MAX)
            s->requests[s->request_count++] = q;
        (void)pthread_mutex_unlock(&s->lock);
        if (step.status) {
            dprintf(c, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n%s", step.status,
                    step.body ? strlen(step.body) : 0, step.headers ? step.headers : "",
                    step.body ? step.body : "");
        } else {
            (void)close(c);
            c = -1;
        }
    }
    if (c >= 0)
        (void)close(c);
    return NULL;
}

static inline void script_start(struct http_script *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);
    *s = (struct http_script){.lock = PTHREAD_MUTEX_INITIALIZER};
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&a, size), 0);
    assert_int_equal(listen(s->fd, 8), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &size), 0);
    assert_int_equal(pipe(s->stop), 0);
    (void)snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", ntohs(a.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, script_run, s), 0);
}

/* Before and after an exchange: what one side has written is what the other reads. The exchange
 * itself orders the two threads, but over a socket, where the thread sanitizer does not see it. */
static inline UNUSED void script_sync(struct http_script *s)
{
    (void)pthread_mutex_lock(&s->lock);
    (void)pthread_mutex_unlock(&s->lock);
}

/* Call between exchanges only. */
static inline UNUSED void script_add(struct http_script *s, int status, const char *headers,
                                     const char *body)
{
    assert_true(s->step_count < SCRIPT_STEPS_MAX);
    (void)pthread_mutex_lock(&s->lock);
    s->steps[s->step_count++] = (struct script_step){status, headers, body};
    (void)pthread_mutex_unlock(&s->lock);
}

static inline void script_stop(struct http_script *s)
{
    assert_int_equal(write(s->stop[1], "x", 1), 1);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    for (int i = 0; i < s->request_count; i++) {
        free(s->requests[i].head);
        free(s->requests[i].body);
    }
    (void)close(s->fd);
    (void)close(s->stop[0]);
    (void)close(s->stop[1]);
}
