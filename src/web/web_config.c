#include "web/web_config.h"

#include <errno.h>
#include <stddef.h>

#include "base/host_list.h"
#include "base/text.h"
#include "sys/httpd.h"

#define FIELD(name) offsetof(struct web_config, name)

static int check_listen(const void *value, char *why, size_t why_size);
static void check_web(const void *values, const char *instance, struct cfg_faults *faults);

static const struct cfg_key keys[] = {
    {.name = "enabled",
     .type = CFG_BOOL,
     .offset = FIELD(enabled),
     .fallback = "yes",
     .help = "Whether the HTTP API listens",
     .doc = "The commands `trigger` and `status` ask the running daemon through it."},
    {.name = "listen",
     .type = CFG_ENDPOINT,
     .offset = FIELD(listen),
     .fallback = "127.0.0.1:8080",
     .help = "Address and port of the HTTP API",
     .doc = "An IPv4 or IPv6 address (`[::1]:8080`) or `localhost`; port 0 takes any free one and "
            "the log says which. Addresses beyond the machine itself need `allow_remote = yes`.",
     .validate = check_listen},
    {.name = "allow_remote",
     .type = CFG_BOOL,
     .offset = FIELD(allow_remote),
     .fallback = "no",
     .help = "Lets `listen` be an address that other machines reach",
     .doc = "The API has no login yet: whoever reaches it sees all pictures and may ask the "
            "cameras for more. Put a proxy with a login in front of it instead, or a firewall."},
    {.name = "host_names",
     .type = CFG_LIST,
     .offset = FIELD(host_names),
     .help = "Names under which browsers may ask, besides addresses and localhost",
     .doc = "Requests for other names are refused, because a foreign web page can make a name of "
            "its own point here (DNS rebinding). Give the name that your proxy passes on."},
    {.name = "connections_max",
     .type = CFG_INT,
     .offset = FIELD(connections_max),
     .fallback = "128",
     .min = 4,
     .max = 4096,
     .help = "Connections at once",
     .doc = "When all are taken the one that has been silent for longest makes room. Half of them "
            "may wait for a trigger's outcome."},
    {.name = "request_timeout",
     .type = CFG_DURATION,
     .offset = FIELD(request_timeout_ms),
     .fallback = "15s",
     .min = 100,
     .max = 600000,
     .unit = "ms",
     .bare_unit_ms = 1000,
     .help = "Time that a client has to send a whole request, or to be silent between two",
     .doc = "Large bodies have more, as long as they come faster than 64 kB/s."},
    {.name = "trusted_proxies",
     .type = CFG_LIST,
     .offset = FIELD(trusted_proxies),
     .help = "Addresses or networks of proxies in front of it, whose word about their clients "
             "counts",
     .doc = "They must send X-Forwarded-For, and X-Forwarded-Proto when they speak TLS. What "
            "others say in these headers is not believed. A proxy on this machine has to stand "
            "here too (127.0.0.1): then no request from there counts as one of this machine."},
    {.name = "tls_cert_file",
     .type = CFG_PATH,
     .offset = FIELD(tls_cert_file),
     .help = "The server's certificate in PEM form, with those that signed it behind it",
     .doc = "With it, and tls_key_file, `listen` speaks TLS (1.2 at least) and nothing else. A "
            "reload (SIGHUP) takes the files as they are then, for new connections."},
    {.name = "tls_key_file",
     .type = CFG_PATH,
     .offset = FIELD(tls_key_file),
     .help = "The certificate's key in PEM form, without a password"},
};

const struct cfg_section web_cfg_section = {
    .name = "web",
    .struct_size = sizeof(struct web_config),
    .keys = keys,
    .key_count = ARRAY_LEN(keys),
    .help = "The HTTP API",
    .check = check_web,
};

static int check_listen(const void *value, char *why, size_t why_size)
{
    struct httpd_endpoint endpoint;
    struct err e;
    if (httpd_endpoint_parse(*(const char *const *)value, &endpoint, &e) == 0)
        return 0;
    text_copy(why, why_size, e.text);
    return -EINVAL;
}

static void check_proxies(const struct web_config *c, const char *instance,
                          struct cfg_faults *faults)
{
    AUTO(host_list) list = NULL;
    struct err e;
    if (host_list_new(c->trusted_proxies, &list, &e) < 0)
        cfg_fault(faults, "web", instance, "trusted_proxies", "%s", e.text);
    else if (host_list_has_names(list))
        cfg_fault(faults, "web", instance, "trusted_proxies",
                  "names are not looked up here: write addresses or networks");
}

static void check_tls(const struct web_config *c, const char *instance, struct cfg_faults *faults)
{
    bool cert = *c->tls_cert_file, key = *c->tls_key_file;
    if (cert != key)
        cfg_fault(faults, "web", instance, cert ? "tls_key_file" : "tls_cert_file",
                  "must be given with %s: a certificate and its key go together",
                  cert ? "tls_cert_file" : "tls_key_file");
}

static void check_web(const void *values, const char *instance, struct cfg_faults *faults)
{
    const struct web_config *c = values;
    check_proxies(c, instance, faults);
    check_tls(c, instance, faults);
    struct httpd_endpoint endpoint;
    if (!c->enabled || httpd_endpoint_parse(c->listen, &endpoint, NULL) < 0)
        return; /* the second is a fault of its own */
    if (!endpoint.loopback && !c->allow_remote)
        cfg_fault(faults, "web", instance, "listen",
                  "%s is reachable from other machines and the API has no login yet: use "
                  "127.0.0.1:%d, or say allow_remote = yes if something else guards it",
                  c->listen, endpoint.port);
}
