"""Jobs of the Build page: a cake worked out slice by slice, and made the model of the studio."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import tinyconv.inspect
from tinyconv import data, models
from tinyconv.arrays.backend import device
from tinyconv.errors import CakeError, DeviceError, ShapeError, shortened
from tinyconv.host import limits
from tinyconv.inspect.cake import Cake, Slice, pieces, vocabulary
from tinyconv.inspect.summary import LayerSummary, Summary
from tinyconv.nn import Flatten, Module, Sequential
from tinyconv.shapes import Shape, product
from tinyconv.web.jobs import JobError, job
from tinyconv.web.studio import Studio
from tinyconv.web.subject import Subject, of_name

WINDOWS = 1024
"""Cells of the windows of all poolings in a cake, at most: the page stays live, and a step in Python is taken for each.
`tinyconv summary` takes more."""
LENET = "conv 6 5; relu; pool 2; conv 16 5; relu; pool 2; flatten; fc 120; relu; fc 84; relu; fc 10"


@job("build.start")
def start(studio: Studio) -> dict[str, Any]:
    """What the page begins with: slices, cakes and models to choose from, and the studio's own model.

    Returns:
        vocabulary, presets, models: What there is to choose from.
        own: The cake of the studio's model, as a preset; None where no cake describes it.
        layers, totals: Where none does, what its summary says; None where its `forward` asks for values.
    """
    subject = studio.subject
    own = _written(subject.model)
    return {
        "vocabulary": vocabulary(),
        "presets": _presets(),
        "own": own
        and {"name": "own", "title": f"{subject.title}, the model here", "cake": own, "image": _by(subject.shape)},
        **({} if own else _outlined(subject)),
        "models": [name for name in models.MODELS if name != "cake" and _datasets(_image(name))],
    }


@job("build.bake", newest=True)
def bake(studio: Studio, cake: str, image: str, before: dict[str, str] | None = None) -> dict[str, Any]:
    """The cake on an image, slice by slice: shapes, costs, fields; the first error; Python; who can train it.

    Args:
        studio: The studio.
        cake: The text.
        image: CxHxW.
        before: Another {cake, image} to be compared with: its totals are given too.
    """
    found = _baked(cake, image)
    own = studio.subject.dataset
    fitting = sorted(found["datasets"], key=lambda name: name != own)  # the data that is in use comes first
    compared = _baked(before.get("cake", ""), before.get("image", "")) if before else None
    return {**found, "datasets": fitting, "before": compared and compared["totals"]}


@job("build.open", writes=True)
def open_cake(studio: Studio, cake: str, image: str, dataset: str | None = None) -> None:
    """Make the cake the model of the studio, untrained, with a dataset that has such images."""
    found = _baked(cake, image)
    if found["untrainable"]:
        raise JobError(found["untrainable"])
    chosen = dataset or bake(studio, cake, image)["datasets"][0]
    if chosen not in found["datasets"]:
        raise JobError(f"{shortened(chosen)} does not have images of {image}: {', '.join(found['datasets'])} has")
    here = studio.subject
    studio.open(of_name("cake", chosen, here.root, here.offline, slices=found["cake"]))


@job("build.model", writes=True)
def open_model(studio: Studio, name: str) -> None:
    """Make a model of `models.MODELS` the model of the studio, untrained."""
    if name not in models.MODELS or name == "cake":
        raise JobError(f"there is no model {shortened(name)}")
    fitting = _datasets(_image(name))
    here = studio.subject
    dataset = here.dataset if here.dataset in fitting else fitting[0] if fitting else None
    studio.open(of_name(name, dataset, here.root, here.offline))


def _image(name: str) -> Shape:
    """The image that a model by name is made for."""
    return models.IMAGES.get(name, (1, 28, 28))


@lru_cache(1)
def _presets() -> list[dict[str, str]]:
    """Cakes to begin with: the lesson's, and every model by name that a cake can describe."""
    found = [
        {"name": "lesson", "title": "The lesson's cake", "cake": LENET, "image": "3x32x32"},
        {"name": "lenet5", "title": "LeNet-5", "cake": LENET, "image": "1x28x28"},
    ]
    with device("meta"):
        for name in models.MODELS:
            cake = None if name == "cake" else _written(models.create(name))
            if cake and cake != LENET:
                found.append({"name": name, "title": name, "cake": cake, "image": _by(_image(name))})
    return found


def _written(model: Module) -> str | None:
    """The model as a cake, if it is one. LeNet5 has a `forward` of its own, which a cake can describe."""
    if type(model) is models.LeNet5:
        m = model
        front = (m.conv1, m.relu, m.pool, m.conv2, m.relu, m.pool)
        model = Sequential(*front, Flatten(), m.fc1, m.relu, m.fc2, m.relu, m.fc3)
    try:
        return str(Cake.of(model))
    except ShapeError:
        return None


def _outlined(subject: Subject) -> dict[str, Any]:
    """The layers of a model that is no cake, and what they cost in all."""
    try:
        summary = tinyconv.inspect.summary(subject.model, subject.shape)
    except (ShapeError, DeviceError):
        return {"layers": None, "totals": None}
    rows = [{"name": row.name, "kind": row.kind, **_figures(row)} for row in summary.layers]
    return {"layers": rows, "totals": _totals(summary)}


# --- a cake worked out ----------------------------------------------------------------------------------------------


@lru_cache(64)
def _baked(text: str, image: str) -> dict[str, Any]:
    """Everything about a cake that follows from its text and the image. It is shared: nobody may change it."""
    parts = list(pieces(text)) if len(text) <= limits.TEXT else []
    parts = parts if len(parts) <= limits.LAYERS else []
    good, error, summary, shape = Cake((), text), None, None, None
    try:
        shape = _shape(image)
        good, model, error = _built(text, parts, shape)
        summary = tinyconv.inspect.summary(model, shape) if model else None
    except ShapeError as refusal:
        error = _described(refusal, 0, "image" if shape is None else "cake")
    names = good.names() if summary else []
    place = _places(text)
    slices = []
    for i, (words, first, past) in enumerate(parts):
        row: dict[str, Any] = {"text": words, "start": place(first), "end": place(past)}
        read = good.slices[i] if i < len(good.slices) else _read(words)
        if read is not None:
            row |= {"kind": read.kind, "arguments": read.written()}
        if summary is not None and i < len(names):
            row |= {"name": names[i], **_figures(summary[names[i]])}
        slices.append(row)
    whole = summary is not None and error is None
    datasets = _datasets(shape) if shape else []
    return {
        "text": text,
        "cake": str(good) if whole else None,
        "image": list(shape) if shape else None,
        "slices": slices,
        "error": error,
        "totals": _totals(summary) if summary is not None else None,
        "warnings": list(summary.warnings) if summary is not None else [],
        "python": good.to_python(shape) if whole and shape else None,
        "datasets": datasets,
        "untrainable": _untrainable(summary, shape, datasets) if whole else "Mend the cake first: see the error.",
    }


def _shape(image: str) -> Shape:
    """CxHxW. Raises ShapeError for anything else."""
    sizes = image.lower().replace("×", "x").split("x")
    fine = len(sizes) == 3 and all(n.strip().isdecimal() and len(n) < 10 and 0 < int(n) <= limits.SIZE for n in sizes)
    if not fine:
        raise ShapeError(
            "the image is CxHxW, its channels, rows and columns, as in 1x28x28 or 3x32x32; each is 1 to "
            f"{limits.SIZE:,}; got {shortened(image)}"
        )
    return tuple(int(n) for n in sizes)


def _built(text: str, parts: list[Any], shape: Shape) -> tuple[Cake, Module | None, dict[str, Any] | None]:
    """As much of the cake as can be built, from the image on, and what is wrong with the slice after it.

    Without `parts` the text as a whole is wrong.
    """
    error = None
    try:
        cake = Cake.parse(text)
    except CakeError as refusal:
        error = _described(refusal, refusal.slice if parts else 0)
        front = text[: refusal.start] if parts else ""
        cake = Cake.parse(front) if front.strip() else Cake((), text)
    while cake.slices:
        try:
            _check_windows(cake)
            with device("meta"):
                return cake, cake.build(shape), error
        except CakeError as refusal:
            error = _described(refusal, refusal.slice)
            cake = Cake(cake.slices[: refusal.slice - 1], cake.text)
    return cake, None, error


def _read(words: str) -> Slice | None:
    """A slice by itself, if it can be read."""
    try:
        return Cake.parse(words).slices[0]
    except CakeError:
        return None


def _check_windows(cake: Cake) -> None:
    """CakeError at the pooling with which the windows have too many cells to be worked out live."""
    cells = 0
    for i, s in enumerate(cake.slices):
        if s.kind in ("pool", "avgpool"):
            size = s.values[0]
            cells += product(size) if isinstance(size, tuple) else size * size
        if cells > WINDOWS:
            why = f"the windows of the poolings up to here have {cells:,} cells; the page works out {WINDOWS:,}"
            said = f"slice {i + 1}, {str(s)!r}: {why}, and `tinyconv summary` more"
            raise CakeError(said, i + 1, s.start, s.end)


def _described(error: ShapeError, number: int, where: str = "cake") -> dict[str, Any]:
    """An error as the page shows it: `number` counts slices from 1, and is 0 for the cake, or the image, as a whole."""
    return {"text": str(error).partition("\n")[0], "slice": number, "where": where}


def _places(text: str) -> Any:
    """Where a place in a Python text is in a text of JavaScript, which counts in units of UTF-16."""
    return (lambda i: i) if text.isascii() else (lambda i: len(text[:i].encode("utf-16-le", "surrogatepass")) // 2)


def _figures(row: LayerSummary) -> dict[str, Any]:
    fields = row.fields and [[field.size, field.jump, field.start] for field in row.fields]
    return {
        "output": list(row.output_shape),
        "params": row.params,
        "macs": row.macs,
        "flops": row.flops,
        "activations": row.activation_bytes,
        "columns": row.column_bytes,
        "share": row.share,
        "fields": fields,
    }


def _totals(summary: Summary) -> dict[str, Any]:
    return {
        "output": list(summary.layers[-1].output_shape),
        "params": summary.total_params,
        "macs": summary.total_macs,
        "flops": summary.total_flops,
        "activations": summary.activation_bytes,
        "columns": summary.column_bytes,
    }


# --- training -------------------------------------------------------------------------------------------------------


def _datasets(shape: Shape) -> list[str]:
    """The datasets with such images."""
    return [name for name in (*data.list_datasets(), "synthetic") if data.describe(name).images.shape[1:] == shape]


def _untrainable(summary: Summary | None, shape: Shape | None, datasets: list[str]) -> str | None:
    """Why no dataset can train it; None where one can."""
    if summary is None or shape is None:
        return "There is nothing to train."
    if not datasets:
        return (
            f"No dataset here has images of {_by(shape)}: mnist and fashion-mnist have 1x28x28, cifar10 has 3x32x32. "
            "Change the image to one of these to train the cake."
        )
    out, classes = summary.layers[-1].output_shape, len(data.describe(datasets[0]).classes)
    if out != (classes,):
        flat = "" if len(out) == 1 else "flatten; "
        return (
            f"The cake gives {_by(out)} numbers and {datasets[0]} has {classes} classes: end it in {flat}fc {classes}."
        )
    if summary.activation_bytes > limits.ACTIVATIONS:
        most = limits.ACTIVATIONS >> 20
        return (
            f"The outputs for one image take {summary.activation_bytes >> 20:,} MiB; at most {most} are trained here."
        )
    return None


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape))
