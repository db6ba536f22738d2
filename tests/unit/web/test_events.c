/* What listeners hear, without a socket. */
#include "fixture.h"

#include <pthread.h>

#define MANY 2000

struct ear {
    struct http_stream stream;
    struct http_wait wait;
    char *text; /* all that was heard */
    size_t size;
};

static void listen_to(struct fixture *f, const char *camera, const char *last_id, struct ear *ret)
{
    *ret = (struct ear){.text = xcalloc(1, 8 << 20)};
    events_listen(f->events, camera, last_id, &ret->stream);
    assert_true(ret->stream.endless);
}

/* Hears what there is, in reads of `block` bytes; returns what is new. */
static const char *hear_in(struct ear *e, size_t block)
{
    const char *begin = e->text + e->size;
    ssize_t n;
    while ((n = e->stream.read(e->stream.arg, e->text + e->size, block, &e->wait)) > 0)
        e->size += (size_t)n;
    assert_int_equal(n, 0);
    assert_string_equal(e->wait.key, EVENTS_KEY);
    return begin;
}

static const char *hear(struct ear *e)
{
    return hear_in(e, 4096);
}

static void leave(struct ear *e)
{
    e->stream.release(e->stream.arg);
    free(e->text);
}

static size_t count_of(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

/* The last id that was heard. */
static void last_id(const struct ear *e, char ret[64])
{
    const char *at = e->text, *found = NULL;
    while ((at = strstr(at, "id: "))) {
        found = at + 4;
        at = found;
    }
    assert_non_null(found);
    size_t len = strcspn(found, "\n");
    assert_true(len < 64);
    memcpy(ret, found, len);
    ret[len] = '\0';
}

static void costs_nothing_while_nobody_listens(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_snapshot(f, 1, "porch", 1000000);
    for (int i = 0; i < MANY; i++)
        events_tell(f->events, NEWS_STORED, s->id);
    assert_int_equal(f->wakes, 0);
    struct ear e;
    listen_to(f, NULL, NULL, &e);
    assert_null(strstr(hear(&e), "event:")); /* from now on */
    leave(&e);
}

static void tells_of_a_picture_and_its_verdict(void **state)
{
    struct fixture *f = *state;
    struct ear e;
    listen_to(f, NULL, NULL, &e);
    const char *hello = hear(&e);
    assert_non_null(strstr(hello, "retry: "));
    assert_non_null(strstr(hello, "id: "));

    AUTO(snapshot) s = add_snapshot(f, 1, "porch", 1000000);
    events_tell(f->events, NEWS_STORED, s->id);
    assert_int_equal(f->wakes, 1);
    const char *text = hear(&e);
    assert_non_null(strstr(text, "event: snapshot\ndata: {\"id\":"));
    assert_non_null(strstr(text, "\"verdict\":null"));
    assert_int_equal(count_of(text, "\n\n"), 1);

    examine(f, s, (const char *[]){"person"}, (float[]){0.9f}, 1, false);
    events_tell(f->events, NEWS_EXAMINED, s->id);
    text = hear(&e);
    assert_non_null(strstr(text, "event: verdict\n"));
    assert_non_null(strstr(text, "\"label\":\"person\""));
    assert_null(strstr(text, "\"story\""));

    events_tell(f->events, NEWS_UPLOADED, s->id);
    text = hear(&e);
    assert_non_null(strstr(text, "event: changed\n"));
    assert_non_null(strstr(text, "\"what\":\"uploaded\""));
    leave(&e);
}

static void a_star_is_told(void **state)
{
    struct fixture *f = *state;
    struct ear e;
    struct reply r;
    AUTO(snapshot) s = add_snapshot(f, 1, "porch", 1000000);
    listen_to(f, NULL, NULL, &e);
    ask(f, "POST", "/api/v1/snapshots/00000000000000000000000000000001/star", &r);
    assert_int_equal(r.response.status, 200);
    assert_non_null(strstr(hear(&e), "\"what\":\"starred\""));
    reply_done(&r);
    leave(&e);
}

static void what_is_gone_again_is_not_told(void **state)
{
    struct fixture *f = *state;
    struct ear e;
    listen_to(f, NULL, NULL, &e);
    (void)hear(&e);
    events_tell(f->events, NEWS_STORED, "00000000000000000000000000000001");
    events_tell(f->events, NEWS_STORED, "'; DROP TABLE snapshots; --");
    assert_string_equal(hear(&e), "");
    leave(&e);
}

static void hears_of_one_camera_only(void **state)
{
    struct fixture *f = *state;
    struct ear e;
    listen_to(f, "yard", NULL, &e);
    AUTO(snapshot) porch = add_snapshot(f, 1, "porch", 1000000);
    AUTO(snapshot) yard = add_snapshot(f, 2, "yard", 2000000);
    events_tell(f->events, NEWS_STORED, porch->id);
    events_tell(f->events, NEWS_STORED, yard->id);
    const char *text = hear(&e);
    assert_int_equal(count_of(text, "event: snapshot"), 1);
    assert_non_null(strstr(text, yard->id));
    leave(&e);
}

static void an_event_is_whole_whatever_is_read_at_a_time(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_snapshot(f, 1, "porch", 1000000);
    struct ear a, b;
    listen_to(f, NULL, NULL, &a);
    listen_to(f, NULL, NULL, &b);
    for (int i = 0; i < 5; i++)
        events_tell(f->events, NEWS_STORED, s->id);
    (void)hear_in(&a, 7);
    (void)hear(&b);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.text, b.text, a.size);
    leave(&a);
    leave(&b);
}

static void who_comes_back_misses_nothing(void **state)
{
    struct fixture *f = *state;
    char id[64];
    AUTO(snapshot) s = add_snapshot(f, 1, "porch", 1000000);
    AUTO(snapshot) t = add_snapshot(f, 2, "porch", 2000000);
    struct ear e;
    listen_to(f, NULL, NULL, &e);
    events_tell(f->events, NEWS_STORED, s->id);
    (void)hear(&e);
    last_id(&e, id);
    leave(&e);
    events_tell(f->events, NEWS_STORED, t->id); /* nobody listens */
    listen_to(f, NULL, id, &e);
    const char *text = hear(&e);
    assert_null(strstr(text, "event: reset"));
    assert_int_equal(count_of(text, "event: snapshot"), 1);
    assert_non_null(strstr(text, t->id));
    last_id(&e, id);
    leave(&e);
    listen_to(f, NULL, id, &e); /* with nothing new */
    assert_null(strstr(hear(&e), "event:"));
    leave(&e);
}

static void who_comes_back_too_late_loads_anew(void **state)
{
    struct fixture *f = *state;
    char id[64];
    AUTO(snapshot) s = add_snapshot(f, 1, "porch", 1000000);
    struct ear e;
    listen_to(f, NULL, NULL, &e);
    (void)hear(&e);
    last_id(&e, id);
    leave(&e);
    for (int i = 0; i < MANY; i++)
        events_tell(f->events, NEWS_STORED, s->id);
    unsigned wakes = f->wakes;
    events_tell(f->events, NEWS_STORED, s->id);
    assert_int_equal(f->wakes, wakes);
    static const char *const strange[] = {"1-1", "x", "-", "18446744073709551616-1", ""};
    for (size_t i = 0; i <= ARRAY_LEN(strange); i++) {
        listen_to(f, NULL, i < ARRAY_LEN(strange) ? strange[i] : id, &e);
        const char *text = hear(&e);
        assert_int_equal(count_of(text, "event: reset\n"), 1);
        events_tell(f->events, NEWS_STORED, s->id);
        text = hear(&e);
        assert_int_equal(count_of(text, "event: snapshot"), 1);
        leave(&e);
    }
    char ahead[80];
    (void)snprintf(ahead, sizeof(ahead), "%s9", id); /* never given out */
    listen_to(f, NULL, ahead, &e);
    assert_int_equal(count_of(hear(&e), "event: reset\n"), 1);
    leave(&e);
}

static void who_reads_too_slowly_loads_anew_and_holds_nobody_up(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_snapshot(f, 1, "porch", 1000000);
    struct ear slow, quick;
    listen_to(f, NULL, NULL, &slow);
    listen_to(f, NULL, NULL, &quick);
    (void)hear(&slow);
    for (int i = 0; i < MANY; i++) {
        events_tell(f->events, NEWS_STORED, s->id);
        (void)hear(&quick);
    }
    assert_int_equal(count_of(quick.text, "event: snapshot"), MANY);
    assert_int_equal(count_of(quick.text, "event: reset"), 0);
    const char *text = hear(&slow);
    assert_int_equal(count_of(text, "event: reset"), 1);
    assert_int_equal(count_of(text, "event: snapshot"), 0);
    leave(&slow);
    leave(&quick);
}

static void a_flood_is_told_as_one_reset(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_snapshot(f, 1, "porch", 1000000);
    struct ear e;
    listen_to(f, NULL, NULL, &e);
    (void)hear(&e);
    for (int i = 0; i < MANY; i++)
        events_tell(f->events, NEWS_STORED, s->id);
    const char *text = hear(&e);
    assert_int_equal(count_of(text, "event: reset"), 1);
    assert_true(count_of(text, "event: snapshot") <= 256);
    leave(&e);
}

static const char *camera_state;
static int camera_ms; /* another one each time: no change of state */

static json_t *one_camera(void *arg UNUSED, const char *name)
{
    return strcmp(name, "none") == 0 ? json_array()
                                     : json_pack("[{s:s,s:s,s:i}]", "name", name, "state",
                                                 camera_state, "last_ms", camera_ms++);
}

static json_t *fake_pulse(void *arg)
{
    struct fixture *f = arg;
    return json_pack("{s:i}", "triggers", (int)f->triggers);
}

static void a_camera_is_told_when_its_state_changes(void **state)
{
    struct fixture *f = *state;
    f->backend.cameras = one_camera;
    struct ear e;
    camera_state = "ok";
    listen_to(f, NULL, NULL, &e);
    for (int i = 0; i < 3; i++)
        events_tell(f->events, NEWS_CAMERA, "porch");
    events_tell(f->events, NEWS_CAMERA, "none");
    assert_int_equal(count_of(hear(&e), "event: camera\n"), 1);
    camera_state = "failing";
    events_tell(f->events, NEWS_CAMERA, "porch");
    assert_non_null(strstr(hear(&e), "\"state\":\"failing\""));
    leave(&e);
}

static void the_status_is_told_to_who_begins(void **state)
{
    struct fixture *f = *state;
    f->backend.pulse = fake_pulse;
    struct ear e;
    listen_to(f, NULL, NULL, &e);
    assert_int_equal(count_of(hear(&e), "event: status\ndata: {\"triggers\":0}"), 1);
    assert_string_equal(hear(&e), ""); /* once */
    assert_true(e.wait.recheck.us <= mono_add_ms(clock_mono(), 5000).us);
    leave(&e);
}

static void the_route_takes_the_place_from_header_or_parameter(void **state)
{
    struct fixture *f = *state;
    struct reply r;
    ask(f, "GET", "/api/v1/events", &r);
    assert_int_equal(r.response.status, 200);
    assert_string_equal(r.response.content_type, "text/event-stream");
    assert_string_equal(header_of(&r, "Cache-Control"), "no-store");
    assert_non_null(r.response.stream.read);
    reply_done(&r);
    char block[4096] = "";
    static const char *const header[] = {"Last-Event-ID", "old-1", NULL};
    for (int i = 0; i < 2; i++) {
        ask_with(f, "GET", i ? "/api/v1/events" : "/api/v1/events?last_event_id=old-1",
                 i ? header : NULL, &r);
        struct http_wait wait;
        ssize_t n = r.response.stream.read(r.response.stream.arg, block, sizeof(block) - 1, &wait);
        assert_true(n > 0);
        block[n] = '\0';
        assert_non_null(strstr(block, "event: reset"));
        reply_done(&r);
    }
    ask(f, "GET", "/api/v1/events?since=1", &r);
    assert_int_equal(r.response.status, 400);
    reply_done(&r);
}

static void *tell_many(void *arg)
{
    struct fixture *f = arg;
    for (int i = 0; i < MANY; i++)
        events_tell(f->events, NEWS_STORED, "00000000000000000000000000000001");
    return NULL;
}

static void quiet(void *arg UNUSED)
{
}

/* For the thread sanitizer. */
static void many_threads_tell_while_listeners_come_and_go(void **state)
{
    struct fixture *f = *state;
    AUTO(snapshot) s = add_snapshot(f, 1, "porch", 1000000);
    struct events_options options = {
        .ledger = f->ledger, .backend = &f->backend, .wake = quiet, .arg = NULL};
    events_free(f->events);
    f->events = events_new(&options);
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, tell_many, f), 0);
    for (int i = 0; i < 50; i++) {
        struct ear e;
        listen_to(f, NULL, NULL, &e);
        (void)hear(&e);
        leave(&e);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(costs_nothing_while_nobody_listens),
        T(tells_of_a_picture_and_its_verdict),
        T(a_star_is_told),
        T(what_is_gone_again_is_not_told),
        T(hears_of_one_camera_only),
        T(an_event_is_whole_whatever_is_read_at_a_time),
        T(who_comes_back_misses_nothing),
        T(who_comes_back_too_late_loads_anew),
        T(who_reads_too_slowly_loads_anew_and_holds_nobody_up),
        T(a_flood_is_told_as_one_reset),
        T(a_camera_is_told_when_its_state_changes),
        T(the_status_is_told_to_who_begins),
        T(the_route_takes_the_place_from_header_or_parameter),
        T(many_threads_tell_while_listeners_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
