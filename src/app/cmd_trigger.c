/* snapshotd trigger: asks the running daemon for a picture and says what is on it. */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/client.h"
#include "app/command.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "model/verdict.h"
#include "notify/console.h"
#include "sys/http_message.h"

#define WAIT_MAX_S 60 /* the API's */
/* What an answer may take beside the wait. */
#define PATIENCE_MS 15000

enum { OPTION_WAIT = 0x3000, OPTION_NO_WAIT };

static int run(int argc, char **argv);
static int ask(const struct client *c, const char *camera, int64_t wait_s, bool json);
static int say_outcome(const struct client *c, const char *camera, const struct client_answer *a,
                       double ms, int64_t wait_s);
static int say_picture(const struct client *c, const json_t *snapshot, double ms);
static int say_pending(const char *camera, const json_t *trigger, int64_t wait_s);
static void read_verdict(const json_t *j, struct verdict *ret);

static const struct command_option option_rows[] = {
    {0, "wait", "SECONDS", OPTION_WAIT, "for the outcome, 1 to 60 (60)"},
    {0, "no-wait", NULL, OPTION_NO_WAIT, "only until the wish is safely recorded"},
    {'j', "json", NULL, 0, "the API's answer as one line"},
    CLIENT_OPTION_ROWS,
    {0},
};

const struct command command_trigger = {
    .name = "trigger",
    .arguments = "[--wait SECONDS | --no-wait] [--json] [--url URL] [-c FILE] CAMERA",
    .summary = "asks the running daemon for a picture and says what is on it",
    .help =
        "Exit status: 0 there is a picture and it was examined (--no-wait: the wish is recorded),\n"
        "1 there is none or not yet, 2 wrong usage.\n",
    .options = option_rows,
    .operand = COMMAND_OPERAND_CAMERA,
    .run = run,
};

static int run(int argc, char **argv)
{
    struct client_options options = {0};
    int64_t wait_s = WAIT_MAX_S;
    bool json = false;
    int opt;
    while ((opt = command_next_option(&command_trigger, argc, argv)) != -1) {
        if (client_options_take(&options, opt, optarg))
            continue;
        switch (opt) {
        case OPTION_WAIT:
            if (parse_int64(optarg, strlen(optarg), 1, WAIT_MAX_S, &wait_s) < 0)
                return command_usage(&command_trigger,
                                     "--wait %s: right would be seconds from 1 to %d", optarg,
                                     WAIT_MAX_S);
            break;
        case OPTION_NO_WAIT:
            wait_s = 0;
            break;
        case 'j':
            json = true;
            break;
        case 'h':
            return command_help(&command_trigger);
        default:
            return command_usage(&command_trigger, NULL);
        }
    }
    if (optind + 1 != argc)
        return command_usage(&command_trigger,
                             optind == argc ? "which camera?" : "one camera at a time");
    struct client client;
    int status = client_find(&options, &client);
    return status == EXIT_DONE ? ask(&client, argv[optind], wait_s, json) : status;
}

static int ask(const struct client *c, const char *camera, int64_t wait_s, bool json)
{
    AUTO_DONE(dynbuf) path;
    dynbuf_init(&path, 4 * SNAPSHOT_KEY_MAX);
    (void)dynbuf_puts(&path, "/api/v1/cameras/");
    (void)http_escape(&path, camera);
    if (dynbuf_printf(&path, "/trigger?wait=%lld", (long long)wait_s) < 0)
        return command_error(EXIT_USAGE, "no camera has a name that long");
    struct client_answer answer;
    struct err e;
    struct mono_time start = clock_mono();
    if (client_call(c, "POST", dynbuf_str(&path), wait_s * 1000 + PATIENCE_MS, &answer, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    double ms = mono_diff_ms(clock_mono(), start);
    int status;
    if (json) {
        AUTO_FREE char *line = js_text(answer.document);
        puts(line);
        status =
            answer.status == 200 || (answer.status == 202 && wait_s == 0) ? EXIT_DONE : EXIT_FAILED;
    } else {
        client_answer_tame(&answer);
        status = say_outcome(c, camera, &answer, ms, wait_s);
    }
    client_answer_done(&answer);
    return status;
}

static int say_outcome(const struct client *c, const char *camera, const struct client_answer *a,
                       double ms, int64_t wait_s)
{
    switch (a->status) {
    case 200:
        return say_picture(c, a->document, ms);
    case 202:
        return say_pending(camera, a->document, wait_s);
    case 502:
        return command_error(EXIT_FAILED, "%s: no picture: %s: snapshotd status shows the camera",
                             camera, client_error_text(a));
    case 503:
        if (a->retry_after_s > 0)
            return command_error(EXIT_FAILED, "%s: refused for now: %s: try again in %lld s",
                                 camera, client_error_text(a), (long long)a->retry_after_s);
        break;
    default:
        break;
    }
    return command_error(EXIT_FAILED, "%s: %s", camera, client_error_text(a));
}

/* "porch: 2 persons (0.91, 0.83), car 0.71, 143 ms, data/store/porch/2026/01/02/human_....jpg" */
static int say_picture(const struct client *c, const json_t *snapshot, double ms)
{
    struct verdict v;
    char what[512];
    read_verdict(json_object_get(snapshot, "verdict"), &v);
    const char *path = client_text(snapshot, "path");
    AUTO_FREE char *file = c->store[0] ? xasprintf("%s/%s", c->store, path) : xstrdup(path);
    if (access(file, F_OK) < 0) { /* not seen from here: as the API names it */
        free(file);
        file = xstrdup(path);
    }
    printf("%s: %s, %.0f ms, %s\n", client_text(snapshot, "camera"),
           console_describe(&v, what, sizeof(what)), ms, file);
    verdict_done(&v);
    return EXIT_DONE;
}

static int say_pending(const char *camera, const json_t *trigger, int64_t wait_s)
{
    const char *id = client_text(trigger, "id"), *error = client_text(trigger, "last_error");
    if (wait_s == 0) {
        printf("%s: accepted, id %s\n", camera, id);
        return EXIT_DONE;
    }
    if (error[0])
        return command_error(EXIT_FAILED,
                             "%s: no picture after %lld s: %s: it will be tried again (id %s)",
                             camera, (long long)wait_s, error, id);
    return command_error(EXIT_FAILED,
                         "%s: no outcome after %lld s: it goes on without us (id %s): snapshotd "
                         "status shows what waits",
                         camera, (long long)wait_s, id);
}

/* As much of the verdict as its description in words needs. */
static void read_verdict(const json_t *j, struct verdict *ret)
{
    struct verdict v = {.outcome = VERDICT_FAILED};
    const char *outcome = client_text(j, "outcome");
    int index;
    if (parse_choice(outcome, strlen(outcome), verdict_outcome_names, VERDICT_OUTCOME_COUNT,
                     &index) == 0)
        v.outcome = (enum verdict_outcome)index;
    text_copy(v.error, sizeof(v.error), client_text(j, "error"));
    v.damaged = json_is_true(json_object_get(j, "damaged"));
    const json_t *list = json_object_get(j, "detections");
    size_t count = MIN(json_array_size(list), (size_t)DETECTION_COUNT_MAX);
    v.found.items = xcalloc(count + 1, sizeof(*v.found.items));
    v.found.count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        text_copy(v.found.items[i].label, DETECTION_LABEL_MAX, client_text(item, "label"));
        v.found.items[i].confidence = (float)json_number_value(json_object_get(item, "confidence"));
    }
    *ret = v;
}
