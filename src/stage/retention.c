#include "stage/retention.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "base/mem.h"
#include "base/text.h"
#include "ledger/ledger_trash.h"

/* Two commits for so many pictures. */
#define BATCH 64
/* Pictures come in the order of their rows but for those that were under way together. */
#define SLACK_US (3600 * (int64_t)1000000)
/* Space is measured again after what should have been enough: how large copies are is a guess. */
#define ROUNDS_MAX 4
/* Above the reserve: what comes in between two looks. */
#define FILLING_MARGIN_MAX ((int64_t)64 << 20)
/* Folders of days that may still get pictures stay, and rows that hold a name in one. */
#define FOLDER_AGE_US (48 * 3600 * (int64_t)1000000)
/* Rows of a dry run are remembered in a bit each; a ledger beyond that counts some twice. */
#define CHOSEN_MAX ((int64_t)1 << 30)
/* Rows of history that a dry run counts. */
#define HISTORY_MAX 1000000
#define CAMERAS_MAX 4096

const char *const retention_rule_names[RETENTION_RULE_COUNT] = {
    [RETENTION_RULE_PLAIN_AGE] = "plain_age",
    [RETENTION_RULE_PERSON_AGE] = "person_age",
    [RETENTION_RULE_STARRED_AGE] = "starred_age",
    [RETENTION_RULE_PLAIN_PER_CAMERA] = "plain_per_camera",
    [RETENTION_RULE_PERSON_PER_CAMERA] = "person_per_camera",
    [RETENTION_RULE_STARRED_PER_CAMERA] = "starred_per_camera",
    [RETENTION_RULE_PLAIN_SIZE] = "plain_size",
    [RETENTION_RULE_PERSON_SIZE] = "person_size",
    [RETENTION_RULE_STARRED_SIZE] = "starred_size",
    [RETENTION_RULE_TOTAL_SIZE] = "total_size",
    [RETENTION_RULE_FREE_SPACE] = "free_space",
    [RETENTION_RULE_FILLING] = "filling",
    [RETENTION_RULE_BEGUN] = "begun",
    [RETENTION_RULE_TRASH] = "trash",
    [RETENTION_RULE_HISTORY] = "history_age",
};

static const struct retention_class classes[RETENTION_KIND_COUNT] = {
    [RETENTION_PLAIN] = {.starred = 0, .person = 0},
    [RETENTION_PERSON] = {.starred = 0, .person = 1},
    [RETENTION_STARRED] = {.starred = 1, .person = -1},
};

/* What a dry run has counted of one camera and class: the ledger's sums do not know it. */
struct tally {
    char camera[SNAPSHOT_KEY_MAX];
    int64_t files[RETENTION_KIND_COUNT];
};

struct run {
    const struct retention_options *o;
    struct retention_report *report;
    struct err *e;
    bool stopped;
    /* Of dry runs. */
    uint8_t *chosen; /* a bit per row */
    int64_t chosen_rows;
    int64_t chosen_bytes[RETENTION_KIND_COUNT];
    struct tally *tallies;
    size_t tally_count;
};

/* Which of the candidates, oldest first. */
struct want {
    enum retention_rule rule;
    enum retention_kind kind;
    const char *camera; /* NULL = all */
    bool undelivered;
    int64_t before_us;    /* by age: came before; else 0 */
    int64_t files, bytes; /* else so many, or so much, and no more */
    int64_t latest_us;    /* arrival of the latest seen so far */
    const char *why;
};

static int take(struct run *r, struct want *w);
static int run_begun(struct run *r);
static int run_ages(struct run *r);
static int run_per_camera(struct run *r);
static int run_sizes(struct run *r);
static int run_total_size(struct run *r);
static int run_space(struct run *r);
static int run_trash(struct run *r);
static int run_history(struct run *r);

int retention_run(const struct retention_options *o, struct retention_report *ret, struct err *e)
{
    static int (*const all[])(struct run *) = {run_begun, run_ages,       run_per_camera,
                                               run_sizes, run_total_size, run_trash,
                                               run_space, run_history};
    struct run r = {.o = o, .report = ret, .e = e};
    *ret = (struct retention_report){0};
    int code = 0;
    for (size_t i = 0; i < ARRAY_LEN(all) && code == 0 && !r.stopped; i++)
        code = all[i](&r);
    free(r.chosen);
    free(r.tallies);
    return code;
}

int64_t retention_filling_below(int64_t reserve)
{
    return reserve + MIN(reserve / 4, FILLING_MARGIN_MAX);
}

static bool is_wanted(const struct run *r, enum retention_rule rule)
{
    return (r->o->without & RETENTION_BIT(rule)) == 0;
}

static int64_t picture_bytes(const struct snapshot *s)
{
    return s->annotated_path[0] != '\0' ? 2 * s->size : s->size;
}

/* ---- the rules ---- */

static int run_ages(struct run *r)
{
    for (int kind = 0; kind < RETENTION_KIND_COUNT && !r->stopped; kind++) {
        int64_t age_ms = r->o->config->age_ms[kind];
        char span[TEXT_SPAN_MAX], why[96];
        if (age_ms == 0 || !is_wanted(r, RETENTION_RULE_PLAIN_AGE + kind))
            continue;
        (void)text_format(why, sizeof(why), "%s: older than %s",
                          retention_rule_names[RETENTION_RULE_PLAIN_AGE + kind],
                          text_span((double)age_ms / 1000, span)); /* fits */
        struct want w = {.rule = RETENTION_RULE_PLAIN_AGE + kind,
                         .kind = kind,
                         .before_us = r->o->now.us - age_ms * 1000 + 1,
                         .why = why};
        int code = take(r, &w);
        if (code < 0)
            return code;
    }
    return 0;
}

static struct tally *tally_of(struct run *r, const char *camera)
{
    for (size_t i = 0; i < r->tally_count; i++)
        if (strcmp(r->tallies[i].camera, camera) == 0)
            return &r->tallies[i];
    if (r->tally_count == CAMERAS_MAX)
        return NULL;
    r->tallies = xrealloc(r->tallies, (r->tally_count + 1) * sizeof(*r->tallies));
    struct tally *t = &r->tallies[r->tally_count++];
    *t = (struct tally){0};
    (void)text_copy(t->camera, sizeof(t->camera), camera); /* of one size */
    return t;
}

static int run_camera(struct run *r, const char *camera)
{
    for (int kind = 0; kind < RETENTION_KIND_COUNT && !r->stopped; kind++) {
        int64_t limit = r->o->config->per_camera[kind];
        struct retention_sums sums;
        if (limit == 0 || !is_wanted(r, RETENTION_RULE_PLAIN_PER_CAMERA + kind))
            continue;
        int code = ledger_retention_sums(r->o->ledger, &classes[kind], camera, &sums, r->e);
        if (code < 0)
            return code;
        const struct tally *t = r->o->dry_run ? tally_of(r, camera) : NULL;
        struct want w = {.rule = RETENTION_RULE_PLAIN_PER_CAMERA + kind,
                         .kind = kind,
                         .camera = camera,
                         .files = sums.files - limit - (t != NULL ? t->files[kind] : 0),
                         .why = retention_rule_names[RETENTION_RULE_PLAIN_PER_CAMERA + kind]};
        code = w.files > 0 ? take(r, &w) : 0;
        if (code < 0)
            return code;
    }
    return 0;
}

static int run_per_camera(struct run *r)
{
    const int64_t *limits = r->o->config->per_camera;
    if (limits[RETENTION_PLAIN] == 0 && limits[RETENTION_PERSON] == 0 &&
        limits[RETENTION_STARRED] == 0)
        return 0;
    char camera[SNAPSHOT_KEY_MAX] = "";
    int code;
    while ((code = ledger_retention_camera(r->o->ledger, camera, camera, r->e)) == 1) {
        code = run_camera(r, camera);
        if (code < 0 || r->stopped)
            break;
    }
    return MIN(code, 0);
}

static int run_sizes(struct run *r)
{
    for (int kind = 0; kind < RETENTION_KIND_COUNT && !r->stopped; kind++) {
        struct retention_sums sums;
        if (r->o->config->size[kind] == 0 || !is_wanted(r, RETENTION_RULE_PLAIN_SIZE + kind))
            continue;
        int code = ledger_retention_sums(r->o->ledger, &classes[kind], NULL, &sums, r->e);
        if (code < 0)
            return code;
        struct want w = {.rule = RETENTION_RULE_PLAIN_SIZE + kind,
                         .kind = kind,
                         .bytes = sums.bytes - r->o->config->size[kind] - r->chosen_bytes[kind],
                         .why = retention_rule_names[RETENTION_RULE_PLAIN_SIZE + kind]};
        code = w.bytes > 0 ? take(r, &w) : 0;
        if (code < 0)
            return code;
    }
    return 0;
}

/* Plain ones, then those with persons: `bytes` in all. Never those with a star. */
static int take_both(struct run *r, struct want w)
{
    int code = 0;
    for (int kind = RETENTION_PLAIN; kind <= RETENTION_PERSON && code == 0; kind++) {
        w.kind = kind;
        w.latest_us = 0;
        code = w.bytes > 0 && !r->stopped ? take(r, &w) : 0;
    }
    return code;
}

static int64_t chosen_bytes(const struct run *r)
{
    return r->chosen_bytes[RETENTION_PLAIN] + r->chosen_bytes[RETENTION_PERSON] +
           r->chosen_bytes[RETENTION_STARRED];
}

static int run_total_size(struct run *r)
{
    static const struct retention_class any = {-1, -1};
    struct retention_sums sums;
    if (r->o->config->total_size == 0 || !is_wanted(r, RETENTION_RULE_TOTAL_SIZE))
        return 0;
    int code = ledger_retention_sums(r->o->ledger, &any, NULL, &sums, r->e);
    if (code < 0)
        return code;
    return take_both(r,
                     (struct want){.rule = RETENTION_RULE_TOTAL_SIZE,
                                   .bytes = sums.bytes - r->o->config->total_size - chosen_bytes(r),
                                   .why = retention_rule_names[RETENTION_RULE_TOTAL_SIZE]});
}

/* -1 = not known: then nothing is removed for space. */
static int64_t free_now(struct run *r)
{
    int64_t bytes =
        r->o->free_bytes != NULL ? r->o->free_bytes(r->o->arg) : store_free_bytes(r->o->store);
    return bytes < 0 ? -1 : bytes + chosen_bytes(r);
}

static int make_room(struct run *r, int64_t target, struct want w)
{
    int64_t have = free_now(r);
    for (int round = 0; round < ROUNDS_MAX && !r->stopped && is_wanted(r, w.rule); round++) {
        int64_t before = r->report->bytes[w.rule];
        if (have < 0 || have >= target)
            return 0;
        w.bytes = target - have;
        int code = take_both(r, w);
        if (code < 0)
            return code;
        int64_t removed = r->report->bytes[w.rule] - before, now = free_now(r);
        if (removed == 0 || now - have < removed / 2)
            return 0; /* more of it would bring no more, or this comes later */
        have = now;
    }
    return 0;
}

static int64_t removed_pictures(const struct run *r)
{
    int64_t files = 0;
    for (int i = 0; i < RETENTION_RULE_HISTORY; i++)
        files += r->report->files[i];
    return files;
}

static int run_space(struct run *r)
{
    int64_t filling = retention_filling_below(r->o->reserve);
    int64_t have = free_now(r), target = r->o->config->free_space;
    /* Some more than what is short, so that the next look finds no reason at once. */
    if (have >= 0 && have < filling)
        target = MAX(target, filling + (filling - r->o->reserve));
    int code = make_room(r, target,
                         (struct want){.rule = RETENTION_RULE_FREE_SPACE,
                                       .why = retention_rule_names[RETENTION_RULE_FREE_SPACE]});
    if (code == 0 && removed_pictures(r) == 0)
        code = make_room(r, filling,
                         (struct want){.rule = RETENTION_RULE_FILLING,
                                       .undelivered = true,
                                       .why = "the disk was about to fill, and it had not reached "
                                              "all it should"});
    have = free_now(r);
    r->report->short_of_space = have >= 0 && have < filling;
    return code;
}

static int remove_pictures(struct run *r, enum retention_rule rule, enum leave_terms terms,
                           const char *why, struct snapshot *const *list, int count);
static int finish_removal(struct run *r, enum retention_rule rule, const char *why,
                          struct snapshot *const *list, int count);

static void unref_all(struct snapshot **list, int count)
{
    for (int i = 0; i < count; i++)
        snapshot_unref(list[i]);
}

static void tell(const struct run *r, enum retention_rule rule, const struct snapshot *s)
{
    if (r->o->picture != NULL)
        r->o->picture(r->o->arg, rule, s);
}

static void count_only(struct run *r, enum retention_rule rule, struct snapshot *const *list,
                       int count)
{
    r->report->files[rule] += count;
    for (int i = 0; i < count; i++) {
        r->report->bytes[rule] += picture_bytes(list[i]);
        tell(r, rule, list[i]);
    }
}

/* Their reason stands in the row. */
static int run_begun(struct run *r)
{
    struct snapshot *batch[BATCH];
    int64_t after = 0;
    int n = is_wanted(r, RETENTION_RULE_BEGUN) ? BATCH : 0;
    while (n == BATCH && !r->stopped) {
        n = ledger_leaving_next(r->o->ledger, after, batch, BATCH, r->e);
        if (n <= 0)
            return n;
        after = batch[n - 1]->row;
        int code = 0;
        if (r->o->dry_run)
            count_only(r, RETENTION_RULE_BEGUN, batch, n);
        else
            code = finish_removal(r, RETENTION_RULE_BEGUN, NULL, batch, n);
        unref_all(batch, n);
        if (code < 0)
            return code;
        r->stopped = r->o->progress != NULL && r->o->progress(r->o->arg);
    }
    return 0;
}

/* A file that cannot be removed is left to the next run; one look takes what is behind it. */
static int run_trash(struct run *r)
{
    struct wall_time before = {ledger_now().us - r->o->config->trash_keep_ms * 1000};
    struct snapshot *batch[BATCH];
    int n = is_wanted(r, RETENTION_RULE_TRASH) ? BATCH : 0;
    while (n == BATCH && !r->stopped) {
        n = ledger_trash_next(r->o->ledger, before, batch, BATCH, r->e);
        if (n <= 0)
            return n;
        int code = 0;
        if (r->o->dry_run)
            count_only(r, RETENTION_RULE_TRASH, batch, n);
        else
            code = remove_pictures(r, RETENTION_RULE_TRASH, LEAVE_TRASH, "deleted by a person",
                                   batch, n);
        unref_all(batch, n);
        if (code < 0 || r->o->dry_run)
            return code;
        r->stopped = r->o->progress != NULL && r->o->progress(r->o->arg);
    }
    return 0;
}

static int run_history(struct run *r)
{
    const struct retention_options *o = r->o;
    if (o->config->history_age_ms == 0 || !is_wanted(r, RETENTION_RULE_HISTORY))
        return 0;
    struct wall_time before = {o->now.us - o->config->history_age_ms * 1000 + 1};
    struct wall_time event_before = {o->now.us - FOLDER_AGE_US};
    int max = o->dry_run ? HISTORY_MAX : BATCH, n;
    AUTO_FREE int64_t *rows = xcalloc((size_t)max, sizeof(*rows));
    do {
        n = ledger_history_next(o->ledger, before, event_before, !o->keeps_files, rows, max, r->e);
        int code = n <= 0 || o->dry_run
                       ? n
                       : ledger_snapshot_removed(o->ledger, rows, n, "history_age", true, r->e);
        if (code < 0)
            return code;
        r->report->files[RETENTION_RULE_HISTORY] += n;
        r->stopped = o->progress != NULL && o->progress(o->arg);
    } while (n == max && !r->stopped && !o->dry_run);
    return 0;
}

/* ---- candidates ---- */

static bool is_chosen(const struct run *r, int64_t row)
{
    return row < r->chosen_rows && (r->chosen[row / 8] >> (row % 8) & 1) != 0;
}

static void choose(struct run *r, const struct want *w, const struct snapshot *s)
{
    if (s->row >= CHOSEN_MAX)
        return;
    if (s->row >= r->chosen_rows) {
        int64_t rows = MIN(MAX(2 * r->chosen_rows, s->row + 4096) / 8 * 8 + 8, CHOSEN_MAX);
        r->chosen = xrealloc(r->chosen, (size_t)(rows / 8));
        memset(r->chosen + r->chosen_rows / 8, 0, (size_t)((rows - r->chosen_rows) / 8));
        r->chosen_rows = rows;
    }
    r->chosen[s->row / 8] = (uint8_t)(r->chosen[s->row / 8] | 1u << (s->row % 8));
    r->chosen_bytes[w->kind] += picture_bytes(s);
    struct tally *t = tally_of(r, s->camera);
    if (t != NULL)
        t->files[w->kind]++;
}

enum decision { DECISION_KEEP, DECISION_TAKE, DECISION_STOP };

/* A clock that was behind for a while (no battery, before the first NTP answer) makes a picture
 * look old: it is as old as those before it at the most. One that was ahead makes it look new: it
 * stays, and does not end the walk. */
static enum decision by_age(const struct run *r, struct want *w, const struct snapshot *s)
{
    int64_t at = s->received_at.us;
    if (at > r->o->now.us)
        return DECISION_KEEP;
    w->latest_us = MAX(w->latest_us, at);
    if (w->latest_us >= w->before_us + SLACK_US)
        return DECISION_STOP;
    return w->latest_us < w->before_us ? DECISION_TAKE : DECISION_KEEP;
}

static enum decision decide(const struct run *r, struct want *w, const struct snapshot *s)
{
    /* Others are about to change these. */
    if (s->state != SNAPSHOT_EXAMINED || s->unsettled || is_chosen(r, s->row))
        return DECISION_KEEP;
    if (w->before_us != 0)
        return by_age(r, w, s);
    if (w->files <= 0 && w->bytes <= 0)
        return DECISION_STOP;
    w->files--;
    w->bytes -= picture_bytes(s);
    return DECISION_TAKE;
}

/* Of one batch; true in *ret_end when there is nothing more to take. */
static int take_batch(struct run *r, struct want *w, struct snapshot *const *batch, int n,
                      bool *ret_end)
{
    struct snapshot *taken[BATCH];
    int count = 0;
    for (int i = 0; i < n && !*ret_end; i++) {
        enum decision d = decide(r, w, batch[i]);
        *ret_end = d == DECISION_STOP;
        if (d != DECISION_TAKE)
            continue;
        taken[count++] = batch[i];
        if (r->o->dry_run)
            choose(r, w, batch[i]);
    }
    if (!r->o->dry_run)
        return remove_pictures(r, w->rule,
                               w->kind == RETENTION_STARRED ? LEAVE_ANY : LEAVE_UNSTARRED, w->why,
                               taken, count);
    count_only(r, w->rule, taken, count);
    return 0;
}

static int take(struct run *r, struct want *w)
{
    struct snapshot *batch[BATCH];
    int64_t after = 0;
    bool end = false;
    while (!end && !r->stopped) {
        int n =
            ledger_retention_next(r->o->ledger, &classes[w->kind], w->camera, (struct wall_time){0},
                                  !w->undelivered, after, batch, BATCH, r->e);
        if (n <= 0)
            return n;
        after = batch[n - 1]->row;
        int code = take_batch(r, w, batch, n, &end);
        for (int i = 0; i < n; i++)
            snapshot_unref(batch[i]);
        if (code < 0)
            return code;
        r->stopped = r->o->progress != NULL && r->o->progress(r->o->arg);
    }
    return 0;
}

/* ---- removing ---- */

static int unlink_files(struct store *s, const struct snapshot *snap, struct err *e)
{
    int r = snap->annotated_path[0] != '\0' ? store_unlink(s, snap->annotated_path, e) : 0;
    return r < 0 ? r : store_unlink(s, snap->path, e);
}

/* A row that says "removed" must not stand over a file that a power cut brings back. A copy lies in
 * the folder of its picture. */
static int sync_folders(struct store *s, struct snapshot *const *list, int count, struct err *e)
{
    for (int i = 0; i < count; i++) {
        bool known = false;
        for (int k = 0; k < i && !known; k++)
            known = store_same_folder(list[i]->path, list[k]->path);
        int r = known ? 0 : store_sync(s, list[i]->path, e);
        if (r < 0 && r != -ENOENT) /* the folder is gone and so are its files */
            return r;
    }
    return 0;
}

static void note_failure(struct run *r, const struct err *e)
{
    if (r->report->failed++ == 0)
        (void)text_copy(r->report->failure, sizeof(r->report->failure), e->text); /* of one size */
}

/* From here on nobody gives these pictures a star or new files, or takes them out of the trash. */
static int remove_pictures(struct run *r, enum retention_rule rule, enum leave_terms terms,
                           const char *why, struct snapshot *const *list, int count)
{
    struct snapshot *leaving[BATCH];
    int64_t rows[BATCH];
    assert(count <= BATCH);
    if (count == 0)
        return 0;
    for (int i = 0; i < count; i++)
        rows[i] = list[i]->row;
    int n = ledger_snapshot_leave(r->o->ledger, rows, count, terms, why, r->e);
    if (n < 0)
        return n;
    FAULT_POINT("retention-leaving");
    for (int i = 0, k = 0; i < count && k < n; i++)
        if (list[i]->row == rows[k])
            leaving[k++] = list[i];
    return finish_removal(r, rule, why, leaving, n);
}

/* A file that cannot be removed is tried again by the next run. */
static int finish_removal(struct run *r, enum retention_rule rule, const char *why,
                          struct snapshot *const *list, int count)
{
    struct store *store = r->o->store;
    struct snapshot *gone[BATCH];
    int64_t rows[BATCH], bytes = 0;
    int n = 0;
    assert(count <= BATCH);
    for (int i = 0; i < count; i++) {
        struct err e = {0};
        FAULT_POINT("retention-before-unlink");
        if (unlink_files(store, list[i], &e) < 0) {
            note_failure(r, &e);
            continue;
        }
        thumbnails_remove(r->o->thumbnails, list[i]);
        bytes += picture_bytes(list[i]);
        rows[n] = list[i]->row;
        gone[n++] = list[i];
    }
    if (n == 0)
        return 0;
    FAULT_POINT("retention-unlinked");
    int code = sync_folders(store, gone, n, r->e);
    if (code == 0)
        code = ledger_snapshot_removed(r->o->ledger, rows, n, why, false, r->e);
    if (code < 0)
        return code;
    FAULT_POINT("retention-removed");
    for (int i = 0; i < n; i++) {
        if (gone[i]->event_at.us < r->o->now.us - FOLDER_AGE_US)
            store_remove_folder(store, gone[i]->path);
        tell(r, rule, gone[i]);
    }
    r->report->files[rule] += n;
    r->report->bytes[rule] += bytes;
    return 0;
}
