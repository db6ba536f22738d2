#include "sys/http_call.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

/* Of one header that is kept: the address of a resumable upload is the longest that we want. */
#define HEADER_MAX 4096

struct http_client {
    struct httpc *httpc;
    struct httpc_channel *channel;
    int stop_fd;
};

struct waiting {
    const char *const *wanted;
    struct http_answer *answer;
    struct err *e;
    int code;
    bool done, sent;
};

static void take_answer(void *arg, const struct httpc_response *r);
static bool is_stopped(const struct http_client *c);

int http_client_new(int stop_fd, struct http_client **ret, struct err *e)
{
    struct http_client *c = xcalloc(1, sizeof(*c));
    c->stop_fd = stop_fd;
    int r = httpc_new(&c->httpc, e);
    if (r == 0)
        r = httpc_channel_new(c->httpc, &c->channel, e);
    if (r < 0) {
        http_client_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    httpc_channel_free(c->channel);
    if (c->httpc)
        httpc_free(c->httpc);
    free(c);
}

int http_client_stop_fd(const struct http_client *c)
{
    return c->stop_fd;
}

int http_call(struct http_client *c, const struct httpc_request *req, const char *const *wanted,
              struct http_answer *ret, bool *ret_sent, struct err *e)
{
    struct http_answer answer = {.retry_after_s = -1, .date_s = -1, .content_length = -1};
    struct waiting w = {.wanted = wanted, .answer = &answer, .e = e};
    bool stopped = is_stopped(c);
    int r = stopped ? err_set(e, -ECANCELED, ERR_LATER, "stopped")
                    : httpc_start(c->channel, req, take_answer, &w, e);
    while (r == 0 && !w.done) {
        struct pollfd fds[] = {{.fd = httpc_fd(c->httpc), .events = POLLIN},
                               {.fd = c->stop_fd, .events = POLLIN}};
        if (poll(fds, c->stop_fd >= 0 ? 2 : 1, -1) < 0)
            continue; /* a signal */
        if (fds[1].revents)
            httpc_cancel(c->channel);
        else
            httpc_process(c->httpc);
    }
    if (ret_sent)
        *ret_sent = w.sent;
    if (r == 0)
        r = w.code;
    if (r < 0) {
        http_answer_done(&answer);
        return r;
    }
    *ret = answer;
    return 0;
}

static bool is_stopped(const struct http_client *c)
{
    struct pollfd p = {.fd = c->stop_fd, .events = POLLIN};
    return c->stop_fd >= 0 && poll(&p, 1, 0) > 0;
}

static void take_answer(void *arg, const struct httpc_response *r)
{
    struct waiting *w = arg;
    struct http_answer *a = w->answer;
    w->done = true;
    w->sent = r->sent;
    w->code = r->code;
    if (r->code < 0) {
        if (w->e)
            *w->e = *r->error;
        return;
    }
    a->status = r->status;
    a->body = r->body ? blob_ref(r->body) : NULL;
    a->retry_after_s = r->retry_after_s;
    a->date_s = r->date_s;
    a->content_length = r->content_length;
    text_copy(a->content_type, sizeof(a->content_type), r->content_type);
    for (int i = 0; w->wanted && w->wanted[i]; i++) {
        assert(i < HTTP_HEADERS_WANTED_MAX);
        const char *value = httpc_response_header(r, w->wanted[i]);
        if (value && strlen(value) <= HEADER_MAX)
            /* Of an empty value this version of libcurl leaves the line's end. */
            a->headers[i] = xstrndup(value, strcspn(value, "\r\n"));
    }
}

void http_answer_done(struct http_answer *a)
{
    blob_unref(a->body);
    for (int i = 0; i < HTTP_HEADERS_WANTED_MAX; i++)
        free(a->headers[i]);
    *a = (struct http_answer){0};
}
