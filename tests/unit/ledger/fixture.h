#pragma once
/* What the tests of the ledger share: a folder of their own, and rows with sensible values. */

#include <assert.h>
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/macros.h"
#include "base/text.h"
#include "ledger/ledger.h"
#include "ledger/store.h"

struct fixture {
    char folder[128];
    char db[160];
    char root[160];
    struct ledger *l;
    struct store *s;
    struct err e;
    size_t live; /* snapshots before the test */
};

static inline int remove_entry(const char *path, const struct stat *st UNUSED, int flag UNUSED,
                               struct FTW *ftw UNUSED)
{
    (void)chmod(path, 0700);
    return remove(path);
}

static inline void fixture_open(struct fixture *f)
{
    int r = ledger_open(f->db, &f->l, &f->e);
    if (r < 0)
        fail_msg("%s", f->e.text);
    r = store_open(f->root, 0, &f->s, &f->e);
    if (r < 0)
        fail_msg("%s", f->e.text);
}

static inline void fixture_close(struct fixture *f)
{
    store_close(f->s);
    ledger_close(f->l);
    f->s = NULL;
    f->l = NULL;
}

/* A folder without an open ledger. */
static inline int setup_folder(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    (void)snprintf(f->folder, sizeof(f->folder), "%s/ledger-XXXXXX",
                   getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(f->folder) == NULL)
        return -1;
    (void)snprintf(f->db, sizeof(f->db), "%s/snapshotd.db", f->folder);
    (void)snprintf(f->root, sizeof(f->root), "%s/store", f->folder);
    f->live = snapshot_live_count();
    *state = f;
    return 0;
}

static inline int setup(void **state)
{
    int r = setup_folder(state);
    if (r == 0)
        fixture_open(*state);
    return r;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    (void)umount2(f->folder, MNT_DETACH); /* for the tests that mount; else it is no mount */
    (void)nftw(f->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    bool leaked = snapshot_live_count() != f->live;
    free(f);
    return leaked ? -1 : 0;
}

/* The n-th id: 32 digits that sort by n. */
static inline void make_id(uint64_t n, char ret[SNAPSHOT_ID_SIZE])
{
    (void)snprintf(ret, SNAPSHOT_ID_SIZE, "%032llx", (unsigned long long)n);
}

static inline struct trigger make_trigger(uint64_t n, const char *camera)
{
    struct trigger t = {.origin = TRIGGER_API,
                        .event_at = {(int64_t)n * 1000000},
                        .accepted_at = {(int64_t)n * 1000000 + 5}};
    make_id(n, t.id);
    (void)text_copy(t.camera, sizeof(t.camera), camera);
    (void)text_copy(t.device_key, sizeof(t.device_key), "Front Door Camera");
    (void)text_copy(t.device_label, sizeof(t.device_label), "Front Door");
    return t;
}

static inline struct snapshot *make_snapshot(uint64_t n, const char *camera)
{
    struct snapshot *s = snapshot_new();
    make_id(n, s->id);
    (void)text_copy(s->camera, sizeof(s->camera), camera);
    (void)text_copy(s->device_key, sizeof(s->device_key), "Front Door Camera");
    (void)text_copy(s->device_label, sizeof(s->device_label), "Front Door");
    s->source = SNAPSHOT_FETCHED;
    s->event_at.us = (int64_t)n * 1000000;
    s->received_at.us = s->event_at.us + 200000;
    (void)snprintf(s->path, sizeof(s->path), "%s/1970/01/01/fetch_%s_%llu.jpg", camera, camera,
                   (unsigned long long)n);
    s->size = 4;
    memset(s->md5, 'a', sizeof(s->md5) - 1);
    memset(s->sha256, 'b', sizeof(s->sha256) - 1);
    (void)text_copy(s->format, sizeof(s->format), "jpeg");
    s->width = 640;
    s->height = 480;
    s->fetch_ms = 120.5;
    return s;
}

/* A verdict with these labels; free with verdict_done(). */
static inline struct verdict make_verdict(const char *const *labels, const float *scores,
                                          size_t count)
{
    struct verdict v = {.outcome = VERDICT_EXAMINED, .decode_ms = 4, .infer_ms = 30};
    (void)text_copy(v.model, sizeof(v.model), "yolov8n-640.onnx");
    v.found.count = count;
    v.found.items = count > 0 ? calloc(count, sizeof(*v.found.items)) : NULL;
    for (size_t i = 0; i < count; i++) {
        struct detection *d = &v.found.items[i];
        (void)text_copy(d->label, sizeof(d->label), labels[i]);
        d->class_id = (int)i;
        d->confidence = scores[i];
        d->has_box = i % 2 == 0;
        if (d->has_box)
            d->box = (struct box){1, 2, 3.5f, 4.25f};
    }
    return v;
}

static inline void assert_sound(struct fixture *f)
{
    struct dynbuf report;
    dynbuf_init(&report, 65536);
    int n = ledger_integrity(f->l, &report, &f->e);
    if (n != 0)
        fail_msg("%d findings: %s%s", n, dynbuf_str(&report), n < 0 ? f->e.text : "");
    dynbuf_done(&report);
}
