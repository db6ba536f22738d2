#pragma once
/* What storages see of an upload job. Pure. */

#include "ledger/ledger_upload.h"
#include "storage/storage.h"

/* Marks as the ledger keeps them: id, resume and url, a line each. -EINVAL for one that is none. */
int upload_mark_write(const struct storage_mark *m, char ret[UPLOAD_MARK_MAX], struct err *e);
void upload_mark_read(const char *text, struct storage_mark *ret);

/* Without bytes; of a copy with boxes also without digests. Borrows all strings. */
struct storage_object upload_object(const struct snapshot *s, const struct upload_job *job,
                                    const char *labels);
const char *upload_base_name(const char *path);
