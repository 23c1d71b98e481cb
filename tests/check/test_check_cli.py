"""`tinyconv gradcheck`, as a user runs it, and the table of all public ops behind it."""

import json
import re
import subprocess
import sys

import pytest
from commands import run_here

import tinyconv as tc
from tinyconv import ops
from tinyconv.check.draw import RandomDraw
from tinyconv.check.own import OpArgumentError
from tinyconv.testing.case import draw_case
from tinyconv.testing.table import check_public, options_of, public_ops

MODULE = """
from tinyconv import ops

class Right(ops.LeakyRelu):
    pass

class Wrong(ops.LeakyRelu):
    @staticmethod
    def backward(xp, saved, dy, needs, *, slope):
        return (dy,)

class Outer:
    class Inner(ops.Tanh):
        pass

def scaled(x, factor=1.0):
    return x * factor

number = 3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("own")
    (path / "mine.py").write_text(MODULE)
    (path / "syntax.py").write_text("def f(:")
    (path / "broken.py").write_text("import module_that_is_not_there")
    return path


def run(*args, code=0, cwd=None):
    return run_here("gradcheck", *args, code=code, cwd=cwd)


def test_an_op_and_its_options():
    lines = run("conv2d", "--stride", 2, "--padding=1,2", "--cases", 3).stdout.splitlines()
    cells = lines[3].replace("│", " ").split()
    assert (cells[0], cells[1], cells[-1]) == ("conv2d", "3", "ok")
    assert lines[-1].startswith("1 op, all right; errors are shares of the gradient")


def test_several_ops_with_torch():
    rows = [json.loads(line) for line in run("tanh", "softmax", "--cases", 2, "--torch", "--json").stdout.splitlines()]
    assert [row["op"] for row in rows] == ["tanh", "softmax"]
    assert all(row["verdict"] == "ok" and row["cases"] == 2 and row["torch_error"] < 64 for row in rows)


def test_an_op_without_a_gradient():
    assert run("argmax", "--cases", 1).stdout == "no gradient to check: argmax\n"


def test_options_that_no_case_takes():
    done = run("conv2d", "--groups", 7, "--cases", 3, code=2)
    assert done.stderr.count("conv2d: ") == 1


def test_an_op_of_ones_own(folder):
    assert run("mine:Right", "--slope", 0.5, cwd=folder).stdout.startswith("Right: ok, 7 cases\n")
    assert run("mine:Outer.Inner", cwd=folder).stdout.startswith("Inner: ok")
    assert (
        run("mine:scaled", "--factor", 3, "--shapes", "(2,3),", cwd=folder).stdout.splitlines()[1].startswith("  (2,3)")
    )
    done = run("mine:Wrong", "--slope", 0.5, "--cases", 1, code=1, cwd=folder)
    assert done.stdout.startswith("Wrong: FAILED, 1 case\n")
    assert "analytic" in done.stdout
    assert (
        "or on the command line: tinyconv gradcheck mine:Wrong --slope 0.5 --shapes '[(3, 4)]' --seed 0" in done.stdout
    )
    assert run("./mine.py:Right", "--slope", 0.5, "--cases", 1, cwd=folder).stdout.startswith("Right: ok")
    assert run("mine.Right", "--slope", 0.5, "--cases", 1, cwd=folder).stdout.startswith("Right: ok")
    lines = [
        json.loads(line) for line in run("mine:Wrong", "--slope", 0.5, "--json", code=1, cwd=folder).stdout.splitlines()
    ]
    assert lines[0]["verdict"] == "wrong gradient"
    assert lines[0]["worst"]["input"] == "input 0"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["convd"], "no op 'convd'; did you mean conv2d"),
        (["conv2d", "--strid", 2], "conv2d has no option strid; it has stride, padding, dilation, groups"),
        (["conv2d", "--stride", 2, 1], "--stride takes one value, got 2 and 1; write a pair as 2,1"),
        (["conv2d", "relu", "--stride", 2], "--stride is an option of an op: name one op first, then its options"),
        (["--stride", 2], "--stride is an option of an op: name one op first, then its options"),
        (["nowhere:MyOp"], "no module 'nowhere' in the current folder"),
        (["mine:Rihgt"], "mine has no 'Rihgt'; did you mean Right?"),
        (["mine:number"], "int is neither an op nor a function"),
        (["mine:Right"], "Right needs slope"),
        (["mine:Right", "--slop", 1], "Right has no option slop; it has slope"),
        (["mine:Right", "--slope", 1, "--torch"], "--torch knows no counterpart of mine:Right in PyTorch"),
        (["mine:Right", "relu"], "mine:Right is an op of your own: check it alone"),
        (["mine:Right", "--slope", 1, "--inputs", 1], "the command line cannot take arrays"),
        ([":Right"], "names no module"),
        (["syntax:MyOp"], "importing syntax raised SyntaxError"),
        (["mine.py"], "say what in it is meant, mine.py:NAME"),
        (["./nowhere.py:MyOp"], "no file './nowhere.py'"),
        (["mine:Right", "--slope", "three"], "forward raised"),
        (["mine:Right", "--slope", 1, "--shapes", 5], "shapes=[(2, 3)], got 5"),
        (["conv2d", "--stride", -1], "conv2d"),
        (["mse_loss", "--reduction", "avg"], "avg"),
        (["zzzzzz"], "and none with a similar name"),
    ],
)
def test_wrong_usage(folder, args, words):
    message = " ".join(run(*args, code=2, cwd=folder).stderr.replace("│", " ").split())
    assert words in message


def test_a_module_that_does_not_import(folder):
    message = " ".join(run("broken:MyOp", code=2, cwd=folder).stderr.replace("│", " ").split())
    assert "No module named 'module_that_is_not_there' at broken.py:1: import module_that_is_not_there" in message


# --- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", public_ops())
def test_every_public_op_passes(name):
    row = check_public(name, cases=3)
    assert row.ok, row.message
    assert (row.cases == 3) == (row.verdict == "ok")


def test_few_ops_have_no_gradient():
    """Otherwise an argument space without a smooth case would go unnoticed."""
    without = {name for name in public_ops() if check_public(name, cases=1).verdict == "no gradient"}
    assert {"argmax", "isnan", "detach", "zeros"} <= without
    assert not without & {"conv2d", "relu", "max_pool2d", "cross_entropy", "sum", "where", "add"}
    assert len(without) < len(public_ops()) / 2


def test_options_are_the_arguments_that_are_no_tensors():
    assert options_of("conv2d") == ["stride", "padding", "dilation", "groups"]
    assert "dim" in options_of("softmax")


def test_options_of_an_op_without_any():
    assert options_of("T") == options_of("add") == options_of("eq") == options_of("__setitem__") == []


SILENT = {
    "non_blocking": "a copy is there when the call returns",
    "memory_format": "there is one order of the axes in memory",
    "sparse": "gradients are dense",
    "sparse_grad": "gradients are dense",
    "stable": "equal elements always keep their order",
    "sorted": "the result is always sorted",
    "assume_unique": "the answer is the same",
    "output_size": "it follows from the repeats",
}
"""Options that PyTorch has and that change no value here, and why."""


class Untouchable:
    """A value that cannot be used without an error."""

    def __bool__(self):
        raise TypeError("used")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("op", "option"),
    [(op, option) for op in public_ops() for option in options_of(op) if option not in SILENT],
)
def test_an_option_reaches_the_function(op, option):
    """Otherwise gradcheck would pass with any value."""

    def used(seed):
        case = draw_case(op, RandomDraw(seed))
        case.options[option] = Untouchable()
        try:
            case.function()(*map(tc.tensor, case.inputs))
        except Exception:
            return case.takes(option)
        return False

    assert any(map(used, range(40)))


@pytest.mark.parametrize(
    ("op", "options"),
    [("split", {"dim": 7}), ("prod", {"dim": 7}), ("sum", {"dtype": "float99"})],
)
def test_no_case_passes_with_an_option_that_is_wrong(op, options):
    """A case that spells the call itself drops no option, and a drawn `axis` does not overrule a given `dim`."""
    with pytest.raises(OpArgumentError, match=str(*options.values())):
        check_public(op, cases=5, options=options)


def test_cases_that_take_no_options_do_not_count():
    row = check_public("to", cases=5, options={"dtype": "float64"})
    assert (row.ok, row.cases) == (True, 5)
    assert row.skipped["called without options"]
    row = check_public("to", cases=5, options={"dtype": "float99"})
    assert (row.ok, row.cases) == (False, 0)
    assert row.message.endswith("the last was refused with not a dtype: 'float99'; did you mean 'float64'?")


def test_every_silent_option_is_one_of_an_op():
    assert set(SILENT) <= {option for op in public_ops() for option in options_of(op)}


def test_an_option_replaces_the_one_that_says_the_same():
    row = check_public("var", cases=5, options={"correction": 0})
    assert row.ok, row.message
    assert row.cases == 5


def test_a_wrong_public_op_is_found_and_replayed(monkeypatch):
    right = ops.Tanh.backward
    monkeypatch.setattr(ops.Tanh, "backward", staticmethod(lambda *args: (right(*args)[0] * 1.001,)))
    row = check_public("tanh", cases=5)
    assert (row.ok, row.verdict, row.cases) == (False, "wrong gradient", 1)
    assert row.message.startswith("tanh: wrong gradient\n")
    assert "analytic" in row.message
    again = re.search(r"to replay it: tinyconv gradcheck tanh --seed (\d+) --cases 1", row.message)
    assert check_public("tanh", cases=1, seed=int(again[1])).message == row.message
    assert check_public("tanh", cases=5) == row


def test_an_op_that_raises_is_a_failure(monkeypatch):
    def fails(*args):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(ops.Tanh, "forward", staticmethod(fails))
    row = check_public("tanh")
    assert (row.ok, row.verdict) == (False, "raised")
    assert row.message.startswith("tanh: ZeroDivisionError: oops\ndrawn: ")


def test_what_only_torch_sees(monkeypatch):
    """A function with the right gradient of another function."""
    right = ops.Tanh.forward
    monkeypatch.setattr(ops.Tanh, "forward", staticmethod(lambda xp, x: (right(xp, x)[0] + 1, right(xp, x)[1])))
    assert check_public("tanh", cases=3).ok
    row = check_public("tanh", cases=3, with_torch=True)
    assert (row.ok, row.verdict) == (False, "differs from PyTorch")


def test_the_import_stays_light():
    code = "import sys, tinyconv; assert 'tinyconv.check' not in sys.modules; assert tinyconv.check.gradcheck; " \
        "assert 'torch' not in sys.modules; assert 'check' in dir(tinyconv)"  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="module 'tinyconv' has no attribute 'chekc'"):
        _ = tc.chekc
