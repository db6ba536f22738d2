/* snapshotd camera-sim: a simulated camera for demos, tests, and trying out a configuration. */

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

#include "app/command.h"
#include "base/dynbuf.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "sim/camera_sim.h"

#define CAMERAS_MAX 256 /* one port each */
#define FAULTS_MAX 16

static int run(int argc, char **argv);

const struct command command_camera_sim = {
    .name = "camera-sim",
    .arguments = "[OPTION]... PATH | --camera NAME=PATH...",
    .summary = "a simulated IP camera that serves a folder or one picture",
    .help =
        "  PATH                    a picture, or a folder whose pictures are served in name order\n"
        "  --camera NAME=PATH      one of several cameras, each on the next port; repeatable\n"
        "  --listen HOST:PORT      numeric address; port 0 takes a free one (127.0.0.1:0)\n"
        "  --user U --password P   the login that is wanted; without a user none is\n"
        "  --auth none|basic|digest|both    where the login goes by header (basic)\n"
        "  --digest md5|md5-sess|sha-256|rfc2069    form of the digest challenge (md5)\n"
        "  --nonce-uses N          a digest challenge is stale after N answers (0: never)\n"
        "  --reolink-token         Reolink's pictures want a token, not the login in the query\n"
        "  --onvif-http            ONVIF's services want the login by header, not WS-Security\n"
        "  --clock SECONDS         how far the camera's clock is ahead (0; negative: behind)\n"
        "  --fps F                 frames follow the clock; else each request gets the next one\n"
        "  --loop, --once          start over after the last frame (default), or stay there\n"
        "  --delay MS              before each answer\n"
        "  --fault NAME[:PARAM][@N|@P%]     misbehave, at each N-th request or with P percent;\n"
        "                          repeatable; --list-faults shows them. At run time:\n"
        "                          /sim/fault?set=... ; /sim/stats tells what was served\n"
        "The picture is at /snapshot.jpg, a stream of it at /video.mjpg, and both where Foscam,\n"
        "Hikvision, Dahua, Axis, Reolink and ONVIF cameras have them (see doc/cameras.md).\n",
    .run = run,
};

enum {
    OPT_CAMERA = 256,
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
};

static const struct option options[] = {
    {"camera", required_argument, NULL, OPT_CAMERA},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"user", required_argument, NULL, OPT_USER},
    {"password", required_argument, NULL, OPT_PASSWORD},
    {"auth", required_argument, NULL, OPT_AUTH},
    {"digest", required_argument, NULL, OPT_DIGEST},
    {"nonce-uses", required_argument, NULL, OPT_NONCE_USES},
    {"reolink-token", no_argument, NULL, OPT_REOLINK_TOKEN},
    {"onvif-http", no_argument, NULL, OPT_ONVIF_HTTP},
    {"clock", required_argument, NULL, OPT_CLOCK},
    {"fps", required_argument, NULL, OPT_FPS},
    {"loop", no_argument, NULL, OPT_LOOP},
    {"once", no_argument, NULL, OPT_ONCE},
    {"delay", required_argument, NULL, OPT_DELAY},
    {"fault", required_argument, NULL, OPT_FAULT},
    {"list-faults", no_argument, NULL, OPT_LIST_FAULTS},
    {"help", no_argument, NULL, 'h'},
    {0},
};

struct setup {
    struct camera_sim_options options;
    struct camera_sim_source sources[CAMERAS_MAX];
    const char *faults[FAULTS_MAX + 1];
    size_t fault_count;
    bool help, list_faults;
};

static int parse_options(int argc, char **argv, struct setup *ret);
static int serve(const struct camera_sim_options *options);

static int run(int argc, char **argv)
{
    struct setup s = {
        .options = {.listen = "127.0.0.1:0", .auth = SIM_AUTH_BASIC},
    };
    int status = parse_options(argc, argv, &s);
    if (status != EXIT_DONE)
        return status;
    if (s.help)
        return command_help(&command_camera_sim);
    if (s.list_faults) {
        AUTO_DONE(dynbuf) text;
        dynbuf_init(&text, 64 * 1024);
        camera_sim_describe_faults(&text);
        fputs(dynbuf_str(&text), stdout);
        return EXIT_DONE;
    }
    s.options.sources = s.sources;
    s.options.faults = s.faults;
    return serve(&s.options);
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
        if (parse_int64(optarg, len, -2000000000, 2000000000, &number) < 0)
            return bad_number("clock");
        o->clock_ahead_s = (int)number;
        return EXIT_DONE;
    case OPT_FPS:
        return parse_double(optarg, len, 0, 1000, &o->fps) < 0 ? bad_number("fps") : EXIT_DONE;
    case OPT_LOOP:
        o->once = false;
        return EXIT_DONE;
    case OPT_ONCE:
        o->once = true;
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
        return command_usage(&command_camera_sim, "see above");
    }
}

static int parse_options(int argc, char **argv, struct setup *ret)
{
    int option;
    optind = 0; /* the caller may have used getopt for its own arguments */
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        int status = take_option(option, ret);
        if (status != EXIT_DONE)
            return status;
    }
    for (; optind < argc; optind++) {
        int status = add_source(ret, argv[optind], false);
        if (status != EXIT_DONE)
            return status;
    }
    if (!ret->options.source_count && !ret->help && !ret->list_faults)
        return command_usage(&command_camera_sim, "a picture or a folder is needed");
    return EXIT_DONE;
}

static int serve(const struct camera_sim_options *options_)
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
    if (camera_sim_new(options_, &sim, &e) < 0)
        return command_error(EXIT_FAILED, "camera-sim: %s", e.text);
    for (size_t i = 0; i < camera_sim_count(sim); i++) {
        const char *name = camera_sim_name(sim, i);
        printf("camera-sim: listening on %s%s%s%s\n", camera_sim_address(sim, i), *name ? " (" : "",
               name, *name ? ")" : "");
    }
    fflush(stdout);
    if (camera_sim_run(sim, stop_fd, &e) < 0)
        return command_error(EXIT_FAILED, "camera-sim: %s", e.text);
    return EXIT_DONE;
}
