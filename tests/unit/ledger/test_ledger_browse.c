#include "fixture.h"

#include "base/mem.h"
#include "ledger/ledger_again.h"
#include "ledger/ledger_browse.h"
#include "ledger/ledger_trash.h"
#include "ledger/ledger_upload.h"
#include "sys/db.h"

#define ROWS 400

/* The same numbers in each run. */
static unsigned dice(unsigned sides)
{
    static uint32_t state = 12345;
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % sides;
}

static const char *const cameras[] = {"porch", "yard", "K\303\274che"};
static const char *const labels[] = {"person", "dog", "car"};
static const struct browse_budget whole = {0}, tiny = {.steps = 7};

/* What a plain search knows of a picture. */
struct row {
    struct snapshot *s;
    bool examined, starred, deleted, removed;
    float best[3]; /* by label; -1 = not on it */
};

static void add(struct fixture *f, struct row *m, uint64_t n)
{
    unsigned camera = dice(3);
    m->s = make_snapshot(n, cameras[camera]);
    m->s->event_at.us = 1000000LL * (1 + dice(90)); /* many share their time */
    if (camera == 1)
        m->s->source = SNAPSHOT_PUSHED;
    (void)snprintf(m->s->path, sizeof(m->s->path), "c%u/1970/01/01/%s_%llu.jpg", camera,
                   dice(8) == 0 ? "alarm" : "fetch", (unsigned long long)n);
    text_copy(m->s->device_key, sizeof(m->s->device_key),
              camera == 0 ? "Front Door Camera" : "Garden Camera");
    assert_int_equal(ledger_snapshot_add(f->l, m->s, &f->e), 0);
    for (int k = 0; k < 3; k++)
        m->best[k] = -1;
}

static void examine(struct fixture *f, struct row *m)
{
    const char *names[5];
    float scores[5];
    size_t count = dice(5);
    for (size_t k = 0; k < count; k++) {
        unsigned label = dice(8) == 0 ? 2 : dice(2);
        names[k] = labels[label];
        scores[k] = (float)(1 + dice(9)) / 10.0f;
        m->best[label] = MAX(m->best[label], scores[k]);
    }
    struct verdict v = make_verdict(names, scores, count);
    assert_int_equal(ledger_snapshot_examined(f->l, m->s, &v, NULL, NULL, NULL, NULL, 0, &f->e), 0);
    verdict_done(&v);
    m->examined = true;
}

static void fill(struct fixture *f, struct row *rows)
{
    assert_int_equal(ledger_group_begin(f->l, &f->e), 0);
    for (size_t i = 0; i < ROWS; i++) {
        struct row *m = &rows[i];
        *m = (struct row){0};
        add(f, m, i + 1);
        if (dice(5) == 0)
            continue;
        examine(f, m);
        m->starred = dice(6) == 0;
        m->deleted = dice(6) == 0;
        m->removed = dice(3) == 0;
        if (m->starred)
            assert_int_equal(ledger_snapshot_star(f->l, m->s->id, true, &f->e), 0);
        if (m->deleted)
            assert_int_equal(ledger_snapshot_delete(f->l, m->s->id, true, &f->e), 0);
        if (m->removed)
            assert_int_equal(ledger_snapshot_removed(f->l, &m->s->row, 1, "age", false, &f->e), 0);
    }
    assert_int_equal(ledger_group_end(f->l, &f->e), 0);
}

static void free_rows(struct row *rows)
{
    for (size_t i = 0; i < ROWS; i++)
        snapshot_unref(rows[i].s);
}

static bool has_label(const struct row *m, const struct browse_filter *q)
{
    bool found = false;
    for (int k = 0; k < 3; k++)
        for (size_t i = 0; i < q->label_count; i++)
            found = found || (strcmp(q->labels[i], labels[k]) == 0 && m->best[k] >= 0 &&
                              m->best[k] >= (float)q->confidence_min);
    return found;
}

static bool has_camera(const struct row *m, const struct browse_filter *q)
{
    bool found = false;
    for (size_t i = 0; i < q->camera_count; i++)
        found = found || strcmp(q->cameras[i], m->s->camera) == 0;
    return found;
}

static const struct {
    const char *text;
    const char *file, *camera, *key, *label; /* what it matches by, of each; NULL = nothing */
} searches[] = {
    {"FETCH", "fetch", NULL, NULL, NULL},
    {"alarm", "alarm", NULL, NULL, NULL},
    {"k\xc3\x9c"
     "CHE",
     NULL,
     "K\xc3\xbc"
     "che",
     NULL, NULL},
    {"Dog", NULL, NULL, NULL, "dog"},
    {"garden", NULL, NULL, "Garden", NULL},
    {"nowhere", NULL, NULL, NULL, NULL},
};

static bool says(const struct row *m, const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(searches); i++) {
        if (strcmp(searches[i].text, text) != 0)
            continue;
        bool dog = searches[i].label != NULL && m->best[1] >= 0;
        return dog || (searches[i].file && strstr(m->s->path, searches[i].file)) ||
               (searches[i].camera && strcmp(m->s->camera, searches[i].camera) == 0) ||
               (searches[i].key && strstr(m->s->device_key, searches[i].key));
    }
    return false;
}

static bool is_as(int wanted, bool is)
{
    return wanted < 0 || (wanted == 1) == is;
}

static bool matches(const struct row *m, const struct browse_filter *q)
{
    float best = m->best[0];
    for (int k = 1; k < 3; k++)
        best = MAX(best, m->best[k]);
    if (q->deleted == 1 && m->removed)
        return false;
    if ((q->label_count > 0 && !has_label(m, q)) || (q->camera_count > 0 && !has_camera(m, q)))
        return false;
    if (q->label_count == 0 && q->confidence_min > 0 && best < (float)q->confidence_min)
        return false;
    return is_as(q->person, m->best[0] >= 0) && is_as(q->starred, m->starred) &&
           is_as(q->present, !m->removed) && is_as(q->deleted, m->deleted) &&
           is_as(q->source, m->s->source == SNAPSHOT_PUSHED) && is_as(q->state, m->examined) &&
           (q->from.us == 0 || m->s->event_at.us >= q->from.us) &&
           (q->to.us == 0 || m->s->event_at.us < q->to.us) && (q->text == NULL || says(m, q->text));
}

static int newest_first(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->s->event_at.us != y->s->event_at.us)
        return x->s->event_at.us < y->s->event_at.us ? 1 : -1;
    return x->s->row < y->s->row ? 1 : -1;
}

static int any(unsigned chance)
{
    return dice(chance) == 0 ? (int)dice(2) : -1;
}

/* One of all that can be asked; the names go to `of`. */
static struct browse_filter random_filter(const char *of[6])
{
    struct browse_filter q = BROWSE_EVERYTHING;
    q.cameras = of;
    q.labels = of + 3;
    q.camera_count = dice(3) == 0 ? 1 + dice(2) : 0;
    q.label_count = dice(3) == 0 ? 1 + dice(3) : 0;
    for (int i = 0; i < 3; i++) {
        of[i] = cameras[dice(3)];
        of[3 + i] = labels[(size_t)i];
    }
    q.confidence_min = dice(4) == 0 ? (double)(1 + dice(9)) / 10.0 : 0;
    q.person = any(4);
    q.starred = any(4);
    q.present = any(3);
    q.deleted = dice(3) == 0 ? any(1) : dice(4) == 0 ? -1 : 0;
    q.source = any(5);
    q.state = any(5);
    q.from.us = dice(4) == 0 ? 1000000LL * dice(90) : 0;
    q.to.us = dice(4) == 0 ? 1000000LL * (1 + dice(92)) : 0;
    q.text = dice(4) == 0 ? searches[dice(ARRAY_LEN(searches))].text : NULL;
    q.oldest_first = dice(2) == 0;
    return q;
}

static const struct row *nth(const struct row *rows, const struct browse_filter *q, size_t i)
{
    return &rows[q->oldest_first ? ROWS - 1 - i : i];
}

/* All pages of a filter, each as small as the budget makes it, against a plain search. Returns how
 * many pictures there were. */
static int64_t compare_pages(struct fixture *f, const struct row *rows,
                             const struct browse_filter *q, const struct browse_budget *budget)
{
    struct ledger_page_key key = {{0}, 0};
    struct browse_end end = {0};
    int64_t found = 0;
    size_t at = 0;
    for (int pages = 0; !end.whole; pages++) {
        struct snapshot *page[90];
        int max = 1 + (int)dice(90);
        int n = ledger_browse_page(f->l, q, key, budget, page, max, &end, &f->e);
        if (n < 0)
            fail_msg("%s", f->e.text);
        assert_true(pages < 10 * ROWS);
        for (int i = 0; i < n; i++, at++, found++) {
            while (at < ROWS && !matches(nth(rows, q, at), q))
                at++;
            assert_true(at < ROWS);
            assert_string_equal(page[i]->id, nth(rows, q, at)->s->id);
            snapshot_unref(page[i]);
        }
        key = end.at;
    }
    while (at < ROWS)
        assert_false(matches(nth(rows, q, at++), q));
    return found;
}

static void pages_of_any_filter_and_budget_are_those_of_a_plain_search(void **state)
{
    struct fixture *f = *state;
    static struct row rows[ROWS];
    fill(f, rows);
    qsort(rows, ROWS, sizeof(rows[0]), newest_first);
    int64_t compared = 0;
    for (int i = 0; i < 3000; i++) {
        const char *of[6];
        struct browse_filter q = random_filter(of);
        compared += compare_pages(f, rows, &q, i % 2 ? &tiny : &whole);
    }
    assert_true(compared > 20000);
    assert_sound(f);
    free_rows(rows);
}

static void compare_neighbours(struct fixture *f, const struct row *rows,
                               const struct browse_filter *q, size_t of)
{
    struct browse_neighbours found;
    const char *newer = "", *older = "";
    for (size_t i = 0; i < of; i++)
        if (matches(&rows[i], q))
            newer = rows[i].s->id;
    for (size_t i = ROWS; i-- > of + 1;)
        if (matches(&rows[i], q))
            older = rows[i].s->id;
    assert_int_equal(ledger_browse_neighbours(f->l, q, rows[of].s->id, &whole, &found, &f->e), 0);
    assert_true(found.exact);
    assert_string_equal(found.newer, newer);
    assert_string_equal(found.older, older);
    assert_int_equal(ledger_browse_neighbours(f->l, q, rows[of].s->id, &tiny, &found, &f->e), 0);
    assert_true(found.exact || !found.newer[0] || !found.older[0]);
}

static void neighbours_and_counts_are_those_of_a_plain_search(void **state)
{
    struct fixture *f = *state;
    static struct row rows[ROWS];
    fill(f, rows);
    qsort(rows, ROWS, sizeof(rows[0]), newest_first);
    for (int i = 0; i < 1000; i++) {
        const char *of[6];
        struct browse_filter q = random_filter(of);
        int64_t count = 0, expected = 0, persons = 0, in_buckets = 0, persons_there = 0;
        bool exact = false;
        for (size_t k = 0; k < ROWS; k++) {
            expected += matches(&rows[k], &q);
            persons += matches(&rows[k], &q) && rows[k].best[0] >= 0;
        }
        assert_int_equal(ledger_browse_count(f->l, &q, &whole, &count, &exact, &f->e), 0);
        assert_true(exact);
        assert_int_equal(count, expected);
        assert_int_equal(ledger_browse_count(f->l, &q, &tiny, &count, &exact, &f->e), 0);
        assert_true(exact ? count == expected : count <= expected);
        struct browse_bucket buckets[20];
        int n = ledger_browse_histogram(f->l, &q, 10000000, &whole, buckets, 20, &exact, &f->e);
        assert_true(n >= 0 && exact);
        for (int k = 0; k < n; k++) {
            assert_int_equal(buckets[k].from.us % 10000000, 0);
            assert_true(buckets[k].count > 0);
            assert_true(k == 0 || (buckets[k].from.us < buckets[k - 1].from.us) != q.oldest_first);
            in_buckets += buckets[k].count;
            persons_there += buckets[k].persons;
        }
        assert_int_equal(in_buckets, expected);
        assert_int_equal(persons_there, persons);
        compare_neighbours(f, rows, &q, dice(ROWS));
    }
    free_rows(rows);
}

static void a_histogram_that_does_not_fit_says_so(void **state)
{
    struct fixture *f = *state;
    static struct row rows[ROWS];
    fill(f, rows);
    struct browse_filter q = BROWSE_EVERYTHING;
    struct browse_bucket buckets[3];
    bool exact = true;
    assert_int_equal(ledger_browse_histogram(f->l, &q, 1000000, &whole, buckets, 3, &exact, &f->e),
                     3);
    assert_false(exact);
    free_rows(rows);
}

static void a_picture_that_comes_or_goes_shifts_no_page(void **state)
{
    struct fixture *f = *state;
    struct browse_filter q = BROWSE_EVERYTHING;
    struct browse_end end = {0};
    struct snapshot *page[4];
    for (uint64_t n = 1; n <= 8; n++) {
        AUTO(snapshot) s = make_snapshot(10 * n, "porch");
        assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    }
    struct ledger_page_key key = {{0}, 0};
    assert_int_equal(ledger_browse_page(f->l, &q, key, &whole, page, 4, &end, &f->e), 4);
    char last[SNAPSHOT_ID_SIZE], wanted[SNAPSHOT_ID_SIZE];
    text_copy(last, sizeof(last), page[3]->id);
    for (int i = 0; i < 4; i++)
        snapshot_unref(page[i]);
    AUTO(snapshot) newer = make_snapshot(95, "porch");
    assert_int_equal(ledger_snapshot_add(f->l, newer, &f->e), 0);
    assert_int_equal(ledger_snapshot_delete(f->l, last, false, &f->e), 0);
    assert_int_equal(ledger_browse_page(f->l, &q, end.at, &whole, page, 4, &end, &f->e), 4);
    make_id(40, wanted);
    assert_string_equal(page[0]->id, wanted);
    for (int i = 0; i < 4; i++)
        snapshot_unref(page[i]);
}

static void refuses_what_would_have_no_limit(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        {"a b c d e f g h", 0},
        {"a b c d e f g h i", -EINVAL},
        {"  spaces   alone  ", 0},
        {"", 0},
        {"a23456789012345678901234567890123456789012345678901234567890123", 0},
        {"a234567890123456789012345678901234567890123456789012345678901234", -EINVAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct browse_filter q = BROWSE_EVERYTHING;
        int64_t count;
        bool exact;
        q.text = cases[i].text;
        assert_int_equal(ledger_browse_check(&q, &f->e), cases[i].code);
        assert_int_equal(ledger_browse_count(f->l, &q, &whole, &count, &exact, &f->e),
                         cases[i].code);
    }
    const char *many[BROWSE_NAMES_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = "porch";
    struct browse_filter q = BROWSE_EVERYTHING;
    q.cameras = many;
    q.camera_count = ARRAY_LEN(many);
    assert_int_equal(ledger_browse_check(&q, &f->e), -EINVAL);
}

/* An index that the schema no longer has, or a condition that it does not promise, would fail only
 * with some combination. */
static void walks_of_all_leading_indexes_end_within_their_budget(void **state)
{
    struct fixture *f = *state;
    static struct row rows[ROWS];
    fill(f, rows);
    const struct browse_budget budget = {.steps = 20};
    for (int i = 0; i < 500; i++) {
        const char *of[6];
        struct browse_filter q = random_filter(of);
        q.text = "nowhere";
        struct snapshot *page[4];
        struct browse_end end = {0};
        struct ledger_page_key key = {{0}, 0};
        int pages = 0;
        for (; !end.whole; pages++, key = end.at) {
            int n = ledger_browse_page(f->l, &q, key, &budget, page, 4, &end, &f->e);
            assert_int_equal(n, 0);
        }
        assert_true(pages <= 4 * ROWS / 20 + 2);
    }
    free_rows(rows);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(pages_of_any_filter_and_budget_are_those_of_a_plain_search),
        CASE(neighbours_and_counts_are_those_of_a_plain_search),
        CASE(a_histogram_that_does_not_fit_says_so),
        CASE(a_picture_that_comes_or_goes_shifts_no_page),
        CASE(refuses_what_would_have_no_limit),
        CASE(walks_of_all_leading_indexes_end_within_their_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
