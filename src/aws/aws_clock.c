#include "aws/aws_clock.h"

#include <stdlib.h>

/* Less cannot be why a date was refused: AWS allows 5 minutes, S3 15. */
#define NEWS_S 30

int64_t aws_clock_offset_s(struct aws_clock *c)
{
    return atomic_load(&c->offset_s);
}

struct wall_time aws_clock_at(int64_t offset_s)
{
    return (struct wall_time){clock_wall().us + offset_s * 1000000};
}

bool aws_clock_learn(struct aws_clock *c, int64_t used_offset_s, int64_t date_s)
{
    if (date_s <= 0)
        return false;
    int64_t offset_s = date_s - wall_seconds(clock_wall());
    if (llabs(offset_s - used_offset_s) < NEWS_S)
        return false;
    atomic_store(&c->offset_s, offset_s);
    return true;
}
