#include "aws/aws_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "aws/aws_account.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "sys/ini.h"

enum {
    FILE_MAX = 256 * 1024, /* profiles of a large company, each with its role */
    ENTRIES_MAX = 4096,
};

struct entry {
    enum aws_file file;
    char *profile, *key, *value; /* key and value NULL: the profile is there */
};

struct aws_files {
    char *paths[AWS_FILE_COUNT];
    struct entry entries[ENTRIES_MAX];
    int count;
};

struct reading {
    struct aws_files *files;
    enum aws_file file;
    char profile[INI_NAME_MAX + 1]; /* "" = a section that is none */
};

static int read_file(struct aws_files *f, enum aws_file file, struct err *e);

int aws_files_read(struct aws_files **ret, struct err *e)
{
    const char *const given[] = {[AWS_FILE_CREDENTIALS] = aws_account_credentials_file(),
                                 [AWS_FILE_CONFIG] = aws_account_config_file()};
    static const char *const usual[] = {
        [AWS_FILE_CREDENTIALS] = ".aws/credentials", [AWS_FILE_CONFIG] = ".aws/config"};
    AUTO(aws_files) f = xcalloc(1, sizeof(*f));
    const char *home = getenv("HOME");
    for (int i = 0; i < AWS_FILE_COUNT; i++) {
        const char *path = given[i];
        if (path)
            f->paths[i] = text_starts_with(path, "~/") && home ? xasprintf("%s%s", home, path + 1)
                                                               : xstrdup(path);
        else
            f->paths[i] = xasprintf("%s/%s", home ? home : "", usual[i]);
        int r = read_file(f, (enum aws_file)i, e);
        if (r < 0)
            return r;
    }
    *ret = STEAL(f);
    return 0;
}

void aws_files_free(struct aws_files *f)
{
    if (!f)
        return;
    for (int i = 0; i < f->count; i++) {
        struct entry *entry = &f->entries[i];
        if (entry->value)
            explicit_bzero(entry->value, strlen(entry->value));
        free(entry->profile);
        free(entry->key);
        free(entry->value);
    }
    for (int i = 0; i < AWS_FILE_COUNT; i++)
        free(f->paths[i]);
    free(f);
}

const char *aws_files_path(const struct aws_files *f, enum aws_file file)
{
    return f->paths[file];
}

static void add(struct reading *r, const char *key, const char *value)
{
    struct aws_files *f = r->files;
    if (!r->profile[0] || f->count == ENTRIES_MAX)
        return;
    f->entries[f->count++] =
        (struct entry){r->file, xstrdup(r->profile), xstrdup(key), xstrdup(value)};
}

static void take_section(void *arg, int line UNUSED, const char *name)
{
    struct reading *r = arg;
    bool prefixed = text_starts_with(name, "profile ") || text_starts_with(name, "profile\t");
    r->profile[0] = '\0';
    if (r->file == AWS_FILE_CREDENTIALS || !strcmp(name, "default")) {
        text_copy(r->profile, sizeof(r->profile), name);
    } else if (prefixed) {
        name += 8;
        name += strspn(name, " \t");
        /* A name with blanks is quoted. */
        size_t len = strlen(name);
        bool quoted = len >= 2 && (*name == '"' || *name == '\'') && name[len - 1] == *name;
        text_copy(r->profile, sizeof(r->profile), quoted ? name + 1 : name);
        if (quoted)
            r->profile[len - 2] = '\0';
    }
    add(r, NULL, NULL);
}

static void take_pair(void *arg, int line UNUSED, const char *key, const char *value,
                      bool continued, bool in_section)
{
    if (!continued && in_section && *value)
        add(arg, key, value);
}

/* Files of other programs: what we do not understand is not ours to complain about. */
static void skip_fault(void *arg UNUSED, int line UNUSED, const char *text UNUSED)
{
}

int aws_file_load(const char *path, size_t max, struct blob **ret, struct err *e)
{
    AUTO_FREE char *real = realpath(path, NULL);
    if (!real)
        return err_errno(e, -errno, "%s", path);
    return fs_read_blob(AT_FDCWD, real, max, ret, e);
}

static int read_file(struct aws_files *f, enum aws_file file, struct err *e)
{
    static const struct ini_sink sink = {take_section, take_pair, skip_fault};
    AUTO(blob) content = NULL;
    int r = aws_file_load(f->paths[file], FILE_MAX, &content, e);
    if (r == -ENOENT || r == -ENOTDIR)
        return 0;
    if (r < 0)
        return err_prefix(e, "AWS profiles"), r;
    struct reading reading = {.files = f, .file = file};
    r = ini_read((const char *)content->data, content->size, &sink, &reading);
    return r < 0 ? err_set(e, r, ERR_NEVER, "AWS profiles: %s is no text", f->paths[file]) : 0;
}

const char *aws_files_get(const struct aws_files *f, enum aws_file file, const char *profile,
                          const char *key)
{
    const char *found = NULL;
    for (int i = 0; i < f->count; i++) {
        const struct entry *entry = &f->entries[i];
        if (entry->file == file && entry->key && !strcmp(entry->profile, profile) &&
            text_equal_nocase(entry->key, key))
            found = entry->value; /* of two the last, as everywhere in such files */
    }
    return found;
}

const char *aws_files_find(const struct aws_files *f, const char *profile, const char *key)
{
    const char *found = aws_files_get(f, AWS_FILE_CREDENTIALS, profile, key);
    return found ? found : aws_files_get(f, AWS_FILE_CONFIG, profile, key);
}

bool aws_files_has_profile(const struct aws_files *f, const char *profile)
{
    for (int i = 0; i < f->count; i++)
        if (!strcmp(f->entries[i].profile, profile))
            return true;
    return false;
}
