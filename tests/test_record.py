"""The record of a run, and the page that is made of it."""

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


def test_a_run_with_a_wrong_op_fails_and_its_record_and_page_say_so(tmp_path, coverage):
    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pytest", "-p", "broken", "tests/ops/test_ops_spaces.py"),
        *("-k", "test_agrees and not on_a_gpu and (tanh or neg)", "--hypothesis-profile=dev", "--hypothesis-seed=0"),
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


def test_the_page_is_that_of_the_record(coverage):
    if not COMMITTED.exists():
        pytest.skip("no record of a deep run: benchmarks/coverage.py says how to make one")
    found = json.loads(COMMITTED.read_text(encoding="utf-8"))
    judges = coverage.record(coverage.JUDGES)
    assert found["failures"] == {}
    assert judges["torch"]["faults"] == judges["onnx"]["faults"] == []
    page = coverage.page(found, judges)
    assert coverage.PAGE.read_text(encoding="utf-8") == page, "run python benchmarks/coverage.py"
