#include "../test.h"

#include <errno.h>

#include "base/mem.h"
#include "sim/sim_ftp.h"

static void takes_a_reply_when_it_is_whole(void **state UNUSED)
{
    static const struct {
        const char *bytes;
        long used;
        int code;
        const char *text;
    } cases[] = {
        {"", 0, 0, ""},
        {"220 read", 0, 0, ""},
        {"220 ready\r\n", 11, 220, "220 ready"},
        {"220 ready\n", 10, 220, "220 ready"},
        {"226\r\n", 5, 226, "226"},
        {"226 done\r\n221 bye\r\n", 10, 226, "226 done"},
        {"211-Features:\r\n SIZE\r\n", 0, 0, NULL},
        {"211-Features:\r\n SIZE\r\n211 End\r\n", 31, 211, "211 End"},
        /* Lines between may look like replies of another code, and like the first line. */
        {"220-hello\r\n230 no end\r\n220-nor this\r\n220 end\r\n", 46, 220, "220 end"},
        {"150 a\x01z\r\n", 9, 150, "150 a\\x01z"},
        {"HTTP/1.1 400 Bad Request\r\n", -EPROTO, 0, NULL},
        {"2x0 ready\r\n", -EPROTO, 0, NULL},
        {"99 ready\r\n", -EPROTO, 0, NULL},
        {"220_ready\r\n", -EPROTO, 0, NULL},
        {"\r\n", -EPROTO, 0, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sim_ftp_reply reply;
        /* A copy without an end, so that a sanitizer sees a read beyond it. */
        size_t size = strlen(cases[i].bytes);
        AUTO_FREE char *bytes = size ? xmemdup(cases[i].bytes, size) : NULL;
        long used = sim_ftp_parse_reply(size ? bytes : "", size, &reply);
        if (used != cases[i].used || reply.code != cases[i].code)
            CASE_FAILS("\"%s\": took %ld, code %d", cases[i].bytes, used, reply.code);
        if (cases[i].text && used > 0)
            test_expect_text("text", reply.text, cases[i].text);
    }
}

static void finds_the_address_in_227(void **state UNUSED)
{
    static const struct {
        const char *text;
        int code;
        const char *host;
        int port;
    } cases[] = {
        {"227 Entering Passive Mode (127,0,0,1,200,13)", 0, "127.0.0.1", 51213},
        {"227 Entering passive mode (10,1,2,3,4,5).", 0, "10.1.2.3", 1029},
        {"227 =192,168,1,9,255,255", 0, "192.168.1.9", 65535},
        {"227 (127,0,0,1,0,0)", -EPROTO, NULL, 0},
        {"227 (127,0,0,1,200)", -EPROTO, NULL, 0},
        {"227 (127,0,0,256,200,13)", -EPROTO, NULL, 0},
        {"227 (127.0.0.1.200.13)", -EPROTO, NULL, 0},
        {"227", -EPROTO, NULL, 0},
        {"", -EPROTO, NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char host[16] = "";
        uint16_t port = 0;
        int r = sim_ftp_parse_passive(cases[i].text, host, &port);
        if (r != cases[i].code || (r == 0 && port != cases[i].port))
            CASE_FAILS("\"%s\": %d, port %d", cases[i].text, r, port);
        if (r == 0)
            test_expect_text(cases[i].text, host, cases[i].host);
    }
}

static void finds_the_port_in_229(void **state UNUSED)
{
    static const struct {
        const char *text;
        int code;
        int port;
    } cases[] = {
        {"229 Entering extended passive mode (|||51213|).", 0, 51213},
        {"229 (!!!1!)", 0, 1},
        {"229 (|||65536|)", -EPROTO, 0},
        {"229 (|||0|)", -EPROTO, 0},
        {"229 (|||51213)", -EPROTO, 0},
        {"229 (||51213|)", -EPROTO, 0},
        {"229 (", -EPROTO, 0},
        {"229", -EPROTO, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint16_t port = 0;
        int r = sim_ftp_parse_extended(cases[i].text, &port);
        if (r != cases[i].code || (r == 0 && port != cases[i].port))
            CASE_FAILS("\"%s\": %d, port %d", cases[i].text, r, port);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_reply_when_it_is_whole),
        cmocka_unit_test(finds_the_address_in_227),
        cmocka_unit_test(finds_the_port_in_229),
    };
    return RUN_TESTS(tests);
}
