#pragma once
/* One signed call to a service of AWS, or to one that speaks like it: credentials from the chain,
 * signature, and the two mends that a second try can bring: a clock that was wrong, credentials
 * that have expired. Everything else is the caller's. */

#include "aws/aws_chain.h"
#include "sys/http_call.h"

/* Why a service as a whole takes nothing, as far as an error's code tells. */
enum aws_trouble {
    AWS_WELL,  /* the request's own fault */
    AWS_AWAY,  /* 5xx, network */
    AWS_RATE,  /* asked to slow down */
    AWS_QUOTA, /* full */
    AWS_LOGIN, /* credentials, rights or configuration */
    AWS_TROUBLE_COUNT
};

#define AWS_CODE_MAX 64
struct aws_error { /* of an answer; a network failure has code "" */
    long status;
    char code[AWS_CODE_MAX]; /* "SlowDown"; "" when the answer has none (HEAD) */
    char message[256];       /* printable */
    char region[64];         /* that the service says would be right; "" = it does not */
    enum aws_trouble trouble;
    bool odd;         /* WELL, but for a code that nobody here knows: may be of the whole as well */
    int64_t pause_ms; /* asked for; 0 = none */
    bool doubtful;    /* no answer, and the request was on its way: it may have been obeyed */
    bool clock_news;  /* refused for its date, and now the right time is known: see `dated` */
};

struct aws_call {
    struct aws_request request; /* host is filled by the call */
    const char *origin;         /* "https://host[:port]" */
    const char *const
        *wanted;      /* headers, as http_call() has them; at most HTTP_HEADERS_WANTED_MAX-1 */
    const char *what; /* "S3 bucket 'x'": begins error texts */
    int64_t size_max; /* of the answer; 0 = 1 MB */
    /* Without a sign of life; the whole of a call has this and the time that its body takes at 32
     * KB/s. 0 = 30 s, and what a large object needs. */
    int64_t timeout_ms;
    /* The body has times in it: after a refusal for its date it is not signed anew but made anew,
     * by the caller, who sees clock_news. */
    bool dated;
};

/* 0: the answer is a 2xx. -EREMOTEIO: it is another, see `ret_error`; `e` says it in words and has
 * the retry class: NEVER only for what the service will never take. Others: no answer that is of
 * use; ret_error->trouble is AWAY or, for credentials that cannot be had and what the configuration
 * has wrong, LOGIN. `ret` is zeroed or an earlier answer, which is let go; it is filled for every
 * answer. */
int aws_call(struct aws_chain *chain, struct http_client *http, const struct aws_call *call,
             struct http_answer *ret, struct aws_error *ret_error, struct err *e);

/* The same as somebody: for the chain itself, which has to ask STS. */
int aws_call_as(const struct aws_credentials *credentials, struct aws_clock *clock,
                struct http_client *http, const struct aws_call *call, struct http_answer *ret,
                struct aws_error *ret_error, struct err *e);

/* Reads code, message and region of an error's body, XML or JSON, and judges them. Pure. */
void aws_error_read(const struct http_answer *a, struct aws_error *ret);
/* What a code means to a person, or NULL. */
const char *aws_error_advice(const char *code);
/* "host[:port]" of an origin as the Host header has it: without the scheme's own port. -EINVAL when
 * it is none. */
#define AWS_HOST_MAX 320
int aws_origin_host(const char *origin, char ret[AWS_HOST_MAX]);
