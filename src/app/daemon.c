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

#include "app/command.h"
#include "app/health_view.h"
#include "app/status.h"
#include "app/topology.h"
#include "app/version.h"
#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "notify/amqp.h"
#include "notify/console.h"
#include "sys/service.h"
#include "sys/stack.h"
#include "web/web.h"
#include "web/web_config.h"
#include "wire/heartbeat.h"

/* The main loop turns this often, for the judge of health and the gauges. */
#define TICK_MS 1000
/* Counting the ledger's rows costs some 20 ms at a million of them. */
#define GAUGES_MS 10000

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
                       .fault_fd = -1,
                       .main_thread = pthread_self(),
                       .started_at = clock_wall(),
                       .started_mono = clock_mono()};
    pthread_mutex_init(&d.pipeline.lock, NULL);
    pthread_mutex_init(&d.health_counts.lock, NULL);
    stack_enable();
    log_set_level((enum log_level)d.config->app.log_level);
    log_set_format((enum log_format)d.config->app.log_format);
    log_context_stage("main");

    struct err e = {0};
    int r = open_parts(&d, &e);
    if (r == 0)
        r = start(&d, &e);
    if (r < 0) {
        log_error("start-failed", "%s", e.text);
        end(&d, EXIT_FAILED, e.text); /* what had started */
        return EXIT_FAILED;
    }
    int status = serve(&d, options);
    end(&d, status, status == EXIT_DONE ? NULL : "a part of the program hangs");
    log_notice("stopped", "stopped in order");
    return status;
}

/* `failure` is for the services that watch over us; NULL = in order. */
static void end(struct daemon *d, int status, const char *failure)
{
    health_end(d->health);
    if (stop(d) < 0) {
        (void)health_stop(d->health, failure ? failure : "a thread did not end in time");
        _exit(EXIT_FAILED); /* a thread still works with what we would free */
    }
    close_parts(d);
    if (health_stop(d->health, failure) < 0)
        _exit(status); /* a service does not answer, and its thread waits for it */
}

/* ---- what the stages share ---- */

static int open_signals(struct daemon *d, struct err *e)
{
    sigset_t set;
    sigemptyset(&set);
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN); /* a peer that went away is an error of write(2), not our end */
    signal(SIGXFSZ, SIG_IGN); /* likewise a file over the limit of the process: a full disk */
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
    health_register_metrics();
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

/* "auto" without any model is no reason not to keep pictures; a model that was named is. */
static int open_detector(struct daemon *d, struct err *e)
{
    const struct app_config *c = d->config;
    if (c->detection_off) {
        log_notice("detector-off", "detection is off: %s", c->detection_off);
        (void)text_format(d->detector_text, sizeof(d->detector_text), "off: %s", c->detection_off);
        return 0;
    }
    const struct detector_ops *ops = detector_find("local");
    struct detector_options options;
    detect_config_options(&c->detect, &options);
    int r = ops ? ops->open(&options, &d->pipeline.detector, e)
                : err_set(e, -ENOTSUP, ERR_NEVER,
                          "this build has no local detector: build it with the ONNX Runtime's "
                          "headers (tools/setup), or set enabled = no in [detection]");
    if (r < 0 && text_equal_nocase(c->detect.model, "auto")) {
        log_warn("detector-missing", "%s; pictures are kept without detection until the next start",
                 e->text);
        (void)text_format(d->detector_text, sizeof(d->detector_text), "none: %s",
                          e->text); /* cut */
        return 0;
    }
    if (r < 0)
        return err_prefix(e, "detector"), r;
    d->pipeline.detector->ops->describe(d->pipeline.detector, d->detector_text,
                                        sizeof(d->detector_text));
    log_notice("detector-ready", "detector: %s", d->detector_text);
    return 0;
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
    amqp_notifier_register_metrics();
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
    d->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (d->stop_fd < 0)
        return err_errno(e, -errno, "eventfd");
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

/* What stages see of a configuration, which goes over to the settings. */
static struct settings *make_settings(struct daemon *d, struct app_config *c)
{
    struct settings *s = xcalloc(1, sizeof(*s));
    *s = (struct settings){.refs = 1,
                           .cameras = camera_set_ref(c->cameras),
                           .allow_hosts = c->allow_hosts,
                           .detection_enabled = !c->detection_off,
                           .detect = c->detect,
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

static int open_parts(struct daemon *d, struct err *e)
{
    struct pipeline *p = &d->pipeline;
    status_register_metrics();
    int r = open_signals(d, e);
    if (r == 0)
        r = lock_data(d, e);
    if (r == 0)
        r = open_health(d, e);
    if (r == 0)
        r = open_store(d, e);
    if (r == 0)
        r = open_detector(d, e);
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
    int workers = p->detector ? p->detector->ops->parallelism(p->detector) : 1;
    p->detect_workers = (unsigned)MAX(1, MIN(workers, CLAIM_WORKERS_MAX));
    d->ledger_path = xstrdup(d->config->ledger_path);
    d->store_reserve = d->config->store_reserve;
    p->store_reserve = d->store_reserve;
    p->ledger_path = d->ledger_path;
    open_spool(d);
    return 0;
}

static void close_parts(struct daemon *d)
{
    struct pipeline *p = &d->pipeline;
    pipeline_publish(p, NULL);
    if (!d->config_shared)
        app_config_free(d->config);
    if (p->detector)
        p->detector->ops->close(p->detector);
    picture_cache_free(p->cache);
    claims_free(p->claims);
    bus_free(p->bus);
    store_close(p->store);
    ledger_close(d->web_ledger);
    ledger_close(d->ledger);
    for (size_t i = 0; d->notifiers[i]; i++)
        d->notifiers[i]->ops->free(d->notifiers[i]);
    storage_close_all(d->storages);
    free(d->storage_plans);
    int fds[] = {d->events_fd > STDERR_FILENO ? d->events_fd : -1, d->signal_fd, d->lock_fd,
                 d->stop_fd, d->fault_fd};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            (void)close(fds[i]); /* nothing unsaved behind them */
    free(d->ledger_path);
    for (size_t i = 0; i < ARRAY_LEN(d->spool_texts); i++)
        free(d->spool_texts[i]);
    free((void *)(uintptr_t)d->spool.folders);
    cfg_unref(d->first_cfg);
    pthread_mutex_destroy(&p->lock);
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

static int start_web(struct daemon *d, struct err *e)
{
    const struct web_config *wc = cfg_values(d->config->cfg, &web_cfg_section);
    if (!wc->enabled)
        return 0;
    struct web_options options = {.listen = wc->listen,
                                  .ledger_path = d->ledger_path,
                                  .host_names = wc->host_names,
                                  .connections_max = (int)wc->connections_max,
                                  .request_timeout_ms = wc->request_timeout_ms};
    struct web_backend backend = status_backend(d);
    struct web *w = NULL;
    int r = web_start(&options, &backend, &w, e);
    if (r < 0)
        return r;
    atomic_store(&d->web, w);
    const char *colon = strrchr(wc->listen, ':');
    log_notice("listening", "API on http://%.*s:%d", colon ? (int)(colon - wc->listen) : 0,
               wc->listen, web_port(w));
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
    ftp_server_register_metrics();
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

static int start(struct daemon *d, struct err *e)
{
    d->pipeline.outcome = tell_web;
    d->pipeline.outcome_arg = d;
    int r = topology_start(&d->pipeline, &d->topology, e);
    if (r == 0)
        r = start_ftp(d, e);
    if (r == 0)
        r = start_web(d, e);
    if (r < 0)
        return r;
    mem_trim();
    health_watch(d->health);
    atomic_store(&d->ready, true);
    AUTO(settings) now = pipeline_settings(&d->pipeline);
    size_t cameras = camera_set_count(now->cameras);
    log_notice("ready", "snapshotd %s is ready after %.0f ms: %zu camera%s, data in %s",
               SNAPSHOTD_VERSION, mono_diff_ms(clock_mono(), d->started_mono), cameras,
               cameras == 1 ? "" : "s", d->config->app.data_dir);
    if (cameras == 0)
        log_warn("no-cameras", "no camera is configured: add a [camera:NAME] section "
                               "(snapshotd config --sample shows one)");
    service_status("%zu cameras; detector: %s", cameras, d->detector_text);
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
    struct web *w = atomic_load(&d->web);
    /* No new triggers and uploads first; requests that wait for an outcome are answered. */
    if (w)
        web_stop(w, 500);
    struct ftp_server *ftp = atomic_load(&d->ftp);
    if (ftp && ftp_server_stop(ftp, grace) < 0)
        return -ETIMEDOUT;
    int r = d->topology ? topology_stop(d->topology, grace) : 0;
    if (r < 0)
        return r;
    topology_free(d->topology);
    d->topology = NULL;
    atomic_store(&d->web, NULL);
    web_free(w);
    atomic_store(&d->ftp, NULL); /* nobody asks for its status any more */
    ftp_server_free(ftp);
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

/* The new configuration is wholly valid, or the old one stays. */
static void reload(struct daemon *d, const struct app_options *options)
{
    service_reloading();
    AUTO(app_config) next = NULL;
    AUTO_FREE char *faults = NULL;
    AUTO_FREE char *warnings = NULL;
    if (app_options_load(options, &next, &faults, &warnings) < 0) {
        log_lines(LOG_LEVEL_ERROR, "config-fault", faults);
        log_error("reload-failed", "the running configuration stays as it was");
        service_ready();
        return;
    }
    log_lines(LOG_LEVEL_WARNING, "config-warning", warnings);
    report_difference(d->config, next);
    log_set_level((enum log_level)next->app.log_level);
    log_set_format((enum log_format)next->app.log_format);
    /* Detection can be switched off and on again, but a detector is opened at start only. */
    if (!next->detection_off && !d->pipeline.detector)
        log_warn("detector-missing", "detection was switched on: it begins at the next start");
    d->config = STEAL(next);
    pipeline_publish(&d->pipeline, make_settings(d, d->config));
    pipeline_wake(&d->pipeline, PIPELINE_SCHEDULE);
    pipeline_wake(&d->pipeline, PIPELINE_FETCH);
    reload_ftp(d);
    pipeline_wake(&d->pipeline, PIPELINE_SPOOL);
    pipeline_wake(&d->pipeline, PIPELINE_UPLOAD);
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
                               {.fd = d->fault_fd, .events = POLLIN}};
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
            log_notice("stopping", "signal %u: finishing what is under way; once more ends at once",
                       si.ssi_signo);
            allow_second_signal();
            return EXIT_DONE;
        }
        if (mono_passed(gauges_at)) {
            status_update_gauges(d);
            health_view_count(d);
            gauges_at = mono_add_ms(clock_mono(), GAUGES_MS);
        }
    }
}
