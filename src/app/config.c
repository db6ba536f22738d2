/* The list of sections stands at the end of the rows; what becomes of the predecessor's keys
 * (github.com/tailucas/snapshot-processor, config/app.conf and the table in its README) follows. */

#include "app/config.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "app/aws_rows.h"
#include "aws/aws_config.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "cloudwatch/cloudwatch.h"
#include "fan/fan_config.h"
#include "ftp/ftp_config.h"
#include "health/health_config.h"
#include "notify/amqp_config.h"
#include "secrets/flags.h"
#include "secrets/secrets_config.h"
#include "stage/cron.h"
#include "report/report_config.h"
#include "storage/directory.h"
#include "storage/gdrive_config.h"
#include "storage/s3.h"
#include "sys/log_place.h"
#include "sys/log_socket.h"
#include "web/web_config.h"

#define AT(type, field) .offset = offsetof(struct type, field)
#define SECTION(variable, section_name, type, rows, words)                                         \
    static const struct cfg_section variable = {                                                   \
        .name = section_name,                                                                      \
        .struct_size = sizeof(struct type),                                                        \
        .keys = rows,                                                                              \
        .key_count = ARRAY_LEN(rows),                                                              \
        .help = words,                                                                             \
    }

/* --- our own sections ------------------------------------------------------------------------- */

static const char *const level_names[] = {"error", "warning", "notice", "info", "debug", NULL};
static const char *const format_names[] = {"text", "json", NULL};
static const char *const place_names[] = {"auto", "console", "syslog", "journald", NULL};
static const char *const events_names[] = {"text", "json", "none", NULL};
_Static_assert(ARRAY_LEN(level_names) == LOG_LEVEL_COUNT + 1, "a name for each level");
_Static_assert(ARRAY_LEN(format_names) == LOG_FORMAT_COUNT + 1, "a name for each format");
_Static_assert(ARRAY_LEN(place_names) == LOG_TO_COUNT + 1, "a name for each place");
_Static_assert(ARRAY_LEN(events_names) == EVENTS_FORMAT_COUNT + 1, "a name for each format");

static int check_log_address(const void *value, char *why, size_t why_size)
{
    struct log_socket s;
    const char *address = *(const char *const *)value;
    return !*address || log_socket_parse(address, &s, why, why_size) ? 0 : -EINVAL;
}

static const struct cfg_key app_keys[] = {
    {.name = "device_name",
     .type = CFG_STRING,
     AT(app_values, device_name),
     .fallback = "snapshot-processor",
     .flags = CFG_ENV_NAME,
     .env = "DEVICE_NAME",
     .help = "How this machine calls itself in events"},
    {.name = "app_name",
     .type = CFG_STRING,
     AT(app_values, app_name),
     .fallback = "snapshot-processor",
     .flags = CFG_ENV_NAME | CFG_EARLY,
     .env = "APP_NAME",
     .help = "How the program calls itself in metrics and in the FTP greeting"},
    {.name = "data_dir",
     .type = CFG_PATH,
     AT(app_values, data_dir),
     .fallback = "./data",
     .flags = CFG_EARLY,
     .help = "Where the ledger, the pictures and the models are kept",
     .doc = "`snapshotd.db` is the ledger, `store/` holds the pictures, `models/` the detection "
            "models, `ftp/` what cameras push. When `data_dir` is not given but [snapshots] "
            "root_dir is, and that ends in `/ftp`, its parent is taken, so that a set-up of the "
            "predecessor keeps its data in one place."},
    {.name = "log_level",
     .type = CFG_CHOICE,
     AT(app_values, log_level),
     .fallback = "info",
     .choices = level_names,
     .flags = CFG_RELOAD,
     .help = "How much is logged"},
    {.name = "log_format",
     .type = CFG_CHOICE,
     AT(app_values, log_format),
     .fallback = "text",
     .choices = format_names,
     .flags = CFG_RELOAD,
     .help = "Log lines for people, or one JSON object a line"},
    {.name = "log_to",
     .type = CFG_CHOICE,
     AT(app_values, log_to),
     .fallback = "auto",
     .choices = place_names,
     .flags = CFG_RELOAD,
     .help = "Where log lines go",
     .doc = "`auto` is the predecessor's choice: `syslog` when there is a `syslog_address` "
            "(SYSLOG_ADDRESS) or a /dev/log, else the console, which is standard error. But on a "
            "terminal the lines stay there, and under systemd they go to `journald`. While a place "
            "is away its lines go to the console; see doc/logging.md."},
    {.name = "syslog_address",
     .type = CFG_STRING,
     AT(app_values, syslog_address),
     .flags = CFG_RELOAD | CFG_ENV_NAME,
     .env = "SYSLOG_ADDRESS",
     .help = "Where syslog listens: udp://HOST:PORT, tcp://HOST:PORT, or a path; empty = /dev/log",
     .doc = "By network lines are sent as RFC 5424 has them, by TCP with octet counting (RFC "
            "6587). Without a port it is 514 by UDP and 601 by TCP.",
     .validate = check_log_address},
    {.name = "journal_socket",
     .type = CFG_PATH,
     AT(app_values, journal_socket),
     .flags = CFG_RELOAD,
     .help = "Socket of the journal; empty = /run/systemd/journal/socket",
     .validate = check_log_address},
    {.name = "shutting_down_grace_secs",
     .type = CFG_DURATION,
     AT(app_values, grace_ms),
     .fallback = "5s",
     .min = 0,
     .max = 300e3,
     .bare_unit_ms = 1000,
     .flags = CFG_RELOAD | CFG_ENV_NAME,
     .help = "How long running work may take to end when the program stops"},
    {.name = "sandbox",
     .type = CFG_BOOL,
     AT(app_values, sandbox),
     .fallback = "yes",
     .help = "Whether the program gives up rights that it does not need",
     .doc = "At the start it drops all capabilities but the one for ports below 1024, when it has "
            "that, and takes no new privileges, nor do programs that it starts; a crash leaves no "
            "core, which would have passwords in it. When it is ready, a seccomp filter leaves it "
            "the system calls of a server of files and sockets. "
            "Programs can be started only if a camera is of kind command. doc/hardening.md says "
            "what that means, and what may need `no`: a graphics driver, or a camera's program "
            "that uses sudo."},
    {.name = "cronitor_monitor_key",
     .type = CFG_SECRET,
     AT(app_values, cronitor_monitor_key),
     .flags = CFG_COMPAT | CFG_ENV_NAME | CFG_RELOAD,
     .env = "CRONITOR_MONITOR_KEY",
     .help = "Monitor at Cronitor that hears of the program's health"},
};
SECTION(app_section, "app", app_values, app_keys, "The program itself.");

static const struct cfg_key store_keys[] = {
    {.name = "path",
     .type = CFG_PATH,
     AT(store_values, path),
     .help = "Where the pictures are kept; empty = store in data_dir",
     .doc = "Below it pictures lie in `<camera>/<year>/<month>/<day>/`, dates in UTC. It must be "
            "on one file system."},
    {.name = "reserve",
     .type = CFG_SIZE,
     AT(store_values, reserve),
     .fallback = "256MB",
     .min = 0,
     .max = 1099511627776.0,
     .unit = "bytes",
     .help = "Free space that is left on the disk; below it no picture is taken in"},
};
SECTION(store_section, "store", store_values, store_keys, "The pictures on disk.");

static const struct cfg_key cache_keys[] = {
    {.name = "size",
     .type = CFG_SIZE,
     AT(cache_values, size),
     .fallback = "1MB", /* the way through the pipeline; behind it the page cache is as quick */
     .min = 0,
     .max = 4294967296.0,
     .unit = "bytes",
     .help = "Memory for recent pictures, which serves detection and the API without the disk"},
};
SECTION(cache_section, "cache", cache_values, cache_keys, "Recent pictures in memory.");

static const struct cfg_key events_keys[] = {
    {.name = "format",
     .type = CFG_CHOICE,
     AT(events_values, format),
     .fallback = "text",
     .choices = events_names,
     .help = "Events as lines for people, as one JSON object a line, or not at all"},
    {.name = "file",
     .type = CFG_PATH,
     AT(events_values, file),
     .help = "File that events are appended to; empty = standard output"},
};
SECTION(events_section, "events", events_values, events_keys,
        "What is told about each picture, here.");

/* --- the predecessor's sections --------------------------------------------------------------- */

#define THEIRS (CFG_COMPAT | CFG_ENV_NAME)

struct snapshots_values {
    const char *root_dir, *upload_dir;
    bool object_detection_enabled;
};
static const struct cfg_key snapshots_keys[] = {
    {.name = "root_dir",
     .type = CFG_PATH,
     AT(snapshots_values, root_dir),
     .flags = THEIRS | CFG_EARLY,
     .help = "Root of what cameras push; empty = ftp in data_dir"},
    {.name = "upload_dir",
     .type = CFG_PATH,
     AT(snapshots_values, upload_dir),
     .fallback = "uploads",
     .flags = THEIRS,
     .env = "FTP_UPLOAD_DIR",
     .help = "Folder in root_dir that holds a folder for each camera's location"},
    {.name = "object_detection_enabled",
     .type = CFG_BOOL,
     AT(snapshots_values, object_detection_enabled),
     .fallback = "true",
     .flags = THEIRS | CFG_RELOAD,
     .help = "The same as [detection] enabled"},
};
SECTION(snapshots_section, "snapshots", snapshots_values, snapshots_keys,
        "The predecessor's folders, and its switch for detection.");

struct object_detection_values {
    const char *model, *model_name, *model_url;
    double minimum_confidence;
};
static const struct cfg_key object_detection_keys[] = {
    {.name = "model",
     .type = CFG_STRING,
     AT(object_detection_values, model),
     .flags = THEIRS,
     .help = "The same as [detection] model"},
    {.name = "model_name",
     .type = CFG_STRING,
     AT(object_detection_values, model_name),
     .flags = THEIRS,
     .help = "The same as [detection] model"},
    {.name = "model_url",
     .type = CFG_STRING,
     AT(object_detection_values, model_url),
     .flags = THEIRS,
     .env = "OBJECT_DETECTION_MODEL_URL",
     .help = "The same as [detection] model, before model_name when not empty"},
    {.name = "minimum_confidence",
     .type = CFG_DOUBLE,
     AT(object_detection_values, minimum_confidence),
     .fallback = "0",
     .min = 0,
     .max = 1,
     .unit = "0..1",
     .flags = THEIRS,
     .env = "MINIMUM_CONFIDENCE",
     .help = "The same as [detection] minimum_confidence"},
};
SECTION(object_detection_section, "object_detection", object_detection_values,
        object_detection_keys, "The predecessor's choice of a model.");

struct human_detection_values {
    double minimum_confidence, minimum_human_confidence, confidence;
};
#define HUMAN(key_name)                                                                            \
    {                                                                                              \
        .name = #key_name, .type = CFG_DOUBLE, AT(human_detection_values, key_name),               \
        .fallback = "0", .min = 0, .max = 1, .unit = "0..1", .flags = THEIRS | CFG_RELOAD,         \
        .help = "The same as [detection] minimum_human_confidence"                                 \
    }
static const struct cfg_key human_detection_keys[] = {
    HUMAN(minimum_confidence),
    HUMAN(minimum_human_confidence),
    HUMAN(confidence),
};
SECTION(human_detection_section, "human_detection", human_detection_values, human_detection_keys,
        "The predecessor's threshold for persons.");

struct flags_values {
    bool object_detection, local_object_detection, cloud_object_detection;
    bool cloud_storage_management;
};
static const struct cfg_key flags_keys[] = {
    {.name = "object_detection",
     .type = CFG_BOOL,
     AT(flags_values, object_detection),
     .fallback = "true",
     .flags = CFG_COMPAT | CFG_RELOAD,
     .env = "FEATURE_FLAG_OBJECT_DETECTION",
     .path = FLAG_PATH("object-detection"),
     .help = "Detection of any kind"},
    {.name = "local_object_detection",
     .type = CFG_BOOL,
     AT(flags_values, local_object_detection),
     .fallback = "true",
     .flags = CFG_COMPAT | CFG_RELOAD,
     .env = "FEATURE_FLAG_LOCAL_OBJECT_DETECTION",
     .path = FLAG_PATH("local-object-detection"),
     .help = "Detection by the local model"},
    {.name = "cloud_object_detection",
     .type = CFG_BOOL,
     AT(flags_values, cloud_object_detection),
     .fallback = "false",
     .flags = CFG_COMPAT | CFG_RELOAD,
     .env = "FEATURE_FLAG_CLOUD_OBJECT_DETECTION",
     .path = FLAG_PATH("cloud-object-detection"),
     .help = "Detection by Amazon Rekognition, when the local one is switched off"},
    {.name = "cloud_storage_management",
     .type = CFG_BOOL,
     AT(flags_values, cloud_storage_management),
     .fallback = "true",
     .flags = CFG_COMPAT | CFG_RELOAD,
     .env = "FEATURE_FLAG_CLOUD_STORAGE_MANAGEMENT",
     .path = FLAG_PATH("cloud-storage-management"),
     .help = "Upload to Google Drive and its tidying; the others are not concerned"},
};
SECTION(flags_section, "feature_flags", flags_values, flags_keys,
        "The predecessor's feature flags; [detection] detector says what they decide.");

struct no_values {
    char nothing;
};

#define DEVICES(variable, section_name, letter, variables, words, what)                            \
    static const struct cfg_key variable##_keys[] = {                                              \
        {.name = letter "#",                                                                       \
         .type = CFG_STRING,                                                                       \
         .flags = CFG_NUMBERED | CFG_COMPAT | CFG_RELOAD,                                          \
         .env = variables,                                                                         \
         .help = what},                                                                            \
    };                                                                                             \
    SECTION(variable, section_name, no_values, variable##_keys, words)
DEVICES(input_location_section, "input_location", "I", "INPUT_#_LOCATION",
        "Where the devices are that report something, by number.", "Location of device I#");
DEVICES(input_type_section, "input_type", "I", "INPUT_#_TYPE",
        "What the devices are that report something, by number.",
        "Type of device I#, Camera for one that pushes pictures");
DEVICES(output_location_section, "output_location", "O", "OUTPUT_#_LOCATION",
        "Where the devices are that can be asked for something, by number.",
        "Location of device O#");
DEVICES(output_type_section, "output_type", "O", "OUTPUT_#_TYPE",
        "What the devices are that can be asked for something, by number.",
        "Type of device O#, Camera for one that is asked for pictures");

/* --- the list --------------------------------------------------------------------------------- */

static const struct cfg_section *const all_sections[] = {
    &app_section,
    &detect_config_section,
    &cloud_cfg_section,
    &camera_cfg_section,
    &camera_defaults_cfg_section,
    &ftp_cfg_section,
    &ftp_account_cfg_section,
    &amqp_cfg_section,
    &web_cfg_section,
    &store_section,
    &cache_section,
    &retention_cfg_section,
    &spool_cfg_section,
    &watch_cfg_section,
    &events_section,
    &report_cfg_section,
    &fan_cfg_section,
    &snapshots_section,
    &object_detection_section,
    &human_detection_section,
    &flags_section,
    &input_location_section,
    &input_type_section,
    &output_location_section,
    &output_type_section,
    &directory_cfg_section,
    &gdrive_cfg_section,
    &s3_cfg_section,
    &rekognition_config_section,
    &cloudwatch_config_section,
    &aws_config_section,
    &creds_cfg_section,
    &health_cfg_section,
    &secrets_cfg_section,
    NULL,
};

/* Variables with our prefix that other parts read: the command line, the search for models and for
 * the ONNX Runtime, the tests. */
static const char *const reserved_variables[] = {"SNAPSHOTD_CONFIG", "SNAPSHOTD_MODEL_DIR",
                                                 "SNAPSHOTD_ONNXRUNTIME", "SNAPSHOTD_TOKEN", NULL};

static void check_all(const struct cfg *c, struct cfg_faults *faults);

static const char preface[] =
    "## Files and variables of the predecessor\n\n"
    "The `config/app.conf` and the environment of "
    "[snapshot-processor](https://github.com/tailucas/snapshot-processor)\nwork as they are. What "
    "has an effect:\n\n"
    "| theirs | ours |\n|---|---|\n"
    "| [snapshots] `object_detection_enabled` | [detection] `enabled` |\n"
    "| [object_detection] `model_url`, else `model_name`, else `model` | [detection] `model` |\n"
    "| [object_detection] `minimum_confidence` | [detection] `minimum_confidence` |\n"
    "| [human_detection] `minimum_confidence` | [detection] `minimum_human_confidence` |\n"
    "| [snapshots] `root_dir` | [app] `data_dir` is its parent when it ends in `/ftp` |\n"
    "| [output_location], [output_type] `O1`, ... | cameras, as far as their type is Camera; a "
    "[camera:NAME] section of that location says where they are |\n"
    "| `RUN_FTP_SERVER`, `FTP_USER`, `FTP_PASS`, `FTP_CREATE_DIRS` | [ftp] `enabled`, `user`, "
    "`password`, `create_dirs` |\n"
    "| [ftp] `port` | the FTP server listens on all addresses at this port; without it and "
    "without `listen` on 127.0.0.1 alone |\n"
    "| `AWS_ROLE_ARN` | [cloudwatch] `role_arn`, which switches it on |\n"
    "| the item `AWS.<APP_NAME>` in 1Password | [aws] `access_key_id`, `secret_access_key`, "
    "`region`, `role_arn` |\n"
    "| `FEATURE_FLAG_OBJECT_DETECTION` | detection runs when it is true and [detection] `enabled` "
    "is |\n"
    "| `FEATURE_FLAG_LOCAL_OBJECT_DETECTION`, `FEATURE_FLAG_CLOUD_OBJECT_DETECTION` | the local "
    "model when the first is true, else Amazon Rekognition when the second is, else nothing; see "
    "[detection] `detector` |\n\n"
    "Of two keys that mean the same, the one from the stronger source counts; from equal sources "
    "they must\nagree, else it is a fault. What belongs to a feature of a later release is "
    "accepted, and\n`snapshotd check` lists it.\n";

const struct cfg_schema app_schema = {
    .sections = all_sections,
    .env_prefix = "SNAPSHOTD",
    .env_reserved = reserved_variables,
    .check = check_all,
    .preface = preface,
};

/* --- resolving -------------------------------------------------------------------------------- */

/* The strings that resolving makes, freed with the app_config. */
struct owned {
    struct owned *next;
    char text[];
};

struct app_config_full {
    struct app_config a; /* first: freed by its address */
    struct owned *owned;
    struct app_device *outputs, *inputs;
};

static void resolve_places(struct app_config_full *f);
static void resolve_detection(struct app_config_full *f, struct cfg_faults *faults);
static void resolve_devices(struct app_config_full *f, struct cfg_faults *warnings);
static void resolve_cameras(struct app_config_full *f, struct cfg_faults *faults,
                            struct cfg_faults *warnings);
static void resolve_broker(struct app_config_full *f, struct cfg_faults *faults);
static void check_watches(const struct app_config *a, struct cfg_faults *faults);
static void resolve_ftp(struct app_config_full *f, struct cfg_faults *faults);
static void resolve_push_folders(struct app_config_full *f);
static void resolve_storages(struct app_config *a);
static void check_storage_cameras(const struct app_config *a, struct cfg_faults *warnings);

int app_config_resolve(struct cfg *c, struct app_config **ret, char **ret_faults,
                       char **ret_warnings)
{
    struct app_config_full *f = xcalloc(1, sizeof *f);
    AUTO(app_config) a = &f->a;
    AUTO(cfg_faults) faults = cfg_faults_new(c);
    AUTO(cfg_faults) warnings = cfg_faults_new(c);

    a->cfg = cfg_ref(c);
    a->app = *(const struct app_values *)cfg_values(c, &app_section);
    a->log_name = cfg_is_set(c, &app_section, NULL, "app_name") ? a->app.app_name : "snapshotd";
    a->events = *(const struct events_values *)cfg_values(c, &events_section);
    a->cache_size = ((const struct cache_values *)cfg_values(c, &cache_section))->size;
    a->store_reserve = ((const struct store_values *)cfg_values(c, &store_section))->reserve;
    a->detect = *(const struct detect_config *)cfg_values(c, &detect_config_section);
    resolve_places(f);
    resolve_detection(f, faults);
    resolve_devices(f, warnings);
    resolve_cameras(f, faults, warnings);
    resolve_broker(f, faults);
    check_watches(a, faults);
    resolve_ftp(f, faults);
    resolve_push_folders(f);
    resolve_storages(a);
    check_storage_cameras(a, warnings);
    amqp_config_warn(cfg_values(c, &amqp_cfg_section), warnings);
    ftp_config_warn(c, warnings);
    *ret_warnings = cfg_faults_take(warnings);
    *ret_faults = cfg_faults_take(faults);
    if (*ret_faults)
        return -EINVAL;
    *ret = STEAL(a);
    return 0;
}

void app_config_free(struct app_config *a)
{
    if (!a)
        return;
    struct app_config_full *f = container_of(a, struct app_config_full, a);
    while (f->owned) {
        struct owned *next = f->owned->next;
        free(f->owned);
        f->owned = next;
    }
    free(f->outputs);
    free(f->inputs);
    free(a->warnings);
    free(a->spool_folders);
    free(a->push_folders);
    free(a->storages);
    free((void *)(uintptr_t)a->kept_folders);
    camera_set_unref(a->cameras);
    host_list_free(a->allow_hosts);
    ftp_accounts_unref(a->ftp_accounts);
    cfg_unref(a->cfg);
    free(f);
}

/* The predecessor's flag concerns the only storage that it has. */
#define FLAGGED_STORAGE "gdrive"

static void resolve_storages(struct app_config *a)
{
    const struct flags_values *flags = cfg_values(a->cfg, &flags_section);
    /* What 1Password says may change again at any time. */
    bool looked_up =
        cfg_key_origin(a->cfg, &flags_section, NULL, "cloud_storage_management") == CFG_FROM_PATH;
    size_t kept = 0;
    a->storages = xcalloc(STORAGES_MAX, sizeof(*a->storages));
    size_t count = storage_plans(NULL, a->cfg, a->storages, STORAGES_MAX);
    for (size_t i = 0; i < count; i++) {
        bool off =
            !flags->cloud_storage_management && strcmp(a->storages[i].name, FLAGGED_STORAGE) == 0;
        if (off && !looked_up)
            continue;
        a->storages[i].paused = off;
        if (kept != i)
            a->storages[kept] = a->storages[i];
        a->storages[kept].rule.storage = a->storages[kept].name;
        kept++;
    }
    a->storage_count = kept;
}

/* No fault: one that was taken out of the configuration may stand there. */
static void check_storage_cameras(const struct app_config *a, struct cfg_faults *warnings)
{
    for (size_t i = 0; a->cameras && i < a->storage_count; i++) {
        const struct storage_plan *p = &a->storages[i];
        char shown[80];
        for (const char *const *name = p->common->cameras; name && *name; name++)
            if (!camera_set_find(a->cameras, *name))
                cfg_fault(warnings, p->kind->section->name, p->instance, "cameras",
                          "there is no [camera:%s], so it names no pictures",
                          text_escape(*name, strlen(*name), shown, sizeof shown));
    }
}

static const char *own(struct app_config_full *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
static const char *own(struct app_config_full *f, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    struct owned *o = xmalloc(sizeof *o + (size_t)len + 1);
    va_start(ap, fmt);
    (void)vsnprintf(o->text, (size_t)len + 1, fmt, ap);
    va_end(ap);
    o->next = f->owned;
    f->owned = o;
    return o->text;
}

/* Without trailing slashes, but for the root itself. */
static const char *own_path(struct app_config_full *f, const char *path)
{
    size_t len = strlen(path);

    while (len > 1 && path[len - 1] == '/')
        len--;
    return own(f, "%.*s", (int)len, path);
}

/* Without a data_dir the predecessor's root tells where its data are. */
void app_config_data_dir(const struct cfg *c, char *ret, size_t size)
{
    const struct app_values *app = cfg_values(c, &app_section);
    const struct snapshots_values *theirs = cfg_values(c, &snapshots_section);
    const char *root = theirs->root_dir, *dir = *app->data_dir ? app->data_dir : ".";
    size_t len = strlen(root), keep = strlen(dir);

    while (len > 1 && root[len - 1] == '/')
        len--;
    if (!cfg_is_set(c, &app_section, NULL, "data_dir") && root[0] == '/' && len > strlen("/ftp") &&
        strncmp(root + len - strlen("/ftp"), "/ftp", strlen("/ftp")) == 0) {
        dir = root;
        keep = len - strlen("/ftp");
    }
    while (keep > 1 && dir[keep - 1] == '/')
        keep--;
    (void)text_format(ret, size, "%.*s", (int)keep, dir); /* cut: then nothing is found there */
}

const struct cfg_section *app_config_flags(void)
{
    return &flags_section;
}

const char *app_config_app_name(const struct cfg *c)
{
    return ((const struct app_values *)cfg_values(c, &app_section))->app_name;
}

static void resolve_places(struct app_config_full *f)
{
    struct app_config *a = &f->a;
    const struct snapshots_values *theirs = cfg_values(a->cfg, &snapshots_section);
    const struct store_values *store = cfg_values(a->cfg, &store_section);
    const char *root = *theirs->root_dir ? own_path(f, theirs->root_dir) : "";

    char data_dir[PATH_MAX];
    app_config_data_dir(a->cfg, data_dir, sizeof data_dir);
    a->app.data_dir = own(f, "%s", data_dir);
    a->ledger_path = own(f, "%s/snapshotd.db", a->app.data_dir);
    a->store_path = *store->path ? own_path(f, store->path) : own(f, "%s/store", a->app.data_dir);
    a->thumbnails_path = own(f, "%s/thumbnails", a->app.data_dir);
    a->switches_path = own(f, "%s/cameras-off.json", a->app.data_dir);
    a->models_dir = own(f, "%s/models", a->app.data_dir);
    a->ftp_root = *root ? root : own(f, "%s/ftp", a->app.data_dir);
    a->upload_dir = own_path(f, theirs->upload_dir);
    a->refused_path = own(f, "%s/refused", a->app.data_dir);
    a->gdrive = cfg_values(a->cfg, &gdrive_cfg_section);
    AUTO_FREE char *token_file = gdrive_token_file(a->gdrive, a->app.data_dir);
    a->gdrive_token_file = own(f, "%s", token_file);
    a->spool_folders = spool_config_folders(a->cfg, a->ftp_root, &a->spool_folder_count);
}

/* One of our keys and one of theirs that mean the same. */
struct pair {
    const struct cfg_section *section;
    const char *key, *our_key;
};

/* Whether theirs takes effect: it is given, and from a stronger source than ours. A fault when both
 * sources are equal and the values are not. */
static bool theirs_wins(const struct cfg *c, const struct pair *p, bool same,
                        struct cfg_faults *faults)
{
    enum cfg_origin ours = cfg_key_origin(c, &detect_config_section, NULL, p->our_key);
    enum cfg_origin theirs = cfg_key_origin(c, p->section, NULL, p->key);

    if (theirs == CFG_FROM_DEFAULT || same)
        return false;
    if (ours == theirs) {
        cfg_fault(faults, p->section->name, NULL, p->key,
                  "contradicts %s.%s, which means the same: it says \"%s\", that says \"%s\"; "
                  "remove one",
                  detect_config_section.name, p->our_key, cfg_key_text(c, p->section, NULL, p->key),
                  cfg_key_text(c, &detect_config_section, NULL, p->our_key));
        return false;
    }
    return theirs > ours;
}

/* The predecessor takes the name of a model for local detection from one of three keys; the first
 * that is not empty counts. */
static void resolve_model(struct app_config_full *f, struct cfg_faults *faults)
{
    const struct object_detection_values *v = cfg_values(f->a.cfg, &object_detection_section);
    const struct {
        const char *key, *value;
    } names[] = {{"model_url", v->model_url}, {"model_name", v->model_name}, {"model", v->model}};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!*names[i].value)
            continue;
        struct pair p = {&object_detection_section, names[i].key, "model"};
        if (theirs_wins(f->a.cfg, &p, strcmp(names[i].value, f->a.detect.model) == 0, faults))
            f->a.detect.model = names[i].value;
        return;
    }
}

static void resolve_thresholds(struct app_config_full *f, struct cfg_faults *faults)
{
    const struct cfg *c = f->a.cfg;
    struct detect_config *d = &f->a.detect;
    const struct object_detection_values *o = cfg_values(c, &object_detection_section);
    const struct human_detection_values *h = cfg_values(c, &human_detection_section);
    const struct {
        const char *key;
        double value;
    } human[] = {{"minimum_confidence", h->minimum_confidence},
                 {"minimum_human_confidence", h->minimum_human_confidence},
                 {"confidence", h->confidence}};
    double ours = d->minimum_human_confidence;

    struct pair p = {&object_detection_section, "minimum_confidence", "minimum_confidence"};
    if (theirs_wins(c, &p, o->minimum_confidence == d->minimum_confidence, faults))
        d->minimum_confidence = o->minimum_confidence;
    for (size_t i = 0; i < ARRAY_LEN(human); i++) {
        p = (struct pair){&human_detection_section, human[i].key, "minimum_human_confidence"};
        if (theirs_wins(c, &p, human[i].value == ours, faults))
            d->minimum_human_confidence = human[i].value;
    }
}

static struct detect_flag flag_of(const struct cfg *c, const char *key, bool value)
{
    return (struct detect_flag){.value = value, .given = cfg_is_set(c, &flags_section, NULL, key)};
}

static void resolve_detection(struct app_config_full *f, struct cfg_faults *faults)
{
    struct app_config *a = &f->a;
    const struct snapshots_values *theirs = cfg_values(a->cfg, &snapshots_section);
    const struct flags_values *flags = cfg_values(a->cfg, &flags_section);
    struct pair p = {&snapshots_section, "object_detection_enabled", "enabled"};

    if (theirs_wins(a->cfg, &p, theirs->object_detection_enabled == a->detect.enabled, faults))
        a->detect.enabled = theirs->object_detection_enabled;
    resolve_model(f, faults);
    resolve_thresholds(f, faults);
    struct choice_facts facts = {
        .enabled = a->detect.enabled,
        .plan = (enum detect_plan)a->detect.detector,
        .master = flag_of(a->cfg, "object_detection", flags->object_detection),
        .local = flag_of(a->cfg, "local_object_detection", flags->local_object_detection),
        .cloud = flag_of(a->cfg, "cloud_object_detection", flags->cloud_object_detection)};
    a->detect_mode = detect_choose(&facts, a->detect_why);
    a->detection_off = a->detect_mode == DETECT_NONE ? a->detect_why : NULL;
    a->detect.enabled = a->detection_off == NULL;
    a->cloud = *(const struct cloud_config *)cfg_values(a->cfg, &cloud_cfg_section);
}

struct device_list {
    struct app_config_full *f;
    struct app_device *items;
    size_t count;
    bool types; /* taking types now */
};

static void take_device(unsigned number, const char *value, void *arg)
{
    struct device_list *l = arg;
    struct app_device *d = NULL;

    for (size_t i = 0; i < l->count; i++)
        if (l->items[i].number == number)
            d = &l->items[i];
    if (!d) {
        l->items = xrealloc(l->items, (l->count + 1) * sizeof *l->items);
        d = &l->items[l->count++];
        *d = (struct app_device){.number = number, .type = "", .location = ""};
    }
    if (l->types)
        d->type = value;
    else
        d->location = value;
}

static int by_number(const void *a, const void *b)
{
    const struct app_device *x = a, *y = b;

    return (x->number > y->number) - (x->number < y->number);
}

static void resolve_device(struct app_config_full *f, struct app_device *d)
{
    char folder[SNAPSHOT_KEY_MAX];

    d->device_key = own(f, "%s%s%s", d->location, *d->location ? " " : "", d->type);
    d->directory = camera_directory(d->location, folder, sizeof folder) == 0
                       ? own(f, "%s/%s", f->a.upload_dir, folder)
                       : NULL;
    d->camera = strcasecmp(d->type, "camera") == 0;
}

/* Blank slots, which the predecessor's container set-up always has, are left out. */
static size_t resolve_list(struct app_config_full *f, const struct cfg_section *locations,
                           const struct cfg_section *types, const char *key,
                           struct app_device **ret, struct cfg_faults *warnings)
{
    struct device_list l = {.f = f};
    size_t kept = 0;
    char name[16];

    cfg_numbered(f->a.cfg, locations, key, take_device, &l);
    l.types = true;
    cfg_numbered(f->a.cfg, types, key, take_device, &l);
    if (l.count > 0)
        qsort(l.items, l.count, sizeof *l.items, by_number);
    for (size_t i = 0; i < l.count; i++) {
        struct app_device *d = &l.items[i];
        (void)text_format(name, sizeof name, "%c%u", key[0], d->number);
        if (!*d->type && *d->location)
            cfg_fault(warnings, locations->name, NULL, name,
                      "has no effect, because %s.%s, the type, is missing or empty", types->name,
                      name);
        if (!*d->type)
            continue;
        resolve_device(f, d);
        for (size_t k = 0; k < kept; k++)
            if (strcmp(l.items[k].device_key, d->device_key) == 0)
                cfg_fault(warnings, types->name, NULL, name,
                          "is the same device as %c%u, \"%s\"; give them different locations",
                          key[0], l.items[k].number, d->device_key);
        l.items[kept++] = *d;
    }
    *ret = l.items;
    return kept;
}

static void resolve_devices(struct app_config_full *f, struct cfg_faults *warnings)
{
    f->a.output_count = resolve_list(f, &output_location_section, &output_type_section, "O#",
                                     &f->outputs, warnings);
    f->a.input_count =
        resolve_list(f, &input_location_section, &input_type_section, "I#", &f->inputs, warnings);
    f->a.outputs = f->outputs;
    f->a.inputs = f->inputs;
}

/* An output that is a camera and has no section of its own becomes a camera without an address. */
static void resolve_cameras(struct app_config_full *f, struct cfg_faults *faults,
                            struct cfg_faults *warnings)
{
    struct err e = {0};

    if (camera_set_load(f->a.cfg, &f->a.cameras, &e) < 0) {
        cfg_fault(faults, NULL, NULL, NULL, "%s", e.text);
        return;
    }
    size_t own_count = camera_set_count(f->a.cameras);
    for (size_t i = 0; i < f->a.output_count; i++) {
        struct app_device *d = &f->outputs[i];
        char name[16];

        if (!d->camera)
            continue;
        for (size_t k = 0; k < own_count; k++) {
            const struct camera *cam = camera_set_at(f->a.cameras, k);
            if (strcmp(cam->device_key, d->device_key) == 0)
                d->section = cam->name;
        }
        if (d->section)
            continue;
        (void)text_format(name, sizeof name, "O%u", d->number);
        if (camera_set_add_device(f->a.cameras, d->location, d->type, &e) < 0)
            cfg_fault(warnings, output_type_section.name, NULL, name,
                      "this camera cannot be asked: %s", e.text);
    }
}

static void resolve_broker(struct app_config_full *f, struct cfg_faults *faults)
{
    const struct amqp_config *broker = cfg_values(f->a.cfg, &amqp_cfg_section);
    struct err e = {0};

    if (host_list_new(broker->allow_hosts, &f->a.allow_hosts, &e) < 0)
        cfg_fault(faults, amqp_cfg_section.name, NULL, "allow_hosts", "%s", e.text);
    if (*broker->server_address)
        f->a.broker = broker;
}

static void resolve_ftp(struct app_config_full *f, struct cfg_faults *faults)
{
    struct err e = {0};

    f->a.ftp = cfg_values(f->a.cfg, &ftp_cfg_section);
    if (ftp_accounts_load(f->a.cfg, &f->a.ftp_accounts, &e) < 0)
        cfg_fault(faults, NULL, NULL, NULL, "%s", e.text);
    else
        f->a.ftp_runs = ftp_config_runs(f->a.ftp, ftp_accounts_count(f->a.ftp_accounts));
}

/* Whose pictures an account's folder holds: its camera's, or, without one, those of the cameras
 * that have folders in it, as upload_dir has them. */
static void add_account_folders(struct app_config_full *f, const struct ftp_account *account)
{
    struct app_config *a = &f->a;
    size_t cameras = account->camera || !a->cameras ? 0 : camera_set_count(a->cameras);
    const char *slash = *account->directory ? "/" : "";

    a->push_folders =
        xrealloc(a->push_folders, (a->push_folder_count + cameras + 1) * sizeof *a->push_folders);
    if (account->camera)
        a->push_folders[a->push_folder_count++] =
            (struct push_folder){account->directory, account->camera};
    for (size_t i = 0; i < cameras; i++) {
        const struct camera *cam = camera_set_at(a->cameras, i);
        a->push_folders[a->push_folder_count++] = (struct push_folder){
            own(f, "%s%s%s", account->directory, slash, cam->directory), cam->name};
    }
}

static void resolve_push_folders(struct app_config_full *f)
{
    struct app_config *a = &f->a;
    size_t accounts = a->ftp_accounts ? ftp_accounts_count(a->ftp_accounts) : 0, made = 0, n = 0;

    while (a->ftp->create_dirs && a->ftp->create_dirs[made])
        made++;
    const char **kept = xcalloc(accounts + made + 1, sizeof *kept);
    for (size_t i = 0; i < made; i++)
        kept[n++] = own(f, "%s/%s", a->upload_dir, a->ftp->create_dirs[i]);
    /* What an account says of its camera goes before what folders are called. */
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < accounts; i++) {
            const struct ftp_account *account = ftp_accounts_at(a->ftp_accounts, i);
            if ((account->camera == NULL) != (pass == 1))
                continue;
            add_account_folders(f, account);
            if (*account->directory)
                kept[n++] = account->directory;
        }
    }
    a->kept_folders = kept;
}

/* --- checking --------------------------------------------------------------------------------- */

/* The camera's rows cannot do this: times are read in a layer above them. */
static void check_times(const char *name, const struct camera_cfg *camera,
                        struct cfg_faults *faults)
{
    for (const char *const *t = camera->times; t && *t; t++) {
        struct err e = {0};
        struct cron cron;
        if (cron_parse(*t, &cron, &e) < 0)
            cfg_fault(faults, camera_cfg_section.name, name, "times", "%s", e.text);
    }
}

/* Two cameras of one device key would share files and events. */
static void check_twins(const struct cfg *c, size_t i, struct cfg_faults *faults)
{
    const struct camera_cfg *one = cfg_instance_values(c, &camera_cfg_section, i);
    const char *name = cfg_instance_name(c, &camera_cfg_section, i);
    const char *location = *one->location ? one->location : name;

    for (size_t k = 0; k < i; k++) {
        const struct camera_cfg *other = cfg_instance_values(c, &camera_cfg_section, k);
        const char *other_name = cfg_instance_name(c, &camera_cfg_section, k);
        if (strcmp(location, *other->location ? other->location : other_name) == 0 &&
            strcmp(one->type, other->type) == 0)
            cfg_fault(faults, camera_cfg_section.name, name, "location",
                      "\"%s\" is the location of [camera:%s] as well, and both are of type %s; "
                      "give one another location",
                      location, other_name, one->type);
    }
}

/* Whether one of two folders is or holds the other; by their real places, as far as they are there.
 */
static bool overlap(const char *one, const char *other)
{
    AUTO_FREE char *a = realpath(one, NULL);
    AUTO_FREE char *b = realpath(other, NULL);
    const char *x = a ? a : one, *y = b ? b : other;
    size_t len = MIN(strlen(x), strlen(y));
    const char *rest = strlen(x) > len ? x + len : y + len;
    return strncmp(x, y, len) == 0 && (*rest == '\0' || *rest == '/' || (len && x[len - 1] == '/'));
}

/* The program's own files must not become pictures once more, and those of one folder not twice. */
static void check_watches(const struct app_config *a, struct cfg_faults *faults)
{
    const struct {
        const char *path, *what;
    } ours[] = {{a->store_path, "where the pictures are kept"},
                {a->refused_path, "where refused files are kept"},
                {a->models_dir, "where the models are kept"},
                {a->ftp_root, "the FTP root, which is watched already"}};
    for (size_t i = 0; i < a->spool_folder_count; i++) {
        const struct spool_folder *w = &a->spool_folders[i];
        if (w->ftp)
            continue;
        for (size_t k = 0; k < ARRAY_LEN(ours); k++)
            if (overlap(w->root, ours[k].path))
                cfg_fault(faults, watch_cfg_section.name, w->name, "path",
                          "\"%s\" and %s, %s, must not lie one in the other", w->root, ours[k].path,
                          ours[k].what);
        for (size_t k = 0; k < i; k++)
            if (!a->spool_folders[k].ftp && overlap(w->root, a->spool_folders[k].root))
                cfg_fault(faults, watch_cfg_section.name, w->name, "path",
                          "\"%s\" and that of [watch:%s] must not lie one in the other", w->root,
                          a->spool_folders[k].name);
        if (*w->camera && a->cameras && !camera_set_find(a->cameras, w->camera))
            cfg_fault(faults, watch_cfg_section.name, w->name, "camera",
                      "there is no [camera:%s]; add it, or name one that there is", w->camera);
    }
}

/* An account's pictures would belong to nobody. */
static void check_account_camera(const struct cfg *c, size_t i, struct cfg_faults *faults)
{
    const struct ftp_account_config *a = cfg_instance_values(c, &ftp_account_cfg_section, i);

    if (!*a->camera)
        return;
    for (size_t k = 0; k < cfg_instance_count(c, &camera_cfg_section); k++)
        if (strcmp(cfg_instance_name(c, &camera_cfg_section, k), a->camera) == 0)
            return;
    char shown[80];
    cfg_fault(faults, ftp_account_cfg_section.name,
              cfg_instance_name(c, &ftp_account_cfg_section, i), "camera",
              "there is no section [camera:%s]: write one, or the NAME of another",
              text_escape(a->camera, strlen(a->camera), shown, sizeof shown));
}

/* All that can be wrong between sections, so that cfg_load() names it along with the rest. */
static void check_all(const struct cfg *c, struct cfg_faults *faults)
{
    struct app_config_full f = {.a.cfg = (struct cfg *)(uintptr_t)c}; /* borrowed, and only read */

    f.a.detect = *(const struct detect_config *)cfg_values(c, &detect_config_section);
    resolve_detection(&f, faults);
    resolve_broker(&f, faults);
    host_list_free(f.a.allow_hosts);
    for (size_t i = 0; i < cfg_instance_count(c, &camera_cfg_section); i++) {
        check_times(cfg_instance_name(c, &camera_cfg_section, i),
                    cfg_instance_values(c, &camera_cfg_section, i), faults);
        check_twins(c, i, faults);
    }
    ftp_config_check(c, faults);
    aws_rows_check(c, faults);
    gdrive_config_check(c, faults);
    for (size_t i = 0; i < cfg_instance_count(c, &ftp_account_cfg_section); i++)
        check_account_camera(c, i, faults);
}
