"""PyTorch, which only comparisons need: the one place in the package that imports it."""

from __future__ import annotations

from typing import Any

from tinyconv.errors import TinyconvError


def torch() -> Any:
    """The module `torch`, imported at the first call. Raises TinyconvError where it cannot be imported."""
    try:
        import torch
    except ImportError as error:
        raise TinyconvError("comparing with PyTorch needs PyTorch: pip install torch") from error
    return torch
