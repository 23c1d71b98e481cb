"""Code for the engine in C (fast/native): its instructions, where their operands lie, and how it is called.

`kernel.h` says what an instruction is, and how values of tiles are laid out. Here they are written with buffers in the
place of addresses; `placed` finds those when everything is known, and again when the number of threads changes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from tinyconv.distributed.communicator import Communicator
from tinyconv.engine.tree import TILE, Shares, tiles, total
from tinyconv.host.threads import free_threads
from tinyconv.program.program import Value

LINE = 64
"""Bytes of a cache line: where operands begin."""
UNITS_A_THREAD = 4
"""Units of tiles for each thread, so that none waits long for the last one."""
ADDRESS, SCRATCH, RECORD = 0, 1, 2
MEET = ctypes.CFUNCTYPE(None, ctypes.c_int64)


def struct(**fields: Any) -> np.dtype[Any]:
    """Numbers of 8 bytes, as C lays them out."""
    return np.dtype([(name, *([kind] if isinstance(kind, str) else kind)) for name, kind in fields.items()])


OPERANDS, SIZES, NUMBERS = 10, 16, 8
OPERAND = struct(base="i8", offset="i8", tile="i8", cleared="i8")
INSTRUCTION = struct(kernel="i8", at=(OPERAND, (OPERANDS,)), size=("i8", (SIZES,)), number=("f8", (NUMBERS,)))
STRETCH = struct(tiled="i8", first="i8", count="i8", record="i8", records="i8")
PROGRAM = struct(
    code="i8", stretches="i8", count="i8", images="i8", per_unit="i8", threads="i8", bad="i8", scratch="i8",
    values="i8", scratch_size="i8", first_unit="i8", last_unit="i8", meet="i8",
)  # fmt: skip


class Later(Enum):
    """Sizes of a call that are known when it is placed: units of tiles, and numbers from one record to the next."""

    UNITS = 1
    RECORD_STEP = 2


@dataclass(eq=False)
class Buffer:
    """Memory of a tile: `vectors` vectors for each block of images, or, of `room` that one kernel uses, in all.

    It is scratch memory of the thread if one stretch alone uses it, else memory for every tile.
    """

    vectors: int
    itemsize: int = 4
    room: bool = False
    users: list[Call] = field(default_factory=list)
    offset: int = 0
    everywhere: Any = None  # the array for every tile

    def bytes(self, lanes: int) -> int:
        images = lanes if self.room else TILE
        return rounded(self.vectors * self.itemsize * images)


@dataclass(eq=False)
class Record:
    """Numbers that each tile of a stretch gives and the tree adds up."""

    numbers: int
    stretch: Stretch
    offset: int


@dataclass(eq=False)
class Memory:
    """An array; or that of a value, which may be another one at each run. `tile`: bytes from one tile to the next.

    `made`: whether tiles write it, and others than the tile itself read it.
    """

    of: Any  # an array or a Value
    tile: int = 0
    made: bool = False


Operand: TypeAlias = "Buffer | Record | Memory | None"


@dataclass(eq=False)
class Call:
    """An instruction: a kernel, its operands, sizes and numbers. The first `outputs` operands are made."""

    kernel: str
    at: Sequence[Operand]
    size: Sequence[int | Later]
    number: Sequence[float] = ()
    outputs: int = 0
    stretch: Stretch | None = None
    place: int = 0


@dataclass(eq=False)
class Stretch:
    """Instructions that run for one tile after another, or whole; see kernel.h."""

    tiled: bool
    calls: list[Call] = field(default_factory=list)
    record: int = 0  # numbers


class Code:
    """Stretches that one call runs. `begin` opens one; `add` writes into the one that is open.

    Ranks share the units of tiles. After each stretch of tiles they meet.
    """

    def __init__(self, batch: int, library: Any, ranks: Communicator) -> None:
        self.batch, self.library, self.lanes, self.ranks = batch, library, library.lanes_of_a_vector(), ranks
        self.meet = MEET(self._meet) if ranks.size > 1 else None
        # All ranks cut the batch into the same units, whatever threads each has.
        self.most_threads = int(ranks.allgather(free_threads()).max()) if ranks.size > 1 else 1
        self.failed: BaseException | None = None  # at a meeting
        library.kernel_names.restype = ctypes.c_char_p
        self.kernels = {name: i for i, name in enumerate(library.kernel_names().decode().split())}
        self.stretches: list[Stretch] = []
        self.threads = 0
        self.shared: Any = None  # memory of all tiles
        self.bad = np.zeros(1, np.int64)  # the engine stops when something was counted here

    def begin(self, tiled: bool, anew: bool = False) -> Stretch:
        """The open stretch, if it is of this kind; else, or `anew`, a new one. Before one of tiles lies a whole one."""
        if anew or not self.stretches or self.stretches[-1].tiled != tiled:
            self.stretches += [Stretch(False), Stretch(True)] if tiled else [Stretch(False)]
        return self.stretches[-1]

    def add(self, call: Call, stretch: Stretch) -> Call:
        call.stretch = stretch
        stretch.calls.append(call)
        for operand in call.at:
            if isinstance(operand, Buffer):
                operand.users.append(call)
        return call

    def record(self, numbers: int, stretch: Stretch) -> Record:
        """Room for so many numbers in the record of each tile."""
        found = Record(numbers, stretch, stretch.record)
        stretch.record += numbers
        return found

    # Finding the addresses.

    def place(self, threads: int) -> None:
        """Write the instructions for so many threads."""
        self.threads = threads
        self.stretches = [stretch for stretch in self.stretches if stretch.calls]
        count, calls = len(tiles(self.batch)), [call for stretch in self.stretches for call in stretch.calls]
        for i, call in enumerate(calls):
            call.place = i
        self._place_buffers()
        size = max(rounded(4 * stretch.record) for stretch in self.stretches)
        per_unit, share = 1, (0, count)
        if self.ranks.size > 1:
            shares = Shares(tiles(self.batch), self.ranks.size, self.most_threads)
            per_unit, share = 1 << shares.level, shares.units[self.ranks.rank]
        else:
            while size and -(-count // per_unit) > max(UNITS_A_THREAD * threads, UNITS_A_THREAD):
                per_unit *= 2
            share = 0, -(-count // per_unit)
        self.units = -(-count // per_unit)
        self.records = {s: aligned(self.units * rounded(4 * s.record)) for s in self.stretches if s.record}
        thread = self.values + size * per_unit.bit_length()
        self.scratch = aligned(thread * threads)
        self.code, self.patches = np.zeros(len(calls), INSTRUCTION), list[tuple[int, int]]()
        for row, call in zip(self.code, calls, strict=True):
            self._write(row, call)
        self.table, first = np.zeros(len(self.stretches), STRETCH), 0
        for i, stretch in enumerate(self.stretches):
            records = address(self.records[stretch]) if stretch.record else 0
            self.table[i] = (stretch.tiled, first, len(stretch.calls), rounded(4 * stretch.record), records)
            first += len(stretch.calls)
        if self.ranks.size > 1:
            self.meetings = [self._meeting(stretch, shares) for stretch in self.stretches]
        self.program = np.array(
            (
                address(self.code), address(self.table), len(self.table), self.batch, per_unit, threads,
                address(self.bad), address(self.scratch), self.values, thread, *share,
                0 if self.meet is None else ctypes.cast(self.meet, ctypes.c_void_p).value,
            ),
            PROGRAM,
        )  # fmt: skip
        self.words = self.code.data.cast("B").cast("q")
        self.pointer = ctypes.c_void_p(address(self.program))

    def _meeting(self, stretch: Stretch, shares: Shares) -> list[Callable[[], object]]:
        """What the ranks do after a stretch of tiles: add up its records, and hand round the arrays that it made."""
        if not stretch.tiled:
            return []
        found: list[Callable[[], object]] = []
        if stretch.record:
            records = self.records[stretch].view(np.float32).reshape(self.units, -1)
            found.append(partial(total, records, shares.units, self.ranks))
        made = {id(o): o.of for call in stretch.calls for o in call.at if isinstance(o, Memory) and o.made}
        for array in made.values():
            rows = shares.rows if len(array) == self.batch else shares.tiles
            found.append(partial(self.ranks.gather, array, rows))
        return found

    def _meet(self, stretch: int) -> None:
        """What C calls after a stretch of tiles."""
        try:
            for meeting in self.meetings[stretch]:
                meeting()
        except BaseException as error:  # C knows none
            self.failed, self.bad[0] = error, 1

    def buffers(self) -> list[Buffer]:
        """The memory of tiles, in the order of its first use."""
        calls = (call for stretch in self.stretches for call in stretch.calls)
        return list(dict.fromkeys(o for call in calls for o in call.at if isinstance(o, Buffer)))

    def for_all_tiles(self) -> list[Any]:
        """The memory for all tiles: that of this code, and of buffers that other code uses too."""
        apart = (
            b.everywhere
            for b in self.buffers()
            if b.everywhere is not None and b.everywhere.base is not self.shared.base
        )
        return [self.shared, *apart]

    def _place_buffers(self) -> None:
        """Give each buffer a place: in the memory of a thread if one stretch uses it, else in one for all tiles."""
        number: dict[Stretch | None, int] = {stretch: i for i, stretch in enumerate(self.stretches)}
        alone, shared, count = list[Use](), list[Use](), len(tiles(self.batch))
        for buffer in self.buffers():
            stretches, size = {call.stretch for call in buffer.users}, buffer.bytes(self.lanes)
            if len(stretches) == 1:
                alone.append((buffer, [call.place for call in buffer.users], size))
            elif stretches <= number.keys():
                shared.append((buffer, [number[stretch] for stretch in stretches], count * size))
            elif buffer.everywhere is None:  # other code uses it too
                buffer.everywhere = aligned(count * size)
        self.values, size = packed(alone), packed(shared)
        if self.shared is None:  # the same for any number of threads
            self.shared = aligned(size)
        for buffer, _, size in shared:
            buffer.everywhere = self.shared[buffer.offset : buffer.offset + size]

    def _write(self, row: Any, call: Call) -> None:
        row["kernel"] = self.kernels[call.kernel]
        for i, operand in enumerate(call.at):
            is_value = isinstance(operand, Buffer) and i < call.outputs and operand.itemsize == 4
            cleared = operand.vectors if isinstance(operand, Buffer) and is_value else 0
            row["at"][i] = (*self._where(operand, call, i), cleared)
        row["size"][: len(call.size)] = [self._size(size, call) for size in call.size]
        row["number"][: len(call.number)] = call.number

    def _size(self, size: int | Later, call: Call) -> int:
        if size is Later.UNITS:  # ranks have added up those of all
            return self.units if self.ranks.size == 1 else 1
        if size is Later.RECORD_STEP:
            (stretch,) = (operand.stretch for operand in call.at if isinstance(operand, Record))
            return rounded(4 * stretch.record) // 4
        return size

    def _where(self, operand: Operand, call: Call, i: int) -> tuple[int, int, int]:
        """base, offset and tile of an operand."""
        if operand is None:
            return ADDRESS, 0, 0
        if isinstance(operand, Buffer):
            if operand.everywhere is None:
                return SCRATCH, operand.offset, 0
            return ADDRESS, address(operand.everywhere), operand.bytes(self.lanes)
        if isinstance(operand, Record):
            if operand.stretch is call.stretch:
                return RECORD, 4 * operand.offset, 0
            return ADDRESS, address(self.records[operand.stretch]) + 4 * operand.offset, 0
        if isinstance(operand.of, Value):
            self.patches.append((operand.of.number, _word(call, i)))
            return ADDRESS, 0, operand.tile
        return ADDRESS, address(operand.of), operand.tile

    def point(self, call: Call, first: int, arrays: Sequence[Any]) -> None:
        """Make these arrays operands of a call, from number `first` on; None: null."""
        for i, array in enumerate(arrays, first):
            self.words[_word(call, i)] = 0 if array is None else address(array)

    def run(self, arrays: list[Any]) -> None:
        """Run it all, with these arrays by the numbers of their values."""
        words, copies = self.words, list[Any]()
        for number, word in self.patches:
            array = arrays[number]
            if isinstance(array, np.generic) or not array.flags.c_contiguous:
                array = np.asarray(array, order="C")  # a number of NumPy's has no address of its own
                copies.append(array)  # alive until C has run
            words[word] = array.__array_interface__["data"][0]
        self.library.run_program(self.pointer)
        if self.failed is not None:
            error, self.failed, self.bad[0] = self.failed, None, 0
            raise error


Use: TypeAlias = "tuple[Buffer, list[int], int]"
"""A buffer, when it is used, and its bytes."""


def packed(buffers: Sequence[Use]) -> int:
    """Give each buffer an offset: the first gap where it fits, among those that are needed at the same time. Returns
    the bytes of all."""
    placed: list[tuple[int, int, int, int]] = []  # first and last use, begin and end
    for buffer, uses, size in buffers:
        first, last, begin = min(uses), max(uses), 0
        for _, _, start, end in sorted((p for p in placed if p[0] <= last and p[1] >= first), key=lambda p: p[2]):
            if begin + size <= start:
                break
            begin = max(begin, end)
        buffer.offset = begin
        placed.append((first, last, begin, begin + size))
    return max((end for *_, end in placed), default=0)


def _word(call: Call, i: int) -> int:
    """Where the offset of an operand stands in the code, in words of 8 bytes."""
    at = INSTRUCTION.fields["at"][1]  # type: ignore[index]
    return (call.place * INSTRUCTION.itemsize + at + i * OPERAND.itemsize) // 8 + 1


def rounded(size: int) -> int:
    return -(-size // LINE) * LINE


def aligned(size: int) -> Any:
    """So many bytes, which begin at a cache line."""
    memory = np.zeros(size + LINE, np.uint8)
    start = -address(memory) % LINE
    return memory[start : start + size]


def address(array: Any) -> int:
    """Where its first element lies."""
    found: int = array.__array_interface__["data"][0]
    return found
