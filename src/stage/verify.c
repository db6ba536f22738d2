#include "stage/verify.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "stage/upload_object.h"
#include "sys/hash.h"

#define BATCH 64
/* More than any picture has. */
#define READ_MAX ((size_t)256 << 20)
#define LINE_MAX_LEN 1600
/* What is so young may be in the middle of a step of the daemon. */
#define YOUNG_S 3600

struct verify {
    const struct verify_options *o;
    struct verify_report *report;
    struct err *e;
};

static int check_local(struct verify *v);
static int check_orphans(struct verify *v);
static int check_storage(struct verify *v, struct storage *s);

int verify_run(const struct verify_options *o, struct verify_report *ret, struct err *e)
{
    struct verify v = {.o = o, .report = ret, .e = e};
    *ret = (struct verify_report){0};
    int r = check_local(&v);
    if (r == 0)
        r = check_orphans(&v);
    for (size_t i = 0; r == 0 && o->storages != NULL && o->storages[i] != NULL; i++)
        r = check_storage(&v, o->storages[i]);
    return r;
}

static void find(struct verify *v, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void find(struct verify *v, const char *fmt, ...)
{
    AUTO_DONE(dynbuf) line;
    va_list ap;
    dynbuf_init(&line, LINE_MAX_LEN);
    va_start(ap, fmt);
    (void)dynbuf_vprintf(&line, fmt, ap); /* cut when it is longer */
    va_end(ap);
    v->report->findings++;
    v->o->line(v->o->arg, dynbuf_str(&line));
}

static int stopped(const struct verify *v)
{
    struct pollfd p = {.fd = v->o->stop_fd, .events = POLLIN};
    if (v->o->stop_fd >= 0 && poll(&p, 1, 0) > 0)
        return err_set(v->e, -ECANCELED, ERR_LATER, "stopped");
    return 0;
}

/* ---- pictures here ---- */

/* What is wrong with a file, in words; "" = nothing. `sha256` NULL = unknown, `size` -1 likewise. A
 * failed disk is a finding as well. */
static void examine(struct verify *v, const char *path, int64_t size, const char *sha256, char *ret,
                    size_t ret_size)
{
    int64_t have = 0;
    int r = store_size(v->o->store, path, &have);
    ret[0] = '\0';
    if (r == -ENOENT)
        (void)text_format(ret, ret_size, "is missing");
    else if (r < 0)
        (void)text_format(ret, ret_size, "cannot be read: %s", strerror(-r));
    else if (size >= 0 && have != size)
        (void)text_format(ret, ret_size, "has %lld bytes, recorded are %lld", (long long)have,
                          (long long)size);
    else if (size < 0 && have == 0)
        (void)text_format(ret, ret_size, "is empty");
    if (ret[0] != '\0' || !v->o->deep || sha256 == NULL)
        return;
    AUTO(blob) bytes = NULL;
    struct err e = {0};
    char have_sha256[HASH_SHA256_HEX];
    if (store_read(v->o->store, path, READ_MAX, &bytes, &e) < 0) {
        (void)text_format(ret, ret_size, "cannot be read: %.300s", e.text);
        return;
    }
    hash_sha256_hex(bytes->data, bytes->size, have_sha256);
    if (strcmp(have_sha256, sha256) != 0)
        (void)text_format(ret, ret_size, "has other bytes than were received");
}

/* A picture moves while it is looked at: the row of now counts, and what is on its way is passed
 * over. NULL: it is not here any more. */
static struct snapshot *look_again(struct verify *v, const struct snapshot *s)
{
    struct snapshot *now = NULL;
    if (ledger_snapshot_get(v->o->ledger, s->id, &now, v->e) < 0)
        return NULL;
    if (now->removed || now->unsettled || now->state != SNAPSHOT_EXAMINED) {
        snapshot_unref(now);
        return NULL;
    }
    return now;
}

static int check_copy(struct verify *v, const struct snapshot *s)
{
    char wrong[400];
    if (s->annotated_path[0] == '\0')
        return 0;
    examine(v, s->annotated_path, -1, NULL, wrong, sizeof(wrong));
    if (wrong[0] == '\0')
        return 0;
    int r = 0;
    if (v->o->repair) {
        /* An empty one would be taken for drawn. */
        r = store_unlink(v->o->store, s->annotated_path, v->e);
        if (r == 0)
            r = ledger_unsettle(v->o->ledger, s->row, v->e);
        if (r < 0)
            return r;
        v->report->repaired += r;
    }
    find(v, "%s: copy with boxes %s %s%s", s->id, s->annotated_path, wrong,
         r > 0 ? "; it will be drawn again" : "");
    return 0;
}

static int check_picture(struct verify *v, const struct snapshot *s)
{
    char wrong[400];
    v->report->pictures++;
    v->report->bytes += s->size;
    examine(v, s->path, s->size, s->sha256, wrong, sizeof(wrong));
    bool well = wrong[0] == '\0';
    if (well && (s->annotated_path[0] == '\0' || s->unsettled))
        return 0;
    AUTO(snapshot) now = look_again(v, s);
    if (now == NULL)
        return 0;
    if (!well)
        examine(v, now->path, now->size, now->sha256, wrong, sizeof(wrong));
    if (wrong[0] != '\0') {
        find(v, "%s: file %s %s", now->id, now->path, wrong);
        return 0; /* a copy cannot be drawn without its picture */
    }
    return check_copy(v, now);
}

static int check_local(struct verify *v)
{
    static const struct retention_class any = {-1, -1};
    struct snapshot *batch[BATCH];
    int64_t after = 0;
    for (;;) {
        int n = ledger_retention_next(v->o->ledger, &any, NULL, (struct wall_time){0}, false, after,
                                      batch, BATCH, v->e);
        if (n <= 0)
            return n;
        after = batch[n - 1]->row;
        int r = stopped(v);
        for (int i = 0; i < n; i++) {
            if (r == 0)
                r = check_picture(v, batch[i]);
            snapshot_unref(batch[i]);
        }
        if (r < 0)
            return r;
    }
}

/* ---- files that belong to nobody ---- */

/* camera/YYYY/MM/DD/name is what this program puts into the store. Others put theirs beside it: a
 * NAS its thumbnails (@eaDir), a desktop its trash. */
static bool is_ours(const char *path)
{
    static const char day[] = "/dddd/dd/dd/";
    const char *at = strchr(path, '/');
    if (at == NULL || at == path)
        return false;
    for (const char *want = day; *want != '\0'; want++, at++)
        if (*want == 'd' ? *at < '0' || *at > '9' : *at != *want)
            return false;
    return *at != '\0' && strchr(at, '/') == NULL;
}

static int take_orphan(void *arg, const char *path, const struct stat *st)
{
    struct verify *v = arg;
    if (text_starts_with(path, ".incoming/")) /* the start's business */
        return 0;
    bool young = (int64_t)st->st_ctim.tv_sec > wall_seconds(v->o->now) - YOUNG_S;
    const char *said = "";
    if (young)
        return 0;
    if (v->o->repair && is_ours(path)) {
        /* Named since it was found? */
        int r = ledger_path_named(v->o->ledger, path, v->e);
        if (r != 0)
            return MIN(r, 0);
        r = store_unlink(v->o->store, path, v->e);
        if (r < 0)
            return r;
        v->report->repaired++;
        said = "; deleted";
    } else if (v->o->repair) {
        said = "; it is not where pictures are put, so it stays";
    }
    find(v, "file %s belongs to no picture%s", path, said);
    return 0;
}

static int check_orphans(struct verify *v)
{
    int r = store_orphans(v->o->store, v->o->ledger, take_orphan, v, v->e);
    return MIN(r, 0);
}

/* ---- storages ---- */

struct notes {
    struct ledger *ledger;
    const char *storage;
};

static int note_get(void *arg, const char *key, char *ret, size_t size, struct err *e)
{
    const struct notes *n = arg;
    return ledger_memory_get(n->ledger, n->storage, key, ret, size, e);
}

static int note_set(void *arg, const char *key, const char *value, struct err *e)
{
    const struct notes *n = arg;
    return ledger_memory_set(n->ledger, n->storage, key, value, e);
}

static void no_release(void *arg UNUSED)
{
}

/* The object of a job as it should be there. Pictures are known by size and digests without their
 * bytes, so also those that are not here any more; copies by their file. 0: it cannot be known. */
static int make_object(struct verify *v, const struct snapshot *s, const struct upload_job *job,
                       struct blob **bytes, char md5[HASH_MD5_HEX], char sha256[HASH_SHA256_HEX],
                       struct storage_object *ret)
{
    struct err e = {0};
    *ret = upload_object(s, job, "");
    if (!job->annotated) {
        *bytes = blob_new_hook(NULL, (size_t)s->size, no_release, NULL);
        ret->bytes = *bytes;
        return 1;
    }
    if (s->removed || s->annotated_path[0] == '\0' ||
        store_read(v->o->store, s->annotated_path, READ_MAX, bytes, &e) < 0)
        return 0;
    hash_md5_hex((*bytes)->data, (*bytes)->size, md5);
    hash_sha256_hex((*bytes)->data, (*bytes)->size, sha256);
    ret->bytes = *bytes;
    ret->md5 = md5;
    ret->sha256 = sha256;
    return 1;
}

static int take_loss(struct verify *v, const struct storage *s, const struct snapshot *snap,
                     const struct upload_job *job, int code)
{
    const char *path = job->annotated ? snap->annotated_path : snap->path;
    const char *said = "";
    if (v->o->repair) {
        int r =
            snap->removed ? 0 : ledger_upload_lost(v->o->ledger, job->row, code == -ENOENT, v->e);
        if (r < 0)
            return r;
        v->report->repaired += r;
        said = r > 0 ? "; it will be uploaded again"
                     : "; it is not here any more either, so nothing can be done";
    }
    find(v, "%s: %s: %s %s%s", snap->id, s->name, path,
         code == -ENOENT ? "is there no more" : "has another size or other bytes there", said);
    return 0;
}

/* 1: the storage cannot be asked any further. */
static int check_job(struct verify *v, struct storage *s, struct storage_session *w,
                     const struct upload_job *job)
{
    AUTO(snapshot) snap = NULL;
    AUTO(blob) bytes = NULL;
    char md5[HASH_MD5_HEX], sha256[HASH_SHA256_HEX];
    struct storage_object o;
    struct storage_mark mark;
    struct storage_failure f = {0};
    struct err e = {0};
    int r = ledger_snapshot_get(v->o->ledger, job->snapshot_id, &snap, v->e);
    if (r < 0)
        return r == -ENOENT ? 0 : r; /* forgotten meanwhile */
    if (make_object(v, snap, job, &bytes, md5, sha256, &o) == 0) {
        v->report->not_compared++;
        return 0;
    }
    upload_mark_read(job->mark, &mark);
    r = s->ops->verify(w, &o, &mark, &f, &e);
    if (r == 0) {
        v->report->kept++;
        return 0;
    }
    if (r == -ENOENT || r == -EBADMSG)
        return take_loss(v, s, snap, job, r);
    find(v, "%s: cannot be asked%s: %s", s->name,
         f.trouble == STORAGE_WELL ? " about one file" : " any further", e.text);
    return f.trouble != STORAGE_WELL || r == -ECANCELED;
}

static int check_jobs(struct verify *v, struct storage *s, struct storage_session *w)
{
    AUTO_FREE struct upload_job *jobs = xcalloc(BATCH, sizeof(*jobs));
    int64_t after = 0;
    for (;;) {
        int n = ledger_upload_kept(v->o->ledger, s->name, after, jobs, BATCH, v->e);
        if (n <= 0)
            return n;
        after = jobs[n - 1].row;
        for (int i = 0; i < n; i++) {
            int r = stopped(v);
            if (r == 0)
                r = check_job(v, s, w, &jobs[i]);
            if (r != 0)
                return r;
        }
    }
}

static int check_storage(struct verify *v, struct storage *s)
{
    struct notes notes = {v->o->ledger, s->name};
    struct storage_memory memory = {note_get, note_set, &notes};
    struct storage_session *w = NULL;
    struct err e = {0};
    if (s->ops->verify == NULL)
        return 0;
    if (s->ops->session_new(s, v->o->stop_fd, &memory, &w, &e) < 0) {
        find(v, "%s: cannot be asked: %s", s->name, e.text);
        v->report->storages_failed++;
        return 0;
    }
    int r = check_jobs(v, s, w);
    s->ops->session_free(w);
    v->report->storages_failed += r > 0;
    return MIN(r, 0);
}
