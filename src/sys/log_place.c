#include "sys/log_place.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "base/altstack.h"
#include "base/log_line.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/log_socket.h"

const char *const log_to_names[LOG_TO_COUNT] = {"auto", "console", "syslog", "journald"};

#define LOCAL_SYSLOG "/dev/log"
#define LOCAL_JOURNAL "/run/systemd/journal/socket"

enum {
    /* Some seconds of debug lines; with the longest ones 3.5 MB. */
    QUEUE_MAX = 2000,
    AWAY_MS = 2000, /* a receiver restarts in less */
    DRAIN_MS = 2000,
    /* Behind DRAIN_MS: a look-up of a name cannot be ended, so it is left behind at the end. */
    JOIN_MS = 4000,
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 30000
};

/* A record that owns its strings; they stand behind it. */
struct entry {
    struct entry *next;
    struct log_record record;
    char strings[];
};

struct place {
    enum log_to to;
    enum log_format format;
    int64_t away_ms;
    char address[256]; /* for people */
    char name[64], host[256];
    struct log_source source;
    struct log_socket socket; /* the thread's */
    pthread_t thread;
    int stop_fd;

    pthread_mutex_t lock;
    pthread_cond_t filled, gone; /* by the monotonic clock */
    struct entry *first, **end;
    size_t count;
    bool stopping, ended;
    struct mono_time deadline; /* when stopping */

    atomic_bool away; /* written by the thread */

    /* the thread's */
    unsigned sequence;
    int64_t backoff_ms;
    struct mono_time retry_at, failing_since;
    bool failing;
    bool proven; /* a line has gone there, and nothing came back */
    unsigned long long lost_told;
};

/* Main thread changes it; others ask for its description. */
static pthread_mutex_t now_lock = PTHREAD_MUTEX_INITIALIZER;
static struct place *now;
static _Thread_local bool on_log_thread;

static void *thread_main(void *arg);

/* ---- the queue ---- */

static const char *keep(char **at, const char *s)
{
    size_t size = strlen(s) + 1;
    char *kept = memcpy(*at, s, size);
    *at += size;
    return kept;
}

static struct entry *entry_new(const struct log_record *r)
{
    const char *const strings[] = {r->id, r->stage, r->camera, r->snapshot, r->text};
    size_t size = sizeof(struct entry);
    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        size += strlen(strings[i]) + 1;
    struct entry *n = mem_try_alloc(1, size, 16384);
    if (!n)
        return NULL;
    char *at = n->strings;
    *n = (struct entry){.record = {.level = r->level, .at = r->at}};
    n->record.id = keep(&at, r->id);
    n->record.stage = keep(&at, r->stage);
    n->record.camera = keep(&at, r->camera);
    n->record.snapshot = keep(&at, r->snapshot);
    n->record.text = keep(&at, r->text);
    return n;
}

/* The writer of base/log.h: any thread, and never waits. What the log thread itself says is about
 * the place, so it goes to the console. */
static bool take_line(void *arg, const struct log_record *r)
{
    struct place *p = arg;
    if (on_log_thread)
        return false;
    struct entry *n = entry_new(r);
    pthread_mutex_lock(&p->lock);
    if (n && p->count < QUEUE_MAX) {
        *p->end = n;
        p->end = &n->next;
        p->count++;
        n = NULL;
        pthread_cond_signal(&p->filled);
    } else {
        log_count_lost(1);
    }
    pthread_mutex_unlock(&p->lock);
    free(n);
    return true;
}

/* NULL at the end. */
static struct entry *next_entry(struct place *p)
{
    pthread_mutex_lock(&p->lock);
    while (!p->first && !p->stopping)
        pthread_cond_wait(&p->filled, &p->lock);
    struct entry *n = p->first;
    if (n) {
        p->first = n->next;
        p->count--;
        if (!p->first)
            p->end = &p->first;
    }
    pthread_mutex_unlock(&p->lock);
    return n;
}

/* ---- start and end ---- */

static bool same_file(const char *text, int fd)
{
    struct stat st;
    char own[64];
    return text && fstat(fd, &st) == 0 &&
           text_format(own, sizeof(own), "%llu:%llu", (unsigned long long)st.st_dev,
                       (unsigned long long)st.st_ino) > 0 &&
           strcmp(own, text) == 0;
}

/* The predecessor's choice: the address, else /dev/log, else the console. Who looks at a terminal
 * wants to see the lines there, and under systemd standard error is the journal already, which
 * systemd says by this variable. */
static enum log_to choose(const struct log_place_options *o)
{
    if (o->to != LOG_TO_AUTO)
        return o->to;
    if (*o->syslog_address)
        return LOG_TO_SYSLOG;
    if (same_file(getenv("JOURNAL_STREAM"), STDERR_FILENO))
        return LOG_TO_JOURNALD;
    return isatty(STDERR_FILENO) || access(LOCAL_SYSLOG, F_OK) < 0 ? LOG_TO_CONSOLE : LOG_TO_SYSLOG;
}

static void place_free(struct place *p)
{
    while (p->first) {
        struct entry *n = p->first;
        p->first = n->next;
        free(n);
    }
    log_socket_close(&p->socket);
    if (p->stop_fd >= 0)
        (void)close(p->stop_fd); /* an eventfd */
    pthread_cond_destroy(&p->filled);
    pthread_cond_destroy(&p->gone);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static int place_start(const struct log_place_options *o, enum log_to to, struct place **ret,
                       struct err *e)
{
    char why[128];
    const char *address = to == LOG_TO_JOURNALD ? o->journal_socket : o->syslog_address;
    if (!*address)
        address = to == LOG_TO_JOURNALD ? LOCAL_JOURNAL : LOCAL_SYSLOG;
    struct place *p = xcalloc(1, sizeof(*p));
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&p->filled, &clock);
    pthread_cond_init(&p->gone, &clock);
    pthread_condattr_destroy(&clock);
    p->to = to;
    p->format = o->format;
    p->away_ms = o->away_ms ? o->away_ms : AWAY_MS;
    p->end = &p->first;
    p->lost_told = log_lost();
    p->socket.fd = -1;
    p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    text_copy(p->address, sizeof(p->address), address);
    text_copy(p->name, sizeof(p->name), o->name);
    if (gethostname(p->host, sizeof(p->host) - 1) < 0)
        p->host[0] = '\0';
    p->source = (struct log_source){.host = p->host, .name = p->name, .pid = (int)getpid()};
    int r = p->stop_fd < 0 ? err_errno(e, -errno, "log: eventfd") : 0;
    if (r == 0 && !log_socket_parse(address, &p->socket, why, sizeof(why)))
        r = err_set(e, -EINVAL, ERR_NEVER, "log: \"%s\" is no place: %s", address, why);
    if (r == 0) {
        /* Signals belong to the main loop. */
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int code = pthread_create(&p->thread, NULL, thread_main, p);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        r = code ? err_errno(e, -code, "log: start a thread") : 0;
    }
    if (r < 0)
        place_free(p);
    else
        *ret = p;
    return r;
}

static void place_stop(struct place *p)
{
    const uint64_t one = 1;
    struct timespec until;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    p->deadline = mono_add_ms(clock_mono(), DRAIN_MS);
    pthread_cond_signal(&p->filled);
    pthread_mutex_unlock(&p->lock);
    (void)!write(p->stop_fd, &one, sizeof(one)); /* a counter far from full */
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += JOIN_MS / 1000;
    int code = 0;
    pthread_mutex_lock(&p->lock);
    while (!p->ended && code == 0)
        code = pthread_cond_timedwait(&p->gone, &p->lock, &until);
    bool ended = p->ended;
    pthread_mutex_unlock(&p->lock);
    if (!ended) {
        (void)pthread_detach(p->thread); /* it looks a name up; what it works with stays */
        return;
    }
    pthread_join(p->thread, NULL);
    place_free(p);
}

static bool is_like(const struct place *p, const struct log_place_options *o, enum log_to to)
{
    const char *address = to == LOG_TO_JOURNALD ? o->journal_socket : o->syslog_address;
    if (!p || to == LOG_TO_CONSOLE)
        return !p && to == LOG_TO_CONSOLE;
    if (!*address)
        address = to == LOG_TO_JOURNALD ? LOCAL_JOURNAL : LOCAL_SYSLOG;
    return p->to == to && p->format == o->format && strcmp(p->address, address) == 0 &&
           strcmp(p->name, o->name) == 0;
}

static struct place *swap(struct place *next)
{
    pthread_mutex_lock(&now_lock);
    struct place *before = now;
    now = next;
    pthread_mutex_unlock(&now_lock);
    log_set_writer(next ? take_line : NULL, next);
    return before;
}

int log_place_use(const struct log_place_options *o, struct err *e)
{
    enum log_to to = choose(o);
    struct place *next = NULL;
    log_set_format(o->format);
    if (is_like(now, o, to))
        return 0;
    if (to != LOG_TO_CONSOLE) {
        int r = place_start(o, to, &next, e);
        if (r < 0)
            return r;
    }
    struct place *before = swap(next);
    if (before)
        place_stop(before);
    return 0;
}

void log_place_end(void)
{
    struct place *before = swap(NULL);
    if (before)
        place_stop(before);
}

void log_place_describe(char *ret, size_t size)
{
    pthread_mutex_lock(&now_lock);
    if (now)
        (void)text_format(ret, size, "%s %s%s", log_to_names[now->to], now->address,
                          atomic_load(&now->away) ? ": away, lines go to the console"
                                                  : ""); /* cut */
    else
        text_copy(ret, size, "console");
    pthread_mutex_unlock(&now_lock);
}

/* ---- the thread ---- */

static size_t render(struct place *p, const struct log_record *r, char out[LOG_WIRE_MAX])
{
    if (p->to == LOG_TO_JOURNALD)
        return log_line_journal(r, &p->source, p->format, out);
    if (p->socket.kind == LOG_SOCKET_LOCAL)
        return log_line_local(r, &p->source, p->format, out);
    p->sequence = p->sequence % INT_MAX + 1; /* RFC 5424 7.3.1 */
    return log_line_syslog(r, &p->source, p->format, p->sequence,
                           p->socket.kind == LOG_SOCKET_UDP ? LOG_DATAGRAM_MAX : LOG_WIRE_MAX, out);
}

static bool is_last(struct place *p)
{
    pthread_mutex_lock(&p->lock);
    bool last = !p->first && !p->stopping;
    pthread_mutex_unlock(&p->lock);
    return last;
}

static int try_to_send(struct place *p, const struct log_record *r, struct err *e)
{
    char line[LOG_WIRE_MAX];
    int rc = p->socket.fd >= 0 ? 0 : log_socket_open(&p->socket, p->stop_fd, e);
    if (rc == 0) {
        size_t len = render(p, r, line);
        /* Where nobody waits behind it, a line has time for the answer that nobody listens. */
        rc = log_socket_send(&p->socket, line, len, !p->proven || is_last(p), e);
    }
    return rc;
}

static bool ends(struct place *p, bool *ret_overdue)
{
    pthread_mutex_lock(&p->lock);
    bool stopping = p->stopping;
    *ret_overdue = stopping && mono_passed(p->deadline);
    pthread_mutex_unlock(&p->lock);
    return stopping;
}

static void note_failure(struct place *p, const struct err *e)
{
    if (!p->failing) {
        p->failing = true;
        p->failing_since = clock_mono();
        p->backoff_ms = BACKOFF_MIN_MS;
    }
    if (p->socket.late)
        log_count_lost(1);
    p->socket.late = false;
    p->proven = false;
    p->retry_at = mono_add_ms(clock_mono(), p->backoff_ms);
    p->backoff_ms = MIN(2 * p->backoff_ms, (int64_t)BACKOFF_MAX_MS);
    if (atomic_load(&p->away) || mono_diff_ms(clock_mono(), p->failing_since) < (double)p->away_ms)
        return;
    atomic_store(&p->away, true);
    log_warn("log-place-away",
             "log lines cannot go to %s at %s: %s; they go to the console until it is back",
             log_to_names[p->to], p->address, e->text);
}

static void tell_of_losses(struct place *p)
{
    unsigned long long lost = log_lost();
    char text[128];
    if (lost == p->lost_told)
        return;
    (void)text_format(text, sizeof(text), "%llu log lines were lost since the last one of these",
                      lost - p->lost_told); /* fits */
    const struct log_record r = {.level = LOG_LEVEL_WARNING,
                                 .at = clock_wall(),
                                 .id = "log-lines-lost",
                                 .stage = "log",
                                 .camera = "",
                                 .snapshot = "",
                                 .text = text};
    struct err e = {0};
    if (try_to_send(p, &r, &e) == 0)
        p->lost_told = lost;
}

static void note_success(struct place *p)
{
    p->failing = false;
    p->proven = true;
    if (atomic_exchange(&p->away, false))
        log_notice("log-place-back", "log lines go to %s at %s again", log_to_names[p->to],
                   p->address);
    tell_of_losses(p);
}

/* A line waits here while its place is gone for a moment; behind it the others wait in the queue.
 */
static void deliver(struct place *p, const struct log_record *r)
{
    struct err e = {0};
    bool overdue;
    while (true) {
        bool stopping = ends(p, &overdue);
        if (!overdue && (!p->failing || mono_passed(p->retry_at))) {
            if (try_to_send(p, r, &e) == 0) {
                note_success(p);
                return;
            }
            note_failure(p, &e);
        }
        if (atomic_load(&p->away) || stopping) {
            log_write_console(r);
            return;
        }
        struct pollfd stop = {.fd = p->stop_fd, .events = POLLIN};
        (void)poll(&stop, 1, (int)MAX(mono_diff_ms(p->retry_at, clock_mono()), 1.0));
    }
}

static void *thread_main(void *arg)
{
    struct place *p = arg;
    struct entry *n;
    (void)pthread_setname_np(pthread_self(), "log");
    altstack_use();
    on_log_thread = true;
    log_context_stage("log");
    while ((n = next_entry(p)) != NULL) {
        deliver(p, &n->record);
        free(n);
    }
    pthread_mutex_lock(&p->lock);
    p->ended = true;
    pthread_cond_signal(&p->gone);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}
