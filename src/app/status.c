#include "app/status.h"

#include <errno.h>
#include <string.h>

#include "app/config_json.h"
#include "app/daemon_secrets.h"
#include "app/gauges.h"
#include "app/version.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "detect/rekognition.h"
#include "ledger/ledger_browse.h"
#include "ledger/ledger_cloud.h"
#include "ledger/ledger_upload.h"
#include "sys/log_place.h"

static struct metric waiting = {.name = "snapshotd_waiting",
                                .kind = METRIC_GAUGE,
                                .label = "where",
                                .help = "Rows of the ledger that wait, by what they wait for"};
static struct metric free_bytes = {.name = "snapshotd_store_free_bytes",
                                   .kind = METRIC_GAUGE,
                                   .help = "Free space on the store's file system"};
static struct metric cache_bytes = {.name = "snapshotd_cache_bytes",
                                    .kind = METRIC_GAUGE,
                                    .help = "Recent picture bytes kept in memory"};
static struct metric uploads_pending = {.name = "snapshotd_uploads_pending",
                                        .kind = METRIC_GAUGE,
                                        .label = "storage",
                                        .help = "Files that a storage does not have yet"};
static struct metric oldest_pending = {
    .name = "snapshotd_upload_oldest_pending_seconds",
    .kind = METRIC_GAUGE,
    .label = "storage",
    .help = "Age of the oldest of them, 0 without any; it grows while a storage is away"};
static struct metric trouble = {
    .name = "snapshotd_storage_trouble",
    .kind = METRIC_GAUGE,
    .label = "storage",
    .help = "0 well, 1 away, 2 asked to slow down, 3 full, 4 somebody has to log in"};
static struct metric uptime = {.name = "snapshotd_uptime_seconds",
                               .kind = METRIC_GAUGE,
                               .help = "Seconds since the start, by the monotonic clock"};

static struct metric cloud_left = {
    .name = "snapshotd_cloud_budget_left",
    .kind = METRIC_GAUGE,
    .label = "period",
    .help = "Calls to the cloud's detector that day and month have left; absent without a limit"};
static struct metric cloud_cost = {
    .name = "snapshotd_cloud_month_cost_dollars",
    .kind = METRIC_GAUGE,
    .help = "Estimate of what the calls of this month (UTC) cost, by [cloud] price_per_1000"};
static struct metric cloud_waiting = {.name = "snapshotd_cloud_waiting",
                                      .kind = METRIC_GAUGE,
                                      .help = "Pictures that wait for the cloud's answer"};

void status_register_metrics(void)
{
    metric_register(&cloud_left);
    metric_register(&cloud_cost);
    metric_register(&cloud_waiting);
    metric_register(&waiting);
    metric_register(&free_bytes);
    metric_register(&cache_bytes);
    metric_register(&uptime);
    metric_register(&uploads_pending);
    metric_register(&oldest_pending);
    metric_register(&trouble);
    log_register_metrics();
    gauges_register_metrics();
}

static double uptime_s(const struct daemon *d)
{
    return mono_diff_ms(clock_mono(), d->started_mono) / 1000;
}

static double age_s(struct wall_time since)
{
    return since.us ? (double)MAX(clock_wall().us - since.us, (int64_t)0) / 1e6 : 0;
}

static void update_storage_gauges(struct daemon *d)
{
    for (unsigned i = 0; d->topology && d->storages[i]; i++) {
        struct upload_counts c;
        struct storage_status st;
        struct err e;
        if (ledger_upload_counts(d->ledger, d->storages[i]->name, &c, &e) == 0) {
            metric_set(&uploads_pending, d->storages[i]->name, (double)c.pending);
            metric_set(&oldest_pending, d->storages[i]->name, age_s(c.oldest_pending));
        }
        topology_storage_status(d->topology, i, &st);
        metric_set(&trouble, d->storages[i]->name, st.trouble);
    }
}

static void set_left(const char *period, int64_t limit, int64_t spent)
{
    if (limit > 0)
        metric_set(&cloud_left, period, (double)MAX(limit - spent, (int64_t)0));
}

static void update_cloud_gauges(struct daemon *d)
{
    AUTO(settings) now = pipeline_settings(&d->pipeline);
    struct cloud_spent s;
    struct err e;
    metric_set(&cloud_waiting, NULL, doubts_count(d->pipeline.doubts));
    if (ledger_cloud_spent(d->ledger, clock_wall(), &s, &e) < 0)
        return; /* others have told of it */
    metric_set(&cloud_cost, NULL, (double)s.month * now->cloud.price_per_1000 / 1000);
    set_left("day", now->cloud.calls_per_day, s.day);
    set_left("month", now->cloud.calls_per_month, s.month);
}

void status_update_gauges(struct daemon *d)
{
    struct ledger_counts c;
    struct err e;
    if (ledger_counts(d->ledger, &c, &e) == 0) {
        metric_set(&waiting, "fetch", (double)c.triggers_pending);
        metric_set(&waiting, "detect", (double)c.stored);
        metric_set(&waiting, "deliver", (double)c.outbox_pending);
        metric_set(&waiting, "dead", (double)c.outbox_dead);
        queue_history_note(&d->queues, clock_wall(),
                           (int64_t[QUEUE_COUNT]){[QUEUE_FETCH] = c.triggers_pending,
                                                  [QUEUE_DETECT] = c.stored,
                                                  [QUEUE_DELIVER] = c.outbox_pending});
    }
    metric_set(&free_bytes, NULL, (double)store_free_bytes(d->pipeline.store));
    metric_set(&cache_bytes, NULL, (double)picture_cache_bytes(d->pipeline.cache));
    metric_set(&uptime, NULL, uptime_s(d));
    update_storage_gauges(d);
    update_cloud_gauges(d);
    gauges_update(d);
}

/* ---- the API's view; all of it on the web thread ---- */

static int backend_trigger(void *arg, const char *camera, struct trigger *ret, struct err *e)
{
    struct daemon *d = arg;
    return pipeline_trigger(&d->pipeline, d->web_ledger, camera, TRIGGER_API, clock_wall(), ret, e);
}

static int backend_bytes(void *arg, const struct snapshot *s, bool annotated, struct blob **ret,
                         struct err *e)
{
    struct daemon *d = arg;
    if (!annotated)
        return pipeline_bytes(&d->pipeline, s, ret, e);
    AUTO(settings) now = pipeline_settings(&d->pipeline);
    return store_read(d->pipeline.store, s->annotated_path, now->limits.bytes_max, ret, e);
}

static int backend_thumbnail(void *arg, const struct snapshot *s, int width, struct blob **ret,
                             struct err *e)
{
    struct daemon *d = arg;
    struct pipeline *p = &d->pipeline;
    if (!p->thumbnail_wishes)
        return err_set(e, -EOPNOTSUPP, ERR_NEVER,
                       "no thumbnails are made: thumbnails = no in [web]");
    thumbnails_looked_at(p->thumbnails);
    int r = thumbnails_read(p->thumbnails, s, width, ret, e);
    if (r != -ENOENT)
        return r;
    r = thumbnail_wishes_ask(p->thumbnail_wishes, s->id, width, ret, e);
    if (r == -EAGAIN)
        pipeline_wake(p, PIPELINE_THUMBNAIL);
    return r;
}

/* The server's loop turns every second; one that has not for so long hangs. */
#define FTP_HUNG_MS 60000

/* What keeps the program from its work, or makes it useless. */
static int judged(struct daemon *d, bool liveness, struct err *e)
{
    AUTO_FREE struct health_report *r = health_report(d->health);
    if (liveness ? r->alive || !r->at.us : r->ready)
        return 0;
    return err_set(e, r->alive ? -EAGAIN : -ETIMEDOUT, ERR_LATER, "%s",
                   r->at.us ? r->why : "starting or stopping");
}

static int backend_ready(void *arg, struct err *e)
{
    struct daemon *d = arg;
    if (!atomic_load(&d->ready))
        return err_set(e, -EAGAIN, ERR_LATER, "starting or stopping");
    return judged(d, false, e);
}

static int backend_healthy(void *arg, struct err *e)
{
    return judged(arg, true, e);
}

bool status_is_alive(struct daemon *d)
{
    struct err e;
    return backend_healthy(d, &e) == 0;
}

bool status_is_ready(struct daemon *d)
{
    struct err e;
    return backend_ready(d, &e) == 0;
}

/* Each part with its state, and a reason when it is not ok. */
static json_t *backend_parts(void *arg)
{
    struct daemon *d = arg;
    AUTO_FREE struct health_report *r = health_report(d->health);
    json_t *list = json_array();
    for (size_t i = 0; i < r->part_count; i++) {
        const struct health_part *p = &r->parts[i];
        json_t *j = json_pack("{s:o,s:s}", "name", js_string(p->name), "state",
                              health_state_names[p->state]);
        if (p->reason[0])
            json_object_set_new(j, "reason", js_string(p->reason));
        json_array_append_new(list, j);
    }
    return list;
}

static json_t *camera_json(struct daemon *d, const struct camera *cam)
{
    struct camera_status st;
    topology_camera_status(d->topology, cam->name, &st);
    bool enabled = camera_is_enabled(cam);
    const char *state = !enabled                         ? "off"
                        : strcmp(cam->kind, "push") == 0 ? "pushes"
                                                         : camera_state_names[st.state];
    json_t *j = json_pack("{s:o,s:o,s:o,s:b,s:s,s:i,s:o,s:f}", "name", js_string(cam->name),
                          "device_key", js_string(cam->device_key), "kind", js_string(cam->kind),
                          "enabled", enabled, "state", state, "failures", st.failures, "last_error",
                          js_string(st.last_error), "last_ms", st.last_ms);
    struct snapshot *last = NULL;
    struct ledger_filter filter = {.camera = cam->name, .person = -1};
    struct err e;
    json_t *at = json_null(), *id = json_null();
    if (ledger_snapshot_page(d->web_ledger, &filter, (struct ledger_page_key){0}, &last, 1, &e) ==
        1) {
        char text[WALL_ISO_MAX];
        at = json_string(wall_format_iso(last->received_at, true, text));
        snapshot_unref(last);
    }
    if (ledger_browse_newest(d->web_ledger, cam->name, &last, &e) == 0) {
        id = json_string(last->id);
        snapshot_unref(last);
    }
    json_object_set_new(j, "last_picture_at", at);
    json_object_set_new(j, "last_snapshot", id);
    json_object_set_new(j, "switched_off", json_boolean(cam->enabled && !enabled));
    return j;
}

static json_t *cameras_json(struct daemon *d)
{
    AUTO(settings) now = pipeline_settings(&d->pipeline);
    json_t *list = json_array();
    for (size_t i = 0; i < camera_set_count(now->cameras); i++)
        json_array_append_new(list, camera_json(d, camera_set_at(now->cameras, i)));
    return list;
}

static json_t *backend_cameras(void *arg, const char *camera)
{
    struct daemon *d = arg;
    if (!camera)
        return cameras_json(d);
    AUTO(settings) now = pipeline_settings(&d->pipeline);
    const struct camera *cam = camera_set_find(now->cameras, camera);
    json_t *list = json_array();
    if (cam)
        json_array_append_new(list, camera_json(d, cam));
    return list;
}

static int backend_switch_camera(void *arg, const char *camera, bool off, struct err *e)
{
    struct daemon *d = arg;
    return pipeline_switch_camera(&d->pipeline, camera, off, e);
}

static json_t *counts_json(struct daemon *d)
{
    struct ledger_counts c = {0};
    struct err e;
    if (ledger_counts(d->web_ledger, &c, &e) < 0)
        log_warn("ledger-failed", "count for the status: %s", e.text);
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "triggers_pending",
                     (json_int_t)c.triggers_pending, "triggers_failed",
                     (json_int_t)c.triggers_failed, "snapshots", (json_int_t)c.snapshots, "stored",
                     (json_int_t)c.stored, "examined", (json_int_t)c.examined, "persons",
                     (json_int_t)c.persons, "outbox_pending", (json_int_t)c.outbox_pending,
                     "outbox_dead", (json_int_t)c.outbox_dead);
}

static json_t *destinations_json(struct daemon *d)
{
    json_t *list = json_array();
    for (unsigned i = 0; d->destinations[i]; i++) {
        struct outbox_counts c = {0};
        struct destination_status st;
        struct err e;
        if (ledger_outbox_counts(d->web_ledger, d->destinations[i], &c, &e) < 0)
            log_warn("ledger-failed", "count for the status: %s", e.text);
        topology_destination_status(d->topology, i, &st);
        json_array_append_new(list, json_pack("{s:s,s:I,s:I,s:o,s:o}", "name", d->destinations[i],
                                              "pending", (json_int_t)c.pending, "dead",
                                              (json_int_t)c.dead, "state", js_string(st.state),
                                              "last_error", js_string(st.last_error)));
    }
    return list;
}

static json_t *storage_json(struct daemon *d, unsigned i)
{
    struct upload_counts c = {0};
    struct storage_status st;
    struct err e;
    const char *name = d->storages[i]->name;
    if (ledger_upload_counts(d->web_ledger, name, &c, &e) < 0)
        log_warn("ledger-failed", "count for the status: %s", e.text);
    topology_storage_status(d->topology, i, &st);
    char since[WALL_ISO_MAX];
    return json_pack(
        "{s:o,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:i,s:I,s:o,s:o,s:o,s:o,s:o,s:o}", "name",
        js_string(name), "kind", d->storages[i]->ops->kind, "state",
        storage_trouble_names[st.trouble], "pending", (json_int_t)c.pending, "kept",
        (json_int_t)c.done, "dead", (json_int_t)c.dead, "oldest_pending_s",
        (json_int_t)age_s(c.oldest_pending), "failed", (json_int_t)st.failed, "under_way",
        st.under_way, "next_try_ms", (json_int_t)st.pause_ms, "trouble_since",
        st.since.us ? json_string(wall_format_iso(st.since, true, since)) : json_null(),
        "description", js_string(st.state), "url", st.url[0] ? js_string(st.url) : json_null(),
        "last_error", js_string(st.error), "archive_error", js_string(st.archive_error),
        "free_bytes", st.free_bytes < 0 ? json_null() : json_integer(st.free_bytes));
}

/* Where pictures are kept. */
static json_t *storages_json(struct daemon *d)
{
    json_t *list = json_array();
    for (unsigned i = 0; d->storages[i]; i++)
        json_array_append_new(list, storage_json(d, i));
    return list;
}

static json_t *backend_destinations(void *arg)
{
    return json_pack("{s:o,s:o}", "destinations", destinations_json(arg), "storages",
                     storages_json(arg));
}

static json_t *backend_queues(void *arg)
{
    struct daemon *d = arg;
    return queue_history_json(&d->queues);
}

static json_t *backend_config(void *arg)
{
    struct daemon *d = arg;
    AUTO(settings) now = pipeline_settings(&d->pipeline);
    const struct app_config *c = now->owner;
    return config_json(c->cfg);
}

static void backend_starred(void *arg)
{
    struct daemon *d = arg;
    pipeline_wake(&d->pipeline, PIPELINE_UPLOAD);
}

static void backend_examine(void *arg)
{
    struct daemon *d = arg;
    pipeline_wake(&d->pipeline, PIPELINE_DETECT);
}

static int64_t backend_trash_keep_ms(void *arg)
{
    struct daemon *d = arg;
    AUTO(settings) now = pipeline_settings(&d->pipeline);
    return now->retention.trash_keep_ms;
}

static bool needs_people(enum storage_trouble t)
{
    return t == STORAGE_LOGIN || t == STORAGE_QUOTA;
}

/* What people have to do that holds nothing up but uploads, or "". Pictures are safe meanwhile. A
 * storage without pictures yet knows of its trouble by its tidying. */
static void backend_attention(void *arg, char ret[ERR_TEXT_MAX])
{
    struct daemon *d = arg;
    daemon_secrets_attention(d, ret);
    for (unsigned i = 0; d->topology && d->storages[i] && !ret[0]; i++) {
        struct storage_status st;
        topology_storage_status(d->topology, i, &st);
        if (needs_people(st.trouble))
            (void)text_format(ret, ERR_TEXT_MAX, "%s: %s; its files wait", d->storages[i]->name,
                              st.error); /* cut */
        else if (needs_people(st.archive_trouble))
            (void)text_format(ret, ERR_TEXT_MAX, "%s: %s", d->storages[i]->name,
                              st.archive_error); /* cut */
    }
}

/* How triggers come from the broker; null when none are taken from one. */
static json_t *control_json(const struct daemon *d)
{
    struct control_status st;
    if (!topology_control_status(d->topology, &st))
        return json_null();
    return json_pack("{s:s,s:o,s:o,s:I,s:o}", "state", st.consuming ? "connected" : "disconnected",
                     "address", js_string(st.peer), "queue", js_string(st.queue), "waiting",
                     (json_int_t)st.waiting, "last_error", js_string(st.last_error));
}

static json_t *left_json(const struct spool_status *st)
{
    json_t *j = json_object();
    for (int i = 0; i < SPOOL_LEFT_COUNT; i++)
        if (st->left[i])
            json_object_set_new(j, spool_left_names[i], json_integer(st->left[i]));
    return j;
}

/* The watched folders, and what lies in them for good. */
static json_t *spool_json(const struct daemon *d)
{
    size_t count = d->spool.count;
    AUTO_FREE struct spool_status *list = xcalloc(count + 1, sizeof(*list));
    json_t *j = json_array();
    count = topology_spool_status(d->topology, list, count);
    for (size_t i = 0; i < count; i++) {
        const struct spool_status *st = &list[i];
        json_array_append_new(
            j, json_pack("{s:o,s:o,s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o}", "name",
                         js_string(st->name), "path", js_string(st->root), "state",
                         st->trouble[0] ? "trouble" : "ok", "polling", st->polling, "folders",
                         (json_int_t)st->folders, "settling", (json_int_t)st->settling, "taking",
                         (json_int_t)st->taking, "taken", (json_int_t)st->taken, "repeated",
                         (json_int_t)st->repeated, "refused", (json_int_t)st->refused, "left",
                         left_json(st), "last_error", js_string(st->trouble)));
        if (st->left_example[0])
            json_object_set_new(json_array_get(j, i), "unknown_folder",
                                js_string(st->left_example));
    }
    return j;
}

/* The server that cameras push to; "off" says why when it does not run. */
static json_t *ftp_json(struct daemon *d)
{
    struct ftp_server *ftp = atomic_load(&d->ftp);
    struct ftp_server_status st;
    if (!ftp)
        return json_pack("{s:s,s:o}", "state", "off", "off", js_string(d->ftp_off));
    ftp_server_status(ftp, &st);
    return json_pack("{s:s,s:o,s:i,s:i,s:i,s:I,s:I,s:o}", "state",
                     st.heartbeat_age_ms > FTP_HUNG_MS ? "hung" : "running", "listen",
                     js_string(st.listen), "sessions", st.sessions, "uploads", st.uploads, "banned",
                     st.banned, "stored", (json_int_t)st.stored, "failed", (json_int_t)st.failed,
                     "last_error", js_string(st.last_error));
}

/* The board's fan; null when it is none of our business. */
static json_t *fan_json(const struct daemon *d)
{
    struct fan_status st;
    fan_status(d->fan, &st);
    if (st.state == FAN_OFF)
        return json_null();
    return json_pack("{s:s,s:f,s:o,s:i,s:o,s:o}", "state", fan_state_names[st.state], "celsius",
                     st.celsius, "sensor", js_string(st.sensor), "pwm", st.pwm, "output",
                     js_string(st.output), "last_error", js_string(st.trouble));
}

/* Which of the detectors that are there look at pictures. */
static enum detect_mode mode_in_force(const struct daemon *d, const struct settings *now)
{
    bool local = detect_mode_has_local(now->detect_mode) && d->pipeline.detector;
    bool cloud = detect_mode_has_cloud(now->detect_mode) && d->pipeline.cloud;
    return local && cloud ? DETECT_CASCADE
           : local        ? DETECT_LOCAL
           : cloud        ? DETECT_CLOUD
                          : DETECT_NONE;
}

static void copy_words(struct daemon *d, const char *words, size_t size, char *ret)
{
    pthread_mutex_lock(&d->words_lock);
    text_copy(ret, size, words); /* of the same size */
    pthread_mutex_unlock(&d->words_lock);
}

/* What looks at pictures, and why. A local description begins with the model's file name. */
static json_t *detector_json(struct daemon *d, const struct settings *now)
{
    const struct app_config *c = now->owner;
    enum detect_mode mode = mode_in_force(d, now);
    char local[sizeof(d->detector_text)], cloud[sizeof(d->cloud_text)], words[1100];
    copy_words(d, d->detector_text, sizeof(local), local);
    copy_words(d, d->cloud_text, sizeof(cloud), cloud);
    bool wants_local = detect_mode_has_local(now->detect_mode);
    bool wants_cloud = detect_mode_has_cloud(now->detect_mode);
    if (now->detect_mode == DETECT_NONE)
        (void)text_format(words, sizeof(words), "off: %s", c->detect_why); /* fits */
    else
        (void)text_format(words, sizeof(words), "%s%s%s", wants_local ? local : "",
                          wants_local && wants_cloud ? "; in doubt " : "",
                          wants_cloud ? cloud : ""); /* fits */
    return json_pack("{s:s,s:s,s:o,s:o,s:o,s:b}", "name", detect_mode_names[mode], "wanted",
                     detect_mode_names[now->detect_mode], "why", js_string(c->detect_why),
                     "description", js_string(words), "model",
                     d->pipeline.detector ? json_stringn(local, strcspn(local, " :")) : json_null(),
                     "ready", mode != DETECT_NONE && mode == now->detect_mode);
}

static json_t *limit_json(int64_t spent, int64_t limit)
{
    return json_pack("{s:I,s:o,s:o}", "calls", (json_int_t)spent, "limit",
                     limit ? json_integer(limit) : json_null(), "left",
                     limit ? json_integer(MAX(limit - spent, (int64_t)0)) : json_null());
}

/* How its regions are, in the order of preference. */
static json_t *regions_json(struct detector *cloud)
{
    struct rekognition_state states[REKOGNITION_REGIONS_MAX];
    json_t *list = json_array();
    int n = cloud ? rekognition_states(cloud, states) : 0;
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:o,s:s,s:I,s:f}", "region",
                                              js_string(states[i].region), "state", states[i].state,
                                              "rest_ms", (json_int_t)states[i].rest_ms, "answer_ms",
                                              states[i].answer_ms));
    return list;
}

/* What the cloud's detector was asked and may be asked; null when there is none. */
static json_t *cloud_json(struct daemon *d, const struct settings *now)
{
    struct cloud_spent s = {0};
    struct err e;
    char words[sizeof(d->cloud_text)];
    if (!d->pipeline.cloud && !detect_mode_has_cloud(now->detect_mode))
        return json_null();
    if (ledger_cloud_spent(d->web_ledger, clock_wall(), &s, &e) < 0)
        log_warn("ledger-failed", "count for the status: %s", e.text);
    copy_words(d, d->cloud_text, sizeof(words), words);
    return json_pack("{s:o,s:o,s:o,s:o,s:f,s:i}", "description", js_string(words), "regions",
                     regions_json(atomic_load(&d->pipeline.cloud)), "day",
                     limit_json(s.day, now->cloud.calls_per_day), "month",
                     limit_json(s.month, now->cloud.calls_per_month), "month_cost_usd_estimate",
                     (double)s.month * now->cloud.price_per_1000 / 1000, "waiting",
                     doubts_count(d->pipeline.doubts));
}

static json_t *log_json(void)
{
    char place[320];
    log_place_describe(place, sizeof(place));
    return json_pack("{s:s,s:b,s:o,s:I}", "level", log_level_names[log_get_level()], "debugging",
                     log_debugging(), "place", js_string(place), "lost", (json_int_t)log_lost());
}

/* Where errors are reported; they wait there as long as nobody takes them. */
static json_t *errors_json(struct daemon *d)
{
    struct report_status st;
    report_status(d->report, &st);
    return json_pack("{s:b,s:o,s:I,s:I,s:I,s:I,s:o}", "on", st.on, "where", js_string(st.where),
                     "sent", (json_int_t)st.sent, "dropped", (json_int_t)st.dropped, "waiting",
                     (json_int_t)st.waiting, "next_try_ms", (json_int_t)st.pause_ms, "last_error",
                     js_string(st.last_error));
}

static json_t *backend_status(void *arg)
{
    struct daemon *d = arg;
    char started[WALL_ISO_MAX], reason[ERR_TEXT_MAX] = "", note[ERR_TEXT_MAX];
    struct err e = {0};
    bool ready = backend_ready(d, &e) == 0;
    if (!ready)
        text_copy(reason, sizeof(reason), e.text);
    AUTO(settings) now = pipeline_settings(&d->pipeline);
    backend_attention(d, note);
    json_t *j = json_pack(
        "{s:s,s:i,s:s,s:f,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:{s:I,s:I},s:o,s:{s:o},s:o,s:o,"
        "s:o,s:o}",
        "version", SNAPSHOTD_VERSION, "pid", (int)getpid(), "started_at",
        wall_format_iso(d->started_at, true, started), "uptime_s", uptime_s(d), "ready", ready,
        "not_ready_because", js_string(reason), "stages", topology_status(d->topology), "cameras",
        cameras_json(d), "detector", detector_json(d, now), "cloud", cloud_json(d, now), "counts",
        counts_json(d), "disk", "free_bytes", (json_int_t)store_free_bytes(d->pipeline.store),
        "reserve_bytes", (json_int_t)d->store_reserve, "destinations", destinations_json(d),
        "broker", "triggers", control_json(d), "ftp", ftp_json(d), "spool", spool_json(d),
        "storages", storages_json(d), "attention", js_string(note));
    json_object_set_new(j, "log", log_json());
    json_object_set_new(j, "errors", errors_json(d));
    json_object_set_new(j, "secrets", daemon_secrets_json(d));
    json_object_set_new(j, "fan", fan_json(d));
    json_object_set_new(j, "health", backend_parts(d));
    return j;
}

/* What is told to CloudWatch; "off" says why nothing is. */
static json_t *cloudwatch_json(struct daemon *d)
{
    struct cloudwatch *c = atomic_load(&d->cloudwatch);
    struct cloudwatch_status st;
    char posted[WALL_ISO_MAX];
    if (!c)
        return json_pack("{s:s,s:o}", "state", "off", "off", js_string(d->cloudwatch_off));
    cloudwatch_status(c, &st);
    return json_pack(
        "{s:s,s:o,s:o,s:f,s:f,s:f,s:o,s:I,s:o}", "state", st.well ? "well" : "trouble", "region",
        js_string(st.region), "credentials", js_string(st.credentials), "waiting", st.waiting,
        "taken", st.taken, "dropped", st.dropped, "last_post_at",
        st.posted.us ? json_string(wall_format_iso(st.posted, false, posted)) : json_null(),
        "next_try_ms", (json_int_t)st.next_try_ms, "last_error", js_string(st.last_error));
}

/* How many wait, as the main loop counted them last. */
static json_t *queues_json(void)
{
    static const char *const names[] = {"fetch", "detect", "deliver", "dead"};
    json_t *j = json_object();
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        json_object_set_new(j, names[i],
                            json_integer((json_int_t)metric_value(&waiting, names[i])));
    return j;
}

/* Of memory alone: it is asked every few seconds. */
static json_t *backend_pulse(void *arg)
{
    struct daemon *d = arg;
    char note[ERR_TEXT_MAX];
    struct err e;
    json_t *destinations = json_array(), *storages = json_array();
    for (unsigned i = 0; d->destinations[i]; i++) {
        struct destination_status st;
        topology_destination_status(d->topology, i, &st);
        json_array_append_new(destinations, json_pack("{s:s,s:o,s:o}", "name", d->destinations[i],
                                                      "state", js_string(st.state), "last_error",
                                                      js_string(st.last_error)));
    }
    for (unsigned i = 0; d->storages[i]; i++) {
        struct storage_status st;
        const char *name = d->storages[i]->name;
        topology_storage_status(d->topology, i, &st);
        json_array_append_new(storages,
                              json_pack("{s:o,s:s,s:I,s:o}", "name", js_string(name), "state",
                                        storage_trouble_names[st.trouble], "pending",
                                        (json_int_t)metric_value(&uploads_pending, name),
                                        "last_error", js_string(st.error)));
    }
    backend_attention(d, note);
    return json_pack("{s:b,s:o,s:o,s:o,s:o}", "ready", backend_ready(d, &e) == 0, "queues",
                     queues_json(), "destinations", destinations, "storages", storages, "attention",
                     js_string(note));
}

static int backend_push_check(void *arg, const char *camera, size_t *ret_max, struct err *e)
{
    struct daemon *d = arg;
    return post_check(d->posts, camera, ret_max, e);
}

static int backend_push(void *arg, const struct web_post *p, char ret_id[SNAPSHOT_ID_SIZE],
                        struct err *e)
{
    struct daemon *d = arg;
    struct post post = {.camera = p->camera,
                        .name = p->name,
                        .event_at = p->event_at,
                        .timed = p->timed,
                        .bytes = p->bytes};
    return post_send(d->posts, d->web_ledger, &post, ret_id, e);
}

static int backend_push_result(void *arg, const char *id, char ret_id[SNAPSHOT_ID_SIZE],
                               struct err *e)
{
    struct daemon *d = arg;
    return post_result(d->posts, d->web_ledger, id, ret_id, e);
}

static json_t *backend_whole_status(void *arg)
{
    json_t *j = backend_status(arg);
    json_object_set_new(j, "cloudwatch", cloudwatch_json(arg));
    return j;
}

struct web_backend status_backend(struct daemon *d)
{
    return (struct web_backend){.arg = d,
                                .trigger = backend_trigger,
                                .status = backend_whole_status,
                                .bytes = backend_bytes,
                                .ready = backend_ready,
                                .starred = backend_starred,
                                .attention = backend_attention,
                                .parts = backend_parts,
                                .healthy = backend_healthy,
                                .pulse = backend_pulse,
                                .push_check = backend_push_check,
                                .push = backend_push,
                                .push_result = backend_push_result,
                                .examine = backend_examine,
                                .trash_keep_ms = backend_trash_keep_ms,
                                .cameras = backend_cameras,
                                .switch_camera = backend_switch_camera,
                                .destinations = backend_destinations,
                                .config = backend_config,
                                .thumbnail = backend_thumbnail,
                                .queues = backend_queues};
}
