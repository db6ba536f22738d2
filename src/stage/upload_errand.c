/* Upload: what has to be done beside files, in turns: when it is due, and what comes of it. */

#include "stage/upload_internal.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "stage/upload_object.h"

#define ARCHIVE_MS 86400000
#define ROOM_MS 600000

static void ask_errand(struct upload_self *u)
{
    pthread_mutex_lock(&u->lock);
    u->errand.state = ERRAND_ASKED;
    pthread_cond_broadcast(&u->work);
    pthread_mutex_unlock(&u->lock);
}

enum errand_state upload_errand_state(struct upload_self *u)
{
    pthread_mutex_lock(&u->lock);
    enum errand_state state = u->errand.state;
    pthread_mutex_unlock(&u->lock);
    return state;
}

/* The next star to be told, into the errand. Those that failed are passed over for this round. */
static bool find_star(struct upload_self *u)
{
    struct errand *x = &u->errand;
    struct err e = {0};
    int n = ledger_upload_stars(u->ledger, u->storage->name, u->star_after, &x->job, 1, &e);
    if (n < 0 || (n == 0 && u->star_after > 0)) {
        u->star_after = 0;
        u->stars_at = mono_add_ms(clock_mono(), UPLOAD_ERRAND_AGAIN_MS);
    }
    if (n == 1 && !u->storage->ops->star) {                    /* nobody there wants to know */
        (void)ledger_upload_star_done(u->ledger, &x->job, &e); /* else the next sweep does */
        return false;
    }
    if (n == 1)
        upload_mark_read(x->job.mark, &x->mark);
    return n == 1;
}

static bool may_serve(struct upload_self *u)
{
    return upload_is_well(u) && !u->paused;
}

static bool is_due(struct upload_self *u, enum errand_kind kind)
{
    const struct storage_ops *ops = u->storage->ops;
    switch (kind) {
    case ERRAND_TEND:
        return ops->tend && mono_passed(u->tend_at);
    case ERRAND_ROOM:
        return ops->free_bytes && may_serve(u) && mono_passed(u->room_at);
    case ERRAND_STAR:
        return may_serve(u) && mono_passed(u->stars_at) && find_star(u);
    case ERRAND_ARCHIVE:
        return ops->archive && may_serve(u) && mono_passed(u->archive_at);
    case ERRAND_KIND_COUNT:
        break;
    }
    return false;
}

/* The kinds take turns: many stars hold up no tidying, nor the other way round. */
void upload_find_errand(struct upload_self *u)
{
    if (u->ending || upload_errand_state(u) != ERRAND_NONE)
        return;
    enum errand_kind last = u->errand.kind;
    for (int i = 1; i <= ERRAND_KIND_COUNT; i++) {
        enum errand_kind kind = (enum errand_kind)(((int)last + i) % ERRAND_KIND_COUNT);
        if (!is_due(u, kind))
            continue;
        u->errand.kind = kind;
        ask_errand(u);
        return;
    }
}

/* Returns whether it is another one than before. */
static bool show_archive_error(struct upload_self *u, const char *text,
                               enum storage_trouble trouble)
{
    pthread_mutex_lock(&u->lock);
    bool news = strcmp(u->shown.archive_error, text) != 0;
    text_copy(u->shown.archive_error, sizeof(u->shown.archive_error), text);
    u->shown.archive_trouble = trouble;
    pthread_mutex_unlock(&u->lock);
    return news;
}

static struct mono_time errand_again(const struct errand *x)
{
    int64_t named = MIN(x->failure.pause_ms, (int64_t)UPLOAD_NAMED_MAX_MS);
    return mono_add_ms(clock_mono(), MAX(named, (int64_t)UPLOAD_ERRAND_AGAIN_MS));
}

static void end_archive(struct upload_self *u, const struct errand *x)
{
    if (x->code >= 0) {
        u->archive_at = mono_add_ms(clock_mono(), ARCHIVE_MS);
        (void)show_archive_error(u, "", STORAGE_WELL);
        if (x->code > 0)
            log_notice("archived", "%s: %d files put in their place", u->storage->name, x->code);
        return;
    }
    if (x->code == -EINPROGRESS) {
        u->archive_at = clock_mono();
        return;
    }
    u->archive_at = errand_again(x);
    if (x->code == -ECANCELED)
        return;
    if (show_archive_error(u, x->error.text, x->failure.trouble))
        log_warn("archive-failed", "%s: tidying: %s; again every 5 minutes", u->storage->name,
                 x->error.text);
}

static void end_star(struct upload_self *u, const struct errand *x)
{
    struct err e = {0};
    bool own = x->code < 0 && x->code != -ECANCELED && x->failure.trouble == STORAGE_WELL;
    bool given_up = own && x->error.retry == ERR_NEVER;
    if (given_up)
        log_warn("star-failed", "%s: the star of %s: %s", u->storage->name, x->job.snapshot_id,
                 x->error.text);
    if (x->code >= 0 || given_up) {
        if (ledger_upload_star_done(u->ledger, &x->job, &e) < 0)
            u->stars_at = errand_again(x);
    } else if (own) {
        log_info("star-failed", "%s: the star of %s: %s; trying again later", u->storage->name,
                 x->job.snapshot_id, x->error.text);
        u->star_after = x->job.row; /* the others first */
    } else {
        u->stars_at = errand_again(x);
    }
}

/* The figure stays when it cannot be had: the storage's trouble is told elsewhere. */
static void end_room(struct upload_self *u, const struct errand *x)
{
    u->room_at = mono_add_ms(clock_mono(), ROOM_MS);
    if (x->code < 0)
        return;
    pthread_mutex_lock(&u->lock);
    u->shown.free_bytes = x->free_bytes;
    pthread_mutex_unlock(&u->lock);
}

void upload_end_errand(struct upload_self *u)
{
    struct errand *x = &u->errand;
    switch (x->kind) {
    case ERRAND_TEND:
        u->tend_at = mono_add_ms(clock_mono(), MAX(x->again_ms, (int64_t)UPLOAD_SWEEP_MS));
        break;
    case ERRAND_ROOM:
        end_room(u, x);
        break;
    case ERRAND_STAR:
        end_star(u, x);
        break;
    case ERRAND_ARCHIVE:
        end_archive(u, x);
        break;
    case ERRAND_KIND_COUNT:
        break;
    }
    pthread_mutex_lock(&u->lock);
    x->state = ERRAND_NONE;
    pthread_mutex_unlock(&u->lock);
}
