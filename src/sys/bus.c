#include "sys/bus.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "base/mem.h"
#include "base/text.h"

#if defined(__SANITIZE_THREAD__)
#define BUS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BUS_TSAN 1
#endif
#endif
#ifdef BUS_TSAN
/* The library is not instrumented: tell the sanitizer that a hand-over orders what came before the
 * send before what follows the receive. */
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define HAND_OVER(p) __tsan_release(p)
#define TAKE_OVER(p) __tsan_acquire(p)
#else
#define HAND_OVER(p) ((void)0)
#define TAKE_OVER(p) ((void)0)
#endif

/* The library does not tell how full its queues are, so both ends count. */
struct edge {
    char name[32];
    _Atomic int64_t sent, received, full;
    /* Guarded by the bus's lock: open ends and their depths. */
    int64_t producers, send_room; /* send_room: depth times workers, summed */
    int64_t receive_room;
};

struct bus {
    void *context;
    pthread_mutex_t lock;
    struct edge edges[BUS_EDGES_MAX];
    size_t edge_count; /* guarded by lock */
};
struct bus_in {
    void *socket;
    struct bus *bus;
    struct edge *edge;
    int depth;
    char address[64];
};
struct bus_out {
    void *socket;
    struct bus *bus;
    struct edge *edge;
    int64_t room;
};

/* What travels: the reference and how to let go of it. */
struct parcel {
    void *ref;
    void (*release)(void *ref);
};

_Static_assert(sizeof(zmq_msg_t) <= sizeof(((struct bus_item *)0)->message), "message fits");

int bus_new(struct bus **ret, struct err *e)
{
    void *context = zmq_ctx_new();
    if (!context)
        return err_errno(e, -errno, "make the bus");
    /* inproc needs no I/O thread; the library's default of one would only idle. */
    (void)zmq_ctx_set(context, ZMQ_IO_THREADS, 0);
    struct bus *b = xmalloc(sizeof(*b));
    *b = (struct bus){.context = context};
    pthread_mutex_init(&b->lock, NULL);
    *ret = b;
    return 0;
}

void bus_free(struct bus *b)
{
    if (!b)
        return;
    while (zmq_ctx_term(b->context) < 0 && errno == EINTR)
        ;
    pthread_mutex_destroy(&b->lock);
    free(b);
}

/* Called with the lock held. */
static struct edge *edge_of(struct bus *b, const char *name)
{
    for (size_t i = 0; i < b->edge_count; i++)
        if (strcmp(b->edges[i].name, name) == 0)
            return &b->edges[i];
    assert(b->edge_count < BUS_EDGES_MAX); /* the topology is a table of ours */
    struct edge *edge = &b->edges[b->edge_count++];
    text_copy(edge->name, sizeof(edge->name), name);
    return edge;
}

size_t bus_edges(struct bus *b, struct bus_edge_status ret[BUS_EDGES_MAX])
{
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < b->edge_count; i++) {
        struct edge *edge = &b->edges[i];
        int64_t received = atomic_load(&edge->received); /* before what was sent */
        int64_t sent = atomic_load(&edge->sent);
        ret[i] = (struct bus_edge_status){
            /* A receiver may count before the sender does. */
            .sent = MAX(sent, received),
            .received = received,
            .full = atomic_load(&edge->full),
            .capacity = edge->send_room + edge->producers * edge->receive_room};
        text_copy(ret[i].name, sizeof(ret[i].name), edge->name);
    }
    size_t count = b->edge_count;
    pthread_mutex_unlock(&b->lock);
    return count;
}

static struct edge *add_producer(struct bus *b, const char *name, int64_t room)
{
    pthread_mutex_lock(&b->lock);
    struct edge *edge = edge_of(b, name);
    edge->producers++;
    edge->send_room += room;
    pthread_mutex_unlock(&b->lock);
    return edge;
}

static struct edge *add_consumer(struct bus *b, const char *name, int64_t room)
{
    pthread_mutex_lock(&b->lock);
    struct edge *edge = edge_of(b, name);
    edge->receive_room += room;
    pthread_mutex_unlock(&b->lock);
    return edge;
}

static int open_socket(struct bus *b, int type, int depth_option, int depth, void **ret,
                       struct err *e)
{
    assert(depth > 0); /* 0 would mean unlimited */
    void *socket = zmq_socket(b->context, type);
    if (!socket)
        return err_errno(e, -errno, "open a bus socket");
    int zero = 0;
    (void)zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof(zero));
    (void)zmq_setsockopt(socket, depth_option, &depth, sizeof(depth));
    *ret = socket;
    return 0;
}

static void address_of(const char *edge, unsigned index, char *ret, size_t size)
{
    int r = text_format(ret, size, "inproc://%s.%u", edge, index);
    assert(r > 0); /* edge names are ours */
}

int bus_in_open(struct bus *b, const char *edge, unsigned index, int receive_depth,
                struct bus_in **ret, struct err *e)
{
    void *socket = NULL;
    int r = open_socket(b, ZMQ_PULL, ZMQ_RCVHWM, receive_depth, &socket, e);
    if (r < 0)
        return r;
    struct bus_in *in = xcalloc(1, sizeof(*in));
    in->socket = socket;
    in->bus = b;
    in->depth = receive_depth;
    address_of(edge, index, in->address, sizeof(in->address));
    if (zmq_bind(socket, in->address) < 0) {
        r = err_errno(e, -errno, "bind %s", in->address);
        (void)zmq_close(socket); /* the failure above is the story */
        free(in);
        return r;
    }
    in->edge = add_consumer(b, edge, receive_depth);
    *ret = in;
    return 0;
}

int bus_out_open(struct bus *b, const char *edge, unsigned count, int send_depth,
                 struct bus_out **ret, struct err *e)
{
    void *socket = NULL;
    int r = open_socket(b, ZMQ_PUSH, ZMQ_SNDHWM, send_depth, &socket, e);
    for (unsigned i = 0; i < count && r == 0; i++) {
        char address[64];
        address_of(edge, i, address, sizeof(address));
        if (zmq_connect(socket, address) < 0)
            r = err_errno(e, -errno, "connect %s", address);
    }
    if (r < 0) {
        if (socket)
            (void)zmq_close(socket); /* the failure above is the story */
        return r;
    }
    struct bus_out *out = xmalloc(sizeof(*out));
    *out = (struct bus_out){.socket = socket, .bus = b, .room = (int64_t)send_depth * count};
    out->edge = add_producer(b, edge, out->room);
    *ret = out;
    return 0;
}

void bus_in_close(struct bus_in *in)
{
    if (!in)
        return;
    /* A close takes effect some time later, on the library's own thread; the name must be free for
     * the next consumer now. */
    (void)zmq_unbind(in->socket, in->address);
    (void)zmq_close(in->socket); /* fails only for what is no socket */
    pthread_mutex_lock(&in->bus->lock);
    in->edge->receive_room -= in->depth;
    pthread_mutex_unlock(&in->bus->lock);
    free(in);
}

void bus_out_close(struct bus_out *out)
{
    if (!out)
        return;
    (void)zmq_close(out->socket); /* fails only for what is no socket */
    pthread_mutex_lock(&out->bus->lock);
    out->edge->producers--;
    out->edge->send_room -= out->room;
    pthread_mutex_unlock(&out->bus->lock);
    free(out);
}

static void keep(void *ref UNUSED)
{
}

static void release_parcel(void *data, void *hint UNUSED)
{
    struct parcel *p = data;
    TAKE_OVER(p);
    p->release(p->ref);
    free(p);
}

static int try_send(struct bus_out *out, zmq_msg_t *message)
{
    int n;
    do
        n = zmq_msg_send(message, out->socket, ZMQ_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? errno : 0;
}

/* A send looks for places that readers gave back only every millisecond or so; asking for the
 * socket's events looks at once. */
static bool has_room(struct bus_out *out, int timeout_ms)
{
    zmq_pollitem_t item = {.socket = out->socket, .events = ZMQ_POLLOUT};
    int n;
    do
        n = zmq_poll(&item, 1, timeout_ms);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

int bus_send(struct bus_out *out, void *ref, void (*release)(void *ref))
{
    return bus_send_within(out, ref, release, 0);
}

int bus_send_within(struct bus_out *out, void *ref, void (*release)(void *ref), int timeout_ms)
{
    struct parcel *p = xmalloc(sizeof(*p));
    *p = (struct parcel){.ref = ref, .release = release};
    zmq_msg_t message;
    if (zmq_msg_init_data(&message, p, sizeof(*p), release_parcel, NULL) < 0) {
        free(p);
        return -ENOMEM;
    }
    HAND_OVER(p);
    int code = try_send(out, &message);
    if (code == EAGAIN && has_room(out, timeout_ms))
        code = try_send(out, &message);
    if (code == 0) {
        atomic_fetch_add(&out->edge->sent, 1);
        return 0;
    }
    if (code == EAGAIN)
        atomic_fetch_add(&out->edge->full, 1);
    /* Not sent: the caller keeps the reference, so the hook must do nothing but free the parcel. */
    p->release = keep;
    (void)zmq_msg_close(&message);
    return code == EAGAIN ? -EAGAIN : -code;
}

int bus_receive(struct bus_in *in, struct bus_item *ret)
{
    zmq_msg_t *message = (zmq_msg_t *)(void *)ret->message;
    (void)zmq_msg_init(message); /* always succeeds */
    int n;
    do
        n = zmq_msg_recv(message, in->socket, ZMQ_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        int code = errno;
        (void)zmq_msg_close(message);
        return code == EAGAIN ? -EAGAIN : -code;
    }
    struct parcel *p = zmq_msg_data(message);
    TAKE_OVER(p);
    ret->ref = p->ref;
    atomic_fetch_add(&in->edge->received, 1);
    return 0;
}

void bus_item_done(struct bus_item *item)
{
    HAND_OVER(zmq_msg_data((zmq_msg_t *)(void *)item->message));
    (void)zmq_msg_close((zmq_msg_t *)(void *)item->message); /* runs the release hook */
    item->ref = NULL;
}

int bus_wait(struct bus_in *in, const int *fds, bool *ret_ready, int fd_count, int timeout_ms)
{
    assert(fd_count <= BUS_WAIT_FDS);
    zmq_pollitem_t items[BUS_WAIT_FDS + 1];
    int place[BUS_WAIT_FDS], n = 0;
    for (int i = 0; i < fd_count; i++) {
        ret_ready[i] = false;
        place[i] = fds[i] < 0 ? -1 : n;
        if (fds[i] >= 0)
            items[n++] = (zmq_pollitem_t){.fd = fds[i], .events = ZMQ_POLLIN};
    }
    if (in)
        items[n++] = (zmq_pollitem_t){.socket = in->socket, .events = ZMQ_POLLIN};
    int r = zmq_poll(items, n, timeout_ms);
    if (r < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < fd_count; i++)
        if (place[i] >= 0)
            ret_ready[i] = items[place[i]].revents != 0;
    return 0;
}
