/* What the engine says. A person who sets up a camera reads these lines in its log, or nothing: so
 * they say what is wrong and what would be right, and name paths only after they were found normal.
 */

#include <errno.h>
#include <string.h>

#include "ftp/ftp_engine_internal.h"
#include "ftp/ftp_list.h"

/* ---- form ---- */

static void put_line(struct dynbuf *out, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);

static void put_line(struct dynbuf *out, const char *fmt, va_list ap)
{
    size_t from = out->len;
    (void)dynbuf_vprintf(out, fmt, ap); /* what fails is seen in out->failed by settle() */
    for (size_t i = from; i < out->len; i++)
        if ((unsigned char)out->data[i] < 0x20 || out->data[i] == 0x7f)
            out->data[i] = '?';
    (void)dynbuf_puts(out, "\r\n");
}

enum ftp_ask ftp_reply(struct ftp_engine *en, int code, const char *fmt, ...)
{
    (void)dynbuf_printf(&en->replies, "%03d ", code);
    va_list ap;
    va_start(ap, fmt);
    put_line(&en->replies, fmt, ap);
    va_end(ap);
    return FTP_ASK_NOTHING;
}

void ftp_reply_put(struct dynbuf *out, int code, const char *fmt, ...)
{
    (void)dynbuf_printf(out, "%03d ", code);
    va_list ap;
    va_start(ap, fmt);
    put_line(out, fmt, ap);
    va_end(ap);
}

void ftp_reply_first(struct ftp_engine *en, int code, const char *fmt, ...)
{
    (void)dynbuf_printf(&en->replies, "%03d-", code);
    va_list ap;
    va_start(ap, fmt);
    put_line(&en->replies, fmt, ap);
    va_end(ap);
}

/* The space in front keeps a line from looking like the last one. */
void ftp_reply_line(struct ftp_engine *en, const char *fmt, ...)
{
    (void)dynbuf_puts(&en->replies, " ");
    va_list ap;
    va_start(ap, fmt);
    put_line(&en->replies, fmt, ap);
    va_end(ap);
}

const char *ftp_quote(const char *path, char ret[FTP_QUOTED_MAX])
{
    char *out = ret;
    *out++ = '"';
    for (; *path; path++) {
        if (*path == '"')
            *out++ = '"';
        *out++ = *path;
    }
    *out++ = '"';
    *out = '\0';
    return ret;
}

/* ---- failures ---- */

struct failure {
    int code, reply;
    const char *text;
};

static const struct failure failures[] = {
    {-ENOENT, 550, "no such file or folder"},
    {-EEXIST, 550, "File exists"}, /* the words that clients look for */
    {-ENOTDIR, 550, "a part of this path is a file, not a folder"},
    {-EISDIR, 550, "this is a folder, not a file"},
    {-ENOTEMPTY, 550, "the folder is not empty"},
    {-EACCES, 550, "links and devices are not served"},
    {-EPERM, 550, "links and devices are not served"},
    {-EINVAL, 554, "the restart position lies behind the end of the file"},
    {-ENAMETOOLONG, 553, "the name is too long"},
    {-ENOSPC, 452, "the disk is full, nothing was stored"},
    {-EDQUOT, 552, "the account's quota is used up, nothing was stored"},
    {-EFBIG, 552, "the file is larger than the account may store, nothing was stored"},
    {-EMLINK, 552, "too many files or folders here, nothing was stored"},
    {-E2BIG, 450, "the folder has too many entries for a list"},
    {-EBADMSG, 451, "the picture does not end, nothing was stored: send it again"},
    {-EAGAIN, 450, "busy, try again"},
    {-EBUSY, 450, "busy, try again"},
    {-ENOMEM, 450, "busy, try again"},
    {-EMFILE, 450, "busy, try again"},
    {-ENFILE, 450, "busy, try again"},
};

enum ftp_ask ftp_reply_failure(struct ftp_engine *en, int code, const char *path)
{
    struct failure f = {code, 451, "the server could not do it, its log says why"};
    for (size_t i = 0; i < ARRAY_LEN(failures); i++)
        if (failures[i].code == code)
            f = failures[i];
    return ftp_reply(en, f.reply, "\"%s\": %s.", path, f.text);
}

/* ---- what the server can do ---- */

void ftp_put_facts(const struct ftp_engine *en, struct dynbuf *out, const char *mark)
{
    static const char *const names[] = {"type", "size", "modify", "perm", "unique"};
    bool all = mark[0]; /* FEAT names all and marks those that are on; OPTS names those */
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        bool on = en->facts & 1u << i;
        if (on || all)
            (void)dynbuf_printf(out, "%s%s;", names[i], on ? mark : "");
    }
}

enum ftp_ask ftp_reply_features(struct ftp_engine *en)
{
    bool tls = en->tls_possible || en->secured;
    AUTO_DONE(dynbuf) facts;
    dynbuf_init(&facts, 128); /* five short names */
    ftp_put_facts(en, &facts, "*");
    ftp_reply_first(en, 211, "Features:");
    if (en->tls_possible)
        ftp_reply_line(en, "AUTH TLS");
    ftp_reply_line(en, "CLNT");
    if (en->active_allowed)
        ftp_reply_line(en, "EPRT");
    ftp_reply_line(en, "EPSV");
    ftp_reply_line(en, "MDTM");
    ftp_reply_line(en, "MFMT");
    ftp_reply_line(en, "MLST %s", dynbuf_str(&facts));
    if (tls) {
        ftp_reply_line(en, "PBSZ");
        ftp_reply_line(en, "PROT");
    }
    ftp_reply_line(en, "REST STREAM");
    ftp_reply_line(en, "SIZE");
    ftp_reply_line(en, "TVFS");
    ftp_reply_line(en, "UTF8");
    return ftp_reply(en, 211, "End.");
}

enum ftp_ask ftp_reply_status(struct ftp_engine *en)
{
    static const char *const modes[] = {"none", "passive", "active"};
    ftp_reply_first(en, 211, "Status:");
    ftp_reply_line(en, "Logged in as %s, in \"%s\"", ftp_engine_user(en), ftp_engine_cwd(en));
    ftp_reply_line(en, "Type %s, structure File, mode Stream; data connection: %s",
                   en->type_ascii ? "ASCII" : "Image", modes[en->data_mode]);
    ftp_reply_line(en, "Control connection %s, data %s", en->secured ? "in TLS" : "in clear",
                   en->protected ? "in TLS" : "in clear");
    return ftp_reply(en, 211, "End.");
}
