"""Where we and PyTorch differ on purpose, op by op. The argument spaces leave these arguments out."""

from __future__ import annotations

_BOOLS = "bools are accepted; PyTorch refuses them"
_EMPTY_DIM = "dim=() means all axes, as in sum; in PyTorch it means none, for these two alone"
_EMPTY_SHUFFLE = "of no pixels the result has the shape that it has of some; in PyTorch it has that of the input"
_FIRST = "of equal elements the first is taken; in PyTorch it may be any"
_INDICES = "class indices may have any integer dtype; PyTorch wants int64"
_INFINITE_WEIGHT = "an infinite weight makes NaN of every zero of the padding that it meets; PyTorch skips some of them"
_INTEGERS = "integers become float32, as in exp; PyTorch refuses them"
_LAST_NAN = "where a cell has several NaN, the first counts; in PyTorch the last"
_NAN_KINK = "the gradient at NaN is that of the formula; PyTorch's depends on where the NaN lies in memory"
_MEAN_BESIDE = "the mean of infinities of one sign is infinite, as that of mean; PyTorch's, beside a variance, is NaN"
_NAN_EXTREME = "where the extreme is NaN, its gradient goes to the NaN elements, as in max; in PyTorch all of it is NaN"
_NO_CHANNELS = "a convolution of no channels is its bias; in PyTorch it has no channels either"
_NO_FREEDOM = "without degrees of freedom, the gradient is what the formula gives, 0 times infinity; PyTorch's differs"
_NO_OUTPUT = "an output size of 0 is refused; PyTorch returns an empty tensor"
_NUMBER = "a Python number is accepted too; PyTorch wants tensors"
_SPREAD_DIM = "dim=() means all axes in the gradient too; there PyTorch divides by a wrong count"
_TRUTH = "the result is bool for uint8 too; in PyTorch it is uint8"
_UINT8 = "a Python number that uint8 cannot hold is refused; PyTorch wraps it around"

DECISIONS: dict[str, list[str]] = {
    "abs": ["the gradient at NaN is NaN; in PyTorch it is 0"],
    "adaptive_avg_pool1d": [_NO_OUTPUT],
    "adaptive_avg_pool2d": [_NO_OUTPUT],
    "adaptive_max_pool1d": [_NO_OUTPUT, _LAST_NAN],
    "adaptive_max_pool2d": [_NO_OUTPUT, _LAST_NAN],
    "add": [_UINT8],
    "all": [_TRUTH, _EMPTY_DIM],
    "amax": [_NAN_EXTREME],
    "amin": [_NAN_EXTREME],
    "any": [_TRUTH, _EMPTY_DIM],
    "argmax": [_BOOLS],
    "argmin": [_BOOLS],
    "atan2": [
        "the gradient beside uint8 and bools is that of the formula; PyTorch negates these, which wraps around or fails"
    ],
    "batch_norm": [
        "eps = 0 is accepted in training too; PyTorch refuses it there",
    ],
    "bincount": ["of no integers, weights give a result of their dtype; in PyTorch it is int64"],
    "cat": ["an empty vector among matrices is left out and gets no gradient; in PyTorch it gets an empty one"],
    "celu": [_INTEGERS],
    "clamp": [
        "where two tensor bounds are equal, the lower one gets the gradient; in PyTorch neither does",
        "an input may broadcast to two bounds that need a gradient; PyTorch's backward fails",
    ],
    "conv1d": [_INFINITE_WEIGHT, _NO_CHANNELS],
    "conv2d": [_INFINITE_WEIGHT, _NO_CHANNELS],
    "copy_": ["a tensor that is overwritten gets no gradient; in PyTorch it gets zeros"],
    "cosine_similarity": [
        "a vector shorter than eps is divided by eps, in the gradient too; there PyTorch adds the slope of its length"
    ],
    "cross_entropy": [
        _INDICES,
        "a target that weighs nothing (a class of weight 0, label_smoothing=1) adds 0, even where its logit is -inf or "
        "NaN; in PyTorch 0 times infinity is NaN",
        "with label_smoothing, the mean over targets that weigh 0 is x / 0, an infinity; in PyTorch it is NaN",
    ],
    "diagonal": ["it is a copy; in PyTorch it is a view"],
    "dropout": ["the random numbers are our own: only p = 0, p = 1 and evaluation have an answer to compare"],
    "elu": [_INTEGERS],
    "gelu": ["the gelu of infinity is infinity; PyTorch's float32 kernel makes NaN of it"],
    "__getitem__": ["a step may be below 0, as in NumPy; PyTorch refuses it"],
    "glu": [_INTEGERS],
    "group_norm": ["a bias may come without a weight; PyTorch's backward fails"],
    "hardshrink": [_INTEGERS, _NAN_KINK],
    "hardsigmoid": [
        _INTEGERS,
        _NAN_KINK,
        "it has gradients of gradients, and a float64 all its digits; in PyTorch neither",
    ],
    "hardswish": [_INTEGERS, _NAN_KINK],
    "hardtanh": [_NAN_KINK],
    "instance_norm": ["a batch of nothing is normalised to nothing; PyTorch fails"],
    "grid_sample": ["a place that is NaN is outside; in PyTorch it is the first pixel, but for padding_mode='zeros'"],
    "interpolate": [
        "in the linear and cubic modes an infinity makes NaN of its row and column; PyTorch keeps distant elements",
        "with antialias=True and a width of 1, every row is its own mean; in PyTorch it is that of the first",
        _NO_OUTPUT,
        "the gradient of nearest signals goes to the elements that were taken; where a scale_factor keeps the length, "
        "or doubles it, PyTorch may give it to others",
        "with antialias=True and a scale_factor that makes no whole size, the gradient is that of the weights that "
        "were used; PyTorch's is that of other weights",
    ],
    "kthvalue": [_FIRST],
    "l1_loss": ["where the difference is NaN, so is its gradient; in PyTorch it is 0"],
    "layer_norm": ["normalized_shape may be an integer, as in PyTorch's module; PyTorch's function wants a sequence"],
    "leaky_relu": [_INTEGERS],
    "linspace": [
        "in an integer dtype, what is a whole number is exact; PyTorch, which rounds once (an FMA), may be one below",
    ],
    "log_softmax": [_INTEGERS],
    "logsigmoid": [_INTEGERS],
    "logsumexp": ["dim=() means all axes; PyTorch fails"],
    "max_pool2d": ["a dilated window that touches no element is refused; in PyTorch its maximum is -inf"],
    "maximum": [_NUMBER],
    "minimum": [_NUMBER],
    "mish": [_INTEGERS],
    "mul": [_UINT8],
    "nanmean": ["where all elements are NaN, their gradients are 0; in PyTorch they are NaN"],
    "nll_loss": [_INDICES],
    "norm": ["with p = 0 the gradient is 0; in PyTorch there is none"],
    "pad": [
        "every mode pads any axes; PyTorch pads the last one to three, of inputs with one or two more",
        "negative widths remove only what the input has, never what is added at the other end",
    ],
    "pixel_shuffle": [_EMPTY_SHUFFLE],
    "pixel_unshuffle": [_EMPTY_SHUFFLE],
    "pow": [
        "to the power of 0.5 or -0.5, -inf and -0.0 give what pow gives in C; PyTorch takes the square root there",
        "a bool exponent counts as 0 or 1; PyTorch has no gradient for it",
        "integers to a tensor of negative integers are refused, as to a number; in PyTorch they are 1 / x rounded to 0",
        "gradients of gradients take a uint8 exponent b as it is; in PyTorch b - 2 wraps around below 0",
        _UINT8,
    ],
    "prelu": ["gradients of gradients at 0 are those of the slope that counts there; in PyTorch they are 0"],
    "prod": ["the gradient beside an infinity is the product of the others; PyTorch divides, which gives NaN"],
    "relu6": [_NAN_KINK],
    "reshape": ["view copies where no view is possible; PyTorch refuses"],
    "selu": [_INTEGERS],
    "__setitem__": [
        "values are converted to the dtype of the tensor; beside index arrays PyTorch wants them to have it",
    ],
    "silu": [
        _INTEGERS,
        "where e^-x overflows (x < -88 in float32), the gradient of the gradient is NaN; in PyTorch it is 0",
    ],
    "softmax": [_INTEGERS],
    "softmin": [_INTEGERS],
    "softplus": [_INTEGERS],
    "softshrink": [_INTEGERS, _NAN_KINK],
    "sort": ["equal elements keep their order also without stable=True"],
    "std": [_NO_FREEDOM, _SPREAD_DIM],
    "std_mean": [_MEAN_BESIDE],
    "sub": [_UINT8],
    "T": ["it reverses any number of axes; PyTorch wants two"],
    "threshold": [_NAN_KINK],
    "to": ["a number that an integer dtype cannot hold becomes what the processor makes of it, as in PyTorch"],
    "topk": [_FIRST],
    "var": [_NO_FREEDOM, _SPREAD_DIM],
    "var_mean": [_MEAN_BESIDE],
}
