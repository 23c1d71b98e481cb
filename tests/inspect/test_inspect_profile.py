"""profile: what ran, how often, at what cost, and that nothing else changes by it."""

import json
import time
from itertools import pairwise

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn, ops
from tinyconv.engine.variants import place_of
from tinyconv.inspect import flops

STRIDED = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 1)}
LENET_MACS = {"conv1": 86_400, "conv2": 153_600, "fc1": 30_720, "fc2": 10_080, "fc3": 840}


def lenet_step(model, n=4):
    tc.manual_seed(1)
    F.cross_entropy(model(tc.rand(n, 1, 28, 28)), tc.zeros(n, dtype=tc.int64)).backward()


@pytest.fixture(params=["automatic", "readable"])
def variant(request):
    """The pairs that run by themselves, and the ops as they are written."""
    if request.param == "automatic":
        yield
    else:
        with tc.using("readable"):
            yield


def test_flops_of_lenet_by_layer(variant):
    model = tc.models.LeNet5()
    with tc.profile() as p:
        lenet_step(model)
    products = {"conv2d", "linear"}
    for layer, macs in LENET_MACS.items():
        forward, backward = (
            sum(e.flops for e in p.events if e.layer == layer and e.kind == kind and e.name in products)
            for kind in ("forward", "backward")
        )
        assert forward == 4 * 2 * macs
        assert backward == forward * (1 if layer == "conv1" else 2)  # nobody wants the gradient of the images


def test_a_frozen_weight_costs_nothing():
    layer = nn.Linear(5, 3)
    layer.weight.requires_grad_(False)
    x = tc.ones(2, 5, requires_grad=True)
    with tc.profile() as p:
        layer(x).sum().backward()
    (event,) = [e for e in p.events if e.kind == "backward" and e.name == "linear"]
    assert event.flops == 2 * 2 * 5 * 3


@pytest.mark.parametrize(
    ("op", "shapes", "geometry", "expected"),
    [
        ("conv2d", [(2, 4, 5, 5), (6, 2, 3, 3), None], STRIDED, 3 * 3 * 6 * 2 * 9 * 2),
        ("linear", [(7, 2, 5), (3, 5), (3,)], {}, 14 * 15),
        ("Matmul", [(4, 2, 3), (3, 5)], {}, 4 * 2 * 3 * 5),
        ("Relu", [(4,)], {}, None),
    ],
)  # fmt: skip
def test_multiplications(op, shapes, geometry, expected):
    assert flops.macs(op, shapes, geometry) == expected


def test_calls_bytes_and_variants():
    x = tc.ones(10, 10, requires_grad=True)
    with tc.profile() as p:
        for _ in range(3):
            y = (x * 2.0).exp()
        y.sum().backward()
    rows = {row.name: row for row in p.by_op()}
    assert (rows["Exp (readable)"].calls, rows["Mul (readable)"].calls) == (3, 3)
    assert rows["Exp (readable)"].bytes == 3 * 800 + 800  # forward reads and makes 400 each; so does one backward
    with tc.profile() as p, tc.using(linear="loop"):
        F.linear(tc.ones(1, 2), tc.ones(1, 2))
    assert [(row.name, row.source) for row in p.by_op()] == [("linear (loop)", place_of(ops.Linear))]
    (event,) = p.events
    assert (event.name, event.variant, event.title) == ("linear", "loop", "linear (loop)")
    assert event.source == place_of(ops.Linear)


def test_nothing_outside_is_recorded_but_the_backward_of_what_ran_inside():
    x = tc.ones(3, requires_grad=True)
    x.exp()
    with tc.profile() as p:
        y = x.exp()
    x.exp().sum().backward()
    assert [(e.name, e.kind) for e in p.events] == [("Exp", "forward")]
    y.sum().backward()
    assert [(e.name, e.kind) for e in p.events] == [("Exp", "forward"), ("Exp", "backward")]


def test_times_are_within_the_block_and_add_up():
    with tc.profile() as p:
        lenet_step(tc.models.LeNet5())
        time.sleep(0.01)
    assert all(0 <= e.start <= e.end for e in p.events)
    assert 0 < sum(e.seconds for e in p.events) < p.wall - 0.01
    ordered = sorted(p.events, key=lambda e: e.start)
    assert all(a.end <= b.start for a, b in pairwise(ordered))  # one thread, one at a time


def test_gradients_are_the_same_to_the_bit(variant):
    def gradients():
        tc.manual_seed(0)
        model = tc.models.LeNet5()
        lenet_step(model)
        return [p.grad.array.tobytes() for p in model.parameters()]

    assert tc.profile()(gradients)() == gradients()


def test_tiles_of_several_threads_are_counted_once():
    model = tc.models.LeNet5()
    with tc.profile() as p:
        lenet_step(nn.DataParallel(model, threads=2, tile=2))
    assert sum(e.flops for e in p.events if e.layer == "module.conv1" and e.kind == "forward") == 4 * 2 * 86_400
    assert "data_parallel" not in {e.name for e in p.events}


def test_the_optimizer_is_a_region():
    model = nn.Linear(2, 2)
    optimizer = tc.optim.SGD(model.parameters(), lr=0.1)
    with tc.profile() as p:
        model(tc.ones(1, 2)).sum().backward()
        optimizer.step()
    assert [e.name for e in p.events if e.kind == "region"] == ["SGD.step"]


def test_one_inside_another():
    with tc.profile() as outer:
        tc.ones(2).exp()
        with tc.profile() as inner:
            tc.ones(2).log()
        tc.ones(2).sqrt()
    assert [e.name for e in inner.events] == ["Log"]
    assert [e.name for e in outer.events] == ["Exp", "Log", "Sqrt"]


def test_several_inside_each_other():
    """Each sees what runs inside it, once, also where it is entered again inside another one."""
    with tc.profile() as first, tc.profile() as second, tc.profile() as third, first:
        tc.ones(2).exp()
    for p in (first, second, third):
        assert [e.name for e in p.events] == ["Exp"]
        assert 0 <= p.events[0].start <= p.events[0].end <= 1e9 * p.wall


def test_it_ends_with_an_error_and_may_begin_again():
    p = tc.profile()

    @p
    def failing():
        tc.ones(1).exp()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    tc.ones(1).exp()
    with p:
        tc.ones(1).log()
    assert [e.name for e in p.events] == ["Exp", "Log"]


def test_with_anomalies_and_gradients_of_gradients():
    x = tc.tensor([2.0], requires_grad=True)
    with tc.profile() as p, tc.detect_anomaly():
        (g,) = tc.grad((x * x * x).sum(), x, create_graph=True)
        (h,) = tc.grad(g.sum(), x)
        with pytest.raises(tc.AnomalyError, match=r"Log \(readable\) made 1 NaN"):
            (x - 3.0).log()
    assert h.item() == 12.0
    assert {"Mul", "Sum", "Sub", "Log"} <= {e.name for e in p.events}


def test_the_table_and_the_trace(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    with tc.profile() as p:
        lenet_step(tc.models.LeNet5())
    text = str(p)
    lines = text.splitlines()
    assert len({len(line) for line in lines[: len(p.by_op()) + 1]}) == 1  # aligned
    assert max(map(len, lines)) <= 80
    assert "conv1" in text
    assert "outside of them" in lines[-1]
    monkeypatch.setenv("COLUMNS", "120")
    head, *rows = str(p).splitlines()[: len(p.by_op()) + 1]
    assert [row[head.index("read it") :] for row in rows] == [row.source for row in p.by_op()]
    p.chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert len(events) == len(p.events)
    assert {"name", "ph", "ts", "dur", "pid", "tid", "args"} <= events[0].keys()
    assert all(event["ph"] == "X" and event["dur"] >= 0 for event in events)
    for event, known in zip(events, p.events, strict=True):
        assert event["name"] == (f"{known.layer}: {known.title}" if known.layer else known.title)
        assert event["args"]["source"] == known.source
    assert any(event["name"].startswith("fc3: linear (") for event in events)
    assert json.loads(json.dumps(p.to_dict()))["events"][0]["name"] == p.events[0].name


def test_where_nothing_ran():
    with tc.profile() as p:
        pass
    assert str(p) == "profile: no op ran inside"
    assert np.isfinite(p.wall)
