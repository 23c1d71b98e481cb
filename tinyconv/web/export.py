"""One file that needs no server: the pages Look and Step, and what they ask the studio about a few images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from os import PathLike
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyconv.errors import DataError
from tinyconv.host.files import atomic
from tinyconv.web import pages, wire
from tinyconv.web.bundle import bundled
from tinyconv.web.studio import Studio
from tinyconv.web.subject import Subject

assert pages  # importing it fills the table of jobs

LARGEST = 24 << 20
"""The most bytes of arrays that a file takes: compressed, they are half of it, and a browser opens it at once."""
SEARCHED = 1000
"""Test images, the first ones, among which the strongest of each map are looked for."""
SCORES = 10
"""The most classes of which each gets its gradient on the image; of more, the model's answer alone has one."""

Known = dict[tuple[str, bytes], NDArray[Any]]


def write_page(subject: Subject, path: str | PathLike[str], images: Sequence[int] = (0,)) -> int:
    """Write the file, in place of one that is there, and return its size in bytes.

    The same model and images give the same bytes.

    Args:
        subject: The model, and its data.
        path: The file. Its folder must be there.
        images: The numbers of the test images to record.

    Raises DataError for an image that is not there, and where the recording takes more than `LARGEST` bytes;
    FileNotFoundError where the folder does not exist; and what `record` raises.
    """
    if not Path(path).parent.is_dir():
        raise FileNotFoundError(f"there is no folder {Path(path).parent} to write {Path(path).name} to")
    page = bundled("recorded.js", wire.pack(recorded(subject, images))).encode()
    with atomic(Path(path)) as beside:
        beside.write_bytes(page)
    return len(page)


def recorded(subject: Subject, images: Sequence[int]) -> dict[str, Any]:
    """What the pages ask, and the studio's answers: a message with

    * `subject`, its `outline`; `images`, in order, and their `labels`; and `command`, which opens the
      live studio;
    * `answers`: a list of `job`, `args` and `result`. Those of `look.strongest` lack their `images`, which are in
    * `pictures`: `numbers` (N,) and `images` uint8 (N, C, H, W).
    """
    if not images:
        raise DataError("an export needs at least one test image to record")
    for number in images:
        subject.image(number)
    images = sorted(set(images))
    known: Known = {}
    answers = [
        {"job": job, "args": args, "result": _once(result, known)} for job, args, result in _answers(subject, images)
    ]
    shown = [answer["result"]["numbers"] for answer in answers if answer["job"] == "look.strongest"]
    numbers = np.unique(np.concatenate(shown)) if shown else np.empty(0, np.int64)
    size = sum(array.nbytes for array in known.values())
    if size > LARGEST:
        raise DataError(
            f"a recording of {len(images)} image{'s' * (len(images) != 1)} of {subject.title} takes "
            f"{size / 1e6:,.0f} MB, and a page may hold {LARGEST / 1e6:,.0f} MB: record fewer images or a smaller "
            "model; the live studio, without --export, has no such limit"
        )
    return {
        "subject": subject.outline(),
        "images": images,
        "labels": [int(subject.images.labels[number]) for number in images],
        "command": _command(subject),
        "answers": answers,
        "pictures": {"numbers": numbers, "images": subject.images.images[numbers]},
    }


def _answers(subject: Subject, images: Sequence[int]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Job, arguments and result of what the pages ask about these images."""
    with _asked(subject) as ask:
        layers = ask("look.layers")
        chosen = subject.images[np.asarray(images)]
        examples = {"numbers": np.asarray(images), "labels": chosen.labels, "images": chosen.images}
        yield "look.layers", {}, {**layers, "examples": examples}
        scores: list[int | None] = [None, *range(len(subject.classes))]
        for number in images:
            yield "step.record", {"image": number}, ask("step.record", image=number)
            for score in scores if len(scores) <= SCORES + 1 else scores[:1]:
                args = {"number": number} if score is None else {"number": number, "score": score}
                yield "look.image", args, ask("look.image", **args)
    searched = copy(subject)
    searched.images = subject.images[:SEARCHED]
    with _asked(searched) as ask:
        for layer in layers["layers"]:
            if len(layer["shape"]) == 3 or layer is layers["layers"][-1]:
                for number in range(layer["shape"][0]):
                    args = {"layer": layer["name"], "map": number}
                    found = ask("look.strongest", **args)
                    while found["done"] < found["count"]:
                        found = ask("look.strongest", **args)
                    yield "look.strongest", args, {key: value for key, value in found.items() if key != "images"}


@contextmanager
def _asked(subject: Subject) -> Iterator[Any]:
    """A function that lets a studio of this subject do a job."""
    studio = Studio(subject)
    try:
        yield lambda job, **args: studio.submit(job, args).result()
    finally:
        studio.close()


def _once(value: Any, known: Known) -> Any:
    """The value with equal arrays in the same memory, which `pack` sends once: all images have the same weights."""
    if isinstance(value, np.ndarray):
        return known.setdefault((value.dtype.str, value.tobytes()), np.ascontiguousarray(value)).reshape(value.shape)
    if isinstance(value, Mapping):
        return {key: _once(part, known) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_once(part, known) for part in value]
    return value


def _command(subject: Subject) -> str:
    """How the live studio of this subject is opened."""
    if subject.own is not None:
        return "tc.studio(model)"
    if subject.checkpoint is not None:
        return f"tinyconv studio {quote(subject.checkpoint.name)}"
    outline = subject.outline()
    return f"tinyconv studio {quote(outline['cake'] or outline['name'])}"
