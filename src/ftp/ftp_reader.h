#pragma once
/* Bytes of a control connection to command lines (RFC 959 5.3, RFC 1123 4.1). Pure.
 *
 * Lines end with CRLF or a bare LF. Telnet negotiations and the IP/DM that goes before ABOR are
 * taken out (RFC 854), and so are NULs at the begin of a line, which cameras send that take the end
 * of a C string for a part of it. Several commands may come in one read and one command in many. A
 * line that is too long is dropped as a whole, up to its end, and told once, in its turn. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a line without its end: a path of FTP_PATH_MAX in its longest spelling, and the verb. */
#define FTP_LINE_MAX 4096
/* Bytes that may wait for their turn (commands sent ahead during a transfer). The session reads no
 * further while so many wait. */
#define FTP_AHEAD_MAX 8192

/* All zero at birth; private. */
struct ftp_reader {
    char *bytes; /* what waits; NULL while nothing does, so that an idle session costs nothing */
    size_t taken, line, used, room; /* taken <= line: where the line begins that has no end yet */
    uint8_t telnet;                 /* where in an IAC sequence */
    bool skipping;                  /* the rest of a line that is too long */
    bool told;                      /* that it is */
};

void ftp_reader_done(struct ftp_reader *r);
/* Returns how many bytes were taken: fewer than `size` when FTP_AHEAD_MAX wait. */
size_t ftp_reader_feed(struct ftp_reader *r, const void *bytes, size_t size);
/* How many it would take now. */
size_t ftp_reader_room(const struct ftp_reader *r);
/* Takes the next whole line: 1, with *ret terminated (it may hold NUL and control bytes all the
 * same, hence the length) and valid until the next call of this or of ftp_reader_feed(); 0 when
 * there is none yet; -EMSGSIZE once for a line that was too long. */
int ftp_reader_next(struct ftp_reader *r, const char **ret, size_t *ret_len);
/* True when the next whole line is this verb, alone or with arguments, in any case; takes nothing. */
bool ftp_reader_next_is(const struct ftp_reader *r, const char *verb);
/* Forgets all that waits, half a line as well: what came in clear behind AUTH TLS is not run
 * (CVE-2011-1575). */
void ftp_reader_clear(struct ftp_reader *r);
