/* The configuration's manual page, made from the rows as the reference is. */

#include <errno.h>
#include <string.h>

#include "base/roff.h"
#include "base/text.h"
#include "cfg/cfg_internal.h"

static void write_head(const struct cfg_schema *schema, const char *title, const char *version,
                       struct dynbuf *out);
static void write_key(const struct cfg_key *key, struct dynbuf *out);

int cfg_write_manual(const struct cfg_schema *schema, const char *title, const char *version,
                     struct dynbuf *out)
{
    write_head(schema, title, version, out);
    for (size_t i = 0; schema->sections[i]; i++) {
        const struct cfg_section *s = schema->sections[i];
        char name[80];
        (void)text_format(name, sizeof(name), "[%s%s]", s->name, s->named ? ":NAME" : "");
        roff_request(out, ".SS", name);
        roff_text(out, s->help);
        if (s->named)
            roff_text(out, "There may be any number of these.");
        for (size_t k = 0; k < s->key_count; k++)
            write_key(&s->keys[k], out);
    }
    (void)dynbuf_puts(out, ".SH SEE ALSO\n.BR snapshotd (1)\n");
    return out->failed ? -ENOSPC : 0;
}

static void write_head(const struct cfg_schema *schema, const char *title, const char *version,
                       struct dynbuf *out)
{
    roff_title(out, title, 5, version);
    roff_request(out, ".SH", "NAME");
    (void)dynbuf_printf(out, "%s \\- configuration of snapshotd\n", title);
    roff_request(out, ".SH", "DESCRIPTION");
    roff_text(out,
              "An INI file: `[section]`, then `key = value`. Names are case-sensitive; a "
              "section or key that is not known, or is there twice, is a fault. A line that "
              "begins with `#` or `;` is a comment; behind a value there are none. An indented "
              "line continues a list of the line above.");
    (void)dynbuf_puts(out, ".PP\n");
    roff_text(out, "`%(NAME)s` stands for the environment variable NAME, which must be set. "
                   "Durations are written `500ms`, `5s`, `10m`, `2h`, `7d`; sizes `512KB`, `10MB`, "
                   "`2GB`, by powers of 1024.");
    (void)dynbuf_puts(out, ".PP\n");
    roff_text(out, "A secret is never shown. It is written as it is, or as `env:NAME`, "
                   "`file:PATH` or `credential:NAME` (a credential of the service manager).");
    (void)dynbuf_puts(out, ".PP\n");
    roff_text(out, "Defaults are overridden by the file, that by the environment variables that "
                   "are named below, and those by");
    if (schema->env_prefix) {
        char variable[128];
        (void)text_format(variable, sizeof(variable),
                          "`%s_SECTION_KEY` (`%s_SECTION_NAME_KEY` in sections with a name), and "
                          "these by",
                          schema->env_prefix, schema->env_prefix); /* fits */
        roff_text(out, variable);
    }
    roff_text(out, "`--set section.key=value` on the command line.");
    (void)dynbuf_puts(out, ".PP\n");
    roff_text(out, "`snapshotd check` names all faults of a file at once, `snapshotd config "
                   "--sample` prints one with every key and its default, and `snapshotd config "
                   "--effective` shows what is in force and why. On the signal HUP the daemon "
                   "reads the file again; keys that say so need a restart.");
    roff_request(out, ".SH", "SECTIONS");
}

/* "choice of x, y; default x; needs a restart; environment X" */
static void write_facts(const struct cfg_key *key, struct dynbuf *out)
{
    char bounds[80];
    (void)dynbuf_puts(out, "(");
    if (key->type == CFG_CHOICE)
        for (size_t c = 0; key->choices[c]; c++)
            (void)dynbuf_printf(out, "%s`%s`", c ? ", " : "", key->choices[c]);
    else
        (void)dynbuf_puts(out, cfg_type_names[key->type]);
    if (*cfg_bounds_text(key, bounds, sizeof(bounds)))
        (void)dynbuf_printf(out, ", %s", bounds);
    if (key->unit && (key->type == CFG_INT || key->type == CFG_DOUBLE))
        (void)dynbuf_printf(out, " (%s)", key->unit);
    if (key->flags & CFG_REQUIRED)
        (void)dynbuf_puts(out, "; required");
    else if (key->fallback && *key->fallback)
        (void)dynbuf_printf(out, "; default `%s`", key->fallback);
    if (key->flags & CFG_LATER)
        (void)dynbuf_puts(out, "; without effect until a later release");
    else if (key->successor)
        (void)dynbuf_printf(out, "; retired: write `%s`", key->successor);
    else if (!(key->flags & CFG_RELOAD))
        (void)dynbuf_puts(out, "; needs a restart");
    if (key->env)
        (void)dynbuf_printf(out, "; environment `%s`", key->env);
    (void)dynbuf_puts(out, ")");
}

static void write_key(const struct cfg_key *key, struct dynbuf *out)
{
    AUTO_DONE(dynbuf) facts = {0};
    dynbuf_init(&facts, 4096);
    write_facts(key, &facts);
    (void)dynbuf_printf(out, ".TP\n\\fB%s\\fR\n", key->name); /* letters, digits, _ and # */
    roff_text(out, key->help);
    roff_text(out, dynbuf_str(&facts));
    if (key->doc) {
        (void)dynbuf_puts(out, ".IP\n");
        roff_text(out, key->doc);
    }
}
