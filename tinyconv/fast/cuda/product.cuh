// The matrix product that convolutions and linear layers are made of:
//
//     out(i, j) = sum_k a(i, k) b(j, k),    i < rows, j < columns, first <= k < last
//
// The caller says what a and b are: each is an object whose `at(i, first, d)` reads or works out the number at
// k = first + d. No matrix of windows is ever written: a convolution is this product with a `b` that knows where the
// windows lie.
//
// A block makes one tile of the sums, S::ROWS x S::COLUMNS of them. The sums go in steps of S::DEPTH elements: the
// threads fetch those of all rows of a and of all columns of b into shared memory, and then each multiplies its own
// S::HIGH rows by its own four columns, with the sums in registers:
//
//                                        COLUMNS
//                               +-----------------------+
//                    b[k][j]    |          ####         |  DEPTH
//            DEPTH              +-----------------------+
//          +-------+            +-----------------------+
//          |       |            |          :            |          Thread t has the rows from HIGH * (t / ACROSS) on
//    ROWS  |#######|  a[k][i]   |.........####          |  HIGH    and the columns from 4 * (t % ACROSS) on, where
//          |#######|            |         ####          |          ACROSS = COLUMNS / 4 threads lie side by side.
//          |       |            |                       |
//          +-------+            +-----------------------+
//
// So what is fetched once serves a whole row or column of the tile, and what is read from shared memory serves all of a
// thread's rows or columns. The order of a sum is that of k, whatever the threads do: two runs give the same bits.

template <int ROWS_, int HIGH_, int DEPTH_> struct shape {
    static constexpr int ROWS = ROWS_, COLUMNS = 64, HIGH = HIGH_, DEPTH = DEPTH_;
    static constexpr int ACROSS = COLUMNS / 4, THREADS = ROWS / HIGH * ACROSS;
    static constexpr int BLOCKS = 2048 / sizeof(REAL) / THREADS;  // at once, of 128 registers a thread, or 255
};
using narrow = shape<16, 1, 32>;  // for few filters, or few tiles: deep steps, for it is memory that they wait for
using wide = shape<64, 8, 16>;    // 32 products for every 12 elements read from shared memory
#ifndef SHAPE
#define SHAPE wide
#endif

enum { NOTHING, RELU, POOL };  // what follows a product: RELU a ReLU, POOL a ReLU and a 2x2 max-pooling
#ifndef AFTER
#define AFTER NOTHING
#endif

// Rows are four elements longer than the tile: threads that store along k then meet in fewer banks, and four elements
// that lie together can still be read at once.
template <class S> struct __align__(16) tile {
    REAL a[S::DEPTH][S::ROWS + 4], b[S::DEPTH][S::COLUMNS + 4];
};

// The elements of a step that this thread fetches, into registers: SIZE x DEPTH among all threads. Neighbouring threads
// take neighbours in memory, along k or along i as the side says. What lies outside counts as zero. A side's sums may be
// of WHOLE steps: then no element of one that begins is outside.
//
// The addresses cost as much as the products where each element works out its own. So a thread's elements have either
// the same i or the same k, `first` is the same for all threads, and what depends on these alone the compiler works out
// once a step, or once and for all.
template <class S, int SIZE, class SIDE> struct fetched {
    static constexpr int COUNT = SIZE * S::DEPTH / S::THREADS;
    REAL held[COUNT];

    // Unsigned, so that the compiler sees which remainders are the same for every e, and works out an address once.
    static __device__ unsigned place(unsigned e) { return threadIdx.x + e * S::THREADS; }
    static __device__ int i(int e) { return SIDE::ALONG_K ? place(e) / S::DEPTH : place(e) % SIZE; }
    static __device__ int k(int e) { return SIDE::ALONG_K ? place(e) % S::DEPTH : place(e) / SIZE; }

    __device__ void load(const SIDE& side, int first_i, int end_i, int first_k, int end_k) {
#pragma unroll
        for (int e = 0; e < COUNT; e++) {
            const bool inside = first_i + i(e) < end_i && first_k + (SIDE::WHOLE ? 0 : k(e)) < end_k;
            held[e] = inside ? side.at(first_i + i(e), first_k, k(e)) : REAL(0);
        }
    }

    __device__ void store(REAL (&to)[S::DEPTH][SIZE + 4]) const {
#pragma unroll
        for (int e = 0; e < COUNT; e++) to[k(e)][i(e)] = held[e];
    }
};

// One tile, from row `row` and column `column` on. `out(i, j, sums)` gets the sums (i, j) ... (i, j + 3); those from
// `columns` on mean nothing.
template <class S, class A, class B, class OUT>
__device__ void multiply(tile<S>& shared, const A& a, const B& b, const OUT& out, int row, int rows, int column,
                         int columns, int first, int last) {
    const int mine_i = threadIdx.x / S::ACROSS * S::HIGH, mine_j = threadIdx.x % S::ACROSS * 4;
    fetched<S, S::ROWS, A> from_a;
    fetched<S, S::COLUMNS, B> from_b;
    REAL sums[S::HIGH][4] = {};
    for (int k = first; k < last + S::DEPTH; k += S::DEPTH) {
        from_a.load(a, row, rows, k, last);  // while memory sends this step, the one before it is multiplied
        from_b.load(b, column, columns, k, last);
        if (k > first) {
#pragma unroll
            for (int d = 0; d < S::DEPTH; d++) {
                REAL left[S::HIGH], right[4];
#pragma unroll
                for (int i = 0; i < S::HIGH; i++) left[i] = shared.a[d][mine_i + i];
#pragma unroll
                for (int j = 0; j < 4; j++) right[j] = shared.b[d][mine_j + j];
#pragma unroll
                for (int i = 0; i < S::HIGH; i++)
#pragma unroll
                    for (int j = 0; j < 4; j++) sums[i][j] += left[i] * right[j];
            }
        }
        __syncthreads();
        from_a.store(shared.a);
        from_b.store(shared.b);
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < S::HIGH; i++)
        if (row + mine_i + i < rows) out(row + mine_i + i, column + mine_j, sums[i]);
}

// Which tile a block makes, of several products alike. Rows run fastest: blocks that are at work at the same time read
// the same columns, which are the many.
template <class S> struct assignment {
    int row, column, product;

    __device__ assignment(int block, int rows, int columns) {
        const int down = (rows + S::ROWS - 1) / S::ROWS, across = (columns + S::COLUMNS - 1) / S::COLUMNS;
        row = block % down * S::ROWS;
        column = block / down % across * S::COLUMNS;
        product = block / down / across;
    }
};

// Division of n, 0 <= n < 2^31, by a number that the host knows: a multiplication and a shift (Granlund and Montgomery,
// 1994). With s = ceil(log2 by) and multiplier = ceil(2^(31 + s) / by) < 2^32, n multiplier / 2^(31 + s) is above
// n / by by less than 1 / by, which never reaches the next integer.
struct divisor {
    int by;
    unsigned multiplier;
    int shift;

    __device__ int quotient(int n) const {
        const unsigned long long twice = 2u * n;
        return unsigned(twice * multiplier >> 32) >> shift;
    }
};

// max(x, 0); NaN passes.
static __device__ REAL relu(REAL x) { return x <= 0 ? REAL(0) : x; }

// dy with what followed the sums undone: a ReLU, whose output is y, or a ReLU and a pooling, whose maxima have their
// places in `place`.
struct gradient {
    const REAL *dy, *y;
    const unsigned char* place;

    __device__ REAL read(int at, int way = 0) const {
        if (AFTER == POOL && place[at] != way) return 0;
        if (AFTER == RELU && y[at] <= 0) return 0;
        return dy[at];
    }
};

// A matrix of so many numbers a row: the elements of its rows, or of its columns.
struct matrix_rows {
    static constexpr bool ALONG_K = true, WHOLE = false;
    const REAL* data;
    int pitch;
    __device__ REAL at(int i, int first, int d) const { return data[i * pitch + first + d]; }
};
struct matrix_columns {
    static constexpr bool ALONG_K = false, WHOLE = false;
    const REAL* data;
    int pitch;
    __device__ REAL at(int i, int first, int d) const { return data[(first + d) * pitch + i]; }
};

// Sums (filter, window element) to dweight, and those of the element after the last to dbias.
struct to_filters {
    REAL *dweight, *dbias;
    int k, columns;

    __device__ void operator()(int f, int element, const REAL (&sums)[4]) const {
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (element + j < k) dweight[f * k + element + j] = sums[j];
            else if (element + j < columns) dbias[f] = sums[j];
    }
};
