#include "oauth_stub.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "base/fsutil.h"
#include "storage/google_login.h"
#include "storage/google_token.h"
#include "test_key.h"

#define NOW_S 1767323045 /* 2026-01-02T03:04:05Z */
#define ACCESS(name) "{\"access_token\":\"" name "\",\"expires_in\":3600}"
#define GONE "{\"error\":\"invalid_grant\",\"error_description\":\"Token has been revoked.\"}"

static char folder[64], path[96];
static int folder_fd;
static struct stub stub;
static struct google_login *login;
static struct http_client *client;
/* Atomic: the HTTP server's and the client's threads look at the clock, too. */
static _Atomic int64_t wall_us, mono_extra_us;

static struct wall_time test_wall(void)
{
    return (struct wall_time){atomic_load(&wall_us)};
}

/* The real one, which the HTTP client needs, and what the test adds. */
static struct mono_time test_mono(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (struct mono_time){(int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 +
                              atomic_load(&mono_extra_us)};
}

/* Both clocks. */
static void pass_s(int64_t s)
{
    (void)atomic_fetch_add(&wall_us, s * 1000000);
    (void)atomic_fetch_add(&mono_extra_us, s * 1000000);
}

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    atomic_store(&wall_us, NOW_S * 1000000LL);
    atomic_store(&mono_extra_us, 0);
    clock_set_wall_source(test_wall);
    clock_set_mono_source(test_mono);
    folder_fd = test_folder_new(folder);
    (void)snprintf(path, sizeof(path), "%s/token.json", folder);
    stub_start(&stub);
    login = NULL;
    return http_client_new(-1, &client, &e);
}

static int teardown(void **state)
{
    (void)state;
    http_client_free(client);
    google_login_close(login);
    stub_stop(&stub);
    clock_set_wall_source(NULL);
    clock_set_mono_source(NULL);
    test_folder_remove(folder, folder_fd);
    return 0;
}

static void write_file(const char *text)
{
    struct err e = {0};
    assert_int_equal(fs_replace(AT_FDCWD, path, text, strlen(text), 0600, &e), 0);
}

/* A login whose access token is good until so many seconds from now. */
static void write_login(const char *refresh, const char *access, int64_t good_s)
{
    char text[1024], expires[WALL_ISO_MAX];
    (void)wall_format_iso((struct wall_time){clock_wall().us + good_s * 1000000}, false, expires);
    (void)snprintf(text, sizeof(text),
                   "{\"access_token\":\"%s\",\"client_id\":\"id\",\"client_secret\":"
                   "\"canary-secret\",\"refresh_token\":\"%s\",\"token_expiry\":\"%s\","
                   "\"token_uri\":\"https://oauth2.googleapis.com/token\",\"invalid\":false,"
                   "\"theirs\":[1]}",
                   access, refresh, expires);
    write_file(text);
}

static int open_with(struct google_login_options o, struct err *e)
{
    o.token_file = path;
    o.scope = "scope-a";
    err_clear(e);
    return google_login_open(&o, &login, e);
}

static void open_login(void)
{
    struct err e = {0};
    if (open_with((struct google_login_options){.token_url = stub.url}, &e) < 0)
        CASE_FAILS("%s", e.text);
}

static int ask(char ret[GOOGLE_TOKEN_MAX], struct err *e)
{
    err_clear(e);
    return google_login_token(login, client, ret, e);
}

static void expect_token(const char *wanted)
{
    char token[GOOGLE_TOKEN_MAX];
    struct err e;
    if (ask(token, &e) < 0)
        CASE_FAILS("%s", e.text);
    assert_string_equal(token, wanted);
}

static void expect_failure(int code, enum err_retry retry, const char *words)
{
    char token[GOOGLE_TOKEN_MAX];
    struct err e;
    int r = ask(token, &e);
    if (r != code || e.retry != retry || !strstr(e.text, words) || strstr(e.text, "canary"))
        CASE_FAILS("%d, retry %d: %s", r, e.retry, e.text);
}

static void expect_filed(const char *key, const char *wanted)
{
    struct google_token *t = NULL;
    struct err e = {0};
    if (google_token_read(path, &t, &e) < 0)
        CASE_FAILS("%s", e.text);
    assert_string_equal(google_text(t->keys, key, 4096), wanted);
    google_token_free(t);
}

/* ---- one thread ---- */

static void without_a_login_nobody_is_asked(void **state)
{
    struct google_login_state s;
    (void)state;
    open_login();
    expect_failure(-ENOKEY, ERR_NEVER, "snapshotd auth gdrive");
    google_login_describe(login, &s);
    assert_int_equal(s.kind, GOOGLE_LOGIN_NONE);
    assert_false(s.usable);
    assert_int_equal(s.since.us, NOW_S * 1000000LL);
    assert_int_equal(stub_asked(&stub), 0);
}

static void a_token_of_the_file_that_is_good_is_used(void **state)
{
    struct google_login_state s;
    (void)state;
    write_login("1//a", "from-file", 1800);
    open_login();
    expect_token("from-file");
    assert_int_equal(stub_asked(&stub), 0);
    google_login_describe(login, &s);
    assert_true(s.usable);
    assert_int_equal(wall_seconds(s.expires), NOW_S + 1800);
    assert_non_null(strstr(s.text, "signed in; token good for 29 min"));
    assert_string_equal(s.error, "");
}

static void an_old_one_is_renewed_and_kept_in_the_file(void **state)
{
    struct stat st;
    (void)state;
    write_login("1//a", "old", -10);
    stub_will(&stub, 200, ACCESS("new"), NULL);
    open_login();
    expect_token("new");
    expect_token("new");
    assert_int_equal(stub_asked(&stub), 1);
    assert_string_equal(stub.bodies[0], "grant_type=refresh_token&refresh_token=1%2F%2Fa&client_id="
                                        "id&client_secret=canary-secret");
    expect_filed("access_token", "new");
    expect_filed("refresh_token", "1//a");
    expect_filed("token_expiry", "2026-01-02T04:04:05Z");
    AUTO_JSON json_t *j = json_load_file(path, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(j, "theirs")), 1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void a_refresh_token_that_changes_is_kept(void **state)
{
    (void)state;
    write_login("1//a", "old", -10);
    stub_will(&stub, 200,
              "{\"access_token\":\"t1\",\"expires_in\":3600,\"refresh_token\":\"1//b\"}", NULL);
    stub_will(&stub, 200, ACCESS("t2"), NULL);
    open_login();
    expect_token("t1");
    expect_filed("refresh_token", "1//b");
    pass_s(3600);
    expect_token("t2");
    assert_non_null(strstr(stub.bodies[1], "refresh_token=1%2F%2Fb&"));
}

static void a_token_is_renewed_two_minutes_early(void **state)
{
    (void)state;
    write_login("1//a", "old", -10);
    stub_will(&stub, 200, ACCESS("t1"), NULL);
    stub_will(&stub, 200, ACCESS("t2"), NULL);
    open_login();
    expect_token("t1");
    pass_s(3600 - 120 - 5);
    expect_token("t1");
    pass_s(10);
    expect_token("t2");
    assert_int_equal(stub_asked(&stub), 2);
}

static void the_old_token_serves_while_google_is_in_trouble(void **state)
{
    struct google_login_state s;
    (void)state;
    write_login("1//a", "old", 100);
    stub_will(&stub, 503, "<html>", NULL);
    open_login();
    expect_token("old");
    expect_token("old"); /* and is not asked for at each picture */
    assert_int_equal(stub_asked(&stub), 1);
    google_login_describe(login, &s);
    assert_true(s.usable);
    assert_non_null(strstr(s.error, "HTTP 503"));
    pass_s(31);
    expect_token("old");
    assert_int_equal(stub_asked(&stub), 2);
    pass_s(100);
    expect_failure(-EAGAIN, ERR_LATER, "HTTP 503");
    google_login_describe(login, &s);
    assert_false(s.usable);
    expect_filed("refresh_token", "1//a");
    stub_will(&stub, 200, ACCESS("new"), NULL);
    stub.asked = 1; /* the next answer */
    pass_s(2);
    expect_token("new");
    google_login_describe(login, &s);
    assert_true(s.usable);
    assert_string_equal(s.error, "");
}

static void a_retry_after_is_kept(void **state)
{
    (void)state;
    write_login("1//a", "old", -10);
    stub_will(&stub, 429, "{\"error\":\"rate_limit_exceeded\"}", "Retry-After: 50");
    stub_will(&stub, 200, ACCESS("new"), NULL);
    open_login();
    expect_failure(-EAGAIN, ERR_LATER, "too often");
    pass_s(45);
    expect_failure(-EAGAIN, ERR_LATER, "too often");
    assert_int_equal(stub_asked(&stub), 1);
    pass_s(10);
    expect_token("new");
}

static void a_grant_that_is_gone_is_told_in_words_and_asked_once_an_hour(void **state)
{
    struct google_login_state s;
    (void)state;
    write_login("1//canary", "old", -10);
    stub_will(&stub, 400, GONE, NULL);
    open_login();
    expect_failure(-EKEYREVOKED, ERR_NEVER, "ends after 7 days: publish the app");
    expect_failure(-EKEYREVOKED, ERR_NEVER, "Token has been revoked");
    pass_s(3590);
    expect_failure(-EKEYREVOKED, ERR_NEVER, "snapshotd auth gdrive");
    assert_int_equal(stub_asked(&stub), 1);
    google_login_describe(login, &s);
    assert_false(s.usable);
    assert_int_equal(wall_seconds(s.since), NOW_S);
    assert_string_equal(s.text, "signed in; Google does not accept the login");
    AUTO_JSON json_t *j = json_load_file(path, 0, NULL);
    assert_true(json_is_true(json_object_get(j, "invalid")));
    stub_will(&stub, 200, ACCESS("again"), NULL);
    pass_s(20);
    expect_token("again");
    expect_filed("refresh_token", "1//canary");
}

static void a_new_login_is_taken_without_a_restart(void **state)
{
    (void)state;
    write_login("1//a", "old", -10);
    stub_will(&stub, 400, GONE, NULL);
    stub_will(&stub, 200, ACCESS("new"), NULL);
    open_login();
    expect_failure(-EKEYREVOKED, ERR_NEVER, "");
    write_login("1//b", "fresh", 3600);
    expect_token("fresh");
    assert_int_equal(stub_asked(&stub), 1);
    pass_s(3500);
    expect_token("new");
    assert_non_null(strstr(stub.bodies[1], "refresh_token=1%2F%2Fb&"));
}

static void the_first_login_is_taken_without_a_restart(void **state)
{
    (void)state;
    open_login();
    expect_failure(-ENOKEY, ERR_NEVER, "");
    write_login("1//b", "fresh", 3600);
    expect_token("fresh");
}

static void a_file_that_is_gone_means_logged_out(void **state)
{
    (void)state;
    write_login("1//a", "token", 1800);
    open_login();
    expect_token("token");
    assert_int_equal(unlink(path), 0);
    expect_failure(-ENOKEY, ERR_NEVER, "");
}

static void a_file_that_is_being_written_changes_nothing(void **state)
{
    static const char *const half[] = {"", "{\"refresh_token\":\"canary", "{}"};
    struct google_login_state s;
    (void)state;
    write_login("1//a", "token", 1800);
    open_login();
    for (size_t i = 0; i < ARRAY_LEN(half); i++) {
        write_file(half[i]);
        expect_token("token");
        google_login_describe(login, &s);
        assert_true(s.usable && *s.error && !strstr(s.error, "canary"));
    }
}

static void a_token_that_was_refused_is_asked_for_once(void **state)
{
    (void)state;
    write_login("1//a", "old", 1800);
    stub_will(&stub, 200, ACCESS("new"), NULL);
    open_login();
    expect_token("old");
    google_login_refused(login, "old");
    expect_token("new");
    google_login_refused(login, "old"); /* another thread, which was slower */
    expect_token("new");
    assert_int_equal(stub_asked(&stub), 1);
}

static void a_new_token_that_is_refused_at_once_is_not_taken_from_the_file_again(void **state)
{
    (void)state;
    write_login("1//a", "old", -10);
    stub_will(&stub, 200, ACCESS("t1"), NULL);
    stub_will(&stub, 200, ACCESS("t2"), NULL);
    open_login();
    expect_token("t1");
    google_login_refused(login, "t1");
    expect_token("t2");
    google_login_refused(login, "t2");
    write_login("1//a", "t3", 1800); /* another program was quicker */
    expect_token("t3");
    assert_int_equal(stub_asked(&stub), 2);
}

/* ---- what people change ---- */

static void write_client(const char *refresh, const char *secret, const char *more)
{
    char text[1024];
    (void)snprintf(text, sizeof(text),
                   "{\"client_id\":\"id\",\"client_secret\":\"%s\",\"refresh_token\":\"%s\","
                   "\"share\":0.12345678901234%s}",
                   secret, refresh, more);
    write_file(text);
}

static void a_mended_client_is_tried_at_once(void **state)
{
    static const char refused[] = "{\"error\":\"invalid_client\"}";
    static const struct {
        const char *secret, *more;
    } mended[] = {
        {"canary-new", ""},
        {"canary-new", ",\"token_uri\":\"https://oauth2.googleapis.com/token2\""},
        {"canary-new", ",\"comment\":1"},
    };
    (void)state;
    write_client("1//a", "canary-old", "");
    open_login();
    for (size_t i = 0; i < ARRAY_LEN(mended); i++) {
        uint64_t before = google_login_generation(login);
        stub_will(&stub, 401, refused, NULL);
        expect_failure(-EKEYREJECTED, ERR_NEVER, "");
        expect_failure(-EKEYREJECTED, ERR_NEVER, "");
        assert_int_equal(stub_asked(&stub), i + 1);
        assert_int_equal(google_login_generation(login), before);
        write_client("1//a", mended[i].secret, mended[i].more);
        assert_int_equal(google_login_generation(login), before + 1);
    }
    stub_will(&stub, 200, ACCESS("new"), NULL);
    expect_token("new");
    assert_non_null(strstr(stub.bodies[3], "client_secret=canary-new"));
}

static void a_login_that_is_restored_as_it_was_is_tried_at_once(void **state)
{
    (void)state;
    write_client("1//a", "canary-s", "");
    stub_will(&stub, 400, GONE, NULL);
    stub_will(&stub, 200, ACCESS("new"), NULL);
    open_login();
    expect_failure(-EKEYREVOKED, ERR_NEVER, "");
    uint64_t before = google_login_generation(login);
    expect_failure(-EKEYREVOKED, ERR_NEVER, ""); /* our own mark in the file is no news */
    assert_int_equal(stub_asked(&stub), 1);
    write_client("1//a", "canary-s", ""); /* without the mark */
    assert_int_equal(google_login_generation(login), before + 1);
    expect_token("new");
}

static void what_we_write_ourselves_is_no_news(void **state)
{
    (void)state;
    write_client("1//a", "canary-s", "");
    stub_will(&stub, 200, ACCESS("t1"), NULL);
    stub_will(&stub, 200, "{\"access_token\":\"t2\",\"refresh_token\":\"1//b\"}", NULL);
    stub_will(&stub, 400, GONE, NULL);
    open_login();
    uint64_t before = google_login_generation(login);
    expect_token("t1");
    assert_int_equal(google_login_generation(login), before);
    pass_s(3600);
    expect_token("t2");
    assert_int_equal(google_login_generation(login), before);
    pass_s(3600);
    expect_failure(-EKEYREVOKED, ERR_NEVER, "");
    assert_int_equal(google_login_generation(login), before);
    struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    assert_int_equal(utimensat(AT_FDCWD, path, now, 0), 0);
    assert_int_equal(google_login_generation(login), before); /* touched, and the same */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(google_login_generation(login), before + 1);
    assert_int_equal(google_login_generation(login), before + 1);
    write_login("1//c", "t3", 1800);
    assert_int_equal(google_login_generation(login), before + 2);
}

static void a_reload_forgets_a_refusal(void **state)
{
    (void)state;
    write_client("1//a", "canary-s", "");
    stub_will(&stub, 401, "{\"error\":\"invalid_client\"}", NULL);
    stub_will(&stub, 200, ACCESS("new"), NULL);
    open_login();
    expect_failure(-EKEYREJECTED, ERR_NEVER, "");
    expect_failure(-EKEYREJECTED, ERR_NEVER, "");
    assert_int_equal(stub_asked(&stub), 1);
    google_login_reload(login);
    expect_token("new");
}

static void jumps_of_the_clock_cost_nothing(void **state)
{
    (void)state;
    write_login("1//a", "old", -10);
    stub_will(&stub, 200, ACCESS("t1"), NULL);
    stub_will(&stub, 200, ACCESS("t2"), NULL);
    open_login();
    expect_token("t1");
    atomic_store(&wall_us, (NOW_S + 400 * 86400LL) * 1000000);
    expect_token("t1");
    atomic_store(&wall_us, 1000000);
    expect_token("t1");
    (void)atomic_fetch_add(&mono_extra_us, 3595 * 1000000LL);
    expect_token("t2");
    assert_int_equal(stub_asked(&stub), 2);
}

static void a_token_of_the_file_is_believed_for_an_hour_at_most(void **state)
{
    (void)state;
    write_login("1//a", "old", 20 * 365 * 86400LL); /* the clock was at 1970 when it was read */
    stub_will(&stub, 200, ACCESS("new"), NULL);
    open_login();
    expect_token("old");
    pass_s(3600);
    expect_token("new");
}

static void a_token_that_lives_for_seconds_is_not_asked_for_at_each_call(void **state)
{
    (void)state;
    write_login("1//a", "old", -10);
    stub_will(&stub, 200, "{\"access_token\":\"t1\",\"expires_in\":40}", NULL);
    stub_will(&stub, 200, "{\"access_token\":\"t2\",\"expires_in\":40}", NULL);
    open_login();
    expect_token("t1");
    pass_s(25);
    expect_token("t1");
    assert_int_equal(stub_asked(&stub), 1);
    pass_s(10);
    expect_token("t2");
}

static void a_refresh_token_goes_to_google_only(void **state)
{
    struct err e = {0};
    char token[GOOGLE_TOKEN_MAX], text[512];
    (void)state;
    (void)snprintf(text, sizeof(text),
                   "{\"refresh_token\":\"canary\",\"client_id\":\"i\",\"token_uri\":\"%s\"}",
                   stub.url);
    write_file(text);
    assert_int_equal(open_with((struct google_login_options){0}, &e), 0);
    assert_int_equal(ask(token, &e), -EKEYREJECTED);
    assert_non_null(strstr(e.text, "not Google's"));
    assert_int_equal(stub_asked(&stub), 0);
}

static void what_cannot_be_written_is_told_and_the_token_is_good(void **state)
{
    struct google_login_state s;
    char aside[112];
    (void)state;
    write_login("1//a", "old", -10);
    stub_will(&stub, 200,
              "{\"access_token\":\"t1\",\"expires_in\":3600,\"refresh_token\":\"1//b\"}", NULL);
    open_login();
    /* A folder with the temporary file's name is in the way of every user, root among them. */
    (void)snprintf(aside, sizeof(aside), "%s/.token.json.%ld.tmp", folder, (long)getpid());
    assert_int_equal(mkdir(aside, 0700), 0);
    expect_token("t1");
    google_login_describe(login, &s);
    assert_true(s.usable);
    assert_non_null(strstr(s.error, "cannot keep the login"));
    expect_filed("refresh_token", "1//a");
    assert_int_equal(rmdir(aside), 0);
    pass_s(31);
    expect_token("t1"); /* written as soon as it can be */
    expect_filed("refresh_token", "1//b");
    google_login_describe(login, &s);
    assert_string_equal(s.error, "");
}

static void who_logs_out_while_nothing_can_be_written_stays_logged_out(void **state)
{
    char aside[112];
    (void)state;
    write_login("1//a", "old", -10);
    stub_will(&stub, 200, ACCESS("t1"), NULL);
    open_login();
    (void)snprintf(aside, sizeof(aside), "%s/.token.json.%ld.tmp", folder, (long)getpid());
    assert_int_equal(mkdir(aside, 0700), 0);
    expect_token("t1");
    assert_int_equal(rmdir(aside), 0);
    assert_int_equal(unlink(path), 0);
    pass_s(31);
    expect_failure(-ENOKEY, ERR_NEVER, "snapshotd auth gdrive");
    assert_int_equal(access(path, F_OK), -1);
}

static void a_file_that_is_touched_does_not_undo_what_could_not_be_written(void **state)
{
    char aside[112];
    (void)state;
    write_login("1//a", "old", -10);
    stub_will(&stub, 200,
              "{\"access_token\":\"t1\",\"expires_in\":3600,\"refresh_token\":\"1//b\"}", NULL);
    open_login();
    (void)snprintf(aside, sizeof(aside), "%s/.token.json.%ld.tmp", folder, (long)getpid());
    assert_int_equal(mkdir(aside, 0700), 0);
    expect_token("t1");
    assert_int_equal(rmdir(aside), 0);
    assert_int_equal(chmod(path, 0640), 0);
    expect_token("t1");
    pass_s(31);
    expect_token("t1");
    expect_filed("refresh_token", "1//b");
}

static void a_call_that_is_stopped_says_so_and_is_nobodys_failure(void **state)
{
    struct http_client *stopped = NULL;
    struct google_login_state s;
    struct err e = {0};
    char token[GOOGLE_TOKEN_MAX];
    uint64_t one = 1;
    (void)state;
    write_login("1//a", "old", -10);
    stub_will(&stub, 200, ACCESS("new"), NULL);
    open_login();
    AUTO_CLOSE int stop = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(write(stop, &one, sizeof(one)), sizeof(one));
    assert_int_equal(http_client_new(stop, &stopped, &e), 0);
    assert_int_equal(google_login_token(login, stopped, token, &e), -ECANCELED);
    http_client_free(stopped);
    google_login_describe(login, &s);
    assert_true(s.usable);
    assert_string_equal(s.error, "");
    expect_token("new");
}

/* ---- what the configuration gives ---- */

static void a_given_login_goes_where_none_is_that_is_any_good(void **state)
{
    static const char given[] = "{\"refresh_token\":\"1//given\",\"client_id\":\"i\"}\n";
    static const struct {
        const char *file, *wanted;
    } cases[] = {
        {NULL, "1//given"},
        {"", "1//given"},
        {"{\"refresh_token\":", "1//given"},
        {"{\"refresh_token\":\"1//mine\",\"client_id\":\"i\"}", "1//mine"},
        {"{\"refresh_token\":\"1//mine\",\"client_id\":\"i\",\"invalid\":true}", "1//given"},
        {"{\"refresh_token\":\"1//given\",\"client_id\":\"i\",\"invalid\":true,\"x\":1}",
         "1//given"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        (void)unlink(path);
        if (cases[i].file)
            write_file(cases[i].file);
        assert_int_equal(open_with((struct google_login_options){.token_json = given}, &e), 0);
        google_login_close(login);
        login = NULL;
        expect_filed("refresh_token", cases[i].wanted);
    }
    AUTO_JSON json_t *j = json_load_file(path, 0, NULL);
    assert_non_null(json_object_get(j, "x")); /* the same login is not written again */
}

static void expect_state(bool usable, const char *error)
{
    struct google_login_state s;
    google_login_describe(login, &s);
    if (s.usable != usable || !strstr(s.error, error) || strstr(s.error, "canary") ||
        (!*error && *s.error))
        CASE_FAILS("usable %d: %s", s.usable, s.error);
}

static void a_given_login_that_is_none_is_told_unless_there_is_a_good_one(void **state)
{
    struct err e = {0};
    struct google_login_options o = {.token_json = "{\"refresh_token\":\"canary\""};
    (void)state;
    assert_int_equal(open_with(o, &e), 0);
    expect_failure(-ENOKEY, ERR_NEVER, "GOOGLE_OAUTH_TOKEN");
    expect_state(false, "GOOGLE_OAUTH_TOKEN");
    assert_int_equal(access(path, F_OK), -1);
    write_login("1//a", "mine", 1800);
    expect_token("mine");
    expect_state(true, "");
    google_login_close(login);
    assert_int_equal(open_with(o, &e), 0);
    expect_token("mine");
    expect_state(true, "");
}

static void a_file_that_is_none_is_told_until_there_is_a_better_one(void **state)
{
    (void)state;
    write_file("{\"installed\":{\"client_secret\":\"canary\"}}");
    open_login();
    expect_failure(-ENOKEY, ERR_NEVER, "client_secret_file");
    expect_state(false, "client_secret_file");
    write_login("1//a", "mine", 1800);
    expect_token("mine");
    expect_state(true, "");
}

static void a_service_account_without_its_file_is_told(void **state)
{
    struct err e = {0};
    (void)state;
    assert_int_equal(
        open_with((struct google_login_options){.service_file = "/nowhere/key.json"}, &e), 0);
    expect_failure(-ENOKEY, ERR_NEVER, "the service account /nowhere/key.json");
    expect_state(false, "/nowhere/key.json");
}

/* ---- service accounts ---- */

static char key_path[96];

static void open_service(void)
{
    struct err e = {0};
    AUTO_JSON json_t *key =
        json_pack("{s:s, s:s, s:s, s:s, s:s}", "type", "service_account", "client_email",
                  "robot@x.iam.gserviceaccount.com", "private_key", test_key_pem, "private_key_id",
                  "kid1", "token_uri", "https://oauth2.googleapis.com/token");
    (void)snprintf(key_path, sizeof(key_path), "%s/key.json", folder);
    assert_int_equal(json_dump_file(key, key_path, 0), 0);
    if (open_with((struct google_login_options){.token_url = stub.url, .service_file = key_path},
                  &e) < 0)
        CASE_FAILS("%s", e.text);
}

/* The claims of the assertion in a request. */
static json_t *claims_of(const char *body)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *p = strchr(strstr(body, "assertion="), '.') + 1;
    char text[1024];
    size_t n = 0;
    uint32_t bits = 0;
    for (int have = 0; *p != '.'; p++) {
        bits = bits << 6 | (uint32_t)(strchr(alphabet, *p) - alphabet);
        have += 6;
        if (have >= 8) {
            have -= 8;
            text[n++] = (char)(bits >> have);
        }
    }
    json_t *j = json_loadb(text, n, 0, NULL);
    assert_non_null(j);
    return j;
}

static void a_service_account_signs_for_itself(void **state)
{
    struct google_login_state s;
    (void)state;
    stub_will(&stub, 200, ACCESS("robot-token"), NULL);
    open_service();
    expect_token("robot-token");
    AUTO_JSON json_t *claims = claims_of(stub.bodies[0]);
    assert_non_null(strstr(stub.bodies[0],
                           "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&"));
    assert_string_equal(google_text(claims, "iss", 64), "robot@x.iam.gserviceaccount.com");
    assert_string_equal(google_text(claims, "scope", 64), "scope-a");
    assert_string_equal(google_text(claims, "aud", 64), stub.url);
    assert_int_equal(json_integer_value(json_object_get(claims, "iat")), NOW_S);
    assert_int_equal(json_integer_value(json_object_get(claims, "exp")), NOW_S + 3600);
    google_login_describe(login, &s);
    assert_int_equal(s.kind, GOOGLE_LOGIN_SERVICE);
    assert_non_null(strstr(s.text, "service account robot@x"));
    assert_int_equal(access(path, F_OK), -1); /* nothing is kept */
}

static void a_service_account_with_a_wrong_clock_takes_googles(void **state)
{
    (void)state;
    stub_will(&stub, 400, "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT\"}",
              "Date: Fri, 02 Jan 2026 05:04:05 GMT");
    stub_will(&stub, 200, ACCESS("robot-token"), NULL);
    open_service();
    expect_token("robot-token");
    assert_int_equal(stub_asked(&stub), 2);
    AUTO_JSON json_t *claims = claims_of(stub.bodies[1]);
    assert_int_equal(json_integer_value(json_object_get(claims, "iat")), NOW_S + 7200);
}

static void a_service_account_that_is_gone_is_told(void **state)
{
    (void)state;
    stub_will(&stub, 400, "{\"error\":\"invalid_grant\"}", "Date: Fri, 02 Jan 2026 03:04:00 GMT");
    open_service();
    expect_failure(-EKEYREVOKED, ERR_NEVER, "its key or the account was deleted");
    expect_failure(-EKEYREVOKED, ERR_NEVER, "its key or the account was deleted");
    assert_int_equal(stub_asked(&stub), 1);
}

/* ---- many threads ---- */

enum { THREADS = 24 };

struct caller {
    pthread_t thread;
    sem_t *ready;
    char token[GOOGLE_TOKEN_MAX];
    struct err e;
    int r;
};

static void *call(void *arg)
{
    struct caller *c = arg;
    struct http_client *own = NULL;
    c->r = http_client_new(-1, &own, &c->e);
    (void)sem_post(c->ready);
    if (c->r == 0)
        c->r = google_login_token(login, own, c->token, &c->e);
    http_client_free(own);
    return NULL;
}

static struct caller *start_callers(sem_t *ready)
{
    struct caller *callers = calloc(THREADS, sizeof(*callers));
    assert_non_null(callers);
    assert_int_equal(sem_init(ready, 0, 0), 0);
    for (int i = 0; i < THREADS; i++) {
        callers[i].ready = ready;
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        test_wait(ready);
    return callers;
}

static void join_callers(struct caller *callers)
{
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
}

static void many_threads_are_one_request(void **state)
{
    sem_t ready;
    (void)state;
    write_login("1//a", "old", -10);
    stub_will(&stub, 200, ACCESS("new"), NULL);
    open_login();
    stub_hold(&stub, true);
    struct caller *callers = start_callers(&ready);
    test_wait(&stub.has_asked);
    stub_hold(&stub, false);
    join_callers(callers);
    for (int i = 0; i < THREADS; i++)
        assert_string_equal(callers[i].token, "new");
    assert_int_equal(stub_asked(&stub), 1);
    free(callers);
    (void)sem_destroy(&ready);
}

static void many_threads_share_a_failure(void **state)
{
    sem_t ready;
    (void)state;
    write_login("1//a", "old", -10);
    stub_will(&stub, 400, GONE, NULL);
    open_login();
    stub_hold(&stub, true);
    struct caller *callers = start_callers(&ready);
    test_wait(&stub.has_asked);
    stub_hold(&stub, false);
    join_callers(callers);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(callers[i].r, -EKEYREVOKED);
        assert_non_null(strstr(callers[i].e.text, "publish the app"));
    }
    assert_int_equal(stub_asked(&stub), 1);
    free(callers);
    (void)sem_destroy(&ready);
}

static void the_others_use_the_old_token_while_one_asks(void **state)
{
    struct caller one = {0};
    sem_t ready;
    (void)state;
    write_login("1//a", "old", 60);
    stub_will(&stub, 200, ACCESS("new"), NULL);
    open_login();
    stub_hold(&stub, true);
    assert_int_equal(sem_init(&ready, 0, 0), 0);
    one.ready = &ready;
    assert_int_equal(pthread_create(&one.thread, NULL, call, &one), 0);
    test_wait(&stub.has_asked);
    expect_token("old"); /* without waiting: the answer is held */
    stub_hold(&stub, false);
    assert_int_equal(pthread_join(one.thread, NULL), 0);
    assert_string_equal(one.token, "new");
    assert_int_equal(stub_asked(&stub), 1);
    (void)sem_destroy(&ready);
}

static void a_login_during_a_refresh_wins(void **state)
{
    static const char *const answers[] = {ACCESS("late"), GONE};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct caller one = {0};
        sem_t ready;
        write_login("1//a", "old", -10);
        stub_will(&stub, i == 0 ? 200 : 400, answers[i], NULL);
        open_login();
        stub_hold(&stub, true);
        assert_int_equal(sem_init(&ready, 0, 0), 0);
        one.ready = &ready;
        assert_int_equal(pthread_create(&one.thread, NULL, call, &one), 0);
        test_wait(&stub.has_asked);
        write_login("1//b", "fresh", 3600);
        stub_hold(&stub, false);
        assert_int_equal(pthread_join(one.thread, NULL), 0);
        assert_int_equal(one.r, 0);
        assert_string_equal(one.token, "fresh");
        expect_filed("refresh_token", "1//b");
        AUTO_JSON json_t *j = json_load_file(path, 0, NULL);
        assert_true(json_is_false(json_object_get(j, "invalid")));
        expect_token("fresh");
        google_login_close(login);
        login = NULL;
        (void)sem_destroy(&ready);
    }
}

static void *reload_and_describe(void *arg)
{
    atomic_bool *stop = arg;
    struct google_login_state s;
    while (!atomic_load(stop)) {
        google_login_describe(login, &s);
        google_login_refused(login, "t");
        google_login_reload(login);
    }
    return NULL;
}

static void all_calls_may_come_at_once(void **state)
{
    sem_t ready;
    pthread_t other;
    atomic_bool stop = false;
    (void)state;
    write_login("1//a", "t", 1800);
    stub_will(&stub, 200, ACCESS("t"), NULL);
    open_login();
    assert_int_equal(pthread_create(&other, NULL, reload_and_describe, &stop), 0);
    struct caller *callers = start_callers(&ready);
    join_callers(callers);
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(other, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        if (callers[i].r < 0)
            CASE_FAILS("%s", callers[i].e.text);
    free(callers);
    (void)sem_destroy(&ready);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(without_a_login_nobody_is_asked),
        TEST(a_token_of_the_file_that_is_good_is_used),
        TEST(an_old_one_is_renewed_and_kept_in_the_file),
        TEST(a_refresh_token_that_changes_is_kept),
        TEST(a_token_is_renewed_two_minutes_early),
        TEST(the_old_token_serves_while_google_is_in_trouble),
        TEST(a_retry_after_is_kept),
        TEST(a_grant_that_is_gone_is_told_in_words_and_asked_once_an_hour),
        TEST(a_new_login_is_taken_without_a_restart),
        TEST(the_first_login_is_taken_without_a_restart),
        TEST(a_file_that_is_gone_means_logged_out),
        TEST(a_file_that_is_being_written_changes_nothing),
        TEST(a_token_that_was_refused_is_asked_for_once),
        TEST(a_new_token_that_is_refused_at_once_is_not_taken_from_the_file_again),
        TEST(a_mended_client_is_tried_at_once),
        TEST(a_login_that_is_restored_as_it_was_is_tried_at_once),
        TEST(what_we_write_ourselves_is_no_news),
        TEST(a_reload_forgets_a_refusal),
        TEST(jumps_of_the_clock_cost_nothing),
        TEST(who_logs_out_while_nothing_can_be_written_stays_logged_out),
        TEST(a_file_that_is_touched_does_not_undo_what_could_not_be_written),
        TEST(a_token_of_the_file_is_believed_for_an_hour_at_most),
        TEST(a_token_that_lives_for_seconds_is_not_asked_for_at_each_call),
        TEST(a_refresh_token_goes_to_google_only),
        TEST(what_cannot_be_written_is_told_and_the_token_is_good),
        TEST(a_call_that_is_stopped_says_so_and_is_nobodys_failure),
        TEST(a_given_login_goes_where_none_is_that_is_any_good),
        TEST(a_given_login_that_is_none_is_told_unless_there_is_a_good_one),
        TEST(a_file_that_is_none_is_told_until_there_is_a_better_one),
        TEST(a_service_account_without_its_file_is_told),
        TEST(a_service_account_signs_for_itself),
        TEST(a_service_account_with_a_wrong_clock_takes_googles),
        TEST(a_service_account_that_is_gone_is_told),
        TEST(many_threads_are_one_request),
        TEST(many_threads_share_a_failure),
        TEST(the_others_use_the_old_token_while_one_asks),
        TEST(a_login_during_a_refresh_wins),
        TEST(all_calls_may_come_at_once),
    };
    return RUN_TESTS(tests);
}
