"""trace: what the tape holds, told before the walk; how large the gradients were, told after it."""

import gc
import inspect
import re
import weakref
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from messages import message

import tinyconv as tc
import tinyconv.functional as F
from tinyconv import nn, ops
from tinyconv.engine.variants import op_name, place_of
from tinyconv.testing.spaces import fused

ROOT = Path(tc.__file__).parent.parent
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def ops_as_they_are_written():
    """These tests name the pair that ran."""
    with tc.using("readable"):
        yield


def net():
    tc.manual_seed(0)
    return nn.Sequential({"body": nn.Sequential(nn.Linear(4, 8), nn.ReLU()), "head": nn.Linear(8, 3)})


def loss_of(model, n=2):
    return F.cross_entropy(model(tc.ones(n, 4)), tc.arange(n))


def lines(text):
    """The lines of a table, without its padding."""
    return [re.sub(" +", " ", line) for line in text.splitlines()]


def test_it_prints_the_walk_and_then_the_gradients():
    x = tc.tensor([3.0, 4.0], requires_grad=True)
    loss = (x * x * 2.0).sum()
    found = tc.trace(loss)
    rows = ["1 Sum (readable) () 2", "2 Mul (readable) (2,) 8 B 3, -", "3 Mul (readable) (2,) leaf 1, leaf 1"]
    assert lines(found.table()) == [
        "# op float32 output saved inputs made by", *rows, "", "leaf float32 values", "leaf 1 (2,)", "",
        "3 ops and 1 leaf; the tape holds 8 B besides the leaves",
    ]  # fmt: skip


def test_rows_know_layers_leaves_and_lines():
    model = net()
    with tc.detect_anomaly(check_nan=False):
        loss = loss_of(model)
    found = tc.trace(loss)
    assert [(row.number, row.op, row.shape, row.dtype, row.inputs, row.layer) for row in found.rows] == [
        (1, "CrossEntropy", (), "float32", (2, None, None), ""),
        (2, "linear", (2, 3), "float32", (3, "head.weight", "head.bias"), "head"),
        (3, "Relu", (2, 8), "float32", (4,), "body.1"),
        (4, "linear", (2, 8), "float32", (None, "body.0.weight", "body.0.bias"), "body.0"),
    ]
    assert [leaf.name for leaf in found.leaves] == ["head.bias", "head.weight", "body.0.bias", "body.0.weight"]
    assert all(row.line.startswith("test_inspect_trace.py:") for row in found.rows)
    assert "in loss_of: return F.cross_entropy(model(tc.ones(n, 4)), tc.arange(n))" in found.table()


def test_an_op_of_the_model_itself_shows_its_class():
    class Net(nn.Module):
        def forward(self, x):
            return x.exp()

    assert tc.trace(Net()(tc.ones((), requires_grad=True))).rows[0].layer == "Net"


def test_of_a_part_the_names_are_the_models_if_it_is_given():
    model = net()
    loss = model.head(model.body(tc.ones(2, 4))).sum()
    assert {row.layer for row in tc.trace(loss).rows} == {"", "Linear", "1", "0"}
    named = tc.trace(loss, model)
    assert [row.layer for row in named.rows] == ["", "head", "body.1", "body.0"]
    assert {leaf.name for leaf in named.leaves} == {name for name, _ in model.named_parameters()}


def test_another_pair_is_named():
    with tc.using("loop"):
        loss = nn.Linear(2, 1)(tc.ones(1, 2)).sum()
    found = tc.trace(loss)
    assert [(row.op, row.variant, row.title) for row in found.rows] == [
        ("Sum", "readable", "Sum (readable)"),
        ("linear", "loop", "linear (loop)"),
    ]
    assert lines(found.table())[2].startswith("2 linear (loop) ")
    with tc.profile():  # which puts a clock around the pair
        loss = tc.ones(1, requires_grad=True).exp()
    assert tc.trace(loss).rows[0].title == "Exp (readable)"


def stands_at(place):
    """The lines of a file from a place on: `tinyconv/ops/conv.py:102`."""
    path, _, line = place.rpartition(":")
    return (ROOT / path).read_text(encoding="utf-8").splitlines()[int(line) - 1 :]


def body_of(function):
    """The lines of a static method below its decorator and its `def`, where a debugger stops."""
    decorator, head, *body = inspect.getsource(function).splitlines()
    assert (decorator.strip(), head.strip()[:4]) == ("@staticmethod", "def ")
    return body


def test_rows_say_where_the_op_is_to_be_read():
    for variant in ("readable", "loop"):
        with tc.using(variant):
            row = tc.trace(nn.Linear(2, 1)(tc.ones(1, 2))).rows[0]
        assert row.source == place_of(ops.Linear)
        assert stands_at(row.source)[:3] == body_of(ops.Linear.backward)[:3]
        assert row.parts == ()


FUSED = {
    "linear_relu": [ops.Linear, ops.Relu],
    "conv2d_relu": [ops.Conv2d, ops.Relu],
    "relu_max_pool2d": [ops.Relu, ops.MaxPool2d],
    "conv2d_relu_max_pool2d": [ops.Conv2d, ops.Relu, ops.MaxPool2d],
}


@pytest.mark.parametrize("op", FUSED)
def test_a_fused_op_shows_its_parts(op):
    x, weight = tc.ones(1, 1, 4, 4, requires_grad=True), tc.ones(1, 1, 3, 3)
    with tc.using("readable"):
        y = {
            "linear_relu": lambda: fused.linear_relu(x, tc.ones(4, 4)),
            "conv2d_relu": lambda: fused.conv2d_relu(x, weight),
            "relu_max_pool2d": lambda: fused.relu_max_pool2d(x, 2),
            "conv2d_relu_max_pool2d": lambda: fused.conv2d_relu_max_pool2d(x, weight, None, 2),
        }[op]()
    found = tc.trace(y)
    (row,) = found.rows
    assert row.title == f"{op} (readable)"
    assert row.parts == tuple((op_name(part), place_of(part)) for part in FUSED[op])
    for part, expected in zip(row.parts, FUSED[op], strict=True):
        assert stands_at(part.source)[:2] == body_of(expected.backward)[:2]
    printed = [f"     {part.name}: {part.source}" for part in row.parts]
    for width in (None, 80, 200):
        assert "\n".join(["", *printed, "", ""]) in found.table(width=width)
    assert {f"{part.name}: {part.source}" for part in row.parts} <= set(texts(found.to_svg()))


def test_places_are_a_column_where_there_is_room():
    found = tc.trace(loss_of(net()))
    for table in (found.table(places=True), found.table(width=200), found.table(width=200, places=True)):
        head, *rows = table.splitlines()[:5]
        assert head.endswith("  read it")
        assert [line[head.index("read it") :] for line in rows] == [row.source for row in found.rows]
    assert found.rows[0].source not in found.table()
    narrow = found.table(width=90)
    assert narrow == found.table()
    below = found.table(width=90, places=True).splitlines()
    assert [below[0], *below[1:9:2]] == narrow.splitlines()[:5]
    assert below[2:9:2] == [f"     {row.source}" for row in found.rows]


def test_norms_are_those_of_the_gradients():
    model = net()
    x = tc.ones(2, 4, requires_grad=True)
    hidden = model.body(x)
    logits = model.head(hidden)
    hidden.retain_grad(), logits.retain_grad()
    loss = F.cross_entropy(logits, tc.arange(2))
    found = tc.trace(loss, model)
    assert "gradient" not in str(found)
    assert all(row.grad is None for row in (*found.rows, *found.leaves))
    loss.backward()
    norm = lambda t: np.linalg.norm(t.grad.array.astype(np.float64))  # noqa: E731
    assert found.rows[0].grad == 1
    assert found.rows[1].grad == norm(logits)
    assert found.rows[2].grad == norm(hidden)
    by_name = {leaf.name: leaf.grad for leaf in found.leaves}
    assert by_name == {name: norm(p) for name, p in model.named_parameters()} | {"leaf 1": norm(x)}
    table = lines(found.table())
    assert table[0] == "# op float32 output saved inputs made by gradient"
    assert table[2] == f"2 linear (readable) (2, 3) 3, head.weight, head.bias head {found.rows[1].grad:.3g}"


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_are_the_same_to_the_bit(create_graph):
    def gradients(traced):
        model = net()
        loss = loss_of(model) + (model.head.weight**2).sum() * 0.1
        found = tc.trace(loss) if traced else None
        loss.backward(create_graph=create_graph)
        assert found is None or found.leaves[0].grad > 0
        return [p.grad.array.tobytes() for p in model.parameters()]

    assert gradients(True) == gradients(False)


def test_it_keeps_no_array_alive_and_leaves_no_hook_behind():
    model = net()
    for walked in (True, False):
        loss = loss_of(model)
        array = weakref.ref(loss.array)
        found = tc.trace(loss)
        if walked:
            loss.backward()
            assert not any(p._node.hooks for p in model.parameters())
        del loss
        gc.collect()
        assert array() is None
        assert len(found.rows) == 4
    del found  # of this one the parameters have hooks still
    loss_of(model).backward()
    assert not any(p._node.hooks for p in model.parameters())


def test_a_walk_from_elsewhere_is_not_noted():
    w = tc.ones(2, requires_grad=True)
    trunk = w * 3.0
    loss, other = trunk.sum(), (trunk * 100.0).sum()
    found = tc.trace(loss)
    other.backward(retain_graph=True)
    assert found.leaves[0].grad is None
    loss.backward()
    assert found.leaves[0].grad == pytest.approx(3 * 2**0.5)
    assert found.rows[1].grad == pytest.approx(2**0.5)


@pytest.mark.parametrize(
    ("function", "shown"),
    [(lambda x: x.sqrt().sum(), "inf (!)"), (lambda x: (x * 0.0).sqrt().sum(), "NaN (!)")],
)
def test_what_is_no_number_is_marked(function, shown):
    x = tc.zeros(2, requires_grad=True)
    loss = function(x)
    found = tc.trace(loss)
    loss.backward()
    assert lines(str(found))[-3] == f"leaf 1 (2,) {shown}"
    assert f"grad {shown}" in found.to_svg()


def test_memory_counts_once_and_leaves_do_not():
    x = tc.ones(100, requires_grad=True)
    y = x.exp()  # saves y
    z = y * y  # saves y twice
    w = z.reshape(10, 10)[:2] * 2.0  # saves a view of z, which keeps all of it
    found = tc.trace(w.sum())
    assert [(row.op, row.saved) for row in found.rows if row.saved] == [("Mul", 400), ("Exp", 400)]
    assert found.saved == 800
    constant = tc.ones(50) * x[:50]
    assert tc.trace(constant.sum()).saved == 200  # the batch, which the tape keeps, and not x


# What it refuses.


def test_mistakes_are_named():
    x = tc.ones(2, requires_grad=True)
    assert message(tc.GraphError, tc.trace, x) == (
        "trace: there is no tape behind this tensor of shape (2,): it is a leaf, so nothing leads to it"
    )
    assert message(tc.GraphError, tc.trace, tc.ones(2).sum()) == (
        "trace: there is no tape behind this tensor of shape (): it does not require grad: no tensor it was computed "
        "from has requires_grad=True, or it was computed inside no_grad()"
    )
    assert message(tc.DtypeError, tc.trace, 1.0) == "trace: expected a Tensor, got float"
    assert message(TypeError, tc.trace, x.sum(), x) == "trace: model must be a Module, got Tensor"
    loss = x.sum()
    loss.backward()
    said = message(tc.GraphError, tc.trace, loss)
    assert said.startswith("trace: trace the loss before backward, which frees its tape")
    assert "the graph through Sum (readable) was walked before and what it saved is freed" in said


# The picture.


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_the_picture_says_what_the_table_says(tmp_path):
    model = tc.models.LeNet5()
    loss = F.cross_entropy(model(tc.rand(2, 1, 28, 28)), tc.arange(2))
    found = tc.trace(loss)
    loss.backward()
    assert found.to_svg(tmp_path / "lenet.svg") is None  # a notebook would show it all
    svg = found.to_svg()
    assert (tmp_path / "lenet.svg").read_text(encoding="utf-8") == svg
    said = texts(svg)
    assert said[:2] == ["backward from CrossEntropy (readable)", found.summary()]
    for row in found.rows:
        assert {row.title, row.source} <= set(said)
        assert f"grad {row.grad:.3g}" in said
        assert not row.layer or f"in {row.layer}" in said
    assert {f"{leaf.name}  grad {leaf.grad:.3g}" for leaf in found.leaves} <= set(said)
    assert {"2×6×24×24", "scalar", "float32"} <= set(said)
    assert found.to_html(tmp_path / "lenet.html") is None
    page = found.to_html()
    assert (tmp_path / "lenet.html").read_text(encoding="utf-8") == page
    fragment = found._repr_html_()
    assert fragment in page
    assert found.table(places=True) in fragment
    ET.fromstring(f"<div>{fragment}</div>")  # as a notebook has it: of the page's own colours
    assert "paper" in svg
    assert "paper" not in fragment


def test_a_folder_that_is_not_there_is_named(tmp_path):
    found = tc.trace(tc.ones(2, requires_grad=True).sum())
    with pytest.raises(FileNotFoundError) as caught:
        found.to_svg(tmp_path / "nowhere" / "tape.svg")
    assert caught.value.filename == str(tmp_path / "nowhere")


# Its width.


def test_typing_its_name_prints_it(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    found = tc.trace(tc.ones(2, requires_grad=True).sum())
    assert repr(found) == str(found)
    assert lines(repr(found))[1] == f"1 Sum (readable) () leaf 1 {found.rows[0].source}"  # there is room for it


def test_several_dtypes_are_told_one_by_one():
    x = tc.ones(2, requires_grad=True)
    table = lines(tc.trace(x.to(tc.float64).sum()).table())
    assert table[:3] == [
        "# op output saved inputs made by", "1 Sum (readable) float64 () 2", "2 Cast (readable) float64 (2,) leaf 1",
    ]  # fmt: skip
    assert table[4:6] == ["leaf values", "leaf 1 float32 (2,)"]


@pytest.mark.parametrize("walked", [False, True])
@pytest.mark.parametrize("noted", [False, True])
@pytest.mark.parametrize(("columns", "width"), [("20", 80), ("110", 110)])
def test_it_fits_the_terminal(monkeypatch, columns, width, noted, walked):
    monkeypatch.setenv("COLUMNS", columns)
    model = nn.Sequential({"encoder_of_images": tc.models.LeNet5()})
    with tc.detect_anomaly(check_nan=False) if noted else tc.enable_grad():
        loss = F.cross_entropy(model(tc.rand(64, 1, 28, 28)), tc.randint(0, 10, (64,)))
    found = tc.trace(loss)
    if walked:
        loss.backward()
    whole, shown = found.table().splitlines(), str(found).splitlines()
    assert max(map(len, shown)) <= width < max(map(len, whole))
    above = sum(re.fullmatch(r"\d+ +\w+ \(\w+\)", line) is not None for line in shown)  # titles, and nothing else
    below = [line for line in shown if line.startswith("      test_inspect_trace.py:")]  # of the user's program
    assert len(below) == noted * len(found.rows)
    assert len(shown) == len(whole) + above + len(below)
    second = r"^2 +linear \(readable\)\s+\(64, 10\) +3, (\.weight, \.bias|…) +\S+\.fc3\b"
    assert re.search(second, str(found), re.MULTILINE)


@pytest.mark.parametrize("walked", [False, True])
@pytest.mark.parametrize("width", [80, 120])
def test_lenet_is_legible(width, walked):
    """Nothing that a reader looks for is cut."""
    pytest.importorskip("tinyconv.fast")
    with tc.using("tiled"):
        loss = F.cross_entropy(tc.models.lenet5()(tc.rand(64, 1, 28, 28)), tc.randint(0, 10, (64,)))
    found = tc.trace(loss)
    if walked:
        loss.backward()
    text = found.table(width=width).splitlines()
    assert max(map(len, text)) <= width
    for row in found.rows:
        (at,) = (i for i, line in enumerate(text) if re.match(rf"{row.number} +{re.escape(row.title)} ", line))
        cells = re.split(" {2,}", text[at])
        assert str(row.shape) in cells
        assert not row.layer or row.layer in cells
        assert not walked or cells[-1] == f"{row.grad:.3g}"


def test_what_fits_is_not_cut(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    found = tc.trace(loss_of(net()))
    assert str(found) == found.table(places=True)
    assert "3, head.weight, head.bias" in str(found)


def boxes(svg):
    """The tops of the boxes of ops."""
    return [int(rect.get("y")) for rect in ET.fromstring(svg).iter(f"{SVG}rect") if rect.get("rx") == "7"]


def arrows(svg):
    """Where each arrow ends: (x, y)."""
    turned = (path.get("transform") for path in ET.fromstring(svg).iter(f"{SVG}path"))
    return [tuple(map(int, re.search(r"translate\((\d+) (\d+)\)", where).groups())) for where in turned if where]


def test_a_residual_has_a_lane_of_its_own():
    x = tc.ones(2, requires_grad=True)
    y = x * 2.0
    svg = tc.trace((y.exp() + y).sum()).to_svg()  # Sum, Add, Exp, Mul: Add to Mul goes past Exp
    sum_, add, exp, mul = boxes(svg)
    ends = sorted(y for _, y in arrows(svg))
    assert ends == [add, exp, mul, mul + 10]
    lanes = {x for x, y in arrows(svg) if y == mul + 10}
    assert lanes == {min(x for x, _ in arrows(svg))}
    assert sum_ < add


def test_lanes_do_not_meet():
    x = tc.ones(2, requires_grad=True)
    layers = [x * 2.0]
    for _ in range(6):  # every layer reads all before it
        layers.append(sum(layers) * 1.0)
    found = tc.trace(layers[-1].sum())
    svg = found.to_svg()
    spans = {}
    for path in re.findall(r'd="M\d+ (\d+)H(\d+)Q\d+ \d+ \d+ \d+V(\d+)', svg):
        top, lane, bottom = map(int, path)
        spans.setdefault(lane, []).append((top, bottom))
    assert len(spans) > 2
    for several in spans.values():
        several.sort()
        assert all(a[1] < b[0] for a, b in pairwise(several))


def test_of_a_long_tape_the_middle_is_left_out():
    x = tc.ones((), requires_grad=True)
    y = x
    for _ in range(1000):
        y = y * 1.0
    found = tc.trace(y)
    assert len(found.rows) == 1000
    table = lines(str(found))
    assert table[50][:3] == "50 "
    assert table[51] == "... 900 more"
    assert table[52][:4] == "951 "
    assert len(found.table(rows=None).splitlines()) == 1000 + 6
    assert lines(found.table(rows=3))[1:5] == [table[1], table[2], "... 997 more", table[101]]
    svg = found.to_svg()
    assert "… 900 more" in texts(svg)
    assert len(boxes(svg)) == 100
    assert len(arrows(svg)) == 100  # also into the gap and out of it


def test_names_are_escaped():
    model = nn.Sequential({'<b>&"\x00': nn.Linear(1, 1)})
    found = tc.trace(model(tc.ones(1, 1)).sum())
    assert 'in <b>&"?' in texts(found.to_svg())
    ET.fromstring(f"<div>{found._repr_html_()}</div>")


def test_what_is_too_wide_for_its_column_is_cut():
    model = nn.Sequential({"a" * 80: nn.Linear(1, 1)})
    (label,) = (text for text in texts(tc.trace(model(tc.ones(1, 1)).sum()).to_svg()) if text and text[:4] == "in a")
    assert label.endswith("…")
    assert len(label) < 45


def test_a_trace_that_was_walked_leaves_no_cycle():
    x = y = tc.tensor([1.0, 2.0], requires_grad=True)
    for _ in range(20):
        y = y * 1.5
    loss = y.sum()
    gc.collect()
    gc.disable()
    try:
        tape = tc.trace(loss)
        loss.backward()
        assert tape.leaves[0].grad > 0
        assert x._node.hooks == []
        del tape, loss, y, x
        assert gc.collect() == 0
    finally:
        gc.enable()
