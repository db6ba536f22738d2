#pragma once
/* Text for manual pages: roff with the macros of man(7). */

#include "base/dynbuf.h"

/* Words, in which `...` becomes bold, and a line break for roff is a space for the reader. Nothing
 * in them can be a request or an escape of roff. */
void roff_text(struct dynbuf *out, const char *text);
/* A line of its own of the request `.SH`, `.SS`, `.TP` ... with words that are one argument. */
void roff_request(struct dynbuf *out, const char *request, const char *words);
/* The page's first line. */
void roff_title(struct dynbuf *out, const char *name, int section, const char *version);
