#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/completion.h"

static int run(int argc, char **argv);

static const struct command_verb verb_rows[] = {
    {"bash", "", "for a file in /usr/share/bash-completion/completions, or to be sourced"},
    {"zsh", "", "for the file _snapshotd in a folder of $fpath, or to be sourced"},
    {"fish", "", "for the file snapshotd.fish in ~/.config/fish/completions"},
    {0},
};

const struct command command_completion = {
    .name = "completion",
    .arguments = "bash|zsh|fish",
    .summary = "prints a script that makes a shell complete commands, options and cameras",
    .help = "For the shell of this moment: `source <(snapshotd completion bash)`. An installation\n"
            "has the scripts in place already.\n",
    .verbs = verb_rows,
    .run = run,
};

/* Far above what all rows need. */
enum { SCRIPT_MAX = 1 << 18 };

static int run(int argc, char **argv)
{
    int opt;
    while ((opt = command_next_option(&command_completion, argc, argv)) != -1) {
        if (opt == 'h')
            return command_help(&command_completion);
        return command_usage(&command_completion, NULL);
    }
    if (optind + 1 != argc)
        return command_usage(&command_completion, "for which shell? bash, zsh or fish");
    for (const struct completion_shell *s = completion_shells; s->name; s++) {
        if (strcmp(s->name, argv[optind]) != 0)
            continue;
        AUTO_DONE(dynbuf) text = {0};
        dynbuf_init(&text, SCRIPT_MAX);
        s->write(&text);
        if (text.failed || fputs(dynbuf_str(&text), stdout) < 0 || fflush(stdout) != 0)
            return command_error(EXIT_FAILED, "the script could not be written");
        return EXIT_DONE;
    }
    return command_usage(&command_completion, "there is no script for \"%s\": bash, zsh or fish",
                         argv[optind]);
}
