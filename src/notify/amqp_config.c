#include "notify/amqp_config.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/text.h"
#include "wire/image_event.h"
#include "wire/routing_key.h"

#define FIELD(name) offsetof(struct amqp_config, name)
#define THEIRS CFG_ENV_NAME /* a key of the original: the variable of its name counts, too */
#define DAY_MS 86400e3

const char *const amqp_queue_mode_names[AMQP_QUEUE_MODE_COUNT + 1] = {"exclusive", "durable", NULL};
const char *const amqp_too_large_names[AMQP_TOO_LARGE_COUNT + 1] = {"downscale", "claim_check",
                                                                    NULL};
/* The table of wire/ has no NULL at its end. */
static const char *const format_choices[] = {"original", "extended", "claim_check", NULL};
static_assert(ARRAY_LEN(format_choices) == EVENT_FORMAT_COUNT + 1, "a choice per event_format");

static int check_addresses(const void *value, char *why, size_t why_size);
static int check_word(const void *value, char *why, size_t why_size);
static int check_image_url(const void *value, char *why, size_t why_size);
static void check_section(const void *values, const char *instance, struct cfg_faults *faults);

static const struct cfg_key keys[] = {
    /* ---- the connection ---- */
    {.name = "server_address",
     .type = CFG_STRING,
     .offset = FIELD(server_address),
     .flags = THEIRS,
     .env = "RABBITMQ_SERVER_ADDRESS",
     .validate = check_addresses,
     .help = "The broker: host, host:port or [v6]:port; empty = none",
     .doc = "Several, separated by commas, are nodes of one cluster: the first that answers is "
            "taken. The port is 5672 unless given, with TLS 5671. The broker may be absent, at "
            "the start too and for days: what it should hear waits in the ledger."},
    {.name = "mq_exchange",
     .type = CFG_STRING,
     .offset = FIELD(exchange),
     .fallback = "home_automation",
     .flags = THEIRS,
     .env = "RABBITMQ_EXCHANGE",
     .validate = check_word,
     .help = "The exchange for events; triggers come by the one of this name plus _control",
     .doc = "Both are made when they are not there, non-durable as all other programs on them "
            "make them."},
    {.name = "device_topic",
     .type = CFG_STRING,
     .offset = FIELD(device_topic),
     .fallback = "snapshot",
     .flags = THEIRS,
     .env = "RABBITMQ_DEVICE_TOPIC",
     .validate = check_word,
     .help = "The word in routing keys that stands for this program",
     .doc = "The predecessor's counterparts know `snapshot` and no other."},
    {.name = "user",
     .type = CFG_STRING,
     .offset = FIELD(user),
     .env = "RABBITMQ_USER",
     .help = "Login at the broker; empty = guest, RabbitMQ's own, which it may take from its own "
             "machine only"},
    {.name = "password",
     .type = CFG_SECRET,
     .offset = FIELD(password),
     .env = "RABBITMQ_PASSWORD",
     .help = "Password of user; guest when neither is given"},
    {.name = "vhost",
     .type = CFG_STRING,
     .offset = FIELD(vhost),
     .fallback = "/",
     .help = "The broker's virtual host"},
    {.name = "heartbeat",
     .type = CFG_DURATION,
     .offset = FIELD(heartbeat_ms),
     .fallback = "10s",
     .min = 5000, /* below that they give false alarms, says RabbitMQ */
     .max = 600e3,
     .bare_unit_ms = 1000,
     .help = "The connection's heartbeat: a broker that is silent for two of them is given up"},
    {.name = "connect_timeout",
     .type = CFG_DURATION,
     .offset = FIELD(connect_timeout_ms),
     .fallback = "5s",
     .min = 100,
     .max = 60e3,
     .bare_unit_ms = 1000,
     .help = "Time that each address has to let us in"},
    {.name = "tls",
     .type = CFG_BOOL,
     .offset = FIELD(tls),
     .fallback = "no",
     .help = "Whether the connection is encrypted"},
    {.name = "tls_verify_host",
     .type = CFG_BOOL,
     .offset = FIELD(tls_verify_host),
     .fallback = "yes",
     .help = "Whether the broker's certificate must be for its name in server_address",
     .doc = "That it is signed by an authority that we trust is asked in any case."},
    {.name = "tls_ca_file",
     .type = CFG_PATH,
     .offset = FIELD(tls_ca_file),
     .help = "Authorities that may sign the broker's certificate; empty = the system's"},
    {.name = "tls_cert_file",
     .type = CFG_PATH,
     .offset = FIELD(tls_cert_file),
     .help = "Our own certificate, for a broker that wants one"},
    {.name = "tls_key_file",
     .type = CFG_PATH,
     .offset = FIELD(tls_key_file),
     .help = "Its key; empty = in tls_cert_file"},

    /* ---- triggers, in ---- */
    {.name = "triggers",
     .type = CFG_BOOL,
     .offset = FIELD(triggers),
     .fallback = "yes",
     .help = "Whether triggers are taken from the broker"},
    {.name = "queue_mode",
     .type = CFG_CHOICE,
     .offset = FIELD(queue_mode),
     .fallback = "exclusive",
     .choices = amqp_queue_mode_names,
     .help = "The queue for triggers: one for this connection, or one that stays",
     .doc = "`exclusive`, the predecessor's: what is sent while we are away is lost. `durable`: a "
            "quorum queue named `queue` that keeps triggers meanwhile; several instances with the "
            "same name share the work."},
    {.name = "queue",
     .type = CFG_STRING,
     .offset = FIELD(queue),
     .validate = check_word,
     .help = "Name of the durable queue"},
    {.name = "dead_letter_exchange",
     .type = CFG_STRING,
     .offset = FIELD(dead_letter_exchange),
     .validate = check_word,
     .help = "Exchange that gets the triggers which the durable queue gives up; empty = none",
     .doc = "Those that are malformed, and those that came delivery_limit times."},
    {.name = "delivery_limit",
     .type = CFG_INT,
     .offset = FIELD(delivery_limit),
     .fallback = "20", /* RabbitMQ's own since 4.0 */
     .min = 0,
     .max = 1000000,
     .help = "How often the durable queue delivers a trigger again; 0 = any number of times"},
    {.name = "prefetch",
     .type = CFG_INT,
     .offset = FIELD(prefetch),
     .fallback = "64",
     .min = 1,
     .max = AMQP_PREFETCH_MAX,
     .help = "Triggers under way between the broker and the ledger"},
    {.name = "message_size_max",
     .type = CFG_SIZE,
     .offset = FIELD(message_size_max),
     .fallback = "16MB",
     .min = 1024,
     .max = AMQP_PUBLISH_MAX,
     .unit = "bytes",
     .help = "Largest trigger that is looked at; it may carry the picture of what caused it"},
    {.name = "allow_hosts",
     .type = CFG_LIST,
     .offset = FIELD(allow_hosts),
     .fallback = "private",
     .flags = CFG_RELOAD,
     .help = "Which camera addresses a trigger may name, besides those of configured cameras",
     .doc = "Names, addresses, networks (`192.168.7.0/24`), or `private` for all private "
            "networks. A trigger may name an address only for a configured output."},

    /* ---- events, out ---- */
    {.name = "events",
     .type = CFG_BOOL,
     .offset = FIELD(events),
     .fallback = "yes",
     .help = "Whether events and the heartbeat are published"},
    {.name = "event_format",
     .type = CFG_CHOICE,
     .offset = FIELD(event_format),
     .fallback = "original",
     .choices = format_choices,
     .help = "Layout of an event, see doc/amqp.md",
     .doc = "`original`: byte for byte the predecessor's. `extended`: more keys, under the same "
            "routing key; the predecessor's strictest reader loses such a message. "
            "`claim_check`: as extended, with the picture's address for its bytes; wants "
            "`image_url`."},
    {.name = "event_persistent",
     .type = CFG_BOOL,
     .offset = FIELD(event_persistent),
     .fallback = "no",
     .help = "Whether durable queues write events to disk before the broker confirms them"},
    {.name = "event_size_max",
     .type = CFG_SIZE,
     .offset = FIELD(event_size_max),
     .fallback = "16MB", /* the default limit of RabbitMQ 4; up to 3.13 it is 128 MB */
     .min = 16 << 10,
     .max = AMQP_PUBLISH_MAX,
     .unit = "bytes",
     .help = "Largest event; see event_too_large"},
    {.name = "event_too_large",
     .type = CFG_CHOICE,
     .offset = FIELD(event_too_large),
     .fallback = "downscale",
     .choices = amqp_too_large_names,
     .help = "What becomes of a larger one: a smaller copy of its picture, or its address"},
    {.name = "image_url",
     .type = CFG_STRING,
     .offset = FIELD(image_url),
     .validate = check_image_url,
     .help = "Where consumers get a picture, with {id}, for claim_check",
     .doc = "For example `http://cameras.lan:8080/api/v1/snapshots/{id}/image`, as they reach the "
            "HTTP API."},
    {.name = "event_age_max",
     .type = CFG_DURATION,
     .offset = FIELD(event_age_max_ms),
     .fallback = "0",
     .min = 0,
     .max = 3650 * DAY_MS,
     .bare_unit_ms = 1000,
     .help = "Age at which an undelivered event is given up; 0 = never",
     .doc = "It is counted as dead then, and its picture stays."},
    {.name = "event_backlog_max",
     .type = CFG_INT,
     .offset = FIELD(event_backlog_max),
     .fallback = "1000000", /* some 200 MB of ledger */
     .min = 0,
     .max = 1e9,
     .help = "Events that may wait for an absent broker; the oldest are given up first; 0 = any "
             "number"},
    {.name = "heartbeat_event",
     .type = CFG_DURATION,
     .offset = FIELD(heartbeat_event_ms),
     .fallback = "5s",
     .min = 1000,
     .max = 3600e3,
     .bare_unit_ms = 1000,
     .help = "How often the heartbeat event is published"},
};

const struct cfg_section amqp_cfg_section = {
    .name = "rabbitmq",
    .struct_size = sizeof(struct amqp_config),
    .keys = keys,
    .key_count = ARRAY_LEN(keys),
    .help = "The broker: triggers come from it, events go to it; doc/amqp.md has the messages.",
    .check = check_section,
};

struct amqp_options amqp_config_options(const struct amqp_config *c, const char *name)
{
    return (struct amqp_options){.addresses = c->server_address,
                                 .user = *c->user ? c->user : NULL,
                                 .password = *c->password ? c->password : NULL,
                                 .vhost = c->vhost,
                                 .name = name,
                                 .heartbeat_s = (int)(c->heartbeat_ms / 1000),
                                 .connect_timeout_ms = c->connect_timeout_ms,
                                 .body_max = (size_t)c->message_size_max,
                                 .tls = c->tls,
                                 .tls_ca_file = *c->tls_ca_file ? c->tls_ca_file : NULL,
                                 .tls_cert_file = *c->tls_cert_file ? c->tls_cert_file : NULL,
                                 .tls_key_file = *c->tls_key_file ? c->tls_key_file : NULL,
                                 .tls_any_host = !c->tls_verify_host};
}

void amqp_config_warn(const struct amqp_config *c, struct cfg_faults *warnings)
{
    if (!*c->server_address)
        return;
    if (strcmp(c->device_topic, "snapshot") != 0)
        cfg_fault(warnings, "rabbitmq", NULL, "device_topic",
                  "is \"%s\": the predecessor's counterparts know \"snapshot\" alone, so with them "
                  "no trigger arrives; say snapshot unless the other side is your own",
                  c->device_topic);
    if (c->queue_mode == AMQP_QUEUE_EXCLUSIVE && *c->queue)
        cfg_fault(warnings, "rabbitmq", NULL, "queue",
                  "has no effect, because queue_mode is exclusive; say queue_mode = durable for a "
                  "queue that stays");
}

/* ---- checking ---- */

static int check_addresses(const void *value, char *why, size_t why_size)
{
    const char *s = *(const char *const *)value;
    if (!*s)
        return 0;
    /* The link reads the list; it is asked here so that nothing is said twice. */
    struct amqp_options o = {.addresses = s};
    struct amqp_link *l = NULL;
    struct err e = {0};
    int r = amqp_link_new(&o, &l, &e);
    amqp_link_free(l);
    if (r < 0)
        text_copy(why, why_size, e.text);
    return r;
}

/* A name as AMQP has it: 255 bytes. */
static int check_word(const void *value, char *why, size_t why_size)
{
    size_t len = strlen(*(const char *const *)value);
    if (len < AMQP_NAME_MAX - sizeof("_control"))
        return 0;
    (void)text_format(why, why_size, "it has %zu bytes, the broker takes %zu", len,
                      AMQP_NAME_MAX - sizeof("_control") - 1); /* cut is fine */
    return -EINVAL;
}

static int check_image_url(const void *value, char *why, size_t why_size)
{
    const char *s = *(const char *const *)value;
    bool http = text_starts_with(s, "http://") || text_starts_with(s, "https://");
    const char *id = strstr(s, "{id}");
    if (!*s || (http && id && strchr(s, '{') == id && strrchr(s, '{') == id))
        return 0;
    text_copy(
        why, why_size,
        "it must begin with http:// or https:// and hold {id}, which stands for the snapshot's id");
    return -EINVAL;
}

static void check_names(const struct amqp_config *c, const char *instance,
                        struct cfg_faults *faults)
{
    if (!*c->exchange)
        cfg_fault(faults, "rabbitmq", instance, "mq_exchange",
                  "must not be empty: name the exchange that the other programs use, in the "
                  "predecessor's examples home_automation");
    if (!*c->device_topic)
        cfg_fault(faults, "rabbitmq", instance, "device_topic",
                  "must not be empty: with the predecessor's counterparts it is snapshot");
    if (c->queue_mode == AMQP_QUEUE_DURABLE && !*c->queue)
        cfg_fault(faults, "rabbitmq", instance, "queue",
                  "must be given with queue_mode = durable: a queue that stays has a name");
}

/* What only the link knows: texts that are too long for the protocol. */
static void check_link(const struct amqp_config *c, const char *instance, struct cfg_faults *faults)
{
    struct amqp_options o = amqp_config_options(c, NULL);
    struct amqp_link *l = NULL;
    struct err e = {0};
    if (amqp_link_new(&o, &l, &e) < 0)
        cfg_fault(faults, "rabbitmq", instance, NULL, "%s", e.text);
    amqp_link_free(l);
}

static void check_section(const void *values, const char *instance, struct cfg_faults *faults)
{
    const struct amqp_config *c = values;
    if (!*c->server_address)
        return; /* no broker */
    check_names(c, instance, faults);
    check_link(c, instance, faults);
    if (!*c->image_url && c->event_format == EVENT_FORMAT_CLAIM_CHECK)
        cfg_fault(faults, "rabbitmq", instance, "event_format",
                  "claim_check wants an address for pictures: give image_url");
    if (!*c->image_url && c->event_too_large == AMQP_CLAIM_CHECK)
        cfg_fault(faults, "rabbitmq", instance, "event_too_large",
                  "claim_check wants an address for pictures: give image_url");
    if (c->event_format == EVENT_FORMAT_ORIGINAL && c->event_too_large == AMQP_CLAIM_CHECK)
        cfg_fault(faults, "rabbitmq", instance, "event_too_large",
                  "claim_check adds keys, which event_format = original rules out: say "
                  "event_format = extended, or event_too_large = downscale");
    if (!c->tls && (*c->tls_ca_file || *c->tls_cert_file))
        cfg_fault(faults, "rabbitmq", instance, "tls",
                  "is off, but TLS files are given: say tls = yes, or remove them");
}
