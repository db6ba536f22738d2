#include "web/access_hash.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/altstack.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#define OUTCOME_KEPT_MS 60000 /* then whoever asked has hung up */

struct job {
    char key[ACCESS_HASH_KEY_MAX]; /* "" = free */
    enum access_hash_state state;
    bool taken; /* by the thread */
    struct mono_time done_at;
    bool checks, known, renews;
    char password[PASSWD_MAX + 1];
    char fresh[PASSWD_MAX + 1];
    char hash[PASSWD_HASH_MAX]; /* first the one to be checked, then the new one */
};

struct access_hash {
    void (*wake)(void *arg, const char *key);
    void *arg;
    uint64_t serial;
    bool started; /* there is a thread to join */
    pthread_t thread;

    pthread_mutex_t lock; /* guards what follows */
    bool working;         /* the thread will look for a job once more */
    bool stopping;
    struct job *jobs; /* ACCESS_HASH_QUEUE_MAX; NULL before the first */
};

static int start_thread(struct access_hash *h, struct err *e);
static void *run(void *arg);
static void job_clear(struct job *j);

struct access_hash *access_hash_new(void (*wake)(void *arg, const char *key), void *arg)
{
    struct access_hash *h = xcalloc(1, sizeof(*h));
    h->wake = wake;
    h->arg = arg;
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

void access_hash_free(struct access_hash *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->stopping = true;
    pthread_mutex_unlock(&h->lock);
    if (h->started)
        pthread_join(h->thread, NULL);
    for (size_t i = 0; h->jobs && i < ACCESS_HASH_QUEUE_MAX; i++)
        job_clear(&h->jobs[i]);
    free(h->jobs);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

static struct job *free_job(struct access_hash *h)
{
    if (!h->jobs)
        h->jobs = xcalloc(ACCESS_HASH_QUEUE_MAX, sizeof(*h->jobs));
    for (size_t i = 0; i < ACCESS_HASH_QUEUE_MAX; i++) {
        struct job *j = &h->jobs[i];
        if (j->key[0] && j->state != ACCESS_HASH_WORKING &&
            mono_passed(mono_add_ms(j->done_at, OUTCOME_KEPT_MS)))
            job_clear(j);
        if (!j->key[0])
            return j;
    }
    return NULL;
}

int access_hash_begin(struct access_hash *h, const struct access_hash_job *job,
                      char ret_key[ACCESS_HASH_KEY_MAX], struct err *e)
{
    pthread_mutex_lock(&h->lock);
    struct job *j = free_job(h);
    int r = j ? 0 : -EBUSY;
    bool needs_thread = j && !h->working;
    if (j) {
        *j = (struct job){.state = ACCESS_HASH_WORKING,
                          .checks = job->password != NULL,
                          .known = job->hash != NULL,
                          .renews = job->fresh != NULL};
        (void)text_format(j->key, sizeof(j->key), "hash-%llu",
                          (unsigned long long)++h->serial); /* fits */
        /* Whoever sends longer ones was refused before. */
        (void)text_copy(j->password, sizeof(j->password), job->password ? job->password : "");
        (void)text_copy(j->fresh, sizeof(j->fresh), job->fresh ? job->fresh : "");
        (void)text_copy(j->hash, sizeof(j->hash), job->hash ? job->hash : "");
        (void)text_copy(ret_key, ACCESS_HASH_KEY_MAX, j->key); /* the same size */
        h->working = true;
    }
    pthread_mutex_unlock(&h->lock);
    if (r < 0)
        return err_set(e, r, ERR_LATER, "too many are logging in at this moment");
    if (!needs_thread)
        return 0;
    r = start_thread(h, e);
    if (r == 0)
        return 0;
    pthread_mutex_lock(&h->lock);
    h->working = false;
    job_clear(j);
    pthread_mutex_unlock(&h->lock);
    return r;
}

enum access_hash_state access_hash_outcome(struct access_hash *h, const char *key,
                                           char ret_hash[PASSWD_HASH_MAX])
{
    enum access_hash_state state = ACCESS_HASH_GONE;
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; h->jobs && i < ACCESS_HASH_QUEUE_MAX; i++) {
        struct job *j = &h->jobs[i];
        if (strcmp(j->key, key) != 0)
            continue;
        state = j->state;
        if (state == ACCESS_HASH_WORKING)
            break;
        if (ret_hash)
            (void)text_copy(ret_hash, PASSWD_HASH_MAX, j->hash); /* the same size */
        job_clear(j);
        break;
    }
    pthread_mutex_unlock(&h->lock);
    return state;
}

static void job_clear(struct job *j)
{
    explicit_bzero(j, sizeof(*j));
}

static int start_thread(struct access_hash *h, struct err *e)
{
    if (h->started)
        pthread_join(h->thread, NULL); /* it has said that it ends */
    h->started = false;
    sigset_t all, before;
    sigfillset(&all); /* signals are the main loop's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&h->thread, NULL, run, h);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        return err_errno(e, -r, "thread for logins");
    h->started = true;
    return 0;
}

/* ---- the thread ---- */

/* The oldest that nobody works on; NULL when there is none. Slots are few and filled in order but
 * for gaps, so the serial in the key decides. */
static struct job *next_job(struct access_hash *h)
{
    struct job *oldest = NULL;
    for (size_t i = 0; i < ACCESS_HASH_QUEUE_MAX; i++) {
        struct job *j = &h->jobs[i];
        if (!j->key[0] || j->state != ACCESS_HASH_WORKING || j->taken)
            continue;
        size_t len = strlen(j->key), best = oldest ? strlen(oldest->key) : SIZE_MAX;
        if (len < best || (len == best && strcmp(j->key, oldest->key) < 0))
            oldest = j;
    }
    return oldest;
}

/* Nobody's password takes as long as somebody's: a fresh hash has the cost of those that are
 * stored, which were made by the same call. */
static enum access_hash_state work(struct job *j)
{
    struct err e;
    if (j->checks && j->known && !passwd_matches(j->hash, j->password))
        return ACCESS_HASH_WRONG;
    if (j->checks && !j->known) {
        char nobodys[PASSWD_HASH_MAX];
        (void)passwd_hash(j->password, nobodys, &e); /* only the time counts */
        explicit_bzero(nobodys, sizeof(nobodys));
        return ACCESS_HASH_WRONG;
    }
    if (j->renews && passwd_hash(j->fresh, j->hash, &e) < 0)
        return ACCESS_HASH_FAILED;
    return ACCESS_HASH_DONE;
}

/* A job that is taken is the thread's alone, but for its state. */
static void *run(void *arg)
{
    struct access_hash *h = arg;
    altstack_use();
    (void)pthread_setname_np(pthread_self(), "login");
    log_context_stage("login");
    for (;;) {
        pthread_mutex_lock(&h->lock);
        struct job *j = h->stopping ? NULL : next_job(h);
        if (!j) {
            h->working = false;
            pthread_mutex_unlock(&h->lock);
            return NULL;
        }
        j->taken = true;
        char key[ACCESS_HASH_KEY_MAX];
        (void)text_copy(key, sizeof(key), j->key); /* the same size */
        pthread_mutex_unlock(&h->lock);

        enum access_hash_state state = work(j);
        explicit_bzero(j->password, sizeof(j->password));
        explicit_bzero(j->fresh, sizeof(j->fresh));

        pthread_mutex_lock(&h->lock);
        j->state = state;
        j->done_at = clock_mono();
        pthread_mutex_unlock(&h->lock);
        if (h->wake)
            h->wake(h->arg, key);
    }
}
