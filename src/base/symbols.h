#pragma once
/* Names of functions by address, out of an ELF file's own symbol table. Files are read with every
 * offset checked: what a crash left behind names them. */

#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/err.h"
#include "base/macros.h"

/* "Build id" of a program as hex: 20 bytes by default, and none is longer than 32. */
#define SYMBOLS_BUILD_ID_HEX (2 * 32 + 1)

struct symbols;

/* Reads `path`, else, where the tables were taken out of it, its part below /usr/lib/debug.
 * -ESTALE: it is not the build that `build_id` names (NULL or "" = any). Other negative codes: it
 * cannot be read, or is no such file. */
int symbols_open(const char *path, const char *build_id, struct symbols **ret, struct err *e);
/* The same for bytes in memory, of which it takes a reference. */
int symbols_of_blob(struct blob *file, const char *build_id, struct symbols **ret, struct err *e);
void symbols_free(struct symbols *s);
DEFINE_AUTO(symbols, symbols_free)

/* The function that holds this address, counted from where the file was loaded, or NULL. Valid as
 * long as `s`. `ret_offset` (may be NULL): how far into it. */
const char *symbols_find(const struct symbols *s, uint64_t address, uint64_t *ret_offset);
/* "" when the file has none. */
const char *symbols_build_id(const struct symbols *s);
