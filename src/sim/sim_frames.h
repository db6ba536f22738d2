#pragma once
/* The pictures of a simulated camera: one file, or those of a folder in the order of their names.
 */

#include <stddef.h>

#include "base/blob.h"
#include "base/err.h"
#include "sys/hash.h"

#define SIM_FRAME_MAX (128LL << 20) /* bytes of the largest file that is served */

struct sim_frame {
    char *path;
    const char *name;   /* into path */
    struct blob *bytes; /* read at first use */
    char sha256[HASH_SHA256_HEX];
    unsigned long sent; /* times, completely; the user's to count */
};

struct sim_frames {
    struct sim_frame *list;
    size_t count;
};

int sim_frames_load(struct sim_frames *frames, const char *path, struct err *e);
void sim_frames_done(struct sim_frames *frames);
/* Reads the file unless that is done. */
int sim_frame_read(struct sim_frame *frame, struct err *e);
