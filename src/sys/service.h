#pragma once
/* The service manager's side channel (sd_notify). Without one all calls do nothing. Any thread. */

#include <stdint.h>

#include "base/macros.h"

void service_ready(void);
void service_reloading(void);
void service_stopping(void);
/* One line for `systemctl status`. */
void service_status(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Half the watchdog interval in ms, 0 when no watchdog waits for us. */
int64_t service_watchdog_ms(void);
void service_watchdog_ping(void);
