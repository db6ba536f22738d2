#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/command.h"
#include "app/options.h"
#include "base/mem.h"
#include "ledger/ledger_cloud.h"
#include "sys/tls_server.h"
#include "web/access_db.h"
#include "web/web_config.h"

static int run(int argc, char **argv);

static const struct command_option option_rows[] = {
    APP_OPTION_ROWS,
    {'q', "quiet", NULL, 0, "says nothing about a good one"},
    {0},
};

const struct command command_check = {
    .name = "check",
    .arguments = "[-c FILE] [FILE]",
    .summary = "validates the configuration and names all its faults",
    .options = option_rows,
    .operand = COMMAND_OPERAND_FILE,
    .run = run,
};

static void print_summary(const struct app_config *a, const char *warnings);
static int count_lines(const char *text);

static int run(int argc, char **argv)
{
    struct app_options o = {0};
    bool quiet = false;
    int opt;

    while ((opt = command_next_option(&command_check, argc, argv)) != -1) {
        if (app_options_take(&o, opt, optarg))
            continue;
        if (opt == 'h')
            return command_help(&command_check);
        if (opt != 'q')
            return command_usage(&command_check, NULL); /* getopt has said it */
        quiet = true;
    }
    /* A lone file name is what people try first. */
    if (optind + 1 == argc && !o.path)
        o.path = argv[optind++];
    if (optind < argc)
        return command_usage(&command_check, "unexpected \"%s\"", argv[optind]);

    AUTO(app_config) config = NULL;
    AUTO_FREE char *faults = NULL;
    AUTO_FREE char *warnings = NULL;
    const char *path = app_options_path(&o);
    int r = app_options_load(&o, &config, &faults, &warnings);
    if (r < 0) {
        int count = count_lines(faults);
        (void)fputs(faults ? faults : "out of memory\n", stderr);
        return command_error(EXIT_USAGE,
                             "%s: %d fault%s: correct %s; `snapshotd config "
                             "--reference` explains every key",
                             path ? path : "the configuration", count, count == 1 ? "" : "s",
                             count == 1 ? "it" : "them");
    }
    if (!quiet)
        print_summary(config, warnings);
    return EXIT_DONE;
}

static int count_lines(const char *text)
{
    int n = 0;

    for (; text && *text; text++)
        n += *text == '\n';
    return n;
}

/* --- the summary ------------------------------------------------------------------------------ */

static void print_access(const struct app_config *a, const struct web_config *web);
static void print_cameras(const struct app_config *a);
static void print_devices(const char *what, char letter, const struct app_device *list,
                          size_t count);
static void print_detection(const struct app_config *a);
static void print_ftp(const struct app_config *a);
static void print_secrets(const struct secrets_report *r);
static void print_warnings(const char *warnings);

static void print_summary(const struct app_config *a, const char *warnings)
{
    if (cfg_path(a->cfg))
        (void)printf("%s is good.\n\n", cfg_path(a->cfg));
    else
        (void)printf("There is no configuration file; these are the defaults.\n\n");
    (void)printf("  device     %s\n", a->app.device_name);
    print_cameras(a);
    print_devices("outputs", 'O', a->outputs, a->output_count);
    print_devices("inputs", 'I', a->inputs, a->input_count);
    print_detection(a);
    (void)printf("  pictures   in %s, ledger %s\n", a->store_path, a->ledger_path);
    const struct web_config *web = cfg_values(a->cfg, &web_cfg_section);
    (void)printf("  API        %s%s\n", web->enabled ? "http://" : "off",
                 web->enabled ? web->listen : "");
    if (web->enabled)
        print_access(a, web);
    print_ftp(a);
    print_secrets(&a->secrets);
    print_warnings(warnings);
}

/* Users are no part of the configuration; without one nobody comes in from elsewhere, which is what
 * somebody who has just opened the port wants to hear. */
static void print_access(const struct app_config *a, const struct web_config *web)
{
    AUTO_FREE char *path = xasprintf("%s/" ACCESS_DB_NAME, a->app.data_dir);
    AUTO(access_db) d = NULL;
    struct access_user one;
    struct err e = {0};
    bool there = access(path, F_OK) == 0;
    int users = 0;
    if (there && access_db_open(path, false, &d, &e) == 0)
        users = access_user_list(d, &one, 1, &e);
    bool remote = web->allow_remote || web->login == WEB_LOGIN_ALWAYS;
    if (there && (!d || users < 0))
        (void)printf("  users      cannot be read: %s\n", e.text);
    else if (remote && users == 0 && !web->proxy_user_header[0])
        (void)printf("  users      none, so nobody can log in: add one with 'snapshotd user add "
                     "NAME'\n");
    else if (users == 0)
        (void)printf("  users      none; whoever is at the machine needs no login\n");
    else
        (void)printf("  users      'snapshotd user list' shows them\n");
}

static void print_cameras(const struct app_config *a)
{
    size_t count = camera_set_count(a->cameras);

    if (count == 0)
        (void)printf("  cameras    none; add [camera:NAME] sections\n");
    for (size_t i = 0; i < count; i++) {
        const struct camera *cam = camera_set_at(a->cameras, i);
        (void)printf("  %-9s  %s: ", i == 0 ? "cameras" : "", cam->name);
        if (!cam->enabled)
            (void)printf("switched off\n");
        else if (strcmp(cam->kind, "push") == 0)
            (void)printf("pushes its pictures, into %s/%s/%s or by an FTP account of its own\n",
                         a->ftp_root, a->upload_dir, cam->directory);
        else if (!camera_is_fetchable(cam))
            (void)printf("no address yet: add a [camera:NAME] section with location = ...\n");
        else
            (void)printf("%s%s%s%s\n", cam->kind, *cam->address ? " at " : "", cam->address,
                         cam->interval_ms > 0 || cam->times ? ", by schedule" : "");
    }
}

static void print_devices(const char *what, char letter, const struct app_device *list,
                          size_t count)
{
    if (count == 0)
        return;
    (void)printf("  %-9s  ", what);
    for (size_t i = 0; i < count; i++)
        (void)printf("%s%s (%c%u)", i ? ", " : "", list[i].device_key, letter, list[i].number);
    (void)printf("\n");
}

static void print_budget(const char *name, int64_t spent, int64_t limit)
{
    if (limit > 0)
        (void)printf("%lld of %lld calls left this %s", (long long)MAX(limit - spent, (int64_t)0),
                     (long long)limit, name);
    else
        (void)printf("%lld call%s this %s and no limit", (long long)spent, spent == 1 ? "" : "s",
                     name);
}

/* What the ledger says was spent, without touching it. */
static void print_cloud(const struct app_config *a)
{
    struct cloud_spent s = {0};
    struct err e = {0};
    int r = ledger_cloud_peek(a->ledger_path, clock_wall(), &s, &e);

    (void)printf("  cloud      ");
    print_budget("day", s.day, a->cloud.calls_per_day);
    (void)printf(", ");
    print_budget("month", s.month, a->cloud.calls_per_month);
    (void)printf(" ([cloud]); about $%.2f so far\n",
                 (double)s.month * a->cloud.price_per_1000 / 1000);
    if (r < 0 && r != -ENOENT)
        (void)printf("             the ledger cannot tell: %s\n", e.text);
}

static void print_detection(const struct app_config *a)
{
    const struct detect_config *d = &a->detect;

    if (a->detection_off) {
        (void)printf("  detection  off: %s\n", a->detection_off);
        return;
    }
    (void)printf("  detection  %s, because %s\n", detect_mode_names[a->detect_mode], a->detect_why);
    if (detect_mode_has_local(a->detect_mode)) {
        (void)printf("             model %s", d->model);
        if (d->minimum_confidence > 0)
            (void)printf(", everything above %g", d->minimum_confidence);
        if (d->minimum_human_confidence > 0)
            (void)printf(", persons above %g", d->minimum_human_confidence);
        (void)printf("\n");
    }
    if (a->detect_mode == DETECT_CASCADE)
        (void)printf("             the cloud is asked when a person scores from %g to %g%s%s\n",
                     d->cascade_low, d->cascade_high,
                     d->cascade_labels && d->cascade_labels[0] ? ", or for cascade_labels" : "",
                     d->cascade_empty ? ", or nothing was found" : "");
    if (detect_mode_has_cloud(a->detect_mode))
        print_cloud(a);
}

static void print_secrets(const struct secrets_report *r)
{
    if (!r->used)
        return;
    (void)printf("  1Password  %d of %d values", r->answered + r->cached, r->wishes);
    if (r->cached)
        (void)printf(", %d of them from the cache", r->cached);
    (void)printf("\n");
    if (*r->trouble)
        (void)printf("             %s\n", r->trouble);
    if (*r->cache_trouble)
        (void)printf("             %s\n", r->cache_trouble);
}

static void print_account(const struct ftp_account *who)
{
    (void)printf("             %s: %s%s", who->name,
                 *who->directory ? who->directory : "the whole tree",
                 who->rights & FTP_RIGHT_STORE ? "" : ", nothing may be stored");
    if (who->camera)
        (void)printf(", pictures of %s", who->camera);
    (void)printf("\n");
}

/* As who runs this would listen: another user may have no right to port 21. */
static void print_ftp(const struct app_config *a)
{
    static const char *const tls[FTP_TLS_COUNT] = {[FTP_TLS_OFF] = "without TLS",
                                                   [FTP_TLS_OPTIONAL] = "TLS for who asks for it",
                                                   [FTP_TLS_REQUIRED] = "with TLS only"};
    struct ftp_listener places[FTP_LISTENERS_MAX];
    struct err e = {0};

    if (!a->ftp_runs) {
        (void)printf("  FTP        off%s\n",
                     a->ftp->enabled == FTP_ENABLED_NO
                         ? ""
                         : ": nobody may log in; add an [ftp_account:NAME]");
        return;
    }
    (void)printf("  FTP        ");
    int count = ftp_config_listeners(a->ftp, ftp_config_low_ports(), places, &e);
    for (int i = 0; i < count; i++)
        (void)printf("%s%s, ", places[i].tls ? "ftps://" : "ftp://", places[i].text);
    (void)printf("%s\n", count < 0 ? e.text : tls[ftp_config_tls(a->ftp)]);
    for (size_t i = 0; i < ftp_accounts_count(a->ftp_accounts); i++)
        print_account(ftp_accounts_at(a->ftp_accounts, i));
    AUTO(tls_server) t = NULL;
    if (ftp_config_tls(a->ftp) != FTP_TLS_OFF &&
        tls_server_new(a->ftp->tls_cert_file, a->ftp->tls_key_file, &t, &e) < 0)
        (void)printf("             TLS will not work: %s\n", e.text);
}

/* Warnings about what comes later are shortened to their keys and stand under one heading. */
static void print_warnings(const char *warnings)
{
    static const char later[] = ": " CFG_LATER_WORDS;

    for (int pass = 0; pass < 2 && warnings; pass++) {
        bool headed = false;
        for (const char *line = warnings; *line;) {
            size_t len = strcspn(line, "\n");
            bool is_later = len > strlen(later) &&
                            strncmp(line + len - strlen(later), later, strlen(later)) == 0;
            if (is_later == (pass == 0)) {
                if (!headed)
                    (void)printf("\n%s\n", pass == 0 ? "Accepted, but without effect until a later "
                                                       "release:"
                                                     : "Please look at:");
                headed = true;
                (void)printf("  %.*s\n", (int)(len - (is_later ? strlen(later) : 0)), line);
            }
            line += len + (line[len] == '\n');
        }
    }
}
