"""The benchmark of ranks: what it measures, what it refuses, and the model of what ranks cost."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import tinyconv as tc
from harness import ranks
from harness.ranks import Carrier, Net, predicted
from tinyconv.engine import tree

ROOT = Path(tc.__file__).parents[1]
FREE = Carrier(0.0, 1e9, 1e9)


@pytest.mark.parametrize("count", [1, 2, 4, 8, 128])
def test_where_handing_round_is_free_ranks_share_the_tiles(count):
    net = Net(tile_ms=3.0, once_ms=0.5, gradient=1000)
    assert predicted(net, FREE, 8192, count)["step_ms"] == pytest.approx(128 / count * 3.0 + 0.5)


def test_a_rank_without_a_tile_saves_nothing():
    net = Net(3.0, 0.0, 1000)
    assert predicted(net, FREE, 8192, 1000)["work_ms"] == predicted(net, FREE, 8192, 128)["work_ms"] == 3.0


def test_ranks_without_a_core_take_turns():
    net = Net(3.0, 0.5, 1000)
    assert predicted(net, FREE, 512, 4, cores=2)["step_ms"] == pytest.approx(
        2 * predicted(net, FREE, 512, 4)["step_ms"]
    )


def test_what_is_handed_round():
    """By hand: two units of 1 MB, and four of 2 MB, which each rank adds up in part."""
    carrier = Carrier(latency_us=10, gb_s=1, adding_gb_s=2)
    small = predicted(Net(1.0, 0.0, 1e6), carrier, 128, 2)
    assert small["handing_ms"] == pytest.approx(2 * 0.01 + 1.0)
    assert small["adding_ms"] == pytest.approx(2 / 2)
    large = predicted(Net(1.0, 0.0, 2e6), carrier, 256, 4)
    assert large["handing_ms"] == pytest.approx((3 + 2 * 2) * 0.01 + (8 - 2) / 4 + 1.5)
    assert large["adding_ms"] == pytest.approx(8 / 4 / 2)
    assert 2e6 < tree.LARGE < 8e6


@pytest.mark.slow
def test_the_command(tmp_path):
    out = tmp_path / "ranks.json"
    command = [sys.executable, "benchmarks/ranks.py", "lenet-numpy", "--turns", "1", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "lenet-numpy, 4 ranks: " in done.stdout
    step = json.loads(out.read_text(encoding="utf-8"))["steps"]["lenet-numpy"]
    assert [one["ranks"] for one in step["of_ranks"]] == [2, 4]
    assert step["of_ranks"][0]["bytes"] > 2 * step["gradient_bytes"] == 2 * 4 * 44426
    tables = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))
    tables["record"].__globals__["HERE"] = tmp_path
    (tmp_path / "records").mkdir()
    out.rename(tmp_path / "records" / "ranks.json")
    assert "| LeNet-5, NumPy | 2 | " in tables["TABLES"]["ranks"]()


@pytest.mark.slow
def test_other_weights_are_no_record(monkeypatch):
    """On one rank here: the two models differ as soon as they begin differently."""
    build = ranks.step_of

    def other(work, batch, wrap):
        net, step = build(work, batch, wrap)
        if wrap is not tc.nn.DistributedDataParallel:
            with tc.no_grad():
                next(iter(net.parameters())).mul_(1.001)
        return net, step

    monkeypatch.setattr(ranks, "step_of", other)
    monkeypatch.setattr(ranks, "set_kernels", lambda name: None)
    monkeypatch.setattr(tc, "set_num_threads", lambda n: None)
    with pytest.raises(AssertionError, match="1 ranks have other weights than one"):
        ranks.measure("lenet-numpy", 1)
