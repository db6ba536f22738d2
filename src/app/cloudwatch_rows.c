#include "app/cloudwatch_rows.h"

#include <assert.h>
#include <stdlib.h>

#include "app/aws_rows.h"

/* Without `extra` only the first rows are used, up to one that is extra. */
const struct cloudwatch_source cloudwatch_rows[] = {
    {.metric = "Errors", .row = "snapshotd_errors_total"},
    {.metric = "PicturesStored", .row = "snapshotd_stored_total", .extra = true},
    {.metric = "PersonPictures", .row = "snapshotd_person_pictures_total", .extra = true},
    {.metric = "DeliveriesFailed", .row = "snapshotd_deliveries_failed_total", .extra = true},
    {.metric = "UploadsFailed", .row = "snapshotd_uploads_failed_total", .extra = true},
    {.metric = "TriggersWaiting",
     .row = "snapshotd_waiting",
     .label = "fetch",
     .level = true,
     .extra = true},
    {.metric = "PicturesWaiting",
     .row = "snapshotd_waiting",
     .label = "detect",
     .level = true,
     .extra = true},
    {.metric = "EventsWaiting",
     .row = "snapshotd_waiting",
     .label = "deliver",
     .level = true,
     .extra = true},
    {.metric = "UploadsWaiting", .row = "snapshotd_uploads_pending", .level = true, .extra = true},
    {0},
};
static_assert(sizeof(cloudwatch_rows) / sizeof(*cloudwatch_rows) - 1 <= CLOUDWATCH_METRICS_MAX,
              "there is room for all");

static size_t count_rows(bool extra)
{
    size_t n = 0;
    while (cloudwatch_rows[n].metric && (extra || !cloudwatch_rows[n].extra))
        n++;
    return n;
}

const char *cloudwatch_rows_start(const struct app_config *config, struct cloudwatch **ret,
                                  struct err *e)
{
    const struct cloudwatch_config *c = cfg_values(config->cfg, &cloudwatch_config_section);
    const char *off = cloudwatch_config_off(c, *aws_rows_vault_role(config->cfg) != '\0');
    if (off)
        return off;
    char application[CLOUDWATCH_VALUE_MAX], device[CLOUDWATCH_VALUE_MAX];
    char session[CLOUDWATCH_SESSION_MAX];
    const char *device_name = config->app.device_name;
    cloudwatch_value(config->app.app_name, "snapshot-processor", application);
    cloudwatch_device(*device_name ? device_name : config->app.app_name, device);
    cloudwatch_session(c->login.role_arn, config->app.app_name, session);
    struct aws_chain_options login = aws_config_login(&c->login, c->region);
    login.role_arn = cloudwatch_config_role(c);
    login.session_name = session;
    const struct cloudwatch_options o = {
        .name_space = c->name_space,
        .application = application,
        .device = device,
        .endpoint = c->endpoint,
        .login = login,
        .interval_ms = c->interval_ms,
        .sources = cloudwatch_rows,
        .source_count = count_rows(c->extra),
    };
    return cloudwatch_start(&o, ret, e) < 0 ? e->text : NULL;
}
