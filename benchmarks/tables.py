"""Write the tables of README.md and benchmarks/README.md from the records: no figure in them is typed by hand.

python benchmarks/tables.py            # --check: only say whether they are up to date
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
RECIPES = {
    "lesson": "Adam, 1e-3 throughout",
    "default": "Adam, one cycle to 5e-3",
    "best": "AdamW, one cycle to 4e-3, random shifts by 1 pixel, label smoothing",
}


def record(name):
    return json.loads((HERE / "records" / f"{name}.json").read_text(encoding="utf-8"))


def accuracy():
    """The table of accuracies, one row a recipe, and what it was measured on."""
    lines = [
        "| `--recipe` | what it is | epochs | test accuracy, mean of 5 seeds | sd | lowest | median time |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, what in RECIPES.items():
        found = record(f"accuracy-{name}")
        time = f"{found['median_seconds']:.0f} s, {found['threads']} threads"
        lowest = min(run["history"][-1]["test_accuracy"] for run in found["runs"])
        lines.append(
            f"| `{name}` | {what} | {found['recipe']['epochs']} | **{found['mean_accuracy']:.2%}** "
            f"| {found['sd_accuracy']:.2%} | {lowest:.2%} | {time} |"
        )
    where = found["environment"]
    lines += [
        "",
        "LeNet-5 (44,426 parameters) on MNIST, seeds 0 to 4, accuracy after the last epoch on all 10,000 test images. "
        f"{where['processor']}, {where['cores']} cores, Python {where['python']}, NumPy {where['numpy']}, "
        f"{'; '.join(where['blas'])}. Every epoch of every run: [benchmarks/records](benchmarks/records).",
    ]
    return "\n".join(lines)


TABLES = {"accuracy": accuracy}
DOCUMENTS = [HERE.parent / "README.md"]


def filled(text):
    """`text` with a fresh table between each pair of `<!-- table: NAME -->` and `<!-- end -->`."""
    return re.sub(
        r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)",
        lambda match: match[1] + TABLES[match[2]]() + "\n" + match[3],
        text,
        flags=re.DOTALL,
    )


def main():
    stale = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        if filled(text) != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(filled(text), encoding="utf-8")
    if "--check" in sys.argv and stale:
        sys.exit(f"not as the records say: {', '.join(stale)}; run python benchmarks/tables.py")


if __name__ == "__main__":
    main()
