"""Recordings: that they hold what a plain step computes, to the bit, and leave the model as it was."""

import json

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn
from tinyconv.errors import GraphError, ShapeError
from tinyconv.inspect import record


def dropping():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(2028, 10))


MODELS = {
    "lenet5": (tc.models.lenet5, (1, 28, 28)),
    "lenet5_1998": (tc.models.lenet5_1998, (1, 28, 28)),
    "lenet_bn": (tc.models.lenet_bn, (1, 28, 28)),
    "mlp": (lambda: tc.models.mlp(20), (1, 28, 28)),
    "cifarnet": (tc.models.cifarnet, (3, 32, 32)),
    "resnet": (tc.models.resnet, (1, 28, 28)),
    "dropout": (dropping, (1, 28, 28)),
}


def made(name, seed=1):
    tc.manual_seed(seed)
    return MODELS[name][0]()


def images(name, n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, *MODELS[name][1])).astype("float32")


def plain_step(model, x, target):
    """The gradients that backward gives under the readable ops, the image's too, and the loss."""
    x = tc.tensor(x, requires_grad=True)
    with tc.using("readable"):
        loss = F.cross_entropy(model(x), tc.tensor(target))
        loss.backward()
    return {"x": x.grad, **{name: p.grad for name, p in model.named_parameters()}}, loss.detach()


def equal(found, expected):
    return (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_a_plain_backward_to_the_bit(name, n, training):
    n = max(n, 2) if name == "lenet_bn" else n  # a batch norm of one value does not train
    model, x, target = made(name).train(training), images(name, n), np.arange(n)
    chance, state = tc.get_rng_state(), {key: t.numpy().copy() for key, t in model.state_dict().items()}
    recording = record(model, x, target)

    assert tc.get_rng_state() == chance
    assert all(p.grad is None for p in model.parameters())
    assert all(equal(t.numpy(), state[key]) for key, t in model.state_dict().items())
    assert all(module.training == training for module in model.modules())

    expected, loss = plain_step(model, x, target)
    assert (recording.training, recording.model) == (training, type(model).__name__)
    assert equal(recording.loss, loss.numpy())
    assert equal(recording.image, x)
    assert recording.gradients.keys() == expected.keys()
    for key, g in expected.items():
        assert equal(recording.gradients[key], g.numpy()), key


def test_a_recorded_lenet_is_small_and_whole():
    recording = record(made("lenet5"), images("lenet5", 1), [7])
    forward = [frame for frame in recording.frames if frame.direction == "forward"]
    names = ["conv2d", "Relu", "max_pool2d"] * 2 + ["Reshape"] + ["linear", "Relu"] * 2 + ["linear", "CrossEntropy"]
    assert [frame.name for frame in forward] == names
    assert [frame.name for frame in recording.frames] == names + names[::-1]
    assert [frame.number for frame in recording.frames] == list(range(26))
    assert [frame.partner for frame in recording.frames] == list(range(26))[::-1]
    weights = sum(p.array.nbytes for p in made("lenet5").parameters())
    assert recording.nbytes - weights < 280_000


def test_the_dict_is_json_but_for_its_arrays():
    recording = record(made("lenet_bn"), images("lenet_bn", 2), [7, 1])
    told = recording.to_dict()
    arrays = told.pop("arrays")
    again = json.loads(json.dumps(told))
    assert again == told
    assert len({id(array) for array in arrays}) == len(arrays)
    assert sum(array.nbytes for array in arrays) == recording.nbytes
    assert all(type(array) is np.ndarray and array.flags.c_contiguous for array in arrays)
    assert equal(arrays[told["image"]], images("lenet_bn", 2))
    assert arrays[told["target"]].tolist() == [7, 1]
    for frame, row in zip(recording.frames, told["frames"], strict=True):
        for operand, cells in zip((*frame.inputs, *frame.outputs), row["inputs"] + row["outputs"], strict=True):
            if operand.array is None:
                assert (cells["array"], cells["shape"], cells["dtype"]) == (None, None, None)
            else:
                assert arrays[cells["array"]] is operand.array
                assert tuple(cells["shape"]) == operand.array.shape
    for name, place in told["gradients"].items():
        assert arrays[place] is recording.gradients[name]
