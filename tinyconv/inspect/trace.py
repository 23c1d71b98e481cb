"""trace: the tape as it will be walked, printed or drawn, and after the walk how large the gradients were."""

from __future__ import annotations

from collections.abc import Iterator
from errno import ENOENT
from os import PathLike
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, overload
from weakref import ref

from tinyconv.arrays.backend import Array, backend_of
from tinyconv.engine.context import Layer
from tinyconv.engine.nodes import Leaf, OpNode
from tinyconv.engine.tape import below
from tinyconv.engine.variants import name_of, op_name, place_of, shown
from tinyconv.engine.writes import base_of
from tinyconv.errors import DtypeError, GraphError
from tinyconv.host.files import atomic
from tinyconv.inspect.drawing import drawing
from tinyconv.inspect.rows import SHOWN, LeafRow, Row, parts_of, shown_bytes, table
from tinyconv.nn import Module
from tinyconv.notebook import folded, page, text
from tinyconv.tensor.tensor import Tensor


class Trace:
    """What `trace` returns: `rows` in the order of the walk, `leaves`, and `saved`, the bytes that the tape holds.

        t = tc.trace(loss)
        print(t)
        t.rows[0].source  # where the backward of the first op is to be read
        t.to_html("tape.html")

    It prints as a table that fits the terminal. It keeps no array alive and changes no gradient.
    """

    def __init__(self, rows: list[Row], leaves: list[LeafRow]) -> None:
        self.rows, self.leaves = rows, leaves
        self.saved = sum(row.saved for row in rows)
        self._walking = False  # whether the gradient of the loss itself has come by

    def table(self, rows: int | None = SHOWN, width: int | None = None, places: bool = False) -> str:
        """The ops and the leaves as text.

        Args:
            rows: How many ops are shown at most; the middle of a longer tape is left out. None shows all.
            width: The columns of a line. Where the table is wider, the parameters of a row's own layer are shortened,
                long titles and the lines of your program get lines of their own, and the rest is cut. None cuts
                nothing. `print(t)` takes the width of the terminal, or 80 if that is narrower.
            places: Whether to say where the backward of every op is to be read, `tinyconv/ops/conv.py:102`. It is said
                anyhow where `width` has room for one more column, and for the parts of fused ops.
        """
        return f"{table(self.rows, self.leaves, rows, width, places)}\n\n{self.summary()}"

    def __repr__(self) -> str:
        return self.table(width=max(80, get_terminal_size().columns))

    def summary(self) -> str:
        """One line: `13 ops and 10 leaves; the tape holds 5.6 MiB besides the leaves`."""
        ops, leaves = len(self.rows), len(self.leaves)
        counts = f"{ops} op{'s' * (ops != 1)} and {leaves} {'leaf' if leaves == 1 else 'leaves'}"
        return f"{counts}; the tape holds {shown_bytes(self.saved)} besides the leaves"

    @overload
    def to_svg(self, path: None = None) -> str: ...
    @overload
    def to_svg(self, path: str | PathLike[str]) -> None: ...
    def to_svg(self, path: str | PathLike[str] | None = None) -> str | None:
        """The tape as a picture, for light and dark pages; returned as text, or written to `path`.

        Raises FileNotFoundError where the folder does not exist.
        """
        return _written(self._drawn(alone=True), path)

    @overload
    def to_html(self, path: None = None) -> str: ...
    @overload
    def to_html(self, path: str | PathLike[str]) -> None: ...
    def to_html(self, path: str | PathLike[str] | None = None) -> str | None:
        """A page with the picture and the table; returned as text, or written to `path`.

        Raises FileNotFoundError where the folder does not exist.
        """
        page = (
            '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>trace</title>\n'
            "<style>:root{color-scheme:light dark}body{font-family:system-ui,sans-serif;margin:2rem}"
            f"</style></head>\n<body>\n{self._repr_html_()}\n</body>\n</html>\n"
        )
        return _written(page, path)

    def _repr_html_(self) -> str:
        return page(self._drawn(alone=False), folded("as a table", text(self.table(places=True))))

    def _drawn(self, alone: bool) -> str:
        return drawing(self.rows, self.leaves, self.summary(), alone)


def trace(loss: Tensor, model: Module | None = None) -> Trace:
    """The tape behind `loss`, before it is walked: the ops, which variants ran, what they save, and the leaves.

        t = tc.trace(loss)
        loss.backward()
        print(t)

    After `loss.backward()` it has the L2 norm of every gradient too, as it came to the op or the leaf; NaN and
    infinities are marked.

    Args:
        loss: A tensor that was computed from one that requires grad, and whose tape has not been walked.
        model: The model, where only a part of it was called: layers and parameters are named as it names them. Unless
            given, they are named as the module that was called names them.

    Raises GraphError where there is no tape, or it was walked or written to; DtypeError for anything but a tensor;
    TypeError where `model` is not a Module.
    """
    if not isinstance(loss, Tensor):
        raise DtypeError(f"trace: expected a Tensor, got {type(loss).__name__}")
    if model is not None and not isinstance(model, Module):
        raise TypeError(f"trace: model must be a Module, got {type(model).__name__}")
    if not isinstance(loss._node, OpNode) or not loss.requires_grad:
        reason = (
            "is a leaf, so nothing leads to it"
            if loss.requires_grad
            else "does not require grad: no tensor it was computed from has requires_grad=True, or it was computed "
            "inside no_grad()"
        )
        raise GraphError(f"trace: there is no tape behind this tensor of shape {loss.shape}: it {reason}")
    nodes = below([loss._node])
    ops = [node for node in nodes if isinstance(node, OpNode)]
    for op in ops:
        try:
            op.check_saved()
        except GraphError as error:
            raise GraphError(
                "trace: trace the loss before backward, which frees its tape, and before anything on it is written to "
                f"({error})"
            ) from error
    leaves = [node for node in nodes if isinstance(node, Leaf)]
    roots = [model] if model is not None else [node.layer.root for node in ops if node.layer is not None]
    paths = {} if model is None else {id(module): path for path, module in model.named_modules()}
    names = _leaf_names(leaves, roots)
    numbers: dict[Any, int | str] = {node: i + 1 for i, node in enumerate(ops)} | {leaf: names[leaf] for leaf in leaves}
    saved = _saved(ops, leaves)
    rows = [
        Row(
            number=i + 1,
            op=op_name(node.op),
            variant=name_of(node.op, node.pair),
            title=shown(node.op, node.pair),
            source=place_of(node.op),
            parts=parts_of(node.op),
            shape=node.shape,
            dtype=str(node.dtype),
            saved=saved[i],
            inputs=tuple(None if parent is None else numbers[parent] for parent in node.parents),
            layer=_layer(node.layer, paths),
            line=node.line,
        )
        for i, node in enumerate(ops)
    ]
    leaf_rows = [LeafRow(names[leaf], leaf.shape, str(leaf.dtype)) for leaf in leaves]
    found = Trace(rows, leaf_rows)
    for op, row in zip(ops, rows, strict=True):
        _listen(op, row, found)
    for leaf, leaf_row in zip(leaves, leaf_rows, strict=True):
        _listen(leaf, leaf_row, found)
    return found


def _layer(layer: Layer | None, paths: dict[int, str]) -> str:
    if layer is None:
        return ""
    return paths.get(id(layer.module), "") or layer.path or type(layer.module).__name__


def _leaf_names(leaves: list[Leaf], roots: list[Any]) -> dict[Leaf, str]:
    known: dict[int, str] = {}
    for root in dict.fromkeys(roots):
        for name, parameter in root.named_parameters():
            known.setdefault(id(parameter._node), name)
    return {leaf: known.get(id(leaf), f"leaf {i + 1}") for i, leaf in enumerate(leaves)}


def _saved(ops: list[OpNode], leaves: list[Leaf]) -> list[int]:
    """How many bytes each op keeps alive. What several ops keep counts once, for the first that ran.

    Leaves do not count, and a view counts with all of the memory that it is a part of.
    """
    counted = {id(base_of(leaf.array)) for leaf in leaves}
    sizes = []
    for node in reversed(ops):
        size = 0
        for array in _arrays([node.saved, *node.constants.values()]):
            memory = base_of(array)
            if id(memory) not in counted:
                counted.add(id(memory))
                size += memory.nbytes
        sizes.append(size)
    return sizes[::-1]


def _arrays(saved: Any) -> Iterator[Array]:
    if isinstance(saved, tuple | list):
        for part in saved:
            yield from _arrays(part)
    elif hasattr(saved, "strides"):
        yield saved


class _Listener:
    """A hook that notes the norm of the gradient that comes to a node in the walk from the loss.

    A leaf outlives many traces, so there the hook takes itself out of `hooks`; other nodes die with the graph.
    """

    def __init__(self, entry: Row | LeafRow, found: Trace, hooks: list[Any] | None) -> None:
        self.entry, self.trace, self.hooks = entry, ref(found), hooks

    def __call__(self, grad: Any) -> None:
        at = self.trace()
        if at is not None and self.entry is at.rows[0]:
            at._walking = True
        if at is not None and at._walking and self.entry.grad is None:
            array = grad.array if isinstance(grad, Tensor) else grad
            xp = backend_of(array).xp
            self.entry.grad = float(xp.linalg.norm(array.astype("float64").ravel()))
        if self.hooks is not None and (at is None or at._walking):  # a walk from elsewhere may come by first
            self.hooks.remove(self)


def _listen(node: Any, entry: Row | LeafRow, found: Trace) -> None:
    if node.hooks is None:
        node.hooks = []
    node.hooks.append(_Listener(entry, found, node.hooks if node.is_leaf else None))


def _written(text: str, path: str | PathLike[str] | None) -> str | None:
    """The text, or None once it is in a file, because a notebook shows what the last line of a cell returns."""
    if path is None:
        return text
    if not Path(path).parent.is_dir():
        raise FileNotFoundError(ENOENT, "there is no such folder to write to", str(Path(path).parent))
    with atomic(Path(path)) as beside:
        beside.write_text(text, encoding="utf-8")
    return None
