#pragma once
/* Password hashes, away from the web thread: one costs some 100 ms and 16 MB on purpose. A thread
 * is there while there is work, and works on one hash at a time, so that guessing costs us one core
 * at most; the queue is short. All calls are the web thread's. */

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "sys/passwd.h"

struct access_hash;

#define ACCESS_HASH_QUEUE_MAX 8 /* less than a second's work: the last in it still waits gladly */
#define ACCESS_HASH_KEY_MAX 32

struct access_hash_job {
    const char *password; /* to be checked, or NULL */
    const char *hash;     /* what it should be of; NULL = of nobody: takes as long, and is wrong */
    const char *fresh;    /* to be hashed when the check is right, or NULL */
};

enum access_hash_state {
    ACCESS_HASH_GONE, /* no such job, or nobody asked for its outcome in time */
    ACCESS_HASH_WORKING,
    ACCESS_HASH_WRONG,
    ACCESS_HASH_DONE,
    ACCESS_HASH_FAILED, /* no memory */
};

/* `wake` is called from the thread, with the job's key, when its outcome is there. */
struct access_hash *access_hash_new(void (*wake)(void *arg, const char *key), void *arg);
/* Waits for the hash in work. */
void access_hash_free(struct access_hash *h);
DEFINE_AUTO(access_hash, access_hash_free)

/* Copies what it needs; the copies are wiped. -EBUSY: the queue is full; others: no thread. */
int access_hash_begin(struct access_hash *h, const struct access_hash_job *job,
                      char ret_key[ACCESS_HASH_KEY_MAX], struct err *e);
/* A final state ends the job; `ret_hash` is that of `fresh`. */
enum access_hash_state access_hash_outcome(struct access_hash *h, const char *key,
                                           char ret_hash[PASSWD_HASH_MAX]);
