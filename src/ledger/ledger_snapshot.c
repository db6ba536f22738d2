/* Snapshots: how they are recorded and examined, and how they are found again. */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "ledger/internal.h"
#include "ledger/ledger_browse.h"

static int check_new(const struct snapshot *s, struct err *e);
static int add(struct ledger *l, const struct snapshot *s, int64_t *ret_row, struct err *e);
static int insert(struct ledger *l, const struct snapshot *s, int64_t *ret_row, struct err *e);
static int note_source(struct ledger *l, int64_t camera, enum snapshot_source source,
                       struct err *e);
static int finish_trigger(struct ledger *l, const char *id, struct err *e);
static int path_in_use(struct ledger *l, const char *path, struct err *e);
void verdict_bind(struct db_query *q, const struct verdict *v, int64_t model)
{
    db_bind_int(q, clock_wall().us);
    db_bind_int(q, v->outcome);
    db_bind_int(q, model);
    db_bind_real(q, v->decode_ms);
    db_bind_real(q, v->infer_ms);
    db_bind_int(q, v->damaged);
    db_bind_int(q, verdict_persons(v));
    db_bind_int(q, verdict_things(v));
    db_bind_real(q, (double)verdict_confidence_max(v));
    db_bind_text_or_null(q, v->error);
}

static int update_examined(struct ledger *l, const struct snapshot *s, const struct verdict *v,
                           const char *path, const char *annotated_path, struct err *e);
static int insert_outbox(struct ledger *l, const struct snapshot *s,
                         const char *const *destinations, struct err *e);
static int read_snapshot(struct ledger *l, struct db_query *q, struct snapshot **ret,
                         struct err *e);
static int read_verdict(struct ledger *l, const char *id, struct verdict *v, struct err *e);
static int read_detections(struct ledger *l, int64_t row, size_t count, struct verdict *v,
                           struct err *e);
static int read_unsettled(struct ledger *l, struct db_query *q, struct ledger_unsettled *ret,
                          struct err *e);

/* ---- intake ---- */

int ledger_snapshot_add(struct ledger *l, struct snapshot *s, struct err *e)
{
    int r = check_new(s, e);
    if (r < 0)
        return r;
    r = db_begin(l->db, e);
    if (r < 0)
        return r;
    int64_t row = 0;
    r = add(l, s, &row, e);
    FAULT_POINT("before-snapshot-commit");
    r = db_finish(l->db, r, e);
    if (r < 0)
        return r;
    FAULT_POINT("after-snapshot-commit");
    s->row = row;
    s->state = SNAPSHOT_STORED;
    return 0;
}

static int check_new(const struct snapshot *s, struct err *e)
{
    assert(snapshot_id_valid(s->id));
    assert(s->source < SNAPSHOT_SOURCE_COUNT);
    assert(s->size >= 0 && s->width >= 0 && s->height >= 0);
    if (s->camera[0] == '\0' || !fs_path_is_plain(s->path))
        return err_set(e, -EINVAL, ERR_NEVER,
                       "snapshot %s: a camera and a path below the store "
                       "are needed",
                       s->id);
    return 0;
}

static int add(struct ledger *l, const struct snapshot *s, int64_t *ret_row, struct err *e)
{
    int r = ledger_snapshot_exists(l, s->id, e);
    if (r == 1)
        return err_set(e, -EEXIST, ERR_NEVER, "snapshot %s: recorded already", s->id);
    if (r == 0)
        r = path_in_use(l, s->path, e);
    if (r == 1)
        return err_set(e, -ENOTUNIQ, ERR_NOW, "snapshot %s: '%s' is taken", s->id, s->path);
    if (r == 0)
        r = insert(l, s, ret_row, e);
    if (r == 0)
        r = finish_trigger(l, s->id, e);
    return r;
}

static int insert(struct ledger *l, const struct snapshot *s, int64_t *ret_row, struct err *e)
{
    int64_t camera, device;
    int r = name_intern(l, NAME_CAMERA, s->camera, &camera, e);
    if (r < 0)
        return r;
    r = device_intern(l, s->device_key, s->device_label, &device, e);
    if (r < 0)
        return r;
    AUTO(db_query)
    q = db_query(l->db, "INSERT INTO snapshots (id, camera, device, source, state, event_at,"
                        " received_at, stored_at, path, unsettled, size, md5, sha256, format,"
                        " width, height, orientation, fetch_ms)"
                        " VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)");
    db_bind_text(q, s->id);
    db_bind_int(q, camera);
    db_bind_int(q, device);
    db_bind_int(q, s->source);
    db_bind_int(q, s->event_at.us);
    db_bind_int(q, s->received_at.us);
    db_bind_int(q, clock_wall().us);
    db_bind_text(q, s->path);
    db_bind_int(q, s->size);
    db_bind_text(q, s->md5);
    db_bind_text(q, s->sha256);
    db_bind_text(q, s->format);
    db_bind_int(q, s->width);
    db_bind_int(q, s->height);
    db_bind_int(q, s->orientation);
    db_bind_real(q, s->fetch_ms);
    r = db_run(q, e);
    if (r < 0)
        return r;
    *ret_row = db_last_row(l->db);
    r = note_source(l, camera, s->source, e);
    return r < 0 ? r : retention_count(l, *ret_row, 1, e);
}

/* Writes once per camera and source. */
static int note_source(struct ledger *l, int64_t camera, enum snapshot_source source, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "INSERT OR IGNORE INTO sources (camera, source) VALUES (?, ?)");
    db_bind_int(q, camera);
    db_bind_int(q, source);
    return db_run(q, e);
}

/* A trigger has one outcome: one that was given up was reported as failed, and stays so. */
static int finish_trigger(struct ledger *l, const char *id, struct err *e)
{
    AUTO(db_query)
    finish = db_query(l->db, "UPDATE triggers SET state = 1, finished_at = ?, address = NULL,"
                             " user = NULL, password = NULL WHERE id = ? AND state = 0");
    db_bind_int(finish, clock_wall().us);
    db_bind_text(finish, id);
    int r = db_run(finish, e);
    if (r < 0 || db_changes(l->db) == 1)
        return r;
    AUTO(db_query) known = db_query(l->db, "SELECT 1 FROM triggers WHERE id = ?");
    db_bind_text(known, id);
    r = db_step(known, e);
    if (r == 1)
        return err_set(e, -EALREADY, ERR_NEVER, "snapshot %s: its trigger was given up before", id);
    return r;
}

/* The names that a file may have in its life differ in one leading word. */
static int path_in_use(struct ledger *l, const char *path, struct err *e)
{
    static const char *const words[] = {"fetch", "human", "detect"};
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    const char *rest = NULL;
    for (size_t i = 0; i < ARRAY_LEN(words) && rest == NULL; i++)
        if (text_starts_with(base, words[i]))
            rest = base + strlen(words[i]);
    char siblings[ARRAY_LEN(words)][SNAPSHOT_PATH_MAX + 8];
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        int n = rest == NULL ? text_format(siblings[i], sizeof(siblings[i]), "%s", path)
                             : text_format(siblings[i], sizeof(siblings[i]), "%.*s%s%s",
                                           (int)(base - path), path, words[i], rest);
        if (n < 0)
            return err_set(e, -ENAMETOOLONG, ERR_NEVER, "path of %zu bytes", strlen(path));
    }
    AUTO(db_query)
    q = db_query(l->db, "SELECT 1 FROM snapshots WHERE path IN (?1, ?2, ?3)"
                        " UNION ALL SELECT 1 FROM snapshots WHERE annotated_path IN (?1, ?2, ?3)");
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        db_bind_text(q, siblings[i]);
    return db_step(q, e);
}

int ledger_path_taken(struct ledger *l, const char *path, struct err *e)
{
    return path_in_use(l, path, e);
}

int ledger_path_named(struct ledger *l, const char *path, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT 1 FROM snapshots WHERE path = ?1 AND removed_at IS NULL"
                        " UNION ALL SELECT 1 FROM snapshots WHERE annotated_path = ?1"
                        " AND removed_at IS NULL"
                        " UNION ALL SELECT 1 FROM snapshots WHERE unsettled = 1"
                        " AND previous_path = ?1");
    db_bind_text(q, path);
    return db_step(q, e);
}

/* The words that a picture of the same name may have in front. A range finds all extensions: '/' is
 * the byte behind '.'. */
int ledger_push_name_taken(struct ledger *l, const char *path, struct err *e)
{
    static const char *const words[] = {"", "fetch_", "human_"};
    char copy[SNAPSHOT_PATH_MAX + 16];
    if (snapshot_name_annotated(path, copy, sizeof(copy)) < 0)
        return err_set(e, -ENAMETOOLONG, ERR_NEVER, "path of %zu bytes", strlen(path));
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    int stem = (int)(dot != NULL ? dot - base : (ptrdiff_t)strlen(base));
    int r = 0;
    for (size_t i = 0; i < ARRAY_LEN(words) && r == 0; i++) {
        char from[SNAPSHOT_PATH_MAX + 16], to[SNAPSHOT_PATH_MAX + 16];
        (void)text_format(from, sizeof(from), "%.*s%s%.*s.", (int)(base - path), path, words[i],
                          stem, base); /* shorter than the copy's */
        (void)text_format(to, sizeof(to), "%.*s%s%.*s/", (int)(base - path), path, words[i], stem,
                          base);
        AUTO(db_query)
        q = db_query(l->db, "SELECT 1 FROM snapshots WHERE path > ?1 AND path < ?2"
                            " AND instr(substr(path, length(?1) + 1), '.') = 0"
                            " UNION ALL SELECT 1 FROM snapshots WHERE annotated_path = ?3");
        db_bind_text(q, from);
        db_bind_text(q, to);
        db_bind_text(q, copy);
        r = db_step(q, e);
    }
    return r;
}

int ledger_push_twin(struct ledger *l, const struct snapshot *s, char ret_id[SNAPSHOT_ID_SIZE],
                     struct err *e)
{
    int64_t camera;
    int r = name_find(l, NAME_CAMERA, s->camera, &camera, e);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    AUTO(db_query)
    q = db_query(l->db, "SELECT id FROM snapshots WHERE camera = ? AND event_at = ? AND sha256 = ?"
                        " AND source = ? AND id != ?");
    db_bind_int(q, camera);
    db_bind_int(q, s->event_at.us);
    db_bind_text(q, s->sha256);
    db_bind_int(q, SNAPSHOT_PUSHED);
    db_bind_text(q, s->id);
    r = db_step(q, e);
    if (r == 1)
        (void)text_copy(ret_id, SNAPSHOT_ID_SIZE, db_text(q, 0)); /* of that length by a CHECK */
    return r;
}

int ledger_note(struct ledger *l, const char *id, const char *what, const char *detail,
                struct err *e)
{
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    r = incident_add(l, id, 1, what, detail, e);
    return db_finish(l->db, r, e);
}

int ledger_noted(struct ledger *l, const char *id, struct err *e)
{
    AUTO(db_query) q = db_query(l->db, "SELECT 1 FROM incidents WHERE subject = ?");
    db_bind_text(q, id);
    return db_step(q, e);
}

int ledger_note_drop(struct ledger *l, const char *id, struct err *e)
{
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    {
        AUTO(db_query)
        q = db_query(l->db, "DELETE FROM incidents WHERE subject = ?1"
                            " AND NOT EXISTS (SELECT 1 FROM snapshots WHERE id = ?1)"
                            " AND NOT EXISTS (SELECT 1 FROM triggers WHERE id = ?1)");
        db_bind_text(q, id);
        r = db_run(q, e);
    }
    return db_finish(l->db, r, e);
}

int ledger_snapshot_exists(struct ledger *l, const char *id, struct err *e)
{
    AUTO(db_query) q = db_query(l->db, "SELECT 1 FROM snapshots WHERE id = ?");
    db_bind_text(q, id);
    return db_step(q, e);
}

int ledger_snapshot_is_stored(struct ledger *l, int64_t row, struct err *e)
{
    AUTO(db_query) q = db_query(l->db, "SELECT 1 FROM snapshots WHERE row = ? AND state = 0");
    db_bind_int(q, row);
    return db_step(q, e);
}

/* ---- detect ---- */

int ledger_snapshot_examined(struct ledger *l, const struct snapshot *s, const struct verdict *v,
                             const char *new_path, const char *annotated_path,
                             const char *const *destinations, const struct upload_wish *wishes,
                             size_t wish_count, struct err *e)
{
    assert(s->row > 0);
    assert(v->outcome < VERDICT_OUTCOME_COUNT);
    assert(v->found.count <= DETECTION_COUNT_MAX);
    const char *path = new_path != NULL && new_path[0] != '\0' ? new_path : s->path;
    bool annotated = annotated_path != NULL && annotated_path[0] != '\0';
    if (!fs_path_is_plain(path) || (annotated && !fs_path_is_plain(annotated_path)))
        return err_set(e, -EINVAL, ERR_NEVER, "snapshot %s: a path outside the store", s->id);
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    bool counts = annotated || verdict_persons(v) > 0; /* else it stays in its class */
    if (counts)
        r = retention_count(l, s->row, -1, e);
    if (r == 0)
        r = update_examined(l, s, v, path, annotated ? annotated_path : NULL, e);
    if (r == 0 && counts)
        r = retention_count(l, s->row, 1, e);
    if (r == 0)
        r = detections_insert(l, s, v, e);
    if (r == 0 && destinations != NULL)
        r = insert_outbox(l, s, destinations, e);
    if (r == 0 && wish_count > 0)
        r = uploads_insert(l, s->row, annotated, wishes, wish_count, e);
    FAULT_POINT("before-examined-commit");
    r = db_finish(l->db, r, e);
    FAULT_POINT("after-examined-commit");
    return r;
}

static int update_examined(struct ledger *l, const struct snapshot *s, const struct verdict *v,
                           const char *path, const char *annotated_path, struct err *e)
{
    int64_t model = 0;
    int r = v->model[0] != '\0' ? name_intern(l, NAME_MODEL, v->model, &model, e) : 0;
    if (r < 0)
        return r;
    bool renamed = strcmp(path, s->path) != 0;
    AUTO(db_query)
    q = db_query(l->db,
                 "UPDATE snapshots SET state = 1, " VERDICT_SET ", previous_path = ?, path = ?,"
                 " annotated_path = ?, unsettled = ? WHERE row = ? AND id = ? AND state = 0");
    verdict_bind(q, v, model);
    db_bind_text(q, renamed ? s->path : NULL);
    db_bind_text(q, path);
    db_bind_text(q, annotated_path);
    db_bind_int(q, renamed || annotated_path != NULL);
    db_bind_int(q, s->row);
    db_bind_text(q, s->id);
    r = db_run(q, e);
    if (r == -EEXIST)
        return err_set(e, -ENOTUNIQ, ERR_NEVER, "snapshot %s: '%s' is another one's name", s->id,
                       path);
    if (r < 0 || db_changes(l->db) == 1)
        return r;
    r = ledger_snapshot_exists(l, s->id, e);
    if (r == 1)
        return err_set(e, -EALREADY, ERR_NEVER, "snapshot %s: examined already", s->id);
    return r < 0 ? r : err_set(e, -ENOENT, ERR_NEVER, "snapshot %s: not recorded", s->id);
}

float verdict_confidence_max(const struct verdict *v)
{
    float best = 0;
    for (size_t i = 0; i < v->found.count; i++)
        best = MAX(best, v->found.items[i].confidence);
    return best;
}

int detections_insert(struct ledger *l, const struct snapshot *s, const struct verdict *v,
                      struct err *e)
{
    AUTO(db_query)
    detection = db_query(l->db, "INSERT INTO detections (snapshot, ordinal, label, class_id,"
                                " confidence, x1, y1, x2, y2) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
    AUTO(db_query)
    sighting = db_query(l->db, "INSERT INTO sightings (label, event_at, snapshot, confidence)"
                               " VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                               " confidence = max(confidence, excluded.confidence)");
    for (size_t i = 0; i < v->found.count; i++) {
        const struct detection *d = &v->found.items[i];
        int64_t label;
        int r = name_intern(l, NAME_LABEL, d->label, &label, e);
        if (r < 0)
            return r;
        db_bind_int(detection, s->row);
        db_bind_int(detection, (int64_t)i);
        db_bind_int(detection, label);
        db_bind_int(detection, d->class_id);
        db_bind_real(detection, (double)d->confidence);
        if (d->has_box) {
            db_bind_real(detection, (double)d->box.x1);
            db_bind_real(detection, (double)d->box.y1);
            db_bind_real(detection, (double)d->box.x2);
            db_bind_real(detection, (double)d->box.y2);
        }
        r = db_run(detection, e);
        if (r < 0)
            return r;
        db_bind_int(sighting, label);
        db_bind_int(sighting, s->event_at.us);
        db_bind_int(sighting, s->row);
        db_bind_real(sighting, (double)d->confidence);
        r = db_run(sighting, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int insert_outbox(struct ledger *l, const struct snapshot *s,
                         const char *const *destinations, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "INSERT INTO outbox (snapshot, destination, camera, state, attempts,"
                        " created_at, not_before)"
                        " SELECT row, ?, camera, 0, 0, ?, 0 FROM snapshots WHERE row = ?");
    for (size_t i = 0; destinations[i] != NULL; i++) {
        int64_t destination;
        int r = name_intern(l, NAME_DESTINATION, destinations[i], &destination, e);
        if (r < 0)
            return r;
        db_bind_int(q, destination);
        db_bind_int(q, clock_wall().us);
        db_bind_int(q, s->row);
        r = db_run(q, e);
        if (r < 0)
            return r;
        assert(db_changes(l->db) == 1);
    }
    return 0;
}

/* ---- reading ---- */

int ledger_backlog(struct ledger *l, int64_t after_row, struct snapshot **ret, int max,
                   struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT " SNAPSHOT_COLUMNS
                        " FROM snapshots s INDEXED BY snapshots_backlog" SNAPSHOT_NAMES
                        "WHERE s.state = 0 AND s.row > ? ORDER BY s.row LIMIT ?");
    db_bind_int(q, after_row);
    db_bind_int(q, max);
    return snapshots_read(l, q, ret, max, e);
}

int ledger_snapshot_get(struct ledger *l, const char *id, struct snapshot **ret, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db,
                 "SELECT " SNAPSHOT_COLUMNS " FROM snapshots s" SNAPSHOT_NAMES "WHERE s.id = ?");
    db_bind_text(q, id);
    int r = db_step(q, e);
    if (r < 0)
        return r;
    if (r == 0)
        return err_set(e, -ENOENT, ERR_NEVER, "snapshot %s: not recorded", id);
    return read_snapshot(l, q, ret, e);
}

int snapshots_read(struct ledger *l, struct db_query *q, struct snapshot **ret, int max,
                   struct err *e)
{
    int count = 0, r;
    while ((r = db_step(q, e)) == 1) {
        assert(count < max);
        r = read_snapshot(l, q, &ret[count], e);
        if (r < 0)
            break;
        count++;
    }
    if (r == 0)
        return count;
    while (count > 0) { /* ret is written on success only */
        snapshot_unref(ret[--count]);
        ret[count] = NULL;
    }
    return r;
}

static int read_snapshot(struct ledger *l, struct db_query *q, struct snapshot **ret, struct err *e)
{
    AUTO(snapshot) s = snapshot_new();
    s->row = db_int(q, 0);
    s->event_at.us = db_int(q, 7);
    s->received_at.us = db_int(q, 8);
    s->size = db_int(q, 11);
    s->width = (int)db_int(q, 15);
    s->height = (int)db_int(q, 16);
    s->orientation = (int)db_int(q, 17);
    s->fetch_ms = db_real(q, 18);
    s->unsettled = db_int(q, 19) != 0;
    s->starred = db_int(q, 20) != 0;
    s->removed = db_int(q, 21) != 0;
    s->deleted_at.us = db_int(q, 22);
    s->again = !db_is_null(q, 23);
    const struct {
        int column;
        char *dst;
        size_t size;
    } texts[] = {{1, s->id, sizeof(s->id)},
                 {2, s->camera, sizeof(s->camera)},
                 {3, s->device_key, sizeof(s->device_key)},
                 {4, s->device_label, sizeof(s->device_label)},
                 {9, s->path, sizeof(s->path)},
                 {10, s->annotated_path, sizeof(s->annotated_path)},
                 {12, s->md5, sizeof(s->md5)},
                 {13, s->sha256, sizeof(s->sha256)},
                 {14, s->format, sizeof(s->format)}};
    int r = 0, source = 0, state = 0;
    for (size_t i = 0; i < ARRAY_LEN(texts) && r == 0; i++)
        r = column_copy(l, q, texts[i].column, texts[i].dst, texts[i].size, e);
    if (r == 0)
        r = column_enum(l, q, 5, SNAPSHOT_SOURCE_COUNT, &source, e);
    if (r == 0)
        r = column_enum(l, q, 6, SNAPSHOT_STATE_COUNT, &state, e);
    if (r < 0)
        return r;
    if (!snapshot_id_valid(s->id) || s->size < 0 || s->width < 0 || s->height < 0 ||
        !fs_path_is_plain(s->path) ||
        (s->annotated_path[0] != '\0' && !fs_path_is_plain(s->annotated_path)))
        return db_damaged(l->db, e, "snapshot row %lld is not possible", (long long)s->row);
    s->source = (enum snapshot_source)source;
    s->state = (enum snapshot_state)state;
    *ret = STEAL(s);
    return 0;
}

int ledger_verdict_get(struct ledger *l, const char *id, struct verdict *ret, struct err *e)
{
    int r = db_begin_read(l->db, e);
    if (r < 0)
        return r;
    struct verdict v = {.found = {0}};
    r = read_verdict(l, id, &v, e);
    db_end_read(l->db);
    if (r < 0) {
        verdict_done(&v);
        return r;
    }
    *ret = v;
    return 0;
}

static int read_verdict(struct ledger *l, const char *id, struct verdict *v, struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, "SELECT s.row, s.outcome, m.name, s.decode_ms, s.infer_ms, s.damaged,"
                        " s.things, s.error FROM snapshots s LEFT JOIN models m ON m.id = s.model"
                        " WHERE s.id = ? AND s.state = 1");
    db_bind_text(q, id);
    int r = db_step(q, e);
    if (r < 0)
        return r;
    if (r == 0)
        return err_set(e, -ENOENT, ERR_NEVER, "snapshot %s: not examined", id);
    int outcome = 0;
    r = column_enum(l, q, 1, VERDICT_OUTCOME_COUNT, &outcome, e);
    if (r == 0)
        r = column_copy(l, q, 2, v->model, sizeof(v->model), e);
    if (r == 0)
        r = column_copy(l, q, 7, v->error, sizeof(v->error), e);
    if (r < 0)
        return r;
    v->outcome = (enum verdict_outcome)outcome;
    v->decode_ms = db_real(q, 3);
    v->infer_ms = db_real(q, 4);
    v->damaged = db_int(q, 5) != 0;
    int64_t things = db_int(q, 6);
    if (things < 0 || things > DETECTION_COUNT_MAX)
        return db_damaged(l->db, e, "snapshot %s with %lld detections", id, (long long)things);
    return read_detections(l, db_int(q, 0), (size_t)things, v, e);
}

static int read_detections(struct ledger *l, int64_t row, size_t count, struct verdict *v,
                           struct err *e)
{
    if (count == 0)
        return 0;
    v->found.items = mem_try_alloc(count, sizeof(*v->found.items),
                                   DETECTION_COUNT_MAX * sizeof(*v->found.items));
    if (v->found.items == NULL)
        return err_errno(e, -ENOMEM, "detections of snapshot row %lld", (long long)row);
    AUTO(db_query)
    q = db_query(l->db, "SELECT n.name, d.class_id, d.confidence, d.x1, d.y1, d.x2, d.y2"
                        " FROM detections d JOIN labels n ON n.id = d.label"
                        " WHERE d.snapshot = ? ORDER BY d.ordinal");
    db_bind_int(q, row);
    int r;
    while ((r = db_step(q, e)) == 1) {
        if (v->found.count == count)
            break;
        struct detection *d = &v->found.items[v->found.count];
        *d = (struct detection){
            .class_id = (int)db_int(q, 1),
            .confidence = (float)db_real(q, 2),
            .has_box = !db_is_null(q, 3),
            .box = {(float)db_real(q, 3), (float)db_real(q, 4), (float)db_real(q, 5),
                    (float)db_real(q, 6)},
        };
        r = column_copy(l, q, 0, d->label, sizeof(d->label), e);
        if (r < 0)
            return r;
        v->found.count++;
    }
    if (r < 0)
        return r;
    if (r == 1 || v->found.count != count)
        return db_damaged(l->db, e, "snapshot row %lld lost detections", (long long)row);
    return 0;
}

/* ---- pages ---- */

int ledger_snapshot_page(struct ledger *l, const struct ledger_filter *filter,
                         struct ledger_page_key before, struct snapshot **ret, int max,
                         struct err *e)
{
    static const struct ledger_filter everything = {.person = -1};
    static const struct browse_budget whole = {0};
    const struct ledger_filter *f = filter != NULL ? filter : &everything;
    struct browse_filter browse = BROWSE_EVERYTHING;
    struct browse_end end;
    browse.deleted = -1;
    browse.cameras = &f->camera;
    browse.camera_count = f->camera != NULL;
    browse.labels = &f->label;
    browse.label_count = f->label != NULL;
    browse.confidence_min = f->confidence_min;
    browse.person = f->person;
    browse.starred = f->starred > 0 ? 1 : f->starred < 0 ? 0 : -1;
    browse.from = f->from;
    browse.to = f->to;
    for (int i = 0; f->state != NULL && i < SNAPSHOT_STATE_COUNT; i++)
        if (strcmp(f->state, snapshot_state_names[i]) == 0)
            browse.state = i;
    if (f->state != NULL && browse.state < 0)
        return err_set(e, -EINVAL, ERR_NEVER, "state '%.40s': stored or examined", f->state);
    return ledger_browse_page(l, &browse, before, &whole, ret, max, &end, e);
}

/* ---- files that a crash may have left half-way ---- */

/* Unsettled, and no old copy is in the way: that of a second look goes first (again_at <= 0). One
 * that is wanted again (> 0) still has its first files, and gets its second look when they are in
 * place. */
#define FILES_ON_THEIR_WAY "unsettled = 1 AND (again_at IS NULL OR again_at > 0)"
#define UNSETTLED "SELECT row, id, previous_path, path, annotated_path FROM snapshots WHERE "

int ledger_unsettled(struct ledger *l, int64_t after_row, struct ledger_unsettled *ret, int max,
                     struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db, UNSETTLED FILES_ON_THEIR_WAY " AND row > ?"
                                                     " ORDER BY row LIMIT ?");
    db_bind_int(q, after_row);
    db_bind_int(q, max);
    int count = 0, r;
    while ((r = db_step(q, e)) == 1) {
        assert(count < max);
        r = read_unsettled(l, q, &ret[count], e);
        if (r < 0)
            return r;
        count++;
    }
    return r < 0 ? r : count;
}

int ledger_unsettled_get(struct ledger *l, const char *id, struct ledger_unsettled *ret,
                         struct err *e)
{
    AUTO(db_query) q = db_query(l->db, UNSETTLED "id = ? AND " FILES_ON_THEIR_WAY);
    db_bind_text(q, id);
    int r = db_step(q, e);
    if (r != 1)
        return r;
    r = read_unsettled(l, q, ret, e);
    return r < 0 ? r : 1;
}

static int read_unsettled(struct ledger *l, struct db_query *q, struct ledger_unsettled *ret,
                          struct err *e)
{
    ret->row = db_int(q, 0);
    int r = column_copy(l, q, 1, ret->id, sizeof(ret->id), e);
    if (r == 0)
        r = column_copy(l, q, 2, ret->previous_path, sizeof(ret->previous_path), e);
    if (r == 0)
        r = column_copy(l, q, 3, ret->path, sizeof(ret->path), e);
    if (r == 0)
        r = column_copy(l, q, 4, ret->annotated_path, sizeof(ret->annotated_path), e);
    return r;
}

int ledger_settle(struct ledger *l, const int64_t *rows, int count, struct err *e)
{
    if (count == 0)
        return 0;
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    {
        AUTO(db_query)
        q = db_query(l->db, "UPDATE snapshots SET unsettled = 0, previous_path = NULL"
                            " WHERE row = ? AND " FILES_ON_THEIR_WAY);
        for (int i = 0; i < count && r == 0; i++) {
            db_bind_int(q, rows[i]);
            r = db_run(q, e);
            if (r == 0 && db_changes(l->db) == 1)
                r = uploads_copy_placed(l, rows[i], e);
        }
    }
    FAULT_POINT("before-settle-commit");
    return db_finish(l->db, r, e);
}

int ledger_unsettle(struct ledger *l, int64_t row, struct err *e)
{
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    int changed = 0;
    {
        AUTO(db_query)
        q = db_query(l->db, "UPDATE snapshots SET unsettled = 1 WHERE row = ?"
                            " AND annotated_path IS NOT NULL AND removed_at IS NULL"
                            " AND removed_why IS NULL");
        db_bind_int(q, row);
        r = db_run(q, e);
        changed = db_changes(l->db);
    }
    if (r == 0 && changed > 0)
        r = uploads_copy_awaited(l, row, e);
    r = db_finish(l->db, r, e);
    return r < 0 ? r : changed;
}

int ledger_annotation_drop(struct ledger *l, int64_t row, struct err *e)
{
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    r = retention_count(l, row, -1, e);
    if (r == 0) {
        AUTO(db_query)
        q = db_query(l->db, "UPDATE snapshots SET annotated_path = NULL"
                            " WHERE row = ? AND " FILES_ON_THEIR_WAY);
        db_bind_int(q, row);
        r = db_run(q, e);
        if (r == 0 && db_changes(l->db) == 1)
            r = uploads_copy_dropped(l, row, e);
    }
    if (r == 0)
        r = retention_count(l, row, 1, e);
    return db_finish(l->db, r, e);
}
