"""Imports go one way: a room imports from rooms below it, and from nowhere else."""

import ast
from pathlib import Path

import pytest

import tinyconv

# From the ground up. A line is a floor; rooms on one floor do not know each other.
FLOORS = [
    {"torch_names", "user_frame"},
    {"errors"},
    {"calls", "notebook", "shapes"},
    {"ops"},
    {"arrays"},
    {"host"},
    {"distributed"},
    {"engine"},
    {"fast", "tensor"},
    {"functional", "program", "optim", "data"},
    {"capture", "nn"},
    {"inspect", "saving"},
    {"models"},
    {"train", "check", "torch_modules", "onnx"},
    {"autograd", "testing", "web"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
ROOT = Path(tinyconv.__file__).parent
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


def room(path):
    return path.parts[0].removesuffix(".py")


def imports(tree):
    """The modules of tinyconv that a file imports, anywhere in it, without the `tinyconv.` in front."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "tinyconv":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinyconv."):
            module = node.module.removeprefix("tinyconv.")
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("tinyconv.") for a in node.names if a.name.startswith("tinyconv."))


def tree_of(path):
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [path for path in FILES if str(path) != "__init__.py"], ids=str)
def test_imports_go_down(path):
    own = room(path)
    assert own in FLOOR, f"{path}: give this room a floor"
    for name in {name.split(".")[0] for name in imports(tree_of(path))} & set(FLOOR):
        assert name == own or FLOOR[name] < FLOOR[own], f"{path} imports {name}, which is not below {own}"


def test_floors_have_all_rooms():
    assert {room(path) for path in FILES} - {"__init__"} == set(FLOOR)


def test_no_files_import_each_other_in_a_circle():
    """What is imported for its types alone is no import; the rest of a room's files have an order too."""
    modules = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
    found = {}
    for module, path in modules.items():
        tree = tree_of(path)
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                node.body = []
        # A package's __init__ gathers its files, which is no circle.
        inits = {name for name, at in modules.items() if at.name == "__init__.py"}
        found[module] = {name for name in imports(tree) if name in modules} - inits if module not in inits else set()
    done = set()

    def visit(module, way):
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for name in found[module]:
                visit(name, [*way, module])
            done.add(module)

    for module in found:
        visit(module, [])


@pytest.mark.parametrize("path", [path for path in FILES if room(path) == "ops"], ids=str)
def test_ops_know_no_array_library(path):
    source = (ROOT / path).read_text(encoding="utf-8")
    assert "import numpy" not in source, f"{path} names an array library; it is given one as xp"


def test_a_wrong_import_is_seen():
    tree = ast.parse("def f():\n    from tinyconv.tensor import Tensor\nfrom tinyconv import nn\nimport tinyconv.cli")
    assert {name.split(".")[0] for name in imports(tree)} == {"tensor", "nn", "cli"}


LONGEST = 1100


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_file_is_too_long(path):
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= LONGEST


# The lines that a reader of the backward pass reads, and those of the whole package. README states both.
BUDGET = {"book": 3200, "package": 66_800}  # 4,800 of them for the studio, 4,200 for captured programs, 2,400 for ONNX


def lines_of(paths):
    return sum(len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in paths)


def test_the_book_keeps_its_budget():
    """The ops, the same as naked loops, and the tape."""
    assert lines_of(path for path in FILES if room(path) == "ops" or path == Path("engine/tape.py")) <= BUDGET["book"]


def test_the_package_keeps_its_budget():
    assert lines_of(FILES) <= BUDGET["package"]
