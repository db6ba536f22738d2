#include "model/snapshot.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "sys/hash.h"

const char *const snapshot_source_names[SNAPSHOT_SOURCE_COUNT] = {"fetched", "pushed"};
const char *const snapshot_state_names[SNAPSHOT_STATE_COUNT] = {"stored", "examined"};

static atomic_size_t live;

struct snapshot *snapshot_new(void)
{
    struct snapshot *s = xcalloc(1, sizeof(*s));
    s->refs = 1;
    s->orientation = 1;
    atomic_fetch_add(&live, 1);
    return s;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
    if (s)
        (void)__atomic_fetch_add(&s->refs, 1, __ATOMIC_RELAXED);
    return s;
}

void snapshot_unref(struct snapshot *s)
{
    if (!s || __atomic_fetch_sub(&s->refs, 1, __ATOMIC_ACQ_REL) != 1)
        return;
    blob_unref(s->bytes);
    free(s);
    atomic_fetch_sub(&live, 1);
}

size_t snapshot_live_count(void)
{
    return atomic_load(&live);
}

void snapshot_id_new(struct wall_time now, char ret[SNAPSHOT_ID_SIZE])
{
    unsigned char raw[16];
    uint64_t ms = (uint64_t)MAX(now.us / 1000, (int64_t)0);
    for (int i = 0; i < 6; i++)
        raw[i] = (unsigned char)(ms >> (40 - 8 * i));
    hash_random(raw + 6, sizeof(raw) - 6);
    text_hex(raw, sizeof(raw), ret);
}

bool snapshot_id_valid(const char *id)
{
    return strlen(id) == SNAPSHOT_ID_LEN && strspn(id, "0123456789abcdef") == SNAPSHOT_ID_LEN;
}

/* A device key as part of a file name: lower case, spaces to hyphens, nothing that a path or a
 * terminal could trip over. */
static void key_as_name(const char *key, char *ret, size_t size)
{
    size_t out = 0;
    for (; *key && out + 1 < size; key++) {
        unsigned char c = (unsigned char)*key;
        if (c >= 'A' && c <= 'Z')
            c = (unsigned char)(c - 'A' + 'a');
        else if (c == ' ')
            c = '-';
        else if (c < 0x20 || c == 0x7f || c == '/' || c == '\\')
            c = '_';
        ret[out++] = (char)c;
    }
    ret[out] = '\0';
}

int snapshot_name_fetched(const char *device_key, struct wall_time event_at, unsigned nth,
                          const char *ext, char *ret, size_t size)
{
    char key[SNAPSHOT_KEY_MAX], suffix[16] = "";
    key_as_name(device_key, key, sizeof(key));
    if (nth > 1)
        (void)text_format(suffix, sizeof(suffix), "-%u", nth);
    int n = text_format(ret, size, "fetch_%s_%lld%s.%s", key, (long long)wall_seconds(event_at),
                        suffix, ext);
    return n < 0 ? n : 0;
}

/* What is left of 255 bytes when the copy's word, a number and an extension of its own are off. */
#define PUSHED_NAME_MAX 200
/* Longer ones are no extensions. */
#define EXTENSION_MAX 8

/* One character, or '_' in its place. Returns its length in `src`. */
static size_t safe_character(const char *src, size_t len, char *ret, size_t *ret_len)
{
    unsigned char c = (unsigned char)*src;
    size_t n = text_utf8_length(src, len);
    bool unsafe = n == 0 || c < 0x20 || c == 0x7f || c == '/' || c == '\\';
    if (unsafe) {
        *ret = '_';
        *ret_len = 1;
        return 1;
    }
    memcpy(ret, src, n);
    *ret_len = n;
    return n;
}

int snapshot_name_pushed(const char *name, unsigned nth, char *ret, size_t size)
{
    static const char *const ours[] = {"fetch_", "human_", "detect_"};
    char safe[PUSHED_NAME_MAX * 2], suffix[16] = "";
    size_t len = strlen(name), out = 0;
    const char *dot = strrchr(name, '.');
    size_t stem_len =
        dot && dot > name && strlen(dot) <= EXTENSION_MAX ? (size_t)(dot - name) : len;
    for (size_t at = 0, n; at < stem_len && out < PUSHED_NAME_MAX - 8; out += n)
        at += safe_character(name + at, stem_len - at, safe + out, &n);
    safe[out++] = '\0';
    char *extension = safe + out;
    for (size_t at = stem_len, n; at < len && stem_len < len; out += n)
        at += safe_character(name + at, len - at, safe + out, &n);
    safe[out] = '\0';
    if (*safe == '.') /* hidden, or the folder itself */
        *safe = '_';
    const char *front = "";
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (text_starts_with(safe, ours[i]))
            front = "push_";
    if (nth > 1)
        (void)text_format(suffix, sizeof(suffix), "-%u", nth);
    int n = text_format(ret, size, "%s%s%s%s", front, *safe ? safe : "_", suffix, extension);
    return n < 0 ? n : 0;
}

int snapshot_name_renamed(const char *path, const char *word, char *ret, size_t size)
{
    static const char from[] = "fetch";
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    if (!text_starts_with(base, from))
        return -EINVAL;
    int n =
        text_format(ret, size, "%.*s%s%s", (int)(base - path), path, word, base + sizeof(from) - 1);
    return n < 0 ? n : 0;
}

void snapshot_name_original(const struct snapshot *s, char ret[SNAPSHOT_PATH_MAX])
{
    static const char now[] = "human_", first[] = "fetch_";
    static_assert(sizeof(now) == sizeof(first), "one takes the place of the other");
    text_copy(ret, SNAPSHOT_PATH_MAX, s->path);
    char *slash = strrchr(ret, '/');
    char *base = slash ? slash + 1 : ret;
    /* A pushed picture may be called so by its camera. */
    if (s->source == SNAPSHOT_FETCHED && text_starts_with(base, now))
        memcpy(base, first, sizeof(first) - 1);
}

int snapshot_name_annotated(const char *path, char *ret, size_t size)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    const char *rest = text_starts_with(base, "fetch_") ? base + strlen("fetch_") : base;
    const char *dot = strrchr(rest, '.');
    int n = text_format(ret, size, "%.*sdetect_%.*s.jpg", (int)(base - path), path,
                        dot ? (int)(dot - rest) : (int)strlen(rest), rest);
    return n < 0 ? n : 0;
}

const char *snapshot_extension(const char *format)
{
    return strcmp(format, "jpeg") == 0 ? "jpg" : format;
}

const char *snapshot_content_type(const char *format)
{
    static const struct {
        const char *format, *type;
    } rows[] = {
        {"jpeg", "image/jpeg"}, {"jpg", "image/jpeg"}, {"png", "image/png"},
        {"webp", "image/webp"}, {"gif", "image/gif"},  {"bmp", "image/bmp"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (text_equal_nocase(format, rows[i].format))
            return rows[i].type;
    return "application/octet-stream";
}
