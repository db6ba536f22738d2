#pragma once
/* HTTP requests that are waited for, one after the other, over connections that are kept: for
 * threads that may block. A client belongs to one thread; sys/httpc.h does the work. */

#include "base/err.h"
#include "base/macros.h"
#include "sys/httpc.h"

#define HTTP_HEADERS_WANTED_MAX 8

struct http_client;
/* `stop_fd` readable ends a call, and each later one, with -ECANCELED; -1 = none. */
int http_client_new(int stop_fd, struct http_client **ret, struct err *e);
void http_client_free(struct http_client *c);
int http_client_stop_fd(const struct http_client *c); /* as given */
DEFINE_AUTO(http_client, http_client_free)

struct http_answer {
    long status;
    struct blob *body; /* NULL when empty */
    char content_type[HTTPC_TEXT_MAX];
    int64_t retry_after_s;                  /* -1 when absent */
    int64_t date_s;                         /* the server's clock, Unix time; -1 when absent */
    int64_t content_length;                 /* as the server says, also to HEAD; -1 when absent */
    char *headers[HTTP_HEADERS_WANTED_MAX]; /* values of the wanted ones, NULL when absent */
};
void http_answer_done(struct http_answer *a); /* for AUTO_DONE(http_answer) */

/* `wanted` is NULL-terminated names (any case), at most HTTP_HEADERS_WANTED_MAX, or NULL; of a
 * header that comes twice the first counts, values above 4 KB count as absent.
 *
 * 0: an answer came, of whatever status; redirects are answers as long as the request allows none.
 * Else it failed and `e` says why with its retry class; whether the server did what was asked is
 * then unknown unless no connection came about (*ret_sent, which may be NULL, is false then). A
 * kept connection that turns out to be closed is no failure: the request goes out once more over a
 * new one, also when the server may have read it, so a request must bear being done twice. */
int http_call(struct http_client *c, const struct httpc_request *req, const char *const *wanted,
              struct http_answer *ret, bool *ret_sent, struct err *e);
