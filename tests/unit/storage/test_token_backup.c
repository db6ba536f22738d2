#include "../test.h"

#include <errno.h>

#include "base/fsutil.h"
#include "storage/google_token.h"
#include "storage/token_backup.h"

#define LOGIN(refresh, expires, more)                                                              \
    "{\"refresh_token\":\"" refresh "\",\"client_id\":\"i\",\"token_expiry\":\"" expires "\"" more \
    "}"
#define EARLY "2026-01-02T03:00:00Z"
#define LATE "2026-01-02T04:00:00Z"
#define FAR "2036-01-02T04:00:00Z"

static struct wall_time test_wall(void)
{
    return wall_from_seconds(1767323045); /* 2026-01-02T03:04:05Z */
}

struct bucket {
    char text[1024]; /* "" = nothing there */
    int get_fails, puts;
};

static int get(void *arg, const char *key, struct blob **ret, struct err *e)
{
    struct bucket *b = arg;
    assert_string_equal(key, "snapshot_processor_creds");
    if (b->get_fails)
        return err_set(e, b->get_fails, ERR_LATER, "no bucket");
    if (!*b->text)
        return err_set(e, -ENOENT, ERR_NEVER, "not there");
    *ret = blob_new_copy(b->text, strcmp(b->text, "-") == 0 ? 0 : strlen(b->text));
    return 0;
}

static int put(void *arg, const char *key, const void *data, size_t size, struct err *e)
{
    struct bucket *b = arg;
    (void)e;
    assert_string_equal(key, "snapshot_processor_creds");
    (void)snprintf(b->text, sizeof(b->text), "%.*s", (int)size, (const char *)data);
    b->puts++;
    return 0;
}

static char folder[64], path[96];
static int folder_fd;

static int setup(void **state)
{
    (void)state;
    clock_set_wall_source(test_wall);
    folder_fd = test_folder_new(folder);
    (void)snprintf(path, sizeof(path), "%s/token.json", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_set_wall_source(NULL);
    test_folder_remove(folder, folder_fd);
    return 0;
}

static void a_turn_never_makes_anything_worse(void **state)
{
    enum { SAVED = TOKEN_BACKUP_SAVED, LEFT = TOKEN_BACKUP_LEFT, SAME = TOKEN_BACKUP_SAME };
    static const char valid[] = LOGIN("1//a", LATE, "");
    static const struct {
        const char *what, *here, *there; /* here NULL = missing; there "" = missing */
        int r, outcome;
        const char *here_after, *there_after; /* refresh tokens; NULL = as it was */
    } cases[] = {
        {"nothing anywhere", NULL, "", 0, TOKEN_BACKUP_NOTHING, NULL, NULL},
        {"restored", NULL, LOGIN("1//a", EARLY, ""), 0, TOKEN_BACKUP_RESTORED, "1//a", NULL},
        {"restored over an empty file", "", valid, 0, TOKEN_BACKUP_RESTORED, "1//a", NULL},
        {"rubbish is not restored", NULL, "{\"refresh_token\":\"canary", -EBADMSG, 0, NULL, NULL},
        {"nothing is not restored", NULL, "-", -EBADMSG, 0, NULL, NULL},
        {"HTML is not restored", NULL, "<html>canary</html>", -EBADMSG, 0, NULL, NULL},
        {"saved", valid, "", 0, SAVED, NULL, "1//a"},
        {"saved over rubbish", valid, "{", 0, SAVED, NULL, "1//a"},
        {"saved over nothing", valid, "-", 0, SAVED, NULL, "1//a"},
        {"rubbish is not saved", "{\"refresh_token\":\"canary", valid, -EBADMSG, 0, NULL, NULL},
        {"a client is not saved", "{\"installed\":{}}", valid, -EBADMSG, 0, NULL, NULL},
        {"the same", valid, valid, 0, SAME, NULL, NULL},
        {"the same, used since", valid, LOGIN("1//a", EARLY, ""), 0, SAVED, NULL, "1//a"},
        {"the same, used there", LOGIN("1//a", EARLY, ""), valid, 0, SAME, NULL, NULL},
        {"a newer grant", LOGIN("1//b", LATE, ""), LOGIN("1//a", EARLY, ""), 0, SAVED, NULL,
         "1//b"},
        {"an older grant", LOGIN("1//b", EARLY, ""), valid, 0, LEFT, NULL, NULL},
        {"a grant of unknown age", LOGIN("1//b", "", ""), valid, 0, LEFT, NULL, NULL},
        {"one of unknown age, there", valid, LOGIN("1//b", "", ""), 0, SAVED, NULL, "1//a"},
        {"a refused grant", LOGIN("1//b", LATE, ",\"invalid\":true"), LOGIN("1//a", EARLY, ""), 0,
         LEFT, NULL, NULL},
        {"a refused grant, nothing there", LOGIN("1//b", LATE, ",\"invalid\":true"), "", 0, LEFT,
         NULL, NULL},
        {"a refused one there", LOGIN("1//b", EARLY, ""), LOGIN("1//a", LATE, ",\"invalid\":true"),
         0, SAVED, NULL, "1//b"},
        {"a wrong clock there", valid, LOGIN("1//b", FAR, ""), 0, SAVED, NULL, "1//a"},
        {"a wrong clock here", LOGIN("1//b", FAR, ""), valid, 0, LEFT, NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bucket b = {0};
        struct token_backup_store store = {get, put, &b};
        enum token_backup_outcome outcome = TOKEN_BACKUP_NOTHING;
        struct err e = {0};
        (void)unlink(path);
        if (cases[i].here)
            assert_int_equal(
                fs_replace(AT_FDCWD, path, cases[i].here, strlen(cases[i].here), 0600, &e), 0);
        (void)snprintf(b.text, sizeof(b.text), "%s", cases[i].there);
        int r = token_backup_turn(&store, path, &outcome, &e);
        if (r != cases[i].r || (r == 0 && (int)outcome != cases[i].outcome) ||
            strstr(e.text, "canary"))
            CASE_FAILS("%s: %d, %s, %s", cases[i].what, r, token_backup_outcome_names[outcome],
                       e.text);
        AUTO(blob) now = NULL;
        AUTO(google_token) t = NULL;
        bool there = fs_read_blob(AT_FDCWD, path, 4096, &now, &e) == 0;
        if (cases[i].here_after) {
            assert_int_equal(google_token_read(path, &t, &e), 0);
            assert_string_equal(t->refresh_token, cases[i].here_after);
        } else if (there != (cases[i].here != NULL) ||
                   (there && (now->size != strlen(cases[i].here) ||
                              memcmp(now->data, cases[i].here, now->size) != 0))) {
            CASE_FAILS("%s: what is here has changed", cases[i].what);
        }
        if (cases[i].there_after ? !strstr(b.text, cases[i].there_after)
                                 : b.puts > 0 || strcmp(b.text, cases[i].there) != 0)
            CASE_FAILS("%s: there is now %s", cases[i].what, b.text);
    }
}

static void what_is_restored_is_private_and_as_it_was(void **state)
{
    static const char text[] = LOGIN("1//a", LATE, ", \"theirs\" : [1, 2]") "\n";
    struct bucket b = {0};
    struct token_backup_store store = {get, put, &b};
    enum token_backup_outcome outcome;
    struct stat st;
    struct err e = {0};
    (void)state;
    (void)snprintf(b.text, sizeof(b.text), "%s", text);
    assert_int_equal(token_backup_turn(&store, path, &outcome, &e), 0);
    AUTO(blob) now = NULL;
    assert_int_equal(fs_read_blob(AT_FDCWD, path, 4096, &now, &e), 0);
    assert_int_equal(now->size, strlen(text));
    assert_memory_equal(now->data, text, now->size);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

/* Somebody logs in while the copy is on its way. */
static int get_slowly(void *arg, const char *key, struct blob **ret, struct err *e)
{
    static const char fresh[] = LOGIN("1//fresh", LATE, "");
    assert_int_equal(fs_replace(AT_FDCWD, path, fresh, strlen(fresh), 0600, e), 0);
    return get(arg, key, ret, e);
}

static void a_login_of_the_meantime_is_not_overwritten(void **state)
{
    struct bucket b = {.text = LOGIN("1//copy", EARLY, "")};
    struct token_backup_store store = {get_slowly, put, &b};
    enum token_backup_outcome outcome = TOKEN_BACKUP_RESTORED;
    struct err e = {0};
    (void)state;
    AUTO(google_token) t = NULL;
    assert_int_equal(token_backup_turn(&store, path, &outcome, &e), 0);
    assert_int_equal(outcome, TOKEN_BACKUP_LEFT);
    assert_int_equal(google_token_read(path, &t, &e), 0);
    assert_string_equal(t->refresh_token, "1//fresh");
    assert_int_equal(b.puts, 0);
}

static void without_the_bucket_nothing_is_changed(void **state)
{
    static const char *const here[] = {NULL, LOGIN("1//a", LATE, "")};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(here); i++) {
        struct bucket b = {.get_fails = -ETIMEDOUT};
        struct token_backup_store store = {get, put, &b};
        enum token_backup_outcome outcome;
        struct err e = {0};
        if (here[i])
            assert_int_equal(fs_replace(AT_FDCWD, path, here[i], strlen(here[i]), 0600, &e), 0);
        assert_int_equal(token_backup_turn(&store, path, &outcome, &e), -ETIMEDOUT);
        assert_int_equal(e.retry, ERR_LATER);
        assert_int_equal(b.puts, 0);
        assert_int_equal(access(path, F_OK), here[i] ? 0 : -1);
    }
}

static void *no_memory(size_t size)
{
    (void)size;
    return NULL;
}

/* Memory ends when the copy has been read. */
static int get_the_last(void *arg, const char *key, struct blob **ret, struct err *e)
{
    json_free_t release;
    int r = get(arg, key, ret, e);
    json_get_alloc_funcs(NULL, &release);
    json_set_alloc_funcs(no_memory, release);
    return r;
}

static void without_memory_the_copy_stays_as_it_is(void **state)
{
    static const char here[] = LOGIN("1//a", LATE, "");
    struct bucket b = {0};
    struct token_backup_store store = {get_the_last, put, &b};
    enum token_backup_outcome outcome;
    json_malloc_t alloc;
    json_free_t release;
    struct err e = {0};
    (void)state;
    assert_int_equal(fs_replace(AT_FDCWD, path, here, strlen(here), 0600, &e), 0);
    json_get_alloc_funcs(&alloc, &release);
    int r = token_backup_turn(&store, path, &outcome, &e);
    json_set_alloc_funcs(alloc, release);
    assert_int_equal(r, -ENOMEM);
    assert_int_equal(b.puts, 0);
}

static void turns_are_at_minutes_ten_and_forty(void **state)
{
    static const struct {
        const char *now, *next;
    } cases[] = {
        {"2026-01-02T03:00:00Z", "2026-01-02T03:10:00Z"},
        {"2026-01-02T03:09:59Z", "2026-01-02T03:10:00Z"},
        {"2026-01-02T03:10:00Z", "2026-01-02T03:40:00Z"},
        {"2026-01-02T03:39:59Z", "2026-01-02T03:40:00Z"},
        {"2026-01-02T23:40:00Z", "2026-01-03T00:10:00Z"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wall_time now;
        char next[WALL_ISO_MAX];
        assert_int_equal(wall_parse_iso(cases[i].now, &now), 0);
        test_expect_text(cases[i].now, wall_format_iso(token_backup_next(now), false, next),
                         cases[i].next);
    }
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_turn_never_makes_anything_worse),
        IN_FOLDER(what_is_restored_is_private_and_as_it_was),
        IN_FOLDER(without_the_bucket_nothing_is_changed),
        IN_FOLDER(a_login_of_the_meantime_is_not_overwritten),
        IN_FOLDER(without_memory_the_copy_stays_as_it_is),
        cmocka_unit_test(turns_are_at_minutes_ten_and_forty),
    };
    return RUN_TESTS(tests);
}
