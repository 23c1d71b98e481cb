"""What holds for every optimiser: in place, in the parameter's dtype, resumable to the bit, clear about mistakes."""

import copy
import json
from itertools import pairwise

import numpy as np
import pytest
from oracle import assert_array_equal, host

import tinyconv as tc
from tinyconv import optim
from tinyconv.errors import CheckpointError, GraphError, TinyconvError
from tinyconv.optim import SGD, Adam, AdamW, OptionError, ParameterError, RMSprop
from tinyconv.tensor.tensor import Tensor

# Some parameters have no gradient here, at some steps or at all of them, which `step` would warn of.
pytestmark = [
    pytest.mark.usefixtures("everywhere"),
    pytest.mark.filterwarnings("ignore:.*never received a gradient"),
]

KINDS = [
    pytest.param(SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, id="SGD"),
    pytest.param(Adam, {"weight_decay": 0.1}, id="Adam"),
    pytest.param(Adam, {"amsgrad": True, "maximize": True}, id="amsgrad"),
    pytest.param(AdamW, {}, id="AdamW"),
    pytest.param(RMSprop, {"momentum": 0.9, "centered": True}, id="RMSprop"),
    pytest.param(optim.Adagrad, {"lr_decay": 0.1}, id="Adagrad"),
    pytest.param(optim.Adadelta, {}, id="Adadelta"),
    pytest.param(optim.NAdam, {"weight_decay": 0.1}, id="NAdam"),
    pytest.param(optim.RAdam, {"betas": (0.9, 0.9)}, id="RAdam"),
]


def parameters(dtype=np.float32):
    rng = np.random.default_rng(1)
    return [Tensor(rng.standard_normal(shape), requires_grad=True, dtype=dtype) for shape in [(3, 4), (5,), ()]]


def set_grads(params, step):
    for i, param in enumerate(params):
        noise = np.random.default_rng([step, i]).standard_normal(param.shape)
        param.grad = Tensor(noise, dtype=param.dtype) if (step + i) % 3 else None


def train(optimizer, params, steps):
    for step in steps:
        set_grads(params, step)
        optimizer.step()


class Float32Only(np.ndarray):
    """Refuses every operation that gives a float of another size."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **kwargs):
        plain = [np.asarray(x) if isinstance(x, Float32Only) else x for x in inputs]
        if out:
            kwargs["out"] = tuple(np.asarray(x) for x in out)
        result = getattr(ufunc, method)(*plain, **kwargs)
        assert result.dtype == np.float32, f"{ufunc.__name__} gave {result.dtype}"
        return out[0] if out else np.asarray(result).view(Float32Only)


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("shape", [(3, 4), ()])
def test_no_step_of_a_rule_leaves_float32(kind, options, shape):
    rng = np.random.default_rng(0)
    optimizer = kind([Tensor(0.0, requires_grad=True)], **options)
    options = optimizer.check(
        {name: np.float64(v) if isinstance(v, float) else v for name, v in optimizer.defaults.items()}
    )
    param = rng.standard_normal(shape, np.float32) if shape else np.array(1.5, np.float32)
    param = param.view(Float32Only)
    state = optimizer.new_state(np, param, options)
    for _ in range(3):
        grad = np.array(rng.standard_normal(shape), np.float32).view(Float32Only)
        optimizer.rule(np, param, grad, state, **options)
    assert {value.dtype for value in state.values() if isinstance(value, np.ndarray)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_updates_are_in_place_and_keep_the_dtype(kind, options, dtype):
    params = parameters(dtype)
    arrays, writes = [p.array for p in params], [p._storage.written for p in params]
    before = [a.copy() for a in arrays]
    optimizer = kind(params, lr=np.float64(0.1), **options)
    train(optimizer, params, range(3))
    for param, array, old in zip(params, arrays, before, strict=True):
        assert param.array is array
        assert param.dtype == dtype
        assert not (array == old).any()
        state = [value for value in optimizer.state[param].values() if not isinstance(value, int | float)]
        assert state
        assert all(value.dtype == dtype and value.shape == param.shape for value in state)
    assert all(p._storage.written > w for p, w in zip(params, writes, strict=True))


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_strides_do_not_matter(kind, options):
    plain, turned = Tensor(np.arange(12.0).reshape(3, 4)), Tensor(np.zeros((3, 4)))
    turned.array = plain.array.T.copy().T
    for param in (plain, turned):
        optimizer = kind([param], **options)
        for step in range(3):
            param.grad = Tensor(np.random.default_rng(step).standard_normal((3, 4)))
            optimizer.step()
    assert_array_equal(plain.array, turned.array)


def test_a_gradient_belongs_to_whoever_set_it():
    param = Tensor([1.0, 2.0], requires_grad=True)
    param.grad = grad = Tensor([0.5, 0.5])
    optimizer = SGD([param], momentum=0.9, maximize=True)
    for _ in range(3):
        optimizer.step()
    assert_array_equal(grad.array, [0.5, 0.5])


def test_none_is_skipped_and_zero_is_not():
    skipped, shrunk = (Tensor([1.0], requires_grad=True) for _ in range(2))
    optimizer = SGD([skipped, shrunk], lr=0.5, weight_decay=0.5)
    shrunk.grad = Tensor([3.0])
    optimizer.zero_grad(set_to_none=False)
    assert shrunk.grad.array == 0
    assert skipped.grad is None
    optimizer.step()
    assert skipped.array == 1
    assert shrunk.array == 0.75
    optimizer.zero_grad()
    assert shrunk.grad is None


def test_an_option_assigned_to_a_group_counts_from_the_next_step():
    param = Tensor([0.0], requires_grad=True)
    param.grad = Tensor([1.0])
    optimizer = SGD([param], lr=1.0)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = np.float64(2.0)
    optimizer.step()
    assert_array_equal(param.array, [-3.0])
    optimizer.param_groups[0]["lr"] = -1.0
    with pytest.raises(OptionError, match=r"SGD: lr: expected a finite number >= 0, got -1\.0"):
        optimizer.step()


def test_a_step_between_forward_and_backward_is_noticed():
    param = Tensor([1.0, 2.0], requires_grad=True)
    param.grad = Tensor([1.0, 1.0])
    loss = (param * param).sum()
    SGD([param]).step()
    with pytest.raises(GraphError, match="written to in place"):
        loss.backward()


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_divergence_shows_in_the_values_and_not_in_warnings(kind, options):
    param = Tensor([1.0, 1.0], requires_grad=True)
    param.grad = Tensor([np.inf, 1e30])
    optimizer = kind([param], **options)
    for _ in range(3):
        optimizer.step()
    assert not param.isfinite()[0].item()


def test_add_param_group():
    first, second = Tensor([0.0], requires_grad=True), Tensor([0.0], requires_grad=True)
    optimizer = SGD([first], lr=1.0)
    group = {"params": second, "lr": 3.0}
    optimizer.add_param_group(group)
    assert group == {"params": second, "lr": 3.0}
    first.grad = second.grad = Tensor([1.0])
    optimizer.step()
    assert [first.tolist(), second.tolist()] == [[-1.0], [-3.0]]
    assert repr(optimizer).count("parameters:") == 2


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_resuming_is_exact_to_the_bit(kind, options):
    def build(params, lr):
        return kind([{"params": params[:1], "lr": lr}, {"params": params[1:]}], **options)

    straight = parameters()
    optimizer = build(straight, 1 / 3)
    train(optimizer, straight, range(10))
    saved, values = optimizer.state_dict(), [np.array(host(p)) for p in straight]
    train(optimizer, straight, range(10, 30))

    # As a checkpoint keeps it: arrays as bytes, everything else as text.
    saved["param_groups"] = json.loads(json.dumps(saved["param_groups"]))
    resumed = [Tensor(v, requires_grad=True) for v in values]
    other = build(resumed, 0.9)
    other.load_state_dict(saved)
    train(other, resumed, range(10, 30))
    for a, b in zip(straight, resumed, strict=True):
        assert_array_equal(a.array, b.array)
    assert repr(other) == repr(optimizer)


def test_saved_and_loaded_states_are_copies():
    params = parameters()
    optimizer = Adam(params)
    train(optimizer, params, range(2))
    saved = optimizer.state_dict()
    kept = np.array(saved["state"][0]["exp_avg"])
    other = Adam(parameters())
    other.load_state_dict(saved)
    train(optimizer, params, range(2, 4))
    optimizer.param_groups[0]["lr"] = 5.0
    assert_array_equal(saved["state"][0]["exp_avg"], kept)
    assert_array_equal(other.state[other.param_groups[0]["params"][0]]["exp_avg"], kept)
    assert saved["param_groups"][0]["lr"] == 1e-3


def test_a_loaded_state_takes_the_dtype_of_its_parameter():
    params = parameters(np.float64)
    optimizer = Adam(params)
    train(optimizer, params, range(2))
    other = Adam(parameters(np.float32))
    other.load_state_dict(optimizer.state_dict())
    assert all(kept["exp_avg"].dtype == np.float32 for kept in other.state.values())


def leaf(*shape):
    return Tensor(np.ones(shape), requires_grad=True)


class Module:
    """Stands for anything that cannot be iterated over."""


once = leaf(2)
CONSTRUCTION = [
    (lambda: SGD([]), OptionError, r"SGD: got an empty list of parameters; does the model have any"),
    (lambda: SGD([{"params": []}]), OptionError, r"SGD: got an empty list of parameters"),
    (lambda: SGD(leaf(2)), ParameterError, r"SGD: expected an iterable .*, got one tensor; put it in a list"),
    (lambda: SGD({"params": [leaf(2)]}), ParameterError, r"got one dict; put it in a list"),
    (lambda: SGD({leaf(2)}), ParameterError, r"SGD: a set has no fixed order"),
    (lambda: SGD(Module()), ParameterError, r"got Module; for a module, pass module\.parameters\(\)"),
    (lambda: SGD([np.ones(2)]), ParameterError, r"SGD: expected tensors, got ndarray at position 0"),
    (lambda: SGD([("w", leaf(2)), leaf(1)]), ParameterError, r"got tuple at position 0; pass all of named_parameters"),
    (lambda: SGD([{"params": [leaf(2)]}, leaf(2)]), ParameterError, r"SGD: expected a group .*, got Tensor"),
    (lambda: SGD([{"lr": 1.0}]), OptionError, r"a group needs its tensors under 'params'; this one has \['lr'\]"),
    (lambda: SGD([leaf(2), leaf(2) * 2.0]), OptionError, r"shape \(2,\) at position 1 was computed from others"),
    (lambda: SGD([once, once]), OptionError, r"shape \(2,\) at position 1 was given before"),
    (lambda: SGD([{"params": [once]}, {"params": [once]}]), OptionError, r"at position 0 was given before"),
    (lambda: Adam([{"params": [leaf(2)], "beta": 1}]), OptionError, r"unknown option 'beta'; did you mean 'betas'"),
    (lambda: SGD([{"params": [leaf(2)], "zz": 1}]), OptionError, r"unknown option 'zz'; it takes lr, momentum"),
    (lambda: SGD([leaf(2)], lr=-0.1), OptionError, r"SGD: lr: expected a finite number >= 0, got -0\.1"),
    (lambda: SGD([leaf(2)], lr=float("nan")), OptionError, r"SGD: lr: expected .*, got nan"),
    (lambda: SGD([leaf(2)], lr="0.1"), OptionError, r"SGD: lr: expected .*, got '0\.1'"),
    (lambda: SGD([{"params": [leaf(2)], "lr": -1}]), OptionError, r"SGD: lr: expected .*, got -1"),
    (lambda: SGD([leaf(2)], momentum=-1), OptionError, r"SGD: momentum: expected"),
    (lambda: SGD([leaf(2)], weight_decay=-1), OptionError, r"SGD: weight_decay: expected"),
    (lambda: SGD([leaf(2)], nesterov=True), OptionError, r"nesterov=True needs momentum > 0 and dampening = 0, got"),
    (lambda: SGD([leaf(2)], nesterov=1), OptionError, r"SGD: nesterov: expected True or False, got 1"),
    (lambda: Adam([leaf(2)], betas=(0.9, 1.0)), OptionError, r"Adam: betas\[1\]: expected a number in \[0, 1\), got 1"),
    (lambda: Adam([leaf(2)], betas=0.9), OptionError, r"betas: expected a pair such as \(0\.9, 0\.999\), got 0\.9"),
    (lambda: AdamW([leaf(2)], eps=-1e-8), OptionError, r"AdamW: eps: expected"),
    (lambda: RMSprop([leaf(2)], alpha=1.0), OptionError, r"RMSprop: alpha: expected a number in \[0, 1\), got 1\.0"),
]


@pytest.mark.parametrize(("make", "kind", "message"), CONSTRUCTION)
def test_mistakes_in_construction_are_named(make, kind, message):
    with pytest.raises(kind, match=message) as caught:
        make()
    assert isinstance(caught.value, TinyconvError)
    assert isinstance(caught.value, ValueError if kind is OptionError else TypeError)


def saved_adam():
    params = parameters()
    optimizer = Adam(params)
    train(optimizer, params, range(2))
    return optimizer.state_dict()


def without(key):
    saved = saved_adam()
    del saved["state"][1][key]
    return saved


LOADING = [
    (lambda: {"epoch": 3}, r"Adam: not the state of an optimiser, it has no \['param_groups', 'state'\]"),
    (lambda: Adam([{"params": [p]} for p in parameters()]).state_dict(), r"saved state has 3 parameter groups, .* 1;"),
    (lambda: Adam(parameters()[:2]).state_dict(), r"saved group 0 has 2 parameters, this optimiser's 3: another model"),
    (lambda: SGD(parameters()).state_dict(), r"saved group 0 has no \['amsgrad', 'betas', 'eps'\]: was it saved by"),
    (lambda: without("exp_avg"), r"Adam: parameter 1: the saved state has no \['exp_avg'\], only"),
    (lambda: saved_adam() | {"state": {7: {}}}, r"Adam: there is state for parameter 7, which is in no saved group"),
    (
        lambda: saved_adam() | {"state": {0: saved_adam()["state"][1]}},
        r"parameter 0: the saved 'exp_avg' has shape \(5,\), needed \(3, 4\): saved from another model",
    ),
]


@pytest.mark.parametrize(("make", "message"), LOADING)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(make, message):
    params = parameters()
    optimizer = Adam(params, lr=0.25)
    train(optimizer, params, range(2))
    before = repr(optimizer), json.dumps(optimizer.state_dict(), default=np.ndarray.tolist)
    with pytest.raises(CheckpointError, match=message):
        optimizer.load_state_dict(make())
    assert (repr(optimizer), json.dumps(optimizer.state_dict(), default=np.ndarray.tolist)) == before


def test_public_names_exist():
    assert all(hasattr(optim, name) for name in optim.__all__)


def test_the_state_of_another_model_is_refused_by_name():
    """Also where its arrays would broadcast."""

    def stepped(*sizes):
        model = tc.nn.Sequential(*(tc.nn.Linear(a, b) for a, b in pairwise(sizes)))
        optimizer = Adam(model.parameters())
        for p in model.parameters():
            p.grad = tc.ones_like(p)
        optimizer.step()
        return optimizer

    ours = stepped(2, 1, 5)
    before = ours.state_dict()
    with pytest.raises(CheckpointError) as caught:
        ours.load_state_dict(stepped(2, 1, 1).state_dict())
    assert str(caught.value) == (
        "Adam: parameter 2 (1.weight): the saved 'exp_avg' has shape (1, 1), needed (5, 1): saved from another model, "
        "or with the parameters in another order"
    )
    after = ours.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for number, kept in before["state"].items():
        for name, value in kept.items():
            np.testing.assert_array_equal(after["state"][number][name], value)


def test_hooks_see_and_replace_what_torchs_do():
    torch = pytest.importorskip("torch")

    def act(lib):
        p, seen = lib.ones(2).requires_grad_(), []
        o = lib.optim.SGD([p], lr=0.5)

        def closure(scale=1.0):
            o.zero_grad()
            loss = (p * scale).sum()
            loss.backward()
            return loss

        def before(optimizer, args, kwargs):
            seen.append(("before", optimizer is o, len(args), kwargs))
            return (o, lambda: closure(3.0)), {}

        first = o.register_step_pre_hook(before)
        o.register_step_post_hook(lambda optimizer, args, kwargs: seen.append(("after", len(args), p.tolist())))
        seen += [o.step(closure).item(), o.step().item()]
        first.remove()
        seen.append(o.step(closure).item())
        o.register_state_dict_pre_hook(lambda optimizer: seen.append("saving"))
        o.register_state_dict_post_hook(lambda optimizer, state: {**state, "more": 2})
        o.register_state_dict_post_hook(lambda optimizer, state: seen.append(sorted(state)), prepend=True)
        state = o.state_dict()
        o.register_load_state_dict_pre_hook(lambda optimizer, given: seen.append(sorted(given)))
        o.register_load_state_dict_post_hook(lambda optimizer: seen.append("loaded"))
        o.load_state_dict(state)
        copy.deepcopy(o).step(closure)
        return seen, p.tolist()

    assert act(tc) == act(torch)

    def of_own(lib):
        class Halves(lib.optim.Optimizer):
            def step(self, closure=None):
                with lib.no_grad():
                    self.param_groups[0]["params"][0].mul_(0.5)
                return closure()

        o, seen = Halves([lib.ones(1)], {"lr": 0.1}), []
        o.register_step_pre_hook(lambda optimizer, args, kwargs: seen.append((len(args), sorted(kwargs))))
        o.register_step_post_hook(lambda optimizer, args, kwargs: seen.append((len(args), sorted(kwargs))))
        return [o.step(lambda: 3), o.step(closure=lambda: 4)], seen

    assert of_own(tc) == of_own(torch)
    with pytest.raises(TypeError, match="SGD: a hook is a function, got a int"):
        tc.optim.SGD([tc.ones(1)]).register_step_post_hook(3)
