#include "app/daemon.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include "app/aws_rows.h"
#include "app/cloudwatch_rows.h"
#include "app/command.h"
#include "app/confine.h"
#include "app/daemon_secrets.h"
#include "app/descriptors.h"
#include "app/gauges.h"
#include "app/health_view.h"
#include "app/metric_rows.h"
#include "app/status.h"
#include "app/topology.h"
#include "app/version.h"
#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "detect/rekognition.h"
#include "fan/fan_config.h"
#include "notify/amqp.h"
#include "notify/console.h"
#include "report/crash.h"
#include "stage/retention.h"
#include "secrets/secrets_config.h"
#include "sys/log_place.h"
#include "sys/service.h"
#include "sys/stack.h"
#include "web/access.h"
#include "web/web.h"
#include "web/web_config.h"
#include "wire/heartbeat.h"

/* The main loop turns this often, for the judge of health and the gauges. */
#define TICK_MS 1000
/* Counting the ledger's rows costs some 20 ms at a million of them. */
#define GAUGES_MS 10000

static void use_log(const struct app_config *c);
static void log_lines(enum log_level level, const char *id, char *text);
static int open_parts(struct daemon *d, struct err *e);
static void close_parts(struct daemon *d);
static int start(struct daemon *d, struct err *e);
static int serve(struct daemon *d, const struct app_options *options);
static int stop(struct daemon *d);
static void end(struct daemon *d, int status, const char *failure);

int daemon_run(struct app_config **config, const struct app_options *options)
{
    /* Few arenas: threads here live long and hold little, and memory that a picture took goes back.
     */
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 10);
    /* Picture-sized blocks are mappings of their own, for ever: by default the first free of one
     * raises the threshold, and the heap keeps the holes. A new mapping costs some 15 us. */
    (void)mallopt(M_MMAP_THRESHOLD, 128 << 10);

    struct daemon d = {.config = STEAL(*config),
                       .lock_fd = -1,
                       .signal_fd = -1,
                       .events_fd = -1,
                       .stop_fd = -1,
                       .flags_fd = -1,
                       .fault_fd = -1,
                       .main_thread = pthread_self(),
                       .started_at = clock_wall(),
                       .started_mono = clock_mono()};
    pthread_mutex_init(&d.pipeline.lock, NULL);
    pthread_mutex_init(&d.words_lock, NULL);
    pthread_mutex_init(&d.secrets_lock, NULL);
    pthread_mutex_init(&d.health_counts.lock, NULL);
    queue_history_init(&d.queues);
    d.fan = fan_new();
    stack_enable();
    log_context_stage("main");
    use_log(d.config);
    confine_rights(d.config);

    log_lines(LOG_LEVEL_WARNING, "config-warning", d.config->warnings);
    daemon_secrets_report(&d);
    aws_rows_use(d.config->cfg);
    struct err e = {0};
    int r = descriptors_prepare(&e);
    if (r == 0)
        r = open_parts(&d, &e);
    if (r == 0)
        r = start(&d, &e);
    if (r < 0) {
        log_error("start-failed", "%s", e.text);
        end(&d, EXIT_FAILED, e.text); /* what had started */
        log_place_end();
        return EXIT_FAILED;
    }
    int status = serve(&d, options);
    end(&d, status, status == EXIT_DONE ? NULL : "a part of the program hangs");
    log_notice("stopped", "stopped in order");
    log_place_end();
    return status;
}

/* Without its place the log stays where it is: no reason not to take pictures. */
static void use_log(const struct app_config *c)
{
    const struct log_place_options o = {.to = (enum log_to)c->app.log_to,
                                        .format = (enum log_format)c->app.log_format,
                                        .syslog_address = c->app.syslog_address,
                                        .journal_socket = c->app.journal_socket,
                                        .name = c->log_name};
    struct err e;
    log_set_level((enum log_level)c->app.log_level);
    if (log_place_use(&o, &e) < 0)
        log_error("log-place-failed", "the log stays where it is: %s", e.text);
}

/* The predecessor's SIGHUP. The level of the configuration is in force again when it is off. */
static void switch_debugging(void)
{
    bool on = !log_debugging();
    log_set_debugging(on);
    log_notice("log-level", "signal USR1: debug lines are %s; the level is %s", on ? "on" : "off",
               log_level_names[log_get_level()]);
}

/* `failure` is for the services that watch over us; NULL = in order. */
static void end(struct daemon *d, int status, const char *failure)
{
    health_end(d->health);
    int r = stop(d);
    report_stop(d->report, REPORT_FLUSH_MS);
    if (r < 0) {
        (void)health_stop(d->health, failure ? failure : "a thread did not end in time");
        log_place_end();
        _exit(EXIT_FAILED); /* a thread still works with what we would free */
    }
    close_parts(d);
    if (health_stop(d->health, failure) < 0) {
        log_place_end();
        _exit(status); /* a service does not answer, and its thread waits for it */
    }
}

/* ---- what the stages share ---- */

static int open_signals(struct daemon *d, struct err *e)
{
    sigset_t set;
    sigemptyset(&set);
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN); /* a peer that went away is an error of write(2), not our end */
    signal(SIGXFSZ, SIG_IGN); /* likewise a file over the limit of the process: a full disk */
    d->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (d->stop_fd < 0)
        return err_errno(e, -errno, "eventfd");
    d->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    d->fault_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return d->signal_fd < 0 || d->fault_fd < 0 ? err_errno(e, -errno, "signals") : 0;
}

static void give_up(void *arg)
{
    struct daemon *d = arg;
    uint64_t one = 1;
    (void)!write(d->fault_fd, &one, sizeof(one)); /* a counter far from full */
}

/* Before all that may take long. */
static int open_health(struct daemon *d, struct err *e)
{
    const struct health_config *c = cfg_values(d->config->cfg, &health_cfg_section);
    struct health_options o = {.config = c,
                               .cronitor_monitor_key = d->config->app.cronitor_monitor_key,
                               .host = d->config->app.device_name,
                               .grace_ms = d->config->app.grace_ms,
                               .look = health_view_fill,
                               .stack = health_view_stack,
                               .numbers = health_view_numbers,
                               .give_up = give_up,
                               .arg = d};
    d->pipeline.patience = c->patience;
    return health_start(&o, &d->health, e);
}

/* One process per data folder: two would both fetch what is pending. The lock goes with the
 * process, however it ends. */
static int lock_data(struct daemon *d, struct err *e)
{
    const char *dir = d->config->app.data_dir;
    int r = fs_mkdirs(AT_FDCWD, dir, 0700, e);
    if (r < 0)
        return err_prefix(e, "data folder"), r;
    AUTO_FREE char *path = xasprintf("%s/.lock", dir);
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return err_errno(e, -errno, "open %s", path);
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(e, -EBUSY, ERR_LATER,
                       "another snapshotd works with %s: stop it, or give this one a data_dir of "
                       "its own in [app]",
                       dir);
    return 0;
}

/* Behind the lock: what a crash left is that of the one before us. */
static void open_report(struct daemon *d)
{
    const struct app_config *c = d->config;
    AUTO_FREE char *folder = xasprintf("%s/report", c->app.data_dir);
    struct report_options o = {.config = cfg_values(c->cfg, &report_cfg_section),
                               .secrets = c->cfg,
                               .folder = folder,
                               .server_name = c->app.device_name,
                               .version = SNAPSHOTD_VERSION};
    crash_set_first(fan_emergency);
    d->report = report_start(&o);
}

static int open_store(struct daemon *d, struct err *e)
{
    const struct app_config *c = d->config;
    int r = ledger_open(c->ledger_path, &d->ledger, e);
    if (r == 0)
        r = ledger_open(c->ledger_path, &d->web_ledger, e);
    if (r == 0)
        r = store_open(c->store_path, c->store_reserve, &d->pipeline.store, e);
    struct store_recovery did = {0};
    if (r == 0)
        r = store_recover(d->pipeline.store, d->ledger, &did, e);
    if (r < 0)
        return r;
    if (did.placed || did.renamed || did.discarded || did.missing)
        log_notice("recovered",
                   "after an unfinished run: %d pictures put in place, %d renamed, %d unfinished "
                   "ones discarded, %d missing",
                   did.placed, did.renamed, did.discarded, did.missing);
    return 0;
}

static void set_words(struct daemon *d, char *words, size_t size, const char *lead,
                      const char *text)
{
    pthread_mutex_lock(&d->words_lock);
    (void)text_format(words, size, "%s%s", lead, text); /* cut */
    pthread_mutex_unlock(&d->words_lock);
}

/* "auto" without any model is no reason not to keep pictures; a model that was named is. */
static int open_local(struct daemon *d, const struct app_config *c, struct err *e)
{
    const struct detector_ops *ops = detector_find("local");
    struct detector_options options;
    struct detector *local = NULL;
    char words[sizeof(d->detector_text)];
    detect_config_options(&c->detect, &options);
    int r = ops ? ops->open(&options, &local, e)
                : err_set(e, -ENOTSUP, ERR_NEVER,
                          "this build has no local detector: build it with the ONNX Runtime's "
                          "headers (tools/setup), or set enabled = no in [detection]");
    if (r < 0)
        set_words(d, d->detector_text, sizeof(d->detector_text), "none: ", e->text);
    if (r < 0 && text_equal_nocase(c->detect.model, "auto")) {
        log_warn("detector-missing", "%s; %s until the next start", e->text,
                 c->detect_mode == DETECT_CASCADE ? "every picture is a question for the cloud"
                                                  : "pictures are kept without detection");
        return 0;
    }
    if (r < 0)
        return err_prefix(e, "detector"), r;
    local->ops->describe(local, words, sizeof(words));
    set_words(d, d->detector_text, sizeof(d->detector_text), "", words);
    log_notice("detector-ready", "detector: %s", words);
    atomic_store(&d->pipeline.detector, local);
    return 0;
}

/* Asks nobody yet. Without it pictures go on as on_failure says: they are never held back for a
 * login that is not there. */
static void open_cloud(struct daemon *d, const struct app_config *c)
{
    struct rekognition_options o;
    struct detector *cloud = NULL;
    char words[sizeof(d->cloud_text)];
    struct err e = {0};
    rekognition_config_options(cfg_values(c->cfg, &rekognition_config_section), &o);
    o.limits = detect_config_limits(&c->detect);
    o.stop_fd = d->stop_fd;
    if (rekognition_open(&o, &cloud, &e) < 0) {
        set_words(d, d->cloud_text, sizeof(d->cloud_text), "none: ", e.text);
        log_error("cloud-missing", "%s; pictures go on without its answer until the next start",
                  e.text);
        return;
    }
    cloud->ops->describe(cloud, words, sizeof(words));
    set_words(d, d->cloud_text, sizeof(d->cloud_text), "", words);
    log_notice("cloud-ready", "cloud detector: %s", words);
    atomic_store(&d->pipeline.cloud, cloud);
}

/* What this configuration wants and is not there yet. What was opened stays until the end. */
static int open_detectors(struct daemon *d, const struct app_config *c, struct err *e)
{
    if (c->detection_off) {
        log_notice("detector-off", "detection is off: %s", c->detection_off);
        return 0;
    }
    log_notice("detector", "pictures are examined by: %s, because %s",
               detect_mode_names[c->detect_mode], c->detect_why);
    if (detect_mode_has_cloud(c->detect_mode) && !d->pipeline.cloud)
        open_cloud(d, c);
    return detect_mode_has_local(c->detect_mode) && !d->pipeline.detector ? open_local(d, c, e) : 0;
}

static void add_notifier(struct daemon *d, struct notifier *n)
{
    size_t i = 0;
    while (d->notifiers[i])
        i++;
    assert(i < DAEMON_NOTIFIERS_MAX);
    d->notifiers[i] = n;
    d->destinations[i] = n->ops->name;
}

static int open_console(struct daemon *d, struct err *e)
{
    const struct events_values *ev = &d->config->events;
    if (ev->format == EVENTS_NONE)
        return 0;
    d->events_fd = STDOUT_FILENO;
    if (ev->file && ev->file[0] && strcmp(ev->file, "-") != 0) {
        d->events_fd = open(ev->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (d->events_fd < 0)
            return err_errno(e, -errno, "events: open %s", ev->file);
    }
    add_notifier(d, console_notifier_new(d->events_fd,
                                         ev->format == EVENTS_JSON ? CONSOLE_JSON : CONSOLE_TEXT,
                                         d->config->store_path));
    return 0;
}

static void copy_devices(const struct app_device *from, size_t count, struct heartbeat_device *to)
{
    for (size_t i = 0; i < count; i++)
        to[i] = (struct heartbeat_device){.location = from[i].location, .type = from[i].type};
}

/* The devices of the configuration of this moment. On the notifier's thread. */
static int make_heartbeat(void *arg, struct wall_time at, struct dynbuf *ret, struct err *e)
{
    struct daemon *d = arg;
    AUTO(settings) now = pipeline_settings(&d->pipeline);
    const struct app_config *c = now->owner;
    AUTO_FREE struct heartbeat_device *inputs = xcalloc(c->input_count + 1, sizeof(*inputs));
    AUTO_FREE struct heartbeat_device *outputs = xcalloc(c->output_count + 1, sizeof(*outputs));
    copy_devices(c->inputs, c->input_count, inputs);
    copy_devices(c->outputs, c->output_count, outputs);
    struct heartbeat h = {.at = at,
                          .inputs = inputs,
                          .input_count = c->input_count,
                          .outputs = outputs,
                          .output_count = c->output_count};
    return heartbeat_encode(&h, ret, e);
}

static int open_broker(struct daemon *d, struct err *e)
{
    const struct amqp_config *c = cfg_values(d->config->cfg, &amqp_cfg_section);
    if (!*c->server_address || !c->events)
        return 0;
    struct amqp_notifier_options o = {.config = c,
                                      .device_name = d->config->app.device_name,
                                      .store_root = d->config->store_path,
                                      .limits = detect_config_limits(&d->config->detect),
                                      .stop_fd = d->stop_fd,
                                      .heartbeat = make_heartbeat,
                                      .heartbeat_arg = d};
    struct notifier *n = NULL;
    int r = amqp_notifier_new(&o, &n, e);
    if (r == 0)
        add_notifier(d, n);
    return r;
}

static int open_notifiers(struct daemon *d, struct err *e)
{
    int r = open_console(d, e);
    return r < 0 ? r : open_broker(d, e);
}

/* Those of the start stay until the end; a reload changes rules only. */
static int open_storages(struct daemon *d, struct err *e)
{
    const struct app_config *c = d->config;
    d->storage_plans = xmemdup(c->storages, STORAGES_MAX * sizeof(*d->storage_plans));
    int r = storage_open_all(d->storage_plans, c->storage_count, c->cfg, c->app.data_dir,
                             d->storages, e);
    d->pipeline.storages = d->storages;
    return r;
}

static void release_config(void *config)
{
    app_config_free(config);
}

static struct spool_rules spool_rules_of(const struct app_config *c)
{
    const struct spool_config *spool = cfg_values(c->cfg, &spool_cfg_section);
    return spool->rules;
}

static const struct retention_config *retention_rules_of(const struct app_config *c)
{
    return cfg_values(c->cfg, &retention_cfg_section);
}

/* The folders of the start, which stay until the end: the first configuration may go before. */
static void open_spool(struct daemon *d)
{
    struct app_config *c = d->config;
    size_t n = c->spool_folder_count;
    if (n == 0)
        return;
    struct spool_folder *folders = xmemdup(c->spool_folders, n * sizeof(*folders));
    const char *const texts[] = {c->ftp_root, c->upload_dir, c->refused_path};
    static_assert(ARRAY_LEN(texts) == ARRAY_LEN(d->spool_texts), "a place for each");
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        d->spool_texts[i] = xstrdup(texts[i]);
    for (size_t i = 0; i < n; i++)
        if (folders[i].ftp)
            folders[i].root = d->spool_texts[0];
    d->spool = (struct spool_options){.folders = folders,
                                      .count = n,
                                      .upload_dir = d->spool_texts[1],
                                      .refused_path = d->spool_texts[2]};
    d->pipeline.spool = &d->spool;
}

static double cloud_confidence_of(const struct app_config *c)
{
    const struct rekognition_config *rek = cfg_values(c->cfg, &rekognition_config_section);
    double least;
    return rekognition_confidence(rek->minimum_confidence, &least) < 0 ? -1 : least;
}

/* What stages see of a configuration, which goes over to the settings. */
static struct settings *make_settings(struct daemon *d, struct app_config *c)
{
    struct settings *s = xcalloc(1, sizeof(*s));
    camera_set_obey(c->cameras, d->pipeline.switches);
    *s = (struct settings){.refs = 1,
                           .cameras = camera_set_ref(c->cameras),
                           .allow_hosts = c->allow_hosts,
                           .detection_enabled = !c->detection_off,
                           .detect_mode = c->detect_mode,
                           .detect = c->detect,
                           .cloud = c->cloud,
                           .cloud_confidence_min = cloud_confidence_of(c),
                           .limits = detect_config_limits(&c->detect),
                           .destinations = d->destinations,
                           .spool = spool_rules_of(c),
                           .retention = *retention_rules_of(c),
                           .push_folders = c->push_folders,
                           .push_folder_count = c->push_folder_count,
                           .kept_folders = c->kept_folders,
                           .storages = c->storages,
                           .storage_count = c->storage_count,
                           .owner = c,
                           .release = release_config};
    return s;
}

/* They go before any picture does: below this much free no more are kept. Without their folder
 * there are none, which is no reason not to take pictures. */
static void open_thumbnails(struct daemon *d)
{
    const struct web_config *wc = cfg_values(d->config->cfg, &web_cfg_section);
    bool wanted = wc->enabled && wc->thumbnails != WEB_THUMBNAILS_NO;
    struct pipeline *p = &d->pipeline;
    struct err e = {0};
    int r = thumbnails_open(d->config->thumbnails_path, wanted ? wc->thumbnails_max : 0,
                            retention_filling_below(d->config->store_reserve), &p->thumbnails, &e);
    if (!wanted) /* those of earlier runs go with their pictures, that is all */
        return;
    if (r < 0) {
        log_error("thumbnails-off", "%s; pages have none", e.text);
        return;
    }
    p->thumbnail_wishes = thumbnail_wishes_new();
    p->thumbnails_always = wc->thumbnails == WEB_THUMBNAILS_YES;
    p->thumbnails_auto = wc->thumbnails == WEB_THUMBNAILS_AUTO;
}

static int open_parts(struct daemon *d, struct err *e)
{
    struct pipeline *p = &d->pipeline;
    metric_rows_register_all();
    int r = open_signals(d, e);
    if (r == 0)
        r = lock_data(d, e);
    if (r == 0) {
        open_report(d);
        r = open_health(d, e);
    }
    if (r == 0)
        r = open_store(d, e);
    if (r == 0)
        r = camera_switches_open(d->config->switches_path, &p->switches, e);
    if (r == 0)
        r = open_detectors(d, d->config, e);
    if (r == 0)
        r = open_notifiers(d, e);
    if (r == 0)
        r = open_storages(d, e);
    if (r == 0)
        r = bus_new(&p->bus, e);
    if (r < 0)
        return r;
    d->first_cfg = cfg_ref(d->config->cfg);
    p->broker = d->config->broker;
    p->stop_fd = d->stop_fd;
    d->config_shared = true;
    pipeline_publish(p, make_settings(d, d->config));
    p->cache = picture_cache_new((size_t)d->config->cache_size);
    p->claims = claims_new();
    p->notifiers = d->notifiers;
    p->doubts = doubts_new();
    struct detector *local = p->detector;
    p->chooses = local != NULL;
    /* Without one as many as it usually wants, should a reload bring it. */
    int workers = local ? local->ops->parallelism(local) : 2;
    p->detect_workers = (unsigned)MAX(1, MIN(workers, CLAIM_WORKERS_MAX));
    d->ledger_path = xstrdup(d->config->ledger_path);
    d->store_reserve = d->config->store_reserve;
    p->store_reserve = d->store_reserve;
    p->ledger_path = d->ledger_path;
    open_spool(d);
    open_thumbnails(d);
    return 0;
}

static void close_parts(struct daemon *d)
{
    struct pipeline *p = &d->pipeline;
    pipeline_publish(p, NULL);
    if (!d->config_shared)
        app_config_free(d->config);
    struct detector *const detectors[] = {p->detector, p->cloud};
    for (size_t i = 0; i < ARRAY_LEN(detectors); i++)
        if (detectors[i])
            detectors[i]->ops->close(detectors[i]);
    doubts_free(p->doubts);
    picture_cache_free(p->cache);
    thumbnail_wishes_free(p->thumbnail_wishes);
    thumbnails_close(p->thumbnails);
    camera_switches_close(p->switches);
    claims_free(p->claims);
    bus_free(p->bus);
    store_close(p->store);
    ledger_close(d->web_ledger);
    ledger_close(d->ledger);
    for (size_t i = 0; d->notifiers[i]; i++)
        d->notifiers[i]->ops->free(d->notifiers[i]);
    storage_close_all(d->storages);
    free(d->storage_plans);
    report_free(d->report);
    int fds[] = {d->events_fd > STDERR_FILENO ? d->events_fd : -1,
                 d->signal_fd,
                 d->lock_fd,
                 d->stop_fd,
                 d->flags_fd,
                 d->fault_fd};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            (void)close(fds[i]); /* nothing unsaved behind them */
    fan_free(d->fan);
    free(d->ledger_path);
    for (size_t i = 0; i < ARRAY_LEN(d->spool_texts); i++)
        free(d->spool_texts[i]);
    free((void *)(uintptr_t)d->spool.folders);
    aws_rows_end();
    cfg_unref(d->first_cfg);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&d->words_lock);
    pthread_mutex_destroy(&d->secrets_lock);
    pthread_mutex_destroy(&d->health_counts.lock);
}

/* ---- start, serve, stop ---- */

/* Runs on detect and fetch threads. */
static void tell_web(void *arg, const char *id)
{
    struct daemon *d = arg;
    struct web *w = atomic_load(&d->web);
    if (w)
        web_notify(w, id);
}

/* Runs on all kinds of threads. */
static void tell_listeners(void *arg, enum news what, const char *subject)
{
    struct daemon *d = arg;
    struct web *w = atomic_load(&d->web);
    if (w)
        web_tell(w, what, subject);
}

static int start_web(struct daemon *d, struct err *e)
{
    const struct web_config *wc = cfg_values(d->config->cfg, &web_cfg_section);
    if (!wc->enabled)
        return 0;
    gauges_start(d);
    AUTO_FREE char *access_path = xasprintf("%s/" ACCESS_DB_NAME, d->config->app.data_dir);
    struct access_options doors = {.path = access_path,
                                   .login_always = wc->login == WEB_LOGIN_ALWAYS,
                                   .behind_proxy = wc->trusted_proxies[0] != NULL,
                                   .metrics_open = wc->metrics_open,
                                   .proxy_user_header = wc->proxy_user_header,
                                   .proxy_role = (enum access_role)wc->proxy_role,
                                   .session_idle_ms = wc->session_idle_ms,
                                   .session_max_ms = wc->session_max_ms};
    struct web_options options = {.listen = wc->listen,
                                  .ledger_path = d->ledger_path,
                                  .access = &doors,
                                  .host_names = wc->host_names,
                                  .connections_max = (int)wc->connections_max,
                                  .request_timeout_ms = wc->request_timeout_ms,
                                  .trusted_proxies = wc->trusted_proxies,
                                  .cert_file = *wc->tls_cert_file ? wc->tls_cert_file : NULL,
                                  .key_file = *wc->tls_cert_file ? wc->tls_key_file : NULL};
    d->posts = post_box_new(&d->pipeline);
    struct web_backend backend = status_backend(d);
    struct web *w = NULL;
    int r = web_start(&options, &backend, &w, e);
    if (r < 0)
        return r;
    atomic_store(&d->web, w);
    const char *colon = strrchr(wc->listen, ':');
    if (wc->allow_remote && access(access_path, F_OK) < 0)
        log_warn("no-users", "[web] listens for other machines, and nobody may log in from there: "
                             "add a user with 'snapshotd user add NAME'");
    log_notice("listening", "API on http%s://%.*s:%d", *wc->tls_cert_file ? "s" : "",
               colon ? (int)(colon - wc->listen) : 0, wc->listen, web_port(w));
    return 0;
}

#define FTP_SOCKETS_MAX 8

/* Why there is no server for cameras that push; NULL = there is one. */
static const char *why_no_ftp(const struct app_config *c)
{
    if (c->ftp->enabled == FTP_ENABLED_NO)
        return "[ftp] enabled (RUN_FTP_SERVER) is no";
    if (ftp_accounts_count(c->ftp_accounts) == 0)
        return "no account with a password (FTP_USER and FTP_PASS, or [ftp_account:NAME])";
    return c->ftp_runs ? NULL : "[ftp] enabled is auto and nobody may log in";
}

static int start_ftp(struct daemon *d, struct err *e)
{
    const struct app_config *c = d->config;
    const char *off = why_no_ftp(c);
    if (off) {
        log_notice("ftp-off", "cameras cannot push by FTP: %s", off);
        text_copy(d->ftp_off, sizeof(d->ftp_off), off); /* fits */
        return 0;
    }
    int fds[FTP_SOCKETS_MAX], tls_fds[FTP_SOCKETS_MAX];
    struct ftp_server_options o = {
        .config = c->ftp,
        .accounts = c->ftp_accounts,
        .app_name = c->app.app_name,
        .root = c->ftp_root,
        .upload_dir = c->upload_dir,
        .reserve = d->store_reserve,
        .listen_fds = fds,
        .tls_listen_fds = tls_fds,
        .listen_fd_count = service_listen_fds("ftp", fds, FTP_SOCKETS_MAX),
        .tls_listen_fd_count = service_listen_fds("ftps", tls_fds, FTP_SOCKETS_MAX)};
    struct ftp_server *ftp = NULL;
    int r = ftp_server_start(&o, &ftp, e);
    if (r < 0)
        return err_prefix(e, "FTP server"), r;
    atomic_store(&d->ftp, ftp);
    struct ftp_server_status st;
    ftp_server_status(ftp, &st);
    size_t accounts = ftp_accounts_count(c->ftp_accounts);
    log_notice("ftp-listening", "cameras push by FTP to %s: %zu account%s, below %s", st.listen,
               accounts, accounts == 1 ? "" : "s", c->ftp_root);
    return 0;
}

static bool is_well(void *daemon)
{
    return status_is_alive(daemon);
}

/* A fan that cannot be driven is no reason not to take pictures. */
static void apply_fan(struct daemon *d)
{
    struct err e = {0};
    if (fan_apply(d->fan, cfg_values(d->config->cfg, &fan_cfg_section), is_well, d, &e) < 0)
        log_error("fan-failed", "%s", e.text);
}

/* Counts are no reason not to take pictures. */
static void start_cloudwatch(struct daemon *d)
{
    struct cloudwatch *c = NULL;
    struct err e = {0};
    const char *off = cloudwatch_rows_start(d->config, &c, &e);
    atomic_store(&d->cloudwatch, c);
    text_copy(d->cloudwatch_off, sizeof(d->cloudwatch_off), off ? off : "");
    if (e.code < 0)
        log_error("cloudwatch-off", "nothing is posted to CloudWatch: %s", e.text);
    if (c)
        log_notice("cloudwatch-on", "counts of errors go to CloudWatch");
}

static int start(struct daemon *d, struct err *e)
{
    start_cloudwatch(d); /* before anybody counts */
    d->pipeline.outcome = tell_web;
    d->pipeline.outcome_arg = d;
    d->pipeline.news = tell_listeners;
    d->pipeline.news_arg = d;
    int r = topology_start(&d->pipeline, &d->topology, e);
    if (r == 0)
        r = start_ftp(d, e);
    if (r == 0)
        r = start_web(d, e);
    if (r < 0)
        return r;
    report_note_libraries(d->report); /* the detector's */
    apply_fan(d);
    daemon_flags_start(d);
    mem_trim();
    health_watch(d->health);
    confine_calls(&d->confine, d->config);
    atomic_store(&d->ready, true); /* before anybody reads so in the log */
    AUTO(settings) now = pipeline_settings(&d->pipeline);
    size_t cameras = camera_set_count(now->cameras);
    log_notice("ready", "snapshotd %s is ready after %.0f ms: %zu camera%s, data in %s",
               SNAPSHOTD_VERSION, mono_diff_ms(clock_mono(), d->started_mono), cameras,
               cameras == 1 ? "" : "s", d->config->app.data_dir);
    if (cameras == 0)
        log_warn("no-cameras", "no camera is configured: add a [camera:NAME] section "
                               "(snapshotd config --sample shows one)");
    service_status("%zu cameras; detector: %s", cameras, detect_mode_names[now->detect_mode]);
    service_ready();
    return 0;
}

static int stop(struct daemon *d)
{
    uint64_t one = 1;
    atomic_store(&d->ready, false);
    service_stopping();
    if (d->stop_fd >= 0)
        (void)!write(d->stop_fd, &one, sizeof(one)); /* a counter far from full */
    int64_t grace = d->config->app.grace_ms;
    fan_stop(d->fan); /* first: at full speed nothing that follows can go wrong for it */
    daemon_flags_stop(d);
    struct web *w = atomic_load(&d->web);
    /* No new triggers and uploads first; requests that wait for an outcome are answered. */
    if (w)
        web_stop(w, 500);
    post_box_free(STEAL(d->posts)); /* its thread has ended; intake is still there */
    gauges_stop(d);
    struct ftp_server *ftp = atomic_load(&d->ftp);
    if (ftp && ftp_server_stop(ftp, grace) < 0)
        return -ETIMEDOUT;
    int r = d->topology ? topology_stop(d->topology, grace) : 0;
    if (r < 0)
        return r;
    cloudwatch_stop(atomic_load(&d->cloudwatch)); /* nobody counts any more */
    topology_free(d->topology);
    d->topology = NULL;
    atomic_store(&d->web, NULL);
    web_free(w);
    atomic_store(&d->ftp, NULL); /* nobody asks for its status any more */
    ftp_server_free(ftp);
    cloudwatch_free(atomic_exchange(&d->cloudwatch, NULL));
    return 0;
}

static void log_lines(enum log_level level, const char *id, char *text)
{
    for (char *line = text, *end; line && *line; line = end) {
        end = strchr(line, '\n');
        if (end)
            *end++ = '\0';
        log_write(level, id, "%s", line);
    }
}

static void report_difference(const struct app_config *before, const struct app_config *after)
{
    AUTO_DONE(dynbuf) text = {0};
    dynbuf_init(&text, 64 * 1024);
    (void)cfg_write_difference(before->cfg, after->cfg, &text);
    if (text.len)
        log_lines(LOG_LEVEL_NOTICE, "changed", text.data);
}

/* Accounts change at once; whether there is a server at all, where it listens and its other keys
 * change at the next start. */
static void reload_ftp(struct daemon *d)
{
    struct ftp_server *ftp = atomic_load(&d->ftp);
    struct err e = {0};
    if (!ftp && d->config->ftp_runs)
        log_warn("ftp-off", "the FTP server was switched on: it begins at the next start");
    if (ftp && !d->config->ftp_runs)
        log_warn("ftp-listening", "the FTP server was switched off: it ends with this run, and "
                                  "until then nobody can log in");
    if (ftp && ftp_server_set_accounts(ftp, d->config->ftp_accounts, &e) < 0)
        log_error("reload-failed", "the FTP accounts stay as they were: %s", e.text);
}

/* Who looks at pictures changes at once; a detector that was not wanted before is opened now. */
/* The files may be new ones, as Let's Encrypt's are every two months. */
static void reload_web(struct daemon *d)
{
    const struct web_config *wc = cfg_values(d->config->cfg, &web_cfg_section);
    struct web *w = atomic_load(&d->web);
    struct err e = {0};
    if (!w || !*wc->tls_cert_file)
        return;
    if (web_renew(w, wc->tls_cert_file, wc->tls_key_file, &e) < 0)
        log_error("reload-failed", "[web] the certificate stays as it was: %s", e.text);
}

static void reload_detectors(struct daemon *d, const struct app_config *next)
{
    struct err e = {0};
    if (d->config->detect_mode == next->detect_mode)
        return;
    if (open_detectors(d, next, &e) < 0)
        log_error("detector-missing", "%s; pictures are kept without its answer", e.text);
    if (d->pipeline.cloud && topology_start_consult(d->topology, &e) < 0)
        log_error("cloud-missing", "%s; nobody asks the cloud until the next start", e.text);
}

/* A DSN may come late, when 1Password was away at the start. */
static void reload_report(struct daemon *d, const struct app_config *next)
{
    const struct report_config *before = cfg_values(d->config->cfg, &report_cfg_section);
    const struct report_config *after = cfg_values(next->cfg, &report_cfg_section);
    struct err e = {0};
    report_add_secrets(d->report, next->cfg);
    if (strcmp(before->dsn, after->dsn) != 0 && report_set_dsn(d->report, after->dsn, &e) < 0)
        log_warn("sentry-off", "errors are not reported: %s", e.text);
}

/* Keys for Cronitor may come late, likewise. */
static void reload_health(struct daemon *d, const struct app_config *next)
{
    const struct health_config *before = cfg_values(d->config->cfg, &health_cfg_section);
    const struct health_config *after = cfg_values(next->cfg, &health_cfg_section);
    const char *monitor = next->app.cronitor_monitor_key;
    if (strcmp(before->cronitor_api_key, after->cronitor_api_key) != 0 ||
        strcmp(d->config->app.cronitor_monitor_key, monitor) != 0)
        health_set_cronitor(d->health, after, monitor);
}

/* From here on stages work by it. */
static void adopt(struct daemon *d, struct app_config **next)
{
    use_log(*next);
    reload_detectors(d, *next);
    reload_report(d, *next);
    reload_health(d, *next);
    d->config = STEAL(*next);
    pipeline_publish(&d->pipeline, make_settings(d, d->config));
    pipeline_wake(&d->pipeline, PIPELINE_SCHEDULE);
    pipeline_wake(&d->pipeline, PIPELINE_FETCH);
    pipeline_wake(&d->pipeline, PIPELINE_CONSULT);
    confine_reloaded(&d->confine, d->config);
    reload_ftp(d);
    reload_web(d);
    apply_fan(d);
    pipeline_wake(&d->pipeline, PIPELINE_SPOOL);
    pipeline_wake(&d->pipeline, PIPELINE_UPLOAD);
}

/* Feature flags that 1Password changed; the configuration is else as it was. */
static void take_flags(struct daemon *d)
{
    AUTO(app_config) next = NULL;
    enum feature_flag which;
    while (daemon_flags_next(d, &next, &which)) {
        adopt(d, &next);
        daemon_flags_took(d, which);
    }
}

/* The new configuration is wholly valid, or the old one stays. */
static void reload(struct daemon *d, const struct app_options *given)
{
    /* A second signal ends the asking for secrets. */
    struct app_options with_signals = *given;
    with_signals.stop_fd = d->signal_fd;
    const struct app_options *options = &with_signals;
    service_reloading();
    AUTO(app_config) next = NULL;
    AUTO_FREE char *faults = NULL;
    AUTO_FREE char *warnings = NULL;
    health_expect_silence(d->health, SECRETS_DEADLINE_MAX_MS); /* which one is in what is read */
    int r = app_options_load(options, &next, &faults, &warnings);
    health_beat(d->health);
    if (r < 0) {
        log_lines(LOG_LEVEL_ERROR, "config-fault", faults);
        log_error("reload-failed", "the running configuration stays as it was");
        service_ready();
        return;
    }
    log_lines(LOG_LEVEL_WARNING, "config-warning", warnings);
    report_difference(d->config, next);
    daemon_flags_stop(d);
    adopt(d, &next);
    aws_rows_reloaded(d->config->cfg);
    daemon_secrets_report(d);
    daemon_flags_start(d);
    log_notice("reloaded", "the new configuration is in force");
    service_ready();
}

/* From here on a signal that says stop has its default effect. */
static void allow_second_signal(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int serve(struct daemon *d, const struct app_options *options)
{
    struct mono_time gauges_at = clock_mono();
    while (true) {
        struct pollfd fds[] = {{.fd = d->signal_fd, .events = POLLIN},
                               {.fd = d->fault_fd, .events = POLLIN},
                               {.fd = d->flags_fd, .events = POLLIN}};
        (void)poll(fds, ARRAY_LEN(fds), TICK_MS); /* EINTR: once more is no harm */
        health_beat(d->health);
        if (fds[1].revents) {
            allow_second_signal();
            return EXIT_FAILED; /* the health thread has said why */
        }
        struct signalfd_siginfo si;
        while (read(d->signal_fd, &si, sizeof(si)) == sizeof(si)) {
            if (si.ssi_signo == SIGHUP) {
                reload(d, options);
                continue;
            }
            if (si.ssi_signo == SIGUSR1) {
                switch_debugging();
                continue;
            }
            log_notice("stopping", "signal %u: finishing what is under way; once more ends at once",
                       si.ssi_signo);
            allow_second_signal();
            return EXIT_DONE;
        }
        if (fds[2].revents)
            take_flags(d);
        if (mono_passed(gauges_at)) {
            status_update_gauges(d);
            health_view_count(d);
            gauges_at = mono_add_ms(clock_mono(), GAUGES_MS);
        }
    }
}
