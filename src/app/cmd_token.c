/* snapshotd token: lets programs in to the API. */

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "app/access_open.h"
#include "app/command.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "web/access_json.h"

static int run(int argc, char **argv);

static const struct command_option option_rows[] = {
    {'s', "scopes", "LIST", 0,
     "for add: what it may do, of read, trigger, push and manage with commas; without it read"},
    {'e', "expires", "SPAN", 0,
     "for add: how long it is good, such as 12h or 90d; without it until it is removed"},
    {'j', "json", NULL, 0, "for list: a JSON document"},
    APP_OPTION_ROWS,
    {0},
};

static const struct command_verb verb_rows[] = {
    {"add", "NAME", "makes a token and prints it, this once; NAME says what it is for"},
    {"list", "", "which tokens there are"},
    {"remove", "ID", "ends a token; ID as `list` shows it"},
    {0},
};

const struct command command_token = {
    .name = "token",
    .arguments = "add|list|remove [NAME|ID] [--scopes LIST] [-c FILE]",
    .summary = "lets programs in to the API",
    .help =
        "read looks, trigger asks cameras for pictures, push brings pictures, manage gives\n"
        "stars, deletes, and switches cameras. A program sends the token with each request, as\n"
        "`Authorization: Bearer TOKEN`; our own commands take it from $SNAPSHOTD_TOKEN. A\n"
        "running daemon knows of each change at once.\n"
        "Exit status: 0 done, 1 not, 2 wrong usage or configuration.\n",
    .options = option_rows,
    .verbs = verb_rows,
    .run = run,
};

#define EXPIRES_MAX_MS ((int64_t)3650 * 86400000)

struct ask {
    struct app_options options;
    unsigned scopes;
    int64_t expires_ms; /* 0 = never */
    bool json;
};

static int take_options(struct ask *a, int argc, char **argv, bool *ret_end);
static int add(const struct ask *a, const char *name);
static int list(const struct ask *a);
static int remove_one(const struct ask *a, const char *id);

static int run(int argc, char **argv)
{
    struct ask a = {.scopes = ACCESS_READ};
    bool end = false;
    int status = take_options(&a, argc, argv, &end);
    if (end)
        return status;
    int operands = argc - optind;
    const char *verb = operands > 0 ? argv[optind] : "";
    if (strcmp(verb, "add") == 0 && operands == 2)
        return add(&a, argv[optind + 1]);
    if (strcmp(verb, "list") == 0 && operands == 1)
        return list(&a);
    if (strcmp(verb, "remove") == 0 && operands == 2)
        return remove_one(&a, argv[optind + 1]);
    return command_usage(&command_token, "right would be add NAME, list, or remove ID");
}

static int take_options(struct ask *a, int argc, char **argv, bool *ret_end)
{
    struct err e = {0};
    int opt;
    *ret_end = true;
    while ((opt = command_next_option(&command_token, argc, argv)) != -1) {
        if (app_options_take(&a->options, opt, optarg))
            continue;
        switch (opt) {
        case 's':
            if (access_scopes_parse(optarg, &a->scopes, &e) < 0)
                return command_usage(&command_token, "--scopes: %s", e.text);
            break;
        case 'e':
            if (parse_duration_ms(optarg, strlen(optarg), 0, 1000, EXPIRES_MAX_MS, &a->expires_ms) <
                0)
                return command_usage(&command_token,
                                     "--expires %s: right would be a span such as 12h or 90d, at "
                                     "most 3650d",
                                     optarg);
            break;
        case 'j':
            a->json = true;
            break;
        case 'h':
            return command_help(&command_token);
        default:
            return command_usage(&command_token, NULL);
        }
    }
    *ret_end = false;
    return EXIT_DONE;
}

static int add(const struct ask *a, const char *name)
{
    AUTO(access_db) d = NULL;
    struct access_token t = {.scopes = a->scopes};
    struct err e = {0};
    char text[ACCESS_SECRET_MAX], scopes[ACCESS_SCOPES_TEXT_MAX], until[WALL_ISO_MAX];
    if (!access_name_valid(name))
        return command_usage(&command_token,
                             "\"%s\" is no name: right would be 1 to 64 letters, digits and . _ @ "
                             "-",
                             name);
    int status = access_open(&a->options, true, &d);
    if (status != EXIT_DONE)
        return status;
    (void)text_copy(t.name, sizeof(t.name), name); /* checked */
    if (a->expires_ms > 0)
        t.expires_at.us = clock_wall().us + a->expires_ms * 1000;
    if (access_token_add(d, &t, text, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    access_scopes_text(t.scopes, scopes);
    access_note(d, "token-add", "%s %s: %s", t.id, t.name, scopes);
    /* The token alone on standard output, for $(...). */
    fprintf(stderr, "token %s (%s) may %s, expires %s; it is not shown again:\n", t.id, t.name,
            scopes, access_time(t.expires_at, until));
    bool written = puts(text) >= 0 && fflush(stdout) == 0;
    explicit_bzero(text, sizeof(text));
    return written ? EXIT_DONE
                   : command_error(EXIT_FAILED, "cannot write to standard output: remove token %s",
                                   t.id);
}

static void print_token(const struct access_token *t)
{
    char scopes[ACCESS_SCOPES_TEXT_MAX], expires[WALL_ISO_MAX], used[WALL_ISO_MAX];
    bool over = t->expires_at.us && t->expires_at.us <= clock_wall().us;
    printf("%s  %-20s  %-24s  %-20s  %s\n", t->id, t->name, access_scopes_text(t->scopes, scopes),
           over ? "over" : access_time(t->expires_at, expires), access_time(t->used_at, used));
}

static int list(const struct ask *a)
{
    AUTO(access_db) d = NULL;
    AUTO_FREE struct access_token *tokens = xcalloc(ACCESS_TOKENS_MAX, sizeof(*tokens));
    struct err e = {0};
    int status = access_open(&a->options, false, &d);
    if (status != EXIT_DONE)
        return status;
    int count = d ? access_token_list(d, tokens, ACCESS_TOKENS_MAX, &e) : 0;
    if (count < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    if (a->json) {
        json_t *rows = json_array();
        for (int i = 0; i < count; i++)
            json_array_append_new(rows, access_token_json(&tokens[i]));
        return access_print_json("tokens", rows);
    }
    if (count == 0)
        printf("there is no token; 'snapshotd token add NAME' makes one\n");
    else
        printf("%-16s  %-20s  %-24s  %-20s  %s\n", "ID", "NAME", "SCOPES", "EXPIRES", "LAST USED");
    for (int i = 0; i < count; i++)
        print_token(&tokens[i]);
    return EXIT_DONE;
}

static int remove_one(const struct ask *a, const char *id)
{
    AUTO(access_db) d = NULL;
    struct err e = {0};
    int status = access_open(&a->options, false, &d);
    if (status != EXIT_DONE)
        return status;
    if (!d)
        return command_error(EXIT_FAILED, "there is no token '%s'", id);
    if (access_token_remove(d, id, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    access_note(d, "token-remove", "%s", id);
    printf("token %s is over\n", id);
    return EXIT_DONE;
}
