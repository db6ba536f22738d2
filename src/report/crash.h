#pragma once
/* When the program ends by a fault of its own (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT) it leaves
 * a few lines behind that say where, and then ends just as it would have: with the signal's default
 * action, so that core dumps and exit codes are what they were. The next start reads the lines (see
 * crash_report.h).
 *
 * Everything that takes memory or a lock is done beforehand: the file is open and holds the version
 * and the table of what is loaded where; the handler adds numbers to it, by async-signal-safe means
 * only, on the thread's alternate stack (base/altstack.h). What it writes first needs nothing but
 * frame pointers. Then it lets the compiler's unwinder have a try, which also sees through
 * libraries that have none: on Debian 12 that takes no lock, but nobody promises it, so a second
 * fault or three seconds of silence end the attempt and not the report.
 *
 * In builds with the address or thread sanitizer faults are the sanitizer's: nothing is installed.
 * One per process; main thread. */

#include "base/err.h"
#include "base/log.h"

#define CRASH_FILE "crash.part" /* of the run under way, or of one that did not end in order */

/* Opens the file in `folder` (made when it is not there) in place of an older one, and takes over
 * the signals. */
int crash_watch(const char *folder, const char *version, struct err *e);
/* Something that cannot wait, e.g. a fan that nobody will regulate any more: called first in the
 * handler, so async-signal-safe. NULL = nothing. */
void crash_set_first(void (*f)(void));
/* Libraries were loaded since. Without memory or disk the older table stays. */
void crash_note_objects(void);
/* Remembers the log ids of the last moments. Any thread; a sink for log_add_sink(). */
void crash_note_log(void *arg, const struct log_record *r);
/* The end is in order: removes the file and gives the signals back. Harmless when not watching. */
void crash_unwatch(void);
