/* snapshotd camera-sim: a simulated camera for demos, tests, and trying out a configuration. */

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "app/command.h"
#include "base/clock.h"
#include "base/dynbuf.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "sim/camera_sim.h"
#include "sim/sim_fault.h"
#include "sim/sim_push.h"

#define CAMERAS_MAX 256 /* one port each */
#define FAULTS_MAX 16
#define CLOCK_MAX_S 2000000000 /* 63 years */

static int run(int argc, char **argv);

enum {
    OPT_CAMERA = COMMAND_OPTION_ID,
    OPT_LISTEN,
    OPT_USER,
    OPT_PASSWORD,
    OPT_AUTH,
    OPT_DIGEST,
    OPT_NONCE_USES,
    OPT_REOLINK_TOKEN,
    OPT_ONVIF_HTTP,
    OPT_CLOCK,
    OPT_FPS,
    OPT_LOOP,
    OPT_ONCE,
    OPT_DELAY,
    OPT_FAULT,
    OPT_LIST_FAULTS,
    OPT_PUSH,
    OPT_PUSH_AS,
    OPT_PUSH_USER,
    OPT_PUSH_PASSWORD,
    OPT_PUSH_FOLDER,
    OPT_PUSH_DEVICE,
    OPT_PUSH_EVENT,
    OPT_PUSH_HABITS,
    OPT_PUSH_TLS,
    OPT_PUSH_IMPLICIT,
    OPT_PUSH_TEST,
    OPT_PUSH_COUNT,
    OPT_PUSH_PARALLEL,
    OPT_INTERVAL,
    OPT_BURST,
    OPT_PUSH_TRIES,
    OPT_PUSH_RETRY,
    OPT_PUSH_KEEPALIVE,
    OPT_PUSH_TIMEOUT,
    OPT_PUSH_FAULT,
    OPT_PUSH_TRACE,
    OPT_LIST_PUSHERS,
};

static const struct command_option option_rows[] = {
    {0, "camera", "NAME=PATH", OPT_CAMERA,
     "one of several cameras, each on the next port; repeatable"},
    {0, "listen", "HOST:PORT", OPT_LISTEN,
     "numeric address; port 0 takes a free one (127.0.0.1:0)"},
    {0, "user", "NAME", OPT_USER, "the login that is wanted; without a user none is"},
    {0, "password", "PASSWORD", OPT_PASSWORD, "its password"},
    {0, "auth", "none|basic|digest|both", OPT_AUTH, "where the login goes by header (basic)"},
    {0, "digest", "md5|md5-sess|sha-256|rfc2069", OPT_DIGEST, "form of the digest challenge (md5)"},
    {0, "nonce-uses", "N", OPT_NONCE_USES,
     "a digest challenge is stale after N answers (0: never)"},
    {0, "reolink-token", NULL, OPT_REOLINK_TOKEN,
     "Reolink's pictures want a token, not the login in the query"},
    {0, "onvif-http", NULL, OPT_ONVIF_HTTP,
     "ONVIF's services want the login by header, not WS-Security"},
    {0, "clock", "SECONDS|TIME", OPT_CLOCK,
     "how far the camera's clock is ahead (0; negative: behind), or what it shows at the start: "
     "1970-01-01T00:00:10Z"},
    {0, "fps", "F", OPT_FPS, "frames follow the clock; else each request gets the next one"},
    {0, "loop", NULL, OPT_LOOP, "start over after the last frame (default)"},
    {0, "once", NULL, OPT_ONCE, "stay at the last frame"},
    {0, "delay", "MS", OPT_DELAY, "before each answer"},
    {0, "fault", "NAME[:PARAM][@N|@P%]", OPT_FAULT,
     "misbehave, at each N-th request or with P percent; repeatable. At run time: "
     "/sim/fault?set=... ; /sim/stats tells what was served"},
    {0, "list-faults", NULL, OPT_LIST_FAULTS, "the faults that there are"},
    {0, "push", "HOST:PORT", OPT_PUSH, "pushes the pictures by FTP, too"},
    {0, "push-as", "MAKER", OPT_PUSH_AS,
     "names and habits of: foscam (default), dahua, amcrest, hikvision, reolink, axis, "
     "axis-fixed, simple, counter"},
    {0, "list-pushers", NULL, OPT_LIST_PUSHERS, "the makers and their habits"},
    {0, "push-user", "NAME", OPT_PUSH_USER,
     "the FTP login; in it, in the password, in the folder and in the device {name} is the "
     "camera's "
     "name"},
    {0, "push-password", "PASSWORD", OPT_PUSH_PASSWORD,
     "its password; as env:NAME it comes from the environment"},
    {0, "push-folder", "DIR", OPT_PUSH_FOLDER, "the folder that is set in the camera's page"},
    {0, "push-device", "NAME", OPT_PUSH_DEVICE, "as it calls itself in names and folders"},
    {0, "push-event", "motion|human|timer", OPT_PUSH_EVENT, "what the pictures are of (motion)"},
    {0, "push-habits", "[no-]HABIT,...", OPT_PUSH_HABITS,
     "beside or instead of the maker's; see --list-pushers"},
    {0, "push-tls", "FILE", OPT_PUSH_TLS,
     "AUTH TLS; certificates are signed by those in this file"},
    {0, "push-implicit", NULL, OPT_PUSH_IMPLICIT, "TLS from the first byte"},
    {0, "push-test", NULL, OPT_PUSH_TEST,
     "presses the test button first: a text, stored and deleted"},
    {0, "push-count", "N", OPT_PUSH_COUNT, "pictures of each camera; then it ends (0: no end)"},
    {0, "push-parallel", "N", OPT_PUSH_PARALLEL, "sessions of each camera at once (1)"},
    {0, "interval", "TIME", OPT_INTERVAL, "between two events (5s)"},
    {0, "burst", "N", OPT_BURST, "pictures of each event (1)"},
    {0, "push-tries", "N", OPT_PUSH_TRIES, "of one picture before it is lost (5; 0: no end)"},
    {0, "push-retry", "TIME", OPT_PUSH_RETRY, "pause after a failure; doubles each time (1s)"},
    {0, "push-keepalive", "TIME", OPT_PUSH_KEEPALIVE, "of kept sessions (30s)"},
    {0, "push-timeout", "TIME", OPT_PUSH_TIMEOUT, "of replies (30s)"},
    {0, "push-fault", "NAME[:PARAM][@N|@P%]", OPT_PUSH_FAULT,
     "misbehave at uploads; --list-faults shows how"},
    {0, "push-trace", NULL, OPT_PUSH_TRACE, "prints the conversation with the server"},
    {0},
};

const struct command command_camera_sim = {
    .name = "camera-sim",
    .arguments = "[OPTION]... PATH | --camera NAME=PATH...",
    .summary = "a simulated IP camera that serves a folder or one picture",
    .help =
        "PATH is a picture, or a folder whose pictures are served in name order.\n"
        "\n"
        "The picture is at /snapshot.jpg, a stream of it at /video.mjpg, and both where Foscam,\n"
        "Hikvision, Dahua, Axis, Reolink and ONVIF cameras have them (see doc/cameras.md).\n",
    .options = option_rows,
    .operand = COMMAND_OPERAND_FILE,
    .run = run,
};

struct setup {
    struct camera_sim_options options;
    struct camera_sim_source sources[CAMERAS_MAX];
    const char *faults[FAULTS_MAX + 1];
    size_t fault_count;
    struct sim_push_options push; /* host NULL: it does not push */
    char push_host[256];
    const char *push_habits[FAULTS_MAX]; /* in their order, on top of the maker's */
    size_t push_habits_count;
    const char *push_faults[FAULTS_MAX + 1];
    size_t push_fault_count;
    bool help, list_faults, list_pushers;
};

static int parse_options(int argc, char **argv, struct setup *ret);
static void list_faults(void);
static void list_pushers(void);
static int finish_push(struct setup *s);
static int serve(const struct setup *s);

static int run(int argc, char **argv)
{
    struct setup s = {
        .options = {.listen = "127.0.0.1:0", .auth = SIM_AUTH_BASIC},
        .push = {.pusher = &sim_pushers[0],
                 .user = "",
                 .password = "",
                 .folder = "",
                 .interval_ms = 5000,
                 .burst = 1,
                 .parallel = 1,
                 .tries = 5,
                 .retry_ms = 1000,
                 .keepalive_ms = 30000,
                 .timeout_ms = 30000},
    };
    int status = parse_options(argc, argv, &s);
    if (status != EXIT_DONE)
        return status;
    if (s.help)
        return command_help(&command_camera_sim);
    if (s.list_faults) {
        list_faults();
        return EXIT_DONE;
    }
    if (s.list_pushers) {
        list_pushers();
        return EXIT_DONE;
    }
    s.options.sources = s.sources;
    s.options.faults = s.faults;
    if (s.push.host) {
        status = finish_push(&s);
        if (status != EXIT_DONE)
            return status;
    }
    return serve(&s);
}

static void list_faults(void)
{
    AUTO_DONE(dynbuf) text;
    dynbuf_init(&text, 64 * 1024);
    camera_sim_describe_faults(&text);
    printf("%s\n--push-fault:\n", dynbuf_str(&text));
    for (int i = 0; i < SIM_PUSH_FAULT_COUNT; i++) {
        const struct sim_fault_kind *k = &sim_push_fault_kinds[i];
        char name[64];
        (void)text_format(name, sizeof(name), "%s%s%s", k->name, k->parameter ? ":" : "",
                          k->parameter ? k->parameter : ""); /* fits */
        printf("  %-18s %s\n", name, k->help);
    }
}

static void list_pushers(void)
{
    for (size_t i = 0; i < SIM_PUSHER_COUNT; i++) {
        const struct sim_pusher *p = &sim_pushers[i];
        printf("  %-12s %s:", p->name, p->help);
        for (int h = 0; h < SIM_HABIT_COUNT; h++)
            if (p->habits & 1u << h)
                printf(" %s", sim_habit_kinds[h].name);
        printf("\n  %-12s %s%s%s\n", "", p->folder, *p->folder ? "/" : "", p->picture);
    }
    printf("\nhabits:\n");
    for (int h = 0; h < SIM_HABIT_COUNT; h++)
        printf("  %-12s %s\n", sim_habit_kinds[h].name, sim_habit_kinds[h].help);
}

/* Index of a name in a table, or -1 with a hint to the user. */
static int choose(const char *option, const char *value, const char *const *names, size_t count)
{
    int index;
    if (parse_choice(value, strlen(value), names, count, &index) == 0)
        return index;
    (void)command_usage(&command_camera_sim, "--%s: there is no '%s'", option, value);
    return -1;
}

static int add_source(struct setup *s, char *text, bool named)
{
    if (s->options.source_count == CAMERAS_MAX)
        return command_usage(&command_camera_sim, "more than %d cameras", CAMERAS_MAX);
    struct camera_sim_source *source = &s->sources[s->options.source_count];
    source->path = text;
    if (named) {
        char *equals = strchr(text, '=');
        if (!equals)
            return command_usage(&command_camera_sim, "--camera wants NAME=PATH");
        *equals = '\0';
        source->name = text;
        source->path = equals + 1;
    }
    s->options.source_count++;
    return EXIT_DONE;
}

static int bad_number(const char *option)
{
    return command_usage(&command_camera_sim, "--%s: not a number in range: '%s'", option, optarg);
}

/* Seconds, or the time that the clock shows now. */
static int take_clock(struct setup *s)
{
    int64_t ahead;
    struct wall_time shown;
    if (wall_parse_iso(optarg, &shown) == 0)
        ahead = wall_seconds(shown) - wall_seconds(clock_wall());
    else if (parse_int64(optarg, strlen(optarg), -CLOCK_MAX_S, CLOCK_MAX_S, &ahead) < 0)
        return bad_number("clock");
    if (ahead < -CLOCK_MAX_S || ahead > CLOCK_MAX_S)
        return bad_number("clock");
    s->options.clock_ahead_s = (int)ahead;
    s->push.clock_ahead_s = (int)ahead;
    return EXIT_DONE;
}

static int take_duration(const char *option, int64_t *ret)
{
    /* Up to a day; a bare number is seconds. */
    if (parse_duration_ms(optarg, strlen(optarg), 1000, 0, 86400000, ret) < 0)
        return command_usage(&command_camera_sim, "--%s: not a time as 500ms, 3s or 2m: '%s'",
                             option, optarg);
    return EXIT_DONE;
}

static int take_number(const char *option, int64_t min, int64_t max, int *ret)
{
    int64_t number;
    if (parse_int64(optarg, strlen(optarg), min, max, &number) < 0)
        return bad_number(option);
    *ret = (int)number;
    return EXIT_DONE;
}

/* HOST, HOST:PORT, [ADDRESS]:PORT */
static int take_push(struct setup *s)
{
    const char *host = optarg, *end = strrchr(optarg, ':');
    int64_t port = 21;
    if (*host == '[') {
        const char *bracket = strchr(host++, ']');
        end = bracket && (bracket[1] == ':' || !bracket[1]) ? bracket : host;
    }
    if (!end)
        end = host + strlen(host);
    const char *colon = *end == ']' ? end + 1 : end;
    int n = text_format(s->push_host, sizeof(s->push_host), "%.*s", (int)(end - host), host);
    if (n <= 0 || (*colon && parse_int64(colon + 1, strlen(colon + 1), 1, 65535, &port) < 0))
        return command_usage(&command_camera_sim, "--push wants HOST:PORT, not '%s'", optarg);
    s->push.host = s->push_host;
    s->push.port = (uint16_t)port;
    return EXIT_DONE;
}

static int take_push_password(struct setup *s)
{
    s->push.password = optarg;
    if (!text_starts_with(optarg, "env:"))
        return EXIT_DONE;
    s->push.password = getenv(optarg + strlen("env:"));
    if (!s->push.password)
        return command_usage(&command_camera_sim, "--push-password: %s is not set",
                             optarg + strlen("env:"));
    return EXIT_DONE;
}

static int take_pusher(struct setup *s)
{
    s->push.pusher = sim_pusher_find(optarg);
    if (!s->push.pusher)
        return command_usage(&command_camera_sim, "--push-as: there is no '%s'; see --list-pushers",
                             optarg);
    return EXIT_DONE;
}

static int take_push_option(int option, struct setup *s)
{
    struct sim_push_options *p = &s->push;
    int index, number = 0, status;
    switch (option) {
    case OPT_PUSH:
        return take_push(s);
    case OPT_PUSH_AS:
        return take_pusher(s);
    case OPT_PUSH_USER:
        p->user = optarg;
        return EXIT_DONE;
    case OPT_PUSH_PASSWORD:
        return take_push_password(s);
    case OPT_PUSH_FOLDER:
        p->folder = optarg;
        return EXIT_DONE;
    case OPT_PUSH_DEVICE:
        p->device = optarg;
        return EXIT_DONE;
    case OPT_PUSH_EVENT:
        index = choose("push-event", optarg, sim_event_names, SIM_EVENT_COUNT);
        p->event = (enum sim_event)MAX(index, 0);
        return index < 0 ? EXIT_USAGE : EXIT_DONE;
    case OPT_PUSH_HABITS:
        if (s->push_habits_count == FAULTS_MAX)
            return command_usage(&command_camera_sim, "more than %d lists of habits", FAULTS_MAX);
        s->push_habits[s->push_habits_count++] = optarg;
        return EXIT_DONE;
    case OPT_PUSH_TLS:
        p->tls_ca_file = optarg;
        if (p->tls == SIM_FTP_CLEAR)
            p->tls = SIM_FTP_AUTH_TLS;
        return EXIT_DONE;
    case OPT_PUSH_IMPLICIT:
        p->tls = SIM_FTP_IMPLICIT_TLS;
        return EXIT_DONE;
    case OPT_PUSH_TEST:
        p->test_button = true;
        return EXIT_DONE;
    case OPT_PUSH_COUNT:
        status = take_number("push-count", 0, 1000000000, &number);
        p->count = number;
        return status;
    case OPT_PUSH_PARALLEL:
        return take_number("push-parallel", 1, 1000, &p->parallel);
    case OPT_INTERVAL:
        return take_duration("interval", &p->interval_ms);
    case OPT_BURST:
        return take_number("burst", 1, 1000, &p->burst);
    case OPT_PUSH_TRIES:
        return take_number("push-tries", 0, 1000000, &p->tries);
    case OPT_PUSH_RETRY:
        return take_duration("push-retry", &p->retry_ms);
    case OPT_PUSH_KEEPALIVE:
        return take_duration("push-keepalive", &p->keepalive_ms);
    case OPT_PUSH_TIMEOUT:
        return take_duration("push-timeout", &p->timeout_ms);
    case OPT_PUSH_FAULT:
        if (s->push_fault_count == FAULTS_MAX)
            return command_usage(&command_camera_sim, "more than %d faults", FAULTS_MAX);
        s->push_faults[s->push_fault_count++] = optarg;
        return EXIT_DONE;
    case OPT_PUSH_TRACE:
        p->trace = true;
        return EXIT_DONE;
    case OPT_LIST_PUSHERS:
        s->list_pushers = true;
        return EXIT_DONE;
    default:
        return command_usage(&command_camera_sim, "see above");
    }
}

static int take_option(int option, struct setup *s)
{
    struct camera_sim_options *o = &s->options;
    size_t len = optarg ? strlen(optarg) : 0;
    int64_t number;
    int index;
    switch (option) {
    case OPT_CAMERA:
        return add_source(s, optarg, true);
    case OPT_LISTEN:
        o->listen = optarg;
        return EXIT_DONE;
    case OPT_USER:
        o->user = optarg;
        return EXIT_DONE;
    case OPT_PASSWORD:
        o->password = optarg;
        return EXIT_DONE;
    case OPT_AUTH:
        index = choose("auth", optarg, sim_auth_names, SIM_AUTH_COUNT);
        o->auth = (enum sim_auth)MAX(index, 0);
        return index < 0 ? EXIT_USAGE : EXIT_DONE;
    case OPT_DIGEST:
        index = choose("digest", optarg, sim_digest_names, SIM_DIGEST_COUNT);
        o->digest = (enum sim_digest)MAX(index, 0);
        return index < 0 ? EXIT_USAGE : EXIT_DONE;
    case OPT_NONCE_USES:
        if (parse_int64(optarg, len, 0, 1000000, &number) < 0)
            return bad_number("nonce-uses");
        o->nonce_uses = (int)number;
        return EXIT_DONE;
    case OPT_REOLINK_TOKEN:
        o->reolink_token = true;
        return EXIT_DONE;
    case OPT_ONVIF_HTTP:
        o->onvif_http_login = true;
        return EXIT_DONE;
    case OPT_CLOCK:
        return take_clock(s);
    case OPT_FPS:
        return parse_double(optarg, len, 0, 1000, &o->fps) < 0 ? bad_number("fps") : EXIT_DONE;
    case OPT_LOOP:
    case OPT_ONCE:
        o->once = s->push.once = option == OPT_ONCE;
        return EXIT_DONE;
    case OPT_DELAY:
        if (parse_int64(optarg, len, 0, 3600000, &number) < 0)
            return bad_number("delay");
        o->delay_ms = (int)number;
        return EXIT_DONE;
    case OPT_FAULT:
        if (s->fault_count == FAULTS_MAX)
            return command_usage(&command_camera_sim, "more than %d faults", FAULTS_MAX);
        s->faults[s->fault_count++] = optarg;
        return EXIT_DONE;
    case OPT_LIST_FAULTS:
        s->list_faults = true;
        return EXIT_DONE;
    case 'h':
        s->help = true;
        return EXIT_DONE;
    default:
        return take_push_option(option, s);
    }
}

static int parse_options(int argc, char **argv, struct setup *ret)
{
    int option;
    optind = 0; /* the caller may have used getopt for its own arguments */
    while ((option = command_next_option(&command_camera_sim, argc, argv)) != -1) {
        int status = take_option(option, ret);
        if (status != EXIT_DONE)
            return status;
    }
    for (; optind < argc; optind++) {
        int status = add_source(ret, argv[optind], false);
        if (status != EXIT_DONE)
            return status;
    }
    if (!ret->options.source_count && !ret->help && !ret->list_faults && !ret->list_pushers)
        return command_usage(&command_camera_sim, "a picture or a folder is needed");
    return EXIT_DONE;
}

static int finish_push(struct setup *s)
{
    struct err e = {0};
    s->push.sources = s->sources;
    s->push.source_count = s->options.source_count;
    s->push.faults = s->push_faults;
    s->push.habits = s->push.pusher->habits;
    for (size_t i = 0; i < s->push_habits_count; i++)
        if (sim_habits_parse(s->push_habits[i], &s->push.habits, &e) < 0)
            return command_usage(&command_camera_sim, "--push-habits: %s", e.text);
    if (!*s->push.user)
        return command_usage(&command_camera_sim, "--push wants --push-user and --push-password");
    if (s->push.tls != SIM_FTP_CLEAR && !s->push.tls_ca_file)
        return command_usage(&command_camera_sim, "--push-implicit wants --push-tls, too");
    return EXIT_DONE;
}

/* A descriptor that is readable when one of the two is. */
static int either(int a, int b)
{
    AUTO_CLOSE int fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event in = {.events = EPOLLIN};
    if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, a, &in) < 0 ||
        epoll_ctl(fd, EPOLL_CTL_ADD, b, &in) < 0)
        return -1;
    return STEAL_FD(fd);
}

/* Serves, and pushes beside that, until a signal comes or all is pushed. */
static int serve_and_push(struct camera_sim *sim, const struct setup *s, int signal_fd)
{
    struct err e = {0};
    AUTO(sim_push) push = NULL;
    if (sim_push_start(&s->push, &push, &e) < 0)
        return command_error(EXIT_FAILED, "camera-sim: %s", e.text);
    AUTO_CLOSE int stop_fd = either(signal_fd, sim_push_done_fd(push));
    if (stop_fd < 0)
        return command_error(EXIT_FAILED, "camera-sim: cannot wait for signals");
    int r = camera_sim_run(sim, stop_fd, &e);
    sim_push_stop(push);
    if (r < 0)
        return command_error(EXIT_FAILED, "camera-sim: %s", e.text);
    return sim_push_lost(push) ? EXIT_FAILED : EXIT_DONE;
}

static int serve(const struct setup *s)
{
    /* Before anything else, so that no signal falls between. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
        return command_error(EXIT_FAILED, "camera-sim: cannot block signals");
    (void)signal(SIGPIPE, SIG_IGN); /* clients go away at any time */
    AUTO_CLOSE int stop_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (stop_fd < 0)
        return command_error(EXIT_FAILED, "camera-sim: cannot wait for signals");

    struct err e = {0};
    AUTO(camera_sim) sim = NULL;
    if (camera_sim_new(&s->options, &sim, &e) < 0)
        return command_error(EXIT_FAILED, "camera-sim: %s", e.text);
    for (size_t i = 0; i < camera_sim_count(sim); i++) {
        const char *name = camera_sim_name(sim, i);
        printf("camera-sim: listening on %s%s%s%s\n", camera_sim_address(sim, i), *name ? " (" : "",
               name, *name ? ")" : "");
    }
    fflush(stdout);
    if (s->push.host)
        return serve_and_push(sim, s, stop_fd);
    if (camera_sim_run(sim, stop_fd, &e) < 0)
        return command_error(EXIT_FAILED, "camera-sim: %s", e.text);
    return EXIT_DONE;
}
