/* Is this answer a picture? Cameras lie in every header: pictures come as text/plain, login pages
 * come with status 200, failures come as XML with "OK" in the status line. So the status only says
 * what went wrong, and the first bytes say what came. */

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "camera/camera_kind.h"
#include "picture/picture.h"

/* Failure bodies are short; a maker's code further behind is not looked for. */
#define KNOWN_BODY_MAX 4096
/* Of foreign text in a message: enough to recognise it, too little to fill a log. */
#define QUOTE_MAX 96

const char *const camera_fault_names[CAMERA_FAULT_COUNT] = {"none", "credentials", "busy",
                                                            "not-picture", "other"};

/* One row per code by which a maker's camera tells a failure in a body. */
struct maker_code {
    int64_t code;
    enum camera_fault fault;
    int error;
    enum err_retry retry;
    const char *text;
};

/* Foscam, "IPCamera CGI User Guide": <CGI_Result><result>N</result></CGI_Result>. */
static const struct maker_code foscam_codes[] = {
    {-1, CAMERA_FAULT_OTHER, -EREMOTEIO, ERR_NEVER, "it does not understand the command"},
    {-2, CAMERA_FAULT_CREDENTIALS, -EACCES, ERR_NEVER, "it rejects the user or the password"},
    {-3, CAMERA_FAULT_CREDENTIALS, -EACCES, ERR_NEVER, "the user may not take pictures"},
    {-4, CAMERA_FAULT_OTHER, -EREMOTEIO, ERR_NOW, "it could not take the picture"},
    {-5, CAMERA_FAULT_BUSY, -EBUSY, ERR_LATER, "it ran into a time-out of its own"},
    {-6, CAMERA_FAULT_OTHER, -EREMOTEIO, ERR_LATER, "reserved code"},
    {-7, CAMERA_FAULT_OTHER, -EREMOTEIO, ERR_LATER, "an unknown failure"},
    {-8, CAMERA_FAULT_OTHER, -EREMOTEIO, ERR_LATER, "it is not reachable behind its library"},
};

/* Reolink, "Camera HTTP API User Guide": [{"cmd":"Snap","code":1,"error":{"rspCode":N}}]. */
static const struct maker_code reolink_codes[] = {
    {-1, CAMERA_FAULT_OTHER, -EREMOTEIO, ERR_NEVER, "a parameter is missing"},
    {-4, CAMERA_FAULT_OTHER, -EREMOTEIO, ERR_NEVER, "a parameter is wrong"},
    {-5, CAMERA_FAULT_BUSY, -EBUSY, ERR_LATER, "too many sessions"},
    {-6, CAMERA_FAULT_CREDENTIALS, -EACCES, ERR_NEVER, "it wants a login first"},
    {-7, CAMERA_FAULT_CREDENTIALS, -EACCES, ERR_NEVER, "it rejects the user or the password"},
    {-8, CAMERA_FAULT_BUSY, -EBUSY, ERR_LATER, "its operation timed out"},
    {-9, CAMERA_FAULT_OTHER, -EREMOTEIO, ERR_NEVER, "it does not support the command"},
};

/* Hikvision, "ISAPI Developer Guide": <ResponseStatus>...<statusCode>N</statusCode>. */
static const struct maker_code hikvision_codes[] = {
    {2, CAMERA_FAULT_BUSY, -EBUSY, ERR_LATER, "it is busy"},
    {3, CAMERA_FAULT_OTHER, -EREMOTEIO, ERR_LATER, "a device error"},
    {4, CAMERA_FAULT_OTHER, -EREMOTEIO, ERR_NEVER, "it does not allow the operation"},
    {5, CAMERA_FAULT_OTHER, -EREMOTEIO, ERR_NEVER, "it does not understand the request"},
    {6, CAMERA_FAULT_OTHER, -EREMOTEIO, ERR_NEVER, "a parameter of the request is wrong"},
    {7, CAMERA_FAULT_OTHER, -EREMOTEIO, ERR_LATER, "it needs a restart"},
};

/* Failures that makers tell in words; looked for before the codes, which say less. A notActivated
 * camera has no password yet and answers nothing else. */
struct maker_words {
    const char *sign;  /* the body begins with or holds this ... */
    const char *words; /* ... and this behind it */
    enum camera_fault fault;
    int error;
    enum err_retry retry;
    const char *text;
};
static const struct maker_words maker_words[] = {
    {"<ResponseStatus", ">notActivated<", CAMERA_FAULT_OTHER, -EREMOTEIO, ERR_NEVER,
     "it is not activated: set its password first, in its web page or the maker's tool"},
    {"<ResponseStatus", ">badAuthorization<", CAMERA_FAULT_CREDENTIALS, -EACCES, ERR_NEVER,
     "it rejects the user or the password (badAuthorization)"},
    {"<ResponseStatus", ">lowPrivilege<", CAMERA_FAULT_CREDENTIALS, -EACCES, ERR_NEVER,
     "the user may not take pictures (lowPrivilege): give it the right to view"},
    {"<ResponseStatus", ">deviceBusy<", CAMERA_FAULT_BUSY, -EBUSY, ERR_LATER,
     "it is busy (deviceBusy)"},
    {"<userCheck", "<lockStatus>lock<", CAMERA_FAULT_CREDENTIALS, -EACCES, ERR_NEVER,
     "the account is locked after wrong logins; it opens by itself after some minutes"},
    {"Error", "Invalid Authority", CAMERA_FAULT_CREDENTIALS, -EACCES, ERR_NEVER,
     "it rejects the user or the password, or the user may not take pictures (Invalid Authority)"},
};

struct maker {
    const char *sign;   /* the body holds this ... */
    const char *before; /* ... and the number behind this */
    const char *says;
    const struct maker_code *codes;
    size_t count;
};
static const struct maker makers[] = {
    {"<CGI_Result", "<result>", "Foscam result", foscam_codes, ARRAY_LEN(foscam_codes)},
    {"\"rspCode\"", "\"rspCode\"", "Reolink rspCode", reolink_codes, ARRAY_LEN(reolink_codes)},
    {"<ResponseStatus", "<statusCode>", "Hikvision statusCode", hikvision_codes,
     ARRAY_LEN(hikvision_codes)},
};

static int judge_status(const struct camera *cam, const struct camera_answer *a,
                        enum camera_fault *fault, struct err *e);
static int judge_known_body(const struct camera_answer *a, enum camera_fault *fault, struct err *e);
static int judge_picture(const struct camera *cam, const struct camera_answer *a,
                         enum camera_fault *fault, struct err *e);

int camera_judge(const struct camera *cam, const struct camera_answer *a,
                 enum camera_fault *ret_fault, struct err *e)
{
    enum camera_fault fault = CAMERA_FAULT_OTHER;
    int r = judge_status(cam, a, &fault, e);
    if (r == 0)
        r = judge_picture(cam, a, &fault, e);
    *ret_fault = r < 0 ? fault : CAMERA_FAULT_NONE;
    if (r < 0)
        (void)err_prefix(e, "%s", a->shown ? a->shown : "the answer"); /* the code stays */
    return r;
}

int camera_judge_message(const struct camera *cam, const struct camera_answer *a,
                         enum camera_fault *ret_fault, struct err *e)
{
    int r = judge_status(cam, a, ret_fault, e);
    return r < 0 ? r : judge_known_body(a, ret_fault, e);
}

static int refuse(enum camera_fault *fault, enum camera_fault what, int code)
{
    *fault = what;
    return code;
}

static int judge_login(const struct camera *cam, const struct camera_answer *a, struct err *e)
{
    char user[64];
    if (a->login_sent)
        return err_set(e, -EACCES, ERR_NEVER,
                       "HTTP %ld: the camera rejects user '%s' or the password", a->status,
                       text_escape(cam->user, strlen(cam->user), user, sizeof(user)));
    if (!cam->user || !*cam->user)
        return err_set(e, -EACCES, ERR_NEVER,
                       "HTTP %ld: the camera wants a login: set user and password", a->status);
    if (a->redirects)
        return err_set(e, -EACCES, ERR_NEVER,
                       "HTTP %ld: the camera redirects to another address, where the login is not "
                       "sent: configure that address",
                       a->status);
    if (a->offers_basic && !a->offers_digest)
        return err_set(e, -EACCES, ERR_NEVER,
                       "HTTP %ld: the camera offers only basic login, which sends the password "
                       "readable: allow it by auth = basic, or use https",
                       a->status);
    return err_set(e, -EACCES, ERR_NEVER,
                   "HTTP %ld: the camera wants a login of a form that was not sent: check auth",
                   a->status);
}

/* 0: the status does not forbid that the body is a picture. */
static int judge_status(const struct camera *cam, const struct camera_answer *a,
                        enum camera_fault *fault, struct err *e)
{
    if (a->status == 0 || (a->status >= 200 && a->status < 300))
        return 0;
    /* A maker's own code is nearer to the truth than the status that carries it. */
    int r = judge_known_body(a, fault, e);
    if (r < 0)
        return r;
    switch (a->status) {
    case 401:
    case 403:
    case 407:
        return refuse(fault, CAMERA_FAULT_CREDENTIALS, judge_login(cam, a, e));
    case 404:
    case 410:
        return refuse(fault, CAMERA_FAULT_OTHER,
                      err_set(e, -ENOENT, ERR_NEVER,
                              "HTTP %ld: the camera has nothing at this path: check kind, command "
                              "or url",
                              a->status));
    case 408:
    case 425:
    case 429:
    case 503:
        return refuse(
            fault, CAMERA_FAULT_BUSY,
            a->retry_after_s >= 0
                ? err_set(e, -EBUSY, ERR_LATER,
                          "HTTP %ld: the camera is busy, and asks to come back in %ld s", a->status,
                          a->retry_after_s)
                : err_set(e, -EBUSY, ERR_LATER, "HTTP %ld: the camera is busy", a->status));
    default:
        break;
    }
    *fault = CAMERA_FAULT_OTHER;
    if (a->status >= 300 && a->status < 400)
        return err_set(e, -EREMOTEIO, ERR_NEVER, "HTTP %ld: a redirect that leads nowhere",
                       a->status);
    /* 501 and 505 are the camera's way to say that it will never know the request. */
    enum err_retry retry =
        a->status >= 500 && a->status != 501 && a->status != 505 ? ERR_LATER : ERR_NEVER;
    return err_set(e, -EREMOTEIO, retry, "HTTP %ld: the camera reports a failure", a->status);
}

static const char *find(const char *text, size_t len, const char *word)
{
    return memmem(text, len, word, strlen(word));
}

/* The integer behind `p`, past blanks, quotes and a colon. */
static bool number_behind(const char *p, const char *end, int64_t *ret)
{
    while (p < end && memchr(" \t\r\n:\"", *p, 6))
        p++;
    const char *start = p;
    if (p < end && *p == '-')
        p++;
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return parse_int64(start, (size_t)(p - start), INT32_MIN, INT32_MAX, ret) == 0;
}

static int judge_words(const char *text, size_t len, enum camera_fault *fault, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(maker_words); i++) {
        const struct maker_words *row = &maker_words[i];
        /* "Error" is a word of many pages; Dahua's text is nothing but it and the reason. */
        const char *sign = find(text, len, row->sign);
        if (!sign || (*row->sign != '<' && sign != text))
            continue;
        if (find(sign, (size_t)(text + len - sign), row->words))
            return refuse(fault, row->fault,
                          err_set(e, row->error, row->retry,
                                  "the camera answers with a failure: %s", row->text));
    }
    return 0;
}

/* 0: not a failure that a maker documents. */
static int judge_known_body(const struct camera_answer *a, enum camera_fault *fault, struct err *e)
{
    const char *text = a->body;
    size_t len = MIN(a->size, (size_t)KNOWN_BODY_MAX);
    if (!len)
        return 0;
    int r = judge_words(text, len, fault, e);
    if (r < 0)
        return r;
    for (size_t m = 0; m < ARRAY_LEN(makers); m++) {
        const char *sign = find(text, len, makers[m].sign);
        if (!sign)
            continue;
        const char *before = find(sign, (size_t)(text + len - sign), makers[m].before);
        int64_t code;
        if (!before || !number_behind(before + strlen(makers[m].before), text + len, &code))
            continue;
        for (size_t i = 0; i < makers[m].count; i++) {
            const struct maker_code *row = &makers[m].codes[i];
            /* Hikvision calls a wrong login an invalid operation. */
            if (a->status == 401 && row->fault == CAMERA_FAULT_OTHER)
                continue;
            if (row->code == code)
                return refuse(fault, row->fault,
                              err_set(e, row->error, row->retry,
                                      "the camera answers with a failure: %s (%s %lld)", row->text,
                                      makers[m].says, (long long)code));
        }
        if (a->status >= 200 && a->status < 300)
            return refuse(fault, CAMERA_FAULT_NOT_PICTURE,
                          err_set(e, -EINVAL, ERR_NEVER,
                                  "the camera answers with a message and no picture (%s %lld)",
                                  makers[m].says, (long long)code));
    }
    return 0;
}

/* What a person would recognise the text by: the title of a page, or its first line. */
static const char *quote(const struct camera_answer *a, char *buf, size_t size)
{
    const char *text = a->body, *end = text + MIN(a->size, (size_t)KNOWN_BODY_MAX);
    const char *from = find(text, (size_t)(end - text), "<title>");
    from = from ? from + strlen("<title>") : text;
    while (from < end && (*from == ' ' || *from == '\r' || *from == '\n' || *from == '\t'))
        from++;
    const char *to = from;
    while (to < end && *to != '\r' && *to != '\n' && (*to != '<' || to == from))
        to++;
    return text_escape(from, MIN((size_t)(to - from), (size_t)QUOTE_MAX / 2), buf, size);
}

static bool is_text(const struct camera_answer *a)
{
    const uint8_t *p = a->body;
    size_t len = MIN(a->size, (size_t)256);
    for (size_t i = 0; i < len; i++)
        if (p[i] < 32 && !memchr("\t\r\n\f", p[i], 4))
            return false;
    return len > 0;
}

static int not_a_picture(const struct camera *cam, const struct camera_answer *a, struct err *e)
{
    if (a->size == 0)
        return err_set(e, -EINVAL, ERR_NOW, "HTTP %ld with an empty body", a->status);
    const char *what = picture_describe(a->body, a->size);
    if (!is_text(a))
        return err_set(e, -EINVAL, ERR_NEVER, "not a picture but %s (%zu bytes)", what, a->size);
    char words[QUOTE_MAX];
    quote(a, words, sizeof(words));
    /* Foscam's older command answers with a page that refers to the picture. */
    const char *hint = "";
    if (cam->kind && !strcmp(cam->kind, "foscam") && cam->command &&
        text_ends_with(cam->command, "snapPicture"))
        hint = ": use the command snapPicture2";
    return err_set(e, -EINVAL, ERR_NEVER, "not a picture but %s: \"%s\"%s", what, words, hint);
}

static int judge_picture(const struct camera *cam, const struct camera_answer *a,
                         enum camera_fault *fault, struct err *e)
{
    *fault = CAMERA_FAULT_NOT_PICTURE;
    if (picture_sniff(a->body, a->size) == PICTURE_UNKNOWN) {
        int r = judge_known_body(a, fault, e);
        return r < 0 ? r : not_a_picture(cam, a, e);
    }
    struct picture_limits limits = picture_limits_default;
    if (cam->size_max > 0)
        limits.bytes_max = (size_t)cam->size_max;
    struct picture_info info;
    struct err why = {0};
    int r = picture_probe(a->body, a->size, &limits, &info, &why);
    if (r == -EINVAL) /* it begins as a picture: what is broken behind may come whole next time */
        return err_set(e, -EBADMSG, ERR_NOW, "the picture is damaged: %s", why.text);
    if (r < 0)
        return err_set(e, r, why.retry, "%s", why.text);
    if (info.incomplete)
        return err_set(e, -EBADMSG, ERR_NOW, "the %s picture ends early, after %zu bytes",
                       picture_format_names[info.format], a->size);
    return 0;
}
