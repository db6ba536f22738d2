#include "cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/mem.h"
#include "detect/model_files.h"
#include "tiny_model.h"

static void touch(const char *dir, const char *name)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
    assert_int_equal(fs_replace(AT_FDCWD, path, "x", 1, 0644, NULL), 0);
}

static void auto_prefers_yolo_then_full_precision_then_the_name(void **state)
{
    (void)state;
    char *dir = tiny_folder();
    static const char *const files[] = {"centernet-512.onnx", "yolov8n-int8.onnx", "yolov8n.onnx",
                                        "yolo11n.onnx",       "notes.txt",         ".yolo.onnx"};
    static const char *const wanted[] = {"yolo11n.onnx", "yolov8n.onnx", "yolov8n-int8.onnx",
                                         "centernet-512.onnx"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        touch(dir, files[i]);
    const char *dirs[] = {"/nonexistent", dir, dir, NULL};
    static const char *const autos[] = {"auto", "", NULL};
    for (size_t k = 0; k < ARRAY_LEN(autos); k++) {
        AUTO_DONE(model_list) l = {.paths = NULL};
        assert_int_equal(model_find(autos[k], dirs, &l, NULL), 0);
        assert_int_equal(l.count, ARRAY_LEN(wanted)); /* one folder named twice counts once */
        for (size_t i = 0; i < l.count; i++)
            assert_string_equal(model_base_name(l.paths[i]), wanted[i]);
    }
    tiny_folder_remove(dir);
}

static void an_earlier_folder_wins_among_equals(void **state)
{
    (void)state;
    char *first = tiny_folder(), *second = tiny_folder();
    touch(first, "yolov8n.onnx");
    touch(second, "yolo11n.onnx");
    touch(first, "a.onnx");
    const char *dirs[] = {first, second, NULL};
    AUTO_DONE(model_list) l = {.paths = NULL};
    assert_int_equal(model_find("auto", dirs, &l, NULL), 0);
    assert_string_equal(model_base_name(l.paths[0]), "yolov8n.onnx");
    assert_string_equal(model_base_name(l.paths[1]), "yolo11n.onnx");
    assert_string_equal(model_base_name(l.paths[2]), "a.onnx");
    tiny_folder_remove(first);
    tiny_folder_remove(second);
}

static void finds_a_name_with_and_without_its_ending(void **state)
{
    (void)state;
    char *dir = tiny_folder();
    touch(dir, "yolov8n.onnx");
    const char *dirs[] = {dir, NULL};
    AUTO_FREE char *whole = xasprintf("%s/yolov8n.onnx", dir);
    AUTO_FREE char *stem = xasprintf("%s/yolov8n", dir);
    AUTO_FREE char *weights = xasprintf("%s/yolov8n.pt", dir);
    const char *const names[] = {"yolov8n", "yolov8n.onnx", "yolov8n.pt", whole, stem, weights};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        AUTO_DONE(model_list) l = {.paths = NULL};
        assert_int_equal(model_find(names[i], dirs, &l, NULL), 0);
        assert_int_equal(l.count, 1);
        assert_string_equal(l.paths[0], whole);
    }
    tiny_folder_remove(dir);
}

static void says_where_it_looked_what_is_there_and_what_to_do(void **state)
{
    (void)state;
    char *dir = tiny_folder();
    const char *dirs[] = {dir, NULL};
    AUTO_DONE(model_list) l = {.paths = NULL};
    struct err e = {.code = 0};
    assert_int_equal(model_find("auto", dirs, &l, &e), -ENOENT);
    assert_non_null(strstr(e.text, dir));
    assert_non_null(strstr(e.text, "tools/setup"));
    touch(dir, "centernet-512.onnx");
    assert_int_equal(model_find("yolov9", dirs, &l, &e), -ENOENT);
    assert_non_null(strstr(e.text, "there: centernet-512.onnx"));
    assert_non_null(strstr(e.text, "snapshotd model pull"));
    assert_int_equal(model_find("yolov8n.pt", dirs, &l, &e), -ENOENT);
    assert_non_null(strstr(e.text, "yolo export model=yolov8n.pt format=onnx"));
    assert_int_equal(model_find("/nowhere/m.onnx", dirs, &l, &e), -ENOENT);
    tiny_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auto_prefers_yolo_then_full_precision_then_the_name),
        cmocka_unit_test(an_earlier_folder_wins_among_equals),
        cmocka_unit_test(finds_a_name_with_and_without_its_ending),
        cmocka_unit_test(says_where_it_looked_what_is_there_and_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
