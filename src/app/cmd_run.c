#include "app/command.h"
#include "app/daemon.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static int run(int argc, char **argv);

static const struct command_option option_rows[] = {
    APP_OPTION_ROWS,
    {0},
};

const struct command command_run = {
    .name = "run",
    .arguments = "[-c FILE] [--set SECTION.KEY=VALUE]...",
    .summary = "the daemon, in the foreground",
    .help = "Signals: TERM and INT end in order (twice: at once), HUP reads the configuration\n"
            "again, USR1 switches debug lines on and off.\n",
    .options = option_rows,
    .run = run,
};

static int run(int argc, char **argv)
{
    struct app_options options = {.keeps_secrets = true};
    int opt;
    while ((opt = command_next_option(&command_run, argc, argv)) != -1) {
        if (app_options_take(&options, opt, optarg))
            continue;
        if (opt == 'h')
            return command_help(&command_run);
        return command_usage(&command_run, NULL);
    }
    if (optind < argc)
        return command_usage(&command_run, "unexpected argument \"%s\"", argv[optind]);
    AUTO(app_config) config = NULL;
    int status = app_options_load_or_say(&options, &config);
    return status == EXIT_DONE ? daemon_run(&config, &options) : status;
}
