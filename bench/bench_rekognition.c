/* What asking Rekognition costs on our side, measured against a bare POST of the same bytes to the
 * same server, in turns.
 *
 *   bench_rekognition URL PICTURE ROUNDS                 time and processor of one call, and of a
 * POST bench_rekognition URL PICTURE CALLS THREADS PACE     calls a second; PACE 0 = no limit
 *
 * Prints JSON. The server is tests/fakes/rekognition.py; the POST is made with our HTTP client, its
 * body ready, unsigned, and its answer is not looked at. `least` is such a POST whose body was made
 * for it and hashed once: what nobody who asks Rekognition can do without. */

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/parse.h"
#include "detect/rekognition.h"
#include "detect/rekognition_picture.h"
#include "sys/hash.h"
#include "sys/http_call.h"

struct bench {
    const char *url;
    struct blob *picture;
    struct dynbuf body;
    struct detector *detector;
    atomic_long left;
    bool bare;
};

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "bench_rekognition: %s: %s\n", what, e->text);
    exit(1);
}

static void post(struct bench *b, struct http_client *http, const struct dynbuf *body)
{
    static const char *const headers[] = {"Content-Type: application/x-amz-json-1.1",
                                          "X-Amz-Target: RekognitionService.DetectLabels", NULL};
    struct httpc_request request = {.method = "POST",
                                    .url = b->url,
                                    .headers = headers,
                                    .body = body->data,
                                    .body_size = body->len};
    AUTO_DONE(http_answer) answer = {0};
    struct err e = {0};
    if (http_call(http, &request, NULL, &answer, NULL, &e) < 0 || answer.status != 200)
        die("POST", &e);
}

static void make_body(struct bench *b, struct dynbuf *ret)
{
    struct err e = {0};
    if (rekognition_body(b->picture, 50, 0.55, ret, &e) < 0)
        die("body", &e);
}

static void post_least(struct bench *b, struct http_client *http)
{
    AUTO_DONE(dynbuf) body;
    char digest[HASH_SHA256_HEX];
    make_body(b, &body);
    hash_sha256_hex(body.data, body.len, digest);
    post(b, http, &body);
}

static void ask(struct bench *b)
{
    struct detect_request request = {.bytes = b->picture, .confidence_min = -1};
    AUTO_DONE(verdict) v = {0};
    struct err e = {0};
    if (b->detector->ops->detect(b->detector, &request, &v, &e) < 0)
        die("detect", &e);
}

static void *work(void *arg)
{
    struct bench *b = arg;
    AUTO(http_client) http = NULL;
    struct err e = {0};
    if (http_client_new(-1, &http, &e) < 0)
        die("client", &e);
    while (atomic_fetch_sub(&b->left, 1) > 0) {
        if (b->bare)
            post(b, http, &b->body);
        else
            ask(b);
    }
    return NULL;
}

static double per_second(struct bench *b, long calls, int threads, bool bare)
{
    pthread_t pool[REKOGNITION_IN_FLIGHT_MAX];
    atomic_store(&b->left, calls);
    b->bare = bare;
    struct mono_time begin = clock_mono();
    for (int i = 0; i < threads; i++)
        if (pthread_create(&pool[i], NULL, work, b) != 0)
            exit(1);
    for (int i = 0; i < threads; i++)
        pthread_join(pool[i], NULL);
    return (double)calls / mono_diff_ms(clock_mono(), begin) * 1000;
}

static double cpu_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), by_value);
    return values[count / 2];
}

enum side { SIDE_POST, SIDE_LEAST, SIDE_ASK, SIDE_COUNT };

static void do_side(struct bench *b, struct http_client *http, enum side side)
{
    if (side == SIDE_POST)
        post(b, http, &b->body);
    else if (side == SIDE_LEAST)
        post_least(b, http);
    else
        ask(b);
}

static void one_by_one(struct bench *b, int rounds)
{
    static const char *const names[SIDE_COUNT] = {"post", "least", "ask"};
    double *times[2 * SIDE_COUNT];
    AUTO(http_client) http = NULL;
    struct err e = {0};
    if (http_client_new(-1, &http, &e) < 0)
        die("client", &e);
    for (int i = 0; i < 2 * SIDE_COUNT; i++)
        times[i] = xcalloc((size_t)rounds, sizeof(double));
    post(b, http, &b->body); /* both have their connection */
    ask(b);
    for (int i = 0; i < rounds; i++) {
        for (int side = 0; side < SIDE_COUNT; side++) {
            struct mono_time begin = clock_mono();
            double cpu = cpu_ms();
            do_side(b, http, (enum side)side);
            times[2 * side][i] = mono_diff_ms(clock_mono(), begin);
            times[2 * side + 1][i] = cpu_ms() - cpu;
        }
    }
    printf("{\"bytes\": %zu", b->picture->size);
    for (int i = 0; i < SIDE_COUNT; i++)
        printf(", \"%s_ms\": %.3f, \"%s_cpu_ms\": %.3f", names[i], median(times[2 * i], rounds),
               names[i], median(times[2 * i + 1], rounds));
    printf("}\n");
    for (int i = 0; i < 2 * SIDE_COUNT; i++)
        free(times[i]);
}

static int number(const char *text)
{
    int64_t n;
    if (parse_int64(text, strlen(text), 0, 1000000, &n) < 0)
        exit(2);
    return (int)n;
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 6) {
        fprintf(stderr, "usage: bench_rekognition URL PICTURE ROUNDS [THREADS PACE]\n");
        return 2;
    }
    struct bench b = {.url = argv[1]};
    int count = number(argv[3]), threads = argc == 6 ? number(argv[4]) : 1;
    struct rekognition_options o = {
        .regions = {{"eu-west-1", argv[1]}},
        .region_count = 1,
        .login = {.access_key = "AKID", .secret_key = "secret"},
        .confidence_min = 0.55,
        .labels_max = 50,
        .in_flight = threads,
        .calls_per_second = argc == 6 ? number(argv[5]) : 0,
        .timeout_ms = 30000,
        .patience_ms = 600000,
        .limits = picture_limits_default,
        .stop_fd = -1,
    };
    struct err e = {0};
    if (fs_read_blob(AT_FDCWD, argv[2], REKOGNITION_BYTES_MAX, &b.picture, &e) < 0 ||
        rekognition_open(&o, &b.detector, &e) < 0)
        die("begin", &e);
    make_body(&b, &b.body);
    if (argc == 4) {
        one_by_one(&b, count);
    } else {
        double bare = per_second(&b, count, threads, true);
        printf("{\"post_per_second\": %.3f, \"ask_per_second\": %.3f}\n", bare,
               per_second(&b, count, threads, false));
    }
    b.detector->ops->close(b.detector);
    dynbuf_done(&b.body);
    blob_unref(b.picture);
    return 0;
}
