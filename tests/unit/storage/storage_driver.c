/* storage_driver CONFIG NAME: opens one storage of a configuration and does with it what the lines
 * on standard input say, each a JSON object with "op", and answers each with a line of JSON: so
 * that Python may hold servers of other people behind it. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/mem.h"
#include "base/text.h"
#include "storage/registry.h"
#include "sys/hash.h"
#include "sys/json.h"

enum { THREADS_MAX = 32 };

struct job {
    struct storage *storage;
    struct storage_session *session; /* NULL = makes its own */
    const json_t *object;
    json_t *answer;
};

static const char *text(const json_t *j, const char *key, const char *fallback)
{
    const char *s = json_string_value(json_object_get(j, key));
    return s ? s : fallback;
}

static int count_save(void *arg, const struct storage_mark *mark UNUSED, struct err *e UNUSED)
{
    ++*(int *)arg;
    return 0;
}

/* Bytes that are told by their size and a seed. */
static struct blob *bytes_of(const json_t *j)
{
    size_t size = (size_t)json_integer_value(json_object_get(j, "size"));
    uint32_t seed = (uint32_t)json_integer_value(json_object_get(j, "seed"));
    uint8_t *bytes = xmalloc(size + 1);
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(seed >> 24);
    }
    return blob_new_take(bytes, size);
}

static void *one_job(void *arg)
{
    struct job *job = arg;
    const json_t *j = job->object;
    const char *op = text(j, "op", "");
    struct storage_session *w = job->session;
    struct storage *s = job->storage;
    struct err e = {0};
    struct storage_failure f = {0};
    int stop_fd = eventfd(0, EFD_CLOEXEC);
    if (!w && s->ops->session_new(s, stop_fd, NULL, &w, &e) < 0)
        abort();

    char md5[HASH_MD5_HEX], sha256[HASH_SHA256_HEX];
    AUTO(blob) bytes = bytes_of(j);
    hash_md5_hex(bytes->data, bytes->size, md5);
    hash_sha256_hex(bytes->data, bytes->size, sha256);
    const char *path = text(j, "path", "front/2026/01/02/human_front_1.jpg");
    const char *slash = strrchr(path, '/');
    struct storage_object o = {.snapshot_id = text(j, "id", "0123456789abcdef"),
                               .name = slash ? slash + 1 : path,
                               .path = path,
                               .content_type = text(j, "type", "image/jpeg"),
                               .bytes = bytes,
                               .md5 = md5,
                               .sha256 = sha256,
                               .taken_at = {1767323045000000},
                               .camera = text(j, "camera", "front"),
                               .device_label = text(j, "label", "Front Door"),
                               .labels = text(j, "labels", "person,car")};
    struct storage_mark mark = {0};
    int saves = 0;
    int r = s->ops->reserve(w, &o, &mark, 1, &f, &e);
    /* "key": of an attempt before. */
    if (json_object_get(j, "key") && !text_copy(mark.id, sizeof(mark.id), text(j, "key", "")))
        abort();
    if (r == 0 && !strcmp(op, "put"))
        r = s->ops->put(w, &o, &mark, count_save, &saves, &f, &e);
    else if (r == 0 && !strcmp(op, "verify"))
        r = s->ops->verify(w, &o, &mark, &f, &e);
    job->answer =
        json_pack("{si ss ss ss sI sb si ss ss ss}", "code", r, "error", e.text, "retry",
                  err_retry_name(e.retry), "trouble", r < 0 ? storage_trouble_names[f.trouble] : "",
                  "pause_ms", (json_int_t)f.pause_ms, "asked_nobody", (int)f.asked_nobody, "saves",
                  saves, "key", mark.id, "md5", md5, "sha256", sha256);
    if (!job->session)
        s->ops->session_free(w);
    (void)close(stop_fd);
    return NULL;
}

/* {"op": "all", "jobs": [...], "threads": n}: n at a time. */
static json_t *many(struct storage *s, const json_t *j)
{
    const json_t *list = json_object_get(j, "jobs");
    size_t count = json_array_size(list);
    json_t *answers = json_array();
    for (size_t begin = 0; begin < count; begin += THREADS_MAX) {
        struct job jobs[THREADS_MAX];
        pthread_t threads[THREADS_MAX];
        size_t n = MIN(count - begin, (size_t)THREADS_MAX);
        for (size_t i = 0; i < n; i++) {
            jobs[i] = (struct job){.storage = s, .object = json_array_get(list, begin + i)};
            if (pthread_create(&threads[i], NULL, one_job, &jobs[i]) != 0)
                abort();
        }
        for (size_t i = 0; i < n; i++) {
            pthread_join(threads[i], NULL);
            json_array_append_new(answers, jobs[i].answer);
        }
    }
    return answers;
}

static json_t *obey(struct storage *s, struct storage_session *w, const json_t *j)
{
    const char *op = text(j, "op", "");
    if (!strcmp(op, "all"))
        return many(s, j);
    if (!strcmp(op, "describe")) {
        struct storage_state state;
        s->ops->describe(s, &state);
        return json_pack("{ss ss ss}", "text", state.text, "error", state.error, "url", state.url);
    }
    struct job job = {.storage = s, .session = w, .object = j};
    one_job(&job);
    return job.answer;
}

static struct storage *open_storage(struct cfg *cfg, const char *name)
{
    static struct storage_plan plans[STORAGES_MAX];
    static struct storage *list[2];
    size_t count = storage_plans(NULL, cfg, plans, STORAGES_MAX);
    struct err e = {0};
    for (size_t i = 0; i < count; i++)
        if (!strcmp(plans[i].name, name)) {
            if (storage_open_all(&plans[i], 1, cfg, ".", list, &e) == 0)
                return list[0];
            (void)fprintf(stderr, "%s\n", e.text);
            return NULL;
        }
    (void)fprintf(stderr, "there is no storage %s\n", name);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    const struct storage_kind *const *kinds = storage_kinds();
    const struct cfg_section *sections[STORAGES_MAX] = {NULL};
    for (size_t i = 0; kinds[i] && i + 1 < STORAGES_MAX; i++)
        sections[i] = kinds[i]->section;
    struct cfg_schema schema = {.sections = sections};
    struct cfg_source source = {.path = argv[1]};
    AUTO(cfg) cfg = NULL;
    AUTO_FREE char *faults = NULL;
    if (cfg_load(&schema, &source, &cfg, &faults, NULL) < 0) {
        (void)fprintf(stderr, "%s", faults ? faults : "no memory\n");
        return 1;
    }
    struct storage *s = open_storage(cfg, argv[2]);
    struct storage_session *w = NULL;
    struct err e = {0};
    int stop_fd = eventfd(0, EFD_CLOEXEC);
    if (!s || s->ops->session_new(s, stop_fd, NULL, &w, &e) < 0)
        return 1;
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        AUTO_JSON json_t *j = json_loads(line, 0, NULL);
        if (!j)
            return 1;
        AUTO_JSON json_t *answer = obey(s, w, j);
        AUTO_FREE char *out = json_dumps(answer, JSON_COMPACT);
        (void)puts(out);
        (void)fflush(stdout);
    }
    free(line);
    s->ops->session_free(w);
    s->ops->free(s);
    (void)close(stop_fd);
    return 0;
}
