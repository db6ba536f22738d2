#include "aws/aws_call.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aws/aws_account.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/json.h"
#include "sys/xml.h"

enum {
    STALL_MS = 30 * 1000,
    TOTAL_MS = 60 * 1000,
    /* A line that does not bring 4 KB/s brings no pictures; a body gets that much more time. */
    SLOWEST_BYTES_PER_MS = 4,
    TIMED_BYTES_PER_MS = 32, /* of a call that is in a hurry */
    CONNECT_MS = 10 * 1000,
    ANSWER_MAX = 1 << 20,
    ERROR_MAX = 64 * 1024,
    HEADERS_MAX = 40,
};

static int one_try(struct http_client *http, const struct aws_call *call,
                   const struct aws_credentials *credentials, struct wall_time now,
                   struct http_answer *ret, bool *ret_sent, struct err *e);
static int get_credentials(struct aws_chain *chain, struct http_client *http,
                           const struct aws_call *call, struct aws_credentials *ret,
                           struct aws_error *ret_error, struct err *e);
static bool renew_credentials(struct aws_chain *chain, struct http_client *http,
                              struct aws_credentials *used);
static void read_error(const struct aws_call *call, const struct http_answer *a,
                       struct aws_error *ret);
static bool may_be_of_clock(const struct http_answer *a, const struct aws_error *error);
static bool is_bare_400(const struct aws_call *call, const struct aws_error *error);
static bool is_of_expiry(const char *code);
static enum aws_trouble trouble_without_answer(const struct aws_call *call, int code);
static int count_wanted(const struct aws_call *call);
static int tell(const struct aws_call *call, const struct aws_error *error, struct err *e);

int aws_call(struct aws_chain *chain, struct http_client *http, const struct aws_call *call,
             struct http_answer *ret, struct aws_error *ret_error, struct err *e)
{
    struct aws_credentials used;
    *ret_error = (struct aws_error){0};
    int r = get_credentials(chain, http, call, &used, ret_error, e);
    if (r < 0)
        return r;
    r = aws_call_as(&used, aws_chain_clock(chain), http, call, ret, ret_error, e);
    bool may_help =
        r == -EREMOTEIO && (is_of_expiry(ret_error->code) || is_bare_400(call, ret_error));
    if (may_help && renew_credentials(chain, http, &used))
        r = aws_call_as(&used, aws_chain_clock(chain), http, call, ret, ret_error, e);
    explicit_bzero(&used, sizeof(used));
    return r;
}

int aws_call_as(const struct aws_credentials *credentials, struct aws_clock *clock,
                struct http_client *http, const struct aws_call *call, struct http_answer *ret,
                struct aws_error *ret_error, struct err *e)
{
    for (int i = 0;; i++) {
        int64_t offset_s = aws_clock_offset_s(clock);
        *ret_error = (struct aws_error){0};
        http_answer_done(ret);
        bool sent = false;
        int r = one_try(http, call, credentials, aws_clock_at(offset_s), ret, &sent, e);
        if (r < 0) {
            ret_error->doubtful = sent;
            ret_error->trouble = trouble_without_answer(call, r);
            return r;
        }
        if (ret->status >= 200 && ret->status < 300)
            return 0;
        read_error(call, ret, ret_error);
        if (is_bare_400(call, ret_error))
            ret_error->trouble = AWS_AWAY;
        if (i || !may_be_of_clock(ret, ret_error) || !aws_clock_learn(clock, offset_s, ret->date_s))
            return tell(call, ret_error, e);
        if (call->dated) {
            ret_error->clock_news = true;
            return tell(call, ret_error, e);
        }
    }
}

static int get_credentials(struct aws_chain *chain, struct http_client *http,
                           const struct aws_call *call, struct aws_credentials *ret,
                           struct aws_error *ret_error, struct err *e)
{
    struct err why = {0};
    int r = aws_chain_get(chain, http_client_stop_fd(http), ret, &why);
    if (r == 0)
        return 0;
    ret_error->trouble = why.retry == ERR_NEVER ? AWS_LOGIN : AWS_AWAY;
    return err_set(e, r, ERR_LATER, "%s: %s", call->what, why.text);
}

/* True when there are others than those that failed. */
static bool renew_credentials(struct aws_chain *chain, struct http_client *http,
                              struct aws_credentials *used)
{
    struct aws_credentials fresh;
    aws_chain_expired(chain, used);
    bool differ = aws_chain_get(chain, http_client_stop_fd(http), &fresh, NULL) == 0 &&
                  (strcmp(fresh.access_key, used->access_key) != 0 ||
                   strcmp(fresh.secret_key, used->secret_key) != 0 ||
                   strcmp(fresh.session_token, used->session_token) != 0);
    if (differ)
        *used = fresh;
    explicit_bzero(&fresh, sizeof(fresh));
    return differ;
}

static int one_try(struct http_client *http, const struct aws_call *call,
                   const struct aws_credentials *credentials, struct wall_time now,
                   struct http_answer *ret, bool *ret_sent, struct err *e)
{
    struct aws_request request = call->request;
    char host[AWS_HOST_MAX];
    request.host = host;
    if (aws_origin_host(call->origin, host) < 0)
        return err_set(e, -EINVAL, ERR_NEVER, "%s: '%.80s' is no address", call->what,
                       call->origin);
    AUTO_DONE(aws_signed) s = {0};
    int r = aws_sign(&request, credentials, now, &s, e);
    if (r < 0)
        return err_prefix(e, "%s", call->what), r;
    const char *headers[HEADERS_MAX + 1];
    int n = 0;
    for (int i = 0; s.headers[i]; i++)
        headers[n++] = s.headers[i];
    for (int i = 0; request.headers && request.headers[i] && n < HEADERS_MAX; i++)
        headers[n++] = request.headers[i];
    headers[n] = NULL;
    AUTO_FREE char *url = xasprintf("%s%s", call->origin, dynbuf_str(&s.url));
    struct httpc_request http_request = {
        .method = request.method,
        .url = url,
        .shown = call->what,
        .headers = headers,
        .body = request.body,
        .body_size = request.body_size,
        .use_proxy = true,
        .tls_ca_file = aws_account_ca_file(),
        .stall_timeout_ms = STALL_MS,
        .total_timeout_ms = TOTAL_MS + (int64_t)request.body_size / SLOWEST_BYTES_PER_MS +
                            call->size_max / SLOWEST_BYTES_PER_MS,
        .connect_timeout_ms = CONNECT_MS,
        .size_max = call->size_max ? MAX(call->size_max, (int64_t)ERROR_MAX) : ANSWER_MAX,
    };
    if (call->timeout_ms) {
        http_request.stall_timeout_ms = call->timeout_ms;
        http_request.total_timeout_ms =
            call->timeout_ms + (int64_t)request.body_size / TIMED_BYTES_PER_MS;
        http_request.connect_timeout_ms = MIN(call->timeout_ms, (int64_t)CONNECT_MS);
    }
    const char *wanted[HTTP_HEADERS_WANTED_MAX + 1];
    int count = count_wanted(call);
    for (int i = 0; i < count; i++)
        wanted[i] = call->wanted[i];
    wanted[count] = "x-amzn-ErrorType"; /* see read_error() */
    wanted[count + 1] = NULL;
    return http_call(http, &http_request, wanted, ret, ret_sent, e);
}

static int count_wanted(const struct aws_call *call)
{
    int count = 0;
    while (call->wanted && call->wanted[count])
        count++;
    assert(count < HTTP_HEADERS_WANTED_MAX);
    return count;
}

int aws_origin_host(const char *origin, char ret[AWS_HOST_MAX])
{
    bool tls = text_starts_with(origin, "https://");
    if (!tls && !text_starts_with(origin, "http://"))
        return -EINVAL;
    const char *host = strstr(origin, "://") + 3;
    if (!*host || strpbrk(host, "/?#@ ") || !text_copy(ret, AWS_HOST_MAX, host))
        return -EINVAL;
    const char *port = tls ? ":443" : ":80";
    if (text_ends_with(ret, port))
        ret[strlen(ret) - strlen(port)] = '\0';
    return *ret ? 0 : -EINVAL;
}

/* A file of certificates that cannot be read, an address or a region that is none: as good as wrong
 * credentials. A request that is too long (-ENOSPC) is the object's own. So is an object that is
 * longer than was asked for; other answers of that length are not the service's. */
static enum aws_trouble trouble_without_answer(const struct aws_call *call, int code)
{
    if (code == -EINVAL)
        return AWS_LOGIN;
    if (code == -ENOSPC || (code == -EFBIG && call->size_max != 0))
        return AWS_WELL;
    return AWS_AWAY;
}

/* ---- errors ---- */

struct code_row {
    const char *code; /* ends with '*': begins so */
    enum aws_trouble trouble;
    enum err_retry retry;
    const char *advice; /* NULL: the service's own words do */
};

/* What is not here is judged by its status. */
static const struct code_row code_rows[] = {
    {"AccessDenied", AWS_LOGIN, ERR_LATER, "these credentials are not allowed to do this"},
    {"AccessDeniedException", AWS_LOGIN, ERR_LATER, "these credentials are not allowed to do this"},
    {"AccountProblem", AWS_LOGIN, ERR_LATER, "the account has a problem, see AWS's console"},
    {"AllAccessDisabled", AWS_LOGIN, ERR_LATER, NULL},
    {"AuthorizationHeaderMalformed", AWS_LOGIN, ERR_LATER, "is the region right?"},
    {"BadDigest", AWS_WELL, ERR_NOW, "the bytes were damaged on their way"},
    {"BandwidthLimitExceeded", AWS_RATE, ERR_LATER, NULL},
    {"ConditionalRequestConflict", AWS_WELL, ERR_NOW, "another one wrote at the same time"},
    {"EntityTooLarge", AWS_WELL, ERR_NEVER, NULL},
    {"ExpiredToken*", AWS_LOGIN, ERR_LATER, "the temporary credentials have expired"},
    {"IncompleteBody", AWS_WELL, ERR_NOW, NULL},
    {"IncompleteSignature*", AWS_LOGIN, ERR_LATER, NULL},
    {"InsufficientStorage*", AWS_QUOTA, ERR_LATER, "the server is full"},
    {"InternalError", AWS_AWAY, ERR_LATER, NULL},
    {"InternalFailure", AWS_AWAY, ERR_LATER, NULL},
    {"InternalServerError", AWS_AWAY, ERR_LATER, NULL},
    {"InvalidAccessKeyId", AWS_LOGIN, ERR_LATER, "this access key is not known there"},
    {"InvalidBucketName", AWS_LOGIN, ERR_LATER, NULL},
    {"InvalidClientTokenId", AWS_LOGIN, ERR_LATER, "this access key is not known there"},
    {"InvalidObjectState", AWS_WELL, ERR_LATER, NULL},
    {"InvalidSecurity", AWS_LOGIN, ERR_LATER, NULL},
    {"InvalidSignatureException", AWS_LOGIN, ERR_LATER, "is the secret key right?"},
    {"InvalidStorageClass", AWS_LOGIN, ERR_LATER, "see storage_class in the configuration"},
    {"InvalidToken", AWS_LOGIN, ERR_LATER, NULL},
    {"KMS.*", AWS_LOGIN, ERR_LATER, NULL},
    {"KeyTooLongError", AWS_WELL, ERR_NEVER, NULL},
    {"LimitExceededException", AWS_RATE, ERR_LATER, NULL},
    {"MethodNotAllowed", AWS_LOGIN, ERR_LATER, "is the endpoint one of S3, and path_style right?"},
    {"MissingAuthenticationToken*", AWS_LOGIN, ERR_LATER, "is a proxy taking headers away?"},
    {"NoSuchBucket", AWS_LOGIN, ERR_LATER, "the bucket has to be made first"},
    {"NoSuchKey", AWS_WELL, ERR_LATER, NULL},
    {"NotImplemented", AWS_LOGIN, ERR_LATER,
     "the server cannot do what the configuration asks for"},
    {"NotSignedUp", AWS_LOGIN, ERR_LATER, NULL},
    {"OptInRequired", AWS_LOGIN, ERR_LATER, "the account does not have this service there"},
    {"OperationAborted", AWS_WELL, ERR_LATER, NULL},
    {"PermanentRedirect", AWS_LOGIN, ERR_LATER, "the bucket is in another region"},
    {"PreconditionFailed", AWS_WELL, ERR_LATER, NULL},
    {"PriorRequestNotComplete", AWS_RATE, ERR_LATER, NULL},
    {"ProvisionedThroughputExceeded*", AWS_RATE, ERR_LATER, NULL},
    {"QuotaExceeded", AWS_QUOTA, ERR_LATER, "the bucket is full"},
    {"RequestExpired", AWS_LOGIN, ERR_LATER, "the clock here is wrong"},
    {"RequestLimitExceeded", AWS_RATE, ERR_LATER, NULL},
    {"RequestThrottled*", AWS_RATE, ERR_LATER, NULL},
    {"RequestTimeTooSkewed", AWS_LOGIN, ERR_LATER, "the clock here is wrong"},
    {"RequestTimeout*", AWS_AWAY, ERR_LATER, NULL},
    {"ServiceUnavailable*", AWS_RATE, ERR_LATER, NULL},
    {"SignatureDoesNotMatch", AWS_LOGIN, ERR_LATER, "is the secret key right?"},
    {"SlowDown*", AWS_RATE, ERR_LATER, NULL},
    {"TemporaryRedirect", AWS_AWAY, ERR_LATER, "the bucket is still being made"},
    {"Throttl*", AWS_RATE, ERR_LATER, NULL},
    {"TokenRefreshRequired", AWS_LOGIN, ERR_LATER, "the temporary credentials have expired"},
    {"TooManyRequestsException", AWS_RATE, ERR_LATER, NULL},
    {"UnrecognizedClientException", AWS_LOGIN, ERR_LATER, "this access key is not known there"},
    {"XAmzContentSHA256Mismatch", AWS_WELL, ERR_NOW, "the bytes were damaged on their way"},
    {"XMinioStorageFull", AWS_QUOTA, ERR_LATER, "the server is full"},
};

static const struct code_row *row_of(const char *code)
{
    for (size_t i = 0; i < ARRAY_LEN(code_rows); i++) {
        size_t len = strlen(code_rows[i].code);
        bool begins = code_rows[i].code[len - 1] == '*';
        if (begins ? !strncmp(code, code_rows[i].code, len - 1) : !strcmp(code, code_rows[i].code))
            return &code_rows[i];
    }
    return NULL;
}

const char *aws_error_advice(const char *code)
{
    const struct code_row *row = row_of(code);
    return row ? row->advice : NULL;
}

/* The answer to HEAD has no body: the clock may be the reason of any 403, and the Date header
 * tells. */
static bool may_be_of_clock(const struct http_answer *a, const struct aws_error *error)
{
    if (!a->body)
        return a->status == 403 || a->status == 400;

    static const char *const codes[] = {"RequestTimeTooSkewed", "RequestExpired",
                                        "InvalidSignatureException", "RequestInTheFuture",
                                        "SignatureDoesNotMatch"};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (!strcmp(error->code, codes[i]))
            return true;
    return false;
}

/* Expired credentials answer HEAD with 400, and without a body there is no code that says so. */
static bool is_bare_400(const struct aws_call *call, const struct aws_error *error)
{
    return error->status == 400 && !error->code[0] && !strcmp(call->request.method, "HEAD");
}

static bool is_of_expiry(const char *code)
{
    return text_starts_with(code, "ExpiredToken") || !strcmp(code, "InvalidToken") ||
           !strcmp(code, "TokenRefreshRequired") || !strcmp(code, "InvalidClientTokenId") ||
           !strcmp(code, "UnrecognizedClientException") || !strcmp(code, "InvalidAccessKeyId");
}

static void copy_printable(char *dst, size_t size, const char *src)
{
    (void)text_printable(src, strlen(src), dst, size);
}

/* "namespace#Name:http://..." is Name. */
static void copy_code(char dst[AWS_CODE_MAX], const char *src)
{
    const char *hash = strchr(src, '#');
    src = hash ? hash + 1 : src;
    AUTO_FREE char *name = xstrndup(src, strcspn(src, ": "));
    copy_printable(dst, AWS_CODE_MAX, name);
}

static void read_xml(const struct blob *body, struct aws_error *ret)
{
    AUTO(xml) x = NULL;
    if (xml_parse((const char *)body->data, body->size, &x, NULL) < 0)
        return;
    const struct xml_node *root = xml_root(x);
    copy_code(ret->code, xml_text(xml_find(root, NULL, "Code")));
    copy_printable(ret->message, sizeof(ret->message), xml_text(xml_find(root, NULL, "Message")));
    copy_printable(ret->region, sizeof(ret->region), xml_text(xml_find(root, NULL, "Region")));
}

static void read_json(const struct blob *body, struct aws_error *ret)
{
    AUTO_JSON json_t *j = NULL;
    if (js_parse((const char *)body->data, body->size, ERROR_MAX, &j, NULL) < 0)
        return;
    const char *type = json_string_value(json_object_get(j, "__type"));
    const char *text = json_string_value(json_object_get(j, "message"));
    if (!text)
        text = json_string_value(json_object_get(j, "Message"));
    copy_code(ret->code, type ? type : "");
    copy_printable(ret->message, sizeof(ret->message), text ? text : "");
}

static enum aws_trouble trouble_of_status(long status)
{
    if (status == 429 || status == 503 || status == 509)
        return AWS_RATE;
    if (status == 507)
        return AWS_QUOTA;
    if (status == 408 || status >= 500)
        return AWS_AWAY;
    if (status == 401 || status == 403 || status == 407 || (status >= 300 && status < 400))
        return AWS_LOGIN;
    return AWS_WELL;
}

static void judge(struct aws_error *error);

void aws_error_read(const struct http_answer *a, struct aws_error *ret)
{
    *ret = (struct aws_error){.status = a->status};
    const struct blob *body = a->body;
    if (body && body->size && body->size <= ERROR_MAX) {
        if (body->data[0] == '{')
            read_json(body, ret);
        else
            read_xml(body, ret);
    }
    judge(ret);
    if (a->retry_after_s > 0)
        ret->pause_ms = MIN(a->retry_after_s, (int64_t)86400) * 1000;
}

static void judge(struct aws_error *error)
{
    const struct code_row *row = row_of(error->code);
    error->trouble = row ? row->trouble : trouble_of_status(error->status);
    error->odd = !row && error->trouble == AWS_WELL;
}

/* Services that speak JSON may say the code in a header alone: "ThrottlingException:http://...". */
static void read_error(const struct aws_call *call, const struct http_answer *a,
                       struct aws_error *ret)
{
    aws_error_read(a, ret);
    const char *type = a->headers[count_wanted(call)];
    if (ret->code[0] || !type)
        return;
    copy_code(ret->code, type);
    judge(ret);
}

static int tell(const struct aws_call *call, const struct aws_error *error, struct err *e)
{
    const struct code_row *row = row_of(error->code);
    enum err_retry retry = row ? row->retry : ERR_LATER;
    const char *advice = row && row->advice ? row->advice : error->message;
    if (!error->code[0])
        return err_set(e, -EREMOTEIO, retry, "%s: HTTP %ld", call->what, error->status);
    return err_set(e, -EREMOTEIO, retry, "%s: HTTP %ld %s%s%s", call->what, error->status,
                   error->code, *advice ? ": " : "", advice);
}
