/* Kernels on features, [block][feature]: linear layers and the cross-entropy. */
#include <math.h>

/* y[o] = bias[o] + sum_i w[o][i] x[i] of `group` outputs and `blocks` blocks, then ReLU if asked for. Both are constants
 * where this is called. */
enum { OUTPUTS = REGISTERS == 32 ? 8 : 6, PAIR = 2 };
INLINE void linear_tile(const int group, const int blocks, const float *w, const float *bias, const lanes *x, int64_t in,
                        int64_t relu, lanes *y, int64_t out) {
    lanes sums[OUTPUTS][PAIR];
    for (int g = 0; g < group; g++)
        for (int b = 0; b < blocks; b++) sums[g][b] = (lanes){0} + (bias ? bias[g] : 0);
    for (int64_t k = 0; k < in; k++) {
        lanes of[PAIR];
        for (int b = 0; b < blocks; b++) of[b] = x[b * in + k];
        for (int g = 0; g < group; g++)
            for (int b = 0; b < blocks; b++) sums[g][b] += of[b] * w[g * in + k];
    }
    for (int g = 0; g < group; g++)
        for (int b = 0; b < blocks; b++)
            y[b * out + g] = relu ? zero_where(sums[g][b] <= 0, sums[g][b]) : sums[g][b];
}

/* dx[i] = sum_o w[o][i] dy[o] of `group` inputs. */
INLINE void linear_dx_tile(const int group, const int blocks, const float *w, const lanes *dy, int64_t in, int64_t out,
                           lanes *dx) {
    lanes sums[OUTPUTS][PAIR];
    for (int g = 0; g < group; g++)
        for (int b = 0; b < blocks; b++) sums[g][b] = (lanes){0};
    for (int64_t o = 0; o < out; o++) {
        lanes of[PAIR];
        for (int b = 0; b < blocks; b++) of[b] = dy[b * out + o];
        for (int g = 0; g < group; g++)
            for (int b = 0; b < blocks; b++) sums[g][b] += of[b] * w[o * in + g];
    }
    for (int g = 0; g < group; g++)
        for (int b = 0; b < blocks; b++) dx[b * in + g] = sums[g][b];
}

/* dw[o][i] = sum_n dy[o][n] x[n][i] of `group` outputs and `vectors` vectors of inputs, x transposed to rows of `wide`. */
INLINE void linear_dw_tile(const int group, const int vectors, const float *x, int64_t wide, const lanes *dy, int64_t out,
                           int64_t blocks, float *dw, int64_t in, int64_t there) {
    lanes sums[OUTPUTS][PAIR];
    for (int g = 0; g < group; g++)
        for (int v = 0; v < vectors; v++) sums[g][v] = (lanes){0};
    for (int64_t b = 0; b < blocks; b++, dy += out) {
        const float *d = (const float *)dy;
        for (int64_t n = 0; n < LANES; n++, d++, x += wide) {
            lanes of[PAIR];
            for (int v = 0; v < vectors; v++) of[v] = ((const lanes *)x)[v];
            for (int g = 0; g < group; g++)
                for (int v = 0; v < vectors; v++) sums[g][v] += of[v] * d[g * LANES];
        }
    }
    for (int g = 0; g < group; g++)
        for (int v = 0; v < vectors; v++)
            store(dw + g * in + v * LANES, sums[g][v], smaller(LANES, there - v * LANES));
}

/* `for` all of `size`, OUTPUTS at a time while there are so many, then one at a time, with `blocks` in pairs. */
#define IN_TILES(size, at, blocks, b, CALL) \
    for (int64_t at = 0, many; at < (size); at += many) { \
        many = (size) - at >= OUTPUTS ? OUTPUTS : (size) - at >= 4 ? 4 : (size) - at >= 2 ? 2 : 1; \
        for (int64_t b = 0; b < (blocks); b += PAIR) \
            switch (many * 4 + smaller(PAIR, (blocks) - b)) { \
                case OUTPUTS * 4 + 2: CALL(OUTPUTS, 2); break; case OUTPUTS * 4 + 1: CALL(OUTPUTS, 1); break; \
                case 18: CALL(4, 2); break; case 17: CALL(4, 1); break; \
                case 10: CALL(2, 2); break; case 9: CALL(2, 1); break; \
                case 6: CALL(1, 2); break; default: CALL(1, 1); \
            } \
    }

/* y[o] = bias[o] + sum_i w[o][i] x[i]. at: y, x, w, bias or null. size: in, out, whether ReLU follows. */
static void linear(const instruction *i, char **at, place here) {
    int64_t in = i->size[0], out = i->size[1], relu = i->size[2];
    const float *w = (float *)at[2], *bias = (float *)at[3];
#define FORWARD(g, n) linear_tile(g, n, w + o * in, bias ? bias + o : 0, (lanes *)at[1] + b * in, in, relu, \
                                  (lanes *)at[0] + b * out + o, out)
    IN_TILES(out, o, here.blocks, b, FORWARD)
}

/* With dy masked where y <= 0 if ReLU followed:  dx = dy w,  dw = dy^T x,  db = sum_n dy.
 * at: dx, dw, db (each or null), dy, y (of ReLU), x, w, room for TILE images of x, in a multiple of LANES numbers, and room
 * for dy. size: in, out, whether ReLU followed. */
static void linear_back(const instruction *i, char **at, place here) {
    int64_t in = i->size[0], out = i->size[1], wide = (in + LANES - 1) / LANES * LANES;
    const lanes *dy = (lanes *)at[3], *y = (lanes *)at[4], *x = (lanes *)at[5];
    const float *w = (float *)at[6];
    lanes *masked = (lanes *)at[8];
    if (i->size[2]) {
        for (int64_t k = 0; k < here.blocks * out; k++) masked[k] = zero_where(y[k] <= 0, dy[k]);
        dy = masked;
    }
    if (at[1]) {
        float *rows = (float *)at[7], *dw = (float *)at[1];
        for (int64_t b = 0; b < here.blocks; b++)
            for (int64_t k = 0; k < in; k += LANES) {
                lanes v[LANES];
                for (int64_t n = 0; n < LANES; n++) v[n] = k + n < in ? x[b * in + k + n] : (lanes){0};
                transpose(v);
                for (int64_t n = 0; n < LANES; n++) *(lanes *)(rows + (b * LANES + n) * wide + k) = v[n];
            }
        int64_t vectors = wide / LANES;
#define WEIGHTS(g, n) linear_dw_tile(g, n, rows + v * LANES, wide, dy + o, out, here.blocks, dw + o * in + v * LANES, in, \
                                     in - v * LANES)
        IN_TILES(out, o, vectors, v, WEIGHTS)
    }
    for (int64_t o = 0; at[2] && o < out; o++) {
        lanes total = {0};
        for (int64_t b = 0; b < here.blocks; b++) total += dy[b * out + o];
        ((float *)at[2])[o] = sum(total);
    }
    if (at[0]) {
#define INPUTS(g, n) linear_dx_tile(g, n, w + k, dy + b * out, in, out, (lanes *)at[0] + b * in + k)
        IN_TILES(in, k, here.blocks, b, INPUTS)
    }
}

/* The classes of a block's images; -1, no class, where there is no image. */
static choice classes_of(const int64_t *label, int64_t count) {
    choice t = (choice){0} - 1;
    for (int64_t k = 0; k < count; k++) t[k] = label[k] < 0 || label[k] > INT32_MAX ? -1 : (int32_t)label[k];
    return t;
}

/* All ones for the images that count: they are there, and their label is not `ignored`. */
static choice kept_of(const int64_t *label, int64_t count, int64_t ignored) {
    choice kept = {0};
    for (int64_t k = 0; k < count; k++) kept[k] = label[k] == ignored ? 0 : -1;
    return kept;
}

/* l[n] = -sum_c q[c] ln p[c], with p = softmax(x) and q[c] = (1 - e) [c = t] + e / C, and their sum over the tile times
 * the scale. at: loss (one number of the record), p, x, labels (int64), scale. size: C, ignored. number: smoothing e. */
static void cross_entropy(const instruction *i, char **at, place here) {
    int64_t c = i->size[0];
    float smooth = (float)i->number[0], each = (float)(i->number[0] / (double)c), hot = 1 - smooth, total = 0;
    for (int64_t b = 0; b < here.blocks; b++) {
        const int64_t *label = (int64_t *)at[3] + b * LANES, count = smaller(LANES, here.images - b * LANES);
        choice target = classes_of(label, count), kept = kept_of(label, count, i->size[1]);
        const lanes *x = (lanes *)at[2] + b * c;
        lanes *p = (lanes *)at[1] + b * c, best = x[0], all = {0}, of_target = {0}, of_all = {0}, log_all;
        for (int64_t k = 1; k < c; k++) best = pick(x[k] > best, x[k], best);
        for (int64_t k = 0; k < c; k++) {
            lanes shifted = x[k] - best;
            of_target += pick(target == (int32_t)k, shifted, (lanes){0});
            of_all += shifted;
            for (int n = 0; n < LANES; n++) p[k][n] = expf(shifted[n]);
            all += p[k];
        }
        for (int n = 0; n < LANES; n++) log_all[n] = logf(all[n]);
        for (int64_t k = 0; k < c; k++) p[k] = p[k] / all;
        choice known = (target >= 0) & (target < (int32_t)c);
        lanes loss = pick(known, hot * (log_all - of_target), (lanes){0});
        if (smooth != 0) loss += each * ((float)c * log_all - of_all);
        total += sum(pick(kept, loss, (lanes){0}));
    }
    *(float *)at[0] = total * *(float *)at[4];
}

/* dx[c] = (Q p[c] - q[c]) dl, Q the sum of q. at: dx, p, labels, scale, dl (one number). Sizes and numbers as above. */
static void cross_entropy_back(const instruction *i, char **at, place here) {
    int64_t c = i->size[0];
    float smooth = (float)i->number[0], each = (float)(i->number[0] / (double)c), hot = 1 - smooth;
    float dl = *(float *)at[3] * *(float *)at[4];
    for (int64_t b = 0; b < here.blocks; b++) {
        const int64_t *label = (int64_t *)at[2] + b * LANES, count = smaller(LANES, here.images - b * LANES);
        choice target = classes_of(label, count), kept = kept_of(label, count, i->size[1]);
        choice known = (target >= 0) & (target < (int32_t)c);
        lanes weight = pick(known, (lanes){0} + hot, (lanes){0}) + each * (float)c, none = {0};
        for (int64_t k = count; k < LANES; k++) none[k] = 1;
        for (int64_t k = 0; k < c; k++) {
            lanes q = pick(target == (int32_t)k, (lanes){0} + hot, (lanes){0}) + each;
            lanes p = ((lanes *)at[1])[b * c + k], ignored = pick(none > 0, (lanes){0}, p * 0); /* NaN where p is */
            ((lanes *)at[0])[b * c + k] = pick(kept, (weight * p - q) * dl, ignored);
        }
    }
}
