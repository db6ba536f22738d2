#include "../test.h"

#include <errno.h>

#include "../storage/test_key.h"
#include "base/text.h"
#include "sys/sign.h"

static void signs_as_openssl_on_the_command_line_does(void **state)
{
    /* printf header.claims | openssl dgst -sha256 -sign key.pem */
    static const char wanted[] = "78642c9b250910b3e5a0578e869e062ba652dcfcdc13a18b47eb4138f1c88a7b"
                                 "41f4b6c506ccd00bab40d4c5759ea3c46c9612c0b7efa00b8625494508957b3c"
                                 "69da05882d25e29f5957cc11d396cfaba1d3ec365e6abb588964e5a28633a0b7"
                                 "8af3ea7dd550b18fbabcfc610ff17ac95fe47b9d19a1809ee27586ba53bdd4be"
                                 "7abd5a8382b52c76dd483d1029fdea746bd1a38428644e161e568445e46c23e7"
                                 "79a9c86627c96d9774c9d367bdc5bd254b0599325de264c72815028d977a1785"
                                 "b3d6e62142b9281d95d89f246be6c198c45fadd731662cc87921bf46b47ed828"
                                 "507fd3337d6882b389ae76130e860b9931e0951e42c5f92321fa4293a699a2ce";
    uint8_t signature[SIGN_RSA_MAX];
    size_t size = 0;
    char hex[2 * SIGN_RSA_MAX + 1];
    struct err e = {0};
    (void)state;
    assert_int_equal(sign_rs256(test_key_pem, "header.claims", 13, signature, &size, &e), 0);
    assert_int_equal(size, 256);
    text_hex(signature, size, hex);
    assert_string_equal(hex, wanted);
}

static void says_no_to_what_is_no_rsa_key_and_shows_none_of_it(void **state)
{
    static const char *const bad[] = {
        "",
        "canary-9d1f",
        "-----BEGIN PRIVATE KEY-----\ncanary-9d1f\n-----END PRIVATE KEY-----\n",
        /* P-256 */
        "-----BEGIN PRIVATE KEY-----\n"
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgLLh5q8tFeqUTEQq0\n"
        "XHUBXb2NbV0WMFv1yyCr7+HZAAKhRANCAAQGhdbPnmCn0DzwGukSOj/K8+AXgW73\n"
        "+MxEDKtMQEFLlWDDHHdUHAsTO3lN+iNg3svGZPZCsxNu1ttTosphhxmd\n"
        "-----END PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
        "DEK-Info: AES-128-CBC,00000000000000000000000000000000\n\ncanary9d\n"
        "-----END RSA PRIVATE KEY-----\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint8_t signature[SIGN_RSA_MAX];
        size_t size;
        struct err e = {0};
        if (sign_rs256(bad[i], "x", 1, signature, &size, &e) != -EINVAL || !*e.text ||
            strstr(e.text, "canary"))
            CASE_FAILS("key %zu: %d %s", i, e.code, e.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_as_openssl_on_the_command_line_does),
        cmocka_unit_test(says_no_to_what_is_no_rsa_key_and_shows_none_of_it),
    };
    return RUN_TESTS(tests);
}
