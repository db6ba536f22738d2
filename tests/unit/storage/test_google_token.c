#include "../test.h"

#include <errno.h>

#include "base/fsutil.h"
#include "storage/google_token.h"

/* As oauth2client 4.1.3 writes it. */
static const char oauth2client_text[] =
    "{\"access_token\": \"ya29.old\", \"client_id\": \"id.apps\", \"client_secret\": \"sec\", "
    "\"refresh_token\": \"1//old\", \"token_expiry\": \"2026-01-02T03:04:05Z\", \"token_uri\": "
    "\"https://oauth2.googleapis.com/token\", \"user_agent\": null, \"revoke_uri\": "
    "\"https://oauth2.googleapis.com/revoke\", \"id_token\": null, \"id_token_jwt\": null, "
    "\"token_response\": {\"access_token\": \"ya29.old\", \"expires_in\": 3599}, \"scopes\": "
    "[\"https://www.googleapis.com/auth/drive\"], \"token_info_uri\": "
    "\"https://oauth2.googleapis.com/tokeninfo\", \"invalid\": false, \"_class\": "
    "\"OAuth2Credentials\", \"_module\": \"oauth2client.client\", \"of_the_future\": {\"a\": [1, "
    "2.5]}}";

static const char *const keys_of_oauth2client[] = {
    "access_token",   "client_id",  "client_secret", "refresh_token", "token_expiry",   "token_uri",
    "user_agent",     "revoke_uri", "id_token",      "id_token_jwt",  "token_response", "scopes",
    "token_info_uri", "invalid",    "_class",        "_module"};

static char folder[64], path[96];
static int folder_fd;

static int setup(void **state)
{
    (void)state;
    folder_fd = test_folder_new(folder);
    (void)snprintf(path, sizeof(path), "%s/token.json", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_folder_remove(folder, folder_fd);
    return 0;
}

static struct google_token *parse(const char *text)
{
    struct google_token *t = NULL;
    struct err e = {0};
    if (google_token_parse(text, strlen(text), &t, &e) < 0)
        CASE_FAILS("%s", e.text);
    return t;
}

static struct google_grant grant_of(const char *text)
{
    struct google_grant g;
    enum google_refusal refusal;
    struct err e = {0};
    assert_int_equal(
        google_oauth_judge(GOOGLE_ASK_REFRESH, 200, text, strlen(text), NULL, &g, &refusal, &e), 0);
    return g;
}

static void reads_oauth2clients_form(void **state)
{
    (void)state;
    AUTO(google_token) t = parse(oauth2client_text);
    assert_string_equal(t->access_token, "ya29.old");
    assert_string_equal(t->refresh_token, "1//old");
    assert_string_equal(t->client_id, "id.apps");
    assert_string_equal(t->client_secret, "sec");
    assert_int_equal(wall_seconds(t->expires), 1767323045);
    assert_false(t->invalid);
}

static void a_refresh_changes_what_it_must_and_nothing_else(void **state)
{
    (void)state;
    AUTO(google_token) t = parse(oauth2client_text);
    AUTO(google_token) again = NULL;
    struct err e = {0};
    struct google_grant g = grant_of("{\"access_token\":\"ya29.new\",\"expires_in\":3600}");
    google_token_take(t, &g, wall_from_seconds(1767323045));
    google_grant_done(&g);
    assert_int_equal(google_token_save(path, t, "1//old", &e), 0);
    assert_int_equal(google_token_read(path, &again, &e), 0);
    assert_string_equal(again->access_token, "ya29.new");
    assert_string_equal(again->refresh_token, "1//old");
    assert_int_equal(wall_seconds(again->expires), 1767323045 + 3600);
    AUTO_JSON json_t *wanted = json_loads(oauth2client_text, 0, NULL);
    json_object_set_new(wanted, "access_token", json_string("ya29.new"));
    json_object_set_new(wanted, "token_expiry", json_string("2026-01-02T04:04:05Z"));
    json_object_set_new(wanted, "token_response",
                        json_pack("{s:s, s:i}", "access_token", "ya29.new", "expires_in", 3600));
    assert_true(json_equal(again->keys, wanted));
}

static void a_new_refresh_token_replaces_the_old(void **state)
{
    (void)state;
    AUTO(google_token) t = parse(oauth2client_text);
    struct google_grant g = grant_of("{\"access_token\":\"a\",\"refresh_token\":\"1//new\"}");
    google_token_take(t, &g, wall_from_seconds(0));
    google_grant_done(&g);
    assert_string_equal(t->refresh_token, "1//new");
    assert_string_equal(google_text(t->keys, "refresh_token", 64), "1//new");
}

static void a_plain_login_gets_all_keys_of_oauth2client(void **state)
{
    (void)state;
    AUTO(google_token)
    t = parse(" {\"refresh_token\":\"1//"
              "p\",\"client_id\":\"i\",\"client_secret\":\"s\",\"mine\":true}\n");
    assert_string_equal(t->access_token, "");
    assert_int_equal(t->expires.us, 0);
    struct google_grant g = grant_of("{\"access_token\":\"a\",\"expires_in\":3600}");
    google_token_take(t, &g, wall_from_seconds(1767323045));
    google_grant_done(&g);
    for (size_t i = 0; i < ARRAY_LEN(keys_of_oauth2client); i++)
        if (!json_object_get(t->keys, keys_of_oauth2client[i]))
            CASE_FAILS("%s", keys_of_oauth2client[i]);
    assert_true(json_is_true(json_object_get(t->keys, "mine")));
}

static void a_new_login_has_all_keys_of_oauth2client(void **state)
{
    static const char client_text[] =
        "{\"installed\":{\"client_id\":\"i\",\"client_secret\":\"s\",\"token_uri\":"
        "\"https://oauth2.googleapis.com/token\",\"redirect_uris\":[\"http://localhost\"]}}";
    struct google_client *client = NULL;
    struct err e = {0};
    (void)state;
    assert_int_equal(google_client_parse(client_text, strlen(client_text), &client, &e), 0);
    struct google_grant g =
        grant_of("{\"access_token\":\"a\",\"refresh_token\":\"r\",\"scope\":\"x  y\"}");
    AUTO(google_token) t = google_token_new(client, &g, "asked", wall_from_seconds(0));
    google_grant_done(&g);
    google_client_free(client);
    for (size_t i = 0; i < ARRAY_LEN(keys_of_oauth2client); i++)
        if (!json_object_get(t->keys, keys_of_oauth2client[i]))
            CASE_FAILS("%s", keys_of_oauth2client[i]);
    assert_int_equal(json_object_size(t->keys), ARRAY_LEN(keys_of_oauth2client));
    assert_int_equal(json_array_size(json_object_get(t->keys, "scopes")), 2);
}

static void what_is_no_login_is_told_without_its_secrets(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "empty"},
        {" \n", "empty"},
        {"canary", "no JSON"},
        {"{\"refresh_token\":\"canary\",\"client_id\":\"canary\"", "cut off"},
        {"{\"refresh_token\":\"canary\",\"refresh_token\":\"canary\"}", "no JSON"},
        {"[\"canary\"]", "no JSON object"},
        {"{}", "no refresh_token"},
        {"{\"refresh_token\":null,\"client_id\":\"i\"}", "no refresh_token"},
        {"{\"refresh_token\":7,\"client_id\":\"i\"}", "no refresh_token"},
        {"{\"refresh_token\":\"canary \\r\\nX: y\",\"client_id\":\"i\"}", "no refresh_token"},
        {"{\"refresh_token\":\"canary\"}", "no client_id"},
        {"{\"refresh_token\":\"canary\",\"client_id\":\"\"}", "no client_id"},
        {"{\"type\":\"service_account\",\"private_key\":\"canary\"}", "service_account_file"},
        {"{\"installed\":{\"client_secret\":\"canary\"}}", "client_secret_file"},
        {"{\"web\":{\"client_secret\":\"canary\"}}", "client_secret_file"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct google_token *t = NULL;
        struct err e = {0};
        int r = google_token_parse(cases[i].text, strlen(cases[i].text), &t, &e);
        if (r != -EBADMSG || t || !strstr(e.text, cases[i].words) || strstr(e.text, "canary"))
            CASE_FAILS("%s: %d %s", cases[i].text, r, e.text);
    }
}

static void what_is_no_client_is_told_without_its_secrets(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "empty"},
        {"{\"canary\":", "cut off"},
        {"{}", "\"installed\""},
        {"{\"installed\":{}}", "no client_id"},
        {"{\"installed\":{\"client_id\":\"canary x\"}}", "no client_id"},
        {"{\"type\":\"service_account\",\"private_key\":\"canary\"}", "needs no login"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct google_client *c = NULL;
        struct err e = {0};
        int r = google_client_parse(cases[i].text, strlen(cases[i].text), &c, &e);
        if (r != -EBADMSG || c || !strstr(e.text, cases[i].words) || strstr(e.text, "canary"))
            CASE_FAILS("%s: %d %s", cases[i].text, r, e.text);
    }
}

static void garbage_in_the_other_keys_does_not_end_a_login(void **state)
{
    (void)state;
    AUTO(google_token)
    t = parse("{\"refresh_token\":\"r\",\"client_id\":\"i\",\"token_expiry\":\"soon\","
              "\"access_token\":\"a\\nb\",\"scopes\":7,\"invalid\":\"no\",\"token_response\":[]}");
    assert_string_equal(t->access_token, "");
    assert_int_equal(t->expires.us, 0);
    assert_false(t->invalid);
}

static void a_file_is_whole_private_and_in_a_private_folder(void **state)
{
    struct stat st;
    struct err e = {0};
    char deep[160];
    (void)state;
    (void)snprintf(deep, sizeof(deep), "%s/tokens/new/gdrive.json", folder);
    AUTO(google_token) t = parse(oauth2client_text);
    mode_t before = umask(0);
    int r = google_token_save(deep, t, NULL, &e);
    (void)umask(before);
    assert_int_equal(r, 0);
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    *strrchr(deep, '/') = '\0';
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

static void an_open_file_is_closed_to_others_by_saving(void **state)
{
    struct stat st;
    struct err e = {0};
    (void)state;
    AUTO(google_token) t = parse(oauth2client_text);
    assert_int_equal(fs_replace(AT_FDCWD, path, "{}", 2, 0644, &e), 0);
    assert_int_equal(google_token_save(path, t, NULL, &e), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void a_login_of_somebody_else_is_not_overwritten(void **state)
{
    static const char other[] = "{\"refresh_token\":\"1//other\",\"client_id\":\"i\"}";
    struct err e = {0};
    (void)state;
    AUTO(google_token) t = parse(oauth2client_text);
    AUTO(google_token) there = NULL;
    assert_int_equal(fs_replace(AT_FDCWD, path, other, strlen(other), 0600, &e), 0);
    assert_int_equal(google_token_save(path, t, "1//old", &e), -ESTALE);
    assert_int_equal(google_token_read(path, &there, &e), 0);
    assert_string_equal(there->refresh_token, "1//other");
    /* but for rubbish */
    assert_int_equal(fs_replace(AT_FDCWD, path, "{", 1, 0600, &e), 0);
    assert_int_equal(google_token_save(path, t, "1//old", &e), 0);
}

static void *no_memory(size_t size)
{
    (void)size;
    return NULL;
}

static void without_memory_the_file_stays_as_it_is(void **state)
{
    json_malloc_t alloc;
    json_free_t release;
    struct err e = {0};
    (void)state;
    AUTO(google_token) t = parse(oauth2client_text);
    AUTO(blob) now = NULL;
    assert_int_equal(fs_replace(AT_FDCWD, path, "old", 3, 0600, &e), 0);
    json_get_alloc_funcs(&alloc, &release);
    json_set_alloc_funcs(no_memory, release);
    int r = google_token_save(path, t, NULL, &e);
    json_set_alloc_funcs(alloc, release);
    assert_int_equal(r, -ENOMEM);
    assert_int_equal(fs_read_blob(AT_FDCWD, path, 4096, &now, &e), 0);
    assert_int_equal(now->size, 3);
}

static void what_is_restored_replaces_nothing(void **state)
{
    static const char text[] = "{\"refresh_token\":\"1//copy\",\"client_id\":\"i\"}";
    struct err e = {0};
    (void)state;
    AUTO(google_token) there = NULL;
    assert_int_equal(google_token_restore(path, text, strlen(text), &e), 0);
    assert_int_equal(fs_replace(AT_FDCWD, path, "", 0, 0600, &e), 0);
    assert_int_equal(google_token_restore(path, text, strlen(text), &e), 0);
    assert_int_equal(google_token_restore(path, "{}", 2, &e), -EEXIST);
    assert_int_equal(google_token_read(path, &there, &e), 0);
    assert_string_equal(there->refresh_token, "1//copy");
}

static void clients_tell_where_a_browser_may_come_back_to(void **state)
{
    static const struct {
        const char *text, *redirect;
        bool web;
    } cases[] = {
        {"{\"installed\":{\"client_id\":\"i\"}}", "", false},
        {"{\"installed\":{\"client_id\":\"i\",\"redirect_uris\":[]}}", "", false},
        {"{\"installed\":{\"client_id\":\"i\",\"redirect_uris\":[\"urn:ietf:wg:oauth:2.0:oob\","
         "\"http://localhost\"]}}",
         "http://localhost", false},
        {"{\"web\":{\"client_id\":\"i\",\"redirect_uris\":[\"https://x.example/\","
         "\"http://localhost.evil.example/\",\"http://localhost:8080/\"]}}",
         "http://localhost:8080/", true},
        {"{\"web\":{\"client_id\":\"i\",\"redirect_uris\":[7,\"http://127.0.0.1:9/x\"]}}",
         "http://127.0.0.1:9/x", true},
        {"{\"web\":{\"client_id\":\"i\"}}", "", true},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct google_client *c = NULL;
        struct err e = {0};
        if (google_client_parse(cases[i].text, strlen(cases[i].text), &c, &e) < 0 ||
            strcmp(c->redirect_uri, cases[i].redirect) != 0 || c->web != cases[i].web)
            CASE_FAILS("%s", cases[i].text);
        google_client_free(c);
    }
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_oauth2clients_form),
        IN_FOLDER(a_refresh_changes_what_it_must_and_nothing_else),
        cmocka_unit_test(a_new_refresh_token_replaces_the_old),
        cmocka_unit_test(a_plain_login_gets_all_keys_of_oauth2client),
        cmocka_unit_test(a_new_login_has_all_keys_of_oauth2client),
        cmocka_unit_test(what_is_no_login_is_told_without_its_secrets),
        cmocka_unit_test(what_is_no_client_is_told_without_its_secrets),
        cmocka_unit_test(garbage_in_the_other_keys_does_not_end_a_login),
        IN_FOLDER(a_file_is_whole_private_and_in_a_private_folder),
        IN_FOLDER(an_open_file_is_closed_to_others_by_saving),
        IN_FOLDER(a_login_of_somebody_else_is_not_overwritten),
        IN_FOLDER(without_memory_the_file_stays_as_it_is),
        IN_FOLDER(what_is_restored_replaces_nothing),
        cmocka_unit_test(clients_tell_where_a_browser_may_come_back_to),
    };
    return RUN_TESTS(tests);
}
