#include "ftp/ftp_shared.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"

/* A job is 3 kB; those of a burst are kept, those of a storm are not. */
#define SPARE_MAX 16

struct ftp_errand *ftp_errand_new(struct ftp_shared *sh, enum ftp_disk_kind kind, void *owner,
                                  void (*done)(struct ftp_errand *j))
{
    struct ftp_errand *j = sh->spare;
    if (j) {
        sh->spare = j->next;
        sh->spare_count--;
    } else {
        j = xmalloc(sizeof(*j));
    }
    /* Not the paths: they are long, and only some jobs have a request. */
    struct ftp_disk_job *job = &j->job;
    job->kind = kind;
    job->jail = NULL;
    job->upload = NULL;
    job->carry = NULL;
    job->fd = -1;
    job->block = NULL;
    job->block_size = 0;
    job->check_end = false;
    job->rights = 0;
    job->now = clock_wall();
    job->accounts = NULL;
    job->user = job->password = NULL;
    job->from = NULL;
    job->known = false;
    atomic_init(&job->dropped, false);
    job->account = NULL;
    job->code = 0;
    err_clear(&job->error);
    job->file.name[0] = '\0';
    job->file.size = 0;
    job->text = (struct dynbuf){0};
    job->owner = j;
    job->next = NULL;
    j->done = done;
    j->owner = owner;
    return j;
}

void ftp_errand_send(struct ftp_shared *sh, struct ftp_errand *j)
{
    sh->errands++;
    ftp_disk_submit(sh->disk, &j->job);
}

void ftp_errand_free(struct ftp_shared *sh, struct ftp_errand *j)
{
    if (!j)
        return;
    dynbuf_done(&j->job.text);
    if (sh->spare_count >= SPARE_MAX) {
        free(j);
        return;
    }
    j->next = sh->spare;
    sh->spare = j;
    sh->spare_count++;
}

void ftp_errands_collect(struct ftp_shared *sh)
{
    for (struct ftp_disk_job *job = ftp_disk_collect(sh->disk), *next; job; job = next) {
        struct ftp_errand *j = job->owner;
        next = job->next;
        sh->errands--;
        j->done(j);
    }
}

void ftp_shared_note_error(struct ftp_shared *sh, const char *text)
{
    pthread_mutex_lock(&sh->error_lock);
    text_copy(sh->last_error, sizeof(sh->last_error), text); /* cut is fine */
    pthread_mutex_unlock(&sh->error_lock);
}

/* ---- metrics ---- */

static struct metric sessions = {.name = "snapshotd_ftp_sessions",
                                 .kind = METRIC_GAUGE,
                                 .help = "Control connections of the FTP server"};
static struct metric uploads = {.name = "snapshotd_ftp_uploads_total",
                                .kind = METRIC_COUNTER,
                                .label = "outcome",
                                .help = "Uploads by FTP that ended, by how"};
static struct metric seconds = {.name = "snapshotd_ftp_upload_seconds",
                                .kind = METRIC_HISTOGRAM,
                                .help =
                                    "From the command to the reply, of uploads that were stored"};
static struct metric bytes = {.name = "snapshotd_ftp_bytes_total",
                              .kind = METRIC_COUNTER,
                              .label = "direction",
                              .help = "Bytes over data connections"};
static struct metric logins_refused = {.name = "snapshotd_ftp_logins_refused_total",
                                       .kind = METRIC_COUNTER,
                                       .help = "Logins with a wrong user, password or address"};
static struct metric bans = {.name = "snapshotd_ftp_bans_total",
                             .kind = METRIC_COUNTER,
                             .help = "Addresses that were shut out for guessing passwords"};
static struct metric refused = {.name = "snapshotd_ftp_connections_refused_total",
                                .kind = METRIC_COUNTER,
                                .label = "reason",
                                .help = "Connections that were sent away, by why"};

void ftp_metrics_register(void)
{
    struct metric *const all[] = {&sessions,       &uploads, &seconds, &bytes,
                                  &logins_refused, &bans,    &refused};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        metric_register(all[i]);
}

void ftp_metrics_upload(enum ftp_outcome outcome, double took_s)
{
    static const char *const names[FTP_OUTCOME_COUNT] = {"stored",        "aborted", "incomplete",
                                                         "no-connection", "refused", "failed"};
    metric_inc(&uploads, names[outcome]);
    if (outcome == FTP_OUTCOME_STORED)
        metric_observe(&seconds, NULL, took_s);
}

void ftp_metrics_bytes(bool received, int64_t count)
{
    metric_add(&bytes, received ? "received" : "sent", (double)count);
}

void ftp_metrics_login_refused(void)
{
    metric_inc(&logins_refused, NULL);
}

void ftp_metrics_banned(void)
{
    metric_inc(&bans, NULL);
}

void ftp_metrics_connection_refused(enum ftp_refusal why)
{
    static const char *const names[FTP_REFUSAL_COUNT] = {"full", "address", "banned", "descriptors",
                                                         "stranger"};
    metric_inc(&refused, names[why]);
}

void ftp_metrics_sessions(int count)
{
    metric_set(&sessions, NULL, count);
}
