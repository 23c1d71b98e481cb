"""Where we and PyTorch differ on purpose, op by op: the spots that the argument spaces leave out."""

from __future__ import annotations

_BATCH = "one image without its batch axis is refused, with a hint"
_EMPTY_DIM = "dim=() names all axes, as in sum; in torch none, here alone"
_INTEGERS = "integers become float32, as under exp; torch refuses them"
_NAN_EXTREME = "where the extreme is NaN its gradient goes to what is NaN, as in max; in torch all of it is NaN"
_NO_FREEDOM = "without degrees of freedom gradients are what the formula gives, 0 times infinity; torch's differ"
_NO_OUTPUT = "an output size of 0 is refused"
_SPREAD_DIM = "dim=() names all axes in the gradient too; torch divides by a wrong count there"
_TRUTH = "of uint8 too the result is bool; in torch uint8"
_UINT8 = "a Python number that uint8 cannot hold is refused; torch wraps it around"

DECISIONS: dict[str, list[str]] = {
    "abs": ["the gradient at NaN is NaN; in torch 0"],
    "adaptive_avg_pool2d": [_BATCH, _NO_OUTPUT],
    "adaptive_max_pool2d": [_BATCH, _NO_OUTPUT, "of several NaN in a cell the first counts, in torch the last"],
    "add": [_UINT8],
    "all": [_TRUTH, _EMPTY_DIM],
    "amax": [_NAN_EXTREME],
    "amin": [_NAN_EXTREME],
    "any": [_TRUTH, _EMPTY_DIM],
    "argmax": ["bools are taken; torch refuses them"],
    "argmin": ["bools are taken; torch refuses them"],
    "avg_pool2d": [_BATCH],
    "batch_norm": [
        "training on no value a channel (N = 0) is refused like training on one; in torch the statistics become NaN",
        "eps = 0 is taken in training too; torch refuses it there",
    ],
    "clamp": [
        "where two tensor bounds are equal the lower one gets the gradient; in torch none does",
        "an input may broadcast to two bounds that need a gradient; torch fails on the way back",
    ],
    "conv2d": [
        _BATCH,
        "an infinite weight makes NaN of the zeros that it meets in padding; torch skips some of them and meets others",
    ],
    "copy_": ["a tensor that is overwritten gets no gradient; in torch one of zeros"],
    "cross_entropy": [
        "class indices may have any integer dtype; torch wants int64",
        "a target that counts for nothing (a class of weight 0, label_smoothing=1) adds 0 even where its logit is -inf "
        "or NaN; in torch 0 times infinity is NaN",
        "with label_smoothing, the mean over targets that weigh 0 is x / 0, an infinity; in torch NaN",
    ],
    "dropout": ["chance is our own: only p = 0, p = 1 and evaluation have one answer"],
    "gelu": ["of infinity it is infinity; torch's float32 kernel makes NaN of it"],
    "__getitem__": ["an index is NumPy's: steps may be negative, and beside arrays an integer counts as one"],
    "l1_loss": ["the gradient of a difference that is NaN is NaN; in torch 0"],
    "layer_norm": ["normalized_shape may be an integer, as torch's module takes it; torch's function takes a sequence"],
    "leaky_relu": [_INTEGERS],
    "log_softmax": [_INTEGERS],
    "logsumexp": [
        "dim=() names all axes; torch fails on it",
    ],
    "max_pool2d": [_BATCH, "a dilated window that touches no element is refused; in torch its maximum is -inf"],
    "maximum": ["a Python number is taken too; torch wants tensors"],
    "minimum": ["a Python number is taken too; torch wants tensors"],
    "mul": [_UINT8],
    "nll_loss": ["class indices may have any integer dtype; torch wants int64"],
    "pad": [
        "every mode pads any axes; torch pads the last one to three, of inputs with one or two more",
        "what is cropped must be there: no crop takes back what the other end adds",
    ],
    "pow": [
        "to the power of 0.5 or -0.5, -inf and -0.0 are what pow makes of them in C; torch asks sqrt there",
        "a bool as exponent counts as 0 or 1; torch has no gradient there",
        "gradients of gradients take a uint8 exponent b as it is; in torch b - 2 wraps around below 0",
        _UINT8,
    ],
    "prod": ["the gradient beside an infinity is the product of the others; torch divides, which gives NaN"],
    "reshape": ["view copies where no view can be had; torch refuses"],
    "__setitem__": [
        "not recorded: it raises where a gradient would be lost",
        "values take the dtype of the tensor; beside index arrays torch wants them to have it",
    ],
    "silu": [_INTEGERS, "where e^-x overflows (x < -88 in float32) the gradient of the gradient is NaN; in torch 0"],
    "softmax": [_INTEGERS],
    "std": [_NO_FREEDOM, _SPREAD_DIM],
    "sub": [_UINT8],
    "T": ["reverses any number of axes; torch wants two"],
    "to": ["what an integer dtype cannot hold becomes whatever the processor makes of it, as in torch"],
    "var": [_NO_FREEDOM, _SPREAD_DIM],
}
