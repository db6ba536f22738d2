#include "app/command.h"

#include <stdarg.h>
#include <stdio.h>

const struct command *const commands[] = {&command_run,
                                          &command_check,
                                          &command_config,
                                          &command_metrics,
                                          &command_detect,
                                          &command_trigger,
                                          &command_status,
                                          &command_star,
                                          &command_prune,
                                          &command_verify,
                                          &command_model,
                                          &command_integrity,
                                          &command_auth,
                                          &command_directory,
                                          &command_passwd,
                                          &command_camera_sim,
                                          NULL};

static void print_help(const struct command *c, FILE *out)
{
    fprintf(out, "Usage: snapshotd %s %s\n%s.\n", c->name, c->arguments, c->summary);
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
