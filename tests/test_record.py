"""The record of a run, and the page and the tables that are made from it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from record import Record

ROOT = Path(__file__).parent.parent
COMMITTED = ROOT / "benchmarks" / "records" / "oracle-deep.json"

BROKEN = """
from tinyconv import ops

backward = ops.Tanh.backward
ops.Tanh.backward = lambda xp, saved, dy, needs: (backward(xp, saved, dy, needs)[0] * 1.001,)
"""


@pytest.fixture
def coverage(monkeypatch):
    """benchmarks/coverage.py."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.delitem(sys.modules, "coverage", raising=False)
    import coverage

    yield coverage
    del sys.modules["coverage"]  # there is a well-known package of this name


def test_examples_count_in_each_of_their_classes_and_the_worst_error_stays():
    record = Record()
    record.add("ops", "f", {"empty", "float32"}, {"float32"}, {"values": 0.5, "gradients": None})
    record.add("ops", "f", {"float64"}, {"float64"}, {"values": 0.25, "gradients": 2.0})
    other = Record()
    other.merge(json.loads(json.dumps(record.rows())))
    other.add("ops", "f", {"empty"}, {"int64"}, {"values": 3.0})
    assert [(row["class"], row["examples"], row["dtypes"], row["errors"]) for row in other.rows()] == [
        ("all", 3, ["float32", "float64", "int64"], {"gradients": 2.0, "values": 3.0}),
        ("empty", 2, ["float32", "int64"], {"values": 3.0}),
        ("float32", 1, ["float32"], {"values": 0.5}),
        ("float64", 1, ["float64"], {"gradients": 2.0, "values": 0.25}),
    ]


@pytest.mark.slow
def test_a_run_with_a_wrong_op_fails_and_its_record_and_page_say_so(tmp_path, coverage):
    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    asked = "test_agrees and not on_a_gpu and not tanhshrink and (tanh or neg)"
    command = [
        *(sys.executable, "-m", "pytest", "-p", "broken", "tests/ops/test_ops_spaces.py"),
        *("-k", asked, "--hypothesis-profile=dev", "--hypothesis-seed=0"),
        *("--record", str(tmp_path / "record.json")),
    ]
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 1, done.stdout + done.stderr
    assert "functional.tanh(x0)" in done.stdout or "Tensor.tanh(x0)" in done.stdout, done.stdout  # what failed
    found = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert list(found["failures"]) == ["tests/ops/test_ops_spaces.py::test_agrees_with_torch[tanh]"]
    assert {"neg"} <= {row["name"] for row in found["rows"]}
    assert found["examples"] == sum(row["examples"] for row in found["rows"] if row["class"] == "all")
    assert "**There was one disagreement**" in coverage.page(found, coverage.record(coverage.JUDGES))


@pytest.fixture
def found():
    """The committed record of a deep run."""
    if not COMMITTED.exists():
        pytest.skip("no record of a deep run: benchmarks/coverage.py says how to make one")
    return json.loads(COMMITTED.read_text(encoding="utf-8"))


def test_the_page_is_a_summary_of_the_record(coverage, found):
    judges = coverage.record(coverage.JUDGES)
    assert found["failures"] == {}
    assert [judges[part]["faults"] for part in ("torch", "layers", "optimisers", "onnx")] == [[]] * 4
    page = coverage.page(found, judges)
    names = {row["name"] for row in found["rows"]}
    assert all(page.count(f"\n| `{name}` |") == 1 for name in names)


def test_the_details_have_every_argument_class(coverage, found, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["coverage.py", "--details"])
    coverage.main()
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| ") for line in lines) - 2 * sum(line.startswith("## ") for line in lines) == sum(
        row["class"] != "all" for row in found["rows"]
    )
    row = next(row for row in found["rows"] if (row["name"], row["class"]) == ("conv2d", "depthwise"))
    monkeypatch.setattr(sys, "argv", ["coverage.py", "--details", "conv2d", "Adam"])
    coverage.main()
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("## ")] == [
        line for name in ("conv2d", "Adam") for line in lines if line.startswith(f"## `{name}`")
    ]
    assert f"| depthwise | float32 float64 | {row['examples']:,} | {coverage.number(row['errors']['values'])} |" in out


def test_details_of_a_name_that_is_not_there(coverage, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["coverage.py", "--details", "conv3d"])
    with pytest.raises(SystemExit, match="conv3d: not in the record, which has H, T, __and__"):
        coverage.main()
