/* PASV, EPSV, PORT, EPRT. The server connects only to the address that the control connection comes
 * from, and to no port of a system service: else anybody could make us knock at doors for him
 * (RFC 2577). */

#include <arpa/inet.h>
#include <string.h>

#include "base/parse.h"
#include "ftp/ftp_engine_internal.h"

/* 1 and 2 are the numbers of RFC 2428. */
static int protocol(const struct ftp_engine *en)
{
    return en->peer_is_ipv6 ? 2 : 1;
}

static enum ftp_ask refuse_protocol(struct ftp_engine *en)
{
    return ftp_reply(en, 522, "Network protocol not supported, use (%d).", protocol(en));
}

static enum ftp_ask listen_for(struct ftp_engine *en, bool extended)
{
    en->data_mode = FTP_DATA_NONE; /* one that was asked for before is over */
    en->listen_extended = extended;
    en->state = ENGINE_LISTEN;
    return FTP_ASK_LISTEN;
}

static bool refused_after_epsv_all(struct ftp_engine *en)
{
    if (en->epsv_only)
        (void)ftp_reply(en, 503, "After EPSV ALL only EPSV is accepted.");
    return en->epsv_only;
}

enum ftp_ask ftp_run_pasv(struct ftp_engine *en, struct argument a UNUSED)
{
    if (refused_after_epsv_all(en))
        return FTP_ASK_NOTHING;
    if (en->peer_is_ipv6)
        return ftp_reply(en, 522, "PASV cannot name an IPv6 address, use EPSV.");
    return listen_for(en, false);
}

enum ftp_ask ftp_run_epsv(struct ftp_engine *en, struct argument a)
{
    if (a.len == 3 && strncasecmp(a.text, "ALL", 3) == 0) {
        en->epsv_only = true;
        return ftp_reply(en, 200, "Only EPSV from now on.");
    }
    int64_t asked = protocol(en);
    if (a.len > 0 &&
        (parse_int64(a.text, a.len, 0, INT32_MAX, &asked) < 0 || asked != protocol(en)))
        return refuse_protocol(en);
    return listen_for(en, true);
}

/* "::" and 0.0.0.0 are what a client says that does not know its own address (lftp over IPv6). */
static enum ftp_ask use_active(struct ftp_engine *en, const uint8_t *address, size_t size,
                               int64_t port)
{
    static const uint8_t unspecified[16];
    if (memcmp(address, en->peer, size) != 0 && memcmp(address, unspecified, size) != 0)
        return ftp_reply(en, 501, "Data goes to your own address only; passive mode avoids this.");
    if (port < en->active_port_min)
        return ftp_reply(en, 504, "Ports below %d are refused.", en->active_port_min);
    en->active_port = (uint16_t)port;
    en->data_mode = FTP_DATA_ACTIVE;
    return ftp_reply(en, 200, "%s command successful.", en->verb->name);
}

static enum ftp_ask refuse_active(struct ftp_engine *en)
{
    return ftp_reply(en, 502, "Active mode is switched off here, use passive mode.");
}

enum ftp_ask ftp_run_port(struct ftp_engine *en, struct argument a)
{
    if (refused_after_epsv_all(en))
        return FTP_ASK_NOTHING;
    if (!en->active_allowed)
        return refuse_active(en);
    if (en->peer_is_ipv6)
        return ftp_reply(en, 522, "PORT cannot name an IPv6 address, use EPRT.");
    uint8_t numbers[6];
    const char *text = a.text, *end = a.text + a.len;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        const char *stop = i + 1 < ARRAY_LEN(numbers) ? comma : end;
        int64_t n;
        if (!stop || parse_int64(text, (size_t)(stop - text), 0, 255, &n) < 0)
            return ftp_reply(en, 501, "Say PORT h1,h2,h3,h4,p1,p2.");
        numbers[i] = (uint8_t)n;
        text = stop + (stop < end);
    }
    return use_active(en, numbers, 4, numbers[4] << 8 | numbers[5]);
}

/* The next field of "|1|10.0.0.7|5001|", without its end. */
static bool next_field(struct argument *rest, char delimiter, struct argument *ret)
{
    const char *end = memchr(rest->text, delimiter, rest->len);
    if (!end)
        return false;
    *ret = (struct argument){rest->text, (size_t)(end - rest->text)};
    rest->text += ret->len + 1;
    rest->len -= ret->len + 1;
    return true;
}

enum ftp_ask ftp_run_eprt(struct ftp_engine *en, struct argument a)
{
    if (refused_after_epsv_all(en))
        return FTP_ASK_NOTHING;
    if (!en->active_allowed)
        return refuse_active(en);
    char delimiter = a.text[0];
    struct argument rest = {a.text + 1, a.len - 1}, number, host, port_text;
    int64_t asked, port;
    if (delimiter < 33 || delimiter > 126 || !next_field(&rest, delimiter, &number) ||
        !next_field(&rest, delimiter, &host) || !next_field(&rest, delimiter, &port_text) ||
        rest.len > 0 || parse_int64(number.text, number.len, 0, INT32_MAX, &asked) < 0 ||
        parse_int64(port_text.text, port_text.len, 1, 65535, &port) < 0)
        return ftp_reply(en, 501, "Say EPRT %s.", en->verb->syntax);
    if (asked != protocol(en))
        return refuse_protocol(en);
    char text[INET6_ADDRSTRLEN];
    uint8_t address[16];
    if (host.len >= sizeof(text))
        return ftp_reply(en, 501, "That is no address.");
    memcpy(text, host.text, host.len);
    text[host.len] = '\0';
    if (inet_pton(en->peer_is_ipv6 ? AF_INET6 : AF_INET, text, address) != 1)
        return ftp_reply(en, 501, "That is no address.");
    return use_active(en, address, en->peer_is_ipv6 ? 16 : 4, port);
}
