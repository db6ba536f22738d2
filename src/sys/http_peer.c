#include "sys/http_peer.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/text.h"

static bool is_loopback(const struct sockaddr *a);
static bool speaks_for_others(const struct http_request *req);
static void take_forwarded(struct http_request *req, const struct host_list *trusted);
static bool read_address(const char *item, size_t len, struct sockaddr_storage *ret);
static void write_address(const struct sockaddr *a, char ret[INET6_ADDRSTRLEN]);

void http_peer_find(struct http_request *req, const struct sockaddr *socket_peer, bool tls,
                    const struct host_list *trusted)
{
    struct http_peer *peer = &req->peer;
    *peer = (struct http_peer){.secure = tls};
    write_address(socket_peer, peer->address);
    peer->trusted = trusted && host_list_has_address(trusted, socket_peer);
    peer->loopback = is_loopback(socket_peer) && !peer->trusted && !speaks_for_others(req);
    if (!peer->trusted)
        return;
    const char *scheme = http_request_header(req, "X-Forwarded-Proto");
    peer->secure = tls || (scheme && text_equal_nocase(scheme, "https"));
    take_forwarded(req, trusted);
}

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static bool speaks_for_others(const struct http_request *req)
{
    static const char *const names[] = {"Forwarded", "X-Forwarded-For", "X-Real-IP", "Via",
                                        "X-Forwarded-Host"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (http_request_header(req, names[i]))
            return true;
    return false;
}

/* Each proxy appends the address that it was asked from. So the last one that is no proxy of ours
 * is the client; what stands before it is the client's own word. */
static void take_forwarded(struct http_request *req, const struct host_list *trusted)
{
    for (size_t i = req->header_count; i-- > 0;) {
        if (!text_equal_nocase(req->headers[i].name, "X-Forwarded-For"))
            continue;
        const char *list = req->headers[i].value;
        size_t end = strlen(list);
        while (end > 0) {
            size_t begin = end;
            while (begin > 0 && list[begin - 1] != ',')
                begin--;
            struct sockaddr_storage address;
            if (!read_address(list + begin, end - begin, &address))
                return;
            write_address((struct sockaddr *)&address, req->peer.address);
            if (!host_list_has_address(trusted, (struct sockaddr *)&address))
                return;
            end = begin > 0 ? begin - 1 : 0;
        }
    }
}

/* "192.0.2.7", "2001:db8::1", and what some proxies write: "192.0.2.7:5555", "[2001:db8::1]:5555".
 */
static bool read_address(const char *item, size_t len, struct sockaddr_storage *ret)
{
    char text[INET6_ADDRSTRLEN + 10];
    while (len > 0 && (*item == ' ' || *item == '\t')) {
        item++;
        len--;
    }
    while (len > 0 && (item[len - 1] == ' ' || item[len - 1] == '\t'))
        len--;
    if (len >= sizeof(text))
        return false;
    memcpy(text, item, len);
    text[len] = '\0';
    char *start = text;
    char *colon = strchr(text, ':');
    if (text[0] == '[') {
        start++;
        start[strcspn(start, "]")] = '\0';
    } else if (colon && !strchr(colon + 1, ':')) {
        *colon = '\0';
    }
    *ret = (struct sockaddr_storage){0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
    if (inet_pton(AF_INET, start, &v4->sin_addr) == 1)
        v4->sin_family = AF_INET;
    else if (inet_pton(AF_INET6, start, &v6->sin6_addr) == 1)
        v6->sin6_family = AF_INET6;
    return ret->ss_family != AF_UNSPEC;
}

static void write_address(const struct sockaddr *a, char ret[INET6_ADDRSTRLEN])
{
    const void *bytes = a->sa_family == AF_INET
                            ? (const void *)&((const struct sockaddr_in *)a)->sin_addr
                            : (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr;
    if (a->sa_family != AF_INET && a->sa_family != AF_INET6)
        return;
    (void)inet_ntop(a->sa_family, bytes, ret, INET6_ADDRSTRLEN); /* fits */
}
