/* Janitor: removes old pictures by the rules of [retention] once an hour, for room whenever the
 * disk gets short of it, and what people deleted when its time of grace is over. All the rest of
 * the time it sleeps. */

#include "stage/pipeline.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "stage/retention.h"
#include "stage/spool_config.h"

/* Between two looks at the free space: at 10 pictures of 400 KB a second the margin above the
 * reserve lasts as long. */
#define LOOK_MS 15000
/* When pictures were removed and it is still short: btrfs counts them when it commits, every 30 s.
 */
#define SETTLE_MS 45000
/* When nothing could be removed for room: a walk over all that is pending costs something. */
#define NO_ROOM_MS 300000
/* The start has other things to do. */
#define FIRST_MS 60000
/* The same trouble is told again after so long. */
#define TELL_MS 3600000
/* A clock that is set ahead by more is not believed for so long: it may be right (there is no
 * battery, and NTP has answered), or ten years off and make all there is old. A machine that slept
 * looks the same. */
#define JUMP_US ((int64_t)3600 * 1000000)
#define HOLD_MS 3600000

struct janitor_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct ledger *ledger;
    struct mono_time run_at, space_at, trash_at, told_at;
    int64_t wall_ahead_us;        /* of the monotonic clock, when last looked at */
    int64_t ahead_before_us;      /* the jump that is in doubt */
    struct mono_time doubt_until; /* 0 = the clock is believed */
};

static struct metric removed = {.name = "snapshotd_retention_removed_total",
                                .kind = METRIC_COUNTER,
                                .label = "rule",
                                .help =
                                    "Pictures removed from this machine, by the rule of "
                                    "[retention]; filling: before they had reached all they "
                                    "should; begun: by a run before; trash: deleted by a person; "
                                    "history_age: rows of removed ones"};
static struct metric removed_bytes = {.name = "snapshotd_retention_removed_bytes_total",
                                      .kind = METRIC_COUNTER,
                                      .label = "rule",
                                      .help = "About how much room that made"};
static struct metric failures = {.name = "snapshotd_retention_failures_total",
                                 .kind = METRIC_COUNTER,
                                 .help = "Files that could not be removed"};
static struct metric short_of_space = {.name = "snapshotd_retention_short_of_space",
                                       .kind = METRIC_GAUGE,
                                       .help = "1 while the disk is about to fill and nothing may "
                                               "be removed"};

static void register_metrics(void)
{
    metric_register(&removed);
    metric_register(&removed_bytes);
    metric_register(&failures);
    metric_register(&short_of_space);
}

static bool progress(void *arg)
{
    struct janitor_self *j = arg;
    stage_heartbeat(j->stage);
    return stage_stopping(j->stage);
}

/* Of the others nobody needs to hear: that pictures go by their age is what they are told to do. */
static void picture_went(void *arg, enum retention_rule rule, const struct snapshot *s)
{
    const struct janitor_self *j = arg;
    if (rule == RETENTION_RULE_FILLING)
        pipeline_tell(j->pipeline, NEWS_REMOVED, s->id);
}

static void tell_rule(enum retention_rule rule, int64_t files, int64_t bytes)
{
    const char *name = retention_rule_names[rule];
    double mb = (double)bytes / (1 << 20);
    metric_add(&removed, name, (double)files);
    metric_add(&removed_bytes, name, (double)bytes);
    if (rule == RETENTION_RULE_FILLING)
        log_error(
            "retention-filling",
            "the disk was about to fill: removed %lld pictures, %.1f MB, that had not reached "
            "all they should; make room, or bring their destinations back",
            (long long)files, mb);
    else if (rule == RETENTION_RULE_HISTORY)
        log_notice("retention", "%s: forgot %lld removed pictures", name, (long long)files);
    else
        log_notice("retention", "%s: removed %lld pictures, %.1f MB", name, (long long)files, mb);
}

static int64_t removed_pictures(const struct retention_report *report)
{
    int64_t files = 0;
    for (int i = 0; i < RETENTION_RULE_HISTORY; i++)
        files += report->files[i];
    return files;
}

/* What lasts is told once an hour. */
static void tell_trouble(struct janitor_self *j, const struct retention_report *report,
                         bool looked_for_space)
{
    bool is_short = looked_for_space && report->short_of_space && removed_pictures(report) == 0;
    metric_add(&failures, NULL, (double)report->failed);
    if (looked_for_space)
        metric_set(&short_of_space, NULL, is_short);
    if ((report->failed == 0 && !is_short) || !mono_passed(j->told_at))
        return;
    j->told_at = mono_add_ms(clock_mono(), TELL_MS);
    if (report->failed > 0)
        log_error("retention-failed", "%lld files could not be removed: %s",
                  (long long)report->failed, report->failure);
    if (is_short)
        log_error("retention-short", "the disk is about to fill, and no picture may be removed for "
                                     "it: below [store] reserve new ones are refused; make room");
}

/* Pictures are as old as the wall clock says, which may be set to anything; the monotonic one tells
 * when it was. Called at each look. */
static void watch_clock(struct janitor_self *j)
{
    int64_t ahead_us = clock_wall().us - clock_mono().us;
    int64_t jump_us = ahead_us - j->wall_ahead_us;
    bool in_doubt = j->doubt_until.us != 0;
    char span[TEXT_SPAN_MAX];
    j->wall_ahead_us = ahead_us;
    if (jump_us > JUMP_US) {
        if (!in_doubt)
            j->ahead_before_us = ahead_us - jump_us;
        j->doubt_until = mono_add_ms(clock_mono(), HOLD_MS);
        log_warn("clock-ahead",
                 "the clock was set ahead by %s: nothing is removed for its age until it has "
                 "stayed so for an hour",
                 text_span((double)jump_us / 1e6, span));
        return;
    }
    if (in_doubt && (mono_passed(j->doubt_until) || ahead_us - j->ahead_before_us <= JUMP_US)) {
        j->doubt_until.us = 0;
        log_notice("clock-believed", "the clock %s: ages count again",
                   ahead_us - j->ahead_before_us <= JUMP_US ? "was set back"
                                                            : "stayed as it was set");
    }
}

/* Runs all rules but these. */
static void run(struct janitor_self *j, const struct settings *now, unsigned without)
{
    unsigned ages = RETENTION_BITS_AGES | RETENTION_BIT(RETENTION_RULE_HISTORY);
    struct pipeline *p = j->pipeline;
    struct retention_report report;
    struct err e = {0};
    struct retention_options o = {.ledger = j->ledger,
                                  .store = p->store,
                                  .thumbnails = p->thumbnails,
                                  .config = &now->retention,
                                  .reserve = p->store_reserve,
                                  .keeps_files =
                                      p->spool != NULL &&
                                      spool_config_keeps_files(p->spool->folders, p->spool->count),
                                  .without = without | (j->doubt_until.us != 0 ? ages : 0),
                                  .now = clock_wall(),
                                  .progress = progress,
                                  .picture = picture_went,
                                  .arg = j};
    int r = retention_run(&o, &report, &e);
    for (int i = 0; i < RETENTION_RULE_COUNT; i++)
        if (report.files[i] > 0)
            tell_rule(i, report.files[i], report.bytes[i]);
    tell_trouble(j, &report, (without & RETENTION_BITS_SPACE) == 0);
    if (r < 0) {
        log_error("ledger-failed", "removing old pictures: %s; trying again later", e.text);
        stage_count_failed(j->stage, e.text);
    }
    int64_t files = removed_pictures(&report);
    for (int64_t i = 0; i < files + report.files[RETENTION_RULE_HISTORY]; i++)
        stage_count_done(j->stage);
    if ((without & RETENTION_BITS_SPACE) != 0)
        return;
    j->space_at = mono_add_ms(clock_mono(), !report.short_of_space ? LOOK_MS
                                            : files > 0            ? SETTLE_MS
                                                                   : NO_ROOM_MS);
}

static bool wants_space(const struct janitor_self *j, const struct settings *now)
{
    int64_t free_bytes = store_free_bytes(j->pipeline->store);
    int64_t wanted =
        MAX(now->retention.free_space, retention_filling_below(j->pipeline->store_reserve));
    return free_bytes >= 0 && free_bytes < wanted;
}

static void run_rules(struct janitor_self *j, const struct settings *now)
{
    if (mono_passed(j->run_at)) {
        /* Before the run: a shorter interval after a reload counts at the next look. */
        j->run_at = mono_add_ms(clock_mono(), now->retention.interval_ms);
        run(j, now, RETENTION_BITS_TRASH);
    } else if (mono_passed(j->space_at)) {
        j->space_at = mono_add_ms(clock_mono(), LOOK_MS);
        if (wants_space(j, now))
            run(j, now, RETENTION_BITS_ALL & ~RETENTION_BITS_SPACE);
    }
    int64_t by_interval = clock_mono().us + now->retention.interval_ms * 1000;
    j->run_at.us = MIN(j->run_at.us, by_interval);
}

static int64_t janitor_sweep(void *self)
{
    struct janitor_self *j = self;
    AUTO(settings) now = pipeline_settings(j->pipeline);
    watch_clock(j);
    if (stage_stopping(j->stage))
        return LOOK_MS;
    if (mono_passed(j->trash_at)) {
        j->trash_at = mono_add_ms(clock_mono(), LOOK_MS);
        run(j, now, RETENTION_BITS_ALL & ~RETENTION_BITS_TRASH);
    }
    if (!now->retention.enabled)
        return mono_until_ms(j->trash_at);
    run_rules(j, now);
    int64_t next_ms = MIN(mono_until_ms(j->run_at), mono_until_ms(j->space_at));
    return MIN(next_ms, mono_until_ms(j->trash_at));
}

/* A person who keeps pictures nowhere else should know that they go. */
static void tell_rules(const struct pipeline *p, const struct settings *now)
{
    const int64_t *age = now->retention.age_ms;
    char span[TEXT_SPAN_MAX];
    bool elsewhere = p->storages != NULL && p->storages[0] != NULL;
    if (now->retention.enabled && !elsewhere && age[RETENTION_PERSON] > 0)
        log_notice("retention",
                   "pictures with persons are removed after %s and kept nowhere else: [retention] "
                   "person_age, [gdrive], [s3:NAME], [directory:NAME]",
                   text_span((double)age[RETENTION_PERSON] / 1000, span));
}

static bool is_open(const struct pipeline *p, const char *storage)
{
    for (size_t i = 0; p->storages != NULL && p->storages[i] != NULL; i++)
        if (strcmp(p->storages[i]->name, storage) == 0)
            return true;
    return false;
}

/* A storage that was taken out of the configuration may come back, so what waits for it goes on
 * waiting; but somebody should know. */
static int tell_storages(struct janitor_self *j, struct err *e)
{
    char name[STORAGE_NAME_MAX] = "";
    int r;
    while ((r = ledger_upload_storage(j->ledger, name, name, sizeof(name), e)) == 1) {
        struct upload_counts counts;
        if (is_open(j->pipeline, name))
            continue;
        r = ledger_upload_counts(j->ledger, name, &counts, e);
        if (r < 0)
            break;
        if (counts.pending + counts.dead > 0)
            log_warn("storage-unknown",
                     "%lld files wait for %s, which is not configured, and stay until they are "
                     "there: configure it, or give it up: snapshotd prune --forget-storage %s",
                     (long long)(counts.pending + counts.dead), name, name);
    }
    return MIN(r, 0);
}

static int janitor_init(void *self, struct stage *st, struct err *e)
{
    struct janitor_self *j = self;
    AUTO(settings) now = pipeline_settings(j->pipeline);
    j->stage = st;
    tell_rules(j->pipeline, now);
    j->run_at = j->space_at = j->trash_at = mono_add_ms(clock_mono(), FIRST_MS);
    j->told_at = clock_mono();
    j->wall_ahead_us = clock_wall().us - clock_mono().us;
    int r = ledger_open(j->pipeline->ledger_path, &j->ledger, e);
    return r < 0 ? r : tell_storages(j, e);
}

static void janitor_fini(void *self)
{
    struct janitor_self *j = self;
    ledger_close(j->ledger);
}

void *janitor_stage_new(struct pipeline *p)
{
    struct janitor_self *j = xcalloc(1, sizeof(*j));
    j->pipeline = p;
    return j;
}

const struct stage_ops janitor_stage = {
    .name = "janitor",
    .hang_ms = 300000, /* looks through all rows of a large ledger on a slow card */
    .register_metrics = register_metrics,
    .init = janitor_init,
    .sweep = janitor_sweep,
    .fini = janitor_fini,
};
