#include "ftp/ftp_engine.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "ftp/ftp_engine_internal.h"
#include "ftp/ftp_list.h"

/* The life of a connection as a machine with few states: it waits for a line, or for the result of
 * the one request that is open. Verbs are rows of a table (ftp_verbs.c); what a verb asked for is
 * answered by the same row. Every line ends in exactly one final reply, whatever happens to its
 * request; only an empty line has none, because nobody who sends one waits for it. */

enum {
    /* Cost per connection: three tries, as OpenSSH and most servers have it. */
    LOGIN_FAILURES_MAX = 3,
    REPLIES_MAX = 256 * 1024, /* a list over the control connection; nothing else comes near */
    REPLIES_KEPT = 512,       /* more memory than that is given back when its text was taken */
    ANSWER_CONNECTED = 125,   /* to a transfer whose data connection is there; else it is 150 */
};

static enum ftp_ask settle(struct ftp_engine *en, enum ftp_ask ask);
static enum ftp_ask run(struct ftp_engine *en, const char *line, size_t len);
static void finish_request(struct ftp_engine *en);

/* ---- life ---- */

static void set_peer(struct ftp_engine *en, const struct ftp_engine_options *o)
{
    char text[sizeof(o->peer)];
    (void)text_copy(text, sizeof(text), o->peer); /* the same size */
    text[strcspn(text, "%")] = '\0';              /* a link-local address names its interface */
    const char *address = text;
    if (!o->peer_is_ipv6 && strrchr(text, ':')) /* ::ffff:10.0.0.1 */
        address = strrchr(text, ':') + 1;
    (void)inet_pton(o->peer_is_ipv6 ? AF_INET6 : AF_INET, address, en->peer);
}

struct ftp_engine *ftp_engine_new(const struct ftp_engine_options *o)
{
    struct ftp_engine *en = xcalloc(1, sizeof(*en));
    en->banner = o->banner;
    en->tls_possible = o->tls_possible;
    en->tls_required = o->tls_required;
    en->peer_is_ipv6 = o->peer_is_ipv6;
    en->active_allowed = o->active_allowed;
    en->active_port_min = (uint16_t)MIN(MAX(o->active_port_min, 1), 65535);
    en->facts = FTP_FACT_ALL;
    set_peer(en, o);
    /* On the port for implicit TLS everything is protected unless the client says otherwise. */
    en->secured = en->pbsz = en->protected = o->tls_implicit;
    dynbuf_init(&en->replies, REPLIES_MAX);
    return en;
}

void ftp_engine_free(struct ftp_engine *en)
{
    if (!en)
        return;
    finish_request(en);
    ftp_engine_log_out(en);
    ftp_recent_clear(&en->recent);
    free(en->recent_of);
    dynbuf_done(&en->replies);
    free(en);
}

void ftp_engine_log_out(struct ftp_engine *en)
{
    ftp_engine_forget_password(en);
    ftp_engine_set_text(&en->user, NULL, 0);
    ftp_engine_set_text(&en->cwd, NULL, 0);
    ftp_engine_set_text(&en->rename_from, NULL, 0);
    en->account = NULL;
    en->restart = en->announced = 0;
    en->data_mode = FTP_DATA_NONE;
    en->epsv_only = en->type_ascii = false;
}

void ftp_engine_forget_password(struct ftp_engine *en)
{
    if (en->password)
        explicit_bzero(en->password, strlen(en->password));
    ftp_engine_set_text(&en->password, NULL, 0);
}

void ftp_engine_set_text(char **text, const char *to, size_t len)
{
    free(*text);
    *text = to ? xstrndup(to, len) : NULL;
}

static void finish_request(struct ftp_engine *en)
{
    free(en->request);
    en->request = NULL;
    en->verb = NULL;
    if (en->state != ENGINE_CLOSING)
        en->state = ENGINE_READY;
}

/* ---- what the session reads ---- */

struct dynbuf *ftp_engine_replies(struct ftp_engine *en)
{
    return &en->replies;
}

const struct ftp_request *ftp_engine_request(const struct ftp_engine *en)
{
    return en->request;
}

const char *ftp_engine_user(const struct ftp_engine *en)
{
    return en->user ? en->user : "";
}

const char *ftp_engine_password(const struct ftp_engine *en)
{
    return en->password ? en->password : "";
}

const struct ftp_account *ftp_engine_account(const struct ftp_engine *en)
{
    return en->account;
}

const char *ftp_engine_cwd(const struct ftp_engine *en)
{
    return en->cwd ? en->cwd : "/";
}

bool ftp_engine_may(const struct ftp_engine *en, unsigned right)
{
    return en->account && (en->account->rights & right);
}

bool ftp_engine_listen_extended(const struct ftp_engine *en)
{
    return en->listen_extended;
}

enum ftp_data_mode ftp_engine_data_mode(const struct ftp_engine *en)
{
    return (enum ftp_data_mode)en->data_mode;
}

int ftp_engine_active_port(const struct ftp_engine *en)
{
    return en->active_port;
}

bool ftp_engine_data_protected(const struct ftp_engine *en)
{
    return en->protected;
}

bool ftp_engine_needs_protection(const struct ftp_engine *en)
{
    return !en->protected && (en->tls_required || (en->account && en->account->tls_required));
}

/* ---- lines ---- */

void ftp_engine_greet(struct ftp_engine *en)
{
    (void)ftp_reply(en, 220, "%s", en->banner && en->banner[0] ? en->banner : "FTP.");
}

enum ftp_ask ftp_engine_line(struct ftp_engine *en, const char *line, size_t len)
{
    if (en->state == ENGINE_CLOSING)
        return FTP_ASK_CLOSE;
    assert(en->state == ENGINE_READY);
    if (en->replies.len == 0 && en->replies.cap > REPLIES_KEPT)
        dynbuf_done(&en->replies);
    return settle(en, run(en, line, len));
}

enum ftp_ask ftp_engine_line_too_long(struct ftp_engine *en)
{
    if (en->state == ENGINE_CLOSING)
        return FTP_ASK_CLOSE;
    assert(en->state == ENGINE_READY);
    en->restart = 0;
    ftp_engine_set_text(&en->rename_from, NULL, 0);
    return settle(en, ftp_reply(en, 500, "Line too long."));
}

/* Splits "VERB argument"; the argument is what stands behind one space, as it is. */
static struct argument split(const char *line, size_t len, struct argument *ret_word)
{
    while (len > 0 && *line == ' ')
        line++, len--;
    const char *space = memchr(line, ' ', len);
    *ret_word = (struct argument){line, space ? (size_t)(space - line) : len};
    if (!space)
        return (struct argument){line + len, 0};
    return (struct argument){space + 1, len - ret_word->len - 1};
}

static struct argument trimmed(struct argument a)
{
    while (a.len > 0 && a.text[0] == ' ')
        a.text++, a.len--;
    while (a.len > 0 && a.text[a.len - 1] == ' ')
        a.len--;
    return a;
}

static bool is_one_of(struct argument word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (word.len == strlen(words[i]) && strncasecmp(word.text, words[i], word.len) == 0)
            return true;
    return false;
}

/* Words by which a browser shows itself. A page of a stranger can make one send its requests here
 * and read what comes back as the answer of a web server (ALPACA); so nothing of theirs is echoed,
 * and the rest of the request, which may hold FTP commands, is not read. */
static bool is_http(struct argument word)
{
    static const char *const words[] = {"GET",   "POST",  "HEAD",    "PUT",     "DELETE",
                                        "PATCH", "TRACE", "CONNECT", "OPTIONS", "PRI"};
    return is_one_of(word, words, ARRAY_LEN(words)) ||
           (word.len >= 5 && strncasecmp(word.text, "Host:", 5) == 0);
}

static enum ftp_ask unknown(struct ftp_engine *en, struct argument word)
{
    /* Of RFC 959, 1639, 2228, 2640, 7151 and drafts; a client takes 502 for "do without". */
    static const char *const elsewhere[] = {"SMNT", "LPRT", "LPSV", "ADAT", "CONF",
                                            "ENC",  "MIC",  "LANG", "HOST", "MFF",
                                            "MFCT", "COMB", "HASH", "XCRC", "XMD5"};
    if (is_http(word)) {
        (void)ftp_reply(en, 421, "This is FTP, not HTTP.");
        return FTP_ASK_CLOSE;
    }
    if (is_one_of(word, elsewhere, ARRAY_LEN(elsewhere)))
        return ftp_reply(en, 502, "Not implemented; HELP shows what is.");
    return ftp_reply(en, 500, "Unknown command; HELP shows the known ones.");
}

static enum ftp_ask run(struct ftp_engine *en, const char *line, size_t len)
{
    struct argument word, a = split(line, len, &word);
    if (word.len == 0) /* from firmware that ends its lines twice; it counts replies, not these */
        return FTP_ASK_NOTHING;
    const struct verb *verb = ftp_verb_find(word.text, word.len);
    if (!verb || !(verb->flags & VERB_REST))
        en->restart = 0;
    if (!verb || !(verb->flags & VERB_RENAME))
        ftp_engine_set_text(&en->rename_from, NULL, 0);
    if (!verb)
        return unknown(en, word);
    if (!en->account && !(verb->flags & VERB_STRANGER))
        return ftp_reply(en, 530, "Log in first: USER, then PASS.");
    if (!(verb->flags & VERB_VERBATIM))
        a = trimmed(a);
    if (a.len == 0 && (verb->flags & VERB_ARGUMENT))
        return ftp_reply(en, 501, "Say %s %s.", verb->name, verb->syntax);
    en->verb = verb;
    return verb->run(en, a);
}

/* The end of every call: what was put off until the request is done. */
static enum ftp_ask settle(struct ftp_engine *en, enum ftp_ask ask)
{
    if (ask == FTP_ASK_NOTHING && en->state == ENGINE_READY) {
        for (; en->aborts > 0; en->aborts--)
            (void)ftp_reply(en, 226, "ABOR done.");
        if (en->quitting) {
            (void)ftp_reply(en, 221, "Goodbye.");
            ask = FTP_ASK_CLOSE;
        }
    }
    if (en->replies.failed) /* the session let them pile up: half a reply must not go out */
        ask = FTP_ASK_CLOSE;
    if (ask == FTP_ASK_CLOSE)
        en->state = ENGINE_CLOSING;
    return ask;
}

/* ---- during a transfer ---- */

bool ftp_engine_interrupts(const char *line, size_t len)
{
    struct argument word, a = trimmed(split(line, len, &word));
    const struct verb *verb = ftp_verb_find(word.text, word.len);
    if (!verb)
        return false;
    return text_equal_nocase(verb->name, "ABOR") || text_equal_nocase(verb->name, "QUIT") ||
           (text_equal_nocase(verb->name, "STAT") && a.len == 0);
}

static const char *doing(const struct ftp_engine *en)
{
    if (!en->request)
        return "Working";
    switch (en->request->op) {
    case FTP_OP_STORE:
    case FTP_OP_APPEND:
        return "Receiving";
    case FTP_OP_RETRIEVE:
    case FTP_OP_LIST:
        return "Sending";
    case FTP_OP_ENTER:
    case FTP_OP_STAT:
    case FTP_OP_LIST_INLINE:
    case FTP_OP_MAKE:
    case FTP_OP_REMOVE_FOLDER:
    case FTP_OP_DELETE:
    case FTP_OP_RENAME:
    case FTP_OP_MODIFIED:
        break;
    }
    return "Working on";
}

enum ftp_ask ftp_engine_interrupt(struct ftp_engine *en, const char *line, size_t len,
                                  int64_t transferred_bytes)
{
    if (en->state == ENGINE_READY || en->state == ENGINE_CLOSING)
        return ftp_engine_line(en, line, len); /* it ended in the meantime */
    struct argument word;
    (void)split(line, len, &word);
    enum ftp_ask ask = FTP_ASK_NOTHING;
    switch (word.len ? word.text[0] | 0x20 : 0) {
    case 'a':
        en->aborts++;
        if (en->state == ENGINE_OPENING || en->state == ENGINE_TRANSFER)
            ask = FTP_ASK_ABORT;
        break;
    case 'q': /* RFC 959 4.1.1: the transfer is finished first */
        en->quitting = true;
        break;
    case 's':
        ask = ftp_reply(en, 211, "%s \"%s\": %lld bytes so far.", doing(en),
                        en->request ? en->request->path : "/", (long long)transferred_bytes);
        break;
    }
    return settle(en, ask);
}

/* ---- results ---- */

enum ftp_ask ftp_engine_login(struct ftp_engine *en, const struct ftp_account *a)
{
    ftp_engine_forget_password(en);
    if (en->state == ENGINE_CLOSING)
        return FTP_ASK_CLOSE;
    assert(en->state == ENGINE_LOGIN);
    finish_request(en);
    if (!a) {
        ftp_engine_set_text(&en->user, NULL, 0);
        if (++en->failures < LOGIN_FAILURES_MAX)
            return settle(en, ftp_reply(en, 530, "Login incorrect."));
        (void)ftp_reply(en, 421, "Login incorrect; too many attempts, closing.");
        return settle(en, FTP_ASK_CLOSE);
    }
    if (a->tls_required && !en->secured) {
        ftp_engine_set_text(&en->user, NULL, 0);
        return settle(en, ftp_reply(en, 530, "This account needs TLS: switch on FTPS (explicit)."));
    }
    if (!en->recent_of || strcmp(a->name, en->recent_of) != 0) {
        ftp_recent_clear(&en->recent); /* what another one stored is not his */
        ftp_engine_set_text(&en->recent_of, a->name, strlen(a->name));
    }
    en->account = a;
    en->failures = 0;
    return settle(en, ftp_reply(en, 230, "Logged in."));
}

enum ftp_ask ftp_engine_listening(struct ftp_engine *en, int port, const uint8_t ipv4[4])
{
    if (en->state == ENGINE_CLOSING)
        return FTP_ASK_CLOSE;
    assert(en->state == ENGINE_LISTEN);
    finish_request(en);
    if (port < 0)
        return settle(en, ftp_reply(en, 425, "No port is free for a data connection; try again."));
    en->data_mode = FTP_DATA_PASSIVE;
    if (en->listen_extended)
        (void)ftp_reply(en, 229, "Entering Extended Passive Mode (|||%d|).", port);
    else
        (void)ftp_reply(en, 227, "Entering Passive Mode (%d,%d,%d,%d,%d,%d).", ipv4[0], ipv4[1],
                        ipv4[2], ipv4[3], port >> 8, port & 0xff);
    return settle(en, FTP_ASK_NOTHING);
}

enum ftp_ask ftp_engine_file_done(struct ftp_engine *en, int code, const struct ftp_file *file,
                                  const char *text)
{
    if (en->state == ENGINE_CLOSING)
        return FTP_ASK_CLOSE;
    assert(en->state == ENGINE_FILE && en->verb->done);
    en->verb->done(en, code, file, text);
    finish_request(en);
    return settle(en, FTP_ASK_NOTHING);
}

static bool is_upload(const struct ftp_request *q)
{
    return q->op == FTP_OP_STORE || q->op == FTP_OP_APPEND;
}

static void put_ready(struct dynbuf *out, int answer, const struct ftp_request *q)
{
    ftp_reply_put(out, answer, "Ready for \"%s\".", q->path);
}

bool ftp_engine_put_ready(const struct ftp_engine *en, struct dynbuf *out)
{
    const struct ftp_request *q = en->request;
    if (en->state != ENGINE_OPENING || q->unique || !is_upload(q))
        return false;
    put_ready(out, ANSWER_CONNECTED, q);
    return true;
}

void ftp_engine_put_stored(struct dynbuf *out, const struct ftp_file *file)
{
    ftp_reply_put(out, 226, "Stored, %lld bytes.", (long long)file->size);
}

enum ftp_ask ftp_engine_opened(struct ftp_engine *en, int code, bool connected,
                               const struct ftp_file *file)
{
    if (en->state == ENGINE_CLOSING)
        return FTP_ASK_CLOSE;
    assert(en->state == ENGINE_OPENING);
    const struct ftp_request *q = en->request;
    if (code < 0) {
        (void)ftp_reply_failure(en, code, q->path);
        en->data_mode = FTP_DATA_NONE;
        finish_request(en);
        return settle(en, FTP_ASK_NOTHING);
    }
    int answer = connected ? ANSWER_CONNECTED : 150;
    if (q->unique && file)
        (void)ftp_reply(en, answer, "FILE: %s", file->name); /* RFC 1123 4.1.2.9 */
    else if (is_upload(q))
        put_ready(&en->replies, answer, q);
    else if (q->op == FTP_OP_LIST)
        (void)ftp_reply(en, answer, "Here comes the list.");
    else if (file)
        (void)ftp_reply(en, answer, "Here comes \"%s\" (%lld bytes).", q->path,
                        (long long)file->size);
    else
        (void)ftp_reply(en, answer, "Here comes \"%s\".", q->path);
    en->state = ENGINE_TRANSFER;
    return settle(en, FTP_ASK_NOTHING);
}

/* For STOU the jail chose the name. */
static void remember_upload(struct ftp_engine *en, const struct ftp_file *file)
{
    const struct ftp_request *q = en->request;
    char path[FTP_PATH_MAX];
    (void)text_copy(path, sizeof(path), q->path); /* the same size */
    if (q->unique) {
        size_t folder = (size_t)(strrchr(path, '/') - path) + 1;
        if (!text_copy(path + folder, sizeof(path) - folder, file->name))
            return; /* no path leads there */
    }
    ftp_recent_add(&en->recent, path, file);
}

enum ftp_ask ftp_engine_transferred(struct ftp_engine *en, enum ftp_transfer_end end, int code,
                                    const struct ftp_file *file)
{
    if (en->state == ENGINE_CLOSING)
        return FTP_ASK_CLOSE;
    assert(en->state == ENGINE_TRANSFER || en->state == ENGINE_OPENING);
    const struct ftp_request *q = en->request;
    bool upload = is_upload(q);
    switch (end) {
    case FTP_TRANSFER_DONE:
        if (upload && file) {
            remember_upload(en, file);
            ftp_engine_put_stored(&en->replies, file);
        } else {
            (void)ftp_reply(en, 226, "Transfer complete.");
        }
        break;
    case FTP_TRANSFER_NO_CONNECTION:
        (void)ftp_reply(en, 425, "No data connection: %s",
                        en->data_mode == FTP_DATA_ACTIVE
                            ? "your port did not answer, try passive mode."
                            : "nobody connected to the passive port, is a firewall in between?");
        break;
    case FTP_TRANSFER_CUT:
        (void)ftp_reply(en, 426, "Transfer cut%s.", upload ? ", nothing was stored" : "");
        break;
    case FTP_TRANSFER_NO_TLS:
        (void)ftp_reply(en, 522, "The TLS handshake of the data connection failed.");
        break;
    case FTP_TRANSFER_INCOMPLETE:
        (void)ftp_reply(en, 451, "The file came incomplete, nothing was stored: send it again.");
        break;
    case FTP_TRANSFER_LOCAL:
        (void)ftp_reply_failure(en, code, q->path);
        break;
    }
    en->data_mode = FTP_DATA_NONE;
    finish_request(en);
    return settle(en, FTP_ASK_NOTHING);
}

void ftp_engine_secured(struct ftp_engine *en)
{
    if (en->state == ENGINE_CLOSING)
        return;
    assert(en->state == ENGINE_TLS);
    finish_request(en);
    ftp_engine_log_out(en);
    en->secured = true; /* PBSZ and PROT were refused until now, so data is in clear */
}

void ftp_engine_goodbye(struct ftp_engine *en, const char *reason)
{
    if (en->state == ENGINE_CLOSING)
        return;
    (void)ftp_reply(en, 421, "%s", reason);
    en->state = ENGINE_CLOSING;
}
