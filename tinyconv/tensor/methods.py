"""The functions that are methods of Tensor as well: each is written once, and `x.exp()` is `tc.exp(x)`."""

from __future__ import annotations

from types import FunctionType

from tinyconv.tensor import (
    arranging,
    attributes,
    filling,
    inplace,
    joins,
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

    abs = absolute = pointwise.abs
    acos = arccos = pointwise.acos
    add = pointwise.add
    addcdiv = pointwise.addcdiv
    addcmul = pointwise.addcmul
    allclose = pointwise.allclose
    asin = arcsin = pointwise.asin
    atan = arctan = pointwise.atan
    atan2 = arctan2 = pointwise.atan2
    bitwise_and = pointwise.bitwise_and
    bitwise_left_shift = pointwise.bitwise_left_shift
    bitwise_not = pointwise.bitwise_not
    bitwise_or = pointwise.bitwise_or
    bitwise_right_shift = pointwise.bitwise_right_shift
    bitwise_xor = pointwise.bitwise_xor
    ceil = pointwise.ceil
    clamp = clip = pointwise.clamp
    clamp_max = pointwise.clamp_max
    clamp_min = pointwise.clamp_min
    cos = pointwise.cos
    cosh = pointwise.cosh
    div = divide = true_divide = pointwise.div
    eq = pointwise.eq
    equal = pointwise.equal
    erf = pointwise.erf
    exp = pointwise.exp
    expm1 = pointwise.expm1
    floor = pointwise.floor
    floor_divide = pointwise.floor_divide
    fmod = pointwise.fmod
    ge = greater_equal = pointwise.ge
    gt = greater = pointwise.gt
    isclose = pointwise.isclose
    isfinite = pointwise.isfinite
    isinf = pointwise.isinf
    isnan = pointwise.isnan
    le = less_equal = pointwise.le
    lerp = pointwise.lerp
    log = pointwise.log
    log10 = pointwise.log10
    log1p = pointwise.log1p
    log2 = pointwise.log2
    logical_and = pointwise.logical_and
    logical_not = pointwise.logical_not
    logical_or = pointwise.logical_or
    logical_xor = pointwise.logical_xor
    lt = less = pointwise.lt
    maximum = pointwise.maximum
    minimum = pointwise.minimum
    mul = multiply = pointwise.mul
    nan_to_num = pointwise.nan_to_num
    ne = not_equal = pointwise.ne
    neg = negative = pointwise.neg
    pow = pointwise.pow
    reciprocal = pointwise.reciprocal
    relu = pointwise.relu
    remainder = pointwise.remainder
    round = pointwise.round
    rsqrt = pointwise.rsqrt
    sigmoid = pointwise.sigmoid
    sign = pointwise.sign
    sin = pointwise.sin
    sinh = pointwise.sinh
    sqrt = pointwise.sqrt
    square = pointwise.square
    sub = subtract = pointwise.sub
    tan = pointwise.tan
    tanh = pointwise.tanh
    trunc = fix = pointwise.trunc

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
    aminmax = reductions.aminmax
    any = reductions.any
    argmax = reductions.argmax
    argmin = reductions.argmin
    count_nonzero = reductions.count_nonzero
    cumprod = reductions.cumprod
    cumsum = reductions.cumsum
    dist = reductions.dist
    log_softmax = reductions.log_softmax
    logsumexp = reductions.logsumexp
    max = reductions.max
    mean = reductions.mean
    median = reductions.median
    min = reductions.min
    nanmean = reductions.nanmean
    nansum = reductions.nansum
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
    dsplit = arranging.dsplit
    expand_as = arranging.expand_as
    hsplit = arranging.hsplit
    reshape_as = arranging.reshape_as
    vsplit = arranging.vsplit
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
    __iand__ = bitwise_and_ = inplace.bitwise_and_
    __ior__ = bitwise_or_ = inplace.bitwise_or_
    __ixor__ = bitwise_xor_ = inplace.bitwise_xor_
    __ilshift__ = bitwise_left_shift_ = inplace.bitwise_left_shift_
    __irshift__ = bitwise_right_shift_ = inplace.bitwise_right_shift_
    __setitem__ = inplace.put
    detach_ = inplace.detach_
    squeeze_ = inplace.squeeze_
    t_ = inplace.t_
    transpose_ = swapaxes_ = swapdims_ = inplace.transpose_
    unsqueeze_ = inplace.unsqueeze_
    abs_ = inplace.abs_
    acos_ = inplace.acos_
    addcdiv_ = inplace.addcdiv_
    addcmul_ = inplace.addcmul_
    asin_ = inplace.asin_
    atan_ = inplace.atan_
    ceil_ = inplace.ceil_
    clamp_ = clip_ = inplace.clamp_
    clamp_max_ = inplace.clamp_max_
    clamp_min_ = inplace.clamp_min_
    copy_ = inplace.copy_
    cos_ = inplace.cos_
    cosh_ = inplace.cosh_
    erf_ = inplace.erf_
    exp_ = inplace.exp_
    expm1_ = inplace.expm1_
    fill_ = inplace.fill_
    floor_ = inplace.floor_
    fmod_ = inplace.fmod_
    lerp_ = inplace.lerp_
    log_ = inplace.log_
    log10_ = inplace.log10_
    log1p_ = inplace.log1p_
    log2_ = inplace.log2_
    nan_to_num_ = inplace.nan_to_num_
    neg_ = inplace.neg_
    reciprocal_ = inplace.reciprocal_
    relu_ = inplace.relu_
    round_ = inplace.round_
    rsqrt_ = inplace.rsqrt_
    sigmoid_ = inplace.sigmoid_
    sign_ = inplace.sign_
    sin_ = inplace.sin_
    sinh_ = inplace.sinh_
    sqrt_ = inplace.sqrt_
    square_ = inplace.square_
    tan_ = inplace.tan_
    tanh_ = inplace.tanh_
    trunc_ = inplace.trunc_
    zero_ = inplace.zero_
    __ifloordiv__ = floor_divide_ = inplace.floor_divide_
    __imod__ = remainder_ = inplace.remainder_

    H = attributes.H
    bool = attributes.to_bool
    byte = attributes.to_byte
    char = attributes.to_char
    double = attributes.to_double
    float = attributes.to_float
    half = attributes.to_half
    int = attributes.to_int
    is_contiguous = attributes.is_contiguous
    is_complex = attributes.is_complex
    is_cuda = attributes.is_cuda
    is_mps = attributes.is_mps
    is_quantized = attributes.is_quantized
    is_sparse = attributes.is_sparse
    is_xpu = attributes.is_xpu
    itemsize = attributes.itemsize
    long = attributes.to_long
    mT = attributes.mT
    nbytes = attributes.nbytes
    ndimension = attributes.ndimension
    nelement = attributes.nelement
    get_device = attributes.get_device
    new = attributes.new
    new_empty = attributes.new_empty
    new_full = attributes.new_full
    new_ones = attributes.new_ones
    new_tensor = attributes.new_tensor
    new_zeros = attributes.new_zeros
    short = attributes.to_short
    stride = attributes.stride
    type = attributes.type
    type_as = attributes.type_as

    bernoulli = filling.bernoulli
    bernoulli_ = filling.bernoulli_
    exponential_ = filling.exponential_
    multinomial = filling.multinomial
    normal_ = filling.normal_
    random_ = filling.random_
    uniform_ = filling.uniform_

    where = joins.where_true

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
    unfold = rearranging.unfold

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
