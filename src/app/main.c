#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/version.h"
#include "base/macros.h"
#include "base/parse.h"

static int help(void);
static int unknown(const char *name);

int main(int argc, char **argv)
{
    if (argc < 2)
        return help(), EXIT_USAGE;
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return help();
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("snapshotd %s\n", SNAPSHOTD_VERSION);
        return EXIT_DONE;
    }
    for (const struct command *const *c = commands; *c; c++)
        if (strcmp((*c)->name, name) == 0)
            return (*c)->run(argc - 1, argv + 1);
    return unknown(name);
}

static int help(void)
{
    printf("snapshotd %s: still pictures from IP cameras, examined, recorded and kept\n\n"
           "Usage: snapshotd COMMAND [OPTION]... (each has --help)\n\n",
           SNAPSHOTD_VERSION);
    for (const struct command *const *c = commands; *c; c++)
        printf("  %-12s %s\n", (*c)->name, (*c)->summary);
    printf("\nWithout any configuration: snapshotd run\n");
    return EXIT_DONE;
}

static int unknown(const char *name)
{
    const char *nearest = NULL;
    unsigned best = 3;
    for (const struct command *const *c = commands; *c; c++) {
        unsigned distance = parse_distance((*c)->name, name);
        if (distance < best) {
            best = distance;
            nearest = (*c)->name;
        }
    }
    return command_error(
        EXIT_USAGE, "there is no command \"%s\"%s%s%s: snapshotd --help lists them", name,
        nearest ? ", did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}
