"""What comes from elsewhere: servers, archives, packages, caches, compiled code, and programs of the current folder.

Every attempt has an `outside` folder that must stay as it was, and a file `ran` that foreign code would leave behind.
What takes long is made short: a slow server is given up after 0.3 s here, and a compiler of no version after 1.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import random
import shutil
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from pathlib import Path
from unittest import mock

import foreign
import numpy as np
from servers import serving

from campaigns.attempt import Attempt, run
from tinyconv.data import cifar, datasets, download, packages, sources
from tinyconv.data.idx import encode_idx
from tinyconv.errors import TinyconvError
from tinyconv.fast.native import build

PROMISE = (
    "Whatever servers send, archives hold, a cache contains or the current folder offers: no foreign code runs, "
    "nothing outside the cache is written, and the end is right data or an error of a few lines, in bounded time."
)
COUNT, DOSE = 500, 10
MOST_SAID = 6000  # characters of an error, which has a line for each of five places
LONGEST = 60.0  # seconds of an attempt, on a machine with other work
PRELUDE = ""
"""Code that each child runs first: where a test breaks what is attacked."""

RNG = np.random.default_rng(0)
ARRAYS = [
    RNG.integers(0, 256, (12, 4, 4), np.uint8), np.arange(12, dtype=np.uint8) % 10,
    RNG.integers(0, 256, (5, 4, 4), np.uint8), np.arange(5, dtype=np.uint8),
]  # fmt: skip
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
FILES = dict(zip(NAMES, map(encode_idx, ARRAYS), strict=True))
BATCHES = {name: np.full((2, cifar.RECORD), i, np.uint8).tobytes() for i, name in enumerate(("one.bin", "two.bin"))}
BOMB = gzip.compress(bytes(1 << 24))
SOURCE = {build.UNIT: "int answer(void) { return 42; }"}
FOREIGN = """#include <stdio.h>
__attribute__((constructor)) static void run(void) {{ fopen("{ran}", "w"); }}
int answer(void) {{ return 13; }}"""
LOAD = """
import sys, warnings
from pathlib import Path
from tinyconv.fast.native import build
warnings.simplefilter("ignore")
{prelude}
print(build.load({source!r}, Path(sys.argv[1])).library.answer())
"""


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def attempts(count, seed, folder):
    kinds = list(KINDS.items())
    for i in range(count):
        kind, attack = kinds[i % len(kinds)]
        yield attempt(kind, attack, random.Random(f"{seed} {i}"), folder / str(i), f"seed {seed}, attempt {i}")


def attempt(kind, attack, rng, folder, again):
    """One attack, in a folder of its own, with a cache, no network and nothing of the user's around."""
    outside, ran = folder / "outside", folder / "ran"
    outside.mkdir(parents=True)
    for name in ("victim", "other"):
        (outside / name).write_bytes(rng.randbytes(50))
    before, started = contents(outside), time.monotonic()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TINYCONV", "PIP_", "CC"))}
    clean = {name: value for name, value in clean.items() if not name.lower().endswith("_proxy")}
    clean |= {"XDG_CACHE_HOME": str(folder / "cache"), "PIP_CONFIG_FILE": os.devnull}
    with mock.patch.dict(os.environ, clean, clear=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            failure = attack(rng, folder) or ""
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"[:300]
    seconds = time.monotonic() - started
    if ran.exists():
        failure = f"foreign code ran: {ran.read_text()[:100]!r}"
    elif contents(outside) != before:
        failure = "something outside was changed"
    elif seconds > LONGEST:
        failure = failure or f"took {seconds:.0f} s"
    shutil.rmtree(folder, ignore_errors=True)
    return Attempt(kind, f"{failure} ({again})" if failure else "", {"seconds": round(seconds, 1)})


def contents(folder):
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
    }


def refused(function, *arguments, **options):
    """The error, if it is one that says in a few lines what is wrong; None where there is none."""
    try:
        function(*arguments, **options)
    except TinyconvError as error:
        if len(str(error)) > MOST_SAID:
            raise ValueError(f"an error of {len(str(error)):,} characters") from error
        return error
    return None


# --- datasets -------------------------------------------------------------------------------------------------------


def tiny(*mirrors):
    files = tuple(sources.File(name, len(body), sha256(body)) for name, body in FILES.items())
    known = sources.Source("tiny", ("Tiny/raw", "raw", ""), files, mirrors, tuple("0123456789"), (0.5,), (0.25,))
    return mock.patch.dict(sources.SOURCES, {"tiny": known})


def wrong(root=None):
    """Fetch the tiny dataset: what is not right about what came, or "" where it was right or refused."""
    error = refused(sources.fetch, "tiny", root, progress=False)
    if error is None:
        for split, images, labels in (("train", *ARRAYS[:2]), ("test", *ARRAYS[2:])):
            try:
                found = datasets.load("tiny", split, root, offline=True)
            except TinyconvError as error:
                return f"wrong data: {error}"
            if not np.array_equal(found.images[:, 0], images) or not np.array_equal(found.labels, labels):
                return "wrong data"
    return ""


def damaged(rng, body):
    """The body, cut, flipped somewhere, lengthened, or another."""
    body = body or b"x"
    place = rng.randrange(len(body))
    return rng.choice(
        [
            body[:place],
            body[:place] + bytes([body[place] ^ (1 << rng.randrange(8))]) + body[place + 1 :],
            body + rng.randbytes(rng.randrange(1, 100)),
            rng.randbytes(rng.randrange(100)),
            b"<html>please log in</html>",
            b"",
        ]
    )


def said(*lines, body=b""):
    """An answer of these raw lines."""
    return lambda handler: handler.wfile.write("".join(f"{line}\r\n" for line in (*lines, "")).encode() + body)


def dripping(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n")
    for _ in range(200):
        handler.wfile.write(b"x")
        time.sleep(0.02)


def endless(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        handler.wfile.write(bytes(1 << 16))


PLACES = ("ftp://x/", "gopher:x", "//", "http://[", "/" * 9999, "data:,x", "http://127.0.0.1:1/", "\x1b[2J")


def lie(rng, body, outside):
    return rng.choice(
        [
            damaged(rng, body),
            gzip.compress(damaged(rng, gzip.decompress(body))),
            gzip.compress(gzip.decompress(body)[:-1] + b"\n"),
            BOMB,
            said("HTTP/1.1 200 OK", "Content-Encoding: gzip", body=BOMB),
            said("HTTP/1.1 200 OK", "Content-Encoding: br, gzip, deflate", body=body),
            said(f"HTTP/1.1 200 OK\r\nContent-Length: {rng.choice([0, 1, 10**12, -1, 'x'])}", body=body),
            said(f"HTTP/1.1 302 Found\r\nLocation: file://{outside}/victim"),
            said(f"HTTP/1.1 302 Found\r\nLocation: {rng.choice(PLACES)}"),
            said(f"HTTP/1.1 {rng.choice([204, 304, 403, 404, 429, 500, 503, 999])} \x1b[2J{'x' * rng.randrange(9999)}"),
            said(*("X: y" for _ in range(rng.randrange(200)))),
            said("HTTP/1.1 200 OK", *(f"X{i}: {'y' * 1000}" for i in range(rng.randrange(200))), body=body),
            lambda handler: None,
            lambda handler: handler.wfile.write(rng.randbytes(1000)),
            dripping,
            endless,
        ]
    )


def lying_servers(rng, folder):
    """One to three mirrors that lie about some of the files; sometimes one after them that does not."""
    bodies, mirrors, honest = {}, rng.randrange(1, 4), rng.random() < 0.5
    for mirror in range(mirrors):
        for name, body in FILES.items():
            packed = gzip.compress(body)
            bodies[f"/{mirror}/{name}.gz"] = lie(rng, packed, folder / "outside") if rng.random() < 0.7 else packed
    bodies |= {f"/{mirrors}/{name}.gz": gzip.compress(body) for name, body in FILES.items() if honest}
    soon = mock.patch.object(download, "seconds_for", return_value=0.3)
    with serving(bodies) as server, soon, tiny(*(f"{server.url}/{mirror}/" for mirror in range(mirrors + 1))):
        found = wrong()
        if not found and honest and refused(sources.fetch, "tiny", offline=True):
            return "the honest mirror was not reached"
        return found


def things_in_the_cache(rng, folder):
    """Links, pipes, folders and damaged files in the places of the dataset's files; the mirror is honest."""
    raw = folder / "cache" / "tinyconv" / "Tiny" / "raw"
    raw.mkdir(parents=True)
    blocked = False
    for name, body in FILES.items():
        path, what = raw / (name + rng.choice(["", ".gz"])), rng.randrange(7)
        target = rng.choice(["outside/victim", "outside/new", "outside", "/dev/zero", name, "/dev/null", "."])
        if what == 0:
            path.symlink_to(folder / target)
        elif what == 1:
            os.link(folder / "outside" / "victim", path)
        elif what == 2:
            os.mkfifo(path)
        elif what == 3:
            path.mkdir()
            blocked |= path.name == name
        elif what == 4:
            path.write_bytes(damaged(rng, body))
        elif what == 5:
            path.write_bytes(body)
    bodies = {f"/{name}.gz": gzip.compress(body) for name, body in FILES.items()}
    with serving(bodies) as server, tiny(f"{server.url}/"):
        found = wrong()
        if not found and not blocked and (error := refused(sources.fetch, "tiny", offline=True)):
            return f"the cache was not mended: {error}"
        return found


def files_of_the_users(rng, folder):
    """Damaged files, some as unpackers name them, in a folder that the user names: used if right, else left."""
    mine = folder / "mine" / rng.choice(["", "raw", "Tiny/raw"])
    for name, body in FILES.items():
        stem = rng.choice([name, name.replace("-idx", ".idx")])
        path = mine / rng.choice([stem, f"{stem}/{stem}"])
        path.parent.mkdir(parents=True, exist_ok=True)
        packed = rng.random() < 0.5
        body = gzip.compress(body) if packed else body
        path.with_name(path.name + ".gz" * packed).write_bytes(damaged(rng, body) if rng.random() < 0.3 else body)
    before = contents(folder / "mine")
    with tiny():
        found = wrong(folder / "mine")
    return found or ("a user's file was changed" if contents(folder / "mine") != before else "")


# --- archives and packages ------------------------------------------------------------------------------------------


def member(rng, name, body):
    """A member of an archive: the file that is meant, or something of its name."""
    info = tarfile.TarInfo(
        rng.choice([f"data/{name}"] * 6 + [f"/data/{name}", f"../data/{name}", f"data/../{name}", "x"])
    )
    info.type = rng.choice(
        [tarfile.REGTYPE] * 8 + [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
    )
    info.linkname = rng.choice([f"data/{name}", name, "/etc/passwd", "../outside/victim"])
    body = rng.choice([body, body, body, damaged(rng, body), bytes(1 << 22)])
    info.size = len(body) if info.type == tarfile.REGTYPE else 0
    return info, body


def archives(rng, folder):
    """An archive in the user's folder, of the right SHA-256 or another, with anything inside."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as packed:
        for name, body in BATCHES.items():
            for _ in range(rng.randrange(1, 3)):
                info, body = member(rng, name, body)
                packed.addfile(info, io.BytesIO(body))
    body = content.getvalue()
    digest = sha256(body)
    if rng.random() < 0.3:
        body = damaged(rng, body)
    digest = sha256(body) if rng.random() < 0.5 else digest
    files = tuple(
        sources.File(name, len(body), sha256(body), sources.CIFAR, exact=False) for name, body in BATCHES.items()
    )
    known = download.Archive("data.tar.gz", "data", len(content.getvalue()), digest)
    source = sources.Source(
        "boxed",
        ("data", ""),
        files,
        (),
        ("a", "b"),
        (0.5,) * 3,
        (0.5,) * 3,
        archive=known,
        shape=cifar.SHAPE,
        training=1,
    )
    mine = folder / "mine"
    mine.mkdir()
    (mine / "data.tar.gz").write_bytes(body)
    with mock.patch.dict(sources.SOURCES, {"boxed": source}):
        if refused(sources.fetch, "boxed", mine, progress=False) is None:
            for file in files:
                if (mine / "data" / file.name).read_bytes() != BATCHES[file.name]:
                    return "wrong data out of an archive"
    return ""


class Evil:
    """Leaves a file behind as it is unpickled."""

    def __init__(self, ran):
        self.ran = ran

    def __reduce__(self):
        return open, (str(self.ran), "w")


def wheels(rng, folder):
    """A wheel as an index may send it, its pickle accepted by its SHA-256 or not."""
    content, pairs = io.BytesIO(), [(np.zeros((2, 16), np.float32), np.zeros(2, np.int64))] * 3
    pickles = [pickle.dumps(Evil(folder / "ran"), 2), pickle.dumps(pairs, 3), pickle.dumps([Evil(folder / "ran")] * 3)]
    packed = gzip.compress(rng.choice(pickles))
    packed = damaged(rng, packed) if rng.random() < 0.3 else packed
    with zipfile.ZipFile(content, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        for name in rng.choice([["digits"], ["../digits", "digits"], ["/digits"], ["digits", "digits"], []]):
            archive.writestr(name, rng.choice([packed, packed, bytes(1 << 22)]))
    body = damaged(rng, content.getvalue()) if rng.random() < 0.2 else content.getvalue()
    digest = rng.choice([sha256(packed), "0" * 64])

    def fetched(command, *, folder, **_):
        for name in rng.choice([["a.whl"], ["a.whl", "b.whl"], ["a.tar.gz"], []]):
            Path(folder, name).write_bytes(body)
        return mock.Mock(code=rng.choice([0, 0, 0, 1]), said=rng.choice(["", "\n", "ERROR: no\n", "x" * 9999]))

    with mock.patch("tinyconv.host.processes.run_child", fetched):
        refused(lambda: list(packages.Wheel("digits==1", "digits", len(packed), digest).arrays()))
    return ""


# --- compiled code --------------------------------------------------------------------------------------------------


def child(cache):
    root = Path(build.__file__).parents[3]
    return [sys.executable, "-c", LOAD.format(source=SOURCE, prelude=PRELUDE), cache], root


def answers(cache, env=None):
    """Load the library in a process of its own: what is wrong about how it ended."""
    command, root = child(cache)
    ended = run(command, cwd=root, env=env, timeout=LONGEST)
    return ended.fault() or ("" if ended.stdout == "42\n" else f"said {ended.stdout!r}, {ended.stderr[-200:]!r}")


def fresh(path):
    """The same bytes in another file: this process has the library loaded, and would die with it."""
    body = path.read_bytes()
    path.unlink()
    path.write_bytes(body)
    path.chmod(0o600)


def kernels(rng, folder):
    """A cache whose library is cut, altered, foreign, a link, another's, or where anybody can write."""
    cache, elsewhere = folder / "cache" / "native", folder / "foreign.so"
    build.load(SOURCE, cache)
    (kept,) = cache.glob("*.so")
    fresh(kept)
    digest = kept.with_name(f"{kept.name}.sha256")
    source = folder / "foreign.c"
    source.write_text(FOREIGN.format(ran=folder / "ran"))
    subprocess.run([build.find_compiler()[0], "-shared", "-fPIC", "-o", elsewhere, source], check=True)
    for _ in range(rng.randrange(1, 3)):
        what = rng.randrange(9)
        if what == 0:
            os.truncate(kept, rng.randrange(kept.stat().st_size))
        elif what == 1:
            body = kept.read_bytes()
            kept.unlink()
            kept.write_bytes(damaged(rng, body))
        elif what == 2:
            kept.unlink()
            kept.symlink_to(rng.choice([elsewhere, folder / "outside" / "victim", folder / "outside" / "new"]))
        elif what == 3:
            digest.unlink()
            digest.symlink_to(folder / "outside" / "victim")
        elif what == 4:
            kept.unlink()
            shutil.copy(elsewhere, kept)
        elif what == 5:
            digest.write_bytes(damaged(rng, digest.read_bytes() + b"x"))
        else:  # all that others could do in a folder that lets them: a library of theirs, with its SHA-256
            kept.unlink()
            shutil.copy(elsewhere, kept)
            digest.unlink(missing_ok=True)
            digest.write_text(f"{sha256(kept.read_bytes())}  {kept.name}\n")
            if what == 6 and os.geteuid() == 0:
                os.chown(rng.choice([kept, cache, cache.parent]), 4321, 4321)
            elif what == 7:
                rng.choice([cache, cache.parent]).chmod(rng.choice([0o777, 0o775, 0o722]))
            else:
                kept.chmod(rng.choice([0o666, 0o622, 0o777]))
            break
    return answers(cache)


def killed_builds(rng, folder):
    """A build that is killed at some time; the next is whole, and nothing of the first is left.

    The compiler that it had started may write for a moment longer: what that leaves a later load removes.
    """
    cache, command = folder / "cache" / "native", child(folder / "cache" / "native")
    with subprocess.Popen(command[0], cwd=command[1], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + LONGEST
        while not cache.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(rng.random() * 0.3)
        process.kill()
    until = time.monotonic() + LONGEST
    while True:
        if build.load(SOURCE, cache).library.answer() != 42:
            return "another library"
        left = [path.name for path in cache.iterdir() if not path.name.startswith("kernels-")]
        if not left or time.monotonic() > until:
            return f"left {left}" if left else ""
        time.sleep(0.1)


def builds_at_once(rng, folder):
    cache = folder / "cache" / "native"
    command, root = child(cache)
    started = [
        subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(rng.randrange(2, 4))
    ]
    ends = [process.communicate(timeout=LONGEST) for process in started]
    left = [path.name for path in cache.iterdir() if not path.name.startswith("kernels-")]
    bad = [end for end in ends if end[0] != "42\n"]
    return f"said {bad[0]}"[:300] if bad else f"left {left}" if left else ""


WORDS = ("cc", "gcc", "-O1", "-DX=1", "'", '"', "\\", "./cc", "/", "/dev/null", "true", "yes", "none", "", " ", "\t")
SCRIPTS = ("exit 0", "exit 1", "sleep 30", "kill -9 $$", "exec yes", "yes | head -c 99999 > kernels.so", "exec false")


def compilers(rng, folder):
    """A CC of odd words, or a script that is no compiler: built all the same, or refused in words of CC."""
    value = " ".join(rng.choice(WORDS) for _ in range(rng.randrange(4)))
    if rng.random() < 0.5:
        script = folder / "script"
        script.write_text(f"#!/bin/sh\n{rng.choice(SCRIPTS)}\n")
        script.chmod(rng.choice([0o755, 0o755, 0o755, 0o644]))
        value = rng.choice([str(script)] * 5 + [str(folder)])
    found = []
    with mock.patch.dict(os.environ, {"CC": value}), mock.patch.multiple(build, TIMEOUT=20, VERSION_TIMEOUT=1):
        error = refused(lambda: found.append(build.load(SOURCE, folder / "cache" / "native").library.answer()))
    good = found == [42] if error is None else "CC" in str(error)
    return "" if good else f"CC={value!r}: {error or found}"


# --- the current folder ---------------------------------------------------------------------------------------------

COMMANDS = (
    ["doctor"],
    ["data", "list"],
    ["data", "verify"],
    ["data", "fetch", "mnist", "--offline"],
    ["summary", "lenet5"],
    ["predict", "none.safetensors", "none.png"],
    ["train", "lenet5", "--data", "none"],
    ["bench", "--help"],
)


_COMMAND = Path(sys.executable).with_name("tinyconv")
START = [_COMMAND] if _COMMAND.exists() else [sys.executable, "-P", "-c", "from tinyconv.cli import main; main()"]


def current_folders(rng, folder):
    """A command in a folder with a module and a program of every name, which PATH begins with."""
    here = folder / "here"
    foreign.fill(here, folder / "ran")
    env = os.environ | {"PATH": f":.:{os.environ['PATH']}"}
    ended = run([*START, *rng.choice(COMMANDS)], cwd=here, env=env, timeout=LONGEST)
    return ended.fault()


KINDS = {
    "mirrors that lie": lying_servers,
    "links and other things in the cache": things_in_the_cache,
    "files of the user's": files_of_the_users,
    "archives": archives,
    "wheels": wheels,
    "compiled code in the cache": kernels,
    "builds that are killed": killed_builds,
    "builds at once": builds_at_once,
    "compilers that are none": compilers,
    "commands in a foreign folder": current_folders,
}
