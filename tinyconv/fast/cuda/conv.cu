// Convolutions, their gradients, and convolution + bias + ReLU + 2x2 max-pooling, as products (product.cuh) whose
// operands work out where their elements lie. Arrays are NCHW without holes. The letters are those of `ops.conv`, but C
// and F are the channels and filters of one group.
//
//     forward    y (F, positions of y)     = weight (F, K) with windows of x,                 K = (C, KH, KW)
//     dx         dx (C, positions of x)    = weight (C, FK) with what reached them from dy,   FK = (F, KH, KW)
//     dweight    dweight (F, K + 1)        = dy with windows of x, summed over positions of y
//
// A position is that of an image, a row and a column. In the last product there is a window element more, which is
// always one: its gradient is that of the bias.
//
// The terms of the first two sums go as the filters lie, channel by channel. Where the channels are a whole number of
// steps (IN_STEPS), a step is DEPTH channels at one (u, v) instead, with the (u, v) of the same channels one after
// another, so that their images stay near: what lies where is then worked out once a step instead of once a term. The
// weights then lie as (KH, KW, C, F), F here of all groups, so that threads read neighbours.
//
// With a pooling the positions of the maps are numbered window by window, four in a row: a thread, which has four
// columns, then has all that a maximum is taken of, and the maps are never written. The place of a maximum is 2 u + v,
// or NOWHERE if ReLU stops the gradient there. (OH, OW) are the sizes of y, half of those of the maps.

#include "product.cuh"

enum { NOWHERE = 4 };

#ifndef IN_STEPS
#define IN_STEPS false
#endif

struct conv {  // `GEOMETRY` in conv.py
    int n, groups, c, f, h, oh, ph, pw, sh, sw, dh, dw;
    divisor image, w, map, ow, kernel, kw, by_sh, by_sw;  // image: h w, map: oh ow, kernel: kh kw
};

// An element of a filter, and of a window.
struct element {
    int channel, uv, u, v;

    __device__ element(const conv& g, int channel, int uv) : channel(channel), uv(uv) {
        u = g.kw.quotient(uv), v = uv - u * g.kw.by;
    }

    // Number k in the order in which they lie.
    __device__ element(const conv& g, int k)
        : element(g, g.kernel.quotient(k), k - g.kernel.quotient(k) * g.kernel.by) {}

    // The one that term first + d of a sum belongs to.
    static __device__ element of_term(const conv& g, int first, int d) {
        if (!IN_STEPS) return element(g, first + d);
        const int step = first / SHAPE::DEPTH, before = g.kernel.quotient(step);
        return element(g, before * SHAPE::DEPTH + d, step - before * g.kernel.by);
    }
};

// The windows of x at positions.
struct windows {
    const REAL* x;
    conv g;
    int group;

    __device__ REAL read(int p, const element& k) const {
        const int window = AFTER == POOL ? p / 4 : p;
        const int n = g.map.quotient(window), ij = window - n * g.map.by;
        int i = g.ow.quotient(ij), j = ij - i * g.ow.by;
        if (AFTER == POOL) i = 2 * i + p / 2 % 2, j = 2 * j + p % 2;
        const int row = i * g.sh + k.u * g.dh - g.ph, column = j * g.sw + k.v * g.dw - g.pw;
        if (row < 0 || row >= g.h || column < 0 || column >= g.w.by) return 0;
        return x[((n * g.groups + group) * g.c + k.channel) * g.image.by + row * g.w.by + column];
    }
};

struct windows_by_position : windows {
    static constexpr bool ALONG_K = false, WHOLE = IN_STEPS;
    __device__ REAL at(int p, int first, int d) const { return read(p, element::of_term(g, first, d)); }
};

struct windows_by_element : windows {
    static constexpr bool ALONG_K = true, WHOLE = false;
    int k;  // how many elements a window has, or 0 if only the one after them is asked for
    __device__ REAL at(int i, int first, int d) const { return i < k ? read(first + d, element(g, i)) : REAL(1); }
};

// dy (filter, position), for dweight.
struct gradient_by_filter : gradient {
    static constexpr bool ALONG_K = true, WHOLE = false;
    conv g;
    int group;

    __device__ REAL at(int f, int first, int d) const {
        const int p = first + d, window = AFTER == POOL ? p / 4 : p;
        const int n = g.map.quotient(window), ij = window - n * g.map.by;
        return read(((n * g.groups + group) * g.f + f) * g.map.by + ij, p % 4);
    }
};

// What reached position p of x from terms (f, u, v) of the filters: dy[f, i, j] with i SH + u DH - PH the row of p, and
// the same for its column; zero if no window lies so. (At strides above one, most of them.)
struct gradient_by_position : gradient {
    static constexpr bool ALONG_K = false, WHOLE = IN_STEPS;
    conv g;
    int group;

    __device__ REAL at(int p, int first, int d) const {
        const element k = element::of_term(g, first, d);
        const int n = g.image.quotient(p), within = p - n * g.image.by, y = g.w.quotient(within);
        const int row = y + g.ph - k.u * g.dh, column = within - y * g.w.by + g.pw - k.v * g.dw;
        if (row < 0 || column < 0) return 0;
        int i = g.by_sh.quotient(row), j = g.by_sw.quotient(column), way = 0;
        if (i * g.sh != row || j * g.sw != column) return 0;
        if (AFTER == POOL) way = i % 2 * 2 + j % 2, i /= 2, j /= 2;
        if (i >= g.oh || j >= g.ow.by) return 0;
        return read(((n * g.groups + group) * g.f + k.channel) * g.map.by + i * g.ow.by + j, way);
    }
};

// The weights, as y meets them: row f, terms (c, u, v); and as dx does: row c, terms (f, u, v).
struct weights {
    static constexpr bool WHOLE = IN_STEPS;
    const REAL* weight;
    conv g;
    int group;

    __device__ REAL read(int f, int c, int uv) const {
        const int filter = group * g.f + f;
        if (IN_STEPS) return weight[(uv * g.c + c) * (g.groups * g.f) + filter];
        return weight[(filter * g.c + c) * g.kernel.by + uv];
    }
};

struct weights_by_filter : weights {
    static constexpr bool ALONG_K = !IN_STEPS;
    __device__ REAL at(int f, int first, int d) const {
        const element k = element::of_term(g, first, d);
        return read(f, k.channel, k.uv);
    }
};

struct weights_by_channel : weights {
    static constexpr bool ALONG_K = true;
    __device__ REAL at(int c, int first, int d) const {
        const element k = element::of_term(g, first, d);
        return read(k.channel, c, k.uv);
    }
};

// Sums (channel, position) to images: y, or dx.
struct to_images {
    REAL* y;
    divisor image;
    int channels, first, positions;  // in all; before this group

    __device__ void operator()(int c, int p, const REAL (&sums)[4]) const {
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (p + j < positions) {
                const int n = image.quotient(p + j), within = p + j - n * image.by;
                y[(n * channels + first + c) * image.by + within] = sums[j];
            }
    }
};

// + bias, ReLU and the maximum, as far as they are asked for, and then to y.
struct to_maps {
    to_images maps;
    const REAL* bias;
    unsigned char* place;

    __device__ void operator()(int f, int p, REAL (&sums)[4]) const {
        const REAL shift = bias ? bias[maps.first + f] : REAL(0);
#pragma unroll
        for (int j = 0; j < 4; j++) sums[j] = AFTER == NOTHING ? sums[j] + shift : relu(sums[j] + shift);
        if (AFTER != POOL) return maps(f, p, sums);
        if (p >= maps.positions) return;
        REAL most = sums[0];
        int best = 0;
#pragma unroll
        for (int j = 1; j < 4; j++)
            if (sums[j] > most || sums[j] != sums[j]) most = sums[j], best = j;  // NaN is larger than everything
        const int window = p / 4, n = maps.image.quotient(window), ij = window - n * maps.image.by;
        const int at = (n * maps.channels + maps.first + f) * maps.image.by + ij;
        maps.y[at] = most;
        place[at] = most <= 0 ? NOWHERE : best;
    }
};

// Blocks: one a tile of (F, positions) and group.
extern "C" __global__ void __launch_bounds__(SHAPE::THREADS, SHAPE::BLOCKS)
    forward(const REAL* x, const REAL* weight, const REAL* bias, REAL* y, unsigned char* place, conv g) {
    __shared__ tile<SHAPE> shared;
    const int positions = g.n * g.map.by * (AFTER == POOL ? 4 : 1), k = g.c * g.kernel.by;
    const assignment<SHAPE> mine(blockIdx.x, g.f, positions);
    const int group = mine.product;
    const weights_by_filter filters{{weight, g, group}};
    const windows_by_position seen{{x, g, group}};
    const to_maps out{{y, g.map, g.groups * g.f, group * g.f, positions}, bias, place};
    multiply<SHAPE>(shared, filters, seen, out, mine.row, g.f, mine.column, positions, 0, k);
}

// Blocks: `dx_blocks`, one a tile of (C, positions) and group; then one a tile of (F, elements), group and part of the
// positions. `elements` is K for dweight alone, K + 1 for dbias too, and 1 for dbias alone, where `k` is 0. Each part,
// of `part` positions but for the last, makes its own dweight and dbias, which lie one after another in `dfilters`.
extern "C" __global__ void __launch_bounds__(SHAPE::THREADS, SHAPE::BLOCKS)
    backward(const REAL* dy, const REAL* y, const unsigned char* place, const REAL* x, const REAL* weight, REAL* dx,
             REAL* dfilters, conv g, int dx_blocks, int k, int elements, int part) {
    __shared__ tile<SHAPE> shared;
    const gradient grad{dy, y, place};
    if (blockIdx.x < dx_blocks) {
        const int positions = g.n * g.image.by;
        const assignment<SHAPE> mine(blockIdx.x, g.c, positions);
        const int group = mine.product;
        const weights_by_channel filters{{weight, g, group}};
        const gradient_by_position reached{grad, g, group};
        const to_images out{dx, g.image, g.groups * g.c, group * g.c, positions};
        const int depth = g.f * g.kernel.by;
        multiply<SHAPE>(shared, filters, reached, out, mine.row, g.c, mine.column, positions, 0, depth);
    } else {
        const int positions = g.n * g.map.by * (AFTER == POOL ? 4 : 1), all = g.groups * g.f;
        const assignment<SHAPE> mine(blockIdx.x - dx_blocks, g.f, elements);
        const int group = mine.product % g.groups, number = mine.product / g.groups;
        const gradient_by_filter reached{grad, g, group};
        const windows_by_element seen{{x, g, group}, k};
        REAL* const sums = dfilters + number * all * elements;
        const to_filters out{sums + group * g.f * k, sums + all * k + group * g.f, k, elements};
        const int first = number * part, last = min(first + part, positions);
        multiply<SHAPE>(shared, reached, seen, out, mine.row, g.f, mine.column, elements, first, last);
    }
}
