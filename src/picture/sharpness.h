#pragma once
/* How sharp a picture is, to choose the best of several of the same scene. Pure, any thread. */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "picture/picture.h"

/* The variance of the Laplacian (the second derivative of the brightness) of a small version:
 * motion and bad focus take the fine changes away, and the number falls. It compares pictures of
 * one scene and size; between scenes it says nothing. *ret_damaged: part of the picture is not
 * there, and edges of what is missing count as sharp. Errors as of picture_decode(). */
int picture_sharpness(const void *data, size_t size, const struct picture_limits *limits,
                      double *ret, bool *ret_damaged, struct err *e);
