"""Every public name of PyTorch is here, or asking for it says what it is and what to use."""

import re
from importlib import import_module

import pytest
from messages import message
from torch_names.torch_public import PLACES, missing, public

import tinyconv as tc
from tinyconv.torch_names.answers import FAMILIES, answer
from tinyconv.torch_names.methods import ABSENT

UNSAID = {"TYPE_CHECKING", "bisect_right", "ref"}  # Python's, which torch imports


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """tinyconv.testing, which other tests import, is nothing that a program has."""
    monkeypatch.delattr(tc, "testing", raising=False)


def said(place, name):
    """What is said of a name beyond that it is not there."""
    ours = tc.zeros(1) if place == "Tensor" else PLACES[place][1]
    return message(AttributeError, getattr, ours, name).partition(f"{name!r}")[2]


@pytest.mark.parametrize("place", PLACES)
def test_every_name_of_torch_is_here_or_answered(place):
    assert [name for name in missing(place) if not said(place, name) and name not in UNSAID] == []


def test_the_absent_methods_are_those_of_torch_that_are_not_here():
    assert set(ABSENT.split()) == set(missing("Tensor"))
    assert not {name for name in dir(tc.zeros(1)) if name in ABSENT.split()}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.what)
def test_no_family_is_without_a_name(family):
    """Each answers a name that torch has and that is not here."""
    answered = [
        name
        for place in set(family.owners or PLACES) & set(PLACES)
        for name in missing(place)
        if answer(place, name) == f", {family.what}: {family.instead}"
    ]
    assert answered or set(family.owners) - set(PLACES)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.what)
def test_what_is_to_be_used_instead_is_here(family):
    for path in re.findall(r"tinyconv\.([\w.]*\w)", family.instead):
        found = tc
        for part in path.split("."):
            found = getattr(found, part)


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda: tc.fft, "module 'tinyconv' has no attribute 'fft', a Fourier transform, or for one: numpy.fft has it"),
        (lambda: tc.nn.LSTM, "module 'tinyconv.nn' has no attribute 'LSTM', a recurrent layer: none is here; "),
        (
            lambda: tc.zeros(1).lgamma,
            "'Tensor' object has no attribute 'lgamma', a special function: scipy.special",
        ),
        (lambda: tc.functional.scaled_dot_product_attention, "_attention', attention: softmax(q @ k"),
        (lambda: tc.optim.LBFGS, "module 'tinyconv.optim' has no attribute 'LBFGS', an optimiser: "),
        (lambda: tc.conv2d, "module 'tinyconv' has no attribute 'conv2d': it is tinyconv.functional.conv2d"),
        (lambda: tc.functional.exp, "has no attribute 'exp': it is tinyconv.exp"),
        (lambda: tc.Conv2d, "has no attribute 'Conv2d': it is tinyconv.nn.Conv2d"),
        (lambda: tc.zeros(1).lgamma_, "'lgamma_', a special function"),
        (lambda: tc.lr_scheduler, "has no attribute 'lr_scheduler': it is tinyconv.optim.lr_scheduler"),
        (lambda: tc.nn.Conv2D, "has no attribute 'Conv2D'; did you mean 'Conv2d'?"),
        (lambda: tc.zeros(1).__nothing__, "'Tensor' object has no attribute '__nothing__'"),
    ],
)
def test_what_is_said(ask, expected):
    assert expected in message(AttributeError, ask)


@pytest.mark.parametrize("name", ["vision", "losses", "norms"])
def test_a_file_of_ours_is_no_answer(name):
    """tinyconv.nn has files of these names, which nobody is to import."""
    assert "tinyconv.nn" not in message(AttributeError, getattr, tc, name)
    assert message(ModuleNotFoundError, import_module, f"tinyconv.{name}") == f"No module named 'tinyconv.{name}'"


def test_a_name_that_is_not_here_is_no_attribute():
    """So `hasattr` and `getattr` with a default work, as programs that ask before they use expect."""
    assert not any(hasattr(tc, name) for name in ("fft", "vmap"))
    assert not hasattr(tc.zeros(1), "lgamma")
    assert getattr(tc.zeros(1), "lgamma", 3) == 3
    assert not hasattr(tc.Tensor, "lgamma")
    assert "lgamma" not in dir(tc.zeros(1))


def test_importing_a_name_says_the_same():
    def of(line):
        return message(ImportError, exec, line)

    assert of("from tinyconv.nn import LSTM").startswith("there is no tinyconv.nn.LSTM, a recurrent layer: ")
    assert of("from tinyconv.nn import Conv2d, LSTM").startswith("there is no tinyconv.nn.LSTM, a recurrent layer: ")
    assert of("import tinyconv.fft").startswith("there is no tinyconv.fft, a Fourier transform")
    assert of("from tinyconv.nn.utils import rnn").startswith("there is no tinyconv.nn.utils.rnn, a recurrent layer: ")
    assert of("import tinyconv.multiprocessing").endswith("shares a batch among threads")
    assert of("from tinyconv.cuda import Stream").startswith("there is no tinyconv.cuda.Stream, for streams")
    assert of("import tinyconv.torchvision.ops").startswith("there is no tinyconv.torchvision.ops, of torchvision")
    assert "a transform of pictures" in of("from tinyconv.torchvision.transforms import ColorJitter")
    assert "PIL does it" in of("from tinyconv.torchvision.transforms.functional import adjust_hue")
    assert of("from tinyconv.torchvision.datasets import CIFAR100").startswith(
        "there is no tinyconv.data.vision.CIFAR100"
    )
    assert of("import tinyconv.nonsense") == "No module named 'tinyconv.nonsense'"
    with tc.as_torch():
        assert "tensorboardX" in of("from torch.utils.tensorboard import SummaryWriter")
        assert of("from torch.nn import LSTM").startswith("there is no tinyconv.nn.LSTM, a recurrent layer: ")


def test_torch_has_the_names_that_the_walk_finds():
    assert {"Conv2d", "LSTM", "functional", "init"} <= set(public(PLACES["tinyconv.nn"][0]))
    assert "sys" not in public(PLACES["tinyconv"][0])
