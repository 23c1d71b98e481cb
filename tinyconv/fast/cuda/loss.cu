// Cross-entropy with class indices, of scores (N, C, P): row r = n P + p of them, an example, is x[(n C + c) P + p] for
// all c. Each row goes to `lanes` threads side by side: one where classes are few, or where the rows of neighbouring
// threads lie side by side anyway.

#include "reduce.cuh"

// q[c] of a row of class t: (1 - e) w[c] where c = t, and e / C w[c] beside. The loss of a row is -sum_c q[c] ln p[c].
struct Shares {
    const REAL* weight;  // null: all 1
    REAL own, beside;    // 1 - e, e / C

    __device__ REAL operator()(int c, long long t) const {
        const REAL w = weight ? weight[c] : 1;
        return (c == t ? own * w : 0) + beside * w;
    }
};

// What backward needs of a row: ln p[c] = x[c] - top - log_total, and Q, the sum of q. With top and log_total in one a
// large top would round the other away.
struct Row {
    REAL top, log_total, q;
};

// The sum of all losses, or their mean by the sum of all weights where `scale` is wanted.
__device__ inline void reduced(REAL loss, REAL weight, REAL* y, REAL* scale) {
    const REAL by = scale ? 1 / weight : 1;
    *y = loss * by;
    if (scale) *scale = by;
}

// Without `partial`, y is the loss of each row. With it, the losses and weights of each block are summed there; a block
// that is the only one makes y and scale at once. A target that is no class has no share in the loss.
extern "C" __global__ void cross_entropy(const REAL* x, const long long* target, const REAL* weight, REAL* y,
                                         REAL* scale, Row* saved, REAL* partial, int rows, int classes, int positions,
                                         int lanes, long long ignored, REAL own, REAL beside) {
    __shared__ REAL room[THREADS];
    const int lane = threadIdx.x % lanes, at = (blockIdx.x * THREADS + threadIdx.x) / lanes;
    const int row = min(at, rows - 1);  // past the end the last row again, for the barriers' sake
    const REAL* scores = x + (row / positions * classes * positions + row % positions);
    const Shares share = {weight, own, beside};

    REAL top = scores[lane * positions];
    for (int c = lane; c < classes; c += lanes) top = max(top, scores[c * positions]);
    top = max_over(lanes, top, room);
    REAL total = 0;
    for (int c = lane; c < classes; c += lanes) total += exp(scores[c * positions] - top);
    const REAL log_total = log(sum_over(lanes, total, room));

    const long long t = target[row];
    REAL loss = 0, q = 0;
    for (int c = lane; c < classes && t != ignored; c += lanes) {
        const REAL part = share(c, t);
        q += part;
        if (part != 0) loss -= part * (scores[c * positions] - top - log_total);  // 0 ln 0 = 0
    }
    loss = sum_over(lanes, loss, room);
    q = sum_over(lanes, q, room);

    const bool answers = at < rows && lane == 0;
    if (answers) saved[row] = {top, log_total, q};
    if (answers && !partial) y[row] = loss;
    if (!partial) return;
    const REAL w = t == ignored ? 0 : !weight ? 1 : t >= 0 && t < classes ? weight[t] : 0;
    const REAL losses = sum_over(THREADS, answers ? loss : 0, room), weights = sum_over(THREADS, answers ? w : 0, room);
    if (threadIdx.x) return;
    if (gridDim.x == 1) reduced(losses, weights, y, scale);
    partial[2 * blockIdx.x] = losses, partial[2 * blockIdx.x + 1] = weights;
}

extern "C" __global__ void cross_entropy_reduced(const REAL* partial, int blocks, REAL* y, REAL* scale) {
    __shared__ REAL room[THREADS];
    REAL losses = 0, weights = 0;
    for (int k = threadIdx.x; k < blocks; k += THREADS) losses += partial[2 * k], weights += partial[2 * k + 1];
    losses = sum_over(THREADS, losses, room);
    weights = sum_over(THREADS, weights, room);
    if (threadIdx.x == 0) reduced(losses, weights, y, scale);
}

// dx = (Q p - q) dl, where dl is dy of the row, or `scale` (null: 1) times the one dy there is.
extern "C" __global__ void cross_entropy_backward(const REAL* x, const long long* target, const REAL* weight,
                                                  const REAL* scale, const Row* saved, const REAL* dy, REAL* dx, int n,
                                                  int classes, int positions, int by_row, long long ignored, REAL own,
                                                  REAL beside) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int c = i / positions % classes, r = i / positions / classes * positions + i % positions;
    const long long t = target[r];
    const bool kept = t != ignored;
    const Shares share = {weight, own, beside};
    const Row row = saved[r];
    const REAL dl = !kept ? 0 : by_row ? dy[r] : scale ? *dy * *scale : *dy;
    dx[i] = (exp(x[i] - row.top - row.log_total) * row.q - (kept ? share(c, t) : 0)) * dl;
}
