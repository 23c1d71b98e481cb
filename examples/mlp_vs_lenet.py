"""How wide must an MLP with one hidden layer be to reach 99.0 % on MNIST, where LeNet-5 does?

    python examples/mlp_vs_lenet.py --jobs 2                        # about five minutes on two cores
    python examples/mlp_vs_lenet.py --data synthetic --hidden 8 16 --seeds 0 --epochs 1       # seconds: does it run?
    python examples/mlp_vs_lenet.py --from-record FILE              # table and picture again, out of a record

784-H-10 with ReLU for each H, and LeNet-5, are trained alike: the recipe "default" (Adam, one cycle to 5e-3, or to
`--lr`), five epochs, the same seeds. Prints a table and the answer; writes the record and the picture into `--out`.
"""

import argparse
import json
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path

import tinyconv
from tinyconv import data, models, train
from tinyconv.host.environment import stamp
from tinyconv.host.files import check_writable

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # the harness of the benchmarks is not in the package
from harness.record import write

GOAL = 0.99


def measure(hidden, seeds, epochs, lr, dataset, jobs):
    """Train every model with every seed; the record of it."""
    recipe = replace(train.RECIPES["default"], epochs=epochs, lr=lr)
    record = {
        "experiment": "mlp_vs_lenet",
        "options": {"hidden": hidden, "seeds": seeds, "epochs": epochs, "lr": lr, "data": dataset, "jobs": jobs},
        "recipe": asdict(recipe),
        **stamp(),
        "rows": [described("LeNet-5", "lenet5"), *(described(f"MLP 784-{h}-10", "mlp", hidden=h) for h in hidden)],
    }
    if dataset != "synthetic":
        data.fetch(dataset)  # once, and not in every process
    planned = [
        (row, train.new_run(row["model"], dataset, seed, recipe, **row["options"]))
        for row in record["rows"]
        for seed in seeds
    ]
    # One thread each, however many run side by side: so their times can be compared. Spawned, not forked: BLAS has
    # threads here, and a fork would be without them.
    with ProcessPoolExecutor(jobs, get_context("spawn"), tinyconv.set_num_threads, (1,)) as pool:
        for (row, _), found in zip(planned, pool.map(trained, [run for _, run in planned]), strict=True):
            row["runs"].append(found)
            print(f"{row['title']}, seed {found['seed']}: {found['accuracy']:.2%}", flush=True)
    for row in record["rows"]:
        accuracies = [found["accuracy"] for found in row["runs"]]
        row["mean_accuracy"] = statistics.mean(accuracies)
        row["sd_accuracy"] = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
        row["median_seconds"] = statistics.median(found["seconds"] for found in row["runs"])
    return record


def described(title, model, **options):
    """A row of the table, before anything is trained."""
    cost = tinyconv.summary(models.create(model, **options), (1, 28, 28))
    return {
        "title": title,
        "model": model,
        "options": options,
        "parameters": cost.total_params,
        "macs": cost.total_macs,
        "runs": [],
    }


def trained(run):
    """What came out of one training: the test accuracy after its last epoch, and the seconds of all of them."""
    reports = train.start(run).trainer.run()
    history = [asdict(report) for report in reports if isinstance(report, train.EpochReport)]
    return {
        "seed": run.seed,
        "accuracy": history[-1]["test_accuracy"],
        "seconds": sum(epoch["seconds"] for epoch in history),
        "history": history,
    }


def table(record):
    """The record as Markdown, a line a model."""
    lines = [
        "| model | parameters | MACs | test accuracy, mean ± sd | lowest | training, median |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['title']} | {row['parameters']:,} | {row['macs']:,} "
        f"| {row['mean_accuracy']:.2%} ± {row['sd_accuracy']:.2%} "
        f"| {min(run['accuracy'] for run in row['runs']):.2%} | {row['median_seconds']:.0f} s |"
        for row in record["rows"]
    ]
    return "\n".join(lines)


def answer(record):
    """How wide it must be, computed."""
    lenet, *mlps = record["rows"]
    enough = [row for row in mlps if row["mean_accuracy"] >= GOAL]
    if enough:
        row = min(enough, key=lambda row: row["parameters"])
        found = f"The narrowest MLP here with a mean of {GOAL:.1%} is {row['title'][4:]}"
    else:
        row = max(mlps, key=lambda row: row["mean_accuracy"])
        found = f"No MLP here reaches a mean of {GOAL:.1%}; the best is {row['title'][4:]}"
    return (
        f"{found}: {row['mean_accuracy']:.2%} with {row['parameters']:,} parameters, "
        f"{row['parameters'] / lenet['parameters']:.1f} times those of LeNet-5, which reaches a mean of "
        f"{lenet['mean_accuracy']:.2%}."
    )


def picture(record):
    """Accuracy over parameters: a dot a seed, a line through the means."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.5), layout="constrained")
    axes = figure.subplots()
    lenet, *mlps = record["rows"]
    for rows, colour, marker, label in (
        (mlps, "#0072B2", "o-", "MLP, one hidden layer"),
        ([lenet], "#D55E00", "*", "LeNet-5"),
    ):
        sizes = [row["parameters"] for row in rows]
        means = [100 * row["mean_accuracy"] for row in rows]
        axes.plot(sizes, means, marker, color=colour, markersize=16 if marker == "*" else 7, label=label)
        for row, size, mean in zip(rows, sizes, means, strict=True):
            seeds = [100 * run["accuracy"] for run in row["runs"]]
            axes.plot([size] * len(seeds), seeds, "o", color=colour, markersize=4, alpha=0.4)
            axes.annotate(
                f"{mean:.2f}", (size, max(seeds)), (0, 10), textcoords="offset points", ha="center", color=colour
            )
    axes.axhline(100 * GOAL, color="#666666", linestyle="--", linewidth=1, label=f"{GOAL:.1%}")
    axes.set_xscale("log")
    widths = {row["parameters"]: f"H = {row['options']['hidden']:,}" for row in mlps}
    ticks = {lenet["parameters"]: "LeNet-5"} | widths
    axes.set_xticks(list(ticks), [f"{name}\n{size:,}" for size, name in ticks.items()])
    axes.set_xticks([], minor=True)
    axes.margins(0.07, 0.12)
    axes.set_xlabel("parameters, on a logarithmic axis")
    axes.set_ylabel("test accuracy, %")
    asked = record["options"]
    title = f"{asked['data']}, epochs: {asked['epochs']}, seeds: {', '.join(map(str, asked['seeds']))}"
    axes.set_title(f"{title}; a small dot is a seed, the numbers are means", loc="left", fontsize=11)
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center right")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, nargs="+", default=[128, 256, 512, 1024, 2048, 4096], metavar="H")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--lr", type=float, default=train.RECIPES["default"].lr, help="peak of the cycle")
    parser.add_argument("--data", choices=["mnist", "synthetic"], default="mnist")
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side, one thread each (default: one)")
    parser.add_argument("--out", type=Path, default=Path("runs/mlp_vs_lenet"), metavar="DIR")
    parser.add_argument("--from-record", type=Path, metavar="FILE", help="train nothing; show what this record says")
    asked = parser.parse_args()
    check_writable(asked.out)
    path = asked.from_record or asked.out / "mlp_vs_lenet.json"
    if asked.from_record:
        record = json.loads(path.read_text(encoding="utf-8"))
    else:
        record = measure(sorted(asked.hidden), asked.seeds, asked.epochs, asked.lr, asked.data, asked.jobs)
        write(path, record)
    print(f"\n{table(record)}\n\n{answer(record)}\n\nrecord: {path}")
    try:
        picture(record).savefig(asked.out / "mlp_vs_lenet.png", dpi=130)
    except ModuleNotFoundError as error:
        print(f"no picture: {error}; pip install matplotlib, then --from-record {path}", file=sys.stderr)
    else:
        print(f"picture: {asked.out / 'mlp_vs_lenet.png'}")


if __name__ == "__main__":
    main()
