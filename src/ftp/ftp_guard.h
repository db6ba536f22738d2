#pragma once
/* What one address may do to us: sessions at once, attempts to log in. Pure: time comes in. One
 * thread. Bounded: ADDRESSES_MAX addresses are remembered, the one longest quiet is forgotten; an
 * IPv6 address counts as its /64. Addresses from which a login succeeded within a day are known:
 * room is kept for them when strangers fill the server. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

struct sockaddr;
struct ftp_guard;

struct ftp_guard_limits {
    int sessions_max;         /* in all */
    int sessions_known;       /* of them kept for addresses that are known */
    int sessions_per_address; /* of one address */
    int failures_max;         /* per address and minute, over all its sessions; then it is banned */
    int64_t ban_ms;           /* grows with each ban in a row up to 16 times as much */
};

struct ftp_guard *ftp_guard_new(const struct ftp_guard_limits *l);
void ftp_guard_free(struct ftp_guard *g);
void ftp_guard_set_limits(struct ftp_guard *g, const struct ftp_guard_limits *l);

enum ftp_guard_answer {
    FTP_GUARD_WELCOME,
    FTP_GUARD_FULL,     /* too many sessions */
    FTP_GUARD_TOO_MANY, /* of this address */
    FTP_GUARD_BANNED,
};
/* A connection came; WELCOME counts a session, which ftp_guard_leave() ends. */
enum ftp_guard_answer ftp_guard_enter(struct ftp_guard *g, const struct sockaddr *from,
                                      struct mono_time now);
void ftp_guard_leave(struct ftp_guard *g, const struct sockaddr *from, struct mono_time now);
/* A login failed. Returns ms to wait before the answer is sent (at least 1000, the same whatever was
 * wrong). */
int64_t ftp_guard_failed(struct ftp_guard *g, const struct sockaddr *from, struct mono_time now);
void ftp_guard_succeeded(struct ftp_guard *g, const struct sockaddr *from, struct mono_time now);
int ftp_guard_sessions(const struct ftp_guard *g);
int ftp_guard_banned(const struct ftp_guard *g, struct mono_time now); /* addresses, for the status */
