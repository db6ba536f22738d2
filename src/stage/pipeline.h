#pragma once
/* What the stages share, and the items on their edges. Filled by app before the first stage starts
 * (app/topology.c is the table of threads and edges); the settings alone change afterwards. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/host_list.h"
#include "camera/camera_config.h"
#include "camera/fetcher.h"
#include "detect/cascade.h"
#include "detect/choice.h"
#include "detect/cloud_config.h"
#include "detect/detect_config.h"
#include "detect/detector.h"
#include "ledger/store.h"
#include "ledger/thumbnails.h"
#include "model/news.h"
#include "model/trigger.h"
#include "notify/amqp_config.h"
#include "notify/notifier.h"
#include "stage/burst.h"
#include "stage/cache.h"
#include "stage/claims.h"
#include "stage/doubts.h"
#include "stage/push_route.h"
#include "stage/retention_config.h"
#include "stage/spool_config.h"
#include "stage/stage.h"
#include "stage/thumbnail_wishes.h"
#include "storage/registry.h"

/* What a reload may change: immutable, shared by reference, swapped as a whole. */
struct settings {
    void *owner; /* owns the strings of `detect`; freed by release(owner) with the settings */
    void (*release)(void *owner);
    struct camera_set *cameras;
    const struct host_list *allow_hosts; /* of addresses that come with triggers; the owner's */
    bool detection_enabled;              /* by any detector */
    enum detect_mode detect_mode;        /* by which */
    struct detect_config detect;         /* filter and annotation */
    struct cloud_config cloud;           /* what it may cost */
    double cloud_confidence_min;         /* of the cloud's answers; <0: as opened */
    struct picture_limits limits;
    const char *const *destinations;     /* of events, NULL-terminated; static for the process */
    const struct storage_plan *storages; /* what goes where; the owner's */
    size_t storage_count;
    struct spool_rules spool;
    struct retention_config retention;
    const struct push_folder *push_folders; /* of accounts with a camera; the owner's */
    size_t push_folder_count;
    const char *const *kept_folders; /* below the FTP root, NULL-terminated; NULL = none */
    unsigned refs;                   /* private */
};
void settings_unref(struct settings *s);
struct settings *settings_ref(struct settings *s);
DEFINE_AUTO(settings, settings_unref)

/* Stages that others wake. */
enum pipeline_stage {
    PIPELINE_FETCH,
    PIPELINE_INTAKE,
    PIPELINE_DETECT,
    PIPELINE_CONSULT,
    PIPELINE_DELIVER,
    PIPELINE_SCHEDULE,
    PIPELINE_SPOOL,
    PIPELINE_UPLOAD,
    PIPELINE_THUMBNAIL,
    PIPELINE_STAGE_COUNT
};

/* Stages of one kind that can be woken: detect workers, deliver has one per destination, upload one
 * per storage. */
#define PIPELINE_POOL_MAX CLAIM_WORKERS_MAX

struct pipeline {
    struct bus *bus;
    const char *ledger_path;
    struct store *store;   /* its calls may come from any thread */
    int64_t store_reserve; /* bytes that it leaves free */
    struct picture_cache *cache;
    struct thumbnails *thumbnails;             /* NULL = there is no folder for them */
    struct thumbnail_wishes *thumbnail_wishes; /* NULL = none are made */
    bool thumbnails_always, thumbnails_auto;   /* made before anybody asks: see below */
    struct claims *claims;
    struct camera_switches *switches; /* what people have switched off; NULL = nothing ever is */
    /* Set once each, at the start or by the reload that first wants it; NULL = there is none. */
    struct detector *_Atomic detector; /* the local one */
    struct detector *_Atomic cloud;
    bool chooses;          /* the choose stage runs: bursts can be sent to it */
    struct doubts *doubts; /* what waits for the cloud */
    unsigned detect_workers;
    struct notifier *const *notifiers; /* NULL-terminated */
    struct storage *const *storages;   /* NULL-terminated; NULL = none */
    const struct amqp_config *broker;  /* whose triggers are taken; NULL = nobody's */
    const struct spool_options *spool; /* folders whose files are taken; NULL = none */
    double patience; /* multiplies what stages may be silent, see [health]; 0 = 1 */
    int stop_fd;     /* readable since the program stops: ends what waits for a peer; 0 = none */
    /* A trigger or snapshot has an outcome (waiting API requests). Any thread; may be NULL. */
    void (*outcome)(void *arg, const char *id);
    void *outcome_arg;
    /* Something has happened that somebody may listen to. Any thread, never blocks; may be NULL. */
    void (*news)(void *arg, enum news what, const char *subject);
    void *news_arg;
    _Atomic int64_t ledger_rest_us; /* monotonic: until then the ledger takes no verdicts */
    pthread_mutex_t lock;
    struct settings *settings_now; /* guarded by lock */
    struct stage *_Atomic woken[PIPELINE_STAGE_COUNT][PIPELINE_POOL_MAX];
};

/* The settings of this moment: a new reference. */
struct settings *pipeline_settings(struct pipeline *p);
/* Takes the reference. */
void pipeline_publish(struct pipeline *p, struct settings *s);
void pipeline_wake(struct pipeline *p, enum pipeline_stage which);
void pipeline_outcome(struct pipeline *p, const char *id);
void pipeline_tell(struct pipeline *p, enum news what, const char *subject);

/* A trigger that comes to nothing, once each: what the predecessor counts at CloudWatch. Any
 * thread. */
enum pipeline_error {
    PIPELINE_UNKNOWN_CAMERA,
    PIPELINE_MALFORMED,  /* the message, or the camera's parameters in it */
    PIPELINE_NO_PICTURE, /* all tries failed, or there was no time left for one */
    PIPELINE_ERROR_COUNT
};
extern const char *const pipeline_error_names[PIPELINE_ERROR_COUNT];
void pipeline_count_error(enum pipeline_error error);
void pipeline_register_metrics(void);

/* When the ledger could not take a verdict nothing is examined for so long: the work would be
 * thrown away. Also the promise after freed space. Any thread. */
#define PIPELINE_LEDGER_REST_MS 5000
void pipeline_rest_ledger(struct pipeline *p);
int64_t pipeline_ledger_rest_ms(struct pipeline *p); /* what is left of it, 0 = none */

/* Makes a trigger for a camera durable and wakes the fetch stage. Any thread, with its own ledger
 * connection. -ENOENT: no such camera (the text lists what there is). */
int pipeline_trigger(struct pipeline *p, struct ledger *l, const char *camera,
                     enum trigger_origin origin, struct wall_time event_at, struct trigger *ret,
                     struct err *e);
/* -ENOENT, and a text that lists what there is. */
int pipeline_unknown_camera(const struct camera_set *set, const char *camera, struct err *e);
/* A person switches a camera off, or on again; it stays so over restarts. Any thread. -ENOENT as
 * above; -ECANCELED: it is the configuration that says off. */
int pipeline_switch_camera(struct pipeline *p, const char *camera, bool off, struct err *e);
/* Small copies are made before anybody asks: always, or while people look at them. */
bool pipeline_thumbnails_early(const struct pipeline *p);
/* A picture's bytes from the cache or the store. */
int pipeline_bytes(struct pipeline *p, const struct snapshot *s, struct blob **ret, struct err *e);
/* The same of a swept row, which may be so fresh that intake has not put its file in place yet. */
int pipeline_bytes_placed(struct pipeline *p, const struct snapshot *s, struct blob **ret,
                          struct err *e);
/* Removes the copy with boxes that a new verdict has made wrong, and says so in the ledger: then
 * another may be drawn. Under the row's claim. */
int pipeline_clear_copy(struct pipeline *p, struct ledger *l, const struct snapshot *s,
                        struct err *e);
/* Sends a verdict (taken) along an opened EDGE_JUDGED, and the claim with it: until it is recorded
 * nobody else looks at the picture. False when it could not be, which is logged; the claim is
 * dropped then, and the picture is examined again. */
bool pipeline_hand_over(struct pipeline *p, struct bus_out *out, struct snapshot *s,
                        struct verdict *v);
/* The program stops: nobody begins to wait for a peer. */
bool pipeline_stopping(const struct pipeline *p);
/* The window of doubt and the rest of the cascade's rule for this camera. */
struct cascade_rule pipeline_cascade_rule(const struct settings *s, const char *camera);
/* Where people find the pictures, for events: the link of the first storage that has one. Returns
 * `buf`, or NULL when there is none. */
const char *pipeline_storage_url(const struct pipeline *p, char buf[STORAGE_ID_MAX]);

/* ---- edges ---- */

#define EDGE_BURST "burst"       /* fetch -> choose */
#define EDGE_FETCHED "fetched"   /* fetch, choose, spool -> intake */
#define EDGE_STORED "stored"     /* intake -> detect.i */
#define EDGE_JUDGED "judged"     /* detect.i -> record */
#define EDGE_PROMISED "promised" /* record -> annotate; items are ids, char[SNAPSHOT_ID_SIZE] */

/* What intake made of a picture; the fetch stage reads it to let go of the trigger, the spool stage
 * to remove the file. */
enum fetched_outcome {
    FETCHED_PENDING,
    FETCHED_RECORDED, /* the ledger has it, or the trigger wants none any more */
    FETCHED_REFUSED,  /* not recorded, the trigger is still pending; ask again later */
    FETCHED_UNUSABLE, /* of pushed ones: never to be recorded, see `why` */
};

/* What a pushed picture has beside its bytes. */
struct pushed {
    char name[256];      /* basename, as its camera gave it */
    bool named;          /* the name told the event's time: the same picture of the same moment is a
                            repeat */
    int fd;              /* its file, for a second name in the store; -1 = the bytes are written */
    int64_t modified_ns; /* of it, since 1970 */
    bool awaited;        /* pipeline_outcome() is told when the outcome is known */
    int code;            /* negative errno, and why, when it is not recorded */
    char why[ERR_TEXT_MAX];
};
struct fetched {
    atomic_uint refs;
    struct trigger trigger; /* of a pushed picture it is no row, but says who and when */
    struct pushed *pushed;  /* NULL = fetched */
    char directory[SNAPSHOT_KEY_MAX];
    struct blob *bytes;
    double fetch_ms;
    struct wall_time received_at;
    struct burst_rank rank;
    atomic_int outcome; /* enum fetched_outcome */
    /* The sharpest of a burst has the others behind it, each with the next, until one is chosen. */
    struct fetched *rival;
    atomic_bool hurried; /* the fetch stage stops: the sharpest is to be chosen, unasked */
};
struct fetched *fetched_ref(struct fetched *f);
void fetched_unref(void *fetched); /* release hook */

/* A verdict on its way to the ledger. It holds the claim to its row, and drops it with the last
 * reference: then the picture is recorded, or somebody else's turn. Any thread. */
struct judged {
    atomic_uint refs;
    struct claims *claims;
    struct snapshot *snapshot;
    struct verdict verdict;
};
/* Takes what is in *v, and a reference of its own to the snapshot. */
struct judged *judged_new(struct claims *claims, struct snapshot *s, struct verdict *v);
struct judged *judged_ref(struct judged *j);
void judged_unref(void *judged); /* release hook */

/* ---- the stages, one file each; `self` is made by _new and freed by the caller after the join
 * ---- */

extern const struct stage_ops fetch_stage, choose_stage, intake_stage, detect_stage, consult_stage,
    record_stage, annotate_stage, deliver_stage, schedule_stage, control_stage, spool_stage,
    janitor_stage, upload_stage, thumbnail_stage;
void *fetch_stage_new(struct pipeline *p);
void *choose_stage_new(struct pipeline *p);  /* needs p->detector */
void *consult_stage_new(struct pipeline *p); /* needs p->cloud and p->doubts */
void *intake_stage_new(struct pipeline *p);
/* A picture of the camera was received at this moment, the metric shows the latest. Any thread. */
void intake_show_last_picture(const char *camera, struct wall_time at);
void *detect_stage_new(struct pipeline *p);
void *record_stage_new(struct pipeline *p);
void *annotate_stage_new(struct pipeline *p);
void *deliver_stage_new(struct pipeline *p, struct notifier *n);
void *schedule_stage_new(struct pipeline *p);
void *janitor_stage_new(struct pipeline *p);
void *control_stage_new(struct pipeline *p); /* needs p->broker */
void *spool_stage_new(struct pipeline *p);   /* needs p->spool */
void *upload_stage_new(struct pipeline *p, struct storage *s);
void *thumbnail_stage_new(struct pipeline *p); /* needs p->thumbnails and p->thumbnail_wishes */

/* State of a camera as the fetch stage sees it, for the API. Any thread. */
void fetch_stage_camera_status(void *self, const char *camera, struct camera_status *ret);

/* How the control stage stands with its broker. Any thread. */
struct control_status {
    bool consuming;
    char peer[AMQP_NAME_MAX + 16]; /* host:port of the last attempt, "" before */
    char queue[AMQP_NAME_MAX];     /* "" before the first one was declared */
    char last_error[ERR_TEXT_MAX]; /* why it does not, or "" */
    int64_t waiting; /* triggers taken from the broker that the ledger does not have yet */
};
void control_stage_status(void *self, struct control_status *ret);

/* What a destination is doing, for people. Any thread. */
struct destination_status {
    char state[256]; /* "" when there is nothing to say */
    char last_error[ERR_TEXT_MAX];
};
void deliver_stage_status(void *self, struct destination_status *ret);

/* What a storage takes at the moment, for people. Any thread. */
struct storage_status {
    enum storage_trouble trouble;
    int64_t pause_ms;                 /* until the next try, 0 = now */
    struct wall_time since;           /* of the trouble; 0 = it is well */
    int under_way;                    /* uploads at this moment */
    int64_t kept, failed;             /* since the start */
    char state[256];                  /* as the storage says it, "" = nothing */
    char error[ERR_TEXT_MAX];         /* of the trouble, or the last failure; "" = none */
    char url[STORAGE_ID_MAX];         /* where people find it, or "" */
    int64_t free_bytes;               /* of it, some minutes ago; -1 = not known */
    char archive_error[ERR_TEXT_MAX]; /* of the last tidying, or "" */
    enum storage_trouble archive_trouble;
};
void upload_stage_status(void *self, struct storage_status *ret);

/* What the spool stage sees of one of its folders. Any thread. */
struct spool_status {
    char name[SNAPSHOT_KEY_MAX]; /* "ftp", or NAME of [watch:NAME] */
    char root[512];
    char trouble[ERR_TEXT_MAX]; /* "" when well */
    bool polling;
    int64_t folders, settling, taking; /* now */
    int64_t taken, repeated, refused;  /* since the start */
    int64_t left[SPOOL_LEFT_COUNT];    /* files that were left alone, since the start, by reason */
    char left_example[512];            /* the last folder without a camera, or "" */
};
/* At most `max` folders; returns the count. */
size_t spool_stage_status(void *self, struct spool_status *ret, size_t max);
