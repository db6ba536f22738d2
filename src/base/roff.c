#include "base/roff.h"

#include <string.h>

/* groff(7): a backslash begins an escape, - is a hyphen that cannot be pasted as an option, and the
 * ASCII accents are typeset as others. */
static const char *escape_of(char c)
{
    switch (c) {
    case '\\':
        return "\\(rs";
    case '-':
        return "\\-";
    case '\'':
        return "\\(aq";
    case '^':
        return "\\(ha";
    case '~':
        return "\\(ti";
    default:
        return NULL;
    }
}

static void put(struct dynbuf *out, const char *text, bool is_argument)
{
    bool bold = false;
    for (const char *p = text; *p; p++) {
        bool begins = p == text || p[-1] == '\n';
        const char *escape = escape_of(*p);
        if (*p == '`') {
            bold = !bold;
            (void)dynbuf_puts(out, bold ? "\\fB" : "\\fR");
            continue;
        }
        if (begins && *p == '.')
            (void)dynbuf_puts(out, "\\&");
        if (is_argument && *p == '"')
            escape = "\\(dq";
        if (is_argument && *p == '\n')
            escape = " ";
        if (escape)
            (void)dynbuf_puts(out, escape);
        else
            (void)dynbuf_append(out, p, 1); /* failure sticks */
    }
    if (bold)
        (void)dynbuf_puts(out, "\\fR");
}

void roff_text(struct dynbuf *out, const char *text)
{
    put(out, text, false);
    (void)dynbuf_puts(out, "\n");
}

void roff_request(struct dynbuf *out, const char *request, const char *words)
{
    (void)dynbuf_printf(out, "%s \"", request);
    put(out, words, true);
    (void)dynbuf_puts(out, "\"\n");
}

void roff_title(struct dynbuf *out, const char *name, int section, const char *version)
{
    (void)dynbuf_printf(out, ".TH \"");
    put(out, name, true);
    (void)dynbuf_printf(out, "\" %d \"\" \"snapshotd %s\"\n", section, version);
    /* No hyphenation and a ragged right margin: names of keys stay whole. */
    (void)dynbuf_puts(out, ".nh\n.ad l\n");
}
