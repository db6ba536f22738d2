/* One picture to Drive, exactly once; see gdrive.h for the idea and storage.h for the contract. */

#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "base/parse.h"
#include "base/text.h"
#include "storage/gdrive_internal.h"
#include "sys/hash.h"

#define ROUNDS_MAX 4       /* a new folder, a new session, a new id: each costs one */
#define CONTINUES_MAX 64   /* pieces that a session takes of one picture */
#define PUT_TIME_MS 300000 /* for a picture of 64 MB at 2 Mbit/s; a stall ends it sooner */
#define META_MAX 16384
#define PART_OVERHEAD 1024 /* of a multipart body beside metadata and bytes */
#define BOUNDARY_BYTES 16
#define TRIED ((int64_t)-1) /* how far a session is: to be asked */
/* Failures of one session, in a row and without a byte of progress, by an answer or by silence. It
 * may be the session, so the picture begins anew, and the others go first: some 30 s with the
 * stage's back-off. */
#define SESSION_FAILURES_MAX 5
/* An id that is in use, but not by a file that is to be seen, is given up after so many attempts
 * and not before so long: a request of ours that got no answer may still be at work. */
#define IN_USE_ATTEMPTS 5
#define IN_USE_S 600

struct job {
    struct storage_session *w;
    const struct storage_object *o;
    struct storage_mark *mark;
    int (*save)(void *arg, const struct storage_mark *mark, struct err *e);
    void *arg;
    struct storage_failure *f;
    struct err *e;
    char key[HASH_SHA256_HEX];
    bool doubt;      /* about the folder: something was refused there */
    bool refused;    /* what was sent with the id, for good */
    int64_t reached; /* what a session has, as it said in this attempt */
};

static int put_rounds(struct job *j);
static int look(struct job *j);
static int look_in_use(struct job *j);
static bool in_session(const struct job *j);
static int judge_session(struct job *j, int r, bool unknown);
static int send_new(struct job *j);
static int send_whole(struct job *j, const struct drive_meta *m);
static int open_session(struct job *j, const struct drive_meta *m);
static int go_on(struct job *j, int64_t next);
static int renew(struct job *j);
static int close_session(struct job *j);

int gdrive_put(struct storage_session *w, const struct storage_object *o, struct storage_mark *mark,
               int (*save)(void *arg, const struct storage_mark *mark, struct err *e), void *arg,
               struct storage_failure *f, struct err *e)
{
    struct job j = {.w = w, .o = o, .mark = mark, .save = save, .arg = arg, .f = f, .e = e};
    char text[SNAPSHOT_ID_SIZE + 16];
    *f = (struct storage_failure){0};
    int length = text_format(text, sizeof(text), "%s/%s", o->snapshot_id,
                             o->annotated ? "annotated" : "picture");
    hash_sha256_hex(text, length > 0 ? (size_t)length : 0, j.key);
    int r = put_rounds(&j);
    if (r < 0 && r != -ECANCELED)
        (void)err_prefix(e, "drive");
    return gdrive_note_result(w->g, r, f, e);
}

static int save_mark(struct job *j)
{
    int r = j->save(j->arg, j->mark, j->e);
    if (r < 0)
        (void)err_prefix(j->e, "remember where the upload is");
    return r;
}

/* The answer to a request may be lost although Drive did it. A look by id tells; when it finds
 * nothing or fails itself, the first failure stands. */
static int look_after_loss(struct job *j, int r)
{
    struct storage_failure f = *j->f;
    struct err e = {0};
    if (j->e)
        e = *j->e;
    int found = look(j);
    if (found == 0 || found == -EBADMSG || found == -ECANCELED)
        return found;
    *j->f = f;
    if (j->e)
        *j->e = e;
    return r;
}

static int put_rounds(struct job *j)
{
    struct drive_link *link = &j->w->link;
    int r;
    if (!j->mark->id[0]) {
        r = renew(j);
        if (r < 0)
            return r;
    }
    /* What this process made and never sent cannot be there; all else is looked up first. */
    bool absent = gdrive_take_fresh(j->w->g, j->mark->id), another_id = false;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        bool goes_on = in_session(j);
        r = absent || goes_on ? -ENOENT : look(j);
        if (r == -ENOENT)
            r = goes_on ? go_on(j, TRIED) : send_new(j);
        bool unknown = r == -EAGAIN && link->unknown;
        if (unknown)
            r = look_after_loss(j, r);
        else if (r == -EEXIST)
            r = look_in_use(j);
        absent = false;
        switch (r) {
        case 0:
            return 0;
        case -ENOENT: /* the folder, or the session */
            j->doubt = !goes_on && !in_session(j);
            r = close_session(j);
            if (r < 0)
                return r;
            continue;
        case -EINVAL:
            if (!j->refused || another_id)
                return judge_session(j, r, unknown);
            /* It may be the id: Drive takes none that was made for another account. Those in stock
             * are no better then. */
            another_id = true;
            gdrive_forget_ids(j->w->g);
            r = renew(j);
            if (r < 0)
                return r;
            absent = gdrive_take_fresh(j->w->g, j->mark->id);
            continue;
        case -EBADMSG:
            r = renew(j);
            if (r < 0)
                return r;
            absent = gdrive_take_fresh(j->w->g, j->mark->id);
            continue;
        default:
            return judge_session(j, r, unknown);
        }
    }
    *j->f = (struct storage_failure){0};
    return err_set(j->e, -EIO, ERR_LATER,
                   "%d attempts in a row came to nothing: the picture arrives changed, or what it "
                   "goes to vanishes",
                   ROUNDS_MAX);
}

/* ---- the mark ---- */

/* What a mark's `resume` holds: "N/R:ADDRESS", or the address alone. With an address, a session's,
 * N is how often it failed since it had R bytes. Without one, N is how often the id was in use
 * although no file was to be seen, R the time of the first, in seconds. */
struct progress {
    int count;
    int64_t at;
    const char *session; /* "" = none */
};

static struct progress progress_of(const struct storage_mark *m)
{
    struct progress p = {.session = m->resume};
    const char *colon = strchr(m->resume, ':');
    const char *slash = strchr(m->resume, '/');
    int64_t count, at;
    if (!colon || !slash || slash > colon || /* the address of a session has its colon first */
        parse_int64(m->resume, (size_t)(slash - m->resume), 0, INT32_MAX - 1, &count) < 0 ||
        parse_int64(slash + 1, (size_t)(colon - slash - 1), 0, INT64_MAX, &at) < 0)
        return p;
    return (struct progress){.count = (int)count, .at = at, .session = colon + 1};
}

static bool in_session(const struct job *j)
{
    return progress_of(j->mark).session[0];
}

/* A mark that would get too long stays as it is: the address counts, the numbers only help. */
static int note_progress(struct job *j, const struct progress *p)
{
    char text[STORAGE_RESUME_MAX];
    if (text_format(text, sizeof(text), "%d/%lld:%s", p->count, (long long)p->at, p->session) < 0)
        return 0;
    (void)text_copy(j->mark->resume, sizeof(j->mark->resume), text);
    return save_mark(j);
}

/* The fault is this file's, whatever the same answer would mean elsewhere: others go on. */
static int own_fault(struct job *j, int code)
{
    *j->f = (struct storage_failure){.trouble = STORAGE_WELL};
    if (j->e) {
        j->e->code = code;
        j->e->retry = ERR_LATER;
    }
    return code;
}

/* What failed in a session is left to the storage or to the next attempt, unless the session will
 * never come to an end: it would be asked first, each time, for its week of life. */
static int judge_session(struct job *j, int r, bool unknown)
{
    struct progress p = progress_of(j->mark);
    if (!p.session[0])
        return r;
    bool over = r == -EINVAL || r == -EPERM || r == -EIO;
    if (r == -EAGAIN && unknown) {
        p.count = j->reached > p.at ? 1 : p.count + 1;
        p.at = MAX(p.at, j->reached);
        over = p.count >= SESSION_FAILURES_MAX;
    }
    if (!over) {
        struct err why = {0};
        if (j->e)
            why = *j->e;
        if (r == -EAGAIN && unknown)
            (void)note_progress(j, &p); /* then this failure is not counted */
        if (j->e)
            *j->e = why;
        return r;
    }
    int code = close_session(j);
    if (code < 0)
        return code;
    (void)err_prefix(j->e, "the upload begins anew");
    return own_fault(j, -EIO);
}

/* Nothing is to be seen of what has the id: a request of ours that nobody answered may still be at
 * work, and with a new id the picture would be there twice. */
static int wait_for_id(struct job *j)
{
    struct progress p = progress_of(j->mark);
    int64_t now = wall_seconds(clock_wall());
    if (p.count == 0 || p.session[0])
        p = (struct progress){.at = now};
    p.session = "";
    if (++p.count > IN_USE_ATTEMPTS && (now - p.at >= IN_USE_S || now < p.at))
        return -EBADMSG;
    int r = note_progress(j, &p);
    if (r < 0)
        return r;
    *j->f = (struct storage_failure){.trouble = STORAGE_WELL};
    return err_set(j->e, -EAGAIN, ERR_LATER,
                   "its id is in use, but Drive does not show the file yet");
}

/* ---- what is there ---- */

/* A file of ours lies in the trash: with its folder, then it moves to the new one; or because
 * somebody threw it away, which is none of our business. */
static int rescue(struct job *j, const struct drive_file *file)
{
    struct storage_session *w = j->w;
    char parent[DRIVE_ID_MAX];
    struct drive_file moved;
    int r = w->g->archive == GDRIVE_ARCHIVE_AT_UPLOAD
                ? gdrive_day_folder(w, j->o->taken_at, true, parent, j->f, j->e)
                : gdrive_top_folder(w, true, parent, j->f, j->e);
    if (r < 0 || !file->parent[0] || !strcmp(parent, file->parent))
        return r;
    return drive_patch(&w->link, "take out of the trash", file->id, "{\"trashed\":false}", parent,
                       file->parent, &moved, j->f, j->e);
}

/* What an earlier attempt sent has the star of then. One that Drive does not let us change is no
 * reason to send the picture again. */
static int mend_star(struct job *j)
{
    int r = gdrive_set_star(j->w, j->mark->id, j->o->starred, j->f, j->e);
    if (r != -EPERM && r != -EINVAL)
        return r;
    *j->f = (struct storage_failure){0};
    err_clear(j->e);
    return 0;
}

/* 0: this is the picture, with its star. -EBADMSG: it has another content. */
static int check(struct job *j, const struct drive_file *file)
{
    if (strcmp(file->id, j->mark->id) != 0) {
        (void)err_set(j->e, -EIO, ERR_LATER, "the answer tells of another file");
        return own_fault(j, -EIO);
    }
    if (file->size < 0 || (file->size > 0 && !file->md5[0])) {
        (void)err_set(j->e, -EIO, ERR_LATER, "Drive has no size and digest of the file");
        return own_fault(j, -EIO);
    }
    if (file->size != (int64_t)j->o->bytes->size || strcmp(file->md5, j->o->md5) != 0)
        return -EBADMSG;
    (void)text_copy(j->mark->url, sizeof(j->mark->url), file->link);
    j->mark->resume[0] = '\0';
    int r = file->trashed ? rescue(j, file) : 0;
    return r == 0 && file->starred != j->o->starred ? mend_star(j) : r;
}

static int look(struct job *j)
{
    struct drive_file file;
    int r = drive_get(&j->w->link, j->mark->id, &file, j->f, j->e);
    if (r == -EPERM) /* of this id alone nothing follows for others */
        (void)own_fault(j, r);
    if (r == 0)
        r = check(j, &file);
    if (r < 0)
        j->w->link.unknown = false; /* a look that failed changed nothing */
    return r;
}

/* The id is in use, by an attempt before as a rule. */
static int look_in_use(struct job *j)
{
    int r = look(j);
    return r == -ENOENT ? wait_for_id(j) : r;
}

static int check_answer(struct job *j, const struct drive_reply *reply)
{
    struct drive_file file;
    if (drive_parse_file(reply->body, &file, j->e) == 0)
        return check(j, &file);
    j->w->link.unknown = true;
    (void)err_set(j->e, -EBADMSG, ERR_LATER, "the answer to the upload tells of no file");
    return drive_nonsense(j->f, j->e, "upload");
}

/* ---- sending ---- */

static int send_new(struct job *j)
{
    const struct storage_object *o = j->o;
    struct storage_session *w = j->w;
    char parent[DRIVE_ID_MAX], description[2 * DRIVE_NAME_MAX];
    int r = w->g->archive == GDRIVE_ARCHIVE_AT_UPLOAD
                ? gdrive_day_folder(w, o->taken_at, j->doubt, parent, j->f, j->e)
                : gdrive_top_folder(w, j->doubt, parent, j->f, j->e);
    w->link.unknown = false; /* of the picture nothing is on its way yet */
    if (r < 0) {
        /* Gone once more while we look: rather later than in a circle. */
        return r == -ENOENT ? err_set(j->e, -EIO, ERR_LATER, "the folder vanishes") : r;
    }
    bool labels = o->labels && o->labels[0];
    (void)text_format(
        description, sizeof(description), "%.*s%s%.*s",
        (int)text_cut_length(o->device_label, DRIVE_NAME_MAX), o->device_label, labels ? ": " : "",
        labels ? (int)text_cut_length(o->labels, DRIVE_NAME_MAX) : 0, labels ? o->labels : "");
    const struct drive_meta m = {
        .id = j->mark->id,
        .name = o->name,
        .type = o->content_type,
        .parent = parent,
        .description = description,
        .created_at = o->taken_at,
        .starred = o->starred,
        .properties = {{"sd_key", j->key}, {"camera", o->camera}, {"labels", o->labels}},
    };
    FAULT_POINT("drive-before-upload");
    if ((int64_t)o->bytes->size <= w->g->multipart_max)
        return send_whole(j, &m);
    r = open_session(j, &m);
    return r < 0 ? r : go_on(j, 0);
}

static int upload_url(struct job *j, struct dynbuf *url, const char *kind)
{
    const char *const params[] = {"uploadType", kind, "fields", drive_file_fields, NULL};
    if (drive_link_url(&j->w->link, url, "/upload/drive/v3/files", params) < 0)
        return err_set(j->e, -EINVAL, ERR_NEVER, "the address of Drive is too long");
    return 0;
}

static int send_whole(struct job *j, const struct drive_meta *m)
{
    const struct blob *bytes = j->o->bytes;
    uint8_t noise[BOUNDARY_BYTES]; /* 128 random bits are in no picture */
    char boundary[2 * BOUNDARY_BYTES + 1], type[80];
    AUTO_DONE(dynbuf) url = {0}, meta = {0}, body = {0};
    hash_random(noise, sizeof(noise));
    text_hex(noise, sizeof(noise), boundary);
    (void)text_format(type, sizeof(type), "multipart/related; boundary=%s", boundary);
    dynbuf_init(&meta, META_MAX);
    dynbuf_init(&body, bytes->size + META_MAX + PART_OVERHEAD);
    int r = upload_url(j, &url, "multipart");
    if (r < 0)
        return r;
    if (drive_meta_write(m, &meta) < 0)
        return err_set(j->e, -EINVAL, ERR_NEVER, "the picture's description is too long");
    r = drive_multipart(&body, boundary, dynbuf_str(&meta), m->type, bytes->data, bytes->size);
    if (r < 0)
        return err_set(j->e, r, ERR_LATER, "no memory to send the picture from");
    const struct drive_ask ask = {
        .what = "upload",
        .method = "POST",
        .url = dynbuf_str(&url),
        .type = type,
        .body = body.data,
        .size = body.len,
        .write = true,
        .time_ms = PUT_TIME_MS,
    };
    AUTO_DONE(drive_reply) reply = {0};
    r = drive_call(&j->w->link, &ask, &reply, j->f, j->e);
    FAULT_POINT("drive-after-upload");
    j->refused = r == -EINVAL;
    return r < 0 ? r : check_answer(j, &reply);
}

/* ---- in pieces ---- */

static int open_session(struct job *j, const struct drive_meta *m)
{
    char length[64], type[160];
    const char *headers[] = {length, type, NULL};
    AUTO_DONE(dynbuf) url = {0}, meta = {0};
    dynbuf_init(&meta, META_MAX);
    int r = upload_url(j, &url, "resumable");
    if (r < 0)
        return r;
    if (drive_meta_write(m, &meta) < 0)
        return err_set(j->e, -EINVAL, ERR_NEVER, "the picture's description is too long");
    (void)text_format(length, sizeof(length), "X-Upload-Content-Length: %zu", j->o->bytes->size);
    (void)text_format(type, sizeof(type), "X-Upload-Content-Type: %s", m->type);
    const struct drive_ask ask = {
        .what = "begin upload",
        .method = "POST",
        .url = dynbuf_str(&url),
        .type = "application/json; charset=UTF-8",
        .headers = headers,
        .body = meta.data,
        .size = meta.len,
        .write = true,
    };
    AUTO_DONE(drive_reply) reply = {0};
    r = drive_call(&j->w->link, &ask, &reply, j->f, j->e);
    j->refused = r == -EINVAL;
    if (r < 0) {
        j->w->link.unknown = false; /* a session alone is no file */
        return r;
    }
    if (!reply.location || !drive_session_allowed(reply.location, j->w->g->base) ||
        !text_copy(j->mark->resume, sizeof(j->mark->resume), reply.location)) {
        j->mark->resume[0] = '\0';
        (void)err_set(j->e, -EBADMSG, ERR_LATER, "Drive named no place to send the picture to");
        return drive_nonsense(j->f, j->e, ask.what);
    }
    return save_mark(j);
}

static int close_session(struct job *j)
{
    if (!j->mark->resume[0])
        return 0;
    j->mark->resume[0] = '\0';
    return save_mark(j);
}

/* One PUT to the session: all from `next` on, or with TRIED the question how far it is. 0 with
 * `ret_next` -1: finished, and the picture is right. */
static int put_rest(struct job *j, int64_t next, int64_t *ret_next)
{
    int64_t total = (int64_t)j->o->bytes->size;
    const char *session = progress_of(j->mark).session;
    char range[DRIVE_RANGE_MAX], header[DRIVE_RANGE_MAX + 32];
    const char *headers[] = {header, NULL};
    bool asks = next == TRIED;
    (void)text_format(header, sizeof(header), "Content-Range: %s",
                      drive_content_range(next, total, range));
    const struct drive_ask ask = {
        .what = asks ? "ask for the upload's state" : "go on with the upload",
        .method = "PUT",
        .url = session,
        .headers = headers,
        .type = j->o->content_type,
        .body = asks ? (const void *)"" : j->o->bytes->data + next, /* a length of 0 must be said */
        .size = asks ? 0 : (size_t)(total - next),
        .session = true,
        .stranger = !drive_same_origin(session, j->w->g->base),
        .time_ms = PUT_TIME_MS,
    };
    AUTO_DONE(drive_reply) reply = {0};
    int r = drive_call(&j->w->link, &ask, &reply, j->f, j->e);
    if (r < 0)
        return r;
    *ret_next = -1;
    if (!reply.more)
        return check_answer(j, &reply);
    if (drive_parse_range(reply.range, total, ret_next) < 0) {
        (void)err_set(j->e, -EIO, ERR_LATER, "%s: the session tells nonsense of its state",
                      ask.what);
        return own_fault(j, -EIO);
    }
    j->reached = MAX(j->reached, *ret_next);
    return 0;
}

/* Sends what the session has not got yet. -ENOENT: the session is gone. */
static int go_on(struct job *j, int64_t next)
{
    int64_t before = TRIED;
    int idle = 0;
    for (int i = 0; i < CONTINUES_MAX; i++) {
        int64_t reached = 0;
        int r = put_rest(j, next, &reached);
        if (r == -ERANGE && next == TRIED)
            return -ENOENT; /* it does not even know its own size: a new one */
        if (r == -ERANGE) {
            next = TRIED;
            continue;
        }
        if (r < 0)
            return r;
        if (reached < 0)
            return 0;
        FAULT_POINT("drive-in-session");
        idle = reached <= before ? idle + 1 : 0;
        if (idle > 2)
            break;
        before = reached;
        /* All is there and yet it is not finished: ask. */
        next = reached == (int64_t)j->o->bytes->size ? TRIED : reached;
    }
    (void)err_set(j->e, -EIO, ERR_LATER, "go on with the upload: the session takes no more bytes");
    return own_fault(j, -EIO);
}

/* ---- again ---- */

/* A new id, after the file of the old one, if it is ours, has gone to the trash. */
static int renew(struct job *j)
{
    struct drive_link *link = &j->w->link;
    char id[DRIVE_ID_MAX];
    if (j->mark->id[0]) {
        struct drive_file file;
        int r = drive_get(link, j->mark->id, &file, j->f, j->e);
        bool ours = r == 0 && !file.trashed && !strcmp(file.key, j->key);
        /* One that is not shown to us, or is no id at all, leaves nothing to tidy up. */
        if (r < 0 && r != -ENOENT && r != -EPERM && r != -EINVAL)
            return r;
        r = ours ? drive_trash(link, j->mark->id, j->f, j->e) : 0;
        if (r == -EPERM)
            (void)own_fault(j, r);
        if (r < 0)
            return r;
    }
    int r = gdrive_new_id(j->w, id, j->f, j->e);
    if (r < 0)
        return r;
    *j->mark = (struct storage_mark){0};
    (void)text_copy(j->mark->id, sizeof(j->mark->id), id);
    return save_mark(j);
}
