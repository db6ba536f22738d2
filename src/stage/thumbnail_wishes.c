#include "stage/thumbnail_wishes.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

enum slot_state { SLOT_FREE, SLOT_WAITS, SLOT_TAKEN, SLOT_MADE, SLOT_FAILED };

struct slot {
    enum slot_state state;
    char id[SNAPSHOT_ID_SIZE];
    int width;
    uint64_t order;      /* of the last time that somebody asked */
    struct blob *bytes;  /* made */
    struct err *why;     /* failed */
    struct mono_time at; /* made or failed */
};

struct offer {
    char id[SNAPSHOT_ID_SIZE];
    int width;
};

struct thumbnail_wishes {
    pthread_mutex_t lock;
    uint64_t order;
    struct slot asked[THUMBNAIL_ASKED_MAX];
    struct offer offers[THUMBNAIL_OFFERS_MAX]; /* a ring, the newest at next - 1 */
    size_t next, count;
};

static struct slot *find(struct thumbnail_wishes *w, const char *id, int width);
static struct slot *find_room(struct thumbnail_wishes *w);
static void clear(struct slot *s);
static bool take_asked(struct thumbnail_wishes *w, struct thumbnail_wish *ret);
static bool take_offer(struct thumbnail_wishes *w, struct thumbnail_wish *ret);

struct thumbnail_wishes *thumbnail_wishes_new(void)
{
    struct thumbnail_wishes *w = xcalloc(1, sizeof(*w));
    pthread_mutex_init(&w->lock, NULL);
    return w;
}

void thumbnail_wishes_free(struct thumbnail_wishes *w)
{
    if (w == NULL)
        return;
    for (size_t i = 0; i < ARRAY_LEN(w->asked); i++)
        clear(&w->asked[i]);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void thumbnail_wishes_offer(struct thumbnail_wishes *w, const char *id, int width)
{
    pthread_mutex_lock(&w->lock);
    struct offer *o = &w->offers[w->next];
    text_copy(o->id, sizeof(o->id), id);
    o->width = width;
    w->next = (w->next + 1) % THUMBNAIL_OFFERS_MAX;
    w->count = MIN(w->count + 1, (size_t)THUMBNAIL_OFFERS_MAX);
    pthread_mutex_unlock(&w->lock);
}

static int ask_new(struct thumbnail_wishes *w, const char *id, int width, struct err *e)
{
    struct slot *s = find_room(w);
    if (s == NULL)
        return err_set(e, -EBUSY, ERR_LATER, "%d thumbnails are to be made already",
                       THUMBNAIL_ASKED_MAX);
    clear(s);
    s->state = SLOT_WAITS;
    s->order = ++w->order;
    s->width = width;
    text_copy(s->id, sizeof(s->id), id);
    return -EAGAIN;
}

/* What is made goes to the first who looks; another asks anew. */
static int outcome_of(struct thumbnail_wishes *w, struct slot *s, struct blob **ret, struct err *e)
{
    switch (s->state) {
    case SLOT_WAITS:
    case SLOT_TAKEN:
        s->order = ++w->order;
        return -EAGAIN;
    case SLOT_MADE:
        *ret = STEAL(s->bytes);
        clear(s);
        return 0;
    case SLOT_FAILED:
        if (e)
            *e = *s->why;
        return s->why->code;
    case SLOT_FREE:
        break;
    }
    assert(false);
    return -EINVAL;
}

int thumbnail_wishes_ask(struct thumbnail_wishes *w, const char *id, int width, struct blob **ret,
                         struct err *e)
{
    pthread_mutex_lock(&w->lock);
    struct slot *s = find(w, id, width);
    if (s != NULL && s->state == SLOT_FAILED &&
        mono_diff_ms(clock_mono(), s->at) >= THUMBNAIL_FAILURE_MS) {
        clear(s);
        s = NULL;
    }
    int r = s != NULL ? outcome_of(w, s, ret, e) : ask_new(w, id, width, e);
    pthread_mutex_unlock(&w->lock);
    return r;
}

bool thumbnail_wishes_take(struct thumbnail_wishes *w, bool offers, struct thumbnail_wish *ret)
{
    pthread_mutex_lock(&w->lock);
    bool taken = take_asked(w, ret) || (offers && take_offer(w, ret));
    pthread_mutex_unlock(&w->lock);
    return taken;
}

void thumbnail_wishes_made(struct thumbnail_wishes *w, const struct thumbnail_wish *wish,
                           struct blob *bytes)
{
    pthread_mutex_lock(&w->lock);
    struct slot *s = wish->asked ? find(w, wish->id, wish->width) : NULL;
    if (s != NULL) {
        clear(s);
        if (bytes != NULL) {
            s->state = SLOT_MADE;
            text_copy(s->id, sizeof(s->id), wish->id);
            s->bytes = blob_ref(bytes);
            s->at = clock_mono();
        }
    }
    pthread_mutex_unlock(&w->lock);
}

void thumbnail_wishes_failed(struct thumbnail_wishes *w, const struct thumbnail_wish *wish,
                             const struct err *why)
{
    pthread_mutex_lock(&w->lock);
    struct slot *s = wish->asked ? find(w, wish->id, wish->width) : NULL;
    if (s != NULL) {
        clear(s);
        s->state = SLOT_FAILED;
        s->why = xmemdup(why, sizeof(*why));
        text_copy(s->id, sizeof(s->id), wish->id);
        s->at = clock_mono();
    }
    pthread_mutex_unlock(&w->lock);
}

int thumbnail_wishes_count(struct thumbnail_wishes *w, bool offers)
{
    pthread_mutex_lock(&w->lock);
    int n = offers ? (int)w->count : 0;
    for (size_t i = 0; i < ARRAY_LEN(w->asked); i++)
        n += w->asked[i].state == SLOT_WAITS;
    pthread_mutex_unlock(&w->lock);
    return n;
}

/* ---- with the lock held ---- */

static struct slot *find(struct thumbnail_wishes *w, const char *id, int width)
{
    for (size_t i = 0; i < ARRAY_LEN(w->asked); i++) {
        struct slot *s = &w->asked[i];
        if (s->state != SLOT_FREE && s->width == width && strcmp(s->id, id) == 0)
            return s;
    }
    return NULL;
}

/* A free one, else the oldest outcome that nobody came for. */
static struct slot *find_room(struct thumbnail_wishes *w)
{
    struct slot *oldest = NULL;
    for (size_t i = 0; i < ARRAY_LEN(w->asked); i++) {
        struct slot *s = &w->asked[i];
        if (s->state == SLOT_FREE)
            return s;
        if ((s->state == SLOT_MADE || s->state == SLOT_FAILED) &&
            (oldest == NULL || s->at.us < oldest->at.us))
            oldest = s;
    }
    return oldest;
}

static void clear(struct slot *s)
{
    blob_unref(s->bytes);
    free(s->why);
    s->bytes = NULL;
    s->why = NULL;
    s->state = SLOT_FREE;
    s->id[0] = '\0';
}

static bool take_asked(struct thumbnail_wishes *w, struct thumbnail_wish *ret)
{
    struct slot *newest = NULL;
    for (size_t i = 0; i < ARRAY_LEN(w->asked); i++) {
        struct slot *s = &w->asked[i];
        if (s->state == SLOT_WAITS && (newest == NULL || s->order > newest->order))
            newest = s;
    }
    if (newest == NULL)
        return false;
    newest->state = SLOT_TAKEN;
    *ret = (struct thumbnail_wish){.width = newest->width, .asked = true};
    text_copy(ret->id, sizeof(ret->id), newest->id);
    return true;
}

static bool take_offer(struct thumbnail_wishes *w, struct thumbnail_wish *ret)
{
    if (w->count == 0)
        return false;
    w->count--;
    w->next = (w->next + THUMBNAIL_OFFERS_MAX - 1) % THUMBNAIL_OFFERS_MAX;
    *ret = (struct thumbnail_wish){.width = w->offers[w->next].width};
    text_copy(ret->id, sizeof(ret->id), w->offers[w->next].id);
    return true;
}
