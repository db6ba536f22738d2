/* Any bytes as a form: the first line is its Content-Type, the rest the body. What is found lies in
 * the body, and what is refused has a reason. */

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "web/form_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    if (!end)
        return 0;
    AUTO_FREE char *type = xstrndup((const char *)data, (size_t)(end - data));
    size_t body_size = size - (size_t)(end + 1 - data);
    AUTO_FREE char *body = body_size ? xmemdup(end + 1, body_size) : xmalloc(1);
    struct form_file file = {0};
    struct err e;
    err_clear(&e);
    int r = form_data_find(type, body, body_size, "file", &file, &e);
    assert(r == 0 || e.text[0]);
    assert(r < 0 || (file.at <= body_size && file.size <= body_size - file.at));
    assert(strnlen(file.name, sizeof(file.name)) < sizeof(file.name));
    return 0;
}
