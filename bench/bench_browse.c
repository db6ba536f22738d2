/* What finding pictures costs in a large history: pages of 100 for many combinations of conditions
 * at many places, with what the API reads for each picture; counts, histograms and neighbours; and
 * the upgrade of a ledger of version 4.
 *
 * Usage: bench_browse fill FILE ROWS makes a ledger of so many pictures, for others to measure.
 * bench_browse FOLDER ROWS...: a new ledger in FOLDER for each number of rows. Prints, per
 * combination, the median, the 95th percentile and the maximum in milliseconds of the processor
 * (the file is in the system's cache, so that is all but what other programs take away), the 95th
 * percentile by the clock, the pictures on a page and how many pages in a hundred were short and
 * not the last; in the end each over that of the first number of rows.
 */

#include <ftw.h>
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
#include "ledger/ledger_browse.h"
#include "sys/db.h"

#define PAGE 100
#define PLACES 60 /* of each combination; the first is the newest */
#define SPAN_US ((int64_t)1000000)
#define SIZES_MAX 4

/* As src/web/filter.c has them; pages without their limit of time, which on a busy machine would
 * come first. */
static const struct browse_budget page_budget = {.steps = 20000};
static const struct browse_budget count_budget = {.steps = 200000, .ms = 40};
static const struct browse_budget neighbour_budget = {.steps = 10000, .ms = 15};

#define ANY .person = -1, .starred = -1, .present = -1, .source = -1, .state = -1
#define CAMERAS(...)                                                                               \
    .cameras = (const char *const[]){__VA_ARGS__},                                                 \
    .camera_count = sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)
#define LABELS(...)                                                                                \
    .labels = (const char *const[]){__VA_ARGS__},                                                  \
    .label_count = sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)

static const struct combination {
    const char *name;
    struct browse_filter filter;
} combinations[] = {
    {"all", {.person = -1, .starred = -1, .present = -1, .source = -1, .state = -1}},
    {"all, oldest first", {ANY, .oldest_first = true}},
    {"present", {.person = -1, .starred = -1, .present = 1, .source = -1, .state = -1}},
    {"gone", {.person = -1, .starred = -1, .present = 0, .source = -1, .state = -1}},
    {"camera", {ANY, CAMERAS("camera5")}},
    {"rare camera", {ANY, CAMERAS("camera16")}},
    {"three cameras", {ANY, CAMERAS("camera2", "camera9", "camera16")}},
    {"person", {.person = 1, .starred = -1, .present = -1, .source = -1, .state = -1}},
    {"no person", {.person = 0, .starred = -1, .present = -1, .source = -1, .state = -1}},
    {"camera, person",
     {.person = 1, .starred = -1, .present = -1, .source = -1, .state = -1, CAMERAS("camera5")}},
    {"rare camera, person",
     {.person = 1, .starred = -1, .present = -1, .source = -1, .state = -1, CAMERAS("camera16")}},
    {"star", {.person = -1, .starred = 1, .present = -1, .source = -1, .state = -1}},
    {"star, person, camera",
     {.person = 1, .starred = 1, .present = -1, .source = -1, .state = -1, CAMERAS("camera5")}},
    {"fetched", {.person = -1, .starred = -1, .present = -1, .source = 0, .state = -1}},
    {"pushed", {.person = -1, .starred = -1, .present = -1, .source = 1, .state = -1}},
    {"waiting", {.person = -1, .starred = -1, .present = -1, .source = -1, .state = 0}},
    {"examined", {.person = -1, .starred = -1, .present = -1, .source = -1, .state = 1}},
    {"trash", {ANY, .deleted = 1}},
    {"label car", {ANY, LABELS("car")}},
    {"label dog", {ANY, LABELS("dog")}},
    {"label giraffe", {ANY, LABELS("giraffe")}},
    {"labels car, dog, person", {ANY, LABELS("car", "dog", "person")}},
    {"label dog, camera", {ANY, LABELS("dog"), CAMERAS("camera5")}},
    {"label car, rare camera", {ANY, LABELS("car"), CAMERAS("camera16")}},
    {"label car, sure", {ANY, LABELS("car"), .confidence_min = 0.95}},
    {"label car, too sure", {ANY, LABELS("car"), .confidence_min = 0.999}},
    {"sure", {ANY, .confidence_min = 0.95}},
    {"too sure", {ANY, .confidence_min = 0.999}},
    {"giraffe and person",
     {.person = 1, .starred = -1, .present = 1, .source = -1, .state = -1, LABELS("giraffe")}},
    {"words: camera5", {ANY, .text = "camera5"}},
    {"words: giraffe", {ANY, .text = "giraffe"}},
    {"words: dog fetch", {ANY, .text = "dog fetch"}},
    {"words: of no picture", {ANY, .text = "zebra"}},
    {"present, camera, label",
     {.person = -1,
      .starred = -1,
      .present = 1,
      .source = -1,
      .state = -1,
      CAMERAS("camera5"),
      LABELS("car")}},
    {"everything at once",
     {.person = 1,
      .starred = 0,
      .present = 1,
      .source = 0,
      .state = 1,
      CAMERAS("camera5", "camera6"),
      LABELS("person", "dog"),
      .confidence_min = 0.5,
      .text = "front"}},
};

struct numbers {
    double median, p95, max, wall_p95, found, shortened;
};

static struct numbers measure_page(struct ledger *l, const struct browse_filter *f, int64_t rows);
static void measure_others(struct ledger *l, int64_t rows);
static bool read_rows(const char *text, int64_t *ret);
static int fill_as_told(const char *path, const char *rows);
static void fill(const char *path, int64_t rows);
static void measure_upgrade(const char *path);
static void must(int r, const struct err *e);
static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw);

int main(int argc, char **argv)
{
    static struct numbers all[SIZES_MAX][ARRAY_LEN(combinations)];
    if (argc == 4 && strcmp(argv[1], "fill") == 0)
        return fill_as_told(argv[2], argv[3]);
    if (argc < 3 || argc > 2 + SIZES_MAX)
        return 2;
    for (int size = 0; size < argc - 2; size++) {
        char folder[256], path[300];
        struct err e;
        int64_t rows;
        if (!read_rows(argv[size + 2], &rows))
            return 2;
        (void)text_format(folder, sizeof(folder), "%s/bench-browse-XXXXXX", argv[1]);
        if (mkdtemp(folder) == NULL)
            return 1;
        (void)text_format(path, sizeof(path), "%s/snapshotd.db", folder);
        struct mono_time start = clock_mono();
        fill(path, rows);
        struct stat st = {0};
        (void)stat(path, &st); /* shown only */
        printf("%lld pictures in %.0f s, %.0f MB\n", (long long)rows,
               mono_diff_ms(clock_mono(), start) / 1000, (double)st.st_size / (1 << 20));
        AUTO(ledger) l = NULL;
        must(ledger_open(path, &l, &e), &e);
        printf("%-28s %8s %8s %8s %8s %8s %8s\n", "page of 100", "median", "p95", "max", "by clock",
               "pictures", "short %");
        double worst = 0;
        for (size_t i = 0; i < ARRAY_LEN(combinations); i++) {
            struct numbers n = measure_page(l, &combinations[i].filter, rows);
            all[size][i] = n;
            worst = MAX(worst, n.p95);
            printf("%-28s %8.2f %8.2f %8.2f %8.2f %8.1f %8.0f\n", combinations[i].name, n.median,
                   n.p95, n.max, n.wall_p95, n.found, n.shortened * 100);
            (void)fflush(stdout);
        }
        printf("worst p95 %.1f ms\n", worst);
        measure_others(l, rows);
        ledger_close(STEAL(l));
        if (rows <= 1000000) /* to make one of version 4 takes longer than all the rest */
            measure_upgrade(path);
        (void)nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS); /* leftovers harm nobody */
    }
    for (int size = 1; size < argc - 2; size++)
        for (size_t i = 0; i < ARRAY_LEN(combinations); i++)
            printf("%-28s %s over %s: median %.2f, p95 %.2f\n", combinations[i].name,
                   argv[size + 2], argv[2], all[size][i].median / all[0][i].median,
                   all[size][i].p95 / all[0][i].p95);
    return 0;
}

static void must(int r, const struct err *e)
{
    if (r >= 0)
        return;
    (void)fprintf(stderr, "bench_browse: %s\n", e->text);
    exit(1);
}

static int remove_entry(const char *path, const struct stat *st UNUSED, int flag UNUSED,
                        struct FTW *ftw UNUSED)
{
    return remove(path);
}

static bool read_rows(const char *text, int64_t *ret)
{
    return parse_int64(text, strlen(text), 1000, 100000000, ret) == 0;
}

static int fill_as_told(const char *path, const char *rows)
{
    int64_t n;
    if (!read_rows(rows, &n))
        return 2;
    fill(path, n);
    return 0;
}

/* Pictures a second apart, of sixteen cameras of which one is rare and two push; three quarters of
 * them are gone but for those with a star. */
static void fill(const char *path, int64_t rows)
{
    struct err e;
    AUTO(ledger) l = NULL;
    must(ledger_open(path, &l, &e), &e);
    ledger_close(STEAL(l));
    AUTO(db) db = NULL;
    must(db_open(path, false, &db, &e), &e);
    char sql[6000];
    int n = text_format(
        sql, sizeof(sql),
        "PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; BEGIN;"
        "INSERT INTO labels VALUES (1, 'person'), (2, 'car'), (3, 'dog'), (4, 'giraffe');"
        "INSERT INTO devices VALUES (1, 'Front Door Camera', 'Front Door');"
        "INSERT INTO models VALUES (1, 'yolov8n-640.onnx');"
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 16)"
        "INSERT INTO cameras SELECT i, 'camera' || i FROM n;"
        "WITH RECURSIVE n (i, h) AS (SELECT 1, 2654435761 UNION ALL"
        " SELECT i + 1, (i + 1) * 2654435761 %% 4294967296 / 97 FROM n WHERE i < %lld),"
        " p (i, h, camera, persons, cars, dogs, giraffes, old) AS (SELECT i, h,"
        "  iif(i %% 10007 = 3, 16, 1 + h %% 15), h / 15 %% 10 = 0, h / 150 %% 10 < 3,"
        "  h / 1500 %% 100 = 7, i %% 100003 = 5, i < %lld * 3 / 4 FROM n)"
        "INSERT INTO snapshots (row, id, camera, device, source, state, event_at, received_at,"
        " stored_at, path, unsettled, size, md5, sha256, format, width, height, orientation,"
        " fetch_ms, examined_at, outcome, model, persons, things, confidence, starred_at,"
        " removed_at, removed_why, deleted_at)"
        " SELECT i, printf('%%032x', i), camera, 1, camera IN (3, 4), i <= %lld - 300,"
        " i * 1000000, i * 1000000, i * 1000000,"
        " printf('camera%%d/2020/01/%%02d/fetch_front-door-camera_%%d.jpg', camera, i / 86400, i),"
        " 0, 100000, printf('%%032x', i), printf('%%064x', h), 'jpeg', 640, 480, 1, 100,"
        " iif(i <= %lld - 300, i * 1000000, NULL), iif(i <= %lld - 300, 0, NULL), 1,"
        " iif(i <= %lld - 300, persons, 0),"
        " iif(i <= %lld - 300, persons + cars + dogs + giraffes, 0),"
        " iif(persons + cars + dogs + giraffes > 0, 0.3 + h %% 69 / 100.0, 0),"
        " iif(i %% 997 = 0, i * 1000000, NULL), iif(old AND i %% 997 <> 0, i * 1000000, NULL),"
        " iif(old AND i %% 997 <> 0, 'plain_age', NULL),"
        " iif(NOT old AND i %% 1009 = 0, i * 1000000, NULL) FROM p;"
        "INSERT INTO detections SELECT row, 0, 1, 0, confidence, 1, 1, 2, 2 FROM snapshots"
        " WHERE persons > 0;"
        "WITH n (row, h) AS (SELECT row, row * 2654435761 %% 4294967296 / 97 FROM snapshots"
        "  WHERE state = 1 AND things > 0)"
        "INSERT INTO detections SELECT row, 1, 2, 2, 0.3 + h %% 69 / 100.0, 1, 1, 2, 2 FROM n"
        " WHERE h / 150 %% 10 < 3 UNION ALL"
        " SELECT row, 2, 3, 3, 0.3 + h %% 69 / 100.0, 1, 1, 2, 2 FROM n WHERE h / 1500 %% 100 = 7"
        " UNION ALL SELECT row, 3, 4, 4, 0.3 + h %% 69 / 100.0, 1, 1, 2, 2 FROM n"
        " WHERE row %% 100003 = 5;"
        "INSERT INTO sightings SELECT d.label, s.event_at, s.row, d.confidence FROM detections d"
        " CROSS JOIN snapshots s ON s.row = d.snapshot;"
        "UPDATE snapshots SET things = (SELECT count(*) FROM detections d WHERE d.snapshot = row)"
        " WHERE things > 0;"
        "INSERT INTO sources SELECT DISTINCT camera, source FROM snapshots;"
        "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
        (long long)rows, (long long)rows, (long long)rows, (long long)rows, (long long)rows,
        (long long)rows, (long long)rows);
    if (n < 0)
        exit(1);
    must(db_exec(db, sql, &e), &e);
}

static int compare_doubles(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double processor_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* exists everywhere */
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The same numbers in each run. */
static uint64_t dice(uint64_t sides)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % sides;
}

static struct ledger_page_key place(const struct browse_filter *f, int i, int64_t rows)
{
    int64_t at = i == 0 ? (f->oldest_first ? 0 : rows) : (int64_t)dice((uint64_t)rows);
    return i == 0 ? (struct ledger_page_key){{0}, 0} : (struct ledger_page_key){{at * SPAN_US}, at};
}

static struct numbers measure_page(struct ledger *l, const struct browse_filter *f, int64_t rows)
{
    struct numbers n = {0};
    double ms[PLACES], wall_ms[PLACES];
    struct snapshot *page[PAGE + 1];
    for (int i = 0; i < PLACES; i++) {
        struct browse_end end;
        struct err e;
        struct ledger_page_key from = place(f, i, rows);
        struct mono_time start = clock_mono();
        double busy = processor_ms();
        int count = ledger_browse_page(l, f, from, &page_budget, page, PAGE + 1, &end, &e);
        must(count, &e);
        for (int k = 0; k < count; k++) {
            struct verdict v = {0};
            (void)ledger_verdict_get(l, page[k]->id, &v, &e); /* those that wait have none */
            verdict_done(&v);
        }
        ms[i] = processor_ms() - busy;
        wall_ms[i] = mono_diff_ms(clock_mono(), start);
        n.found += (double)MIN(count, PAGE) / PLACES;
        n.shortened += (count < PAGE && !end.whole) / (double)PLACES;
        for (int k = 0; k < count; k++)
            snapshot_unref(page[k]);
    }
    qsort(ms, PLACES, sizeof(*ms), compare_doubles);
    n.median = ms[PLACES / 2];
    n.p95 = ms[PLACES * 95 / 100];
    n.max = ms[PLACES - 1];
    qsort(wall_ms, PLACES, sizeof(*wall_ms), compare_doubles);
    n.wall_p95 = wall_ms[PLACES * 95 / 100];
    return n;
}

static void measure_others(struct ledger *l, int64_t rows)
{
    static struct browse_bucket buckets[750];
    struct err e;
    double count_max = 0, histogram_max = 0, neighbour_max = 0;
    int64_t exact_counts = 0, exact_neighbours = 0;
    for (size_t i = 0; i < ARRAY_LEN(combinations); i++) {
        const struct browse_filter *f = &combinations[i].filter;
        int64_t count;
        bool exact;
        struct mono_time start = clock_mono();
        must(ledger_browse_count(l, f, &count_budget, &count, &exact, &e), &e);
        count_max = MAX(count_max, mono_diff_ms(clock_mono(), start));
        exact_counts += exact;
        start = clock_mono();
        must(
            ledger_browse_histogram(l, f, 86400 * SPAN_US, &count_budget, buckets, 750, &exact, &e),
            &e);
        histogram_max = MAX(histogram_max, mono_diff_ms(clock_mono(), start));
        char id[SNAPSHOT_ID_SIZE];
        struct browse_neighbours found;
        (void)text_format(id, sizeof(id), "%032llx",
                          (unsigned long long)(1 + dice((uint64_t)rows)));
        start = clock_mono();
        must(ledger_browse_neighbours(l, f, id, &neighbour_budget, &found, &e), &e);
        neighbour_max = MAX(neighbour_max, mono_diff_ms(clock_mono(), start));
        exact_neighbours += found.exact;
    }
    printf("count: at most %.1f ms, %lld of %zu exact; histogram: at most %.1f ms;"
           " neighbours: at most %.1f ms, %lld exact\n",
           count_max, (long long)exact_counts, ARRAY_LEN(combinations), histogram_max,
           neighbour_max, (long long)exact_neighbours);
}

static void measure_upgrade(const char *path)
{
    struct err e;
    {
        AUTO(db) db = NULL;
        must(db_open(path, false, &db, &e), &e);
        must(db_exec(db,
                     "PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; BEGIN;"
                     "DROP INDEX snapshots_here; DROP INDEX snapshots_past;"
                     "DROP INDEX snapshots_trash; DROP INDEX snapshots_purge;"
                     "DROP INDEX snapshots_leaving; DROP INDEX snapshots_again;"
                     "DROP TABLE sources; ALTER TABLE snapshots DROP COLUMN again_at;"
                     "ALTER TABLE snapshots DROP COLUMN deleted_at;"
                     "CREATE INDEX snapshots_time ON snapshots (event_at, row);"
                     "PRAGMA user_version = 4; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
                     &e),
             &e);
    }
    AUTO(ledger) l = NULL;
    struct mono_time start = clock_mono();
    must(ledger_open(path, &l, &e), &e);
    printf("upgrade from version 4: %.1f s\n", mono_diff_ms(clock_mono(), start) / 1000);
}
