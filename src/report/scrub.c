#include "report/scrub.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/dynbuf.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/httpc.h"
#include "sys/json.h"

/* A whole key file; more than that no setting holds. */
#define SECRET_MAX ((size_t)64 << 10)
/* Lines of a document that are no secrets by themselves, like "}", are short. */
#define LINE_MIN 16
/* Without a space or a slash in 40 characters: no word, no path; our ids and digests have one
 * case of letters only. */
#define RANDOM_MIN 40

/* "Bearer" and its like are shorter. */
#define DOCUMENT_TEXT_MIN 8
#define DOCUMENT_DEPTH_MAX 4

struct scrub {
    char **secrets; /* longest first: one may be a part of another */
    size_t count;
};

static void add_one(struct scrub *s, const char *secret, size_t len);
static void add_texts(struct scrub *s, const char *secret, size_t len);
static char *replace_all(char *text, const char *what);
static char *hide_values(const char *text);
static size_t hidden_length(const char *text, const char *at);

struct scrub *scrub_new(void)
{
    return xcalloc(1, sizeof(struct scrub));
}

void scrub_free(struct scrub *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->count; i++) {
        explicit_bzero(s->secrets[i], strlen(s->secrets[i]));
        free(s->secrets[i]);
    }
    free(s->secrets);
    free(s);
}

void scrub_add(struct scrub *s, const char *secret)
{
    if (!secret)
        return;
    size_t len = strnlen(secret, SECRET_MAX);
    add_one(s, secret, len);
    add_texts(s, secret, len);
    for (const char *line = secret; strchr(secret, '\n') && *line;) {
        size_t n = strcspn(line, "\n");
        if (n >= LINE_MIN)
            add_one(s, line, n);
        line += n + (line[n] == '\n');
    }
    AUTO_DONE(dynbuf) escaped = {0};
    dynbuf_init(&escaped, 3 * SECRET_MAX);
    if (httpc_escape(&escaped, secret, len) == 0 && escaped.len > len)
        add_one(s, escaped.data, escaped.len);
}

/* Addresses in such a document are everybody's. */
static void add_texts_of(struct scrub *s, const json_t *j, int depth)
{
    const char *key, *text = json_string_value(j);
    json_t *value;
    if (text && strlen(text) >= DOCUMENT_TEXT_MIN && strncmp(text, "http", 4) != 0)
        add_one(s, text, strlen(text));
    if (depth < DOCUMENT_DEPTH_MAX)
        json_object_foreach((json_t *)(uintptr_t)j, key, value)
        {
            add_texts_of(s, value, depth + 1);
        }
}

static void add_texts(struct scrub *s, const char *secret, size_t len)
{
    AUTO_JSON json_t *j = NULL;
    if (secret[0] == '{' && js_parse(secret, len, SECRET_MAX, &j, NULL) == 0)
        add_texts_of(s, j, 0);
}

static void add_one(struct scrub *s, const char *secret, size_t len)
{
    if (len < SCRUB_SECRET_MIN || s->count == SCRUB_SECRETS_MAX)
        return;
    size_t at = s->count;
    for (size_t i = 0; i < s->count; i++) {
        size_t have = strlen(s->secrets[i]);
        if (have == len && memcmp(s->secrets[i], secret, len) == 0)
            return;
        if (have < len && at == s->count)
            at = i;
    }
    s->secrets = xrealloc(s->secrets, (s->count + 1) * sizeof(*s->secrets));
    memmove(s->secrets + at + 1, s->secrets + at, (s->count - at) * sizeof(*s->secrets));
    s->secrets[at] = xstrndup(secret, len);
    s->count++;
}

char *scrub_text(const struct scrub *s, const char *text)
{
    char *clean = xstrdup(text);
    for (size_t i = 0; s && i < s->count; i++)
        clean = replace_all(clean, s->secrets[i]);
    text_redact_urls(clean);
    char *hidden = hide_values(clean);
    free(clean);
    return hidden;
}

/* Takes `text`. */
static char *replace_all(char *text, const char *what)
{
    char *at = strstr(text, what);
    if (!at)
        return text;
    AUTO_DONE(dynbuf) out = {0};
    /* The mask is shorter than any secret, so it does not grow. */
    dynbuf_init(&out, strlen(text) + 1);
    char *from = text;
    for (; at; at = strstr(from, what)) {
        (void)dynbuf_append(&out, from, (size_t)(at - from));
        (void)dynbuf_puts(&out, SCRUB_MASK);
        from = at + strlen(what);
    }
    (void)dynbuf_puts(&out, from);
    free(text);
    return dynbuf_steal(&out, NULL);
}

/* ---- what looks like a secret ---- */

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

static char *hide_values(const char *text)
{
    AUTO_DONE(dynbuf) out = {0};
    dynbuf_init(&out, 2 * strlen(text) + 8); /* a value of one byte becomes three */
    for (const char *p = text; *p;) {
        size_t n = hidden_length(text, p);
        if (n)
            (void)dynbuf_puts(&out, SCRUB_MASK);
        else
            (void)dynbuf_append(&out, p, 1);
        p += n ? n : 1;
    }
    return out.len ? dynbuf_steal(&out, NULL) : xstrdup("");
}

/* Bytes up to what ends a value in a sentence, a query, JSON or a header. */
static size_t value_length(const char *s)
{
    return strcspn(s, " \t\r\n\"'&,;<>()[]{}\\");
}

/* Names whose value is a secret when they end so: "client_secret", "X-Api-Key", "sentry_key". */
static bool is_telling(const char *name, size_t len)
{
    static const char *const endings[] = {"password",
                                          "passwd",
                                          "pass",
                                          "pwd",
                                          "secret",
                                          "token",
                                          "api_key",
                                          "api-key",
                                          "apikey",
                                          "key_id",
                                          "access_key",
                                          "sentry_key",
                                          "dsn",
                                          "assertion",
                                          "credential",
                                          "authorization",
                                          "cookie",
                                          "session",
                                          "connection_string",
                                          "private_key",
                                          "sig",
                                          "signature"};
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        size_t n = strlen(endings[i]);
        if (len >= n && strncasecmp(name + len - n, endings[i], n) == 0)
            return true;
    }
    return false;
}

/* `at` is the first byte of a value: behind `name=` or `"name": "`, with and without quotes. */
static bool follows_telling_name(const char *text, const char *at)
{
    const char *p = at;
    bool quoted = p > text && (p[-1] == '"' || p[-1] == '\'');
    if (quoted)
        p--;
    while (p > text && p[-1] == ' ')
        p--;
    if (p == text || (p[-1] != '=' && p[-1] != ':'))
        return false;
    char sign = *--p;
    const char *end = p;
    bool name_quoted = end > text && (end[-1] == '"' || end[-1] == '\'');
    if (name_quoted)
        end--;
    const char *name = end;
    while (name > text && is_word(name[-1]))
        name--;
    size_t len = (size_t)(end - name);
    /* In a sentence a colon is only a colon: "wrong password: try again". */
    bool header = len >= 13 && strncasecmp(end - 13, "authorization", 13) == 0;
    return (sign == '=' || quoted || name_quoted || header) && is_telling(name, len);
}

static bool follows_scheme(const char *text, const char *at)
{
    static const char *const schemes[] = {"Bearer ", "Basic ", "Digest "};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t n = strlen(schemes[i]);
        if ((size_t)(at - text) >= n && strncasecmp(at - n, schemes[i], n) == 0)
            return true;
    }
    return false;
}

static bool has_known_form(const char *at)
{
    static const char *const beginnings[] = {"ya29.",   "1//0", "AKIA", "ASIA", "eyJ",
                                             "GOCSPX-", "ghp_", "ops_", "AIza"};
    for (size_t i = 0; i < ARRAY_LEN(beginnings); i++)
        if (text_starts_with(at, beginnings[i]))
            return true;
    return false;
}

/* "Basic authentication" is a sentence. */
static bool may_be_login(const char *s, size_t len)
{
    return len >= 6 && strcspn(s, "0123456789=ABCDEFGHIJKLMNOPQRSTUVWXYZ") < len;
}

static size_t random_length(const char *s)
{
    size_t n = 0;
    bool upper = false, lower = false, digit = false;
    for (; is_word(s[n]) || s[n] == '+' || s[n] == '='; n++) {
        upper |= s[n] >= 'A' && s[n] <= 'Z';
        lower |= s[n] >= 'a' && s[n] <= 'z';
        digit |= s[n] >= '0' && s[n] <= '9';
    }
    return n >= RANDOM_MIN && upper && lower && digit ? n : 0;
}

/* How much of the text from `at` on is a secret, 0 = none begins here. */
static size_t hidden_length(const char *text, const char *at)
{
    size_t n = value_length(at);
    if (n == 0 || strncmp(at, SCRUB_MASK, strlen(SCRUB_MASK)) == 0)
        return 0;
    bool begins = at == text || !is_word(at[-1]);
    if (!begins)
        return 0;
    if (follows_scheme(text, at) && may_be_login(at, n))
        return n;
    if (follows_telling_name(text, at)) {
        static const char *const schemes[] = {"Bearer ", "Basic ", "Digest ", "Sentry "};
        for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
            if (strncasecmp(at, schemes[i], strlen(schemes[i])) == 0)
                return strcspn(at, "\r\n"); /* what follows the scheme is the login */
        return n;
    }
    if (has_known_form(at) && n >= 12)
        return n;
    return random_length(at);
}
