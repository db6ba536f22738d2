/* What durability costs: commits of the ledger over a bare write and fsync of one page on the same
 * disk, the way of one picture through ledger and store over the fsyncs that it cannot do without,
 * and both again, with the pages of the dashboard, when the history holds a million pictures.
 *
 * Usage: bench_ledger [FOLDER [ROWS]]; FOLDER must be on the disk in question, not on a tmpfs.
 *        bench_ledger FOLDER uploads ROWS...: what a delivery to a storage costs in a new ledger
 * and with each of these many behind it, ascending; the ratio to the new one is to be at most 1.3.
 */

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "ledger/ledger_upload.h"
#include "ledger/store.h"
#include "sys/db.h"

#define COMMITS 300
#define PICTURES 150
#define PICTURE_BYTES 100000
#define ROWS_DEFAULT 1000000
#define BATCH 8 /* deliveries and settles in one transaction, as the stages do under load */
#define THREADS 4

struct bench {
    char folder[256], db[300], root[300];
    struct ledger *l;
    struct store *s;
    uint64_t next;
};

static void open_bench(struct bench *b, const char *where);
static void close_bench(struct bench *b);
static double bare_ms(struct bench *b, size_t size);
static double commit_ms(struct bench *b);
static double threads_ms(struct bench *b);
static double picture_over_floor(struct bench *b, const char *title);
static double picture_ms(struct bench *b, bool with_store);
static double processor_ms(struct bench *b);
static void fill(struct bench *b, int64_t behind, int64_t rows);
static void compare_uploads(struct bench *few, struct bench *b, char **sizes, int count);
static void show_pages(struct bench *b, const char *title);
static void must(int r, const struct err *e);
static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw);

int main(int argc, char **argv)
{
    struct bench b = {.next = 1};
    int64_t rows = ROWS_DEFAULT;
    bool uploads = argc > 2 && strcmp(argv[2], "uploads") == 0;
    if (argc > 2 && !uploads && parse_int64(argv[2], strlen(argv[2]), 1, 100000000, &rows) < 0)
        return 2;
    const char *where = argc > 1 ? argv[1] : "/tmp";
    open_bench(&b, where);
    if (uploads) {
        struct bench few = {.next = 1};
        open_bench(&few, where);
        compare_uploads(&few, &b, argv + 3, argc - 3);
        close_bench(&few);
        close_bench(&b);
        return 0;
    }
    double bare = bare_ms(&b, 4096), big = bare_ms(&b, PICTURE_BYTES);
    printf("bare write+fsync of 4 kB   %8.3f ms\n", bare);
    printf("bare write+fsync of 100 kB %8.3f ms\n", big);
    double commit = commit_ms(&b);
    printf("commit of a trigger        %8.3f ms, %.2f of a bare fsync\n", commit, commit / bare);
    double many = threads_ms(&b);
    printf("the same, %d threads        %8.3f ms, %.2f of a bare fsync\n", THREADS, many,
           many / bare);
    double few = picture_over_floor(&b, "new ledger");
    show_pages(&b, "new ledger");

    struct mono_time start = clock_mono();
    fill(&b, 0, rows);
    struct stat st;
    if (stat(b.db, &st) < 0)
        return 1;
    printf("filled with %lld pictures in %.0f s, %lld bytes a picture\n", (long long)rows,
           mono_diff_ms(clock_mono(), start) / 1000, (long long)(st.st_size / rows));
    double full = picture_over_floor(&b, "full ledger");
    printf("a picture, full ledger over new ledger: %.2f\n", full / few);
    show_pages(&b, "full ledger");

    close_bench(&b);
    return 0;
}

static void open_bench(struct bench *b, const char *where)
{
    struct err e;
    (void)text_format(b->folder, sizeof(b->folder), "%s/bench-ledger-XXXXXX", where);
    if (mkdtemp(b->folder) == NULL)
        exit(1);
    (void)text_format(b->db, sizeof(b->db), "%s/snapshotd.db", b->folder);
    (void)text_format(b->root, sizeof(b->root), "%s/store", b->folder);
    must(ledger_open(b->db, &b->l, &e), &e);
    must(store_open(b->root, 0, &b->s, &e), &e);
}

static void close_bench(struct bench *b)
{
    store_close(b->s);
    ledger_close(b->l);
    (void)nftw(b->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS); /* leftovers harm nobody */
}

static void must(int r, const struct err *e)
{
    if (r >= 0)
        return;
    (void)fprintf(stderr, "bench_ledger: %s\n", e->text);
    exit(1);
}

/* Disks change their mind from second to second, so each measure has its floor beside it: one fsync
 * for the trigger, the file, its folder, the row and the verdict. */
static double picture_over_floor(struct bench *b, const char *title)
{
    double floor_ms = 2 * bare_ms(b, 4096) + bare_ms(b, PICTURE_BYTES) / 2;
    double all = picture_ms(b, true), ledger = picture_ms(b, false);
    floor_ms += 2 * bare_ms(b, 4096) + bare_ms(b, PICTURE_BYTES) / 2;
    printf("a picture, %-11s     %8.3f ms, %.2f of its 5 fsyncs (ledger alone %.3f ms, of the "
           "processor %.4f ms)\n",
           title, all, all / floor_ms, ledger, processor_ms(b));
    return all / floor_ms;
}

/* What the ledger's part costs the processor; the least of several, the others were disturbed. */
static double processor_ms(struct bench *b)
{
    double least = 0;
    for (int i = 0; i < 12; i++) {
        struct timespec from, to;
        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from); /* exists everywhere */
        (void)picture_ms(b, false);
        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        double ms =
            (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
        least = i == 0 ? ms : MIN(least, ms);
    }
    return least / PICTURES;
}

static double bare_ms(struct bench *b, size_t size)
{
    char path[300];
    (void)text_format(path, sizeof(path), "%s/bare", b->folder);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    AUTO_FREE char *page = xcalloc(1, size);
    struct mono_time start = clock_mono();
    for (int i = 0; i < COMMITS; i++)
        if (write(fd, page, size) != (ssize_t)size || fsync(fd) < 0)
            exit(1);
    return mono_diff_ms(clock_mono(), start) / COMMITS;
}

static struct trigger make_trigger(uint64_t n)
{
    struct trigger t = {.origin = TRIGGER_SCHEDULE, .event_at = clock_wall()};
    t.accepted_at = t.event_at;
    (void)text_format(t.id, sizeof(t.id), "f%031llx", (unsigned long long)n);
    (void)text_format(t.camera, sizeof(t.camera), "camera%llu", (unsigned long long)(n % 8));
    text_copy(t.device_key, sizeof(t.device_key), "Front Door Camera");
    text_copy(t.device_label, sizeof(t.device_label), "Front Door");
    return t;
}

static double commit_ms(struct bench *b)
{
    struct err e;
    struct mono_time start = clock_mono();
    for (int i = 0; i < COMMITS; i++) {
        struct trigger t = make_trigger(b->next++);
        must(ledger_trigger_add(b->l, &t, &e), &e);
    }
    return mono_diff_ms(clock_mono(), start) / COMMITS;
}

struct share {
    struct bench *b;
    uint64_t from;
};

static void *add_share(void *arg)
{
    struct share *s = arg;
    struct err e;
    AUTO(ledger) l = NULL;
    must(ledger_open(s->b->db, &l, &e), &e);
    for (int i = 0; i < COMMITS / THREADS; i++) {
        struct trigger t = make_trigger(s->from + (uint64_t)i);
        must(ledger_trigger_add(l, &t, &e), &e);
    }
    return NULL;
}

static double threads_ms(struct bench *b)
{
    pthread_t threads[THREADS];
    struct share shares[THREADS];
    struct mono_time start = clock_mono();
    for (int i = 0; i < THREADS; i++) {
        shares[i] = (struct share){b, b->next};
        b->next += COMMITS;
        if (pthread_create(&threads[i], NULL, add_share, &shares[i]) != 0)
            exit(1);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return mono_diff_ms(clock_mono(), start) / (COMMITS / THREADS * THREADS);
}

/* Trigger, file, row, verdict with two things on it, delivery. */
static double picture_ms(struct bench *b, bool with_store)
{
    struct err e;
    static const char *const destinations[] = {"amqp", NULL};
    struct detection found[2] = {{.label = "dog", .confidence = 0.8f, .has_box = true},
                                 {.label = "car", .confidence = 0.6f, .has_box = true}};
    struct verdict v = {
        .outcome = VERDICT_EXAMINED, .model = "yolov8n-640.onnx", .found = {found, 2}};
    AUTO_FREE char *bytes = xcalloc(1, PICTURE_BYTES);
    struct mono_time start = clock_mono();
    for (int i = 0; i < PICTURES; i++) {
        struct trigger t = make_trigger(b->next++);
        must(ledger_trigger_add(b->l, &t, &e), &e);
        AUTO(snapshot) s = snapshot_new();
        text_copy(s->id, sizeof(s->id), t.id);
        text_copy(s->camera, sizeof(s->camera), t.camera);
        text_copy(s->device_key, sizeof(s->device_key), t.device_key);
        text_copy(s->device_label, sizeof(s->device_label), t.device_label);
        text_copy(s->format, sizeof(s->format), "jpeg");
        memset(s->md5, 'a', sizeof(s->md5) - 1);
        memset(s->sha256, 'a', sizeof(s->sha256) - 1);
        s->event_at = s->received_at = t.event_at;
        s->size = PICTURE_BYTES;
        if (with_store)
            must(store_put(b->s, s->id, false, bytes, PICTURE_BYTES, &e), &e);
        must(store_path_fetched(b->s, b->l, s, t.camera, s->path, sizeof(s->path), &e), &e);
        must(ledger_snapshot_add(b->l, s, &e), &e);
        if (with_store)
            must(store_place(b->s, s->id, false, s->path, &e), &e);
        must(ledger_snapshot_examined(b->l, s, &v, NULL, NULL, destinations, NULL, 0, &e), &e);
        if (i % BATCH != BATCH - 1)
            continue;
        struct outbox_item items[BATCH];
        int n = ledger_outbox_due(b->l, "amqp", ledger_now(), items, BATCH, &e);
        must(n, &e);
        must(ledger_outbox_done(b->l, items, n, &e), &e);
    }
    return mono_diff_ms(clock_mono(), start) / PICTURES;
}

/* Rows as the transitions would have left them, by the quickest way. One picture in ten shows a
 * person, one in a thousand a giraffe. */
static void fill(struct bench *b, int64_t behind, int64_t rows)
{
    static long long base; /* behind the rows that the measures have made meanwhile */
    struct err e;
    AUTO(db) db = NULL;
    must(db_open(b->db, false, &db, &e), &e);
    char sql[4096];
    base += 100000;
    int n = text_format(
        sql, sizeof(sql),
        "PRAGMA synchronous = OFF; PRAGMA cache_size = -65536; BEGIN;"
        "INSERT OR IGNORE INTO labels (id, name) VALUES (101, 'person'), (102, 'giraffe');"
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8)"
        "INSERT OR IGNORE INTO cameras (id, name) SELECT i, printf('filled%%d', i) FROM n;"
        "INSERT OR IGNORE INTO storages (id, name) VALUES (1, 'gdrive');"
        "WITH RECURSIVE n (i) AS (SELECT %lld UNION ALL SELECT i + 1 FROM n WHERE i < %lld)"
        "INSERT INTO snapshots (row, id, camera, device, source, state, event_at, received_at,"
        " stored_at, path, unsettled, size, md5, sha256, format, width, height, orientation,"
        " fetch_ms, examined_at, outcome, persons, things, confidence)"
        " SELECT %lld + i, printf('%%032x', i), 1 + i %% 8, 1, 0, 1, i * 1000000, i * 1000000,"
        " i * 1000000, printf('camera%%d/2020/01/%%02d/fetch_front-door-camera_%%d.jpg', i %% 8,"
        " i * 28 / %lld, i), 0, 100000, printf('%%032x', i), printf('%%064x', i), 'jpeg', 640, 480,"
        " 1, 100, i * 1000000, 0, i %% 10 = 0, (i %% 10 = 0) + (i %% 1000 = 5), 0.5 FROM n;"
        "INSERT INTO detections SELECT row, 0, iif(persons, 101, 102), 0, 0.5, 1, 1, 2, 2"
        " FROM snapshots WHERE things > 0 AND row BETWEEN %lld AND %lld;"
        "INSERT INTO sightings SELECT iif(persons, 101, 102), event_at, row, 0.5 FROM snapshots"
        " WHERE things > 0 AND row BETWEEN %lld AND %lld;"
        "INSERT INTO uploads (row, snapshot, storage, annotated, state, attempts, created_at,"
        " not_before, finished_at, mark) SELECT row, row, 1, 0, 1, 1, event_at, 0, event_at,"
        " printf('%%033d' || char(10) || char(10), row) FROM snapshots"
        " WHERE row BETWEEN %lld AND %lld;"
        "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
        (long long)behind + 1, (long long)rows, base, (long long)rows, base + (long long)behind + 1,
        base + (long long)rows, base + (long long)behind + 1, base + (long long)rows,
        base + (long long)behind + 1, base + (long long)rows);
    if (n < 0)
        exit(1);
    must(db_exec(db, sql, &e), &e);
}

/* ---- uploads ---- */

#define JOBS 320
#define MARKS 32 /* in one commit, as the stage does */
#define REPEATS 25

/* Pictures with a job each, which cost nothing here. */
static void add_jobs(struct bench *b)
{
    struct err e;
    static const struct upload_wish wish = {"gdrive", true, false};
    struct verdict v = {.outcome = VERDICT_EXAMINED};
    must(ledger_group_begin(b->l, &e), &e);
    for (int i = 0; i < JOBS; i++) {
        AUTO(snapshot) s = snapshot_new();
        (void)text_format(s->id, sizeof(s->id), "e%031llx", (unsigned long long)b->next);
        (void)text_format(s->path, sizeof(s->path), "x/fetch_%llu.jpg",
                          (unsigned long long)b->next++);
        text_copy(s->camera, sizeof(s->camera), "camera1");
        text_copy(s->format, sizeof(s->format), "jpeg");
        memset(s->md5, 'a', sizeof(s->md5) - 1);
        memset(s->sha256, 'a', sizeof(s->sha256) - 1);
        s->event_at = s->received_at = clock_wall();
        s->size = PICTURE_BYTES;
        must(ledger_snapshot_add(b->l, s, &e), &e);
        must(ledger_snapshot_examined(b->l, s, &v, NULL, NULL, NULL, &wish, 1, &e), &e);
    }
    must(ledger_group_end(b->l, &e), &e);
}

/* What is due, its marks, and its end, four at a time. */
static double delivery_ms(struct bench *b)
{
    static struct upload_job jobs[MARKS];
    struct upload_order order = {.live_after = INT64_MAX};
    struct upload_counts counts;
    struct err e;
    add_jobs(b);
    struct mono_time start = clock_mono();
    for (int done = 0; done < JOBS; done += MARKS) {
        int n = ledger_upload_due(b->l, "gdrive", &order, ledger_now(), NULL, 0, jobs, MARKS, &e);
        if (n != MARKS)
            exit(1);
        for (int i = 0; i < n; i++)
            (void)text_format(jobs[i].mark, sizeof(jobs[i].mark), "%033lld\n\n",
                              (long long)jobs[i].row); /* fits */
        must(ledger_upload_mark(b->l, jobs, n, &e), &e);
        for (int i = 0; i < n; i += 4) {
            must(ledger_upload_done(b->l, jobs + i, NULL, 4, &e), &e);
            must(ledger_upload_counts(b->l, "gdrive", &counts, &e), &e);
        }
    }
    return mono_diff_ms(clock_mono(), start) / JOBS;
}

static int compare_doubles(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(double *all)
{
    qsort(all, REPEATS, sizeof(*all), compare_doubles);
    return all[REPEATS / 2];
}

/* In turns with a new ledger: the disk has other things to do as well. */
static void compare_uploads(struct bench *few, struct bench *b, char **sizes, int count)
{
    double new_ms[REPEATS], ms[REPEATS], ratios[REPEATS];
    int64_t behind = 0, rows;
    (void)delivery_ms(few); /* the file grows, caches fill */
    (void)delivery_ms(b);   /* and fill() takes cameras and devices as they are */
    for (int i = 0; i < count; i++) {
        if (parse_int64(sizes[i], strlen(sizes[i]), behind + 1, 100000000, &rows) < 0)
            exit(2);
        fill(b, behind, rows);
        behind = rows;
        (void)delivery_ms(b);
        for (int k = 0; k < REPEATS; k++) {
            new_ms[k] = delivery_ms(few);
            ms[k] = delivery_ms(b);
            ratios[k] = ms[k] / new_ms[k];
        }
        printf("a delivery, %9lld behind  %8.4f ms, in a new ledger %8.4f ms, ratio %.2f\n",
               (long long)rows, median(ms), median(new_ms), median(ratios));
    }
}

static void show_pages(struct bench *b, const char *title)
{
    static const struct {
        const char *name;
        struct ledger_filter filter;
        struct ledger_page_key before;
    } pages[] = {
        {"newest", {.person = -1}, {{0}, 0}},
        {"far back", {.person = -1}, {{500000000000}, 1}},
        {"camera", {.camera = "camera3", .person = -1}, {{500000000000}, 1}},
        {"persons", {.person = 1}, {{500000000000}, 1}},
        {"rare label", {.label = "giraffe", .person = -1}, {{500000000000}, 1}},
        {"waiting", {.state = "stored", .person = -1}, {{0}, 0}},
    };
    struct err e;
    printf("pages of 50, %s:", title);
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        struct snapshot *page[50];
        struct mono_time start = clock_mono();
        int n = ledger_snapshot_page(b->l, &pages[i].filter, pages[i].before, page, 50, &e);
        must(n, &e);
        printf(" %s %.2f ms,", pages[i].name, mono_diff_ms(clock_mono(), start));
        for (int k = 0; k < n; k++)
            snapshot_unref(page[k]);
    }
    struct ledger_counts counts;
    struct mono_time start = clock_mono();
    must(ledger_counts(b->l, &counts, &e), &e);
    printf(" counts %.2f ms\n", mono_diff_ms(clock_mono(), start));
}

static int remove_entry(const char *path, const struct stat *st UNUSED, int flag UNUSED,
                        struct FTW *ftw UNUSED)
{
    return remove(path);
}
