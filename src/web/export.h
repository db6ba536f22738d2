#pragma once
/* Zip files of pictures, made while they are sent: nothing is written to the disk, and of the
 * pictures one or two are in memory.
 *
 * A thread that exists only while an export runs reads the ledger and the files, so that the web
 * thread waits for no disk; it is never further ahead of its reader than EXPORT_AHEAD_BYTES or one
 * picture. The web thread only copies what is there. */

#include "sys/http_message.h"
#include "web/web.h"

#define EXPORTS_MAX 2              /* at a time: each is a thread and a reader of the disk */
#define EXPORT_PICTURES_MAX 100000 /* a directory and manifests of some 30 MB, kept to the end */
#define EXPORT_AHEAD_BYTES (1 << 20)

struct exports;
struct exports_options {
    const char *ledger_path; /* copied */
    /* Its `bytes` is called on the exports' threads. */
    const struct web_backend *backend;
    /* Wakes the stream that waits for this key. Any thread. */
    void (*wake)(void *arg, const char *key);
    void *arg;
};
struct exports *exports_new(const struct exports_options *options) MUST_USE;
/* All streams are released; waits for the threads, which have been told by that. */
void exports_free(struct exports *x);
DEFINE_AUTO(exports, exports_free)

/* The pictures that a request (of GET /api/v1/snapshots.zip, whose parameters are in order) is
 * about, at most `limit`. -EBUSY: EXPORTS_MAX run already. On the web thread. */
int export_start(struct exports *x, const struct http_request *req, bool annotated, int64_t limit,
                 struct http_stream *ret, struct err *e);
