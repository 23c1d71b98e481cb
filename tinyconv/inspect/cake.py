"""The cake: a stack of layers in one line of text.

    conv 6 5; relu; pool 2; conv 16 5; relu; pool 2; flatten; fc 120; relu; fc 84; relu; fc 10

Slices stand between semicolons or on lines of their own: a name, the numbers it needs, then options as NAME=VALUE (or
just the value, in their order). Sizes are a number or ROWSxCOLUMNS. What goes into a slice is not written: channels
and features follow from the slices under it and from the image.

    conv FILTERS KERNEL [stride=1] [padding=0, same] [dilation=1] [groups=1] [bias=yes]
    pool KERNEL [stride=KERNEL] [padding=0] [dilation=1] [ceil=no]      avgpool KERNEL [stride] [padding] [ceil]
    gap (the mean of each map)      adaptive SIZE      flatten      fc FEATURES [bias=yes]
    bn      dropout [P=0.5]      relu      leakyrelu [SLOPE=0.01]      gelu      silu      sigmoid      tanh
    softmax
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import isfinite
from typing import Any, NoReturn

from tinyconv import nn
from tinyconv.arrays.backend import device
from tinyconv.engine.context import no_grad
from tinyconv.errors import CakeError, ShapeError, shortened
from tinyconv.host import limits
from tinyconv.inspect.summary import sizes
from tinyconv.shapes import Shape, product
from tinyconv.tensor.creation import zeros

_REQUIRED: Any = object()


@dataclass(frozen=True)
class _Argument:
    """One argument of a slice: its name here and in the layer, how it is read, and its default."""

    name: str
    of_layer: str
    read: Callable[[str], Any]
    wanted: str
    default: Any = _REQUIRED


@dataclass(frozen=True)
class _Kind:
    """One kind of slice: its arguments, its layer, and the layer's arguments that follow from the input."""

    arguments: tuple[_Argument, ...]
    layer: Callable[[Shape], type[nn.Module]]
    leading: Callable[[Shape], list[int]] = lambda shape: []
    rank: int | None = None  # of its input, without the batch
    fixed: tuple[Any, ...] = ()  # arguments of the layer that are always these

    def usage(self, name: str) -> str:
        required = [argument.name.upper() for argument in self.arguments if argument.default is _REQUIRED]
        options = [f"[{argument.name}=]" for argument in self.arguments if argument.default is not _REQUIRED]
        return " ".join([name, *required, *options])


@dataclass(frozen=True)
class Slice:
    """One layer of a cake, with all its arguments; `start` and `end` are its place in the text it was read from."""

    kind: str
    values: tuple[Any, ...]
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        words = [self.kind]
        for argument, value in zip(_KINDS[self.kind].arguments, self.values, strict=True):
            if argument.default is _REQUIRED:
                words.append(_written(value))
            elif value != argument.default:
                words.append(f"{argument.name}={_written(value)}")
        return " ".join(words)

    def written(self) -> dict[str, str]:
        """Its arguments by name, as they are written; "" for one that follows from the others."""
        pairs = zip(_KINDS[self.kind].arguments, self.values, strict=True)
        return {argument.name: "" if value is None else _written(value) for argument, value in pairs}

    def arguments(self, shape: Shape) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of its layer, positional and by keyword, for an input of this shape."""
        kind = _KINDS[self.kind]
        pairs = list(zip(kind.arguments, self.values, strict=True))
        positional = [*kind.leading(shape), *kind.fixed, *(v for a, v in pairs if a.default is _REQUIRED)]
        return positional, {a.of_layer: v for a, v in pairs if a.default is not _REQUIRED and v != a.default}


@dataclass(frozen=True)
class Cake:
    """A stack of layers as text: parse it, build it, read it back out of a model, or write it as Python.

        cake = Cake.parse("conv 6 5; relu; pool 2; flatten; fc 10")
        model = cake.build((1, 28, 28))
        tc.summary(model, (1, 28, 28))
        Cake.of(model) == cake

    The slices and their options are listed at the top of `tinyconv/inspect/cake.py`. A CakeError says which slice is
    wrong, why, and where it stands in the text. `str(cake)` is the text, in one line.
    """

    slices: tuple[Slice, ...]
    text: str = field(default="", compare=False, repr=False)  # what it was read from

    @classmethod
    def parse(cls, text: str) -> Cake:
        """The cake that a text describes. Raises CakeError at the first slice that cannot be read.

        Cake.parse("conv 6 5; relu; pool 2; flatten; fc 10")
        """
        if len(text) > limits.TEXT:
            raise CakeError(f"a cake of {len(text):,} characters; at most {limits.TEXT:,} are read", 1, 0, 0)
        parts = list(pieces(text))
        if len(parts) > limits.LAYERS:
            raise CakeError(f"a cake of {len(parts):,} slices; at most {limits.LAYERS:,} are read", 1, 0, 0)
        if not text.strip():
            raise CakeError("an empty cake: write slices between semicolons, as in 'conv 6 5; relu; pool 2'", 1, 0, 0)
        return cls(tuple(_read(text, i + 1, *part) for i, part in enumerate(parts)), text)

    @classmethod
    def of(cls, model: nn.Module) -> Cake:
        """The cake that describes `model`: a layer, or layers one after another in (nested) Sequentials.

        Raises ShapeError for a layer that no slice describes, for a layer with weights that is used twice and for a
        model without layers, and TypeError for anything but a Module.
        """
        if not isinstance(model, nn.Module):
            raise TypeError(f"Cake.of: expected a Module, got {type(model).__name__}")
        leaves = list(_leaves(model.module if isinstance(model, nn.DataParallel) else model))
        if not leaves:
            raise ShapeError("Cake.of: the model has no layers, so there is nothing to write")
        seen: set[int] = set()
        for name, layer in leaves:
            if id(layer) in seen and next(layer.parameters(), None) is not None:
                raise ShapeError(
                    f"layer {name!r} is the same as a layer before it, and each slice of a cake has weights of its own"
                )
            seen.add(id(layer))
        return cls(tuple(_sliced(name, layer) for name, layer in leaves))

    def __str__(self) -> str:
        return "; ".join(map(str, self.slices))

    def names(self) -> list[str]:
        """The names of the layers that `build` makes: `conv1`, `pool1`, `conv2`, ..., numbered by kind.

        A kind without arguments that occurs once has no number: `relu`.
        """
        counts, seen, names = Counter(s.kind for s in self.slices), Counter[str](), []
        for s in self.slices:
            seen[s.kind] += 1
            alone = counts[s.kind] == 1 and not s.values
            names.append(s.kind if alone else f"{s.kind}{seen[s.kind]}")
        return names

    def shapes(self, input_shape: Shape) -> list[Shape]:
        """The shape that goes into each slice, and then the one that comes out of the last, without the batch.

        `input_shape` is that of an image, (C, H, W). Nothing is computed. Raises CakeError at the first slice that
        cannot take what the slices under it give, and ShapeError for an `input_shape` of anything but sizes from 1 on.
        """
        shapes = [sizes("Cake", input_shape)]
        if any(n < 1 for n in shapes[0]):
            raise ShapeError(
                f"Cake: input_shape must be the shape of one image, (C, H, W), each at least 1, got {shapes[0]}"
            )
        parameters = 0
        with device("meta"), no_grad():
            for i, s in enumerate(self.slices):
                shape, kind = shapes[-1], _KINDS[s.kind]
                if kind.rank == 3 and len(shape) != 3:
                    flattened = any(under.kind == "flatten" for under in self.slices[:i])
                    hint = ": nothing after a flatten has any" if flattened else ""
                    self._refuse(i, f"it needs feature maps (C, H, W) and gets {shape}{hint}")
                if kind.rank == 1 and len(shape) != 1:
                    flat = product(shape)
                    self._refuse(i, f"it needs features in one row and gets {shape}: put flatten before it ({flat:,})")
                try:
                    layer = _layer(s, shape).eval()
                    shapes.append(layer(zeros(1, *shape)).shape[1:])
                except ValueError as error:  # ShapeErrors, and what NumPy says of sizes beyond all bounds
                    self._refuse(i, str(error))
                parameters += sum(parameter.numel() for parameter in layer.parameters())
                if parameters > limits.PARAMETERS:
                    most = f"at most {limits.PARAMETERS:,} are built"
                    self._refuse(i, f"with it there are {parameters:,} parameters; {most}")
                if 0 in shapes[-1]:
                    self._refuse(i, f"nothing is left of {shape}: it gives {shapes[-1]}")
        return shapes

    def build(self, input_shape: Shape) -> nn.Sequential:
        """A Sequential for images of `input_shape`, (C, H, W), with layers named as `names` says.

        Its weights are drawn anew. Raises what `shapes` raises.
        """
        shapes = self.shapes(input_shape)
        layers = (_layer(s, shape) for s, shape in zip(self.slices, shapes, strict=False))
        return nn.Sequential(dict(zip(self.names(), layers, strict=True)))

    def to_python(self, input_shape: Shape) -> str:
        """Python source that builds the model for images of `input_shape`. Raises what `shapes` raises."""
        lines = []
        for s, shape in zip(self.slices, self.shapes(input_shape), strict=False):
            positional, options = s.arguments(shape)
            words = [*map(repr, positional), *(f"{name}={value!r}" for name, value in options.items())]
            lines.append(f"    nn.{_KINDS[s.kind].layer(shape).__name__}({', '.join(words)}),")
        return "\n".join(["from tinyconv import nn", "", "model = nn.Sequential(", *lines, ")", ""])

    def _refuse(self, i: int, why: str) -> NoReturn:
        text, s = (self.text, self.slices[i]) if self.text else (str(self), _placed(self.slices, i))
        raise _wrong(text, i + 1, s.start, s.end, why) from None


def _layer(s: Slice, shape: Shape) -> nn.Module:
    positional, options = s.arguments(shape)
    return _KINDS[s.kind].layer(shape)(*positional, **options)


# --- reading --------------------------------------------------------------------------------------------------------


def vocabulary() -> dict[str, list[dict[str, Any]]]:
    """The slices that there are, by name: for each its arguments in their order, as {name, wanted, default}.

    A default is as it is written; None says that the argument must be given, "" that it follows from the others.
    """

    def described(argument: _Argument) -> dict[str, Any]:
        must, follows = argument.default is _REQUIRED, argument.default is None
        default = None if must else "" if follows else _written(argument.default)
        return {"name": argument.name, "wanted": argument.wanted, "default": default}

    return {name: [described(argument) for argument in kind.arguments] for name, kind in _KINDS.items()}


def pieces(text: str) -> Iterator[tuple[str, int, int]]:
    """The texts of the slices and their places. An empty line has none, and a semicolon may end a line."""
    start = 0
    for line in text.split("\n"):
        parts = line.split(";")
        for i, words in enumerate(parts):
            first = start + len(words) - len(words.lstrip())
            if words.strip() or i < len(parts) - 1:
                yield words.strip(), first, first + len(words.strip())
            start += len(words) + 1


def _read(text: str, number: int, words: str, start: int, end: int) -> Slice:
    def refuse(why: str) -> NoReturn:
        raise _wrong(text, number, start, end, why) from None

    if not words:
        refuse("it is empty; slices are separated by one semicolon")
    name, *rest = words.lower().split()
    if name not in _KINDS:
        near = [_WORDS[name]] if name in _WORDS else get_close_matches(name, _KINDS, n=1)
        hint = f": {near[0]}?" if near else f"; there are {', '.join(_KINDS)}"
        refuse(f"no slice is called {shortened(name)}{hint}")
    kind = _KINDS[name]
    given: dict[str, str] = {}
    for word in rest:
        option, equals, value = word.partition("=")
        if equals:
            found = [a for a in kind.arguments if a.name.startswith(option) and option]
            if len(found) != 1:
                refuse(f"it has no option {shortened(option)}; write {kind.usage(name)}")
            argument = found[0]
        else:
            value, free = word, [a for a in kind.arguments if a.name not in given]
            if not free:
                refuse(f"{shortened(word)} is one word too many; write {kind.usage(name)}")
            argument = free[0]
        if argument.name in given:
            refuse(f"{argument.name} is given twice")
        given[argument.name] = value
    values = []
    for argument in kind.arguments:
        if argument.name not in given:
            if argument.default is _REQUIRED:
                refuse(f"{argument.name} is missing; write {kind.usage(name)}")
            values.append(argument.default)
            continue
        try:
            values.append(argument.read(given[argument.name]))
        except ValueError:
            got = shortened(given[argument.name])
            refuse(f"{argument.name} must be {argument.wanted}, got {got}; write {kind.usage(name)}")
    return _slice(name, tuple(values), start, end)


def _slice(name: str, values: tuple[Any, ...], start: int = 0, end: int = 0) -> Slice:
    """A slice in its one way to be written: `gap` for `adaptive 1`, no stride where it is the kernel."""
    if name == "adaptive" and values == (1,):
        name, values = "gap", ()
    if name in ("pool", "avgpool") and values[1] == values[0]:
        values = (values[0], None, *values[2:])
    return Slice(name, values, start, end)


def _wrong(text: str, number: int, start: int, end: int, why: str) -> CakeError:
    """The error, with the line of the text that the slice stands on, and the slice underlined."""
    first = text.rfind("\n", 0, start) + 1
    line = text[first:].partition("\n")[0]
    start_in, end_in = max(0, start - first - BEFORE), min(len(line), end - first + BEFORE, start - first + MARKED)
    before, shown = line[start_in : start - first], line[start_in:end_in]
    left, right = "... " * (start_in > 0), " ..." * (end_in < len(line))
    marked = max(min(end - first, end_in) - (start - first), 1)
    mark = "".join(c if c == "\t" else " " for c in left + before) + "^" * marked
    said = f"slice {number}, {shortened(text[start:end])}: {why}\n  {left}{shown}{right}\n  {mark}"
    return CakeError(said, number, start, end)


BEFORE, MARKED = 60, 120
"""Characters of a line that an error shows before and after its slice, and of the slice and what follows it."""


def _placed(slices: tuple[Slice, ...], i: int) -> Slice:
    """Where a slice stands when the cake is written."""
    start = len("; ".join(map(str, slices[:i]))) + 2 * (i > 0)
    return Slice(slices[i].kind, slices[i].values, start, start + len(str(slices[i])))


def _whole(least: int, most: int = limits.SIZE) -> Callable[[str], int]:
    def read(word: str) -> int:
        if not word.isdecimal() or len(word) > 9 or not least <= int(word) <= most:
            raise ValueError(word)
        return int(word)

    return read


def _size(least: int, most: int = limits.SIZE) -> Callable[[str], Any]:
    """`3` or `3x5`."""
    number = _whole(least, most)

    def read(word: str) -> Any:
        rows, by, columns = word.partition("x")
        return _short((number(rows), number(columns))) if by else number(rows)

    return read


def _padding(word: str) -> Any:
    return word if word == "same" else _size(0)(word)


def _yes_or_no(word: str) -> bool:
    if word not in ("yes", "no"):
        raise ValueError(word)
    return word == "yes"


def _number(word: str) -> float:
    if not isfinite(float(word)):
        raise ValueError(word)
    return float(word)


def _probability(word: str) -> float:
    found = float(word)
    if not 0 <= found < 1:
        raise ValueError(word)
    return found


# --- out of a model -------------------------------------------------------------------------------------------------


def _leaves(model: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of nested Sequentials, in order."""
    if not isinstance(model, nn.Sequential):
        yield path or type(model).__name__, model
        return
    for name, child in model._named_modules():
        yield from _leaves(child, f"{path}.{name}".lstrip("."))


def _sliced(path: str, layer: nn.Module) -> Slice:
    for name, kind in _KINDS.items():
        for shape in ((1, 1, 1), (1,)):
            if type(layer) is kind.layer(shape) and _fits(layer, kind, shape):
                values = tuple(_value(layer, argument) for argument in kind.arguments)
                if _readable(kind, values):
                    return _slice(name, values)
    shown = type(layer).__name__ if next(layer.children(), None) else repr(layer)
    raise ShapeError(
        f"layer {path!r}, {shown}, cannot be a slice of a cake: those are {', '.join(_KINDS)}, one after another in a "
        "Sequential, with torch's usual settings"
    )


def _readable(kind: _Kind, values: tuple[Any, ...]) -> bool:
    """Whether these values, once written, would be read again."""
    for argument, value in zip(kind.arguments, values, strict=True):
        if value != argument.default:
            try:
                argument.read(_written(value))
            except ValueError:
                return False
    return True


def _fits(layer: nn.Module, kind: _Kind, shape: Shape) -> bool:
    """Whether the slice says everything about the layer: a layer made from it has the same settings."""
    into = [getattr(layer, name) for name in ("in_channels", "in_features", "num_features") if hasattr(layer, name)]
    pairs = [(argument, _value(layer, argument)) for argument in kind.arguments]
    required = [value for argument, value in pairs if argument.default is _REQUIRED]
    options = {argument.of_layer: value for argument, value in pairs if argument.default is not _REQUIRED}
    with device("meta"):
        again = kind.layer(shape)(*into, *kind.fixed, *required, **options)
    return _settings(again) == _settings(layer)


def _settings(layer: nn.Module) -> dict[str, Any]:
    return {k: _short(v) for k, v in vars(layer).items() if not k.startswith("_") and k != "training"}


def _value(layer: nn.Module, argument: _Argument) -> Any:
    value = getattr(layer, argument.of_layer, None)
    if argument.of_layer == "bias":
        return value is not None
    value = _short(value)
    of_pool = argument.of_layer == "stride" and argument.default is None
    return None if of_pool and value == _short(layer.kernel_size) else value


def _short(size: Any) -> Any:
    """(3, 3) -> 3."""
    return size[0] if isinstance(size, tuple) and len(set(size)) == 1 else size


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


# --- the kinds ------------------------------------------------------------------------------------------------------

_POSITIVE = f"a whole number, at least 1, at most {limits.SIZE:,}"
_AREA = f"a whole number, at least 1, at most {limits.SIZE:,}, or two as in 3x5"
_CELLS = f"a whole number, at least 1, at most {limits.CELLS}, or two as in 3x5"
_POOLED = _Argument("kernel", "kernel_size", _size(1, limits.CELLS), _CELLS)
_KERNEL = _Argument("kernel", "kernel_size", _size(1), _AREA)
_STRIDE = _Argument("stride", "stride", _size(1), _AREA, 1)
_POOL_STRIDE = _Argument("stride", "stride", _size(1), _AREA, None)  # the kernel
_PADDING = _Argument("padding", "padding", _size(0), "a whole number, or two as in 1x2", 0)
_DILATION = _Argument("dilation", "dilation", _size(1), _AREA, 1)
_CEIL = _Argument("ceil", "ceil_mode", _yes_or_no, "yes or no", False)
_BIAS = _Argument("bias", "bias", _yes_or_no, "yes or no", True)


def _always(layer: type[nn.Module]) -> Callable[[Shape], type[nn.Module]]:
    return lambda shape: layer


def _norm(shape: Shape) -> type[nn.Module]:
    return nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d


def _channels(shape: Shape) -> list[int]:
    return [shape[0]]


_KINDS = {
    "conv": _Kind(
        (
            _Argument("filters", "out_channels", _whole(1), _POSITIVE),
            _KERNEL,
            _STRIDE,
            _Argument("padding", "padding", _padding, "a whole number, two as in 1x2, or same", 0),
            _DILATION,
            _Argument("groups", "groups", _whole(1), _POSITIVE, 1),
            _BIAS,
        ),
        _always(nn.Conv2d),
        _channels,
        rank=3,
    ),
    "pool": _Kind((_POOLED, _POOL_STRIDE, _PADDING, _DILATION, _CEIL), _always(nn.MaxPool2d), rank=3),
    "avgpool": _Kind((_POOLED, _POOL_STRIDE, _PADDING, _CEIL), _always(nn.AvgPool2d), rank=3),
    "gap": _Kind((), _always(nn.AdaptiveAvgPool2d), rank=3, fixed=(1,)),
    "adaptive": _Kind(
        (_Argument("size", "output_size", _size(1, limits.CELLS), _CELLS),), _always(nn.AdaptiveAvgPool2d), rank=3
    ),
    "flatten": _Kind((), _always(nn.Flatten)),
    "fc": _Kind(
        (_Argument("features", "out_features", _whole(1), _POSITIVE), _BIAS), _always(nn.Linear), _channels, rank=1
    ),
    "bn": _Kind((), _norm, _channels),
    "dropout": _Kind((_Argument("p", "p", _probability, "a probability below 1", 0.5),), _always(nn.Dropout)),
    "relu": _Kind((), _always(nn.ReLU)),
    "leakyrelu": _Kind((_Argument("slope", "negative_slope", _number, "a number", 0.01),), _always(nn.LeakyReLU)),
    "gelu": _Kind((), _always(nn.GELU)),
    "silu": _Kind((), _always(nn.SiLU)),
    "sigmoid": _Kind((), _always(nn.Sigmoid)),
    "tanh": _Kind((), _always(nn.Tanh)),
    "softmax": _Kind((), _always(nn.Softmax), fixed=(1,)),
}

_WORDS = {
    word: name
    for name, kind in _KINDS.items()
    for layer in (kind.layer((1, 1, 1)).__name__.lower(),)
    for word in (layer, layer.removesuffix("2d"))
    if name != "gap"
} | {"globalavgpool": "gap", "dense": "fc"}
"""What slices are called elsewhere, for the hint in an error."""
