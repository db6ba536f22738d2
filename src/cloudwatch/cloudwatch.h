#pragma once
/* Tells Amazon CloudWatch what happened, as the predecessor did: the metric Errors in the namespace
 * `automation`, one count for each trigger that came to nothing.
 *
 * A thread of its own looks at the program's counters, adds up what is new by the minute, and posts
 * it once in an interval. Whoever counts never waits and never knows. While CloudWatch is away or
 * refuses, counts add up in memory; after CLOUDWATCH_AGE_MS they are dropped and counted as such.
 * Nothing is kept over a restart.
 *
 * Nothing is counted twice: CloudWatch has no way to tell a repeat from news, so a post is sent
 * again only when it certainly was not taken: no connection came about, or the service or a proxy
 * said no. What may have been taken, because its answer got lost or says nothing, is dropped. */

#include "aws/aws_config.h"
#include "base/clock.h"
#include "base/err.h"
#include "cloudwatch/cloudwatch_body.h"

#define CLOUDWATCH_METRICS_MAX 16
#define CLOUDWATCH_AGE_MS (2 * 3600 * 1000)
#define CLOUDWATCH_LAST_MS 2000 /* of the last post at a stop */

/* One metric of theirs: the sum of a row of base/metrics.h. */
struct cloudwatch_source {
    const char *metric; /* "Errors" */
    const char *row;    /* "snapshotd_errors_total" */
    const char *label;  /* of the row; NULL = all of it */
    bool level;         /* a gauge: how much there is, once a minute */
    bool extra;         /* beyond what the predecessor posts */
};

struct cloudwatch_options { /* strings are copied, the sources are not */
    const char *name_space;
    const char *application, *device; /* dimensions, as cloudwatch_value() makes them */
    const char *endpoint;             /* "https://host[:port]"; NULL or "" = AWS's */
    struct aws_chain_options login;   /* with the region; "" = as other AWS programs find it */
    int64_t interval_ms;
    const struct cloudwatch_source *sources;
    size_t source_count; /* at most CLOUDWATCH_METRICS_MAX */
};

struct cloudwatch;
/* Asks nobody yet; counts from this moment on. -EINVAL: no region, half a key pair. */
int cloudwatch_start(const struct cloudwatch_options *o, struct cloudwatch **ret, struct err *e);
/* Posts what is left, within CLOUDWATCH_LAST_MS; what cannot be posted then is dropped. Call it
 * when nothing counts any more. May be called twice; NULL is fine. */
void cloudwatch_stop(struct cloudwatch *c);
void cloudwatch_free(struct cloudwatch *c); /* after the stop, or in its place; NULL is fine */
void cloudwatch_register_metrics(void);

struct cloudwatch_status {
    const char *region; /* valid as long as the cloudwatch */
    bool well;          /* the last post was taken, or none was needed yet */
    char last_error[ERR_TEXT_MAX];
    char credentials[160];          /* whose, for people; "" before the first post */
    struct wall_time posted;        /* the last that was taken; 0 = none */
    double waiting, taken, dropped; /* counts */
    int64_t next_try_ms;            /* after a failure; 0 = now */
};
void cloudwatch_status(struct cloudwatch *c, struct cloudwatch_status *ret); /* any thread */

/* ---- [cloudwatch] ---- */

enum cloudwatch_enabled { CLOUDWATCH_NO, CLOUDWATCH_YES, CLOUDWATCH_AUTO };

struct cloudwatch_config {
    int enabled; /* enum cloudwatch_enabled */
    const char *name_space, *region, *endpoint;
    struct aws_login_config login;
    int64_t interval_ms;
    bool extra;
};
extern const struct cfg_section cloudwatch_config_section;
/* Why nothing is posted, or NULL. `role_given`: there is one by other ways, which came with keys as
 * the predecessor has them. */
const char *cloudwatch_config_off(const struct cloudwatch_config *c, bool role_given);
/* The role to assume, "" = none: role_arn may hold the name of a session instead, as the
 * predecessor's variable does. */
const char *cloudwatch_config_role(const struct cloudwatch_config *c);
