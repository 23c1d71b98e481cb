"""Which kernels are chosen, by the environment, for a process and for a block; and which can be had."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from messages import message

import tinyconv as tc
from tinyconv import variants
from tinyconv.engine import kernels
from tinyconv.engine.kernels import Found, NoCompilerError
from tinyconv.host.threads import Once

LIBRARY = object()
QUESTION = """
import tinyconv as tc
print(tc.variants.kernels(), *tc.variants.defaults.get(tc.ops.Conv2d, ["readable"]))
"""


@pytest.fixture(autouse=True)
def chosen():
    before = variants.kernels()
    yield
    variants.set_kernels(before)


@pytest.fixture
def finder(monkeypatch):
    """A function that says what `find` gives, or raises, from now on; the calls of it are counted."""
    calls = []

    def finds(what, wait=None):
        def find():
            calls.append(what)
            if wait is not None:
                wait.wait(10)
            if isinstance(what, Exception):
                raise what
            return Found(what, "from a test")

        monkeypatch.setattr(kernels, "find", Once(find))
        monkeypatch.setattr(kernels, "_for_programs", Once(kernels._for_programs.function))
        return calls

    variants.set_kernels("compiled")
    return finds


# --- what is chosen -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "answer"),
    [
        ({}, "compiled tiled"),
        ({"TINYCONV_KERNELS": ""}, "compiled tiled"),
        ({"TINYCONV_KERNELS": "compiled"}, "compiled tiled"),
        ({"TINYCONV_KERNELS": "numpy"}, "numpy tiled"),
        ({"TINYCONV_KERNELS": "readable"}, "readable readable"),
        ({"TINYCONV_FAST": "0"}, "readable readable"),
        ({"TINYCONV_FAST": "1"}, "compiled tiled"),
        ({"TINYCONV_FAST": "native"}, "compiled native tiled"),
        ({"TINYCONV_FAST": "native", "TINYCONV_KERNELS": "numpy"}, "numpy tiled"),
        ({"TINYCONV_FAST": "native", "TINYCONV_KERNELS": "readable"}, "readable readable"),
        ({"TINYCONV_FAST": "0", "TINYCONV_KERNELS": "numpy"}, "numpy tiled"),
    ],
    ids=str,
)
def test_the_environment_chooses(environment, answer):
    pytest.importorskip("tinyconv.fast")
    plain = {name: value for name, value in os.environ.items() if name not in ("TINYCONV_FAST", "TINYCONV_KERNELS")}
    root = Path(tc.__file__).parents[1]
    assert subprocess.check_output([sys.executable, "-c", QUESTION], env=plain | environment, cwd=root, text=True) == (
        f"{answer}\n"
    )


def test_a_wrong_value_in_the_environment_names_the_three():
    environment = os.environ | {"TINYCONV_KERNELS": "nump"}
    done = subprocess.run(
        [sys.executable, "-c", "import tinyconv"], env=environment, capture_output=True, text=True, check=False,
        cwd=Path(tc.__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 1
    said = "tinyconv.errors.VariantError: TINYCONV_KERNELS is 'nump'; it takes compiled, numpy, readable"
    assert done.stderr.splitlines()[-2:] == [said, "  at <string>:1, in <module>"]  # the user's line


@pytest.mark.parametrize("command", [["-m", "tinyconv"], ["-X", "dev", "-m", "tinyconv"], ["tinyconv"]], ids=" ".join)
def test_the_command_says_a_wrong_value_in_the_environment_in_one_line(command, tmp_path):
    if command == ["tinyconv"]:  # as an installed script is written
        (tmp_path / "tinyconv").write_text("from tinyconv.cli import main\nmain()\n", encoding="utf-8")
        command = [str(tmp_path / "tinyconv")]
    root = str(Path(tc.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, *command, "--version"], capture_output=True, text=True, check=False, cwd=root,
        env=os.environ | {"TINYCONV_KERNELS": "nump", "PYTHONPATH": root},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: TINYCONV_KERNELS is 'nump'; it takes compiled, numpy, readable\n"


def test_the_kernels_of_a_process_are_those_of_all_its_threads():
    pytest.importorskip("tinyconv.fast")
    x, seen = tc.ones(64, 16, 8, 8), []

    def look():
        pair = tc.functional.relu(x.clone().requires_grad_()).grad_fn.pair
        seen.append((variants.kernels(), variants.name_of(tc.ops.Relu, pair)))

    for name in variants.KERNELS:
        variants.set_kernels(name)
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert seen == [("compiled", "tiled"), ("numpy", "tiled"), ("readable", "readable")]


def test_other_kernels_are_refused():
    text = message(tc.VariantError, variants.set_kernels, "native")
    assert text == "set_kernels: there are compiled, numpy, readable, got 'native'"


def test_defaults_come_back_in_their_order():
    before = {op: list(names) for op, names in variants.defaults.items()}
    variants.set_kernels("readable")
    assert variants.defaults == {}
    variants.set_kernels("compiled")
    assert variants.defaults == before


@pytest.mark.parametrize("name", variants.KERNELS)
def test_using_chooses_for_a_block(name):
    variants.set_kernels("numpy")
    with tc.using(name):
        assert variants.kernels() == name
        with tc.using(conv2d="loop"):
            assert variants.kernels() == name
    assert variants.kernels() == "numpy"
    with tc.using(conv2d="readable"):
        assert variants.kernels() == "numpy"


# --- what can be had ------------------------------------------------------------------------------------------------


def test_programs_get_the_library_where_it_is_chosen(finder):
    calls = finder(LIBRARY)
    for name in ("numpy", "readable"):
        with tc.using(name):
            assert kernels.for_programs() == (None, f"{name} kernels are chosen")
            assert kernels.running() == name
    assert calls == []
    assert kernels.for_programs() == (LIBRARY, "from a test")
    assert kernels.running() == "compiled"


def test_without_a_compiler_numpy_runs_and_nothing_is_said(finder, recwarn):
    finder(NoCompilerError("native: no C compiler found (tried cc); install one, name it in CC"))
    assert kernels.for_programs() == (None, "no C compiler found (tried cc)")
    assert kernels.running() == "numpy"
    assert not recwarn.list


def test_a_failed_build_is_one_warning_and_numpy_runs(finder):
    calls = finder(tc.VariantError("native: cc failed on x.c (linux):\n  error: no\n  and more\ninstall one"))
    with pytest.warns(UserWarning, match="no compiled kernels") as said:
        assert [kernels.for_programs() for _ in range(3)] == [(None, "cc failed on x.c (linux): error: no")] * 3
    assert [str(one.message) for one in said] == [
        "no compiled kernels: cc failed on x.c (linux): error: no; NumPy runs instead"
    ]
    assert len(calls) == 1


def test_what_trained_is_known_without_a_search(finder):
    calls = finder(LIBRARY)
    assert kernels.running(search=False) == "numpy"
    assert calls == []
    kernels.for_programs()
    assert kernels.running(search=False) == "compiled"
    with tc.using("readable"):
        assert kernels.running(search=False) == "readable"


def test_the_first_program_waits_for_a_build_that_is_under_way(finder):
    """Else the bits would change in the middle of a training."""
    done, found = threading.Event(), []
    calls = finder(LIBRARY, wait=done)
    kernels.prepare()
    asking = threading.Thread(target=lambda: found.append(kernels.for_programs().library))
    asking.start()
    time.sleep(0.05)
    assert (len(calls), found) == (1, [])
    done.set()
    asking.join(10)
    assert (len(calls), found) == (1, [LIBRARY])


@pytest.mark.parametrize("name", ["numpy", "readable"])
def test_nothing_is_built_for_other_kernels(finder, name):
    calls = finder(LIBRARY)
    with tc.using(name):
        kernels.prepare()
    time.sleep(0.05)
    assert calls == []


def test_a_build_that_fails_in_the_background_ends_nothing(finder):
    finder(OSError("no"))
    kernels.prepare()
    time.sleep(0.05)  # pytest reports an exception in a thread as an error
