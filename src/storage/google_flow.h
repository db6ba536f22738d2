#pragma once
/* Logging in to Google: a person agrees in a browser, and we get a refresh token. Two protocols:
 *
 * - the device flow (RFC 8628): the person types a short code at google.com/device, on any machine;
 * - the loopback flow with PKCE (RFC 8252, 7636): the browser is sent back to a port of this
 *   machine. Where the browser is on another machine, the address that it was sent to and could not
 *   open is pasted here.
 *
 * Which one works depends on the type of the OAuth client alone. Blocks until the person has
 * decided, for a command; one thread. */

#include <stdint.h>

#include "base/err.h"
#include "storage/google_oauth.h"
#include "storage/google_token.h"

enum google_way { GOOGLE_WAY_DEVICE, GOOGLE_WAY_LOOPBACK, GOOGLE_WAY_PASTE, GOOGLE_WAY_COUNT };
extern const char *const google_way_names[GOOGLE_WAY_COUNT]; /* "device", ... */

/* The way to try first, and why if it works, as a static sentence for people. The file does not
 * tell a desktop client from one for televisions, but Google does: it gives device codes to the
 * latter and refuses the former with -EKEYREJECTED, before anybody is told anything; then it is
 * LOOPBACK. */
enum google_way google_way_choose(const struct google_client *c, const char **ret_why);

struct google_flow_talk { /* what a person has to be told; none may be NULL */
    void (*device_code)(void *arg, const char *url, const char *code, int64_t expires_s);
    /* Open this. `port` of 127.0.0.1 waits for the browser; 0 = none does: paste. */
    void (*browser)(void *arg, const char *url, int port);
    /* What went wrong and does not end the login: a paste that is none, a network that is away. */
    void (*note)(void *arg, const char *words);
    void *arg;
};

struct google_flow_options {
    const struct google_client *client;
    const char *scope;
    const char *auth_url, *token_url, *device_url; /* tests; NULL or "" = Google's */
    int port;     /* of the loopback flow; 0 = any. A web client has its own */
    int stop_fd;  /* readable ends it with -ECANCELED; -1 = none */
    int paste_fd; /* lines with the address that the browser was sent to; -1 = none. At its end
                     nothing more is pasted */
    const struct google_flow_talk *talk;
    /* Tests: waits in place of poll(2) between two polls of the device flow. 0, or negative to end
     * with that. NULL = the real thing. */
    int (*wait)(void *arg, int64_t ms);
};

/* 0 with a grant that has a refresh token. Codes as of google_oauth_judge(); also -ECANCELED,
 * -ETIME when nobody came, -ENOKEY when Google gave no refresh token, -EINVAL when the client does
 * not allow this way at all, and the network's own. */
int google_flow_run(const struct google_flow_options *o, enum google_way way,
                    struct google_grant *ret, struct err *e);

/* ---- pure parts ---- */

struct google_poll {
    int64_t interval_ms;
};
/* How to go on after a poll that was refused so: 0 = wait interval_ms and ask again. */
int google_poll_next(struct google_poll *p, enum google_refusal refusal, int64_t retry_after_s);

#define GOOGLE_STATE_MAX 64
#define GOOGLE_CODE_MAX 2048
/* What the browser brought, "/?code=...&state=..." or the whole address. 0 with the code; -EBADMSG:
 * it is no answer to the login with this state, wait on; -EACCES and others of
 * google_oauth_judge(): the person or Google said no. */
int google_redirect_parse(const char *address, const char *state, char ret[GOOGLE_CODE_MAX],
                          struct err *e);
/* base64url(SHA-256(verifier)). */
#define GOOGLE_CHALLENGE_MAX 48
void google_challenge(const char *verifier, char ret[GOOGLE_CHALLENGE_MAX]);
