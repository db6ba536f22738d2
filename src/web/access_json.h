#pragma once
/* How users and tokens are shown, by the API and by our own commands alike; doc/api.md has the
 * meaning of each field. Times as in web/snapshot_json.h. New references, NULL when there is no
 * memory. */

#include "sys/json.h"
#include "web/access_db.h"

json_t *access_user_json(const struct access_user *u);
json_t *access_token_json(const struct access_token *t);
