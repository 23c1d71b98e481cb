/* Convolutions 3x3 of stride 1 by Winograd's F(2x2, 3x3): 2x2 numbers of the output from 4x4 of the input by 16 products,
 * where the definition has 36 (Lavin & Gray, arXiv:1509.09308). Of a place, a 2x2 square of the output, with d its 4x4
 * square of the input and g the filter,
 *
 *     y = A^T [sum_c (G g G^T) (B^T d B)] A,   dg = G^T [sum (A dy A^T) (B^T d B)] G,
 *
 * with products of 4x4 matrices number by number. So there are 16 matrix products, one for each number of the squares:
 * filters x channels by channels x places; and for dg, filters x places by places x channels. dx is a convolution of this
 * kind too, of dy by the turned filters. One image is in a lane, so that no transformation shuffles anything. A ROUND of
 * places goes through all 16 products together.
 *
 * Filters and channels are multiples of 4. Against float64, of the root of the mean of squares, y is off by 2.6e-7, dx by
 * 2.0e-7 and dw by 4.4e-7 (64 images 15x15, 64 channels, 32 filters); NumPy's products by 2.8e-7, 1.5e-7 and 1.1e-7. */
enum { SIDE = 4, SQUARE = SIDE * SIDE, FOUR = 4, TOGETHER = SUMS / FOUR, ROUND = 24 };

/* The 1-D transformations of the numbers a[0], a[s], a[2 s], a[3 s], in their place: B^T, A^T, A, G^T and G. */
#define LINE(name, type, new0, new1, new2, new3) \
    INLINE void name(type *a, int s) { \
        type a0 = a[0], a1 = a[s], a2 = a[2 * s], a3 = a[3 * s]; \
        (void)a3, (void)a2, a[0] = new0, a[s] = new1, a[2 * s] = new2, a[3 * s] = new3; \
    }
LINE(of_input, lanes, a0 - a2, a1 + a2, a2 - a1, a1 - a3)
LINE(of_output, lanes, a0 + a1 + a2, a1 - a2 - a3, a2, a3)
LINE(of_output_gradient, lanes, a0, a0 + a1, a0 - a1, -a1)
LINE(of_filter_gradient, lanes, a0 + (a1 + a2) * 0.5f, (a1 - a2) * 0.5f, (a1 + a2) * 0.5f + a3, a3)
LINE(of_filter, float, a0, (a0 + a1 + a2) * 0.5f, (a0 - a1 + a2) * 0.5f, a2)
/* The rows of a square, then its columns. */
#define BOTH_WAYS(line, a, rows) \
    do { \
        for (int u = 0; u < (rows); u++) line((a) + SIDE * u, 1); \
        for (int v = 0; v < SIDE; v++) line((a) + v, SIDE); \
    } while (0)

/* Maps (c, h, w) of blocks of images, with the corner of the square of place 0 at (-ph, -pw), and th x tw places. */
typedef struct { const lanes *at; int64_t c, h, w, ph, pw, th, tw; } places;
/* Where the square of place t lies, and whether all of it (or of its first `side` rows and columns) is in the maps. */
typedef struct { const lanes *maps; int64_t top, left; int inside; } corner;
INLINE corner corner_of(const places *m, int64_t t, int side) {
    int64_t top = t / m->tw % m->th * 2 - m->ph, left = t % m->tw * 2 - m->pw;
    int inside = top >= 0 && left >= 0 && top + side <= m->h && left + side <= m->w;
    return (corner){m->at + t / (m->th * m->tw) * m->c * m->h * m->w, top, left, inside};
}
INLINE void load_square(const places *m, const corner *q, int64_t channel, int side, lanes *d) {
    for (int u = 0; u < side; u++)
        for (int v = 0; v < side; v++) {
            int64_t row = q->top + u, column = q->left + v;
            int there = q->inside || (row >= 0 && row < m->h && column >= 0 && column < m->w);
            d[SIDE * u + v] = there ? q->maps[(row * m->c + channel) * m->w + column] : (lanes){0};
        }
}

/* G g G^T of every filter, in the order of the products: [16][f / 4][c][4]; of the turned filters, with channels and filters
 * exchanged, if asked for. at: those, weights [f][c][3][3]. size: f, c, turned. */
static void winograd_filters(const instruction *i, char **at, place here) {
    int64_t f = i->size[0], c = i->size[1], turned = i->size[2], outputs = turned ? c : f, inputs = turned ? f : c;
    int64_t end = outputs / FOUR * (here.part + 1) / PARTS * FOUR;
    for (int64_t out = outputs / FOUR * here.part / PARTS * FOUR; out < end; out++)
        for (int64_t in = 0; in < inputs; in++) {
            const float *g = (float *)at[1] + (turned ? in * c + out : out * c + in) * 9;
            float a[SQUARE] = {0};
            for (int k = 0; k < 9; k++) a[k / 3 * SIDE + k % 3] = g[turned ? 8 - k : k];
            BOTH_WAYS(of_filter, a, 3);
            float *to = (float *)at[0] + (out / FOUR * inputs + in) * FOUR + out % FOUR;
            for (int k = 0; k < SQUARE; k++) to[k * outputs * inputs] = a[k];
        }
}

/* Vectors between the matrices of a round of `rows` channels or filters. Not a power of 2: those would meet in one place of
 * the caches. */
INLINE int64_t apart(int64_t rows) { return ROUND * rows + 2; }

/* The vectors of room that `winograd` needs. */
EXPORT int64_t winograd_room(int64_t c, int64_t f) { return SQUARE * (apart(c) + apart(f)); }

/* y = convolution of x, + bias, and ReLU if asked for. Of a round, TOGETHER places at a time are neighbours in memory:
 * [16][place / TOGETHER][channel][TOGETHER], so that a product reads them in order.
 * at: y, x, G g G^T, bias or null, room. size: conv_sizes. */
static void winograd(const instruction *i, char **at, place here) {
    const conv_sizes *z = (const conv_sizes *)i->size;
    places from = {(lanes *)at[1], z->c, z->h, z->w, z->ph, z->pw, (z->oh + 1) / 2, (z->ow + 1) / 2};
    places to = {(lanes *)at[0], z->f, z->oh, z->ow, 0, 0, from.th, from.tw};
    const float *filters = (float *)at[2], *bias = (float *)at[3];
    lanes *in = (lanes *)at[4], *out = in + SQUARE * apart(z->c);
    int64_t total = here.blocks * from.th * from.tw;
    for (int64_t first = 0; first < total; first += ROUND) {
        int64_t groups = (smaller(ROUND, total - first) + TOGETHER - 1) / TOGETHER;
        corner corners[ROUND];
        for (int64_t t = 0; t < groups * TOGETHER; t++)
            corners[t] = corner_of(&from, smaller(first + t, total - 1), SIDE); /* the last place, where there are no more */
        for (int64_t g = 0; g < groups; g++)
            for (int64_t c = 0; c < z->c; c++)
                for (int64_t p = 0; p < TOGETHER; p++) {
                    lanes d[SQUARE];
                    load_square(&from, corners + g * TOGETHER + p, c, SIDE, d);
                    BOTH_WAYS(of_input, d, SIDE);
                    for (int k = 0; k < SQUARE; k++) in[k * apart(z->c) + (g * z->c + c) * TOGETHER + p] = d[k];
                }
        for (int64_t k = 0; k < SQUARE; k++)
            for (int64_t g = 0; g < groups; g++)
                for (int64_t f = 0; f < z->f; f += FOUR)
                    tile(FOUR, TOGETHER, in + k * apart(z->c) + g * z->c * TOGETHER, TOGETHER, z->c, 1, 1,
                         filters + (k * z->f + f) * z->c, FOUR, 0, 0, out + k * apart(z->f) + (g * z->f + f) * TOGETHER, TOGETHER);
        for (int64_t t = 0; t < groups * TOGETHER; t++) corners[t] = corner_of(&to, smaller(first + t, total - 1), 2);
        for (int64_t g = 0; g < groups; g++)
            for (int64_t f = 0; f < z->f; f++)
                for (int64_t p = 0; p < TOGETHER; p++) {
                    const corner *q = corners + g * TOGETHER + p;
                    lanes m[SQUARE], *y = (lanes *)q->maps + (q->top * z->f + f) * z->ow + q->left;
                    for (int k = 0; k < SQUARE; k++) m[k] = out[k * apart(z->f) + (g * z->f + f) * TOGETHER + p];
                    BOTH_WAYS(of_output, m, SIDE);
                    for (int64_t u = 0; u < (q->top + 1 < z->oh ? 2 : 1); u++, y += z->f * z->ow)
                        for (int64_t v = 0; v < (q->left + 1 < z->ow ? 2 : 1); v++) {
                            lanes number = m[SIDE * u + v] + (bias ? bias[f] : 0);
                            y[v] = z->relu ? zero_where(number <= 0, number) : number;
                        }
                }
    }
}

/* to[f][channels] += sum d[f] x of `group` filters and PAIR vectors of channels, over `count` images at places. The sum of
 * a round is added as one number: a single chain of additions would round four times as much. */
INLINE void products_tile(const int group, const float *d, int64_t d_row, const lanes *x, int64_t count, lanes *to,
                          int64_t to_row) {
    lanes sums[OUTPUTS][PAIR];
    for (int g = 0; g < group; g++)
        for (int v = 0; v < PAIR; v++) sums[g][v] = (lanes){0};
    for (int64_t n = 0; n < count; n++, x += PAIR) {
        lanes of[PAIR];
        for (int v = 0; v < PAIR; v++) of[v] = x[v];
        for (int g = 0; g < group; g++)
            for (int v = 0; v < PAIR; v++) sums[g][v] += of[v] * d[g * d_row + n];
    }
    for (int g = 0; g < group; g++)
        for (int v = 0; v < PAIR; v++) to[g * to_row + v] += sums[g][v];
}

/* The vectors that hold c channels, in pairs. */
INLINE int64_t vectors_of(int64_t c) { return (c + PAIR * LANES - 1) / (PAIR * LANES) * PAIR; }

INLINE int64_t matrix_of(int64_t c) { return ROUND * LANES * vectors_of(c) + 2; }

/* The vectors of room that `winograd_dw` needs. */
EXPORT int64_t winograd_dw_room(int64_t c, int64_t f) {
    return SQUARE * (f * vectors_of(c) + matrix_of(c) + apart(f));
}

/* dweight[f][c][3][3] of a tile. Here channels are in lanes, [16][pair of vectors][place][image][PAIR], so that the sums of
 * a product are numbers of the result, and are not added up over lanes.
 * at: dw, x, dy, room. size: conv_sizes. */
static void winograd_dw(const instruction *i, char **at, place here) {
    const conv_sizes *z = (const conv_sizes *)i->size;
    int64_t vectors = vectors_of(z->c), matrix = matrix_of(z->c);
    places from = {(lanes *)at[1], z->c, z->h, z->w, z->ph, z->pw, (z->oh + 1) / 2, (z->ow + 1) / 2};
    places to = {(lanes *)at[2], z->f, z->oh, z->ow, 0, 0, from.th, from.tw};
    lanes *sums = (lanes *)at[3], *in = sums + SQUARE * z->f * vectors, *out = in + SQUARE * matrix;
    int64_t total = here.blocks * from.th * from.tw;
    memset(sums, 0, SQUARE * z->f * vectors * sizeof *sums);
    for (int64_t first = 0; first < total; first += ROUND) {
        int64_t count = smaller(ROUND, total - first);
        corner corners[ROUND];
        for (int64_t t = 0; t < count; t++) {
            corner x = corner_of(&from, first + t, SIDE);
            corners[t] = corner_of(&to, first + t, 2);
            for (int64_t v = 0; v < vectors; v++) {
                lanes d[LANES][SQUARE];
                for (int64_t c = 0; c < LANES; c++) {
                    if (v * LANES + c < z->c) load_square(&from, &x, v * LANES + c, SIDE, d[c]);
                    else memset(d[c], 0, sizeof d[c]);
                    BOTH_WAYS(of_input, d[c], SIDE);
                }
                for (int k = 0; k < SQUARE; k++) {
                    lanes turned[LANES], *row = in + k * matrix + (v / PAIR * ROUND + t) * LANES * PAIR + v % PAIR;
                    for (int c = 0; c < LANES; c++) turned[c] = d[c][k];
                    transpose(turned);
                    for (int n = 0; n < LANES; n++) row[n * PAIR] = turned[n];
                }
            }
        }
        for (int64_t f = 0; f < z->f; f++)
            for (int64_t t = 0; t < count; t++) {
                lanes d[SQUARE] = {{0}};
                load_square(&to, corners + t, f, 2, d);
                BOTH_WAYS(of_output_gradient, d, 2);
                for (int k = 0; k < SQUARE; k++) out[k * apart(z->f) + f * ROUND + t] = d[k];
            }
        for (int64_t k = 0; k < SQUARE; k++)
            for (int64_t v = 0; v < vectors; v += PAIR) {
#define PRODUCTS(g, n) products_tile(g, (float *)(out + k * apart(z->f) + f * ROUND), ROUND * LANES, \
                                     in + k * matrix + v * ROUND * LANES, count * LANES, \
                                     sums + (k * z->f + f) * vectors + v, vectors)
                IN_TILES(z->f, f, PAIR, pair, PRODUCTS)
            }
    }
    for (int64_t f = 0; f < z->f; f++)
        for (int64_t v = 0; v < vectors; v++) {
            lanes g[SQUARE];
            for (int k = 0; k < SQUARE; k++) g[k] = sums[(k * z->f + f) * vectors + v];
            BOTH_WAYS(of_filter_gradient, g, SIDE);
            for (int64_t c = 0; c < smaller(LANES, z->c - v * LANES); c++)
                for (int k = 0; k < 9; k++)
                    ((float *)at[0])[(f * z->c + v * LANES + c) * 9 + k] = g[k / 3 * SIDE + k % 3][c];
        }
}
