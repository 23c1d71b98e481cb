// Pooling of images (N C, H, W), a thread for each number that is made. Forward a window asks its elements; backward an
// element asks the windows that hold it, in the order of its number in each, so the sums are those of the readable op.

struct Window {
    int h, w, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw;
};

// visit(element, number) for all that window (i, j) holds of an image: where it lies in the image, and u KW + v.
template <class Visit> __device__ void over_window(const Window& g, int i, int j, Visit visit) {
    for (int u = 0; u < g.kh; u++) {
        const int r = i * g.sh - g.ph + u * g.dh;
        if (r < 0 || r >= g.h) continue;
        for (int v = 0; v < g.kw; v++) {
            const int s = j * g.sw - g.pw + v * g.dw;
            if (s >= 0 && s < g.w) visit(r * g.w + s, u * g.kw + v);
        }
    }
}

// visit(i, u) for all windows of one axis that have element r as their u-th, by u. A division finds the first and steps
// find the others (none where windows do not overlap): divisions are slow.
template <class Visit>
__device__ void over_axis(int r, int out, int kernel, int stride, int padding, int dilation, Visit visit) {
    const int at = r + padding;
    for (int i = min(at / stride, out - 1); i >= 0 && at - i * stride <= (kernel - 1) * dilation; i--) {
        const int u = dilation == 1 ? at - i * stride : (at - i * stride) / dilation;
        if (i * stride + u * dilation == at) visit(i, u);
    }
}

// visit(i, j, number) for all windows (i, j) that hold element (r, s), and its number u KW + v there.
template <class Visit> __device__ void over_windows_of(const Window& g, int r, int s, Visit visit) {
    over_axis(r, g.oh, g.kh, g.sh, g.ph, g.dh, [&](int i, int u) {
        over_axis(s, g.ow, g.kw, g.sw, g.pw, g.dw, [&](int j, int v) { visit(i, j, u * g.kw + v); });
    });
}

// Where element k of images (N C, H, W) lies.
struct Spot {
    int image, row, column;
};

__device__ inline Spot spot(int k, int h, int w) {
    const int line = k / w, image = line / h;
    return {image, line - image * h, k - line * w};
}

// --- the maximum -----------------------------------------------------------------------------------------------------

// The first of equal elements counts, and the last of several NaN: as in ops.MaxPool2d.
struct Maximum {
    REAL value;
    int number;  // in the window
};

__device__ inline Maximum maximum_of(const REAL* x, const Window& g, int o) {
    const Spot at = spot(o, g.oh, g.ow);
    const REAL* image = x + at.image * g.h * g.w;
    Maximum most = {0, -1};
    over_window(g, at.row, at.column, [&](int element, int number) {
        const REAL value = image[element];
        if (most.number < 0 || value > most.value || value != value) most = {value, number};
    });
    return most;
}

template <class Number>
__device__ void to_the_maxima(const Number* place, const REAL* dy, REAL* dx, const Window& g, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const Spot at = spot(i, g.h, g.w);
    REAL sum = 0;
    over_windows_of(g, at.row, at.column, [&](int row, int column, int number) {
        const int o = (at.image * g.oh + row) * g.ow + column;
        if (place[o] == number) sum += dy[o];
    });
    dx[i] = sum;
}

extern "C" __global__ void max_pool(const REAL* x, REAL* y, int* place, Window g, int n) {
    const int o = blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= n) return;
    const Maximum most = maximum_of(x, g, o);
    y[o] = most.value;
    place[o] = most.number;
}

extern "C" __global__ void max_pool_backward(const int* place, const REAL* dy, REAL* dx, Window g, int n) {
    to_the_maxima(place, dy, dx, g, n);
}

// A window without a positive element has no gradient: its place is none.
enum { NONE = 255 };

extern "C" __global__ void relu_max_pool(const REAL* x, REAL* y, unsigned char* place, Window g, int n) {
    const int o = blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= n) return;
    const Maximum most = maximum_of(x, g, o);
    const bool off = most.value <= 0;
    y[o] = off ? 0 : most.value;
    place[o] = off ? NONE : most.number;
}

extern "C" __global__ void relu_max_pool_backward(const unsigned char* place, const REAL* dy, REAL* dx, Window g,
                                                  int n) {
    to_the_maxima(place, dy, dx, g, n);
}

// --- the mean --------------------------------------------------------------------------------------------------------

// How many elements a window from `start` covers on one axis, counting `padding` at both ends.
__device__ inline int counted(int start, int kernel, int size, int padding) {
    return min(start + kernel, size + padding) - max(start, -padding);
}

// What the sum over window (i, j) is divided by: `given`, or the elements counted if that is 0.
__device__ inline REAL divisor(const Window& g, int i, int j, REAL given, bool with_padding) {
    if (given != 0) return given;
    return counted(i * g.sh - g.ph, g.kh, g.h, with_padding ? g.ph : 0) *
           counted(j * g.sw - g.pw, g.kw, g.w, with_padding ? g.pw : 0);
}

extern "C" __global__ void avg_pool(const REAL* x, REAL* y, Window g, REAL given, int with_padding, int n) {
    const int o = blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= n) return;
    const Spot at = spot(o, g.oh, g.ow);
    const REAL* image = x + at.image * g.h * g.w;
    REAL sum = 0;
    over_window(g, at.row, at.column, [&](int element, int) { sum += image[element]; });
    y[o] = sum / divisor(g, at.row, at.column, given, with_padding);
}

extern "C" __global__ void avg_pool_backward(const REAL* dy, REAL* dx, Window g, REAL given, int with_padding, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const Spot at = spot(i, g.h, g.w);
    REAL sum = 0;
    over_windows_of(g, at.row, at.column, [&](int row, int column, int) {
        sum += dy[(at.image * g.oh + row) * g.ow + column] / divisor(g, row, column, given, with_padding);
    });
    dx[i] = sum;
}

// --- cells of any size -----------------------------------------------------------------------------------------------

// The i-th of the `out` intervals that `size` is cut into goes from `first` to before `last`. They may overlap; and the
// intervals that hold element r are those from first(r, out, size) to before last(r, out, size), the other way round.
__device__ inline int first(int i, int size, int out) { return i * size / out; }
__device__ inline int last(int i, int size, int out) { return ((i + 1) * size + out - 1) / out; }

extern "C" __global__ void adaptive_avg_pool(const REAL* x, REAL* y, int h, int w, int oh, int ow, int n) {
    const int o = blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= n) return;
    const Spot at = spot(o, oh, ow);
    const REAL* image = x + at.image * h * w;
    const int top = first(at.row, h, oh), bottom = last(at.row, h, oh);
    const int left = first(at.column, w, ow), right = last(at.column, w, ow);
    REAL sum = 0;
    for (int r = top; r < bottom; r++)
        for (int s = left; s < right; s++) sum += image[r * w + s];
    y[o] = sum / ((bottom - top) * (right - left));
}

extern "C" __global__ void adaptive_avg_pool_backward(const REAL* dy, REAL* dx, int h, int w, int oh, int ow, int n) {
    const int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= n) return;
    const Spot at = spot(k, h, w);
    const REAL* image = dy + at.image * oh * ow;
    const int bottom = last(at.row, oh, h), left = first(at.column, ow, w), right = last(at.column, ow, w);
    REAL sum = 0;
    for (int i = first(at.row, oh, h); i < bottom; i++) {
        const int height = last(i, h, oh) - first(i, h, oh);
        for (int j = left; j < right; j++) sum += image[i * ow + j] / (height * (last(j, w, ow) - first(j, w, ow)));
    }
    dx[k] = sum;
}

// The first of equal elements, and the first NaN; its place is r W + s.
extern "C" __global__ void adaptive_max_pool(const REAL* x, REAL* y, long long* place, int h, int w, int oh, int ow,
                                             int n) {
    const int o = blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= n) return;
    const Spot at = spot(o, oh, ow);
    const REAL* image = x + at.image * h * w;
    const int bottom = last(at.row, h, oh), left = first(at.column, w, ow), right = last(at.column, w, ow);
    int found = first(at.row, h, oh) * w + left;
    for (int r = first(at.row, h, oh); r < bottom; r++)
        for (int s = left; s < right; s++) {
            const REAL value = image[r * w + s], most = image[found];
            if (value > most || (value != value && most == most)) found = r * w + s;
        }
    y[o] = image[found];
    place[o] = found;
}

extern "C" __global__ void adaptive_max_pool_backward(const long long* place, const REAL* dy, REAL* dx, int h, int w,
                                                      int oh, int ow, int n) {
    const int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= n) return;
    const Spot at = spot(k, h, w);
    const int bottom = last(at.row, oh, h), left = first(at.column, ow, w), right = last(at.column, ow, w);
    REAL sum = 0;
    for (int i = first(at.row, oh, h); i < bottom; i++)
        for (int j = left; j < right; j++) {
            const int o = (at.image * oh + i) * ow + j;
            if (place[o] == at.row * w + at.column) sum += dy[o];
        }
    dx[k] = sum;
}
