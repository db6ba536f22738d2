#pragma once
/* Writes ONNX models of a few hundred bytes, so that the tests need no weights. The model's answer
 * is base + mean(input) * factor, element by element: what it finds depends on how bright the
 * picture arrives. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"

struct tiny_model {
    int64_t input[4];  /* -1 = decided at run time */
    bool half;         /* float16 input */
    int64_t output[3]; /* real size */
    bool open_output;  /* declared without sizes */
    const float *base, *factor;
    const char *const *metadata; /* key, value, ..., NULL; or NULL */
};

/* The file's path, malloc()ed. */
char *tiny_model_write(const struct tiny_model *m, const char *dir, const char *name);

/* End to end, one row: a box from (8,8) to (24,40) of class 1, its score the picture's brightness;
 * input 64x64. */
extern const struct tiny_model tiny_end_to_end;

/* A grey BMP picture of one value. */
struct blob *tiny_picture(int width, int height, uint8_t value);
/* A new folder below the system's temporary one; malloc()ed. */
char *tiny_folder(void);
void tiny_folder_remove(char *dir); /* with its files; frees dir */
