#pragma once
/* Log records as bytes, one form for each place that lines go to. Pure. What came from outside is
 * escaped, so that it can neither forge a line or a field nor steer a terminal. */

#include "base/log.h"

enum {
    /* A sentence longer than this is cut: a line must fit one write(2) to a pipe (PIPE_BUF 4096).
     */
    LOG_TEXT_MAX = 1500,
    LOG_LINE_MAX = 4096,
    /* A line with the headers and fields of syslog or the journal around it. */
    LOG_WIRE_MAX = 8192,
    /* RFC 5426 3.2: what a receiver of UDP should take; many take no more. */
    LOG_DATAGRAM_MAX = 2048
};

/* Who speaks. Strings are borrowed. */
struct log_source {
    const char *host; /* "" = not known */
    const char *name; /* of the program, as syslog knows it */
    int pid;
};

/* All return the length of what they wrote, which is not terminated by a zero. */

/* A line for the console, with its line break. */
size_t log_line_console(const struct log_record *r, enum log_format format,
                        char line[LOG_LINE_MAX]);
/* RFC 5424: the fields as structured data, the sentence (or the JSON object) as message. Not longer
 * than `max`, at least LOG_DATAGRAM_MAX: the sentence is cut. `sequence` counts from 1. */
size_t log_line_syslog(const struct log_record *r, const struct log_source *source,
                       enum log_format format, unsigned sequence, size_t max,
                       char out[LOG_WIRE_MAX]);
/* As syslog(3) of the C library writes it to /dev/log; local time. */
size_t log_line_local(const struct log_record *r, const struct log_source *source,
                      enum log_format format, char out[LOG_WIRE_MAX]);
/* The journal's native protocol. Line breaks of the sentence stay, the journal can hold them. */
size_t log_line_journal(const struct log_record *r, const struct log_source *source,
                        enum log_format format, char out[LOG_WIRE_MAX]);
