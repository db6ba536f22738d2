#include "detect/model_files.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/dynbuf.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"

static bool is_file(const char *path);
static int rank(const char *path);
static int by_preference(const void *a, const void *b);
static void list_folder(const char *dir, struct model_list *l);
static int not_found(const char *model, const char *const *dirs, struct err *e);

void model_list_done(struct model_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->paths[i]);
    free(l->paths);
    *l = (struct model_list){.paths = NULL};
}

static const char *default_dirs[8];

static void fill_default_dirs(void)
{
    size_t n = 0;
    const char *given = getenv("SNAPSHOTD_MODEL_DIR");
    if (given != NULL && given[0] != '\0')
        default_dirs[n++] = xstrdup(given);
    default_dirs[n++] = "models";
    default_dirs[n++] = "data/models";
    /* An installation's own, in its prefix. */
    const char *installed = fs_beside_program(MODEL_DIR_FROM_BINDIR);
    if (installed != NULL)
        default_dirs[n++] = installed;
    default_dirs[n++] = MODEL_BUILD_DIR; /* of the source tree: a fresh build finds its model */
    default_dirs[n++] = "/var/lib/snapshot-processor/models";
    default_dirs[n] = "/usr/share/snapshot-processor/models";
}

const char *const *model_dirs_default(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_default_dirs);
    return default_dirs;
}

const char *model_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static void take_one(struct model_list *ret, char *path)
{
    *ret = (struct model_list){.paths = xcalloc(1, sizeof(char *)), .count = 1};
    ret->paths[0] = path;
}

int model_find(const char *model, const char *const *dirs, struct model_list *ret, struct err *e)
{
    if (dirs == NULL)
        dirs = model_dirs_default();
    if (model == NULL || model[0] == '\0' || strcmp(model, "auto") == 0) {
        struct model_list all;
        model_list_all(dirs, &all);
        if (all.count == 0) {
            model_list_done(&all);
            return not_found("auto", dirs, e);
        }
        *ret = all;
        return 0;
    }
    AUTO_FREE char *stem = xstrdup(model);
    bool weights = text_ends_with(stem, ".pt");
    if (weights)
        stem[strlen(stem) - strlen(".pt")] = '\0';
    AUTO_FREE char *with_suffix = xasprintf("%s.onnx", stem);
    const char *const names[] = {weights ? with_suffix : model, with_suffix};
    for (size_t k = 0; k < ARRAY_LEN(names); k++) {
        if (is_file(names[k])) {
            take_one(ret, xstrdup(names[k]));
            return 0;
        }
    }
    for (size_t i = 0; strchr(model, '/') == NULL && dirs[i] != NULL; i++) {
        for (size_t k = 0; k < ARRAY_LEN(names); k++) {
            AUTO_FREE char *path = xasprintf("%s/%s", dirs[i], names[k]);
            if (is_file(path)) {
                take_one(ret, STEAL(path));
                return 0;
            }
        }
    }
    return not_found(model, dirs, e);
}

void model_list_all(const char *const *dirs, struct model_list *ret)
{
    if (dirs == NULL)
        dirs = model_dirs_default();
    struct model_list list = {.paths = xcalloc(MODEL_LIST_MAX, sizeof(char *))};
    for (size_t i = 0; dirs[i] != NULL; i++) {
        bool again = false; /* the same folder under another name, e.g. in the source tree */
        struct stat here, there;
        for (size_t k = 0; k < i && !again; k++)
            again = stat(dirs[i], &here) == 0 && stat(dirs[k], &there) == 0 &&
                    here.st_ino == there.st_ino && here.st_dev == there.st_dev;
        size_t first = list.count;
        if (!again)
            list_folder(dirs[i], &list);
        if (list.count - first > 1)
            qsort(list.paths + first, list.count - first, sizeof(char *), by_preference);
    }
    /* Across folders: a stable pass by rank keeps the folders' order within one rank. */
    for (size_t i = 1; i < list.count; i++) {
        char *moving = list.paths[i];
        size_t k = i;
        while (k > 0 && rank(list.paths[k - 1]) > rank(moving)) {
            list.paths[k] = list.paths[k - 1];
            k--;
        }
        list.paths[k] = moving;
    }
    *ret = list;
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int rank(const char *path)
{
    const char *name = model_base_name(path);
    int r = strcasestr(name, "yolo") != NULL ? 0 : 2;
    /* Dynamic int8 is a quarter of the size on disk and no faster; on depthwise convolutions the
     * runtime takes four times as long. */
    return r + (strcasestr(name, "int8") != NULL ? 1 : 0);
}

static int by_preference(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    int difference = rank(x) - rank(y);
    return difference != 0 ? difference : strcmp(x, y);
}

static void list_folder(const char *dir, struct model_list *l)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    struct dirent *entry;
    while (l->count < MODEL_LIST_MAX && (entry = readdir(d)) != NULL) {
        if (entry->d_name[0] == '.' || !text_ends_with(entry->d_name, ".onnx"))
            continue;
        AUTO_FREE char *path = xasprintf("%s/%s", dir, entry->d_name);
        if (is_file(path))
            l->paths[l->count++] = STEAL(path);
    }
    closedir(d);
}

static int not_found(const char *model, const char *const *dirs, struct err *e)
{
    AUTO_DONE(dynbuf) looked;
    AUTO_DONE(dynbuf) there;
    dynbuf_init(&looked, 160); /* both are cut rather than the advice behind them */
    dynbuf_init(&there, 120);
    for (size_t i = 0; dirs[i] != NULL; i++)
        (void)dynbuf_printf(&looked, "%s%s", i > 0 ? ", " : "", dirs[i]);
    AUTO_DONE(model_list) all = {.count = 0};
    model_list_all(dirs, &all);
    for (size_t i = 0; i < all.count; i++)
        (void)dynbuf_printf(&there, "%s%s", i > 0 ? ", " : "", model_base_name(all.paths[i]));
    const char *holds = all.count > 0 ? dynbuf_str(&there) : "no .onnx file";
    if (strcmp(model, "auto") == 0)
        return err_set(e, -ENOENT, ERR_NEVER,
                       "no detection model found (looked in %s): tools/setup makes the default "
                       "one, `snapshotd model pull` gets others",
                       dynbuf_str(&looked));
    size_t length = strlen(model);
    if (length > 3 && text_ends_with(model, ".pt"))
        return err_set(e, -ENOENT, ERR_NEVER,
                       "model '%s' is a PyTorch file and there is no '%.*s.onnx' (looked in %s; "
                       "there: %s): export it with `yolo export model=%s format=onnx` and put the "
                       "result there",
                       model, (int)(length - 3), model, dynbuf_str(&looked), holds, model);
    return err_set(e, -ENOENT, ERR_NEVER,
                   "no model '%s' (looked in %s; there: %s): see `snapshotd model pull`", model,
                   strchr(model, '/') != NULL ? "that place" : dynbuf_str(&looked), holds);
}
