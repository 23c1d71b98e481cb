"""A list of items as one batch: numbers and arrays become tensors, whatever the items nest them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinyconv.errors import DataError
from tinyconv.tensor.creation import tensor
from tinyconv.tensor.joins import stack
from tinyconv.tensor.tensor import Tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """The items of a batch as one, each part by its kind. Like `torch.utils.data.default_collate`.

    Tensors and arrays, which need one shape, are stacked along a new first axis. Python's integers become int64, its
    floats float64, as in PyTorch. Texts stay as they are. Tuples and lists become a list of what their parts become,
    named tuples and mappings one of their kind.

        tc.data.default_collate([(tc.ones(2), 3), (tc.ones(2), 4)])  # [(2, 2) float32, (2,) int64]

    Args:
        batch: The items, one or more, all alike.

    Raises DataError where the items are of a kind that makes no batch, or differ in shape or number of parts.
    """
    first = batch[0]
    if isinstance(first, Tensor) or _is_array(first):
        arrays = [x if isinstance(x, Tensor) else np.asarray(x) for x in batch]
        shapes = {tuple(x.shape) for x in arrays}
        if len(shapes) > 1:
            one, other = list(shapes)[:2]
            raise DataError(
                f"a batch needs items of one shape, got {one} and {other}: pictures of several sizes? "
                "transforms.Resize((h, w)) makes them alike; or give the DataLoader a collate_fn"
            )
        return stack(arrays) if isinstance(first, Tensor) else tensor(np.stack(arrays))  # type: ignore[arg-type]
    if isinstance(first, bool | int):
        return tensor(np.asarray(batch))
    if isinstance(first, float):
        return tensor(np.asarray(batch, np.float64))
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        made = {key: default_collate([item[key] for item in batch]) for key in first}
        return made if type(first) is dict else _like(first, made)
    if isinstance(first, Sequence):
        if len({len(item) for item in batch}) > 1:
            raise DataError(f"a batch needs items of one length, got {sorted({len(item) for item in batch})}")
        parts = [default_collate(part) for part in zip(*batch, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else parts
    kind, fix = type(first).__name__, "give the DataLoader a collate_fn that takes the list of items"
    if type(first).__module__.startswith("PIL."):
        kind, fix = "a picture of Pillow", "give the dataset transform=transforms.ToTensor()"
    raise DataError(
        f"a batch is made of tensors, arrays, numbers, texts, tuples, lists and mappings, got {kind}; {fix}"
    )


def default_convert(item: Any) -> Any:
    """One item with its arrays and NumPy's numbers as tensors, and its tuples as lists: for a loader without batches.

        tc.data.default_convert((np.zeros(3), 7))  # a list of a tensor and 7

    Like `torch.utils.data.default_convert`.

    Args:
        item: What a dataset gives.
    """
    if type(item) is tuple:
        item = list(item)
    return mapped(item, lambda leaf: tensor(np.asarray(leaf)) if _is_array(leaf) else leaf, default_convert)


def mapped(value: Any, function: Callable[[Any], Any], inner: Callable[[Any], Any] | None = None) -> Any:
    """`value`, nested as it is, with `function` of all that is no tuple, list or mapping, and `inner` of the parts."""
    inner = inner or (lambda part: mapped(part, function))
    if isinstance(value, Mapping):
        made = {key: inner(part) for key, part in value.items()}
        return made if type(value) is dict else _like(value, made)
    if isinstance(value, list | tuple):
        parts = [inner(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return function(value)


def _is_array(value: Any) -> bool:
    """Whether it is an array of any library, or a number of NumPy's, and no tensor of ours or picture."""
    return hasattr(value, "__array__") and hasattr(value, "dtype") and not isinstance(value, Tensor | np.str_)


def _like(mapping: Mapping[Any, Any], made: dict[Any, Any]) -> Any:
    """A mapping of the class of `mapping` with other values; a dict where that class cannot be made so."""
    try:
        return type(mapping)(made)  # type: ignore[call-arg]
    except TypeError:
        return made


__all__ = ["default_collate", "default_convert"]
