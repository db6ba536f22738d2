#pragma once
/* What Google's OAuth endpoints are asked and what they answer (RFC 6749, 8628). Decisions are made
 * on the JSON `error` word, never on the HTTP status alone: an answer that is no JSON is some
 * proxy's and says nothing about a grant.
 *
 * Nothing that was sent ever comes back in an error text: what a server says of a refusal is only
 * quoted when it holds none of it. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"
#include "sys/http_call.h"
#include "sys/json.h"

#define GOOGLE_TOKEN_MAX 8192         /* of an access token; Google's have 2 KB and more */
#define GOOGLE_SECRET_MAX 2048        /* of any other secret; Google's refresh tokens have 512 */
#define GOOGLE_OAUTH_ANSWER_MAX 65536 /* bytes; a token answer has about 3 KB */

#define GOOGLE_AUTH_URL "https://accounts.google.com/o/oauth2/v2/auth"
#define GOOGLE_DEVICE_URL "https://oauth2.googleapis.com/device/code"
#define GOOGLE_TOKEN_URL "https://oauth2.googleapis.com/token"

/* What was asked for: the same word means different things to different people. */
enum google_ask {
    GOOGLE_ASK_REFRESH,     /* a new access token for a login */
    GOOGLE_ASK_SERVICE,     /* one for a service account */
    GOOGLE_ASK_CODE,        /* a login for the code of the browser's flow */
    GOOGLE_ASK_DEVICE,      /* a device code */
    GOOGLE_ASK_DEVICE_POLL, /* whether the person has agreed */
    GOOGLE_ASK_COUNT
};

enum google_refusal {
    GOOGLE_GRANTED,
    GOOGLE_PENDING,   /* the person has not agreed yet */
    GOOGLE_SLOW_DOWN, /* the same, and we ask too often */
    GOOGLE_DENIED,    /* the person said no */
    GOOGLE_TOO_LATE,  /* the code is used up or has expired */
    GOOGLE_GONE,      /* the grant is not accepted any more: log in again */
    GOOGLE_CLIENT,    /* the client id, its secret or its type */
    GOOGLE_POLICY,    /* an administrator or the scope */
    GOOGLE_BUSY,      /* 5xx, too many requests, or no answer of Google's at all */
    GOOGLE_REFUSAL_COUNT
};

struct google_grant {
    json_t *answer; /* all of it; the strings are its own */
    const char *access_token;
    const char *refresh_token; /* "" = the old one stays */
    const char *scope;         /* "" = not said */
    int64_t expires_s;         /* from now; of the access token */
    int64_t refresh_expires_s; /* -1 = not said: no end that is known */
};
void google_grant_done(struct google_grant *g);

/* Judges an answer. Pure. 0 with *ret; else *ret_refusal says what kind of no it is and `e` tells
 * it to people:
 *   -EINPROGRESS  PENDING, SLOW_DOWN
 *   -EACCES       DENIED, POLICY
 *   -ETIME        TOO_LATE
 *   -EKEYREVOKED  GONE
 *   -EKEYREJECTED CLIENT
 *   -EAGAIN       BUSY (ERR_LATER; all others but PENDING are ERR_NEVER)
 * `sent` are secrets of the request, NULL-terminated, that must not show up again; or NULL. */
int google_oauth_judge(enum google_ask ask, long status, const char *body, size_t size,
                       const char *const *sent, struct google_grant *ret,
                       enum google_refusal *ret_refusal, struct err *e);

/* The answer to GOOGLE_ASK_DEVICE is JSON without an access token. Same codes. New reference. */
int google_oauth_judge_device(long status, const char *body, size_t size, json_t **ret,
                              enum google_refusal *ret_refusal, struct err *e);

/* Posts a form: names and values by turns, NULL-terminated; pairs with an empty value are left out.
 * 0: an answer came. Every failure but -ECANCELED is ERR_LATER: it is the network's. */
int google_oauth_post(struct http_client *c, const char *url, const char *const *form,
                      struct http_answer *ret, struct err *e);

/* A string of an object, "" when it is missing, no string, or longer than `max`-1 bytes. */
const char *google_text(const json_t *object, const char *key, size_t max);
/* Printable ASCII without spaces, which is all that a token or id may be: what goes into a header
 * must not end it. */
bool google_is_word(const char *s);
/* https at Google's, so that nobody gets a refresh token by changing a file. */
bool google_url_is_googles(const char *url);
