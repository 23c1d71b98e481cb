"""`tinyconv export`: a trained model as an ONNX file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tinyconv import onnx
from tinyconv.cli.common import CheckpointFile, Json, checkpoint_of, is_code
from tinyconv.train import check_images
from tinyconv.train.checkpoint import is_checkpoint
from tinyconv.train.loop import history_of


def export(
    checkpoint: CheckpointFile,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[WEIGHTS] [OUT.onnx]",
            help="With FILE.py:NET, its checkpoint or a file of its weights; then the file to write (default: the name "
            "of the checkpoint, beside it, with .onnx).",
        ),
    ] = None,
    opset: Annotated[int, typer.Option(help="The version of the operators, 17 to 22.")] = 18,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Leave out the normalisation: the file takes what the model takes, not pixels."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a trained model as an ONNX file, which onnxruntime runs, and compare what other runtimes make of it.

    The file takes pixels, from 0 to 255, in batches of any size.
    """
    named = list(files or [])
    weights = named.pop(0) if named and is_code(checkpoint) and is_checkpoint(str(named[0])) else None
    if len(named) > 1 or (named and named[0].suffix != ".onnx"):
        raise typer.BadParameter(f"the file to write ends in .onnx, and there is one: got {' '.join(map(str, named))}")
    found = checkpoint_of(checkpoint, weights)
    check_images(found.run)
    kind, about = found.run.kind(), {"model": found.run.model, "data": found.run.data}
    if history := history_of(found.trainer["progress"]["history"]):
        about["test_accuracy"] = str(history[-1]["test_accuracy"])
    normalisation: dict[str, Any] = {} if raw else {"mean": kind.mean, "std": kind.std}
    report = onnx.export(
        found.model(),
        kind.images.shape[1:],
        named[0] if named else found.path.with_suffix(".onnx"),
        opset=opset,
        classes=kind.classes,
        metadata=about,
        **normalisation,
    )
    print(json.dumps(asdict(report) | {"path": str(report.path)}) if as_json else report, flush=True)
