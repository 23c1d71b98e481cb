"""A parameter that nothing trains is named at the step, once."""

import warnings

import pytest

import tinyconv as tc
from tinyconv import nn
from tinyconv.optim import SGD, Adam

pytestmark = pytest.mark.usefixtures("everywhere")

HINT = "Freeze what is not to be trained with requires_grad_(False)"


class Forgetful(nn.Module):
    """Two layers; forward uses the first."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(3, 3)
        self.rest = nn.Sequential(nn.Linear(3, 2))

    def forward(self, x):
        return self.fc1(x)


def step(optimizer):
    """What a step warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer.step()
    assert all(warning.category is UserWarning and warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


def backward(model):
    model(tc.ones(1, 3)).sum().backward()


def test_they_are_named_once_with_their_paths():
    model = Forgetful()
    optimizer = SGD(model.parameters())
    model.rest.zero_grad()  # lists them under other names
    backward(model)
    assert step(optimizer) == [
        "SGD.step: these 2 parameters have never received a gradient: 'rest.0.weight' (2, 3), 'rest.0.bias' (2,). "
        f"Are they used in forward? {HINT}"
    ]
    assert step(optimizer) == []


def test_names_come_along_in_lists_and_groups():
    model = Forgetful()
    chosen = [p for p in model.parameters() if p.ndim == 2]
    backward(model)
    assert step(Adam([{"params": chosen[:1]}, {"params": chosen[1:], "lr": 1.0}])) == [
        "Adam.step: this parameter has never received a gradient: 'rest.0.weight' (2, 3). "
        f"Is it used in forward? {HINT}"
    ]


def test_without_a_name_it_is_its_number_in_the_groups():
    used, unused = (tc.ones(2, requires_grad=True) for _ in range(2))
    used.sum().backward()
    assert step(SGD([{"params": used}, {"params": [unused]}])) == [
        f"SGD.step: this parameter has never received a gradient: number 1 (2,). Is it used in forward? {HINT}"
    ]


def test_of_many_some_are_named():
    used, *unused = (tc.ones(n, requires_grad=True) for n in range(15))
    used.sum().backward()
    (said,) = step(SGD([used, *unused]))
    assert said.startswith(
        "SGD.step: these 14 parameters have never received a gradient: number 1 (1,), number 2 (2,), "
    )
    assert ", number 10 (10,), 4 more. Are they used" in said


def test_a_step_before_any_backward_says_that():
    model = Forgetful()
    optimizer = SGD(model.parameters())
    assert step(optimizer) == [
        "SGD.step: none of the parameters has a gradient: was there no loss.backward() before the step, or does this "
        "optimiser hold the parameters of another model?"
    ]
    backward(model)
    (said,) = step(optimizer)
    assert "'rest.0.weight' (2, 3), 'rest.0.bias' (2,)" in said


def no_warning(optimizer):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()


def test_what_is_frozen_is_not_named():
    model = Forgetful()
    model.rest.requires_grad_(False)
    backward(model)
    no_warning(SGD(model.parameters()))


def test_one_that_had_a_gradient_before_is_not_named():
    model = nn.Sequential(nn.Linear(3, 3))
    optimizer = SGD(model.parameters())  # keeps no state
    backward(model)
    no_warning(optimizer)
    optimizer.zero_grad()
    no_warning(optimizer)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_run_that_goes_on_does_not_hear_it_again(kind):
    model = Forgetful()
    optimizer = kind(model.parameters())
    backward(model)
    assert len(step(optimizer)) == 1
    resumed = kind(model.parameters())
    resumed.load_state_dict(optimizer.state_dict())
    no_warning(resumed)


def test_a_closure_gives_the_gradients_first():
    model = nn.Sequential(nn.Linear(3, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SGD(model.parameters()).step(lambda: backward(model))
