/* Does what the lines on its standard input say, each a JSON object with "op", and answers each
 * with a line of JSON: so that Python can judge what this program signs and whom it asks. Prints
 * secrets, which are the test's own. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "aws/aws_chain.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/json.h"

enum { STRINGS_MAX = 64, THREADS_MAX = 32 };

static struct aws_chain *chain;
static int64_t advanced_us;

static struct mono_time shifted_mono(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (struct mono_time){(int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000 + advanced_us};
}

static const char *text(const json_t *j, const char *key)
{
    return json_string_value(json_object_get(j, key));
}

static const char *const *texts(const json_t *j, const char *key, const char *ret[STRINGS_MAX])
{
    const json_t *list = json_object_get(j, key);
    size_t n = json_array_size(list);
    if (!list || n >= STRINGS_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++)
        ret[i] = json_string_value(json_array_get(list, i));
    ret[n] = NULL;
    return ret;
}

static json_t *sign(const json_t *j)
{
    const char *query[STRINGS_MAX], *headers[STRINGS_MAX];
    struct aws_credentials c = {0};
    text_copy(c.access_key, sizeof(c.access_key), text(j, "access_key"));
    text_copy(c.secret_key, sizeof(c.secret_key), text(j, "secret_key"));
    if (text(j, "token"))
        text_copy(c.session_token, sizeof(c.session_token), text(j, "token"));
    const char *body = text(j, "body");
    struct aws_request r = {.method = text(j, "method"),
                            .host = text(j, "host"),
                            .path = text(j, "path"),
                            .query = texts(j, "query", query),
                            .headers = texts(j, "headers", headers),
                            .body = body,
                            .body_size = body ? strlen(body) : 0,
                            .payload_hash = text(j, "payload_hash"),
                            .region = text(j, "region"),
                            .service = text(j, "service"),
                            .path_encoded_once = json_is_true(json_object_get(j, "once"))};
    struct wall_time now = wall_from_seconds(json_integer_value(json_object_get(j, "time")));
    AUTO_DONE(aws_signed) s = {0};
    struct err e = {0};
    int code = aws_sign(&r, &c, now, &s, &e);
    if (code < 0)
        return json_pack("{si ss}", "code", code, "error", e.text);
    json_t *list = json_array();
    for (int i = 0; s.headers[i]; i++)
        json_array_append_new(list, json_string(s.headers[i]));
    return json_pack("{si ss so}", "code", 0, "url", dynbuf_str(&s.url), "headers", list);
}

static json_t *open_chain(const json_t *j)
{
    struct aws_chain_options o = {
        .profile = text(j, "profile"),
        .access_key = text(j, "access_key"),
        .secret_key = text(j, "secret_key"),
        .role_arn = text(j, "role_arn"),
        .region = text(j, "region"),
        .session_name = text(j, "session_name"),
        .endpoint_sts = text(j, "sts"),
        .endpoint_metadata = text(j, "metadata"),
    };
    struct err e = {0};
    aws_chain_free(chain);
    chain = NULL;
    int code = aws_chain_new(&o, &chain, &e);
    return json_pack("{si ss}", "code", code, "error", e.text);
}

static json_t *get(int stop_fd)
{
    struct aws_credentials c = {0};
    struct err e = {0};
    char source[128];
    int code = aws_chain_get(chain, stop_fd, &c, &e);
    aws_chain_describe(chain, source, sizeof(source));
    const char *region = aws_chain_region(chain);
    return json_pack("{si ss ss ss ss ss ss ss sI}", "code", code, "error", e.text, "retry",
                     err_retry_name(e.retry), "key", c.access_key, "secret", c.secret_key, "token",
                     c.session_token, "source", source, "region", region ? region : "", "expires",
                     (json_int_t)wall_seconds(c.expires));
}

static void *get_in_thread(void *arg)
{
    return get(*(int *)arg);
}

static json_t *get_many(int count, bool stopped)
{
    pthread_t threads[THREADS_MAX];
    int stop_fd = eventfd(stopped, EFD_CLOEXEC);
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, get_in_thread, &stop_fd) != 0)
            abort();
    for (int i = 0; i < count; i++) {
        void *one = NULL;
        pthread_join(threads[i], &one);
        json_array_append_new(list, one);
    }
    (void)close(stop_fd);
    return list;
}

static json_t *obey(const json_t *j)
{
    const char *op = text(j, "op");
    if (!strcmp(op, "sign"))
        return sign(j);
    if (!strcmp(op, "open"))
        return open_chain(j);
    if (!strcmp(op, "get"))
        return get(-1);
    if (!strcmp(op, "many"))
        return get_many((int)json_integer_value(json_object_get(j, "count")), false);
    if (!strcmp(op, "stopped"))
        return get_many(1, true);
    if (!strcmp(op, "advance")) {
        advanced_us += json_integer_value(json_object_get(j, "s")) * 1000000;
        return json_object();
    }
    if (!strcmp(op, "expired")) {
        struct aws_credentials used = {0};
        text_copy(used.access_key, sizeof(used.access_key), text(j, "key"));
        text_copy(used.session_token, sizeof(used.session_token), text(j, "token"));
        aws_chain_expired(chain, &used);
        return json_object();
    }
    abort();
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    clock_set_mono_source(shifted_mono);
    while (getline(&line, &size, stdin) > 0) {
        AUTO_JSON json_t *j = json_loads(line, 0, NULL);
        if (!j)
            return 1;
        AUTO_JSON json_t *answer = obey(j);
        AUTO_FREE char *out = json_dumps(answer, JSON_COMPACT | JSON_ENCODE_ANY);
        puts(out);
        fflush(stdout);
    }
    free(line);
    aws_chain_free(chain);
    return 0;
}
