/* A login is a file; what is in memory follows it. Each look at the login compares the file's stamp
 * (a stat(2), microseconds), so that a login by `snapshotd auth gdrive` or a file that was put
 * there is taken by the next caller. A file that is gone means logged out. One that is no good
 * (another program may be in the middle of writing it) changes nothing.
 *
 * How long an access token is good is counted on the monotonic clock, from before it was asked for;
 * the file's own time of expiry is only believed for a token that comes from the file, and then for
 * an hour at most: whoever starts with a wrong clock does not keep a dead token for years.
 *
 * The refresh is made outside the lock by whoever needs it first. The others use the old token as
 * long as it is good, else they wait for the outcome and share it, a failure as well: a hundred
 * threads are one request. */

#include "storage/google_login.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/text.h"
#include "storage/google_service.h"
#include "storage/google_token.h"
#include "sys/hash.h"

#define EARLY_MS 120000     /* before its end a token is renewed; Google asks for a minute */
#define LAST_MS 10000       /* before its end a token is not used: it has to get there */
#define FILE_LIFE_S 3600    /* of a token that comes from the file, at most: Google's are an hour */
#define AGAIN_MS 1000       /* after a failure nobody asks at once */
#define AGAIN_GOOD_MS 30000 /* the same while the old token is good */
#define AGAIN_MAX_MS 3600000 /* however long a Retry-After is */
#define GONE_AGAIN_MS                                                                              \
    3600000       /* a login that was refused is tried again: no single answer is                  \
                     believed for ever */
#define SKEW_S 60 /* a clock that is more wrong than this is the first suspect */

#define NOT_YET "nobody has logged in to Google yet: run `snapshotd auth gdrive`"
#define WAITS                                                                                      \
    "[gdrive] token, GOOGLE_OAUTH_TOKEN waits for the copy of the login in its bucket, which "     \
    "goes "                                                                                        \
    "before it and cannot be looked at yet"

struct stamp {
    bool there;
    int64_t mtime_ns, ctime_ns, size;
    uint64_t inode;
};

struct google_login {
    char *token_file, *service_file, *scope, *token_url; /* NULL = none */
    char *given;                                         /* to be placed; NULL = none */
    pthread_mutex_t lock;
    pthread_cond_t outcome_known;

    enum google_login_kind kind;
    struct google_token *token;
    struct google_service *service;
    uint64_t login;      /* counts up with each other login that is taken */
    uint64_t generation; /* and with each change of the file that is not our own */
    uint64_t content;    /* digest of what the file holds as far as we know; 0 = unknown */
    struct stamp stamp;
    bool look_again;               /* whatever the stamp says */
    char filed[GOOGLE_SECRET_MAX]; /* the refresh token that the file holds */
    bool unsaved;                  /* what we have is newer than the file */
    struct mono_time save_again;
    struct err file_trouble;  /* of the last look or save; code 0 = none */
    struct err given_trouble; /* of what the configuration gives; likewise */

    char access[GOOGLE_TOKEN_MAX]; /* "" = none */
    bool refused;                  /* by an API, whatever its end says */
    struct mono_time renew_at, good_until;
    struct wall_time expires;

    bool asking;
    uint64_t round;             /* of asking; counts up when an outcome is known */
    struct err outcome;         /* of the last one; code 0 = a token */
    struct mono_time ask_again; /* not before */
    int64_t skew_s;             /* the server's clock minus ours, when it matters */
    struct wall_time since;     /* no usable token since then; 0 = usable */
};

/* What a refresh needs, so that it can be made outside the lock. */
struct question {
    uint64_t login;
    enum google_login_kind kind;
    char url[512];
    char refresh_token[GOOGLE_SECRET_MAX], client_id[GOOGLE_SECRET_MAX],
        client_secret[GOOGLE_SECRET_MAX];
    char *assertion;
};

static void place_text(struct google_login *l, const char *text);
static void look(struct google_login *l);
static void take_file(struct google_login *l);
static bool is_good(const struct google_login *l);
static const char *why_none(const struct google_login *l);
static void wait_for_outcome(struct google_login *l);
static int keep(struct google_login *l);
static int known_failure(struct google_login *l, struct err *e);
static int renew(struct google_login *l, struct http_client *c, struct err *e);
static void note_usable(struct google_login *l);

int google_login_open(const struct google_login_options *o, struct google_login **ret,
                      struct err *e)
{
    struct google_login *l = xcalloc(1, sizeof(*l));
    (void)e; /* what is wrong with a file can be mended while the program runs */
    l->token_file = xstrdup(o->token_file);
    l->service_file = o->service_file && *o->service_file ? xstrdup(o->service_file) : NULL;
    l->scope = xstrdup(o->scope);
    l->token_url = o->token_url && *o->token_url ? xstrdup(o->token_url) : NULL;
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)pthread_cond_init(&l->outcome_known, NULL);
    if (!l->service_file && o->token_json && *o->token_json)
        l->given = xstrdup(o->token_json);
    if (!o->waits)
        google_login_place(l);
    (void)pthread_mutex_lock(&l->lock);
    l->look_again = true;
    look(l);
    note_usable(l);
    (void)pthread_mutex_unlock(&l->lock);
    *ret = l;
    return 0;
}

void google_login_place(struct google_login *l)
{
    (void)pthread_mutex_lock(&l->lock);
    AUTO_FREE char *given = STEAL(l->given);
    if (given) {
        place_text(l, given);
        explicit_bzero(given, strlen(given));
    }
    (void)pthread_mutex_unlock(&l->lock);
}

/* Puts GOOGLE_OAUTH_TOKEN into the file when what is there is worse. */
static void place_text(struct google_login *l, const char *text)
{
    AUTO(google_token) old = NULL;
    AUTO(google_token) given = NULL;
    struct err *e = &l->given_trouble;
    int r = google_token_read(l->token_file, &old, NULL);
    if ((r == 0 && !old->invalid) || (r < 0 && r != -ENOENT && r != -EBADMSG))
        return; /* a file that cannot be read is the reader's story */
    r = google_token_parse(text, strlen(text), &given, e);
    if (r == 0 && old && (given->invalid || google_token_is_same_login(old, given)))
        return;
    if (r == 0)
        r = google_token_save_text(l->token_file, text, strlen(text), e);
    if (r < 0)
        (void)err_prefix(e, "the login that the configuration gives ([gdrive] token, "
                            "GOOGLE_OAUTH_TOKEN)");
}

void google_login_close(struct google_login *l)
{
    if (!l)
        return;
    (void)pthread_cond_destroy(&l->outcome_known);
    (void)pthread_mutex_destroy(&l->lock);
    google_token_free(l->token);
    google_service_free(l->service);
    if (l->given)
        explicit_bzero(l->given, strlen(l->given));
    free(l->given);
    free(l->token_file);
    free(l->service_file);
    free(l->scope);
    free(l->token_url);
    explicit_bzero(l->access, sizeof(l->access));
    free(l);
}

/* What a caller does next. */
enum next { NEXT_USE, NEXT_LOG_IN, NEXT_FAIL, NEXT_ASK, NEXT_WAIT };

static enum next next_of(const struct google_login *l)
{
    bool may_ask = !l->asking && mono_passed(l->ask_again);
    if (l->kind == GOOGLE_LOGIN_NONE)
        return NEXT_LOG_IN;
    if (is_good(l))
        return mono_passed(l->renew_at) && may_ask ? NEXT_ASK : NEXT_USE;
    return may_ask ? NEXT_ASK : l->asking ? NEXT_WAIT : NEXT_FAIL;
}

/* Outcomes that are nobody's but of who asked: he was stopped, or another login was taken. */
static bool is_no_outcome(int code)
{
    return code == -ECANCELED || code == -ESTALE;
}

int google_login_token(struct google_login *l, struct http_client *c, char ret[GOOGLE_TOKEN_MAX],
                       struct err *e)
{
    int r = 0;
    (void)pthread_mutex_lock(&l->lock);
    for (bool done = false; !done;) {
        look(l);
        done = true;
        switch (next_of(l)) {
        case NEXT_USE:
            r = 0;
            break;
        case NEXT_LOG_IN:
            r = err_set(e, -ENOKEY, ERR_NEVER, "%s", why_none(l));
            break;
        case NEXT_FAIL:
            r = known_failure(l, e);
            break;
        case NEXT_ASK:
            r = renew(l, c, e);
            done = r != -ESTALE;
            if (is_good(l))
                r = 0; /* there will be other tries before it ends */
            break;
        case NEXT_WAIT:
            wait_for_outcome(l);
            done = !is_good(l) && l->outcome.code < 0 && !is_no_outcome(l->outcome.code);
            if (done)
                r = known_failure(l, e);
            break;
        }
    }
    if (r == 0)
        (void)text_copy(ret, GOOGLE_TOKEN_MAX, l->access);
    (void)pthread_mutex_unlock(&l->lock);
    return r;
}

static const char *why_none(const struct google_login *l)
{
    return l->file_trouble.code < 0    ? l->file_trouble.text
           : l->given_trouble.code < 0 ? l->given_trouble.text
           : l->given                  ? WAITS
                                       : NOT_YET;
}

static void wait_for_outcome(struct google_login *l)
{
    uint64_t round = l->round;
    while (l->round == round)
        (void)pthread_cond_wait(&l->outcome_known, &l->lock);
}

static int known_failure(struct google_login *l, struct err *e)
{
    if (e)
        *e = l->outcome;
    return l->outcome.code;
}

static bool is_good(const struct google_login *l)
{
    return *l->access && !l->refused && !mono_passed(l->good_until);
}

void google_login_refused(struct google_login *l, const char *token)
{
    (void)pthread_mutex_lock(&l->lock);
    if (*l->access && strcmp(l->access, token) == 0) {
        l->refused = true;
        l->ask_again = (struct mono_time){0};
    }
    (void)pthread_mutex_unlock(&l->lock);
}

void google_login_reload(struct google_login *l)
{
    (void)pthread_mutex_lock(&l->lock);
    l->look_again = true;
    l->ask_again = (struct mono_time){0};
    (void)pthread_mutex_unlock(&l->lock);
}

uint64_t google_login_generation(struct google_login *l)
{
    (void)pthread_mutex_lock(&l->lock);
    look(l);
    uint64_t generation = l->generation;
    (void)pthread_mutex_unlock(&l->lock);
    return generation;
}

/* ---- the file ---- */

static struct stamp stamp_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return (struct stamp){.there = errno != ENOENT && errno != ENOTDIR};
    return (struct stamp){
        .there = true,
        .mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
        .ctime_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec,
        .size = st.st_size,
        .inode = st.st_ino,
    };
}

static bool stamp_equal(const struct stamp *a, const struct stamp *b)
{
    return a->there == b->there && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns &&
           a->size == b->size && a->inode == b->inode;
}

static void look(struct google_login *l)
{
    struct stamp now = stamp_of(l->service_file ? l->service_file : l->token_file);
    if (!l->look_again && stamp_equal(&now, &l->stamp)) {
        if (l->unsaved && mono_passed(l->save_again))
            (void)keep(l); /* told by file_trouble */
        return;
    }
    l->look_again = false;
    l->stamp = now; /* taken before reading: what is written meanwhile is seen the next time */
    take_file(l);
    note_usable(l);
}

static void forget_access(struct google_login *l)
{
    explicit_bzero(l->access, sizeof(l->access));
    l->refused = false;
    l->ask_again = (struct mono_time){0};
    err_clear(&l->outcome);
    l->login++;
}

static uint64_t digest_of(const struct google_token *t)
{
    AUTO_FREE char *text = google_token_text(t);
    uint64_t digest = text ? hash_64(text, strlen(text)) : 0;
    if (text)
        explicit_bzero(text, strlen(text));
    return digest;
}

/* Whether Google would be asked the same about both. */
static bool is_same_question(const struct google_token *a, const struct google_token *b)
{
    return google_token_is_same_login(a, b) && strcmp(a->client_secret, b->client_secret) == 0 &&
           strcmp(a->token_uri, b->token_uri) == 0;
}

/* How long a token is used and when it is renewed; one that lives for minutes only is renewed in
 * its last quarter. */
static void set_access(struct google_login *l, const char *access, struct mono_time from,
                       int64_t life_s, int64_t left_s)
{
    int64_t early_ms = MIN(EARLY_MS, life_s * 1000 / 4), last_ms = MIN(LAST_MS, life_s * 1000 / 8);
    (void)text_copy(l->access, sizeof(l->access), access);
    l->refused = false;
    l->renew_at = mono_add_ms(from, left_s * 1000 - early_ms);
    l->good_until = mono_add_ms(from, left_s * 1000 - last_ms);
    l->expires = (struct wall_time){clock_wall().us + left_s * 1000000};
}

static void take_token(struct google_login *l, struct google_token *t)
{
    bool same = l->token && google_token_is_same_login(l->token, t);
    bool same_question = same && is_same_question(l->token, t);
    uint64_t content = digest_of(t);
    if (l->unsaved && content == l->content) { /* somebody touched it; what we have is newer */
        google_token_free(t);
        return;
    }
    if (content != l->content || content == 0) { /* not what we wrote ourselves */
        l->generation++;
        l->ask_again = (struct mono_time){0};
        err_clear(&l->outcome);
    }
    l->content = content;
    if (!same_question)
        l->login++; /* an answer that is on its way is to another question */
    google_token_free(l->token);
    l->token = t;
    l->kind = GOOGLE_LOGIN_USER;
    l->unsaved = false;
    (void)text_copy(l->filed, sizeof(l->filed), t->refresh_token);
    /* The file's token may be the one that was refused. */
    if (same && (is_good(l) || t->invalid || strcmp(l->access, t->access_token) == 0))
        return;
    if (!same)
        forget_access(l);
    int64_t left_s = wall_seconds(t->expires) - wall_seconds(clock_wall());
    if (*t->access_token && left_s > 0)
        set_access(l, t->access_token, clock_mono(), FILE_LIFE_S, MIN(left_s, FILE_LIFE_S));
}

static void take_file(struct google_login *l)
{
    struct google_token *token = NULL;
    struct google_service *service = NULL;
    err_clear(&l->file_trouble);
    int r = l->service_file ? google_service_read(l->service_file, &service, &l->file_trouble)
                            : google_token_read(l->token_file, &token, &l->file_trouble);
    if (r == -ENOENT) {
        if (!l->service_file) /* which nobody makes by logging in */
            err_clear(&l->file_trouble);
        google_token_free(STEAL(l->token));
        google_service_free(STEAL(l->service));
        l->generation += l->kind != GOOGLE_LOGIN_NONE;
        l->kind = GOOGLE_LOGIN_NONE;
        l->unsaved = false;
        l->content = 0;
        forget_access(l);
    } else if (token) {
        take_token(l, token);
    } else if (service) {
        google_service_free(l->service);
        l->service = service;
        l->kind = GOOGLE_LOGIN_SERVICE;
        l->generation++;
        forget_access(l);
    }
}

/* ---- asking ---- */

static const char *token_url(const struct google_login *l)
{
    const char *in_file = l->service ? l->service->token_uri : l->token ? l->token->token_uri : "";
    return l->token_url ? l->token_url : *in_file ? in_file : GOOGLE_TOKEN_URL;
}

static int prepare(struct google_login *l, struct question *q, struct err *e)
{
    const char *url = token_url(l);
    *q = (struct question){.login = l->login, .kind = l->kind};
    if (!l->token_url && !google_url_is_googles(url))
        return err_set(e, -EKEYREJECTED, ERR_NEVER,
                       "the token_uri in %s is not Google's: nothing is sent there",
                       l->service_file ? l->service_file : l->token_file);
    (void)text_copy(q->url, sizeof(q->url), url);
    if (l->kind == GOOGLE_LOGIN_SERVICE)
        return google_service_assertion(l->service, l->scope, url,
                                        (struct wall_time){clock_wall().us + l->skew_s * 1000000},
                                        &q->assertion, e);
    (void)text_copy(q->refresh_token, sizeof(q->refresh_token), l->token->refresh_token);
    (void)text_copy(q->client_id, sizeof(q->client_id), l->token->client_id);
    (void)text_copy(q->client_secret, sizeof(q->client_secret), l->token->client_secret);
    return 0;
}

struct reply {
    enum google_refusal refusal;
    struct google_grant grant;
    int64_t retry_after_s, date_s;
};

static int ask(const struct question *q, struct http_client *c, struct reply *ret, struct err *e)
{
    bool service = q->kind == GOOGLE_LOGIN_SERVICE;
    const char *const user_form[] = {"grant_type",     "refresh_token",  "refresh_token",
                                     q->refresh_token, "client_id",      q->client_id,
                                     "client_secret",  q->client_secret, NULL};
    const char *const service_form[] = {"grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer",
                                        "assertion", service ? q->assertion : "", NULL};
    const char *const sent[] = {service ? q->assertion : q->refresh_token, q->client_secret, NULL};
    struct http_answer a = {0};
    *ret = (struct reply){.refusal = GOOGLE_BUSY, .retry_after_s = -1, .date_s = -1};
    int r = google_oauth_post(c, q->url, service ? service_form : user_form, &a, e);
    if (r < 0)
        return r;
    r = google_oauth_judge(service ? GOOGLE_ASK_SERVICE : GOOGLE_ASK_REFRESH, a.status,
                           a.body ? (const char *)a.body->data : NULL, a.body ? a.body->size : 0,
                           sent, &ret->grant, &ret->refusal, e);
    ret->retry_after_s = a.retry_after_s;
    ret->date_s = a.date_s;
    http_answer_done(&a);
    return r;
}

/* -ESTALE: somebody has logged in meanwhile, which the next look sees. What cannot be written is
 * told, tried again later, and the token is good without it. */
static int keep(struct google_login *l)
{
    err_clear(&l->file_trouble);
    int r = google_token_save(l->token_file, l->token, l->filed, &l->file_trouble);
    l->unsaved = r < 0 && r != -ESTALE;
    l->save_again = mono_add_ms(clock_mono(), AGAIN_GOOD_MS);
    if (r == 0) {
        (void)text_copy(l->filed, sizeof(l->filed), l->token->refresh_token);
        l->content = digest_of(l->token);
    }
    l->look_again = !l->unsaved; /* a stamp taken now might be another writer's */
    return r;
}

static int take_grant(struct google_login *l, struct reply *reply, struct mono_time from)
{
    set_access(l, reply->grant.access_token, from, reply->grant.expires_s, reply->grant.expires_s);
    l->ask_again = (struct mono_time){0};
    if (l->kind != GOOGLE_LOGIN_USER)
        return 0;
    google_token_take(l->token, &reply->grant, clock_wall());
    return keep(l) == -ESTALE ? -ESTALE : 0;
}

static int take_refusal(struct google_login *l, const struct reply *reply, int r)
{
    int64_t pause_ms = is_good(l) ? AGAIN_GOOD_MS : AGAIN_MS;
    if (reply->retry_after_s > 0)
        pause_ms = MAX(pause_ms, MIN(reply->retry_after_s, AGAIN_MAX_MS / 1000) * 1000);
    if (l->outcome.retry == ERR_NEVER)
        pause_ms = GONE_AGAIN_MS;
    if (r != -ECANCELED)
        l->ask_again = mono_add_ms(clock_mono(), pause_ms);
    if (reply->refusal != GOOGLE_GONE || l->kind != GOOGLE_LOGIN_USER || l->token->invalid)
        return r;
    google_token_set_invalid(l->token); /* as oauth2client does */
    return keep(l) == -ESTALE ? -ESTALE : r;
}

/* A service account's assertion says what time it is, and Google refuses one of another time. */
static bool learn_skew(struct google_login *l, const struct question *q, const struct reply *reply)
{
    if (q->kind != GOOGLE_LOGIN_SERVICE || reply->refusal != GOOGLE_GONE || reply->date_s < 0)
        return false;
    int64_t skew = reply->date_s - wall_seconds(clock_wall());
    if (llabs(skew - l->skew_s) < SKEW_S)
        return false;
    l->skew_s = skew;
    return true;
}

/* With the lock held, which is let go while Google is asked. */
static int renew(struct google_login *l, struct http_client *c, struct err *e)
{
    struct question q = {0};
    struct reply reply = {.refusal = GOOGLE_BUSY};
    struct err failure = {0};
    struct mono_time from = clock_mono();
    l->asking = true;
    int r = prepare(l, &q, &failure);
    for (int tries = 0; r == 0 && tries < 2; tries++) {
        (void)pthread_mutex_unlock(&l->lock);
        r = ask(&q, c, &reply, &failure);
        (void)pthread_mutex_lock(&l->lock);
        if (r == 0 || tries > 0 || l->login != q.login || !learn_skew(l, &q, &reply))
            break;
        free(q.assertion);
        err_clear(&failure);
        from = clock_mono();
        r = prepare(l, &q, &failure);
    }
    look(l);
    bool other = l->login != q.login; /* the answer is for a login that is not ours any more */
    l->outcome = failure;
    if (r < 0)
        (void)err_prefix(&l->outcome, "the login to Google");
    if (other)
        r = l->outcome.code = r == -ECANCELED ? r : -ESTALE;
    else if (r == 0)
        r = l->outcome.code = take_grant(l, &reply, from);
    else
        r = l->outcome.code = take_refusal(l, &reply, r);
    google_grant_done(&reply.grant);
    if (q.assertion)
        explicit_bzero(q.assertion, strlen(q.assertion));
    free(q.assertion);
    explicit_bzero(&q, sizeof(q));
    l->asking = false;
    l->round++;
    note_usable(l);
    (void)pthread_cond_broadcast(&l->outcome_known);
    return r < 0 ? known_failure(l, e) : 0;
}

/* ---- for people ---- */

/* Usable: there is a token, or nothing is known why there should not be one soon. */
static bool is_usable(const struct google_login *l)
{
    return l->kind != GOOGLE_LOGIN_NONE &&
           (is_good(l) || l->outcome.code == 0 || is_no_outcome(l->outcome.code));
}

static void note_usable(struct google_login *l)
{
    if (is_usable(l))
        l->since = (struct wall_time){0};
    else if (l->since.us == 0)
        l->since = clock_wall();
}

void google_login_describe(struct google_login *l, struct google_login_state *ret)
{
    char span[TEXT_SPAN_MAX], who[96] = "signed in";
    (void)pthread_mutex_lock(&l->lock);
    look(l);
    note_usable(l);
    *ret = (struct google_login_state){
        .kind = l->kind, .usable = is_usable(l), .since = l->since, .expires = l->expires};
    if (l->service)
        (void)text_format(who, sizeof(who), "service account %.64s", l->service->email);
    bool good = is_good(l);
    if (l->kind == GOOGLE_LOGIN_NONE)
        (void)text_copy(ret->text, sizeof(ret->text), l->given ? WAITS : NOT_YET);
    else if (good)
        (void)text_format(ret->text, sizeof(ret->text), "%s; token good for %s", who,
                          text_span((double)mono_diff_us(l->good_until, clock_mono()) / 1e6, span));
    else
        (void)text_format(ret->text, sizeof(ret->text), "%s; %s", who,
                          ret->usable                     ? "a token is asked for when needed"
                          : l->outcome.retry == ERR_NEVER ? "Google does not accept the login"
                                                          : "Google cannot be asked for a token");
    const struct err *trouble =
        l->kind == GOOGLE_LOGIN_NONE && l->file_trouble.code == 0 ? &l->given_trouble
        : l->outcome.code < 0 && !is_no_outcome(l->outcome.code)  ? &l->outcome
                                                                  : &l->file_trouble;
    if (trouble->code < 0)
        (void)text_copy(ret->error, sizeof(ret->error), trouble->text);
    if (!*l->access || l->refused)
        ret->expires = (struct wall_time){0};
    (void)pthread_mutex_unlock(&l->lock);
}
