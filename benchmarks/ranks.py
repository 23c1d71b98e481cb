"""Measure a training step on 2 and 4 ranks against one, and what handing round costs.

python benchmarks/ranks.py                # two cores: four minutes, in which nothing else may run
python benchmarks/ranks.py lenet-numpy    # one step alone
python benchmarks/tables.py               # puts the record into docs/scaling.md
"""

import argparse
import json
from pathlib import Path

import tinyconv as tc
from harness.ranks import WORK, constants, measure, parts_of_a_step
from harness.record import write
from tinyconv import models
from tinyconv.distributed import run
from tinyconv.host.environment import stamp
from tinyconv.host.files import check_writable

RECORD = Path(__file__).parent / "records" / "ranks.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(WORK)}")
    parser.add_argument("--turns", type=int, default=9, help="turns of each (default: 9)")
    parser.add_argument("--out", type=Path, default=RECORD, help="file for the record")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(WORK):
        parser.error(f"nothing is called {', '.join(unknown)}; there are {', '.join(WORK)}")
    check_writable(arguments.out.parent)
    found = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {"steps": {}}
    found |= {"benchmark": "ranks", **stamp(), "constants": [run(constants, ranks) for ranks in (2, 4)]}
    with tc.device("meta"):
        resnet = tc.summary(models.create("resnet50"), (3, 224, 224))
    found["resnet50"] = {"macs": resnet.total_macs, "parameters": resnet.total_params}
    for name in arguments.names or WORK:
        of_ranks = [run(measure, ranks, name, arguments.turns) for ranks in (2, 4)]
        found["steps"][name] = {"title": WORK[name].title, "batch": WORK[name].batch, **parts_of_a_step(name)}
        found["steps"][name]["of_ranks"] = of_ranks
        for one in of_ranks:
            low, high = one["speedup_quartiles"]
            print(f"{name}, {one['ranks']} ranks: {one['speedup']:.2f} times as fast ({low:.2f} to {high:.2f})")
        write(arguments.out, found)  # what is done is kept
    print(arguments.out)


if __name__ == "__main__":
    main()
