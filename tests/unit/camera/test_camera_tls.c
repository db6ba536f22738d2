/* TLS options against an independent server, `openssl s_server`: self-signed certificates, pins,
 * old protocol versions, weak keys. Skipped where the openssl command is missing. */

#include "sim_fixture.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

struct server {
    pid_t pid;
    int out;
    char address[40];
};

static char dir[] = "/tmp/test-tls-XXXXXX";
static bool have_openssl;
static char pin[80];

static pid_t spawn(const char *const argv[], int out)
{
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (out >= 0)
        posix_spawn_file_actions_adddup2(&files, out, 1);
    else
        posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    pid_t pid = -1;
    int r = posix_spawnp(&pid, argv[0], &files, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&files);
    return r == 0 ? pid : -1;
}

static bool run(const char *const argv[])
{
    pid_t pid = spawn(argv, -1);
    int status = 0;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static const char *in_dir(const char *name)
{
    static char paths[8][64];
    static unsigned next;
    char *path = paths[next++ % 8];
    (void)text_format(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static bool make_certificate(const char *key_type, const char *key, const char *cert,
                             const char *name)
{
    const char *const argv[] = {"openssl", "req",        "-x509",   "-newkey", key_type, "-nodes",
                                "-keyout", key,          "-out",    cert,      "-days",  "2",
                                "-subj",   "/CN=camera", "-addext", name,      NULL};
    return run(argv);
}

/* The pin as the documentation tells people to make it. */
static void read_pin(void)
{
    const char *const extract[] = {"openssl", "x509",   "-in",  in_dir("cert.pem"),
                                   "-pubkey", "-noout", "-out", in_dir("pub.pem"),
                                   NULL};
    const char *const der[] = {"openssl",         "pkey",     "-pubin", "-in",
                               in_dir("pub.pem"), "-outform", "der",    "-out",
                               in_dir("pub.der"), NULL};
    const char *const digest[] = {"openssl",         "dgst", "-sha256",
                                  "-binary",         "-out", in_dir("pub.sha"),
                                  in_dir("pub.der"), NULL};
    const char *const base64[] = {"openssl", "base64",          "-A", "-in", in_dir("pub.sha"),
                                  "-out",    in_dir("pub.b64"), NULL};
    assert_true(run(extract) && run(der) && run(digest) && run(base64));
    struct blob *b = NULL;
    struct err e = {0};
    assert_int_equal(fs_read_blob(AT_FDCWD, in_dir("pub.b64"), 100, &b, &e), 0);
    (void)text_format(pin, sizeof(pin), "sha256//%.*s", (int)b->size, (const char *)b->data);
    blob_unref(b);
}

static int make_files(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    have_openssl = make_certificate("rsa:2048", in_dir("key.pem"), in_dir("cert.pem"),
                                    "subjectAltName=IP:127.0.0.1") &&
                   make_certificate("rsa:1024", in_dir("weak.pem"), in_dir("weakcert.pem"),
                                    "subjectAltName=IP:127.0.0.1") &&
                   make_certificate("rsa:2048", in_dir("other.pem"), in_dir("othercert.pem"),
                                    "subjectAltName=DNS:other.example");
    if (!have_openssl)
        return 0;
    read_pin();
    AUTO_DONE(dynbuf) jpeg;
    make_jpeg(&jpeg, 1);
    struct err e = {0};
    return fs_create_synced(AT_FDCWD, in_dir("frame.jpg"), jpeg.data, jpeg.len, 0600, &e);
}

static int remove_files(void **state)
{
    (void)state;
    DIR *d = opendir(dir);
    const struct dirent *entry;
    while (d && (entry = readdir(d)))
        if (entry->d_name[0] != '.')
            unlink(in_dir(entry->d_name));
    if (d)
        closedir(d);
    return rmdir(dir);
}

static void serve(struct server *s, const char *key, const char *cert, const char *const extra[2])
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const char *const argv[] = {"openssl",
                                "s_server",
                                "-accept",
                                "127.0.0.1:0",
                                "-key",
                                in_dir(key),
                                "-cert",
                                in_dir(cert),
                                "-WWW",
                                extra[0],
                                extra[0] ? extra[1] : NULL,
                                extra[0] ? "-tls1" : NULL,
                                NULL};
    char here[256];
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(dir), 0); /* the server hands out what is in its folder */
    s->pid = spawn(argv, ends[1]);
    assert_int_equal(chdir(here), 0);
    assert_true(s->pid > 0);
    close(ends[1]);
    s->out = ends[0];
    /* It names its port once it listens. */
    char text[512] = "";
    size_t len = 0;
    const char *at = NULL;
    while (!at || !strchr(at, '\n')) {
        ssize_t n = read(s->out, text + len, sizeof(text) - 1 - len);
        assert_true(n > 0);
        len += (size_t)n;
        text[len] = '\0';
        at = strstr(text, "ACCEPT ");
    }
    at += strlen("ACCEPT ");
    (void)text_format(s->address, sizeof(s->address), "%.*s", (int)strcspn(at, "\n"), at);
}

static void stop(struct server *s)
{
    kill(s->pid, SIGTERM);
    assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
    close(s->out);
}

struct tls_case {
    const char *key, *cert;
    const char *extra[2]; /* of the server */
    bool verify, legacy, use_pin, wrong_pin;
    const char *ca; /* file, NULL = the system's */
    int code;
    const char *words;
};

static const char wrong[] = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
#define OLD                                                                                        \
    {                                                                                              \
        "-cipher", "ALL:@SECLEVEL=0"                                                               \
    }

static const struct tls_case tls_cases[] = {
    {"key.pem", "cert.pem", .verify = true, .code = -EKEYREJECTED, .words = "tls_ca_file"},
    {"key.pem", "cert.pem", .verify = true, .ca = "cert.pem", .code = 0},
    {"key.pem", "cert.pem", .verify = false, .code = 0},
    {"key.pem", "cert.pem", .verify = false, .use_pin = true, .code = 0},
    {"key.pem", "cert.pem", .verify = false, .wrong_pin = true, .code = -EKEYREJECTED,
     .words = "pinned"},
    {"key.pem", "cert.pem", .verify = true, .ca = "cert.pem", .wrong_pin = true,
     .code = -EKEYREJECTED, .words = "pinned"},
    {"key.pem", "cert.pem", .verify = true, .ca = "othercert.pem", .code = -EKEYREJECTED},
    {"key.pem", "cert.pem", .verify = true, .ca = "missing.pem", .code = -EINVAL,
     .words = "cannot be read"},
    {"other.pem", "othercert.pem", .verify = true, .ca = "othercert.pem", .code = -EKEYREJECTED},
    {"weak.pem", "weakcert.pem", OLD, .verify = false, .code = -EPROTO, .words = "tls_legacy"},
    {"weak.pem", "weakcert.pem", OLD, .verify = false, .legacy = true, .code = 0},
    {"key.pem", "cert.pem", OLD, .verify = true, .ca = "cert.pem", .legacy = true, .code = 0},
};

static void each_option_opens_what_it_should_and_nothing_else(void **state)
{
    (void)state;
    if (!have_openssl)
        skip();
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    for (size_t i = 0; i < ARRAY_LEN(tls_cases); i++) {
        const struct tls_case *t = &tls_cases[i];
        struct server s;
        serve(&s, t->key, t->cert, t->extra);
        AUTO_FREE char *url = xasprintf("https://%s/frame.jpg", s.address);
        /* One name for all, so that one handle sees the options change, as at a reload. */
        struct camera cam = test_camera("porch", "http");
        cam.url = url;
        cam.tls_verify = t->verify;
        cam.tls_legacy = t->legacy;
        cam.tls_pin = t->use_pin ? pin : t->wrong_pin ? wrong : NULL;
        cam.tls_ca_file = t->ca ? in_dir(t->ca) : NULL;
        struct outcome got = fetch_once(f, &cam, true);
        stop(&s);
        if (got.code != t->code || (t->words && !strstr(got.error.text, t->words)))
            fail_msg("case %zu: %d: %s", i, got.code, got.error.text);
        if (t->code) {
            assert_int_equal(got.error.retry, ERR_NEVER);
            assert_int_equal(got.fault, CAMERA_FAULT_OTHER);
        }
    }
}

static void plain_http_on_a_tls_port_and_the_reverse_are_told(void **state)
{
    (void)state;
    struct sim_fixture sim;
    struct camera_sim_options o = {0};
    sim_start(&sim, &o, 1);
    AUTO(fetcher) f = NULL;
    struct err e = {0};
    assert_int_equal(fetcher_new(keep_outcome, NULL, &f, &e), 0);
    struct camera cam = test_camera("porch", "foscam");
    cam.address = camera_sim_address(sim.sim, 0);
    cam.tls = true;
    cam.stall_timeout_ms = 1000;
    cam.connect_timeout_ms = 1000; /* the other side waits for the end of a header */
    struct outcome got = fetch_once(f, &cam, false);
    assert_true(got.code == -EPROTO || got.code == -ETIMEDOUT || got.code == -ECONNRESET);
    if (!strstr(got.error.text, "TLS"))
        fail_msg("%s", got.error.text);
    sim_stop(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_option_opens_what_it_should_and_nothing_else),
        cmocka_unit_test(plain_http_on_a_tls_port_and_the_reverse_are_told),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
