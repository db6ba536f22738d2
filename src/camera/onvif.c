/* ONVIF: asks the camera where its picture is (Core and Media Specification, ver10), then fetches
 * it like any other.
 *
 *   GetSystemDateAndTime   no login; a signature must bear the camera's own time, however wrong
 *   GetCapabilities        where the media service is
 *   GetProfiles            of which one is meant by `channel`
 *   GetSnapshotUri         the picture's place
 *   GET                    the picture
 *
 * The place is remembered, so that the next picture is one request; when nothing is there any more
 * (cameras forget it at a restart) it is asked for again, once.
 *
 * Of every address that the camera names only path and query are used, on the configured host and
 * port: cameras name private, old and invented hosts, and no camera shall send our login elsewhere.
 *
 * The login goes as a WS-Security UsernameToken with digest (OASIS profile 1.0), and by HTTP digest
 * as well when the camera challenges: not before, since curl's question for a challenge is a POST
 * without body, which others answer with a fault. */

#include <errno.h>
#include <string.h>

#include "base/dynbuf.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "camera/camera_kind.h"
#include "camera/makers.h"
#include "sys/hash.h"
#include "sys/httpc.h"
#include "sys/xml.h"

#define NS_DEVICE "http://www.onvif.org/ver10/device/wsdl"
#define NS_MEDIA "http://www.onvif.org/ver10/media/wsdl"
#define NS_SCHEMA "http://www.onvif.org/ver10/schema"
#define NS_SOAP "http://www.w3.org/2003/05/soap-envelope"
#define NS_WSS "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"

#define DEVICE_SERVICE "/onvif/device_service"
#define PLACE_MAX 1024  /* bytes of a path with its query */
#define PROFILE_MAX 128 /* the standard says 64 */
#define BODY_MAX 8192
#define NONCE_BYTES 16

enum step { STEP_TIME, STEP_CAPABILITIES, STEP_PROFILES, STEP_PLACE, STEP_PICTURE, STEP_COUNT };

struct memory {
    enum step step;   /* what the request under way is */
    bool http_login;  /* the services want a login by header, too */
    bool placed;      /* `place` holds; it may be of an earlier picture */
    bool placed_now;  /* it is of this one */
    int64_t ahead_us; /* the camera's clock before ours */
    char media[PLACE_MAX];
    char profile[PROFILE_MAX];
    char place[PLACE_MAX];
};

static int request(const struct camera *cam, void *memory, struct wall_time now,
                   struct camera_request *ret, struct err *e);
static int answer(const struct camera *cam, void *memory, const struct camera_answer *a,
                  struct wall_time now, struct camera_request *ret_next,
                  enum camera_fault *ret_fault, struct err *e);

const struct camera_kind camera_kind_onvif = {
    .name = "onvif",
    .help =
        "any camera with ONVIF: it is asked where its picture is; channel 1 is its first profile",
    .channel = "1",
    .memory_size = sizeof(struct memory),
    .validate = maker_validate,
    .request = request,
    .answer = answer,
};

/* `content_type` names the operation, because some devices look there and not into the body. */
#define CONTENT(ns, operation)                                                                     \
    "application/soap+xml; charset=utf-8; action=\"" ns "/" operation "\""
static const struct {
    const char *operation, *ns, *content_type;
} steps[STEP_COUNT] = {
    [STEP_TIME] = {"GetSystemDateAndTime", NS_DEVICE, CONTENT(NS_DEVICE, "GetSystemDateAndTime")},
    [STEP_CAPABILITIES] = {"GetCapabilities", NS_DEVICE, CONTENT(NS_DEVICE, "GetCapabilities")},
    [STEP_PROFILES] = {"GetProfiles", NS_MEDIA, CONTENT(NS_MEDIA, "GetProfiles")},
    [STEP_PLACE] = {"GetSnapshotUri", NS_MEDIA, CONTENT(NS_MEDIA, "GetSnapshotUri")},
};

static int ask(const struct camera *cam, struct memory *m, enum step step, struct wall_time now,
               struct camera_request *ret, struct err *e);
static void ask_for_picture(const struct camera *cam, struct memory *m, struct camera_request *ret);
static int judge_fault(const struct camera *cam, const struct xml *x, bool login_sent,
                       enum camera_fault *ret_fault, struct err *e);
static int learn(const struct camera *cam, struct memory *m, const struct xml *x,
                 struct wall_time now, struct err *e);

static int request(const struct camera *cam, void *memory, struct wall_time now,
                   struct camera_request *ret, struct err *e)
{
    struct memory *m = memory;
    int r = maker_validate(cam, e);
    if (r < 0)
        return r;
    m->placed_now = false;
    if (!m->placed)
        return ask(cam, m, STEP_TIME, now, ret, e);
    ask_for_picture(cam, m, ret);
    return 0;
}

static bool has_login(const struct camera *cam)
{
    return cam->user && *cam->user;
}

/* A service that wants the login by header has said so. */
static bool is_challenge(const struct camera *cam, const struct memory *m,
                         const struct camera_answer *a)
{
    return a->status == 401 && has_login(cam) && !m->http_login &&
           (a->offers_digest || (a->offers_basic && cam->auth == CAMERA_AUTH_BASIC));
}

static int answer_picture(const struct camera *cam, struct memory *m, const struct camera_answer *a,
                          struct wall_time now, struct camera_request *ret_next, struct err *e)
{
    bool nothing_there = a->status == 400 || a->status == 404 || a->status == 410;
    if (!nothing_there || m->placed_now)
        return 0;
    m->placed = false;
    int r = ask(cam, m, STEP_TIME, now, ret_next, e);
    return r < 0 ? r : 1;
}

static int answer(const struct camera *cam, void *memory, const struct camera_answer *a,
                  struct wall_time now, struct camera_request *ret_next,
                  enum camera_fault *ret_fault, struct err *e)
{
    struct memory *m = memory;
    *ret_fault = CAMERA_FAULT_OTHER;
    if (m->step == STEP_PICTURE)
        return answer_picture(cam, m, a, now, ret_next, e);
    int r = 0;
    if (m->step != STEP_TIME && is_challenge(cam, m, a)) {
        m->http_login = true;
        r = ask(cam, m, m->step, now, ret_next, e);
        return r < 0 ? r : 1;
    }
    AUTO(xml) x = NULL;
    struct err why = {0};
    r = xml_parse(a->size ? a->body : "", a->size, &x, &why);
    bool understood = r == 0;
    /* One that wants a login even for its time, or has none to tell, may still do the rest. */
    if (m->step == STEP_TIME) {
        m->ahead_us = 0;
        if (understood)
            (void)learn(cam, m, x, now, NULL); /* without its time ours has to do */
        r = ask(cam, m, STEP_CAPABILITIES, now, ret_next, e);
        return r < 0 ? r : 1;
    }
    if (understood)
        r = judge_fault(cam, x, a->login_sent, ret_fault, e);
    if (r == 0 || !understood)
        r = camera_judge_message(cam, a, ret_fault, e);
    if (r < 0)
        return r;
    *ret_fault = CAMERA_FAULT_OTHER;
    if (!understood)
        return err_set(e, -EPROTO, ERR_LATER, "%s: the answer is no SOAP: %s",
                       steps[m->step].operation, why.text);
    r = learn(cam, m, x, now, e);
    if (r == 0 && m->step == STEP_PLACE)
        ask_for_picture(cam, m, ret_next);
    else if (r == 0)
        r = ask(cam, m, m->step + 1, now, ret_next, e);
    return r < 0 ? r : 1;
}

/* ---- questions ---- */

static void put_text(struct dynbuf *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            (void)dynbuf_puts(out, "&amp;"); /* a failed buffer stays failed; asked at the end */
            break;
        case '<':
            (void)dynbuf_puts(out, "&lt;");
            break;
        case '>':
            (void)dynbuf_puts(out, "&gt;");
            break;
        default:
            (void)dynbuf_append(out, text, 1);
            break;
        }
    }
}

/* base64(SHA-1(nonce, created, password)), with the raw nonce. */
static void sign(const uint8_t nonce[NONCE_BYTES], const char *created, const char *password,
                 char ret[TEXT_BASE64_SIZE(HASH_SHA1_BYTES)])
{
    AUTO_DONE(dynbuf) all;
    dynbuf_init(&all, BODY_MAX);
    (void)dynbuf_append(&all, nonce, NONCE_BYTES); /* passwords are far shorter than the limit */
    (void)dynbuf_puts(&all, created);
    (void)dynbuf_puts(&all, password);
    uint8_t digest[HASH_SHA1_BYTES];
    hash_sha1(all.data, all.len, digest);
    explicit_bzero(all.data, all.len);
    text_base64(digest, sizeof(digest), ret);
}

static void put_security(struct dynbuf *out, const struct camera *cam, const struct memory *m,
                         struct wall_time now)
{
    uint8_t nonce[NONCE_BYTES];
    hash_random(nonce, sizeof(nonce));
    char nonce_text[TEXT_BASE64_SIZE(NONCE_BYTES)], created[WALL_ISO_MAX];
    char digest[TEXT_BASE64_SIZE(HASH_SHA1_BYTES)];
    text_base64(nonce, sizeof(nonce), nonce_text);
    wall_format_iso((struct wall_time){now.us + m->ahead_us}, true, created);
    sign(nonce, created, cam->password ? cam->password : "", digest);
    (void)dynbuf_puts(out, "<s:Header><w:Security s:mustUnderstand=\"1\" xmlns:w=\"" NS_WSS
                           "wssecurity-secext-1.0.xsd\"><w:UsernameToken><w:Username>");
    put_text(out, cam->user);
    (void)dynbuf_printf(out,
                        "</w:Username><w:Password Type=\"" NS_WSS
                        "username-token-profile-1.0#PasswordDigest\">%s</w:Password>"
                        "<w:Nonce EncodingType=\"" NS_WSS
                        "soap-message-security-1.0#Base64Binary\">%s</w:Nonce>"
                        "<u:Created xmlns:u=\"" NS_WSS "wssecurity-utility-1.0.xsd\">%s</u:Created>"
                        "</w:UsernameToken></w:Security></s:Header>",
                        digest, nonce_text, created);
}

static char *address_url(const struct camera *cam, const char *path)
{
    return xasprintf("%s://%s%s", cam->tls ? "https" : "http", cam->address, path);
}

static int ask(const struct camera *cam, struct memory *m, enum step step, struct wall_time now,
               struct camera_request *ret, struct err *e)
{
    m->step = step;
    bool signs = step != STEP_TIME && has_login(cam);
    AUTO_DONE(dynbuf) body;
    dynbuf_init(&body, BODY_MAX);
    (void)dynbuf_puts(&body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
                             "<s:Envelope xmlns:s=\"" NS_SOAP "\">");
    if (signs)
        put_security(&body, cam, m, now);
    (void)dynbuf_printf(&body, "<s:Body><%s xmlns=\"%s\">", steps[step].operation, steps[step].ns);
    if (step == STEP_CAPABILITIES)
        (void)dynbuf_puts(&body, "<Category>Media</Category>");
    if (step == STEP_PLACE) {
        (void)dynbuf_puts(&body, "<ProfileToken>");
        put_text(&body, m->profile);
        (void)dynbuf_puts(&body, "</ProfileToken>");
    }
    (void)dynbuf_printf(&body, "</%s></s:Body></s:Envelope>", steps[step].operation);
    if (body.failed)
        return err_set(e, -EINVAL, ERR_NEVER, "user and profile are too long for a request");

    const char *device = cam->command && *cam->command ? cam->command : DEVICE_SERVICE;
    char shown[256];
    AUTO_FREE char *url = address_url(cam, step >= STEP_PROFILES ? m->media : device);
    httpc_show_url(url, shown, sizeof(shown));
    *ret = (struct camera_request){
        .url = STEAL(url),
        .shown = xasprintf("%s (%s)", shown, steps[step].operation),
        .body = dynbuf_steal(&body, NULL),
        .content_type = steps[step].content_type,
        .auth = m->http_login && signs ? cam->auth : CAMERA_AUTH_NONE,
        .login_inside = signs,
    };
    return 0;
}

static void ask_for_picture(const struct camera *cam, struct memory *m, struct camera_request *ret)
{
    m->step = STEP_PICTURE;
    char shown[256];
    AUTO_FREE char *url = address_url(cam, m->place);
    httpc_show_url(url, shown, sizeof(shown));
    *ret = (struct camera_request){
        .url = STEAL(url),
        .shown = xstrdup(shown),
        .auth = cam->auth,
    };
}

/* ---- answers ---- */

/* 0: no fault. Devices put the reason into codes inside codes: all are looked at. */
static int judge_fault(const struct camera *cam, const struct xml *x, bool login_sent,
                       enum camera_fault *ret_fault, struct err *e)
{
    const struct xml_node *fault = xml_find(xml_root(x), NULL, "Fault");
    if (!fault)
        return 0;
    AUTO_DONE(dynbuf) codes;
    dynbuf_init(&codes, XML_BYTES_MAX);
    for (const struct xml_node *n = xml_find(fault, NULL, "Code"); n;
         n = xml_find(n, NULL, "Subcode"))
        (void)dynbuf_printf(&codes, "%s ", xml_text(xml_find(n, NULL, "Value"))); /* cut is fine */
    (void)dynbuf_puts(&codes, xml_text(xml_find(fault, NULL, "faultcode")));      /* SOAP 1.1 */
    const char *all = dynbuf_str(&codes);
    const char *reason = xml_text(xml_find(fault, NULL, "Text"));
    if (!*reason)
        reason = xml_text(xml_find(fault, NULL, "faultstring"));
    char words[160], name[64];
    text_escape(*reason ? reason : all, strlen(*reason ? reason : all), words, sizeof(words));
    if (strstr(all, "NotAuthorized") || strstr(all, "FailedAuthentication")) {
        *ret_fault = CAMERA_FAULT_CREDENTIALS;
        if (!login_sent)
            return err_set(e, -EACCES, ERR_NEVER,
                           "the camera wants a login: set user and password");
        return err_set(e, -EACCES, ERR_NEVER,
                       "the camera rejects user '%s' or the password, or the user may not do this "
                       "(NotAuthorized): it may need an ONVIF user of its own",
                       text_escape(cam->user, strlen(cam->user), name, sizeof(name)));
    }
    *ret_fault = CAMERA_FAULT_OTHER;
    if (strstr(all, "ActionNotSupported"))
        return err_set(e, -EREMOTEIO, ERR_NEVER,
                       "the camera hands out no pictures by ONVIF (ActionNotSupported): use its "
                       "maker's kind, or its stream with kind command");
    return err_set(e, -EREMOTEIO, strstr(all, "Receiver") ? ERR_LATER : ERR_NEVER,
                   "the camera answers with a failure: \"%s\"", words);
}

static int learn_time(struct memory *m, const struct xml_node *root, struct wall_time now,
                      struct err *e)
{
    static const struct {
        const char *name;
        int64_t max;
    } parts[] = {{"Year", 9999}, {"Month", 12},  {"Day", 31},
                 {"Hour", 23},   {"Minute", 59}, {"Second", 60}};
    const struct xml_node *utc = xml_find(root, NS_SCHEMA, "UTCDateTime");
    int values[ARRAY_LEN(parts)];
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        const char *text = xml_text(xml_find(utc, NS_SCHEMA, parts[i].name));
        int64_t v;
        if (parse_int64(text, strlen(text), 0, parts[i].max, &v) < 0)
            return err_set(e, -EPROTO, ERR_LATER, "the camera does not tell its time");
        values[i] = (int)v;
    }
    char iso[WALL_ISO_MAX];
    struct wall_time theirs;
    (void)text_format(iso, sizeof(iso), "%04d-%02d-%02dT%02d:%02d:%02dZ", values[0], values[1],
                      values[2], values[3], values[4], MIN(values[5], 59)); /* fits */
    if (wall_parse_iso(iso, &theirs) < 0)
        return err_set(e, -EPROTO, ERR_LATER, "the camera tells an impossible time");
    m->ahead_us = theirs.us - now.us;
    return 0;
}

/* Path and query of an address, without what may lead elsewhere. */
static int take_path(const char *url, char ret[PLACE_MAX], struct err *e)
{
    const char *host = strstr(url, "://");
    const char *path = host ? host + 3 + strcspn(host + 3, "/?#") : url;
    size_t len = strcspn(path, "#");
    for (size_t i = 0; i < len; i++)
        if (path[i] <= ' ' || path[i] == 127 || path[i] == '\\')
            len = 0; /* bytes above 127 are negative here and as wrong */
    if (len == 0 || len + 2 > PLACE_MAX || (!host && *path != '/'))
        return err_set(e, -EPROTO, ERR_NEVER, "the camera names an address that is none");
    (void)text_format(ret, PLACE_MAX, "%s%.*s", *path == '/' ? "" : "/", (int)len, path); /* fits */
    return 0;
}

/* `channel` is the number of a profile, from 1 on, or its token. */
static int choose_profile(const struct camera *cam, struct memory *m, const struct xml_node *root,
                          struct err *e)
{
    const char *wanted = cam->channel && *cam->channel ? cam->channel : camera_kind_onvif.channel;
    int64_t number = 0, count = 0;
    (void)parse_int64(wanted, strlen(wanted), 1, 1000, &number); /* else it is a token */
    const struct xml_node *found = NULL;
    for (const struct xml_node *n = xml_find(root, NS_MEDIA, "Profiles"); n; n = xml_next(n)) {
        count++;
        if (!found && (count == number || !strcmp(xml_attribute(n, "token"), wanted)))
            found = n;
    }
    char name[64];
    if (!found)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "the camera has %lld ONVIF profiles, channel '%s' is none of them",
                       (long long)count, text_escape(wanted, strlen(wanted), name, sizeof(name)));
    if (!text_copy(m->profile, sizeof(m->profile), xml_attribute(found, "token")))
        return err_set(e, -EPROTO, ERR_NEVER, "the camera's profile has an over-long name");
    return 0;
}

static int learn(const struct camera *cam, struct memory *m, const struct xml *x,
                 struct wall_time now, struct err *e)
{
    const struct xml_node *root = xml_root(x), *found;
    switch (m->step) {
    case STEP_TIME:
        return learn_time(m, root, now, e);
    case STEP_CAPABILITIES:
        found = xml_find(xml_find(root, NS_SCHEMA, "Media"), NS_SCHEMA, "XAddr");
        if (!found)
            return err_set(e, -EPROTO, ERR_NEVER, "the camera has no ONVIF media service");
        return take_path(xml_text(found), m->media, e);
    case STEP_PROFILES:
        return choose_profile(cam, m, root, e);
    case STEP_PLACE: {
        /* Media ver10 wraps it into a MediaUri, ver20 does not. */
        found = xml_find(xml_find(root, NULL, "GetSnapshotUriResponse"), NULL, "Uri");
        if (!found)
            return err_set(e, -EPROTO, ERR_NEVER, "the camera names no address of a picture");
        int r = take_path(xml_text(found), m->place, e);
        m->placed = m->placed_now = r == 0;
        return r;
    }
    case STEP_PICTURE:
    case STEP_COUNT:
        break;
    }
    return 0;
}
