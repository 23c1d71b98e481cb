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
 * There is no -ffast-math: NaN and infinities go the way they go in NumPy. Blocks of sixteen images are independent, so
 * threads may share them out: functions take a range of blocks. Sums over blocks are left to the caller, in order.
 */
#include <stdint.h>
#include <string.h>

enum { LANES = 16, FILTERS = 4, PIXELS = 6, COLUMNS = 5 };
typedef float lanes __attribute__((vector_size(64)));
typedef int32_t choice __attribute__((vector_size(64)));
#define INLINE static inline __attribute__((always_inline))

/* Images (n, c, h, w) of any strides, counted in elements. */
typedef struct { const float *data; long n, c, h, w, sn, sc, sh, sw; } images;
/* Filters in groups of `group`, packed by the caller as [f / group][kh][c][kw][group]. */
typedef struct { const float *data; long f, c, kh, kw, group; } filters;

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

/* a where `which` is all ones, b where it is zero. (C has no ?: for vectors.) */
INLINE choice either(choice which, choice a, choice b) { return (which & a) | (~which & b); }
INLINE lanes pick(choice which, lanes a, lanes b) { return (lanes)either(which, (choice)a, (choice)b); }

INLINE float sum(lanes v) {
    float total = 0;
    for (int k = 0; k < LANES; k++) total += v[k];
    return total;
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

/* Row h of the output of all filters, y[f][ow], from a packed image of which rows ph ... end - 1 are not padding: kernel
 * rows that lie over padding only are left out. */
static void row_of(const lanes *x, long width, long h, long ph, long end, const filters *k, lanes *y, long ow) {
    long tiles = (ow + PIXELS - 1) / PIXELS;
    long top = h < ph ? smaller(ph - h, k->kh) : 0, rows = k->c * (smaller(k->kh, end - h) - top);
    x += (h + top) * k->c * width;
    for (long f = 0; f < k->f; f += k->group) {
        const float *w = k->data + (f * k->kh + top * k->group) * k->c * k->kw;
        for (long t = 0; t < tiles; t++) { /* of widths as equal as can be: 8 is 4 + 4 */
            long from = ow * t / tiles, pixels = ow * (t + 1) / tiles - from;
#define CASE(g, p) case (g) * 8 + (p): tile(g, p, x + from, width, rows, k->kw, w, y + f * ow + from, ow); break;
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

/* y (OH, F, OW, N) = x * k + bias, then max(., 0) if `relu`. Also dx, with dy for x and the filters turned around.
 * scratch: a packed block, and one row of output. */
void correlate(const images *x, const filters *k, const float *bias, int relu, long ph, long pw, float *y, long first,
               long last, lanes *scratch) {
    long width = x->w + 2 * pw, oh = x->h + 2 * ph - k->kh + 1, ow = width - k->kw + 1, n = x->n;
    lanes *row = scratch + (x->h + 2 * ph) * x->c * width;
    for (long block = first; block < last; block++) {
        long count = smaller(LANES, n - block * LANES);
        pack(x, block, ph, pw, scratch);
        for (long h = 0; h < oh; h++) {
            row_of(scratch, width, h, ph, ph + x->h, k, row, ow);
            for (long f = 0; f < k->f; f++)
                for (long w = 0; w < ow; w++) {
                    lanes v = row[f * ow + w];
                    if (bias) v += bias[f];
                    if (relu) v = pick(v <= 0, (lanes){0}, v); /* NaN stays */
                    store(y + ((h * k->f + f) * ow + w) * n + block * LANES, v, count);
                }
        }
    }
}

/* dweight of every block by itself: dw[block][f][c][kh][kw]. scratch: packed x, and packed dy. */
void filters_gradient(const images *x, const images *dy, const filters *k, long ph, long pw, float *dw, long first,
                      long last, lanes *scratch) {
    long width = x->w + 2 * pw;
    lanes *grad = scratch + (x->h + 2 * ph) * x->c * width;
    for (long block = first; block < last; block++) {
        pack(x, block, ph, pw, scratch);
        pack(dy, block, 0, 0, grad);
        filters_of(scratch, width, grad, dy->w, dy->h, dy->w, k, dw + block * k->f * k->c * k->kh * k->kw);
    }
}

/* y (OH / 2, F, OW / 2, N) = max-pool(relu(x * k + bias)), and beside it the way each maximum came: 0 to 3, row by row
 * in its window, or 4 where it was not positive. scratch: a packed block, and two rows of output. */
void correlate_and_pool(const images *x, const filters *k, const float *bias, long ph, long pw, float *y, uint8_t *way,
                        long first, long last, lanes *scratch) {
    long width = x->w + 2 * pw, oh = x->h + 2 * ph - k->kh + 1, ow = width - k->kw + 1, n = x->n;
    lanes *two = scratch + (x->h + 2 * ph) * x->c * width;
    for (long block = first; block < last; block++) {
        long count = smaller(LANES, n - block * LANES);
        pack(x, block, ph, pw, scratch);
        for (long p = 0; p < oh / 2; p++) {
            for (int i = 0; i < 2; i++)
                row_of(scratch, width, 2 * p + i, ph, ph + x->h, k, two + i * k->f * ow, ow);
            for (long f = 0; f < k->f; f++)
                for (long q = 0; q < ow / 2; q++) {
                    lanes best = {0};
                    choice from = {0};
                    for (int place = 0; place < 4; place++) {
                        lanes v = two[(place / 2 * k->f + f) * ow + 2 * q + place % 2];
                        if (bias) v += bias[f];
                        choice larger = place ? (v > best) | (v != v) : (choice){0} - 1; /* or NaN */
                        best = pick(larger, v, best);
                        from = either(larger, (choice){0} + place, from);
                    }
                    choice dead = best <= 0;
                    best = pick(dead, (lanes){0}, best);
                    from = either(dead, (choice){0} + 4, from);
                    long at = ((p * k->f + f) * (ow / 2) + q) * n + block * LANES;
                    store(y + at, best, count);
                    for (long lane = 0; lane < count; lane++) way[at + lane] = (uint8_t)from[lane];
                }
        }
    }
}

/* The way back: dw[block], db[block][f] and dx (H, C, W, N), each where it is not null, from dy (OH / 2, ..., N) and the
 * ways. `turned` are the filters for dx. scratch: packed x, and the gradient of the maps with room for dx around it. */
void pooled_gradients(const images *x, const images *dy, const uint8_t *way, const filters *k, const filters *turned,
                      long ph, long pw, float *dw, float *db, float *dx, long first, long last, lanes *scratch) {
    long width = x->w + 2 * pw, oh = 2 * dy->h, ow = 2 * dy->w, n = x->n;
    long top = dx ? k->kh - 1 - ph : 0, left = dx ? k->kw - 1 - pw : 0, wide = ow + 2 * left;
    lanes *maps = scratch + (x->h + 2 * ph) * x->c * width, *corner = maps + top * k->f * wide + left;
    lanes *row = maps + (oh + 2 * top) * k->f * wide;
    for (long block = first; block < last; block++) {
        long count = smaller(LANES, n - block * LANES);
        memset(maps, 0, (oh + 2 * top) * k->f * wide * sizeof *maps);
        for (long f = 0; f < k->f; f++) {
            lanes total = {0};
            for (long p = 0; p < dy->h; p++)
                for (long q = 0; q < dy->w; q++) {
                    lanes d = load(dy->data + block * LANES * dy->sn + f * dy->sc + p * dy->sh + q * dy->sw, dy->sn, count);
                    choice from = (choice){0} + 4;
                    const uint8_t *ways = way + ((p * k->f + f) * dy->w + q) * n + block * LANES;
                    for (long lane = 0; lane < count; lane++) from[lane] = ways[lane];
                    total += pick(from == 4, (lanes){0}, d);
                    for (int place = 0; place < 4; place++)
                        corner[((2 * p + place / 2) * k->f + f) * wide + 2 * q + place % 2] =
                            pick(from == place, d, (lanes){0});
                }
            if (db) db[block * k->f + f] = sum(total);
        }
        if (dw) {
            pack(x, block, ph, pw, scratch);
            filters_of(scratch, width, corner, wide, oh, ow, k, dw + block * k->f * k->c * k->kh * k->kw);
        }
        for (long h = 0; dx && h < x->h; h++) {
            row_of(maps, wide, h, top, top + oh, turned, row, x->w);
            for (long c = 0; c < x->c; c++)
                for (long w = 0; w < x->w; w++)
                    store(dx + ((h * x->c + c) * x->w + w) * n + block * LANES, row[c * x->w + w], count);
        }
    }
}
