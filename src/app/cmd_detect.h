#pragma once
#include "app/command.h"

extern const struct command cmd_detect;
