#include "stage/admit.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "camera/camera_overlay.h"
#include "sys/hash.h"
#include "wire/trigger_message.h"

static_assert(sizeof(((struct device_params *)0)->address) == TRIGGER_ADDRESS_MAX &&
                  DEVICE_USER_MAX == TRIGGER_USER_MAX &&
                  DEVICE_PASSWORD_MAX == TRIGGER_PASSWORD_MAX,
              "what a message may hold has room in a trigger");

const char *const admit_verdict_names[ADMIT_VERDICT_COUNT] = {
    [ADMIT_TAKEN] = "taken",
    [ADMIT_LATE] = "late",
    [ADMIT_MALFORMED] = "malformed",
    [ADMIT_UNKNOWN_DEVICE] = "unknown_device",
    [ADMIT_SWITCHED_OFF] = "switched_off",
    [ADMIT_FORBIDDEN_HOST] = "forbidden_host",
};

static bool take_place(const struct settings *s, const struct camera *cam,
                       const struct device_params *params, struct trigger *t, struct err *e);
static bool is_late(const struct camera *cam, const struct admit_message *m, struct wall_time now,
                    struct trigger *t, struct err *e);
static void make_id(const struct admit_message *m, const struct trigger_message *tm,
                    struct wall_time now, char ret[SNAPSHOT_ID_SIZE]);

enum admit_verdict admit(const struct settings *s, const struct admit_message *m,
                         struct wall_time now, struct trigger *ret, char note[EVENT_TIME_NOTE_MAX],
                         struct err *e)
{
    struct trigger_message tm;
    char shown[SNAPSHOT_KEY_MAX];
    note[0] = '\0';
    if (trigger_message_decode(m->key, m->body, m->size, now, &tm, e) < 0)
        return ADMIT_MALFORMED;
    text_copy(note, EVENT_TIME_NOTE_MAX, tm.note);
    text_escape(tm.device_key, strlen(tm.device_key), shown, sizeof(shown));
    const struct camera *cam = camera_set_find_device(s->cameras, tm.device_key);
    if (!cam) {
        (void)err_set(e, -ENOENT, ERR_NEVER,
                      "no camera is configured for the device \"%s\": add an output of that "
                      "location and type, or a [camera:NAME] section",
                      shown);
        return ADMIT_UNKNOWN_DEVICE;
    }
    if (!camera_is_enabled(cam)) {
        (void)camera_is_off(cam, e);
        return ADMIT_SWITCHED_OFF;
    }
    struct trigger t = {.origin = TRIGGER_AMQP, .event_at = tm.event_at};
    text_copy(t.camera, sizeof(t.camera), cam->name);
    text_copy(t.device_key, sizeof(t.device_key), cam->device_key);
    text_copy(t.device_label, sizeof(t.device_label),
              tm.device_label[0] ? tm.device_label : cam->device_label);
    make_id(m, &tm, now, t.id);
    if (!take_place(s, cam, &tm.params, &t, e))
        return ADMIT_FORBIDDEN_HOST;
    bool late = !tm.note[0] && is_late(cam, m, now, &t, e);
    *ret = t;
    return late ? ADMIT_LATE : ADMIT_TAKEN;
}

/* Where to ask, when the configuration does not know. */
static bool take_place(const struct settings *s, const struct camera *cam,
                       const struct device_params *params, struct trigger *t, struct err *e)
{
    if (camera_is_fetchable(cam))
        return true;
    if (camera_host_judge(s->cameras, s->allow_hosts, params->address) == CAMERA_HOST_FORBIDDEN) {
        (void)err_set(e, -EPERM, ERR_NEVER,
                      "the trigger for \"%s\" names the address %s, which must not be asked: add "
                      "it to allow_hosts in [rabbitmq] if that is its camera",
                      cam->name, params->address);
        return false;
    }
    text_copy(t->address, sizeof(t->address), params->address);
    text_copy(t->user, sizeof(t->user), params->user);
    text_copy(t->password, sizeof(t->password), params->password);
    return true;
}

/* A picture of now says nothing of an event of long ago. The broker drops by itself what is older
 * than its expiration; here a sender who gave a longer one than the camera's give_up has his way.
 * Only a queue that keeps messages is judged: elsewhere old means that the sender's clock is wrong.
 */
static bool is_late(const struct camera *cam, const struct admit_message *m, struct wall_time now,
                    struct trigger *t, struct err *e)
{
    int64_t expiration_ms = 0;
    (void)parse_int64(m->expiration, strlen(m->expiration), 0, INT64_MAX / 1000,
                      &expiration_ms); /* stays 0 when there is none */
    int64_t age_ms = (now.us - t->event_at.us) / 1000;
    if (!m->may_be_old || age_ms <= MAX(cam->give_up_ms, expiration_ms))
        return false;
    (void)err_set(e, -ETIME, ERR_NEVER,
                  "came too late: its event was %lld s before, and give_up is %lld s (if all are "
                  "late, the sender's clock or ours is wrong)",
                  (long long)age_ms / 1000, (long long)cam->give_up_ms / 1000);
    text_copy(t->error, sizeof(t->error), e->text);
    return true;
}

/* Ids have 48 bits of time in front, so that rows come in order, as snapshot_id_new() makes them.
 * A message whose time is that of its arrival says too little to be told from another of the same
 * words; then its message id must do, and without one each arrival is a trigger. */
static void make_id(const struct admit_message *m, const struct trigger_message *tm,
                    struct wall_time now, char ret[SNAPSHOT_ID_SIZE])
{
    char digest[HASH_SHA256_HEX];
    bool timed = tm->note[0] == '\0';
    if (!timed && !m->message_id[0]) {
        snapshot_id_new(now, ret);
        return;
    }
    struct hash_stream *h = hash_stream_new();
    hash_stream_update(h, m->key, strlen(m->key) + 1);
    if (!timed)
        hash_stream_update(h, m->message_id, strlen(m->message_id) + 1);
    hash_stream_update(h, m->body, m->size);
    hash_stream_end(h, digest);
    unsigned long long ms = (unsigned long long)(tm->event_at.us / 1000) & 0xffffffffffff;
    int n = timed ? text_format(ret, SNAPSHOT_ID_SIZE, "%012llx%.20s", ms, digest)
                  : text_format(ret, SNAPSHOT_ID_SIZE, "%.32s", digest);
    assert(n == SNAPSHOT_ID_LEN);
}
