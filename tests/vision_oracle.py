"""torchvision as a second oracle: `from vision_oracle import torchvision`, or the tests that need it are skipped.

torchvision has operators in C++ that are compiled for one build of PyTorch. Beside another build, such as that for the
CPU alone, they do not load, and `import torchvision` stops at the first of their names. No test here runs them, so they
are given signatures with nothing behind them, and the rest is imported: pictures, datasets and models are Python.
"""

import re
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import pytest


def _names() -> list[str]:
    """The operators whose shapes torchvision registers as it is imported."""
    source = distribution("torchvision").locate_file("torchvision/_meta_registrations.py")
    text = source.read_text(encoding="utf-8")
    return sorted(set(re.findall(r'register_(?:meta\("|fake\("torchvision::)(\w+)"', text)))


def _imported() -> Any:
    import torch

    try:
        names = _names()
    except PackageNotFoundError:
        pytest.skip("torchvision is not installed: pip install --no-deps torchvision", allow_module_level=True)
    try:
        import torchvision
    except RuntimeError as error:
        if "does not exist" not in str(error):
            pytest.skip(f"torchvision cannot be imported: {error}", allow_module_level=True)
    else:
        return torchvision
    lib = torch.library.Library("torchvision", "FRAGMENT")
    for name in names:
        if not hasattr(torch.ops.torchvision, name):
            lib.define(f"{name}(Tensor x) -> Tensor")
    KEPT.append(lib)
    import torchvision

    return torchvision


KEPT: list[Any] = []
"""The signatures: PyTorch forgets those whose library is collected."""
torchvision = _imported()
