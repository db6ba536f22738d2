#pragma once
/* A token endpoint that answers by a script and notes what it was asked. */

#include "../test.h"

#include <pthread.h>

#include "base/dynbuf.h"
#include "sys/httpd.h"

#define STUB_ANSWERS_MAX 16

struct stub {
    struct httpd *httpd;
    char url[64];
    pthread_mutex_t lock;
    struct {
        int status;
        const char *body;
        const char *header; /* "Name: value", or NULL */
    } answers[STUB_ANSWERS_MAX];
    int answer_count, asked;
    char bodies[STUB_ANSWERS_MAX][8192];
    bool held;       /* answers wait for stub_let_go() */
    sem_t has_asked; /* posted for each request */
};

static inline UNUSED void stub_handle(void *arg, const struct http_request *req,
                                      struct http_response *ret)
{
    struct stub *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    if (!req->resumed) {
        int i = s->asked < STUB_ANSWERS_MAX ? s->asked : STUB_ANSWERS_MAX - 1;
        (void)snprintf(s->bodies[i], sizeof(s->bodies[i]), "%.*s", (int)req->body_size,
                       (const char *)req->body);
        s->asked++;
        (void)sem_post(&s->has_asked);
    }
    if (s->held && req->may_wait) {
        ret->waits = true;
        (void)snprintf(ret->wait.key, sizeof(ret->wait.key), "held");
        ret->wait.recheck = ret->wait.deadline = mono_add_ms(clock_mono(), 20000);
    } else {
        int i = s->asked <= s->answer_count ? s->asked - 1 : s->answer_count - 1;
        struct dynbuf text;
        dynbuf_init(&text, 65536);
        (void)dynbuf_puts(&text, i < 0 ? "{}" : s->answers[i].body);
        http_response_text(ret, i < 0 ? 500 : s->answers[i].status, "application/json", &text);
        dynbuf_done(&text);
        if (i >= 0 && s->answers[i].header) {
            const char *colon = strchr(s->answers[i].header, ':');
            http_response_header(
                ret, strncmp(s->answers[i].header, "Date", 4) == 0 ? "Date" : "Retry-After", "%s",
                colon + 2);
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static inline UNUSED void stub_start(struct stub *s)
{
    struct err e = {0};
    memset(s, 0, sizeof(*s));
    (void)pthread_mutex_init(&s->lock, NULL);
    assert_int_equal(sem_init(&s->has_asked, 0, 0), 0);
    struct httpd_options o = {.listen = "127.0.0.1:0",
                              .thread_name = "stub",
                              .waiting_max = 60,
                              .handle = stub_handle,
                              .arg = s};
    if (httpd_start(&o, &s->httpd, &e) < 0)
        CASE_FAILS("%s", e.text);
    (void)snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d/token", httpd_port(s->httpd));
}

static inline UNUSED void stub_stop(struct stub *s)
{
    httpd_free(s->httpd);
    (void)sem_destroy(&s->has_asked);
    (void)pthread_mutex_destroy(&s->lock);
}

static inline UNUSED void stub_will(struct stub *s, int status, const char *body,
                                    const char *header)
{
    (void)pthread_mutex_lock(&s->lock);
    assert_true(s->answer_count < STUB_ANSWERS_MAX);
    s->answers[s->answer_count].status = status;
    s->answers[s->answer_count].body = body;
    s->answers[s->answer_count++].header = header;
    (void)pthread_mutex_unlock(&s->lock);
}

static inline UNUSED int stub_asked(struct stub *s)
{
    (void)pthread_mutex_lock(&s->lock);
    int n = s->asked;
    (void)pthread_mutex_unlock(&s->lock);
    return n;
}

static inline UNUSED void stub_hold(struct stub *s, bool held)
{
    (void)pthread_mutex_lock(&s->lock);
    s->held = held;
    (void)pthread_mutex_unlock(&s->lock);
    if (!held)
        httpd_wake(s->httpd, "held");
}
