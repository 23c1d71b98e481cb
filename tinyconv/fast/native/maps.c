/* Kernels on maps: images in and out, convolutions, ReLU, pools. */
#include "kernel.h"

/* y = the images of the batch, x (n, c, h, w) by strides in elements.
 * at: y, x. size: c, h, w, and the strides of n, c, h, w. */
static void take_images(const instruction *i, char **at, place here) {
    const int64_t *z = i->size, c = z[0], h = z[1], w = z[2], sn = z[3], sc = z[4], sh = z[5], sw = z[6];
    for (int64_t b = 0; b < here.blocks; b++) {
        int64_t count = smaller(LANES, here.images - b * LANES);
        const float *x = (const float *)at[1] + b * LANES * sn;
        for (int64_t row = 0; row < h; row++)
            for (int64_t ch = 0; ch < c; ch++) {
                const float *from = x + ch * sc + row * sh;
                lanes *to = (lanes *)at[0] + ((b * h + row) * c + ch) * w;
                int64_t q = 0;
                for (int64_t left = w; count == LANES && sw == 1 && w >= LANES && left > 0; left -= LANES) {
                    q = left < LANES ? w - LANES : q; /* the last vector may begin in the one before it */
                    lanes v[LANES];
                    for (int k = 0; k < LANES; k++) memcpy(&v[k], from + k * sn + q, sizeof *v);
                    transpose(v);
                    for (int k = 0; k < LANES; k++) to[q + k] = v[k];
                    q += LANES;
                }
                for (; q < w; q++) to[q] = load(from + q * sw, sn, count);
            }
    }
}

/* The way out: y (n, c, h, w) by strides = x. at: y, x. size: as take_images. */
static void give_images(const instruction *i, char **at, place here) {
    const int64_t *z = i->size, c = z[0], h = z[1], w = z[2], sn = z[3], sc = z[4], sh = z[5], sw = z[6];
    for (int64_t b = 0; b < here.blocks; b++)
        for (int64_t row = 0; row < h; row++)
            for (int64_t ch = 0; ch < c; ch++)
                for (int64_t q = 0; q < w; q++) {
                    const float *from = (const float *)((lanes *)at[1] + ((b * h + row) * c + ch) * w + q);
                    float *to = (float *)at[0] + b * LANES * sn + ch * sc + row * sh + q * sw;
                    for (int64_t k = 0; k < smaller(LANES, here.images - b * LANES); k++) to[k * sn] = from[k];
                }
}

/* Sizes of a convolution: x (c, h, w), f filters (kh, kw), strides, padding, output (oh, ow), and whether ReLU follows. */
typedef struct { int64_t c, h, w, f, kh, kw, sh, sw, ph, pw, oh, ow, relu; } conv_sizes;

/* x of one block in the middle of zeros: [h + 2 ph][c][w + 2 pw]; x itself where there is no padding. */
static packed padded(const conv_sizes *z, const lanes *x, lanes *to) {
    packed p = {x, z->h + 2 * z->ph, z->w + 2 * z->pw, z->ph, z->ph + z->h, z->pw, z->pw + z->w};
    if (z->ph == 0 && z->pw == 0) return p;
    p.data = to;
    memset(to, 0, p.rows * z->c * p.width * sizeof *to);
    for (int64_t row = 0; row < z->h; row++)
        for (int64_t ch = 0; ch < z->c; ch++, x += z->w)
            memcpy(to + ((z->ph + row) * z->c + ch) * p.width + z->pw, x, z->w * sizeof *x);
    return p;
}

/* y[f][i][j] = bias[f] + sum_cuv weight[f][c][u][v] x[c][i SH + u - PH][j SW + v - PW], then ReLU if asked for.
 * at: y, x, packed filters, bias or null, room for padded x. size: conv_sizes. */
static void conv(const instruction *i, char **at, place here) {
    const conv_sizes *z = (const conv_sizes *)i->size;
    filters k = {(float *)at[2], z->f, z->c, z->kh, z->kw, group_of(z->f)};
    for (int64_t b = 0; b < here.blocks; b++) {
        packed x = padded(z, (lanes *)at[1] + b * z->c * z->h * z->w, (lanes *)at[4]);
        lanes *y = (lanes *)at[0] + b * z->f * z->oh * z->ow;
        for (int64_t row = 0; row < z->oh; row++)
            row_of(&x, row * z->sh, &k, z->sw, (float *)at[3], z->relu, y + row * z->f * z->ow, z->ow);
    }
}

/* Of one block, dw += dy x by lanes, from rows of dy, [f][wide]. */
static void conv_dw(const conv_sizes *z, const lanes *x, const lanes *dy, int64_t wide, lanes *dw, lanes *room) {
    filters k = {0, z->f, z->c, z->kh, z->kw, 0};
    packed from = padded(z, x, room);
    filters_of(from.data, from.width, z->sh, z->sw, dy, wide, z->oh, z->ow, &k, dw);
}

/* Of one block, dx = turned filters over dy, which lies in `maps`, [h + kh - 1][f][w + kw - 1], between zeros. */
static void conv_dx(const conv_sizes *z, const lanes *maps, const float *turned, lanes *dx) {
    int64_t top = z->kh - 1 - z->ph, left = z->kw - 1 - z->pw;
    filters k = {turned, z->c, z->f, z->kh, z->kw, group_of(z->c)};
    packed from = {maps, z->h + z->kh - 1, z->w + z->kw - 1, top, top + (z->oh - 1) * z->sh + 1, left,
                   left + (z->ow - 1) * z->sw + 1};
    for (int64_t h = 0; h < z->h; h++) row_of(&from, h, &k, 1, 0, 0, dx + h * z->c * z->w, z->w);
}

/* Adds the lanes up: the gradients of one tile. */
static void lanes_added(const lanes *sums, int64_t size, float *to) {
    for (int64_t k = 0; k < size; k++) to[k] = sum(sums[k]);
}

/* With dy masked where y <= 0 if ReLU followed:  db[f] = sum_p dy,  dw = sum_p dy x,  dx = turned filters over dy, where
 * padding is less than the kernel. at: dx, dw, db (each or null), dy, y (of ReLU), x, packed turned filters, room for
 * [h + kh - 1][f][w + kw - 1] maps of dy, room for padded x, room for f c kh kw + f + f oh ow vectors. size: conv_sizes. */
static void conv_back(const instruction *i, char **at, place here) {
    const conv_sizes *z = (const conv_sizes *)i->size;
    int64_t top = z->kh - 1 - z->ph, left = z->kw - 1 - z->pw, rows = z->h + z->kh - 1, wide = z->w + z->kw - 1;
    int64_t weights = z->f * z->c * z->kh * z->kw, out = z->f * z->oh * z->ow, in = z->c * z->h * z->w;
    lanes *maps = (lanes *)at[7], *dw = (lanes *)at[9], *db = dw + weights, *masked = db + z->f;
    memset(dw, 0, (weights + z->f) * sizeof *dw);
    if (at[0]) memset(maps, 0, rows * z->f * wide * sizeof *maps);
    for (int64_t b = 0; b < here.blocks; b++) {
        const lanes *dy = (lanes *)at[3] + b * out, *y = (lanes *)at[4] + b * out;
        for (int64_t k = 0; z->relu && k < out; k++) masked[k] = zero_where(y[k] <= 0, dy[k]);
        if (z->relu) dy = masked;
        for (int64_t h = 0; h < z->oh; h++)
            for (int64_t f = 0; f < z->f; f++) {
                const lanes *from = dy + (h * z->f + f) * z->ow;
                lanes *to = maps + ((top + h * z->sh) * z->f + f) * wide + left;
                for (int64_t w = 0; w < z->ow; w++) db[f] += from[w];
                for (int64_t w = 0; at[0] && w < z->ow; w++) to[w * z->sw] = from[w];
            }
        if (at[1]) conv_dw(z, (lanes *)at[5] + b * in, dy, z->ow, dw, (lanes *)at[8]);
        if (at[0]) conv_dx(z, maps, (float *)at[6], (lanes *)at[0] + b * in);
    }
    if (at[1]) lanes_added(dw, weights, (float *)at[1]);
    if (at[2]) lanes_added(db, z->f, (float *)at[2]);
}

/* y = max-pool 2x2 of relu(conv(x)), and the way each maximum came: its place, row by row in its window, or NONE where it
 * is not positive. NaN is larger than everything, and of equals the first counts.
 * at: y, ways, x, packed filters, bias or null, room for padded x, room for two rows of output. size: conv_sizes,
 * of stride 1. */
static void conv_pool(const instruction *i, char **at, place here) {
    const conv_sizes *z = (const conv_sizes *)i->size;
    filters k = {(float *)at[3], z->f, z->c, z->kh, z->kw, group_of(z->f)};
    int64_t ow = z->ow, f = z->f, out = f * (z->oh / 2) * (ow / 2);
    lanes *two = (lanes *)at[6];
    for (int64_t b = 0; b < here.blocks; b++) {
        packed x = padded(z, (lanes *)at[2] + b * z->c * z->h * z->w, (lanes *)at[5]);
        lanes *y = (lanes *)at[0] + b * out;
        uint8_t *way = (uint8_t *)at[1] + b * out * LANES;
        for (int64_t p = 0; p < z->oh / 2; p++) {
            for (int64_t r = 0; r < 2; r++)
                row_of(&x, 2 * p + r, &k, 1, (float *)at[4], 0, two + r * f * ow, ow);
            for (int64_t g = 0; g < f; g++)
                for (int64_t q = 0; q < ow / 2; q++, y++, way += LANES) {
                    const lanes *upper = two + g * ow + 2 * q, *lower = upper + f * ow;
                    lanes best = upper[0], others[3] = {upper[1], lower[0], lower[1]};
                    choice from = {0};
                    for (int place = 1; place < 4; place++) {
                        lanes v = others[place - 1];
                        choice larger = (v > best) | (v != v);
                        best = pick(larger, v, best);
                        from = either(larger, (choice){0} + place, from);
                    }
                    choice dead = best <= 0;
                    *y = zero_where(dead, best);
                    store_ways(way, either(dead, (choice){0} + NONE, from), LANES);
                }
        }
    }
}

/* The way back: dy goes to the place of its maximum, and from there as in conv_back.
 * at: dx, dw, db (each or null), dy, ways, x, packed turned filters, and the room of conv_back. size: conv_sizes, of
 * stride 1. */
static void conv_pool_back(const instruction *i, char **at, place here) {
    const conv_sizes *z = (const conv_sizes *)i->size;
    int64_t top = z->kh - 1 - z->ph, left = z->kw - 1 - z->pw, rows = z->h + z->kh - 1, wide = z->w + z->kw - 1;
    int64_t weights = z->f * z->c * z->kh * z->kw, in = z->c * z->h * z->w, ph = z->oh / 2, pw = z->ow / 2;
    lanes *maps = (lanes *)at[7], *dw = (lanes *)at[9], *db = dw + weights;
    memset(dw, 0, (weights + z->f) * sizeof *dw);
    memset(maps, 0, rows * z->f * wide * sizeof *maps);
    for (int64_t b = 0; b < here.blocks; b++) {
        const lanes *dy = (lanes *)at[3] + b * z->f * ph * pw;
        const uint8_t *way = (uint8_t *)at[4] + b * z->f * ph * pw * LANES;
        for (int64_t p = 0; p < ph; p++)
            for (int64_t f = 0; f < z->f; f++)
                for (int64_t q = 0; q < pw; q++, dy++, way += LANES) {
                    lanes *to = maps + ((top + 2 * p) * z->f + f) * wide + left + 2 * q;
                    choice from = load_ways(way, LANES);
                    db[f] += zero_where(from == NONE, *dy);
                    for (int place = 0; place < 4; place++)
                        to[place / 2 * z->f * wide + place % 2] = zero_where(from != place, *dy);
                }
        if (at[1]) conv_dw(z, (lanes *)at[5] + b * in, maps + top * z->f * wide + left, wide, dw, (lanes *)at[8]);
        if (at[0]) conv_dx(z, maps, (float *)at[6], (lanes *)at[0] + b * in);
    }
    if (at[1]) lanes_added(dw, weights, (float *)at[1]);
    if (at[2]) lanes_added(db, z->f, (float *)at[2]);
}

/* y = max(x, 0); NaN stays. at: y, x. size: elements. */
static void relu(const instruction *i, char **at, place here) {
    lanes *y = (lanes *)at[0];
    const lanes *x = (lanes *)at[1];
    for (int64_t k = 0; k < here.blocks * i->size[0]; k++) y[k] = zero_where(x[k] <= 0, x[k]);
}

/* dx = dy where y > 0 or NaN, else 0. at: dx, dy, y. size: elements. */
static void relu_back(const instruction *i, char **at, place here) {
    lanes *dx = (lanes *)at[0];
    const lanes *dy = (lanes *)at[1], *y = (lanes *)at[2];
    for (int64_t k = 0; k < here.blocks * i->size[0]; k++) dx[k] = zero_where(y[k] <= 0, dy[k]);
}

/* Sizes of a pool: x (c, h, w), windows (kh, kw), strides, padding, output (oh, ow), and whether ReLU came before. */
typedef struct { int64_t c, h, w, kh, kw, sh, sw, ph, pw, oh, ow, relu; } pool_sizes;

/* y[c][i][j] = max_uv x[c][i SH + u - PH][j SW + v - PW], of equals the first, row by row; NaN is larger than everything.
 * With ReLU: y = max(y, 0), and the way is NONE where it is not positive. at: y, ways (or null), x. size: pool_sizes. */
static void max_pool(const instruction *i, char **at, place here) {
    const pool_sizes *z = (const pool_sizes *)i->size;
    lanes *y = (lanes *)at[0];
    uint8_t *way = (uint8_t *)at[1];
    for (int64_t b = 0; b < here.blocks; b++) {
        const lanes *x = (lanes *)at[2] + b * z->c * z->h * z->w;
        for (int64_t p = 0; p < z->oh; p++)
            for (int64_t c = 0; c < z->c; c++)
                for (int64_t q = 0; q < z->ow; q++, y++) {
                    lanes best = {0};
                    choice from = {0};
                    int first = 1;
                    for (int64_t u = 0; u < z->kh; u++)
                        for (int64_t v = 0; v < z->kw; v++) {
                            int64_t row = p * z->sh + u - z->ph, column = q * z->sw + v - z->pw;
                            if (row < 0 || row >= z->h || column < 0 || column >= z->w) continue;
                            lanes pixel = x[(row * z->c + c) * z->w + column];
                            choice larger = first ? (choice){0} - 1 : (pixel > best) | (pixel != pixel);
                            best = pick(larger, pixel, best);
                            from = either(larger, (choice){0} + (int)(u * z->kw + v), from);
                            first = 0;
                        }
                    if (z->relu) from = either(best <= 0, (choice){0} + NONE, from), best = zero_where(best <= 0, best);
                    *y = best;
                    if (way) store_ways(way, from, LANES), way += LANES;
                }
    }
}

/* dx = dy at the place of its maximum, added where windows overlap. at: dx, dy, ways. size: pool_sizes. */
static void max_pool_back(const instruction *i, char **at, place here) {
    const pool_sizes *z = (const pool_sizes *)i->size;
    int64_t in = z->c * z->h * z->w;
    const lanes *dy = (lanes *)at[1];
    const uint8_t *way = (uint8_t *)at[2];
    memset(at[0], 0, here.blocks * in * sizeof(lanes));
    for (int64_t b = 0; b < here.blocks; b++) {
        lanes *dx = (lanes *)at[0] + b * in;
        for (int64_t p = 0; p < z->oh; p++)
            for (int64_t c = 0; c < z->c; c++)
                for (int64_t q = 0; q < z->ow; q++, dy++, way += LANES) {
                    choice from = load_ways(way, LANES);
                    for (int64_t u = 0; u < z->kh; u++)
                        for (int64_t v = 0; v < z->kw; v++) {
                            int64_t row = p * z->sh + u - z->ph, column = q * z->sw + v - z->pw;
                            if (row < 0 || row >= z->h || column < 0 || column >= z->w) continue;
                            dx[(row * z->c + c) * z->w + column] += zero_where(from != (int)(u * z->kw + v), *dy);
                        }
                }
    }
}

/* y = x in the order [c][h][w] of features. at: y, x. size: c, h, w. */
static void flatten(const instruction *i, char **at, place here) {
    int64_t c = i->size[0], h = i->size[1], w = i->size[2];
    const lanes *x = (lanes *)at[1];
    for (int64_t b = 0; b < here.blocks; b++)
        for (int64_t row = 0; row < h; row++)
            for (int64_t ch = 0; ch < c; ch++, x += w)
                memcpy((lanes *)at[0] + ((b * c + ch) * h + row) * w, x, w * sizeof *x);
}

/* The way back: dx in the order [h][c][w] = dy. at: dx, dy. size: c, h, w. */
static void flatten_back(const instruction *i, char **at, place here) {
    int64_t c = i->size[0], h = i->size[1], w = i->size[2];
    lanes *dx = (lanes *)at[0];
    for (int64_t b = 0; b < here.blocks; b++)
        for (int64_t row = 0; row < h; row++)
            for (int64_t ch = 0; ch < c; ch++, dx += w)
                memcpy(dx, (lanes *)at[1] + ((b * c + ch) * h + row) * w, w * sizeof *dx);
}
