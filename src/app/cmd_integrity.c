#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "app/command.h"
#include "app/options.h"
#include "ledger/store.h"

/* A report longer than this says enough; the count goes on. */
#define REPORT_MAX (1024 * 1024)

static int run(int argc, char **argv);

enum { OPTION_DATABASE = 0x3000, OPTION_STORE, OPTION_RESCUE };

static const struct command_option option_rows[] = {
    APP_OPTION_ROWS,
    {0, "database", "FILE", OPTION_DATABASE, "this ledger instead of the configured one"},
    {0, "store", "FOLDER", OPTION_STORE,
     "its pictures; without it the folder store beside the ledger"},
    {0, "rescue", "NEW", OPTION_RESCUE,
     "writes what can still be read of a damaged ledger to the file NEW"},
    {0},
};

const struct command command_integrity = {
    .name = "integrity",
    .arguments = "[-c FILE | --database FILE [--store FOLDER]] [--rescue NEW]",
    .summary = "looks for damage in the ledger, and for pictures and rows that lost each other",
    .help =
        "Prints a line per finding. Exit status 0: all is well; 1: there are findings. While the\n"
        "daemon runs, a picture that is just being moved may be reported: look a second time.\n",
    .options = option_rows,
    .run = run,
};

static int rescue(const char *database, const char *to);
static int check(const char *database, const char *store_path);
static int check_all(struct ledger *l, const char *store_path, struct dynbuf *report,
                     struct err *e);
static bool is_folder(const char *path);

static int run(int argc, char **argv)
{
    struct app_options o = {.secrets = SECRETS_CACHE};
    const char *database = NULL, *store_path = NULL, *rescue_to = NULL;
    int opt;
    while ((opt = command_next_option(&command_integrity, argc, argv)) != -1) {
        if (app_options_take(&o, opt, optarg))
            continue;
        switch (opt) {
        case OPTION_DATABASE:
            database = optarg;
            break;
        case OPTION_STORE:
            store_path = optarg;
            break;
        case OPTION_RESCUE:
            rescue_to = optarg;
            break;
        case 'h':
            return command_help(&command_integrity);
        default:
            return command_usage(&command_integrity, NULL); /* getopt has said it */
        }
    }
    if (optind < argc)
        return command_usage(&command_integrity, "unexpected \"%s\"", argv[optind]);
    if (database != NULL && rescue_to != NULL)
        return rescue(database, rescue_to);
    if (database != NULL) {
        AUTO_FREE char *beside = NULL;
        const char *slash = strrchr(database, '/');
        int folder_len = slash != NULL ? (int)(slash - database) + 1 : 0;
        if (store_path == NULL && asprintf(&beside, "%.*sstore", folder_len, database) < 0)
            return command_error(EXIT_FAILED, "out of memory");
        return check(database, store_path != NULL ? store_path : beside);
    }
    AUTO(app_config) config = NULL;
    int status = app_options_load_or_say(&o, &config);
    if (status != EXIT_DONE)
        return status;
    if (rescue_to != NULL)
        return rescue(config->ledger_path, rescue_to);
    return check(config->ledger_path, store_path != NULL ? store_path : config->store_path);
}

static int rescue(const char *database, const char *to)
{
    struct err e = {0};
    struct ledger_rescue saved;
    if (ledger_rescue(database, to, &saved, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    (void)printf("%s: saved %lld pictures, %lld rows in all; %lld places could not be read\n", to,
                 (long long)saved.snapshots, (long long)saved.rows, (long long)saved.gaps);
    return EXIT_DONE;
}

static int check(const char *database, const char *store_path)
{
    struct err e = {0};
    AUTO(ledger) l = NULL;
    struct stat st;
    if (stat(database, &st) < 0) /* opening would make it */
        return command_error(EXIT_FAILED, "ledger '%s': %s", database, strerror(errno));
    if (ledger_open(database, &l, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    AUTO_DONE(dynbuf) report;
    dynbuf_init(&report, REPORT_MAX);
    int findings = check_all(l, store_path, &report, &e);
    (void)fputs(dynbuf_str(&report), stdout);
    if (findings < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    if (findings > 0)
        return command_error(EXIT_FAILED, "ledger '%s': %d finding%s", database, findings,
                             findings == 1 ? "" : "s");
    struct ledger_counts c;
    if (ledger_counts(l, &c, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    (void)printf("%s: no damage, %lld pictures\n", database, (long long)c.snapshots);
    return EXIT_DONE;
}

static int check_all(struct ledger *l, const char *store_path, struct dynbuf *report, struct err *e)
{
    int rows = ledger_integrity(l, report, e);
    if (rows < 0)
        return rows;
    if (!is_folder(store_path)) { /* opening would make it */
        struct ledger_counts c;
        int r = ledger_counts(l, &c, e);
        if (r < 0)
            return r;
        if (c.snapshots == 0)
            return rows;
        (void)dynbuf_printf(report, "folder %s with the pictures is missing\n", store_path);
        return rows + 1;
    }
    AUTO(store) s = NULL;
    int r = store_open(store_path, 0, &s, e);
    if (r < 0)
        return r;
    int files = store_check(s, l, report, e);
    return files < 0 ? files : rows + files;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}
