#include "ftp/ftp_carry.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "ftp/ftp_engine.h"

/* ---- what the client hears ---- */

/* What does not go out at once is left to the owner. */
static size_t say(struct ftp_carry *c, const struct dynbuf *text)
{
    ssize_t n = send(c->control_fd, text->data, text->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 ? 0 : (size_t)n;
}

int ftp_carry_say_ready(struct ftp_carry *c)
{
    c->end = FTP_CARRY_BACK;
    c->ready_said = say(c, &c->ready);
    return c->ready_said == c->ready.len ? 0 : -EAGAIN;
}

/* Not to one that has been asked back: then the owner has something to say before it, or does not
 * know any more whether there is anybody to hear it. */
void ftp_carry_say_stored(struct ftp_carry *c, const struct ftp_file *file)
{
    if (atomic_load(&c->recall))
        return;
    ftp_engine_put_stored(&c->stored, file);
    c->stored_said = say(c, &c->stored);
}

/* ---- bytes ---- */

static int take(struct ftp_carry *c, struct ftp_upload *u, const uint8_t *bytes, size_t size,
                struct err *e)
{
    if (c->bytes == 0)
        c->begins_jpeg = size >= 2 && bytes[0] == 0xff && bytes[1] == 0xd8;
    c->bytes += (int64_t)size;
    return ftp_upload_write(u, bytes, size, e);
}

int ftp_carry_receive(struct ftp_carry *c, struct ftp_upload *u, void *room, struct err *e)
{
    c->end = FTP_CARRY_BACK;
    while (c->bytes < FTP_CARRY_BYTES_MAX && !atomic_load(&c->recall)) {
        ssize_t n = recv(c->data_fd, room, FTP_CARRY_ROOM, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            c->end = FTP_CARRY_WAITS;
            break;
        }
        if (n < 0) {
            c->end = FTP_CARRY_CUT;
            return c->error = -errno;
        }
        c->end = n == 0 ? FTP_CARRY_ENDED : FTP_CARRY_BACK;
        if (n == 0)
            return 0;
        int r = take(c, u, room, (size_t)n, e);
        if (r < 0) {
            c->end = FTP_CARRY_FAILED;
            return r;
        }
    }
    return -EAGAIN;
}
