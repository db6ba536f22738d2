#pragma once
/* A simulated IP camera for demos and tests: serves the pictures of a folder, or one picture, as a
 * camera of each maker that we know and as a plain one, with a login, and with every misbehaviour
 * that real cameras have shown, on request. It speaks raw sockets, since no HTTP server library
 * would let it lie.
 *
 *   /cgi-bin/CGIProxy.fcgi?cmd=snapPicture2&usr=U&pwd=P   Foscam; XML failure bodies as the real
 *                                                         one
 *   /snapshot.jpg                                         plain; basic or digest login
 *       ?frame=NAME                                       this file instead of the next one
 *   other makers' paths                                   see sim_makers.h
 *   /sim/stats                                            JSON ledger (loopback only, as all below)
 *   /sim/fault?set=NAME[:PARAM][@N|@P%][,...]             faults from now on; empty = none
 *   /sim/login?user=U&password=P                          another login from now on
 *   /sim/restart                                          forgets challenges and tokens, as a
 *                                                         reboot does
 *
 * One thread runs it (camera_sim_run); everything else goes through HTTP. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dynbuf.h"
#include "base/err.h"

enum sim_auth { SIM_AUTH_NONE, SIM_AUTH_BASIC, SIM_AUTH_DIGEST, SIM_AUTH_BOTH, SIM_AUTH_COUNT };
extern const char *const sim_auth_names[SIM_AUTH_COUNT]; /* "none", "basic", "digest", "both" */

/* What digest challenges look like; cameras differ. */
enum sim_digest {
    SIM_DIGEST_MD5,
    SIM_DIGEST_MD5_SESS,
    SIM_DIGEST_SHA256,
    SIM_DIGEST_RFC2069, /* no qop */
    SIM_DIGEST_COUNT
};
extern const char *const sim_digest_names[SIM_DIGEST_COUNT];

struct camera_sim_source {
    const char *name; /* shown; NULL = none */
    const char *path; /* a folder with pictures, or one picture */
};

/* Borrowed during camera_sim_new() only. */
struct camera_sim_options {
    const char *listen; /* host:port, numeric; port 0 = any; several cameras take the ports after */
    const struct camera_sim_source *sources;
    size_t source_count;
    const char *user; /* NULL or "" = no login wanted */
    const char *password;
    enum sim_auth auth; /* of the plain path; Foscam's is always in the query */
    enum sim_digest digest;
    int nonce_uses;     /* answers per digest challenge, then "stale"; 0 = no end */
    double fps;         /* frames follow the clock; 0 = each request gets the next */
    bool once;          /* stay at the last frame instead of starting over */
    int delay_ms;       /* before each answer */
    bool reolink_token; /* see struct sim_maker_options, as the next two */
    bool onvif_http_login;
    int clock_ahead_s;
    const char *const *faults; /* as in /sim/fault, NULL-terminated, or NULL */
};

struct camera_sim;

int camera_sim_new(const struct camera_sim_options *options, struct camera_sim **ret,
                   struct err *e);
void camera_sim_free(struct camera_sim *sim);
DEFINE_AUTO(camera_sim, camera_sim_free)
size_t camera_sim_count(const struct camera_sim *sim);
/* "127.0.0.1:34567" of the i-th camera; lives as long as the sim. */
const char *camera_sim_address(const struct camera_sim *sim, size_t i);
const char *camera_sim_name(const struct camera_sim *sim, size_t i); /* "" without one */
/* Serves until `stop_fd` is readable. */
int camera_sim_run(struct camera_sim *sim, int stop_fd, struct err *e);
/* One line per fault, for --help. */
void camera_sim_describe_faults(struct dynbuf *out);
