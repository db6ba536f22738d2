#include "cloudwatch/cloudwatch_body.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "sys/httpc.h"

#define VALUE_LARGEST 0x1p360 /* CloudWatch's limit */
#define SESSION_MIN 2

void cloudwatch_value(const char *text, const char *fallback, char ret[CLOUDWATCH_VALUE_MAX])
{
    size_t len = 0;
    bool visible = false;
    for (const char *s = text; *s && len + 1 < CLOUDWATCH_VALUE_MAX;) {
        size_t n = text_utf8_length(s, strlen(s));
        bool plain = *s >= ' ' && *s < 0x7f;
        ret[len++] = plain ? *s : '?';
        visible |= *s != ' ';
        s += n ? n : 1;
    }
    ret[len] = '\0';
    if (!visible)
        text_copy(ret, CLOUDWATCH_VALUE_MAX, fallback);
}

void cloudwatch_device(const char *device_name, char ret[CLOUDWATCH_VALUE_MAX])
{
    cloudwatch_value(device_name, "unknown", ret);
    char *hyphen = strchr(ret, '-');
    hyphen = hyphen ? strchr(hyphen + 1, '-') : NULL;
    if (hyphen)
        *hyphen = '\0';
}

static bool is_session_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("_+=,.@-", c));
}

bool cloudwatch_is_session(const char *text)
{
    size_t len = 0;
    while (is_session_character(text[len]))
        len++;
    return text[len] == '\0' && len >= SESSION_MIN && len < CLOUDWATCH_SESSION_MAX;
}

void cloudwatch_session(const char *given, const char *app_name, char ret[CLOUDWATCH_SESSION_MAX])
{
    static const char suffix[] = "-session";
    size_t len = 0;
    if (given && cloudwatch_is_session(given)) {
        text_copy(ret, CLOUDWATCH_SESSION_MAX, given); /* fits */
        return;
    }
    for (; app_name[len] && len < CLOUDWATCH_SESSION_MAX - sizeof(suffix); len++)
        ret[len] = is_session_character(app_name[len]) ? app_name[len] : '-';
    memcpy(ret + len, suffix, sizeof(suffix));
}

static void add(struct dynbuf *out, const char *name, const char *value)
{
    (void)dynbuf_printf(out, "&%s=", name); /* the buffer keeps its failure */
    (void)httpc_escape(out, value, strlen(value));
}

static void add_datum(struct dynbuf *out, size_t number, const struct cloudwatch_datum *d,
                      const char *const dimensions[2][2])
{
    char name[80], value[32], at[WALL_ISO_MAX];
#define NAME(...) ((void)text_format(name, sizeof(name), __VA_ARGS__), name) /* fits */
    add(out, NAME("MetricData.member.%zu.MetricName", number), d->metric);
    for (size_t i = 0; i < 2; i++) {
        add(out, NAME("MetricData.member.%zu.Dimensions.member.%zu.Name", number, i + 1),
            dimensions[i][0]);
        add(out, NAME("MetricData.member.%zu.Dimensions.member.%zu.Value", number, i + 1),
            dimensions[i][1]);
    }
    add(out, NAME("MetricData.member.%zu.Timestamp", number), wall_format_iso(d->at, false, at));
    (void)text_format(value, sizeof(value), "%.15g", d->value); /* fits */
    if (d->level || d->value == 1) {
        add(out, NAME("MetricData.member.%zu.Value", number), value);
    } else {
        add(out, NAME("MetricData.member.%zu.Values.member.1", number), "1");
        add(out, NAME("MetricData.member.%zu.Counts.member.1", number), value);
    }
    add(out, NAME("MetricData.member.%zu.Unit", number), "Count");
#undef NAME
}

int cloudwatch_body(const char *name_space, const char *application, const char *device,
                    const struct cloudwatch_datum *data, size_t count, struct dynbuf *out)
{
    const char *const dimensions[2][2] = {{"Application", application}, {"Device", device}};
    dynbuf_init(out, CLOUDWATCH_BODY_MAX);
    (void)dynbuf_puts(out, "Action=PutMetricData&Version=2010-08-01");
    add(out, "Namespace", name_space);
    size_t number = 0;
    for (size_t i = 0; i < count; i++)
        if (isfinite(data[i].value) && fabs(data[i].value) <= VALUE_LARGEST)
            add_datum(out, ++number, &data[i], dimensions);
    return out->failed ? -ENOSPC : 0;
}
