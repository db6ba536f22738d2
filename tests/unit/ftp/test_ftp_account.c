#include "ftp/ftp_account.h"

#include "../test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "base/mem.h"
#include "cfg/cfg.h"
#include "ftp/ftp_config.h"
#include "sys/passwd.h"

static const struct cfg_section *const sections[] = {&ftp_cfg_section, &ftp_account_cfg_section,
                                                     NULL};
/* Without a check, so that faults are found by whoever loads the accounts. */
static const struct cfg_schema schema = {.sections = sections};
static char *const no_environment[] = {NULL};

/* Of "correct horse", with the least cost of its kind. */
#define HASH_CORRECT_HORSE "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"
#define SHA_CORRECT_HORSE                                                                          \
    "$6$rounds=1000$saltsalt$4GMtaIz3E1AdDi2SmCokEW0ehi."                                          \
    "HdxNDcL3fGE1XXuzvo6kbx7UOloZKONqEk5H3JrQA4NOfU8BmqFPrpGqwA1"
#define YES_CORRECT_HORSE "$y$j75$saltsaltsalt$zQziiNee/3jd.PJJvsNgy7GH5uO3HbsUNcQ3Jsopj2B"

static struct cfg *load_cfg(const char *text)
{
    struct cfg_source source = {.path = "t.conf", .text = text, .environment = no_environment};
    struct cfg *c = NULL;
    AUTO_FREE char *faults = NULL;
    if (cfg_load(&schema, &source, &c, &faults, NULL) < 0)
        fail_msg("%s: %s", text, faults);
    return c;
}

static struct ftp_accounts *load(const char *text)
{
    AUTO(cfg) c = load_cfg(text);
    struct ftp_accounts *a = NULL;
    struct err e = {0};
    if (ftp_accounts_load(c, &a, &e) < 0)
        fail_msg("%s: %s", text, e.text);
    return a;
}

static const struct sockaddr *from(const char *address)
{
    static struct sockaddr_in v4;
    static struct sockaddr_in6 v6;
    v4 = (struct sockaddr_in){.sin_family = AF_INET};
    v6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return (const struct sockaddr *)&v4;
    assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return (const struct sockaddr *)&v6;
}

static bool logs_in(const struct ftp_accounts *a, const char *user, const char *password)
{
    const struct ftp_account *who = ftp_accounts_login(a, user, password, from("192.0.2.1"));
    if (who)
        assert_string_equal(who->name, user);
    return who != NULL;
}

/* ---- what is in them ---- */

static void the_originals_account_has_every_right_and_the_root(void **state UNUSED)
{
    AUTO(ftp_accounts) a = load("[ftp]\nuser=cams\npassword=correct horse\n");
    assert_int_equal(ftp_accounts_count(a), 1);
    const struct ftp_account *one = ftp_accounts_at(a, 0);
    assert_string_equal(one->name, "cams");
    assert_string_equal(one->directory, "");
    assert_null(one->camera);
    assert_null(one->hosts);
    assert_int_equal(one->rights, FTP_RIGHTS_ALL);
    assert_int_equal(one->quota, 0);
    assert_int_equal(one->size_max, 64 << 20);
    assert_int_equal(one->files_max, 10000);
    assert_true(one->sessions_max > 0);
    assert_false(one->tls_required);
    assert_false(one->foreign_data);
}

static void a_section_is_an_account_that_can_only_push_into_its_folder(void **state UNUSED)
{
    AUTO(ftp_accounts) a = load("[ftp_account:porch]\npassword=correct horse\n");
    assert_int_equal(ftp_accounts_count(a), 1);
    const struct ftp_account *one = ftp_accounts_at(a, 0);
    assert_string_equal(one->name, "porch");
    assert_string_equal(one->directory, "porch");
    assert_int_equal(one->rights, FTP_RIGHTS_DEFAULT);
    assert_int_equal(one->size_max, 64 << 20);
    assert_int_equal(one->files_max, 10000);
}

static void every_key_of_a_section_arrives(void **state UNUSED)
{
    AUTO(ftp_accounts)
    a = load("[ftp_account:a]\nuser=Porch Cam\npassword=correct horse\ncamera=porch\n"
             "directory=uploads/porch\nrights=store, LIST,read\nquota=1GB\nfiles_max=7\n"
             "size_max=3MB\nrate=100KB\nsessions_max=2\nhosts=192.0.2.0/24\ntls_required=yes\n"
             "foreign_data=yes\n[ftp_account:all]\npassword=battery staple\ndirectory=/\n"
             "rights=all\n");
    const struct ftp_account *one = ftp_accounts_at(a, 0), *all = ftp_accounts_at(a, 1);
    assert_string_equal(one->name, "Porch Cam");
    assert_string_equal(one->camera, "porch");
    assert_string_equal(one->directory, "uploads/porch");
    assert_int_equal(one->rights, FTP_RIGHT_STORE | FTP_RIGHT_LIST | FTP_RIGHT_READ);
    assert_int_equal(one->quota, 1 << 30);
    assert_int_equal(one->files_max, 7);
    assert_int_equal(one->size_max, 3 << 20);
    assert_int_equal(one->rate, 100 << 10);
    assert_int_equal(one->sessions_max, 2);
    assert_true(host_list_has(one->hosts, "192.0.2.77"));
    assert_true(one->tls_required);
    assert_true(one->foreign_data);
    assert_string_equal(all->directory, "");
    assert_int_equal(all->rights, FTP_RIGHTS_ALL);
}

static void they_outlive_the_configuration(void **state UNUSED)
{
    AUTO(ftp_accounts) a = load("[ftp_account:a]\npassword=correct horse\n");
    AUTO(ftp_accounts) again = ftp_accounts_ref(a);
    ftp_accounts_unref(a);
    a = NULL;
    assert_string_equal(ftp_accounts_at(again, 0)->name, "a");
    assert_true(logs_in(again, "a", "correct horse"));
}

static void nobody_may_log_in_unless_told(void **state UNUSED)
{
    static const char *const cases[] = {
        "",
        "[ftp]\nuser=cams\n",
        "[ftp]\npassword=correct horse\n",
        "[ftp]\nenabled=no\nuser=cams\npassword=correct horse\n[ftp_account:a]\npassword=x\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(ftp_accounts) a = load(cases[i]);
        if (ftp_accounts_count(a) != 0 || logs_in(a, "", "") || logs_in(a, "cams", "") ||
            logs_in(a, "anonymous", "me@example.org") || logs_in(a, "cams", "correct horse"))
            CASE_FAILS("%s", cases[i]);
        assert_false(ftp_accounts_slow(a));
    }
}

/* ---- logging in ---- */

static void a_login_takes_the_right_user_with_the_right_password(void **state UNUSED)
{
    AUTO(ftp_accounts)
    a = load("[ftp]\nuser=cams\npassword=correct horse\n"
             "[ftp_account:porch]\npassword=battery staple\n");
    assert_false(ftp_accounts_slow(a));
    assert_true(logs_in(a, "cams", "correct horse"));
    assert_true(logs_in(a, "porch", "battery staple"));
    assert_false(logs_in(a, "porch", "correct horse")); /* another's */
    assert_false(logs_in(a, "cams", "Correct horse"));
    assert_false(logs_in(a, "Cams", "correct horse"));
    assert_false(logs_in(a, "cam", "correct horse"));
    assert_false(logs_in(a, "cams ", "correct horse"));
    assert_false(logs_in(a, "cams", "correct horse "));
    assert_false(logs_in(a, "cams", "correct hors"));
    assert_false(logs_in(a, "cams", ""));
    assert_false(logs_in(a, "", "correct horse"));
    assert_false(logs_in(a, "", ""));
    AUTO_FREE char *long_one = xcalloc(1, 5000);
    memset(long_one, 'a', 4999);
    assert_false(logs_in(a, "cams", long_one));
    assert_false(logs_in(a, long_one, "correct horse"));
}

static void a_hash_is_as_good_as_its_password(void **state UNUSED)
{
    AUTO(ftp_accounts)
    a = load("[ftp_account:hashed]\npassword=" HASH_CORRECT_HORSE "\n"
             "[ftp_account:text]\npassword=battery staple\n");
    assert_true(ftp_accounts_slow(a));
    assert_true(logs_in(a, "hashed", "correct horse"));
    assert_false(logs_in(a, "hashed", "correct horsf"));
    assert_false(logs_in(a, "hashed", HASH_CORRECT_HORSE)); /* the hash is not the password */
    assert_false(logs_in(a, "hashed", ""));
    assert_true(logs_in(a, "text", "battery staple"));
    assert_false(logs_in(a, "text", "battery stapl"));
    assert_false(logs_in(a, "nobody", "correct horse"));
}

static void a_login_from_a_wrong_address_is_no_login(void **state UNUSED)
{
    AUTO(ftp_accounts)
    a = load("[ftp_account:a]\npassword=correct horse\nhosts=192.0.2.0/28, 2001:db8::/64\n");
    static const struct {
        const char *address;
        bool in;
    } cases[] = {{"192.0.2.1", true},   {"192.0.2.16", false},
                 {"127.0.0.1", false},  {"::ffff:192.0.2.1", true},
                 {"2001:db8::7", true}, {"2001:db8:1::7", false},
                 {"::1", false},        {"::ffff:10.0.0.1", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if ((ftp_accounts_login(a, "a", "correct horse", from(cases[i].address)) != NULL) !=
            cases[i].in)
            CASE_FAILS("%s", cases[i].address);
}

/* Of this thread's processor time, the least of some, so that the machine's load does not count. */
static int64_t cost_us(const struct ftp_accounts *a, const char *user, const char *password)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < 5; i++) {
        struct timespec begin, end;
        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
        (void)ftp_accounts_login(a, user, password, from("192.0.2.1"));
        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
        int64_t us = (end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000;
        least = MIN(least, us);
    }
    return least;
}

/* What fails early would tell which users there are. One hash or none is a factor of a hundred and
 * more, so half and twice as much are one and the same. */
static void a_login_that_fails_costs_one_hash_whatever_is_wrong(void **state UNUSED)
{
    static const char *const hashes[] = {HASH_CORRECT_HORSE, SHA_CORRECT_HORSE, YES_CORRECT_HORSE};
    static const struct {
        const char *user, *password;
    } cases[] = {{"nobody", "correct horse"},
                 {"text", "correct horse"},
                 {"far", "correct horse"}, /* the right one, from a wrong address */
                 {"", ""}};
    for (size_t k = 0; k < ARRAY_LEN(hashes); k++) {
        AUTO_FREE char *text = xasprintf("[ftp_account:hashed]\npassword=%s\n"
                                         "[ftp_account:far]\npassword=%s\nhosts=10.0.0.1\n"
                                         "[ftp_account:text]\npassword=battery staple\n",
                                         hashes[k], hashes[k]);
        AUTO(ftp_accounts) a = load(text);
        assert_true(logs_in(a, "hashed", "correct horse"));
        int64_t one = cost_us(a, "hashed", "wrong one");
        assert_true(one > 100);
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            int64_t us = cost_us(a, cases[i].user, cases[i].password);
            if (us < one / 2 || us > one * 2)
                CASE_FAILS("%.4s, %s: %lld us instead of %lld", hashes[k], cases[i].user,
                           (long long)us, (long long)one);
        }
    }
}

/* Beside costly ones as well: nobody waits for them. */
static void the_right_text_costs_no_hash(void **state UNUSED)
{
    AUTO(ftp_accounts)
    a = load("[ftp_account:hashed]\npassword=" YES_CORRECT_HORSE "\n"
             "[ftp_account:text]\npassword=battery staple\n"
             "[ftp_account:far]\npassword=battery staple\nhosts=10.0.0.1\n");
    const struct sockaddr *here = from("192.0.2.1");
    assert_true(ftp_accounts_slow(a));
    const struct ftp_account *got = ftp_accounts_login_text(a, "text", "battery staple", here);
    assert_non_null(got);
    assert_string_equal(got->name, "text");
    assert_null(ftp_accounts_login_text(a, "text", "battery stapl", here));
    assert_null(ftp_accounts_login_text(a, "far", "battery staple", here));
    assert_null(ftp_accounts_login_text(a, "nobody", "battery staple", here));
    assert_null(ftp_accounts_login_text(a, "hashed", "correct horse", here));
    assert_null(ftp_accounts_login_text(a, "hashed", YES_CORRECT_HORSE, here));
    assert_null(ftp_accounts_login_text(a, "hashed", "", here));
}

/* ---- what is refused ---- */

static void passwords_that_are_guessed_at_once_are_refused(void **state UNUSED)
{
    static const struct {
        const char *password, *why; /* NULL = good */
    } cases[] = {
        {"", "at least 8 characters"},
        {"short7c", "at least 8 characters"},
        {"\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", "at least 8 characters"}, /* four of two bytes */
        {"aaaaaaaaaaaa", "one character again and again"},
        {"12345678", "everybody tries first"},
        {"password", "everybody tries first"},
        {"PassWord", "everybody tries first"},
        {"admin123", "everybody tries first"},
        {"changeme", "everybody tries first"},
        {"foscam123", "everybody tries first"},
        {"hik12345", "everybody tries first"},
        {"porchcam", "the user's name"},
        {"PorchCam", "the user's name"},
        {"has\ta tab in it", "no line breaks or tabs"},
        {"$6$rounds=5000$salt$tooshort", "begins like a hash"},
        {"$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "begins like a hash"}, /* MD5 */
        {"$y$j9T$abc$def", "begins like a hash"},
        {"$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6", "begins like a hash"},
        {HASH_CORRECT_HORSE, NULL},
        {"correct horse", NULL},
        {"eight888", NULL},
        {"$ecret$ and dollars", NULL},
        {"\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", NULL},
        {"ftp-password", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char why[256] = "";
        bool good = ftp_password_is_good(cases[i].password, "porchcam", why, sizeof(why));
        if (good != !cases[i].why || (!good && !strstr(why, cases[i].why)))
            CASE_FAILS("%s: %s", cases[i].password, good ? "accepted" : why);
        if (!good && *cases[i].password && strstr(why, cases[i].password))
            CASE_FAILS("%s is told to all", cases[i].password);
    }
    char why[256];
    assert_true(ftp_password_is_good("porchcam", NULL, why, sizeof(why)));
    AUTO_FREE char *long_one = xcalloc(1, 600);
    for (int i = 0; i < 512; i++)
        long_one[i] = (char)('a' + i % 7);
    assert_false(ftp_password_is_good(long_one, NULL, why, sizeof(why)));
    long_one[511] = '\0';
    assert_true(ftp_password_is_good(long_one, NULL, why, sizeof(why)));
}

static void what_is_wrong_is_said_with_its_place_and_what_would_be_right(void **state UNUSED)
{
    static const struct {
        const char *text, *fault;
    } cases[] = {
        {"[ftp]\nuser=cams\npassword=geheim1\n",
         "t.conf:3: ftp.password: is not accepted: it must have at least 8 characters"},
        {"[ftp]\nuser=cams\npassword=password\n",
         "t.conf:3: ftp.password: is not accepted: it must "
         "not be one that everybody tries first"},
        {"[ftp_account:a]\n", "t.conf:1: ftp_account:a.password: is missing"},
        {"[ftp_account:a]\npassword=geheim1\n",
         "t.conf:2: ftp_account:a.password: is not accepted: it must have at least 8 characters"},
        {"[ftp_account:same.name]\npassword=same.name\n", "must not be the user's name"},
        {"[ftp_account:a]\nuser=x\npassword=correct horse\n[ftp_account:b]\nuser=x\n"
         "password=battery staple\n",
         "t.conf:5: ftp_account:b.user: \"x\" is the login of [ftp_account:a] as well"},
        {"[ftp]\nuser=a\npassword=correct horse\n[ftp_account:a]\npassword=battery staple\n",
         "ftp_account:a.user: \"a\" is the login of [ftp] as well"},
        {"[ftp_account:a]\npassword=correct horse\ndirectory=x\ncamera=one\n"
         "[ftp_account:b]\npassword=battery staple\ndirectory=x\ncamera=two\n",
         "t.conf:7: ftp_account:b.directory: is the folder of [ftp_account:a] as well"},
        {"[ftp_account:a]\npassword=correct horse\nuser=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxx\n",
         "ftp_account:a.user: must have at most 64 bytes"},
        {"[ftp]\nenabled=yes\n", "ftp.enabled: is yes, but nobody could log in"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(cfg) c = load_cfg(cases[i].text);
        AUTO(ftp_accounts) a = NULL;
        struct err e = {0};
        int r = ftp_accounts_load(c, &a, &e);
        if (r != -EINVAL || !strstr(e.text, cases[i].fault))
            CASE_FAILS("%s: %s", cases[i].text, r < 0 ? e.text : "accepted");
        assert_null(a);
        assert_null(strstr(e.text, "geheim"));
    }
}

static void all_faults_are_named_at_once(void **state UNUSED)
{
    AUTO(cfg)
    c = load_cfg("[ftp]\nuser=cams\npassword=a\n[ftp_account:x]\npassword=b\n[ftp_account:y]\n");
    AUTO(cfg_faults) faults = cfg_faults_new(c);
    ftp_accounts_check(c, faults);
    AUTO_FREE char *text = cfg_faults_take(faults);
    assert_non_null(text);
    assert_non_null(strstr(text, "ftp.password"));
    assert_non_null(strstr(text, "ftp_account:x.password"));
    assert_non_null(strstr(text, "ftp_account:y.password"));
}

static void two_accounts_may_share_a_folder_when_nothing_is_unclear(void **state UNUSED)
{
    AUTO(ftp_accounts)
    a = load("[ftp_account:a]\npassword=correct horse\ndirectory=x\ncamera=one\n"
             "[ftp_account:b]\npassword=battery staple\ndirectory=x\ncamera=one\n"
             "[ftp_account:c]\npassword=battery staple\ndirectory=/\n"
             "[ftp_account:d]\npassword=battery staple\ndirectory=x/y\ncamera=two\n");
    assert_int_equal(ftp_accounts_count(a), 4);
}

static void rights_are_read_by_name(void **state UNUSED)
{
    unsigned rights = 77;
    const char *wrong = NULL;
    assert_int_equal(ftp_rights_parse((const char *const[]){NULL}, &rights, &wrong), 0);
    assert_int_equal(rights, 0);
    assert_int_equal(
        ftp_rights_parse((const char *const[]){"Delete", "overwrite", NULL}, &rights, &wrong), 0);
    assert_int_equal(rights, FTP_RIGHT_DELETE | FTP_RIGHT_OVERWRITE);
    assert_int_equal(ftp_rights_parse((const char *const[]){"all", NULL}, &rights, &wrong), 0);
    assert_int_equal(rights, FTP_RIGHTS_ALL);
    assert_int_equal(
        ftp_rights_parse((const char *const[]){"store", "rule", NULL}, &rights, &wrong), -EINVAL);
    assert_string_equal(wrong, "rule");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_originals_account_has_every_right_and_the_root),
        cmocka_unit_test(a_section_is_an_account_that_can_only_push_into_its_folder),
        cmocka_unit_test(every_key_of_a_section_arrives),
        cmocka_unit_test(they_outlive_the_configuration),
        cmocka_unit_test(nobody_may_log_in_unless_told),
        cmocka_unit_test(a_login_takes_the_right_user_with_the_right_password),
        cmocka_unit_test(a_hash_is_as_good_as_its_password),
        cmocka_unit_test(a_login_that_fails_costs_one_hash_whatever_is_wrong),
        cmocka_unit_test(the_right_text_costs_no_hash),
        cmocka_unit_test(a_login_from_a_wrong_address_is_no_login),
        cmocka_unit_test(passwords_that_are_guessed_at_once_are_refused),
        cmocka_unit_test(what_is_wrong_is_said_with_its_place_and_what_would_be_right),
        cmocka_unit_test(all_faults_are_named_at_once),
        cmocka_unit_test(two_accounts_may_share_a_folder_when_nothing_is_unclear),
        cmocka_unit_test(rights_are_read_by_name),
    };
    return RUN_TESTS(tests);
}
