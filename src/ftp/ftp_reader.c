#include "ftp/ftp_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/macros.h"
#include "base/mem.h"

/* Telnet is taken out byte by byte before anything is stored, so that what waits are lines and
 * nothing else. Of a line that is too long the beginning stays in the buffer, longer than any good
 * line can be: by that it is known when its turn comes, and it costs no more than a good one. */

enum {
    TELNET_SE = 240, /* the lowest command */
    TELNET_SB = 250,
    TELNET_WILL = 251, /* then WONT, DO, DONT; an option's byte follows each */
    TELNET_DONT = 254,
    TELNET_IAC = 255,
};

enum telnet_state { PLAIN, AFTER_IAC, OPTION, NEGOTIATION, NEGOTIATION_AFTER_IAC };

enum {
    /* What is kept of a line: a good one with its CR, and one byte more. */
    KEPT_MAX = FTP_LINE_MAX + 2,
    ROOM_MIN = 128, /* a command of a camera, with its path */
};

static bool is_telnet(struct ftp_reader *r, uint8_t byte);
static void store(struct ftp_reader *r, uint8_t byte);
static void append(struct ftp_reader *r, uint8_t byte);
static const char *whole_line(const struct ftp_reader *r, size_t *ret_len, size_t *ret_end);
static void release(struct ftp_reader *r);

void ftp_reader_done(struct ftp_reader *r)
{
    ftp_reader_clear(r);
}

void ftp_reader_clear(struct ftp_reader *r)
{
    release(r);
    *r = (struct ftp_reader){0};
}

size_t ftp_reader_feed(struct ftp_reader *r, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    size_t n = 0;
    for (; n < size && r->used - r->taken < FTP_AHEAD_MAX; n++)
        if (!is_telnet(r, from[n]))
            store(r, from[n]);
    return n;
}

size_t ftp_reader_room(const struct ftp_reader *r)
{
    size_t waiting = r->used - r->taken;
    return waiting < FTP_AHEAD_MAX ? FTP_AHEAD_MAX - waiting : 0;
}

int ftp_reader_next(struct ftp_reader *r, const char **ret, size_t *ret_len)
{
    size_t len, end;
    const char *line = whole_line(r, &len, &end);
    if (line) {
        r->taken = end;
        if (len > FTP_LINE_MAX)
            return -EMSGSIZE;
        r->bytes[line - r->bytes + (ptrdiff_t)len] = '\0'; /* where its end was */
        *ret = line;
        *ret_len = len;
        return 1;
    }
    if (r->skipping && !r->told) { /* its end may never come: say it now */
        r->told = true;
        release(r);
        return -EMSGSIZE;
    }
    if (r->taken == r->used)
        release(r);
    return 0;
}

bool ftp_reader_next_is(const struct ftp_reader *r, const char *verb)
{
    size_t len, end;
    const char *line = whole_line(r, &len, &end);
    if (!line)
        return false;
    while (len > 0 && *line == ' ')
        line++, len--;
    size_t verb_len = strlen(verb);
    return len >= verb_len && strncasecmp(line, verb, verb_len) == 0 &&
           (len == verb_len || line[verb_len] == ' ');
}

/* The first line that has its end; `end` is the offset behind it. NULL when there is none. */
static const char *whole_line(const struct ftp_reader *r, size_t *ret_len, size_t *ret_end)
{
    if (r->line == r->taken)
        return NULL;
    const char *line = r->bytes + r->taken;
    const char *lf = memchr(line, '\n', r->line - r->taken);
    if (!lf)
        return NULL;
    *ret_end = (size_t)(lf - r->bytes) + 1;
    while (lf > line && lf[-1] == '\r')
        lf--;
    *ret_len = (size_t)(lf - line);
    return line;
}

/* ---- bytes ---- */

/* Where the client's urgent byte was taken out of the stream (no SO_OOBINLINE, or a router in
 * between), half a sequence arrives: what follows a lone IAC and is no command is kept. */
static bool is_telnet(struct ftp_reader *r, uint8_t byte)
{
    switch ((enum telnet_state)r->telnet) {
    case PLAIN:
        if (byte != TELNET_IAC)
            return false;
        r->telnet = AFTER_IAC;
        return true;
    case AFTER_IAC:
        r->telnet = PLAIN;
        if (byte >= TELNET_WILL && byte <= TELNET_DONT)
            r->telnet = OPTION;
        else if (byte == TELNET_SB)
            r->telnet = NEGOTIATION;
        return byte >= TELNET_SE && byte != TELNET_IAC; /* twice IAC is the byte itself */
    case OPTION:
        r->telnet = PLAIN;
        return byte != '\n'; /* no option has this number; it ends the line of a stray byte */
    case NEGOTIATION:
        if (byte == TELNET_IAC)
            r->telnet = NEGOTIATION_AFTER_IAC;
        if (byte == '\n') /* nobody negotiates here: a stray byte must not make us deaf */
            r->telnet = PLAIN;
        return byte != '\n';
    case NEGOTIATION_AFTER_IAC:
        r->telnet = byte == TELNET_SE || byte == '\n' ? PLAIN : NEGOTIATION;
        return byte != '\n';
    }
    return false;
}

static void store(struct ftp_reader *r, uint8_t byte)
{
    bool ends = byte == '\n';
    if (r->skipping) {
        if (!ends)
            return;
        if (!r->told)
            append(r, byte);
        r->skipping = r->told = false;
    } else if (r->used == r->line && (byte == '\0' || byte >= TELNET_SE)) {
        return; /* rests of Telnet sequences; no command begins so */
    } else if (!ends && r->used - r->line == KEPT_MAX) {
        r->bytes[r->used - 1] = 'x'; /* not a CR, which would not count */
        r->skipping = true;
    } else {
        append(r, byte);
    }
    if (ends)
        r->line = r->used;
}

static void append(struct ftp_reader *r, uint8_t byte)
{
    if (r->used == r->room && r->taken > 0) {
        memmove(r->bytes, r->bytes + r->taken, r->used - r->taken);
        r->used -= r->taken;
        r->line -= r->taken;
        r->taken = 0;
    } else if (r->used == r->room) { /* at most FTP_AHEAD_MAX, which feed() sees to */
        size_t room = r->room ? r->room * 2 : ROOM_MIN;
        char *grown = xmalloc(room);
        if (r->used)
            memcpy(grown, r->bytes, r->used);
        if (r->bytes)
            explicit_bzero(r->bytes, r->room);
        free(r->bytes);
        r->bytes = grown;
        r->room = room;
    }
    r->bytes[r->used++] = (char)byte;
}

/* Passwords were among the bytes: they do not stay in freed memory. */
static void release(struct ftp_reader *r)
{
    if (r->bytes)
        explicit_bzero(r->bytes, r->room);
    free(r->bytes);
    r->bytes = NULL;
    r->taken = r->line = r->used = r->room = 0;
}
