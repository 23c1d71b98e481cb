/* Kernels that pool maps, besides the max-pool in maps.c: averages, and pools with cells in the place of windows. */

/* Row or column p of a window, as a range of the maps. */
typedef struct { int64_t from, end; } range;
INLINE range window(int64_t p, int64_t kernel, int64_t stride, int64_t padding, int64_t size) {
    int64_t from = p * stride - padding;
    return (range){from < 0 ? 0 : from, smaller(from + kernel, size)};
}
/* Cell p of `out`, which may overlap with the next one. */
INLINE range cell(int64_t p, int64_t out, int64_t size) { return (range){p * size / out, ((p + 1) * size + out - 1) / out}; }

/* How many numbers of one axis a window counts: the padding too if it is `wide`. */
INLINE int64_t counted(int64_t p, int64_t kernel, int64_t stride, int64_t padding, int64_t size, int64_t wide) {
    int64_t from = p * stride - padding, extra = wide ? padding : 0;
    return smaller(from + kernel, size + extra) - (from < -extra ? -extra : from);
}

/* Does the statement for all pixels of a tile's output, with `rows`, `columns` and `divisor` of its window or cell.
 * size: pool_sizes, and whether padding counts; or with kh = 0, cells. number: a divisor for all, or 0. */
#define FOR_WINDOWS(z, ...) \
    for (int64_t b = 0; b < here.blocks; b++) \
        for (int64_t p = 0; p < (z)->oh; p++) { \
            range rows = (z)->kh ? window(p, (z)->kh, (z)->sh, (z)->ph, (z)->h) : cell(p, (z)->oh, (z)->h); \
            for (int64_t c = 0; c < (z)->c; c++) \
                for (int64_t q = 0; q < (z)->ow; q++) { \
                    range columns = (z)->kh ? window(q, (z)->kw, (z)->sw, (z)->pw, (z)->w) : cell(q, (z)->ow, (z)->w); \
                    __VA_ARGS__ \
                } \
        }
#define FOR_PIXELS(z, ...) \
    for (int64_t row = rows.from; row < rows.end; row++) \
        for (int64_t column = columns.from; column < columns.end; column++) { \
            int64_t pixel = ((b * (z)->h + row) * (z)->c + c) * (z)->w + column; \
            __VA_ARGS__ \
        }
/* What the sum over a window is divided by. */
INLINE float divisor_of(const instruction *i, int64_t p, int64_t q, range rows, range columns) {
    const pool_sizes *z = (const pool_sizes *)i->size;
    int64_t wide = i->size[sizeof *z / sizeof(int64_t)];
    if (i->number[0] != 0) return (float)i->number[0];
    if (!z->kh) return (float)((rows.end - rows.from) * (columns.end - columns.from));
    return (float)(counted(p, z->kh, z->sh, z->ph, z->h, wide) * counted(q, z->kw, z->sw, z->pw, z->w, wide));
}

/* y[c][i][j] = sum x / D over window or cell (i, j). at: y, x. size and number: as FOR_WINDOWS. */
static void avg_pool(const instruction *i, char **at, place here) {
    const pool_sizes *z = (const pool_sizes *)i->size;
    const lanes *x = (lanes *)at[1];
    lanes *y = (lanes *)at[0];
    FOR_WINDOWS(z, {
        lanes total = {0};
        FOR_PIXELS(z, total += x[pixel];)
        *y++ = total / divisor_of(i, p, q, rows, columns);
    })
}

/* dx = dy / D, to all of its window. at: dx, dy. */
static void avg_pool_back(const instruction *i, char **at, place here) {
    const pool_sizes *z = (const pool_sizes *)i->size;
    const lanes *dy = (lanes *)at[1];
    lanes *dx = (lanes *)at[0];
    memset(dx, 0, here.blocks * z->c * z->h * z->w * sizeof *dx);
    FOR_WINDOWS(z, {
        lanes share = *dy++ / divisor_of(i, p, q, rows, columns);
        FOR_PIXELS(z, dx[pixel] += share;)
    })
}

/* y[c][i][j] = max x over cell (i, j), of equals the first, and NaN larger than everything: then the first NaN. Its place in
 * the cell, row by row, is its way: at most 255 numbers are in a cell. at: y, ways or null, x. */
static void cell_max(const instruction *i, char **at, place here) {
    const pool_sizes *z = (const pool_sizes *)i->size;
    const lanes *x = (lanes *)at[2];
    lanes *y = (lanes *)at[0];
    uint8_t *way = (uint8_t *)at[1];
    FOR_WINDOWS(z, {
        lanes best = x[((b * z->h + rows.from) * z->c + c) * z->w + columns.from];
        choice from = {0};
        int place = 0;
        FOR_PIXELS(z, {
            choice larger = (x[pixel] > best) | ((x[pixel] != x[pixel]) & (best == best));
            best = pick(larger, x[pixel], best), from = either(larger, (choice){0} + place++, from);
        })
        *y++ = best;
        if (way) store_ways(way, from, LANES), way += LANES;
    })
}

/* dx = dy at the place of its maximum, added where cells overlap. at: dx, dy, ways. */
static void cell_max_back(const instruction *i, char **at, place here) {
    const pool_sizes *z = (const pool_sizes *)i->size;
    const lanes *dy = (lanes *)at[1];
    const uint8_t *way = (uint8_t *)at[2];
    lanes *dx = (lanes *)at[0];
    memset(dx, 0, here.blocks * z->c * z->h * z->w * sizeof *dx);
    FOR_WINDOWS(z, {
        choice from = load_ways(way, LANES);
        int place = 0;
        FOR_PIXELS(z, dx[pixel] += zero_where(from != place++, *dy);)
        dy++, way += LANES;
    })
}
