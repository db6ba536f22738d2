/* Any text as the program's configuration, through loading, resolving and all documents. What was
 * accepted must be accepted again, with the same values, as it is written out. */

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "app/config.h"
#include "base/mem.h"
#include "sys/ini.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *const environment[] = {"A=a value",
                                    "PERCENT=5%% %(A)s %",
                                    "LIST=a, b",
                                    "EMPTY=",
                                    "DEVICE_NAME=d",
                                    "OUTPUT_1_LOCATION=Hall",
                                    "OUTPUT_1_TYPE=Camera",
                                    "OBJECT_DETECTION_MODEL=m",
                                    NULL};

static void check_again(const struct cfg *c);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *text = xstrndup((const char *)data, size);
    AUTO_FREE char *faults = NULL;
    AUTO_FREE char *warnings = NULL;
    AUTO_FREE char *more_faults = NULL;
    AUTO_FREE char *more_warnings = NULL;
    AUTO(cfg) c = NULL;
    AUTO(app_config) a = NULL;
    struct cfg_source source = {.path = "fuzz.conf", .text = text, .environment = environment};

    int r = cfg_load(&app_schema, &source, &c, &faults, &warnings);
    assert((r == 0) == (faults == NULL) && (r == 0) == (c != NULL));
    if (r < 0) {
        assert(faults[0] != '\0' && faults[strlen(faults) - 1] == '\n');
        return 0;
    }
    r = app_config_resolve(c, &a, &more_faults, &more_warnings);
    assert((r == 0) == (more_faults == NULL) && (r == 0) == (a != NULL));
    check_again(c);
    return 0;
}

static void check_again(const struct cfg *c)
{
    AUTO_DONE(dynbuf) effective, difference;
    AUTO(cfg) again = NULL;
    struct cfg_source source = {.path = "again.conf", .environment = environment};

    dynbuf_init(&effective, 16 << 20);
    dynbuf_init(&difference, 1 << 20);
    int r = cfg_write_effective(c, &effective);
    assert(r == 0);
    /* Masked values are meant not to load, and a value can be longer than a line when variables are
     * in it. */
    if (strstr(dynbuf_str(&effective), "***"))
        return;
    for (const char *line = dynbuf_str(&effective); *line;) {
        size_t len = strcspn(line, "\n");
        if (len > INI_LINE_MAX)
            return;
        line += len + (line[len] == '\n');
    }
    source.text = dynbuf_str(&effective);
    r = cfg_load(&app_schema, &source, &again, NULL, NULL);
    assert(r == 0);
    r = cfg_write_difference(c, again, &difference);
    assert(r == 0 && difference.len == 0);
}
