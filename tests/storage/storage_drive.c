/* Drives a storage by lines on standard input: one command, one line of answer ("ok COMMAND ..." or
 * "error COMMAND errno=N retry=R trouble=T pause=MS text").
 *
 *   open CONFIG DATA_DIR NOTES [STORAGE]   the storage of a configuration, by its name when there
 *                                          are several; NOTES stands for the ledger: marks and the
 *                                          storage's memory, durable as soon as they are written
 *   put NAME SIZE [taken=ISO] [starred=1] [camera=C] [labels=L]
 *   many PREFIX COUNT SIZE PARALLEL [taken=ISO]   puts PREFIX0.jpg ..., each until it is there
 *   later MS               time goes on by so much at once
 *   stall MS               how long Google Drive may say nothing
 *   verify NAME SIZE | star NAME 1|0 | archive [now=ISO] | free | describe | quit
 *
 * A picture's bytes come from its name and size, so that a test can make them too: the MD5 of
 * "NAME SIZE", repeated and cut. A mark is made and noted once; a put after a restart goes on with
 * it. */

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "storage/gdrive_internal.h"
#include "storage/registry.h"
#include "sys/hash.h"

#define LINE_WORDS_MAX 24
#define PARALLEL_MAX 64
#define PAUSE_MS 20 /* between two attempts of "many": a test has no time for a real back-off */

struct note {
    char *key, *value;
};
/* The ledger of this program: a line per change, the last of a key counts. */
static struct {
    pthread_mutex_t lock;
    FILE *file;
    struct note *notes;
    size_t count, room;
} ledger = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct storage *list[STORAGES_MAX + 1], *storage;
static struct storage_session *session;
static struct storage_plan plans[STORAGES_MAX];
static struct cfg *cfg;
static int stop_pipe[2];
static char line[4096], *words[LINE_WORDS_MAX];
static int word_count;

static bool run(void);

static atomic_llong time_ahead_us;

static struct mono_time mono_ahead(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (struct mono_time){(int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000 +
                              atomic_load(&time_ahead_us)};
}

int main(void)
{
    clock_set_mono_source(mono_ahead);
    (void)signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    log_set_fd(1);
    if (pipe(stop_pipe) < 0)
        return 1;
    while (fgets(line, sizeof(line), stdin) && run())
        continue;
    if (session)
        storage->ops->session_free(session);
    storage_close_all(list);
    cfg_unref(cfg);
    for (size_t i = 0; i < ledger.count; i++) {
        free(ledger.notes[i].key);
        free(ledger.notes[i].value);
    }
    free(ledger.notes);
    if (ledger.file)
        (void)fclose(ledger.file);
    return 0;
}

/* ---- notes ---- */

static struct note *note_of(const char *key)
{
    for (size_t i = ledger.count; i-- > 0;)
        if (!strcmp(ledger.notes[i].key, key))
            return &ledger.notes[i];
    if (ledger.count == ledger.room) {
        ledger.room = ledger.room ? 2 * ledger.room : 64;
        ledger.notes = xrealloc(ledger.notes, ledger.room * sizeof(*ledger.notes));
    }
    struct note *n = &ledger.notes[ledger.count++];
    *n = (struct note){.key = xstrdup(key)};
    return n;
}

static int note_get(void *arg, const char *key, char *ret, size_t size, struct err *e)
{
    (void)arg;
    (void)pthread_mutex_lock(&ledger.lock);
    const struct note *n = note_of(key);
    int r = n->value ? (text_copy(ret, size, n->value) ? 0 : -ENOSPC) : -ENOENT;
    (void)pthread_mutex_unlock(&ledger.lock);
    return r < 0 ? err_set(e, r, ERR_NEVER, "no note '%s'", key) : 0;
}

static int note_set(void *arg, const char *key, const char *value, struct err *e)
{
    (void)arg;
    (void)pthread_mutex_lock(&ledger.lock);
    struct note *n = note_of(key);
    free(n->value);
    n->value = xstrdup(value);
    /* One write(2) is as durable as a kill of the process needs. */
    int r = fprintf(ledger.file, "%s\t%s\n", key, value ? value : "") < 0 ? -EIO : 0;
    if (fflush(ledger.file) != 0)
        r = -EIO;
    (void)pthread_mutex_unlock(&ledger.lock);
    return r < 0 ? err_errno(e, r, "notes") : 0;
}

static const struct storage_memory memory = {.get = note_get, .set = note_set};

static int open_notes(const char *path, struct err *e)
{
    char text[8192];
    ledger.file = fopen(path, "a+e");
    if (!ledger.file)
        return err_errno(e, -errno, "%s", path);
    rewind(ledger.file);
    while (fgets(text, sizeof(text), ledger.file)) {
        char *value = strchr(text, '\t'), *end = strchr(text, '\n');
        if (!value || !end)
            continue; /* the last line of a process that was killed */
        *value++ = '\0';
        *end = '\0';
        struct note *n = note_of(text);
        free(n->value);
        n->value = *value ? xstrdup(value) : NULL;
    }
    return 0;
}

/* A mark as one line: id, resume, url, with a blank between; none of them has one. */
static int save_mark(void *arg, const struct storage_mark *m, struct err *e)
{
    char text[sizeof(*m) + 8];
    (void)text_format(text, sizeof(text), "%s %s %s", m->id, m->resume[0] ? m->resume : "-",
                      m->url[0] ? m->url : "-");
    return note_set(NULL, arg, text, e);
}

static int load_mark(const char *key, struct storage_mark *m)
{
    char text[sizeof(*m) + 8];
    *m = (struct storage_mark){0};
    if (note_get(NULL, key, text, sizeof(text), NULL) < 0)
        return -ENOENT;
    char *rest = text, *parts[3] = {strsep(&rest, " "), strsep(&rest, " "), rest};
    (void)text_copy(m->id, sizeof(m->id), parts[0]);
    if (parts[1] && strcmp(parts[1], "-") != 0)
        (void)text_copy(m->resume, sizeof(m->resume), parts[1]);
    if (parts[2] && strcmp(parts[2], "-") != 0)
        (void)text_copy(m->url, sizeof(m->url), parts[2]);
    return 0;
}

/* ---- words ---- */

static const char *option(const char *key, const char *fallback)
{
    size_t len = strlen(key);
    for (int i = 1; i < word_count; i++)
        if (!strncmp(words[i], key, len) && words[i][len] == '=')
            return words[i] + len + 1;
    return fallback;
}

static int64_t number_of(const char *s)
{
    int64_t value = 0;
    if (parse_int64(s, strlen(s), INT64_MIN, INT64_MAX, &value) < 0) {
        fprintf(stderr, "storage_drive: '%s' is no number\n", s);
        exit(2);
    }
    return value;
}

static struct wall_time time_option(const char *key)
{
    struct wall_time t = clock_wall();
    const char *text = option(key, NULL);
    if (text && wall_parse_iso(text, &t) < 0) {
        fprintf(stderr, "storage_drive: '%s' is no time\n", text);
        exit(2);
    }
    return t;
}

static void answer(int r, const struct storage_failure *f, const struct err *e, const char *fine)
{
    if (r >= 0)
        printf("ok %s %s\n", words[0], fine);
    else
        printf("error %s errno=%d retry=%s trouble=%s pause=%lld %s\n", words[0], -r,
               err_retry_name(e->retry), storage_trouble_names[f->trouble], (long long)f->pause_ms,
               e->text);
}

/* ---- pictures ---- */

struct picture {
    char name[128], path[192], md5[HASH_MD5_HEX], sha256[HASH_SHA256_HEX];
    char id[SNAPSHOT_ID_SIZE], key[160];
    struct storage_object o;
    struct blob *bytes;
};

static void make_picture(struct picture *p, const char *name, size_t size)
{
    char seed[160], sha256[HASH_SHA256_HEX];
    *p = (struct picture){0};
    (void)text_copy(p->name, sizeof(p->name), name);
    (void)text_format(p->path, sizeof(p->path), "front/2026/01/02/%s", name);
    (void)text_format(p->key, sizeof(p->key), "mark:%s", name);
    (void)text_format(seed, sizeof(seed), "%s %zu", name, size);
    hash_md5_hex(seed, strlen(seed), p->md5);
    char *data = xmalloc(size + 1);
    for (size_t i = 0; i < size; i++)
        data[i] = p->md5[i % 32];
    p->bytes = blob_new_take(data, size);
    hash_sha256_hex(name, strlen(name), sha256);
    (void)text_copy(p->id, sizeof(p->id), sha256);
    hash_md5_hex(p->bytes->data, size, p->md5);
    hash_sha256_hex(p->bytes->data, size, p->sha256);
    p->o = (struct storage_object){.snapshot_id = p->id,
                                   .name = p->name,
                                   .path = p->path,
                                   .content_type = "image/jpeg",
                                   .bytes = p->bytes,
                                   .md5 = p->md5,
                                   .sha256 = p->sha256,
                                   .taken_at = time_option("taken"),
                                   .camera = option("camera", "front"),
                                   .device_label = "Front Door",
                                   .labels = option("labels", "person"),
                                   .starred = option("starred", "0")[0] == '1'};
}

static int put_one(struct storage_session *w, struct picture *p, struct storage_mark *m,
                   struct storage_failure *f, struct err *e)
{
    int r = 0;
    if (load_mark(p->key, m) < 0) {
        r = storage->ops->reserve(w, &p->o, m, 1, f, e);
        if (r == 0)
            r = save_mark(p->key, m, e);
    }
    if (r == 0)
        r = storage->ops->put(w, &p->o, m, save_mark, p->key, f, e);
    return r;
}

static void put(void)
{
    struct picture p;
    struct storage_mark m = {0};
    struct storage_failure f = {0};
    struct err e = {0};
    char text[sizeof(m.id) + sizeof(m.url) + 16];
    make_picture(&p, words[1], (size_t)number_of(words[2]));
    int r = put_one(session, &p, &m, &f, &e);
    (void)text_format(text, sizeof(text), "id=%s url=%s", m.id, m.url);
    answer(r, &f, &e, text);
    blob_unref(p.bytes);
}

struct work {
    pthread_mutex_t lock;
    int next, count, attempts;
    const char *prefix;
    size_t size;
    struct err e; /* of one that can never succeed */
};

static void *work(void *arg)
{
    struct work *k = arg;
    struct storage_session *w = NULL;
    struct err e = {0};
    int attempts = 0;
    int r = storage->ops->session_new(storage, stop_pipe[0], &memory, &w, &e);
    while (r == 0) {
        (void)pthread_mutex_lock(&k->lock);
        int i = k->next < k->count ? k->next++ : -1;
        (void)pthread_mutex_unlock(&k->lock);
        if (i < 0)
            break;
        struct picture p;
        char name[100];
        (void)text_format(name, sizeof(name), "%s%d.jpg", k->prefix, i);
        make_picture(&p, name, k->size);
        for (r = -EAGAIN; r < 0; attempts++) {
            struct storage_mark m;
            struct storage_failure f = {0};
            r = put_one(w, &p, &m, &f, &e);
            if (r < 0 && e.retry == ERR_NEVER)
                break;
            if (r < 0) {
                printf("again %s trouble=%s %s\n", name, storage_trouble_names[f.trouble], e.text);
                (void)poll(NULL, 0, PAUSE_MS);
            }
        }
        blob_unref(p.bytes);
    }
    storage->ops->session_free(w);
    (void)pthread_mutex_lock(&k->lock);
    k->attempts += attempts;
    if (r < 0)
        k->e = e;
    (void)pthread_mutex_unlock(&k->lock);
    return NULL;
}

static void many(void)
{
    struct work k = {.lock = PTHREAD_MUTEX_INITIALIZER,
                     .prefix = words[1],
                     .count = (int)number_of(words[2]),
                     .size = (size_t)number_of(words[3])};
    int64_t parallel = number_of(words[4]);
    pthread_t threads[PARALLEL_MAX];
    struct storage_failure f = {0};
    char text[80];
    assert(parallel >= 1 && parallel <= PARALLEL_MAX);
    struct mono_time began = clock_mono();
    for (int i = 0; i < parallel; i++)
        if (pthread_create(&threads[i], NULL, work, &k) != 0)
            abort();
    for (int i = 0; i < parallel; i++)
        (void)pthread_join(threads[i], NULL);
    (void)text_format(text, sizeof(text), "attempts=%d ms=%.0f", k.attempts,
                      mono_diff_ms(clock_mono(), began));
    answer(k.e.code, &f, &k.e, text);
}

/* ---- the other commands ---- */

static int open_storage(struct err *e)
{
    static const struct cfg_section *sections[STORAGES_MAX + 1];
    static const struct cfg_schema schema = {.sections = sections};
    const struct storage_kind *const *kinds = storage_kinds();
    for (int i = 0; kinds[i]; i++)
        sections[i] = kinds[i]->section;
    char *faults = NULL;
    if (cfg_load(&schema, &(struct cfg_source){.path = words[1]}, &cfg, &faults, NULL) < 0) {
        int r = err_set(e, -EINVAL, ERR_NEVER, "%s", faults);
        free(faults);
        return r;
    }
    int r = open_notes(words[3], e);
    size_t count = storage_plans(kinds, cfg, plans, STORAGES_MAX);
    if (r == 0)
        r = storage_open_all(plans, count, cfg, words[2], list, e);
    for (size_t i = 0; r == 0 && list[i]; i++)
        if (!words[4][0] || !strcmp(list[i]->name, words[4]))
            storage = list[i];
    if (r == 0 && !storage)
        r = err_set(e, -ENOENT, ERR_NEVER, "no such storage");
    return r < 0 ? r : storage->ops->session_new(storage, stop_pipe[0], &memory, &session, e);
}

static void describe(void)
{
    struct storage_state s;
    storage->ops->describe(storage, &s);
    printf("ok describe %s | %s | %s\n", s.text, s.error, s.url);
}

static bool run(void)
{
    struct storage_failure f = {0};
    struct err e = {0};
    struct storage_mark m = {0};
    char text[64] = "", key[160];
    int64_t bytes = 0;
    int r;
    word_count = 0;
    char *rest = line;
    for (char *w = strsep(&rest, " \n"); w && word_count < LINE_WORDS_MAX - 1;
         w = strsep(&rest, " \n"))
        if (*w)
            words[word_count++] = w;
    for (int i = word_count; i < LINE_WORDS_MAX; i++)
        words[i] = line + strlen(line); /* a missing word is "" */
    const char *command = words[0];
    (void)text_format(key, sizeof(key), "mark:%s", words[1]);

    if (!strcmp(command, "quit"))
        return false;
    if (!strcmp(command, "open")) {
        answer(open_storage(&e), &f, &e, storage ? storage->name : "");
    } else if (!strcmp(command, "put")) {
        put();
    } else if (!strcmp(command, "many")) {
        many();
    } else if (!strcmp(command, "verify")) {
        struct picture p;
        make_picture(&p, words[1], (size_t)number_of(words[2]));
        (void)load_mark(key, &m);
        r = storage->ops->verify(session, &p.o, &m, &f, &e);
        answer(r, &f, &e, m.id);
        blob_unref(p.bytes);
    } else if (!strcmp(command, "star")) {
        (void)load_mark(key, &m);
        r = storage->ops->star(session, &m, words[2][0] == '1', &f, &e);
        answer(r, &f, &e, m.id);
    } else if (!strcmp(command, "archive")) {
        do
            r = storage->ops->archive(session, time_option("now"), &f, &e);
        while (r == -EINPROGRESS);
        (void)text_format(text, sizeof(text), "%d", r);
        answer(r, &f, &e, text);
    } else if (!strcmp(command, "free")) {
        r = storage->ops->free_bytes(session, &bytes, &e);
        (void)text_format(text, sizeof(text), "%lld", (long long)bytes);
        answer(r, &f, &e, text);
    } else if (!strcmp(command, "later")) {
        (void)atomic_fetch_add(&time_ahead_us, number_of(words[1]) * 1000);
        answer(0, &f, &e, "");
    } else if (!strcmp(command, "stall")) {
        assert(!strcmp(storage->ops->kind, "gdrive"));
        container_of(storage, struct gdrive, storage)->account.stall_ms = number_of(words[1]);
        answer(0, &f, &e, "");
    } else if (!strcmp(command, "describe")) {
        describe();
    } else {
        answer(err_set(&e, -ENOSYS, ERR_NEVER, "no such command"), &f, &e, "");
    }
    return true;
}
