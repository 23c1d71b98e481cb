"""Benchmarks: a library that is wrong is not timed, records keep what was measured, and each command runs."""

import inspect
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyconv as tc
from harness import conv, libraries, record, tasks, timing
from tinyconv import ops

ROOT = Path(tc.__file__).parents[1]


def bench(*words):
    command = [sys.executable, "-m", "tinyconv", "bench", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


# --- what is compared -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tinyconv", "tinyconv parallel", "torch"])
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
    words = ["--part", "step", "--batch", "4", "--steps", "8", "--threads", "1", "--library", "tinyconv parallel"]
    run = bench("lenet", *words, "--library", "torch", "--out", str(out), "--json")
    assert run.returncode == 0, run.stderr
    (one,) = json.loads(run.stdout)["parts"]["step, 1 thread"]["batches"]
    assert set(one["summary"]) == {"tinyconv", "tinyconv parallel", "torch"}
    assert all(row["calls"] == 16 and np.isfinite(row["ratio"]) for row in one["summary"].values())


@pytest.mark.slow
def test_bench_cifar(tmp_path):
    out = tmp_path / "cifar.json"
    run = bench("cifar", "--batch", "4", "--steps", "4", "--threads", "1", "--out", str(out))
    assert run.returncode == 0, run.stderr
    part = json.loads(out.read_text())["parts"]["step, 1 thread"]
    assert {"tinyconv", "tinyconv parallel", "torch"} <= part["summary"].keys()
    assert "step, 1 thread, batch 4" in run.stdout
    assert "torch" in run.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lenet", "--part", "speed"], "no part 'speed'; there are step, inference"),
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
