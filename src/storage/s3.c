#include "storage/s3.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "aws/s3_object.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/hash.h"

enum {
    METADATA_MAX = 400,  /* of one value: S3 takes 2 KB for all names and values */
    READ_AGAIN_S = 3600, /* after a look that was not allowed */
    /* Refusals in a row for reasons that nobody here knows, of what may be everybody's fault: then
     * all wait for so long. */
    ODD_MAX = 3,
    ODD_PAUSE_MS = 5 * 60 * 1000,
    HEADERS_MAX = 16,
};

/* An empty id would be a job without a mark; no picture has this name, which has no folder. */
#define NO_KEY "?"

/* Whether the server keeps an object that is there when it is asked to (If-None-Match). One that
 * does not say is taken for one that does. */
enum guard { GUARD_UNKNOWN, GUARD_KEPT, GUARD_REFUSED };

struct s3 {
    struct storage storage;
    struct s3_bucket *bucket;
    char *name, *prefix, *storage_class, *url;
    enum s3_sse sse;
    _Atomic int64_t no_look_until_us; /* monotonic: these credentials may not read */
    atomic_bool odd_etags;            /* this server's look like MD5 and are none */
    atomic_int guard;                 /* enum guard */
    atomic_uint odd_in_a_row;
    pthread_mutex_t lock;
    char error[ERR_TEXT_MAX]; /* of the bucket as a whole, "" = well */
};

struct storage_session {
    struct s3 *s3;
    struct http_client *http;
};

/* ---- open, describe ---- */

static const struct storage_ops ops;

static void s3_free(struct storage *s)
{
    struct s3 *s3 = container_of(s, struct s3, storage);
    s3_bucket_free(s3->bucket);
    pthread_mutex_destroy(&s3->lock);
    free(s3->name);
    free(s3->prefix);
    free(s3->storage_class);
    free(s3->url);
    free(s3);
}

int s3_open(const struct s3_config *c, const char *name, struct storage **ret, struct err *e)
{
    /* The rows of the configuration name the styles in this order. */
    static_assert(S3_STYLE_AUTO == 0 && S3_STYLE_PATH == 1 && S3_STYLE_HOST == 2, "path_style");
    struct s3_bucket_options o = {
        .bucket = c->bucket,
        .region = c->region,
        .endpoint = c->endpoint,
        .style = (enum s3_style)c->path_style,
        .login = aws_config_login(&c->login, c->region),
    };
    struct s3_bucket *bucket = NULL;
    int r = s3_bucket_new(&o, &bucket, e);
    if (r < 0)
        return r;
    struct s3 *s3 = xcalloc(1, sizeof(*s3));
    pthread_mutex_init(&s3->lock, NULL); /* cannot fail for a plain one */
    s3->bucket = bucket;
    s3->name = xstrdup(name);
    s3->prefix = c->prefix && *c->prefix ? xasprintf("%s/", c->prefix) : xstrdup("");
    s3->storage_class = c->storage_class && *c->storage_class ? xstrdup(c->storage_class) : NULL;
    s3->url = xasprintf("s3://%s/%s", c->bucket, s3->prefix);
    s3->sse = (enum s3_sse)c->sse;
    s3->storage = (struct storage){.ops = &ops, .name = s3->name};
    *ret = &s3->storage;
    return 0;
}

static int open_kind(const struct storage_open_options *o, struct storage **ret, struct err *e)
{
    return s3_open(o->values, o->name, ret, e);
}

static void describe(struct storage *s, struct storage_state *ret)
{
    struct s3 *s3 = container_of(s, struct s3, storage);
    *ret = (struct storage_state){0};
    s3_bucket_describe(s3->bucket, ret->text, sizeof(ret->text));
    text_copy(ret->url, sizeof(ret->url), s3->url);
    pthread_mutex_lock(&s3->lock);
    text_copy(ret->error, sizeof(ret->error), s3->error);
    pthread_mutex_unlock(&s3->lock);
}

/* ---- sessions ---- */

static int session_new(struct storage *s, int stop_fd, const struct storage_memory *memory UNUSED,
                       struct storage_session **ret, struct err *e)
{
    struct storage_session *w = xcalloc(1, sizeof(*w));
    w->s3 = container_of(s, struct s3, storage);
    int r = http_client_new(stop_fd, &w->http, e);
    if (r < 0) {
        free(w);
        return r;
    }
    *ret = w;
    return 0;
}

static void session_free(struct storage_session *w)
{
    if (!w)
        return;
    http_client_free(w->http);
    free(w);
}

/* ---- whose fault it is ---- */

static enum storage_trouble trouble_of(enum aws_trouble t)
{
    switch (t) {
    case AWS_WELL:
        return STORAGE_WELL;
    case AWS_AWAY:
        return STORAGE_AWAY;
    case AWS_RATE:
        return STORAGE_RATE;
    case AWS_QUOTA:
        return STORAGE_QUOTA;
    case AWS_LOGIN:
        return STORAGE_LOGIN;
    case AWS_TROUBLE_COUNT:
        break;
    }
    return STORAGE_AWAY;
}

/* How long until somebody may have mended it, without anybody telling us; 0 = the caller's figure.
 * Looking for credentials asks nobody beyond this machine; another program may renew those that
 * have expired, and asking S3 about them costs a request. */
static int64_t login_pause_ms(int r, const struct aws_error *error)
{
    if (r == -ENOKEY)
        return 30 * 1000;
    bool expired = text_starts_with(error->code, "ExpiredToken") ||
                   !strcmp(error->code, "InvalidToken") ||
                   !strcmp(error->code, "TokenRefreshRequired");
    return expired ? 5 * 60 * 1000 : 0;
}

/* A refusal with a code that is not known may be of one picture, or of all (a wrong storage_class
 * in the words of a server of its own). When it repeats and nothing succeeds, all wait; but every
 * other time the picture is put aside for a while, so that one that is at fault lets the next ones
 * try. */
static bool is_everybodys(struct s3 *s3)
{
    unsigned n = atomic_fetch_add(&s3->odd_in_a_row, 1) + 1;
    return n >= ODD_MAX && n % 2 == ODD_MAX % 2;
}

/* Remembers what is wrong with the bucket as a whole, and forgets it when it answers. */
static int conclude(struct s3 *s3, int r, const struct aws_error *error, struct storage_failure *f,
                    struct err *e)
{
    struct storage_failure failure = {.trouble = STORAGE_WELL};
    if (r < 0 && r != -ECANCELED)
        failure = (struct storage_failure){.trouble = trouble_of(error->trouble),
                                           .pause_ms = error->pause_ms};
    if (failure.trouble == STORAGE_LOGIN && !failure.pause_ms)
        failure.pause_ms = login_pause_ms(r, error);
    if (r == 0)
        atomic_store(&s3->odd_in_a_row, 0);
    else if (r == -EREMOTEIO && error->odd && is_everybodys(s3))
        failure = (struct storage_failure){.trouble = STORAGE_LOGIN,
                                           .pause_ms = MAX(error->pause_ms, ODD_PAUSE_MS)};
    if (r < 0 && f)
        *f = failure;
    if (failure.trouble != STORAGE_WELL && e)
        e->retry = ERR_LATER; /* all wait for the bucket, whatever this one would do */
    if (r == -ECANCELED)
        return r;
    pthread_mutex_lock(&s3->lock);
    if (failure.trouble == STORAGE_WELL)
        s3->error[0] = '\0';
    else if (e)
        text_copy(s3->error, sizeof(s3->error), e->text);
    pthread_mutex_unlock(&s3->lock);
    return r;
}

/* ---- put ---- */

static int key_of(const struct s3 *s3, const struct storage_object *o, char *ret, size_t size)
{
    if (!fs_path_is_plain(o->path) || text_format(ret, size, "%s%s", s3->prefix, o->path) < 0)
        return -ENAMETOOLONG;
    return 0;
}

/* A path that cannot be a key gets NO_KEY for one: its put says so, and no other has to wait. */
static int reserve(struct storage_session *w, const struct storage_object *objects,
                   struct storage_mark *marks, int count, struct storage_failure *f UNUSED,
                   struct err *e UNUSED)
{
    struct s3 *s3 = w->s3;
    for (int i = 0; i < count; i++) {
        marks[i] = (struct storage_mark){0};
        if (key_of(s3, &objects[i], marks[i].id, sizeof(marks[i].id)) < 0)
            (void)text_copy(marks[i].id, sizeof(marks[i].id), NO_KEY); /* fits */
    }
    return 0;
}

/* Metadata travels in headers: printable ASCII. The rest, '%', and blanks that a header would lose
 * are percent-encoded; what is too long is cut between two characters. NULL for an empty value. */
static char *metadata(const char *name, const char *value)
{
    AUTO_DONE(dynbuf) b;
    dynbuf_init(&b, METADATA_MAX);
    size_t len = value ? strlen(value) : 0;
    bool blank = true;
    for (size_t i = 0; i < len;) {
        size_t n = text_utf8_length(value + i, len - i);
        n = n ? n : 1;
        size_t before = b.len;
        for (size_t k = i; k < i + n; k++) {
            unsigned char c = (unsigned char)value[k];
            bool lost = c == ' ' && (blank || i + n == len);
            blank = c == ' ';
            if (c < ' ' || c > '~' || c == '%' || lost)
                dynbuf_printf(&b, "%%%02X", c);
            else
                dynbuf_append(&b, &value[k], 1);
        }
        if (b.failed) {
            b.len = before;
            b.data[before] = '\0';
            break;
        }
        i += n;
    }
    return b.len ? xasprintf("%s: %s", name, dynbuf_str(&b)) : NULL;
}

static int upload(struct storage_session *w, const struct storage_object *o, const char *key,
                  bool if_absent, struct s3_facts *ret, struct aws_error *error, struct err *e)
{
    const struct s3 *s3 = w->s3;
    char taken_at[WALL_ISO_MAX];
    wall_format_iso(o->taken_at, true, taken_at);
    char *lines[] = {
        metadata("x-amz-meta-camera", o->camera),
        metadata("x-amz-meta-device", o->device_label),
        metadata("x-amz-meta-labels", o->labels),
        metadata(S3_OWNER_HEADER, o->snapshot_id),
        metadata("x-amz-meta-taken-at", taken_at),
        s3->storage_class ? xasprintf("x-amz-storage-class: %s", s3->storage_class) : NULL,
        s3->sse != S3_SSE_BUCKET
            ? xasprintf("x-amz-server-side-encryption: %s", s3_sse_names[s3->sse])
            : NULL,
    };
    static_assert(ARRAY_LEN(lines) < HEADERS_MAX, "room for the NULL");
    const char *headers[HEADERS_MAX];
    int n = 0;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (lines[i])
            headers[n++] = lines[i];
    headers[n] = NULL;
    struct s3_upload u = {.key = key,
                          .content_type = o->content_type && *o->content_type
                                              ? o->content_type
                                              : "application/octet-stream",
                          .data = o->bytes->data,
                          .size = o->bytes->size,
                          .md5 = o->md5,
                          .sha256 = o->sha256,
                          .headers = headers,
                          .if_absent = if_absent};
    int r = s3_object_put(s3->bucket, w->http, &u, ret, error, e);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        free(lines[i]);
    return r;
}

/* The ETag is of the bytes that are there; the SHA-256 is what we once said of them, so it decides
 * only where the ETag is no MD5. A server whose ETags look like MD5 and are none is found out by
 * reading one object back. */
static bool is_the_same(struct storage_session *w, const struct storage_object *o, const char *key,
                        const struct s3_facts *facts)
{
    struct s3 *s3 = w->s3;
    if (facts->size >= 0 && (uint64_t)facts->size != o->bytes->size)
        return false;
    if (!strcmp(facts->etag, o->md5))
        return true;
    if (strcmp(facts->sha256, o->sha256) != 0)
        return false;
    if (!facts->etag_is_md5 || atomic_load(&s3->odd_etags))
        return true;
    AUTO(blob) there = NULL;
    char sha256[HASH_SHA256_HEX];
    if (s3_object_get(s3->bucket, w->http, key, o->bytes->size, &there, NULL, NULL) < 0)
        return false;
    hash_sha256_hex(there->data, there->size, sha256);
    bool same = !strcmp(sha256, o->sha256);
    if (same)
        atomic_store(&s3->odd_etags, true);
    return same;
}

static bool may_look(const struct s3 *s3)
{
    return clock_mono().us >= atomic_load(&s3->no_look_until_us);
}

static bool is_forbidden(struct s3 *s3, int r, const struct aws_error *error)
{
    if (r != -EREMOTEIO || error->status != 403)
        return false;
    atomic_store(&s3->no_look_until_us, clock_mono().us + READ_AGAIN_S * INT64_C(1000000));
    return true;
}

/* Behind a put that S3 said yes to. It has compared MD5 and SHA-256 with the bytes that came, so
 * where nobody may look, its yes is believed when it has the form of one: an ETag that is the MD5,
 * or one that says that it is none (encrypted by KMS). */
static int look(struct storage_session *w, const struct storage_object *o, const char *key,
                const struct s3_facts *put, struct aws_error *error, struct err *e)
{
    struct s3 *s3 = w->s3;
    bool believed = !strcmp(put->etag, o->md5) || (*put->etag && !put->etag_is_md5);
    if (believed && !may_look(s3))
        return 0;
    struct s3_facts facts;
    int r = s3_object_head(s3->bucket, w->http, key, &facts, error, e);
    if (is_forbidden(s3, r, error)) {
        if (!believed)
            return err_set(
                e, r, ERR_LATER,
                "S3: its answer has no MD5 of the picture, and these credentials may not "
                "look at what it has: allow s3:GetObject");
        *error = (struct aws_error){0};
        err_clear(e);
        return 0;
    }
    if (r == -ENOENT)
        return err_set(e, -EIO, ERR_LATER, "S3: took the picture and does not have it");
    if (r == 0 && !is_the_same(w, o, key, &facts))
        return err_set(e, -EBADMSG, ERR_NOW, "S3: has other bytes than it was given");
    return r;
}

/* What stands under a key. Where nobody may look it is ours: as a rule it is from before a lost
 * answer, and in a bucket that one may only write to, versions keep what it replaces. */
enum occupant { OCCUPANT_NONE, OCCUPANT_SAME, OCCUPANT_OURS, OCCUPANT_FOREIGN };

static int look_before(struct storage_session *w, const struct storage_object *o, const char *key,
                       enum occupant *ret, struct aws_error *error, struct err *e)
{
    struct s3_facts facts;
    *ret = OCCUPANT_OURS;
    if (!may_look(w->s3))
        return 0;
    int r = s3_object_head(w->s3->bucket, w->http, key, &facts, error, e);
    if (r == -ENOENT)
        *ret = OCCUPANT_NONE;
    if (r == -ENOENT || is_forbidden(w->s3, r, error)) {
        *error = (struct aws_error){0};
        err_clear(e);
        return 0;
    }
    if (r == 0)
        *ret = is_the_same(w, o, key, &facts)         ? OCCUPANT_SAME
               : !strcmp(facts.owner, o->snapshot_id) ? OCCUPANT_OURS
                                                      : OCCUPANT_FOREIGN;
    return r;
}

/* As far as its answer tells; the same codes may have another reason, so it is tried without. */
static bool refuses_guard(struct s3 *s3, int r, const struct aws_error *error)
{
    static const char *const codes[] = {"NotImplemented", "InvalidArgument", "InvalidRequest"};
    if (r != -EREMOTEIO || atomic_load(&s3->guard) != GUARD_UNKNOWN)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (!strcmp(error->code, codes[i]))
            return true;
    return error->status == 501;
}

static int put_after_look(struct storage_session *w, const struct storage_object *o,
                          const char *key, struct aws_error *error, struct err *e)
{
    enum occupant occupant;
    struct s3_facts facts;
    int r = look_before(w, o, key, &occupant, error, e);
    if (r < 0 || occupant == OCCUPANT_SAME)
        return r;
    if (occupant == OCCUPANT_FOREIGN)
        return err_set(e, -EEXIST, ERR_LATER, "S3: %s is another object", key);
    r = upload(w, o, key, false, &facts, error, e);
    return r < 0 ? r : look(w, o, key, &facts, error, e);
}

/* -EEXIST: somebody else has an object of this key. */
static int put_as(struct storage_session *w, const struct storage_object *o, const char *key,
                  struct aws_error *error, struct err *e)
{
    struct s3 *s3 = w->s3;
    struct s3_facts facts;
    if (atomic_load(&s3->guard) == GUARD_REFUSED)
        return put_after_look(w, o, key, error, e);
    int r = upload(w, o, key, true, &facts, error, e);
    if (refuses_guard(s3, r, error)) {
        r = put_after_look(w, o, key, error, e);
        if (r == 0 || r == -EEXIST)
            atomic_store(&s3->guard, GUARD_REFUSED);
        return r;
    }
    if (r == 0 || r == -EEXIST)
        atomic_store(&s3->guard, GUARD_KEPT);
    if (r == -EEXIST)
        return put_after_look(w, o, key, error, e);
    return r < 0 ? r : look(w, o, key, &facts, error, e);
}

/* The key of the mark first: an attempt before may have come so far. */
static int put_somewhere(struct storage_session *w, const struct storage_object *o,
                         struct storage_mark *mark,
                         int (*save)(void *arg, const struct storage_mark *mark, struct err *e),
                         void *arg, struct aws_error *error, struct err *e)
{
    char wanted[STORAGE_ID_MAX], other[STORAGE_ID_MAX];
    int r = put_as(w, o, mark->id, error, e);
    if (r != -EEXIST || key_of(w->s3, o, wanted, sizeof(wanted)) < 0)
        return r;
    for (unsigned nth = 2; r == -EEXIST && nth <= STORAGE_NTH_MAX; nth++) {
        if (storage_nth_path(wanted, nth, other, sizeof(other)) < 0)
            return err_set(e, -ENAMETOOLONG, ERR_NEVER, "S3: '%.80s...' has no room for a number",
                           wanted);
        (void)text_copy(mark->id, sizeof(mark->id), other); /* of one size */
        err_clear(e);
        r = save(arg, mark, e);
        if (r < 0)
            return err_prefix(e, "note where it goes"), r;
        r = put_as(w, o, mark->id, error, e);
    }
    return r;
}

static int put(struct storage_session *w, const struct storage_object *o, struct storage_mark *mark,
               int (*save)(void *arg, const struct storage_mark *mark, struct err *e), void *arg,
               struct storage_failure *f, struct err *e)
{
    struct aws_error error = {0};
    if (!strcmp(mark->id, NO_KEY)) {
        *f = (struct storage_failure){.trouble = STORAGE_WELL, .asked_nobody = true};
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "S3: the path is no key: too long?");
    }
    int r = put_somewhere(w, o, mark, save, arg, &error, e);
    return conclude(w->s3, r, &error, f, e);
}

static int verify(struct storage_session *w, const struct storage_object *o,
                  const struct storage_mark *mark, struct storage_failure *f, struct err *e)
{
    struct aws_error error = {0};
    struct s3_facts facts;
    if (!strcmp(mark->id, NO_KEY)) {
        *f = (struct storage_failure){.trouble = STORAGE_WELL, .asked_nobody = true};
        return err_set(e, -ENOENT, ERR_NEVER, "S3: was never there");
    }
    int r = s3_object_head(w->s3->bucket, w->http, mark->id, &facts, &error, e);
    if (r == 0 && !is_the_same(w, o, mark->id, &facts))
        r = err_set(e, -EBADMSG, ERR_NEVER, "S3: has another size or digest");
    return conclude(w->s3, r, &error, f, e);
}

static const struct storage_ops ops = {
    .kind = "s3",
    .session_new = session_new,
    .session_free = session_free,
    .reserve = reserve,
    .reserve_asks_nobody = true,
    .put = put,
    .verify = verify,
    .describe = describe,
    .free = s3_free,
};

const struct storage_kind s3_storage = {
    .kind = "s3",
    .section = &s3_cfg_section,
    .common_offset = offsetof(struct s3_config, common),
    .open = open_kind,
};
