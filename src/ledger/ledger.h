#pragma once
/* The truth: one SQLite database (WAL, synchronous=FULL) beside the picture files. Each thread
 * opens its own `struct ledger`. There is one writer function per transition; each commits one
 * transaction, so state and the work that it creates appear together or not at all. Functions
 * return 0 or a negative errno with the story in `e`; -ENOSPC and -EBUSY are ERR_LATER. */

#include <stdbool.h>
#include <stdint.h>

#include "base/dynbuf.h"
#include "base/err.h"
#include "model/snapshot.h"
#include "model/trigger.h"
#include "model/verdict.h"

struct ledger;

#define LEDGER_VERSION 5 /* schema; migrations run upwards at open */

/* Opens, creating and migrating when needed. A damaged database gives -EUCLEAN with a text that
 * says how to go on; one of a newer version -ENOTSUP. */
int ledger_open(const char *path, struct ledger **ret, struct err *e);
void ledger_close(struct ledger *l);
DEFINE_AUTO(ledger, ledger_close)

/* Wall time that does not jump while the process runs: the wall clock at the first call plus the
 * monotonic time since. Use it for `now` and `not_before` here, so that setting the clock neither
 * starts a storm of retries nor stops them. A wait further ahead than LEDGER_WAIT_MAX_S can only
 * come from a clock that was set back between two runs; such a row counts as due. */
struct wall_time ledger_now(void);
#define LEDGER_WAIT_MAX_S 3600 /* retries are clamped to it: no back-off is longer */

/* Transitions between the two calls share one commit, so that many cost what one does; each may
 * still fail alone. None of them counts before ledger_group_end() said 0. */
int ledger_group_begin(struct ledger *l, struct err *e);
int ledger_group_end(struct ledger *l, struct err *e);

/* PRAGMA integrity_check plus our own invariants (no orphan rows, states legal, paths unique).
 * Appends a line per finding; returns the number of findings or a negative errno. */
int ledger_integrity(struct ledger *l, struct dynbuf *report, struct err *e);

/* Saves what can be read of a damaged ledger into a new file, which must not exist; the damaged one
 * is not changed. Gaps: places where rows could not be read. */
struct ledger_rescue {
    int64_t rows, snapshots, gaps;
};
int ledger_rescue(const char *from_path, const char *to_path, struct ledger_rescue *ret,
                  struct err *e);

/* ---- triggers ---- */

/* Makes a trigger durable; fills t->row and t->state. The same id again gives -EEXIST and changes
 * nothing: for who repeats a message that is success. Only id, camera, device, origin, the times
 * and, with an address, address and login are taken; a not_before of 0 means accepted_at. */
int ledger_trigger_add(struct ledger *l, struct trigger *t, struct err *e);
/* Pending triggers with not_before <= now, one per camera (a camera is asked one thing at a time,
 * and one that is dead for long must not crowd out the others), longest due first, at most `max`.
 * Returns the count. */
int ledger_trigger_due(struct ledger *l, struct wall_time now, struct trigger *ret, int max,
                       struct err *e);
/* Earliest not_before of pending triggers; -ENOENT when none is pending. */
int ledger_trigger_next(struct ledger *l, struct wall_time *ret, struct err *e);
/* Both count one more attempt and remember why it failed. -EALREADY when the trigger is no longer
 * pending. */
int ledger_trigger_retry(struct ledger *l, const struct trigger *t, struct wall_time not_before,
                         const char *why, struct err *e);
int ledger_trigger_fail(struct ledger *l, const struct trigger *t, const char *why, struct err *e);
/* A word for the life story of a trigger and the snapshot that comes of it ("stale"): what happened
 * on the way and ended nothing. */
int ledger_trigger_note(struct ledger *l, const struct trigger *t, const char *what,
                        const char *detail, struct err *e);
int ledger_trigger_get(struct ledger *l, const char *id, struct trigger *ret,
                       struct err *e); /* -ENOENT */

/* ---- snapshots ---- */

/* Intake: records a stored snapshot and finishes its trigger (same id; none for pushed pictures).
 * Fills s->row, s->state. -EEXIST when this id is recorded already (a repeat after a crash);
 * -ENOTUNIQ when the path, or one that it may be renamed to, was taken meanwhile: choose another
 * and repeat; -EALREADY when its trigger was given up before. */
int ledger_snapshot_add(struct ledger *l, struct snapshot *s, struct err *e);

/* Wanted of a picture by one storage. */
struct upload_wish {
    const char *storage;
    bool picture, annotated;
};

/* Detect: records the verdict, the new file names, one outbox row per destination and one upload
 * job per wanted file and storage, in one transaction. `new_path` NULL or equal to s->path: not
 * renamed; `annotated_path` NULL or "": none; `destinations` is NULL-terminated, NULL for none.
 * `wishes` may be NULL when their count is 0. The copy need not be there yet. With a new name
 * or an annotated copy the row is unsettled until ledger_settle(). -EALREADY when another worker
 * was first, -ENOENT when the row is gone, -ENOTUNIQ when another snapshot holds a new name. */
int ledger_snapshot_examined(struct ledger *l, const struct snapshot *s, const struct verdict *v,
                             const char *new_path, const char *annotated_path,
                             const char *const *destinations, const struct upload_wish *wishes,
                             size_t wish_count, struct err *e);

/* Snapshots in state STORED, by ascending row above `after_row`, at most `max`; each *ret[i] is a
 * new reference without bytes. Returns the count. */
int ledger_backlog(struct ledger *l, int64_t after_row, struct snapshot **ret, int max,
                   struct err *e);

/* 1 when the row waits for detection, 0 when it is examined or gone. */
int ledger_snapshot_is_stored(struct ledger *l, int64_t row, struct err *e);

int ledger_snapshot_get(struct ledger *l, const char *id, struct snapshot **ret,
                        struct err *e); /* -ENOENT */
int ledger_verdict_get(struct ledger *l, const char *id, struct verdict *ret,
                       struct err *e); /* -ENOENT before */

struct ledger_filter {
    const char *camera;        /* NULL = any */
    const char *label;         /* has a detection of it (exact name), NULL = any */
    double confidence_min;     /* of that label (or of any one), 0 = any */
    int person;                /* 1 only with, 0 only without, -1 any */
    int starred;               /* 1 only with a star, -1 only without, 0 any */
    struct wall_time from, to; /* event_at, [from, to); 0 = open */
    const char *state;         /* state name or NULL */
};
/* Newest first by (event_at, row). `before` pages by key: both 0 at first, then values of the last
 * row. */
struct ledger_page_key {
    struct wall_time event_at;
    int64_t row;
};
int ledger_snapshot_page(struct ledger *l, const struct ledger_filter *filter,
                         struct ledger_page_key before, struct snapshot **ret, int max,
                         struct err *e);

/* ---- life story ---- */

struct ledger_story {
    struct wall_time at;
    char what[32]; /* "triggered", "fetched", "stored", "examined", "delivered", "failed", ... */
    char detail[256];
};
/* What happened to a snapshot, or to a trigger that has none yet, in order of time, at most `max`.
 * Returns the count; -ENOENT when neither is known. */
int ledger_story(struct ledger *l, const char *id, struct ledger_story *ret, int max,
                 struct err *e);

/* ---- outbox ---- */

struct outbox_item {
    int64_t row;
    char snapshot_id[SNAPSHOT_ID_SIZE];
    char camera[SNAPSHOT_KEY_MAX];
    int attempts;
    struct wall_time created_at;
};
/* Due rows of one destination: one of each camera in turn, each camera's in the order they were
 * made, so that events arrive in order per camera and a camera with a long backlog does not hold
 * up the new event of another. A camera whose earlier row waits is left out. Returns the count. */
int ledger_outbox_due(struct ledger *l, const char *destination, struct wall_time now,
                      struct outbox_item *ret, int max, struct err *e);
/* When the next row of the destination becomes due (a past time when one is); -ENOENT when none is
 * pending. */
int ledger_outbox_next(struct ledger *l, const char *destination, struct wall_time *ret,
                       struct err *e);
/* Gives up pending rows of a destination: those made before `before` (0 = no such limit) and the
 * oldest beyond the `keep` newest (0 = all may stay). A bounded number at a time, in one
 * transaction. Returns how many; 0 costs a look. */
int ledger_outbox_expire(struct ledger *l, const char *destination, struct wall_time before,
                         int64_t keep, struct err *e);
/* All in one transaction; rows that are done already are passed over. */
int ledger_outbox_done(struct ledger *l, const struct outbox_item *items, int count, struct err *e);
/* Both count one more attempt. -EALREADY when the row is no longer pending. A dead row no longer
 * holds up its camera. */
int ledger_outbox_retry(struct ledger *l, const struct outbox_item *item,
                        struct wall_time not_before, const char *why, struct err *e);
int ledger_outbox_dead(struct ledger *l, const struct outbox_item *item, const char *why,
                       struct err *e);

/* ---- files that a crash may have left half-way ---- */

/* Examined snapshots whose rename or annotated copy may be unfinished, by ascending row. (Whether a
 * new picture was moved to its path needs no mark: until then it is in .incoming.) */
struct ledger_unsettled {
    int64_t row;
    char id[SNAPSHOT_ID_SIZE];
    char previous_path[SNAPSHOT_PATH_MAX]; /* "" when it was not renamed */
    char path[SNAPSHOT_PATH_MAX];
    char annotated_path[SNAPSHOT_PATH_MAX];
};
int ledger_unsettled(struct ledger *l, int64_t after_row, struct ledger_unsettled *ret, int max,
                     struct err *e);
/* 1 when the snapshot of this id is unsettled, else 0. */
int ledger_unsettled_get(struct ledger *l, const char *id, struct ledger_unsettled *ret,
                         struct err *e);
/* Marks rows whose files are in place and synced, one transaction; call it for many at once. */
int ledger_settle(struct ledger *l, const int64_t *rows, int count, struct err *e);
/* The annotated copy of this row is to be drawn again. 1, or 0 when it has none or its picture is
 * not here. */
int ledger_unsettle(struct ledger *l, int64_t row, struct err *e);
/* The annotated copy that an unsettled row names can never be drawn: the row names none any more.
 */
int ledger_annotation_drop(struct ledger *l, int64_t row, struct err *e);
/* True (1) when a snapshot of this id is recorded. */
int ledger_snapshot_exists(struct ledger *l, const char *id, struct err *e);
/* 1 when a recorded snapshot uses this path, or one that differs from it only in a leading "fetch",
 * "human" or "detect" of the file name: a picture may move between those. */
int ledger_path_taken(struct ledger *l, const char *path, struct err *e);
/* 1 when exactly this path is recorded as that of a picture or copy that is here (not removed), or
 * as the one that a picture has until its rename, which a crash may have left to do. */
int ledger_path_named(struct ledger *l, const char *path, struct err *e);

/* ---- pictures that cameras push ---- */

/* 1 when a pushed picture must not have this path: it, or the annotated copy that it may get, is
 * recorded already, or may become that of a picture that differs in its extension only. */
int ledger_push_name_taken(struct ledger *l, const char *path, struct err *e);
/* 1 when this camera has pushed the same bytes for the same moment: an upload that it repeats
 * because our answer got lost. `ret_id` names the first. */
int ledger_push_twin(struct ledger *l, const struct snapshot *s, char ret_id[SNAPSHOT_ID_SIZE],
                     struct err *e);
/* A word for the life story of an id that has no row and will have none (a file that is no
 * picture), whether there is one, and its end. */
int ledger_note(struct ledger *l, const char *id, const char *what, const char *detail,
                struct err *e);
int ledger_noted(struct ledger *l, const char *id, struct err *e);
int ledger_note_drop(struct ledger *l, const char *id, struct err *e);

/* Whether a write would be durable now: commits one that changes nothing. Waits its turn as all. */
int ledger_probe(struct ledger *l, struct err *e);

/* ---- numbers for status and metrics ---- */

struct ledger_counts {
    int64_t triggers_pending, triggers_failed;
    int64_t snapshots, stored, examined, persons; /* persons: snapshots with at least one */
    int64_t outbox_pending, outbox_dead;
};
int ledger_counts(struct ledger *l, struct ledger_counts *ret, struct err *e);

struct outbox_counts {
    int64_t pending, dead;
    struct wall_time oldest_pending; /* 0 = none */
};
/* Of one destination; zeros for one that never had a row. */
int ledger_outbox_counts(struct ledger *l, const char *destination, struct outbox_counts *ret,
                         struct err *e);
