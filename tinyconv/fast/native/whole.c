/* Kernels of whole stretches, each on one part of the elements: packed filters, sums of records, updates. */

/* Weights [f][c][kh][kw] for the kernels on maps: [f / group][kh][c][kw][group]; or turned around, with channels and
 * filters exchanged, for dx: [c / group][kh][f][kw][group]. at: packed, weights. size: f, c, kh, kw, turned. */
static void pack_filters(const instruction *i, char **at, place here) {
    int64_t f = i->size[0], c = i->size[1], kh = i->size[2], kw = i->size[3], turned = i->size[4];
    int64_t outputs = turned ? c : f, inputs = turned ? f : c, group = group_of(outputs), groups = outputs / group;
    for (int64_t g = groups * here.part / PARTS; g < groups * (here.part + 1) / PARTS; g++) {
        float *to = (float *)at[0] + g * group * inputs * kh * kw;
        for (int64_t u = 0; u < kh; u++)
            for (int64_t in = 0; in < inputs; in++)
                for (int64_t v = 0; v < kw; v++)
                    for (int64_t k = 0; k < group; k++) {
                        int64_t out = g * group + k, at_f = turned ? in : out, at_c = turned ? out : in;
                        int64_t tap = turned ? (kh - 1 - u) * kw + kw - 1 - v : u * kw + v;
                        *to++ = ((float *)at[1])[(at_f * c + at_c) * kh * kw + tap];
                    }
    }
}

/* What the sum of the losses is multiplied by: 1 / how many labels are not `ignored` if the mean is wanted, else 1.
 * Counts the labels that are no class into `bad`, where a program stops. at: scale, labels, bad. size: n, C, ignored, mean.
 */
static void loss_scale(const instruction *i, char **at, place here) {
    if (here.part) return;
    int64_t kept = 0, bad = 0, *label = (int64_t *)at[1];
    for (int64_t n = 0; n < i->size[0]; n++) {
        int64_t counts = label[n] != i->size[2];
        kept += counts;
        bad += counts && (label[n] < 0 || label[n] >= i->size[1]);
    }
    *(float *)at[0] = i->size[3] ? 1.0f / (float)kept : 1;
    *(int64_t *)at[2] += bad;
}

/* to = the sum of `slots` records by the tree ((0 + 1) + (2 + 3)) + ...; of the records nothing is left. at: to, records.
 * size: numbers, from one record to the next, slots. */
static void add_records(const instruction *i, char **at, place here) {
    int64_t from = part_begins(i->size[0], here.part), size = part_ends(i->size[0], here.part) - from;
    float *records = (float *)at[1] + from;
    for (int64_t step = 1; step < i->size[2]; step *= 2)
        for (int64_t slot = 0; slot + step < i->size[2]; slot += 2 * step) {
            float *a = records + slot * i->size[1], *b = a + step * i->size[1];
            for (int64_t k = 0; k < size; k++) a[k] += b[k];
        }
    memcpy((float *)at[0] + from, records, size * sizeof *records);
}

/* to = from, or to + from. at: to, from. size: elements, whether it is added. */
static void copy(const instruction *i, char **at, place here) {
    int64_t first = part_begins(i->size[0], here.part), end = part_ends(i->size[0], here.part);
    float *to = (float *)at[0], *from = (float *)at[1];
    for (int64_t k = first; k < end; k++) to[k] = i->size[1] ? to[k] + from[k] : from[k];
}

/* tinyconv/optim/sgd.py. at: parameter, gradient, momentum buffer or null. size: elements, nesterov, maximize, whether
 * the buffer is new. number: lr, momentum, 1 - dampening, weight decay. */
static void sgd(const instruction *i, char **at, place here) {
    int64_t first = part_begins(i->size[0], here.part), end = part_ends(i->size[0], here.part);
    int64_t nesterov = i->size[1], maximize = i->size[2], fresh = i->size[3];
    float *param = (float *)at[0], *grad = (float *)at[1], *buffer = (float *)at[2];
    float lr = (float)i->number[0], momentum = (float)i->number[1], share = (float)i->number[2];
    float decay = (float)i->number[3];
    for (int64_t k = first; k < end; k++) {
        float g = maximize ? -grad[k] : grad[k];
        if (decay != 0) g += decay * param[k];
        if (buffer) {
            buffer[k] = fresh ? g : momentum * buffer[k] + share * g;
            g = nesterov ? g + momentum * buffer[k] : buffer[k];
        }
        param[k] -= lr * g;
    }
}

/* tinyconv/optim/adam.py. at: parameter, gradient, mean, mean of squares, largest mean of squares (AMSGrad) or null.
 * size: elements, maximize. number: beta1, 1 - beta1, beta2, 1 - beta2, root of the second correction, eps, lr / the first
 * correction, weight decay that enters the gradient; `size[2]` says whether weights shrink by number[7] instead (AdamW:
 * 1 - lr weight decay). */
static void adam(const instruction *i, char **at, place here) {
    int64_t first = part_begins(i->size[0], here.part), end = part_ends(i->size[0], here.part);
    int64_t maximize = i->size[1], decoupled = i->size[2];
    float *restrict param = (float *)at[0], *restrict grad = (float *)at[1], *restrict mean = (float *)at[2];
    float *restrict square = (float *)at[3], *restrict most = (float *)at[4];
    float beta1 = (float)i->number[0], rest1 = (float)i->number[1], beta2 = (float)i->number[2];
    float rest2 = (float)i->number[3], root2 = (float)i->number[4], eps = (float)i->number[5];
    float rate = (float)i->number[6], decay = (float)i->number[7];
    for (int64_t k = first; k < end; k++) {
        float g = maximize ? -grad[k] : grad[k], p = param[k];
        if (decoupled) p *= decay;
        else if (decay != 0) g += decay * p;
        mean[k] = beta1 * mean[k] + rest1 * g;
        square[k] = beta2 * square[k] + rest2 * g * g;
        float v = square[k];
        if (most) v = most[k] = most[k] > v || most[k] != most[k] ? most[k] : v;
        param[k] = p - rate * mean[k] / (sqrtf(v) / root2 + eps);
    }
}
