#include "storage/google_service.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "storage/google_oauth.h"
#include "storage/google_token.h"
#include "sys/sign.h"

#define KEY_PEM_MAX 16384 /* 8192 bits in PEM have 6 KB */
#define LIFE_S 3600       /* the longest that Google takes */

static void append_part(struct dynbuf *out, const void *part, size_t size);

int google_service_parse(const char *text, size_t size, struct google_service **ret, struct err *e)
{
    AUTO_JSON json_t *keys = NULL;
    /* The parser's own words quote the text, and the text is secret. */
    if (js_parse(text, size, GOOGLE_FILE_MAX, &keys, NULL) < 0 || !json_is_object(keys))
        return err_set(e, -EBADMSG, ERR_NEVER, "it is no JSON object, or cut off");
    const char *email = google_text(keys, "client_email", 512);
    const char *key = google_text(keys, "private_key", KEY_PEM_MAX);
    if (!*email || !google_is_word(email) || !*key)
        return err_set(e, -EBADMSG, ERR_NEVER,
                       "it has no client_email or private_key: download the service account's key "
                       "as JSON from Google's console");
    uint8_t signature[SIGN_RSA_MAX];
    size_t signature_size;
    int r = sign_rs256(key, "", 0, signature, &signature_size, e);
    if (r < 0) {
        (void)err_prefix(e, "its private_key");
        return e ? e->code = -EBADMSG : -EBADMSG;
    }
    struct google_service *s = xcalloc(1, sizeof(*s));
    *s = (struct google_service){
        .keys = STEAL(keys),
        .email = email,
        .private_key = key,
    };
    s->key_id = google_text(s->keys, "private_key_id", 256);
    s->token_uri = google_text(s->keys, "token_uri", 512);
    *ret = s;
    return 0;
}

int google_service_read(const char *path, struct google_service **ret, struct err *e)
{
    AUTO(blob) text = NULL;
    int r = fs_read_blob(AT_FDCWD, path, GOOGLE_FILE_MAX, &text, e);
    if (r == 0)
        r = google_service_parse((const char *)text->data, text->size, ret, e);
    if (r < 0)
        (void)err_prefix(e, "the service account %s", path);
    return r;
}

void google_service_free(struct google_service *s)
{
    if (!s)
        return;
    json_decref(s->keys);
    free(s);
}

int google_service_assertion(const struct google_service *s, const char *scope,
                             const char *audience, struct wall_time now, char **ret, struct err *e)
{
    int64_t issued = wall_seconds(now);
    AUTO_JSON json_t *header = json_pack("{s:s, s:s}", "alg", "RS256", "typ", "JWT");
    if (*s->key_id)
        (void)json_object_set_new(header, "kid", js_string(s->key_id));
    AUTO_JSON json_t *claims =
        json_pack("{s:s, s:s, s:s, s:I, s:I}", "iss", s->email, "scope", scope, "aud", audience,
                  "iat", (json_int_t)issued, "exp", (json_int_t)issued + LIFE_S);
    AUTO_FREE char *head = js_text(header);
    AUTO_FREE char *body = js_text(claims);
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, GOOGLE_TOKEN_MAX);
    append_part(&out, head, strlen(head));
    (void)dynbuf_puts(&out, ".");
    append_part(&out, body, strlen(body));
    uint8_t signature[SIGN_RSA_MAX];
    size_t signature_size;
    int r = out.failed
                ? err_set(e, -ENOSPC, ERR_NEVER, "the assertion is too long")
                : sign_rs256(s->private_key, out.data, out.len, signature, &signature_size, e);
    if (r < 0)
        return r;
    (void)dynbuf_puts(&out, ".");
    append_part(&out, signature, signature_size);
    if (out.failed)
        return err_set(e, -ENOSPC, ERR_NEVER, "the assertion is too long");
    *ret = dynbuf_steal(&out, NULL);
    return 0;
}

/* base64url without padding (RFC 7515). */
static void append_part(struct dynbuf *out, const void *part, size_t size)
{
    AUTO_FREE char *text = xmalloc(TEXT_BASE64_SIZE(size));
    text_base64(part, size, text);
    text[strcspn(text, "=")] = '\0';
    for (char *p = text; *p; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    (void)dynbuf_puts(out, text); /* the buffer remembers a failure */
}
