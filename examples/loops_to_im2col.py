"""From six naked loops to im2col, step by step: the two convolutions of LeNet, computed in four ways.

    python examples/loops_to_im2col.py                              # under a minute
    python examples/loops_to_im2col.py --batch 2 --turns 2          # seconds: does it run?
    python examples/loops_to_im2col.py --from-record FILE           # table and picture again, out of a record

Each step is a pair, forward and backward, and takes loops away from Python. First every step must give what the loops
give. Then they are timed in turns, on one thread, forward and backward apart. The loops get one image, for they take as
long for each of many; the others get a batch. Prints the table; writes the record and the picture into `--out`.

`tinyconv bench conv` is the thorough comparison: more layers, compiled pairs, PyTorch, memory, and how near each comes
to what the processor can do.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import median

import numpy as np

import tinyconv as tc
from tinyconv import ops
from tinyconv.host.environment import stamp
from tinyconv.host.files import check_writable
from tinyconv.ops import loops

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # the harness of the benchmarks is not in the package
from harness.record import write
from harness.timing import in_turns, middle_half

LAYERS = {"conv1": ((1, 28, 28), 6), "conv2": ((6, 12, 12), 16)}  # (C, H, W) of an image, filters; all are 5x5
GEOMETRY = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}


class TwoLoops:
    """What a lesson writes after the naked loops: a loop over the places of the window, NumPy's sums inside.

    Stride 1, no padding.
    """

    @staticmethod
    def forward(xp, x, weight, bias, **geometry):
        (n, _, h, w), (f, _, kh, kw) = x.shape, weight.shape
        y = xp.empty((n, f, h - kh + 1, w - kw + 1), x.dtype)
        for i in range(y.shape[2]):
            for j in range(y.shape[3]):
                window = x[:, :, i : i + kh, j : j + kw]  # (N, C, KH, KW)
                y[:, :, i, j] = xp.tensordot(window, weight, axes=([1, 2, 3], [1, 2, 3])) + bias
        return y, (x, weight)

    @staticmethod
    def backward(xp, saved, dy, needs, **geometry):
        x, weight = saved
        kh, kw = weight.shape[2:]
        dx, dweight = xp.zeros_like(x), xp.zeros_like(weight)
        for i in range(dy.shape[2]):
            for j in range(dy.shape[3]):
                # y += weight * window, hence dwindow += weight * dy, dweight += window * dy: summed over F, over N.
                dx[:, :, i : i + kh, j : j + kw] += xp.tensordot(dy[:, :, i, j], weight, axes=1)
                dweight += xp.tensordot(dy[:, :, i, j], x[:, :, i : i + kh, j : j + kw], axes=([0], [0]))
        return dx, dweight, dy.sum(axis=(0, 2, 3))


# In the first, Python itself runs 6 * 24 * 24 * 25 = 86,400 multiplications for an image of conv1, one by one.
STEPS = {
    "six loops": loops.Conv2d,
    # The loops over images, filters, channels and kernel go into a product: Python runs 24 * 24 = 576 of them, each for
    # a whole batch. But they are small, and each has to copy its windows out of the images first.
    "two loops": TwoLoops,
    # The loops over places go, too: all windows are laid side by side as columns, and Python multiplies once. The price
    # is memory, for the columns repeat an image 5 * 5 times, and making them takes longer than the product.
    "im2col": ops.Conv2d,
}
if "tiled" in tc.variants.available("conv2d"):  # tinyconv works without its folder `fast`
    # Most of that copy goes. With the batch innermost in memory, a row of the kernel meets whole rows of the images:
    # forward copies them 5 times, not 25, and a few at a time, so that they are in the cache when they are multiplied.
    STEPS["tiled, the default"] = tc.variants.variants_of("conv2d")["tiled"][0].pair


def measure(batch, turns):
    """Compare what the steps give on each layer, then time them; the record of it."""
    tc.set_num_threads(1)
    record = {
        "experiment": "loops_to_im2col",
        "options": {"batch": batch, "turns": turns},
        **stamp(),
        "rows": [],
    }
    for layer, (image, filters) in LAYERS.items():
        rng = np.random.default_rng(0)
        x, weight, bias = (
            rng.standard_normal(shape, np.float32) for shape in ((batch, *image), (filters, image[0], 5, 5), (filters,))
        )
        dy = rng.standard_normal((batch, filters, image[1] - 4, image[2] - 4), np.float32)
        rows = {step: {"layer": layer, "step": step} for step in STEPS}
        few = x[:2], weight, bias, dy[:2]
        expected = results(loops.Conv2d, *few)
        for step, pair in STEPS.items():
            rows[step]["difference"] = difference(results(pair, *few), expected)
            assert rows[step]["difference"] < 1e-4, f"{layer}: {step} differ: {rows[step]}"
        print(f"{layer}: all give the same, to {max(row['difference'] for row in rows.values()):.0e} of the largest")
        for step, times in timed(x, weight, bias, dy, turns).items():
            rows[step] |= times
        record["rows"] += rows.values()
    return record


def results(pair, x, weight, bias, dy):
    """The output and the three gradients."""
    y, saved = pair.forward(np, x, weight, bias, **GEOMETRY)
    return y, *pair.backward(np, saved, dy, (True, True, True), **GEOMETRY)


def difference(found, expected):
    """The largest difference of two numbers, as a share of the largest number there."""
    return max(float(abs(a - b).max() / abs(b).max()) for a, b in zip(found, expected, strict=True))


def timed(x, weight, bias, dy, turns):
    """{step: {"forward": ..., "backward": ...}}: milliseconds an image, of calls that took turns."""
    functions, images = {}, {}
    for step, pair in STEPS.items():
        images[step] = 1 if step == "six loops" else len(x)
        part = slice(images[step])
        functions[step, "forward"], functions[step, "backward"] = halves(pair, x[part], weight, bias, dy[part])
    rarely = {("six loops", half): 2 for half in ("forward", "backward")}  # a call takes a tenth of a second
    found = {step: {"images": count} for step, count in images.items()}
    for (step, half), samples in in_turns(functions, turns, rarely=rarely).items():
        each = [1e3 * seconds / images[step] for turn in samples for seconds in turn]
        found[step][half] = {"ms": median(each), "quartiles_ms": middle_half(each), "samples_ms": each}
    return found


def halves(pair, x, weight, bias, dy):
    """Forward and backward, each as a function without arguments.

    Images and gradients have the memory order in which this pair hands them on, as in a network of such pairs.
    """
    y, saved = pair.forward(np, x, weight, bias, **GEOMETRY)
    ordered = np.empty_like(y)
    ordered[...] = dy
    return (
        lambda: pair.forward(np, saved[0], weight, bias, **GEOMETRY),
        lambda: pair.backward(np, saved, ordered, (True, True, True), **GEOMETRY),
    )


def table(record):
    """The record as Markdown, a line for each step on each layer."""
    lines = [
        "| layer | | forward, ms an image | middle half | backward, ms an image | middle half | times faster |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in record["rows"]:
        cells = []
        for half in (row["forward"], row["backward"]):
            low, high = half["quartiles_ms"]
            cells += [f"{half['ms']:.3g}", f"{low:.3g} to {high:.3g}"]
        lines.append(f"| {row['layer']} | {row['step']} | {' | '.join(cells)} | {speedup(row, record):,.0f} |")
    return "\n".join(lines)


def speedup(row, record):
    """How many times faster than the naked loops: forward and backward together."""
    first = next(other for other in record["rows"] if other["layer"] == row["layer"])
    both = [sum(one[half]["ms"] for half in ("forward", "backward")) for one in (first, row)]
    return both[0] / both[1]


def picture(record):
    """A group of bars a step, on a logarithmic axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.5), layout="constrained")
    axes = figure.subplots()
    steps = list(dict.fromkeys(row["step"] for row in record["rows"]))
    bars = [(layer, half) for layer in LAYERS for half in ("forward", "backward")]
    colours = ("#56B4E9", "#0072B2", "#E69F00", "#D55E00")  # Okabe & Ito
    for k, ((layer, half), colour) in enumerate(zip(bars, colours, strict=True)):
        heights = [row[half]["ms"] for row in record["rows"] if row["layer"] == layer]
        places = [i + 0.2 * (k - 1.5) for i in range(len(steps))]
        drawn = axes.bar(places, heights, 0.19, color=colour, label=f"{layer}, {half}")
        axes.bar_label(drawn, [f"{ms:.2g}" if ms < 10 else f"{ms:.0f}" for ms in heights], padding=2, fontsize=9)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("ms an image, on a logarithmic axis")
    axes.set_xticks(range(len(steps)), steps)
    axes.set_title("LeNet's convolutions, one thread: lower is better", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128, help="images, for all but the naked loops (default: 128)")
    parser.add_argument("--turns", type=int, default=20, help="turns, of four calls each (default: 20)")
    parser.add_argument("--out", type=Path, default=Path("runs/loops_to_im2col"), metavar="DIR")
    parser.add_argument("--from-record", type=Path, metavar="FILE", help="time nothing; show what this record says")
    asked = parser.parse_args()
    check_writable(asked.out)
    path = asked.from_record or asked.out / "loops_to_im2col.json"
    if asked.from_record:
        record = json.loads(path.read_text(encoding="utf-8"))
    else:
        record = measure(asked.batch, asked.turns)
        write(path, record)
    print(f"\n{table(record)}\n\nrecord: {path}")
    try:
        picture(record).savefig(asked.out / "loops_to_im2col.png", dpi=130)
    except ModuleNotFoundError as error:
        print(f"no picture: {error}; pip install matplotlib, then --from-record {path}", file=sys.stderr)
    else:
        print(f"picture: {asked.out / 'loops_to_im2col.png'}")


if __name__ == "__main__":
    main()
