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

/* By what a session knows again what it stored, for its name may be another's by now. The number of
 * a file that is gone is soon that of a new one, so size and time belong to it; those of a folder
 * change with what lies in it. */
struct ftp_mark {
    bool set;
    bool folder;
    uint64_t device, inode;
    int64_t size;
    struct wall_time modified;
};

static inline struct ftp_mark ftp_mark_of(const struct ftp_file *f)
{
    return (struct ftp_mark){.set = true,
                             .folder = f->folder,
                             .device = f->device,
                             .inode = f->inode,
                             .size = f->size,
                             .modified = f->modified};
}

/* One that is not set is of nothing. */
static inline bool ftp_mark_is(const struct ftp_mark *m, const struct ftp_file *f)
{
    return m->set && m->folder == f->folder && m->device == f->device && m->inode == f->inode &&
           (m->folder || (m->size == f->size && m->modified.us == f->modified.us));
}
