#include "app/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/command.h"
#include "app/references.h"

bool app_options_take(struct app_options *o, int opt, const char *arg)
{
    if (opt == 'c') {
        o->path = arg;
        return true;
    }
    if (opt != APP_OPTION_SET)
        return false;
    if (o->setting_count < APP_SETTINGS_MAX)
        o->settings[o->setting_count++] = arg;
    else
        (void)command_error(EXIT_USAGE,
                            "more than %d --set, the rest is ignored: put them into a file",
                            APP_SETTINGS_MAX);
    return true;
}

const char *app_options_path(const struct app_options *o)
{
    static const char *const places[] = {"./snapshot-processor.conf", "./config/app.conf",
                                         "/etc/snapshot-processor/snapshot-processor.conf"};
    const char *given = o->path ? o->path : getenv("SNAPSHOTD_CONFIG");

    if (given && *given)
        return given;
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (access(places[i], F_OK) == 0)
            return places[i];
    return NULL;
}

int app_options_load(const struct app_options *o, struct app_config **ret, char **ret_faults,
                     char **ret_warnings)
{
    struct references references = {
        .mode = o->secrets, .keeps = o->keeps_secrets, .stop_fd = o->stop_fd};
    struct cfg_source source = {.path = app_options_path(o),
                                .settings = o->settings,
                                .resolve = references_resolve,
                                .resolve_arg = &references};
    AUTO_FREE char *loading = NULL;
    AUTO_FREE char *resolving = NULL;
    AUTO(cfg) c = NULL;

    *ret_faults = *ret_warnings = NULL;
    int r = cfg_load(&app_schema, &source, &c, ret_faults, &loading);
    if (r == 0)
        r = app_config_resolve(c, ret, ret_faults, &resolving);
    if (r == 0)
        (*ret)->secrets = references.report;
    if ((loading || resolving) &&
        asprintf(ret_warnings, "%s%s", loading ? loading : "", resolving ? resolving : "") < 0)
        *ret_warnings = NULL;
    return r;
}

int app_options_load_or_say(const struct app_options *o, struct app_config **ret)
{
    AUTO_FREE char *faults = NULL;
    AUTO_FREE char *warnings = NULL;
    int r = app_options_load(o, ret, &faults, &warnings);

    if (r == 0) {
        (*ret)->warnings = STEAL(warnings);
        return EXIT_DONE;
    }
    (void)fputs(faults ? faults : "out of memory\n", stderr);
    return command_error(EXIT_USAGE, "the configuration is faulty: correct it; `snapshotd check` "
                                     "tests it, `snapshotd config --reference` explains it");
}

int app_options_open_data(const struct app_config *config, struct ledger **l, struct store **s)
{
    struct stat st;
    struct err e = {0};
    const char *const paths[] = {config->ledger_path, config->store_path};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        if (stat(paths[i], &st) < 0)
            return command_error(EXIT_FAILED, "'%s': %s: has the daemon run with this data_dir?",
                                 paths[i], strerror(errno));
    if (ledger_open(config->ledger_path, l, &e) < 0 ||
        store_open(config->store_path, config->store_reserve, s, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    return EXIT_DONE;
}
