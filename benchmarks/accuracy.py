"""Train LeNet-5 on MNIST with a recipe and seeds 0 to 4, and record what came out.

python benchmarks/accuracy.py [RECIPE ...]        # default: all of them; about an hour on two cores
python benchmarks/tables.py                       # puts the records into README.md
"""

import argparse
import json
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import repeat
from pathlib import Path

import tinyconv
from tinyconv import data, train
from tinyconv.environment import commit, environment
from tinyconv.files import check_writable

RECORDS = Path(__file__).parent / "records"
SEEDS = range(5)


COMMIT = commit()  # now: what is running stays what it is, whatever is committed meanwhile


def run(recipe_name, seed, dataset, threads):
    """Train once; what came out."""
    tinyconv.set_num_threads(threads)
    session = train.start(train.new_run("lenet5", dataset, seed, train.RECIPES[recipe_name]))
    for report in session.trainer.run():
        if isinstance(report, train.EpochReport):
            print(f"{recipe_name}, seed {seed}: {asdict(report)}", flush=True)
    history = session.trainer.progress.history
    return {"seed": seed, "seconds": sum(entry["seconds"] for entry in history), "history": history}


def measure(recipe_name, seeds=SEEDS, dataset="mnist", jobs=1):
    """Train once for each seed; the record of it."""
    threads = max(1, tinyconv.get_num_threads() // jobs)
    ran_on = {
        "date": time.strftime("%Y-%m-%d"),
        "commit": COMMIT,
        "environment": environment(),
    }  # before: it takes long
    if jobs == 1:
        runs = [run(recipe_name, seed, dataset, threads) for seed in seeds]
    else:
        with ProcessPoolExecutor(jobs) as pool:
            runs = list(pool.map(run, repeat(recipe_name), seeds, repeat(dataset), repeat(threads)))
    accuracies = [found["history"][-1]["test_accuracy"] for found in runs]
    return {
        "benchmark": "accuracy",
        "model": "lenet5",
        "data": dataset,
        "recipe_name": recipe_name,
        "recipe": asdict(train.RECIPES[recipe_name]),
        "mean_accuracy": statistics.mean(accuracies),
        "sd_accuracy": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        "median_seconds": statistics.median(found["seconds"] for found in runs),
        "jobs": jobs,
        "threads": threads,
        "tinyconv": tinyconv.__version__,
        **ran_on,
        "runs": runs,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"of {', '.join(train.RECIPES)}")
    parser.add_argument("--jobs", type=int, default=1, help="seeds trained at a time (default: one)")
    arguments = parser.parse_args()
    recipes = arguments.recipes or list(train.RECIPES)
    if unknown := set(recipes) - set(train.RECIPES):
        parser.error(f"no recipe {', '.join(unknown)}; there are {', '.join(train.RECIPES)}")
    check_writable(RECORDS)
    data.fetch("mnist")
    for name in recipes:
        record = measure(name, jobs=arguments.jobs)
        path = RECORDS / f"accuracy-{name}.json"
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: mean {record['mean_accuracy']:.4%}, sd {record['sd_accuracy']:.4%}: {path}")


if __name__ == "__main__":
    main()
