#pragma once
/* Compares what the ledger says with the files that are here and, when asked to, with what storages
 * keep: for `snapshotd verify`, beside or without a running daemon. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "ledger/ledger_upload.h"
#include "ledger/store.h"
#include "storage/storage.h"

struct verify_options {
    struct ledger *ledger;
    struct store *store;
    struct storage *const *storages; /* NULL-terminated; NULL = nothing remote */
    bool deep;                       /* digests, too; every picture is read */
    /* A copy with boxes that is missing is drawn again, a remote one that is missing or differs is
     * uploaded again, files that belong to nobody are deleted. */
    bool repair;
    int stop_fd;                               /* readable: ends; -1 = none */
    struct wall_time now;                      /* files younger than an hour are left alone */
    void (*line)(void *arg, const char *text); /* a finding, one line */
    void *arg;
};

struct verify_report {
    int64_t pictures, bytes; /* that were looked at here */
    int64_t kept;            /* files that storages have as they should */
    int64_t not_compared;    /* copies with boxes that are not here any more */
    int64_t findings, repaired;
    int64_t storages_failed; /* that could not be asked to the end */
};

/* 0, whatever was found, or why it could not be looked. */
int verify_run(const struct verify_options *o, struct verify_report *ret, struct err *e);
