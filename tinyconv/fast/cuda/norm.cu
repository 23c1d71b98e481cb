// Batch normalisation of x (N, C, S). The M = N S numbers of a channel are cut into parts, and block (c, p) works on
// part p of channel c: a few channels of many numbers fill a GPU too. Sums over a channel take two kernels: the first
// leaves those of each part, and every block of the second adds them up again, all in the same order.

#include "reduce.cuh"

struct Cut {
    int channels, positions, numbers, part, parts;  // C, S, M, numbers in a part (the last may have less), parts
};

__device__ inline int size_of(const Cut& cut, int p) { return min(cut.part, cut.numbers - p * cut.part); }

// visit(i) for each element x[i] of this block's part, one in THREADS of them for a thread. What it steps on by is
// divided into images and positions once: divisions are slow.
template <class Visit> __device__ void over_part(const Cut& cut, Visit visit) {
    const int c = blockIdx.x, p = blockIdx.y, size = size_of(cut, p);
    int image = (p * cut.part + threadIdx.x) / cut.positions, position = (p * cut.part + threadIdx.x) % cut.positions;
    const int images_on = THREADS / cut.positions, on = THREADS % cut.positions;
    for (int k = threadIdx.x; k < size; k += THREADS) {
        visit((image * cut.channels + c) * cut.positions + position);
        image += images_on, position += on;
        if (position >= cut.positions) image++, position -= cut.positions;
    }
}

// Two sums over a part of a channel, and over all of them.
struct Sums {
    REAL first, second;
};

__device__ inline void leave(Sums* partial, const Cut& cut, REAL first, REAL second) {
    if (threadIdx.x == 0) partial[blockIdx.x * cut.parts + blockIdx.y] = {first, second};
}

// The sums over part number threadIdx.x of this block's channel; 0 if it has no such part.
__device__ inline Sums mine(const Sums* partial, const Cut& cut) {
    if (threadIdx.x >= cut.parts) return {0, 0};
    return partial[blockIdx.x * cut.parts + threadIdx.x];
}

// The sum of each part, and the sum of squared distances from the mean of the part: these take a second pass, while the
// part is in the cache, so that nothing is lost where the mean is large.
extern "C" __global__ void moments(const REAL* x, Sums* partial, Cut cut) {
    __shared__ REAL room[THREADS];
    REAL sum = 0, squares = 0;
    over_part(cut, [&](int i) { sum += x[i]; });
    sum = sum_over(THREADS, sum, room);
    const REAL mean = sum / size_of(cut, blockIdx.y);
    over_part(cut, [&](int i) { squares += (x[i] - mean) * (x[i] - mean); });
    leave(partial, cut, sum, sum_over(THREADS, squares, room));
}

// y, and the mean, variance and 1 / sqrt(var + eps) of each channel. Without `partial`, mean and variance are given.
extern "C" __global__ void normalise(const REAL* x, const REAL* weight, const REAL* bias, const Sums* partial,
                                     const REAL* given_mean, const REAL* given_var, REAL* y, REAL* means, REAL* vars,
                                     REAL* scales, REAL eps, Cut cut) {
    __shared__ REAL room[THREADS];
    const int c = blockIdx.x;
    REAL mean, var;
    if (partial) {
        const Sums part = mine(partial, cut);
        mean = sum_over(THREADS, part.first, room) / cut.numbers;
        REAL squares = part.second;
        if (threadIdx.x < cut.parts) {
            const REAL size = size_of(cut, threadIdx.x), off = part.first / size - mean;
            squares += size * off * off;  // from the mean of the part to that of the channel
        }
        var = sum_over(THREADS, squares, room) / cut.numbers;
    } else {
        mean = given_mean[c], var = given_var[c];
    }
    const REAL scale = 1 / sqrt(var + eps), w = weight ? weight[c] : 1, b = bias ? bias[c] : 0;
    if (blockIdx.y == 0 && threadIdx.x == 0) means[c] = mean, vars[c] = var, scales[c] = scale;
    over_part(cut, [&](int i) { y[i] = (x[i] - mean) * scale * w + b; });
}

// The sums of dy and of dy x^ over each part.
extern "C" __global__ void gradient_sums(const REAL* x, const REAL* dy, const REAL* means, const REAL* scales,
                                         Sums* partial, Cut cut) {
    __shared__ REAL room[THREADS];
    const REAL mean = means[blockIdx.x], scale = scales[blockIdx.x];
    REAL plain = 0, along = 0;
    over_part(cut, [&](int i) { plain += dy[i], along += dy[i] * ((x[i] - mean) * scale); });
    plain = sum_over(THREADS, plain, room);
    leave(partial, cut, plain, sum_over(THREADS, along, room));
}

// dbias = sum dy, dweight = sum dy x^, dx = weight (dy - dbias / M - x^ dweight / M) / s; or, where mean and variance
// are constants (`fixed`), dx = weight dy / s, which needs no `partial`. Outputs that are not wanted are null.
extern "C" __global__ void gradients(const REAL* x, const REAL* dy, const REAL* means, const REAL* scales,
                                     const REAL* weight, const Sums* partial, REAL* dx, REAL* dweight, REAL* dbias,
                                     int fixed, Cut cut) {
    __shared__ REAL room[THREADS];
    const int c = blockIdx.x;
    const REAL mean = means[c], scale = scales[c], factor = weight ? weight[c] * scale : scale;
    REAL plain = 0, along = 0;
    if (partial) {
        const Sums part = mine(partial, cut);
        plain = sum_over(THREADS, part.first, room);
        along = sum_over(THREADS, part.second, room);
    }
    if (blockIdx.y == 0 && threadIdx.x == 0) {
        if (dweight) dweight[c] = along;
        if (dbias) dbias[c] = plain;
    }
    if (!dx) return;
    if (fixed) {
        over_part(cut, [&](int i) { dx[i] = dy[i] * factor; });
        return;
    }
    plain /= cut.numbers, along /= cut.numbers;
    over_part(cut, [&](int i) { dx[i] = (dy[i] - plain - (x[i] - mean) * scale * along) * factor; });
}

// The running statistics of each channel moved by `share` towards those of a batch, the variance `unbiased` times.
extern "C" __global__ void move_statistics(REAL* running_means, REAL* running_vars, const REAL* means, const REAL* vars,
                                           REAL keep, REAL share, REAL unbiased, int channels) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= channels) return;
    running_means[c] = running_means[c] * keep + share * means[c];
    running_vars[c] = running_vars[c] * keep + share * (vars[c] * unbiased);
}
