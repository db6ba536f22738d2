/* Users, sessions, tokens, the audit log: in a file of their own. */
#include "fixture.h"

#include <sys/stat.h>

#include "sys/db.h"
#include "web/access_db.h"

#define HASH "$y$j9T$abcdefgh$0123456789012345678901234567890123456789012"

static struct access_db *opened(struct fixture *f)
{
    char path[128];
    struct access_db *d = NULL;
    (void)snprintf(path, sizeof(path), "%s/" ACCESS_DB_NAME, f->folder);
    if (access_db_open(path, true, &d, &f->e) < 0)
        fail_msg("%s", f->e.text);
    return d;
}

static void is_nobody_elses(void **state)
{
    struct fixture *f = *state;
    AUTO(access_db) d = opened(f);
    char path[128];
    struct stat st;
    (void)snprintf(path, sizeof(path), "%s/" ACCESS_DB_NAME, f->folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(access_user_add(d, "anna", ACCESS_ADMIN, HASH, &f->e), 0);
    (void)snprintf(path, sizeof(path), "%s/" ACCESS_DB_NAME "-wal", f->folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void is_not_made_by_a_look(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct access_db *d = NULL;
    (void)snprintf(path, sizeof(path), "%s/" ACCESS_DB_NAME, f->folder);
    assert_int_equal(access_db_open(path, false, &d, &f->e), -ENOENT);
    assert_null(d);
}

static void a_later_release_is_not_touched(void **state)
{
    struct fixture *f = *state;
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/" ACCESS_DB_NAME, f->folder);
    access_db_close(opened(f));
    struct db *raw = NULL;
    assert_int_equal(db_open(path, false, &raw, &f->e), 0);
    assert_int_equal(db_exec(raw, "PRAGMA user_version = 99", &f->e), 0);
    db_close(raw);
    struct access_db *d = NULL;
    assert_int_equal(access_db_open(path, false, &d, &f->e), -EINVAL);
    assert_non_null(strstr(f->e.text, "later release"));
}

static void users_come_change_and_go(void **state)
{
    struct fixture *f = *state;
    AUTO(access_db) d = opened(f);
    struct access_user u, list[4];
    assert_int_equal(access_user_get(d, "anna", &u, &f->e), -ENOENT);
    assert_int_equal(access_user_add(d, "ben", ACCESS_VIEWER, HASH, &f->e), 0);
    assert_int_equal(access_user_add(d, "anna", ACCESS_ADMIN, HASH, &f->e), 0);
    assert_int_equal(access_user_add(d, "anna", ACCESS_VIEWER, HASH, &f->e), -EEXIST);
    assert_int_equal(access_user_list(d, list, ARRAY_LEN(list), &f->e), 2);
    assert_string_equal(list[0].name, "anna");
    assert_string_equal(list[1].name, "ben");
    assert_int_equal(access_user_get(d, "anna", &u, &f->e), 0);
    assert_int_equal(u.role, ACCESS_ADMIN);
    assert_string_equal(u.hash, HASH);
    assert_int_equal(access_user_change(d, "ben", ACCESS_ADMIN, NULL, &f->e), 0);
    assert_int_equal(access_user_remove(d, "anna", &f->e), 0);
    assert_int_equal(access_user_remove(d, "anna", &f->e), -ENOENT);
    assert_int_equal(access_user_change(d, "anna", ACCESS_ADMIN, NULL, &f->e), -ENOENT);
}

static void an_admin_stays(void **state)
{
    struct fixture *f = *state;
    AUTO(access_db) d = opened(f);
    assert_int_equal(access_user_add(d, "anna", ACCESS_ADMIN, HASH, &f->e), 0);
    assert_int_equal(access_user_add(d, "ben", ACCESS_VIEWER, HASH, &f->e), 0);
    assert_int_equal(access_user_remove(d, "anna", &f->e), -EPERM);
    assert_int_equal(access_user_change(d, "anna", ACCESS_VIEWER, NULL, &f->e), -EPERM);
    assert_int_equal(access_user_remove(d, "ben", &f->e), 0);
    assert_int_equal(access_user_remove(d, "anna", &f->e), 0); /* nobody is left to be ruled */
}

static void sessions_end_with_what_they_rest_on(void **state)
{
    struct fixture *f = *state;
    AUTO(access_db) d = opened(f);
    static const struct wall_time long_ago = {1};
    struct access_session s;
    char text[ACCESS_SECRET_MAX];
    assert_int_equal(access_user_add(d, "root", ACCESS_ADMIN, HASH, &f->e), 0);
    assert_int_equal(access_user_add(d, "anna", ACCESS_ADMIN, HASH, &f->e), 0);
    static const struct {
        enum access_role role;
        const char *hash;
        bool ends;
    } changes[] = {{ACCESS_ADMIN, NULL, false}, {ACCESS_VIEWER, NULL, true}, {0, HASH, true}};
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        assert_int_equal(access_session_add(d, "anna", "::1", long_ago, text, &f->e), 0);
        assert_int_equal(access_session_get(d, text, &s, &f->e), 0);
        assert_string_equal(s.user, "anna");
        assert_int_equal(access_user_change(d, "anna", changes[i].role, changes[i].hash, &f->e), 0);
        assert_int_equal(access_session_get(d, text, &s, &f->e), changes[i].ends ? -ENOENT : 0);
    }
    assert_int_equal(access_session_add(d, "anna", "::1", long_ago, text, &f->e), 0);
    assert_int_equal(access_user_remove(d, "anna", &f->e), 0);
    assert_int_equal(access_session_get(d, text, &s, &f->e), -ENOENT);
}

static void the_oldest_session_makes_room(void **state)
{
    struct fixture *f = *state;
    AUTO(access_db) d = opened(f);
    static const struct wall_time long_ago = {1};
    char texts[ACCESS_SESSIONS_MAX + 1][ACCESS_SECRET_MAX];
    struct access_session s;
    assert_int_equal(access_user_add(d, "anna", ACCESS_ADMIN, HASH, &f->e), 0);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(access_session_add(d, "anna", "", long_ago, texts[i], &f->e), 0);
    assert_int_equal(access_session_get(d, texts[0], &s, &f->e), -ENOENT);
    assert_int_equal(access_session_get(d, texts[1], &s, &f->e), 0);
    assert_int_equal(access_session_get(d, texts[ACCESS_SESSIONS_MAX], &s, &f->e), 0);
    int64_t last = s.row;
    assert_int_equal(access_session_end(d, last, &f->e), 0);
    assert_int_equal(access_session_add(d, "anna", "", long_ago, texts[0], &f->e), 0);
    assert_int_equal(access_session_get(d, texts[0], &s, &f->e), 0);
    assert_true(s.row > last); /* a stream that holds the old one's row is not let on by it */
}

/* What a thief of the file has in his hands. */
static void the_file_holds_no_secret(void **state)
{
    struct fixture *f = *state;
    struct access_db *d = opened(f);
    static const struct wall_time long_ago = {1};
    char session[ACCESS_SECRET_MAX], token[ACCESS_SECRET_MAX], path[128];
    struct access_token t = {.name = "door", .scopes = ACCESS_PUSH};
    assert_int_equal(access_user_add(d, "anna", ACCESS_ADMIN, HASH, &f->e), 0);
    assert_int_equal(access_session_add(d, "anna", "", long_ago, session, &f->e), 0);
    assert_int_equal(access_token_add(d, &t, token, &f->e), 0);
    access_db_close(d);
    assert_int_equal(strlen(session), 64);
    assert_int_equal(strlen(token), 64 + strlen("snap_"));
    (void)snprintf(path, sizeof(path), "%s/" ACCESS_DB_NAME, f->folder);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    static char bytes[1 << 20];
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    (void)fclose(file);
    assert_non_null(memmem(bytes, size, "anna", 4));
    assert_null(memmem(bytes, size, session, 64));
    assert_null(memmem(bytes, size, token + strlen("snap_"), 64));
}

static void tokens_are_good_until_they_expire_or_go(void **state)
{
    struct fixture *f = *state;
    AUTO(access_db) d = opened(f);
    char text[ACCESS_SECRET_MAX], old[ACCESS_SECRET_MAX];
    struct access_token t = {.name = "door", .scopes = ACCESS_PUSH | ACCESS_READ}, got, list[4];
    assert_int_equal(access_token_add(d, &t, text, &f->e), 0);
    assert_int_equal(access_token_get(d, text, &got, &f->e), 0);
    assert_string_equal(got.id, t.id);
    assert_int_equal(got.scopes, ACCESS_PUSH | ACCESS_READ);
    assert_int_equal(access_token_get(d, "snap_", &got, &f->e), -ENOENT);
    assert_int_equal(access_token_get(d, "", &got, &f->e), -ENOENT);
    text[10] = text[10] == '0' ? '1' : '0';
    assert_int_equal(access_token_get(d, text, &got, &f->e), -ENOENT);
    struct access_token over = {
        .name = "old", .scopes = ACCESS_READ, .expires_at = {clock_wall().us - 1}};
    assert_int_equal(access_token_add(d, &over, old, &f->e), 0);
    assert_int_equal(access_token_get(d, old, &got, &f->e), -ENOENT);
    assert_int_equal(access_token_list(d, list, ARRAY_LEN(list), &f->e), 2);
    assert_int_equal(access_token_remove(d, t.id, &f->e), 0);
    assert_int_equal(access_token_remove(d, t.id, &f->e), -ENOENT);
}

static void lists_have_an_end(void **state)
{
    struct fixture *f = *state;
    AUTO(access_db) d = opened(f);
    char text[ACCESS_SECRET_MAX], name[32];
    for (int i = 0; i < ACCESS_TOKENS_MAX; i++) {
        struct access_token t = {.name = "x", .scopes = ACCESS_READ};
        assert_int_equal(access_token_add(d, &t, text, &f->e), 0);
        (void)snprintf(name, sizeof(name), "user%d", i);
        assert_int_equal(access_user_add(d, name, ACCESS_VIEWER, HASH, &f->e), 0);
    }
    struct access_token t = {.name = "x", .scopes = ACCESS_READ};
    assert_int_equal(access_token_add(d, &t, text, &f->e), -ENOSPC);
    assert_int_equal(access_user_add(d, "one-more", ACCESS_VIEWER, HASH, &f->e), -ENOSPC);
}

static void the_key_stays_the_same(void **state)
{
    struct fixture *f = *state;
    uint8_t first[HASH_SHA256_BYTES], again[HASH_SHA256_BYTES];
    struct access_db *d = opened(f);
    assert_int_equal(access_key(d, first, &f->e), 0);
    access_db_close(d);
    d = opened(f);
    assert_int_equal(access_key(d, again, &f->e), 0);
    access_db_close(d);
    assert_memory_equal(first, again, sizeof(first));
}

/* Guesses must not wash away who came in. */
static void the_audit_log_keeps_the_newest_of_each_kind(void **state)
{
    struct fixture *f = *state;
    AUTO(access_db) d = opened(f);
    struct access_event login = {.kind = ACCESS_EVENT_ENTRY, .who = "anna", .what = "login"};
    struct access_event guess = {.kind = ACCESS_EVENT_FAILURE, .what = "login-failed"};
    assert_int_equal(access_audit_add(d, &login, &f->e), 0);
    for (int i = 0; i < ACCESS_AUDIT_MAX + 5; i++)
        if (access_audit_add(d, &guess, &f->e) < 0)
            fail_msg("%s", f->e.text);
    struct access_event *page = xcalloc(ACCESS_AUDIT_MAX + 10, sizeof(*page));
    int count = access_audit_list(d, 0, page, ACCESS_AUDIT_MAX + 10, &f->e);
    assert_int_equal(count, ACCESS_AUDIT_MAX + 1);
    assert_string_equal(page[0].what, "login-failed");
    assert_string_equal(page[count - 1].what, "login");
    assert_string_equal(page[count - 1].who, "anna");
    assert_int_equal(access_audit_list(d, page[count - 2].row, page, 10, &f->e), 1);
    free(page);
}

static void words_are_read_as_they_are_written(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned scopes;
    } scopes[] = {{"read", 1}, {"read,push", 5}, {"manage, trigger", 10}, {"push,push", 4},
                  {"", 0},     {"all", 0},       {"read,everything", 0},  {"READ", 0}};
    struct err e;
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        unsigned got = 0;
        int r = access_scopes_parse(scopes[i].text, &got, &e);
        assert_int_equal(r, scopes[i].scopes ? 0 : -EINVAL);
        assert_int_equal(got, scopes[i].scopes);
    }
    char text[ACCESS_SCOPES_TEXT_MAX];
    assert_string_equal(access_scopes_text(ACCESS_SCOPES_ALL, text), "read,trigger,push,manage");
    assert_int_equal(access_role_find("admin"), ACCESS_ADMIN);
    assert_int_equal(access_role_find("nobody"), ACCESS_NOBODY);
    assert_int_equal(access_role_find("root"), ACCESS_NOBODY);
    static const struct {
        const char *name;
        bool valid;
    } names[] = {{"anna", true}, {"a.b_c-d@example", true}, {"", false},    {"a b", false},
                 {"a/b", false}, {"<script>", false},       {"a\n", false}, {"\xc3\xa4", false}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(access_name_valid(names[i].name), names[i].valid);
}

static void no_password_is_the_first_guess(void **state)
{
    (void)state;
    static const struct {
        const char *password;
        bool good;
    } cases[] = {{"", false},
                 {"admin", false},
                 {"123456789", false},
                 {"1234567890", false},
                 {"password123", false},
                 {"Password123", false},
                 {"aaaaaaaaaaaa", false},
                 {"longusername", false},
                 {"LongUserName", false},
                 {"a quiet porch", true},
                 {"\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if ((access_password_fault("longusername", cases[i].password) == NULL) != cases[i].good)
            fail_msg("'%s'", cases[i].password);
    char longest[PASSWD_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    longest[0] = 'y';
    longest[PASSWD_MAX + 1] = '\0';
    assert_non_null(access_password_fault(NULL, longest));
    longest[PASSWD_MAX] = '\0';
    assert_null(access_password_fault(NULL, longest));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    static const struct CMUnitTest tests[] = {
        CASE(is_nobody_elses),
        CASE(is_not_made_by_a_look),
        CASE(a_later_release_is_not_touched),
        CASE(users_come_change_and_go),
        CASE(an_admin_stays),
        CASE(sessions_end_with_what_they_rest_on),
        CASE(the_oldest_session_makes_room),
        CASE(the_file_holds_no_secret),
        CASE(tokens_are_good_until_they_expire_or_go),
        CASE(lists_have_an_end),
        CASE(the_key_stays_the_same),
        CASE(the_audit_log_keeps_the_newest_of_each_kind),
        CASE(words_are_read_as_they_are_written),
        CASE(no_password_is_the_first_guess),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
