"""Records of benchmarks: what was measured, on what, by which code, with every sample."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyconv.host.environment import stamp, version_of
from tinyconv.host.files import atomic

LIBRARIES = ("numpy", "torch", "jax", "tinygrad", "mygrad", "autograd")


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
        if "batches" in measured:  # what is there of other batch sizes stays
            before = record["parts"].get(part, {}).get("batches", [])
            new = [{**one, **stamped} for one in measured["batches"]]
            kept = [one for one in before if one["batch"] not in {n["batch"] for n in new}]
            measured = {"batches": sorted(kept + new, key=lambda one: one["batch"])}
        record["parts"][part] = {**stamped, **measured}
    with atomic(path) as beside:
        Path(beside).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path
