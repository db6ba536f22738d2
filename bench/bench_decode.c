/* What decoding and preprocessing of a 3840x2160 camera JPEG cost, as a share of libjpeg's full
 * decode alone. The picture is made here: a camera-like scene (gradients, edges,
 * texture, sensor noise) at 4:2:0, in several qualities, because Huffman decoding, which no scaling
 * saves, grows with the bits. CPU time of this thread, best of several rounds. */

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jpeglib.h>

#include "base/blob.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "picture/letterbox.h"
#include "picture/picture.h"

#define WIDTH 3840
#define HEIGHT 2160
#define ROUNDS 15

struct file {
    unsigned char *bytes;
    unsigned long size;
};

static void measure_file(const char *path);
static struct file make_picture(int quality);
static double full_decode_ms(const struct file *f);
static void our_ms(const struct file *f, int side, double *ret_decode, double *ret_fill);

int main(int argc, char **argv)
{
    static const int qualities[] = {60, 75, 85, 92}, sides[] = {416, 512, 640};

    if (argc > 1) {
        measure_file(argv[1]);
        return 0;
    }
    printf("%7s %6s %8s %5s | %8s %8s %8s | %6s\n", "quality", "kB", "bits/px", "input", "full ms",
           "decode", "fill", "ratio");
    for (size_t q = 0; q < ARRAY_LEN(qualities); q++) {
        struct file f = make_picture(qualities[q]);

        for (size_t s = 0; s < ARRAY_LEN(sides); s++) {
            double decode, fill, full = full_decode_ms(&f);

            our_ms(&f, sides[s], &decode, &fill);
            printf("%7d %6lu %8.2f %5d | %8.2f %8.2f %8.2f | %6.3f\n", qualities[q], f.size / 1000,
                   (double)f.size * 8 / WIDTH / HEIGHT, sides[s], full, decode, fill,
                   (decode + fill) / full);
        }
        free(f.bytes);
    }
    return 0;
}

/* The same for a JPEG file, as JSON. */
static void measure_file(const char *path)
{
    struct blob *bytes = NULL;
    struct err e = {.code = 0};
    double full, decode, fill;

    if (fs_read_blob(AT_FDCWD, path, (size_t)64 << 20, &bytes, &e) < 0) {
        fprintf(stderr, "bench_decode: %s\n", e.text);
        exit(1);
    }
    struct file f = {(unsigned char *)(uintptr_t)bytes->data, bytes->size};
    full = full_decode_ms(&f);
    our_ms(&f, 640, &decode, &fill);
    printf("{\"full_ms\": %.3f, \"decode_ms\": %.3f, \"fill_ms\": %.3f}\n", full, decode, fill);
    blob_unref(bytes);
}

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static unsigned random_next(unsigned *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 16;
}

static void paint_row(unsigned char *rgb, int y, unsigned *noise);

static struct file make_picture(int quality)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    struct file f = {NULL, 0};
    unsigned char *row = xmalloc(WIDTH * 3);
    unsigned noise = 1;

    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &f.bytes, &f.size);
    c.image_width = WIDTH;
    c.image_height = HEIGHT;
    c.input_components = 3;
    c.in_color_space = JCS_RGB;
    jpeg_set_defaults(&c); /* 4:2:0 */
    jpeg_set_quality(&c, quality, TRUE);
    jpeg_start_compress(&c, TRUE);
    for (int y = 0; y < HEIGHT; y++) {
        paint_row(row, y, &noise);
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    free(row);
    return f;
}

/* Sky above, a wall with windows, grass below, some noise everywhere. */
static void paint_row(unsigned char *rgb, int y, unsigned *noise)
{
    for (int x = 0; x < WIDTH; x++, rgb += 3) {
        double r, g, b, grain = (double)(random_next(noise) % 9) - 4;

        if (y < 600) {
            r = 150 + y / 12.0;
            g = 180 + y / 16.0;
            b = 230;
        } else if (y < 1300) {
            int window = x / 90 % 3 == 1 && y / 130 % 2 == 1;

            r = window ? 40 : 170 + 10 * sin(x / 7.0) * sin(y / 5.0);
            g = window ? 50 : 140 + 8 * sin(x / 7.0) * sin(y / 5.0);
            b = window ? 60 : 120;
        } else {
            double blade = 25 * sin(x / 3.0 + y / 2.0) * sin(x / 11.0 - y / 4.0);

            r = 70 + blade;
            g = 120 + blade;
            b = 50;
        }
        rgb[0] = (unsigned char)(r + grain);
        rgb[1] = (unsigned char)(g + grain);
        rgb[2] = (unsigned char)(b + grain);
    }
}

static double full_decode_ms(const struct file *f)
{
    double best = INFINITY;

    for (int i = 0; i < ROUNDS; i++) {
        struct jpeg_decompress_struct d;
        struct jpeg_error_mgr errors;
        unsigned char *pixels;
        double start;

        d.err = jpeg_std_error(&errors);
        jpeg_create_decompress(&d);
        start = now_ms();
        jpeg_mem_src(&d, f->bytes, f->size);
        jpeg_read_header(&d, TRUE);
        size_t row = (size_t)d.image_width * 3, size = row * d.image_height;
        d.out_color_space = JCS_RGB;
        start -= now_ms(); /* page faults are not the decoder's work */
        pixels = xmalloc(size);
        memset(pixels, 0, size);
        start += now_ms();
        jpeg_start_decompress(&d);
        while (d.output_scanline < d.output_height) {
            JSAMPROW rows[4];

            for (unsigned k = 0; k < 4; k++)
                rows[k] = pixels + MIN(d.output_scanline + k, d.output_height - 1U) * row;
            jpeg_read_scanlines(&d, rows, 4);
        }
        jpeg_finish_decompress(&d);
        jpeg_destroy_decompress(&d);
        best = fmin(best, now_ms() - start);
        free(pixels);
    }
    return best;
}

static void our_ms(const struct file *f, int side, double *ret_decode, double *ret_fill)
{
    static const struct tensor_format format = {.scale = 1 / 255.0F, .std = {1, 1, 1}, .fill = 114};
    float *tensor = xcalloc((size_t)side * (size_t)side * 3, sizeof *tensor);
    double best = INFINITY;

    for (int i = 0; i < ROUNDS; i++) {
        struct picture_info info;
        struct image *img = NULL;
        struct err e;
        double start = now_ms(), middle, end;
        struct letterbox lb;

        /* As the detector does: the header first, then as little as covers the input. */
        if (picture_probe(f->bytes, f->size, &picture_limits_default, &info, &e) < 0)
            abort();
        lb = letterbox_compute(LETTERBOX_CENTRE, info.width, info.height, side, side);
        if (picture_decode(f->bytes, f->size, &picture_limits_default, lb.resized_width,
                           lb.resized_height, &img, &info, &e) < 0)
            abort();
        middle = now_ms();
        if (letterbox_fill(&lb, &format, img, tensor) < 0)
            abort();
        end = now_ms();
        image_free(img);
        if (end - start < best) {
            best = end - start;
            *ret_decode = middle - start;
            *ret_fill = end - middle;
        }
    }
    free(tensor);
}
