/* Any answer of a camera into the judgement, and any URL template into a request. The first bytes
 * choose the status and what is known of the exchange; the rest is the body. */

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "camera/camera_kind.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const long statuses[] = {200, 0, 204, 206, 302, 401, 403, 404, 408, 429, 500, 501, 503, 599};

static void judge(const struct camera *cam, uint8_t a, uint8_t b, const uint8_t *body, size_t size);
static void make_request(struct camera cam, const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const struct camera cam = {
        .name = "fuzz",
        .kind = data[1] & 1 ? "foscam" : "http",
        .address = "cam:88",
        .url = "http://cam/a.jpg",
        .user = data[1] & 2 ? "admin" : "",
        .password = "",
        .command = "snapPicture",
        .size_max = 1 << 20,
    };
    judge(&cam, data[0], data[1], data + 2, size - 2);
    make_request(cam, data + 2, size - 2);
    return 0;
}

static void judge(const struct camera *cam, uint8_t a, uint8_t b, const uint8_t *body, size_t size)
{
    struct camera_answer answer = {
        .shown = b & 4 ? "http://cam/a.jpg" : NULL,
        .status = statuses[a % ARRAY_LEN(statuses)],
        .body = body,
        .size = size,
        .retry_after_s = b & 8 ? 5 : -1,
        .login_sent = b & 16,
        .offers_basic = b & 32,
        .offers_digest = b & 64,
        .redirects = b >> 7,
    };
    struct err e = {0};
    enum camera_fault fault = CAMERA_FAULT_COUNT;
    int r = camera_judge(cam, &answer, &fault, &e);
    assert(fault < CAMERA_FAULT_COUNT);
    assert((r == 0) == (fault == CAMERA_FAULT_NONE));
    assert(r == e.code);
    assert((r == 0) == (e.text[0] == '\0'));
    assert(fault != CAMERA_FAULT_CREDENTIALS || (r == -13 && e.retry == ERR_NEVER));
    /* What a camera says must not forge lines in a log. */
    for (const char *p = e.text; *p; p++)
        assert((unsigned char)*p >= 32 && *p != 127);
}

static void make_request(struct camera cam, const uint8_t *data, size_t size)
{
    char *url = xstrndup((const char *)data, size);
    cam.url = url;
    cam.command = url;
    cam.password = "C4N4RY";
    struct err e = {0};
    struct camera_request req = {0};
    const struct camera_kind *kind = camera_kind_find(cam.kind);
    int r = kind->request(&cam, NULL, (struct wall_time){0}, &req, &e);
    assert(r == kind->validate(&cam, NULL));
    assert((r == 0) == (req.url != NULL));
    assert(!strstr(e.text, cam.password) || strstr(url, cam.password));
    if (r == 0) {
        assert(!strstr(req.shown, cam.password) || strstr(url, cam.password));
        for (const char *p = req.url; *p; p++)
            assert((unsigned char)*p > ' ');
    }
    camera_request_done(&req);
    free(url);
}
