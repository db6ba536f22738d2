#pragma once
/* Small copies of pictures, <root>/<hour>/<id>-<width>.jpg, with the hour (UTC) in which the
 * picture came here. A cache: any of it may be removed at any time, and is made again from the
 * picture.
 *
 * They stand beside the store and not in it, because the store is what people back up and what
 * `snapshotd integrity` compares with the ledger, file by file. Names are made of ids and times of
 * rows, never of what came from outside.
 *
 * What has been made is bounded by bytes. When it grows above that, the hour goes whose folder has
 * been still for longest: neither new pictures nor somebody who looks at old ones have added to it.
 * So nobody keeps a list, and what goes is found by a look at the folders alone. How much there is
 * is counted once, a folder at a time, after the first that was made; before that nothing goes.
 *
 * Nothing is synced: a file that a power cut left half-written is no JPEG to its end, and is then
 * as good as none. Reading and removing: any thread. Writing, counting and tidying: one. */

#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/err.h"
#include "model/snapshot.h"

struct thumbnails;

/* Of this many pixels across, or of the picture's own width where that is less. */
#define THUMBNAIL_WIDTH_SMALL 320
#define THUMBNAIL_WIDTH_LARGE 960

/* Makes the root when it is not there. `bytes_max` 0: nothing is made nor written, what is there
 * can be read and removed; -ENOENT when nothing is. */
int thumbnails_open(const char *root, int64_t bytes_max, int64_t free_min, struct thumbnails **ret,
                    struct err *e);
void thumbnails_close(struct thumbnails *t);
DEFINE_AUTO(thumbnails, thumbnails_close)

/* -ENOENT: it is still to be made. */
int thumbnails_read(struct thumbnails *t, const struct snapshot *s, int width, struct blob **ret,
                    struct err *e);
/* More can be kept now: else it is not worth making one that nobody waits for. */
bool thumbnails_have_room(struct thumbnails *t);
bool thumbnails_hold(struct thumbnails *t, const struct snapshot *s, int width);
/* -ENOSPC: fewer than free_min bytes would be free, or nothing is to be kept. */
int thumbnails_write(struct thumbnails *t, const struct snapshot *s, int width,
                     const struct blob *bytes, struct err *e);
/* All of this picture; absent ones are no failure. `t` may be NULL. */
void thumbnails_remove(struct thumbnails *t, const struct snapshot *s);
/* Somebody has asked for one, which is remembered over restarts. Any thread. */
void thumbnails_looked_at(struct thumbnails *t);
/* Somebody has in the last weeks: it is worth making them before the next one asks. Any thread. */
bool thumbnails_in_use(struct thumbnails *t);
/* One step of counting or tidying: false when there is nothing more to do for now. */
bool thumbnails_tidy(struct thumbnails *t);
int64_t thumbnails_bytes(const struct thumbnails *t); /* as counted so far */
