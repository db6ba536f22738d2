#pragma once
/* Finding pictures: pages by any combination of conditions, how many there are, when they were, and
 * what lies beside one. See ledger.h for what all functions have in common.
 *
 * Work is bounded, not results: a walk goes along the index that the fewest rows of the combination
 * stand in, and stops when its budget is used up, wherever it is. So a rare combination gives a
 * page that is short, or empty, and tells where to go on; it never takes long, however large the
 * ledger. */

#include "ledger/ledger.h"

#define BROWSE_NAMES_MAX 16 /* cameras, and labels; each is a walk of its own, side by side */
#define BROWSE_WORDS_MAX 8
#define BROWSE_WORD_SIZE 64

/* All conditions must hold. -1 = any, 1 = only those, 0 = only the others. */
struct browse_filter {
    const char *const *cameras; /* of one of these; count 0 = any */
    size_t camera_count;
    const char *const *labels; /* has a detection of one of these (exact names) */
    size_t label_count;
    double confidence_min; /* of such a label (or of any one), 0 = any */
    int person, starred;
    int present;               /* its file is here */
    int deleted;               /* 1 = in the trash; 0 = neither there nor removed from there */
    int source;                /* enum snapshot_source */
    int state;                 /* enum snapshot_state */
    struct wall_time from, to; /* event_at, [from, to); 0 = open */
    /* Words, each of which occurs in the camera's name, the device's key, the file's name or a
     * label; upper and lower case of ASCII and Latin-1 are the same. NULL = any. */
    const char *text;
    bool oldest_first;
};
#define BROWSE_EVERYTHING                                                                          \
    {                                                                                              \
        .person = -1, .starred = -1, .present = -1, .source = -1, .state = -1                      \
    }

/* What a walk may cost: entries of indexes that it looks at, and time. 0 = no limit. */
struct browse_budget {
    int64_t steps, ms;
};
struct browse_end {
    bool whole;                /* there is nothing behind */
    struct ledger_page_key at; /* else go on behind this one */
};

/* The filter can be used: -EINVAL says why not. */
int ledger_browse_check(const struct browse_filter *f, struct err *e);
/* By (event_at, row) from behind `after` (both 0: from the start), at most `max`; each *ret[i] is a
 * new reference without bytes. Returns the count. */
int ledger_browse_page(struct ledger *l, const struct browse_filter *f,
                       struct ledger_page_key after, const struct browse_budget *budget,
                       struct snapshot **ret, int max, struct browse_end *ret_end, struct err *e);
/* `ret_exact` false: at least so many. */
int ledger_browse_count(struct ledger *l, const struct browse_filter *f,
                        const struct browse_budget *budget, int64_t *ret, bool *ret_exact,
                        struct err *e);

/* The newest picture of a camera that is here and not in the trash; a new reference. -ENOENT: there
 * is none, or none near. */
int ledger_browse_newest(struct ledger *l, const char *camera, struct snapshot **ret,
                         struct err *e);

struct browse_bucket {
    struct wall_time from; /* a multiple of the length, in UTC */
    int64_t count, persons;
};
/* Pictures per span of time, in the order of the filter, without empty spans, at most `max`.
 * Returns the count; `ret_exact` false: there is more behind, and the last one holds at least so
 * many. */
int ledger_browse_histogram(struct ledger *l, const struct browse_filter *f, int64_t span_us,
                            const struct browse_budget *budget, struct browse_bucket *ret, int max,
                            bool *ret_exact, struct err *e);

struct browse_neighbours {
    char newer[SNAPSHOT_ID_SIZE], older[SNAPSHOT_ID_SIZE]; /* "" = there is none */
    bool exact; /* false: one that is "" may lie further away than the budget reaches */
};
/* The budget is for each direction. -ENOENT: no such snapshot; it need not be of the filter. */
int ledger_browse_neighbours(struct ledger *l, const struct browse_filter *f, const char *id,
                             const struct browse_budget *budget, struct browse_neighbours *ret,
                             struct err *e);
