#pragma once
/* Cameras that a person has switched off while the program runs, and that stay so over restarts and
 * reloads until one switches them on again.
 *
 * The configuration is what its owner wrote, so this can only take away: a camera that is off there
 * stays off. It is kept in a file of its own, <data_dir>/cameras-off.json, and not in the ledger: a
 * wish about the configuration, which survives the loss of the ledger and which a person can read
 * and undo with an editor. A file that cannot be understood is a fault of the start, as one in the
 * configuration: nobody whose camera was switched off wants it to be on for that.
 *
 * Any thread may ask and switch. */

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"

struct camera_switches;

/* Without a file all are on. -EINVAL: it is none of ours, the text says what to do. */
int camera_switches_open(const char *path, struct camera_switches **ret, struct err *e);
void camera_switches_close(struct camera_switches *s);
DEFINE_AUTO(camera_switches, camera_switches_close)

/* Durable when it returns 0, and in force then; on failure all is as it was. The same again is no
 * failure. */
int camera_switches_turn(struct camera_switches *s, const char *camera, bool off, struct err *e);
/* The switch itself, true = off; it lives as long as `s`. */
const atomic_bool *camera_switch_of(struct camera_switches *s, const char *camera);
/* Grows with each change: for who has to look again then. NULL: 0. */
unsigned camera_switches_changes(const struct camera_switches *s);
