#pragma once
/* Folders of Drive by name, so that we never make two of one name.
 *
 * Drive takes any number of folders of one name, so "look, else make" makes two as soon as two look
 * at once, or when an answer is lost. What is done about it:
 * - The id of a folder is made and remembered before the folder: a repeat makes the same one.
 * - In this program one thread looks at a time.
 * - After making one we look again. Of several the oldest counts, for everybody who looks; whoever
 *   made a younger one moves it to the trash while it is empty. So two instances that start at the
 *   same moment end with one folder.
 *
 * - A list may lag behind, so two that look at once may not see each other's. A folder of ours is
 *   looked for until a list shows it, and then what is older than it. When that comes to light
 * after ours has been used, the older one serves from then on, and what lies in ours is moved
 * there, level by level; ours goes to the trash when it has been empty for a while.
 *
 * A folder that is known is followed by its id, also when somebody renames or moves it. In the
 * trash, or gone, it is made again. */

#include "storage/drive_call.h"
#include "storage/storage.h"

#define DRIVE_ROOT "root"
#define DRIVE_FOLDERS_KEPT 64 /* a run of the archive needs three, and one for each day */

struct drive_folder {
    char parent[DRIVE_ID_MAX], name[DRIVE_NAME_MAX];
    char id[DRIVE_ID_MAX], link[STORAGE_ID_MAX];
    bool in_use;
    bool young;             /* no list has shown it yet */
    struct mono_time seen;  /* when Drive said last that it is there */
    struct mono_time since; /* when this process knew of it first */
};
/* Shared by all sessions. */
struct drive_folders {
    pthread_mutex_t lock; /* held over requests: one looks, the others wait for what he finds */
    struct drive_folder kept[DRIVE_FOLDERS_KEPT];
    int next;
};
void drive_folders_init(struct drive_folders *d);
void drive_folders_done(struct drive_folders *d);

/* The folder `name` in `parent`, made when it is not there. What is known is believed for a minute,
 * unless `doubt` (something that was to be put there was refused). `ret_link` may be NULL. -ENOENT:
 * the parent is gone. */
int drive_folder_need(struct drive_folders *d, struct drive_link *l,
                      const struct storage_memory *memory, const char *parent, const char *name,
                      bool doubt, char ret[DRIVE_ID_MAX], char ret_link[STORAGE_ID_MAX],
                      struct storage_failure *f, struct err *e);
/* What the ledger remembers, without asking Drive. -ENOENT. */
int drive_folder_remembered(const struct storage_memory *memory, const char *parent,
                            const char *name, char ret[DRIVE_ID_MAX], struct err *e);

/* Whose the older one is: made earlier, or at the same time with the smaller id. */
bool drive_file_older(const struct drive_file *a, const struct drive_file *b);

/* An id that is remembered before something is made with it, and afterwards that it was. YOUNG: it
 * was, but no list has shown it yet, nor what others made at the same time. */
enum drive_note { DRIVE_NOTE_NONE, DRIVE_NOTE_NEW, DRIVE_NOTE_MADE, DRIVE_NOTE_YOUNG };
int drive_note_get(const struct storage_memory *memory, const char *key, enum drive_note *ret,
                   char ret_id[DRIVE_ID_MAX], struct err *e);
int drive_note_set(const struct storage_memory *memory, const char *key, enum drive_note note,
                   const char *id, struct err *e);
