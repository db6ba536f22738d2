#pragma once
/* How the API shows snapshots and triggers; doc/api.md has the meaning of each field. Times are ISO
 * 8601 in UTC with milliseconds, ids hex, what is not known yet null. New references, NULL when
 * there is no memory. */

#include "ledger/ledger.h"
#include "model/snapshot.h"
#include "model/trigger.h"
#include "model/verdict.h"
#include "sys/json.h"

/* `verdict` NULL = not yet. Without `story` (NULL) the member is left out, as in lists. */
json_t *snapshot_json(const struct snapshot *s, const struct verdict *verdict,
                      const struct ledger_story *story, int story_count);
json_t *trigger_json(const struct trigger *t);
json_t *time_json(struct wall_time t); /* null for 0 */
/* "/api/v1/cameras/Front%20Door/trigger" for any name. */
json_t *camera_link_json(const char *before, const char *camera, const char *after);
