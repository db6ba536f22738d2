#include "../test.h"

#include "sys/hash.h"

#include "base/text.h"

static void knows_the_published_digests(void **state UNUSED)
{
    char md5[HASH_MD5_HEX], sha[HASH_SHA256_HEX];
    hash_md5_hex("", 0, md5); /* RFC 1321, appendix A.5 */
    assert_string_equal(md5, "d41d8cd98f00b204e9800998ecf8427e");
    hash_md5_hex("message digest", 14, md5);
    assert_string_equal(md5, "f96b697d7cb7938d525a2f31aaf161d0");
    hash_sha256_hex("abc", 3, sha); /* FIPS 180-2, appendix B.1 */
    assert_string_equal(sha, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(hash_64("abc", 3) == UINT64_C(0xba7816bf8f01cfea));
}

static void knows_the_published_sha1(void **state UNUSED)
{
    uint8_t raw[HASH_SHA1_BYTES];
    char hex[2 * HASH_SHA1_BYTES + 1];
    hash_sha1("abc", 3, raw);
    text_hex(raw, sizeof(raw), hex);
    assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
}

/* RFC 4231, cases 1, 2, and 6: a key longer than a block. */
static void knows_the_published_hmacs(void **state UNUSED)
{
    char long_key[131], first_key[20];
    memset(long_key, 0xaa, sizeof(long_key));
    memset(first_key, 0x0b, sizeof(first_key));
    const struct {
        const char *key;
        size_t key_size;
        const char *text, *wanted;
    } cases[] = {
        {first_key, sizeof(first_key), "Hi There",
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"Jefe", 4, "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {long_key, sizeof(long_key), "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t raw[HASH_SHA256_BYTES];
        char hex[HASH_SHA256_HEX];
        hash_hmac_sha256(cases[i].key, cases[i].key_size, cases[i].text, strlen(cases[i].text),
                         raw);
        text_hex(raw, sizeof(raw), hex);
        assert_string_equal(hex, cases[i].wanted);
    }
    uint8_t key[HASH_SHA256_BYTES] = {1}, out[HASH_SHA256_BYTES];
    hash_hmac_sha256(key, sizeof(key), "x", 1, out);
    hash_hmac_sha256(key, sizeof(key), "x", 1, key); /* in place */
    assert_memory_equal(key, out, sizeof(key));
}

static void streams_in_pieces(void **state UNUSED)
{
    char sha[HASH_SHA256_HEX];
    struct hash_stream *h = hash_stream_new();
    hash_stream_update(h, "a", 1);
    hash_stream_update(h, "", 0);
    hash_stream_update(h, "bc", 2);
    hash_stream_end(h, sha);
    assert_string_equal(sha, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void is_random(void **state UNUSED)
{
    unsigned char a[32] = {0}, b[32] = {0};
    hash_random(a, sizeof(a));
    hash_random(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_published_digests),
        cmocka_unit_test(knows_the_published_sha1),
        cmocka_unit_test(knows_the_published_hmacs),
        cmocka_unit_test(streams_in_pieces),
        cmocka_unit_test(is_random),
    };
    return RUN_TESTS(tests);
}
