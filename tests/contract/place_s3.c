/* Buckets of the fake in tests/fakes/aws.py, which runs as a process of its own for all tests. */

#include "storage_place.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "base/dynbuf.h"
#include "storage/s3.h"
#include "sys/httpc.h"

extern char **environ;

struct place {
    struct s3_config config;
    char bucket[32];
};

static char server_url[64];
static int server_stdin = -1;
static pid_t server_pid;
static int places_made;

static void stop_server(void)
{
    (void)close(server_stdin);
    (void)waitpid(server_pid, NULL, 0);
}

/* False when Python or botocore is not there: the fake ends without an address. */
static bool start_server(void)
{
    if (server_stdin >= 0)
        return server_url[0] != '\0';
    const char *root = getenv("SOURCE_ROOT");
    AUTO_FREE char *script = xasprintf("%s/tests/fakes/aws.py", root ? root : ".");
    char *const argv[] = {(char *)"/usr/bin/python3", (char *)"-B", script, NULL};
    int in[2], out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    assert_int_equal(posix_spawn(&server_pid, argv[0], &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    (void)close(in[0]);
    (void)close(out[1]);
    server_stdin = in[1];
    FILE *f = fdopen(out[0], "r");
    if (!fgets(server_url, sizeof(server_url), f))
        server_url[0] = '\0';
    server_url[strcspn(server_url, "\n")] = '\0';
    (void)fclose(f);
    (void)atexit(stop_server);
    return server_url[0] != '\0';
}

/* What the fake says to /control/...; NULL for a 404. */
static struct blob *control(const char *what, const char *name, const char *key)
{
    AUTO_DONE(dynbuf) url;
    dynbuf_init(&url, 8192);
    dynbuf_printf(&url, "%s/control/%s/%s/", server_url, what, name);
    httpc_escape(&url, key, strlen(key));
    struct httpc_request req = {.url = dynbuf_str(&url)};
    struct httpc_reply reply = {0};
    struct err e = {0};
    if (httpc_fetch(&req, &reply, &e) < 0)
        CASE_FAILS("control: %s", e.text);
    if (reply.status == 200)
        return reply.body ? reply.body : blob_new_copy("", 0);
    httpc_reply_done(&reply);
    return NULL;
}

static void tell(const char *what, const char *name, const char *key)
{
    AUTO(blob) said = control(what, name, key);
    assert_non_null(said);
}

static struct storage *reopen_place(void *place)
{
    struct place *p = place;
    struct storage *s = NULL;
    struct err e = {0};
    if (s3_open(&p->config, "s3:test", &s, &e) < 0)
        CASE_FAILS("s3_open: %s", e.text);
    return s;
}

static int open_place(void **ret, struct storage **storage, char *why, size_t why_size)
{
    if (!start_server()) {
        (void)text_copy(why, why_size, "install python3-boto3");
        return -ENOTSUP;
    }
    struct place *p = xcalloc(1, sizeof(*p));
    (void)snprintf(p->bucket, sizeof(p->bucket), "place-%d", places_made++);
    p->config = (struct s3_config){.bucket = p->bucket,
                                   .region = "",
                                   .endpoint = server_url,
                                   .prefix = "kept/here",
                                   .login.access_key = "AKID",
                                   .login.secret_key = "se/cr+et",
                                   .login.profile = "",
                                   .login.role_arn = "",
                                   .storage_class = ""};
    tell("bucket", p->bucket, "eu-west-1"); /* which the storage finds out */
    tell("key", "AKID", "se/cr+et");
    *storage = reopen_place(p);
    *ret = p;
    return 0;
}

static void close_place(void *place)
{
    free(place);
}

static int count(void *place)
{
    struct place *p = place;
    AUTO(blob) said = control("count", p->bucket, "");
    char digits[16] = "";
    assert_true(said && said->size < sizeof(digits));
    memcpy(digits, said->data, said->size);
    return (int)strtol(digits, NULL, 10);
}

static struct blob *get(void *place, const struct storage_mark *mark)
{
    struct place *p = place;
    return control("get", p->bucket, mark->id);
}

static void lose(void *place, const struct storage_mark *mark)
{
    struct place *p = place;
    tell("lose", p->bucket, mark->id);
}

static void spoil(void *place, const struct storage_mark *mark)
{
    struct place *p = place;
    tell("spoil", p->bucket, mark->id);
}

static void occupy(void *place, const struct storage_mark *mark)
{
    struct place *p = place;
    tell("occupy", p->bucket, mark->id);
}

static void cut(void *place UNUSED, bool on)
{
    tell("cut", on ? "1" : "0", "");
}

static void away(void *place UNUSED, bool on)
{
    tell("away", on ? "1" : "0", "");
}

const struct storage_place s3_place = {
    .name = "s3",
    .open = open_place,
    .close = close_place,
    .reopen = reopen_place,
    .count = count,
    .get = get,
    .lose = lose,
    .spoil = spoil,
    .cut = cut,
    .away = away,
    .occupy = occupy,
};
