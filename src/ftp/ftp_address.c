#include "ftp/ftp_address.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/text.h"

void ftp_address_normalise(union ftp_address *a)
{
    if (a->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
        return;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = a->v6.sin6_port};
    memcpy(&v4.sin_addr, a->v6.sin6_addr.s6_addr + 12, sizeof(v4.sin_addr));
    a->v4 = v4;
}

socklen_t ftp_address_size(const union ftp_address *a)
{
    return a->any.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}

int ftp_address_port(const union ftp_address *a)
{
    return ntohs(a->any.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
}

void ftp_address_set_port(union ftp_address *a, int port)
{
    in_port_t p = htons((uint16_t)port);
    if (a->any.sa_family == AF_INET6)
        a->v6.sin6_port = p;
    else
        a->v4.sin_port = p;
}

bool ftp_address_same_host(const union ftp_address *a, const union ftp_address *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET6)
        return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
    return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
}

bool ftp_address_is_near(const union ftp_address *a)
{
    if (a->any.sa_family == AF_INET6) {
        const uint8_t *b = a->v6.sin6_addr.s6_addr;
        return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr) || (b[0] & 0xfe) == 0xfc ||
               (b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
    }
    uint32_t h = ntohl(a->v4.sin_addr.s_addr);
    return h >> 24 == 127 || h >> 24 == 10 || h >> 20 == 0xac1 || h >> 16 == 0xc0a8 ||
           h >> 16 == 0xa9fe;
}

const char *ftp_address_host(const union ftp_address *a, char buf[FTP_ADDRESS_TEXT_MAX])
{
    const void *host = a->any.sa_family == AF_INET6 ? (const void *)&a->v6.sin6_addr
                                                    : (const void *)&a->v4.sin_addr;
    if (!inet_ntop(a->any.sa_family, host, buf, FTP_ADDRESS_TEXT_MAX))
        (void)text_copy(buf, FTP_ADDRESS_TEXT_MAX, "?"); /* fits; no other family comes here */
    return buf;
}

const char *ftp_address_text(const union ftp_address *a, char buf[FTP_ADDRESS_TEXT_MAX])
{
    char host[FTP_ADDRESS_TEXT_MAX];
    bool v6 = a->any.sa_family == AF_INET6;
    ftp_address_host(a, host);
    (void)text_format(buf, FTP_ADDRESS_TEXT_MAX, v6 ? "[%s]:%d" : "%s:%d", host,
                      ftp_address_port(a)); /* fits */
    return buf;
}
