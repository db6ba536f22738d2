#include "app/manual.h"

#include <errno.h>
#include <string.h>

#include "app/command.h"
#include "app/version.h"
#include "base/roff.h"
#include "base/text.h"

static void write_usage(const struct command *c, struct dynbuf *out);
static void write_command(const struct command *c, struct dynbuf *out);

int manual_write(struct dynbuf *out)
{
    roff_title(out, "snapshotd", 1, SNAPSHOTD_VERSION);
    roff_request(out, ".SH", "NAME");
    (void)dynbuf_puts(out, "snapshotd \\- still pictures from IP cameras, examined, recorded and "
                           "kept\n");
    roff_request(out, ".SH", "SYNOPSIS");
    (void)dynbuf_puts(out, "\\fBsnapshotd\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR]...\n");
    roff_request(out, ".SH", "DESCRIPTION");
    roff_text(out, "The daemon takes pictures from cameras or is sent them, looks for objects on "
                   "them, tells others what it saw and keeps the pictures here and elsewhere. "
                   "Without any configuration `snapshotd run` starts it; the other commands "
                   "examine and control what it does.");
    roff_request(out, ".SH", "COMMANDS");
    for (const struct command *const *c = commands; *c; c++)
        write_command(*c, out);
    roff_request(out, ".SH", "EXIT STATUS");
    roff_text(out, "0 done; 1 failed; 2 wrong usage or configuration. Commands above say what "
                   "differs.");
    roff_request(out, ".SH", "SEE ALSO");
    (void)dynbuf_puts(out, ".BR snapshotd.conf (5)\n");
    return out->failed ? -ENOSPC : 0;
}

static void write_command(const struct command *c, struct dynbuf *out)
{
    char text[COMMAND_OPTION_TEXT_MAX + 2];
    write_usage(c, out);
    roff_text(out, c->summary);
    for (const struct command_verb *v = c->verbs; v && v->name; v++) {
        (void)text_format(text, sizeof(text), "`%s` %s", v->name, v->arguments); /* fits */
        (void)dynbuf_puts(out, ".TP\n");
        roff_text(out, text);
        roff_text(out, v->help);
    }
    for (const struct command_option *o = c->options; o && o->name; o++) {
        char words[COMMAND_OPTION_TEXT_MAX];
        (void)command_option_text(o, words);
        (void)text_format(text, sizeof(text), "`%s`", words + strspn(words, " ")); /* fits */
        (void)dynbuf_puts(out, ".TP\n");
        roff_text(out, text);
        roff_text(out, o->help);
    }
    for (const char *p = c->help ? c->help : ""; *p;) {
        const char *end = strstr(p, "\n\n");
        size_t len = end ? (size_t)(end - p) : strlen(p) - 1; /* it ends with a line break */
        AUTO_DONE(dynbuf) paragraph = {0};
        dynbuf_init(&paragraph, 16384);
        (void)dynbuf_append(&paragraph, p, len);
        (void)dynbuf_puts(out, ".PP\n");
        roff_text(out, dynbuf_str(&paragraph));
        p += len + (end ? 2 : 1);
    }
}

static void write_usage(const struct command *c, struct dynbuf *out)
{
    char line[256];
    (void)text_format(line, sizeof(line), "snapshotd %s %s", c->name, c->arguments); /* fits */
    roff_request(out, ".SS", line);
}
