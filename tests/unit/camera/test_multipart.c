/* Frames out of streams: every form that servers send, in pieces of every size. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "base/mem.h"
#include "camera/multipart.h"

/* Frames as short as frames can be. A holds an end mark of a thumbnail inside; B holds dashes. */
#define A "\xff\xd8\xff\xe1in\xff\xd9side\xff\xd9"
#define B "\xff\xd8\xff\xe0\r\n--x\r\nb\xff\xd9"
#define TYPE "Content-Type: image/jpeg\r\n"
#define FRAME_MAX 4096

struct stream_case {
    const char *name, *bytes;
    enum multipart_state state; /* when all is there */
    const char *frame;          /* the one that is taken at the end; NULL = none */
};

static const struct stream_case cases[] = {
    {"as it should be",
     "--b\r\n" TYPE "Content-Length: 14\r\n\r\n" A "\r\n--b\r\n" TYPE "Content-Length: 14\r\n\r\n" B
     "\r\n--b\r\n",
     MULTIPART_TWO, B},
    {"one frame with a length", "--b\r\n" TYPE "Content-Length: 14\r\n\r\n" A, MULTIPART_ONE, A},
    {"without a length it has no end yet", "--b\r\n\r\n" A "\r\n", MULTIPART_MORE, A},
    {"without a length", "--b\r\n" TYPE "\r\n" A "\r\n--b\r\n" TYPE "\r\n" B "\r\n--b",
     MULTIPART_TWO, B},
    {"a length that is too short", "--b\r\nContent-Length: 3\r\n\r\n" A "\r\n--b\r\n",
     MULTIPART_ONE, A},
    {"a length that ends at the thumbnail", "--b\r\nContent-Length: 8\r\n\r\n" A "\r\n--b\r\n",
     MULTIPART_ONE, "\xff\xd8\xff\xe1in\xff\xd9"},
    {"a length that is too long",
     "--b\r\nContent-Length: 900\r\n\r\n" A "\r\n--b\r\n\r\n" B "\r\n--b\r\n", MULTIPART_TWO, B},
    {"a length that is none", "--b\r\nContent-Length: x\r\n\r\n" A "\r\n--b\r\n", MULTIPART_ONE, A},
    {"a length beyond all frames",
     "--b\r\nContent-Length: 99999999999999999999\r\n\r\n" A "\r\n--b\r\n", MULTIPART_ONE, A},
    {"four dashes", "----b\r\n\r\n" A "\r\n----b\r\n\r\n" B "\r\n----b\r\n", MULTIPART_TWO, B},
    {"bare line feeds",
     "--b\n"
     "content-length:14\n\n" A "\n--b\n\n" B "\n--b\n",
     MULTIPART_TWO, B},
    {"no line end before the delimiter", "--b\r\n\r\n" A "--b\r\n\r\n" B "--b\r\n", MULTIPART_TWO,
     B},
    {"blank lines in front", "\r\n\r\n--b\r\n\r\n" A "\r\n--b\r\n", MULTIPART_ONE, A},
    {"no delimiter in front", TYPE "\r\n" A "\r\n--b\r\n" TYPE "\r\n" A "\r\n--b\r\n",
     MULTIPART_TWO, A},
    {"no delimiter in front, dashes inside", TYPE "\r\n" B "\r\n--b\r\n" TYPE "\r\n", MULTIPART_ONE,
     B},
    {"no header", "--b\r\n" A "\n\r\n--b\r\n", MULTIPART_ONE, A "\n"},
    {"a text between",
     "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\n\r\n" A "\r\n--b\r\n", MULTIPART_ONE,
     A},
    {"zeros behind the frame", "--b\r\nContent-Length: 14\r\n\r\n" A "0\r\n--b\r\n", MULTIPART_ONE,
     A},
    {"the closing delimiter", "--b\r\n\r\n" A "\r\n--b--\r\n", MULTIPART_ONE, A},
    {"closed in the second frame", "--b\r\n\r\n" A "\r\n--b\r\n\r\n\xff\xd8\xff\xe0half",
     MULTIPART_ONE, A},

    {"a picture", A, MULTIPART_PLAIN, NULL},
    {"a page", "<html>--b</html>", MULTIPART_PLAIN, NULL},
    {"a word that begins like a header", "Content\n", MULTIPART_PLAIN, NULL},
    {"dashes and nothing", "--\n", MULTIPART_PLAIN, NULL},
    {"nothing", "", MULTIPART_MORE, NULL},
    {"a delimiter and no frame", "--b\r\n\r\nhello\r\n--b\r\n\r\n", MULTIPART_MORE, NULL},
};

static void check(const struct stream_case *t, const uint8_t *data, size_t size,
                  const struct multipart *m)
{
    size_t at = 0, len = 0;
    bool have = multipart_frame(m, &at, &len);
    if (have != (t->frame != NULL))
        fail_msg("%s: %s", t->name, have ? "a frame out of nothing" : "no frame");
    if (have && (at + len > size || len != strlen(t->frame) || memcmp(data + at, t->frame, len)))
        fail_msg("%s: a frame of %zu bytes at %zu", t->name, len, at);
}

static void every_form_gives_its_frame(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct stream_case *t = &cases[i];
        size_t size = strlen(t->bytes);
        AUTO_FREE uint8_t *data = xmemdup(t->bytes, size + 1);
        struct multipart m;
        multipart_init(&m, FRAME_MAX);
        enum multipart_state got = multipart_look(&m, data, size);
        if (got != t->state)
            fail_msg("%s: state %d", t->name, (int)got);
        multipart_end(&m, data, size);
        check(t, data, size, &m);
    }
}

/* Each prefix in memory of its own, so that a look beyond its end is found. */
static void the_pieces_in_which_it_comes_change_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct stream_case *t = &cases[i];
        size_t size = strlen(t->bytes);
        for (size_t piece = 1; piece < 9; piece++) {
            struct multipart m;
            multipart_init(&m, FRAME_MAX);
            enum multipart_state got = MULTIPART_MORE;
            for (size_t n = piece; n < size; n += piece) {
                AUTO_FREE uint8_t *data = xmemdup(t->bytes, n);
                got = multipart_look(&m, data, n);
            }
            AUTO_FREE uint8_t *data = xmemdup(t->bytes, size + 1);
            got = multipart_look(&m, data, size);
            if (got != t->state)
                fail_msg("%s in pieces of %zu: state %d", t->name, piece, (int)got);
            multipart_end(&m, data, size);
            check(t, data, size, &m);
        }
    }
}

static void what_is_longer_than_a_frame_may_be_is_told(void **state)
{
    (void)state;
    enum { SIZE = FRAME_MAX + 200 };
    AUTO_FREE uint8_t *data = xcalloc(1, SIZE);
    static const char *const starts[] = {"--b\r\n\r\n\xff\xd8\xff", "\xff\xd8\xff", "<html>",
                                         TYPE "\r\n\xff\xd8\xff"};
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        memset(data, 'x', SIZE);
        memcpy(data, starts[i], strlen(starts[i]));
        struct multipart m;
        multipart_init(&m, FRAME_MAX);
        assert_int_equal(multipart_look(&m, data, SIZE), MULTIPART_TOO_BIG);
    }
    /* A second one does not take the first away. */
    static const char first[] = "--b\r\n\r\n" A "\r\n--b\r\n\r\n\xff\xd8\xff";
    memcpy(data, first, sizeof(first) - 1);
    struct multipart m;
    multipart_init(&m, FRAME_MAX);
    assert_int_equal(multipart_look(&m, data, SIZE), MULTIPART_ONE);
    size_t at, len;
    assert_true(multipart_frame(&m, &at, &len));
    assert_int_equal(len, strlen(A));
}

static void a_header_without_end_is_no_stream(void **state)
{
    (void)state;
    enum { SIZE = 20000 };
    AUTO_FREE uint8_t *data = xmalloc(SIZE);
    static const char *const starts[] = {"--b\r\n", "--bbb", "Content-", ""};
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        memset(data, i == 3 ? ' ' : 'c', SIZE);
        memcpy(data, starts[i], strlen(starts[i]));
        struct multipart m;
        multipart_init(&m, 1 << 20);
        assert_int_equal(multipart_look(&m, data, SIZE), MULTIPART_PLAIN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_gives_its_frame),
        cmocka_unit_test(the_pieces_in_which_it_comes_change_nothing),
        cmocka_unit_test(what_is_longer_than_a_frame_may_be_is_told),
        cmocka_unit_test(a_header_without_end_is_no_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
