"""optim.swa_utils against PyTorch's: averages of weights, their statistics, and the schedule that ends them."""

import copy
import io

import numpy as np
import pytest
from messages import message

import tinyconv as tc
from tinyconv import nn, optim
from tinyconv.optim import swa_utils

torch = pytest.importorskip("torch")
THEIRS = torch.optim.swa_utils


def nets():
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Flatten(), torch.nn.Linear(18, 2)
    ).double()
    ours = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(18, 2)).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def images(step):
    return np.random.default_rng(step).standard_normal((4, 1, 5, 5))


def equal(mine, other, tolerance=1e-10):
    other = other.state_dict()
    assert list(mine.state_dict()) == list(other)
    for name, value in mine.state_dict().items():
        np.testing.assert_allclose(value.numpy(), other[name].numpy(), rtol=tolerance, atol=tolerance, err_msg=name)


WAYS = {
    "swa": lambda lib: {},
    "swa multi": lambda lib: {"multi_avg_fn": lib.get_swa_multi_avg_fn()},
    "swa one": lambda lib: {"avg_fn": lib.get_swa_avg_fn()},
    "ema multi": lambda lib: {"multi_avg_fn": lib.get_ema_multi_avg_fn(0.7)},
    "ema one": lambda lib: {"avg_fn": lib.get_ema_avg_fn(0.7)},
    "ema with buffers": lambda lib: {"multi_avg_fn": lib.get_ema_multi_avg_fn(0.7), "use_buffers": True},
    "of one's own": lambda lib: {"avg_fn": lambda a, p, n: 0.25 * a + 0.75 * p},
}


@pytest.mark.parametrize("way", WAYS)
def test_averages_equal_torchs(way):
    ours, theirs = nets()
    mine, other = (
        swa_utils.AveragedModel(ours, **WAYS[way](swa_utils)),
        THEIRS.AveragedModel(theirs, **WAYS[way](THEIRS)),
    )
    optimizer, reference = optim.SGD(ours.parameters(), lr=0.05), torch.optim.SGD(theirs.parameters(), lr=0.05)
    for step in range(6):
        x = images(step)
        optimizer.zero_grad(), (ours(tc.tensor(x)) ** 2).mean().backward(), optimizer.step()
        reference.zero_grad(), (theirs(torch.tensor(x)) ** 2).mean().backward(), reference.step()
        mine.update_parameters(ours)
        other.update_parameters(theirs)
        equal(mine, other, 1e-7 if way == "swa multi" else 1e-10)  # whose share is float32 in PyTorch
    assert mine.n_averaged.item() == 6
    assert not any(p is q for p, q in zip(mine.parameters(), ours.parameters(), strict=True))
    swa_utils.update_bn([(tc.tensor(images(i)), 0) for i in range(3)], mine)
    THEIRS.update_bn([(torch.tensor(images(i)), 0) for i in range(3)], other)
    equal(mine, other, 1e-7 if way == "swa multi" else 1e-10)
    x = images(9)
    np.testing.assert_allclose(
        mine.eval()(tc.tensor(x)).detach().numpy(), other.eval()(torch.tensor(x)).detach().numpy(), rtol=1e-6
    )


@pytest.mark.parametrize("way", [way for way in WAYS if way != "swa one"])
def test_a_captured_step_averages_as_an_eager_one(way):
    def trained(capture):
        ours, _ = nets()
        averaged = swa_utils.AveragedModel(ours, **WAYS[way](swa_utils))
        optimizer = optim.SGD(ours.parameters(), lr=0.05)

        def step(x):
            optimizer.zero_grad()
            loss = (ours(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            averaged.update_parameters(ours)
            return loss

        run = tc.capture(step) if capture else step
        for i in range(7):
            run(tc.tensor(images(i)))
        return {name: value.numpy().copy() for name, value in averaged.state_dict().items()}

    mine, other = trained(True), trained(False)
    for name, value in mine.items():
        np.testing.assert_allclose(value, other[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_it_is_saved_and_goes_on():
    ours, _ = nets()
    mine = swa_utils.AveragedModel(ours)
    for factor in (1.0, 2.0):
        ours[3].bias.detach().fill_(factor)
        mine.update_parameters(ours)
    file = io.BytesIO()
    tc.save(mine.state_dict(), file)
    file.seek(0)
    twin = swa_utils.AveragedModel(ours)
    twin.load_state_dict(tc.load(file))
    ours[3].bias.detach().fill_(6.0)
    copied = copy.deepcopy(twin)
    for one in (mine, twin, copied):
        one.update_parameters(ours)
        assert one.module[3].bias.tolist() == pytest.approx([3.0, 3.0])


def test_update_bn_leaves_a_model_as_it_was():
    ours, _ = nets()
    ours.eval()
    swa_utils.update_bn([tc.tensor(images(0))], ours)
    assert not ours.training
    assert ours[1].momentum == 0.1
    with pytest.raises(tc.ShapeError):
        swa_utils.update_bn([tc.ones(1)], ours)
    assert ours[1].momentum == 0.1
    swa_utils.update_bn([1], nn.ReLU())  # nothing to compute


@pytest.mark.parametrize(
    "options",
    [
        {"swa_lr": 0.05},
        {"swa_lr": [0.05, 0.2], "anneal_epochs": 4},
        {"swa_lr": 0.5, "anneal_epochs": 6, "anneal_strategy": "linear"},
        {"swa_lr": 0.05, "anneal_epochs": 0},
    ],
)
@pytest.mark.parametrize("start", [0, 5])
def test_the_schedule_equals_torchs(options, start):
    """Alone, and after a cosine, as it is used."""
    ours = optim.SGD([{"params": tc.ones(1, requires_grad=True), "lr": 0.3}, {"params": tc.ones(2)}], lr=0.1)
    theirs = torch.optim.SGD(
        [{"params": torch.ones(1, requires_grad=True), "lr": 0.3}, {"params": torch.ones(2)}], lr=0.1
    )
    pairs = []
    for lib, schedules, optimizer in (
        (optim.lr_scheduler, swa_utils, ours),
        (torch.optim.lr_scheduler, THEIRS, theirs),
    ):
        pairs.append((lib.CosineAnnealingLR(optimizer, 20), schedules.SWALR(optimizer, **options)))
    theirs.step()
    for step in range(15):
        for cosine, swa in pairs:
            (cosine if step < start else swa).step()
        rates = [[float(group["lr"]) for group in optimizer.param_groups] for optimizer in (ours, theirs)]
        np.testing.assert_allclose(rates[0], rates[1], rtol=1e-9)


def test_mistakes():
    ours, _ = nets()
    functions = {"avg_fn": swa_utils.get_swa_avg_fn(), "multi_avg_fn": swa_utils.get_swa_multi_avg_fn()}
    assert "takes avg_fn or multi_avg_fn, not both" in message(
        tc.ModuleError, lambda: swa_utils.AveragedModel(ours, **functions)
    )
    assert "decay: expected a number from 0 to 1, got 2" in message(tc.OptionError, swa_utils.get_ema_avg_fn, 2)
    assert "decay: expected a number from 0 to 1, got -1" in message(tc.OptionError, swa_utils.get_ema_multi_avg_fn, -1)
    optimizer = optim.SGD(ours.parameters())
    assert "expected 'cos' or 'linear', got 'exp'" in message(
        tc.OptionError, lambda: swa_utils.SWALR(optimizer, 0.1, anneal_strategy="exp")
    )
    assert "SWALR: anneal_epochs: expected" in message(
        tc.OptionError, lambda: swa_utils.SWALR(optimizer, 0.1, anneal_epochs=-1)
    )


def test_swalr_goes_on_where_torchs_was():
    def made(lib):
        optimizer = lib.optim.SGD([lib.ones(1).requires_grad_()], lr=1.0)
        return optimizer, lib.optim.swa_utils.SWALR(optimizer, 0.05, anneal_epochs=5)

    (ours, schedule), (theirs, expected) = made(tc), made(torch)
    for _ in range(3):
        theirs.step(), expected.step()
    ours.load_state_dict(theirs.state_dict()), schedule.load_state_dict(expected.state_dict())
    for _ in range(4):
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
        theirs.step(), expected.step(), schedule.step()
