/* The archive: pictures older than a day move from the folder to YYYY/MM/DD below it, in UTC.
 *
 * A run works from what Drive shows, so it needs no note of where it was: whatever ended the last
 * one, the next finds what is left. It may take hours (three moves a second), so it is made in
 * pieces, with its list kept between them. Two things need care.
 * - Moving shifts the pages of the list it is found with. So ids are collected first, a batch
 *   (GDRIVE_ARCHIVE_BATCH, 800 KB) at most, then moved, then the rest is collected.
 * - Since 2020 a file has one parent. A starred picture stays where it is, and its day gets a
 *   shortcut to it. The shortcut's id is remembered before it is made, and Drive keeps the target's
 *   id with it, so that another instance finds it: one stays one. When the star goes, the picture
 *   moves and the shortcut goes to the trash. */

#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "storage/gdrive_internal.h"

#define DAY_US 86400000000LL
#define PAGE_SIZE 500   /* some 300 KB of JSON, for the time of a page */
#define STALE_MS 600000 /* a list that rested for longer is made anew */
#define KEY_MAX (DRIVE_ID_MAX + 16)
#define DOUBLES_MAX 8 /* shortcuts to one file beside the oldest: one by each other instance */

/* One piece of a run. */
struct run {
    struct storage_session *w;
    struct gdrive_run *kept; /* what the next piece goes on with */
    struct wall_time before; /* strictly older ones move */
    struct mono_time until;
    int done; /* in this piece: no piece is for nothing */
    struct storage_failure *f;
    struct err *e;
};

static int move_all(struct run *run);
static int link_starred(struct run *run);
static void begin(struct gdrive_run *run, const char *top);

int gdrive_archive_run(struct storage_session *w, struct wall_time now, struct storage_failure *f,
                       struct err *e)
{
    *f = (struct storage_failure){0};
    if (w->g->archive == GDRIVE_ARCHIVE_OFF)
        return 0;
    struct gdrive_run *kept = &w->run;
    struct run run = {.w = w,
                      .kept = kept,
                      .before = {now.us - DAY_US},
                      .until = mono_add_ms(clock_mono(), w->g->archive_piece_ms),
                      .f = f,
                      .e = e};
    char top[DRIVE_ID_MAX];
    int r = gdrive_top_folder(w, false, top, f, e);
    if (r == 0 && (strcmp(top, kept->top) != 0 || mono_passed(kept->stale_at)))
        begin(kept, top);
    if (r == 0 && !kept->all_moved)
        r = move_all(&run);
    if (r == 0)
        r = link_starred(&run);
    if (r == -EINPROGRESS) {
        kept->stale_at = mono_add_ms(clock_mono(), STALE_MS);
        return r;
    }
    if (kept->refused)
        log_warn("drive-archive", "%d files stay where they are: Drive does not let us move them",
                 kept->refused);
    if (r < 0)
        (void)err_prefix(e, "archive, after %d moves", kept->moved);
    else
        log_notice("archive-done", "%d files moved, %d shortcuts made", kept->moved, kept->linked);
    r = gdrive_note_result(w->g, r, f, e);
    r = r < 0 ? r : kept->moved;
    gdrive_run_done(kept);
    return r;
}

void gdrive_run_done(struct gdrive_run *run)
{
    free(run->items);
    *run = (struct gdrive_run){0};
}

static void begin(struct gdrive_run *run, const char *top)
{
    gdrive_run_done(run);
    (void)text_copy(run->top, sizeof(run->top), top); /* fits */
}

static bool is_piece_over(const struct run *run)
{
    return run->done > 0 && mono_passed(run->until);
}

/* What lies directly in the folder, with this star or without. */
static int find_files(struct run *run, bool starred,
                      int (*each)(void *arg, const struct drive_file *file))
{
    AUTO_DONE(dynbuf) q;
    dynbuf_init(&q, 1024);
    (void)drive_quote(&q, run->kept->top);
    (void)dynbuf_printf(&q,
                        " in parents and trashed = false and starred = %s and mimeType != '%s'"
                        " and mimeType != '%s'",
                        starred ? "true" : "false", DRIVE_FOLDER_TYPE, DRIVE_SHORTCUT_TYPE);
    int r = drive_find(&run->w->link, dynbuf_str(&q), PAGE_SIZE, each, run, run->f, run->e);
    return gdrive_for_all(r, run->f, run->e);
}

/* The list is asked for the right ones already; it may lag behind. */
static bool is_old(const struct run *run, const struct drive_file *file, bool starred)
{
    return file->created_at.us && file->created_at.us < run->before.us &&
           file->starred == starred && !file->trashed &&
           strcmp(file->type, DRIVE_FOLDER_TYPE) != 0 &&
           strcmp(file->type, DRIVE_SHORTCUT_TYPE) != 0 && !strcmp(file->parent, run->kept->top);
}

/* ---- moving ---- */

static int collect(void *arg, const struct drive_file *file)
{
    const struct run *run = arg;
    struct gdrive_run *kept = run->kept;
    struct gdrive_item *item = &kept->items[kept->count];
    if (!is_old(run, file, false) || !text_copy(item->id, sizeof(item->id), file->id))
        return 0;
    item->created_at = file->created_at;
    return ++kept->count == run->w->g->archive_batch;
}

/* The shortcut of the time when the picture had a star. */
static int drop_shortcut(struct run *run, const char *id)
{
    char key[KEY_MAX], shortcut[DRIVE_ID_MAX];
    enum drive_note note;
    (void)text_format(key, sizeof(key), "star:%s", id);
    int r = drive_note_get(&run->w->memory, key, &note, shortcut, run->e);
    if (r < 0 || note == DRIVE_NOTE_NONE)
        return r;
    r = drive_trash(&run->w->link, shortcut, run->f, run->e);
    if (r == -EPERM || r == -EINVAL) { /* the picture is none the worse */
        *run->f = (struct storage_failure){0};
        log_warn("drive-archive", "a shortcut to a picture without a star stays: %s",
                 run->e ? run->e->text : "");
        r = 0;
    }
    return r < 0 ? r : drive_note_set(&run->w->memory, key, DRIVE_NOTE_NONE, NULL, run->e);
}

static int move_to_day(struct run *run, const struct gdrive_item *item, bool doubt)
{
    char day[DRIVE_ID_MAX];
    struct drive_file file;
    int r = gdrive_day_folder(run->w, item->created_at, doubt, day, run->f, run->e);
    if (r < 0)
        return r == -ENOENT ? err_set(run->e, -EIO, ERR_LATER, "the folders vanish") : r;
    r = drive_patch(&run->w->link, "move file", item->id, "{}", day, run->kept->top, &file, run->f,
                    run->e);
    FAULT_POINT("drive-after-move");
    /* A folder in the trash takes files all the same. */
    if (r == 0 && file.trashed && !strcmp(file.parent, day)) {
        char anew[DRIVE_ID_MAX];
        r = gdrive_day_folder(run->w, item->created_at, true, anew, run->f, run->e);
        if (r == 0 && strcmp(anew, day) != 0)
            r = drive_patch(&run->w->link, "take out of the trash", item->id, "{\"trashed\":false}",
                            anew, day, &file, run->f, run->e);
    }
    return r;
}

/* One file is not ours to change; the others may be. */
static void refuse(struct run *run)
{
    run->kept->refused++;
    *run->f = (struct storage_failure){0};
}

/* 1 moved, 0 left alone. */
static int move(struct run *run, const struct gdrive_item *item)
{
    struct drive_file file;
    int r = drop_shortcut(run, item->id);
    if (r < 0)
        return r;
    r = move_to_day(run, item, false);
    if (r == -ENOENT) { /* the file, or the folder of its day? */
        r = drive_get(&run->w->link, item->id, &file, run->f, run->e);
        if (r == 0 && !file.trashed && !strcmp(file.parent, run->kept->top))
            r = move_to_day(run, item, true);
        else if (r == 0 || r == -ENOENT)
            return 0;
    }
    if (r == -EINVAL || r == -EPERM) {
        refuse(run);
        return 0;
    }
    return r < 0 ? r : 1;
}

static int list_batch(struct run *run)
{
    struct gdrive_run *kept = run->kept;
    kept->items = mem_try_alloc((size_t)run->w->g->archive_batch, sizeof(*kept->items), SIZE_MAX);
    if (!kept->items)
        return err_set(run->e, -ENOMEM, ERR_LATER, "no memory for a list of files");
    kept->count = kept->next = kept->moved_of_list = 0;
    int r = find_files(run, false, collect);
    return r < 0 ? r : 0;
}

/* From where the piece before ended. */
static int move_batch(struct run *run)
{
    struct gdrive_run *kept = run->kept;
    for (; kept->next < kept->count; kept->next++) {
        if (is_piece_over(run))
            return -EINPROGRESS;
        int r = move(run, &kept->items[kept->next]);
        if (r < 0)
            return r;
        run->done++;
        kept->moved_of_list += r;
        kept->moved += r;
    }
    return 0;
}

static int move_all(struct run *run)
{
    struct gdrive_run *kept = run->kept;
    int batch = run->w->g->archive_batch;
    while (!kept->all_moved) {
        int r = kept->items ? 0 : list_batch(run);
        if (r < 0)
            return r;
        r = move_batch(run);
        if (r < 0)
            return r;
        free(STEAL(kept->items));
        /* Less than we can hold was all; and a round that moves nothing would repeat for ever. */
        kept->all_moved = kept->count < batch || kept->moved_of_list == 0;
    }
    return 0;
}

/* ---- stars ---- */

struct shortcuts {
    struct run *run;
    struct drive_file oldest;
    char younger[DOUBLES_MAX][DRIVE_ID_MAX];
    int younger_count, count;
    const char *own; /* the id that we made one with, or NULL */
    bool own_seen;   /* in the list */
};

static void add_shortcut(struct shortcuts *s, const struct drive_file *file)
{
    bool oldest = s->count++ == 0;
    bool older = !oldest && drive_file_older(file, &s->oldest);
    if (!oldest && s->younger_count < DOUBLES_MAX)
        (void)text_copy(s->younger[s->younger_count++], DRIVE_ID_MAX,
                        older ? s->oldest.id : file->id);
    if (oldest || older)
        s->oldest = *file;
}

static int see_shortcut(void *arg, const struct drive_file *file)
{
    struct shortcuts *s = arg;
    if (file->trashed || strcmp(file->type, DRIVE_SHORTCUT_TYPE) != 0)
        return 0;
    if (s->own && !strcmp(s->own, file->id))
        s->own_seen = true;
    add_shortcut(s, file);
    return 0;
}

/* Only in its day's folder: that narrows it to one drive, and to what a list shows soonest. */
static int find_shortcuts(struct run *run, const char *target, const char *day, const char *own,
                          struct shortcuts *ret)
{
    AUTO_DONE(dynbuf) q;
    dynbuf_init(&q, 1024);
    (void)drive_quote(&q, day);
    (void)dynbuf_puts(&q, " in parents and appProperties has { key='sd_target' and value=");
    (void)drive_quote(&q, target);
    (void)dynbuf_puts(&q, " } and trashed = false");
    *ret = (struct shortcuts){.run = run, .own = own};
    return drive_find(&run->w->link, dynbuf_str(&q), 100, see_shortcut, ret, run->f, run->e);
}

static int make_shortcut(struct run *run, const struct drive_file *file, const char *day,
                         const char *id, struct drive_file *ret)
{
    const struct drive_meta m = {
        .id = id,
        .name = file->name,
        .type = DRIVE_SHORTCUT_TYPE,
        .parent = day,
        .target = file->id,
        .properties = {{"sd_target", file->id}},
    };
    int r = drive_create(&run->w->link, "make shortcut", &m, ret, run->f, run->e);
    FAULT_POINT("drive-after-shortcut");
    return r == -EEXIST ? drive_get(&run->w->link, id, ret, run->f, run->e) : r;
}

/* The id for a new shortcut, remembered: that of an attempt before, or a new one. */
static int shortcut_id(struct run *run, const char *key, char id[DRIVE_ID_MAX])
{
    char ids[1][DRIVE_ID_MAX];
    if (id[0])
        return 0;
    int r = drive_new_ids(&run->w->link, "shortcuts", 1, ids, run->f, run->e);
    if (r < 0)
        return gdrive_for_all(r, run->f, run->e);
    (void)text_copy(id, DRIVE_ID_MAX, ids[0]);
    return drive_note_set(&run->w->memory, key, DRIVE_NOTE_NEW, id, run->e);
}

/* The oldest stays, as with folders. Whoever looks removes the others, those of another instance as
 * well: that one may have looked before ours was to be seen. */
static int settle(struct shortcuts *s, const char *key)
{
    struct run *run = s->run;
    for (int i = 0; i < s->younger_count; i++) {
        int r = drive_trash(&run->w->link, s->younger[i], run->f, run->e);
        if (r == -EPERM || r == -EINVAL) /* not ours to remove */
            *run->f = (struct storage_failure){0};
        else if (r < 0)
            return r;
    }
    /* While no list shows ours, an older one may come to light. */
    bool young = s->own && !s->own_seen && !strcmp(s->oldest.id, s->own);
    return drive_note_set(&run->w->memory, key, young ? DRIVE_NOTE_YOUNG : DRIVE_NOTE_MADE,
                          s->oldest.id, run->e);
}

static int settle_made(struct run *run, const char *key, const struct drive_file *made,
                       const char *target, const char *day)
{
    struct shortcuts s;
    int r = find_shortcuts(run, target, day, made->id, &s);
    if (r < 0)
        return r;
    if (!s.own_seen)
        add_shortcut(&s, made);
    return settle(&s, key);
}

/* What the list shows, and ours, which it may not show yet. */
static int settle_found(struct shortcuts *s, const char *key)
{
    struct run *run = s->run;
    struct drive_file ours;
    if (s->own && !s->own_seen) {
        int r = drive_get(&run->w->link, s->own, &ours, run->f, run->e);
        if (r < 0 && r != -ENOENT)
            return r;
        if (r == 0 && !ours.trashed)
            add_shortcut(s, &ours);
    }
    if (s->count == 0) /* a person removed it */
        return drive_note_set(&run->w->memory, key, DRIVE_NOTE_MADE, s->own, run->e);
    return settle(s, key);
}

static int need_shortcut(struct run *run, const struct drive_file *file)
{
    char key[KEY_MAX], id[DRIVE_ID_MAX] = "", day[DRIVE_ID_MAX];
    enum drive_note note;
    struct drive_file made;
    struct shortcuts s;
    (void)text_format(key, sizeof(key), "star:%s", file->id);
    int r = drive_note_get(&run->w->memory, key, &note, id, run->e);
    if (r < 0 || note == DRIVE_NOTE_MADE) /* one that a person removed since stays away */
        return r;
    run->done++;
    for (int i = 0; i < 2; i++) {
        r = gdrive_day_folder(run->w, file->created_at, i > 0, day, run->f, run->e);
        if (r == 0)
            r = find_shortcuts(run, file->id, day, id[0] ? id : NULL, &s);
        if (r == 0 && (s.count > 0 || note == DRIVE_NOTE_YOUNG))
            return settle_found(&s, key);
        if (r == 0)
            r = shortcut_id(run, key, id);
        if (r == 0)
            r = make_shortcut(run, file, day, id, &made);
        run->kept->linked += r == 0;
        if (r == 0)
            return settle_made(run, key, &made, file->id, day);
        if (r != -ENOENT) /* else the day's folder is gone */
            break;
    }
    /* It may be the id, as of another account: the next run takes another one. */
    if (r == -EINVAL)
        (void)drive_note_set(&run->w->memory, key, DRIVE_NOTE_NONE, NULL, NULL);
    return r;
}

static int see_starred(void *arg, const struct drive_file *file)
{
    struct run *run = arg;
    if (!is_old(run, file, true))
        return 0;
    if (is_piece_over(run)) /* the next one passes over what is done, which costs no request */
        return -EINPROGRESS;
    int r = need_shortcut(run, file);
    if (r == -EINVAL || r == -EPERM || r == -ENOENT) {
        refuse(run);
        return 0;
    }
    return r;
}

/* Stars are not many, and no page shifts by a shortcut elsewhere: one by one as they come. */
static int link_starred(struct run *run)
{
    return find_files(run, true, see_starred);
}
