#pragma once
/* Takes secrets out of text before it goes to strangers: those that were added, literally and
 * percent-encoded, and what looks like one: userinfo and query of URLs, the values of password=,
 * "token":, Authorization and their like, tokens of known forms, long runs of mixed letters and
 * digits. Rather one too many than one too few.
 *
 * Adding and using are not meant for several threads at once. */

#include <stddef.h>

#include "base/macros.h"

/* Shorter ones would blot out half of every sentence. */
#define SCRUB_SECRET_MIN 4
#define SCRUB_SECRETS_MAX 4000
#define SCRUB_MASK "***"

struct scrub;
struct scrub *scrub_new(void);
void scrub_free(struct scrub *s);
DEFINE_AUTO(scrub, scrub_free)
/* Copies it; NULL, short and known ones do nothing. Several lines (a key) count also each by
 * itself, and so do the texts in a JSON document (a login of Google's). */
void scrub_add(struct scrub *s, const char *secret);
/* The text without secrets, malloc()ed; `s` may be NULL (then only what looks like one goes). */
char *scrub_text(const struct scrub *s, const char *text);
