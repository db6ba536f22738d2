/* Upload: takes files to one storage and repeats until they are there, exactly once each. One stage
 * per storage, so one that is away never holds up another.
 *
 * The stage's own thread does all that concerns the order: it asks the ledger what is due, fills a
 * short queue, writes down what became of it, and decides about pauses. `parallel` workers block in
 * the storage, each with a session of its own. So results that come together share one commit, and
 * no worker waits for the disk while it could send the next file.
 *
 * Exactly once: an object's mark (the id that it will have) is made by reserve() and durable before
 * the first put(); who repeats after a crash repeats with the same mark. Marks are made for many at
 * once, ahead of the workers, by a thread of its own: the round trip takes no worker's time.
 *
 * A storage in trouble pauses as a whole: files wait, and no attempts count against them, since it
 * is no fault of theirs. After the pause one file is tried alone. A fault of a file counts for that
 * file only, which waits by itself.
 *
 * What came before the trouble ended is backlog, and goes in the order of the rule. What comes
 * after that is live: it goes before any backlog. The newest of it is first in the queue, so it
 * waits until one worker is free. */

#include "stage/upload_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"

/* What a stop lets uploads finish before it ends them; they are repeated at the next start. */
#define LAST_UPLOADS_MS 1000
/* Until then there is more to do than to ask how much room there is. */
#define FIRST_ROOM_MS 60000
/* Of what a session calls libcurl and OpenSSL need most. */
#define STACK_SIZE (512 * 1024)

static const struct storage_plan *find_plan(const struct settings *now, const char *name)
{
    for (size_t i = 0; i < now->storage_count; i++)
        if (strcmp(now->storages[i].name, name) == 0)
            return &now->storages[i];
    return NULL;
}

/* After a reload what people had to do may be done. */
static void look_at_settings(struct upload_self *u)
{
    struct settings *now = pipeline_settings(u->pipeline);
    if (now == u->settings) {
        settings_unref(now);
        return;
    }
    const struct storage_plan *plan = find_plan(now, u->storage->name);
    if (plan)
        u->plan = *plan->common;
    u->paused = plan && plan->paused;
    if (u->settings) {
        u->pause_until.us = u->archive_at.us = 0;
        pthread_mutex_lock(&u->lock);
        u->generation++; /* what is under way tells of the time before */
        pthread_mutex_unlock(&u->lock);
        if (u->storage->ops->reload)
            u->storage->ops->reload(u->storage);
    }
    settings_unref(u->settings);
    u->settings = now;
}

/* Whoever logs in shall not wait for the end of a pause, and the copy of the login is due. */
static void look_at_login(struct upload_self *u)
{
    if (!u->storage->ops->generation)
        return;
    uint64_t now = u->storage->ops->generation(u->storage);
    if (now == u->login)
        return;
    u->login = now;
    u->tend_at.us = 0;
    pthread_mutex_lock(&u->lock);
    bool slower = u->shown.trouble == STORAGE_RATE; /* a login is no way round that */
    pthread_mutex_unlock(&u->lock);
    if (slower)
        return;
    u->pause_until.us = 0;
    if (u->shown.archive_error[0]) /* of this thread */
        u->archive_at.us = 0;
}

static void age_live(struct upload_self *u)
{
    int64_t last;
    struct err e = {0};
    if (!mono_passed(u->live_at) || ledger_upload_last_row(u->ledger, &last, &e) < 0)
        return;
    u->live_after = u->live_next;
    u->live_next = last;
    u->live_at = mono_add_ms(clock_mono(), UPLOAD_LIVE_MS);
}

static void show_pause(struct upload_self *u)
{
    pthread_mutex_lock(&u->lock);
    u->shown.pause_ms = mono_until_ms(u->pause_until);
    pthread_mutex_unlock(&u->lock);
}

static int64_t next_sweep_ms(struct upload_self *u)
{
    struct err e = {0};
    struct wall_time next;
    int64_t pause = UPLOAD_SWEEP_MS;
    if (!mono_passed(u->rest_until))
        return MIN(pause, (int64_t)mono_until_ms(u->rest_until));
    if (!mono_passed(u->read_at))
        return MIN(pause, (int64_t)mono_until_ms(u->read_at));
    if (!mono_passed(u->pause_until))
        return MIN(pause, (int64_t)mono_until_ms(u->pause_until));
    if (!mono_passed(u->next_at))
        return MIN(pause, (int64_t)mono_until_ms(u->next_at));
    if (ledger_upload_next(u->ledger, u->storage->name, &next, &e) == 0 &&
        next.us > ledger_now().us) /* of others a result will tell */
        pause = MIN(pause, (next.us - ledger_now().us) / 1000 + 1);
    return pause;
}

/* Whether jobs have come since the last look. */
static bool has_news(struct upload_self *u)
{
    int64_t last;
    struct err e = {0};
    if (ledger_upload_last_row(u->ledger, &last, &e) < 0 || last == u->seen_row)
        return false;
    u->seen_row = last;
    return true;
}

static int64_t upload_sweep(void *self)
{
    struct upload_self *u = self;
    look_at_settings(u);
    look_at_login(u);
    if (mono_passed(u->rest_until)) {
        (void)upload_allow(u); /* workers go on while this takes its time */
        if (has_news(u))
            upload_fill(u); /* a live picture does not wait for this commit */
        upload_collect(u);
    }
    if (upload_errand_state(u) == ERRAND_DONE)
        upload_end_errand(u);
    age_live(u);
    upload_fill(u);
    if (u->batch.urgent && upload_batch_state(u) == ERRAND_DONE && mono_passed(u->rest_until)) {
        upload_collect(u); /* marks that were made here; or somebody was quick */
        upload_fill(u);
    }
    upload_find_errand(u);
    show_pause(u);
    return next_sweep_ms(u);
}

/* The program stops: nothing new begins, and what is under way has a moment left. */
static void begin_end(struct upload_self *u)
{
    if (u->ending)
        return;
    u->ending = true;
    u->cut_at = mono_add_ms(clock_mono(), LAST_UPLOADS_MS);
    (void)upload_allow(u);
    upload_empty_queue(u);
}

static void cut_calls(struct upload_self *u)
{
    uint64_t one = 1;
    if (!u->cut)
        (void)!write(u->stop_fd, &one, sizeof(one)); /* a counter far from full */
    u->cut = true;
}

static bool upload_idle(void *self)
{
    struct upload_self *u = self;
    struct census c;
    begin_end(u);
    if (mono_passed(u->rest_until))
        upload_collect(u);
    if (upload_errand_state(u) == ERRAND_DONE)
        upload_end_errand(u);
    /* Tidying may take an hour, and goes on where it was cut. */
    if (mono_passed(u->cut_at) || upload_errand_state(u) == ERRAND_ASKED)
        cut_calls(u);
    AUTO_FREE int64_t *busy = xcalloc((size_t)u->slot_count + RESERVE_MAX, sizeof(*busy));
    (void)upload_list_busy(u, busy, &c);
    return c.running == 0 && upload_batch_state(u) != ERRAND_ASKED &&
           upload_errand_state(u) != ERRAND_ASKED;
}

static int upload_fd(void *self)
{
    struct upload_self *u = self;
    return u->pipeline->stop_fd > 0 && !u->ending ? u->pipeline->stop_fd : -1;
}

static void upload_ready(void *self)
{
    begin_end(self);
}

static int start_worker(struct upload_self *u, void *(*run)(void *), struct err *e)
{
    struct worker *w = &u->workers[u->worker_count];
    w->upload = u;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    int code =
        pthread_create(&w->thread, &attr, run, w); /* signals are blocked as in this thread */
    pthread_attr_destroy(&attr);
    if (code)
        return err_errno(e, -code, "start a thread");
    u->worker_count++;
    return 0;
}

static int upload_init(void *self, struct stage *st, struct err *e)
{
    struct upload_self *u = self;
    u->stage = st;
    upload_touch_metrics(u->storage);
    look_at_settings(u);
    look_at_login(u);
    u->parallel = (int)MAX(1, MIN(u->plan.parallel, STORAGE_PARALLEL_MAX));
    u->slot_count = 4 * u->parallel;
    u->slots = xcalloc((size_t)u->slot_count, sizeof(*u->slots));
    u->workers = xcalloc((size_t)u->parallel + 2, sizeof(*u->workers));
    u->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (u->stop_fd < 0)
        return err_errno(e, -errno, "eventfd");
    int r = ledger_open(u->pipeline->ledger_path, &u->ledger, e);
    if (r == 0)
        r = ledger_open(u->pipeline->ledger_path, &u->side, e);
    if (r < 0)
        return r;
    upload_begin_live(u);
    u->room_at = mono_add_ms(clock_mono(), FIRST_ROOM_MS);
    for (int i = 0; i < u->parallel && r == 0; i++)
        r = start_worker(u, upload_put_main, e);
    const struct storage_ops *ops = u->storage->ops;
    if (r == 0 && !ops->reserve_asks_nobody)
        r = start_worker(u, upload_reserve_main, e);
    if (r == 0 && (ops->archive || ops->star || ops->tend || ops->free_bytes))
        r = start_worker(u, upload_errand_main, e);
    return r;
}

static void upload_fini(void *self)
{
    struct upload_self *u = self;
    pthread_mutex_lock(&u->lock);
    u->ended = true;
    pthread_cond_broadcast(&u->work);
    pthread_mutex_unlock(&u->lock);
    if (u->stop_fd >= 0)
        cut_calls(u);
    for (int i = 0; i < u->worker_count; i++) {
        pthread_join(u->workers[i].thread, NULL);
        if (u->workers[i].session)
            u->storage->ops->session_free(u->workers[i].session);
    }
    if (u->own.session)
        u->storage->ops->session_free(u->own.session);
    if (u->ledger && u->slots)
        upload_collect(u);
    for (int i = 0; i < u->slot_count; i++)
        snapshot_unref(u->slots[i].snapshot);
    upload_free_batch(u);
    free(u->slots);
    free(u->workers);
    settings_unref(STEAL(u->settings));
    ledger_close(u->side);
    ledger_close(u->ledger);
    if (u->stop_fd >= 0)
        (void)close(u->stop_fd);
    pthread_cond_destroy(&u->work);
    pthread_mutex_destroy(&u->side_lock);
}

void *upload_stage_new(struct pipeline *p, struct storage *s)
{
    struct upload_self *u = xcalloc(1, sizeof(*u));
    u->pipeline = p;
    u->storage = s;
    u->stop_fd = -1;
    u->own.upload = u;
    u->shown.free_bytes = -1;
    u->plan.parallel = 4; /* as the key's default, for a storage without a plan */
    u->plan.order = STORAGE_OLDEST_FIRST;
    pthread_mutex_init(&u->lock, NULL); /* stays for the status, and holds nothing */
    pthread_mutex_init(&u->side_lock, NULL);
    pthread_cond_init(&u->work, NULL);
    return u;
}

void upload_stage_status(void *self, struct storage_status *ret)
{
    struct upload_self *u = self;
    struct storage_state state = {0};
    u->storage->ops->describe(u->storage, &state);
    pthread_mutex_lock(&u->lock);
    *ret = u->shown;
    pthread_mutex_unlock(&u->lock);
    text_copy(ret->state, sizeof(ret->state), state.text);
    text_copy(ret->url, sizeof(ret->url), state.url);
    if (!ret->error[0])
        text_copy(ret->error, sizeof(ret->error), state.error);
}

const struct stage_ops upload_stage = {
    .name = "upload",
    .register_metrics = upload_register_metrics,
    .init = upload_init,
    .sweep = upload_sweep,
    .fd = upload_fd,
    .ready = upload_ready,
    .idle = upload_idle,
    .fini = upload_fini,
};
