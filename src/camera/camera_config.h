#pragma once
/* The cameras that the configuration describes: the sections [camera] (what all have in common) and
 * [camera:NAME], and the set of `struct camera` made of them.
 *
 * A set is built by one thread, then immutable and reference-counted; a reload builds another. It
 * keeps the configuration alive that its strings belong to. Any thread may read. */

#include <stddef.h>

#include "base/err.h"
#include "base/macros.h"
#include "camera/camera_switches.h"
#include "cfg/cfg.h"
#include "model/camera.h"

/* [camera]: the names of the original's configuration. */
struct camera_defaults {
    const char *default_command;
    const char *default_image_format;
};
extern const struct cfg_section camera_defaults_cfg_section;

/* [camera:NAME] as it is written; camera_set_load() makes `struct camera` of it. */
struct camera_cfg {
    bool enabled;
    const char *kind;
    const char *address, *url, *channel;
    const char *user, *password;
    const char *location, *type, *label, *directory;
    const char *command;
    const char *program;
    int auth;
    bool tls, tls_verify, tls_legacy;
    const char *tls_ca_file, *tls_pin;
    const char *const *headers;
    bool http09;
    int64_t connect_timeout_ms, stall_timeout_ms, total_timeout_ms;
    int64_t size_max;
    int64_t tries;
    int64_t retry_delay_ms, give_up_ms;
    int64_t burst;
    int64_t burst_time_ms;
    double cascade_low, cascade_high;
    bool check_fresh;
    int64_t interval_ms;
    const char *const *times;
};
extern const struct cfg_section camera_cfg_section;

struct camera_set;

/* Builds the set of [camera:NAME] sections. What single sections lack was found by cfg_load(); here
 * only what they are to each other can fail: two cameras of one device name (-EEXIST). */
int camera_set_load(const struct cfg *cfg, struct camera_set **ret, struct err *e);
struct camera_set *camera_set_ref(struct camera_set *s);
void camera_set_unref(struct camera_set *s);
DEFINE_AUTO(camera_set, camera_set_unref)

/* Adds a device that has no section of its own: the original's OUTPUT_n pairs, whose address comes
 * with the trigger. Its values are those of an empty section, its name is its device key. Only
 * before the set is shared. 0; 1 when a camera of that device key is there already; -EINVAL without
 * a location. */
int camera_set_add_device(struct camera_set *s, const char *location, const char *type,
                          struct err *e);

/* From now on each camera also obeys its switch; `switches` outlives the set. Only before the set
 * is shared. */
void camera_set_obey(struct camera_set *s, struct camera_switches *switches);

size_t camera_set_count(const struct camera_set *s);
const struct camera *camera_set_at(const struct camera_set *s, size_t i); /* in file order */
const struct camera *camera_set_find(const struct camera_set *s, const char *name);
/* By "<Location> <Type>", exactly as triggers carry it. */
const struct camera *camera_set_find_device(const struct camera_set *s, const char *device_key);
/* Neither the configuration nor a person has switched it off. */
bool camera_is_enabled(const struct camera *cam);
/* The story of one that is not: -ECANCELED, with what to do. */
int camera_is_off(const struct camera *cam, struct err *e);
/* True when the camera can be asked: enabled, and its kind has what it needs. */
bool camera_is_fetchable(const struct camera *cam);

/* What `credentials_digest` has to be for the camera's address, user and password. */
uint64_t camera_credentials_digest(const struct camera *cam);

/* "Front Door" -> "frontdoor": the original's folder of a location. -EINVAL when nothing is left or
 * the name could leave its folder. */
int camera_directory(const char *location, char *ret, size_t size);
