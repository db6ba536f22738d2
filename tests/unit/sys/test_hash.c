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
        cmocka_unit_test(streams_in_pieces),
        cmocka_unit_test(is_random),
    };
    return RUN_TESTS(tests);
}
