#pragma once
/* Where errors are sent: Sentry's "data source name",
 *     {scheme}://{public key}[:{secret}]@{host}[:{port}][/{path}]/{project id}
 * taken apart. Pure. */

#include "base/err.h"

enum {
    DSN_MAX = 512, /* hosted ones have about 100 characters */
    DSN_KEY_MAX = 128,
    DSN_URL_MAX = DSN_MAX + 32,
    DSN_AUTH_MAX = 2 * DSN_KEY_MAX + 160,
};

struct dsn {
    char url[DSN_URL_MAX]; /* where envelopes go: ".../api/42/envelope/" */
    char origin[DSN_MAX];  /* "https://host[:port]", for people */
    char project[32];
    char key[DSN_KEY_MAX];
    char secret[DSN_KEY_MAX]; /* "" = none, as today's are */
};

/* 0, or -EINVAL with what would be right; the text never holds the key. */
int dsn_parse(const char *text, struct dsn *ret, struct err *e);
/* The value of X-Sentry-Auth. */
void dsn_auth(const struct dsn *d, const char *client, char ret[DSN_AUTH_MAX]);
