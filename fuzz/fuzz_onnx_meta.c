/* What a model file says about itself: class names in Python's notation, input sizes, name files.
 */

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "detect/onnx_meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_names(const struct label_list *l)
{
    assert(l->count >= 1 && l->count <= LABEL_COUNT_MAX);
    for (size_t i = 0; i < l->count; i++)
        assert(l->names[i] == NULL || strlen(l->names[i]) <= LABEL_FILE_MAX);
    assert(l->names[l->count - 1] != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {.code = 0};
    int height = 0, width = 0;
    struct label_list names = {.names = NULL};

    if (onnx_meta_parse_names((const char *)data, size, &names, &e) == 0)
        check_names(&names);
    else
        assert(e.text[0] != '\0' && names.names == NULL);
    label_list_done(&names);

    if (labels_parse((const char *)data, size, &names, &e) == 0)
        check_names(&names);
    label_list_done(&names);

    if (onnx_meta_parse_size((const char *)data, size, &height, &width) == 0)
        assert(height >= 1 && width >= 1 && height <= 16384 && width <= 16384);
    return 0;
}
