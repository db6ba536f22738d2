#include "web/web.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "sys/httpd.h"
#include "web/events.h"
#include "web/export.h"
#include "web/routes.h"

struct web {
    struct httpd *server;
    struct host_list *trusted_proxies; /* NULL = none */
    struct ledger *ledger;
    struct events *events;
    struct exports *exports;
    struct web_backend backend;
    struct web_context context;
    struct access *access;      /* or NULL */
    char **host_names;          /* NULL-terminated, or NULL */
    struct httpd_numbers shown; /* in the metrics so far */
};

static struct metric requests = {
    .name = "snapshotd_http_requests_total",
    .kind = METRIC_COUNTER,
    .label = "code",
    .help = "Answers of the HTTP API by status code",
};
static struct metric request_seconds = {
    .name = "snapshotd_http_request_seconds",
    .kind = METRIC_HISTOGRAM,
    .help = "Time that the HTTP API works on a request, without the time that it waits.",
};
static struct metric connections = {
    .name = "snapshotd_http_connections",
    .kind = METRIC_GAUGE,
    .help = "Open connections to the HTTP API.",
};
static struct metric waiting = {
    .name = "snapshotd_http_waiting",
    .kind = METRIC_GAUGE,
    .help = "Requests that wait for a trigger's outcome.",
};
static struct metric closed = {
    .name = "snapshotd_http_closed_total",
    .kind = METRIC_COUNTER,
    .label = "reason",
    .help = "Connections closed because they were too slow, or idle while room was needed.",
};
static struct metric streams = {
    .name = "snapshotd_http_streams",
    .kind = METRIC_GAUGE,
    .help = "Clients that listen to events.",
};
static struct metric *const metrics[] = {&requests, &request_seconds, &connections,
                                         &waiting,  &streams,         &closed};

static struct access *make_access(struct web *w, const struct access_options *options);
static void wake_listeners(void *arg);
static void wake_stream(void *arg, const char *key);
static size_t body_max(void *arg, const struct http_request *req, struct http_response *ret);
static char **copy_names(const char *const *names);
static void handle(void *arg, const struct http_request *req, struct http_response *ret);

void web_register_metrics(void)
{
    for (size_t i = 0; i < ARRAY_LEN(metrics); i++)
        metric_register(metrics[i]);
    events_register_metrics();
}

int web_start(const struct web_options *options, const struct web_backend *backend,
              struct web **ret, struct err *e)
{
    web_register_metrics();
    AUTO(web) w = xcalloc(1, sizeof(*w));
    w->backend = *backend;
    int r = 0;
    if (options->trusted_proxies && options->trusted_proxies[0])
        r = host_list_new(options->trusted_proxies, &w->trusted_proxies, e);
    if (r == 0)
        r = ledger_open(options->ledger_path, &w->ledger, e);
    if (r < 0)
        return r;
    w->host_names = copy_names(options->host_names);
    if (options->access)
        w->access = make_access(w, options->access);
    struct events_options events = {
        .ledger = w->ledger, .backend = &w->backend, .wake = wake_listeners, .arg = w};
    w->events = events_new(&events);
    struct exports_options exports = {
        .ledger_path = options->ledger_path, .backend = &w->backend, .wake = wake_stream, .arg = w};
    w->exports = exports_new(&exports);
    w->context = (struct web_context){.ledger = w->ledger,
                                      .access = w->access,
                                      .backend = &w->backend,
                                      .host_names = (const char *const *)w->host_names,
                                      .events = w->events,
                                      .exports = w->exports};
    struct httpd_options server = {
        .listen = options->listen,
        .connections_max = options->connections_max,
        .request_timeout_ms = options->request_timeout_ms,
        .thread_name = "web",
        .cert_file = options->cert_file,
        .key_file = options->key_file,
        .trusted_proxies = w->trusted_proxies,
        .body_max = body_max,
        .handle = handle,
        .arg = w,
    };
    r = httpd_start(&server, &w->server, e);
    if (r < 0)
        return r;
    *ret = STEAL(w);
    return 0;
}

int web_port(const struct web *w)
{
    return httpd_port(w->server);
}

void web_notify(struct web *w, const char *id)
{
    httpd_wake(w->server, id);
}

int web_renew(struct web *w, const char *cert_file, const char *key_file, struct err *e)
{
    return httpd_renew(w->server, cert_file, key_file, e);
}

void web_tell(struct web *w, enum news what, const char *subject)
{
    events_tell(w->events, what, subject);
}

static void wake_listeners(void *arg)
{
    struct web *w = arg;
    httpd_wake(w->server, EVENTS_KEY);
}

static void wake_stream(void *arg, const char *key)
{
    struct web *w = arg;
    httpd_wake(w->server, key);
}

static size_t body_max(void *arg, const struct http_request *req, struct http_response *ret)
{
    struct web *w = arg;
    return web_admit(&w->context, req, ret);
}

void web_stop(struct web *w, int grace_ms)
{
    if (!w)
        return;
    httpd_stop(w->server, grace_ms);
    exports_free(STEAL(w->exports)); /* they use what is behind the API */
}

void web_free(struct web *w)
{
    if (!w)
        return;
    web_stop(w, 0); /* nobody begins a login any more, and one under way may still wake */
    exports_free(w->exports);
    access_free(w->access);
    httpd_free(w->server);
    host_list_free(w->trusted_proxies);
    events_free(w->events);
    ledger_close(w->ledger);
    for (char **name = w->host_names; name && *name; name++)
        free(*name);
    free(w->host_names);
    free(w);
}

static void wake(void *arg, const char *key)
{
    struct web *w = arg;
    httpd_wake(w->server, key);
}

static struct access *make_access(struct web *w, const struct access_options *options)
{
    struct access_options mine = *options;
    mine.wake = wake;
    mine.wake_arg = w;
    return access_new(&mine);
}

/* The configuration that they come from may go at a reload. */
static char **copy_names(const char *const *names)
{
    size_t count = 0;
    while (names && names[count])
        count++;
    if (count == 0)
        return NULL;
    char **copy = xcalloc(count + 1, sizeof(*copy));
    for (size_t i = 0; i < count; i++)
        copy[i] = xstrdup(names[i]);
    return copy;
}

static void update_gauges(struct web *w)
{
    struct httpd_numbers n;
    httpd_get_numbers(w->server, &n);
    metric_set(&connections, NULL, n.connections);
    metric_set(&waiting, NULL, n.waiting);
    metric_set(&streams, NULL, n.streams);
    metric_add(&closed, "slow", (double)(n.too_slow - w->shown.too_slow));
    metric_add(&closed, "room", (double)(n.evicted - w->shown.evicted));
    w->shown = n;
}

static void handle(void *arg, const struct http_request *req, struct http_response *ret)
{
    struct web *w = arg;
    struct mono_time start = clock_mono();
    update_gauges(w); /* so that /metrics shows them as they are */
    (void)web_answer(&w->context, req, ret);
    double ms = mono_diff_ms(clock_mono(), start);
    metric_observe(&request_seconds, NULL, ms / 1000);
    if (ret->waits)
        return;
    char code[8];
    (void)text_format(code, sizeof(code), "%d", ret->status); /* three digits, ours */
    metric_inc(&requests, code);
    char target[160];
    /* Who has a link has the picture, and it can be written in more than one way. */
    bool link = req->part_count > 0 && strcmp(req->parts[0], "s") == 0;
    const char *shown = link ? "/s/***" : req->target;
    text_escape(shown, strlen(shown), target, sizeof(target));
    log_debug("http-request", "%s %s: %d in %.1f ms", req->method, target, ret->status, ms);
}
