#pragma once
/* What commands that need the configuration have in common on their command line: -c FILE and --set
 * section.key=value. In an option loop:
 *
 *     static const struct command_option option_rows[] = {APP_OPTION_ROWS, {'j', "json", ...},
 * {0}}; while ((opt = command_next_option(&command_x, argc, argv)) != -1) if (!app_options_take(&o,
 * opt, optarg)) switch (opt) { ... }
 */

#include <getopt.h>

#include "app/command.h"
#include "app/config.h"
#include "ledger/store.h"

enum { APP_OPTION_SET = 0x1000, APP_SETTINGS_MAX = 256 };

struct app_options {
    const char *path;                           /* -c, or NULL; borrowed from argv */
    const char *settings[APP_SETTINGS_MAX + 1]; /* NULL-terminated; borrowed */
    size_t setting_count;
    /* How references to 1Password are resolved. */
    enum secrets_mode secrets;
    bool keeps_secrets; /* the daemon: its cache of them is written */
    int stop_fd;        /* readable ends the asking; 0 = none */
};

#define APP_OPTION_ROWS                                                                            \
    {'c', "config", "FILE", 0,                                                                     \
     "the configuration; without it the first of $SNAPSHOTD_CONFIG, ./snapshot-processor.conf, "   \
     "./config/app.conf and /etc/snapshot-processor/snapshot-processor.conf, else defaults"},      \
    {                                                                                              \
        0, "set", "SECTION.KEY=VALUE", APP_OPTION_SET, "overrides one value; may be given often"   \
    }

/* True when the option was one of these. */
bool app_options_take(struct app_options *o, int opt, const char *arg);

/* The file that will be read: -c, $SNAPSHOTD_CONFIG (also when missing), or the first of the usual
 * places that exists; NULL = none. */
const char *app_options_path(const struct app_options *o);

/* Loads and resolves. 0, or -EINVAL and others with the faults as text, a line each; the warnings
 * also on success. Texts are malloc()ed and NULL when empty; none may be NULL as a parameter. */
int app_options_load(const struct app_options *o, struct app_config **ret, char **ret_faults,
                     char **ret_warnings);
/* The same for commands: prints the faults to standard error. Returns an exit status (EXIT_DONE
 * with *ret, EXIT_USAGE without). Warnings are left to `check` and `run`. */
int app_options_load_or_say(const struct app_options *o, struct app_config **ret);
/* Opens what the daemon keeps, or says why not. Neither is made when it is not there. Returns an
 * exit status; the caller closes both whatever it is. */
int app_options_open_data(const struct app_config *config, struct ledger **l, struct store **s);
