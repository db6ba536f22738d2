/* Pictures to Drive, exactly once: each exchange as a script, and what is sent in it. */

#include "gdrive_fixture.h"

static int save(void *arg, const struct storage_mark *mark, struct err *e)
{
    struct fixture *x = arg;
    if (x->save_fails_at && x->saves + 1 == x->save_fails_at)
        return err_set(e, -EIO, ERR_LATER, "disk full");
    assert_true(x->saves < (int)ARRAY_LEN(x->saved));
    x->saved[x->saves++] = *mark;
    return 0;
}

static int put_bytes(struct fixture *x, const void *bytes, size_t size)
{
    char md5[HASH_MD5_HEX], sha256[HASH_SHA256_HEX];
    AUTO(blob) blob = blob_new_copy(bytes, size);
    hash_md5_hex(bytes, size, md5);
    hash_sha256_hex(bytes, size, sha256);
    const struct storage_object o = {.snapshot_id = "0198c0ffee0198c0ffee0198c0ffee01",
                                     .name = "human_front_1767323045.jpg",
                                     .path = "front/2026/01/02/human_front_1767323045.jpg",
                                     .content_type = "image/jpeg",
                                     .bytes = blob,
                                     .md5 = md5,
                                     .sha256 = sha256,
                                     .taken_at = {1767323045000000},
                                     .camera = "front",
                                     .device_label = "Front Door",
                                     .labels = "person,car",
                                     .starred = x->starred};
    x->e = (struct err){0};
    script_sync(&x->server);
    int r = x->storage->ops->put(x->session, &o, &x->mark, save, x, &x->f, &x->e);
    script_sync(&x->server);
    return r;
}

static int put(struct fixture *x)
{
    return put_bytes(x, "0123456789", 10);
}

/* A mark as the stage has it before the first attempt, with the id F1; two more are left. */
static void reserve(struct fixture *x)
{
    struct storage_object o = {0};
    script_add(&x->server, 200, NULL, IDS("\"F3\",\"F2\",\"F1\""));
    assert_int_equal(x->storage->ops->reserve(x->session, &o, &x->mark, 1, &x->f, &x->e), 0);
    script_sync(&x->server);
    assert_string_equal(x->mark.id, "F1");
}

/* The folder is found where it was. */
static void start_with_folder(struct fixture *x)
{
    fixture_start(x);
    reserve(x);
    script_add(&x->server, 200, CLOSE, FILES(TOP));
}
#define REQUESTS_OF_START 2

static void ids_for_many_are_asked_for_once(void **state)
{
    (void)state;
    struct fixture x;
    struct storage_object o[3] = {0};
    struct storage_mark marks[3];
    fixture_start(&x);
    script_add(&x.server, 200, NULL, IDS("\"a\",\"b\""));
    script_add(&x.server, 200, NULL, IDS("\"c\""));
    assert_int_equal(x.storage->ops->reserve(x.session, o, marks, 3, &x.f, &x.e), 0);
    assert_string_equal(marks[0].id, "b");
    assert_string_equal(marks[2].id, "c");
    assert_string_equal(marks[2].resume, "");
    EXPECT_REQUESTS(&x, 0, "GET /drive/v3/files/generateIds?count=100&space=drive&type=files",
                    "GET /drive/v3/files/generateIds?");
    fixture_stop(&x);
}

static void ids_of_another_login_are_not_given_out(void **state)
{
    (void)state;
    struct fixture x;
    struct storage_object o = {0};
    fixture_start(&x);
    reserve(&x);
    false_login.generation++;
    script_add(&x.server, 200, NULL, IDS("\"G2\",\"G1\""));
    assert_int_equal(x.storage->ops->reserve(x.session, &o, &x.mark, 1, &x.f, &x.e), 0);
    assert_string_equal(x.mark.id, "G1");
    assert_int_equal(x.storage->ops->reserve(x.session, &o, &x.mark, 1, &x.f, &x.e), 0);
    assert_string_equal(x.mark.id, "G2");
    fixture_stop(&x);
}

static void ids_in_stock_ask_nobody(void **state)
{
    (void)state;
    struct fixture x;
    struct storage_mark marks[3];
    fixture_start(&x);
    const struct storage_ops *ops = x.storage->ops;
    assert_int_equal(ops->reserve_stocked(x.storage, marks, 1), -EAGAIN);
    script_add(&x.server, 200, NULL, IDS("\"c\",\"b\",\"a\""));
    assert_int_equal(ops->reserve(x.session, NULL, NULL, 0, &x.f, &x.e), 0); /* fills it */
    assert_int_equal(ops->reserve_stocked(x.storage, marks, 2), 0);
    assert_string_equal(marks[0].id, "a");
    assert_string_equal(marks[1].id, "b");
    assert_int_equal(ops->reserve_stocked(x.storage, marks, 2), -EAGAIN);
    false_login.generation++;
    assert_int_equal(ops->reserve_stocked(x.storage, marks, 1), -EAGAIN);
    EXPECT_REQUESTS(&x, 0, "GET /drive/v3/files/generateIds?count=100&space=drive&type=files");
    fixture_stop(&x);
}

/* While there are enough nobody is asked either. */
static void the_stock_of_ids_is_filled_before_it_is_empty(void **state)
{
    (void)state;
    struct fixture x;
    static struct storage_mark marks[51];
    AUTO_DONE(dynbuf) ids;
    fixture_start(&x);
    const struct storage_ops *ops = x.storage->ops;
    dynbuf_init(&ids, 16384);
    for (int i = 0; i < 100; i++)
        assert_int_equal(dynbuf_printf(&ids, "%s\"i%d\"", i ? "," : "", i), 0);
    char body[16384];
    (void)snprintf(body, sizeof(body), "{\"ids\":[%s]}", dynbuf_str(&ids));
    script_add(&x.server, 200, NULL, body);
    script_add(&x.server, 200, NULL, body);
    assert_int_equal(ops->reserve(x.session, NULL, NULL, 0, &x.f, &x.e), 0);
    assert_int_equal(ops->reserve(x.session, NULL, NULL, 0, &x.f, &x.e), 0);
    script_sync(&x.server);
    assert_int_equal(x.server.request_count, 1);
    assert_int_equal(ops->reserve_stocked(x.storage, marks, 51), 0);
    assert_int_equal(ops->reserve(x.session, NULL, NULL, 0, &x.f, &x.e), 0);
    script_sync(&x.server);
    assert_int_equal(x.server.request_count, 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ops->reserve_stocked(x.storage, marks, 51), 0);
    fixture_stop(&x);
}

static void a_new_picture_is_one_request_that_tells_all(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    script_add(&x.server, 200, NULL, PICTURE_JSON("F1", MD5_OF_TEN, ""));
    assert_int_equal(put(&x), 0);
    EXPECT_REQUESTS(&x, 0, "GET /drive/v3/files/generateIds",
                    "GET /drive/v3/files?q=%27root%27%20in%20parents%20and%20name%20%3D%20%27cam%5C"
                    "%27s%27%20and%20",
                    "POST /upload/drive/v3/files?uploadType=multipart&fields=id ~ md5Checksum");
    const struct script_request *q = &x.server.requests[2];
    assert_non_null(strstr(q->head, "\r\nAuthorization: Bearer token0\r\n"));
    assert_non_null(strstr(q->head, "\r\nContent-Type: multipart/related; boundary="));
    assert_null(strcasestr(q->head, "\r\nExpect:"));
    assert_non_null(
        strstr(q->body,
               "{\"id\":\"F1\",\"name\":\"human_front_1767323045.jpg\",\"mimeType\":\"image/jpeg\","
               "\"parents\":[\"TOP\"],\"description\":\"Front Door: person,car\","
               "\"createdTime\":\"2026-01-02T03:04:05.000Z\",\"appProperties\":{\"sd_key\":\"" KEY
               "\",\"camera\":\"front\",\"labels\":\"person,car\"}}"));
    assert_non_null(strstr(q->body, "\r\n\r\n0123456789\r\n--"));
    assert_string_equal(x.mark.url, "https://drive/f/F1");
    assert_int_equal(x.saves, 0); /* the mark was durable before */
    struct storage_state s;
    x.storage->ops->describe(x.storage, &s);
    assert_string_equal(s.url, "https://drive/TOP");
    assert_string_equal(s.text, "Drive folder 'cam's': signed in");
    assert_string_equal(s.error, "");
    fixture_stop(&x);
}

static void a_lost_answer_is_made_up_for_by_a_look(void **state)
{
    (void)state;
    static const int losses[] = {0, 500, 502, 503, 504, 200};
    for (size_t i = 0; i < ARRAY_LEN(losses); i++) {
        struct fixture x;
        start_with_folder(&x);
        script_add(&x.server, losses[i], NULL, losses[i] ? "<html>" : NULL);
        script_add(&x.server, 200, NULL, PICTURE_JSON("F1", MD5_OF_TEN, ""));
        if (put(&x) != 0)
            CASE_FAILS("%d: %s", losses[i], x.e.text);
        EXPECT_REQUESTS(&x, REQUESTS_OF_START, "POST /upload/", "GET /drive/v3/files/F1?");
        assert_int_equal(x.saves, 0);
        fixture_stop(&x);
    }
}

static void a_request_that_goes_out_twice_makes_one_file(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    x.server.steps[x.server.step_count - 1].headers = NULL; /* libcurl repeats it by itself */
    script_add(&x.server, 0, NULL, NULL);
    script_add(&x.server, 409, NULL, ERROR_JSON("409", "fileIdInUse"));
    script_add(&x.server, 200, NULL, PICTURE_JSON("F1", MD5_OF_TEN, ""));
    assert_int_equal(put(&x), 0);
    EXPECT_REQUESTS(&x, REQUESTS_OF_START, "POST /upload/", "POST /upload/",
                    "GET /drive/v3/files/F1?");
    fixture_stop(&x);
}

static void what_did_not_arrive_waits_and_is_looked_for_before_it_is_sent_again(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    script_add(&x.server, 503, "Retry-After: 7\r\n", NULL);
    script_add(&x.server, 404, NULL, NOT_FOUND);
    assert_int_equal(put(&x), -EAGAIN);
    assert_int_equal(x.e.retry, ERR_LATER);
    assert_int_equal(x.f.trouble, STORAGE_AWAY);
    assert_int_equal(x.f.pause_ms, 7000);
    assert_string_equal(x.mark.id, "F1");
    struct storage_state s;
    x.storage->ops->describe(x.storage, &s);
    assert_non_null(strstr(s.error, "upload: HTTP 503"));
    int before = x.server.request_count;
    script_add(&x.server, 404, NULL, NOT_FOUND);
    script_add(&x.server, 200, NULL, PICTURE_JSON("F1", MD5_OF_TEN, ""));
    assert_int_equal(put(&x), 0);
    EXPECT_REQUESTS(&x, before, "GET /drive/v3/files/F1?", "POST /upload/");
    x.storage->ops->describe(x.storage, &s);
    assert_string_equal(s.error, "");
    fixture_stop(&x);
}

static void after_a_restart_a_picture_is_looked_for_first(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    fixture_restart(&x); /* killed between the mark and anything else */
    x.server.step_count--;
    script_add(&x.server, 200, NULL, PICTURE_JSON("F1", MD5_OF_TEN, ""));
    assert_int_equal(put(&x), 0);
    EXPECT_REQUESTS(&x, 1, "GET /drive/v3/files/F1?");
    fixture_stop(&x);
}

/* The star changed between an attempt that came through unseen and this one. */
static void what_is_found_gets_the_star_that_the_picture_has_now(void **state)
{
    (void)state;
    static const struct {
        bool starred;
        const char *there, *told;
    } cases[] = {
        {true, "", "{\"starred\":true}"},
        {false, ",\"starred\":true", "{\"starred\":false}"},
        {true, ",\"starred\":true", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture x;
        char body[1024];
        fixture_start(&x);
        (void)text_copy(x.mark.id, sizeof(x.mark.id), "F1");
        x.starred = cases[i].starred;
        (void)snprintf(body, sizeof(body), PICTURE_JSON("F1", MD5_OF_TEN, "%s"), cases[i].there);
        script_add(&x.server, 200, NULL, body);
        if (cases[i].told)
            script_add(&x.server, 200, NULL, PICTURE_JSON("F1", MD5_OF_TEN, ""));
        assert_int_equal(put(&x), 0);
        if (cases[i].told) {
            EXPECT_REQUESTS(&x, 0, "GET /drive/v3/files/F1?", "PATCH /drive/v3/files/F1?");
            assert_string_equal(x.server.requests[1].body, cases[i].told);
        } else {
            EXPECT_REQUESTS(&x, 0, "GET /drive/v3/files/F1?");
        }
        fixture_stop(&x);
    }
}

static void a_star_that_drive_does_not_take_costs_no_picture(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        int result;
        enum storage_trouble trouble;
    } cases[] = {
        {403, ERROR_JSON("403", "appNotAuthorizedToFile"), 0, STORAGE_WELL},
        {400, ERROR_JSON("400", "invalid"), 0, STORAGE_WELL},
        {503, NULL, -EAGAIN, STORAGE_AWAY},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture x;
        fixture_start(&x);
        (void)text_copy(x.mark.id, sizeof(x.mark.id), "F1");
        x.starred = true;
        script_add(&x.server, 200, NULL, PICTURE_JSON("F1", MD5_OF_TEN, ""));
        script_add(&x.server, cases[i].status, NULL, cases[i].body);
        int r = put(&x);
        if (r != cases[i].result || x.f.trouble != cases[i].trouble)
            CASE_FAILS("case %zu: %d, trouble %d, %s", i, r, x.f.trouble, x.e.text);
        assert_string_equal(x.mark.id, "F1");
        fixture_stop(&x);
    }
}

static void an_id_in_use_is_ours_when_the_picture_is_right(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    script_add(&x.server, 409, NULL, ERROR_JSON("409", "fileIdInUse"));
    script_add(&x.server, 200, NULL, PICTURE_JSON("F1", MD5_OF_TEN, ""));
    assert_int_equal(put(&x), 0);
    EXPECT_REQUESTS(&x, REQUESTS_OF_START, "POST /upload/", "GET /drive/v3/files/F1?");
    fixture_stop(&x);
}

/* A request that nobody answered may be at work for long after its repeat. */
static void an_id_in_use_by_what_is_not_to_be_seen_yet_is_kept(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    for (int i = 0; i < 7; i++) {
        if (i > 0)
            script_add(&x.server, 404, NULL, NOT_FOUND);
        script_add(&x.server, 409, NULL, ERROR_JSON("409", "fileIdInUse"));
        script_add(&x.server, 404, NULL, NOT_FOUND);
        assert_int_equal(put(&x), -EAGAIN);
        assert_int_equal(x.f.trouble, STORAGE_WELL);
        assert_int_equal(x.e.retry, ERR_LATER);
        assert_string_equal(x.mark.id, "F1");
        assert_int_equal(x.saves, i + 1);
        x.saves = MIN(x.saves, 6); /* there is room for so many */
    }
    script_add(&x.server, 200, NULL, PICTURE_JSON("F1", MD5_OF_TEN, ""));
    assert_int_equal(put(&x), 0);
    assert_string_equal(x.mark.id, "F1");
    assert_string_equal(x.mark.resume, "");
    fixture_stop(&x);
}

static void an_id_that_somebody_else_has_is_given_up_in_the_end(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    assert_true(text_copy(x.mark.resume, sizeof(x.mark.resume), "5/1767323045:")); /* long ago */
    script_add(&x.server, 409, NULL, ERROR_JSON("409", "fileIdInUse"));
    script_add(&x.server, 404, NULL, NOT_FOUND); /* not visible to us */
    script_add(&x.server, 404, NULL, NOT_FOUND);
    script_add(&x.server, 200, NULL, PICTURE_JSON("F2", MD5_OF_TEN, ""));
    assert_int_equal(put(&x), 0);
    EXPECT_REQUESTS(&x, REQUESTS_OF_START, "POST /upload/", "GET /drive/v3/files/F1?",
                    "GET /drive/v3/files/F1?", "POST /upload/");
    assert_int_equal(x.saves, 1);
    assert_string_equal(x.saved[0].id, "F2");
    fixture_stop(&x);
}

#define WRONG_MD5 "00000000000000000000000000000000"
static void another_content_goes_to_the_trash_and_the_picture_gets_a_new_id(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    script_add(&x.server, 200, NULL, PICTURE_JSON("F1", WRONG_MD5, ""));
    script_add(&x.server, 200, NULL, PICTURE_JSON("F1", WRONG_MD5, ""));
    script_add(&x.server, 200, NULL, PICTURE_JSON("F1", WRONG_MD5, ",\"trashed\":true"));
    script_add(&x.server, 200, NULL, PICTURE_JSON("F2", MD5_OF_TEN, ""));
    assert_int_equal(put(&x), 0);
    EXPECT_REQUESTS(&x, REQUESTS_OF_START, "POST /upload/", "GET /drive/v3/files/F1?",
                    "PATCH /drive/v3/files/F1?", "POST /upload/");
    assert_string_equal(x.server.requests[REQUESTS_OF_START + 2].body, "{\"trashed\":true}");
    assert_int_equal(x.saves, 1);
    assert_string_equal(x.saved[0].id, "F2");
    assert_string_equal(x.mark.id, "F2");
    fixture_stop(&x);
}

static void a_file_that_is_not_of_this_picture_is_never_trashed(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    static const char foreign[] =
        "{\"id\":\"F1\",\"size\":\"3\",\"md5Checksum\":\"" WRONG_MD5 "\"}";
    script_add(&x.server, 409, NULL, ERROR_JSON("409", "fileIdInUse"));
    script_add(&x.server, 200, NULL, foreign);
    script_add(&x.server, 200, NULL, foreign);
    script_add(&x.server, 200, NULL, PICTURE_JSON("F2", MD5_OF_TEN, ""));
    assert_int_equal(put(&x), 0);
    EXPECT_REQUESTS(&x, REQUESTS_OF_START, "POST /upload/", "GET /drive/v3/files/F1?",
                    "GET /drive/v3/files/F1?", "POST /upload/");
    fixture_stop(&x);
}

static void a_picture_that_always_arrives_changed_is_given_up_for_now(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    static const char *const ids[] = {"F1", "F2", "F3", "F4"};
    char bodies[4][600];
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(bodies[i], sizeof(bodies[i]),
                       "{\"id\":\"%s\",\"size\":\"9\",\"md5Checksum\":\"%s\",\"appProperties\":{"
                       "\"sd_key\":\"" KEY "\"}}",
                       ids[i], WRONG_MD5);
        for (int k = 0; k < 3; k++)
            script_add(&x.server, 200, NULL, bodies[i]);
        if (i == 2)
            script_add(&x.server, 200, NULL, IDS("\"F5\",\"F4\""));
    }
    assert_int_equal(put(&x), -EIO);
    assert_int_equal(x.e.retry, ERR_LATER);
    assert_int_equal(x.f.trouble, STORAGE_WELL); /* the others go on */
    assert_string_equal(x.mark.id, "F5");        /* nothing but the new id is left of it */
    assert_string_equal(x.saved[x.saves - 1].id, "F5");
    fixture_stop(&x);
}

static void a_folder_that_was_removed_is_made_again(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    script_add(&x.server, 404, NULL, NOT_FOUND); /* the parent */
    script_add(&x.server, 404, NULL, NOT_FOUND); /* is the picture there? */
    script_add(&x.server, 404, NULL, NOT_FOUND); /* is the folder there? */
    script_add(&x.server, 200, NULL, FILES("")); /* one of its name? */
    script_add(&x.server, 200, NULL, IDS("\"NEW\""));
    script_add(&x.server, 200, NULL, FOLDER_JSON("NEW", "2026-01-03T00:00:00Z"));
    script_add(&x.server, 200, NULL, FILES(FOLDER_JSON("NEW", "2026-01-03T00:00:00Z")));
    script_add(&x.server, 200, NULL, PICTURE_JSON("F1", MD5_OF_TEN, ""));
    assert_int_equal(put(&x), 0);
    EXPECT_REQUESTS(&x, REQUESTS_OF_START, "POST /upload/", "GET /drive/v3/files/F1?",
                    "GET /drive/v3/files/TOP?",
                    "GET /drive/v3/files?q=", "GET /drive/v3/files/generateIds",
                    "POST /drive/v3/files?", "GET /drive/v3/files?q=", "POST /upload/");
    assert_non_null(strstr(x.server.requests[9].body, "\"parents\":[\"NEW\"]"));
    assert_string_equal(note_of("folder:root/cam's"), "made NEW");
    fixture_stop(&x);
}

static void what_lies_in_the_trash_with_its_folder_moves_to_the_new_one(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    script_add(&x.server, 200, NULL, PICTURE_JSON("F1", MD5_OF_TEN, ",\"trashed\":true"));
    script_add(&x.server, 200, NULL,
               "{\"id\":\"TOP\",\"mimeType\":\""
               "application/vnd.google-apps.folder"
               "\",\"trashed\":true}");
    script_add(&x.server, 200, NULL, FILES(FOLDER_JSON("NEW", "2026-01-03T00:00:00Z")));
    script_add(&x.server, 200, NULL, PICTURE_JSON("F1", MD5_OF_TEN, ""));
    assert_int_equal(put(&x), 0);
    EXPECT_REQUESTS(
        &x, REQUESTS_OF_START, "POST /upload/", "GET /drive/v3/files/TOP?",
        "GET /drive/v3/files?q=", "PATCH /drive/v3/files/F1? ~ &addParents=NEW&removeParents=TOP");
    assert_string_equal(x.server.requests[5].body, "{\"trashed\":false}");
    fixture_stop(&x);
}

static void what_a_person_threw_away_stays_there(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    script_add(&x.server, 409, NULL, ERROR_JSON("409", "fileIdInUse"));
    script_add(&x.server, 200, NULL, PICTURE_JSON("F1", MD5_OF_TEN, ",\"trashed\":true"));
    script_add(&x.server, 200, NULL, TOP); /* the folder is well */
    assert_int_equal(put(&x), 0);
    EXPECT_REQUESTS(&x, REQUESTS_OF_START, "POST /upload/", "GET /drive/v3/files/F1?",
                    "GET /drive/v3/files/TOP?");
    fixture_stop(&x);
}

static void a_refused_token_is_asked_for_anew_once(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    script_add(&x.server, 401, NULL, ERROR_JSON("401", "authError"));
    script_add(&x.server, 200, NULL, PICTURE_JSON("F1", MD5_OF_TEN, ""));
    assert_int_equal(put(&x), 0);
    assert_int_equal(false_login.refused, 1);
    assert_non_null(strstr(x.server.requests[3].head, "Bearer token1\r\n"));
    x.mark = (struct storage_mark){0};
    x.saves = 0;
    int before = x.server.request_count;
    script_add(&x.server, 401, NULL, ERROR_JSON("401", "authError"));
    script_add(&x.server, 401, NULL, ERROR_JSON("401", "authError"));
    assert_int_equal(put(&x), -EACCES);
    assert_int_equal(x.f.trouble, STORAGE_LOGIN);
    assert_int_equal(x.server.request_count, before + 2);
    assert_int_equal(x.f.pause_ms, 300000);
    fixture_stop(&x);
}

static void a_login_that_changed_while_it_was_refused_is_tried_soon(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    script_add(&x.server, 403, NULL, ERROR_JSON("403", "insufficientPermissions"));
    false_login.changes_at = 3; /* after the call for the folder and this one's look */
    assert_int_equal(put(&x), -EACCES);
    assert_int_equal(x.f.trouble, STORAGE_LOGIN);
    assert_int_equal(x.f.pause_ms, 1000);
    fixture_stop(&x);
}

static void who_has_no_room_of_his_own_is_told_so(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    false_login.kind = GOOGLE_LOGIN_SERVICE;
    script_add(&x.server, 403, NULL, ERROR_JSON("403", "storageQuotaExceeded"));
    assert_int_equal(put(&x), -EDQUOT);
    assert_int_equal(x.f.trouble, STORAGE_QUOTA);
    assert_non_null(strstr(x.e.text, "storageQuotaExceeded"));
    assert_non_null(strstr(x.e.text, "set parent of [gdrive] to a shared drive"));
    assert_null(strstr(x.e.text, "trash"));
    fixture_stop(&x);
}

static void drive_is_asked_through_the_proxy_of_the_environment(void **state)
{
    (void)state;
    struct fixture x;
    fixture_start(&x);
    assert_int_equal(unsetenv("no_proxy"), 0);
    assert_int_equal(unsetenv("NO_PROXY"), 0);
    assert_int_equal(setenv("https_proxy", x.server.url, 1), 0);
    x.options.api_url = "https://drive.invalid";
    fixture_restart(&x);
    script_add(&x.server, 502, NULL, NULL);
    int r = put(&x);
    assert_int_equal(unsetenv("https_proxy"), 0);
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(x.f.trouble, STORAGE_AWAY);
    assert_string_equal(x.server.requests[0].method, "CONNECT");
    assert_string_equal(x.server.requests[0].target, "drive.invalid:443");
    fixture_stop(&x);
}

/* A server that takes connections and says nothing. */
static void a_server_that_says_nothing_is_given_up_after_a_stall(void **state)
{
    (void)state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);
    AUTO_CLOSE int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(silent, (struct sockaddr *)&a, size), 0);
    assert_int_equal(listen(silent, 8), 0);
    assert_int_equal(getsockname(silent, (struct sockaddr *)&a, &size), 0);
    char url[64];
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", ntohs(a.sin_port));
    struct fixture x;
    fixture_start(&x);
    x.options.api_url = url;
    x.options.stall_ms = 50;
    fixture_restart(&x);
    assert_int_equal(put(&x), -EAGAIN);
    assert_int_equal(x.f.trouble, STORAGE_AWAY);
    fixture_stop(&x);
}

static void without_a_login_nothing_is_sent(void **state)
{
    (void)state;
    static const struct {
        int code, result;
        enum err_retry retry;
        enum storage_trouble trouble;
    } cases[] = {
        {-ENOKEY, -EACCES, ERR_NEVER, STORAGE_LOGIN},
        {-EKEYREVOKED, -EACCES, ERR_NEVER, STORAGE_LOGIN},
        {-EHOSTUNREACH, -EAGAIN, ERR_LATER, STORAGE_AWAY},
        {-ECANCELED, -ECANCELED, ERR_LATER, STORAGE_WELL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture x;
        start_with_folder(&x);
        false_login.code = cases[i].code;
        false_login.retry = cases[i].retry;
        int r = put(&x);
        if (r != cases[i].result || x.f.trouble != cases[i].trouble || x.e.retry != ERR_LATER)
            CASE_FAILS("case %zu: %d, trouble %d, %s", i, r, x.f.trouble, x.e.text);
        assert_int_equal(x.server.request_count, 1);
        fixture_stop(&x);
    }
}

static void failures_tell_what_they_are(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *headers, *body;
        int result;
        enum err_retry retry;
        enum storage_trouble trouble;
        int64_t pause_ms;
    } cases[] = {
        {403, NULL, ERROR_JSON("403", "userRateLimitExceeded"), -EBUSY, ERR_LATER, STORAGE_RATE, 0},
        {429, "Retry-After: 3\r\n", NULL, -EBUSY, ERR_LATER, STORAGE_RATE, 3000},
        {403, NULL, ERROR_JSON("403", "storageQuotaExceeded"), -EDQUOT, ERR_LATER, STORAGE_QUOTA,
         0},
        {403, NULL, ERROR_JSON("403", "insufficientPermissions"), -EACCES, ERR_LATER, STORAGE_LOGIN,
         0},
        {403, NULL, ERROR_JSON("403", "accessNotConfigured"), -EACCES, ERR_LATER, STORAGE_LOGIN, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture x;
        start_with_folder(&x);
        script_add(&x.server, cases[i].status, cases[i].headers, cases[i].body);
        int r = put(&x);
        if (r != cases[i].result || x.f.trouble != cases[i].trouble ||
            x.e.retry != cases[i].retry || x.f.pause_ms != cases[i].pause_ms ||
            strncmp(x.e.text, "drive: upload: HTTP ", 20) != 0)
            CASE_FAILS("%d: %d, trouble %d, %s", cases[i].status, r, x.f.trouble, x.e.text);
        EXPECT_REQUESTS(&x, REQUESTS_OF_START, "POST /upload/"); /* known to have failed: no look */
        fixture_stop(&x);
    }
}

static void an_id_that_drive_does_not_take_is_replaced_once(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
    } looks[] = {{404, NOT_FOUND},
                 {400, ERROR_JSON("400", "invalid")},
                 {403, ERROR_JSON("403", "appNotAuthorizedToFile")}};
    for (size_t i = 0; i < 2 * ARRAY_LEN(looks); i++) {
        bool again = i >= ARRAY_LEN(looks); /* it was not the id */
        struct fixture x;
        start_with_folder(&x);
        script_add(&x.server, 400, NULL, ERROR_JSON("400", "invalid"));
        script_add(&x.server, looks[i % 3].status, NULL, looks[i % 3].body);
        script_add(&x.server, 200, NULL, IDS("\"N2\",\"N1\"")); /* not one of those in stock */
        if (again)
            script_add(&x.server, 400, NULL, ERROR_JSON("400", "invalid"));
        else
            script_add(&x.server, 200, NULL, PICTURE_JSON("N1", MD5_OF_TEN, ""));
        assert_int_equal(put(&x), again ? -EINVAL : 0);
        EXPECT_REQUESTS(&x, REQUESTS_OF_START, "POST /upload/", "GET /drive/v3/files/F1?",
                        "GET /drive/v3/files/generateIds?", "POST /upload/");
        assert_string_equal(x.mark.id, "N1");
        assert_string_equal(x.saved[0].id, "N1");
        if (again) {
            assert_int_equal(x.e.retry, ERR_NEVER);
            assert_int_equal(x.f.trouble, STORAGE_WELL);
        }
        fixture_stop(&x);
    }
}

static void what_is_wrong_with_one_file_holds_up_no_other(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        int result;
    } looks[] = {
        {403, ERROR_JSON("403", "appNotAuthorizedToFile"), -EPERM},
        {200, "{\"id\":\"F1\",\"size\":\"10\"}", -EIO},
        {200, "{\"id\":\"F1\"}", -EIO},
        {200, PICTURE_JSON("F9", MD5_OF_TEN, ""), -EIO},
    };
    for (size_t i = 0; i < ARRAY_LEN(looks); i++) {
        struct fixture x;
        start_with_folder(&x);
        fixture_restart(&x); /* so that it is looked for first */
        x.server.step_count--;
        script_add(&x.server, looks[i].status, NULL, looks[i].body);
        int r = put(&x);
        if (r != looks[i].result || x.f.trouble != STORAGE_WELL || x.e.retry != ERR_LATER)
            CASE_FAILS("case %zu: %d, trouble %d, %s", i, r, x.f.trouble, x.e.text);
        EXPECT_REQUESTS(&x, 1, "GET /drive/v3/files/F1?");
        assert_string_equal(x.mark.id, "F1");
        fixture_stop(&x);
    }
}

static void a_refusal_of_folder_or_ids_costs_no_picture(void **state)
{
    (void)state;
    static const struct {
        const char *note;    /* of the folder */
        int list, ids, make; /* what each is answered; 0 = it is not asked */
        const char *note_after;
        int result;
    } cases[] = {
        {"", 400, 0, 0, "", -EACCES},
        {"", 403, 0, 0, "", -EACCES},
        {"", 200, 400, 0, "", -EACCES},
        {"", 200, 200, 400, "", -EACCES},
        {"new BAD", 200, 200, 400, "", -EACCES}, /* by an id of before, then by a new one */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture x;
        const char *no = cases[i].list == 403 ? ERROR_JSON("403", "insufficientFilePermissions")
                                              : ERROR_JSON("400", "badRequest");
        start_with_folder(&x);
        x.server.step_count--;
        assert_int_equal(notes_set(NULL, "folder:root/cam's", cases[i].note, NULL), 0);
        script_add(&x.server, cases[i].list, NULL, cases[i].list == 200 ? FILES("") : no);
        if (cases[i].note[0])
            script_add(&x.server, 400, NULL, no);
        if (cases[i].ids)
            script_add(&x.server, cases[i].ids, NULL, cases[i].ids == 200 ? IDS("\"T2\"") : no);
        if (cases[i].make)
            script_add(&x.server, cases[i].make, NULL, no);
        int r = put(&x);
        if (r != cases[i].result || x.f.trouble != STORAGE_LOGIN || x.e.retry != ERR_LATER ||
            x.f.pause_ms != (cases[i].list == 403 ? 0 : 300000))
            CASE_FAILS("case %zu: %d, trouble %d, %s", i, r, x.f.trouble, x.e.text);
        assert_int_equal(x.server.request_count, x.server.step_count);
        assert_string_equal(note_of("folder:root/cam's"), cases[i].note_after);
        fixture_stop(&x);
    }
    struct fixture x;
    struct storage_object o = {0};
    fixture_start(&x);
    script_add(&x.server, 400, NULL, ERROR_JSON("400", "badRequest"));
    assert_int_equal(x.storage->ops->reserve(x.session, &o, &x.mark, 1, &x.f, &x.e), -EACCES);
    assert_int_equal(x.f.trouble, STORAGE_LOGIN);
    fixture_stop(&x);
}

static void a_star_of_what_is_gone_is_given_up(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        int result;
        enum err_retry retry;
        enum storage_trouble trouble;
    } cases[] = {
        {404, NOT_FOUND, -ENOENT, ERR_NEVER, STORAGE_WELL},
        {403, ERROR_JSON("403", "appNotAuthorizedToFile"), -EPERM, ERR_NEVER, STORAGE_WELL},
        {403, ERROR_JSON("403", "insufficientPermissions"), -EACCES, ERR_LATER, STORAGE_LOGIN},
        {404, "<html>", -EAGAIN, ERR_LATER, STORAGE_AWAY},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture x;
        fixture_start(&x);
        script_add(&x.server, cases[i].status, NULL, cases[i].body);
        const struct storage_mark mark = {.id = "F1"};
        int r = x.storage->ops->star(x.session, &mark, true, &x.f, &x.e);
        if (r != cases[i].result || x.e.retry != cases[i].retry || x.f.trouble != cases[i].trouble)
            CASE_FAILS("case %zu: %d, trouble %d, %s", i, r, x.f.trouble, x.e.text);
        fixture_stop(&x);
    }
}

static void in_a_shared_drive_lists_name_it(void **state)
{
    (void)state;
    static const struct {
        const char *parent, *list;
    } cases[] = {
        {"{\"id\":\"0AD\",\"driveId\":\"0AD\"}",
         "GET /drive/v3/files?q= ~ &supportsAllDrives=true&corpora=drive&driveId=0AD"
         "&includeItemsFromAllDrives=true"},
        {"{\"id\":\"0AD\"}", /* a folder of My Drive */
         "GET /drive/v3/files?q= ~ &supportsAllDrives=true&includeItemsFromAllDrives=true"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture x;
        fixture_start(&x);
        x.options.parent = "0AD";
        fixture_restart(&x);
        reserve(&x);
        script_add(&x.server, 200, NULL, cases[i].parent);
        script_add(&x.server, 200, NULL, FILES(TOP));
        script_add(&x.server, 200, NULL, PICTURE_JSON("F1", MD5_OF_TEN, ""));
        assert_int_equal(put(&x), 0);
        EXPECT_REQUESTS(&x, 1, "GET /drive/v3/files/0AD? ~ supportsAllDrives=true", cases[i].list,
                        "POST /upload/ ~ supportsAllDrives=true");
        fixture_stop(&x);
    }
}

static void a_stop_ends_a_call_and_all_later_ones(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    assert_int_equal(write(x.stop[1], "x", 1), 1);
    assert_int_equal(put(&x), -ECANCELED);
    assert_int_equal(x.f.trouble, STORAGE_WELL);
    fixture_stop(&x);
}

static void writes_keep_the_accounts_pace(void **state)
{
    (void)state;
    struct fixture x;
    fixture_start(&x);
    x.options.rate = 20; /* a second of them may go at once */
    fixture_restart(&x);
    char body[64] = "{\"id\":\"F1\"}";
    for (int i = 0; i < 26; i++)
        script_add(&x.server, 200, NULL, body);
    struct mono_time began = clock_mono();
    (void)text_copy(x.mark.id, sizeof(x.mark.id), "F1");
    for (int i = 0; i < 26; i++)
        assert_int_equal(x.storage->ops->star(x.session, &x.mark, true, &x.f, &x.e), 0);
    assert_true(mono_diff_ms(clock_mono(), began) >= 200); /* five more than the second's */
    script_sync(&x.server);
    assert_string_equal(x.server.requests[0].body, "{\"starred\":true}");
    fixture_stop(&x);
}

static void a_file_is_verified_by_size_and_digest(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        int result;
    } cases[] = {
        {200, PICTURE_JSON("F1", MD5_OF_TEN, ""), 0},
        {200, PICTURE_JSON("F1", WRONG_MD5, ""), -EBADMSG},
        {200, PICTURE_JSON("F1", MD5_OF_TEN, ",\"trashed\":true"), -ENOENT},
        {404, NOT_FOUND, -ENOENT},
        {500, NULL, -EAGAIN},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture x;
        fixture_start(&x);
        script_add(&x.server, cases[i].status, NULL, cases[i].body);
        AUTO(blob) blob = blob_new_copy("0123456789", 10);
        const struct storage_object o = {.bytes = blob, .md5 = MD5_OF_TEN};
        const struct storage_mark mark = {.id = "F1"};
        if (x.storage->ops->verify(x.session, &o, &mark, &x.f, &x.e) != cases[i].result)
            CASE_FAILS("case %zu: %s", i, x.e.text);
        fixture_stop(&x);
    }
}

/* To a client of another Cloud project nothing of ours exists. */
static void where_not_even_the_folder_is_shown_no_file_is_called_gone(void **state)
{
    (void)state;
    struct fixture x;
    const struct storage_mark mark = {.id = "F1"};
    AUTO(blob) bytes = blob_new_copy("0123456789", 10);
    const struct storage_object o = {.bytes = bytes, .md5 = MD5_OF_TEN};
    fixture_start(&x);
    assert_int_equal(notes_set(NULL, "folder:root/cam's", "made TOP", NULL), 0);
    script_add(&x.server, 404, NULL, NOT_FOUND);
    script_add(&x.server, 404, NULL, NOT_FOUND);
    assert_int_equal(x.storage->ops->verify(x.session, &o, &mark, &x.f, &x.e), -EACCES);
    assert_int_equal(x.f.trouble, STORAGE_LOGIN);
    assert_non_null(strstr(x.e.text, "another Cloud project"));
    for (int i = 0; i < 2; i++) {
        script_add(&x.server, 404, NULL, NOT_FOUND);
        if (i == 0)
            script_add(&x.server, 200, NULL, TOP);
        assert_int_equal(x.storage->ops->verify(x.session, &o, &mark, &x.f, &x.e), -ENOENT);
        assert_int_equal(x.f.trouble, STORAGE_WELL);
    }
    EXPECT_REQUESTS(&x, 0, "GET /drive/v3/files/F1?", "GET /drive/v3/files/TOP?",
                    "GET /drive/v3/files/F1?", "GET /drive/v3/files/TOP?",
                    "GET /drive/v3/files/F1?");
    fixture_stop(&x);
}

static void free_room_is_the_accounts(void **state)
{
    (void)state;
    struct fixture x;
    int64_t n = 0;
    fixture_start(&x);
    script_add(&x.server, 200, NULL, "{\"storageQuota\":{\"limit\":\"100\",\"usage\":\"30\"}}");
    script_add(&x.server, 200, NULL, "{\"storageQuota\":{\"usage\":\"30\"}}");
    assert_int_equal(x.storage->ops->free_bytes(x.session, &n, &x.e), 0);
    assert_int_equal(n, 70);
    assert_int_equal(x.storage->ops->free_bytes(x.session, &n, &x.e), -ENODATA);
    fixture_stop(&x);
}

/* What the account has for itself says nothing of a shared drive. */
static void free_room_of_a_shared_drive_is_not_known(void **state)
{
    (void)state;
    struct fixture x;
    int64_t free_bytes = -1;
    fixture_start(&x);
    x.options.parent = "0AD";
    fixture_restart(&x);
    script_add(&x.server, 200, NULL, "{\"id\":\"0AD\",\"driveId\":\"0AD\"}");
    for (int i = 0; i < 2; i++)
        assert_int_equal(x.storage->ops->free_bytes(x.session, &free_bytes, &x.e), -ENODATA);
    assert_int_equal(free_bytes, -1);
    EXPECT_REQUESTS(&x, 0, "GET /drive/v3/files/0AD?");
    fixture_stop(&x);
}

static void an_id_that_would_change_the_address_is_refused(void **state)
{
    (void)state;
    static const char *const ids[] = {"", "..", "a/b", "a?b", "a%2fb", "a b", "a\nb"};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct fixture x;
        fixture_start(&x);
        struct storage_mark mark = {0};
        (void)text_copy(mark.id, sizeof(mark.id), ids[i]);
        assert_int_equal(x.storage->ops->star(x.session, &mark, true, &x.f, &x.e), -EINVAL);
        assert_int_equal(x.server.request_count, 0);
        fixture_stop(&x);
    }
}

/* ---- in pieces ---- */

#define LONG_SIZE 200
static int put_long(struct fixture *x)
{
    char bytes[LONG_SIZE];
    for (int i = 0; i < LONG_SIZE; i++)
        bytes[i] = (char)('a' + i % 26);
    return put_bytes(x, bytes, sizeof(bytes));
}
static char long_json[400], session_header[160], session_target[80];

static void start_long(struct fixture *x)
{
    char bytes[LONG_SIZE], md5[HASH_MD5_HEX];
    start_with_folder(x);
    for (int i = 0; i < LONG_SIZE; i++)
        bytes[i] = (char)('a' + i % 26);
    hash_md5_hex(bytes, sizeof(bytes), md5);
    (void)snprintf(long_json, sizeof(long_json),
                   "{\"id\":\"F1\",\"size\":\"200\",\"md5Checksum\":\"%s\",\"parents\":[\"TOP\"],"
                   "\"webViewLink\":\"https://drive/f/F1\",\"appProperties\":{\"sd_key\":\"" KEY
                   "\"}}",
                   md5);
    (void)snprintf(session_target, sizeof(session_target), "/upload/drive/v3/files?upload_id=S1");
    (void)snprintf(session_header, sizeof(session_header), "Location: %s%s\r\n", x->server.url,
                   session_target);
}
#define PUT_SESSION "PUT /upload/drive/v3/files?upload_id=S1"

static void expect_range(struct fixture *x, int request, const char *range, size_t size)
{
    char header[100];
    (void)snprintf(header, sizeof(header), "\r\nContent-Range: bytes %s\r\n", range);
    if (!strstr(x->server.requests[request].head, header) ||
        x->server.requests[request].size != size)
        CASE_FAILS("request %d has %zu bytes, wanted %zu of %s:\n%s", request,
                   x->server.requests[request].size, size, range, x->server.requests[request].head);
}

static void a_large_picture_goes_in_a_session_that_is_durable_first(void **state)
{
    (void)state;
    struct fixture x;
    start_long(&x);
    script_add(&x.server, 200, session_header, NULL);
    script_add(&x.server, 200, NULL, long_json);
    assert_int_equal(put_long(&x), 0);
    EXPECT_REQUESTS(&x, REQUESTS_OF_START, "POST /upload/drive/v3/files?uploadType=resumable",
                    PUT_SESSION);
    assert_non_null(strstr(x.server.requests[2].head, "\r\nX-Upload-Content-Type: image/jpeg\r\n"));
    assert_non_null(strstr(x.server.requests[2].head, "\r\nX-Upload-Content-Length: 200\r\n"));
    expect_range(&x, 3, "0-199/200", 200);
    assert_int_equal(x.saves, 1);
    assert_non_null(strstr(x.saved[0].resume, "upload_id=S1"));
    assert_string_equal(x.saved[0].id, "F1");
    assert_string_equal(x.mark.resume, "");
    fixture_stop(&x);
}

static void a_session_that_cannot_be_remembered_is_not_used(void **state)
{
    (void)state;
    struct fixture x;
    start_long(&x);
    x.save_fails_at = 1;
    script_add(&x.server, 200, session_header, NULL);
    assert_int_equal(put_long(&x), -EIO);
    EXPECT_REQUESTS(&x, REQUESTS_OF_START, "POST /upload/drive/v3/files?uploadType=resumable");
    fixture_stop(&x);
}

static void a_session_elsewhere_is_not_used(void **state)
{
    (void)state;
    static const char *const headers[] = {"Location: http://127.0.0.1:1/up\r\n",
                                          "Location: https://evil.example/up\r\n", NULL};
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        struct fixture x;
        start_long(&x);
        script_add(&x.server, 200, headers[i], NULL);
        assert_int_equal(put_long(&x), -EAGAIN);
        assert_int_equal(x.f.trouble, STORAGE_AWAY);
        assert_string_equal(x.mark.resume, "");
        EXPECT_REQUESTS(&x, REQUESTS_OF_START, "POST /upload/drive/v3/files?uploadType=resumable");
        fixture_stop(&x);
    }
}

static void a_session_goes_on_where_the_server_says(void **state)
{
    (void)state;
    struct fixture x;
    start_long(&x);
    script_add(&x.server, 200, session_header, NULL);
    script_add(&x.server, 308, "Range: bytes=0-99\r\n", NULL);
    script_add(&x.server, 308, NULL, NULL); /* it has lost what it had */
    script_add(&x.server, 308, "Range: bytes=0-149\r\n", NULL);
    script_add(&x.server, 308, "Range: bytes=0-199\r\n", NULL); /* all, and yet not finished */
    script_add(&x.server, 200, NULL, long_json);
    assert_int_equal(put_long(&x), 0);
    expect_range(&x, 3, "0-199/200", 200);
    expect_range(&x, 4, "100-199/200", 100);
    expect_range(&x, 5, "0-199/200", 200);
    expect_range(&x, 6, "150-199/200", 50);
    expect_range(&x, 7, "*/200", 0);
    assert_int_equal(x.server.requests[4].body[0], 'a' + 100 % 26);
    fixture_stop(&x);
}

static void a_session_that_comes_to_no_end_is_given_up_and_holds_up_no_other(void **state)
{
    (void)state;
    static const struct {
        int count, status;
        const char *headers, *body;
    } cases[] = {
        {4, 308, "Range: bytes=0-9\r\n", NULL},
        {1, 308, "Range: bytes=0-200\r\n", NULL},
        {1, 308, "Range: lines=1\r\n", NULL},
        {1, 400, NULL, "Bad session"},
        {1, 400, NULL, ERROR_JSON("400", "badRequest")},
        {1, 403, NULL, "<html>"},
        {1, 403, NULL, ERROR_JSON("403", "appNotAuthorizedToFile")},
        {1, 413, NULL, NULL},
        {1, 200, NULL, "{\"id\":\"F9\",\"size\":\"200\"}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture x;
        start_long(&x);
        script_add(&x.server, 200, session_header, NULL);
        for (int k = 0; k < cases[i].count; k++)
            script_add(&x.server, cases[i].status, cases[i].headers, cases[i].body);
        int r = put_long(&x);
        if (r != -EIO || x.f.trouble != STORAGE_WELL || x.e.retry != ERR_LATER)
            CASE_FAILS("case %zu: %d, trouble %d, %s", i, r, x.f.trouble, x.e.text);
        assert_string_equal(x.mark.resume, "");
        assert_string_equal(x.saved[x.saves - 1].resume, "");
        assert_int_equal(x.server.request_count, REQUESTS_OF_START + 1 + cases[i].count);
        fixture_stop(&x);
    }
}

static void a_session_that_fails_again_and_again_is_given_up(void **state)
{
    (void)state;
    static const int statuses[] = {500, 0};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct fixture x;
        char header[200];
        start_long(&x);
        (void)snprintf(header, sizeof(header), "%s" CLOSE, session_header);
        script_add(&x.server, 200, header, NULL);
        for (int k = 1; k <= 6; k++) {
            if (k == 2) /* it has got on: that counts anew */
                script_add(&x.server, 308, "Range: bytes=0-99\r\n" CLOSE, NULL);
            script_add(&x.server, statuses[i], CLOSE, NULL);
            script_add(&x.server, 404, CLOSE, NOT_FOUND); /* the look */
            int r = put_long(&x);
            if (r != (k < 6 ? -EAGAIN : -EIO) || (x.mark.resume[0] != '\0') != (k < 6) ||
                x.f.trouble != (k < 6 ? STORAGE_AWAY : STORAGE_WELL))
                CASE_FAILS("attempt %d: %d, trouble %d, %s", k, r, x.f.trouble, x.e.text);
            x.saves = 0;
        }
        fixture_stop(&x);
    }
}

static void a_session_that_nobody_could_ask_is_none_the_worse(void **state)
{
    (void)state;
    struct fixture x;
    start_long(&x);
    script_add(&x.server, 200, session_header, NULL);
    script_add(&x.server, 503, CLOSE, NULL);
    script_add(&x.server, 404, CLOSE, NOT_FOUND);
    assert_int_equal(put_long(&x), -EAGAIN);
    false_login.code = -EAGAIN;
    false_login.retry = ERR_LATER;
    for (int i = 0; i < 8; i++)
        assert_int_equal(put_long(&x), -EAGAIN);
    false_login.code = 0;
    script_add(&x.server, 200, NULL, long_json);
    assert_int_equal(put_long(&x), 0);
    EXPECT_REQUESTS(&x, REQUESTS_OF_START + 3, PUT_SESSION);
    fixture_stop(&x);
}

/* A session is there from before a restart: its state is asked for first. */
static void resume(struct fixture *x)
{
    start_long(x);
    x->server.step_count--; /* the folder is not needed */
    (void)snprintf(x->mark.resume, sizeof(x->mark.resume), "%s%s", x->server.url, session_target);
    fixture_restart(x);
}

static void a_session_is_resumed_after_a_restart(void **state)
{
    (void)state;
    struct fixture x;
    resume(&x);
    script_add(&x.server, 308, "Range: bytes=0-49\r\n", NULL);
    script_add(&x.server, 201, NULL, long_json);
    assert_int_equal(put_long(&x), 0);
    EXPECT_REQUESTS(&x, 1, PUT_SESSION, PUT_SESSION);
    expect_range(&x, 1, "*/200", 0);
    assert_non_null(strstr(x.server.requests[1].head, "\r\nContent-Length: 0\r\n"));
    expect_range(&x, 2, "50-199/200", 150);
    fixture_stop(&x);
}

static void a_session_that_had_finished_gives_its_last_answer_again(void **state)
{
    (void)state;
    struct fixture x;
    resume(&x);
    script_add(&x.server, 200, NULL, long_json);
    assert_int_equal(put_long(&x), 0);
    EXPECT_REQUESTS(&x, 1, PUT_SESSION);
    assert_string_equal(x.mark.url, "https://drive/f/F1");
    fixture_stop(&x);
}

/* It was opened when there was no star yet. */
static void a_session_from_before_the_star_gets_it_at_its_end(void **state)
{
    (void)state;
    struct fixture x;
    resume(&x);
    x.starred = true;
    script_add(&x.server, 201, NULL, long_json);
    script_add(&x.server, 200, NULL, long_json);
    assert_int_equal(put_long(&x), 0);
    EXPECT_REQUESTS(&x, 1, PUT_SESSION, "PATCH /drive/v3/files/F1?");
    assert_string_equal(x.server.requests[2].body, "{\"starred\":true}");
    fixture_stop(&x);
}

static void a_session_that_is_gone_is_begun_anew_after_a_look(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
    } gone[] = {{404, NULL}, {404, NOT_FOUND}, {404, "Not Found"}, {410, NULL}};
    for (size_t i = 0; i < ARRAY_LEN(gone); i++) {
        struct fixture x;
        resume(&x);
        script_add(&x.server, gone[i].status, NULL, gone[i].body);
        script_add(&x.server, 404, NULL, NOT_FOUND);
        script_add(&x.server, 200, NULL, FILES(TOP));
        script_add(&x.server, 200, session_header, NULL);
        script_add(&x.server, 200, NULL, long_json);
        assert_int_equal(put_long(&x), 0);
        EXPECT_REQUESTS(&x, 1, PUT_SESSION, "GET /drive/v3/files/F1?", "GET /drive/v3/files?q=",
                        "POST /upload/drive/v3/files?uploadType=resumable", PUT_SESSION);
        assert_int_equal(x.saves, 2); /* without the old one, with the new one */
        assert_string_equal(x.saved[0].resume, "");
        fixture_stop(&x);
    }
}

static void a_session_that_is_gone_because_it_had_finished_is_none_to_repeat(void **state)
{
    (void)state;
    struct fixture x;
    resume(&x);
    script_add(&x.server, 410, NULL, NULL);
    script_add(&x.server, 200, NULL, long_json);
    assert_int_equal(put_long(&x), 0);
    EXPECT_REQUESTS(&x, 1, PUT_SESSION, "GET /drive/v3/files/F1?");
    fixture_stop(&x);
}

static void a_wrong_range_asks_for_the_state(void **state)
{
    (void)state;
    static const int statuses[] = {412, 416};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct fixture x;
        start_long(&x);
        script_add(&x.server, 200, session_header, NULL);
        script_add(&x.server, statuses[i], NULL, NULL);
        script_add(&x.server, 308, "Range: bytes=0-19\r\n", NULL);
        script_add(&x.server, 200, NULL, long_json);
        assert_int_equal(put_long(&x), 0);
        expect_range(&x, 4, "*/200", 0);
        expect_range(&x, 5, "20-199/200", 180);
        fixture_stop(&x);
    }
}

static void a_session_survives_a_refused_token_and_a_failure(void **state)
{
    (void)state;
    struct fixture x;
    resume(&x);
    script_add(&x.server, 401, NULL, NULL);
    script_add(&x.server, 308, "Range: bytes=0-19\r\n" CLOSE, NULL);
    script_add(&x.server, 0, NULL, NULL); /* cut while it is sent */
    script_add(&x.server, 404, NULL, NOT_FOUND);
    assert_int_equal(put_long(&x), -EAGAIN);
    assert_int_equal(x.f.trouble, STORAGE_AWAY);
    assert_non_null(strstr(x.mark.resume, "upload_id=S1"));
    assert_null(strstr(x.e.text, "upload_id")); /* it is a credential */
    int before = x.server.request_count;
    script_add(&x.server, 308, "Range: bytes=0-99\r\n", NULL);
    script_add(&x.server, 200, NULL, long_json);
    assert_int_equal(put_long(&x), 0);
    expect_range(&x, before + 1, "100-199/200", 100);
    fixture_stop(&x);
}

static void an_empty_file_goes_as_well(void **state)
{
    (void)state;
    struct fixture x;
    start_with_folder(&x);
    script_add(&x.server, 200, NULL,
               "{\"id\":\"F1\",\"size\":\"0\",\"md5Checksum\":"
               "\"d41d8cd98f00b204e9800998ecf8427e\"}");
    assert_int_equal(put_bytes(&x, "", 0), 0);
    fixture_stop(&x);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_for_many_are_asked_for_once),
        cmocka_unit_test(ids_of_another_login_are_not_given_out),
        cmocka_unit_test(ids_in_stock_ask_nobody),
        cmocka_unit_test(the_stock_of_ids_is_filled_before_it_is_empty),
        cmocka_unit_test(a_new_picture_is_one_request_that_tells_all),
        cmocka_unit_test(a_lost_answer_is_made_up_for_by_a_look),
        cmocka_unit_test(a_request_that_goes_out_twice_makes_one_file),
        cmocka_unit_test(what_did_not_arrive_waits_and_is_looked_for_before_it_is_sent_again),
        cmocka_unit_test(after_a_restart_a_picture_is_looked_for_first),
        cmocka_unit_test(what_is_found_gets_the_star_that_the_picture_has_now),
        cmocka_unit_test(a_star_that_drive_does_not_take_costs_no_picture),
        cmocka_unit_test(an_id_in_use_is_ours_when_the_picture_is_right),
        cmocka_unit_test(an_id_in_use_by_what_is_not_to_be_seen_yet_is_kept),
        cmocka_unit_test(an_id_that_somebody_else_has_is_given_up_in_the_end),
        cmocka_unit_test(an_id_that_drive_does_not_take_is_replaced_once),
        cmocka_unit_test(what_is_wrong_with_one_file_holds_up_no_other),
        cmocka_unit_test(a_refusal_of_folder_or_ids_costs_no_picture),
        cmocka_unit_test(a_star_of_what_is_gone_is_given_up),
        cmocka_unit_test(in_a_shared_drive_lists_name_it),
        cmocka_unit_test(another_content_goes_to_the_trash_and_the_picture_gets_a_new_id),
        cmocka_unit_test(a_file_that_is_not_of_this_picture_is_never_trashed),
        cmocka_unit_test(a_picture_that_always_arrives_changed_is_given_up_for_now),
        cmocka_unit_test(a_folder_that_was_removed_is_made_again),
        cmocka_unit_test(what_lies_in_the_trash_with_its_folder_moves_to_the_new_one),
        cmocka_unit_test(what_a_person_threw_away_stays_there),
        cmocka_unit_test(a_refused_token_is_asked_for_anew_once),
        cmocka_unit_test(a_login_that_changed_while_it_was_refused_is_tried_soon),
        cmocka_unit_test(who_has_no_room_of_his_own_is_told_so),
        cmocka_unit_test(drive_is_asked_through_the_proxy_of_the_environment),
        cmocka_unit_test(a_server_that_says_nothing_is_given_up_after_a_stall),
        cmocka_unit_test(without_a_login_nothing_is_sent),
        cmocka_unit_test(failures_tell_what_they_are),
        cmocka_unit_test(a_stop_ends_a_call_and_all_later_ones),
        cmocka_unit_test(writes_keep_the_accounts_pace),
        cmocka_unit_test(a_file_is_verified_by_size_and_digest),
        cmocka_unit_test(where_not_even_the_folder_is_shown_no_file_is_called_gone),
        cmocka_unit_test(free_room_is_the_accounts),
        cmocka_unit_test(free_room_of_a_shared_drive_is_not_known),
        cmocka_unit_test(an_id_that_would_change_the_address_is_refused),
        cmocka_unit_test(a_large_picture_goes_in_a_session_that_is_durable_first),
        cmocka_unit_test(a_session_that_cannot_be_remembered_is_not_used),
        cmocka_unit_test(a_session_elsewhere_is_not_used),
        cmocka_unit_test(a_session_goes_on_where_the_server_says),
        cmocka_unit_test(a_session_that_comes_to_no_end_is_given_up_and_holds_up_no_other),
        cmocka_unit_test(a_session_that_fails_again_and_again_is_given_up),
        cmocka_unit_test(a_session_that_nobody_could_ask_is_none_the_worse),
        cmocka_unit_test(a_session_is_resumed_after_a_restart),
        cmocka_unit_test(a_session_that_had_finished_gives_its_last_answer_again),
        cmocka_unit_test(a_session_from_before_the_star_gets_it_at_its_end),
        cmocka_unit_test(a_session_that_is_gone_is_begun_anew_after_a_look),
        cmocka_unit_test(a_session_that_is_gone_because_it_had_finished_is_none_to_repeat),
        cmocka_unit_test(a_wrong_range_asks_for_the_state),
        cmocka_unit_test(a_session_survives_a_refused_token_and_a_failure),
        cmocka_unit_test(an_empty_file_goes_as_well),
    };
    return RUN_TESTS(tests);
}
