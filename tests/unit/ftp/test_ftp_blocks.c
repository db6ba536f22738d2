#include "ftp/ftp_blocks.h"

#include "../test.h"

static struct ftp_loop *loop;
static struct ftp_blocks *blocks;

struct user {
    struct ftp_block_user u;
    void *block;
    int granted, wanted;
    bool busy; /* gives nothing back when asked */
};

static void on_granted(struct ftp_block_user *u)
{
    container_of(u, struct user, u)->granted++;
}

static void give_back(struct user *user)
{
    ftp_blocks_let_go(blocks, &user->u);
    ftp_blocks_return(blocks, STEAL(user->block));
}

static void on_wanted(struct ftp_block_user *u)
{
    struct user *user = container_of(u, struct user, u);
    user->wanted++;
    if (!user->busy)
        give_back(user);
}

static struct user new_user(void)
{
    return (struct user){.u = {.granted = on_granted, .wanted = on_wanted}};
}

static bool take(struct user *user)
{
    user->block = ftp_blocks_take(blocks, &user->u);
    if (user->block)
        memset(user->block, 0xaa, FTP_BLOCK_SIZE);
    return user->block != NULL;
}

static int set_up(void **state UNUSED)
{
    struct err e = {0};
    if (ftp_loop_new(&loop, &e) < 0)
        return -1;
    blocks = ftp_blocks_new(loop, 2 * FTP_BLOCK_SIZE);
    return 0;
}
static int tear_down(void **state UNUSED)
{
    ftp_blocks_free(blocks);
    ftp_loop_free(loop);
    return 0;
}

static void gives_as_many_as_it_has(void **state UNUSED)
{
    struct user a = new_user(), b = new_user();
    assert_true(take(&a));
    assert_true(take(&b));
    assert_true(a.block != b.block);
    void *first = a.block;
    give_back(&a);
    assert_true(take(&a));
    assert_true(a.block == first); /* the one whose pages are warm */
    give_back(&a);
    give_back(&b);
    ftp_blocks_trim(blocks);
    ftp_blocks_trim(blocks);
}

static void asks_the_first_holder_for_who_waits(void **state UNUSED)
{
    struct user a = new_user(), b = new_user(), c = new_user();
    assert_true(take(&a));
    assert_true(take(&b));
    assert_false(take(&c));
    assert_int_equal(a.wanted, 0); /* never from within */
    ftp_loop_turn(loop, 0);
    assert_int_equal(a.wanted, 1);
    assert_int_equal(b.wanted, 0);
    ftp_loop_turn(loop, 0);
    assert_int_equal(c.granted, 1);
    assert_true(take(&c));
    give_back(&b);
    give_back(&c);
}

/* What is asked for once is not asked for again, and who waits later is served later. */
static void those_that_wait_are_served_in_their_order(void **state UNUSED)
{
    struct user a = new_user(), b = new_user(), c = new_user(), d = new_user(), e = new_user();
    a.busy = b.busy = true;
    assert_true(take(&a));
    assert_true(take(&b));
    assert_false(take(&c));
    assert_false(take(&d));
    assert_false(take(&e));
    for (int i = 0; i < 5; i++)
        ftp_loop_turn(loop, 0);
    assert_int_equal(a.wanted, 1);
    assert_int_equal(b.wanted, 1);
    assert_true(a.u.asked);
    give_back(&b);
    assert_false(take(&b)); /* at the end of the row */
    ftp_loop_turn(loop, 0);
    assert_int_equal(c.granted, 1);
    assert_int_equal(d.granted + e.granted + b.granted, 0);
    ftp_blocks_leave(blocks, &d.u); /* gave up */
    assert_true(take(&c));
    ftp_loop_turn(loop, 0); /* c is asked, too, and gives it back */
    assert_int_equal(c.wanted, 1);
    ftp_loop_turn(loop, 0);
    assert_int_equal(e.granted, 1);
    ftp_blocks_leave(blocks, &e.u); /* with what was laid aside for it */
    ftp_loop_turn(loop, 0);
    assert_int_equal(b.granted, 1);
    assert_true(take(&b));
    give_back(&b);
    give_back(&a);
}

/* A block that is on its way back from the disk is enough for one that waits. */
static void asks_nobody_when_one_is_on_its_way(void **state UNUSED)
{
    struct user a = new_user(), b = new_user(), c = new_user();
    assert_true(take(&a));
    assert_true(take(&b));
    void *under_way = STEAL(a.block);
    ftp_blocks_let_go(blocks, &a.u);
    assert_false(take(&c));
    ftp_loop_turn(loop, 0);
    assert_int_equal(b.wanted, 0);
    ftp_blocks_return(blocks, under_way);
    ftp_loop_turn(loop, 0);
    assert_int_equal(c.granted, 1);
    assert_true(take(&c));
    give_back(&b);
    give_back(&c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gives_as_many_as_it_has),
        TEST(asks_the_first_holder_for_who_waits),
        TEST(those_that_wait_are_served_in_their_order),
        TEST(asks_nobody_when_one_is_on_its_way),
    };
    return RUN_TESTS(tests);
}
