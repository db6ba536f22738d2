/* The test data's pictures, where they are: photographs of all kinds, and files that are odd,
 * damaged or hostile. SNAPSHOT_TESTDATA names the folder. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/macros.h"
#include "base/mem.h"
#include "picture/annotate.h"
#include "picture/letterbox.h"
#include "picture/picture.h"

#include "../sanitized.h"

static char *folder;

/* All others must decode whole. */
static const struct {
    const char *name;
    int code;         /* 0: decodes, damaged */
    const char *text; /* of the refusal */
} odd[] = {
    {"bomb_20000x20000_1bit.png", -EFBIG, "400.0 megapixels"},
    {"claims_0x0.jpg", -EINVAL, "claims 0x0 pixels"},
    {"claims_65500x65500.jpg", -EFBIG, "4290.2 megapixels, more than the limit of 120"},
    {"html_served_as.jpg", -EINVAL, "not a picture: an HTML page"},
    {"only_soi.jpg", -EINVAL, "not a picture: a JPEG that ends after its first bytes"},
    {"random_bytes.jpg", -EINVAL, "not a picture: unknown binary data"},
    {"text.jpg", -EINVAL, "not a picture: text"},
    {"truncated_header.jpg", -EINVAL, "JPEG ended inside its header, after 300 bytes"},
    {"zero_length.jpg", -EINVAL, "not a picture: empty"},
    {"corrupt_middle.jpg", 0, NULL},
    {"truncated_60pct.jpg", 0, NULL},
};

static int find_folder(void **state)
{
    const char *given = getenv("SNAPSHOT_TESTDATA"), *root = getenv("SOURCE_ROOT");

    (void)state;
    folder = given ? xasprintf("%s/images", given)
                   : xasprintf("%s/../shared/testdata/images", root ? root : ".");
    return 0;
}

static int free_folder(void **state)
{
    (void)state;
    free(folder);
    return 0;
}

static struct blob *load(const char *name)
{
    AUTO_CLOSE int fd = -1;
    struct blob *b = NULL;

    if (fs_open_dir(-100 /* AT_FDCWD */, folder, &fd, NULL) < 0)
        skip();
    if (fs_read_blob(fd, name, 64 << 20, &b, NULL) < 0)
        fail_msg("cannot read %s", name);
    return b;
}

static void check(const char *name)
{
    AUTO(blob) b = load(name);
    AUTO(image) img = NULL;
    struct picture_info info;
    struct err e = {0};
    struct timespec start, end;
    int want = 0, r;
    const char *text = NULL;
    bool damaged = false;

    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        if (strcmp(odd[i].name, name) == 0) {
            want = odd[i].code;
            text = odd[i].text;
            damaged = want == 0;
        }
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    r = picture_decode(b->data, b->size, &picture_limits_default, 640, 640, &img, &info, &e);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    if (r != want || (text && !strstr(e.text, text)))
        fail_msg("%s: %d %s", name, r, e.text);
    if (r == 0 && info.damaged != damaged)
        fail_msg("%s: damaged is %d", name, info.damaged);
    assert_true(end.tv_sec - start.tv_sec <= 2);
    if (r == 0) {
        assert_true(img->width >= MIN(640, info.width) && img->height >= MIN(640, info.height));
        assert_true(img->width >= 1 && img->height >= 1);
    }
}

/* What a picture may take beside its own bytes, and the room that the allocator and the loader take
 * for themselves. */
#define MEMORY_MAX (64 << 20)
#define ALLOCATOR_SLACK (4 << 20)

/* In a child whose address space may grow by that and no further: an allocation beyond it fails,
 * and a picture that decodes elsewhere then fails here. Returns the code of the decoder. */
static int decode_confined(const struct blob *b, int cover_width, int cover_height)
{
    int channel[2], code = 1;
    assert_int_equal(pipe(channel), 0);
    pid_t child = fork();
    if (child == 0) {
        FILE *f = fopen("/proc/self/statm", "re");
        unsigned long pages = 0;
        struct image *img = NULL;
        struct picture_info info;
        if (f && fscanf(f, "%lu", &pages) == 1) {
            rlim_t most = pages * (rlim_t)sysconf(_SC_PAGESIZE) + MEMORY_MAX + ALLOCATOR_SLACK;
            (void)setrlimit(RLIMIT_AS, &(struct rlimit){most, most});
            code = picture_decode(b->data, b->size, &picture_limits_default, cover_width,
                                  cover_height, &img, &info, NULL);
        }
        (void)!write(channel[1], &code, sizeof(code)); /* its absence is a failure */
        _exit(0);
    }
    (void)close(channel[1]);
    ssize_t n = read(channel[0], &code, sizeof(code));
    (void)close(channel[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && n == sizeof(code));
    return code;
}

static void no_file_takes_more_than_its_share_of_memory(void **state)
{
    (void)state;
    if (TEST_SANITIZED) /* its own mappings leave nothing to confine */
        skip();
    DIR *dir = opendir(folder);
    struct dirent *entry;
    if (!dir)
        skip();
    for (entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_name[0] == '.')
            continue;
        AUTO(blob) b = load(entry->d_name);
        AUTO(image) img = NULL;
        struct picture_info info;
        int free_code =
            picture_decode(b->data, b->size, &picture_limits_default, 640, 360, &img, &info, NULL);
        int confined = decode_confined(b, 640, 360);
        if (confined != free_code)
            fail_msg("%s: %d within 64 MB, %d otherwise", entry->d_name, confined, free_code);
    }
    (void)closedir(dir);
}

static void every_file_decodes_or_is_refused_with_its_reason(void **state)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int files = 0;

    (void)state;
    if (!dir)
        skip();
    for (entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_name[0] != '.') {
            check(entry->d_name);
            files++;
        }
    }
    (void)closedir(dir);
    assert_true(files > 0);
}

/* The odd versions of one photograph must show the same thing: their tiny versions agree. */
static void all_versions_of_a_photograph_look_the_same(void **state)
{
    static const char *const names[] = {
        "progressive.jpg",
        "subsampling_444.jpg",
        "restart_markers.jpg",
        "odd_size_539x719.jpg",
        "trailing_garbage.jpg",
        "cmyk.jpg",
        "exif_orientation_3.jpg",
        "exif_orientation_6.jpg",
        "exif_orientation_8.jpg",
        "png_named.jpg",
        "lossy.webp",
        "lossless.webp",
        "still.gif",
        "animated.gif",
        "plain.bmp",
        "plain.png",
        "palette.png",
        "rgba.png",
        "rgb_16bit.png",
        "arithmetic_coded.jpg",
        "grayscale.jpg",
        "gray_16bit.png",
    };
    enum { SIDE = 32, N = SIDE * SIDE };
    static const struct tensor_format plain = {.scale = 1, .std = {1, 1, 1}, .fill = 114};
    float base[3 * N], other[3 * N];

    (void)state;
    for (size_t i = 0; i <= ARRAY_LEN(names); i++) {
        const char *name = i == 0 ? "base_540x720.jpg" : names[i - 1];
        bool grey = strstr(name, "gray") != NULL;
        AUTO(blob) b = load(name);
        AUTO(image) img = NULL;
        struct picture_info info;
        struct err e;
        struct letterbox lb;
        double sum = 0;

        if (picture_decode(b->data, b->size, &picture_limits_default, SIDE, SIDE, &img, &info, &e) <
            0)
            fail_msg("%s: %s", name, e.text);
        lb = letterbox_compute(LETTERBOX_STRETCH, info.width, info.height, SIDE, SIDE);
        assert_int_equal(letterbox_fill(&lb, &plain, img, i == 0 ? base : other), 0);
        if (i == 0)
            continue;
        for (int n = 0; n < N; n++) {
            double luma = 0.299 * base[n] + 0.587 * base[N + n] + 0.114 * base[2 * N + n];

            for (int c = 0; c < 3; c++)
                sum += abs((int)(other[c * N + n] - (grey ? luma : base[c * N + n])));
        }
        if (sum / (3 * N) > 12) /* aliasing of different scales moves single pixels */
            fail_msg("%s differs from the base by %.1f a value", name, sum / (3 * N));
    }
}

static void the_large_and_the_thin_can_be_annotated(void **state)
{
    static const char *const names[] = {"large_8000x6000.jpg", "strip_4000x8.jpg",
                                        "strip_7x3000.jpg", "one_pixel.jpg", "white_1280x720.jpg"};
    struct detection d = {
        .label = "person", .confidence = 0.5F, .has_box = true, .box = {1, 1, 500, 500}};
    struct detection_list list = {&d, 1};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        AUTO(blob) b = load(names[i]);
        AUTO(blob) out = NULL;
        struct picture_info info;
        struct err e;

        if (picture_annotate(b->data, b->size, &picture_limits_default, &list, 0, 85, &out, &e) < 0)
            fail_msg("%s: %s", names[i], e.text);
        assert_int_equal(picture_probe(out->data, out->size, &picture_limits_default, &info, &e),
                         0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_decodes_or_is_refused_with_its_reason),
        cmocka_unit_test(no_file_takes_more_than_its_share_of_memory),
        cmocka_unit_test(all_versions_of_a_photograph_look_the_same),
        cmocka_unit_test(the_large_and_the_thin_can_be_annotated),
    };

    return cmocka_run_group_tests(tests, find_folder, free_folder);
}
