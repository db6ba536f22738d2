#pragma once
/* What the six files of the upload stage share (upload.c has the essay): the state of one stage,
 * and what each file does for the others. Nobody else includes this. Functions are called in the
 * stage's thread unless they say otherwise. */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "ledger/ledger_upload.h"
#include "stage/pipeline.h"
#include "storage/storage.h"

/* Marks made in one go: a commit and, for some storages, a round trip for so many. */
#define RESERVE_MAX 32
#define LABELS_MAX 512
#define UPLOAD_SWEEP_MS 1000
/* Older than one to two of these is backlog, however it came. */
#define UPLOAD_LIVE_MS 60000
/* What failed beside files: it may be refused for good, and goes out while nothing else does. */
#define UPLOAD_ERRAND_AGAIN_MS 300000
/* A storage that names a longer pause is not believed. */
#define UPLOAD_NAMED_MAX_MS 86400000
/* The longest wait of one file. */
#define UPLOAD_BACKOFF_MAX_MS ((int64_t)LEDGER_WAIT_MAX_S * 1000)

enum slot_state { SLOT_FREE, SLOT_QUEUED, SLOT_RUNNING, SLOT_FINISHED };

/* Where a failure comes from. */
enum origin {
    FROM_STORAGE, /* it, or the file, as `failure` says */
    FROM_STORE,   /* the file could not be read here */
    FROM_LEDGER,  /* what the storage wanted to note could not be made durable */
};

/* What becomes of a file that failed by a fault of its own. */
enum fate {
    FATE_OPEN,
    FATE_AGAIN, /* an attempt counts, and it waits by itself */
    FATE_WAITS, /* it may be the whole store's: no attempt counts */
    FATE_ENDS,  /* put aside with the reason */
};

/* A file on its way. While it is running it is the worker's, else the stage's. */
struct slot {
    enum slot_state state; /* guarded by the lock */
    bool live;
    int64_t turn;          /* lower ones first, of live ones and of the others */
    unsigned generation;   /* of pauses when it began */
    int64_t reads;         /* files that could be read by then */
    struct upload_job job; /* its mark is the last that is durable */
    struct storage_mark mark;
    struct snapshot *snapshot;
    char labels[LABELS_MAX];
    int64_t size; /* as far as it is known before */
    int64_t read; /* what the file had when it was read */
    /* What became of it. */
    int code;
    enum origin origin;
    struct storage_failure failure;
    struct err error;
    double seconds;
    enum fate fate; /* of the stage's thread, when it has finished */
};

enum errand_state { ERRAND_NONE, ERRAND_ASKED, ERRAND_DONE };

/* Marks to be made. */
struct batch {
    bool alone;  /* it has live ones only, though others want marks; the stage's */
    bool urgent; /* somebody waits: a live picture, or workers without work; the stage's */
    bool live;   /* a live picture's mark was made, by the last look at what is due; the stage's */
    enum errand_state state; /* guarded by the lock */
    int count;
    struct upload_job jobs[RESERVE_MAX];
    struct snapshot *snapshots[RESERVE_MAX];
    char labels[RESERVE_MAX][LABELS_MAX];
    struct storage_mark marks[RESERVE_MAX];
    int code;
    enum origin origin;
    unsigned generation;
    struct storage_failure failure;
    struct err error;
};

/* What has to be done beside files. */
enum errand_kind { ERRAND_TEND, ERRAND_ROOM, ERRAND_STAR, ERRAND_ARCHIVE, ERRAND_KIND_COUNT };
struct errand {
    enum errand_state state; /* guarded by the lock */
    enum errand_kind kind;
    int64_t again_ms;   /* of TEND */
    int64_t free_bytes; /* of ROOM */
    struct upload_job job;
    struct storage_mark mark;
    int code;
    struct storage_failure failure;
    struct err error;
};

struct upload_self;
struct worker {
    struct upload_self *upload;
    pthread_t thread;
    struct storage_session *session;
    bool ledger_failed; /* during this call */
};

/* The file that found the storage away. One that always does must not stop all others: after every
 * third time in a row the next file is tried as well. */
struct suspect {
    struct upload_job job;
    struct err error;
    int times;                    /* in a row */
    bool passed;                  /* the next one's turn */
    struct mono_time pause_until; /* when there is no next one */
};

struct upload_self {
    /* Of the start: the same until the end. */
    struct pipeline *pipeline;
    struct stage *stage;
    struct storage *storage;
    int parallel;
    int stop_fd;            /* readable: calls end */
    struct worker *workers; /* `parallel` for files, then one for marks and one for the rest */
    int worker_count;
    int slot_count;

    /* The stage's thread's alone. */
    struct ledger *ledger;
    struct settings *settings;  /* of the last sweep */
    struct storage_common plan; /* of these; its lists are not used */
    bool paused;                /* likewise */
    int64_t turn;
    int64_t live_after, live_next; /* rows */
    struct mono_time live_at;      /* when live_after becomes live_next */
    struct mono_time next_at;      /* by the rate */
    struct mono_time rest_until;   /* the ledger takes nothing */
    struct mono_time read_at;      /* the store gives nothing before */
    int64_t seen_row;              /* newer jobs have come since the last look */
    struct mono_time archive_at, stars_at, tend_at, room_at;
    int64_t star_after; /* rows of stars that failed in this round */
    struct worker own;  /* for marks that ask nobody */
    uint64_t login;     /* its generation when it was last looked at */
    int failures;       /* in a row */
    struct mono_time pause_until;
    struct suspect suspect;
    bool ending;             /* the program stops */
    bool cut;                /* stop_fd is readable */
    struct mono_time cut_at; /* when it will be */

    /* Under `lock`. What is in a slot, the batch or the errand belongs to whom its state says. */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct slot *slots;
    struct batch batch;
    struct errand errand;
    bool ended;
    bool restock;               /* the storage's stock is to be filled up */
    bool live_comes;            /* its mark is being made durable: one worker is kept free for it */
    int allowed;                /* workers that may begin */
    unsigned generation;        /* of pauses; the stage's thread alone changes it */
    int64_t bytes;              /* of files that are read or sent */
    int64_t reads;              /* files that could be read */
    struct wall_time read_last; /* when the last of them was, as ledger_now() has it */
    struct storage_status shown;

    /* Under `side_lock`: of the workers, for notes and marks. */
    pthread_mutex_t side_lock;
    struct ledger *side;
};

/* Slots by state. */
struct census {
    int queued, running, free;
};

/* ---- upload_worker.c: threads of their own; the argument is a struct worker ---- */

/* By the caller's thread. */
void upload_make_marks(struct worker *w, struct batch *b);
/* From the storage's stock; returns whether there were enough. */
bool upload_take_marks(struct upload_self *u, struct batch *b);
void *upload_put_main(void *worker);
void *upload_reserve_main(void *worker);
void *upload_errand_main(void *worker);

/* ---- upload_queue.c ---- */

/* Rows that are under way, ascending; `ret` has room for slot_count + RESERVE_MAX. */
int upload_list_busy(struct upload_self *u, int64_t *ret, struct census *c);
/* Workers that may be busy now: one alone finds out whether a pause was long enough. */
int upload_allow(struct upload_self *u);
/* Takes what is due into the queue, as far as there is room. */
void upload_fill(struct upload_self *u);
/* What waits in the queue goes back: nothing of it has begun. */
void upload_empty_queue(struct upload_self *u);
void upload_free_batch(struct upload_self *u);
enum errand_state upload_batch_state(struct upload_self *u);

/* ---- upload_result.c ---- */

void upload_register_metrics(void);
/* All of this storage are shown from now on. */
void upload_touch_metrics(const struct storage *s);
/* The ledger failed: logs it, and nothing new begins for a while. Once for what fails together. */
void upload_rest(struct upload_self *u, const char *what, const struct err *e);
/* A file failed by its own fault. */
void upload_count_failed(struct upload_self *u);
/* Writes down what has finished, in one commit, and frees its slots. */
void upload_collect(struct upload_self *u);

/* ---- upload_pause.c ---- */

extern struct metric upload_pauses;
/* 1 s doubling with each failure in a row. */
int64_t upload_doubled_ms(int failures, int64_t max);
/* From here on what comes is live, what waits is backlog. */
void upload_begin_live(struct upload_self *u);
bool upload_is_well(struct upload_self *u);
/* What a file that has finished says of the storage. */
void upload_judge_storage(struct upload_self *u, struct slot *s);
/* Marks could not be made. */
void upload_judge_batch(struct upload_self *u);

/* ---- upload_errand.c ---- */

enum errand_state upload_errand_state(struct upload_self *u);
/* What is due is given to its thread, when that has nothing to do. */
void upload_find_errand(struct upload_self *u);
void upload_end_errand(struct upload_self *u);
