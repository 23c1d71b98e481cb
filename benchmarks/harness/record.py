"""Records: what was measured, on what, by which code, with every sample. All of them are written here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyconv.host.environment import stamp, version_of
from tinyconv.host.files import atomic

LIBRARIES = ("numpy", "torch", "jax", "tinygrad", "mygrad", "autograd")
WIDTH = 120


def place(name: str, out: Path | None) -> Path:
    """Where the record of a benchmark goes: `out`, or the records of this checkout."""
    return out or Path(__file__).parents[1] / "records" / f"{name}.json"


def save(name: str, parts: Mapping[str, Any], out: Path | None = None) -> Path:
    """Put these parts into the record, in place of those of the same names; the others stay as they were measured."""
    path = place(name, out)
    record: dict[str, Any] = (
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"benchmark": name, "parts": {}}
    )
    stamped = {
        **stamp(),
        "versions": {library: version_of(library) for library in LIBRARIES},
    }
    for part, measured in parts.items():
        if "batches" in measured:  # other batch sizes that are there stay
            before = record["parts"].get(part, {}).get("batches", [])
            new = [{**one, **stamped} for one in measured["batches"]]
            kept = [one for one in before if one["batch"] not in {n["batch"] for n in new}]
            measured = {"batches": sorted(kept + new, key=lambda one: one["batch"])}
        record["parts"][part] = {**stamped, **measured}
    write(path, record)
    return path


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON, whole or not at all."""
    with atomic(path) as beside:
        beside.write_text(text(record) + "\n", encoding="utf-8")


def text(value: Any, depth: int = 0) -> str:
    """`value` as JSON. What fits on a line stands on one, and a list of numbers always does: a sample is no line.

    So the records stay short, and a difference between two of them can be read.
    """
    line = json.dumps(value)
    if not isinstance(value, dict | list | tuple) or depth + len(line) <= WIDTH:
        return line
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {text(item, depth + 1)}" for key, item in value.items()]
    elif all(isinstance(item, int | float) for item in value):
        return line
    else:
        items = [text(item, depth + 1) for item in value]
    start, end = line[0], line[-1]
    margin = "\n" + " " * depth
    return f"{start}{margin} {f',{margin} '.join(items)}{margin}{end}"
