"""record: one step of a model, forward and backward, kept op by op: every array, and the source lines that ran."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from inspect import cleandoc, getsourcelines, signature, unwrap
from itertools import repeat
from operator import setitem
from textwrap import dedent
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tinyconv import functional as F
from tinyconv.arrays.backend import backend_of
from tinyconv.engine.context import Layer, context
from tinyconv.engine.nodes import OpNode
from tinyconv.engine.variants import READABLE, file_of, name_of, op_name, using
from tinyconv.engine.wide import Wide
from tinyconv.errors import GraphError, ShapeError, shortened
from tinyconv.inspect.field import IMAGE, Fields
from tinyconv.inspect.pictures import HostArray
from tinyconv.inspect.tracer import LayerObserver, fields_of
from tinyconv.nn import DataParallel, Module
from tinyconv.nn.stateless import functional_call
from tinyconv.tensor.creation import get_rng_state, set_rng_state, tensor
from tinyconv.tensor.gradients import grad
from tinyconv.tensor.tensor import Tensor

LIMIT = 64 << 20
"""The most bytes that the arrays of a recording may take: a page has to hold them, and nobody steps through more. LeNet
takes 0.5 MB for an image, ResNet-50 more than this for its weights alone."""


@dataclass(frozen=True, repr=False)
class Source:
    """The half of a pair that ran: `text` is lines `line`, `line + 1`, ... of `file`; `ran` are those that ran."""

    file: str  # "tinyconv/ops/conv.py"
    line: int
    text: str
    ran: tuple[int, ...]  # counted as the file's lines are


@dataclass(frozen=True, repr=False, eq=False)
class Operand:
    """An array that goes into an op or comes out of it, or the gradient of one.

    `argument` is what the op's own source calls it: "x", "weight", "y"; "dy", "dweight" for gradients. `name` says
    where it comes from: "x", "target", a parameter or a buffer ("conv1.weight"), "frame 3", or "constant"; for a
    gradient that leaves, what it is the gradient of. `frame` is the number of the frame that made it, else None.
    `array` is None for an argument that is a number (`value`) or left out, and for a gradient that nobody needs.
    """

    argument: str
    name: str = ""
    frame: int | None = None
    array: HostArray | None = None
    value: float | None = None
    ran: tuple[int, ...] = ()  # of a gradient: the lines that run where it alone is wanted


@dataclass(frozen=True, repr=False, eq=False)
class Frame:
    """One op, forwards or backwards.

    Forwards, `inputs` go in and `outputs` come out; the first of these has a gradient. Backwards, `inputs` holds one
    gradient, "dy", that of the output: summed up, where several frames (`parts`) sent one. `outputs` are the gradients
    that leave, one for each input of the op, in its order.
    """

    number: int  # its place in `Recording.frames`
    direction: str  # "forward" or "backward"
    partner: int | None  # the number of the same op's frame in the other direction
    op: Any
    pair: Any  # what ran: the op itself, unless a variant was chosen
    layer: str  # the path of the layer that ran the op: "conv1"; "" for the model itself, and outside of modules
    kind: str  # the class of that layer: "Conv2d"; "" outside of modules
    step: str  # what `summary` calls the step that the op is a part of: "relu#2"
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    geometry: dict[str, Any]
    source: Source | None  # None for code that Python does not run
    fields: Fields | None = None  # of an output cell on the image, forwards
    window: Fields | None = None  # of an output cell on the op's first input, forwards, where both are maps
    parts: tuple[int, ...] = ()  # the frames whose gradients meet in "dy"; the loss's own gradient, 1, has none
    twin: Frame | None = None  # backwards, the same op's forward frame

    @property
    def name(self) -> str:
        """The op's name: "conv2d"."""
        return op_name(self.op)

    @property
    def formula(self) -> str:
        """The docstring of the op: its formula, and that of its gradients."""
        return cleandoc(self.op.__doc__ or "")

    def __repr__(self) -> str:
        made = ", ".join(f"{o.argument} {o.array.shape}" for o in self.outputs if o.array is not None)
        at = f" in {self.layer}" if self.layer else ""
        return f"<{self.number} {self.direction} {self.name}{at}: {made}>"

    def _repr_html_(self) -> str:
        from tinyconv import notebook

        parts = [notebook.caption(f"{self.name}, {self.direction}", f"frame {self.number}", self.layer)]
        for way, operands in (("in", self.inputs), ("out", self.outputs)):
            for o in operands:
                if o.array is not None:
                    named = f"from {o.name}" if way == "in" and o.name else ""
                    body = notebook.shown_array(o.array)
                    parts += [notebook.caption(f"{way}: {o.argument}", named, str(o.array.shape)), body]
        if self.source is not None:
            parts.append(notebook.folded(f"{self.source.file}:{self.source.line}", notebook.text(self.source.text)))
        return notebook.page(*parts)


@dataclass(frozen=True, repr=False, eq=False)
class Recording:
    """What `record` returns: one step of a model, as `frames`.

        recording = tc.inspect.record(tc.models.lenet5(), tc.zeros(1, 28, 28), 7)
        recording.frames[0].outputs[0].array.shape  # (1, 6, 24, 24)

    The forward frames come first, in the order in which they ran, then the backward frames of the same ops. What the
    loss does not hang on, such as a batch norm's count of batches, is left out. All arrays are NumPy arrays of their
    own, and the same array is one object wherever it is used.
    """

    model: str  # the class of the model: "LeNet5"
    training: bool  # whether it ran in training mode
    image: HostArray  # the batch that went in, (N, C, H, W)
    target: HostArray | None
    output: HostArray
    loss: HostArray  # () or one number: what was walked back from
    frames: tuple[Frame, ...]
    gradients: dict[str, HostArray | None]  # of "x" and of every parameter; None where the loss does not depend on it

    @property
    def nbytes(self) -> int:
        """The bytes of all arrays, each counted once."""
        return sum(array.nbytes for array in self._arrays().values())

    def _arrays(self) -> dict[int, HostArray]:
        operands = (o.array for frame in self.frames for o in (*frame.inputs, *frame.outputs))
        own = (self.image, self.target, self.output, self.loss)
        return {id(array): array for array in (*own, *operands, *self.gradients.values()) if array is not None}

    def __repr__(self) -> str:
        forward = sum(frame.direction == "forward" for frame in self.frames)
        mode = "training" if self.training else "evaluation"
        return (
            f"<Recording of {self.model} on {self.image.shape} in {mode}: {forward} frames forward, "
            f"{len(self.frames) - forward} backward, loss {float(self.loss.sum()):.4g}, {self.nbytes / 1e3:,.0f} kB>"
        )

    def _repr_html_(self) -> str:
        from tinyconv import notebook

        rows = [
            [str(f.number), f.direction, f.name, f.step or f.layer]
            + [
                "; ".join(f"{o.argument} {o.array.shape}" for o in side if o.array is not None)
                for side in (f.inputs, f.outputs)
            ]
            for f in self.frames[: notebook.ROWS]
        ]
        more = len(self.frames) - len(rows)
        heads = ["frame", "direction", "op", "step", "in", "out"]
        parts = [notebook.table(heads, rows, words=len(heads)), notebook.text(f"and {more:,} more") if more else ""]
        return notebook.page(notebook.caption("Recording", repr(self)[len("<Recording ") : -1]), *parts)

    def to_dict(self) -> dict[str, Any]:
        """The recording in plain values, for JSON, but for `arrays`: a list of NumPy arrays, each of them once.

        Everywhere else an array is named by its place in that list, or is None. The keys:

        * `model`, `training`, `arrays`;
        * `image`, `target`, `output`, `loss`: places;
        * `gradients`: for "x" and each parameter's path a place;
        * `frames`: a list with, for each frame,
            * `number`, `direction` ("forward" or "backward"), `partner`, `op`, `pair` ("readable"), `layer`, `kind`,
              `step`, `formula`, `parts`, as in `Frame`;
            * `inputs` and `outputs`: lists of `argument`, `name`, `frame`, `array` (a place), `shape`, `dtype`, `value`
              and `ran`, as in `Operand`; `shape` and `dtype` are None where there is no array;
            * `geometry`: the keyword arguments of the op, in plain values;
            * `source`: `file`, `line`, `text`, `ran`, as in `Source`, or None;
            * `field`: for rows and for columns of a forward frame's output `size`, `jump` and `start` (see `Field`), or
              None: cell (i, j) sees the rows of the image from start + i * jump on, size of them;
            * `window`: the same for the rows and columns of the op's own first input.
        """
        known = self._arrays()
        places = {key: place for place, key in enumerate(known)}

        def place(array: HostArray | None) -> int | None:
            return None if array is None else places[id(array)]

        def operand(o: Operand) -> dict[str, Any]:
            shape, dtype = (None, None) if o.array is None else (list(o.array.shape), str(o.array.dtype))
            return {**vars(o), "array": place(o.array), "shape": shape, "dtype": dtype, "ran": list(o.ran)}

        def field(fields: Fields | None) -> list[dict[str, int]] | None:
            return None if fields is None else [axis._asdict() for axis in fields]

        as_they_are = ("number", "direction", "partner", "layer", "kind", "step", "formula")
        frames = [
            {name: getattr(frame, name) for name in as_they_are}
            | {
                "op": frame.name,
                "pair": name_of(frame.op, frame.pair),
                "parts": list(frame.parts),
                "inputs": [operand(o) for o in frame.inputs],
                "outputs": [operand(o) for o in frame.outputs],
                "geometry": {name: _plain(value) for name, value in frame.geometry.items()},
                "source": None if frame.source is None else {**vars(frame.source), "ran": list(frame.source.ran)},
                "field": field(frame.fields),
                "window": field(frame.window),
            }
            for frame in self.frames
        ]
        return {
            "model": self.model,
            "training": self.training,
            "image": place(self.image),
            "target": place(self.target),
            "output": place(self.output),
            "loss": place(self.loss),
            "gradients": {name: place(array) for name, array in self.gradients.items()},
            "frames": frames,
            "arrays": list(known.values()),
        }


def record(
    model: Module,
    x: Tensor | ArrayLike,
    target: Tensor | ArrayLike | None = None,
    *,
    loss: Callable[[Tensor, Any], Tensor] | None = None,
    training: bool | None = None,
) -> Recording:
    """Run a model on an image or a batch, then its loss, then backward, and keep every array on the way.

        recording = tc.inspect.record(tc.models.lenet5(), tc.zeros(1, 28, 28), 7)
        recording.gradients["conv1.weight"].shape  # (6, 1, 5, 5)

    The ops run as they are written in `tinyconv.ops`, and the image gets a gradient too. The model is left
    as it was: its parameters and their `.grad`, its buffers (running statistics), its mode, and the state of the
    generator of random numbers.

    Args:
        model: The model.
        x: One image (C, H, W), or a batch, as the model takes it.
        target: The class of each image, or what `loss` takes. Without it the largest score of each image is walked back
            from.
        loss: A function of the output and the target that returns one number, such as `F.mse_loss`; cross-entropy
            unless given.
        training: The mode to run in, True for training; the one that the model is in unless given.

    Raises GraphError for a model that holds a DataParallel, or whose output has no gradient; TypeError for what is no
    Module, and for a model that returns no Tensor; ShapeError where the loss is not one number, or the arrays take more
    than `LIMIT` bytes; and what the model and the loss raise.
    """
    if not isinstance(model, Module):
        raise TypeError(f"record: model must be a Module, got {type(model).__name__}")
    if any(isinstance(module, DataParallel) for module in model.modules()):
        raise GraphError("record: a DataParallel keeps a tape for each tile; record the module in it (model.module)")
    parameters = {name: p.detach().requires_grad_(p.requires_grad) for name, p in model.named_parameters()}
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    like = next(iter(parameters.values()), None)
    batch = x.detach() if isinstance(x, Tensor) else tensor(np.asarray(x))
    batch = (batch.float() if like is None else batch.to(like.device).to(like.dtype)).clone()
    batch = (batch.unsqueeze(0) if batch.ndim == 3 else batch).requires_grad_()
    wanted = target if target is None or isinstance(target, Tensor) else tensor(np.asarray(target))
    if wanted is not None:
        wanted = wanted.to(batch.device).reshape(1) if wanted.ndim == 0 else wanted.to(batch.device)
    recorder = _Recorder(
        model, batch, {"x": batch, **parameters, **buffers} | ({} if wanted is None else {"target": wanted})
    )
    modules, chance, now = [vars(module) for module in model.modules()], get_rng_state(), context.get()
    put_back = map(setitem, modules, repeat("training"), [module["training"] for module in modules])
    try:
        if training is not None:
            model.train(training)
        context.set(now.but(recording=True, observer=recorder, profiler=recorder, layer=None))
        with using(READABLE):
            output = functional_call(model, parameters | buffers, (batch,))
            number = _loss(output, wanted, loss)
            leaves = {"x": batch} | {name: p for name, p in parameters.items() if p.requires_grad}
            recorder.walking = True
            found = dict(zip(leaves, grad(number, list(leaves.values()), allow_unused=True), strict=True))
    finally:
        context.set(now)
        list(put_back)  # one call: a Ctrl-C comes before it or after
        set_rng_state(chance)
    return Recording(
        model=type(model).__name__,
        training=model.training if training is None else training,
        image=recorder.kept(batch),
        target=None if wanted is None else recorder.kept(wanted),
        output=recorder.kept(output),
        loss=recorder.kept(number),
        frames=tuple(recorder.frames(recorder.kept(number))),
        gradients={name: recorder.gradient(leaves.get(name), found.get(name)) for name in ("x", *parameters)},
    )


def _loss(output: Any, target: Tensor | None, loss: Callable[[Tensor, Any], Tensor] | None) -> Tensor:
    """What is walked back from: one number."""
    if not isinstance(output, Tensor):
        raise TypeError(f"record: the model must return a Tensor, got {type(output).__name__}; record a part of it?")
    if loss is not None:
        number = loss(output, target)
    elif target is not None:
        number = F.cross_entropy(output, target)
    else:
        number = (output.amax(tuple(range(1, output.ndim))) if output.ndim > 1 else output).sum()
    if not isinstance(number, Tensor) or number.numel() != 1:
        got = f"{number.shape}" if isinstance(number, Tensor) else type(number).__name__
        raise ShapeError(f'record: the loss must be a Tensor with one number, got {got}; reduction="mean"?')
    return number


class _Recorder(LayerObserver):
    """Is told of every op and layer, and of every pull of the walk; as a profiler it is asked for the pair to run."""

    def __init__(self, model: Module, x: Tensor, named: dict[str, Tensor]) -> None:
        super().__init__(model)
        self.begin(x, {id(t) for t in named.values()})
        self.walking = False
        self._made: list[_Made] = []
        self._pulled: list[_Pulled] = []
        self._steps: list[str] = []  # of the ops whose step is over
        self._known = 0  # how many steps there are
        self._copies: dict[tuple[int, int], HostArray] = {}  # for each array, and each write to it
        self._held: list[Any] = []  # the arrays, so that no id is given twice
        self._size = 0
        self._called: dict[int, str] = {}  # of copies
        for name, t in named.items():
            self._called.setdefault(id(self.kept(t)), name)

    # What `select`, `apply`, `Module` and the walk call.

    def timed(self, op: Any, pair: Any, *others: Any) -> _Watched:
        return _Watched(pair)

    def made(self, op: Any, pair: Any, inputs: Any, geometry: Any, outs: tuple[Tensor, ...]) -> None:
        given = tuple(self.kept(t) if isinstance(t, Tensor) else t for t in inputs)
        super().made(op, pair, inputs, geometry, outs)
        fields, window = self._fields.get(id(outs[0].array)), None
        if isinstance(inputs[0], Tensor) and inputs[0].ndim == outs[0].ndim == 4:
            window = fields_of({id(inputs[0].array): IMAGE}, op_name(op), inputs, geometry, outs[0])
        outputs, layer = tuple(map(self.kept, outs)), context.get().layer
        self._made.append(_Made(op, pair, layer, given, outputs, geometry, outs[0]._node, fields, window))
        self._name_steps()

    def left(self, layer: Layer, output: Any) -> None:
        super().left(layer, output)
        self._name_steps()

    def _name_steps(self) -> None:
        if len(self.outputs) > self._known:
            self._known = len(self.outputs)
            self._steps += [self.steps[-1].name] * (len(self._made) - len(self._steps))

    def pulled(self, node: OpNode, pair: Any, grad: Any, grads: Any) -> None:
        if self.walking:
            sent = zip(node.parents, grads, strict=True)
            copies = [None if parent is None or g is None else self._kept(g) for parent, g in sent]
            self._pulled.append(_Pulled(node, self._kept(grad), copies))

    # What it keeps.

    def gradient(self, leaf: Tensor | None, found: Tensor | None) -> HostArray | None:
        """The gradient that the walk found for a leaf: the one that an op sent, where no other op sent one too."""
        sent = [
            copy
            for pulled in self._pulled
            for parent, copy in zip(pulled.node.parents, pulled.grads, strict=True)
            if leaf is not None and parent is leaf._node and copy is not None
        ]
        return sent[0] if len(sent) == 1 else None if found is None else self.kept(found)

    def kept(self, t: Tensor) -> HostArray:
        """A copy of the tensor's values as they are now: the same one each time, until it is written to."""
        return self._kept(t.array, t._storage.written)

    def _kept(self, array: Any, written: int = -1) -> HostArray:
        key = id(array), written
        if key not in self._copies:
            self._size += array.nbytes
            if self._size > LIMIT:
                raise ShapeError(
                    f"record: the arrays of this step take more than {LIMIT >> 20} MiB; record one image, as in "
                    "x[:1], or a smaller model"
                )
            self._copies[key] = np.array(backend_of(array).to_numpy(array), order="C")
            self._held.append(array)
        return self._copies[key]

    def frames(self, loss: HostArray) -> Iterator[Frame]:
        """The frames of all ops that the loss hangs on, in their order."""
        needed, nodes, used = {id(loss)}, {id(pulled.node) for pulled in self._pulled}, []
        for i, made in reversed(list(enumerate(self._made))):
            if id(made.node) in nodes or any(id(copy) in needed for copy in made.outputs):
                needed.update(map(id, made.given))
                used.append(i)
        makers: dict[int, int] = {}  # for each copy the number of the frame that made it
        numbers: dict[int, int] = {}  # and for each node
        for number, i in enumerate(reversed(used)):
            makers |= {id(copy): number for copy in self._made[i].outputs if id(copy) not in self._called}
            numbers[id(self._made[i].node)] = number
        walked = [pulled for pulled in self._pulled if id(pulled.node) in numbers]
        partners = {numbers[id(pulled.node)]: len(used) + i for i, pulled in enumerate(walked)}

        def operand(argument: str, given: Any) -> Operand:
            if not isinstance(given, np.ndarray):
                return Operand(argument, "constant", value=None if given is None else float(given))
            number = makers.get(id(given))
            name = self._called.get(id(given), "constant") if number is None else f"frame {number}"
            return Operand(argument, name, number, given)

        forward, ran = [], []
        for number, i in enumerate(reversed(used)):
            made = self._made[i]
            watched: _Watched = made.pair.pair if isinstance(made.pair, Wide) else made.pair
            frame = Frame(
                number=number,
                direction="forward",
                partner=partners.get(number),
                op=made.op,
                pair=Wide(watched.pair) if isinstance(made.pair, Wide) else watched.pair,
                layer="" if made.layer is None else self._path(made.layer),
                kind="" if made.layer is None else type(made.layer.module).__name__,
                step=self._steps[i] if i < len(self._steps) else "",
                inputs=tuple(map(operand, _arguments(made.op, len(made.given)), made.given)),
                outputs=tuple(operand(f"y[{k}]" if k else "y", copy) for k, copy in enumerate(made.outputs)),
                geometry=made.geometry,
                source=source_of(watched.pair.forward, watched.ran["forward"]),
                fields=made.fields,
                window=made.window,
            )
            forward.append(frame)
            ran.append(watched)
            yield frame
        senders: dict[int, list[int]] = {}  # for each forward frame the backward frames that send it a gradient
        for number, pulled in enumerate(walked, start=len(forward)):
            at = numbers[id(pulled.node)]
            twin, watched, parts = forward[at], ran[at], tuple(senders.get(at, ()))
            for parent, copy in zip(pulled.node.parents, pulled.grads, strict=True):
                if copy is not None and id(parent) in numbers:
                    senders.setdefault(numbers[id(parent)], []).append(number)
            name = " + ".join(f"frame {part}" for part in parts) or "loss"
            yield replace(
                twin,
                number=number,
                direction="backward",
                partner=at,
                inputs=(Operand("dy", name, parts[0] if len(parts) == 1 else None, pulled.grad),),
                outputs=tuple(
                    Operand(f"d{of.argument}", of.name, number, copy, ran=watched.ran_for.get(i, ()))
                    for i, (of, copy) in enumerate(zip(twin.inputs, pulled.grads, strict=True))
                ),
                source=source_of(watched.pair.backward, watched.ran["backward"]),
                fields=None,
                window=None,
                parts=parts,
                twin=twin,
            )


class _Made(NamedTuple):
    """An op that ran."""

    op: Any
    pair: Any
    layer: Layer | None
    given: tuple[Any, ...]  # copies, numbers and None
    outputs: tuple[HostArray, ...]
    geometry: dict[str, Any]
    node: Any
    fields: Fields | None
    window: Fields | None


class _Pulled(NamedTuple):
    """A node that the walk came to."""

    node: OpNode
    grad: HostArray
    grads: list[HostArray | None]


class _Watched:
    """A pair that notes which of its lines run: it runs in the place of the pair."""

    def __init__(self, pair: Any) -> None:
        self.pair = self.__wrapped__ = pair  # who asks which pair ran looks there (`inspect.unwrap`)
        self.returns_fresh = getattr(pair, "returns_fresh", False)
        self.ran: dict[str, tuple[int, ...]] = {}
        self.ran_for: dict[int, tuple[int, ...]] = {}  # for the gradient of each input, where it alone is wanted

    def forward(self, xp: Any, *arrays: Any, **geometry: Any) -> Any:
        made, self.ran["forward"] = with_lines(self.pair.forward, xp, *arrays, **geometry)
        return made

    def backward(self, xp: Any, saved: Any, dy: Any, needs: tuple[bool, ...], **geometry: Any) -> Any:
        grads, ran = with_lines(self.pair.backward, xp, saved, dy, needs, **geometry)
        self.ran["backward"] = ran
        several = sum(needs) > 1
        for i in range(len(needs)):
            if needs[i]:
                alone = tuple(i == k for k in range(len(needs)))
                self.ran_for[i] = (
                    with_lines(self.pair.backward, xp, saved, dy, alone, **geometry)[1] if several else ran
                )
        return grads


def with_lines(half: Any, *args: Any, **geometry: Any) -> tuple[Any, tuple[int, ...]]:
    """What a half of a pair returns, and the numbers of its own lines that ran."""
    code, lines = getattr(unwrap(half), "__code__", None), set[int]()
    if code is None:  # compiled
        return half(*args, **geometry), ()
    last = max(line for *_, line in code.co_lines() if line is not None)

    def line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            lines.add(frame.f_lineno)
        return line

    def call(frame: FrameType, event: str, _: Any) -> Any:
        own, first = frame.f_code.co_filename == code.co_filename, frame.f_code.co_firstlineno
        return line if own and code.co_firstlineno <= first <= last else None  # the half, or a comprehension in it

    before = sys.gettrace()
    sys.settrace(call)
    try:
        made = half(*args, **geometry)
    finally:
        sys.settrace(before)
    return made, tuple(sorted(lines))


def source_of(half: Any, ran: tuple[int, ...]) -> Source | None:
    """The source of a half of a pair, with these lines as those that ran; None for code that Python does not run."""
    code = getattr(unwrap(half), "__code__", None)
    found = None if code is None else _text(code)
    return None if found is None else Source(*found, ran)


@cache
def _text(code: CodeType) -> tuple[str, int, str] | None:
    """The file of a function, the number of its first line, and its lines; None where there is no file."""
    try:
        lines, first = getsourcelines(code)
    except OSError:
        return None
    return file_of(code), first, dedent("".join(lines))


@cache
def _arguments(op: Any, count: int) -> tuple[str, ...]:
    """What the forward of an op calls its arrays."""
    names: list[str] = []
    for parameter in list(signature(op.forward).parameters.values())[1:]:
        if parameter.kind == parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{i}]" for i in range(count - len(names))]
        elif parameter.kind == parameter.POSITIONAL_OR_KEYWORD:
            names.append(parameter.name)
    return tuple(names[:count])


def _plain(value: Any) -> Any:
    """A keyword argument in values that JSON has; what it has not, as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, slice):
        return ":".join("" if part is None else str(part) for part in (value.start, value.stop, value.step))
    return "..." if value is ... else shortened(value)
