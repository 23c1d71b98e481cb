"""The windows of an image as columns, and back: what is inside a convolution, and a convolution run backwards.

im2col copies elements into columns; its transpose, col2im, adds each copy back to where it came from. So the gradient
of either is the other. Sizes are those of `ops.conv`.
"""

from tinyconv.errors import ShapeError
from tinyconv.ops.conv import KERNEL, Conv2d, by, check_images, check_window, col2im, im2col, maps_of
from tinyconv.ops.linear import same_dtype
from tinyconv.shapes import transposed_size


class Unfold:
    """cols[n, (c, u, v), (i, j)] = x[n, c, i*SH + u*DH - PH, j*SW + v*DW - PW]: im2col;  dx = col2im(dcols).

    (N, C, H, W) -> (N, C KH KW, OH OW): a column is a window, all its channels in turn. weight @ cols is a convolution.
    """

    name = "unfold"

    @staticmethod
    def check(x, *, kernel, stride, padding, dilation):
        check_images("unfold", x)
        check_window("unfold", x.shape[2:], kernel, padding, dilation)

    @staticmethod
    def forward(xp, x, *, kernel, stride, padding, dilation):
        windows = im2col(xp, x, kernel, stride, padding, dilation)
        n, c, kh, kw, oh, ow = windows.shape
        return windows.copy().reshape(n, c * kh * kw, oh * ow), (x.shape[2:],)

    @staticmethod
    def backward(xp, saved, dcols, needs, **windows):
        (size,) = saved
        dx, _ = Fold.forward(xp, dcols, size=size, **windows)
        return (dx,)


class Fold:
    """x = col2im(cols), the sum of all windows, each where it was;  dcols = im2col(dx): each copies what it added to.

    (N, C KH KW, OH OW) -> (N, C, H, W). fold(unfold(x)) is x times the number of windows that see each element.
    """

    name = "fold"

    @staticmethod
    def check(cols, *, size, kernel, stride, padding, dilation):
        (kh, kw), shape = kernel, cols.shape
        if len(shape) != 3 or shape[1] % (kh * kw):
            raise ShapeError(f"fold: expected (N, C * {kh} * {kw}, windows) for a kernel {kh}x{kw}, got {shape}")
        check_window("fold", size, kernel, padding, dilation)
        _, _, oh, ow = maps_of((0, 0, *size), (0, 0, *kernel), stride, padding, dilation)
        if oh * ow != shape[2]:
            raise ShapeError(f"fold: an image of {by(size)} has {oh}x{ow} = {oh * ow} such windows, got {shape}")

    @staticmethod
    def forward(xp, cols, *, size, kernel, stride, padding, dilation):
        (n, k, _), (kh, kw) = cols.shape, kernel
        _, _, oh, ow = maps_of((0, 0, *size), (0, 0, *kernel), stride, padding, dilation)
        windows = cols.reshape(n, k // (kh * kw), kh, kw, oh, ow)
        return col2im(xp, windows, size, stride, padding, dilation), ()

    @staticmethod
    def backward(xp, saved, dx, needs, *, size, **windows):
        dcols, _ = Unfold.forward(xp, dx, **windows)
        return (dcols,)


class ConvTranspose2d:
    """y = the dx that a Conv2d has for dy = x: weight[c,f,u,v] x[n,c,i,j] is added to
    y[n, f, i*SH + u*DH - PH, j*SW + v*DW - PW].

    A convolution run backwards, from its output (N, C, H, W) to its input (N, F, OH, OW), so the filters are
    (C, F / groups, KH, KW). And its gradients are that convolution run forwards:

        dx = conv2d(dy, weight),   dweight = the dweight of that convolution, of images dy with x in place of dy.

    With a stride several sizes of y give the same size of x; `output_padding`, below the stride, chooses one.
    """

    name = "conv_transpose2d"

    @staticmethod
    def check(x, weight, bias, *, stride, padding, output_padding, dilation, groups):
        check_conv_transpose("conv_transpose2d", x, weight, bias, stride, padding, output_padding, dilation, groups)

    @staticmethod
    def forward(xp, x, weight, bias, *, output_padding, **geometry):
        shape = images_of(x.shape, weight.shape, output_padding=output_padding, **geometry)
        images = xp.broadcast_to(xp.zeros((1, 1, 1, 1), x.dtype), shape)  # of which backward asks the shape alone
        y, _, _ = Conv2d.backward(xp, (images, weight), x, (True, False, False), **geometry)
        if bias is not None:
            y += bias.reshape(-1, 1, 1)
        return y, (x, weight)

    @staticmethod
    def backward(xp, saved, dy, needs, *, output_padding, **geometry):
        x, weight = saved
        dx = Conv2d.forward(xp, dy, weight, None, **geometry)[0] if needs[0] else None
        _, dweight, _ = Conv2d.backward(xp, (dy, weight), x, (False, needs[1], False), **geometry)
        return dx, dweight, xp.sum(dy, axis=(0, 2, 3)) if needs[2] else None


def images_of(x, weight, stride, padding, output_padding, dilation, groups):
    """The shape (N, F, OH, OW) of a transposed convolution, from those of x and weight."""
    axes = zip(x[2:], weight[2:], stride, padding, output_padding, dilation, strict=True)
    return x[0], weight[1] * groups, *(transposed_size(*axis) for axis in axes)


def check_conv_transpose(name, x, weight, bias, stride, padding, output_padding, dilation, groups):
    """Images (N, C, H, W) and filters that fit; or signals (N, C, L), where the geometry has one number."""
    axes = len(padding)
    if weight.ndim != 2 + axes:
        raise ShapeError(f"{name}: weight must be (C, F / groups, {KERNEL[axes]}), got {weight.shape}")
    c, f_each, *kernel = weight.shape
    check_images(name, x, c, axes)
    if 0 in kernel:
        raise ShapeError(
            f"{name}: the kernel is {by(kernel)} (weight is {weight.shape}); it needs at least one element"
        )
    if c % groups:
        raise ShapeError(f"{name}: {c} channels cannot be split into {groups} groups")
    if bias is not None and bias.shape != (f_each * groups,):
        raise ShapeError(f"{name}: bias must be ({f_each * groups},), one number a filter, got {bias.shape}")
    if any(extra >= s for extra, s in zip(output_padding, stride, strict=True)):
        raise ShapeError(f"{name}: output_padding {output_padding} must be smaller than stride {stride}")
    size = images_of(x.shape, weight.shape, stride, padding, output_padding, dilation, groups)[2:]
    if min(size) < 1:
        raise ShapeError(
            f"{name}: an input of {by(x.shape[2:])} under a kernel {by(kernel)} gives {by(size)}: less padding "
            f"(now {', '.join(map(str, padding))}), or a larger kernel?"
        )
    same_dtype(name, x=x, weight=weight, bias=bias)
