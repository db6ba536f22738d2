/* Drives an AMQP link by lines on standard input: one command, one line of answer ("ok ..." or
 * "error COMMAND errno=N retry=R text"), and prints every event as it comes ("event KIND ...", at
 * the end of a connection "end errno=N retry=R text"). It waits as a stage does, on the link's one
 * descriptor, so what these tests see is what a stage would see.
 *
 *   new KEY=VALUE...                   addresses user password vhost name heartbeat connect_ms
 *                                      body_max tls ca cert key any_host
 *   connect | disconnect | unconfirmed | stop (what stop_fd is for)
 *   exchange NAME TYPE
 *   queue [name=N] [dlx=X] [limit=L]
 *   bind QUEUE EXCHANGE KEY
 *   consume QUEUE PREFETCH
 *   publish EXCHANGE KEY ID SIZE [persistent=1] [mandatory=1] [expiration=MS]
 *   burst COUNT EXCHANGE KEY SIZE      publishes with ids b1, b2, ...; waits when told to
 *   ack TAG | reject TAG REQUEUE
 *   deaf 1|0                           no look at the link until told otherwise
 *   quit */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "sys/amqp.h"
#include "sys/hash.h"

#define LINE_WORDS_MAX 24
#define ID_MAX 32
#define BURST_STUCK_MS 60000

static struct amqp_link *link_;
static int stop[2];
static bool deaf;
static char line[4096];
static char *words[LINE_WORDS_MAX];
static int word_count;

static bool run(void);
static void print_event(const struct amqp_event *ev);

static const char *option(const char *key, const char *fallback)
{
    size_t len = strlen(key);
    for (int i = 1; i < word_count; i++)
        if (!strncmp(words[i], key, len) && words[i][len] == '=')
            return words[i] + len + 1;
    return fallback;
}

static int64_t number_of(const char *s)
{
    int64_t value = 0;
    if (parse_int64(s, strlen(s), INT64_MIN, INT64_MAX, &value) < 0) {
        fprintf(stderr, "amqp_drive: '%s' is no number\n", s);
        exit(2);
    }
    return value;
}

static int64_t number(const char *key)
{
    return number_of(option(key, "0"));
}

static void answer(int r, const struct err *e, const char *fine)
{
    if (r >= 0)
        printf("ok %s %s\n", words[0], fine);
    else
        printf("error %s errno=%d retry=%s %s\n", words[0], -r, err_retry_name(e->retry), e->text);
}

/* False when there is nothing more now. */
static bool process(int timeout_ms)
{
    struct amqp_event ev;
    struct err e = {0};
    int r = amqp_link_process(link_, timeout_ms, &ev, &e);
    if (r < 0) {
        printf("end errno=%d retry=%s %s\n", -r, err_retry_name(e.retry), e.text);
        return false;
    }
    if (ev.kind != AMQP_NOTHING)
        print_event(&ev);
    return ev.kind != AMQP_NOTHING;
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    if (pipe(stop) < 0)
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    setvbuf(stdin, NULL, _IONBF, 0); /* else poll() would not see what stdio has taken */
    for (;;) {
        struct pollfd fds[2] = {
            {.fd = 0, .events = POLLIN},
            {.fd = link_ && !deaf ? amqp_link_fd(link_) : -1, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[1].revents) {
            while (process(0))
                continue;
        }
        if (fds[0].revents && (!fgets(line, sizeof(line), stdin) || !run()))
            break;
    }
    amqp_link_free(link_);
    return 0;
}

static void print_event(const struct amqp_event *ev)
{
    printf("event %s tag=%llu id=%s key=%s", amqp_event_names[ev->kind],
           (unsigned long long)ev->tag, ev->message_id, ev->key);
    if (ev->kind == AMQP_DELIVERY) {
        char sha[HASH_SHA256_HEX];
        hash_sha256_hex(ev->body->data, ev->body->size, sha);
        printf(" redelivered=%d expiration=%s size=%zu sha=%s", ev->redelivered, ev->expiration,
               ev->body->size, sha);
    }
    if (ev->kind == AMQP_OVERSIZE)
        printf(" size=%llu", (unsigned long long)ev->body_size);
    printf(" code=%d text=%s\n", ev->code, ev->text);
}

static int new_link(struct err *e)
{
    const struct amqp_options o = {
        .addresses = option("addresses", NULL),
        .user = option("user", NULL),
        .password = option("password", NULL),
        .vhost = option("vhost", NULL),
        .name = option("name", NULL),
        .heartbeat_s = (int)number("heartbeat"),
        .connect_timeout_ms = number("connect_ms"),
        .body_max = (size_t)number("body_max"),
        .tls = number("tls"),
        .tls_ca_file = option("ca", NULL),
        .tls_cert_file = option("cert", NULL),
        .tls_key_file = option("key", NULL),
        .tls_any_host = number("any_host"),
        .stop_fd = stop[0],
    };
    amqp_link_free(STEAL(link_));
    return amqp_link_new(&o, &link_, e);
}

/* Bytes that a test can make too: 0, 1, 2, ... 250, 0, 1, ... */
static void *make_body(size_t size)
{
    uint8_t *body = xmalloc(size);
    for (size_t i = 0; i < size; i++)
        body[i] = (uint8_t)(i % 251);
    return body;
}

static int publish(uint64_t *ret_tag, struct err *e)
{
    size_t size = (size_t)number_of(words[4]);
    AUTO_FREE void *body = make_body(size);
    const struct amqp_message m = {
        .exchange = words[1],
        .key = words[2],
        .message_id = strcmp(words[3], "-") != 0 ? words[3] : NULL,
        .content_type = "application/octet-stream",
        .expiration_ms = number("expiration"),
        .persistent = number("persistent"),
        .mandatory = number("mandatory"),
        .body = {{body, size / 3}, {(char *)body + size / 3, size - size / 3}}};
    return amqp_link_publish(link_, &m, ret_tag, e);
}

static int burst(struct err *e)
{
    size_t size = (size_t)number_of(words[4]);
    AUTO_FREE void *body = make_body(size);
    int64_t count = number_of(words[1]);
    for (int64_t i = 1; i <= count; i++) {
        char id[ID_MAX];
        uint64_t tag;
        (void)text_format(id, sizeof(id), "b%lld", (long long)i);
        const struct amqp_message m = {.exchange = words[2],
                                       .key = words[3],
                                       .message_id = id,
                                       .mandatory = true,
                                       .body = {{body, size}}};
        int r = amqp_link_publish(link_, &m, &tag, e);
        while (r == -EAGAIN && process(BURST_STUCK_MS))
            r = amqp_link_publish(link_, &m, &tag, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static void run_setup(const char *command)
{
    struct err e = {0};
    char name[AMQP_NAME_MAX] = "";
    int r = -ENOSYS;
    if (!strcmp(command, "exchange"))
        r = amqp_link_declare_exchange(link_, words[1], words[2], &e);
    else if (!strcmp(command, "queue"))
        r = amqp_link_declare_queue(
            link_,
            &(struct amqp_queue){.name = option("name", NULL),
                                 .dead_letter_exchange = option("dlx", NULL),
                                 .delivery_limit = (int)number("limit")},
            name, &e);
    else if (!strcmp(command, "bind"))
        r = amqp_link_bind(link_, words[1], words[2], words[3], &e);
    else if (!strcmp(command, "consume"))
        r = amqp_link_consume(link_, words[1], (int)number_of(words[2]), &e);
    answer(r, &e, name);
}

static bool run(void)
{
    struct err e = {0};
    word_count = 0;
    char *rest = line;
    for (char *w = strsep(&rest, " \n"); w && word_count < LINE_WORDS_MAX - 1;
         w = strsep(&rest, " \n"))
        if (*w)
            words[word_count++] = w;
    for (int i = word_count; i < LINE_WORDS_MAX; i++)
        words[i] = line + strlen(line); /* a missing word is "" */
    const char *command = words[0];
    char text[ID_MAX] = "";
    uint64_t tag = 0;
    int r;

    if (!strcmp(command, "quit"))
        return false;
    if (!strcmp(command, "new")) {
        answer(new_link(&e), &e, "");
    } else if (!strcmp(command, "connect")) {
        r = amqp_link_connect(link_, &e);
        answer(r, &e, amqp_link_peer(link_));
    } else if (!strcmp(command, "disconnect")) {
        amqp_link_disconnect(link_);
        answer(0, &e, "");
    } else if (!strcmp(command, "stop")) {
        r = write(stop[1], "x", 1) == 1 ? 0 : -errno;
        answer(r, &e, "");
    } else if (!strcmp(command, "unconfirmed")) {
        (void)text_format(text, sizeof(text), "%d", amqp_link_unconfirmed(link_));
        answer(0, &e, text);
    } else if (!strcmp(command, "publish")) {
        r = publish(&tag, &e);
        (void)text_format(text, sizeof(text), "%llu", (unsigned long long)tag);
        answer(r, &e, text);
    } else if (!strcmp(command, "burst")) {
        answer(burst(&e), &e, words[1]);
    } else if (!strcmp(command, "ack")) {
        answer(amqp_link_ack(link_, (uint64_t)number_of(words[1])), &e, words[1]);
    } else if (!strcmp(command, "reject")) {
        r = amqp_link_reject(link_, (uint64_t)number_of(words[1]), number_of(words[2]));
        answer(r, &e, words[1]);
    } else if (!strcmp(command, "deaf")) {
        deaf = number_of(words[1]);
        answer(0, &e, words[1]);
    } else {
        run_setup(command);
    }
    return true;
}
