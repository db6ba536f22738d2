#pragma once
/* When the daemon gives up what (sys/sandbox.h), and what of it the configuration decides. */

#include <stdbool.h>

struct app_config;

struct confine {
    bool closed;   /* the filter is in force */
    bool programs; /* it lets programs be started */
};

/* Before there are threads. Does nothing with `[app] sandbox = no`, as does the next. */
void confine_rights(const struct app_config *c);
/* When all is loaded and all threads run. */
void confine_calls(struct confine *confine, const struct app_config *c);
/* A configuration came that the filter of the start may not fit. */
void confine_reloaded(const struct confine *confine, const struct app_config *c);
