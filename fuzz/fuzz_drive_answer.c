/* What Drive, or a proxy in its place, answers: the same bytes as a file, a list, ids, an error and
 * a Range header. What is taken must hold what its readers rely on. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "storage/drive_api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int see(void *arg, const struct drive_file *file)
{
    size_t *n = arg;
    assert(file->id[0] && strlen(file->id) < DRIVE_ID_MAX && file->size >= -1);
    return ++*n > 1000 ? 1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const long statuses[] = {200, 308, 400, 401, 403, 404, 409, 410, 416, 429, 500};
    AUTO(blob) body = blob_new_copy(data, size);
    struct drive_file file;
    struct err e = {0};
    char token[DRIVE_TOKEN_MAX], reason[DRIVE_REASON_MAX], text[64];
    static char ids[8][DRIVE_ID_MAX];
    size_t n = 0;

    if (drive_parse_file(body, &file, &e) == 0)
        (void)see(&n, &file);
    if (drive_parse_list(body, see, &n, token, &e) == 0)
        assert(strlen(token) < sizeof(token));
    int count = drive_parse_ids(body, ids, (int)ARRAY_LEN(ids), &e);
    assert(count < 0 || (count > 0 && count <= (int)ARRAY_LEN(ids)));
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct storage_failure f;
        enum drive_verdict v = drive_judge(statuses[i], body, reason, text, sizeof(text));
        assert(v < DRIVE_VERDICT_COUNT);
        if (v != DRIVE_DONE && v != DRIVE_CONTINUE)
            assert(drive_failure(v, "x", statuses[i], reason, text, (int64_t)size,
                                 (struct wall_time){0}, &f, &e) < 0);
    }
    AUTO_FREE char *header = xstrndup((const char *)data, size);
    int64_t next = 0;
    if (drive_parse_range(header, 1000, &next) == 0)
        assert(next >= 0 && next <= 1000);
    return 0;
}
