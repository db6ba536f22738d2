#pragma once
/* What is known of a file or folder, as jail, engine and lists pass it on. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

struct ftp_file {
    char name[256]; /* last part of its path */
    bool folder;
    int64_t size; /* bytes; 0 for a folder */
    struct wall_time modified;
    uint64_t device, inode; /* fact "unique" of RFC 3659 */
};
