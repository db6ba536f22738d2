/* What strangers and a dying process write for the error reporter: DSNs, limits, crash reports,
 * texts to be scrubbed, and ELF files. The first byte chooses. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/symbols.h"
#include "report/crash_report.h"
#include "report/dsn.h"
#include "report/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_crash(const char *text, size_t size)
{
    struct crash_report *r = xcalloc(1, sizeof(*r));
    char words[256];
    if (crash_report_parse(text, size, r) == 0) {
        static const struct event_origin origin = {"r", "e", "s", "v"};
        json_decref(crash_report_event(r, &origin, NULL, "00000000000040008000000000000000"));
        (void)crash_report_sentence(r, words, sizeof(words));
    }
    free(r);
}

static void as_program(const char *bytes, size_t size)
{
    AUTO(blob) file = blob_new_copy(bytes, size);
    AUTO(symbols) s = NULL;
    if (file && symbols_of_blob(file, NULL, &s, NULL) == 0)
        (void)symbols_find(s, 0x1000, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    char *text = xstrndup((const char *)data + 1, size - 1);
    struct dsn dsn;
    switch (data[0] % 5) {
    case 0:
        (void)dsn_parse(text, &dsn, NULL);
        break;
    case 1:
        (void)limits_pause_s(429, text, -1);
        break;
    case 2:
        as_crash(text, strlen(text));
        break;
    case 3:
        free(scrub_text(NULL, text));
        break;
    default:
        as_program((const char *)data + 1, size - 1);
    }
    free(text);
    return 0;
}
