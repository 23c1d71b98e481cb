"""The functions that are methods of Tensor as well: each is written once, and `x.exp()` is `tc.exp(x)`."""

from __future__ import annotations

from types import FunctionType

from tinyconv.tensor import (
    arranging,
    attributes,
    inplace,
    picking,
    pointwise,
    products,
    rearranging,
    reductions,
    sorting,
)
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
    addbmm = products.addbmm
    addmm = products.addmm
    addmv = products.addmv
    addr = products.addr
    baddbmm = products.baddbmm
    bmm = products.bmm
    dot = products.dot
    ger = products.ger
    inner = products.inner
    kron = products.kron
    mm = products.mm
    mv = products.mv
    outer = products.outer
    trace = products.trace

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
    broadcast_to = arranging.broadcast_to
    expand_as = arranging.expand_as
    moveaxis = arranging.moveaxis
    movedim = arranging.movedim
    narrow = arranging.narrow
    ravel = arranging.ravel
    select = arranging.select
    swapaxes = arranging.swapaxes
    swapdims = arranging.swapdims
    tensor_split = arranging.tensor_split
    unbind = arranging.unbind
    unflatten = arranging.unflatten
    view_as = arranging.view_as
    view = arranging.reshape  # there is no layout that reshape must refuse: where a view cannot be had it copies

    __iadd__ = add_ = inplace.add_
    __isub__ = sub_ = inplace.sub_
    __imul__ = mul_ = inplace.mul_
    __itruediv__ = div_ = inplace.div_
    __ipow__ = pow_ = inplace.pow_
    __setitem__ = inplace.put
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

    H = attributes.H
    byte = attributes.byte
    char = attributes.char
    half = attributes.half
    is_contiguous = attributes.is_contiguous
    is_cuda = attributes.is_cuda
    itemsize = attributes.itemsize
    mT = attributes.mT
    nbytes = attributes.nbytes
    ndimension = attributes.ndimension
    nelement = attributes.nelement
    new_empty = attributes.new_empty
    new_full = attributes.new_full
    new_ones = attributes.new_ones
    new_tensor = attributes.new_tensor
    new_zeros = attributes.new_zeros
    short = attributes.short
    stride = attributes.stride
    type = attributes.type
    type_as = attributes.type_as

    argwhere = picking.argwhere
    gather = picking.gather
    index_add = picking.index_add
    index_add_ = picking.index_add_
    index_copy = picking.index_copy
    index_copy_ = picking.index_copy_
    index_fill = picking.index_fill
    index_fill_ = picking.index_fill_
    index_select = picking.index_select
    masked_fill = picking.masked_fill
    masked_fill_ = picking.masked_fill_
    masked_scatter = picking.masked_scatter
    masked_scatter_ = picking.masked_scatter_
    masked_select = picking.masked_select
    nonzero = picking.nonzero
    scatter = picking.scatter
    scatter_ = picking.scatter_
    scatter_add = picking.scatter_add
    scatter_add_ = picking.scatter_add_
    take = picking.take
    take_along_dim = picking.take_along_dim

    diag = rearranging.diag
    diag_embed = rearranging.diag_embed
    diagonal = rearranging.diagonal
    fill_diagonal_ = rearranging.fill_diagonal_
    flip = rearranging.flip
    fliplr = rearranging.fliplr
    flipud = rearranging.flipud
    repeat = rearranging.repeat
    repeat_interleave = rearranging.repeat_interleave
    roll = rearranging.roll
    rot90 = rearranging.rot90
    tile = rearranging.tile
    tril = rearranging.tril
    tril_ = rearranging.tril_
    triu = rearranging.triu
    triu_ = rearranging.triu_

    argsort = sorting.argsort
    bincount = sorting.bincount
    isin = sorting.isin
    kthvalue = sorting.kthvalue
    msort = sorting.msort
    sort = sorting.sort
    topk = sorting.topk
    unique = sorting.unique
    unique_consecutive = sorting.unique_consecutive


def _names(x: Tensor) -> list[str]:
    return [name for name in object.__dir__(x) if hasattr(Tensor, name)]  # what is absent is in the class too


Tensor.__dir__ = _names  # type: ignore[assignment]
for _name, _function in vars(Methods).items():
    if isinstance(_function, FunctionType | property):
        setattr(Tensor, _name, _function)
for _name in ABSENT.split():
    if not hasattr(Tensor, _name):
        setattr(Tensor, _name, Absent(_name))
