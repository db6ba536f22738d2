#pragma once
/* The one door to cairo: frames and labels on a picture. A drawing belongs to one thread. */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

#define DRAW_SIDE_MAX 32767 /* cairo's own limit */

struct draw_colour {
    double r, g, b; /* 0..1 */
};

struct draw_area {
    double x, y, width, height; /* pixels */
};

struct draw;

/* Draws on 0x00RRGGBB words, rows without padding; borrowed until draw_free(). */
int draw_new(uint32_t *pixels, int width, int height, struct draw **ret, struct err *e);
void draw_free(struct draw *d);
DEFINE_AUTO(draw, draw_free)

/* The outline of an area, `line` pixels wide, between two thin dark lines that set it off from any
 * background. */
void draw_frame(struct draw *d, struct draw_area area, double line, struct draw_colour colour);

/* The room that a label takes. false where the system has no font: frames then do without. */
bool draw_label_size(struct draw *d, const char *text, double font_size, double *ret_width,
                     double *ret_height);
/* Text on a filled, outlined ground; black or white, whatever reads better. Valid UTF-8 only. */
void draw_label(struct draw *d, double x, double y, const char *text, double font_size,
                struct draw_colour ground);
