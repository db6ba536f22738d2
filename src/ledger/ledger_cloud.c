#include "ledger/ledger_cloud.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/fault.h"
#include "base/mem.h"
#include "base/text.h"
#include "ledger/internal.h"
#include "sys/json.h"

#define DAY_S 86400
/* Rows of days that are kept: two years, for people who compare bills. */
#define DAYS_KEPT 731
/* Old answers that go with each new one; more than one, so that a shorter age or count is obeyed
 * soon without one long transaction. */
#define FORGET_MAX 32
/* 300 detections of at most 150 bytes. */
#define FOUND_MAX ((size_t)64 << 10)

static int count_calls(struct db *db, int64_t from, int64_t to, int64_t *ret, struct err *e);
static int add_calls(struct ledger *l, int64_t day, int64_t calls, struct err *e);
static int spent(struct db *db, struct wall_time now, struct cloud_spent *ret, struct err *e);
static char *found_text(const struct detection_list *found);
static int found_read(struct ledger *l, const char *text, struct detection_list *ret,
                      struct err *e);

/* ---- budget ---- */

static int64_t floor_days(int64_t seconds)
{
    return seconds / DAY_S - (seconds % DAY_S < 0);
}

struct cloud_period cloud_period_of(struct wall_time at)
{
    struct cloud_period p = {.day = floor_days(wall_seconds(at))};
    struct tm tm = {0};
    time_t seconds = (time_t)(p.day * DAY_S);
    (void)gmtime_r(&seconds, &tm); /* fails beyond the year 2^31 */
    struct tm first = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = 1};
    struct tm next = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon + 1, .tm_mday = 1};
    p.month = floor_days((int64_t)timegm(&first));
    p.next_month = floor_days((int64_t)timegm(&next));
    return p;
}

static int exhausted(const char *key, int64_t limit, int64_t anew_day, struct err *e)
{
    char anew[WALL_ISO_MAX];
    wall_format_iso(wall_from_seconds(anew_day * DAY_S), false, anew);
    return err_set(e, -EDQUOT, ERR_LATER,
                   "the budget of %lld calls a %s is used up until %s ([cloud] calls_per_%s)",
                   (long long)limit, key, anew, key);
}

static int check_budget(struct ledger *l, const struct cloud_budget *b, struct wall_time now,
                        struct err *e)
{
    struct cloud_period p = cloud_period_of(now);
    struct cloud_spent s;
    int r = spent(l->db, now, &s, e);
    if (r < 0)
        return r;
    if (b->per_month > 0 && s.month >= b->per_month)
        return exhausted("month", b->per_month, p.next_month, e);
    if (b->per_day > 0 && s.day >= b->per_day)
        return exhausted("day", b->per_day, p.day + 1, e);
    return 0;
}

int ledger_cloud_reserve(struct ledger *l, const struct cloud_budget *b, struct wall_time now,
                         int64_t *ret_day, struct err *e)
{
    int64_t day = cloud_period_of(now).day;
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    r = check_budget(l, b, now, e);
    if (r == 0)
        r = add_calls(l, day, 1, e);
    FAULT_POINT("before-cloud-reserve-commit");
    r = db_finish(l->db, r, e);
    if (r < 0)
        return r;
    FAULT_POINT("after-cloud-reserve-commit");
    *ret_day = day;
    return 0;
}

int ledger_cloud_settle(struct ledger *l, int64_t day, unsigned billed, struct err *e)
{
    if (billed == 1)
        return 0; /* as it was reserved */
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    return db_finish(l->db, add_calls(l, day, (int64_t)billed - 1, e), e);
}

/* Never below zero: a rescue may have lost the day's row. */
static int add_calls(struct ledger *l, int64_t day, int64_t calls, struct err *e)
{
    AUTO(db_query)
    add = db_query(l->db, "INSERT INTO cloud_days (day, calls) VALUES (?1, max(?2, 0))"
                          " ON CONFLICT (day) DO UPDATE SET calls = max(calls + ?2, 0)");
    db_bind_int(add, day);
    db_bind_int(add, calls);
    int r = db_run(add, e);
    if (r < 0)
        return r;
    AUTO(db_query) forget = db_query(l->db, "DELETE FROM cloud_days WHERE day < ?");
    db_bind_int(forget, day - DAYS_KEPT);
    return db_run(forget, e);
}

static int count_calls(struct db *db, int64_t from, int64_t to, int64_t *ret, struct err *e)
{
    AUTO(db_query)
    q = db_query(db, "SELECT coalesce(sum(calls), 0) FROM cloud_days WHERE day >= ? AND day < ?");
    db_bind_int(q, from);
    db_bind_int(q, to);
    int r = db_query_int(q, ret, e);
    assert(r != -ENODATA);
    return r;
}

static int spent(struct db *db, struct wall_time now, struct cloud_spent *ret, struct err *e)
{
    struct cloud_period p = cloud_period_of(now);
    struct cloud_spent s;
    int r = count_calls(db, p.day, p.day + 1, &s.day, e);
    if (r == 0)
        r = count_calls(db, p.month, p.next_month, &s.month, e);
    if (r == 0)
        *ret = s;
    return r;
}

int ledger_cloud_spent(struct ledger *l, struct wall_time now, struct cloud_spent *ret,
                       struct err *e)
{
    return spent(l->db, now, ret, e);
}

int ledger_cloud_peek(const char *path, struct wall_time now, struct cloud_spent *ret,
                      struct err *e)
{
    AUTO(db) db = NULL;
    int64_t known = 0;
    int r = db_open_damaged(path, &db, e); /* which changes nothing, and it is read below */
    if (r < 0)
        return r;
    AUTO(db_query)
    q = db_query(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'cloud_days'");
    r = db_query_int(q, &known, e);
    if (r < 0)
        return r;
    return known ? spent(db, now, ret, e)
                 : err_set(e, -ENOENT, ERR_NEVER, "'%s' knows no budgets yet", path);
}

/* ---- answers ---- */

static int forget_answers(struct ledger *l, const struct cloud_bounds *bounds, struct wall_time now,
                          struct err *e)
{
    AUTO(db_query)
    q = db_query(l->db,
                 "DELETE FROM cloud_answers WHERE row IN"
                 " (SELECT row FROM cloud_answers ORDER BY row LIMIT ?1) AND (at < ?2 OR row <="
                 " (SELECT max(row) FROM cloud_answers) - ?3)");
    db_bind_int(q, FORGET_MAX);
    db_bind_int(q, now.us - bounds->age_ms * 1000);
    db_bind_int(q, bounds->count);
    return db_run(q, e);
}

static int put_answer(struct ledger *l, const char *key, const struct verdict *v,
                      const struct cloud_bounds *bounds, struct wall_time now, struct err *e)
{
    AUTO_FREE char *found = found_text(&v->found);
    AUTO(db_query)
    q = db_query(l->db, "INSERT OR REPLACE INTO cloud_answers (key, at, model, infer_ms, found)"
                        " VALUES (?, ?, ?, ?, ?)");
    db_bind_text(q, key);
    db_bind_int(q, now.us);
    db_bind_text(q, v->model);
    db_bind_real(q, v->infer_ms);
    db_bind_text(q, found);
    int r = db_run(q, e);
    return r < 0 ? r : forget_answers(l, bounds, now, e);
}

int ledger_cloud_answered(struct ledger *l, int64_t day, const char *key, const struct verdict *v,
                          const struct cloud_bounds *bounds, struct wall_time now, struct err *e)
{
    assert(strlen(key) == CLOUD_KEY_SIZE - 1 && v->outcome == VERDICT_EXAMINED);
    int r = db_begin(l->db, e);
    if (r < 0)
        return r;
    if (v->cloud_calls != 1)
        r = add_calls(l, day, (int64_t)v->cloud_calls - 1, e);
    if (r == 0 && bounds->age_ms > 0 && bounds->count > 0)
        r = put_answer(l, key, v, bounds, now, e);
    FAULT_POINT("before-cloud-answer-commit");
    r = db_finish(l->db, r, e);
    FAULT_POINT("after-cloud-answer-commit");
    return r;
}

int ledger_cloud_answer(struct ledger *l, const char *key, const struct cloud_bounds *bounds,
                        struct wall_time now, struct verdict *ret, struct err *e)
{
    if (bounds->age_ms <= 0)
        return 0;
    AUTO(db_query)
    q = db_query(l->db,
                 "SELECT model, infer_ms, found FROM cloud_answers WHERE key = ? AND at >= ?");
    db_bind_text(q, key);
    db_bind_int(q, now.us - bounds->age_ms * 1000);
    int r = db_step(q, e);
    if (r != 1)
        return r;
    struct verdict v = {.outcome = VERDICT_EXAMINED, .infer_ms = db_real(q, 1)};
    r = column_copy(l, q, 0, v.model, sizeof(v.model), e);
    if (r == 0)
        r = found_read(l, db_text(q, 2), &v.found, e);
    if (r < 0)
        return r;
    *ret = v;
    return 1;
}

/* [["person", 0.93, x1, y1, x2, y2], ["car", 0.5]], without a box when there is none. */
static char *found_text(const struct detection_list *found)
{
    AUTO_JSON json_t *list = json_array();
    for (size_t i = 0; i < found->count; i++) {
        const struct detection *d = &found->items[i];
        json_t *item = json_array();
        json_array_append_new(item, js_string(d->label));
        json_array_append_new(item, json_real((double)d->confidence));
        const float sides[] = {d->box.x1, d->box.y1, d->box.x2, d->box.y2};
        for (size_t k = 0; d->has_box && k < ARRAY_LEN(sides); k++)
            json_array_append_new(item, json_real((double)sides[k]));
        json_array_append_new(list, item);
    }
    return js_text(list);
}

static bool detection_read(const json_t *item, struct detection *ret)
{
    size_t n = json_array_size(item);
    const char *label = json_string_value(json_array_get(item, 0));
    if ((n != 2 && n != 6) || !label || !text_copy(ret->label, sizeof(ret->label), label))
        return false;
    float numbers[5] = {0};
    for (size_t i = 1; i < n; i++) {
        const json_t *number = json_array_get(item, i);
        if (!json_is_number(number))
            return false;
        numbers[i - 1] = (float)json_number_value(number);
    }
    ret->class_id = -1;
    ret->confidence = numbers[0];
    ret->has_box = n == 6;
    ret->box = (struct box){numbers[1], numbers[2], numbers[3], numbers[4]};
    return true;
}

static int found_read(struct ledger *l, const char *text, struct detection_list *ret, struct err *e)
{
    AUTO_JSON json_t *list = NULL;
    struct err why = {0};
    if (js_parse(text, strlen(text), FOUND_MAX, &list, &why) < 0 || !json_is_array(list) ||
        json_array_size(list) > DETECTION_COUNT_MAX)
        return db_damaged(l->db, e, "an answer that is no list of detections");
    AUTO_DONE(detection_list) found = {.count = json_array_size(list)};
    found.items = xcalloc(MAX(found.count, (size_t)1), sizeof(*found.items));
    for (size_t i = 0; i < found.count; i++)
        if (!detection_read(json_array_get(list, i), &found.items[i]))
            return db_damaged(l->db, e, "an answer with a detection that is none");
    *ret = found;
    found = (struct detection_list){0};
    return 0;
}
