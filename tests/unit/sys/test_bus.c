#include "../test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "base/mem.h"
#include "sys/bus.h"

/* What travels: a number, and a count of how often it was let go. */
struct load {
    int number;
    int plain; /* not atomic on purpose: the hand-over must order accesses to it */
};

static atomic_int released;

static void release(void *ref)
{
    free(ref);
    atomic_fetch_add(&released, 1);
}

static struct load *load_new(int number)
{
    struct load *l = xcalloc(1, sizeof(*l));
    l->number = number;
    l->plain = number;
    return l;
}

static int set_up(void **state)
{
    struct bus *b = NULL;
    atomic_store(&released, 0);
    if (bus_new(&b, NULL) < 0)
        return -1;
    *state = b;
    return 0;
}

static struct bus_in *open_in(struct bus *b, unsigned index, int depth)
{
    struct bus_in *in = NULL;
    struct err e = {0};
    if (bus_in_open(b, "edge", index, depth, &in, &e) < 0)
        CASE_FAILS("%s", e.text);
    return in;
}

static struct bus_out *open_out(struct bus *b, unsigned count, int depth)
{
    struct bus_out *out = NULL;
    struct err e = {0};
    if (bus_out_open(b, "edge", count, depth, &out, &e) < 0)
        CASE_FAILS("%s", e.text);
    return out;
}

static int receive_number(struct bus_in *in)
{
    struct bus_item item;
    if (bus_receive(in, &item) < 0)
        return -1;
    int number = ((struct load *)item.ref)->number;
    bus_item_done(&item);
    assert_null(item.ref);
    return number;
}

static void keeps_the_order(void **state)
{
    struct bus *b = *state;
    struct bus_in *in = open_in(b, 0, 10);
    struct bus_out *out = open_out(b, 1, 10);
    assert_int_equal(receive_number(in), -1);
    for (int i = 0; i < 20; i++)
        assert_int_equal(bus_send(out, load_new(i), release), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(receive_number(in), i);
        assert_int_equal(atomic_load(&released), i + 1);
    }
    assert_int_equal(receive_number(in), -1);
    bus_out_close(out);
    bus_in_close(in);
    bus_free(b);
}

static void gives_nothing_away_when_full(void **state)
{
    struct bus *b = *state;
    struct bus_in *in = open_in(b, 0, 1);
    struct bus_out *out = open_out(b, 1, 2);
    int sent = 0;
    AUTO_FREE struct load *refused = NULL;
    while (!refused) {
        struct load *l = load_new(sent);
        int r = bus_send(out, l, release);
        if (r == 0) {
            sent++;
            continue;
        }
        assert_int_equal(r, -EAGAIN);
        refused = l;
    }
    assert_int_equal(sent, 3); /* send mark and receive mark */
    assert_int_equal(refused->plain, 3);
    assert_int_equal(atomic_load(&released), 0); /* a refused one is not let go either */
    assert_int_equal(receive_number(in), 0);
    assert_int_equal(atomic_load(&released), 1);
    /* The library hands places back when the reader has taken half of them. */
    assert_int_equal(receive_number(in), 1);
    assert_int_equal(receive_number(in), 2);
    assert_int_equal(bus_send(out, STEAL(refused), release), 0);
    assert_int_equal(receive_number(in), 3);
    bus_out_close(out);
    bus_in_close(in);
    bus_free(b);
}

static void *receive_one_later(void *arg)
{
    struct bus_in *in = arg;
    bool ready = false;
    (void)bus_wait(in, NULL, &ready, 0, 10000);
    assert_int_equal(receive_number(in), 0);
    assert_int_equal(receive_number(in), 1);
    return NULL;
}

static void waits_for_room_as_long_as_it_is_told(void **state)
{
    struct bus *b = *state;
    struct bus_in *in = open_in(b, 0, 1);
    struct bus_out *out = open_out(b, 1, 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(bus_send_within(out, load_new(i), release, 0), 0);
    AUTO_FREE struct load *refused = load_new(2);
    assert_int_equal(bus_send_within(out, refused, release, 10), -EAGAIN);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, receive_one_later, in), 0);
    assert_int_equal(bus_send_within(out, STEAL(refused), release, 10000), 0);
    pthread_join(thread, NULL);
    assert_int_equal(receive_number(in), 2);
    bus_out_close(out);
    bus_in_close(in);
    bus_free(b);
}

static void reaches_every_worker_of_a_pool(void **state)
{
    struct bus *b = *state;
    struct bus_in *in[3];
    struct bus_out *out = open_out(b, 3, 2); /* before the workers are there */
    for (unsigned i = 0; i < ARRAY_LEN(in); i++)
        in[i] = open_in(b, i, 1);
    for (int i = 0; i < 6; i++)
        assert_int_equal(bus_send(out, load_new(i), release), 0);
    for (size_t i = 0; i < ARRAY_LEN(in); i++) {
        assert_true(receive_number(in[i]) >= 0);
        assert_true(receive_number(in[i]) >= 0);
        assert_int_equal(receive_number(in[i]), -1);
    }
    /* With two workers full, everything goes to the third. */
    int got = 0, sent = 0;
    for (int i = 0; i < 60; i++) {
        struct load *l = load_new(i);
        if (bus_send(out, l, release) == 0)
            sent++;
        else
            free(l);
        got += receive_number(in[2]) >= 0;
    }
    assert_true(got >= 40);
    assert_true(sent >= got);
    for (size_t i = 0; i < ARRAY_LEN(in); i++)
        bus_in_close(in[i]);
    bus_out_close(out);
    bus_free(b);
    assert_int_equal(atomic_load(&released), 6 + sent);
}

static void releases_what_nobody_received(void **state)
{
    struct bus *b = *state;
    struct bus_in *in = open_in(b, 0, 5);
    struct bus_out *out = open_out(b, 1, 5);
    for (int i = 0; i < 8; i++)
        assert_int_equal(bus_send(out, load_new(i), release), 0);
    assert_int_equal(receive_number(in), 0);
    bus_out_close(out);
    bus_in_close(in);
    bus_free(b);
    assert_int_equal(atomic_load(&released), 8);
}

static void releases_what_nobody_ever_listened_to(void **state)
{
    struct bus *b = *state;
    struct bus_out *out = open_out(b, 1, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(bus_send(out, load_new(i), release), 0);
    bus_out_close(out);
    bus_free(b);
    assert_int_equal(atomic_load(&released), 5);
}

static void refuses_a_second_worker_of_one_number(void **state)
{
    struct bus *b = *state;
    struct bus_in *in = open_in(b, 0, 1), *second = NULL;
    struct err e = {0};
    assert_int_equal(bus_in_open(b, "edge", 0, 1, &second, &e), -EADDRINUSE);
    assert_non_null(strstr(e.text, "bind inproc://edge.0"));
    assert_null(second);
    bus_in_close(in);
    bus_in_close(NULL);
    bus_out_close(NULL);
    bus_free(b);
    bus_free(NULL);
}

static void waits_for_items_descriptors_and_time(void **state)
{
    struct bus *b = *state;
    struct bus_in *in = open_in(b, 0, 1);
    struct bus_out *out = open_out(b, 1, 1);
    AUTO_CLOSE int a = eventfd(0, EFD_CLOEXEC), c = eventfd(1, EFD_CLOEXEC);
    int fds[3] = {a, -1, c};
    bool ready[3] = {true, true, false};
    assert_int_equal(bus_wait(in, fds, ready, 3, -1), 0);
    assert_false(ready[0]);
    assert_false(ready[1]);
    assert_true(ready[2]);
    fds[2] = -1;
    assert_int_equal(bus_wait(in, fds, ready, 3, 0), 0); /* nothing: the time-out */
    assert_false(ready[0] || ready[1] || ready[2]);
    assert_int_equal(bus_send(out, load_new(1), release), 0);
    assert_int_equal(bus_wait(in, fds, ready, 3, -1), 0);
    assert_int_equal(receive_number(in), 1);
    assert_int_equal(bus_wait(NULL, &c, ready, 1, -1), 0);
    assert_true(ready[0]);
    (void)close(c);
    bus_out_close(out);
    bus_in_close(in);
    bus_free(b);
}

#define MANY 3000

struct worker {
    struct bus *bus;
    unsigned index;
    int stop_fd;
    pthread_t thread;
    int count;
    bool in_order;
    sem_t bound;
};

static atomic_int consumed;
static sem_t all_consumed;

static void *consume(void *arg)
{
    struct worker *w = arg;
    struct bus_in *in = open_in(w->bus, w->index, 1);
    (void)sem_post(&w->bound);
    int last = -1;
    bool stop = false;
    w->in_order = true;
    while (!stop) {
        (void)bus_wait(in, &w->stop_fd, &stop, 1, -1);
        struct bus_item item;
        while (bus_receive(in, &item) == 0) {
            struct load *l = item.ref;
            w->in_order = w->in_order && l->number > last;
            last = l->number;
            l->plain++; /* mine now; the thread sanitizer sees it when it is not */
            bus_item_done(&item);
            w->count++;
            if (atomic_fetch_add(&consumed, 1) + 1 == MANY)
                (void)sem_post(&all_consumed);
        }
    }
    bus_in_close(in);
    return NULL;
}

/* The promise that everything else stands on, checked with the thread sanitizer in its build. */
static void hands_over_between_threads(void **state)
{
    struct bus *b = *state;
    AUTO_CLOSE int stop_fd = eventfd(0, EFD_CLOEXEC);
    struct worker workers[2] = {{.bus = b, .index = 0, .stop_fd = stop_fd},
                                {.bus = b, .index = 1, .stop_fd = stop_fd}};
    assert_int_equal(sem_init(&all_consumed, 0, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        assert_int_equal(sem_init(&workers[i].bound, 0, 0), 0);
        assert_int_equal(pthread_create(&workers[i].thread, NULL, consume, &workers[i]), 0);
        test_wait(&workers[i].bound);
    }
    struct bus_out *out = open_out(b, 2, 4);
    for (int i = 0; i < MANY;) {
        struct load *l = load_new(i);
        if (bus_send(out, l, release) == 0) {
            i++;
        } else {
            assert_int_equal(l->plain, i); /* still mine */
            free(l);
        }
    }
    test_wait(&all_consumed);
    assert_int_equal(write(stop_fd, &(uint64_t){1}, sizeof(uint64_t)), sizeof(uint64_t));
    bus_out_close(out);
    int count = 0;
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        pthread_join(workers[i].thread, NULL);
        assert_true(workers[i].in_order);
        assert_true(workers[i].count > 0);
        count += workers[i].count;
        (void)sem_destroy(&workers[i].bound);
    }
    (void)sem_destroy(&all_consumed);
    bus_free(b);
    assert_int_equal(count, MANY);
    assert_int_equal(atomic_load(&released), MANY);
}

static void tells_how_full_each_edge_is(void **state)
{
    struct bus *b = *state;
    struct bus_edge_status edges[BUS_EDGES_MAX];
    assert_int_equal(bus_edges(b, edges), 0);
    struct bus_in *in = open_in(b, 0, 2);
    struct bus_out *out = open_out(b, 1, 3);
    int sent = 0;
    while (true) {
        struct load *l = load_new(sent);
        int r = bus_send(out, l, release);
        if (r < 0) {
            free(l);
            break;
        }
        sent++;
    }
    assert_int_equal(bus_edges(b, edges), 1);
    assert_int_equal(edges[0].sent, sent);
    assert_int_equal(edges[0].received, 0);
    assert_int_equal(edges[0].full, 1);
    assert_int_equal(edges[0].capacity, 5);
    assert_int_equal(sent, 5);
    struct bus_item item;
    assert_int_equal(bus_receive(in, &item), 0);
    bus_item_done(&item);
    assert_int_equal(bus_edges(b, edges), 1);
    assert_int_equal(edges[0].received, 1);
    bus_out_close(out);
    bus_in_close(in);
    assert_int_equal(bus_edges(b, edges), 1);
    assert_int_equal(edges[0].capacity, 0);
    bus_free(b);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keeps_the_order),
        TEST(gives_nothing_away_when_full),
        TEST(waits_for_room_as_long_as_it_is_told),
        TEST(reaches_every_worker_of_a_pool),
        TEST(releases_what_nobody_received),
        TEST(releases_what_nobody_ever_listened_to),
        TEST(refuses_a_second_worker_of_one_number),
        TEST(waits_for_items_descriptors_and_time),
        TEST(hands_over_between_threads),
        TEST(tells_how_full_each_edge_is),
    };
    return RUN_TESTS(tests);
}
