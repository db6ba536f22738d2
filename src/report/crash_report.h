#pragma once
/* What a crash left behind (see crash.h), read at the next start: lines of text into numbers, and
 * numbers into names of functions. The text is checked like any from outside. */

#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/symbols.h"
#include "report/event.h"

enum {
    CRASH_FRAMES_MAX = 64, /* an endless recursion shows itself sooner */
    CRASH_LOGS_MAX = 32,
    CRASH_OBJECTS_MAX = 256, /* we load some 90 */
    CRASH_TEXT_MAX = 256 * 1024,
};
#define CRASH_MAGIC "snapshotd-crash 1"

struct crash_object {
    uint64_t base; /* what was added to the file's addresses */
    uint64_t start, end;
    char build_id[SYMBOLS_BUILD_ID_HEX];
    char path[256];
};
struct crash_frame {
    uint64_t address;
    int object;         /* -1 = none that we know of */
    char function[128]; /* "" = unknown */
    uint64_t offset;    /* into it */
};
struct crash_log {
    int64_t at_s;
    enum log_level level;
    char id[40];
};
struct crash_report {
    bool crashed; /* false: the run ended without a word: killed, or the power went */
    char version[64];
    char started[WALL_ISO_MAX];
    int signal, code;
    bool has_address;
    uint64_t address;
    int64_t at_s;
    char thread[17];
    struct crash_frame frames[CRASH_FRAMES_MAX]; /* newest first */
    unsigned frame_count;
    struct crash_log logs[CRASH_LOGS_MAX]; /* oldest first */
    unsigned log_count;
    struct crash_object objects[CRASH_OBJECTS_MAX]; /* the program itself first */
    unsigned object_count;
};

/* 0, or -EINVAL: it is no such text. Lines that are not understood are passed over, so that a
 * report that was cut off tells what it can. */
int crash_report_parse(const char *text, size_t len, struct crash_report *ret);
/* Reads the files of the objects, as far as they are still the same builds. */
void crash_report_name_functions(struct crash_report *r);
/* The innermost named function of the program itself, else of any; "an unknown function". */
const char *crash_report_function(const struct crash_report *r);
/* "SIGSEGV at 0x10 in function take_picture, thread fetch". Returns buf. */
const char *crash_report_sentence(const struct crash_report *r, char *buf, size_t size);
/* The event of it. New reference. */
json_t *crash_report_event(const struct crash_report *r, const struct event_origin *origin,
                           const struct scrub *scrub, const char id[EVENT_ID_SIZE]);

/* What the run before left in `folder`; the file then is called "crash.last", one is kept. 0;
 * -ENOENT: it ended in order, or there was none; others as the story says. The caller frees. */
int crash_report_take(const char *folder, struct crash_report **ret, struct err *e);
