"""What the docstrings owe a reader: each public name has one, none is in dialect, and those of functions, layers and
losses name every argument and error and show an example that runs."""

import ast
import dataclasses
import inspect
import re
import textwrap
from pathlib import Path
from types import ModuleType

import pytest
from names import FOREIGN, ROOMS, described, exported, members

import tinyconv as tc
from tinyconv import functional, nn

ROOT = Path(tc.__file__).parent

# --- every public name ----------------------------------------------------------------------------------------------


def public(room):
    """The modules, classes and functions that a room exports."""
    return [value for value in exported(room).values() if described(value) and value not in FOREIGN]


def called(value):
    return value.__name__ if isinstance(value, ModuleType) else f"{value.__module__}.{value.__qualname__}"


def written(value):
    """The docstring of a value itself, not of a base, and not the signature that a dataclass or named tuple gets."""
    doc = value.__doc__
    return None if doc and isinstance(value, type) and doc.startswith(f"{value.__name__}(") else doc


def documented():
    """The docstring, or None, of every public name. A method that overrides another may leave the words to it."""
    found = {}
    for room in ROOMS.values():
        found[room.__name__] = room.__doc__
        for value in public(room):
            found[called(value)] = written(value)
            for name, base in members(value) if isinstance(value, type) else ():
                found[f"{called(base)}.{name}"] = inspect.getdoc(getattr(base, name))
    return found


DOCUMENTED = documented()


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_a_public_name_has_a_docstring(name):
    assert DOCUMENTED[name], f"{name} has no docstring"


@pytest.mark.parametrize("name", sorted(name for name in dir(tc.zeros(1)) if not name.startswith("_")))
def test_an_attribute_of_tensor_is_described(name):
    """Also `array`, a slot, which can have no docstring of its own: that of the class has to name it."""
    assert inspect.getdoc(getattr(tc.Tensor, name)) or f"`{name}`" in tc.Tensor.__doc__


def test_missing_docstrings_are_seen():
    class Bare(nn.Identity):
        def method(self): ...

        @property
        def kept(self):
            """Has one."""

    Bare.__module__ = "tinyconv.nowhere"
    assert [name for name, _ in members(Bare)][:3] == ["method", "kept", "forward"]
    assert written(Bare) is written(dataclasses.make_dataclass("Made", ["x"])) is inspect.getdoc(Bare.method) is None


@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
def test_the_walk_finds_what_a_room_exports(room):
    assert len(public(room)) >= 4
    assert any(name.startswith(f"{room.__name__}.") for name in DOCUMENTED)
    assert {"tinyconv.nn.containers._Ordered.append", "tinyconv.tensor.tensor.Tensor.grad"} <= set(DOCUMENTED)


# --- English --------------------------------------------------------------------------------------------------------

DIALECT = re.compile(r"(?:\A|[.!?:]\s|\n\s*\n)\s*Of\s")  # a sentence, or an entry of `Args:`, that opens with "Of"


def texts():
    """Every docstring of the package, those of attributes too, by file and line."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Expr) and isinstance(text := getattr(node.value, "value", None), str):
                yield pytest.param(text, id=f"{path.relative_to(ROOT)}:{node.lineno}")


@pytest.mark.parametrize("text", list(texts()))
def test_no_sentence_opens_with_of(text):
    assert not DIALECT.search(text), text


@pytest.mark.parametrize(
    "text",
    ["Of what is drawn.", "Seed. Of what is\n    drawn.", "Args:\n    seed: Of the draw.", "A.\n\n    Of b."],
)
def test_dialect_is_seen(text):
    assert DIALECT.search(text)
    assert not DIALECT.search("The seed of what is drawn. Often. See Of Mice and Men.")


# --- arguments, errors and examples of functions, layers and losses ---------------------------------------------------

DETAILED = {called(value): value for room in (functional, nn) for value in public(room)}
RAISING = DETAILED | {called(value): value for value in public(nn.init)}
RAISING |= {
    f"{called(base)}.{name}": getattr(base, name)
    for cls in public(nn)
    if isinstance(cls, type)
    for name, base in members(cls)
    if name != "forward" and base.__module__.startswith("tinyconv.nn.")
}
READ = ("tinyconv.functional", "tinyconv.nn.", "tinyconv.ops.", "tinyconv.shapes")


def arguments(doc):
    """The names that `Args:` has, one or several to an entry."""
    section = re.search(r"^Args:\n((?: {4}.*\n?)+)", doc, re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+(?:, \w+)*): \S", section[1] if section else "", re.MULTILINE)
    return {name for entry in entries for name in entry.split(", ")}


def example(doc):
    """The indented lines outside of `Args:`."""
    return textwrap.dedent("\n\n".join(part for part in doc.split("\n\n") if part.startswith("    ")))


def raised(function, seen):
    """The errors that a function raises itself, or in a function or the checks of an op that it names."""
    function = inspect.unwrap(getattr(function, "fget", function))
    if function in seen:
        return set()
    seen.add(function)
    found = set()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found.add(ast.unparse(node.exc.func))
        value = looked_up(node, function.__globals__)
        for helper in (value, getattr(value, "check", None), getattr(value, "check_values", None)):
            if inspect.isfunction(helper) and passes_on(helper, function):
                found |= raised(helper, seen)
    return found


def passes_on(helper, function):
    """Whether errors of `helper` are errors of `function`. Those of another public function of `functional` need not
    be: conv2d calls pad, but in a mode that exists."""
    if all(given.__module__.startswith(functional.__name__) for given in (function, helper)):
        return helper.__name__ not in functional.__all__
    return helper.__module__.startswith(READ)


def looked_up(node, names):
    """What a name, or an attribute of a module, stands for; None for anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute) and isinstance(module := looked_up(node.value, names), ModuleType):
        return getattr(module, node.attr, None)
    return None


def unnamed_errors(value):
    """The errors that a docstring should name and does not. A layer may point to the function that its call runs."""
    doc = inspect.getdoc(value) or ""
    if not isinstance(value, type):
        return {name for name in raised(value, set()) if name not in doc}
    missing = {name for name in raised(value.__init__, set()) if name not in doc}
    calls = raised(value.forward, set()) if issubclass(value, nn.Module) else set()
    return missing if re.search(r"\b[Rr]aises\b", doc) else missing | calls


def named_wrongly(value):
    """Parameters that `Args:` does not name, and names in it that are no parameters."""
    return arguments(inspect.getdoc(value) or "") ^ set(inspect.signature(value).parameters)


@pytest.mark.parametrize("name", DETAILED)
def test_args_name_every_parameter(name):
    assert named_wrongly(DETAILED[name]) == set()


@pytest.mark.parametrize("name", DETAILED)
def test_the_example_runs_and_ends_with_its_value(name):
    code = example(inspect.getdoc(DETAILED[name]))
    assert code, f"{name} has no indented line of example"
    namespace = {"tc": tc, "F": functional, "nn": nn}
    if "\n" in code:
        exec(code, namespace)
    else:
        line, _, value = code.partition("  # ")
        assert repr(eval(line, namespace)) == value


STEPS = ("record", "Recording", "explain", "loops", "columns")  # of one recorded step


@pytest.mark.parametrize("name", STEPS)
def test_the_example_of_a_recorded_step_runs_and_ends_with_its_value(name):
    *lines, last = example(inspect.getdoc(getattr(tc.inspect, name))).splitlines()
    namespace = {"tc": tc}
    exec("\n".join(lines), namespace)
    line, _, value = last.partition("  # ")
    assert repr(eval(line, namespace)) == value


@pytest.mark.parametrize("name", [name for name in STEPS if name.islower()])
def test_args_name_every_parameter_of_a_recorded_step(name):
    assert named_wrongly(getattr(tc.inspect, name)) == set()


@pytest.mark.parametrize("name", RAISING)
def test_errors_are_named(name):
    assert unnamed_errors(RAISING[name]) == set()


def test_bad_docstrings_are_seen():
    def bad(x, y, z=1):
        """Do something.

        Args:
            x: The first.
            other: A parameter of yesterday.
        """
        if z:
            raise ValueError("z")
        functional.conv2d(x, y)

    def good(x, y, z=1):
        """Do something. Raises ValueError, ShapeError and DtypeError.

            good(1, 2)

        Args:
            x, y: Both.
            z: The third, which takes
                two lines: of text.
        """
        return bad(x, y, z)

    assert named_wrongly(bad) == {"y", "z", "other"}
    assert unnamed_errors(bad) == {"ValueError", "ShapeError", "DtypeError"}
    assert example(inspect.getdoc(bad)) == ""
    assert named_wrongly(good) == unnamed_errors(good) == set()
    assert example(inspect.getdoc(good)) == "good(1, 2)"

    class Layer(nn.Module):
        """A layer."""

        def forward(self, x):
            return functional.max_pool2d(x, 2)

    assert unnamed_errors(Layer) == {"ShapeError", "DtypeError"}
    assert unnamed_errors(nn.Conv2d) == set()
