/* Runs a fuzz target over its corpus where there is no fuzzing engine: every file whole, cut at up
 * to 64 places, and with bytes changed by a fixed random sequence, so that a run finds the same as
 * the last one. Prints one line; a fault ends the program as it would end the fuzzer. */

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED_MAX (1 << 20) /* corpora are small on purpose */
#define CUTS 64
#define BENDS 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* What a target has to say once its whole corpus has been through it. */
void fuzz_replayed(void) __attribute__((weak));

static uint8_t bytes[SEED_MAX];
static uint64_t state;

static size_t read_seed(const char *folder, const char *name);
static unsigned long replay(size_t size);

int main(int argc, char **argv)
{
    unsigned long files = 0, runs = 0;
    struct dirent **names = NULL;
    int count;

    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    count = scandir(argv[1], &names, NULL, alphasort);
    if (count < 0) {
        fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    for (int i = 0; i < count; i++) {
        if (names[i]->d_name[0] != '.') {
            files++;
            runs += replay(read_seed(argv[1], names[i]->d_name));
        }
        free(names[i]);
    }
    free(names);
    if (fuzz_replayed)
        fuzz_replayed();
    printf("%lu files, %lu runs\n", files, runs);
    return files > 0 ? 0 : 1;
}

static size_t read_seed(const char *folder, const char *name)
{
    char path[4096];
    size_t size;
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    size = fread(bytes, 1, sizeof bytes, f);
    (void)fclose(f);
    return size;
}

/* The target gets a copy of the exact size, so that a sanitizer sees every step outside. */
static void run(size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);

    if (!copy)
        abort();
    memcpy(copy, bytes, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static size_t random_below(size_t n)
{
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (size_t)(state >> 33) % n;
}

static unsigned long replay(size_t size)
{
    state = size;
    run(size);
    for (size_t i = 0; i < CUTS; i++)
        run(size * i / CUTS);
    if (size == 0)
        return 1 + CUTS;
    for (int i = 0; i < BENDS; i++) {
        uint8_t old[4];
        size_t at[4], n = 1 + random_below(4);

        for (size_t k = 0; k < n; k++) {
            at[k] = random_below(i % 2 == 0 ? size : size < 64 ? size : 64);
            old[k] = bytes[at[k]];
            bytes[at[k]] = (uint8_t)random_below(256);
        }
        run(size);
        for (size_t k = n; k-- > 0;)
            bytes[at[k]] = old[k];
    }
    return 1 + CUTS + BENDS;
}
