"""Files, names and numbers made to break the command: each field of each kind of file, taken to extremes."""

import json
import os
import queue
import shlex
import shutil
import signal
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import safetensors.numpy

from campaigns.attempt import Attempt, Warm
from tinyconv import cli, data, train
from tinyconv.data import datasets
from tinyconv.errors import TinyconvError
from tinyconv.testing import table

PROMISE = (
    "Whatever a file holds, and whatever is typed, a command succeeds or says in one message why not, without a "
    "traceback, within 1 GiB and 10 s of processor time."
)
COUNT, DOSE = 5000, 110

LONGEST = 3000  # characters of an error, with the frame of a usage error around its 1,900
FEW = {"SYNTHETIC_TRAIN": 64, "SYNTHETIC_TEST": 20}  # images
CASES = 3  # of a gradcheck, who may have asked for a million
STEPS = 2  # of a training, before it is stopped as by Ctrl-C


# --- what runs in the copies of a warm process ----------------------------------------------------------------------

CALLS = {"read_idx": data.read_idx, "read_cifar10": data.read_cifar10, "load_weights": train.load_weights}


def act(words):
    """What the words say, as a command or as one of CALLS; a training is stopped after STEPS, a check after CASES."""
    if words[0] in CALLS:
        try:
            CALLS[words[0]](words[1])
        except (TinyconvError, FileNotFoundError) as error:
            sys.exit(f"error: {error}")
        return
    steps_of = train.Trainer.run

    def run(self):
        for number, report in enumerate(steps_of(self), 1):
            if number == STEPS:
                os.kill(os.getpid(), signal.SIGINT)
            yield report

    def few(*args, cases, check=table.check_public, **options):
        return check(*args, cases=min(cases, CASES), **options)

    with (
        mock.patch.multiple(datasets, **FEW),
        mock.patch.object(train.Trainer, "run", run),
        mock.patch.object(table, "check_public", few),
    ):
        sys.argv = ["tinyconv", *words]
        cli.main()


# --- inputs ---------------------------------------------------------------------------------------------------------

EXTREMES = [
    None, True, False, -1, 0, 1, 2, 7, 1024, 99_999, 1 << 31, 1 << 63, 1 << 64, -(1 << 63), 10**30, -(10**300), 0.5,
    -0.5,
    1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"), "", "x", "0", "-1", "x" * 100_000, "\x1b[31mred",
    "\x00", "\ud800", "$\\frac$", "../../../etc/passwd", "lenet5", "resnet", "cake", "mnist", "cifar10", "adam", [],
    {},
    [[]], [1], [1] * 10_000, ["x"], {"a": 1}, {"": {}}, {"step": 1e400},
]  # fmt: skip
"""Values of every type, and of every size; the last is written as a number that JSON reads as infinity."""
BOMB = zlib.compress(bytes(60_000_000))
"""Sixty megabytes in sixty kilobytes."""
RAW = [
    "1" + "0" * 5000,
    "[" * 100_000,
    '{"a":' * 5000,
    '{"a": 1, "a": 2}',
    "1e999",
    "-0",
    '"\\ud800\\udfff"',
    "nul",
    "",
]
"""Texts in the place of a value, some of which are no JSON."""


def dumped(document):
    return json.dumps(document, ensure_ascii=True)


def places(value, at=()):
    """The chain of keys to everything in a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*at, key)
        yield from places(inner, (*at, key))


def damaged(document, rng):
    """The text of a document in which something is another value, missing, or no JSON."""
    document = json.loads(dumped(document))
    place = pick(rng, list(places(document)))
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    if rng.random() < 0.1:
        del inner[place[-1]]
        return dumped(document)
    if rng.random() < 0.2:
        inner[place[-1]] = "HERE"
        return dumped(document).replace('"HERE"', pick(rng, RAW))
    value = pick(rng, EXTREMES)
    if isinstance(inner[place[-1]], int | float) and rng.random() < 0.3:
        value = inner[place[-1]] + pick(rng, [1, -1, 0.5, 1 << 40])
    inner[place[-1]] = value
    return dumped(document)


def pick(rng, values):
    return values[int(rng.integers(len(values)))]


def safetensors_file(header, body):
    return len(header).to_bytes(8, "little") + header + body


class Inputs:
    """The kinds of inputs; each is a method that writes its files into a folder and returns the words of a command."""

    def __init__(self, folder):
        """Make what is changed: a checkpoint after an epoch, one within its first epoch, and the log of a training."""
        self.seeds = folder / "seeds"
        self.seeds.mkdir(parents=True)
        self.checkpoints = [self.seeds / "done.safetensors", self.seeds / "begun.safetensors"]
        recipe = train.Recipe(epochs=1, batch_size=16)
        with mock.patch.multiple(datasets, **FEW):
            for path, model, options in zip(
                self.checkpoints, ("mlp", "lenet5"), ({"hidden": 4}, {"padding": 2}), strict=True
            ):
                session = train.start(train.new_run(model, "synthetic", 0, recipe, **options))
                reports = session.trainer.run()
                for _ in range(2):
                    next(reports)
                for _ in reports if path.stem == "done" else ():
                    pass
                session.save(path)
        self.report = {"epoch": 1, "train_loss": 0.5, "test_accuracy": 0.75, "seconds": 1.5}
        self.kinds = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("a_")]

    def first(self):
        """Commands that import what the others need."""
        log, path, made = self.seeds / "log.jsonl", str(self.checkpoints[0]), str(self.seeds / "made")
        log.write_text(dumped(self.report))
        return [
            ["summary", "lenet5"], ["summary", "pol 2"], ["no-such"], ["eval", path],
            ["maps", path, "--out", f"{made}.png"],
            ["predict", path, str(self.picture(log))], ["curves", str(log), "--out", f"{made}.png"],
            ["train", "mlp", "--data", "synthetic", "--epochs", "1", "--out", made],
            ["gradcheck", "relu", "--cases", "1"],
            ["data", "verify"],
        ]  # fmt: skip

    def commands(self, rng, path):
        """A command that reads a checkpoint."""
        commands = [
            ["eval", path], ["eval", path, "--mirrored", "--json"], ["eval", path, "--data", "cifar10"], ["maps",
            path],
            ["summary", path], ["curves", path], ["train", "--resume", path], ["predict", path, self.picture(path)],
            ["train", "--resume", path, "--json", "--out", path.with_name("o")], ["summary", path, "--json"],
        ]  # fmt: skip
        return [str(word) for word in (["report", path] if rng.random() < 0.02 else pick(rng, commands))]

    def picture(self, beside):
        path = beside.with_name("picture.png")
        path.write_bytes(png(28, 28, zlib.compress(bytes(29 * 28))))
        return path

    def opened(self, rng):
        """The arrays and the document of a checkpoint."""
        path = pick(rng, self.checkpoints)
        with safetensors.safe_open(path, framework="numpy") as file:
            document = json.loads(file.metadata()["tinyconv"])
        return safetensors.numpy.load_file(path), document

    def a_checkpoints_metadata(self, rng, folder):
        arrays, document = self.opened(rng)
        path, text = folder / "c.safetensors", damaged(document, rng)
        safetensors.numpy.save_file(arrays, path, {"tinyconv": text})
        return self.commands(rng, path)

    def a_checkpoints_model(self, rng, folder):
        """Another model, dataset or option than that of the arrays."""
        arrays, document = self.opened(rng)
        run = document["run"]
        run["model"], run["data"] = pick(rng, list(MODELS)), pick(rng, ["synthetic", "mnist", "cifar10", "none"])
        run["options"] = pick(rng, [run["options"], {}, *MODELS[run["model"]]])
        path = folder / "c.safetensors"
        safetensors.numpy.save_file(arrays, path, {"tinyconv": dumped(document)})
        return self.commands(rng, path)

    def a_checkpoints_arrays(self, rng, folder):
        arrays, document = self.opened(rng)
        names = sorted(arrays)
        name = pick(rng, names)
        other = pick(rng, ["optimizer/0/x", "optimizer/-1/exp_avg", "optimizer/9999999999999/exp_avg",
                           "optimizer//", "x",
                           "optimizer/" + "9" * 5000 + "/x", "\x1b[31m", "x" * 100_000, name + ".weight"])  # fmt: skip
        array = arrays.pop(name)
        changed = [
            lambda: np.full(array.shape, pick(rng, [np.nan, np.inf, -1e38, 3e38, 0]), array.dtype),
            lambda: array.astype(pick(rng, [np.float64, np.float16, np.int64, np.uint8, np.bool_])),
            lambda: array.ravel(),
            lambda: array[None],
            lambda: np.zeros((0, 5), np.float32),
            lambda: np.zeros((1 << 22,), np.float32),
            lambda: np.zeros((), np.float32),
        ]
        if rng.random() < 0.7:
            arrays[name] = np.ascontiguousarray(pick(rng, changed)())
        if rng.random() < 0.4:
            arrays[other] = np.ascontiguousarray(pick(rng, [array, *(make() for make in changed)]))
        path = folder / "c.safetensors"
        safetensors.numpy.save_file(arrays, path, {"tinyconv": dumped(document)})
        return self.commands(rng, path)

    def a_header(self, rng, folder):
        """What describes the arrays: dtypes, shapes and offsets, and the length of it all."""
        whole = pick(rng, self.checkpoints).read_bytes()
        size = int.from_bytes(whole[:8], "little")
        header, body = json.loads(whole[8 : 8 + size]), whole[8 + size :]
        name = pick(rng, [name for name in header if name != "__metadata__"])
        entry, text = header[name], None
        how = int(rng.integers(6))
        if how == 0:
            entry["dtype"] = pick(
                rng, ["F8_E4M3", "BF16", "F64", "I64", "C64", "BOOL", "f32", "", 3, None, "F32\x1b[2J"]
            )
        elif how == 1:
            entry["shape"] = pick(rng, [[], [0], [-1], [1 << 62, 4], [1 << 63], [1] * 100, [1.5], "x", None, [[]],
                                        [1 << 32, 1 << 32], [4, 0, 1 << 62], [10**30]])  # fmt: skip
        elif how == 2:
            entry["data_offsets"] = pick(
                rng, [[0, 0], [4, 0], [-4, 0], [0, 1 << 62], [0], [], "x", [0, 10**30], [1, 5]]
            )
        elif how == 3:
            header[pick(rng, ["\x1b]0;x\x07", "x" * 100_000, "", "a\nb", "__metadata__"])] = pick(
                rng, [entry, {}, 3, None]
            )
        elif how == 4:
            text = damaged(header, rng).encode("utf-8", "surrogatepass")
        else:
            body = body[: int(rng.integers(len(body)))] if rng.random() < 0.5 else body + b"x" * 1000
        text = text or dumped(header).encode()
        claimed = pick(rng, [len(text)] * 9 + [0, 1, len(text) - 1, len(text) + 1, 1 << 24, 1 << 40, (1 << 64) - 1])
        path = folder / "c.safetensors"
        path.write_bytes(claimed.to_bytes(8, "little") + text + body)
        if rng.random() < 0.1:
            os.truncate(path, 1 << 36)  # a file with a hole: 64 GiB that take no disk
        return ["load_weights", str(path)] if rng.random() < 0.3 else self.commands(rng, path)

    def a_hole(self, rng, folder):
        """A whole file of 64 GiB in a few hundred bytes of disk: its arrays fit nothing."""
        _, document = self.opened(rng)
        size = 1 << 36
        entry = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
        name = pick(rng, ["1.weight", "conv1.weight", "optimizer/0/exp_avg", "x"])
        header = dumped({"__metadata__": {"tinyconv": dumped(document)}, name: entry}).encode()
        path = folder / "c.safetensors"
        path.write_bytes(safetensors_file(header, b""))
        os.truncate(path, 8 + len(header) + size)
        return self.commands(rng, path)

    def a_log(self, rng, folder):
        lines = [dumped({**self.report, "epoch": epoch}) for epoch in range(1, 4)]
        at = int(rng.integers(3))
        lines[at] = pick(rng, [damaged(self.report, rng), damaged(self.report, rng), pick(rng, RAW), *lines])
        names = [
            "log.jsonl",
            "_.jsonl",
            "$x^$.jsonl",
            "\x1b[31m.jsonl",
            "ü" * 80,
            "a.safetensors",
            os.fsdecode(b"\xff"),
        ]
        path = folder / pick(rng, names)
        path.write_text("\n".join(lines), "utf-8", "surrogatepass")
        others = [str(folder / "none")] if rng.random() < 0.1 else []
        return [
            "curves",
            str(path),
            *others,
            "--out",
            str(folder / pick(rng, ["c.png", "c.png", "c.xyz", "c", "a/c.svg"])),
        ]

    def a_cake(self, rng, folder):
        text = "conv 6 5; relu; pool 2; bn; conv 16 5 padding=2; gap; flatten; dropout 0.5; fc 10"
        words = text.split(" ")
        for _ in range(int(rng.integers(1, 3))):
            words[int(rng.integers(len(words)))] = pick(rng, WORDS)
        cake = pick(rng, [" ".join(words)] * 8 + [text * int(rng.integers(1, 2000)), pick(rng, WORDS)])
        image = pick(
            rng, [[], [], ["--input", pick(rng, WORDS)], ["--input", "x".join(pick(rng, NUMBERS) for _ in "CHW")]]
        )
        if rng.random() < 0.3:
            return ["train", word(cake), "--data", "synthetic", "--epochs", "1"]
        form = pick(rng, [[], ["--json"], ["--format", "python"], ["--format", "cake"], ["--format", "html"]])
        return ["summary", word(cake), *map(word, image), *form]

    def a_models_option(self, rng, folder):
        model = pick(rng, list(MODELS))
        names = [
            "in_channels",
            "size",
            "padding",
            "num_classes",
            "hidden",
            "in_features",
            "widths",
            "blocks",
            "slices",
            "x",
        ]
        values = [dumped(value) for value in EXTREMES] + RAW + ["[64, 1e9]", "[[1]]", "[1000, 1000, 1000]"]
        pairs = [f"--option={pick(rng, names)}={pick(rng, values)[:100_000]}" for _ in range(int(rng.integers(1, 3)))]
        if rng.random() < 0.5:
            return ["summary", model, *map(word, pairs)]
        return ["train", model, "--data", "synthetic", "--epochs", "1", "--batch-size", "8", *map(word, pairs)]

    def a_command_line(self, rng, folder):
        checkpoint = str(pick(rng, self.checkpoints))
        command = pick(rng, [
            ["train", "mlp", "--data", "synthetic", "--out", "o"], ["eval", checkpoint], ["maps", checkpoint,
            "--out", "o.png"],
            ["summary", "lenet5"], ["data", "verify"], ["data", "list"], ["gradcheck", "relu", "--cases", "2"],
            ["data", "fetch"],
        ])  # fmt: skip
        options = ["--epochs", "--batch-size", "--lr", "--schedule", "--weight-decay", "--shift", "--crop", "--cutout",
                   "--label-smoothing", "--optimizer", "--seed", "--threads", "--device", "--recipe", "--data",
                   "--input",
                   "--format", "--number", "--digit", "--layer", "--cases", "--data-dir", "--out", "--resume",
                   "--save-every",
                   "--option", "--no-such-option", ""]  # fmt: skip
        for _ in range(int(rng.integers(1, 3))):
            at = int(rng.integers(1, len(command) + 1))
            command[at:at] = [pick(rng, options), word(pick(rng, WORDS))]
        return [each for each in command if each != "--overwrite"]

    def a_data_file(self, rng, folder):
        path = folder / "file"
        dims = int(rng.integers(0, 70)) if rng.random() < 0.3 else 3
        sizes = [pick(rng, [0, 1, 2, 28, 255, 65536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]) for _ in range(dims)]
        magic = bytes([pick(rng, [0] * 9 + [1, 255]), 0, pick(rng, [8, 8, 9, 11, 12, 13, 14, 0, 255]), dims])
        content = magic + struct.pack(f">{dims}I", *sizes) + bytes(int(rng.integers(0, 4000)))
        if rng.random() < 0.3:
            content = zlib.compress(content, wbits=31)
        if rng.random() < 0.2:
            content = zlib.compress(content[:16], wbits=31)[:-8] + BOMB
        if rng.random() < 0.2:
            content = bytes([int(rng.integers(256))]) * (3073 * int(rng.integers(0, 5)) + int(rng.integers(2)))
        path.write_bytes(content)
        return [pick(rng, ["read_idx", "read_idx", "read_cifar10"]), str(path)]

    def a_picture(self, rng, folder):
        sides = [0, 1, 2, 28, 5000, 100_000, (1 << 31) - 1, (1 << 32) - 1]
        width, height = pick(rng, sides), pick(rng, sides)
        body = pick(rng, [b"", b"x", zlib.compress(bytes(10)), zlib.compress(bytes(29 * 28)), BOMB])
        kinds = {
            "png": lambda: png(width, height, body, pick(rng, [0, 1, 8, 16, 255]), pick(rng, [0, 2, 3, 4, 6, 9])),
            "bmp": lambda: bmp(width, height, pick(rng, [1, 8, 24, 32, 99]), pick(rng, [0, 1, 3])) + body,
            "gif": lambda: b"GIF89a" + struct.pack("<HHBBB", width % 65536, height % 65536, 247, 0, 0) + body,
            "tiff": lambda: b"II*\0" + struct.pack("<I", width) + body,
            "ppm": lambda: f"P6 {width} {height} 255\n".encode() + body,
            "eps": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n" + body,
            "text": lambda: b"hello",
        }  # fmt: skip
        path = folder / pick(rng, ["p.png", "p.jpg", "p", "\x1b[31m.png"])
        path.write_bytes(kinds[pick(rng, list(kinds))]())
        given = pick(rng, [str(path)] * 8 + [str(folder), "/dev/null", str(folder / "none.png"), "x" * 5000])
        checkpoint = str(pick(rng, self.checkpoints))
        if rng.random() < 0.2:
            return ["maps", checkpoint, "--image", given, "--out", str(folder / "m.png")]
        return ["predict", checkpoint, given, *(["--json"] if rng.random() < 0.5 else [])]

    def a_model_in_a_file(self, rng, folder):
        forward = pick(rng, ["return x", "return None", "return 3", "return self.f", "return [x, {'a': x}]",
                                                                                              "raise KeyError",
                             "raise SystemExit('no')", "return self(x)", "return x[::-1]", "return x.item()",
                             "return x.numpy()",
                             "return nn.Linear(9**9, 9**9)(x)", "import os; os.chdir('/'); return x",
                             "x.no"])  # fmt: skip
        made = pick(rng, ["nn.ReLU()", "None", "nn.Linear(1 << 20, 1 << 20)", "[nn.ReLU()]", "nn.Sequential()",
                                                                                "self.f",
                          "nn.Conv2d(1, 2, 10**9)", "nn.Parameter(tc.zeros(10**6, 10**6))", "1 / 0",
                          "'x' * 10**6"])  # fmt: skip
        name = pick(rng, ["f", "f", "forward", "weight", "_modules", "training"])
        body = (
            f"        super().__init__()\n        self.{name} = {made}\n    def forward(self, x):\n        {forward}\n"
        )
        text = f"import tinyconv as tc\nfrom tinyconv import nn\nclass Net(nn.Module):\n    def __init__(self):\n{body}"
        text = pick(
            rng, [text] * 8 + [text[:-9], "\x00", "def", "raise SystemExit(3)", "import no_such", "x = " + "(" * 500]
        )
        path = folder / "nets_of_a_campaign.py"
        path.write_text(text)
        return ["summary", f"{path}:{pick(rng, ['Net', 'Net', 'Net', 'nn', 'tc.zeros', 'x', '', 'Net.forward'])}"]


MODELS = {
    "lenet5": [{"size": 32}, {"in_channels": 3, "size": 1 << 20}, {"padding": 1 << 20}, {"num_classes": 1 << 20}],
    "mlp": [{"hidden": 1 << 40}, {"hidden": [1 << 20] * 300}, {"hidden": [1] * 300}, {"in_features": 0},
    {"hidden": []}],
    "resnet": [{"widths": [], "blocks": 1}, {"blocks": 300}, {"blocks": 10**9}, {"widths": [1 << 20]}],
    "cifarnet": [{"widths": [1] * 300}, {"widths": [1 << 20, 1 << 20]}, {"in_channels": 0}],
    "cake": [{"slices": "relu;" * 10_000}, {"slices": "conv 1 1 padding=9999; gap; flatten; fc 10"}, {"slices": 3}],
    "lenet5_1998": [{"size": 28}, {"size": 0}], "lenet_gap": [{}], "lenet_vgg": [{}], "lenet_strided": [{}],
    "lenet_bn": [{"num_classes": -1}], "alexnet": [{}], "vgg16": [{"num_classes": 1 << 20}],
    "resnet50": [{"stride_at": "x"}],
    "none": [{}],
}  # fmt: skip
NUMBERS = ["0", "1", "3", "28", "64", "99", "5000", "65536", "1048576", "1048577", "99999999", "9" * 30, "9" * 5000,
           "-1", "1.5",
           "1e9", "nan", "inf", "²", "٣", "0x10", "1_0", "", " "]  # fmt: skip
WORDS = [*NUMBERS, "x", "x" * 50_000, "a=b", "kernel=9999", "padding=1048576", "stride=0", "groups=7", "p=1e400",
         "bias=maybe",
         ";", ";" * 1000, "\n", "\t", "\x1b[31m", "\ud800", "é" * 100, "\u202e", "adaptive", "64x64;", "/dev/null",
         "/", "..", "~",
         "~no-such-user/x", "a/b", "cuda", "cuda:99", "cpu", "meta", "mnist", "cifar10", "lesson", "sgd", "{}",
         "[1, 2]", "True"]  # fmt: skip


def word(text):
    """A text as a word of a command line: no zero in it, and at most what Linux takes."""
    return (
        str(text)
        .encode("utf-8", "surrogateescape" if "\ud800" not in str(text) else "replace")
        .decode("utf-8", "surrogateescape")
        .replace("\x00", "")[:100_000]
    )


def bmp(width, height, bits, packing):
    sizes = (width % (1 << 31), height % (1 << 31))
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, *sizes, 1, bits, packing, 0, 1, 1, 0, 0)


def png(width, height, body, bits=8, kind=0):
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


# --- attempts -------------------------------------------------------------------------------------------------------


def attempts(count, seed, folder, function="campaigns.hostile:act", kinds=None):
    """Each input in a copy of one of two warm processes; `function` is what the copies call, `kinds` what is tried."""
    inputs = kinds or Inputs(folder)
    free = queue.SimpleQueue()
    servers = [Warm(function, folder, inputs.first()) for _ in range(2)]
    for server in servers:
        free.put(server)

    def attempt(i):
        rng, place, server = np.random.default_rng((seed, i)), folder / str(i), free.get()
        place.mkdir()
        try:
            kind = inputs.kinds[i % len(inputs.kinds)]
            words = kind(rng, place)
            ended = server.run(words, place)
        finally:
            free.put(server)
            shutil.rmtree(place, ignore_errors=True)
        name = kind.__name__.removeprefix("a_").replace("_", " ").replace("ts ", "t's ").replace("ls ", "l's ")
        return Attempt(name, judged(ended, i, words), ended.figures)

    try:
        with ThreadPoolExecutor(len(servers)) as pool:
            for start in range(0, count, 50):
                yield from pool.map(attempt, range(start, min(start + 50, count)))
    finally:
        for server in servers:
            server.__exit__()


def judged(ended, i, words):
    """What is not as promised, or ""."""
    fault = ended.fault()
    if not fault and ended.code not in (0, 1, 2, 130):
        fault = f"exit code {ended.code}"
    if (
        not fault
        and ended.code in (1, 2)
        and not (ended.stderr.strip() or any(word in ended.stdout for word in ("damaged", "missing", "failed")))
    ):
        fault = "no reason given"
    if not fault and len(ended.stderr) > LONGEST:
        fault = f"an error of {len(ended.stderr):,} characters"
    if not fault and "\x1b" in ended.stdout + ended.stderr:
        fault = "a control character of the input reaches the terminal"
    return f"{fault}; input {i}: {shlex.join(words)[:300]}" if fault else ""
