"""From a recorded inference to an ONNX graph: the writer, which names tensors and counts nodes.

`rules.RULES` says which nodes an op becomes. A rule is given the writer and the op's operands, and calls the writer for
each node: `w("Conv", x, weight, strides=(1, 1))` writes one, and returns its output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tinyconv.engine.variants import op_name
from tinyconv.errors import OnnxError
from tinyconv.onnx.traced import Count, Sizes, Traced, place_of
from tinyconv.program.program import Instruction, Value

IR_VERSIONS = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10}
"""The opsets that are written, each with the oldest version of the format that has it."""


@dataclass(eq=False)
class Arg:
    """A tensor of the graph: its name there, dtype, and shape, which is None where only ONNX knows it."""

    name: str
    dtype: np.dtype[Any]
    shape: Sizes | None = None

    @property
    def sizes(self) -> Sizes:
        """The shape of an operand, which is always known."""
        assert self.shape is not None
        return self.shape

    def like(self, other: Arg) -> Arg:
        """The same, of the shape of another one."""
        return Arg(self.name, self.dtype, other.shape)


Rule = Callable[..., Any]


class Writer:
    """Writes the nodes of one graph."""

    def __init__(
        self,
        traced: Traced,
        names: Mapping[int, str],
        opset: int,
        ops: Mapping[Any, Rule],
        computed: Mapping[str, Rule],
    ) -> None:
        self.traced, self.opset, self.ops, self.computed = traced, opset, ops, computed
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.args: dict[int, Arg] = {}  # by the number of the value
        self.infos: dict[str, onnx.ValueInfoProto] = {}
        self.layer, self.out = "", ()
        self.outs: list[tuple[Sizes, np.dtype[Any]]] = []  # of the instruction that is being written
        self._names = names
        self._used: Counter[str] = Counter()
        self._constants: dict[Any, Arg] = {}
        self._batch: Arg | None = None
        self.batch_of: Arg | None = None  # the input whose first axis is the batch, unless it is the first
        self._results: set[str] = set()
        self._written: dict[int, int] = {}  # values that share what was written to -> the value it was written as

    # What rules call.

    def __call__(self, kind: str, *inputs: Any, outputs: int = 1, dtype: Any = None, **attributes: Any) -> Any:
        """Write a node; numbers among its inputs take the dtype of the first tensor there. Returns its output, or
        several; `dtype` is theirs, where it is not that of the first tensor."""
        first = next((x for x in inputs if isinstance(x, Arg)), None)
        like = np.dtype(np.float32) if first is None else first.dtype
        names = ["" if x is None else (x if isinstance(x, Arg) else self.constant(x, like)).name for x in inputs]
        while names and not names[-1]:
            names.pop()
        name = self.name(kind)
        made = [Arg(name if i == 0 else self.name(kind), np.dtype(dtype or like)) for i in range(outputs)]
        attributes = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(kind, names, [arg.name for arg in made], name=name, **attributes))
        return made[0] if outputs == 1 else made

    def name(self, kind: str) -> str:
        """A new name: `features.0/Conv`, and from the second on `features.0/Conv_1`."""
        whole = f"{self.layer}/{kind}" if self.layer else kind
        self._used[whole] += 1
        return whole if self._used[whole] == 1 else f"{whole}_{self._used[whole] - 1}"

    def constant(self, value: Any, dtype: Any) -> Arg:
        """A constant of the graph, written as a node: the initialisers are the model's state, and nothing else."""
        array = np.asarray(value, dtype)
        key = array.dtype, array.shape, array.tobytes()
        if key not in self._constants:
            layer, self.layer = self.layer, ""
            name, self.layer = self.name("Constant"), layer
            tensor = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
            self.nodes.append(helper.make_node("Constant", [], [name], name=name, value=tensor))
            self._constants[key] = Arg(name, array.dtype, array.shape)
        return self._constants[key]

    def integers(self, numbers: Sequence[int | Count]) -> Arg:
        """A vector of int64, of which those that depend on the batch are computed from it."""
        if not any(isinstance(n, Count) for n in numbers):
            return self.constant(list(numbers), np.int64)
        parts = []
        for n in numbers:
            part = self.constant([n], np.int64) if not isinstance(n, Count) else self.batch()
            if isinstance(n, Count):
                part = part if n.each == 1 else self("Mul", part, self.constant([n.each], np.int64))
                part = self("Add", part, self.constant([n.more], np.int64)) if n.more else part
            parts.append(part)
        return parts[0] if len(parts) == 1 else self("Concat", *parts, axis=0)

    def batch(self) -> Arg:
        """The size of the batch, a vector of one number."""
        if self._batch is None:
            layer, self.layer = self.layer, ""
            source = self.batch_of or self.args[self.traced.program.inputs[0].number]
            shape = self("Shape", source, dtype=np.int64)
            self._batch = self("Slice", shape, *(self.constant([n], np.int64) for n in (0, 1)))
            self.layer = layer
        return self._batch

    def reduce(self, kind: str, x: Arg, axes: Sequence[int], keepdims: bool = True) -> Arg:
        """A Reduce... node; over no axes, what it is given."""
        if not axes:
            return self("Identity", x)
        if self.opset < 18 and kind != "ReduceSum":
            return self(kind, x, axes=list(axes), keepdims=int(keepdims))
        return self(kind, x, self.constant(list(axes), np.int64), keepdims=int(keepdims))

    def reshape(self, x: Arg, sizes: Sequence[int | Count]) -> Arg:
        """A Reshape to these sizes: one that depends on the batch is what is left, -1."""
        free = [n for n in sizes if isinstance(n, Count)]
        if len(free) == 1 and 0 not in sizes:
            return self("Reshape", x, self.constant([-1 if isinstance(n, Count) else n for n in sizes], np.int64))
        return self("Reshape", x, self.integers(sizes), allowzero=1 if 0 in sizes else None)

    def cast(self, x: Arg, dtype: Any) -> Arg:
        """The same in another dtype."""
        dtype = np.dtype(dtype)
        if x.dtype == dtype:
            return x
        return self("Cast", x, dtype=dtype, to=helper.np_dtype_to_tensor_dtype(dtype))

    # The graph.

    def reserve(self, *names: str) -> None:
        """Leave these names to others."""
        self._used.update(names)

    def result(self, name: str, value: Value) -> onnx.ValueInfoProto:
        """Call the tensor of a value `name`, an output of the graph."""
        arg = self.argument(value)
        maker = next((node for node in self.nodes if arg.name in node.output), None)
        if maker is None or maker.op_type == "Constant" or arg.name in self._results:
            self.nodes.append(helper.make_node("Identity", [arg.name], [name], name=self.name("Identity")))
        else:
            for node in self.nodes:
                for names in (node.input, node.output):
                    names[:] = [name if one == arg.name else one for one in names]
            self.infos.pop(arg.name, None)
            arg.name = name
        self._results.add(name)
        return info(name, value.dtype, self.traced.shapes[value.number])

    def described(self) -> list[onnx.ValueInfoProto]:
        """The shapes that are known of what nodes make."""
        made = {name for node in self.nodes for name in node.output}
        return [found for name, found in self.infos.items() if name in made - self._results]

    def argument(self, value: Any) -> Any:
        """The tensor of the graph that an operand is; a number, or None, as it is."""
        if not isinstance(value, Value):
            return value
        found = self.args.get(self._written.get(value.number, value.number))
        return self._given(value) if found is None else found

    def _given(self, value: Value) -> Arg:
        """The tensor of a value that no instruction made."""
        if value.kind in ("made", "input"):
            raise OnnxError("export: an output of an op is used that has no ONNX form here: the places of maxima")
        shape = self.traced.shapes[value.number]
        name = self._names.get(id(value.array), "") if value.kind == "held" else ""
        if name:
            self.initializers.append(
                numpy_helper.from_array(np.ascontiguousarray(value.array).reshape(value.shape), name)
            )
            arg = Arg(name, value.dtype, value.shape)
        elif any(isinstance(n, Count) for n in shape):  # the same number everywhere
            fill = self.constant(value.array.reshape(-1)[0], value.dtype)
            arg = self("Expand", fill, self.integers(shape))
            arg.shape = shape
        else:
            arg = self.constant(value.array, value.dtype)
        self.args[value.number] = arg
        return arg

    def write(self) -> None:
        """Write the nodes of all instructions."""
        needed = self._needed()
        for one in self.traced.program.instructions:
            if one not in needed:
                continue
            self.layer = one.layer
            self.outs = [(self.traced.shapes[v.number], v.dtype) for v in one.outputs if v is not None]
            if one.kind == "write":
                self._overwrite(one)
                continue
            rule, name = self._rule(one)
            inputs = [self.argument(value) for value in one.inputs]
            try:
                made = rule(self, *inputs, **self._geometry(one))
            except OnnxError as error:
                raise OnnxError(f"export: {name}{place_of(one)}: {error}") from None
            made = made if isinstance(made, list | tuple) else [made]
            for value, arg in zip(one.outputs, made, strict=False):
                if value is not None and arg is not None:
                    self._keep(value, arg)

    def _needed(self) -> set[Instruction]:
        """The instructions that the results depend on."""
        program, found = self.traced.program, set[Instruction]()
        wanted = {value.memory for value in program.results}
        for one in reversed(program.instructions):
            made = one.inputs[:1] if one.kind == "write" else one.outputs or tuple(one.written())
            if any(value is not None and value.memory in wanted for value in made) or one.kind == "host":
                found.add(one)
                wanted |= {value.memory for value in one.read()}
        return found

    def _geometry(self, one: Instruction) -> dict[str, Any]:
        if one.kind == "compute":
            _, args, options = self.traced.functions[id(one)]
            return {"given": args, **options}
        return {
            key: _with(part, self.argument) if key == "index" else part
            for key, part in self.traced.geometry[id(one)].items()
        }

    def _rule(self, one: Instruction) -> tuple[Rule, str]:
        """What writes an instruction, and its name."""
        if one.kind == "forward":
            name, rule = op_name(one.op), self.ops.get(one.op)
        else:
            name = str(self.traced.functions[id(one)][0]) or one.kind
            rule = self.computed.get(name) if one.kind == "compute" and one.outputs else None
        if rule is None:
            what = (
                "takes new data from the host each time" if one.kind in ("host", "stage") else "has no ONNX form here"
            )
            raise OnnxError(f"export: {name} {what}{place_of(one)}; docs/onnx.md lists what is exported")
        return rule, name

    def _keep(self, value: Value, arg: Arg) -> None:
        shape = self.traced.shapes[value.number]
        arg = Arg(arg.name, arg.dtype, shape)
        if arg.dtype != value.dtype:
            arg = self.cast(arg, value.dtype)
            arg.shape = shape
        self.args[value.number] = arg
        self.infos[arg.name] = info(arg.name, value.dtype, shape)

    def _overwrite(self, one: Instruction) -> None:
        """A write into the whole of an array that an instruction made: from there on it is another tensor."""
        target, source = one.inputs
        same = [v for v in self.traced.program.values if v.memory == target.memory and v.number in self.args]
        views = any(v.shape != target.shape for v in same)
        if one.where is not Ellipsis or target.kind != "made" or views or not isinstance(source, Value):
            raise OnnxError(
                f"export: a write into a part of a tensor, or into one from outside{place_of(one)}: a graph writes "
                "nothing; make a new tensor, as in x = x + 1"
            )
        arg = self.argument(source)
        if arg.shape != self.traced.shapes[target.number]:
            arg = self("Expand", arg, self.integers(self.traced.shapes[target.number]))
        self._keep(target, arg)
        self._written |= {v.number: target.number for v in same}


def _with(nested: Any, function: Callable[[Any], Any]) -> Any:
    """An index with `function(value)` in the place of each array in it."""
    if isinstance(nested, tuple):
        return tuple(_with(part, function) for part in nested)
    return function(nested) if isinstance(nested, Value) else nested


def info(name: str, dtype: Any, shape: Sizes) -> onnx.ValueInfoProto:
    """What the file says of a tensor: its dtype and shape, with the batch by name."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, [str(n) if isinstance(n, Count) else n for n in shape])
