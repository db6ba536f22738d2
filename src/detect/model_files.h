#pragma once
/* Where model files are found: names to paths, and what `auto` means. */

#include <stddef.h>

#include "base/err.h"

#define MODEL_LIST_MAX 256 /* files looked at in all folders */

struct model_list {
    char **paths;
    size_t count;
};
void model_list_done(struct model_list *l);

/* Folders that are looked at when nothing else is said; NULL-terminated, constant after the first
 * call. $SNAPSHOTD_MODEL_DIR comes first. */
const char *const *model_dirs_default(void);

/* Paths for a model's name, in the order to try. A path (with '/') or the name of an existing file
 * is that file; a bare name is looked up in the folders, with or without ".onnx"; "x.pt" is taken
 * as "x.onnx", which is what its exporter makes of it. "auto", "" or NULL: all files in the
 * folders, best guess first: YOLO before others (more accurate than the default), full precision
 * before int8 (no slower on a CPU), folders in order, then by name. Otherwise exactly one.
 * -ENOENT: the text says where was looked, what is there and how to get a model. */
int model_find(const char *model, const char *const *dirs, struct model_list *ret, struct err *e);
/* Every .onnx file in the folders; folders that are not there are left out. May be empty. */
void model_list_all(const char *const *dirs, struct model_list *ret);
const char *model_base_name(const char *path);
