#pragma once
/* The two things in EXIF that matter here: what changes what a detector sees, and when it was. */

#include <stddef.h>
#include <stdint.h>

/* Orientation 1..8 of an EXIF block (TIFF structure, with or without the "Exif\0\0" in front);
 * 0 when it has none or is broken. Reads nothing outside the block. */
int exif_orientation(const uint8_t *p, size_t size);
/* When the picture was taken (DateTimeOriginal, else DateTime), seconds since 1970. EXIF names no
 * time zone: the camera's local time is read as if it were UTC. 0 when it has none. */
int64_t exif_time(const uint8_t *p, size_t size);
