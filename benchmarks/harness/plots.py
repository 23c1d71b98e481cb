"""The pictures of the records, with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

COLOURS = {  # told apart by those who see few colours, too (Okabe & Ito)
    "six loops": "#999999",
    "two loops": "#56B4E9",
    "im2col": "#E69F00",
    "tiled": "#009E73",
    "native": "#0072B2",
    "torch": "#D55E00",
}
NAMES = {
    "six loops": "six loops (Python)",
    "two loops": "two loops over NumPy",
    "im2col": "im2col: one product",
    "tiled": "tiled: no columns",
    "native": "compiled C",
    "torch": "PyTorch",
}


def conv_plot(record: Mapping[str, Any], path: Path) -> None:
    """Microseconds an image, forward and backward together, of each implementation on each layer, with the fewest
    threads that were measured."""
    figure, axes = _figure(11, 6)
    threads, part = min(record["parts"].items(), key=lambda item: int(item[0].split()[0]))
    for k, name in enumerate(COLOURS):
        places, heights = [], []
        for i, measured in enumerate(part["layers"]):
            row = next((row for row in measured["rows"] if row["name"] == name and "forward" in row), None)
            if row is not None:
                places.append(i + (k - 2.5) * 0.14)
                heights.append(1e3 * (row["forward"]["ms"] + row["backward"]["ms"]) / part["batch"])
        if places:
            axes.bar(places, heights, 0.13, color=COLOURS[name], label=NAMES[name])
    axes.set_yscale("log")
    axes.set_ylabel("µs an image, forward + backward", fontsize=13)
    layers = [measured["layer"]["name"].replace(", ", "\n").replace(" to ", "→") for measured in part["layers"]]
    axes.set_xticks(range(len(layers)), layers, fontsize=11)
    axes.set_title(f"One convolution, batch {part['batch']}, {threads}: lower is better", loc="left", fontsize=15)
    axes.legend(ncols=3, fontsize=11, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.17))
    _save(figure, path)


def lenet_plot(record: Mapping[str, Any], path: Path, batch: int = 128) -> None:
    """Milliseconds of a training step of each library, with each number of threads that was measured, and of its
    products at the rate of one large product."""
    found = {
        name.removeprefix("step, "): one
        for name, part in record["parts"].items()
        if name.startswith("step, ")
        for one in part["batches"]
        if one["batch"] == batch
    }
    most = list(found.values())[-1]["summary"]
    names = sorted(
        {n for one in found.values() for n in one["summary"]}, key=lambda n: -most.get(n, {}).get("median_ms", 0)
    )
    figure, axes = _figure(10, 0.55 * len(names) + 1.8)
    for k, (threads, one) in enumerate(found.items()):
        for i, name in enumerate(names):
            row = one["summary"].get(name)
            if row is None:
                continue
            ours = name.startswith("tinyconv")
            colour = ("#8FD3BC", "#009E73")[k % 2] if ours else ("#CCCCCC", "#888888")[k % 2]
            y = i + (0.2 if k == 0 else -0.2)
            axes.barh(y, row["median_ms"], 0.38, color=colour)
            axes.text(row["median_ms"] * 1.03, y, f"{row['median_ms']:.1f} ms, {threads}", va="center", fontsize=10)
        axes.axvline(one["floor_ms"], color="#333333", linestyle=("--", ":")[k % 2], label=f"floor, {threads}")
    axes.legend(fontsize=10, frameon=False, loc="upper right")
    axes.set_xscale("log")
    slowest = max(row["median_ms"] for one in found.values() for row in one["summary"].values())
    axes.set_xlim(min(one["floor_ms"] for one in found.values()) / 2, 2.5 * slowest)
    axes.set_yticks(range(len(names)), names, fontsize=12)
    axes.set_title(f"One LeNet training step, batch {batch}: lower is better", loc="left", fontsize=15)
    axes.set_xlabel("milliseconds (logarithmic)", fontsize=12)
    _save(figure, path)


def _figure(width: float, height: float) -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(width, height))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", labelsize=11)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a date: the same record gives the same file.
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, dpi=130, bbox_inches="tight", metadata=metadata)
