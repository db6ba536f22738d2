#pragma once
/* Messages that our encoders make, by the names of make_golden.py's OUTGOING. */

#include "base/blob.h"
#include "base/clock.h"

#define MESSAGE_WHEN 1767323045 /* 2026-01-02T03:04:05Z */

extern const char *const message_names[]; /* NULL-terminated */
/* NULL for a name that is not there, and when the encoder refused. */
struct blob *message_make(const char *name);
/* Bytes as make_golden.py's picture() makes them. */
struct blob *picture_new(size_t size);
