"""The mistakes of a first convolutional network, each made on purpose: the message or the curve that it gives.

    python examples/gotchas.py                                      # about half a minute
    python examples/gotchas.py --data synthetic --steps 20          # seconds: does it run?
    python examples/gotchas.py --from-record FILE                   # tables and picture again, out of a record

Some mistakes are refused where they are made. The others run, and show in the loss, or not even there: LeNet-5 is
trained for 300 steps of plain SGD, first as it should be, then with one mistake at a time and all else the same: the
first weights, the images and their order. Prints the tables; writes the record and the picture of the curves into
`--out`. docs/mistakes.md is about those that are harder to find.
"""

import argparse
import json
import statistics
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from textwrap import fill

import numpy as np

import tinyconv as tc
from tinyconv import data, nn
from tinyconv.host.environment import stamp
from tinyconv.host.files import check_writable
from tinyconv.models import lenet5, lenet_bn
from tinyconv.optim import SGD
from tinyconv.train import DivergedError, EpochReport, StepReport, Trainer, evaluate

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # the harness of the benchmarks is not in the package
from harness.record import write

# --- mistakes that are refused: each is given eight images, (8, 1, 28, 28) -------------------------------------------

REFUSED = {
    "no flatten before the head": lambda x: nn.Sequential(nn.Conv2d(1, 6, 5), nn.Linear(6 * 24 * 24, 10))(x),
    "channels last": lambda x: lenet5()(x.permute(0, 2, 3, 1)),
    "no channel axis": lambda x: lenet5()(x.squeeze(1)),
    "a head made for images of another size": lambda x: lenet5(size=32)(x),
    "bytes, not floats": lambda x: lenet5()((255 * x).to(tc.uint8)),
    "batch norm and one image, eval() forgotten": lambda x: lenet_bn()(x[:1]),
}


def refusal(mistake):
    """What the library says of it."""
    try:
        mistake(tc.rand(8, 1, 28, 28))
    except tc.TinyconvError as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("this mistake was not refused")


def huge_head(size=512):
    """What the summary says of LeNet for large images, which nothing refuses."""
    with tc.device("meta"):  # no memory for 30 million weights
        return "\n".join(tc.summary(lenet5(size=size), (1, size, size)).warnings)


# --- mistakes that train badly: each is given LeNet-5 and the data ---------------------------------------------------


def fit(net, train, test, lr=0.1, shuffle=True, optimizer=SGD):
    """Train for one epoch; the loss at every step, the accuracy after the last, and what the library said.

    There is no accuracy where the loss stopped being a number.
    """
    loader = data.DataLoader(train, batch_size=128, shuffle=shuffle)
    losses, accuracy, said = [], None, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for report in Trainer(net, optimizer(net.parameters(), lr), None, loader, test, epochs=1).run():
                if isinstance(report, StepReport):
                    losses.append(report.loss)
                elif isinstance(report, EpochReport):
                    accuracy = report.test_accuracy
        except DivergedError as error:
            said = [f"DivergedError: {error}"]
    said += dict.fromkeys(str(warning.message) for warning in caught)  # each once, not at every step
    return {"losses": losses, "accuracy": accuracy, "said": "\n".join(said)}


class NeverZeroed(SGD):
    def zero_grad(self, set_to_none=True):
        """Forgotten: `backward` adds to the gradients that are there."""


def as_bytes_are(dataset):
    """The data with a normalisation that leaves the pixels as they are: 0 to 255."""
    return replace(dataset, mean=(0.0,), std=(1 / 255,))


def zeroed(net):
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    return net


TRAINED = {
    "no mistake": ("", fit),
    "softmax before cross_entropy": (
        "two probabilities differ by 1 at most: the loss cannot fall below ln(1 + 9/e) = 1.46",
        lambda net, train, test: fit(nn.Sequential(net, nn.Softmax(1)), train, test),
    ),
    "zero_grad() forgotten": (
        "each step follows the sum of all gradients so far",
        lambda net, train, test: fit(net, train, test, optimizer=NeverZeroed),
    ),
    "learning rate 10 times too high": (
        "long steps end where the ReLUs are 0 for every image; 2.30 = ln 10 is the loss of a guess",
        lambda net, train, test: fit(net, train, test, lr=1.0),
    ),
    "learning rate 100 times too high": (
        "each step overshoots by more than the last",
        lambda net, train, test: fit(net, train, test, lr=10.0),
    ),
    "pixels of 0 to 255": (
        "the first gradients are hundreds of times too large, and so is the step",
        lambda net, train, test: fit(net, as_bytes_are(train), as_bytes_are(test)),
    ),
    "images in the order of their classes": (
        "every batch is of one class: what is learned last is all that is known",
        lambda net, train, test: fit(net, train[np.argsort(train.labels, kind="stable")], test, shuffle=False),
    ),
    "all parameters start at 0": (
        "no gradient passes a weight of 0: only the last bias learns",
        lambda net, train, test: fit(zeroed(net), train, test),
    ),
}

# --- the mistake that shows in the test only -------------------------------------------------------------------------

BATCHES = (256, 128, 64, 32, 16, 8, 4, 2)
UNEVALED = {
    "batch norm": lenet_bn,
    "dropout": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)),
}


@tc.no_grad()
def accuracy_as_it_is(net, test, batch):
    """The accuracy in batches of that size, in the mode that the net is in; `evaluate` would set the right one."""
    images, right = tc.tensor(test.normalized()), 0
    for start in range(0, len(test), batch):
        part = slice(start, start + batch)
        right += int((net(images[part]).numpy().argmax(1) == test.labels[part]).sum())
    return right / len(test)


def unevaled(net, train, test):
    """Train as one should, then test with eval() and without, in smaller and smaller batches."""
    fit(net, train, test)
    test = test[:1024]
    found = {"with": evaluate(net, test)}  # first: while it trains, batch norm goes on averaging, test images too
    net.train()
    return found | {"without": [accuracy_as_it_is(net, test, batch) for batch in BATCHES]}


# ---------------------------------------------------------------------------------------------------------------------


def measure(steps, seed, dataset):
    """Make every mistake; the record of it."""
    train, test = (data.load(dataset, split) for split in ("train", "test"))
    train = train[: 128 * steps]

    def made(mistake, net):
        tc.manual_seed(seed)
        return mistake(net(), train, test)

    return {
        "experiment": "gotchas",
        "options": {"steps": steps, "seed": seed, "data": dataset},
        **stamp(),
        "refused": {name: refusal(mistake) for name, mistake in REFUSED.items()},
        "huge_head": huge_head(),
        "trained": {name: {"why": why, **made(mistake, lenet5)} for name, (why, mistake) in TRAINED.items()},
        "batches": BATCHES,
        "unevaled": {name: made(unevaled, net) for name, net in UNEVALED.items()},
    }


def table(record):
    """The record as three tables of Markdown: what is refused, what trains badly, what shows in the test only."""

    def quoted(said):
        return "<br>".join(f"`{line.strip()}`" for line in said.splitlines())

    refused = ["| mistake | what the library says |", "| --- | --- |"]
    refused += [f"| {name} | {quoted(said)} |" for name, said in record["refused"].items()]
    refused += [f"| a head for large images, in `tc.summary` | {quoted(record['huge_head'])} |"]

    trained = ["| mistake | loss at the end | test accuracy | why | what the library says |"]
    trained += ["| --- | ---: | ---: | --- | --- |"]
    for name, row in record["trained"].items():
        end = "NaN | none"
        if row["accuracy"] is not None:
            end = f"{statistics.mean(row['losses'][-20:]):.2f} | {row['accuracy']:.1%}"
        trained.append(f"| {name} | {end} | {row['why']} | {quoted(row['said'])} |")

    unevaled = [f"| eval() forgotten | with eval() |{''.join(f' batches of {n} |' for n in record['batches'])}"]
    unevaled += [f"| --- |{' ---: |' * (1 + len(record['batches']))}"]
    for name, row in record["unevaled"].items():
        unevaled.append(f"| {name} | {' | '.join(f'{accuracy:.1%}' for accuracy in (row['with'], *row['without']))} |")
    return "\n\n".join("\n".join(lines) for lines in (refused, trained, unevaled))


RIGHT, WRONG, OTHER = "#0072B2", "#D55E00", "#009E73"  # Okabe & Ito


def picture(record):
    """A panel a mistake: the loss of every step with it and without; and the accuracies where eval() was forgotten."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(17, 9.5), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.15)
    *panels, last = figure.subplots(2, 4).flat
    (_, right), *wrong = record["trained"].items()
    for axes, (name, row) in zip(panels, wrong, strict=True):
        for losses, colour, label in (
            (right["losses"], RIGHT, "as it should be"),
            (row["losses"], WRONG, "with the mistake"),
        ):
            axes.plot(range(1, len(losses) + 1), losses, color=colour, linewidth=1, label=label)
        if row["accuracy"] is None:  # a few steps, and then NaN
            axes.set_xlim(0, 3 * len(row["losses"]))
            axes.annotate("then NaN", (len(row["losses"]), row["losses"][-1]), (8, -4), textcoords="offset points")
        axes.set_yscale("log")
        axes.set_xlabel(f"step\n\n{fill(row['why'], 50)}")
        axes.set_title(name, loc="left", weight="bold")
    panels[0].legend(frameon=False)
    for (name, row), colour in zip(record["unevaled"].items(), (WRONG, OTHER), strict=True):
        last.axhline(100 * row["with"], color=colour, linestyle="--", linewidth=1, label=f"{name}, with eval()")
        last.plot(record["batches"], [100 * a for a in row["without"]], "o-", color=colour, label=f"{name}, without")
    last.set_xscale("log", base=2)
    last.set_xticks(record["batches"], record["batches"])
    last.set_xlabel(
        "images in a batch\n\nbatch norm takes mean and deviation of the batch;\ndropout leaves out half of the units"
    )
    last.set_ylabel("test accuracy, %")
    last.set_title("eval() forgotten", loc="left", weight="bold")
    last.legend(frameon=False)
    for axes in (*panels, last):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.suptitle(f"The loss at each step, with a mistake and without: {record['options']['data']}", fontsize=15)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="training steps, of 128 images each (default: 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", choices=["mnist", "synthetic"], default="mnist")
    parser.add_argument("--out", type=Path, default=Path("runs/gotchas"), metavar="DIR")
    parser.add_argument("--from-record", type=Path, metavar="FILE", help="train nothing; show what this record says")
    asked = parser.parse_args()
    check_writable(asked.out)
    path = asked.from_record or asked.out / "gotchas.json"
    if asked.from_record:
        record = json.loads(path.read_text(encoding="utf-8"))
    else:
        record = measure(asked.steps, asked.seed, asked.data)
        write(path, record)
    print(f"{table(record)}\n\nrecord: {path}")
    try:
        picture(record).savefig(asked.out / "gotchas.png", dpi=130)
    except ModuleNotFoundError as error:
        print(f"no picture: {error}; pip install matplotlib, then --from-record {path}", file=sys.stderr)
    else:
        print(f"picture: {asked.out / 'gotchas.png'}")


if __name__ == "__main__":
    main()
