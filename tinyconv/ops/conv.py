"""Convolution as a matrix product over the windows of its input (im2col: Chellapilla et al., 2006).

Sizes: N batch, C channels, F filters, G groups, (KH, KW) kernel, (OH, OW) output; K = C / G * KH * KW is the length of
one window, P = OH * OW the number of windows.
"""

from tinyconv.errors import ShapeError
from tinyconv.ops.linear import same_dtype
from tinyconv.shapes import conv_output_size

CHUNK_BYTES = 32 << 20
"""Bytes made at a time, mostly columns: they repeat the input KH * KW times, which is 0.6 GB for 10,000 digits."""


def im2col(xp, x, kernel, stride, padding, dilation):
    """(N, C, H, W) -> (N, C, KH, KW, OH, OW): cols[n, c, u, v, i, j] = x[n, c, i*SH + u*DH - PH, j*SW + v*DW - PW].

    A view of (padded) x: it takes no memory until somebody reshapes it, and must not be written to.
    """
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = kernel, stride, padding, dilation
    if ph or pw:
        x = xp.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    n, c, h, w = x.shape
    oh, ow = conv_output_size(h, kh, sh, 0, dh), conv_output_size(w, kw, sw, 0, dw)
    per_n, per_c, per_row, per_column = x.strides
    return xp.lib.stride_tricks.as_strided(
        x,
        shape=(n, c, kh, kw, oh, ow),
        strides=(per_n, per_c, per_row * dh, per_column * dw, per_row * sh, per_column * sw),
    )


def col2im(xp, cols, size, stride, padding, dilation):
    """The transpose of im2col: (N, C, KH, KW, OH, OW) -> (N, C, H, W), every element added back where it came from.

    KH * KW additions of whole slices: within one kernel position no two windows touch the same element.
    """
    n, c, kh, kw, oh, ow = cols.shape
    (h, w), (sh, sw), (ph, pw), (dh, dw) = size, stride, padding, dilation
    x = xp.zeros((n, c, h + 2 * ph, w + 2 * pw), cols.dtype)
    for u in range(kh):
        for v in range(kw):
            rows, columns = slice(u * dh, u * dh + sh * oh, sh), slice(v * dw, v * dw + sw * ow, sw)
            x[:, :, rows, columns] += cols[:, :, u, v]
    return x[:, :, ph : ph + h, pw : pw + w]


def chunks(x, weight, padding, windows):
    """Slices of the batch: padded images, their columns and outputs, `windows` an image, that fit CHUNK_BYTES."""
    (n, c, h, w), (f, _, kh, kw), (ph, pw) = x.shape, weight.shape, padding
    numbers = c * (h + 2 * ph) * (w + 2 * pw) + (c * kh * kw + f) * windows
    size = max(1, CHUNK_BYTES // max(1, numbers * x.itemsize))
    return [slice(start, start + size) for start in range(0, max(n, 1), size)]


def joined(xp, parts):
    """The chunks as one batch again."""
    return parts[0] if len(parts) == 1 else xp.concatenate(parts)


def maps_of(x, weight, stride, padding, dilation, groups=1):
    """The shape (N, F, OH, OW) of y, from those of x and weight; it is the same for any number of groups."""
    axes = zip(x[2:], weight[2:], stride, padding, dilation, strict=True)
    return x[0], weight[0], *(conv_output_size(*axis) for axis in axes)


class Conv2d:
    """y[n,f,i,j] = bias[f] + sum_cuv weight[f,c,u,v] x[n, c, i*SH + u*DH - PH, j*SW + v*DW - PW].

    With the windows of x as columns it is one matrix product, y = weight (F, K) @ cols (K, P) + bias, hence

        dbias = sum_p dy,   dweight = dy @ cols^T,   dcols = weight^T @ dy,   dx = col2im(dcols).

    With groups, G such products side by side. The columns are made again in backward: x is all that is saved.
    """

    name = "conv2d"

    @staticmethod
    def check(x, weight, bias, *, stride, padding, dilation, groups):
        check_conv("conv2d", x, weight, bias, padding, dilation, groups)

    @staticmethod
    def forward(xp, x, weight, bias, *, stride, padding, dilation, groups):
        (_, c, _, _), (_, _, kh, kw) = x.shape, weight.shape
        n, f, oh, ow = maps_of(x.shape, weight.shape, stride, padding, dilation)
        k, p = c // groups * kh * kw, oh * ow
        weight_rows = weight.reshape(groups, f // groups, k)
        y = []
        for chunk in chunks(x, weight, padding, p):
            cols = im2col(xp, x[chunk], (kh, kw), stride, padding, dilation)
            y.append(weight_rows @ cols.reshape(len(cols), groups, k, p))  # (G, F/G, K) @ (N, G, K, P)
        y = joined(xp, y).reshape(n, f, oh, ow)
        if bias is not None:
            y += bias.reshape(f, 1, 1)
        return y, (x, weight)

    @staticmethod
    def backward(xp, saved, dy, needs, *, stride, padding, dilation, groups):
        x, weight = saved
        (_, c, h, w), (f, _, kh, kw), (oh, ow) = x.shape, weight.shape, dy.shape[2:]
        k, p = c // groups * kh * kw, oh * ow
        weight_rows = weight.reshape(groups, f // groups, k)
        dx, dweight = [], 0
        for chunk in chunks(x, weight, padding, p):
            size = len(x[chunk])
            dy_rows = dy[chunk].reshape(size, groups, f // groups, p)
            if needs[0]:
                dcols = weight_rows.swapaxes(1, 2) @ dy_rows  # (G, K, F/G) @ (N, G, F/G, P)
                dx.append(col2im(xp, dcols.reshape(size, c, kh, kw, oh, ow), (h, w), stride, padding, dilation))
            if needs[1]:  # one product for all the images of the chunk: (G, F/G, N P) @ (G, N P, K)
                cols = im2col(xp, x[chunk], (kh, kw), stride, padding, dilation)
                cols = cols.transpose(1, 2, 3, 0, 4, 5).reshape(groups, k, size * p)
                dy_rows = dy_rows.transpose(1, 2, 0, 3).reshape(groups, f // groups, size * p)
                dweight = dweight + dy_rows @ cols.swapaxes(1, 2)
        return (
            joined(xp, dx) if needs[0] else None,
            dweight.reshape(weight.shape) if needs[1] else None,
            xp.sum(dy, axis=(0, 2, 3)) if needs[2] else None,
        )


def check_conv(name, x, weight, bias, padding, dilation, groups):
    """Images (N, C, H, W) and filters that fit; or signals (N, C, L), where padding and dilation have one number."""
    axes = len(padding)
    if weight.ndim != 2 + axes:
        raise ShapeError(f"{name}: weight must be (F, C / groups, {KERNEL[axes]}), got {weight.shape}")
    f, c_each, *kernel = weight.shape
    check_images(name, x, c_each * groups, axes)
    if 0 in kernel:
        raise ShapeError(
            f"{name}: the kernel is {by(kernel)} (weight is {weight.shape}); it needs at least one element"
        )
    if f % groups:
        raise ShapeError(f"{name}: {f} filters cannot be split into {groups} groups")
    if bias is not None and bias.shape != (f,):
        raise ShapeError(f"{name}: bias must be ({f},), one number a filter, got {bias.shape}")
    check_window(name, x.shape[2:], kernel, padding, dilation)
    same_dtype(name, x=x, weight=weight, bias=bias)


SIZES, KERNEL = {1: "L", 2: "H, W"}, {1: "K", 2: "KH, KW"}  # the last axes of images and filters, by their number


def by(sizes):
    """(3, 5) -> 3x5, as messages say it."""
    return "x".join(map(str, sizes))


def check_images(name, x, channels=None, axes=2):
    """Rank, then channels: x must be (N, C, H, W), or (N, C, L) with one axis."""
    wanted = f"(N, C, {SIZES[axes]})"
    if x.ndim != 2 + axes:
        hint = ""
        if x.ndim == 1 + axes:
            hint = ": one channel missing? x.unsqueeze(1)" if channels in (1, None) else ""
            if axes == 2 and x.shape[0] > x.shape[2] in (3, 4):
                hint = ": one image, channels last? x.permute(2, 0, 1)[None]"
        elif x.ndim == axes:
            hint = ": one image without batch and channel axes? x[None, None]; or was it flattened?"
        raise ShapeError(f"{name}: expected {wanted}, got {x.shape}{hint}")
    if channels is not None and x.shape[1] != channels:
        order = "0, 3, 1, 2" if axes == 2 else "0, 2, 1"
        hint = f": channels last? x.permute({order})" if x.shape[-1] == channels else ""
        raise ShapeError(f"{name}: expected {channels} channels, x is {wanted} = {x.shape}{hint}")


def check_window(name, size, kernel, padding, dilation=None):
    """Every window must fit in the padded input."""
    padded = [n + 2 * p for n, p in zip(size, padding, strict=True)]
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation or (1,) * len(kernel), strict=True)]
    if all(r <= n for r, n in zip(reach, padded, strict=True)):
        return
    with_dilation = f" (dilated: {by(reach)})" if reach != list(kernel) else ""
    raise ShapeError(
        f"{name}: kernel {by(kernel)}{with_dilation} is larger than the padded input {by(padded)} "
        f"(input {by(size)}, padding {', '.join(map(str, padding))}): "
        "too many poolings before it, an input too small, or padding forgotten?"
    )
