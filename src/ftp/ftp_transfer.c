#include "ftp/ftp_transfer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

/* Bytes that one transfer may move before the others have their turn. */
#define TURN_BYTES (1 << 20)
/* With a rate, so much time's worth of bytes may come at once. */
#define RATE_BURST_MS 100
#define LOG_PATH_MAX 512
/* A reply that names a path. */
#define CARRIED_TEXT_MAX (FTP_PATH_MAX + 64)
#define CUT_TEXT "the data connection was cut"

static void on_happened(struct ftp_data *d);
static void on_stranger(struct ftp_data *d, const union ftp_address *from);
static void on_timer(struct ftp_timer *timer);
static void on_again(struct ftp_task *task);
static void on_granted(struct ftp_block_user *u);
static void on_wanted(struct ftp_block_user *u);
static void on_opened(struct ftp_errand *j);
static void on_carried(struct ftp_errand *j);
static void on_moved(struct ftp_errand *j);
static void on_finished(struct ftp_errand *j);
static void on_dropped(struct ftp_errand *j);
static void pump(struct ftp_transfer *t);
static void tell_failure(struct ftp_transfer *t, int code, const char *text);
static void count(struct ftp_transfer *t);
static void set_result(struct ftp_transfer *t, int code, const char *text);
static void conclude(struct ftp_transfer *t, const struct ftp_file *file);
static void end(struct ftp_transfer *t, enum ftp_transfer_end how, int code, const char *why);

void ftp_transfer_init(struct ftp_transfer *t, struct ftp_shared *sh, const union ftp_address *peer)
{
    *t = (struct ftp_transfer){.shared = sh,
                               .fd = -1,
                               .user = {.granted = on_granted, .wanted = on_wanted},
                               .timer = {.fire = on_timer},
                               .again = {.run = on_again}};
    dynbuf_init(&t->carry.ready, CARRIED_TEXT_MAX);
    dynbuf_init(&t->carry.stored, CARRIED_TEXT_MAX);
    ftp_data_init(&t->data, sh->loop);
    t->data.peer = *peer;
    t->data.happened = on_happened;
    t->data.stranger = on_stranger;
}

void ftp_transfer_done(struct ftp_transfer *t)
{
    ftp_transfer_forget_data(t);
    dynbuf_done(&t->carry.ready);
    dynbuf_done(&t->carry.stored);
}

static bool stores(const struct ftp_transfer *t)
{
    return t->op == FTP_OP_STORE || t->op == FTP_OP_APPEND;
}

bool ftp_transfer_is_upload(const struct ftp_transfer *t)
{
    return t->phase != FTP_PHASE_NONE && stores(t);
}

static void arm(struct ftp_transfer *t, int64_t ms)
{
    ftp_loop_arm(t->shared->loop, &t->timer, mono_add_ms(ftp_loop_now(t->shared->loop), ms));
}

/* ---- the data connection ---- */

int ftp_transfer_listen(struct ftp_transfer *t, const union ftp_address *local, bool foreign)
{
    t->data.foreign = foreign;
    int port = ftp_data_listen(&t->data, local, t->shared->ports);
    if (port >= 0)
        arm(t, FTP_DATA_LOOK_MS);
    return port;
}

void ftp_transfer_forget_data(struct ftp_transfer *t)
{
    assert(t->phase == FTP_PHASE_NONE);
    ftp_loop_disarm(t->shared->loop, &t->timer);
    ftp_data_close(&t->data);
}

static void on_stranger(struct ftp_data *d, const union ftp_address *from)
{
    char stranger[FTP_ADDRESS_TEXT_MAX], peer[FTP_ADDRESS_TEXT_MAX];
    ftp_metrics_connection_refused(FTP_REFUSAL_STRANGER);
    log_warn("ftp-stranger",
             "%s connected to the data port of %s and was sent away (foreign_data = yes of the "
             "account would let it in)",
             ftp_address_host(from, stranger), ftp_address_host(&d->peer, peer));
}

/* Nobody has asked for the connection yet: see that nobody else is there, and later give it up. */
static void look_early(struct ftp_transfer *t)
{
    if (t->data.state != FTP_DATA_LISTENING)
        return;
    if (t->data.watch.in_epoll) {
        ftp_data_close(&t->data);
        return;
    }
    ftp_data_look(&t->data);
    if (t->data.state == FTP_DATA_LISTENING)
        arm(t, t->shared->config.data_timeout_ms);
}

static void begin(struct ftp_transfer *t)
{
    if (ftp_data_begin(&t->data, !stores(t), &t->tls) < 0) {
        end(t, FTP_TRANSFER_NO_CONNECTION, t->data.error, "no data connection");
        return;
    }
    t->phase = FTP_PHASE_MOVING;
    t->moved_at = t->window_at = ftp_loop_now(t->shared->loop);
    t->window_bytes = 0;
    if (t->alone && t->carried) /* what it sent before it went may lie in the socket */
        t->data.ready = true;
    arm(t, t->shared->config.stall_timeout_ms);
    pump(t);
}

void ftp_transfer_go(struct ftp_transfer *t, const struct ftp_transfer_way *way)
{
    assert(t->phase == FTP_PHASE_OPENED);
    int r = 0;
    t->phase = FTP_PHASE_WAITING;
    t->tls = way->tls;
    if (t->op == FTP_OP_LIST) {
        t->filled = t->text.len;
        t->all_here = true;
    }
    if (way->mode == FTP_DATA_ACTIVE)
        r = ftp_data_connect(&t->data, &way->local, way->active_port);
    else
        ftp_data_look(&t->data);
    arm(t, t->shared->config.data_timeout_ms);
    if (t->data.state == FTP_DATA_CONNECTED)
        begin(t);
    else if (r < 0 || t->data.state == FTP_DATA_CLOSED)
        end(t, FTP_TRANSFER_NO_CONNECTION, t->data.error, "no data connection");
}

static void on_happened(struct ftp_data *d)
{
    struct ftp_transfer *t = container_of(d, struct ftp_transfer, data);
    switch (t->phase) {
    case FTP_PHASE_WAITING:
        if (d->state == FTP_DATA_CONNECTED)
            begin(t);
        else if (d->state == FTP_DATA_CLOSED)
            end(t, FTP_TRANSFER_NO_CONNECTION, d->error, "no data connection");
        break;
    case FTP_PHASE_MOVING:
        if (d->state == FTP_DATA_CLOSED)
            end(t, FTP_TRANSFER_NO_TLS, d->error, "no TLS on the data connection");
        else
            pump(t);
        break;
    case FTP_PHASE_NONE:
    case FTP_PHASE_OPENING:
    case FTP_PHASE_OPENED:
    case FTP_PHASE_FINISHING:
    case FTP_PHASE_ENDING:
        break; /* it is looked at when the time comes */
    }
}

/* ---- start ---- */

static struct ftp_errand *new_errand(struct ftp_transfer *t, enum ftp_disk_kind kind,
                                     void (*done)(struct ftp_errand *j))
{
    struct ftp_errand *j = ftp_errand_new(t->shared, kind, t, done);
    j->job.jail = t->seat->jail;
    j->job.rights = t->account->rights;
    return j;
}

static void give(struct ftp_transfer *t, struct ftp_errand *j)
{
    assert(!t->errand);
    t->errand = j;
    ftp_errand_send(t->shared, j);
}

/* Whether a disk thread may have it whole. Its data connection must be here: clients that make it
 * before they send the command, as nearly all do, wait for nothing but us. */
static bool may_be_carried(struct ftp_transfer *t, const struct ftp_request *q,
                           const struct ftp_transfer_way *way)
{
    if (!stores(t) || q->unique || way->mode != FTP_DATA_PASSIVE || way->tls.server ||
        t->account->rate > 0)
        return false;
    if (t->data.state == FTP_DATA_LISTENING)
        ftp_data_look(&t->data);
    return t->data.state == FTP_DATA_CONNECTED;
}

static bool carry(struct ftp_transfer *t, const struct ftp_request *q)
{
    struct ftp_carry *c = &t->carry;
    *c = (struct ftp_carry){.ready = c->ready, .stored = c->stored};
    dynbuf_reset(&c->ready);
    dynbuf_reset(&c->stored);
    c->control_fd = t->voice(t, &c->ready);
    if (c->control_fd < 0 || c->ready.failed)
        return false;
    c->data_fd = ftp_data_lend(&t->data);
    t->carried = true;
    struct ftp_errand *j = new_errand(t, FTP_DISK_CARRY, on_carried);
    j->job.request = *q;
    j->job.carry = c;
    j->job.check_end = t->shared->config.check_end;
    give(t, j);
    return true;
}

/* opened() is told soon. False when it is a disk thread's: also when these have nothing else to do,
 * so that a second processor has its share. */
static bool open_at_once(struct ftp_transfer *t, const struct ftp_request *q)
{
    struct err e = {0};
    if (!stores(t) || t->shared->errands == 0)
        return false;
    int r = ftp_disk_open_at_once(t->seat->jail, q, &t->upload, &e);
    if (r == -EAGAIN)
        return false;
    t->at_once = true;
    t->code = r;
    if (r < 0)
        tell_failure(t, r, e.text);
    ftp_loop_defer(t->shared->loop, &t->again);
    return true;
}

bool ftp_transfer_is_away(const struct ftp_transfer *t)
{
    return t->data.state == FTP_DATA_LENT;
}

void ftp_transfer_recall(struct ftp_transfer *t)
{
    atomic_store(&t->carry.recall, true);
}

void ftp_transfer_start(struct ftp_transfer *t, const struct ftp_request *q, struct ftp_seat *seat,
                        const struct ftp_transfer_way *way)
{
    assert(t->phase == FTP_PHASE_NONE && !t->errand && !t->upload && !t->block);
    t->phase = FTP_PHASE_OPENING;
    t->op = q->op;
    t->seat = ftp_seat_ref(seat);
    t->account = seat->account;
    t->bytes = 0;
    t->filled = t->sent = 0;
    t->all_here = t->paused = t->provable = t->alone = t->carried = t->at_once = false;
    t->end = FTP_TRANSFER_DONE;
    t->code = 0;
    t->why = "";
    t->path = xstrdup(q->path);
    t->began = ftp_loop_now(t->shared->loop);
    ftp_loop_disarm(t->shared->loop, &t->timer);
    t->carry.ready_said = t->carry.stored_said = 0;
    if (stores(t))
        atomic_fetch_add(&t->shared->uploads_shown, 1);
    if (open_at_once(t, q) || (may_be_carried(t, q, way) && carry(t, q)))
        return;
    struct ftp_errand *j =
        new_errand(t, t->op == FTP_OP_LIST ? FTP_DISK_LIST : FTP_DISK_OPEN, on_opened);
    j->job.request = *q;
    give(t, j);
}

/* The transfer is over, one way or another. */
static void reset(struct ftp_transfer *t)
{
    ftp_loop_disarm(t->shared->loop, &t->timer);
    ftp_loop_forget(t->shared->loop, &t->again);
    ftp_data_close(&t->data);
    ftp_blocks_leave(t->shared->blocks, &t->user);
    if (t->block)
        ftp_blocks_return(t->shared->blocks, STEAL(t->block));
    if (t->fd >= 0)
        (void)close(STEAL_FD(t->fd)); /* was only read */
    dynbuf_done(&t->text);
    free(STEAL(t->path));
    if (stores(t))
        atomic_fetch_sub(&t->shared->uploads_shown, 1);
    ftp_seat_unref(STEAL(t->seat));
    t->phase = FTP_PHASE_NONE;
}

static void refuse(struct ftp_transfer *t, int code)
{
    t->end = FTP_TRANSFER_LOCAL;
    t->code = code;
    count(t);
    reset(t);
    t->opened(t, code, false, NULL);
}

static void tell_opened(struct ftp_transfer *t, const struct ftp_file *file)
{
    t->phase = FTP_PHASE_OPENED;
    if (t->data.state == FTP_DATA_LISTENING)
        ftp_data_look(&t->data);
    t->opened(t, 0, t->data.state == FTP_DATA_CONNECTED, file);
}

static void on_opened(struct ftp_errand *j)
{
    struct ftp_transfer *t = j->owner;
    struct ftp_file file = j->job.file;
    int code = j->job.code;
    t->errand = NULL;
    if (code >= 0) {
        t->upload = j->job.upload;
        t->fd = j->job.fd;
        t->text = j->job.text;
        j->job.text = (struct dynbuf){0};
    }
    if (t->phase == FTP_PHASE_ENDING) {
        ftp_errand_free(t->shared, j);
        end(t, t->end, t->code, t->why);
        return;
    }
    if (code < 0)
        tell_failure(t, code, j->job.error.text);
    ftp_errand_free(t->shared, j);
    if (code < 0) {
        refuse(t, code);
        return;
    }
    tell_opened(t, &file);
}

static void tell_opened_at_once(struct ftp_transfer *t)
{
    if (t->code < 0) {
        refuse(t, t->code);
        return;
    }
    struct ftp_file file = *ftp_upload_file(t->upload);
    tell_opened(t, &file);
}

/* It goes on here, with what came: or it is over, and opened() is no more of interest. */
static void on_carried(struct ftp_errand *j)
{
    struct ftp_transfer *t = j->owner;
    struct ftp_carry *c = &t->carry;
    struct ftp_file file = j->job.file;
    int code = j->job.code;
    bool ending = t->phase == FTP_PHASE_ENDING;
    t->errand = NULL;
    t->upload = j->job.upload;
    t->bytes = c->bytes;
    t->provable = c->begins_jpeg && t->shared->config.check_end && t->op == FTP_OP_STORE;
    ftp_data_take_back(&t->data, c->data_fd);
    bool ended = c->end == FTP_CARRY_ENDED || c->end == FTP_CARRY_FAILED;
    if (ended)
        set_result(t, code, j->job.error.text);
    else if (c->end == FTP_CARRY_REFUSED && !ending)
        tell_failure(t, code, j->job.error.text);
    ftp_errand_free(t->shared, j);
    if (ended) {
        conclude(t, code >= 0 ? &file : NULL);
    } else if (ending) {
        end(t, t->end, t->code, t->why);
    } else if (c->end == FTP_CARRY_REFUSED) {
        refuse(t, code);
    } else if (c->end == FTP_CARRY_CUT) {
        end(t, FTP_TRANSFER_CUT, c->error, CUT_TEXT);
    } else {
        t->phase = FTP_PHASE_OPENED;
        t->opened(t, 0, true, &file);
    }
}

/* ---- bytes ---- */

/* How many more bytes the account's rate allows now; with 0 it waits for some. */
static size_t allowance(struct ftp_transfer *t, size_t wanted)
{
    int64_t rate = t->account->rate;
    if (rate <= 0)
        return wanted;
    int64_t ms = mono_diff_us(ftp_loop_now(t->shared->loop), t->window_at) / 1000;
    int64_t left = rate * (ms + RATE_BURST_MS) / 1000 - t->window_bytes;
    if (left > 0)
        return MIN(wanted, (size_t)left);
    t->paused = true;
    arm(t, MAX((int64_t)1, RATE_BURST_MS / 2));
    return 0;
}

static void moved(struct ftp_transfer *t, int64_t n)
{
    t->bytes += n;
    t->window_bytes += n;
    t->moved_at = ftp_loop_now(t->shared->loop);
}

static void give_block_back(struct ftp_transfer *t)
{
    ftp_blocks_let_go(t->shared->blocks, &t->user);
    ftp_blocks_return(t->shared->blocks, STEAL(t->block));
    t->filled = t->sent = 0;
}

/* False when that was the end of it. */
static bool write_at_once(struct ftp_transfer *t)
{
    struct err e = {0};
    int r = ftp_upload_write(t->upload, t->block, t->filled, &e);
    t->filled = 0;
    if (r < 0) {
        tell_failure(t, r, e.text);
        end(t, FTP_TRANSFER_LOCAL, r, "");
    }
    return r >= 0;
}

/* Likewise. */
static bool write_block(struct ftp_transfer *t)
{
    if (t->at_once)
        return write_at_once(t);
    struct ftp_errand *j = new_errand(t, FTP_DISK_WRITE, on_moved);
    j->job.upload = t->upload;
    j->job.block = STEAL(t->block);
    j->job.block_size = t->filled;
    t->filled = 0;
    ftp_blocks_let_go(t->shared->blocks, &t->user);
    give(t, j);
    return true;
}

static bool finish_at_once(struct ftp_transfer *t)
{
    struct err e = {0};
    struct ftp_file file;
    int r = ftp_disk_end_at_once(t->upload, t->shared->config.check_end, &file, &e);
    if (r == -EAGAIN)
        return false;
    ftp_upload_close(STEAL(t->upload)); /* before the answer: of one that failed nothing is there */
    set_result(t, r, e.text);
    conclude(t, r >= 0 ? &file : NULL);
    return true;
}

static void finish_upload(struct ftp_transfer *t)
{
    t->phase = FTP_PHASE_FINISHING;
    ftp_loop_disarm(t->shared->loop, &t->timer);
    (void)ftp_data_end(&t->data); /* a word that it may not hear: it has sent all it has */
    ftp_data_close(&t->data);
    if (t->block && t->filled == 0)
        give_block_back(t);
    if (t->at_once && finish_at_once(t))
        return;
    struct ftp_errand *j = new_errand(t, FTP_DISK_FINISH, on_finished);
    j->job.upload = STEAL(t->upload);
    j->job.check_end = t->shared->config.check_end;
    j->job.block_size = t->filled;
    t->filled = 0;
    if (t->block) {
        j->job.block = STEAL(t->block);
        ftp_blocks_let_go(t->shared->blocks, &t->user);
    }
    give(t, j);
}

static bool looks_provable(const struct ftp_transfer *t)
{
    static const uint8_t jpeg[] = {0xff, 0xd8};
    return t->shared->config.check_end && t->op == FTP_OP_STORE && t->filled >= sizeof(jpeg) &&
           memcmp(t->block, jpeg, sizeof(jpeg)) == 0;
}

/* Takes what has come. False when it ended. */
static bool receive(struct ftp_transfer *t, size_t room)
{
    int64_t n = ftp_data_read(&t->data, (char *)t->block + t->filled, room);
    if (n == -EAGAIN)
        return true;
    if (n < 0) {
        end(t, FTP_TRANSFER_CUT, (int)n, CUT_TEXT);
        return false;
    }
    if (n == 0) {
        t->all_here = true;
        if (t->data.truncated && t->shared->config.tls_strict) {
            end(t, FTP_TRANSFER_INCOMPLETE, -EBADMSG, "TLS ended without close_notify");
            return false;
        }
        return true;
    }
    bool first = t->bytes == 0;
    t->filled += (size_t)n;
    moved(t, n);
    if (first)
        t->provable = looks_provable(t);
    return true;
}

static void pump_upload(struct ftp_transfer *t)
{
    int64_t until = t->bytes + TURN_BYTES;
    while (t->data.ready && !t->all_here && !t->paused) {
        if (t->bytes >= until) {
            ftp_loop_defer(t->shared->loop, &t->again);
            return;
        }
        if (!t->block)
            t->block = ftp_blocks_take(t->shared->blocks, &t->user);
        if (!t->block)
            return;
        if (t->filled == FTP_BLOCK_SIZE) {
            if (t->errand || !write_block(t))
                return;
            continue;
        }
        size_t room = allowance(t, FTP_BLOCK_SIZE - t->filled);
        if (room > 0 && !receive(t, room))
            return;
    }
    if (t->alone && t->bytes > 0 && !t->provable && !t->all_here) {
        end(t, FTP_TRANSFER_CUT, -ECONNRESET, "the client is gone");
        return;
    }
    if (t->errand || (t->at_once && t->filled > 0 && !write_at_once(t)))
        return;
    if (t->all_here)
        finish_upload(t);
    else if (t->block && t->filled == 0)
        give_block_back(t);
    else if (t->block && t->user.asked)
        (void)write_block(t); /* a job: at once it was written before */
}

static void read_block(struct ftp_transfer *t)
{
    struct ftp_errand *j = new_errand(t, FTP_DISK_READ, on_moved);
    (void)text_copy(j->job.request.path, FTP_PATH_MAX, t->path); /* fits; for its errors */
    j->job.fd = t->fd;
    j->job.block = t->block; /* stays ours: it is sent next */
    j->job.block_size = FTP_BLOCK_SIZE;
    give(t, j);
}

static void end_download(struct ftp_transfer *t)
{
    int r = ftp_data_end(&t->data);
    if (r == -EAGAIN)
        return;
    if (r < 0)
        end(t, FTP_TRANSFER_CUT, r, CUT_TEXT);
    else
        end(t, FTP_TRANSFER_DONE, 0, "");
}

static void pump_download(struct ftp_transfer *t)
{
    int64_t until = t->bytes + TURN_BYTES;
    while (t->data.ready && !t->paused && !t->errand) {
        const char *from = t->op == FTP_OP_LIST ? dynbuf_str(&t->text) : t->block;
        if (t->bytes >= until) {
            ftp_loop_defer(t->shared->loop, &t->again);
            return;
        }
        if (t->sent < t->filled) {
            size_t n = allowance(t, t->filled - t->sent);
            int64_t r = n > 0 ? ftp_data_write(&t->data, from + t->sent, n) : -EAGAIN;
            if (r == -EAGAIN)
                break;
            if (r < 0) {
                end(t, FTP_TRANSFER_CUT, (int)r, CUT_TEXT);
                return;
            }
            t->sent += (size_t)r;
            moved(t, r);
            continue;
        }
        if (t->all_here) {
            end_download(t);
            return;
        }
        if (!t->block)
            t->block = ftp_blocks_take(t->shared->blocks, &t->user);
        if (!t->block)
            return;
        read_block(t);
    }
    if (t->user.asked)
        on_wanted(&t->user);
}

static void pump(struct ftp_transfer *t)
{
    if (t->phase != FTP_PHASE_MOVING || t->data.state != FTP_DATA_OPEN)
        return;
    if (stores(t))
        pump_upload(t);
    else
        pump_download(t);
}

static void on_again(struct ftp_task *task)
{
    struct ftp_transfer *t = container_of(task, struct ftp_transfer, again);
    if (t->phase == FTP_PHASE_OPENING)
        tell_opened_at_once(t);
    else
        pump(t);
}

static void on_granted(struct ftp_block_user *u)
{
    struct ftp_transfer *t = container_of(u, struct ftp_transfer, user);
    t->moved_at = t->window_at = ftp_loop_now(t->shared->loop); /* we kept it waiting */
    t->window_bytes = 0;
    ftp_loop_defer(t->shared->loop, &t->again);
}

/* Others need memory: an upload's part goes to the disk now; of a download it is read again later.
 */
static void on_wanted(struct ftp_block_user *u)
{
    struct ftp_transfer *t = container_of(u, struct ftp_transfer, user);
    if (t->errand || !t->block || t->phase != FTP_PHASE_MOVING)
        return; /* soon */
    if (t->at_once) {
        if (t->filled == 0 || write_at_once(t))
            give_block_back(t);
        return;
    }
    if (stores(t)) {
        if (t->filled > 0)
            (void)write_block(t); /* a job, which ends nothing yet */
        return;
    }
    off_t unsent = (off_t)(t->filled - t->sent);
    if (unsent == 0 || lseek(t->fd, -unsent, SEEK_CUR) >= 0)
        give_block_back(t);
}

/* A block was written, or read. */
static void on_moved(struct ftp_errand *j)
{
    struct ftp_transfer *t = j->owner;
    int code = j->job.code;
    size_t size = j->job.block_size;
    void *written = j->job.kind == FTP_DISK_WRITE ? j->job.block : NULL;
    char text[ERR_TEXT_MAX];
    t->errand = NULL;
    if (code < 0)
        text_copy(text, sizeof(text), j->job.error.text); /* the same size */
    ftp_errand_free(t->shared, j);
    if (written)
        ftp_blocks_return(t->shared->blocks, written);
    if (t->phase == FTP_PHASE_ENDING) {
        end(t, t->end, t->code, t->why);
        return;
    }
    if (code < 0) {
        tell_failure(t, code, text);
        end(t, FTP_TRANSFER_LOCAL, code, "");
        return;
    }
    t->moved_at = ftp_loop_now(t->shared->loop); /* the disk took its time, not the client */
    if (!written) {
        t->filled = size;
        t->sent = 0;
        t->all_here = size < FTP_BLOCK_SIZE;
    }
    pump(t);
}

/* ---- the end ---- */

static enum ftp_outcome outcome_of(enum ftp_transfer_end how, int code)
{
    switch (how) {
    case FTP_TRANSFER_DONE:
        return FTP_OUTCOME_STORED;
    case FTP_TRANSFER_NO_CONNECTION:
    case FTP_TRANSFER_NO_TLS:
        return FTP_OUTCOME_NO_CONNECTION;
    case FTP_TRANSFER_CUT:
        return FTP_OUTCOME_ABORTED;
    case FTP_TRANSFER_INCOMPLETE:
        return FTP_OUTCOME_INCOMPLETE;
    case FTP_TRANSFER_LOCAL:
        break;
    }
    return code == -EIO || code == -ENOSPC || code == -EMFILE || code == -ENFILE || code == -ENOMEM
               ? FTP_OUTCOME_FAILED
               : FTP_OUTCOME_REFUSED;
}

static const char *log_path(const struct ftp_transfer *t, char buf[LOG_PATH_MAX])
{
    return text_escape(t->path, strlen(t->path), buf, LOG_PATH_MAX);
}

/* The disk said no: what an owner of the house must know of is an error of the server's status. */
static void tell_failure(struct ftp_transfer *t, int code, const char *text)
{
    char path[LOG_PATH_MAX], peer[FTP_ADDRESS_TEXT_MAX];
    if (outcome_of(FTP_TRANSFER_LOCAL, code) == FTP_OUTCOME_FAILED) {
        ftp_shared_note_error(t->shared, text);
        log_error("ftp-disk-failed", "account '%s' from %s, \"%s\": %s", t->account->name,
                  ftp_address_host(&t->data.peer, peer), log_path(t, path), text);
    } else {
        log_info("ftp-refused", "account '%s' from %s, \"%s\": %s", t->account->name,
                 ftp_address_host(&t->data.peer, peer), log_path(t, path), text);
    }
}

static void log_end(struct ftp_transfer *t, enum ftp_transfer_end how, int code, double seconds)
{
    char path[LOG_PATH_MAX], peer[FTP_ADDRESS_TEXT_MAX];
    const char *account = t->account->name;
    ftp_address_host(&t->data.peer, peer);
    if (log_get_level() < LOG_LEVEL_INFO)
        return;
    if (how == FTP_TRANSFER_DONE && stores(t))
        log_info("ftp-stored", "account '%s' from %s, \"%s\": %lld bytes in %.3f s", account, peer,
                 log_path(t, path), (long long)t->bytes, seconds);
    else if (how == FTP_TRANSFER_DONE && t->op == FTP_OP_RETRIEVE)
        log_info("ftp-sent", "account '%s' to %s, \"%s\": %lld bytes in %.3f s", account, peer,
                 log_path(t, path), (long long)t->bytes, seconds);
    else if (how != FTP_TRANSFER_DONE && how != FTP_TRANSFER_LOCAL && stores(t))
        log_info(
            "ftp-upload-ended",
            "account '%s' from %s, \"%s\": %s%s%s after %lld bytes and %.3f s, nothing is kept",
            account, peer, log_path(t, path), t->why, code ? ": " : "", code ? strerror(-code) : "",
            (long long)t->bytes, seconds);
}

static void count(struct ftp_transfer *t)
{
    double seconds = (double)mono_diff_us(ftp_loop_now(t->shared->loop), t->began) / 1000000;
    log_end(t, t->end, t->code, seconds);
    if (t->bytes > 0)
        ftp_metrics_bytes(stores(t), t->bytes);
    if (!stores(t))
        return;
    ftp_metrics_upload(outcome_of(t->end, t->code), seconds);
    atomic_fetch_add(t->end == FTP_TRANSFER_DONE ? &t->shared->stored : &t->shared->failed, 1);
}

/* Everything is undone or done: tells the session. */
static void conclude(struct ftp_transfer *t, const struct ftp_file *file)
{
    enum ftp_transfer_end how = t->end;
    int code = t->code;
    count(t);
    reset(t);
    t->ended(t, how, code, file);
}

/* Ends it this way. What is at the disk threads comes back first, and a begun upload is dropped
 * before the answer, so that whoever reads the answer finds nothing of it. */
static void end(struct ftp_transfer *t, enum ftp_transfer_end how, int code, const char *why)
{
    t->phase = FTP_PHASE_ENDING;
    t->end = how;
    t->code = code;
    t->why = why;
    ftp_loop_disarm(t->shared->loop, &t->timer);
    ftp_loop_forget(t->shared->loop, &t->again);
    if (ftp_transfer_is_away(t)) {
        ftp_transfer_recall(t);
        return;
    }
    ftp_data_close(&t->data);
    if (t->errand)
        return;
    if (t->at_once)
        ftp_upload_close(STEAL(t->upload));
    if (t->upload) {
        struct ftp_errand *j = new_errand(t, FTP_DISK_DROP, on_dropped);
        j->job.upload = STEAL(t->upload);
        give(t, j);
        return;
    }
    conclude(t, NULL);
}

static void on_dropped(struct ftp_errand *j)
{
    struct ftp_transfer *t = j->owner;
    t->errand = NULL;
    ftp_errand_free(t->shared, j);
    conclude(t, NULL);
}

/* Also when the client gave up meanwhile: it is stored, and says so. */
static void set_result(struct ftp_transfer *t, int code, const char *text)
{
    t->end = code >= 0          ? FTP_TRANSFER_DONE
             : code == -EBADMSG ? FTP_TRANSFER_INCOMPLETE
                                : FTP_TRANSFER_LOCAL;
    t->code = MIN(code, 0);
    t->why = code == -EBADMSG ? "it has no end, or is shorter than announced" : "";
    if (t->end == FTP_TRANSFER_LOCAL)
        tell_failure(t, code, text);
}

static void on_finished(struct ftp_errand *j)
{
    struct ftp_transfer *t = j->owner;
    struct ftp_file file = j->job.file;
    int code = j->job.code;
    t->errand = NULL;
    if (j->job.block)
        ftp_blocks_return(t->shared->blocks, j->job.block);
    set_result(t, code, j->job.error.text);
    ftp_errand_free(t->shared, j);
    conclude(t, code >= 0 ? &file : NULL);
}

void ftp_transfer_abort(struct ftp_transfer *t, const char *why)
{
    switch (t->phase) {
    case FTP_PHASE_NONE:
    case FTP_PHASE_FINISHING: /* ends by itself */
    case FTP_PHASE_ENDING:
        return;
    case FTP_PHASE_OPENING:
    case FTP_PHASE_OPENED:
    case FTP_PHASE_WAITING:
    case FTP_PHASE_MOVING:
        end(t, FTP_TRANSFER_CUT, 0, why);
        return;
    }
}

void ftp_transfer_alone(struct ftp_transfer *t)
{
    t->alone = true;
    if (!stores(t)) {
        ftp_transfer_abort(t, "the client is gone");
        return;
    }
    if (ftp_transfer_is_away(t))
        ftp_transfer_recall(t);
    if (t->phase == FTP_PHASE_WAITING && t->data.state != FTP_DATA_CONNECTED)
        ftp_data_look(&t->data);
    if (t->phase != FTP_PHASE_MOVING)
        return;
    /* What it sent before it went may lie in the socket. */
    if (t->data.state == FTP_DATA_OPEN)
        t->data.ready = true;
    pump(t);
}

/* ---- time ---- */

/* Whether it is we that the other end waits for. */
static bool we_are_busy(const struct ftp_transfer *t)
{
    return t->errand || t->user.state == FTP_BLOCK_WAITS || t->user.state == FTP_BLOCK_GRANTED;
}

static void check_pace(struct ftp_transfer *t)
{
    const struct ftp_config *c = &t->shared->config;
    struct mono_time now = ftp_loop_now(t->shared->loop);
    if (we_are_busy(t))
        t->moved_at = now;
    if (mono_diff_us(now, t->moved_at) >= c->stall_timeout_ms * 1000) {
        end(t, FTP_TRANSFER_CUT, -ETIMEDOUT, "the data stopped");
        return;
    }
    int64_t window_us = mono_diff_us(now, t->window_at);
    if (window_us >= c->stall_timeout_ms * 1000) {
        double rate = (double)t->window_bytes * 1e6 / (double)window_us;
        bool slow = stores(t) && !we_are_busy(t) && rate < (double)c->rate_min &&
                    (t->account->rate <= 0 || rate < (double)t->account->rate / 2);
        if (slow) {
            end(t, FTP_TRANSFER_CUT, -ETIMEDOUT, "the data came too slowly");
            return;
        }
        t->window_at = now;
        t->window_bytes = 0;
    }
    struct mono_time first = t->moved_at.us < t->window_at.us ? t->moved_at : t->window_at;
    ftp_loop_arm(t->shared->loop, &t->timer, mono_add_ms(first, c->stall_timeout_ms));
}

static void on_timer(struct ftp_timer *timer)
{
    struct ftp_transfer *t = container_of(timer, struct ftp_transfer, timer);
    switch (t->phase) {
    case FTP_PHASE_NONE:
        look_early(t);
        break;
    case FTP_PHASE_WAITING:
        end(t, FTP_TRANSFER_NO_CONNECTION, -ETIMEDOUT, "no data connection");
        break;
    case FTP_PHASE_MOVING:
        if (t->data.state == FTP_DATA_SHAKING) {
            end(t, FTP_TRANSFER_NO_TLS, -ETIMEDOUT, "no TLS on the data connection");
            break;
        }
        t->paused = false;
        check_pace(t);
        pump(t);
        break;
    case FTP_PHASE_OPENING:
    case FTP_PHASE_OPENED:
    case FTP_PHASE_FINISHING:
    case FTP_PHASE_ENDING:
        break;
    }
}
