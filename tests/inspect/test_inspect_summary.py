"""summary: exact figures, fields against gradients, and models of every make."""

import json
from itertools import pairwise, product
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import message

import tinyconv as tc
import tinyconv.functional as F
from tinyconv import models, nn
from tinyconv.inspect import Cake, Field

# --- models made of functions ---------------------------------------------------------------------------------------


class Net(nn.Module):
    """A model whose forward is a function of it and its inputs, with these layers and other attributes."""

    def __init__(self, function, **parts):
        super().__init__()
        object.__setattr__(self, "function", function)
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def parameter(*shape):
    return nn.Parameter(np.ones(shape, np.float32))


def rows(summary):
    return {row.name: row for row in summary.layers}


def figures(summary):
    """What does not depend on names."""
    return [(row.kind, row.output_shape, row.params, row.macs, row.fields) for row in summary.layers]


# --- LeNet-5, to the last digit -------------------------------------------------------------------------------------

LENET = [
    # name, output, parameters, MACs, field, jump
    ("conv1", (6, 24, 24), 156, 86_400, 5, 1),
    ("relu", (6, 24, 24), 0, 0, 5, 1),
    ("pool", (6, 12, 12), 0, 0, 6, 2),
    ("conv2", (16, 8, 8), 2_416, 153_600, 14, 2),
    ("relu#2", (16, 8, 8), 0, 0, 14, 2),
    ("pool#2", (16, 4, 4), 0, 0, 16, 4),
    ("reshape", (256,), 0, 0, 28, 0),
    ("fc1", (120,), 30_840, 30_720, 28, 0),
    ("relu#3", (120,), 0, 0, 28, 0),
    ("fc2", (84,), 10_164, 10_080, 28, 0),
    ("relu#4", (84,), 0, 0, 28, 0),
    ("fc3", (10,), 850, 840, 28, 0),
]


def test_lenet5():
    s = tc.summary(models.lenet5(), (1, 28, 28))
    found = [(r.name, r.output_shape, r.params, r.macs, r.receptive_field, r.jump) for r in s.layers]
    assert found == LENET
    assert (s.model, s.input_shape) == ("LeNet5", (1, 28, 28))
    assert (s.total_params, s.total_macs, s.total_flops) == (44_426, 281_640, 563_280)
    assert all(row.flops == 2 * row.macs and row.start == 0 for row in s.layers)
    assert all(row.activation_bytes == 4 * prod(row.output_shape) for row in s.layers)
    assert s.activation_bytes == sum(row.activation_bytes for row in s.layers)
    assert (s["conv1"].column_bytes, s["conv2"].column_bytes) == (4 * 25 * 24 * 24, 4 * 150 * 8 * 8)
    assert s.column_bytes == 4 * 25 * 24 * 24
    assert s["conv2"].share == pytest.approx(153_600 / 281_640)
    assert sum(row.share for row in s.layers) == pytest.approx(1)
    assert s.warnings == ()


def test_lenet5_for_colour_at_32x32():
    s = tc.summary(models.lenet5(in_channels=3, size=32), (3, 32, 32))
    assert (s.total_params, s.total_flops) == (62_006, 1_303_440)
    assert s["conv1"].params == 456
    assert s["pool#2"].output_shape == (16, 5, 5)


def test_lenet5_as_a_cake():
    cake = Cake.parse(
        "conv 6 5; relu; pool 2; conv 16 5; relu; pool 2; flatten; fc 120; relu; fc 84; relu; fc 10"
    )  # fmt: skip
    s = tc.summary(cake.build((1, 28, 28)), (1, 28, 28))
    assert [row.name for row in s.layers] == [
        "conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "flatten", "fc1", "relu3", "fc2", "relu4", "fc3",
    ]  # fmt: skip
    assert [(r.output_shape, r.params, r.macs, r.receptive_field, r.jump) for r in s.layers] == [
        row[1:] for row in LENET
    ]
    assert (s.total_params, s.total_macs) == (44_426, 281_640)
    at_32 = tc.summary(cake.build((3, 32, 32)), (3, 32, 32))
    assert (at_32.total_params, at_32.total_flops) == (62_006, 1_303_440)


# --- what others published ------------------------------------------------------------------------------------------


def on_meta(name, **options):
    with tc.device("meta"):
        return models.create(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "layer", "field", "jump", "start", "params", "gigamacs"),
    [
        # Fields: Araujo, Norris & Sim, Distill 2019; they start where centred windows do. MACs: as torchvision lists.
        ("alexnet", {}, "12", 195, 32, -66, 61_100_840, 0.71),
        ("vgg16", {}, "30", 212, 32, -90, 138_357_544, 15.47),
        ("resnet50", {}, "19.relu", 483, 32, -241, 25_557_032, 3.86),
        ("resnet50", {"stride_at": "3x3"}, "19.relu", 427, 32, -213, 25_557_032, 4.09),
    ],
    ids=["alexnet", "vgg16", "resnet50", "resnet50 3x3"],
)
def test_the_nets_of_imagenet(name, options, layer, field, jump, start, params, gigamacs):
    s = tc.summary(on_meta(name, **options), (3, 224, 224))
    row = s[layer] if layer in rows(s) else [r for r in s.layers if len(r.output_shape) == 3 and r.jump][-1]
    assert (row.receptive_field, row.jump, row.start) == (field, jump, start)
    assert s.total_params == params == sum(r.params for r in s.layers)
    assert round(s.total_macs / 1e9, 2) == gigamacs


@pytest.mark.parametrize(
    ("name", "shape", "params"),
    [
        ("lenet5_1998", (1, 28, 28), 60_000),
        ("mlp", (1, 28, 28), 101_770),
        ("cifarnet", (3, 32, 32), 1_972_802),
        ("lenet_gap", (1, 28, 28), 21_182),
        ("lenet_vgg", (1, 28, 28), 45_444),
        ("lenet_strided", (1, 28, 28), 107_786),
        ("lenet_bn", (1, 28, 28), 44_652),
        ("resnet", (1, 28, 28), 77_562),
    ],
)
def test_parameters_are_counted_once_each_and_all(name, shape, params):
    s = tc.summary(models.create(name), shape)
    assert s.total_params == params == sum(row.params for row in s.layers)
    assert s.layers[-1].output_shape == (10,)
    assert s.warnings == ()


# --- fields against gradients ---------------------------------------------------------------------------------------


def positive(model):
    """The model in float64 and evaluation mode, all its weights one half: no two ways of a pixel cancel."""
    model.double().eval()
    for p in model.parameters():
        with tc.no_grad():
            p.fill_(0.5)
    return model


def extent(seen):
    """[first, past the last) of what is true; None where nothing is."""
    places = np.flatnonzero(seen)
    return (int(places[0]), int(places[-1]) + 1) if len(places) else None


def probe(model, shape, cell):
    """The rows and columns of the image that a cell of the output depends on, by its gradient; None for none.

    Of an output that has no maps, what all of it depends on.
    """
    x = tc.ones(1, *shape, dtype=tc.float64, requires_grad=True)
    y = model(x)
    (y[:, :, cell[0], cell[1]] if y.ndim == 4 else y).sum().backward()
    seen = (x.grad.numpy()[0] != 0).any(0)
    found = extent(seen.any(1)), extent(seen.any(0))
    return None if found[0] is None else found


def spans(model, shape, cell):
    """What the last row of the summary says of that cell."""
    fields = tc.summary(model, shape).layers[-1].fields
    return tuple(field.span(at, n) for field, at, n in zip(fields, cell, shape[1:], strict=True))


def corners(shape):
    """Cells of (..., rows, columns): the corners, and one in the middle."""
    height, width = shape[-2:]
    return sorted({*product((0, height - 1), (0, width - 1)), (height // 2, width // 2)})


class Axis:
    """One axis of a stack under construction: how many cells there are, and whether fields end where they are told to
    also at the edge of the image.

    There a field is cut off, and what a cell sees ends with the last of its taps that is inside. That is the same where
    taps lie close. It is less where they leave holes, and where one of them is a cell of padding around a layer further
    down: it sees nothing, though the formula has pixels for it, if a dilated window steps over the cells beside it or
    if windows left these pixels over.
    """

    def __init__(self, cells):
        self.cells, self.size, self.jump, self.close, self.dropped = cells, 1, 1, True, False

    def window(self, kernel, stride, padding, dilation=1, ceil=False):
        reach = dilation * (kernel - 1)
        left = self.cells + 2 * padding - reach - 1
        assert left >= 0
        if kernel > 1 and (dilation * self.jump > self.size or (dilation > 1 and padding)):
            self.close = False
        cells = (left + stride * ceil - ceil) // stride + 1
        cells -= (cells - 1) * stride >= self.cells + padding  # torch's rule: a window begins in the image
        if self.dropped and (padding or ceil):
            self.close = False
        self.dropped |= left > (cells - 1) * stride
        self.size += reach * self.jump
        self.jump *= stride
        self.cells = cells


@st.composite
def stacks(draw, tails=True):
    """(the layers of a summary, those of its probe, the input's shape, its two axes)."""
    shape = (draw(st.integers(1, 2)), draw(st.integers(4, 20)), draw(st.integers(4, 20)))
    axes = [Axis(n) for n in shape[1:]]
    channels, shown, probed = shape[0], [], []

    def pair(strategy):
        return tuple(draw(st.tuples(strategy, strategy))) if draw(st.booleans()) else (draw(strategy),) * 2

    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["conv", "conv", "pool", "residual", "branches"]))
        cells = [axis.cells for axis in axes]
        if kind == "conv":
            kernel = tuple(min(k, n) for k, n in zip(pair(st.integers(1, 5)), cells, strict=True))
            dilation = tuple(
                min(d, (n - 1) // (k - 1)) if k > 1 else d
                for d, k, n in zip(pair(st.integers(1, 3)), kernel, cells, strict=True)
            )
            # No more than the window's reach: else a cell may see nothing but padding, and its field be empty.
            padding = tuple(
                min(p, d * (k - 1)) for p, k, d in zip(pair(st.integers(0, 3)), kernel, dilation, strict=True)
            )
            stride, filters = pair(st.integers(1, 3)), draw(st.integers(1, 2))
            layers = [nn.Conv2d(channels, filters, kernel, stride, padding, dilation), nn.ReLU()]
            shown, probed, channels = shown + layers, probed + layers, filters
            for axis, *window in zip(axes, kernel, stride, padding, dilation, strict=True):
                axis.window(*window)
        elif kind == "pool":
            kernel = tuple(min(k, n) for k, n in zip(pair(st.integers(1, 3)), cells, strict=True))
            stride, ceil = pair(st.integers(1, 3)), draw(st.booleans())
            padding = tuple(min(p, k // 2) for p, k in zip(pair(st.integers(0, 1)), kernel, strict=True))
            shown.append(nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil))
            probed.append(nn.AvgPool2d(kernel, stride, padding, ceil_mode=ceil))
            for axis, *window in zip(axes, kernel, stride, padding, strict=True):
                axis.window(*window, ceil=ceil)
        else:
            kernel = draw(st.sampled_from([1, 3, 5]))
            stride = draw(st.integers(1, 2)) if kind == "residual" else 1
            body = nn.Conv2d(channels, channels, kernel, stride, kernel // 2)
            if kind == "residual":
                shortcut = nn.Conv2d(channels, channels, 1, stride) if stride > 1 else nn.Identity()
                layer = Net(lambda self, x: F.relu(self.body(x) + self.shortcut(x)), body=body, shortcut=shortcut)
            else:
                other = nn.Conv2d(channels, 1, 3, padding=1)
                layer = Net(lambda self, x: tc.cat([self.other(x), self.body(x)], 1), body=body, other=other)
                kernel, channels = max(kernel, 3), channels + 1
            shown, probed = [*shown, layer], [*probed, layer]
            for axis in axes:
                axis.window(kernel, stride, kernel // 2)
    tail = draw(st.sampled_from(["", "gap", "flatten", "linear"])) if tails else ""
    if tail:
        end = {"gap": [nn.AdaptiveAvgPool2d(1)], "flatten": [nn.Flatten()]}.get(tail)
        features = channels * axes[0].cells * axes[1].cells
        end = end or [nn.Flatten(), nn.Linear(features, 3), nn.ReLU(), nn.Linear(3, 2)]
        shown, probed = shown + end, probed + end
        for axis in axes:
            axis.window(axis.cells, 1, 0)
    return nn.Sequential(*shown), positive(nn.Sequential(*probed)), shape, axes


def agrees(span, seen, field, cell, pixels, axis):
    """Whether the field of a cell is what its gradient shows; where a part of it is padding, see `Axis`."""
    first = field.start + cell * field.jump
    if axis.close or (first >= 0 and first + field.size <= pixels):
        return span == seen
    return span[0] <= seen[0] and seen[1] <= span[1]


@settings(max_examples=2 * settings().max_examples)
@given(stack=stacks())
def test_fields_are_what_gradients_show(stack):
    model, probed, shape, axes = stack
    s = tc.summary(model, shape)
    last = s.layers[-1]
    cells = corners(last.output_shape) if len(last.output_shape) == 3 else [(0, 0)]
    for cell in cells:
        found = probe(probed, shape, cell)
        told = [field.span(at, n) for field, at, n in zip(last.fields, cell, shape[1:], strict=True)]
        if found is None:
            assert not all(axis.close for axis in axes) or any(a >= b for a, b in told)
            continue
        for span, seen, field, at, n, axis in zip(told, found, last.fields, cell, shape[1:], axes, strict=True):
            assert agrees(span, seen, field, at, n, axis), (cell, told, found)


def test_the_search_is_no_formality():
    """Stacks with strides, padding and several layers, mostly with exact edges, are what is drawn."""
    drawn = []

    @settings(max_examples=50, database=None)
    @given(stack=stacks(tails=False))
    def collect(stack):
        drawn.append(stack)

    collect()
    exact = [all(axis.close for axis in axes) for *_, axes in drawn]
    fields = {axis.size for *_, axes in drawn for axis in axes}
    assert sum(exact) > len(drawn) / 4
    assert len(fields) > 8
    assert max(fields) > 10


@pytest.mark.parametrize(("layer", "right", "wrong"), [("conv2", 14, 10), ("pool2", 16, 28)])
def test_the_probe_rejects_a_wrong_field(layer, right, wrong):
    """10 for conv2 (kernels added up, strides forgotten) and 28 for pool2 are told of LeNet; gradients know better."""
    layers = {
        "conv1": nn.Conv2d(1, 6, 5), "pool1": nn.AvgPool2d(2), "conv2": nn.Conv2d(6, 16, 5), "pool2": nn.AvgPool2d(2),
    }  # fmt: skip
    names = list(layers)[: list(layers).index(layer) + 1]
    model = positive(nn.Sequential({name: layers[name] for name in names}))
    row = tc.summary(model, (1, 28, 28))[layer]
    assert row.receptive_field == right
    claimed = row.fields[0]._replace(size=wrong)
    rejected = 0
    for cell in corners(row.output_shape):
        found = probe(model, (1, 28, 28), cell)
        for field, at, seen in zip(row.fields, cell, found, strict=True):
            assert agrees(field.span(at, 28), seen, field, at, 28, Axis(28))
            rejected += not agrees(claimed.span(at, 28), seen, claimed, at, 28, Axis(28))
    assert rejected >= 5  # all, but for the last cells, where the edge of the image cuts off what is too much


def test_taps_of_a_dilated_window_leave_holes_and_the_field_has_them_too():
    model = positive(nn.Sequential(nn.Conv2d(1, 1, 3, dilation=4)))
    x = tc.ones(1, 1, 12, 12, dtype=tc.float64, requires_grad=True)
    model(x)[0, 0, 1, 2].backward()
    assert np.flatnonzero(x.grad.numpy()[0, 0].any(1)).tolist() == [1, 5, 9]
    assert spans(model, (1, 12, 12), (1, 2)) == probe(model, (1, 12, 12), (1, 2)) == ((1, 10), (2, 11))


def test_a_cell_of_nothing_but_padding():
    model = positive(nn.Sequential(nn.Conv2d(1, 1, 1, padding=2)))
    assert probe(model, (1, 5, 5), (0, 0)) is None
    assert spans(model, (1, 5, 5), (0, 3)) == ((0, 0), (1, 2))
    first, past = spans(model, (1, 5, 5), (8, 3))[0]
    assert first == past


def test_padding_next_to_pixels_that_were_left_over():
    """Of 6 pixels a 3-window with stride 2 leaves the last over: who reads beyond its cells reads padding alone.

    A field does not know of that, and says so.
    """
    model = positive(nn.Sequential(nn.Conv2d(1, 1, 3, 2), nn.Conv2d(1, 1, 3, padding=1)))
    assert probe(model, (1, 6, 6), (1, 1)) == ((0, 5), (0, 5))
    assert spans(model, (1, 6, 6), (1, 1)) == ((0, 6), (0, 6))
    assert "left over" in Field.span.__doc__


CONV = nn.Conv2d(2, 2, 3)
SAME = nn.Conv2d(2, 2, 3, padding=1)

FUNCTIONS = {
    "every other": lambda self, x: self.conv(x)[:, :, ::2, ::2],
    "a crop": lambda self, x: self.conv(x)[:, :, 1:, 2:-1],
    "a crop with an ellipsis": lambda self, x: self.conv(x)[..., 2:],
    "one cell": lambda self, x: self.conv(x)[:, :, 3:4, 5:6],
    "some channels": lambda self, x: self.conv(x)[:, 1:],
    "halves": lambda self, x: sum(self.conv(x).chunk(2, 1)),
    "a rim on one side": lambda self, x: self.conv(F.pad(x, (2, 0, 0, 1))),
    "a rim taken off": lambda self, x: self.conv(F.pad(x, (-1, -2, 0, -3))),
    "a crop, then padding": lambda self, x: self.same(self.conv(x)),
    "rows for columns": lambda self, x: F.avg_pool2d(x.transpose(2, 3), (1, 4)),
    "reversed": lambda self, x: self.conv(x[:, :, ::-1]),
    "a residual by hand": lambda self, x: self.conv(x) + x[:, :, 1:-1, 1:-1],
    "a lopsided residual": lambda self, x: self.conv(x) + x[:, :, 2:, :-2],
    "two that are far apart": lambda self, x: self.conv(x)[:, :, :-3] + x[:, :, 5:, 2:],
    "branches of one jump": lambda self, x: tc.cat([self.conv(x)[:, :, ::2, ::2], x[:, :, :9:2, :11:2]], 1),
    "a sum over channels": lambda self, x: self.conv(x).sum(1, keepdim=True),
    "the largest of channels": lambda self, x: self.conv(x).amax(1, keepdim=True),
    "the mean of the columns": lambda self, x: self.conv(x).mean(2, keepdim=True),
    "whole": lambda self, x: self.conv(x).mean((2, 3)),
    "whole, kept": lambda self, x: self.conv(x).mean((2, 3), keepdim=True),
    "squeeze and excite": lambda self, x: self.conv(x) * self.conv(x).mean((2, 3), keepdim=True),
    "less its mean": lambda self, x: x + self.conv(x).mean((2, 3))[:, :, None, None],
    "pooled by a window, and spread": lambda self, x: x * F.avg_pool2d(x, x.shape[2:]),
    "pooled by a window of stride 1, and spread": lambda self, x: x * F.avg_pool2d(x, x.shape[2:], 1),
    "expanded": lambda self, x: F.avg_pool2d(x, x.shape[2:], 1).expand(1, 2, 4, 4),
    "against its first row": lambda self, x: x + x[:, :, :1],
    "laid out anew": lambda self, x: self.conv(x).reshape(1, 2, 11, 9),
    "through features last": lambda self, x: (self.conv(x).permute(0, 2, 3, 1) * 2).permute(0, 3, 1, 2),
    "added to in place": lambda self, x: self.conv(x).add_(x[:, :, 2:, 2:]),
}  # fmt: skip

WIDER = {
    "laid out anew",
    "through features last",
    "rows for columns",
    "the mean of the columns",
    "against its first row",
}
"""Where a field is told larger than it is: what is where has been forgotten, and it is all of the image."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_fields_of_functions(name):
    shape = (2, 11, 13)
    model = positive(Net(FUNCTIONS[name], conv=nn.Conv2d(2, 2, 3), same=SAME))
    s = tc.summary(model, shape)
    last = s.layers[-1]
    assert last.fields is not None
    for cell in corners(last.output_shape) if len(last.output_shape) == 3 else [(0, 0)]:
        found = probe(model, shape, cell)
        told = tuple(field.span(at, n) for field, at, n in zip(last.fields, cell, shape[1:], strict=True))
        if name in WIDER:
            assert all(a <= c and d <= b for (a, b), (c, d) in zip(told, found, strict=True))
        else:
            assert told == found, cell


@pytest.mark.parametrize(("n", "out"), [(n, out) for n in (6, 7, 10, 12) for out in (1, 2, 3, 4, 5, 6, 7, 10)])
def test_fields_of_adaptive_pooling(n, out):
    """Exact where the intervals are alike and evenly spaced; else no cell sees more than is told."""
    model = positive(nn.Sequential(nn.AdaptiveAvgPool2d(out)))
    starts = [i * n // out for i in range(out)]
    ends = [-(-(i + 1) * n // out) for i in range(out)]
    even = len({b - a for a, b in pairwise(starts)}) < 2 and len({b - a for a, b in zip(starts, ends, strict=True)}) < 2
    for cell in range(out):
        (first, past), _ = spans(model, (1, n, n), (cell, cell))
        (seen, past_seen), _ = probe(model, (1, n, n), (cell, cell))
        assert first <= seen
        assert past_seen <= past
        if even:
            assert (first, past) == (seen, past_seen)


def test_statistics_of_the_batch_see_all_of_the_image():
    kept = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))
    taken = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2, track_running_stats=False))
    assert tc.summary(kept, (2, 8, 8))["1"].receptive_field == 3
    assert tc.summary(taken, (2, 8, 8))["1"].receptive_field == 8


def test_field_arithmetic():
    field = Field().window(5).window(2, 2).window(5).window(2, 2)
    assert field == Field(size=16, jump=4, start=0)
    assert [field.span(cell, 28) for cell in (0, 1, 3)] == [(0, 16), (4, 20), (12, 28)]
    assert Field().window(3, 2, 1, 2) == Field(5, 2, -1)
    assert Field(5, 2, -2).span(0, 28) == (0, 3)
    assert Field(5, 2, -2).span(14, 28) == (26, 28)
    assert Field(5, 2, -2).whole(4) == Field(11, 0, -2)
    assert Field(5, 2, 0).part(3, 2) == Field(5, 4, 6)


def test_rows_and_columns_that_differ_are_pairs():
    s = tc.summary(nn.Sequential(nn.Conv2d(1, 2, (3, 5), (1, 2), (0, 1))), (1, 9, 11))
    row = s["0"]
    assert (row.receptive_field, row.jump, row.start) == ((3, 5), (1, 2), (0, -1))
    assert row.output_shape == (2, 7, 5)


def test_what_does_not_come_from_the_image_has_no_field():
    s = tc.summary(Net(lambda self, x: self.conv(x) + self.bias * 2, conv=CONV, bias=parameter(2, 1, 1)), (2, 9, 9))
    assert [(row.name, row.receptive_field) for row in s.layers] == [("conv", 3), ("mul", None), ("add", 3)]
    assert [row.receptive_field for row in tc.summary(nn.Sequential(nn.Linear(4, 2)), (4,)).layers] == [None]


# --- models of every make -------------------------------------------------------------------------------------------


def test_a_residual_net():
    s = tc.summary(models.resnet(), (1, 28, 28))
    by = rows(s)
    assert by["3.body.0"].receptive_field == 5
    assert [by[name].receptive_field for name in ("3.add", "4.add", "5.add")] == [7, 13, 25]
    assert [by[name].jump for name in ("3.add", "4.add", "5.add")] == [1, 2, 4]
    assert by["4.shortcut"].receptive_field == 7  # of what is below, with a window of one cell
    assert by["4.shortcut"].params == 16 * 32
    assert "3.shortcut" in by  # an Identity: a layer that was called
    assert sum(row.params for row in s.layers) == s.total_params == 77_562


def test_a_layer_that_is_called_twice():
    conv = nn.Conv2d(2, 2, 3, padding=1)
    s = tc.summary(nn.Sequential(conv, nn.ReLU(), conv, nn.ReLU()), (2, 8, 8))
    assert [(row.name, row.params, row.macs, row.receptive_field) for row in s.layers] == [
        ("0", 38, 2304, 3), ("1", 0, 0, 3), ("0#2", 0, 2304, 5), ("3", 0, 0, 5),
    ]  # fmt: skip
    assert s.total_params == 38
    assert s.total_macs == 4608
    assert s["0#2"].start == -2
    assert s.warnings == ()


def test_a_parameter_that_two_layers_share():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    s = tc.summary(nn.Sequential(first, second), (4,))
    assert [(row.name, row.params, row.macs) for row in s.layers] == [("0", 20, 16), ("1", 4, 16)]
    assert (s.total_params, s.warnings) == (24, ())


def test_a_buffer_that_two_layers_share():
    first, second = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    second.running_mean = first.running_mean
    assert tc.summary(nn.Sequential(first, second), (2, 4, 4)).total_params == 8


def test_a_weight_that_is_used_again_by_hand():
    s = tc.summary(Net(lambda self, x: F.linear(self.fc(x), self.fc.weight.T), fc=nn.Linear(4, 3)), (4,))
    assert [(row.name, row.params, row.macs) for row in s.layers] == [
        ("fc", 15, 12), ("permute", 0, 0), ("linear", 0, 12),
    ]  # fmt: skip
    assert s.total_params == 15


def test_functions_and_parameters_of_the_model_itself():
    def forward(self, x):
        x = F.max_pool2d(F.relu(F.conv2d(x, self.kernel, padding=1)), 2)
        x = x * self.scale + self.shift
        return self.fc(x.view(x.size(0), -1))

    net = Net(forward, kernel=parameter(4, 1, 3, 3), scale=parameter(4, 1, 1), shift=parameter(4, 1, 1))
    net.fc = nn.Linear(4 * 16, 3)
    s = tc.summary(net, (1, 8, 8))
    assert [(row.name, row.kind, row.params, row.macs, row.receptive_field) for row in s.layers] == [
        ("conv2d", "conv2d", 36, 4 * 9 * 64, 3),
        ("relu", "relu", 0, 0, 3),
        ("max_pool2d", "max_pool2d", 0, 0, 4),
        ("mul", "mul", 4, 0, 4),
        ("add", "add", 4, 0, 4),
        ("reshape", "reshape", 0, 0, 10),  # with the rim of padding
        ("fc", "Linear", 195, 192, 10),
    ]
    assert s.total_params == sum(row.params for row in s.layers)


def test_a_layer_of_its_own_is_one_row():
    layer = Net(lambda self, x: F.relu(F.conv2d(x, self.kernel)) + 1, kernel=parameter(4, 1, 3, 3))
    s = tc.summary(nn.Sequential(layer, nn.Flatten()), (1, 6, 6))
    assert [(row.name, row.kind, row.params, row.macs) for row in s.layers] == [
        ("0", "Net", 36, 4 * 9 * 16), ("1", "Flatten", 0, 0),
    ]  # fmt: skip
    assert s["0"].column_bytes == 4 * 9 * 16


def test_nested_sequentials_and_modules_made_on_the_way():
    net = nn.Sequential(nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), nn.MaxPool2d(2)), nn.Flatten())
    assert [row.name for row in tc.summary(net, (1, 8, 8)).layers] == ["0.0.0", "0.0.1", "0.1", "1"]
    on_the_way = Net(lambda self, x: nn.ReLU()(self.conv(x)), conv=CONV)
    assert [(row.name, row.kind) for row in tc.summary(on_the_way, (2, 8, 8)).layers] == [
        ("conv", "Conv2d"), ("ReLU", "ReLU"),
    ]  # fmt: skip
    held = Net(lambda self, x: self.layers[1](self.layers[0](x)), layers=nn.ModuleList([CONV, CONV]))
    assert [row.name for row in tc.summary(held, (2, 8, 8)).layers] == ["layers.0", "layers.0#2"]


def test_the_model_may_be_one_layer_or_none():
    assert [(r.name, r.kind) for r in tc.summary(nn.Conv2d(2, 3, 3), (2, 5, 5)).layers] == [("conv2d", "Conv2d")]
    assert [(r.name, r.params) for r in tc.summary(nn.Linear(3, 4), (3,)).layers] == [("linear", 16)]
    for nothing in (nn.Sequential(), nn.Identity()):
        (row,) = tc.summary(nothing, (2, 5, 5)).layers
        assert (row.output_shape, row.receptive_field, row.macs, row.share) == ((2, 5, 5), 1, 0, 0.0)


def test_data_parallel_is_looked_through():
    plain = tc.summary(models.lenet5(), (1, 28, 28))
    assert tc.summary(nn.DataParallel(models.lenet5()), (1, 28, 28)) == plain
    inside = tc.summary(nn.Sequential(nn.DataParallel(CONV), nn.ReLU()), (2, 8, 8))
    assert [(row.kind, row.params) for row in inside.layers] == [("Conv2d", 38), ("ReLU", 0)]


def test_features_and_rows_of_them():
    net = nn.Sequential(nn.Linear(10, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 2))
    s = tc.summary(net, (10,))
    assert [(row.output_shape, row.params, row.macs) for row in s.layers] == [
        ((5,), 55, 50), ((5,), 10, 0), ((5,), 0, 0), ((5,), 0, 0), ((2,), 12, 10),
    ]  # fmt: skip
    tokens = tc.summary(nn.Sequential(nn.Linear(10, 5), nn.LayerNorm(5)), (7, 10))
    assert [(row.output_shape, row.params, row.macs) for row in tokens.layers] == [((7, 5), 55, 350), ((7, 5), 10, 0)]


def test_attention():
    def forward(self, x):
        return F.softmax(self.q(x) @ self.k(x).transpose(1, 2), -1) @ self.v(x)

    s = tc.summary(Net(forward, q=nn.Linear(8, 8), k=nn.Linear(8, 8), v=nn.Linear(8, 8)), (5, 8))
    assert s["matmul"].macs == s["matmul#2"].macs == 5 * 5 * 8
    assert s.total_macs == 3 * 5 * 64 + 2 * 200


def test_products_of_many_matrices():
    net = Net(lambda self, x: x.reshape(5, 1, 2, 3) @ self.w, w=parameter(1, 4, 3, 2))
    assert tc.summary(net, (30,)).total_macs == 5 * 4 * 2 * 3 * 2


@pytest.mark.parametrize(
    "returned",
    [
        lambda x: (x * 2, x), lambda x: ("state", x * 2), lambda x: ((x, x), x * 2), lambda x: [x * 2],
        lambda x: {"y": x * 2}, lambda x: (), lambda x: None, lambda x: 3,
    ],
)  # fmt: skip
def test_a_layer_may_return_anything(returned):
    """Anything but a tensor has no shape to show; it must not end a summary."""

    def forward(self, x):
        self.layer(x)
        return self.conv(x)

    net = Net(forward, layer=Net(lambda self, x: returned(x)), conv=CONV)
    s = tc.summary(net, (2, 8, 8))
    assert (s["conv"].macs, s["conv"].receptive_field, s["conv"].output_shape) == (2 * 2 * 9 * 36, 3, (2, 6, 6))


@pytest.mark.parametrize("returned", [lambda y: [y], lambda y: {"y": y}, lambda y: (None, y), lambda y: (y, None)])
def test_what_a_layer_costs_does_not_depend_on_how_it_returns_it(returned):
    layer = Net(lambda self, x: returned(F.conv2d(x, self.kernel)), kernel=parameter(4, 2, 3, 3))
    s = tc.summary(Net(lambda self, x: (self.layer(x), self.conv(x))[1], layer=layer, conv=CONV), (2, 8, 8))
    assert [(row.name, row.params, row.macs) for row in s.layers] == [
        ("layer", 72, 72 * 36), ("conv", 38, 36 * 36),
    ]  # fmt: skip
    assert s.warnings == ()


@pytest.mark.parametrize(
    "result", [lambda y: (y, y.mean()), lambda y: {"logits": y}, lambda y: [y, None], lambda y: None]
)
def test_a_model_may_return_anything(result):
    s = tc.summary(Net(lambda self, x: result(self.conv(x)), conv=CONV), (2, 8, 8))
    assert s["conv"].output_shape == (2, 6, 6)


def test_a_model_of_several_inputs():
    net = Net(lambda self, x, y, k: self.conv(x) * k + self.other(y), conv=CONV, other=nn.Conv2d(3, 2, 1))
    other = tc.zeros(1, 3, 6, 6, device="meta")
    s = tc.summary(net, (2, 8, 8), other, 2)
    assert [row.name for row in s.layers] == ["conv", "mul", "other", "add"]
    assert s["add"].receptive_field == 3  # of the first input; the other one is not that image
    assert s["other"].receptive_field is None
    # An example that is there serves for its shape.
    assert figures(tc.summary(net, (2, 8, 8), tc.zeros(1, 3, 6, 6), 2)) == figures(s)
    assert net(tc.zeros(1, 2, 8, 8), tc.zeros(1, 3, 6, 6), 2).shape == (1, 2, 6, 6)


MAKES = {
    "zeros": lambda self, x: self.conv(x) + tc.zeros(1, 2, 1, 1),
    "arange": lambda self, x: self.conv(x) + tc.arange(6, dtype=tc.float32),
    "noise": lambda self, x: self.conv(x) + tc.randn(1, 2, 6, 6),
    "numbers": lambda self, x: self.conv(x) * tc.tensor([0.5, 2.0])[:, None, None],
    "zeros alike": lambda self, x: self.conv(x) + tc.zeros_like(x)[:, :, 2:, 2:],
    "a NumPy array": lambda self, x: self.conv(x) * np.ones((2, 1, 1), np.float32),
    "a tensor it holds": lambda self, x: self.conv(x - self.mean),
    "an index it holds": lambda self, x: self.conv(x[:, self.order]),
    "a list of channels": lambda self, x: self.conv(x)[:, [1, 0]],
    "a mask": lambda self, x: tc.where(x > 0, x, 0.0) + x.clamp(0, 1),
    "a write": lambda self, x: self.conv(x).fill_(1.0),
}


@pytest.mark.parametrize("name", MAKES)
def test_a_forward_that_makes_tensors(name):
    """What runs on the CPU has a summary: also with constants that are no buffers."""
    net = Net(MAKES[name], conv=nn.Conv2d(2, 2, 3), mean=tc.ones(2, 1, 1), order=tc.tensor([1, 0]))
    expected = net(tc.zeros(1, 2, 8, 8)).shape[1:]
    assert tc.summary(net, (2, 8, 8)).layers[-1].output_shape == expected


METHODS = {
    "the largest of channels": lambda self, x: self.conv(x).max(1)[0],
    "the smallest of columns": lambda self, x: self.conv(x).min(dim=3).values,
    "a class": lambda self, x: self.conv(x).flatten(1).argmax(1).float(),
    "contiguous": lambda self, x: self.conv(x).permute(0, 2, 3, 1).contiguous(),
    "one row of features": lambda self, x: F.linear(x.reshape(-1), tc.ones_like(x).reshape(1, -1)),
    "a pixel shuffle": lambda self, x: x.reshape(1, 2, 1, 2, 4, 2, 4).permute(0, 1, 2, 4, 3, 5, 6).reshape(1, 4, 8, 4),
    "detached": lambda self, x: self.conv(x).detach() * 2,
    "amax": lambda self, x: self.conv(x).amax((2, 3)),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_forward_of_methods(name):
    net = Net(METHODS[name], conv=nn.Conv2d(2, 2, 3))
    expected = net(tc.zeros(1, 2, 8, 8)).shape[1:]
    assert tc.summary(net, (2, 8, 8)).layers[-1].output_shape == expected


def test_a_forward_that_takes_gradients():
    def forward(self, x):
        with tc.enable_grad():
            x = x.detach().requires_grad_()
            (force,) = tc.grad(self.conv(x).sum(), x)
        return force

    net = Net(forward, conv=nn.Conv2d(2, 2, 3))
    assert tc.summary(net, (2, 8, 8))["conv"].macs == 36 * 36


def test_a_forward_that_asks_for_the_parameters():
    net = Net(lambda self, x: self.conv(x) * sum((p**2).sum() for p in self.parameters()), conv=nn.Conv2d(2, 2, 3))
    s = tc.summary(net, (2, 8, 8))
    assert s["mul"].receptive_field == 3
    assert (s.total_params, s.warnings) == (38, ())


def test_a_summary_within_a_summary():
    inner = []

    def forward(self, x):
        y = self.conv(x)
        inner.append(tc.summary(self.conv, x.shape[1:]).total_macs)
        return y + 1

    s = tc.summary(Net(forward, conv=CONV), (2, 8, 8))
    assert inner == [s.total_macs] * 2  # forward runs for one image, then for two
    assert [row.name for row in s.layers] == ["conv", "add"]


# --- what looks wrong is warned of ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        (
            "vgg16",
            "33 holds 102,764,544 of the 138,357,544 parameters, for it reads all of 512x7x7 = 25,088 features: "
            "nn.AdaptiveAvgPool2d(1) before the flattening would leave it 512 features, 2,101,248 parameters, and "
            "images of any size",
        ),
        (
            "alexnet",
            "16 holds 37,752,832 of the 61,100,840 parameters, for it reads all of 256x6x6 = 9,216 features: "
            "nn.AdaptiveAvgPool2d(1) before the flattening would leave it 256 features, 1,052,672 parameters, and "
            "images of any size",
        ),
    ],
)
def test_a_huge_head(name, warning):
    s = tc.summary(on_meta(name), (3, 224, 224))
    assert s.warnings == (warning,)
    assert warning in str(s)


@pytest.mark.parametrize(
    "net",
    [
        lambda: nn.Sequential(nn.Conv2d(3, 2048, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 10_000)),
        lambda: Net(
            lambda self, x: self.fc(self.conv(x).mean((2, 3))), conv=nn.Conv2d(3, 2048, 1), fc=nn.Linear(2048, 10_000)
        ),
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(200, 10)),
    ],
    ids=["after a mean", "after a mean by hand", "a small one"],
)  # fmt: skip
def test_a_head_that_reads_means_is_left_in_peace(net):
    with tc.device("meta"):
        model = net()
    assert tc.summary(model, (3, 7, 7)).warnings == ()


def test_a_head_that_reads_the_image_itself():
    with tc.device("meta"):
        model = nn.Sequential(nn.Flatten(), nn.Linear(147, 100_000))
    assert tc.summary(model, (3, 7, 7)).warnings == (
        "1 holds 14,800,000 of the 14,800,000 parameters, for it reads all of 3x7x7 = 147 features: convolutions and "
        "poolings before it would leave it less to read",
    )


def test_a_layer_after_such_a_head_is_not_warned_of():
    with tc.device("meta"):
        model = nn.Sequential(
            nn.Conv2d(1, 128, 3), nn.Flatten(), nn.Linear(128 * 26 * 26, 200), nn.ReLU(), nn.Linear(200, 10)
        )
    s = tc.summary(model, (1, 28, 28))
    assert len(s.warnings) == 1
    assert s.warnings[0].startswith("2 holds 17,305,800 of the 17,309,090 parameters")
    assert "25,800 parameters" in s.warnings[0]


def test_parameters_that_nothing_uses():
    net = Net(lambda self, x: self.conv(x), conv=CONV, forgotten=nn.Conv2d(2, 2, 3))
    s = tc.summary(net, (2, 8, 8))
    assert (s.total_params, sum(row.params for row in s.layers)) == (76, 38)
    assert s.warnings == ("38 parameters are in no layer that ran",)
    assert s.warnings[0] in s.to_markdown()
    assert s.warnings[0] in s.to_html()


def test_a_parameter_that_is_handed_to_a_layer_is_used():
    net = Net(lambda self, x: self.scaled(self.conv(x), self.scale), scale=parameter(2, 1, 1), conv=CONV)
    net.scaled = Net(lambda self, x, by: x * by)
    s = tc.summary(net, (2, 8, 8))
    assert s.total_params == 40
    assert s.warnings == ()


# --- images that meet -----------------------------------------------------------------------------------------------

WIDE, ROW = nn.Conv2d(1, 16, 5), nn.Linear(320, 10)


def pooled(x):
    return F.max_pool2d(WIDE(x), 2)  # (N, 16, 10, 10): 1,600 numbers of an image


def centred(x):
    return x - x.mean(0)


MEETING = {  # forward, and what is said of it
    "view(-1, n)": (lambda self, x: ROW(pooled(x).view(-1, 320)), "makes (5, 320) of one image, (1, 16, 10, 10), and"),
    "reshape(-1, n)": (lambda self, x: pooled(x).reshape(-1, 16), "makes (100, 16) of one image, (1, 16, 10, 10), and"),
    "flatten(0)": (lambda self, x: F.linear(pooled(x).flatten(0), tc.zeros(10, 1600)), "makes (1600,) of one image, "),
    "flatten(0, 1)": (lambda self, x: pooled(x).flatten(0, 1), "makes (16, 10, 10) of one image, (1, 16, 10, 10), and"),
    "view(1, -1)": (lambda self, x: F.linear(pooled(x).view(1, -1), tc.zeros(3, 1600)), "and (1, 3200) of two; axis 0"),
    "squeeze": (lambda self, x: pooled(x).squeeze(), "makes (16, 10, 10) of one image, (1, 16, 10, 10), and (2, 16,"),
    "another order": (lambda self, x: pooled(x).transpose(0, 1), "makes (16, 1, 10, 10) of one image, (1, 16, 10, 10)"),
    "channels in front": (
        lambda self, x: pooled(x).transpose(0, 1).reshape(len(x), -1),
        "from (16, 2, 10, 10) to (2, 1600) puts numbers of both images into each row",
    ),
    "mean(0)": (lambda self, x: pooled(x).mean(0), "makes one (16, 10, 10) of all images, so that what an image gives"),
    "mean(0, keepdim)": (lambda self, x: pooled(x).mean(0, keepdim=True), "makes one (1, 16, 10, 10) of all images"),
    "mean()": (lambda self, x: pooled(x).mean(), "makes one () of all images, so that what an image gives depends on"),
    "centred": (lambda self, x: centred(pooled(x)), "makes one (16, 10, 10) of all images, so that what an image"),
    "the first": (lambda self, x: pooled(x)[0], "makes one (16, 10, 10) of all images, so that what an image gives"),
    "one of one": (lambda self, x: pooled(x)[:1].flatten(1), "makes one (1, 16, 10, 10) of all images, so that what"),
}  # fmt: skip


@pytest.mark.parametrize("name", MEETING)
def test_images_that_meet_are_warned_of_with_the_line(name):
    forward, said = MEETING[name]
    (warning,) = tc.summary(Net(forward), (1, 24, 24)).warnings
    assert said in warning
    assert "(test_inspect_summary.py:" in warning


def test_the_whole_text_about_images_that_meet():
    layers = [nn.Conv2d(1, 16, 5), nn.Flatten(0, 1), nn.ReLU()]
    assert tc.summary(nn.Sequential(*layers), (1, 6, 6)).warnings == (
        "reshape in layer '1' makes (16, 2, 2) of one image, (1, 16, 2, 2), and (32, 2, 2) of two; axis 0 should be "
        "the batch: x.flatten(1) makes one row of each image",
    )


def one_image(self, x):
    if len(x) > 1:
        raise RuntimeError("one image, please")
    return x


def test_a_forward_that_takes_one_image_only():
    assert tc.summary(Net(one_image), (1, 8, 8)).warnings == (
        "forward takes one image, but not a batch of two: one image, please",
    )
    said = tc.summary(Net(lambda self, x: x + tc.zeros(1, 2).reshape(len(x), 2, 1, 1)), (1, 8, 8)).warnings
    assert said[0].startswith("forward takes one image, but not a batch of two: reshape: ")


APART = {
    "folded and unfolded": lambda self, x: WIDE(x).reshape(-1, 20).relu().reshape(len(x), -1),
    "batch second and back": lambda self, x: WIDE(x).transpose(0, 1).relu().transpose(0, 1).flatten(1),
    "batch last and back": lambda self, x: WIDE(x).permute(1, 2, 3, 0).exp().permute(3, 0, 1, 2).flatten(1),
    "a mean that is only looked at": lambda self, x: (pooled(x).mean(), pooled(x))[1],
    "channels": lambda self, x: WIDE(x).mean(1),
    "one to all": lambda self, x: WIDE(x) @ WIDE(x).transpose(2, 3),
    "size of the batch": lambda self, x: pooled(x).view(x.size(0), -1),
}


@pytest.mark.parametrize("name", APART)
def test_images_that_stay_apart_are_not(name):
    assert tc.summary(Net(APART[name]), (1, 24, 24)).warnings == ()


def test_an_example_for_a_batch_of_one_is_no_reason_to_warn():
    net = Net(lambda self, x, y: tc.cat([x.flatten(1), y], 1))
    assert tc.summary(net, (1, 8, 8), tc.zeros(1, 3)).warnings == ()


# --- as text, and as data -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lenet():
    return tc.summary(models.lenet5(), (1, 28, 28))


def test_to_dict_is_plain(lenet):
    found = json.loads(lenet.to_json())
    assert found == lenet.to_dict() == json.loads(json.dumps(lenet.to_dict()))
    assert set(found) == {
        "model", "input_shape", "layers", "total_params", "total_macs", "total_flops", "activation_bytes",
        "column_bytes", "warnings",
    }  # fmt: skip
    assert found["input_shape"] == [1, 28, 28]
    assert found["layers"][0] == {
        "name": "conv1", "kind": "Conv2d", "output_shape": [6, 24, 24], "params": 156, "macs": 86_400,
        "flops": 172_800, "receptive_field": 5, "jump": 1, "start": 0, "activation_bytes": 13_824,
        "column_bytes": 57_600, "share": 86_400 / 281_640,
    }  # fmt: skip


@pytest.mark.parametrize("shape", [[1, 28, 28], np.array([1, 28, 28]), np.zeros((1, 28, 28)).shape, iter((1, 28, 28))])
def test_sizes_of_any_kind_of_sequence(lenet, shape):
    s = tc.summary(models.lenet5(), shape)
    assert s == lenet
    assert s.to_json() == lenet.to_json()


def test_pairs_and_warnings_in_json():
    net = Net(lambda self, x: self.conv(x), conv=nn.Conv2d(1, 2, (3, 5)), other=CONV)
    found = json.loads(tc.summary(net, (1, 9, 11)).to_json())
    assert found["layers"][0]["receptive_field"] == [3, 5]
    assert found["warnings"] == ["38 parameters are in no layer that ran"]
    rows = json.loads(tc.summary(nn.Linear(3, 2), (3,)).to_json())["layers"]
    assert rows[0]["receptive_field"] is None


ABOUT = (
    "LeNet5 on one input of 1x28x28. FLOPs: 2 for each MAC. field: the pixels that a cell depends on; jump: the pixels "
    "from one field to the next; start: the first pixel of the first field."
)


def test_str(lenet):
    lines = str(lenet).splitlines()
    assert lines[0].split() == [
        "layer", "kind", "output", "params", "MACs", "FLOPs", "share", "field", "jump", "start", "activations",
        "columns",
    ]  # fmt: skip
    assert set(lines[1]) == set(lines[-3]) == {"-"}
    assert lines[2].split() == [
        "conv1", "Conv2d", "6x24x24", "156", "86,400", "172,800", "30.7%", "5", "1", "0", "13.5", "KiB", "56.2", "KiB",
    ]  # fmt: skip
    assert lines[-2].split()[:4] == ["total", "44,426", "281,640", "563,280"]
    assert lines[-1] == ABOUT
    assert repr(lenet) == str(lenet)
    assert all(line == line.rstrip() for line in lines)


def test_markdown(lenet):
    text = lenet.to_markdown()
    table, about = text.split("\n\n")
    lines = table.splitlines()
    assert len(lines) == 2 + len(LENET) + 1
    assert len({line.count("|") for line in lines}) == 1
    assert lines[1].count("---:") == 9
    assert lines[2].startswith("| conv1 | Conv2d | 6x24x24 | 156 | 86,400 | 172,800 | 30.7% | 5 | 1 | 0 |")
    assert lines[-1].startswith("| **total** |")
    assert "****" not in text
    assert about == ABOUT


def test_html(lenet):
    from xml.etree import ElementTree

    page = ElementTree.fromstring(f"<page>{lenet.to_html()}</page>")
    assert len(page.findall("div/table/tbody/tr")) == len(LENET)
    assert [cell.text for cell in page.findall("div/table/tbody/tr")[0]][:4] == ["conv1", "Conv2d", "6x24x24", "156"]
    assert page.find("div/p").text == ABOUT
    assert lenet._repr_html_() == lenet.to_html()
    net = Net(lambda self, x: self["<b>"](x))
    object.__setattr__(net, "function", lambda self, x: getattr(self, "<b>&")(x))
    net.add_module("<b>&", CONV)
    escaped = tc.summary(net, (2, 5, 5)).to_html()
    assert "&lt;b&gt;&amp;" in escaped
    assert "<b>" not in escaped


@pytest.mark.parametrize("width", [200, 100, 70, 40])
def test_rich(lenet, width):
    from rich.console import Console

    console = Console(width=width, record=True, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(lenet)
    text = captured.get()
    assert max(map(len, text.splitlines())) <= width
    for always in ("conv1", "44,426", "281,640") if width > 40 else ("total",):
        assert always in text
    assert ("in a wider terminal also" in " ".join(text.split())) == (width < 120)
    if width == 200:
        assert "172,800" in text


def test_rich_takes_no_markup_from_names():
    from rich.console import Console

    net = Net(lambda self, x: getattr(self, "[red]x")(x))
    net.add_module("[red]x", CONV)
    console = Console(width=150, color_system=None)
    with console.capture() as captured:
        console.print(tc.summary(net, (2, 5, 5)))
    assert "[red]x" in captured.get()


def test_a_table_of_nothing_much():
    s = tc.summary(nn.Flatten(), (2, 3, 3))
    assert "at most" not in str(s)  # of no column at all
    assert tc.summary(nn.Identity(), ()).to_dict()["layers"][0]["output_shape"] == []
    assert "scalar" in str(tc.summary(nn.Identity(), ()))


def test_rows_by_name(lenet):
    assert lenet["pool#2"].receptive_field == 16
    with pytest.raises(KeyError) as error:
        lenet["pool2"]
    assert "no layer 'pool2'; there are conv1, relu, pool, conv2" in str(error.value)


# --- the model is left as it was ------------------------------------------------------------------------------------


def state_of(model):
    return {name: (id(t), t.numpy().copy(), t.requires_grad) for name, t in model.named_parameters()} | {
        name: (id(t), t.numpy().copy(), False) for name, t in model.named_buffers()
    }


def test_the_model_is_left_as_it_was():
    tc.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(72, 3))
    model(tc.randn(4, 1, 8, 8)).sum().backward()
    model[1].eval()
    flags = [module.training for module in model.modules()]
    gradients = [(p.grad, p.grad.numpy().copy()) for p in model.parameters()]
    before, random = state_of(model), tc.get_rng_state()
    s = tc.summary(model, (1, 8, 8))
    assert s.layers[-1].output_shape == (3,)
    assert [module.training for module in model.modules()] == flags == [True, True, False, True, True, True]
    assert tc.get_rng_state() == random
    after = state_of(model)
    assert list(after) == list(before)
    for name, (identity, values, needs) in before.items():
        assert (after[name][0], after[name][2]) == (identity, needs)
        np.testing.assert_array_equal(after[name][1], values)
    for p, (gradient, values) in zip(model.parameters(), gradients, strict=True):
        assert p.grad is gradient
        np.testing.assert_array_equal(gradient.numpy(), values)
    assert tc.is_grad_enabled()
    model.train()
    model(tc.randn(4, 1, 8, 8)).sum().backward()


def test_it_is_also_where_forward_fails():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(5, 3))
    before = state_of(model)
    with pytest.raises(tc.ShapeError):
        tc.summary(model, (1, 8, 8))
    assert all(module.training for module in model.modules())
    assert {name: entry[0] for name, entry in state_of(model).items()} == {n: e[0] for n, e in before.items()}
    assert {p.device for p in model.parameters()} == {"cpu"}
    assert model[:2](tc.zeros(1, 1, 8, 8)).shape == (1, 72)


def test_buffers_that_a_forward_writes_to():
    def forward(self, x):
        self.calls += 1
        self.calls.add_(1)
        return self.conv(x)

    net = Net(forward, conv=CONV)
    net.register_buffer("calls", tc.zeros((), dtype=tc.int64))
    tc.summary(net, (2, 8, 8))
    assert net.calls.item() == 0


def test_other_modes_stay_on():
    model = models.lenet5()
    plain = tc.summary(model, (1, 28, 28))
    with tc.detect_anomaly():
        assert tc.summary(model, (1, 28, 28)) == plain
        with pytest.raises(tc.AnomalyError):
            (tc.zeros(1, requires_grad=True)).log()
    for variant in ("loop", "readable", "native"):
        with tc.using(variant):
            assert tc.summary(model, (1, 28, 28)) == plain
    with tc.device("meta"):
        assert tc.summary(model, (1, 28, 28)) == plain
        assert tc.zeros(1).device == "meta"
    with tc.profile():
        assert tc.summary(model, (1, 28, 28)) == plain


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_another_dtype(lenet, dtype):
    s = tc.summary(models.lenet5().to(getattr(tc, dtype)), (1, 28, 28))
    assert figures(s) == figures(lenet)
    assert s.activation_bytes == lenet.activation_bytes * {"float64": 2, "float16": 0.5}[dtype]
    assert s.column_bytes == lenet.column_bytes * {"float64": 2, "float16": 0.5}[dtype]


def test_weights_make_no_difference(lenet):
    model = models.lenet5()
    with tc.no_grad():
        model.conv1.weight.fill_(float("nan"))
    assert tc.summary(model, (1, 28, 28)) == lenet == tc.summary(on_meta("lenet5"), (1, 28, 28))


# --- what cannot be summed up ---------------------------------------------------------------------------------------


def test_a_batch_is_not_an_image():
    assert message(tc.ShapeError, tc.summary, models.lenet5(), (64, 1, 28, 28)) == (
        "summary: input_shape must be the shape of one image, (C, H, W), each at least 1, got (64, 1, 28, 28): "
        "without the batch it is (1, 28, 28)"
    )
    assert message(tc.ShapeError, tc.summary, models.lenet5(), (1, 0, 28)) == (
        "summary: input_shape must be the shape of one image, (C, H, W), each at least 1, got (1, 0, 28)"
    )


@pytest.mark.parametrize(
    "shape",
    [28, None, (1, 28.5, 28), "1x28x28", (1, "28", 28), tc.zeros(1, 28, 28), np.zeros((1, 28, 28)), ((1, 28, 28),)],
    ids=["a number", "nothing", "halves", "text", "a text in it", "a tensor", "an array", "a tuple in it"],
)
def test_anything_but_a_shape(shape):
    """Whoever passes the image itself is told to pass its shape."""
    assert message(tc.ShapeError, tc.summary, models.lenet5(), shape).startswith(
        "summary: input_shape must be the shape of one image, (C, H, W), got "
    )


def test_no_model():
    for wrong in (models.LeNet5, "lenet5", None, lambda x: x):
        with pytest.raises(TypeError, match="summary: expected a Module"):
            tc.summary(wrong, (1, 28, 28))


def test_an_input_that_is_too_small_names_the_layer():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 5)))
    assert message(tc.ShapeError, tc.summary, net, (1, 8, 8)) == (
        "conv2d: kernel 5x5 is larger than the padded input 3x3 (input 3x3, padding 0, 0): too many poolings before "
        "it, an input too small, or padding forgotten?\n"
        "  in layer '2.1': Conv2d(4, 4, kernel_size=(5, 5), stride=(1, 1))"
    )


def test_an_input_of_another_size_names_the_layer():
    assert message(tc.ShapeError, tc.summary, models.lenet5(), (1, 32, 32)).endswith(
        "for this one it is nn.Linear(400, ...)\n  in layer 'fc1': Linear(in_features=256, out_features=120, bias=True)"
    )


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.sum().item() > 0, lambda x: (x > 0).all(), lambda x: float(x.max()) > 0,
        lambda x: x.sum() > 0, lambda x: x.numpy().any(), lambda x: x[x > 0].numel(),
    ],
)  # fmt: skip
def test_a_forward_that_asks_for_values(ask):
    net = nn.Sequential(nn.Conv2d(2, 2, 3), Net(lambda self, x: x if ask(x) else -x))
    text = message(tc.DeviceError, tc.summary, net, (2, 8, 8))
    assert "has a shape and no values" in text
    assert text.endswith("in layer '1': Net()")
    assert [m.training for m in net.modules()] == [True] * 3


def test_errors_of_the_forward_come_through():
    with pytest.raises(ZeroDivisionError):
        tc.summary(Net(lambda self, x: 1 / 0), (1, 2, 2))
    with pytest.raises(TypeError, match="takes 2 positional arguments but 3"):
        tc.summary(models.lenet5(), (1, 28, 28), 1)
    assert tc.zeros(1, requires_grad=True).exp().requires_grad


def test_layers_that_make_images_larger_are_counted():
    """A transposed convolution multiplies each element with its filter; an interpolation is two products."""
    net = nn.Sequential(nn.ConvTranspose2d(3, 5, 2, stride=2), nn.Upsample(scale_factor=2, mode="bilinear"))
    layers = tc.summary(net, (3, 4, 6)).layers
    assert [layer.macs for layer in layers] == [3 * 4 * 6 * 5 * 4, 5 * 8 * 24 * 12 + 5 * 16 * 24 * 8]
    assert [layer.output_shape for layer in layers] == [(5, 8, 12), (5, 16, 24)]


def test_signals_are_counted():
    (layer,) = tc.summary(nn.Sequential(nn.Conv1d(2, 3, 5)), (2, 20)).layers
    assert (layer.macs, layer.params, layer.output_shape) == (2 * 3 * 5 * 16, 33, (3, 16))
