#pragma once
/* snapshotd(1), made from the rows of the commands. snapshotd.conf(5) is cfg_write_manual()'s. */

#include "base/dynbuf.h"

int manual_write(struct dynbuf *out); /* 0 or -ENOSPC */
