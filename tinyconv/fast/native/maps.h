/* The loops of convolutions, on packed maps: a pixel of LANES images is one vector, x[h][c][w].
 *
 * Every loop is the one of the definition, on vectors instead of numbers: no shuffles, no edges of rows to take care of,
 * nothing that depends on the size of the image. Padding lies around the maps as zeros. What makes it fast is that a
 * tile of the output stays in registers: filters x pixels sums, each number of the image loaded once for all its filters,
 * each weight once for all its pixels.
 */
#pragma once
#include "lanes.h"

enum { FILTERS = 6, PIXELS = 6, COLUMNS = 5 };
/* Sums of a tile: what the registers hold, less those for its factors. */
enum { SUMS = REGISTERS == 32 ? 24 : 12 };

/* Filters in groups of `group`, packed as [f / group][kh][c][kw][group]. */
typedef struct { const float *data; int64_t f, c, kh, kw, group; } filters;

INLINE int64_t group_of(int64_t f) { return f % 6 == 0 ? 6 : f % 4 == 0 ? 4 : f % 3 == 0 ? 3 : f % 2 == 0 ? 2 : 1; }

/* The tile: `group` filters at `pixels` places next to each other, `step` apart in x. The first two are constants where
 * this is called, so that the sums are registers. y[f][ow] = bias[f] + sum_icj w[i][c][j][f] x[i][c][step ow + j], over
 * `rows` pairs (i, c), at least one, which follow each other in memory, and `columns` j; then max(., 0) if `relu`, where
 * NaN stays. The weights of a row begin `next` after those of the one before. */
INLINE void tile(const int group, const int pixels, const lanes *x, int64_t width, int64_t rows, int64_t columns,
                 int64_t step, const float *w, int64_t next, const float *bias, int64_t relu, lanes *y, int64_t ow) {
    lanes sums[FILTERS][PIXELS];
    for (int f = 0; f < group; f++)
        for (int p = 0; p < pixels; p++) sums[f][p] = (lanes){0} + (bias ? bias[f] : 0);
    do {
        int64_t j = 0;
        const float *factor = w;
        do {
            const lanes *from = ANEW(x + j);
            if (pixels < group) { /* the fewer factors wait in registers */
                lanes pixel[PIXELS];
                for (int p = 0; p < pixels; p++) pixel[p] = from[p * step];
                for (int f = 0; f < group; f++)
                    for (int p = 0; p < pixels; p++) sums[f][p] += pixel[p] * factor[f];
            } else
                for (int p = 0; p < pixels; p++) {
                    lanes pixel = from[p * step];
                    IN_REGISTER(pixel);
                    for (int f = 0; f < group; f++) sums[f][p] += pixel * factor[f];
                }
            factor += group;
        } while (++j < columns);
        x += width;
        w += next;
    } while (--rows);
    for (int f = 0; f < group; f++)
        for (int p = 0; p < pixels; p++)
            y[f * ow + p] = relu ? zero_where(sums[f][p] <= 0, sums[f][p]) : sums[f][p];
}

/* Packed maps of `rows` rows, `width` wide, of which the rows top ... bottom - 1 and columns left ... right - 1 are not
 * padding. */
typedef struct { const lanes *data; int64_t rows, width, top, bottom, left, right; } packed;

/* A row of the output of all filters, y[f][ow]; `h` is the row of the maps where its windows begin. Kernel rows and
 * columns that lie over padding only are left out: for dx of LeNet's second convolution, half of all. The compiler is
 * told the width of 3x3 kernels: 117 GFLOP/s at 128 channels, and 94 if it is not. */
static void row_of(const packed *x, int64_t h, const filters *k, int64_t step, const float *bias, int64_t relu, lanes *y,
                   int64_t ow) {
    int64_t most = smaller(PIXELS, SUMS / k->group), tiles = (ow + most - 1) / most, row = k->kw * k->group;
    int64_t top = smaller(larger(x->top - h, 0), k->kh - 1), end = larger(smaller(k->kh, x->bottom - h), top + 1);
    const lanes *first = x->data + (h + top) * k->c * x->width;
    for (int64_t f = 0; f < k->f; f += k->group) {
        const float *of_group = k->data + (f * k->kh + top * k->group) * k->c * k->kw, *from_bias = bias ? bias + f : 0;
        for (int64_t t = 0; t < tiles; t++) { /* of widths as equal as can be: 8 is 4 + 4 */
            int64_t from = ow * t / tiles, pixels = ow * (t + 1) / tiles - from, left = from * step;
            int64_t j = smaller(larger(x->left - left - (pixels - 1) * step, 0), k->kw - 1);
            int64_t columns = larger(smaller(k->kw, x->right - left), j + 1) - j;
            const lanes *corner = first + left + j;
            const float *w = of_group + j * k->group;
            lanes *to = y + f * ow + from;
#define TILE_OF(g, p, columns, step) \
    tile(g, p, corner, x->width, k->c * (end - top), columns, step, w, row, from_bias, relu, to, ow)
#define CASE(g, p) case (g) * 8 + (p): if ((g) * (p) > SUMS) break; \
    if (columns == 3 && step == 1) TILE_OF(g, p, 3, 1); \
    else if (step == 1) TILE_OF(g, p, columns, 1); \
    else TILE_OF(g, p, columns, step); \
    break;
#define CASES(g) CASE(g, 1) CASE(g, 2) CASE(g, 3) CASE(g, 4) CASE(g, 5) CASE(g, 6)
            switch (k->group * 8 + pixels) { CASES(1) CASES(2) CASES(3) CASES(4) CASES(6) }
        }
    }
}

/* dweight of `group` filters, one channel, one kernel row and `columns` kernel columns: dw[f][j] += sum dy x, with `step`
 * pixels of x to one of dy. The lanes are not added up yet. */
INLINE void gradient_tile(const int group, const int columns, const lanes *x, int64_t x_row, int64_t step,
                          const lanes *dy, int64_t dy_row, int64_t dy_width, int64_t oh, int64_t ow, lanes *dw,
                          int64_t dw_filter) {
    lanes sums[FILTERS][COLUMNS];
    for (int f = 0; f < group; f++)
        for (int j = 0; j < columns; j++) sums[f][j] = dw[f * dw_filter + j];
    for (int64_t h = 0; h < oh; h++, x += x_row, dy += dy_row)
        for (int64_t w = 0; w < ow; w++) {
            const lanes *from = ANEW(x + step * w);
            if (columns < group) {
                lanes pixel[COLUMNS];
                for (int j = 0; j < columns; j++) pixel[j] = from[j];
                for (int f = 0; f < group; f++) {
                    lanes d = dy[f * dy_width + w];
                    IN_REGISTER(d);
                    for (int j = 0; j < columns; j++) sums[f][j] += d * pixel[j];
                }
            } else
                for (int j = 0; j < columns; j++) {
                    lanes pixel = from[j];
                    IN_REGISTER(pixel);
                    for (int f = 0; f < group; f++) sums[f][j] += dy[f * dy_width + w] * pixel;
                }
        }
    for (int f = 0; f < group; f++)
        for (int j = 0; j < columns; j++) dw[f * dw_filter + j] = sums[f][j];
}

/* dweight[f][c][i][j] of one block of images, added to `dw` lane by lane, from packed x (width `width`) and
 * dy[h][f][.] (rows of `dy_width`, at its corner). */
static void filters_of(const lanes *x, int64_t width, int64_t step_h, int64_t step, const lanes *dy, int64_t dy_width,
                       int64_t oh, int64_t ow, const filters *k, lanes *dw) {
    int64_t columns = smaller(COLUMNS, k->kw), most = SUMS / columns; /* filters at a time */
    for (int64_t f = 0, group; f < k->f; f += group) {
        group = smaller(smaller(4, most), k->f - f);
        for (int64_t c = 0; c < k->c; c++)
            for (int64_t i = 0; i < k->kh; i++)
                for (int64_t j = 0; j < k->kw; j += COLUMNS) {
#define GRADIENT(g, n) case (g) * 8 + (n): if ((g) * (n) > SUMS) break; \
    gradient_tile(g, n, x + (i * k->c + c) * width + j, step_h * k->c * width, step, dy + f * dy_width, \
                  k->f * dy_width, dy_width, oh, ow, dw + ((f * k->c + c) * k->kh + i) * k->kw + j, \
                  k->c * k->kh * k->kw); \
    break;
#define GRADIENTS(g) GRADIENT(g, 1) GRADIENT(g, 2) GRADIENT(g, 3) GRADIENT(g, 4) GRADIENT(g, 5)
                    switch (group * 8 + smaller(COLUMNS, k->kw - j)) {
                        GRADIENTS(1) GRADIENTS(2) GRADIENTS(3) GRADIENTS(4)
                    }
                }
    }
}
