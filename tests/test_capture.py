"""`capture`: a replayed step does what the step does, and what it could not repeat is refused."""

import numpy as np
import pytest
from standin import counted

import tinyconv as tc
from tinyconv import data, nn, optim
from tinyconv import functional as F
from tinyconv.optim.lr_scheduler import OneCycleLR

STEPS = 7


@pytest.fixture(autouse=True)
def in_numpy():
    """There a replay has the bits of the step. Compiled ones differ by rounding: test_program_compiled.py."""
    before = tc.variants.kernels()
    tc.variants.set_kernels("numpy")
    yield
    tc.variants.set_kernels(before)


def net():
    """Everything that is new at each step: dropout, running statistics, momentum."""
    tc.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(27, 10),
    )


def batch(seed, n=4, device="cpu"):
    rng = np.random.default_rng(seed)
    return tc.tensor(rng.standard_normal((n, 1, 8, 8), np.float32), device=device), tc.tensor(
        rng.integers(0, 10, n), device=device
    )


class Training:
    def __init__(self, device, captured=True):
        self.model = net().to(device)
        self.optimizer = optim.AdamW(self.model.parameters(), lr=1e-2)
        self.schedule = OneCycleLR(self.optimizer, 1e-2, STEPS)
        self.calls = 0
        self.step = tc.capture(self._step) if captured else self._step

    def _step(self, x, y, smoothing=0.0):
        self.calls += 1
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y, label_smoothing=smoothing)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return {"loss": loss, "parts": [loss * 2, None], "note": "done"}

    def state(self):
        return [t.cpu().numpy().tobytes() for t in self.model.state_dict().values()]


def test_on_the_cpu_a_program_does_what_the_step_does():
    trainings = Training("cpu"), Training("cpu", captured=False)
    losses = []
    for training in trainings:
        tc.manual_seed(1)
        losses.append([training.step(*batch(i))["loss"].item() for i in range(STEPS)])
    assert (trainings[0].calls, trainings[1].calls) == (2, STEPS)
    assert losses[0] == losses[1]
    assert trainings[0].state() == trainings[1].state()
    assert trainings[0].step.__name__ == "_step"


def test_a_replay_does_what_the_step_does(cuda):
    captured, plain = Training(cuda), Training(cuda, captured=False)
    results = []
    for training in (captured, plain):
        tc.manual_seed(1)
        results.append([training.step(*batch(i, device=cuda)) for i in range(STEPS)])
    assert (captured.calls, plain.calls) == (3, STEPS)
    for ours, theirs in zip(*results, strict=True):  # read at the end: each is a copy of its own
        assert ours["loss"].item() == theirs["loss"].item()
        assert ours["parts"][0].item() == theirs["parts"][0].item()
        assert ours["parts"][1] is None
        assert ours["note"] == "done"
    assert captured.state() == plain.state()
    assert captured.schedule.last_epoch == plain.schedule.last_epoch == STEPS
    assert captured.optimizer.param_groups[0]["lr"] == plain.optimizer.param_groups[0]["lr"]
    assert {s["step"] for s in captured.optimizer.state.values()} == {STEPS}


def test_a_replay_follows_the_cpu(cuda):
    losses = []
    for device in ("cpu", cuda):
        training = Training(device)
        tc.manual_seed(1)
        losses.append([training.step(*batch(i, device=device))["loss"].item() for i in range(STEPS)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_a_replay_launches_one_graph_and_makes_one_transfer(standin_cuda):
    training = Training("cuda")
    batches = [batch(i, device="cuda") for i in range(STEPS)]
    for x, y in batches[:4]:
        training.step(x, y)
    with counted() as count:
        training.step(*batches[4])
    assert (count.to_device, count.to_host, count.synchronisations) == (1, 0, 0)
    assert count.launches < 8, "two inputs, two results and the graph"


def test_a_change_between_two_replays_is_seen(cuda):
    """Weights written in place, a rate, and the mode of the random numbers."""
    captured, plain = Training(cuda), Training(cuda, captured=False)
    states = []
    for training in (captured, plain):
        tc.manual_seed(1)
        for i in range(STEPS):
            if i == 4:
                training.model.load_state_dict(net().state_dict())
                training.optimizer.param_groups[0]["weight_decay"] = 0.5
                tc.manual_seed(2)
            training.step(*batch(i, device=cuda))
        states.append(training.state())
    assert states[0] == states[1]


def test_gradients_add_up_over_replays_as_they_do_over_steps(cuda):
    grads = []
    for wrap in (tc.capture, lambda step: step):
        model = nn.Linear(3, 2).to(cuda)
        model.load_state_dict({"weight": np.ones((2, 3), np.float32), "bias": np.zeros(2, np.float32)})

        def step(x, model=model):
            model(x).tanh().sum().backward()

        run = wrap(step)
        for i in range(STEPS):
            run(tc.full((1, 3), 0.1 * i, device=cuda))
        grads.append(model.weight.grad.cpu().numpy())
    np.testing.assert_array_equal(*grads)
    assert grads[0].any()


def test_a_loader_gives_each_replay_its_batch(cuda):
    digits = data.synthetic_digits(24)
    seen = {}
    for captured in (True, False):
        tc.manual_seed(1)  # which the order of a loader comes from
        loader = data.DataLoader(digits, 8, shuffle=True, augment=data.RandomShift(2), device=cuda)
        step = tc.capture(loader.next, device=cuda) if captured else loader.next
        seen[captured] = [[t.cpu().numpy() for t in step()] for _ in range(STEPS)]
    for ours, theirs in zip(seen[True], seen[False], strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])
    assert not np.array_equal(seen[True][4][0], seen[True][5][0])


# --- what is refused ------------------------------------------------------------------------------------------------

READS = "reads values of a tensor of shape () on the host, which a replay cannot do; return the tensor"
REFUSED = {
    "item": (lambda x: x.sum().item(), READS),
    "float": (lambda x: float(x.sum()), READS),
    "if": (lambda x: x if x.sum() > 0 else -x, READS),
    "print": (lambda x: repr(x.sum()), READS),
    "tolist": (lambda x: x.sum().tolist(), READS),
    "cpu": (lambda x: x.cpu(), "moves a tensor of shape (4, 1, 8, 8) to cpu, which a replay cannot do"),
    "host data": (
        lambda x: x + tc.tensor(np.ones((4, 1, 8, 8), np.float32), device=x.device),
        "brings an array of shape (4, 1, 8, 8) from the host, which a replay cannot do; give it as an",
    ),
    "waiting": (lambda x: (tc.synchronize(x.device), x)[1], "the step waits for the device, which a replay"),
}


@pytest.mark.parametrize(("step", "why"), REFUSED.values(), ids=REFUSED)
def test_refused(cuda, step, why):
    run, (x, _) = tc.capture(step, device=cuda), batch(0, device=cuda)
    run(x), run(x)
    for _ in range(2):  # and again at the next call: nothing is left half done
        with pytest.raises(tc.CaptureError) as caught:
            run(x)
        assert why in str(caught.value)
    assert (x * 2).sum().item() == pytest.approx(2 * x.sum().item()), "the device goes on as before"


def test_a_product_by_another_library_is_refused(cuda):
    run, weight = tc.capture(lambda x: x.flatten(1) @ weight), tc.ones(64, 2, device=cuda)
    x = batch(0, device=cuda)[0]
    run(x), run(x)
    with pytest.raises(tc.CaptureError, match="the step does something that cannot be recorded: NotImplementedError"):
        run(x)


def test_other_arguments_are_refused_and_change_nothing(cuda):
    training = Training(cuda)
    for i in range(4):
        training.step(*batch(i, device=cuda))
    before, rate = training.state(), training.optimizer.param_groups[0]["lr"]
    refused = "recorded with float32 (4, 1, 8, 8) on cuda:0, int64 (4,) on cuda:0 and is called with "
    for args, options, given in (
        (batch(0, n=3, device=cuda), {}, "float32 (3, 1, 8, 8) on cuda:0, int64 (3,) on cuda:0; shapes"),
        (batch(0), {}, "float32 (4, 1, 8, 8) on cpu, int64 (4,) on cpu; shapes"),
        (batch(0, device=cuda), {"smoothing": 0.1}, "int64 (4,) on cuda:0, smoothing=0.1; shapes"),
    ):
        with pytest.raises(tc.CaptureError) as caught:
            training.step(*args, **options)
        assert refused in str(caught.value)
        assert given in str(caught.value)
    assert training.state() == before
    assert training.optimizer.param_groups[0]["lr"] == rate
    training.step(*batch(4, device=cuda))
    assert training.state() != before


def test_an_argument_that_requires_grad_is_refused(cuda):
    run, x = tc.capture(lambda x: (x * x).sum()), tc.ones(3, device=cuda, requires_grad=True)
    run(x), run(x)
    with pytest.raises(tc.CaptureError, match=r"an argument of shape \(3,\) requires grad; give the step data"):
        run(x)


def test_random_numbers_are_drawn_for_each_replay(cuda):
    run = tc.capture(lambda: tc.rand(2, device=cuda) * 2, device=cuda)
    tc.manual_seed(0)
    drawn = [run() for _ in range(STEPS)]
    tc.manual_seed(0)
    for t in drawn:
        np.testing.assert_array_equal(t.cpu().numpy(), (tc.rand(2) * 2).numpy())


def test_a_captured_step_inside_another_is_part_of_it(cuda):
    inner = tc.capture(lambda x: x * 2)
    outer = tc.capture(lambda x: inner(x) + 1)
    for i in range(STEPS):
        assert outer(tc.full((2,), float(i), device=cuda)).tolist() == [2 * i + 1.0] * 2


def test_an_interrupt_while_it_records_leaves_nothing_recording(cuda):
    """Neither the stream, nor the tensors made later; and the next call records anew."""
    from tinyconv.arrays.backend import captured_step

    calls = []

    def step(x):
        calls.append(1)
        y = x * 2
        if len(calls) == 3:
            raise KeyboardInterrupt
        return y + 1

    run = tc.capture(step)
    for i in range(STEPS):
        x = tc.full((2,), float(i), device=cuda)
        if i == 2:
            with pytest.raises(KeyboardInterrupt):
                run(x)
            assert captured_step.get() is None
            assert (tc.ones(2, device=cuda) * 2).tolist() == [2.0, 2.0]
        else:
            assert run(x).tolist() == [2 * i + 1.0] * 2
    assert len(calls) == 4
