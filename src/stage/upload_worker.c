/* Upload: all that blocks in the storage. A worker has a session of its own, takes what is first in
 * the queue, and leaves what became of it in its slot. */

#include "stage/upload_internal.h"

#include <errno.h>
#include <string.h>

#include "base/altstack.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/text.h"
#include "stage/upload_object.h"
#include "sys/hash.h"
#include "sys/stack.h"

/* Of files that are read at a time; one that is larger goes alone. */
#define BYTES_MAX ((int64_t)32 << 20)
/* Of a copy with boxes, whose size no row tells: as large as a picture may be (image_bytes_max). */
#define COPY_BYTES_MAX ((size_t)512 << 20)

static int memory_get(void *arg, const char *key, char *ret, size_t size, struct err *e)
{
    struct worker *w = arg;
    struct upload_self *u = w->upload;
    pthread_mutex_lock(&u->side_lock);
    int r = ledger_memory_get(u->side, u->storage->name, key, ret, size, e);
    pthread_mutex_unlock(&u->side_lock);
    w->ledger_failed = w->ledger_failed || (r < 0 && r != -ENOENT && r != -ENOSPC);
    return r;
}

static int memory_set(void *arg, const char *key, const char *value, struct err *e)
{
    struct worker *w = arg;
    struct upload_self *u = w->upload;
    pthread_mutex_lock(&u->side_lock);
    int r = ledger_memory_set(u->side, u->storage->name, key, value, e);
    pthread_mutex_unlock(&u->side_lock);
    w->ledger_failed = w->ledger_failed || r < 0;
    return r;
}

static int need_session(struct worker *w, struct storage_failure *f, struct err *e)
{
    struct upload_self *u = w->upload;
    if (w->session)
        return 0;
    struct storage_memory memory = {memory_get, memory_set, w};
    int r = u->storage->ops->session_new(u->storage, u->stop_fd, &memory, &w->session, e);
    if (r < 0) {
        w->session = NULL;
        f->trouble = STORAGE_AWAY;
    }
    return r;
}

struct saving {
    struct worker *worker;
    struct slot *slot;
};

static int save_mark(void *arg, const struct storage_mark *mark, struct err *e)
{
    struct saving *s = arg;
    struct upload_self *u = s->worker->upload;
    struct upload_job job = s->slot->job;
    int r = upload_mark_write(mark, job.mark, e);
    if (r < 0)
        return r;
    pthread_mutex_lock(&u->side_lock);
    r = ledger_upload_mark(u->side, &job, 1, e);
    pthread_mutex_unlock(&u->side_lock);
    if (r == 0) /* the rest of it others may be reading */
        memcpy(s->slot->job.mark, job.mark, sizeof(job.mark));
    s->worker->ledger_failed = s->worker->ledger_failed || r < 0;
    return r;
}

/* It may still be where intake has put it, when that could not place it, or on its way from one
 * name to the next: it is renamed after the verdict. -ENOENT: it is nowhere. */
static int put_in_place(struct upload_self *u, const struct snapshot *s, struct err *e)
{
    struct ledger_unsettled row;
    struct store_recovery done = {0};
    int r = 0;
    if (s->unsettled) {
        pthread_mutex_lock(&u->side_lock);
        r = ledger_unsettled_get(u->side, s->id, &row, e);
        pthread_mutex_unlock(&u->side_lock);
    }
    if (r == 1) {
        r = store_finish(u->pipeline->store, &row, &done, e);
        return r == -EAGAIN ? 0 : r; /* the copy is not drawn yet, which is another's business */
    }
    return r < 0 ? r : store_place(u->pipeline->store, s->id, false, s->path, e);
}

static int read_file(struct upload_self *u, const struct slot *slot, struct blob **ret,
                     struct err *e)
{
    const struct snapshot *s = slot->snapshot;
    if (slot->job.annotated)
        return store_read(u->pipeline->store, s->annotated_path, COPY_BYTES_MAX, ret, e);
    int r = pipeline_bytes(u->pipeline, s, ret, e);
    if (r == -ENOENT) {
        r = put_in_place(u, s, e);
        if (r == 0)
            r = pipeline_bytes(u->pipeline, s, ret, e);
    }
    return r;
}

static int check_digest(const struct slot *slot, const char *sha256, struct err *e)
{
    const struct snapshot *s = slot->snapshot;
    if (slot->job.annotated || strcmp(s->sha256, sha256) == 0)
        return 0;
    return err_set(e, -EBADMSG, ERR_NEVER, "%s is not what was received: its bytes have changed",
                   s->path);
}

static void count_read(struct upload_self *u)
{
    pthread_mutex_lock(&u->lock);
    u->reads++;
    u->read_last = ledger_now();
    pthread_mutex_unlock(&u->lock);
}

static void put_file(struct worker *w, struct slot *slot)
{
    struct upload_self *u = w->upload;
    struct mono_time start = clock_mono();
    AUTO(blob) bytes = NULL;
    char sha256[HASH_SHA256_HEX];
    struct saving saving = {w, slot};
    w->ledger_failed = false;
    slot->origin = FROM_STORE;
    slot->failure = (struct storage_failure){.trouble = STORAGE_WELL};
    slot->error = (struct err){0};
    slot->fate = FATE_OPEN;
    int r = read_file(u, slot, &bytes, &slot->error);
    if (r == 0) {
        slot->read = (int64_t)bytes->size;
        hash_md5_hex(bytes->data, bytes->size, slot->job.md5);
        hash_sha256_hex(bytes->data, bytes->size, sha256);
        r = check_digest(slot, sha256, &slot->error);
    }
    if (r == 0) {
        count_read(u);
        slot->origin = FROM_STORAGE;
        r = need_session(w, &slot->failure, &slot->error);
    }
    if (r == 0) {
        struct storage_object o = upload_object(slot->snapshot, &slot->job, slot->labels);
        o.bytes = bytes;
        o.md5 = slot->job.md5;
        o.sha256 = sha256;
        FAULT_POINT("upload-before-put");
        r = u->storage->ops->put(w->session, &o, &slot->mark, save_mark, &saving, &slot->failure,
                                 &slot->error);
        FAULT_POINT("upload-after-put");
    }
    slot->code = r;
    if (r < 0 && w->ledger_failed)
        slot->origin = FROM_LEDGER;
    slot->seconds = mono_diff_ms(clock_mono(), start) / 1000;
}

/* The first of the queue that may begin. Under the lock. */
static struct slot *next_slot(struct upload_self *u)
{
    struct slot *first = NULL;
    int running = 0;
    for (int i = 0; i < u->slot_count; i++) {
        struct slot *s = &u->slots[i];
        running += s->state == SLOT_RUNNING;
        if (s->state != SLOT_QUEUED)
            continue;
        if (!first || (s->live != first->live ? s->live : s->turn < first->turn))
            first = s;
    }
    if (first && !first->live && u->live_comes && running + 1 >= u->allowed)
        return NULL; /* that one has waited for its mark, and need not wait for this one, too */
    if (!first || running >= u->allowed || (u->bytes && u->bytes + first->size > BYTES_MAX))
        return NULL;
    return first;
}

static void prepare_thread(const char *name)
{
    stack_thread_ready();
    altstack_use();
    pthread_setname_np(pthread_self(), name);
    log_context_stage("upload");
}

void *upload_put_main(void *arg)
{
    struct worker *w = arg;
    struct upload_self *u = w->upload;
    prepare_thread("upload.put");
    pthread_mutex_lock(&u->lock);
    while (!u->ended) {
        struct slot *slot = next_slot(u);
        if (!slot) {
            pthread_cond_wait(&u->work, &u->lock);
            continue;
        }
        slot->state = SLOT_RUNNING;
        slot->generation = u->generation;
        slot->reads = u->reads;
        u->bytes += slot->size;
        u->shown.under_way++;
        pthread_mutex_unlock(&u->lock);
        put_file(w, slot);
        pthread_mutex_lock(&u->lock);
        slot->state = SLOT_FINISHED;
        u->bytes -= slot->size;
        u->shown.under_way--;
        pthread_cond_broadcast(&u->work); /* of those that had no room for their bytes */
        stage_wake(u->stage);
    }
    pthread_mutex_unlock(&u->lock);
    return NULL;
}

static void write_marks(struct batch *b)
{
    for (int i = 0; i < b->count && b->code >= 0; i++)
        b->code = upload_mark_write(&b->marks[i], b->jobs[i].mark, &b->error);
}

void upload_make_marks(struct worker *w, struct batch *b)
{
    struct upload_self *u = w->upload;
    struct storage_object objects[RESERVE_MAX];
    b->failure = (struct storage_failure){.trouble = STORAGE_WELL};
    b->error = (struct err){0};
    w->ledger_failed = false;
    for (int i = 0; i < b->count; i++) {
        objects[i] = upload_object(b->snapshots[i], &b->jobs[i], b->labels[i]);
        b->marks[i] = (struct storage_mark){.id = ""};
    }
    b->code = need_session(w, &b->failure, &b->error);
    if (b->code == 0)
        b->code = u->storage->ops->reserve(w->session, objects, b->marks, b->count, &b->failure,
                                           &b->error);
    write_marks(b);
    b->origin = b->code < 0 && w->ledger_failed ? FROM_LEDGER : FROM_STORAGE;
}

bool upload_take_marks(struct upload_self *u, struct batch *b)
{
    if (u->storage->ops->reserve_stocked(u->storage, b->marks, b->count) < 0)
        return false;
    pthread_mutex_lock(&u->lock);
    u->restock = u->shown.trouble == STORAGE_WELL; /* else it is asked no more than it must be */
    pthread_mutex_unlock(&u->lock);
    b->failure = (struct storage_failure){.trouble = STORAGE_WELL};
    b->error = (struct err){0};
    b->origin = FROM_STORAGE;
    b->code = 0;
    write_marks(b);
    return true;
}

/* What fails here is nobody's loss yet: who needs a mark and finds none will be told. */
static void fill_stock(struct worker *w)
{
    struct storage_failure f = {0};
    struct err e = {0};
    if (need_session(w, &f, &e) == 0)
        (void)w->upload->storage->ops->reserve(w->session, NULL, NULL, 0, &f, &e);
}

void *upload_reserve_main(void *arg)
{
    struct worker *w = arg;
    struct upload_self *u = w->upload;
    prepare_thread("upload.mark");
    pthread_mutex_lock(&u->lock);
    while (!u->ended) {
        if (u->batch.state != ERRAND_ASKED && !u->restock) {
            pthread_cond_wait(&u->work, &u->lock);
            continue;
        }
        if (u->batch.state != ERRAND_ASKED) {
            u->restock = false;
            pthread_mutex_unlock(&u->lock);
            fill_stock(w);
            pthread_mutex_lock(&u->lock);
            continue;
        }
        pthread_mutex_unlock(&u->lock);
        upload_make_marks(w, &u->batch);
        pthread_mutex_lock(&u->lock);
        u->restock = u->batch.code >= 0 && u->storage->ops->reserve_stocked;
        u->batch.state = ERRAND_DONE;
        stage_wake(u->stage);
    }
    pthread_mutex_unlock(&u->lock);
    return NULL;
}

static void run_errand(struct worker *w, struct errand *x)
{
    const struct storage_ops *ops = w->upload->storage->ops;
    x->failure = (struct storage_failure){.trouble = STORAGE_WELL};
    x->error = (struct err){0};
    x->code = need_session(w, &x->failure, &x->error);
    x->again_ms = UPLOAD_ERRAND_AGAIN_MS;
    if (x->code < 0)
        return;
    switch (x->kind) {
    case ERRAND_TEND:
        x->again_ms = ops->tend(w->session);
        break;
    case ERRAND_ROOM:
        x->code = ops->free_bytes(w->session, &x->free_bytes, &x->error);
        break;
    case ERRAND_STAR:
        x->code = ops->star(w->session, &x->mark, x->job.starred, &x->failure, &x->error);
        break;
    case ERRAND_ARCHIVE:
        x->code = ops->archive(w->session, clock_wall(), &x->failure, &x->error);
        break;
    case ERRAND_KIND_COUNT:
        break;
    }
}

void *upload_errand_main(void *arg)
{
    struct worker *w = arg;
    struct upload_self *u = w->upload;
    prepare_thread("upload.tidy");
    pthread_mutex_lock(&u->lock);
    while (!u->ended) {
        if (u->errand.state != ERRAND_ASKED) {
            pthread_cond_wait(&u->work, &u->lock);
            continue;
        }
        pthread_mutex_unlock(&u->lock);
        run_errand(w, &u->errand);
        pthread_mutex_lock(&u->lock);
        u->errand.state = ERRAND_DONE;
        stage_wake(u->stage);
    }
    pthread_mutex_unlock(&u->lock);
    return NULL;
}
