"""Run docs/interop.md, and the example, as a reader would."""

import re
import runpy
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from test_package import ROOT, snippets

from tinyconv.data import datasets, mnist, synthetic_digits
from tinyconv.train import RECIPES, new_run, start

pytest.importorskip("torch")
pytest.importorskip("safetensors.torch")

EXAMPLE = ROOT / "examples" / "lesson_lenet_in_torch.py"
CLASS = re.compile(r"^class LeNet5.*?\n        return .*?\n", re.DOTALL | re.MULTILINE)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Train on few drawn digits, in a folder of its own."""
    monkeypatch.setattr(datasets, "SYNTHETIC_TRAIN", 2000)
    monkeypatch.setattr(datasets, "SYNTHETIC_TEST", 200)
    monkeypatch.chdir(tmp_path)


def test_the_snippets_of_the_page_run(small):
    namespace = {}
    for snippet in snippets("docs/interop.md"):
        exec(compile(snippet, f"docs/interop.md: {snippet.splitlines()[0]}", "exec"), namespace)
    assert sorted(path.name for path in Path().iterdir()) == [
        "lenet5.safetensors", "lesson.pt", "lesson.safetensors", "mine.pt", "run.safetensors",
    ]  # fmt: skip


def test_the_page_and_the_example_show_the_same_class():
    page, example = (path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "interop.md", EXAMPLE))
    assert CLASS.search(page)[0] == CLASS.search(example)[0]


def trained(data, root=None):
    """The checkpoint of a short training. Smoothed labels keep logits so small that 1e-5 is many steps of float32."""
    session = start(new_run("lenet5", data, 0, replace(RECIPES["lesson"], label_smoothing=0.1)), root=root)
    for _ in islice(session.trainer.run(), 80):
        pass
    return session.save("trained.safetensors")


def test_the_example_on_drawn_digits(small, capsys):
    compare = runpy.run_path(str(EXAMPLE))["main"]
    largest = compare(trained("synthetic"), synthetic_digits(500, seed=1))
    assert largest < 1e-5  # 0 where both libraries happen to sum in the same order
    accuracies = re.findall(r"accuracy ([\d.]+)%", capsys.readouterr().out)
    assert accuracies[0] == accuracies[1]
    assert float(accuracies[0]) > 80


def test_the_example_sees_a_weight_that_is_another(small, monkeypatch):
    from safetensors import torch as file

    path, load = trained("synthetic"), file.load_file
    monkeypatch.setattr(
        file, "load_file", lambda path: {k: v + 1e-3 * (k == "fc1.bias") for k, v in load(path).items()}
    )
    assert runpy.run_path(str(EXAMPLE))["main"](path, synthetic_digits(500, seed=1)) > 1e-5


@pytest.mark.slow
@pytest.mark.mnist
def test_the_example_on_mnist(monkeypatch, tmp_path, capsys, mnist_root):
    monkeypatch.chdir(tmp_path)
    compare = runpy.run_path(str(EXAMPLE))["main"]
    largest = compare(trained("mnist", mnist_root), mnist("test", mnist_root))
    assert largest < 1e-5  # 0 where both libraries happen to sum in the same order
    accuracies = re.findall(r"accuracy ([\d.]+)%", capsys.readouterr().out)
    assert accuracies[0] == accuracies[1]
    assert float(accuracies[0]) > 85
