"""The NumPy executor: the instructions of a program, one after another, on NumPy arrays.

A batch of more than one tile goes through the program tile by tile (see tiles.py), and threads share the tiles: so they
meet once in a stage, and not in each op. The sums over the tiles are added up by the tree of `engine.tree`, whoever
worked them out. So may the ranks of a shared program: each has its share of the tiles, and all get what all have made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from threading import Lock
from typing import Any, TypeAlias

import numpy as np

from tinyconv.distributed.communicator import Bounds, Communicator, current
from tinyconv.engine.context import quietly
from tinyconv.engine.tree import Shares, tiles, total
from tinyconv.engine.variants import name_of
from tinyconv.engine.wide import FLOAT16, widened
from tinyconv.errors import CaptureError
from tinyconv.host.threads import blas_alone, parallel, threads_for
from tinyconv.program.fuse import stand_in
from tinyconv.program.memory import Block, Plan, Step, Used
from tinyconv.program.program import Instruction, Program, Value, replaced, values_in
from tinyconv.program.tiles import Schedule, Stage, as_sum, geometry_of_tile, schedule
from tinyconv.shapes import product

Slots: TypeAlias = list[Any]
"""The arrays of the values, by number, and after them what else the functions of a program keep: see `Making`."""
Function: TypeAlias = Callable[[Slots], None]
LONG = 1e9
"""Microseconds of work that all threads share."""
MANY = 1 << 17
"""Numbers in a program from which on it may have products that BLAS would share out among its threads, where their bits
depend on how many there are. To keep BLAS to one thread takes 10 us, a tenth of a small program's time."""


class NumpyRun:
    """A program that is ready to run: `run(arrays)` gives the arrays of its results, for those of its inputs."""

    executor = "numpy"

    def __init__(self, program: Program) -> None:
        self.program = program
        making = Making(program)
        plan = schedule(program)
        ranks = current() if program.shared else Communicator()
        stages = plan.stages if _is_cut(plan) else [Stage(False, program.instructions)]
        self.stages: list[_Tiled | _Whole] = [
            _Tiled(making, plan, stage, ranks) if stage.tiled else _Whole(making, plan, stage) for stage in stages
        ]
        self.slots = making.slots

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        for value, array in zip(self.program.inputs, inputs, strict=True):
            self.slots[value.number] = array
        quietly(self._run)
        return [self.slots[value.number] for value in self.program.results]

    def _run(self) -> None:
        for stage in self.stages:
            stage(self.slots)

    @property
    def by_tile(self) -> set[Instruction]:
        """The instructions that run for one tile after another."""
        tiled = (stage for stage in self.stages if isinstance(stage, _Tiled))
        return {step.instruction for stage in tiled for steps in stage.steps.values() for step in steps}

    def kernel(self, instruction: Instruction) -> str:
        """The name of the kernel in C that runs an instruction; "" where the pair does."""
        return ""

    def used(self) -> Used | None:
        """The memory that is kept; None before the first replay has planned it."""
        plans = [plan for stage in self.stages for plan in stage.plans()]
        if not plans:
            return None
        buffers = [buffer for plan, _ in plans for taken in plan.buffers for buffer in taken]
        return Used(
            blocks=sum(count for _, count in plans),
            shared=sum(plan.bytes * count for plan, count in plans),
            arrays=len(buffers),
            apart=sum(buffer.bytes * count for plan, count in plans for taken in plan.buffers for buffer in taken),
            whole=sum(stage.kept() for stage in self.stages if isinstance(stage, _Tiled)),
        )


def _is_cut(plan: Schedule) -> bool:
    """Whether a program runs by tile: it has more than one, and what a tile saves is used up in the same stage.

    Where a whole batch comes in between, as in batch normalisation, images would have to be taken apart and put
    together for each stage. NumPy's products are as fast on the whole batch, with threads inside of them.
    """
    stage_of = {i: stage for stage in plan.stages for i in stage.instructions}
    return (
        len(tiles(plan.batch)) > 1
        and all(i.of is None or stage_of[i.of] is stage for i, stage in stage_of.items() if stage.tiled)
        and not any(value.dtype == FLOAT16 for stage in plan.stages for value in stage.summed)
    )


class _Whole:
    """A stage whose instructions run for the whole batch, with threads inside of each."""

    def __init__(self, making: Making, plan: Schedule, stage: Stage) -> None:
        needed = {value for i in making.program.instructions if i not in set(stage.instructions) for value in i.read()}
        self.steps = making.steps(stage, needed.union(making.program.results))
        self.taken = [value.number for value in making.program.inputs]
        self.many = sum(product(value.shape) for value in making.program.values) > MANY
        self.plan: Plan | None = None
        self.planned_for: Any = None

    def __call__(self, slots: Slots) -> None:
        if self.many:
            blas_alone(self._run, slots)
        else:
            self._run(slots)

    def _run(self, slots: Slots) -> None:
        found = threads_for(LONG), [slots[number].strides for number in self.taken]
        if self.planned_for != found:  # these decide which arrays are taken
            self.plan = Plan(self.steps, slots)
            self.block, self.planned_for = Block(self.plan), found
        else:
            self.block.run(self.steps, slots)

    def plans(self) -> list[tuple[Plan, int]]:
        """Each plan, and how many blocks there are of it."""
        return [] if self.plan is None else [(self.plan, 1)]


class _Tiled:
    """A stage whose instructions run for one tile after another, on as many threads as there are.

    Each of the `ranks` takes the tiles of its units (see `engine.tree.height`).
    """

    def __init__(self, making: Making, plan: Schedule, stage: Stage, ranks: Communicator) -> None:
        made = {value for i in stage.instructions for value in i.outputs if value is not None}
        self.before = [f for i in stage.instructions if i.kind == "forward" for f in making.before_tiles(i, made)]
        self.bounds, self.ranks = tiles(plan.batch), ranks
        self.shares = Shares(self.bounds, ranks.size)
        self.mine = range(*self.shares.tiles[ranks.rank])
        sizes = {stop - start for start, stop in self.bounds}
        self.steps = {n: making.steps(stage, {*stage.joined, *stage.summed}, n) for n in sizes}
        self.taken = [value.number for value in stage.taken]
        self.joined = [(value.number, np.empty(value.shape, value.dtype)) for value in stage.joined]
        self.sums = _Sums(stage.summed, len(self.bounds), self.shares.level)
        self.lock = Lock()
        self.planned: dict[int, Plan] = {}
        self.planned_for: Any = None
        self.blocks: dict[int, list[Block]] = {}  # for each size of tiles, those that no thread is using

    def __call__(self, slots: Slots) -> None:
        for function in self.before:
            function(slots)
        for number, array in self.joined:
            slots[number] = array
        self.sums.forget()  # an error may have left something
        found = [slots[number].strides for number in self.taken]
        if self.planned_for != found:  # another layout: other arrays are taken
            self.planned, self.blocks, self.planned_for = {}, {n: [] for n in self.steps}, found
        parallel(lambda i: self._run(self.mine[i], slots), len(self.mine))
        if self.ranks.size > 1:
            for _, array in self.joined:
                self.ranks.gather(array, self.shares.rows)
        if self.sums.values:
            self.sums.give(slots, self.ranks, self.shares.units)

    def _run(self, tile: int, slots: Slots) -> None:
        start, stop = self.bounds[tile]
        own = slots.copy()
        for number in self.taken:
            own[number] = own[number][start:stop]
        block = self._go_through(stop - start, own)
        for number, array in self.joined:
            array[start:stop] = own[number]
        if self.sums.values:
            self.sums.add(tile, own)
        if block is not None:  # what it holds was needed until now
            self.blocks[stop - start].append(block)

    def _go_through(self, n: int, own: Slots) -> Block | None:
        """Run the instructions on a tile of `n` images, in the block that is returned."""
        steps = self.steps[n]
        if n not in self.planned:
            with self.lock:
                if n not in self.planned:
                    self.planned[n] = Plan(steps, own)
                    return None
        try:
            block = self.blocks[n].pop()
        except IndexError:  # other threads are using all there are
            block = Block(self.planned[n])
        block.run(steps, own)
        return block

    def plans(self) -> list[tuple[Plan, int]]:
        """Each plan, and how many blocks there are of it."""
        return [(plan, len(self.blocks[n])) for n, plan in self.planned.items()]

    def kept(self) -> int:
        """The bytes of arrays outside the blocks: those for the whole batch, and the sums."""
        parts = [array for part in self.sums.free for array in part.whole.values()]
        return sum(array.nbytes for array in (*parts, *(array for _, array in self.joined)))


class _Sums:
    """Sums over tiles, by the tree: two neighbours are added as soon as both are there, whichever comes first.

    A unit is summed by one rank. With one rank there is one unit.
    """

    def __init__(self, values: Sequence[Value], count: int, level: int) -> None:
        self.values, self.count, self.level = values, count, level
        self.dtypes = dict.fromkeys(value.dtype for value in values)
        self.sizes = {dtype: sum(_size(v) for v in values if v.dtype == dtype) for dtype in self.dtypes}
        self.lock = Lock()
        self.free: list[_Part] = []
        self.there: dict[tuple[int, int], _Part] = {}  # (level of the tree, number there) -> waits for its neighbour
        self.of_units: dict[int, _Part] = {}
        self.rows: dict[Any, Any] = {}  # the sums of all units, where ranks share them

    def add(self, tile: int, slots: Slots) -> None:
        """Take what a tile gives, and add up what can be."""
        with self.lock:
            part = self.free.pop() if self.free else _Part(self)
        for value, to in zip(self.values, part.arrays, strict=True):
            to[...] = slots[value.number]
        number, count = tile, self.count
        for level in range(self.level):
            if number ^ 1 < count:
                with self.lock:
                    other = self.there.pop((level, number ^ 1), None)
                    if other is None:
                        self.there[level, number] = part
                        return
                part.add(other)
                with self.lock:
                    self.free.append(other)
            number, count = number // 2, (count + 1) // 2
        self.of_units[number] = part

    def forget(self) -> None:
        self.there.clear()
        self.of_units.clear()

    def _of_all_ranks(self, ranks: Communicator, bounds: Bounds) -> _Part:
        """The sum over the units of all ranks."""
        if not self.of_units:  # this rank has none
            self.of_units[0] = self.free.pop() if self.free else _Part(self)
        found = next(iter(self.of_units.values()))
        for dtype, size in self.sizes.items():
            if dtype not in self.rows:
                self.rows[dtype] = np.zeros((bounds[-1][1], size), dtype)
            for unit in range(*bounds[ranks.rank]):
                self.rows[dtype][unit] = self.of_units[unit].whole[dtype]
            found.whole[dtype][...] = total(self.rows[dtype], bounds, ranks)
        return found

    def give(self, slots: Slots, ranks: Communicator, bounds: Bounds) -> None:
        """Put the sums where their values are; they stay there until the next replay."""
        (unit,) = self.of_units.values() if ranks.size == 1 else [self._of_all_ranks(ranks, bounds)]
        parts = list(self.of_units.values())
        for value, array in zip(self.values, unit.arrays, strict=True):
            if value.kind == "held":
                np.copyto(value.array, array)
            else:
                slots[value.number] = array
        self.free += parts
        self.of_units.clear()


class _Part:
    """Memory for what a tile adds to each sum: an array for each, which are parts of one for each dtype."""

    def __init__(self, sums: _Sums) -> None:
        self.whole = {dtype: np.empty(size, dtype) for dtype, size in sums.sizes.items()}
        used = dict.fromkeys(self.whole, 0)
        self.arrays = []
        for value in sums.values:
            start = used[value.dtype]
            used[value.dtype] += _size(value)
            self.arrays.append(self.whole[value.dtype][start : used[value.dtype]].reshape(value.shape))

    def add(self, other: _Part) -> _Part:
        """Add another one to this."""
        for a, b in zip(self.whole.values(), other.whole.values(), strict=True):
            a += b  # b + a has the same bits
        return self


def _size(value: Value) -> int:
    return int(np.prod(value.shape))


class Making:
    """Makes the functions that run instructions on slots.

    Beside the arrays of the values, slots hold numbers, what each forward saved, and the factors of means.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.slots: Slots = [value.array for value in program.values]
        self.saved: dict[Instruction, int] = {}
        self.factors: dict[Instruction, int] = {}
        self.walked = {i.of for i in program.instructions if i.of is not None}

    def slot(self, content: Any = None) -> int:
        """The number of a new slot."""
        self.slots.append(content)
        return len(self.slots) - 1

    def taking(self, inputs: Sequence[Any]) -> Callable[[Slots], tuple[Any, ...]]:
        """A function that finds the inputs of an instruction: values, and numbers and None as they are."""
        numbers = [value.number if isinstance(value, Value) else self.slot(value) for value in inputs]
        if len(numbers) == 1:
            (number,) = numbers
            return lambda slots: (slots[number],)
        return itemgetter(*numbers) if numbers else lambda slots: ()

    def before_tiles(self, forward: Instruction, made: set[Value]) -> list[Function]:
        """What the tiles of a forward need of the whole batch: targets that are classes, and the factor of a mean.

        These functions look at the shape and dtype alone of what the stage itself has `made`.
        """
        inputs = self.taking([stand_in(value) if value in made else value for value in forward.inputs])
        found: list[Function] = []
        check = getattr(forward.op, "check_values", None)
        if check is not None:
            found.append(lambda slots: check(*inputs(slots), **forward.geometry))
        of_a_mean = as_sum(forward)
        if of_a_mean is not None:
            factor = of_a_mean.factor
            number = self.factors[forward] = self.slot()

            def work_out(slots: Slots) -> None:
                slots[number] = factor(*inputs(slots))

            found.append(work_out)
        return found

    def steps(self, stage: Stage, needed: set[Value], images: int = 0) -> list[Step]:
        """The instructions of a stage, ready to run; after its last use a value that nobody needs later is let go."""
        functions, inside = [(i, self.function(i, images)) for i in stage.instructions], set(stage.instructions)
        used: dict[int, int] = {}  # slot -> the last instruction that uses it
        for place, i in enumerate(stage.instructions):
            made = (value for value in i.outputs if value is not None and value.kind == "made")
            used.update((value.number, place) for value in made if value not in needed)
            used.update((value.number, place) for value in i.read() if value.number in used)
            if i.of in inside:
                used[self.saved[i.of]] = place
        return [
            Step(
                i, function, _is_planned(i),
                tuple((value.number, value) for value in i.outputs if value is not None),
                tuple(slot for slot, last in used.items() if last == place),
            )
            for place, (i, function) in enumerate(functions)
        ]  # fmt: skip

    def function(self, instruction: Instruction, images: int = 0) -> Function:
        """What runs an instruction, on the whole batch, or on a tile of so many images."""
        make: Callable[..., Function] = getattr(self, f"_{instruction.kind}")
        return make(instruction, images) if instruction.kind in ("forward", "backward") else make(instruction)

    def _pair(self, forward: Instruction, images: int) -> tuple[Any, Callable[[Slots], dict[str, Any]]]:
        """The pair of a forward, and a function that finds its geometry: the same object where it holds no values."""
        pair, geometry = forward.pair, forward.geometry
        if images:
            of_a_mean = as_sum(forward)
            if of_a_mean is not None:
                pair, geometry = of_a_mean.pair, of_a_mean.geometry
            geometry = geometry_of_tile(forward, geometry, images)
        return pair, _found(geometry)

    def _forward(self, instruction: Instruction, images: int) -> Function:
        pair, geometry = self._pair(instruction, images)
        inputs, forward = self.taking(instruction.inputs), pair.forward
        numbers = [value.number for value in instruction.outputs if value]
        first = numbers[0]
        if instruction not in self.saved:
            self.saved[instruction] = self.slot()
        saved, walked = self.saved[instruction], instruction in self.walked
        check = None if images else getattr(instruction.op, "check_values", None)
        factor = self.factors.get(instruction) if images else None

        def run(slots: Slots) -> None:
            given, options = inputs(slots), geometry(slots)
            if check is not None:
                check(*given, **options)
            y, kept = forward(np, *given, **options)
            if walked:
                slots[saved] = kept
            if factor is not None:
                y = y * slots[factor]
            if type(y) is tuple:
                for number, array in zip(numbers, y, strict=False):
                    slots[number] = array
            else:
                slots[first] = y if type(y) is np.ndarray else np.asarray(y)

        return run

    def _backward(self, instruction: Instruction, images: int) -> Function:
        of, needs, (grad,) = instruction.of, instruction.needs, instruction.inputs
        assert of is not None
        pair, geometry = self._pair(of, images)
        backward, saved, factor = pair.backward, self.saved[of], self.factors.get(of) if images else None
        made = [(i, v.number) for i, v in enumerate(instruction.outputs) if v and (images or v.kind == "made")]
        fixed = [(i, v.array) for i, v in enumerate(instruction.outputs) if v and not images and v.kind == "held"]
        dy = grad.number

        def run(slots: Slots) -> None:
            given = slots[dy] if factor is None else slots[dy] * slots[factor]
            grads = backward(np, slots[saved], given, needs, **geometry(slots))
            for i, number in made:
                slots[number] = grads[i]
            for i, array in fixed:
                np.copyto(array, grads[i])

        return run

    def _sum(self, instruction: Instruction) -> Function:
        total, grad = (value.number for value in instruction.inputs)
        (out,), owned = instruction.outputs, instruction.owned
        assert out is not None
        made = out.number

        def run(slots: Slots) -> None:
            if owned:
                slots[total] += slots[grad]
                slots[made] = slots[total]
            else:
                slots[made] = widened(slots[total]) + slots[grad]

        return run

    def _keep(self, instruction: Instruction) -> Function:
        (source,), (fixed,), first = instruction.inputs, instruction.outputs, instruction.first
        assert fixed is not None
        array, number = fixed.array, source.number

        def run(slots: Slots) -> None:
            if first:
                np.copyto(array, slots[number])
            else:
                np.add(array, slots[number], out=array)

        return run

    def _compute(self, instruction: Instruction) -> Function:
        inputs, function = self.taking(instruction.inputs), instruction.function
        number = instruction.outputs[0].number if instruction.outputs and instruction.outputs[0] else None
        assert function is not None

        def run(slots: Slots) -> None:
            result = function(*inputs(slots))
            if number is not None:
                slots[number] = np.asarray(result)

        return run

    def _write(self, instruction: Instruction) -> Function:
        inputs, where = self.taking(instruction.inputs), _found(instruction.where)

        def run(slots: Slots) -> None:
            array, values = inputs(slots)
            array[where(slots)] = values

        return run

    def _update(self, instruction: Instruction) -> Function:
        optimizer, group, parameters = instruction.optimizer, instruction.group, instruction.parameters
        inputs = self.taking(instruction.inputs)

        def run(slots: Slots) -> None:
            options = optimizer._options(group, optimizer.param_groups[group])
            optimizer._update(group, dict(zip(parameters, inputs(slots), strict=True)), options)

        return run

    def _host(self, instruction: Instruction) -> Function:
        function = instruction.function
        assert function is not None
        return lambda slots: function()

    def _stage(self, instruction: Instruction) -> Function:
        (out,), function = instruction.outputs, instruction.function
        assert out is not None
        assert function is not None
        number, shape = out.number, out.shape

        def run(slots: Slots) -> None:
            array = np.asarray(function())
            if array.shape != shape:
                raise CaptureError(
                    f"capture: the step was recorded with an array of {shape} from the host, and now takes one of "
                    f"{array.shape}; shapes cannot change: is this the last batch, a smaller one? drop_last=True"
                )
            slots[number] = array

        return run


def _is_planned(instruction: Instruction) -> bool:
    """Whether its arrays are planned: the pairs for NumPy take theirs from `host.memory.empty`."""
    return instruction.op is not None and name_of(instruction.op, instruction.pair) == "tiled"


def _found(nested: Any) -> Callable[[Slots], Any]:
    """A function that finds nested values; where there are none, the same object each time."""
    if next(values_in(nested), None) is None:
        return lambda slots: nested
    return lambda slots: replaced(nested, lambda leaf: slots[leaf.number] if isinstance(leaf, Value) else leaf)
