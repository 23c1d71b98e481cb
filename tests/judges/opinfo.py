"""The judge: `op_db`, the database of samples that PyTorch tests its own ops with.

`OURS` says which of our functions answers for an op of the database; `RULES` which of its samples are out of scope and
why; `judge(op, dtype)` asks all samples, gradients included, and torch's op gives the answers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from scope import DIFFERS, NOT_ASKED, Rule, Tally, rows
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

import tinyconv as tc
from tinyconv import functional as F
from tinyconv.check.reference import Magnitude, compare, compare_values, compare_with_torch
from tinyconv.errors import DtypeError
from tinyconv.tensor.tensor import Tensor

DTYPES = ("float32", "float64", "int64", "uint8", "bool")
NUMPY_DTYPES = {getattr(torch, name): np.dtype(name) for name in ("float16", "int8", "int16", "int32", *DTYPES)}


# --- which function of ours answers ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ours:
    """Our function, and the magnitude of its rounding (`tinyconv.check.reference`), perhaps one for each sample."""

    function: Callable[..., Any]
    magnitude: Magnitude | Callable[[Sample], float] = 0
    gradients: bool = True
    theirs: Callable[..., Any] | None = None  # instead of the database's own


def with_statistics(batch_norm: Callable[..., Any]) -> Callable[..., Any]:
    """The batch or instance norm, returning the running statistics, which it writes in place, beside its output."""

    def function(x: Any, running_mean: Any = None, running_var: Any = None, *rest: Any, **options: Any) -> Any:
        running = [None if t is None else t.clone() for t in (running_mean, running_var)]
        return (batch_norm(x, *running, *rest, **options), *(t for t in running if t is not None))

    return function


def layer_norm_slope(sample: Sample) -> float:
    x, shape = sample.input.detach().numpy(), sample.args[0]
    return steepest(x, tuple(range(-len(shape), 0)), sample.argument(3, "eps", 1e-5))


def batch_norm_slope(sample: Sample) -> float:
    x, eps = sample.input.detach().numpy(), sample.argument(6, "eps", 1e-5)
    if sample.argument(4, "training", False):
        return steepest(x, tuple(axis for axis in range(x.ndim) if axis != 1), eps)
    return float((sample.args[1].numpy().min(initial=1) + eps) ** -0.5)


def instance_norm_slope(sample: Sample) -> float:
    x = sample.input.detach().numpy()
    return steepest(x, tuple(range(2, x.ndim)), sample.kwargs.get("eps", 1e-5))


def steepest(x: np.ndarray[Any, Any], axes: tuple[int, ...], eps: float) -> float:
    """The steepest slope of (x - mean) / sqrt(var + eps), in which x / sqrt(var + eps) and the mean's cancel."""
    return float((x.var(axes).min() + eps) ** -0.5) if x.size else 1.0


def layers(names: str, magnitude: Magnitude = 0) -> dict[str, Ours]:
    """Functions of `functional` that have torch's name."""
    return {f"nn.functional.{name}": Ours(getattr(F, name), magnitude) for name in names.split()}


def by_name(names: str, magnitude: Magnitude = 1) -> dict[str, Ours]:
    """Functions that have torch's name, and methods where there is no function or it is a dtype."""
    methods = {name: getattr(Tensor, name, None) for name in names.split()}
    return {name: Ours(method or getattr(tc, name), magnitude) for name, method in methods.items()}


MATMUL = Ours(Tensor.matmul, "terms")
OURS: dict[str, Ours] = {
    # Layers. Sums of products: the magnitude is that of the terms.
    "nn.functional.conv2d": Ours(F.conv2d, "terms"),
    "nn.functional.conv1d": Ours(F.conv1d, "terms"),
    "nn.functional.conv_transpose1d": Ours(F.conv_transpose1d, "terms"),
    "nn.functional.conv_transpose2d": Ours(F.conv_transpose2d, "terms"),
    "nn.functional.unfold": Ours(F.unfold, "terms"),
    "nn.functional.max_pool1d": Ours(F.max_pool1d, 1),
    "nn.functional.avg_pool1d": Ours(F.avg_pool1d, "terms"),
    "nn.functional.adaptive_avg_pool1d": Ours(F.adaptive_avg_pool1d, "terms"),
    "nn.functional.adaptive_max_pool1d": Ours(F.adaptive_max_pool1d, 1),
    "nn.functional.max_unpool1d": Ours(F.max_unpool1d),
    "nn.functional.max_unpool2d": Ours(F.max_unpool2d),
    "nn.functional.interpolate": Ours(F.interpolate, 8),
    "nn.functional.grid_sample": Ours(F.grid_sample, 64),
    "nn.functional.pixel_shuffle": Ours(F.pixel_shuffle),
    "nn.functional.pixel_unshuffle": Ours(F.pixel_unshuffle),
    "nn.functional.channel_shuffle": Ours(F.channel_shuffle),
    "unfold": Ours(Tensor.unfold, "terms"),
    "nn.functional.linear": Ours(F.linear, "terms"),
    "matmul": MATMUL,
    "__rmatmul__": Ours(Tensor.__rmatmul__, "terms"),
    **by_name("mm bmm mv dot outer inner kron tensordot addmm addmv addr baddbmm addbmm trace", "terms"),
    "einsum": Ours(lambda tensors, equation: tc.einsum(equation, tensors), "terms"),
    "nn.functional.max_pool2d": Ours(F.max_pool2d, 1),
    "nn.functional.avg_pool2d": Ours(F.avg_pool2d, "terms"),
    "nn.functional.adaptive_avg_pool2d": Ours(F.adaptive_avg_pool2d, "terms"),
    "nn.functional.adaptive_max_pool2d": Ours(F.adaptive_max_pool2d, 1),
    "nn.functional.batch_norm": Ours(
        with_statistics(F.batch_norm), batch_norm_slope, theirs=with_statistics(torch.nn.functional.batch_norm)
    ),
    "nn.functional.layer_norm": Ours(F.layer_norm, layer_norm_slope),
    "nn.functional.instance_norm": Ours(
        with_statistics(F.instance_norm), instance_norm_slope, theirs=with_statistics(torch.nn.functional.instance_norm)
    ),
    **layers("group_norm", 4),
    **layers("local_response_norm normalize rms_norm", 1),
    **layers("bilinear", "terms"),
    "nn.functional.embedding": Ours(lambda weight, places, **options: F.embedding(places, weight, **options), "terms"),
    **layers("one_hot dropout dropout2d alpha_dropout feature_alpha_dropout"),
    "nn.functional.pad": Ours(F.pad, 1),
    "constant_pad_nd": Ours(lambda x, widths, value=0: F.pad(x, widths, value=value)),
    # Activations and losses.
    "nn.functional.relu": Ours(F.relu),
    **layers("leaky_relu celu elu glu hardshrink hardsigmoid hardswish hardtanh logsigmoid mish prelu relu6 selu"),
    **layers("softplus softshrink softsign tanhshrink threshold"),
    **layers("softmin cosine_similarity poisson_nll_loss multi_margin_loss", 1),
    **layers("binary_cross_entropy cosine_embedding_loss gaussian_nll_loss hinge_embedding_loss huber_loss kl_div"),
    **layers("margin_ranking_loss multilabel_soft_margin_loss pairwise_distance smooth_l1_loss soft_margin_loss"),
    **layers("triplet_margin_loss"),
    "nn.functional.gelu": Ours(F.gelu, 1),
    "nn.functional.silu": Ours(F.silu, 1),
    "sigmoid": Ours(Tensor.sigmoid, 1),
    "tanh": Ours(Tensor.tanh, 1),
    "softmax": Ours(Tensor.softmax, 1),
    "log_softmax": Ours(Tensor.log_softmax, 1),
    "nn.functional.cross_entropy": Ours(F.cross_entropy, 1),
    "nn.functional.nll_loss": Ours(F.nll_loss, 1),
    "nn.functional.mse_loss": Ours(F.mse_loss, 1),
    "nn.functional.l1_loss": Ours(F.l1_loss, 1),
    "nn.functional.binary_cross_entropy_with_logits": Ours(F.binary_cross_entropy_with_logits, 1),
    # Arithmetic. Where operands broadcast, gradients are sums.
    "add": Ours(Tensor.add, 1),
    "__radd__": Ours(Tensor.__radd__, 1),
    "sub": Ours(Tensor.sub, 1),
    "__rsub__": Ours(Tensor.__rsub__, 1),
    "mul": Ours(Tensor.mul, 1),
    "__rmul__": Ours(Tensor.__rmul__, 1),
    "div": Ours(Tensor.div, 1),
    "true_divide": Ours(Tensor.div, 1),
    "__rdiv__": Ours(Tensor.__rtruediv__, 1),
    "pow": Ours(Tensor.pow, 1),
    "__rpow__": Ours(Tensor.__rpow__, 1),
    "neg": Ours(Tensor.neg),
    "positive": Ours(Tensor.__pos__),
    "abs": Ours(Tensor.abs),
    "exp": Ours(Tensor.exp),
    "log": Ours(Tensor.log),
    "sqrt": Ours(Tensor.sqrt),
    "maximum": Ours(Tensor.maximum, 1),
    "minimum": Ours(Tensor.minimum, 1),
    "clamp": Ours(Tensor.clamp, 1),
    "clamp_min": Ours(Tensor.clamp_min, 1),
    "clamp_max": Ours(Tensor.clamp_max, 1),
    "where": Ours(lambda a, condition, b: tc.where(condition, a, b), 1),
    "floor_divide": Ours(Tensor.floor_divide, gradients=False),
    "remainder": Ours(Tensor.remainder, 1),
    "__rmod__": Ours(Tensor.__rmod__, 1),
    "fmod": Ours(Tensor.fmod, 1),
    "atan2": Ours(Tensor.atan2, 1),
    "addcmul": Ours(Tensor.addcmul, 64),
    "addcdiv": Ours(Tensor.addcdiv, 64),
    "lerp": Ours(Tensor.lerp, 64),
    **{
        name: Ours(getattr(tc, name), 8)
        for name in (
            "sin",
            "cos",
            "tan",
            "asin",
            "acos",
            "atan",
            "sinh",
            "cosh",
            "expm1",
            "log1p",
            "log2",
            "log10",
            "erf",
            "rsqrt",
            "reciprocal",
            "square",
            "sign",
            "floor",
            "ceil",
            "trunc",
            "round",
            "nan_to_num",
        )
    },
    # Comparisons and bits.
    "eq": Ours(Tensor.eq),
    "ne": Ours(Tensor.ne),
    "lt": Ours(Tensor.lt),
    "le": Ours(Tensor.le),
    "gt": Ours(Tensor.gt),
    "ge": Ours(Tensor.ge),
    "isnan": Ours(Tensor.isnan),
    "isfinite": Ours(Tensor.isfinite),
    "isinf": Ours(Tensor.isinf),
    "isclose": Ours(Tensor.isclose),
    "allclose": Ours(
        lambda *args, **options: tc.tensor(tc.allclose(*args, **options)),
        theirs=lambda *args, **options: torch.tensor(torch.allclose(*args, **options)),
    ),
    "equal": Ours(lambda a, b: tc.tensor(tc.equal(a, b)), theirs=lambda a, b: torch.tensor(torch.equal(a, b))),
    "logical_not": Ours(Tensor.logical_not),
    "logical_and": Ours(Tensor.logical_and),
    "logical_or": Ours(Tensor.logical_or),
    "logical_xor": Ours(Tensor.logical_xor),
    "bitwise_and": Ours(Tensor.__and__),
    "bitwise_or": Ours(Tensor.__or__),
    "bitwise_xor": Ours(Tensor.__xor__),
    "bitwise_not": Ours(Tensor.__invert__),
    "bitwise_left_shift": Ours(Tensor.__lshift__),
    "bitwise_right_shift": Ours(Tensor.__rshift__),
    "__rand__": Ours(Tensor.__rand__),
    "__ror__": Ours(Tensor.__ror__),
    "__rxor__": Ours(Tensor.__rxor__),
    # Reductions.
    "sum": Ours(Tensor.sum, "terms"),
    "mean": Ours(Tensor.mean, "terms"),
    "prod": Ours(Tensor.prod, 0),
    "var": Ours(Tensor.var, 1),
    "std": Ours(Tensor.std, 1),
    "nansum": Ours(Tensor.nansum, "terms"),
    "nanmean": Ours(Tensor.nanmean, 8),
    "var_mean": Ours(tc.var_mean, 8),
    "std_mean": Ours(tc.std_mean, 8),
    "cumsum": Ours(Tensor.cumsum, "terms"),
    "cumprod": Ours(Tensor.cumprod, 8),
    "count_nonzero": Ours(Tensor.count_nonzero),
    "median": Ours(Tensor.median),
    "aminmax": Ours(Tensor.aminmax, 1),
    "dist": Ours(Tensor.dist, 8),
    "amax": Ours(Tensor.amax),
    "amin": Ours(Tensor.amin),
    "max": Ours(Tensor.max, 1),
    "min": Ours(Tensor.min, 1),
    "argmax": Ours(Tensor.argmax),
    "argmin": Ours(Tensor.argmin),
    "logsumexp": Ours(Tensor.logsumexp, 1),
    "norm": Ours(Tensor.norm, 1),
    "all": Ours(Tensor.all),
    "any": Ours(Tensor.any),
    # Shapes.
    "reshape": Ours(Tensor.reshape),
    "view": Ours(Tensor.view),
    "flatten": Ours(Tensor.flatten),
    "squeeze": Ours(Tensor.squeeze),
    "unsqueeze": Ours(Tensor.unsqueeze),
    "permute": Ours(Tensor.permute),
    "transpose": Ours(Tensor.transpose),
    "t": Ours(Tensor.t),
    "T": Ours(lambda x: x.T),
    "expand": Ours(Tensor.expand, 1),
    **by_name(
        "broadcast_to broadcast_tensors expand_as view_as reshape_as atleast_1d atleast_2d atleast_3d ravel unflatten"
    ),
    **by_name("movedim select narrow unbind tensor_split hsplit vsplit dsplit hstack vstack dstack column_stack"),
    **by_name("flip fliplr flipud roll rot90 repeat tile repeat_interleave tril triu diag diag_embed diagonal"),
    "H": Ours(lambda x: x.H),
    "mT": Ours(lambda x: x.mT),
    "split": Ours(Tensor.split),
    "split_with_sizes": Ours(Tensor.split),
    "chunk": Ours(Tensor.chunk),
    "__getitem__": Ours(Tensor.__getitem__, 1),
    **by_name(
        "gather scatter scatter_add index_select index_add index_copy index_fill take take_along_dim masked_fill"
    ),
    **by_name("masked_select masked_scatter nonzero argwhere sort argsort msort topk kthvalue"),
    **by_name("unique unique_consecutive bincount searchsorted bucketize isin"),
    "cat": Ours(tc.cat),
    "stack": Ours(tc.stack),
    # Copies, dtypes, memory.
    "clone": Ours(Tensor.clone),
    "contiguous": Ours(Tensor.contiguous),
    "to": Ours(Tensor.to),
    "float": Ours(Tensor.float),
    "double": Ours(Tensor.double),
    "long": Ours(Tensor.long),
    "int": Ours(Tensor.int),
    "bool": Ours(Tensor.bool),
    **by_name("half short char byte"),
    "item": Ours(lambda x: tc.tensor(x.item(), dtype=x.dtype), theirs=lambda x: torch.tensor(x.item(), dtype=x.dtype)),
    # torch records these two, with a gradient that is zero everywhere; a tensor written over is a constant to us.
    "fill": Ours(lambda x, value: x.clone().fill_(value), gradients=False),
    "zero_": Ours(lambda x: x.clone().zero_(), gradients=False),
    "full_like": Ours(tc.full_like),
    "zeros_like": Ours(tc.zeros_like),
    "ones_like": Ours(tc.ones_like),
    "full": Ours(tc.full),
    "zeros": Ours(tc.zeros),
    "ones": Ours(tc.ones),
    "arange": Ours(tc.arange),
    **by_name("linspace logspace eye tril_indices triu_indices meshgrid new_zeros new_ones new_full"),
}

RANDOM = {
    "rand_like", "randint", "randint_like", "randn", "randn_like", "bernoulli", "multinomial", "normal", "empty",
    "empty_like", "new_empty", "nn.functional.rrelu",
}  # fmt: skip
"""Ops that we share with the database, but whose answers are random, or anything, and cannot be compared."""


# --- samples --------------------------------------------------------------------------------------------------------


@dataclass
class Sample:
    """One sample of the database: the arguments of `torch_op(input, *args, **kwargs)`."""

    op: str
    dtype: str
    torch_op: Callable[..., Any]
    input: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __post_init__(self) -> None:
        self.leaves, self.spec = tree_flatten((self.input, list(self.args), self.kwargs))
        self.places = [i for i, leaf in enumerate(self.leaves) if isinstance(leaf, torch.Tensor)]

    def __str__(self) -> str:
        def short(leaf: Any) -> Any:
            return f"{leaf.dtype}{tuple(leaf.shape)}" if isinstance(leaf, torch.Tensor) else leaf

        return f"{self.op}{tree_map(short, (self.input, self.args, self.kwargs))}"

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """The argument of this name, at this place after the input."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    def ndim(self) -> int:
        return self.input.ndim if isinstance(self.input, torch.Tensor) else 0

    def call(self, function: Callable[..., Any], tensors: Sequence[Any], dtypes: dict[Any, Any]) -> Any:
        """Call `function` with the sample's arguments, and these tensors in place of its own."""
        leaves = [dtypes.get(leaf, leaf) if isinstance(leaf, torch.dtype) else leaf for leaf in self.leaves]
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        first, args, kwargs = tree_unflatten(leaves, self.spec)
        return function(first, *args, **kwargs)

    def compare(self, ours: Ours) -> None:
        """Raise Disagreement where the answer of `ours` differs from that of torch's op."""

        def our_function(*tensors: Any) -> Any:
            return self.call(ours.function, tensors, NUMPY_DTYPES)

        def torch_function(*tensors: Any) -> Any:
            return self.call(ours.theirs or self.torch_op, tensors, {})

        tensors = [self.leaves[place] for place in self.places]
        inputs = [tensor.detach().numpy() for tensor in tensors]
        needs = [i for i, tensor in enumerate(tensors) if tensor.requires_grad]
        magnitude = ours.magnitude(self) if callable(ours.magnitude) else ours.magnitude
        if needs and ours.gradients:
            compare_with_torch(our_function, torch_function, inputs, needs=needs, magnitude=magnitude)
        elif inputs:
            compare_values(our_function, torch_function, inputs, magnitude=magnitude)
        else:
            compare("output", our_function().array, torch_function().numpy())


VARIANTS: dict[str, list[Any]] = {}
"""The entries of the database, by the name of the op."""
for _info in op_db:
    VARIANTS.setdefault(_info.name, []).append(_info)


def samples(op: str, dtype: str) -> Iterator[Sample]:
    """The samples that the database has for all variants of an op; the numbers are the same each time."""
    torch_dtype = getattr(torch, dtype)
    for info in VARIANTS[op]:
        if torch_dtype in info.supported_dtypes("cpu"):
            requires_grad = torch_dtype.is_floating_point and info.supports_autograd
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                found = list(info.sample_inputs("cpu", torch_dtype, requires_grad=requires_grad))
            for sample in found:
                yield Sample(op, dtype, info.op, sample.input, tuple(sample.args), dict(sample.kwargs))


# --- what is out of scope -------------------------------------------------------------------------------------------

POOLS = ("nn.functional.max_pool2d", "nn.functional.avg_pool2d", "nn.functional.avg_pool1d")
CONVOLUTIONS = tuple(f"nn.functional.conv{kind}" for kind in ("1d", "2d", "_transpose1d", "_transpose2d"))
DROPOUTS = tuple(f"nn.functional.{kind}" for kind in ("dropout", "dropout2d", "alpha_dropout", "feature_alpha_dropout"))
SOFTMAXES = ("softmax", "log_softmax")
FLOATING = ("float32", "float64")


def is_whole(sample: Sample) -> bool:
    """Whether the sample is one of integers or bools."""
    return sample.dtype not in FLOATING


def negative_power(sample: Sample) -> bool:
    """Whether the exponent, which is the input of `x.__rpow__(base)`, has negative integers."""
    return sample.dtype == "int64" and bool((sample.input < 0).any())


RULES = [
    # What we do not offer.
    Rule(
        "volumes, of three spatial axes",
        lambda s: s.ndim() == 5,
        ("nn.functional.interpolate", "nn.functional.grid_sample"),
        outcome=(ValueError,),
    ),
    Rule(
        "cubic samples of a grid",
        lambda s: s.argument(1, "mode") == "bicubic",
        ("nn.functional.grid_sample",),
        outcome=(ValueError,),
    ),
    Rule(
        "integers between integers",
        lambda s: is_whole(s) and s.argument(2, "mode", "nearest") not in ("nearest", "nearest-exact"),
        ("nn.functional.interpolate",),
    ),
    Rule(
        "convolution, pooling and linear layers of integers",
        is_whole,
        (*CONVOLUTIONS, "nn.functional.linear", "nn.functional.bilinear", *POOLS),
    ),
    Rule("batch norm of a tensor with one axis", lambda s: s.ndim() < 2, ("nn.functional.batch_norm",)),
    Rule(
        "local response norm of integers",
        lambda s: is_whole(s) and s.input.numel() > 0,
        ("nn.functional.local_response_norm",),
    ),
    Rule("an eps below 0", lambda s: s.argument(3, "eps", 0) < 0, ("nn.functional.group_norm",)),
    Rule("dropout of channels where there is none", lambda s: s.ndim() < 2, ("nn.functional.feature_alpha_dropout",)),
    Rule(
        "the norm of the singular values of a matrix",
        lambda s: s.argument(0, "p", 2) == "nuc",
        ("norm",),
        outcome=(ValueError,),
    ),
    Rule(
        "the gradient of an empty vector among matrices, which cat leaves out",
        lambda s: not is_whole(s) and len({t.ndim for t in s.input}) > 1,
        ("cat",),
        DIFFERS,
    ),
    Rule(
        "which of equal elements comes first, where that is not to be stable",
        lambda s: is_whole(s) and (s.op in ("kthvalue", "topk") or s.input.numel() > 1000),
        ("argsort", "kthvalue", "sort", "topk"),
        NOT_ASKED,
    ),
    # NumPy refuses.
    Rule("integers to negative powers", negative_power, ("__rpow__",), outcome=(ValueError,)),
    Rule(
        "a number that does not fit the dtype",
        lambda s: s.dtype == "uint8" and s.args[0] < 0 and "dtype" not in s.kwargs,
        ("full_like",),
        outcome=(DtypeError,),
    ),
    Rule(
        "a factor that does not fit the dtype",
        lambda s: s.dtype == "uint8" and s.kwargs.get("alpha", 0) < 0,
        ("add", "sub"),
        outcome=(DtypeError,),
    ),
    # We answer otherwise.
    Rule("all and any of uint8 are bools", lambda s: s.dtype == "uint8", ("all", "any"), DIFFERS),
    Rule(
        "differences of uint8 below 0, whose sign torch turns around",
        lambda s: s.dtype == "uint8",
        ("nn.functional.margin_ranking_loss",),
        DIFFERS,
    ),
    Rule(
        "the slope of hardsigmoid, of which torch has the digits of float32 alone",
        lambda s: s.dtype == "float64" and bool((abs(s.input) < 3).any()),
        ("nn.functional.hardsigmoid",),
        DIFFERS,
    ),
    # Where no answer can be compared.
    Rule(
        "the norm of order 0, to which torch gives no gradient",
        lambda s: s.argument(0, "p", 2) == 0,
        ("norm",),
        NOT_ASKED,
    ),
    Rule(
        "arange of fractions in an integer dtype, where torch's answers depend on the dtype",
        lambda s: is_whole(s) and any(n % 1 for n in (s.input, *s.args, s.kwargs.get("end", 0))),
        ("arange",),
        NOT_ASKED,
    ),
    Rule(
        "random numbers",
        lambda s: s.argument(1, "training", "alpha" not in s.op) and 0 < s.argument(0, "p", 0.5) < 1,
        DROPOUTS,
        NOT_ASKED,
    ),
]


# --- the judgement --------------------------------------------------------------------------------------------------


def judge_op(op: str, dtype: str, ours: Ours) -> Tally:
    """Ask one function all samples of an op."""
    tally = Tally(op, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is answered as torch does may come with a hint of ours
        for sample in samples(op, dtype):
            tally.ask(sample, lambda sample=sample: sample.compare(ours), RULES)
    return tally


@cache
def judge(op: str, dtype: str) -> Tally:
    """`judge_op` of the function that answers for the op, once per process."""
    return judge_op(op, dtype, OURS[op])


def supported(op: str, dtype: str) -> bool:
    """Whether the database has the op in this dtype."""
    return any(getattr(torch, dtype) in info.supported_dtypes("cpu") for info in VARIANTS[op])


def judge_all() -> list[Tally]:
    return [judge(op, dtype) for op in OURS for dtype in DTYPES if supported(op, dtype)]


def summary() -> list[dict[str, Any]]:
    """A row for each op and dtype: the number of samples that pass, and of those out of scope, by reason."""
    return rows(judge_all())
