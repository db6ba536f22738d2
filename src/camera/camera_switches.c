#include "camera/camera_switches.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "model/snapshot.h"
#include "sys/json.h"

#define FILE_MODE 0600
#define FILE_MAX ((size_t)1 << 20) /* 4096 names of 128 bytes, escaped */
#define CAMERAS_MAX 4096

struct camera_switch {
    char *camera;
    atomic_bool off;
    struct wall_time since;
};

struct camera_switches {
    char *path;
    atomic_uint changes;
    pthread_mutex_t lock; /* guards what follows; each switch stays where it is */
    struct camera_switch **list;
    size_t count;
};

static int read_file(struct camera_switches *s, struct err *e);
static int write_file(struct camera_switches *s, struct err *e);
static struct camera_switch *find(struct camera_switches *s, const char *camera);

int camera_switches_open(const char *path, struct camera_switches **ret, struct err *e)
{
    AUTO(camera_switches) s = xcalloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    s->path = xstrdup(path);
    int r = read_file(s, e);
    if (r < 0)
        return r;
    *ret = STEAL(s);
    return 0;
}

void camera_switches_close(struct camera_switches *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++) {
        free(s->list[i]->camera);
        free(s->list[i]);
    }
    free(s->list);
    free(s->path);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int camera_switches_turn(struct camera_switches *s, const char *camera, bool off, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    struct camera_switch *one = find(s, camera);
    struct wall_time before = one->since;
    int r = 0;
    if (atomic_load(&one->off) != off) {
        one->since = clock_wall();
        atomic_store(&one->off, off);
        r = write_file(s, e);
        if (r < 0) {
            atomic_store(&one->off, !off);
            one->since = before;
        } else {
            atomic_fetch_add(&s->changes, 1);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

const atomic_bool *camera_switch_of(struct camera_switches *s, const char *camera)
{
    pthread_mutex_lock(&s->lock);
    const atomic_bool *off = &find(s, camera)->off;
    pthread_mutex_unlock(&s->lock);
    return off;
}

unsigned camera_switches_changes(const struct camera_switches *s)
{
    return s ? atomic_load(&((struct camera_switches *)(uintptr_t)s)->changes) : 0;
}

/* Made when it is not there. The names are those of the configuration and of the file, so there are
 * not many. */
static struct camera_switch *find(struct camera_switches *s, const char *camera)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->list[i]->camera, camera) == 0)
            return s->list[i];
    s->list = xrealloc(s->list, (s->count + 1) * sizeof(struct camera_switch *));
    struct camera_switch *one = xcalloc(1, sizeof(*one));
    one->camera = xstrdup(camera);
    s->list[s->count++] = one;
    return one;
}

/* ---- the file: {"off": [{"camera": "porch", "since": "2026-01-31T17:30:00.112Z"}]} ---- */

static int not_ours(const struct camera_switches *s, const char *why, struct err *e)
{
    return err_set(e, -EINVAL, ERR_NEVER,
                   "%s does not say which cameras are switched off: %s; correct it, or remove it "
                   "and all are on",
                   s->path, why);
}

static int read_one(struct camera_switches *s, const json_t *item)
{
    const char *name = json_string_value(json_object_get(item, "camera"));
    const char *since = json_string_value(json_object_get(item, "since"));
    if (!name || !*name || strlen(name) >= SNAPSHOT_KEY_MAX || s->count == CAMERAS_MAX)
        return -EINVAL;
    struct camera_switch *one = find(s, name);
    atomic_store(&one->off, true);
    if (since)
        (void)wall_parse_iso(since, &one->since); /* only shown */
    return 0;
}

static int read_file(struct camera_switches *s, struct err *e)
{
    AUTO(blob) bytes = NULL;
    AUTO_JSON json_t *j = NULL;
    struct err why = {0};
    json_t *item;
    size_t i;
    int r = fs_read_blob(AT_FDCWD, s->path, FILE_MAX, &bytes, &why);
    if (r == -ENOENT)
        return 0;
    if (r < 0 || js_parse((const char *)bytes->data, bytes->size, FILE_MAX, &j, &why) < 0)
        return not_ours(s, why.text, e);
    const json_t *list = json_object_get(j, "off");
    if (!json_is_array(list))
        return not_ours(s, "it has no list \"off\"", e);
    json_array_foreach(list, i, item)
    {
        if (read_one(s, item) < 0)
            return not_ours(s, "an entry of \"off\" names no camera", e);
    }
    return 0;
}

static int write_file(struct camera_switches *s, struct err *e)
{
    AUTO_JSON json_t *j = json_object();
    json_t *list = json_array();
    for (size_t i = 0; i < s->count; i++) {
        char since[WALL_ISO_MAX];
        if (!atomic_load(&s->list[i]->off))
            continue;
        json_array_append_new(list,
                              json_pack("{s:o,s:s}", "camera", js_string(s->list[i]->camera),
                                        "since", wall_format_iso(s->list[i]->since, true, since)));
    }
    json_object_set_new(j, "off", list);
    AUTO_FREE char *text = js_text(j);
    int r = fs_replace(AT_FDCWD, s->path, text, strlen(text), FILE_MODE, e);
    return r < 0 ? (err_prefix(e, "switch a camera"), r) : 0;
}
