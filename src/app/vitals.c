#include "app/vitals.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "app/version.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/parse.h"

static struct metric resident = {.name = "process_resident_memory_bytes",
                                 .kind = METRIC_GAUGE,
                                 .help = "Memory of the process that is in RAM"};
static struct metric virtual_bytes = {.name = "process_virtual_memory_bytes",
                                      .kind = METRIC_GAUGE,
                                      .help = "Address space of the process"};
static struct metric cpu = {.name = "process_cpu_seconds_total",
                            .kind = METRIC_COUNTER,
                            .help = "Processor time of the process, its own and the system's"};
static struct metric open_fds = {
    .name = "process_open_fds", .kind = METRIC_GAUGE, .help = "Open file descriptors"};
static struct metric max_fds = {
    .name = "process_max_fds", .kind = METRIC_GAUGE, .help = "File descriptors that may be open"};
static struct metric threads = {
    .name = "process_threads", .kind = METRIC_GAUGE, .help = "Threads of the process"};
static struct metric started = {.name = "process_start_time_seconds",
                                .kind = METRIC_GAUGE,
                                .help = "When the process was started, in seconds since 1970"};
static struct metric build = {.name = "snapshotd_build_info",
                              .kind = METRIC_GAUGE,
                              .label = "version",
                              .help = "1 for the version that runs"};

void vitals_register_metrics(void)
{
    struct metric *const all[] = {&resident, &virtual_bytes, &cpu,     &open_fds,
                                  &max_fds,  &threads,       &started, &build};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        metric_register(all[i]);
    metric_set(&build, SNAPSHOTD_VERSION, 1);
}

/* A line of /proc/self/stat has some 350 bytes. */
#define PROC_MAX 1024

static bool read_proc(const char *path, char ret[PROC_MAX])
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, PROC_MAX - 1);
    ret[MAX(n, (ssize_t)0)] = '\0';
    return n > 0;
}

/* The n-th word, counted from 0; 0 when there is none. */
static int64_t number_at(const char *text, int n)
{
    int64_t value = 0;
    for (; n > 0 && *text; n--) {
        text += strcspn(text, " ");
        text += strspn(text, " ");
    }
    return parse_int64(text, strcspn(text, " \n"), INT64_MIN, INT64_MAX, &value) < 0 ? 0 : value;
}

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = -1; /* its own */
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL)
        count += entry->d_name[0] != '.';
    if (dir)
        (void)closedir(dir); /* was only read */
    return MAX(count, 0);
}

/* The kernel counts from the boot, which has a place on the wall clock. */
static double start_seconds(int64_t ticks_since_boot)
{
    struct timespec boot;
    (void)clock_gettime(CLOCK_BOOTTIME, &boot); /* Linux has it */
    double up = (double)boot.tv_sec + (double)boot.tv_nsec / 1e9;
    double age = up - (double)ticks_since_boot / (double)sysconf(_SC_CLK_TCK);
    return (double)clock_wall().us / 1e6 - age;
}

/* The fields behind the command's name, which may hold blanks: man 5 proc counts them from 3. */
enum { STAT_FIRST = 3, STAT_THREADS = 20, STAT_START = 22 };

static void update_memory(void)
{
    char text[PROC_MAX];
    double page = (double)sysconf(_SC_PAGESIZE);
    if (!read_proc("/proc/self/statm", text))
        return;
    metric_set(&virtual_bytes, NULL, (double)number_at(text, 0) * page);
    metric_set(&resident, NULL, (double)number_at(text, 1) * page);
}

static void update_threads(void)
{
    char text[PROC_MAX];
    const char *rest = read_proc("/proc/self/stat", text) ? strrchr(text, ')') : NULL;
    if (!rest || rest[1] != ' ')
        return;
    metric_set(&threads, NULL, (double)number_at(rest + 2, STAT_THREADS - STAT_FIRST));
    if (metric_value(&started, NULL) == 0) /* once, so that it does not move with the clock */
        metric_set(&started, NULL, start_seconds(number_at(rest + 2, STAT_START - STAT_FIRST)));
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

void vitals_update(void)
{
    struct rlimit limit;
    struct rusage used;
    update_memory();
    update_threads();
    metric_set(&open_fds, NULL, count_fds());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        metric_set(&max_fds, NULL, (double)limit.rlim_cur);
    if (getrusage(RUSAGE_SELF, &used) == 0)
        metric_mirror(&cpu, NULL, seconds_of(used.ru_utime) + seconds_of(used.ru_stime));
}
