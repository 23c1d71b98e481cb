// Reductions over the threads of a block, in an order that nothing but the number of threads fixes.

enum { THREADS = 256 };  // of a block of every kernel that reduces

// Joins the values of `width` threads side by side by `join`; all of them get the result. Every thread of the block has
// to come here; `width` is a power of two, and `room` is shared memory for a value of each thread.
template <class Join> __device__ REAL joined(int width, REAL value, REAL* room, Join join) {
    const int i = threadIdx.x, lane = i % width;
    __syncthreads();  // what was reduced before has been read
    room[i] = value;
    for (int half = width / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half) room[i] = join(room[i], room[i + half]);
    }
    __syncthreads();
    return room[i - lane];
}

__device__ inline REAL sum_over(int width, REAL value, REAL* room) {
    return joined(width, value, room, [](REAL a, REAL b) { return a + b; });
}

__device__ inline REAL max_over(int width, REAL value, REAL* room) {
    return joined(width, value, room, [](REAL a, REAL b) { return a < b ? b : a; });
}
