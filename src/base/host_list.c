#include "base/host_list.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

#define V4_BITS 32
#define V6_BITS 128

/* IPv4 as ::ffff:a.b.c.d. */
struct network {
    struct in6_addr address;
    unsigned bits;
};

struct host_list {
    struct network *networks;
    size_t network_count;
    char **names;
    size_t name_count;
};

static int add_item(struct host_list *l, const char *item, struct err *e);
static bool read_address(const char *text, struct in6_addr *ret, unsigned *ret_bits);
static void map_v4(const struct in_addr *v4, struct in6_addr *ret);

int host_list_new(const char *const *items, struct host_list **ret, struct err *e)
{
    AUTO(host_list) l = xcalloc(1, sizeof(*l));
    for (; *items; items++) {
        int r = add_item(l, *items, e);
        if (r < 0)
            return r;
    }
    *ret = STEAL(l);
    return 0;
}

void host_list_free(struct host_list *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->name_count; i++)
        free(l->names[i]);
    free(l->names);
    free(l->networks);
    free(l);
}

static int refuse(const char *item, struct err *e)
{
    char shown[128];
    return err_set(e, -EINVAL, ERR_NEVER,
                   "\"%s\" is no name, address, network like 192.168.7.0/24, or the word private",
                   text_escape(item, strlen(item), shown, sizeof(shown)));
}

static void add_network(struct host_list *l, const struct in6_addr *address, unsigned bits)
{
    l->networks = xrealloc(l->networks, (l->network_count + 1) * sizeof(*l->networks));
    l->networks[l->network_count++] = (struct network){*address, bits};
}

/* An address, perhaps with the length of its network behind a slash. */
static int add_place(struct host_list *l, const char *item, struct err *e)
{
    const char *slash = strchr(item, '/');
    AUTO_FREE char *place = xstrndup(item, slash ? (size_t)(slash - item) : strlen(item));
    struct in6_addr address;
    unsigned bits;
    if (!read_address(place, &address, &bits))
        return refuse(item, e);
    int64_t length = bits;
    if (slash && parse_int64(slash + 1, strlen(slash + 1), 0, bits, &length) < 0)
        return refuse(item, e);
    add_network(l, &address, (unsigned)length + V6_BITS - bits);
    return 0;
}

/* Who routes nothing of it to the outside: RFC 1918, 3927, 4193, 4291, 1122. */
static void add_private(struct host_list *l)
{
    static const char *const networks[] = {
        "10.0.0.0/8",  "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
        "127.0.0.0/8", "fc00::/7",      "fe80::/10",      "::1"};
    for (size_t i = 0; i < ARRAY_LEN(networks); i++)
        (void)add_place(l, networks[i], NULL); /* these can be read */
}

static int add_item(struct host_list *l, const char *item, struct err *e)
{
    static const char in_names[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789.-_";
    if (text_equal_nocase(item, "private")) {
        add_private(l);
        return 0;
    }
    /* What looks like an address and is none is a slip, and no name. */
    if (strpbrk(item, ":/") || strspn(item, "0123456789.") == strlen(item))
        return add_place(l, item, e);
    if (strspn(item, in_names) != strlen(item))
        return refuse(item, e);
    l->names = xrealloc(l->names, (l->name_count + 1) * sizeof(*l->names));
    l->names[l->name_count++] = xstrdup(item);
    return 0;
}

static bool read_address(const char *text, struct in6_addr *ret, unsigned *ret_bits)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        map_v4(&v4, ret);
        *ret_bits = V4_BITS;
        return true;
    }
    *ret_bits = V6_BITS;
    return inet_pton(AF_INET6, text, ret) == 1;
}

static void map_v4(const struct in_addr *v4, struct in6_addr *ret)
{
    *ret = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(&ret->s6_addr[12], v4, sizeof(*v4));
}

static bool is_in(const struct in6_addr *a, const struct network *n)
{
    unsigned bytes = n->bits / 8, rest = n->bits % 8;
    if (memcmp(a, &n->address, bytes) != 0)
        return false;
    return !rest ||
           ((a->s6_addr[bytes] ^ n->address.s6_addr[bytes]) & (0xff00 >> rest) & 0xff) == 0;
}

static bool has(const struct host_list *l, const struct in6_addr *a)
{
    for (size_t i = 0; i < l->network_count; i++)
        if (is_in(a, &l->networks[i]))
            return true;
    return false;
}

bool host_list_has(const struct host_list *l, const char *host)
{
    struct in6_addr address;
    unsigned bits;
    if (read_address(host, &address, &bits))
        return has(l, &address);
    for (size_t i = 0; i < l->name_count; i++)
        if (text_equal_nocase(l->names[i], host))
            return true;
    return false;
}

bool host_list_has_address(const struct host_list *l, const struct sockaddr *address)
{
    struct in6_addr a;
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof(v6));
        return has(l, &v6.sin6_addr);
    }
    if (address->sa_family != AF_INET)
        return false;
    struct sockaddr_in v4;
    memcpy(&v4, address, sizeof(v4));
    map_v4(&v4.sin_addr, &a);
    return has(l, &a);
}

bool host_list_has_names(const struct host_list *l)
{
    return l->name_count > 0;
}
