#include "secrets/secret_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/hash.h"
#include "sys/json.h"
#include "sys/seal.h"

#define MAGIC "snapshotd secrets 1\n" /* in front of the box, and what the box is about */
#define FILE_NAME "secrets.cache"
#define KEY_NAME "secrets.key"
/* 256 values of up to 64 KB are allowed; who has so much asks anew. */
#define FILE_MAX ((size_t)4 << 20)
#define KEY_MAX 4096
#define KEY_MIN 16 /* bytes of a credential: less is a password, and can be guessed */
#define PATH_LEN 4096

struct secret_cache {
    json_t *entries; /* name: {"value", "at"} */
};

/* jansson frees without wiping; what can be is wiped. */
static void wipe(const char *s)
{
    if (s)
        explicit_bzero((char *)(uintptr_t)s, strlen(s)); /* our own copy, about to be freed */
}

struct secret_cache *secret_cache_new(void)
{
    struct secret_cache *c = xcalloc(1, sizeof(*c));
    c->entries = json_object();
    return c;
}

void secret_cache_free(struct secret_cache *c)
{
    const char *name;
    json_t *entry;

    if (!c)
        return;
    json_object_foreach(c->entries, name, entry)
        wipe(json_string_value(json_object_get(entry, "value")));
    json_decref(c->entries);
    free(c);
}

void secret_cache_put(struct secret_cache *c, const char *name, const char *value,
                      struct wall_time at)
{
    json_object_set_new(c->entries, name,
                        json_pack("{s:s,s:I}", "value", value, "at", (json_int_t)wall_seconds(at)));
}

const char *secret_cache_get(const struct secret_cache *c, const char *name,
                             struct wall_time *ret_at)
{
    const json_t *entry = json_object_get(c->entries, name);
    const char *value = json_string_value(json_object_get(entry, "value"));

    if (value)
        *ret_at = wall_from_seconds(json_integer_value(json_object_get(entry, "at")));
    return value;
}

/* ---- the key ---- */

static void derive(const struct blob *secret, uint8_t ret[SEAL_KEY_BYTES])
{
    hash_hmac_sha256(secret->data, secret->size, MAGIC, strlen(MAGIC), ret);
}

static int read_key(const char *path, uint8_t ret[SEAL_KEY_BYTES], struct err *e)
{
    AUTO(blob) secret = NULL;
    int r = fs_read_blob(AT_FDCWD, path, KEY_MAX, &secret, e);

    if (r < 0)
        return r;
    if (secret->size < KEY_MIN)
        return err_set(e, -EINVAL, ERR_NEVER, "%s has fewer than %d bytes: no key", path, KEY_MIN);
    derive(secret, ret);
    return 0;
}

static int check_private(const char *path, struct err *e)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return err_errno(e, -errno, "%s", path);
    if (st.st_mode & 077)
        return err_set(e, -EACCES, ERR_NEVER,
                       "%s can be read by others (mode %03o): chmod 600, or remove it, and the "
                       "secrets cache is made anew",
                       path, (unsigned)st.st_mode & 0777);
    return 0;
}

static int make_key(const char *path, struct err *e)
{
    uint8_t bytes[SEAL_KEY_BYTES];
    char text[2 * SEAL_KEY_BYTES + 2];

    hash_random(bytes, sizeof(bytes));
    text_hex(bytes, sizeof(bytes), text);
    text[2 * SEAL_KEY_BYTES] = '\n';
    int r = fs_create_synced(AT_FDCWD, path, text, 2 * SEAL_KEY_BYTES + 1, 0600, e);
    explicit_bzero(bytes, sizeof(bytes));
    explicit_bzero(text, sizeof(text));
    return r == -EEXIST ? 0 : r;
}

static int find_key(const char *folder, const char *credentials, bool make,
                    uint8_t ret[SEAL_KEY_BYTES], struct err *e)
{
    char path[PATH_LEN];

    if (credentials && *credentials) {
        if (text_format(path, sizeof(path), "%s/" SECRET_CREDENTIAL, credentials) < 0)
            return err_set(e, -ENAMETOOLONG, ERR_NEVER, "$CREDENTIALS_DIRECTORY is too long");
        if (fs_exists(AT_FDCWD, path))
            return read_key(path, ret, e);
    }
    if (text_format(path, sizeof(path), "%s/" KEY_NAME, folder) < 0)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "data_dir is too long");
    int r = make && !fs_exists(AT_FDCWD, path) ? make_key(path, e) : 0;
    if (r == 0)
        r = check_private(path, e);
    return r < 0 ? r : read_key(path, ret, e);
}

/* ---- the file ---- */

static int parse(struct secret_cache *c, const char *text, size_t size, struct err *e)
{
    AUTO_JSON json_t *entries = NULL;
    const char *name;
    json_t *entry;

    int r = js_parse(text, size, FILE_MAX, &entries, e);
    if (r < 0 || !json_is_object(entries))
        return err_set(e, -EBADMSG, ERR_NEVER, "it holds something else");
    json_object_foreach(entries, name, entry) if (json_is_string(json_object_get(entry, "value")) &&
                                                  json_is_integer(json_object_get(entry, "at")))
        json_object_set(c->entries, name, entry);
    return 0;
}

static int read_file(struct secret_cache *c, const char *path, const char *folder,
                     const char *credentials, struct err *e)
{
    AUTO(blob) file = NULL;
    uint8_t key[SEAL_KEY_BYTES];

    int r = fs_read_blob(AT_FDCWD, path, FILE_MAX, &file, e);
    if (r < 0)
        return r;
    size_t head = strlen(MAGIC);
    if (file->size < head + SEAL_OVERHEAD || memcmp(file->data, MAGIC, head) != 0)
        return err_set(e, -EBADMSG, ERR_NEVER,
                       "it is damaged, or no secrets cache of this version");
    r = find_key(folder, credentials, false, key, e);
    if (r < 0)
        return r;
    size_t size = file->size - head - SEAL_OVERHEAD;
    uint8_t *text = xmalloc(size + 1);
    r = seal_open(key, MAGIC, file->data + head, file->size - head, text);
    explicit_bzero(key, sizeof(key));
    if (r < 0)
        (void)err_set(e, r, ERR_NEVER,
                      "it is damaged, or was made with another key than today's: it is of no use, "
                      "and is made anew as soon as Connect answers");
    else
        r = parse(c, (const char *)text, size, e);
    explicit_bzero(text, size);
    free(text);
    return r;
}

int secret_cache_read(struct secret_cache *c, const char *folder, const char *credentials,
                      struct err *e)
{
    char path[PATH_LEN];

    if (text_format(path, sizeof(path), "%s/" FILE_NAME, folder) < 0)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "data_dir is too long");
    int r = read_file(c, path, folder, credentials, e);
    return r < 0 ? (void)err_prefix(e, "the secrets cache %s", path), r : 0;
}

int secret_cache_write(const struct secret_cache *c, const char *folder, const char *credentials,
                       struct err *e)
{
    char path[PATH_LEN];
    uint8_t key[SEAL_KEY_BYTES];
    size_t head = strlen(MAGIC);

    if (text_format(path, sizeof(path), "%s/" FILE_NAME, folder) < 0)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "data_dir is too long");
    int r = fs_mkdirs(AT_FDCWD, folder, 0700, e);
    if (r == 0)
        r = find_key(folder, credentials, true, key, e);
    if (r < 0)
        return err_prefix(e, "the secrets cache"), r;
    AUTO_FREE char *text = js_text(c->entries);
    size_t size = strlen(text);
    if (size > FILE_MAX - head - SEAL_OVERHEAD)
        r = err_set(e, -EFBIG, ERR_NEVER, "the secrets are more than %zu MB together",
                    FILE_MAX >> 20);
    AUTO_FREE uint8_t *box = xmalloc(head + size + SEAL_OVERHEAD);
    memcpy(box, MAGIC, head);
    if (r == 0) {
        seal_close(key, MAGIC, text, size, box + head);
        r = fs_replace(AT_FDCWD, path, box, head + size + SEAL_OVERHEAD, 0600, e);
    }
    explicit_bzero(key, sizeof(key));
    explicit_bzero(text, size);
    return r < 0 ? (void)err_prefix(e, "the secrets cache"), r : 0;
}

void secret_cache_remove(const char *folder)
{
    char path[PATH_LEN];

    if (text_format(path, sizeof(path), "%s/" FILE_NAME, folder) > 0)
        (void)unlink(path); /* mostly there is none */
}
