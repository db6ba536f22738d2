/* The examples that AWS publishes (S3 API reference, "Signature Calculations: Transferring Payload
 * in a Single Chunk"; IAM User Guide) and the corners that they leave out. botocore's view of many
 * more is in test_aws_botocore.py. */

#include "aws/sigv4.h"

#include <errno.h>

#include "../test.h"
#include "base/text.h"

static const struct aws_credentials s3_example = {
    .access_key = "AKIAIOSFODNN7EXAMPLE",
    .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
};
static const struct aws_credentials iam_example = {
    .access_key = "AKIDEXAMPLE",
    .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
};

static struct wall_time at(const char *iso)
{
    struct wall_time t;
    assert_int_equal(wall_parse_iso(iso, &t), 0);
    return t;
}

static const char *lines(const char *const *headers, const char *begin)
{
    for (int i = 0; headers[i]; i++)
        if (text_starts_with(headers[i], begin))
            return headers[i] + strlen(begin);
    return NULL;
}

#define HEADERS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void the_published_examples_are_reproduced(void **state)
{
    (void)state;
    const struct {
        struct aws_request request;
        const struct aws_credentials *credentials;
        const char *time, *signature, *signed_headers, *url;
    } cases[] = {
        {{.method = "GET",
          .host = "examplebucket.s3.amazonaws.com",
          .path = "/test.txt",
          .headers = HEADERS("Range: bytes=0-9"),
          .region = "us-east-1",
          .service = "s3",
          .path_encoded_once = true},
         &s3_example,
         "2013-05-24T00:00:00Z",
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
         "host;range;x-amz-content-sha256;x-amz-date",
         "/test.txt"},
        {{.method = "PUT",
          .host = "examplebucket.s3.amazonaws.com",
          .path = "/test$file.text",
          .headers = HEADERS("Date: Fri, 24 May 2013 00:00:00 GMT",
                             "x-amz-storage-class: REDUCED_REDUNDANCY"),
          .body = "Welcome to Amazon S3.",
          .body_size = 21,
          .region = "us-east-1",
          .service = "s3",
          .path_encoded_once = true},
         &s3_example,
         "2013-05-24T00:00:00Z",
         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
         "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
         "/test%24file.text"},
        {{.method = "GET",
          .host = "examplebucket.s3.amazonaws.com",
          .path = "/",
          .query = HEADERS("lifecycle"),
          .region = "us-east-1",
          .service = "s3",
          .path_encoded_once = true},
         &s3_example,
         "2013-05-24T00:00:00Z",
         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
         "host;x-amz-content-sha256;x-amz-date",
         "/?lifecycle="},
        {{.method = "GET",
          .host = "examplebucket.s3.amazonaws.com",
          .path = "/",
          .query = HEADERS("prefix=J", "max-keys=2"),
          .region = "us-east-1",
          .service = "s3",
          .path_encoded_once = true},
         &s3_example,
         "2013-05-24T00:00:00Z",
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
         "host;x-amz-content-sha256;x-amz-date",
         "/?max-keys=2&prefix=J"},
        {{.method = "GET",
          .host = "iam.amazonaws.com",
          .path = "/",
          .query = HEADERS("Version=2010-05-08", "Action=ListUsers"),
          .headers = HEADERS("Content-Type: application/x-www-form-urlencoded; charset=utf-8"),
          .region = "us-east-1",
          .service = "iam"},
         &iam_example,
         "2015-08-30T12:36:00Z",
         "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
         "content-type;host;x-amz-date",
         "/?Action=ListUsers&Version=2010-05-08"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(aws_signed) s = {0};
        struct err e = {0};
        assert_int_equal(
            aws_sign(&cases[i].request, cases[i].credentials, at(cases[i].time), &s, &e), 0);
        const char *line = lines((const char *const *)s.headers, "Authorization: ");
        assert_non_null(line);
        char scope[64], wanted[512];
        assert_true(text_format(scope, sizeof(scope), "%.4s%.2s%.2s", cases[i].time,
                                cases[i].time + 5, cases[i].time + 8) > 0);
        assert_true(text_format(wanted, sizeof(wanted),
                                "AWS4-HMAC-SHA256 Credential=%s/%s/us-east-1/%s/aws4_request, "
                                "SignedHeaders=%s, Signature=%s",
                                cases[i].credentials->access_key, scope, cases[i].request.service,
                                cases[i].signed_headers, cases[i].signature) > 0);
        test_expect_text("authorization", line, wanted);
        test_expect_text("url", dynbuf_str(&s.url), cases[i].url);
        bool has_hash = lines((const char *const *)s.headers, "x-amz-content-sha256: ") != NULL;
        assert_int_equal(has_hash, cases[i].request.path_encoded_once);
    }
}

static void what_cannot_be_signed_is_refused(void **state)
{
    (void)state;
    const struct aws_request good = {
        .method = "GET", .host = "h", .path = "/", .region = "r", .service = "s3"};
    struct aws_request cases[] = {good, good, good, good, good, good, good};
    cases[0].path = "key";
    cases[1].path = "/a/../b";
    cases[2].path = "/a/.";
    cases[3].region = "";
    cases[4].headers = HEADERS("X-Empty:");
    cases[5].headers = HEADERS("no colon");
    cases[6].host = "";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(aws_signed) s = {0};
        struct err e = {0};
        if (aws_sign(&cases[i], &s3_example, at("2026-01-02T03:04:05Z"), &s, &e) != -EINVAL)
            CASE_FAILS("%zu", i);
        assert_int_equal(e.retry, ERR_NEVER);
    }
    char path[9000] = "/";
    memset(path + 1, 'x', sizeof(path) - 2);
    struct aws_request longer = good;
    longer.path = path;
    AUTO_DONE(aws_signed) s = {0};
    struct err e = {0};
    assert_int_equal(aws_sign(&longer, &s3_example, at("2026-01-02T03:04:05Z"), &s, &e), -ENOSPC);
    struct aws_request late = good;
    assert_int_equal(aws_sign(&late, &s3_example, wall_from_seconds(400000000000), &s, &e),
                     -EINVAL);
    assert_int_equal(e.retry, ERR_LATER);
}

static void dots_inside_names_are_no_parts(void **state)
{
    (void)state;
    static const char *const paths[] = {"/a..b/.c/d.", "/...", "//x", "/a/"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        AUTO_DONE(aws_signed) s = {0};
        struct aws_request r = {
            .method = "GET", .host = "h", .path = paths[i], .region = "r", .service = "s3"};
        assert_int_equal(aws_sign(&r, &s3_example, at("2026-01-02T03:04:05Z"), &s, NULL), 0);
        assert_string_equal(dynbuf_str(&s.url), paths[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_examples_are_reproduced),
        cmocka_unit_test(what_cannot_be_signed_is_refused),
        cmocka_unit_test(dots_inside_names_are_no_parts),
    };
    return RUN_TESTS(tests);
}
