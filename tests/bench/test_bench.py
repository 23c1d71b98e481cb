"""Benchmarks: a library that is wrong is not timed, records keep what was measured, and each command runs."""

import inspect
import json
import re
import runpy
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from fast_recipe import measure as measure_fast_recipe

import tinyconv as tc
from harness import conv, floor, lenet, libraries, record, tasks, timing, torch_recipe, whole
from tinyconv import models, ops
from tinyconv.train import RECIPES

ROOT = Path(tc.__file__).parents[1]


def bench(*words):
    command = [sys.executable, "-m", "tinyconv", "bench", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


# --- what is compared -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tinyconv", "tinyconv numpy, functions", "tinyconv numpy, Sequential", "torch"])
def test_libraries_agree(name):
    made, batches, reasons = libraries.ready(tasks.LENET, [name], 6)
    assert reasons == {}
    assert name in made
    assert made[name].infer(batches[name]).shape == (6, 10)


class WrongGradient(libraries.Tinyconv):
    def step(self, batch):
        for p in self.model.parameters():
            p.register_hook(lambda grad: grad * 1.5 if grad.ndim == 4 else -grad)
        return super().step(batch)


class Broken(libraries.Tinyconv):
    def step(self, batch):
        raise RuntimeError("out of order\nfor a reason")


def test_one_that_is_wrong_or_broken_is_not_timed(monkeypatch):
    monkeypatch.setitem(libraries.LIBRARIES, "wrong", WrongGradient)
    monkeypatch.setitem(libraries.LIBRARIES, "broken", Broken)
    made, _, reasons = libraries.ready(tasks.LENET, ["wrong", "broken"], 6)
    assert list(made) == ["tinyconv"]
    assert reasons["wrong"].startswith("wrong: loss 2 is")
    assert reasons["broken"] == "RuntimeError: out of order"


@pytest.mark.slow
@pytest.mark.parametrize("pair", [conv.TwoLoops, ops.Conv2d])
@pytest.mark.parametrize(
    "layer", [conv.Layer("", 2, 3, 3, 7, 1), conv.Layer("", 1, 2, 5, 6), conv.Layer("", 3, 2, 1, 4)]
)
def test_convolutions_are_checked_before_they_are_timed(pair, layer, monkeypatch):
    found = conv.measured(layer, 2)
    assert {"six loops", "two loops", "im2col", "torch"} <= {row["name"] for row in found["rows"]}
    backward = pair.backward

    def wrong(*args, **geometry):
        dx, dweight, dbias = backward(*args, **geometry)
        return dx, dweight * 1.01, dbias

    if pair is conv.TwoLoops:
        monkeypatch.setattr(pair, "backward", staticmethod(wrong))
        with pytest.raises(AssertionError, match="two loops: dweight differs"):
            conv.measured(layer, 2)


class Nudged(libraries.Tinyconv):
    """A gradient that is wrong by a millionth, in replays too."""

    def _trained(self, x, y):
        loss = super()._trained(x, y)
        self.net.conv1.weight.grad *= 1 + 1e-6
        return loss


def test_steps_in_float64_are_pytorchs():
    names = ["tinyconv numpy, functions", "tinyconv numpy, Sequential"]
    known = libraries.OWN | {"nudged": Nudged, "nudged and captured": partial(Nudged, captured=True)}
    found, reasons = libraries.exact(tasks.LENET, [*names, "nudged", "nudged and captured", "torch"], 70, known)
    assert list(found) == ["tinyconv", *names]
    assert all(found[name]["gradients, float64"] < 1e-12 for name in found)
    assert list(reasons) == ["nudged", "nudged and captured"]
    for name, reason in reasons.items():
        assert reason.startswith(f"{name}: gradients in float64 differ from PyTorch's by 1.0e-06")


@pytest.mark.parametrize("task", [tasks.LENET, replace(tasks.CIFAR, make=lambda: models.CifarNet((4, 8)))])
def test_a_net_is_the_same_in_each_style(task):
    x, y = task.batch(3)
    losses = {}
    for style in tasks.STYLES[task.name]:
        library = libraries.Tinyconv(task, style=style)
        losses[style] = [float(library.step(library.prepare(x, y))) for _ in range(2)]
        assert len(library.gradients()) == len(list(task.model().parameters()))
    assert losses["functions"] == losses["Sequential"]


def test_a_small_gradient_is_measured_by_all_of_them():
    theirs = {"large": np.ones(100), "small": np.full(1, 1e-12)}
    ours = {"large": np.ones(100), "small": np.full(1, 2e-12)}
    found = libraries.differences(([1.0], [ours]), ([1.0], [theirs]))
    assert found["gradients"] == pytest.approx(1e-12 / (1e-3 * 10))
    wrong = libraries.differences(
        ([1.0], [ours | {"small": np.full(1, 0.5)}]), ([1.0], [theirs | {"small": np.ones(1)}])
    )
    assert wrong["gradients"] == 0.5


def test_a_step_that_another_executor_replays_is_not_timed(monkeypatch):
    monkeypatch.setitem(libraries.LIBRARIES, "mistaken", partial(Mistaken, captured=True, kernels="compiled"))
    made, _, reasons = libraries.ready(tasks.LENET, ["mistaken"], 6)
    assert "mistaken" not in made
    assert reasons["mistaken"] == "its executor is not 'compiled' here, but 'numpy'"


class Mistaken(libraries.Tinyconv):
    def settings(self):
        return libraries.Tinyconv(tasks.LENET, kernels="numpy").settings()


def test_the_floor_has_the_products_that_a_step_needs():
    conv1, conv2 = 6 * 25 * 24 * 24, 16 * 6 * 25 * 8 * 8
    linear = 256 * 120 + 120 * 84 + 84 * 10
    assert floor.flops(tasks.LENET, 128, training=False) == 2 * 128 * (conv1 + conv2 + linear)
    assert floor.flops(tasks.LENET, 128, training=True) == 2 * 128 * (
        2 * conv1 + 3 * (conv2 + linear)
    )  # no dx of images


def test_the_share_of_the_floor(monkeypatch):
    monkeypatch.setattr(floor, "gemm_peak", lambda: 100.0)
    found = floor.beside_floor({"ours": {"median_ms": 4.0}, "theirs": {"median_ms": 8.0}}, 200_000_000)
    assert found["floor_ms"] == 2.0
    assert {name: row["floor_share"] for name, row in found["summary"].items()} == {"ours": 0.5, "theirs": 0.25}


# --- times and records ----------------------------------------------------------------------------------------------


def test_turns_and_ratios(monkeypatch):
    monkeypatch.setattr(timing, "PAUSE", 0)
    calls = []
    samples = timing.in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 6, 2, {"b": 3}, warm=1)
    assert calls[:8] == ["a", "a", "a", "b", "b", "a", "a", "a"]
    assert [len(turn) for turn in samples["a"]] == [2] * 6
    assert [len(turn) for turn in samples["b"]] == [1] * 2
    made_up = {"ours": [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], "torch": [[2.0, 2.0], [4.0, 4.0], [3.0, 3.0]]}
    found = timing.summary(made_up, "torch")
    assert found["ours"]["ratio"] == 0.5
    assert found["ours"]["median_ms"] == 2000.0
    assert found["torch"]["ratio"] == 1.0


def test_a_record_keeps_what_was_measured_before(tmp_path):
    path = tmp_path / "record.json"
    record.save(
        "lenet", {"step": {"batches": [{"batch": 1, "x": 1}, {"batch": 128, "x": 1}]}, "memory": {"y": 1}}, path
    )
    record.save("lenet", {"step": {"batches": [{"batch": 32, "x": 2}, {"batch": 128, "x": 2}]}}, path)
    parts = json.loads(path.read_text())["parts"]
    assert [(one["batch"], one["x"]) for one in parts["step"]["batches"]] == [(1, 1), (32, 2), (128, 2)]
    assert parts["memory"]["y"] == 1
    assert {"commit", "date", "environment", "versions"} <= parts["memory"].keys()
    assert {"commit", "date"} <= parts["step"]["batches"][0].keys()


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1, "b": [True, None, "ü"], "c": {}},
        {"samples": {"ours": [[0.1 + i / 7 for i in range(60)] for _ in range(3)], "theirs": []}},
        {
            "runs": [
                {"seed": seed, "history": [{"epoch": epoch, "loss": 1e-30} for epoch in range(9)]} for seed in (0, 1)
            ]
        },
        {"words": [f"a word, {i} of many" for i in range(20)], "inf": float("inf")},
    ],
)
def test_a_record_is_json_with_a_list_of_numbers_on_a_line(value):
    lines = record.text(value).splitlines()
    assert json.dumps(json.loads("\n".join(lines))) == json.dumps(value)
    for line in lines:
        assert len(line) <= record.WIDTH or not re.search(r'[{"]', line.partition("[")[2])
        assert not re.fullmatch(r" *[-\d.e]+,?", line)


@pytest.fixture
def tables():
    return runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))


def test_tables_say_what_was_not_measured(tables, tmp_path, monkeypatch):
    monkeypatch.setitem(tables["part"].__globals__, "HERE", tmp_path)
    assert "not measured" in tables["TABLES"]["aims"]()
    of_the_source = {"op", "ops", "grad_fn", "lines"}
    for name in set(tables["TABLES"]) - of_the_source - {"aims", "accuracy", "accuracy_short", "lenet_cuda", "cuda"}:
        words = ["kill"] if name == "campaign" else []
        assert tables["TABLES"][name](*words) == tables["NOT_YET"], name


def test_a_page_is_filled_between_its_marks(tables, tmp_path, monkeypatch):
    made = {
        "one": lambda: "see [records](/benchmarks/records#top)",
        "two": lambda *words: str(words),
        "none": lambda: "",
    }
    monkeypatch.setitem(tables["filled"].__globals__, "TABLES", made)
    page = "a\n" + "".join(f"<!-- table: {words} -->\nold\n<!-- end -->\n" for words in ("one", "two b c", "none"))
    assert tables["filled"](page, ROOT / "docs" / "page.md").splitlines() == [
        "a",
        *("<!-- table: one -->", "see [records](../benchmarks/records#top)", "<!-- end -->"),
        *("<!-- table: two b c -->", "('b', 'c')", "<!-- end -->"),
        *("<!-- table: none -->", "<!-- end -->"),
    ]


@pytest.fixture
def accuracy(monkeypatch):
    """benchmarks/accuracy.py, and a recipe for it that takes seconds."""
    monkeypatch.setitem(RECIPES, "quick", replace(RECIPES["default"], epochs=1, flip=True))
    return runpy.run_path(str(ROOT / "benchmarks" / "accuracy.py"))


def test_seeds_of_a_record_are_trained_one_by_one(accuracy, tables, tmp_path, monkeypatch):
    def run(what, seed, root, threads, checkpoints):
        return {"seed": seed, "seconds": 9 + seed, "gflops": 100.0, "history": [{"test_accuracy": 0.9 + seed / 100}]}

    script, path = accuracy["main"].__globals__, tmp_path / "records" / "accuracy-cifarnet.json"
    path.parent.mkdir()
    monkeypatch.setitem(script, "run", run)
    quick = accuracy["Measured"]("lenet5", "synthetic", "quick", range(3), "A note.")
    monkeypatch.setitem(accuracy["MEASURED"], "cifarnet", quick)
    monkeypatch.setattr(tc.data, "fetch", lambda *words: None)  # drawn digits have no files
    monkeypatch.setattr(tc.data, "verify", lambda *words: [(None, "ok")])

    def trained(*seeds):
        words = ["--seeds", *map(str, seeds)] if seeds else []
        monkeypatch.setattr(sys, "argv", ["accuracy.py", "cifarnet", "--records", str(path.parent), *words])
        accuracy["main"]()
        found = json.loads(path.read_text(encoding="utf-8"))
        return found, [run["seed"] for run in found["runs"]]

    assert trained(1)[1] == [1]
    assert trained(0)[1] == [0, 1]
    found, seeds = trained(1, 2)
    assert seeds == [0, 1, 2]
    assert (found["mean_accuracy"], found["median_seconds"]) == (pytest.approx(0.91), 10)
    assert trained() == (found, seeds)
    monkeypatch.setitem(tables["cifar_accuracy"].__globals__, "HERE", tmp_path)
    row = tables["cifar_accuracy"]().splitlines()[2].split(" | ")
    assert (row[4], row[5], row[7:9], row[-1]) == ("0, 1, 2", "**91.00%**", ["", ""], "100 |")
    path.write_text(json.dumps({**found, "commit": "another"}), encoding="utf-8")
    assert trained(1)[1] == [1]


def test_a_seed_of_a_record(accuracy, tmp_path):
    """Trained at once, and stopped in the middle and resumed."""
    what, threads = accuracy["Measured"]("lenet5", "synthetic", "quick", range(1)), tc.get_num_threads()
    found = accuracy["run"](what, 0, None, threads)
    assert found["history"][-1]["test_accuracy"] > 0.5
    assert {found[name] for name in ("mirrored_accuracy", "six_views_accuracy")} <= {n / 2000 for n in range(2001)}
    assert 0 < found["seconds"] < found.pop("wall_seconds")
    session = accuracy["train"].start(accuracy["train"].new_run("lenet5", "synthetic", 0, RECIPES["quick"]))
    for report in session.trainer.run():
        if report.step == 9:
            break
    session.save(tmp_path / "lenet5-synthetic-quick-seed0.safetensors")
    again = accuracy["run"](what, 0, None, threads, tmp_path)
    times = {"seconds": 0, "gflops": 0}
    for one in (found, again):
        assert one["gflops"] > 0
        del one["history"][-1]["seconds"]
    assert again | times == found | times
    RECIPES["quick"] = replace(RECIPES["quick"], lr=1e-3)
    with pytest.raises(SystemExit, match="is of another training"):
        accuracy["run"](what, 0, None, threads, tmp_path)


def test_the_operations_of_an_epoch_are_those_of_its_layers(accuracy):
    """A step of training counts three times a forward, but for the gradient of the images."""
    session = accuracy["train"].start(accuracy["train"].new_run("mlp", "synthetic", 0, RECIPES["default"]))
    first, *others = (layer.weight.numel() for layer in session.model.modules() if isinstance(layer, tc.nn.Linear))
    images, tested = len(session.trainer.loader.images), len(session.trainer.test.images)
    forward = 2 * (first + sum(others))
    assert accuracy["epoch_flops"](session) == images * (3 * forward - 2 * first) + tested * forward
    assert all(parameter.grad is None for parameter in session.model.parameters())


def test_the_source_of_an_op_is_that_of_the_book(tables):
    found = tables["TABLES"]["op"]("Conv2d")
    assert found.startswith("```python\nclass Conv2d:\n")
    assert inspect.getsource(ops.Conv2d).strip() in found
    with pytest.raises(SystemExit, match="no class 'Convolution' in tinyconv/ops"):
        tables["TABLES"]["op"]("Convolution")


def test_the_size_of_the_package_is_counted(tables):
    book, package = map(int, re.findall(r"about (\d+)", tables["TABLES"]["lines"]().replace(",", "")))
    counted = [len(path.read_text(encoding="utf-8").splitlines()) for path in Path(tc.__file__).parent.rglob("*.py")]
    assert abs(sum(counted) - package) <= 500
    assert 0 < book < package / 5


def made_up(name, libraries_of, **other):
    rows = {
        library: {
            "median_ms": 4.0 * share,
            "ratio": share,
            "ratio_quartiles": [share, share],
            "floor_share": 0.5 / share,
        }
        for library, share in libraries_of.items()
    }
    one = {"batch": 128, "summary": rows, "missing": {}, "flops": 2e8, "peak_gflops": 100.0, "floor_ms": 2.0, **other}
    return {name: {"batches": [one]}}


def test_the_slower_style_is_what_reaches_an_aim(tables, tmp_path, monkeypatch):
    monkeypatch.setitem(tables["part"].__globals__, "HERE", tmp_path)
    (tmp_path / "records").mkdir()
    shares = {"tinyconv compiled, functions": 0.2, "tinyconv compiled, Sequential": 0.3, "torch": 1.0, "jax": 3.5}
    parts = made_up("step, 2 threads", shares)
    record.save("lenet", parts, tmp_path / "records" / "lenet.json")
    lines = tables["TABLES"]["aims"]().splitlines()
    assert "| the same, 2 threads | <= 0.67 | not measured | <= 0.25 | 0.30 |" in lines
    assert "| step, batch 128, 2 threads, against JAX jit |  |  | <= 0.1 | **0.09** |" in lines
    table = tables["TABLES"]["lenet"]()
    assert "| the same, a `Sequential` | 1.20 ms | 0.30 (0.30 to 0.30) | 167% |" in table.splitlines()
    assert "200 MFLOP at 100 GFLOP/s are 2.00 ms, 2 threads" in table


def test_the_table_of_the_recipe_for_speed(tables, tmp_path, monkeypatch):
    monkeypatch.setitem(tables["part"].__globals__, "HERE", tmp_path)
    (tmp_path / "records").mkdir()
    seconds = {"tinyconv compiled": 2.0, "torch": 8.0, "torch.compile": 10.0}

    def one_process(command, environment, folder):
        library = "tinyconv compiled" if "tinyconv" in command else "torch.compile" if "compile" in command else "torch"
        seed = int(command[command.index("--seed") + 1] if library == "tinyconv compiled" else command[3])
        return {"seconds": seconds[library], "peak_mib": 100.0, "test_accuracy": 0.99 + seed / 1000}

    monkeypatch.setattr(whole, "found_mnist", lambda root: tmp_path)
    monkeypatch.setattr(whole, "one_process", one_process)
    found = measure_fast_recipe(range(10), range(3))
    assert {name: [run["seed"] for run in runs] for name, runs in found["runs"].items()} == {
        "tinyconv compiled": list(range(10)),
        "torch": [0, 1, 2],
        "torch.compile": [0, 1, 2],
    }
    record.write(tmp_path / "records" / "fast-recipe.json", found)
    table = tables["TABLES"]["fast_recipe"]()
    assert "| `tinyconv train lenet5 --recipe fast` | 2.00 | 2.0 | 100 MiB | 10 | 99.45% |" in table.splitlines()
    assert "| the same recipe in PyTorch | 8.00 | 8.0 | 100 MiB | 3 | 99.10% |" in table.splitlines()
    assert "Mean of seeds 5 to 9: **99.70%**" in table
    assert "99.45% of the test digits right after **2.0 s**" in tables["TABLES"]["fast_short"]()


@pytest.mark.parametrize("name", ["default", "lesson", "fast", "cifar-lenet", "cifar"])
def test_the_recipe_in_pytorch_is_ours(name):
    recipe = RECIPES[name]
    net = torch.nn.Linear(3, 2)
    theirs = torch_recipe.optimizer_of(asdict(recipe), net)
    schedule = torch_recipe.schedule_of(asdict(recipe), theirs, 20)
    ours = replace(recipe, layer_rates=False).optimizer_of(tc.nn.Linear(3, 2))
    scheduler = recipe.scheduler(ours, 20)
    (their_group,), (our_group,) = theirs.param_groups, ours.param_groups
    for _ in range(19):
        shared = {key for key in ("lr", "momentum", "betas", "nesterov", "weight_decay") if key in our_group}
        for key in shared:
            assert np.allclose(their_group[key], our_group[key], rtol=1e-9), key
        theirs.step()
        schedule.step()
        if scheduler is not None:
            scheduler.step()


def test_short_tables_have_the_figures_of_the_long_ones(tables):
    for name, row in {"lenet": "| torch.compile | ", "accuracy": "| `best` | "}.items():
        long, short = (tables["TABLES"][kind]() for kind in (name, f"{name}_short"))
        (full,), (brief,) = ([line for line in text.splitlines() if line.startswith(row)] for text in (long, short))
        assert len(brief) < len(full)
        assert set(re.findall(r"\*\*.*?\*\*|\d\.\d\d (?=\()", full)) <= set(re.findall(r"\*\*.*?\*\*|\d\.\d\d ", brief))
        assert "](/benchmarks/README.md" in short.splitlines()[-1]


# --- the commands ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_bench_conv(tmp_path):
    out = tmp_path / "conv.json"
    run = bench("conv", "--layer", "1", "--batch", "2", "--threads", "1", "--out", str(out))
    assert run.returncode == 0, run.stderr
    (layer,) = json.loads(out.read_text())["parts"]["1 thread"]["layers"]
    rows = {row["name"]: row for row in layer["rows"]}
    assert rows["im2col"]["forward"]["gflops"] > 0
    assert rows["six loops"]["images"] == 1
    assert "conv2 5x5" in run.stdout


@pytest.mark.slow
def test_bench_lenet(tmp_path):
    out = tmp_path / "lenet.json"
    words = ["--part", "step", "--batch", "4", "--steps", "8", "--threads", "1", "--library", "torch"]
    own = ["tinyconv numpy, functions", "tinyconv compiled, Sequential"]
    words += [word for name in own for word in ("--library", name)]
    run = bench("lenet", *words, "--out", str(out), "--json")
    assert run.returncode == 0, run.stderr
    (one,) = json.loads(run.stdout)["parts"]["step, 1 thread"]["batches"]
    assert {"tinyconv", own[0], "torch"} <= set(one["summary"])
    assert {"tinyconv", *own, "torch"} == {*one["summary"], *one["missing"]}
    for row in one["summary"].values():
        assert row["calls"] == 16
        assert np.isfinite(row["ratio"])
        assert row["floor_share"] == pytest.approx(one["floor_ms"] / row["median_ms"])
    assert one["differences"]["tinyconv"]["losses, float64"] < 1e-9


def test_libraries_that_take_minutes_are_left_out_of_large_batches():
    names = tuple(libraries.LIBRARIES)
    assert lenet.taking_part(names, 128) == list(names)
    assert lenet.taking_part(names, 129) == [*libraries.OWN, "torch"]


@pytest.mark.slow
def test_bench_cifar(tmp_path):
    out = tmp_path / "cifar.json"
    run = bench("cifar", "--batch", "4", "--steps", "4", "--threads", "1", "--net", "stack", "--out", str(out))
    assert run.returncode == 0, run.stderr
    part = json.loads(out.read_text())["parts"]["stack, 1 thread"]
    assert {"tinyconv", "tinyconv numpy, functions", "tinyconv numpy, Sequential", "torch"} <= part["summary"].keys()
    assert "stack, 1 thread, batch 4" in run.stdout
    assert "torch" in run.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lenet", "--part", "speed"], "no part 'speed'; there are step, inference"),
        (["cifar", "--net", "resnet"], "no net 'resnet'; there are stack, cifarnet"),
        (["lenet", "--library", "theano"], "no library 'theano'; there are tinyconv"),
        (["conv", "--layer", "99"], "no layer [99]; there are 0: conv1 5x5"),
        (["ops", "--part", "x"], "no part 'x'; there are overhead, startup, summary"),
        (["lenet", "--part", "memory", "--plot", "x.png"], "--plot draws the training steps: add --part step"),
    ],
)
def test_wrong_usage(words, expected):
    run = bench(*words)
    assert run.returncode == 2
    assert expected in " ".join(run.stderr.replace("│", " ").split())
