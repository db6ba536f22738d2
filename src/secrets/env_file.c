#include "secrets/env_file.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

const char *const env_format_names[ENV_FORMAT_COUNT + 1] = {"systemd", "docker", NULL};

#define NAME_FIRST "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
#define NAME_REST NAME_FIRST "0123456789"
/* Mean nothing to any of the readers, anywhere in a value. */
#define PLAIN NAME_REST ".,:/@%+-"

bool env_name_valid(const char *name)
{
    return *name && strchr(NAME_FIRST, *name) && name[strspn(name, NAME_REST)] == '\0';
}

void env_file_done(struct env_file *f)
{
    for (size_t i = 0; i < f->count; i++) {
        explicit_bzero(f->pairs[i].value, strlen(f->pairs[i].value));
        free(f->pairs[i].value);
        free(f->pairs[i].name);
    }
    free(f->pairs);
    *f = (struct env_file){0};
}

static struct env_pair *find(const struct env_file *f, const char *name)
{
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->pairs[i].name, name) == 0)
            return &f->pairs[i];
    return NULL;
}

const char *env_file_get(const struct env_file *f, const char *name)
{
    const struct env_pair *p = find(f, name);
    return p ? p->value : NULL;
}

int env_file_set(struct env_file *f, const char *name, const char *value, struct err *e)
{
    char shown[100];

    if (!env_name_valid(name))
        return err_set(e, -EINVAL, ERR_NEVER,
                       "\"%s\" is no name of a variable: letters, digits and _ only, and no digit "
                       "first",
                       text_printable(name, text_cut_length(name, 60), shown, sizeof(shown)));
    struct env_pair *p = find(f, name);
    if (p) {
        free(p->value);
        p->value = xstrdup(value);
        return 0;
    }
    if (f->count == ENV_PAIRS_MAX)
        return err_set(e, -E2BIG, ERR_NEVER, "more than %d variables", ENV_PAIRS_MAX);
    f->pairs = xrealloc(f->pairs, (f->count + 1) * sizeof(*f->pairs));
    f->pairs[f->count++] = (struct env_pair){xstrdup(name), xstrdup(value)};
    return 0;
}

/* ---- writing ---- */

static void write_value(const char *value, struct dynbuf *out)
{
    if (value[strspn(value, PLAIN)] == '\0') {
        (void)dynbuf_puts(out, value); /* the caller sees out->failed */
        return;
    }
    bool single = !strchr(value, '\'');
    (void)dynbuf_puts(out, single ? "'" : "\"");
    for (const char *c = value; *c; c++)
        (void)dynbuf_printf(out, !single && strchr("\"\\$`", *c) ? "\\%c" : "%c", *c);
    (void)dynbuf_puts(out, single ? "'" : "\"");
}

int env_file_write(const struct env_file *f, enum env_format format, struct dynbuf *out,
                   struct err *e)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct env_pair *p = &f->pairs[i];
        if (format == ENV_DOCKER && strpbrk(p->value, "\r\n"))
            return err_set(e, -EINVAL, ERR_NEVER,
                           "%s has a line break, which an env file of docker run cannot hold: use "
                           "--format systemd, which Docker Compose reads as well",
                           p->name);
        (void)dynbuf_printf(out, "%s=", p->name);
        if (format == ENV_DOCKER)
            (void)dynbuf_puts(out, p->value);
        else
            write_value(p->value, out);
        (void)dynbuf_puts(out, "\n");
    }
    return out->failed ? err_set(e, -E2BIG, ERR_NEVER, "the variables are more than %zu KB",
                                 ENV_FILE_MAX >> 10)
                       : 0;
}

/* ---- reading ---- */

/* In quotes, from behind the first; returns what is behind the second. */
static const char *read_quoted(const char *at, const char *end, char quote, struct dynbuf *value)
{
    while (at < end && *at != quote) {
        if (quote == '"' && *at == '\\' && at + 1 < end) {
            at++;
            if (!strchr("\"\\$`\n", *at))
                (void)dynbuf_append(value, "\\", 1);
            if (*at == '\n') { /* goes on in the next line */
                at++;
                continue;
            }
        }
        (void)dynbuf_append(value, at++, 1);
    }
    return at < end ? at + 1 : end;
}

/* systemd's rules: quoted and bare pieces side by side, blanks at the end of a bare one do not
 * count. Returns the end of the line. */
static const char *read_value(const char *at, const char *end, struct dynbuf *value)
{
    size_t solid = 0; /* length without blanks at the end */

    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    while (at < end && *at != '\n') {
        if ((*at == '\'' || *at == '"') && value->len == solid) {
            at = read_quoted(at + 1, end, *at, value);
            solid = value->len;
            continue;
        }
        if (*at == '\\' && at + 1 < end && *++at == '\n') {
            at++;
            continue;
        }
        bool blank = *at == ' ' || *at == '\t' || *at == '\r';
        (void)dynbuf_append(value, at++, 1);
        solid = blank ? solid : value->len;
    }
    if (value->data)
        value->data[value->len = solid] = '\0';
    return at;
}

static const char *read_line(const char *at, const char *end, enum env_format format,
                             struct dynbuf *name, struct dynbuf *value)
{
    const char *line_end = memchr(at, '\n', (size_t)(end - at));
    if (!line_end)
        line_end = end;
    while (at < line_end && (*at == ' ' || *at == '\t'))
        at++;
    const char *equals = memchr(at, '=', (size_t)(line_end - at));
    if (!equals || *at == '#' || (format == ENV_SYSTEMD && *at == ';'))
        return line_end;
    (void)dynbuf_append(name, at, (size_t)(equals - at));
    if (format == ENV_SYSTEMD)
        return read_value(equals + 1, end, value);
    (void)dynbuf_append(value, equals + 1, (size_t)(line_end - equals - 1));
    return line_end;
}

int env_file_parse(const char *text, size_t size, enum env_format format, struct env_file *ret,
                   struct err *e)
{
    AUTO_DONE(dynbuf) name, value;
    const char *at = text, *end = text + size;
    int r = 0;

    dynbuf_init(&name, ENV_FILE_MAX);
    dynbuf_init(&value, ENV_FILE_MAX);
    if (size > ENV_FILE_MAX || memchr(text, '\0', size))
        return err_set(e, -EINVAL, ERR_NEVER, "it is no file of variables: too long, or no text");
    while (at < end && r == 0) {
        dynbuf_reset(&name);
        dynbuf_reset(&value);
        at = read_line(at, end, format, &name, &value);
        at += at < end;
        if (env_name_valid(dynbuf_str(&name)))
            r = env_file_set(ret, dynbuf_str(&name), dynbuf_str(&value), e);
    }
    if (value.data)
        explicit_bzero(value.data, value.cap);
    return r;
}
