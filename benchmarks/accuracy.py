"""Train LeNet-5 on MNIST with a recipe and seeds 0 to 4, and record what came out.

python benchmarks/accuracy.py [RECIPE ...]        # default: all of them; about an hour on two cores
python benchmarks/tables.py                       # puts the records into the READMEs
"""

import argparse
import json
import statistics
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

import tinyconv
from tinyconv import data, train
from tinyconv.environment import environment

RECORDS = Path(__file__).parent / "records"
SEEDS = range(5)


def commit():
    """The commit this runs from, with a + where files differ from it."""
    describe = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(describe, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def measure(recipe_name, seeds=SEEDS, dataset="mnist", root=None):
    """Train once for each seed; the record of it."""
    recipe = train.RECIPES[recipe_name]
    runs = []
    for seed in seeds:
        session = train.start(train.new_run("lenet5", dataset, seed, recipe), root=root)
        for report in session.trainer.run():
            if isinstance(report, train.EpochReport):
                print(f"{recipe_name}, seed {seed}: {asdict(report)}", flush=True)
        history = session.trainer.progress.history
        runs.append({"seed": seed, "history": history, "seconds": sum(entry["seconds"] for entry in history)})
    accuracies = [run["history"][-1]["test_accuracy"] for run in runs]
    seconds = [run["seconds"] for run in runs]
    return {
        "benchmark": "accuracy",
        "model": "lenet5",
        "data": dataset,
        "recipe_name": recipe_name,
        "recipe": asdict(recipe),
        "mean_accuracy": statistics.mean(accuracies),
        "sd_accuracy": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        "median_seconds": statistics.median(seconds),
        "date": time.strftime("%Y-%m-%d"),
        "tinyconv": tinyconv.__version__,
        "commit": commit(),
        "environment": environment(),
        "runs": runs,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"of {', '.join(train.RECIPES)}")
    recipes = parser.parse_args().recipes or list(train.RECIPES)
    if unknown := set(recipes) - set(train.RECIPES):
        parser.error(f"no recipe {', '.join(unknown)}; there are {', '.join(train.RECIPES)}")
    data.fetch("mnist")
    for name in recipes:
        record = measure(name)
        path = RECORDS / f"accuracy-{name}.json"
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: mean {record['mean_accuracy']:.4%}, sd {record['sd_accuracy']:.4%}: {path}")


if __name__ == "__main__":
    main()
