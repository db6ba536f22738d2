#pragma once
/* The notifier that a person reads: one line per event, or one JSON object a line for scripts. */

#include "notify/notifier.h"

enum console_format { CONSOLE_TEXT, CONSOLE_JSON, CONSOLE_FORMAT_COUNT };
extern const char *const console_format_names[CONSOLE_FORMAT_COUNT]; /* "text", "json" */

/* Writes to `fd` (borrowed); colours only when it is a terminal. `store_root` is put before paths.
 */
struct notifier *console_notifier_new(int fd, enum console_format format, const char *store_root);

/* The line's words about a verdict: "2 persons (0.91, 0.83), car 0.64", "nothing found", ... Shared
 * with the command line. */
const char *console_describe(const struct verdict *v, char *buf, size_t size);
