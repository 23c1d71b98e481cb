"""An op of your own, and a variant of one of ours.

    python examples/your_own_op.py

An op is a class with two functions on arrays, the second right under the first. `tc.apply` runs it on tensors and puts
it on the tape; nothing needs to be registered. A variant is another pair for an op that exists: it is registered under
a name, and `tc.using` chooses it.
"""

import numpy as np

import tinyconv as tc
from tinyconv import ops
from tinyconv.check import check_op, gradcheck


class Softplus:
    """y = ln(1 + e^(b x)) / b;  dx = dy / (1 + e^(-b x))."""

    @staticmethod
    def forward(xp, x, *, beta):
        return xp.logaddexp(xp.zeros_like(x), beta * x) / beta, (x,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, beta):
        (x,) = saved
        return (dy / (1 + xp.exp(-beta * x)),)


def softplus(x, beta=1.0):
    return tc.apply(Softplus, x, beta=beta)


class EinsumConv2d(ops.Conv2d):
    """The same convolution, its products spelled out by einsum over the windows. One group only."""

    @staticmethod
    def forward(xp, x, weight, bias, *, stride, padding, dilation, groups):
        cols = ops.conv.im2col(xp, x, weight.shape[2:], stride, padding, dilation)  # (N, C, KH, KW, OH, OW), a view
        y = xp.einsum("ncuvij,fcuv->nfij", cols, weight, optimize=True)
        return y if bias is None else y + bias.reshape(-1, 1, 1), (x, weight)

    @staticmethod
    def backward(xp, saved, dy, needs, *, stride, padding, dilation, groups):
        x, weight = saved
        cols = ops.conv.im2col(xp, x, weight.shape[2:], stride, padding, dilation)
        dx = dweight = dbias = None
        if needs[0]:
            dcols = xp.einsum("nfij,fcuv->ncuvij", dy, weight, optimize=True)
            dx = ops.conv.col2im(xp, dcols, x.shape[2:], stride, padding, dilation)
        if needs[1]:
            dweight = xp.einsum("nfij,ncuvij->fcuv", dy, cols, optimize=True)
        if needs[2]:
            dbias = dy.sum(axis=(0, 2, 3))
        return dx, dweight, dbias


tc.register("conv2d", "einsum", EinsumConv2d, applies=lambda *arrays, groups, **geometry: groups == 1)


def main():
    print(check_op(Softplus, beta=2.0))  # draws arrays of its own, and raises if a gradient is wrong
    print(gradcheck(softplus, [np.linspace(-3, 3, 7)]))  # any function of tensors, at inputs of your choice

    tc.manual_seed(0)
    conv = tc.nn.Conv2d(3, 8, 3, stride=2, padding=1)
    images = tc.randn(4, 3, 9, 9)

    def result():
        y = conv(images)
        return y, *tc.grad((y * y).sum(), list(conv.parameters()))

    expected = result()
    with tc.using(conv2d="einsum"):
        found = result()
    difference = max((a - b).abs().max().item() for a, b in zip(found, expected, strict=True))
    print(f"einsum against im2col: largest difference {difference:.1e}")
    assert difference < 1e-3  # of sums of thousands of float32 products


if __name__ == "__main__":
    main()
