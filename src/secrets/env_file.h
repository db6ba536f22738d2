#pragma once
/* Files of environment variables, written so that their readers agree on every value.
 *
 * ENV_SYSTEMD is for EnvironmentFile= of systemd.exec(5); Docker Compose and a shell read the same.
 * Values of plain characters stand as they are, others in single quotes, where nothing has a
 * meaning, and those with a single quote in double quotes with backslashes.
 * ENV_DOCKER is for `docker run --env-file`, which knows no quotes: what is behind = is the value,
 * so a line break cannot be written. */

#include <stdbool.h>
#include <stddef.h>

#include "base/dynbuf.h"
#include "base/err.h"
#include "base/macros.h"

enum env_format { ENV_SYSTEMD, ENV_DOCKER, ENV_FORMAT_COUNT };
extern const char *const env_format_names[ENV_FORMAT_COUNT + 1]; /* NULL-terminated */

#define ENV_FILE_MAX ((size_t)1 << 20)
#define ENV_PAIRS_MAX 1000

struct env_pair {
    char *name, *value;
};
struct env_file {
    struct env_pair *pairs;
    size_t count;
};
void env_file_done(struct env_file *f); /* wipes */

bool env_name_valid(const char *name);
/* In place of one of the same name. -EINVAL: not a name; -E2BIG. */
int env_file_set(struct env_file *f, const char *name, const char *value, struct err *e);
const char *env_file_get(const struct env_file *f, const char *name); /* NULL = not there */
/* What is no assignment is left out, as the readers do. */
int env_file_parse(const char *text, size_t size, enum env_format format, struct env_file *ret,
                   struct err *e);
/* -EINVAL: a value cannot be written in this format. */
int env_file_write(const struct env_file *f, enum env_format format, struct dynbuf *out,
                   struct err *e);
