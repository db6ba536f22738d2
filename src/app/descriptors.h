#pragma once
/* How many files and connections the system lets the program have open. */

#include "base/err.h"

/* Takes what the system gives, up to what is of use here; the FTP server asks for more when its
 * sessions need it. Before the first thread. -EMFILE: it cannot work with so few, and the text says
 * how to give it more. */
int descriptors_prepare(struct err *e);
