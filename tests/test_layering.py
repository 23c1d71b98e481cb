"""Imports go one way. A module may import those of its own layer and of the layers before it, and no others."""

import ast
from pathlib import Path

import pytest

import tinyconv

LAYERS = [
    {"errors", "caller"},
    {"shapes", "tape", "files", "modes"},
    {"meta", "staging"},
    {"backend"},
    {"ops", "environment", "storage", "cost"},
    {"loops", "threads"},
    {"variants", "lifted"},
    {"fast"},
    {"tensor"},
    {"creation", "capture", "anomaly", "trace", "profile"},
    {"data"},
    {"functional"},
    {"nn", "optim"},
    {"inspect"},
    {"models"},
    {"train", "check"},
    {"bench"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
ROOT = Path(tinyconv.__file__).parent
MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


def layer(path):
    return path.parts[0].removesuffix(".py")


def imports(tree):
    """The layers of tinyconv that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "tinyconv":
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinyconv."):
            names = [node.module.split(".")[1]]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".")[1] for alias in node.names if alias.name.startswith("tinyconv.")]
        else:
            continue
        yield from (name for name in names if name in RANK)


@pytest.mark.parametrize("path", [path for path in MODULES if str(path) != "__init__.py"], ids=str)
def test_imports_go_one_way(path):
    own = layer(path)
    assert own in RANK, f"{path}: give this module a layer"
    for name in imports(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        assert name == own or RANK[name] < RANK[own], f"{path} imports {name}, which is not below {own}"


def test_layers_are_those_of_the_package():
    assert {layer(path) for path in MODULES} - {"__init__"} == set(RANK)


@pytest.mark.parametrize("path", [path for path in MODULES if layer(path) in ("ops", "loops")], ids=str)
def test_ops_know_no_array_library(path):
    source = (ROOT / path).read_text(encoding="utf-8")
    assert "import numpy" not in source, f"{path} names an array library; it is given one as xp"


def test_a_wrong_import_is_seen():
    tree = ast.parse("def f():\n    from tinyconv.tensor import Tensor\nfrom tinyconv import nn\nimport tinyconv.cli")
    assert set(imports(tree)) == {"tensor", "nn", "cli"}
