/* snapshotd prune: removes old pictures now, by the rules of [retention] or older than one says. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/options.h"
#include "base/parse.h"
#include "base/text.h"
#include "stage/retention.h"
#include "stage/spool_config.h"
#include "sys/json.h"

#define YEARS_20_MS (20 * 365 * (int64_t)86400 * 1000)

enum { OPTION_DRY_RUN = 0x3000, OPTION_OLDER_THAN, OPTION_FORGET_STORAGE };

struct listing {
    bool json;
    int64_t count;
};

static int run(int argc, char **argv);
static int prune(const struct app_config *config, int64_t older_than_ms, bool dry_run, bool verbose,
                 bool json);
static void list_picture(void *arg, enum retention_rule rule, const struct snapshot *s);
static int forget_storage(const struct app_config *config, const char *name);
static int say(const struct retention_report *report, bool dry_run, bool json);

static const struct command_option option_rows[] = {
    {0, "dry-run", NULL, OPTION_DRY_RUN,
     "removes nothing: says what would go, by each rule of [retention]"},
    {0, "older-than", "AGE", OPTION_OLDER_THAN,
     "all without a star that are so old (12h, 7d ...), instead of what the rules say"},
    {'v', "verbose", NULL, 0, "a line for each picture, too: the rule, its id, its file"},
    {'j', "json", NULL, 0, "one JSON object"},
    {0, "forget-storage", "NAME", OPTION_FORGET_STORAGE,
     "what waits for a storage (gdrive, s3:NAME ...) that is not configured any more waits no "
     "longer, and what it has is forgotten; removes no picture"},
    APP_OPTION_ROWS,
    {0},
};

const struct command command_prune = {
    .name = "prune",
    .arguments = "[--dry-run] [--older-than AGE] [--verbose] [--json] [-c FILE] | "
                 "--forget-storage NAME",
    .summary = "removes old pictures from this machine now",
    .help = "What has not reached all it should (events, storages) stays, and so do pictures with\n"
            "a star unless a rule is for them. The daemon may run or not.\n"
            "Exit status: 0 done, 1 something could not be removed, 2 wrong usage.\n",
    .options = option_rows,
    .run = run,
};

static int run(int argc, char **argv)
{
    struct app_options o = {.secrets = SECRETS_CACHE};
    bool dry_run = false, verbose = false, json = false;
    const char *storage = NULL;
    int64_t older_than_ms = 0;
    int opt;
    while ((opt = command_next_option(&command_prune, argc, argv)) != -1) {
        if (app_options_take(&o, opt, optarg))
            continue;
        switch (opt) {
        case OPTION_DRY_RUN:
            dry_run = true;
            break;
        case OPTION_OLDER_THAN:
            if (parse_duration_ms(optarg, strlen(optarg), 0, 1, YEARS_20_MS, &older_than_ms) < 0)
                return command_usage(&command_prune,
                                     "--older-than %s: right would be a time such as 12h or 7d",
                                     optarg);
            break;
        case OPTION_FORGET_STORAGE:
            storage = optarg;
            break;
        case 'v':
            verbose = true;
            break;
        case 'j':
            json = true;
            break;
        case 'h':
            return command_help(&command_prune);
        default:
            return command_usage(&command_prune, NULL);
        }
    }
    if (optind < argc)
        return command_usage(&command_prune, "unexpected \"%s\"", argv[optind]);
    AUTO(app_config) config = NULL;
    int status = app_options_load_or_say(&o, &config);
    if (status != EXIT_DONE)
        return status;
    if (storage != NULL)
        return forget_storage(config, storage);
    return prune(config, older_than_ms, dry_run, verbose, json);
}

/* What has not reached all it should never goes by hand: that is for the daemon in need, which
 * looks whether the disk gets room. */
static int prune(const struct app_config *config, int64_t older_than_ms, bool dry_run, bool verbose,
                 bool json)
{
    const struct retention_config *rules = cfg_values(config->cfg, &retention_cfg_section);
    struct retention_config one = {
        .age_ms = {[RETENTION_PLAIN] = older_than_ms, [RETENTION_PERSON] = older_than_ms}};
    bool only_ages = older_than_ms != 0;
    AUTO(ledger) l = NULL;
    AUTO(store) s = NULL;
    AUTO(thumbnails) small = NULL;
    struct err e = {0};
    struct retention_report report;
    struct listing listing = {.json = json};
    int status = app_options_open_data(config, &l, &s);
    if (status != EXIT_DONE)
        return status;
    (void)thumbnails_open(config->thumbnails_path, 0, 0, &small, NULL); /* there may be none */
    struct retention_options o = {
        .ledger = l,
        .store = s,
        .thumbnails = small,
        .config = only_ages ? &one : rules,
        .reserve = config->store_reserve,
        .keeps_files = spool_config_keeps_files(config->spool_folders, config->spool_folder_count),
        .without = only_ages ? RETENTION_BITS_ALL & ~RETENTION_BITS_AGES
                             : RETENTION_BIT(RETENTION_RULE_FILLING),
        .dry_run = dry_run,
        .now = clock_wall(),
        .picture = verbose ? list_picture : NULL,
        .arg = &listing};
    if (json)
        printf("{\"dry_run\":%s,%s", dry_run ? "true" : "false", verbose ? "\"pictures\":[" : "");
    int r = retention_run(&o, &report, &e);
    if (json && verbose)
        printf("],");
    status = say(&report, dry_run, json);
    return r < 0 ? command_error(EXIT_FAILED, "%s", e.text) : status;
}

static int forget_storage(const struct app_config *config, const char *name)
{
    AUTO(ledger) l = NULL;
    AUTO(store) s = NULL;
    struct err e = {0};
    for (size_t i = 0; i < config->storage_count; i++)
        if (strcmp(config->storages[i].name, name) == 0)
            return command_error(EXIT_USAGE,
                                 "%s is configured: take it out of the configuration first, and "
                                 "restart the daemon",
                                 name);
    int status = app_options_open_data(config, &l, &s);
    if (status != EXIT_DONE)
        return status;
    int waiting = ledger_upload_forget(l, name, &e);
    if (waiting == -ENOENT)
        return command_error(EXIT_FAILED, "nothing was ever to be kept in %s", name);
    if (waiting < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    printf("%s: forgotten; %d files waited for it\n", name, waiting);
    return EXIT_DONE;
}

/* At once: there may be more than anybody wants to hold. */
static void list_picture(void *arg, enum retention_rule rule, const struct snapshot *s)
{
    struct listing *l = arg;
    if (l->json) {
        AUTO_JSON json_t *j = json_pack("{s:s,s:s,s:o}", "rule", retention_rule_names[rule], "id",
                                        s->id, "path", js_string(s->path));
        AUTO_FREE char *text = j != NULL ? js_text(j) : NULL;
        printf("%s%s", l->count > 0 ? "," : "", text != NULL ? text : "null");
    } else {
        char path[SNAPSHOT_PATH_MAX];
        (void)text_printable(s->path, strlen(s->path), path, sizeof(path));
        printf("%-20s %s %s\n", retention_rule_names[rule], s->id, path);
    }
    l->count++;
}

static int say_json(const struct retention_report *report)
{
    printf("\"rules\":{");
    for (int i = 0; i < RETENTION_RULE_COUNT; i++)
        printf("%s\"%s\":{\"pictures\":%lld,\"bytes\":%lld}", i > 0 ? "," : "",
               retention_rule_names[i], (long long)report->files[i], (long long)report->bytes[i]);
    printf("},\"failed\":%lld}\n", (long long)report->failed);
    return report->failed > 0 ? EXIT_FAILED : EXIT_DONE;
}

static int say(const struct retention_report *report, bool dry_run, bool json)
{
    int64_t files = 0, bytes = 0;
    if (json)
        return say_json(report);
    for (int i = 0; i < RETENTION_RULE_COUNT; i++) {
        if (report->files[i] == 0)
            continue;
        if (i == RETENTION_RULE_HISTORY) {
            printf("%-20s %8lld rows of removed pictures\n", retention_rule_names[i],
                   (long long)report->files[i]);
            continue;
        }
        printf("%-20s %8lld pictures %10.1f MB\n", retention_rule_names[i],
               (long long)report->files[i], (double)report->bytes[i] / (1 << 20));
        files += report->files[i];
        bytes += report->bytes[i];
    }
    printf("%s %lld pictures, %.1f MB\n", dry_run ? "would remove" : "removed", (long long)files,
           (double)bytes / (1 << 20));
    if (report->failed > 0)
        return command_error(EXIT_FAILED, "%lld files could not be removed: %s",
                             (long long)report->failed, report->failure);
    return EXIT_DONE;
}
