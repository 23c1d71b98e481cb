"""The package as a whole: what importing it costs, and that its documents tell the truth."""

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import tinyconv as tc
from tinyconv.torch_names import MODULES

ROOT = Path(__file__).parent.parent


def test_importing_needs_numpy_alone():
    heavy = ["torch", "cupy", "typer", "rich", "safetensors", "requests", "PIL", "matplotlib", "threadpoolctl"]
    heavy += ["starlette", "uvicorn", "websockets", "tinyconv.web", "tinyconv.train"]
    code = f"import sys, tinyconv; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def torch_imports(source):
    """The lines of a source that import torch, or may: by `import`, `from`, import_module or __import__.

    The last two count too where what they import cannot be read off the source.
    """
    nodes = list(ast.walk(ast.parse(source)))
    importers = {"import_module", "__import__"}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module in ("importlib", "builtins"):
            importers |= {alias.asname for alias in node.names if alias.name in importers and alias.asname}
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""] if not node.level else []
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in importers:
            name = node.args[0] if node.args else None
            start = name.values[0] if isinstance(name, ast.JoinedStr) else name
            names = [start.value if isinstance(start, ast.Constant) else "torch"]
        else:
            continue
        if any(name.partition(".")[0] == "torch" for name in names):
            yield node.lineno


def test_torch_is_imported_only_to_compare_with_it():
    root = Path(tc.__file__).parent
    sources = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in root.rglob("*.py")}
    places = {path for path, source in sources.items() if list(torch_imports(source))}
    assert places == {"check/pytorch.py", "cli/common.py"}
    own = sources["cli/common.py"].replace("torchvision", "").replace("torch_names", "").replace("is_pytorchs", "")
    assert "torch" not in own  # it imports the module that a user names
    code = "import sys, tinyconv.cli, tinyconv.testing.table; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("import numpy, torch", True),
        ("import torch.nn as nn", True),
        ("from torch.nn import functional", True),
        ("def f():\n    if x:\n        import torch", True),
        ("import_module('torch')", True),
        ("importlib.import_module('torch.nn')", True),
        ("from importlib import import_module as load\nload('torch')", True),
        ("__import__('torch')", True),
        ("import_module(name)", True),
        ("import_module(f'{name}.nn')", True),
        ("import torchvision", False),
        ("from .torch import x", False),
        ("import_module('tinyconv.nn')", False),
        ("import_module(f'tinyconv.{name}')", False),
        ("print('torch')", False),
    ],
)
def test_every_way_to_import_torch_is_seen(source, seen):
    assert bool(list(torch_imports(source))) == seen


def test_every_public_name_is_there_and_none_is_a_secret():
    assert sorted(tc.__all__) == sorted(set(tc.__all__))
    for name in tc.__all__:
        assert getattr(tc, name) is not None
    assert dir(tc) == sorted([*tc.__all__, "__version__"])
    rooms = {"arrays", "calls", "check", "cli", "engine", "errors", "fast", "host", "inspect", "ops"}
    rooms |= {"notebook", "program", "saving"}
    rooms |= {"shapes", "tensor", "testing", "torch_modules", "torch_names", "train", "user_frame", "web"}
    rooms |= set(MODULES)  # once they are asked for
    assert {name for name in vars(tc) if not name.startswith("_")} - set(tc.__all__) <= rooms


def test_a_tensor_shows_no_inner_names():
    inner = {"node", "storage", "tracked", "rebind"}
    public = {name for name in dir(tc.zeros(1)) if not name.startswith("_")}
    assert not public & inner
    own = [name for name in dir(tc.Tensor) if name.startswith("_") and not name.startswith("__")]
    assert own == ["_node", "_repr_html_", "_storage", "_tracked"]


def snippets(name):
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)


DOCUMENTS = [
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            "architecture",
            "backward",
            "fast",
            "gradcheck",
            "higher_order",
            "index",
            "lesson/im2col",
            "lesson/loops",
            "lesson/tape",
            "looking",
            "mistakes",
            "profile",
            "scaling",
            "tape",
        )
    ),
]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_snippets_of_a_document_run(name):
    """In order, in one namespace, as a reader would type them; `>>>` is not used, so asserts say what comes out."""
    found = snippets(name)
    assert found
    namespace = {}
    for snippet in found:
        exec(compile(snippet, f"{name}: {snippet.splitlines()[0]}", "exec"), namespace)


def test_the_tables_of_the_readme_are_those_of_the_records():
    tables = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))
    missing = [name for name in tables["RECIPES"] if not (ROOT / f"benchmarks/records/accuracy-{name}.json").exists()]
    if missing:
        pytest.skip(f"no record of {', '.join(missing)}: run benchmarks/accuracy.py")
    for page in tables["PAGES"]:
        text = page.read_text(encoding="utf-8")
        assert tables["filled"](text, page) == text, f"{page}: run python benchmarks/tables.py"


def test_example_your_own_op():
    runpy.run_path(str(ROOT / "examples" / "your_own_op.py"), run_name="__main__")


def test_example_captured_on_drawn_digits(capsys):
    train = runpy.run_path(str(ROOT / "examples" / "captured.py"))["train"]
    assert train("synthetic", epochs=1) > 0.9
    out = capsys.readouterr().out
    assert out.startswith("step: 1 program runs in the place of its Python")
    assert "captured.py:27, in forward: x = max_pool2d(relu(self.conv1(x)), 2)" in out
    assert out.count("OneCycleLR.advance") == 1
    loss, accuracy = re.search(r"epoch 1: train loss ([\d.]+), test accuracy ([\d.]+)%", out).groups()
    assert 0.1 < float(loss) < 2.0
    assert float(accuracy) > 90


def test_example_train_lenet_on_drawn_digits(capsys):
    main = runpy.run_path(str(ROOT / "examples" / "train_lenet.py"))["main"]
    drawn = tc.data.synthetic_digits
    main(epochs=2, batch_size=64, train=drawn(2000), test=drawn(500, seed=1))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "44,426 parameters"
    assert float(re.search(r"test accuracy ([\d.]+)%", lines[-1])[1]) > 90
