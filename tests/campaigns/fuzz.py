"""Files and command lines that are right, with bits turned, parts cut out, doubled or mixed, and other numbers."""

import json
import os
import zlib

import numpy as np

from campaigns import hostile
from campaigns.hostile import PROMISE, Inputs, pick, png, word

__all__ = ["COUNT", "DOSE", "PROMISE", "attempts"]
COUNT, DOSE = 5000, 90

NUMBERS = [b"0", b"-1", b"1", b"255", b"65536", b"2147483648", b"9223372036854775807", b"1e999", b"NaN", b"9" * 400]


def mutated(content, rng, others):
    """The bytes with a few of the changes that damage and programs make."""
    content = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        n = len(content)
        a, b = sorted(int(x) for x in rng.integers(0, n + 1, 2))
        b = min(b, a + int(rng.integers(1, 200)))
        how = int(rng.integers(7))
        if how == 0 and n:
            content[a % n] ^= 1 << int(rng.integers(8))
        elif how == 1:
            del content[a : b if rng.random() < 0.7 else n]
        elif how == 2:
            content[a:a] = content[a:b] * int(rng.integers(1, 20))
        elif how == 3:
            other = pick(rng, others)
            content[a:] = other[int(rng.integers(len(other) + 1)) :]
        elif how == 4:
            content[a:b] = pick(rng, NUMBERS)
        elif how == 5:
            digits = [i for i, c in enumerate(content[:20_000]) if 48 <= c < 58]
            if digits:
                at = pick(rng, digits)
                content[at : at + 1] = pick(rng, NUMBERS)
        else:
            content[a:b] = rng.bytes(b - a)
    return bytes(content)


class Mutations(Inputs):
    """The kinds of inputs: a right one, mutated."""

    def __init__(self, folder):
        super().__init__(folder)
        self.files = [path.read_bytes() for path in self.checkpoints]
        self.log = "".join(json.dumps({**self.report, "epoch": epoch}) + "\n" for epoch in range(1, 6)).encode()
        self.pictures = self._pictures()
        pixels = bytes(i % 256 for i in range(4 * 28 * 28))
        idx = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (4, 28, 28)) + pixels
        self.data = [idx, zlib.compress(idx, wbits=31), (b"\x03" + pixels[:3072]) * 3]
        self.net = (
            b"import tinyconv as tc\nfrom tinyconv import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n"
            b"        super().__init__()\n        self.conv = nn.Conv2d(1, 6, 5, padding=2)\n"
            b"        self.fc = nn.Linear(4704, 10)\n\n"
            b"    def forward(self, x):\n        return self.fc(self.conv(x).relu().flatten(1))\n"
        )
        self.lines = [
            ["train", "mlp", "--data", "synthetic", "--epochs", "1", "--lr", "0.01", "--option", "hidden=8"],
            ["summary", "conv 6 5; relu; pool 2; flatten; fc 10", "--input", "1x28x28", "--format", "json"],
            ["eval", str(self.checkpoints[0]), "--threads", "1", "--json"],
            ["gradcheck", "conv2d", "--stride", "2", "--padding", "1,2", "--cases", "2"],
            ["maps", str(self.checkpoints[1]), "--digit", "3", "--number", "0", "--out", "m.png"],
        ]
        self.kinds = [
            self.a_mutated_checkpoint, self.a_mutated_checkpoint, self.a_mutated_document, self.a_mutated_log,
            self.a_mutated_cake, self.a_mutated_cake, self.a_mutated_picture, self.a_mutated_data_file,
            self.a_mutated_command_line, self.a_mutated_command_line, self.a_mutated_model_in_a_file,
        ]  # fmt: skip

    def _pictures(self):
        from PIL import Image

        image, found = Image.fromarray((np.arange(900) * 8 % 256).astype(np.uint8).reshape(30, 30)), []
        for form in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"):
            path = self.seeds / f"picture.{form}"
            image.save(path, form)
            found.append(path.read_bytes())
        return [*found, png(28, 28, zlib.compress(bytes(29 * 28)))]

    def a_mutated_checkpoint(self, rng, folder):
        path = folder / "c.safetensors"
        path.write_bytes(mutated(pick(rng, self.files), rng, self.files))
        return ["load_weights", str(path)] if rng.random() < 0.1 else self.commands(rng, path)

    def a_mutated_document(self, rng, folder):
        """The metadata alone, in a file that is whole."""
        whole = pick(rng, self.files)
        size = int.from_bytes(whole[:8], "little")
        header = json.loads(whole[8 : 8 + size])
        text = header["__metadata__"]["tinyconv"].encode()
        header["__metadata__"]["tinyconv"] = mutated(text, rng, [text]).decode("utf-8", "replace")
        path = folder / "c.safetensors"
        path.write_bytes(hostile.safetensors_file(json.dumps(header).encode(), whole[8 + size :]))
        return self.commands(rng, path)

    def a_mutated_log(self, rng, folder):
        path = folder / "log.jsonl"
        path.write_bytes(mutated(self.log, rng, [self.log]))
        return ["curves", str(path), "--out", str(folder / "c.png")]

    def a_mutated_cake(self, rng, folder):
        cake = b"conv 6 5 padding=same; relu; pool 2 stride=2; bn; conv 16 3x3 bias=no; adaptive 2; flatten; fc 10"
        text = word(os.fsdecode(mutated(cake, rng, [cake])))
        if rng.random() < 0.2:
            return ["train", text, "--data", "synthetic", "--epochs", "1"]
        return ["summary", text, *pick(rng, [[], ["--json"], ["--format", "python"], ["--format", "cake"]])]

    def a_mutated_picture(self, rng, folder):
        path = folder / "p.png"
        path.write_bytes(mutated(pick(rng, self.pictures), rng, self.pictures))
        return ["predict", str(pick(rng, self.checkpoints)), str(path), *(["--show"] if rng.random() < 0.3 else [])]

    def a_mutated_data_file(self, rng, folder):
        path = folder / "file"
        path.write_bytes(mutated(pick(rng, self.data), rng, self.data))
        return [pick(rng, ["read_idx", "read_idx", "read_cifar10"]), str(path)]

    def a_mutated_command_line(self, rng, folder):
        words = list(pick(rng, self.lines))
        at = int(rng.integers(1, len(words)))
        how = int(rng.integers(4))
        if how == 0:
            del words[at]
        elif how == 1:
            words.insert(at, pick(rng, pick(rng, self.lines)))
        else:
            words[at] = word(os.fsdecode(mutated(os.fsencode(words[at]), rng, [b"1", b"--x"])))
        return words

    def a_mutated_model_in_a_file(self, rng, folder):
        path = folder / "nets_of_a_campaign.py"
        path.write_bytes(mutated(self.net, rng, [self.net]))
        return ["summary", f"{path}:Net"]


def attempts(count, seed, folder, function="campaigns.hostile:act"):
    return hostile.attempts(count, seed, folder, function, Mutations(folder))
