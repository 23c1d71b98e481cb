"""ONNX files read as modules: the graph is run node by node, and its initialisers are the module's state."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, inliner, numpy_helper, version_converter

from tinyconv.errors import CallError, DtypeError, ModuleError, OnnxError, ShapeError, TinyconvError, listed, printable
from tinyconv.nn import Module, Parameter
from tinyconv.onnx.nodes import DTYPES, NODES, Function
from tinyconv.tensor.tensor import Tensor, wrap

OLDEST = 13
"""The opset below which graphs are converted: the table has the operators as they are from there on."""

STATISTICS = {"BatchNormalization": (3, 4)}
OPTIONS = {
    "Clip": (1, 2), "Dropout": (1, 2), "Pad": (1, 2, 3), "Reshape": (1,), "Expand": (1,), "Slice": (1, 2, 3, 4),
    "Resize": (1, 2, 3),
}  # fmt: skip
"""Inputs that are no weights: running statistics, and numbers that say what is to be done."""


class GraphNode:
    """A node of a graph: its name, operator, attributes, and the names of what it takes and makes."""

    def __init__(self, proto: onnx.NodeProto, number: int) -> None:
        self.op, self.name = proto.op_type, proto.name or f"{proto.op_type}_{number}"
        self.attributes = {one.name: attribute(one) for one in proto.attribute}
        self.inputs, self.outputs = list(proto.input), list(proto.output)
        while self.outputs and not self.outputs[-1]:
            self.outputs.pop()
        self.training: bool | None = None
        self.done: list[str] = []  # what no later node takes

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or the default where the node has none."""
        return self.attributes.get(name, default)

    def __str__(self) -> str:
        """`node 'conv1/Conv' (Conv)`."""
        return f"node {printable(self.name, 120)!r} ({printable(self.op, 60)})"


def attribute(one: onnx.AttributeProto) -> Any:
    """The value of an attribute. A number that was rounded to float32 is the shortest decimal that rounds so."""
    value = helper.get_attribute_value(one)
    if isinstance(value, bytes):
        return value.decode()
    if one.type == onnx.AttributeProto.FLOAT:
        return float(str(np.float32(value)))
    if one.type == onnx.AttributeProto.TENSOR:
        return numpy_helper.to_array(value)
    return list(value) if one.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS) else value


class Graph(Module):
    """A module that runs an ONNX graph; `load` makes it.

    Its parameters are the graph's initialisers of floating point, under their names, a dot in a name being a child:
    what is called `features.0.weight` in the file is so in `state_dict()`. Running statistics, numbers that say what a
    node does and integers are buffers. The module begins in evaluation mode, unless a node says that it was written to
    train. In training mode BatchNormalization uses the statistics of the batch and moves the running ones by its
    momentum, and Dropout drops; in evaluation mode they do not: both as layers of `tinyconv.nn`.

    Attributes:
        metadata: What the file says of itself: a dict of strings.
        inputs, outputs: The names of what the graph takes and gives.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        graph = model.graph
        self.metadata = {one.key: one.value for one in model.metadata_props}
        self.nodes = [GraphNode(node, i) for i, node in enumerate(graph.node) if node.op_type != "Constant"]
        self._functions: list[Function] = [_function(node, graph.node) for node in self.nodes]
        state = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self._declared = {one.name: one.type.tensor_type for one in graph.input if one.name not in state}
        self.inputs, self.outputs = list(self._declared), [one.name for one in graph.output]
        self._places: dict[str, tuple[Module, str]] = {}  # of tensors that the module holds, by name in the graph
        fixed = {name for node in self.nodes for name in _no_weights(node)}
        for name, array in state.items():
            weight = array.dtype.kind == "f" and name not in fixed
            self._hold(name, array, "parameter" if weight else "buffer")
        for i, node in enumerate(graph.node):
            if node.op_type == "Constant":
                self.register_buffer(f"constant_{i}", wrap(_constant(node, i)), persistent=False)
                self._places[node.output[0]] = self, f"constant_{i}"
        self._plan()
        self.train(any(map(self._trains, self.nodes)))

    def _trains(self, node: GraphNode) -> bool:
        """Whether a node says that it was written to train."""
        if node.op == "Dropout" and len(node.inputs) > 2 and node.inputs[2] in self._places:
            return bool(self._value(node.inputs[2], {}).array.all())
        return node.op == "BatchNormalization" and bool(node.get("training_mode", 0))

    def _hold(self, name: str, array: Any, what: str) -> None:
        """Register a tensor under its name."""
        if array.dtype.type not in DTYPES.values():
            raise OnnxError(f"load: initialiser {printable(name, 120)!r} is {array.dtype}, which no tensor here has")
        *path, last = name.split(".")
        owner: Module = self
        try:
            for part in path:
                if part not in owner._modules:
                    owner.add_module(part, Module())
                owner = owner.get_submodule(part)
            tensor = wrap(np.array(array))
            if what == "parameter":
                owner.register_parameter(last, Parameter(tensor))
            else:
                owner.register_buffer(last, tensor)
        except (ModuleError, AttributeError) as error:
            raise OnnxError(f"load: no tensor of a module can be called {printable(name, 120)!r}: {error}") from None
        self._places[name] = owner, last

    def _plan(self) -> None:
        """Note for each node what no later one takes, and refuse a node that takes what nobody made."""
        known = {*self.inputs, *self._places}
        for node in self.nodes:
            if missing := [name for name in node.inputs if name and name not in known]:
                raise OnnxError(f"load: {node} takes {printable(missing[0], 120)!r}, which nothing before it makes")
            known |= set(node.outputs)
        if missing := [name for name in self.outputs if name not in known]:
            raise OnnxError(f"load: nothing makes the output {printable(missing[0], 120)!r}")
        kept = {*self.outputs, *self._places}
        for node in reversed(self.nodes):
            node.done = [name for name in {*node.inputs, *node.outputs} if name and name not in kept]
            kept |= set(node.done)

    def forward(self, *inputs: Tensor) -> Any:
        """The outputs of the graph for its inputs: a tensor, or a tuple where there are several.

        Raises CallError, ShapeError and DtypeError for inputs that are not as the file says.
        """
        values: dict[str, Tensor] = dict(zip(self.inputs, self._checked(inputs), strict=True))
        for node, function in zip(self.nodes, self._functions, strict=True):
            node.training = self.training
            given = [self._value(name, values) if name else None for name in node.inputs]
            try:
                made = function(node, *given)
            except TinyconvError as error:
                error.add_note(f"  in {node}")
                raise
            made = made if isinstance(made, tuple | list) else (made,)
            values.update(zip(node.outputs, made, strict=False))
            for name in node.done:
                values.pop(name, None)
        found = tuple(self._value(name, values) for name in self.outputs)
        return found[0] if len(found) == 1 else found

    def _value(self, name: str, values: Mapping[str, Tensor]) -> Tensor:
        if name in values:
            return values[name]
        owner, own = self._places[name]
        found: Tensor = getattr(owner, own)
        return found

    def _checked(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if len(inputs) != len(self.inputs):
            raise CallError(f"the graph takes {listed(self.inputs)}: {len(self.inputs)} tensors, got {len(inputs)}")
        for (name, kind), x in zip(self._declared.items(), inputs, strict=True):
            if not isinstance(x, Tensor):
                raise DtypeError(f"{name} must be a Tensor, got {type(x).__name__}")
            dims = [one.dim_value if one.HasField("dim_value") else one.dim_param or "?" for one in kind.shape.dim]
            fits = len(dims) == x.ndim
            fits = fits and all(not isinstance(n, int) or n == m for n, m in zip(dims, x.shape, strict=False))
            if kind.HasField("shape") and not fits:
                raise ShapeError(f"{name} must be ({', '.join(map(str, dims))}), got {x.shape}")
            wanted = np.dtype(DTYPES.get(kind.elem_type, x.dtype))
            if x.dtype != wanted and (wanted.kind != "f" or x.dtype.kind != "f"):  # the module may have been converted
                hint = ": pixels, 0 to 255" if wanted == np.uint8 else ""
                raise DtypeError(f"{name} must be {wanted}{hint}, got {x.dtype}")
        return inputs

    def extra_repr(self) -> str:
        """What it takes and gives, and how many nodes are between."""
        return f"{', '.join(self.inputs)} -> {', '.join(self.outputs)}, {len(self.nodes)} nodes"


def _function(node: GraphNode, every: Any) -> Function:
    """What runs a node. OnnxError where nothing does."""
    found = NODES.get(node.op)
    if found is None:
        raise OnnxError(f"load: {node}: this operator is not covered; docs/onnx.md lists those that are")
    return found


def _no_weights(node: GraphNode) -> Iterator[str]:
    places = STATISTICS.get(node.op, ()) + OPTIONS.get(node.op, ())
    yield from (node.inputs[i] for i in places if i < len(node.inputs))


def _constant(node: onnx.NodeProto, number: int) -> Any:
    """The array of a Constant node."""
    (one,) = node.attribute
    value = helper.get_attribute_value(one)
    if one.name == "value":
        return np.array(numpy_helper.to_array(value))
    if one.name in ("value_float", "value_floats"):
        return np.array(value, np.float32)
    if one.name in ("value_int", "value_ints"):
        return np.array(value, np.int64)
    raise OnnxError(f"load: {GraphNode(node, number)}: a constant given as {one.name} is not covered")


def load(path: str | os.PathLike[str]) -> Graph:
    """Read an ONNX file as a module, which can be trained on.

        model = tc.onnx.load("lenet5.onnx")
        scores = model(images)

    Nothing in a file is executed. Data beside the file (`.onnx.data`) is read too. Functions that the file defines are
    written out, and graphs of opsets below 13 are converted by onnx. `docs/onnx.md` lists the operators.

    Args:
        path: The file.

    Returns a `Graph`. Raises OnnxError where there is no such file, where it is damaged, or where
    it has an operator that is not covered; the message names the node.
    """
    path = Path(path)
    if not path.is_file():
        raise OnnxError(f"load: there is no file {path}")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, OSError, ValueError, RuntimeError) as error:
        raise OnnxError(f"load: {path} is damaged, or no ONNX file: {printable(str(error))}") from error
    except Exception as error:  # protobuf's own, which has no base that is public
        if type(error).__name__ != "DecodeError":
            raise
        raise OnnxError(f"load: {path} is damaged, or no ONNX file: {printable(str(error))}") from error
    if model.functions:
        model = inliner.inline_local_functions(model)
    opset = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=OLDEST)
    if opset < OLDEST:
        try:
            model = version_converter.convert_version(model, OLDEST)
        except RuntimeError as error:
            raise OnnxError(
                f"load: {path} is of opset {opset}, and onnx cannot convert it: {printable(str(error))}"
            ) from error
    strange = [n for n in model.graph.node if n.domain not in ("", "ai.onnx")]
    if strange:
        node = GraphNode(strange[0], 0)
        raise OnnxError(f"load: {node} is an operator of {printable(strange[0].domain, 60)!r}, which is not covered")
    return Graph(model)
