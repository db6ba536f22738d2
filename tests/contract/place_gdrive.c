/* Google Drive in the form of the false one of tests/fakes, as a process of its own. */

#include "storage_place.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "storage/gdrive.h"
#include "sys/httpc.h"
#include "sys/json.h"

#define PYTHON "/usr/bin/python3"

struct place {
    char folder[64], url[64], token_file[96];
    int fd;
    pid_t child;
    FILE *words; /* the child's output */
};

/* Asks the false Drive's control side; its "result", a new reference. */
static json_t *control(struct place *p, const char *name, json_t *arguments)
{
    char url[128];
    AUTO_FREE char *body = js_text(arguments);
    struct httpc_reply reply = {0};
    struct err e = {0};
    (void)snprintf(url, sizeof(url), "%s/control/%s", p->url, name);
    const struct httpc_request req = {
        .method = "POST", .url = url, .body = body, .body_size = strlen(body)};
    int r = httpc_fetch(&req, &reply, &e);
    json_decref(arguments);
    if (r < 0 || reply.status != 200)
        CASE_FAILS("%s: HTTP %ld %s", name, reply.status, e.text);
    AUTO_JSON json_t *j = NULL;
    assert_int_equal(js_parse((const char *)reply.body->data, reply.body->size, 16 << 20, &j, &e),
                     0);
    httpc_reply_done(&reply);
    return json_incref(json_object_get(j, "result"));
}

static struct storage *open_storage(struct place *p)
{
    AUTO_FREE char *token_url = xasprintf("%s/token", p->url);
    struct google_login *login = NULL;
    struct storage *s = NULL;
    struct err e = {0};
    const struct google_login_options lo = {.token_file = p->token_file,
                                            .scope = "https://www.googleapis.com/auth/drive.file",
                                            .token_url = token_url};
    if (google_login_open(&lo, &login, &e) < 0)
        CASE_FAILS("%s", e.text);
    const struct gdrive_options o = {.name = "gdrive",
                                     .folder = "cameras",
                                     .api_url = p->url,
                                     .login = login,
                                     .takes_login = true};
    assert_int_equal(gdrive_new(&o, &s, &e), 0);
    return s;
}

static int open_place(void **ret, struct storage **storage, char *why, size_t why_size)
{
    const char *root = getenv("SOURCE_ROOT");
    AUTO_FREE char *program = xasprintf("%s/tests/fakes/drive.py", root ? root : ".");
    char line[128] = "";
    int out[2];
    if (access(PYTHON, X_OK) < 0 || access(program, R_OK) < 0) {
        (void)text_copy(why, why_size, "no python3, or no tests/fakes in SOURCE_ROOT");
        return -ENOTSUP;
    }
    struct place *p = xcalloc(1, sizeof(*p));
    p->fd = test_folder_new(p->folder);
    (void)snprintf(p->token_file, sizeof(p->token_file), "%s/login.json", p->folder);
    assert_int_equal(pipe(out), 0);
    p->child = fork();
    assert_true(p->child >= 0);
    if (p->child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* a test that fails leaves nothing behind */
        (void)dup2(out[1], 1);
        (void)close(out[0]);
        (void)close(out[1]);
        execl(PYTHON, PYTHON, program, "--set", "keep_content=true", "--login", p->token_file,
              (char *)NULL);
        _exit(127);
    }
    (void)close(out[1]);
    p->words = fdopen(out[0], "r");
    if (!fgets(line, sizeof(line), p->words) || sscanf(line, "listening on %63s", p->url) != 1)
        CASE_FAILS("the false Drive does not start: %s", line);
    *storage = open_storage(p);
    *ret = p;
    return 0;
}

static void close_place(void *place)
{
    struct place *p = place;
    (void)kill(p->child, SIGTERM);
    assert_int_equal(waitpid(p->child, NULL, 0), p->child);
    (void)fclose(p->words);
    test_folder_remove(p->folder, p->fd);
    free(p);
}

static struct storage *reopen_place(void *place)
{
    return open_storage(place);
}

static int count(void *place)
{
    AUTO_JSON json_t *n = control(place, "count", json_object());
    return (int)json_integer_value(json_object_get(n, "pictures"));
}

/* The row of a file that is there and not in the trash, or NULL; a new reference. */
static json_t *row_of(struct place *p, const char *id)
{
    AUTO_JSON json_t *rows = control(p, "pictures", json_object());
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);
        if (!strcmp(json_string_value(json_object_get(row, "id")), id))
            return json_incref(row);
    }
    return NULL;
}

static struct blob *get(void *place, const struct storage_mark *mark)
{
    struct place *p = place;
    AUTO_JSON json_t *row = row_of(p, mark->id);
    if (!row)
        return NULL;
    AUTO_JSON json_t *login = control(p, "issue", json_object());
    AUTO_FREE char *url = xasprintf("%s/drive/v3/files/%s?alt=media", p->url, mark->id);
    AUTO_FREE char *header = xasprintf("Authorization: Bearer %s",
                                       json_string_value(json_object_get(login, "access_token")));
    const char *const headers[] = {header, NULL};
    const struct httpc_request req = {.url = url, .headers = headers};
    struct httpc_reply reply = {0};
    struct err e = {0};
    if (httpc_fetch(&req, &reply, &e) < 0 || reply.status != 200)
        CASE_FAILS("download: HTTP %ld %s", reply.status, e.text);
    return reply.body ? reply.body : blob_new_copy("", 0);
}

static void lose(void *place, const struct storage_mark *mark)
{
    json_decref(control(place, "delete", json_pack("{s:s}", "file_id", mark->id)));
}

/* The file with the same id and another content. */
static void spoil(void *place, const struct storage_mark *mark)
{
    AUTO_JSON json_t *row = row_of(place, mark->id);
    assert_non_null(row);
    lose(place, mark);
    json_decref(control(place, "add",
                        json_pack("{s:O, s:O, s:s, s:s, s:O}", "name", json_object_get(row, "name"),
                                  "parent", json_array_get(json_object_get(row, "parents"), 0),
                                  "id", mark->id, "text", "spoilt", "appProperties",
                                  json_object_get(row, "appProperties"))));
}

static void fault(void *place, bool on, json_t *spec)
{
    if (on)
        json_decref(control(place, "fault", json_incref(spec)));
    else
        json_decref(control(place, "clear", json_object()));
    json_decref(spec);
}

static void cut(void *place, bool on)
{
    fault(place, on, json_pack("{s:s, s:s}", "kind", "cut", "where", "multipart"));
}

static void away(void *place, bool on)
{
    fault(place, on, json_pack("{s:s, s:s}", "kind", "serviceUnavailable", "where", "any"));
}

const struct storage_place gdrive_place = {
    .name = "gdrive",
    .open = open_place,
    .close = close_place,
    .reopen = reopen_place,
    .count = count,
    .get = get,
    .lose = lose,
    .spoil = spoil,
    .cut = cut,
    .away = away,
    .one_name_many = true,
};
