/* snapshotd star: gives pictures a star, or takes it away. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "app/client.h"
#include "app/command.h"
#include "base/text.h"
#include "ledger/ledger_upload.h"

#define PATIENCE_MS 15000

enum { OPTION_REMOVE = 0x3000 };

static int run(int argc, char **argv);

static const struct command_option option_rows[] = {
    {0, "remove", NULL, OPTION_REMOVE, "takes the star away"},
    CLIENT_OPTION_ROWS,
    {0},
};

const struct command command_star = {
    .name = "star",
    .arguments = "[--remove] [--url URL] [-c FILE] ID...",
    .summary = "gives pictures a star, so that they are kept, or takes it away",
    .help =
        "ID is that of the picture, 32 digits, as the API, the log and `snapshotd trigger --json`\n"
        "tell it. Without a running daemon the star is written into the ledger, and storages\n"
        "hear of it at the next start.\n"
        "Exit status: 0 done, 1 there is no such picture, 2 wrong usage.\n",
    .options = option_rows,
    .run = run,
};

static int star(const struct client_options *o, const struct client *c, const char *id,
                bool starred);
static int star_by_ledger(const struct client_options *o, const char *id, bool starred);
static int say(const char *id, bool starred);

static int run(int argc, char **argv)
{
    struct client_options options = {0};
    bool starred = true;
    int opt;
    while ((opt = command_next_option(&command_star, argc, argv)) != -1) {
        if (client_options_take(&options, opt, optarg))
            continue;
        switch (opt) {
        case OPTION_REMOVE:
            starred = false;
            break;
        case 'h':
            return command_help(&command_star);
        default:
            return command_usage(&command_star, NULL);
        }
    }
    if (optind == argc)
        return command_usage(&command_star, "which picture?");
    for (int i = optind; i < argc; i++)
        if (!snapshot_id_valid(argv[i]))
            return command_usage(&command_star, "\"%s\" is no id: right would be 32 digits 0-9a-f",
                                 argv[i]);
    struct client client;
    int status = client_find(&options, &client);
    for (int i = optind; i < argc && status != EXIT_USAGE; i++) {
        int one = star(&options, &client, argv[i], starred);
        status = status == EXIT_DONE ? one : status;
    }
    return status;
}

static int star(const struct client_options *o, const struct client *c, const char *id,
                bool starred)
{
    char path[96];
    struct client_answer answer;
    struct err e = {0};
    (void)text_format(path, sizeof(path), "/api/v1/snapshots/%s/%s", id,
                      starred ? "star" : "unstar"); /* fits */
    int r = client_call(c, "POST", path, PATIENCE_MS, &answer, &e);
    if (r == -ECONNREFUSED && o->url == NULL)
        return star_by_ledger(o, id, starred);
    if (r < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    client_answer_tame(&answer);
    int status = answer.status == 200
                     ? say(id, starred)
                     : command_error(EXIT_FAILED, "%s: %s", id, client_error_text(&answer));
    client_answer_done(&answer);
    return status;
}

static int star_by_ledger(const struct client_options *o, const char *id, bool starred)
{
    AUTO(app_config) config = NULL;
    AUTO(ledger) l = NULL;
    struct err e = {0};
    struct stat st;
    int status = app_options_load_or_say(&o->app, &config);
    if (status != EXIT_DONE)
        return status;
    if (stat(config->ledger_path, &st) < 0) /* opening would make it */
        return command_error(EXIT_FAILED, "no daemon answers, and ledger '%s': %s",
                             config->ledger_path, strerror(errno));
    if (ledger_open(config->ledger_path, &l, &e) < 0 ||
        ledger_snapshot_star(l, id, starred, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    return say(id, starred);
}

static int say(const char *id, bool starred)
{
    printf("%s: %s\n", id, starred ? "has a star" : "has no star");
    return EXIT_DONE;
}
