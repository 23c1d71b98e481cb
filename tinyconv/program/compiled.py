"""The compiled executor: a program as code for the engine in C, where each instruction has a kernel.

An instruction that has none runs in NumPy, on the whole batch; what comes before and after it is code of its own. A
value then lies where it is asked for: in tiles, as kernels want it, or in an array, as NumPy does.

`KERNELS` names the ops that have kernels. Each entry says whether it takes an instruction (`fits`: the reason if not),
and writes the calls of its forward and its backward.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.distributed.communicator import Solo, current
from tinyconv.engine import kernels
from tinyconv.engine.context import quietly
from tinyconv.engine.tree import TILE, tiles
from tinyconv.host.threads import blas_alone, free_threads
from tinyconv.ops.conv import maps_of
from tinyconv.program.code import Buffer, Call, Code, Later, Memory, Operand, Record, Stretch
from tinyconv.program.entries import ENTRIES, FLOAT, NO_WAY, Kernels, Winograd, added, elements, layout, made_by, moved
from tinyconv.program.fuse import stand_in
from tinyconv.program.memory import Used
from tinyconv.program.program import Instruction, Program, Value
from tinyconv.program.run import Making
from tinyconv.program.tiles import schedule
from tinyconv.program.updates import UPDATES, Update
from tinyconv.shapes import product

LABEL = np.dtype(np.int64)


def compiled(program: Program) -> CompiledRun | None:
    """The program ready to run in C; None where compiled kernels cannot be had, or none of its ops has one."""
    library = kernels.for_programs().library
    if library is None:
        return None
    run = CompiledRun(program, library)
    return run if any(isinstance(piece, _Piece) for piece in run.pieces) else None


class CompiledRun:
    """A program that is ready to run: `run(arrays)` gives the arrays of its results, for those of its inputs.

    `pieces` run one after another: code for the engine, and functions of NumPy's executor.
    """

    executor = "compiled"

    def __init__(self, program: Program, library: Any) -> None:
        self.program = program
        lowering = Lowering(program, library)
        self.pieces, self.slots, self.without = lowering.pieces, lowering.making.slots, lowering.without
        self.kernels = lowering.kernels

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        for value, array in zip(self.program.inputs, inputs, strict=True):
            self.slots[value.number] = array
        # What NumPy does in between must not depend on the number of BLAS's threads.
        quietly(blas_alone, self._run) if self.without else quietly(self._run)
        return [self.slots[value.number] for value in self.program.results]

    def _run(self) -> None:
        for piece in self.pieces:
            piece(self.slots)

    @property
    def by_tile(self) -> set[Instruction]:
        """The instructions that run for one tile after another."""
        return {i for i in self.kernels if i.kind in ("forward", "backward") and (i.of or i) not in self.without}

    def kernel(self, instruction: Instruction) -> str:
        """The name of the kernel in C that runs an instruction; "" where none does."""
        return self.kernels[instruction]

    def used(self) -> Used | None:
        """The memory that is kept; None before the first replay has placed it."""
        codes = [piece.code for piece in self.pieces if isinstance(piece, _Piece)]
        if not all(code.threads for code in codes):
            return None
        inside = [(b.bytes(code.lanes), code.threads) for code in codes for b in code.buffers() if b.everywhere is None]
        outside = [array for code in codes for array in code.for_all_tiles()]
        outside += [records for code in codes for records in code.records.values()]
        made = (self.slots[value.number] for value in self.program.values if value.kind == "made")
        outside += [array for array in made if isinstance(array, np.ndarray)]
        return Used(
            blocks=sum(code.threads for code in codes),
            shared=sum(code.scratch.nbytes for code in codes),
            arrays=len(inside),
            apart=sum(size * threads for size, threads in inside),
            whole=sum({id(array): array.nbytes for array in outside}.values()),
        )


class _Piece:
    """Code, with the updates in it, and the checks of what it stops at."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.updates: list[Update] = []
        self.checks: list[Callable[[Any], None]] = []

    def __call__(self, slots: Any) -> None:
        code, threads = self.code, free_threads()
        if threads != code.threads:
            code.place(threads)
        for update in self.updates:
            update.write()
        code.run(slots)
        if code.bad[0]:
            code.bad[0] = 0
            for check in self.checks:
                check(slots)
        for update in self.updates:
            update.done()


class Lowering:
    """A program on its way to code. What an entry of KERNELS writes with: `tile`, `whole`, `before`, `lanes`, ..."""

    def __init__(self, program: Program, library: Any) -> None:
        self.program, self.library = program, library
        self.ranks = current() if program.shared else Solo()
        self.making = Making(program)
        self.pieces: list[Callable[[Any], None]] = []
        self.open: Code | None = None  # the code of the last piece, if that may go on
        self.in_tiles: dict[Value, Buffer] = {}
        self.made_by_tiles: set[Value] = set()
        self.in_arrays: dict[Value, Any] = {}  # arrays that stay the same: of the program, or made by code
        self.sums: list[tuple[Record, Any]] = []  # what tiles give, and where its sum goes; not yet added up
        self.saved: dict[Instruction, Any] = {}  # what the entry of a forward keeps for that of its backward
        self.without: dict[Instruction, str] = {}  # why an instruction runs in NumPy
        self.kernels: dict[Instruction, str] = {}  # the last that each calls, which does its work
        self.kernel = ""
        for value in program.values:
            if value.array is not None:
                self.in_arrays[value] = value.array
        plan = schedule(program)
        self.batch, self.by_tile, self.tiles = plan.batch, plan.by_tile, len(tiles(plan.batch))
        order = [i for stage in plan.stages for i in stage.instructions]
        self.backwards: dict[Instruction, list[Instruction]] = defaultdict(list)
        for instruction in order:
            if instruction.of is not None:
                self.backwards[instruction.of].append(instruction)
        self.asked = set(program.results).union(v for i in order for v in i.read())
        self.entries = FEW_IMAGES if _few(order, self.batch) else KERNELS
        for instruction in order:
            self.kernel = ""
            self._lower(instruction)
            self.kernels[instruction] = self.kernel
            for output in instruction.outputs:
                if output in self.made_by_tiles and (output in program.results or output.kind == "held"):
                    self._give(output)
        self._close()

    def _lower(self, instruction: Instruction) -> None:
        kind, forward = instruction.kind, instruction.of or instruction
        if kind == "forward":
            reason = self._reason(instruction)
            if reason:
                self.without[instruction] = reason
        if kind in ("forward", "backward") and forward not in self.without:
            entry = self.entries[forward.op]
            entry.forward(self, instruction) if kind == "forward" else entry.backward(self, instruction)
        elif self._by_update(instruction) or self._by_copies(instruction) or moved(self, instruction):
            return
        elif kind in ("host", "stage"):  # asks for nothing that code makes
            self._before_code(self.making.function(instruction))
        else:
            self._in_numpy(instruction)

    def _reason(self, forward: Instruction) -> str:
        """Why a forward, and with it its backward, runs in NumPy; empty if it has kernels."""
        entry = self.entries.get(forward.op)
        if entry is None:
            return "no kernel"
        if forward not in self.by_tile and not (entry.meets and forward.inputs[0].shape[0] == self.batch):
            return "needs all images at once"
        backs = self.backwards[forward]
        if len(backs) > 1:
            return "backward walks through it more than once"
        dtypes = [FLOAT, entry.second, *[FLOAT] * len(forward.inputs[2:])]
        if any(isinstance(v, Value) and v.dtype != d for v, d in zip(forward.inputs, dtypes, strict=False)):
            return "not float32"
        if not entry.further and any(v is not None and v in self.asked for v in forward.outputs[1:]):
            return "all its outputs are used"
        return entry.fits(forward)

    # Code, and what is not.

    def _code(self) -> Code:
        if self.open is None:
            self.open = Code(self.batch, self.library, self.ranks)
            self.pieces.append(_Piece(self.open))
        return self.open

    def _before_code(self, function: Callable[[Any], None]) -> None:
        """A function of the host alone: before the open code, after all such functions so far."""
        self.pieces.insert(len(self.pieces) - (self.open is not None), function)

    def _close(self) -> None:
        """End the open code."""
        if self.sums:
            self._add_sums(self._code().begin(tiled=False))
        self.open = None

    def _in_numpy(self, instruction: Instruction) -> None:
        for value in instruction.read():
            self.pointer(value)
        self._close()
        self.kernel = ""
        self.pieces.append(self.making.function(instruction))

    def _by_copies(self, instruction: Instruction) -> bool:
        """Gradients that are kept or added, as copies; whether that can be."""
        if instruction.kind not in ("keep", "sum"):
            return False
        (to,) = instruction.outputs
        assert to is not None
        if instruction.kind == "sum" and all(v in self.made_by_tiles for v in instruction.inputs):
            added(self, instruction)
            return True
        if any(v.dtype != FLOAT or v in self.made_by_tiles for v in (*instruction.inputs, to)):
            return False
        adds = [not instruction.first] if instruction.kind == "keep" else [False, True]
        goal = Memory(self.array_of(to))
        for source, add in zip(instruction.inputs, adds, strict=True):
            self.whole("copy", (goal, self.pointer(source)), (product(to.shape), add))
        return True

    def _by_update(self, instruction: Instruction) -> bool:
        """An optimiser's update, by its kernel; whether there is one that takes it."""
        update_of = UPDATES.get(instruction.optimizer.kernel) if instruction.kind == "update" else None
        if update_of is None or not update_of.fits(instruction):
            return False
        grads = [self.pointer(grad) for grad in instruction.inputs]
        update = update_of(instruction, grads, self._code(), self.whole)
        self._before_code(update.read)
        piece = self.pieces[-1]
        assert isinstance(piece, _Piece)
        piece.updates.append(update)
        return True

    # For the entries of KERNELS.

    def tile(self, kernel: str, at: Sequence[Operand], size: Sequence[int], number: Sequence[float] = (),
             outputs: int = 1) -> None:  # fmt: skip
        """Call a kernel for each tile; the first `outputs` operands are what it makes."""
        code, self.kernel = self._code(), kernel
        code.add(Call(kernel, at, size, number, outputs), code.begin(tiled=True))

    def whole(self, kernel: str, at: Sequence[Operand], size: Sequence[int], number: Sequence[float] = (),
              anew: bool = False) -> Call:  # fmt: skip
        """Call a kernel once, after the tiles so far; `anew`, when all parts of the calls so far are done."""
        code, self.kernel = self._code(), kernel
        stretch = code.begin(tiled=False, anew=anew)
        self._add_sums(stretch)
        return code.add(Call(kernel, at, size, number), stretch)

    def before(self, kernel: str, at: Sequence[Operand], size: Sequence[int], number: Sequence[float] = ()) -> None:
        """Call a kernel once, before the tiles that are open or begin here."""
        code = self._code()
        code.begin(tiled=True)
        code.add(Call(kernel, at, size, number), code.stretches[-2])

    def lanes(self, value: Value) -> Buffer:
        """A value in tiles."""
        if value not in self.in_tiles:
            source = self.pointer(value, cut=True)
            self.in_tiles[value] = buffer = Buffer(elements(value))
            self.tile("take_images", (buffer, source), layout(value))
        return self.in_tiles[value]

    def made(self, value: Value) -> Buffer:
        """Where a kernel makes a value in tiles."""
        self.made_by_tiles.add(value)
        self.in_tiles[value] = buffer = Buffer(elements(value))
        return buffer

    def pointer(self, value: Any, cut: bool = False) -> Memory | None:
        """A value as an array, for kernels that take addresses; `cut`, the part of the tile."""
        if value is None:
            return None
        step = product(value.shape[1:]) * value.dtype.itemsize * TILE if cut else 0
        if value in self.made_by_tiles and value not in self.in_arrays:
            self._give(value)
        if any(array is self.in_arrays.get(value) for _, array in self.sums):
            self._add_sums(self._code().begin(tiled=False))
        array = self.in_arrays.get(value)
        return Memory(value if array is None or not array.flags.c_contiguous else array, step)

    def array_of(self, value: Value) -> Any:
        """The array that code writes a value into: its own, or a new one."""
        if value not in self.in_arrays:
            self.in_arrays[value] = self.making.slots[value.number] = np.empty(value.shape, value.dtype)
        return self.in_arrays[value]

    def summed(self, of: Any) -> Record | None:
        """Room in the record of each tile for what a kernel gives to a sum over the tiles: a value, or an array."""
        if of is None:
            return None
        code = self._code()
        record = code.record(product(of.shape), code.begin(tiled=True))
        self.sums.append((record, self.array_of(of) if isinstance(of, Value) else of))
        return record

    def bad(self, forward: Instruction) -> Memory:
        """Where a kernel counts the values that `check_values` of this op refuses, before the tiles."""
        code, inputs = self._code(), [stand_in(v) if v in self.made_by_tiles else v for v in forward.inputs]
        taken = self.making.taking(inputs)
        piece = self.pieces[-1]
        assert isinstance(piece, _Piece)
        piece.checks.append(lambda slots: forward.op.check_values(*taken(slots), **forward.geometry))
        return Memory(code.bad)

    def same(self, value: Value, other: Value) -> None:
        """A value of tiles that is another one."""
        self.in_tiles[value] = self.lanes(other)
        self.made_by_tiles.add(value)

    def each_tile(self, numbers: int) -> Memory:
        """So many numbers for each tile, which a kernel that runs once finds one after another."""
        return Memory(np.empty((self.tiles, numbers), FLOAT), numbers * FLOAT.itemsize, made=True)

    def total(self, of: Any) -> Memory:
        """What the tiles so far give to a sum: to a value, or to an array."""
        self._add_sums(self._code().begin(tiled=False))
        return Memory(self.array_of(of) if isinstance(of, Value) else of)

    def once(self, dtype: Any = np.float32) -> Memory:
        """A number that code holds."""
        return Memory(np.zeros((), dtype))

    def _add_sums(self, stretch: Stretch) -> None:
        """Add up what the tiles have given."""
        sums, self.sums = self.sums, []
        for record, array in sums:
            size = record.numbers, Later.RECORD_STEP, Later.UNITS
            self._code().add(Call("add_records", (Memory(array), record), size), stretch)

    def _give(self, value: Value) -> None:
        """Write a value of tiles into an array."""
        to = Memory(self.array_of(value), product(value.shape[1:]) * value.dtype.itemsize * TILE, made=True)
        self.tile("give_images", (to, self.in_tiles[value]), layout(value), outputs=0)


# --- The kernels of each op -----------------------------------------------------------------------------------------


class Convolution(Kernels):
    """Conv2d, and with ReLU, and with ReLU and 2x2 max-pooling after it."""

    winograd = Winograd()

    def fits(self, forward: Instruction) -> str:
        x, weight, _ = forward.inputs
        g, pool = forward.geometry, forward.geometry.get("pool")
        if g["groups"] != 1 or g["dilation"] != (1, 1):
            return "groups or dilation"
        if any(p >= k for p, k in zip(g["padding"], weight.shape[2:], strict=True)):
            return "padding as wide as the kernel"
        if pool is not None and (pool != {**pool, **TWO_BY_TWO} or g["stride"] != (1, 1)):
            return "the pooling is not 2x2, or there are strides before it"
        return "" if x.shape[0] and product(made_by(forward).shape) else "nothing to compute"

    def sizes(self, forward: Instruction) -> tuple[int, ...]:
        """conv_sizes in maps.c."""
        x, weight, _ = forward.inputs
        (_, c, h, w), (f, _, kh, kw), g = x.shape, weight.shape, forward.geometry
        _, _, oh, ow = maps_of(x.shape, weight.shape, g["stride"], g["padding"], g["dilation"])
        return c, h, w, f, kh, kw, *g["stride"], *g["padding"], oh, ow, forward.op is not ops.Conv2d

    def room(self, forward: Instruction) -> Buffer:
        x, _, _ = forward.inputs
        ph, pw = forward.geometry["padding"]
        return Buffer(x.shape[1] * (x.shape[2] + 2 * ph) * (x.shape[3] + 2 * pw), room=True)

    def packed(self, to: Lowering, weight: Value, turned: bool) -> Memory:
        packed = Memory(np.empty(weight.shape, FLOAT))
        to.before("pack_filters", (packed, to.pointer(weight)), (*weight.shape, turned))
        return packed

    def forward(self, to: Lowering, i: Instruction) -> None:
        (x, weight, bias), y, size = i.inputs, made_by(i), self.sizes(i)
        if self.winograd.takes(size):
            self.winograd.forward(to, i, size)
            return
        source, filters, offset, room = to.lanes(x), self.packed(to, weight, False), to.pointer(bias), self.room(i)
        assert y is not None
        if i.op is ops.Conv2dReluMaxPool2d:
            ways = Buffer(elements(y), itemsize=1)
            two = Buffer(2 * weight.shape[0] * size[11], room=True)
            to.tile("conv_pool", (to.made(y), ways, source, filters, offset, room, two), size, outputs=1)
            to.saved[i] = source, ways
        else:
            to.tile("conv", (to.made(y), source, filters, offset, room), size)
            to.saved[i] = source, to.lanes(y) if i.op is ops.Conv2dRelu else None

    def backward(self, to: Lowering, i: Instruction) -> None:
        forward, (dx, dw, db) = i.of, i.outputs
        assert forward is not None
        if self.winograd.takes(self.sizes(forward)):
            self.winograd.backward(to, i, self.sizes(forward))
            return
        (x, weight, _), (source, kept) = forward.inputs, to.saved[forward]
        (h, w), (f, _, kh, kw) = x.shape[2:], weight.shape
        dy, turned = to.lanes(i.inputs[0]), self.packed(to, weight, True) if dx else None
        maps = Buffer((h + kh - 1) * f * (w + kw - 1), room=True)
        sums = Buffer(product(weight.shape) + f + elements(made_by(forward)), room=True)
        sources = dy, kept, source, turned, maps, self.room(forward), sums
        goals = to.made(dx) if dx else None, to.summed(dw), to.summed(db)
        kernel = "conv_pool_back" if i.op is ops.Conv2dReluMaxPool2d else "conv_back"
        to.tile(kernel, (*goals, *sources), self.sizes(forward))


TWO_BY_TWO = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False}


class Linear(Kernels):
    """Linear, and with ReLU after it, of (N, I)."""

    def fits(self, forward: Instruction) -> str:
        return "" if len(forward.inputs[0].shape) == 2 and product(forward.inputs[1].shape) else "more axes than two"

    def sizes(self, forward: Instruction) -> tuple[int, ...]:
        out, features = forward.inputs[1].shape
        return features, out, forward.op is ops.LinearRelu

    def forward(self, to: Lowering, i: Instruction) -> None:
        (x, weight, bias), y = i.inputs, made_by(i)
        source, at = to.lanes(x), (to.pointer(weight), to.pointer(bias))
        to.tile("linear", (to.made(y), source, *at), self.sizes(i))
        to.saved[i] = source, to.lanes(y) if i.op is ops.LinearRelu else None

    def backward(self, to: Lowering, i: Instruction) -> None:
        forward, (dx, dw, db) = i.of, i.outputs
        assert forward is not None
        (_, weight, _), (source, kept) = forward.inputs, to.saved[forward]
        dy, (out, features) = to.lanes(i.inputs[0]), weight.shape
        rows, masked = Buffer(features + to.library.lanes_of_a_vector()), Buffer(out)
        goals = to.made(dx) if dx else None, to.summed(dw), to.summed(db)
        to.tile("linear_back", (*goals, dy, kept, source, to.pointer(weight), rows, masked), self.sizes(forward))


class Relu(Kernels):
    """max(x, 0)."""

    def forward(self, to: Lowering, i: Instruction) -> None:
        (x,), y = i.inputs, made_by(i)
        source = to.lanes(x)
        to.saved[i] = to.made(y)
        to.tile("relu", (to.saved[i], source), (elements(x),))

    def backward(self, to: Lowering, i: Instruction) -> None:
        (dy,), dx = i.inputs, made_by(i)
        assert i.of is not None
        source = to.lanes(dy)
        to.tile("relu_back", (to.made(dx), source, to.saved[i.of]), (elements(dx),))


class MaxPool(Kernels):
    """Max-pooling, and with ReLU before it."""

    def fits(self, forward: Instruction) -> str:
        g = forward.geometry
        if g["dilation"] != (1, 1) or product(g["kernel"]) >= NO_WAY:
            return "dilation, or a large window"
        return "" if product(made_by(forward).shape) else "nothing to compute"

    def sizes(self, forward: Instruction) -> tuple[int, ...]:
        """pool_sizes in maps.c."""
        g, x, y = forward.geometry, forward.inputs[0], made_by(forward)
        return *x.shape[1:], *g["kernel"], *g["stride"], *g["padding"], *y.shape[2:], forward.op is ops.ReluMaxPool2d

    def forward(self, to: Lowering, i: Instruction) -> None:
        y, source = made_by(i), to.lanes(i.inputs[0])
        to.saved[i] = Buffer(elements(y), itemsize=1)
        to.tile("max_pool", (to.made(y), to.saved[i], source), self.sizes(i))

    def backward(self, to: Lowering, i: Instruction) -> None:
        (dy,), dx = i.inputs, made_by(i)
        assert i.of is not None
        source = to.lanes(dy)
        to.tile("max_pool_back", (to.made(dx), source, to.saved[i.of]), self.sizes(i.of))


class Reshape(Kernels):
    """Maps as features, and back: (N, C, H, W) and (N, C H W). Other shapes than maps lie in tiles as features do."""

    def fits(self, forward: Instruction) -> str:
        return ""

    def forward(self, to: Lowering, i: Instruction) -> None:
        self.reshape(to, i.inputs[0], made_by(i))

    def backward(self, to: Lowering, i: Instruction) -> None:
        self.reshape(to, i.inputs[0], made_by(i))

    def reshape(self, to: Lowering, x: Value, y: Value) -> None:
        for value, other, kernel in ((x, y, "flatten"), (y, x, "flatten_back")):
            if not in_feature_order(value) and value.shape != other.shape:
                x_in_tiles = to.lanes(x)
                if not in_feature_order(other):  # maps of other sizes: by way of features
                    features = Buffer(elements(x))
                    to.tile("flatten", (features, x_in_tiles), x.shape[1:])
                    to.tile("flatten_back", (to.made(y), features), y.shape[1:])
                else:
                    to.tile(kernel, (to.made(y), x_in_tiles), value.shape[1:])
                return
        to.same(y, x)


def in_feature_order(value: Value) -> bool:
    """Whether a value lies in tiles, [h][c][w], as its features do, [c][h][w]."""
    return len(value.shape) != 4 or 1 in value.shape[1:3]


class CrossEntropy(Kernels):
    """The cross-entropy of (N, C) with classes, added up or the mean, without weights of classes."""

    second = LABEL

    def fits(self, forward: Instruction) -> str:
        x, _, weight = forward.inputs
        if len(x.shape) != 2 or weight is not None or forward.geometry["reduction"] == "none":
            return "weights of classes, more axes than two, or no reduction"
        return "" if x.shape[1] else "no classes"

    def forward(self, to: Lowering, i: Instruction) -> None:
        (x, target, _), loss, g = i.inputs, made_by(i), i.geometry
        source, labels, scale = to.lanes(x), to.pointer(target, cut=True), to.once()
        n, c = x.shape
        to.before(
            "loss_scale", (scale, to.pointer(target), to.bad(i)), (n, c, g["ignore_index"], g["reduction"] == "mean")
        )
        p = Buffer(c)
        size, number = (c, g["ignore_index"]), (g["label_smoothing"],)
        to.tile("cross_entropy", (to.summed(loss), p, source, labels, scale), size, number, outputs=2)
        to.saved[i] = p, labels, scale

    def backward(self, to: Lowering, i: Instruction) -> None:
        forward, dx = i.of, made_by(i)
        assert forward is not None
        dl, g = to.pointer(i.inputs[0]), forward.geometry
        size, number = (dx.shape[1], g["ignore_index"]), (g["label_smoothing"],)
        to.tile("cross_entropy_back", (to.made(dx), *to.saved[forward], dl), size, number)


KERNELS: dict[Any, Kernels] = {
    **dict.fromkeys((ops.Conv2d, ops.Conv2dRelu, ops.Conv2dReluMaxPool2d), Convolution()),
    **dict.fromkeys((ops.Linear, ops.LinearRelu), Linear()),
    **dict.fromkeys((ops.MaxPool2d, ops.ReluMaxPool2d), MaxPool()),
    ops.Relu: Relu(),
    ops.Reshape: Reshape(),
    ops.CrossEntropy: CrossEntropy(),
    **ENTRIES,
}


# --- A few images -----------------------------------------------------------------------------------------------------

FEW = 4
"""Images up to which they are computed one after another, in arrays: they would fill half of the lanes at most."""


def _few(instructions: Sequence[Instruction], batch: int) -> bool:
    """Whether all that a program does is in FEW_IMAGES."""
    forwards = [i for i in instructions if i.kind == "forward"]
    return 0 < batch <= FEW and all(
        i.op in FEW_IMAGES and (i.op is not ops.Reshape or i.inputs[0].kind == "made") for i in forwards
    ) and len(forwards) == len(instructions)  # fmt: skip


class ConvolutionOfFew(Convolution):
    """The same, with a filter a lane."""

    def forward(self, to: Lowering, i: Instruction) -> None:
        (x, weight, bias), y, size, lanes = i.inputs, made_by(i), self.sizes(i), to.library.lanes_of_a_vector()
        vectors, pooled = -(-weight.shape[0] // lanes), i.op is ops.Conv2dReluMaxPool2d
        filters = Buffer((product(weight.shape[1:]) + 1) * vectors, room=True)
        image, rows = Buffer(-(-self.room(i).vectors // lanes), room=True), Buffer(2 * size[11] * vectors, room=True)
        at = Memory(to.array_of(y)), to.pointer(x), to.pointer(weight), to.pointer(bias), filters, image, rows
        to.whole("few_conv", at, (*size, pooled, x.shape[0]))


class LinearOfFew(Linear):
    """The same, with a feature a lane."""

    def forward(self, to: Lowering, i: Instruction) -> None:
        (x, weight, bias), y = i.inputs, made_by(i)
        at = Memory(to.array_of(y)), to.pointer(x), to.pointer(weight), to.pointer(bias)
        to.whole("few_linear", at, (*self.sizes(i), x.shape[0]))


class ReshapeOfFew(Reshape):
    """The same array."""

    def forward(self, to: Lowering, i: Instruction) -> None:
        y, array = made_by(i), to.array_of(i.inputs[0])
        to.in_arrays[y] = to.making.slots[y.number] = array.reshape(y.shape)


FEW_IMAGES: dict[Any, Kernels] = {
    **dict.fromkeys((ops.Conv2d, ops.Conv2dRelu, ops.Conv2dReluMaxPool2d), ConvolutionOfFew()),
    **dict.fromkeys((ops.Linear, ops.LinearRelu), LinearOfFew()),
    ops.Reshape: ReshapeOfFew(),
}
