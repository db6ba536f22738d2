/* Intake: makes a picture durable before anything expensive happens to it.
 *
 * Bytes to a synced temporary, then the row (which ends the trigger), then the rename: a crash at
 * any point leaves something that store_recover() finishes or discards. When the disk is full
 * nothing half-written stays, the trigger waits, and is asked for again later.
 *
 * A pushed picture has no trigger and cannot be asked for again: its file waits in the spool until
 * this stage has said what became of it. Its bytes are on the disk already; where that is the
 * store's, the temporary is a second name of the file.
 *
 * Pictures that come together share the sync of their names and the commit, which cost more than
 * all the rest; one alone does not wait for others. */

#include "stage/pipeline.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "picture/picture.h"
#include "sys/hash.h"

/* Live pictures waiting before each detect worker, beside the one it works on; for what does not
 * fit the workers are woken to look into the ledger. */
#define STORED_DEPTH 1
#define SWEEP_MS 10000
#define REFUSED_PAUSE_MS 5000 /* also the promise after freed space: new pictures within 5 s */

/* Bytes that are collected before they are recorded, ten pictures of usual size; one may have more.
 */
#define BATCH_BYTES (2 << 20)
/* Between two rounds of settling, however often somebody asks: each looks at all unsettled rows. */
#define SETTLE_PAUSE_MS 1000
/* Settled at a time: one transaction. */
#define SETTLE_BATCH 32
/* Names tried when others are quicker; nobody else makes names. */
#define NAME_TRIES 16

struct arrival {
    struct fetched *item;
    struct snapshot *snapshot;
    struct mono_time came;
    int code; /* how far it is: 0 = well so far, else why it is not recorded */
    struct err error;
};

struct intake_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct ledger *ledger;
    struct bus_out *out;
    struct arrival batch[STAGE_BATCH_MAX];
    int count;
    size_t bytes;                /* of the batch */
    struct mono_time durable_at; /* likewise */
    int64_t settled_to;          /* rows up to here were looked at in this round; 0 = it is over */
    struct mono_time settle_at;  /* when the next round may begin */
};

static struct metric stored = {.name = "snapshotd_stored_total",
                               .kind = METRIC_COUNTER,
                               .label = "camera",
                               .help = "Pictures made durable"};
static struct metric refused = {.name = "snapshotd_refused_total",
                                .kind = METRIC_COUNTER,
                                .label = "reason",
                                .help = "Pictures that intake could not take, by reason"};

static struct metric repeats = {.name = "snapshotd_push_repeats_total",
                                .kind = METRIC_COUNTER,
                                .label = "camera",
                                .help = "Pictures that a camera pushed again, the same bytes for "
                                        "the same moment, and that were dropped"};

static struct metric durable_seconds = {
    .name = "snapshotd_intake_seconds",
    .kind = METRIC_HISTOGRAM,
    .help = "From a picture's arrival at intake until file and row are durable"};
static struct metric last_picture = {
    .name = "snapshotd_camera_last_picture_timestamp_seconds",
    .kind = METRIC_GAUGE,
    .label = "camera",
    .help = "When a camera's last picture was received, in seconds since 1970"};

void intake_show_last_picture(const char *camera, struct wall_time at)
{
    if ((double)at.us / 1e6 > metric_value(&last_picture, camera))
        metric_set(&last_picture, camera, (double)at.us / 1e6);
}

static void register_metrics(void)
{
    metric_register(&durable_seconds);
    metric_register(&last_picture);
    metric_register(&stored);
    metric_register(&refused);
    metric_register(&repeats);
}

static int fill(struct snapshot *s, const struct fetched *f, const struct settings *now,
                struct err *e)
{
    struct picture_info info;
    int r = picture_probe(f->bytes->data, f->bytes->size, &now->limits, &info, e);
    if (r < 0)
        return r;
    const struct trigger *t = &f->trigger;
    text_copy(s->id, sizeof(s->id), t->id);
    text_copy(s->camera, sizeof(s->camera), t->camera);
    text_copy(s->device_key, sizeof(s->device_key), t->device_key);
    text_copy(s->device_label, sizeof(s->device_label), t->device_label);
    s->source = f->pushed ? SNAPSHOT_PUSHED : SNAPSHOT_FETCHED;
    s->event_at = t->event_at;
    s->received_at = f->received_at;
    s->size = (int64_t)f->bytes->size;
    hash_sha256_hex(f->bytes->data, f->bytes->size, s->sha256);
    text_copy(s->format, sizeof(s->format), picture_format_names[info.format]);
    s->width = info.width;
    s->height = info.height;
    s->orientation = info.orientation;
    s->fetch_ms = f->fetch_ms;
    s->bytes = blob_ref(f->bytes);
    return 0;
}

static void log_about(const struct arrival *a)
{
    log_context_camera(a ? a->item->trigger.camera : NULL);
    log_context_snapshot(a ? a->item->trigger.id : NULL);
}

static int write_bytes(struct intake_self *in, const struct arrival *a, struct err *e)
{
    const struct snapshot *s = a->snapshot;
    const struct pushed *pushed = a->item->pushed;
    struct store *store = in->pipeline->store;
    if (pushed && pushed->fd >= 0) {
        int r = store_link(store, s->id, pushed->fd, s->size, pushed->modified_ns, e);
        if (r != -EXDEV)
            return r;
        log_debug("not-linked", "%s; writing the bytes", e->text);
    }
    return store_write(store, s->id, s->bytes->data, s->bytes->size, e);
}

/* Puts the bytes where a crash finds them. */
static void keep_bytes(struct intake_self *in, struct arrival *a, const struct settings *now)
{
    struct snapshot *s = a->snapshot;
    a->code = fill(s, a->item, now, &a->error);
    /* A repeat must not touch the bytes of the first: they may still wait for their rename. */
    if (a->code == 0)
        a->code = ledger_snapshot_exists(in->ledger, s->id, &a->error);
    if (a->code == 1)
        a->code = -EEXIST;
    if (a->code == 0)
        a->code = write_bytes(in, a, &a->error);
}

static void fail_all(struct intake_self *in, int code, const struct err *e)
{
    for (int i = 0; i < in->count; i++) {
        if (in->batch[i].code == 0) {
            in->batch[i].code = code;
            in->batch[i].error = *e;
        }
    }
}

/* The names of what keep_bytes() wrote. */
static void keep_names(struct intake_self *in)
{
    bool any = false;
    struct err e = {0};
    for (int i = 0; i < in->count; i++)
        any = any || in->batch[i].code == 0;
    int r = any ? store_sync_written(in->pipeline->store, &e) : 0;
    if (r == 0)
        return;
    for (int i = 0; i < in->count; i++)
        if (in->batch[i].code == 0)
            store_discard(in->pipeline->store, in->batch[i].snapshot->id, false);
    fail_all(in, r, &e);
}

static int choose_path(struct intake_self *in, struct arrival *a)
{
    struct snapshot *s = a->snapshot;
    const struct fetched *f = a->item;
    struct store *store = in->pipeline->store;
    return f->pushed ? store_path_pushed(store, in->ledger, s, f->directory, f->pushed->name,
                                         s->path, sizeof(s->path), &a->error)
                     : store_path_fetched(store, in->ledger, s, f->directory, s->path,
                                          sizeof(s->path), &a->error);
}

/* A camera that did not hear our 226 pushes the picture once more. Asked within the transaction, so
 * that two of one batch are met as well. */
static int check_twin(struct intake_self *in, struct arrival *a)
{
    if (!a->item->pushed || !a->item->pushed->named)
        return 0;
    char first[SNAPSHOT_ID_SIZE];
    int r = ledger_push_twin(in->ledger, a->snapshot, first, &a->error);
    if (r != 1)
        return r;
    log_info("push-repeated", "\"%s\" was pushed before, it is snapshot %s; dropped",
             a->item->pushed->name, first);
    metric_inc(&repeats, a->snapshot->camera);
    return -EALREADY;
}

static void add_row(struct intake_self *in, struct arrival *a)
{
    struct snapshot *s = a->snapshot;
    struct store *store = in->pipeline->store;
    int r = check_twin(in, a);
    if (r == 0)
        r = -ENOTUNIQ;
    for (int i = 0; i < NAME_TRIES && r == -ENOTUNIQ; i++) {
        r = choose_path(in, a);
        if (r == 0) /* -ENOTUNIQ: another thread took the name between the two */
            r = ledger_snapshot_add(in->ledger, s, &a->error);
    }
    if (r == -EALREADY || r == -EINVAL || r == -ENOTUNIQ)
        store_discard(store, s->id, false);
    a->code = r;
}

/* After a commit that failed in the disk it is not known whether the rows will be there after a
 * crash: then the bytes must be, too. Recovery or the next attempt clears what is left. */
static void record(struct intake_self *in)
{
    struct err e = {0};
    int r = ledger_group_begin(in->ledger, &e);
    for (int i = 0; i < in->count && r == 0; i++) {
        log_about(&in->batch[i]);
        if (in->batch[i].code == 0)
            add_row(in, &in->batch[i]);
    }
    log_about(NULL);
    if (r == 0)
        r = ledger_group_end(in->ledger, &e);
    if (r < 0)
        fail_all(in, r, &e);
}

/* Its file is still there, and the spool stage decides; or its sender waits for our word. */
static enum fetched_outcome refuse_pushed(struct fetched *f, const struct err *e)
{
    f->pushed->code = e->code;
    text_copy(f->pushed->why, sizeof(f->pushed->why), e->text);
    if (e->retry == ERR_NEVER)
        return FETCHED_UNUSABLE;
    log_error("picture-refused", "%s; %s", e->text,
              f->pushed->awaited ? "its sender is told" : "it waits in its folder");
    return FETCHED_REFUSED;
}

static enum fetched_outcome refuse(struct intake_self *in, struct fetched *f, const struct err *e)
{
    struct err second = {0};
    metric_inc(&refused, e->code == -ENOSPC      ? "disk-full"
                         : e->retry == ERR_NEVER ? "invalid"
                                                 : "failed");
    stage_count_failed(in->stage, e->text);
    if (f->pushed)
        return refuse_pushed(f, e);
    int r = 0;
    if (e->retry == ERR_NEVER) {
        log_warn("picture-refused", "%s", e->text);
        r = ledger_trigger_fail(in->ledger, &f->trigger, e->text, &second);
        if (r == 0)
            pipeline_outcome(in->pipeline, f->trigger.id);
    } else {
        log_error("picture-refused", "%s; asking the camera again in %d s", e->text,
                  REFUSED_PAUSE_MS / 1000);
        struct wall_time later = {ledger_now().us + REFUSED_PAUSE_MS * 1000};
        r = ledger_trigger_retry(in->ledger, &f->trigger, later, e->text, &second);
    }
    if (r < 0) /* the disk may be too full even for this; the trigger is pending all the same */
        log_error("ledger-failed", "record a refusal: %s", second.text);
    return FETCHED_REFUSED;
}

/* Recorded: from here on nothing is refused. A rename that fails is repeated after detection, and
 * at the next start at the latest. */
static void pass_on(struct intake_self *in, struct snapshot *s)
{
    struct err later = {0};
    int r = store_place(in->pipeline->store, s->id, false, s->path, &later);
    if (r < 0 && r != -ENOENT) /* absent: somebody who swept the row moved it on already */
        log_error("place-failed", "%s; detection tries again", later.text);
    metric_inc(&stored, s->camera);
    stage_count_done(in->stage);
    pipeline_tell(in->pipeline, NEWS_STORED, s->id);
    picture_cache_put(in->pipeline->cache, s->id, s->bytes);
    if (bus_send(in->out, snapshot_ref(s), (void (*)(void *))snapshot_unref) == 0)
        return;
    snapshot_unref(s);
    pipeline_wake(in->pipeline, PIPELINE_DETECT); /* when they are done with what they have */
}

static void finish(struct intake_self *in, struct arrival *a)
{
    bool settled = a->code == -EEXIST || a->code == -EALREADY;
    enum fetched_outcome outcome = FETCHED_RECORDED;
    log_about(a);
    if (a->code == 0) {
        metric_observe(&durable_seconds, NULL, mono_diff_ms(in->durable_at, a->came) / 1000);
        intake_show_last_picture(a->snapshot->camera, a->snapshot->received_at);
        pass_on(in, a->snapshot);
    } else if (settled)
        log_debug("already-recorded", "this trigger has its picture already, or was given up");
    else
        outcome = refuse(in, a->item, &a->error);
    atomic_store(&a->item->outcome, outcome);
    if (a->item->pushed && a->item->pushed->awaited)
        pipeline_outcome(in->pipeline, a->item->trigger.id);
    snapshot_unref(STEAL(a->snapshot));
    fetched_unref(STEAL(a->item));
}

static void intake_flush(void *self)
{
    struct intake_self *in = self;
    if (in->count == 0)
        return;
    AUTO(settings) now = pipeline_settings(in->pipeline);
    for (int i = 0; i < in->count; i++) {
        log_about(&in->batch[i]);
        keep_bytes(in, &in->batch[i], now);
    }
    log_about(NULL);
    keep_names(in);
    record(in);
    in->durable_at = clock_mono();
    for (int i = 0; i < in->count; i++)
        finish(in, &in->batch[i]);
    log_about(NULL);
    in->count = 0;
    in->bytes = 0;
    pipeline_wake(in->pipeline, PIPELINE_FETCH);
    pipeline_wake(in->pipeline, PIPELINE_SPOOL);
}

static void intake_step(void *self, void *item)
{
    struct intake_self *in = self;
    struct fetched *f = item;
    bool repeated = false; /* of one in the batch, whose bytes it would replace */
    for (int i = 0; i < in->count; i++)
        repeated = repeated || strcmp(in->batch[i].item->trigger.id, f->trigger.id) == 0;
    if (repeated || in->count == STAGE_BATCH_MAX || in->bytes + f->bytes->size > BATCH_BYTES)
        intake_flush(in);
    in->batch[in->count++] =
        (struct arrival){.item = fetched_ref(f), .snapshot = snapshot_new(), .came = clock_mono()};
    in->bytes += f->bytes->size;
}

/* Finishes the renames of examined pictures and lets the ledger forget their old names. The record
 * stage may be doing the same to the same files: every step is idempotent. */
static int settle(struct intake_self *in, struct err *e)
{
    struct ledger_unsettled rows[SETTLE_BATCH];
    int n = ledger_unsettled(in->ledger, in->settled_to, rows, SETTLE_BATCH, e);
    if (n < 0)
        return n;
    struct store_recovery done = {0};
    int r = store_settle(in->pipeline->store, in->ledger, rows, n, &done, e);
    in->settled_to = n == SETTLE_BATCH ? rows[n - 1].row : 0;
    if (n > 0)
        pipeline_wake(in->pipeline, PIPELINE_UPLOAD); /* copies are due when they are settled */
    return r < 0 ? r : n;
}

static int64_t intake_sweep(void *self)
{
    struct intake_self *in = self;
    struct err e = {0};
    if (in->settled_to == 0 && !mono_passed(in->settle_at))
        return mono_until_ms(in->settle_at);
    if (in->settled_to == 0)
        in->settle_at = mono_add_ms(clock_mono(), SETTLE_PAUSE_MS);
    int r = settle(in, &e);
    if (r < 0)
        log_error("ledger-failed", "settle renamed pictures: %s", e.text);
    return r == SETTLE_BATCH ? 0 : SWEEP_MS;
}

static int intake_init(void *self, struct stage *st, struct err *e)
{
    struct intake_self *in = self;
    in->stage = st;
    int r = ledger_open(in->pipeline->ledger_path, &in->ledger, e);
    if (r == 0)
        r = bus_out_open(in->pipeline->bus, EDGE_STORED, in->pipeline->detect_workers, STORED_DEPTH,
                         &in->out, e);
    return r;
}

static void intake_fini(void *self)
{
    struct intake_self *in = self;
    bus_out_close(in->out);
    ledger_close(in->ledger);
}

void *intake_stage_new(struct pipeline *p)
{
    struct intake_self *in = xcalloc(1, sizeof(*in));
    in->pipeline = p;
    return in;
}

const struct stage_ops intake_stage = {
    .name = "intake",
    .hang_ms = 120000, /* a batch of files and folders to sync, 2 s each on a bad card */
    .register_metrics = register_metrics,
    .init = intake_init,
    .step = intake_step,
    .flush = intake_flush,
    .sweep = intake_sweep,
    .fini = intake_fini,
};
