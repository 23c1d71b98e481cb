"""What a model does to one image, layer by layer, found by running it on arrays that have a shape but no values.

`run_on_outlines` runs `forward` itself, so branches, residual connections and functional calls are seen as they are. A
step, as `LayerObserver` finds them, is a layer without children, or an op that one with children ran itself (`x + y`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import setitem
from typing import Any, TypeVar

from tinyconv.arrays.backend import constants_join, device
from tinyconv.engine.context import Layer, context, no_grad
from tinyconv.engine.variants import op_name
from tinyconv.inspect import flops
from tinyconv.inspect.field import IMAGE, Fields, union
from tinyconv.nn import Module
from tinyconv.nn.stateless import functional_call
from tinyconv.shapes import Shape, adaptive_bounds, product
from tinyconv.tensor.creation import zeros
from tinyconv.tensor.tensor import Tensor

Output = TypeVar("Output")


@dataclass
class Step:
    """A layer without children that was called, or an op that a layer with children ran. Sizes are of one image."""

    name: str  # `features.0`
    kind: str  # `Conv2d`; for an op its name, `add`
    output_shape: Shape  # without the batch
    params: int
    macs: int
    fields: Fields | None  # of rows and columns; None for what does not depend on the image
    activation_bytes: int
    column_bytes: int  # that im2col takes


def run_on_outlines(model: Module, observer: Watcher, batch: int, shape: Sequence[int], *extra: Any) -> Any:
    """What `model(x, *extra)` returns for a batch x of inputs of `shape`, (C, H, W) for an image; `observer` watches.

    Nothing is computed, no weight is read, and the model is left as it was. Raises what its `forward` raises, with the
    path of the layer; most often that is a ShapeError.
    """
    parameters = dict(model.named_parameters())
    state = {**parameters, **dict(model.named_buffers())}
    outlines = {name: zeros(t.shape, dtype=t.dtype, device="meta") for name, t in state.items()}
    dtype = next((t.dtype for t in state.values() if t.is_floating_point()), None)
    x = zeros((batch, *shape), dtype=dtype, device="meta")
    observer.begin(x, {id(outlines[name]) for name in parameters})
    with device("meta"), constants_join(), no_grad():
        return observe(model, observer, functional_call, model, outlines, (x, *extra))


def observe(model: Module, observer: Watcher, function: Callable[..., Output], *args: Any) -> Output:
    """function(*args), with the model in evaluation mode, and with `observer` told what runs."""
    modules = [vars(module) for module in model.modules()]
    put_back = map(setitem, modules, repeat("training"), [module["training"] for module in modules])
    now = context.get()
    try:
        model.eval()
        context.set(now.but(observer=observer))
        return function(*args)
    finally:
        try:
            context.set(now)
        finally:
            list(put_back)  # one call: a Ctrl-C comes before it or after


class Watcher:
    """An observer (see `engine.context`) that notes of each op its name, the shapes of its inputs and its output's."""

    def __init__(self) -> None:
        self.shapes: list[tuple[str, list[Shape], Shape]] = []

    def begin(self, x: Tensor, parameters: set[int]) -> None:
        """The model is about to be called with `x`; `parameters` are the ids of the tensors that it uses as its own."""

    def made(self, op: Any, pair: Any, inputs: Any, geometry: Any, outs: tuple[Tensor, ...]) -> None:
        """An op has run."""
        self.shapes.append((op_name(op), [t.shape for t in inputs if isinstance(t, Tensor)], outs[0].shape))

    def left(self, layer: Layer, output: Any) -> None:
        """A layer has returned."""

    def gathered(self, *given: Any) -> None:
        """A forward took gradients, which a summary does not show."""

    pulled = summed = gathered

    def within(self, node: Any) -> Watcher:
        return self


class LayerObserver(Watcher):
    """Is told of every op and every layer: `steps` are found so, and `outputs` are what each of them gave."""

    def __init__(self, model: Module) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.outputs: list[Tensor] = []
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._names: dict[str, int] = {}
        self._macs = self._columns = 0  # of the ops that ran in the layer under way
        self._used: dict[int, Tensor] = {}  # the parameters that they took

    def begin(self, x: Tensor, parameters: set[int]) -> None:
        self._parameters = parameters  # the ids of those that no step has counted yet
        self._fields: dict[int, Fields | None] = {id(x.array): IMAGE if x.ndim == 4 else None}
        self._alive: list[Any] = [x.array]  # kept, so that no id is given twice

    # What `apply` and `Module` call.

    def made(self, op: Any, pair: Any, inputs: Any, geometry: Any, outs: tuple[Tensor, ...]) -> None:
        super().made(op, pair, inputs, geometry, outs)
        name, tensors = op_name(op), [t for t in inputs if isinstance(t, Tensor)]
        self._used |= {id(t): t for t in tensors if id(t) in self._parameters}
        fields = fields_of(self._fields, name, inputs, geometry, outs[0])
        for out in outs:
            self._alive.append(out.array)
            self._fields[id(out.array)] = fields
        shapes = [getattr(t, "shape", None) for t in inputs]
        self._macs += flops.macs(name, shapes, geometry) or 0
        self._columns += _columns(name, shapes, outs[0])
        layer = context.get().layer
        if layer is None or next(layer.module.children(), None) is not None:
            path = "" if layer is None else self._path(layer)
            self._note(f"{path}.{name.lower()}".lstrip("."), name.lower(), outs[0])

    def left(self, layer: Layer, output: Any) -> None:
        module, out = layer.module, first_tensor(output)
        if next(module.children(), None) is None and out is not None:
            self._used |= {id(t): t for t in module._parameters.values() if t is not None}
            self._note(self._path(layer) or type(module).__name__.lower(), type(module).__name__, out)

    def _path(self, layer: Layer) -> str:
        path = self._paths.get(id(layer.module))
        return layer.path if path is None else path

    def _note(self, name: str, kind: str, out: Tensor) -> None:
        # What several layers share counts where it is used first.
        own = {key: t for key, t in self._used.items() if key in self._parameters}
        self._parameters -= own.keys()
        seen = self._names[name] = self._names.get(name, 0) + 1
        self.steps.append(
            Step(
                name if seen == 1 else f"{name}#{seen}",
                kind,
                out.shape[1:],
                sum(t.numel() for t in own.values()),
                self._macs,
                self._fields.get(id(out.array)),
                out.array.nbytes,
                self._columns,
            )
        )
        self.outputs.append(out)
        self._macs = self._columns = 0
        self._used = {}


def fields_of(known: Mapping[int, Fields | None], name: str, inputs: Any, geometry: Any, out: Tensor) -> Fields | None:
    """The fields of an op's output, from those of its inputs, `known` by ids of arrays; None where no input has any."""
    tensors = [t for t in inputs if isinstance(t, Tensor)]
    seen = [t for t in tensors if known.get(id(t.array)) is not None]
    if not seen:
        return None
    fields = [known[id(t.array)] for t in seen]
    cells = [t.shape[2:] if t.ndim == 4 else (1, 1) for t in seen]
    rule = _RULES.get(name)
    if rule is not None and seen[0].ndim == 4:
        found: Fields | None = rule(fields[0], [t.shape for t in tensors], geometry)
        if found is not None:
            return found
    by_cell = name in CELL_BY_CELL or (name == "Cat" and geometry["axis"] == 1)
    if name == "BatchNorm" and inputs[3] is None:
        by_cell = False  # it uses the mean over all cells
    largest = max(n[0] for n in cells), max(n[1] for n in cells)
    joint = union([f for f in fields if f is not None], cells, out.shape[2:] if by_cell and out.ndim == 4 else largest)
    if by_cell and out.ndim == 4:
        return joint
    return joint[0].whole(largest[0]), joint[1].whole(largest[1])


def first_tensor(output: Any) -> Tensor | None:
    """The first tensor of what a layer returned."""
    if isinstance(output, Tensor):
        return output
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, list | tuple) else ()
    return next((found for found in map(first_tensor, parts) if found is not None), None)


CELL_BY_CELL = {
    *("Add", "Sub", "Mul", "Div", "Pow", "Maximum", "Minimum", "LogAddExp", "Where", "Clamp", "Neg", "Abs", "Exp"),
    *("Log", "Sqrt", "Cast", "Copy", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Silu", "Gelu", "GeluTanh", "Dropout"),
    *("BatchNorm", "Expand", "to"),
}
"""Ops whose output at a place depends on their inputs at that place."""


def _window(fields: Fields, *sizes: Any) -> Fields:
    """Kernel, stride, padding and dilation, each of rows and columns."""
    rows, columns = zip(*sizes, strict=True)
    return fields[0].window(*rows), fields[1].window(*columns)


def _conv(fields: Fields, shapes: list[Shape], geometry: Any) -> Fields:
    return _window(fields, shapes[1][2:], geometry["stride"], geometry["padding"], geometry["dilation"])


def _pool(fields: Fields, shapes: list[Shape], geometry: Any) -> Fields:
    dilation = geometry.get("dilation", (1, 1))
    return _window(fields, geometry["kernel"], geometry["stride"], geometry["padding"], dilation)


def _conv_pool(fields: Fields, shapes: list[Shape], geometry: Any) -> Fields:
    return _pool(_conv(fields, shapes, geometry), shapes, geometry["pool"])


def _adaptive(fields: Fields, shapes: list[Shape], geometry: Any) -> Fields:
    found = []
    for axis, n, out in zip(fields, shapes[0][2:], geometry["out"], strict=True):
        jump = n // out if out > 1 else 0
        # Where the intervals are not evenly spaced, the field is large enough for each of them.
        cell = max(end - i * jump for i, (_, end) in enumerate(adaptive_bounds(n, out)))
        found.append(axis.window(cell, jump))
    return found[0], found[1]


def _pad(fields: Fields, shapes: list[Shape], geometry: Any) -> Fields:
    (top, _), (left, _) = geometry["widths"][2:]
    return fields[0].part(-top), fields[1].part(-left)


def _slices(fields: Fields, shapes: list[Shape], geometry: Any) -> Fields | None:
    index = geometry["index"]
    index = index if isinstance(index, tuple) else (index,)
    at = next((i for i, part in enumerate(index) if part is Ellipsis), len(index))
    missing = 4 - sum(part is not Ellipsis for part in index)
    full = [*index[:at], *[slice(None)] * missing, *index[at + 1 :]]
    if not all(isinstance(part, slice) for part in full):
        return None
    found = [axis.part(*part.indices(n)[::2]) for axis, n, part in zip(fields, shapes[0][2:], full[2:], strict=True)]
    return found[0], found[1]


def _permute(fields: Fields, shapes: list[Shape], geometry: Any) -> Fields | None:
    return fields if tuple(geometry["axes"])[2:] == (2, 3) else None


def _over_channels(fields: Fields, shapes: list[Shape], geometry: Any) -> Fields | None:
    """The fields after a reduction, or a softmax, that leaves the two last axes alone; None for any other."""
    axes = geometry.get("axes", (geometry.get("axis"),))
    return fields if set(axes) <= {0, 1} and geometry.get("keepdims", True) else None


_RULES: dict[str, Any] = {
    **dict.fromkeys(("conv2d", "conv2d_relu"), _conv),
    **dict.fromkeys(("max_pool2d", "relu_max_pool2d", "AvgPool2d"), _pool),
    "conv2d_relu_max_pool2d": _conv_pool,
    **dict.fromkeys(("AdaptiveAvgPool2d", "AdaptiveMaxPool2d"), _adaptive),
    "Pad": _pad,
    "Index": _slices,
    "Permute": _permute,
    **dict.fromkeys(("Sum", "Mean", "Amax", "Amin", "Var", "Std", "Norm", "Softmax", "LogSoftmax"), _over_channels),
}


def _columns(name: str, shapes: list[Any], out: Tensor) -> int:
    """Bytes of the columns of a convolution, each a window of C / groups KH KW numbers; 0 for any other op."""
    if not name.startswith("conv2d"):
        return 0
    return product(shapes[1][1:]) * product(out.shape[2:]) * out.element_size()
