"""`tinyconv data fetch | list | verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from tinyconv import data
from tinyconv.cli.common import DataDir, Offline

Name = Annotated[str, typer.Argument(help=f"Dataset: {', '.join(data.list_datasets())}.")]
SYNTHETIC = "synthetic: drawn when needed, no files to fetch"


def fetch(
    name: Name = "mnist",
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """Get a dataset unless it is here already, and verify it."""
    print(SYNTHETIC if name == "synthetic" else f"{name}: {data.fetch(name, data_dir, offline)}")


def list_(data_dir: DataDir = None) -> None:
    """List the datasets and where they are."""
    for name in data.list_datasets():
        print(f"{name}: {data.locate(name, data_dir) or 'not here; get it with: tinyconv data fetch ' + name}")
    print(SYNTHETIC)


def verify(
    name: Name = "mnist",
    data_dir: DataDir = None,
) -> None:
    """Compare every file of a dataset with its SHA-256. The exit code is 1 if one is missing or damaged."""
    states = data.verify(name, data_dir)
    for path, status in states:
        print(f"{path}: {status}")
    if any(status != "ok" for _, status in states):
        raise typer.Exit(1)
