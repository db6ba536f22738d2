#include "../test.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "../sanitized.h"
#include "base/altstack.h"
#include "base/text.h"
#include "report/crash.h"
#include "report/crash_report.h"

static char folder[64];
static int folder_fd;

static int set_up(void **state UNUSED)
{
    folder_fd = test_folder_new(folder);
    return 0;
}

static int tear_down(void **state UNUSED)
{
    test_folder_remove(folder, folder_fd);
    return 0;
}

/* ---- the text ---- */

static const char sample[] = CRASH_MAGIC "\n"
                                         "version 1.2.3\n"
                                         "pid 77\n"
                                         "started 2026-01-02T03:04:05Z\n"
                                         "object 1000 1000 2000 0011aabb /bin/prog with blank\n"
                                         "object 5000 5000 9000 - /lib/x.so\n"
                                         "crash\n"
                                         "signal 11\n"
                                         "code 1\n"
                                         "address 10\n"
                                         "time 1767323045\n"
                                         "tid 80\n"
                                         "thread fetch.1\n"
                                         "log 1767323044 0 fetch-failed\n"
                                         "log 1767323045 9 no-such-level\n"
                                         "frame 1010\n"
                                         "frame 6000\n"
                                         "end\n";

static struct crash_report *parse(const char *text, int wanted)
{
    struct crash_report *r = calloc(1, sizeof(*r));
    assert_non_null(r);
    assert_int_equal(crash_report_parse(text, strlen(text), r), wanted);
    return r;
}

static void a_report_is_read(void **state UNUSED)
{
    AUTO_FREE struct crash_report *r = parse(sample, 0);
    assert_true(r->crashed);
    assert_string_equal(r->version, "1.2.3");
    assert_int_equal(r->signal, SIGSEGV);
    assert_true(r->has_address && r->address == 0x10);
    assert_string_equal(r->thread, "fetch.1");
    assert_int_equal(r->object_count, 2);
    assert_string_equal(r->objects[0].path, "/bin/prog with blank");
    assert_string_equal(r->objects[0].build_id, "0011aabb");
    assert_string_equal(r->objects[1].build_id, "");
    assert_int_equal(r->frame_count, 2);
    assert_int_equal(r->frames[0].object, 0);
    assert_int_equal(r->frames[1].object, 1);
    assert_int_equal(r->log_count, 1);
    assert_string_equal(r->logs[0].id, "fetch-failed");
    char words[256];
    assert_string_equal(crash_report_sentence(r, words, sizeof(words)),
                        "SIGSEGV at 0x10 in function an unknown function, thread fetch.1");
}

static void the_unwinder_is_believed_when_it_came_through(void **state UNUSED)
{
    char text[2048];
    (void)text_format(text, sizeof(text), "%sunwound\nframe 1010\nframe 1020\nframe 6000\nend\n",
                      sample);
    AUTO_FREE struct crash_report *r = parse(text, 0);
    assert_int_equal(r->frame_count, 3);
    assert_int_equal(r->frames[1].address, 0x1020);
    /* It did not. */
    (void)text_format(text, sizeof(text), "%sunwound\nframe 1\nframe 2\nframe 3\n", sample);
    AUTO_FREE struct crash_report *cut = parse(text, 0);
    assert_int_equal(cut->frame_count, 2);
    (void)text_format(text, sizeof(text), "%sunwound\nframe 1010\nend\n", sample);
    AUTO_FREE struct crash_report *shorter = parse(text, 0);
    assert_int_equal(shorter->frame_count, 2);
}

static void a_report_that_was_cut_anywhere_does_no_harm(void **state UNUSED)
{
    for (size_t n = 0; n < sizeof(sample); n++) {
        char text[sizeof(sample)];
        memcpy(text, sample, n);
        text[n] = '\0';
        AUTO_FREE struct crash_report *r = calloc(1, sizeof(*r));
        int code = crash_report_parse(text, n, r);
        assert_int_equal(code, n > strlen(CRASH_MAGIC) ? 0 : -EINVAL);
        assert_true(r->frame_count == 0 || r->frames[0].address == 0x1010);
    }
}

static void a_false_report_does_no_harm(void **state UNUSED)
{
    static const char *const tails[] = {"object 9 8 7 - /x\n",
                                        "object\n",
                                        "object zz 1 2 - /x\n",
                                        "signal 99999\nsignal -1\nsignal x\n",
                                        "frame\nframe \nframe g\nframe -1\n",
                                        "frame 1ffffffffffffffff\n",
                                        "time 99999999999999999999\n",
                                        "log 1 1\nlog x y z\n",
                                        "thread \x1b[31m\n"};
    for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
        char text[512];
        (void)text_format(text, sizeof(text), CRASH_MAGIC "\n%s", tails[i]);
        AUTO_FREE struct crash_report *r = parse(text, 0);
        if (r->object_count || r->signal || r->frame_count || r->log_count || r->at_s ||
            strchr(r->thread, '\x1b'))
            CASE_FAILS("%s", tails[i]);
    }
    free(parse("something else\n", -EINVAL));
}

static void the_event_has_the_stack_oldest_first(void **state UNUSED)
{
    static const struct event_origin origin = {
        .release = "r", .environment = "e", .server_name = "s", .version = "1"};
    AUTO_FREE struct crash_report *r = parse(sample, 0);
    text_copy(r->objects[0].build_id, sizeof(r->objects[0].build_id),
              "00112233445566778899aabbccddeeff01234567");
    text_copy(r->frames[0].function, sizeof(r->frames[0].function), "take_picture");
    AUTO_JSON json_t *e = crash_report_event(r, &origin, NULL, "00000000000040008000000000000000");
    assert_non_null(e);
    AUTO_FREE char *text = js_text(e);
    const char *outer = strstr(text, "0x6000"), *inner = strstr(text, "take_picture\",\"symbol");
    assert_true(outer && inner && outer < inner);
    assert_non_null(strstr(text, "\"level\":\"fatal\""));
    assert_non_null(strstr(text, "\"fingerprint\":[\"crash\",\"SEGV\",\"take_picture\"]"));
    assert_non_null(strstr(text, "\"debug_id\":\"33221100-5544-7766-8899-aabbccddeeff\""));
    assert_non_null(strstr(text, "\"handled\":false"));
}

/* ---- the real thing: a child that crashes ---- */

#define NAMED __attribute__((noinline))

static NAMED void function_that_faults(void)
{
    int *volatile nowhere = (int *)(uintptr_t)16;
    *nowhere = 1; /* NOLINT: this is the fault */
    __asm__ volatile("");
}

static NAMED void function_that_aborts(void)
{
    abort();
}

static NAMED void function_that_asks_for_it(void)
{
    (void)raise(SIGBUS);
    __asm__ volatile("");
}

static NAMED int function_without_end(int n)
{
    volatile char room[1024];
    room[0] = (char)n;
    return n < 0 ? 0 : function_without_end(n + 1) + room[0];
}

static void overflows(void)
{
    (void)function_without_end(0);
}

static NAMED void function_that_jumps_away(void)
{
    void (*volatile nowhere)(void) = (void (*)(void))(uintptr_t)8;
    nowhere();
    __asm__ volatile("");
}

static void *in_thread(void *arg)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    altstack_use();
    (void)pthread_setname_np(pthread_self(), "worker");
    ((void (*)(void))arg)();
    return NULL;
}

static void first_that_faults(void)
{
    function_that_jumps_away();
}

static int crash_child(void (*f)(void), bool thread)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit no_core = {0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        struct err e;
        if (crash_watch(folder, "9.9", &e) < 0)
            _exit(3);
        crash_note_log(NULL, &(struct log_record){.id = "last-words", .level = LOG_LEVEL_INFO});
        crash_note_objects();
        crash_set_first(first_that_faults); /* costs nothing but what it should have done */
        if (thread) {
            pthread_t t;
            if (pthread_create(&t, NULL, in_thread, (void *)(uintptr_t)f) != 0)
                _exit(4);
            pthread_join(t, NULL);
        } else {
            f();
        }
        _exit(5);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void a_crash_is_told_by_the_name_of_its_function(void **state UNUSED)
{
    if (TEST_SANITIZED)
        skip(); /* faults are the sanitizer's */
    static const struct {
        void (*f)(void);
        const char *name;
        int signal;
    } cases[] = {{function_that_faults, "function_that_faults", SIGSEGV},
                 {function_that_aborts, "function_that_aborts", SIGABRT},
                 {function_that_asks_for_it, "function_that_asks_for_it", SIGBUS},
                 {overflows, "function_without_end", SIGSEGV},
                 {function_that_jumps_away, "function_that_jumps_away", SIGSEGV}};
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        bool thread = i % 2;
        int status = crash_child(cases[i / 2].f, thread);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != cases[i / 2].signal)
            CASE_FAILS("%s ended with %#x", cases[i / 2].name, (unsigned)status);
        struct crash_report *r = NULL;
        struct err e = {0};
        if (crash_report_take(folder, &r, &e) < 0)
            fail_msg("%s", e.text);
        AUTO_FREE struct crash_report *mine = r;
        assert_true(r->crashed);
        test_expect_text(cases[i / 2].name, crash_report_function(r), cases[i / 2].name);
        assert_int_equal(r->signal, cases[i / 2].signal);
        if (thread)
            test_expect_text("thread", r->thread, "worker");
        assert_int_equal(r->log_count, 1);
        assert_string_equal(r->logs[0].id, "last-words");
        assert_string_equal(r->version, "9.9");
        assert_int_equal(crash_report_take(folder, &r, &e), -ENOENT);
        assert_int_equal(faccessat(folder_fd, "crash.last", F_OK, 0), 0);
    }
}

static void ends(void)
{
    crash_unwatch();
    _exit(0);
}

static void is_killed(void)
{
    (void)raise(SIGKILL);
}

static void an_orderly_end_leaves_nothing_and_a_kill_no_crash(void **state UNUSED)
{
    struct crash_report *r = NULL;
    struct err e = {0};
    assert_int_equal(crash_child(ends, false), 0);
    assert_int_equal(crash_report_take(folder, &r, &e), -ENOENT);
    assert_true(WIFSIGNALED(crash_child(is_killed, false)));
    assert_int_equal(crash_report_take(folder, &r, &e), 0);
    assert_false(r->crashed);
    free(r);
    assert_int_equal(crash_report_take(folder, &r, &e), -ENOENT);
    /* What is no report is moved out of the way. */
    int fd = openat(folder_fd, CRASH_FILE, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "rubbish\n", 8), 8);
    close(fd);
    assert_int_equal(crash_report_take(folder, &r, &e), -EINVAL);
    assert_int_equal(crash_report_take(folder, &r, &e), -ENOENT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_is_read),
        cmocka_unit_test(the_unwinder_is_believed_when_it_came_through),
        cmocka_unit_test(a_report_that_was_cut_anywhere_does_no_harm),
        cmocka_unit_test(a_false_report_does_no_harm),
        cmocka_unit_test(the_event_has_the_stack_oldest_first),
        TEST(a_crash_is_told_by_the_name_of_its_function),
        TEST(an_orderly_end_leaves_nothing_and_a_kill_no_crash),
    };
    return RUN_TESTS(tests);
}
