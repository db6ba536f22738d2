#include <assert.h>
#include <string.h>

#include "base/macros.h"
#include "detect/detectors.h"

/* One line per detector. */
static const struct detector_ops *const all[] = {
#if HAVE_ONNXRUNTIME
    &detector_local,
#endif
    NULL,
};

const struct detector_ops *const *detector_all(void)
{
    for (size_t i = 0; all[i] != NULL; i++) {
        const struct detector_ops *ops = all[i];
        assert(ops->name != NULL && ops->open != NULL && ops->detect != NULL &&
               ops->describe != NULL && ops->parallelism != NULL && ops->close != NULL);
        for (size_t k = 0; k < i; k++)
            assert(strcmp(all[k]->name, ops->name) != 0);
    }
    return all;
}

const struct detector_ops *detector_find(const char *name)
{
    const struct detector_ops *const *list = detector_all();
    for (size_t i = 0; list[i] != NULL; i++) {
        if (strcmp(list[i]->name, name) == 0)
            return list[i];
    }
    return NULL;
}
