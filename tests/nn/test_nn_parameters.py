"""Containers of parameters, and what else torch's containers of modules do."""

import pytest
from messages import message

import tinyconv as tc
from tinyconv import nn

torch = pytest.importorskip("torch")


def tensors(library, *sizes):
    return [library.ones(n) * n for n in sizes]


def names(module):
    return {name: p.tolist() for name, p in module.named_parameters()}


def both(act):
    """What an action on each library gives."""
    return [act(library) for library in (tc, torch)]


def test_a_list_of_parameters():
    def act(library):
        held = library.nn.ParameterList(tensors(library, 1, 2))
        held.append(library.nn.Parameter(library.ones(3)))
        held.extend(tensors(library, 4))
        held += tensors(library, 5)
        held[1] = library.zeros(2)
        found = [names(held), len(held), held[-1].tolist(), [p.tolist() for p in held[1:3]]]
        found.append([type(p).__name__ for p in held])
        return found

    ours, theirs = both(act)
    assert ours == theirs


def test_a_dict_of_parameters():
    def act(library):
        held = library.nn.ParameterDict({"a": library.ones(1), "b": library.zeros(2)})
        held["c"] = library.ones(3)
        held["a"] = library.zeros(1)
        held.update([("d", library.ones(4))])
        held.setdefault("d", library.zeros(9))
        held |= library.nn.ParameterDict({"e": library.ones(1)})
        del held["b"]
        found = [names(held), len(held), "a" in held, "b" in held, list(held.keys()), held.get("x", 5)]
        return [*found, held.pop("c").tolist(), list(held), [k for k, _ in held.items()], len(held.copy())]

    ours, theirs = both(act)
    assert ours == theirs


def test_they_are_trained_moved_and_saved():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scales = nn.ParameterList([tc.ones(2), tc.ones(2)])
            self.shifts = nn.ParameterDict({"a": tc.zeros(2)})

        def forward(self, x):
            for scale in self.scales:
                x = x * scale
            return x + self.shifts["a"]

    net = Net()
    net(tc.ones(2)).sum().backward()
    assert [p.grad.tolist() for p in net.parameters()] == [[1.0, 1.0]] * 3
    assert list(net.double().state_dict()) == ["scales.0", "scales.1", "shifts.a"]
    assert repr(net.scales).splitlines()[1] == "  (0): Parameter of float64 (2,)"


def test_what_they_refuse():
    assert message(TypeError, nn.ParameterList, [1.0]) == (
        "ParameterList: expected a tensor, got float: tinyconv.tensor(...)?"
    )
    assert message(TypeError, nn.ParameterList, tc.ones(2)) == (
        "ParameterList takes a list of tensors, got one Tensor: put it in [ ]"
    )
    with pytest.raises(IndexError):
        nn.ParameterList()[0]
    with pytest.raises(KeyError):
        nn.ParameterDict()["a"]


def layers(library, *sizes):
    return [library.nn.Linear(n, n) for n in sizes]


def shown(module):
    return {name: child.in_features for name, child in module.named_children()}


@pytest.mark.parametrize("kind", ["Sequential", "ModuleList"])
def test_what_lists_of_modules_do(kind):
    def act(library):
        make = getattr(library.nn, kind)
        held = make(*layers(library, 1, 2)) if kind == "Sequential" else make(layers(library, 1, 2))
        held.insert(1, layers(library, 3)[0])
        held.extend(layers(library, 4, 5))
        found = [shown(held)]
        held.pop(0)
        del held[1]
        found.append(shown(held))
        more = library.nn.Sequential(*layers(library, 6)) if kind == "Sequential" else layers(library, 6)
        found += [shown(held + more), held.pop(-1).in_features]
        held += more
        return [*found, shown(held), shown(held[1:]), [m.in_features for m in reversed(list(held))]]

    ours, theirs = both(act)
    assert ours == theirs


def test_a_sequential_as_often_as_that():
    def act(library):
        held = library.nn.Sequential(*layers(library, 1, 2))
        twice = held * 2
        held *= 2
        return len(twice), len(held), twice[0] is twice[2], held[1] is held[3]

    assert act(tc) == act(torch)


def test_what_a_dict_of_modules_does():
    def act(library):
        held = library.nn.ModuleDict([("a", layers(library, 1)[0])])
        held.update({"b": layers(library, 2)[0], "c": layers(library, 3)[0]})
        found = [held.pop("b").in_features, shown(held), "b" in held]
        held.clear()
        return [*found, len(held)]

    assert act(tc) == act(torch)
