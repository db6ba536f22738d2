#pragma once
/* The program's whole configuration: the list of all sections (app_schema), the rows of those that
 * no other module owns, and the resolved view in which the keys of the program's predecessor have
 * become ours.
 *
 * The predecessor (https://github.com/tailucas/snapshot-processor) has its own sections and names
 * of environment variables; its config/app.conf loads as it is. What has an effect here:
 *
 *   theirs                                            ours
 *   [snapshots] object_detection_enabled              [detection] enabled
 *   [object_detection] model_url, model_name, model   [detection] model
 *   [object_detection] minimum_confidence             [detection] minimum_confidence
 *   [human_detection] minimum_confidence              [detection] minimum_human_confidence
 *   [snapshots] root_dir                              [app] data_dir, its parent, when it ends in
 *                                                     /ftp
 *   FEATURE_FLAG_OBJECT_DETECTION                     detection, of any kind
 *   FEATURE_FLAG_LOCAL_..., _CLOUD_...                which kind: detect/choice.h
 *
 * Of two that both are given the one from the stronger source wins (see doc/configuration.md); from
 * equal sources ours and theirs must agree, else it is a fault. */

#include "base/host_list.h"
#include "camera/camera_config.h"
#include "cfg/cfg.h"
#include "detect/choice.h"
#include "detect/cloud_config.h"
#include "detect/detect_config.h"
#include "detect/rekognition.h"
#include "ftp/ftp_account.h"
#include "ftp/ftp_config.h"
#include "notify/amqp_config.h"
#include "secrets/secrets.h"
#include "stage/push_route.h"
#include "stage/retention_config.h"
#include "stage/spool_config.h"
#include "storage/gdrive_config.h"
#include "storage/registry.h"

extern const struct cfg_schema app_schema;

struct app_values {
    const char *app_name;
    const char *device_name;
    const char *data_dir;
    int log_level;  /* enum log_level */
    int log_format; /* enum log_format */
    int log_to;     /* enum log_to */
    const char *syslog_address;
    const char *journal_socket;
    int64_t grace_ms;
    bool sandbox;
    const char *cronitor_monitor_key; /* "" = none */
};
struct store_values {
    const char *path;
    int64_t reserve; /* bytes */
};
struct cache_values {
    int64_t size; /* bytes */
};
enum events_format { EVENTS_TEXT, EVENTS_JSON, EVENTS_NONE, EVENTS_FORMAT_COUNT };
struct events_values {
    int format; /* enum events_format */
    const char *file;
};

/* An input or output device of the predecessor's lists. */
struct app_device {
    unsigned number;
    const char *type, *location; /* location may be "" */
    const char *device_key;      /* "<location> <type>", or the type alone */
    const char *directory;       /* "<upload_dir>/<location lower-cased, without spaces>";
                                    NULL when the location gives no folder name */
    bool camera;                 /* its type is "camera" in any case */
    const char *section;         /* the NAME of [camera:NAME] that is the same device, or NULL: then
                                    its address must come with the trigger */
};

/* Immutable; strings live as long as it does. Any thread may read. */
struct app_config {
    struct cfg *cfg;       /* our reference */
    struct app_values app; /* resolved */
    const char *log_name;  /* the program's in syslog: app_name when given, else snapshotd */
    struct events_values events;
    int64_t cache_size;                 /* bytes */
    int64_t store_reserve;              /* bytes */
    const char *ledger_path;            /* <data_dir>/snapshotd.db */
    const char *store_path;             /* <data_dir>/store, or [store] path */
    const char *thumbnails_path;        /* <data_dir>/thumbnails */
    const char *switches_path;          /* <data_dir>/cameras-off.json */
    const char *models_dir;             /* <data_dir>/models */
    const char *ftp_root;               /* root_dir, or <data_dir>/ftp */
    const char *upload_dir;             /* below ftp_root */
    const char *refused_path;           /* <data_dir>/refused */
    struct spool_folder *spool_folders; /* owned; see stage/spool_config.h */
    size_t spool_folder_count;
    struct push_folder *push_folders; /* owned: whose pictures the accounts' folders hold */
    size_t push_folder_count;
    const char *const *kept_folders;  /* below ftp_root: those of create_dirs and of accounts */
    struct detect_config detect;      /* resolved */
    struct camera_set *cameras;       /* [camera:NAME] and the outputs that are cameras */
    struct host_list *allow_hosts;    /* [rabbitmq] allow_hosts */
    const struct amqp_config *broker; /* NULL = none */
    const struct gdrive_config *gdrive;
    const char *gdrive_token_file; /* [gdrive] creds_file, or <data_dir>/tokens/gdrive.json */
    const struct ftp_config *ftp;
    struct ftp_accounts *ftp_accounts; /* who may push; may be empty */
    bool ftp_runs;                     /* the server is wanted and somebody may log in */
    enum detect_mode detect_mode;      /* who looks at pictures, */
    char detect_why[CHOICE_WHY_MAX];   /* and which key or flag says so, in words */
    struct cloud_config cloud;
    const char *detection_off; /* a sentence why detection is off; NULL = on. detect.enabled says
                                  the same */
    struct storage_plan *storages; /* owned: where pictures are kept */
    size_t storage_count;
    const struct app_device *outputs, *inputs; /* ascending by number, blank ones left out */
    size_t output_count, input_count;
    char *warnings;                /* of reading it, a line each; NULL = none, or told already */
    struct secrets_report secrets; /* what became of its references */
};

/* [feature_flags], whose values may change while the program runs: the row for a name. */
const struct cfg_section *app_config_flags(void);
/* Of early keys alone, so that it can be asked while references are resolved. */
void app_config_data_dir(const struct cfg *c, char *ret, size_t size);
const char *app_config_app_name(const struct cfg *c);

/* Merges; takes its own reference of `c`. 0, or -EINVAL with the faults as text, a line per fault
 * (malloc()ed); warnings likewise, also on success. */
int app_config_resolve(struct cfg *c, struct app_config **ret, char **ret_faults,
                       char **ret_warnings);
void app_config_free(struct app_config *a);
DEFINE_AUTO(app_config, app_config_free)
