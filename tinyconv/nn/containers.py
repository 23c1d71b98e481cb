"""Modules made of modules, and of parameters."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import count, groupby
from typing import Any, Self, cast, overload

from tinyconv.nn.module import Module, Parameter
from tinyconv.program.outside import Changes
from tinyconv.shapes import whole
from tinyconv.tensor.tensor import Tensor

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


class _Ordered(Module):
    """The base of Sequential and ModuleList: children that can be counted, replaced and appended to."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self._named_modules())  # one that stands here twice comes twice

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(list(self._modules)[index], module)

    def __delitem__(self, index: int | slice) -> None:
        left = list(self)
        del left[index]
        self._renew(left)

    def append(self, module: Module) -> Self:
        """Add a module at the end, and return this container. Raises TypeError where it is not a Module."""
        name = next(str(n) for n in count(len(self)) if str(n) not in self._modules)  # a slice [1:] has no "0"
        self.add_module(name, module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add several modules at the end, and return this container. Raises TypeError where one is not a Module."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before that of this index, and return this container. The names count from "0" again.

        Raises TypeError where it is not a Module, and IndexError for an index beyond the end.
        """
        now = list(self)
        if not -len(now) <= index <= len(now):
            raise IndexError(f"insert: {index} is beyond the end of {len(now)} modules")
        now.insert(index, module)
        self._renew(now)
        return self

    def pop(self, key: int = -1) -> Module:
        """Take a module out, and return it. The names count from "0" again. IndexError where there is none."""
        module = list(self)[key]
        del self[key]
        return module

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def _renew(self, modules: list[Module]) -> None:
        """These modules instead of those that there are, with names from "0" on."""
        for module in modules:
            if not isinstance(module, Module):
                raise TypeError(f"{type(self).__name__}: expected a Module, got {type(module).__name__}")
        self._modules.clear()
        for i, module in enumerate(modules):
            self.add_module(str(i), module)
        Changes.count += 1


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
            return Sequential(dict(self._named_modules()[index]))
        return list(self)[index]

    def __add__(self, modules: Sequential) -> Sequential:
        return Sequential(*self, *modules)

    def __mul__(self, times: int) -> Sequential:
        return Sequential(*list(self) * whole(times, "Sequential: times", minimum=1))

    __rmul__ = __mul__

    def __imul__(self, times: int) -> Self:
        return self.extend(list(self) * (whole(times, "Sequential: times", minimum=1) - 1))

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input


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
        children = list(self)
        return ModuleList(children[index]) if isinstance(index, slice) else children[index]

    def _shown(self) -> list[tuple[str, str]]:
        groups, start = [(shown, len(list(same))) for shown, same in groupby(map(repr, self))], 0
        lines = []
        for shown, n in groups:  # those alike that follow each other stand on one line
            lines.append((f"{start}-{start + n - 1}", f"{n} x {shown}") if n > 1 else (str(start), shown))
            start += n
        return lines

    def __add__(self, modules: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *modules])


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

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add these modules, or put them in place of those of their names. Raises what the class raises."""
        for name, module in modules.items() if hasattr(modules, "items") else modules:
            self[name] = module

    def pop(self, key: str) -> Module:
        """Take a module out, and return it. KeyError where there is none of that name."""
        module: Module = self[key]
        del self[key]
        return module

    def clear(self) -> None:
        """Take all modules out."""
        for name in list(self):
            del self[name]


class ParameterList(Module):
    """Parameters in a list, which `parameters()` finds. Like `torch.nn.ParameterList`.

    A tensor becomes a Parameter. An index gives a parameter, a slice a ParameterList.

        len(nn.ParameterList([tc.ones(2), tc.zeros(3)]))  # 2

    Args:
        values: The parameters.

    Raises TypeError where one is no tensor.
    """

    def __init__(self, values: Iterable[Tensor] | None = None) -> None:
        super().__init__()
        self.extend([] if values is None else values)

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(cast("dict[str, Parameter]", self._parameters).values())

    @overload
    def __getitem__(self, index: int) -> Parameter: ...
    @overload
    def __getitem__(self, index: slice) -> ParameterList: ...
    def __getitem__(self, index: int | slice) -> Any:
        found = list(self)[index]
        return ParameterList(found) if isinstance(found, list) else found

    def __setitem__(self, index: int, value: Tensor) -> None:
        setattr(self, list(self._parameters)[index], _parameter(self, value))

    def append(self, value: Tensor) -> Self:
        """Add a parameter at the end, and return this list. Raises TypeError where it is no tensor."""
        self.register_parameter(str(len(self)), _parameter(self, value))
        return self

    def extend(self, values: Iterable[Tensor]) -> Self:
        """Add several parameters at the end, and return this list. Raises TypeError where one is no tensor."""
        if isinstance(values, Tensor):
            raise TypeError("ParameterList takes a list of tensors, got one Tensor: put it in [ ]")
        for value in list(values):
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Tensor]) -> Self:
        return self.extend(values)

    def _shown(self) -> list[tuple[str, str]]:
        return _listed(self)


class ParameterDict(Module):
    """Parameters by name, which `parameters()` finds. Like `torch.nn.ParameterDict`.

    A tensor becomes a Parameter.

        len(nn.ParameterDict({"scale": tc.ones(2), "shift": tc.zeros(2)}))  # 2

    Args:
        parameters: Names and parameters, a mapping or pairs.

    Raises TypeError where one is no tensor, and ModuleError where a name has a dot or is that of a method.
    """

    def __init__(self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] | None = None) -> None:
        super().__init__()
        self.update(parameters or {})

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __contains__(self, name: str) -> bool:
        return name in self._parameters

    def __getitem__(self, name: str) -> Any:
        return self._parameters[name]

    def __setitem__(self, name: str, value: Tensor) -> None:
        parameter = _parameter(self, value)
        if name in self._parameters:
            setattr(self, name, parameter)
        else:
            self.register_parameter(name, parameter)

    def __delitem__(self, name: str) -> None:
        del self._parameters[name]
        Changes.count += 1

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._parameters.keys()

    def values(self) -> ValuesView[Any]:
        """The parameters."""
        return self._parameters.values()

    def items(self) -> ItemsView[str, Any]:
        """The names, each with its parameter."""
        return self._parameters.items()

    def get(self, key: str, default: Any = None) -> Any:
        """The parameter of that name, or `default` where there is none."""
        return self._parameters.get(key, default)

    def setdefault(self, key: str, default: Tensor) -> Any:
        """The parameter of that name; `default` is made it where there is none. Raises what the class raises."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]) -> None:
        """Add these parameters, or put them in place of those of their names. Raises what the class raises."""
        for name, value in parameters.items() if hasattr(parameters, "items") else parameters:
            self[name] = value

    def pop(self, key: str) -> Any:
        """Take a parameter out, and return it. KeyError where there is none of that name."""
        found = self[key]
        del self[key]
        return found

    def clear(self) -> None:
        """Take all parameters out."""
        for name in list(self):
            del self[name]

    def copy(self) -> ParameterDict:
        """A ParameterDict of the same parameters."""
        return ParameterDict(dict(self.items()))

    def __or__(self, other: ParameterDict) -> ParameterDict:
        return ParameterDict({**dict(self.items()), **dict(other.items())})

    def __ior__(self, other: ParameterDict) -> Self:
        self.update(other.items())
        return self

    def _shown(self) -> list[tuple[str, str]]:
        return _listed(self)


def _parameter(owner: Module, value: Tensor) -> Parameter:
    if not isinstance(value, Tensor):
        raise TypeError(f"{type(owner).__name__}: expected a tensor, got {type(value).__name__}: tinyconv.tensor(...)?")
    return value if isinstance(value, Parameter) else Parameter(value)


def _listed(module: Module) -> list[tuple[str, str]]:
    """The parameters of a container as its print shows them."""
    named = module.named_parameters(recurse=False)
    return [(name, f"Parameter of {p.dtype} {tuple(p.array.shape)}") for name, p in named]
