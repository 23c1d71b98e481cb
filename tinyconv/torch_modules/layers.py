"""`tinyconv.nn.modules`, and the files that torch has in it (`nn.modules.conv`): all that `tinyconv.nn` has."""

from __future__ import annotations

import sys
from typing import Any

from tinyconv import nn

__path__: list[str] = []  # a package: whatever is imported from below it is this module
FILES = (
    "activation", "batchnorm", "container", "conv", "dropout", "flatten", "fold", "instancenorm", "linear", "loss",
    "module", "normalization", "padding", "pixelshuffle", "pooling", "upsampling", "utils",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return sys.modules[__name__] if name in FILES else getattr(nn, name)


def __dir__() -> list[str]:
    return sorted({*dir(nn), *FILES})
