/* Any answers to the kinds that take several requests. The input is a list of answers, each a byte
 * for its status, two for its length, and its body; what follows from one answer is asked for the
 * next, as the fetcher does. */

#include <assert.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "camera/camera_kind.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const kinds[] = {"onvif", "reolink", "foscam-mjpeg", "command"};
static const long statuses[] = {200, 400, 401, 403, 404, 500, 503, 0};

static void check_request(const struct camera_request *r)
{
    if (r->argv)
        return;
    /* Whatever a camera says, it is asked at its own address, and in one line. */
    assert(!strncmp(r->url, "http://cam:88/", 14));
    for (const char *p = r->url; *p; p++)
        assert((unsigned char)*p > ' ' && *p != 127);
    assert(!strstr(r->shown, "C4N4RY"));
}

static void play(const struct camera_kind *kind, const struct camera *cam, const uint8_t *data,
                 size_t size)
{
    AUTO_FREE void *memory = xcalloc(1, kind->memory_size + 1);
    struct camera_request req = {0};
    struct wall_time now = wall_from_seconds(1767323045);
    int r = kind->request(cam, memory, now, &req, NULL);
    assert(r == 0);
    check_request(&req);
    while (size >= 3) {
        uint8_t first = data[0];
        size_t len = MIN((size_t)(data[1] | data[2] << 8), size - 3);
        AUTO_FREE uint8_t *body = xmemdup(data + 3, len + 1 <= size - 3 ? len + 1 : len);
        const struct camera_answer a = {
            .shown = "shown",
            .status = statuses[first & 7],
            .body = body,
            .size = len,
            .retry_after_s = -1,
            .login_sent = first & 8,
            .offers_digest = first & 16,
            .offers_basic = first & 32,
            .exit_status = first & 64 ? 1 : 0,
            .complaint = cam->password,
        };
        struct camera_request next = {0};
        struct err e = {0};
        enum camera_fault fault = CAMERA_FAULT_COUNT;
        r = kind->answer(cam, memory, &a, now, &next, &fault, &e);
        data += 3 + len;
        size -= 3 + len;
        if (r < 0) {
            assert(fault < CAMERA_FAULT_COUNT && r == e.code && e.text[0]);
            assert(!strstr(e.text, "C4N4RY"));
            for (const char *p = e.text; *p; p++)
                assert((unsigned char)*p >= 32 && *p != 127);
            break;
        }
        if (r == 0)
            break;
        check_request(&next);
        camera_request_done(&req);
        req = next;
    }
    camera_request_done(&req);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const struct camera cam = {
        .name = "fuzz",
        .kind = kinds[data[0] % ARRAY_LEN(kinds)],
        .address = "cam:88",
        .url = "",
        .user = data[1] & 1 ? "admin" : "",
        .password = data[1] & 1 ? "C4N4RY" : "",
        .channel = data[1] & 2 ? "2" : "",
        .command = "",
        .program = "/bin/true",
        .size_max = 1 << 20,
    };
    play(camera_kind_find(cam.kind), &cam, data + 2, size - 2);
    return 0;
}
