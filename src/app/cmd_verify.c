/* snapshotd verify: compares the ledger with the files here and with what storages keep. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "app/command.h"
#include "app/options.h"
#include "base/mem.h"
#include "stage/verify.h"

enum { OPTION_DEEP = 0x3000, OPTION_REMOTE, OPTION_REPAIR };

static int run(int argc, char **argv);
static int verify(const struct app_config *config, struct verify_options *o, bool remote);
static int verify_with(struct verify_options *o, int storage_count);
static void print_line(void *arg, const char *text);

static const struct command_option option_rows[] = {
    {0, "deep", NULL, OPTION_DEEP, "reads every picture and compares its digests"},
    {0, "remote", NULL, OPTION_REMOTE, "asks each storage for each file that it should have"},
    {0, "repair", NULL, OPTION_REPAIR,
     "has missing copies with boxes drawn again, uploads again what a storage has lost, and "
     "deletes "
     "files that belong to no picture; without it nothing is changed"},
    APP_OPTION_ROWS,
    {0},
};

const struct command command_verify = {
    .name = "verify",
    .arguments = "[--deep] [--remote] [--repair] [-c FILE]",
    .summary = "compares the ledger with the pictures here and with what storages keep",
    .help = "Prints a line per finding. The daemon may run or not; what it changes at this moment\n"
            "is passed over. Repairs that need it are done when it runs.\n"
            "Exit status: 0 all is well, 1 there are findings, 2 wrong usage.\n",
    .options = option_rows,
    .run = run,
};

static int run(int argc, char **argv)
{
    struct app_options options = {0};
    struct verify_options o = {.stop_fd = -1, .line = print_line};
    bool remote = false;
    int opt;
    while ((opt = command_next_option(&command_verify, argc, argv)) != -1) {
        if (app_options_take(&options, opt, optarg))
            continue;
        switch (opt) {
        case OPTION_DEEP:
            o.deep = true;
            break;
        case OPTION_REMOTE:
            remote = true;
            break;
        case OPTION_REPAIR:
            o.repair = true;
            break;
        case 'h':
            return command_help(&command_verify);
        default:
            return command_usage(&command_verify, NULL);
        }
    }
    if (optind < argc)
        return command_usage(&command_verify, "unexpected \"%s\"", argv[optind]);
    AUTO(app_config) config = NULL;
    int status = app_options_load_or_say(&options, &config);
    return status == EXIT_DONE ? verify(config, &o, remote) : status;
}

/* Ctrl-C ends what waits for a server, too, and what was found is still counted. */
static int open_stop(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int verify(const struct app_config *config, struct verify_options *o, bool remote)
{
    AUTO(ledger) l = NULL;
    AUTO(store) s = NULL;
    AUTO_CLOSE int stop_fd = -1;
    struct storage *storages[STORAGES_MAX + 1] = {NULL};
    struct err e = {0};
    int status = app_options_open_data(config, &l, &s);
    if (status != EXIT_DONE)
        return status;
    if (remote && storage_open_all(config->storages, config->storage_count, config->cfg,
                                   config->app.data_dir, storages, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    stop_fd = open_stop();
    o->ledger = l;
    o->store = s;
    o->storages = storages;
    o->stop_fd = stop_fd;
    o->now = clock_wall();
    status = verify_with(o, remote ? (int)config->storage_count : -1);
    storage_close_all(storages);
    return status;
}

static int verify_with(struct verify_options *o, int storage_count)
{
    struct verify_report report;
    struct err e = {0};
    int r = verify_run(o, &report, &e);
    printf("%lld pictures, %.1f MB%s", (long long)report.pictures, (double)report.bytes / (1 << 20),
           o->deep ? " read" : "");
    if (storage_count >= 0)
        printf("; %lld files at %d storage%s", (long long)report.kept, storage_count,
               storage_count == 1 ? "" : "s");
    if (report.not_compared > 0)
        printf(", %lld more not compared (copies with boxes that are not here any more)",
               (long long)report.not_compared);
    printf(": %lld finding%s", (long long)report.findings, report.findings == 1 ? "" : "s");
    if (report.repaired > 0)
        printf(", %lld repaired or on the way", (long long)report.repaired);
    printf("\n");
    if (r < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    return report.findings > 0 ? EXIT_FAILED : EXIT_DONE;
}

static void print_line(void *arg UNUSED, const char *text)
{
    (void)puts(text);
}
