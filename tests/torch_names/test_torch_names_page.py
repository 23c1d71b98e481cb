"""docs/from_pytorch.md: every row of it is true, on PyTorch and here."""

import ast

import numpy as np
import pytest
import torch
from from_pytorch import DIFFERS, PAGE, START, WORKS, page

import tinyconv as tc
from tinyconv.torch_names.answers import FAMILIES


def value_of(code):
    """What the last line of some code gives, after what is written before each row."""
    tree = ast.parse(code)
    names = {}
    exec(START, names)
    exec(compile(ast.Module(tree.body[:-1], []), "row", "exec"), names)
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "row", "eval"), names)
    return exec(compile(ast.Module([last], []), "row", "exec"), names)


def here(code):
    with tc.as_torch():
        return value_of(code)


def same(ours, theirs):
    if isinstance(ours, tc.Tensor):
        assert isinstance(theirs, torch.Tensor)
        assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-5, atol=1e-6)
    elif isinstance(ours, tuple | list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
    elif isinstance(ours, float | np.floating):
        assert ours == pytest.approx(theirs, rel=1e-5)
    else:
        assert ours == theirs


@pytest.mark.parametrize(("name", "code"), WORKS, ids=[name for name, _ in WORKS])
def test_what_works_gives_what_torch_gives(name, code):
    same(here(code), value_of(code))


@pytest.mark.parametrize(("name", "why", "code", "value"), DIFFERS, ids=[row[0] for row in DIFFERS])
def test_what_differs_gives_what_the_page_says_and_torch_something_else(name, why, code, value):
    def result(give):
        try:
            found = give(code)
        except Exception as error:
            return type(error).__name__
        finally:
            torch.set_default_dtype(torch.float32)  # a row changes it
        return found.tolist() if hasattr(found, "tolist") else found

    assert result(here) == value
    assert result(value_of) != value


NAMES = {"tc": tc, "nn": tc.nn, "F": tc.functional, "x": tc.zeros(1)}
ASKED = [family for family in FAMILIES if family.example.partition(".")[0] in NAMES]


@pytest.mark.parametrize("family", ASKED, ids=lambda family: family.example)
def test_what_is_not_here_says_what_the_page_says(family):
    with pytest.raises(AttributeError) as caught:
        eval(family.example, dict(NAMES))
    assert str(caught.value).endswith(f", {family.what}: {family.instead}")


def test_the_page_is_that_of_the_tables():
    assert PAGE.read_text(encoding="utf-8") == page()
