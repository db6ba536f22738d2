#pragma once
/* What the program gives up for good, so that whoever gets into it by a camera's bytes gets little.
 *
 * sandbox_drop_rights() comes first, before there are threads: no program that is started can have
 * more rights than this one (no_new_privs), and of the capabilities only the one for low ports
 * stays, if it was there. sandbox_close() comes when all is loaded: a seccomp filter over all
 * threads, also those of libraries. Three lists decide, see sandbox.c:
 *
 *   allowed   what a server of files and sockets needs
 *   refused   EPERM: what a program may try in good faith and go on without
 *   fatal     the process ends by SIGSYS: what only an intruder asks for
 *
 * Everything else is ENOSYS, for which libraries have an answer since it is what old kernels say.
 * Nothing of this can be taken back. Main thread. */

#include <stdbool.h>

#include "base/err.h"

/* Returns 0, or negative when the kernel does not know how; then nothing has changed. */
int sandbox_drop_rights(struct err *e);

/* A core has passwords and pictures in it: there is none, and one that goes to a program all the
 * same (a pipe as core_pattern does not ask for the limit) has no memory in it. */
void sandbox_leave_no_core(void);

enum sandbox_programs {
    SANDBOX_NO_PROGRAMS,  /* execve is fatal, fork refused, and memory never both writable and code
                           */
    SANDBOX_WITH_PROGRAMS /* they may be started, and run under the same filter */
};

/* Returns 0, or negative with a reason (-ENOTSUP: a build with sanitizers, whose run-time libraries
 * need more); then there is no filter. */
int sandbox_close(enum sandbox_programs programs, struct err *e);

/* For tests: the first word of the lists that the library does not know; NULL = all are known. */
const char *sandbox_unknown_call(void);
