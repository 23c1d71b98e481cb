"""Compile conv.c when it is first needed, with the compiler that is there, into the user's cache."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tinyconv.errors import VariantError
from tinyconv.host.environment import processor
from tinyconv.host.files import cache_dir

SOURCE = Path(__file__).with_name("conv.c")
HEADER = Path(__file__).with_name("team.h")
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O3", "-std=gnu11", "-shared", "-fPIC", "-pthread", "-ffp-contract=fast", "-fno-math-errno")
FOR_THIS_PROCESSOR = "-march=native"  # left out where a compiler does not know it

HINT = "install one (Debian: apt install gcc; macOS: xcode-select --install), name it in CC, or leave out 'native'"


def library() -> ctypes.CDLL:
    """The compiled library, built if need be; VariantError where it cannot be built.

    Functions of it run without Python's lock.
    """
    return load(SOURCE.read_text(encoding="utf-8"), cache_dir() / "native")


def load(source: str, folder: Path) -> ctypes.CDLL:
    """The library of this source, from `folder` if the same compiler built it there before for this processor."""
    compiler = find_compiler()
    version = _output([*compiler, "--version"])
    parts = [source, HEADER.read_text(encoding="utf-8"), version, *FLAGS, FOR_THIS_PROCESSOR, processor()]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    path = folder / f"conv-{key[:16]}.so"
    if not path.exists():
        build(compiler, source, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise VariantError(
            f"native: {path} was built but cannot be loaded: {error}; delete it to build it anew"
        ) from None


def find_compiler() -> list[str]:
    """The words that call the C compiler: $CC, else cc, gcc or clang."""
    named = shlex.split(os.environ.get("CC", ""))
    candidates = [named] if named else [[name] for name in COMPILERS]
    for command in candidates:
        if shutil.which(command[0]):
            return command
    tried = ", ".join(command[0] for command in candidates)
    raise VariantError(f"native: no C compiler found (tried {tried}); {HINT}")


def build(compiler: list[str], source: str, path: Path) -> None:
    """Compile to `path`, so that it holds all of the library or does not exist."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            file, made = Path(scratch, "conv.c"), Path(scratch, path.name)
            file.write_text(source, encoding="utf-8")
            said = ""
            for flags in ([*FLAGS, FOR_THIS_PROCESSOR], list(FLAGS)):
                command = [*compiler, *flags, f"-I{HEADER.parent}", "-o", str(made), str(file)]
                run = subprocess.run(command, capture_output=True, text=True, check=False)
                if run.returncode == 0:
                    os.replace(made, path)
                    return
                said = said or run.stderr
    except OSError as error:
        raise VariantError(
            f"native: cannot build in {path.parent}: {error}; choose a cache with XDG_CACHE_HOME"
        ) from None
    lines = "\n  ".join(said.strip().splitlines()[:5]) or "no message"
    raise VariantError(f"native: {shlex.join(compiler)} failed on {SOURCE.name} ({sys.platform}):\n  {lines}\n{HINT}")


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
