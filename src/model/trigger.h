#pragma once
/* A wish for a picture. It is durable (a ledger row) before it is acknowledged to whoever wished,
 * and its id becomes the id of the snapshot, so one trigger can never lead to two. */

#include "base/clock.h"
#include "model/snapshot.h"

enum trigger_origin { TRIGGER_API, TRIGGER_SCHEDULE, TRIGGER_AMQP, TRIGGER_ORIGIN_COUNT };
extern const char *const trigger_origin_names[TRIGGER_ORIGIN_COUNT]; /* "api", "schedule", "amqp" */

enum trigger_state { TRIGGER_PENDING, TRIGGER_DONE, TRIGGER_FAILED, TRIGGER_STATE_COUNT };
extern const char *const trigger_state_names[TRIGGER_STATE_COUNT];

#define TRIGGER_ERROR_MAX 512
/* Bytes with NUL. */
#define TRIGGER_ADDRESS_MAX 262 /* the longest name in DNS and a port */
#define TRIGGER_USER_MAX 128
#define TRIGGER_PASSWORD_MAX 256

struct trigger {
    int64_t row;
    char id[SNAPSHOT_ID_SIZE];
    char camera[SNAPSHOT_KEY_MAX];
    char device_key[SNAPSHOT_KEY_MAX];
    char device_label[SNAPSHOT_KEY_MAX];
    enum trigger_origin origin;
    enum trigger_state state;
    struct wall_time event_at; /* what the event says; names the file */
    struct wall_time accepted_at;
    int attempts;                  /* fetch attempts so far */
    struct wall_time not_before;   /* of the next attempt */
    char error[TRIGGER_ERROR_MAX]; /* last failure, "" before */
    /* Where to ask, host:port or [v6]:port, and the login there, when the wish came with it; ""
     * when the configuration knows. Only while it is pending, and the password is never shown. */
    char address[TRIGGER_ADDRESS_MAX];
    char user[TRIGGER_USER_MAX];
    char password[TRIGGER_PASSWORD_MAX];
};
