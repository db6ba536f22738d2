/* Upload jobs, notes of storages, stars, and what may go. */

#include "fixture.h"

#include "base/mem.h"
#include "ledger/ledger_upload.h"
#include "sys/db.h"

#define DRIVE "gdrive"
#define NAS "directory:nas"
#define MD5 "0123456789abcdef0123456789abcdef"

static const struct upload_order oldest_first = {.live_after = INT64_MAX};
static const struct upload_order newest_first = {.newest_first = true, .live_after = INT64_MAX};
static const struct upload_wish both[] = {{DRIVE, true, true}, {NAS, true, false}};

/* The n-th picture of a camera, examined; with a person and a copy when it is wanted. */
static int64_t add(struct fixture *f, uint64_t n, const char *camera, bool person,
                   const struct upload_wish *wishes, size_t count)
{
    static const char *const labels[] = {"person"};
    static const float scores[] = {0.9f};
    AUTO(snapshot) s = make_snapshot(n, camera);
    AUTO_DONE(verdict) v = make_verdict(labels, scores, person);
    char detect[SNAPSHOT_PATH_MAX];
    s->md5[0] = '\0'; /* nobody has asked for it */
    (void)snapshot_name_annotated(s->path, detect, sizeof(detect));
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    if (ledger_snapshot_examined(f->l, s, &v, NULL, person ? detect : NULL, NULL, wishes, count,
                                 &f->e) < 0)
        fail_msg("%s", f->e.text);
    return s->row;
}

static int due(struct fixture *f, const char *storage, const struct upload_order *order,
               struct upload_job *ret, int max)
{
    int n = ledger_upload_due(f->l, storage, order, ledger_now(), NULL, 0, ret, max, &f->e);
    if (n < 0)
        fail_msg("%s", f->e.text);
    return n;
}

static void assert_counts(struct fixture *f, const char *storage, int64_t pending, int64_t done,
                          int64_t dead)
{
    struct upload_counts c;
    assert_int_equal(ledger_upload_counts(f->l, storage, &c, &f->e), 0);
    assert_int_equal(c.pending, pending);
    assert_int_equal(c.done, done);
    assert_int_equal(c.dead, dead);
    assert_int_equal(c.oldest_pending.us != 0, pending > 0);
}

static void assert_story(struct fixture *f, uint64_t n, const char *what, const char *detail)
{
    struct ledger_story story[32];
    char id[SNAPSHOT_ID_SIZE];
    make_id(n, id);
    int count = ledger_story(f->l, id, story, 32, &f->e);
    for (int i = 0; i < count; i++)
        if (strcmp(story[i].what, what) == 0 && strcmp(story[i].detail, detail) == 0)
            return;
    fail_msg("the story has no '%s: %s'", what, detail);
}

static void writes_a_job_per_file_and_storage(void **state)
{
    struct fixture *f = *state;
    struct upload_job jobs[8];
    int64_t row = add(f, 1, "porch", true, both, 2);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 8), 1); /* the copy is not there yet */
    assert_false(jobs[0].annotated);
    assert_string_equal(jobs[0].mark, "");
    assert_int_equal(due(f, NAS, &oldest_first, jobs, 8), 1);
    assert_counts(f, DRIVE, 2, 0, 0);
    assert_int_equal(ledger_settle(f->l, &row, 1, &f->e), 0);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 8), 2);
    assert_true(jobs[1].annotated);
    assert_int_equal(due(f, "s3:unknown", &oldest_first, jobs, 8), 0);
    assert_sound(f);
}

static void a_picture_without_copy_has_no_job_for_one(void **state)
{
    struct fixture *f = *state;
    add(f, 1, "porch", false, both, 2);
    assert_counts(f, DRIVE, 1, 0, 0);
    assert_sound(f);
}

static void a_copy_that_is_never_drawn_ends_its_job(void **state)
{
    struct fixture *f = *state;
    int64_t row = add(f, 1, "porch", true, both, 2);
    assert_int_equal(ledger_annotation_drop(f->l, row, &f->e), 0);
    assert_counts(f, DRIVE, 1, 0, 1);
    assert_story(
        f, 1, "not kept",
        "in gdrive, the copy with boxes, attempt 0: the copy with boxes could not be drawn");
    char id[SNAPSHOT_ID_SIZE];
    make_id(1, id);
    assert_int_equal(ledger_upload_again(f->l, id, &f->e), 0); /* there is nothing to send */
    assert_sound(f);
}

static void marks_outlive_the_connection(void **state)
{
    struct fixture *f = *state;
    struct upload_job jobs[2];
    add(f, 1, "porch", false, both, 1);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 2), 1);
    (void)text_copy(jobs[0].mark, sizeof(jobs[0].mark), "id-1\nsession\n");
    assert_int_equal(ledger_upload_mark(f->l, jobs, 1, &f->e), 0);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 2), 1);
    assert_string_equal(jobs[0].mark, "id-1\nsession\n");
    (void)text_copy(jobs[0].mark, sizeof(jobs[0].mark), "id-1\n\nhttps://there");
    const char *url = "https://there";
    (void)text_copy(jobs[0].md5, sizeof(jobs[0].md5), MD5);
    assert_int_equal(ledger_upload_done(f->l, jobs, &url, 1, &f->e), 0);
    (void)text_copy(jobs[0].md5, sizeof(jobs[0].md5), "0");
    assert_int_equal(ledger_upload_done(f->l, jobs, &url, 1, &f->e), 0); /* passed over */
    AUTO(snapshot) s = NULL;
    assert_int_equal(ledger_snapshot_get(f->l, jobs[0].snapshot_id, &s, &f->e), 0);
    assert_string_equal(s->md5, MD5);
    assert_counts(f, DRIVE, 0, 1, 0);
    assert_story(f, 1, "kept", "in gdrive, attempt 1");
    assert_int_equal(ledger_upload_kept(f->l, DRIVE, 0, jobs, 2, &f->e), 1);
    assert_string_equal(jobs[0].mark, "id-1\n\nhttps://there");
    assert_int_equal(ledger_upload_kept(f->l, DRIVE, jobs[0].row, jobs, 2, &f->e), 0);
    assert_sound(f);
}

static void gives_jobs_in_the_order_of_the_rule(void **state)
{
    struct fixture *f = *state;
    struct upload_job jobs[16];
    int64_t last;
    for (uint64_t n = 1; n <= 5; n++)
        add(f, n, "porch", false, both, 1);
    assert_int_equal(ledger_upload_last_row(f->l, &last, &f->e), 0);
    for (uint64_t n = 6; n <= 8; n++)
        add(f, n, "porch", false, both, 1);
    static const struct {
        bool newest, live;
        int wanted[8];
    } cases[] = {
        {false, false, {1, 2, 3, 4, 5, 6, 7, 8}},
        {true, false, {8, 7, 6, 5, 4, 3, 2, 1}},
        {false, true, {8, 7, 6, 1, 2, 3, 4, 5}},
        {true, true, {8, 7, 6, 5, 4, 3, 2, 1}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct upload_order o = {.newest_first = cases[i].newest,
                                 .live_after = cases[i].live ? last : INT64_MAX};
        for (int max = 1; max <= 8; max++) {
            assert_int_equal(due(f, DRIVE, &o, jobs, max), max);
            for (int k = 0; k < max; k++) {
                char id[SNAPSHOT_ID_SIZE];
                make_id((uint64_t)cases[i].wanted[k], id);
                if (strcmp(jobs[k].snapshot_id, id) != 0)
                    fail_msg("case %zu, %d of %d: %s", i, k, max, jobs[k].snapshot_id);
            }
        }
    }
}

static void leaves_out_what_is_under_way(void **state)
{
    struct fixture *f = *state;
    struct upload_job jobs[8];
    for (uint64_t n = 1; n <= 6; n++)
        add(f, n, "porch", false, both, 1);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 6), 6);
    int64_t busy[] = {jobs[0].row, jobs[1].row, jobs[4].row};
    int n = ledger_upload_due(f->l, DRIVE, &oldest_first, ledger_now(), busy, 3, jobs, 2, &f->e);
    assert_int_equal(n, 2);
    assert_true(jobs[0].row > busy[1] && jobs[1].row < busy[2]);
    n = ledger_upload_due(f->l, DRIVE, &newest_first, ledger_now(), busy, 3, jobs, 8, &f->e);
    assert_int_equal(n, 3);
}

static void a_refused_file_waits_alone(void **state)
{
    struct fixture *f = *state;
    struct upload_job jobs[8];
    struct wall_time next, soon = {ledger_now().us + 60000000};
    assert_int_equal(ledger_upload_next(f->l, DRIVE, &next, &f->e), -ENOENT);
    for (uint64_t n = 1; n <= 3; n++)
        add(f, n, "porch", false, both, 1);
    assert_int_equal(ledger_upload_next(f->l, DRIVE, &next, &f->e), 0);
    assert_true(next.us <= ledger_now().us);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 8), 3);
    struct upload_job first = jobs[0];
    assert_int_equal(ledger_upload_retry(f->l, &first, soon, "too blue", &f->e), 0);
    assert_story(f, 1, "upload-failed", "too blue");
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 8), 2);
    assert_int_equal(ledger_upload_done(f->l, jobs, NULL, 2, &f->e), 0);
    assert_int_equal(ledger_upload_next(f->l, DRIVE, &next, &f->e), 0);
    assert_int_equal(next.us, soon.us);
    assert_counts(f, DRIVE, 1, 2, 0);
    /* In its turn again when its time has come; a time too far ahead is of another clock. */
    int n = ledger_upload_due(f->l, DRIVE, &oldest_first, soon, NULL, 0, jobs, 8, &f->e);
    assert_int_equal(n, 1);
    assert_int_equal(jobs[0].attempts, 1);
    struct wall_time back = {soon.us - 7200000000};
    n = ledger_upload_due(f->l, DRIVE, &oldest_first, back, NULL, 0, jobs, 8, &f->e);
    assert_int_equal(n, 1);
    assert_sound(f);
}

static void what_was_retried_comes_in_its_place_of_the_order(void **state)
{
    struct fixture *f = *state;
    struct upload_job jobs[8];
    for (uint64_t n = 1; n <= 4; n++)
        add(f, n, "porch", false, both, 1);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 8), 4);
    struct wall_time now = ledger_now();
    struct upload_job second = jobs[1], fourth = jobs[3];
    assert_int_equal(ledger_upload_retry(f->l, &fourth, (struct wall_time){now.us - 2}, "x", &f->e),
                     0);
    assert_int_equal(ledger_upload_retry(f->l, &second, now, "x", &f->e), 0);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 8), 4);
    for (int i = 1; i < 4; i++)
        assert_true(jobs[i].row > jobs[i - 1].row);
    assert_int_equal(due(f, DRIVE, &newest_first, jobs, 8), 4);
    for (int i = 1; i < 4; i++)
        assert_true(jobs[i].row < jobs[i - 1].row);
}

static void what_was_given_up_stays_so_until_somebody_asks(void **state)
{
    struct fixture *f = *state;
    struct upload_job jobs[2];
    char id[SNAPSHOT_ID_SIZE];
    make_id(1, id);
    add(f, 1, "porch", false, both, 2);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 2), 1);
    (void)text_copy(jobs[0].mark, sizeof(jobs[0].mark), "id-1\n\n");
    assert_int_equal(ledger_upload_dead(f->l, jobs, "no such thing", &f->e), 0);
    assert_int_equal(ledger_upload_dead(f->l, jobs, "no such thing", &f->e), -EALREADY);
    assert_int_equal(ledger_upload_retry(f->l, jobs, ledger_now(), "x", &f->e), -EALREADY);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 2), 0);
    assert_counts(f, DRIVE, 0, 0, 1);
    assert_counts(f, NAS, 1, 0, 0);
    assert_story(f, 1, "not kept", "in gdrive, attempt 1: no such thing");
    assert_int_equal(ledger_upload_again(f->l, id, &f->e), 1);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 2), 1);
    assert_string_equal(jobs[0].mark, "id-1\n\n");
    assert_int_equal(jobs[0].attempts, 0);
    make_id(9, id);
    assert_int_equal(ledger_upload_again(f->l, id, &f->e), -ENOENT);
    assert_sound(f);
}

static void a_wait_counts_no_attempt(void **state)
{
    struct fixture *f = *state;
    struct upload_job job;
    struct wall_time later = {ledger_now().us + 60000000};
    add(f, 1, "porch", false, both, 1);
    assert_int_equal(due(f, DRIVE, &oldest_first, &job, 1), 1);
    assert_int_equal(ledger_upload_wait(f->l, &job, later, "the disk is away", &f->e), 0);
    assert_int_equal(due(f, DRIVE, &oldest_first, &job, 1), 0);
    assert_counts(f, DRIVE, 1, 0, 0);
    assert_int_equal(ledger_upload_due(f->l, DRIVE, &oldest_first, later, NULL, 0, &job, 1, &f->e),
                     1);
    assert_int_equal(job.attempts, 0);
    assert_int_equal(ledger_upload_done(f->l, &job, NULL, 1, &f->e), 0);
    assert_int_equal(ledger_upload_wait(f->l, &job, later, "x", &f->e), -EALREADY);
    assert_sound(f);
}

/* Rows of a storage that is forgotten give their numbers to others. */
static void a_job_that_is_gone_ends_no_other_of_its_number(void **state)
{
    struct fixture *f = *state;
    static const struct upload_wish nas = {NAS, true, false};
    struct upload_job old, now;
    add(f, 1, "porch", false, both, 1);
    assert_int_equal(due(f, DRIVE, &oldest_first, &old, 1), 1);
    assert_int_equal(ledger_upload_forget(f->l, DRIVE, &f->e), 1);
    add(f, 2, "porch", false, &nas, 1);
    assert_int_equal(due(f, NAS, &oldest_first, &now, 1), 1);
    assert_int_equal(now.row, old.row);
    (void)text_copy(old.mark, sizeof(old.mark), "id-1\n\n");
    assert_int_equal(ledger_upload_mark(f->l, &old, 1, &f->e), 0);
    assert_int_equal(ledger_upload_done(f->l, &old, NULL, 1, &f->e), 0);
    assert_int_equal(ledger_upload_dead(f->l, &old, "x", &f->e), -EALREADY);
    assert_int_equal(ledger_upload_retry(f->l, &old, ledger_now(), "x", &f->e), -EALREADY);
    assert_int_equal(due(f, NAS, &oldest_first, &now, 1), 1);
    assert_string_equal(now.mark, "");
    assert_int_equal(now.attempts, 0);
    assert_counts(f, NAS, 1, 0, 0);
    assert_sound(f);
}

static void change(struct fixture *f, const char *sql)
{
    AUTO(db) db = NULL;
    fixture_close(f);
    assert_int_equal(db_open(f->db, true, &db, &f->e), 0);
    if (db_exec(db, sql, &f->e) < 0)
        fail_msg("%s", f->e.text);
    db_close(STEAL(db));
    fixture_open(f);
}

static void a_damaged_row_is_put_aside_alone(void **state)
{
    struct fixture *f = *state;
    struct upload_job jobs[4];
    add(f, 1, "porch", false, both, 1);
    add(f, 2, "porch", false, both, 1);
    change(f, "UPDATE snapshots SET id = 'zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz' WHERE row = 1");
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 4), 2);
    assert_true(jobs[0].damaged);
    assert_false(jobs[1].damaged);
    assert_int_equal(ledger_upload_damaged(f->l, jobs[0].row, "it makes no sense", &f->e), 0);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 4), 1);
    assert_false(jobs[0].damaged);
    assert_counts(f, DRIVE, 1, 0, 1);
}

static void what_was_lost_is_made_anew(void **state)
{
    struct fixture *f = *state;
    struct upload_job jobs[2];
    add(f, 1, "porch", false, both, 1);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 2), 1);
    (void)text_copy(jobs[0].mark, sizeof(jobs[0].mark), "id-1\n\n");
    assert_int_equal(ledger_upload_lost(f->l, jobs[0].row, true, &f->e), 0); /* it is not kept */
    assert_int_equal(ledger_upload_done(f->l, jobs, NULL, 1, &f->e), 0);
    /* What is there with other bytes is to be replaced, so it must be known. */
    assert_int_equal(ledger_upload_lost(f->l, jobs[0].row, false, &f->e), 1);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 2), 1);
    assert_string_equal(jobs[0].mark, "id-1\n\n");
    assert_int_equal(ledger_upload_done(f->l, jobs, NULL, 1, &f->e), 0);
    assert_int_equal(ledger_upload_lost(f->l, jobs[0].row, true, &f->e), 1);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 2), 1);
    assert_string_equal(jobs[0].mark, "");
    assert_counts(f, DRIVE, 1, 0, 0);
    assert_sound(f);
}

static void notes_belong_to_their_storage(void **state)
{
    struct fixture *f = *state;
    char text[32];
    assert_int_equal(ledger_memory_get(f->l, DRIVE, "folder", text, sizeof(text), &f->e), -ENOENT);
    assert_int_equal(ledger_memory_set(f->l, DRIVE, "folder", "abc", &f->e), 0);
    assert_int_equal(ledger_memory_set(f->l, DRIVE, "folder", "abcd", &f->e), 0);
    assert_int_equal(ledger_memory_set(f->l, NAS, "folder", "xyz", &f->e), 0);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(ledger_memory_get(f->l, DRIVE, "folder", text, sizeof(text), &f->e), 0);
    assert_string_equal(text, "abcd");
    assert_int_equal(ledger_memory_get(f->l, DRIVE, "folder", text, 4, &f->e), -ENOSPC);
    assert_int_equal(ledger_memory_set(f->l, DRIVE, "folder", NULL, &f->e), 0);
    assert_int_equal(ledger_memory_get(f->l, DRIVE, "folder", text, sizeof(text), &f->e), -ENOENT);
    assert_int_equal(ledger_memory_get(f->l, NAS, "folder", text, sizeof(text), &f->e), 0);
    assert_string_equal(text, "xyz");
}

static void storages_hear_of_every_star_once(void **state)
{
    struct fixture *f = *state;
    struct upload_job jobs[4];
    char id[SNAPSHOT_ID_SIZE];
    make_id(1, id);
    add(f, 1, "porch", false, both, 1);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 4), 1);
    assert_false(jobs[0].starred);
    /* Starred while it was sent without. */
    assert_int_equal(ledger_snapshot_star(f->l, id, true, &f->e), 0);
    assert_int_equal(ledger_upload_stars(f->l, DRIVE, 0, jobs + 1, 1, &f->e), 0);
    assert_int_equal(ledger_upload_done(f->l, jobs, NULL, 1, &f->e), 0);
    assert_int_equal(ledger_upload_stars(f->l, DRIVE, 0, jobs, 4, &f->e), 1);
    assert_true(jobs[0].starred);
    /* Taken away before it was told: that is to be told then. */
    assert_int_equal(ledger_snapshot_star(f->l, id, false, &f->e), 0);
    assert_int_equal(ledger_upload_star_done(f->l, jobs, &f->e), 0);
    assert_int_equal(ledger_upload_stars(f->l, DRIVE, 0, jobs, 4, &f->e), 1);
    assert_false(jobs[0].starred);
    assert_int_equal(ledger_upload_stars(f->l, DRIVE, jobs[0].row, jobs + 1, 1, &f->e), 0);
    assert_int_equal(ledger_upload_star_done(f->l, jobs, &f->e), 0);
    assert_int_equal(ledger_upload_stars(f->l, DRIVE, 0, jobs, 4, &f->e), 0);
    assert_int_equal(ledger_snapshot_star(f->l, id, false, &f->e), 0); /* no change */
    assert_int_equal(ledger_upload_stars(f->l, DRIVE, 0, jobs, 4, &f->e), 0);
    make_id(9, id);
    assert_int_equal(ledger_snapshot_star(f->l, id, true, &f->e), -ENOENT);
    assert_sound(f);
}

static void assert_sums(struct fixture *f, int starred, int person, const char *camera,
                        int64_t files, int64_t bytes)
{
    struct retention_class c = {starred, person};
    struct retention_sums s;
    assert_int_equal(ledger_retention_sums(f->l, &c, camera, &s, &f->e), 0);
    assert_int_equal(s.files, files);
    assert_int_equal(s.bytes, bytes);
}

static void sums_follow_every_change(void **state)
{
    struct fixture *f = *state;
    char id[SNAPSHOT_ID_SIZE];
    make_id(2, id);
    int64_t plain = add(f, 1, "porch", false, NULL, 0);
    int64_t person = add(f, 2, "porch", true, NULL, 0);
    add(f, 3, "yard", false, NULL, 0);
    AUTO(snapshot) stored = make_snapshot(4, "yard");
    assert_int_equal(ledger_snapshot_add(f->l, stored, &f->e), 0);
    assert_sums(f, -1, -1, NULL, 4, 20); /* a copy counts as large as its picture */
    assert_sums(f, 0, 1, NULL, 1, 8);
    assert_sums(f, 0, 0, "yard", 2, 8);
    assert_sums(f, -1, -1, "nowhere", 0, 0);
    assert_int_equal(ledger_snapshot_star(f->l, id, true, &f->e), 0);
    assert_sums(f, 1, 1, "porch", 1, 8);
    assert_sums(f, 0, 1, NULL, 0, 0);
    assert_int_equal(ledger_annotation_drop(f->l, person, &f->e), 0);
    assert_sums(f, 1, -1, NULL, 1, 4);
    assert_sound(f);
    assert_int_equal(ledger_snapshot_removed(f->l, &plain, 1, "older than 2 d", false, &f->e), 0);
    assert_int_equal(ledger_snapshot_removed(f->l, &plain, 1, "older than 2 d", false, &f->e), 0);
    assert_sums(f, -1, -1, "porch", 1, 4);
    assert_story(f, 1, "removed", "older than 2 d");
    AUTO(snapshot) s = NULL;
    make_id(1, id);
    assert_int_equal(ledger_snapshot_get(f->l, id, &s, &f->e), 0);
    assert_true(s->removed);
    assert_sound(f);
    assert_int_equal(ledger_snapshot_removed(f->l, &person, 1, "", true, &f->e), 0);
    assert_sums(f, -1, -1, "porch", 0, 0);
    assert_sound(f);
}

static void a_removed_file_is_uploaded_no_more(void **state)
{
    struct fixture *f = *state;
    struct upload_job jobs[4];
    char id[SNAPSHOT_ID_SIZE];
    make_id(1, id);
    int64_t row = add(f, 1, "porch", true, both, 2);
    assert_int_equal(ledger_snapshot_removed(f->l, &row, 1, "the disk was full", false, &f->e), 0);
    assert_int_equal(due(f, DRIVE, &oldest_first, jobs, 4), 0);
    assert_counts(f, DRIVE, 0, 0, 2);
    assert_story(f, 1, "not kept",
                 "in directory:nas, attempt 0: the file was removed: the disk was full");
    assert_int_equal(ledger_upload_again(f->l, id, &f->e), -ENOENT);
    assert_sound(f);
}

static void what_is_forgotten_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    static const char *const tables[] = {"snapshots", "uploads",   "detections", "sightings",
                                         "outbox",    "incidents", "triggers"};
    struct upload_job jobs[4];
    struct trigger t = make_trigger(1, "porch");
    assert_int_equal(ledger_trigger_add(f->l, &t, &f->e), 0);
    int64_t row = add(f, 1, "porch", true, both, 2);
    assert_int_equal(due(f, NAS, &oldest_first, jobs, 4), 1);
    assert_int_equal(ledger_upload_retry(f->l, jobs, ledger_now(), "x", &f->e), 0);
    assert_int_equal(ledger_upload_done(f->l, jobs, NULL, 1, &f->e), 0);
    assert_int_equal(ledger_snapshot_removed(f->l, &row, 1, "", true, &f->e), 0);
    assert_counts(f, NAS, 0, 0, 0);
    assert_sound(f);
    fixture_close(f);
    AUTO(db) db = NULL;
    assert_int_equal(db_open(f->db, false, &db, &f->e), 0);
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        char sql[64];
        int64_t n = -1;
        (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", tables[i]);
        AUTO(db_query) q = db_query(db, sql);
        assert_int_equal(db_query_int(q, &n, &f->e), 0);
        if (n != 0)
            fail_msg("%s has %lld rows", tables[i], (long long)n);
    }
}

static int candidates(struct fixture *f, int starred, int person, const char *camera,
                      int64_t before_s, bool delivered, int64_t after, uint64_t *ret)
{
    struct retention_class c = {starred, person};
    struct snapshot *list[16];
    int n = ledger_retention_next(f->l, &c, camera, (struct wall_time){before_s * 1000000},
                                  delivered, after, list, 16, &f->e);
    if (n < 0)
        fail_msg("%s", f->e.text);
    for (int i = 0; i < n; i++) {
        ret[i] = strtoull(list[i]->id, NULL, 16);
        snapshot_unref(list[i]);
    }
    return n;
}

static void finds_what_may_go_oldest_first(void **state)
{
    struct fixture *f = *state;
    uint64_t ids[16];
    char id[SNAPSHOT_ID_SIZE];
    int64_t first = add(f, 1, "porch", false, NULL, 0);
    int64_t person = add(f, 2, "porch", true, NULL, 0);
    add(f, 3, "yard", false, NULL, 0);
    add(f, 4, "yard", false, NULL, 0);
    make_id(3, id);
    assert_int_equal(ledger_snapshot_star(f->l, id, true, &f->e), 0);
    assert_int_equal(candidates(f, -1, -1, NULL, 0, false, 0, ids), 4);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(ids[i], i + 1);
    assert_int_equal(candidates(f, 0, 0, NULL, 0, false, 0, ids), 2);
    assert_int_equal(ids[1], 4);
    assert_int_equal(candidates(f, 0, -1, NULL, 4, false, 0, ids), 2); /* before, not at */
    assert_int_equal(candidates(f, -1, -1, "yard", 0, false, 0, ids), 2);
    assert_int_equal(ids[0], 3);
    assert_int_equal(candidates(f, -1, -1, NULL, 0, false, first, ids), 3);
    assert_int_equal(candidates(f, -1, -1, "cellar", 0, false, 0, ids), 0);
    /* The second one's copy is still to be drawn. */
    assert_int_equal(candidates(f, -1, 1, NULL, 0, true, 0, ids), 0);
    assert_int_equal(ledger_settle(f->l, &person, 1, &f->e), 0);
    assert_int_equal(candidates(f, -1, 1, NULL, 0, true, 0, ids), 1);
}

static void what_has_not_reached_everybody_stays(void **state)
{
    struct fixture *f = *state;
    static const char *const amqp[] = {"amqp", NULL};
    uint64_t ids[16];
    struct upload_job job;
    add(f, 1, "porch", false, both, 1);
    AUTO(snapshot) s = make_snapshot(2, "porch");
    AUTO_DONE(verdict) v = make_verdict(NULL, NULL, 0);
    assert_int_equal(ledger_snapshot_add(f->l, s, &f->e), 0);
    assert_int_equal(candidates(f, -1, -1, NULL, 0, true, 0, ids), 0); /* not examined */
    assert_int_equal(ledger_snapshot_examined(f->l, s, &v, NULL, NULL, amqp, NULL, 0, &f->e), 0);
    assert_int_equal(candidates(f, -1, -1, NULL, 0, true, 0, ids), 0);
    assert_int_equal(candidates(f, -1, -1, NULL, 0, false, 0, ids), 2);
    assert_int_equal(due(f, DRIVE, &oldest_first, &job, 1), 1);
    assert_int_equal(ledger_upload_done(f->l, &job, NULL, 1, &f->e), 0);
    assert_int_equal(candidates(f, -1, -1, NULL, 0, true, 0, ids), 1);
    struct outbox_item item;
    assert_int_equal(ledger_outbox_due(f->l, "amqp", ledger_now(), &item, 1, &f->e), 1);
    assert_int_equal(ledger_outbox_dead(f->l, &item, "refused", &f->e), 0);
    assert_int_equal(candidates(f, -1, -1, NULL, 0, true, 0, ids), 2); /* given up is an end, too */
}

/* Nobody can ask for it again, so nobody waits for it. */
static void a_copy_that_could_not_be_drawn_keeps_no_picture(void **state)
{
    struct fixture *f = *state;
    uint64_t ids[16];
    struct upload_job job;
    int64_t row = add(f, 1, "porch", true, both, 1);
    assert_int_equal(ledger_annotation_drop(f->l, row, &f->e), 0);
    assert_int_equal(ledger_settle(f->l, &row, 1, &f->e), 0);
    assert_int_equal(candidates(f, -1, -1, NULL, 0, true, 0, ids), 0);
    assert_int_equal(due(f, DRIVE, &oldest_first, &job, 1), 1);
    assert_int_equal(ledger_upload_done(f->l, &job, NULL, 1, &f->e), 0);
    assert_counts(f, DRIVE, 0, 1, 1);
    assert_int_equal(candidates(f, -1, -1, NULL, 0, true, 0, ids), 1);
}

static void an_upgrade_counts_what_is_there(void **state)
{
    struct fixture *f = *state;
    const char *source = getenv("SOURCE_ROOT");
    char path[512];
    if (source == NULL)
        skip();
    fixture_close(f);
    assert_int_equal(unlink(f->db), 0);
    (void)snprintf(path, sizeof(path), "%s/tests/unit/ledger/versions/2.sql", source);
    AUTO_FREE char *sql = calloc(1, 65536);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_true(fread(sql, 1, 65535, file) > 0);
    (void)fclose(file);
    struct db *db = NULL;
    assert_int_equal(db_open(f->db, true, &db, &f->e), 0);
    assert_int_equal(db_exec(db, sql, &f->e), 0);
    db_close(db);
    fixture_open(f);
    assert_sums(f, 0, 1, "porch", 1, 8);
    assert_sums(f, 0, 0, "yard", 1, 4);
    assert_sound(f);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(writes_a_job_per_file_and_storage),
        CASE(a_picture_without_copy_has_no_job_for_one),
        CASE(a_copy_that_is_never_drawn_ends_its_job),
        CASE(marks_outlive_the_connection),
        CASE(gives_jobs_in_the_order_of_the_rule),
        CASE(leaves_out_what_is_under_way),
        CASE(a_refused_file_waits_alone),
        CASE(what_was_retried_comes_in_its_place_of_the_order),
        CASE(what_was_given_up_stays_so_until_somebody_asks),
        CASE(a_wait_counts_no_attempt),
        CASE(a_job_that_is_gone_ends_no_other_of_its_number),
        CASE(a_damaged_row_is_put_aside_alone),
        CASE(what_was_lost_is_made_anew),
        CASE(notes_belong_to_their_storage),
        CASE(storages_hear_of_every_star_once),
        CASE(sums_follow_every_change),
        CASE(a_removed_file_is_uploaded_no_more),
        CASE(what_is_forgotten_leaves_nothing),
        CASE(finds_what_may_go_oldest_first),
        CASE(what_has_not_reached_everybody_stays),
        CASE(a_copy_that_could_not_be_drawn_keeps_no_picture),
        CASE(an_upgrade_counts_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
