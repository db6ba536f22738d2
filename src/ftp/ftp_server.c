#include "ftp/ftp_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/altstack.h"
#include "base/dynbuf.h"
#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "ftp/ftp_session.h"
#include "sys/stack.h"

/* The loop turns at least so often; health looks at it. */
#define BEAT_MS 1000
/* Memory of idle blocks goes back, and gauges are set. */
#define CARE_MS 5000
/* Clients that knock at one moment, all cameras of a house after a power cut among them; the kernel
 * caps it at net.core.somaxconn. */
#define BACKLOG 1024
/* Connections taken in one turn, so that those who are in are served meanwhile. */
#define ACCEPTS_PER_TURN 64
/* Descriptors that new control connections leave alone: data connections and files of those who are
 * in, and the rest of the program. */
#define DESCRIPTORS_KEPT 64
#define NO_DESCRIPTORS_PAUSE_MS 500
/* A disk thread that does not come back so long after the grace hangs. */
#define HUNG_MS 5000
/* Where the configuration names none: the range that IANA set aside for such ports. */
#define DYNAMIC_PORT_MIN 49152
#define DYNAMIC_PORT_MAX 65535
/* A camera that lost its power is noticed after some 2 minutes. */
#define KEEPALIVE_IDLE_S 60
#define KEEPALIVE_EACH_S 20
#define KEEPALIVE_COUNT 3

struct listener {
    struct ftp_watch watch;
    struct ftp_server *server;
    bool tls;
};

struct ftp_server {
    struct ftp_shared shared;
    struct listener listeners[FTP_LISTENERS_MAX];
    size_t listener_count;
    int port;
    char listen_text[256];
    struct ftp_jail_options jail;
    char *root;
    int reserve_fd; /* given up for a moment to say 421 when there are no others */
    struct ftp_watch wake, disk_done;
    struct ftp_timer care, resume, grace;
    struct mono_time quiet_until; /* no further line about refused connections before */
    int refused_quietly;
    pthread_t thread;
    bool running; /* the thread is to be joined */
    atomic_llong beat_us;
    /* From other threads. */
    pthread_mutex_t lock;
    struct ftp_realm *latest; /* accounts that were set last */
    bool stop_asked;
    int64_t grace_ms;
};

static int open_all(struct ftp_server *s, const struct ftp_server_options *o, struct err *e);
static void *run(void *arg);

int ftp_server_start(const struct ftp_server_options *o, struct ftp_server **ret, struct err *e)
{
    struct ftp_server *s = xcalloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->shared.error_lock, NULL);
    s->reserve_fd = s->wake.fd = s->disk_done.fd = -1;
    int r = open_all(s, o, e);
    if (r == 0) {
        atomic_store(&s->beat_us, clock_mono().us);
        r = -pthread_create(&s->thread, NULL, run, s);
        if (r < 0)
            err_errno(e, r, "FTP thread");
    }
    if (r < 0) {
        ftp_server_free(s);
        return r;
    }
    s->running = true;
    *ret = s;
    return 0;
}

/* ---- opening ---- */

static void copy_config(struct ftp_server *s, const struct ftp_server_options *o)
{
    const struct ftp_config *c = o->config;
    struct ftp_shared *sh = &s->shared;
    sh->config = *c;
    /* Texts may go with a reload; what is needed of them is kept apart. */
    sh->config.listen = sh->config.tls_listen = sh->config.user = sh->config.password = NULL;
    sh->config.create_dirs = NULL;
    sh->config.banner = sh->config.masquerade = NULL;
    sh->config.tls_cert_file = sh->config.tls_key_file = NULL;
    sh->config.tls = ftp_config_tls(c);
    sh->banner = *c->banner ? xstrdup(c->banner) : xasprintf("%s FTP.", o->app_name);
    sh->ports = (struct ftp_ports){(int)c->passive_port_min, (int)c->passive_port_max};
    if (sh->ports.min <= 0 || sh->ports.max < sh->ports.min)
        sh->ports = (struct ftp_ports){DYNAMIC_PORT_MIN, DYNAMIC_PORT_MAX};
    sh->has_masquerade = c->masquerade && inet_pton(AF_INET, c->masquerade, &sh->masquerade) == 1;
}

static int make_folder(int root_fd, const char *upload_dir, const char *name, struct err *e)
{
    AUTO_FREE char *path =
        xasprintf("%s/%s", upload_dir + strspn(upload_dir, "/"), name + strspn(name, "/"));
    return fs_mkdirs(root_fd, path + strspn(path, "/"), 0700, e);
}

static int make_folders(struct ftp_server *s, const struct ftp_server_options *o, struct err *e)
{
    const struct ftp_config *c = o->config;
    AUTO_CLOSE int fd = -1;
    int r = fs_mkdirs(AT_FDCWD, s->root, 0700, e);
    if (r == 0)
        r = fs_open_dir(AT_FDCWD, s->root, &fd, e);
    for (const char *const *d = c->create_dirs; r == 0 && d && *d; d++)
        r = make_folder(fd, o->upload_dir, *d, e);
    if (r < 0)
        return err_prefix(e, "FTP folders"), r;
    int cleaned = ftp_jail_clean(s->root, e);
    if (cleaned < 0)
        return err_prefix(e, "FTP root"), cleaned;
    if (cleaned > 0)
        log_notice("ftp-cleaned", "%d unfinished upload%s of an earlier run removed", cleaned,
                   cleaned == 1 ? "" : "s");
    if (c->sync && ftp_jail_is_memory(fd))
        log_notice(
            "ftp-in-memory",
            "the FTP root %s is in memory: what is there when the machine loses its power is "
            "lost, although the camera heard 226 (sync = no: that is meant)",
            s->root);
    return 0;
}

static int open_tls(struct ftp_server *s, const struct ftp_config *c, struct err *e)
{
    if (ftp_config_tls(c) == FTP_TLS_OFF)
        return 0;
    int r = tls_server_new(c->tls_cert_file, c->tls_key_file, &s->shared.tls, e);
    return r < 0 ? err_prefix(e, "[ftp] tls"), r : 0;
}

/* Two descriptors for each session that may come, where the system lets us have them. */
static void raise_descriptors(const struct ftp_config *c)
{
    struct rlimit l;
    rlim_t wanted = (rlim_t)c->sessions_max * 2 + 512;
    if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur >= wanted)
        return;
    l.rlim_cur = MIN(wanted, l.rlim_max);
    (void)setrlimit(RLIMIT_NOFILE, &l); /* else fewer come in; each is told */
}

static void on_wake(struct ftp_watch *w, uint32_t events);
static void on_disk_done(struct ftp_watch *w, uint32_t events);
static void on_care(struct ftp_timer *t);
static void on_resume(struct ftp_timer *t);
static void on_grace(struct ftp_timer *t);
static void on_knock(struct ftp_watch *w, uint32_t events);
static int open_listeners(struct ftp_server *s, const struct ftp_server_options *o, struct err *e);

static int open_loop(struct ftp_server *s, struct err *e)
{
    struct ftp_shared *sh = &s->shared;
    int r = ftp_loop_new(&sh->loop, e);
    if (r == 0)
        r = ftp_disk_start((int)sh->config.disk_threads, &sh->disk, e);
    if (r < 0)
        return r;
    s->wake = (struct ftp_watch){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .ready = on_wake};
    s->disk_done = (struct ftp_watch){.fd = ftp_disk_fd(sh->disk), .ready = on_disk_done};
    s->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (s->wake.fd < 0 || s->reserve_fd < 0)
        return err_errno(e, -errno, "FTP server");
    r = ftp_loop_watch(sh->loop, &s->wake, EPOLLIN);
    if (r == 0)
        r = ftp_loop_watch(sh->loop, &s->disk_done, EPOLLIN);
    if (r < 0)
        return err_errno(e, r, "FTP server");
    s->care.fire = on_care;
    s->resume.fire = on_resume;
    s->grace.fire = on_grace;
    ftp_loop_arm(sh->loop, &s->care, mono_add_ms(clock_mono(), CARE_MS));
    sh->blocks = ftp_blocks_new(sh->loop, sh->config.buffers);
    return 0;
}

static int open_all(struct ftp_server *s, const struct ftp_server_options *o, struct err *e)
{
    const struct ftp_config *c = o->config;
    struct ftp_shared *sh = &s->shared;
    struct ftp_guard_limits limits = {.sessions_max = (int)c->sessions_max,
                                      .sessions_known = (int)c->sessions_known,
                                      .sessions_per_address = (int)c->sessions_per_address,
                                      .failures_max = (int)c->login_failures_max,
                                      .ban_ms = c->ban_ms};
    copy_config(s, o);
    s->root = xstrdup(o->root);
    s->jail = (struct ftp_jail_options){
        .root = s->root, .reserve = o->reserve, .sync = c->sync, .folders_max = c->folders_max};
    raise_descriptors(c);
    int r = make_folders(s, o, e);
    if (r == 0)
        r = open_tls(s, c, e);
    if (r == 0)
        r = ftp_realm_new(o->accounts, &s->jail, NULL, &sh->realm, e);
    if (r == 0)
        r = open_loop(s, e);
    if (r < 0)
        return r;
    s->latest = ftp_realm_ref(sh->realm);
    sh->guard = ftp_guard_new(&limits);
    return open_listeners(s, o, e);
}

/* ---- listeners ---- */

/* What a connection is to have it has from its listener, which saves a call for each on each. */
static void set_options(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {SOL_SOCKET, SO_OOBINLINE, 1}, /* else the urgent byte of an ABOR vanishes */
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EACH_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT},
    };
    for (size_t i = 0; i < ARRAY_LEN(options); i++) /* without one of them it works, too */
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                         sizeof(options[i].value));
}

static void add_text(struct ftp_server *s, const union ftp_address *a, bool tls)
{
    char text[FTP_ADDRESS_TEXT_MAX];
    size_t used = strlen(s->listen_text);
    (void)text_format(s->listen_text + used, sizeof(s->listen_text) - used, "%s%s%s",
                      used ? ", " : "", ftp_address_text(a, text), tls ? " (TLS)" : ""); /* cut */
}

static int add_listener(struct ftp_server *s, int fd, bool tls, struct err *e)
{
    union ftp_address at = {0};
    socklen_t size = sizeof(at);
    struct listener *l = &s->listeners[s->listener_count];
    if (s->listener_count >= FTP_LISTENERS_MAX) {
        (void)close(fd); /* unused */
        return err_set(e, -E2BIG, ERR_NEVER, "more than %d addresses to listen at",
                       FTP_LISTENERS_MAX);
    }
    set_options(fd);
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); /* of a descriptor that is good */
    *l = (struct listener){.watch = {.fd = fd, .ready = on_knock}, .server = s, .tls = tls};
    s->listener_count++;
    if (getsockname(fd, &at.any, &size) < 0)
        return err_errno(e, -errno, "listening socket");
    int r = ftp_loop_watch(s->shared.loop, &l->watch, EPOLLIN);
    if (r < 0)
        return err_errno(e, r, "listening socket");
    if (!s->port)
        s->port = ftp_address_port(&at);
    add_text(s, &at, tls);
    return 0;
}

/* The descriptor or -errno. */
static int listen_at(const union ftp_address *a)
{
    int on = 1;
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* at worst bind() fails */
    if (a->any.sa_family == AF_INET6) /* [::] is IPv6 alone; IPv4 has a listener of its own */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, &a->any, ftp_address_size(a)) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int r = -errno;
    (void)close(fd); /* unused */
    return r;
}

static int explain_listen(int r, const char *text, struct err *e)
{
    if (r == -EACCES)
        return err_set(
            e, r, ERR_NEVER,
            "listen at %s: ports below 1024 need the capability CAP_NET_BIND_SERVICE "
            "(AmbientCapabilities= of the systemd unit, or setcap), or a socket unit; or "
            "choose another port in [ftp] listen and in the cameras",
            text);
    if (r == -EADDRINUSE)
        return err_set(e, r, ERR_LATER,
                       "listen at %s: the port is in use, perhaps by another FTP server: stop it, "
                       "or choose another port in [ftp]",
                       text);
    return err_errno(e, r, "listen at %s", text);
}

static int listen_as_told(struct ftp_server *s, const struct ftp_server_options *o, struct err *e)
{
    struct ftp_listener places[FTP_LISTENERS_MAX];
    int count = ftp_config_listeners(o->config, ftp_config_low_ports(), places, e);
    for (int i = 0; i < count; i++) {
        const struct ftp_listener *place = &places[i];
        if (place->tls ? o->tls_listen_fd_count > 0 : o->listen_fd_count > 0)
            continue;
        int fd = listen_at((const union ftp_address *)&place->address);
        if (fd == -EAFNOSUPPORT && place->may_be_none)
            continue;
        int r = fd < 0 ? explain_listen(fd, place->text, e) : add_listener(s, fd, place->tls, e);
        if (r < 0)
            return err_prefix(e, "[ftp] %s", place->tls ? "tls_listen" : "listen"), r;
    }
    return MIN(count, 0);
}

static int take_fds(struct ftp_server *s, const int *fds, size_t count, bool tls, struct err *e)
{
    int r = 0;
    for (size_t i = 0; i < count; i++) {
        if (r == 0)
            r = add_listener(s, fds[i], tls, e);
        else
            (void)close(fds[i]); /* unused */
    }
    return r;
}

static int open_listeners(struct ftp_server *s, const struct ftp_server_options *o, struct err *e)
{
    int r = take_fds(s, o->listen_fds, o->listen_fd_count, false, e);
    if (r == 0)
        r = take_fds(s, o->tls_listen_fds, o->tls_listen_fd_count, true, e);
    return r < 0 ? r : listen_as_told(s, o, e);
}

static void close_listeners(struct ftp_server *s)
{
    for (size_t i = 0; i < s->listener_count; i++) {
        struct listener *l = &s->listeners[i];
        if (l->watch.fd < 0)
            continue;
        ftp_loop_unwatch(s->shared.loop, &l->watch);
        (void)close(STEAL_FD(l->watch.fd)); /* who waits there is refused by the kernel */
    }
}

/* ---- those who knock ---- */

/* One line a second about connections that were refused, however many come. */
static void tell_refused(struct ftp_server *s, const char *from, const char *why)
{
    struct mono_time now = ftp_loop_now(s->shared.loop);
    if (now.us < s->quiet_until.us) {
        s->refused_quietly++;
        return;
    }
    if (s->refused_quietly)
        log_warn("ftp-connection-refused", "%s: %s; and %d more before it", from, why,
                 s->refused_quietly);
    else
        log_warn("ftp-connection-refused", "%s: %s", from, why);
    s->refused_quietly = 0;
    s->quiet_until = mono_add_ms(now, 1000);
}

/* A word and away. It fits into any socket's buffer, and nothing of the client's waits there yet.
 */
static void turn_away(const struct listener *l, int fd, const char *reply)
{
    if (!l->tls)
        (void)send(fd, reply, strlen(reply), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(fd, SHUT_WR); /* it may be gone */
    (void)close(fd);             /* we want nothing of it */
}

static const char *refusal(enum ftp_guard_answer answer, enum ftp_refusal *ret_why,
                           const char **ret_text)
{
    switch (answer) {
    case FTP_GUARD_WELCOME:
        return NULL;
    case FTP_GUARD_FULL:
        *ret_why = FTP_REFUSAL_FULL;
        *ret_text = "too many sessions ([ftp] sessions_max)";
        return "421 Too many connections, try again later.\r\n";
    case FTP_GUARD_TOO_MANY:
        *ret_why = FTP_REFUSAL_ADDRESS;
        *ret_text = "too many sessions of this address ([ftp] sessions_per_address)";
        return "421 Too many connections from your address, try again later.\r\n";
    case FTP_GUARD_BANNED:
        *ret_why = FTP_REFUSAL_BANNED;
        *ret_text = "shut out after too many wrong passwords ([ftp] ban)";
        return "421 Too many wrong passwords from your address; try again later.\r\n";
    case FTP_GUARD_ANSWER_COUNT:
        break;
    }
    return NULL;
}

static bool is_scarce(int fd)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) < 0)
        return false;
    rlim_t kept = MIN((rlim_t)DESCRIPTORS_KEPT, l.rlim_cur / 4);
    return (rlim_t)fd + kept >= l.rlim_cur;
}

static void admit(struct listener *l, int fd, union ftp_address *from)
{
    struct ftp_shared *sh = &l->server->shared;
    char text[FTP_ADDRESS_TEXT_MAX];
    enum ftp_refusal why = FTP_REFUSAL_DESCRIPTORS;
    const char *reason = "too few file descriptors are left (LimitNOFILE= of the unit)";
    const char *reply = "421 Too many connections, try again later.\r\n";
    ftp_address_normalise(from);
    if (!is_scarce(fd))
        reply =
            refusal(ftp_guard_enter(sh->guard, &from->any, ftp_loop_now(sh->loop)), &why, &reason);
    if (!reply) {
        ftp_session_start(sh, fd, from, l->tls);
        return;
    }
    turn_away(l, fd, reply);
    ftp_metrics_connection_refused(why);
    tell_refused(l->server, ftp_address_host(from, text), reason);
}

/* No descriptors: the reserve answers some, then nobody is looked at for a while, because the
 * listener would go on saying that somebody waits. */
static void run_dry(struct listener *l, int error)
{
    struct ftp_server *s = l->server;
    for (int i = 0; i < ACCEPTS_PER_TURN && s->reserve_fd >= 0; i++) {
        (void)close(STEAL_FD(s->reserve_fd)); /* /dev/null */
        int fd = accept4(l->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            turn_away(l, fd, "421 Too many connections, try again later.\r\n");
            ftp_metrics_connection_refused(FTP_REFUSAL_DESCRIPTORS);
        }
        s->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            break;
    }
    tell_refused(s, "new connections", strerror(error));
    for (size_t i = 0; i < s->listener_count; i++)
        ftp_loop_unwatch(s->shared.loop, &s->listeners[i].watch);
    ftp_loop_arm(s->shared.loop, &s->resume,
                 mono_add_ms(ftp_loop_now(s->shared.loop), NO_DESCRIPTORS_PAUSE_MS));
}

static void on_resume(struct ftp_timer *t)
{
    struct ftp_server *s = container_of(t, struct ftp_server, resume);
    if (s->reserve_fd < 0)
        s->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; i < s->listener_count && !s->shared.stopping; i++)
        if (ftp_loop_watch(s->shared.loop, &s->listeners[i].watch, EPOLLIN) < 0)
            ftp_loop_arm(s->shared.loop, t,
                         mono_add_ms(ftp_loop_now(s->shared.loop), NO_DESCRIPTORS_PAUSE_MS));
}

static void on_knock(struct ftp_watch *w, uint32_t events)
{
    struct listener *l = container_of(w, struct listener, watch);
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        union ftp_address from = {0};
        socklen_t size = sizeof(from);
        int fd = accept4(w->fd, &from.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            admit(l, fd, &from);
            continue;
        }
        if (errno == EAGAIN)
            return;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            run_dry(l, errno);
            return;
        }
        /* Others are of a connection that failed before we took it. */
    }
}

/* ---- the thread ---- */

static void *run(void *arg)
{
    struct ftp_server *s = arg;
    struct ftp_shared *sh = &s->shared;
    altstack_use();
    log_context_stage("ftp");
    (void)pthread_setname_np(pthread_self(), "ftp"); /* for a person who looks */
    while (!sh->stopping || sh->session_count > 0 || sh->errands > 0) {
        ftp_loop_turn(sh->loop, BEAT_MS);
        atomic_store(&s->beat_us, ftp_loop_now(sh->loop).us);
    }
    return NULL;
}

static void on_disk_done(struct ftp_watch *w, uint32_t events)
{
    struct ftp_server *s = container_of(w, struct ftp_server, disk_done);
    (void)events;
    ftp_errands_collect(&s->shared);
}

/* A renewed certificate is taken without a restart. */
static void refresh_tls(struct ftp_server *s)
{
    struct err e = {0};
    int r = tls_server_refresh(s->shared.tls, &e);
    if (r > 0)
        log_notice("ftp-certificate", "the FTP server's certificate was renewed");
    else if (r < 0)
        log_error("ftp-certificate", "the old certificate goes on: %s", e.text);
}

static void on_care(struct ftp_timer *t)
{
    struct ftp_server *s = container_of(t, struct ftp_server, care);
    struct ftp_shared *sh = &s->shared;
    struct mono_time now = ftp_loop_now(sh->loop);
    ftp_blocks_trim(sh->blocks);
    if (sh->tls)
        refresh_tls(s);
    atomic_store(&sh->banned_shown, ftp_guard_banned(sh->guard, now));
    ftp_loop_arm(sh->loop, t, mono_add_ms(now, CARE_MS));
}

static void dismiss_unwelcome(struct ftp_session *session, void *arg)
{
    (void)arg;
    if (!ftp_session_is_welcome(session))
        ftp_session_dismiss(session, "The account has changed, log in again.", true);
}

static void dismiss(struct ftp_session *session, void *arg)
{
    const bool *patient = arg;
    ftp_session_dismiss(session, "The server is shutting down.", *patient);
}

static void begin_stop(struct ftp_server *s, int64_t grace_ms)
{
    bool patient = grace_ms > 0;
    struct ftp_shared *sh = &s->shared;
    sh->stopping = true;
    close_listeners(s);
    ftp_loop_disarm(sh->loop, &s->care);
    ftp_loop_disarm(sh->loop, &s->resume);
    ftp_sessions_each(sh, dismiss, &patient);
    ftp_loop_arm(sh->loop, &s->grace, mono_add_ms(ftp_loop_now(sh->loop), grace_ms));
}

static void on_grace(struct ftp_timer *t)
{
    struct ftp_server *s = container_of(t, struct ftp_server, grace);
    bool patient = false;
    ftp_sessions_each(&s->shared, dismiss, &patient);
}

static void on_wake(struct ftp_watch *w, uint32_t events)
{
    struct ftp_server *s = container_of(w, struct ftp_server, wake);
    uint64_t count = 0;
    (void)events;
    (void)!read(w->fd, &count, sizeof(count)); /* only to make it silent */
    pthread_mutex_lock(&s->lock);
    struct ftp_realm *realm = s->latest != s->shared.realm ? ftp_realm_ref(s->latest) : NULL;
    bool stop = s->stop_asked;
    int64_t grace_ms = s->grace_ms;
    pthread_mutex_unlock(&s->lock);
    if (realm) {
        ftp_realm_unref(s->shared.realm);
        s->shared.realm = realm;
        ftp_sessions_each(&s->shared, dismiss_unwelcome, NULL);
    }
    if (stop && !s->shared.stopping)
        begin_stop(s, grace_ms);
}

/* ---- from other threads ---- */

static void wake(struct ftp_server *s)
{
    uint64_t one = 1;
    (void)!write(s->wake.fd, &one, sizeof(one)); /* a counter far from full */
}

int ftp_server_set_accounts(struct ftp_server *s, struct ftp_accounts *a, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    AUTO(ftp_realm) before = ftp_realm_ref(s->latest);
    pthread_mutex_unlock(&s->lock);
    struct ftp_realm *next = NULL;
    int r = ftp_realm_new(a, &s->jail, before, &next, e);
    if (r < 0)
        return r;
    pthread_mutex_lock(&s->lock);
    struct ftp_realm *old = s->latest;
    s->latest = next;
    pthread_mutex_unlock(&s->lock);
    ftp_realm_unref(old);
    wake(s);
    return 0;
}

int ftp_server_stop(struct ftp_server *s, int64_t grace_ms)
{
    if (!s || !s->running)
        return 0;
    pthread_mutex_lock(&s->lock);
    s->stop_asked = true;
    s->grace_ms = grace_ms;
    pthread_mutex_unlock(&s->lock);
    wake(s);
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until); /* cannot fail */
    until.tv_sec += (grace_ms + HUNG_MS) / 1000;
    if (pthread_timedjoin_np(s->thread, NULL, &until) != 0) {
        log_error("ftp-hung", "the FTP server did not end: a disk does not answer");
        return -ETIMEDOUT;
    }
    s->running = false;
    ftp_disk_stop(s->shared.disk);
    return 0;
}

void ftp_server_free(struct ftp_server *s)
{
    if (!s)
        return;
    if (ftp_server_stop(s, 0) < 0)
        return; /* a thread works with it still: what it has is lost, nothing else */
    struct ftp_shared *sh = &s->shared;
    close_listeners(s);
    if (sh->loop) {
        ftp_loop_unwatch(sh->loop, &s->wake);
        ftp_loop_unwatch(sh->loop, &s->disk_done);
    }
    ftp_disk_free(sh->disk);
    ftp_blocks_free(sh->blocks);
    ftp_loop_free(sh->loop);
    ftp_guard_free(sh->guard);
    tls_server_free(sh->tls);
    ftp_realm_unref(sh->realm);
    ftp_realm_unref(s->latest);
    while (sh->spare) {
        struct ftp_errand *next = sh->spare->next;
        free(sh->spare);
        sh->spare = next;
    }
    if (s->wake.fd >= 0)
        (void)close(s->wake.fd); /* ours alone */
    if (s->reserve_fd >= 0)
        (void)close(s->reserve_fd); /* likewise */
    free(sh->banner);
    free(s->root);
    pthread_mutex_destroy(&sh->error_lock);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int ftp_server_port(const struct ftp_server *s)
{
    return s->port;
}

void ftp_server_register_metrics(void)
{
    ftp_metrics_register();
    ftp_disk_register_metrics();
}

size_t ftp_server_stack(const struct ftp_server *s, int64_t timeout_ms, uintptr_t *ret, size_t max)
{
    return stack_of_thread(s->thread, timeout_ms, ret, max);
}

void ftp_server_status(struct ftp_server *s, struct ftp_server_status *ret)
{
    struct ftp_shared *sh = &s->shared;
    *ret = (struct ftp_server_status){.sessions = atomic_load(&sh->sessions_shown),
                                      .uploads = atomic_load(&sh->uploads_shown),
                                      .banned = atomic_load(&sh->banned_shown),
                                      .stored = atomic_load(&sh->stored),
                                      .failed = atomic_load(&sh->failed)};
    ret->heartbeat_age_ms = (clock_mono().us - atomic_load(&s->beat_us)) / 1000;
    text_copy(ret->listen, sizeof(ret->listen), s->listen_text); /* the same size */
    pthread_mutex_lock(&sh->error_lock);
    text_copy(ret->last_error, sizeof(ret->last_error), sh->last_error); /* the same size */
    pthread_mutex_unlock(&sh->error_lock);
}
