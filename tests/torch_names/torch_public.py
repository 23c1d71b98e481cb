"""The public names of PyTorch, and where each place of theirs is here."""

import types
from functools import cache

import torch
import torch.nn
import torch.onnx
import torch.optim
import torch.testing
import torch.utils.data

import tinyconv as tc

PLACES = {
    "tinyconv": (torch, tc),
    "tinyconv.nn": (torch.nn, tc.nn),
    "tinyconv.nn.utils": (torch.nn.utils, tc.nn.utils),
    "tinyconv.autograd": (torch.autograd, tc.autograd),
    "tinyconv.functional": (torch.nn.functional, tc.functional),
    "tinyconv.nn.init": (torch.nn.init, tc.nn.init),
    "tinyconv.optim": (torch.optim, tc.optim),
    "tinyconv.optim.lr_scheduler": (torch.optim.lr_scheduler, tc.optim.lr_scheduler),
    "tinyconv.data": (torch.utils.data, tc.data),
    "Tensor": (torch.Tensor, tc.Tensor),
}
HELPERS = {"typing", "typing_extensions", "functools", "collections", "collections.abc", "contextlib", "dataclasses"}
HELPERS |= {"_bisect"}


def public(place):
    """The names of a module or class of torch's, without those that it has imported from Python."""
    return [name for name in dir(place) if not name.startswith("_") and of_torch(getattr(place, name, None))]


def of_torch(value):
    if isinstance(value, types.ModuleType):
        return value.__name__.startswith(("torch.", "torchvision."))
    return getattr(value, "__module__", None) not in HELPERS and value is not types


@cache
def missing(place):
    """The names of torch's that the same place of ours does not have."""
    theirs, ours = PLACES[place]
    return [name for name in public(theirs) if not hasattr(ours, name)]
