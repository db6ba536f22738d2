#include "ftp/ftp_account.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "cfg/cfg.h"
#include "ftp/ftp_config.h"
#include "ftp/ftp_path.h"
#include "sys/hash.h"
#include "sys/passwd.h"

enum {
    PASSWORD_MIN = 8,    /* characters */
    USER_MAX = 64,       /* bytes: what camera menus take, twice */
    SECRET_BYTES = 32,   /* as much as the digest has */
    DIRECTORY_MAX = 512, /* bytes: half of FTP_PATH_MAX is left for what lies below */
    SHOWN_MAX = 160,     /* of a name in a message */
};

struct entry {
    struct ftp_account account; /* first: what ftp_accounts_at() gives */
    const char *section;        /* where it comes from, for faults */
    const char *instance;       /* NULL for [ftp] */
    const char *const *host_names;
    struct host_list *hosts;
    bool hashed;                  /* password is a crypt(5) hash */
    char digest[HASH_SHA256_HEX]; /* of the key and the password; of nothing when hashed */
};

struct ftp_accounts {
    atomic_int references;
    struct cfg *cfg;
    struct entry *entries;
    size_t count;
    struct entry nobody; /* is compared when there is no such user */
    const char *dummy;   /* the first hash, run for those that have none; NULL = there are none */
    /* Passwords are compared by their digests under a key that nobody else has: these have one
     * length, and where two differ says nothing of the passwords. */
    uint8_t key[SECRET_BYTES];
};

static size_t collect(const struct cfg *cfg, struct entry **ret);
static int finish_entry(struct ftp_accounts *a, struct entry *n, struct err *e);
static void digest_of(const struct ftp_accounts *a, const char *password,
                      char ret[HASH_SHA256_HEX]);

int ftp_accounts_load(const struct cfg *cfg, struct ftp_accounts **ret, struct err *e)
{
    AUTO(cfg_faults) faults = cfg_faults_new(cfg);
    ftp_accounts_check(cfg, faults);
    AUTO_FREE char *text = cfg_faults_take(faults);
    if (text)
        return err_set(e, -EINVAL, ERR_NEVER, "%s", text);

    AUTO(ftp_accounts) a = xcalloc(1, sizeof(*a));
    atomic_init(&a->references, 1);
    a->cfg = cfg_ref((struct cfg *)(uintptr_t)cfg); /* immutable but for its count */
    hash_random(a->key, sizeof(a->key));
    a->count = collect(cfg, &a->entries);
    for (size_t i = 0; i < a->count; i++) {
        int r = finish_entry(a, &a->entries[i], e);
        if (r < 0)
            return r;
    }
    digest_of(a, "", a->nobody.digest);
    a->nobody.digest[0] = 'x'; /* no digest has it */
    *ret = STEAL(a);
    return 0;
}

struct ftp_accounts *ftp_accounts_ref(struct ftp_accounts *a)
{
    if (a)
        atomic_fetch_add_explicit(&a->references, 1, memory_order_relaxed);
    return a;
}

void ftp_accounts_unref(struct ftp_accounts *a)
{
    if (!a || atomic_fetch_sub_explicit(&a->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < a->count; i++)
        host_list_free(a->entries[i].hosts);
    free(a->entries);
    cfg_unref(a->cfg);
    explicit_bzero(a->key, sizeof(a->key));
    free(a);
}

size_t ftp_accounts_count(const struct ftp_accounts *a)
{
    return a->count;
}

const struct ftp_account *ftp_accounts_at(const struct ftp_accounts *a, size_t i)
{
    assert(i < a->count);
    return &a->entries[i].account;
}

bool ftp_accounts_slow(const struct ftp_accounts *a)
{
    return a->dummy != NULL;
}

static const struct entry *find(const struct ftp_accounts *a, const char *user)
{
    const struct entry *n = &a->nobody;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->entries[i].account.name, user) == 0)
            n = &a->entries[i];
    return n;
}

static bool text_is_right(const struct ftp_accounts *a, const struct entry *n, const char *password)
{
    char digest[HASH_SHA256_HEX];
    digest_of(a, password, digest);
    bool right = passwd_same(digest, n->digest, sizeof(digest));
    explicit_bzero(digest, sizeof(digest));
    return right && !n->hashed;
}

static const struct ftp_account *let_in(const struct ftp_accounts *a, const struct entry *n,
                                        bool right, const struct sockaddr *from)
{
    bool welcome = !n->hosts || host_list_has_address(n->hosts, from);
    return right && welcome && n != &a->nobody ? &n->account : NULL;
}

/* What is done must not depend on which part is wrong, so nothing returns early. */
const struct ftp_account *ftp_accounts_login(const struct ftp_accounts *a, const char *user,
                                             const char *password, const struct sockaddr *from)
{
    const struct entry *n = find(a, user);
    bool right = text_is_right(a, n, password);
    if (n->hashed)
        right = passwd_matches(n->account.password, password);
    else if (!right && a->dummy)
        (void)passwd_matches(a->dummy, password); /* for the time that it takes */
    return let_in(a, n, right, from);
}

const struct ftp_account *ftp_accounts_login_text(const struct ftp_accounts *a, const char *user,
                                                  const char *password, const struct sockaddr *from)
{
    const struct entry *n = find(a, user);
    return let_in(a, n, text_is_right(a, n, password), from);
}

static void digest_of(const struct ftp_accounts *a, const char *password, char ret[HASH_SHA256_HEX])
{
    struct hash_stream *h = hash_stream_new();
    hash_stream_update(h, a->key, sizeof(a->key));
    hash_stream_update(h, password, strlen(password));
    hash_stream_end(h, ret);
}

/* ---- from the configuration ---- */

static const char *directory_of(const char *configured, const char *section_name)
{
    if (!*configured)
        return section_name;
    return strcmp(configured, "/") == 0 ? "" : configured;
}

static struct entry from_section(const struct ftp_account_config *c, const char *instance)
{
    unsigned rights = 0;
    const char *wrong;
    (void)ftp_rights_parse(c->rights, &rights, &wrong); /* the row's own check has seen it */
    return (struct entry){.section = "ftp_account",
                          .instance = instance,
                          .host_names = c->hosts,
                          .account = {.name = *c->user ? c->user : instance,
                                      .password = c->password,
                                      .camera = *c->camera ? c->camera : NULL,
                                      .directory = directory_of(c->directory, instance),
                                      .rights = rights,
                                      .quota = c->quota,
                                      .files_max = c->files_max,
                                      .size_max = c->size_max,
                                      .rate = c->rate,
                                      .sessions_max = (int)c->sessions_max,
                                      .tls_required = c->tls_required,
                                      .foreign_data = c->foreign_data}};
}

static bool has_originals(const struct ftp_config *c)
{
    return *c->user && *c->password;
}

static struct entry originals(const struct ftp_config *c)
{
    return (struct entry){.section = "ftp",
                          .account = {.name = c->user,
                                      .password = c->password,
                                      .directory = "",
                                      .rights = FTP_RIGHTS_ALL,
                                      .files_max = FTP_FILES_MAX,
                                      .size_max = (int64_t)FTP_SIZE_MB_MAX << 20,
                                      .sessions_max = FTP_ACCOUNT_SESSIONS_MAX}};
}

/* All accounts as they are written, in one array; strings stay the configuration's. */
static size_t collect(const struct cfg *cfg, struct entry **ret)
{
    const struct ftp_config *ftp = cfg_values(cfg, &ftp_cfg_section);
    size_t sections = cfg_instance_count(cfg, &ftp_account_cfg_section), count = 0;
    struct entry *entries = xcalloc(sections + 1, sizeof(*entries));
    *ret = entries;
    if (ftp->enabled == FTP_ENABLED_NO)
        return 0;
    if (has_originals(ftp))
        entries[count++] = originals(ftp);
    for (size_t i = 0; i < sections; i++)
        entries[count++] = from_section(cfg_instance_values(cfg, &ftp_account_cfg_section, i),
                                        cfg_instance_name(cfg, &ftp_account_cfg_section, i));
    return count;
}

static int finish_entry(struct ftp_accounts *a, struct entry *n, struct err *e)
{
    n->hashed = passwd_kind_of(n->account.password) == PASSWD_HASH;
    if (!n->hashed)
        digest_of(a, n->account.password, n->digest);
    else if (!a->dummy)
        a->dummy = n->account.password;
    if (!n->host_names || !*n->host_names)
        return 0;
    int r = host_list_new(n->host_names, &n->hosts, e);
    if (r < 0)
        return err_prefix(e, "account '%s': hosts", n->account.name);
    n->account.hosts = n->hosts;
    return 0;
}

/* ---- rules ---- */

/* What devices are sold with, what manuals write in their examples, and what heads every list of
 * guesses, as far as it has 8 characters. */
static const char *const known_passwords[] = {
    "12345678",   "123456789",          "1234567890",      "87654321",        "987654321",
    "01234567",   "012345678",          "0123456789",      "11223344",        "12341234",
    "12344321",   "123123123",          "1q2w3e4r",        "1q2w3e4r5t",      "1qaz2wsx",
    "1qazxsw2",   "123qweasd",          "qwertyui",        "qwertyuiop",      "qwerty12",
    "qwerty123",  "qwerty1234",         "asdfghjk",        "asdfghjkl",       "zxcvbnm1",
    "abcd1234",   "abc12345",           "abcdefgh",        "a1b2c3d4",        "aa123456",
    "a1234567",   "a12345678",          "1234abcd",        "1234qwer",        "password",
    "password1",  "password12",         "password123",     "passw0rd",        "p@ssw0rd",
    "p@ssword",   "pa$$word",           "pa$$w0rd",        "passwort",        "kennwort",
    "mypassword", "yourpassword",       "your-password",   "your_password",   "secret123",
    "secret12",   "topsecret",          "changeme",        "change-me",       "change_me",
    "changeit",   "changethis",         "letmein1",        "letmein123",      "welcome1",
    "welcome123", "iloveyou",           "sunshine",        "princess",        "football",
    "baseball",   "superman",           "trustno1",        "internet",        "computer",
    "starwars",   "whatever",           "administrator",   "admin123",        "admin1234",
    "admin12345", "admin123456",        "adminadmin",      "admin888",        "admin@123",
    "admin_123",  "default1",           "defaultpassword", "anonymous",       "anonymous@",
    "guest123",   "guestguest",         "user1234",        "useruser",        "test1234",
    "testtest",   "testing1",           "example1",        "examplepassword", "rootroot",
    "root1234",   "toor1234",           "ftpuser1",        "ftpftpftp",       "ftppassword",
    "camera12",   "camera123",          "camera1234",      "cameras1",        "ipcamera",
    "ipcam123",   "webcam123",          "foscam123",       "hikvision",       "hik12345",
    "hik12345+",  "hiklinux",           "dahua123",        "dahua1234",       "amcrest1",
    "amcrest123", "reolink1",           "reolink123",      "axis1234",        "axiscamera",
    "vivotek1",   "samsung1",           "tlJwpbo6",        "888888888",       "system123",
    "supervisor", "surveillance",       "security1",       "security123",     "snapshot1",
    "snapshotd",  "snapshot-processor", "xc3511xc3511",    "meinsm12",        "service1",
    "00000000",
};

static bool is_known(const char *password)
{
    for (size_t i = 0; i < ARRAY_LEN(known_passwords); i++)
        if (text_equal_nocase(password, known_passwords[i]))
            return true;
    return false;
}

static size_t count_characters(const char *s)
{
    size_t count = 0;
    for (; *s; s++)
        count += ((unsigned char)*s & 0xc0) != 0x80; /* the first byte of each in UTF-8 */
    return count;
}

static bool is_one_character(const char *s)
{
    return strspn(s, (char[]){s[0], '\0'}) == strlen(s);
}

/* What cannot stand in a command line, RFC 959 5.3.1. */
static bool has_control(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return true;
    return false;
}

bool ftp_password_is_good(const char *password, const char *user, char *why, size_t why_size)
{
    const char *wrong = NULL;
    enum passwd_kind kind = passwd_kind_of(password);
    if (kind == PASSWD_HASH)
        return true;
    if (kind == PASSWD_BROKEN)
        wrong = "it begins like a hash of crypt(5), but is cut or of a kind that is not taken: it "
                "must be whole, of kind $y$, $7$, $2b$, $6$ or $5$; `snapshotd passwd` makes one";
    else if (count_characters(password) < PASSWORD_MIN)
        wrong = "it must have at least 8 characters";
    else if (has_control(password) || strlen(password) > PASSWD_MAX)
        wrong = "it must have at most 511 bytes and no line breaks or tabs";
    else if (is_one_character(password))
        wrong = "it must not be one character again and again";
    else if (is_known(password))
        wrong = "it must not be one that everybody tries first: take some words or letters at "
                "random";
    else if (user && text_equal_nocase(password, user))
        wrong = "it must not be the user's name";
    if (wrong)
        text_copy(why, why_size, wrong);
    return !wrong;
}

bool ftp_account_directory_is_good(const char *directory)
{
    return fs_path_is_plain(directory) && strlen(directory) <= DIRECTORY_MAX &&
           !strchr(directory, '\\') && !push_name_is_hidden(directory);
}

int ftp_rights_parse(const char *const *names, unsigned *ret, const char **ret_wrong)
{
    static const struct {
        const char *name;
        unsigned rights;
    } all[] = {{"store", FTP_RIGHT_STORE},         {"list", FTP_RIGHT_LIST},
               {"read", FTP_RIGHT_READ},           {"delete", FTP_RIGHT_DELETE},
               {"overwrite", FTP_RIGHT_OVERWRITE}, {"all", FTP_RIGHTS_ALL}};
    unsigned rights = 0;
    for (; *names; names++) {
        unsigned found = 0;
        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            if (text_equal_nocase(*names, all[i].name))
                found = all[i].rights;
        if (!found) {
            *ret_wrong = *names;
            return -EINVAL;
        }
        rights |= found;
    }
    *ret = rights;
    return 0;
}

/* ---- checking ---- */

static void check_user(const struct entry *n, struct cfg_faults *faults)
{
    const char *user = n->account.name;
    if (strlen(user) > USER_MAX || has_control(user))
        cfg_fault(faults, n->section, n->instance, "user",
                  "must have at most %d bytes and no line breaks or tabs", USER_MAX);
}

static void check_password(const struct entry *n, struct cfg_faults *faults)
{
    char why[SHOWN_MAX + 100];
    if (!*n->account.password)
        cfg_fault(
            faults, n->section, n->instance, "password",
            "is missing: give one of at least 8 characters, or its hash as `snapshotd passwd` "
            "prints it");
    else if (!ftp_password_is_good(n->account.password, n->account.name, why, sizeof(why)))
        cfg_fault(faults, n->section, n->instance, "password", "is not accepted: %s", why);
}

static const char *place(const struct entry *n, char buf[SHOWN_MAX])
{
    (void)text_format(buf, SHOWN_MAX, n->instance ? "[%s:%s]" : "[%s]", n->section,
                      n->instance); /* cut is fine */
    return buf;
}

static bool same_camera(const struct entry *a, const struct entry *b)
{
    const char *x = a->account.camera ? a->account.camera : "";
    const char *y = b->account.camera ? b->account.camera : "";
    return strcmp(x, y) == 0;
}

static void check_pair(const struct entry *earlier, const struct entry *n,
                       struct cfg_faults *faults)
{
    char shown[SHOWN_MAX], other[SHOWN_MAX];
    if (strcmp(earlier->account.name, n->account.name) == 0)
        cfg_fault(faults, n->section, n->instance, "user",
                  "\"%s\" is the login of %s as well: give one another name",
                  text_escape(n->account.name, strlen(n->account.name), shown, sizeof(shown)),
                  place(earlier, other));
    if (strcmp(earlier->account.directory, n->account.directory) == 0 &&
        (earlier->account.camera || n->account.camera) && !same_camera(earlier, n) &&
        *n->account.directory)
        cfg_fault(faults, n->section, n->instance, "directory",
                  "is the folder of %s as well, and they name different cameras: give one another "
                  "folder",
                  place(earlier, other));
}

void ftp_accounts_check(const struct cfg *cfg, struct cfg_faults *faults)
{
    const struct ftp_config *ftp = cfg_values(cfg, &ftp_cfg_section);
    AUTO_FREE struct entry *entries = NULL;
    size_t count = collect(cfg, &entries);
    for (size_t i = 0; i < count; i++) {
        check_user(&entries[i], faults);
        check_password(&entries[i], faults);
        for (size_t k = 0; k < i; k++)
            check_pair(&entries[k], &entries[i], faults);
    }
    if (ftp->enabled != FTP_ENABLED_YES || has_originals(ftp))
        return;
    if (*ftp->user || *ftp->password)
        cfg_fault(faults, "ftp", NULL, *ftp->user ? "password" : "user",
                  "must be given with %s: without it nobody can log in as that",
                  *ftp->user ? "user" : "password");
    else if (count == 0)
        cfg_fault(faults, "ftp", NULL, "enabled",
                  "is yes, but nobody could log in: give user and password, or a section "
                  "[ftp_account:NAME] with a password");
}

static bool lies_in(const char *inner, const char *outer)
{
    size_t len = strlen(outer);
    return len > 0 && strncmp(inner, outer, len) == 0 && inner[len] == '/';
}

/* The whole tree is no news: that is what an account for the whole tree is for. */
static void warn_pair(const struct entry *a, const struct entry *b, struct cfg_faults *warnings)
{
    char shown[SHOWN_MAX];
    bool inside = lies_in(a->account.directory, b->account.directory);
    const struct entry *inner = inside ? a : b, *outer = inside ? b : a;
    if (inside || lies_in(b->account.directory, a->account.directory))
        cfg_fault(warnings, inner->section, inner->instance, "directory",
                  "lies in the folder of %s, which can therefore store there as well",
                  place(outer, shown));
    else if (*b->account.directory && strcmp(a->account.directory, b->account.directory) == 0)
        cfg_fault(warnings, b->section, b->instance, "directory",
                  "is the folder of %s as well; their pictures cannot be told apart",
                  place(a, shown));
}

void ftp_accounts_warn(const struct cfg *cfg, struct cfg_faults *warnings)
{
    const struct ftp_config *ftp = cfg_values(cfg, &ftp_cfg_section);
    AUTO_FREE struct entry *entries = NULL;
    size_t count = collect(cfg, &entries);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++)
            warn_pair(&entries[k], &entries[i], warnings);
    if (ftp->enabled == FTP_ENABLED_AUTO && !*ftp->user != !*ftp->password)
        cfg_fault(warnings, "ftp", NULL, *ftp->user ? "password" : "user",
                  "is missing, so nobody can log in as that; give it, or remove %s",
                  *ftp->user ? "user" : "password");
}
