/* A program that prints one picture: how pictures come in that no HTTP camera hands out, RTSP
 * through ffmpeg first of all. It is started without a shell, see sys/runner.h; here its words
 * become arguments.
 *
 * Blanks part the words; "..." and '...' hold them together, nothing else is special. {address},
 * {user}, {password} and {channel} are filled in, percent-encoded where the word is a URL. The same
 * values stand in the environment, where other users of the machine do not see them. */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "camera/camera_kind.h"
#include "camera/template.h"

#define WORDS_MAX 128
#define ENVIRONMENT_MAX 8
/* As a login shell has it: wrapper scripts call what is installed. */
#define PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static int validate(const struct camera *cam, struct err *e);
static int request(const struct camera *cam, void *memory, struct wall_time now,
                   struct camera_request *ret, struct err *e);
static int answer(const struct camera *cam, void *memory, const struct camera_answer *a,
                  struct wall_time now, struct camera_request *ret_next,
                  enum camera_fault *ret_fault, struct err *e);

const struct camera_kind camera_kind_command = {
    .name = "command",
    .help = "a program that prints one picture, such as ffmpeg for RTSP; needs program",
    .channel = "1",
    .validate = validate,
    .request = request,
    .answer = answer,
};

static int split(const char *line, char **words, struct err *e);
static int fill_in(char **word, const struct camera *cam, struct wall_time now, struct err *e);
static char **make_environment(const struct camera *cam);

static int validate(const struct camera *cam, struct err *e)
{
    struct camera_request scratch = {0};
    int r = request(cam, NULL, (struct wall_time){0}, &scratch, e);
    camera_request_done(&scratch);
    return r;
}

static int request(const struct camera *cam, void *memory UNUSED, struct wall_time now,
                   struct camera_request *ret, struct err *e)
{
    const char *program = cam->program ? cam->program : "";
    if (*program == '\0')
        return err_set(e, -EINVAL, ERR_NEVER,
                       "a camera of kind command needs a program, for example /usr/bin/ffmpeg ...");
    struct camera_request made = {.argv = xcalloc(WORDS_MAX + 1, sizeof(char *))};
    int r = split(program, made.argv, e);
    for (char **word = made.argv; r == 0 && *word; word++)
        r = fill_in(word, cam, now, e);
    if (r == 0 && (!made.argv[0] || made.argv[0][0] != '/'))
        r = err_set(e, -EINVAL, ERR_NEVER, "the program must be a path that begins with /");
    if (r < 0) {
        camera_request_done(&made);
        return r;
    }
    made.environment = make_environment(cam);
    made.shown = xstrdup(made.argv[0]);
    made.login_inside = cam->user && *cam->user;
    *ret = made;
    return 0;
}

/* One word from *at on, without its quotes; malloc()ed. NULL: a quote is not closed. */
static char *next_word(const char **at)
{
    const char *p = *at;
    char *word = xmalloc(strlen(p) + 1);
    size_t len = 0;
    char quote = '\0';
    for (; *p && (quote || (*p != ' ' && *p != '\t')); p++) {
        if (*p == quote)
            quote = '\0';
        else if (!quote && (*p == '"' || *p == '\''))
            quote = *p;
        else
            word[len++] = *p;
    }
    word[len] = '\0';
    *at = p;
    if (!quote)
        return word;
    free(word);
    return NULL;
}

static int split(const char *line, char **words, struct err *e)
{
    size_t count = 0;
    for (const char *p = line + strspn(line, " \t"); *p; p += strspn(p, " \t")) {
        if (count == WORDS_MAX)
            return err_set(e, -EINVAL, ERR_NEVER, "the program has more than %d words", WORDS_MAX);
        words[count] = next_word(&p);
        if (!words[count++])
            return err_set(e, -EINVAL, ERR_NEVER, "the program has a quote that is not closed");
    }
    return 0;
}

static int fill_in(char **word, const struct camera *cam, struct wall_time now, struct err *e)
{
    if (!strpbrk(*word, "{}"))
        return 0;
    enum template_form form = strstr(*word, "://") ? TEMPLATE_URL : TEMPLATE_PLAIN;
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, TEMPLATE_MAX);
    int r = template_expand("program", *word, cam, camera_kind_command.channel, now, form, &out, e);
    if (r < 0)
        return r;
    free(*word);
    *word = dynbuf_steal(&out, NULL);
    if (!*word)
        *word = xstrdup("");
    return 0;
}

static char **make_environment(const struct camera *cam)
{
    char **list = xcalloc(ENVIRONMENT_MAX, sizeof(char *));
    const struct {
        const char *name, *value;
    } values[] = {
        {"PATH", PATH},
        {"LANG", "C.UTF-8"},
        {"CAMERA", cam->name},
        {"CAMERA_ADDRESS", cam->address},
        {"CAMERA_CHANNEL", cam->channel},
        {"CAMERA_USER", cam->user},
        {"CAMERA_PASSWORD", cam->password},
    };
    static_assert(ARRAY_LEN(values) < ENVIRONMENT_MAX, "and the end mark");
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (values[i].value && *values[i].value)
            list[count++] = xasprintf("%s=%s", values[i].name, values[i].value);
    return list;
}

/* Overwrites a secret in a program's words, as it is and as it stands in a URL. */
static void hide(char *text, const char *secret)
{
    size_t len = secret ? strlen(secret) : 0;
    for (char *p = text; len && (p = strstr(p, secret)); p += len)
        memset(p, '*', len);
}

/* The last line of a program's complaint, fit for an error text. */
static const char *last_words(const struct camera *cam, const char *complaint, char *buf,
                              size_t size)
{
    AUTO_FREE char *text = xstrdup(complaint ? complaint : "");
    size_t len = strlen(text);
    while (len && memchr("\r\n ", text[len - 1], 3))
        text[--len] = '\0';
    const char *line = strrchr(text, '\n');
    AUTO_FREE char *words = xstrdup(line ? line + 1 : text);
    text_redact_urls(words);
    hide(words, cam->password);
    return text_printable(words, strlen(words), buf, size);
}

/* What an exit status other than 0 means. */
static int answer(const struct camera *cam, void *memory UNUSED, const struct camera_answer *a,
                  struct wall_time now UNUSED, struct camera_request *ret_next UNUSED,
                  enum camera_fault *ret_fault, struct err *e)
{
    if (a->exit_status == 0 && a->size > 0)
        return 0;
    char words[256];
    last_words(cam, a->complaint, words, sizeof(words));
    /* RTSP has HTTP's status lines, and locks accounts as well. */
    if (a->login_sent && a->complaint &&
        (strstr(a->complaint, "401 Unauthorized") || strstr(a->complaint, "403 Forbidden"))) {
        *ret_fault = CAMERA_FAULT_CREDENTIALS;
        return err_set(e, -EACCES, ERR_NEVER, "the camera rejects the user or the password: %s",
                       words);
    }
    *ret_fault = CAMERA_FAULT_OTHER;
    if (a->exit_status == 0)
        return err_set(e, -EREMOTEIO, ERR_LATER, "the program printed nothing%s%s",
                       *words ? ": " : "", words);
    return err_set(e, -EREMOTEIO, ERR_LATER, "the program failed with exit status %d%s%s",
                   a->exit_status, *words ? ": " : "", words);
}
