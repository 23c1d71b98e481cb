"""PyTorch's uses of the layers and optimisers that we share: answered as torch does, or out of scope by a rule."""

import pytest

pytest.importorskip("expecttest", reason="torch's databases need expecttest")

import modules
import optimisers
import torch
from scope import unused

from tinyconv import nn, optim

torch.set_num_threads(1)  # the samples are tiny


@pytest.mark.slow
@pytest.mark.parametrize("dtype", modules.DTYPES)
@pytest.mark.parametrize("layer", modules.LAYERS)
def test_layers_give_what_torch_gives(layer, dtype):
    tally = modules.judge(layer, dtype)
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.passed


@pytest.mark.slow
@pytest.mark.parametrize("dtype", optimisers.DTYPES)
@pytest.mark.parametrize("name", optimisers.OPTIMISERS)
def test_optimisers_end_where_torch_ends(name, dtype):
    tally = optimisers.judge(name, dtype)
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.passed or tally.out_of_scope


@pytest.mark.slow
def test_every_rule_is_met():
    assert unused(optimisers.RULES, optimisers.judge_all()) == []


def test_the_databases_have_most_of_our_layers():
    assert len(modules.LAYERS) > 70
    assert set(optimisers.OPTIMISERS) >= {"SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta"}


def test_a_wrong_layer_is_a_fault(monkeypatch):
    class Wrong(nn.Linear):
        def forward(self, input):
            return super().forward(input) * (1 + 1e-5)

    monkeypatch.setattr(nn, "Linear", Wrong)
    assert modules.judge("Linear", "float64").faults


def test_a_wrong_optimiser_is_a_fault(monkeypatch):
    class Wrong(optim.SGD):
        def __init__(self, params, lr=1e-3, **options):
            super().__init__(params, lr * (1 + 1e-6), **options)

    monkeypatch.setattr(optim, "SGD", Wrong)
    assert optimisers.judge("SGD", "float64").faults
