// The rules of tinyconv/optim for many tensors in one launch: a block works on a part of one of them, a thread on every
// 256th element of that part. The formulas are those of the readable rules, in their order of operations, though a GPU
// makes one of a product and a sum.

const int TENSORS = 64;  // in a launch: the table goes by value, and all arguments together may have 4 KB
const int STATES = 3;    // arrays that a rule remembers of a tensor, at most
const int PART = 1024;   // elements a block

// optim.py fills in this struct and those of the numbers below, and has the same sizes.
struct Tensors {
    REAL* param[TENSORS];
    const REAL* grad[TENSORS];
    REAL* state[STATES][TENSORS];  // null where the rule keeps none
    long long size[TENSORS];
    int first[TENSORS];  // the block that begins each; beyond the last tensor, more blocks than there are
};

struct Range {
    int tensor;
    long long begin, end;
};

// What this thread works on: the elements begin, begin + blockDim.x, ... below end of a tensor.
static __device__ Range mine(const Tensors& all) {
    int low = 0, high = TENSORS;  // the last tensor whose first block is this one or one before
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (all.first[middle] <= int(blockIdx.x))
            low = middle;
        else
            high = middle;
    }
    const long long begin = (long long)(int(blockIdx.x) - all.first[low]) * PART;
    const long long end = begin + PART < all.size[low] ? begin + PART : all.size[low];
    return {low, begin + threadIdx.x, end};
}

// An element of the state before this step: zero the first time, when nothing was written there yet.
static __device__ REAL before(const REAL* state, long long i, REAL first) { return first != 0 ? REAL(0) : state[i]; }

// The gradient as it enters a rule.
static __device__ REAL slope(REAL grad, REAL param, REAL sign, REAL weight_decay) {
    const REAL g = sign * grad;
    return weight_decay != 0 ? g + weight_decay * param : g;  // 0 * param would not be 0 where param is infinite
}

struct SgdNumbers {
    REAL first[STATES], sign, weight_decay, lr, momentum, taken, nesterov;
};

extern "C" __global__ void sgd(const Tensors all, const SgdNumbers* numbers) {
    const SgdNumbers now = *numbers;
    const Range part = mine(all);
    REAL* param = all.param[part.tensor];
    const REAL* grad = all.grad[part.tensor];
    REAL* buffer = all.state[0][part.tensor];
    for (long long i = part.begin; i < part.end; i += blockDim.x) {
        const REAL p = param[i];
        REAL g = slope(grad[i], p, now.sign, now.weight_decay);
        if (buffer) {
            const REAL b = now.momentum * before(buffer, i, now.first[0]) + now.taken * g;
            buffer[i] = b;
            g = now.nesterov != 0 ? g + now.momentum * b : b;
        }
        param[i] = p - now.lr * g;
    }
}

struct AdamNumbers {
    REAL first[STATES], sign, weight_decay, shrink, beta1, taken1, beta2, taken2, correction, eps, lr;
};

extern "C" __global__ void adam(const Tensors all, const AdamNumbers* numbers) {
    const AdamNumbers now = *numbers;
    const Range part = mine(all);
    REAL* param = all.param[part.tensor];
    const REAL* grad = all.grad[part.tensor];
    REAL* mean = all.state[0][part.tensor];
    REAL* square = all.state[1][part.tensor];
    REAL* largest = all.state[2][part.tensor];
    for (long long i = part.begin; i < part.end; i += blockDim.x) {
        const REAL p = param[i] * now.shrink;
        const REAL g = slope(grad[i], p, now.sign, now.weight_decay);
        const REAL m = before(mean, i, now.first[0]) * now.beta1 + now.taken1 * g;
        REAL v = before(square, i, now.first[1]) * now.beta2 + now.taken2 * g * g;
        mean[i] = m;
        square[i] = v;
        if (largest) {
            const REAL most = before(largest, i, now.first[2]);
            v = v > most || v != v ? v : most;  // NaN stays
            largest[i] = v;
        }
        const REAL root = sqrt(v);
        param[i] = p - now.lr * m / (root / now.correction + now.eps);
    }
}

struct RmspropNumbers {
    REAL first[STATES], sign, weight_decay, lr, alpha, taken, eps, momentum;
};

extern "C" __global__ void rmsprop(const Tensors all, const RmspropNumbers* numbers) {
    const RmspropNumbers now = *numbers;
    const Range part = mine(all);
    REAL* param = all.param[part.tensor];
    const REAL* grad = all.grad[part.tensor];
    REAL* square = all.state[0][part.tensor];
    REAL* mean = all.state[1][part.tensor];
    REAL* buffer = all.state[2][part.tensor];
    for (long long i = part.begin; i < part.end; i += blockDim.x) {
        const REAL p = param[i];
        const REAL g = slope(grad[i], p, now.sign, now.weight_decay);
        const REAL v = before(square, i, now.first[0]) * now.alpha + now.taken * g * g;
        square[i] = v;
        REAL spread = v;
        if (mean) {
            const REAL m = before(mean, i, now.first[1]) * now.alpha + now.taken * g;
            mean[i] = m;
            spread = v - m * m;
            if (spread < 0) spread = 0;  // by rounding; NaN stays
        }
        const REAL root = sqrt(spread);
        REAL step = g / (root + now.eps);
        if (buffer) {
            step = before(buffer, i, now.first[2]) * now.momentum + step;
            buffer[i] = step;
        }
        param[i] = p - now.lr * step;
    }
}
