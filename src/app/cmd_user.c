/* snapshotd user: who may log in to the pages and the API. */

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "app/access_open.h"
#include "app/ask_password.h"
#include "app/command.h"
#include "base/mem.h"
#include "web/access_json.h"

static int run(int argc, char **argv);

static const struct command_option option_rows[] = {
    {'r', "role", "viewer|admin", 0,
     "for add: what the user may do; without it the first user is an admin and others viewers"},
    {'j', "json", NULL, 0, "for list: a JSON document"},
    APP_OPTION_ROWS,
    {0},
};

static const struct command_verb verb_rows[] = {
    {"add", "NAME", "adds a user and asks for the password"},
    {"list", "", "who there is"},
    {"role", "NAME viewer|admin", "changes what the user may do"},
    {"passwd", "NAME", "gives the user another password; his logins end"},
    {"remove", "NAME", "removes the user; his logins end"},
    {0},
};

const struct command command_user = {
    .name = "user",
    .arguments = "add|list|role|passwd|remove [NAME] [-c FILE]",
    .summary = "says who may log in to the pages and the API",
    .help =
        "A viewer looks; an admin may also ask cameras for pictures, give stars, delete, and "
        "change\n"
        "users and tokens. The password is asked for twice on a terminal, else it is a line of\n"
        "standard input. A running daemon knows of each change at once.\n"
        "Exit status: 0 done, 1 not, 2 wrong usage or configuration.\n",
    .options = option_rows,
    .verbs = verb_rows,
    .run = run,
};

struct ask {
    struct app_options options;
    const char *role; /* --role, or NULL */
    bool json;
    const char *verb, *name, *word; /* operands, or NULL */
};

static int take_options(struct ask *a, int argc, char **argv, bool *ret_end);
static int add(const struct ask *a);
static int list(const struct ask *a);
static int change_role(const struct ask *a);
static int change_password(const struct ask *a);
static int remove_one(const struct ask *a);

static const struct {
    const char *verb;
    int operands;
    int (*act)(const struct ask *a);
} acts[] = {{"add", 1, add},
            {"list", 0, list},
            {"role", 2, change_role},
            {"passwd", 1, change_password},
            {"remove", 1, remove_one}};

static int run(int argc, char **argv)
{
    struct ask a = {.role = NULL};
    bool end = false;
    int status = take_options(&a, argc, argv, &end);
    if (end)
        return status;
    int operands = argc - optind;
    if (operands == 0)
        return command_usage(&command_user, "what? add, list, role, passwd or remove");
    a.verb = argv[optind];
    a.name = operands > 1 ? argv[optind + 1] : NULL;
    a.word = operands > 2 ? argv[optind + 2] : NULL;
    for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
        if (strcmp(a.verb, acts[i].verb) != 0)
            continue;
        if (operands - 1 != acts[i].operands)
            return command_usage(&command_user, "%s takes %d more word%s", a.verb, acts[i].operands,
                                 acts[i].operands == 1 ? "" : "s");
        if (a.name && !access_name_valid(a.name))
            return command_usage(&command_user,
                                 "\"%s\" is no name: right would be 1 to 64 letters, digits and "
                                 ". _ @ -",
                                 a.name);
        return acts[i].act(&a);
    }
    return command_usage(&command_user, "\"%s\": right would be add, list, role, passwd or remove",
                         a.verb);
}

static int take_options(struct ask *a, int argc, char **argv, bool *ret_end)
{
    int opt;
    *ret_end = true;
    while ((opt = command_next_option(&command_user, argc, argv)) != -1) {
        if (app_options_take(&a->options, opt, optarg))
            continue;
        switch (opt) {
        case 'r':
            a->role = optarg;
            break;
        case 'j':
            a->json = true;
            break;
        case 'h':
            return command_help(&command_user);
        default:
            return command_usage(&command_user, NULL);
        }
    }
    if (a->role && access_role_find(a->role) == ACCESS_NOBODY)
        return command_usage(&command_user, "--role %s: right would be viewer or admin", a->role);
    *ret_end = false;
    return EXIT_DONE;
}

static int no_such(const char *name)
{
    return command_error(EXIT_FAILED, "there is no user '%s'", name);
}

/* A hash of the password that is asked for. */
static int ask_hash(const char *name, char ret[PASSWD_HASH_MAX])
{
    char password[ASK_PASSWORD_MAX];
    struct err e = {0};
    int status = ask_password(password);
    const char *why = status == EXIT_DONE ? access_password_fault(name, password) : NULL;
    if (why)
        status = command_error(EXIT_FAILED, "this password is not accepted: %s", why);
    else if (status == EXIT_DONE && passwd_hash(password, ret, &e) < 0)
        status = command_error(EXIT_FAILED, "%s", e.text);
    explicit_bzero(password, sizeof(password));
    return status;
}

static int role_of_new(struct access_db *d, const struct ask *a, enum access_role *ret)
{
    struct access_user one;
    struct err e = {0};
    if (a->role) {
        *ret = access_role_find(a->role);
        return EXIT_DONE;
    }
    int count = access_user_list(d, &one, 1, &e);
    if (count < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    *ret = count == 0 ? ACCESS_ADMIN : ACCESS_VIEWER;
    return EXIT_DONE;
}

static int add(const struct ask *a)
{
    AUTO(access_db) d = NULL;
    struct access_user u;
    struct err e = {0};
    enum access_role role = ACCESS_NOBODY;
    char hash[PASSWD_HASH_MAX];
    int status = access_open(&a->options, true, &d);
    if (status != EXIT_DONE)
        return status;
    if (access_user_get(d, a->name, &u, &e) == 0) /* before a password is typed for nothing */
        return command_error(EXIT_FAILED,
                             "there is a user '%s' already: 'snapshotd user passwd %s' gives "
                             "another password",
                             a->name, a->name);
    status = role_of_new(d, a, &role);
    if (status == EXIT_DONE)
        status = ask_hash(a->name, hash);
    if (status != EXIT_DONE)
        return status;
    if (access_user_add(d, a->name, role, hash, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    access_note(d, "user-add", "%s as %s", a->name, access_role_names[role]);
    printf("%s may log in now, as %s\n", a->name, access_role_names[role]);
    return EXIT_DONE;
}

static void print_user(const struct access_user *u)
{
    char created[WALL_ISO_MAX], login[WALL_ISO_MAX];
    printf("%-20s  %-6s  %-20s  %s\n", u->name, access_role_names[u->role],
           access_time(u->created_at, created), access_time(u->login_at, login));
}

static int list(const struct ask *a)
{
    AUTO(access_db) d = NULL;
    AUTO_FREE struct access_user *users = xcalloc(ACCESS_USERS_MAX, sizeof(*users));
    struct err e = {0};
    int status = access_open(&a->options, false, &d);
    if (status != EXIT_DONE)
        return status;
    int count = d ? access_user_list(d, users, ACCESS_USERS_MAX, &e) : 0;
    if (count < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    if (a->json) {
        json_t *rows = json_array();
        for (int i = 0; i < count; i++)
            json_array_append_new(rows, access_user_json(&users[i]));
        return access_print_json("users", rows);
    }
    if (count == 0)
        printf("nobody may log in yet; 'snapshotd user add NAME' changes that\n");
    else
        printf("%-20s  %-6s  %-20s  %s\n", "NAME", "ROLE", "CREATED", "LAST LOGIN");
    for (int i = 0; i < count; i++)
        print_user(&users[i]);
    return EXIT_DONE;
}

static int change_role(const struct ask *a)
{
    AUTO(access_db) d = NULL;
    struct err e = {0};
    enum access_role role = access_role_find(a->word);
    if (role == ACCESS_NOBODY)
        return command_usage(&command_user, "\"%s\": right would be viewer or admin", a->word);
    int status = access_open(&a->options, false, &d);
    if (status != EXIT_DONE)
        return status;
    if (!d)
        return no_such(a->name);
    if (access_user_change(d, a->name, role, NULL, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    access_note(d, "user-role", "%s as %s", a->name, a->word);
    printf("%s is %s now\n", a->name, role == ACCESS_ADMIN ? "an admin" : "a viewer");
    return EXIT_DONE;
}

static int change_password(const struct ask *a)
{
    AUTO(access_db) d = NULL;
    struct access_user u;
    struct err e = {0};
    char hash[PASSWD_HASH_MAX];
    int status = access_open(&a->options, false, &d);
    if (status != EXIT_DONE)
        return status;
    if (!d || access_user_get(d, a->name, &u, &e) < 0)
        return e.code ? command_error(EXIT_FAILED, "%s", e.text) : no_such(a->name);
    status = ask_hash(a->name, hash);
    if (status != EXIT_DONE)
        return status;
    if (access_user_change(d, a->name, ACCESS_NOBODY, hash, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    access_note(d, "user-password", "%s", a->name);
    printf("%s has a new password, and has to log in again\n", a->name);
    return EXIT_DONE;
}

static int remove_one(const struct ask *a)
{
    AUTO(access_db) d = NULL;
    struct err e = {0};
    int status = access_open(&a->options, false, &d);
    if (status != EXIT_DONE)
        return status;
    if (!d)
        return no_such(a->name);
    if (access_user_remove(d, a->name, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    access_note(d, "user-remove", "%s", a->name);
    printf("%s is no user any more\n", a->name);
    return EXIT_DONE;
}
