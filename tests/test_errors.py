"""Error texts, word for word: what was given, what was needed, and the likely fix."""

import threading
import warnings

import numpy as np
import pytest
from messages import message

import tinyconv as tc
import tinyconv.functional as F
from tinyconv import nn, train
from tinyconv.errors import listed, printable, shortened

CONV = nn.Conv2d(1, 4, 3)
RGB = nn.Conv2d(3, 4, 3)
SCORES = tc.zeros(2, 3)
TARGETS = tc.tensor([0, 1])

SHAPES = {
    "no channel dimension": (
        lambda: CONV(tc.ones(64, 28, 28)),
        "conv2d: expected (N, C, H, W), got (64, 28, 28): one channel missing? x.unsqueeze(1)",
    ),
    "no batch dimension, channels last": (
        lambda: RGB(tc.ones(28, 28, 3)),
        "conv2d: expected (N, C, H, W), got (28, 28, 3): one image, channels last? x.permute(2, 0, 1)[None]",
    ),
    "signals without channels": (
        lambda: nn.Conv1d(1, 4, 3)(tc.ones(64, 28)),
        "conv1d: expected (N, C, L), got (64, 28): one channel missing? x.unsqueeze(1)",
    ),
    "signals, channels last": (
        lambda: nn.Conv1d(3, 4, 3)(tc.ones(64, 28, 3)),
        "conv1d: expected 3 channels, x is (N, C, L) = (64, 28, 3): channels last? x.permute(0, 2, 1)",
    ),
    "a kernel longer than the signal": (
        lambda: F.max_pool1d(tc.ones(1, 1, 2), 3, dilation=2),
        "max_pool1d: kernel 3 (dilated: 5) is larger than the padded input 2 (input 2, padding 0): "
        "too many poolings before it, an input too small, or padding forgotten?",
    ),
    "nothing left of a transposed convolution": (
        lambda: F.conv_transpose2d(tc.ones(1, 1, 1, 1), tc.ones(1, 1, 2, 2), padding=1),
        "conv_transpose2d: an input of 1x1 under a kernel 2x2 gives 0x0: less padding (now 1, 1), or a larger kernel?",
    ),
    "output_padding as large as the stride": (
        lambda: nn.ConvTranspose2d(1, 1, 2, stride=2, output_padding=2)(tc.ones(1, 1, 2, 2)),
        "conv_transpose2d: output_padding (2, 2) must be smaller than stride (2, 2) or dilation (1, 1)",
    ),
    "an output_size that no padding gives": (
        lambda: nn.ConvTranspose2d(1, 1, 2, stride=2)(tc.ones(1, 1, 2, 2), output_size=(6, 5)),
        "ConvTranspose2d: output_size can be (4, 4) to (5, 5) for (1, 1, 2, 2), got (6, 5)",
    ),
    "filters of a convolution for a transposed one": (
        lambda: F.conv_transpose2d(tc.ones(1, 3, 4, 4), tc.ones(6, 3, 2, 2)),
        "conv_transpose2d: expected 6 channels, x is (N, C, H, W) = (1, 3, 4, 4)",
    ),
    "columns of another kernel": (
        lambda: F.fold(tc.ones(1, 8, 4), 3, 3),
        "fold: expected (N, C * 3 * 3, windows) for a kernel 3x3, got (1, 8, 4)",
    ),
    "columns of another image": (
        lambda: F.fold(tc.ones(1, 4, 4), 4, 2),
        "fold: an image of 4x4 has 3x3 = 9 such windows, got (1, 4, 4)",
    ),
    "one bare image": (
        lambda: CONV(tc.ones(28, 28)),
        "conv2d: expected (N, C, H, W), got (28, 28): one image without batch and channel axes? x[None, None]; "
        "or was it flattened?",
    ),
    "one dimension too many": (
        lambda: CONV(tc.ones(1, 1, 1, 28, 28)),
        "conv2d: expected (N, C, H, W), got (1, 1, 1, 28, 28)",
    ),
    "channels last": (
        lambda: RGB(tc.ones(8, 32, 32, 3)),
        "conv2d: expected 3 channels, x is (N, C, H, W) = (8, 32, 32, 3): channels last? x.permute(0, 3, 1, 2)",
    ),
    "wrong number of channels": (
        lambda: RGB(tc.ones(8, 1, 28, 28)),
        "conv2d: expected 3 channels, x is (N, C, H, W) = (8, 1, 28, 28)",
    ),
    "kernel larger than the padded input": (
        lambda: nn.Conv2d(1, 1, 5, padding=1)(tc.ones(1, 1, 2, 9)),
        "conv2d: kernel 5x5 is larger than the padded input 4x11 (input 2x9, padding 1, 1): "
        "too many poolings before it, an input too small, or padding forgotten?",
    ),
    "dilated kernel larger than the input": (
        lambda: nn.Conv2d(1, 1, 3, dilation=3)(tc.ones(1, 1, 5, 5)),
        "conv2d: kernel 3x3 (dilated: 7x7) is larger than the padded input 5x5 (input 5x5, padding 0, 0): "
        "too many poolings before it, an input too small, or padding forgotten?",
    ),
    "pooling window larger than the input": (
        lambda: nn.MaxPool2d(2)(tc.ones(1, 1, 1, 1)),
        "max_pool2d: kernel 2x2 is larger than the padded input 1x1 (input 1x1, padding 0, 0): "
        "too many poolings before it, an input too small, or padding forgotten?",
    ),
    "pooling padding": (
        lambda: F.max_pool2d(tc.ones(1, 1, 8, 8), 2, padding=2),
        "max_pool2d: padding (2, 2) is more than half of kernel (2, 2): some windows would be empty",
    ),
    "groups that do not divide the channels": (
        lambda: nn.Conv2d(3, 4, 3, groups=2),
        "Conv2d: 3 channels and 4 filters cannot both be split into 2 groups",
    ),
    "groups in the functional form": (
        lambda: F.conv2d(tc.ones(1, 4, 5, 5), tc.ones(3, 2, 3, 3), groups=2),
        "conv2d: 3 filters cannot be split into 2 groups",
    ),
    "no groups": (
        lambda: F.conv2d(tc.ones(1, 4, 5, 5), tc.ones(3, 4, 3, 3), groups=0),
        "conv2d: groups: expected at least 1, got 0",
    ),
    "'same' with stride 2": (
        lambda: F.conv2d(tc.ones(1, 1, 5, 5), tc.ones(1, 1, 3, 3), padding="same", stride=2),
        "conv2d: padding='same' keeps the size, which stride (2, 2) does not; give numbers",
    ),
    "bad padding string": (
        lambda: F.conv2d(tc.ones(1, 1, 5, 5), tc.ones(1, 1, 3, 3), padding="full"),
        "conv2d: padding ('same', 'valid', or numbers): expected an integer or a pair (height, width), got 'full'",
    ),
    "three strides": (
        lambda: nn.Conv2d(1, 1, 3, stride=(1, 2, 3)),
        "Conv2d: stride: expected an integer or a pair (height, width), got (1, 2, 3)",
    ),
    "stride 0": (lambda: nn.Conv2d(1, 1, 3, stride=0), "Conv2d: stride: expected at least 1 in each direction, got 0"),
    "bias of another size": (
        lambda: F.conv2d(tc.ones(1, 1, 5, 5), tc.ones(2, 1, 3, 3), tc.ones(3)),
        "conv2d: bias must be (2,), one number a filter, got (3,)",
    ),
    "head sized for another input": (
        lambda: nn.Linear(256, 10)(tc.ones(8, 400)),
        "linear: expected 256 features (weight is (10, 256)), got (8, 400): if this head follows a flatten, it was "
        "sized for another input; for this one it is nn.Linear(400, ...)",
    ),
    "no flatten before the head": (
        lambda: nn.Linear(256, 10)(tc.ones(8, 16, 4, 4)),
        "linear: expected 256 features (weight is (10, 256)), got (8, 16, 4, 4): feature maps meet a linear layer, "
        "flatten them first: x.flatten(1) or nn.Flatten()",
    ),
    "no flatten, and sized for another input": (
        lambda: nn.Linear(256, 10)(tc.ones(8, 16, 5, 5)),
        "linear: expected 256 features (weight is (10, 256)), got (8, 16, 5, 5): feature maps meet a linear layer; "
        "flattened they have 16 * 5 * 5 = 400 features: flatten them and use nn.Linear(400, ...)",
    ),
    "linear of nothing": (
        lambda: nn.Linear(2, 1)(tc.ones(())),
        "linear: expected 2 features (weight is (1, 2)), got ()",
    ),
    "one value per channel in training": (
        lambda: nn.BatchNorm1d(4)(tc.ones(1, 4)),
        "batch_norm: one value a channel has no variance to train on, got (1, 4); use a larger batch "
        "(drop_last=True drops a last batch of one), or model.eval()",
    ),
    "batch norm of another number of channels": (
        lambda: nn.BatchNorm2d(4)(tc.ones(2, 3, 5, 5)),
        "batch_norm: x has 3 channels, so weight must be (3,), got (4,)",
    ),
    "batch norm of another rank": (
        lambda: nn.BatchNorm2d(4)(tc.ones(2, 4)),
        "BatchNorm2d: expected (N, C, H, W), got (2, 4)",
    ),
    "batch norm 1d of images": (
        lambda: nn.BatchNorm1d(4)(tc.ones(2, 4, 5, 5)),
        "BatchNorm1d: expected (N, C) or (N, C, L), got (2, 4, 5, 5)",
    ),
    "layer norm of another shape": (
        lambda: nn.LayerNorm(4)(tc.ones(2, 5)),
        "layer_norm: normalized_shape is (4,), which is not how (2, 5) ends",
    ),
    "targets out of range": (
        lambda: F.cross_entropy(SCORES, tc.tensor([3, 1])),
        "cross_entropy: targets must be class indices 0 to 2 (scores have 3 classes), got 3 (1 such): "
        "labels that count from 1? target - 1",
    ),
    "negative targets": (
        lambda: F.cross_entropy(SCORES, tc.tensor([-1, -2])),
        "cross_entropy: targets must be class indices 0 to 2 (scores have 3 classes), got -1 (2 such)",
    ),
    "one-hot integer targets": (
        lambda: F.cross_entropy(SCORES, tc.tensor([[1, 0, 0], [0, 1, 0]])),
        "cross_entropy: scores are (2, 3), so targets must be (2,), got (2, 3): one-hot targets? target.argmax(1)",
    ),
    "another number of targets": (
        lambda: F.cross_entropy(SCORES, tc.tensor([1])),
        "cross_entropy: scores are (2, 3), so targets must be (2,), got (1,)",
    ),
    "probabilities of another shape": (
        lambda: F.cross_entropy(SCORES, tc.ones(2, 4)),
        "cross_entropy: targets are floating point, so they are class probabilities and need the shape of the "
        "logits, (2, 3); got (2, 4). Class indices? target.long()",
    ),
    "weights of another number of classes": (
        lambda: F.cross_entropy(SCORES, TARGETS, weight=tc.ones(4)),
        "cross_entropy: weight must hold one number a class, (3,), got (4,)",
    ),
    "reshape": (
        lambda: tc.ones(2, 3).reshape(4, -1),
        "reshape: (2, 3) holds 6 elements and does not fit (4, -1)",
    ),
    "reshape with two unknowns": (
        lambda: tc.ones(2, 3).reshape(-1, -1),
        "reshape: (2, 3) holds 6 elements and does not fit (-1, -1)",
    ),
    "reshape to a fraction": (lambda: tc.ones(2).reshape(1.5), "reshape: sizes must be integers, got (1.5,)"),
    "matmul": (
        lambda: tc.ones(2, 3) @ tc.ones(2, 3),
        "matmul: (2, 3) @ (2, 3): the last axis of the first operand must equal the second-to-last of the second "
        "(the only one, if it has one axis)",
    ),
    "matmul with a number": (
        lambda: tc.ones(2, 3) @ tc.tensor(1.0),
        "matmul: (2, 3) @ (): a 0-d tensor is no matrix; use *",
    ),
    "broadcast": (lambda: tc.ones(2, 3) + tc.ones(2), "add: shapes (2, 3) and (2,) do not broadcast"),
    "broadcast with an array": (
        lambda: np.ones(4, np.float32) * tc.ones(3),
        "mul: shapes (4,) and (3,) do not broadcast",
    ),
    "cat": (
        lambda: tc.cat([tc.ones(2, 3), tc.ones(2, 4)]),
        "cat: the shapes do not fit along dim 0: (2, 3), (2, 4)",
    ),
    "cat of nothing": (lambda: tc.cat([]), "cat: expected at least one tensor"),
    "stack": (
        lambda: tc.stack([tc.ones(2), tc.ones(3)]),
        "stack: the shapes do not fit along dim 0: (2,), (3,)",
    ),
    "dim out of range": (
        lambda: tc.ones(2, 3).sum(2),
        "sum: dim 2 is out of range for 2 axes (expected -2 to 1)",
    ),
    "dim that is no integer": (lambda: tc.ones(2).softmax(0.5), "softmax: dim must be an integer, got 0.5"),
    "dim twice": (lambda: tc.ones(2, 3).mean((0, -2)), "mean: dim (0, -2) names an axis twice"),
    "maximum of nothing": (
        lambda: tc.ones(2, 0).max(1),
        "max: a tensor of shape (2, 0) has nothing to choose from along dim 1",
    ),
    "permute": (lambda: tc.ones(2, 3).permute(0), "permute: (2, 3) has 2 axes, and (0,) must name each once"),
    "expand": (lambda: tc.ones(2).expand(3), "expand: (2,) cannot be repeated to (3,)"),
    "split": (
        lambda: tc.ones(5).split([2, 2]),
        "split: the sizes [2, 2] add up to 4, and axis 0 has 5",
    ),
    "pad": (
        lambda: F.pad(tc.ones(2), [1]),
        "pad: expected (before, after) for each of up to 1 axes, the last one first, got (1,)",
    ),
}

DTYPES = {
    "integers to a convolution": (
        lambda: CONV(tc.ones(1, 1, 5, 5, dtype=tc.uint8)),
        "conv2d: x must be floating point, got uint8: x.float()?",
    ),
    "integers to max pooling": (
        lambda: F.max_pool2d(tc.ones(1, 1, 4, 4, dtype=tc.int64), 2),
        "max_pool2d: expected a floating-point input, got int64: x.float()?",
    ),
    "float64 data, float32 model": (
        lambda: CONV(tc.ones(1, 1, 5, 5, dtype=tc.float64)),
        "conv2d: x is float64 and weight is float32; convert one: x.to(weight.dtype), "
        "or the whole model with model.to(dtype)",
    ),
    "two dtypes in a product": (
        lambda: tc.ones(2, 2) @ tc.ones(2, 2, dtype=tc.float64),
        "matmul: a is float32 and b is float64; convert one: a.to(b.dtype), or the whole model with model.to(dtype)",
    ),
    "float class indices": (
        lambda: F.cross_entropy(SCORES, tc.tensor([0.0, 1.0])),
        "cross_entropy: class indices must be integers, got float32 of shape (2,): target.long()?",
    ),
    "mse of two dtypes": (
        lambda: F.mse_loss(tc.ones(2), TARGETS),
        "mse_loss: expected two floating-point tensors of one dtype, got float32 and int64: target.to(input.dtype)?",
    ),
    "mean of integers": (
        lambda: tc.arange(3).mean(),
        "mean: expected a floating-point tensor, got int64: x.float().mean()",
    ),
    "condition that is not bool": (
        lambda: tc.where(TARGETS, 1.0, 2.0),
        "where: the condition must be a bool tensor, got int64",
    ),
    "cat of arrays": (lambda: tc.cat([np.ones(2)]), "cat: expected tensors, number 0 is a ndarray"),
}


@pytest.mark.parametrize(("mistake", "expected"), SHAPES.values(), ids=SHAPES)
def test_shapes(mistake, expected):
    assert message(tc.ShapeError, mistake) == expected


@pytest.mark.parametrize(("mistake", "expected"), DTYPES.values(), ids=DTYPES)
def test_dtypes(mistake, expected):
    assert message(tc.DtypeError, mistake) == expected


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: F.cross_entropy(SCORES, TARGETS, reduction="avg"),
         "cross_entropy: reduction must be 'none', 'mean' or 'sum', got 'avg'"),
        (lambda: F.cross_entropy(SCORES, TARGETS, label_smoothing=2),
         "cross_entropy: label_smoothing: expected a number from 0 to 1, got 2"),
        (lambda: nn.Dropout(1.5), "Dropout: p: expected a number from 0 to 1, got 1.5"),
        (lambda: F.gelu(SCORES, "erf"), "gelu: approximate must be 'none' or 'tanh', got 'erf'"),
        (lambda: F.pad(SCORES, (1, 1), mode="edge"),
         "pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got 'edge'"),
        (lambda: SCORES.clamp(), "clamp: give min, max or both"),
    ],
)  # fmt: skip
def test_options(call, expected):
    assert message(ValueError, call) == expected


def test_softmax_before_cross_entropy():
    logits = tc.zeros(2, 3, requires_grad=True)
    expected = (
        "cross_entropy: the input comes out of softmax, but cross_entropy takes logits and applies softmax itself; "
        "applied twice it flattens the gradients: remove the softmax from the model"
    )
    for loss in (F.cross_entropy, nn.CrossEntropyLoss()):
        with pytest.warns(UserWarning, match="softmax") as caught:
            loss(logits.softmax(1), TARGETS)
        assert [str(w.message) for w in caught] == [expected]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.cross_entropy(logits, TARGETS)
        F.nll_loss(logits.log_softmax(1), TARGETS)
        F.cross_entropy(logits.softmax(1) * 2, TARGETS)


def test_a_target_that_broadcasts():
    with pytest.warns(UserWarning, match="broadcast") as caught:
        F.mse_loss(tc.ones(4, 1), tc.ones(4))
    assert [str(w.message) for w in caught] == [
        "mse_loss: input is (4, 1) and target (4,); they are broadcast, which is rarely meant"
    ]


def test_the_errors_are_also_the_builtin_ones():
    for error, builtin in {
        tc.ShapeError: ValueError,
        tc.DtypeError: TypeError,
        tc.DeviceError: RuntimeError,
        tc.OutOfMemoryError: MemoryError,
        tc.GraphError: RuntimeError,
        tc.CheckpointError: (ValueError, RuntimeError),
        tc.DataError: ValueError,
        tc.VariantError: LookupError,
    }.items():
        assert all(issubclass(error, each) for each in (builtin if isinstance(builtin, tuple) else (builtin,)))
        assert issubclass(error, tc.TinyconvError)


# --- where in the model ---------------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, bias=False)

    def forward(self, x):
        return self.conv(x).relu()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(Block(), nn.MaxPool2d(2), nn.Flatten())
        self.heads = nn.ModuleList([nn.Linear(18, 10)])

    def forward(self, x):
        return self.heads[0](self.features(x))


def test_the_path_of_the_layer():
    assert message(tc.ShapeError, Net(), tc.ones(4, 3, 8, 8)) == (
        "conv2d: expected 1 channels, x is (N, C, H, W) = (4, 3, 8, 8)\n"
        "  in layer 'features.0.conv': Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), bias=False)"
    )
    assert message(tc.ShapeError, Net(), tc.ones(4, 1, 10, 10)) == (
        "linear: expected 18 features (weight is (10, 18)), got (4, 32): if this head follows a flatten, it was sized "
        "for another input; for this one it is nn.Linear(32, ...)\n"
        "  in layer 'heads.0': Linear(in_features=18, out_features=10, bias=True)"
    )


def test_an_error_in_a_forward_of_ones_own():
    class Careless(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Identity()

        def forward(self, x):
            return x + tc.ones(7)

    model = nn.Sequential(nn.ReLU(), Careless())
    assert message(tc.ShapeError, model, tc.ones(2)) == (
        "add: shapes (2,) and (7,) do not broadcast\n  in layer '1': Careless"
    )


def test_other_exceptions_pass_as_they_are():
    class Failing(nn.Module):
        def forward(self, x):
            raise KeyError("mine")

    assert message(KeyError, nn.Sequential(Failing()), tc.ones(1)) == "'mine'"


def test_a_layer_used_alone_names_no_path():
    assert "in layer" not in message(tc.ShapeError, CONV, tc.ones(3))


def test_a_leaf_that_was_converted_is_named():
    layer = tc.nn.Linear(2, 1)
    loss = layer(tc.ones(1, 2)).sum()
    layer.double()
    with pytest.raises(tc.GraphError, match=r"input 1 of linear \(\w+\) was converted to float64 \(1, 2\) after"):
        loss.backward()


def test_numpy_cannot_write_into_a_tensor():
    with pytest.raises(TypeError, match=r"np.add\(..., out=tensor\) is not possible"):
        np.add(np.ones(2), 1, out=tc.ones(2))


def test_modes_refuse_async_functions_and_are_each_threads_own():
    with pytest.raises(TypeError, match="f is an async function; use `with` inside it"):

        @tc.no_grad()
        async def f():
            pass

    mode, seen = tc.no_grad(), []

    def in_another_thread():
        with mode:
            seen.append(tc.is_grad_enabled())
        seen.append(tc.is_grad_enabled())

    with mode:
        thread = threading.Thread(target=in_another_thread)
        thread.start()
        thread.join()
        assert not tc.is_grad_enabled()
    assert seen == [False, True]
    assert tc.is_grad_enabled()


MEGABYTE = "x" * 1_000_000
TINY = nn.Linear(2, 2)


def _state(**others):
    return {**TINY.state_dict(), **others}


PARSERS = {
    "a cake": lambda s: tc.Cake.parse(s),
    "a slice": lambda s: tc.Cake.parse(s[:90_000]),
    "an option of a slice": lambda s: tc.Cake.parse(f"conv 6 5 {s[:90_000]}=1"),
    "a model": lambda s: tc.models.create(s),
    "a model's option": lambda s: tc.models.create("lenet5", **{s: 1}),
    "an option's value": lambda s: tc.models.create("lenet5", size=s[:90_000]),
    "cake as a model": lambda s: tc.models.create("cake", slices=s),
    "a dataset": lambda s: tc.data.load(s),
    "a split": lambda s: tc.data.load("synthetic", s),
    "a dtype": lambda s: tc.zeros(1, dtype=s),
    "a device": lambda s: tc.zeros(1, device=s),
    "a variant": lambda s: tc.using(s).__enter__(),
    "an op's variant": lambda s: tc.using(conv2d=s).__enter__(),
    "an op": lambda s: tc.using(**{s: "loop"}).__enter__(),
    "a recipe's schedule": lambda s: train.Recipe(schedule=s),
    "a recipe's rate": lambda s: train.Recipe(lr=s),
    "a reduction": lambda s: F.mse_loss(SCORES, SCORES, reduction=s),
    "a padding's mode": lambda s: F.pad(SCORES, (1, 1), mode=s),
    "gelu's": lambda s: F.gelu(SCORES, approximate=s),
    "a gain's": lambda s: nn.init.calculate_gain(s),
    "a learning rate": lambda s: tc.optim.SGD(TINY.parameters(), lr=s),
    "an optimiser's option": lambda s: tc.optim.SGD([{"params": list(TINY.parameters()), s: 1}], lr=1),
    "names of a state": lambda s: TINY.load_state_dict(_state(**{s: SCORES})),
    "many names of a state": lambda s: TINY.load_state_dict(_state(**{f"{s[:100]}{i}": SCORES for i in range(5000)})),
    "a child": lambda s: TINY.get_submodule(s),
    "threads": lambda s: tc.set_num_threads(s),
    "sizes": lambda s: tc.summary(TINY, s),
    "a norm": lambda s: SCORES.norm(s),
    "a stride": lambda s: F.conv2d(tc.zeros(1, 1, 4, 4), tc.zeros(1, 1, 2, 2), stride=s),
    "an axis": lambda s: SCORES.sum(dim=s),
    "a long list for an axis": lambda s: SCORES.sum(dim=[s, s]),
    "lists in lists": lambda s: train.Recipe(lr=_nested(50_000)),
    "an int of many digits": lambda s: tc.set_num_threads(-(10**100_000)),
    "gradcheck's mode": lambda s: tc.gradcheck(TINY, SCORES[:, :2], mode=s),
}


def _nested(depth):
    found = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_an_error_does_not_quote_a_megabyte(parser):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (of whatever type)
        parser(MEGABYTE)
    assert len(str(caught.value)) < 2000
    assert "RecursionError" not in repr(caught.value)


def test_shortened():
    assert shortened("a" * 80) == repr("a" * 80)
    assert shortened("a" * 81) == repr("a" * 80) + "... (81 characters)"
    assert shortened("\x1b[31m") == r"'\x1b[31m'"
    assert shortened(list(range(1000))).endswith("... (4,890 characters)")
    assert shortened(10**5000) == "a value of type int"
    assert printable("a\x1b[31mb\nc") == "a\\x1b[31mb\nc"
    assert len(printable("a" * 10_000)) < 410
    assert listed(f"n{i}" for i in range(1000)) == "n0, n1, n2, n3, n4, n5 and 994 more"
