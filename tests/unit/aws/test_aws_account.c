/* When a vault is asked, and what serves while it is not there. */

#include "aws/aws_account.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "../test.h"
#include "base/text.h"

enum { THREADS = 8, THREAD_ROUNDS = 200 };

static atomic_llong now_us = 1000000;
static atomic_int asked, changes;
static int answer_code; /* 0, or what the vault fails with */
static enum err_retry answer_retry;
static const char *answer_key = "AKIDONE";

static struct mono_time fake_mono(void)
{
    return (struct mono_time){atomic_load(&now_us)};
}

static void pass_ms(int64_t ms)
{
    atomic_fetch_add(&now_us, ms * 1000);
}

static int ask(void *arg UNUSED, int stop_fd UNUSED, struct aws_vault_keys *ret, struct err *e)
{
    atomic_fetch_add(&asked, 1);
    if (answer_code < 0)
        return err_set(e, answer_code, answer_retry, "the vault is shut");
    text_copy(ret->access_key, sizeof(ret->access_key), answer_key);
    text_copy(ret->secret_key, sizeof(ret->secret_key), "secret");
    return 0;
}

static void note_change(void *arg UNUSED, const struct aws_vault_keys *fresh UNUSED)
{
    atomic_fetch_add(&changes, 1);
}

static void use_vault(const char *known)
{
    struct aws_account a = {.vault = {.name = "the vault", .ask = ask, .changed = note_change}};
    if (known) {
        text_copy(a.vault.known.access_key, sizeof(a.vault.known.access_key), known);
        text_copy(a.vault.known.secret_key, sizeof(a.vault.known.secret_key), "secret");
    }
    aws_account_set(&a);
    atomic_store(&asked, 0);
    atomic_store(&changes, 0);
    answer_code = 0;
    answer_key = "AKIDONE";
}

/* Code, and the key in `ret`. */
static int get(bool doubted, char ret[256])
{
    struct aws_vault_keys keys = {0};
    const char *session = NULL;
    struct err e = {0};
    int r = aws_account_vault(doubted, -1, &keys, &session, &e);
    (void)text_copy(ret, 256, r == 0 ? keys.access_key : e.text);
    return r;
}

static void expect(bool doubted, const char *key, int asked_by_now)
{
    char got[256];
    assert_int_equal(get(doubted, got), 0);
    test_expect_text("key", got, key);
    assert_int_equal(atomic_load(&asked), asked_by_now);
}

static void what_is_known_is_not_asked_for(void **state UNUSED)
{
    use_vault("AKIDONE");
    expect(false, "AKIDONE", 0);
    pass_ms(ACCOUNT_VAULT_MS - 1);
    expect(false, "AKIDONE", 0);
    pass_ms(1);
    expect(false, "AKIDONE", 1);
    assert_int_equal(atomic_load(&changes), 0);
    aws_account_set(NULL);
}

static void a_change_is_noticed_and_told_once(void **state UNUSED)
{
    use_vault("AKIDONE");
    answer_key = "AKIDTWO";
    expect(true, "AKIDTWO", 1);
    expect(false, "AKIDTWO", 1);
    assert_int_equal(atomic_load(&changes), 1);
    aws_account_set(NULL);
}

static void doubts_ask_once_in_five_seconds(void **state UNUSED)
{
    use_vault("AKIDONE");
    for (int i = 0; i < 10; i++)
        expect(true, "AKIDONE", 1);
    pass_ms(5000);
    expect(true, "AKIDONE", 2);
    aws_account_set(NULL);
}

static void while_it_is_away_what_it_said_serves(void **state UNUSED)
{
    use_vault("AKIDONE");
    answer_code = -ECONNREFUSED;
    answer_retry = ERR_LATER;
    pass_ms(ACCOUNT_VAULT_MS);
    expect(false, "AKIDONE", 1);
    expect(false, "AKIDONE", 1);
    pass_ms(15000);
    expect(true, "AKIDONE", 2);
    answer_code = 0;
    answer_key = "AKIDTWO";
    pass_ms(15000);
    expect(false, "AKIDTWO", 3);
    aws_account_set(NULL);
}

static void one_that_never_said_anything_is_asked_until_it_does(void **state UNUSED)
{
    char got[256];
    use_vault(NULL);
    answer_code = -ECONNREFUSED;
    answer_retry = ERR_LATER;
    assert_int_equal(get(false, got), -ECONNREFUSED);
    test_expect_text("error", got, "the vault: the vault is shut");
    assert_int_equal(get(false, got), -ECONNREFUSED);
    assert_int_equal(atomic_load(&asked), 1);
    answer_code = 0;
    pass_ms(15000);
    expect(false, "AKIDONE", 2);
    assert_int_equal(atomic_load(&changes), 1); /* for the next start */
    aws_account_set(NULL);
}

static void what_it_does_not_have_is_no_key(void **state UNUSED)
{
    char got[256];
    use_vault(NULL);
    answer_code = -ENOENT;
    answer_retry = ERR_NEVER;
    assert_int_equal(get(false, got), -ENOKEY);
    aws_account_set(NULL);
    assert_int_equal(get(false, got), -ENOKEY); /* there is no vault */
}

static void a_stop_is_no_word_of_the_vaults(void **state UNUSED)
{
    char got[256];
    use_vault(NULL);
    answer_code = -ECANCELED;
    answer_retry = ERR_LATER;
    assert_int_equal(get(false, got), -ECANCELED);
    answer_code = 0;
    expect(false, "AKIDONE", 2); /* at once */
    aws_account_set(NULL);
}

static void *ask_often(void *arg)
{
    char got[256];
    for (int i = 0; i < THREAD_ROUNDS; i++) {
        if (get(i % 7 == 0, got) != 0)
            return arg;
        pass_ms(100);
    }
    return NULL;
}

static void any_number_of_threads_may_ask(void **state UNUSED)
{
    pthread_t threads[THREADS];
    use_vault(NULL);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &now_us), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    /* 160 s passed: once in the beginning, then for doubts only. */
    assert_in_range(atomic_load(&asked), 1, 1 + 160 / 5);
    aws_account_set(NULL);
}

static void the_environment_counts_where_nothing_else_is_said(void **state UNUSED)
{
    const struct aws_account a = {.profile = "ours", .region = ""};
    setenv("AWS_PROFILE", "theirs", 1);
    unsetenv("AWS_REGION");
    setenv("AWS_DEFAULT_REGION", "eu-west-1", 1);
    assert_string_equal(aws_account_profile(), "theirs");
    aws_account_set(&a);
    assert_string_equal(aws_account_profile(), "ours");
    assert_string_equal(aws_account_region(), "eu-west-1");
    setenv("AWS_REGION", "eu-west-2", 1);
    assert_string_equal(aws_account_region(), "eu-west-2");
    aws_account_set(NULL);
    assert_string_equal(aws_account_profile(), "theirs");
}

int main(void)
{
    clock_set_mono_source(fake_mono);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_known_is_not_asked_for),
        cmocka_unit_test(a_change_is_noticed_and_told_once),
        cmocka_unit_test(doubts_ask_once_in_five_seconds),
        cmocka_unit_test(while_it_is_away_what_it_said_serves),
        cmocka_unit_test(one_that_never_said_anything_is_asked_until_it_does),
        cmocka_unit_test(what_it_does_not_have_is_no_key),
        cmocka_unit_test(a_stop_is_no_word_of_the_vaults),
        cmocka_unit_test(any_number_of_threads_may_ask),
        cmocka_unit_test(the_environment_counts_where_nothing_else_is_said),
    };
    return RUN_TESTS(tests);
}
