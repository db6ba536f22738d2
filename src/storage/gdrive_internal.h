#pragma once
/* What the files of the Drive storage share. */

#include "storage/drive_call.h"
#include "storage/drive_folder.h"
#include "storage/gdrive.h"

#define GDRIVE_IDS_ASKED 100   /* at a time; each upload takes one */
#define GDRIVE_IDS_LOW 100     /* fewer are filled up: enough for all that go out meanwhile */
#define GDRIVE_IDS_KEPT 200    /* at most */
#define GDRIVE_FRESH_KEPT 4096 /* ids made by this process and not used yet; 8 bytes each */

struct gdrive {
    struct storage storage;
    char *name, *folder, *parent, *base;
    bool owns_login;
    enum gdrive_archive archive;
    int64_t multipart_max;
    int archive_batch;
    int64_t archive_piece_ms;
    struct drive_account account;
    struct drive_folders folders;

    pthread_mutex_t lock; /* for what follows */
    char ids[GDRIVE_IDS_KEPT][DRIVE_ID_MAX];
    int id_count;
    uint64_t ids_login;                /* generation of the login that they were made for */
    uint64_t fresh[GDRIVE_FRESH_KEPT]; /* digests of the ids; 0 = free */
    int fresh_next;
    bool drive_known; /* account.drive is what Drive said */
    char link[STORAGE_ID_MAX];
    char error[ERR_TEXT_MAX];

    pthread_mutex_t backup_lock; /* for the copy of the login, over its calls to S3 */
    struct token_backup *backup;
    bool placed;     /* the login of the configuration has had its turn */
    uint64_t tended; /* generation of the login that was compared with its copy */
};

/* A run of the archive between two of its pieces. */
struct gdrive_item {
    char id[64]; /* theirs have 28 to 44 characters; a longer one is left alone */
    struct wall_time created_at;
};
struct gdrive_run {
    char top[DRIVE_ID_MAX];
    struct gdrive_item *items; /* NULL = no list is under way */
    int count, next, moved_of_list;
    bool all_moved;            /* the stars are left */
    struct mono_time stale_at; /* of the last piece */
    int moved, linked, refused;
};

struct storage_session {
    struct gdrive *g;
    struct drive_link link;
    struct storage_memory memory;
    struct gdrive_run run;
    bool folder_shown; /* to verify() */
};

/* For calls that concern no single picture: what is refused for good would be so for the next one,
 * too, and all wait until somebody has had a look. */
int gdrive_for_all(int r, struct storage_failure *f, struct err *e);
/* The folder of the configuration, and the one of a day in it. `doubt` as in drive_folder_need().
 */
int gdrive_top_folder(struct storage_session *w, bool doubt, char ret[DRIVE_ID_MAX],
                      struct storage_failure *f, struct err *e);
int gdrive_day_folder(struct storage_session *w, struct wall_time day, bool doubt,
                      char ret[DRIVE_ID_MAX], struct storage_failure *f, struct err *e);
/* An id that was never used; remembered as fresh. */
int gdrive_new_id(struct storage_session *w, char ret[DRIVE_ID_MAX], struct storage_failure *f,
                  struct err *e);
/* Those in stock may be of another account. */
void gdrive_forget_ids(struct gdrive *g);
/* Whether this process made the id and nobody has used it since; it is no more afterwards. */
bool gdrive_take_fresh(struct gdrive *g, const char *id);
int gdrive_set_star(struct storage_session *w, const char *id, bool starred,
                    struct storage_failure *f, struct err *e);
/* Keeps a failure for describe(). Returns r. */
int gdrive_note_result(struct gdrive *g, int r, const struct storage_failure *f,
                       const struct err *e);

int gdrive_put(struct storage_session *w, const struct storage_object *o, struct storage_mark *mark,
               int (*save)(void *arg, const struct storage_mark *mark, struct err *e), void *arg,
               struct storage_failure *f, struct err *e);
void gdrive_run_done(struct gdrive_run *run);
int gdrive_archive_run(struct storage_session *w, struct wall_time now, struct storage_failure *f,
                       struct err *e);
