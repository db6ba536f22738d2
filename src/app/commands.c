#include "app/command.h"

const struct command *const commands[] = {NULL};
