#include "app/metric_rows.h"

#include "app/daemon_secrets.h"
#include "app/status.h"
#include "app/topology.h"
#include "camera/fetcher.h"
#include "cloudwatch/cloudwatch.h"
#include "detect/rekognition.h"
#include "fan/fan.h"
#include "ftp/ftp_server.h"
#include "health/health.h"
#include "notify/amqp.h"
#include "report/report.h"
#include "stage/pipeline.h"
#include "sys/db.h"
#include "web/access.h"
#include "web/web.h"

void metric_rows_register_all(void)
{
    status_register_metrics();
    topology_register_metrics();
    fetcher_register_metrics();
    rekognition_register_metrics();
    fan_register_metrics();
    ftp_server_register_metrics();
    amqp_notifier_register_metrics();
    web_register_metrics();
    access_register_metrics();
    report_register_metrics();
    daemon_secrets_register_metrics();
    db_register_metrics();
    pipeline_register_metrics();
    cloudwatch_register_metrics();
    health_register_metrics();
}
