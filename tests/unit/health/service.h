#pragma once
/* A service on a thread that writes down what it is asked and answers as the test says; and a clock
 * that the test moves. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/text.h"
#include "sys/httpd.h"

#define SERVICE_CALLS_MAX 64

struct service_call {
    char method[8], target[1024], body[600];
};

struct service {
    struct httpd *httpd;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t count;
    struct service_call calls[SERVICE_CALLS_MAX];
    int status;
    char body[64];
};

static inline void service_handle(void *arg, const struct http_request *req,
                                  struct http_response *ret)
{
    struct service *s = arg;
    pthread_mutex_lock(&s->lock);
    assert_true(s->count < SERVICE_CALLS_MAX);
    struct service_call *c = &s->calls[s->count++];
    text_copy(c->method, sizeof(c->method), req->method);
    text_copy(c->target, sizeof(c->target), req->target);
    size_t n = MIN(req->body_size, sizeof(c->body) - 1);
    if (n)
        memcpy(c->body, req->body, n);
    c->body[n] = '\0';
    struct dynbuf text;
    dynbuf_init(&text, 100);
    (void)dynbuf_puts(&text, s->body);
    http_response_text(ret, s->status, "text/plain", &text);
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

static inline void service_start(struct service *s)
{
    *s = (struct service){.status = 200, .body = "OK"};
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->cond, NULL);
    struct httpd_options o = {.listen = "127.0.0.1:0",
                              .thread_name = "service",
                              .handle = service_handle,
                              .arg = s,
                              /* Tests move its clock by minutes while a request comes. */
                              .request_timeout_ms = 24 * 3600 * 1000};
    struct err e = {0};
    if (httpd_start(&o, &s->httpd, &e) < 0)
        CASE_FAILS("%s", e.text);
}

static inline void service_stop(struct service *s)
{
    httpd_stop(s->httpd, 1000);
    httpd_free(s->httpd);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->lock);
}

static inline void service_says(struct service *s, int status, const char *body)
{
    pthread_mutex_lock(&s->lock);
    s->status = status;
    text_copy(s->body, sizeof(s->body), body);
    pthread_mutex_unlock(&s->lock);
}

static inline size_t service_count(struct service *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->count;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* ---- the clock ---- */

static _Atomic int64_t clock_ahead_us;

static inline struct mono_time moved_clock(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (struct mono_time){(int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 +
                              atomic_load(&clock_ahead_us)};
}

static inline void move_clock(int64_t s)
{
    atomic_fetch_add(&clock_ahead_us, s * 1000000);
}

/* The next call from number `from` on whose target it is, or begins with it when that ends in a
 * slash; waits for it. What it waits for may be an interval: the clock moves on by `step_s` for
 * each half second without it. */
static inline struct service_call service_expect_later(struct service *s, size_t from,
                                                       const char *target, int64_t step_s)
{
    pthread_mutex_lock(&s->lock);
    for (int tries = 0; tries < 60;) {
        for (size_t i = from; i < s->count; i++) {
            struct service_call c = s->calls[i];
            size_t len = strlen(target);
            if (!text_starts_with(c.target, target) || (target[len - 1] != '/' && c.target[len]))
                continue;
            pthread_mutex_unlock(&s->lock);
            return c;
        }
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 500000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (pthread_cond_timedwait(&s->cond, &s->lock, &until) == 0)
            continue;
        tries++;
        move_clock(step_s);
    }
    for (size_t i = 0; i < s->count; i++)
        print_message("# call: %s %s\n", s->calls[i].method, s->calls[i].target);
    pthread_mutex_unlock(&s->lock);
    CASE_FAILS("no call of %s", target);
    return (struct service_call){0};
}

static inline struct service_call service_expect(struct service *s, size_t from, const char *target)
{
    return service_expect_later(s, from, target, 0);
}
