#pragma once
/* What a session has stored or made lately. Its picture may be taken out of the tree within a
 * second, and the camera goes on asking for it: it wants to know the size, renames it, deletes its
 * test file. From here the engine answers what the disk no longer can, and here it looks whether a
 * file is the session's own: a name is not enough, since another may have stored under it since. */

#include <stdbool.h>
#include <stddef.h>

#include "ftp/ftp_file.h"

/* More than a camera has under way; each costs its path and some 60 bytes. */
#define FTP_RECENT_MAX 8

struct ftp_recent {
    struct ftp_recent_item *newest; /* private */
};

void ftp_recent_clear(struct ftp_recent *r);
/* The oldest is forgotten when there are too many. */
void ftp_recent_add(struct ftp_recent *r, const char *path, const struct ftp_file *file);
/* Fills what is known: name, kind, size and time. */
bool ftp_recent_find(const struct ftp_recent *r, const char *path, struct ftp_file *ret);
bool ftp_recent_has(const struct ftp_recent *r, const char *path);
/* Of what was stored under that name; not set when nothing was. */
struct ftp_mark ftp_recent_mark(const struct ftp_recent *r, const char *path);
/* The n-th file that a list of this folder, or of this file, shows; newest first. */
bool ftp_recent_file_of(const struct ftp_recent *r, const char *folder, size_t n,
                        struct ftp_file *ret);
void ftp_recent_remove(struct ftp_recent *r, const char *path);
/* What lies below a renamed folder moves with it. */
void ftp_recent_rename(struct ftp_recent *r, const char *from, const char *to);
void ftp_recent_set_modified(struct ftp_recent *r, const char *path, struct wall_time t);
