// A batch made of all images: picked, moved, scaled, a thread for each pixel of it. The moves are followed backwards,
// from a pixel of the batch to the one of the stored image that ends there.

const int MOVES = 8;

// batch.py fills this in.
struct Moves {
    int n;
    int kind[MOVES], padding[MOVES], size[MOVES];
    int h[MOVES], w[MOVES];  // of the image before it is moved
    int first[MOVES];        // row of `drawn` with its numbers
    float fill[MOVES];       // a pixel's value
};
enum { FLIP, COVER, CONSTANT, EDGE, REFLECT };

struct Place {
    int row, column;
    float fill;
    bool filled;  // it lies outside of the image, and has the value `fill`
};

// Where an index that may lie outside of 0..n-1 gets its pixel from, for a padding of less than n.
static __device__ int border(int kind, int i, int n) {
    if (kind == EDGE) return i < 0 ? 0 : i < n ? i : n - 1;
    return i < 0 ? -i : i < n ? i : 2 * (n - 1) - i;
}

// Where pixel (row, column) of image number `image` of the batch comes from.
static __device__ Place source(const Moves& moves, const int* drawn, int n, int image, int row, int column) {
    for (int k = moves.n - 1; k >= 0; k--) {
        const int kind = moves.kind[k], h = moves.h[k], w = moves.w[k];
        const int* mine = drawn + moves.first[k] * n + image;
        if (kind == FLIP) {
            if (*mine) column = w - 1 - column;
            continue;
        }
        if (kind == COVER) {
            const int down = row - mine[0], across = column - mine[n];
            if (down >= 0 && down < moves.size[k] && across >= 0 && across < moves.size[k])
                return {0, 0, moves.fill[k], true};
            continue;
        }
        row += mine[0] - moves.padding[k];
        column += mine[n] - moves.padding[k];
        if (kind == CONSTANT) {
            if (row < 0 || row >= h || column < 0 || column >= w) return {0, 0, moves.fill[k], true};
        } else {
            row = border(kind, row, h);
            column = border(kind, column, w);
        }
    }
    return {row, column, 0, false};
}

// images (N, C, H, W), drawn (1 + numbers, n), values (C, 256) -> x (n, C, rows, columns), y (n,); block (i, k) makes a
// part of image i.
template <class Pixel>
static __device__ void make(const Pixel* images, const long long* labels, const int* drawn, const Moves& moves,
                            const float* values, float* x, long long* y, int n, int c, int h, int w,
                            int rows, int columns) {
    const int i = blockIdx.x, at = drawn[i], part = blockIdx.y * blockDim.x + threadIdx.x;
    if (part == 0) y[i] = labels[at];
    const int pixels = c * rows * columns;
    if (part >= pixels) return;
    const int channel = part / (rows * columns);
    const Place from = source(moves, drawn, n, i, part / columns % rows, part % columns);
    const Pixel pixel = from.filled
                            ? Pixel(from.fill)
                            : images[(long long)at * c * h * w + (channel * h + from.row) * w + from.column];
    x[(long long)i * pixels + part] = values ? values[channel * 256 + int(pixel)] : float(pixel);
}

extern "C" __global__ void bytes(const unsigned char* images, const long long* labels, const int* drawn,
                                 const Moves moves, const float* values, float* x, long long* y, int n, int c, int h,
                                 int w, int rows, int columns) {
    make(images, labels, drawn, moves, values, x, y, n, c, h, w, rows, columns);
}

extern "C" __global__ void reals(const float* images, const long long* labels, const int* drawn,
                                 const Moves moves, const float* values, float* x, long long* y, int n, int c, int h,
                                 int w, int rows, int columns) {
    make(images, labels, drawn, moves, values, x, y, n, c, h, w, rows, columns);
}
