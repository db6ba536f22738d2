#pragma once
/* Which thumbnails are still to be made: those that somebody waits for, and those of pictures that
 * have just been examined, which nobody has asked for yet. Both newest first, because people look
 * at the newest pictures and at what they have scrolled to last. Bounded: of pictures that come
 * faster than thumbnails are made the oldest are forgotten, and made when somebody asks. A mutex
 * around a few moves; any thread. */

#include <stdbool.h>

#include "base/blob.h"
#include "base/err.h"
#include "model/snapshot.h"

struct thumbnail_wishes;

#define THUMBNAIL_OFFERS_MAX 256 /* a burst of so many is looked at as a whole */
#define THUMBNAIL_ASKED_MAX 64   /* as many as requests may wait by default */
/* What could not be made is tried again after so long. */
#define THUMBNAIL_FAILURE_MS 30000

struct thumbnail_wish {
    char id[SNAPSHOT_ID_SIZE];
    int width;
    bool asked; /* somebody waits */
};

struct thumbnail_wishes *thumbnail_wishes_new(void);
void thumbnail_wishes_free(struct thumbnail_wishes *w);
/* A picture of which somebody may want to see one. */
void thumbnail_wishes_offer(struct thumbnail_wishes *w, const char *id, int width);
/* What became of a wish, which is made by this when it is new. -EAGAIN: it waits. 0 with the bytes
 * when they were made and could not be kept. -EBUSY: too many wait. Else why it cannot be made. */
int thumbnail_wishes_ask(struct thumbnail_wishes *w, const char *id, int width, struct blob **ret,
                         struct err *e);
/* The next one to make; `offers` false: of those only for which somebody waits. */
bool thumbnail_wishes_take(struct thumbnail_wishes *w, bool offers, struct thumbnail_wish *ret);
/* Both end one that was taken. `bytes` are for who waits when they could not be kept, else NULL. */
void thumbnail_wishes_made(struct thumbnail_wishes *w, const struct thumbnail_wish *wish,
                           struct blob *bytes);
void thumbnail_wishes_failed(struct thumbnail_wishes *w, const struct thumbnail_wish *wish,
                             const struct err *why);
int thumbnail_wishes_count(struct thumbnail_wishes *w, bool offers); /* those that wait */
