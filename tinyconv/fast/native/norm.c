/* Kernels of batch normalisation, on maps [h][c][w] or features (h = w = 1). In training the statistics are those of the
 * whole batch, so stretches end between these:
 *
 *     forward: norm_moments by tile | norm_statistics | norm by tile
 *     backward: norm_sums by tile | add_records | norm_back by tile
 *
 * size begins with norm_sizes. number: eps. 1 / s = 1 / sqrt(var + eps) is not kept, as little as x^ = (x - mean) / s. */
typedef struct { int64_t c, h, w; } norm_sizes;
INLINE float inverse_root(float var, double eps) { return 1 / sqrtf(var + (float)eps); }

/* Does the statement for all pixels of a channel with its number. The sums are few: those of neighbours go to sums of
 * their own, [pixel & 3], as an addition takes as long as four. */
#define FOR_CHANNEL(z, channel, ...) \
    for (int64_t b = 0; b < here.blocks; b++) \
        for (int64_t row = 0; row < (z)->h; row++) { \
            int64_t first = ((b * (z)->h + row) * (z)->c + (channel)) * (z)->w; \
            for (int64_t pixel = first; pixel < first + (z)->w; pixel++) __VA_ARGS__ \
        }
INLINE float sum_of_four(const lanes *four) { return sum((four[0] + four[1]) + (four[2] + four[3])); }

/* Of a tile, for each channel: sum x, and sum (x - mean of the tile)^2. at: those (2 c numbers), x. */
static void norm_moments(const instruction *i, char **at, place here) {
    const norm_sizes *z = (const norm_sizes *)i->size;
    const lanes *x = (lanes *)at[1];
    float *sums = (float *)at[0], *squares = sums + z->c;
    choice there = lanes_there(here.images - (here.blocks - 1) * LANES);
    for (int64_t c = 0; c < z->c; c++) {
        lanes total[4] = {{0}}, square[4] = {{0}};
        FOR_CHANNEL(z, c, total[pixel & 3] += x[pixel];)
        sums[c] = sum_of_four(total);
        float mean = sums[c] / (float)(here.images * z->h * z->w);
        FOR_CHANNEL(z, c, {
            lanes centred = x[pixel] - mean;
            if (b == here.blocks - 1) centred = (lanes)((choice)centred & there);
            square[pixel & 3] += centred * centred;
        })
        squares[c] = sum_of_four(square);
    }
}

/* Mean and (biased) variance of the batch, from the moments of its tiles, which are spoiled, by the tree of add_records.
 * Of two sets of a and b numbers with sums A and B and squares P and Q of what is centred:
 * A + B, and P + Q + (A / a - B / b)^2 a b / (a + b). Chan, Golub & LeVeque, 1979.
 * at: mean, var, moments. size: c, tiles, images, numbers of a channel in an image. */
static void norm_statistics(const instruction *i, char **at, place here) {
    int64_t c = i->size[0], tiles = i->size[1], images = i->size[2], each = i->size[3];
    int64_t first = c * here.part / PARTS, end = c * (here.part + 1) / PARTS;
    float *mean = (float *)at[0], *var = (float *)at[1], *moments = (float *)at[2];
    for (int64_t step = 1; step < tiles; step *= 2)
        for (int64_t tile = 0; tile + step < tiles; tile += 2 * step) {
            float a = (float)(step * TILE * each), b = (float)((smaller(images, (tile + 2 * step) * TILE) - (tile + step) * TILE) * each);
            float *left = moments + tile * 2 * c, *right = left + step * 2 * c;
            for (int64_t k = first; k < end; k++) {
                float apart = left[k] / a - right[k] / b;
                left[c + k] += right[c + k] + apart * apart * (a * (b / (a + b)));
                left[k] += right[k];
            }
        }
    for (int64_t k = first; k < end; k++) {
        mean[k] = moments[k] / (float)(images * each);
        var[k] = moments[c + k] / (float)(images * each);
    }
}

/* Running statistics move by `momentum` towards those of a batch: running = (1 - momentum) running + momentum found.
 * at: running mean, running var, mean, var. size: c. number: momentum, the factor of var that makes it unbiased. */
static void norm_running(const instruction *i, char **at, place here) {
    float momentum = (float)i->number[0], rest = (float)(1 - i->number[0]), unbiased = (float)i->number[1];
    for (int64_t k = i->size[0] * here.part / PARTS; k < i->size[0] * (here.part + 1) / PARTS; k++) {
        ((float *)at[0])[k] = ((float *)at[0])[k] * rest + momentum * ((float *)at[2])[k];
        ((float *)at[1])[k] = ((float *)at[1])[k] * rest + momentum * (((float *)at[3])[k] * unbiased);
    }
}

/* y = (x - mean) / s weight + bias. at: y, x, mean, var, weight or null, bias or null. */
static void norm(const instruction *i, char **at, place here) {
    const norm_sizes *z = (const norm_sizes *)i->size;
    const float *weight = (float *)at[4], *bias = (float *)at[5];
    const lanes *x = (lanes *)at[1];
    lanes *y = (lanes *)at[0];
    for (int64_t c = 0; c < z->c; c++) {
        float mean = ((float *)at[2])[c], scale = inverse_root(((float *)at[3])[c], i->number[0]);
        float factor = weight ? weight[c] : 1, shift = bias ? bias[c] : 0;
        FOR_CHANNEL(z, c, y[pixel] = (x[pixel] - mean) * scale * factor + shift;)
    }
}

/* Of a tile: dbias = sum dy, dweight = sum dy x^. at: dbias, dweight, dy, x, mean, var. */
static void norm_sums(const instruction *i, char **at, place here) {
    const norm_sizes *z = (const norm_sizes *)i->size;
    const lanes *dy = (lanes *)at[2], *x = (lanes *)at[3];
    for (int64_t c = 0; c < z->c; c++) {
        float mean = ((float *)at[4])[c], scale = inverse_root(((float *)at[5])[c], i->number[0]);
        lanes total[4] = {{0}}, product[4] = {{0}};
        FOR_CHANNEL(z, c, {
            total[pixel & 3] += dy[pixel];
            product[pixel & 3] += dy[pixel] * ((x[pixel] - mean) * scale);
        })
        if (at[0]) ((float *)at[0])[c] = sum_of_four(total);
        if (at[1]) ((float *)at[1])[c] = sum_of_four(product);
    }
}

/* Of a tile, the gradient of a bias: sum x for each channel. at: those, x. */
static void channel_sums(const instruction *i, char **at, place here) {
    const norm_sizes *z = (const norm_sizes *)i->size;
    const lanes *x = (lanes *)at[1];
    for (int64_t c = 0; c < z->c; c++) {
        lanes total[4] = {{0}};
        FOR_CHANNEL(z, c, total[pixel & 3] += x[pixel];)
        ((float *)at[0])[c] = sum_of_four(total);
    }
}

/* dx = weight / s (dy - dbias / n - x^ dweight / n), n the numbers of a channel in the batch; weight / s dy where mean and
 * var are constants (n = 0). at: dx, dy, x, mean, var, weight or null, dbias, dweight. size: norm_sizes, n. */
static void norm_back(const instruction *i, char **at, place here) {
    const norm_sizes *z = (const norm_sizes *)i->size;
    const float *weight = (float *)at[5], n = (float)i->size[3];
    const lanes *dy = (lanes *)at[1], *x = (lanes *)at[2];
    lanes *dx = (lanes *)at[0];
    for (int64_t c = 0; c < z->c; c++) {
        float scale = inverse_root(((float *)at[4])[c], i->number[0]), factor = weight ? weight[c] * scale : scale;
        if (n == 0) {
            FOR_CHANNEL(z, c, dx[pixel] = dy[pixel] * factor;)
            continue;
        }
        float mean = ((float *)at[3])[c], total = ((float *)at[6])[c] / n, product = ((float *)at[7])[c] / n;
        FOR_CHANNEL(z, c, dx[pixel] = factor * (dy[pixel] - total - (x[pixel] - mean) * scale * product);)
    }
}
