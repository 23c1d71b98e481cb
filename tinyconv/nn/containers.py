"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from tinyconv.nn.chain import chain
from tinyconv.nn.module import Module


class _Ordered(Module):
    """Children that can be counted, indexed and sliced."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: Any) -> Any:
        return list(self.children())[index]

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(list(self._modules)[index], module)

    def append(self, module: Module) -> _Ordered:
        """Add a module at the end."""
        name = next(str(n) for n in count(len(self)) if str(n) not in self._modules)  # a slice [1:] has no "0"
        self.add_module(name, module)
        return self


class Sequential(_Ordered):
    """One module after another, by `chain`: `Sequential(a, b, c)` or `Sequential({"name": a, ...})`."""

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named: Iterable[tuple[str, Module]] = modules[0].items()
        else:
            named = ((str(i), module) for i, module in enumerate(modules))
        for name, module in named:
            self.add_module(name, module)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):  # the modules keep their names, and so the keys of their state
            # Not type(self): a subclass has an __init__ of its own, which takes widths and not modules.
            return Sequential(dict(list(self._modules.items())[index]))
        return super().__getitem__(index)

    def forward(self, x: Any) -> Any:
        return chain(x, *self.children())


class ModuleList(_Ordered):
    """A list of modules whose parameters are found. It has no forward of its own."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        for module in modules:
            self.append(module)

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return ModuleList(found) if isinstance(index, slice) else found

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add several modules at the end."""
        for module in modules:
            self.append(module)
        return self
