#include "wire/heartbeat.h"

#include "base/mem.h"
#include "wire/message.h"

#define HEARTBEAT_SIZE_MAX (1u << 20) /* thousands of devices */

static void write_heartbeat(struct msgpack_writer *w, const void *what);
static void write_devices(struct msgpack_writer *w, const struct heartbeat_device *devices,
                          size_t count, bool type_first);

int heartbeat_encode(const struct heartbeat *h, struct dynbuf *ret, struct err *e)
{
    int r = message_encode(write_heartbeat, h, 0, HEARTBEAT_SIZE_MAX, ret, e);
    return r < 0 ? err_prefix(e, "heartbeat") : 0;
}

static void write_heartbeat(struct msgpack_writer *w, const void *what)
{
    const struct heartbeat *h = what;
    char at[WALL_ISO_MAX];
    msgpack_write_map(w, 3);
    msgpack_write_str(w, "timestamp");
    msgpack_write_str(w, wall_format_iso(h->at, false, at));
    msgpack_write_str(w, "inputs");
    write_devices(w, h->inputs, h->input_count, true);
    msgpack_write_str(w, "outputs");
    write_devices(w, h->outputs, h->output_count, false);
}

static bool given(const char *text)
{
    return text && text[0] != '\0';
}

static void write_pair(struct msgpack_writer *w, const char *key, const char *value)
{
    msgpack_write_str(w, key);
    msgpack_write_str(w, value);
}

static void write_devices(struct msgpack_writer *w, const struct heartbeat_device *devices,
                          size_t count, bool type_first)
{
    uint32_t present = 0;
    for (size_t i = 0; i < count; i++)
        present += given(devices[i].type);
    msgpack_write_array(w, present);
    for (size_t i = 0; i < count; i++) {
        const struct heartbeat_device *d = &devices[i];
        if (!given(d->type))
            continue;
        bool located = given(d->location);
        AUTO_FREE char *key = located ? xasprintf("%s %s", d->location, d->type) : xstrdup(d->type);
        msgpack_write_map(w, located ? 3 : 2);
        if (type_first)
            write_pair(w, "type", d->type);
        if (located)
            write_pair(w, "location", d->location);
        if (!type_first)
            write_pair(w, "type", d->type);
        write_pair(w, "device_key", key);
    }
}
