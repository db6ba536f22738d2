#include "sys/service.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"

/* The results are ignored on purpose: a missing service manager is the normal case. */

void service_ready(void)
{
    (void)sd_notify(0, "READY=1");
}

void service_reloading(void)
{
    /* The manager wants the monotonic time of the reload (sd_notify(3), RELOADING=1). */
    (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_mono().us);
}

void service_stopping(void)
{
    (void)sd_notify(0, "STOPPING=1");
}

void service_status(const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)sd_notifyf(0, "STATUS=%s", text);
}

void service_extend_start(int64_t ms, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%lld\nSTATUS=%s", (long long)ms * 1000, text);
}

int64_t service_watchdog_ms(void)
{
    uint64_t us = 0;
    return sd_watchdog_enabled(0, &us) > 0 ? (int64_t)(us / 2000) : 0;
}

void service_watchdog_ping(void)
{
    (void)sd_notify(0, "WATCHDOG=1");
}

size_t service_listen_fds(const char *name, int *ret, size_t max)
{
    char **names = NULL;
    size_t found = 0;
    int count = sd_listen_fds_with_names(0, &names); /* below 0 or 0: nobody gave us any */
    for (int i = 0; i < count; i++) {
        if (found < max && strcmp(names[i], name) == 0)
            ret[found++] = SD_LISTEN_FDS_START + i;
        free(names[i]);
    }
    free(names);
    return found;
}
