/* The eager pairs: convolution, and convolution + bias + ReLU + 2x2 max-pooling, forward and backward, float32, stride 1.
 *
 * LANES images at a time are packed so that a pixel of all of them is one vector (maps.h). Padding is packed as zeros, and
 * so are missing images. There is no -ffast-math: NaN and infinities go the way they go in NumPy. Blocks of LANES images
 * are independent, and threads take the next one when they have done theirs. Sums over blocks are left to the caller, in
 * order, so that what comes out does not depend on the threads.
 */
#include "maps.h"
#include "team.h"

/* Images (n, c, h, w) of any strides, counted in elements. */
typedef struct { const float *data; int64_t n, c, h, w, sn, sc, sh, sw; } images;
/* What a function is asked for; each says below what it uses. Scratch memory: `size` vectors for each thread. */
typedef struct {
    images x, dy;
    filters k, turned; /* turned around, channels and filters exchanged: those of dx */
    const float *bias;
    float *y, *dw, *db, *dx;
    uint8_t *way;
    int64_t ph, pw, relu, threads, size;
    lanes *memory;
} task;

/* Block number `block` of the images, with ph and pw rows and columns of zeros around: out[h + 2 ph][c][w + 2 pw]. */
static void pack(const images *x, int64_t block, int64_t ph, int64_t pw, lanes *out) {
    int64_t width = x->w + 2 * pw, count = smaller(LANES, x->n - block * LANES);
    memset(out, 0, (x->h + 2 * ph) * x->c * width * sizeof *out);
    const float *from = x->data + block * LANES * x->sn;
    for (int64_t h = 0; h < x->h; h++)
        for (int64_t c = 0; c < x->c; c++)
            for (int64_t w = 0; w < x->w; w++)
                out[((h + ph) * x->c + c) * width + w + pw] =
                    load(from + c * x->sc + h * x->sh + w * x->sw, x->sn, count);
}

/* dweight[f][c][i][j] of one block; `sums` is room for as many vectors. */
static void filters_of_block(const lanes *x, int64_t width, const lanes *dy, int64_t dy_width, int64_t oh, int64_t ow,
                             const filters *k, lanes *sums, float *dw) {
    int64_t weights = k->f * k->c * k->kh * k->kw;
    memset(sums, 0, weights * sizeof *sums);
    filters_of(x, width, 1, 1, dy, dy_width, oh, ow, k, sums);
    for (int64_t i = 0; i < weights; i++) dw[i] = sum(sums[i]);
}

/* --- of one block of images, with scratch memory ------------------------------------------------------------------ */

/* A packed block, and one row of output. */
static void correlate_block(const void *asked, int64_t block, void *scratch) {
    const task *t = asked;
    const images *x = &t->x;
    const filters *k = &t->k;
    int64_t width = x->w + 2 * t->pw, oh = x->h + 2 * t->ph - k->kh + 1, ow = width - k->kw + 1, n = x->n;
    int64_t count = smaller(LANES, n - block * LANES);
    lanes *maps = scratch, *row = maps + (x->h + 2 * t->ph) * x->c * width;
    packed from = {maps, x->h + 2 * t->ph, width, t->ph, t->ph + x->h, t->pw, t->pw + x->w};
    pack(x, block, t->ph, t->pw, maps);
    for (int64_t h = 0; h < oh; h++) {
        row_of(&from, h, k, 1, t->bias, t->relu, row, ow);
        for (int64_t f = 0; f < k->f; f++)
            for (int64_t w = 0; w < ow; w++)
                store(t->y + ((h * k->f + f) * ow + w) * n + block * LANES, row[f * ow + w], count);
    }
}

/* Packed x, packed dy, and a vector for each weight. */
static void filters_gradient_block(const void *asked, int64_t block, void *scratch) {
    const task *t = asked;
    const images *x = &t->x, *dy = &t->dy;
    const filters *k = &t->k;
    int64_t width = x->w + 2 * t->pw;
    lanes *maps = scratch, *grad = maps + (x->h + 2 * t->ph) * x->c * width;
    pack(x, block, t->ph, t->pw, maps);
    pack(dy, block, 0, 0, grad);
    lanes *sums = grad + dy->h * dy->c * dy->w;
    filters_of_block(maps, width, grad, dy->w, dy->h, dy->w, k, sums, t->dw + block * k->f * k->c * k->kh * k->kw);
}

/* A packed block, and two rows of output. */
static void correlate_and_pool_block(const void *asked, int64_t block, void *scratch) {
    const task *t = asked;
    const images *x = &t->x;
    const filters *k = &t->k;
    int64_t width = x->w + 2 * t->pw, oh = x->h + 2 * t->ph - k->kh + 1, ow = width - k->kw + 1, n = x->n;
    int64_t count = smaller(LANES, n - block * LANES);
    lanes *maps = scratch, *two = maps + (x->h + 2 * t->ph) * x->c * width;
    packed from_x = {maps, x->h + 2 * t->ph, width, t->ph, t->ph + x->h, t->pw, t->pw + x->w};
    pack(x, block, t->ph, t->pw, maps);
    for (int64_t p = 0; p < oh / 2; p++) {
        for (int i = 0; i < 2; i++)
            row_of(&from_x, 2 * p + i, k, 1, t->bias, 0, two + i * k->f * ow, ow);
        for (int64_t f = 0; f < k->f; f++)
            for (int64_t q = 0; q < ow / 2; q++) {
                lanes best = {0};
                choice from = {0};
                for (int place = 0; place < 4; place++) {
                    lanes v = two[(place / 2 * k->f + f) * ow + 2 * q + place % 2];
                    choice larger = place ? (v > best) | (v != v) : (choice){0} - 1; /* or NaN */
                    best = pick(larger, v, best);
                    from = either(larger, (choice){0} + place, from);
                }
                choice dead = best <= 0;
                int64_t at = ((p * k->f + f) * (ow / 2) + q) * n + block * LANES;
                store(t->y + at, zero_where(dead, best), count);
                store_ways(t->way + at, either(dead, (choice){0} + NONE, from), count);
            }
    }
}

/* Packed x, the gradient of the maps with room for dx around it, a row of dx, and a vector for each weight. */
static void pooled_gradients_block(const void *asked, int64_t block, void *scratch) {
    const task *t = asked;
    const images *x = &t->x, *dy = &t->dy;
    const filters *k = &t->k;
    int64_t width = x->w + 2 * t->pw, oh = 2 * dy->h, ow = 2 * dy->w, n = x->n;
    int64_t top = t->dx ? k->kh - 1 - t->ph : 0, left = t->dx ? k->kw - 1 - t->pw : 0, wide = ow + 2 * left;
    int64_t count = smaller(LANES, n - block * LANES);
    lanes *packed_x = scratch, *maps = packed_x + (x->h + 2 * t->ph) * x->c * width;
    lanes *corner = maps + top * k->f * wide + left, *row = maps + (oh + 2 * top) * k->f * wide;
    memset(maps, 0, (oh + 2 * top) * k->f * wide * sizeof *maps);
    for (int64_t f = 0; f < k->f; f++) {
        lanes total = {0};
        for (int64_t p = 0; p < dy->h; p++)
            for (int64_t q = 0; q < dy->w; q++) {
                lanes d = load(dy->data + block * LANES * dy->sn + f * dy->sc + p * dy->sh + q * dy->sw, dy->sn, count);
                choice from = load_ways(t->way + ((p * k->f + f) * dy->w + q) * n + block * LANES, count);
                total += zero_where(from == NONE, d);
                for (int place = 0; place < 4; place++)
                    corner[((2 * p + place / 2) * k->f + f) * wide + 2 * q + place % 2] =
                        zero_where(from != place, d);
            }
        if (t->db) t->db[block * k->f + f] = sum(total);
    }
    if (t->dw) {
        pack(x, block, t->ph, t->pw, packed_x);
        lanes *sums = row + x->c * x->w;
        filters_of_block(packed_x, width, corner, wide, oh, ow, k, sums, t->dw + block * k->f * k->c * k->kh * k->kw);
    }
    packed from_maps = {maps, oh + 2 * top, wide, top, top + oh, left, left + ow};
    for (int64_t h = 0; t->dx && h < x->h; h++) {
        row_of(&from_maps, h, &t->turned, 1, 0, 0, row, x->w);
        for (int64_t c = 0; c < x->c; c++)
            for (int64_t w = 0; w < x->w; w++)
                store(t->dx + ((h * x->c + c) * x->w + w) * n + block * LANES, row[c * x->w + w], count);
    }
}

/* --- of all of them ------------------------------------------------------------------------------------------------ */

static void share_blocks(const task *t, work *function) {
    share(t, function, (t->x.n + LANES - 1) / LANES, t->threads, t->memory, t->size * (int64_t)sizeof(lanes));
}

/* y (OH, F, OW, N) = x * k + bias, then max(., 0) if `relu`. Also dx, with dy for x and the filters turned around. */
EXPORT void correlate(const task *t) { share_blocks(t, correlate_block); }

/* dweight of every block by itself, dw[block][f][c][kh][kw], from x and dy. */
EXPORT void filters_gradient(const task *t) { share_blocks(t, filters_gradient_block); }

/* y (OH / 2, F, OW / 2, N) = max-pool(relu(x * k + bias)), and beside it the way each maximum came: 0 to 3, row by row
 * in its window, or NONE where it was not positive. */
EXPORT void correlate_and_pool(const task *t) { share_blocks(t, correlate_and_pool_block); }

/* The way back: dw[block], db[block][f] and dx (H, C, W, N), each where it is not null, from x, dy (OH / 2, ..., N) and
 * the ways. */
EXPORT void pooled_gradients(const task *t) { share_blocks(t, pooled_gradients_block); }
