#pragma once
/* Files of golden/, made by u-msgpack (make_golden.py), as the tests need them: whole. */

#include "../test.h"

#include "base/blob.h"
#include "base/dynbuf.h"
#include "base/mem.h"
#include "messages.h"

static inline UNUSED bool golden_append(struct dynbuf *to, const char *name, const char *suffix)
{
    AUTO_FREE char *path =
        xasprintf("%s/tests/unit/wire/golden/%s%s", getenv("SOURCE_ROOT"), name, suffix);
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    char part[4096];
    size_t n;
    while ((n = fread(part, 1, sizeof(part), f)) > 0)
        assert_int_equal(dynbuf_append(to, part, n), 0);
    (void)fclose(f);
    return true;
}

/* Those with a large picture are kept without it. Fails the test when there is no such file. */
static inline UNUSED struct blob *golden_read(const char *name)
{
    struct dynbuf b;
    dynbuf_init(&b, 1 << 20);
    if (!golden_append(&b, name, ".bin")) {
        AUTO(blob) picture = picture_new(70000);
        if (!golden_append(&b, name, ".head"))
            CASE_FAILS("no golden file for %s", name);
        assert_int_equal(dynbuf_append(&b, picture->data, picture->size), 0);
        assert_true(golden_append(&b, name, ".tail"));
    }
    struct blob *whole = blob_new_copy(b.data, b.len);
    dynbuf_done(&b);
    return whole;
}
