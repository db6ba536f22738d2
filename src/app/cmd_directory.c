/* snapshotd directory: how the folders stand where pictures are kept, and the file that marks one.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/options.h"
#include "base/text.h"
#include "storage/directory.h"

enum { OPTION_MARK = 0x3000 };

static int run(int argc, char **argv);

static const struct command_option option_rows[] = {
    {0, "mark", NULL, OPTION_MARK,
     "makes the marker file in the folder of NAME, which says that it is the right one and not the "
     "empty one under a mount that is missing; look that it is before"},
    APP_OPTION_ROWS,
    {0},
};

const struct command command_directory = {
    .name = "directory",
    .arguments = "[--mark] [-c FILE] [NAME]",
    .summary = "says how the folders of [directory:NAME] stand, and marks one as the right one",
    .help = "Exit status: 0 pictures can go there, 1 they would wait, 2 wrong usage.\n",
    .options = option_rows,
    .run = run,
};

static int show(const struct directory_config *c, const char *name);
static int mark(const struct directory_config *c, const char *name);

static int run(int argc, char **argv)
{
    struct app_options o = {.secrets = SECRETS_CACHE};
    bool wants_mark = false;
    int opt;
    while ((opt = command_next_option(&command_directory, argc, argv)) != -1) {
        if (app_options_take(&o, opt, optarg))
            continue;
        switch (opt) {
        case OPTION_MARK:
            wants_mark = true;
            break;
        case 'h':
            return command_help(&command_directory);
        default:
            return command_usage(&command_directory, NULL);
        }
    }
    const char *wanted = optind < argc ? argv[optind] : NULL;
    if (optind + 1 < argc)
        return command_usage(&command_directory, "one folder at a time");
    if (wants_mark && wanted == NULL)
        return command_usage(&command_directory, "--mark of which folder?");
    AUTO(app_config) config = NULL;
    int status = app_options_load_or_say(&o, &config);
    if (status != EXIT_DONE)
        return status;
    size_t count = cfg_instance_count(config->cfg, &directory_cfg_section), found = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = cfg_instance_name(config->cfg, &directory_cfg_section, i);
        const struct directory_config *c =
            cfg_instance_values(config->cfg, &directory_cfg_section, i);
        if (wanted != NULL && strcmp(name, wanted) != 0)
            continue;
        int one = wants_mark ? mark(c, name) : show(c, name);
        status = status == EXIT_DONE ? one : status;
        found++;
    }
    if (wanted != NULL && found == 0)
        return command_error(EXIT_USAGE, "there is no [directory:%s] in the configuration", wanted);
    if (found == 0)
        printf("no [directory:NAME] is configured\n");
    return status;
}

static int show(const struct directory_config *c, const char *name)
{
    struct storage_failure f = {0};
    struct err e = {0};
    int64_t free_bytes = 0;
    if (directory_probe(c, &free_bytes, &f, &e) < 0)
        return command_error(EXIT_FAILED, "%s: %s", name, e.text);
    if (free_bytes < c->reserve)
        return command_error(EXIT_FAILED, "%s: folder '%s': full: %.1f GB free, %.1f GB are kept",
                             name, c->path, (double)free_bytes / (1 << 30),
                             (double)c->reserve / (1 << 30));
    printf("%s: %s: ready, %.1f GB free\n", name, c->path, (double)free_bytes / (1 << 30));
    return EXIT_DONE;
}

static int mark(const struct directory_config *c, const char *name)
{
    struct err e = {0};
    int r = directory_mark(c, &e);
    if (r < 0 && r != -EEXIST)
        return command_error(EXIT_FAILED, "%s: %s", name, e.text);
    printf("%s: %s %s %s\n", name, c->path, r == 0 ? "now holds" : "holds already", c->marker);
    return EXIT_DONE;
}
