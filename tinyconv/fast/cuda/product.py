"""Into how many tiles the products of conv.py and dense.py are cut, and in how many launches they run (product.cuh).

A layer takes one launch forward. Backward it takes one for all its gradients, or two where their tiles differ, and one
more where dweight and dbias were summed in parts. Where a convolution's channels are whole steps, forward and backward
take one more each, which puts the weights in another order (conv.py).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

from tinyconv.fast.cuda.build import blocks, launch
from tinyconv.shapes import Shape
from tinyconv.shapes import product as elements_of

After: TypeAlias = Literal["NOTHING", "RELU", "POOL"]
"""What follows a product, in product.cuh: POOL is a ReLU and a 2x2 max-pooling."""


class Tile(NamedTuple):
    """`shape` in product.cuh."""

    name: str
    rows: int
    threads: int
    depth: int

    def in_steps(self, channels: int) -> bool:
        """Whether a sum over so many channels goes in whole steps."""
        return channels % self.depth == 0

    def names(self, after: After, channels: int) -> dict[str, str]:
        """The names that the sources leave open."""
        return {"SHAPE": self.name, "AFTER": after, "IN_STEPS": str(self.in_steps(channels)).lower()}


NARROW, WIDE = Tile("narrow", 16, 256, 32), Tile("wide", 64, 128, 16)
COLUMNS = 64
"""Columns of either tile."""
STEP = NARROW.depth
"""Terms of a sum that are whole steps of either tile."""
HALF = 32
"""Rows that fill half of a wide tile. With fewer, narrow tiles waste less."""
FEW = 128
"""Blocks below which some of a large GPU's multiprocessors are idle: narrow tiles make more blocks."""
MANY = 1024
"""Blocks that keep all multiprocessors busy: no sum is cut for the sake of more."""
PART = 256
"""Terms of a sum that are not worth cutting in two."""
PARTS = 256
"""The most parts of a sum, for they have to be added up."""


class Product(NamedTuple):
    """The tiles that cover a product, or several of one size, and the parts of its sums, of `part` terms each."""

    tile: Tile
    tiles: int
    parts: int = 1
    part: int = 0

    @property
    def blocks(self) -> int:
        return self.tiles * self.parts


NOTHING = Product(NARROW, 0)


def product(rows: int, columns: int, products: int = 1, terms: int = 0) -> Product:
    """How to make `products` products of `rows` x `columns`, whose sums of `terms` terms may be cut.

    The sizes alone decide, and not which GPU it is: they fix the order of every sum.
    """
    narrow, wide = (
        cut(tile, products * blocks(rows, tile.rows) * blocks(columns, COLUMNS), terms) for tile in (NARROW, WIDE)
    )
    return wide if rows >= HALF and wide.blocks >= FEW else narrow


def cut(tile: Tile, tiles: int, terms: int) -> Product:
    """Parts of about the same length, whole steps each; at least one, even if there is nothing to sum."""
    parts = max(1, min(terms // PART, MANY // max(1, tiles), PARTS))
    part = max(STEP, STEP * blocks(terms, STEP * parts))
    return Product(tile, tiles, max(1, blocks(terms, part)), part)


def multiply(xp: Any, place: str, y: Any, made: Product, *args: Any, after: After, channels: int = 1) -> None:
    """Run a kernel that makes the product `y` and what comes `after` it; `channels` is what a convolution sums over."""
    if made.blocks:
        names = made.tile.names(after, channels)
        launch(xp, place, y.dtype, (made.blocks,), (made.tile.threads,), *args, **names)


def gradients(
    xp: Any,
    place: str,
    arrays: tuple[Any, ...],
    sizes: tuple[Any, ...],
    weight: Shape,
    needs: Any,
    of_x: Product,
    terms: int,
    groups: int = 1,
    *,
    after: After,
    channels: int = 1,
) -> tuple[Any, Any, Any]:
    """Run a `backward` kernel: (dx, dweight, dbias), with None for what `needs` does not ask for.

    `arrays` are those that it reads, x and the weights last, and `sizes` its next arguments. dx is the product `of_x`.
    dweight, of the shape `weight`, and dbias are one product, each element a sum of `terms` terms. `after` is what
    came after y, and `channels` what dx sums over.
    """
    *_, x, _ = arrays
    f, k = weight[0], elements_of(weight[1:]) * bool(needs[1])
    elements = k + bool(needs[2])
    of_x = of_x if needs[0] else NOTHING
    of_weight = product(f // groups, elements, groups, terms) if elements else NOTHING
    dx = xp.empty(x.shape, x.dtype) if needs[0] else None
    sums = xp.empty((of_weight.parts, f * elements), x.dtype)
    for tile in (WIDE, NARROW):
        dx_blocks, others = (made.blocks if made.tile is tile else 0 for made in (of_x, of_weight))
        if dx_blocks + others:
            launch(
                xp, place, x.dtype, (dx_blocks + others,), (tile.threads,),
                *arrays, dx, sums, *sizes, dx_blocks, k, elements, of_weight.part, **tile.names(after, channels),
            )  # fmt: skip
    if of_weight.parts > 1:
        sums = added(xp, sums)
    dweight, dbias = sums[0, : f * k].reshape(weight) if needs[1] else None, sums[0, f * k :]
    return dx, dweight, dbias if needs[2] else None


def added(xp: Any, parts: Any) -> Any:
    """(parts, size) -> (1, size)."""
    count, size = parts.shape
    across, down = 32, 16  # as in parts.cu
    total = xp.empty((1, size), parts.dtype)
    launch(xp, "parts.cu:add", parts.dtype, (blocks(size, across),), (across, down), parts, total, count, size)
    return total
