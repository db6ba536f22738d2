#include "sim/sim_push.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/dynbuf.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "sim/sim_fault.h"
#include "sim/sim_frames.h"

/* A camera has `parallel` workers, each with a session of its own. They take pictures in turn:
 * under the camera's lock a worker takes the next frame, its name, and when it is due; then it
 * waits for that moment and uploads. So a slow upload holds up nothing but its own session. */

enum {
    GRACE_MS = 5000,      /* of an upload under way at a stop */
    RETRY_MS_MAX = 60000, /* the pause doubles up to this */
    LINE_MAX_BYTES = 4096,
    WORKERS_MAX = 4096, /* threads: 8 MB of address space each */
};

struct camera {
    struct sim_push *push;
    char *name; /* shown */
    char *user, *password, *folder, *device;
    struct sim_ftp_options ftp, ftp_wrong; /* with the right and with a wrong password */
    pthread_mutex_t lock;                  /* of all below */
    struct sim_frames frames;
    size_t next_frame;
    struct sim_shot shot;
    int64_t taken;
    int in_burst;
    struct mono_time due;
    struct sim_fault_set faults;
    int64_t pushed, lost, failed;
    double ms_sum, ms_max;
};

struct worker {
    struct camera *camera;
    pthread_t thread;
    bool started;
    /* The session; NULL without one. */
    struct sim_ftp *ftp;
    char cwd[SIM_PUSH_PATH_MAX];  /* below the login's folder, "" = there */
    char made[SIM_PUSH_PATH_MAX]; /* the folder that it made last */
};

struct sim_push {
    struct sim_push_options o;
    struct camera *cameras;
    struct worker *workers;
    size_t worker_count;
    atomic_size_t running;
    int stop_fd; /* no new pictures */
    int kill_fd; /* give up what is under way */
    int done_fd;
    bool stopped;
};

/* One picture to push. */
struct picture {
    const void *bytes;
    size_t size;
    char folder[SIM_PUSH_PATH_MAX]; /* below the login's */
    char name[SIM_PUSH_PATH_MAX];
    struct sim_shot shot;
    struct mono_time due;
};

static int camera_init(struct camera *c, struct sim_push *p, const struct camera_sim_source *source,
                       const struct sim_push_options *o, struct err *e);
static void camera_done(struct camera *c);
static void *work(void *arg);
static void summary(const struct camera *c);

int sim_push_start(const struct sim_push_options *o, struct sim_push **ret, struct err *e)
{
    AUTO(sim_push) p = xcalloc(1, sizeof(*p));
    p->o = *o;
    p->stop_fd = eventfd(0, EFD_CLOEXEC);
    p->kill_fd = eventfd(0, EFD_CLOEXEC);
    p->done_fd = eventfd(0, EFD_CLOEXEC);
    if (p->stop_fd < 0 || p->kill_fd < 0 || p->done_fd < 0)
        return err_errno(e, -errno, "pushing camera");
    size_t count = o->source_count * (size_t)o->parallel;
    if (count > WORKERS_MAX)
        return err_set(e, -E2BIG, ERR_NEVER, "more than %d sessions at once", WORKERS_MAX);
    p->cameras = xcalloc(o->source_count, sizeof(*p->cameras));
    for (size_t i = 0; i < o->source_count; i++) {
        int r = camera_init(&p->cameras[i], p, &o->sources[i], o, e);
        if (r < 0)
            return r;
    }
    p->workers = xcalloc(count, sizeof(*p->workers));
    p->worker_count = count;
    atomic_store(&p->running, count);
    for (size_t i = 0; i < count; i++) {
        struct worker *w = &p->workers[i];
        w->camera = &p->cameras[i / (size_t)o->parallel];
        int r = pthread_create(&w->thread, NULL, work, w);
        if (r != 0)
            return err_errno(e, -r, "thread of a pushing camera");
        w->started = true;
    }
    *ret = STEAL(p);
    return 0;
}

int sim_push_done_fd(const struct sim_push *p)
{
    return p->done_fd;
}

static void raise_event(int fd)
{
    const uint64_t one = 1;
    (void)!write(fd, &one, sizeof(one)); /* a counter far from its end takes a 1 without fail */
}

/* True when `fd` became readable within `ms` (-1: no end). */
static bool wait_event(int fd, int ms)
{
    struct mono_time until = mono_add_ms(clock_mono(), ms);
    for (;;) {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        int n = poll(&one, 1, ms < 0 ? -1 : mono_until_ms(until));
        if (n > 0)
            return true;
        if (n == 0 || errno != EINTR)
            return false;
    }
}

void sim_push_stop(struct sim_push *p)
{
    if (p->stopped)
        return;
    p->stopped = true;
    raise_event(p->stop_fd);
    (void)wait_event(p->done_fd, GRACE_MS); /* whoever is late is interrupted */
    raise_event(p->kill_fd);
    for (size_t i = 0; i < p->worker_count; i++)
        if (p->workers[i].started)
            pthread_join(p->workers[i].thread, NULL);
    for (size_t i = 0; i < p->o.source_count; i++)
        summary(&p->cameras[i]);
}

int64_t sim_push_lost(const struct sim_push *p)
{
    int64_t lost = 0;
    for (size_t i = 0; i < p->o.source_count; i++)
        lost += p->cameras[i].lost;
    return lost;
}

void sim_push_free(struct sim_push *p)
{
    if (!p)
        return;
    if (p->workers && !p->stopped) { /* half-built */
        raise_event(p->stop_fd);
        raise_event(p->kill_fd);
        for (size_t i = 0; i < p->worker_count; i++)
            if (p->workers[i].started)
                pthread_join(p->workers[i].thread, NULL);
    }
    for (size_t i = 0; p->cameras && i < p->o.source_count; i++)
        camera_done(&p->cameras[i]);
    free(p->cameras);
    free(p->workers);
    const int fds[] = {p->stop_fd, p->kill_fd, p->done_fd};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            (void)close(fds[i]); /* counters hold nothing to lose */
    free(p);
}

/* ---- a camera ---- */

static void say(const struct camera *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(const struct camera *c, const char *fmt, ...)
{
    AUTO_DONE(dynbuf) line;
    dynbuf_init(&line, LINE_MAX_BYTES);
    (void)dynbuf_printf(&line, "camera-sim: %s: ", c->name);
    va_list ap;
    va_start(ap, fmt);
    (void)dynbuf_vprintf(&line, fmt, ap); /* a line that is too long is cut */
    va_end(ap);
    /* One call each, so that lines of several threads do not mix. */
    (void)printf("%s\n", dynbuf_str(&line));
    (void)fflush(stdout);
}

static void trace(void *arg, char direction, const char *line)
{
    say(arg, "%c %s", direction, line);
}

/* A copy with {name} replaced. */
static char *with_name(const char *text, const char *name)
{
    static const char mark[] = "{name}";
    const char *at = strstr(text, mark);
    return at ? xasprintf("%.*s%s%s", (int)(at - text), text, name, at + strlen(mark))
              : xstrdup(text);
}

static int camera_init(struct camera *c, struct sim_push *p, const struct camera_sim_source *source,
                       const struct sim_push_options *o, struct err *e)
{
    const char *name = source->name ? source->name : "";
    c->push = p;
    pthread_mutex_init(&c->lock, NULL);
    const char *device = o->device ? o->device : *name ? name : o->pusher->device;
    c->device = with_name(device, name);
    c->name = xstrdup(*name ? name : c->device);
    c->user = with_name(o->user, name);
    c->password = with_name(o->password, name);
    c->folder = with_name(o->folder, name);
    c->ftp = (struct sim_ftp_options){
        .host = o->host,
        .port = o->port,
        .user = c->user,
        .password = c->password,
        .tls = o->tls,
        .tls_ca_file = o->tls_ca_file,
        .bare_lf = o->habits & SIM_HABIT(BARE_LF),
        .timeout_ms = o->timeout_ms,
        .stop_fd = p->kill_fd,
        .trace = o->trace ? trace : NULL,
        .trace_arg = c,
    };
    c->ftp_wrong = c->ftp;
    c->ftp_wrong.password = "not-the-password";
    c->due = clock_mono();
    for (const char *const *f = o->faults; f && *f; f++) {
        int r = sim_push_fault_parse(&c->faults, *f, e);
        if (r < 0)
            return r;
    }
    return sim_frames_load(&c->frames, source->path, e);
}

static void camera_done(struct camera *c)
{
    if (!c->push)
        return; /* never made */
    sim_frames_done(&c->frames);
    free(c->name);
    free(c->user);
    free(c->password);
    free(c->folder);
    free(c->device);
    pthread_mutex_destroy(&c->lock);
}

static void summary(const struct camera *c)
{
    say(c, "%lld pictures pushed, %lld lost, %lld failed tries, %.0f ms each, %.0f at most",
        (long long)c->pushed, (long long)c->lost, (long long)c->failed,
        c->pushed ? c->ms_sum / (double)c->pushed : 0, c->ms_max);
}

static int fill_name(const struct camera *c, const char *pattern, const struct sim_shot *shot,
                     char ret[SIM_PUSH_PATH_MAX])
{
    const struct sim_push_options *o = &c->push->o;
    time_t seconds = (time_t)wall_seconds(shot->at);
    struct tm local;
    if (!localtime_r(&seconds, &local))
        return -EOVERFLOW;
    return sim_pusher_name(o->pusher, pattern, c->device, o->event, shot, &local, ret);
}

/* "a/b" of "a" and "b"; either may be empty. */
static int join(const char *folder, const char *below, char ret[SIM_PUSH_PATH_MAX])
{
    int n =
        text_format(ret, SIM_PUSH_PATH_MAX, "%s%s%s", folder, *folder && *below ? "/" : "", below);
    return n < 0 ? -ENAMETOOLONG : 0;
}

/* Splits a path below the camera's folder into the folder below the login's, and the name. */
static int split(const struct camera *c, const char *path, char folder[SIM_PUSH_PATH_MAX],
                 char name[SIM_PUSH_PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    char above[SIM_PUSH_PATH_MAX] = "";
    if (slash)
        (void)text_format(above, sizeof(above), "%.*s", (int)(slash - path), path); /* fits */
    (void)text_copy(name, SIM_PUSH_PATH_MAX, slash ? slash + 1 : path);             /* fits */
    return join(c->folder, above, folder);
}

static int place(const struct camera *c, struct picture *pic, struct err *e)
{
    const struct sim_pusher *pusher = c->push->o.pusher;
    char below[SIM_PUSH_PATH_MAX];
    int r = fill_name(c, pusher->folder, &pic->shot, below);
    if (r == 0)
        r = fill_name(c, pusher->picture, &pic->shot, pic->name);
    if (r == 0)
        r = join(c->folder, below, pic->folder);
    return r < 0 ? err_errno(e, r, "the picture's name") : 0;
}

/* The next picture, and when it is due. 1, 0 when there are no more, or why it cannot be. */
static int take_picture(struct camera *c, struct picture *pic, struct err *e)
{
    const struct sim_push_options *o = &c->push->o;
    if (o->count && c->taken == o->count)
        return 0;
    c->taken++;
    struct sim_frame *frame = &c->frames.list[c->next_frame];
    if (c->next_frame + 1 < c->frames.count)
        c->next_frame++;
    else if (!o->once)
        c->next_frame = 0;
    int r = sim_frame_read(frame, e);
    if (r < 0)
        return r;
    pic->bytes = frame->bytes->data; /* it stays as long as the camera */
    pic->size = frame->bytes->size;
    pic->due = c->due;
    struct mono_time now = clock_mono();
    if (++c->in_burst >= o->burst) {
        c->in_burst = 0;
        c->due = mono_add_ms(c->due, o->interval_ms);
        if (c->due.us < now.us)
            c->due = now; /* what was missed is not caught up */
    }
    /* It is named for the moment at which it will be due. */
    int64_t wait_us = MAX(pic->due.us - now.us, (int64_t)0);
    struct wall_time at = {clock_wall().us + wait_us + (int64_t)o->clock_ahead_s * 1000000};
    sim_pusher_shoot(o->pusher, at, &c->shot);
    pic->shot = c->shot;
    r = place(c, pic, e);
    return r < 0 ? r : 1;
}

/* ---- a session ---- */

static void hang_up(struct worker *w, bool politely)
{
    if (w->ftp && politely)
        sim_ftp_quit(w->ftp);
    sim_ftp_close(STEAL(w->ftp));
    w->cwd[0] = '\0';
    w->made[0] = '\0';
}

static bool has(const struct worker *w, unsigned habit)
{
    return w->camera->push->o.habits & habit;
}

static int ask(struct worker *w, struct sim_ftp_reply *ret, struct err *e, const char *verb,
               const char *argument)
{
    bool old = has(w, SIM_HABIT(OLD)) &&
               (!strcmp(verb, "MKD") || !strcmp(verb, "CWD") || !strcmp(verb, "PWD"));
    return sim_ftp_ask(w->ftp, ret, e, "%s%s%s%s", old ? "X" : "", verb, *argument ? " " : "",
                       argument);
}

/* The same for what must be answered well: -EPROTO with the reply otherwise. */
static int demand(struct worker *w, struct err *e, const char *verb, const char *argument)
{
    struct sim_ftp_reply reply;
    int r = ask(w, &reply, e, verb, argument);
    if (r == 0 && reply.code >= 400)
        r = err_set(e, -EPROTO, ERR_LATER, "%s: %s", verb, reply.text);
    return r;
}

static int greet(struct worker *w, struct err *e)
{
    static const char *const questions[][2] = {{"SYST", ""}, {"FEAT", ""}, {"OPTS", "UTF8 ON"}};
    struct sim_ftp_reply reply;
    int r = 0;
    for (size_t i = 0; r == 0 && has(w, SIM_HABIT(GREET)) && i < ARRAY_LEN(questions); i++)
        r = ask(w, &reply, e, questions[i][0], questions[i][1]);
    if (r == 0 && has(w, SIM_HABIT(PWD)))
        r = ask(w, &reply, e, "PWD", "");
    return r;
}

static int log_in(struct worker *w, bool wrong, struct err *e)
{
    hang_up(w, false);
    const struct camera *c = w->camera;
    int r = sim_ftp_open(wrong ? &c->ftp_wrong : &c->ftp, &w->ftp, e);
    return r < 0 ? r : greet(w, e);
}

/* A path as this camera writes it, from one below the login's folder. */
static void spell(const struct worker *w, const char *below, char ret[SIM_PUSH_PATH_MAX])
{
    size_t n = 0;
    bool twice = has(w, SIM_HABIT(SLASHES));
    char slash = has(w, SIM_HABIT(BACKSLASHES)) ? '\\' : '/';
    /* Room for two slashes and the end; what is longer is cut, and the server's answer tells. */
    ret[n++] = slash;
    if (twice)
        ret[n++] = slash;
    for (const char *s = below; *s && n < SIM_PUSH_PATH_MAX - 3; s++) {
        if (*s == '/' && twice)
            ret[n++] = slash;
        ret[n++] = *s == '/' ? slash : *s;
    }
    ret[n] = '\0';
}

/* MKD of each part of the path, or of the whole in one go; whatever the answers are. */
static int make_folders(struct worker *w, const char *folder, struct err *e)
{
    struct sim_ftp_reply reply = {0};
    char part[SIM_PUSH_PATH_MAX], path[SIM_PUSH_PATH_MAX];
    int r = 0;
    if (has(w, SIM_HABIT(MKD_DEEP))) {
        spell(w, folder, path);
        r = ask(w, &reply, e, "MKD", path);
        if (r < 0 || reply.code < 400)
            return r;
        /* Either it is there, or this server makes one folder at a time. */
    }
    for (const char *end = folder; r == 0 && *end;) {
        end = strchrnul(*end == '/' ? end + 1 : end, '/');
        (void)text_format(part, sizeof(part), "%.*s", (int)(end - folder), folder); /* fits */
        spell(w, part, path);
        r = ask(w, &reply, e, "MKD", path);
    }
    return r;
}

static int enter_at_once(struct worker *w, const char *folder, struct err *e)
{
    struct sim_ftp_reply reply;
    char path[SIM_PUSH_PATH_MAX];
    spell(w, folder, path);
    int r = ask(w, &reply, e, "CWD", path);
    if (r < 0 || reply.code < 400)
        return r;
    r = make_folders(w, folder, e);
    return r < 0 ? r : demand(w, e, "CWD", path);
}

/* From the top, each by its name. */
static int enter_step_by_step(struct worker *w, const char *folder, struct err *e)
{
    struct sim_ftp_reply reply;
    char name[SIM_PUSH_PATH_MAX];
    bool always = has(w, SIM_HABIT(MKD_EACH));
    int r = *w->cwd ? demand(w, e, "CWD", "/") : 0;
    for (const char *at = folder; r == 0 && *at;) {
        size_t len = strcspn(at, "/");
        (void)text_format(name, sizeof(name), "%.*s", (int)len, at); /* fits */
        at += len + (at[len] == '/');
        if (always)
            r = ask(w, &reply, e, "MKD", name);
        else {
            r = ask(w, &reply, e, "CWD", name);
            if (r == 0 && reply.code < 400)
                continue;
            if (r == 0)
                r = ask(w, &reply, e, "MKD", name);
        }
        if (r == 0)
            r = demand(w, e, "CWD", name);
    }
    return r;
}

/* Sees to the folder, and says how the file is to be named to the server. */
static int go_to(struct worker *w, const char *folder, const char *name,
                 char ret[SIM_PUSH_PATH_MAX], struct err *e)
{
    int r = 0;
    if (has(w, SIM_HABIT(STOR_PATH))) {
        char path[SIM_PUSH_PATH_MAX];
        if (strcmp(w->made, folder) != 0)
            r = make_folders(w, folder, e);
        (void)text_copy(w->made, sizeof(w->made), folder); /* fits */
        if (r == 0 && join(folder, name, path) < 0)
            return err_set(e, -ENAMETOOLONG, ERR_NEVER, "the picture's name is too long");
        if (r == 0)
            spell(w, path, ret);
        return r;
    }
    if (strcmp(w->cwd, folder) != 0)
        r = has(w, SIM_HABIT(CWD_FULL)) ? enter_at_once(w, folder, e)
                                        : enter_step_by_step(w, folder, e);
    if (r == 0) {
        (void)text_copy(w->cwd, sizeof(w->cwd), folder); /* fits */
        (void)text_copy(ret, SIM_PUSH_PATH_MAX, name);   /* fits */
    }
    return r;
}

/* ---- an upload ---- */

static int check_size(struct worker *w, const char *name, size_t size, struct err *e)
{
    struct sim_ftp_reply reply;
    int r = ask(w, &reply, e, "SIZE", name);
    if (r < 0)
        return r;
    int64_t got = -1;
    if (reply.code == 213)
        (void)parse_int64(reply.text + 4, strlen(reply.text + 4), 0, INT64_MAX, &got); /* else -1 */
    if (got != (int64_t)size)
        return err_set(e, -EPROTO, ERR_LATER, "SIZE of %zu bytes: %s", size, reply.text);
    return 0;
}

static int rename_file(struct worker *w, const char *from, const char *to, struct err *e)
{
    struct sim_ftp_reply reply;
    int r = ask(w, &reply, e, "RNFR", from);
    if (r == 0 && reply.code != 350)
        r = err_set(e, -EPROTO, ERR_LATER, "RNFR: %s", reply.text);
    return r < 0 ? r : demand(w, e, "RNTO", to);
}

/* Stores bytes in a folder below the login's; the final reply in `ret` when the server took them.
 */
static int store(struct worker *w, const char *folder, const char *name,
                 const struct sim_ftp_upload *how, struct sim_ftp_reply *ret, struct err *e)
{
    const struct sim_pusher *pusher = w->camera->push->o.pusher;
    bool rename = has(w, SIM_HABIT(RENAME));
    char unfinished[SIM_PUSH_PATH_MAX], target[SIM_PUSH_PATH_MAX], first[SIM_PUSH_PATH_MAX];
    int n = text_format(unfinished, sizeof(unfinished), "%s%s%s", pusher->unfinished_prefix, name,
                        pusher->unfinished_suffix);
    if (n < 0)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "the picture's name is too long");
    int r = go_to(w, folder, rename ? unfinished : name, first, e);
    if (r == 0)
        r = go_to(w, folder, name, target, e);
    if (r == 0)
        r = demand(w, e, "TYPE", has(w, SIM_HABIT(TYPE_A)) ? "A" : "I");
    if (r == 0 && has(w, SIM_HABIT(ALLO))) {
        char size[24];
        (void)text_format(size, sizeof(size), "%zu", how->size); /* fits */
        r = demand(w, e, "ALLO", size);
    }
    if (r < 0)
        return r;
    struct sim_ftp_upload upload = *how;
    upload.verb = has(w, SIM_HABIT(APPEND)) ? "APPE" : "STOR";
    upload.path = first;
    upload.active = has(w, SIM_HABIT(ACTIVE));
    upload.extended = has(w, SIM_HABIT(EXTENDED));
    r = sim_ftp_upload(w->ftp, &upload, ret, e);
    if (r == 0 && ret->code >= 300)
        r = err_set(e, -EPROTO, ERR_LATER, "%s: %s", upload.verb, ret->text);
    if (r == 0 && rename)
        r = rename_file(w, first, target, e);
    if (r == 0 && has(w, SIM_HABIT(SIZE)))
        r = check_size(w, target, how->size, e);
    if (r == 0 && has(w, SIM_HABIT(CHMOD))) {
        struct sim_ftp_reply ignored;
        r = sim_ftp_ask(w->ftp, &ignored, e, "SITE CHMOD 644 %s", target);
    }
    return r;
}

static int64_t parameter(const struct sim_fault *f, int64_t fallback)
{
    int64_t n = fallback;
    (void)parse_int64(f->parameter, strlen(f->parameter), 0, 1LL << 32, &n); /* else the fallback */
    return n;
}

/* How a picture goes out under a fault (an own one, since another worker may pick meanwhile). */
static struct sim_ftp_upload upload_for(const struct picture *pic, const struct sim_fault *f)
{
    static const char text[] = "This is no picture.\r\n";
    struct sim_ftp_upload u = {.bytes = pic->bytes, .size = pic->size};
    switch ((enum sim_push_fault_id)f->id) {
    case SIM_PUSH_FAULT_CUT:
        u.end = SIM_FTP_END_CUT;
        break;
    case SIM_PUSH_FAULT_RESET:
        u.end = SIM_FTP_END_RESET;
        break;
    case SIM_PUSH_FAULT_VANISH:
        u.end = SIM_FTP_END_VANISH;
        break;
    case SIM_PUSH_FAULT_STALL:
        u.end = SIM_FTP_END_STALL;
        u.stall_ms = parameter(f, 600) * 1000;
        break;
    case SIM_PUSH_FAULT_DRIP:
        u.rate = MAX(parameter(f, 1000), (int64_t)1);
        break;
    case SIM_PUSH_FAULT_ABORT:
        u.end = SIM_FTP_END_ABORT;
        break;
    case SIM_PUSH_FAULT_ABRUPT:
        u.end = SIM_FTP_END_ABRUPT;
        break;
    case SIM_PUSH_FAULT_EMPTY:
        u.size = 0;
        break;
    case SIM_PUSH_FAULT_TEXT:
        u.bytes = text;
        u.size = strlen(text);
        break;
    case SIM_PUSH_FAULT_NONE:
    case SIM_PUSH_FAULT_PASSWORD:
    case SIM_PUSH_FAULT_TWICE:
    case SIM_PUSH_FAULT_VIDEO:
    case SIM_PUSH_FAULT_OTHER:
    case SIM_PUSH_FAULT_COUNT:
        break;
    }
    return u;
}

static int store_beside(struct worker *w, const char *pattern, const struct sim_shot *shot,
                        const struct sim_ftp_upload *how, struct err *e)
{
    const struct camera *c = w->camera;
    char path[SIM_PUSH_PATH_MAX], folder[SIM_PUSH_PATH_MAX], name[SIM_PUSH_PATH_MAX];
    struct sim_ftp_reply reply;
    if (fill_name(c, pattern, shot, path) < 0 || split(c, path, folder, name) < 0)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "the name of a file is too long");
    int r = store(w, folder, name, how, &reply, e);
    if (r < 0)
        return err_prefix(e, "%s", name);
    say(c, "beside it /%s/%s: %zu bytes: %s", folder, name, how->size, reply.text);
    return 0;
}

static int store_video(struct worker *w, const struct picture *pic, size_t size, struct err *e)
{
    AUTO_FREE char *bytes = mem_try_alloc(size ? size : 1, 1, 1u << 30);
    if (!bytes)
        return err_set(e, -ENOMEM, ERR_NEVER, "no memory for a video of %zu bytes", size);
    memset(bytes, 0x5a, size);
    const struct sim_ftp_upload how = {.bytes = bytes, .size = size};
    return store_beside(w, w->camera->push->o.pusher->video, &pic->shot, &how, e);
}

/* One try of one picture. */
static int try_picture(struct worker *w, const struct picture *pic, const struct sim_fault *f,
                       struct sim_ftp_reply *reply, struct err *e)
{
    bool wrong = f->id == SIM_PUSH_FAULT_PASSWORD;
    if (wrong || !w->ftp) {
        int r = log_in(w, wrong, e);
        if (r < 0)
            return r;
    }
    const struct sim_ftp_upload how = upload_for(pic, f);
    static const char text[] = "event: motion\r\n";
    const struct sim_ftp_upload other = {.bytes = text, .size = strlen(text)};
    int r = store(w, pic->folder, pic->name, &how, reply, e);
    if (r == 0 && f->id == SIM_PUSH_FAULT_TWICE)
        r = store(w, pic->folder, pic->name, &how, reply, e);
    if (r == 0 && f->id == SIM_PUSH_FAULT_VIDEO)
        r = store_video(w, pic, (size_t)parameter(f, 100000), e);
    if (r == 0 && f->id == SIM_PUSH_FAULT_OTHER)
        r = store_beside(w, w->camera->push->o.pusher->other, &pic->shot, &other, e);
    return r;
}

static struct sim_fault pick_fault(struct camera *c)
{
    pthread_mutex_lock(&c->lock);
    const struct sim_fault *picked = sim_fault_pick(&c->faults);
    struct sim_fault f = picked ? *picked : (struct sim_fault){.id = SIM_PUSH_FAULT_NONE};
    pthread_mutex_unlock(&c->lock);
    return f;
}

static void count(struct camera *c, int64_t *counter, double ms)
{
    pthread_mutex_lock(&c->lock);
    ++*counter;
    if (counter == &c->pushed) {
        c->ms_sum += ms;
        c->ms_max = MAX(c->ms_max, ms);
    }
    pthread_mutex_unlock(&c->lock);
}

/* Waits; with a kept session it is kept alive meanwhile. False when it is time to stop. */
static bool wait_until_due(struct worker *w, struct mono_time due)
{
    const struct sim_push *p = w->camera->push;
    while (!mono_passed(due)) {
        int64_t ms = mono_until_ms(due);
        bool alive = w->ftp && ms > p->o.keepalive_ms;
        if (wait_event(p->stop_fd, (int)(alive ? p->o.keepalive_ms : ms)))
            return false;
        struct sim_ftp_reply reply;
        struct err ignored = {0};
        if (alive && ask(w, &reply, &ignored, has(w, SIM_HABIT(PWD)) ? "PWD" : "NOOP", "") < 0)
            hang_up(w, false); /* the next picture logs in again */
    }
    return !wait_event(p->stop_fd, 0);
}

static void push_picture(struct worker *w, const struct picture *pic)
{
    struct camera *c = w->camera;
    const struct sim_push_options *o = &c->push->o;
    int64_t pause = o->retry_ms;
    for (int tried = 1;; tried++) {
        struct sim_fault f = pick_fault(c);
        struct sim_ftp_reply reply = {0};
        struct err e = {0};
        bool kept = w->ftp;
        struct mono_time start = clock_mono();
        int r = try_picture(w, pic, &f, &reply, &e);
        double ms = mono_diff_ms(clock_mono(), start);
        const char *slash = *pic->folder ? "/" : "";
        if (r == 0) {
            count(c, &c->pushed, ms);
            say(c, "pushed %s%s/%s: %zu bytes, %.0f ms: %s", slash, pic->folder, pic->name,
                pic->size, ms, reply.text);
            if (!has(w, SIM_HABIT(KEPT)))
                hang_up(w, true);
            return;
        }
        hang_up(w, e.code == -EPROTO); /* a refusal leaves a session that can be left in form */
        count(c, &c->failed, ms);
        bool again = r != -ECANCELED && (!o->tries || tried < o->tries);
        /* A kept session that the server has closed meanwhile is nothing to wait for. */
        int64_t wait = kept && tried == 1 ? 0 : pause;
        char next[64] = "given up";
        if (again)
            (void)text_format(next, sizeof(next), "again in %lld ms", (long long)wait); /* fits */
        say(c, "not pushed %s%s/%s: %s: %s", slash, pic->folder, pic->name, e.text, next);
        if (!again || !wait_until_due(w, mono_add_ms(clock_mono(), wait))) {
            count(c, &c->lost, 0);
            return;
        }
        if (wait)
            pause = MIN(pause * 2, (int64_t)RETRY_MS_MAX);
    }
}

/* What the button "Test" in a camera's page does. */
static void press_test_button(struct worker *w)
{
    struct camera *c = w->camera;
    static const char text[] = "This is a test file.\r\n";
    const struct sim_ftp_upload how = {.bytes = text, .size = strlen(text)};
    const struct sim_shot now = {.at = clock_wall()};
    char path[SIM_PUSH_PATH_MAX], folder[SIM_PUSH_PATH_MAX], name[SIM_PUSH_PATH_MAX];
    char target[SIM_PUSH_PATH_MAX];
    struct sim_ftp_reply reply;
    struct err e = {0};
    int r = fill_name(c, c->push->o.pusher->test, &now, path);
    if (r == 0)
        r = split(c, path, folder, name);
    if (r == 0)
        r = log_in(w, false, &e);
    if (r == 0)
        r = store(w, folder, name, &how, &reply, &e);
    if (r == 0)
        r = go_to(w, folder, name, target, &e);
    if (r == 0)
        r = demand(w, &e, "DELE", target);
    say(c, "test button: %s", r == 0 ? "success" : e.text);
    if (r < 0 || !has(w, SIM_HABIT(KEPT)))
        hang_up(w, r == 0);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct camera *c = w->camera;
    struct sim_push *p = c->push;
    bool first = w == p->workers || w[-1].camera != c;
    if (p->o.test_button && first)
        press_test_button(w);
    for (;;) {
        struct picture pic;
        struct err e = {0};
        pthread_mutex_lock(&c->lock);
        int r = take_picture(c, &pic, &e);
        pthread_mutex_unlock(&c->lock);
        if (r < 0)
            say(c, "%s", e.text);
        if (r <= 0 || !wait_until_due(w, pic.due))
            break;
        push_picture(w, &pic);
    }
    hang_up(w, true);
    if (atomic_fetch_sub(&p->running, 1) == 1)
        raise_event(p->done_fd);
    return NULL;
}
