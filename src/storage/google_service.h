#pragma once
/* A service account: a login without a person, by a key that signs assertions (RFC 7523). Pure but
 * for reading the file. */

#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"
#include "sys/json.h"

struct google_service {
    json_t *keys; /* the strings are its own */
    const char *email, *private_key;
    const char *key_id, *token_uri; /* "" = none */
};
/* The JSON file that Google's console gives. -EBADMSG; `e` never holds any of the text. */
int google_service_parse(const char *text, size_t size, struct google_service **ret, struct err *e);
int google_service_read(const char *path, struct google_service **ret, struct err *e);
void google_service_free(struct google_service *s);
DEFINE_AUTO(google_service, google_service_free)

/* The signed assertion for `audience` (the token endpoint), good for an hour from `now`;
 * malloc()ed, and as good as a password while it lasts. */
int google_service_assertion(const struct google_service *s, const char *scope,
                             const char *audience, struct wall_time now, char **ret, struct err *e);
