"""How accurate is a model on digits that were moved by a few pixels?

    python examples/shift.py --jobs 2                       # about four minutes on two cores
    python examples/shift.py --data synthetic --reach 1 --seeds 0 --epochs 1          # seconds: does it run?
    python examples/shift.py --from-record FILE             # table and picture again, out of a record

Every test image is moved by (dx, dy) whole pixels, -4 to 4 each, and black comes in behind: 81 test sets. A digit of
MNIST fills 20x20 of the 28x28 pixels, so little of it is lost. Four models meet them: LeNet-5; an MLP; LeNet with the
mean of each map in place of the flattening, whose head cannot know where something was; and LeNet-5 that was trained on
images moved by as much. All are trained by the recipe "default". Prints accuracies by distance, max(|dx|, |dy|), and
writes the record and a heat map a model into `--out`.
"""

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import tinyconv
from tinyconv import data, train
from tinyconv.host.environment import stamp
from tinyconv.host.files import check_writable

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # the harness of the benchmarks is not in the package
from harness.record import write


def measure(reach, seeds, epochs, dataset, jobs):
    """Train every model with every seed, and test it on images moved by up to `reach` pixels; the record of it."""
    plain = replace(train.RECIPES["default"], epochs=epochs)
    moving = replace(plain, shift=reach)
    record = {
        "experiment": "shift",
        "options": {"reach": reach, "seeds": seeds, "epochs": epochs, "data": dataset, "jobs": jobs},
        **stamp(),
        "rows": [
            {"title": title, "model": model, "options": options, "recipe": asdict(recipe), "runs": []}
            for title, model, options, recipe in (
                ("LeNet-5", "lenet5", {}, plain),
                ("MLP 784-512-10", "mlp", {"hidden": 512}, plain),
                ("LeNet, global average pool", "lenet_gap", {}, plain),
                (f"LeNet-5, trained with shifts to {reach}", "lenet5", {}, moving),
            )
        ],
    }
    if dataset != "synthetic":
        data.fetch(dataset)  # once, and not in every process
    planned = [
        (row, train.new_run(row["model"], dataset, seed, train.Recipe(**row["recipe"]), **row["options"]))
        for row in record["rows"]
        for seed in seeds
    ]
    # Spawned, not forked: BLAS has threads here, and a fork would be without them.
    with ProcessPoolExecutor(jobs, get_context("spawn"), tinyconv.set_num_threads, (1,)) as pool:
        grids = pool.map(trained_and_tested, [run for _, run in planned], [reach] * len(planned))
        for (row, run), grid in zip(planned, grids, strict=True):
            row["runs"].append({"seed": run.seed, "accuracies": grid})
            print(f"{row['title']}, seed {run.seed}: {grid[reach][reach]:.2%} unmoved", flush=True)
    for row in record["rows"]:
        row["mean_accuracies"] = np.mean([run["accuracies"] for run in row["runs"]], axis=0).tolist()
        row["by_distance"] = by_distance(row["runs"], reach)
    return record


def trained_and_tested(run, reach):
    """Train once; the test accuracies after it, a row for each dy and in it one for each dx, from -reach to reach."""
    session = train.start(run)
    for _ in session.trainer.run():
        pass
    test, moves = data.load(run.data, "test"), range(-reach, reach + 1)
    # Padded while they are bytes, of which 0 is black. Once normalised, black is -0.42, and 0 a grey of no background.
    padded = replace(test, images=np.pad(test.images, ((0, 0), (0, 0), (reach, reach), (reach, reach)))).normalized()

    def accuracy(dx, dy):
        chosen = train.predict(session.trainer.model, moved(padded, reach, dx, dy)).argmax(1)
        return float((chosen == test.labels).mean())

    return [[accuracy(dx, dy) for dx in moves] for dy in moves]


def moved(padded, reach, dx, dy):
    """The images (N, C, H, W) out of those padded by `reach` pixels, with what they show moved right and down."""
    height, width = (n - 2 * reach for n in padded.shape[2:])
    top, left = reach - dy, reach - dx  # the window goes up and left where the digit goes down and right
    return padded[:, :, top : top + height, left : left + width]


def by_distance(runs, reach):
    """Mean and deviation over the seeds of the mean accuracy at each distance, from 0 to `reach`."""
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.maximum(abs(dx), abs(dy))
    grids = np.array([run["accuracies"] for run in runs])  # (seeds, dy, dx)
    found = []
    for d in range(reach + 1):
        seeds = grids[:, distance == d].mean(axis=1)
        found.append({"mean": float(seeds.mean()), "sd": float(seeds.std(ddof=1)) if len(seeds) > 1 else 0.0})
    return found


def table(record):
    """The record as Markdown, a line a model, a column a distance."""
    distances = range(1, record["options"]["reach"] + 1)
    lines = [
        f"| test accuracy, mean ± sd | unmoved |{''.join(f' {d} px |' for d in distances)}",
        f"| --- | ---: |{' ---: |' * len(distances)}",
    ]
    for row in record["rows"]:
        cells = (f"{at['mean']:.2%} ± {at['sd']:.2%}" for at in row["by_distance"])
        lines.append(f"| {row['title']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def answer(record):
    """What is left at 3 pixels, a line a model."""
    far = min(3, record["options"]["reach"])
    lines = []
    for row in record["rows"]:
        near, there = row["by_distance"][0]["mean"], row["by_distance"][far]["mean"]
        lines.append(f"{row['title']} at {far} px: {there:.1%}, which is {there / near:.1%} of its {near:.1%} unmoved.")
    return "\n".join(lines)


def picture(record):
    """A heat map a model, in one scale of colours, with the numbers in the cells."""
    from matplotlib.figure import Figure

    reach = record["options"]["reach"]
    grids = [100 * np.array(row["mean_accuracies"]) for row in record["rows"]]
    lowest, moves = min(grid.min() for grid in grids), range(-reach, reach + 1)
    figure = Figure(figsize=(11, 12), layout="constrained")
    panels = figure.subplots(2, 2)
    for axes, row, grid in zip(panels.flat, record["rows"], grids, strict=True):
        image = axes.imshow(grid, cmap="viridis", vmin=lowest, vmax=100)
        for (i, j), accuracy in np.ndenumerate(grid):
            colour = "black" if accuracy - lowest > 0.55 * (100 - lowest) else "white"
            axes.text(j, i, f"{accuracy:.1f}", ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks(range(len(moves)), moves)
        axes.set_yticks(range(len(moves)), moves)
        axes.set_title(row["title"], loc="left", fontsize=13)
        axes.set_xlabel("dx: pixels to the right")
        axes.set_ylabel("dy: pixels down")
    asked = record["options"]
    figure.suptitle(
        f"Test accuracy, %, on images moved by (dx, dy): {asked['data']}, mean of seeds "
        f"{', '.join(map(str, asked['seeds']))}",
        fontsize=15,
    )
    figure.colorbar(image, ax=panels, shrink=0.5, aspect=35, location="bottom", label="test accuracy, %")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reach", type=int, default=4, metavar="PIXELS", help="the furthest move (default: 4)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--data", choices=["mnist", "synthetic"], default="mnist")
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side, one thread each (default: one)")
    parser.add_argument("--out", type=Path, default=Path("runs/shift"), metavar="DIR")
    parser.add_argument("--from-record", type=Path, metavar="FILE", help="train nothing; show what this record says")
    asked = parser.parse_args()
    check_writable(asked.out)
    path = asked.from_record or asked.out / "shift.json"
    if asked.from_record:
        record = json.loads(path.read_text(encoding="utf-8"))
    else:
        record = measure(asked.reach, asked.seeds, asked.epochs, asked.data, asked.jobs)
        write(path, record)
    print(f"\n{table(record)}\n\n{answer(record)}\n\nrecord: {path}")
    try:
        picture(record).savefig(asked.out / "shift.png", dpi=130)
    except ModuleNotFoundError as error:
        print(f"no picture: {error}; pip install matplotlib, then --from-record {path}", file=sys.stderr)
    else:
        print(f"picture: {asked.out / 'shift.png'}")


if __name__ == "__main__":
    main()
