/* Kernels on single numbers: activations, sums of two values, dropout. Those of ReLU are in maps.c. */

/* e^x = 2^n e^r with x = n ln 2 + r, |r| <= ln 2 / 2. This gives e^r - 1 = r + r^2 / 2! + ... + r^8 / 8!, which is right to
 * 6e-10 of it, and 2^n as two factors, for n from -150 to 130. NaN stays. */
INLINE lanes power_of_2(choice n) { return (lanes)((n + 127) << 23); }
INLINE lanes exp_less_1(lanes x, lanes *first, lanes *second) {
    x = pick(x > 90, (lanes){0} + 90, pick(x < -104, (lanes){0} - 104, x));
    lanes whole = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23 leaves no room for fractions */
    lanes r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f; /* ln 2 in two parts: the first product is exact */
    choice n = __builtin_convertvector(zero_where(x != x, whole), choice), half = n >> 1;
    *first = power_of_2(half), *second = power_of_2(n - half);
    lanes sum = r * (1.0f / 40320) + 1.0f / 5040;
    sum = sum * r + 1.0f / 720, sum = sum * r + 1.0f / 120, sum = sum * r + 1.0f / 24;
    sum = sum * r + 1.0f / 6, sum = sum * r + 0.5f;
    return r + r * r * sum;
}

/* e^x, to 2 ulp, and to the smallest number where it is a denormal one. */
INLINE lanes exp_of(lanes x) {
    lanes first, second, small = exp_less_1(x, &first, &second);
    return (1 + small) * first * second;
}

/* tanh |x| = m / (m + 2) with m = e^2|x| - 1, to 3 ulp: near 0 too, where m is as right as e^r - 1. */
INLINE lanes tanh_of(lanes x) {
    lanes size = pick(x < 0, -x, x), first, second, small = exp_less_1(2 * size, &first, &second);
    lanes m = small * first * second + (first * second - 1), y = pick(size > 10, (lanes){0} + 1, m / (m + 2));
    return pick(x < 0, -y, pick(x == 0, x, y)); /* -0 stays */
}

/* 1 / (1 + e^-x), to 3 ulp where it is no denormal number. */
INLINE lanes sigmoid_of(lanes x) { return 1 / (1 + exp_of(-x)); }

/* A kernel that makes each number of a value from those at its place, `a` and `b[k]`.
 * at: the value, a, b (or null). size: elements. number: the one that is called so. */
#define EACH(name, formula) \
    static void name(const instruction *i, char **at, place here) { \
        lanes *to = (lanes *)at[0]; \
        const lanes *from = (lanes *)at[1], *b = (lanes *)at[2]; \
        const float number = (float)i->number[0]; \
        (void)b, (void)number; \
        for (int64_t k = 0; k < here.blocks * i->size[0]; k++) { \
            const lanes a = from[k]; \
            to[k] = formula; \
        } \
    }
EACH(add, a + b[k])
EACH(leaky_relu, pick(a > 0, a, a * number)) /* number: the slope */
EACH(leaky_relu_back, pick(b[k] > 0, a, a * number)) /* a: dy, b: x */
EACH(tanh_, tanh_of(a)) /* (C's own has the name without a line) */
EACH(tanh_back, a * (1 - b[k] * b[k])) /* a: dy, b: y */
EACH(sigmoid, sigmoid_of(a))
EACH(sigmoid_back, a * b[k] * (1 - b[k])) /* a: dy, b: y */
EACH(silu, a * sigmoid_of(a))
INLINE lanes silu_slope(lanes x) {
    lanes s = sigmoid_of(x);
    return s * (1 + x * (1 - s));
}
EACH(silu_back, a * silu_slope(b[k])) /* a: dy, b: x */

/* The normal distribution function P(x), to 3e-7, and its density. P(-z) = e^(-z^2 / 2) t p(t) with t = 1 / (1 + 0.27 z),
 * where p is a polynomial fitted so that this is right to 3e-8 of it, for z from 0 to 15. */
INLINE lanes normal_of(lanes x, lanes *density) {
    const float p[] = {0.107721001f, 0.10753727f, 0.10184858f, 0.0719082505f, 0.108142741f, -0.0696509406f, 0.17015636f,
                       -0.126658782f, 0.0289955325f};
    lanes bell = exp_of(-0.5f * x * x), t = 1 / (1 + 0.27f * pick(x < 0, -x, x)), sum = (lanes){0} + p[8];
    for (int k = 7; k >= 0; k--) sum = sum * t + p[k];
    lanes tail = bell * t * sum;
    *density = bell * 0.398942280f; /* 1 / sqrt(2 pi) */
    return pick(x < 0, tail, 1 - tail);
}
INLINE lanes gelu_of(lanes x) {
    lanes density;
    return x * normal_of(x, &density);
}
INLINE lanes gelu_slope(lanes x) {
    lanes density, normal = normal_of(x, &density);
    return normal + x * density;
}
EACH(gelu, gelu_of(a))
EACH(gelu_back, a * gelu_slope(b[k])) /* a: dy, b: x */

/* x (1 + tanh u) / 2 = x s(2 u) with u = k (x + c x^3), k = sqrt(2 / pi), and its slope, s (1 + 2 x (1 - s) u'). */
INLINE lanes gelu_tanh_gate(lanes x) { return sigmoid_of(1.59576912f * (x + 0.044715f * x * x * x)); }
INLINE lanes gelu_tanh_slope(lanes x) {
    lanes s = gelu_tanh_gate(x);
    return s * (1 + x * (1 - s) * 1.59576912f * (1 + 0.134145f * x * x));
}
EACH(gelu_tanh, a * gelu_tanh_gate(a))
EACH(gelu_tanh_back, a * gelu_tanh_slope(b[k])) /* a: dy, b: x */

/* y = x keep factor, and dx = dy keep factor, with a byte 0 or 1 for each number of the batch, by strides in bytes.
 * at: y, x, keep. size: c, h, w, and the strides of n, c, h, w. number: factor. */
static void dropout(const instruction *i, char **at, place here) {
    const int64_t *z = i->size, c = z[0], h = z[1], w = z[2], sn = z[3], sc = z[4], sh = z[5], sw = z[6];
    const lanes *x = (lanes *)at[1];
    lanes *y = (lanes *)at[0];
    float factors[2] = {0, (float)i->number[0]};
    for (int64_t b = 0; b < here.blocks; b++)
        for (int64_t row = 0; row < h; row++)
            for (int64_t ch = 0; ch < c; ch++)
                for (int64_t q = 0; q < w; q++) {
                    const uint8_t *keep = (uint8_t *)at[2] + b * LANES * sn + ch * sc + row * sh + q * sw;
                    lanes factor = {0};
                    for (int64_t k = 0; k < smaller(LANES, here.images - b * LANES); k++)
                        factor[k] = factors[keep[k * sn]];
                    *y++ = *x++ * factor;
                }
}
