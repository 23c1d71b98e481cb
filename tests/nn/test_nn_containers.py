"""Sequential and ModuleList."""

from collections import OrderedDict
from contextlib import nullcontext

import numpy as np
import pytest
from messages import message

import tinyconv as tc
import tinyconv.functional as F
from tinyconv import nn

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("everywhere")


def make(library):
    return library.Sequential(library.Linear(2, 3), library.ReLU(), library.Linear(3, 1))


def test_sequential_applies_one_after_another():
    model = make(nn)
    x = tc.randn(4, 2)
    assert model(x).tolist() == model[2](model[1](model[0](x))).tolist()
    assert nn.Sequential()(x) is x
    assert nn.Sequential(Twice(), nn.Identity())(3) == 6  # any value goes through


class Twice(nn.Module):
    def forward(self, x):
        return 2 * x


WATCHES = {"nothing": nullcontext, "detect_anomaly": tc.detect_anomaly, "profile": tc.profile}
LAYERS = (nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Linear, nn.ReLU)


@pytest.mark.parametrize("watch", WATCHES)
def test_sequential_calls_the_forward_of_every_layer(watch, monkeypatch):
    """A breakpoint in Conv2d.forward is hit, and the tape is that of the layers as they are written."""
    made = nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3), nn.ReLU()
    called = []
    for kind in set(LAYERS):

        def forward(self, x, written=kind.forward):
            called.append(type(self))
            return written(self, x)

        monkeypatch.setattr(kind, "forward", forward)
    with WATCHES[watch]():
        y = nn.Sequential(*made)(tc.randn(2, 1, 7, 7))
    assert called == [*LAYERS]
    ran, node = [], y.grad_fn
    while node is not None and not node.is_leaf:
        ran.append((node.op.__name__, node.layer.path))
        node = next((parent for parent in node.parents if parent is not None), None)
    ops = "Conv2d", "Relu", "MaxPool2d", "Reshape", "Linear", "Relu"
    assert ran[::-1] == [(name, str(i)) for i, name in enumerate(ops)]


def test_the_layer_at_fault_is_named():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(9))
    with pytest.raises(tc.ShapeError, match=r"max_pool2d: kernel 9x9(.|\n)*layer '2'"):
        model(tc.ones(1, 1, 8, 8))


def test_indexing():
    model = make(nn)
    assert len(model) == 3
    assert model[0] is next(iter(model))
    assert model[-1] is model[2]
    for container in (model, nn.ModuleList(model)):
        with pytest.raises(IndexError):
            container[3]


@pytest.mark.parametrize(
    "part", [slice(0, 2), slice(1, None), slice(None, None, 2), slice(None, None, -1), slice(0, 0)]
)
def test_slices_share_the_modules_and_keep_their_names_as_in_torch(part):
    ours, theirs = make(nn), make(torch.nn)
    piece = ours[part]
    assert type(piece) is nn.Sequential
    assert list(piece) == list(ours)[part]
    assert [name for name, _ in piece.named_children()] == [name for name, _ in theirs[part].named_children()]
    assert list(piece.state_dict()) == list(theirs[part].state_dict())
    assert list(nn.ModuleList(ours)[part].state_dict()) == list(torch.nn.ModuleList(theirs)[part].state_dict())


@pytest.mark.parametrize("name", ["mlp", "cifarnet", "lenet_bn", "resnet"])
def test_a_slice_of_a_model_is_the_layers(name):
    """A model of a class of its own, whose __init__ takes widths, gives its features by [:-1] all the same."""
    model = tc.models.create(name).eval()
    x = tc.randn(2, 3 if name == "cifarnet" else 1, 28, 28)
    features = model[:-1]
    assert type(features) is nn.Sequential
    np.testing.assert_array_equal(model[-1](features(x)).tolist(), model(x).tolist())


def test_replacing_the_head():
    model = make(nn)
    head = nn.Linear(3, 5)
    model[-1] = head
    assert model[2] is head
    assert [type(m).__name__ for m in model] == ["Linear", "ReLU", "Linear"]
    assert model(tc.ones(1, 2)).shape == (1, 5)
    model[0] = nn.Linear(7, 3)
    assert model(tc.ones(1, 7)).shape == (1, 5)
    with pytest.raises(IndexError):
        model[3] = head


def test_append_and_extend():
    model = make(nn)
    assert model.append(nn.Tanh()) is model
    assert [name for name, _ in model.named_children()] == ["0", "1", "2", "3"]
    tail = model[2:].append(nn.Sigmoid())  # its modules are called 2 and 3 already
    assert [type(m).__name__ for m in tail] == ["Linear", "Tanh", "Sigmoid"]
    blocks = nn.ModuleList([nn.ReLU()]).extend([nn.Tanh(), nn.Sigmoid()])
    assert [name for name, _ in blocks.named_children()] == ["0", "1", "2"]


def test_names():
    modules = OrderedDict(conv=nn.Conv2d(1, 2, 3), act=nn.ReLU())
    for named in (nn.Sequential(modules), nn.Sequential(dict(modules))):
        assert list(named.state_dict()) == ["conv.weight", "conv.bias"]
        assert named.conv is named[0]
        assert named[:1].conv is named.conv


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda: nn.Sequential(F.relu), "Sequential: 0 is a function, not a Module; use nn.ReLU(), not F.relu"),
        (
            lambda: nn.Sequential([nn.ReLU()]),
            "Sequential: 0 is a list, not a Module; use nn.Sequential(*layers), with the star",
        ),
        (
            lambda: nn.Sequential(nn.ReLU).append,
            "Sequential: 0 is the class ReLU, not a Module; use ReLU(...), an instance",
        ),
        (lambda: nn.ModuleList([F.relu]), "ModuleList: 0 is a function, not a Module; use nn.ReLU(), not F.relu"),
        (lambda: make(nn).append(F.relu), "Sequential: 3 is a function, not a Module; use nn.ReLU(), not F.relu"),
    ],
)
def test_what_is_not_a_module(use, expected):
    assert message(TypeError, use) == expected


def test_a_module_list_has_no_forward():
    blocks = nn.ModuleList([nn.ReLU()])
    assert message(NotImplementedError, blocks, tc.ones(1)) == "ModuleList does not define forward"


def test_a_list_prints_those_alike_on_one_line_as_torchs():
    torch = pytest.importorskip("torch")

    def made(lib):
        inner = lib.nn.ModuleList([lib.nn.Sequential(lib.nn.ReLU()), lib.nn.Sequential(lib.nn.ReLU())])
        return lib.nn.ModuleList([lib.nn.ReLU(), lib.nn.ReLU(), inner, lib.nn.Linear(2, 3), lib.nn.ReLU()])

    assert repr(made(tc)) == repr(made(torch))


def test_one_module_in_two_places():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert len(list(model.parameters())) == 2
    assert len(model) == 3
    model(tc.ones(1, 2)).sum().backward()
    assert layer.weight.grad is not None
