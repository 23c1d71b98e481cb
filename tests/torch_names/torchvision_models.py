"""torchvision's own model files, run on this library: `load("resnet")` is `torchvision/models/resnet.py`.

`as_torch` gives them this library for torch. What they import from the rest of torchvision, which needs its compiled
operators, or registers weights to download, is replaced by what is below; layers of `torchvision.ops` are its own.
"""

import contextlib
import importlib
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

from vision_oracle import torchvision

import tinyconv as tc

ROOT = Path(torchvision.__file__).parent


class Weights:
    """Weights to download, which no test does: whatever is said of them is forgotten."""

    BILINEAR = BICUBIC = None

    def __init__(self, *args, **kwargs): ...

    @staticmethod
    def verify(weights):
        return weights


def kept(*args, **kwargs):
    """A decorator with arguments that changes nothing."""
    return lambda function: function


def module(name, path=None, **names):
    made = ModuleType(name)
    vars(made).update(names, **({"__path__": [str(ROOT / path)]} if path is not None else {}))
    sys.modules[name] = made
    return made


def make_divisible(v, divisor, least=None):
    found = max(least or divisor, int(v + divisor / 2) // divisor * divisor)
    return found + divisor if found < 0.9 * v else found


@contextlib.contextmanager
def loader():
    """`load`, a function that imports a model file on this library; what it has imported is forgotten at the end."""
    before = set(sys.modules)
    with contextlib.ExitStack() as stack:
        stack.enter_context(tc.as_torch())
        module("vision", ".")
        module("vision.utils", _log_api_usage_once=lambda *_: None, _make_ntuple=lambda x, n: (x,) * n)
        module("vision.transforms", ".")
        module("vision.transforms._presets", ImageClassification=Weights, InterpolationMode=Weights)
        module("vision.models", "models")
        module("vision.models._api", Weights=Weights, WeightsEnum=Weights, register_model=kept)
        module(
            "vision.models._utils",
            handle_legacy_interface=kept,
            _ovewrite_named_param=lambda options, name, value: options.update({name: value}),
            _make_divisible=make_divisible,
        )
        ops = module("vision.ops", "ops")
        stack.enter_context(mock.patch.object(tc.nn, "BatchNorm3d", None, create=True))  # a default, which none uses
        vars(ops).update(vars(importlib.import_module("vision.ops.misc")))
        try:
            yield lambda name: importlib.import_module(f"vision.models.{name}")
        finally:
            for name in set(sys.modules) - before:
                if name.partition(".")[0] == "vision":
                    del sys.modules[name]
