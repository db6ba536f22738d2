#pragma once
/* The makers' interfaces that a simulated camera plays: which paths there are, who may use them,
 * and what is answered in words. Pure but for random tokens; pictures and sockets are
 * camera_sim.c's.
 *
 *   /snapshot.cgi, /videostream.cgi                     Foscam before HD: user and pwd in the query
 *   /ISAPI/Streaming/channels/N/picture                 Hikvision, and its older paths
 *   /cgi-bin/snapshot.cgi, /cgi-bin/mjpg/video.cgi      Dahua
 *   /axis-cgi/jpg/image.cgi, /axis-cgi/mjpg/video.cgi   Axis
 *   /cgi-bin/api.cgi?cmd=Snap|Login                     Reolink: query login, or token
 *   /onvif/device_service, /onvif/media                 ONVIF; the picture is at /onvif/snapshot
 *   /video.mjpg                                         a plain stream */

#include <stdbool.h>

#include "base/clock.h"
#include "base/dynbuf.h"
#include "sim/sim_request.h"

struct sim_maker_options {
    const char *user, *password; /* "" = no login wanted */
    bool reolink_token;          /* no login in the query */
    bool onvif_http_login;       /* the services want one by header, not WS-Security */
    int clock_ahead_s;           /* of the camera's clock */
    const char *soap_fault;      /* each service answers with this fault; NULL = none */
};

/* What a camera remembers; zeroed at first and by a restart. */
#define SIM_NONCES_KEPT 64
struct sim_maker_memory {
    char token[33];
    struct wall_time token_until;
    uint64_t nonces[SIM_NONCES_KEPT]; /* hashes of those used: none may be used again */
    unsigned nonce_count;
};

enum sim_reply_kind {
    SIM_REPLY_NONE, /* nothing at this path */
    SIM_REPLY_TEXT,
    SIM_REPLY_PICTURE,
    SIM_REPLY_STREAM,
};

struct sim_reply {
    enum sim_reply_kind kind;
    bool header_login; /* only for who logs in by header; others get a challenge with `text` */
    int status;        /* of a text */
    const char *type;  /* of the text; static */
    struct dynbuf text;
    bool login_seen, login_refused;
};
void sim_reply_done(struct sim_reply *r);

/* `body` is that of a POST, `now` our time. */
void sim_makers_answer(const struct sim_request *req, const char *body, size_t size,
                       const struct sim_maker_options *options, struct sim_maker_memory *memory,
                       struct wall_time now, struct sim_reply *ret);
