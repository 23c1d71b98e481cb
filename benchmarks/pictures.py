"""How many digits are read wrong from pictures of their own, beside the same digits as MNIST has them.

python benchmarks/pictures.py [CHECKPOINT]      # unless given one, LeNet-5 is trained first; some minutes
python benchmarks/tables.py                     # puts the record into the pages
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness import sheets
from harness.record import write
from tinyconv import data, train
from tinyconv.errors import DataError
from tinyconv.host.environment import stamp

COUNTS = {"white paper": 3000}  # of the others OTHERS
OTHERS = 200


def classified(model, test, images):
    return train.predict(model, replace(test, images=images, labels=test.labels[: len(images)]).normalized()).argmax(1)


def measured(model, test, kind, count, seed=0):
    """The row of a kind: of `count` digits, how many are wrong as MNIST has them, wrong from the picture, refused."""
    rng = np.random.default_rng(seed)
    which = rng.permutation(len(test))[:count]
    read = np.zeros((count, *test.images.shape[1:]), np.uint8)
    refused = np.zeros(count, bool)
    with tempfile.TemporaryDirectory() as folder:
        for i, n in enumerate(which):
            try:
                read[i] = data.read_picture(sheets.save(kind, test.images[n, 0], rng, Path(folder)))
            except DataError:
                refused[i] = True
    labels = test.labels[which]
    wrong = (classified(model, test, read) != labels) & ~refused
    originals = classified(model, test, test.images[which]) != labels
    return {
        "kind": kind,
        "pictures": count,
        "originals wrong": int(originals.sum()),
        "wrong": int(wrong.sum()),
        "refused": int(refused.sum()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "records" / "pictures.json")
    chosen = parser.parse_args()
    if chosen.checkpoint:
        model = train.load_checkpoint(chosen.checkpoint).model()
    else:
        session = train.start(train.new_run("lenet5", "mnist", 0, train.RECIPES["default"]))
        for report in session.trainer.run():
            if isinstance(report, train.EpochReport):
                print(report, flush=True)
        model = session.model.eval()
    test, rows = data.mnist("test"), []
    for kind in sheets.KINDS:
        rows.append(measured(model, test, kind, COUNTS.get(kind, OTHERS)))
        print(rows[-1], flush=True)
    write(
        chosen.out,
        {"experiment": "pictures", "model": "lenet5", "recipe": "default", "seed": 0, **stamp(), "rows": rows},
    )


if __name__ == "__main__":
    main()
