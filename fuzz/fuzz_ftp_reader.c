/* Any bytes on a control connection. The first byte says in which pieces they come. Whatever the
 * pieces, the same lines come out; none is too long, and what waits is bounded. */

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/dynbuf.h"
#include "base/macros.h"
#include "base/mem.h"
#include "ftp/ftp_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes all whole lines, each with its length in front. */
static void drain(struct ftp_reader *r, struct dynbuf *out)
{
    for (;;) {
        bool aborts = ftp_reader_next_is(r, "ABOR");
        const char *line = NULL;
        size_t len = 0;
        int n = ftp_reader_next(r, &line, &len);
        if (n == 0) {
            assert(!aborts);
            return;
        }
        if (n < 0) {
            assert(n == -EMSGSIZE);
            (void)dynbuf_puts(out, "<too long>");
            continue;
        }
        assert(n == 1 && len <= FTP_LINE_MAX && line[len] == '\0');
        assert(!memchr(line, '\n', len));
        assert(len == 0 || line[len - 1] != '\r');
        assert(!aborts || len >= 4);
        (void)dynbuf_printf(out, "%zu:", len);
        (void)dynbuf_append(out, line, len);
    }
}

/* Without taking lines in between, as during a transfer, when `late`. */
static void read_all(const uint8_t *data, size_t size, size_t piece, bool late, struct dynbuf *out)
{
    struct ftp_reader r = {0};
    while (size > 0) {
        size_t n = ftp_reader_feed(&r, data, MIN(piece, size));
        assert(n <= size && r.used - r.taken <= FTP_AHEAD_MAX && r.room <= 2 * FTP_AHEAD_MAX);
        if (!late || n == 0)
            drain(&r, out);
        data += n;
        size -= n;
    }
    drain(&r, out);
    ftp_reader_clear(&r);
    assert(!r.bytes);
    ftp_reader_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t piece = data[0] ? data[0] : 1;
    AUTO_DONE(dynbuf) pieces;
    AUTO_DONE(dynbuf) whole;
    dynbuf_init(&pieces, 64 * 1024 * 1024); /* more than an input can make */
    dynbuf_init(&whole, 64 * 1024 * 1024);
    read_all(data + 1, size - 1, piece, false, &pieces);
    read_all(data + 1, size - 1, SIZE_MAX, true, &whole);
    assert(pieces.len == whole.len);
    assert(memcmp(dynbuf_str(&pieces), dynbuf_str(&whole), whole.len) == 0);
    return 0;
}
