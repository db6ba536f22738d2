#include "cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "detect/labels.h"
#include "model/detection.h"

static void knows_cocos_names_in_order(void **state)
{
    (void)state;
    assert_string_equal(labels_coco[0], "person");
    assert_string_equal(labels_coco[2], "car");
    assert_string_equal(labels_coco[16], "dog");
    assert_string_equal(labels_coco[79], "toothbrush");
    for (size_t i = 0; i < LABEL_COCO_COUNT; i++)
        assert_true(labels_coco[i] != NULL && strlen(labels_coco[i]) < DETECTION_LABEL_MAX);
}

static void reads_one_name_a_line(void **state)
{
    (void)state;
    const struct {
        const char *text;
        size_t count;
        const char *second;
    } cases[] = {
        {"a\nb\n", 2, "b"},           {"a\r\nb\r\n", 2, "b"}, {"a\nb", 2, "b"},
        {"a\n b c \n\n\n", 2, "b c"}, {"a\n\nc\n", 3, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_DONE(label_list) l = {.names = NULL};
        assert_int_equal(labels_parse(cases[i].text, strlen(cases[i].text), &l, NULL), 0);
        assert_int_equal(l.count, cases[i].count);
        if (cases[i].second != NULL)
            assert_string_equal(l.names[1], cases[i].second);
        else
            assert_null(l.names[1]);
    }
}

static void refuses_what_is_no_list_of_names(void **state)
{
    (void)state;
    AUTO_DONE(label_list) l = {.names = NULL};
    assert_int_equal(labels_parse("", 0, &l, NULL), -EINVAL);
    assert_int_equal(labels_parse("\n \n", 3, &l, NULL), -EINVAL);
    assert_int_equal(labels_parse("a\0b", 3, &l, NULL), -EINVAL);
    AUTO_FREE char *lines = malloc(LABEL_FILE_MAX + 1);
    assert_non_null(lines);
    for (size_t i = 0; i <= LABEL_FILE_MAX; i++)
        lines[i] = i % 2 == 0 ? 'x' : '\n';
    assert_int_equal(labels_parse(lines, LABEL_FILE_MAX + 1, &l, NULL), -EFBIG);
    assert_int_equal(labels_parse(lines, 2 * LABEL_COUNT_MAX + 2, &l, NULL), -EFBIG);
    struct err e = {.code = 0};
    assert_int_equal(labels_read("/nonexistent/names", &l, &e), -ENOENT);
    assert_non_null(strstr(e.text, "names file"));
}

static void names_a_class_even_when_it_has_no_name(void **state)
{
    (void)state;
    char *names[] = {(char[]){"person"}, NULL};
    struct label_list l = {names, 2};
    char buf[DETECTION_LABEL_MAX], tiny[4];
    assert_string_equal(labels_name(&l, 0, buf, sizeof(buf)), "person");
    assert_string_equal(labels_name(&l, 1, buf, sizeof(buf)), "class 1");
    assert_string_equal(labels_name(&l, 7, buf, sizeof(buf)), "class 7");
    assert_string_equal(labels_name(&l, 0, tiny, sizeof(tiny)), "per");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_cocos_names_in_order),
        cmocka_unit_test(reads_one_name_a_line),
        cmocka_unit_test(refuses_what_is_no_list_of_names),
        cmocka_unit_test(names_a_class_even_when_it_has_no_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
