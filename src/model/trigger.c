#include "model/trigger.h"

const char *const trigger_origin_names[TRIGGER_ORIGIN_COUNT] = {"api", "schedule", "amqp"};
const char *const trigger_state_names[TRIGGER_STATE_COUNT] = {"pending", "done", "failed"};
