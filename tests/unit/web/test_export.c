/* Zip files, written to a file and looked at by Python's own reader; and the records themselves. */
#include "fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>

#include "web/zip.h"

#define PATIENCE_MS 20000

static void wait_for_wake(struct fixture *f, unsigned seen)
{
    struct mono_time until = mono_add_ms(clock_mono(), PATIENCE_MS);
    while (atomic_load(&f->key_wakes) == seen) {
        assert_false(mono_passed(until));
        sched_yield();
    }
}

/* Reads the whole stream, `block` bytes at a time; returns its size. */
static size_t read_all(struct fixture *f, struct http_stream *s, size_t block, FILE *to)
{
    AUTO_FREE char *bytes = xmalloc(block);
    size_t size = 0;
    for (;;) {
        struct http_wait wait;
        unsigned seen = atomic_load(&f->key_wakes);
        ssize_t n = s->read(s->arg, bytes, block, &wait);
        if (n == HTTP_STREAM_END)
            return size;
        assert_true(n >= 0);
        if (n == 0)
            wait_for_wake(f, seen);
        else if (to)
            assert_int_equal(fwrite(bytes, 1, (size_t)n, to), n);
        size += (size_t)n;
    }
}

extern char **environ;

static const char look[] =
    "import sys, zipfile, csv, io, json\n"
    "z = zipfile.ZipFile(sys.argv[1])\n"
    "assert z.testzip() is None\n"
    "print(*(i.filename for i in z.infolist()), sep=chr(10))\n"
    "rows = list(csv.DictReader(io.StringIO(z.read('manifest.csv').decode())))\n"
    "docs = json.loads(z.read('manifest.json'))['snapshots']\n"
    "assert [r['id'] for r in rows] == [d['id'] for d in docs]\n"
    "for r in rows: print(r['camera'], r['file'], r['persons'], r['labels'])\n";

static void ask_python(struct fixture *f, const char *path, char *said, size_t size)
{
    char answer[128];
    pid_t child;
    int status;
    posix_spawn_file_actions_t actions;
    (void)snprintf(answer, sizeof(answer), "%s/answer", f->folder);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 1, answer, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    char *argv[] = {"python3", "-c", (char *)(uintptr_t)look, (char *)(uintptr_t)path, NULL};
    assert_int_equal(posix_spawnp(&child, "python3", &actions, NULL, argv, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(waitpid(child, &status, 0), child);
    FILE *from = fopen(answer, "r");
    assert_non_null(from);
    size_t n = fread(said, 1, size - 1, from);
    said[n] = '\0';
    (void)fclose(from);
    if (status != 0)
        fail_msg("no good zip file: %s", said);
}

/* Downloads it, and asks Python whether it is whole and what is in it: the names, the manifests. */
static void download(struct fixture *f, const char *query, size_t block, char *said, size_t size)
{
    char target[256], path[128];
    struct reply r;
    (void)snprintf(target, sizeof(target), "/api/v1/snapshots.zip%s", query);
    ask(f, "GET", target, &r);
    assert_int_equal(r.response.status, 200);
    assert_string_equal(r.response.content_type, "application/zip");
    (void)snprintf(path, sizeof(path), "%s/a.zip", f->folder);
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    (void)read_all(f, &r.response.stream, block, to);
    (void)fclose(to);
    reply_done(&r);
    ask_python(f, path, said, size);
}

static void has_the_pictures_and_lists_of_them(void **state)
{
    struct fixture *f = *state;
    char said[4096];
    AUTO(snapshot) a = add_snapshot(f, 1, "porch", 1700000000000000);
    AUTO(snapshot) b = add_snapshot(f, 2, "=cmd|' /C calc'!A0", 1700000001000000);
    AUTO(snapshot) c = add_snapshot(f, 3, "porch", 1700000002000000);
    examine(f, a, (const char *[]){"person", "a \"dog\""}, (float[]){0.9f, 0.5f}, 2, true);
    download(f, "", 4096, said, sizeof(said));
    assert_string_equal(said,
                        "porch/2026/01/02/fetch_front-door-camera_3.jpg\n"
                        "porch/2026/01/02/fetch_front-door-camera_2.jpg\n"
                        "porch/2026/01/02/fetch_front-door-camera_1.jpg\n"
                        "manifest.csv\nmanifest.json\n"
                        "porch porch/2026/01/02/fetch_front-door-camera_3.jpg  \n"
                        "'=cmd|' /C calc'!A0 porch/2026/01/02/fetch_front-door-camera_2.jpg  \n"
                        "porch porch/2026/01/02/fetch_front-door-camera_1.jpg 1 "
                        "person 0.90; a \"dog\" 0.50\n");
    download(f, "?camera=porch&limit=1", 1, said, sizeof(said));
    assert_non_null(strstr(said, "_3.jpg\nmanifest.csv"));
    download(f, "?annotated=1&person=1", 7, said, sizeof(said));
    assert_non_null(strstr(said, "porch/2026/01/02/detect_front-door-camera_1.jpg\nmanifest"));
}

/* A spreadsheet that splits at semicolons sees cells where we have none. */
static void no_cell_is_a_formula(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"+1",    "-1",   "@SUM(1)",   "\357\274\2351",
                                        " =1",   "a;=1", "a,\"\" -1", "a\t@b",
                                        "a| +1", "a=b",  "a - b; c"};
    char said[8192], wanted[64];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        AUTO(snapshot) s = add_snapshot(f, 10 + (int)i, names[i], 1700000000000000);
    }
    f->bytes_code = -ENOENT;
    download(f, "?order=oldest", 4096, said, sizeof(said));
    static const char *const cells[] = {"'+1",    "'-1",   "'@SUM(1)",   "'\357\274\2351",
                                        " '=1",   "a;'=1", "a,\"\" '-1", "a\t'@b",
                                        "a| '+1", "a=b",   "a - b; c"};
    for (size_t i = 0; i < ARRAY_LEN(cells); i++) {
        (void)snprintf(wanted, sizeof(wanted), "\n%s   \n", cells[i]);
        if (!strstr(said, wanted))
            fail_msg("no cell %s in %s", cells[i], said);
    }
}

static void what_is_not_there_stands_in_the_lists_alone(void **state)
{
    struct fixture *f = *state;
    char said[4096];
    AUTO(snapshot) a = add_snapshot(f, 1, "porch", 1700000000000000);
    f->bytes_code = -ENOENT;
    download(f, "", 4096, said, sizeof(said));
    assert_string_equal(said, "manifest.csv\nmanifest.json\nporch   \n");
    f->bytes_code = -EIO;
    download(f, "", 4096, said, sizeof(said));
    assert_string_equal(said, "manifest.csv\nmanifest.json\nporch   \n");
    download(f, "?camera=nobody", 4096, said, sizeof(said));
    assert_string_equal(said, "manifest.csv\nmanifest.json\n");
}

static void is_never_far_ahead_of_its_reader(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 1; i <= 100; i++) {
        AUTO(snapshot) s = add_snapshot(f, i, "porch", (int64_t)i * 1000000);
    }
    struct reply r;
    ask(f, "GET", "/api/v1/snapshots.zip", &r);
    char block[100];
    struct http_wait wait;
    struct http_stream *s = &r.response.stream;
    while (s->read(s->arg, block, 1, &wait) == 0)
        sched_yield();
    /* Sixteen chunks are eight pictures, and it holds one. */
    struct mono_time until = mono_add_ms(clock_mono(), 300);
    while (!mono_passed(until) && atomic_load(&f->byte_reads) < 20)
        sched_yield();
    assert_true(atomic_load(&f->byte_reads) < 12);
    reply_done(&r); /* and it ends when nobody reads any more: the tear down waits for that */
}

static void only_so_many_at_a_time(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) a = add_snapshot(f, 1, "porch", 1700000000000000);
    struct reply r[EXPORTS_MAX], more;
    for (size_t i = 0; i < ARRAY_LEN(r); i++)
        ask(f, "GET", "/api/v1/snapshots.zip", &r[i]);
    ask(f, "GET", "/api/v1/snapshots.zip", &more);
    assert_int_equal(more.response.status, 503);
    assert_string_equal(text_at(more.json, "error.code"), "too-many-exports");
    reply_done(&more);
    (void)read_all(f, &r[0].response.stream, 100, NULL);
    for (size_t i = 0; i < ARRAY_LEN(r); i++)
        reply_done(&r[i]);
    struct mono_time until = mono_add_ms(clock_mono(), PATIENCE_MS);
    do {
        assert_false(mono_passed(until));
        ask(f, "HEAD", "/api/v1/snapshots.zip", &more); /* and that one starts no thread */
        int status = more.response.status;
        reply_done(&more);
        if (status == 200)
            break;
    } while (true);
}

static void refuses_what_it_does_not_know(void **state)
{
    struct fixture *f = *state;
    static const char *const wrong[] = {"?limit=0", "?limit=100001", "?annotated=x", "?cursor=1-1",
                                        "?person=maybe"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char target[128];
        struct reply r;
        (void)snprintf(target, sizeof(target), "/api/v1/snapshots.zip%s", wrong[i]);
        ask(f, "GET", target, &r);
        if (r.response.status != 400)
            fail_msg("%s: %d", wrong[i], r.response.status);
        reply_done(&r);
    }
}

/* ---- the records ---- */

static uint64_t number(const struct dynbuf *b, size_t at, int bytes)
{
    uint64_t v = 0;
    assert_true(at + (size_t)bytes <= b->len);
    for (int i = bytes; i-- > 0;)
        v = v << 8 | (uint8_t)b->data[at + (size_t)i];
    return v;
}

static void knows_files_beyond_4_gb(void **state)
{
    (void)state;
    struct zip z;
    AUTO_DONE(dynbuf) out;
    zip_init(&z, 1 << 20);
    dynbuf_init(&out, 1 << 20);
    struct zip_entry e = {.name = "a.jpg", .size = 3000000000, .packed_size = 3000000000};
    assert_int_equal(zip_begin(&z, &e, &out), 0);
    assert_int_equal(out.len, 35);
    assert_int_equal(z.offset, 3000000035);
    e.name = "b.jpg";
    assert_int_equal(zip_begin(&z, &e, &out), 0);
    assert_int_equal(z.offset, 6000000070);
    e.name = "c.jpg";
    assert_int_equal(zip_begin(&z, &e, &out), 0);
    dynbuf_reset(&out);
    uint64_t directory_at = z.offset;
    assert_int_equal(zip_end(&z, &out), 0);
    /* The third entry begins beyond 4 GB, and has its place in an extra field. */
    size_t third = 2 * (46 + 5);
    assert_int_equal(number(&out, third, 4), 0x02014b50);
    assert_int_equal(number(&out, third + 42, 4), 0xffffffff);
    assert_int_equal(number(&out, third + 46 + 5, 2), 1);
    assert_int_equal(number(&out, third + 46 + 5 + 4, 8), 6000000070);
    size_t end = third + 46 + 5 + 12;
    assert_int_equal(number(&out, end, 4), 0x06064b50);
    assert_int_equal(number(&out, end + 32, 8), 3);
    assert_int_equal(number(&out, end + 48, 8), directory_at);
    assert_int_equal(number(&out, end + 56, 4), 0x07064b50);
    assert_int_equal(number(&out, end + 64, 8), directory_at + end);
    assert_int_equal(number(&out, end + 76, 4), 0x06054b50);
    assert_int_equal(number(&out, end + 92, 4), 0xffffffff);
    assert_int_equal(out.len, end + 98);
    zip_done(&z);
}

static void knows_more_than_65535_files(void **state)
{
    (void)state;
    struct zip z;
    AUTO_DONE(dynbuf) out;
    zip_init(&z, 16 << 20);
    dynbuf_init(&out, 16 << 20);
    struct zip_entry e = {.name = "a"};
    for (int i = 0; i < 70000; i++)
        assert_int_equal(zip_begin(&z, &e, &out), 0);
    dynbuf_reset(&out);
    assert_int_equal(zip_end(&z, &out), 0);
    assert_int_equal(number(&out, out.len - 22 + 10, 2), 0xffff);
    assert_int_equal(number(&out, out.len - 22 - 20 - 56 + 32, 8), 70000);
    zip_done(&z);
}

static void a_directory_that_is_too_large_fails(void **state)
{
    (void)state;
    struct zip z;
    AUTO_DONE(dynbuf) out;
    zip_init(&z, 100);
    dynbuf_init(&out, 1 << 20);
    struct zip_entry e = {.name = "a"};
    assert_int_equal(zip_begin(&z, &e, &out), 0);
    assert_int_equal(zip_begin(&z, &e, &out), 0);
    assert_int_equal(zip_begin(&z, &e, &out), -ENOSPC);
    assert_int_equal(zip_end(&z, &out), -ENOSPC);
    zip_done(&z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(has_the_pictures_and_lists_of_them),
        T(no_cell_is_a_formula),
        T(what_is_not_there_stands_in_the_lists_alone),
        T(is_never_far_ahead_of_its_reader),
        T(only_so_many_at_a_time),
        T(refuses_what_it_does_not_know),
        cmocka_unit_test(knows_files_beyond_4_gb),
        cmocka_unit_test(knows_more_than_65535_files),
        cmocka_unit_test(a_directory_that_is_too_large_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
