#include "app/confine.h"

#include <string.h>
#include <unistd.h>

#include "app/config.h"
#include "base/log.h"
#include "sys/sandbox.h"

void confine_rights(const struct app_config *c)
{
    struct err e = {0};
    if (!c->app.sandbox) {
        log_warn("sandbox-off", "[app] sandbox is no: the program keeps all rights that it was "
                                "started with");
        return;
    }
    sandbox_leave_no_core();
    if (sandbox_drop_rights(&e) < 0)
        log_warn("sandbox-partial", "%s; going on with the rights of the start", e.text);
    else if (geteuid() == 0)
        log_warn("sandbox", "started as root, going on without root's rights: what belongs to "
                            "other users is as closed as to anybody; better give the program a "
                            "user of its own");
}

/* The name of a camera that needs a program; NULL = none does. */
static const char *who_needs_programs(const struct app_config *c)
{
    for (size_t i = 0; i < camera_set_count(c->cameras); i++) {
        const struct camera *cam = camera_set_at(c->cameras, i);
        if (strcmp(cam->kind, "command") == 0)
            return cam->name;
    }
    return NULL;
}

void confine_calls(struct confine *confine, const struct app_config *c)
{
    if (!c->app.sandbox)
        return;
    struct err e = {0};
    const char *camera = who_needs_programs(c);
    confine->programs = camera != NULL;
    if (sandbox_close(camera ? SANDBOX_WITH_PROGRAMS : SANDBOX_NO_PROGRAMS, &e) < 0) {
        log_warn("sandbox-partial", "%s; going on without", e.text);
        return;
    }
    confine->closed = true;
    if (camera)
        log_notice("sandbox",
                   "system calls are restricted; programs may be started, for camera "
                   "'%s'",
                   camera);
    else
        log_notice("sandbox", "system calls are restricted; no program can be started");
}

void confine_reloaded(const struct confine *confine, const struct app_config *c)
{
    const char *camera = who_needs_programs(c);
    if (confine->closed && !confine->programs && camera)
        log_warn("sandbox-programs",
                 "camera '%s' needs a program, and no camera did when this run "
                 "began, so none can be started: it works from the next start "
                 "on",
                 camera);
}
