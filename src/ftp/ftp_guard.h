#pragma once
/* What one address may do to us: sessions at once, attempts to log in. Pure: time comes in. One
 * thread. An IPv6 address counts as its /64, an IPv4 address in IPv6's clothes as itself.
 *
 * Addresses from which a login succeeded within a day are known: room is kept for them when
 * strangers fill the server. Nothing that one address does changes what another may do, but for
 * taking places that strangers share.
 *
 * Bounded: besides those that have a session, FTP_GUARD_QUIET_MAX strangers and as many known
 * addresses are remembered; of each kind the one longest quiet is forgotten first, so that a flood
 * of strangers makes no camera unknown. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

struct sockaddr;
struct ftp_guard;

#define FTP_GUARD_QUIET_MAX 4096 /* some 100 bytes each */
#define FTP_GUARD_DELAY_MS 1000  /* before the answer to a failed login */
#define FTP_GUARD_GROWTH_MAX 16  /* times ban_ms, the longest ban */

struct ftp_guard_limits {
    int sessions_max;         /* in all */
    int sessions_known;       /* of them kept for addresses that are known */
    int sessions_per_address; /* of one address */
    int failures_max;         /* per address and minute, over all its sessions; then it is banned */
    int64_t ban_ms; /* doubles with each ban in a row up to 16 times as much; not for an address
                       that is known, where it is one camera with a wrong password among others */
};

struct ftp_guard *ftp_guard_new(const struct ftp_guard_limits *l);
void ftp_guard_free(struct ftp_guard *g);
void ftp_guard_set_limits(struct ftp_guard *g, const struct ftp_guard_limits *l);

enum ftp_guard_answer {
    FTP_GUARD_WELCOME,
    FTP_GUARD_FULL,     /* too many sessions */
    FTP_GUARD_TOO_MANY, /* of this address */
    FTP_GUARD_BANNED,
    FTP_GUARD_ANSWER_COUNT
};
extern const char *const ftp_guard_answer_names[FTP_GUARD_ANSWER_COUNT]; /* for metrics */
/* A connection came; WELCOME counts a session, which ftp_guard_leave() ends. */
enum ftp_guard_answer ftp_guard_enter(struct ftp_guard *g, const struct sockaddr *from,
                                      struct mono_time now);
void ftp_guard_leave(struct ftp_guard *g, const struct sockaddr *from, struct mono_time now);
/* Whether its logins are refused without a look at the password. Asked before a look, and, when the
 * look took a while, once more before the answer: of many sessions of one address each may have an
 * attempt under way. Sessions that are logged in go on. */
bool ftp_guard_is_banned(struct ftp_guard *g, const struct sockaddr *from, struct mono_time now);
/* A login failed. Returns ms to wait before the answer is sent, FTP_GUARD_DELAY_MS whatever was
 * wrong. */
int64_t ftp_guard_failed(struct ftp_guard *g, const struct sockaddr *from, struct mono_time now);
/* A login succeeded. Failures stay counted: who has an account must not be able to guess at others
 * in between. */
void ftp_guard_succeeded(struct ftp_guard *g, const struct sockaddr *from, struct mono_time now);
/* Logged in within a day. */
bool ftp_guard_knows(struct ftp_guard *g, const struct sockaddr *from, struct mono_time now);
/* A look at a password that takes long; false while another of that address is under way. True is
 * ended by ftp_guard_looked(), whether the session is still there or not. */
bool ftp_guard_look(struct ftp_guard *g, const struct sockaddr *from);
void ftp_guard_looked(struct ftp_guard *g, const struct sockaddr *from);
/* Whether both count as one. */
bool ftp_guard_is_same(const struct sockaddr *a, const struct sockaddr *b);
int ftp_guard_sessions(const struct ftp_guard *g);
int ftp_guard_banned(const struct ftp_guard *g,
                     struct mono_time now);         /* addresses, for the status */
int ftp_guard_addresses(const struct ftp_guard *g); /* that are remembered */
