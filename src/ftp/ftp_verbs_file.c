/* Verbs on files and folders, and transfers. A verb checks the right, then the path, then asks;
 * what the session has stored itself lately it may touch without a right, and of what is gone by
 * now it is told what it expects to hear (ftp_recent.h). */

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "ftp/ftp_engine_internal.h"
#include "ftp/ftp_list.h"

/* ---- helpers ---- */

static bool own(const struct ftp_engine *en, const char *path)
{
    return ftp_recent_has(&en->recent, path);
}

/* Of what the session has stored under that name: all that it may touch where it lacks the right.
 */
static struct ftp_mark own_mark(const struct ftp_engine *en, unsigned right, const char *path)
{
    return ftp_engine_may(en, right) ? (struct ftp_mark){0} : ftp_recent_mark(&en->recent, path);
}

static bool is_own(const struct ftp_engine *en, const char *path, const struct ftp_file *file)
{
    struct ftp_mark m = ftp_recent_mark(&en->recent, path);
    return file && ftp_mark_is(&m, file);
}

/* The disk no longer has what this session put there: it was taken, as it should be. */
static bool was_taken(const struct ftp_engine *en, int code, const char *path)
{
    return (code == -ENOENT || code == -ENOTDIR) && own(en, path);
}

/* False when a reply was given. `code` is the one that the verb has for bad names. */
static bool resolve(struct ftp_engine *en, struct argument a, int code, char ret[FTP_PATH_MAX])
{
    int r = ftp_path_resolve(ftp_engine_cwd(en), a.text, a.len, ret);
    if (r == 0)
        return true;
    if (r == -ENAMETOOLONG)
        (void)ftp_reply(en, code, "Path too long: %d bytes a name, %d bytes and %d folders in all.",
                        FTP_NAME_MAX, FTP_PATH_MAX - 1, FTP_DEPTH_MAX);
    else
        (void)ftp_reply(
            en, code,
            "Name not allowed: it has control bytes or is one that nobody looks at, as \"%s\".",
            FTP_HIDDEN_PREFIX);
    return false;
}

static enum ftp_ask refuse(struct ftp_engine *en, const char *what, const char *right)
{
    return ftp_reply(en, 550, "This account may not %s (right \"%s\").", what, right);
}

static struct ftp_request *request_new(struct ftp_engine *en, enum ftp_op op, const char *path)
{
    struct ftp_request *q = xcalloc(1, sizeof(*q));
    q->op = op;
    (void)text_copy(q->path, sizeof(q->path), path); /* the same size */
    en->request = q;
    return q;
}

static enum ftp_ask ask_file(struct ftp_engine *en, enum ftp_op op, const char *path)
{
    (void)request_new(en, op, path);
    en->state = ENGINE_FILE;
    return FTP_ASK_FILE;
}

/* Whether a transfer can be asked for now; false when a reply was given. */
static bool data_ready(struct ftp_engine *en)
{
    if (ftp_engine_needs_protection(en))
        (void)ftp_reply(en, 522, "Data connections must be protected here: PBSZ 0, PROT P.");
    else if (en->data_mode == FTP_DATA_NONE)
        (void)ftp_reply(en, 425, "Say PASV, EPSV, PORT or EPRT first.");
    else
        return true;
    return false;
}

static enum ftp_ask ask_transfer(struct ftp_engine *en)
{
    en->state = ENGINE_OPENING;
    return FTP_ASK_TRANSFER;
}

/* "LIST -la folder": what `ls` would take, cameras and browsers send by habit. */
static struct argument without_options(struct argument a)
{
    while (a.len > 0 && a.text[0] == '-') {
        while (a.len > 0 && a.text[0] != ' ')
            a.text++, a.len--;
        while (a.len > 0 && a.text[0] == ' ')
            a.text++, a.len--;
    }
    return a;
}

/* ---- folders ---- */

enum ftp_ask ftp_run_cwd(struct ftp_engine *en, struct argument a)
{
    char path[FTP_PATH_MAX];
    if (a.len == 0)
        a = (struct argument){"/", 1};
    return resolve(en, a, 550, path) ? ask_file(en, FTP_OP_ENTER, path) : FTP_ASK_NOTHING;
}

static void enter(struct ftp_engine *en, const char *path)
{
    ftp_engine_set_text(&en->cwd, path[1] ? path : NULL, strlen(path));
    (void)ftp_reply(en, 250, "In \"%s\".", path);
}

void ftp_done_cwd(struct ftp_engine *en, int code, const struct ftp_file *file UNUSED,
                  const char *text UNUSED)
{
    struct ftp_file known;
    const char *path = en->request->path;
    if (code == -ENOENT && ftp_recent_find(&en->recent, path, &known) && known.folder)
        code = 0; /* it was empty and cleaned away; an upload makes it again */
    if (code < 0)
        (void)ftp_reply_failure(en, code, path);
    else
        enter(en, path);
}

/* No need to look: if it is gone, an upload makes it again. */
enum ftp_ask ftp_run_cdup(struct ftp_engine *en, struct argument a UNUSED)
{
    char path[FTP_PATH_MAX];
    if (resolve(en, (struct argument){"..", 2}, 550, path))
        enter(en, path);
    return FTP_ASK_NOTHING;
}

enum ftp_ask ftp_run_pwd(struct ftp_engine *en, struct argument a UNUSED)
{
    char quoted[FTP_QUOTED_MAX];
    return ftp_reply(en, 257, "%s", ftp_quote(ftp_engine_cwd(en), quoted));
}

enum ftp_ask ftp_run_mkd(struct ftp_engine *en, struct argument a)
{
    char path[FTP_PATH_MAX];
    if (!ftp_engine_may(en, FTP_RIGHT_STORE))
        return refuse(en, "make folders", "store");
    return resolve(en, a, 550, path) ? ask_file(en, FTP_OP_MAKE, path) : FTP_ASK_NOTHING;
}

void ftp_done_mkd(struct ftp_engine *en, int code, const struct ftp_file *file,
                  const char *text UNUSED)
{
    const char *path = en->request->path;
    if (code < 0) {
        (void)ftp_reply_failure(en, code, path);
        return;
    }
    struct ftp_file made = {.folder = true};
    if (file) {
        made.device = file->device;
        made.inode = file->inode;
    }
    ftp_recent_add(&en->recent, path, &made);
    char quoted[FTP_QUOTED_MAX];
    (void)ftp_reply(en, 257, "%s", ftp_quote(path, quoted));
}

static enum ftp_ask remove_one(struct ftp_engine *en, struct argument a, enum ftp_op op,
                               const char *what)
{
    char path[FTP_PATH_MAX];
    if (!resolve(en, a, 550, path))
        return FTP_ASK_NOTHING;
    if (!ftp_engine_may(en, FTP_RIGHT_DELETE) && !own(en, path))
        return refuse(en, what, "delete");
    if (!path[1])
        return ftp_reply(en, 550, "\"/\" stays.");
    enum ftp_ask ask = ask_file(en, op, path);
    en->request->only = own_mark(en, FTP_RIGHT_DELETE, path);
    return ask;
}

static void removed(struct ftp_engine *en, int code, const char *what)
{
    const char *path = en->request->path;
    if (code < 0 && !was_taken(en, code, path)) {
        (void)ftp_reply_failure(en, code, path);
        return;
    }
    ftp_recent_remove(&en->recent, path);
    (void)ftp_reply(en, 250, "%s.", what);
}

enum ftp_ask ftp_run_rmd(struct ftp_engine *en, struct argument a)
{
    return remove_one(en, a, FTP_OP_REMOVE_FOLDER, "remove folders that it has not just made");
}

void ftp_done_rmd(struct ftp_engine *en, int code, const struct ftp_file *file UNUSED,
                  const char *text UNUSED)
{
    removed(en, code, "Folder removed");
}

enum ftp_ask ftp_run_dele(struct ftp_engine *en, struct argument a)
{
    return remove_one(en, a, FTP_OP_DELETE, "delete files that it has not just stored");
}

void ftp_done_dele(struct ftp_engine *en, int code, const struct ftp_file *file UNUSED,
                   const char *text UNUSED)
{
    removed(en, code, "Deleted");
}

/* ---- renames ---- */

enum ftp_ask ftp_run_rnfr(struct ftp_engine *en, struct argument a)
{
    char path[FTP_PATH_MAX];
    if (!ftp_engine_may(en, FTP_RIGHT_STORE))
        return refuse(en, "rename", "store");
    if (!resolve(en, a, 550, path))
        return FTP_ASK_NOTHING;
    if (!ftp_engine_may(en, FTP_RIGHT_DELETE) && !own(en, path))
        return refuse(en, "rename what it has not just stored", "delete");
    if (!path[1])
        return ftp_reply(en, 550, "\"/\" stays.");
    return ask_file(en, FTP_OP_STAT, path);
}

void ftp_done_rnfr(struct ftp_engine *en, int code, const struct ftp_file *file,
                   const char *text UNUSED)
{
    const char *path = en->request->path;
    if (code == 0 && !ftp_engine_may(en, FTP_RIGHT_DELETE) && !is_own(en, path, file))
        code = -ENOENT; /* another's by now */
    en->rename_gone = was_taken(en, code, path);
    if (code < 0 && !en->rename_gone) {
        (void)ftp_reply_failure(en, code, path);
        return;
    }
    ftp_engine_set_text(&en->rename_from, path, strlen(path));
    (void)ftp_reply(en, 350, "Now RNTO.");
}

static enum ftp_ask renamed(struct ftp_engine *en, const char *from, const char *to)
{
    ftp_recent_rename(&en->recent, from, to);
    return ftp_reply(en, 250, "Renamed.");
}

enum ftp_ask ftp_run_rnto(struct ftp_engine *en, struct argument a)
{
    AUTO_FREE char *from = STEAL(en->rename_from);
    char to[FTP_PATH_MAX];
    if (!from)
        return ftp_reply(en, 503, "Say RNFR first.");
    if (!resolve(en, a, 553, to))
        return FTP_ASK_NOTHING;
    if (!to[1])
        return ftp_reply(en, 553, "\"/\" stays.");
    enum ftp_ask ask = ask_file(en, FTP_OP_RENAME, from);
    struct ftp_request *q = en->request;
    (void)text_copy(q->path_to, sizeof(q->path_to), to); /* the same size */
    q->only = own_mark(en, en->rename_gone ? 0 : FTP_RIGHT_DELETE, from);
    q->overwrite = ftp_engine_may(en, FTP_RIGHT_OVERWRITE);
    q->over = own_mark(en, FTP_RIGHT_OVERWRITE, to);
    return ask;
}

void ftp_done_rnto(struct ftp_engine *en, int code, const struct ftp_file *file UNUSED,
                   const char *text UNUSED)
{
    const struct ftp_request *q = en->request;
    if (code == 0 || was_taken(en, code, q->path))
        (void)renamed(en, q->path, q->path_to);
    else if (code == -EINVAL)
        (void)ftp_reply(en, 553, "\"%s\" cannot become \"%s\".", q->path, q->path_to);
    else
        (void)ftp_reply_failure(en, code, code == -ENOENT ? q->path : q->path_to);
}

/* ---- questions ---- */

static enum ftp_ask look_at(struct ftp_engine *en, struct argument a)
{
    char path[FTP_PATH_MAX];
    if (!resolve(en, a, 550, path))
        return FTP_ASK_NOTHING;
    if (!ftp_engine_may(en, FTP_RIGHT_READ | FTP_RIGHT_LIST) && !own(en, path))
        return refuse(en, "look at files that it has not just stored", "list");
    return ask_file(en, FTP_OP_STAT, path);
}

/* The file as the disk or, when it is gone or another's by now, the memory has it; NULL when a
 * reply was given. */
static const struct ftp_file *looked_at(struct ftp_engine *en, int code,
                                        const struct ftp_file *file, struct ftp_file *memory)
{
    const char *path = en->request->path;
    bool may = ftp_engine_may(en, FTP_RIGHT_READ | FTP_RIGHT_LIST);
    if (code == 0 && file && (may || is_own(en, path, file)))
        return file;
    if (was_taken(en, code == 0 ? -ENOENT : code, path) &&
        ftp_recent_find(&en->recent, path, memory))
        return memory;
    (void)ftp_reply_failure(en, code < 0 ? code : -EIO, path);
    return NULL;
}

enum ftp_ask ftp_run_size(struct ftp_engine *en, struct argument a)
{
    return look_at(en, a);
}

void ftp_done_size(struct ftp_engine *en, int code, const struct ftp_file *file,
                   const char *text UNUSED)
{
    struct ftp_file memory;
    const struct ftp_file *f = looked_at(en, code, file, &memory);
    if (f && f->folder)
        (void)ftp_reply_failure(en, -EISDIR, en->request->path);
    else if (f)
        (void)ftp_reply(en, 213, "%" PRId64, f->size);
}

static enum ftp_ask set_modified(struct ftp_engine *en, struct wall_time t, struct argument a)
{
    char path[FTP_PATH_MAX];
    if (!resolve(en, a, 550, path))
        return FTP_ASK_NOTHING;
    if (!ftp_engine_may(en, FTP_RIGHT_STORE))
        return refuse(en, "change files", "store");
    if (!ftp_engine_may(en, FTP_RIGHT_OVERWRITE) && !own(en, path))
        return refuse(en, "change files that it has not just stored", "overwrite");
    enum ftp_ask ask = ask_file(en, FTP_OP_MODIFIED, path);
    en->request->modified = t;
    en->request->only = own_mark(en, FTP_RIGHT_OVERWRITE, path);
    return ask;
}

/* "20260102030405 name"; false when it does not begin with a time and go on with a name. */
static bool split_time(struct argument *a, struct wall_time *ret)
{
    const char *space = memchr(a->text, ' ', a->len);
    if (!space || ftp_time_parse(a->text, (size_t)(space - a->text), ret) < 0)
        return false;
    a->len -= (size_t)(space - a->text);
    a->text = space;
    return true;
}

enum ftp_ask ftp_run_mdtm(struct ftp_engine *en, struct argument a)
{
    struct wall_time t;
    return split_time(&a, &t) ? set_modified(en, t, a) : look_at(en, a);
}

void ftp_done_mdtm(struct ftp_engine *en, int code, const struct ftp_file *file, const char *text)
{
    if (en->request->op == FTP_OP_MODIFIED) {
        ftp_done_modified(en, code, file, text);
        return;
    }
    struct ftp_file memory;
    const struct ftp_file *f = looked_at(en, code, file, &memory);
    if (!f)
        return;
    char stamp[FTP_TIME_MAX];
    ftp_time_format(f->modified, stamp);
    (void)ftp_reply(en, 213, "%s", stamp);
}

enum ftp_ask ftp_run_mfmt(struct ftp_engine *en, struct argument a)
{
    struct wall_time t;
    if (!split_time(&a, &t))
        return ftp_reply(en, 501, "Say MFMT YYYYMMDDHHMMSS file.");
    return set_modified(en, t, a);
}

/* Two forms are about: "UTIME 202601020304[05] name", and ncftp's "UTIME name accessed modified
 * created UTC". */
enum ftp_ask ftp_run_utime(struct ftp_engine *en, struct argument a)
{
    struct wall_time t;
    enum { STAMP = 14, TAIL = 3 * (STAMP + 1) + 4 /* " UTC" */ };
    if (a.len > TAIL && strncasecmp(a.text + a.len - 4, " UTC", 4) == 0) {
        const char *tail = a.text + a.len - TAIL;
        if (tail[0] == ' ' && ftp_time_parse(tail + STAMP + 2, STAMP, &t) == 0)
            return set_modified(en, t, (struct argument){a.text, a.len - TAIL});
    }
    const char *space = memchr(a.text, ' ', a.len);
    if (space && space - a.text == STAMP - 2) {
        char stamp[STAMP + 1];
        (void)text_format(stamp, sizeof(stamp), "%.*s00", STAMP - 2, a.text);
        struct argument name = {space, a.len - (size_t)(space - a.text)};
        if (ftp_time_parse(stamp, STAMP, &t) == 0)
            return set_modified(en, t, name);
    }
    return split_time(&a, &t) ? set_modified(en, t, a)
                              : ftp_reply(en, 501, "Say SITE UTIME YYYYMMDDHHMMSS file.");
}

void ftp_done_modified(struct ftp_engine *en, int code, const struct ftp_file *file UNUSED,
                       const char *text UNUSED)
{
    const struct ftp_request *q = en->request;
    if (code < 0 && !was_taken(en, code, q->path)) {
        (void)ftp_reply_failure(en, code, q->path);
        return;
    }
    ftp_recent_set_modified(&en->recent, q->path, q->modified);
    char stamp[FTP_TIME_MAX];
    ftp_time_format(q->modified, stamp);
    if (strcmp(en->verb->name, "SITE") == 0)
        (void)ftp_reply(en, 200, "Time set.");
    else
        (void)ftp_reply(en, 213, "Modify=%s; %s", stamp, q->path);
}

enum ftp_ask ftp_run_mlst(struct ftp_engine *en, struct argument a)
{
    return look_at(en, a);
}

void ftp_done_mlst(struct ftp_engine *en, int code, const struct ftp_file *file,
                   const char *text UNUSED)
{
    struct ftp_file memory;
    const char *path = en->request->path;
    const struct ftp_file *f = looked_at(en, code, file, &memory);
    if (!f)
        return;
    ftp_reply_first(en, 250, "Facts:");
    (void)dynbuf_puts(&en->replies, " ");
    (void)ftp_list_facts(&en->replies, f, en->facts, en->account->rights, path);
    (void)ftp_reply(en, 250, "End.");
}

/* What the session stored itself it may see, also where it sees nothing else. */
static void list_own(const struct ftp_engine *en, const char *folder, enum ftp_list_form form,
                     unsigned facts, const struct wall_time *now, struct dynbuf *text)
{
    struct ftp_file f;
    for (size_t n = 0; ftp_recent_file_of(&en->recent, folder, n, &f); n++) {
        if (ftp_list_has(dynbuf_str(text), form, f.name))
            continue;
        AUTO_DONE(dynbuf) line;
        dynbuf_init(&line, 1024); /* a name and its facts */
        switch (form) {
        case FTP_FORM_LONG:
            (void)ftp_list_long(&line, &f, now ? *now : f.modified);
            break;
        case FTP_FORM_NAMES:
            (void)ftp_list_name(&line, &f);
            break;
        case FTP_FORM_FACTS:
            (void)ftp_list_facts(&line, &f, facts, en->account->rights, NULL);
            break;
        }
        if (line.len <= text->max - text->len) /* else the list is full */
            (void)dynbuf_append(text, dynbuf_str(&line), line.len);
    }
}

void ftp_engine_list_own(const struct ftp_engine *en, struct dynbuf *text, struct wall_time now)
{
    const struct ftp_request *q = en->request;
    if (q && en->account)
        list_own(en, q->path, q->form, q->facts, &now, text);
}

enum { STAT_LIST_MAX = 128 * 1024 }; /* half of what replies may be */

/* Lines of a long list begin with '-' or 'd', so none looks like the last line of the reply. */
static enum ftp_ask reply_list(struct ftp_engine *en, const char *path, const char *text)
{
    AUTO_DONE(dynbuf) list;
    dynbuf_init(&list, STAT_LIST_MAX);
    if (dynbuf_puts(&list, text ? text : "") < 0)
        return ftp_reply_failure(en, -E2BIG, path);
    list_own(en, path, FTP_FORM_LONG, 0, NULL, &list);
    ftp_reply_first(en, 213, "\"%s\":", path);
    (void)dynbuf_puts(&en->replies, dynbuf_str(&list));
    return ftp_reply(en, 213, "End.");
}

enum ftp_ask ftp_run_stat(struct ftp_engine *en, struct argument a)
{
    if (a.len == 0)
        return ftp_reply_status(en);
    char path[FTP_PATH_MAX];
    if (!resolve(en, without_options(a), 550, path))
        return FTP_ASK_NOTHING;
    if (!ftp_engine_may(en, FTP_RIGHT_LIST))
        return reply_list(en, path, NULL);
    enum ftp_ask ask = ask_file(en, FTP_OP_LIST_INLINE, path);
    en->request->form = FTP_FORM_LONG;
    return ask;
}

void ftp_done_stat(struct ftp_engine *en, int code, const struct ftp_file *file UNUSED,
                   const char *text)
{
    const char *path = en->request->path;
    if (code < 0)
        (void)ftp_reply_failure(en, code, path);
    else
        (void)reply_list(en, path, text);
}

/* ---- transfers ---- */

enum ftp_ask ftp_run_rest(struct ftp_engine *en, struct argument a)
{
    int64_t offset;
    if (parse_int64(a.text, a.len, 0, INT64_MAX, &offset) < 0)
        return ftp_reply(en, 501, "Say REST offset.");
    en->restart = offset;
    return ftp_reply(en, 350, "The next transfer begins at %" PRId64 ".", offset);
}

/* "ALLO bytes [R record]"; files have no records. It stays for the next upload. */
enum ftp_ask ftp_run_allo(struct ftp_engine *en, struct argument a)
{
    int64_t size, record;
    const char *end = memchr(a.text, ' ', a.len);
    size_t len = end ? (size_t)(end - a.text) : a.len;
    bool good = parse_int64(a.text, len, 0, INT64_MAX, &size) == 0;
    if (good && end)
        good = a.len > len + 3 && (end[1] | 0x20) == 'r' && end[2] == ' ' &&
               parse_int64(end + 3, a.len - len - 3, 0, INT64_MAX, &record) == 0;
    if (!good)
        return ftp_reply(en, 501, "Say ALLO bytes.");
    en->announced = size;
    return ftp_reply(en, 202, "Noted; room is made while the file comes.");
}

static enum ftp_ask store(struct ftp_engine *en, struct argument a, enum ftp_op op, int64_t offset,
                          bool unique)
{
    char path[FTP_PATH_MAX];
    int64_t announced = en->announced;
    en->announced = 0; /* it is of this one, whatever comes of it */
    if (!ftp_engine_may(en, FTP_RIGHT_STORE))
        return refuse(en, "store files", "store");
    if (!resolve(en, a, 553, path))
        return FTP_ASK_NOTHING;
    if (!path[1])
        return ftp_reply(en, 553, "\"/\" is a folder.");
    if (!data_ready(en))
        return FTP_ASK_NOTHING;
    struct ftp_request *q = request_new(en, op, path);
    q->offset = offset;
    q->unique = unique;
    q->overwrite = !unique && ftp_engine_may(en, FTP_RIGHT_OVERWRITE);
    if (!unique)
        q->over = own_mark(en, FTP_RIGHT_OVERWRITE, path);
    q->announced = announced;
    q->exact = op == FTP_OP_STORE && !en->type_ascii;
    return ask_transfer(en);
}

enum ftp_ask ftp_run_stor(struct ftp_engine *en, struct argument a)
{
    int64_t offset = en->restart;
    en->restart = 0;
    return store(en, a, offset > 0 ? FTP_OP_APPEND : FTP_OP_STORE, offset, false);
}

enum ftp_ask ftp_run_appe(struct ftp_engine *en, struct argument a)
{
    return store(en, a, FTP_OP_APPEND, -1, false);
}

/* Who sends no name sends a picture here; by another extension nobody would take it for one. */
enum ftp_ask ftp_run_stou(struct ftp_engine *en, struct argument a)
{
    if (a.len == 0)
        a = (struct argument){"picture.jpg", 11};
    return store(en, a, FTP_OP_STORE, 0, true);
}

enum ftp_ask ftp_run_retr(struct ftp_engine *en, struct argument a)
{
    int64_t offset = en->restart;
    en->restart = 0;
    char path[FTP_PATH_MAX];
    if (!ftp_engine_may(en, FTP_RIGHT_READ))
        return refuse(en, "read files", "read");
    if (!resolve(en, a, 550, path) || !data_ready(en))
        return FTP_ASK_NOTHING;
    request_new(en, FTP_OP_RETRIEVE, path)->offset = offset;
    return ask_transfer(en);
}

/* Without the right it is empty: cameras look for their folder before they store, and give up at an
 * error. */
static enum ftp_ask list(struct ftp_engine *en, struct argument a, enum ftp_list_form form)
{
    char path[FTP_PATH_MAX];
    if (!resolve(en, without_options(a), 550, path) || !data_ready(en))
        return FTP_ASK_NOTHING;
    struct ftp_request *q = request_new(en, FTP_OP_LIST, path);
    q->form = form;
    q->facts = en->facts;
    q->empty = !ftp_engine_may(en, FTP_RIGHT_LIST);
    return ask_transfer(en);
}

enum ftp_ask ftp_run_list(struct ftp_engine *en, struct argument a)
{
    return list(en, a, FTP_FORM_LONG);
}

enum ftp_ask ftp_run_nlst(struct ftp_engine *en, struct argument a)
{
    return list(en, a, FTP_FORM_NAMES);
}

enum ftp_ask ftp_run_mlsd(struct ftp_engine *en, struct argument a)
{
    return list(en, a, FTP_FORM_FACTS);
}
