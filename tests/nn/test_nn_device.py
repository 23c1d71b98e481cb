"""Modules on a GPU: how they move, and what is saved there and loaded here."""

import numpy as np
import pytest
from oracle import assert_allclose, assert_array_equal, host

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import models, nn, optim
from tinyconv.train import RECIPES, load_checkpoint, new_run
from tinyconv.train.checkpoint import load_weights, save, save_weights

OTHER = {"cpu": "cuda", "cuda": "cpu"}
NAMES = {"cpu": "cpu", "cuda": "cuda:0"}


def net():
    tc.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4)
    )


def batch():
    rng = np.random.default_rng(1)
    return tc.tensor(rng.standard_normal((5, 1, 8, 8), np.float32)), tc.tensor(rng.integers(0, 4, 5))


def trained(model, optimizer, device, steps):
    x, y = (t.to(device) for t in batch())
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def places(model):
    return {t.device for t in model.state_dict().values()} | {
        p.grad.device for p in model.parameters() if p.grad is not None
    }


def test_a_module_moves_with_its_gradients_and_buffers(cuda):
    model, (x, y) = net(), batch()
    F.cross_entropy(model(x), y).backward()
    parameters, grads = list(model.parameters()), [p.grad.numpy().copy() for p in model.parameters()]
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    moves = {"cuda": model.cuda, "cpu": model.cpu, "cuda:0": lambda: model.to(cuda, non_blocking=True)}
    for place, move in moves.items():
        assert move() is model
        assert places(model) == {str(tc.device(place))}
        assert [id(p) for p in model.parameters()] == [id(p) for p in parameters]  # an optimiser may hold them
        for name, t in model.state_dict().items():
            assert_array_equal(t, before[name])
        for p, grad in zip(parameters, grads, strict=True):
            assert_array_equal(p.grad, grad)
    assert model.cuda(0) is model.to("cuda") is model


@pytest.mark.usefixtures("cuda")
def test_a_model_computes_there_what_it_computes_here():
    (x, y), found = batch(), {}
    for device in ("cpu", "cuda"):
        model = net().to(device)
        losses = [F.cross_entropy(model(x.to(device)), y.to(device)) for _ in range(2)]
        losses[1].backward()
        evaluated = model.eval()(x.to(device))
        found[device] = [*losses, evaluated, *(p.grad for p in model.parameters()), *model.buffers()]
        assert {t.device for t in found[device]} == {NAMES[device]}
    for ours, theirs in zip(found["cuda"], found["cpu"], strict=True):
        assert_allclose(ours, host(theirs.detach()), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("cuda")
def test_a_state_goes_to_wherever_it_is_loaded():
    for device, other in OTHER.items():
        source, target = trained(m := net().to(device), optim.SGD(m.parameters(), 0.1), device, 2), net().to(other)
        target.load_state_dict(source.state_dict())
        assert places(target) == {NAMES[other]}
        for name, t in source.state_dict().items():
            assert_array_equal(target.state_dict()[name], host(t))


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("device", OTHER)
def test_a_checkpoint_is_saved_there_and_loaded_here(tmp_path, device):
    run = new_run("lenet5", "synthetic", 0, RECIPES["default"])
    tc.manual_seed(0)
    model = models.create(run.model, **run.options).to(device)
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(model, optimizer, device):
        optimizer.zero_grad()
        images = tc.tensor(np.random.default_rng(2).random((4, 1, 28, 28), np.float32)).to(device)
        F.cross_entropy(model(images), tc.tensor([0, 1, 2, 3]).to(device)).backward()
        optimizer.step()

    step(model, optimizer, device)
    found = load_checkpoint(save(tmp_path / "c.safetensors", run, model, optimizer, {"progress": {}}))
    again = found.model()
    assert places(again) == {"cpu"}
    for name, t in model.state_dict().items():
        assert_array_equal(again.state_dict()[name], host(t))
    resumed = optim.Adam(again.to(OTHER[device]).parameters(), lr=0.01)
    resumed.load_state_dict(found.optimizer_state)
    for m, o, place in ((model, optimizer, device), (again, resumed, OTHER[device])):
        step(m.train(), o, place)
    for ours, theirs in zip(again.parameters(), model.parameters(), strict=True):
        assert ours.device == NAMES[OTHER[device]]
        assert_allclose(ours.detach(), host(theirs.detach()), rtol=1e-3, atol=1e-5)


def test_weights_alone(cuda, tmp_path):
    model = net().to(cuda)
    state = load_weights(save_weights(model.state_dict(), tmp_path / "w.safetensors"))
    assert {t.device for t in state.values()} == {"cpu"}
    model.load_state_dict(state)
    assert places(model) == {"cuda:0"}


def test_functional_call(cuda):
    model, (x, _) = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).to(cuda), batch()
    other = {name: t * 2 for name, t in model.state_dict().items()}
    y = nn.functional_call(model, other, (x.to(cuda),))
    assert y.device == "cuda:0"
    assert_allclose(y.detach(), host(2 * model(x.to(cuda)).detach()), rtol=1e-5)
    with pytest.raises(tc.DeviceError, match="arrays on two devices met"):
        nn.functional_call(model, {name: t.cpu() for name, t in other.items()}, (x.to(cuda),))


def test_data_parallel_just_calls_the_module(cuda):
    calls = []

    class Noting(nn.Module):
        def forward(self, x):
            calls.append(x.shape)
            return x * 2.0

    parallel = nn.DataParallel(Noting(), threads=2, tile=2)
    y = parallel(tc.ones(6, 3, device=cuda, requires_grad=True))
    y.sum().backward()
    assert calls == [(6, 3)]
    assert y.device == "cuda:0"


@pytest.mark.parametrize("module", [nn.Dropout(0.5), nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))])
def test_chance_is_that_of_the_host(cuda, module):
    x, found = tc.ones(4, 3), []
    for device in ("cpu", cuda):
        tc.manual_seed(3)
        found.append(module.to(device)(x.to(device)).cpu().detach())
    module.cpu()
    assert_allclose(found[1], found[0].numpy(), rtol=1e-5)


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("name", ["mlp", "lenet5_1998", pytest.param("cifarnet", marks=pytest.mark.slow)])
def test_models(name):
    with tc.device("cuda"):
        model = models.create(name)
        x = tc.rand(2, 1 if name != "cifarnet" else 3, *((28, 28) if name != "cifarnet" else (32, 32)))
        y = model(x)
        y.sum().backward()
    assert y.device == "cuda:0"
    assert all(p.grad.device == "cuda:0" for p in model.parameters())
