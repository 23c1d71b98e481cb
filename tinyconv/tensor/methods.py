"""The functions that are methods of Tensor as well: each is written once, and `x.exp()` is `tc.exp(x)`."""

from __future__ import annotations

from types import FunctionType

from tinyconv.tensor import arranging, inplace, pointwise, products, reductions
from tinyconv.tensor.tensor import Tensor
from tinyconv.torch_names.methods import ABSENT, Absent


class Methods:
    """A base of Tensor for type checkers. At run time Tensor gets the functions themselves, below."""

    abs = pointwise.abs
    add = pointwise.add
    clamp = pointwise.clamp
    clip = pointwise.clamp
    div = pointwise.div
    eq = pointwise.eq
    exp = pointwise.exp
    ge = pointwise.ge
    gt = pointwise.gt
    isfinite = pointwise.isfinite
    isnan = pointwise.isnan
    le = pointwise.le
    log = pointwise.log
    lt = pointwise.lt
    maximum = pointwise.maximum
    minimum = pointwise.minimum
    mul = pointwise.mul
    ne = pointwise.ne
    neg = pointwise.neg
    pow = pointwise.pow
    relu = pointwise.relu
    sigmoid = pointwise.sigmoid
    sqrt = pointwise.sqrt
    sub = pointwise.sub
    tanh = pointwise.tanh

    matmul = products.matmul

    all = reductions.all
    amax = reductions.amax
    amin = reductions.amin
    any = reductions.any
    argmax = reductions.argmax
    argmin = reductions.argmin
    log_softmax = reductions.log_softmax
    logsumexp = reductions.logsumexp
    max = reductions.max
    mean = reductions.mean
    min = reductions.min
    norm = reductions.norm
    prod = reductions.prod
    softmax = reductions.softmax
    std = reductions.std
    sum = reductions.sum
    var = reductions.var

    chunk = arranging.chunk
    expand = arranging.expand
    flatten = arranging.flatten
    permute = arranging.permute
    reshape = arranging.reshape
    split = arranging.split
    squeeze = arranging.squeeze
    t = arranging.t
    transpose = arranging.transpose
    unsqueeze = arranging.unsqueeze
    view = arranging.reshape  # there is no layout that reshape must refuse: where a view cannot be had it copies

    __iadd__ = add_ = inplace.add_
    __isub__ = sub_ = inplace.sub_
    __imul__ = mul_ = inplace.mul_
    __itruediv__ = div_ = inplace.div_
    __ipow__ = pow_ = inplace.pow_
    abs_ = inplace.abs_
    clamp_ = clip_ = inplace.clamp_
    copy_ = inplace.copy_
    exp_ = inplace.exp_
    fill_ = inplace.fill_
    log_ = inplace.log_
    neg_ = inplace.neg_
    relu_ = inplace.relu_
    sigmoid_ = inplace.sigmoid_
    sqrt_ = inplace.sqrt_
    tanh_ = inplace.tanh_
    zero_ = inplace.zero_


def _names(x: Tensor) -> list[str]:
    return [name for name in object.__dir__(x) if hasattr(Tensor, name)]  # what is absent is in the class too


Tensor.__dir__ = _names  # type: ignore[assignment]
for _name, _function in vars(Methods).items():
    if isinstance(_function, FunctionType):
        setattr(Tensor, _name, _function)
for _name in ABSENT.split():
    if not hasattr(Tensor, _name):
        setattr(Tensor, _name, Absent(_name))
