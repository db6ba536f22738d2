#include "app/command.h"

#include <assert.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

const struct command *const commands[] = {&command_run,        &command_check,
                                          &command_config,     &command_metrics,
                                          &command_detect,     &command_trigger,
                                          &command_status,     &command_star,
                                          &command_prune,      &command_verify,
                                          &command_model,      &command_integrity,
                                          &command_auth,       &command_configure,
                                          &command_directory,  &command_user,
                                          &command_token,      &command_passwd,
                                          &command_camera_sim, &command_completion,
                                          &command_man,        NULL};

int command_next_option(const struct command *c, int argc, char **argv)
{
    struct option longs[COMMAND_OPTIONS_MAX + 2] = {{0}};
    char shorts[2 * COMMAND_OPTIONS_MAX + 2];
    size_t letters = 0, n = 0;
    for (const struct command_option *o = c->options; o && o->name; o++) {
        assert(n < COMMAND_OPTIONS_MAX && (o->letter == 0) != (o->id == 0));
        longs[n++] = (struct option){.name = o->name,
                                     .has_arg = o->argument ? required_argument : no_argument,
                                     .val = o->id ? o->id : o->letter};
        if (o->letter) {
            shorts[letters++] = o->letter;
            if (o->argument)
                shorts[letters++] = ':';
        }
    }
    longs[n] = (struct option){.name = "help", .has_arg = no_argument, .val = 'h'};
    shorts[letters++] = 'h';
    shorts[letters] = '\0';
    return getopt_long(argc, argv, shorts, longs, NULL);
}

const char *command_option_text(const struct command_option *o, char buf[COMMAND_OPTION_TEXT_MAX])
{
    char letter[] = "    ";
    if (o->letter)
        memcpy(letter, (char[]){'-', o->letter, ',', ' '}, 4);
    (void)text_format(buf, COMMAND_OPTION_TEXT_MAX, "%s--%s%s%s", letter, o->name,
                      o->argument ? " " : "", o->argument ? o->argument : ""); /* fits */
    return buf;
}

/* ---- --help ---- */

enum { HELP_COLUMN = 28, HELP_WIDTH = 80 };

static void print_wrapped(const char *text, size_t column, FILE *out)
{
    bool first = true;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (!first && column + 1 + word > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (!first) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)word, text);
        column += word;
        text += word;
        text += strspn(text, " ");
        first = false;
    }
    fputc('\n', out);
}

static void print_row(const char *left, const char *help, FILE *out)
{
    int used = fprintf(out, "  %s", left);
    if (used > HELP_COLUMN - 2) {
        fputc('\n', out);
        used = 0;
    }
    fprintf(out, "%*s", HELP_COLUMN - used, "");
    print_wrapped(help, HELP_COLUMN, out);
}

static void print_help(const struct command *c, FILE *out)
{
    char text[COMMAND_OPTION_TEXT_MAX];
    fprintf(out, "Usage: snapshotd %s %s\n%s.\n", c->name, c->arguments, c->summary);
    if (c->verbs)
        fputc('\n', out);
    for (const struct command_verb *v = c->verbs; v && v->name; v++) {
        (void)text_format(text, sizeof(text), "%s%s%s", v->name, *v->arguments ? " " : "",
                          v->arguments); /* fits */
        print_row(text, v->help, out);
    }
    if (c->options && c->options->name)
        fputc('\n', out);
    for (const struct command_option *o = c->options; o && o->name; o++)
        print_row(command_option_text(o, text), o->help, out);
    if (c->help)
        fprintf(out, "\n%s", c->help);
}

int command_error(int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("snapshotd: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputs("\n", stderr);
    va_end(ap);
    return status;
}

int command_help(const struct command *c)
{
    print_help(c, stdout);
    return EXIT_DONE;
}

int command_usage(const struct command *c, const char *fmt, ...)
{
    if (fmt) { /* getopt has said it already otherwise */
        va_list ap;
        va_start(ap, fmt);
        fprintf(stderr, "snapshotd %s: ", c->name);
        vfprintf(stderr, fmt, ap);
        fputs("\n", stderr);
        va_end(ap);
    }
    fprintf(stderr, "Usage: snapshotd %s %s (--help tells more)\n", c->name, c->arguments);
    return EXIT_USAGE;
}
