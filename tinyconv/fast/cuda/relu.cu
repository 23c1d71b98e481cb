// ReLU, a thread for each element. NaN is neither above 0 nor below it, and passes both ways.

extern "C" __global__ void relu(const REAL* x, REAL* y, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] <= 0 ? 0 : x[i];
}

extern "C" __global__ void relu_backward(const REAL* y, const REAL* dy, REAL* dx, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) dx[i] = y[i] <= 0 ? 0 : dy[i];
}
