/* Spool: takes the pictures that lie in watched folders, whoever put them there: the FTP server, a
 * copy by hand, another program.
 *
 * A file waits on the disk until it is its turn; this stage holds only "flights": files whose bytes
 * are on their way through intake. What becomes of a file is decided by what the ledger says: it is
 * removed when its picture is recorded (or known already), moved to the refused ones when it is
 * none, and else left where it is and tried again. So whatever dies in between, the file is still
 * there, and its id, which is made of the file itself, tells a repeat (stage/push_file.h).
 *
 * Whose picture it is, its folder tells (stage/push_route.h); when it was taken, its name, if it
 * tells a time that can be true (model/push_name.h), else its time of change. */

#include "stage/pipeline.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "ledger/ledger.h"
#include "model/push_name.h"
#include "picture/picture.h"
#include "stage/push_file.h"
#include "stage/push_leftover.h"
#include "stage/refused.h"
#include "watch/watch.h"

/* Files in the air, and their bytes; one picture may have more. Two of intake's batches: one that
 * it works on, one that waits. */
#define FLIGHTS_MAX 32
#define FLIGHT_BYTES_MAX ((size_t)16 << 20)
/* Items on the edge to intake: all of them fit. */
#define FETCHED_DEPTH FLIGHTS_MAX
#define GATHER_MS 10
#define SWEEP_MAX_MS 1000
/* A stop and the heartbeat are never further away than so many files. */
#define FILES_PER_TURN 64

/* Pauses before a file is looked at again. */
#define CHANGED_MS 300   /* it was being written to */
#define BUSY_MS 1000     /* its id is in the air, the ledger is busy */
#define REFUSED_MS 5000  /* the disk is full: also the promise after freed space */
#define TROUBLE_MS 60000 /* it cannot be read, or removed */
/* A picture that does not end is waited for so long after its last change; then it is taken as it
 * is. Its writer may be a slow one that the watch knows nothing of. */
#define UNENDED_MS 30000

#define CLEAN_MS (10 * 60 * 1000)
#define OPEN_RETRY_MS 10000
#define TOLD_MAX 64 /* folders without a camera that the log names; the rest is only counted */
#define TROUBLE_LOG_MS 60000

struct folder {
    const struct spool_folder *conf;
    struct watch *watch; /* NULL: could not be opened yet */
    struct push_route *route;
    bool recovered;
    bool left_any; /* for a reason that a reload may change */
    struct mono_time open_at, clean_at, trouble_at;
    struct spool_status status; /* but for what the watch counts */
};

/* The item is NULL when the place is free. */
struct flight {
    struct folder *folder;
    struct watch_file file;
    struct push_identity is;
    struct fetched *item;
};

struct spool_self {
    struct pipeline *pipeline;
    struct stage *stage;
    struct ledger *ledger;
    struct bus_out *out;
    int epoll_fd;
    struct folder *folders;
    size_t count, next; /* next: whose turn it is */
    struct settings *settings;
    unsigned switched; /* camera_switches_changes() that were looked at */
    struct flight flights[FLIGHTS_MAX];
    int flying;
    size_t flying_bytes;
    struct push_leftovers leftovers;
    struct mono_time sweep_at;   /* when the loop comes by itself */
    struct mono_time deaf_until; /* news are not waited for before */
    char *told[TOLD_MAX];        /* what was named in the log under these settings */
    size_t told_count;
    pthread_mutex_t lock; /* guards `shown` */
    struct spool_status shown[];
};

static struct metric taken = {.name = "snapshotd_pushed_total",
                              .kind = METRIC_COUNTER,
                              .label = "outcome",
                              .help = "Files in watched folders by what became of them"};
static struct metric clock_off = {.name = "snapshotd_push_clock_off_total",
                                  .kind = METRIC_COUNTER,
                                  .label = "camera",
                                  .help = "Pushed pictures whose name tells a time that cannot be "
                                          "true"};
static struct metric waiting = {.name = "snapshotd_spool_files",
                                .kind = METRIC_GAUGE,
                                .label = "folder",
                                .help = "Files that settle or are being taken, by watched folder"};

static void register_metrics(void)
{
    metric_register(&taken);
    metric_register(&clock_off);
    metric_register(&waiting);
}

static void take_file(struct spool_self *s, struct folder *d, const struct watch_file *f);
static void finish_flights(struct spool_self *s);
static void clean(struct spool_self *s, struct folder *d);

/* ---- the folders ---- */

static bool is_unfinished(const char *name)
{
    return push_name_kind(name) == PUSH_UNFINISHED;
}

/* In a folder of others what begins with a dot is theirs: trash, thumbnails, half of an rsync. In
 * the FTP root it is a camera's, which was told that it will be looked at. */
static bool is_hidden_elsewhere(const char *name)
{
    return name[0] == '.' || push_name_is_hidden(name);
}

static int open_watch(struct spool_self *s, struct folder *d, struct err *e)
{
    const struct spool_folder *c = d->conf;
    struct watch_options o = {.root = c->root,
                              .recursive = c->recursive,
                              .poll = c->poll,
                              .poll_ms = c->poll_ms,
                              .settle_ms = c->settle_ms,
                              .settle_unsure_ms = MAX(c->settle_ms, c->settle_unsure_ms),
                              .hidden = c->ftp ? push_name_is_hidden : is_hidden_elsewhere,
                              .unfinished = is_unfinished,
                              .unfinished_ms = c->settle_unfinished_ms};
    int r = watch_new(&o, &d->watch, e);
    if (r < 0)
        return err_prefix(e, "watch %s", c->root), r;
    struct epoll_event ev = {.events = EPOLLIN};
    int fd = watch_fd(d->watch);
    if (fd >= 0 && epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
        return err_errno(e, -errno, "epoll");
    return 0;
}

/* Without inotify or memory just now, the program runs on and tries again. */
static void try_open(struct spool_self *s, struct folder *d)
{
    struct err e = {0};
    if (d->watch || !mono_passed(d->open_at))
        return;
    if (open_watch(s, d, &e) == 0) {
        d->status.trouble[0] = '\0';
        return;
    }
    log_error("watch-failed", "%s; trying again", e.text);
    text_copy(d->status.trouble, sizeof(d->status.trouble), e.text);
    watch_free(STEAL(d->watch));
    d->open_at = mono_add_ms(clock_mono(), OPEN_RETRY_MS);
}

static struct push_route *make_route(const struct spool_self *s, const struct folder *d,
                                     const struct settings *now)
{
    struct push_route *route = push_route_new();
    if (d->conf->camera[0]) {
        (void)push_route_add(route, "", d->conf->camera); /* the only one */
        return route;
    }
    for (size_t i = 0; d->conf->ftp && i < now->push_folder_count; i++)
        if (!push_route_add(route, now->push_folders[i].directory, now->push_folders[i].camera))
            log_debug("push-ambiguous",
                      "an account before has another camera for the folder \"%s\"",
                      now->push_folders[i].directory);
    for (size_t i = 0; i < camera_set_count(now->cameras); i++) {
        const struct camera *cam = camera_set_at(now->cameras, i);
        AUTO_FREE char *folder =
            d->conf->ftp ? xasprintf("%s/%s", s->pipeline->spool->upload_dir, cam->directory)
                         : xstrdup(cam->directory);
        (void)push_route_add(route, folder, cam->name); /* an account's word goes before */
    }
    return route;
}

static void forget_told(struct spool_self *s)
{
    while (s->told_count)
        free(s->told[--s->told_count]);
}

/* New settings, or a camera that was switched on, may give a camera to files that were left alone:
 * they are looked at again. */
static void follow_settings(struct spool_self *s)
{
    AUTO(settings) now = pipeline_settings(s->pipeline);
    unsigned switched = camera_switches_changes(s->pipeline->switches);
    if (now == s->settings && switched == s->switched)
        return;
    s->switched = switched;
    for (size_t i = 0; i < s->count; i++) {
        struct folder *d = &s->folders[i];
        push_route_free(d->route);
        d->route = make_route(s, d, now);
        if (d->left_any) {
            watch_free(STEAL(d->watch)); /* a new one tells all that is there */
            d->left_any = false;
            d->status.left_example[0] = '\0';
            memset(d->status.left, 0, sizeof(d->status.left));
        }
        d->clean_at = clock_mono();
    }
    forget_told(s);
    settings_unref(s->settings);
    s->settings = STEAL(now);
}

/* True the first time; beyond TOLD_MAX never. */
static bool tell_once(struct spool_self *s, const char *what)
{
    for (size_t i = 0; i < s->told_count; i++)
        if (strcmp(s->told[i], what) == 0)
            return false;
    if (s->told_count == TOLD_MAX)
        return false;
    s->told[s->told_count++] = xstrdup(what);
    return true;
}

static void show_trouble(struct folder *d, const char *text)
{
    text_copy(d->status.trouble, sizeof(d->status.trouble), text);
    if (!mono_passed(d->trouble_at))
        return;
    log_error("spool-trouble", "%s: %s", d->conf->root, text);
    d->trouble_at = mono_add_ms(clock_mono(), TROUBLE_LOG_MS);
}

/* ---- one turn ---- */

static int known(void *arg, const char *id, struct err *e)
{
    struct spool_self *s = arg;
    return ledger_snapshot_exists(s->ledger, id, e);
}

/* Once, as soon as the root is there. Nothing is taken before. */
static bool recover(struct spool_self *s, struct folder *d)
{
    struct err e = {0};
    if (d->recovered || d->conf->keep)
        return true;
    int r = push_file_recover(d->conf->root, d->conf->name, known, s, &e);
    if (r < 0 && r != -ENOENT)
        show_trouble(d, e.text);
    if (r > 0)
        log_notice("recovered", "%s: %d files of an unfinished run met", d->conf->root, r);
    d->recovered = r >= 0;
    return d->recovered;
}

static bool has_room(const struct spool_self *s)
{
    return s->flying < FLIGHTS_MAX && (s->flying == 0 || s->flying_bytes < FLIGHT_BYTES_MAX);
}

/* Returns ms until it wants to be called again. */
static int64_t turn(struct spool_self *s, struct folder *d)
{
    try_open(s, d);
    if (!d->watch)
        return OPEN_RETRY_MS;
    int64_t pause = watch_turn(d->watch);
    if (!recover(s, d))
        return MAX(pause, (int64_t)SWEEP_MAX_MS);
    struct watch_file f;
    int n = 0;
    for (; n < FILES_PER_TURN && has_room(s) && watch_next(d->watch, &f) == 1; n++) {
        stage_heartbeat(s->stage);
        take_file(s, d, &f);
    }
    if (n == FILES_PER_TURN)
        return 0;
    /* Without room there is nothing to do until a flight ends, which wakes us. */
    return has_room(s) ? pause : SWEEP_MAX_MS;
}

static void show(struct spool_self *s)
{
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->count; i++) {
        struct folder *d = &s->folders[i];
        struct spool_status *st = &d->status;
        struct watch_counts c = {0};
        if (d->watch) {
            watch_counts(d->watch, &c);
            if (watch_trouble(d->watch)[0])
                text_copy(st->trouble, sizeof(st->trouble), watch_trouble(d->watch));
            else if (mono_passed(d->trouble_at))
                st->trouble[0] = '\0';
        }
        st->polling = c.polling;
        st->folders = c.folders;
        st->settling = c.settling;
        st->taking = 0;
        for (int k = 0; k < FLIGHTS_MAX; k++)
            st->taking += s->flights[k].item && s->flights[k].folder == d;
        metric_set(&waiting, d->conf->name, (double)(st->settling + st->taking));
        s->shown[i] = *st;
    }
    pthread_mutex_unlock(&s->lock);
}

static int64_t turn_all(struct spool_self *s)
{
    int64_t pause = SWEEP_MAX_MS;
    finish_flights(s);
    for (size_t i = 0; i < s->count; i++)
        pause = MIN(pause, turn(s, &s->folders[(s->next + i) % s->count]));
    s->next = s->count ? (s->next + 1) % s->count : 0;
    stage_set_queued(s->stage, s->flying);
    show(s);
    return pause;
}

static bool has_news(const struct spool_self *s)
{
    struct epoll_event ev;
    return epoll_wait(s->epoll_fd, &ev, 1, 0) > 0;
}

/* An upload makes four pieces of news, and thousands a second want one look and not one each: what
 * comes right after is looked at together. */
static void gather(struct spool_self *s)
{
    s->deaf_until = mono_add_ms(clock_mono(), GATHER_MS);
}

static int64_t spool_sweep(void *self)
{
    struct spool_self *s = self;
    follow_settings(s);
    if (has_news(s))
        gather(s);
    int64_t pause = turn_all(s);
    for (size_t i = 0; i < s->count; i++)
        clean(s, &s->folders[i]);
    if (!mono_passed(s->deaf_until))
        pause = MIN(pause, (int64_t)mono_until_ms(s->deaf_until));
    s->sweep_at = mono_add_ms(clock_mono(), pause);
    return pause;
}

static int spool_fd(void *self)
{
    const struct spool_self *s = self;
    return mono_passed(s->deaf_until) ? s->epoll_fd : -1;
}

/* A file has come, and its settle time may end before the loop comes by itself. */
static void spool_ready(void *self)
{
    struct spool_self *s = self;
    if (stage_stopping(s->stage)) {
        for (size_t i = 0; i < s->count; i++)
            if (s->folders[i].watch)
                (void)watch_turn(s->folders[i].watch); /* only so that it is read */
        return;
    }
    gather(s);
    int64_t pause = MIN(turn_all(s), (int64_t)GATHER_MS);
    if (pause < mono_until_ms(s->sweep_at))
        stage_wake(s->stage);
}

/* ---- one file ---- */

/* A file that stays where it is, for a reason of its own. */
static void leave(struct folder *d, enum spool_left why)
{
    d->status.left[why]++;
    d->left_any |= why == SPOOL_LEFT_UNKNOWN || why == SPOOL_LEFT_OFF;
    metric_inc(&taken, spool_left_names[why]);
}

/* True when its name is that of a picture. "_x.jpg" says "unfinished", but perhaps all names of its
 * camera are so: it has been waited for. */
static bool is_picture(struct folder *d, const char *path)
{
    switch (push_name_kind(path)) {
    case PUSH_PICTURE:
        return true;
    case PUSH_UNFINISHED:
        if (push_name_is_picture(path))
            return true;
        leave(d, SPOOL_LEFT_UNFINISHED);
        return false;
    case PUSH_VIDEO:
        leave(d, SPOOL_LEFT_VIDEO);
        return false;
    case PUSH_OTHER:
        leave(d, SPOOL_LEFT_OTHER);
        return false;
    case PUSH_KIND_COUNT:
        break;
    }
    return false;
}

static void folder_of(const char *path, char *ret, size_t size)
{
    const char *slash = strrchr(path, '/');
    (void)text_format(ret, size, "%.*s", slash ? (int)(slash - path) : 0, path); /* cut is fine */
}

static void leave_unknown(struct spool_self *s, struct folder *d, const char *path)
{
    char name[WATCH_PATH_MAX], shown[sizeof(d->status.left_example)], what[WATCH_PATH_MAX + 64];
    folder_of(path, name, sizeof(name));
    text_escape(name, strlen(name), shown, sizeof(shown));
    leave(d, SPOOL_LEFT_UNKNOWN);
    text_copy(d->status.left_example, sizeof(d->status.left_example), shown[0] ? shown : ".");
    (void)text_format(what, sizeof(what), "%s/%s", d->conf->name, name); /* cut is fine */
    if (!tell_once(s, what))
        return;
    if (d->conf->camera[0])
        log_warn("push-unknown",
                 "pictures in %s are left alone: [watch:%s] names the camera \"%s\", "
                 "and there is no [camera:%s]",
                 d->conf->root, d->conf->name, d->conf->camera, d->conf->camera);
    else if (d->conf->ftp)
        log_warn("push-unknown",
                 "pictures in \"%s\" below %s are left alone, because no camera is told by that "
                 "folder: name a camera in [ftp_account:...], or let it push to "
                 "%s/<directory of a camera>",
                 shown, d->conf->root, s->pipeline->spool->upload_dir);
    else
        log_warn(
            "push-unknown",
            "pictures in \"%s\" below %s are left alone, because no camera has this directory: "
            "set camera in [watch:%s], or directory in a [camera:...]",
            shown, d->conf->root, d->conf->name);
}

static const struct camera *find_camera(struct spool_self *s, struct folder *d, const char *path)
{
    const char *name = push_route_find(d->route, path);
    const struct camera *cam = name ? camera_set_find(s->settings->cameras, name) : NULL;
    if (!cam) {
        leave_unknown(s, d, path);
        return NULL;
    }
    if (camera_is_enabled(cam))
        return cam;
    leave(d, SPOOL_LEFT_OFF);
    struct err off;
    (void)camera_is_off(cam, &off);
    char what[SNAPSHOT_KEY_MAX + 16];
    (void)text_format(what, sizeof(what), "off: %s", cam->name); /* cut is fine */
    if (tell_once(s, what))
        log_warn("push-off", "pictures that the camera pushes are left alone: %s", off.text);
    return NULL;
}

/* Also under another name or with another time, which makes another id. */
static bool is_flying(const struct spool_self *s, const char *id, const struct push_identity *is)
{
    for (int i = 0; i < FLIGHTS_MAX && s->flying; i++) {
        const struct flight *fl = &s->flights[i];
        if (fl->item &&
            (strcmp(fl->item->trigger.id, id) == 0 || push_identity_same_file(&fl->is, is)))
            return true;
    }
    return false;
}

/* Its picture is safe, now or since an earlier run. `bytes` may be NULL when nobody has them. */
static void put_away(struct spool_self *s, struct folder *d, const struct watch_file *f,
                     const struct push_file *file, const char *id, const struct blob *bytes)
{
    struct err e = {0};
    if (d->conf->keep)
        return;
    int r = push_file_remove(file, id, &e);
    if (r == 0 || r == -ENOENT) {
        watch_forget(d->watch, f->path);
        return;
    }
    if (r == -ESTALE) {
        if (bytes)
            push_leftovers_add(&s->leftovers, id, &file->is, bytes);
        watch_again(d->watch, f, CHANGED_MS);
        return;
    }
    err_prefix(&e, "its pictures are taken, but stay there");
    show_trouble(d, e.text);
    watch_again(d->watch, f, TROUBLE_MS);
}

static void met_again(struct spool_self *s, struct folder *d, const struct watch_file *f,
                      const struct push_file *file, const char *id, const struct blob *bytes)
{
    d->status.repeated++;
    metric_inc(&taken, "known");
    put_away(s, d, f, file, id, bytes);
}

static void tell_refused(const struct spool_self *s, const struct folder *d,
                         const struct watch_file *f, const struct push_file *file,
                         const char *place, const char *why)
{
    if (d->conf->keep)
        log_warn("push-refused", "\"%s\" is no picture: %s; it is left alone", f->path, why);
    else if (!refused_has_room(file, &s->settings->spool))
        log_warn("push-refused",
                 "\"%s\" is no picture: %s; it stays where it is, because refused_files or "
                 "refused_size is too small to keep it",
                 f->path, why);
    else
        log_warn("push-refused", "\"%s\" is no picture: %s; it goes to refused/%s", f->path, why,
                 place);
}

/* It will never be a picture. Told first, then moved: what dies between the two is told once more
 * at the worst. */
static void refuse(struct spool_self *s, struct folder *d, const struct watch_file *f,
                   const struct push_file *file, const char *id, const struct camera *cam,
                   const char *why)
{
    struct err e = {0};
    const char *slash = strrchr(cam->name, '/');
    const char *place = slash || cam->name[0] == '.' ? cam->directory : cam->name;
    int r = ledger_noted(s->ledger, id, &e);
    if (r == 0) {
        tell_refused(s, d, f, file, place, why);
        r = ledger_note(s->ledger, id, "refused", why, &e);
        if (r == 0) {
            d->status.refused++;
            metric_inc(&taken, "refused");
            stage_count_failed(s->stage, why);
        }
    }
    if (r >= 0 && !d->conf->keep) {
        FAULT_POINT("before-push-refuse");
        r = refused_take(s->pipeline->spool->refused_path, place, file, id, &s->settings->spool,
                         s->ledger, &e);
        if (r == 0 || r == -ENOENT) {
            watch_forget(d->watch, f->path);
            return;
        }
    }
    if (r >= 0 || r == -EFBIG) /* it stays, and is not told again */
        return;
    if (r == -ESTALE) {
        watch_again(d->watch, f, CHANGED_MS);
        return;
    }
    show_trouble(d, e.text);
    watch_again(d->watch, f, e.retry == ERR_NEVER ? TROUBLE_MS : REFUSED_MS);
}

/* 1: its picture is known. 0: it is new. Negative: the ledger does not say. */
static int look_up(struct spool_self *s, const struct folder *d, const char *id, struct err *e)
{
    int r = ledger_snapshot_exists(s->ledger, id, e);
    if (r == 0 && d->conf->keep)
        r = ledger_noted(s->ledger, id, e); /* refused, and still there */
    return r;
}

static struct wall_time event_time(struct spool_self *s, const struct watch_file *f,
                                   const struct push_file *file, const struct camera *cam,
                                   bool *ret_named)
{
    const struct spool_rules *rules = &s->settings->spool;
    struct push_time named = {0};
    struct wall_time changed = {file->is.modified_ns / 1000}, now = clock_wall();
    bool off = false;
    /* A time of change far from now was set by somebody whose clock is off (MFMT, cp -p). */
    if (changed.us > now.us + rules->clock_ahead_ms * 1000 ||
        changed.us < now.us - rules->clock_behind_ms * 1000)
        changed = (struct wall_time){MIN(file->changed_ns / 1000, now.us)};
    *ret_named = false;
    if (push_name_time(f->path, &named) < 0)
        return changed;
    struct wall_time at =
        push_event_time(&named, changed, rules->clock_behind_ms, rules->clock_ahead_ms, &off);
    *ret_named = !off;
    if (!off)
        return at;
    char what[SNAPSHOT_KEY_MAX + 16], said[WALL_ISO_MAX];
    metric_inc(&clock_off, cam->name);
    (void)text_format(what, sizeof(what), "clock: %s", cam->name); /* cut is fine */
    if (tell_once(s, what))
        log_warn("push-clock",
                 "\"%s\" says %s, which cannot be: set the camera's clock; until then "
                 "the time of arrival counts",
                 f->path, wall_format_iso(named.at, false, said));
    return at;
}

static struct fetched *make_item(struct spool_self *s, struct folder *d, const struct watch_file *f,
                                 struct push_file *file, const struct camera *cam, const char *id,
                                 struct blob **bytes)
{
    struct fetched *item = xcalloc(1, sizeof(*item));
    struct pushed *p = xcalloc(1, sizeof(*p));
    struct trigger *t = &item->trigger;
    atomic_init(&item->refs, 1);
    item->pushed = p;
    item->bytes = STEAL(*bytes);
    item->received_at = (struct wall_time){MIN(file->changed_ns / 1000, clock_wall().us)};
    t->event_at = event_time(s, f, file, cam, &p->named);
    text_copy(t->id, sizeof(t->id), id);
    text_copy(t->camera, sizeof(t->camera), cam->name);
    text_copy(t->device_key, sizeof(t->device_key), cam->device_key);
    text_copy(t->device_label, sizeof(t->device_label), cam->device_label);
    text_copy(item->directory, sizeof(item->directory), cam->directory);
    text_copy(p->name, sizeof(p->name), file->name);
    p->modified_ns = file->is.modified_ns;
    /* What others own could be written to behind a second name. */
    p->fd = d->conf->ftp ? STEAL_FD(file->fd) : -1;
    return item;
}

static void launch(struct spool_self *s, struct folder *d, const struct watch_file *f,
                   const struct push_identity *is, struct fetched *item)
{
    int i = 0;
    while (s->flights[i].item)
        i++;
    (void)fetched_ref(item);
    if (bus_send(s->out, item, fetched_unref) < 0) {
        fetched_unref(item);
        fetched_unref(item);
        watch_again(d->watch, f, BUSY_MS);
        return;
    }
    s->flights[i] = (struct flight){.folder = d, .file = *f, .is = *is, .item = item};
    s->flying++;
    s->flying_bytes += item->bytes->size;
}

static bool is_young(const struct push_file *file)
{
    int64_t age_us = clock_wall().us - MAX(file->is.modified_ns, file->changed_ns) / 1000;
    return age_us >= 0 && age_us < UNENDED_MS * 1000;
}

/* Reads it. 0, or negative with the story; ERR_NEVER means that it is no picture. */
static int read_picture(struct spool_self *s, const struct push_file *file,
                        const struct camera *cam, struct blob **ret, struct err *e)
{
    const struct picture_limits *limits = &s->settings->limits;
    AUTO(blob) bytes = NULL;
    struct picture_info info;
    size_t max = MIN((size_t)cam->size_max, limits->bytes_max);
    int r = push_file_read(file, max, &bytes, e);
    if (r < 0) {
        /* Only its size speaks against the file; a disk that cannot be read may recover. */
        if (r != -EFBIG)
            e->retry = ERR_LATER;
        return r;
    }
    r = picture_probe(bytes->data, bytes->size, limits, &info, e);
    bool cut = r == 0 ? info.incomplete
                      : r == -EINVAL && picture_sniff(bytes->data, bytes->size) != PICTURE_UNKNOWN;
    if (cut && is_young(file))
        return err_set(e, -EAGAIN, ERR_NOW, "it does not end yet");
    if (r == 0)
        *ret = STEAL(bytes);
    return r;
}

static void take_open_file(struct spool_self *s, struct folder *d, const struct watch_file *f,
                           struct push_file *file, const struct camera *cam)
{
    struct err e = {0};
    char id[SNAPSHOT_ID_SIZE], before[SNAPSHOT_ID_SIZE];
    AUTO(blob) bytes = NULL;
    push_file_id(d->conf->name, f->path, &file->is, d->conf->keep, id);
    log_context_snapshot(id);
    if (is_flying(s, id, &file->is)) {
        watch_again(d->watch, f, BUSY_MS);
        return;
    }
    int r = look_up(s, d, id, &e);
    if (r == 1) {
        met_again(s, d, f, file, id, NULL);
        return;
    }
    if (r == 0)
        r = read_picture(s, file, cam, &bytes, &e);
    if (r == 0 && !d->conf->keep && push_leftovers_take(&s->leftovers, &file->is, bytes, before)) {
        met_again(s, d, f, file, before, bytes);
    } else if (r == 0) {
        struct push_identity is = file->is;
        launch(s, d, f, &is, make_item(s, d, f, file, cam, id, &bytes));
    } else if (e.retry == ERR_NEVER) {
        refuse(s, d, f, file, id, cam, e.text);
    } else if (r == -ESTALE || r == -EAGAIN) {
        watch_again(d->watch, f, r == -ESTALE ? CHANGED_MS : BUSY_MS);
    } else {
        show_trouble(d, e.text);
        watch_again(d->watch, f, REFUSED_MS);
    }
}

static void take_file(struct spool_self *s, struct folder *d, const struct watch_file *f)
{
    AUTO_DONE(push_file) file = PUSH_FILE_NONE;
    struct err e = {0};
    if (!is_picture(d, f->path))
        return;
    const struct camera *cam = find_camera(s, d, f->path);
    if (!cam)
        return;
    log_context_camera(cam->name);
    int r = push_file_open(d->conf->root, f->path, &file, &e);
    if (r == 0) {
        take_open_file(s, d, f, &file, cam);
    } else if (r == -ENOENT) {
        watch_forget(d->watch, f->path);
    } else if (r != -EINVAL) { /* a link, a device: not looked at */
        show_trouble(d, e.text);
        watch_again(d->watch, f, e.retry == ERR_NEVER ? TROUBLE_MS : BUSY_MS);
    }
    log_context_snapshot(NULL);
    log_context_camera(NULL);
}

/* ---- what intake made of it ---- */

static void landed(struct spool_self *s, struct flight *fl, enum fetched_outcome outcome)
{
    AUTO_DONE(push_file) file = PUSH_FILE_NONE;
    struct folder *d = fl->folder;
    const char *id = fl->item->trigger.id;
    struct err e = {0};
    if (outcome == FETCHED_RECORDED) {
        d->status.taken++;
        metric_inc(&taken, "taken");
        stage_count_done(s->stage);
        FAULT_POINT("after-push-recorded");
    }
    if (!d->watch) /* being opened anew: all is told again */
        return;
    if (outcome == FETCHED_REFUSED) {
        watch_again(d->watch, &fl->file, REFUSED_MS);
        return;
    }
    if (outcome == FETCHED_RECORDED && d->conf->keep)
        return;
    int r = push_file_open(d->conf->root, fl->file.path, &file, &e);
    bool same = r == 0 && push_identity_equal(&file.is, &fl->is);
    if (!same && outcome == FETCHED_RECORDED)
        push_leftovers_add(&s->leftovers, id, &fl->is, fl->item->bytes);
    /* Another file of that name is another picture, which the watch tells; not so when this one got
     * another time. */
    if (r == 0 && !same) {
        if (push_identity_same_file(&file.is, &fl->is))
            watch_again(d->watch, &fl->file, CHANGED_MS);
        return;
    }
    const struct camera *cam = camera_set_find(s->settings->cameras, fl->item->trigger.camera);
    if (r == 0 && outcome == FETCHED_RECORDED)
        put_away(s, d, &fl->file, &file, id, fl->item->bytes);
    else if (r == 0 && cam)
        refuse(s, d, &fl->file, &file, id, cam, fl->item->pushed->why);
    else if (r == -ENOENT)
        watch_forget(d->watch, fl->file.path);
    else
        watch_again(d->watch, &fl->file, BUSY_MS);
}

static void finish_flights(struct spool_self *s)
{
    for (int i = 0; i < FLIGHTS_MAX && s->flying; i++) {
        struct flight *fl = &s->flights[i];
        int outcome = fl->item ? atomic_load(&fl->item->outcome) : FETCHED_PENDING;
        if (outcome == FETCHED_PENDING)
            continue;
        log_context_camera(fl->item->trigger.camera);
        log_context_snapshot(fl->item->trigger.id);
        landed(s, fl, (enum fetched_outcome)outcome);
        s->flying_bytes -= fl->item->bytes->size;
        s->flying--;
        fetched_unref(STEAL(fl->item));
    }
    log_context_camera(NULL);
    log_context_snapshot(NULL);
}

/* ---- tidying ---- */

struct cleaned {
    struct spool_self *s;
    const struct folder *d;
};

/* No picture by its content, and the refused ones have no room for it. */
static bool was_refused(const struct cleaned *c, const char *path, const struct push_identity *is)
{
    char id[SNAPSHOT_ID_SIZE];
    struct ledger_story word;
    struct err e = {0};
    push_file_id(c->d->conf->name, path, is, false, id);
    return ledger_story(c->s->ledger, id, &word, 1, &e) == 1 && strcmp(word.what, "refused") == 0 &&
           ledger_note_drop(c->s->ledger, id, &e) == 0;
}

static bool is_unwanted(void *arg, const char *path, const struct push_identity *is)
{
    if (push_name_is_picture(path))
        return was_refused(arg, path, is);
    return true;
}

/* Folders that an account or a camera calls its own stay, and those of the configuration. */
static void clean_folders(struct spool_self *s, struct folder *d)
{
    const struct settings *now = s->settings;
    const char *const *fixed = now->kept_folders;
    size_t cameras = camera_set_count(now->cameras), n = 0, fixed_count = 0;
    while (fixed && fixed[fixed_count])
        fixed_count++;
    AUTO_FREE const char **keep =
        xcalloc(fixed_count + now->push_folder_count + cameras + 2, sizeof(*keep));
    AUTO_FREE char *names = xcalloc(cameras + 1, SNAPSHOT_PATH_MAX);
    for (size_t i = 0; i < fixed_count; i++)
        keep[n++] = fixed[i];
    for (size_t i = 0; i < now->push_folder_count; i++)
        if (now->push_folders[i].directory[0])
            keep[n++] = now->push_folders[i].directory;
    for (size_t i = 0; i < cameras; i++) {
        char *name = names + i * SNAPSHOT_PATH_MAX;
        (void)text_format(name, SNAPSHOT_PATH_MAX, "%s/%s", s->pipeline->spool->upload_dir,
                          camera_set_at(now->cameras, i)->directory); /* cut: no such folder */
        keep[n++] = name;
    }
    keep[n++] = s->pipeline->spool->upload_dir;
    struct err e = {0};
    int r = watch_clean_folders(d->watch, now->spool.clean_folders_ms, keep, &e);
    if (r < 0)
        log_warn("clean-failed", "empty folders: %s", e.text);
    else if (r > 0)
        log_info("cleaned", "%s: %d empty folders removed", d->conf->root, r);
}

/* No age is missed by more than itself. */
static int64_t clean_pause_ms(const struct spool_rules *rules)
{
    int64_t pause = CLEAN_MS;
    if (rules->clean_after_ms)
        pause = MIN(pause, rules->clean_after_ms);
    if (rules->clean_folders_ms)
        pause = MIN(pause, rules->clean_folders_ms);
    return MAX(pause, (int64_t)SWEEP_MAX_MS);
}

static void clean(struct spool_self *s, struct folder *d)
{
    const struct spool_rules *rules = &s->settings->spool;
    struct err e = {0};
    if (!d->conf->ftp || !d->watch || !d->recovered || !mono_passed(d->clean_at))
        return;
    d->clean_at = mono_add_ms(clock_mono(), clean_pause_ms(rules));
    if (rules->clean_folders_ms)
        clean_folders(s, d);
    if (rules->clean_after_ms) {
        struct cleaned c = {s, d};
        int r = push_file_clean(d->conf->root, rules->clean_after_ms, is_unwanted, &c, &e);
        if (r > 0)
            log_info("cleaned", "%s: %d files that are no pictures removed", d->conf->root, r);
    }
    if (refused_clean(s->pipeline->spool->refused_path, rules, s->ledger, &e) < 0)
        log_warn("clean-failed", "refused files: %s", e.text);
    stage_heartbeat(s->stage);
}

/* ---- life ---- */

static int spool_init(void *self, struct stage *st, struct err *e)
{
    struct spool_self *s = self;
    s->stage = st;
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll_fd < 0)
        return err_errno(e, -errno, "epoll");
    int r = ledger_open(s->pipeline->ledger_path, &s->ledger, e);
    if (r == 0)
        r = bus_out_open(s->pipeline->bus, EDGE_FETCHED, 1, FETCHED_DEPTH, &s->out, e);
    return r;
}

/* What is in the air is waited for: intake is still there. */
static bool spool_idle(void *self)
{
    struct spool_self *s = self;
    finish_flights(s);
    return s->flying == 0;
}

static void spool_fini(void *self)
{
    struct spool_self *s = self;
    for (int i = 0; i < FLIGHTS_MAX; i++)
        fetched_unref(s->flights[i].item);
    for (size_t i = 0; i < s->count; i++) {
        watch_free(s->folders[i].watch);
        push_route_free(s->folders[i].route);
    }
    forget_told(s);
    free(STEAL(s->folders));
    settings_unref(STEAL(s->settings));
    bus_out_close(s->out);
    ledger_close(s->ledger);
    if (s->epoll_fd >= 0)
        (void)close(s->epoll_fd); /* nothing unsaved behind it */
}

void *spool_stage_new(struct pipeline *p)
{
    size_t count = p->spool->count;
    struct spool_self *s = xcalloc(1, sizeof(*s) + count * sizeof(s->shown[0]));
    s->pipeline = p;
    s->epoll_fd = -1;
    s->count = count;
    s->folders = xcalloc(s->count, sizeof(*s->folders));
    pthread_mutex_init(&s->lock, NULL);
    for (size_t i = 0; i < s->count; i++) {
        struct folder *d = &s->folders[i];
        d->conf = &p->spool->folders[i];
        text_copy(d->status.name, sizeof(d->status.name), d->conf->name);
        text_copy(d->status.root, sizeof(d->status.root), d->conf->root);
        s->shown[i] = d->status;
    }
    return s;
}

size_t spool_stage_status(void *self, struct spool_status *ret, size_t max)
{
    struct spool_self *s = self;
    size_t n = MIN(s->count, max);
    pthread_mutex_lock(&s->lock);
    memcpy(ret, s->shown, n * sizeof(*ret));
    pthread_mutex_unlock(&s->lock);
    return n;
}

const struct stage_ops spool_stage = {
    .name = "spool",
    .hang_ms = 120000, /* a large tree on a slow network file system */
    .register_metrics = register_metrics,
    .init = spool_init,
    .sweep = spool_sweep,
    .fd = spool_fd,
    .ready = spool_ready,
    .idle = spool_idle,
    .fini = spool_fini,
};
