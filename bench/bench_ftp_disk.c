/* What it costs to make uploads safe, beside a bare loop that does the same calls with the same
 * grouping and nothing else, in turns of one run:
 *
 *     bench_ftp_disk FOLDER [SECONDS]
 *
 * FOLDER decides which disk; give each turn some seconds. Prints one line per number of uploads
 * that wait at the same time: uploads a second of the bare loop, of ftp_upload_finish(), of the
 * disk threads, and the ratios. Then ways to sync a group, and a job's trip to a disk thread and
 * back. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "ftp/ftp_disk.h"

enum { SIZE = 100 * 1000, GROUP_MAX = 64, TURN_MS = 60, TURNS_MAX = 1000 };

static const char *folder;
static int folder_fd;
static int64_t turns = 31;
static char picture[SIZE];
static unsigned serial; /* of names: each new, as cameras' are */

static void die(const char *what)
{
    (void)fprintf(stderr, "bench_ftp_disk: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void name_next(char *ret, size_t size, const char *suffix)
{
    (void)text_format(ret, size, "p%08u.%s", serial++, suffix);
}

static void clean(void)
{
    for (; serial > 0; serial--) {
        char name[64];
        (void)text_format(name, sizeof(name), "p%08u.jpg", serial - 1);
        (void)unlinkat(folder_fd, name, 0); /* made by one of us, or not */
    }
    if (fsync(folder_fd) < 0)
        die("sync");
}

/* ---- the bare loop ---- */

enum way { WAY_PLAIN, WAY_START, WAY_START_WAIT, WAY_THREADS, WAY_COUNT };
static const char *const way_names[WAY_COUNT] = {
    "fsync each", "start all, fsync each", "start all, wait, fsync each", "4 threads, fsync each"};
struct part {
    const int *fds;
    int count;
};

static void *sync_part(void *arg)
{
    const struct part *p = arg;
    for (int i = 0; i < p->count; i++)
        if (fsync(p->fds[i]) < 0)
            die("fsync");
    return NULL;
}

static void sync_by_threads(const int *fds, int count)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    struct part parts[THREADS];
    int share = (count + THREADS - 1) / THREADS, begun = 0;
    for (int i = 0; i * share < count; i++, begun++) {
        parts[i] = (struct part){fds + (ptrdiff_t)i * share, MIN(share, count - i * share)};
        if (pthread_create(&threads[i], NULL, sync_part, &parts[i]) != 0)
            die("thread");
    }
    for (int i = 0; i < begun; i++)
        (void)pthread_join(threads[i], NULL);
}

static void store_bare(int count, enum way way)
{
    int fds[GROUP_MAX];
    char names[GROUP_MAX][64], temporary[64];
    for (int i = 0; i < count; i++) {
        name_next(names[i], sizeof(names[i]), "jpg");
        (void)text_format(temporary, sizeof(temporary), ".%s", names[i]);
        fds[i] = openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
        if (fds[i] < 0 || write(fds[i], picture, SIZE) != SIZE)
            die("write");
    }
    for (int i = 0; i < count && (way == WAY_START || way == WAY_START_WAIT); i++)
        (void)sync_file_range(fds[i], 0, 0, SYNC_FILE_RANGE_WRITE);
    for (int i = 0; i < count && way == WAY_START_WAIT; i++)
        (void)sync_file_range(fds[i], 0, 0,
                              SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                                  SYNC_FILE_RANGE_WAIT_AFTER);
    if (way == WAY_THREADS)
        sync_by_threads(fds, count);
    else
        (void)sync_part(&(struct part){fds, count});
    for (int i = 0; i < count; i++) {
        (void)text_format(temporary, sizeof(temporary), ".%s", names[i]);
        if (renameat(folder_fd, temporary, folder_fd, names[i]) < 0)
            die("rename");
        (void)close(fds[i]);
    }
    if (fsync(folder_fd) < 0)
        die("sync folder");
}

static double rate_bare(int count, enum way way)
{
    struct mono_time began = clock_mono(), until = mono_add_ms(began, TURN_MS);
    int done = 0;
    do {
        store_bare(count, way);
        done += count;
    } while (!mono_passed(until));
    double rate = done * 1000.0 / mono_diff_ms(clock_mono(), began);
    clean();
    return rate;
}

/* ---- ours ---- */

static struct ftp_jail *open_jail(void)
{
    struct ftp_jail *j = NULL;
    struct err e;
    struct ftp_jail_options o = {.root = folder, .sync = true, .reserve = 1, .folders_max = 1000};
    struct ftp_account a = {
        .directory = "", .quota = INT64_MAX / 2, .files_max = 1000000, .size_max = 100000000};
    if (ftp_jail_open(&o, &a, &j, &e) < 0) {
        (void)fprintf(stderr, "bench_ftp_disk: %s\n", e.text);
        exit(1);
    }
    return j;
}

static double rate_finish(struct ftp_jail *j, int count)
{
    struct mono_time began = clock_mono(), until = mono_add_ms(began, TURN_MS);
    int done = 0;
    do {
        struct ftp_upload *uploads[GROUP_MAX] = {0};
        int codes[GROUP_MAX];
        struct err errs[GROUP_MAX];
        for (int i = 0; i < count; i++) {
            char path[64] = "/";
            name_next(path + 1, sizeof(path) - 1, "jpg");
            struct ftp_upload_options o = {.path = path};
            if (ftp_upload_open(j, &o, &uploads[i], &errs[i]) < 0 ||
                ftp_upload_write(uploads[i], picture, SIZE, &errs[i]) < 0)
                die(errs[i].text);
        }
        ftp_upload_finish(uploads, count, codes, errs);
        for (int i = 0; i < count; i++) {
            if (codes[i] < 0)
                die(errs[i].text);
            ftp_upload_close(uploads[i]);
        }
        done += count;
    } while (!mono_passed(until));
    double rate = done * 1000.0 / mono_diff_ms(clock_mono(), began);
    clean();
    return rate;
}

static struct ftp_disk_job *collect(struct ftp_disk *d)
{
    struct pollfd p = {ftp_disk_fd(d), POLLIN, 0};
    struct ftp_disk_job *jobs = NULL;
    while (jobs == NULL) {
        (void)poll(&p, 1, -1);
        jobs = ftp_disk_collect(d);
    }
    return jobs;
}

static void submit_open(struct ftp_disk *d, struct ftp_disk_job *job)
{
    job->kind = FTP_DISK_OPEN;
    job->request.op = FTP_OP_STORE;
    job->request.path[0] = '/';
    name_next(job->request.path + 1, sizeof(job->request.path) - 1, "jpg");
    ftp_disk_submit(d, job);
}

/* `count` sessions, each with one upload after the other. */
static double rate_disk(struct ftp_jail *j, int count, struct ftp_disk *d)
{
    struct ftp_disk_job *jobs = xcalloc((size_t)count, sizeof(*jobs));
    struct mono_time began = clock_mono(), until = mono_add_ms(began, TURN_MS);
    int done = 0, under_way = count;
    for (int i = 0; i < count; i++) {
        jobs[i].jail = j;
        submit_open(d, &jobs[i]);
    }
    while (under_way > 0) {
        struct ftp_disk_job *job = collect(d), *next;
        for (; job != NULL; job = next) {
            next = job->next;
            if (job->code < 0)
                die(job->error.text);
            if (job->kind == FTP_DISK_OPEN) {
                job->kind = FTP_DISK_FINISH;
                job->block = picture;
                job->block_size = SIZE;
                ftp_disk_submit(d, job);
                continue;
            }
            done++;
            if (mono_passed(until))
                under_way--;
            else
                submit_open(d, job);
        }
    }
    double rate = done * 1000.0 / mono_diff_ms(clock_mono(), began);
    free(jobs);
    clean();
    return rate;
}

/* ---- turns ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v)
{
    qsort(v, (size_t)turns, sizeof(*v), by_size);
    return v[turns / 2];
}

static void measure(struct ftp_jail *j, int count)
{
    enum { THREADS = 5, WAYS = WAY_COUNT + 1 + THREADS };
    static double rates[WAYS][TURNS_MAX];
    char names[WAYS][64];
    struct ftp_disk *disks[THREADS] = {0};
    struct err e;
    for (int t = 0; t < THREADS; t++)
        if (ftp_disk_start(1 << t, &disks[t], &e) < 0)
            die(e.text);
    for (int turn = 0; turn < turns; turn++) {
        int w = 0;
        for (; w < WAY_COUNT; w++) {
            rates[w][turn] = rate_bare(count, (enum way)w);
            (void)text_format(names[w], sizeof(names[w]), "bare: %s", way_names[w]);
        }
        rates[w][turn] = rate_finish(j, count);
        (void)text_format(names[w++], sizeof(names[w]), "ftp_upload_finish()");
        for (int t = 0; t < THREADS; t++, w++) {
            rates[w][turn] = rate_disk(j, count, disks[t]);
            (void)text_format(names[w], sizeof(names[w]), "%d disk threads", 1 << t);
        }
    }
    double first = median(rates[0]);
    for (int w = 0; w < WAYS; w++) {
        double rate = median(rates[w]);
        printf("%3d waiting  %-40s %8.0f/s  %5.2f\n", count, names[w], rate, rate / first);
    }
    for (int t = 0; t < THREADS; t++)
        ftp_disk_free(disks[t]);
}

static void measure_trip(void)
{
    enum { TRIPS = 5000 };
    struct err e;
    struct ftp_disk *d = NULL;
    struct ftp_disk_job job = {.kind = FTP_DISK_READ};
    if (ftp_disk_start(4, &d, &e) < 0)
        die(e.text);
    static double v[TURNS_MAX];
    for (int r = 0; r < turns; r++) {
        struct mono_time began = clock_mono();
        for (int i = 0; i < TRIPS; i++) {
            ftp_disk_submit(d, &job);
            (void)collect(d);
        }
        v[r] = (double)mono_diff_us(clock_mono(), began) / TRIPS;
    }
    printf("a trip to a disk thread and back: %.1f us\n", median(v));
    ftp_disk_free(d);
}

int main(int argc, char **argv)
{
    static const int counts[] = {1, 8, 64};
    if (argc < 2 || argc > 3 ||
        (argc == 3 && parse_int64(argv[2], strlen(argv[2]), 1, TURNS_MAX, &turns) < 0)) {
        (void)fprintf(stderr, "usage: bench_ftp_disk FOLDER [TURNS]\n");
        return 2;
    }
    folder = argv[1];
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        die(folder);
    struct ftp_jail *j = open_jail();
    for (size_t i = 0; i < sizeof(picture); i++)
        picture[i] = (char)(i * 2654435761U >> 13);
    for (size_t c = 0; c < ARRAY_LEN(counts); c++)
        measure(j, counts[c]);
    measure_trip();
    ftp_jail_unref(j);
    (void)close(folder_fd); /* only read */
    return 0;
}
