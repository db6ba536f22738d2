#include "secrets/flags.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/altstack.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "secrets/op_connect.h"
#include "secrets/secret_item.h"

#define INTERVAL_MIN_MS 1000 /* of a server that others use as well */

const char *const flag_names[FLAG_COUNT] = {
    [FLAG_OBJECT_DETECTION] = "object-detection",
    [FLAG_LOCAL_OBJECT_DETECTION] = "local-object-detection",
    [FLAG_CLOUD_OBJECT_DETECTION] = "cloud-object-detection",
    [FLAG_CLOUD_STORAGE_MANAGEMENT] = "cloud-storage-management",
};
const char *const flag_keys[FLAG_COUNT] = {
    [FLAG_OBJECT_DETECTION] = "object_detection",
    [FLAG_LOCAL_OBJECT_DETECTION] = "local_object_detection",
    [FLAG_CLOUD_OBJECT_DETECTION] = "cloud_object_detection",
    [FLAG_CLOUD_STORAGE_MANAGEMENT] = "cloud_storage_management",
};

/* What was said of a flag last, so that it is said once. */
enum said { SAID_NOTHING, SAID_MISSING, SAID_ODD };

struct flags {
    struct flags_options o;
    char *strings[6]; /* that o.access has */
    pthread_t thread;
    int stop_fd;
    enum said said[FLAG_COUNT];
    pthread_mutex_t lock; /* guards what follows */
    bool value[FLAG_COUNT], changed[FLAG_COUNT];
    char trouble[ERR_TEXT_MAX];
};

static struct metric polls = {.name = "snapshotd_flag_polls_total",
                              .kind = METRIC_COUNTER,
                              .label = "outcome",
                              .help = "Times that 1Password was asked for feature flags"};

static void *watch(void *arg);
static void ask(struct flags *f);
static void take_item(struct flags *f, const json_t *item);
static void note_trouble(struct flags *f, const char *text);

static bool is_one_of(const char *text, size_t len, const char *const *words)
{
    for (; *words; words++)
        if (strlen(*words) == len && strncasecmp(text, *words, len) == 0)
            return true;
    return false;
}

bool flag_value(const char *text, bool *ret_odd)
{
    static const char *const yes[] = {"true", "1", "yes", NULL};
    static const char *const no[] = {"false", "0", "no", NULL};
    size_t len;

    text += strspn(text, " \t\r\n\f\v");
    len = strlen(text);
    while (len > 0 && strchr(" \t\r\n\f\v", text[len - 1]))
        len--;
    bool value = is_one_of(text, len, yes);
    *ret_odd = !value && !is_one_of(text, len, no);
    return value;
}

static void copy_access(struct flags *f, const struct secrets_options *from)
{
    const char *const texts[] = {from->host,     from->token,  from->vault,
                                 from->app_name, from->folder, from->credentials};
    struct secrets_options *to = &f->o.access;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        f->strings[i] = xstrdup(texts[i]);
    to->host = f->strings[0];
    to->token = f->strings[1];
    to->vault = f->strings[2];
    to->app_name = f->strings[3];
    to->folder = f->strings[4];
    to->credentials = f->strings[5];
}

static void free_flags(struct flags *f)
{
    if (f->stop_fd >= 0)
        (void)close(f->stop_fd); /* a counter */
    if (f->strings[1])
        explicit_bzero(f->strings[1], strlen(f->strings[1]));
    for (size_t i = 0; i < ARRAY_LEN(f->strings); i++)
        free(f->strings[i]);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

void flags_register_metrics(void)
{
    metric_register(&polls);
}

int flags_start(const struct flags_options *o, struct flags **ret, struct err *e)
{
    struct flags *f = xcalloc(1, sizeof(*f));

    flags_register_metrics();
    f->o = *o;
    f->o.interval_ms = MAX(o->interval_ms, (int64_t)INTERVAL_MIN_MS);
    copy_access(f, &o->access);
    memcpy(f->value, o->value, sizeof(f->value));
    pthread_mutex_init(&f->lock, NULL);
    f->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = f->stop_fd < 0 ? -errno : -pthread_create(&f->thread, NULL, watch, f);
    if (r < 0) {
        free_flags(f);
        return err_errno(e, r, "feature flags");
    }
    *ret = f;
    return 0;
}

void flags_stop(struct flags *f)
{
    uint64_t one = 1;

    if (!f)
        return;
    (void)!write(f->stop_fd, &one, sizeof(one)); /* a counter far from full */
    (void)pthread_join(f->thread, NULL);         /* ours, and joined once */
    free_flags(f);
}

bool flags_take(struct flags *f, enum feature_flag *ret, bool *ret_value)
{
    bool found = false;

    pthread_mutex_lock(&f->lock);
    for (int i = 0; i < FLAG_COUNT && !found; i++) {
        found = f->changed[i];
        if (!found)
            continue;
        f->changed[i] = false;
        *ret = (enum feature_flag)i;
        *ret_value = f->value[i];
    }
    pthread_mutex_unlock(&f->lock);
    return found;
}

void flags_trouble(struct flags *f, char ret[ERR_TEXT_MAX])
{
    pthread_mutex_lock(&f->lock);
    text_copy(ret, ERR_TEXT_MAX, f->trouble); /* fits */
    pthread_mutex_unlock(&f->lock);
}

/* ---- the thread ---- */

static void *watch(void *arg)
{
    struct flags *f = arg;

    (void)pthread_setname_np(pthread_self(), "flags");
    altstack_use();
    log_context_stage("flags");
    while (true) {
        struct mono_time next = mono_add_ms(clock_mono(), f->o.interval_ms);
        struct pollfd p = {.fd = f->stop_fd, .events = POLLIN};
        ask(f);
        while (!mono_passed(next))
            if (poll(&p, 1, mono_until_ms(next)) > 0)
                return NULL;
        if (poll(&p, 1, 0) > 0)
            return NULL;
    }
}

static void ask(struct flags *f)
{
    const struct secrets_options *a = &f->o.access;
    struct op_connect_options o = {.host = a->host,
                                   .token = a->token,
                                   .vault = a->vault,
                                   .timeout_ms = a->timeout_ms,
                                   .deadline_ms = a->deadline_ms,
                                   .stop_fd = f->stop_fd};
    AUTO(op_connect) c = NULL;
    const json_t *item = NULL;
    struct err e = {0};

    int r = op_connect_new(&o, &c, &e);
    if (r == 0)
        r = op_connect_item(c, NULL, FLAG_ITEM, &item, &e);
    if (r == -ECANCELED)
        return;
    metric_inc(&polls, r == 0 ? "answered" : "failed");
    note_trouble(f, r < 0 ? e.text : "");
    if (r == 0)
        take_item(f, item);
}

/* Said when it begins and when it ends, and not each minute in between. */
static void note_trouble(struct flags *f, const char *text)
{
    char before[ERR_TEXT_MAX];

    pthread_mutex_lock(&f->lock);
    text_copy(before, sizeof(before), f->trouble); /* fits */
    text_copy(f->trouble, sizeof(f->trouble), text);
    pthread_mutex_unlock(&f->lock);
    if (*text && !*before)
        log_warn("flags-away", "feature flags stay as they are: %s", text);
    else if (!*text && *before)
        log_notice("flags-back", "1Password has the feature flags again");
}

static void say(struct flags *f, int which, enum said said, const char *words)
{
    if (f->said[which] == said)
        return;
    f->said[which] = said;
    if (said == SAID_ODD)
        log_warn("flag-odd",
                 "feature flag %s: what 1Password has at " FLAG_ITEM "/%s/" FLAG_FIELD
                 " is neither true, 1 or yes nor false, 0 or no: it counts as false",
                 flag_names[which], flag_names[which]);
    else if (said == SAID_MISSING)
        log_notice("flag-missing", "feature flag %s is not in 1Password and stays as it is: %s",
                   flag_names[which], words);
}

static void take_value(struct flags *f, int which, bool value)
{
    uint64_t one = 1;

    pthread_mutex_lock(&f->lock);
    bool changed = f->value[which] != value;
    f->value[which] = value;
    /* One that changed back before anybody looked is taken all the same, and changes nothing. */
    f->changed[which] |= changed;
    pthread_mutex_unlock(&f->lock);
    if (changed && f->o.wake_fd >= 0)
        (void)!write(f->o.wake_fd, &one, sizeof(one)); /* a counter far from full */
}

static void take_item(struct flags *f, const json_t *item)
{
    for (int i = 0; i < FLAG_COUNT; i++) {
        struct secret_path p = {.item = FLAG_ITEM, .section = flag_names[i], .field = FLAG_FIELD};
        const char *text = NULL;
        struct err e = {0};
        bool odd = false;
        if (!f->o.watched[i])
            continue;
        if (secret_item_value(item, &p, &text, &e) < 0) {
            say(f, i, SAID_MISSING, e.text);
            continue;
        }
        bool value = flag_value(text, &odd);
        say(f, i, odd ? SAID_ODD : SAID_NOTHING, "");
        take_value(f, i, value);
    }
}
