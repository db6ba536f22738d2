#pragma once
/* What the running daemon does about 1Password: tells how the secrets were got, and lets feature
 * flags change. All on the main thread, but the two at the end. */

#include "app/status.h"
#include "sys/json.h"

void daemon_secrets_register_metrics(void);
/* Of the configuration of this moment: into the log, and kept for the status. */
void daemon_secrets_report(struct daemon *d);
void daemon_flags_start(struct daemon *d); /* failure is logged: flags stay as they are */
void daemon_flags_stop(struct daemon *d);
/* A configuration with a flag that has changed; false = there is none. When it is in force,
 * daemon_flags_took() tells of it. */
bool daemon_flags_next(struct daemon *d, struct app_config **ret, enum feature_flag *ret_which);
void daemon_flags_took(struct daemon *d, enum feature_flag which);

json_t *daemon_secrets_json(struct daemon *d);
/* What somebody should look at, or "". */
void daemon_secrets_attention(struct daemon *d, char ret[ERR_TEXT_MAX]);
