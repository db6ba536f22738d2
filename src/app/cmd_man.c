#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/config.h"
#include "app/manual.h"
#include "app/version.h"

static int run(int argc, char **argv);

static const struct command_verb verb_rows[] = {
    {"snapshotd", "", "the commands, section 1; without a name it is this"},
    {"snapshotd.conf", "", "the configuration, section 5"},
    {0},
};

const struct command command_man = {
    .name = "man",
    .arguments = "[PAGE]",
    .summary = "prints a manual page, for man -l",
    .help = "As in `snapshotd man | man -l -`. An installation has the pages already.\n",
    .verbs = verb_rows,
    .run = run,
};

/* Far above what all rows need. */
enum { PAGE_MAX = 1 << 20 };

static int run(int argc, char **argv)
{
    int opt;
    while ((opt = command_next_option(&command_man, argc, argv)) != -1) {
        if (opt == 'h')
            return command_help(&command_man);
        return command_usage(&command_man, NULL);
    }
    const char *page = optind < argc ? argv[optind] : "snapshotd";
    if (optind + 1 < argc)
        return command_usage(&command_man, "one page at a time");
    AUTO_DONE(dynbuf) text = {0};
    dynbuf_init(&text, PAGE_MAX);
    int r = -ENOENT;
    if (strcmp(page, "snapshotd") == 0)
        r = manual_write(&text);
    else if (strcmp(page, "snapshotd.conf") == 0)
        r = cfg_write_manual(&app_schema, page, SNAPSHOTD_VERSION, &text);
    if (r == -ENOENT)
        return command_usage(&command_man, "there is no page \"%s\"", page);
    if (r < 0 || fputs(dynbuf_str(&text), stdout) < 0 || fflush(stdout) != 0)
        return command_error(EXIT_FAILED, "the page could not be written");
    return EXIT_DONE;
}
