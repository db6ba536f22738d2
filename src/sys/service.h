#pragma once
/* The service manager's side channel (sd_notify). Without one all calls do nothing. Any thread. */

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

void service_ready(void);
void service_reloading(void);
void service_stopping(void);
/* One line for `systemctl status`. */
void service_status(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* A start takes longer: so much more from now on, with a line that says what it does. */
void service_extend_start(int64_t ms, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Half the watchdog interval in ms, 0 when no watchdog waits for us. */
int64_t service_watchdog_ms(void);
void service_watchdog_ping(void);
/* Sockets that the service manager has opened for us under this name (FileDescriptorName= of a
 * .socket unit; sd_listen_fds(3)): copies them to `ret`, which has room for `max`, and returns how
 * many; they are the caller's from then on. Others stay for a call with their name. */
size_t service_listen_fds(const char *name, int *ret, size_t max);
