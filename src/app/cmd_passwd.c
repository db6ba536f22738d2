#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "app/ask_password.h"
#include "app/command.h"
#include "ftp/ftp_account.h"
#include "sys/passwd.h"

static int run(int argc, char **argv);

static const struct command_option option_rows[] = {
    {'u', "user", "NAME", 0, "refuses a password that is this user's name"},
    {0},
};

const struct command command_passwd = {
    .name = "passwd",
    .arguments = "[--user NAME]",
    .summary = "makes a hash of a password, for the configuration",
    .help =
        "Asks for it twice on a terminal, else reads one line from standard input. The hash goes\n"
        "to standard output; write it as `password` of [ftp] or [ftp_account:NAME].\n",
    .options = option_rows,
    .run = run,
};

static int run(int argc, char **argv)
{
    const char *user = NULL;
    int opt;
    while ((opt = command_next_option(&command_passwd, argc, argv)) != -1) {
        switch (opt) {
        case 'u':
            user = optarg;
            break;
        case 'h':
            return command_help(&command_passwd);
        default:
            return command_usage(&command_passwd, NULL); /* getopt has said it */
        }
    }
    if (optind < argc) /* on the command line everybody on the machine could read it */
        return command_usage(&command_passwd, "the password is read from standard input");

    char password[ASK_PASSWORD_MAX], hash[PASSWD_HASH_MAX], why[256];
    struct err e = {0};
    int status = ask_password(password);
    if (status != EXIT_DONE)
        return status;
    if (passwd_kind_of(password) == PASSWD_HASH)
        status = command_error(EXIT_FAILED, "that is a hash already: write it as it is");
    else if (!ftp_password_is_good(password, user, why, sizeof(why)))
        status = command_error(EXIT_FAILED, "this password is not accepted: %s", why);
    else if (passwd_hash(password, hash, &e) < 0)
        status = command_error(EXIT_FAILED, "%s", e.text);
    else if (puts(hash) < 0 || fflush(stdout) != 0)
        status = command_error(EXIT_FAILED, "cannot write to standard output");
    explicit_bzero(password, sizeof(password));
    return status;
}
