#pragma once
/* MessagePack, and the one door to libmpack: a reader for messages of strangers and a writer.
 *
 * The reader is a cursor over one complete message in memory. It allocates nothing, so no header
 * makes it ask for memory, and it keeps the open containers in an array, so nesting costs no stack.
 * What a header claims is compared with the bytes that are left before anybody believes it.
 *
 * The writer makes the shortest form of everything, as the common libraries do, floating point as
 * 64 bits. It counts what does not fit: write once without a buffer, allocate, write again.
 *
 * No threads, no globals: each reader and writer is used by one thread at a time. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define MSGPACK_DEPTH_MAX 64       /* open containers; the deepest of ours is 5 */
#define MSGPACK_VALUES_MAX 1000000 /* keys and values of a message: about 10 ms to step over */

enum msgpack_type {
    MSGPACK_NIL,
    MSGPACK_BOOL,
    MSGPACK_INT,
    MSGPACK_BIG, /* an integer above INT64_MAX */
    MSGPACK_FLOAT,
    MSGPACK_STR,
    MSGPACK_BIN,
    MSGPACK_EXT,
    MSGPACK_ARRAY,
    MSGPACK_MAP,
    MSGPACK_TYPE_COUNT
};
/* With article, for sentences: "nil", "a boolean", "text", ... */
extern const char *const msgpack_type_names[MSGPACK_TYPE_COUNT];

/* One value; a container is only its head, its elements are read next. */
struct msgpack_value {
    enum msgpack_type type;
    union {
        bool boolean;
        int64_t integer;
        uint64_t big;
        double real; /* may be infinite or no number */
        struct {
            const uint8_t *bytes; /* in the message; text is not checked for UTF-8 */
            size_t size;
            int ext_type; /* -128..127, of MSGPACK_EXT */
        };
        uint32_t count; /* elements of an array, pairs of a map */
    };
};

/* Private, but for `at`: the offset of what is read next, or of what could not be read. */
struct msgpack_reader {
    const uint8_t *message;
    size_t size, at;
    uint32_t values;
    uint32_t depth;
    uint64_t open[MSGPACK_DEPTH_MAX]; /* elements still to come, outermost container first */
};

/* Borrows the message. */
void msgpack_reader_init(struct msgpack_reader *r, const void *message, size_t size);
/* The next value in the order of the message. 0; -EBADMSG when there is none (cut off, or a byte
 * that begins nothing); -E2BIG above a limit. After a failure the reader stays where it is. */
int msgpack_read(struct msgpack_reader *r, struct msgpack_value *ret, struct err *e);
/* Steps over the elements of the container whose head was read last, however many and deep; over
 * nothing when it was no container. Errors as above. */
int msgpack_skip(struct msgpack_reader *r, const struct msgpack_value *last, struct err *e);
/* 0 when the message ends here; -EBADMSG when bytes follow. */
int msgpack_end(const struct msgpack_reader *r, struct err *e);

/* `len` counts what was written and what would have been: all of it is there when len <= room. */
struct msgpack_writer {
    uint8_t *to; /* may be NULL when room is 0 */
    size_t room;
    size_t len;
};

void msgpack_write_nil(struct msgpack_writer *w);
void msgpack_write_uint(struct msgpack_writer *w, uint64_t v);
void msgpack_write_float(struct msgpack_writer *w, double v);
/* Each byte that is no UTF-8 becomes '?': readers drop whole messages for it. */
void msgpack_write_str(struct msgpack_writer *w, const char *text);
void msgpack_write_bin(struct msgpack_writer *w, const void *bytes, size_t size); /* below 4 GiB */
/* Its head alone: the bytes come from elsewhere, and `len` does not count them. */
void msgpack_write_bin_head(struct msgpack_writer *w, size_t size);
void msgpack_write_array(struct msgpack_writer *w, uint32_t count);
void msgpack_write_map(struct msgpack_writer *w, uint32_t pairs);
