#pragma once
/* One row per command of the binary. A command is one file cmd_<name>.c and one line in commands.c.
 * The rows of its options are all that is said about them: the parser, --help, snapshotd(1) and the
 * completion of the shells come out of them. */

#include <stddef.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum { COMMAND_OPTIONS_MAX = 64, COMMAND_OPTION_ID = 256 /* the first that is no letter */ };

struct command_option {
    char letter;          /* the short form, 0 = none */
    const char *name;     /* the long form, without dashes */
    const char *argument; /* NULL = takes none. Shells complete FILE, FOLDER, CAMERA, and words with
                             | between them */
    int id;               /* what command_next_option() answers; 0 = the letter */
    const char *help;     /* wrapped where it is printed; `...` marks what is typed */
};

/* What the first operand may be, when that is a word of ours. */
struct command_verb {
    const char *name;
    const char *arguments; /* behind it, or "" */
    const char *help;
};

enum command_operand {
    COMMAND_OPERAND_NONE,
    COMMAND_OPERAND_FILE,
    COMMAND_OPERAND_CAMERA,
    COMMAND_OPERAND_COUNT
};

struct command {
    const char *name;
    const char *arguments; /* usage behind the name, e.g. "[-c FILE] CAMERA" */
    const char *summary;   /* one line */
    const char *help; /* behind the options: lines for --help, blank lines between paragraphs */
    const struct command_option *options; /* the last has no name; --help is not among them */
    const struct command_verb *verbs;     /* likewise, or NULL */
    enum command_operand operand;         /* what shells complete, besides verbs */
    /* argv[0] is the command's name. Returns an exit status; writes errors itself by
     * command_error(). */
    int (*run)(int argc, char **argv);
};

extern const struct command command_run, command_check, command_config, command_detect,
    command_trigger, command_status, command_model, command_integrity, command_passwd,
    command_camera_sim, command_auth, command_star, command_prune, command_verify,
    command_directory, command_configure, command_completion, command_man, command_metrics,
    command_user, command_token;
extern const struct command *const commands[]; /* NULL-terminated, in the order of --help */

/* The next option of the command line: its id or letter, 'h' for --help, -1 behind the last, '?'
 * for one that there is not, which is said already. Its argument is in getopt's optarg. */
int command_next_option(const struct command *c, int argc, char **argv);
/* "-c, --config FILE" */
#define COMMAND_OPTION_TEXT_MAX 128
const char *command_option_text(const struct command_option *o, char buf[COMMAND_OPTION_TEXT_MAX]);

/* "snapshotd: what happened: why: what to do" on standard error; returns `status`. */
int command_error(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints usage to stdout (help) or a hint to stderr; used by option loops. */
int command_help(const struct command *c);
int command_usage(const struct command *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
