/* What Google, people and other programs write for the login: answers of the token endpoint, token
 * files, client files, addresses that are pasted. The first byte chooses the reader, the second
 * what was asked. What is read is written and read again, and must be the same. */

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "storage/google_flow.h"
#include "storage/google_service.h"
#include "storage/google_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_answer(uint8_t how, const char *text, size_t size);
static void read_token(const char *text, size_t size);
static void read_files(const char *text, size_t size);
static void read_address(const char *text, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *text = (const char *)data + 2;
    switch (data[0] & 3) {
    case 0:
        read_answer(data[1], text, size - 2);
        break;
    case 1:
        read_token(text, size - 2);
        break;
    case 2:
        read_files(text, size - 2);
        break;
    default:
        read_address(text, size - 2);
    }
    return 0;
}

static void read_answer(uint8_t how, const char *text, size_t size)
{
    static const long statuses[] = {200, 201, 302, 400, 401, 403, 428, 429, 500, 503};
    static const char *const sent[] = {"secret", NULL};
    enum google_ask ask = how % GOOGLE_ASK_COUNT;
    long status = statuses[(how / GOOGLE_ASK_COUNT) % ARRAY_LEN(statuses)];
    struct google_grant grant;
    enum google_refusal refusal = GOOGLE_REFUSAL_COUNT;
    json_t *device = NULL;
    struct err e = {0};
    int r = google_oauth_judge(ask, status, text, size, sent, &grant, &refusal, &e);
    assert(refusal < GOOGLE_REFUSAL_COUNT && (r == 0) == (refusal == GOOGLE_GRANTED));
    assert(r == 0 || (e.code == r && *e.text && !strstr(e.text, "secret")));
    if (r == 0) {
        assert(*grant.access_token && strlen(grant.access_token) < GOOGLE_TOKEN_MAX);
        google_grant_done(&grant);
    }
    if (google_oauth_judge_device(status, text, size, &device, &refusal, &e) == 0)
        json_decref(device);
}

static void read_token(const char *text, size_t size)
{
    struct google_token *t = NULL, *again = NULL;
    struct google_grant grant = {.answer = json_object(),
                                 .access_token = "a",
                                 .refresh_token = "",
                                 .scope = "",
                                 .expires_s = 3600};
    if (google_token_parse(text, size, &t, NULL) == 0) {
        assert(*t->refresh_token && google_is_word(t->refresh_token));
        google_token_take(t, &grant, wall_from_seconds(1767323045));
        AUTO_FREE char *written = js_text(t->keys);
        int r = google_token_parse(written, strlen(written), &again, NULL);
        /* Numbers of a file may grow when they are written, up to what is too long. */
        assert(strlen(written) > GOOGLE_FILE_MAX ||
               (r == 0 && google_token_is_same_login(t, again)));
    }
    google_token_free(t);
    google_token_free(again);
    google_grant_done(&grant);
}

static void read_files(const char *text, size_t size)
{
    struct google_client *c = NULL;
    struct google_service *s = NULL;
    const char *why = NULL;
    if (google_client_parse(text, size, &c, NULL) == 0)
        assert(*c->client_id && google_way_choose(c, &why) < GOOGLE_WAY_COUNT && why);
    google_client_free(c);
    if (google_service_parse(text, size, &s, NULL) == 0)
        google_service_free(s);
}

static void read_address(const char *text, size_t size)
{
    char code[GOOGLE_CODE_MAX];
    AUTO_FREE char *address = xstrndup(text, size);
    if (google_redirect_parse(address, "S", code, NULL) == 0)
        assert(*code && google_is_word(code) && strlen(code) < sizeof(code));
}
