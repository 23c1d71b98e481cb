// Linear layers and their gradients, as products (product.cuh): x (N, I), weight (O, I), y (N, O), rows without holes.
//
//     forward    y (N, O)           = x (N, I) with weight (O, I)
//     dx         dx (N, I)          = dy (N, O) with the columns of weight (O, I)
//     dweight    dweight (O, I + 1) = the columns of dy (N, O) with those of x (N, I + 1)
//
// In the last, x has a column more, of ones: its gradient is that of the bias.

#include "product.cuh"

struct gradient_rows : gradient {
    static constexpr bool ALONG_K = true, WHOLE = false;
    int o;
    __device__ REAL at(int n, int first, int d) const { return read(n * o + first + d); }
};

struct gradient_columns : gradient {
    static constexpr bool ALONG_K = false, WHOLE = false;
    int o;
    __device__ REAL at(int i, int first, int d) const { return read((first + d) * o + i); }
};

// The columns of x, or only that after them where `count` is 0.
struct inputs : matrix_columns {
    int count;
    __device__ REAL at(int i, int first, int d) const {
        return i < count ? matrix_columns::at(i, first, d) : REAL(1);
    }
};

struct to_rows {
    REAL* y;
    const REAL* bias;
    int columns;
    bool with_relu;

    __device__ void operator()(int n, int o, const REAL (&sums)[4]) const {
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (o + j < columns) {
                const REAL sum = bias ? sums[j] + bias[o + j] : sums[j];
                y[n * columns + o + j] = with_relu ? relu(sum) : sum;
            }
    }
};

// Blocks: one a tile of (N, O).
extern "C" __global__ void __launch_bounds__(SHAPE::THREADS, SHAPE::BLOCKS)
    forward(const REAL* x, const REAL* weight, const REAL* bias, REAL* y, int n, int i, int o) {
    __shared__ tile<SHAPE> shared;
    const assignment<SHAPE> mine(blockIdx.x, n, o);
    const matrix_rows rows{x, i}, columns{weight, i};
    const to_rows out{y, bias, o, AFTER == RELU};
    multiply<SHAPE>(shared, rows, columns, out, mine.row, n, mine.column, o, 0, i);
}

// Blocks: `dx_blocks`, one a tile of (N, I); then one a tile of (O, elements) and part of the sums. `k`, `elements`,
// `part` and `dfilters` as in conv.cu, with K = I.
extern "C" __global__ void __launch_bounds__(SHAPE::THREADS, SHAPE::BLOCKS)
    backward(const REAL* dy, const REAL* y, const REAL* x, const REAL* weight, REAL* dx, REAL* dfilters, int n, int i,
             int o, int dx_blocks, int k, int elements, int part) {
    __shared__ tile<SHAPE> shared;
    const gradient grad{dy, y, nullptr};
    if (blockIdx.x < dx_blocks) {
        const assignment<SHAPE> mine(blockIdx.x, n, i);
        const gradient_rows rows{grad, o};
        const matrix_columns columns{weight, i};
        const to_rows out{dx, nullptr, i, false};
        multiply<SHAPE>(shared, rows, columns, out, mine.row, n, mine.column, i, 0, o);
    } else {
        const assignment<SHAPE> mine(blockIdx.x - dx_blocks, o, elements);
        const gradient_columns rows{grad, o};
        const inputs columns{{x, i}, k};
        REAL* const sums = dfilters + mine.product * o * elements;
        const to_filters out{sums, sums + o * k, k, elements};
        const int first = mine.product * part, last = min(first + part, n);
        multiply<SHAPE>(shared, rows, columns, out, mine.row, o, mine.column, elements, first, last);
    }
}
