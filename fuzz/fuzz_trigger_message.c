/* Any bytes as a trigger of the broker: decoded, and shown as a refused one is. What is accepted
 * must hold what the decoder promises. */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "sys/msgpack.h"
#include "wire/trigger_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(const struct trigger_message *m);
static void check_walk(const uint8_t *data, size_t size, int decoded);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct wall_time now = {1767323045000000};
    struct trigger_message m;
    struct err e = {0};
    char excerpt[TRIGGER_EXCERPT_MAX];
    int r = trigger_message_decode("event.trigger.snapshot", data, size, now, &m, &e);
    assert(r == 0 || r == -EBADMSG || r == -E2BIG || r == -EINVAL);
    assert(r == e.code && (r == 0) == (e.text[0] == '\0') && e.retry == ERR_NEVER);
    if (r == 0)
        check_accepted(&m);
    check_walk(data, size, r);
    trigger_message_excerpt(data, size, excerpt);
    assert(text_ends_with(excerpt, " bytes)"));
    for (const char *p = excerpt; *p; p++)
        assert((unsigned char)*p >= 32 && (unsigned char)*p < 127);
    return 0;
}

static void check_accepted(const struct trigger_message *m)
{
    const struct device_params *p = &m->params;
    assert(m->event_at.us >= 0 && wall_seconds(m->event_at) <= 253402300799);
    assert(m->device_key[0] && strlen(m->device_key) < sizeof(m->device_key));
    assert(strlen(m->device_label) < sizeof(m->device_label));
    assert(p->port > 0 && p->port < 65536 && p->rtsp_port > 0 && p->rtsp_port < 65536);
    assert(p->host[0] && !strpbrk(p->host, "/?#@[]% \t\r\n"));
    assert(strlen(p->address) >= strlen(p->host) + 2);
    assert(m->traceparent[0] == '\0' || strlen(m->traceparent) == TRACEPARENT_SIZE - 1);
    for (const char *s = m->note; *s; s++)
        assert((unsigned char)*s >= 32 && *s != 127);
}

/* Reading value by value and stepping over the whole must agree on what is one message. */
static void check_walk(const uint8_t *data, size_t size, int decoded)
{
    struct msgpack_reader one, all;
    struct msgpack_value v;
    msgpack_reader_init(&one, data, size);
    msgpack_reader_init(&all, data, size);
    int r = msgpack_read(&one, &v, NULL);
    int s = msgpack_read(&all, &v, NULL);
    if (s == 0)
        s = msgpack_skip(&all, &v, NULL);
    while (r == 0 && one.depth > 0) {
        size_t before = one.at;
        r = msgpack_read(&one, &v, NULL);
        assert(r < 0 ? one.at == before : one.at > before);
        assert(one.at <= size && one.depth <= MSGPACK_DEPTH_MAX);
    }
    assert(r == s && one.at == all.at && one.values == all.values);
    if (r == 0)
        r = msgpack_end(&one, NULL);
    assert(decoded != 0 || r == 0);
}
