#pragma once
/* What the running daemon shows of itself: the API's view of it, and the gauges. */

#include <pthread.h>
#include <stdatomic.h>

#include "app/config.h"
#include "app/confine.h"
#include "app/queue_history.h"
#include "app/topology.h"
#include "cloudwatch/cloudwatch.h"
#include "fan/fan.h"
#include "ftp/ftp_server.h"
#include "health/health.h"
#include "report/report.h"
#include "secrets/flags.h"
#include "stage/post.h"
#include "web/web.h"

#define DAEMON_NOTIFIERS_MAX 2

/* Stages as the health thread sees them; its own. */
struct health_stages {
    size_t count;
    struct stage_status list[HEALTH_STAGES_MAX];
};
/* What waits, by the ledger: counted on the main thread, see app/health_view.h. */
struct health_counts {
    _Atomic int64_t triggers, stored;
    _Atomic int64_t events[DAEMON_NOTIFIERS_MAX]; /* as in `destinations` */
    _Atomic int64_t files[STORAGES_MAX];          /* as in `storages` */
    struct mono_time probe_at;                    /* the main thread's */
    pthread_mutex_t lock;                         /* guards what follows */
    bool ledger_failed;
    char ledger_error[ERR_TEXT_MAX];
};

/* The running program, made by daemon.c. */
struct daemon {
    struct app_config *config; /* of this moment; owned by the settings once they are published */
    bool config_shared;
    struct cfg *first_cfg; /* of the start: what a reload does not change keeps its strings there */
    struct pipeline pipeline;
    struct queue_history queues;                          /* has its own lock */
    struct notifier *notifiers[DAEMON_NOTIFIERS_MAX + 1]; /* NULL-terminated */
    const char *destinations[DAEMON_NOTIFIERS_MAX + 1];   /* their names, likewise */
    struct storage *storages[STORAGES_MAX + 1];           /* NULL-terminated */
    struct storage_plan *storage_plans;                   /* of the start: has their names */
    int events_fd, lock_fd, signal_fd;
    int fault_fd; /* readable: something hangs, the program is to end */
    struct health *health;
    struct health_counts health_counts;
    struct health_stages health_stages;
    pthread_t main_thread;
    int stop_fd; /* readable since the stop began: ends what waits for a peer that is not there */
    char *ledger_path;
    int64_t store_reserve;      /* bytes */
    struct spool_options spool; /* of the start; its strings are first_cfg's and `spool_texts` */
    char *spool_texts[3];
    struct ledger *ledger;     /* of the main thread */
    struct ledger *web_ledger; /* of the web thread, for the backend's calls */
    struct topology *topology;
    struct web *_Atomic web;
    struct post_box *posts;         /* of the web thread; NULL without one */
    pthread_mutex_t secrets_lock;   /* guards what follows, which the main thread changes */
    struct secrets_report secrets;  /* of the last start or reload */
    struct flags *flags;            /* who asks for feature flags; NULL = nobody */
    int flags_fd;                   /* readable when one has changed */
    struct ftp_server *_Atomic ftp; /* NULL = it is off */
    struct report *report;          /* errors go to Sentry; NULL before the data folder is ours */
    char ftp_off[128];              /* why */
    struct fan *fan;
    pthread_mutex_t words_lock;            /* guards the two; a reload may change them */
    char detector_text[512];               /* what the local detector is, or why there is none */
    char cloud_text[512];                  /* likewise */
    struct cloudwatch *_Atomic cloudwatch; /* NULL = it is off */
    char cloudwatch_off[ERR_TEXT_MAX];     /* why */
    struct confine confine;
    atomic_bool ready;
    struct wall_time started_at;
    struct mono_time started_mono;
    struct settings *gauges_seen; /* whose cameras the gauges show; the main thread's */
    _Atomic int64_t gauges_at_us; /* monotonic: when the main loop last looked */
};

struct web_backend status_backend(struct daemon *d);
/* By the last look of the health thread; before the first the program is alive and not ready. Any
 * thread. */
bool status_is_alive(struct daemon *d);
bool status_is_ready(struct daemon *d);
void status_register_metrics(void);
/* From the main thread, each tick. */
void status_update_gauges(struct daemon *d);
