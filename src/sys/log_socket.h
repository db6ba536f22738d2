#pragma once
/* A socket that log lines are sent to: UDP, TCP (frames of RFC 6587, octet counting), or a local
 * datagram socket. For the one thread that sends; calls wait, but not longer than seconds. */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum log_socket_kind { LOG_SOCKET_UDP, LOG_SOCKET_TCP, LOG_SOCKET_LOCAL };

struct log_socket {
    enum log_socket_kind kind;
    char host[256]; /* or the path of a local one */
    char port[6];
    int fd;    /* -1 = closed */
    bool late; /* the last error of sending was the answer to an earlier line, which is lost */
};

/* "udp://host:port", "tcp://host:port" ("[v6]:port" as well; the port may be missing: 514, 601), or
 * the path of a local socket. Returns false and writes what would be right. */
bool log_socket_parse(const char *address, struct log_socket *ret, char *why, size_t why_size);

/* Looks the host up and connects. `stop_fd` readable ends the wait: -ECANCELED. */
int log_socket_open(struct log_socket *s, int stop_fd, struct err *e);
/* Sends a whole line or fails, and is closed then. `probe` waits a moment for the answer that
 * nobody listens, which comes too late otherwise. */
int log_socket_send(struct log_socket *s, const char *line, size_t len, bool probe, struct err *e);
void log_socket_close(struct log_socket *s);
