"""A model out of one line of text, so that a cake can be trained, kept in a checkpoint, and trained on."""

from __future__ import annotations

from tinyconv import nn
from tinyconv.errors import ShapeError


def cake(slices: str, in_channels: int = 1, size: int = 28, num_classes: int = 10) -> nn.Sequential:
    """The stack of layers that `slices` describes (see `tinyconv.Cake`) for images in_channels x size x size.

    Raises CakeError for a slice that is none, or does not fit, and ShapeError unless one score a class comes out.
    """
    from tinyconv.inspect.cake import Cake  # here: importing the models should not take as long

    baked, image = Cake.parse(slices), (in_channels, size, size)
    out = baked.shapes(image)[-1]
    if out != (num_classes,):
        fix = "" if baked.slices[-1].kind == "flatten" or len(out) == 1 else "flatten; "
        raise ShapeError(
            f"the cake gives {out}, and there are {num_classes} classes: end it in '{fix}fc {num_classes}'"
        )
    return baked.build(image)
