/* Convolution, and convolution + bias + ReLU + 2x2 max-pooling, forward and backward, float32, stride 1.
 *
 * One image a SIMD lane. Sixteen images at a time are packed so that a pixel of all sixteen is one vector, X[h][c][w].
 * From then on every loop is the one of the definition, on vectors instead of numbers: no shuffles, no edges of rows to
 * take care of, nothing that depends on the size of the image. Padding is packed as zeros, and so are missing images.
 *
 * What makes it fast is that a tile of the output stays in registers: FILTERS x PIXELS sums, each number of the image
 * loaded once for all its filters, each weight once for all its pixels. Vectors of 64 bytes are what AVX-512 has; for
 * other processors the compiler splits them.
 *
 * There is no -ffast-math: NaN and infinities go the way they go in NumPy. Blocks of sixteen images are independent, and
 * threads take the next one when they have done theirs. Sums over blocks are left to the caller, in order, so that what
 * comes out does not depend on the threads.
 */
#include <stdint.h>
#include <string.h>
#include "abi.h"
#include "team.h"

enum { LANES = 16, FILTERS = 4, PIXELS = 6, COLUMNS = 5 };
typedef float lanes __attribute__((vector_size(64)));
typedef int32_t choice __attribute__((vector_size(64)));
typedef uint8_t ways __attribute__((vector_size(16)));
#define INLINE static inline __attribute__((always_inline))

/* Images (n, c, h, w) of any strides, counted in elements. */
typedef struct { const float *data; long n, c, h, w, sn, sc, sh, sw; } images;
/* Filters in groups of `group`, packed by the caller as [f / group][kh][c][kw][group]. */
typedef struct { const float *data; long f, c, kh, kw, group; } filters;
/* What a function is asked for; each says below what it uses. Scratch memory: `size` vectors for each thread. */
struct task {
    images x, dy;
    filters k, turned; /* turned around, channels and filters exchanged: those of dx */
    const float *bias;
    float *y, *dw, *db, *dx;
    uint8_t *way;
    long ph, pw, relu, threads, size;
    lanes *memory;
};

static long smaller(long a, long b) { return a < b ? a : b; }

/* The lanes that there are images for; the others hold zeros. */
INLINE lanes load(const float *from, long stride, long count) {
    lanes v = {0};
    if (stride == 1 && count == LANES) memcpy(&v, from, sizeof v);
    else for (long k = 0; k < count; k++) v[k] = from[k * stride];
    return v;
}

INLINE void store(float *to, lanes v, long count) {
    if (count == LANES) memcpy(to, &v, sizeof v);
    else for (long k = 0; k < count; k++) to[k] = v[k];
}

/* The way each maximum came, a byte an image; 4, none, where there is no image. */
INLINE choice load_ways(const uint8_t *from, long count) {
    ways v = (ways){0} + 4;
    if (count == LANES) memcpy(&v, from, sizeof v);
    else for (long k = 0; k < count; k++) v[k] = from[k];
    return __builtin_convertvector(v, choice);
}

INLINE void store_ways(uint8_t *to, choice from, long count) {
    ways v = __builtin_convertvector(from, ways);
    if (count == LANES) memcpy(to, &v, sizeof v);
    else for (long k = 0; k < count; k++) to[k] = v[k];
}

/* a where `which` is all ones, b where it is zero. (C has no ?: for vectors.) */
INLINE choice either(choice which, choice a, choice b) { return (which & a) | (~which & b); }
INLINE lanes pick(choice which, lanes a, lanes b) { return (lanes)either(which, (choice)a, (choice)b); }

/* By halves: as many steps as four additions, where one after another takes sixteen. */
INLINE float sum(lanes v) {
    float part[LANES];
    memcpy(part, &v, sizeof v);
    for (int half = LANES / 2; half; half /= 2)
        for (int k = 0; k < half; k++) part[k] += part[k + half];
    return part[0];
}

/* Block number `block` of the images, with ph and pw rows and columns of zeros around: out[h + 2 ph][c][w + 2 pw]. */
static void pack(const images *x, long block, long ph, long pw, lanes *out) {
    long width = x->w + 2 * pw, count = smaller(LANES, x->n - block * LANES);
    memset(out, 0, (x->h + 2 * ph) * x->c * width * sizeof *out);
    const float *from = x->data + block * LANES * x->sn;
    for (long h = 0; h < x->h; h++)
        for (long c = 0; c < x->c; c++)
            for (long w = 0; w < x->w; w++)
                out[((h + ph) * x->c + c) * width + w + pw] =
                    load(from + c * x->sc + h * x->sh + w * x->sw, x->sn, count);
}

/* The tile: `group` filters at `pixels` places next to each other. Both are constants where this is called, so that the
 * sums are registers. y[f][ow] = sum_icj w[i][c][j][f] x[i][c][ow + j], over `rows` pairs (i, c), which follow each
 * other in memory. */
INLINE void tile(const int group, const int pixels, const lanes *x, long width, long rows, long kw, const float *w,
                 lanes *y, long ow) {
    lanes sums[FILTERS][PIXELS];
    for (int f = 0; f < group; f++)
        for (int p = 0; p < pixels; p++) sums[f][p] = (lanes){0};
    for (long row = 0; row < rows; row++, x += width)
        for (long j = 0; j < kw; j++, w += group)
            for (int p = 0; p < pixels; p++) {
                lanes pixel = x[j + p];
                for (int f = 0; f < group; f++) sums[f][p] += pixel * w[f];
            }
    for (int f = 0; f < group; f++)
        for (int p = 0; p < pixels; p++) y[f * ow + p] = sums[f][p];
}

/* Row h of the output of all filters, y[f][ow], from a packed image whose rows ph ... end - 1 are not padding: kernel
 * rows that lie over padding only are left out. The compiler is told the width of 3x3 kernels: 117 GFLOP/s at 128
 * channels, and 94 if it is not. */
static void row_of(const lanes *x, long width, long h, long ph, long end, const filters *k, lanes *y, long ow) {
    long tiles = (ow + PIXELS - 1) / PIXELS;
    long top = h < ph ? smaller(ph - h, k->kh) : 0, rows = k->c * (smaller(k->kh, end - h) - top);
    x += (h + top) * k->c * width;
    for (long f = 0; f < k->f; f += k->group) {
        const float *w = k->data + (f * k->kh + top * k->group) * k->c * k->kw;
        for (long t = 0; t < tiles; t++) { /* of widths as equal as can be: 8 is 4 + 4 */
            long from = ow * t / tiles, pixels = ow * (t + 1) / tiles - from;
#define CASE(g, p) case (g) * 8 + (p): \
    if (k->kw == 3) tile(g, p, x + from, width, rows, 3, w, y + f * ow + from, ow); \
    else tile(g, p, x + from, width, rows, k->kw, w, y + f * ow + from, ow); break;
#define CASES(g) CASE(g, 1) CASE(g, 2) CASE(g, 3) CASE(g, 4) CASE(g, 5) CASE(g, 6)
            switch (k->group * 8 + pixels) { CASES(1) CASES(2) CASES(3) CASES(4) }
        }
    }
}

/* dweight of `group` filters, one channel, one kernel row and `columns` kernel columns: dw[f][j] += sum dy x. */
INLINE void gradient_tile(const int group, const int columns, const lanes *x, long x_row, const lanes *dy, long dy_row,
                          long dy_width, long oh, long ow, float *dw, long dw_filter) {
    lanes sums[FILTERS][COLUMNS];
    for (int f = 0; f < group; f++)
        for (int j = 0; j < columns; j++) sums[f][j] = (lanes){0};
    for (long h = 0; h < oh; h++, x += x_row, dy += dy_row)
        for (long w = 0; w < ow; w++)
            for (int f = 0; f < group; f++) {
                lanes d = dy[f * dy_width + w];
                for (int j = 0; j < columns; j++) sums[f][j] += d * x[w + j];
            }
    for (int f = 0; f < group; f++)
        for (int j = 0; j < columns; j++) dw[f * dw_filter + j] = sum(sums[f][j]);
}

/* dweight[f][c][i][j] of one block, from packed x (width `width`) and dy[h][f][.] (rows of `dy_width`, at its corner). */
static void filters_of(const lanes *x, long width, const lanes *dy, long dy_width, long oh, long ow, const filters *k,
                       float *dw) {
    for (long f = 0; f < k->f; f += k->group)
        for (long c = 0; c < k->c; c++)
            for (long i = 0; i < k->kh; i++)
                for (long j = 0; j < k->kw; j += COLUMNS) {
#define GRADIENT(g, n) case (g) * 8 + (n): \
    gradient_tile(g, n, x + (i * k->c + c) * width + j, k->c * width, dy + f * dy_width, k->f * dy_width, dy_width, oh, \
                  ow, dw + ((f * k->c + c) * k->kh + i) * k->kw + j, k->c * k->kh * k->kw); break;
#define GRADIENTS(g) GRADIENT(g, 1) GRADIENT(g, 2) GRADIENT(g, 3) GRADIENT(g, 4) GRADIENT(g, 5)
                    switch (k->group * 8 + smaller(COLUMNS, k->kw - j)) {
                        GRADIENTS(1) GRADIENTS(2) GRADIENTS(3) GRADIENTS(4)
                    }
                }
}

/* --- of one block of images, with scratch memory ------------------------------------------------------------------ */

/* A packed block, and one row of output. */
static void correlate_block(const task *t, long block, void *scratch) {
    const images *x = &t->x;
    const filters *k = &t->k;
    long width = x->w + 2 * t->pw, oh = x->h + 2 * t->ph - k->kh + 1, ow = width - k->kw + 1, n = x->n;
    long count = smaller(LANES, n - block * LANES);
    lanes *packed = scratch, *row = packed + (x->h + 2 * t->ph) * x->c * width;
    pack(x, block, t->ph, t->pw, packed);
    for (long h = 0; h < oh; h++) {
        row_of(packed, width, h, t->ph, t->ph + x->h, k, row, ow);
        for (long f = 0; f < k->f; f++)
            for (long w = 0; w < ow; w++) {
                lanes v = row[f * ow + w];
                if (t->bias) v += t->bias[f];
                if (t->relu) v = pick(v <= 0, (lanes){0}, v); /* NaN stays */
                store(t->y + ((h * k->f + f) * ow + w) * n + block * LANES, v, count);
            }
    }
}

/* Packed x, and packed dy. */
static void filters_gradient_block(const task *t, long block, void *scratch) {
    const images *x = &t->x, *dy = &t->dy;
    const filters *k = &t->k;
    long width = x->w + 2 * t->pw;
    lanes *packed = scratch, *grad = packed + (x->h + 2 * t->ph) * x->c * width;
    pack(x, block, t->ph, t->pw, packed);
    pack(dy, block, 0, 0, grad);
    filters_of(packed, width, grad, dy->w, dy->h, dy->w, k, t->dw + block * k->f * k->c * k->kh * k->kw);
}

/* A packed block, and two rows of output. */
static void correlate_and_pool_block(const task *t, long block, void *scratch) {
    const images *x = &t->x;
    const filters *k = &t->k;
    long width = x->w + 2 * t->pw, oh = x->h + 2 * t->ph - k->kh + 1, ow = width - k->kw + 1, n = x->n;
    long count = smaller(LANES, n - block * LANES);
    lanes *packed = scratch, *two = packed + (x->h + 2 * t->ph) * x->c * width;
    pack(x, block, t->ph, t->pw, packed);
    for (long p = 0; p < oh / 2; p++) {
        for (int i = 0; i < 2; i++)
            row_of(packed, width, 2 * p + i, t->ph, t->ph + x->h, k, two + i * k->f * ow, ow);
        for (long f = 0; f < k->f; f++)
            for (long q = 0; q < ow / 2; q++) {
                lanes best = {0};
                choice from = {0};
                for (int place = 0; place < 4; place++) {
                    lanes v = two[(place / 2 * k->f + f) * ow + 2 * q + place % 2];
                    if (t->bias) v += t->bias[f];
                    choice larger = place ? (v > best) | (v != v) : (choice){0} - 1; /* or NaN */
                    best = pick(larger, v, best);
                    from = either(larger, (choice){0} + place, from);
                }
                choice dead = best <= 0;
                long at = ((p * k->f + f) * (ow / 2) + q) * n + block * LANES;
                store(t->y + at, pick(dead, (lanes){0}, best), count);
                store_ways(t->way + at, either(dead, (choice){0} + 4, from), count);
            }
    }
}

/* Packed x, the gradient of the maps with room for dx around it, and a row of dx. */
static void pooled_gradients_block(const task *t, long block, void *scratch) {
    const images *x = &t->x, *dy = &t->dy;
    const filters *k = &t->k;
    long width = x->w + 2 * t->pw, oh = 2 * dy->h, ow = 2 * dy->w, n = x->n;
    long top = t->dx ? k->kh - 1 - t->ph : 0, left = t->dx ? k->kw - 1 - t->pw : 0, wide = ow + 2 * left;
    long count = smaller(LANES, n - block * LANES);
    lanes *packed = scratch, *maps = packed + (x->h + 2 * t->ph) * x->c * width;
    lanes *corner = maps + top * k->f * wide + left, *row = maps + (oh + 2 * top) * k->f * wide;
    memset(maps, 0, (oh + 2 * top) * k->f * wide * sizeof *maps);
    for (long f = 0; f < k->f; f++) {
        lanes total = {0};
        for (long p = 0; p < dy->h; p++)
            for (long q = 0; q < dy->w; q++) {
                lanes d = load(dy->data + block * LANES * dy->sn + f * dy->sc + p * dy->sh + q * dy->sw, dy->sn, count);
                choice from = load_ways(t->way + ((p * k->f + f) * dy->w + q) * n + block * LANES, count);
                total += pick(from == 4, (lanes){0}, d);
                for (int place = 0; place < 4; place++)
                    corner[((2 * p + place / 2) * k->f + f) * wide + 2 * q + place % 2] =
                        pick(from == place, d, (lanes){0});
            }
        if (t->db) t->db[block * k->f + f] = sum(total);
    }
    if (t->dw) {
        pack(x, block, t->ph, t->pw, packed);
        filters_of(packed, width, corner, wide, oh, ow, k, t->dw + block * k->f * k->c * k->kh * k->kw);
    }
    for (long h = 0; t->dx && h < x->h; h++) {
        row_of(maps, wide, h, top, top + oh, &t->turned, row, x->w);
        for (long c = 0; c < x->c; c++)
            for (long w = 0; w < x->w; w++)
                store(t->dx + ((h * x->c + c) * x->w + w) * n + block * LANES, row[c * x->w + w], count);
    }
}

/* --- of all of them ------------------------------------------------------------------------------------------------ */

static void share_blocks(const task *t, work *function) {
    share(t, function, (t->x.n + LANES - 1) / LANES, t->threads, t->memory, t->size * (long)sizeof(lanes));
}

/* y (OH, F, OW, N) = x * k + bias, then max(., 0) if `relu`. Also dx, with dy for x and the filters turned around. */
void correlate(const task *t) { share_blocks(t, correlate_block); }

/* dweight of every block by itself, dw[block][f][c][kh][kw], from x and dy. */
void filters_gradient(const task *t) { share_blocks(t, filters_gradient_block); }

/* y (OH / 2, F, OW / 2, N) = max-pool(relu(x * k + bias)), and beside it the way each maximum came: 0 to 3, row by row
 * in its window, or 4 where it was not positive. */
void correlate_and_pool(const task *t) { share_blocks(t, correlate_and_pool_block); }

/* The way back: dw[block], db[block][f] and dx (H, C, W, N), each where it is not null, from x, dy (OH / 2, ..., N) and
 * the ways. */
void pooled_gradients(const task *t) { share_blocks(t, pooled_gradients_block); }
