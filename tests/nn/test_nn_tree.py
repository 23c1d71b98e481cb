"""Names that a tree of modules refuses, cycles that cannot be made, and layers that no walk finds."""

import copy
import functools
import pickle
import warnings
from collections import OrderedDict, deque
from dataclasses import dataclass

import pytest
from messages import message

import tinyconv as tc
from tinyconv import nn, optim
from tinyconv.nn.module import hidden

torch = pytest.importorskip("torch")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.count = nn.Linear(1, 1), 3

    def forward(self, x):
        return self.fc(x)

    @property
    def width(self):
        return 1


# --- names ----------------------------------------------------------------------------------------------------------

DOORS = {
    "a module by assignment": lambda m, name: setattr(m, name, nn.ReLU()),
    "a parameter by assignment": lambda m, name: setattr(m, name, nn.Parameter(tc.ones(1))),
    "add_module": lambda m, name: m.add_module(name, nn.ReLU()),
    "register_parameter": lambda m, name: m.register_parameter(name, nn.Parameter(tc.ones(1))),
    "register_parameter of None": lambda m, name: m.register_parameter(name, None),
    "register_buffer": lambda m, name: m.register_buffer(name, tc.ones(1)),
}
CONTAINERS = {
    "Sequential": lambda name: nn.Sequential(OrderedDict({name: nn.ReLU()})),
    "ModuleDict": lambda name: nn.ModuleDict({name: nn.ReLU()}),
    "ModuleDict item": lambda name: nn.ModuleDict().__setitem__(name, nn.ReLU()),
}
BAD = ["conv.0", ".", "a.", "", "forward", "training", "_modules", "_parameters", "_transient", "train", "__class__"]


@pytest.mark.parametrize("name", [*BAD, "width"])
@pytest.mark.parametrize("door", DOORS)
def test_a_name_that_cannot_be_found_again_is_refused(door, name):
    model = Net()
    before = {key: value for key, value in vars(model).items() if key != "_modules"}, list(model.named_modules())
    said = message(tc.ModuleError, DOORS[door], model, name)
    assert said.startswith("Net: ")
    assert repr(name) in said
    after = {key: value for key, value in vars(model).items() if key != "_modules"}, list(model.named_modules())
    assert after == before
    assert model.train().training


@pytest.mark.parametrize("name", [*BAD, "children"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_a_container_refuses_it_too(container, name):
    with pytest.raises(KeyError) as caught:  # as torch does
        CONTAINERS[container](name)
    assert isinstance(caught.value, tc.TinyconvError)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("door", [door for door in DOORS if "assignment" not in door])
def test_a_name_that_is_no_string(door):
    assert message(TypeError, DOORS[door], Net(), 1).endswith("must be a string, got 1; use '1'")


def test_what_the_refusals_say():
    model = Net()
    assert message(tc.ModuleError, setattr, model, "conv.0", nn.ReLU()) == (
        "Net: the name of a module is one part of a path, and cannot be empty or have a dot, got 'conv.0'; use 'conv_0'"
    )
    assert message(tc.ModuleError, model.register_buffer, "", tc.ones(1)) == (
        "Net: the name of a buffer is one part of a path, and cannot be empty or have a dot, got ''"
    )
    assert message(tc.ModuleError, setattr, model, "forward", nn.ReLU()) == (
        "Net: no module can be called 'forward', which is a method of Net already; use 'forward_'"
    )
    assert message(tc.ModuleError, model.register_parameter, "count", None) == (
        "Net: no parameter can be called 'count', which is an attribute of Net already; use 'count_'"
    )
    assert message(tc.ModuleError, setattr, model, "train", True) == (
        "Net: no attribute can be called 'train', which is a method of Net already; use 'train_'"
    )


@pytest.mark.parametrize("taken", ["weight", "mean", "fc", "count"])
@pytest.mark.parametrize("door", [door for door in DOORS if "assignment" not in door])
def test_a_name_is_registered_for_one_thing(door, taken):
    """Of its own kind it may be given anew, as in torch; of another it is refused there too."""
    ours, theirs = Net(), torch.nn.Module()
    for library, module, tensor in ((nn, ours, tc.ones(1)), (torch.nn, theirs, torch.ones(1))):
        module.weight = library.Parameter(tensor)
        module.register_buffer("mean", tensor)
        module.fc, module.count = library.Linear(1, 1), 3

    given = {
        "add_module": torch.nn.ReLU(),
        "register_parameter": torch.nn.Parameter(torch.ones(1)) if " of None" not in door else None,
        "register_buffer": torch.ones(1),
    }
    register = door.split()[0]
    try:
        getattr(theirs, register)(taken, given[register])
    except KeyError:
        state = ours.state_dict().keys()
        assert message(tc.ModuleError, DOORS[door], ours, taken).endswith(f"already; use '{taken}_'")
        assert ours.state_dict().keys() == state
    else:
        DOORS[door](ours, taken)


def test_assignment_replaces_as_in_torch():
    model = Net()
    model.fc = nn.Parameter(tc.ones(1))
    model.fc = nn.ReLU()
    assert [name for name, _ in model.named_children()] == ["fc"]
    assert not list(model.parameters())


def test_a_class_attribute_would_hide_the_layer():
    """In torch the layer is registered, and `self.head` stays None."""

    class Hiding(nn.Module):
        head = None

        def __init__(self):
            super().__init__()
            self.head = nn.Linear(1, 1)

    assert "'head', which is an attribute of Hiding already" in message(tc.ModuleError, Hiding)


def test_what_is_registered_is_of_its_kind():
    assert message(TypeError, Net().register_parameter, "w", tc.ones(1)) == (
        "Net: w is a Tensor, not a Parameter; use nn.Parameter(...)"
    )
    assert message(TypeError, Net().register_buffer, "b", [1.0]) == (
        "Net: b is a list, not a Tensor; use tinyconv.tensor(...)"
    )


def test_an_own_forward_may_be_assigned():
    model = Net()
    model.forward = lambda x: x * 2
    assert model(tc.ones(1)).item() == 2


def test_loading_names_that_are_no_strings_or_have_strange_dots():
    state = dict(Net().state_dict())
    for name in (1, "", ".", "fc..weight", None, ("fc", "weight")):
        with pytest.raises(tc.CheckpointError, match="unexpected: "):
            Net().load_state_dict({**state, name: tc.ones(1)})


def test_module_dict_is_torchs():
    def build(library):
        model = library.ModuleDict({"a": library.Linear(1, 2), "b": library.ReLU()})
        model["a"] = library.Linear(2, 2)
        model.update({"c": library.Tanh()})
        del model["b"]
        return model

    ours, theirs = build(nn), build(torch.nn)
    assert list(ours) == list(theirs) == list(ours.keys())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert (len(ours), "a" in ours, "b" in ours) == (2, True, False)
    assert list(ours.items()) == list(zip(ours.keys(), ours.values(), strict=True))
    assert isinstance(ours["c"], nn.Tanh)
    assert message(TypeError, ours.update, {"d": tc.relu}).startswith("ModuleDict: d is a function, not a Module; ")


# --- cycles ---------------------------------------------------------------------------------------------------------


def owner(library, base):
    class Owned(base):
        def __init__(self):
            super().__init__()
            self.fc = library.Linear(1, 1)
            self.fc.owner = self

    Owned()


def each_other():
    first, second = nn.Sequential(), nn.Sequential()
    first.append(second)
    second.append(first)


def itself():
    model = nn.Sequential()
    model.append(model)


def through_a_container():
    model = Net()
    model.blocks = nn.ModuleList([nn.Sequential(nn.ModuleDict({"again": model}))])


def replaced():
    model = nn.Sequential(nn.Sequential(nn.ReLU()))
    model[0][0] = model


@pytest.mark.parametrize(
    "make", [functools.partial(owner, nn, nn.Module), each_other, itself, through_a_container, replaced]
)
def test_a_cycle_is_refused_where_it_is_made(make):
    said = message(tc.ModuleError, make)
    assert "and a walk would never end; keep a reference that is no child: object.__setattr__(layer, " in said


def test_a_refused_cycle_changes_nothing():
    model = nn.Sequential(nn.Linear(1, 1))
    model[0].owner = 3
    for name in ("owner", "weight"):
        before = model[0].owner, model[0].weight
        assert name in message(tc.ModuleError, setattr, model[0], name, model)
        assert (model[0].owner, model[0].weight) == before
    assert list(model.state_dict()) == ["0.weight", "0.bias"]


def test_what_a_cycle_says():
    assert message(tc.ModuleError, owner, nn, nn.Module) == (
        "Linear: this Owned cannot become its child 'owner', for it holds the Linear itself, and a walk would never "
        "end; keep a reference that is no child: object.__setattr__(layer, 'owner', model)"
    )


def by_setattr(layer, model):
    object.__setattr__(layer, "owner", model)


def by_tuple(layer, model):
    layer.owner = (model,)


@pytest.mark.parametrize("keep", [by_setattr, by_tuple])
def test_the_references_that_are_no_children(keep):
    model = nn.Sequential(nn.Linear(1, 1), nn.Tanh())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keep(model[0], model)
        assert list(model.state_dict()) == ["0.weight", "0.bias"]
        assert len(list(model[0].parameters())) == len(list(model.parameters())) == 2
        model.train().eval().double().float()
        assert repr(model)
        tc.summary(model, (1,))
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            held = twin[0].owner if keep is by_setattr else twin[0].owner[0]
            assert held is twin
            assert len(twin.state_dict()) == 2


# --- depth ----------------------------------------------------------------------------------------------------------


def nested(depth):
    model = nn.Sequential(nn.Linear(1, 1))
    for _ in range(depth):
        model = nn.Sequential(model)
    return model


def test_three_thousand_levels():
    model = nested(3000)
    assert len(list(model.modules())) == 3002
    assert len(model.state_dict()) == len(list(model.parameters())) == 2
    model.eval().double()
    assert model.apply(lambda module: None) is model
    assert repr(model).count("Sequential(") > 50
    assert repr(model).endswith(")")
    with pytest.raises(RecursionError) as caught:
        model(tc.ones(1, 1))
    assert caught.value.__notes__ == ["Sequential: modules nested too deeply, or a forward that calls its own module?"]


def test_a_forward_that_calls_itself():
    class Endless(nn.Module):
        def forward(self, x):
            return self(x)

    with pytest.raises(RecursionError) as caught:
        nn.Sequential(Endless())(tc.ones(1))
    assert len(caught.value.__notes__) == 1


# --- layers that no walk finds --------------------------------------------------------------------------------------


@dataclass
class Parts:
    layer: nn.Module


def closure():
    layer = nn.Linear(1, 1)
    return lambda x: layer(x)


def default():
    layer = nn.Linear(1, 1)

    def run(x, layer=layer):
        return layer(x)

    return run


LOST = {
    "list": (lambda: [nn.Linear(1, 1)], "is a list that holds 1 module: "),
    "tuple": (lambda: (nn.Linear(1, 1), 3), "is a tuple that holds 1 module: "),
    "dict": (lambda: {"a": nn.Linear(1, 1), "b": nn.ReLU()}, "is a dict that holds 2 modules: "),
    "set": (lambda: {nn.Linear(1, 1)}, "is a set that holds 1 module: "),
    "deque": (lambda: deque([nn.Linear(1, 1)]), "is a deque that holds 1 module: "),
    "nested": (lambda: {"a": [(1, [nn.Linear(1, 1)])]}, "is a dict that holds 1 module: "),
    "dataclass": (lambda: Parts(nn.Linear(1, 1)), "is a Parts that holds 1 module: "),
    "closure": (closure, "is a function that holds 1 module: "),
    "default": (default, "is a function that holds 1 module: "),
    "partial": (lambda: functools.partial(nn.Linear(1, 1)), "is a partial that holds 1 module: "),
    "method": (lambda: nn.Linear(1, 1).forward, "is a method that holds 1 module: "),
    "parameters": (lambda: [nn.Parameter(tc.ones(1))] * 2 + [nn.Parameter(tc.ones(1))], "that holds 2 parameters: "),
    "tensors": (lambda: {"w": [tc.ones(1, requires_grad=True)]}, "is a dict that holds 1 tensor: "),
    "both": (lambda: [nn.ReLU(), tc.ones(1, requires_grad=True)], "that holds 1 tensor and 1 module: "),
}


@pytest.mark.parametrize("kind", LOST)
def test_it_is_warned_of_where_it_is_assigned(kind):
    make, expected = LOST[kind]
    model = Net()
    with pytest.warns(UserWarning, match=f"Net.rest .*{expected}") as caught:
        model.rest = make()
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():  # and once
        warnings.simplefilter("error")
        list(model.parameters())
        model.state_dict()


APPENDED = {
    "list": ([], lambda held, layer: held.append(layer)),
    "dict": ({}, lambda held, layer: held.update(late=layer)),
    "deque": (deque(), lambda held, layer: held.append(layer)),
    "set": (set(), lambda held, layer: held.add(layer)),
    "dataclass": (Parts(None), lambda held, layer: setattr(held, "layer", layer)),
}
LOOKS = {
    "optimiser": lambda model: optim.SGD(model.parameters(), lr=0.1),
    "state_dict": lambda model: model.state_dict(),
    "to": lambda model: model.to(tc.float32),
    "summary": lambda model: tc.summary(model, (1,)),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("kind", APPENDED)
def test_it_is_warned_of_once_where_it_came_later(kind, look):
    held, append = APPENDED[kind]
    held = copy.copy(held)
    model = nn.Sequential(Net(), Net())
    model[1].rest = held
    append(held, nn.Linear(1, 1))
    with pytest.warns(UserWarning, match=f"Net.rest is a {type(held).__name__} that holds 1 module: ") as caught:
        LOOKS[look](model)
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for again in LOOKS.values():
            again(model)


def test_layers_appended_after_the_optimiser_are_found_by_state_dict():
    model = Net()
    model.rest = []
    optim.SGD(model.parameters(), lr=0.1)
    model.rest.append(nn.Linear(1, 1))
    with pytest.warns(UserWarning, match=r"Net.rest is a list that holds 1 module: .* use nn.ModuleList\(\.\.\.\)"):
        model.state_dict()


def test_the_summary_lists_them_too():
    model = Net()
    model.rest = []
    model.rest.append(nn.Linear(1, 1))
    with pytest.warns(UserWarning, match="Net.rest"):
        first = tc.summary(model, (1,))
    for summary in (first, tc.summary(model, (1,))):
        assert any(text.startswith("Net.rest is a list that holds 1 module: ") for text in summary.warnings)


def test_a_module_that_compares_by_value_has_no_hash_and_works():
    class Scale(nn.Module):
        def __init__(self, by):
            super().__init__()
            self.by, self.rest = by, []

        def __eq__(self, other):
            return self.by == other.by

        def forward(self, x):
            return x * self.by

    model = nn.Sequential(Scale(2.0))
    model[0].rest.append(nn.Linear(1, 1))
    with pytest.warns(UserWarning, match="Scale.rest is a list that holds 1 module"):
        model.state_dict()
    assert model(tc.ones(1)).item() == 2


def test_a_copy_warns_no_second_time():
    model = Net()
    with pytest.warns(UserWarning, match="Net.rest"):
        model.rest = [nn.Linear(1, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            twin.state_dict()


def test_the_whole_text():
    model = Net()
    model.rest = {}
    model.rest["late"] = nn.Linear(1, 1)
    assert [text for _, _, text in hidden(model)] == [
        "Net.rest is a dict that holds 1 module: parameters() will not find them, and an optimiser will not train "
        "them; use nn.ModuleDict(...)"
    ]


def test_what_is_found_frozen_or_computed_is_not_warned_of():
    model = nn.Sequential(Net(), Net())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model[0].others = [model[0].fc, model[0].fc.weight]  # registered too
        model[0].act = lambda x: model[0].fc(x)
        model[0].parts = Parts(model[0].fc)
        model[0].wrapped = [nn.Sequential(model[0].fc)]  # its parameters are registered
        model[0].teacher = [nn.Linear(1, 1).requires_grad_(False)]
        model[0].outputs = [model(tc.ones(1, 1))]
        model[0].sizes, model[0].table, model[0].of = (1, 2), {"a": tc.ones(1)}, [[[], {}], set()]
        model[0].of.append(model[0].of)  # a list in itself
        model[0].data = list(range(100_000))
        optim.SGD(model.parameters(), lr=0.1)
        model.state_dict()
        model[0].state_dict()
    assert not list(hidden(model))
