#include "camera/multipart.h"

#include <string.h>
#include <strings.h>

#include "base/macros.h"
#include "base/parse.h"

/* A part's header has three short lines. */
#define HEADER_MAX 8192
/* Between a frame and its delimiter: line ends, zeros. */
#define PADDING_MAX 64

enum part { PART_START, PART_HEADER, PART_BODY, PART_BETWEEN, PART_OVER };

static bool step_start(struct multipart *m, const uint8_t *data, size_t size);
static bool step_header(struct multipart *m, const uint8_t *data, size_t size);
static bool step_body(struct multipart *m, const uint8_t *data, size_t size);
static bool step_between(struct multipart *m, const uint8_t *data, size_t size);

void multipart_init(struct multipart *m, size_t frame_max)
{
    *m = (struct multipart){.frame_max = frame_max};
}

enum multipart_state multipart_look(struct multipart *m, const uint8_t *data, size_t size)
{
    bool goes_on = true;
    while (goes_on && m->part != PART_OVER) {
        switch ((enum part)m->part) {
        case PART_START:
            goes_on = step_start(m, data, size);
            break;
        case PART_HEADER:
            goes_on = step_header(m, data, size);
            break;
        case PART_BODY:
            goes_on = step_body(m, data, size);
            break;
        case PART_BETWEEN:
            goes_on = step_between(m, data, size);
            break;
        case PART_OVER:
            break;
        }
    }
    if (m->state == MULTIPART_PLAIN && size > m->frame_max)
        m->state = MULTIPART_TOO_BIG;
    return m->state;
}

bool multipart_frame(const struct multipart *m, size_t *ret_at, size_t *ret_size)
{
    if (!m->frames)
        return false;
    *ret_at = m->frame;
    *ret_size = m->frame_size;
    return true;
}

static bool over(struct multipart *m, enum multipart_state state)
{
    m->state = state;
    m->part = PART_OVER;
    return false;
}

static const uint8_t *find_byte(const uint8_t *data, size_t from, size_t size, int byte)
{
    return from < size ? memchr(data + from, byte, size - from) : NULL;
}

static size_t skip_blank(const uint8_t *data, size_t from, size_t size)
{
    while (from < size && memchr("\r\n \t", data[from], 4))
        from++;
    return from;
}

/* The first line: a delimiter, or a header when the server leaves the first delimiter out. */
static bool step_start(struct multipart *m, const uint8_t *data, size_t size)
{
    size_t from = skip_blank(data, 0, size);
    if (size - from < 2)
        return from > HEADER_MAX ? over(m, MULTIPART_PLAIN) : false;
    bool dashes = data[from] == '-' && data[from + 1] == '-';
    if (!dashes && (data[from] | 32) != 'c')
        return over(m, MULTIPART_PLAIN);
    const uint8_t *end = find_byte(data, from, size, '\n');
    if (!end)
        return size - from > HEADER_MAX ? over(m, MULTIPART_PLAIN) : false;
    m->part = PART_HEADER;
    m->at = from;
    if (!dashes) {
        static const char content[] = "Content-";
        bool header = (size_t)(end - data) - from > sizeof(content) &&
                      !strncasecmp((const char *)data + from, content, sizeof(content) - 1);
        return header || over(m, MULTIPART_PLAIN);
    }
    size_t len = (size_t)(end - data) - from;
    while (len && memchr("\r \t", data[from + len - 1], 3))
        len--;
    if (len < 3 || len >= sizeof(m->delimiter) || memchr(data + from, '\0', len))
        return over(m, MULTIPART_PLAIN);
    memcpy(m->delimiter, data + from, len);
    m->delimiter[len] = '\0';
    m->at = (size_t)(end - data) + 1;
    return true;
}

static void read_header_line(struct multipart *m, const char *line, size_t len)
{
    static const char name[] = "Content-Length:";
    const size_t n = sizeof(name) - 1;
    if (len <= n || strncasecmp(line, name, n) != 0)
        return;
    const char *value = line + n;
    len -= n;
    while (len && (*value == ' ' || *value == '\t')) {
        value++;
        len--;
    }
    int64_t length;
    m->length = 0; /* what is no length, or longer than a frame may be, is found by its end */
    if (parse_int64(value, len, 1, (int64_t)m->frame_max, &length) == 0)
        m->length = (size_t)length;
}

static bool step_header(struct multipart *m, const uint8_t *data, size_t size)
{
    m->length = 0;
    for (size_t from = m->at;;) {
        const uint8_t *end = find_byte(data, from, size, '\n');
        if (from - m->at > HEADER_MAX || (!end && size - m->at > HEADER_MAX))
            return over(m, m->frames ? m->state : MULTIPART_PLAIN);
        if (!end)
            return false;
        size_t len = (size_t)(end - data) - from;
        if (len && data[from + len - 1] == '\r')
            len--;
        if (len >= 2 && data[from] == 0xff && data[from + 1] == 0xd8) { /* no header at all */
            m->at = from;
            break;
        }
        read_header_line(m, (const char *)data + from, len);
        from = (size_t)(end - data) + 1;
        m->at = len ? m->at : from;
        if (!len)
            break;
    }
    m->seen = m->at;
    m->part = PART_BODY;
    return true;
}

/* True when data[from, to) is a JPEG from its first to its last marker, but for padding. */
static bool is_whole(const uint8_t *data, size_t from, size_t to)
{
    size_t padding = 0;
    while (to > from && padding < PADDING_MAX && memchr("\0\r\n", data[to - 1], 3)) {
        to--;
        padding++;
    }
    return to - from >= 4 && data[from] == 0xff && data[from + 1] == 0xd8 && data[to - 2] == 0xff &&
           data[to - 1] == 0xd9;
}

/* Returns whether to go on: two frames are all that anybody wants. */
static bool take(struct multipart *m, size_t from, size_t to, size_t next)
{
    m->frame = from;
    m->frame_size = to - from;
    m->frames++;
    m->at = m->seen = next;
    m->part = PART_BETWEEN;
    m->state = m->frames == 1 ? MULTIPART_ONE : MULTIPART_TWO;
    return m->frames == 1 || over(m, MULTIPART_TWO);
}

/* The next delimiter from `from` on: its place, or SIZE_MAX. One that nobody told us is a line that
 * begins with dashes. */
static size_t find_delimiter(const struct multipart *m, const uint8_t *data, size_t from,
                             size_t size)
{
    const char *mark = m->delimiter[0] ? m->delimiter : "\n--";
    const uint8_t *p = from < size ? memmem(data + from, size - from, mark, strlen(mark)) : NULL;
    if (!p)
        return SIZE_MAX;
    return (size_t)(p - data) + !m->delimiter[0];
}

static size_t find_start(const uint8_t *data, size_t from, size_t to)
{
    static const uint8_t soi[] = {0xff, 0xd8, 0xff};
    const uint8_t *p = to > from ? memmem(data + from, to - from, soi, sizeof(soi)) : NULL;
    return p ? (size_t)(p - data) : to;
}

static bool step_body(struct multipart *m, const uint8_t *data, size_t size)
{
    if (m->length && size - m->at >= m->length) {
        if (is_whole(data, m->at, m->at + m->length))
            return take(m, m->at, m->at + m->length, m->at + m->length);
        m->length = 0; /* a lie */
    }
    for (;;) {
        size_t mark = find_delimiter(m, data, m->seen, size);
        if (mark == SIZE_MAX)
            break;
        size_t end = mark;
        if (end > m->at && data[end - 1] == '\n')
            end--;
        if (end > m->at && data[end - 1] == '\r')
            end--;
        size_t start = find_start(data, m->at, end);
        m->seen = mark + 2;
        /* Where a delimiter is only guessed, or comes before its time, a picture must end. */
        if ((!m->delimiter[0] || m->length) && !is_whole(data, start, end))
            continue;
        if (end - start > m->frame_max)
            break;
        if (start < end)
            return take(m, start, end, mark);
        m->at = mark;
        m->part = PART_BETWEEN;
        return true;
    }
    if (size - m->at > m->frame_max)
        return over(m, m->frames ? m->state : MULTIPART_TOO_BIG);
    /* A delimiter may have come in part. */
    m->seen = MAX(m->seen, size - MIN(size, sizeof(m->delimiter)));
    return false;
}

/* To the delimiter's line, and over it. */
static bool step_between(struct multipart *m, const uint8_t *data, size_t size)
{
    /* Without a known delimiter the search wants the line end before it. */
    size_t from = m->at && !m->delimiter[0] ? m->at - 1 : m->at;
    size_t mark = find_delimiter(m, data, from, size);
    if (mark == SIZE_MAX)
        return size - m->at > HEADER_MAX ? over(m, m->state) : false;
    const uint8_t *end = find_byte(data, mark, size, '\n');
    if (!end)
        return size - mark > HEADER_MAX ? over(m, m->state) : false;
    m->at = (size_t)(end - data) + 1;
    m->part = PART_HEADER;
    return true;
}

enum multipart_state multipart_end(struct multipart *m, const uint8_t *data, size_t size)
{
    multipart_look(m, data, size);
    if (m->part == PART_START)
        m->state = MULTIPART_PLAIN;
    if (m->part != PART_BODY)
        return m->state;
    /* The stream was closed behind this frame, without the delimiter that would end it. */
    size_t start = find_start(data, m->at, size), end = size;
    while (end > start && (data[end - 1] == '\r' || data[end - 1] == '\n'))
        end--;
    if (is_whole(data, start, end))
        (void)take(m, start, end, end); /* the answer is whether to go on, and nothing follows */
    return m->state;
}
