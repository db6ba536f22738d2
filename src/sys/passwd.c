#include "sys/passwd.h"

#include <crypt.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

/* The kinds that take an attacker with the file some time per guess, by their prefix in crypt(5),
 * and the length of what stands behind the last '$': crypt(3) itself does not mind a hash that was
 * cut when it was copied, and then no password ever fits. Not among them: DES and MD5, which are
 * guessed by the billion. */
static const struct {
    const char *prefix;
    size_t tail;
} kinds[] = {
    {"$y$", 43},  {"$gy$", 43}, {"$7$", 43}, {"$2b$", 53},
    {"$2y$", 53}, {"$2a$", 53}, {"$6$", 86}, {"$5$", 43},
};

/* "$y$", "$sha1$": no kind has a longer name, but for one that crypt(3) may come to know. */
static bool looks_like_hash(const char *s)
{
    size_t id = *s == '$' ? strspn(s + 1, "0123456789abcdefghijklmnopqrstuvwxyz") : 0;
    return text_starts_with(s, "$argon2") || (id > 0 && id <= 4 && s[1 + id] == '$');
}

/* Legacy is what is good enough, and not what one would take today. */
static bool crypt_knows(const char *setting)
{
    int r = crypt_checksalt(setting);
    return r != CRYPT_SALT_INVALID && r != CRYPT_SALT_METHOD_DISABLED;
}

enum passwd_kind passwd_kind_of(const char *stored)
{
    if (!looks_like_hash(stored))
        return PASSWD_TEXT;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!text_starts_with(stored, kinds[i].prefix))
            continue;
        bool whole = strlen(strrchr(stored, '$') + 1) == kinds[i].tail;
        return whole && strlen(stored) < PASSWD_HASH_MAX && crypt_knows(stored) ? PASSWD_HASH
                                                                                : PASSWD_BROKEN;
    }
    return PASSWD_BROKEN;
}

/* The work area has 32 KB, and parts of the password in it. */
static const char *run_crypt(const char *password, const char *setting, struct crypt_data *area)
{
    const char *got = crypt_r(password, setting, area);
    return got && *got != '*' ? got : NULL; /* "*0" is crypt(3)'s way to say no */
}

static void wipe(struct crypt_data *area)
{
    explicit_bzero(area, sizeof(*area));
    free(area);
}

int passwd_hash(const char *password, char ret[PASSWD_HASH_MAX], struct err *e)
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    if (strlen(password) > PASSWD_MAX)
        return err_set(e, -EINVAL, ERR_NEVER, "a password has at most %d bytes", PASSWD_MAX);
    if (!crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof(setting)))
        return err_errno(e, -errno, "make a salt");
    struct crypt_data *area = xcalloc(1, sizeof(*area));
    const char *hash = run_crypt(password, setting, area);
    int r = 0;
    if (!hash)
        r = err_errno(e, -errno, "hash a password");
    else if (!text_copy(ret, PASSWD_HASH_MAX, hash))
        r = err_set(e, -EINVAL, ERR_NEVER, "the system's hashes are longer than %d bytes",
                    PASSWD_HASH_MAX - 1);
    wipe(area);
    return r;
}

bool passwd_matches(const char *hash, const char *password)
{
    struct crypt_data *area = xcalloc(1, sizeof(*area));
    const char *got = run_crypt(password, hash, area);
    size_t len = strlen(hash);
    bool same = got && strlen(got) == len && passwd_same(got, hash, len);
    wipe(area);
    return same;
}

bool passwd_same(const void *a, const void *b, size_t size)
{
    /* Volatile, so that the compiler does not stop at the first difference. */
    const volatile unsigned char *x = a, *y = b;
    unsigned differences = 0;
    for (size_t i = 0; i < size; i++)
        differences |= (unsigned)(x[i] ^ y[i]);
    return differences == 0;
}
