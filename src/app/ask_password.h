#pragma once
/* A password from whoever runs a command: twice on a terminal, which shows nothing of it, else a
 * line of standard input. Never an argument, which everybody on the machine could read. */

#include "sys/passwd.h"

/* A line with its end and its NUL, one byte more than a password may have so that longer ones show.
 */
enum { ASK_PASSWORD_MAX = PASSWD_MAX + 3 };

/* Returns an exit status, and has said what is wrong. The caller wipes what he got. */
int ask_password(char ret[ASK_PASSWORD_MAX]);
