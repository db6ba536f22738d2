/* How pictures are found.
 *
 * A walk merges streams. A stream is one statement along one index in the order of time, which
 * yields every entry together with whether the other conditions hold: conditions in its WHERE would
 * make SQLite pass over entries that nobody counts, and a search for what hardly exists would run
 * through the history. A set of cameras or labels is one stream each, side by side.
 *
 * Which index leads is decided anew for each walk: where the same number of entries reaches back
 * the furthest, there the fewest have to be looked at. That costs some hundred entries and needs no
 * statistics that somebody would have to keep. */

#include "ledger/ledger_browse.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "ledger/internal.h"

/* Entries that a look at the density of an index takes. */
#define PROBE_ROWS 256
/* So many waiting pictures are sorted by time; of more the history is walked, where they are
 * dense. */
#define BACKLOG_SORTED_MAX 2000
/* Entries between two looks at the clock. */
#define CLOCK_STEPS 64
/* Names of cameras, devices or labels that words are compared with. */
#define NAMES_MAX 4096
/* Pictures whose files are gone, or that are in the trash, are hardly newer than those here. */
#define NEWEST_STEPS 256

enum driver {
    BY_HERE,   /* time, of what is here */
    BY_PAST,   /* time, of the others */
    BY_TRASH,  /* time, of the trash */
    BY_PERSON, /* time, with persons */
    BY_STAR,   /* time, with a star */
    BY_CAMERA, /* camera, time */
    BY_LABEL,  /* label, time */
    BY_BACKLOG /* sorted */
};

/* What a statement is made of: its text, and values in the order of their marks. */
struct sql {
    char text[3000];
    size_t len;
    struct {
        bool is_real;
        int64_t integer;
        double real;
    } values[64];
    int count;
};

struct ids {
    int64_t items[BROWSE_NAMES_MAX];
    int count;
};

/* A word and what bears it in its name. */
struct word {
    char text[BROWSE_WORD_SIZE]; /* folded */
    int64_t *cameras, *devices, *labels;
    int camera_count, device_count, label_count;
};

struct stream {
    struct db_query *q;
    int64_t at, row; /* of its next entry */
    bool fits, ended;
};

struct walk {
    struct ledger *l;
    const struct browse_filter *f;
    struct ids cameras, labels;
    bool nothing; /* a name that no row has */
    struct word words[BROWSE_WORDS_MAX];
    int word_count;
    bool wants_persons;
    struct ledger_page_key after; /* both 0 = from the start */
    struct stream streams[BROWSE_NAMES_MAX];
    int stream_count;
    const struct browse_budget *budget;
    int64_t steps;
    struct mono_time deadline;
    /* The present entry. */
    struct ledger_page_key at;
    bool person;
};

static int walk_open(struct walk *w, struct ledger *l, const struct browse_filter *f,
                     struct ledger_page_key after, bool wants_persons,
                     const struct browse_budget *budget, struct err *e);
static void walk_close(struct walk *w);
/* To the next picture of the filter. */
enum { WALK_END, WALK_FOUND, WALK_TIRED };
static int walk_next(struct walk *w, struct err *e);

/* ---- what is asked ---- */

int ledger_browse_page(struct ledger *l, const struct browse_filter *f,
                       struct ledger_page_key after, const struct browse_budget *budget,
                       struct snapshot **ret, int max, struct browse_end *ret_end, struct err *e)
{
    int r = db_begin_read(l->db, e);
    if (r < 0)
        return r;
    struct walk w;
    AUTO_FREE int64_t *rows = xcalloc((size_t)max, sizeof(*rows));
    int count = 0;
    r = walk_open(&w, l, f, after, false, budget, e);
    while (r >= 0 && count < max && (r = walk_next(&w, e)) == WALK_FOUND)
        rows[count++] = w.at.row;
    struct browse_end end = {.whole = r == WALK_END && count < max, .at = w.at};
    walk_close(&w);
    int read = 0;
    while (r >= 0 && read < count) {
        AUTO(db_query)
        q = db_query(l->db, "SELECT " SNAPSHOT_COLUMNS " FROM snapshots s" SNAPSHOT_NAMES
                            "WHERE s.row = ?");
        db_bind_int(q, rows[read]);
        r = snapshots_read(l, q, &ret[read], 1, e);
        if (r == 0)
            r = db_damaged(l->db, e, "an index names the row %lld, which is not there",
                           (long long)rows[read]);
        read += r == 1;
    }
    db_end_read(l->db);
    if (r >= 0) {
        *ret_end = end;
        return count;
    }
    while (read > 0) {
        snapshot_unref(ret[--read]);
        ret[read] = NULL;
    }
    return r;
}

int ledger_browse_newest(struct ledger *l, const char *camera, struct snapshot **ret, struct err *e)
{
    const struct browse_filter here = {.cameras = &camera,
                                       .camera_count = 1,
                                       .person = -1,
                                       .starred = -1,
                                       .present = 1,
                                       .source = -1,
                                       .state = -1};
    const struct browse_budget budget = {.steps = NEWEST_STEPS};
    struct browse_end end;
    int n = ledger_browse_page(l, &here, (struct ledger_page_key){0}, &budget, ret, 1, &end, e);
    return n < 0 ? n : n == 0 ? -ENOENT : 0;
}

int ledger_browse_count(struct ledger *l, const struct browse_filter *f,
                        const struct browse_budget *budget, int64_t *ret, bool *ret_exact,
                        struct err *e)
{
    int r = db_begin_read(l->db, e);
    if (r < 0)
        return r;
    struct walk w;
    int64_t count = 0;
    r = walk_open(&w, l, f, (struct ledger_page_key){0}, false, budget, e);
    while (r >= 0 && (r = walk_next(&w, e)) == WALK_FOUND)
        count++;
    walk_close(&w);
    db_end_read(l->db);
    if (r < 0)
        return r;
    *ret = count;
    *ret_exact = r == WALK_END;
    return 0;
}

int ledger_browse_histogram(struct ledger *l, const struct browse_filter *f, int64_t span_us,
                            const struct browse_budget *budget, struct browse_bucket *ret, int max,
                            bool *ret_exact, struct err *e)
{
    assert(span_us > 0);
    int r = db_begin_read(l->db, e);
    if (r < 0)
        return r;
    struct walk w;
    int count = 0;
    r = walk_open(&w, l, f, (struct ledger_page_key){0}, true, budget, e);
    while (r >= 0 && (r = walk_next(&w, e)) == WALK_FOUND) {
        int64_t from = w.at.event_at.us - w.at.event_at.us % span_us;
        if (count == 0 || ret[count - 1].from.us != from) {
            if (count == max)
                break;
            ret[count++] = (struct browse_bucket){.from = {from}};
        }
        ret[count - 1].count++;
        ret[count - 1].persons += w.person;
    }
    walk_close(&w);
    db_end_read(l->db);
    if (r < 0)
        return r;
    *ret_exact = r == WALK_END;
    return count;
}

static int neighbour(struct ledger *l, const struct browse_filter *f, struct ledger_page_key key,
                     bool newer, const struct browse_budget *budget, char ret[SNAPSHOT_ID_SIZE],
                     bool *exact, struct err *e)
{
    struct browse_filter this_way = *f;
    struct walk w;
    this_way.oldest_first = newer;
    int r = walk_open(&w, l, &this_way, key, false, budget, e);
    if (r >= 0)
        r = walk_next(&w, e);
    walk_close(&w);
    if (r < 0)
        return r;
    *exact = *exact && r != WALK_TIRED;
    if (r != WALK_FOUND)
        return 0;
    AUTO(db_query) q = db_query(l->db, "SELECT id FROM snapshots WHERE row = ?");
    db_bind_int(q, w.at.row);
    r = db_step(q, e);
    return r == 1 ? column_copy(l, q, 0, ret, SNAPSHOT_ID_SIZE, e) : r;
}

int ledger_browse_neighbours(struct ledger *l, const struct browse_filter *f, const char *id,
                             const struct browse_budget *budget, struct browse_neighbours *ret,
                             struct err *e)
{
    struct browse_neighbours n = {.exact = true};
    struct ledger_page_key key = {{0}, 0};
    int r = db_begin_read(l->db, e);
    if (r < 0)
        return r;
    {
        AUTO(db_query) q = db_query(l->db, "SELECT event_at, row FROM snapshots WHERE id = ?");
        db_bind_text(q, id);
        r = db_step(q, e);
        if (r == 0)
            r = err_set(e, -ENOENT, ERR_NEVER, "snapshot %s: not recorded", id);
        if (r == 1)
            key = (struct ledger_page_key){{db_int(q, 0)}, db_int(q, 1)};
    }
    if (r >= 0)
        r = neighbour(l, f, key, true, budget, n.newer, &n.exact, e);
    if (r >= 0)
        r = neighbour(l, f, key, false, budget, n.older, &n.exact, e);
    db_end_read(l->db);
    if (r < 0)
        return r;
    *ret = n;
    return 0;
}

/* ---- statements ---- */

static void say(struct sql *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(struct sql *s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(s->text + s->len, sizeof(s->text) - s->len, fmt, args);
    va_end(args);
    assert(n >= 0 && (size_t)n < sizeof(s->text) - s->len); /* all parts are ours and few */
    s->len += (size_t)n;
}

static void bind_int(struct sql *s, int64_t value)
{
    assert(s->count < (int)ARRAY_LEN(s->values));
    s->values[s->count].is_real = false;
    s->values[s->count++].integer = value;
}

/* The scores are floats: 0.7 as a double lies above 0.7 as a float. */
static void bind_score(struct sql *s, double value)
{
    assert(s->count < (int)ARRAY_LEN(s->values));
    s->values[s->count].is_real = true;
    s->values[s->count++].real = (double)(float)value;
}

static void say_set(struct sql *s, const struct ids *set)
{
    for (int i = 0; i < set->count; i++) {
        say(s, i == 0 ? "(?" : ", ?");
        bind_int(s, set->items[i]);
    }
    say(s, ")");
}

static struct db_query *prepare(struct ledger *l, const struct sql *s)
{
    struct db_query *q = db_query(l->db, s->text);
    for (int i = 0; i < s->count; i++) {
        if (s->values[i].is_real)
            db_bind_real(q, s->values[i].real);
        else
            db_bind_int(q, s->values[i].integer);
    }
    return q;
}

/* Of files and trash, with what the index promises left out. */
static void say_place(struct sql *s, const struct browse_filter *f, enum driver by)
{
    if (by == BY_HERE || by == BY_TRASH)
        return;
    if (f->deleted == 0)
        say(s, " AND s.deleted_at IS NULL");
    else if (f->deleted == 1)
        say(s, " AND s.deleted_at IS NOT NULL AND s.removed_at IS NULL");
    if (f->present >= 0)
        say(s, f->present ? " AND s.removed_at IS NULL" : " AND s.removed_at IS NOT NULL");
}

static void say_verdict(struct sql *s, const struct walk *w, enum driver by)
{
    const struct browse_filter *f = w->f;
    if (w->labels.count > 0 && by != BY_LABEL) {
        say(s, " AND EXISTS (SELECT 1 FROM sightings x WHERE x.label IN ");
        say_set(s, &w->labels);
        say(s, " AND x.event_at = s.event_at AND x.snapshot = s.row AND x.confidence >= ?)");
        bind_score(s, f->confidence_min);
    } else if (w->labels.count == 0 && f->confidence_min > 0) {
        say(s, " AND s.confidence >= ?");
        bind_score(s, f->confidence_min);
    }
    if (f->person >= 0 && by != BY_PERSON)
        say(s, f->person ? " AND s.persons > 0" : " AND s.persons = 0");
    if (f->state >= 0 && by != BY_BACKLOG)
        say(s, " AND s.state = %d", f->state);
}

/* All conditions but those of the leading index and of time. */
static void say_conditions(struct sql *s, const struct walk *w, enum driver by)
{
    const struct browse_filter *f = w->f;
    say_place(s, f, by);
    if (f->starred >= 0 && by != BY_STAR)
        say(s, f->starred ? " AND s.starred_at IS NOT NULL" : " AND s.starred_at IS NULL");
    if (f->source >= 0)
        say(s, " AND s.source = %d", f->source);
    if (w->cameras.count > 0 && by != BY_CAMERA) {
        say(s, " AND s.camera IN ");
        say_set(s, &w->cameras);
    }
    say_verdict(s, w, by);
}

/* The row of its picture must be read for each entry of `sightings`. */
static bool needs_row(const struct walk *w)
{
    struct sql s = {.len = 0};
    say_conditions(&s, w, BY_LABEL);
    return s.len > 0 || w->word_count > 0 || w->wants_persons;
}

static void say_leading(struct sql *s, const struct walk *w, enum driver by, int nth, bool joined)
{
#define FROM_INDEX(name) " FROM snapshots s INDEXED BY snapshots_" name " WHERE "
    switch (by) {
    case BY_HERE:
        say(s, FROM_INDEX("here") SNAPSHOTS_HERE);
        break;
    case BY_PAST:
        say(s, FROM_INDEX("past") SNAPSHOTS_PAST);
        break;
    case BY_TRASH:
        say(s, FROM_INDEX("trash") SNAPSHOTS_TRASH);
        break;
    case BY_PERSON:
        say(s, FROM_INDEX("person") "s.persons > 0");
        break;
    case BY_STAR:
        say(s, FROM_INDEX("starred") "s.starred_at IS NOT NULL");
        break;
    case BY_BACKLOG:
        say(s, FROM_INDEX("backlog") "s.state = 0");
        break;
    case BY_CAMERA:
        say(s, FROM_INDEX("camera") "s.camera = ?");
        bind_int(s, w->cameras.items[nth]);
        break;
    case BY_LABEL:
        say(s, " FROM sightings g%s WHERE g.label = ?",
            joined ? " CROSS JOIN snapshots s ON s.row = g.snapshot" : "");
        bind_int(s, w->labels.items[nth]);
        break;
    }
}

/* One bound on each side: of two SQLite would take one for the index and walk to the other. */
static void say_range(struct sql *s, const struct walk *w, const char *at, const char *row)
{
    const struct browse_filter *f = w->f;
    bool keyed = w->after.row != 0 || w->after.event_at.us != 0;
    bool above = keyed && f->oldest_first && w->after.event_at.us >= f->from.us;
    bool below = keyed && !f->oldest_first && (f->to.us == 0 || w->after.event_at.us < f->to.us);
    if (above || below) {
        say(s, " AND (%s, %s) %s (?, ?)", at, row, above ? ">" : "<");
        bind_int(s, w->after.event_at.us);
        bind_int(s, w->after.row);
    }
    if (f->from.us != 0 && !above) {
        say(s, " AND %s >= ?", at);
        bind_int(s, f->from.us);
    }
    if (f->to.us != 0 && !below) {
        say(s, " AND %s < ?", at);
        bind_int(s, f->to.us);
    }
    const char *way = f->oldest_first ? "" : " DESC";
    say(s, " ORDER BY %s%s, %s%s", at, way, row, way);
}

/* Each stream of a walk has a text of its own: a prepared statement runs once at a time. */
static void say_stream(struct sql *s, const struct walk *w, enum driver by, int nth)
{
    bool of_label = by == BY_LABEL, joined = of_label && needs_row(w);
    const char *at = of_label ? "g.event_at" : "s.event_at";
    const char *row = of_label ? "g.snapshot" : "s.row";
    say(s, "SELECT /* %d */ %s, %s, CASE WHEN 1", nth, at, row);
    if (of_label && w->f->confidence_min > 0) {
        say(s, " AND g.confidence >= ?");
        bind_score(s, w->f->confidence_min);
    }
    say_conditions(s, w, by);
    say(s, " THEN 1 ELSE 0 END");
    say(s, w->wants_persons || w->word_count > 0 ? ", s.persons > 0" : ", 0");
    if (w->word_count > 0)
        say(s, ", s.camera, s.device, s.path");
    say_leading(s, w, by, nth, joined);
    say_range(s, w, at, row);
}

/* ---- the leading index ---- */

struct candidate {
    enum driver by;
    int streams;
};

/* Entries per microsecond from here on, for a look at the first of them. */
static int density(struct walk *w, const struct candidate *c, double *ret, struct err *e)
{
    int offset = PROBE_ROWS / c->streams - 1;
    bool keyed = w->after.row != 0 || w->after.event_at.us != 0;
    int64_t start = keyed                ? w->after.event_at.us
                    : w->f->oldest_first ? w->f->from.us
                    : w->f->to.us != 0   ? w->f->to.us
                                         : clock_wall().us;
    *ret = 0;
    for (int i = 0; i < c->streams; i++) {
        struct sql s = {.len = 0};
        const char *at = c->by == BY_LABEL ? "g.event_at" : "s.event_at";
        say(&s, "SELECT %s", at);
        say_leading(&s, w, c->by, i, false);
        say_range(&s, w, at, c->by == BY_LABEL ? "g.snapshot" : "s.row");
        say(&s, " LIMIT 1 OFFSET %d", offset);
        AUTO(db_query) q = prepare(w->l, &s);
        int r = db_step(q, e);
        if (r < 0)
            return r;
        if (r == 0)
            continue; /* hardly any: as good as none */
        int64_t reach = db_int(q, 0) - start;
        *ret += offset / ((double)(reach < 0 ? -reach : reach) + 1);
    }
    return 0;
}

static int backlog_is_small(struct walk *w, struct err *e)
{
    AUTO(db_query)
    q = db_query(w->l->db, "SELECT 1 FROM snapshots INDEXED BY snapshots_backlog WHERE state = 0"
                           " LIMIT 1 OFFSET ?");
    db_bind_int(q, BACKLOG_SORTED_MAX);
    int r = db_step(q, e);
    return r < 0 ? r : r == 0;
}

static int open_streams(struct walk *w, enum driver by, int count)
{
    for (int i = 0; i < count; i++) {
        struct sql s = {.len = 0};
        say_stream(&s, w, by, i);
        w->streams[w->stream_count++] = (struct stream){.q = prepare(w->l, &s)};
    }
    return 0;
}

/* What is here and what is not, as far as either is wanted. */
static int open_by_time(struct walk *w)
{
    if (w->f->present != 0)
        open_streams(w, BY_HERE, 1);
    if (w->f->deleted != 0 || w->f->present != 1)
        open_streams(w, BY_PAST, 1);
    return 0;
}

static int choose_leading(struct walk *w, struct err *e)
{
    const struct browse_filter *f = w->f;
    if (f->deleted == 1) /* what is there has its files */
        return f->present != 0 ? open_streams(w, BY_TRASH, 1) : 0;
    int r = f->state == SNAPSHOT_STORED ? backlog_is_small(w, e) : 0;
    if (r != 0)
        return r < 0 ? r : open_streams(w, BY_BACKLOG, 1);
    struct candidate all[5];
    int count = 0;
    if (w->labels.count > 0)
        all[count++] = (struct candidate){BY_LABEL, w->labels.count};
    if (f->starred == 1)
        all[count++] = (struct candidate){BY_STAR, 1};
    if (w->cameras.count > 0)
        all[count++] = (struct candidate){BY_CAMERA, w->cameras.count};
    if (f->person == 1)
        all[count++] = (struct candidate){BY_PERSON, 1};
    /* All of time is sparser than those above only where what is here has come to its end. */
    if (count == 0 || (f->deleted == 0 && f->present == 1))
        all[count++] = (struct candidate){BY_HERE, 1};
    int best = 0;
    double best_density = 0;
    for (int i = 0; i < count && count > 1; i++) {
        double d;
        r = density(w, &all[i], &d, e);
        if (r < 0)
            return r;
        if (i == 0 || d < best_density) {
            best = i;
            best_density = d;
        }
    }
    return all[best].by == BY_HERE ? open_by_time(w)
                                   : open_streams(w, all[best].by, all[best].streams);
}

/* ---- names ---- */

static int find_names(struct walk *w, enum name_table table, const char *const *names, size_t count,
                      struct ids *ret, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        int64_t id;
        int r = name_find(w->l, table, names[i], &id, e);
        if (r < 0 && r != -ENOENT)
            return r;
        bool known = r < 0;
        for (int k = 0; k < ret->count; k++)
            known = known || ret->items[k] == id;
        if (!known)
            ret->items[ret->count++] = id;
    }
    w->nothing = w->nothing || (count > 0 && ret->count == 0);
    return 0;
}

/* The cameras that ever had a picture of this source, unless they are many. */
static int narrow_by_source(struct walk *w, struct err *e)
{
    struct ids some = {.count = 0};
    AUTO(db_query) q = db_query(w->l->db, "SELECT camera FROM sources WHERE source = ?");
    db_bind_int(q, w->f->source);
    int r;
    while ((r = db_step(q, e)) == 1) {
        bool wanted = w->cameras.count == 0;
        for (int i = 0; i < w->cameras.count && !wanted; i++)
            wanted = w->cameras.items[i] == db_int(q, 0);
        if (wanted && some.count == BROWSE_NAMES_MAX)
            return 0;
        if (wanted)
            some.items[some.count++] = db_int(q, 0);
    }
    w->nothing = w->nothing || some.count == 0;
    w->cameras = some;
    return r;
}

/* ---- words ---- */

static unsigned char folded(unsigned char c, unsigned char before)
{
    if (c >= 'A' && c <= 'Z')
        return (unsigned char)(c + ('a' - 'A'));
    /* Latin-1's letters in UTF-8: from the one with a grave to the thorn, but for the times sign.
     */
    return before == 0xc3 && c >= 0x80 && c <= 0x9e && c != 0x97 ? (unsigned char)(c + 0x20) : c;
}

static bool contains(const char *text, const char *word)
{
    for (size_t from = 0; text[from] != '\0'; from++) {
        size_t at = from;
        const char *w = word;
        while (*w != '\0' && text[at] != '\0' &&
               folded((unsigned char)text[at], at > 0 ? (unsigned char)text[at - 1] : 0) ==
                   (unsigned char)*w) {
            at++;
            w++;
        }
        if (*w == '\0')
            return true;
    }
    return false;
}

/* Returns the count of words, or -E2BIG. */
static int split_words(const char *text, struct word *ret)
{
    int count = 0;
    for (const char *at = text; at != NULL && *at != '\0';) {
        size_t len = strcspn(at, " \t");
        if (len >= BROWSE_WORD_SIZE || (len > 0 && count == BROWSE_WORDS_MAX))
            return -E2BIG;
        for (size_t i = 0; i < len && ret != NULL; i++)
            ret[count].text[i] =
                (char)folded((unsigned char)at[i], i > 0 ? (unsigned char)at[i - 1] : 0);
        if (len > 0)
            count++;
        at += len + (at[len] != '\0');
    }
    return count;
}

int ledger_browse_check(const struct browse_filter *f, struct err *e)
{
    if (f->camera_count > BROWSE_NAMES_MAX || f->label_count > BROWSE_NAMES_MAX)
        return err_set(e, -EINVAL, ERR_NEVER, "more than %d cameras or labels", BROWSE_NAMES_MAX);
    if (split_words(f->text, NULL) < 0)
        return err_set(e, -EINVAL, ERR_NEVER, "more than %d words, or one of more than %d bytes",
                       BROWSE_WORDS_MAX, BROWSE_WORD_SIZE - 1);
    return 0;
}

/* The ascending ids of rows whose name holds the word. */
static int find_word(struct walk *w, const char *sql, const char *word, int64_t **ret, int *count,
                     struct err *e)
{
    AUTO(db_query) q = db_query(w->l->db, sql);
    int r;
    db_bind_int(q, NAMES_MAX);
    while ((r = db_step(q, e)) == 1) {
        if (!contains(db_text(q, 1), word))
            continue;
        if (*count % 64 == 0)
            *ret = xrealloc(*ret, (size_t)(*count + 64) * sizeof(**ret));
        (*ret)[(*count)++] = db_int(q, 0);
    }
    return r;
}

static int find_words(struct walk *w, struct err *e)
{
    int r = w->word_count = split_words(w->f->text, w->words);
    for (int i = 0; i < w->word_count && r >= 0; i++) {
        struct word *x = &w->words[i];
        r = find_word(w, "SELECT id, name FROM cameras ORDER BY id LIMIT ?", x->text, &x->cameras,
                      &x->camera_count, e);
        if (r >= 0)
            r = find_word(w, "SELECT id, key FROM devices ORDER BY id LIMIT ?", x->text,
                          &x->devices, &x->device_count, e);
        if (r >= 0)
            r = find_word(w, "SELECT id, name FROM labels ORDER BY id LIMIT ?", x->text, &x->labels,
                          &x->label_count, e);
    }
    return r;
}

static bool holds(const int64_t *ids, int count, int64_t id)
{
    int from = 0, to = count;
    while (from < to) {
        int middle = from + (to - from) / 2;
        if (ids[middle] == id)
            return true;
        if (ids[middle] < id)
            from = middle + 1;
        else
            to = middle;
    }
    return false;
}

static int bears_label(struct walk *w, int64_t row, const struct word *x, struct err *e)
{
    if (x->label_count == 0)
        return 0;
    AUTO(db_query) q = db_query(w->l->db, "SELECT label FROM sightings WHERE snapshot = ?");
    db_bind_int(q, row);
    int r;
    while ((r = db_step(q, e)) == 1)
        if (holds(x->labels, x->label_count, db_int(q, 0)))
            return 1;
    return r;
}

/* 1 when the entry of this stream bears all words. */
static int bears_words(struct walk *w, const struct stream *s, struct err *e)
{
    for (int i = 0; i < w->word_count; i++) {
        const struct word *x = &w->words[i];
        const char *path = db_text(s->q, 6), *slash = strrchr(path, '/');
        if (holds(x->cameras, x->camera_count, db_int(s->q, 4)) ||
            holds(x->devices, x->device_count, db_int(s->q, 5)) ||
            contains(slash != NULL ? slash + 1 : path, x->text))
            continue;
        int r = bears_label(w, s->row, x, e);
        if (r != 1)
            return r;
    }
    return 1;
}

/* ---- the walk ---- */

static int walk_open(struct walk *w, struct ledger *l, const struct browse_filter *f,
                     struct ledger_page_key after, bool wants_persons,
                     const struct browse_budget *budget, struct err *e)
{
    *w = (struct walk){.l = l,
                       .f = f,
                       .after = after,
                       .at = after,
                       .wants_persons = wants_persons,
                       .budget = budget};
    int r = ledger_browse_check(f, e);
    if (r == 0)
        r = find_names(w, NAME_CAMERA, f->cameras, f->camera_count, &w->cameras, e);
    if (r == 0)
        r = find_names(w, NAME_LABEL, f->labels, f->label_count, &w->labels, e);
    if (r == 0 && f->source >= 0)
        r = narrow_by_source(w, e);
    if (r == 0)
        r = find_words(w, e);
    if (r < 0 || w->nothing)
        return r;
    if (budget->ms != 0)
        w->deadline = mono_add_ms(clock_mono(), budget->ms);
    return choose_leading(w, e);
}

static void walk_close(struct walk *w)
{
    for (int i = 0; i < w->stream_count; i++)
        db_query_end(w->streams[i].q);
    for (int i = 0; i < w->word_count; i++) {
        free(w->words[i].cameras);
        free(w->words[i].devices);
        free(w->words[i].labels);
    }
}

static bool is_tired(const struct walk *w)
{
    if (w->budget->steps != 0 && w->steps >= w->budget->steps)
        return true;
    return w->budget->ms != 0 && w->steps > 0 && w->steps % CLOCK_STEPS == 0 &&
           mono_passed(w->deadline);
}

static int advance(struct stream *s, struct err *e)
{
    int r = db_step(s->q, e);
    s->ended = r == 0;
    if (r != 1)
        return r;
    s->at = db_int(s->q, 0);
    s->row = db_int(s->q, 1);
    s->fits = db_int(s->q, 2) != 0;
    return 0;
}

/* The stream whose entry comes next; NULL at the end. */
static struct stream *first_stream(struct walk *w)
{
    struct stream *first = NULL;
    for (int i = 0; i < w->stream_count; i++) {
        struct stream *s = &w->streams[i];
        if (s->ended)
            continue;
        bool later =
            first != NULL && (s->at > first->at || (s->at == first->at && s->row > first->row));
        if (first == NULL || (w->f->oldest_first ? !later : later))
            first = s;
    }
    return first;
}

/* Takes the entry, which several streams may have: a picture has several labels. */
static int take(struct walk *w, int64_t at, int64_t row, struct err *e)
{
    bool fits = false;
    int r = 0;
    for (int i = 0; i < w->stream_count && r >= 0; i++) {
        struct stream *s = &w->streams[i];
        if (s->ended || s->at != at || s->row != row)
            continue;
        if (s->fits && !fits) {
            w->person = db_int(s->q, 3) != 0;
            r = w->word_count > 0 ? bears_words(w, s, e) : 1;
            fits = r == 1;
        }
        w->steps++;
        if (r >= 0)
            r = advance(s, e);
    }
    w->at = (struct ledger_page_key){{at}, row};
    return r < 0 ? r : fits;
}

static int walk_next(struct walk *w, struct err *e)
{
    if (w->steps == 0)
        for (int i = 0; i < w->stream_count; i++) {
            int r = advance(&w->streams[i], e);
            if (r < 0)
                return r;
        }
    for (;;) {
        struct stream *s = first_stream(w);
        if (s == NULL)
            return WALK_END;
        if (is_tired(w))
            return WALK_TIRED;
        int r = take(w, s->at, s->row, e);
        if (r != 0)
            return r < 0 ? r : WALK_FOUND;
    }
}
