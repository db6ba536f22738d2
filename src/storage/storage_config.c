#include "storage/storage_config.h"

#include <assert.h>

const char *const storage_order_names[STORAGE_ORDER_COUNT + 1] = {"newest", "oldest", NULL};

struct upload_rule storage_common_rule(const struct storage_common *c, const char *storage)
{
    assert(c->upload >= 0 && c->upload < UPLOAD_WHAT_COUNT);
    return (struct upload_rule){
        .storage = storage,
        .what = (enum upload_what)c->upload,
        .annotated = c->annotated,
        .labels = c->labels,
        .cameras = c->cameras,
    };
}
