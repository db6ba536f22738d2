#include "base/log_line.h"

#include <string.h>
#include <time.h>

#include "base/text.h"

/* Syslog's daemon facility, and the severities of our levels (RFC 5424 6.2.1). */
enum { FACILITY = 3 };
static const int severities[LOG_LEVEL_COUNT] = {
    [LOG_LEVEL_ERROR] = 3, [LOG_LEVEL_WARNING] = 4, [LOG_LEVEL_NOTICE] = 5,
    [LOG_LEVEL_INFO] = 6,  [LOG_LEVEL_DEBUG] = 7,
};

/* Appends to a buffer of fixed size and cuts at its end. */
struct out {
    char *at;
    size_t len, size;
};

static void put(struct out *o, const char *bytes, size_t len)
{
    len = MIN(len, o->size - o->len);
    memcpy(o->at + o->len, bytes, len);
    o->len += len;
}

static void puts_to(struct out *o, const char *text)
{
    put(o, text, strlen(text));
}

/* ---- for people and for machines ---- */

/* text_escape() writes \xNN, which JSON does not know: those become \u00NN. */
static void put_json(struct out *o, const char *src)
{
    char escaped[4 * LOG_TEXT_MAX];
    size_t begin = o->len;
    text_escape(src, strlen(src), escaped, sizeof(escaped));
    /* A sentence of nothing but escapes is cut, not the object around it. */
    for (const char *p = escaped; *p && o->len - begin < 2 * LOG_TEXT_MAX; p++) {
        if (p[0] == '\\' && p[1] == 'x') {
            puts_to(o, "\\u00");
            p++;
        } else {
            put(o, p, 1);
            if (p[0] == '\\')
                put(o, ++p, 1);
        }
    }
}

static void put_member(struct out *o, const char *key, const char *value)
{
    if (!*value)
        return;
    puts_to(o, ",\"");
    puts_to(o, key);
    puts_to(o, "\":\"");
    put_json(o, value);
    puts_to(o, "\"");
}

static void put_object(struct out *o, const struct log_record *r)
{
    char when[WALL_ISO_MAX];
    puts_to(o, "{\"timestamp\":\"");
    puts_to(o, wall_format_iso(r->at, true, when));
    puts_to(o, "\"");
    put_member(o, "level", log_level_names[r->level]);
    put_member(o, "id", r->id);
    put_member(o, "stage", r->stage);
    put_member(o, "camera", r->camera);
    put_member(o, "snapshot", r->snapshot);
    puts_to(o, ",\"message\":\"");
    put_json(o, r->text);
    puts_to(o, "\"}");
}

/* `lines`: line breaks stay. */
static void put_printable(struct out *o, const char *text, bool lines)
{
    char printable[2 * LOG_TEXT_MAX];
    while (true) {
        size_t len = lines ? strcspn(text, "\n") : strlen(text);
        puts_to(o, text_printable(text, len, printable, sizeof(printable)));
        if (!text[len])
            return;
        puts_to(o, "\n");
        text += len + 1;
    }
}

/* Quotes and backslashes are harmless here; only control characters must not pass. */
static void put_sentence(struct out *o, const struct log_record *r, bool lines)
{
    char camera[256];
    if (*r->stage) {
        put_printable(o, r->stage, false);
        puts_to(o, ": ");
    }
    if (*r->camera) {
        puts_to(o, "camera \"");
        puts_to(o, text_escape(r->camera, strlen(r->camera), camera, sizeof(camera)));
        puts_to(o, "\": ");
    }
    put_printable(o, r->text, lines);
    puts_to(o, " [");
    puts_to(o, r->id);
    if (*r->snapshot) {
        puts_to(o, " ");
        put_printable(o, r->snapshot, false);
    }
    puts_to(o, "]");
}

static void put_message(struct out *o, const struct log_record *r, enum log_format format,
                        bool lines)
{
    if (format == LOG_FORMAT_JSON)
        put_object(o, r);
    else
        put_sentence(o, r, lines);
}

size_t log_line_console(const struct log_record *r, enum log_format format, char line[LOG_LINE_MAX])
{
    struct out o = {.at = line, .size = LOG_LINE_MAX - 1}; /* the line break has its place */
    if (format == LOG_FORMAT_TEXT) {
        char when[WALL_ISO_MAX], head[WALL_ISO_MAX + 16];
        (void)text_format(head, sizeof(head), "%s %-7s ", wall_format_iso(r->at, true, when),
                          log_level_names[r->level]); /* fits */
        puts_to(&o, head);
    }
    put_message(&o, r, format, false);
    line[o.len] = '\n';
    return o.len + 1;
}

/* ---- syslog ---- */

/* Host, program and id: printable ASCII without spaces, "-" when there is nothing. */
static void put_word(struct out *o, const char *word, size_t max)
{
    if (!*word)
        word = "-";
    for (size_t i = 0; word[i] && i < max; i++) {
        char c = word[i] > ' ' && word[i] < 0x7f ? word[i] : '_';
        put(o, &c, 1);
    }
    puts_to(o, " ");
}

/* RFC 5424 6.3.3: quote, backslash and closing bracket are escaped. */
static void put_param(struct out *o, const char *name, const char *value)
{
    char printable[256];
    if (!*value)
        return;
    puts_to(o, " ");
    puts_to(o, name);
    puts_to(o, "=\"");
    text_printable(value, strlen(value), printable, sizeof(printable));
    for (const char *p = printable; *p; p++) {
        if (strchr("\"\\]", *p))
            puts_to(o, "\\");
        put(o, p, 1);
    }
    puts_to(o, "\"");
}

static bool is_ascii(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] >= 0x80)
            return false;
    return true;
}

static size_t write_syslog(const struct log_record *r, const struct log_source *source,
                           enum log_format format, unsigned sequence, char out[LOG_WIRE_MAX])
{
    struct out o = {.at = out, .size = LOG_WIRE_MAX};
    char when[WALL_ISO_MAX], text[64];
    (void)text_format(text, sizeof(text), "<%d>1 %s ", FACILITY * 8 + severities[r->level],
                      wall_format_iso(r->at, true, when)); /* fits */
    puts_to(&o, text);
    put_word(&o, source->host, 255);
    put_word(&o, source->name, 48);
    (void)text_format(text, sizeof(text), "%d ", source->pid); /* fits */
    puts_to(&o, text);
    put_word(&o, r->id, 32);
    (void)text_format(text, sizeof(text), "[meta sequenceId=\"%u\"]", sequence); /* fits */
    puts_to(&o, text);
    if (*r->stage || *r->camera || *r->snapshot) {
        /* 32473 is the enterprise number for examples (RFC 5612); we have none of our own. */
        puts_to(&o, "[snapshotd@32473");
        put_param(&o, "stage", r->stage);
        put_param(&o, "camera", r->camera);
        put_param(&o, "snapshot", r->snapshot);
        puts_to(&o, "]");
    }
    puts_to(&o, " ");
    char message[LOG_LINE_MAX];
    struct out m = {.at = message, .size = sizeof(message)};
    put_message(&m, r, format, false);
    /* A message in UTF-8 must begin with the mark; one of ASCII alone need not, and so the many
     * receivers that show the mark show it seldom. */
    if (!is_ascii(message, m.len))
        puts_to(&o, "\xef\xbb\xbf");
    put(&o, message, m.len);
    return o.len;
}

size_t log_line_syslog(const struct log_record *r, const struct log_source *source,
                       enum log_format format, unsigned sequence, size_t max,
                       char out[LOG_WIRE_MAX])
{
    char text[LOG_TEXT_MAX + 4];
    struct log_record shorter = *r;
    size_t keep = strnlen(r->text, LOG_TEXT_MAX);
    size_t len = write_syslog(r, source, format, sequence, out);
    /* A byte of the sentence is up to six bytes of the line, so this goes down by steps. */
    while (len > max && keep > 0) {
        keep = text_cut_length(r->text, keep - MIN(keep, 1 + (len - max) / 4));
        memcpy(text, r->text, keep);
        memcpy(text + keep, "...", 4);
        shorter.text = text;
        len = write_syslog(&shorter, source, format, sequence, out);
    }
    return MIN(len, max);
}

size_t log_line_local(const struct log_record *r, const struct log_source *source,
                      enum log_format format, char out[LOG_WIRE_MAX])
{
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct out o = {.at = out, .size = LOG_WIRE_MAX};
    time_t at = (time_t)wall_seconds(r->at);
    struct tm tm;
    char head[64];
    if (!localtime_r(&at, &tm))
        tm = (struct tm){.tm_mday = 1};
    (void)text_format(head, sizeof(head), "<%d>%s %2d %02d:%02d:%02d ",
                      FACILITY * 8 + severities[r->level], months[tm.tm_mon], tm.tm_mday,
                      tm.tm_hour, tm.tm_min, tm.tm_sec); /* fits */
    puts_to(&o, head);
    put_word(&o, source->name, 48);
    (void)text_format(head, sizeof(head), "[%d]: ", source->pid); /* fits */
    o.len--;                                                      /* no space before the bracket */
    puts_to(&o, head);
    put_message(&o, r, format, false);
    return o.len;
}

/* ---- the journal ---- */

/* systemd, "Native Journal Protocol": KEY=value, or for a value with a line break KEY, its length
 * as 64 bits little-endian, and the value. */
static void put_field(struct out *o, const char *key, const char *value, size_t len)
{
    puts_to(o, key);
    if (memchr(value, '\n', len)) {
        char size[8];
        for (size_t i = 0; i < sizeof(size); i++)
            size[i] = (char)((uint64_t)len >> (8 * i) & 0xff);
        puts_to(o, "\n");
        put(o, size, sizeof(size));
    } else {
        puts_to(o, "=");
    }
    put(o, value, len);
    puts_to(o, "\n");
}

static void put_text_field(struct out *o, const char *key, const char *value)
{
    if (*value)
        put_field(o, key, value, strlen(value));
}

static void put_number_field(struct out *o, const char *key, int value)
{
    char text[16];
    (void)text_format(text, sizeof(text), "%d", value); /* fits */
    put_text_field(o, key, text);
}

size_t log_line_journal(const struct log_record *r, const struct log_source *source,
                        enum log_format format, char out[LOG_WIRE_MAX])
{
    struct out o = {.at = out, .size = LOG_WIRE_MAX};
    char message[LOG_LINE_MAX];
    struct out m = {.at = message, .size = sizeof(message)};
    put_message(&m, r, format, true);
    put_field(&o, "MESSAGE", message, m.len);
    put_number_field(&o, "PRIORITY", severities[r->level]);
    put_number_field(&o, "SYSLOG_FACILITY", FACILITY);
    put_text_field(&o, "SYSLOG_IDENTIFIER", source->name);
    put_number_field(&o, "SYSLOG_PID", source->pid);
    put_text_field(&o, "SNAPSHOTD_ID", r->id);
    put_text_field(&o, "SNAPSHOTD_STAGE", r->stage);
    put_text_field(&o, "SNAPSHOTD_CAMERA", r->camera);
    put_text_field(&o, "SNAPSHOTD_SNAPSHOT", r->snapshot);
    return o.len;
}
