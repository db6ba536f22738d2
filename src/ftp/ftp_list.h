#pragma once
/* One line of a list, in the forms that clients parse. Pure. Each appends a line with CRLF to `out`
 * and returns 0 or -ENOSPC (dynbuf's maximum). Control bytes of a name are shown as "?". */

#include "base/dynbuf.h"
#include "ftp/ftp_file.h"

/* As `ls -l` prints it: "-rw-r--r--   1 ftp      ftp          4711 Jan 02 03:04 name"; with the year
 * instead of the time when older than six months or in the future at `now` (times in UTC). */
int ftp_list_long(struct dynbuf *out, const struct ftp_file *f, struct wall_time now);
int ftp_list_name(struct dynbuf *out, const struct ftp_file *f); /* NLST */
/* RFC 3659 7: "type=file;size=4711;modify=20260102030405;perm=...;unique=...; name". */
enum ftp_fact {
    FTP_FACT_TYPE = 1 << 0,
    FTP_FACT_SIZE = 1 << 1,
    FTP_FACT_MODIFY = 1 << 2,
    FTP_FACT_PERM = 1 << 3,
    FTP_FACT_UNIQUE = 1 << 4,
    FTP_FACT_ALL = (1 << 5) - 1
};
int ftp_list_facts(struct dynbuf *out, const struct ftp_file *f, unsigned facts, unsigned rights,
                   const char *shown_name); /* NULL = its own */
/* "20260102030405" in UTC, and back (fractions are accepted and dropped); -EINVAL. */
#define FTP_TIME_MAX 24
void ftp_time_format(struct wall_time t, char ret[FTP_TIME_MAX]);
int ftp_time_parse(const char *text, size_t len, struct wall_time *ret);
