#pragma once
/* The memory of all transfers: blocks of one size, at most so many. Whoever finds none waits in a
 * row; for each that waits, the holder of a part-filled block that took it first is asked to give
 * it back (an upload writes the part to the disk early). So a hundred slow cameras slow one another
 * down and a fast one hardly. One thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "ftp/ftp_loop.h"

/* A picture of a usual camera fits into one, so that it needs one trip to the disk. */
#define FTP_BLOCK_SIZE (256 << 10)
/* What a transfer at full speed needs: one to fill while the other is written. */
#define FTP_BLOCKS_MIN 2

struct ftp_blocks;
/* `bytes` is the maximum of all together. */
struct ftp_blocks *ftp_blocks_new(struct ftp_loop *l, int64_t bytes);
void ftp_blocks_free(struct ftp_blocks *p); /* all must have come back */

/* One user's place; embedded, zeroed but for the two functions. */
struct ftp_block_user {
    void (*granted)(struct ftp_block_user *u); /* ask again now; from the loop, never from within */
    void (*wanted)(struct ftp_block_user *u);  /* give back what you hold as soon as you can */
    /* private */
    struct ftp_block_user *next, *previous; /* of the holders or of those that wait */
    enum { FTP_BLOCK_NONE, FTP_BLOCK_WAITS, FTP_BLOCK_GRANTED, FTP_BLOCK_HOLDS } state;
    bool asked; /* to give it back */
    void *reserved;
};

/* A block, which the user then holds; or NULL, and granted() follows. */
void *ftp_blocks_take(struct ftp_blocks *p, struct ftp_block_user *u);
/* The block is now under way to the disk and comes back by itself: the user holds it no longer and
 * may take another. */
void ftp_blocks_let_go(struct ftp_blocks *p, struct ftp_block_user *u);
void ftp_blocks_return(struct ftp_blocks *p, void *block);
/* Neither waits nor holds any more (what it holds must be let go of or returned by itself). */
void ftp_blocks_leave(struct ftp_blocks *p, struct ftp_block_user *u);
/* Gives memory back that nobody has used since the last call. */
void ftp_blocks_trim(struct ftp_blocks *p);
