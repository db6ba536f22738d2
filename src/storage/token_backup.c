#include "storage/token_backup.h"

#include <errno.h>
#include <string.h>

#include "storage/google_token.h"

#define HOUR_S 3600
#define FIRST_S 600 /* minute 10, as the predecessor's cron */
#define SECOND_S 2400
#define AHEAD_MAX_S 86400 /* a time further off was written by a wrong clock */

const char *const token_backup_outcome_names[TOKEN_BACKUP_OUTCOME_COUNT] = {
    [TOKEN_BACKUP_NOTHING] = "nothing", [TOKEN_BACKUP_SAME] = "same",
    [TOKEN_BACKUP_SAVED] = "saved",     [TOKEN_BACKUP_RESTORED] = "restored",
    [TOKEN_BACKUP_LEFT] = "left",
};

static int restore(const char *path, const struct blob *there, enum token_backup_outcome *ret,
                   struct err *e);
static bool is_better(const struct google_token *here, const struct google_token *there);

int token_backup_turn(const struct token_backup_store *store, const char *token_file,
                      enum token_backup_outcome *ret_outcome, struct err *e)
{
    AUTO(google_token) here = NULL;
    AUTO(google_token) copied = NULL;
    AUTO(blob) there = NULL;
    bool missing = google_token_is_missing(token_file);
    int r = missing ? 0 : google_token_read(token_file, &here, e);
    if (r < 0)
        return r;
    r = store->get(store->arg, TOKEN_BACKUP_KEY, &there, e);
    if (r < 0 && r != -ENOENT)
        return err_prefix(e, "the copy of the login");
    if (missing)
        return restore(token_file, there, ret_outcome, e);

    bool usable =
        there && google_token_parse((const char *)there->data, there->size, &copied, NULL) == 0;
    if (here->invalid || (usable && !copied->invalid && !is_better(here, copied))) {
        *ret_outcome = usable && google_token_is_same_login(here, copied) ? TOKEN_BACKUP_SAME
                                                                          : TOKEN_BACKUP_LEFT;
        return 0;
    }
    AUTO_FREE char *text = google_token_text(here);
    if (!text)
        return err_set(e, -ENOMEM, ERR_LATER, "the copy of the login: no memory");
    r = store->put(store->arg, TOKEN_BACKUP_KEY, text, strlen(text), e);
    explicit_bzero(text, strlen(text));
    if (r < 0)
        return err_prefix(e, "the copy of the login");
    *ret_outcome = TOKEN_BACKUP_SAVED;
    return 0;
}

static int restore(const char *path, const struct blob *there, enum token_backup_outcome *ret,
                   struct err *e)
{
    AUTO(google_token) t = NULL;
    if (!there) {
        *ret = TOKEN_BACKUP_NOTHING;
        return 0;
    }
    int r = google_token_parse((const char *)there->data, there->size, &t, e);
    if (r < 0)
        return err_prefix(e, "the copy of the login is none and is not taken");
    r = google_token_restore(path, (const char *)there->data, there->size, e);
    if (r < 0 && r != -EEXIST)
        return r;
    err_clear(e);
    /* While the copy was on its way somebody logged in: that is newer. */
    *ret = r == 0 ? TOKEN_BACKUP_RESTORED : TOKEN_BACKUP_LEFT;
    return 0;
}

/* Without a time nothing is known of when a login was last in use; it gets one when it is
 * renewed. */
static bool is_better(const struct google_token *here, const struct google_token *there)
{
    int64_t believed_us = clock_wall().us + AHEAD_MAX_S * 1000000LL;
    int64_t copied_us = there->expires.us > believed_us ? 0 : there->expires.us;
    return here->expires.us > copied_us && here->expires.us <= believed_us;
}

struct wall_time token_backup_next(struct wall_time now)
{
    int64_t s = wall_seconds(now), hour = s - s % HOUR_S;
    int64_t next = s - hour < FIRST_S    ? hour + FIRST_S
                   : s - hour < SECOND_S ? hour + SECOND_S
                                         : hour + HOUR_S + FIRST_S;
    return wall_from_seconds(next);
}
