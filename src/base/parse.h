#pragma once
/* Text to values: length given, whole input consumed, range checked, no locale. Each returns 0,
 * -EINVAL (not such a value) or -ERANGE (outside min..max). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int parse_int64(const char *s, size_t len, int64_t min, int64_t max, int64_t *ret);
int parse_double(const char *s, size_t len, double min, double max, double *ret);
/* true/false, yes/no, on/off, 1/0 in any case. */
int parse_bool(const char *s, size_t len, bool *ret);
/* "250ms", "5s", "10m", "2h", "7d"; a bare number counts in `unit_ms` (0: not allowed). */
int parse_duration_ms(const char *s, size_t len, int64_t unit_ms, int64_t min, int64_t max,
                      int64_t *ret);
/* "4096", "64k", "10MB", "1GiB": powers of 1024, B and iB optional. */
int parse_size(const char *s, size_t len, int64_t min, int64_t max, int64_t *ret);
/* Index in a NULL-terminated or counted name table; case-insensitive. -EINVAL when absent. */
int parse_choice(const char *s, size_t len, const char *const *names, size_t count, int *ret);

/* Iterates over comma-separated items, trimmed, empty ones skipped. `*cursor` starts at the text
 * and ends NULL. Returns false at the end. The item points into the text. */
bool parse_list_next(const char **cursor, const char **ret_item, size_t *ret_len);

/* Optimal string alignment distance, for "did you mean"; strings above 64 bytes count as far. */
unsigned parse_distance(const char *a, const char *b);
