/* The pages that are packed into the program, as browsers and scripts get them. */
#include "fixture.h"

#include "web/files.h"

static const char *const browser[] = {"Accept", "text/html,*/*;q=0.8", "Accept-Encoding",
                                      "gzip, deflate, br", NULL};
static const char *const plain_browser[] = {"Accept", "text/html", NULL};

static void gives_a_browser_the_page_on_every_path_of_pages(void **state)
{
    static const char *const paths[] = {
        "/",       "/timeline", "/snapshots/abc", "/cameras/Back%20Yard",
        "/system", "/login",    "/no/such/page"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct reply r;
        ask_with(*state, "GET", paths[i], plain_browser, &r);
        assert_int_equal(r.response.status, 200);
        assert_string_equal(r.response.content_type, "text/html; charset=utf-8");
        assert_string_equal(header_of(&r, "Cache-Control"), "no-cache");
        const char *policy = header_of(&r, "Content-Security-Policy");
        assert_non_null(strstr(policy, "default-src 'none'"));
        assert_non_null(strstr(policy, "script-src 'self';"));
        assert_null(strstr(policy, "unsafe"));
        assert_true(memmem(r.response.body->data, r.response.body->size, "<!doctype html>", 15));
        reply_done(&r);
    }
}

static void gives_scripts_what_they_always_got(void **state)
{
    struct reply r;
    ask(*state, "GET", "/", &r);
    assert_string_equal(r.response.content_type, "text/plain; charset=utf-8");
    reply_done(&r);
    ask(*state, "GET", "/timeline", &r);
    assert_int_equal(r.response.status, 404);
    reply_done(&r);
    ask_with(*state, "GET", "/api/v1/nothing", browser, &r);
    assert_int_equal(r.response.status, 404);
    reply_done(&r);
    ask_with(*state, "POST", "/timeline", browser, &r);
    assert_int_equal(r.response.status, 404);
    reply_done(&r);
}

static void unpacks_a_file_for_who_cannot(void **state)
{
    static const struct {
        const char *encoding;
        bool packed;
    } cases[] = {{"gzip", true},      {"br;q=1.0, gzip;q=0.5", true},
                 {"gzip;q=0", false}, {"gzip; q=0.0", false},
                 {"identity", false}, {"x-gzip", false},
                 {"", false}};
    char tag[80] = "";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *const headers[] = {"Accept", "text/html", "Accept-Encoding", cases[i].encoding,
                                       NULL};
        struct reply r;
        ask_with(*state, "GET", "/", headers, &r);
        bool packed = header_of(&r, "Content-Encoding") != NULL;
        if (packed != cases[i].packed)
            fail_msg("Accept-Encoding: %s", cases[i].encoding);
        assert_int_equal(packed, r.response.body->data[0] == 0x1f);
        assert_non_null(strstr(header_of(&r, "Vary"), "Accept-Encoding"));
        if (i > 0) /* the first is packed */
            assert_int_equal(strcmp(tag, header_of(&r, "ETag")) == 0, packed);
        text_copy(tag, sizeof(tag), i == 0 ? header_of(&r, "ETag") : tag);
        reply_done(&r);
    }
}

static void answers_304_to_who_has_the_page(void **state)
{
    struct reply r;
    ask_with(*state, "GET", "/", browser, &r);
    char tag[80];
    text_copy(tag, sizeof(tag), header_of(&r, "ETag"));
    reply_done(&r);
    const char *const headers[] = {
        "Accept", "text/html", "Accept-Encoding", "gzip", "If-None-Match", tag, NULL};
    ask_with(*state, "GET", "/", headers, &r);
    assert_int_equal(r.response.status, 304);
    assert_int_equal(r.response.body_length, 0);
    reply_done(&r);
}

static void lets_files_of_this_version_be_kept_for_ever(void **state)
{
    char target[600];
    for (size_t i = 0; i < web_file_count; i++) {
        struct reply r;
        (void)snprintf(target, sizeof(target), "/assets/~%s/%s", web_files_version,
                       web_files[i].path);
        ask_with(*state, "GET", target, browser, &r);
        assert_int_equal(r.response.status, 200);
        assert_string_equal(r.response.content_type, web_files[i].content_type);
        assert_non_null(strstr(header_of(&r, "Cache-Control"), "immutable"));
        assert_non_null(strstr(header_of(&r, "Content-Security-Policy"), "default-src 'none'"));
        reply_done(&r);
        (void)snprintf(target, sizeof(target), "/assets/%s", web_files[i].path);
        ask_with(*state, "GET", target, NULL, &r);
        assert_int_equal(r.response.status, 200);
        assert_int_equal(r.response.body->size, web_files[i].size);
        assert_string_equal(header_of(&r, "Cache-Control"), "no-cache");
        reply_done(&r);
    }
}

static void has_no_file_but_its_own(void **state)
{
    static const char *const targets[] = {"/assets/..%2f..%2fetc%2fpasswd",
                                          "/assets/../index.html",
                                          "/assets/~/",
                                          "/assets/~x",
                                          "/assets/",
                                          "/assets//index.html",
                                          "/assets/index.html/",
                                          "/assets/a/b/c/d/e/f/g/h/i/j"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct reply r;
        ask_with(*state, "GET", targets[i], browser, &r);
        if (r.response.status != 404)
            fail_msg("%s: %d", targets[i], r.response.status);
        reply_done(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(gives_a_browser_the_page_on_every_path_of_pages),
        T(gives_scripts_what_they_always_got),
        T(unpacks_a_file_for_who_cannot),
        T(answers_304_to_who_has_the_page),
        T(lets_files_of_this_version_be_kept_for_ever),
        T(has_no_file_but_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
