#pragma once
/* A small FTP client, as a camera has one: one thread, calls that wait, each with a limit. It
 * can misbehave in the middle of an upload, which no client library would.
 *
 * Sources: RFC 959, 2428, 4217. Data connections under TLS do not resume the control connection's
 * session. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

enum sim_ftp_tls { SIM_FTP_CLEAR, SIM_FTP_AUTH_TLS, SIM_FTP_IMPLICIT_TLS };

struct sim_ftp_options {
    const char *host; /* a name or an address, without brackets */
    uint16_t port;
    const char *user, *password;
    enum sim_ftp_tls tls;
    const char *tls_ca_file; /* whom to trust; the name in the certificate does not matter */
    bool bare_lf;            /* ends its lines with LF alone */
    int64_t timeout_ms;      /* for each reply, connection, and piece of data */
    int stop_fd;             /* readable = give up; -1 = none */
    /* Each line of the conversation, without passwords: sent ('>') and received ('<'); or NULL. */
    void (*trace)(void *arg, char direction, const char *line);
    void *trace_arg;
};

struct sim_ftp;

/* Connects, waits for the greeting, AUTH TLS when wanted, logs in, PBSZ and PROT. Options and what
 * they point to must outlive the connection. -EACCES: the login was refused. */
int sim_ftp_open(const struct sim_ftp_options *o, struct sim_ftp **ret, struct err *e);
void sim_ftp_close(struct sim_ftp *f); /* without a word */
DEFINE_AUTO(sim_ftp, sim_ftp_close)

#define SIM_FTP_REPLY_MAX 256
struct sim_ftp_reply {
    int code;                     /* 100..599 */
    char text[SIM_FTP_REPLY_MAX]; /* the last line, code and all */
};
/* Sends a command and waits for its whole reply, whatever its code is. Negative only when there is
 * no reply: then the connection can only be closed. */
int sim_ftp_ask(struct sim_ftp *f, struct sim_ftp_reply *ret, struct err *e, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
void sim_ftp_quit(struct sim_ftp *f); /* QUIT and its answer; then close */

enum sim_ftp_end {
    SIM_FTP_END_WELL,
    SIM_FTP_END_ABRUPT, /* TCP's FIN after the last byte, without TLS' close_notify */
    SIM_FTP_END_CUT,    /* the same after half of the bytes */
    SIM_FTP_END_RESET,  /* half, then RST */
    SIM_FTP_END_VANISH, /* half, then RST on both connections: power is gone */
    SIM_FTP_END_STALL,  /* half, then silence for `stall_ms`, then the rest */
    SIM_FTP_END_ABORT,  /* half, then ABOR with Telnet's Synch */
};

struct sim_ftp_upload {
    const char *verb; /* "STOR" */
    const char *path;
    const void *bytes;
    size_t size;
    bool active, extended;
    enum sim_ftp_end end;
    int64_t stall_ms;
    int64_t rate; /* bytes a second, 0 = as fast as it goes */
};
/* The data connection, the command, the bytes, the final reply (or the one that refused). */
int sim_ftp_upload(struct sim_ftp *f, const struct sim_ftp_upload *u, struct sim_ftp_reply *ret,
                   struct err *e);

/* ---- pure ---- */

/* Takes a whole reply, its last line included, from the start of `bytes`. Returns how many bytes it
 * has, 0 when it is not whole, -EPROTO when it is none. */
long sim_ftp_parse_reply(const char *bytes, size_t size, struct sim_ftp_reply *ret);
/* "227 ... (127,0,0,1,200,13)", with or without brackets, and "229 ... (|||51213|)". -EPROTO. */
int sim_ftp_parse_passive(const char *text, char host[16], uint16_t *ret_port);
int sim_ftp_parse_extended(const char *text, uint16_t *ret_port);
