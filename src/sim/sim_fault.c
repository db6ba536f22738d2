#include "sim/sim_fault.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"

const struct sim_fault_kind sim_fault_kinds[SIM_FAULT_COUNT] = {
    [SIM_FAULT_NONE] = {"none", NULL, "a good answer (to make room between others)"},
    [SIM_FAULT_SHORT_BODY] = {"short-body", NULL, "half of the announced length, then close"},
    [SIM_FAULT_CHUNKED] = {"chunked", NULL, "the picture in chunked form (a good answer)"},
    [SIM_FAULT_CHUNKED_CUT] = {"chunked-cut", NULL, "chunked, cut off in the middle"},
    [SIM_FAULT_NO_LENGTH] = {"no-length", NULL, "HTTP/1.0, no length, close at the end"},
    [SIM_FAULT_NO_LENGTH_CUT] = {"no-length-cut", NULL, "the same, but half of the picture"},
    [SIM_FAULT_LONGER_BODY] = {"longer-body", NULL, "more bytes than announced"},
    [SIM_FAULT_TRUNCATED] = {"truncated", NULL, "a correct answer with half of the picture"},
    [SIM_FAULT_EMPTY] = {"empty", NULL, "200 with no body"},
    [SIM_FAULT_CLOSE] = {"close", NULL, "closes without a byte"},
    [SIM_FAULT_RESET] = {"reset", NULL, "resets the connection in the middle of the body"},
    [SIM_FAULT_RESET_EARLY] = {"reset-early", NULL, "resets the connection instead of an answer"},
    [SIM_FAULT_RAW] = {"raw", NULL, "the picture without any header"},
    [SIM_FAULT_ICY] = {"icy", NULL, "status line 'ICY 200 OK'"},
    [SIM_FAULT_BAD_HEADER] = {"bad-header", NULL, "a header line without colon"},
    [SIM_FAULT_HEADER_FLOOD] = {"header-flood", NULL, "header lines without end"},
    [SIM_FAULT_NEGATIVE_LENGTH] = {"negative-length", NULL, "Content-Length: -1"},
    [SIM_FAULT_TWO_LENGTHS] = {"two-lengths", NULL, "two Content-Lengths, the last one right"},
    [SIM_FAULT_BARE_LF] = {"bare-lf", NULL, "'HTTP/1.1 200OK' and bare LF line ends"},
    [SIM_FAULT_HTML] = {"html", "200", "an HTML page with this status"},
    [SIM_FAULT_XML] = {"xml", "-2", "Foscam's XML with this result code"},
    [SIM_FAULT_JSON] = {"json", "-7", "Reolink's JSON with this rspCode"},
    [SIM_FAULT_HIKVISION] = {"hikvision", "2", "Hikvision's XML with this statusCode, HTTP 403"},
    [SIM_FAULT_HIKVISION_WORD] = {"hikvision-word", "notActivated",
                                  "the same with this subStatusCode, which says more"},
    [SIM_FAULT_HIKVISION_LOCKED] = {"hikvision-locked", NULL, "401: the account is locked"},
    [SIM_FAULT_DAHUA] = {"dahua", "Invalid Authority!", "Dahua's text with this reason, HTTP 400"},
    [SIM_FAULT_SOAP] = {"soap", "ActionNotSupported", "ONVIF's services answer with this fault"},
    [SIM_FAULT_STREAM] = {"stream", "no-length",
                          "a stream of this form: good, no-length, short-length, long-length, "
                          "dashes, quoted, no-boundary, no-first, bare-lf, text, one, cut, end"},
    [SIM_FAULT_OLD] = {"old", "600", "a good answer, modified so many seconds ago"},
    [SIM_FAULT_TYPE] = {"type", "text/plain", "the picture under this content type"},
    [SIM_FAULT_NO_TYPE] = {"no-type", NULL, "the picture without a content type"},
    [SIM_FAULT_STATUS] = {"status", "404",
                          "this status; 503/5 adds Retry-After: 5; also as 404, 503:5"},
    [SIM_FAULT_ENDLESS] = {"endless", NULL, "a body without length and end"},
    [SIM_FAULT_HUGE] = {"huge", "4294967296", "a body of so many bytes, announced"},
    [SIM_FAULT_DRIP] = {"drip", "1", "the body at so many bytes a second"},
    [SIM_FAULT_HANG] = {"hang", NULL, "takes the request and says nothing"},
    [SIM_FAULT_HANG_BODY] = {"hang-body", NULL, "falls silent in the middle of the body"},
    [SIM_FAULT_DELAY] = {"delay", "500", "a good answer after so many milliseconds"},
    [SIM_FAULT_REDIRECT] = {"redirect", "http://127.0.0.2:9/elsewhere.jpg", "302 to this URL"},
    [SIM_FAULT_REDIRECT_FILE] = {"redirect-file", "file:///etc/passwd", "302 to a file"},
    [SIM_FAULT_REDIRECT_LOOP] = {"redirect-loop", NULL, "302 to itself"},
};

const struct sim_fault_kind sim_push_fault_kinds[SIM_PUSH_FAULT_COUNT] = {
    [SIM_PUSH_FAULT_NONE] = {"none", NULL, "a good upload (to make room between others)"},
    [SIM_PUSH_FAULT_CUT] = {"cut", NULL, "ends after half of the picture, as if that were all"},
    [SIM_PUSH_FAULT_RESET] = {"reset", NULL, "resets the data connection in the middle"},
    [SIM_PUSH_FAULT_VANISH] = {"vanish", NULL, "resets both connections in the middle"},
    [SIM_PUSH_FAULT_STALL] = {"stall", "600", "falls silent in the middle for so many seconds"},
    [SIM_PUSH_FAULT_DRIP] = {"drip", "1000", "the picture at so many bytes a second"},
    [SIM_PUSH_FAULT_ABORT] = {"abort", NULL, "ABOR in the middle, with Telnet's Synch"},
    [SIM_PUSH_FAULT_ABRUPT] = {"abrupt", NULL, "all of it, but TLS ends without close_notify"},
    [SIM_PUSH_FAULT_PASSWORD] = {"password", NULL, "logs in with a wrong password"},
    [SIM_PUSH_FAULT_EMPTY] = {"empty", NULL, "no byte under the picture's name"},
    [SIM_PUSH_FAULT_TEXT] = {"text", NULL, "a text under the picture's name"},
    [SIM_PUSH_FAULT_TWICE] = {"twice", NULL, "the picture and once more under the same name"},
    [SIM_PUSH_FAULT_VIDEO] = {"video", "100000", "the picture, and beside it a video so large"},
    [SIM_PUSH_FAULT_OTHER] = {"other", NULL, "the picture, and beside it a file that is none"},
};

static int parse_all(struct sim_fault_set *set, const struct sim_fault_kind *kinds, int count,
                     const char *text, struct err *e);

int sim_fault_parse(struct sim_fault_set *set, const char *text, struct err *e)
{
    return parse_all(set, sim_fault_kinds, SIM_FAULT_COUNT, text, e);
}

int sim_push_fault_parse(struct sim_fault_set *set, const char *text, struct err *e)
{
    return parse_all(set, sim_push_fault_kinds, SIM_PUSH_FAULT_COUNT, text, e);
}

const struct sim_fault *sim_fault_find(const struct sim_fault_set *set, int id)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->faults[i].id == id)
            return &set->faults[i];
    return NULL;
}

const struct sim_fault *sim_fault_pick(struct sim_fault_set *set)
{
    const struct sim_fault *picked = NULL;
    for (size_t i = 0; i < set->count; i++) {
        struct sim_fault *f = &set->faults[i];
        f->asked++;
        bool strikes;
        if (f->probability > 0) {
            /* xorshift64: repeatable, which matters more here than quality */
            set->random ^= set->random << 13;
            set->random ^= set->random >> 7;
            set->random ^= set->random << 17;
            strikes = (double)(set->random >> 11) / (double)(1ULL << 53) < f->probability;
        } else {
            strikes = f->asked % f->every == 0;
        }
        if (strikes && !picked)
            picked = f;
    }
    return picked;
}

static bool parse_when(struct sim_fault *f, const char *s, size_t len)
{
    if (len && s[len - 1] == '%') {
        double percent;
        if (parse_double(s, len - 1, 0.000001, 100, &percent) < 0)
            return false;
        f->probability = percent / 100;
        return true;
    }
    int64_t every;
    if (parse_int64(s, len, 1, 1000000, &every) < 0)
        return false;
    f->every = (unsigned)every;
    return true;
}

/* "404" and "503:5" are short for "status:404" and "status:503/5". */
static bool parse_status(struct sim_fault *f, const char *item, size_t name, size_t body)
{
    int64_t status;
    if (name != 3 || parse_int64(item, name, 100, 599, &status) < 0)
        return false;
    f->id = SIM_FAULT_STATUS;
    bool more = body > name;
    (void)text_format(f->parameter, sizeof(f->parameter), "%.3s%s%.*s", item, more ? "/" : "",
                      more ? (int)MIN(body - name - 1, (size_t)16) : 0,
                      more ? item + name + 1 : ""); /* fits */
    return true;
}

static int parse_one(struct sim_fault_set *set, const struct sim_fault_kind *kinds, int count,
                     const char *item, size_t len, struct err *e)
{
    char shown[80];
    text_escape(item, MIN(len, (size_t)40), shown, sizeof(shown));
    if (set->count == SIM_FAULTS_MAX)
        return err_set(e, -ENOSPC, ERR_NEVER, "more than %d faults at once", SIM_FAULTS_MAX);
    struct sim_fault f = {.every = 1};
    if (!set->random)
        set->random = 0x9e3779b97f4a7c15u;

    /* The last '@' of the part: a URL as parameter may hold others. */
    const char *at = memrchr(item, '@', len);
    size_t body = len;
    if (at && parse_when(&f, at + 1, (size_t)(item + len - at - 1)))
        body = (size_t)(at - item);
    const char *colon = memchr(item, ':', body);
    size_t name = colon ? (size_t)(colon - item) : body;
    if (kinds == sim_fault_kinds && parse_status(&f, item, name, body)) {
        set->faults[set->count++] = f;
        return 0;
    }
    for (int i = 0; i < count; i++) {
        const struct sim_fault_kind *k = &kinds[i];
        if (strlen(k->name) != name || memcmp(k->name, item, name) != 0)
            continue;
        f.id = i;
        if (colon && !k->parameter)
            return err_set(e, -EINVAL, ERR_NEVER, "fault '%s' takes no parameter", k->name);
        if (colon) {
            size_t n = MIN((size_t)(item + body - colon - 1), sizeof(f.parameter) - 1);
            memcpy(f.parameter, colon + 1, n);
        } else if (k->parameter) {
            text_copy(f.parameter, sizeof(f.parameter), k->parameter);
        }
        set->faults[set->count++] = f;
        return 0;
    }
    return err_set(e, -EINVAL, ERR_NEVER, "there is no fault '%s'", shown);
}

static int parse_all(struct sim_fault_set *set, const struct sim_fault_kind *kinds, int count,
                     const char *text, struct err *e)
{
    const char *cursor = text, *item;
    size_t len;
    while (parse_list_next(&cursor, &item, &len)) {
        int r = parse_one(set, kinds, count, item, len, e);
        if (r < 0)
            return r;
    }
    return 0;
}
