#include "sim/sim_makers.h"

#include <string.h>

#include "base/macros.h"
#include "base/text.h"
#include "sys/hash.h"
#include "sys/json.h"
#include "sys/xml.h"

#define TEXT_MAX 16384
#define TOKEN_LEASE_S 3600
#define CREATED_SKEW_S 5 /* strict, so that a client without the offset is found out */

#define NS_SOAP "http://www.w3.org/2003/05/soap-envelope"
#define NS_SECURITY                                                                                \
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
#define NS_UTILITY                                                                                 \
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"

struct question {
    const struct sim_request *req;
    const char *body;
    size_t size;
    const struct sim_maker_options *options;
    struct sim_maker_memory *memory;
    struct wall_time now;
};
typedef void answer_fn(const struct question *q, struct sim_reply *ret);

static answer_fn old_foscam, old_foscam_stream, hikvision, dahua, by_header, by_header_stream,
    reolink, onvif_device, onvif_media;

/* A path that ends with '*' is a beginning. */
static const struct {
    const char *path;
    answer_fn *answer;
} paths[] = {
    {"/snapshot.cgi", old_foscam},
    {"/videostream.cgi", old_foscam_stream},
    {"/ISAPI/Streaming/channels/*", hikvision},
    {"/Streaming/channels/*", hikvision},
    {"/PSIA/Streaming/channels/*", hikvision},
    {"/cgi-bin/snapshot.cgi", dahua},
    {"/cgi-bin/mjpg/video.cgi", by_header_stream},
    {"/axis-cgi/jpg/image.cgi", by_header},
    {"/axis-cgi/mjpg/video.cgi", by_header_stream},
    {"/video.mjpg", by_header_stream},
    {"/cgi-bin/api.cgi", reolink},
    {"/onvif/device_service", onvif_device},
    {"/onvif/media", onvif_media},
    {"/onvif/snapshot", by_header},
};

void sim_reply_done(struct sim_reply *r)
{
    dynbuf_done(&r->text);
}

void sim_makers_answer(const struct sim_request *req, const char *body, size_t size,
                       const struct sim_maker_options *options, struct sim_maker_memory *memory,
                       struct wall_time now, struct sim_reply *ret)
{
    const struct question q = {req, body, size, options, memory, now};
    *ret = (struct sim_reply){.status = 200, .type = "text/html"};
    dynbuf_init(&ret->text, TEXT_MAX);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        size_t len = strlen(paths[i].path);
        bool start = paths[i].path[len - 1] == '*';
        if (start ? !strncmp(req->path, paths[i].path, len - 1)
                  : !strcmp(req->path, paths[i].path)) {
            paths[i].answer(&q, ret);
            return;
        }
    }
}

/* All texts here fit; one that did not would show in tests. */
#define SAY(ret, ...) ((void)dynbuf_printf(&(ret)->text, __VA_ARGS__))

static bool query_login(const struct question *q, const char *user_name, const char *password_name,
                        struct sim_reply *ret)
{
    char user[SIM_VALUE_MAX], password[SIM_VALUE_MAX];
    sim_query_get(q->req->query, user_name, user);
    sim_query_get(q->req->query, password_name, password);
    ret->login_seen = *user || *password;
    bool good = !*q->options->user ||
                (!strcmp(user, q->options->user) && !strcmp(password, q->options->password));
    ret->login_refused = !good && ret->login_seen;
    return good;
}

/* ---- by query ---- */

static void old_foscam_kind(const struct question *q, enum sim_reply_kind kind,
                            struct sim_reply *ret)
{
    bool good = query_login(q, "user", "pwd", ret);
    ret->kind = good ? kind : SIM_REPLY_TEXT;
    ret->status = good ? 200 : 401;
    SAY(ret, "<html><head><title>401 Unauthorized</title></head></html>\n");
}

static void old_foscam(const struct question *q, struct sim_reply *ret)
{
    old_foscam_kind(q, SIM_REPLY_PICTURE, ret);
}

static void old_foscam_stream(const struct question *q, struct sim_reply *ret)
{
    old_foscam_kind(q, SIM_REPLY_STREAM, ret);
}

/* ---- by header ---- */

static void by_header(const struct question *q UNUSED, struct sim_reply *ret)
{
    ret->kind = SIM_REPLY_PICTURE;
    ret->header_login = true;
    SAY(ret, "<html><body>401 Unauthorized</body></html>\n");
}

static void by_header_stream(const struct question *q, struct sim_reply *ret)
{
    by_header(q, ret);
    ret->kind = SIM_REPLY_STREAM;
}

static void hikvision(const struct question *q, struct sim_reply *ret)
{
    if (!text_ends_with(q->req->path, "/picture"))
        return;
    ret->kind = SIM_REPLY_PICTURE;
    ret->header_login = true;
    ret->type = "application/xml";
    SAY(ret,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<ResponseStatus version=\"2.0\" xmlns=\"http://www.hikvision.com/ver20/XMLSchema\">\n"
        "<requestURL>%.100s</requestURL>\n<statusCode>4</statusCode>\n"
        "<statusString>Invalid Operation</statusString>\n"
        "<subStatusCode>invalidOperation</subStatusCode>\n</ResponseStatus>\n",
        q->req->path);
}

static void dahua(const struct question *q, struct sim_reply *ret)
{
    char channel[SIM_VALUE_MAX];
    if (sim_query_get(q->req->query, "channel", channel) && strlen(channel) > 2) {
        ret->kind = SIM_REPLY_TEXT;
        ret->status = 400;
        ret->type = "text/plain";
        SAY(ret, "Error\nBad Request!\n");
        return;
    }
    ret->kind = SIM_REPLY_PICTURE;
    ret->header_login = true;
    ret->type = "text/plain";
    SAY(ret, "Error\nInvalid Authority!\n");
}

/* ---- Reolink ---- */

static void reolink_failure(struct sim_reply *ret, const char *command, int code,
                            const char *detail)
{
    ret->kind = SIM_REPLY_TEXT;
    SAY(ret,
        "[\n   {\n      \"cmd\" : \"%s\",\n      \"code\" : 1,\n      \"error\" : {\n"
        "         \"detail\" : \"%s\",\n         \"rspCode\" : %d\n      }\n   }\n]\n",
        command, detail, code);
}

static void reolink_login(const struct question *q, struct sim_reply *ret)
{
    AUTO_JSON json_t *j = NULL;
    if (!q->size || js_parse(q->body, q->size, q->size, &j, NULL) < 0) {
        reolink_failure(ret, "Login", -4, "param error");
        return;
    }
    const json_t *command = json_array_get(j, 0);
    const json_t *user = json_object_get(json_object_get(command, "param"), "User");
    const char *name = json_string_value(json_object_get(user, "userName"));
    const char *password = json_string_value(json_object_get(user, "password"));
    ret->login_seen = name || password;
    if (!name || !password || strcmp(name, q->options->user) != 0 ||
        strcmp(password, q->options->password) != 0) {
        ret->login_refused = ret->login_seen;
        reolink_failure(ret, "Login", -7, "login failed");
        return;
    }
    unsigned char bytes[16];
    hash_random(bytes, sizeof(bytes));
    text_hex(bytes, sizeof(bytes), q->memory->token);
    q->memory->token_until.us = q->now.us + TOKEN_LEASE_S * 1000000LL;
    ret->kind = SIM_REPLY_TEXT;
    SAY(ret,
        "[{\"cmd\":\"Login\",\"code\":0,\"value\":{\"Token\":{\"leaseTime\":%d,\"name\":\"%s\"}}}]"
        "\n",
        TOKEN_LEASE_S, q->memory->token);
}

static void reolink(const struct question *q, struct sim_reply *ret)
{
    char command[SIM_VALUE_MAX], token[SIM_VALUE_MAX];
    sim_query_get(q->req->query, "cmd", command);
    if (!strcmp(command, "Login")) {
        reolink_login(q, ret);
        return;
    }
    if (strcmp(command, "Snap") != 0) {
        reolink_failure(ret, "Unknown", -9, "not support");
        return;
    }
    ret->kind = SIM_REPLY_PICTURE;
    if (sim_query_get(q->req->query, "token", token)) {
        if (!*q->memory->token || strcmp(token, q->memory->token) != 0 ||
            q->now.us >= q->memory->token_until.us)
            reolink_failure(ret, "Snap", -6, "please login first");
        return;
    }
    if (q->options->reolink_token && *q->options->user)
        reolink_failure(ret, "Snap", -6, "please login first");
    else if (!query_login(q, "user", "password", ret))
        reolink_failure(ret, "Snap", -7, "login failed");
}

/* ---- ONVIF ---- */

static void soap_fault(struct sim_reply *ret, int status, const char *code, const char *subcode,
                       const char *reason)
{
    ret->kind = SIM_REPLY_TEXT;
    ret->status = status;
    ret->type = "application/soap+xml; charset=utf-8";
    SAY(ret,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<SOAP-ENV:Envelope xmlns:SOAP-ENV=\"" NS_SOAP
        "\" xmlns:ter=\"http://www.onvif.org/ver10/error\"><SOAP-ENV:Body><SOAP-ENV:Fault>"
        "<SOAP-ENV:Code><SOAP-ENV:Value>SOAP-ENV:%s</SOAP-ENV:Value><SOAP-ENV:Subcode>"
        "<SOAP-ENV:Value>ter:%s</SOAP-ENV:Value></SOAP-ENV:Subcode></SOAP-ENV:Code>"
        "<SOAP-ENV:Reason><SOAP-ENV:Text xml:lang=\"en\">%s</SOAP-ENV:Text></SOAP-ENV:Reason>"
        "</SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>\n",
        code, subcode, reason);
}

/* Prefixes as no two devices have them in common. */
static void soap_answer(struct sim_reply *ret, const char *inside)
{
    ret->kind = SIM_REPLY_TEXT;
    ret->type = "application/soap+xml; charset=utf-8";
    SAY(ret,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<env:Envelope xmlns:env=\"" NS_SOAP
        "\" xmlns:d=\"http://www.onvif.org/ver10/device/wsdl\""
        " xmlns:m=\"http://www.onvif.org/ver10/media/wsdl\""
        " xmlns=\"http://www.onvif.org/ver10/schema\"><env:Body>%s</env:Body></env:Envelope>\n",
        inside);
}

static size_t decode_base64(const char *s, uint8_t *dst, size_t size)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0, have = 0;
    size_t out = 0;
    for (; *s && *s != '='; s++) {
        const char *at = strchr(letters, *s);
        if (!at)
            return 0;
        bits = (bits << 6 | (unsigned)(at - letters)) & 0xffffff;
        have += 6;
        if (have >= 8 && out < size) {
            have -= 8;
            dst[out++] = (uint8_t)(bits >> have);
        }
    }
    return out;
}

static bool nonce_is_new(struct sim_maker_memory *m, const uint8_t *nonce, size_t size)
{
    uint64_t h = hash_64(nonce, size);
    for (unsigned i = 0; i < MIN(m->nonce_count, (unsigned)SIM_NONCES_KEPT); i++)
        if (m->nonces[i] == h)
            return false;
    m->nonces[m->nonce_count++ % SIM_NONCES_KEPT] = h;
    return true;
}

/* WS-Security UsernameToken with digest. */
static bool check_security(const struct question *q, const struct xml_node *root,
                           struct sim_reply *ret)
{
    const struct xml_node *token =
        xml_find(xml_find(root, NS_SECURITY, "Security"), NS_SECURITY, "UsernameToken");
    const char *user = xml_text(xml_find(token, NS_SECURITY, "Username"));
    const struct xml_node *password = xml_find(token, NS_SECURITY, "Password");
    const char *nonce = xml_text(xml_find(token, NS_SECURITY, "Nonce"));
    const char *created = xml_text(xml_find(token, NS_UTILITY, "Created"));
    ret->login_seen = token != NULL;
    uint8_t raw[64], digest[HASH_SHA1_BYTES];
    size_t raw_size = decode_base64(nonce, raw, sizeof(raw));
    AUTO_DONE(dynbuf) all;
    dynbuf_init(&all, TEXT_MAX);
    (void)dynbuf_append(&all, raw, raw_size); /* fits, as far as the request did */
    (void)dynbuf_puts(&all, created);
    (void)dynbuf_puts(&all, q->options->password);
    hash_sha1(all.data, all.len, digest);
    char expected[TEXT_BASE64_SIZE(HASH_SHA1_BYTES)];
    text_base64(digest, sizeof(digest), expected);
    struct wall_time at;
    int64_t clock_us = q->now.us + q->options->clock_ahead_s * 1000000LL;
    bool good = token && raw_size >= 8 && !strcmp(user, q->options->user) &&
                text_ends_with(xml_attribute(password, "Type"), "#PasswordDigest") &&
                !strcmp(xml_text(password), expected) && wall_parse_iso(created, &at) == 0 &&
                at.us >= clock_us - CREATED_SKEW_S * 1000000LL &&
                at.us <= clock_us + CREATED_SKEW_S * 1000000LL &&
                nonce_is_new(q->memory, raw, raw_size);
    ret->login_refused = token && !good;
    return good;
}

/* The question inside a SOAP body of namespace `ns`; NULL when it was answered with a fault. */
static const struct xml_node *soap_question(const struct question *q, const struct xml *x,
                                            const char *ns, const char *const *operations, int open,
                                            int *ret_index, struct sim_reply *ret)
{
    const struct xml_node *root = xml_root(x), *found = NULL;
    const struct xml_node *body = xml_find(root, NS_SOAP, "Body");
    for (*ret_index = 0; operations[*ret_index]; (*ret_index)++) {
        found = xml_find(body, ns, operations[*ret_index]);
        if (found)
            break;
    }
    if (!found)
        soap_fault(ret, 500, "Sender", "ActionNotSupported", "Optional Action Not Implemented");
    else if (q->options->soap_fault)
        soap_fault(ret, 400, "Sender", q->options->soap_fault, "as the simulator was told");
    else if (*ret_index != open && *q->options->user && !q->options->onvif_http_login &&
             !check_security(q, root, ret))
        soap_fault(ret, 400, "Sender", "NotAuthorized", "Sender not Authorized");
    else
        return found;
    return NULL;
}

static bool soap_open(const struct question *q, struct xml **ret_xml, struct sim_reply *ret)
{
    if (q->size && xml_parse(q->body, q->size, ret_xml, NULL) == 0)
        return true;
    soap_fault(ret, 400, "Sender", "WellFormed", "Well-formed Error");
    ret->header_login = q->options->onvif_http_login; /* who only asks for a challenge gets it */
    return false;
}

/* As devices do: an address that nobody reaches, with a login in it. */
#define ELSEWHERE "http://user:1234@10.255.255.1:8899"

static void onvif_device(const struct question *q, struct sim_reply *ret)
{
    static const char *const operations[] = {"GetSystemDateAndTime", "GetCapabilities", NULL};
    AUTO(xml) x = NULL;
    int which;
    if (!soap_open(q, &x, ret) ||
        !soap_question(q, x, "http://www.onvif.org/ver10/device/wsdl", operations, 0, &which, ret))
        return;
    ret->header_login = q->options->onvif_http_login && which != 0;
    if (which == 1) {
        soap_answer(ret, "<d:GetCapabilitiesResponse><d:Capabilities><Media><XAddr>" ELSEWHERE
                         "/onvif/media</XAddr></Media></d:Capabilities>"
                         "</d:GetCapabilitiesResponse>");
        return;
    }
    char iso[WALL_ISO_MAX], text[512];
    wall_format_iso((struct wall_time){q->now.us + q->options->clock_ahead_s * 1000000LL}, false,
                    iso);
    (void)text_format(text, sizeof(text),
                      "<d:GetSystemDateAndTimeResponse><d:SystemDateAndTime><UTCDateTime><Time>"
                      "<Hour>%.2s</Hour><Minute>%.2s</Minute><Second>%.2s</Second></Time><Date>"
                      "<Year>%.4s</Year><Month>%.2s</Month><Day>%.2s</Day></Date></UTCDateTime>"
                      "</d:SystemDateAndTime></d:GetSystemDateAndTimeResponse>",
                      iso + 11, iso + 14, iso + 17, iso, iso + 5, iso + 8); /* fits */
    soap_answer(ret, text);
}

static void onvif_media(const struct question *q, struct sim_reply *ret)
{
    static const char *const operations[] = {"GetProfiles", "GetSnapshotUri", NULL};
    static const char ns[] = "http://www.onvif.org/ver10/media/wsdl";
    AUTO(xml) x = NULL;
    int which;
    if (!soap_open(q, &x, ret))
        return;
    const struct xml_node *asked = soap_question(q, x, ns, operations, -1, &which, ret);
    if (!asked)
        return;
    ret->header_login = q->options->onvif_http_login;
    if (which == 0) {
        soap_answer(ret, "<m:GetProfilesResponse><m:Profiles token=\"main &amp; only\" fixed=\"1\">"
                         "<Name>main</Name></m:Profiles><m:Profiles token=\"sub\">"
                         "<Name>sub</Name></m:Profiles></m:GetProfilesResponse>");
        return;
    }
    const char *profile = xml_text(xml_find(asked, ns, "ProfileToken"));
    int number = !strcmp(profile, "main & only") ? 1 : !strcmp(profile, "sub") ? 2 : 0;
    if (!number) {
        soap_fault(ret, 400, "Sender", "NoProfile", "The requested profile does not exist");
        return;
    }
    char text[512];
    (void)text_format(text, sizeof(text),
                      "<m:GetSnapshotUriResponse><m:MediaUri><Uri>" ELSEWHERE
                      "/onvif/snapshot?stream=%d&amp;t=1</Uri><InvalidAfterConnect>false"
                      "</InvalidAfterConnect><InvalidAfterReboot>true</InvalidAfterReboot>"
                      "<Timeout>PT0S</Timeout></m:MediaUri></m:GetSnapshotUriResponse>",
                      number); /* fits */
    soap_answer(ret, text);
}
