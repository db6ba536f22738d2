#pragma once
/* One row per command of the binary. A command is one file cmd_<name>.c and one line in commands.c.
 */

#include <stddef.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct command {
    const char *name;
    const char *arguments; /* usage behind the name, e.g. "[-c FILE] CAMERA" */
    const char *summary;   /* one line */
    const char *help;      /* options, one a line, for --help */
    /* argv[0] is the command's name. Returns an exit status; writes errors itself by
     * command_error(). */
    int (*run)(int argc, char **argv);
};

extern const struct command command_run, command_check, command_config, command_detect,
    command_trigger, command_status, command_model, command_integrity, command_passwd,
    command_camera_sim, command_auth, command_star, command_prune, command_verify,
    command_directory, command_metrics;
extern const struct command *const commands[]; /* NULL-terminated, in the order of --help */
/* "snapshotd: what happened: why: what to do" on standard error; returns `status`. */
int command_error(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints usage to stdout (help) or a hint to stderr; used by getopt loops. */
int command_help(const struct command *c);
int command_usage(const struct command *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
