/* Kernels for so few images that most lanes would be empty: an output channel a lane, or an input feature a lane, and
 * values in arrays as NumPy has them, (N, C, H, W). They run whole, in their first part; forward alone. One image takes
 * 17 us through LeNet, where a vector of them takes 68. */

/* Of one image, `pixels` outputs in a row of `vectors` vectors of filters: bias + sum_cij weight[c][i][j][f]
 * x[c][i][step ow + j]. w: [c][i][j][all], then the bias. Both are constants where this is called. */
INLINE void few_tile(const int vectors, const int pixels, const float *x, const conv_sizes *z, int64_t width,
                     int64_t plane, const lanes *w, int64_t all, lanes *y) {
    lanes sums[2][8];
    const lanes *bias = w + z->c * z->kh * z->kw * all;
    for (int v = 0; v < vectors; v++)
        for (int p = 0; p < pixels; p++) sums[v][p] = bias[v];
    for (int64_t c = 0; c < z->c; c++)
        for (int64_t i = 0; i < z->kh; i++)
            for (int64_t j = 0; j < z->kw; j++, w += all) {
                const float *from = ANEW(x + c * plane + i * width + j);
                lanes factor[2];
                for (int v = 0; v < vectors; v++) factor[v] = w[v];
                for (int p = 0; p < pixels; p++)
                    for (int v = 0; v < vectors; v++) sums[v][p] += factor[v] * from[p * z->sw];
            }
    for (int v = 0; v < vectors; v++)
        for (int p = 0; p < pixels; p++) y[p * all + v] = sums[v][p];
}

/* A row of all filters, y[ow][all]. The last tile of a row may begin in the one before it. */
static void few_row(const float *x, const conv_sizes *z, int64_t width, int64_t plane, const lanes *w, int64_t all,
                    lanes *y) {
#define FEW(vectors, pixels) \
    for (int64_t left = z->ow, q; left > 0; left -= (pixels)) { \
        q = smaller(z->ow - left, z->ow - (pixels)); \
        few_tile(vectors, pixels, x + q * z->sw, z, width, plane, w + v, all, y + q * all + v); \
    }
    for (int64_t v = 0; v < all; v += 2) {
        if (all - v > 1 && z->ow >= 4) { FEW(2, 4) }
        else if (all - v > 1) { FEW(2, 1) }
        else if (z->ow >= 8) { FEW(1, 8) }
        else { FEW(1, 1) }
    }
}

/* conv, with ReLU if asked for, and 2x2 max-pooling after that. at: y, x, weights (f, c, kh, kw), bias or null, room for
 * weights and bias in vectors of filters, room for padded x in numbers, room for two rows. size: conv_sizes, pooled. */
static void few_conv(const instruction *i, char **at, place here) {
    const conv_sizes *z = (const conv_sizes *)i->size;
    int64_t pooled = i->size[13], n = i->size[14], all = (z->f + LANES - 1) / LANES, taps = z->c * z->kh * z->kw;
    int64_t width = z->w + 2 * z->pw, plane = (z->h + 2 * z->ph) * width, step = pooled ? 2 : 1;
    int64_t oh = z->oh / step, ow = z->ow / step;
    float *w = (float *)at[4], *to = (float *)at[0];
    lanes *rows = (lanes *)at[6];
    if (here.part) return;
    memset(w, 0, (taps + 1) * all * sizeof(lanes));
    for (int64_t f = 0; f < z->f; f++) {
        for (int64_t k = 0; k < taps; k++) w[k * all * LANES + f] = ((float *)at[2])[f * taps + k];
        if (at[3]) w[taps * all * LANES + f] = ((float *)at[3])[f];
    }
    for (int64_t image = 0; image < n; image++, to += z->f * oh * ow) {
        const float *x = (float *)at[1] + image * z->c * z->h * z->w;
        if (z->ph || z->pw) {
            float *room = (float *)at[5];
            memset(room, 0, z->c * plane * sizeof *room);
            for (int64_t c = 0; c < z->c; c++)
                for (int64_t h = 0; h < z->h; h++, x += z->w)
                    memcpy(room + c * plane + (z->ph + h) * width + z->pw, x, z->w * sizeof *x);
            x = room;
        }
        for (int64_t p = 0; p < oh; p++) {
            for (int64_t r = 0; r < step; r++)
                few_row(x + (p * step + r) * z->sh * width, z, width, plane, (lanes *)w, all, rows + r * z->ow * all);
            for (int64_t q = 0; q < ow; q++)
                for (int64_t v = 0; v < all; v++) {
                    const lanes *from = rows + q * step * all + v;
                    lanes best = *from;
                    for (int place = 1; place < step * step; place++) {
                        lanes other = from[(place / 2 * z->ow + place % 2) * all];
                        best = pick((other > best) | (other != other), other, best);
                    }
                    if (z->relu) best = zero_where(best <= 0, best);
                    for (int64_t k = 0; k < smaller(LANES, z->f - v * LANES); k++)
                        to[((v * LANES + k) * oh + p) * ow + q] = best[k];
                }
        }
    }
}

/* y[n][o] = bias[o] + sum_i w[o][i] x[n][i] of `group` outputs. */
INLINE void few_dots(const int group, const float *w, const float *bias, const float *x, int64_t in, int64_t relu,
                     float *y) {
    lanes sums[8], a, b;
    int64_t k = 0;
    for (int g = 0; g < group; g++) sums[g] = (lanes){0};
    for (; k + LANES <= in; k += LANES) {
        memcpy(&a, x + k, sizeof a);
        for (int g = 0; g < group; g++) {
            memcpy(&b, w + g * in + k, sizeof b);
            sums[g] += a * b;
        }
    }
    for (int g = 0; g < group; g++) {
        float total = sum(sums[g]) + (bias ? bias[g] : 0);
        for (int64_t rest = k; rest < in; rest++) total += w[g * in + rest] * x[rest];
        y[g] = relu && total <= 0 ? 0 : total;
    }
}

/* linear. at: y, x, w, bias or null. size: in, out, whether ReLU follows, n. */
static void few_linear(const instruction *i, char **at, place here) {
    int64_t in = i->size[0], out = i->size[1], relu = i->size[2];
    const float *w = (float *)at[2], *bias = (float *)at[3];
    if (here.part) return;
    for (int64_t n = 0; n < i->size[3]; n++) {
        const float *x = (float *)at[1] + n * in;
        float *y = (float *)at[0] + n * out;
        int64_t o = 0;
        for (; o + 8 <= out; o += 8) few_dots(8, w + o * in, bias ? bias + o : 0, x, in, relu, y + o);
        for (; o < out; o++) few_dots(1, w + o * in, bias ? bias + o : 0, x, in, relu, y + o);
    }
}
