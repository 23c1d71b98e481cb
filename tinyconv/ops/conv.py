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
        if weight.ndim != 4:
            raise ShapeError(f"conv2d: weight must be (F, C / groups, KH, KW), got {weight.shape}")
        f, c_each, kh, kw = weight.shape
        check_images("conv2d", x, channels=c_each * groups)
        if not kh * kw:
            raise ShapeError(
                f"conv2d: the kernel is {kh}x{kw} (weight is {weight.shape}); it needs at least one element"
            )
        if f % groups:
            raise ShapeError(f"conv2d: {f} filters cannot be split into {groups} groups")
        if bias is not None and bias.shape != (f,):
            raise ShapeError(f"conv2d: bias must be ({f},), one number a filter, got {bias.shape}")
        check_window("conv2d", x.shape[2:], (kh, kw), padding, dilation)
        same_dtype("conv2d", x=x, weight=weight, bias=bias)

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


def check_images(name, x, channels=None):
    """Rank, then channels: x must be (N, C, H, W)."""
    if x.ndim != 4:
        hint = ""
        if x.ndim == 3:
            hint = ": one channel missing? x.unsqueeze(1)" if channels in (1, None) else ""
            hint = ": one image without its batch axis? x.unsqueeze(0)" if x.shape[0] == channels else hint
            hint = ": one image, channels last? x.permute(2, 0, 1)[None]" if x.shape[0] > x.shape[2] in (3, 4) else hint
        elif x.ndim == 2:
            hint = ": one image without batch and channel axes? x[None, None]; or was it flattened?"
        raise ShapeError(f"{name}: expected (N, C, H, W), got {x.shape}{hint}")
    if channels is not None and x.shape[1] != channels:
        hint = ": channels last? x.permute(0, 3, 1, 2)" if x.shape[3] == channels else ""
        raise ShapeError(f"{name}: expected {channels} channels, x is (N, C, H, W) = {x.shape}{hint}")


def check_window(name, size, kernel, padding, dilation=(1, 1)):
    """Every window must fit in the padded input."""
    (h, w), (kh, kw), (ph, pw), (dh, dw) = size, kernel, padding, dilation
    if dh * (kh - 1) < h + 2 * ph and dw * (kw - 1) < w + 2 * pw:
        return
    reach = dh * (kh - 1) + 1, dw * (kw - 1) + 1
    with_dilation = f" (dilated: {reach[0]}x{reach[1]})" if reach != tuple(kernel) else ""
    raise ShapeError(
        f"{name}: kernel {kh}x{kw}{with_dilation} is larger than the padded input "
        f"{h + 2 * ph}x{w + 2 * pw} (input {h}x{w}, padding {ph}, {pw}): "
        "too many poolings before it, an input too small, or padding forgotten?"
    )
