#include "stage/burst.h"

#include <assert.h>
#include <strings.h>

/* Scores are floats: 0.90 and 0.85 are a little more than 0.05 apart. */
#define ROUNDING 1e-6

const char *const burst_reason_names[BURST_REASON_COUNT] = {
    [BURST_FRESH] = "it is of now",        [BURST_WHOLE] = "it is whole",
    [BURST_PERSON] = "somebody is on it",  [BURST_PERSON_SCORE] = "its person is surer",
    [BURST_SCORE] = "its finds are surer", [BURST_SHARPNESS] = "it is sharper",
    [BURST_FIRST] = "it came first",
};

void burst_rank_found(struct burst_rank *r, const struct detection_list *found)
{
    r->person = r->best = 0;
    for (size_t i = 0; i < found->count; i++) {
        const struct detection *d = &found->items[i];
        r->best = MAX(r->best, (double)d->confidence);
        if (strcasecmp(d->label, "person") == 0)
            r->person = MAX(r->person, (double)d->confidence);
    }
}

static double worth(const struct burst_rank *r, enum burst_reason question)
{
    switch (question) {
    case BURST_FRESH:
        return r->freshness == CAMERA_FRESH;
    case BURST_WHOLE:
        return !r->damaged;
    case BURST_PERSON:
        return r->person > 0;
    case BURST_PERSON_SCORE:
        return r->person;
    case BURST_SCORE:
        return r->best;
    case BURST_SHARPNESS:
        return r->sharpness;
    case BURST_FIRST:
    case BURST_REASON_COUNT:
        break;
    }
    return 0;
}

/* Not pair by pair: with a slack that would depend on the order of the pairs. */
int burst_choose(const struct burst_rank *ranks, int count, enum burst_reason *ret_why)
{
    assert(count > 0 && count <= CAMERA_BURST_MAX);
    int left[CAMERA_BURST_MAX];
    int left_count = count;
    for (int i = 0; i < count; i++)
        left[i] = i;
    *ret_why = BURST_FIRST;
    for (enum burst_reason question = 0; question < BURST_FIRST; question++) {
        bool is_score = question == BURST_PERSON_SCORE || question == BURST_SCORE;
        double least = worth(&ranks[left[0]], question);
        for (int i = 1; i < left_count; i++)
            least = MAX(least, worth(&ranks[left[i]], question));
        least -= is_score ? BURST_SCORE_SLACK + ROUNDING : 0;
        int kept = 0;
        for (int i = 0; i < left_count; i++)
            if (worth(&ranks[left[i]], question) >= least)
                left[kept++] = left[i];
        if (kept < left_count)
            *ret_why = question;
        left_count = kept;
    }
    return left[0];
}
