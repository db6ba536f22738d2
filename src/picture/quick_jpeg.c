#include "picture/quick_jpeg.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/macros.h"
#include "base/mem.h"
#include "picture/bytes.h"

/* ITU T.81. The inverse transform is linear: a pixel of the small picture, the mean of a square of
 * the large one, is a weighted sum of the block's coefficients. The weights, times the quantiser's
 * step, stand in one table per component and position ("basis"), four pixels to a vector. */

#define COMPONENTS_MAX 3
#define TABLES 4
#define BLOCK 64
#define BASIS_SIZE 128  /* runs may lead this far behind a block's end, where the weights are 0 */
#define PIXELS_MAX 16   /* of one block: colour at half resolution and 1/4 gives 4x4 */
#define PADDING_MAX 512 /* between the last pixel and the end marker, as in sys/jpeg.c */

/* The coded data is copied without its stuffing, so that bits are taken without looking at every
 * byte; a block may read this far behind the end before anybody asks. */
#define TAIL 512
#define CODED_MAX (16 * 1024 * 1024) /* larger files are rare enough for libjpeg */

#define LOOKUP_BITS 11

/* Weights are fixed-point words: the largest, 255 times the mean of two cosines, is below 64. */
#define WEIGHT_BITS 9

/* Four pixels of a block, in 1 / 2^WEIGHT_BITS. */
#ifdef __SSE2__
typedef __m128i quad;
#else
typedef struct {
    uint32_t v[4];
} quad;
#endif

/* What the next LOOKUP_BITS bits mean: up to two coefficients with the zeros before each, and where
 * the position stands then. The usual coefficient takes five bits, so this halves the chain of
 * dependent steps that decoding is. */
struct lookup {
    int16_t first, second; /* values, 0 where there is none */
    uint8_t first_skip;    /* positions from the current one to the first coefficient */
    uint8_t second_skip;   /* from there to the second */
    uint8_t advance;       /* from there on; BLOCK or more at the end of a block */
    uint8_t lengths;       /* bits used; 0: the code is longer than the lookup; <<4: of the first */
};

#define DC_LOOKUP_BITS 10

struct dc_lookup {
    int16_t value;
    uint8_t length; /* with the value; 0: longer */
};

struct huffman {
    bool defined;
    uint8_t symbols[256];
    int32_t limit[17];  /* first code of the next length, left aligned to 16 bits; by length */
    int32_t offset[17]; /* symbol index of a length's first code minus that code */
};

struct component {
    int id, h, v, quantiser, dc_table, ac_table;
    int wide, tall; /* pixels of one block */
    int dc;         /* prediction */
    int16_t basis[BASIS_SIZE][PIXELS_MAX];
    uint8_t *rows; /* one MCU row */
    size_t row_bytes;
};

struct bits {
    const uint8_t *at;
    uint64_t held; /* left aligned */
    int count;     /* of bits held, 56..63 after a refill */
};

struct quick {
    const uint8_t *data;
    size_t size, pos;
    int width, height, eighths;
    int count; /* components */
    int h_max, v_max;
    int restart_interval;
    bool have_frame;
    uint16_t quantisers[TABLES][BLOCK]; /* zigzag order; 0: undefined */
    struct huffman dc[TABLES], ac[TABLES];
    struct lookup quick[TABLES][1 << LOOKUP_BITS]; /* of ac */
    struct dc_lookup quick_dc[TABLES][1 << DC_LOOKUP_BITS];
    struct component components[COMPONENTS_MAX];
    uint8_t *coded; /* of one restart interval */
    size_t coded_size;
    struct bits bits;
};

static int read_headers(struct quick *q);
static int prepare(struct quick *q);
static int decode_scan(struct quick *q, struct raster_sink *sink);

int quick_jpeg_decode(const uint8_t *data, size_t size, int width, int height, int eighths,
                      struct raster_sink *sink, struct err *e)
{
    AUTO_FREE struct quick *q = mem_try_alloc(1, sizeof *q, sizeof *q);
    int r;

    if (!q)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory to decode a JPEG");
    memset(q, 0, sizeof *q);
    q->data = data;
    q->size = size;
    q->width = width;
    q->height = height;
    q->eighths = eighths;
    r = read_headers(q);
    if (r == 0)
        r = prepare(q);
    if (r == 0)
        r = sink->begin(sink, (width * eighths + 7) / 8, (height * eighths + 7) / 8, e);
    if (r == 0)
        r = decode_scan(q, sink);
    for (int c = 0; c < q->count; c++)
        free(q->components[c].rows);
    free(q->coded);
    return r;
}

/* Headers. Zero to go on, -ENOTSUP for what libjpeg had better read. */

static int read_quantisers(struct quick *q, const uint8_t *p, size_t len);
static int read_huffman(struct quick *q, const uint8_t *p, size_t len);
static int read_frame(struct quick *q, const uint8_t *p, size_t len);
static int read_scan(struct quick *q, const uint8_t *p, size_t len);

static int read_headers(struct quick *q)
{
    q->pos = 2;
    while (q->size - q->pos >= 4) {
        const uint8_t *p = q->data + q->pos;
        size_t len = be16(p + 2);
        int marker = p[1], r = 0;

        if (p[0] != 0xff || marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd9) || len < 2 ||
            len > q->size - q->pos - 2)
            return -ENOTSUP;
        p += 4;
        len -= 2;
        q->pos += 4 + len;
        switch (marker) {
        case 0xdb:
            r = read_quantisers(q, p, len);
            break;
        case 0xc4:
            r = read_huffman(q, p, len);
            break;
        case 0xc0:
        case 0xc1:
            r = read_frame(q, p, len);
            break;
        case 0xdd:
            if (len != 2)
                return -ENOTSUP;
            q->restart_interval = (int)be16(p);
            break;
        case 0xee: /* Adobe's: its last byte is 1 for YCbCr */
            if (len >= 12 && memcmp(p, "Adobe", 5) == 0 && p[11] != 1)
                return -ENOTSUP;
            break;
        case 0xda:
            return read_scan(q, p, len);
        default:
            if (marker < 0xe0 || (marker > 0xef && marker != 0xfe))
                return -ENOTSUP; /* other frames and exotic things; not APPn and comments */
        }
        if (r < 0)
            return r;
    }
    return -ENOTSUP;
}

static int read_quantisers(struct quick *q, const uint8_t *p, size_t len)
{
    for (; len >= 1 + BLOCK; p += 1 + BLOCK, len -= 1 + BLOCK) {
        if (p[0] >= TABLES) /* also 16 bit precision */
            return -ENOTSUP;
        for (int k = 0; k < BLOCK; k++)
            q->quantisers[p[0]][k] = p[1 + k];
    }
    return len == 0 ? 0 : -ENOTSUP;
}

static int make_huffman(struct huffman *h, const uint8_t *lengths, const uint8_t *symbols,
                        size_t count);

static int read_huffman(struct quick *q, const uint8_t *p, size_t len)
{
    while (len >= 17) {
        size_t count = 0;
        int r;

        for (int i = 1; i <= 16; i++)
            count += p[i];
        if (p[0] >> 4 > 1 || (p[0] & 15) >= TABLES || count > 256 || len < 17 + count)
            return -ENOTSUP;
        r = make_huffman(p[0] >> 4 ? &q->ac[p[0] & 15] : &q->dc[p[0] & 15], p, p + 17, count);
        if (r < 0)
            return r;
        p += 17 + count;
        len -= 17 + count;
    }
    return len == 0 ? 0 : -ENOTSUP;
}

/* lengths[1..16] count the codes of each length. */
static int make_huffman(struct huffman *h, const uint8_t *lengths, const uint8_t *symbols,
                        size_t count)
{
    int code = 0, index = 0;

    memset(h, 0, sizeof *h);
    memcpy(h->symbols, symbols, count);
    for (int length = 1; length <= 16; length++) {
        h->offset[length] = index - code;
        code += lengths[length];
        index += lengths[length];
        if (code > 1 << length)
            return -ENOTSUP; /* more codes than there are */
        h->limit[length] = code << (16 - length);
        code <<= 1;
    }
    h->defined = true;
    return 0;
}

static int read_frame(struct quick *q, const uint8_t *p, size_t len)
{
    if (q->have_frame || len < 6 || p[0] != 8 || (int)be16(p + 1) != q->height ||
        (int)be16(p + 3) != q->width || (p[5] != 1 && p[5] != 3) || len != 6 + 3 * (size_t)p[5])
        return -ENOTSUP;
    q->have_frame = true;
    q->count = p[5];
    for (int i = 0; i < q->count; i++) {
        struct component *c = &q->components[i];

        c->id = p[6 + 3 * i];
        c->h = p[7 + 3 * i] >> 4;
        c->v = p[7 + 3 * i] & 15;
        c->quantiser = p[8 + 3 * i];
        if (c->quantiser >= TABLES || c->h < 1 || c->h > 2 || c->v < 1 || c->v > 2)
            return -ENOTSUP;
        if (i > 0 && (c->h != 1 || c->v != 1))
            return -ENOTSUP;
    }
    if (q->count == 1) /* a single component has no MCUs of several blocks */
        q->components[0].h = q->components[0].v = 1;
    else if (q->components[0].id == 'R' || q->components[1].id != q->components[0].id + 1)
        return -ENOTSUP; /* not YCbCr, or who knows */
    q->h_max = q->components[0].h;
    q->v_max = q->components[0].v;
    return 0;
}

static int read_scan(struct quick *q, const uint8_t *p, size_t len)
{
    if (!q->have_frame || len != 4 + 2 * (size_t)q->count || p[0] != q->count)
        return -ENOTSUP;
    for (int i = 0; i < q->count; i++) {
        struct component *c = &q->components[i];

        c->dc_table = p[2 + 2 * i] >> 4;
        c->ac_table = p[2 + 2 * i] & 15;
        if (p[1 + 2 * i] != c->id || c->dc_table >= TABLES || c->ac_table >= TABLES ||
            !q->dc[c->dc_table].defined || !q->ac[c->ac_table].defined)
            return -ENOTSUP;
    }
    p += 1 + 2 * q->count;
    return p[0] == 0 && p[1] == BLOCK - 1 && p[2] == 0 ? 0 : -ENOTSUP;
}

/* Tables and rows. */

static int make_basis(const struct quick *q, struct component *c);
static void make_lookup(const struct huffman *h, struct lookup *quick);
static void make_dc_lookup(const struct huffman *h, struct dc_lookup *quick);

static int mcus_across(const struct quick *q)
{
    return (q->width + 8 * q->h_max - 1) / (8 * q->h_max);
}

static int mcus_down(const struct quick *q)
{
    return (q->height + 8 * q->v_max - 1) / (8 * q->v_max);
}

static int prepare(struct quick *q)
{
    q->coded = mem_try_alloc(q->size - q->pos + TAIL, 1, CODED_MAX);
    if (!q->coded)
        return -ENOTSUP; /* libjpeg may do with less */
    for (int i = 0; i < TABLES; i++) {
        if (q->ac[i].defined)
            make_lookup(&q->ac[i], q->quick[i]);
        if (q->dc[i].defined)
            make_dc_lookup(&q->dc[i], q->quick_dc[i]);
    }
    for (int i = 0; i < q->count; i++) {
        struct component *c = &q->components[i];
        size_t tall;

        /* Every component is brought to the resolution of the result. */
        c->wide = q->eighths * q->h_max / c->h;
        c->tall = q->eighths * q->v_max / c->v;
        if (make_basis(q, c) < 0)
            return -ENOTSUP;
        c->row_bytes = (size_t)mcus_across(q) * (size_t)c->h * (size_t)c->wide;
        tall = (size_t)c->v * (size_t)c->tall;
        c->rows = mem_try_alloc(c->row_bytes, tall, c->row_bytes * tall);
        if (!c->rows)
            return -ENOTSUP;
    }
    return 0;
}

/* The mean of the u-th cosine over the i-th of n equal parts of a block. */
static double part_mean(int u, int i, int n)
{
    int part = 8 / n;
    double sum = 0;

    for (int x = i * part; x < (i + 1) * part; x++)
        sum += cos((2 * x + 1) * u * M_PI / 16);
    return sum / part * (u == 0 ? M_SQRT1_2 : 1) / 2;
}

static int make_basis(const struct quick *q, struct component *c)
{
    static const uint8_t zigzag[BLOCK] = {
        0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
        41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
        30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};
    const uint16_t *steps = q->quantisers[c->quantiser];
    double across[8][4], down[8][4];

    for (int u = 0; u < 8; u++) {
        for (int i = 0; i < c->wide; i++)
            across[u][i] = part_mean(u, i, c->wide);
        for (int i = 0; i < c->tall; i++)
            down[u][i] = part_mean(u, i, c->tall);
    }
    for (int k = 0; k < BLOCK; k++) {
        int u = zigzag[k] % 8, v = zigzag[k] / 8;

        if (steps[k] == 0)
            return -ENOTSUP;
        for (int i = 0; i < c->wide * c->tall; i++)
            c->basis[k][i] = (int16_t)lrint(across[u][i % c->wide] * down[v][i / c->wide] *
                                            steps[k] * (1 << WEIGHT_BITS));
    }
    return 0;
}

/* JPEG's signed numbers: without a leading one the value is negative. */
static int extend(int bits, int size)
{
    return bits < 1 << (size - 1) ? bits - (1 << size) + 1 : bits;
}

/* The symbol at the front of 16 bits and its length; -1 for no code. */
static int find_symbol(const struct huffman *h, int code, int *ret_length)
{
    for (int length = 1; length <= 16; length++) {
        if (code < h->limit[length]) {
            int index = (code >> (16 - length)) + h->offset[length];

            *ret_length = length;
            return index >= 0 && index < 256 ? h->symbols[index] : -1;
        }
    }
    return -1;
}

/* Takes one code with its value from the front of `bits`, `left` of which are known. Returns the
 * bits it takes, 0 when they do not suffice. */
static int take(const struct huffman *h, int bits, int left, int *ret_run, int *ret_value)
{
    int length = 0, symbol = find_symbol(h, bits << (16 - LOOKUP_BITS) & 0xffff, &length);
    int size = symbol & 15;

    if (symbol < 0 || length + size > left)
        return 0;
    *ret_run = symbol >> 4;
    *ret_value = 0;
    if (size > 0)
        *ret_value = extend(bits >> (LOOKUP_BITS - length - size) & ((1 << size) - 1), size);
    else
        *ret_run = symbol == 0xf0 ? 16 : BLOCK; /* sixteen zeros, or zeros up to the end */
    return length + size;
}

static void make_lookup(const struct huffman *h, struct lookup *quick)
{
    for (int bits = 0; bits < 1 << LOOKUP_BITS; bits++) {
        struct lookup *l = &quick[bits];
        int run, value, used = take(h, bits, LOOKUP_BITS, &run, &value);

        *l = (struct lookup){.lengths = (uint8_t)(used << 4 | used)};
        if (used == 0)
            continue;
        if (value == 0) {
            l->advance = (uint8_t)run;
            continue;
        }
        l->first = (int16_t)value;
        l->first_skip = (uint8_t)run;
        l->advance = 1;
        used = take(h, (bits << used) & ((1 << LOOKUP_BITS) - 1), LOOKUP_BITS - used, &run, &value);
        l->lengths = (uint8_t)(l->lengths + used);
        if (used > 0 && value == 0)
            l->advance = (uint8_t)(1 + run);
        if (used > 0 && value != 0) {
            l->second = (int16_t)value;
            l->second_skip = (uint8_t)(1 + run);
        }
    }
}

static void make_dc_lookup(const struct huffman *h, struct dc_lookup *quick)
{
    for (int bits = 0; bits < 1 << DC_LOOKUP_BITS; bits++) {
        int length = 0, code = bits << (16 - DC_LOOKUP_BITS), size = find_symbol(h, code, &length);

        quick[bits] = (struct dc_lookup){0};
        if (size < 0 || size > 11 || length + size > DC_LOOKUP_BITS)
            continue;
        quick[bits].length = (uint8_t)(length + size);
        if (size > 0)
            quick[bits].value =
                (int16_t)extend(bits >> (DC_LOOKUP_BITS - length - size) & ((1 << size) - 1), size);
    }
}

/* Bits. */

static inline __attribute__((always_inline)) void refill(struct bits *b)
{
    uint64_t next;

    memcpy(&next, b->at, 8);
    if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
        next = __builtin_bswap64(next);
    b->held |= next >> b->count;
    b->at += (63 - b->count) >> 3;
    b->count |= 56;
}

static inline __attribute__((always_inline)) void drop(struct bits *b, int n)
{
    b->held <<= n;
    b->count -= n;
}

static inline __attribute__((always_inline)) unsigned peek(const struct bits *b, int n)
{
    return (unsigned)(b->held >> (64 - n));
}

/* A code and its value, 31 bits at most; symbol -1 for no code. */
struct coded {
    int16_t symbol;
    int16_t length;
    int value;
};

/* Returned by value: with their address taken, the bits would live in memory, and decoding is one
 * long chain of dependent steps through them. */
static __attribute__((noinline)) struct coded read_code(const struct huffman *h, uint64_t held)
{
    int length = 0, symbol = find_symbol(h, (int)(held >> 48), &length), size = symbol & 15;
    struct coded c = {.symbol = (int16_t)symbol, .length = (int16_t)(length + size)};

    if (symbol >= 0 && size > 0)
        c.value = extend((int)(held << length >> (64 - size)), size);
    return c;
}

/* Blocks. */

struct sums {
    quad q0, q1, q2, q3; /* not an array: arrays stay in memory */
};

/* sum += first * v1 + second * v2, wrapping: what overflows is no picture anyway. The two values
 * come as they stand in a lookup. */
static inline __attribute__((always_inline)) quad
quad_add(quad sum, const int16_t *first, const int16_t *second, int16_t v1, int16_t v2)
{
#ifdef __SSE2__
    __m128i both = _mm_unpacklo_epi16(_mm_loadl_epi64((const __m128i *)(const void *)first),
                                      _mm_loadl_epi64((const __m128i *)(const void *)second));
    __m128i values = _mm_set1_epi32((int)((uint32_t)(uint16_t)v2 << 16 | (uint16_t)v1));

    return _mm_add_epi32(sum, _mm_madd_epi16(both, values));
#else
    for (int i = 0; i < 4; i++)
        sum.v[i] += (uint32_t)(first[i] * v1) + (uint32_t)(second[i] * v2);
    return sum;
#endif
}

static inline __attribute__((always_inline)) quad quad_zero(void)
{
#ifdef __SSE2__
    return _mm_setzero_si128();
#else
    return (quad){{0}};
#endif
}

static inline __attribute__((always_inline)) void add(struct sums *s, const int quads,
                                                      const int16_t *first, const int16_t *second,
                                                      int16_t v1, int16_t v2)
{
    if (quads > 0)
        s->q0 = quad_add(s->q0, first, second, v1, v2);
    if (quads > 1)
        s->q1 = quad_add(s->q1, first + 4, second + 4, v1, v2);
    if (quads > 2) {
        s->q2 = quad_add(s->q2, first + 8, second + 8, v1, v2);
        s->q3 = quad_add(s->q3, first + 12, second + 12, v1, v2);
    }
}

/* Adds the coefficients of one block to `ret`, `quads` of four pixels (0: only the first
 * coefficient counts). False for data that libjpeg should judge. */
static inline __attribute__((always_inline)) bool read_block(struct quick *q, struct component *c,
                                                             const int quads, struct sums *ret)
{
    const struct huffman *ac = &q->ac[c->ac_table];
    const struct lookup *quick = q->quick[c->ac_table];
    const struct dc_lookup *dc;
    struct bits b = q->bits;
    struct sums s;
    struct coded code;
    int k = 1;

    refill(&b);
    dc = &q->quick_dc[c->dc_table][peek(&b, DC_LOOKUP_BITS)];
    if (__builtin_expect(dc->length > 0, 1)) {
        drop(&b, dc->length);
        c->dc += dc->value;
    } else {
        code = read_code(&q->dc[c->dc_table], b.held);
        if (code.symbol < 0 || code.symbol > 11)
            return false;
        drop(&b, code.length);
        c->dc += code.value;
    }
    if (c->dc < -32768 || c->dc > 32767)
        return false;
    s.q0 = s.q1 = s.q2 = s.q3 = quad_zero();
    add(&s, quads, c->basis[0], c->basis[0], (int16_t)c->dc, 0);

    while (k < BLOCK) {
        struct lookup l;

        refill(&b);
        l = quick[peek(&b, LOOKUP_BITS)];
        if (__builtin_expect(l.lengths > 0, 1)) {
            k += l.first_skip;
            if (__builtin_expect(k >= BLOCK - 1 && l.first != 0, 0)) {
                /* The last position: what the lookup holds next belongs to another block. */
                drop(&b, l.lengths >> 4);
                add(&s, quads, c->basis[k], c->basis[k], l.first, 0);
                break;
            }
            drop(&b, l.lengths & 15);
            add(&s, quads, c->basis[k], c->basis[k + l.second_skip], l.first, l.second);
            k += l.second_skip + l.advance;
            continue;
        }
        code = read_code(ac, b.held);
        if (code.symbol < 0)
            return false;
        drop(&b, code.length);
        if (code.value == 0) {
            k += code.symbol == 0xf0 ? 16 : BLOCK;
            continue;
        }
        k += code.symbol >> 4;
        add(&s, quads, c->basis[k], c->basis[k], (int16_t)code.value, 0);
        k++;
    }
    q->bits = b;
    *ret = s;
    return b.at <= q->coded + q->coded_size + 8; /* the tail holds what one block may read */
}

static inline __attribute__((always_inline)) uint8_t to_pixel(int32_t v)
{
    int i = ((v + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS) + 128;

    return (uint8_t)(i < 0 ? 0 : i > 255 ? 255 : i);
}

static inline __attribute__((always_inline)) void to_pixels(quad v, uint8_t *to)
{
#ifdef __SSE2__
    __m128i i =
        _mm_srai_epi32(_mm_add_epi32(v, _mm_set1_epi32(1 << (WEIGHT_BITS - 1))), WEIGHT_BITS);
    int word;

    i = _mm_add_epi32(i, _mm_set1_epi32(128));
    i = _mm_packs_epi32(i, i);
    i = _mm_packus_epi16(i, i);
    word = _mm_cvtsi128_si32(i);
    memcpy(to, &word, 4);
#else
    for (int i = 0; i < 4; i++)
        to[i] = to_pixel((int32_t)(v.v[i] & 0x3fffffff) - (int32_t)(v.v[i] & 0x40000000));
#endif
}

static bool put_block(struct quick *q, struct component *c, uint8_t *to)
{
    struct sums s;
    uint8_t pixels[PIXELS_MAX];

    switch (c->wide * c->tall) {
    case 1:
        if (!read_block(q, c, 0, &s))
            return false;
        *to = to_pixel(c->basis[0][0] * c->dc);
        return true;
    case 2:
    case 4:
        if (!read_block(q, c, 1, &s))
            return false;
        to_pixels(s.q0, pixels);
        break;
    case 8:
        if (!read_block(q, c, 2, &s))
            return false;
        to_pixels(s.q0, pixels);
        to_pixels(s.q1, pixels + 4);
        break;
    default:
        if (!read_block(q, c, 4, &s))
            return false;
        to_pixels(s.q0, pixels);
        to_pixels(s.q1, pixels + 4);
        to_pixels(s.q2, pixels + 8);
        to_pixels(s.q3, pixels + 12);
    }
    if (c->wide == 4) {
        for (int y = 0; y < c->tall; y++)
            memcpy(to + (size_t)y * c->row_bytes, pixels + 4 * y, 4);
    } else if (c->wide == 2) {
        for (int y = 0; y < c->tall; y++)
            memcpy(to + (size_t)y * c->row_bytes, pixels + 2 * y, 2);
    } else {
        for (int y = 0; y < c->tall; y++)
            to[(size_t)y * c->row_bytes] = pixels[y];
    }
    return true;
}

static bool read_mcu(struct quick *q, int column)
{
    for (int i = 0; i < q->count; i++) {
        struct component *c = &q->components[i];

        for (int v = 0; v < c->v; v++) {
            for (int h = 0; h < c->h; h++) {
                size_t x = ((size_t)column * (size_t)c->h + (size_t)h) * (size_t)c->wide;

                if (!put_block(q, c, c->rows + (size_t)(v * c->tall) * c->row_bytes + x))
                    return false;
            }
        }
    }
    return true;
}

static void copy_coded(struct quick *q);
static bool read_restart(struct quick *q, int number);
static bool ends_well(const struct quick *q);
static void put_row(const struct quick *q, int row, int width, uint8_t *rgb);

static int decode_scan(struct quick *q, struct raster_sink *sink)
{
    const int across = mcus_across(q), down = mcus_down(q);
    const int width = (q->width * q->eighths + 7) / 8, height = (q->height * q->eighths + 7) / 8;
    const int tall = q->v_max * q->eighths;
    int until_restart = q->restart_interval, restarts = 0, y = 0;

    copy_coded(q);
    for (int row = 0; row < down; row++) {
        for (int column = 0; column < across; column++) {
            if (q->restart_interval > 0 && until_restart == 0) {
                if (!read_restart(q, restarts++ & 7))
                    return -ENOTSUP;
                until_restart = q->restart_interval;
            }
            until_restart--;
            if (!read_mcu(q, column))
                return -ENOTSUP;
        }
        for (int i = 0; i < tall && y < height; i++, y++) {
            put_row(q, i, width, sink->row(sink));
            sink->put(sink);
        }
    }
    return ends_well(q) ? 0 : -ENOTSUP;
}

/* Copies from `pos` up to the next marker, and leaves `pos` there. */
static void copy_coded(struct quick *q)
{
    const uint8_t *from = q->data + q->pos, *end = q->data + q->size;
    uint8_t *to = q->coded;

    while (from < end) {
        const uint8_t *ff = memchr(from, 0xff, (size_t)(end - from));
        size_t n = (size_t)((ff ? ff : end) - from);

        memcpy(to, from, n);
        to += n;
        from += n;
        if (!ff || end - ff < 2 || ff[1] != 0)
            break;
        *to++ = 0xff;
        from += 2;
    }
    while (end - from >= 2 && from[0] == 0xff && from[1] == 0xff)
        from++; /* fill bytes before the marker */
    q->pos = (size_t)(from - q->data);
    q->coded_size = (size_t)(to - q->coded);
    memset(to, 0, TAIL);
    q->bits = (struct bits){.at = q->coded};
}

/* Bytes of coded data that were not used, -1 when more was used than there is. */
static ptrdiff_t bytes_left(const struct quick *q)
{
    ptrdiff_t used_bits = (q->bits.at - q->coded) * 8 - q->bits.count;
    ptrdiff_t left = (ptrdiff_t)q->coded_size * 8 - used_bits;

    return left < 0 ? -1 : left / 8;
}

static bool at_marker(const struct quick *q, int marker)
{
    return q->size - q->pos >= 2 && q->data[q->pos] == 0xff && q->data[q->pos + 1] == marker;
}

static bool read_restart(struct quick *q, int number)
{
    if (bytes_left(q) != 0 || !at_marker(q, 0xd0 + number))
        return false;
    q->pos += 2;
    copy_coded(q);
    for (int i = 0; i < q->count; i++)
        q->components[i].dc = 0;
    return true;
}

static bool ends_well(const struct quick *q)
{
    ptrdiff_t left = bytes_left(q);

    return left >= 0 && left <= PADDING_MAX && at_marker(q, 0xd9);
}

#define STRIP 256 /* pixels converted at a time */

/* JFIF's conversion in 16-bit arithmetic, each factor split so that its fraction fits a signed
 * word: 1.402 = 1 + 0.402, 0.714 = 1 - 0.286, 1.772 = 2 - 0.228. Differs from libjpeg's by one or
 * two. */
static void convert_strip(const uint8_t *restrict y, const uint8_t *restrict cb,
                          const uint8_t *restrict cr, int n, uint8_t *restrict r,
                          uint8_t *restrict g, uint8_t *restrict b)
{
    for (int x = 0; x < n; x++) {
        /* Doubled, so that the halves that multiplication cuts off stay small. */
        const int16_t light = y[x], blue = (int16_t)((cb[x] - 128) * 2),
                      red = (int16_t)((cr[x] - 128) * 2);
        const int16_t red_part = (int16_t)((red * 26345 + 32768) >> 16);
        const int16_t green_part =
            (int16_t)(((int16_t)((red * 18734) >> 16) - (int16_t)((blue * 22554) >> 16)));
        const int16_t blue_part = (int16_t)((blue * 14942 + 32768) >> 16);
        int16_t v = (int16_t)(light + ((red + red_part + 1) >> 1));

        r[x] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        v = (int16_t)(light + ((green_part - red + 1) >> 1));
        g[x] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        v = (int16_t)(light + ((2 * blue - blue_part + 1) >> 1));
        b[x] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

static void put_row(const struct quick *q, int row, int width, uint8_t *rgb)
{
    const struct component *c = q->components;
    const uint8_t *y = c[0].rows + (size_t)row * c[0].row_bytes, *cb, *cr;
    uint8_t r[STRIP], g[STRIP], b[STRIP];

    if (q->count == 1) {
        for (int x = 0; x < width; x++)
            rgb[3 * x] = rgb[3 * x + 1] = rgb[3 * x + 2] = y[x];
        return;
    }
    cb = c[1].rows + (size_t)row * c[1].row_bytes;
    cr = c[2].rows + (size_t)row * c[2].row_bytes;
    for (int at = 0; at < width; at += STRIP) {
        int n = MIN(width - at, STRIP);

        convert_strip(y + at, cb + at, cr + at, n, r, g, b);
        /* Four bytes a store; the next pixel overwrites the fourth. */
        for (int x = 0; x < n - 1; x++, rgb += 3) {
            uint32_t word = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
                                ? (uint32_t)b[x] << 16 | (uint32_t)g[x] << 8 | r[x]
                                : (uint32_t)r[x] << 24 | (uint32_t)g[x] << 16 | (uint32_t)b[x] << 8;

            memcpy(rgb, &word, 4);
        }
        rgb[0] = r[n - 1];
        rgb[1] = g[n - 1];
        rgb[2] = b[n - 1];
        rgb += 3;
    }
}
