#include "storage/google_oauth.h"

#include <errno.h>
#include <string.h>

#include "base/dynbuf.h"
#include "base/mem.h"
#include "base/text.h"

/* A token endpoint answers within a second. Whoever waits for it holds up pictures. */
#define STALL_MS 15000
#define TOTAL_MS 30000
#define EXPIRES_DEFAULT_S 3600 /* RFC 6749 lets a server leave it out; Google's are an hour */
#define EXPIRES_MAX_S 86400    /* more than Google ever gives; a token is tried again then */
#define FORM_MAX (4 * GOOGLE_TOKEN_MAX + 4096) /* an assertion, percent-encoded, and the rest */
#define QUOTE_MAX 160 /* of what a server says, so that our own words fit behind it */

struct refusal {
    const char *word;
    int ask; /* enum google_ask, or ANY */
    enum google_refusal refusal;
    const char *words; /* for people; NULL = the kind's own */
};
enum { ANY = -1 };

/* The first row that fits counts. */
static const struct refusal refusals[] = {
    {"authorization_pending", ANY, GOOGLE_PENDING, NULL},
    {"slow_down", ANY, GOOGLE_SLOW_DOWN, NULL},
    {"access_denied", ANY, GOOGLE_DENIED, NULL},
    {"expired_token", ANY, GOOGLE_TOO_LATE, NULL},
    {"invalid_grant", GOOGLE_ASK_REFRESH, GOOGLE_GONE,
     "Google accepts the login no more: it was withdrawn, ended by a new password, unused for 6 "
     "months or pushed out by 100 newer ones; and while the app's consent screen is in \"Testing\" "
     "a login ends after 7 days: publish the app in Google's console, then log in again by "
     "`snapshotd auth gdrive`"},
    {"invalid_grant", GOOGLE_ASK_SERVICE, GOOGLE_GONE,
     "Google does not accept the service account: its key or the account was deleted, or this "
     "machine's clock is wrong"},
    {"invalid_grant", ANY, GOOGLE_TOO_LATE, "the code is wrong, was used before or has expired"},
    {"invalid_client", GOOGLE_ASK_DEVICE, GOOGLE_CLIENT,
     "Google does not accept this client for the device flow: it must be of the type \"TVs and "
     "Limited Input devices\""},
    {"invalid_client", GOOGLE_ASK_DEVICE_POLL, GOOGLE_CLIENT,
     "Google does not accept this client: its id, its secret or its type (\"TVs and Limited Input "
     "devices\") is wrong"},
    {"invalid_client", ANY, GOOGLE_CLIENT, NULL},
    {"unauthorized_client", ANY, GOOGLE_CLIENT, NULL},
    {"deleted_client", ANY, GOOGLE_CLIENT, "the OAuth client was deleted in Google's console"},
    {"disabled_client", ANY, GOOGLE_CLIENT, "the OAuth client was disabled in Google's console"},
    {"redirect_uri_mismatch", ANY, GOOGLE_CLIENT,
     "this address for the redirect is not registered for the client in Google's console"},
    {"unsupported_grant_type", ANY, GOOGLE_CLIENT,
     "the client is not of the type that this way of logging in needs"},
    {"admin_policy_enforced", ANY, GOOGLE_POLICY,
     "an administrator of the account's organisation does not allow it"},
    {"org_internal", ANY, GOOGLE_POLICY, "the app is for members of its organisation only"},
    {"invalid_scope", ANY, GOOGLE_POLICY, "this way of logging in does not allow the scope"},
    {"invalid_request", ANY, GOOGLE_POLICY, "Google finds the request faulty"},
    {"rate_limit_exceeded", ANY, GOOGLE_BUSY, "Google was asked too often"},
    {"temporarily_unavailable", ANY, GOOGLE_BUSY, NULL},
    {"server_error", ANY, GOOGLE_BUSY, NULL},
    {"internal_failure", ANY, GOOGLE_BUSY, NULL},
    {"backend_error", ANY, GOOGLE_BUSY, NULL},
};

static const struct {
    int code;
    enum err_retry retry;
    const char *words;
} kinds[GOOGLE_REFUSAL_COUNT] = {
    [GOOGLE_PENDING] = {-EINPROGRESS, ERR_LATER, "nobody has agreed yet"},
    [GOOGLE_SLOW_DOWN] = {-EINPROGRESS, ERR_LATER, "nobody has agreed yet, and we ask too often"},
    [GOOGLE_DENIED] = {-EACCES, ERR_NEVER, "access was denied in the browser"},
    [GOOGLE_TOO_LATE] = {-ETIME, ERR_NEVER, "the code has expired: start again"},
    [GOOGLE_GONE] = {-EKEYREVOKED, ERR_NEVER, "the login is not accepted any more"},
    [GOOGLE_CLIENT] =
        {-EKEYREJECTED, ERR_NEVER,
         "Google does not accept the client: its id or its secret is wrong, or it was "
         "deleted in Google's console"},
    [GOOGLE_POLICY] = {-EACCES, ERR_NEVER, "Google does not allow it"},
    [GOOGLE_BUSY] = {-EAGAIN, ERR_LATER, "Google is in trouble"},
};

static int refuse(enum google_ask ask, long status, const json_t *answer, const char *const *sent,
                  enum google_refusal *ret, struct err *e);
static bool take_grant(json_t *answer, struct google_grant *ret);
static json_t *parse(const char *body, size_t size);

int google_oauth_judge(enum google_ask ask, long status, const char *body, size_t size,
                       const char *const *sent, struct google_grant *ret,
                       enum google_refusal *ret_refusal, struct err *e)
{
    AUTO_JSON json_t *answer = parse(body, size);
    struct google_grant grant;
    if (status / 100 != 2 || !take_grant(answer, &grant))
        return refuse(ask, status, answer, sent, ret_refusal, e);
    answer = NULL; /* the grant's */
    *ret = grant;
    *ret_refusal = GOOGLE_GRANTED;
    return 0;
}

int google_oauth_judge_device(long status, const char *body, size_t size, json_t **ret,
                              enum google_refusal *ret_refusal, struct err *e)
{
    AUTO_JSON json_t *answer = parse(body, size);
    if (status / 100 != 2 || !*google_text(answer, "device_code", GOOGLE_SECRET_MAX) ||
        !*google_text(answer, "user_code", 64))
        return refuse(GOOGLE_ASK_DEVICE, status, answer, NULL, ret_refusal, e);
    *ret = STEAL(answer);
    *ret_refusal = GOOGLE_GRANTED;
    return 0;
}

void google_grant_done(struct google_grant *g)
{
    json_decref(g->answer);
    *g = (struct google_grant){0};
}

static json_t *parse(const char *body, size_t size)
{
    json_t *j = NULL;
    /* Its error quotes the text, which may be a token; that it is no JSON is all we need. */
    if (!body || js_parse(body, size, GOOGLE_OAUTH_ANSWER_MAX, &j, NULL) < 0)
        return NULL;
    if (json_is_object(j))
        return j;
    json_decref(j);
    return NULL;
}

static int64_t seconds_of(const json_t *answer, const char *key, int64_t max, int64_t otherwise)
{
    const json_t *j = json_object_get(answer, key);
    if (!json_is_number(j))
        return otherwise;
    double s = json_number_value(j);
    return s < 0 ? 0 : s > (double)max ? max : (int64_t)s;
}

static bool take_grant(json_t *answer, struct google_grant *ret)
{
    const char *access = google_text(answer, "access_token", GOOGLE_TOKEN_MAX);
    const char *refresh = google_text(answer, "refresh_token", GOOGLE_SECRET_MAX);
    if (!*access || !google_is_word(access) || !google_is_word(refresh))
        return false;
    *ret = (struct google_grant){
        .answer = answer,
        .access_token = access,
        .refresh_token = refresh,
        .scope = google_text(answer, "scope", 4096),
        .expires_s = seconds_of(answer, "expires_in", EXPIRES_MAX_S, EXPIRES_DEFAULT_S),
        .refresh_expires_s = seconds_of(answer, "refresh_token_expires_in", INT32_MAX, -1),
    };
    return true;
}

static const struct refusal *find_refusal(enum google_ask ask, const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        if (strcmp(refusals[i].word, word) == 0 &&
            (refusals[i].ask == ANY || refusals[i].ask == (int)ask))
            return &refusals[i];
    return NULL;
}

/* Their words for people, or "" when they hold anything that we sent. */
static void quote(const char *said, const char *const *sent, char *ret, size_t size)
{
    *ret = '\0';
    for (; sent && *sent; sent++)
        if (**sent && strstr(said, *sent))
            return;
    (void)text_printable(said, strlen(said), ret, size);
}

static int refuse(enum google_ask ask, long status, const json_t *answer, const char *const *sent,
                  enum google_refusal *ret, struct err *e)
{
    const char *word = google_text(answer, "error", 64);
    if (!*word) /* the device endpoint's name for it */
        word = google_text(answer, "error_code", 64);
    const struct refusal *known = find_refusal(ask, word);
    char words_said[QUOTE_MAX], said[QUOTE_MAX + 8] = "", shown[64];
    quote(google_text(answer, "error_description", 1024), sent, words_said, sizeof(words_said));
    if (*words_said)
        (void)text_format(said, sizeof(said), " (%s)", words_said); /* fits */
    quote(word, sent, shown, sizeof(shown));

    if (known) {
        *ret = known->refusal;
    } else if (status >= 500 || status == 429 || !*word) {
        *ret = GOOGLE_BUSY;
        return err_set(e, -EAGAIN, ERR_LATER, "HTTP %ld %s%s", status,
                       *word           ? shown
                       : answer        ? "with an answer that makes no sense"
                       : status >= 500 ? "from Google"
                                       : "with an answer that is not Google's",
                       said);
    } else { /* a word of theirs that is new: nothing that a repeat would change */
        *ret = GOOGLE_POLICY;
    }
    const char *words = known && known->words ? known->words : kinds[*ret].words;
    return err_set(e, kinds[*ret].code, kinds[*ret].retry, "%s%s%s%s", shown, *shown ? ": " : "",
                   words, said);
}

int google_oauth_post(struct http_client *c, const char *url, const char *const *form,
                      struct http_answer *ret, struct err *e)
{
    static const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded",
                                          "Accept: application/json", NULL};
    struct dynbuf body;
    dynbuf_init(&body, FORM_MAX);
    for (; form[0]; form += 2) {
        if (!*form[1])
            continue;
        (void)dynbuf_printf(&body, "%s%s=", body.len ? "&" : "", form[0]);
        (void)httpc_escape(&body, form[1], strlen(form[1])); /* the buffer remembers a failure */
    }
    struct httpc_request request = {
        .method = "POST",
        .url = url,
        .headers = headers,
        .body = dynbuf_str(&body),
        .body_size = body.len,
        .use_proxy = true,
        .stall_timeout_ms = STALL_MS,
        .total_timeout_ms = TOTAL_MS,
        .size_max = GOOGLE_OAUTH_ANSWER_MAX,
    };
    int r = body.failed ? err_set(e, -ENOSPC, ERR_NEVER, "the request is too long")
                        : http_call(c, &request, NULL, ret, NULL, e);
    if (r < 0 && r != -ECANCELED && e)
        e->retry = ERR_LATER;
    if (body.data)
        explicit_bzero(body.data, body.len);
    dynbuf_done(&body);
    return r;
}

const char *google_text(const json_t *object, const char *key, size_t max)
{
    const json_t *j = json_object_get(object, key);
    return json_is_string(j) && json_string_length(j) < max ? json_string_value(j) : "";
}

bool google_is_word(const char *s)
{
    for (; *s; s++)
        if (*s <= ' ' || *s > '~')
            return false;
    return true;
}

bool google_url_is_googles(const char *url)
{
    static const char scheme[] = "https://";
    if (!text_starts_with(url, scheme) || !google_is_word(url) || strpbrk(url, "@\\?#"))
        return false;
    const char *host = url + strlen(scheme);
    size_t len = strcspn(host, "/:");
    if (host[len] == ':')
        return false;
    char name[128];
    if (len >= sizeof(name))
        return false;
    memcpy(name, host, len);
    name[len] = '\0';
    return strcmp(name, "accounts.google.com") == 0 || text_ends_with(name, ".googleapis.com");
}
