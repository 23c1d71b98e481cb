"""The recorder: it watches a step that runs eagerly on the CPU, and writes down a program that does the same.

An array is known by its identity. What the recorder has not seen made is an array of the world outside, and it has to
stay: a parameter, or a tensor that the step finds where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import methodcaller
from typing import Any

import numpy as np

from tinyconv.arrays.backend import Array
from tinyconv.engine.context import Layer, context
from tinyconv.engine.each_step import CapturedStep
from tinyconv.engine.nodes import Gradient, OpNode
from tinyconv.engine.variants import op_name
from tinyconv.engine.writes import base_of
from tinyconv.errors import CaptureError
from tinyconv.ops import Index
from tinyconv.program.program import Instruction, Program, Value, replaced
from tinyconv.tensor.tensor import Tensor
from tinyconv.user_frame import user_line


class Recorder(CapturedStep):
    """The observer of a call, and the captured step that it belongs to.

    `refused` is the first thing that the step did and no replay can do; with `strict` it is an error at once.
    """

    def __init__(self, arguments: Iterable[Tensor], strict: bool = False) -> None:
        self.strict, self.refused = strict, ""
        self.device = "cpu"  # where ops ran
        self._instructions: list[Instruction] = []
        self._values: dict[int, Value] = {}  # by the id of the array
        self._all: list[Value] = []
        self._alive: list[Any] = []  # arrays and nodes, so that no id is given twice
        self._memories: dict[int, int] = {}
        self._forwards: dict[int, Instruction] = {}  # by the id of the node
        self.modules: dict[int, Any] = {}  # that ran, by their id
        self._gradients: dict[int, tuple[Any, Value]] = {}
        self.inputs = [self._known("input", t.array) for t in arguments]

    @property
    def leaves(self) -> list[Any]:
        """Those that got a gradient."""
        return [leaf for leaf, _ in self._gradients.values()]

    def program(self, results: Iterable[Tensor]) -> Program:
        """The program so far; the step has returned these tensors."""
        return Program(
            instructions=self._instructions,
            inputs=self.inputs,
            results=[self._value(t) for t in results],
            values=self._all,
            modules=list(self.modules.values()),
            # A gradient that the step has dropped again at its end is no longer its leaf's.
            gradients=[pair for pair in self._gradients.values() if _holds(*pair)],
        )

    # What apply and the walk report to their observer.

    def made(self, op: Any, pair: Any, inputs: Any, geometry: dict[str, Any], outs: tuple[Tensor, ...]) -> None:
        for part in geometry["index"] if op is Index else ():
            if getattr(part, "dtype", None) == np.bool_:
                self.refuse(
                    f"capture: the step picks elements by a mask of shape {part.shape}, and how many those are depends "
                    "on its values; keep the shape: where(mask, x, 0.0), or x * mask"
                )
        given = tuple(self._value(t) for t in inputs)
        fixed = replaced(geometry, self._value)
        chosen = (context.get().variants or {}).get(op_name(op), "")
        instruction = self._add(
            "forward", given, (), op=op, pair=pair, geometry=fixed, chosen=chosen, layer=self._path(), line=user_line()
        )
        instruction.outputs = tuple(self._known("made", out.array) for out in outs)
        if not isinstance(outs[0].array, np.ndarray):
            self.device = outs[0].device
        node = outs[0]._node
        if isinstance(node, OpNode):
            self._alive.append(node)
            self._forwards[id(node)] = instruction

    def left(self, layer: Layer, output: Any) -> None:
        self.modules[id(layer.module)] = layer.module

    def within(self, node: OpNode) -> Recorder:
        self.refuse(
            "capture: the step differentiates gradients (create_graph=True), which a replay cannot do; call the step "
            "itself, without capture"
        )
        return self

    def pulled(self, node: OpNode, pair: Any, grad: Array, grads: tuple[Any, ...]) -> None:
        forward = self._forwards.get(id(node))
        if forward is None:
            self.refuse(
                "capture: the step walks back through what was computed before it; compute it inside the step, or "
                "detach it"
            )
            return
        dy = self._value(grad)
        if type(node.grad) is Gradient:
            node.grad.array = _in_order(node.grad.array)
            kept = self._known("held", node.grad.array)
            self._add("keep", (dy,), (kept,), first=True, layer=forward.layer, line=forward.line)
        needs = tuple(g is not None for g in grads)
        instruction = self._add(
            "backward", (dy,), (), op=node.op, pair=pair, geometry=forward.geometry, needs=needs, of=forward,
            layer=forward.layer, line=forward.line,
        )  # fmt: skip
        instruction.outputs = tuple(None if g is None else self._known("made", g) for g in grads)

    def summed(self, total: Array, grad: Array, found: Array) -> None:
        both = self._value(total), self._value(grad)
        self._add("sum", both, (self._known("made", found),), owned=found is total)

    def gathered(self, leaf: Any, kept: Array, grad: Array, first: bool) -> None:
        leaf.grad.array = kept = _in_order(kept)
        source = self._value(grad)
        fixed = self._known("held", kept) if first or id(kept) not in self._values else self._values[id(kept)]
        self._gradients[id(leaf)] = leaf, fixed
        self._add("keep", (source,), (fixed,), first=first)

    # What is computed outside the tape.

    def each_step(self, function: Callable[[], None]) -> None:
        self._add("host", function=function, layer=self._path(), line=user_line())

    def staged(self, xp: Any, values: Callable[[], Any]) -> Array:
        array = xp.asarray(values())
        made = (self._known("made", array),)
        self._add("stage", (), made, function=values, layer=self._path(), line=user_line())
        return array

    def computed(self, function: Callable[..., Any], arrays: tuple[Any, ...], result: Any) -> None:
        given = tuple(self._value(array) for array in arrays)
        made = () if result is None else (self._known("made", result),)
        self._add("compute", given, made, function=function, layer=self._path(), line=user_line())

    def made_here(self, array: Array) -> bool:
        known = self._values.get(id(array))
        return known is not None and known.kind == "made"

    def wrote(self, array: Array, where: Any, values: Any) -> None:
        self._add(
            "write", (self._value(array), self._value(values)), where=replaced(where, self._value), line=user_line()
        )

    def took(self, source: Any, array: Array) -> None:
        if id(source) in self._values:
            if array is not source:
                self.computed(methodcaller("astype", array.dtype), (source,), array)
        elif array.ndim:
            self.refuse(
                f"capture: the step takes NumPy or Python data of shape {array.shape}, and every replay would take the "
                "same again; make a tensor of it before the step, or give that as an argument"
            )
        else:
            self._known("constant", array)

    def updated(self, optimizer: Any, group: int, grads: dict[Any, Array]) -> None:
        inputs = tuple(self._value(grad) for grad in grads.values())
        for parameter in grads:
            self._value(parameter)
        self._add("update", inputs, optimizer=optimizer, group=group, parameters=tuple(grads), line=user_line())

    def refuse(self, message: str) -> None:
        line = user_line()
        found = f"{message}\n  at {line}" if line else message
        self.refused = self.refused or found
        if self.strict:
            raise CaptureError(found)

    # Values.

    def _value(self, given: Any) -> Any:
        """The value of a tensor or an array; anything else as it is."""
        tensor = given if isinstance(given, Tensor) else None
        array = given if tensor is None else tensor.array
        if not isinstance(array, np.ndarray | np.generic):
            return given
        known = self._values.get(id(array))
        if known is None:
            known = self._known("held", array, tensor)
            known.name = getattr(tensor, "path", "") or ""
        return known

    def _known(self, kind: Any, array: Any, tensor: Any = None) -> Value:
        """A new value, which this array stands for from now on."""
        base = id(base_of(array))
        memory = self._memories.setdefault(base, len(self._memories))
        kept = array if kind in ("held", "constant") else None
        value = Value(len(self._all), kind, array.shape, array.dtype, kept, tensor, memory)
        self._alive.append(array)
        self._values[id(array)] = value
        self._all.append(value)
        return value

    def _add(self, kind: Any, inputs: tuple[Any, ...] = (), outputs: tuple[Any, ...] = (), **rest: Any) -> Instruction:
        instruction = Instruction(kind, inputs, outputs, **rest)
        self._instructions.append(instruction)
        return instruction

    @staticmethod
    def _path() -> str:
        layer = context.get().layer
        return "" if layer is None else layer.path


def _in_order(kept: Any) -> Any:
    """The array of a gradient that is kept as replays write it: row by row, and no number of NumPy's."""
    return np.asarray(kept, order="C") if isinstance(kept, np.ndarray | np.generic) else kept


def _holds(leaf: Any, gradient: Value) -> bool:
    return leaf.grad is not None and leaf.grad.array is gradient.array
