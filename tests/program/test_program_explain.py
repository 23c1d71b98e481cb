"""`print(step)`: what a captured step does, as a text and as plain data."""

import json
import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn, optim
from tinyconv.engine import kernels
from tinyconv.program import explain

ROOT = Path(tc.__file__).parents[1]
DTYPES = {"float32", "float64", "int64", "bool"}


def batch(n=8, size=28):
    rng = np.random.default_rng(0)
    return tc.tensor(rng.standard_normal((n, 1, size, size), np.float32)), tc.tensor(rng.integers(0, 10, n))


KERNELS = "numpy", "compiled"


def needs(executor):
    if executor == "compiled" and kernels.for_programs().library is None:
        pytest.skip("there is no library of compiled kernels")
    return tc.using(executor)


def training(model, clip=False):
    optimizer = optim.Adam(model.parameters())

    @tc.capture
    def train_step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if clip:
            optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return train_step


def called(step, *args, times=2):
    for _ in range(times):
        step(*args)
    return step


def lenet_on(executor, n=8):
    tc.manual_seed(0)
    with needs(executor):
        return called(training(tc.models.LeNet5()), *batch(n), times=4)


@pytest.fixture
def lenet():
    return lenet_on("numpy")


def test_the_table_of_lenet(lenet):
    rows = [re.split(r"  +", line.strip()) for line in str(lenet).splitlines() if re.match(r" +\d", line)]
    said = [[re.sub(r"\.py:\d+$", ".py", cell) for cell in row[1:4]] for row in rows]
    assert said[:7] == [
        ["conv2d 6@5x5 + relu + max_pool2d 2x2", "(8, 1, 28, 28) -> (8, 6, 12, 12)", "conv1"],
        ["conv2d 16@5x5 + relu + max_pool2d 2x2", "(8, 6, 12, 12) -> (8, 16, 4, 4)", "conv2"],
        ["reshape", "(8, 16, 4, 4) -> (8, 256)", "fast/numpy/dense.py"],
        ["linear + relu", "(8, 256) -> (8, 120)", "fc1"],
        ["linear + relu", "(8, 120) -> (8, 84)", "fc2"],
        ["linear", "(8, 84) -> (8, 10)", "fc3"],
        ["cross_entropy", "(8, 10) -> ()", "fast/numpy/dense.py"],
    ]
    assert ["conv2d + relu + max_pool2d", "of 1: dweight, dbias", "conv1"] in said
    assert said[-1][:2] == ["Adam.step", "10 parameters, 44,426 numbers"]
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize("executor", KERNELS)
def test_a_kernel_is_where_the_text_says(executor):
    """The line is in the function that runs the instruction: a forward or a backward, in Python or in C."""
    found = 0
    for one in lenet_on(executor).to_dict()["programs"][0]["instructions"]:
        if one["kind"] in ("forward", "backward"):
            file, _, line = one["kernel"].partition(":")
            above = (ROOT / file).read_text(encoding="utf-8").splitlines()[: int(line)]
            if executor == "compiled":
                name = re.match(r"static void (\w+)\(const instruction \*i", above[-1])[1]
                assert name.endswith("_back") == (one["kind"] == "backward")
                assert one["computes"][0]["name"].split("_")[0].removesuffix("2d").replace("reshape", "flatten") in name
            else:
                assert next(text for text in reversed(above) if " def " in text).split("(")[0].endswith(one["kind"])
            found += 1
    assert found == 14


def test_every_kernel_in_c_has_a_place():
    with needs("compiled"):
        names = re.findall(r"X\((\w+)\)", (explain.NATIVE / "kernel.h").read_text(encoding="utf-8"))
    assert len(names) > 20
    assert not [name for name in names if not re.fullmatch(r".*\.c:\d+", explain._place_in_c(name))]


def heading(step):
    """The lines about the first program, before its table, by their first words."""
    lines = str(step).split("\n\n")[1].replace("\n    ", " ").splitlines()
    return dict(line.strip().split(": ", 1) for line in lines[1:])


def test_what_runs_it_and_why_is_said():
    found = heading(lenet_on("numpy"))
    assert found["executor"] == "numpy; numpy kernels are chosen"
    assert "tiles" not in found, "8 images are one tile"
    found = heading(lenet_on("numpy", 128))
    assert found["tiles"] == "1-14 for one tile of 64 images after another"
    found = heading(lenet_on("compiled", 128))
    assert found["executor"].startswith("compiled, all instructions in C; the library is ")
    assert found["tiles"] == "1-14 for one tile of 64 images after another"


def test_what_is_not_in_c_is_said_with_the_reason():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.Softmax(1), nn.Linear(16, 10))
    with needs("compiled"):
        step = called(training(model), *batch(128), times=3)
    assert "not in C\n  3  softmax: no kernel" in str(step)
    assert heading(step)["executor"].startswith("compiled, 3, 8 in NumPy, the others in C; ")
    softmaxes = [one for one in step.to_dict()["programs"][0]["instructions"] if one["op"] == "Softmax"]
    said = [(one["compiled"], one["not_compiled"], one["by_tile"]) for one in softmaxes]
    assert said == [(False, "no kernel", False)] * 2
    assert all(one["kernel"].startswith("tinyconv/ops/activation.py:") for one in softmaxes)


def test_a_program_without_a_kernel_in_c_runs_in_numpy():
    with needs("compiled"):
        step = called(tc.capture(lambda x: x.max(1)[1]), tc.rand(4, 3))
    assert heading(step)["executor"] == "numpy; no instruction has a kernel in C"
    assert "  1  argmax    (4, 3) -> (4, 1) int64" in re.sub("  +", "  ", str(step)).replace("argmax  ", "argmax    ")


@pytest.mark.parametrize("executor", KERNELS)
def test_the_memory_of_a_replay_is_said(executor):
    with needs(executor):
        step = called(training(tc.models.LeNet5()), *batch(128))
        assert heading(step)["memory"] == "planned in the first replay"
        assert step.to_dict()["programs"][0]["memory"] is None
        called(step, *batch(128))
    data = step.to_dict()["programs"][0]
    used = data["memory"]
    assert used["shared"] < used["apart"] + 2**20, "there is reuse"
    assert 0 < used["shared"] + used["whole"] < 2 * data["bytes"]["made"]
    assert used["arrays"] > 10
    said = heading(step)["memory"]
    assert said.startswith(f"{used['shared'] / 1e6:,.2f} MB in {used['blocks']} block")
    assert f"where {used['arrays']} arrays share room" in said


def test_the_users_line_stands_above_what_it_does(lenet):
    here = Path(__file__).name
    lines = str(lenet).splitlines()
    (forward,) = (i for i, line in enumerate(lines) if line.startswith(here) and "model(x)" in line)
    assert lines[forward - 1] == "forward"
    assert re.match(r" +1 ", lines[forward + 1])
    (update,) = (i for i, line in enumerate(lines) if line.endswith("optimizer.step()"))
    assert "Adam.step" in lines[update + 1]


def test_what_will_happen_is_said_before_there_is_a_program():
    step, args = training(nn.Sequential(nn.Flatten(), nn.Linear(784, 10))), batch()
    assert str(step).startswith("train_step: not called yet. On the CPU the first call runs the step as it is")
    step(*args)
    assert str(step).startswith("train_step: the next call like this one records the step")
    step(*args)
    assert str(step).startswith(
        "train_step: 1 program runs in the place of its Python\n\nprogram 1: train_step(float32 (8, 1, 28"
    )
    step(*batch(5))
    assert (
        "program 2: train_step(float32 (5, 1, 28, 28) on cpu, int64 (5,) on cpu)\n  the next call like this one"
        in str(step)
    )
    assert repr(step) == "capture(train_step)"


def test_on_a_gpu_there_is_a_graph(cuda):
    step, x = tc.capture(lambda x: x * 2), tc.ones(3, device=cuda)
    step(x)
    assert str(step) == "<lambda>: on cuda:0 the third call is recorded, and every later one replays that"
    called(step, x)
    assert str(step) == "<lambda>: a CUDA graph on cuda:0; one launch runs all kernels of the recorded call"
    assert step.to_dict() == {"step": "<lambda>", "state": "replayed", "says": str(step)[10:], "programs": []}


def test_why_a_step_cannot_be_captured_is_said():
    step = tc.capture(lambda x: x.sum().item())
    step(tc.ones(3))
    assert "<lambda>: cannot be captured: the step reads values of a tensor of shape () on the host" in str(step)
    assert step.to_dict()["state"] == "refused"


def test_why_parts_stay_apart_is_said():
    conv = nn.Conv2d(1, 2, 3)

    def step(x):
        maps = conv(x)
        return maps, maps.relu()

    text = str(called(tc.capture(step), batch()[0]))
    assert "not fused with what follows\n  1  the output of conv2d is returned by the step" in text


def test_what_the_host_supplies_is_listed_first():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))
    loader = tc.data.DataLoader(tc.data.synthetic_digits(16), 8)
    step = tc.capture(lambda: model(loader.next()[0]))
    called(step)
    lines = str(step).splitlines()
    start, stop = lines.index("from the host, anew for each replay"), lines.index("forward")
    assert start < stop
    said = [re.split(r"  +", line.strip())[1:3] for line in lines[start + 1 : stop - 1]]
    assert ["rand", "-> (8, 784)"] in said
    assert ["DataLoader.batch", "-> (8, 1, 28, 28)"] in said


def wide():
    """Layers with long names, whose table is too wide for the shapes of inputs."""
    inner = nn.Sequential(nn.Conv2d(128, 128, (3, 1), stride=(2, 1), padding=(1, 0), bias=False), nn.Sigmoid())
    for name in ("a_part_with_a_name", "and_one_more_around_it", "the_whole_of_the_features"):
        outer = nn.Module()
        setattr(outer, name, inner)
        outer.forward = inner.forward
        inner = nn.Sequential(outer)
    return nn.Sequential(nn.Conv2d(1, 128, 3), inner, nn.Flatten(), nn.Linear(128 * 3 * 6, 10))


@pytest.mark.parametrize(
    ("model", "size"),
    [(wide, 8), (tc.models.LeNet5, 28), (lambda: tc.models.create("resnet"), 28)],
    ids=["wide", "lenet5", "resnet"],
)
def test_no_line_is_too_wide(model, size):
    step = called(training(model(), clip=True), *batch(4, size))
    lines = str(step).splitlines()
    assert max(map(len, lines)) <= 120
    assert not [line for line in lines if re.match(r" +\d", line) and line.endswith("...")], "no cell is cut"


def test_the_data_are_what_json_keeps(lenet):
    """Every key of the schema in docs/fast.md, each of its type."""
    called(lenet, *batch(3), times=1)
    data = lenet.to_dict()
    assert json.loads(json.dumps(data)) == data
    assert set(data) == {"step", "state", "says", "programs"}
    program, other = data["programs"]
    assert set(other) == {"arguments", "records", "variants", "state", "says"}
    assert set(program) == {
        *other,
        *("executor", "why", "inputs", "results", "instructions", "values", "bytes", "memory"),
    }
    assert set(program["memory"]) == {"blocks", "shared", "arrays", "apart", "whole"}
    assert (data["state"], program["state"], other["state"]) == ("replayed", "replayed", "new")
    assert [value["number"] for value in program["values"]] == list(range(len(program["values"])))
    for value in program["values"]:
        assert set(value) == {"number", "kind", "name", "shape", "dtype", "memory"}
        assert value["kind"] in ("input", "held", "constant", "made")
        assert value["dtype"] in DTYPES | {"int32"}
    for i, one in enumerate(program["instructions"], 1):
        assert set(one) == {
            *("number", "section", "kind", "op", "computes", "inputs", "outputs", "of", "gradients", "not_fused"),
            *("variant", "compiled", "not_compiled", "kernel", "by_tile", "layer", "line"),
        }
        assert one["number"] == i
        assert all(set(part) == {"name", "geometry", "layer", "line"} for part in one["computes"])
    names = {value["name"] for value in program["values"]}
    assert {"conv1.weight", "fc3.bias", "conv1.weight.grad"} <= names
    conv = program["instructions"][0]
    assert conv["op"] == "conv2d_relu_max_pool2d"
    assert conv["computes"][2]["geometry"]["kernel"] == [2, 2]
    assert conv["inputs"][0] == {"value": program["inputs"][0]}
    assert program["bytes"]["input"] == 8 * 28 * 28 * 4 + 8 * 8
    assert program["bytes"]["held"] >= 2 * 44_426 * 4


def test_the_page_names_every_key(lenet):
    page = (ROOT / "docs" / "fast.md").read_text(encoding="utf-8")
    listed = page[page.index("| key | what |") : page.index("### What a replay cannot do")]
    data = lenet.to_dict()
    program = data["programs"][0]
    one = program["instructions"][0]
    for part in (data, program, program["memory"], one, one["computes"][0]):
        assert not [key for key in part if f"`{key}`" not in listed]
    assert not [key for key in program["values"][0] if f"`{key}`" not in listed]


def test_the_text_of_a_step_can_be_read_while_another_thread_calls_it(lenet):
    def call():
        with tc.using("numpy"):  # each thread has a context of its own
            called(lenet, *batch(), times=20)

    thread = threading.Thread(target=call)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        texts = {str(lenet) for _ in range(20)}
    finally:
        thread.join()
        sys.setswitchinterval(interval)
    assert len(texts) == 1
