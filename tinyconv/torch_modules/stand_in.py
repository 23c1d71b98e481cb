"""`as_torch`: this library under torch's name, for a `with` block."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from threading import RLock
from types import ModuleType
from typing import TYPE_CHECKING, Self

from tinyconv.torch_names import Elsewhere
from tinyconv.torch_names.answers import answer

if TYPE_CHECKING:
    from importlib.abc import MetaPathFinder
else:
    MetaPathFinder = object  # the module takes a while to import

SHADOWED = {"torch": "", "torchvision": "torchvision"}
"""The packages that this library stands in for, and where that of ours is; without `tinyconv.` in front."""
_lock = RLock()


class as_torch(MetaPathFinder):
    """A `with` block in which `import torch`, `torch.nn` and so on give this library, and `torchvision` what is here.

        with tc.as_torch():
            import torch
            from torch import nn

    After the block the names mean what they meant before it, also where PyTorch itself had been imported; what was
    imported inside keeps this library. It holds for the whole process: nothing of PyTorch can run meanwhile, in another
    thread neither. A module that is not here raises ModuleNotFoundError with what it is and what to use.
    `tinyconv run SCRIPT.py` runs a script in such a block.
    """

    def __init__(self) -> None:
        self._before: list[dict[str, ModuleType]] = []  # a stack: an object may be entered again inside itself

    def __enter__(self) -> Self:
        with _lock:
            self._before.append({name: sys.modules.pop(name) for name in list(sys.modules) if _shadowed(name)})
            sys.meta_path.insert(0, self)
        return self

    def __exit__(self, *error: object) -> None:
        with _lock:
            sys.meta_path.remove(self)
            for name in [name for name in sys.modules if _shadowed(name)]:
                del sys.modules[name]
            sys.modules.update(self._before.pop())

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where Python asks for a module of torch's: that of ours. ModuleNotFoundError where there is none."""
        if not _shadowed(fullname):
            return None
        first, _, rest = fullname.partition(".")
        ours = f"{SHADOWED[first]}.{rest}".strip(".")
        if ours and find_spec(f"tinyconv.{ours}") is None:
            raise ModuleNotFoundError(f"there is no tinyconv.{ours}{answer('tinyconv', ours)}", name=fullname)
        return ModuleSpec(fullname, Elsewhere(ours))


def _shadowed(name: str) -> bool:
    return name.partition(".")[0] in SHADOWED
