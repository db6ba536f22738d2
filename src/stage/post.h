#pragma once
/* Pictures that come by HTTP, on their way through intake. They take the way of pushed files: the
 * bytes, then the row, then the answer; what dies in between was never promised.
 *
 * All calls come from one thread, which may be another one than that which made it; the last call
 * may come from a third one when that has ended. */

#include "stage/pipeline.h"

struct post_box;
struct post_box *post_box_new(struct pipeline *p) MUST_USE;
/* What is still on its way is recorded all the same. */
void post_box_free(struct post_box *b);
DEFINE_AUTO(post_box, post_box_free)

struct post {
    const char *camera;
    const char *name; /* as its sender calls the file, or "" */
    struct wall_time event_at;
    bool timed; /* the sender said so: the same bytes for the same moment are a repeat */
    struct blob *bytes;
};

/* Whether this camera takes pictures, and how large (bytes). -ENOENT: no such camera, the text
 * lists what there is; -ECANCELED: it is switched off. */
int post_check(struct post_box *b, const char *camera, size_t *ret_max, struct err *e);
/* Sends it on its way; pipeline_outcome() with the id says when post_result() knows more. 1: it is
 * there already. 0: under way. As post_check(), and -EFBIG; -EAGAIN when too many are under way. */
int post_send(struct post_box *b, struct ledger *l, const struct post *post,
              char ret_id[SNAPSHOT_ID_SIZE], struct err *e);
/* What became of it. 0: it is recorded; 1: likewise, but it was before, and `ret_id` is the id of
 * the first. -EINPROGRESS: not yet. -EINVAL: it is no picture that can be taken, the text says why;
 * -ENOENT: no such id is under way; others, with ERR_LATER: not recorded, to be sent again. */
int post_result(struct post_box *b, struct ledger *l, const char *id, char ret_id[SNAPSHOT_ID_SIZE],
                struct err *e);
