#include "web/export.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/altstack.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/gzip.h"
#include "web/filter.h"
#include "web/snapshot_json.h"
#include "web/zip.h"

#define PAGE 50
#define CHUNKS_MAX 16 /* on their way to the reader; an entry is two */
#define DIRECTORY_MAX ((size_t)32 << 20)
#define MANIFEST_MAX ((size_t)32 << 20) /* packed */
#define ROW_MAX ((size_t)1 << 20)
#define STALL_MS 60000
#define RECHECK_MS 10000 /* wakes are not lost; this is for when one is */
#define CSV_HEAD                                                                                   \
    "id,camera,device_key,event_at,received_at,file,size,sha256,width,height,persons,labels\r\n"
#define STACK_SIZE (512 * 1024)

struct exports {
    struct exports_options options;
    char *ledger_path;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    int running;   /* guarded by lock */
    uint64_t next; /* the web thread's: names keys */
};

/* Two hold it: the stream, and the thread once it runs. */
struct export
{
    struct exports *exports;
    char key[HTTP_WAIT_KEY_MAX];
    bool annotated, begun;
    int64_t limit;
    char *target;
    struct http_request request; /* parsed anew from the target: the filter points into it */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t room;
    int refs;
    bool cancelled, whole, failed;
    struct blob *chunks[CHUNKS_MAX];
    int first, count;
    size_t bytes; /* of them */
    size_t sent;  /* of the first */
};

struct maker; /* the thread's own */

static void *run(void *arg);
static ssize_t export_read(void *arg, void *to, size_t size, struct http_wait *wait);
static void export_release(void *arg);

struct exports *exports_new(const struct exports_options *options)
{
    struct exports *x = xcalloc(1, sizeof(*x));
    x->options = *options;
    x->ledger_path = xstrdup(options->ledger_path);
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->ended, NULL);
    return x;
}

void exports_free(struct exports *x)
{
    if (!x)
        return;
    pthread_mutex_lock(&x->lock);
    while (x->running > 0)
        pthread_cond_wait(&x->ended, &x->lock);
    pthread_mutex_unlock(&x->lock);
    pthread_cond_destroy(&x->ended);
    pthread_mutex_destroy(&x->lock);
    free(x->ledger_path);
    free(x);
}

static bool take_place(struct exports *x)
{
    pthread_mutex_lock(&x->lock);
    bool taken = x->running < EXPORTS_MAX;
    x->running += taken;
    pthread_mutex_unlock(&x->lock);
    return taken;
}

int export_start(struct exports *x, const struct http_request *req, bool annotated, int64_t limit,
                 struct http_stream *ret, struct err *e)
{
    if (!take_place(x))
        return err_set(e, -EBUSY, ERR_LATER,
                       "%d zip files are on their way already; one of them "
                       "has to end first",
                       EXPORTS_MAX);
    struct export *ex = xcalloc(1, sizeof(*ex));
    ex->exports = x;
    ex->refs = 1;
    ex->annotated = annotated;
    ex->limit = limit;
    ex->target = xstrdup(req->target);
    ex->request.method = "GET";
    ex->request.target = ex->target;
    pthread_mutex_init(&ex->lock, NULL);
    pthread_cond_init(&ex->room, NULL);
    (void)text_format(ex->key, sizeof(ex->key), "zip-%llu",
                      (unsigned long long)x->next++); /* fits */
    *ret = (struct http_stream){
        .read = export_read, .release = export_release, .arg = ex, .stall_ms = STALL_MS};
    return 0;
}

/* The last one frees it. */
static void unref(struct export *ex)
{
    pthread_mutex_lock(&ex->lock);
    bool last = --ex->refs == 0;
    pthread_mutex_unlock(&ex->lock);
    if (!last)
        return;
    for (; ex->count > 0; ex->count--, ex->first++)
        blob_unref(ex->chunks[ex->first % CHUNKS_MAX]);
    struct exports *x = ex->exports;
    pthread_cond_destroy(&ex->room);
    pthread_mutex_destroy(&ex->lock);
    free(ex->target);
    free(ex);
    pthread_mutex_lock(&x->lock); /* whoever waits in exports_free() goes on when this is let go */
    x->running--;
    pthread_cond_signal(&x->ended);
    pthread_mutex_unlock(&x->lock);
}

/* ---- the reader's side, on the web thread ---- */

/* Only when somebody reads: for HEAD nobody does. */
static int begin(struct export *ex)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all); /* signals are the main loop's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ex->refs++; /* nobody else has it yet */
    int code = pthread_create(&thread, &attr, run, ex);
    if (code)
        ex->refs--;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    ex->begun = true;
    if (code)
        log_error("export-failed", "a zip file: start a thread: %s", strerror(code));
    return -code;
}

static ssize_t export_read(void *arg, void *to, size_t size, struct http_wait *wait)
{
    struct export *ex = arg;
    if (!ex->begun && begin(ex) < 0)
        return HTTP_STREAM_BROKEN;
    pthread_mutex_lock(&ex->lock);
    size_t written = 0;
    while (written < size && ex->count > 0) {
        struct blob *b = ex->chunks[ex->first % CHUNKS_MAX];
        size_t n = MIN(size - written, b->size - ex->sent);
        memcpy((char *)to + written, b->data + ex->sent, n);
        written += n;
        ex->sent += n;
        if (ex->sent < b->size)
            break;
        ex->bytes -= b->size;
        ex->sent = 0;
        ex->first++;
        ex->count--;
        blob_unref(b);
        pthread_cond_signal(&ex->room);
    }
    bool whole = ex->whole, failed = ex->failed;
    pthread_mutex_unlock(&ex->lock);
    if (written > 0)
        return (ssize_t)written;
    if (whole || failed)
        return whole ? HTTP_STREAM_END : HTTP_STREAM_BROKEN;
    text_copy(wait->key, sizeof(wait->key), ex->key);
    wait->recheck = mono_add_ms(clock_mono(), RECHECK_MS);
    return 0;
}

static void export_release(void *arg)
{
    struct export *ex = arg;
    pthread_mutex_lock(&ex->lock);
    ex->cancelled = true;
    pthread_cond_signal(&ex->room);
    pthread_mutex_unlock(&ex->lock);
    unref(ex);
}

/* ---- the maker's side, on a thread of its own ---- */

struct maker {
    struct export *export;
    struct ledger *ledger;
    struct web_filter filter;
    struct zip zip;
    struct gzip_text *csv, *json;
    int64_t count;
};

static int make(struct maker *m, struct err *e);

static void wake(struct export *ex)
{
    const struct exports_options *o = &ex->exports->options;
    o->wake(o->arg, ex->key);
}

static void *run(void *arg)
{
    struct export *ex = arg;
    struct maker m = {.export = ex};
    struct err e = {0};
    altstack_use();
    (void)pthread_setname_np(pthread_self(), "export");
    log_context_stage("export");
    zip_init(&m.zip, DIRECTORY_MAX);
    m.csv = gzip_text_new(MANIFEST_MAX);
    m.json = gzip_text_new(MANIFEST_MAX);
    int r = make(&m, &e);
    gzip_text_free(m.csv);
    gzip_text_free(m.json);
    zip_done(&m.zip);
    ledger_close(m.ledger);
    if (r < 0 && r != -ECANCELED)
        log_warn("export-failed", "a zip file ends after %lld pictures: %s", (long long)m.count,
                 e.text);
    else if (r == 0)
        log_info("exported", "a zip file of %lld pictures", (long long)m.count);
    pthread_mutex_lock(&ex->lock);
    ex->whole = r == 0;
    ex->failed = r < 0;
    bool cancelled = ex->cancelled;
    pthread_mutex_unlock(&ex->lock);
    if (!cancelled)
        wake(ex);
    unref(ex);
    return NULL;
}

/* Takes the bytes, and waits for room. -ECANCELED: nobody reads any more. */
static int give(struct maker *m, struct blob **bytes)
{
    struct export *ex = m->export;
    pthread_mutex_lock(&ex->lock);
    while (!ex->cancelled && ex->count > 0 &&
           (ex->count == CHUNKS_MAX || ex->bytes + (*bytes)->size > EXPORT_AHEAD_BYTES))
        pthread_cond_wait(&ex->room, &ex->lock);
    bool cancelled = ex->cancelled;
    if (!cancelled) {
        ex->bytes += (*bytes)->size;
        ex->chunks[(ex->first + ex->count++) % CHUNKS_MAX] = STEAL(*bytes);
    }
    pthread_mutex_unlock(&ex->lock);
    if (cancelled)
        return -ECANCELED;
    wake(ex);
    return 0;
}

/* Takes what is in the buffer. */
static int give_text(struct maker *m, struct dynbuf *text, struct err *e)
{
    size_t size = 0;
    bool failed = text->failed;
    char *data = dynbuf_steal(text, &size);
    AUTO(blob) bytes = data ? blob_new_take(data, size) : NULL;
    if (failed || !bytes)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory for its directory");
    return give(m, &bytes);
}

static int begin_entry(struct maker *m, const struct zip_entry *entry, struct err *e)
{
    struct dynbuf head;
    dynbuf_init(&head, 1024 + SNAPSHOT_PATH_MAX);
    if (zip_begin(&m->zip, entry, &head) < 0)
        head.failed = true;
    return give_text(m, &head, e);
}

/* ---- the manifests ---- */

/* Those of Japanese keyboards are signs of formulas, too. */
static bool begins_formula(const char *text)
{
    static const char *const wide[] = {"\xef\xbc\x9d", "\xef\xbc\x8b", "\xef\xbc\x8d",
                                       "\xef\xbc\xa0"}; /* = + - @ */
    for (size_t i = 0; i < ARRAY_LEN(wide); i++)
        if (text_starts_with(text, wide[i]))
            return true;
    return text[0] && strchr("=+-@\t\r\n", text[0]);
}

/* A cell of a table. Spreadsheets take what begins so for a formula; a name of a camera is none. In
 * some countries they take semicolons for the ends of cells, and do not know ours, so a cell can
 * begin within one. */
static void put_cell(struct dynbuf *out, const char *text, const char *end)
{
    bool first = true;
    (void)dynbuf_puts(out, "\"");
    for (; *text; text++) {
        if (first && begins_formula(text))
            (void)dynbuf_puts(out, "'");
        first = strchr(";,\t\r\n|\"", *text) || (first && *text == ' ');
        (void)dynbuf_append(out, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1);
    }
    (void)dynbuf_printf(out, "\"%s", end);
}

static void put_time(struct dynbuf *out, struct wall_time at)
{
    char text[WALL_ISO_MAX];
    put_cell(out, wall_format_iso(at, true, text), ",");
}

static void put_labels(struct dynbuf *out, const struct verdict *v)
{
    AUTO_DONE(dynbuf) labels;
    dynbuf_init(&labels, ROW_MAX / 4);
    for (size_t i = 0; v && i < v->found.count; i++)
        (void)dynbuf_printf(&labels, "%s%s %.2f", i ? "; " : "", v->found.items[i].label,
                            (double)v->found.items[i].confidence);
    put_cell(out, dynbuf_str(&labels), "\r\n");
}

static int note_csv(struct maker *m, const struct snapshot *s, const struct verdict *v,
                    const char *file)
{
    AUTO_DONE(dynbuf) row;
    dynbuf_init(&row, ROW_MAX);
    put_cell(&row, s->id, ",");
    put_cell(&row, s->camera, ",");
    put_cell(&row, s->device_key, ",");
    put_time(&row, s->event_at);
    put_time(&row, s->received_at);
    put_cell(&row, file, ",");
    (void)dynbuf_printf(&row, "%lld,%s,%d,%d,", (long long)s->size, s->sha256, s->width, s->height);
    if (v)
        (void)dynbuf_printf(&row, "%d", verdict_persons(v));
    (void)dynbuf_puts(&row, ",");
    put_labels(&row, v);
    return row.failed ? -ENOMEM : gzip_text_add(m->csv, row.data, row.len);
}

static int note_json(struct maker *m, const struct snapshot *s, const struct verdict *v,
                     const char *file)
{
    AUTO_JSON json_t *document = snapshot_json(s, v, NULL, 0);
    if (!document)
        return -ENOMEM;
    json_object_set_new(document, "file", file[0] ? js_string(file) : json_null());
    AUTO_FREE char *text = js_text(document);
    int r = gzip_text_puts(m->json, m->count == 0 ? "\n" : ",\n");
    return r < 0 ? r : gzip_text_puts(m->json, text);
}

static int end_manifest(struct maker *m, const char *name, struct gzip_text *t, struct err *e)
{
    const struct dynbuf *packed;
    uint64_t size;
    uint32_t crc;
    int r = gzip_text_end(t, &packed, &size, &crc);
    if (r < 0 || size > UINT32_MAX)
        return err_set(e, -ENOSPC, ERR_NEVER, "the list of its pictures is too long");
    struct zip_entry entry = {.name = name,
                              .method = ZIP_DEFLATED,
                              .crc = crc,
                              .size = (uint32_t)size,
                              .packed_size = (uint32_t)packed->len,
                              .at = clock_wall()};
    r = begin_entry(m, &entry, e);
    if (r < 0)
        return r;
    AUTO(blob) bytes = blob_new_copy(packed->data, packed->len);
    return bytes ? give(m, &bytes) : err_errno(e, -ENOMEM, "manifest");
}

/* ---- the pictures ---- */

/* The bytes that are there: the copy with boxes when that is wanted and exists, else the picture.
 * -ENOENT: neither. *path is the name in the store. */
static int get_bytes(struct maker *m, const struct snapshot *s, const char **path,
                     struct blob **ret, struct err *e)
{
    const struct web_backend *b = m->export->exports->options.backend;
    int r = -ENOENT;
    if (m->export->annotated && s->annotated_path[0]) {
        *path = s->annotated_path;
        r = b->bytes(b->arg, s, true, ret, e);
    }
    if (r == -ENOENT) {
        *path = s->path;
        r = b->bytes(b->arg, s, false, ret, e);
    }
    return r;
}

/* A picture may get its other name between our look at the row and at the file. */
static int get_fresh(struct maker *m, struct snapshot **s, const char **path, struct blob **ret,
                     struct err *e)
{
    if ((*s)->removed)
        return -ENOENT;
    int r = get_bytes(m, *s, path, ret, e);
    if (r != -ENOENT)
        return r;
    struct snapshot *again;
    if (ledger_snapshot_get(m->ledger, (*s)->id, &again, e) < 0)
        return r;
    snapshot_unref(*s);
    *s = again;
    return again->removed ? -ENOENT : get_bytes(m, again, path, ret, e);
}

/* A picture that cannot be read stands in the manifests without a file. */
static int add_picture(struct maker *m, struct snapshot **s, struct err *e)
{
    const char *path = "";
    AUTO(blob) bytes = NULL;
    struct verdict v = {0};
    struct err why = {0};
    int r = get_fresh(m, s, &path, &bytes, &why);
    if (r < 0 && r != -ENOENT)
        log_warn("export-skipped", "snapshot %s is left out of a zip file: %s", (*s)->id, why.text);
    if (r < 0)
        path = "";
    bool examined = ledger_verdict_get(m->ledger, (*s)->id, &v, &why) == 0;
    r = note_csv(m, *s, examined ? &v : NULL, path);
    if (r == 0)
        r = note_json(m, *s, examined ? &v : NULL, path);
    if (examined)
        verdict_done(&v);
    if (r < 0)
        return err_set(e, r, ERR_NEVER, "the list of its pictures is too long");
    m->count++;
    if (!path[0])
        return 0;
    struct zip_entry entry = {.name = path,
                              .crc = gzip_crc32(0, bytes->data, bytes->size),
                              .size = (uint32_t)bytes->size, /* image_bytes_max is far below */
                              .packed_size = (uint32_t)bytes->size,
                              .at = (*s)->event_at};
    r = begin_entry(m, &entry, e);
    return r < 0 ? r : give(m, &bytes);
}

static bool is_cancelled(struct export *ex)
{
    pthread_mutex_lock(&ex->lock);
    bool cancelled = ex->cancelled;
    pthread_mutex_unlock(&ex->lock);
    return cancelled;
}

static int add_pictures(struct maker *m, struct err *e)
{
    struct browse_end end = {0};
    while (!end.whole && m->count < m->export->limit) {
        struct snapshot *page[PAGE];
        int max = (int)MIN(m->export->limit - m->count, (int64_t)PAGE);
        struct ledger_page_key after = end.at;
        int n = ledger_browse_page(m->ledger, &m->filter.of, after, &web_page_budget, page, max,
                                   &end, e);
        if (n < 0)
            return n;
        int r = is_cancelled(m->export) ? -ECANCELED : 0;
        for (int i = 0; i < n; i++) {
            if (r == 0)
                r = add_picture(m, &page[i], e);
            snapshot_unref(page[i]);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static int make(struct maker *m, struct err *e)
{
    struct export *ex = m->export;
    struct http_response refusal;
    static const char *const more[] = {"annotated", "limit", NULL};
    http_response_init(&refusal);
    /* The handler has done the same with the same text. */
    int r = http_request_parse(&ex->request, e);
    if (r == 0 && !web_filter_read(&ex->request, more, &m->filter, &refusal))
        r = err_set(e, -EINVAL, ERR_NEVER, "its parameters");
    http_response_done(&refusal);
    if (r == 0)
        r = ledger_open(ex->exports->ledger_path, &m->ledger, e);
    if (r == 0)
        r = gzip_text_puts(m->csv, CSV_HEAD);
    if (r == 0)
        r = gzip_text_puts(m->json, "{\"snapshots\":[");
    if (r == 0)
        r = add_pictures(m, e);
    if (r == 0)
        r = gzip_text_puts(m->json, "]}\n");
    if (r == 0)
        r = end_manifest(m, "manifest.csv", m->csv, e);
    if (r == 0)
        r = end_manifest(m, "manifest.json", m->json, e);
    if (r < 0)
        return r;
    struct dynbuf tail;
    dynbuf_init(&tail, DIRECTORY_MAX + 256);
    if (zip_end(&m->zip, &tail) < 0)
        tail.failed = true;
    return give_text(m, &tail, e);
}
