#include "web/web_config.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/host_list.h"
#include "base/text.h"
#include "sys/httpd.h"
#include "web/access_db.h"

#define FIELD(name) offsetof(struct web_config, name)

static const char *const login_names[] = {"auto", "always", NULL};

static int check_listen(const void *value, char *why, size_t why_size);
static int check_header(const void *value, char *why, size_t why_size);
static void check_web(const void *values, const char *instance, struct cfg_faults *faults);

static const char *const thumbnail_choices[] = {[WEB_THUMBNAILS_AUTO] = "auto",
                                                [WEB_THUMBNAILS_YES] = "yes",
                                                [WEB_THUMBNAILS_ASKED] = "asked",
                                                [WEB_THUMBNAILS_NO] = "no",
                                                NULL};

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
            "the log says which. Addresses beyond the machine itself need `allow_remote = yes`, "
            "and whoever comes from there a login.",
     .validate = check_listen},
    {.name = "allow_remote",
     .type = CFG_BOOL,
     .offset = FIELD(allow_remote),
     .fallback = "no",
     .help = "Lets `listen` be an address that other machines reach",
     .doc = "Whoever comes from another machine has to log in in any case: `snapshotd user add "
            "NAME` makes the first user, there is no default password. Without TLS the password "
            "and the pictures cross the network as they are."},
    {.name = "login",
     .type = CFG_CHOICE,
     .offset = FIELD(login),
     .fallback = "auto",
     .choices = login_names,
     .help = "Who has to log in: `auto` all but those at the machine itself, or `always`",
     .doc = "A proxy on this machine makes everybody look as if he were at the machine. One that "
            "adds a header of forwarding (X-Forwarded-For and its like) is seen through, and so is "
            "one that `trusted_proxies` names; behind any other, `always` is needed."},
    {.name = "metrics_open",
     .type = CFG_BOOL,
     .offset = FIELD(metrics_open),
     .fallback = "no",
     .help = "Whether /metrics needs no login from anywhere",
     .doc = "At the machine itself it needs none while `login` is `auto`. A collector elsewhere "
            "can have a token instead: `snapshotd token add --scopes read NAME`."},
    {.name = "session_idle",
     .type = CFG_DURATION,
     .offset = FIELD(session_idle_ms),
     .fallback = "1d",
     .min = 60000,
     .max = 86400000.0 * 365,
     .unit = "ms",
     .bare_unit_ms = 1000,
     .help = "A login that nobody has used for so long ends"},
    {.name = "session_max",
     .type = CFG_DURATION,
     .offset = FIELD(session_max_ms),
     .fallback = "30d",
     .min = 60000,
     .max = 86400000.0 * 365,
     .unit = "ms",
     .bare_unit_ms = 1000,
     .help = "A login ends after so long in any case"},
    {.name = "proxy_user_header",
     .type = CFG_STRING,
     .offset = FIELD(proxy_user_header),
     .help = "Header in which a trusted proxy says who has logged in there, such as X-Remote-User",
     .doc = "Counts only from the addresses in `trusted_proxies`; the proxy must remove what its "
            "clients send under this name. A name that is a user here has that user's role.",
     .validate = check_header},
    {.name = "proxy_role",
     .type = CFG_CHOICE,
     .offset = FIELD(proxy_role),
     .fallback = "viewer",
     .choices = access_role_names,
     .help = "Role of whom the proxy names and who is no user here; `nobody` keeps him out"},
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
    {.name = "thumbnails",
     .type = CFG_CHOICE,
     .offset = FIELD(thumbnails),
     .fallback = "auto",
     .choices = thumbnail_choices,
     .help = "Whether small copies of pictures are made",
     .doc = "`yes`: of each picture, after it was examined and while nothing else is to be done. "
            "`asked`: only when somebody looks. `auto`: as `yes` when somebody has looked in the "
            "last two weeks, else as `asked`. `no`: never, pages then have none. They are kept in "
            "`thumbnails` below `data_dir` and can be removed at any time."},
    {.name = "thumbnails_max",
     .type = CFG_SIZE,
     .offset = FIELD(thumbnails_max),
     .fallback = "1GB",
     .min = 1 << 20,
     .max = (double)((int64_t)1 << 50),
     .unit = "bytes",
     .help = "Room that they may take",
     .doc = "Above it those go that are of no use any more: the hour to which nothing was added "
            "for longest. A thousand take some 15 MB. When the disk is about to fill they go "
            "before any picture does."},
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

/* A token of RFC 9110, 5.6.2. Not one that comes from browsers or says something else to us. */
static int check_header(const void *value, char *why, size_t why_size)
{
    static const char fine[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    static const char *const taken[] = {"Host", "Cookie", "Authorization", "Origin", "User-Agent"};
    const char *name = *(const char *const *)value;
    bool good = strspn(name, fine) == strlen(name) && strlen(name) < 64;
    for (size_t i = 0; i < ARRAY_LEN(taken); i++)
        good = good && !text_equal_nocase(name, taken[i]);
    if (good)
        return 0;
    text_copy(why, why_size,
              "right would be the name of a header that only the proxy sets, such "
              "as X-Remote-User");
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
    if (c->proxy_user_header[0] && !c->trusted_proxies[0])
        cfg_fault(faults, "web", instance, "proxy_user_header",
                  "counts from no address: name the proxy's in trusted_proxies");
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
                  "%s is reachable from other machines: use 127.0.0.1:%d, or say "
                  "allow_remote = yes, and add a user who may log in from there with "
                  "'snapshotd user add NAME'",
                  c->listen, endpoint.port);
}
