#pragma once
/* The database of users and tokens for the commands that write it, with and without a running
 * daemon. */

#include "app/options.h"
#include "sys/json.h"
#include "web/access_db.h"

/* Opens it, or says why not; `ret` stays NULL when it is not there and is not to be made. Returns
 * an exit status. */
int access_open(const struct app_options *o, bool create, struct access_db **ret);
/* Enters into the audit log what was done on the command line, by which user of the system. */
void access_note(struct access_db *d, const char *what, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* "2026-01-31T17:30:00Z", or "never". */
const char *access_time(struct wall_time t, char buf[WALL_ISO_MAX]);
/* {"<name>": rows}, on standard output; takes `rows`. Returns an exit status. */
int access_print_json(const char *name, json_t *rows);
