#pragma once
/* The only door to inih: reads the text of an INI file and reports what it holds, line by line.
 *
 * The dialect is that of Python's configparser, which the program's predecessor used: `key = value`
 * or `key: value`, `#` and `;` start a comment only at the beginning of a line (a value may hold
 * both), an indented line continues the value above it. A UTF-8 byte order mark and CRLF are
 * understood. Nothing is remembered between lines; duplicates are the caller's business.
 * Pure and thread-safe. */

#include <stdbool.h>
#include <stddef.h>

enum {
    /* A configuration of a thousand cameras has some 300 KB; more is not a configuration. */
    INI_SIZE_MAX = 1 << 20,
    /* Signed URLs and header lists are long, 8 KB is what web servers accept in one line. */
    INI_LINE_MAX = 8192,
    /* inih keeps section and key names in 50 bytes and cuts longer ones without a word. */
    INI_NAME_MAX = 49,
};

/* Strings are valid during the call only. Lines count from 1. */
struct ini_sink {
    /* "[name]"; also sections without any key. */
    void (*section)(void *arg, int line, const char *name);
    /* A pair, trimmed, with the line it starts in. `continued`: one more line of the last pair's
     * value. `in_section` is false before the first section line. */
    void (*pair)(void *arg, int line, const char *key, const char *value, bool continued,
                 bool in_section);
    /* A line that is none of these: what is wrong and what would be right. */
    void (*fault)(void *arg, int line, const char *text);
};

/* Returns 0 also when lines were faulty; -EFBIG above INI_SIZE_MAX, -EILSEQ for what is not text
 * in an encoding that extends ASCII (a NUL byte within: UTF-16 or a binary file). */
int ini_read(const char *text, size_t size, const struct ini_sink *sink, void *arg);
