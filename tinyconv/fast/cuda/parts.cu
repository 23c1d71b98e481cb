// Sums that were made in parts (dweight and dbias, in conv.cu and linear.cu), added up.

constexpr int ACROSS = 32, DOWN = 16;

// total[i] = sum_p parts[p, i], i < size: each row of threads adds every DOWN-th part, then the first row adds theirs.
// Blocks: one for ACROSS elements.
extern "C" __global__ void __launch_bounds__(ACROSS * DOWN) add(const REAL* parts, REAL* total, int count, int size) {
    __shared__ REAL rows[DOWN][ACROSS];
    const int i = blockIdx.x * ACROSS + threadIdx.x;
    REAL sum = 0;
    if (i < size)
        for (int p = threadIdx.y; p < count; p += DOWN) sum += parts[p * size + i];
    rows[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || i >= size) return;
    for (int row = 1; row < DOWN; row++) sum += rows[row][threadIdx.x];
    total[i] = sum;
}
