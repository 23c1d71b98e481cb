"""The optimisers' kernels: the bits of the readable rules, many tensors in a launch, and right in a captured step."""

import numpy as np
import pytest
from standin import counted, kernels

import tinyconv as tc
from tinyconv.capture import capture
from tinyconv.errors import CaptureError
from tinyconv.fast.cuda.optim import PART, TENSORS
from tinyconv.optim import SGD, Adam, AdamW, RMSprop, clip_grad_norm_, clip_grad_value_
from tinyconv.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

pytestmark = pytest.mark.filterwarnings("ignore:.*never received a gradient")  # there are such in some steps

SHAPES = [(3, 4), (5,), (), (0, 2), (2, 1, 3), (PART,), (PART + 1,), (1,)]
OPTIMIZERS = [
    (SGD, {}),
    (SGD, {"weight_decay": 0.1, "maximize": True}),
    (SGD, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (SGD, {"momentum": 0.9, "nesterov": True}),
    (Adam, {}),
    (Adam, {"amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    (Adam, {"betas": (0.5, 0.9), "eps": 1e-2}),
    (AdamW, {"weight_decay": 0.1}),
    (AdamW, {"amsgrad": True}),
    (RMSprop, {"weight_decay": 0.1, "maximize": True}),
    (RMSprop, {"centered": True, "eps": 1e-2}),
    (RMSprop, {"centered": True, "momentum": 0.9, "alpha": 0.7}),
]
REMEMBERING = [(SGD, {"momentum": 0.9, "dampening": 0.3}), (Adam, {"amsgrad": True}), (RMSprop, {"momentum": 0.9})]


def parameters(device, dtype=np.float32, shapes=SHAPES):
    rng = np.random.default_rng(0)
    values = [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
    return [tc.tensor(value, requires_grad=True, device=device) for value in values]


def gradients(step, params):
    rng = np.random.default_rng([1, step])
    return [np.asarray(rng.standard_normal(p.shape), p.dtype) for p in params]


def groups(params):
    return [{"params": params[::2], "lr": 0.02}, {"params": params[1::2], "weight_decay": 0.03}]


def one_cycle(optimizer):
    return OneCycleLR(optimizer, 0.1, 40, cycle_momentum=bool({"momentum", "betas"} & optimizer.defaults.keys()))


def cosine(optimizer):
    return CosineAnnealingLR(optimizer, 30)


def on_host(tensor):
    return tensor.detach().to("cpu").numpy().copy()  # of one that is there already it would be a view


def train(optimizer, params, steps, schedule=None, missing=lambda step, i: False):
    """The parameters after each of these steps, on the host."""
    trajectory = []
    for step in steps:
        for i, (param, grad) in enumerate(zip(params, gradients(step, params), strict=True)):
            param.grad = None if missing(step, i) else tc.tensor(grad, device=param.device)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        trajectory.append([on_host(param) for param in params])
    return trajectory


def assert_same(found, expected):
    for step, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            np.testing.assert_array_equal(a, b, err_msg=f"parameter {i} after step {step}")


def assert_same_state(optimizer, other):
    found, expected = optimizer.state_dict(), other.state_dict()
    assert found["param_groups"] == expected["param_groups"]
    assert found["state"].keys() == expected["state"].keys()
    for i, kept in expected["state"].items():
        assert found["state"][i].keys() == kept.keys()
        for name, value in kept.items():
            np.testing.assert_array_equal(found["state"][i][name], value)


# --- the steps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
@pytest.mark.parametrize("schedule", [one_cycle, *(pytest.param(s, marks=pytest.mark.slow) for s in (None, cosine))])
def test_the_bits_are_those_of_the_readable_rule(standin_cuda, kind, options, schedule):
    """The emulation fuses no product with the sum after it, so nothing is rounded otherwise than in NumPy."""
    for dtype in (np.float32, np.float64):
        found = []
        for device in ("cpu", "cuda"):
            params = parameters(device, dtype)
            optimizer = kind(groups(params), **options)
            trajectory = train(optimizer, params, range(30), schedule and schedule(optimizer))
            with counted() as count:
                optimizer.step()
            found.append((trajectory, optimizer))
        assert count.launches == 2  # the groups
        assert_same(found[1][0], found[0][0])
        assert_same_state(found[1][1], found[0][1])


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_parameters_that_lack_a_gradient_at_times(standin_cuda, kind, options):
    def missing(step, i):
        return i == 4 or (i == 1 and step % 3) or (i == 6 and step < 5)

    found = []
    for device in ("cpu", "cuda"):
        params = parameters(device)
        optimizer = kind(params, **options)
        found.append((train(optimizer, params, range(12), one_cycle(optimizer), missing), optimizer))
    assert_same(found[1][0], found[0][0])
    assert_same_state(found[1][1], found[0][1])


@pytest.mark.parametrize(("kind", "options"), REMEMBERING)
def test_infinities_and_nan_are_values(standin_cuda, kind, options):
    found = []
    for device in ("cpu", "cuda"):
        (param,) = parameters(device, shapes=[(6,)])
        optimizer = kind([param], **options)
        for bad in (np.nan, np.inf, 0.0):
            param.grad = tc.tensor(np.array([bad, -bad, 1, 0, 1e30, 1e-30], np.float32), device=device)
            optimizer.step()
        found.append(([[on_host(param)]], optimizer))
    assert_same(found[1][0], found[0][0])
    assert_same_state(found[1][1], found[0][1])


def test_a_variance_that_rounding_makes_negative_is_zero(standin_cuda):
    found = []
    for device in ("cpu", "cuda"):
        (param,) = parameters(device, shapes=[(100,)])
        param.grad = tc.tensor(gradients(0, [param])[0], device=device)
        optimizer = RMSprop([param], alpha=0.5, centered=True)
        for _ in range(50):
            optimizer.step()
        found.append([[on_host(param)]])
    assert np.isfinite(found[0]).all()
    assert_same(found[1], found[0])


def test_the_order_of_blocks_and_threads_does_not_matter(standin_cuda, monkeypatch):
    found = []
    for reverse in (False, True):
        monkeypatch.setattr(kernels, "reversed_order", reverse)
        params = parameters("cuda")
        found.append(train(Adam(params), params, range(3)))
    assert_same(found[1], found[0])


@pytest.mark.parametrize("n", [1, TENSORS, TENSORS + 1, 2 * TENSORS + 7])
def test_launches_and_transfers(standin_cuda, n):
    found = []
    for device in ("cpu", "cuda"):
        params = parameters(device, shapes=[(1 + i % 5,) for i in range(n)])
        optimizer = Adam(params)
        found.append(train(optimizer, params, range(2)))
    assert_same(found[1], found[0])
    with counted() as count:
        optimizer.step()
    assert (count.launches, count.to_device, count.to_host, count.synchronisations) == (-(-n // TENSORS), 1, 0, 0)


def test_nothing_is_launched_for_nothing(standin_cuda):
    params = parameters("cuda", shapes=[(0,), (2, 0)])
    optimizer = Adam(params)
    train(optimizer, params, range(1))
    with counted() as count:
        optimizer.step()
    assert count.launches == 0


@pytest.mark.parametrize(("kind", "options"), REMEMBERING)
def test_a_run_goes_on_on_another_device(standin_cuda, kind, options):
    params = parameters("cpu")
    expected = train(kind(params, **options), params, range(9))

    values, state, found = parameters("cpu"), None, []
    for steps, device in ((range(3), "cpu"), (range(3, 6), "cuda"), (range(6, 9), "cpu")):
        params = [tc.tensor(on_host(value), requires_grad=True, device=device) for value in values]
        optimizer = kind(params, **options)
        if state is not None:
            optimizer.load_state_dict(state)
        found += train(optimizer, params, steps)
        values, state = params, optimizer.state_dict()
    assert_same(found, expected)


# --- what runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_the_readable_rule_runs_where_it_is_chosen_and_the_kernel_goes_on(standin_cuda, kind, options):
    found = []
    for device in ("cpu", "cuda"):
        params = parameters(device)
        optimizer = kind(params, **options)
        trajectory = train(optimizer, params, range(2))
        with tc.using("readable"), counted() as count:
            trajectory += train(optimizer, params, range(2, 4))
        found.append(trajectory + train(optimizer, params, range(4, 6)))
    assert count.launches > 20
    assert_same(found[1], found[0])


def test_what_the_kernel_does_not_take_is_left_to_the_rule(standin_cuda, monkeypatch):
    """Half precision, parameters that do not lie in one piece, and two that share memory."""
    monkeypatch.setattr(kernels, "reversed_order", True)
    found = []
    for device in ("cpu", "cuda"):
        half, plain, both = parameters(device, np.float16, [(3,)]) + parameters(device, np.float32, [(4,), (6,)])
        strided = tc.zeros(2, 3, requires_grad=True, device=device)
        strided.array = tc.arange(6.0, device=device).array.reshape(3, 2).T
        parts = [tc.tensor(np.zeros(4, np.float32), requires_grad=True, device=device) for _ in range(2)]
        parts[0].array, parts[1].array = both.array[:4], both.array[2:]
        params = [half, plain, strided, *parts]
        found.append(train(AdamW(params), params, range(3)))
    assert_same(found[1], found[0])


def test_parameters_of_one_group_may_be_on_two_devices(standin_cuda):
    found = []
    for devices in (("cpu", "cpu"), ("cuda:1", "cuda:0")):
        params = [parameters(device)[i] for i, device in enumerate(devices)]
        optimizer = Adam(params)
        found.append(train(optimizer, params, range(3)))
    assert_same(found[1], found[0])
    assert [optimizer.state[param]["exp_avg"].device.id for param in params] == [1, 0]


def test_gradients_may_have_any_strides(standin_cuda):
    found = []
    for device in ("cpu", "cuda"):
        (param,) = parameters(device, shapes=[(3, 5)])
        grad = tc.tensor(gradients(0, [tc.zeros(5, 3)])[0], device=device)
        param.grad = grad.transpose(0, 1)
        SGD([param], lr=1.0).step()
        found.append(on_host(param))
    np.testing.assert_array_equal(found[1], found[0])


def test_a_rule_or_a_state_of_ones_own_has_no_kernel():
    class Mine(Adam):
        @staticmethod
        def rule(xp, param, grad, state, **options):
            param -= grad

    class Begun(SGD):
        def new_state(self, xp, param, options):
            return {"momentum_buffer": xp.ones_like(param)}

    class Named(Adam):
        pass

    assert (Mine.kernel, Begun.kernel, Named.kernel) == (None, None, "adam")


def test_a_write_by_the_step_is_known_to_the_tape(standin_cuda):
    params = parameters("cuda", shapes=[(3,)])
    optimizer = Adam(params)
    train(optimizer, params, range(1))
    loss = (params[0] * params[0]).sum()
    train(optimizer, params, range(1))
    with pytest.raises(tc.GraphError, match="written to in place"):
        loss.backward()


# --- in a captured step ---------------------------------------------------------------------------------------------


def captured(optimizer, params, schedule=None):
    """A captured step with these gradients; None stands for a missing one."""

    @capture
    def step(*grads):
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad
        optimizer.step()
        if schedule is not None:
            schedule.step()
        return [param.detach() for param in params]

    def run(number, missing=()):
        grads = gradients(number, params)
        given = [None if i in missing else tc.tensor(g, device="cuda") for i, g in enumerate(grads)]
        return [on_host(value) for value in step(*given)]

    return run


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_a_captured_step_follows_the_schedule(standin_cuda, kind, options):
    params = parameters("cpu")
    reference = kind(groups(params), **options)
    expected = train(reference, params, range(12), one_cycle(reference))

    params = parameters("cuda")
    optimizer = kind(groups(params), **options)
    step = captured(optimizer, params, one_cycle(optimizer))
    found = [step(0), step(1), step(2)]
    for number in range(3, 12):
        with counted() as count:
            found.append(step(number))
        assert count.to_device == len(params) + 1  # the gradients, and all that the two groups need
    assert_same(found, expected)
    assert_same_state(optimizer, reference)


@pytest.mark.parametrize(("kind", "options"), REMEMBERING)
def test_the_first_step_of_a_parameter_may_be_the_captured_one(standin_cuda, kind, options):
    """Its state is made then, and must not be made again by each replay."""
    late = (1, 5)
    params = parameters("cpu")
    reference = kind(params, **options)
    expected = train(reference, params, range(8), missing=lambda step, i: step < 2 and i in late)

    params = parameters("cuda")
    optimizer = kind(params, **options)
    step = captured(optimizer, params)
    assert_same([step(number, late if number < 2 else ()) for number in range(8)], expected)
    assert_same_state(optimizer, reference)


def ready(optimizer, params):
    step = captured(optimizer, params)
    for number in range(4):
        step(number)
    return step


def test_a_replay_notices_what_it_could_not_follow(standin_cuda):
    params = parameters("cuda", shapes=[(3,), (4,)])
    for kind, option, changed in ((SGD, "momentum", 0.9), (Adam, "amsgrad", True), (RMSprop, "centered", True)):
        optimizer = kind(params)
        step = ready(optimizer, params)
        optimizer.param_groups[0][option] = changed
        with pytest.raises(CaptureError, match="an option was changed after the step was captured"):
            step(4)
    optimizer = Adam(params)
    step = ready(optimizer, params)
    optimizer.load_state_dict(optimizer.state_dict())
    with pytest.raises(CaptureError, match="the optimiser has loaded a state"):
        step(4)
    optimizer = Adam(params)
    step = ready(optimizer, params)
    params[1].data = tc.zeros(4, device="cuda")
    with pytest.raises(CaptureError, match="or a parameter was given another array"):
        step(4)
    optimizer = Adam(params)
    step = ready(optimizer, params)
    optimizer.add_param_group({"params": parameters("cuda", shapes=[(2,)])})
    with pytest.raises(CaptureError, match=r"since this step was captured, the optimiser has .* got a group"):
        step(4)


def test_a_replay_is_a_write(standin_cuda):
    params = parameters("cuda", shapes=[(3,)])
    step = ready(Adam(params), params)
    loss = (params[0] * params[0]).sum()
    step(4)
    with pytest.raises(tc.GraphError, match="written to in place"):
        loss.backward()


def test_the_readable_rule_is_not_captured(standin_cuda):
    params = parameters("cuda", shapes=[(3,), (4,)])
    step = captured(Adam(params), params)
    with tc.using("readable"):
        step(0)
        step(1)
        with pytest.raises(CaptureError, match=r"Adam\.step: .* 2 of this group cannot, for example number 0"):
            step(2)


# --- clipping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm_type", [1, 2.0, 3.5, np.inf])
def test_clipping_waits_for_nothing(standin_cuda, norm_type):
    found = []
    for device in ("cpu", "cuda"):
        params = parameters(device, shapes=SHAPES[:3])
        for param, grad in zip(params, gradients(0, params), strict=True):
            param.grad = tc.tensor(grad, device=device)
        with counted() as count:
            norm = clip_grad_norm_(params, 0.5, norm_type)
            clip_grad_value_(params, 0.2)
        found.append([on_host(tensor) for tensor in (norm, *(param.grad for param in params))])
    assert (count.to_host, count.synchronisations) == (0, 0)
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_clipping_is_captured(standin_cuda):
    """Also of more gradients than CuPy joins without the host."""
    shapes = [(7,), (2, 3)] * 5
    ours, theirs = parameters("cuda", shapes=shapes), parameters("cpu", shapes=shapes)

    @capture
    def clipped(grads):
        for param, grad in zip(ours, grads, strict=True):
            param.grad = grad
        return [clip_grad_norm_(ours, 0.5), *(param.grad for param in ours)]

    for number in range(5):
        grads = gradients(number, theirs)
        for param, grad in zip(theirs, grads, strict=True):
            param.grad = tc.tensor(grad)
        expected = [clip_grad_norm_(theirs, 0.5), *(param.grad for param in theirs)]
        for a, b in zip(clipped([tc.tensor(grad, device="cuda") for grad in grads]), expected, strict=True):
            np.testing.assert_allclose(on_host(a), on_host(b), rtol=1e-6)


# --- on a GPU -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_on_a_gpu_the_steps_agree_to_rounding(gpu, kind, options):
    found = []
    for device in ("cpu", gpu):
        params = parameters(device, np.float64)
        optimizer = kind(groups(params), **options)
        found.append(train(optimizer, params, range(30), one_cycle(optimizer)))
    for ours, theirs in zip(*found, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)
