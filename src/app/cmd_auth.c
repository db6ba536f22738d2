/* snapshotd auth gdrive: a person lets this program into a Google Drive.
 *
 * The result is a file; a daemon that runs meanwhile finds it by itself. Nothing that is secret is
 * printed, the device code among it; what is printed is of no use without the person's consent. */

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/command.h"
#include "app/options.h"
#include "base/parse.h"
#include "base/text.h"
#include "storage/gdrive_config.h"
#include "storage/google_flow.h"
#include "sys/json.h"

static int run(int argc, char **argv);

enum { OPTION_CLIENT = 0x3000, OPTION_DEVICE, OPTION_LOOPBACK, OPTION_PASTE, OPTION_PORT };

static const struct command_option option_rows[] = {
    {0, "client", "FILE", OPTION_CLIENT,
     "the OAuth client, as downloaded from Google's console; without it [gdrive] "
     "client_secret_file, else the client of the login that is there"},
    {0, "device", NULL, OPTION_DEVICE, "type a code at google.com/device, on any machine"},
    {0, "loopback", NULL, OPTION_LOOPBACK, "a browser on this machine"},
    {0, "paste", NULL, OPTION_PASTE, "a browser elsewhere; paste the address that it ends at"},
    {0, "port", "PORT", OPTION_PORT, "for --loopback; without it any free one"},
    {'j', "json", NULL, 0, "one JSON object a line"},
    APP_OPTION_ROWS,
    {0},
};

static const struct command_verb verb_rows[] = {
    {"gdrive", "", "Google Drive"},
    {0},
};

const struct command command_auth = {
    .name = "auth",
    .arguments = "gdrive [--device | --loopback | --paste] [--client FILE] [-c FILE]",
    .summary = "logs in to Google Drive",
    .help =
        "Without --device, --loopback and --paste the client's type decides. The login is kept in\n"
        "[gdrive] creds_file; a running snapshotd takes it within a minute.\n"
        "Exit status: 0 logged in, 1 not, 2 wrong usage or configuration.\n",
    .options = option_rows,
    .verbs = verb_rows,
    .run = run,
};

struct auth {
    struct app_options options;
    const char *client_file;
    int way; /* enum google_way, or -1: the client decides */
    int port;
    bool json;
    const char *why_device; /* said before the code is shown; NULL = said */
};

static int take_options(struct auth *a, int argc, char **argv, bool *ret_end);
static int log_in(struct auth *a, const struct app_config *config);
static int find_client(const struct auth *a, const struct app_config *config,
                       struct google_client **ret, struct err *e);
static int keep(struct auth *a, const struct app_config *config, const struct google_client *client,
                const struct google_grant *grant);
static void say(const struct auth *a, json_t *event, const char *words);
static void tell_device_code(void *arg, const char *url, const char *code, int64_t expires_s);
static void tell_browser(void *arg, const char *url, int port);
static void tell_note(void *arg, const char *words);

static int run(int argc, char **argv)
{
    struct auth a = {.way = -1};
    bool end = false;
    int status = take_options(&a, argc, argv, &end);
    if (end)
        return status;
    AUTO(app_config) config = NULL;
    status = app_options_load_or_say(&a.options, &config);
    return status == EXIT_DONE ? log_in(&a, config) : status;
}

static int take_options(struct auth *a, int argc, char **argv, bool *ret_end)
{
    int64_t port = 0;
    int opt, ways = 0;
    *ret_end = true;
    while ((opt = command_next_option(&command_auth, argc, argv)) != -1) {
        if (app_options_take(&a->options, opt, optarg))
            continue;
        switch (opt) {
        case OPTION_CLIENT:
            a->client_file = optarg;
            break;
        case OPTION_DEVICE:
        case OPTION_LOOPBACK:
        case OPTION_PASTE:
            a->way = opt == OPTION_DEVICE     ? GOOGLE_WAY_DEVICE
                     : opt == OPTION_LOOPBACK ? GOOGLE_WAY_LOOPBACK
                                              : GOOGLE_WAY_PASTE;
            ways++;
            break;
        case OPTION_PORT:
            if (parse_int64(optarg, strlen(optarg), 1, 65535, &port) < 0)
                return command_usage(&command_auth, "\"%s\" is no port", optarg);
            a->port = (int)port;
            break;
        case 'j':
            a->json = true;
            break;
        case 'h':
            return command_help(&command_auth);
        default:
            return command_usage(&command_auth, NULL); /* getopt has said it */
        }
    }
    if (ways > 1)
        return command_usage(&command_auth, "one way at a time");
    if (optind + 1 != argc)
        return command_usage(&command_auth,
                             optind == argc ? "where to? Say gdrive" : "one place at a time");
    if (strcmp(argv[optind], "gdrive") != 0)
        return command_usage(&command_auth, "\"%s\" needs no login: gdrive alone does",
                             argv[optind]);
    *ret_end = false;
    return EXIT_DONE;
}

static void say_way(const struct auth *a, enum google_way way, const char *why)
{
    static const char *const words[GOOGLE_WAY_COUNT] = {
        [GOOGLE_WAY_DEVICE] = "by a code that is typed in a browser",
        [GOOGLE_WAY_LOOPBACK] = "by a browser that comes back to this machine",
        [GOOGLE_WAY_PASTE] = "by a browser whose last address is pasted here",
    };
    char line[512];
    (void)text_format(line, sizeof(line), "Logging in to Google Drive %s: %s.", words[way],
                      why); /* fits */
    say(a, json_pack("{s:s, s:s, s:s}", "event", "way", "way", google_way_names[way], "why", why),
        line);
}

static int log_in(struct auth *a, const struct app_config *config)
{
    AUTO(google_client) client = NULL;
    struct err e = {0};
    const char *why;
    if (find_client(a, config, &client, &e) < 0)
        return command_error(e.code == -ENOKEY ? EXIT_USAGE : EXIT_FAILED, "%s", e.text);
    enum google_way way = google_way_choose(client, &why);
    bool chosen = a->way >= 0;
    if (chosen) {
        way = (enum google_way)a->way;
        why = "as asked for";
    }
    if (way == GOOGLE_WAY_DEVICE)
        a->why_device = why;
    else
        say_way(a, way, why);

    const struct google_flow_talk talk = {
        .device_code = tell_device_code, .browser = tell_browser, .note = tell_note, .arg = a};
    struct google_flow_options o = {
        .client = client,
        .scope = GDRIVE_SCOPE,
        .auth_url = config->gdrive->auth_url,
        .token_url = config->gdrive->token_url,
        .device_url = config->gdrive->device_url,
        .port = a->port,
        .stop_fd = -1,
        .paste_fd = way == GOOGLE_WAY_PASTE || isatty(STDIN_FILENO) ? STDIN_FILENO : -1,
        .talk = &talk,
    };
    struct google_grant grant = {0};
    int r = google_flow_run(&o, way, &grant, &e);
    if (r == -EKEYREJECTED && !chosen && a->why_device) {
        say_way(a, GOOGLE_WAY_LOOPBACK,
                "the client is for a desktop, Google gives it no device codes");
        r = google_flow_run(&o, GOOGLE_WAY_LOOPBACK, &grant, &e);
    }
    if (r < 0)
        return command_error(EXIT_FAILED, "not logged in: %s", e.text);
    int status = keep(a, config, client, &grant);
    google_grant_done(&grant);
    return status;
}

/* The client of a login that is there, so that one that has ended is renewed without looking for a
 * file. */
static int client_of_login(const char *path, struct google_client **ret)
{
    AUTO(google_token) t = NULL;
    if (google_token_read(path, &t, NULL) < 0)
        return -ENOENT;
    AUTO_JSON json_t *keys = json_pack("{s:{s:s, s:s, s:s, s:[s]}}", "installed", "client_id",
                                       t->client_id, "client_secret", t->client_secret, "token_uri",
                                       t->token_uri, "redirect_uris", "http://localhost");
    AUTO_FREE char *text = js_text(keys);
    return google_client_parse(text, strlen(text), ret, NULL);
}

static int find_client(const struct auth *a, const struct app_config *config,
                       struct google_client **ret, struct err *e)
{
    const char *path = a->client_file ? a->client_file : config->gdrive->client_file;
    if (*path)
        return google_client_read(path, ret, e);
    const char *text = config->gdrive->client;
    if (*text) {
        int r = google_client_parse(text, strlen(text), ret, e);
        return r < 0 ? (void)err_prefix(e, "the OAuth client of [gdrive] client_secret"), r : 0;
    }
    if (client_of_login(config->gdrive_token_file, ret) == 0)
        return 0;
    return err_set(e, -ENOKEY, ERR_NEVER,
                   "no OAuth client is known: make one of the type \"Desktop app\" or \"TVs and "
                   "Limited Input devices\" in Google's console, download it as JSON, and name the "
                   "file by --client or as client_secret_file of [gdrive]");
}

/* ---- keeping it ---- */

struct owner {
    uid_t uid;
    gid_t gid;
    bool makes_folder;
};

/* Who logs in as root for a daemon that is somebody else gives him the file: whoever has the one
 * that it replaces, else the folder's owner. */
static struct owner owner_of(const char *path)
{
    char folder[PATH_MAX];
    struct stat st;
    if (stat(path, &st) == 0 && st.st_uid != 0)
        return (struct owner){st.st_uid, st.st_gid, false};
    (void)text_copy(folder, sizeof(folder), path); /* too long a path fails when it is written */
    for (int up = 0;; up++) {
        char *slash = strrchr(folder, '/');
        if (slash == folder)
            (void)text_copy(folder, sizeof(folder), "/");
        else if (slash)
            *slash = '\0';
        else
            (void)text_copy(folder, sizeof(folder), ".");
        if (stat(folder, &st) == 0)
            return (struct owner){st.st_uid, st.st_gid, up > 0};
        if (!slash || slash == folder)
            return (struct owner){geteuid(), getegid(), false};
    }
}

static int hand_over(const char *path, struct owner owner)
{
    char folder[PATH_MAX];
    if (geteuid() != 0 || owner.uid == 0)
        return EXIT_DONE;
    (void)text_copy(folder, sizeof(folder), path);
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    if (lchown(path, owner.uid, owner.gid) < 0 ||
        (owner.makes_folder && slash && lchown(folder, owner.uid, owner.gid) < 0))
        return command_error(EXIT_FAILED,
                             "logged in, but %s cannot be given to user %ld, who could not read it "
                             "now: %s; do it by `chown %ld %s`",
                             path, (long)owner.uid, strerror(errno), (long)owner.uid, path);
    return EXIT_DONE;
}

static bool has_scope(const char *granted, const char *scope)
{
    size_t len = strlen(scope);
    for (const char *p = strstr(granted, scope); p; p = strstr(p + 1, scope))
        if ((p == granted || p[-1] == ' ') && (p[len] == ' ' || p[len] == '\0'))
            return true;
    return false;
}

static int keep(struct auth *a, const struct app_config *config, const struct google_client *client,
                const struct google_grant *grant)
{
    static const char all_files[] = "https://www.googleapis.com/auth/drive";
    const char *path = config->gdrive_token_file;
    char line[PATH_MAX + 256], scope[512], span[TEXT_SPAN_MAX];
    struct err e = {0};
    (void)text_printable(grant->scope, strlen(grant->scope), scope, sizeof(scope));
    if (*grant->scope && !has_scope(grant->scope, GDRIVE_SCOPE) &&
        !has_scope(grant->scope, all_files))
        return command_error(EXIT_FAILED,
                             "not logged in: Google granted less than was asked for (%s): log in "
                             "again and leave the tick at Google Drive's files",
                             scope);
    AUTO(google_token) t = google_token_new(client, grant, GDRIVE_SCOPE, clock_wall());
    struct owner owner = owner_of(path);
    if (google_token_save(path, t, NULL, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    int status = hand_over(path, owner);
    if (status != EXIT_DONE)
        return status;

    (void)text_format(line, sizeof(line),
                      "Logged in, to %s.\nThe login is kept in %s; a running snapshotd takes it by "
                      "itself.",
                      has_scope(grant->scope, all_files) ? "all files of the account"
                                                         : "the files that this program makes",
                      path); /* fits */
    json_t *event = json_pack("{s:s, s:s, s:s}", "event", "done", "token_file", path, "scope",
                              *scope ? scope : GDRIVE_SCOPE);
    if (grant->refresh_expires_s >= 0)
        (void)json_object_set_new(event, "ends_in_s", json_integer(grant->refresh_expires_s));
    say(a, event, line);
    if (grant->refresh_expires_s >= 0) {
        (void)text_format(line, sizeof(line),
                          "This login ends in %s. If the app's consent screen is in \"Testing\", "
                          "publish it in Google's console and log in again: then it stays.",
                          text_span((double)grant->refresh_expires_s, span)); /* fits */
        tell_note(a, line);
    }
    if (*config->gdrive->service_file)
        tell_note(a, "It is not used while service_account_file of [gdrive] is "
                     "set.");
    return EXIT_DONE;
}

/* ---- talking ---- */

/* Takes the event. Flushed, because a person or a program waits for it. */
static void say(const struct auth *a, json_t *event, const char *words)
{
    AUTO_JSON json_t *j = event;
    AUTO_FREE char *line = js_text(j);
    (void)puts(a->json ? line : words);
    (void)fflush(stdout);
}

static void tell_device_code(void *arg, const char *url, const char *code, int64_t expires_s)
{
    struct auth *a = arg;
    say_way(a, GOOGLE_WAY_DEVICE, a->why_device);
    a->why_device = NULL;
    char where[512], what[128], span[TEXT_SPAN_MAX], line[1024];
    (void)text_printable(url, strlen(url), where, sizeof(where));
    (void)text_printable(code, strlen(code), what, sizeof(what));
    (void)text_format(line, sizeof(line),
                      "\n  Open   %s\n  Enter  %s\n\nThe code is good for %s. Waiting ...", where,
                      what, text_span((double)expires_s, span)); /* fits */
    say(arg,
        json_pack("{s:s, s:o, s:o, s:I}", "event", "device_code", "url", js_string(where), "code",
                  js_string(what), "expires_in", (json_int_t)expires_s),
        line);
}

static void tell_browser(void *arg, const char *url, int port)
{
    const struct auth *a = arg;
    AUTO_FREE char *words = NULL;
    bool terminal = isatty(STDIN_FILENO);
    int n =
        port == 0
            ? asprintf(&words,
                       "\nOpen in a browser:\n\n  %s\n\nAfter you have agreed it cannot open the "
                       "last page. Paste that page's whole address here:",
                       url)
            : asprintf(&words,
                       "\nOpen in a browser on this machine:\n\n  %s\n\nIs the browser on another "
                       "one? Then first forward the port from there,\n  ssh -L %d:127.0.0.1:%d "
                       "THIS-MACHINE\n%s\nWaiting ...",
                       url, port, port,
                       terminal ? "or paste here the whole address of the page that it cannot open."
                                : "or use --paste.");
    if (n < 0)
        words = NULL;
    say(a, json_pack("{s:s, s:s, s:i}", "event", "browser", "url", url, "port", port),
        words ? words : url);
}

static void tell_note(void *arg, const char *words)
{
    say(arg, json_pack("{s:s, s:o}", "event", "note", "text", js_string(words)), words);
}
