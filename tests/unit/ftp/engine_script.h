#pragma once
/* Sessions with the FTP engine as a text, one thing a line:
 *
 *   options tls required implicit ipv6 passive-only     of the engine; must come first
 *   > STOR a.jpg            a line of the client
 *   ! ABOR                  the same during a transfer (100 bytes have been moved)
 *   ? transfer store /a.jpg what is asked; without it nothing must be
 *   < 150 Ready for "/a.jpg".   the replies, each line of them
 *   login ACCOUNT | login no
 *   listen 5001 | listen EADDRINUSE
 *   file ok [SIZE] [YYYYMMDDHHMMSS] | file folder | file ENOENT
 *   lines TEXT              of STAT with a path; '|' between them
 *   opened ok [NAME] | opened connected | opened ENOENT
 *   end done [SIZE] | end no-connection | end cut | end no-tls | end incomplete | end ENOSPC
 *   secured
 *   goodbye REASON
 *   too-long
 *
 * Accounts: "cam" has the default rights, "all" every, "none" none, "store", "list", "read" that
 * one, "tls" the default ones over TLS only. */

#include "../test.h"

#include <errno.h>
#include <inttypes.h>

#include "base/mem.h"
#include "base/text.h"
#include "ftp/ftp_engine.h"
#include "ftp/ftp_list.h"

#define SCRIPT_MODIFIED 1767323045 /* 2026-01-02 03:04:05 */

static const struct ftp_account script_accounts[] = {
    {.name = "cam", .rights = FTP_RIGHTS_DEFAULT},
    {.name = "all",
     .rights = FTP_RIGHTS_DEFAULT | FTP_RIGHT_LIST | FTP_RIGHT_READ | FTP_RIGHT_DELETE},
    {.name = "none"},
    {.name = "store", .rights = FTP_RIGHT_STORE},
    {.name = "list", .rights = FTP_RIGHT_LIST},
    {.name = "read", .rights = FTP_RIGHT_READ},
    {.name = "tls", .rights = FTP_RIGHTS_DEFAULT, .tls_required = true},
};

static inline UNUSED const struct ftp_account *script_account(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(script_accounts); i++)
        if (strcmp(script_accounts[i].name, name) == 0)
            return &script_accounts[i];
    return NULL;
}

static inline UNUSED int script_code(const char *name)
{
    static const struct {
        const char *name;
        int code;
    } codes[] = {
        {"ok", 0},
        {"folder", 0},
        {"connected", 0},
        {"ENOENT", -ENOENT},
        {"EEXIST", -EEXIST},
        {"ENOTDIR", -ENOTDIR},
        {"EISDIR", -EISDIR},
        {"ENOTEMPTY", -ENOTEMPTY},
        {"EACCES", -EACCES},
        {"EINVAL", -EINVAL},
        {"ENAMETOOLONG", -ENAMETOOLONG},
        {"ENOSPC", -ENOSPC},
        {"EDQUOT", -EDQUOT},
        {"EFBIG", -EFBIG},
        {"EMLINK", -EMLINK},
        {"E2BIG", -E2BIG},
        {"EBADMSG", -EBADMSG},
        {"EMFILE", -EMFILE},
        {"EIO", -EIO},
        {"EADDRINUSE", -EADDRINUSE},
    };
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (strcmp(codes[i].name, name) == 0)
            return codes[i].code;
    CASE_FAILS("no code %s", name);
    return 0;
}

/* What is asked, as a script writes it. */
static inline UNUSED void script_describe(const struct ftp_engine *en, enum ftp_ask ask, char *ret,
                                          size_t size)
{
    static const char *const asks[] = {"nothing",  "login", "listen", "file",
                                       "transfer", "abort", "tls",    "close"};
    static const char *const ops[] = {"enter",         "stat",   "list-inline", "make",
                                      "remove-folder", "delete", "rename",      "modified",
                                      "store",         "append", "retrieve",    "list"};
    static const char *const forms[] = {"long", "names", "facts"};
    int n = text_format(ret, size, "%s", asks[ask]);
    if (ask == FTP_ASK_LISTEN)
        (void)text_format(ret, size, "listen%s", ftp_engine_listen_extended(en) ? " extended" : "");
    if (ask != FTP_ASK_FILE && ask != FTP_ASK_TRANSFER)
        return;
    const struct ftp_request *q = ftp_engine_request(en);
    char to[FTP_PATH_MAX + 4] = "", offset[32] = "", announced[48] = "",
                           stamp[FTP_TIME_MAX + 1] = "";
    if (q->path_to[0])
        (void)text_format(to, sizeof(to), " -> %s", q->path_to);
    if (q->offset)
        (void)text_format(offset, sizeof(offset), " at %" PRId64, q->offset);
    if (q->announced)
        (void)text_format(announced, sizeof(announced), " announced %" PRId64, q->announced);
    if (q->op == FTP_OP_MODIFIED) {
        stamp[0] = ' ';
        ftp_time_format(q->modified, stamp + 1);
    }
    (void)text_format(ret + n, size - (size_t)n, " %s %s%s%s%s%s%s%s%s%s%s%s", ops[q->op], q->path,
                      to, offset, announced, q->unique ? " unique" : "",
                      q->overwrite  ? " overwrite"
                      : q->over.set ? " overwrite-own"
                                    : "",
                      stamp, q->op == FTP_OP_LIST ? " " : "",
                      q->op == FTP_OP_LIST ? forms[q->form] : "", q->empty ? " empty" : "",
                      q->only.set ? " own" : "");
}

struct script {
    const char *name;
    struct ftp_engine *en;
    const struct ftp_account *last;
    enum ftp_ask ask;
    bool asked;  /* and told by '?' */
    size_t read; /* of the replies */
    int line;
};

static inline UNUSED void script_settled(struct script *s)
{
    struct dynbuf *replies = ftp_engine_replies(s->en);
    if (s->read < replies->len)
        CASE_FAILS("%s, line %d: there are more replies: %s", s->name, s->line,
                   dynbuf_str(replies) + s->read);
    if (!s->asked && s->ask != FTP_ASK_NOTHING) {
        char got[4096];
        script_describe(s->en, s->ask, got, sizeof(got));
        CASE_FAILS("%s, line %d: asks \"%s\"", s->name, s->line, got);
    }
    dynbuf_reset(replies);
    s->read = 0;
    s->ask = FTP_ASK_NOTHING;
    s->asked = false;
}

static inline UNUSED void script_new_engine(struct script *s, const char *words)
{
    struct ftp_engine_options o = {.banner = "House FTP.", .active_port_min = 1024};
    o.tls_possible = strstr(words, "tls") != NULL;
    o.tls_required = strstr(words, "required") != NULL;
    o.tls_implicit = strstr(words, "implicit") != NULL;
    o.peer_is_ipv6 = strstr(words, "ipv6") != NULL;
    o.active_allowed = !strstr(words, "passive-only");
    const char *mapped = strstr(words, "mapped") ? "::ffff:10.0.0.7" : "10.0.0.7";
    (void)text_copy(o.peer, sizeof(o.peer), o.peer_is_ipv6 ? "fd00::7%eth0" : mapped);
    s->en = ftp_engine_new(&o);
}

static inline UNUSED struct ftp_file script_file(const char *a, const char *b, bool folder)
{
    struct ftp_file f = {.folder = folder, .device = 1, .inode = 2};
    f.modified = wall_from_seconds(SCRIPT_MODIFIED);
    (void)text_copy(f.name, sizeof(f.name), "file");
    f.size = a[0] ? strtoll(a, NULL, 10) : 0;
    if (b[0])
        assert_int_equal(ftp_time_parse(b, strlen(b), &f.modified), 0);
    return f;
}

static inline UNUSED enum ftp_ask script_end(struct script *s, const char *how, const char *size)
{
    static const char *const ends[] = {"done", "no-connection", "cut", "no-tls", "incomplete"};
    struct ftp_file f = script_file(size, "", false);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (strcmp(ends[i], how) == 0)
            return ftp_engine_transferred(s->en, (enum ftp_transfer_end)i, 0, &f);
    return ftp_engine_transferred(s->en, FTP_TRANSFER_LOCAL, script_code(how), NULL);
}

static inline UNUSED void script_reply(struct script *s, const char *wanted)
{
    const char *replies = dynbuf_str(ftp_engine_replies(s->en)) + s->read;
    const char *end = strstr(replies, "\r\n");
    size_t len = end ? (size_t)(end - replies) : 0;
    if (!end || len != strlen(wanted) || strncmp(replies, wanted, len) != 0)
        CASE_FAILS("%s, line %d: got \"%.*s\", wanted \"%s\"", s->name, s->line, (int)len, replies,
                   wanted);
    s->read += len + 2;
}

static inline UNUSED void script_step(struct script *s, char *text)
{
    char *rest = text + strcspn(text, " ");
    if (*rest)
        *rest++ = '\0';
    char word[3][64] = {"", "", ""};
    (void)sscanf(rest, "%63s %63s %63s", word[0], word[1], word[2]);
    if (strcmp(text, "<") == 0) {
        script_reply(s, rest);
        return;
    }
    if (strcmp(text, "?") == 0) {
        char got[4096];
        script_describe(s->en, s->ask, got, sizeof(got));
        if (strcmp(got, rest) != 0)
            CASE_FAILS("%s, line %d: asks \"%s\", wanted \"%s\"", s->name, s->line, got, rest);
        s->asked = true;
        return;
    }
    script_settled(s);
    if (strcmp(text, ">") == 0) {
        /* From the heap, so that a sanitizer sees a look behind the end. */
        AUTO_FREE char *line = xmemdup(rest, strlen(rest) + 1);
        s->ask = ftp_engine_line(s->en, line, strlen(rest));
    } else if (strcmp(text, "!") == 0) {
        assert_true(ftp_engine_interrupts(rest, strlen(rest)));
        s->ask = ftp_engine_interrupt(s->en, rest, strlen(rest), 100);
    } else if (strcmp(text, "login") == 0) {
        s->ask = ftp_engine_login(s->en, script_account(word[0]));
        assert_string_equal(ftp_engine_password(s->en), "");
    } else if (strcmp(text, "listen") == 0) {
        static const uint8_t address[4] = {192, 168, 1, 2};
        int port = word[0][0] == 'E' ? script_code(word[0]) : (int)strtol(word[0], NULL, 10);
        s->ask = ftp_engine_listening(s->en, port, address);
    } else if (strcmp(text, "file") == 0) {
        struct ftp_file f = script_file(word[1], word[2], strcmp(word[0], "folder") == 0);
        int code = script_code(word[0]);
        s->ask = ftp_engine_file_done(s->en, code, code ? NULL : &f, NULL);
    } else if (strcmp(text, "lines") == 0) {
        AUTO_DONE(dynbuf) lines;
        dynbuf_init(&lines, 1024 * 1024);
        for (const char *c = rest; *c; c++)
            (void)dynbuf_append(&lines, *c == '|' ? "\r\n" : c, *c == '|' ? 2 : 1);
        s->ask = ftp_engine_file_done(s->en, 0, NULL, dynbuf_str(&lines));
    } else if (strcmp(text, "opened") == 0) {
        struct ftp_file f = script_file("42", "", false);
        if (word[1][0])
            (void)text_copy(f.name, sizeof(f.name), word[1]);
        int code = script_code(word[0]);
        s->ask = ftp_engine_opened(s->en, code, strcmp(word[0], "connected") == 0, &f);
    } else if (strcmp(text, "end") == 0) {
        s->ask = script_end(s, word[0], word[1]);
    } else if (strcmp(text, "secured") == 0) {
        ftp_engine_secured(s->en);
    } else if (strcmp(text, "goodbye") == 0) {
        ftp_engine_goodbye(s->en, rest);
    } else if (strcmp(text, "too-long") == 0) {
        s->ask = ftp_engine_line_too_long(s->en);
    } else if (strcmp(text, "greet") == 0) {
        ftp_engine_greet(s->en);
    } else {
        CASE_FAILS("%s, line %d: what is \"%s\"?", s->name, s->line, text);
    }
}

/* Runs a script on an engine that may be there already (then it stays). */
static inline UNUSED void script_go_on(struct script *s, const char *text)
{
    s->line = 0;
    while (*text) {
        size_t len = strcspn(text, "\n");
        AUTO_FREE char *line = xstrndup(text, len);
        text += len + (text[len] == '\n');
        s->line++;
        if (!s->en) {
            bool options = text_starts_with(line, "options");
            script_new_engine(s, options ? line : "");
            if (options)
                continue;
        }
        if (line[0])
            script_step(s, line);
    }
    script_settled(s);
}

static inline UNUSED void script_run(const char *name, const char *text)
{
    struct script s = {.name = name};
    script_go_on(&s, text);
    ftp_engine_free(s.en);
}

#define SCRIPT_LOGIN(account)                                                                      \
    "> USER " account "\n"                                                                         \
    "< 331 Password?\n"                                                                            \
    "> PASS secret\n"                                                                              \
    "? login\n"                                                                                    \
    "login " account "\n"                                                                          \
    "< 230 Logged in.\n"
#define SCRIPT_PASV                                                                                \
    "> PASV\n"                                                                                     \
    "? listen\n"                                                                                   \
    "listen 5001\n"                                                                                \
    "< 227 Entering Passive Mode (192,168,1,2,19,137).\n"
#define SCRIPT_EPSV                                                                                \
    "> EPSV\n"                                                                                     \
    "? listen extended\n"                                                                          \
    "listen 5001\n"                                                                                \
    "< 229 Entering Extended Passive Mode (|||5001|).\n"
