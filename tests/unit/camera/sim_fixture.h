#pragma once
/* Simulated cameras in a thread of the test, pictures for them, and a fetcher driven until its
 * result came. */

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <dirent.h>

#include "base/fsutil.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "camera/fetcher.h"
#include "sim/camera_sim.h"
#include "sys/httpc.h"

/* A 16x16 grey picture, made for these tests. */
static const unsigned char tiny_jpeg[] = {
    0xff, 0xd8, 0xff, 0xe0, 0x00, 0x10, 0x4a, 0x46, 0x49, 0x46, 0x00, 0x01, 0x01, 0x00, 0x00, 0x01,
    0x00, 0x01, 0x00, 0x00, 0xff, 0xdb, 0x00, 0x43, 0x00, 0x50, 0x37, 0x3c, 0x46, 0x3c, 0x32, 0x50,
    0x46, 0x41, 0x46, 0x5a, 0x55, 0x50, 0x5f, 0x78, 0xc8, 0x82, 0x78, 0x6e, 0x6e, 0x78, 0xf5, 0xaf,
    0xb9, 0x91, 0xc8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc0, 0x00, 0x0b, 0x08, 0x00, 0x10,
    0x00, 0x10, 0x01, 0x01, 0x11, 0x00, 0xff, 0xc4, 0x00, 0x15, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x03, 0xff, 0xc4, 0x00, 0x1d,
    0x10, 0x00, 0x02, 0x02, 0x01, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x01, 0x02, 0x00, 0x03, 0x11, 0x04, 0x21, 0x31, 0x51, 0x91, 0xff, 0xda, 0x00, 0x08, 0x01,
    0x01, 0x00, 0x00, 0x3f, 0x00, 0x8d, 0x42, 0x32, 0xbc, 0x2a, 0x96, 0x3c, 0x01, 0x93, 0x0b, 0x50,
    0x88, 0xb4, 0x95, 0xd3, 0xb9, 0x1d, 0x63, 0xdd, 0xa7, 0xff, 0xd9};

/* The tiny picture blown up by comment segments, so that it does not fit into one packet. */
static inline void make_jpeg(struct dynbuf *out, int comments)
{
    dynbuf_init(out, 16 << 20);
    assert_int_equal(dynbuf_append(out, tiny_jpeg, 2), 0);
    for (int i = 0; i < comments; i++) {
        static const unsigned char mark[] = {0xff, 0xfe, 0xff, 0xff};
        assert_int_equal(dynbuf_append(out, mark, sizeof(mark)), 0);
        for (int k = 0; k < 65533; k++)
            assert_int_equal(dynbuf_append(out, "c", 1), 0);
    }
    assert_int_equal(dynbuf_append(out, tiny_jpeg + 2, sizeof(tiny_jpeg) - 2), 0);
}

struct sim_fixture {
    char dir[64];
    struct camera_sim *sim;
    pthread_t thread;
    int stop_fd;
};

static inline void *sim_thread(void *arg)
{
    struct sim_fixture *s = arg;
    struct err e = {0};
    if (camera_sim_run(s->sim, s->stop_fd, &e) < 0)
        fprintf(stderr, "simulator: %s\n", e.text);
    return NULL;
}

/* Starts `o` (its sources are filled in here: `count` cameras, all with the same frame). */
static inline void sim_start(struct sim_fixture *s, struct camera_sim_options *o, size_t count)
{
    text_copy(s->dir, sizeof(s->dir), "/tmp/test-camera-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    AUTO_DONE(dynbuf) jpeg;
    make_jpeg(&jpeg, 3);
    AUTO_FREE char *path = xasprintf("%s/frame1.jpg", s->dir);
    struct err e = {0};
    assert_int_equal(fs_create_synced(AT_FDCWD, path, jpeg.data, jpeg.len, 0600, &e), 0);
    struct camera_sim_source *sources = xcalloc(count, sizeof(*sources));
    for (size_t i = 0; i < count; i++)
        sources[i].path = s->dir;
    o->listen = "127.0.0.1:0";
    o->sources = sources;
    o->source_count = count;
    if (camera_sim_new(o, &s->sim, &e) < 0)
        fail_msg("simulator: %s", e.text);
    free(sources);
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    assert_true(s->stop_fd >= 0);
    assert_int_equal(pthread_create(&s->thread, NULL, sim_thread, s), 0);
}

static inline void sim_stop(struct sim_fixture *s)
{
    uint64_t one = 1;
    assert_int_equal(write(s->stop_fd, &one, sizeof(one)), sizeof(one));
    pthread_join(s->thread, NULL);
    close(s->stop_fd);
    camera_sim_free(s->sim);
    AUTO_FREE char *path = xasprintf("%s/frame1.jpg", s->dir);
    unlink(path);
    rmdir(s->dir);
}

/* GETs a control page of the i-th camera; the body as text in `ret`. */
static inline void sim_get(struct sim_fixture *s, size_t i, const char *path, struct dynbuf *ret)
{
    AUTO_FREE char *url = xasprintf("http://%s%s", camera_sim_address(s->sim, i), path);
    struct httpc_request req = {.url = url};
    struct httpc_reply reply;
    struct err e = {0};
    if (httpc_fetch(&req, &reply, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(reply.status, 200);
    dynbuf_init(ret, 1 << 20);
    if (reply.body)
        assert_int_equal(dynbuf_append(ret, reply.body->data, reply.body->size), 0);
    httpc_reply_done(&reply);
}

static inline void sim_fault(struct sim_fixture *s, size_t i, const char *fault)
{
    AUTO_DONE(dynbuf) path, body;
    dynbuf_init(&path, 4096);
    dynbuf_puts(&path, "/sim/fault?set=");
    httpc_escape(&path, fault, strlen(fault));
    sim_get(s, i, dynbuf_str(&path), &body);
}

/* A number out of the ledger page. */
static inline long sim_stat(struct sim_fixture *s, size_t i, const char *name)
{
    AUTO_DONE(dynbuf) body;
    sim_get(s, i, "/sim/stats", &body);
    AUTO_FREE char *key = xasprintf("\"%s\":", name);
    const char *at = strstr(dynbuf_str(&body), key);
    assert_non_null(at);
    return strtol(at + strlen(key), NULL, 10);
}

static inline struct camera test_camera(const char *name, const char *kind)
{
    return (struct camera){
        .name = name,
        .device_key = name,
        .device_label = name,
        .directory = name,
        .kind = kind,
        .enabled = true,
        .address = "",
        .url = "",
        .user = "",
        .password = "",
        .command = "",
        .tls_verify = true,
        .connect_timeout_ms = 20000,
        .stall_timeout_ms = 20000,
        .total_timeout_ms = 60000,
        .size_max = 8 << 20,
        .tries = 3,
    };
}

struct outcome {
    bool done;
    int code;
    enum camera_fault fault;
    struct err error;
    size_t size;
    bool bytes_right;
    long retry_after_s;
    double elapsed_ms;
    enum camera_freshness freshness;
};

static inline void keep_outcome(void *arg, const struct fetch_result *r)
{
    (void)arg;
    struct outcome *o = r->ticket;
    *o = (struct outcome){
        .done = true,
        .code = r->code,
        .fault = r->fault,
        .retry_after_s = r->retry_after_s,
        .elapsed_ms = r->elapsed_ms,
        .freshness = r->freshness,
        .size = r->bytes ? r->bytes->size : 0,
        .bytes_right =
            r->bytes && r->bytes->size > sizeof(tiny_jpeg) &&
            !memcmp(r->bytes->data + r->bytes->size - 32, tiny_jpeg + sizeof(tiny_jpeg) - 32, 32),
    };
    if (r->code < 0)
        o->error = *r->error;
}

static inline void drive(struct fetcher *f, const bool *done)
{
    while (!*done) {
        struct pollfd p = {.fd = fetcher_fd(f), .events = POLLIN};
        /* A watchdog only: a lost wake-up must fail the test and not hang it. */
        int n = poll(&p, 1, 120000);
        if (n == 0)
            fail_msg("the fetcher never woke up");
        fetcher_process(f);
    }
}

static inline struct outcome fetch_once(struct fetcher *f, const struct camera *cam, bool by_person)
{
    struct outcome o = {0};
    struct err e = {0};
    int r = fetcher_start(f, cam, by_person, &o, &e);
    if (r < 0) {
        o.code = r;
        o.error = e;
        return o;
    }
    drive(f, &o.done);
    return o;
}

static inline int count_fds(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}
