/* The judgement of answers as a table, without any network. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "camera/camera_kind.h"
#include "sim_fixture.h"

struct judge_case {
    const char *name;
    long status;
    const char *body;
    size_t size; /* 0: strlen */
    bool user, login_sent, offers_basic, offers_digest;
    int redirects;
    int code;
    enum err_retry retry;
    enum camera_fault fault;
    const char *words;
};

static const char zeros[64];

#define TINY .body = (const char *)tiny_jpeg
static const struct judge_case cases[] = {
    {"a picture", 200, TINY, sizeof(tiny_jpeg), .code = 0},
    {"a picture without a status line", 0, TINY, sizeof(tiny_jpeg), .code = 0},
    {"a picture with another 2xx", 206, TINY, sizeof(tiny_jpeg), .code = 0},
    {"a picture that ends in its data", 200, TINY, sizeof(tiny_jpeg) - 4, .code = -EBADMSG,
     .retry = ERR_NOW, .fault = CAMERA_FAULT_NOT_PICTURE, .words = "ends early"},
    {"a picture that ends in its header", 200, TINY, 60, .code = -EBADMSG, .retry = ERR_NOW,
     .fault = CAMERA_FAULT_NOT_PICTURE, .words = "damaged"},
    {"a start and nothing more", 200, TINY, 3, .code = -EBADMSG, .retry = ERR_NOW,
     .fault = CAMERA_FAULT_NOT_PICTURE},
    {"nothing", 200, "", .code = -EINVAL, .retry = ERR_NOW, .fault = CAMERA_FAULT_NOT_PICTURE,
     .words = "empty body"},
    {"204", 204, "", .code = -EINVAL, .retry = ERR_NOW, .fault = CAMERA_FAULT_NOT_PICTURE,
     .words = "HTTP 204"},
    {"zeros", 200, zeros, sizeof(zeros), .code = -EINVAL, .retry = ERR_NEVER,
     .fault = CAMERA_FAULT_NOT_PICTURE, .words = "64 bytes"},
    {"a page with a title", 200, "<html><head><title>  Login: IPC </title>", .code = -EINVAL,
     .retry = ERR_NEVER, .fault = CAMERA_FAULT_NOT_PICTURE, .words = "Login: IPC"},
    {"a text that forges lines", 200, "no\x1b[31m\"camera\r\n[error] forged", .code = -EINVAL,
     .retry = ERR_NEVER, .fault = CAMERA_FAULT_NOT_PICTURE, .words = "not a picture"},
    {"foscam code with blanks", 200, "<CGI_Result>\n\t<result> -2 </result></CGI_Result>",
     .code = -EACCES, .retry = ERR_NEVER, .fault = CAMERA_FAULT_CREDENTIALS,
     .words = "Foscam result -2"},
    {"foscam code unknown", 200, "<CGI_Result><result>-77</result></CGI_Result>", .code = -EINVAL,
     .retry = ERR_NEVER, .fault = CAMERA_FAULT_NOT_PICTURE, .words = "Foscam result -77"},
    {"foscam code that is none", 200, "<CGI_Result><result>x</result></CGI_Result>",
     .code = -EINVAL, .retry = ERR_NEVER, .fault = CAMERA_FAULT_NOT_PICTURE},
    {"foscam code cut off", 200, "<CGI_Result><result>-", .code = -EINVAL, .retry = ERR_NEVER,
     .fault = CAMERA_FAULT_NOT_PICTURE},
    {"reolink too many sessions", 200, "[{\"error\":{\"rspCode\" : -5}}]", .code = -EBUSY,
     .retry = ERR_LATER, .fault = CAMERA_FAULT_BUSY, .words = "sessions"},
    {"dahua's words", 200, "Error\nInvalid Authority!\n", .code = -EACCES, .retry = ERR_NEVER,
     .fault = CAMERA_FAULT_CREDENTIALS, .words = "Invalid Authority"},
    {"dahua's word inside a page", 200, "<p>Error Invalid Authority</p>", .code = -EINVAL,
     .retry = ERR_NEVER, .fault = CAMERA_FAULT_NOT_PICTURE},
    {"dahua's other words", 400, "Error\nBad Request!\n", .code = -EREMOTEIO, .retry = ERR_NEVER,
     .fault = CAMERA_FAULT_OTHER, .words = "HTTP 400"},
    {"hikvision without a password yet", 403,
     "<ResponseStatus><statusCode>4</statusCode><subStatusCode>notActivated</subStatusCode>",
     .code = -EREMOTEIO, .retry = ERR_NEVER, .fault = CAMERA_FAULT_OTHER,
     .words = "not activated: set its password"},
    {"hikvision's word outranks its code", 503,
     "<ResponseStatus><statusCode>3</statusCode><subStatusCode>deviceBusy</subStatusCode>",
     .code = -EBUSY, .retry = ERR_LATER, .fault = CAMERA_FAULT_BUSY, .words = "deviceBusy"},
    {"hikvision's right to view", 403,
     "<ResponseStatus><statusCode>4</statusCode><subStatusCode>lowPrivilege</subStatusCode>",
     .code = -EACCES, .retry = ERR_NEVER, .fault = CAMERA_FAULT_CREDENTIALS,
     .words = "lowPrivilege"},
    {"hikvision's locked account", 401, "<userCheck><lockStatus>lock</lockStatus></userCheck>",
     .user = true, .login_sent = true, .code = -EACCES, .retry = ERR_NEVER,
     .fault = CAMERA_FAULT_CREDENTIALS, .words = "account is locked"},
    {"hikvision's wrong password is no invalid operation", 401,
     "<ResponseStatus><statusCode>4</statusCode></ResponseStatus>", .user = true,
     .login_sent = true, .code = -EACCES, .retry = ERR_NEVER, .fault = CAMERA_FAULT_CREDENTIALS,
     .words = "rejects user 'admin'"},
    {"a maker's code outranks the status", 500,
     "<ResponseStatus><statusCode>2</statusCode></ResponseStatus>", .code = -EBUSY,
     .retry = ERR_LATER, .fault = CAMERA_FAULT_BUSY, .words = "Hikvision"},
    {"a picture with a failing status is no picture", 404, TINY, sizeof(tiny_jpeg), .code = -ENOENT,
     .retry = ERR_NEVER, .fault = CAMERA_FAULT_OTHER},

    {"401 without a login", 401, "", .offers_digest = true, .code = -EACCES, .retry = ERR_NEVER,
     .fault = CAMERA_FAULT_CREDENTIALS, .words = "set user and password"},
    {"401 after a login", 401, "", .user = true, .login_sent = true, .code = -EACCES,
     .retry = ERR_NEVER, .fault = CAMERA_FAULT_CREDENTIALS, .words = "rejects user 'admin'"},
    {"401 with basic alone", 401, "", .user = true, .offers_basic = true, .code = -EACCES,
     .retry = ERR_NEVER, .fault = CAMERA_FAULT_CREDENTIALS, .words = "auth = basic"},
    {"401 behind a redirect", 401, "", .user = true, .redirects = 1, .offers_digest = true,
     .code = -EACCES, .retry = ERR_NEVER, .fault = CAMERA_FAULT_CREDENTIALS,
     .words = "redirects to another address"},
    {"401 of an unknown form", 401, "", .user = true, .code = -EACCES, .retry = ERR_NEVER,
     .fault = CAMERA_FAULT_CREDENTIALS, .words = "check auth"},
    {"403", 403, "", .user = true, .login_sent = true, .code = -EACCES, .retry = ERR_NEVER,
     .fault = CAMERA_FAULT_CREDENTIALS, .words = "HTTP 403"},
    {"410", 410, "", .code = -ENOENT, .retry = ERR_NEVER, .fault = CAMERA_FAULT_OTHER},
    {"302 that was not followed", 302, "", .code = -EREMOTEIO, .retry = ERR_NEVER,
     .fault = CAMERA_FAULT_OTHER, .words = "redirect"},
    {"502", 502, "", .code = -EREMOTEIO, .retry = ERR_LATER, .fault = CAMERA_FAULT_OTHER},
    {"505", 505, "", .code = -EREMOTEIO, .retry = ERR_NEVER, .fault = CAMERA_FAULT_OTHER},
    {"408", 408, "", .code = -EBUSY, .retry = ERR_LATER, .fault = CAMERA_FAULT_BUSY},
};

static void every_answer_is_judged_as_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct judge_case *t = &cases[i];
        struct camera cam = test_camera("porch", "http");
        cam.user = t->user ? "admin" : "";
        struct camera_answer a = {
            .shown = "http://porch/x",
            .status = t->status,
            .body = t->body,
            .size = t->size ? t->size : strlen(t->body),
            .retry_after_s = -1,
            .login_sent = t->login_sent,
            .offers_basic = t->offers_basic,
            .offers_digest = t->offers_digest,
            .redirects = t->redirects,
        };
        struct err e = {0};
        enum camera_fault fault = CAMERA_FAULT_COUNT;
        int r = camera_judge(&cam, &a, &fault, &e);
        if (r != t->code || fault != (t->code ? t->fault : CAMERA_FAULT_NONE) ||
            (t->code && (e.retry != t->retry || e.code != t->code)) ||
            (t->words && !strstr(e.text, t->words)) ||
            (t->code && !text_starts_with(e.text, "http://porch/x: ")))
            fail_msg("%s: %d, %s, %s: %s", t->name, r, err_retry_name(e.retry),
                     camera_fault_names[fault], e.text);
        for (const char *p = e.text; *p; p++)
            assert_true((unsigned char)*p >= 32);
    }
}

static void a_picture_over_the_cameras_limit_is_refused_for_good(void **state)
{
    (void)state;
    struct camera cam = test_camera("porch", "http");
    cam.size_max = 100;
    struct camera_answer a = {
        .status = 200, .body = tiny_jpeg, .size = sizeof(tiny_jpeg), .retry_after_s = -1};
    struct err e = {0};
    enum camera_fault fault;
    assert_int_equal(camera_judge(&cam, &a, &fault, &e), -EFBIG);
    assert_int_equal(e.retry, ERR_NEVER);
    assert_int_equal(fault, CAMERA_FAULT_NOT_PICTURE);
}

static void foscams_page_of_the_old_command_gets_a_hint(void **state)
{
    (void)state;
    struct camera cam = test_camera("porch", "foscam");
    cam.command = "snapPicture";
    static const char page[] = "<html><body><img src=\"../snapPic/Snap_1.jpg\"/></body></html>";
    struct camera_answer a = {
        .status = 200, .body = page, .size = sizeof(page) - 1, .retry_after_s = -1};
    struct err e = {0};
    enum camera_fault fault;
    assert_int_equal(camera_judge(&cam, &a, &fault, &e), -EINVAL);
    assert_non_null(strstr(e.text, "snapPicture2"));
}

static void without_an_err_the_judgement_is_the_same(void **state)
{
    (void)state;
    struct camera cam = test_camera("porch", "http");
    struct camera_answer a = {.status = 404, .body = "", .retry_after_s = -1};
    enum camera_fault fault;
    assert_int_equal(camera_judge(&cam, &a, &fault, NULL), -ENOENT);
}

static void every_kind_fault_and_state_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < CAMERA_FAULT_COUNT; i++)
        assert_non_null(camera_fault_names[i]);
    for (int i = 0; i < CAMERA_STATE_COUNT; i++)
        assert_non_null(camera_state_names[i]);
    for (const struct camera_kind *const *k = camera_kind_all(); *k; k++) {
        assert_non_null((*k)->help);
        assert_non_null((*k)->validate);
        assert_non_null((*k)->request);
        assert_ptr_equal(camera_kind_find((*k)->name), *k);
        for (const struct camera_kind *const *other = camera_kind_all(); *other != *k; other++)
            assert_string_not_equal((*other)->name, (*k)->name);
    }
    assert_null(camera_kind_find("no such kind"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_is_judged_as_the_table_says),
        cmocka_unit_test(a_picture_over_the_cameras_limit_is_refused_for_good),
        cmocka_unit_test(foscams_page_of_the_old_command_gets_a_hint),
        cmocka_unit_test(without_an_err_the_judgement_is_the_same),
        cmocka_unit_test(every_kind_fault_and_state_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
