#include "ftp/ftp_config.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/host_list.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "ftp/ftp_account.h"

#define FIELD(name) offsetof(struct ftp_config, name)
#define ACCOUNT(name) offsetof(struct ftp_account_config, name)
#define TEXT_OF(number) TEXT_OF_(number)
#define TEXT_OF_(number) #number
#define MINUTE 60e3
#define HOUR (60 * MINUTE)
#define MB 1048576.0
#define TB (MB * 1048576)
/* The predecessor's key of its configuration file. */
#define THEIRS (CFG_COMPAT | CFG_ENV_NAME)

enum {
    BANNER_MAX = 200,       /* with "220 " and the line's end well below what old clients read */
    PASSIVE_PORTS_FEW = 16, /* a port is taken for as long as an upload, a second or so */
    PORT_FTP = 21,          /* RFC 959 */
    PORT_FTPS = 990,        /* IANA: ftp protocol, control, over TLS */
    PORT_FTP_UNPRIVILEGED = 2121, /* what such servers usually take */
    PORT_FTPS_UNPRIVILEGED = 2990,
};

const char *const ftp_enabled_names[FTP_ENABLED_COUNT + 1] = {"auto", "yes", "no", NULL};
const char *const ftp_tls_names[FTP_TLS_COUNT + 1] = {"auto", "off", "optional", "required", NULL};

static int check_listen(const void *value, char *why, size_t why_size);
static int check_folders(const void *value, char *why, size_t why_size);
static int check_banner(const void *value, char *why, size_t why_size);
static int check_ipv4(const void *value, char *why, size_t why_size);
static int check_rights(const void *value, char *why, size_t why_size);
static int check_hosts(const void *value, char *why, size_t why_size);
static int check_directory(const void *value, char *why, size_t why_size);
static void check_section(const void *values, const char *instance, struct cfg_faults *faults);

static const struct cfg_key keys[] = {
    {.name = "enabled",
     .type = CFG_CHOICE,
     .offset = FIELD(enabled),
     .fallback = "auto",
     .choices = ftp_enabled_names,
     .flags = CFG_EARLY,
     .env = "RUN_FTP_SERVER",
     .help = "Whether cameras can push pictures by FTP; auto = when there is an account",
     .doc = "An account is `user` with `password` here, or a section [ftp_account:NAME]. There is "
            "no default account and no anonymous one: without a good password nobody gets in, and "
            "the server does not even listen."},

    /* ---- where it listens ---- */
    {.name = "listen",
     .type = CFG_STRING,
     .offset = FIELD(listen),
     .validate = check_listen,
     .help = "Addresses to listen on, with or without a port, separated by commas",
     .doc = "IPv4 and IPv6 addresses (`192.168.7.2`, `192.168.7.2:2121`, `[::1]:2121`), "
            "`localhost`, or `*` for all addresses. Empty means 127.0.0.1, which no camera "
            "reaches: nothing listens beyond this machine unless told to. Without a port it is "
            "21 when the program may use ports below 1024 (as root, with CAP_NET_BIND_SERVICE, "
            "or by the container's settings), else 2121. Sockets that systemd hands over "
            "(`FileDescriptorName=ftp` or `ftps`) go before `listen` and `tls_listen`."},
    {.name = "port",
     .type = CFG_INT,
     .offset = FIELD(port),
     .min = 0,
     .max = 65535,
     .flags = THEIRS,
     .help = "The predecessor's key: the port; without `listen` on all addresses, as it listens"},
    {.name = "tls_listen",
     .type = CFG_STRING,
     .offset = FIELD(tls_listen),
     .validate = check_listen,
     .help = "The same for connections that begin with TLS (implicit FTPS); empty = none",
     .doc = "For cameras that know nothing but port 990. The port is 990 unless given, 2990 "
            "without the right to ports below 1024. Other cameras ask for TLS on the ordinary "
            "port."},
    {.name = "passive_port_min",
     .type = CFG_INT,
     .offset = FIELD(passive_port_min),
     .fallback = "0",
     .min = 0,
     .max = 65535,
     .help = "Lowest port for data connections that cameras open (PASV, EPSV); 0 = 49152 to 65535",
     .doc = "Only needed where a firewall or a container's port list must know them. They are "
            "picked at random, so that nobody guesses the next one, and each is taken for as long "
            "as an upload: leave room for all uploads at once, for example 50000 to 50199."},
    {.name = "passive_port_max",
     .type = CFG_INT,
     .offset = FIELD(passive_port_max),
     .fallback = "0",
     .min = 0,
     .max = 65535,
     .help = "Highest port for them"},
    {.name = "masquerade",
     .type = CFG_STRING,
     .offset = FIELD(masquerade),
     .env = "FTP_MASQUERADE",
     .validate = check_ipv4,
     .help = "IPv4 address that cameras from outside are told for data connections",
     .doc = "For a server behind a router that forwards its ports: the outside address. Peers from "
            "private networks are told the address that they came to, as all "
            "are when this is empty. EPSV names no address and needs none."},
    {.name = "masquerade_all",
     .type = CFG_BOOL,
     .offset = FIELD(masquerade_all),
     .fallback = "no",
     .help = "Whether cameras in private networks are told masquerade as well",
     .doc = "For a container with a network of its own: cameras come to the address of its host, "
            "and the server sees another one."},
    {.name = "active",
     .type = CFG_BOOL,
     .offset = FIELD(active),
     .fallback = "yes",
     .help = "Whether the server opens data connections to cameras that want it so (PORT, EPRT)",
     .doc = "Only ever to the camera's own address and to ports from 1024 on."},
    {.name = "banner",
     .type = CFG_STRING,
     .offset = FIELD(banner),
     .validate = check_banner,
     .help = "The greeting; empty = [app] app_name with \" FTP.\" behind it"},

    /* ---- the one account ---- */
    {.name = "user",
     .type = CFG_STRING,
     .offset = FIELD(user),
     .flags = CFG_RELOAD,
     .env = "FTP_USER",
     .path = "creds.ftp_username",
     .help = "Login of an account with every right, as the predecessor has it",
     .doc = "It sees the whole tree, reads and deletes. An [ftp_account:NAME] per camera is the "
            "safer way: a camera that is taken over can then do nothing but push."},
    {.name = "password",
     .type = CFG_SECRET,
     .offset = FIELD(password),
     .flags = CFG_RELOAD,
     .env = "FTP_PASS",
     .path = "creds.ftp_password",
     .help = "Its password, or a hash of it as `snapshotd passwd` prints it",
     .doc = "At least 8 characters, and none of those that everybody knows. FTP without TLS sends "
            "it readable: use it nowhere else."},
    {.name = "create_dirs",
     .type = CFG_LIST,
     .offset = FIELD(create_dirs),
     .env = "FTP_CREATE_DIRS",
     .validate = check_folders,
     .help = "Folders made at the start in uploads below [snapshots] root_dir",
     .doc = "For cameras that do not make their folder themselves. Missing ones come by "
            "themselves when a camera stores into them."},

    /* ---- TLS ---- */
    {.name = "tls",
     .type = CFG_CHOICE,
     .offset = FIELD(tls),
     .fallback = "auto",
     .choices = ftp_tls_names,
     .help = "Whether the connection may or must be encrypted; auto = it may when there is a "
             "certificate",
     .doc = "`required`: no login and no data connection without TLS. Many cameras cannot, hence "
            "the default; [ftp_account:NAME] `tls_required` asks it of those that can. TLS 1.2 is "
            "the least."},
    {.name = "tls_cert_file",
     .type = CFG_PATH,
     .offset = FIELD(tls_cert_file),
     .help = "The server's certificate in PEM form, with those that signed it behind it",
     .doc = "When the file changes, as Let's Encrypt's does, the new one is taken within a "
            "minute, without a restart."},
    {.name = "tls_key_file",
     .type = CFG_PATH,
     .offset = FIELD(tls_key_file),
     .help = "Its key in PEM form, without a pass phrase"},
    {.name = "tls_strict",
     .type = CFG_BOOL,
     .offset = FIELD(tls_strict),
     .fallback = "no",
     .help = "Whether an upload over TLS must end with a proper close_notify",
     .doc = "Without it somebody on the way could cut a file short. But many cameras just close, "
            "and a picture's own end is looked at in any case (`check_end`)."},
    {.name = "tls_reuse",
     .type = CFG_BOOL,
     .offset = FIELD(tls_reuse),
     .fallback = "no",
     .help = "Whether data connections must resume the TLS session of their control connection",
     .doc = "It proves that both come from the same camera, which the check of the address does "
            "nearly as well; many cameras cannot."},

    /* ---- what is stored ---- */
    {.name = "sync",
     .type = CFG_BOOL,
     .offset = FIELD(sync),
     .fallback = "yes",
     .help = "Whether a picture is safe on the disk before the camera hears 226",
     .doc = "With `no` a power cut may lose pictures that the camera believes delivered. It is "
            "there for file systems in memory and for measurements."},
    {.name = "check_end",
     .type = CFG_BOOL,
     .offset = FIELD(check_end),
     .fallback = "yes",
     .help = "Whether a JPEG that does not end, or a file shorter than announced, is refused",
     .doc = "In FTP the end of a connection is the end of the file, so a camera that loses its "
            "power leaves a cut picture that looks delivered. It hears 451 instead, and sends it "
            "again when it is back. Of other files (films, PNG) nothing is known but the size that "
            "some clients announce (`ALLO`): fewer bytes are refused, more are not, nor is a JPEG "
            "that has its end."},
    {.name = "folders_max",
     .type = CFG_INT,
     .offset = FIELD(folders_max),
     .fallback = "10000", /* a year of hourly ones, and empty ones are cleaned */
     .min = 1,
     .max = 1e6,
     .help = "Folders below the folder of an account"},

    /* ---- limits ---- */
    {.name = "sessions_max",
     .type = CFG_INT,
     .offset = FIELD(sessions_max),
     .fallback = "2048", /* an idle one takes some 10 KB */
     .min = 4,
     .max = 65536,
     .help = "Connections at once"},
    {.name = "sessions_known",
     .type = CFG_INT,
     .offset = FIELD(sessions_known),
     .fallback = "64",
     .min = 0,
     .max = 65535,
     .help = "Of them kept for addresses that logged in within the last day",
     .doc = "However many strangers knock, the cameras get in."},
    {.name = "sessions_per_address",
     .type = CFG_INT,
     .offset = FIELD(sessions_per_address),
     .fallback = "128", /* a house of cameras behind one router, each with some at once */
     .min = 1,
     .max = 65536,
     .help = "Connections of one address at once (of one /64 network with IPv6)",
     .doc = "Behind a router or a container's bridge all cameras may have one address."},
    {.name = "login_failures_max",
     .type = CFG_INT,
     .offset = FIELD(login_failures_max),
     .fallback = "10",
     .min = 1,
     .max = 1000,
     .help = "Failed logins of one address within a minute; then it is banned",
     .doc = "Each takes a second, and a connection has three. 10 a minute are 14,400 guesses a "
            "day at most, so a password that is not in a list stands for centuries."},
    {.name = "ban",
     .type = CFG_DURATION,
     .offset = FIELD(ban_ms),
     .fallback = "60s",
     .min = 1000,
     .max = 24 * HOUR,
     .bare_unit_ms = 1000,
     .help = "How long; it doubles with each ban in a row, up to 16 times as long",
     .doc = "It does not grow for an address from which others log in well: there it is one "
            "camera with a wrong password among many behind one router. Sessions that are logged "
            "in go on."},
    {.name = "login_timeout",
     .type = CFG_DURATION,
     .offset = FIELD(login_timeout_ms),
     .fallback = "30s",
     .min = 1000,
     .max = HOUR,
     .bare_unit_ms = 1000,
     .help = "Time from the connection to a login"},
    {.name = "command_timeout",
     .type = CFG_DURATION,
     .offset = FIELD(command_timeout_ms),
     .fallback = "15s",
     .min = 1000,
     .max = HOUR,
     .bare_unit_ms = 1000,
     .help = "Time that a stranger has for a whole command, so that silence holds no place"},
    {.name = "idle_timeout",
     .type = CFG_DURATION,
     .offset = FIELD(idle_timeout_ms),
     .fallback = "300s",
     .min = 5000,
     .max = 24 * HOUR,
     .bare_unit_ms = 1000,
     .help = "Time without a command after which a session is closed",
     .doc = "Any command counts, so a camera that sends NOOP now and then keeps its session for "
            "as long as it likes. The others connect anew for the next picture."},
    {.name = "data_timeout",
     .type = CFG_DURATION,
     .offset = FIELD(data_timeout_ms),
     .fallback = "30s",
     .min = 1000,
     .max = HOUR,
     .bare_unit_ms = 1000,
     .help = "Time until a data connection is there"},
    {.name = "stall_timeout",
     .type = CFG_DURATION,
     .offset = FIELD(stall_timeout_ms),
     .fallback = "60s", /* a wireless camera that roams is back within that */
     .min = 1000,
     .max = HOUR,
     .bare_unit_ms = 1000,
     .help = "Time without a byte after which a transfer is given up"},
    {.name = "rate_min",
     .type = CFG_SIZE,
     .offset = FIELD(rate_min),
     .fallback = "256", /* some 15 KB a minute: less is no camera */
     .min = 0,
     .max = 100 * MB,
     .unit = "bytes",
     .help = "Bytes a second that an upload must keep up, measured over stall_timeout; 0 = any"},
    {.name = "buffers",
     .type = CFG_SIZE,
     .offset = FIELD(buffers),
     .fallback = "4MB", /* 16 blocks of 256 KB; uploads beyond that take turns */
     .min = 512 << 10,
     .max = 1024 * MB,
     .unit = "bytes",
     .help = "Memory for what is between the network and the disk, of all transfers together"},
    {.name = "disk_threads",
     .type = CFG_INT,
     .offset = FIELD(disk_threads),
     .fallback = "8", /* measured: syncs beside each other share the disk's flushes (ftp_disk.c) */
     .min = 1,
     .max = 16,
     .help = "Threads that write to the disk"},
};

const struct cfg_section ftp_cfg_section = {
    .name = "ftp",
    .struct_size = sizeof(struct ftp_config),
    .keys = keys,
    .key_count = ARRAY_LEN(keys),
    .help = "The FTP server for cameras that push.",
    .check = check_section,
};

static const struct cfg_key account_keys[] = {
    {.name = "user",
     .type = CFG_STRING,
     .offset = ACCOUNT(user),
     .flags = CFG_RELOAD,
     .help = "Login, upper and lower case told apart; the section's name when empty"},
    {.name = "password",
     .type = CFG_SECRET,
     .offset = ACCOUNT(password),
     .flags = CFG_RELOAD,
     .help = "Its password, or a hash of it as `snapshotd passwd` prints it",
     .doc = "At least 8 characters, and none of those that everybody knows: with the hash of such "
            "a one nobody gets in. A hash keeps it from whoever reads the file; its check takes "
            "some 50 ms of a processor per login, so for cameras that log in for each picture many "
            "times a second the password itself, by file: or credential:, is the better choice."},
    {.name = "camera",
     .type = CFG_STRING,
     .offset = ACCOUNT(camera),
     .flags = CFG_RELOAD,
     .help = "The NAME of [camera:NAME] whose pictures these are; empty = found by the folder"},
    {.name = "directory",
     .type = CFG_STRING,
     .offset = ACCOUNT(directory),
     .flags = CFG_RELOAD,
     .validate = check_directory,
     .help = "Its folder below [snapshots] root_dir; the section's name when empty, / = all of it",
     .doc = "What the camera takes for the root: nothing outside of it can be seen or named. "
            "Without `camera` a picture belongs to the camera whose folder it lies in: for "
            "example `uploads/porch`, with [snapshots] upload_dir = uploads and [camera:NAME] "
            "directory = porch."},
    {.name = "rights",
     .type = CFG_LIST,
     .offset = ACCOUNT(rights),
     .fallback = "store, overwrite",
     .flags = CFG_RELOAD,
     .validate = check_rights,
     .help = "Any of store, overwrite, list, read, delete; or all",
     .doc = "Without `list` a camera sees empty folders, which cameras bear and errors not. "
            "Without `delete` it may remove what it stored in the same session, as the test button "
            "of many does. Without `read` nothing can be fetched; `overwrite` is for cameras that "
            "always use the same name."},
    {.name = "quota",
     .type = CFG_SIZE,
     .offset = ACCOUNT(quota),
     .fallback = "0",
     .min = 0,
     .max = TB,
     .unit = "bytes",
     .flags = CFG_RELOAD,
     .help = "Bytes that may lie in its folder; 0 = as long as [store] reserve stays free",
     .doc = "Pictures leave the folder within a second, so only what is no picture, or waits while "
            "the program is busy, is counted."},
    {.name = "files_max",
     .type = CFG_INT,
     .offset = ACCOUNT(files_max),
     .fallback = TEXT_OF(FTP_FILES_MAX),
     .min = 1,
     .max = 1e6,
     .flags = CFG_RELOAD,
     .help = "Entries in one of its folders",
     .doc =
         "There is none for all of them together: that is this times [ftp] folders_max, and what "
         "they may take of the disk is `quota`."},
    {.name = "size_max",
     .type = CFG_SIZE,
     .offset = ACCOUNT(size_max),
     .fallback = TEXT_OF(FTP_SIZE_MB_MAX) "MB",
     .min = 1024,
     .max = TB,
     .unit = "bytes",
     .flags = CFG_RELOAD,
     .help = "Largest file that it may store",
     .doc = "Far above any picture. Raise it for a camera that pushes long videos as well, or it "
            "will try them again and again."},
    {.name = "rate",
     .type = CFG_SIZE,
     .offset = ACCOUNT(rate),
     .fallback = "0",
     .min = 0,
     .max = 1024 * MB,
     .unit = "bytes",
     .flags = CFG_RELOAD,
     .help = "Bytes a second of one transfer at most; 0 = as fast as it goes"},
    {.name = "sessions_max",
     .type = CFG_INT,
     .offset = ACCOUNT(sessions_max),
     .fallback = TEXT_OF(FTP_ACCOUNT_SESSIONS_MAX), /* a recorder with its channels */
     .min = 1,
     .max = 65536,
     .flags = CFG_RELOAD,
     .help = "Its sessions at once"},
    {.name = "hosts",
     .type = CFG_LIST,
     .offset = ACCOUNT(hosts),
     .flags = CFG_RELOAD,
     .validate = check_hosts,
     .help = "Addresses that it may log in from; empty = any",
     .doc = "Addresses, networks (`192.168.7.0/24`), or `private` for all private networks. From "
            "elsewhere the right password is as wrong as any."},
    {.name = "tls_required",
     .type = CFG_BOOL,
     .offset = ACCOUNT(tls_required),
     .fallback = "no",
     .flags = CFG_RELOAD,
     .help = "Whether this account must use TLS"},
    {.name = "foreign_data",
     .type = CFG_BOOL,
     .offset = ACCOUNT(foreign_data),
     .fallback = "no",
     .flags = CFG_RELOAD,
     .help = "Whether data connections may come from another address than the login",
     .doc = "Only for a camera behind several outside addresses: it lets whoever guesses the port "
            "in time send a file in its place. TLS with `tls_reuse` makes up for that."},
};

const struct cfg_section ftp_account_cfg_section = {
    .name = "ftp_account",
    .named = true,
    .struct_size = sizeof(struct ftp_account_config),
    .keys = account_keys,
    .key_count = ARRAY_LEN(account_keys),
    .help = "An account for cameras that push by FTP; best one for each.",
};

bool ftp_config_runs(const struct ftp_config *c, size_t accounts)
{
    return accounts > 0 && c->enabled != FTP_ENABLED_NO;
}

enum ftp_tls ftp_config_tls(const struct ftp_config *c)
{
    if (c->tls != FTP_TLS_AUTO)
        return (enum ftp_tls)c->tls;
    return c->tls_cert_file && *c->tls_cert_file ? FTP_TLS_OPTIONAL : FTP_TLS_OFF;
}

/* ---- where to listen ---- */

struct listeners {
    struct ftp_listener *items;
    int count;
    bool tls;
};

static bool read_address(const char *host, uint16_t port, struct ftp_listener *ret)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&ret->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret->address;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        ret->size = sizeof(*v4);
        (void)text_format(ret->text, sizeof(ret->text), "%s:%u", host, port); /* it fits */
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        ret->size = sizeof(*v6);
        (void)text_format(ret->text, sizeof(ret->text), "[%s]:%u", host, port); /* it fits */
        return true;
    }
    return false;
}

static int add_listener(struct listeners *l, const struct ftp_listener *n, struct err *e)
{
    if (l->count == FTP_LISTENERS_MAX)
        return err_set(e, -EINVAL, ERR_NEVER, "more than %d addresses to listen on",
                       FTP_LISTENERS_MAX);
    for (int i = 0; i < l->count; i++)
        if (strcmp(l->items[i].text, n->text) == 0 && !text_ends_with(n->text, ":0"))
            return err_set(e, -EINVAL, ERR_NEVER, "%s is there twice: remove one", n->text);
    l->items[l->count] = *n;
    l->items[l->count++].tls = l->tls;
    return 0;
}

static int add_known(struct listeners *l, const char *host, uint16_t port, bool may_be_none,
                     struct err *e)
{
    struct ftp_listener n = {.may_be_none = may_be_none};
    bool known = read_address(host, port, &n);
    assert(known);
    return add_listener(l, &n, e);
}

static int add_everywhere(struct listeners *l, uint16_t port, struct err *e)
{
    int r = add_known(l, "0.0.0.0", port, false, e);
    return r < 0 ? r : add_known(l, "::", port, true, e);
}

/* "1.2.3.4", "1.2.3.4:21", "::1", "[::1]", "[::1]:21": the colons of a bare IPv6 address are no
 * port's. *port stays as it is without one. */
static bool split(const char *item, char host[static INET6_ADDRSTRLEN], int64_t *port)
{
    const char *end = strchr(item, '\0'), *colon = strchr(item, ':');
    if (item[0] == '[') {
        item++;
        end = strchr(item, ']');
        if (!end || (end[1] != '\0' && end[1] != ':'))
            return false;
        colon = end[1] ? end + 1 : NULL;
    } else if (colon && strchr(colon + 1, ':')) {
        colon = NULL;
    } else if (colon) {
        end = colon;
    }
    size_t len = (size_t)(end - item);
    if (len == 0 || len >= INET6_ADDRSTRLEN)
        return false;
    memcpy(host, item, len);
    host[len] = '\0';
    return !colon || parse_int64(colon + 1, strlen(colon + 1), 0, 65535, port) == 0;
}

/* One item of `listen`: an address, bare or with a port. */
static int add_item(struct listeners *l, const char *item, uint16_t default_port, struct err *e)
{
    char host[INET6_ADDRSTRLEN], shown[128];
    int64_t port = default_port;
    struct ftp_listener n = {0};
    bool good = split(item, host, &port);
    if (good && strcmp(host, "*") == 0)
        return add_everywhere(l, (uint16_t)port, e);
    if (good && text_equal_nocase(host, "localhost"))
        (void)text_copy(host, sizeof(host), "127.0.0.1"); /* it fits */
    if (!good || !read_address(host, (uint16_t)port, &n))
        return err_set(e, -EINVAL, ERR_NEVER,
                       "\"%s\" is not an address such as 192.168.7.2, 192.168.7.2:2121, "
                       "[::1]:2121, or * for all addresses",
                       text_escape(item, strlen(item), shown, sizeof(shown)));
    return add_listener(l, &n, e);
}

static int add_list(struct listeners *l, const char *list, uint16_t default_port, struct err *e)
{
    const char *item;
    size_t len;
    while (parse_list_next(&list, &item, &len)) {
        AUTO_FREE char *text = xstrndup(item, len);
        int r = add_item(l, text, default_port, e);
        if (r < 0)
            return r;
    }
    return 0;
}

int ftp_config_listeners(const struct ftp_config *c, bool low_ports,
                         struct ftp_listener ret[FTP_LISTENERS_MAX], struct err *e)
{
    struct listeners l = {.items = ret};
    uint16_t port = c->port     ? (uint16_t)c->port
                    : low_ports ? (uint16_t)PORT_FTP
                                : (uint16_t)PORT_FTP_UNPRIVILEGED;
    int r;
    if (*c->listen)
        r = add_list(&l, c->listen, port, e);
    else if (c->port)
        r = add_everywhere(&l, port, e);
    else
        r = add_known(&l, "127.0.0.1", port, false, e);
    if (r < 0)
        return r;
    l.tls = true;
    r = add_list(&l, c->tls_listen, low_ports ? PORT_FTPS : PORT_FTPS_UNPRIVILEGED, e);
    return r < 0 ? r : l.count;
}

/* The capability, a container's sysctl and a security module all have a say; a bind that is given
 * up at once asks them all. That the port may be taken says nothing about the right to it. */
bool ftp_config_low_ports(void)
{
    const int on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(PORT_FTP),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on,
                     sizeof(on)); /* a bind without it tells, too */
    return bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 || errno == EADDRINUSE;
}

/* ---- checking ---- */

/* One list by itself; check_section() sees both. */
static int check_listen(const void *value, char *why, size_t why_size)
{
    struct ftp_listener found[FTP_LISTENERS_MAX];
    struct listeners l = {.items = found};
    struct err e = {0};
    int r = add_list(&l, *(const char *const *)value, PORT_FTP, &e);
    if (r < 0)
        text_copy(why, why_size, e.text);
    return r;
}

static int check_folders(const void *value, char *why, size_t why_size)
{
    for (const char *const *d = *(const char *const *const *)value; *d; d++) {
        if (ftp_account_directory_is_good(*d))
            continue;
        char shown[128];
        (void)text_format(why, why_size,
                          "\"%s\" must be a plain path such as snapshots/porch, without .. and "
                          "without a slash at its start",
                          text_escape(*d, strlen(*d), shown, sizeof(shown))); /* cut is fine */
        return -EINVAL;
    }
    return 0;
}

static int check_banner(const void *value, char *why, size_t why_size)
{
    const char *s = *(const char *const *)value;
    if (strlen(s) <= BANNER_MAX && !strpbrk(s, "\r\n\t"))
        return 0;
    (void)text_format(why, why_size, "it must be one line of at most %d bytes", BANNER_MAX);
    return -EINVAL;
}

static int check_ipv4(const void *value, char *why, size_t why_size)
{
    const char *s = *(const char *const *)value;
    struct in_addr a;
    if (!*s || (inet_pton(AF_INET, s, &a) == 1 && a.s_addr != htonl(INADDR_ANY)))
        return 0;
    text_copy(why, why_size,
              "it must be an IPv4 address such as 203.0.113.7, as cameras outside reach it");
    return -EINVAL;
}

static int check_rights(const void *value, char *why, size_t why_size)
{
    unsigned rights;
    const char *const *names = *(const char *const *const *)value;
    const char *wrong = NULL;
    if (ftp_rights_parse(names, &rights, &wrong) == 0)
        return 0;
    (void)text_format(why, why_size, "%s is none of store, overwrite, list, read, delete, all",
                      wrong); /* cut is fine */
    return -EINVAL;
}

static int check_hosts(const void *value, char *why, size_t why_size)
{
    AUTO(host_list) l = NULL;
    struct err e = {0};
    int r = host_list_new(*(const char *const *const *)value, &l, &e);
    if (r < 0)
        text_copy(why, why_size, e.text);
    else if (host_list_has_names(l))
        r = -EINVAL, text_copy(why, why_size,
                               "names are not looked up here: write addresses, networks like "
                               "192.168.7.0/24, or the word private");
    return r;
}

static int check_directory(const void *value, char *why, size_t why_size)
{
    const char *s = *(const char *const *)value;
    if (!*s || strcmp(s, "/") == 0 || ftp_account_directory_is_good(s))
        return 0;
    text_copy(why, why_size,
              "it must be a plain path such as uploads/porch, without .. and without a slash at "
              "either end; or / for the whole tree");
    return -EINVAL;
}

static void check_tls(const struct ftp_config *c, const char *instance, struct cfg_faults *faults)
{
    bool cert = *c->tls_cert_file, key = *c->tls_key_file;
    if (cert != key)
        cfg_fault(faults, "ftp", instance, cert ? "tls_key_file" : "tls_cert_file",
                  "must be given with %s: a certificate and its key go together",
                  cert ? "tls_cert_file" : "tls_key_file");
    if (!cert && !key && (c->tls == FTP_TLS_OPTIONAL || c->tls == FTP_TLS_REQUIRED))
        cfg_fault(faults, "ftp", instance, "tls",
                  "%s wants a certificate: give tls_cert_file and tls_key_file",
                  ftp_tls_names[c->tls]);
    bool none = ftp_config_tls(c) == FTP_TLS_OFF;
    if (none && *c->tls_listen)
        cfg_fault(faults, "ftp", instance, "tls_listen",
                  "wants TLS, which is off: give tls_cert_file and tls_key_file%s",
                  c->tls == FTP_TLS_OFF ? ", and remove tls = off" : "");
    if (none && c->tls_reuse)
        cfg_fault(faults, "ftp", instance, "tls_reuse",
                  "wants TLS, which is off: give tls_cert_file and tls_key_file%s",
                  c->tls == FTP_TLS_OFF ? ", and remove tls = off" : "");
}

static void check_passive(const struct ftp_config *c, const char *instance,
                          struct cfg_faults *faults)
{
    if (!c->passive_port_min != !c->passive_port_max)
        cfg_fault(faults, "ftp", instance,
                  c->passive_port_min ? "passive_port_max" : "passive_port_min",
                  "must be given with %s: a range has two ends",
                  c->passive_port_min ? "passive_port_min" : "passive_port_max");
    else if (c->passive_port_min > c->passive_port_max)
        cfg_fault(faults, "ftp", instance, "passive_port_max",
                  "%lld is below passive_port_min, %lld: exchange them",
                  (long long)c->passive_port_max, (long long)c->passive_port_min);
    else if (c->passive_port_min && c->passive_port_min < 1024)
        cfg_fault(faults, "ftp", instance, "passive_port_min",
                  "ports below 1024 belong to services: write a range from 1024 on, for example "
                  "50000 to 50199");
}

static void check_section(const void *values, const char *instance, struct cfg_faults *faults)
{
    const struct ftp_config *c = values;
    check_tls(c, instance, faults);
    check_passive(c, instance, faults);
    if (c->sessions_known >= c->sessions_max)
        cfg_fault(faults, "ftp", instance, "sessions_known",
                  "%lld of sessions_max, %lld, leaves nothing for a camera that is new: write less",
                  (long long)c->sessions_known, (long long)c->sessions_max);
    struct ftp_listener found[FTP_LISTENERS_MAX];
    struct err e = {0};
    char why[200];
    if (check_listen(&c->listen, why, sizeof(why)) == 0 &&
        check_listen(&c->tls_listen, why, sizeof(why)) == 0 &&
        ftp_config_listeners(c, true, found, &e) < 0)
        cfg_fault(faults, "ftp", instance, *c->tls_listen ? "tls_listen" : "listen", "%s", e.text);
}

void ftp_config_check(const struct cfg *c, struct cfg_faults *faults)
{
    const struct ftp_config *ftp = cfg_values(c, &ftp_cfg_section);
    ftp_accounts_check(c, faults);
    if (ftp->enabled == FTP_ENABLED_NO || ftp_config_tls(ftp) != FTP_TLS_OFF)
        return;
    for (size_t i = 0; i < cfg_instance_count(c, &ftp_account_cfg_section); i++) {
        const struct ftp_account_config *a = cfg_instance_values(c, &ftp_account_cfg_section, i);
        if (a->tls_required)
            cfg_fault(faults, "ftp_account", cfg_instance_name(c, &ftp_account_cfg_section, i),
                      "tls_required",
                      "asks for TLS, which the server does not have: give [ftp] tls_cert_file and "
                      "tls_key_file%s",
                      ftp->tls == FTP_TLS_OFF ? ", and remove tls = off" : "");
    }
}

void ftp_config_warn(const struct cfg *c, struct cfg_faults *warnings)
{
    const struct ftp_config *ftp = cfg_values(c, &ftp_cfg_section);
    ftp_accounts_warn(c, warnings);
    if (ftp->enabled == FTP_ENABLED_NO)
        return;
    int64_t ports = ftp->passive_port_max - ftp->passive_port_min + 1;
    if (ftp->passive_port_min && ports < PASSIVE_PORTS_FEW)
        cfg_fault(warnings, "ftp", NULL, "passive_port_max",
                  "leaves %lld port%s for data connections, so no more uploads can run at once; "
                  "%d are not too many",
                  (long long)ports, ports == 1 ? "" : "s", 4 * PASSIVE_PORTS_FEW);
    if (!ftp->sync)
        cfg_fault(warnings, "ftp", NULL, "sync",
                  "is off: a power cut may lose pictures that cameras believe delivered");
}
