#pragma once
/* One control connection: bytes to lines, lines to the engine, its requests to the disk threads and
 * to the transfer, its replies to the socket. The server's thread only.
 *
 * Lines are taken one after the other: while a request is under way the next ones wait, at most
 * FTP_AHEAD_MAX bytes here and the rest in the kernel. Only during a transfer ABOR, QUIT and STAT
 * are looked for in what has come (ftp_engine_interrupts()). Nothing is taken while replies wait
 * for a client that does not read. */

#include "ftp/ftp_shared.h"

/* Takes the descriptor. Counted by the guard already. */
void ftp_session_start(struct ftp_shared *sh, int fd, const union ftp_address *peer,
                       bool implicit_tls);
/* Says 421 with the reason and ends, an upload under way first if `patient`. */
void ftp_session_dismiss(struct ftp_session *s, const char *reason, bool patient);
/* All sessions; f may end them. */
void ftp_sessions_each(struct ftp_shared *sh, void (*f)(struct ftp_session *s, void *arg),
                       void *arg);
/* Whether it may go on with the accounts of this moment. */
bool ftp_session_is_welcome(const struct ftp_session *s);
