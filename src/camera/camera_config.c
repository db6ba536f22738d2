#include "camera/camera_config.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/dynbuf.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/text.h"
#include "camera/camera_kind.h"
#include "model/snapshot.h"
#include "sys/hash.h"

#define FIELD(name) offsetof(struct camera_cfg, name)
#define MINUTE 60000.0
#define DAY (24 * 60 * MINUTE)

static int check_kind(const void *value, char *why, size_t why_size);
static int check_headers(const void *value, char *why, size_t why_size);
static int check_pin(const void *value, char *why, size_t why_size);
static void check_camera(const void *values, const char *instance, struct cfg_faults *faults);

static const struct cfg_key default_keys[] = {
    {.name = "default_command",
     .type = CFG_STRING,
     .offset = offsetof(struct camera_defaults, default_command),
     .fallback = "/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2",
     .flags = CFG_RELOAD | CFG_ENV_NAME,
     .help = "What a foscam camera is asked for, unless it has a command of its own",
     .doc = "A bare command such as `snapPicture2`, or a whole path with its query. User and "
            "password are appended."},
    {.name = "default_image_format",
     .type = CFG_STRING,
     .offset = offsetof(struct camera_defaults, default_image_format),
     .fallback = "jpg",
     .flags = CFG_RELOAD | CFG_ENV_NAME,
     .help = "Image format that events name when a picture does not tell its own",
     .doc = "What a picture is, its first bytes tell; this is kept for files of the original."},
    {.name = "rtsp_path",
     .type = CFG_STRING,
     .flags = CFG_LATER | CFG_COMPAT | CFG_ENV_NAME,
     .help = "Path of the video stream"},
    {.name = "rtsp_capture_enabled",
     .type = CFG_STRING,
     .flags = CFG_LATER | CFG_COMPAT | CFG_ENV_NAME,
     .help = "Recording of video streams"},
    {.name = "rtsp_capture_duration_seconds",
     .type = CFG_STRING,
     .flags = CFG_LATER | CFG_COMPAT | CFG_ENV_NAME,
     .help = "Length of a recording"},
};

const struct cfg_section camera_defaults_cfg_section = {
    .name = "camera",
    .struct_size = sizeof(struct camera_defaults),
    .keys = default_keys,
    .key_count = ARRAY_LEN(default_keys),
    .help = "What cameras have in common",
};

static const char *const auth_choices[] = {"auto", "none", "basic", "digest", NULL};
static_assert(ARRAY_LEN(auth_choices) == CAMERA_AUTH_COUNT + 1, "a choice per camera_auth");

static const struct cfg_key keys[] = {
    {.name = "enabled",
     .type = CFG_BOOL,
     .offset = FIELD(enabled),
     .fallback = "yes",
     .flags = CFG_RELOAD,
     .help = "Whether this camera is asked for pictures, and those that it pushes are taken"},
    {.name = "kind",
     .type = CFG_STRING,
     .offset = FIELD(kind),
     .flags = CFG_RELOAD,
     .validate = check_kind,
     .help = "How to ask for a picture: the maker, or http, mjpeg, onvif, command; or push",
     .doc = "Empty means foscam for a camera with an address, and push for one without. "
            "`push` is never asked: it sends its pictures by FTP or into a watched folder, "
            "and needs no more than a location. `foscam`, `foscam-mjpeg` (models before HD), "
            "`hikvision`, `dahua` (also `amcrest`), "
            "`axis`, `reolink`, `onvif` (asks the camera where its picture is), `mjpeg` (a frame "
            "of a stream), `http` (any picture URL), `command` (a program that prints a picture, "
            "such as ffmpeg for RTSP). doc/cameras has a page for each."},
    {.name = "address",
     .type = CFG_ENDPOINT,
     .offset = FIELD(address),
     .flags = CFG_RELOAD,
     .help = "Where the camera is: host:port",
     .doc = "Foscam cameras listen on port 88. For kind http see `url`."},
    {.name = "url",
     .type = CFG_STRING,
     .offset = FIELD(url),
     .flags = CFG_RELOAD | CFG_HIDDEN,
     .help = "Kinds http and mjpeg: the URL of a picture, or of a stream",
     .doc = "May hold {user}, {password}, {time} (Unix seconds), {random}, {channel} and "
            "{address}; each value is percent-encoded. A URL with {user} or {password} sends the "
            "login there and not by header, unless `auth` says so."},
    {.name = "channel",
     .type = CFG_STRING,
     .offset = FIELD(channel),
     .flags = CFG_RELOAD,
     .help = "Which camera of a recorder, or which stream; the kind's first when empty",
     .doc = "hikvision: camera x 100 + stream, 101 when empty; dahua, amcrest, axis: from 1; "
            "reolink: from 0; onvif: a profile's number from 1, or its token; http, mjpeg and "
            "command: what {channel} stands for, 1 when empty."},
    {.name = "user",
     .type = CFG_STRING,
     .offset = FIELD(user),
     .flags = CFG_RELOAD,
     .help = "User name at the camera; one that may only look is best"},
    {.name = "password",
     .type = CFG_SECRET,
     .offset = FIELD(password),
     .flags = CFG_RELOAD,
     .help = "Password at the camera",
     .doc = "Some firmwares do not decode what a query must encode: for cameras that take the "
            "login in the query (foscam), letters and digits are the safe choice."},
    {.name = "auth",
     .type = CFG_CHOICE,
     .offset = FIELD(auth),
     .fallback = "auto",
     .choices = auth_choices,
     .flags = CFG_RELOAD,
     .help = "How to log in where the login goes by header",
     .doc = "`auto` takes digest when the camera offers it, and basic only over https: over plain "
            "http basic sends the password readable and wants `auth = basic`."},
    {.name = "location",
     .type = CFG_STRING,
     .offset = FIELD(location),
     .flags = CFG_RELOAD,
     .help = "Where the camera looks, e.g. Front Door; the section's name when empty",
     .doc = "With `type` this is the device key, \"Front Door Camera\", which names files and "
            "events."},
    {.name = "type",
     .type = CFG_STRING,
     .offset = FIELD(type),
     .fallback = "Camera",
     .flags = CFG_RELOAD,
     .help = "Second part of the device key"},
    {.name = "label",
     .type = CFG_STRING,
     .offset = FIELD(label),
     .flags = CFG_RELOAD,
     .help = "What people call it; the location when empty"},
    {.name = "directory",
     .type = CFG_STRING,
     .offset = FIELD(directory),
     .flags = CFG_RELOAD,
     .help = "Folder below the store; the location in lower case without spaces when empty"},
    {.name = "command",
     .type = CFG_STRING,
     .offset = FIELD(command),
     .flags = CFG_RELOAD,
     .help = "What to ask for instead of what the kind has by default",
     .doc = "foscam: a command such as `snapPicture2`, or a path; [camera] default_command when "
            "empty. Other kinds with a path of their own: another path, with the placeholders of "
            "`url`, for firmwares that differ; onvif: the path of its device service."},
    {.name = "program",
     .type = CFG_STRING,
     .offset = FIELD(program),
     .flags = CFG_RELOAD | CFG_HIDDEN,
     .help = "Kind command: a program with its arguments that prints one picture",
     .doc = "For instance `/usr/bin/ffmpeg -v error -rtsp_transport tcp -i "
            "rtsp://{user}:{password}@{address}/stream -frames:v 1 -f image2 -c:v mjpeg -`. No "
            "shell reads it: blanks part words, quotes hold them together. {address}, {user}, "
            "{password} and {channel} are filled in, percent-encoded in words that hold ://. It "
            "has `total_timeout` and `size_max`, then it is killed with all that it started."},
    {.name = "header",
     .type = CFG_LINES,
     .offset = FIELD(headers),
     .flags = CFG_RELOAD | CFG_HIDDEN,
     .validate = check_headers,
     .help = "Further header lines of the request, separated by semicolons",
     .doc = "For instance `X-Api-Key: 1234; Accept: image/jpeg`. They are not sent along when the "
            "camera redirects to another address."},
    {.name = "tls",
     .type = CFG_BOOL,
     .offset = FIELD(tls),
     .fallback = "no",
     .flags = CFG_RELOAD,
     .help = "https, for kinds that take an address (a url says it itself)"},
    {.name = "tls_verify",
     .type = CFG_BOOL,
     .offset = FIELD(tls_verify),
     .fallback = "yes",
     .flags = CFG_RELOAD,
     .help = "Whether the certificate must be valid; better than no: tls_ca_file or tls_pin"},
    {.name = "tls_ca_file",
     .type = CFG_PATH,
     .offset = FIELD(tls_ca_file),
     .flags = CFG_RELOAD,
     .help = "Certificates (PEM) to trust instead of the system's; a self-signed one works"},
    {.name = "tls_pin",
     .type = CFG_STRING,
     .offset = FIELD(tls_pin),
     .flags = CFG_RELOAD,
     .validate = check_pin,
     .help = "The camera's public key as sha256//BASE64; holds with tls_verify = no as well"},
    {.name = "tls_legacy",
     .type = CFG_BOOL,
     .offset = FIELD(tls_legacy),
     .fallback = "no",
     .flags = CFG_RELOAD,
     .help = "Allow TLS 1.0, short keys and old digests, for cameras that know nothing better"},
    {.name = "http09",
     .type = CFG_BOOL,
     .offset = FIELD(http09),
     .fallback = "no",
     .flags = CFG_RELOAD,
     .help = "Accept a picture without any HTTP header, as a few old cameras send it"},
    {.name = "connect_timeout",
     .type = CFG_DURATION,
     .offset = FIELD(connect_timeout_ms),
     .fallback = "4s",
     .min = 100,
     .max = MINUTE,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "For the name, the connection and TLS"},
    {.name = "stall_timeout",
     .type = CFG_DURATION,
     .offset = FIELD(stall_timeout_ms),
     .fallback = "4s",
     .min = 100,
     .max = MINUTE,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "So long may a connected camera send nothing"},
    {.name = "total_timeout",
     .type = CFG_DURATION,
     .offset = FIELD(total_timeout_ms),
     .fallback = "15s",
     .min = 100,
     .max = 10 * MINUTE,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "For the whole request, however steadily it drips"},
    {.name = "size_max",
     .type = CFG_SIZE,
     .offset = FIELD(size_max),
     .fallback = "32MB",
     .min = 1024,
     .max = 256 << 20,
     .unit = "bytes",
     .flags = CFG_RELOAD,
     .help = "Longer answers are cut off and refused"},
    {.name = "tries",
     .type = CFG_INT,
     .offset = FIELD(tries),
     .fallback = "3",
     .min = 1,
     .max = 20,
     .flags = CFG_RELOAD,
     .help = "Attempts in a row for a picture before it waits"},
    {.name = "retry_delay",
     .type = CFG_DURATION,
     .offset = FIELD(retry_delay_ms),
     .fallback = "100ms",
     .max = MINUTE,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "Between attempts in a row"},
    {.name = "give_up",
     .type = CFG_DURATION,
     .offset = FIELD(give_up_ms),
     .fallback = "60s",
     .min = 100,
     .max = DAY,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "A trigger without a picture after so long has failed"},
    {.name = "burst",
     .type = CFG_INT,
     .offset = FIELD(burst),
     .fallback = "1",
     .min = 1,
     .max = CAMERA_BURST_MAX,
     .flags = CFG_RELOAD,
     .help = "Pictures to take for one trigger; the best is kept"},
    {.name = "burst_time",
     .type = CFG_DURATION,
     .offset = FIELD(burst_time_ms),
     .fallback = "1s",
     .max = 30000,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "From the first to the last picture of a burst"},
    {.name = "check_fresh",
     .type = CFG_BOOL,
     .offset = FIELD(check_fresh),
     .fallback = "yes",
     .flags = CFG_RELOAD,
     .help = "Whether a picture that did not change, or is old, is asked for once more",
     .doc = "A camera that hangs may answer with the same picture for hours. Such a picture is "
            "marked `stale` in its life story, counted, and kept all the same when the second is "
            "no better. Switch it off for pictures that change by the minute or never."},
    {.name = "cascade_low",
     .type = CFG_DOUBLE,
     .offset = FIELD(cascade_low),
     .fallback = "0",
     .min = 0,
     .max = 1,
     .unit = "0..1",
     .flags = CFG_RELOAD,
     .help = "Like [detection] cascade_low, for this camera; 0 = that one"},
    {.name = "cascade_high",
     .type = CFG_DOUBLE,
     .offset = FIELD(cascade_high),
     .fallback = "0",
     .min = 0,
     .max = 1.01,
     .unit = "0..1",
     .flags = CFG_RELOAD,
     .help = "Like [detection] cascade_high, for this camera; 0 = that one"},
    {.name = "interval",
     .type = CFG_DURATION,
     .offset = FIELD(interval_ms),
     .fallback = "0",
     .max = 7 * DAY,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "A picture so often, without any trigger; 0 = no"},
    {.name = "times",
     .type = CFG_LINES,
     .offset = FIELD(times),
     .flags = CFG_RELOAD,
     .help = "Pictures at set times: cron lines (minute hour day month weekday), separated by "
             "semicolons"},
};

const struct cfg_section camera_cfg_section = {
    .name = "camera",
    .named = true,
    .struct_size = sizeof(struct camera_cfg),
    .keys = keys,
    .key_count = ARRAY_LEN(keys),
    .help = "One camera; any number of sections, each with a name of its own",
    .check = check_camera,
};

struct entry {
    struct camera cam;
    char *device_key, *label, *directory, *name; /* those that are not the configuration's */
};

struct camera_set {
    unsigned refs;
    struct cfg *cfg;
    struct cfg *bare; /* see bare_section() */
    struct entry **entries;
    size_t count;
};

/* A camera that nobody said how to ask is one that pushes. */
static const char *kind_of(const struct camera_cfg *c)
{
    bool asked = *c->address || *c->url || *c->program || *c->command || *c->user;
    return *c->kind ? c->kind : asked ? "foscam" : "push";
}

/* One that pushes may be asked all the same, by a trigger that brings its address along. */
static bool takes_default_command(const char *kind)
{
    return strcmp(kind, "foscam") == 0 || strcmp(kind, "push") == 0;
}

static struct camera convert(const char *name, const struct camera_cfg *c,
                             const struct camera_defaults *defaults);
static int name_entry(struct entry *entry, const char *location, const char *type,
                      const char *label, const char *directory, struct err *e);
static const struct camera_cfg *bare_section(struct camera_set *s, struct err *e);
static void add(struct camera_set *s, struct entry *entry);
static void entry_free(struct entry *entry);

int camera_set_load(const struct cfg *cfg, struct camera_set **ret, struct err *e)
{
    AUTO(camera_set) s = xcalloc(1, sizeof(*s));
    s->refs = 1;
    s->cfg = cfg_ref((struct cfg *)cfg); /* counting is not changing */
    const struct camera_defaults *defaults = cfg_values(cfg, &camera_defaults_cfg_section);
    for (size_t i = 0; i < cfg_instance_count(cfg, &camera_cfg_section); i++) {
        const char *name = cfg_instance_name(cfg, &camera_cfg_section, i);
        const struct camera_cfg *c = cfg_instance_values(cfg, &camera_cfg_section, i);
        struct entry *entry = xcalloc(1, sizeof(*entry));
        entry->cam = convert(name, c, defaults);
        int r = name_entry(entry, *c->location ? c->location : name, c->type, c->label,
                           c->directory, e);
        if (r < 0) {
            entry_free(entry);
            return r;
        }
        const struct camera *twin = camera_set_find_device(s, entry->cam.device_key);
        if (twin) {
            r = err_set(e, -EEXIST, ERR_NEVER,
                        "[camera:%s] and [camera:%s] are both the device '%s': give one another "
                        "location or type",
                        twin->name, name, twin->device_key);
            entry_free(entry);
            return r;
        }
        add(s, entry);
    }
    *ret = STEAL(s);
    return 0;
}

struct camera_set *camera_set_ref(struct camera_set *s)
{
    if (s)
        __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
    return s;
}

void camera_set_unref(struct camera_set *s)
{
    if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < s->count; i++)
        entry_free(s->entries[i]);
    free(s->entries);
    cfg_unref(s->cfg);
    cfg_unref(s->bare);
    free(s);
}

int camera_set_add_device(struct camera_set *s, const char *location, const char *type,
                          struct err *e)
{
    assert(__atomic_load_n(&s->refs, __ATOMIC_RELAXED) == 1); /* not shared yet */
    const struct camera_cfg *bare = bare_section(s, e);
    if (!bare)
        return -EINVAL;
    struct entry *entry = xcalloc(1, sizeof(*entry));
    entry->cam = convert("", bare, cfg_values(s->cfg, &camera_defaults_cfg_section));
    entry->cam.enabled = true;
    int r = name_entry(entry, location, type, "", "", e);
    if (r == 0 && camera_set_find_device(s, entry->cam.device_key))
        r = 1;
    if (r != 0) {
        entry_free(entry);
        return r;
    }
    entry->name = xstrdup(entry->cam.device_key);
    entry->cam.name = entry->name;
    add(s, entry);
    return 0;
}

size_t camera_set_count(const struct camera_set *s)
{
    return s->count;
}

const struct camera *camera_set_at(const struct camera_set *s, size_t i)
{
    assert(i < s->count);
    return &s->entries[i]->cam;
}

const struct camera *camera_set_find(const struct camera_set *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (!strcmp(s->entries[i]->cam.name, name))
            return &s->entries[i]->cam;
    return NULL;
}

const struct camera *camera_set_find_device(const struct camera_set *s, const char *device_key)
{
    for (size_t i = 0; i < s->count; i++)
        if (!strcmp(s->entries[i]->cam.device_key, device_key))
            return &s->entries[i]->cam;
    return NULL;
}

void camera_set_obey(struct camera_set *s, struct camera_switches *switches)
{
    assert(__atomic_load_n(&s->refs, __ATOMIC_RELAXED) == 1); /* not shared yet */
    for (size_t i = 0; i < s->count; i++) {
        struct camera *cam = &s->entries[i]->cam;
        cam->switched_off = camera_switch_of(switches, cam->name);
    }
}

bool camera_is_enabled(const struct camera *cam)
{
    return cam->enabled && !(cam->switched_off && atomic_load(cam->switched_off));
}

int camera_is_off(const struct camera *cam, struct err *e)
{
    if (!cam->enabled)
        return err_set(e, -ECANCELED, ERR_NEVER,
                       "camera \"%s\" is switched off: set enabled = yes in [camera:%s]", cam->name,
                       cam->name);
    return err_set(e, -ECANCELED, ERR_NEVER,
                   "camera \"%s\" was switched off by hand: switch it on where that was done (POST "
                   "/api/v1/cameras/NAME/enable)",
                   cam->name);
}

bool camera_is_fetchable(const struct camera *cam)
{
    const struct camera_kind *kind = camera_kind_find(cam->kind);
    return camera_is_enabled(cam) && kind && kind->validate(cam, NULL) == 0;
}

int camera_directory(const char *location, char *ret, size_t size)
{
    size_t len = 0;
    for (const char *p = location; *p; p++) {
        if (*p == ' ')
            continue;
        if (len + 1 >= size)
            return -EINVAL;
        ret[len++] = (char)tolower((unsigned char)*p);
    }
    ret[len] = '\0';
    /* One folder: a location with a slash would nest, one of dots would climb. */
    return len && fs_path_is_plain(ret) && !strchr(ret, '/') && strcmp(ret, ".") != 0 ? 0 : -EINVAL;
}

/* The values of an empty section, so that the rows stay the only place of the defaults. Disabled,
 * because an enabled one without address is a fault. */
static const struct camera_cfg *bare_section(struct camera_set *s, struct err *e)
{
    static const struct cfg_section *const sections[] = {&camera_cfg_section, NULL};
    static const struct cfg_schema schema = {.sections = sections};
    static char *const no_environment[] = {NULL};
    static const struct cfg_source source = {
        .path = "defaults",
        .text = "[camera:device]\nenabled = no\nkind = foscam\n",
        .environment = no_environment,
    };
    if (!s->bare && cfg_load(&schema, &source, &s->bare, NULL, NULL) < 0) {
        (void)err_set(e, -ENOMEM, ERR_LATER, "no memory for a device's values");
        return NULL;
    }
    return cfg_instance_values(s->bare, &camera_cfg_section, 0);
}

static void add(struct camera_set *s, struct entry *entry)
{
    s->entries = xrealloc(s->entries, (s->count + 1) * sizeof(struct entry *));
    s->entries[s->count++] = entry;
}

static void entry_free(struct entry *entry)
{
    free(entry->device_key);
    free(entry->label);
    free(entry->directory);
    free(entry->name);
    free(entry);
}

/* What a rejected login depends on: the place that rejected it, and what was sent. */
uint64_t camera_credentials_digest(const struct camera *cam)
{
    AUTO_FREE char *all = xasprintf("%s\n%s\n%s\n%s\n%s\n%s\n%d", cam->kind, cam->address, cam->url,
                                    cam->program, cam->user, cam->password, (int)cam->auth);
    uint64_t digest = hash_64(all, strlen(all));
    explicit_bzero(all, strlen(all));
    return digest;
}

static const char *or_null(const char *s)
{
    return s && *s ? s : NULL;
}

static struct camera convert(const char *name, const struct camera_cfg *c,
                             const struct camera_defaults *defaults)
{
    struct camera cam = {
        .name = name,
        .kind = kind_of(c),
        .enabled = c->enabled,
        .address = c->address,
        .url = c->url,
        .channel = c->channel,
        .user = c->user,
        .password = c->password,
        .auth = (enum camera_auth)c->auth,
        .command = *c->command || !defaults || !takes_default_command(kind_of(c))
                       ? c->command
                       : defaults->default_command,
        .program = c->program,
        .headers = c->headers && c->headers[0] ? c->headers : NULL,
        .tls = c->tls,
        .tls_verify = c->tls_verify,
        .tls_legacy = c->tls_legacy,
        .tls_ca_file = or_null(c->tls_ca_file),
        .tls_pin = or_null(c->tls_pin),
        .http09 = c->http09,
        .connect_timeout_ms = c->connect_timeout_ms,
        .stall_timeout_ms = c->stall_timeout_ms,
        .total_timeout_ms = c->total_timeout_ms,
        .size_max = c->size_max,
        .tries = (int)c->tries,
        .retry_delay_ms = c->retry_delay_ms,
        .give_up_ms = c->give_up_ms,
        .burst = (int)c->burst,
        .burst_time_ms = c->burst_time_ms,
        .cascade_low = c->cascade_low,
        .cascade_high = c->cascade_high,
        .check_fresh = c->check_fresh,
        .interval_ms = c->interval_ms,
        .times = c->times && c->times[0] ? c->times : NULL,
    };
    cam.credentials_digest = camera_credentials_digest(&cam);
    return cam;
}

static int name_entry(struct entry *entry, const char *location, const char *type,
                      const char *label, const char *directory, struct err *e)
{
    if (!*location)
        return err_set(e, -EINVAL, ERR_NEVER, "a camera needs a location");
    char folder[SNAPSHOT_KEY_MAX];
    if (!*directory && camera_directory(location, folder, sizeof(folder)) < 0)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "location '%s' gives no folder name: set directory for [camera:%s]",
                       location, entry->cam.name);
    entry->device_key = xasprintf("%s%s%s", location, *type ? " " : "", type);
    if (strlen(entry->device_key) >= SNAPSHOT_KEY_MAX ||
        strlen(entry->cam.name) >= SNAPSHOT_KEY_MAX)
        return err_set(e, -EINVAL, ERR_NEVER, "'%s' is too long for a device's name",
                       entry->device_key);
    entry->label = xstrdup(*label ? label : location);
    entry->directory = xstrdup(*directory ? directory : folder);
    entry->cam.device_key = entry->device_key;
    entry->cam.device_label = entry->label;
    entry->cam.directory = entry->directory;
    return 0;
}

/* ---- checks of values ---- */

static int check_kind(const void *value, char *why, size_t why_size)
{
    const char *kind = *(const char *const *)value;
    if (!*kind || camera_kind_find(kind))
        return 0;
    AUTO_DONE(dynbuf) names;
    dynbuf_init(&names, 512);
    for (const struct camera_kind *const *k = camera_kind_all(); *k; k++)
        (void)dynbuf_printf(&names, "%s%s", names.len ? ", " : "", (*k)->name); /* cut is fine */
    (void)text_format(why, why_size, "one of: %s", dynbuf_str(&names));
    return -EINVAL;
}

static int check_headers(const void *value, char *why, size_t why_size)
{
    const char *const *lines = *(const char *const *const *)value;
    for (; lines && *lines; lines++) {
        size_t name = strcspn(*lines, ": \t");
        if (name && (*lines)[name] == ':' && !strpbrk(*lines, "\r\n"))
            continue;
        (void)text_format(why, why_size, "lines of the form Name: value, separated by semicolons");
        return -EINVAL;
    }
    return 0;
}

static int check_pin(const void *value, char *why, size_t why_size)
{
    const char *pin = *(const char *const *)value;
    /* 32 bytes make 44 characters of base64. */
    if (!*pin || (text_starts_with(pin, "sha256//") && strlen(pin) == 8 + 44))
        return 0;
    (void)text_format(why, why_size, "sha256// and the base64 of the key's SHA-256");
    return -EINVAL;
}

/* The key that a kind cannot do without: its faults are shown there. */
static const char *main_key(const struct camera_cfg *c)
{
    if (!strcmp(c->kind, "http") || !strcmp(c->kind, "mjpeg"))
        return "url";
    if (!strcmp(c->kind, "command"))
        return "program";
    return *c->address && *c->command ? "command" : "address";
}

static void check_camera(const void *values, const char *instance, struct cfg_faults *faults)
{
    const struct camera_cfg *c = values;
    const struct camera cam = convert(instance, c, NULL);
    struct err e = {0};
    char folder[SNAPSHOT_KEY_MAX];
    const char *location = *c->location ? c->location : instance;
    if (*c->directory) {
        if (!fs_path_is_plain(c->directory))
            cfg_fault(faults, "camera", instance, "directory",
                      "'%s' does not stay below the store: a relative path without ..",
                      c->directory);
    } else if (camera_directory(location, folder, sizeof(folder)) < 0) {
        cfg_fault(faults, "camera", instance, "location",
                  "'%s' gives no folder name: set directory", location);
    }
    if (strlen(location) + strlen(c->type) + 2 > SNAPSHOT_KEY_MAX)
        cfg_fault(faults, "camera", instance, "location",
                  "location and type together are longer than %d bytes", SNAPSHOT_KEY_MAX - 2);
    const struct camera_kind *kind = camera_kind_find(cam.kind);
    if (kind && kind->pushes && (c->interval_ms || (c->times && c->times[0])))
        cfg_fault(faults, "camera", instance, c->interval_ms ? "interval" : "times",
                  "this camera cannot be asked: add its address, or remove the schedule");
    else if (c->enabled && kind && !kind->pushes && kind->validate(&cam, &e) < 0)
        cfg_fault(faults, "camera", instance, main_key(c), "%s", e.text);
    if (*c->password && !*c->user)
        cfg_fault(faults, "camera", instance, "user", "there is a password but no user");
    if (c->burst > 1 && c->burst_time_ms >= c->give_up_ms)
        cfg_fault(faults, "camera", instance, "burst_time",
                  "as long as give_up or longer: the trigger would be over before the burst");
    if (c->total_timeout_ms < c->connect_timeout_ms)
        cfg_fault(faults, "camera", instance, "total_timeout",
                  "shorter than connect_timeout: the whole cannot be less than its part");
}
