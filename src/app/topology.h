#pragma once
/* Every thread and every edge of the daemon in one table, and the order in which they start and
 * stop. */

#include "stage/pipeline.h"
#include "sys/json.h"

struct topology;

/* Starts consumers before producers; each is ready when its start returns. On failure what runs is
 * stopped again; when even that fails *ret is set, and the process must end as after
 * topology_stop(). The pipeline must outlive the topology. */
int topology_start(struct pipeline *p, struct topology **ret, struct err *e);
/* Starts the consult workers when the pipeline has got its cloud detector after the start; nothing
 * happens when they run. */
int topology_start_consult(struct topology *t, struct err *e);
/* Stops in the other direction: sources first; every stage drains within the shared grace period.
 * One that hangs already is not waited for, so that the others have the time. 0, or -ETIMEDOUT when
 * a stage did not end (its name is logged): then the process must end without freeing what the
 * stage may still use. */
int topology_stop(struct topology *t, int64_t grace_ms);
void topology_free(struct topology *t); /* after a successful stop */

/* Enters the rows of all stages, those that will not run among them. Once per process. */
void topology_register_metrics(void);
/* Any thread. */
void topology_each_stage(const struct topology *t,
                         void (*f)(const struct stage_status *st, void *arg), void *arg);
/* At most `max` stages; returns the count. Any thread. */
size_t topology_stages(const struct topology *t, struct stage_status *ret, size_t max);
/* Where the stage of this name is, see stack_of_thread(); 0 when it does not answer. */
size_t topology_stack(const struct topology *t, const char *name, int64_t timeout_ms,
                      uintptr_t *ret, size_t max);
/* Array of stage objects for the status document. Any thread. */
json_t *topology_status(const struct topology *t);
void topology_camera_status(const struct topology *t, const char *camera,
                            struct camera_status *ret);
/* False when no triggers are taken from a broker. Any thread. */
bool topology_control_status(const struct topology *t, struct control_status *ret);
/* Of the watched folders, at most `max`; returns the count, 0 when none is watched. Any thread. */
size_t topology_spool_status(const struct topology *t, struct spool_status *ret, size_t max);
/* `index` as in the pipeline's list of storages. */
void topology_storage_status(const struct topology *t, unsigned index, struct storage_status *ret);
/* `index` as in the pipeline's list of notifiers. */
void topology_destination_status(const struct topology *t, unsigned index,
                                 struct destination_status *ret);
