/* snapshotd status: how the running daemon is, for a person at a terminal. */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/client.h"
#include "app/command.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "fan/fan_curve.h"

#define PATIENCE_MS 15000
#define CELL_MAX 256 /* bytes of a cell; errors are cut */
#define COLUMNS_MAX 8

struct column {
    const char *title;
    const char *key;
    void (*write)(const json_t *row, const char *key, char out[CELL_MAX]);
    bool right; /* numbers */
};

static int run(int argc, char **argv);
static void print_status(const json_t *status);
static void print_head(const json_t *status);
static void print_table(const json_t *rows, const struct column *columns, size_t count);
static void write_text(const json_t *row, const char *key, char out[CELL_MAX]);
static void write_number(const json_t *row, const char *key, char out[CELL_MAX]);
static void write_age(const json_t *row, const char *key, char out[CELL_MAX]);
static void write_ms(const json_t *row, const char *key, char out[CELL_MAX]);

static const struct command_option option_rows[] = {
    {'j', "json", NULL, 0, "the status document as one line"},
    CLIENT_OPTION_ROWS,
    {0},
};

const struct command command_status = {
    .name = "status",
    .arguments = "[--json] [--url URL] [-c FILE]",
    .summary = "stages, queues, cameras, destinations and last errors of the running daemon",
    .help =
        "Exit status: 0 the daemon answers and is ready, 1 it does not or is not, 2 wrong usage.\n",
    .options = option_rows,
    .run = run,
};

static int run(int argc, char **argv)
{
    struct client_options options = {0};
    bool json = false;
    int opt;
    while ((opt = command_next_option(&command_status, argc, argv)) != -1) {
        if (client_options_take(&options, opt, optarg))
            continue;
        if (opt == 'h')
            return command_help(&command_status);
        if (opt != 'j')
            return command_usage(&command_status, NULL);
        json = true;
    }
    if (optind < argc)
        return command_usage(&command_status, "unexpected argument \"%s\"", argv[optind]);
    struct client client;
    int status = client_find(&options, &client);
    if (status != EXIT_DONE)
        return status;
    struct client_answer answer;
    struct err e;
    if (client_call(&client, "GET", "/api/v1/status", PATIENCE_MS, &answer, &e) < 0)
        return command_error(EXIT_FAILED, "%s", e.text);
    if (answer.status != 200) {
        client_answer_tame(&answer);
        status = command_error(EXIT_FAILED, "%s", client_error_text(&answer));
    } else {
        status = json_is_true(json_object_get(answer.document, "ready")) ? EXIT_DONE : EXIT_FAILED;
        if (json) {
            AUTO_FREE char *line = js_text(answer.document);
            puts(line);
        } else {
            client_answer_tame(&answer);
            print_status(answer.document);
        }
    }
    client_answer_done(&answer);
    return status;
}

static void print_status(const json_t *status)
{
    static const struct column cameras[] = {
        {"CAMERA", "name", write_text, false},
        {"KIND", "kind", write_text, false},
        {"STATE", "state", write_text, false},
        {"FAILURES", "failures", write_number, true},
        {"LAST PICTURE", "last_picture_at", write_age, false},
        {"TOOK", "last_ms", write_ms, true},
        {"LAST ERROR", "last_error", write_text, false},
    };
    static const struct column stages[] = {
        {"STAGE", "name", write_text, false},     {"STATE", "state", write_text, false},
        {"QUEUED", "queued", write_number, true}, {"DONE", "done", write_number, true},
        {"FAILED", "failed", write_number, true}, {"LAST ERROR", "last_error", write_text, false},
    };
    static const struct column destinations[] = {
        {"DESTINATION", "name", write_text, false},
        {"PENDING", "pending", write_number, true},
        {"DEAD", "dead", write_number, true},
        {"LAST ERROR", "last_error", write_text, false},
    };
    print_head(status);
    print_table(json_object_get(status, "cameras"), cameras, ARRAY_LEN(cameras));
    print_table(json_object_get(status, "stages"), stages, ARRAY_LEN(stages));
    print_table(json_object_get(status, "destinations"), destinations, ARRAY_LEN(destinations));
}

/* ---- the lines at the top ---- */

static void format_bytes(double bytes, char *out, size_t size);
static void print_control(const json_t *triggers);
static void print_ftp(const json_t *ftp);
static void print_spool(const json_t *folders);
static void print_storages(const json_t *storages);
static void print_log(const json_t *log);
static void print_errors(const json_t *errors);
static void print_fan(const json_t *fan);
static void print_cloudwatch(const json_t *c);
static double number_of(const json_t *object, const char *key);

/* "rabbitmq  127.0.0.1:5672: not reachable for 3 min: connection refused; 128 events wait" */
static void print_broker(const json_t *status)
{
    const json_t *destinations = json_object_get(status, "destinations");
    for (size_t i = 0; i < json_array_size(destinations); i++) {
        const json_t *d = json_array_get(destinations, i);
        const char *state = client_text(d, "state"), *error = client_text(d, "last_error");
        if (!state[0])
            continue; /* nothing that could be away */
        /* "broker 'host:port': connection refused": the place stands in the state. */
        const char *behind_place = strstr(error, "': ");
        if (text_starts_with(error, "broker '") && behind_place)
            error = behind_place + strlen("': ");
        double pending = number_of(d, "pending");
        printf("  %-8s  %s%s%s; %.0f event%s wait%s\n", client_text(d, "name"), state,
               error[0] ? ": " : "", error, pending, pending == 1 ? "" : "s",
               pending == 1 ? "s" : "");
    }
}

static void print_calls(const json_t *period, const char *name)
{
    printf("%.0f", number_of(period, "calls"));
    if (json_is_integer(json_object_get(period, "limit")))
        printf(" of %.0f", number_of(period, "limit"));
    printf(" calls %s, ", name);
}

/* "cloud     12 of 500 calls today, 340 calls this month, about $0.34; 2 pictures wait" */
static void print_cloud(const json_t *cloud)
{
    if (!json_is_object(cloud))
        return;
    double waiting = number_of(cloud, "waiting");
    printf("  cloud     ");
    print_calls(json_object_get(cloud, "day"), "today");
    print_calls(json_object_get(cloud, "month"), "this month");
    printf("about $%.2f", number_of(cloud, "month_cost_usd_estimate"));
    if (waiting > 0)
        printf("; %.0f picture%s wait%s", waiting, waiting == 1 ? "" : "s",
               waiting == 1 ? "s" : "");
    printf("\n");
}

/* "secrets   3 of 3 values from 1Password, 2 of them the last good ones: why" */
static void print_secrets(const json_t *secrets)
{
    const char *trouble = client_text(secrets, "last_error");
    double cached = number_of(secrets, "cached");

    if (!json_is_object(secrets) || strcmp(client_text(secrets, "state"), "off") == 0)
        return;
    printf("  secrets   %.0f of %.0f values from 1Password",
           number_of(secrets, "answered") + cached, number_of(secrets, "wanted"));
    if (cached > 0)
        printf(", %.0f of them the last good ones", cached);
    printf("%s%s\n", trouble[0] ? ": " : "", trouble);
}

/* "health    queue:deliver:rabbitmq waits: 12 wait for ..."; nothing while all is ok. */
static void print_health(const json_t *parts)
{
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *p = json_array_get(parts, i);
        if (strcmp(client_text(p, "state"), "ok") != 0)
            printf("  health    %s is %s: %s\n", client_text(p, "name"), client_text(p, "state"),
                   client_text(p, "reason"));
    }
}

static void print_head(const json_t *status)
{
    char up[TEXT_SPAN_MAX];
    text_span(number_of(status, "uptime_s"), up);
    bool ready = json_is_true(json_object_get(status, "ready"));
    const char *why = client_text(status, "not_ready_because");
    printf("snapshotd %s, %s%s%s, up %s, pid %.0f\n", client_text(status, "version"),
           ready ? "ready" : "not ready", why[0] ? ": " : "", why, up, number_of(status, "pid"));

    print_health(json_object_get(status, "health"));
    const json_t *detector = json_object_get(status, "detector");
    const char *description = client_text(detector, "description");
    printf("  detector  %s\n", description[0] ? description : client_text(detector, "name"));
    if (strcmp(client_text(detector, "name"), "none") != 0)
        printf("            by: %s, because %s\n", client_text(detector, "name"),
               client_text(detector, "why"));
    print_cloud(json_object_get(status, "cloud"));

    print_secrets(json_object_get(status, "secrets"));
    const json_t *counts = json_object_get(status, "counts");
    printf("  pictures  %.0f kept, %.0f with persons, %.0f wait for detection\n",
           number_of(counts, "snapshots"), number_of(counts, "persons"),
           number_of(counts, "stored"));
    printf("  triggers  %.0f pending, %.0f failed\n", number_of(counts, "triggers_pending"),
           number_of(counts, "triggers_failed"));
    print_broker(status);
    print_control(json_object_get(json_object_get(status, "broker"), "triggers"));
    print_ftp(json_object_get(status, "ftp"));
    print_spool(json_object_get(status, "spool"));
    print_storages(json_object_get(status, "storages"));
    print_log(json_object_get(status, "log"));
    print_errors(json_object_get(status, "errors"));
    print_fan(json_object_get(status, "fan"));
    print_cloudwatch(json_object_get(status, "cloudwatch"));
    const json_t *disk = json_object_get(status, "disk");
    if (disk) {
        char left[32], reserve[32];
        format_bytes(number_of(disk, "free_bytes"), left, sizeof(left));
        format_bytes(number_of(disk, "reserve_bytes"), reserve, sizeof(reserve));
        printf("  disk      %s free", left);
        if (number_of(disk, "reserve_bytes") > 0)
            printf(", new pictures are refused below %s", reserve);
        printf("\n");
    }
}

/* Only what is out of the ordinary: debug lines, a place that is away, lines that were lost. */
static void print_log(const json_t *log)
{
    const char *place = client_text(log, "place");
    double lost = number_of(log, "lost");
    bool debugging = json_is_true(json_object_get(log, "debugging"));
    if (!debugging && lost == 0 && !strstr(place, ": away"))
        return;
    printf("  log       %s%s", place, debugging ? "; debug lines are on (signal USR1)" : "");
    if (lost > 0)
        printf("; %.0f line%s lost", lost, lost == 1 ? "" : "s");
    printf("\n");
}

/* How triggers come from the broker; nothing when there is none. */
static void print_control(const json_t *triggers)
{
    if (!json_is_object(triggers))
        return;
    const char *address = client_text(triggers, "address"),
               *why = client_text(triggers, "last_error");
    if (strcmp(client_text(triggers, "state"), "connected") == 0)
        printf("  rabbitmq  triggers come from %s, queue %s", address,
               client_text(triggers, "queue"));
    else if (why[0])
        printf("  rabbitmq  no triggers: %s; trying again", why);
    else
        printf("  rabbitmq  connecting%s%s", address[0] ? " to " : "", address);
    double waiting = number_of(triggers, "waiting");
    if (waiting > 0)
        printf("; %.0f wait until the ledger can take them", waiting);
    printf("\n");
}

/* "ftp       cameras push to 127.0.0.1:2121; 3 sessions, 1 uploading; 120 stored, 2 failed" */
static void print_ftp(const json_t *ftp)
{
    if (!json_is_object(ftp))
        return; /* a daemon of before there was one */
    const char *off = client_text(ftp, "off"), *error = client_text(ftp, "last_error");
    if (off[0]) {
        printf("  ftp       off: %s\n", off);
        return;
    }
    double sessions = number_of(ftp, "sessions"), banned = number_of(ftp, "banned");
    printf(
        "  ftp       cameras push to %s; %.0f session%s, %.0f uploading; %.0f stored, %.0f failed",
        client_text(ftp, "listen"), sessions, sessions == 1 ? "" : "s", number_of(ftp, "uploads"),
        number_of(ftp, "stored"), number_of(ftp, "failed"));
    if (banned > 0)
        printf("; %.0f address%s shut out", banned, banned == 1 ? "" : "es");
    printf("%s%s\n", error[0] ? "; last error: " : "", error);
}

/* "errors    go to https://sentry.example.org: 3 sent, 2 wait: connection refused" */
static void print_errors(const json_t *errors)
{
    if (!json_is_true(json_object_get(errors, "on")))
        return;
    const char *why = client_text(errors, "last_error");
    printf("  errors    go to %s: %.0f sent, %.0f wait", client_text(errors, "where"),
           number_of(errors, "sent"), number_of(errors, "waiting"));
    if (number_of(errors, "dropped") > 0)
        printf(", %.0f dropped", number_of(errors, "dropped"));
    printf("%s%s\n", why[0] ? ": " : "", why);
}

/* "  fan       thermal-fan-est 52.5 degrees, pwm-fan at 31 %" */
static void print_fan(const json_t *fan)
{
    if (!json_is_object(fan))
        return;
    const char *state = client_text(fan, "state"), *error = client_text(fan, "last_error");
    if (strcmp(state, "running") == 0)
        printf("  fan       %s %.1f degrees, %s at %.0f %%\n", client_text(fan, "sensor"),
               number_of(fan, "celsius"), client_text(fan, "output"),
               number_of(fan, "pwm") * 100 / FAN_PWM_MAX);
    else
        printf("  fan       %s: %s\n", strcmp(state, "safe") == 0 ? "full speed" : state,
               error[0] ? error : "no answer from the kernel");
}

/* "  watched   ftp, data/ftp: 12 taken, 1 refused, 2 settle; left alone: 3 video" */
static void print_spool(const json_t *folders)
{
    static const struct {
        const char *key, *word;
        bool always;
    } numbers[] = {{"taken", "taken", true},
                   {"repeated", "known already", false},
                   {"refused", "refused", false},
                   {"settling", "settling", false},
                   {"taking", "being taken", false}};
    for (size_t i = 0; i < json_array_size(folders); i++) {
        const json_t *f = json_array_get(folders, i);
        const char *trouble = client_text(f, "last_error"),
                   *unknown = client_text(f, "unknown_folder");
        printf("  watched   %s, %s%s:", client_text(f, "name"), client_text(f, "path"),
               json_is_true(json_object_get(f, "polling")) ? " (by looking again and again)" : "");
        for (size_t k = 0, shown = 0; k < ARRAY_LEN(numbers); k++)
            if (numbers[k].always || number_of(f, numbers[k].key) > 0)
                printf("%s %.0f %s", shown++ ? "," : "", number_of(f, numbers[k].key),
                       numbers[k].word);
        const char *reason;
        json_t *count;
        const char *before = "; left alone: ";
        json_object_foreach((json_t *)(uintptr_t)json_object_get(f, "left"), reason, count)
        {
            printf("%s%.0f %s", before, json_number_value(count), reason);
            before = ", ";
        }
        if (unknown[0])
            printf(" (in %s)", unknown);
        printf("%s%s\n", trouble[0] ? "; " : "", trouble);
    }
}

/* "gdrive    away for 3 min: HTTP 503; 128 files wait, the oldest for 2 h 5 min, next try in 8 s"
 */
static void print_storage(const json_t *s)
{
    char span[TEXT_SPAN_MAX], left[32];
    struct wall_time since;
    const char *state = client_text(s, "state"), *error = client_text(s, "last_error"),
               *description = client_text(s, "description"),
               *tidying = client_text(s, "archive_error");
    double pending = number_of(s, "pending"), dead = number_of(s, "dead");
    bool well = strcmp(state, "well") == 0;
    printf("  %-8s  %s", client_text(s, "name"), well ? description : state);
    if (!well && wall_parse_iso(client_text(s, "trouble_since"), &since) == 0)
        printf(" for %s", text_span((double)(clock_wall().us - since.us) / 1e6, span));
    printf("%s%s; %.0f kept, %.0f wait%s", error[0] ? ": " : "", error, number_of(s, "kept"),
           pending, pending == 1 ? "s" : "");
    if (pending > 0)
        printf(", the oldest for %s", text_span(number_of(s, "oldest_pending_s"), span));
    if (!well)
        printf(", next try in %s", text_span(number_of(s, "next_try_ms") / 1000, span));
    if (dead > 0)
        printf("; %.0f given up", dead);
    const json_t *room = json_object_get(s, "free_bytes");
    if (json_is_integer(room) && !strstr(description, " free")) { /* a folder says it itself */
        format_bytes(json_number_value(room), left, sizeof(left));
        printf("; %s free", left);
    }
    printf("%s%s\n", tidying[0] ? "; tidying failed: " : "", tidying);
}

static void print_storages(const json_t *storages)
{
    for (size_t i = 0; i < json_array_size(storages); i++)
        print_storage(json_array_get(storages, i));
}

/* "metrics   CloudWatch in eu-west-1: 12 counts taken, 3 wait; ...: HTTP 503; next try in 8 s" */
static void print_cloudwatch(const json_t *c)
{
    char span[TEXT_SPAN_MAX];
    if (!json_is_object(c) || strcmp(client_text(c, "state"), "off") == 0)
        return;
    bool well = strcmp(client_text(c, "state"), "well") == 0;
    double waiting = number_of(c, "waiting"), dropped = number_of(c, "dropped");
    printf("  metrics   CloudWatch in %s: %.0f counts taken", client_text(c, "region"),
           number_of(c, "taken"));
    if (waiting > 0)
        printf(", %.0f wait", waiting);
    if (dropped > 0)
        printf(", %.0f dropped", dropped);
    if (!well)
        printf("; %s; next try in %s", client_text(c, "last_error"),
               text_span(number_of(c, "next_try_ms") / 1000, span));
    printf("\n");
}

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void format_bytes(double bytes, char *out, size_t size)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    size_t unit = 0;
    while (bytes >= 1000 && unit + 1 < ARRAY_LEN(units)) {
        bytes /= 1000;
        unit++;
    }
    (void)text_format(out, size, bytes < 10 && unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

/* ---- tables ---- */

static size_t shown_width(const char *s);
static const char *colour_of(const char *title, const char *cell);
static void print_cell(const char *cell, size_t width, bool right, bool last, const char *colour);

static void print_table(const json_t *rows, const struct column *columns, size_t count)
{
    size_t row_count = json_array_size(rows);
    if (row_count == 0)
        return;
    char(*cells)[COLUMNS_MAX][CELL_MAX] = xcalloc(row_count + 1, sizeof(*cells));
    size_t widths[COLUMNS_MAX] = {0};
    for (size_t r = 0; r <= row_count; r++) {
        for (size_t c = 0; c < count; c++) {
            if (r == 0)
                text_copy(cells[r][c], CELL_MAX, columns[c].title); /* fits */
            else
                columns[c].write(json_array_get(rows, r - 1), columns[c].key, cells[r][c]);
            widths[c] = MAX(widths[c], shown_width(cells[r][c]));
        }
    }
    bool colours = isatty(STDOUT_FILENO) == 1 && !getenv("NO_COLOR");
    printf("\n");
    for (size_t r = 0; r <= row_count; r++) {
        size_t end = count; /* no blanks behind the last cell with something in it */
        while (end > 0 && !cells[r][end - 1][0])
            end--;
        for (size_t c = 0; c < end; c++) {
            const char *colour = r == 0 ? "\033[2m" : colour_of(columns[c].title, cells[r][c]);
            print_cell(cells[r][c], widths[c], columns[c].right, c + 1 == end,
                       colours ? colour : "");
        }
        printf("\n");
    }
    free(cells);
}

static void print_cell(const char *cell, size_t width, bool right, bool last, const char *colour)
{
    int fill = (int)(width - shown_width(cell));
    printf("%*s%s%s%s", right ? fill : 0, "", colour, cell, colour[0] ? "\033[0m" : "");
    if (!last)
        printf("%*s", right ? 2 : fill + 2, "");
}

/* Characters, as far as counting code points tells. */
static size_t shown_width(const char *s)
{
    size_t width = 0;
    for (; *s; s++)
        width += ((unsigned char)*s & 0xc0) != 0x80;
    return width;
}

static const char *colour_of(const char *title, const char *cell)
{
    static const char *const good[] = {"ok", "running"};
    static const char *const calm[] = {"unknown", "off", "idle", "pushes"};
    if (strcmp(title, "LAST ERROR") == 0)
        return "\033[33m";
    if (strcmp(title, "STATE") != 0)
        return "";
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (strcmp(cell, good[i]) == 0)
            return "\033[32m";
    for (size_t i = 0; i < ARRAY_LEN(calm); i++)
        if (strcmp(cell, calm[i]) == 0)
            return "";
    return "\033[31m";
}

static void write_text(const json_t *row, const char *key, char out[CELL_MAX])
{
    (void)text_copy(out, CELL_MAX, client_text(row, key)); /* cut is fine */
}

static void write_number(const json_t *row, const char *key, char out[CELL_MAX])
{
    (void)text_format(out, CELL_MAX, "%.0f", number_of(row, key)); /* fits */
}

static void write_ms(const json_t *row, const char *key, char out[CELL_MAX])
{
    double ms = number_of(row, key);
    if (ms > 0)
        (void)text_format(out, CELL_MAX, "%.0f ms", ms); /* fits */
}

static void write_age(const json_t *row, const char *key, char out[CELL_MAX])
{
    struct wall_time at;
    if (wall_parse_iso(client_text(row, key), &at) < 0) {
        (void)text_copy(out, CELL_MAX, "never"); /* fits */
        return;
    }
    char span[TEXT_SPAN_MAX];
    (void)text_format(out, CELL_MAX, "%s ago",
                      text_span((double)(clock_wall().us - at.us) / 1e6, span)); /* fits */
}
