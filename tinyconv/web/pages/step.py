"""Jobs of the Step page: one step of the model on one image, recorded, and the sums behind its numbers."""

from __future__ import annotations

from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
from pygments.lexers import PythonLexer
from pygments.token import Token

from tinyconv import nn
from tinyconv.engine.variants import name_of, select
from tinyconv.inspect import Recording, explain, loops, record
from tinyconv.inspect.explain import Term
from tinyconv.tensor.creation import tensor
from tinyconv.web import layers
from tinyconv.web.jobs import JobError, job
from tinyconv.web.studio import Studio

KEPT, MOST = 64, 256 << 20
"""How many recordings are kept, for tabs that look at one of them, and how many bytes these may take."""
LETTERS = {
    Token.Keyword: "k",
    Token.Name.Builtin: "b",
    Token.Name.Function: "f",
    Token.Name.Class: "f",
    Token.Name.Decorator: "d",
    Token.Literal.String: "s",
    Token.Literal.Number: "m",
    Token.Comment: "c",
    Token.Operator.Word: "k",
}
"""The class that the page gives a token, by its kind; "" for all others."""


@job("step.record")
def step_record(
    studio: Studio,
    image: int = 0,
    drawn: bool = False,
    target: int | None = None,
    among: int | None = None,
    training: bool = False,
) -> dict[str, Any]:
    """Record a step on one image, and keep the recording for `step.explain`.

    Args:
        image: The number of a test image. With `among`, a class, the first image of that class from this number on,
            and from 0 on where the end is reached.
        drawn: Take what was drawn last on the Draw page instead.
        target: The class to walk back from; unless given the label, or the class that the model sees in a drawing.
        training: Run the model as in training, with dropout and the statistics of this one image.

    The answer holds `id`, by which `step.explain` knows the recording, `image` and `label`, both None for a drawing,
    `images`, how many there are, `drawing`, whether something is drawn, `target`, `probabilities` of the classes,
    `pixels`, uint8 (C, H, W), `modal`, whether training mode makes a difference, `training` and `after` of
    `layers.when`, and

    * `recording`: `Recording.to_dict()`, whose frames hold, in place of the text of their `source`, the place `text` of
      it in `sources`, and `usual`, the name of the pair that training runs in place of the readable one;
    * `sources`: a list of `file`, `line` and `lines`, each of these a list of [class, text] pairs;
    * `loops`: for "conv2d" and others that have a pair in loops.py, the places of its "forward" and "backward".

    Raises JobError where there is no such class or drawing, DataError for no such image, and what `record` raises.
    """
    subject = studio.subject
    model, classes = subject.model, len(subject.classes)
    for name, value in {"target": target, "among": among}.items():
        if value is not None and not 0 <= value < classes:
            raise JobError(f"step.record: {name} must be a class, 0 to {classes - 1}, got {value}")
    label = None
    if drawn:
        pixels = studio.state.get("drawn")
        if pixels is None:
            raise JobError("nothing is drawn yet; draw a digit on the Draw page first")
    else:
        image = image if among is None else subject.next_of(among, image)
        found = subject.image(image)
        pixels, label = found.images[0], int(found.labels[0])
    x = subject.input(pixels[None])
    if target is None:
        target = label
    if target is None:
        target = int(record(model, x, [0], training=training).output[0].argmax())
    recording = record(model, x, [target], training=training)
    kept: dict[int, Recording] = studio.state.setdefault("step.recordings", {})
    number = max(kept, default=0) + 1
    kept[number] = recording
    while len(kept) > KEPT or (len(kept) > 1 and sum(one.nbytes for one in kept.values()) > MOST):
        kept.pop(min(kept))
    return {
        "id": number,
        **layers.when(studio),
        "modal": any(isinstance(module, nn.Dropout | nn.BatchNorm1d | nn.BatchNorm2d) for module in model.modules()),
        "image": None if drawn else image,
        "images": None if drawn else len(subject.images),
        "drawing": "drawn" in studio.state,
        "label": label,
        "target": target,
        "probabilities": tensor(recording.output).softmax(1).numpy()[0],
        "pixels": pixels,
        **_readable(recording),
    }


@job("step.explain", newest=True)
def step_explain(studio: Studio, recording: int, frame: int, which: str, cell: list[int]) -> dict[str, Any]:
    """Why a cell of what leaves a frame is the number that it is: `tinyconv.inspect.explain`.

    Args:
        recording: The `id` of the recording.
        frame: The number of its frame.
        which: The argument, one of the frame's outputs: "y", "dx".
        cell: The index of the cell.

    The answer holds `frame`, `which`, `cell`, `total`, `count`, `sum`, `remainder`, `linear` and `windows` as in
    `Explanation`, and its terms as `parts`, one for each `argument`: with the arrays `place` (terms, axes), `value`,
    `coefficient` and `product` (terms,), and with `of`, and `at` (terms, axes), or None for both.

    Raises JobError for a recording that is no longer kept, and what `explain` raises.
    """
    found: Recording | None = studio.state.get("step.recordings", {}).get(recording)
    if found is None:
        raise JobError("this recording is no longer kept; record again")
    if not 0 <= frame < len(found.frames):
        raise JobError(f"step.explain: frames are 0 to {len(found.frames) - 1}, got {frame}")
    explanation = explain(found.frames[frame], which, cell)
    parts = [_part(list(terms)) for _, terms in groupby(explanation.terms, lambda term: (term.argument, term.of))]
    return {**vars(explanation), "terms": None, "parts": parts}


def _part(terms: list[Term]) -> dict[str, Any]:
    """Terms whose values are cells of one argument, as arrays."""
    first = terms[0]
    return {
        "argument": first.argument,
        "of": first.of,
        "place": np.array([term.place for term in terms], np.int32).reshape(len(terms), len(first.place)),
        "at": None if first.of is None else np.array([term.at for term in terms], np.int32),
        "value": np.array([term.value for term in terms]),
        "coefficient": np.array([term.coefficient for term in terms]),
        "product": np.array([term.product for term in terms]),
    }


def _readable(recording: Recording) -> dict[str, Any]:
    """The recording as plain values, its source text coloured, each text once."""
    plain = recording.to_dict()
    sources: list[dict[str, Any]] = []
    places: dict[tuple[str, int], int] = {}
    looped: dict[str, dict[str, int]] = {}

    def place(file: str, line: int, text: str) -> int:
        if (file, line) not in places:
            places[file, line] = len(sources)
            sources.append({"file": file, "line": line, "lines": coloured(text)})
        return places[file, line]

    for frame, given in zip(recording.frames, plain["frames"], strict=True):
        if frame.source is not None:
            given["source"]["text"] = place(frame.source.file, frame.source.line, frame.source.text)
        if frame.direction == "forward":
            arrays = [o.value if o.array is None else o.array for o in frame.inputs]
            given["usual"] = name_of(frame.op, select(frame.op, "numpy", arrays, frame.geometry))
        else:
            given["usual"] = plain["frames"][frame.partner]["usual"]
        if (source := loops(frame)) is not None:
            looped.setdefault(frame.name, {})[frame.direction] = place(source.file, source.line, source.text)
    return {"recording": plain, "sources": sources, "loops": looped}


@cache
def coloured(text: str) -> list[list[list[str]]]:
    """Python code as lines of [class, text] pairs, with a class of `LETTERS` or "" for each."""
    lines: list[list[list[str]]] = [[]]
    for kind, part in PythonLexer().get_tokens(text):
        while kind not in LETTERS and kind.parent is not None:
            kind = kind.parent
        letter = LETTERS.get(kind, "")
        for number, piece in enumerate(part.split("\n")):
            if number:
                lines.append([])
            if piece and lines[-1] and lines[-1][-1][0] == letter:
                lines[-1][-1][1] += piece
            elif piece:
                lines[-1].append([letter, piece])
    while lines and not lines[-1]:
        lines.pop()
    return lines
