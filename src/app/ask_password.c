#include "app/ask_password.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "app/command.h"
#include "base/macros.h"

static int ask_twice(char *ret, size_t size);
static int read_line(char *ret, size_t size);

int ask_password(char ret[ASK_PASSWORD_MAX])
{
    return isatty(STDIN_FILENO) ? ask_twice(ret, ASK_PASSWORD_MAX)
                                : read_line(ret, ASK_PASSWORD_MAX);
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

static int ask_twice(char *ret, size_t size)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    char again[ASK_PASSWORD_MAX];
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
