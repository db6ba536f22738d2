#include "web/fields.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"

static bool read_form(const struct http_request *req, json_t *fields);
static bool refuse_unknown(const json_t *fields, const char *const *known,
                           struct http_response *response);

static bool is_json(const struct http_request *req)
{
    const char *type = http_request_header(req, "Content-Type");
    const char *body = req->body;
    if (type && strncasecmp(type, "application/x-www-form-urlencoded", 33) == 0)
        return req->body_size > 0 && body[0] == '{'; /* curl -d '{...}' says so too */
    return true;
}

bool fields_read(const struct http_request *req, const char *const *known, json_t **ret,
                 struct http_response *response)
{
    if (req->body_size > FIELDS_BODY_MAX) {
        http_response_error(response, 413, "body-too-large", "a body here has at most %d bytes",
                            FIELDS_BODY_MAX);
        return false;
    }
    AUTO_FIELDS json_t *fields = NULL;
    bool good;
    if (is_json(req)) {
        good = req->body_size > 0 && js_parse(req->body, req->body_size, FIELDS_BODY_MAX, &fields,
                                              NULL) == 0; /* its words may quote a password */
    } else {
        fields = json_object();
        good = fields && read_form(req, fields);
    }
    if (!good || !json_is_object(fields)) {
        http_response_error(response, 400, "bad-body",
                            "the body is no JSON object, and no form: right would be "
                            "{\"name\": \"value\"} with Content-Type: application/json");
        return false;
    }
    if (!refuse_unknown(fields, known, response))
        return false;
    *ret = STEAL(fields);
    return true;
}

static bool refuse_unknown(const json_t *fields, const char *const *known,
                           struct http_response *response)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)fields, name, value)
    {
        size_t i = 0;
        while (known[i] && strcmp(known[i], name) != 0)
            i++;
        if (known[i])
            continue;
        char shown[64];
        text_escape(name, strlen(name), shown, sizeof(shown));
        http_response_error_about(response, 400, "bad-parameter", "parameter", shown,
                                  "there is no field '%s' here", shown);
        return false;
    }
    return true;
}

/* jansson frees its strings as they are; what they held is overwritten before. */
void fields_free(json_t *fields)
{
    const char *name;
    json_t *value;
    if (json_is_object(fields)) {
        json_object_foreach(fields, name, value)
        {
            if (json_is_string(value))
                explicit_bzero((char *)(uintptr_t)json_string_value(value),
                               json_string_length(value));
        }
    }
    json_decref(fields);
}

bool fields_text(const json_t *fields, const char *name, const char **ret,
                 struct http_response *response)
{
    const json_t *value = json_object_get(fields, name);
    *ret = NULL;
    if (!value || json_is_null(value))
        return true;
    if (!json_is_string(value)) {
        fields_refuse(response, name, "a text");
        return false;
    }
    *ret = json_string_value(value);
    return true;
}

bool fields_need(const json_t *fields, const char *name, const char **ret,
                 struct http_response *response)
{
    if (!fields_text(fields, name, ret, response))
        return false;
    if (*ret && **ret)
        return true;
    fields_refuse(response, name, "a text that is not empty");
    return false;
}

/* The value stays unsaid: it may be a password. */
void fields_refuse(struct http_response *ret, const char *name, const char *right)
{
    http_response_error_about(ret, 400, "bad-parameter", "parameter", name, "%s: right would be %s",
                              name, right);
}

/* ---- forms ---- */

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)((at - digits) % 16) : -1;
}

/* Decodes in place; false when it is no form, or holds a NUL. */
static bool decode(char *s)
{
    char *to = s;
    for (; *s; s++) {
        if (*s != '%') {
            *to++ = *s == '+' ? ' ' : *s;
            continue;
        }
        int high = hex_digit(s[1]), low = high < 0 ? -1 : hex_digit(s[2]);
        if (low < 0 || (high == 0 && low == 0))
            return false;
        *to++ = (char)(high * 16 + low);
        s += 2;
    }
    *to = '\0';
    return true;
}

/* A field given twice has two meanings: refused. */
static bool take_field(char *item, json_t *fields)
{
    char *value = strchr(item, '=');
    if (value)
        *value++ = '\0';
    else
        value = item + strlen(item);
    if (!decode(item) || !decode(value) || json_object_get(fields, item))
        return false;
    return json_object_set_new(fields, item, json_string(value)) == 0; /* refuses bad UTF-8 */
}

static bool read_form(const struct http_request *req, json_t *fields)
{
    if (memchr(req->body, '\0', req->body_size))
        return false;
    char text[FIELDS_BODY_MAX + 1];
    memcpy(text, req->body, req->body_size);
    text[req->body_size] = '\0';
    bool good = true;
    for (char *item = text; good && item;) {
        char *next = strchr(item, '&');
        if (next)
            *next++ = '\0';
        good = *item == '\0' || take_field(item, fields);
        item = next;
    }
    explicit_bzero(text, sizeof(text));
    return good;
}
