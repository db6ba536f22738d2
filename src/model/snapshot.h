#pragma once
/* One picture and what we know of it. A snapshot is mutable while it has one owner (intake fills
 * it) and const for ever after the first send along an edge; then it is shared by reference count.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/clock.h"
#include "base/macros.h"

#define SNAPSHOT_ID_LEN 32 /* hex digits: 48 bits of time, 80 random */
#define SNAPSHOT_ID_SIZE (SNAPSHOT_ID_LEN + 1)
#define SNAPSHOT_KEY_MAX 128  /* "<Location> <Type>", bytes with NUL */
#define SNAPSHOT_PATH_MAX 512 /* relative to the store's root */
#define SNAPSHOT_FORMAT_MAX 8 /* "jpeg", "png", ... */

enum snapshot_source { SNAPSHOT_FETCHED, SNAPSHOT_PUSHED, SNAPSHOT_SOURCE_COUNT };
extern const char *const snapshot_source_names[SNAPSHOT_SOURCE_COUNT]; /* "fetched", "pushed" */

/* The states that the ledger knows. Delivery is told by outbox rows, not by the state. */
enum snapshot_state {
    SNAPSHOT_STORED,   /* bytes and row durable; waits for detection */
    SNAPSHOT_EXAMINED, /* verdict recorded, outbox rows written */
    SNAPSHOT_STATE_COUNT
};
extern const char *const snapshot_state_names[SNAPSHOT_STATE_COUNT]; /* "stored", "examined" */

struct snapshot {
    char id[SNAPSHOT_ID_SIZE];
    int64_t row;                       /* ledger row id, 0 before it is recorded */
    char camera[SNAPSHOT_KEY_MAX];     /* configuration name: [camera:NAME] */
    char device_key[SNAPSHOT_KEY_MAX]; /* "Front Door Camera" */
    char device_label[SNAPSHOT_KEY_MAX];
    enum snapshot_source source;
    enum snapshot_state state;
    struct wall_time event_at;    /* the trigger's time: names the file */
    struct wall_time received_at; /* when the last byte was here */
    char path[SNAPSHOT_PATH_MAX]; /* relative to the store: <camera dir>/2026/01/02/fetch_....jpg */
    char annotated_path[SNAPSHOT_PATH_MAX]; /* "" when there is none */
    bool unsettled;                         /* its files may still be on their way to these names */
    bool starred;                           /* somebody wants to keep it */
    bool removed;                           /* its files are gone, only the row is left */
    struct wall_time deleted_at;            /* in the trash since; 0 = it is not */
    bool again;      /* examined, and to be examined once more, or its old copy is to go */
    int64_t size;    /* bytes */
    char sha256[65]; /* lower-case hex */
    char md5[33];    /* likewise; "" until the first storage that has the picture asked for it */
    char format[SNAPSHOT_FORMAT_MAX];
    int width, height;  /* pixels, upright */
    int orientation;    /* EXIF 1..8, 1 = upright or unknown */
    double fetch_ms;    /* camera's answer time, 0 for pushed */
    struct blob *bytes; /* may be NULL: then read the file */
    unsigned refs;      /* private: use snapshot_ref/unref */
};

struct snapshot *snapshot_new(void) MUST_USE; /* zeroed, one reference */
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s);
size_t snapshot_live_count(void); /* tests */
DEFINE_AUTO(snapshot, snapshot_unref)

/* A new id from the wall clock and the system's random source; sorts by time. */
void snapshot_id_new(struct wall_time now, char ret[SNAPSHOT_ID_SIZE]);
bool snapshot_id_valid(const char *id);
/* The original's names. Basename of a fetched file: fetch_<device key lower-cased, spaces to
 * hyphens>_<unix seconds>.<ext>; `nth` > 1 inserts "-<nth>" before the dot so that two pictures of
 * one second keep apart. Bytes that a file name must not hold become '_'. */
int snapshot_name_fetched(const char *device_key, struct wall_time event_at, unsigned nth,
                          const char *ext, char *ret, size_t size);
/* Same path with the basename's leading "fetch" replaced by `word` ("human"). -EINVAL when it does
 * not begin so (a pushed picture keeps its name). */
int snapshot_name_renamed(const char *path, const char *word, char *ret, size_t size);
/* The path that the picture had first, before a rename gave its basename another word. */
void snapshot_name_original(const struct snapshot *s, char ret[SNAPSHOT_PATH_MAX]);
/* Basename of a pushed picture: its own, with '_' for bytes that a file name in a list, a URL or a
 * message must not hold, cut to what leaves room for the copy's "detect_"; `nth` > 1 inserts
 * "-<nth>" before the dot. One that begins as the names do that we give ("fetch_", "human_",
 * "detect_") gets "push_" in front: those words say what is on a picture. */
int snapshot_name_pushed(const char *name, unsigned nth, char *ret, size_t size);
/* Path of the annotated copy, always a JPEG: "fetch" becomes "detect", other names get it in front.
 */
int snapshot_name_annotated(const char *path, char *ret, size_t size);
/* "jpg" for "jpeg", else the format's own name. */
const char *snapshot_extension(const char *format);
/* "image/jpeg" for "jpeg" or "jpg"; unknown formats are bytes, which no browser executes. */
const char *snapshot_content_type(const char *format);
