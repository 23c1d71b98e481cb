"""The same training on a GPU: the CPU's losses, the same bits after a stop, and no waiting in between."""

import numpy as np
import pytest
from standin import counted
from test_train_loop import BATCH, IMAGES, advance, bits, net

import tinyconv as tc
from tinyconv import nn, optim
from tinyconv.data import DataLoader, RandomShift, synthetic_digits
from tinyconv.optim.lr_scheduler import OneCycleLR
from tinyconv.train import DivergedError, Session, StepReport, Trainer, evaluate, load_checkpoint, loop
from tinyconv.train.checkpoint import Run

EPOCHS, LAST = 2, 5  # images of the last batch
STEPS = EPOCHS * (IMAGES // BATCH + 1)


def build(device, seed=0):
    """With a smaller last batch, which a captured step cannot take."""
    tc.manual_seed(seed)
    model = net().to(device)
    images = synthetic_digits(IMAGES + LAST)
    loader = DataLoader(images, BATCH, shuffle=True, seed=0, augment=RandomShift(2), device=device)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    schedule = OneCycleLR(optimizer, 1e-2, STEPS)
    trainer = Trainer(nn.DataParallel(model, tile=4), optimizer, schedule, loader, synthetic_digits(40, seed=1), EPOCHS)
    return Session(Run("not among the models"), model, trainer)


def on_host(session):
    session.model.cpu()
    return bits(session)


@pytest.fixture
def whole(cuda):
    session = build(cuda)
    return advance(session), on_host(session)


def test_it_follows_the_cpu(whole):
    session = build("cpu")
    # One tape for the batch, as on a GPU: of tiles each would have batch statistics of its own.
    session.trainer.model.tile = IMAGES
    tc.manual_seed(0), net()
    advance(session)
    np.testing.assert_allclose(whole[1][3], bits(session)[3], rtol=1e-4)


def test_the_same_seed_gives_the_same_bits(cuda, whole):
    session = build(cuda)
    assert (advance(session), on_host(session)) == whole


@pytest.mark.parametrize("stop", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 5, 6, 8))])
def test_stopping_anywhere_changes_no_bit(cuda, whole, stop, tmp_path):
    """Before and after a step is captured, at the end of an epoch and within; on disk are arrays of the host."""
    stopped = build(cuda)
    advance(stopped, stop)
    found = load_checkpoint(stopped.save(tmp_path / "stopped.safetensors"))
    resumed = build(cuda, seed=7)
    resumed.model.load_state_dict(found.model_state)
    resumed.trainer.optimizer.load_state_dict(found.optimizer_state)
    resumed.trainer.load_state_dict(found.trainer)
    advance(resumed)
    model, optimizer, groups, losses, rng = on_host(resumed)
    assert (model, optimizer, groups, rng) == (*whole[1][:3], whole[1][4])
    np.testing.assert_allclose(losses, whole[1][3], rtol=1e-12)


def test_saving_often_changes_no_bit(cuda, whole, tmp_path):
    saved = build(cuda)
    for _ in saved.saving(tmp_path / "c.safetensors", steps=2):
        pass
    assert on_host(saved) == whole[1]


def test_what_is_read_and_copied(standin_cuda):
    session = build("cuda")
    reports = session.trainer.run()
    for _ in range(4):
        next(reports)  # the images are there, and a step is captured
    with counted() as count:
        step = next(reports)
    assert isinstance(step, StepReport)
    assert (count.to_device, count.to_host) == (1, 0)
    with counted() as count:
        next(reports), next(reports), next(reports)  # the last step, whose losses are read, and the test
    assert count.to_host == 2


def test_the_losses_that_are_reported_are_means(cuda, monkeypatch):
    monkeypatch.setattr(loop, "READ", 2)
    steps = [r for r in build(cuda).trainer.run() if isinstance(r, StepReport)][:6]
    monkeypatch.setattr(loop, "READ", 1)
    each = [r.loss for r in build(cuda).trainer.run() if isinstance(r, StepReport)][:6]
    means = [each[0], (each[1] + each[2]) / 2, (each[3] + each[4]) / 2, each[5]]
    np.testing.assert_allclose([steps[i].loss for i in (0, 2, 4, 5)], means, rtol=1e-9)
    assert (steps[1].loss, steps[3].loss) == (steps[0].loss, steps[2].loss)


def test_a_loss_that_is_not_finite_is_found_when_it_is_read(cuda):
    session = build(cuda)
    session.model[0].weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(DivergedError, match="the loss is nan at epoch 1, step 1; the learning rate is"):
        list(session.trainer.run())


def test_evaluation_counts_on_the_device(standin_cuda):
    model, images = net(), synthetic_digits(50)
    expected = evaluate(model, images)
    loader = DataLoader(images, 20, device="cuda")
    model.cuda()
    assert evaluate(model, loader) == expected
    with counted() as count:
        assert evaluate(model, loader) == expected
    assert (count.to_device, count.to_host) == (3, 1), "the numbers of the images of each batch, and the count"
    assert model.training
