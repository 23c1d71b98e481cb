"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tinyconv.nn.module import Module


class _Ordered(Module):
    """Children that can be counted, indexed and sliced."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: Any) -> Any:
        children = list(self.children())
        return type(self)(*children[index]) if isinstance(index, slice) else children[index]

    def append(self, module: Module) -> _Ordered:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self


class Sequential(_Ordered):
    """One module after another: `Sequential(a, b, c)` or `Sequential({"name": a, ...})`."""

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named: Iterable[tuple[str, Module]] = modules[0].items()
        else:
            named = ((str(i), module) for i, module in enumerate(modules))
        for name, module in named:
            self.add_module(name, module)

    def forward(self, x: Any) -> Any:
        for module in self.children():
            x = module(x)
        return x


class ModuleList(_Ordered):
    """A list of modules whose parameters are found. It has no forward of its own."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        for module in modules:
            self.append(module)

    def __getitem__(self, index: Any) -> Any:
        children = list(self.children())
        return ModuleList(children[index]) if isinstance(index, slice) else children[index]

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add several modules at the end."""
        for module in modules:
            self.append(module)
        return self
