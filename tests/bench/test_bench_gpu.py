"""Benchmarks on a GPU, run on the CPU: all of them but the device itself."""

import json
import runpy
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from standin import counted
from standin.cuda import Graph
from typer.testing import CliRunner

import tinyconv as tc
from harness import command, gpu, libraries, record, tasks, timing, training
from harness.library import Library
from harness.torch_library import Torch, TorchGraph
from tinyconv import models

ROOT = Path(tc.__file__).parents[1]
SMALL = replace(tasks.CIFAR, make=lambda: models.CifarNet((4, 8)))
WIDER = replace(tasks.CIFAR, make=lambda: models.CifarNet((16, 32)))
KNOWN = libraries.ON_GPU | libraries.ROUNDED
EAGER = ["tinyconv captured", "torch", "torch fused"]


def ready(task, names, known=KNOWN, batch=4):
    return libraries.ready(task, names, batch, known, "cpu")


# --- what is compared -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [tasks.LENET, SMALL], ids=["lenet", "cifar"])
def test_libraries_agree(task):
    made, _, reasons = ready(task, EAGER)
    assert reasons == {}
    assert list(made) == ["tinyconv", *EAGER]


def test_rounded_products_are_near():
    assert ready(WIDER, libraries.ROUNDED, batch=32)[2] == {}


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.parametrize("task", [tasks.LENET, SMALL], ids=["lenet", "cifar"])
def test_jax_agrees(task):
    assert ready(task, ["jax"])[2] == {}


class WrongWeights(Torch):
    def __init__(self, task, device):
        super().__init__(task, device)
        with torch.no_grad():
            next(self.model.parameters()).mul_(2)


class NoMomentum(Torch):
    def __init__(self, task, device):
        super().__init__(replace(task, options=task.options | {"momentum": 0}), device)


class Stale(libraries.Tinyconv):
    """As a graph would be that is never given the new batch."""

    def step(self, batch):
        self.taken = getattr(self, "taken", [])
        self.taken.append(batch)
        return super().step(self.taken[min(2, len(self.taken) - 1)])


@pytest.mark.parametrize(
    ("kind", "task", "loss"), [(WrongWeights, tasks.LENET, 1), (NoMomentum, SMALL, 3), (Stale, tasks.LENET, 4)]
)
def test_what_is_wrong_is_not_timed(kind, task, loss):
    made, _, reasons = ready(task, ["wrong"], KNOWN | {"wrong": kind})
    assert list(made) == ["tinyconv"]
    assert reasons["wrong"].startswith(f"wrong: loss {loss} is")


def test_the_others_are_not_timed_without_ours():
    class Broken(libraries.Tinyconv):
        def step(self, batch):
            raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        ready(tasks.LENET, ["torch"], KNOWN | {"tinyconv": Broken})


def test_settings_hold_inside_alone():
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32, convolutions.benchmark
    for name, tf32 in {"torch": False, "torch TF32": True, "torch bfloat16": True}.items():
        with KNOWN[name](tasks.LENET, "cpu").settings():
            assert (products.allow_tf32, convolutions.allow_tf32, convolutions.benchmark) == (tf32, tf32, True)
        assert (products.allow_tf32, convolutions.allow_tf32, convolutions.benchmark) == before


def test_autocast_rounds():
    x, y = SMALL.batch(4)
    full, rounded = (KNOWN[name](SMALL, "cpu") for name in ("torch", "torch bfloat16"))
    batch = full.prepare(x, y)
    assert rounded.loss(*batch).item() != full.loss(*batch).item()


# --- a graph --------------------------------------------------------------------------------------------------------


@pytest.fixture
def graphs(monkeypatch):
    """CUDA graphs of what `graphs.library` runs on the CPU: what is captured does not happen, and `replay` does it, on
    the same memory. How often either was done is counted."""
    found = SimpleNamespace(library=None, captures=0, replays=0)

    class CUDAGraph:
        def replay(self):
            found.replays += 1
            found.library.left.copy_(Torch.step(found.library, found.library.taken))

    @contextmanager
    def graph(graph):
        found.captures += 1
        states = (value for state in found.library.optimizer.state.values() for value in state.values())
        tensors = [*found.library.model.state_dict().values(), *states]
        before = [tensor.clone() for tensor in tensors]
        yield
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)

    stream = SimpleNamespace(wait_stream=lambda other: None)
    fakes = {
        "Stream": lambda device: stream,
        "current_stream": lambda device: stream,
        "device": lambda chosen: nullcontext(),
        "stream": lambda chosen: nullcontext(),
        "CUDAGraph": CUDAGraph,
        "graph": graph,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(TorchGraph, "possible", lambda self: True)
    return found


@pytest.mark.parametrize("task", [tasks.LENET, SMALL], ids=["lenet", "cifar"])
def test_the_whole_step_is_replayed(task, graphs):
    def graphed(task, device):
        graphs.library = TorchGraph(task, device)
        return graphs.library

    _, _, reasons = ready(task, ["torch graph"], KNOWN | {"torch graph": graphed})
    assert reasons == {}
    assert (graphs.captures, graphs.replays) == (1, libraries.COMPARED - TorchGraph.FIRST)


def test_no_graph_without_a_gpu():
    assert ready(tasks.LENET, ["torch graph"])[2] == {"torch graph": "a CUDA graph needs a GPU"}


# --- times ----------------------------------------------------------------------------------------------------------


class Noted(Library):
    def __init__(self):
        self.done = []

    @contextmanager
    def settings(self):
        self.done.append("set")
        yield
        self.done.append("unset")

    def step(self, batch):
        self.done.append(batch)

    def wait(self):
        self.done.append("wait")


def test_a_burst_waits_once():
    library = Noted()
    gpu.bursts(library, "step", 3)
    assert library.done == ["set", "step", "step", "step", "wait", "unset"]


def test_a_step_has_its_share_of_a_burst():
    assert timing.shared({"a": [[1.0], [3.0]]}, 50) == {"a": [[0.02], [0.06]]}


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_an_answer():
    question = {"benchmark": "lenet", "device": "cpu", "batch": 4, "libraries": EAGER, "turns": 3, "burst": 2}
    found = gpu.answer(question)
    assert (found["batch"], found["parameters"], found["missing"]) == (4, 44_426, {})
    for name in ["tinyconv", *EAGER]:
        assert found["summary"][name]["calls"] == 3
        assert np.isfinite(found["summary"][name]["ratio"])
        assert [len(turn) for turn in found["samples_ms"][name]] == [1, 1, 1]
        assert found["launches"][name] == {"missing": "Missing: PyTorch's profiler sees no GPU"}


@pytest.mark.slow
def test_a_process_for_each_batch_size():
    parts = gpu.run("lenet", "cpu", (2, 3), ("torch", "torch graph"), 8)
    ((key, part),) = parts.items()
    assert key == f"step, {part['batches'][0]['device']['name']}"
    for batch, one in zip((2, 3), part["batches"], strict=True):
        assert one["batch"] == batch
        assert list(one["summary"]) == ["tinyconv", "torch"]
        assert one["missing"] == {"torch graph": "a CUDA graph needs a GPU"}


def test_a_process_that_dies_does_not_end_the_others(monkeypatch):
    def in_process(module, question, variables):
        if question["batch"] == 2:
            raise gpu.Failed(-6, module)
        return {"batch": question["batch"], "missing": {}}

    monkeypatch.setattr(gpu, "in_process", in_process)
    (part,) = gpu.run("lenet", "cpu", (2, 3), ("torch",), 8).values()
    assert [one["missing"] for one in part["batches"]] == [{"torch": "the process of batch 2 ended with -6"}, {}]


# --- launches -------------------------------------------------------------------------------------------------------

DESCRIBED = r"""digraph dot {
subgraph cluster_1 {
label="graph_1" graph[style="dashed"];
"graph_1_node_0"[style="bold" shape="record" label="{KERNEL
| {ID | 0 (topoId: 3) | conv_KERNEL\<\<\<1,128,0\>\>\>}
| {{node handle | func handle} | {0x01 | 0x02}}
}"];
"graph_1_node_1"[style="solid" shape="record" label="{
MEMCPY
| {{ID | node handle} | {1 (topoId: 2) | 0x03}}
}"];
"graph_1_node_2"[style="bold" shape="record" label="{KERNEL
| {ID | 2 (topoId: 1) | pool\<\<\<1,128,0\>\>\>}
}"];
"graph_1_node_0" -> "graph_1_node_1" [headlabel=0];
"graph_1_node_1" -> "graph_1_node_2" [headlabel=0];
}
}
"""


def test_kernels_of_a_graph():
    asked = []
    graph = SimpleNamespace(debug_dot_str=lambda flags=0: asked.append(flags) or DESCRIBED)
    assert gpu.kernels_of(graph) == 2
    assert asked == [1]


def test_kernels_and_copies_are_told_apart():
    names = ["gemm", "Memcpy DtoD (Device -> Device)", "Memset (Device)", "elementwise", "Optimizer.step#Adam.step"]
    events = [SimpleNamespace(name=name, is_user_annotation=name.startswith("Optimizer")) for name in names]
    assert gpu.tally(events) == {"kernels": 2, "copies": 2}


def test_only_what_ran_on_the_device_is_counted(monkeypatch):
    from torch.autograd import DeviceType

    class profile:
        def __init__(self, activities):
            assert [activity.name for activity in activities] == ["CUDA"]

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def events(self):
            kinds = {"cudaLaunchKernel": DeviceType.CPU, "gemm": DeviceType.CUDA}
            return [SimpleNamespace(name=n, device_type=k, is_user_annotation=False) for n, k in kinds.items()]

    monkeypatch.setattr(torch.profiler, "profile", profile)
    monkeypatch.setattr(torch.profiler, "supported_activities", lambda: {torch.profiler.ProfilerActivity.CUDA})
    library = Noted()
    assert gpu.launches(library, "step") == {"kernels": 1, "copies": 0}
    assert library.done == ["set", "step", "wait", "unset"]


# --- whole trainings ------------------------------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch):
    """Trainings in this process, of 256 images."""
    load = training.start.__globals__["data"].load

    def few(name, split="train", *place):
        whole = load(name, split, *place)
        return replace(whole, images=whole.images[:256], labels=whole.labels[:256])

    monkeypatch.setattr(training.start.__globals__["data"], "load", few)
    asked = []

    def in_process(module, question, variables):
        asked.append((question["part"], question["device"], question["seed"], variables.get("CUPY_CACHE_DIR")))
        return training.answer(json.loads(json.dumps(question)))

    monkeypatch.setattr(training, "in_process", in_process)
    monkeypatch.setattr(training, "FIRST", 2)
    return asked


@pytest.mark.slow
def test_trainings(short):
    ((key, part),) = training.run("cpu", None, (0, 1), 4, "synthetic").items()
    assert key == f"training, {part['device']['name']}"
    assert [question[:3] for question in short] == [
        *[("losses", "cpu", 0)] * 2, ("run", "cpu", 0), ("run", "cpu", 0), ("run", "cpu", 1)
    ]  # fmt: skip
    assert [question[3] is None for question in short] == [True, True, False, False, False]
    assert len({question[3] for question in short[2:]}) == 1
    assert part["same_bits"] is True
    first, second, other = part["samples"]
    assert first["weights_sha256"] == second["weights_sha256"] != other["weights_sha256"]
    assert part["epochs"] == len(first["history"]) == 4
    assert part["mean_accuracy"] == (second["test_accuracy"] + other["test_accuracy"]) / 2
    assert all(run[time] > 0 for run in part["samples"] for time in training.TIMES)
    here, there = part["first_losses"]
    assert here == there
    assert len(here) == 8  # all there are


def test_other_bits_are_seen():
    model = models.LeNet5()
    before = training.hash_of(model)
    model.fc3.bias.data[0] += 1e-7
    assert training.hash_of(model) != before
    runs = [
        {"history": [0], "test_accuracy": 0.5, "weights_sha256": hashed, **dict.fromkeys(training.TIMES, 1.0)}
        for hashed in (before, training.hash_of(model))
    ]
    assert training.summed_up(runs)["same_bits"] is False


def test_a_training_with_other_losses_is_not_timed(short, monkeypatch):
    losses = iter([[2.0, 1.0], [2.0, 1.001]])
    monkeypatch.setattr(training, "first_losses", lambda question: next(losses))
    with pytest.raises(libraries.Disagreement, match=r"loss 2 is 1\.001"):
        training.run("cpu", None, (0,), 1, "synthetic")
    assert {part for part, *_ in short} == {"losses"}


# --- the tables -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """The functions of benchmarks/tables.py, and a folder for records in place of ours."""
    found = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))
    monkeypatch.setitem(found["part"].__globals__, "HERE", tmp_path)
    (tmp_path / "records").mkdir()
    return found["TABLES"], tmp_path / "records"


CUDA = {"name": "A GPU", "driver": "1.2", "driver_cuda": "13.0", "cuda": "13.0", "cupy": "14.0.0"}


def test_no_record_no_table(tables):
    for name in ("lenet_cuda", "cuda"):
        assert tables[0][name]() == ""


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_tables_of_steps(tables):
    question = {"benchmark": "lenet", "device": "cpu", "libraries": ["torch", "torch graph"], "turns": 2, "burst": 2}
    batches = [{**gpu.answer({**question, "batch": batch}), "device": CUDA} for batch in (2, 128)]
    batches[1]["launches"]["tinyconv"] = {"kernels": 20, "copies": 3, "in_graph": 18}
    batches.append({"batch": 512, "summary": {}, "missing": {"torch": "it ended"}, "burst": 2, "device": CUDA})
    record.save("lenet-cuda", {"step, A GPU": {"batches": batches}}, tables[1] / "lenet-cuda.json")
    front, all_of_them = (tables[0][name]() for name in ("lenet_cuda", "cuda"))
    assert [line for line in front.splitlines() if line.startswith("| batch")] == [
        "| batch 128, A GPU | a step | of PyTorch's | kernels | copies |"
    ]
    (ours,) = (line for line in front.splitlines() if line.startswith("| tinyconv, plain loop"))
    median = 1e3 * batches[1]["summary"]["tinyconv"]["median_ms"]
    assert f"| {median:,.0f} µs |" in ours
    assert ours.endswith("| 20 (18 in the graph) | 3 |")
    assert "PyTorch, the step as one CUDA graph: a CUDA graph needs a GPU." in front
    assert front.count("A GPU, driver 1.2 (CUDA 13.0), CUDA 13.0, CuPy 14.0.0;") == 1
    assert all_of_them.startswith("## On a GPU\n\n### LeNet\n\n| batch 2, A GPU |")
    assert "### A 3x3 network" not in all_of_them
    assert all_of_them.count("| batch ") == 3
    assert "PyTorch eager: it ended." in all_of_them


def test_table_of_trainings(tables):
    times = dict(zip(training.TIMES, (3.0, 0.5, 1.25), strict=True))
    runs = [
        {"seed": seed, "history": [0, 0], "test_accuracy": accuracy, "weights_sha256": "x", **times}
        for seed, accuracy in ((0, 0.99), (0, 0.99), (1, 0.98))
    ]
    part = {**training.summed_up(runs), "device": CUDA}
    record.save("lenet-cuda", {"training, A GPU": part}, tables[1] / "lenet-cuda.json")
    found = tables[0]["cuda"]()
    assert "| training and tests | 1.25 |" in found
    assert "Test accuracy **98.50%**, sd 0.71%, seeds 0, 1;" in found
    assert "The weights of two runs of seed 0 are the same to the last bit." in found


# --- the commands ---------------------------------------------------------------------------------------------------


def bench(*words):
    command = [sys.executable, "-m", "tinyconv", "bench", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lenet", "--device", "cuda", "--threads", "1"], "--threads is for the CPU; leave it out with --device cuda"),
        (["lenet", "--device", "cuda", "--plot", "x.png"], "--plot is for the CPU"),
        (["cifar", "--device", "cuda:0", "--threads", "2"], "leave it out with --device cuda:0"),
        (["lenet", "--device", "cuda", "--part", "memory"], "no part 'memory'; there are step, training"),
        (
            ["lenet", "--device", "cuda", "--library", "mygrad"],
            "no library 'mygrad'; there are tinyconv, tinyconv",
        ),
        (["lenet", "--part", "training"], "no part 'training'; there are step, inference"),
        (["lenet", "--device", "meta"], "nothing can be timed on device 'meta'"),
    ],
)
def test_wrong_usage(words, expected):
    run = CliRunner().invoke(command.app, words)
    assert run.exit_code == 2
    assert expected in " ".join(run.stderr.replace("│", " ").split())


@pytest.mark.parametrize("benchmark", ["lenet", "cifar"])
@pytest.mark.parametrize("device", ["cuda:99", "tpu"])
def test_no_such_device(benchmark, device, tmp_path):
    run = bench(benchmark, "--device", device, "--out", str(tmp_path / "record.json"))
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith("error: ")
    assert f"device {device.removesuffix(':99')!r}"[:-1] in run.stderr
    assert "Traceback" not in run.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_a_command_on_a_device(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "_on_gpu", lambda device, options: True)
    monkeypatch.setattr(gpu, "in_process", lambda module, question, variables: gpu.answer(question))
    path = tmp_path / "lenet-cuda.json"
    words = ["lenet", "--device", "cpu", "--part", "step", "--batch", "2", "--library", "torch", "--steps", "8"]
    run = CliRunner().invoke(command.app, [*words, "--out", str(path)])
    assert run.exit_code == 0, run.output
    ((key, part),) = json.loads(path.read_text())["parts"].items()
    (one,) = part["batches"]
    assert key == f"step, {one['device']['name']}"
    assert {"commit", "date", "environment", "versions", "launches", "burst"} <= one.keys()
    assert "torch" in run.stdout


# --- the stand-in ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("standin_cuda")
@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_ours_is_captured(monkeypatch):
    made, batches, reasons = libraries.ready(tasks.LENET, ["tinyconv captured"], 2, KNOWN, "cuda")
    assert reasons == {}
    library, batch = made["tinyconv captured"], batches["tinyconv captured"]
    with counted() as count:
        gpu.bursts(library, batch, 2)
    assert count.synchronisations == 1
    assert count.to_host == 0
    assert made["tinyconv"].graph() is None
    with counted() as count:
        gpu.bursts(made["tinyconv"], batch, 1)
    node = '"graph_1_node_0"[style="bold" shape="record" label="{KERNEL\n}"];\n'
    monkeypatch.setattr(Graph, "debug_dot_str", lambda graph, flags: node * len(graph._work), raising=False)
    assert gpu.launches(library, batch)["in_graph"] == count.launches
