#include "sys/draw.h"

#include <errno.h>
#include <math.h>

#include <cairo.h>

#include "base/mem.h"

/* Cairo's toy text interface is enough for labels of one line. Without any font (a container) it
 * puts the drawing into an error state for good, so text is tried on a context of its own. */

struct draw {
    cairo_surface_t *surface;
    cairo_t *frames;
    cairo_t *text; /* NULL where the system has no font */
};

static cairo_t *open_text(cairo_surface_t *surface);

int draw_new(uint32_t *pixels, int width, int height, struct draw **ret, struct err *e)
{
    struct draw *d = xcalloc(1, sizeof *d);

    d->surface = cairo_image_surface_create_for_data((unsigned char *)pixels, CAIRO_FORMAT_RGB24,
                                                     width, height, width * 4);
    d->frames = cairo_create(d->surface);
    if (cairo_status(d->frames) != CAIRO_STATUS_SUCCESS) {
        err_set(e, -EINVAL, ERR_NEVER, "draw on %dx%d pixels: %s", width, height,
                cairo_status_to_string(cairo_status(d->frames)));
        draw_free(d);
        return -EINVAL;
    }
    d->text = open_text(d->surface);
    *ret = d;
    return 0;
}

void draw_free(struct draw *d)
{
    if (!d)
        return;
    if (d->text)
        cairo_destroy(d->text);
    cairo_destroy(d->frames);
    cairo_surface_flush(d->surface);
    cairo_surface_destroy(d->surface);
    free(d);
}

static cairo_t *open_text(cairo_surface_t *surface)
{
    cairo_t *cr = cairo_create(surface);
    cairo_text_extents_t extents;

    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_BOLD);
    cairo_set_font_size(cr, 16);
    cairo_text_extents(cr, "x", &extents);
    if (cairo_status(cr) == CAIRO_STATUS_SUCCESS && extents.x_advance > 0)
        return cr;
    cairo_destroy(cr);
    return NULL;
}

void draw_frame(struct draw *d, struct draw_area a, double line, struct draw_colour colour)
{
    cairo_t *cr = d->frames;

    cairo_set_line_join(cr, CAIRO_LINE_JOIN_MITER);
    cairo_rectangle(cr, a.x, a.y, a.width, a.height);
    cairo_set_source_rgba(cr, 0, 0, 0, 0.65);
    cairo_set_line_width(cr, line + fmax(2, line * 0.7));
    cairo_stroke_preserve(cr);
    cairo_set_source_rgb(cr, colour.r, colour.g, colour.b);
    cairo_set_line_width(cr, line);
    cairo_stroke(cr);
}

static double padding(double font_size)
{
    return rint(fmax(1, font_size * 0.25));
}

bool draw_label_size(struct draw *d, const char *text, double font_size, double *ret_width,
                     double *ret_height)
{
    cairo_text_extents_t extents;
    cairo_font_extents_t font;

    if (!d->text)
        return false;
    cairo_set_font_size(d->text, font_size);
    cairo_text_extents(d->text, text, &extents);
    cairo_font_extents(d->text, &font);
    *ret_width = ceil(extents.x_advance) + 2 * padding(font_size);
    *ret_height = ceil(font.ascent + font.descent);
    return cairo_status(d->text) == CAIRO_STATUS_SUCCESS;
}

void draw_label(struct draw *d, double x, double y, const char *text, double font_size,
                struct draw_colour ground)
{
    /* Rec. 601 luma: yellow and green carry black text, blue and red white. */
    double luma = 0.299 * ground.r + 0.587 * ground.g + 0.114 * ground.b;
    double ink = luma > 0.5 ? 0 : 1, width = 0, height = 0;
    cairo_font_extents_t font;

    if (!draw_label_size(d, text, font_size, &width, &height))
        return;
    cairo_font_extents(d->text, &font);
    cairo_rectangle(d->text, x, y, width, height);
    cairo_set_source_rgb(d->text, ground.r, ground.g, ground.b);
    cairo_fill(d->text);
    cairo_rectangle(d->text, x + 0.5, y + 0.5, width - 1, height - 1);
    cairo_set_source_rgba(d->text, 0, 0, 0, 0.65);
    cairo_set_line_width(d->text, 1);
    cairo_stroke(d->text);
    cairo_set_source_rgb(d->text, ink, ink, ink);
    cairo_move_to(d->text, x + padding(font_size), y + rint(font.ascent));
    cairo_show_text(d->text, text);
}
