"""Compile conv.c when it is first needed, with the compiler that is there, into the user's cache.

What is kept there is code, so it is loaded only from a folder that nobody else can write in, and only whole: its
SHA-256 is beside it. Where nothing can be kept, it is compiled for this process alone, with a warning that says why.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shlex
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tinyconv.errors import DataError, VariantError, printable, shortened
from tinyconv.host.environment import processor
from tinyconv.host.files import cache_dir, held
from tinyconv.host.private import in_turn, private_folder, read_own
from tinyconv.host.processes import Ended, program, run_child
from tinyconv.user_frame import warn

SOURCE = Path(__file__).with_name("conv.c")
HEADER = Path(__file__).with_name("team.h")
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O3", "-std=gnu11", "-shared", "-fPIC", "-pthread", "-ffp-contract=fast", "-fno-math-errno")
FOR_THIS_PROCESSOR = "-march=native"  # left out where a compiler does not know it
VERSION_TIMEOUT, TIMEOUT = 30, 900  # seconds: GCC took 184 on a processor with work for nine
LARGEST = 1 << 24  # bytes of a library

HINT = "install one (Debian: apt install gcc; macOS: xcode-select --install), name it in CC, or leave out 'native'"


def library() -> ctypes.CDLL:
    """The compiled library, built if need be; VariantError where it cannot be built.

    Functions of it run without Python's lock.
    """
    try:
        folder = cache_dir() / "native"
    except DataError as error:  # no home
        return _for_this_process(find_compiler(), SOURCE.read_text(encoding="utf-8"), error)
    return load(SOURCE.read_text(encoding="utf-8"), folder)


def load(source: str, folder: Path) -> ctypes.CDLL:
    """The library of this source, from `folder` if the same compiler built it there before for this processor."""
    compiler = find_compiler()
    version = _run(compiler, ["--version"], os.sep, VERSION_TIMEOUT).said
    parts = [source, HEADER.read_text(encoding="utf-8"), version, *FLAGS, FOR_THIS_PROCESSOR, processor()]
    name = f"conv-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}.so"
    try:
        folder = private_folder(folder)
        if (kept := _kept(folder / name)) is not None:
            if any(folder.glob("build-*")):  # of a build that was killed when it had kept this, or of one that runs
                with suppress(OSError), held(folder / "building") as lock:
                    if lock is not None:
                        _clear(folder)
            return kept
        with in_turn(folder / "building", 2 * TIMEOUT):
            if (kept := _kept(folder / name)) is not None:  # another process built it meanwhile
                return kept
            _clear(folder)
            with tempfile.TemporaryDirectory(prefix="build-", dir=folder) as scratch:
                built = build(compiler, source, Path(scratch, name))
                try:
                    _keep(Path(scratch, name), folder)
                except OSError as error:
                    _warn(error)
                return built
    except OSError as error:
        return _for_this_process(compiler, source, error)


def _clear(folder: Path) -> None:
    """Remove what killed builds left. Whoever calls this holds the lock, so that no build is running."""
    for left in folder.glob("build-*"):
        shutil.rmtree(left, ignore_errors=True)


def _warn(reason: Exception) -> None:
    warn(f"native: compiled for this process alone, not kept: {reason}; XDG_CACHE_HOME chooses another cache")


def _for_this_process(compiler: list[str], source: str, reason: Exception) -> ctypes.CDLL:
    """The library, built in a folder that is gone when it is loaded."""
    _warn(reason)
    try:
        with tempfile.TemporaryDirectory(prefix="tinyconv-", ignore_cleanup_errors=True) as scratch:
            return build(compiler, source, Path(scratch, "conv.so"))
    except OSError as error:
        hint = "choose a folder with TMPDIR or XDG_CACHE_HOME, or a compiler with CC"
        raise VariantError(f"native: cannot be built: {error}; {hint}") from None


def _kept(path: Path) -> ctypes.CDLL | None:
    """The library at `path`, if it is this user's and whole."""
    try:
        content, digest = read_own(path, LARGEST), read_own(_digest(path), 64)
    except OSError:
        return None
    return ctypes.CDLL(str(path)) if hashlib.sha256(content).hexdigest().encode() == digest else None


def _keep(made: Path, folder: Path) -> None:
    """Move a library and its SHA-256 (as sha256sum writes it) into `folder`, on the disk before they have names there.

    What is in their places is replaced, a link too.
    """
    _digest(made).write_text(f"{hashlib.sha256(made.read_bytes()).hexdigest()}  {made.name}\n", encoding="ascii")
    for file in (made, _digest(made)):
        file.chmod(0o600)
        with file.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(file, folder / file.name)


def _digest(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def find_compiler() -> list[str]:
    """The words that call the C compiler: $CC, else cc, gcc or clang. The first is an absolute path."""
    given = os.environ.get("CC", "")
    try:
        words = shlex.split(given)
    except ValueError as error:
        raise VariantError(f"native: CC is {shortened(given)}, which is no command ({error}); {HINT}") from None
    for name in words[:1] or COMPILERS:
        if (found := program(name)) is not None:
            return [found, *words[1:]]
    tried = f"tried {', '.join(COMPILERS)}"
    if words:
        tried = f"CC is {shortened(given)}: {shortened(words[0])} is no program"
    raise VariantError(f"native: no C compiler found ({tried}); {HINT}")


def _run(compiler: list[str], arguments: list[str], folder: str | Path, timeout: float) -> Ended:
    try:
        english = os.environ | {"LC_ALL": "C"}
        return run_child([*compiler, *arguments], folder=folder, timeout=timeout, env=english)
    except OSError as error:
        raise VariantError(f"native: {printable(shlex.join(compiler))} cannot be run: {error}; {HINT}") from None


def build(compiler: list[str], source: str, path: Path) -> ctypes.CDLL:
    """Compile to `path` and load it. Raises OSError where its folder does not let us, VariantError otherwise."""
    file = path.with_name("conv.c")
    path.parent.chmod(0o700)  # whatever the umask
    file.touch()
    file.chmod(0o600)
    file.write_text(source, encoding="utf-8")
    said = ""
    for flags in ([*FLAGS, FOR_THIS_PROCESSOR], list(FLAGS)):
        # Names without a folder, so that the same compiler writes the same bytes anywhere.
        ended = _run(compiler, [*flags, f"-I{HEADER.parent}", "-o", path.name, file.name], path.parent, TIMEOUT)
        if ended.code == 0 and path.is_file():
            return ctypes.CDLL(str(path))
        said = said or ended.said.strip() or f"it ended with {ended.code} and wrote no library"
    if os.strerror(errno.ENOSPC) in said:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path.parent))
    lines = "\n  ".join(printable(line, 200) for line in said.splitlines()[:5])
    raise VariantError(
        f"native: {printable(shlex.join(compiler))} failed on {SOURCE.name} ({sys.platform}):\n  {lines}\n{HINT}"
    )
