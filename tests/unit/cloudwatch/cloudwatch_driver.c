/* Makes the body of a post of what each line on standard input says, as JSON; one line for one, so
 * that Python can judge it. */

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cloudwatch/cloudwatch_body.h"
#include "sys/json.h"

enum { LINE_MAX_BYTES = 1 << 20 };

static const char *text(const json_t *j, const char *key)
{
    return json_string_value(json_object_get(j, key));
}

static void answer(const json_t *j)
{
    char application[CLOUDWATCH_VALUE_MAX], device[CLOUDWATCH_VALUE_MAX];
    const json_t *list = json_object_get(j, "data");
    size_t count = json_array_size(list);
    AUTO_FREE struct cloudwatch_datum *data = xcalloc(count + 1, sizeof(*data));
    for (size_t i = 0; i < count; i++) {
        const json_t *d = json_array_get(list, i);
        data[i] = (struct cloudwatch_datum){
            .metric = text(d, "metric"),
            .level = json_is_true(json_object_get(d, "level")),
            .value = json_number_value(json_object_get(d, "value")),
            .at = wall_from_seconds(json_integer_value(json_object_get(d, "at"))),
        };
    }
    cloudwatch_value(text(j, "application"), "app", application);
    cloudwatch_device(text(j, "device"), device);
    AUTO_DONE(dynbuf) out = {0};
    if (cloudwatch_body(text(j, "namespace"), application, device, data, count, &out) == 0)
        puts(dynbuf_str(&out));
    else
        puts("failed");
    fflush(stdout);
}

int main(void)
{
    AUTO_FREE char *line = xcalloc(1, LINE_MAX_BYTES);
    while (fgets(line, LINE_MAX_BYTES, stdin)) {
        AUTO_JSON json_t *j = NULL;
        if (js_parse(line, strlen(line), LINE_MAX_BYTES, &j, NULL) < 0)
            return 1;
        answer(j);
    }
    return 0;
}
