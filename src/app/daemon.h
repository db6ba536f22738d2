#pragma once
/* The running program: opens what the stages share, starts them, listens to signals, reloads,
 * stops. Once per process. */

#include "app/config.h"
#include "app/options.h"

/* Runs with this configuration (taken) until a signal says stop: SIGTERM or SIGINT end in order, a
 * second one at once; SIGHUP reads the configuration again by `options`. Returns an exit status;
 * errors are on standard error. */
int daemon_run(struct app_config **config, const struct app_options *options);
