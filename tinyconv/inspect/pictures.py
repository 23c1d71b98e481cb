"""The pictures, with matplotlib: feature maps, confusion matrices, mistakes, training curves. Each returns a Figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tinyconv.errors import DataError, printable

HostArray: TypeAlias = np.ndarray[Any, np.dtype[Any]]

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")  # Okabe & Ito
MOST_MAPS, MOST_CHANNELS, MOST_LAYERS = 32, 16, 12  # shown: more cannot be made out


def feature_maps(found: Any) -> Any:
    """`FeatureMaps` as a picture: the image with what the strongest cell of each layer sees, the gradient, the scores;
    below, layer by layer, the filters and the maps."""
    layers = found.layers[:MOST_LAYERS]
    heights = [3.0, *(_height(layer) for layer in layers)]
    figure = _figure(12, sum(heights) + 0.5)
    rows = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _head(rows[0], found, layers)
    for subfigure, layer, colour in zip(rows[1:], layers, _colours(len(layers)), strict=True):
        _layer(subfigure, layer, colour)
    return figure


def _head(subfigure: Any, found: Any, layers: Sequence[Any]) -> None:
    image, gradient, scores = subfigure.subplots(1, 3, width_ratios=[1, 1, 1.6])
    image.imshow(found.picture, cmap="gray", vmin=0, vmax=1)
    from matplotlib.patches import Rectangle

    for layer, colour in zip(layers, _colours(len(layers)), strict=True):
        (top, bottom), (left, right) = layer.rows, layer.columns
        corner = left - 0.5, top - 0.5
        image.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, edgecolor=colour, linewidth=2))
    image.set_title("input, and what the strongest\ncell of each layer sees", fontsize=10)
    winner = found.classes[found.winner]
    slope = np.abs(found.gradient).max(0)
    gradient.imshow(slope, cmap="magma")
    gradient.set_title(f"|gradient| of the score of {winner!r}:\nthe pixels that it depends on", fontsize=10)
    for axes in (image, gradient):
        axes.set_xticks([])
        axes.set_yticks([])
    shares = np.exp(found.scores - found.scores.max())
    shares = shares / shares.sum()
    shown = np.sort(np.argsort(shares)[::-1][:10])  # the likeliest ones, if there are many classes
    colours = [COLOURS[2] if i == found.winner else "#BBBBBB" for i in shown]
    scores.barh(range(len(shown)), shares[shown], color=colours)
    scores.set_yticks(range(len(shown)), [found.classes[i] for i in shown], fontsize=9)
    for at, i in enumerate(shown):
        scores.text(shares[i] + 0.01, at, f"{shares[i]:.3f}", va="center", fontsize=8)
    scores.set_xlim(0, 1.12)
    scores.invert_yaxis()
    scores.spines[["top", "right"]].set_visible(False)
    scores.set_title("probability (softmax of the scores)", fontsize=10)


def _layer(subfigure: Any, layer: Any, colour: str) -> None:
    """The filters as a sheet (a column each, a row for each channel that they read), and the maps as a grid."""
    order = _order(layer)
    count, height, width = layer.maps.shape
    some = f", {len(order)} of them, strongest first" if len(order) < count else ""
    left, right = subfigure.subplots(1, 2, width_ratios=[1, 1.8])
    if layer.filters is None:
        left.axis("off")
    else:
        filters = layer.filters[order][:, :MOST_CHANNELS]
        reach = float(np.abs(filters).max()) or 1.0
        sheet = _sheet(filters.transpose(1, 0, 2, 3).reshape(-1, *filters.shape[2:]), len(order))
        left.imshow(sheet, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="equal")
        shown = filters.shape[1]
        of = f"{shown} of {layer.filters.shape[1]}" if shown < layer.filters.shape[1] else str(shown)
        kernel = "x".join(map(str, layer.filters.shape[2:]))
        left.set_title(
            f"filters {kernel}: a column each,\n{of} channel{'s' * (shown > 1)} down (red +, blue −)", fontsize=9
        )
    columns = _columns(len(order))
    sheet = _sheet(layer.maps[order], columns)
    right.imshow(sheet, cmap="viridis")
    place = order.index(layer.cell[0])
    row, column = divmod(place, columns)
    x, y = column * (width + 1) + layer.cell[2], row * (height + 1) + layer.cell[1]
    right.plot(x, y, "s", markersize=9, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=2)
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    right.set_title(f"{count} maps of {height}x{width}{some}; the square is the strongest cell", fontsize=9)
    subfigure.suptitle(f"{layer.name}: {layer.kind}", x=0.01, ha="left", fontsize=12, color=colour, weight="bold")


def _order(layer: Any) -> list[int]:
    """The maps to be shown: all of them in their own order, or the strongest ones."""
    count = len(layer.maps)
    if count <= MOST_MAPS:
        return list(range(count))
    strongest = np.argsort(-layer.maps.reshape(count, -1).max(1), kind="stable")
    return [int(i) for i in strongest[:MOST_MAPS]]


def _columns(count: int) -> int:
    return min(count, 8 if count <= 16 else 16)


def _height(layer: Any) -> float:
    """Inches that a layer needs: its maps across 7 of them, or its filters across 4, whichever is taller."""
    count = min(len(layer.maps), MOST_MAPS)
    columns = _columns(count)
    maps = -(-count // columns) * min(7 / columns, 1.2) * layer.maps.shape[1] / layer.maps.shape[2]
    filters = 0.0 if layer.filters is None else 4 / count * min(layer.filters.shape[1], MOST_CHANNELS)
    return max(maps, min(filters, 5)) + 0.9


def _sheet(tiles: HostArray, columns: int) -> HostArray:
    """(N, H, W) as one picture, row by row, a gap of one pixel between two tiles."""
    count, height, width = tiles.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan, np.float32)
    for i, tile in enumerate(tiles):
        row, column = divmod(i, columns)
        sheet[row * (height + 1) :][:height, column * (width + 1) :][:, :width] = tile
    return sheet


def confusion(matrix: HostArray, classes: Sequence[str]) -> Any:
    """Rows are what the images show, columns what the model said. Colours show mistakes, so the diagonal has none."""
    figure = _figure(0.62 * len(classes) + 2.2, 0.62 * len(classes) + 1.6)
    axes = figure.subplots()
    wrong = matrix.astype(float)
    np.fill_diagonal(wrong, np.nan)
    most = np.nanmax(wrong) if len(classes) > 1 else 0
    axes.imshow(wrong, cmap="Oranges", vmin=0, vmax=max(most, 1))
    for i, row in enumerate(matrix):
        for j, count in enumerate(row):
            right = i == j
            colour = "#666666" if right else "white" if count > 0.6 * max(most, 1) else "black"
            if count:
                axes.text(j, i, f"{count:,}", ha="center", va="center", fontsize=9 if right else 10, color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=0 if max(map(len, classes)) < 3 else 60)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("what the model said")
    axes.set_ylabel("what it is")
    total, wrongs = int(matrix.sum()), int(matrix.sum() - np.trace(matrix))
    axes.set_title(f"{wrongs:,} of {total:,} wrong ({1 - wrongs / max(total, 1):.2%} right)", loc="left", fontsize=12)
    return figure


def mistakes(images: HostArray, labels: HostArray, probabilities: HostArray, classes: Sequence[str]) -> Any:
    """At most 40 of the images, uint8 (N, C, H, W), that the model is wrong about, the surest mistakes first."""
    said = probabilities.argmax(1)
    sureness = probabilities.max(1)
    wrong = np.flatnonzero(said != labels)
    worst = wrong[np.argsort(-sureness[wrong], kind="stable")][:40]
    columns, rows = 8, max(1, -(-len(worst) // 8))
    figure = _figure(12, 1.85 * rows + 0.6)
    figure.suptitle(
        f"{len(wrong):,} of {len(labels):,} are wrong; "
        + (f"these {len(worst)} with the highest probability" if len(worst) < len(wrong) else "all of them"),
        fontsize=13,
    )
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
        if len(worst):
            i, worst = worst[0], worst[1:]
            image = images[i]
            axes.imshow(image.transpose(1, 2, 0) if len(image) == 3 else image[0], cmap="gray", vmin=0, vmax=255)
            title = f"{classes[labels[i]]}, said {classes[said[i]]}\n{sureness[i]:.1%}, no. {i}"
            axes.set_title(title, fontsize=9, pad=3)
    return figure


def curves(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Any:
    """Training loss and test accuracy over the epochs of one or several runs, each a list of `EpochReport`s."""
    figure = _figure(11, 4.2)
    loss, accuracy = figure.subplots(1, 2)
    for (name, history), colour in zip(runs.items(), _colours(len(runs)), strict=True):
        epochs = [entry["epoch"] for entry in history]
        marker = "o" if len(epochs) < 15 else ""
        right = [100 * entry["test_accuracy"] for entry in history]
        loss.plot(epochs, [entry["train_loss"] for entry in history], marker=marker, color=colour)
        label = f"{printable(name, 100)}: {right[-1]:.2f} %".replace("$", r"\$")  # else Matplotlib reads mathematics
        label = f" {label}" if label.startswith("_") else label  # else it leaves the label out
        accuracy.plot(epochs, right, marker=marker, color=colour, label=label)
    loss.set_title("training loss, mean over the epoch", loc="left", fontsize=11)
    loss.set_yscale("log")
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

    low, high = loss.get_ylim()
    near = high < 10 * low  # ticks at 1, 2, 5 and 10 alone might be one, or none
    loss.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]) if near else LogLocator(subs=(1.0, 2.0, 5.0)))
    loss.yaxis.set_major_formatter(ScalarFormatter())
    loss.yaxis.set_minor_formatter(NullFormatter())
    accuracy.set_title("test accuracy after the epoch, %", loc="left", fontsize=11)
    accuracy.legend(frameon=False, fontsize=9, loc="lower right")
    for axes in (loss, accuracy):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def save(figure: Any, path: str | Path) -> Path:
    """Write a figure in the format of its name (PNG, SVG, PDF); its folder is made. Raises DataError if that fails."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without date and version: the same figure gives the same file.
        without: dict[str, Any] = {".svg": {"Date": None}, ".png": {"Software": None}}.get(path.suffix, {})
        figure.savefig(path, dpi=110, metadata=without)
    except (OSError, ValueError) as error:  # ValueError: an unknown format
        raise DataError(f"cannot write the picture {path}: {error}") from error
    return path


def png(figure: Any) -> bytes:
    """A figure as the bytes of a PNG file."""
    content = BytesIO()
    figure.savefig(content, format="png", dpi=80)
    return content.getvalue()


def check_installed() -> None:
    """Raise DataError where there is no matplotlib: before something is computed that could not be drawn."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise DataError("pictures need matplotlib: pip install 'tinyconv[pictures]'") from error


def _figure(width: float, height: float) -> Any:
    check_installed()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]
