"""Fill README.md, benchmarks/README.md and some pages of docs: no figure in them is typed by hand.

    python benchmarks/tables.py            # --check: only say whether they are up to date; --plots: draw pictures too

A page holds pairs of comments, `<!-- table: NAME -->` and `<!-- end -->`. What stands between them is made from the
records, or cut out of the source: `op Mul` is the class of that op, `lines` the size of the package.
"""

import ast
import json
import os
import re
import statistics
import sys
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import tinyconv as tc
from harness.ranks import Carrier, Net, predicted

HERE = Path(__file__).parent
ROOT = HERE.parent
PAGES = (
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("architecture", "experiments", "reliability", "scaling", "studio", "why")
    ),
    *(folder / "README.md" for folder in (ROOT, HERE)),
)
NOT_YET = "*Not measured yet.*"
RECIPES = {
    "lesson": "Adam, 1e-3 throughout",
    "default": "Adam, one cycle to 5e-3",
    "best": "AdamW, one cycle to 4e-3, random shifts by 1 pixel, label smoothing",
}


def record(name):
    return json.loads((HERE / "records" / f"{name}.json").read_text(encoding="utf-8"))


def final_accuracies(found):
    """The test accuracy of each seed after the last epoch."""
    return {run["seed"]: run["history"][-1]["test_accuracy"] for run in found["runs"]}


def threads_of(found):
    return f"{found['threads']} thread{'s' * (found['threads'] > 1)}"


def machine(found):
    """What a record was measured on. The threads of the BLAS are left out: they differ by recipe and have a column."""
    where = found["environment"]
    blas = (library.rpartition(", ")[0] for library in where["blas"])
    return (
        f"{where['processor']}, {where['cores']} cores, Python {where['python']}, NumPy {where['numpy']}, "
        f"{'; '.join(blas)}"
    )


def accuracy():
    """What is reached on MNIST, a row a recipe."""
    records = {name: record(f"accuracy-{name}") for name in RECIPES}
    lines = [
        "| `--recipe` | what it is | epochs | test accuracy, mean of 5 seeds | sd | lowest | median time |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, found in records.items():
        lines.append(
            f"| `{name}` | {RECIPES[name]} | {found['recipe']['epochs']} | **{found['mean_accuracy']:.2%}** "
            f"| {found['sd_accuracy']:.2%} | {min(final_accuracies(found).values()):.2%} "
            f"| {found['median_seconds']:.0f} s, {threads_of(found)} |"
        )
    notes = "".join(f"`{name}`: {found['note']} " for name, found in records.items() if "note" in found)
    unseen = [found for seed, found in final_accuracies(records["best"]).items() if seed != 0]
    lines += [
        "",
        "LeNet-5 (44,426 parameters) on MNIST, seeds 0 to 4, accuracy after the last epoch on all 10,000 test images. "
        "The best recipe was settled after six others (shifts by 2 pixels, 60 epochs, affine distortions, stronger "
        "weight decay, ...) by the test accuracy of seed 0; seeds 1 to 4 were not looked at before, and their mean is "
        f"{statistics.mean(unseen):.2%}. {notes}"
        f"{'; '.join(dict.fromkeys(map(machine, records.values())))}. "
        "Every epoch of every run: [benchmarks/records](/benchmarks/records).",
    ]
    return "\n".join(lines)


def accuracy_short():
    """The accuracies in a few columns, for the front page."""
    lines = [
        "| `--recipe` | epochs | test accuracy, mean of 5 seeds | sd | median time |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name in RECIPES:
        found = record(f"accuracy-{name}")
        lines.append(
            f"| `{name}` | {found['recipe']['epochs']} | **{found['mean_accuracy']:.2%}** | {found['sd_accuracy']:.2%} "
            f"| {found['median_seconds']:.0f} s, {threads_of(found)} |"
        )
    note = (
        "LeNet-5 (44,426 parameters) on MNIST, all 10,000 test images. "
        "[benchmarks](/benchmarks/README.md#accuracy) says how the recipes were chosen, and has CIFAR-10."
    )
    return "\n".join([*lines, "", note])


def part(name, key):
    """A part of a record of `tinyconv bench`; None where it was not measured."""
    path = HERE / "records" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["parts"].get(key) if path.exists() else None


def measured_on(found):
    """What stands below a table: the machine, the code, the day."""
    versions = {name: v for name, v in found.get("versions", {}).items() if name not in ("numpy",) and "not" not in v}
    others = f" Others: {', '.join(f'{name} {v}' for name, v in versions.items())}." if versions else ""
    return f"{machine(found)}; commit {found['commit']}, {found['date']}.{others}"


def overhead():
    """What one small operation costs, beside other libraries and on long tapes."""
    found = part("ops", "overhead")
    if found is None:
        return NOT_YET
    rows = {(row["op"], row["library"]): row for row in found["calls"]}
    libraries = list(dict.fromkeys(row["library"] for row in found["calls"]))
    titles = {"tinyconv": "tinyconv", "torch": "PyTorch", "mygrad": "MyGrad"}
    versions = {name: "" if name == "tinyconv" else f" {found['versions'][name]}" for name in libraries}
    heads = [f"{titles[name]}{versions[name]}" for name in libraries]
    lines = [f"| µs a call | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for op in dict.fromkeys(row["op"] for row in found["calls"]):
        cells = []
        for name in libraries:
            low, high = rows[op, name]["quartiles_us"]
            cells.append(f"{rows[op, name]['median_us']:.2f} ({low:.2f} to {high:.2f})")
        lines.append(f"| `{op}` | {' | '.join(cells)} |")
    chains = {(row["ops"], row["collector"]): row for row in found["tapes"] if row["tape"] == "chain"}
    per_op = {
        key: f"{row['forward_us']:.1f} µs an op forward and {row['backward_us']:.1f} back"
        for key, row in chains.items()
    }
    lines += [
        "",
        f"Two 4x4 float32 arrays that require grad, {found['turns']} turns of {found['calls_a_turn']} calls, the "
        "libraries in turns: median and middle half. A chain of 1,000 operations takes "
        f"{per_op[1_000, True]}; one of 100,000 takes {per_op[100_000, True]}, "
        f"or {per_op[100_000, False]} without Python's cycle collector, which a tape has no need of. "
        f"{machine(found)}. All figures: [ops.json](/benchmarks/records/ops.json).",
    ]
    return "\n".join(lines)


def startup():
    found = part("ops", "startup")
    if found is None:
        return NOT_YET
    lines = ["| a fresh process | median |", "| --- | ---: |"]
    lines += [f"| `{what}` | {ms:.0f} ms |" for what, ms in found["median_ms"].items()]
    lines.append(f"| `import tinyconv` above `import numpy` | {found['import_above_numpy_ms']:.0f} ms |")
    return "\n".join([*lines, "", measured_on(found)])


def summaries():
    """What `tinyconv summary` takes."""
    found = part("ops", "summary")
    if found is None:
        return NOT_YET
    lines = ["| model | parameters | MACs | making and summing up | memory |", "| --- | ---: | ---: | ---: | ---: |"]
    for row in found["models"]:
        low, high = row["quartiles_ms"]
        lines.append(
            f"| `{row['model']}` | {row['parameters']:,} | {row['macs']:,} | {row['median_ms']:.1f} ms ({low:.1f} to "
            f"{high:.1f}) | {row['peak_mib']:.2f} MiB |"
        )
    return "\n".join([*lines, "", measured_on(found)])


THREADS = ("1 thread", "2 threads")
TITLES = {
    "tinyconv compiled, functions": "tinyconv captured, compiled",
    "tinyconv compiled, Sequential": "the same, a `Sequential`",
    "tinyconv numpy, functions": "tinyconv captured, NumPy alone",
    "tinyconv numpy, Sequential": "the same, a `Sequential`",
    "tinyconv": "tinyconv eager",
    "torch": "PyTorch eager",
    "torch.compile": "torch.compile",
    "jax": "JAX jit",
    "tinygrad": "tinygrad JIT",
    "mygrad": "MyGrad",
    "autograd": "HIPS autograd",
}


def of_batch(name, kind, threads, batch):
    """The entry of one batch size in a part, or None."""
    found = part(name, f"{kind}, {threads}")
    return next((one for one in found["batches"] if one["batch"] == batch), None) if found else None


def measured_with(entry):
    """(threads, entry) for each number of threads that there is an entry for."""
    return [(threads, found) for threads in THREADS if (found := entry(threads))]


def beside_torch(row):
    """The time, the share of PyTorch's and that of the floor."""
    low, high = row["ratio_quartiles"]
    floor = f"{row['floor_share']:.0%}" if "floor_share" in row else ""  # not in older records
    return f"{row['median_ms']:.2f} ms | {row['ratio']:.2f} ({low:.2f} to {high:.2f}) | {floor}"


def compared(columns):
    """The libraries of entries, three columns for each number of threads."""
    if not columns:
        return NOT_YET
    heads = [f"{threads} | of PyTorch's | floor" for threads, _ in columns]
    lines = [f"| batch {columns[0][1]['batch']} | {' | '.join(heads)} |", f"| --- |{' ---: |' * 3 * len(columns)}"]
    before = ""
    for library, title in TITLES.items():
        cells = [one["summary"].get(library) for _, one in columns]
        if any(cells):
            if title.startswith("the same") and before != library.replace("Sequential", "functions"):
                title = f"{TITLES[library.replace('Sequential', 'functions')]}, a `Sequential`"
            before = library
            shown = [beside_torch(row) if row else "| |" for row in cells]
            lines.append(f"| {title} | {' | '.join(shown)} |")
    return "\n".join(lines)


def floors(columns):
    """What the shares of the floor are shares of."""
    return "; ".join(
        f"{one['flops'] / 1e6:,.0f} MFLOP at {one['peak_gflops']:.0f} GFLOP/s are {one['floor_ms']:.2f} ms, {threads}"
        for threads, one in columns
        if "flops" in one
    )


def left_out(columns):
    """Why libraries have no time."""
    reasons = {name: reason for _, one in columns for name, reason in one["missing"].items()}
    return "".join(f" {TITLES.get(name, name)}: {reason}." for name, reason in reasons.items())


def lenet():
    """The training step at batch 128."""
    columns = measured_with(lambda threads: of_batch("lenet", "step", threads, 128))
    if not columns:
        return NOT_YET
    return "\n".join(
        [
            compared(columns),
            "",
            "One LeNet training step (zero the gradients, forward, cross-entropy, backward, Adam), float32, the same "
            "weights and batches. Before anything is timed, ten steps of each of ours in float64 have PyTorch's losses "
            "and gradients to 1e-9, and six in float32 the losses of all others. The net is written with functions, "
            "`F.max_pool2d(F.relu(conv(x)), 2)`, unless a row says otherwise. Median of at least 200 steps in turns "
            "(fewer of libraries ten times slower than PyTorch), and of the ratios turn by turn, with their middle "
            "half. Floor: the share of the time that the products alone would take at the rate of NumPy's largest "
            f"product, measured in the same run: {floors(columns)}. Each number of threads is a process bound to as "
            f"many cores.{left_out(columns)} {measured_on(columns[-1][1])}",
        ]
    )


ON_THE_FRONT_PAGE = {
    "tinyconv compiled, functions": "captured: `tinyconv train`, `tc.capture`",
    "tinyconv numpy, functions": "the same without a compiler or a wheel for the machine: NumPy alone",
    "tinyconv": "eager: code that captures nothing",
    **{name: TITLES[name] for name in ("torch", "torch.compile", "jax", "tinygrad")},
}


def lenet_short():
    """The training step at batch 128 in a few rows and without ranges, for the front page."""
    columns = measured_with(lambda threads: of_batch("lenet", "step", threads, 128))
    if not columns:
        return NOT_YET
    heads = [f"{threads} | of PyTorch's" for threads, _ in columns]
    lines = [f"| a training step of LeNet, batch 128 | {' | '.join(heads)} |", f"| --- |{' ---: |' * 2 * len(columns)}"]
    for library, title in ON_THE_FRONT_PAGE.items():
        rows = [one["summary"].get(library) for _, one in columns]
        if any(rows):
            cells = [f"{row['median_ms']:.1f} ms | {row['ratio']:.2f}" if row else " | " for row in rows]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    _, one = columns[-1]
    note = (
        f"{one['environment']['processor']}, {one['environment']['cores']} cores, {one['date']}. [benchmarks]"
        "(/benchmarks/README.md) says how this was measured, and has more libraries, batch sizes and networks."
    )
    return "\n".join([*lines, "", note])


def of_batches(kind, batches):
    """A table for each batch size, and what was measured on."""
    tables, last = [], None
    for batch in batches:
        columns = measured_with(lambda threads, batch=batch: of_batch("lenet", kind, threads, batch))
        if columns:
            last = columns[-1][1]
            tables.append(f"{compared(columns)}\n\nFloor: {floors(columns)}.{left_out(columns)}")
    return "\n\n".join([*tables, measured_on(last)]) if tables else NOT_YET


def lenet_memory():
    found = part("lenet", "memory")
    if found is None:
        return NOT_YET
    torch = found["above_bare_mib"].get("torch")
    lines = ["| | peak above a bare interpreter's | of PyTorch's |", "| --- | ---: | ---: |"]
    lines += [
        f"| {TITLES[name]} | {mib:.0f} MiB | {mib / torch:.2f} |"
        for name, mib in found["above_bare_mib"].items()
        if name in TITLES
    ]
    return "\n".join(
        [*lines, "", f"{found['steps']} steps of 128 of {found['images']:,} images held as bytes. {measured_on(found)}"]
    )


PROCESSES = {
    "tinyconv compiled": "`tinyconv train lenet5`, kernels there",
    "tinyconv cold": "the same, kernels compiled meanwhile",
    "tinyconv numpy": "the same, NumPy alone",
    "torch": "the same recipe in PyTorch",
    "torch.compile": "the same, torch.compile",
}


def medians(runs, *keys):
    """The medians of these figures over runs."""
    return [statistics.median(run[key] for run in runs) for key in keys]


def process():
    found = part("lenet", "process")
    if found is None:
        return NOT_YET
    lines = ["| five epochs of MNIST, whole process | seconds, median | of PyTorch's | peak memory | test accuracy |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for name, title in PROCESSES.items():
        if name in found["runs"]:
            seconds, peak, accuracy = medians(found["runs"][name], "seconds", "peak_mib", "test_accuracy")
            (ratio,) = medians([{"ratio": ratio} for ratio in found["ratios"][name]], "ratio")
            lines.append(f"| {title} | {seconds:.1f} | {ratio:.2f} | {peak:.0f} MiB | {accuracy:.2%} |")
    each = "; ".join(
        f"{PROCESSES[name]} {', '.join(f'{ratio:.2f}' for ratio in ratios)}"
        for name, ratios in found["ratios"].items()
        if name in PROCESSES and name != "torch"
    )
    lines += ["", f"Ratios to PyTorch's, run by run: {each}. {measured_on(found)}"]
    return "\n".join(lines)


UNSEEN = 5
"""Seeds from here on were never used to choose a recipe."""


def fast_recipe():
    """From start to exit, `tinyconv train --recipe fast` and the same in PyTorch."""
    if not (HERE / "records" / "fast-recipe.json").exists():
        return NOT_YET
    found = record("fast-recipe")
    titles = {"tinyconv compiled": "`tinyconv train lenet5 --recipe fast`", "torch": "the same recipe in PyTorch"}
    titles["torch.compile"] = PROCESSES["torch.compile"]
    lines = [
        "| MNIST, whole process | seconds, median | with compiling | peak memory | seeds | test accuracy, mean |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, title in titles.items():
        runs = found["runs"][name]
        seconds, peak = medians(runs, "seconds", "peak_mib")
        lines.append(
            f"| {title} | {seconds:.2f} | {found['first'][name]['seconds']:.1f} | {peak:.0f} MiB | {len(runs)} "
            f"| {statistics.mean(run['test_accuracy'] for run in runs):.2%} |"
        )
    own = {run["seed"]: run["test_accuracy"] for run in found["runs"]["tinyconv compiled"]}
    unseen = [accuracy for seed, accuracy in own.items() if seed >= UNSEEN]
    mean = f" Mean of seeds {UNSEEN} to {max(own)}: **{statistics.mean(unseen):.2%}**." if unseen else ""
    sd = f", sd {statistics.stdev(own.values()):.2%}" if len(own) > 1 else ""
    lines += [
        "",
        f"{found['recipe']['epochs']} epochs. The recipe was chosen, of some forty, by the accuracy on 10,000 of the "
        f"training images, which were held out: 99.00% with seeds 0 to {UNSEEN - 1}. Two epochs of larger batches gave "
        f"less there (98.95% with 256, 98.76% with 512), and so did one epoch (98.78%).{mean} Each seed, from 0 on: "
        f"{', '.join(f'{accuracy:.2%}' for accuracy in own.values())}{sd}. {threads_of(found)}; {measured_on(found)}",
    ]
    return "\n".join(lines)


def fast_short():
    """The same in a sentence, for the front page."""
    if not (HERE / "records" / "fast-recipe.json").exists():
        return NOT_YET
    found = record("fast-recipe")
    seconds = {name: medians(runs, "seconds")[0] for name, runs in found["runs"].items()}
    accuracy = statistics.mean(run["test_accuracy"] for run in found["runs"]["tinyconv compiled"])
    return (
        f"`tinyconv train lenet5 --recipe fast` reads {accuracy:.2%} of the test digits right after "
        f"**{seconds['tinyconv compiled']:.1f} s**, from the command to its exit, mean of ten seeds; the same in "
        f"PyTorch takes {seconds['torch']:.1f} s, with torch.compile {seconds['torch.compile']:.1f} s "
        f"({threads_of(found)})."
    )


NETS = {
    "stack": "Six 3x3 convolutions, each with batch norm and ReLU, pooled after every second, and a linear head",
    "cifarnet": "`models.cifarnet`",
}


def cifar():
    """A training step of each net."""
    tables = []
    for net, what in NETS.items():
        columns = measured_with(lambda threads, net=net: part("cifar", f"{net}, {threads}"))
        if columns:
            one = columns[-1][1]
            tables.append(
                f"{what} ({one['parameters']:,} parameters), on 3x32x32 images:\n\n{compared(columns)}\n\n"
                f"{one['summary']['torch']['calls']} steps of each. Floor: {floors(columns)}; it counts the 36 "
                "products of a 3x3 convolution for which Winograd's makes 16, so a share may be over 100 %."
                f"{left_out(columns)} {measured_on(one)}"
            )
    return "\n\n".join(tables) if tables else NOT_YET


def experiment(name):
    """The table of an example, what it says in words, and what it was measured on."""
    path = HERE / "records" / f"{name}.json"
    if not path.exists():
        return NOT_YET
    spec = spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found = json.loads(path.read_text(encoding="utf-8"))
    said = [module.answer(found)] if hasattr(module, "answer") else []
    on = f"{machine(found)}; commit {found['commit']}, {found['date']}. Record: [{name}.json]"
    return "\n\n".join([module.table(found), *said, f"{on}(/benchmarks/records/{name}.json)."])


def cifar_accuracy():
    """What is reached on CIFAR-10, a row a recipe."""
    lines = [
        "| model | parameters | `--recipe` | epochs | seeds | test accuracy, mean | sd | both ways | six views "
        "| time of a seed | GFLOP/s |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    notes = []
    for name in ("cifar-lenet", "cifarnet", "cifarnet-full"):
        path = HERE / "records" / f"accuracy-{name}.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        seeds = final_accuracies(found)
        sd = f"{found['sd_accuracy']:.2%}" if len(seeds) > 1 else ""
        where = threads_of(found) if found.get("device", "cpu") == "cpu" else found["device_name"]
        shown = [
            f"{statistics.mean(values):.2%}" if (values := [run[name] for run in found["runs"] if name in run]) else ""
            for name in ("mirrored_accuracy", "six_views_accuracy")
        ]
        rates = [run["gflops"] for run in found["runs"] if "gflops" in run]
        lines.append(
            f"| `{found['model']}` | {found['parameters']:,} | `{found['recipe_name']}` | {found['recipe']['epochs']} "
            f"| {', '.join(map(str, seeds))} | **{found['mean_accuracy']:.2%}** | {sd} "
            f"| {' | '.join(shown)} | {found['median_seconds'] / 60:.0f} min, {where} "
            f"| {f'{statistics.median(rates):.0f}' if rates else ''} |"
        )
        original = "" if found["files"] == ["ok"] else " It was not trained on the original files."
        on = f"{machine(found)}; commit {found['commit']}, {found['date']}"
        notes.append(f"`{found['recipe_name']}`: {found['note']}{original} {on}.")
    return "\n".join([*lines, "", *notes]) if notes else NOT_YET


def conv():
    found = part("conv", "1 thread")
    if found is None:
        return NOT_YET
    lines = [
        "| layer | implementation | forward ms | GFLOP/s | of peak | backward ms | GFLOP/s | of peak | extra MiB |",
        "| --- | --- |" + " ---: |" * 7,
    ]
    speedups = []
    for one in found["layers"]:
        rows = {row["name"]: row for row in one["rows"] if "forward" in row}
        for name, row in rows.items():
            cells = []
            for half in (row["forward"], row["backward"]):
                cells += [f"{half['ms']:,.2f}", f"{half['gflops']:.2g}", f"{half['gflops'] / found['peak_gflops']:.0%}"]
            memory = "" if row["extra_mib"] is None else f"{row['extra_mib']:.1f}"
            lines.append(f"| {one['layer']['name']} | {name} | {' | '.join(cells)} | {memory} |")
        speedups.append(
            {
                name: sum(rows[name][h]["ms"] for h in ("forward", "backward"))
                / sum(rows["im2col"][h]["ms"] for h in ("forward", "backward"))
                for name in ("six loops", "two loops")
                if name in rows
            }
        )
    ranges = {name: [s[name] for s in speedups if name in s] for name in ("six loops", "two loops")}
    return "\n".join(
        [
            *lines,
            "",
            f"Batch {found['batch']}, one thread; peak is NumPy's largest float32 product here, "
            f"{found['peak_gflops']:.0f} GFLOP/s. im2col takes 1/{min(ranges['six loops']):,.0f} to "
            f"1/{max(ranges['six loops']):,.0f} of the time of the six naked loops, and "
            f"1/{min(ranges['two loops']):.1f} to 1/{max(ranges['two loops']):.1f} of that of two loops over NumPy's "
            'products: "100 to 1000 times '
            'faster" is neither. Six loops are timed on one image and scaled, and left out where one image takes '
            f"seconds. {measured_on(found)}",
        ]
    )


def conv_short():
    """Single convolutions beside PyTorch's, forward and backward together: a column for what runs eagerly and in C."""
    found = part("conv", "1 thread")
    if found is None:
        return NOT_YET
    lines = ["| layer | eager, of PyTorch's time | in C |", "| --- | ---: | ---: |"]
    for one in found["layers"]:
        took = {row["name"]: row["forward"]["ms"] + row["backward"]["ms"] for row in one["rows"] if "forward" in row}
        shares = [f"{took[name] / took['torch']:.2f}" for name in ("tiled", "native")]
        lines.append(f"| {one['layer']['name']} | {' | '.join(shares)} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Forward and backward, batch {found['batch']}, one thread. {found['environment']['processor']}, "
            f"{found['date']}.",
        ]
    )


def eager_short():
    """Eager inference of small batches beside PyTorch's, and the same captured."""
    rows = {"tinyconv": "eager", "tinyconv compiled, functions": "captured, in C"}
    lines = [f"| LeNet's inference, of PyTorch's time | {' | '.join(THREADS)} |", "| --- | ---: | ---: |"]
    last = None
    for batch in (1, 32):
        columns = measured_with(lambda threads, batch=batch: of_batch("lenet", "inference", threads, batch))
        if not columns:
            return NOT_YET
        last = columns[-1][1]
        for library, title in rows.items():
            shares = [f"{one['summary'][library]['ratio']:.2f}" for _, one in columns]
            lines.append(f"| {batch} image{'s' * (batch > 1)}, {title} | {' | '.join(shares)} |")
    return "\n".join([*lines, "", f"{last['environment']['processor']}, {last['date']}."])


def oracle_short():
    """How much was compared with PyTorch, and what came of it."""
    if not (HERE / "records" / "oracle-deep.json").exists():
        return NOT_YET
    found = record("oracle-deep")
    names = {(row["group"], row["name"]) for row in found["rows"]}
    functions = sum(group == "ops" for group, _ in names)
    failures = len(found["failures"])
    return (
        f"In the last deep run {found['examples']:,} random examples of {functions} functions and "
        f"{len(names) - functions} optimisers and schedules were compared with PyTorch {found['versions']['torch']}; "
        f"{failures or 'none'} disagreed ({found['date']})."
    )


ON_GPU = {
    "tinyconv": "tinyconv, plain loop",
    "tinyconv captured": "tinyconv, `tc.capture`",
    "torch": "PyTorch eager",
    "torch fused": "PyTorch eager, fused optimiser",
    "torch.compile": "torch.compile, `reduce-overhead`",
    "torch graph": "PyTorch, the step as one CUDA graph",
    "jax": "JAX jit",
    "torch TF32": "PyTorch eager in TF32, channels last",
    "torch bfloat16": "PyTorch eager in bfloat16, channels last",
}


def on_gpus(name, kind):
    """The parts of a record of a GPU, one for each device that was measured on."""
    path = HERE / "records" / f"{name}-cuda.json"
    parts = json.loads(path.read_text(encoding="utf-8"))["parts"] if path.exists() else {}
    return [part for key, part in parts.items() if key.startswith(f"{kind}, ")]


def gpu(device):
    """What a part of a GPU's record was measured on, besides the machine."""
    return (
        f"{device['name']}, driver {device['driver']} (CUDA {device['driver_cuda']}), CUDA {device['cuda']}, "
        f"CuPy {device['cupy']}"
    )


def steps_on_gpus(name, only=None):
    """Libraries on a GPU, a table for each device and batch size; nothing at all where there is no record."""
    tables = []
    for part in on_gpus(name, "step"):
        chosen = [one for one in part["batches"] if only in (None, one["batch"])]
        tables += [*map(step_on_gpu, chosen), *map(about_step, chosen[-1:])]
    return "\n\n".join(tables)


def step_on_gpu(one):
    lines = [
        f"| batch {one['batch']}, {one['device']['name']} | a step | of PyTorch's | kernels | copies |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for library, title in ON_GPU.items():
        row = one["summary"].get(library)
        if row is None:
            continue
        ratio = ""
        if row["ratio"] is not None:
            low, high = row["ratio_quartiles"]
            ratio = f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})"
        seen = one["launches"][library]
        kernels = f"{seen.get('kernels', '')}"
        if "in_graph" in seen:
            kernels += f" ({seen['in_graph']} in the graph)"
        lines.append(
            f"| {title} | {1e3 * row['median_ms']:,.0f} µs | {ratio} | {kernels.strip()} | {seen.get('copies', '')} |"
        )
    lines += [f"\n{ON_GPU[library]}: {reason}." for library, reason in one["missing"].items()]
    return "\n".join(lines)


def about_step(one):
    return (
        "A training step (zero the gradients, forward, cross-entropy, backward, optimiser) in float32 without TF32, "
        "unless a row says otherwise; the same weights and batches, the first six losses compared before timing. A "
        f"sample is {one['burst']} steps, read by nobody, and one wait for the device. The libraries take turns; the "
        "table gives the median of the samples and of the ratios turn by turn, with their middle half. torch.compile "
        "puts the forward pass with the loss into one CUDA graph and the backward pass into another, and runs the "
        "fused optimiser outside. Kernels and copies are those of one step, as the profiler sees them. "
        f"{gpu(one['device'])}; {measured_on(one)}"
    )


def training_on_gpus():
    """Whole trainings on a GPU; nothing at all where there is no record."""
    tables = []
    for part in on_gpus("lenet", "training"):
        runs = part["samples"]
        sd = "" if part["sd_accuracy"] is None else f", sd {part['sd_accuracy']:.2%}"
        bits = "are the same to the last bit" if part["same_bits"] else "differ"
        tables.append(
            "\n".join(
                [
                    f"| {part['epochs']} epochs of MNIST, {part['device']['name']} | seconds |",
                    "| --- | ---: |",
                    f"| set-up: imports, data to the device | {part['setup_seconds']:.1f} |",
                    f"| first steps, with capture | {part['first_seconds']:.2f} |",
                    f"| the same, kernels not compiled yet | {part['uncompiled_first_seconds']:.1f} |",
                    f"| training and tests | {part['training_seconds']:.2f} |",
                    "",
                    f"Test accuracy **{part['mean_accuracy']:.2%}**{sd}, seeds "
                    f"{', '.join(str(run['seed']) for run in runs[1:])}; times are medians of them. The weights of two "
                    f"runs of seed {runs[0]['seed']} {bits}. {gpu(part['device'])}; {measured_on(part)}",
                ]
            )
        )
    return "\n\n".join(tables)


def cuda():
    """The section about a GPU, with its heading; nothing at all where there is no record."""
    parts = {
        "LeNet": steps_on_gpus("lenet"),
        "Whole trainings": training_on_gpus(),
        "A 3x3 network": steps_on_gpus("cifar"),
    }
    found = [f"### {title}\n\n{tables}" for title, tables in parts.items() if tables]
    return "\n\n".join(["## On a GPU", *found]) if found else ""


AIMS = [  # what is measured, the ratios aimed at with NumPy alone and compiled, and where it is in the record
    ("training step, batch 128, 1 thread", 0.50, 0.25, ("step", "1 thread", 128)),
    ("the same, 2 threads", 0.67, 0.25, ("step", "2 threads", 128)),
    ("batch 512, 2 threads", None, 0.20, ("step", "2 threads", 512)),
    ("batch 4096, 2 threads", None, 0.20, ("step", "2 threads", 4096)),
    ("inference, 1 image, 2 threads", 0.75, 0.25, ("inference", "2 threads", 1)),
    ("inference, 10,000 images, 2 threads", None, 0.15, ("inference", "2 threads", 10_000)),
]
OTHERS = {"torch.compile": 0.20, "jax": 0.10, "tinygrad": 0.05}


def aims():
    """What this project aims at, and what was measured: ratios to PyTorch unless a row names another library."""
    lines = [
        "| | NumPy alone: aim | measured | compiled: aim | measured |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]

    def cells(aim, value, digits=2):
        shown = "not measured" if value is None else f"{value:.{digits}f}"
        if aim is None:
            return f" | {'' if value is None else shown}"
        return f"<= {aim:g} | {shown if value is None or value > aim else f'**{shown}**'}"

    def add(what, aim, value, compiled_aim=None, compiled=None, digits=2):
        lines.append(f"| {what} | {cells(aim, value, digits)} | {cells(compiled_aim, compiled)} |")

    def of(one, kernels, library="torch"):
        """The time in the style that is slower, as a share of that of another library."""
        rows = (
            [one["summary"].get(f"tinyconv {kernels}, {style}") for style in ("functions", "Sequential")] if one else []
        )
        other = one["summary"].get(library) if one else None
        if other is None or not any(rows):
            return None
        if library == "torch":  # turn by turn
            return max(row["ratio"] for row in rows if row)
        return max(row["median_ms"] for row in rows if row) / other["median_ms"]

    for what, aim, compiled_aim, place in AIMS:
        one = of_batch("lenet", *place)
        add(what, aim, of(one, "numpy"), compiled_aim, of(one, "compiled"))
    one = of_batch("lenet", "step", "2 threads", 128)
    for library, aim in OTHERS.items():
        add(
            f"step, batch 128, 2 threads, against {TITLES[library]}",
            *(None, of(one, "numpy", library)),
            *(aim, of(one, "compiled", library)),
        )
    for net, what in {"stack": "six 3x3 convolutions", "cifarnet": "`cifarnet`"}.items():
        found = part("cifar", f"{net}, 2 threads")
        add(f"{what}, batch 128, 2 threads", None, of(found, "numpy"), 0.90, of(found, "compiled"))
    memory = part("lenet", "memory")
    sizes = memory["above_bare_mib"] if memory else {}
    shares = {name: mib / sizes["torch"] for name, mib in sizes.items()}
    add(
        "peak memory of training",
        *(0.25, shares.get("tinyconv numpy, functions")),
        *(0.25, shares.get("tinyconv compiled, functions")),
    )
    whole = part("lenet", "process")
    usual = {name: statistics.median(ratios) for name, ratios in whole["ratios"].items()} if whole else {}
    add("five epochs of MNIST, whole process", None, usual.get("tinyconv numpy"), 0.30, usual.get("tinyconv compiled"))
    recorded = part("ops", "overhead")
    calls = {(row["op"], row["library"]): row["median_us"] for row in recorded["calls"]} if recorded else {}
    add("one recorded eager op, `a * b`, µs", 3, calls.get(("a * b", "tinyconv")))
    start = part("ops", "startup")
    add("`import tinyconv` above `import numpy`, ms", 60, start and start["import_above_numpy_ms"], digits=0)
    return "\n".join(
        [
            *lines,
            "",
            "Times as a share of PyTorch's, unless another library is named, and of the slower of the two ways of "
            "writing a net; **reached** in bold.",
        ]
    )


def source_of(op):
    """The class of an op as a block of Python, so that a page shows what is there."""
    for path in sorted((ROOT / "tinyconv" / "ops").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and node.name == op and path.name != "loops.py":
                return f"```python\n{ast.get_source_segment(source, node)}\n```"
    sys.exit(f"no class {op!r} in tinyconv/ops: a page asks for its source")


def lines_of(paths):
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def size_of_the_package():
    """How long the book and the package are; rounded, or every commit would make the page stale."""
    package = ROOT / "tinyconv"
    book = lines_of([*package.glob("ops/*.py"), package / "engine" / "tape.py"])
    whole = lines_of(package.rglob("*.py"))
    return (
        f"The book, the same ops as naked loops and the tape are about {round(book, -2):,} lines of Python; the whole "
        f"package is about {round(whole, -3):,}."
    )


def campaign(name):
    """What a campaign tried, a row a kind."""
    if not (HERE / "records" / f"campaign-{name}.json").exists():
        return NOT_YET
    found = record(f"campaign-{name}")
    where = found["environment"]
    lines = ["| what was tried | times | failed | at most |", "| --- | ---: | ---: | --- |"]
    for kind, row in sorted(found["kinds"].items()):
        figures = ", ".join(f"{value:,g} {figure}" for figure, value in row["figures"].items())
        lines.append(f"| {kind} | {row['tried']:,} | {row['failed']:,} | {figures} |")
    return "\n".join(
        [
            f"**{found['promise']}** {found['count']:,} attempts, {found['failed']:,} failed.",
            "",
            *lines,
            "",
            f"`make campaign CAMPAIGN={name} COUNT={found['count']} SEED={found['seed']}`; {where['processor']}, "
            f"{where['cores']} cores, {found['seconds']:,} s; commit {found['commit']}, {found['date']}.",
        ]
    )


def own_pictures():
    """What is read wrong from pictures of digits, a row a kind."""
    if not (HERE / "records" / "pictures.json").exists():
        return NOT_YET
    found = record("pictures")
    lines = [
        "| picture | digits | wrong as MNIST has them | wrong from the picture | refused |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['kind']} | {row['pictures']:,} | {row['originals wrong']} | {row['wrong']} | {row['refused']} |"
        for row in found["rows"]
    ]
    return "\n".join([*lines, "", f"{machine(found)}; commit {found['commit']}, {found['date']}."])


def studio():
    """How soon the studio is there and answers, and what training in it costs."""
    if not (HERE / "records" / "studio.json").exists():
        return NOT_YET
    found = record("studio")
    r = found["results"]
    of_page = r["epoch in the page against the command"]
    lines = [
        "| | |",
        "| --- | ---: |",
        f"| from the command to its URL | {r['url, s']:.2f} s |",
        f"| from the command to a page that shows every map | {r['ready, s']:.2f} s "
        f"(at most {r['ready at most, s']:.2f}) |",
        f"| from a movement of the pen to all 66 maps of LeNet, median | {r['maps p50, ms']:.0f} ms |",
        f"| the same, 95 of 100 | {r['maps p95, ms']:.0f} ms |",
        f"| an epoch of LeNet in the page, of the time of `tinyconv train` | {of_page:.2f} "
        f"({r['of these from']:.2f} to {r['of these to']:.2f}) |",
    ]
    return "\n".join([*lines, "", f"{machine(found)}; commit {found['commit']}, {found['date']}."])


def ops_by_file():
    """Each file of ops with the ops in it, in the order in which they stand there."""
    lines = ["| file | ops |", "| --- | --- |"]
    for path in sorted((ROOT / "tinyconv" / "ops").glob("*.py")):
        classes = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
        names = [f"`{node.name}`" for node in classes if any(map(_is_forward, node.body))]
        if names:
            lines.append(f"| [`{path.name}`](/tinyconv/ops/{path.name}) | {', '.join(names)} |")
    return "\n".join(lines)


def _is_forward(node):
    """Whether a class defines `forward` here, as a function or as `forward = staticmethod(lambda ...)`."""
    return "forward" in (getattr(node, "name", ""), *(ast.unparse(name) for name in getattr(node, "targets", ())))


def printed_node():
    """What `print(y.grad_fn)` says of a convolution whose fast pair ran."""
    weight = tc.ones(6, 1, 5, 5, requires_grad=True)
    return f"```text\n{tc.functional.conv2d(tc.ones(64, 1, 28, 28), weight).grad_fn}\n```"


def _of_ranks(found):
    """The nets of the record for the model of ranks, and this machine as what hands round, for each number of ranks."""
    nets = {
        name: Net(step["tile_ms"], step["once_ms"], step["gradient_bytes"], step["of_ranks"][0]["meetings"] - 1)
        for name, step in found["steps"].items()
    }
    carriers = {}
    for constants in found["constants"]:
        taken = constants["gather_us"]
        small, large = min(taken, key=int), max(taken, key=int)
        rate = int(large) * (constants["ranks"] - 1) / (taken[large] - taken[small]) / 1e3
        carriers[constants["ranks"]] = Carrier(taken[small], rate, constants["adding_gb_s"])
    return nets, carriers


def ranks():
    """Steps on several ranks beside one, measured and predicted."""
    if not (HERE / "records" / "ranks.json").exists():
        return NOT_YET
    found = record("ranks")
    nets, carriers = _of_ranks(found)
    lines = [
        "| a step, batch 512 | ranks | one, ms | all, ms | times as fast | predicted | meetings | handing round |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, step in found["steps"].items():
        for one in step["of_ranks"]:
            count, rows = one["ranks"], one["summary"]
            low, high = one["speedup_quartiles"]
            alone, together = rows["alone"]["median_ms"], rows["shared"]["median_ms"]
            model = predicted(nets[name], carriers[count], step["batch"], count, found["environment"]["cores"])
            of_one = predicted(nets[name], carriers[count], step["batch"], 1)
            lines.append(
                f"| {step['title']} | {count} | {alone:.1f} | {together:.1f} "
                f"| {one['speedup']:.2f} ({low:.2f} to {high:.2f}) | {of_one['step_ms'] / model['step_ms']:.2f} "
                f"| {one['in_meetings_ms'] / together:.0%} | {one['handing_ms'] / together:.1%} |"
            )
    constants = "; ".join(
        f"{count} ranks: {c.latency_us:.0f} us for 8 bytes, {c.gb_s:.1f} GB/s" for count, c in carriers.items()
    )
    return "\n".join(
        [
            *lines,
            "",
            "Ranks are processes of one thread each. Meetings: the share of the step in which rank 0 hands round or "
            "waits for others. Handing round: the same meetings with no work in between. Shared memory takes, with "
            f"{constants}; adding up {carriers[2].adding_gb_s:.1f} GB/s. {measured_on(found)}",
        ]
    )


NETWORK = 20, 3.0
"""Microseconds and GB/s of 25 Gbit/s Ethernet: an assumption, as no cluster is here."""


def ranks_on_paper():
    """What the model says of numbers of ranks that no machine here has."""
    if not (HERE / "records" / "ranks.json").exists():
        return NOT_YET
    found = record("ranks")
    nets, carriers = _of_ranks(found)
    rate = found["steps"]["cifarnet-compiled"]
    gflops = 1e3 * rate["gflops_of_a_tile"] / rate["tile_ms"]
    of_resnet = found["resnet50"]
    adding = carriers[2].adding_gb_s
    shown = {
        "LeNet-5": nets["lenet-compiled"],
        "cifarnet": nets["cifarnet-compiled"],
        "ResNet-50": Net(
            6 * of_resnet["macs"] * 64 / 1e6 / gflops,
            3 * of_resnet["parameters"] * 4 / adding / 1e6,
            4 * of_resnet["parameters"],
        ),
    }
    network = Carrier(*NETWORK, adding)
    lines = [
        "| net | ranks | a batch of 8,192 | 64 images a rank | 512 images a rank | handing round, of the 64 |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for title, net in shown.items():
        for count in (2, 8, 32, 128, 1000):
            strong = predicted(net, network, 8192, 1)["step_ms"] / predicted(net, network, 8192, count)["step_ms"]
            weak = {
                each: predicted(net, network, each, 1)["step_ms"]
                / predicted(net, network, each * count, count)["step_ms"]
                for each in (64, 512)
            }
            small = predicted(net, network, 64 * count, count)
            handed = (small["handing_ms"] + small["adding_ms"]) / small["step_ms"]
            lines.append(
                f"| {title} | {count:,} | {strong:.1f} times ({strong / count:.0%}) | {weak[64]:.0%} | {weak[512]:.0%} "
                f"| {handed:.0%} |"
            )
    return "\n".join(
        [
            *lines,
            "",
            "One rank is one thread of the machine above: a tile of 64 images takes "
            f"{nets['lenet-compiled'].tile_ms:.1f} ms of LeNet-5, {nets['cifarnet-compiled'].tile_ms:.0f} ms of "
            f"cifarnet, and {shown['ResNet-50'].tile_ms / 1e3:.0f} s of ResNet-50 at cifarnet's {gflops:.0f} GFLOP/s. "
            f"The network is assumed: {NETWORK[0]} us and {NETWORK[1]:g} GB/s, as Ethernet of 25 Gbit/s has.",
        ]
    )


TABLES = {
    "ranks": ranks,
    "ranks_on_paper": ranks_on_paper,
    "ops": ops_by_file,
    "grad_fn": printed_node,
    "accuracy": accuracy,
    "accuracy_short": accuracy_short,
    "overhead": overhead,
    "startup": startup,
    "summaries": summaries,
    "lenet": lenet,
    "lenet_short": lenet_short,
    "lenet_steps": partial(of_batches, "step", (512, 4096)),
    "lenet_inference": partial(of_batches, "inference", (1, 32, 10_000)),
    "lenet_memory": lenet_memory,
    "process": process,
    "fast_recipe": fast_recipe,
    "fast_short": fast_short,
    "cifar": cifar,
    "cifar_accuracy": cifar_accuracy,
    **{name: partial(experiment, name) for name in ("mlp_vs_lenet", "shift", "gotchas", "loops_to_im2col")},
    "conv": conv,
    "conv_short": conv_short,
    "eager_short": eager_short,
    "oracle_short": oracle_short,
    "aims": aims,
    "lenet_cuda": partial(steps_on_gpus, "lenet", only=128),
    "cuda": cuda,
    "campaign": campaign,
    "own_pictures": own_pictures,
    "studio": studio,
    "op": source_of,
    "lines": size_of_the_package,
}


def filled(text, page):
    """The text of a page with what is fresh between each pair of `<!-- table: NAME -->` and `<!-- end -->`.

    A word after NAME is handed to what makes the table. Links in tables start at the root of the checkout; on the page
    they start at its folder.
    """

    def fresh(match):
        opening, name, words, end = match.groups()
        made = TABLES[name](*words.split())
        made = re.sub(r"\]\(/([^)#]+)", lambda link: f"]({os.path.relpath(ROOT / link[1], page.parent)}", made)
        return f"{opening}{made}\n{end}" if made else f"{opening}{end}"

    return re.sub(r"(<!-- table: (\w+)((?: \w+)*) -->\n).*?(<!-- end -->)", fresh, text, flags=re.DOTALL)


def main():
    if "--plots" in sys.argv:
        from harness.plots import conv_plot, lenet_plot

        for name, draw in {"conv": conv_plot, "lenet": lenet_plot}.items():
            draw(record(name), HERE / "plots" / f"{name}.png")
    stale = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if filled(text, page) != text:
            stale.append(page.relative_to(ROOT))
            if "--check" not in sys.argv:
                page.write_text(filled(text, page), encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"{', '.join(map(str, stale))}: not as the records say; run python benchmarks/tables.py")


if __name__ == "__main__":
    main()
