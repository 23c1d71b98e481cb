"""The same convolution as loops and as a product with columns: that what is lit is what the cell is made of."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import nn
from tinyconv.errors import GraphError, ShapeError, VariantError
from tinyconv.inspect import columns, loops, record


@pytest.fixture(scope="module")
def recording():
    """A strided, padded, dilated convolution in two groups, pooled, and a linear layer."""
    tc.manual_seed(0)
    conv = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2), groups=2)
    model = nn.Sequential(conv, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(48, 3))
    return record(model, np.random.default_rng(0).standard_normal((2, 4, 7, 8)).astype("float32"), [1, 2])


CELLS = {"y": (1, 4, 2, 5), "dx": (1, 3, 4, 6), "dweight": (4, 1, 2, 1), "dbias": (5,)}


def frame_of(recording, which):
    return recording.frames[0] if which == "y" else recording.frames[-1]


def number(recording, which):
    return next(o.array for o in frame_of(recording, which).outputs if o.argument == which)[CELLS[which]]


def found(recording, which, image=0):
    return columns(frame_of(recording, which), which, CELLS[which], image)


def test_an_output_is_a_row_times_a_column(recording):
    at, bias = found(recording, "y"), recording.frames[0].inputs[2].array
    oh, ow = recording.frames[0].outputs[0].array.shape[2:]
    assert (at.image, at.group, at.filters) == (1, 1, (1, 2))
    assert at.matrix.shape == (12, oh * ow)
    assert at.cells.tolist() == [[k, 2 * ow + 5] for k in range(12)]
    column = at.matrix[at.cells[:, 0], at.cells[:, 1]]
    np.testing.assert_allclose(at.weight[slice(*at.filters)] @ column + bias[4], number(recording, "y"), rtol=1e-5)
    assert at.dy is None


def test_a_weight_gradient_is_a_row_of_dy_times_a_row_of_columns(recording):
    total = 0
    for image in (0, 1):
        at = found(recording, "dweight", image)
        assert (at.image, at.group, at.filters) == (image, 1, (1, 2))
        assert set(at.cells[:, 0].tolist()) == {11}
        total += at.dy[slice(*at.filters)] @ at.matrix[at.cells[:, 0], at.cells[:, 1]]
    np.testing.assert_allclose(total, number(recording, "dweight"), rtol=1e-4, atol=1e-7)


def test_an_input_gradient_is_what_columns_send_back_to_its_pixel(recording):
    at = found(recording, "dx")
    assert (at.image, at.group, at.filters) == (1, 1, (0, 3))
    np.testing.assert_allclose(at.matrix, at.weight.T @ at.dy, rtol=1e-6)
    assert len(at.cells) > 1
    total = at.matrix[at.cells[:, 0], at.cells[:, 1]].sum()
    np.testing.assert_allclose(total, number(recording, "dx"), rtol=1e-4, atol=1e-7)


def test_a_bias_gradient_is_the_sum_of_rows_of_dy(recording):
    at = [found(recording, "dbias", image) for image in (0, 1)]
    assert all(one.cells.shape == (0, 2) for one in at)
    total = sum(one.dy[slice(*one.filters)].sum() for one in at)
    np.testing.assert_allclose(total, number(recording, "dbias"), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("number", "which", "lines"),
    [
        (0, "y", ["y[n, f, i, j] = bias[f]", "y[n, f, i, j] += weight[f, c, u, v] * x["]),
        (-1, "dx", ["dx[n, first + c, row, column] += weight["]),
        (-1, "dweight", ["dweight[f, c, u, v] += x["]),
        (-1, "dbias", ["dbias[f] += dy[n, f, i, j]"]),
        (1, "y", ["y[n, c, i, j] = value"]),
        (3, "y", ["y[n, o] = bias[o]", "y[n, o] += weight[o, i] * rows[n, i]"]),
        (6, "dweight", ["dweight[o, i] += rows[n, i] * dy_rows[n, o]"]),
    ],
)
def test_loops_light_the_lines_that_write_what_is_asked_for(recording, number, which, lines):
    source = loops(recording.frames[number], which)
    text = dict(enumerate(source.text.splitlines(), source.line))
    assert source.file == "tinyconv/ops/loops.py"
    assert [text[n].strip()[: len(line)] for n, line in zip(source.ran, lines, strict=True)] == lines


def test_what_is_no_convolution_is_refused(recording):
    assert loops(recording.frames[2]) is None
    with pytest.raises(VariantError, match="only conv2d is a product with columns, this frame is of max_pool2d"):
        columns(recording.frames[1], "y", (0, 0, 0, 0))
    with pytest.raises(ShapeError, match="there is no image 2 in a batch of 2"):
        columns(recording.frames[-1], "dbias", (0,), 2)
    with pytest.raises(ShapeError, match=r"no cell \(9, 0, 0, 0\)"):
        columns(recording.frames[0], "y", (9, 0, 0, 0))
    frozen = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    frozen[0].bias.requires_grad = False
    frame = record(frozen, np.ones((1, 4, 4), "float32")).frames[-1]
    with pytest.raises(GraphError, match="nothing needs dbias of"):
        columns(frame, "dbias", (0,))
