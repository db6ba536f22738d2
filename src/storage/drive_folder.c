#include "storage/drive_folder.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#define TRUST_MS 60000 /* a folder that a person removes is missed within this */
#define KEY_MAX (DRIVE_ID_MAX + DRIVE_NAME_MAX + 16)
#define YOUNG_TRUST_MS 1000 /* while another one of its name may come to light */
#define MERGE_BATCH 50      /* files that move from a double at a time: 17 s at Google's pace */
#define MERGE_DEPTH 4       /* the folder, year, month, day */
#define CREATE_ATTEMPTS 3   /* with one id each; the second is needed when an id is spoilt */

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

static const char *const note_words[] = {
    [DRIVE_NOTE_NEW] = "new ", [DRIVE_NOTE_MADE] = "made ", [DRIVE_NOTE_YOUNG] = "young "};

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
    for (size_t i = DRIVE_NOTE_NEW; i < ARRAY_LEN(note_words); i++)
        if (text_starts_with(value, note_words[i]) &&
            text_copy(ret_id, DRIVE_ID_MAX, value + strlen(note_words[i])))
            *ret = (enum drive_note)i;
    return 0; /* what is not our writing is as if it were not there */
}

int drive_note_set(const struct storage_memory *memory, const char *key, enum drive_note note,
                   const char *id, struct err *e)
{
    char value[DRIVE_ID_MAX + 16];
    if (note == DRIVE_NOTE_NONE)
        return memory->set(memory->arg, key, NULL, e);
    (void)text_format(value, sizeof(value), "%s%s", note_words[note], id);
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
    if (note != DRIVE_NOTE_MADE && note != DRIVE_NOTE_YOUNG)
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
                 const struct drive_file *found, bool young)
{
    struct mono_time now = clock_mono(), since = now;
    struct drive_folder *k = find_kept(d, parent, name);
    if (k && !strcmp(k->id, found->id))
        since = k->since;
    if (!k) {
        k = &d->kept[d->next];
        d->next = (d->next + 1) % DRIVE_FOLDERS_KEPT;
    }
    *k = (struct drive_folder){.in_use = true, .young = young, .seen = now, .since = since};
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
    bool young;             /* ours serves, and no list shows it yet */
    bool settled;           /* what serves has done so for a while: lists know all by now */
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

static void double_key(const struct search *s, char key[KEY_MAX])
{
    (void)text_format(key, KEY_MAX, "double:%s/%s", s->parent, s->name);
}

/* Ours has been used when an older one comes to light: what is in it moves there, by and by. */
static int leave_ours(struct search *s)
{
    char key[KEY_MAX];
    double_key(s, key);
    log_notice(
        "drive-folder-double",
        "Drive has a folder '%s' that is older than ours: it serves from now on, and what is "
        "in ours moves there",
        s->name);
    return drive_note_set(s->memory, key, DRIVE_NOTE_MADE, s->ours.id, s->e);
}

/* Chooses among what the list shows, and tidies up what we made in vain. `used`: there may be
 * something in ours that no list shows. */
static int settle(struct search *s, bool used, struct drive_file *ret)
{
    if (s->ours.id[0] && strcmp(s->ours.id, s->oldest.id) != 0) {
        int r = used ? leave_ours(s) : drop_ours(s);
        if (r < 0)
            return r;
        s->count -= used ? 1 : r;
    }
    if (s->count > 1)
        log_warn("drive-folders", "Drive has %d folders '%s' in one place; the oldest is used, %s",
                 s->count, s->name, s->oldest.link[0] ? s->oldest.link : s->oldest.id);
    *ret = s->oldest;
    s->young = s->young && !strcmp(ret->id, s->own);
    return drive_note_set(s->memory, s->key, s->young ? DRIVE_NOTE_YOUNG : DRIVE_NOTE_MADE, ret->id,
                          s->e);
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
        bool old = id[0];
        r = old ? 0 : new_id(s, id);
        if (r < 0)
            return r;
        r = make_with(s, id, ret);
        /* An id that Drive does not take, as of another account, must not be kept for ever. */
        if (r == -EINVAL && drive_note_set(s->memory, s->key, DRIVE_NOTE_NONE, NULL, NULL) == 0 &&
            old)
            r = -EEXIST;
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

/* ---- doubles ---- */

struct child {
    char id[DRIVE_ID_MAX], name[DRIVE_NAME_MAX];
    bool folder;
};
struct children {
    struct child list[MERGE_BATCH];
    int count;
};

static int see_child(void *arg, const struct drive_file *file)
{
    struct children *c = arg;
    struct child *child = &c->list[c->count];
    if (file->trashed)
        return 0;
    child->folder = !strcmp(file->type, DRIVE_FOLDER_TYPE);
    (void)text_copy(child->id, sizeof(child->id), file->id);
    (void)text_copy(child->name, sizeof(child->name), file->name);
    return ++c->count == MERGE_BATCH;
}

static int list_children(struct search *s, const char *folder, struct children *ret)
{
    AUTO_DONE(dynbuf) q;
    dynbuf_init(&q, 512);
    (void)drive_quote(&q, folder);
    (void)dynbuf_puts(&q, " in parents and trashed = false");
    ret->count = 0;
    int r = drive_find(s->l, dynbuf_str(&q), MERGE_BATCH, see_child, ret, s->f, s->e);
    return MIN(r, 0);
}

static int merge(struct search *s, const char *from, const char *to, int depth);

/* 1: something moved or stays; 0: the folder was empty and is in the trash. */
static int merge_folder(struct search *s, const struct child *child, const char *from,
                        const char *to, int depth)
{
    struct search below = {.l = s->l,
                           .memory = s->memory,
                           .parent = to,
                           .name = child->name,
                           .settled = s->settled,
                           .f = s->f,
                           .e = s->e};
    struct drive_file file;
    int r = child->name[0] && depth < MERGE_DEPTH ? look_around(&below) : 0;
    if (r < 0)
        return r;
    if (below.count == 0) {
        r = drive_patch(s->l, "move folder", child->id, "{}", to, from, &file, s->f, s->e);
        return r < 0 ? r : 1;
    }
    r = merge(&below, child->id, below.oldest.id, depth + 1);
    if (r != 0 || !s->settled)
        return r < 0 ? r : 1;
    return drive_trash(s->l, child->id, s->f, s->e);
}

/* Moves what is in one folder into another. 0 when there was nothing. */
static int merge(struct search *s, const char *from, const char *to, int depth)
{
    AUTO_FREE struct children *c = xcalloc(1, sizeof(*c));
    struct drive_file file;
    int r = list_children(s, from, c);
    int left = 0;
    for (int i = 0; i < c->count && r >= 0; i++) {
        r = c->list[i].folder
                ? merge_folder(s, &c->list[i], from, to, depth)
                : drive_patch(s->l, "move file", c->list[i].id, "{}", to, from, &file, s->f, s->e);
        left += c->list[i].folder ? r > 0 : 1;
        if (r == -ENOENT || r == -EPERM || r == -EINVAL) { /* gone, or not ours to move */
            *s->f = (struct storage_failure){0};
            left++;
            r = 0;
        }
    }
    return r < 0 ? r : left > 0;
}

/* A folder of ours that is used no more: see leave_ours(). What was on its way into it comes later,
 * so it is not trusted to be empty before what serves has served for a while. */
static int tidy_double(struct search *s, const struct drive_file *serves)
{
    char key[KEY_MAX], id[DRIVE_ID_MAX];
    enum drive_note note;
    double_key(s, key);
    int r = drive_note_get(s->memory, key, &note, id, s->e);
    if (r < 0 || note == DRIVE_NOTE_NONE)
        return r;
    r = strcmp(id, serves->id) != 0 ? merge(s, id, serves->id, 1) : 0;
    if (r > 0 || (r == 0 && !s->settled))
        return 0;
    if (r == 0 && strcmp(id, serves->id) != 0)
        r = drive_trash(s->l, id, s->f, s->e);
    if (r == 0 || r == -ENOENT || r == -EPERM || r == -EINVAL) {
        *s->f = (struct storage_failure){0};
        return drive_note_set(s->memory, key, DRIVE_NOTE_NONE, NULL, s->e);
    }
    return r;
}

/* Ours, made a moment ago: does a list show it by now, and an older one? */
static int look_for_older(struct search *s, const char *id, struct drive_file *ret)
{
    text_copy(s->own, sizeof(s->own), id);
    int r = look_around(s);
    if (r < 0)
        return r;
    s->young = !s->ours.id[0];
    return s->young ? 0 : settle(s, true, ret);
}

static int search_and_make(struct search *s, struct drive_file *ret)
{
    enum drive_note note;
    char id[DRIVE_ID_MAX] = "";
    int r = drive_note_get(s->memory, s->key, &note, id, s->e);
    if (r < 0)
        return r;
    if (note == DRIVE_NOTE_MADE || note == DRIVE_NOTE_YOUNG) {
        r = drive_get(s->l, id, ret, s->f, s->e);
        if (r == 0 && !ret->trashed && !strcmp(ret->type, DRIVE_FOLDER_TYPE))
            return note == DRIVE_NOTE_YOUNG ? look_for_older(s, id, ret) : tidy_double(s, ret);
        if (r < 0 && r != -ENOENT)
            return r;
        id[0] = '\0'; /* removed by a person: its id is spent */
    }
    text_copy(s->own, sizeof(s->own), note == DRIVE_NOTE_NEW ? id : "");
    r = look_around(s);
    if (r < 0)
        return r;
    if (s->count > 0)
        return settle(s, false, ret);
    struct drive_file made;
    r = make(s, id, &made);
    if (r < 0)
        return r;
    text_copy(s->own, sizeof(s->own), made.id);
    r = look_around(s);
    if (r < 0)
        return r;
    if (!s->ours.id[0]) { /* the list may lag behind what was made a moment ago */
        s->young = true;
        s->ours = made;
        if (s->count++ == 0 || drive_file_older(&made, &s->oldest))
            s->oldest = made;
    }
    return settle(s, false, ret);
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
    s.settled = k && mono_passed(mono_add_ms(k->since, TRUST_MS));
    if (!k || doubt || mono_passed(mono_add_ms(k->seen, k->young ? YOUNG_TRUST_MS : TRUST_MS))) {
        r = search_and_make(&s, &found);
        if (r == 0)
            keep(d, parent, name, &found, s.young);
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
