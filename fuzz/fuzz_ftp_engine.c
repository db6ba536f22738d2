/* A whole session of the FTP engine. The first byte are its options; then come lines, each with its
 * LF. Where the engine asks for something, the next byte is the result. What must hold:
 *
 *   every line ends in exactly one final reply, ABOR during a transfer in one of its own;
 *   replies are lines, of three digits at each end, without control bytes inside;
 *   at most one request is open, and its paths are normal, below "/" and not hidden;
 *   nothing is asked for that the account has no right to, and nothing before the login; where it
 *   may touch its own only, the request says so, and by the mark of what it was told is stored;
 *   what another thread says in the engine's stead is what the engine would say. */

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "base/text.h"
#include "ftp/ftp_engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at, *end;
};

struct session {
    struct ftp_engine *en;
    struct input in;
    int finals; /* final replies that came since the last look */
    bool transfers_need_tls;
    const char *stored_by; /* name of the account that stored ... */
    bool stored[256];      /* ... files with these inodes */
};

static uint8_t next_byte(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static bool next_line(struct input *in, const char **ret, size_t *ret_len)
{
    if (in->at == in->end)
        return false;
    const uint8_t *lf = memchr(in->at, '\n', (size_t)(in->end - in->at));
    *ret = (const char *)in->at;
    *ret_len = (size_t)((lf ? lf : in->end) - in->at);
    in->at = lf ? lf + 1 : in->end;
    return true;
}

/* ---- what must hold ---- */

static void check_path(const char *path)
{
    char again[FTP_PATH_MAX];
    assert(strnlen(path, FTP_PATH_MAX) < FTP_PATH_MAX && path[0] == '/');
    int r = ftp_path_resolve("/", path, strlen(path), again);
    assert(r == 0 && strcmp(again, path) == 0);
    assert(!strstr(path, "/" FTP_HIDDEN_PREFIX));
}

static bool is_code(const char *line)
{
    return line[0] >= '1' && line[0] <= '5' && line[1] >= '0' && line[1] <= '9' && line[2] >= '0' &&
           line[2] <= '9';
}

/* Counts the final replies and takes them out. */
static void read_replies(struct session *s)
{
    struct dynbuf *replies = ftp_engine_replies(s->en);
    const char *line = dynbuf_str(replies), *end = line + replies->len;
    char open[4] = ""; /* code of a reply with several lines */
    while (line < end) {
        const char *cr = strstr(line, "\r\n");
        assert(cr);
        for (const char *c = line; c < cr; c++)
            assert((uint8_t)*c >= 0x20 && *c != 0x7f);
        bool last = cr - line >= 4 && is_code(line) && line[3] == ' ' &&
                    (!open[0] || memcmp(line, open, 3) == 0);
        if (last) {
            s->finals += line[0] != '1'; /* 150 and 125 are followed by another */
            open[0] = '\0';
        } else if (!open[0]) {
            assert(cr - line >= 4 && is_code(line) && line[3] == '-');
            memcpy(open, line, 3);
        }
        line = cr + 2;
    }
    assert(!open[0]);
    dynbuf_reset(replies);
}

/* It goes for what this session stored and for nothing else. */
static void check_mark(const struct session *s, const struct ftp_mark *m)
{
    assert(!m->set || (m->inode < ARRAY_LEN(s->stored) && s->stored[m->inode]));
}

static void check_request(const struct session *s, enum ftp_ask ask)
{
    const struct ftp_request *q = ftp_engine_request(s->en);
    const struct ftp_account *a = ftp_engine_account(s->en);
    assert(q && a);
    check_path(q->path);
    assert((q->op == FTP_OP_RENAME) == (q->path_to[0] != '\0'));
    if (q->op == FTP_OP_RENAME)
        check_path(q->path_to);
    bool transfers = q->op >= FTP_OP_STORE;
    assert(transfers == (ask == FTP_ASK_TRANSFER));
    assert(q->offset >= (q->op == FTP_OP_APPEND ? -1 : 0) && q->announced >= 0);
    if (transfers) {
        assert(ftp_engine_data_mode(s->en) != FTP_DATA_NONE);
        assert(!(s->transfers_need_tls || a->tls_required) || ftp_engine_data_protected(s->en));
        if (ftp_engine_data_mode(s->en) == FTP_DATA_ACTIVE)
            assert(ftp_engine_active_port(s->en) >= 1024);
    }
    unsigned store = a->rights & FTP_RIGHT_STORE;
    if (q->op == FTP_OP_STORE || q->op == FTP_OP_APPEND || q->op == FTP_OP_MAKE ||
        q->op == FTP_OP_RENAME || q->op == FTP_OP_MODIFIED)
        assert(store);
    if (q->op == FTP_OP_RETRIEVE)
        assert(a->rights & FTP_RIGHT_READ);
    if (q->op == FTP_OP_LIST)
        assert(q->empty == !(a->rights & FTP_RIGHT_LIST));
    if (q->op == FTP_OP_LIST_INLINE)
        assert(a->rights & FTP_RIGHT_LIST);
    assert(!q->overwrite || (a->rights & FTP_RIGHT_OVERWRITE));
    check_mark(s, &q->over);
    check_mark(s, &q->only);
    if (q->op == FTP_OP_DELETE || q->op == FTP_OP_REMOVE_FOLDER || q->op == FTP_OP_RENAME)
        assert(q->only.set || (a->rights & FTP_RIGHT_DELETE));
    if (q->op == FTP_OP_MODIFIED)
        assert(q->only.set || (a->rights & FTP_RIGHT_OVERWRITE));
}

/* ---- results ---- */

static const struct ftp_account accounts[] = {
    {.name = "cam", .rights = FTP_RIGHTS_DEFAULT},
    {.name = "all",
     .rights = FTP_RIGHTS_DEFAULT | FTP_RIGHT_LIST | FTP_RIGHT_READ | FTP_RIGHT_DELETE},
    {.name = "none"},
    {.name = "store", .rights = FTP_RIGHT_STORE},
    {.name = "tls", .rights = FTP_RIGHTS_DEFAULT, .tls_required = true},
};

static int code_of(uint8_t b)
{
    static const int codes[] = {0,       -ENOENT,       -EEXIST, -ENOTDIR, -EISDIR, -ENOTEMPTY,
                                -EACCES, -ENAMETOOLONG, -ENOSPC, -EDQUOT,  -EFBIG,  -EMLINK,
                                -EINVAL, -E2BIG,        -EIO,    -EBADMSG};
    return b & 0x40 ? codes[b % ARRAY_LEN(codes)] : 0;
}

static struct ftp_file file_of(uint8_t b)
{
    struct ftp_file f = {.folder = b & 0x20, .size = b * 1000003LL, .inode = b};
    f.modified.us = (b - 100) * 100000000000000LL;
    (void)text_format(f.name, sizeof(f.name), b & 0x10 ? "a\r\n%d" : "picture-%d.jpg", b);
    return f;
}

/* Lines that come during a transfer; their replies are due when it ends. */
static enum ftp_ask interrupt(struct session *s, uint8_t b, int *due)
{
    static const char *const lines[] = {"ABOR", "QUIT", "STAT", " abor x"};
    const char *line = lines[b % ARRAY_LEN(lines)];
    assert(ftp_engine_interrupts(line, strlen(line)));
    read_replies(s);
    int before = s->finals;
    enum ftp_ask ask = ftp_engine_interrupt(s->en, line, strlen(line), b);
    read_replies(s);
    switch (b % ARRAY_LEN(lines)) {
    case 1: /* one goodbye, however often it is said */
        assert(s->finals == before && ask == FTP_ASK_NOTHING);
        break;
    case 2:
        assert(s->finals == before + 1 && ask == FTP_ASK_NOTHING);
        s->finals--;
        break;
    default:
        assert(s->finals == before && ask == FTP_ASK_ABORT);
        ++*due;
    }
    return ask;
}

/* What the session stored comes on top; whole lines, or nothing where there is no room. */
static void list(const struct session *s, uint8_t b)
{
    AUTO_DONE(dynbuf) text;
    dynbuf_init(&text, b * 16);
    ftp_engine_list_own(s->en, &text, (struct wall_time){0});
    assert(!text.failed && (text.len == 0 || text_ends_with(text.data, "\r\n")));
    for (const char *c = dynbuf_str(&text); *c; c += *c == '\r' ? 2 : 1)
        assert((uint8_t)*c >= 0x20 || (c[0] == '\r' && c[1] == '\n'));
}

static bool is_upload(const struct session *s)
{
    const struct ftp_request *q = ftp_engine_request(s->en);
    return q && (q->op == FTP_OP_STORE || q->op == FTP_OP_APPEND);
}

static enum ftp_ask open_file(struct session *s, int code, bool connected, const struct ftp_file *f)
{
    AUTO_DONE(dynbuf) ready;
    dynbuf_init(&ready, FTP_PATH_MAX + 64);
    bool known = ftp_engine_put_ready(s->en, &ready);
    assert(known == (is_upload(s) && !ftp_engine_request(s->en)->unique) && !ready.failed);
    struct dynbuf *replies = ftp_engine_replies(s->en);
    size_t before = replies->len;
    enum ftp_ask ask = ftp_engine_opened(s->en, code, connected, f);
    if (known && code == 0 && connected)
        assert(text_starts_with(dynbuf_str(replies) + before, dynbuf_str(&ready)));
    return ask;
}

static enum ftp_ask end_transfer(struct session *s, enum ftp_transfer_end end, int code,
                                 const struct ftp_file *f)
{
    AUTO_DONE(dynbuf) stored;
    dynbuf_init(&stored, 128);
    bool good = is_upload(s) && end == FTP_TRANSFER_DONE;
    if (good) {
        ftp_engine_put_stored(&stored, f);
        s->stored[f->inode] = true;
    }
    struct dynbuf *replies = ftp_engine_replies(s->en);
    size_t before = replies->len;
    enum ftp_ask ask = ftp_engine_transferred(s->en, end, code, f);
    assert(!good || text_starts_with(dynbuf_str(replies) + before, dynbuf_str(&stored)));
    return ask;
}

static enum ftp_ask transfer(struct session *s, int *due)
{
    uint8_t b = next_byte(&s->in);
    struct ftp_file f = file_of(next_byte(&s->in));
    f.folder = false;
    if (b & 0x80)
        (void)interrupt(s, next_byte(&s->in), due);
    if (b & 0x08)
        return ftp_engine_transferred(s->en, FTP_TRANSFER_NO_CONNECTION, 0, NULL);
    int code = code_of(b);
    enum ftp_ask ask = open_file(s, code, b & 1, b & 2 ? &f : NULL);
    if (code < 0)
        return ask;
    assert(ask == FTP_ASK_NOTHING && ftp_engine_request(s->en));
    if (ftp_engine_request(s->en)->op == FTP_OP_LIST)
        list(s, b);
    for (int i = 0; i < 3 && (b = next_byte(&s->in)) & 0x80; i++)
        (void)interrupt(s, b, due);
    return end_transfer(s, (enum ftp_transfer_end)(b % (FTP_TRANSFER_LOCAL + 1)), code_of(b | 0x40),
                        &f);
}

/* What another one stored is not his. */
static enum ftp_ask log_in_as(struct session *s, const struct ftp_account *a)
{
    enum ftp_ask ask = ftp_engine_login(s->en, a);
    if (!ftp_engine_account(s->en))
        return ask;
    if (!s->stored_by || strcmp(s->stored_by, a->name) != 0)
        memset(s->stored, 0, sizeof(s->stored));
    s->stored_by = a->name;
    return ask;
}

static enum ftp_ask answer(struct session *s, enum ftp_ask ask, int *due)
{
    uint8_t b = next_byte(&s->in);
    struct ftp_file f = file_of(b);
    const uint8_t address[4] = {192, 168, 1, b};
    switch (ask) {
    case FTP_ASK_LOGIN:
        assert(ftp_engine_user(s->en)[0]);
        ask = log_in_as(s, b % 8 < ARRAY_LEN(accounts) ? &accounts[b % 8] : NULL);
        assert(!ftp_engine_password(s->en)[0]);
        return ask;
    case FTP_ASK_LISTEN:
        return ftp_engine_listening(s->en, b & 0x40 ? -EMFILE : 1024 + b, address);
    case FTP_ASK_FILE:
        check_request(s, ask);
        if (ftp_engine_request(s->en)->op == FTP_OP_MAKE && code_of(b) == 0)
            s->stored[f.inode] = true;
        return ftp_engine_file_done(s->en, code_of(b), &f,
                                    b & 1 ? "-rw x\r\ndrwx 213 y\r\n" : NULL);
    case FTP_ASK_TRANSFER:
        check_request(s, ask);
        return transfer(s, due);
    case FTP_ASK_TLS:
        assert(!ftp_engine_request(s->en));
        ftp_engine_secured(s->en);
        assert(!ftp_engine_account(s->en));
        return FTP_ASK_NOTHING;
    case FTP_ASK_NOTHING:
    case FTP_ASK_ABORT:
    case FTP_ASK_CLOSE:
        break;
    }
    abort();
}

/* ---- lines ---- */

/* Runs a line to its end. Returns false when the session is over. */
static bool run_line(struct session *s, const char *text, size_t len)
{
    /* From the heap, without an end: a look behind it is seen. */
    AUTO_FREE char *line = xmalloc(len + 1);
    memcpy(line, text, len);
    char *exact = realloc(line, len ? len : 1);
    line = exact ? exact : line;
    bool blank = true;
    for (size_t i = 0; i < len; i++)
        blank &= line[i] == ' ';

    s->finals = 0;
    int due = blank ? 0 : 1;
    bool too_long = len > 0 && line[0] == '\xfe'; /* no need to be it */
    enum ftp_ask ask =
        too_long ? ftp_engine_line_too_long(s->en) : ftp_engine_line(s->en, line, len);
    while (ask != FTP_ASK_NOTHING && ask != FTP_ASK_CLOSE) {
        read_replies(s);
        if (ask == FTP_ASK_TLS) /* 234 is its final reply */
            assert(s->finals == 1);
        ask = answer(s, ask, &due);
    }
    read_replies(s);
    assert(!ftp_engine_request(s->en));
    /* 221 of a QUIT that waited comes on top. */
    assert(s->finals == due || (ask == FTP_ASK_CLOSE && s->finals == due + 1));
    return ask != FTP_ASK_CLOSE;
}

static void log_in(struct session *s, const struct ftp_account *a)
{
    enum ftp_ask ask = ftp_engine_line(s->en, "USER cam", 8);
    assert(ask == FTP_ASK_NOTHING);
    ask = ftp_engine_line(s->en, "PASS secret", 11);
    assert(ask == FTP_ASK_LOGIN);
    (void)log_in_as(s, a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct ftp_engine_options o = {
        .banner = "Fuzz FTP.",
        .tls_possible = data[0] & 1,
        .tls_required = data[0] & 2,
        .tls_implicit = data[0] & 4,
        .peer_is_ipv6 = data[0] & 8,
        .active_allowed = !(data[0] & 16),
        .active_port_min = 1024,
    };
    (void)text_copy(o.peer, sizeof(o.peer), o.peer_is_ipv6 ? "fd00::7%eth0" : "10.0.0.7");
    struct session s = {.en = ftp_engine_new(&o), .in = {data + 1, data + size}};
    s.transfers_need_tls = o.tls_required;
    ftp_engine_greet(s.en);
    if (!o.tls_required && (data[0] & 32)) /* logged in, so that the rest is reached soon */
        log_in(&s, &accounts[data[0] >> 6]);
    read_replies(&s);
    const char *line;
    size_t len;
    bool open = true;
    while (open && next_line(&s.in, &line, &len))
        open = run_line(&s, line, len);
    s.finals = 0;
    ftp_engine_goodbye(s.en, "The end.");
    read_replies(&s);
    assert(s.finals == (open ? 1 : 0));
    enum ftp_ask ask = ftp_engine_line(s.en, "NOOP", 4);
    assert(ask == FTP_ASK_CLOSE && ftp_engine_replies(s.en)->len == 0);
    ftp_engine_free(s.en);
    return 0;
}
