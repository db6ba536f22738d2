#include "app/gauges.h"

#include <sys/stat.h>

#include "app/vitals.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "ledger/ledger_upload.h"

#define GAUGE(variable, metric_name, key, words)                                                   \
    static struct metric variable = {                                                              \
        .name = metric_name, .kind = METRIC_GAUGE, .label = key, .help = words}
#define COUNTER(variable, metric_name, key, words)                                                 \
    static struct metric variable = {                                                              \
        .name = metric_name, .kind = METRIC_COUNTER, .label = key, .help = words}

COUNTER(stage_done, "snapshotd_stage_done_total", "stage", "What a stage has finished");
COUNTER(stage_failed, "snapshotd_stage_failed_total", "stage", "What a stage could not do");
GAUGE(stage_queued, "snapshotd_stage_queued", "stage", "What a stage has before it, as it says");
GAUGE(stage_running, "snapshotd_stage_running", "stage", "0 when its thread has ended");
GAUGE(stage_age, "snapshotd_stage_heartbeat_age_seconds", "stage",
      "Time since its loop last turned; a minute and more means that it hangs");
GAUGE(edge_depth, "snapshotd_edge_depth", "edge", "Items on their way from a stage to the next");
GAUGE(edge_capacity, "snapshotd_edge_capacity", "edge", "Items that there is room for on an edge");
COUNTER(edge_items, "snapshotd_edge_items_total", "edge", "Items that went over an edge");
COUNTER(edge_full, "snapshotd_edge_full_total", "edge",
        "Times that an edge had no room; the item waits at its sender or in the ledger");
GAUGE(main_age, "snapshotd_main_heartbeat_age_seconds", NULL,
      "Time since the main loop last looked around, every 10 s; the watchdog hangs on it");
GAUGE(ready, "snapshotd_ready", NULL, "1 while GET /readyz says ok");
GAUGE(ftp_age, "snapshotd_ftp_heartbeat_age_seconds", NULL,
      "Time since the FTP server's loop last turned; 0 without the server");
GAUGE(ftp_banned, "snapshotd_ftp_banned", NULL, "Addresses that are shut out at this moment");
GAUGE(destination_pending, "snapshotd_destination_pending", "destination",
      "Events that a destination does not have yet");
GAUGE(destination_dead, "snapshotd_destination_dead", "destination",
      "Events that were given up and are still in the ledger");
GAUGE(destination_oldest, "snapshotd_destination_oldest_pending_seconds", "destination",
      "Age of the oldest event that waits, 0 without any");
GAUGE(uploads_dead, "snapshotd_uploads_given_up", "storage",
      "Files that were given up and are still in the ledger");
GAUGE(ledger_bytes, "snapshotd_ledger_bytes", NULL, "Size of the ledger's database");
GAUGE(wal_bytes, "snapshotd_ledger_wal_bytes", NULL,
      "Size of the ledger's log; it shrinks when checkpoints come through");
GAUGE(store_bytes, "snapshotd_store_bytes", NULL, "Bytes of the pictures in the store");
GAUGE(store_pictures, "snapshotd_store_pictures", NULL, "Pictures whose file is in the store");
GAUGE(reserve_bytes, "snapshotd_store_reserve_bytes", NULL,
      "Free space below which no picture is taken in, [store] reserve");
GAUGE(camera_enabled, "snapshotd_camera_enabled", "camera",
      "1 for each camera of the configuration that is switched on, else 0");
GAUGE(detector_ready, "snapshotd_detector_ready", NULL, "1 when pictures are examined");

static struct metric *const rows[] = {
    &stage_done,
    &stage_failed,
    &stage_queued,
    &stage_running,
    &stage_age,
    &edge_depth,
    &edge_capacity,
    &edge_items,
    &edge_full,
    &main_age,
    &ready,
    &ftp_age,
    &ftp_banned,
    &destination_pending,
    &destination_dead,
    &destination_oldest,
    &uploads_dead,
    &ledger_bytes,
    &wal_bytes,
    &store_bytes,
    &store_pictures,
    &reserve_bytes,
    &camera_enabled,
    &detector_ready,
};

void gauges_register_metrics(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        metric_register(rows[i]);
    vitals_register_metrics();
}

/* ---- at each scrape, on the web thread ---- */

static void show_stage(const struct stage_status *st, void *arg UNUSED)
{
    metric_mirror(&stage_done, st->name, (double)st->done);
    metric_mirror(&stage_failed, st->name, (double)st->failed);
    metric_set(&stage_queued, st->name, (double)st->queued);
    metric_set(&stage_running, st->name, st->running);
    metric_set(&stage_age, st->name, (double)st->heartbeat_age_ms / 1000);
}

static void show_edges(struct daemon *d)
{
    struct bus_edge_status edges[BUS_EDGES_MAX];
    size_t count = bus_edges(d->pipeline.bus, edges);
    for (size_t i = 0; i < count; i++) {
        const struct bus_edge_status *at = &edges[i];
        metric_set(&edge_depth, at->name, (double)(at->sent - at->received));
        metric_set(&edge_capacity, at->name, (double)at->capacity);
        metric_mirror(&edge_items, at->name, (double)at->sent);
        metric_mirror(&edge_full, at->name, (double)at->full);
    }
}

static void show_ftp(struct daemon *d)
{
    struct ftp_server *ftp = atomic_load(&d->ftp);
    struct ftp_server_status st = {0};
    if (ftp)
        ftp_server_status(ftp, &st);
    metric_set(&ftp_age, NULL, (double)st.heartbeat_age_ms / 1000);
    metric_set(&ftp_banned, NULL, st.banned);
}

static void collect(void *arg)
{
    struct daemon *d = arg;
    topology_each_stage(d->topology, show_stage, NULL);
    show_edges(d);
    show_ftp(d);
    metric_set(&ready, NULL, status_is_ready(d));
    int64_t looked_at = atomic_load(&d->gauges_at_us);
    metric_set(&main_age, NULL, looked_at ? (double)(clock_mono().us - looked_at) / 1e6 : 0);
    vitals_update();
}

void gauges_start(struct daemon *d)
{
    metrics_add_collector(collect, d);
}

/* ---- now and then, on the main thread ---- */

static double age_s(struct wall_time since)
{
    return since.us ? (double)MAX(clock_wall().us - since.us, (int64_t)0) / 1e6 : 0;
}

static void update_destinations(struct daemon *d)
{
    for (size_t i = 0; d->destinations[i]; i++) {
        const char *name = d->destinations[i];
        struct outbox_counts c;
        struct err e;
        if (ledger_outbox_counts(d->ledger, name, &c, &e) < 0)
            continue; /* counted as a failure of the ledger */
        metric_set(&destination_pending, name, (double)c.pending);
        metric_set(&destination_dead, name, (double)c.dead);
        metric_set(&destination_oldest, name, age_s(c.oldest_pending));
    }
    for (size_t i = 0; d->storages[i]; i++) {
        struct upload_counts c;
        struct err e;
        if (ledger_upload_counts(d->ledger, d->storages[i]->name, &c, &e) == 0)
            metric_set(&uploads_dead, d->storages[i]->name, (double)c.dead);
    }
}

/* Pictures of earlier runs count: a camera is not silent because the program was restarted. */
static void find_last_picture(struct daemon *d, const char *camera)
{
    struct snapshot *last = NULL;
    struct ledger_filter filter = {.camera = camera, .person = -1};
    struct err e;
    if (ledger_snapshot_page(d->ledger, &filter, (struct ledger_page_key){0}, &last, 1, &e) != 1)
        return;
    intake_show_last_picture(camera, last->received_at);
    snapshot_unref(last);
}

/* The last pictures are looked up after the start and each reload. A camera that is gone is not
 * waited for any more. */
static void update_cameras(struct daemon *d)
{
    AUTO(settings) now = pipeline_settings(&d->pipeline);
    struct settings *seen = d->gauges_seen;
    for (size_t i = 0; seen && seen != now && i < camera_set_count(seen->cameras); i++)
        metric_set(&camera_enabled, camera_set_at(seen->cameras, i)->name, 0);
    for (size_t i = 0; i < camera_set_count(now->cameras); i++) {
        const struct camera *cam = camera_set_at(now->cameras, i);
        metric_set(&camera_enabled, cam->name, camera_is_enabled(cam));
        if (seen != now)
            find_last_picture(d, cam->name);
    }
    if (seen == now)
        return;
    settings_unref(seen);
    d->gauges_seen = STEAL(now);
}

static double file_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (double)st.st_size : 0;
}

static void update_sizes(struct daemon *d)
{
    static const struct retention_class all = {.starred = -1, .person = -1};
    struct retention_sums sums;
    struct err e;
    AUTO_FREE char *wal = xasprintf("%s-wal", d->ledger_path);
    metric_set(&ledger_bytes, NULL, file_bytes(d->ledger_path));
    metric_set(&wal_bytes, NULL, file_bytes(wal));
    metric_set(&reserve_bytes, NULL, (double)d->store_reserve);
    if (ledger_retention_sums(d->ledger, &all, NULL, &sums, &e) == 0) {
        metric_set(&store_bytes, NULL, (double)sums.bytes);
        metric_set(&store_pictures, NULL, (double)sums.files);
    }
}

void gauges_update(struct daemon *d)
{
    update_destinations(d);
    update_cameras(d);
    update_sizes(d);
    metric_set(&detector_ready, NULL, d->pipeline.detector && d->gauges_seen->detection_enabled);
    atomic_store(&d->gauges_at_us, clock_mono().us);
}

void gauges_stop(struct daemon *d)
{
    metrics_remove_collector(collect, d);
    settings_unref(STEAL(d->gauges_seen));
}
