#include "storage/drive_folder.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"

#define TRUST_MS 60000 /* a folder that a person removes is missed within this */
#define KEY_MAX (DRIVE_ID_MAX + DRIVE_NAME_MAX + 16)
#define NEW_WORD "new "
#define MADE_WORD "made "
#define CREATE_ATTEMPTS 3 /* with one id each; the second is needed when an id is spoilt */

void drive_folders_init(struct drive_folders *d)
{
    *d = (struct drive_folders){0};
    (void)pthread_mutex_init(&d->lock, NULL); /* cannot fail with default attributes */
}

void drive_folders_done(struct drive_folders *d)
{
    (void)pthread_mutex_destroy(&d->lock);
}

/* ---- notes ---- */

int drive_note_get(const struct storage_memory *memory, const char *key, enum drive_note *ret,
                   char ret_id[DRIVE_ID_MAX], struct err *e)
{
    char value[DRIVE_ID_MAX + 16];
    *ret = DRIVE_NOTE_NONE;
    int r = memory->get(memory->arg, key, value, sizeof(value), e);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    bool made = text_starts_with(value, MADE_WORD);
    if (!made && !text_starts_with(value, NEW_WORD))
        return 0; /* not our writing: as if it were not there */
    if (!text_copy(ret_id, DRIVE_ID_MAX, value + strlen(made ? MADE_WORD : NEW_WORD)))
        return 0;
    *ret = made ? DRIVE_NOTE_MADE : DRIVE_NOTE_NEW;
    return 0;
}

int drive_note_set(const struct storage_memory *memory, const char *key, enum drive_note note,
                   const char *id, struct err *e)
{
    char value[DRIVE_ID_MAX + 16];
    if (note == DRIVE_NOTE_NONE)
        return memory->set(memory->arg, key, NULL, e);
    (void)text_format(value, sizeof(value), "%s%s", note == DRIVE_NOTE_MADE ? MADE_WORD : NEW_WORD,
                      id);
    return memory->set(memory->arg, key, value, e);
}

static void note_key(char key[KEY_MAX], const char *parent, const char *name)
{
    (void)text_format(key, KEY_MAX, "folder:%s/%s", parent, name);
}

int drive_folder_remembered(const struct storage_memory *memory, const char *parent,
                            const char *name, char ret[DRIVE_ID_MAX], struct err *e)
{
    char key[KEY_MAX], id[DRIVE_ID_MAX];
    enum drive_note note;
    note_key(key, parent, name);
    int r = drive_note_get(memory, key, &note, id, e);
    if (r < 0)
        return r;
    if (note != DRIVE_NOTE_MADE)
        return err_set(e, -ENOENT, ERR_NEVER, "no folder is known yet");
    (void)text_copy(ret, DRIVE_ID_MAX, id);
    return 0;
}

/* ---- what is known in this process ---- */

static struct drive_folder *find_kept(struct drive_folders *d, const char *parent, const char *name)
{
    for (int i = 0; i < DRIVE_FOLDERS_KEPT; i++) {
        struct drive_folder *k = &d->kept[i];
        if (k->in_use && !strcmp(k->parent, parent) && !strcmp(k->name, name))
            return k;
    }
    return NULL;
}

static void keep(struct drive_folders *d, const char *parent, const char *name,
                 const struct drive_file *found)
{
    struct drive_folder *k = find_kept(d, parent, name);
    if (!k) {
        k = &d->kept[d->next];
        d->next = (d->next + 1) % DRIVE_FOLDERS_KEPT;
    }
    *k = (struct drive_folder){.in_use = true, .seen = clock_mono()};
    (void)text_copy(k->parent, sizeof(k->parent), parent);
    (void)text_copy(k->name, sizeof(k->name), name);
    (void)text_copy(k->id, sizeof(k->id), found->id);
    (void)text_copy(k->link, sizeof(k->link), found->link);
}

/* ---- looking and making ---- */

struct search {
    struct drive_link *l;
    const struct storage_memory *memory;
    const char *parent, *name;
    char key[KEY_MAX];
    struct storage_failure *f;
    struct err *e;
    /* What the list shows. */
    struct drive_file oldest;
    int count;
    char own[DRIVE_ID_MAX]; /* the id that we made one with, or "" */
    struct drive_file ours; /* that one, when it is among them */
};

bool drive_file_older(const struct drive_file *a, const struct drive_file *b)
{
    if (a->created_at.us != b->created_at.us)
        return a->created_at.us < b->created_at.us;
    return strcmp(a->id, b->id) < 0;
}

static int see(void *arg, const struct drive_file *file)
{
    struct search *s = arg;
    /* Drive's notion of equal names is not ours: it ignores case. */
    if (strcmp(file->name, s->name) != 0 || strcmp(file->type, DRIVE_FOLDER_TYPE) != 0 ||
        file->trashed)
        return 0;
    if (s->own[0] && !strcmp(file->id, s->own))
        s->ours = *file;
    if (s->count++ == 0 || drive_file_older(file, &s->oldest))
        s->oldest = *file;
    return 0;
}

static int look_around(struct search *s)
{
    AUTO_DONE(dynbuf) q;
    dynbuf_init(&q, 4096);
    (void)drive_quote(&q, s->parent);
    (void)dynbuf_puts(&q, " in parents and name = ");
    (void)drive_quote(&q, s->name);
    if (dynbuf_puts(&q, " and mimeType = '" DRIVE_FOLDER_TYPE "' and trashed = false") < 0)
        return err_set(s->e, -EINVAL, ERR_NEVER, "the folder's name is too long");
    s->count = 0;
    s->ours = (struct drive_file){0};
    return drive_find(s->l, dynbuf_str(&q), 100, see, s, s->f, s->e);
}

static int see_any(void *arg, const struct drive_file *file)
{
    (void)file;
    *(bool *)arg = true;
    return 1;
}

/* Moves our own folder to the trash when an older one of its name serves. 1, or 0 when it stays
 * because somebody has put something into it. */
static int drop_ours(struct search *s)
{
    AUTO_DONE(dynbuf) q;
    bool used = false;
    dynbuf_init(&q, 512);
    (void)drive_quote(&q, s->ours.id);
    (void)dynbuf_puts(&q, " in parents and trashed = false");
    int r = drive_find(s->l, dynbuf_str(&q), 1, see_any, &used, s->f, s->e);
    if (r < 0 && r != -ENOENT)
        return r;
    if (r == -ENOENT || used)
        return 0;
    r = drive_trash(s->l, s->ours.id, s->f, s->e);
    return r < 0 ? r : 1;
}

/* Chooses among what the list shows, and tidies up what we made in vain. */
static int settle(struct search *s, struct drive_file *ret)
{
    if (s->ours.id[0] && strcmp(s->ours.id, s->oldest.id) != 0) {
        int r = drop_ours(s);
        if (r < 0)
            return r;
        s->count -= r;
    }
    if (s->count > 1)
        log_warn("drive-folders", "Drive has %d folders '%s' in one place; the oldest is used, %s",
                 s->count, s->name, s->oldest.link[0] ? s->oldest.link : s->oldest.id);
    *ret = s->oldest;
    return drive_note_set(s->memory, s->key, DRIVE_NOTE_MADE, ret->id, s->e);
}

static int new_id(struct search *s, char ret[DRIVE_ID_MAX])
{
    char ids[1][DRIVE_ID_MAX];
    int r = drive_new_ids(s->l, "files", 1, ids, s->f, s->e);
    if (r < 0)
        return r;
    (void)text_copy(ret, DRIVE_ID_MAX, ids[0]);
    return drive_note_set(s->memory, s->key, DRIVE_NOTE_NEW, ret, s->e);
}

/* 0; -EEXIST: this id cannot be had any more. */
static int make_with(struct search *s, const char *id, struct drive_file *ret)
{
    const struct drive_meta m = {
        .id = id, .name = s->name, .type = DRIVE_FOLDER_TYPE, .parent = s->parent};
    int r = drive_create(s->l, "make folder", &m, ret, s->f, s->e);
    if (r != -EEXIST)
        return r;
    r = drive_get(s->l, id, ret, s->f, s->e); /* made by an attempt whose answer was lost */
    if (r == -ENOENT || (r == 0 && ret->trashed))
        return -EEXIST;
    return r;
}

static int make(struct search *s, char id[DRIVE_ID_MAX], struct drive_file *ret)
{
    int r = -EEXIST;
    for (int i = 0; i < CREATE_ATTEMPTS && r == -EEXIST; i++) {
        r = id[0] ? 0 : new_id(s, id);
        if (r < 0)
            return r;
        r = make_with(s, id, ret);
        if (r == -EEXIST)
            id[0] = '\0';
    }
    if (r == -EEXIST)
        return err_set(s->e, -EAGAIN, ERR_LATER, "make folder '%s': no id of it is free", s->name);
    if (r < 0)
        return r;
    log_notice("drive-folder-made", "Drive has a new folder '%s'%s", s->name,
               strcmp(s->parent, DRIVE_ROOT) != 0
                   ? ""
                   : "; one of this name that was made by hand in the browser stays unused: Google "
                     "shows this program only what it made itself");
    return 0;
}

static int search_and_make(struct search *s, struct drive_file *ret)
{
    enum drive_note note;
    char id[DRIVE_ID_MAX] = "";
    int r = drive_note_get(s->memory, s->key, &note, id, s->e);
    if (r < 0)
        return r;
    if (note == DRIVE_NOTE_MADE) {
        r = drive_get(s->l, id, ret, s->f, s->e);
        if (r == 0 && !ret->trashed && !strcmp(ret->type, DRIVE_FOLDER_TYPE))
            return 0;
        if (r < 0 && r != -ENOENT)
            return r;
        id[0] = '\0'; /* removed by a person: its id is spent */
    }
    text_copy(s->own, sizeof(s->own), note == DRIVE_NOTE_NEW ? id : "");
    r = look_around(s);
    if (r < 0)
        return r;
    if (s->count > 0)
        return settle(s, ret);
    struct drive_file made;
    r = make(s, id, &made);
    if (r < 0)
        return r;
    text_copy(s->own, sizeof(s->own), made.id);
    r = look_around(s);
    if (r < 0)
        return r;
    if (!s->ours.id[0]) { /* the list may lag behind what was made a moment ago */
        s->ours = made;
        if (s->count++ == 0 || drive_file_older(&made, &s->oldest))
            s->oldest = made;
    }
    return settle(s, ret);
}

int drive_folder_need(struct drive_folders *d, struct drive_link *l,
                      const struct storage_memory *memory, const char *parent, const char *name,
                      bool doubt, char ret[DRIVE_ID_MAX], char ret_link[STORAGE_ID_MAX],
                      struct storage_failure *f, struct err *e)
{
    struct search s = {.l = l, .memory = memory, .parent = parent, .name = name, .f = f, .e = e};
    struct drive_file found = {0};
    note_key(s.key, parent, name);
    (void)pthread_mutex_lock(&d->lock);
    struct drive_folder *k = find_kept(d, parent, name);
    int r = 0;
    if (!k || doubt || mono_passed(mono_add_ms(k->seen, TRUST_MS))) {
        r = search_and_make(&s, &found);
        if (r == 0)
            keep(d, parent, name, &found);
        else if (k)
            k->in_use = false;
        k = find_kept(d, parent, name);
    }
    if (r == 0) {
        (void)text_copy(ret, DRIVE_ID_MAX, k->id);
        if (ret_link)
            (void)text_copy(ret_link, STORAGE_ID_MAX, k->link);
    }
    (void)pthread_mutex_unlock(&d->lock);
    if (r < 0)
        (void)err_prefix(e, "folder '%s'", name);
    return r;
}
