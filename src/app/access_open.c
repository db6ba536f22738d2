#include "app/access_open.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"

int access_open(const struct app_options *o, bool create, struct access_db **ret)
{
    AUTO(app_config) config = NULL;
    struct app_options lenient = *o; /* where the data are is all that is wanted */
    lenient.secrets = SECRETS_CACHE;
    int status = app_options_load_or_say(&lenient, &config);
    if (status != EXIT_DONE)
        return status;
    AUTO_FREE char *path = xasprintf("%s/" ACCESS_DB_NAME, config->app.data_dir);
    struct err e = {0};
    if (access(config->app.data_dir, F_OK) < 0)
        return command_error(EXIT_FAILED,
                             "there is no folder %s yet: start the daemon once, or name its "
                             "configuration with -c",
                             config->app.data_dir);
    if (!create && access(path, F_OK) < 0 && errno == ENOENT)
        return EXIT_DONE;
    if (access_db_open(path, create, ret, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    return EXIT_DONE;
}

void access_note(struct access_db *d, const char *what, const char *fmt, ...)
{
    struct access_event ev = {.kind = ACCESS_EVENT_ENTRY, .how = "command"};
    struct err e = {0};
    char words[ACCESS_WORDS_MAX / 2];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(words, sizeof(words), fmt, ap); /* cut is fine */
    va_end(ap);
    (void)text_copy(ev.what, sizeof(ev.what), what); /* ours, short */
    (void)text_format(ev.detail, sizeof(ev.detail), "%s (by uid %ld)", words, (long)getuid());
    if (access_audit_add(d, &ev, &e) < 0)
        (void)command_error(EXIT_DONE, "done, but not in the audit log: %s", e.text);
}

const char *access_time(struct wall_time t, char buf[WALL_ISO_MAX])
{
    return t.us ? wall_format_iso(t, false, buf) : "never";
}

int access_print_json(const char *name, json_t *rows)
{
    AUTO_JSON json_t *document = json_pack("{s:o}", name, rows);
    AUTO_FREE char *text = js_text(document);
    return puts(text) < 0 ? EXIT_FAILED : EXIT_DONE;
}
