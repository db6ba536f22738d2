#include "base/symbols.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"

/* The ONNX Runtime, the largest that we load, has some 20 MB. */
#define FILE_MAX ((size_t)128 << 20)
#define SECTIONS_MAX 4096
#define DEBUG_FOLDER "/usr/lib/debug/.build-id"

struct table {
    uint64_t offset, count; /* of Elf64_Sym, all of them within the file */
    uint64_t names, names_size;
};

struct symbols {
    struct blob *file;
    struct table table;
    bool whole; /* .symtab; else what the dynamic linker needs, without static functions */
    char build_id[SYMBOLS_BUILD_ID_HEX];
};

static int open_one(const char *path, const char *build_id, struct symbols **ret, struct err *e);
static int read_tables(struct symbols *s, struct err *e);
static void read_section(struct symbols *s, const Elf64_Ehdr *head, const Elf64_Shdr *section);
static void read_note(struct symbols *s, const Elf64_Shdr *section);
static bool read_at(const struct symbols *s, uint64_t offset, void *ret, size_t size);
static bool within(const struct symbols *s, uint64_t offset, uint64_t size);

int symbols_open(const char *path, const char *build_id, struct symbols **ret, struct err *e)
{
    AUTO(symbols) found = NULL;
    int r = open_one(path, build_id, &found, e);
    if (r == 0 && found->whole) {
        *ret = STEAL(found);
        return 0;
    }
    const char *id = build_id && build_id[0] ? build_id : found ? found->build_id : "";
    if (strlen(id) > 2 && strspn(id, "0123456789abcdef") == strlen(id)) {
        AUTO_FREE char *debug = xasprintf(DEBUG_FOLDER "/%.2s/%s.debug", id, id + 2);
        AUTO(symbols) better = NULL;
        if (open_one(debug, id, &better, NULL) == 0 && better->whole) {
            *ret = STEAL(better);
            return 0;
        }
    }
    if (r == 0)
        *ret = STEAL(found);
    return r;
}

static int open_one(const char *path, const char *build_id, struct symbols **ret, struct err *e)
{
    /* Libraries are mostly known by a link. */
    AUTO_FREE char *real = realpath(path, NULL);
    if (!real)
        return err_errno(e, -errno, "find %s", path);
    AUTO(blob) file = NULL;
    int r = fs_read_blob(AT_FDCWD, real, FILE_MAX, &file, e);
    return r < 0 ? r : symbols_of_blob(file, build_id, ret, e);
}

int symbols_of_blob(struct blob *file, const char *build_id, struct symbols **ret, struct err *e)
{
    struct symbols *s = xcalloc(1, sizeof(*s));
    s->file = blob_ref(file);
    int r = read_tables(s, e);
    if (r == 0 && build_id && build_id[0] && strcmp(build_id, s->build_id) != 0)
        r = err_set(e, -ESTALE, ERR_NEVER, "it is another build");
    if (r < 0) {
        symbols_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void symbols_free(struct symbols *s)
{
    if (!s)
        return;
    blob_unref(s->file);
    free(s);
}

const char *symbols_build_id(const struct symbols *s)
{
    return s->build_id;
}

static bool is_function(const Elf64_Sym *sym)
{
    unsigned type = ELF64_ST_TYPE(sym->st_info);
    return (type == STT_FUNC || type == STT_GNU_IFUNC) && sym->st_shndx != SHN_UNDEF;
}

const char *symbols_find(const struct symbols *s, uint64_t address, uint64_t *ret_offset)
{
    for (uint64_t i = 0; i < s->table.count; i++) {
        Elf64_Sym sym;
        if (!read_at(s, s->table.offset + i * sizeof(sym), &sym, sizeof(sym)))
            return NULL;
        if (!is_function(&sym) || address < sym.st_value ||
            address - sym.st_value >= MAX(sym.st_size, (uint64_t)1) ||
            sym.st_name >= s->table.names_size)
            continue;
        const char *name = (const char *)s->file->data + s->table.names + sym.st_name;
        if (!memchr(name, '\0', s->table.names_size - sym.st_name) || !*name)
            continue;
        if (ret_offset)
            *ret_offset = address - sym.st_value;
        return name;
    }
    return NULL;
}

static int read_tables(struct symbols *s, struct err *e)
{
    Elf64_Ehdr head;
    if (!read_at(s, 0, &head, sizeof(head)) || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
        head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_ident[EI_DATA] != ELFDATA2LSB)
        return err_set(e, -ENOEXEC, ERR_NEVER, "it is no 64-bit ELF file");
    if (head.e_shentsize != sizeof(Elf64_Shdr) || head.e_shnum > SECTIONS_MAX)
        return err_set(e, -ENOEXEC, ERR_NEVER, "its section table is not understood");
    for (unsigned i = 0; i < head.e_shnum; i++) {
        Elf64_Shdr section;
        if (!read_at(s, head.e_shoff + i * sizeof(section), &section, sizeof(section)))
            return err_set(e, -ENOEXEC, ERR_NEVER, "its section table is cut off");
        read_section(s, &head, &section);
    }
    return 0;
}

static void read_section(struct symbols *s, const Elf64_Ehdr *head, const Elf64_Shdr *section)
{
    if (section->sh_type == SHT_NOTE)
        read_note(s, section);
    bool whole = section->sh_type == SHT_SYMTAB;
    if (!whole && (section->sh_type != SHT_DYNSYM || s->whole))
        return;
    Elf64_Shdr names;
    if (section->sh_link >= head->e_shnum ||
        !read_at(s, head->e_shoff + section->sh_link * sizeof(names), &names, sizeof(names)) ||
        names.sh_type != SHT_STRTAB || !within(s, names.sh_offset, names.sh_size) ||
        !within(s, section->sh_offset, section->sh_size))
        return;
    s->table = (struct table){.offset = section->sh_offset,
                              .count = section->sh_size / sizeof(Elf64_Sym),
                              .names = names.sh_offset,
                              .names_size = names.sh_size};
    s->whole = whole;
}

/* One note: three words, the name "GNU", the id. The build id is alone in its section. */
static void read_note(struct symbols *s, const Elf64_Shdr *section)
{
    struct {
        Elf64_Nhdr head;
        char name[4];
    } note;
    uint8_t id[(SYMBOLS_BUILD_ID_HEX - 1) / 2];
    if (!read_at(s, section->sh_offset, &note, sizeof(note)) ||
        note.head.n_type != NT_GNU_BUILD_ID || note.head.n_namesz != sizeof(note.name) ||
        memcmp(note.name, "GNU", sizeof(note.name)) != 0 || note.head.n_descsz > sizeof(id) ||
        !read_at(s, section->sh_offset + sizeof(note), id, note.head.n_descsz))
        return;
    text_hex(id, note.head.n_descsz, s->build_id);
}

static bool within(const struct symbols *s, uint64_t offset, uint64_t size)
{
    return offset <= s->file->size && size <= s->file->size - offset;
}

static bool read_at(const struct symbols *s, uint64_t offset, void *ret, size_t size)
{
    if (!within(s, offset, size))
        return false;
    memcpy(ret, (const char *)s->file->data + offset, size);
    return true;
}
