#include "stage/push_leftover.h"

#include <string.h>

#include "base/macros.h"
#include "base/text.h"
#include "sys/hash.h"

void push_leftovers_add(struct push_leftovers *l, const char *id, const struct push_identity *is,
                        const struct blob *bytes)
{
    struct push_leftover *o = &l->list[l->next];
    l->next = (l->next + 1) % PUSH_LEFTOVERS_MAX;
    *o = (struct push_leftover){.is = *is,
                                .bytes = hash_64(bytes->data, bytes->size),
                                .until = mono_add_ms(clock_mono(), PUSH_LEFTOVER_MS)};
    (void)text_copy(o->id, sizeof(o->id), id); /* an id fits */
}

bool push_leftovers_take(struct push_leftovers *l, const struct push_identity *is,
                         const struct blob *bytes, char ret_id[SNAPSHOT_ID_SIZE])
{
    for (size_t i = 0; i < PUSH_LEFTOVERS_MAX; i++) {
        struct push_leftover *o = &l->list[i];
        if (!o->id[0] || !push_identity_same_file(&o->is, is) || mono_passed(o->until) ||
            o->bytes != hash_64(bytes->data, bytes->size))
            continue;
        memcpy(ret_id, o->id, SNAPSHOT_ID_SIZE);
        o->id[0] = '\0';
        return true;
    }
    return false;
}
