#pragma once
/* What the program has at AWS, out of the configuration: [aws], and the predecessor's item in
 * 1Password behind it, which is asked again while the program runs (aws/aws_account.h). */

#include "cfg/cfg.h"

/* At the begin, before anything of AWS is opened. Takes a reference. */
void aws_rows_use(struct cfg *c);
/* By another configuration 1Password is asked another way; the rows themselves need a restart. */
void aws_rows_reloaded(struct cfg *c);
/* When all of AWS is closed. */
void aws_rows_end(void);

/* The role that came with keys out of 1Password, "" = none: the predecessor's for its metrics. */
const char *aws_rows_vault_role(const struct cfg *c);

/* For app_schema.check: half a key pair, also one whose other half is somebody else's. */
void aws_rows_check(const struct cfg *c, struct cfg_faults *faults);
