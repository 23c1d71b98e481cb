"""summary: a model as a table, from the image down to the logits, with what each layer costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from operator import index
from typing import Any

from tinyconv import notebook
from tinyconv.errors import ShapeError, shortened
from tinyconv.inspect.batch import batch_warnings
from tinyconv.inspect.field import Fields
from tinyconv.inspect.tracer import LayerObserver, Step, run_on_outlines
from tinyconv.nn import DataParallel, Module
from tinyconv.nn.module import hidden
from tinyconv.shapes import Pair, Shape, product

HUGE, SHARE = 10_000_000, 0.5  # a head with more parameters than this, and than this share of the model, is warned of


@dataclass(frozen=True)
class LayerSummary:
    """One row. Sizes are those of one image; a size that is the same for rows and columns is a number, else a pair."""

    name: str  # `features.0`
    kind: str  # `Conv2d`; for an op that a layer with children ran, the name of the op: `add`
    output_shape: Shape  # without the batch
    params: int
    macs: int  # multiply-accumulates of a forward pass
    flops: int  # two for each MAC
    receptive_field: int | Pair | None  # pixels that a cell depends on; None where there is no image
    jump: int | Pair | None  # pixels from a cell's field to the next one's; 0 where all see the same
    start: int | Pair | None  # the first pixel that the first cell sees; negative in the padding
    activation_bytes: int  # of the output
    column_bytes: int  # that im2col takes for it
    share: float  # of the model's MACs
    fields: Fields | None = field(repr=False)  # of rows and of columns: `fields[0].span(cell, pixels)`


@dataclass(frozen=True)
class Summary:
    """What `summary` returns: `layers`, the totals, and `warnings` about what looks wrong.

        s = tc.summary(model, (1, 28, 28))
        print(s)
        s["conv2"].receptive_field  # 14

    `print(s)` gives a table; rich and notebooks show a table of their own. `to_markdown()`, `to_html()`, `to_json()`
    and `to_dict()` give everything.
    """

    model: str  # the class of the model
    input_shape: Shape  # of one image, without the batch
    layers: tuple[LayerSummary, ...]
    total_params: int
    total_macs: int
    total_flops: int
    activation_bytes: int  # of all outputs for one image: about what training keeps
    column_bytes: int  # of the largest im2col
    warnings: tuple[str, ...]

    def __getitem__(self, name: str) -> LayerSummary:
        """The row of that name. Raises KeyError, with the names that there are."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"no layer {shortened(name)}; there are {', '.join(layer.name for layer in self.layers)}")

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain Python values, shapes as lists."""
        found = asdict(self)
        found["input_shape"], found["warnings"] = list(self.input_shape), list(self.warnings)
        found["layers"] = [
            {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in layer.items()
                if name != "fields"
            }
            for layer in found["layers"]
        ]
        return found

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict())

    def to_markdown(self) -> str:
        """The table in Markdown, with what is counted and the warnings below it."""
        heads, rows, foot = self._cells()
        dashes = ["---" if i < _TEXT else "---:" for i in range(len(heads))]
        lines = [heads, dashes, *rows, [f"**{cell}**" if cell else "" for cell in foot]]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join([table, self.about(), *self.warnings])

    def to_html(self) -> str:
        """The table in HTML, with what is counted and the warnings below it; a notebook shows this."""
        heads, rows, foot = self._cells()
        notes = (notebook.note(text) for text in (self.about(), *self.warnings))
        return notebook.page(notebook.table(heads, rows, foot, words=_TEXT), *notes)

    _repr_html_ = to_html

    def about(self) -> str:
        """The model, the input, and what the columns count, in one line."""
        return (
            f"{self.model} on one input of {_by(self.input_shape)}. FLOPs: 2 for each MAC. field: the pixels that a "
            "cell depends on; jump: the pixels from one field to the next; start: the first pixel of the first field."
        )

    def __str__(self) -> str:
        heads, rows, foot = self._cells()
        widths = [max(len(line[i]) for line in (heads, *rows, foot)) for i in range(len(heads))]
        lines = [
            "  ".join(
                cell.ljust(width) if i < _TEXT else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in (heads, *rows, foot)
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], self.about(), *self.warnings])

    __repr__ = __str__

    def __rich_console__(self, console: Any, options: Any) -> Any:
        """The table as rich draws it. A narrow terminal lacks the columns that can be worked out from others."""
        from rich.table import Table
        from rich.text import Text

        heads, rows, foot = self._cells()
        widths = [max(len(line[i]) for line in (heads, *rows, foot)) + 3 for i in range(len(heads))]
        shown = set(range(len(heads)))
        left_out = [name for name in _LEAST if name in heads]
        while left_out and sum(widths[i] for i in shown) + 1 > options.max_width:
            shown.discard(heads.index(left_out.pop(0)))
        table = Table(show_footer=True)
        for i in sorted(shown):
            table.add_column(heads[i], Text(foot[i]), justify="left" if i < _TEXT else "right", overflow="fold")
        for row in rows:
            table.add_row(*(Text(row[i]) for i in sorted(shown)))
        yield table
        hidden = [head for i, head in enumerate(heads) if i not in shown]
        note = f"; in a wider terminal also {', '.join(hidden)}" if hidden else ""
        yield Text(self.about() + note, style="dim")
        for text in self.warnings:
            yield Text(text, style="yellow")

    def _cells(self) -> tuple[list[str], list[list[str]], list[str]]:
        """Heads, rows and totals, as text."""
        heads = ["layer", "kind", "output", "params", "MACs", "FLOPs", "share", "field", "jump", "start"]
        heads += ["activations", "columns"]
        rows = [
            [
                layer.name,
                layer.kind,
                _by(layer.output_shape),
                *(f"{n:,}" if n else "" for n in (layer.params, layer.macs, layer.flops)),
                f"{layer.share:.1%}" if layer.macs else "",
                *(_by(n) for n in (layer.receptive_field, layer.jump or None, layer.start)),
                _bytes(layer.activation_bytes),
                _bytes(layer.column_bytes),
            ]
            for layer in self.layers
        ]
        foot = ["total", "", "", *(f"{n:,}" for n in (self.total_params, self.total_macs, self.total_flops))]
        most = f"{_bytes(self.column_bytes)} at most" if self.column_bytes else ""
        foot += ["", "", "", "", _bytes(self.activation_bytes), most]
        return heads, rows, foot


_TEXT = 3  # the first columns are words, the others numbers
_LEAST = ("start", "columns", "FLOPs", "share", "activations", "kind", "jump")  # the first is the first to be left out


def summary(model: Module, input_shape: Sequence[int], *extra: Any) -> Summary:
    """Shapes, parameters, MACs and FLOPs, receptive fields and memory of `model`, layer by layer, for one image.

        tc.summary(model, (1, 28, 28))

    The model's `forward` runs on arrays without values, in evaluation mode: nothing is computed, no weight is read, and
    branches count as they are. It runs for one image, then for two, and a warning says where images mix. A layer that
    is called twice has two rows, `pool` and `pool#2`, and its parameters count once. A model made inside
    `with tc.device("meta")` takes no memory for its weights either.

    Args:
        model: The model. It is left as it was.
        input_shape: The shape of one input without the batch: (C, H, W) for an image.
        extra: Further arguments of `forward`, as they are.

    Raises ShapeError for another `input_shape` and, with the path of the layer, where the model does not take it;
    DeviceError where `forward` asks for values; TypeError for anything but a Module.
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: expected a Module, got {_called(model)}")
    shape = sizes("summary", input_shape)
    if len(shape) == 4 or any(n < 1 for n in shape):
        hint = f": without the batch it is {shape[1:]}" if len(shape) == 4 else ""
        raise ShapeError(
            f"summary: input_shape must be the shape of one image, (C, H, W), each at least 1, got {shape}{hint}"
        )
    if isinstance(model, DataParallel):
        model = model.module
    observer = LayerObserver(model)
    output = run_on_outlines(model, observer, 1, shape, *extra)
    steps = observer.steps
    macs = sum(step.macs for step in steps)
    params = sum(parameter.numel() for parameter in model.parameters())
    layers = tuple(_layer(step, macs) for step in steps)
    return Summary(
        model=type(model).__name__,
        input_shape=shape,
        layers=layers,
        total_params=params,
        total_macs=macs,
        total_flops=2 * macs,
        activation_bytes=sum(step.activation_bytes for step in steps),
        column_bytes=max((step.column_bytes for step in steps), default=0),
        warnings=(
            *_warnings(shape, steps, params),
            *batch_warnings(model, observer, output, shape, *extra),
            *(text for _, _, text in hidden(model)),
        ),
    )


def sizes(what: str, shape: Any) -> Shape:
    """The shape as a tuple of whole numbers. Raises ShapeError, signed `what`, for anything else."""
    try:
        return tuple(index(n) for n in shape)
    except TypeError:
        hint = f"; its shape without the batch? {tuple(shape.shape)}" if hasattr(shape, "shape") else ""
        shown = f"an array of {tuple(shape.shape)}" if hint else shortened(shape)
        raise ShapeError(f"{what}: input_shape must be the shape of one image, (C, H, W), got {shown}{hint}") from None


def _called(model: Any) -> str:
    return f"the class {model.__name__}: {model.__name__}(...)?" if isinstance(model, type) else type(model).__name__


def _layer(step: Step, macs: int) -> LayerSummary:
    size, jump, start = (None,) * 3 if step.fields is None else map(_one, zip(*step.fields, strict=True))
    return LayerSummary(
        step.name,
        step.kind,
        step.output_shape,
        step.params,
        step.macs,
        2 * step.macs,
        size,
        jump,
        start,
        step.activation_bytes,
        step.column_bytes,
        step.macs / macs if macs else 0.0,
        step.fields,
    )


def _one(rows_and_columns: Any) -> int | Pair:
    rows, columns = rows_and_columns
    return rows if rows == columns else (rows, columns)


def _warnings(shape: Shape, steps: Sequence[Step], params: int) -> list[str]:
    """A linear layer after feature maps that holds most of the model; parameters that nothing uses."""
    found = []
    maps = shape if len(shape) == 3 else None
    for step in steps:
        head = step.kind == "Linear" and maps is not None and _reads_all(step, maps)
        if head and maps is not None and step.params > max(HUGE, SHARE * params):
            features, out = product(maps), step.output_shape[-1]
            pooled = step.params - out * (features - maps[0])
            fix = (
                "convolutions and poolings before it would leave it less to read"
                if maps == shape
                else f"nn.AdaptiveAvgPool2d(1) before the flattening would leave it {maps[0]} features, {pooled:,} "
                "parameters, and images of any size"
            )
            found.append(
                f"{step.name} holds {step.params:,} of the {params:,} parameters, for it reads all of {_by(maps)} = "
                f"{features:,} features: {fix}"
            )
        if len(step.output_shape) == 3:
            maps = step.output_shape
        elif step.kind == "Linear":
            maps = None
    unused = params - sum(step.params for step in steps)
    return found + ([f"{unused:,} parameters are in no layer that ran"] if unused else [])


def _reads_all(step: Step, maps: Shape) -> bool:
    """Whether a linear layer reads every cell of these maps, and there is more than one."""
    return product(maps[1:]) > 1 and step.macs == product(maps) * product(step.output_shape)


def _by(size: int | Sequence[int] | None) -> str:
    return "" if size is None else str(size) if isinstance(size, int) else "x".join(map(str, size)) or "scalar"


def _bytes(count: int) -> str:
    if not count:
        return ""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024  # type: ignore[assignment]
    return f"{count} B" if unit == "B" else f"{count:.1f} {unit}"
