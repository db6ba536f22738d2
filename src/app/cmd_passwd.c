#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "app/command.h"
#include "base/macros.h"
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

/* A line with its end and its NUL, one byte more than a password may have so that longer ones show.
 */
enum { LINE_MAX_BYTES = PASSWD_MAX + 3 };

static int ask(char *ret, size_t size);
static int read_line(char *ret, size_t size);

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

    char password[LINE_MAX_BYTES], hash[PASSWD_HASH_MAX], why[256];
    struct err e = {0};
    int status = isatty(STDIN_FILENO) ? ask(password, sizeof(password))
                                      : read_line(password, sizeof(password));
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

/* By read(2), because a stream would keep the password in its buffer. */
static int read_line(char *ret, size_t size)
{
    size_t used = 0;
    for (;;) {
        ssize_t n = read(STDIN_FILENO, ret + used, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return command_error(EXIT_FAILED, "cannot read the password: %s", strerror(errno));
        if (n == 0 || ret[used] == '\n')
            break;
        if (++used == size)
            return command_error(EXIT_FAILED, "a password has at most %d bytes", PASSWD_MAX);
    }
    if (used > 0 && ret[used - 1] == '\r')
        used--;
    ret[used] = '\0';
    return EXIT_DONE;
}

/* ---- on a terminal ---- */

static struct termios terminal; /* as it was, for the signal's handler */

static void on_signal(int number)
{
    /* Nobody shall be left with a terminal that shows nothing. */
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &terminal);
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static int ask_once(const char *prompt, char *ret, size_t size)
{
    (void)fputs(prompt, stderr);
    int status = read_line(ret, size);
    (void)fputs("\n", stderr);
    return status;
}

static int ask(char *ret, size_t size)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    char again[LINE_MAX_BYTES];
    if (tcgetattr(STDIN_FILENO, &terminal) < 0)
        return command_error(EXIT_FAILED, "cannot ask on this terminal: %s", strerror(errno));
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        (void)signal(signals[i], on_signal);
    struct termios silent = terminal;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent); /* a terminal that cannot shows it */
    int status = ask_once("Password: ", ret, size);
    if (status == EXIT_DONE)
        status = ask_once("Again: ", again, sizeof(again));
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &terminal);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        (void)signal(signals[i], SIG_DFL);
    if (status == EXIT_DONE && strcmp(ret, again) != 0)
        status = command_error(EXIT_FAILED, "the two are not the same");
    explicit_bzero(again, sizeof(again));
    return status;
}
