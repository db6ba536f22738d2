#include "web/web_config.h"

#include <errno.h>
#include <stddef.h>

#include "base/text.h"
#include "sys/httpd.h"

#define FIELD(name) offsetof(struct web_config, name)

static int check_listen(const void *value, char *why, size_t why_size);
static void check_web(const void *values, const char *instance, struct cfg_faults *faults);

static const char *const thumbnail_choices[] = {[WEB_THUMBNAILS_YES] = "yes",
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
     .help = "Time that a client has to send a whole request, or to be silent between two"},
    {.name = "thumbnails",
     .type = CFG_CHOICE,
     .offset = FIELD(thumbnails),
     .fallback = "yes",
     .choices = thumbnail_choices,
     .help = "Whether small copies of pictures are made",
     .doc = "`yes`: of each picture, after it was examined and while nothing else is to be done. "
            "`asked`: only when somebody looks. `no`: never, pages then have none. They are kept "
            "in `thumbnails` below `data_dir` and can be removed at any time."},
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

static void check_web(const void *values, const char *instance, struct cfg_faults *faults)
{
    const struct web_config *c = values;
    struct httpd_endpoint endpoint;
    if (!c->enabled || httpd_endpoint_parse(c->listen, &endpoint, NULL) < 0)
        return; /* the second is a fault of its own */
    if (!endpoint.loopback && !c->allow_remote)
        cfg_fault(faults, "web", instance, "listen",
                  "%s is reachable from other machines and the API has no login yet: use "
                  "127.0.0.1:%d, or say allow_remote = yes if something else guards it",
                  c->listen, endpoint.port);
}
