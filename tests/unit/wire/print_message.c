/* Writes one of our messages to standard output, for readers that are not ours; without a name, the
 * names. */

#include <stdio.h>

#include "messages.h"

int main(int argc, char **argv)
{
    if (argc == 1) {
        for (const char *const *name = message_names; *name; name++)
            puts(*name);
        return 0;
    }
    AUTO(blob) body = message_make(argv[1]);
    if (!body || fwrite(body->data, 1, body->size, stdout) != body->size)
        return 1;
    return fflush(stdout) == 0 ? 0 : 1;
}
