#include "ftp/ftp_blocks.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#include "base/macros.h"
#include "base/mem.h"

struct row { /* in order of arrival */
    struct ftp_block_user *first, *last;
};

struct ftp_blocks {
    struct ftp_loop *loop;
    size_t made, max;
    size_t free_count, free_least; /* fewest free ones since the last trim */
    void *free;                    /* each begins with a pointer to the next; used last is first */
    struct row waiting, holding;
    size_t waiting_count, holding_count;
    size_t asked_count;   /* of the holders */
    size_t granted_count; /* laid aside for one who waited */
    struct ftp_task settle;
};

static void settle(struct ftp_task *t);

struct ftp_blocks *ftp_blocks_new(struct ftp_loop *l, int64_t bytes)
{
    struct ftp_blocks *p = xcalloc(1, sizeof(*p));
    p->loop = l;
    p->max = (size_t)MAX(bytes / FTP_BLOCK_SIZE, (int64_t)FTP_BLOCKS_MIN);
    p->settle.run = settle;
    return p;
}

/* Mappings of their own: what is given back is given back to the system. */
static void *make_block(void)
{
    void *b =
        mmap(NULL, FTP_BLOCK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return b == MAP_FAILED ? NULL : b;
}

static void *pop_free(struct ftp_blocks *p)
{
    void *b = p->free;
    if (!b)
        return NULL;
    memcpy(&p->free, b, sizeof(p->free));
    p->free_count--;
    p->free_least = MIN(p->free_least, p->free_count);
    return b;
}

void ftp_blocks_trim(struct ftp_blocks *p)
{
    for (size_t n = p->free_least; n > 0; n--) {
        (void)munmap(pop_free(p), FTP_BLOCK_SIZE); /* ours, whole */
        p->made--;
    }
    p->free_least = p->free_count;
}

void ftp_blocks_free(struct ftp_blocks *p)
{
    if (!p)
        return;
    assert(p->free_count == p->made && !p->waiting.first && !p->holding.first);
    ftp_loop_forget(p->loop, &p->settle);
    p->free_least = p->free_count;
    ftp_blocks_trim(p);
    free(p);
}

static void append(struct row *r, struct ftp_block_user *u)
{
    u->previous = r->last;
    u->next = NULL;
    *(r->last ? &r->last->next : &r->first) = u;
    r->last = u;
}

static void take_out(struct row *r, struct ftp_block_user *u)
{
    *(u->previous ? &u->previous->next : &r->first) = u->next;
    *(u->next ? &u->next->previous : &r->last) = u->previous;
}

static void *hold(struct ftp_blocks *p, struct ftp_block_user *u, void *block)
{
    u->state = FTP_BLOCK_HOLDS;
    append(&p->holding, u);
    p->holding_count++;
    if (p->waiting.first)
        ftp_loop_defer(p->loop, &p->settle); /* one more that can be asked */
    return block;
}

void *ftp_blocks_take(struct ftp_blocks *p, struct ftp_block_user *u)
{
    if (u->state == FTP_BLOCK_GRANTED) {
        p->granted_count--;
        return hold(p, u, STEAL(u->reserved));
    }
    if (u->state == FTP_BLOCK_WAITS)
        return NULL;
    assert(u->state == FTP_BLOCK_NONE);
    void *b = p->waiting.first ? NULL : pop_free(p); /* nobody overtakes those that wait */
    if (!b && !p->waiting.first && p->made < p->max) {
        b = make_block();
        p->made += b != NULL;
    }
    if (b)
        return hold(p, u, b);
    u->state = FTP_BLOCK_WAITS;
    append(&p->waiting, u);
    p->waiting_count++;
    ftp_loop_defer(p->loop, &p->settle);
    return NULL;
}

void ftp_blocks_let_go(struct ftp_blocks *p, struct ftp_block_user *u)
{
    assert(u->state == FTP_BLOCK_HOLDS);
    take_out(&p->holding, u);
    p->holding_count--;
    p->asked_count -= u->asked;
    u->asked = false;
    u->state = FTP_BLOCK_NONE;
}

void ftp_blocks_return(struct ftp_blocks *p, void *block)
{
    memcpy(block, &p->free, sizeof(p->free));
    p->free = block;
    p->free_count++;
    if (p->waiting.first)
        ftp_loop_defer(p->loop, &p->settle);
}

static void grant(struct ftp_blocks *p)
{
    while (p->waiting.first && p->free) {
        struct ftp_block_user *u = p->waiting.first;
        take_out(&p->waiting, u);
        p->waiting_count--;
        p->granted_count++;
        u->reserved = pop_free(p);
        u->state = FTP_BLOCK_GRANTED;
        u->granted(u);
    }
}

/* For each that waits and for whom no block is on its way, one holder is asked. */
static void ask(struct ftp_blocks *p)
{
    size_t under_way = p->made - p->free_count - p->holding_count - p->granted_count;
    for (struct ftp_block_user *u = p->holding.first, *next;
         u && p->asked_count + under_way < p->waiting_count; u = next) {
        next = u->next;
        if (u->asked)
            continue;
        u->asked = true;
        p->asked_count++;
        u->wanted(u); /* may let go of it */
        under_way = p->made - p->free_count - p->holding_count - p->granted_count;
    }
}

static void settle(struct ftp_task *t)
{
    struct ftp_blocks *p = container_of(t, struct ftp_blocks, settle);
    grant(p);
    ask(p);
}

void ftp_blocks_leave(struct ftp_blocks *p, struct ftp_block_user *u)
{
    if (u->state == FTP_BLOCK_HOLDS)
        ftp_blocks_let_go(p, u);
    if (u->state == FTP_BLOCK_WAITS) {
        take_out(&p->waiting, u);
        p->waiting_count--;
    }
    if (u->state == FTP_BLOCK_GRANTED) {
        p->granted_count--;
        ftp_blocks_return(p, STEAL(u->reserved));
    }
    u->state = FTP_BLOCK_NONE;
}
