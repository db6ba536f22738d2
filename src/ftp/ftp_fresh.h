#pragma once
/* Folders that were just made and whose own names are not on the disk yet.
 *
 * A picture is only as safe as the folders above it. Who makes one syncs its parent, but another
 * session may find the new folder, put its picture in, and be done first. So folders in the making
 * are entered here, and who says that a file is safe asks first. One table for the process: folders
 * of several accounts may lie in each other. Any thread. */

struct ftp_fresh;

/* Before a folder appears: the topmost one that is going to be made, `path` below `root`. NULL when
 * too many could not be made safe: the disk fails, and no more folders should be made. */
struct ftp_fresh *ftp_fresh_begin(const char *root, const char *path);
/* It is safe (or gone again, or was not made). */
void ftp_fresh_safe(struct ftp_fresh *f);
/* It is there and its parent could not be synced: for as long as the process lives nothing in it is
 * safe, since a later sync that succeeds says nothing about an earlier one that did not. */
void ftp_fresh_doubtful(struct ftp_fresh *f);

/* Waits until no folder on the way to `path` is in the making. 0, or -EIO when one is doubtful. */
int ftp_fresh_wait(const char *root, const char *path);
