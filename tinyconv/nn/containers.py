"""Modules made of modules."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import count
from typing import Any, Self, overload

from tinyconv.nn.module import Module
from tinyconv.program.outside import Changes

__all__ = ["ModuleDict", "ModuleList", "Sequential"]


class _Ordered(Module):
    """The base of Sequential and ModuleList: children that can be counted, replaced and appended to."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(list(self._modules)[index], module)

    def append(self, module: Module) -> Self:
        """Add a module at the end, and return this container. Raises TypeError where it is not a Module."""
        name = next(str(n) for n in count(len(self)) if str(n) not in self._modules)  # a slice [1:] has no "0"
        self.add_module(name, module)
        return self


class Sequential(_Ordered):
    """Modules called one after another, each with the output of the one before. Like `torch.nn.Sequential`.

    An index gives a module, a slice a Sequential of the same modules under the same names.

        nn.Sequential(nn.Linear(20, 5), nn.ReLU())(tc.zeros(8, 20)).shape  # (8, 5)

    Args:
        modules: Any number of modules, which get the names "0", "1" and so on; or one mapping of names and modules.

    Raises TypeError where one is not a Module.
    """

    @overload
    def __init__(self, *modules: Module) -> None: ...
    @overload
    def __init__(self, modules: Mapping[str, Module], /) -> None: ...
    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named: Iterable[tuple[str, Module]] = modules[0].items()
        else:
            named = ((str(i), module) for i, module in enumerate(modules))
        for name, module in named:
            self.add_module(name, module)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):  # the modules keep their names, and so the keys of their state
            # Not type(self): a subclass may have an __init__ of its own, which takes widths and not modules.
            return Sequential(dict(list(self.named_children())[index]))
        return list(self.children())[index]

    def forward(self, x: Any) -> Any:
        for module in self.children():
            x = module(x)
        return x


class ModuleList(_Ordered):
    """A list of modules, whose parameters `parameters()` finds. It has no forward. Like `torch.nn.ModuleList`.

    An index gives a module, a slice a ModuleList.

        len(nn.ModuleList([nn.Linear(20, 5), nn.ReLU()]))  # 2

    Args:
        modules: The modules.

    Raises TypeError where one is not a Module.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        if isinstance(modules, Module) and not isinstance(modules, Iterable):
            raise TypeError(f"ModuleList takes a list of modules, got one {type(modules).__name__}: put it in [ ]")
        for module in modules:
            self.append(module)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: int | slice) -> Module:
        children = list(self.children())
        return ModuleList(children[index]) if isinstance(index, slice) else children[index]

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add several modules at the end, and return this list. Raises TypeError where one is not a Module."""
        for module in modules:
            self.append(module)
        return self


class ModuleDict(Module):
    """Modules by name, whose parameters `parameters()` finds. It has no forward. Like `torch.nn.ModuleDict`.

        len(nn.ModuleDict({"fc": nn.Linear(20, 5), "act": nn.ReLU()}))  # 2

    Args:
        modules: Names and modules.

    Raises TypeError where one is not a Module, and ModuleError where a name has a dot or is that of a method.
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, name: str) -> bool:
        return name in self._modules

    def __getitem__(self, name: str) -> Any:
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        del self._modules[name]
        Changes.count += 1

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> ValuesView[Any]:
        """The modules."""
        return self._modules.values()

    def items(self) -> ItemsView[str, Any]:
        """The names, each with its module."""
        return self._modules.items()

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add these modules, or put them in place of those of their names. Raises what the class raises."""
        for name, module in modules.items():
            self[name] = module
