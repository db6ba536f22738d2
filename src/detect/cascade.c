#include "detect/cascade.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"

const char *const cascade_doubt_names[CASCADE_DOUBT_COUNT] = {"person", "label", "empty", "failed"};

static bool listed(const char *const *labels, const char *label)
{
    for (size_t i = 0; labels && labels[i]; i++)
        if (text_equal_nocase(labels[i], label))
            return true;
    return false;
}

static bool has_label(const struct detection_list *found, const char *label)
{
    for (size_t i = 0; i < found->count; i++)
        if (text_equal_nocase(found->items[i].label, label))
            return true;
    return false;
}

unsigned cascade_doubts(const struct cascade_rule *rule, const struct verdict *v)
{
    if (v->outcome != VERDICT_EXAMINED)
        return DOUBT_FAILED;
    unsigned doubts = 0;
    double best = (double)v->person_best;
    if (best > 0 && best >= rule->low && best < rule->high)
        doubts |= DOUBT_PERSON;
    for (size_t i = 0; i < v->found.count; i++)
        if (listed(rule->labels, v->found.items[i].label))
            doubts |= DOUBT_LABEL;
    if (rule->empty && v->found.count == 0)
        doubts |= DOUBT_EMPTY;
    return doubts;
}

static bool in_doubt(const struct cascade_rule *rule, unsigned doubts, const char *label)
{
    return ((doubts & DOUBT_PERSON) && text_equal_nocase(label, "person")) ||
           ((doubts & DOUBT_LABEL) && listed(rule->labels, label));
}

static int by_confidence(const void *a, const void *b)
{
    const struct detection *x = a, *y = b;
    return (x->confidence < y->confidence) - (x->confidence > y->confidence);
}

/* Two names in one, each as far as there is room. */
static void join_models(const char *local, char cloud[VERDICT_MODEL_MAX])
{
    char both[VERDICT_MODEL_MAX];
    if (!local[0])
        return;
    (void)text_format(both, sizeof(both), "%.*s + %.*s", VERDICT_MODEL_MAX / 2 - 3, local,
                      VERDICT_MODEL_MAX / 2 - 3, cloud); /* fits */
    (void)text_copy(cloud, VERDICT_MODEL_MAX, both);
}

void cascade_join(const struct cascade_rule *rule, unsigned doubts, const struct verdict *local,
                  struct verdict *cloud)
{
    if (local->outcome != VERDICT_EXAMINED)
        return;
    struct detection_list all = {0};
    all.items = xcalloc(local->found.count + cloud->found.count + 1, sizeof(*all.items));
    for (size_t i = 0; i < local->found.count; i++)
        if (!in_doubt(rule, doubts, local->found.items[i].label))
            all.items[all.count++] = local->found.items[i];
    for (size_t i = 0; i < cloud->found.count; i++) {
        const char *label = cloud->found.items[i].label;
        if (in_doubt(rule, doubts, label) || !has_label(&local->found, label))
            all.items[all.count++] = cloud->found.items[i];
    }
    qsort(all.items, all.count, sizeof(*all.items), by_confidence);
    all.count = MIN(all.count, (size_t)DETECTION_COUNT_MAX);
    detection_list_done(&cloud->found);
    cloud->found = all;
    cloud->decode_ms += local->decode_ms;
    cloud->infer_ms += local->infer_ms;
    cloud->damaged |= local->damaged;
    cloud->person_best = local->person_best;
    join_models(local->model, cloud->model);
}

void cascade_without(bool local_may_stay, enum verdict_outcome outcome, const char *why,
                     struct verdict *v)
{
    if (!local_may_stay || v->outcome != VERDICT_EXAMINED) {
        verdict_done(v);
        *v = (struct verdict){.outcome = outcome};
    }
    (void)text_copy(v->error, sizeof(v->error), why); /* cut */
}
