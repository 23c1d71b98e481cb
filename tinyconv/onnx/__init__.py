"""Models as ONNX files: `export` writes one that onnxruntime runs and Netron shows, `load` reads one to train on.

    tc.onnx.export(model, (1, 28, 28), "lenet5.onnx")
    model = tc.onnx.load("lenet5.onnx")

What is used of it needs onnx: `pip install 'tinyconv[onnx]'`. docs/onnx.md says what is promised, and what is not
covered.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from tinyconv.errors import OnnxError as _OnnxError
from tinyconv.errors import no_attribute as _no_attribute

if TYPE_CHECKING:
    from tinyconv.onnx.exporting import Report, export
    from tinyconv.onnx.loading import Graph, load

__all__ = ["Graph", "Report", "export", "load"]

_PLACES = {"Graph": "loading", "Report": "exporting", "export": "exporting", "load": "loading"}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise _no_attribute(globals(), name)
    try:
        return getattr(_import_module(f"tinyconv.onnx.{_PLACES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise _OnnxError("ONNX files need onnx: pip install 'tinyconv[onnx]'") from None
