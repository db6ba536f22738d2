#pragma once
/* The one thing in EXIF that changes what a detector sees. */

#include <stddef.h>
#include <stdint.h>

/* Orientation 1..8 of an EXIF block (TIFF structure, with or without the "Exif\0\0" in front);
 * 0 when it has none or is broken. Reads nothing outside the block. */
int exif_orientation(const uint8_t *p, size_t size);
