#pragma once
/* A client of the running daemon's HTTP API, for the commands that talk to it. One thread; every
 * call waits. */

#include <getopt.h>

#include "app/options.h"
#include "sys/json.h"

enum { CLIENT_OPTION_URL = 0x2000, CLIENT_URL_MAX = 512 };

struct client_options {
    struct app_options app;
    const char *url; /* --url, or NULL; borrowed from argv */
};

#define CLIENT_OPTION_ROWS                                                                         \
    {0, "url", "URL", CLIENT_OPTION_URL,                                                           \
     "where the daemon listens; without it [web] listen of the configuration, else "               \
     "http://127.0.0.1:8080"},                                                                     \
        APP_OPTION_ROWS

/* True when the option was one of these. */
bool client_options_take(struct client_options *o, int opt, const char *arg);

struct client {
    char url[CLIENT_URL_MAX];   /* "http://127.0.0.1:8080", no slash at the end */
    bool is_here;               /* by the configuration: on this machine */
    char store[CLIENT_URL_MAX]; /* where the configuration puts pictures, "" when it is not known */
    /* The daemon's users and tokens, "" when --url names a daemon: whoever may write them needs no
     * login of his own. */
    char access[CLIENT_URL_MAX];
};

/* Finds the daemon's address. Returns an exit status, and has said what is wrong. A configuration
 * that cannot be read here (a secret in the daemon's environment only) is no reason to give up: the
 * default address is tried, with a remark. */
int client_find(const struct client_options *o, struct client *ret);

struct client_answer {
    long status;           /* HTTP's */
    json_t *document;      /* never NULL after success */
    int64_t retry_after_s; /* -1 = not said */
};
void client_answer_done(struct client_answer *a);

/* A login is shown when the daemon asks for one: $SNAPSHOTD_TOKEN, else a token of a minute that is
 * made and removed in the daemon's own files, where those can be written.
 *
 * `path` begins with a slash and is escaped. Any status is a success; -ECONNREFUSED and its like,
 * -EPROTO when what answers is not our daemon: said in `e`, with what to do. */
int client_call(const struct client *c, const char *method, const char *path, int64_t timeout_ms,
                struct client_answer *ret, struct err *e);
/* Replaces control characters in all texts of the answer: for those that go to a terminal, where a
 * camera's error text must not move the cursor. */
void client_answer_tame(struct client_answer *a);
/* A member's text, "" when it is none; lives as long as the object. */
const char *client_text(const json_t *object, const char *key);
/* The message of an error answer, never NULL; lives as long as the answer. */
const char *client_error_text(const struct client_answer *a);
