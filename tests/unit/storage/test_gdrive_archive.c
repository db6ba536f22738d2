/* Folders that are never two, and the archive: what moves, what stays, what a second run does. */

#include "gdrive_fixture.h"

#include "storage/drive_folder.h"

/* "now" of all runs; one day before it is the 2nd, 12:00. */
#define NOW "2026-01-03T12:00:00Z"

static struct wall_time time_of(const char *iso)
{
    struct wall_time t;
    assert_int_equal(wall_parse_iso(iso, &t), 0);
    return t;
}

static int archive(struct fixture *x)
{
    x->e = (struct err){0};
    script_sync(&x->server);
    int r = x->storage->ops->archive(x->session, time_of(NOW), &x->f, &x->e);
    script_sync(&x->server);
    return r;
}

/* Makes the folder known, as an earlier picture would have. */
static void know_top(struct fixture *x)
{
    fixture_start(x);
    assert_int_equal(notes_set(NULL, "folder:root/cam's", "made TOP", NULL), 0);
    script_add(&x->server, 200, NULL, TOP);
}

#define SUB(id, name)                                                                              \
    "{\"id\":\"" id "\",\"name\":\"" name "\",\"mimeType\":"                                       \
    "\"application/vnd.google-apps.folder\",\"createdTime\":\"2026-01-01T00:00:00Z\"}"
#define OLD(id, created)                                                                           \
    "{\"id\":\"" id "\",\"name\":\"n\",\"mimeType\":\"image/jpeg\",\"parents\":[\"TOP\"],"         \
    "\"createdTime\":\"" created "\",\"starred\":false}"
#define STARRED(id, created)                                                                       \
    "{\"id\":\"" id "\",\"name\":\"star.jpg\",\"mimeType\":\"image/jpeg\",\"parents\":[\"TOP\"],"  \
    "\"createdTime\":\"" created "\",\"starred\":true}"
#define MOVED(id) "{\"id\":\"" id "\",\"parents\":[\"D02\"]}"
#define SHORTCUT(id, created)                                                                      \
    "{\"id\":\"" id "\",\"name\":\"star.jpg\",\"mimeType\":"                                       \
    "\"application/vnd.google-apps.shortcut\",\"createdTime\":\"" created "\"}"

static void add_day(struct fixture *x)
{
    script_add(&x->server, 200, NULL, FILES(SUB("Y26", "2026")));
    script_add(&x->server, 200, NULL, FILES(SUB("M01", "01")));
    script_add(&x->server, 200, NULL, FILES(SUB("D02", "02")));
}

static void what_is_older_than_a_day_moves_to_its_day(void **state)
{
    (void)state;
    struct fixture x;
    know_top(&x);
    script_add(
        &x.server, 200, NULL,
        FILES(OLD("A", "2026-01-02T11:59:59.999Z") "," OLD("B", "2026-01-02T12:00:00Z") "," OLD(
            "C", "2026-01-02T00:00:00Z") "," SUB("S", "2026") "," STARRED("D",
                                                                          "2026-01-01T00:00:00Z")));
    add_day(&x);
    script_add(&x.server, 200, NULL, MOVED("A"));
    script_add(&x.server, 200, NULL, MOVED("C"));
    script_add(&x.server, 200, NULL, FILES("")); /* no stars */
    if (archive(&x) != 2)
        CASE_FAILS("%s", x.e.text);
    EXPECT_REQUESTS(&x, 0, "GET /drive/v3/files/TOP?",
                    "GET /drive/v3/files?q=%27TOP%27%20in%20parents%20and%20trashed%20%3D%20false"
                    "%20and%20starred%20%3D%20false",
                    "GET /drive/v3/files?q=%27TOP%27 ~ %272026%27",
                    "GET /drive/v3/files?q=%27Y26%27 ~ %2701%27",
                    "GET /drive/v3/files?q=%27M01%27 ~ %2702%27",
                    "PATCH /drive/v3/files/A? ~ &addParents=D02&removeParents=TOP",
                    "PATCH /drive/v3/files/C? ~ &addParents=D02&removeParents=TOP",
                    "GET /drive/v3/files?q=%27TOP%27 ~ starred%20%3D%20true");
    assert_string_equal(x.server.requests[5].body, "{}");
    fixture_stop(&x);
}

static void all_pages_are_read_before_anything_moves(void **state)
{
    (void)state;
    struct fixture x;
    know_top(&x);
    script_add(&x.server, 200, NULL,
               "{\"nextPageToken\":\"P2\",\"files\":[" OLD("A", "2026-01-02T01:00:00Z") "]}");
    script_add(&x.server, 200, NULL, "{\"nextPageToken\":\"P3\",\"files\":[]}");
    script_add(&x.server, 200, NULL, FILES(OLD("B", "2026-01-02T01:00:00Z")));
    add_day(&x);
    script_add(&x.server, 200, NULL, MOVED("A"));
    script_add(&x.server, 200, NULL, MOVED("B"));
    script_add(&x.server, 200, NULL, FILES(""));
    assert_int_equal(archive(&x), 2);
    EXPECT_REQUESTS(&x, 1, "GET /drive/v3/files?q=", "GET /drive/v3/files?q= ~ &pageToken=P2",
                    "GET /drive/v3/files?q= ~ &pageToken=P3", "GET /drive/v3/files?q=",
                    "GET /drive/v3/files?q=", "GET /drive/v3/files?q=", "PATCH /drive/v3/files/A?",
                    "PATCH /drive/v3/files/B?", "GET /drive/v3/files?q=");
    fixture_stop(&x);
}

static void more_than_a_batch_goes_in_several(void **state)
{
    (void)state;
    struct fixture x;
    fixture_start(&x);
    x.options.archive_batch = 1;
    fixture_restart(&x);
    assert_int_equal(notes_set(NULL, "folder:root/cam's", "made TOP", NULL), 0);
    script_add(&x.server, 200, NULL, TOP);
    script_add(&x.server, 200, NULL,
               FILES(OLD("A", "2026-01-02T01:00:00Z") "," OLD("B", "2026-01-02T01:00:00Z")));
    add_day(&x);
    script_add(&x.server, 200, NULL, MOVED("A"));
    script_add(&x.server, 200, NULL, FILES(OLD("B", "2026-01-02T01:00:00Z")));
    script_add(&x.server, 200, NULL, MOVED("B"));
    script_add(&x.server, 200, NULL, FILES(""));
    script_add(&x.server, 200, NULL, FILES(""));
    assert_int_equal(archive(&x), 2);
    assert_int_equal(x.server.request_count, 10);
    fixture_stop(&x);
}

/* Between two pieces stars and the copy of the login get their turn. */
static void a_long_run_is_made_in_pieces(void **state)
{
    (void)state;
    struct fixture x;
    fixture_start(&x);
    x.options.archive_piece_ms = -1; /* over as soon as anything is done */
    fixture_restart(&x);
    assert_int_equal(notes_set(NULL, "folder:root/cam's", "made TOP", NULL), 0);
    script_add(&x.server, 200, NULL, TOP);
    script_add(&x.server, 200, NULL,
               FILES(OLD("A", "2026-01-02T01:00:00Z") "," OLD("B", "2026-01-02T01:00:00Z")));
    add_day(&x);
    script_add(&x.server, 200, NULL, MOVED("A"));
    assert_int_equal(archive(&x), -EINPROGRESS);
    assert_int_equal(x.f.trouble, STORAGE_WELL);
    script_add(&x.server, 200, NULL, MOVED("B")); /* nothing is asked twice */
    script_add(&x.server, 200, NULL, FILES(""));  /* no stars */
    assert_int_equal(archive(&x), 2);
    assert_int_equal(x.server.request_count, 8);
    script_add(&x.server, 200, NULL, FILES("")); /* the next run is another one */
    script_add(&x.server, 200, NULL, FILES(""));
    assert_int_equal(archive(&x), 0);
    fixture_stop(&x);
}

static void a_second_run_does_nothing(void **state)
{
    (void)state;
    struct fixture x;
    know_top(&x);
    assert_int_equal(notes_set(NULL, "star:S1", "made SC", NULL), 0);
    for (int i = 0; i < 2; i++) {
        script_add(&x.server, 200, NULL, FILES(""));
        script_add(&x.server, 200, NULL, FILES(STARRED("S1", "2026-01-01T00:00:00Z")));
        assert_int_equal(archive(&x), 0);
    }
    assert_int_equal(x.server.request_count, 5);
    fixture_stop(&x);
}

static void a_run_without_an_archive_asks_nobody(void **state)
{
    (void)state;
    struct fixture x;
    fixture_start(&x);
    x.options.archive = GDRIVE_ARCHIVE_OFF;
    fixture_restart(&x);
    assert_int_equal(archive(&x), 0);
    assert_int_equal(x.server.request_count, 0);
    fixture_stop(&x);
}

static void a_run_that_is_cut_tells_why_and_the_next_goes_on(void **state)
{
    (void)state;
    struct fixture x;
    know_top(&x);
    script_add(&x.server, 200, NULL,
               FILES(OLD("A", "2026-01-02T01:00:00Z") "," OLD("B", "2026-01-02T01:00:00Z")));
    add_day(&x);
    script_add(&x.server, 200, NULL, MOVED("A"));
    script_add(&x.server, 429, "Retry-After: 5\r\n", NULL);
    assert_int_equal(archive(&x), -EBUSY);
    assert_int_equal(x.f.trouble, STORAGE_RATE);
    assert_int_equal(x.f.pause_ms, 5000);
    assert_non_null(strstr(x.e.text, "archive, after 1 moves: move file: HTTP 429"));
    int before = x.server.request_count;
    script_add(&x.server, 200, NULL, FILES(OLD("B", "2026-01-02T01:00:00Z")));
    script_add(&x.server, 200, NULL, MOVED("B"));
    script_add(&x.server, 200, NULL, FILES(""));
    assert_int_equal(archive(&x), 1);
    EXPECT_REQUESTS(&x, before, "GET /drive/v3/files?q=", "PATCH /drive/v3/files/B?",
                    "GET /drive/v3/files?q=");
    fixture_stop(&x);
}

static void one_file_that_cannot_be_moved_does_not_stop_the_others(void **state)
{
    (void)state;
    static const char *const refusals[] = {ERROR_JSON("403", "insufficientFilePermissions"),
                                           ERROR_JSON("403", "appNotAuthorizedToFile"),
                                           ERROR_JSON("403", "cannotAddParent")};
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        struct fixture x;
        know_top(&x);
        script_add(&x.server, 200, NULL,
                   FILES(OLD("A", "2026-01-02T01:00:00Z") "," OLD("B", "2026-01-02T01:00:00Z")));
        add_day(&x);
        script_add(&x.server, 403, NULL, refusals[i]);
        script_add(&x.server, 200, NULL, MOVED("B"));
        script_add(&x.server, 200, NULL, FILES(""));
        assert_int_equal(archive(&x), 1);
        assert_int_equal(x.f.trouble, STORAGE_WELL);
        assert_int_equal(x.warnings, 1);
        fixture_stop(&x);
    }
}

static void a_file_that_vanished_meanwhile_is_none_to_move(void **state)
{
    (void)state;
    struct fixture x;
    know_top(&x);
    script_add(&x.server, 200, NULL, FILES(OLD("A", "2026-01-02T01:00:00Z")));
    add_day(&x);
    script_add(&x.server, 404, NULL, NOT_FOUND); /* the file, or the day? */
    script_add(&x.server, 404, NULL, NOT_FOUND); /* the file */
    script_add(&x.server, 200, NULL, FILES(""));
    assert_int_equal(archive(&x), 0);
    fixture_stop(&x);
}

static void a_days_folder_that_vanished_is_made_again(void **state)
{
    (void)state;
    struct fixture x;
    know_top(&x);
    script_add(&x.server, 200, NULL, FILES(OLD("A", "2026-01-02T01:00:00Z")));
    add_day(&x);
    script_add(&x.server, 404, NULL, NOT_FOUND);
    script_add(&x.server, 200, NULL, OLD("A", "2026-01-02T01:00:00Z")); /* it is there */
    script_add(&x.server, 200, NULL, TOP);
    script_add(&x.server, 200, NULL, SUB("Y26", "2026"));
    script_add(&x.server, 200, NULL, SUB("M01", "01"));
    script_add(&x.server, 404, NULL, NOT_FOUND);
    script_add(&x.server, 200, NULL, FILES(""));
    script_add(&x.server, 200, NULL, IDS("\"D02B\""));
    script_add(&x.server, 200, NULL, SUB("D02B", "02"));
    script_add(&x.server, 200, NULL, FILES(SUB("D02B", "02")));
    script_add(&x.server, 200, NULL, "{\"id\":\"A\",\"parents\":[\"D02B\"]}");
    script_add(&x.server, 200, NULL, FILES(""));
    if (archive(&x) != 1)
        CASE_FAILS("%s", x.e.text);
    EXPECT_REQUESTS(&x, 15, "PATCH /drive/v3/files/A? ~ addParents=D02B&removeParents=TOP",
                    "GET /drive/v3/files?q=");
    fixture_stop(&x);
}

/* ---- stars ---- */

static void a_starred_picture_stays_and_its_day_gets_one_shortcut(void **state)
{
    (void)state;
    struct fixture x;
    know_top(&x);
    script_add(&x.server, 200, NULL, FILES(""));
    script_add(&x.server, 200, NULL,
               FILES(STARRED("S1", "2026-01-02T01:00:00Z") "," STARRED("NEW", NOW)));
    add_day(&x);
    script_add(&x.server, 200, NULL, FILES("")); /* no shortcut yet */
    script_add(&x.server, 200, NULL, IDS("\"SC\""));
    script_add(&x.server, 200, NULL, SHORTCUT("SC", "2026-01-03T12:00:01Z"));
    script_add(&x.server, 200, NULL, FILES(SHORTCUT("SC", "2026-01-03T12:00:01Z")));
    assert_int_equal(archive(&x), 0);
    EXPECT_REQUESTS(&x, 3, "GET /drive/v3/files?q=%27TOP%27", "GET /drive/v3/files?q=%27Y26%27",
                    "GET /drive/v3/files?q=%27M01%27",
                    "GET /drive/v3/files?q=%27D02%27%20in%20parents%20and%20appProperties%20has%20"
                    "%7B%20key%3D%27sd_target%27%20and%20value%3D%27S1%27%20%7D",
                    "GET /drive/v3/files/generateIds?count=1&space=drive&type=shortcuts",
                    "POST /drive/v3/files?", "GET /drive/v3/files?q=%27D02%27");
    assert_string_equal(x.server.requests[8].body,
                        "{\"id\":\"SC\",\"name\":\"star.jpg\",\"mimeType\":"
                        "\"application/vnd.google-apps.shortcut\",\"parents\":[\"D02\"],"
                        "\"shortcutDetails\":{\"targetId\":\"S1\"},"
                        "\"appProperties\":{\"sd_target\":\"S1\"}}");
    assert_string_equal(note_of("star:S1"), "made SC");
    fixture_stop(&x);
}

static void a_shortcut_whose_answer_was_lost_is_found_again(void **state)
{
    (void)state;
    struct fixture x;
    know_top(&x);
    assert_int_equal(notes_set(NULL, "star:S1", "new SC", NULL), 0); /* killed after the request */
    script_add(&x.server, 200, NULL, FILES(""));
    script_add(&x.server, 200, NULL, FILES(STARRED("S1", "2026-01-02T01:00:00Z")));
    add_day(&x);
    script_add(&x.server, 200, NULL, FILES(SHORTCUT("SC", "2026-01-03T12:00:01Z")));
    assert_int_equal(archive(&x), 0);
    assert_int_equal(x.server.request_count, 7);
    assert_string_equal(note_of("star:S1"), "made SC");
    fixture_stop(&x);
}

static void a_shortcut_that_the_list_does_not_show_yet_is_not_made_twice(void **state)
{
    (void)state;
    struct fixture x;
    know_top(&x);
    assert_int_equal(notes_set(NULL, "star:S1", "new SC", NULL), 0);
    script_add(&x.server, 200, NULL, FILES(""));
    script_add(&x.server, 200, NULL, FILES(STARRED("S1", "2026-01-02T01:00:00Z")));
    add_day(&x);
    script_add(&x.server, 200, NULL, FILES("")); /* it lags behind */
    script_add(&x.server, 409, NULL, ERROR_JSON("409", "fileIdInUse"));
    script_add(&x.server, 200, NULL, SHORTCUT("SC", "2026-01-03T12:00:01Z"));
    script_add(&x.server, 200, NULL, FILES(""));
    assert_int_equal(archive(&x), 0);
    assert_string_equal(note_of("star:S1"), "young SC");
    fixture_stop(&x);
}

/* Two instances made one each before either could see the other's. */
static void what_comes_to_light_beside_a_young_shortcut_is_settled(void **state)
{
    (void)state;
    static const char trashed[] = "{\"id\":\"x\",\"trashed\":true}";
    static const struct {
        const char *what, *list, *get; /* NULL = not asked for */
        const char *trash;             /* which goes */
        const char *note;
    } cases[] = {
        {"ours is the younger",
         FILES(
             SHORTCUT("SC", "2026-01-03T12:00:01Z") "," SHORTCUT("OTHER", "2026-01-03T12:00:00Z")),
         NULL, "PATCH /drive/v3/files/SC?", "made OTHER"},
        {"ours is the older",
         FILES(
             SHORTCUT("OTHER", "2026-01-03T12:00:02Z") "," SHORTCUT("SC", "2026-01-03T12:00:01Z")),
         NULL, "PATCH /drive/v3/files/OTHER?", "made SC"},
        {"ours alone", FILES(SHORTCUT("SC", "2026-01-03T12:00:01Z")), NULL, NULL, "made SC"},
        {"nothing yet", FILES(""), SHORTCUT("SC", "2026-01-03T12:00:01Z"), NULL, "young SC"},
        {"the other alone", FILES(SHORTCUT("OTHER", "2026-01-03T12:00:00Z")),
         SHORTCUT("SC", "2026-01-03T12:00:01Z"), "PATCH /drive/v3/files/SC?", "made OTHER"},
        {"a person removed it", FILES(""), trashed, NULL, "made SC"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture x;
        know_top(&x);
        assert_int_equal(notes_set(NULL, "star:S1", "young SC", NULL), 0);
        script_add(&x.server, 200, NULL, FILES(""));
        script_add(&x.server, 200, NULL, FILES(STARRED("S1", "2026-01-02T01:00:00Z")));
        add_day(&x);
        script_add(&x.server, 200, NULL, cases[i].list);
        if (cases[i].get)
            script_add(&x.server, 200, NULL, cases[i].get);
        if (cases[i].trash)
            script_add(&x.server, 200, NULL, trashed);
        if (archive(&x) != 0)
            CASE_FAILS("%s: %s", cases[i].what, x.e.text);
        if (strcmp(note_of("star:S1"), cases[i].note) != 0)
            CASE_FAILS("%s: %s", cases[i].what, note_of("star:S1"));
        if (cases[i].trash)
            EXPECT_REQUESTS(&x, 7 + (cases[i].get != NULL), cases[i].trash);
        else
            assert_int_equal(x.server.request_count, 7 + (cases[i].get != NULL));
        fixture_stop(&x);
    }
}

static void of_two_shortcuts_the_older_stays(void **state)
{
    (void)state;
    struct fixture x;
    know_top(&x);
    script_add(&x.server, 200, NULL, FILES(""));
    script_add(&x.server, 200, NULL, FILES(STARRED("S1", "2026-01-02T01:00:00Z")));
    add_day(&x);
    script_add(&x.server, 200, NULL, FILES(""));
    script_add(&x.server, 200, NULL, IDS("\"SC\""));
    script_add(&x.server, 200, NULL, SHORTCUT("SC", "2026-01-03T12:00:01Z"));
    script_add(&x.server, 200, NULL,
               FILES(SHORTCUT("SC", "2026-01-03T12:00:01Z") "," SHORTCUT(
                   "OTHER", "2026-01-03T12:00:00Z"))); /* another instance was quicker */
    script_add(&x.server, 200, NULL, "{\"id\":\"SC\",\"trashed\":true}");
    assert_int_equal(archive(&x), 0);
    EXPECT_REQUESTS(&x, 10, "PATCH /drive/v3/files/SC?");
    assert_string_equal(note_of("star:S1"), "made OTHER");
    fixture_stop(&x);
}

static void a_shortcuts_id_that_drive_does_not_take_is_given_up(void **state)
{
    (void)state;
    struct fixture x;
    know_top(&x);
    assert_int_equal(notes_set(NULL, "star:S1", "new BAD", NULL), 0);
    script_add(&x.server, 200, NULL, FILES(""));
    script_add(&x.server, 200, NULL, FILES(STARRED("S1", "2026-01-02T01:00:00Z")));
    add_day(&x);
    script_add(&x.server, 200, NULL, FILES(""));
    script_add(&x.server, 400, NULL, ERROR_JSON("400", "invalid"));
    assert_int_equal(archive(&x), 0);
    assert_string_equal(note_of("star:S1"), "");
    fixture_stop(&x);
}

static void without_its_star_a_picture_moves_and_the_shortcut_goes(void **state)
{
    (void)state;
    struct fixture x;
    know_top(&x);
    assert_int_equal(notes_set(NULL, "star:A", "made SC", NULL), 0);
    script_add(&x.server, 200, NULL, FILES(OLD("A", "2026-01-02T01:00:00Z")));
    script_add(&x.server, 200, NULL, "{\"id\":\"SC\",\"trashed\":true}");
    add_day(&x);
    script_add(&x.server, 200, NULL, MOVED("A"));
    script_add(&x.server, 200, NULL, FILES(""));
    assert_int_equal(archive(&x), 1);
    EXPECT_REQUESTS(&x, 2, "PATCH /drive/v3/files/SC?", "GET /drive/v3/files?q=",
                    "GET /drive/v3/files?q=", "GET /drive/v3/files?q=", "PATCH /drive/v3/files/A?",
                    "GET /drive/v3/files?q=");
    assert_string_equal(note_of("star:A"), "");
    fixture_stop(&x);
}

static void a_shortcut_that_may_not_go_holds_up_no_file(void **state)
{
    (void)state;
    struct fixture x;
    know_top(&x);
    assert_int_equal(notes_set(NULL, "star:A", "made SC", NULL), 0);
    script_add(&x.server, 200, NULL,
               FILES(OLD("A", "2026-01-02T01:00:00Z") "," OLD("B", "2026-01-02T01:00:00Z")));
    script_add(&x.server, 403, NULL, ERROR_JSON("403", "insufficientFilePermissions"));
    add_day(&x);
    script_add(&x.server, 200, NULL, MOVED("A"));
    script_add(&x.server, 200, NULL, MOVED("B"));
    script_add(&x.server, 200, NULL, FILES(""));
    assert_int_equal(archive(&x), 2);
    assert_int_equal(x.f.trouble, STORAGE_WELL);
    assert_int_equal(x.warnings, 1);
    assert_string_equal(note_of("star:A"), "");
    fixture_stop(&x);
}

/* ---- folders ---- */

static int need_top(struct fixture *x)
{
    return archive(x); /* the shortest way to it: the rest of the run finds nothing */
}
static void nothing_to_move(struct fixture *x)
{
    script_add(&x->server, 200, NULL, FILES(""));
    script_add(&x->server, 200, NULL, FILES(""));
}

static void a_folder_is_made_when_none_is_there(void **state)
{
    (void)state;
    struct fixture x;
    fixture_start(&x);
    script_add(&x.server, 200, NULL, FILES(""));
    script_add(&x.server, 200, NULL, IDS("\"TOP\""));
    script_add(&x.server, 200, NULL, TOP);
    script_add(&x.server, 200, NULL, FILES("")); /* the list lags behind */
    nothing_to_move(&x);
    assert_int_equal(need_top(&x), 0);
    EXPECT_REQUESTS(&x, 0, "GET /drive/v3/files?q=%27root%27",
                    "GET /drive/v3/files/generateIds?count=1&space=drive&type=files",
                    "POST /drive/v3/files?", "GET /drive/v3/files?q=%27root%27",
                    "GET /drive/v3/files?q=%27TOP%27", "GET /drive/v3/files?q=%27TOP%27");
    assert_string_equal(x.server.requests[2].body,
                        "{\"id\":\"TOP\",\"name\":\"cam's\",\"mimeType\":"
                        "\"application/vnd.google-apps.folder\",\"parents\":[\"root\"]}");
    assert_string_equal(note_of("folder:root/cam's"), "young TOP");
    fixture_stop(&x);
}

static struct mono_time later;
static struct mono_time mono_later(void)
{
    return later;
}

/* Two instances made one each, and no list showed the other's. */
static void when_an_older_folder_comes_to_light_what_is_in_ours_moves_there(void **state)
{
    (void)state;
    struct fixture x;
    fixture_start(&x);
    assert_int_equal(notes_set(NULL, "folder:root/cam's", "young OURS", NULL), 0);
    later = clock_mono();
    clock_set_mono_source(mono_later);
#define OURS FOLDER_JSON("OURS", "2026-01-01T00:00:01Z")
    script_add(&x.server, 200, NULL, OURS);
    script_add(&x.server, 200, NULL, FILES("")); /* still behind */
    nothing_to_move(&x);
    assert_int_equal(need_top(&x), 0);
    assert_string_equal(note_of("folder:root/cam's"), "young OURS");

    later.us += 2000000;
    int from = x.server.request_count;
    script_add(&x.server, 200, NULL, OURS);
    script_add(&x.server, 200, NULL, FILES(OURS "," TOP));
    nothing_to_move(&x);
    assert_int_equal(need_top(&x), 0);
    assert_string_equal(note_of("folder:root/cam's"), "made TOP");
    assert_string_equal(note_of("double:root/cam's"), "made OURS");
    assert_int_equal(x.warnings, 0);
    EXPECT_REQUESTS(&x, from, "GET /drive/v3/files/OURS?", "GET /drive/v3/files?q=%27root%27",
                    "GET /drive/v3/files?q=%27TOP%27", "GET /drive/v3/files?q=%27TOP%27");

    /* A file, a folder that the other has not, and one that it has. */
    later.us += 60000001;
    from = x.server.request_count;
    script_add(&x.server, 200, NULL, TOP);
    script_add(&x.server, 200, NULL,
               FILES(OLD("A", NOW) "," SUB("Y25", "2025") "," SUB("O26", "2026")));
    script_add(&x.server, 200, NULL, MOVED("A"));
    script_add(&x.server, 200, NULL, FILES(""));
    script_add(&x.server, 200, NULL, MOVED("Y25"));
    script_add(&x.server, 200, NULL, FILES(SUB("Y26", "2026")));
    script_add(&x.server, 200, NULL, FILES("")); /* in ours */
    script_add(&x.server, 200, NULL, "{\"id\":\"O26\",\"trashed\":true}");
    nothing_to_move(&x);
    assert_int_equal(need_top(&x), 0);
    EXPECT_REQUESTS(&x, from, "GET /drive/v3/files/TOP?", "GET /drive/v3/files?q=%27OURS%27",
                    "PATCH /drive/v3/files/A? ~ addParents=TOP&removeParents=OURS",
                    "GET /drive/v3/files?q=%27TOP%27%20in%20parents%20and%20name%20%3D%20%272025",
                    "PATCH /drive/v3/files/Y25? ~ addParents=TOP&removeParents=OURS",
                    "GET /drive/v3/files?q=%27TOP%27%20in%20parents%20and%20name%20%3D%20%272026",
                    "GET /drive/v3/files?q=%27O26%27", "PATCH /drive/v3/files/O26?",
                    "GET /drive/v3/files?q=%27TOP%27", "GET /drive/v3/files?q=%27TOP%27");
    assert_string_equal(note_of("double:root/cam's"), "made OURS");

    later.us += 60000001;
    from = x.server.request_count;
    script_add(&x.server, 200, NULL, TOP);
    script_add(&x.server, 200, NULL, FILES(""));
    script_add(&x.server, 200, NULL, "{\"id\":\"OURS\",\"trashed\":true}");
    nothing_to_move(&x);
    assert_int_equal(need_top(&x), 0);
    EXPECT_REQUESTS(&x, from, "GET /drive/v3/files/TOP?", "GET /drive/v3/files?q=%27OURS%27",
                    "PATCH /drive/v3/files/OURS?", "GET /drive/v3/files?q=%27TOP%27",
                    "GET /drive/v3/files?q=%27TOP%27");
    assert_string_equal(note_of("double:root/cam's"), "");
    clock_set_mono_source(NULL);
    fixture_stop(&x);
}

static void a_double_is_not_trusted_to_be_empty_at_once(void **state)
{
    (void)state;
    struct fixture x;
    know_top(&x);
    assert_int_equal(notes_set(NULL, "double:root/cam's", "made OURS", NULL), 0);
    script_add(&x.server, 200, NULL, FILES("")); /* a list that lags behind says so, too */
    nothing_to_move(&x);
    assert_int_equal(need_top(&x), 0);
    assert_string_equal(note_of("double:root/cam's"), "made OURS");
    fixture_stop(&x);
}

static void a_folder_whose_answer_was_lost_is_not_made_twice(void **state)
{
    (void)state;
    struct fixture x;
    fixture_start(&x);
    script_add(&x.server, 200, NULL, FILES(""));
    script_add(&x.server, 200, CLOSE, IDS("\"TOP\""));
    script_add(&x.server, 0, NULL, NULL);
    assert_int_equal(need_top(&x), -EAGAIN);
    assert_string_equal(note_of("folder:root/cam's"), "new TOP");
    fixture_restart(&x);
    script_add(&x.server, 200, NULL, FILES("")); /* the list lags behind */
    script_add(&x.server, 409, NULL, ERROR_JSON("409", "fileIdInUse"));
    script_add(&x.server, 200, NULL, TOP);
    script_add(&x.server, 200, NULL, FILES(TOP));
    nothing_to_move(&x);
    assert_int_equal(need_top(&x), 0);
    assert_string_equal(note_of("folder:root/cam's"), "made TOP");
    fixture_stop(&x);
}

static void of_two_instances_folders_the_older_stays(void **state)
{
    (void)state;
    static const struct {
        const char *content; /* of ours */
        bool trashed;
    } cases[] = {{FILES(""), true}, {FILES(OLD("A", NOW)), false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture x;
        fixture_start(&x);
        script_add(&x.server, 200, NULL, FILES(""));
        script_add(&x.server, 200, NULL, IDS("\"OURS\""));
        script_add(&x.server, 200, NULL, FOLDER_JSON("OURS", "2026-01-01T00:00:01Z"));
        script_add(&x.server, 200, NULL,
                   FILES(FOLDER_JSON("OURS", "2026-01-01T00:00:01Z") "," TOP));
        script_add(&x.server, 200, NULL, cases[i].content);
        if (cases[i].trashed)
            script_add(&x.server, 200, NULL, "{\"id\":\"OURS\",\"trashed\":true}");
        nothing_to_move(&x);
        assert_int_equal(need_top(&x), 0);
        assert_string_equal(note_of("folder:root/cam's"), "made TOP");
        assert_int_equal(x.warnings, cases[i].trashed ? 0 : 1); /* two are left */
        assert_int_equal(x.server.request_count, cases[i].trashed ? 8 : 7);
        fixture_stop(&x);
    }
}

static void a_folder_made_in_vain_is_tidied_up_after_a_kill(void **state)
{
    (void)state;
    struct fixture x;
    fixture_start(&x);
    assert_int_equal(notes_set(NULL, "folder:root/cam's", "new OURS", NULL), 0);
    script_add(&x.server, 200, NULL, FILES(TOP "," FOLDER_JSON("OURS", "2026-01-01T00:00:01Z")));
    script_add(&x.server, 200, NULL, FILES(""));
    script_add(&x.server, 200, NULL, "{\"id\":\"OURS\",\"trashed\":true}");
    nothing_to_move(&x);
    assert_int_equal(need_top(&x), 0);
    EXPECT_REQUESTS(&x, 1, "GET /drive/v3/files?q=%27OURS%27 ~ pageSize=1",
                    "PATCH /drive/v3/files/OURS?",
                    "GET /drive/v3/files?q=", "GET /drive/v3/files?q=");
    fixture_stop(&x);
}

static void of_several_folders_the_oldest_is_used_with_a_warning(void **state)
{
    (void)state;
    struct fixture x;
    fixture_start(&x);
    script_add(&x.server, 200, NULL,
               FILES(FOLDER_JSON("B", "2026-01-01T00:00:00Z") "," FOLDER_JSON(
                   "A", "2026-01-01T00:00:00Z") "," FOLDER_JSON("C", "2025-12-31T00:00:00Z")));
    nothing_to_move(&x);
    assert_int_equal(need_top(&x), 0);
    assert_string_equal(note_of("folder:root/cam's"), "made C");
    assert_int_equal(x.warnings, 1);
    assert_non_null(strstr(x.warning, "3 folders 'cam's'"));
    fixture_stop(&x);
}

static void names_are_compared_byte_for_byte(void **state)
{
    (void)state;
    struct fixture x;
    fixture_start(&x);
    script_add(&x.server, 200, NULL,
               FILES(SUB("A", "Cam's") "," SUB("B", "cam's ") "," SUB("C", "cams")));
    script_add(&x.server, 200, NULL, IDS("\"TOP\""));
    script_add(&x.server, 200, NULL, TOP);
    script_add(&x.server, 200, NULL, FILES(SUB("A", "Cam's") "," TOP));
    nothing_to_move(&x);
    assert_int_equal(need_top(&x), 0);
    assert_string_equal(note_of("folder:root/cam's"), "made TOP");
    fixture_stop(&x);
}

static void a_captive_portal_makes_no_folders(void **state)
{
    (void)state;
    static const int statuses[] = {200, 302, 403, 404, 511};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct fixture x;
        know_top(&x);
        x.server.steps[0].status = statuses[i];
        x.server.steps[0].body = "<html>Welcome</html>";
        assert_int_equal(need_top(&x), -EAGAIN);
        assert_int_equal(x.f.trouble, STORAGE_AWAY);
        assert_int_equal(x.server.request_count, 1);
        assert_string_equal(note_of("folder:root/cam's"), "made TOP");
        fixture_stop(&x);
    }
}

static void the_folders_address_is_known_without_asking(void **state)
{
    (void)state;
    struct fixture x;
    struct storage_state s;
    fixture_start(&x);
    x.storage->ops->describe(x.storage, &s);
    assert_string_equal(s.url, "");
    assert_int_equal(notes_set(NULL, "folder:root/cam's", "made TOP", NULL), 0);
    fixture_restart(&x);
    x.storage->ops->describe(x.storage, &s);
    assert_string_equal(s.url, "https://drive.google.com/drive/folders/TOP");
    false_login.error = "the login is gone";
    x.storage->ops->describe(x.storage, &s);
    assert_string_equal(s.error, "the login is gone");
    fixture_stop(&x);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_older_than_a_day_moves_to_its_day),
        cmocka_unit_test(all_pages_are_read_before_anything_moves),
        cmocka_unit_test(more_than_a_batch_goes_in_several),
        cmocka_unit_test(a_long_run_is_made_in_pieces),
        cmocka_unit_test(a_second_run_does_nothing),
        cmocka_unit_test(a_run_without_an_archive_asks_nobody),
        cmocka_unit_test(a_run_that_is_cut_tells_why_and_the_next_goes_on),
        cmocka_unit_test(one_file_that_cannot_be_moved_does_not_stop_the_others),
        cmocka_unit_test(a_file_that_vanished_meanwhile_is_none_to_move),
        cmocka_unit_test(a_days_folder_that_vanished_is_made_again),
        cmocka_unit_test(a_starred_picture_stays_and_its_day_gets_one_shortcut),
        cmocka_unit_test(a_shortcut_whose_answer_was_lost_is_found_again),
        cmocka_unit_test(a_shortcut_that_the_list_does_not_show_yet_is_not_made_twice),
        cmocka_unit_test(what_comes_to_light_beside_a_young_shortcut_is_settled),
        cmocka_unit_test(of_two_shortcuts_the_older_stays),
        cmocka_unit_test(a_shortcuts_id_that_drive_does_not_take_is_given_up),
        cmocka_unit_test(without_its_star_a_picture_moves_and_the_shortcut_goes),
        cmocka_unit_test(a_shortcut_that_may_not_go_holds_up_no_file),
        cmocka_unit_test(a_folder_is_made_when_none_is_there),
        cmocka_unit_test(when_an_older_folder_comes_to_light_what_is_in_ours_moves_there),
        cmocka_unit_test(a_double_is_not_trusted_to_be_empty_at_once),
        cmocka_unit_test(a_folder_whose_answer_was_lost_is_not_made_twice),
        cmocka_unit_test(of_two_instances_folders_the_older_stays),
        cmocka_unit_test(a_folder_made_in_vain_is_tidied_up_after_a_kill),
        cmocka_unit_test(of_several_folders_the_oldest_is_used_with_a_warning),
        cmocka_unit_test(names_are_compared_byte_for_byte),
        cmocka_unit_test(a_captive_portal_makes_no_folders),
        cmocka_unit_test(the_folders_address_is_known_without_asking),
    };
    return RUN_TESTS(tests);
}
