#pragma once
/* Scripts that make shells complete commands, options, their words, and names of cameras. */

#include "base/dynbuf.h"

struct completion_shell {
    const char *name;
    void (*write)(struct dynbuf *out);
};
extern const struct completion_shell completion_shells[]; /* the last has no name */
