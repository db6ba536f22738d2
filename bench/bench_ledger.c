/* What the ledger costs per picture when it holds few pictures and when it holds many.
 *
 *   bench_ledger DATABASE ROWS
 *
 * Fills a new database with that history (in large transactions, past the ledger's interface, which
 * would sync each) and then takes pictures through the four commits of their life: trigger, picture,
 * verdict with an outbox row, delivery. Beside it what stages and the API ask for often. One line of
 * JSON comes out; times are medians. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/macros.h"
#include "base/mem.h"
#include "base/text.h"
#include "ledger/ledger.h"
#include "sys/db.h"

#define PICTURES 200
#define READS 200
#define CAMERAS 8
#define FILL_BATCH 20000

static const char *const destinations[] = {"console", NULL};

static void fill(const char *path, long rows);
static void take_picture(struct ledger *l, int n);
static void take_page(struct ledger *l);
static void ask_due(struct ledger *l);
static void check(int r, const struct err *e);
static double now_ms(clockid_t clock);
static double median(double *values, int count);

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: bench_ledger DATABASE ROWS\n");
        return 2;
    }
    struct err e = {.code = 0};
    struct ledger *l = NULL;
    check(ledger_open(argv[1], &l, &e), &e);
    take_picture(l, -1); /* makes the names that the history refers to */
    fill(argv[1], strtol(argv[2], NULL, 10));
    static double whole[PICTURES], page[READS], due[READS];
    for (int i = 0; i < 20; i++)
        take_picture(l, PICTURES + i);
    double cpu = now_ms(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < PICTURES; i++) {
        double start = now_ms(CLOCK_MONOTONIC);
        take_picture(l, i);
        whole[i] = now_ms(CLOCK_MONOTONIC) - start;
    }
    cpu = now_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    for (int i = 0; i < READS; i++) {
        double start = now_ms(CLOCK_MONOTONIC);
        take_page(l);
        page[i] = now_ms(CLOCK_MONOTONIC) - start;
        start = now_ms(CLOCK_MONOTONIC);
        ask_due(l);
        due[i] = now_ms(CLOCK_MONOTONIC) - start;
    }
    printf("{\"picture_ms\": %.3f, \"picture_cpu_ms\": %.3f, \"page_ms\": %.3f, \"due_ms\": %.4f}\n",
           median(whole, PICTURES), cpu / PICTURES, median(page, READS), median(due, READS));
    ledger_close(l);
    return 0;
}

/* History of the same form as real pictures leave it: two detections each, delivered. */
static void fill(const char *path, long rows)
{
    static const char *const statements[] = {
        "WITH RECURSIVE n (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)"
        " INSERT INTO triggers (id, camera, device, origin, state, event_at, accepted_at, attempts,"
        "  not_before, finished_at) SELECT printf('%032x', i), 1, 1, 0, 1, i * 1000000,"
        "  i * 1000000, 0, i * 1000000, i * 1000000 FROM n",
        "WITH RECURSIVE n (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)"
        " INSERT INTO snapshots (row, id, camera, device, source, state, event_at, received_at,"
        "  stored_at, path, unsettled, size, md5, sha256, format, width, height, orientation,"
        "  fetch_ms, examined_at, outcome, model, persons, things, confidence)"
        " SELECT 1000 + i, printf('%032x', i), 1, 1, 0, 1, i * 1000000, i * 1000000, i * 1000000,"
        "  printf('cam/2020/01/01/fetch_front_door_%d.jpg', i), 0, 100000,"
        "  '0123456789abcdef0123456789abcdef',"
        "  '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', 'jpeg', 1280, 720,"
        "  1, 20, i * 1000000, 0, 1, 1, 2, 0.9 FROM n",
        "WITH RECURSIVE n (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)"
        " INSERT INTO detections SELECT 1000 + i, o, 1, 0, 0.9, 1, 2, 3, 4 FROM n,"
        "  (SELECT 0 AS o UNION ALL SELECT 1)",
        "WITH RECURSIVE n (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)"
        " INSERT INTO sightings SELECT 1, i * 1000000, 1000 + i, 0.9 FROM n",
        "WITH RECURSIVE n (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)"
        " INSERT INTO outbox (snapshot, destination, camera, state, attempts, created_at,"
        "  not_before, finished_at) SELECT 1000 + i, 1, 1, 1, 1, 0, 0, 1 FROM n",
    };
    struct err e = {.code = 0};
    struct db *db = NULL;
    check(db_open(path, false, &db, &e), &e);
    for (long from = 1; from <= rows; from += FILL_BATCH) {
        check(db_begin(db, &e), &e);
        for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
            AUTO(db_query) q = db_query(db, statements[i]);
            db_bind_int(q, from);
            db_bind_int(q, MIN(from + FILL_BATCH, rows + 1));
            check(db_run(q, &e), &e);
        }
        check(db_commit(db, &e), &e);
    }
    db_close(db);
}

static void take_picture(struct ledger *l, int n)
{
    struct err e = {.code = 0};
    struct wall_time now = clock_wall();
    struct trigger t = {.origin = TRIGGER_API, .event_at = now, .accepted_at = ledger_now()};
    (void)text_format(t.camera, sizeof(t.camera), "camera-%d", MAX(n, 0) % CAMERAS);
    (void)text_copy(t.device_key, sizeof(t.device_key), "front_door");
    (void)text_copy(t.device_label, sizeof(t.device_label), "Front Door");
    snapshot_id_new(now, t.id);
    check(ledger_trigger_add(l, &t, &e), &e);

    AUTO(snapshot) s = snapshot_new();
    (void)text_copy(s->id, sizeof(s->id), t.id);
    (void)text_copy(s->camera, sizeof(s->camera), t.camera);
    (void)text_copy(s->device_key, sizeof(s->device_key), t.device_key);
    (void)text_copy(s->device_label, sizeof(s->device_label), t.device_label);
    (void)text_copy(s->format, sizeof(s->format), "jpeg");
    (void)text_format(s->path, sizeof(s->path), "cam/2026/01/01/fetch_front_door_%d.jpg", n + 1000);
    (void)text_copy(s->md5, sizeof(s->md5), "0123456789abcdef0123456789abcdef");
    s->source = SNAPSHOT_FETCHED;
    s->event_at = s->received_at = now;
    s->size = 100000;
    s->width = 1280;
    s->height = 720;
    s->orientation = 1;
    check(ledger_snapshot_add(l, s, &e), &e);

    AUTO_DONE(verdict) v = {.outcome = VERDICT_EXAMINED, .decode_ms = 3, .infer_ms = 60};
    (void)text_copy(v.model, sizeof(v.model), "model");
    struct detection two[2] = {{.label = "person", .confidence = 0.9F, .has_box = true},
                               {.label = "car", .confidence = 0.8F, .has_box = true}};
    detection_list_copy(&v.found, &(struct detection_list){two, ARRAY_LEN(two)});
    check(ledger_snapshot_examined(l, s, &v, NULL, NULL, destinations, &e), &e);

    struct outbox_item due[4];
    int count = ledger_outbox_due(l, "console", ledger_now(), due, ARRAY_LEN(due), &e);
    check(count, &e);
    check(ledger_outbox_done(l, due, count, &e), &e);
}

static void take_page(struct ledger *l)
{
    struct ledger_filter all = {.person = -1};
    struct ledger_page_key newest = {.row = 0};
    struct snapshot *found[50];
    struct err e = {.code = 0};
    int n = ledger_snapshot_page(l, &all, newest, found, ARRAY_LEN(found), &e);
    check(n, &e);
    while (n > 0)
        snapshot_unref(found[--n]);
}

static void ask_due(struct ledger *l)
{
    static struct trigger due[64];
    struct err e = {.code = 0};
    check(ledger_trigger_due(l, ledger_now(), due, ARRAY_LEN(due), &e), &e);
}

static void check(int r, const struct err *e)
{
    if (r >= 0)
        return;
    fprintf(stderr, "bench_ledger: %s\n", e->text);
    exit(1);
}

static double now_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), compare);
    return values[count / 2];
}
