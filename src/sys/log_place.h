#pragma once
/* Where log lines go: the console, syslog (local, or RFC 5424 by UDP or TCP), or the journal.
 *
 * For all but the console a line is copied into a bounded queue, which a thread of its own empties,
 * so that no thread that logs ever waits for a network. A place that is away for longer than a
 * moment is said once, and its lines go to the console until it is back. Lines that find the queue
 * full are lost and counted (snapshotd_log_lines_lost_total). */

#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

enum log_to { LOG_TO_AUTO, LOG_TO_CONSOLE, LOG_TO_SYSLOG, LOG_TO_JOURNALD, LOG_TO_COUNT };
extern const char *const log_to_names[LOG_TO_COUNT];

struct log_place_options {
    enum log_to to;
    enum log_format format;
    const char *syslog_address; /* see log_socket_parse(); "" = /dev/log */
    const char *journal_socket; /* path; "" = the usual one */
    const char *name;           /* the program's in syslog and journal */
    int64_t away_ms;            /* how long lines wait for a place before they go to the console;
                                   0 = the usual 2 s */
};

/* From now on lines go there, in this format; the same again changes nothing. Main thread. The
 * place itself may be away and is connected to later; an error is one of ours (no thread), and
 * lines go on where they went. */
int log_place_use(const struct log_place_options *o, struct err *e);
/* Sends what waits, for 2 s at most, and goes back to the console. May be called twice. */
void log_place_end(void);

/* "console", "syslog udp://host:514", "syslog /dev/log: away, lines go to the console". */
void log_place_describe(char *ret, size_t size);
