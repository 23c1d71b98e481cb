"""`tinyconv.backends`: the switches of `torch.backends`. None of those libraries is used here, so they switch nothing.

The same program gives the same bits here (`docs/architecture.md`), so `cudnn.deterministic` has nothing to change, and
`cudnn.benchmark` and `allow_tf32` choose between kernels that are not here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

from tinyconv.errors import no_attribute, suggest_names

__path__: list[str] = []  # a package, whose modules are made below


class _Switches(ModuleType):
    """A module of switches, which may be set and read. Others answer as an attribute that is not there."""

    def __init__(self, name: str, **switches: Any) -> None:
        super().__init__(f"{__name__}.{name}", f"The switches of `torch.backends.{name}`. They switch nothing.")
        vars(self).update(switches, is_available=lambda: False)
        sys.modules[self.__name__] = self

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("__") and name not in vars(self):
            raise no_attribute(vars(self), name)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        raise no_attribute(vars(self), name)

    @contextmanager
    def flags(self, **switches: Any) -> Iterator[None]:
        """A `with` block in which switches are set."""
        before = {name: getattr(self, name) for name in switches}
        vars(self).update(switches)
        try:
            yield
        finally:
            vars(self).update(before)


cudnn = _Switches(
    "cudnn", allow_tf32=True, benchmark=False, deterministic=False, enabled=True, version=lambda: None,
    benchmark_limit=10,
)  # fmt: skip
mps = _Switches("mps", is_built=lambda: False)
mkldnn = _Switches("mkldnn", enabled=True, allow_tf32=True)
mkl = _Switches("mkl")
openmp = _Switches("openmp")
cuda = _Switches(
    "cuda",
    is_built=lambda: False,
    matmul=SimpleNamespace(
        allow_tf32=False,
        allow_fp16_reduced_precision_reduction=True,
        allow_bf16_reduced_precision_reduction=True,
    ),
)

suggest_names(globals())
