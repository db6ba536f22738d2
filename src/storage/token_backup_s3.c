#include "storage/token_backup_s3.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "storage/google_token.h"

#define AGAIN_MS 300000  /* after the network's failures */
#define MISSING_MS 15000 /* the same while nobody is logged in: pictures wait for it */
#define TURN_MS 1800000  /* two turns are never further apart */
#define AT_LEAST_MS 1000 /* between two calls, whatever the clock does */

struct token_backup {
    struct s3_bucket *bucket;
    char *name, *token_file;
    struct wall_time next; /* 0 = now */
    bool answered;

    pthread_mutex_t lock; /* of what is described */
    enum token_backup_outcome outcome;
    struct mono_time at; /* of the last turn that went well; 0 = none yet */
    struct err failure;  /* code 0 = none */
};

struct errand {
    struct token_backup *backup;
    struct http_client *http;
};

static int get(void *arg, const char *key, struct blob **ret, struct err *e);
static int put(void *arg, const char *key, const void *data, size_t size, struct err *e);
static int64_t wait_ms(struct token_backup *b, struct wall_time now);

int token_backup_new(const struct token_backup_options *o, struct token_backup **ret, struct err *e)
{
    const struct s3_bucket_options so = {
        .bucket = o->bucket, .endpoint = o->endpoint, .login = o->login};
    struct s3_bucket *bucket = NULL;
    int r = s3_bucket_new(&so, &bucket, e);
    if (r < 0)
        return err_prefix(e, "the bucket for the copy of the login");
    struct token_backup *b = xcalloc(1, sizeof(*b));
    b->bucket = bucket;
    b->name = xstrdup(o->bucket);
    b->token_file = xstrdup(o->token_file);
    (void)pthread_mutex_init(&b->lock, NULL);
    *ret = b;
    return 0;
}

void token_backup_free(struct token_backup *b)
{
    if (!b)
        return;
    s3_bucket_free(b->bucket);
    (void)pthread_mutex_destroy(&b->lock);
    free(b->name);
    free(b->token_file);
    free(b);
}

int64_t token_backup_tend(struct token_backup *b, struct http_client *http)
{
    struct wall_time now = clock_wall();
    int64_t left_ms = wait_ms(b, now);
    if (left_ms > 0)
        return left_ms;
    struct errand errand = {b, http};
    const struct token_backup_store store = {get, put, &errand};
    enum token_backup_outcome outcome = TOKEN_BACKUP_NOTHING;
    struct err e = {0};
    int r = token_backup_turn(&store, b->token_file, &outcome, &e);
    b->next = token_backup_next(now);
    bool passes = r < 0 && e.retry != ERR_NEVER;
    b->answered = b->answered || !passes;
    if (passes) {
        int64_t ms = google_token_is_missing(b->token_file) ? MISSING_MS : AGAIN_MS;
        b->next.us = MIN(b->next.us, now.us + ms * 1000);
    }
    (void)pthread_mutex_lock(&b->lock);
    bool news = strcmp(b->failure.text, e.text) != 0;
    b->failure = e;
    b->failure.code = r;
    if (r == 0) {
        b->outcome = outcome;
        b->at = clock_mono();
    }
    (void)pthread_mutex_unlock(&b->lock);
    if (r < 0 && r != -ECANCELED && news)
        log_warn("login-copy", "%s; nothing was changed, again later", e.text);
    if (r == 0 && outcome == TOKEN_BACKUP_RESTORED)
        log_notice("login-restored", "%s was missing and comes from its copy in S3 bucket '%s'",
                   b->token_file, b->name);
    return MAX(wait_ms(b, now), AT_LEAST_MS);
}

void token_backup_hurry(struct token_backup *b)
{
    b->next = (struct wall_time){0};
}

bool token_backup_answered(const struct token_backup *b)
{
    return b->answered;
}

/* A clock that was put back must not put the next turn off. */
static int64_t wait_ms(struct token_backup *b, struct wall_time now)
{
    int64_t left_ms = (b->next.us - now.us + 999) / 1000;
    return b->next.us == 0 || left_ms > TURN_MS ? 0 : MAX(left_ms, 0);
}

static int get(void *arg, const char *key, struct blob **ret, struct err *e)
{
    struct errand *x = arg;
    return s3_object_get(x->backup->bucket, x->http, key, GOOGLE_FILE_MAX, ret, NULL, e);
}

static int put(void *arg, const char *key, const void *data, size_t size, struct err *e)
{
    struct errand *x = arg;
    struct s3_facts facts;
    const struct s3_upload upload = {
        .key = key, .content_type = "application/json", .data = data, .size = size};
    return s3_object_put(x->backup->bucket, x->http, &upload, &facts, NULL, e);
}

void token_backup_describe(struct token_backup *b, struct token_backup_state *ret)
{
    static const char *const words[TOKEN_BACKUP_OUTCOME_COUNT] = {
        [TOKEN_BACKUP_NOTHING] = "there is none yet, here or there",
        [TOKEN_BACKUP_SAME] = "up to date",
        [TOKEN_BACKUP_SAVED] = "saved",
        [TOKEN_BACKUP_RESTORED] = "restored from there",
        [TOKEN_BACKUP_LEFT] = "left alone, it may be better than ours",
    };
    char span[TEXT_SPAN_MAX] = "";
    *ret = (struct token_backup_state){0};
    (void)pthread_mutex_lock(&b->lock);
    if (b->at.us > 0)
        (void)text_span((double)mono_diff_us(clock_mono(), b->at) / 1e6, span);
    (void)text_format(ret->text, sizeof(ret->text),
                      "copy of the login in S3 bucket '%.63s': %s%s%s%s", b->name,
                      b->at.us > 0 ? words[b->outcome] : "not looked at yet", *span ? " " : "",
                      span, *span ? " ago" : ""); /* fits */
    if (b->failure.code < 0)
        (void)text_copy(ret->error, sizeof(ret->error), b->failure.text);
    (void)pthread_mutex_unlock(&b->lock);
}
