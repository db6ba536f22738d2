#include "sim/sim_frames.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/fsutil.h"
#include "base/macros.h"
#include "base/mem.h"

static bool is_picture_name(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && dot != name && i < ARRAY_LEN(endings); i++)
        if (!strcasecmp(dot, endings[i]))
            return true;
    return false;
}

static void add_frame(struct sim_frames *frames, char *path)
{
    frames->list = xrealloc(frames->list, (frames->count + 1) * sizeof(*frames->list));
    const char *slash = strrchr(path, '/');
    frames->list[frames->count++] =
        (struct sim_frame){.path = path, .name = slash ? slash + 1 : path};
}

/* Numbers in names count as numbers: frame9 comes before frame10. */
static int by_name(const void *a, const void *b)
{
    return strverscmp(((const struct sim_frame *)a)->name, ((const struct sim_frame *)b)->name);
}

int sim_frames_load(struct sim_frames *frames, const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return err_errno(e, -errno, "%s", path);
    if (!S_ISDIR(st.st_mode)) {
        add_frame(frames, xstrdup(path));
        return 0;
    }
    DIR *dir = opendir(path);
    if (!dir)
        return err_errno(e, -errno, "%s", path);
    const struct dirent *entry;
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.' && is_picture_name(entry->d_name))
            add_frame(frames, xasprintf("%s/%s", path, entry->d_name));
    closedir(dir);
    if (!frames->count)
        return err_set(e, -ENOENT, ERR_NEVER, "%s: no pictures (.jpg, .png, .webp, .bmp, .gif)",
                       path);
    qsort(frames->list, frames->count, sizeof(*frames->list), by_name);
    return 0;
}

void sim_frames_done(struct sim_frames *frames)
{
    for (size_t i = 0; i < frames->count; i++) {
        blob_unref(frames->list[i].bytes);
        free(frames->list[i].path);
    }
    free(frames->list);
    *frames = (struct sim_frames){0};
}

int sim_frame_read(struct sim_frame *frame, struct err *e)
{
    if (frame->bytes)
        return 0;
    int r = fs_read_blob(AT_FDCWD, frame->path, SIM_FRAME_MAX, &frame->bytes, e);
    if (r < 0)
        return r;
    hash_sha256_hex(frame->bytes->data, frame->bytes->size, frame->sha256);
    return 0;
}
