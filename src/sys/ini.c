#include "sys/ini.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"

/* Debian's inih tells neither the line of a pair nor that a section begins, and of several faulty
 * lines it names the first. All three follow from the reader: inih asks for line n + 1 only when
 * it is done with line n, so what it called back in between belongs to line n, and a line that was
 * neither blank nor a comment and led to nothing is faulty. */
struct reader {
    const char *at, *end;
    const struct ini_sink *sink;
    void *arg;
    int line;
    bool expects_pair; /* the line that inih is looking at must lead to a call of take_pair() */
    bool continues;    /* that line is indented below a pair */
    bool in_section, in_pair;
};

static void set_up(void);
static char *next_line(char *buffer, int size, void *stream);
static int take_pair(void *user, const char *section, const char *key, const char *value);
static void announce(struct reader *r, const char *line, size_t len);
static void complain_if_unused(struct reader *r);

int ini_read(const char *text, size_t size, const struct ini_sink *sink, void *arg)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static const char bom[] = "\xef\xbb\xbf";
    struct reader r = {.at = text, .end = text + size, .sink = sink, .arg = arg};

    if (size > INI_SIZE_MAX)
        return -EFBIG;
    if (size > 0 && memchr(text, '\0', size))
        return -EILSEQ;
    if (size >= 3 && memcmp(text, bom, 3) == 0)
        r.at += 3;
    (void)pthread_once(&once, set_up);                    /* fails for a bad argument only */
    (void)ini_parse_stream(next_line, &r, take_pair, &r); /* faults were reported on the way */
    complain_if_unused(&r);
    return 0;
}

/* inih's settings are variables of the process; they are set once, before any use. */
static void set_up(void)
{
    ini_max_line = INI_LINE_MAX + 3;
    ini_use_stack = true;
    ini_allow_multiline = true;
    ini_allow_inline_comments = false;
    ini_allow_no_value = false;
    ini_stop_on_first_error = false;
}

static bool is_blank(char c)
{
    return isspace((unsigned char)c) != 0;
}

static size_t indent(const char *line)
{
    size_t n = 0;

    while (is_blank(line[n]))
        n++;
    return n;
}

/* Gives inih the next line that it can deal with. A line that is too long, or whose name inih would
 * cut, is reported here and replaced by an empty one. */
static char *next_line(char *buffer, int size, void *stream)
{
    struct reader *r = stream;
    const char *eol;
    size_t len;

    complain_if_unused(r);
    if (r->at >= r->end)
        return NULL;
    eol = memchr(r->at, '\n', (size_t)(r->end - r->at));
    len = (size_t)((eol ? eol : r->end) - r->at);
    r->line++;
    buffer[0] = '\0';
    if (len > INI_LINE_MAX || len + 2 > (size_t)size) {
        char why[96];
        (void)snprintf(why, sizeof why, "the line is longer than %d bytes; shorten it",
                       INI_LINE_MAX);
        r->sink->fault(r->arg, r->line, why);
    } else {
        memcpy(buffer, r->at, len);
        buffer[len] = '\0';
        announce(r, buffer, len);
        /* inih saw no section lines, so it would take an indented first pair of a section for a
         * continuation of the last pair before it. */
        if (!r->expects_pair)
            buffer[0] = '\0';
        else if (!r->continues)
            memmove(buffer, buffer + indent(buffer), len - indent(buffer) + 1);
    }
    r->at = eol ? eol + 1 : r->end;
    return buffer;
}

/* Looks at a line before inih does: handles sections, blank lines and comments, reports names that
 * are too long, and decides whether a pair must come out of it. */
static void announce(struct reader *r, const char *line, size_t len)
{
    const char *start = line, *end = line + len, *close;
    char name[INI_NAME_MAX + 1];
    size_t name_len;

    r->expects_pair = false;
    while (start < end && is_blank(*start))
        start++;
    while (end > start && is_blank(end[-1]))
        end--;
    if (start == end || *start == '#' || *start == ';')
        return;
    r->continues = start > line && r->in_pair;
    if (r->continues) {
        r->expects_pair = true;
        return;
    }
    if (*start != '[') {
        name_len = 0;
        while (start + name_len < end && start[name_len] != '=' && start[name_len] != ':')
            name_len++;
        while (name_len > 0 && is_blank(start[name_len - 1]))
            name_len--;
        if (start + name_len < end && name_len > INI_NAME_MAX) {
            r->sink->fault(r->arg, r->line, "the name before \"=\" is longer than 49 bytes");
            return;
        }
        if (name_len == 0) {
            r->sink->fault(r->arg, r->line, "there is no name before \"=\"; write key = value");
            return;
        }
        r->expects_pair = true;
        return;
    }
    r->in_pair = false;
    close = memchr(start, ']', (size_t)(end - start));
    if (!close || close + 1 != end) {
        r->sink->fault(r->arg, r->line,
                       close ? "there is text behind \"]\"; a section line is [name] and no more"
                             : "the section's closing \"]\" is missing; write [name]");
        return;
    }
    start++;
    while (start < close && is_blank(*start))
        start++;
    while (close > start && is_blank(close[-1]))
        close--;
    name_len = (size_t)(close - start);
    if (name_len == 0 || name_len > INI_NAME_MAX) {
        r->sink->fault(r->arg, r->line,
                       name_len == 0 ? "the section has no name; write [name]"
                                     : "the section's name is longer than 49 bytes");
        return;
    }
    memcpy(name, start, name_len);
    name[name_len] = '\0';
    r->in_section = true;
    r->sink->section(r->arg, r->line, name);
}

static int take_pair(void *user, const char *section UNUSED, const char *key, const char *value)
{
    struct reader *r = user;

    r->expects_pair = false;
    r->in_pair = true;
    r->sink->pair(r->arg, r->line, key, value ? value : "", r->continues, r->in_section);
    return 1;
}

static void complain_if_unused(struct reader *r)
{
    if (!r->expects_pair)
        return;
    r->expects_pair = false;
    r->sink->fault(r->arg, r->line,
                   "this is neither a [section], nor key = value, nor a # comment");
}
