/* Record: writes verdicts down and tells everybody. One thread.
 *
 * It is apart from the detect workers so that none of them waits for the disk while it could
 * examine the next picture, and so that verdicts that come together share one commit. The verdict,
 * the new file names and the outbox rows are one transaction; the renames follow it and are
 * repeated by store_recover() if we die between. An annotated copy is only promised here: drawing
 * it would hold up the verdict.
 *
 * A verdict that cannot be written down is let go, with its claim: the picture is still unexamined,
 * and the workers' sweep finds it again when the ledger has had its rest. */

#include "stage/pipeline.h"

#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "ledger/ledger_again.h"

#define SWEEP_MS 60000 /* nothing to sweep: the workers' sweep finds what was let go */
/* Copies to draw that wait on their edge; the annotate stage finds what does not fit. */
#define PROMISED_DEPTH 16

struct record_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct ledger *ledger;
    struct bus_out *out; /* copies to draw */
    struct judged *batch[STAGE_BATCH_MAX];
    int count;
};

static struct metric examined = {.name = "snapshotd_examined_total",
                                 .kind = METRIC_COUNTER,
                                 .label = "outcome",
                                 .help = "Pictures with a recorded verdict"};
static struct metric persons = {.name = "snapshotd_person_pictures_total",
                                .kind = METRIC_COUNTER,
                                .label = "camera",
                                .help = "Pictures with at least one person"};
static struct metric decode_seconds = {.name = "snapshotd_decode_seconds",
                                       .kind = METRIC_HISTOGRAM,
                                       .help = "Decoding and preprocessing of a picture"};
static struct metric infer_seconds = {.name = "snapshotd_infer_seconds",
                                      .kind = METRIC_HISTOGRAM,
                                      .help = "Run of the model on a picture"};
static struct metric record_seconds = {.name = "snapshotd_event_to_record_seconds",
                                       .kind = METRIC_HISTOGRAM,
                                       .help = "From the last byte of a picture to its verdict"};

static void register_metrics(void)
{
    metric_register(&examined);
    metric_register(&persons);
    metric_register(&decode_seconds);
    metric_register(&infer_seconds);
    metric_register(&record_seconds);
}

/* File names after the verdict: a person makes "fetch_" into "human_" and, beside it, "detect_". */
struct names {
    char path[SNAPSHOT_PATH_MAX];
    char annotated[SNAPSHOT_PATH_MAX]; /* "" = none; drawn by the annotate stage */
};

static void choose_names(const struct settings *now, const struct judged *j, struct names *ret)
{
    const struct snapshot *s = j->snapshot;
    text_copy(ret->path, sizeof(ret->path), s->path);
    ret->annotated[0] = '\0';
    if (verdict_persons(&j->verdict) == 0)
        return;
    /* A pushed picture keeps its name. */
    if (s->source == SNAPSHOT_FETCHED &&
        snapshot_name_renamed(s->path, "human", ret->path, sizeof(ret->path)) < 0)
        text_copy(ret->path, sizeof(ret->path), s->path);
    if (now->detect.annotate &&
        snapshot_name_annotated(s->path, ret->annotated, sizeof(ret->annotated)) < 0)
        ret->annotated[0] = '\0';
}

/* What the storages want of it; returns their count. */
static size_t choose_uploads(const struct settings *now, const struct judged *j, bool has_copy,
                             struct upload_wish ret[STORAGES_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < now->storage_count; i++) {
        const struct upload_rule *rule = &now->storages[i].rule;
        if (now->storages[i].paused)
            continue;
        struct upload_choice c = upload_rule_choose(rule, j->snapshot, &j->verdict, has_copy);
        if (c.picture || c.annotated)
            ret[count++] = (struct upload_wish){
                .storage = rule->storage, .picture = c.picture, .annotated = c.annotated};
    }
    return count;
}

/* The picture keeps its name: others may have it in hand under that. */
static int write_again(struct record_self *rec, const struct settings *now, const struct judged *j,
                       struct names *n, struct err *e)
{
    const struct snapshot *s = j->snapshot;
    char first[SNAPSHOT_PATH_MAX];
    text_copy(n->path, sizeof(n->path), s->path);
    text_copy(n->annotated, sizeof(n->annotated), s->annotated_path);
    snapshot_name_original(s, first);
    if (verdict_persons(&j->verdict) == 0)
        n->annotated[0] = '\0';
    else if (!n->annotated[0] && now->detect.annotate &&
             snapshot_name_annotated(first, n->annotated, sizeof(n->annotated)) < 0)
        n->annotated[0] = '\0';
    int r = ledger_again_examined(rec->ledger, s, &j->verdict, n->annotated, e);
    if (r != -ENOTUNIQ)
        return r;
    n->annotated[0] = '\0';
    return ledger_again_examined(rec->ledger, s, &j->verdict, NULL, e);
}

/* One transition, within the group. Positive: the old copy is to go. */
static int write_verdict(struct record_self *rec, const struct settings *now,
                         const struct judged *j, struct names *n, struct err *e)
{
    struct upload_wish wishes[STORAGES_MAX];
    if (j->snapshot->again)
        return write_again(rec, now, j, n, e);
    choose_names(now, j, n);
    size_t count = choose_uploads(now, j, n->annotated[0], wishes);
    int r = ledger_snapshot_examined(rec->ledger, j->snapshot, &j->verdict, n->path, n->annotated,
                                     now->destinations, wishes, count, e);
    if (r != -ENOTUNIQ)
        return r;
    /* Cannot be, paths are chosen with this in mind; keep the first name. */
    log_error("name-taken", "%s; the picture keeps its first name", e->text);
    text_copy(n->path, sizeof(n->path), j->snapshot->path);
    n->annotated[0] = '\0';
    count = choose_uploads(now, j, false, wishes);
    return ledger_snapshot_examined(rec->ledger, j->snapshot, &j->verdict, NULL, NULL,
                                    now->destinations, wishes, count, e);
}

/* Renames after the commit. What fails here is repeated by intake's sweep. */
static void move_file(struct record_self *rec, const struct snapshot *s, const struct names *n)
{
    struct store *store = rec->pipeline->store;
    struct err e = {0};
    /* Intake may have been unable to put it in place. */
    int r = store_place(store, s->id, false, s->path, &e);
    if (r == -ENOENT) /* a settle was quicker with the rename */
        r = 0;
    if (r == 0 && strcmp(s->path, n->path) != 0)
        r = store_rename(store, s->path, n->path, &e);
    if (r < 0)
        log_error("place-failed", "%s; trying again", e.text);
}

/* What fails here is repeated by the detect workers' sweep. */
static void clear_copy(struct record_self *rec, const struct snapshot *s)
{
    struct err e = {0};
    if (pipeline_clear_copy(rec->pipeline, rec->ledger, s, &e) < 0)
        log_error("copy-failed", "remove an old copy with boxes: %s; trying again", e.text);
}

/* Takes the id. */
static void ask_for_copy(struct record_self *rec, char *item)
{
    if (bus_send(rec->out, item, free) < 0)
        free(item); /* the stage is busy; its sweep finds the row */
}

static void report(struct record_self *rec, const struct snapshot *s, const struct verdict *v)
{
    metric_inc(&examined, verdict_outcome_names[v->outcome]);
    if (verdict_persons(v))
        metric_inc(&persons, s->camera);
    if (v->outcome == VERDICT_EXAMINED) {
        metric_observe(&decode_seconds, NULL, v->decode_ms / 1000);
        metric_observe(&infer_seconds, NULL, v->infer_ms / 1000);
    }
    if (!s->again)
        metric_observe(&record_seconds, NULL,
                       (double)MAX(clock_wall().us - s->received_at.us, (int64_t)0) / 1e6);
    stage_count_done(rec->stage);
    char detail[VERDICT_DETAIL_MAX];
    log_info("examined", "%s: %s", verdict_outcome_names[v->outcome],
             verdict_persons(v) ? verdict_detail(v, detail)
             : v->error[0]      ? v->error
                                : "no person");
}

static void ledger_failed(struct record_self *rec, const struct err *e)
{
    log_error("ledger-failed", "record a verdict: %s; trying again in %d s", e->text,
              PIPELINE_LEDGER_REST_MS / 1000);
    stage_count_failed(rec->stage, e->text);
    pipeline_rest_ledger(rec->pipeline);
}

static void log_about(const struct judged *j)
{
    log_context_camera(j ? j->snapshot->camera : NULL);
    log_context_snapshot(j ? j->snapshot->id : NULL);
}

/* All of the batch in one commit. codes[i] is not negative for what is recorded now. */
static void commit(struct record_self *rec, struct names *names, int *codes)
{
    AUTO(settings) now = pipeline_settings(rec->pipeline);
    struct err e = {0};
    int r = ledger_group_begin(rec->ledger, &e);
    bool began = r == 0;
    for (int i = 0; i < rec->count; i++) {
        log_about(rec->batch[i]);
        struct err why = {0};
        codes[i] = r < 0 ? r : write_verdict(rec, now, rec->batch[i], &names[i], &why);
        if (codes[i] < 0 && codes[i] != -EALREADY && r == 0)
            ledger_failed(rec, &why);
    }
    if (began)
        r = ledger_group_end(rec->ledger, &e);
    log_about(NULL);
    if (r == 0)
        return;
    ledger_failed(rec, &e);
    for (int i = 0; i < rec->count; i++)
        codes[i] = r;
}

static void record_flush(void *self)
{
    struct record_self *rec = self;
    struct thumbnail_wishes *wishes = rec->pipeline->thumbnail_wishes;
    struct names names[STAGE_BATCH_MAX];
    int codes[STAGE_BATCH_MAX];
    FAULT_POINT("record-before-commit");
    commit(rec, names, codes);
    FAULT_POINT("record-after-commit");
    for (int i = 0; i < rec->count; i++) {
        struct judged *j = rec->batch[i];
        char *promised = NULL;
        log_about(j);
        if (codes[i] >= 0) {
            if (codes[i] > 0)
                clear_copy(rec, j->snapshot);
            if (!j->snapshot->again)
                move_file(rec, j->snapshot, &names[i]);
            report(rec, j->snapshot, &j->verdict);
            pipeline_outcome(rec->pipeline, j->snapshot->id);
            pipeline_tell(rec->pipeline, NEWS_EXAMINED, j->snapshot->id);
            if (pipeline_thumbnails_early(rec->pipeline))
                thumbnail_wishes_offer(wishes, j->snapshot->id, THUMBNAIL_WIDTH_SMALL);
            if (names[i].annotated[0])
                promised = xstrdup(j->snapshot->id);
        }
        judged_unref(
            STEAL(rec->batch[i])); /* drops the claim: nothing is drawn while one is held */
        if (promised)
            ask_for_copy(rec, promised);
    }
    log_about(NULL);
    rec->count = 0;
    pipeline_wake(rec->pipeline, PIPELINE_DELIVER);
    pipeline_wake(rec->pipeline, PIPELINE_UPLOAD);
    if (wishes && thumbnail_wishes_count(wishes, true) > 0) /* it waits for a rest like this one */
        pipeline_wake(rec->pipeline, PIPELINE_THUMBNAIL);
}

static void record_step(void *self, void *item)
{
    struct record_self *rec = self;
    rec->batch[rec->count++] = judged_ref(item);
}

static int64_t record_sweep(void *self UNUSED)
{
    return SWEEP_MS;
}

static int record_init(void *self, struct stage *st, struct err *e)
{
    struct record_self *rec = self;
    rec->stage = st;
    int r = ledger_open(rec->pipeline->ledger_path, &rec->ledger, e);
    if (r == 0)
        r = bus_out_open(rec->pipeline->bus, EDGE_PROMISED, 1, PROMISED_DEPTH, &rec->out, e);
    return r;
}

static void record_fini(void *self)
{
    struct record_self *rec = self;
    bus_out_close(rec->out);
    ledger_close(rec->ledger);
}

void *record_stage_new(struct pipeline *p)
{
    struct record_self *rec = xcalloc(1, sizeof(*rec));
    rec->pipeline = p;
    return rec;
}

const struct stage_ops record_stage = {
    .name = "record",
    .hang_ms = 120000, /* as intake: a batch of renames to sync */
    .register_metrics = register_metrics,
    .init = record_init,
    .step = record_step,
    .flush = record_flush,
    .sweep = record_sweep,
    .fini = record_fini,
};
