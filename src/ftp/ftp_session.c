#include "ftp/ftp_session.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "ftp/ftp_engine.h"
#include "ftp/ftp_reader.h"
#include "ftp/ftp_transfer.h"
#include "sys/tls_server.h"

/* Bytes read at once from a control connection: commands are short. */
#define READ_MAX 2048
/* Replies that may wait before no further command is looked at. */
#define REPLIES_MAX 4096
/* A client that has been told good-bye has so long to read it. */
#define LINGER_MS 2000

enum session_state {
    SESSION_IDLE,    /* takes lines */
    SESSION_WAITING, /* for the disk threads, or for its turn to have its password checked */
    SESSION_DELAYED, /* a login failed; the answer is held back */
    SESSION_TRANSFER,
    SESSION_SECURING,  /* 234 is on its way, or the TLS handshake goes on */
    SESSION_CLOSING,   /* the last reply is on its way */
    SESSION_LINGERING, /* it is sent; the client closes */
    SESSION_OVER,
};

struct ftp_session {
    struct ftp_shared *shared;
    struct ftp_session *next, *previous;
    struct ftp_session *login_next; /* of those that wait for their turn */
    struct ftp_watch watch;
    struct ftp_timer timer;
    struct ftp_task reap;
    union ftp_address peer, local;
    enum session_state state;
    bool has_local;
    bool implicit;   /* it begins with TLS */
    bool shaking;    /* TLS, begun */
    bool eof;        /* the client has said all it will */
    bool gone;       /* the control connection is no more */
    bool seen;       /* a command came */
    bool known;      /* logged in once */
    bool queued;     /* waits for its turn */
    char *dismissed; /* why it ends after its upload */
    char *held;      /* a line that was taken too early, for after the transfer */
    size_t held_len;
    struct mono_time began, active_at, asked_at; /* the last to log in */
    struct ftp_engine *engine;
    struct ftp_reader reader;
    struct tls_conn *tls;
    struct ftp_realm *realm; /* whose account this is; keeps it alive */
    struct ftp_seat *seat;   /* NULL = not logged in */
    struct ftp_errand *errand;
    struct ftp_transfer transfer;
};

static void on_ready(struct ftp_watch *w, uint32_t events);
static void on_timer(struct ftp_timer *t);
static void on_reap(struct ftp_task *t);
static void on_file_done(struct ftp_errand *j);
static void on_login_done(struct ftp_errand *j);
static void on_opened(struct ftp_transfer *t, int code, bool connected,
                      const struct ftp_file *file);
static void on_ended(struct ftp_transfer *t, enum ftp_transfer_end end, int code,
                     const struct ftp_file *file);
static int voice(struct ftp_transfer *t, struct dynbuf *ready);
static void advance(struct ftp_session *s);
static void obey(struct ftp_session *s, enum ftp_ask ask);
static void end(struct ftp_session *s);

/* ---- birth and death ---- */

static struct ftp_engine *new_engine(const struct ftp_session *s, bool implicit_tls)
{
    const struct ftp_config *c = &s->shared->config;
    struct ftp_engine_options o = {.banner = s->shared->banner,
                                   .tls_possible = s->shared->tls != NULL,
                                   .tls_required = c->tls == FTP_TLS_REQUIRED,
                                   .tls_implicit = implicit_tls,
                                   .peer_is_ipv6 = s->peer.any.sa_family == AF_INET6,
                                   .active_port_min = 1024,
                                   .active_allowed = c->active};
    ftp_address_host(&s->peer, o.peer);
    return ftp_engine_new(&o);
}

static void show_sessions(struct ftp_shared *sh, int change)
{
    sh->session_count += change;
    atomic_store(&sh->sessions_shown, sh->session_count);
    ftp_metrics_sessions(sh->session_count);
}

static void arm_idle(struct ftp_session *s);

void ftp_session_start(struct ftp_shared *sh, int fd, const union ftp_address *peer,
                       bool implicit_tls)
{
    struct ftp_session *s = xcalloc(1, sizeof(*s));
    s->shared = sh;
    s->watch = (struct ftp_watch){.fd = fd, .ready = on_ready};
    s->timer.fire = on_timer;
    s->reap.run = on_reap;
    s->peer = *peer;
    s->began = s->active_at = ftp_loop_now(sh->loop);
    s->engine = new_engine(s, implicit_tls);
    ftp_transfer_init(&s->transfer, sh, peer);
    s->transfer.opened = on_opened;
    s->transfer.ended = on_ended;
    s->transfer.voice = voice;
    s->next = sh->sessions;
    if (s->next)
        s->next->previous = s;
    sh->sessions = s;
    show_sessions(sh, 1);
    arm_idle(s);
    s->implicit = implicit_tls;
    if (implicit_tls)
        s->state = SESSION_SECURING;
    else
        ftp_engine_greet(s->engine);
    advance(s);
}

static void give_seat_up(struct ftp_session *s)
{
    if (!s->seat)
        return;
    s->seat->sessions--;
    ftp_seat_unref(STEAL(s->seat));
}

/* A disk thread that speaks to the client must not find another's connection under the number. */
static void hang_up(struct ftp_session *s)
{
    if (ftp_transfer_is_away(&s->transfer))
        (void)shutdown(s->watch.fd, SHUT_RDWR); /* when it fails, it has ended already */
    else if (s->watch.fd >= 0)
        (void)close(STEAL_FD(s->watch.fd)); /* nothing of it is still wanted */
}

static void drop_login(struct ftp_session *s)
{
    struct ftp_shared *sh = s->shared;
    if (s->errand && s->errand->job.kind == FTP_DISK_LOGIN)
        atomic_store(&s->errand->job.dropped, true);
    struct ftp_session **at = &sh->login_first, *before = NULL;
    if (!s->queued)
        return;
    for (; *at != s; at = &(*at)->login_next)
        before = *at;
    *at = s->login_next;
    if (sh->login_last == s)
        sh->login_last = before;
    s->queued = false;
}

/* The connection goes now, so that the client sees it; the rest when the disk threads are done with
 * what is ours. */
static void end(struct ftp_session *s)
{
    struct ftp_shared *sh = s->shared;
    s->gone = true;
    if (s->state != SESSION_OVER) {
        s->state = SESSION_OVER;
        ftp_loop_disarm(sh->loop, &s->timer);
        drop_login(s);
        tls_conn_free(STEAL(s->tls));
        ftp_loop_unwatch(sh->loop, &s->watch);
        ftp_guard_leave(sh->guard, &s->peer.any, ftp_loop_now(sh->loop));
        hang_up(s);
        ftp_transfer_abort(&s->transfer, "the session ended");
    }
    hang_up(s);
    if (!s->errand && s->transfer.phase == FTP_PHASE_NONE)
        ftp_loop_defer(sh->loop, &s->reap);
}

static void on_reap(struct ftp_task *task)
{
    struct ftp_session *s = container_of(task, struct ftp_session, reap);
    struct ftp_shared *sh = s->shared;
    ftp_transfer_done(&s->transfer);
    give_seat_up(s);
    ftp_engine_free(s->engine); /* before the accounts that it may point to */
    ftp_realm_unref(s->realm);
    ftp_reader_done(&s->reader);
    free(s->dismissed);
    free(s->held);
    *(s->previous ? &s->previous->next : &sh->sessions) = s->next;
    if (s->next)
        s->next->previous = s->previous;
    show_sessions(sh, -1);
    free(s);
}

void ftp_sessions_each(struct ftp_shared *sh, void (*f)(struct ftp_session *s, void *arg),
                       void *arg)
{
    for (struct ftp_session *s = sh->sessions, *next; s; s = next) {
        next = s->next; /* freed ones go in a task */
        f(s, arg);
    }
}

bool ftp_session_is_welcome(const struct ftp_session *s)
{
    return !s->seat || ftp_realm_has(s->shared->realm, s->seat, &s->peer.any);
}

void ftp_session_dismiss(struct ftp_session *s, const char *reason, bool patient)
{
    if (s->state == SESSION_OVER || s->state == SESSION_LINGERING || s->state == SESSION_CLOSING)
        return;
    if (ftp_transfer_is_upload(&s->transfer) && patient) {
        if (!s->dismissed)
            s->dismissed = xstrdup(reason);
        return;
    }
    if (s->state == SESSION_SECURING) { /* nothing can be said */
        end(s);
        return;
    }
    ftp_engine_goodbye(s->engine, reason);
    if (s->transfer.phase != FTP_PHASE_NONE)
        ftp_transfer_abort(&s->transfer, reason); /* its end goes on from here */
    else if (!s->errand)
        obey(s, FTP_ASK_CLOSE);
    drop_login(s);
    advance(s);
}

/* ---- bytes in ---- */

/* -EAGAIN when there is nothing, 0 at the end. */
static int64_t read_some(struct ftp_session *s, char *to, size_t size)
{
    struct err e = {0};
    if (s->tls)
        return tls_conn_read(s->tls, to, size, &e);
    ssize_t n = recv(s->watch.fd, to, size, 0);
    return n < 0 ? -errno : n;
}

/* The client is done, or gone. An upload may go on alone. */
static void on_eof(struct ftp_session *s)
{
    s->eof = true;
    if (s->state == SESSION_TRANSFER)
        ftp_transfer_alone(&s->transfer);
}

static void on_gone(struct ftp_session *s)
{
    bool alone = ftp_transfer_is_upload(&s->transfer);
    s->gone = true;
    if (!alone) {
        end(s);
        return;
    }
    ftp_loop_unwatch(s->shared->loop, &s->watch); /* it would be told for ever */
    ftp_reader_clear(&s->reader);                 /* nobody waits for what was sent ahead */
    on_eof(s);
}

static void read_control(struct ftp_session *s)
{
    char bytes[READ_MAX];
    do {
        size_t room = MIN(ftp_reader_room(&s->reader), sizeof(bytes));
        if (room == 0)
            return;
        int64_t n = read_some(s, bytes, room);
        if (n == -EAGAIN || n == -EINTR)
            return;
        if (n == 0) {
            on_eof(s);
            return;
        }
        if (n < 0) {
            on_gone(s);
            return;
        }
        if (s->state == SESSION_CLOSING || s->state == SESSION_LINGERING)
            continue;                                        /* too late */
        (void)ftp_reader_feed(&s->reader, bytes, (size_t)n); /* there was room */
    } while (s->tls && tls_conn_pending(s->tls));
}

static void shake(struct ftp_session *s)
{
    struct err e = {0};
    int r = tls_conn_handshake(s->tls, &e);
    if (r == -EAGAIN)
        return;
    if (r < 0) {
        char peer[FTP_ADDRESS_TEXT_MAX];
        log_info("ftp-tls-failed", "%s: TLS handshake: %s", ftp_address_host(&s->peer, peer),
                 e.text);
        end(s);
        return;
    }
    s->shaking = false;
    s->state = SESSION_IDLE;
    if (s->implicit)
        ftp_engine_greet(s->engine);
    else
        ftp_engine_secured(s->engine);
    if (tls_conn_pending(s->tls)) /* came with the end of the handshake; epoll is silent of it */
        read_control(s);
}

static void on_ready(struct ftp_watch *w, uint32_t events)
{
    struct ftp_session *s = container_of(w, struct ftp_session, watch);
    if (s->state == SESSION_LINGERING) {
        char rest[READ_MAX];
        if (recv(w->fd, rest, sizeof(rest), 0) <= 0)
            end(s);
        return;
    }
    if (s->shaking)
        shake(s);
    else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_control(s);
    if ((events & (EPOLLHUP | EPOLLERR)) && !s->gone)
        on_gone(s);
    advance(s);
}

/* ---- lines ---- */

static void note_activity(struct ftp_session *s)
{
    s->seen = true;
    s->active_at = ftp_loop_now(s->shared->loop);
}

static void run_line(struct ftp_session *s, const char *line, size_t len)
{
    note_activity(s);
    obey(s, ftp_engine_line(s->engine, line, len));
    if (s->seat && !ftp_engine_account(s->engine))
        give_seat_up(s); /* REIN, or another USER */
    if (s->transfer.phase == FTP_PHASE_NONE && s->transfer.data.state != FTP_DATA_CLOSED &&
        ftp_engine_data_mode(s->engine) != FTP_DATA_PASSIVE)
        ftp_transfer_forget_data(&s->transfer);
}

/* Returns whether there was any. */
static bool take_lines(struct ftp_session *s)
{
    bool any = false;
    const char *line = NULL;
    size_t len = 0;
    while (s->state == SESSION_IDLE && ftp_engine_replies(s->engine)->len < REPLIES_MAX) {
        if (s->held) {
            AUTO_FREE char *held = STEAL(s->held);
            run_line(s, held, s->held_len);
            any = true;
            continue;
        }
        int r = ftp_reader_next(&s->reader, &line, &len);
        if (r == 0)
            break;
        any = true;
        if (r > 0) {
            run_line(s, line, len);
            continue;
        }
        note_activity(s);
        obey(s, ftp_engine_line_too_long(s->engine));
    }
    return any;
}

/* What a client may say during a transfer. The reader gives whole lines only by taking them, so one
 * that has to wait after all is held. */
static void take_interrupts(struct ftp_session *s)
{
    static const char *const verbs[] = {"ABOR", "QUIT", "STAT"};
    const char *line = NULL;
    size_t len = 0;
    while (s->state == SESSION_TRANSFER && !s->held) {
        bool next = false;
        for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
            next |= ftp_reader_next_is(&s->reader, verbs[i]);
        if (!next || ftp_reader_next(&s->reader, &line, &len) <= 0)
            return;
        note_activity(s);
        if (!ftp_engine_interrupts(line, len)) {
            s->held = xstrndup(line, len);
            s->held_len = len;
            return;
        }
        obey(s, ftp_engine_interrupt(s->engine, line, len, s->transfer.bytes));
    }
}

/* ---- replies out ---- */

static int64_t write_some(struct ftp_session *s, const char *from, size_t size)
{
    struct err e = {0};
    if (s->tls)
        return tls_conn_write(s->tls, from, size, &e);
    ssize_t n = send(s->watch.fd, from, size, MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

static bool has_replies(const struct ftp_session *s)
{
    return ftp_engine_replies(s->engine)->len > 0;
}

static void flush(struct ftp_session *s)
{
    struct dynbuf *out = ftp_engine_replies(s->engine);
    if (s->gone) {
        dynbuf_reset(out); /* nobody hears it */
        return;
    }
    if (ftp_transfer_is_away(&s->transfer)) { /* and speaks for itself */
        if (out->len > 0)
            ftp_transfer_recall(&s->transfer);
        return;
    }
    while (out->len > 0) {
        int64_t n = write_some(s, out->data, out->len);
        if (n == -EAGAIN)
            return;
        if (n < 0) {
            dynbuf_reset(out);
            on_gone(s);
            return;
        }
        if ((size_t)n == out->len) {
            dynbuf_reset(out);
        } else {
            memmove(out->data, out->data + n, out->len - (size_t)n);
            out->len -= (size_t)n;
        }
    }
    if (out->cap > 1024) /* an idle session keeps little */
        dynbuf_done(out);
}

/* ---- going on ---- */

static void begin_tls(struct ftp_session *s)
{
    struct err e = {0};
    /* What came in clear behind AUTH TLS is not run inside (CVE-2011-1575). */
    ftp_reader_clear(&s->reader);
    if (tls_conn_new(s->shared->tls, s->watch.fd, &s->tls, &e) < 0) {
        log_warn("ftp-tls-failed", "%s", e.text);
        end(s);
        return;
    }
    s->shaking = true;
    shake(s);
}

/* Bytes that the client had under way would make the kernel cut the connection and our last words
 * with it, so we wait for its end. */
static void say_last_words(struct ftp_session *s)
{
    struct err e = {0};
    bool unread = ftp_reader_room(&s->reader) < FTP_AHEAD_MAX;
    if (s->tls)
        (void)tls_conn_close(s->tls, &e); /* a word that may be lost */
    if (s->eof || !unread) {
        end(s);
        return;
    }
    (void)shutdown(s->watch.fd, SHUT_WR); /* when it fails, it has ended already */
    s->state = SESSION_LINGERING;
    ftp_loop_arm(s->shared->loop, &s->timer, mono_add_ms(ftp_loop_now(s->shared->loop), LINGER_MS));
}

static void watch_control(struct ftp_session *s)
{
    uint32_t events = 0;
    if (s->gone || s->state == SESSION_OVER)
        return;
    if (s->shaking)
        events = (uint32_t)tls_conn_events(s->tls);
    else if (has_replies(s) && !ftp_transfer_is_away(&s->transfer))
        events |= EPOLLOUT;
    if (s->state == SESSION_LINGERING ||
        (!s->shaking && !s->eof && ftp_reader_room(&s->reader) > 0))
        events |= EPOLLIN;
    int r = ftp_loop_watch(s->shared->loop, &s->watch, events);
    if (r < 0) {
        log_warn("ftp-session-failed", "epoll: %s", strerror(-r));
        end(s);
    }
}

/* After each event: does what can be done, says what is to be said, and waits for the rest. Calling
 * it once more does no harm. What was read lies in the reader, and epoll is silent about it: so it
 * goes round until nothing more comes of it, also behind a handshake that was over at once. */
static void advance(struct ftp_session *s)
{
    bool more = true;
    while (more && s->state != SESSION_OVER) {
        bool any = take_lines(s);
        take_interrupts(s);
        any |= has_replies(s);
        flush(s);
        if (s->state == SESSION_SECURING && !s->tls && !has_replies(s)) {
            begin_tls(s);
            any = true;
        } else if (has_replies(s)) { /* the client does not read */
            any = false;
        }
        more = any && s->state == SESSION_IDLE;
    }
    if (s->state == SESSION_OVER)
        return;
    if (s->state == SESSION_IDLE && !has_replies(s) && (s->eof || s->gone))
        end(s);
    else if (s->state == SESSION_CLOSING && !has_replies(s))
        say_last_words(s);
    watch_control(s);
}

/* ---- requests ---- */

static void try_login(struct ftp_session *s);
static void listen_for_data(struct ftp_session *s);
static void start_transfer(struct ftp_session *s);

static void do_file(struct ftp_session *s)
{
    const struct ftp_request *q = ftp_engine_request(s->engine);
    assert(s->seat); /* the engine asks for nothing before a login */
    struct ftp_errand *j = ftp_errand_new(
        s->shared, q->op == FTP_OP_LIST_INLINE ? FTP_DISK_LIST : FTP_DISK_FILE, s, on_file_done);
    j->job.jail = s->seat->jail;
    j->job.rights = s->seat->account->rights;
    j->job.request = *q;
    s->state = SESSION_WAITING;
    s->errand = j;
    ftp_errand_send(s->shared, j);
}

static void obey(struct ftp_session *s, enum ftp_ask ask)
{
    switch (ask) {
    case FTP_ASK_NOTHING:
        break;
    case FTP_ASK_LOGIN:
        s->asked_at = ftp_loop_now(s->shared->loop);
        try_login(s);
        break;
    case FTP_ASK_LISTEN:
        listen_for_data(s);
        break;
    case FTP_ASK_FILE:
        do_file(s);
        break;
    case FTP_ASK_TRANSFER:
        start_transfer(s);
        break;
    case FTP_ASK_ABORT:
        ftp_transfer_abort(&s->transfer, "aborted by the client");
        break;
    case FTP_ASK_TLS:
        s->state = SESSION_SECURING;
        break;
    case FTP_ASK_CLOSE:
        if (s->transfer.phase != FTP_PHASE_NONE) { /* asked again when it has ended */
            ftp_transfer_abort(&s->transfer, "the session ended");
            break;
        }
        s->state = SESSION_CLOSING;
        ftp_loop_arm(s->shared->loop, &s->timer,
                     mono_add_ms(ftp_loop_now(s->shared->loop), LINGER_MS));
        break;
    }
}

/* After an answer from elsewhere: what was asked of us while it was under way comes first. */
static void go_on(struct ftp_session *s, enum ftp_ask ask)
{
    note_activity(s);
    s->state = SESSION_IDLE;
    if (s->dismissed) {
        ftp_engine_goodbye(s->engine, s->dismissed);
        ask = FTP_ASK_CLOSE;
    }
    obey(s, ask);
    advance(s);
}

static void on_file_done(struct ftp_errand *j)
{
    struct ftp_session *s = j->owner;
    s->errand = NULL;
    if (s->state == SESSION_OVER) {
        ftp_errand_free(s->shared, j);
        end(s);
        return;
    }
    enum ftp_ask ask =
        ftp_engine_file_done(s->engine, j->job.code, &j->job.file, dynbuf_str(&j->job.text));
    if (j->job.code == -EIO || j->job.code == -ENOSPC)
        ftp_shared_note_error(s->shared, j->job.error.text);
    ftp_errand_free(s->shared, j);
    go_on(s, ask);
}

/* ---- login ---- */

static void welcome(struct ftp_session *s, const struct ftp_account *a)
{
    struct ftp_shared *sh = s->shared;
    struct ftp_seat *seat = ftp_realm_seat(s->realm, a);
    assert(seat);
    ftp_guard_succeeded(sh->guard, &s->peer.any, ftp_loop_now(sh->loop));
    give_seat_up(s);
    if (a->sessions_max > 0 && seat->sessions >= a->sessions_max) {
        char peer[FTP_ADDRESS_TEXT_MAX];
        log_warn("ftp-account-full",
                 "account '%s' has its %d sessions already, one from %s was refused", a->name,
                 a->sessions_max, ftp_address_host(&s->peer, peer));
        ftp_metrics_connection_refused(FTP_REFUSAL_FULL);
        ftp_engine_goodbye(s->engine, "Too many sessions of this account.");
        obey(s, FTP_ASK_CLOSE);
        return;
    }
    s->seat = ftp_seat_ref(seat);
    s->seat->sessions++;
    s->known = true;
    s->state = SESSION_IDLE;
    obey(s, ftp_engine_login(s->engine, a));
    if (!ftp_engine_account(s->engine))
        give_seat_up(s); /* not without TLS */
    arm_idle(s);
}

/* Returns how long to wait with the answer. */
static int64_t note_failure(struct ftp_session *s)
{
    struct ftp_shared *sh = s->shared;
    char peer[FTP_ADDRESS_TEXT_MAX], user[128];
    const char *name = ftp_engine_user(s->engine);
    struct mono_time now = ftp_loop_now(sh->loop);
    int64_t delay = ftp_guard_failed(sh->guard, &s->peer.any, now);
    ftp_address_host(&s->peer, peer);
    ftp_metrics_login_refused();
    log_info("ftp-login-refused", "user \"%s\" from %s",
             text_escape(name, strnlen(name, 64), user, sizeof(user)), peer);
    if (ftp_guard_is_banned(sh->guard, &s->peer.any, now)) {
        ftp_metrics_banned();
        log_notice("ftp-banned", "%s tried too many passwords and is shut out for a while", peer);
    }
    return delay;
}

/* The delay counts from the question: what it took to find the answer, which depends on whose name
 * it was, is not to be seen. If it took longer, neither is that, but for a whole delay. */
static void refuse(struct ftp_session *s)
{
    int64_t delay_us = note_failure(s) * 1000;
    int64_t took_us = mono_diff_us(ftp_loop_now(s->shared->loop), s->asked_at);
    int64_t wait_us = (took_us / delay_us + 1) * delay_us;
    s->state = SESSION_DELAYED;
    ftp_loop_arm(s->shared->loop, &s->timer, (struct mono_time){s->asked_at.us + wait_us});
}

/* One of an address at a time: who opens many sessions has no more of the disk threads for it, and
 * is banned after as many guesses as one after the other. */
static void check_password(struct ftp_session *s)
{
    struct ftp_shared *sh = s->shared;
    s->state = SESSION_WAITING;
    if (!ftp_guard_look(sh->guard, &s->peer.any)) {
        s->queued = true;
        s->login_next = NULL;
        *(sh->login_last ? &sh->login_last->login_next : &sh->login_first) = s;
        sh->login_last = s;
        return;
    }
    struct ftp_errand *j = ftp_errand_new(sh, FTP_DISK_LOGIN, s, on_login_done);
    j->job.accounts = ftp_realm_accounts(s->realm);
    j->job.user = ftp_engine_user(s->engine);
    j->job.password = ftp_engine_password(s->engine);
    j->job.from = &s->peer.any;
    j->job.known = ftp_guard_knows(sh->guard, &s->peer.any, ftp_loop_now(sh->loop));
    s->errand = j;
    ftp_errand_send(sh, j);
}

/* The next of that address. One that needs no check, or gets none any more, is not the last. */
static void check_next(struct ftp_shared *sh, const union ftp_address *peer)
{
    struct ftp_session *next;
    for (struct ftp_session *s = sh->login_first; s; s = next) {
        next = s->login_next;
        if (!ftp_guard_is_same(&s->peer.any, &peer->any))
            continue;
        drop_login(s);
        s->state = SESSION_IDLE;
        try_login(s);
        bool checks = s->errand != NULL;
        advance(s);
        if (checks)
            return;
    }
}

static void try_login(struct ftp_session *s)
{
    struct ftp_shared *sh = s->shared;
    /* An address that was shut out meanwhile does not go on over sessions that it has already. */
    if (ftp_guard_is_banned(sh->guard, &s->peer.any, ftp_loop_now(sh->loop))) {
        ftp_engine_goodbye(s->engine,
                           "Too many wrong passwords from your address; try again later.");
        obey(s, FTP_ASK_CLOSE);
        return;
    }
    if (s->realm != sh->realm) {
        /* The engine knows of no account now, and the seat has its own. */
        give_seat_up(s);
        ftp_realm_unref(s->realm);
        s->realm = ftp_realm_ref(sh->realm);
    }
    struct ftp_accounts *accounts = ftp_realm_accounts(s->realm);
    const char *user = ftp_engine_user(s->engine), *password = ftp_engine_password(s->engine);
    const struct ftp_account *a = ftp_accounts_login_text(accounts, user, password, &s->peer.any);
    if (a)
        welcome(s, a);
    else if (ftp_accounts_slow(accounts))
        check_password(s);
    else
        refuse(s);
}

/* What a hash is of shows when somebody says it: a default password opens nothing in this form,
 * either. */
static bool is_weak(struct ftp_session *s, const struct ftp_account *a)
{
    char why[256];
    if (ftp_password_is_good(ftp_engine_password(s->engine), a->name, why, sizeof(why)))
        return false;
    log_warn("ftp-password-weak",
             "account '%s': nobody is let in, for its password, of which the configuration has the "
             "hash, is not accepted: %s",
             a->name, why);
    return true;
}

/* The look took a while: the accounts may be others now, and attempts over other sessions may have
 * had their answers. */
static void conclude_login(struct ftp_session *s, int code, const struct ftp_account *a)
{
    struct ftp_shared *sh = s->shared;
    s->state = SESSION_IDLE;
    if (code == -ECANCELED) /* it was dismissed */
        obey(s, ftp_engine_login(s->engine, NULL));
    else if (s->realm != sh->realm)
        try_login(s);
    else if (a && !ftp_guard_is_banned(sh->guard, &s->peer.any, ftp_loop_now(sh->loop)) &&
             !is_weak(s, a))
        welcome(s, a);
    else
        refuse(s);
}

static void on_login_done(struct ftp_errand *j)
{
    struct ftp_session *s = j->owner;
    struct ftp_shared *sh = s->shared;
    const struct ftp_account *a = j->job.account;
    int code = j->job.code;
    const union ftp_address peer = s->peer;
    s->errand = NULL;
    ftp_errand_free(sh, j);
    ftp_guard_looked(sh->guard, &peer.any);
    if (s->state == SESSION_OVER) { /* that spares nobody the ban */
        if (!a && code != -ECANCELED)
            (void)note_failure(s);
        end(s);
    } else {
        conclude_login(s, code, a);
        advance(s);
    }
    check_next(sh, &peer);
}

/* ---- data connections ---- */

static const union ftp_address *local_address(struct ftp_session *s)
{
    socklen_t size = sizeof(s->local);
    if (!s->has_local && getsockname(s->watch.fd, &s->local.any, &size) == 0) {
        ftp_address_normalise(&s->local);
        s->has_local = true;
    }
    return &s->local;
}

/* Peers from outside get the address that they can reach; in the house it is the interface's own,
 * unless that is one inside of a container. */
static struct in_addr told_address(struct ftp_session *s)
{
    if (s->shared->has_masquerade &&
        (s->shared->config.masquerade_all || !ftp_address_is_near(&s->peer)))
        return s->shared->masquerade;
    return s->local.v4.sin_addr;
}

static void listen_for_data(struct ftp_session *s)
{
    uint8_t ipv4[4] = {0};
    const union ftp_address *local = local_address(s);
    int port = s->has_local
                   ? ftp_transfer_listen(&s->transfer, local, s->seat->account->foreign_data)
                   : -ENOTCONN;
    if (local->any.sa_family == AF_INET) {
        struct in_addr told = told_address(s);
        memcpy(ipv4, &told, sizeof(ipv4));
    }
    if (port < 0) {
        char peer[FTP_ADDRESS_TEXT_MAX];
        log_warn("ftp-no-port", "no port for a data connection of %s: %s",
                 ftp_address_host(&s->peer, peer), strerror(-port));
    }
    obey(s, ftp_engine_listening(s->engine, port, ipv4));
}

static struct ftp_transfer_way way_of(struct ftp_session *s)
{
    struct ftp_transfer_way way = {.mode = ftp_engine_data_mode(s->engine),
                                   .local = *local_address(s),
                                   .active_port = ftp_engine_active_port(s->engine)};
    if (ftp_engine_data_protected(s->engine)) {
        way.tls.server = s->shared->tls;
        way.tls.resume_from = s->shared->config.tls_reuse ? s->tls : NULL;
    }
    return way;
}

static void start_transfer(struct ftp_session *s)
{
    struct ftp_transfer_way way = way_of(s);
    s->state = SESSION_TRANSFER;
    ftp_transfer_start(&s->transfer, ftp_engine_request(s->engine), s->seat, &way);
}

/* Another thread says it only when nothing is to be said before it. */
static int voice(struct ftp_transfer *t, struct dynbuf *ready)
{
    struct ftp_session *s = container_of(t, struct ftp_session, transfer);
    if (s->tls || s->gone || s->eof)
        return -1;
    flush(s);
    if (s->gone || has_replies(s) || !ftp_engine_put_ready(s->engine, ready))
        return -1;
    return s->watch.fd;
}

/* What a disk thread began to say goes out whole, before anything else. */
static void say_rest(struct ftp_session *s, const struct dynbuf *text, size_t said)
{
    struct dynbuf *out = ftp_engine_replies(s->engine);
    size_t waiting = out->len, rest = text->len - said;
    if (said == 0 || rest == 0 || !dynbuf_extend(out, rest)) /* too much of it ends the session */
        return;
    memmove(out->data + rest, out->data, waiting);
    memcpy(out->data, text->data + said, rest);
}

/* The engine says it again, from `at` on: that is left out. */
static void leave_out(struct ftp_session *s, size_t at, const struct dynbuf *text, size_t said)
{
    struct dynbuf *out = ftp_engine_replies(s->engine);
    size_t behind = at + text->len;
    if (said == 0 || behind > out->len)
        return;
    memmove(out->data + at, out->data + behind, out->len - behind);
    out->len -= text->len;
}

static void on_opened(struct ftp_transfer *t, int code, bool connected, const struct ftp_file *file)
{
    struct ftp_session *s = container_of(t, struct ftp_session, transfer);
    if (s->state == SESSION_OVER) {
        if (t->phase == FTP_PHASE_OPENED)
            ftp_transfer_abort(t, "the session ended");
        else
            end(s);
        return;
    }
    struct ftp_transfer_way way = way_of(s);
    if (code == 0 && t->op == FTP_OP_LIST)
        ftp_engine_list_own(s->engine, &t->text, clock_wall());
    say_rest(s, &t->carry.ready, t->carry.ready_said);
    size_t at = ftp_engine_replies(s->engine)->len;
    enum ftp_ask ask = ftp_engine_opened(s->engine, code, connected, file);
    leave_out(s, at, &t->carry.ready, t->carry.ready_said);
    t->carry.ready_said = 0; /* that is over */
    if (code < 0) {
        go_on(s, ask);
        return;
    }
    obey(s, ask);
    flush(s);
    if (t->phase == FTP_PHASE_OPENED)
        ftp_transfer_go(t, &way);
    advance(s);
}

static void on_ended(struct ftp_transfer *t, enum ftp_transfer_end how, int code,
                     const struct ftp_file *file)
{
    struct ftp_session *s = container_of(t, struct ftp_session, transfer);
    if (s->state == SESSION_OVER) {
        end(s);
        return;
    }
    struct ftp_carry *c = &t->carry;
    say_rest(s, &c->ready, c->ready_said);
    say_rest(s, &c->stored, c->stored_said);
    size_t at = ftp_engine_replies(s->engine)->len;
    enum ftp_ask ask = ftp_engine_transferred(s->engine, how, code, file);
    leave_out(s, at, &c->stored, c->stored_said);
    go_on(s, ask);
}

/* ---- time ---- */

/* When the patience with what the client does now ends. */
static struct mono_time patience(const struct ftp_session *s)
{
    const struct ftp_config *c = &s->shared->config;
    if (s->known)
        return mono_add_ms(s->active_at, c->idle_timeout_ms);
    int64_t ms = s->seen ? c->login_timeout_ms : MIN(c->login_timeout_ms, c->command_timeout_ms);
    return mono_add_ms(s->began, ms);
}

static void arm_idle(struct ftp_session *s)
{
    ftp_loop_arm(s->shared->loop, &s->timer, patience(s));
}

/* Commands do not move the timer; when it fires it looks how long it has been silent. */
static void on_timer(struct ftp_timer *timer)
{
    struct ftp_session *s = container_of(timer, struct ftp_session, timer);
    struct mono_time now = ftp_loop_now(s->shared->loop);
    switch (s->state) {
    case SESSION_CLOSING:
    case SESSION_LINGERING:
        end(s);
        return;
    case SESSION_DELAYED:
        s->state = SESSION_IDLE;
        arm_idle(s);
        go_on(s, ftp_engine_login(s->engine, NULL));
        return;
    case SESSION_WAITING:
    case SESSION_TRANSFER: /* it has a clock of its own */
        s->active_at = now;
        ftp_loop_arm(s->shared->loop, timer, mono_add_ms(now, s->shared->config.idle_timeout_ms));
        return;
    case SESSION_SECURING:
        if (patience(s).us <= now.us)
            end(s);
        else
            arm_idle(s);
        return;
    case SESSION_IDLE:
        if (patience(s).us > now.us)
            arm_idle(s);
        else
            ftp_session_dismiss(s, s->known ? "Idle for too long." : "No login in time.", false);
        return;
    case SESSION_OVER:
        return;
    }
}
