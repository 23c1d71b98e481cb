"""The training loop: the same bits twice, the same bits after a stop, and the losses that torch has."""

import json
from dataclasses import replace

import numpy as np
import pytest
from messages import message

import tinyconv as tc
from tinyconv import models, nn, optim
from tinyconv.data import AlternatingFlip, Compose, DataLoader, RandomShift, synthetic_digits
from tinyconv.errors import OptionError, ShapeError
from tinyconv.functional import cross_entropy
from tinyconv.optim.lr_scheduler import OneCycleLR
from tinyconv.train import (
    RECIPES,
    DivergedError,
    EpochReport,
    EvalReport,
    Session,
    StepReport,
    Trainer,
    evaluate,
    load_checkpoint,
    loop,
    new_run,
    predict,
    start,
)
from tinyconv.train.checkpoint import Run

EPOCHS, IMAGES, BATCH = 2, 80, 16
AUGMENT = Compose((RandomShift(2), AlternatingFlip()))
STEPS = EPOCHS * IMAGES // BATCH


def net():
    """With dropout and batch norm: a resume must bring back random numbers and running statistics too."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(576, 10)
    )


def build(make_optimizer=optim.Adam, seed=0):
    tc.manual_seed(seed)
    model = net()
    loader = DataLoader(synthetic_digits(IMAGES), BATCH, shuffle=True, seed=seed, augment=AUGMENT)
    optimizer = make_optimizer(model.parameters(), lr=1e-3)
    schedule = OneCycleLR(optimizer, 1e-2, STEPS, cycle_momentum=not isinstance(optimizer, optim.RMSprop))
    trainer = Trainer(model, optimizer, schedule, loader, synthetic_digits(40, seed=1), EPOCHS)
    return Session(Run("not among the models"), model, trainer)


def advance(session, steps=None):
    """Take so many optimiser steps, or all; return the reports without their times."""
    reports, taken = [], 0
    for report in session.trainer.run():
        taken += isinstance(report, StepReport)
        reports.append((report.epoch, report.test_accuracy) if isinstance(report, EpochReport) else report)
        if taken == steps:
            break
    return reports


def bits(session):
    model = {name: t.numpy().tobytes() for name, t in session.model.state_dict().items()}
    optimizer = session.trainer.optimizer.state_dict()
    arrays = {
        (i, name): v.tobytes() if isinstance(v, np.ndarray) else v
        for i, entries in optimizer["state"].items()
        for name, v in entries.items()
    }
    losses = [entry["train_loss"] for entry in session.trainer.progress.history]
    return model, arrays, optimizer["param_groups"], losses, tc.get_rng_state()


def test_the_same_seed_gives_the_same_bits():
    def train(seed):
        session = build(seed=seed)  # and then run: dropout draws from the one generator that building seeded
        return advance(session), bits(session)

    assert train(0) == train(0)
    assert train(0)[1][0] != train(1)[1][0]


def resumed_from(path, make_optimizer=optim.Adam):
    """As `tinyconv.train.resume`, for a model that has no name: everything but the arguments comes from the file."""
    found = load_checkpoint(path)
    session = build(make_optimizer, seed=7)
    session.trainer.loader.seed = 0
    session.model.load_state_dict(found.model_state)
    session.trainer.optimizer.load_state_dict(found.optimizer_state)
    session.trainer.load_state_dict(found.trainer)
    return session


@pytest.mark.parametrize("stop", range(STEPS + 1))
@pytest.mark.parametrize("make_optimizer", [optim.Adam, optim.AdamW, optim.SGD, optim.RMSprop])
def test_stopping_anywhere_changes_no_bit(make_optimizer, stop, tmp_path):
    whole = build(make_optimizer)
    expected, expected_bits = advance(whole), bits(whole)

    stopped = build(make_optimizer)
    before = advance(stopped, stop) if stop else []
    resumed = resumed_from(stopped.save(tmp_path / "stopped.safetensors"), make_optimizer)
    after = advance(resumed)

    assert before + after == expected
    assert bits(resumed) == expected_bits


def test_a_resume_without_the_random_numbers_would_be_seen(tmp_path):
    whole = build()
    advance(whole)
    expected_bits = bits(whole)
    stopped = build()
    advance(stopped, 3)
    resumed = resumed_from(stopped.save(tmp_path / "stopped.safetensors"))
    tc.manual_seed(12345)
    advance(resumed)
    assert bits(resumed)[0] != expected_bits[0]


@pytest.mark.parametrize("often", [{"steps": 1}, {"steps": 3}, {"seconds": 0}], ids=str)
def test_saving_often_changes_no_bit(often, tmp_path):
    whole = build()
    expected, expected_bits = advance(whole), bits(whole)
    saved = build()
    reports = list(saved.saving(tmp_path / "c.safetensors", **often))
    assert [(r.epoch, r.test_accuracy) if isinstance(r, EpochReport) else r for r in reports] == expected
    assert bits(saved) == expected_bits == bits(resumed_from(tmp_path / "c.safetensors"))


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_stopping_between_two_batches_of_the_test_changes_no_bit(batches, monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "TESTED", 15)  # of 40 images: 3 batches
    whole = build()
    expected, expected_bits = advance(whole), bits(whole)
    stopped = build()
    for report in stopped.trainer.run():
        if isinstance(report, EvalReport) and report.batch == batches:
            assert (report.epoch, report.batches) == (1, 3)
            assert stopped.model.training  # the test leaves the model as it was, whenever it is left
            break
    resumed = resumed_from(stopped.save(tmp_path / "stopped.safetensors"))
    assert advance(resumed) == expected[IMAGES // BATCH :]
    assert bits(resumed) == expected_bits


def test_reports():
    session = build()
    reports = list(session.trainer.run())
    steps = [r for r in reports if isinstance(r, StepReport)]
    epochs = [r for r in reports if isinstance(r, EpochReport)]
    assert [(r.epoch, r.step, r.steps) for r in steps] == [(e, s, 5) for e in (1, 2) for s in range(1, 6)]
    assert [r.epoch for r in epochs] == [1, 2]
    # Batches of equal size: the mean over the epoch is the mean of its batches' losses.
    assert epochs[0].train_loss == pytest.approx(np.mean([r.loss for r in steps[:5]]))
    assert epochs[1].test_accuracy == evaluate(session.model, session.trainer.test)
    assert all(0 <= r.test_accuracy <= 1 and r.seconds > 0 for r in epochs)
    assert [(r.epoch, r.batch, r.batches) for r in reports if isinstance(r, EvalReport)] == [(1, 1, 1), (2, 1, 1)]
    json.dumps(session.trainer.state_dict())
    assert list(session.trainer.run()) == []


def test_the_epoch_loss_weighs_a_smaller_last_batch_by_its_size():
    tc.manual_seed(0)
    model = models.mlp(8)
    loader = DataLoader(synthetic_digits(10), 8)
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=1e-12), None, loader, synthetic_digits(10), 1)
    steps = [r.loss for r in trainer.run() if isinstance(r, StepReport)]
    assert trainer.progress.history[0]["train_loss"] == pytest.approx((8 * steps[0] + 2 * steps[1]) / 10)


@pytest.mark.parametrize("step", [1, 2, 3, 4])  # the step itself, the one that is recorded, and replays
def test_a_loss_that_is_not_finite_stops_the_training(step):
    session = build()
    reports = session.trainer.run()
    for _ in range(step - 1):
        next(reports)
    session.model[0].weight.data[0, 0, 0, 0] = float("nan")
    others = session.model[5].weight.numpy().copy()
    with pytest.raises(DivergedError, match=f"the loss is nan at epoch 1, step {step}; the learning rate is"):
        next(reports)
    np.testing.assert_array_equal(session.model[5].weight.numpy(), others)


def test_prediction_leaves_the_mode_alone_and_records_nothing():
    model = net()
    images = synthetic_digits(7).normalized()
    p = predict(model, images, batch_size=3)
    assert model.training
    assert p.shape == (7, 10)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(p, predict(model.eval(), images), rtol=1e-4, atol=1e-6)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_frozen_layer_stays_in_evaluation_mode():
    """Who fine-tunes keeps a batch norm in evaluation mode, also over the tests between epochs."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 26 * 26, 10))
    model[1].eval()
    data = synthetic_digits(7)
    predict(model, data.normalized())
    evaluate(model, data)
    assert [module.training for module in model.modules()] == [True, True, False, True, True]


def test_images_are_shown_mirrored_too():
    tc.manual_seed(0)
    model, images = net().eval(), synthetic_digits(40)
    x = images.normalized()
    p = predict(model, x) + predict(model, np.ascontiguousarray(x[:, :, :, ::-1]))
    assert evaluate(model, images, mirrored=True) == (p.argmax(1) == images.labels).mean()
    assert evaluate(model, replace(images, images=images.images[..., ::-1]), mirrored=True) == pytest.approx(
        evaluate(model, images, mirrored=True)
    )


@pytest.mark.parametrize("mirrored", [False, True])
def test_images_are_shown_shifted_too(mirrored):
    """Half for the image itself, a quarter for each copy; in batches enough that they are replays too."""
    tc.manual_seed(0)
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), synthetic_digits(300)
    x = images.normalized()
    around = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    views = [(2, x), (1, around[:, :, :28, :28]), (1, around[:, :, 4:, 4:])]
    views += [(share, view[:, :, :, ::-1]) for share, view in views if mirrored]
    p = sum(share * predict(model, np.ascontiguousarray(view)) for share, view in views)
    labelled = replace(images, labels=p.argmax(1))
    for size in (1000, 50):
        assert evaluate(model, labelled, size, mirrored=mirrored, shifted=2) == 1
        for other in ({"mirrored": mirrored}, {"mirrored": mirrored, "shifted": 1}, {"shifted": 2} if mirrored else {}):
            assert evaluate(model, labelled, size, **other) < 0.99


def test_shifts_that_are_none():
    model, images = net().eval(), synthetic_digits(5)
    assert evaluate(model, images, shifted=0) == evaluate(model, images)
    for wrong in (-1, 1.5):
        with pytest.raises(OptionError, match=f"evaluate: shifted: expected an integer >= 0, got {wrong}"):
            evaluate(model, images, shifted=wrong)
    with pytest.raises(ShapeError, match="28"):
        evaluate(model, images, shifted=28)


def test_ten_steps_follow_torch_in_float64():
    """From the same weights, on the same batches, with Adam: losses equal to 1e-5 relative, and far closer."""
    torch = pytest.importorskip("torch")
    tc.manual_seed(0)
    ours = models.lenet5().double()

    theirs = torch.nn.Sequential(
        *(torch.nn.Conv2d(1, 6, 5), torch.nn.ReLU(), torch.nn.MaxPool2d(2)),
        *(torch.nn.Conv2d(6, 16, 5), torch.nn.ReLU(), torch.nn.MaxPool2d(2)),
        torch.nn.Flatten(),
        *(torch.nn.Linear(256, 120), torch.nn.ReLU(), torch.nn.Linear(120, 84), torch.nn.ReLU()),
        torch.nn.Linear(84, 10),
    ).double()
    with torch.no_grad():
        for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
            p.copy_(torch.from_numpy(q.detach().numpy().copy()))

    our_adam = optim.Adam(ours.parameters(), lr=1e-3)
    their_adam = torch.optim.Adam(theirs.parameters(), lr=1e-3)
    losses = []
    for x, y in DataLoader(synthetic_digits(320), 32, shuffle=True).arrays(0):
        our_adam.zero_grad()
        loss = cross_entropy(ours(tc.tensor(x).double()), tc.tensor(y))
        loss.backward()
        our_adam.step()
        their_adam.zero_grad()
        their_loss = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x).double()), torch.from_numpy(y))
        their_loss.backward()
        their_adam.step()
        losses.append((loss.item(), their_loss.item()))
    assert len(losses) == 10
    assert losses[-1][0] < losses[0][0]
    for ours_, theirs_ in losses:
        assert ours_ == pytest.approx(theirs_, rel=1e-9)


@pytest.mark.mnist
@pytest.mark.slow
def test_an_epoch_on_real_digits(mnist_root):
    session = start(new_run("lenet5", "mnist", 0, replace(RECIPES["default"], epochs=1)), root=mnist_root, offline=True)
    *_, report = session.trainer.run()
    assert report.test_accuracy > 0.97
    assert report.train_loss < 0.4


# --- what a model gives ---------------------------------------------------------------------------------------------


class Giving(nn.Module):
    """A model that gives something made of its scores."""

    def __init__(self, made, classes=10):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, classes))
        object.__setattr__(self, "made", made)

    def forward(self, x):
        return self.made(self.body(x))


NOT_SCORES = {
    "cells": (lambda y: y.reshape(len(y), 10, 1, 1), "(8, 10, 1, 1): end it with nn.Flatten()"),
    "a row of rows": (lambda y: y.reshape(len(y), 1, 10), "(8, 1, 10): end it with nn.Flatten()"),
    "one number each": (lambda y: y.sum(1), "(8,): does its forward keep axis 0 the batch?"),
    "labels": (lambda y: y.argmax(1), "(8,): does its forward keep axis 0 the batch?"),
    "one number": (lambda y: y.sum(), "(): does its forward keep axis 0 the batch?"),
    "one row for all": (lambda y: y.mean(0, keepdim=True), "(1, 10): does its forward keep axis 0 the batch?"),
    "some rows": (lambda y: y[:5], "(5, 10): does its forward keep axis 0 the batch?"),
    "classes first": (lambda y: y.transpose(0, 1), "(10, 8): does its forward keep axis 0 the batch?"),
    "a tuple": (lambda y: (y, y), "a tuple: does its forward return the scores alone?"),
    "a dict": (lambda y: {"scores": y}, "a dict: does its forward return the scores alone?"),
}
DIGITS = synthetic_digits(8)
ASKS = {
    "evaluate": lambda model: evaluate(model, DIGITS),
    "evaluate mirrored": lambda model: evaluate(model, DIGITS, mirrored=True, shifted=1),
    "predict": lambda model: predict(model, DIGITS.normalized()),
    "Trainer": lambda model: list(
        Trainer(model, optim.SGD(model.parameters()), None, DataLoader(DIGITS, 8), DIGITS, 1).run()
    ),
}


@pytest.mark.parametrize("what", ASKS)
@pytest.mark.parametrize("name", NOT_SCORES)
def test_a_model_that_gives_no_scores_is_refused(name, what):
    """(N, 10, 1, 1) had an accuracy of 5.0, one row for all that of a guess, and a tuple an AttributeError."""
    made, said = NOT_SCORES[name]
    model = Giving(made)
    asked = what.split()[0]
    expected = f"{asked}: expected scores (8, classes) of 8 images from the model, got {said}"
    assert message(tc.ShapeError, ASKS[what], model) == expected
    assert model.training


def test_a_model_with_too_few_classes_is_refused_and_one_with_more_is_not():
    expected = "evaluate: the labels go up to 7, but the model gives 5 scores: its last layer needs 8 outputs"
    assert DIGITS.labels.max() == 7
    assert message(tc.ShapeError, evaluate, Giving(lambda y: y, 5), DIGITS) == expected
    assert 0 <= evaluate(Giving(lambda y: y, 11), DIGITS) <= 1


def test_predict_of_no_images_and_of_batches_of_none():
    model = Giving(lambda y: y)
    assert predict(model, DIGITS.normalized()[:0]).shape == (0, 10)
    expected = "predict: batch_size: expected an integer >= 1, got 0"
    assert message(tc.optim.OptionError, predict, model, DIGITS.normalized(), 0) == expected
