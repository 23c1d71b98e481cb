"""Module: what it registers, how the tree is walked, and its state."""

import copy
import inspect
import pickle
import warnings

import numpy as np
import pytest
from messages import message
from oracle import assert_array_equal

import tinyconv as tc
from tinyconv import nn

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("everywhere")


class Net(nn.Module):
    """A bit of everything: nested modules, a parameter and two buffers of its own."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4, bias=False)), nn.LayerNorm(4)])
        self.scale = nn.Parameter(tc.ones(1))
        self.register_buffer("mean", tc.zeros(2))
        self.register_buffer("scratch", tc.zeros(2), persistent=False)
        self.fc = nn.Linear(4, 3)


class TorchNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        t = torch.nn
        self.features = t.Sequential(t.Conv2d(1, 2, 3), t.BatchNorm2d(2), t.ReLU())
        self.blocks = t.ModuleList([t.Sequential(t.Linear(4, 4, bias=False)), t.LayerNorm(4)])
        self.scale = t.Parameter(torch.ones(1))
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        self.fc = t.Linear(4, 3)


def values(module):
    return {name: t.tolist() for name, t in module.state_dict().items()}


# --- the tree -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("walk", ["named_parameters", "named_buffers", "named_modules", "named_children"])
def test_names_and_their_order_are_torchs(walk):
    ours, theirs = Net(), TorchNet()
    assert [name for name, _ in getattr(ours, walk)()] == [name for name, _ in getattr(theirs, walk)()]


def test_the_same_without_names():
    model = Net()
    assert [id(p) for p in model.parameters()] == [id(p) for _, p in model.named_parameters()]
    assert [id(b) for b in model.buffers()] == [id(b) for _, b in model.named_buffers()]
    assert [type(m).__name__ for m in model.children()] == ["Sequential", "ModuleList", "Linear"]
    assert next(iter(model.modules())) is model
    assert [name for name, _ in model.named_parameters("net", recurse=False)] == ["net.scale"]
    assert len(list(model.buffers(recurse=False))) == 2
    assert "fc" in dir(model)
    assert "mean" in dir(model)


def shared(library, base):
    class Shared(base):
        def __init__(self):
            super().__init__()
            self.first = library.Linear(3, 3)
            self.second = library.Linear(3, 3)
            self.second.weight = self.first.weight
            self.third = self.first

    return Shared()


def test_what_is_shared_is_listed_once_and_saved_under_every_name():
    ours, theirs = shared(nn, nn.Module), shared(torch.nn, torch.nn.Module)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    assert_array_equal(ours.second.weight, theirs.first.weight.detach().numpy())
    assert ours.second.weight is ours.first.weight


@pytest.mark.parametrize("walk", ["named_children", "named_modules"])
def test_a_child_with_two_names_comes_once(walk):
    def names(lib):
        act = lib.nn.ReLU()
        net = lib.nn.Sequential(act, lib.nn.Sequential(act, lib.nn.Tanh(), act), act)
        return [name for name, _ in getattr(net, walk)()]

    assert names(tc) == names(torch)


def test_a_module_that_stands_in_a_sequential_twice_runs_twice():
    half = nn.Linear(1, 1, bias=False)
    nn.init.constant_(half.weight, 0.5)
    net = nn.Sequential(half, half)
    assert (len(list(net)), len(list(net.children()))) == (2, 1)
    assert net(tc.ones(1)).item() == 0.25
    assert repr(net).count("Linear") == 2


def test_get_submodule():
    model = Net()
    assert model.get_submodule("features.0") is model.features[0]
    assert model.get_submodule("") is model
    expected = "Sequential has no child '9' (in path 'features.9')"
    assert message(AttributeError, model.get_submodule, "features.9") == expected


def test_apply_goes_to_the_children_first():
    seen = []
    model = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh()))
    assert model.apply(lambda m: seen.append(type(m).__name__)) is model
    assert seen == ["ReLU", "Tanh", "Sequential", "Sequential"]


# --- attributes -----------------------------------------------------------------------------------------------------


def test_forgetting_to_call_the_base_class():
    class Forgetful(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(2, 2)

    expected = "Forgetful.__init__ must call super().__init__() before it sets 'fc'"
    assert message(AttributeError, Forgetful) == expected


def test_a_parameter_cannot_be_replaced_by_something_else():
    layer = nn.Linear(2, 2)
    assert message(TypeError, setattr, layer, "weight", tc.ones(2, 2)) == (
        "'weight' is a parameter of Linear and cannot become a Tensor: give it a Parameter, or delete it first"
    )
    model = nn.Sequential(layer)
    assert message(TypeError, setattr, model, "0", tc.ones(2)) == (
        "'0' is a module of Sequential and cannot become a Tensor: give it a Module, or delete it first"
    )
    norm = nn.BatchNorm1d(2)
    assert message(TypeError, setattr, norm, "running_mean", [0.0, 0.0]) == (
        "'running_mean' is a buffer of BatchNorm1d and cannot become a list: give it a Tensor, or delete it first"
    )


def test_replacing_keeps_the_place_in_the_order():
    model = Net()
    names = list(model.state_dict())
    model.features = nn.Sequential(*model.features)
    model.scale = nn.Parameter(tc.zeros(1))
    model.mean = tc.ones(2)
    assert list(model.state_dict()) == names
    assert model.scale.item() == 0.0
    assert dict(model.named_buffers())["mean"].tolist() == [1.0, 1.0]


def test_deleting_and_becoming_something_else():
    model = Net()
    del model.fc
    assert not hasattr(model, "fc")
    assert message(AttributeError, getattr, model, "fc") == "Net has no attribute 'fc'"
    assert "fc.weight" not in model.state_dict()
    model.fc = nn.Parameter(tc.ones(2))
    assert "fc" in dict(model.named_parameters())
    model.fc = nn.Identity()
    assert "fc" not in dict(model.named_parameters())
    model.plain = 3
    model.plain = nn.Identity()
    assert "plain" in dict(model.named_children())
    del model.plain
    model.plain = 4
    assert model.plain == 4
    with pytest.raises(AttributeError):
        del model.missing


def test_none_keeps_the_name():
    layer = nn.Linear(2, 2)
    layer.bias = None
    assert layer.bias is None
    assert list(layer.state_dict()) == ["weight"]
    assert layer(tc.ones(1, 2)).shape == (1, 2)
    layer.bias = nn.Parameter(tc.ones(2))
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_a_plain_tensor_is_an_attribute_and_nothing_else():
    model = nn.Module()
    model.table = tc.ones(3)
    assert list(model.state_dict()) == list(model.parameters()) == []


def test_a_buffer_registered_again_may_become_persistent():
    model = nn.Module()
    model.register_buffer("table", tc.ones(3), persistent=False)
    assert list(model.state_dict()) == []
    model.register_buffer("table", tc.ones(3))
    assert list(model.state_dict()) == ["table"]
    model.register_buffer("table", tc.ones(3), persistent=False)
    model.table = nn.Parameter(tc.ones(3))
    assert list(model.state_dict()) == ["table"]


def test_parameters():
    p = nn.Parameter(tc.ones(2, dtype=tc.float64))
    assert isinstance(p, tc.Tensor)
    assert p.requires_grad
    assert p.dtype == tc.float64
    assert nn.Parameter([1.0, 2.0]).dtype == tc.float32
    assert not nn.Parameter(tc.ones(2), requires_grad=False).requires_grad
    source = tc.ones(2)
    p = nn.Parameter(source)
    source.zero_()
    assert p.tolist() == [1.0, 1.0]


def test_a_module_without_forward():
    class Empty(nn.Module):
        pass

    assert message(NotImplementedError, Empty(), 1) == "Empty does not define forward"


# --- modes, gradients, dtypes ---------------------------------------------------------------------------------------


def test_train_and_eval_reach_everything():
    model = Net()
    assert all(m.training for m in model.modules())
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    model.features.train()
    assert model.features[1].training
    assert not model.training
    model.train()
    assert all(m.training for m in model.modules())


def test_requires_grad_and_zero_grad():
    model = nn.Linear(2, 2)
    assert model.requires_grad_(False) is model
    assert not model(tc.ones(1, 2)).requires_grad
    model.requires_grad_()
    model(tc.ones(1, 2)).sum().backward()
    model.zero_grad(set_to_none=False)
    assert model.weight.grad.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    model.zero_grad()
    assert model.weight.grad is model.bias.grad is None


def test_a_frozen_layer_gets_no_gradient():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    for p in model[0].parameters():
        p.requires_grad = False
    model(tc.ones(1, 2)).sum().backward()
    assert model[0].weight.grad is None
    assert model[1].weight.grad is not None


def test_to_another_dtype():
    model = Net()
    parameters = list(model.parameters())
    model.fc(tc.ones(1, 4)).sum().backward()
    assert model.double() is model
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert {t.dtype for t in model.parameters()} == {np.dtype(np.float64)}
    assert model.mean.dtype == model.fc.weight.grad.dtype == tc.float64
    assert model.features[1].num_batches_tracked.dtype == tc.int64
    assert model.float().fc.weight.dtype == model.to(tc.ones(1)).scale.dtype == tc.float32
    expected = "Net.to: parameters are floating point and cannot become int64"
    assert message(tc.DtypeError, model.to, tc.int64) == expected
    assert message(tc.DtypeError, model.to, dtype="float23") == "not a dtype: 'float23'; did you mean 'float32'?"
    assert model.cpu() is model


# --- state ----------------------------------------------------------------------------------------------------------


def test_the_keys_are_torchs():
    assert list(Net().state_dict()) == list(TorchNet().state_dict())
    for name, t in TorchNet().state_dict().items():
        ours = Net().state_dict()[name]
        assert ours.shape == tuple(t.shape)
        assert str(ours.dtype) == str(t.dtype).removeprefix("torch.")


def test_a_state_shares_the_memory_of_the_module():
    layer = nn.Linear(2, 2)
    state = layer.state_dict()
    state["bias"].fill_(5)
    assert layer.bias.tolist() == [5.0, 5.0]
    assert not state["bias"].requires_grad


def test_load_state_dict_copies():
    source, target = Net(), Net()
    assert values(source) != values(target)
    parameters = list(target.parameters())
    target.load_state_dict(source.state_dict())
    assert values(source) == values(target)
    assert all(a is b for a, b in zip(parameters, target.parameters(), strict=True))
    source.fc.bias.data.zero_()
    assert target.fc.bias.tolist() != [0.0, 0.0, 0.0]


def test_load_torchs_state():
    ours, theirs = Net(), TorchNet()
    ours.load_state_dict(theirs.state_dict())
    assert values(ours) == values(theirs)


def test_load_arrays_of_another_dtype():
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": np.array([[1.0, 2.0]]), "bias": [3]})
    assert (layer.weight.tolist(), layer.bias.tolist()) == ([[1.0, 2.0]], [3.0])
    assert layer.weight.dtype == layer.bias.dtype == tc.float32


def test_a_state_of_another_model():
    model = Net()
    before = values(model)
    state = dict(Net().state_dict())
    del state["fc.bias"], state["scale"]
    state["extra"] = tc.ones(1)
    state["fc.weight"] = tc.ones(3, 5)
    state["mean"] = tc.ones(())
    assert message(tc.CheckpointError, model.load_state_dict, state) == (
        "load_state_dict: this state is not one of Net\n"
        "  missing: scale, fc.bias\n"
        "  unexpected: extra\n"
        "  mean: expected shape (2,), got ()\n"
        "  fc.weight: expected shape (3, 4), got (3, 5)\n"
        "  was it saved from another model, or from one built with other arguments?"
    )
    assert values(model) == before


@pytest.mark.parametrize(("weight", "got"), [
    (np.ones((2, 3)), "(2, 3): transposed? value.T"),
    (np.ones(6), "(6,)"),
    (np.ones((3, 1)), "(3, 1)"),
    (1.0, "()"),
    (np.ones((1, 3, 2)), "(1, 3, 2)"),
])  # fmt: skip
def test_a_weight_of_another_shape(weight, got):
    """Also where it would broadcast."""
    layer = nn.Linear(2, 3)
    before = values(layer)
    said = message(tc.CheckpointError, layer.load_state_dict, {"weight": weight, "bias": np.ones(3)})
    assert said.splitlines()[1] == f"  weight: expected shape (3, 2), got {got}"
    assert values(layer) == before


def test_a_long_list_of_names_is_cut():
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(20)])
    said = message(tc.CheckpointError, model.load_state_dict, {"a": tc.ones(1)})
    assert "\n  missing: 0.weight, 0.bias, 1.weight, 1.bias, 2.weight, 2.bias and 34 more\n  unexpected: a\n" in said


@pytest.mark.parametrize(("value", "expected"), [
    ([nn.Linear(1, 1), nn.Linear(1, 1)], "is a list that holds 2 modules: "),
    ({"a": nn.ReLU()}, "is a dict that holds 1 module: "),
    ((nn.Parameter(tc.ones(1)),), "is a tuple that holds 1 parameter: "),
    (tc.ones(1, requires_grad=True), "is a tensor that requires grad, but no parameter: "),
], ids=["list", "dict", "tuple", "tensor"])  # fmt: skip
def test_what_is_not_registered_is_warned_of(value, expected):
    module = nn.Module()
    with pytest.warns(UserWarning, match=f"Module.hidden {expected}") as caught:
        module.hidden = value
    assert [warning.filename for warning in caught] == [__file__]
    assert module.hidden is value
    assert list(module.parameters()) == []


def test_what_is_meant_is_not_warned_of():
    module = nn.Module()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module.sizes, module.table, module.stats = [1, 2], {"a": tc.ones(1)}, tc.ones(2)
        module.weight, module.layers = nn.Parameter(tc.ones(1)), nn.ModuleList([nn.Linear(1, 1)])
        module.output = module.layers[0](tc.ones(1, 1))  # computed: kept to be looked at


def test_without_strict():
    model = nn.Linear(2, 1)
    model.load_state_dict({"weight": tc.ones(1, 2), "extra": tc.ones(1)}, strict=False)
    assert model.weight.tolist() == [[1.0, 1.0]]
    assert message(tc.CheckpointError, model.load_state_dict, {"weight": tc.ones(2, 2)}, strict=False) == (
        "load_state_dict: this state is not one of Linear\n"
        "  weight: expected shape (1, 2), got (2, 2)\n"
        "  was it saved from another model, or from one built with other arguments?"
    )


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_of_a_model(copied):
    model = shared(nn, nn.Module) if copied is copy.deepcopy else Net()
    twin = copied(model)
    assert values(twin) == values(model)
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in twin.parameters())
    assert [n for n, _ in twin.named_parameters()] == [n for n, _ in model.named_parameters()]
    for p in twin.parameters():
        p.data.zero_()
    assert values(twin) != values(model)


# --- how it prints --------------------------------------------------------------------------------------------------


def test_repr_of_a_tree():
    assert repr(Net()) == (
        "Net(\n"
        "  (features): Sequential(\n"
        "    (0): Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))\n"
        "    (1): BatchNorm2d(2, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)\n"
        "    (2): ReLU()\n"
        "  )\n"
        "  (blocks): ModuleList(\n"
        "    (0): Sequential(\n"
        "      (0): Linear(in_features=4, out_features=4, bias=False)\n"
        "    )\n"
        "    (1): LayerNorm((4,), eps=1e-05, elementwise_affine=True)\n"
        "  )\n"
        "  (fc): Linear(in_features=4, out_features=3, bias=True)\n"
        ")"
    )


def test_repr_with_extra():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.ReLU()

        def extra_repr(self):
            return "by=2"

    assert repr(Scaled()) == "Scaled(\n  by=2\n  (inner): ReLU()\n)"


# --- what is asked for by name, and states with more to say -----------------------------------------------------------


def test_names_of_what_is_shared_come_under_each_of_them_where_asked_for():
    ours, theirs = shared(nn, nn.Module), shared(torch.nn, torch.nn.Module)
    for walk in ("named_parameters", "named_buffers", "named_modules"):
        mine, other = (getattr(net, walk)(prefix="net", remove_duplicate=False) for net in (ours, theirs))
        assert [name for name, _ in mine] == [name for name, _ in other]
    memo = {ours.first}
    assert [name for name, _ in ours.named_modules(memo)] == ["", "second"]
    assert memo == {ours, ours.first, ours.second}


def test_get_parameter_and_buffer():
    model = Net()
    assert model.get_parameter("features.0.weight") is model.features[0].weight
    assert model.get_buffer("features.1.running_mean") is model.features[1].running_mean
    expected = "Conv2d has no parameter 'wieght' (in path 'features.0.wieght'); did you mean 'weight'?"
    assert message(AttributeError, model.get_parameter, "features.0.wieght") == expected
    assert message(AttributeError, model.get_buffer, "scale") == "Net has no buffer 'scale' (in path 'scale')"


def test_half_and_back():
    ours, theirs = Net().half(), TorchNet().half()
    for (name, mine), (_, other) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert str(mine.dtype) == str(other.dtype).removeprefix("torch."), name


def test_a_state_with_a_prefix_in_a_dict_that_is_there():
    ours, theirs = Net(), TorchNet()
    mine, other = {"a": 1}, {"a": 1}
    assert ours.state_dict(destination=mine, prefix="net.", keep_vars=True) is mine
    theirs.state_dict(destination=other, prefix="net.", keep_vars=True)
    assert list(mine) == list(other)
    assert mine["net.scale"] is ours.scale
    assert {name: getattr(t, "requires_grad", None) for name, t in mine.items()} == {
        name: getattr(t, "requires_grad", None) for name, t in other.items()
    }


def test_a_state_can_be_assigned_to_a_model_without_elements():
    with tc.device("meta"):
        model = Net()
    model.fc.requires_grad_(False)
    source = Net().double()
    before = model.scale
    assert model.load_state_dict(source.state_dict(), assign=True) == ([], [])
    assert model.scale is not before
    assert values(model) == values(source)
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float64)}
    assert [p.requires_grad for p in model.parameters()] == [True] * 8 + [False] * 2
    source.mean.fill_(9.0)
    assert model.mean.tolist() == [0.0, 0.0]
    keys = model.load_state_dict({"fc.bias": np.ones(3, np.float32), "more": 1}, strict=False, assign=True)
    assert keys.unexpected_keys == ["more"]
    assert (model.fc.bias.dtype, model.fc.bias.tolist()) == (np.float32, [1.0] * 3)
    with pytest.raises(tc.CheckpointError, match=r"fc\.bias: expected shape \(3,\), got \(4,\)"):
        model.load_state_dict({"fc.bias": np.ones(4)}, strict=False, assign=True)


def test_a_child_at_a_path_can_be_put_in_place():
    for lib in (tc, torch):
        net = lib.nn.Sequential(lib.nn.Sequential(lib.nn.ReLU()), lib.nn.Tanh())
        net.set_submodule("0.0", lib.nn.Sigmoid())
        net.set_submodule("0.more", lib.nn.Tanh())
        assert [type(m).__name__ for m in net.modules()] == ["Sequential", "Sequential", "Sigmoid", "Tanh", "Tanh"]
        for wrong in (("", lib.nn.ReLU()), ("0.0", "ReLU")):
            assert message(ValueError, net.set_submodule, *wrong)
        for wrong in (("2.0", lib.nn.ReLU()), ("0.training", lib.nn.ReLU()), ("0.1", lib.nn.ReLU(), True)):
            assert message(AttributeError, net.set_submodule, *wrong)


def test_a_model_without_elements_gets_memory():
    with tc.device("meta"):
        net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    place = tc.ones(1).device
    assert net.to_empty(device=place) is net
    assert {t.device for t in net.state_dict().values()} == {place}
    net[0].reset_parameters(), net[1].reset_parameters(), net[1].reset_running_stats()
    assert net.type(tc.float64)(tc.ones(4, 3, dtype=tc.float64)).shape == (4, 2)


@pytest.mark.parametrize("name", sorted(n for n, c in vars(nn).items() if isinstance(c, type)))
def test_methods_take_torchs_names(name):
    ours, theirs = getattr(nn, name), getattr(torch.nn, name, None)
    if theirs is None or name in ("DataParallel", "Parameter", "UninitializedParameter", "Identity"):
        return  # not a module, or one that takes others
    for method in sorted({"__init__", *dir(theirs)} & set(dir(ours))):
        if method != "__init__" and (method[0] == "_" or not inspect.isfunction(getattr(theirs, method))):
            continue
        taken = [list(inspect.signature(getattr(c, method)).parameters.values()) for c in (ours, theirs)]
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for parameters in taken for p in parameters):
            continue
        named, wanted = ([p.name for p in parameters] for parameters in taken)
        assert named == [n for n in wanted if n not in OF_OLD] or (name, method) == ("Sequential", "extend"), method


OF_OLD = {"_weight", "_freeze", "min_value", "max_value"}


def _with_hooks(lib):
    """A net whose hooks rename what a state has, add to it and forgive what is missing, and an extra state."""
    seen = []

    class Extra(lib.nn.Linear):
        note = "new"

        def get_extra_state(self):
            return self.note

        def set_extra_state(self, state):
            self.note = state

    def renamed(module, state, prefix, metadata, strict, missing, unexpected, errors):
        seen.append((prefix, strict, sorted(state)))
        if f"{prefix}w" in state:
            state[f"{prefix}weight"] = state.pop(f"{prefix}w")

    def allowed(module, keys):
        seen.append([*keys.missing_keys, *keys.unexpected_keys])
        keys.missing_keys.clear()

    net = lib.nn.Sequential(Extra(2, 2), lib.nn.Sequential(lib.nn.Linear(2, 1, bias=False)))
    net[1][0].register_state_dict_pre_hook(lambda module, prefix, keep_vars: seen.append((prefix, keep_vars)))
    net[1].register_state_dict_post_hook(lambda module, state, prefix, _: state.update({f"{prefix}more": lib.ones(1)}))
    handles = [net[1][0].register_load_state_dict_pre_hook(renamed), net.register_load_state_dict_post_hook(allowed)]
    return net, seen, handles


def test_hooks_of_states_and_extra_states():
    def act(lib):
        net, seen, handles = _with_hooks(lib)
        found = [sorted(net.state_dict(prefix="a."))]
        state = {"0.weight": lib.ones(2, 2), "0._extra_state": "old", "1.0.w": lib.zeros(1, 2)}
        net.load_state_dict(state)
        found += [net[0].note, net[1][0].weight.tolist(), net[0].weight.tolist(), sorted(state)]
        handles[1].remove()
        return net, [*found, seen], state

    (ours, mine, state), (theirs, expected, _) = act(tc), act(torch)
    mine[-1][-2] = (*mine[-1][-2][:2], ["1.0.w"])  # PyTorch's is given the names below its own prefix alone
    assert mine == expected
    for net in (ours, theirs):
        assert message(RuntimeError, net.load_state_dict, {})
    assert ours.load_state_dict({**state, "0.bias": tc.zeros(2)}) == ([], [])
    assert "missing: 0._extra_state" in message(tc.CheckpointError, ours.load_state_dict, {"0.weight": tc.ones(2, 2)})
    assert ours.load_state_dict({}, strict=False).missing_keys == ["0.weight", "0.bias", "1.0.weight", "0._extra_state"]


def test_an_attribute_may_be_called_type():
    for lib in (tc, torch):
        net = lib.nn.Sequential()
        net.type, net.compile = "small", False
        assert (net.type, net.compile) == ("small", False)
