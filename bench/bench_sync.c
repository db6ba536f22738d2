/* The bare loop that durable uploads are measured against: nothing but writing files, syncing them,
 * renaming them, and syncing their folder, with as many files in one group as uploads finish
 * together.
 *
 *   bench_sync FOLDER PICTURE [files N] [group N] [threads N] [sync 0|1]
 *
 * A group's files are written, the disk is told of all of them, each is synced and renamed, and
 * then the folder is synced once. Threads take groups in turn. One line of JSON comes out. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

#define GROUP_MAX 256
#define THREADS_MAX 16

struct loop {
    int folder;
    char *bytes;
    size_t size;
    int64_t files, group, threads, sync;
    _Atomic int64_t next;
};

static void parse(int argc, char **argv, struct loop *ret);
static void *work(void *arg);
static void store(struct loop *l, int64_t first, int64_t count);
static void names(int64_t number, char temporary[32], char final[32]);
static _Noreturn void die(const char *what); /* with errno */
static _Noreturn void give_up(const char *why);

int main(int argc, char **argv)
{
    struct loop l = {.files = 500, .group = 1, .threads = 1, .sync = 1};
    parse(argc, argv, &l);
    pthread_t threads[THREADS_MAX];
    struct mono_time start = clock_mono();
    for (int64_t i = 0; i < l.threads; i++)
        if (pthread_create(&threads[i], NULL, work, &l) != 0)
            die("thread");
    for (int64_t i = 0; i < l.threads; i++)
        (void)pthread_join(threads[i], NULL);
    double seconds = mono_diff_ms(clock_mono(), start) / 1000;
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) < 0)
        die("getrusage");
    double cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                 (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    printf("{\"files\": %lld, \"seconds\": %.4f, \"per_second\": %.1f, \"cpu_ms\": %.4f}\n",
           (long long)l.files, seconds, (double)l.files / seconds, cpu * 1000 / (double)l.files);
    return 0;
}

static void parse(int argc, char **argv, struct loop *ret)
{
    struct {
        const char *name;
        int64_t max, *value;
    } words[] = {{"files", 10000000, &ret->files},
                 {"group", GROUP_MAX, &ret->group},
                 {"threads", THREADS_MAX, &ret->threads},
                 {"sync", 1, &ret->sync}};
    if (argc < 3 || argc % 2 == 0)
        give_up("usage: bench_sync FOLDER PICTURE [files N] [group N] [threads N] [sync 0|1]");
    for (int i = 3; i < argc; i += 2) {
        size_t w = 0;
        while (w < ARRAY_LEN(words) && strcmp(words[w].name, argv[i]) != 0)
            w++;
        if (w == ARRAY_LEN(words) ||
            parse_int64(argv[i + 1], strlen(argv[i + 1]), w < 3, words[w].max, words[w].value) < 0)
            give_up(argv[i]);
    }
    ret->folder = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FILE *f = fopen(argv[2], "rbe");
    if (ret->folder < 0 || !f || fseek(f, 0, SEEK_END) < 0)
        die("cannot open");
    long size = ftell(f);
    if (size <= 0 || fseek(f, 0, SEEK_SET) < 0)
        give_up("no picture");
    ret->size = (size_t)size;
    ret->bytes = xmalloc(ret->size);
    if (fread(ret->bytes, 1, ret->size, f) != ret->size)
        die("cannot read");
    (void)fclose(f);
}

static void *work(void *arg)
{
    struct loop *l = arg;
    for (;;) {
        int64_t first = atomic_fetch_add(&l->next, l->group);
        if (first >= l->files)
            return NULL;
        store(l, first, l->files - first < l->group ? l->files - first : l->group);
    }
}

static void store(struct loop *l, int64_t first, int64_t count)
{
    char temporary[32], final[32];
    int fd[GROUP_MAX];
    for (int64_t i = 0; i < count; i++) {
        names(first + i, temporary, final);
        fd[i] = openat(l->folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd[i] < 0 || write(fd[i], l->bytes, l->size) != (ssize_t)l->size)
            die("write");
    }
    /* All are on their way before the first is waited for, so that the disk can order them. */
    for (int64_t i = 0; i < count && l->sync && count > 1; i++)
        if (sync_file_range(fd[i], 0, 0, SYNC_FILE_RANGE_WRITE) < 0)
            die("sync_file_range");
    for (int64_t i = 0; i < count; i++) {
        names(first + i, temporary, final);
        if ((l->sync && fsync(fd[i]) < 0) || close(fd[i]) < 0 ||
            renameat(l->folder, temporary, l->folder, final) < 0)
            die("sync and rename");
    }
    if (l->sync && fsync(l->folder) < 0)
        die("sync of the folder");
}

static void names(int64_t number, char temporary[32], char final[32])
{
    (void)text_format(temporary, 32, ".incoming-%lld", (long long)number);
    (void)text_format(final, 32, "%lld.jpg", (long long)number);
}

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "bench_sync: %s: %s\n", what, strerror(errno));
    exit(2);
}

static _Noreturn void give_up(const char *why)
{
    (void)fprintf(stderr, "bench_sync: %s\n", why);
    exit(2);
}
