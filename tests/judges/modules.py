"""The judge of layers: `module_db`, the database of arguments and inputs that PyTorch tests its own modules with.

Each layer that we share is made with those arguments, given torch's weights, and asked for its outputs and for all
gradients, of inputs and of weights, in training and in evaluation.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from opinfo import NUMPY_DTYPES
from scope import Tally
from torch.nn.modules.lazy import LazyModuleMixin
from torch.testing._internal.common_modules import module_db
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

import tinyconv as tc
from tinyconv import nn
from tinyconv.check.reference import compare_values, compare_with_torch

DTYPES = ("float32", "float64")
LAYERS = {info.name.removeprefix("nn."): info for info in module_db if hasattr(nn, info.module_cls.__name__)}
"""The entries of the database whose layer is here."""


@dataclass
class Use:
    """One use of a layer: what it is made with, and what it is given."""

    op: str
    dtype: str
    training: bool
    made: Any  # arguments and keywords
    given: Any
    description: str

    def __str__(self) -> str:
        def short(leaf: Any) -> Any:
            return f"{leaf.dtype}{tuple(leaf.shape)}" if isinstance(leaf, torch.Tensor) else leaf

        return f"nn.{self.op}{tree_map(short, self.made)} of {tree_map(short, self.given)} (training={self.training})"

    def argument(self, name: str, default: Any = None) -> Any:
        """What the keyword says that the layer is made with."""
        return self.made[1].get(name, default)

    def compare(self) -> None:
        """Raise Disagreement where outputs or gradients here are not PyTorch's."""
        theirs = LAYERS[self.op].module_cls(*self.made[0], **self.made[1]).train(self.training)
        theirs = theirs.to(getattr(torch, self.dtype))
        if isinstance(theirs, LazyModuleMixin):
            theirs(*self.given[0], **self.given[1])  # makes its weights
        leaves, spec = tree_flatten(self.given)
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
        names = [name for name, p in theirs.named_parameters() if p.numel()]
        state = {name: tc.tensor(value.numpy().copy()) for name, value in theirs.state_dict().items()}

        def given(tensors: Any) -> Any:
            values = list(leaves)
            for place, tensor in zip(places, tensors, strict=True):
                values[place] = tensor
            return tree_unflatten(values, spec)

        def torch_function(*tensors: Any) -> Any:
            weights = dict(zip(names, tensors[len(places) :], strict=True))
            args, options = given(tensors[: len(places)])
            return torch.func.functional_call(theirs, {**dict(theirs.named_buffers()), **weights}, args, options)

        def our_function(*tensors: Any) -> Any:
            args, options = tree_map(ours_of, self.made)
            ours = getattr(nn, LAYERS[self.op].module_cls.__name__)(*args, **options).train(self.training)
            ours = ours.to(dtype=np.dtype(self.dtype))
            ours.load_state_dict(state)
            args, options = given(tensors[: len(places)])
            return nn.functional_call(ours, dict(zip(names, tensors[len(places) :], strict=True)), args, options)

        tensors = [leaves[place] for place in places] + [p for _, p in theirs.named_parameters() if p.numel()]
        inputs = [tensor.detach().numpy().copy() for tensor in tensors]
        needs = [i for i, tensor in enumerate(tensors) if tensor.requires_grad]
        if needs:
            compare_with_torch(our_function, torch_function, inputs, needs=needs, magnitude=MAGNITUDE)
        else:
            compare_values(our_function, torch_function, inputs, magnitude=MAGNITUDE)


MAGNITUDE = 1.0
"""How large what is rounded is, as a share of the largest input: these layers are small."""


def ours_of(value: Any) -> Any:
    """An argument as it is written here."""
    if isinstance(value, torch.Tensor):
        return tc.tensor(value.detach().numpy().copy())
    return NUMPY_DTYPES.get(value, value) if isinstance(value, torch.dtype) else value


def uses(layer: str, dtype: str) -> Iterator[Use]:
    """The uses of a layer that the database has."""
    info = LAYERS[layer]
    if getattr(torch, dtype) not in info.dtypes:
        return
    for training in (True, False):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            found = info.module_inputs_func(
                info, device="cpu", dtype=getattr(torch, dtype), requires_grad=True, training=training
            )
            for sample in found:
                made, given = sample.constructor_input, sample.forward_input
                if given is not None:
                    yield Use(layer, dtype, training, (made.args, made.kwargs), (given.args, given.kwargs), sample.desc)


def judge(layer: str, dtype: str) -> Tally:
    """Ask one layer all uses."""
    tally = Tally(layer, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for use in uses(layer, dtype):
            tally.ask(use, use.compare, ())  # none is out of scope
    return tally


def judge_all() -> list[Tally]:
    return [judge(layer, dtype) for layer in LAYERS for dtype in DTYPES]
