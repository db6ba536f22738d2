#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/command.h"
#include "app/options.h"
#include "app/references.h"
#include "base/fsutil.h"
#include "base/text.h"
#include "secrets/env_file.h"
#include "secrets/op_connect.h"
#include "secrets/secret_item.h"

static int run(int argc, char **argv);

enum { OPTION_PROJECT = COMMAND_OPTION_ID, OPTION_FORMAT, OPTION_SHOW };

static const struct command_option option_rows[] = {
    {0, "project", "NAME", OPTION_PROJECT, "of item ENV.NAME; without it [app] app_name"},
    {'o', "output", "FILE", 0, "the file to write, mode 0600 (default .env); - prints it"},
    {0, "format", "systemd|docker", OPTION_FORMAT,
     "systemd (default; also for Docker Compose and shells) or docker (for docker run --env-file)"},
    {'y', "yes", NULL, 0, "does not ask before it writes"},
    {0, "show", NULL, OPTION_SHOW, "shows values, not only names"},
    APP_OPTION_ROWS,
    {0},
};

const struct command command_configure = {
    .name = "configure",
    .arguments = "[--project NAME] [--output FILE] [--yes] [-c FILE]",
    .summary = "writes the environment file from 1Password",
    .help = "The variables are the fields of the sections NAME and \"build\" of that item.\n",
    .options = option_rows,
    .run = run,
};

/* The other section that the predecessor takes. */
#define COMMON_SECTION "build"
#define HEAD                                                                                       \
    "# Written by `snapshotd configure`; the next call replaces it. Change the item in "           \
    "1Password.\n"

struct configure {
    struct app_options options;
    const char *project, *output;
    enum env_format format;
    bool yes, show;
};

struct filling {
    struct env_file *file;
    struct err *e;
    int r;
};

static int parse_options(int argc, char **argv, struct configure *c);
static int fetch(const struct configure *c, const struct app_config *config, struct env_file *ret,
                 struct err *e);
static int read_old(const struct configure *c, struct env_file *ret, bool *ret_there,
                    struct err *e);
static int show_difference(const struct configure *c, const struct env_file *old,
                           const struct env_file *new);
static int write_file(const struct configure *c, const struct env_file *new, bool there,
                      struct err *e);
static bool agreed(const struct configure *c);

static int run(int argc, char **argv)
{
    struct configure c = {.options.secrets = SECRETS_CACHE, .output = ".env"};
    AUTO(app_config) config = NULL;
    AUTO_DONE(env_file) old = {0}, new = {0};
    bool there = false;
    struct err e = {0};

    int status = parse_options(argc, argv, &c);
    if (status >= 0)
        return status;
    status = app_options_load_or_say(&c.options, &config);
    if (status != EXIT_DONE)
        return status;
    if (!c.project)
        c.project = config->app.app_name;
    if (fetch(&c, config, &new, &e) < 0 || read_old(&c, &old, &there, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    if (strcmp(c.output, "-") == 0)
        return write_file(&c, &new, false, &e) < 0 ? command_error(EXIT_FAILED, "%s", e.text)
                                                   : EXIT_DONE;
    int changes = show_difference(&c, &old, &new);
    if (there && changes == 0) {
        (void)printf("%s is up to date\n", c.output);
        if (chmod(c.output, 0600) < 0)
            return command_error(EXIT_FAILED, "%s: %s: it holds secrets, make it mode 0600",
                                 c.output, strerror(errno));
        return EXIT_DONE;
    }
    if (!agreed(&c))
        return command_error(EXIT_FAILED, "nothing was written%s",
                             isatty(STDIN_FILENO) ? ""
                                                  : ": there is no terminal to ask at; --yes "
                                                    "writes without asking");
    if (write_file(&c, &new, there, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    (void)printf("%s has %zu variables now\n", c.output, new.count);
    return EXIT_DONE;
}

/* Returns a status, or -1 to go on. */
static int parse_options(int argc, char **argv, struct configure *c)
{
    int opt;

    while ((opt = command_next_option(&command_configure, argc, argv)) != -1) {
        if (app_options_take(&c->options, opt, optarg))
            continue;
        switch (opt) {
        case OPTION_PROJECT:
            c->project = optarg;
            break;
        case 'o':
            c->output = optarg;
            break;
        case 'y':
            c->yes = true;
            break;
        case OPTION_SHOW:
            c->show = true;
            break;
        case OPTION_FORMAT:
            if (strcmp(optarg, "systemd") != 0 && strcmp(optarg, "docker") != 0)
                return command_usage(&command_configure, "--format takes systemd or docker");
            c->format = strcmp(optarg, "docker") == 0 ? ENV_DOCKER : ENV_SYSTEMD;
            break;
        case 'h':
            return command_help(&command_configure);
        default:
            return command_usage(&command_configure, NULL); /* getopt has said it */
        }
    }
    return optind < argc ? command_usage(&command_configure, "unexpected \"%s\"", argv[optind])
                         : -1;
}

/* ---- what 1Password has ---- */

static void take_field(void *arg, const char *label, const char *value)
{
    struct filling *x = arg;
    if (x->r == 0)
        x->r = env_file_set(x->file, label, value, x->e);
}

static int take_sections(const json_t *item, const char *project, struct env_file *ret,
                         struct err *e)
{
    struct filling x = {.file = ret, .e = e};
    struct err missing = {0};

    /* What both have is the project's. Few projects need the common one. */
    (void)secret_item_each(item, COMMON_SECTION, take_field, &x, &missing);
    int r = x.r < 0 ? x.r : secret_item_each(item, project, take_field, &x, e);
    return r < 0 ? r : x.r;
}

static int fetch(const struct configure *c, const struct app_config *config, struct env_file *ret,
                 struct err *e)
{
    struct secrets_access access;
    struct secrets_options o;
    AUTO(op_connect) connect = NULL;
    const json_t *item = NULL;
    char folder[PATH_MAX], name[SECRET_PATH_MAX];

    int r = references_options(config->cfg, &access, folder, sizeof(folder), &o, e);
    if (r < 0)
        return r;
    const struct op_connect_options co = {.host = o.host,
                                          .token = o.token,
                                          .vault = o.vault,
                                          .timeout_ms = o.timeout_ms,
                                          .deadline_ms = o.deadline_ms,
                                          .stop_fd = -1};
    if (text_format(name, sizeof(name), "ENV.%s", c->project) < 0)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "the project's name is too long");
    r = op_connect_new(&co, &connect, e);
    if (r == 0)
        r = op_connect_item(connect, NULL, name, &item, e);
    if (r == 0)
        r = take_sections(item, c->project, ret, e);
    explicit_bzero(access.token_buf, sizeof(access.token_buf));
    return r < 0 ? (void)err_prefix(e, "1Password: item \"%s\"", name), r : 0;
}

/* ---- what the file has ---- */

static int read_old(const struct configure *c, struct env_file *ret, bool *ret_there, struct err *e)
{
    AUTO(blob) text = NULL;

    if (strcmp(c->output, "-") == 0 || !fs_exists(AT_FDCWD, c->output))
        return 0;
    *ret_there = true;
    int r = fs_read_blob(AT_FDCWD, c->output, ENV_FILE_MAX, &text, e);
    if (r == 0)
        r = env_file_parse((const char *)text->data, text->size, c->format, ret, e);
    return r < 0 ? (void)err_prefix(e, "%s", c->output), r : 0;
}

static const char *shown(const struct configure *c, const char *value, char *buf, size_t size)
{
    if (!c->show)
        return *value ? "***" : "(empty)";
    return text_escape(value, strlen(value), buf, size);
}

static int show_difference(const struct configure *c, const struct env_file *old,
                           const struct env_file *new)
{
    char was[400], is[400];
    int changes = 0;

    for (size_t i = 0; i < new->count; i++) {
        const struct env_pair *p = &new->pairs[i];
        const char *before = env_file_get(old, p->name);
        if (before && strcmp(before, p->value) == 0)
            continue;
        changes++;
        if (before)
            (void)printf("  ~ %s=%s, was %s\n", p->name, shown(c, p->value, is, sizeof(is)),
                         shown(c, before, was, sizeof(was)));
        else
            (void)printf("  + %s=%s\n", p->name, shown(c, p->value, is, sizeof(is)));
    }
    for (size_t i = 0; i < old->count; i++) {
        if (env_file_get(new, old->pairs[i].name))
            continue;
        changes++;
        (void)printf("  - %s=%s\n", old->pairs[i].name,
                     shown(c, old->pairs[i].value, was, sizeof(was)));
    }
    return changes;
}

static bool agreed(const struct configure *c)
{
    char line[16];

    if (c->yes)
        return true;
    if (!isatty(STDIN_FILENO))
        return false;
    (void)printf("Write %s? [y/N] ", c->output);
    (void)fflush(stdout);
    return fgets(line, sizeof(line), stdin) && (*line == 'y' || *line == 'Y');
}

static int write_file(const struct configure *c, const struct env_file *new, bool there,
                      struct err *e)
{
    AUTO_DONE(dynbuf) out;
    struct stat st;

    dynbuf_init(&out, ENV_FILE_MAX);
    (void)dynbuf_puts(&out, HEAD);
    int r = env_file_write(new, c->format, &out, e);
    if (r == 0 && strcmp(c->output, "-") == 0)
        r = fs_write_all(STDOUT_FILENO, dynbuf_str(&out), out.len, e);
    else if (r == 0) {
        bool known = there && stat(c->output, &st) == 0;
        r = fs_replace(AT_FDCWD, c->output, dynbuf_str(&out), out.len, 0600, e);
        /* Who writes it as root for somebody else leaves it to him. */
        if (r == 0 && known && geteuid() == 0 && chown(c->output, st.st_uid, st.st_gid) < 0)
            r = err_errno(e, -errno, "%s", c->output);
    }
    if (out.data)
        explicit_bzero(out.data, out.cap);
    return r;
}
