#include "ftp/ftp_list.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/macros.h"
#include "base/text.h"
#include "ftp/ftp_account.h"

enum {
    /* ls's own rule: beyond half a year the clock time tells less than the year. */
    RECENT_SECONDS = 182 * 24 * 3600,
    STAMP_LENGTH = 14, /* YYYYMMDDHHMMSS */
};

/* Years that four digits can show. */
static const int64_t SECOND_MIN = -62167219200, SECOND_MAX = 253402300799;

/* A file that came by another way may have any name; a line stays one line. */
static int put_name(struct dynbuf *out, const char *name)
{
    (void)dynbuf_puts(out, name);
    if (out->failed)
        return -ENOSPC;
    for (char *c = out->data + out->len - strlen(name); *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return dynbuf_puts(out, "\r\n") < 0 ? -ENOSPC : 0;
}

static struct tm utc(struct wall_time t)
{
    time_t seconds = (time_t)MIN(MAX(wall_seconds(t), SECOND_MIN), SECOND_MAX);
    struct tm tm = {0};
    (void)gmtime_r(&seconds, &tm); /* cannot fail within these years */
    return tm;
}

int ftp_list_long(struct dynbuf *out, const struct ftp_file *f, struct wall_time now)
{
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm tm = utc(f->modified);
    int64_t age = wall_seconds(now) - wall_seconds(f->modified);
    char when[16];
    if (age >= 0 && age <= RECENT_SECONDS)
        (void)text_format(when, sizeof(when), "%02d:%02d", tm.tm_hour, tm.tm_min);
    else
        (void)text_format(when, sizeof(when), "%5d", tm.tm_year + 1900);
    (void)dynbuf_printf(out, "%s   1 ftp      ftp      %8" PRId64 " %s %02d %s ",
                        f->folder ? "drwxr-xr-x" : "-rw-r--r--", f->size, months[tm.tm_mon],
                        tm.tm_mday, when);
    return put_name(out, f->name);
}

int ftp_list_name(struct dynbuf *out, const struct ftp_file *f)
{
    return put_name(out, f->name);
}

/* RFC 3659 7.5.5. What the account may do, not what the mode bits say. */
static void put_permissions(struct dynbuf *out, bool folder, unsigned rights)
{
    bool store = rights & FTP_RIGHT_STORE, erase = rights & FTP_RIGHT_DELETE;
    (void)dynbuf_puts(out, "perm=");
    if (folder) {
        (void)dynbuf_puts(out, store ? "cme" : "e");
        (void)dynbuf_puts(out, rights & FTP_RIGHT_LIST ? "l" : "");
        (void)dynbuf_puts(out, erase ? "dfp" : "");
    } else {
        (void)dynbuf_puts(out, store && (rights & FTP_RIGHT_OVERWRITE) ? "aw" : "");
        (void)dynbuf_puts(out, rights & FTP_RIGHT_READ ? "r" : "");
        (void)dynbuf_puts(out, erase ? "df" : "");
    }
    (void)dynbuf_puts(out, ";");
}

int ftp_list_facts(struct dynbuf *out, const struct ftp_file *f, unsigned facts, unsigned rights,
                   const char *shown_name)
{
    if (facts & FTP_FACT_TYPE)
        (void)dynbuf_printf(out, "type=%s;", f->folder ? "dir" : "file");
    if ((facts & FTP_FACT_SIZE) && !f->folder)
        (void)dynbuf_printf(out, "size=%" PRId64 ";", f->size);
    if (facts & FTP_FACT_MODIFY) {
        char stamp[FTP_TIME_MAX];
        ftp_time_format(f->modified, stamp);
        (void)dynbuf_printf(out, "modify=%s;", stamp);
    }
    if (facts & FTP_FACT_PERM)
        put_permissions(out, f->folder, rights);
    if (facts & FTP_FACT_UNIQUE)
        (void)dynbuf_printf(out, "unique=%" PRIx64 "g%" PRIx64 ";", f->device, f->inode);
    (void)dynbuf_puts(out, " ");
    return put_name(out, shown_name ? shown_name : f->name);
}

void ftp_time_format(struct wall_time t, char ret[FTP_TIME_MAX])
{
    struct tm tm = utc(t);
    (void)text_format(ret, FTP_TIME_MAX, "%04d%02d%02d%02d%02d%02d", tm.tm_year + 1900,
                      tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static int digits(const char *text, size_t count)
{
    int n = 0;
    for (size_t i = 0; i < count; i++)
        n = n * 10 + (text[i] - '0');
    return n;
}

int ftp_time_parse(const char *text, size_t len, struct wall_time *ret)
{
    for (size_t i = 0; i < len; i++)
        if ((text[i] < '0' || text[i] > '9') && !(i == STAMP_LENGTH && text[i] == '.'))
            return -EINVAL;
    if (len < STAMP_LENGTH || len == STAMP_LENGTH + 1 ||
        (len > STAMP_LENGTH && text[STAMP_LENGTH] != '.'))
        return -EINVAL;
    struct tm tm = {.tm_year = digits(text, 4) - 1900,
                    .tm_mon = digits(text + 4, 2) - 1,
                    .tm_mday = digits(text + 6, 2),
                    .tm_hour = digits(text + 8, 2),
                    .tm_min = digits(text + 10, 2),
                    .tm_sec = digits(text + 12, 2)};
    if (tm.tm_sec == 60) /* a leap second, which our clock does not count */
        tm.tm_sec = 59;
    struct tm asked = tm;
    time_t seconds = timegm(&tm); /* carries what is beyond its range: then it differs */
    if (tm.tm_year != asked.tm_year || tm.tm_mon != asked.tm_mon || tm.tm_mday != asked.tm_mday ||
        tm.tm_hour != asked.tm_hour || tm.tm_min != asked.tm_min || tm.tm_sec != asked.tm_sec)
        return -EINVAL;
    *ret = wall_from_seconds(seconds);
    return 0;
}
