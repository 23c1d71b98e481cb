"""The order in which what the tiles of a batch give is added up: one tree, on any number of threads.

A tile is 64 images, on every machine. Neighbours are added, then neighbouring sums, and so on up:

    ((0 + 1) + (2 + 3)) + ((4 + 5) + 6)

An odd one goes up alone. So the order depends on the size of the batch, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tinyconv.distributed.communicator import Bounds, Communicator, share_of

Part = TypeVar("Part")

TILE = 64
"""Images in a tile: four vectors of sixteen images, the compiled kernels' unit."""
LARGE = 4 << 20
"""Bytes of all that ranks add up from which on each adds up a part of it alone."""


def tiles(n: int, tile: int = TILE) -> list[tuple[int, int]]:
    """Where the tiles of a batch of `n` begin and end: all are full but the last. A batch of none is one tile."""
    return [(start, min(start + tile, n)) for start in range(0, n, tile)] or [(0, 0)]


def pairwise(parts: Sequence[Part], add: Callable[[Part, Part], Part]) -> Part:
    """The sum of at least one part by the tree. `add` may write into its first argument where that is a sum already."""
    level = list(parts)
    while len(level) > 1:
        alone = level[len(level) // 2 * 2 :]
        level = [add(a, b) for a, b in zip(level[::2], level[1::2], strict=False)] + alone
    return level[0]


def total(rows: Any, bounds: Bounds, ranks: Communicator) -> Any:
    """The sum of all rows by the tree, on every rank: a row of `rows`, which is written over.

    Each rank has put its own rows there, at its `bounds`. Every rank gets all rows and adds them up; where they are
    large, each gets a part of the columns of all rows, adds up those, and hands round their sum. So a rank takes in
    twice the bytes of a row, however many there are, and the bits are the same.
    """
    if ranks.size > 1 and rows.nbytes >= LARGE:
        columns = share_of(rows.shape[1], ranks.size)
        ranks.exchange(rows, bounds, columns)
        first, last = columns[ranks.rank]
        pairwise([row[first:last] for row in rows], _add)
        ranks.gather(rows[0], columns)
    else:
        ranks.gather(rows, bounds)
        pairwise(list(rows), _add)
    return rows[0]


def _add(a: Any, b: Any) -> Any:
    a += b
    return a


def height(count: int, ranks: int) -> int:
    """How far up the tree of `count` tiles one rank gets alone, so that the busiest of `ranks` has the least to do.

    2^height tiles make a *unit*, which one rank works out whole; above it the sums of all ranks meet. With one rank
    that is the top.
    """
    top = max(count - 1, 0).bit_length()
    if ranks == 1:
        return top
    return min(range(top, -1, -1), key=lambda level: -(-units(count, level) // ranks) << level)


class Shares:
    """Which tiles each of `size` ranks works out, of those that lie at `bounds` in the batch: whole units of 2^level.

    `units`, `tiles` and `rows` say for each rank where its units, tiles and images begin and end. The units are such
    that `threads` threads of a rank share them well.
    """

    def __init__(self, bounds: Bounds, size: int, threads: int = 1) -> None:
        count = len(bounds)
        self.level = height(count, size * threads)
        self.units = share_of(units(count, self.level), size)
        self.tiles = [(min(a << self.level, count), min(b << self.level, count)) for a, b in self.units]
        self.rows = [(bounds[a][0], bounds[b - 1][1]) if a < b else (0, 0) for a, b in self.tiles]


def units(count: int, level: int) -> int:
    """How many units there are of 2^level tiles; the last may have fewer."""
    return -(-count // (1 << level))
