#pragma once
/* What the services that watch over us are told, and what their answers mean: pure. */

#include <stdbool.h>
#include <stddef.h>

#include "base/dynbuf.h"

/* How the program is, at this moment. */
struct health_news {
    bool well;
    int stages_running, stages_missing, parts_unwell;
    char text[512]; /* the reason, or a few words; "" = nothing to say */
};

enum ping_kind { PING_START, PING_WELL, PING_FAIL, PING_STOPPED, PING_KIND_COUNT };

enum ping_answer {
    PING_COUNTED,
    PING_IGNORED, /* received and not counted: nobody hears of us */
    PING_SLOWER,  /* too many: not before the time that the answer names */
    PING_AGAIN,   /* the service has trouble of its own; once more may help */
    PING_REFUSED, /* the same would be refused again: a wrong key or address */
    PING_ANSWER_COUNT
};
extern const char *const ping_answer_names[PING_ANSWER_COUNT]; /* "counted", ... for metrics */

#define PING_URL_MAX 16384

/* ---- Cronitor: one address, all in its query ---- */

struct cronitor_target {
    const char *url;         /* "https://cronitor.link" */
    const char *api_key;     /* of the account */
    const char *monitor_key; /* "" = it is off */
    const char *host;        /* how this machine calls itself */
};
/* Only PING_WELL and PING_FAIL: others are not told. 0, or -EINVAL for another address than http
 * and https, -ENOSPC. */
int cronitor_address(const struct cronitor_target *t, enum ping_kind kind,
                     const struct health_news *news, struct dynbuf *ret);
enum ping_answer cronitor_answer(long status);

/* ---- Healthchecks: an address per kind, the reason is the body ---- */

/* `base` is the whole address of the check, with or without a slash at its end, perhaps with a
 * query ("?create=1"). Returns likewise. */
int healthchecks_address(const char *base, enum ping_kind kind, struct dynbuf *ret);
/* Its answer to an unknown check is a 200 as well: the text tells. */
enum ping_answer healthchecks_answer(long status, const char *body, size_t size);
