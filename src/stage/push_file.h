#pragma once
/* A file in a watched folder: opened without following links, told from every other file, and taken
 * away without ever touching another one that came under its name meanwhile. Calls block. */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/err.h"
#include "model/snapshot.h"

/* What makes a file this file and no other. */
struct push_identity {
    uint64_t device, inode;
    int64_t size;        /* bytes */
    int64_t modified_ns; /* since 1970 */
    int64_t born_ns;     /* 0 = the file system does not know */
};

struct push_file {
    int folder_fd;
    int fd;
    char name[NAME_MAX + 1]; /* in the folder */
    struct push_identity is;
    int64_t changed_ns; /* ctime: when it got here, or got its name */
};

/* Opens `path` below `root` for reading: -ENOENT when it is not there, -EINVAL when it is no
 * regular file or its path leads through a link. ret is to be closed in any case after success. */
int push_file_open(const char *root, const char *path, struct push_file *ret, struct err *e);
void push_file_close(struct push_file *f);
static inline void push_file_done(struct push_file *f) /* for AUTO_DONE */
{
    push_file_close(f);
}
#define PUSH_FILE_NONE                                                                             \
    (struct push_file)                                                                             \
    {                                                                                              \
        .folder_fd = -1, .fd = -1                                                                  \
    }
bool push_identity_equal(const struct push_identity *a, const struct push_identity *b);
/* The same but for the time of change, which anybody may set: what is in it may be the same. */
bool push_identity_same_file(const struct push_identity *a, const struct push_identity *b);
/* All of its bytes; -EFBIG above `max`, -ESTALE (ERR_LATER) when it changes meanwhile. */
int push_file_read(const struct push_file *f, size_t max, struct blob **ret, struct err *e);

/* The id of the picture in it, the same each time that it is asked, so that a file that a crash
 * left behind is known: 48 bits of its time, as all ids have in front, and a digest.
 *
 * Of a file that is going to be removed: inode, size, and the times of its change and birth. Not
 * the path: a camera may rename a file while it is being taken. (Where no birth time is known the
 * path stands in, because inodes are used again.) Of one that stays: path, size and time of change,
 * because inodes of network file systems change from mount to mount. */
void push_file_id(const char *watch, const char *path, const struct push_identity *is, bool stays,
                  char ret[SNAPSHOT_ID_SIZE]);

/* Both take away this very file. -ESTALE when another one stands in its place by now, or it has
 * another time of change: that one stays or is put back, at worst under
 * "<name>~<number><extension>", and nobody tells of it. -ENOENT when it is gone. */
int push_file_remove(const struct push_file *f, const char *id, struct err *e);
/* Moves it into another folder, by a copy where that is on another file system. */
int push_file_move(const struct push_file *f, int to_fd, const char *to, struct err *e);

/* Finishes what a crash left between the steps of push_file_remove(): looks at all of a tree, once
 * at the start, before anybody takes files out of it. known(): 1 when the ledger has this id, 0, or
 * negative. Returns how many files were met, -ENOENT when the root is not there. */
int push_file_recover(const char *root, const char *watch,
                      int (*known)(void *arg, const char *id, struct err *e), void *arg,
                      struct err *e);

/* Removes what is no picture and was not changed for `age_ms`: files for which unwanted() is true.
 * Returns how many. */
int push_file_clean(const char *root, int64_t age_ms,
                    bool (*unwanted)(void *arg, const char *path, const struct push_identity *is),
                    void *arg, struct err *e);
