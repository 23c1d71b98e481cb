"""A model made from one line of text, so that a cake can be trained, kept in a checkpoint and resumed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

from tinyconv import nn
from tinyconv.errors import CakeError, ShapeError


def cake(slices: str, in_channels: int = 1, size: int = 28, num_classes: int = 10) -> nn.Sequential:
    """The stack of layers that `slices` describes: images (N, in_channels, size, size) give logits (N, num_classes).

        tc.models.cake("conv 8 3; relu; pool 2; flatten; fc 10")

    Args:
        slices: The layers, first to last, as `tinyconv.Cake` reads them.
        in_channels: Channels of the images.
        size: Height and width of the images.
        num_classes: Number of classes.

    Raises CakeError for a slice that is unknown or does not fit, and ShapeError where the last slice does not give
    `num_classes` numbers.
    """
    from tinyconv.inspect.cake import Cake  # here, so that importing the models stays fast

    baked, image = Cake.parse(slices), (in_channels, size, size)
    out = baked.shapes(image)[-1]
    if out != (num_classes,):
        fix = "" if baked.slices[-1].kind == "flatten" or len(out) == 1 else "flatten; "
        raise ShapeError(
            f"the cake gives {out}, and there are {num_classes} classes: end it in '{fix}fc {num_classes}'"
        )
    return baked.build(image)


@contextmanager
def or_a_model(what: str, names: Iterable[str]) -> Iterator[None]:
    """Note on a CakeError of the block which of the models `names` may have been meant by the text `what`."""
    try:
        yield
    except CakeError as error:
        near = get_close_matches(what[:80], names, n=1)
        if near:
            error.add_note(f"or was a model meant: {near[0]}?")
        raise
