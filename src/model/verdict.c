#include "model/verdict.h"

#include "base/text.h"

const char *const verdict_outcome_names[VERDICT_OUTCOME_COUNT] = {"examined", "skipped", "failed"};

void verdict_done(struct verdict *v)
{
    detection_list_done(&v->found);
}

unsigned verdict_persons(const struct verdict *v)
{
    unsigned n = 0;
    for (size_t i = 0; i < v->found.count; i++)
        n += text_equal_nocase(v->found.items[i].label, "person");
    return n;
}

unsigned verdict_things(const struct verdict *v)
{
    return (unsigned)v->found.count;
}

const char *verdict_detail(const struct verdict *v, char buf[VERDICT_DETAIL_MAX])
{
    buf[0] = '\0';
    unsigned persons = verdict_persons(v);
    if (persons)
        (void)text_format(buf, VERDICT_DETAIL_MAX, "%u person(s) and %u things", persons,
                          verdict_things(v));
    return buf;
}
