#include "../test.h"

#include <errno.h>

#include "base/text.h"
#include "secrets/secret_cache.h"
#include "secrets/secrets.h"
#include "sys/seal.h"

static struct wall_time now;
static struct wall_time clock_now(void)
{
    return now;
}

static char folder[200], cache_path[256], key_path[256];

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/secret-cache-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(cache_path, sizeof(cache_path), "%s/secrets.cache", folder);
    (void)snprintf(key_path, sizeof(key_path), "%s/secrets.key", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    clock_set_wall_source(NULL);
    (void)unlink(cache_path);
    (void)unlink(key_path);
    return rmdir(folder);
}

static void write_one(const char *name, const char *value)
{
    AUTO(secret_cache) c = secret_cache_new();
    struct err e = {0};
    secret_cache_put(c, name, value, wall_from_seconds(1000));
    assert_int_equal(secret_cache_write(c, folder, NULL, &e), 0);
}

static size_t read_bytes(char *buf, size_t size)
{
    FILE *f = fopen(cache_path, "rb");
    assert_non_null(f);
    size_t n = fread(buf, 1, size, f);
    (void)fclose(f);
    return n;
}

static void write_bytes(const char *buf, size_t size)
{
    FILE *f = fopen(cache_path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(buf, 1, size, f), size);
    (void)fclose(f);
}

static void what_was_kept_is_found_and_cannot_be_read(void **state)
{
    (void)state;
    char bytes[4096];
    struct wall_time at;
    struct stat st;
    AUTO(secret_cache) c = secret_cache_new();
    assert_int_equal(secret_cache_read(c, folder, NULL, NULL), -ENOENT);
    write_one("op://v/i/f", "a value\nof two lines");
    assert_int_equal(secret_cache_read(c, folder, NULL, NULL), 0);
    assert_string_equal(secret_cache_get(c, "op://v/i/f", &at), "a value\nof two lines");
    assert_int_equal(wall_seconds(at), 1000);
    assert_null(secret_cache_get(c, "op://v/i/g", &at));
    size_t n = read_bytes(bytes, sizeof(bytes));
    assert_null(memmem(bytes, n, "value", 5));
    assert_null(memmem(bytes, n, "op://", 5));
    assert_int_equal(stat(cache_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(key_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void any_bit_and_any_length_that_is_wrong_is_noticed(void **state)
{
    (void)state;
    char good[4096], bad[4096];
    write_one("n", "v");
    size_t n = read_bytes(good, sizeof(good));
    for (size_t i = 0; i < 2 * n; i++) {
        struct err e = {0};
        AUTO(secret_cache) c = secret_cache_new();
        struct wall_time at;
        memcpy(bad, good, n);
        bad[i % n] ^= 0x10;
        write_bytes(bad, i < n ? n : i - n);
        assert_int_equal(secret_cache_read(c, folder, NULL, &e), -EBADMSG);
        assert_null(secret_cache_get(c, "n", &at));
        assert_non_null(strstr(e.text, "damaged"));
    }
}

static void a_key_that_others_can_read_is_refused(void **state)
{
    (void)state;
    struct err e = {0};
    AUTO(secret_cache) c = secret_cache_new();
    write_one("n", "v");
    assert_int_equal(chmod(key_path, 0640), 0);
    assert_int_equal(secret_cache_read(c, folder, NULL, &e), -EACCES);
    assert_non_null(strstr(e.text, "mode 640"));
    assert_int_equal(secret_cache_write(c, folder, NULL, &e), -EACCES);
}

static void ask(struct secrets_wish *w, int64_t max_age_ms, struct secrets_report *r)
{
    struct secrets_options o = {.host = "http://127.0.0.1:1",
                                .token = "t",
                                .vault = "",
                                .app_name = "app",
                                .folder = folder,
                                .timeout_ms = 1000,
                                .deadline_ms = 2000,
                                .cache_max_age_ms = max_age_ms,
                                .stop_fd = -1};
    secrets_ask(&o, w, 1, r);
}

static void what_is_too_old_is_not_used_and_a_clock_that_is_behind_makes_nothing_old(void **state)
{
    (void)state;
    static const struct {
        int64_t now_s;
        bool used;
    } cases[] = {{1000, true}, {1060, true}, {1061, false}, {0, true}, {1000000, false}};
    write_one("op://v/i/f http://127.0.0.1:1 ", "secret");
    clock_set_wall_source(clock_now);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct secrets_wish w = {.path = "op://v/i/f"};
        struct secrets_report r;
        now = wall_from_seconds(cases[i].now_s);
        ask(&w, 60000, &r);
        assert_int_equal(w.value != NULL, cases[i].used);
        assert_int_equal(r.cached, cases[i].used);
        assert_true(r.trouble[0]);
        if (!cases[i].used)
            assert_non_null(strstr(w.error.text, "more than cache_max_age, "));
        secrets_wish_done(&w);
    }
}

static void a_box_opens_with_its_key_and_words_only(void **state)
{
    (void)state;
    uint8_t key[SEAL_KEY_BYTES] = {1}, box[5 + SEAL_OVERHEAD], other[5 + SEAL_OVERHEAD], text[5];
    seal_close(key, "about", "hello", 5, box);
    seal_close(key, "about", "hello", 5, other);
    assert_memory_not_equal(box, other, sizeof(box)); /* a nonce of its own each time */
    assert_int_equal(seal_open(key, "about", box, sizeof(box), text), 0);
    assert_memory_equal(text, "hello", 5);
    assert_int_equal(seal_open(key, "abouT", box, sizeof(box), text), -EBADMSG);
    key[31] = 1;
    assert_int_equal(seal_open(key, "about", box, sizeof(box), text), -EBADMSG);
    assert_int_equal(seal_open(key, "about", box, SEAL_OVERHEAD - 1, text), -EBADMSG);
    seal_close(key, "", "", 0, box);
    assert_int_equal(seal_open(key, "", box, SEAL_OVERHEAD, text), 0);
}

#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(what_was_kept_is_found_and_cannot_be_read),
        WITH_FOLDER(any_bit_and_any_length_that_is_wrong_is_noticed),
        WITH_FOLDER(a_key_that_others_can_read_is_refused),
        WITH_FOLDER(what_is_too_old_is_not_used_and_a_clock_that_is_behind_makes_nothing_old),
        cmocka_unit_test(a_box_opens_with_its_key_and_words_only),
    };
    return RUN_TESTS(tests);
}
