"""Find the compiled kernels: a library that came with the package, else one in the user's cache, else a compiler.

A wheel for a platform brings libraries (`shipped`), made by `make wheels` for a level of the processor. Elsewhere the
sources beside this file are compiled when they are first needed. What the cache keeps is code, so it is loaded only
from a folder that nobody else can write in, and only whole: its SHA-256 is beside it. Where nothing can be kept, it is
compiled for this process alone, with a warning that says why.
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
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tinyconv.engine import kernels
from tinyconv.engine.kernels import Found, NoCompilerError
from tinyconv.errors import DataError, VariantError, printable, shortened
from tinyconv.host.environment import processor
from tinyconv.host.files import cache_dir, held
from tinyconv.host.private import in_turn, private_folder, read_own
from tinyconv.host.processes import Ended, program, run_child
from tinyconv.user_frame import warn

FOLDER = Path(__file__).parent
UNIT = "native.c"
"""The file that is compiled; it includes the others."""
SHIPPED = FOLDER / "shipped"
LEVELS = ("x86-64-v4", "x86-64-v3", "x86-64-v2")
"""The levels that x86-64 has libraries for, best first. Other machines have one library."""
LEVEL_VARIABLE = "TINYCONV_X86_LEVEL"
SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O3", "-std=gnu11", "-shared", "-fPIC", "-pthread", "-ffp-contract=fast", "-fno-math-errno")
FOR_THIS_PROCESSOR = "-march=native"  # left out where a compiler does not know it; never in a library that is shipped
VERSION_TIMEOUT, TIMEOUT = 30, 900  # seconds: GCC took 184 on a processor with work for nine
LARGEST = 1 << 24  # bytes of a library

HINT = "install one (Debian: apt install gcc; macOS: xcode-select --install), name it in CC, or leave out 'native'"

Sources = dict[str, str]
"""The text of each file that is compiled, by name."""


def library() -> Found:
    """The compiled kernels, built if need be; VariantError where they cannot be had.

    Functions of the library run without Python's lock.
    """
    files = sources()
    given = shipped(files, SHIPPED)
    if given.library is not None:
        return given
    try:
        found = _kept_or_built(files)
    except NoCompilerError as error:
        if given.how:  # that is worth a word
            raise VariantError(f"{given.how}; {error}") from None
        raise
    return found._replace(how=f"{found.how}; {given.how}") if given.how else found


def _kept_or_built(files: Sources) -> Found:
    try:
        folder = cache_dir() / "native"
    except DataError as error:  # no home
        return _for_this_process(find_compiler(), files, error)
    return load(files, folder)


def sources() -> Sources:
    """The files of C beside this one."""
    paths = sorted(path for path in FOLDER.iterdir() if path.suffix in (".c", ".h"))
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def digest_of(*parts: str) -> str:
    """The beginning of a SHA-256, as 16 hexadecimal digits."""
    return hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]


# --- shipped --------------------------------------------------------------------------------------------------------


def shipped(files: Sources, folder: Path) -> Found:
    """The best library in `folder` that this machine can run; none, with "" for a reason, if there is no such folder.

    A library made of other sources is refused. TINYCONV_X86_LEVEL, as "v3", asks for that level; VariantError where
    it cannot be had.
    """
    level = os.environ.get(LEVEL_VARIABLE, "")
    names = {name.rpartition("-")[2]: name for name in LEVELS}
    if level and level not in names:
        raise VariantError(f"{LEVEL_VARIABLE} is {shortened(level)}; it takes {', '.join(sorted(names))}")
    try:
        if not library_path(folder, LEVELS[-1]).is_file():
            if level:
                raise VariantError(
                    f"{LEVEL_VARIABLE}={level} chooses among the libraries of a wheel for x86-64, and there are none "
                    f"in {folder}; leave it out"
                )
            only = library_path(folder)
            return Found(_checked(only, files), "shipped") if only.is_file() else Found(None, "")
        lowest = _checked(library_path(folder, LEVELS[-1]), files)
        runs = [name for name in LEVELS if int(name[-1]) <= lowest.tinyconv_level()]
        wanted = names[level] if level else runs[0]
        if wanted not in runs:
            raise VariantError(f"{LEVEL_VARIABLE} is {level}, and this processor and system run {runs[0]} at most")
        return Found(_checked(library_path(folder, wanted), files), f"shipped, {wanted}")
    except OSError as error:
        refused = f"the shipped library cannot be used: {printable(str(error))}"
        if level:
            raise VariantError(f"{LEVEL_VARIABLE}={level}: {refused}") from None
        return Found(None, refused)


def library_path(folder: Path, level: str = "", suffix: str = SUFFIX) -> Path:
    """The file of a shipped library."""
    return folder / f"kernels{level and '-'}{level}{suffix}"


def _checked(path: Path, files: Sources) -> ctypes.CDLL:
    """The library at `path`; OSError if it cannot be loaded, or was not made of these sources."""
    found = ctypes.CDLL(str(path))
    made_of = getattr(found, "tinyconv_sources", None)
    if made_of is not None:
        made_of.restype = ctypes.c_uint64
    if made_of is None or made_of() != int(digest_of(*files, *files.values()), 16):
        raise OSError(f"{path.name} was made of other sources than those beside it")
    return found


# --- kept, or compiled ----------------------------------------------------------------------------------------------


def load(files: Sources, folder: Path) -> Found:
    """The library of these sources, from `folder` if it was built there before for this processor.

    Where there is a compiler, it was this one; where there is none, any.
    """
    ours = digest_of(*files, *files.values(), *FLAGS, FOR_THIS_PROCESSOR, processor())
    try:
        compiler = find_compiler()
    except NoCompilerError:
        with suppress(OSError):
            folder = private_folder(folder) if folder.exists() else folder
            for path in sorted(folder.glob(f"kernels-{ours}-*{SUFFIX}")):
                if (kept := _kept(path)) is not None:
                    return Found(kept, f"from the cache {folder}")
        raise
    version = _run(compiler, ["--version"], os.sep, VERSION_TIMEOUT).said
    name = f"kernels-{ours}-{digest_of(*compiler[1:], version)}{SUFFIX}"
    try:
        folder = private_folder(folder)
        if (kept := _kept(folder / name)) is not None:
            if any(folder.glob("build-*")):  # of a build that was killed when it had kept this, or of one that runs
                with suppress(OSError), held(folder / "building") as lock:
                    if lock is not None:
                        _clear(folder)
            return Found(kept, f"from the cache {folder}, {_named(compiler, version)}")
        with in_turn(folder / "building", 2 * TIMEOUT):
            if (kept := _kept(folder / name)) is not None:  # another process built it meanwhile
                return Found(kept, f"from the cache {folder}, {_named(compiler, version)}")
            _clear(folder)
            with tempfile.TemporaryDirectory(prefix="build-", dir=folder) as scratch:
                kernels.announce(f"compiling the kernels for this processor, once, with {shlex.join(compiler)}")
                built = build(compiler, files, Path(scratch, name))
                try:
                    _keep(Path(scratch, name), folder)
                except OSError as error:
                    _warn(error)
                return Found(built, f"compiled now, {_named(compiler, version)}")
    except OSError as error:
        return _for_this_process(compiler, files, error)


def _named(compiler: list[str], version: str) -> str:
    first = printable(version.strip().partition("\n")[0], 100)
    return f"by {printable(shlex.join(compiler))}" + (f" ({first})" if first else "")


def _clear(folder: Path) -> None:
    """Remove what killed builds left. Whoever calls this holds the lock, so that no build is running."""
    for left in folder.glob("build-*"):
        shutil.rmtree(left, ignore_errors=True)


def _warn(reason: Exception) -> None:
    warn(f"the kernels are compiled for this process alone, not kept: {reason}; XDG_CACHE_HOME chooses another cache")


def _for_this_process(compiler: list[str], files: Sources, reason: Exception) -> Found:
    """The library, built in a folder that is gone when it is loaded."""
    _warn(reason)
    kernels.announce(f"compiling the kernels for this process, with {shlex.join(compiler)}")
    try:
        with tempfile.TemporaryDirectory(prefix="tinyconv-", ignore_cleanup_errors=True) as scratch:
            built = build(compiler, files, Path(scratch, f"kernels{SUFFIX}"))
            return Found(built, f"compiled for this process, by {printable(shlex.join(compiler))}")
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
    if words:
        raise VariantError(
            f"native: no C compiler found (CC is {shortened(given)}: {shortened(words[0])} is no program); {HINT}"
        )
    raise NoCompilerError(f"native: no C compiler found (tried {', '.join(COMPILERS)}); {HINT}")


def _run(compiler: list[str], arguments: list[str], folder: str | Path, timeout: float) -> Ended:
    try:
        english = os.environ | {"LC_ALL": "C"}
        return run_child([*compiler, *arguments], folder=folder, timeout=timeout, env=english)
    except OSError as error:
        raise VariantError(f"native: {printable(shlex.join(compiler))} cannot be run: {error}; {HINT}") from None


def build(compiler: list[str], files: Sources, path: Path) -> ctypes.CDLL:
    """Compile to `path` for this processor, and load it. Raises like `compile_to`."""
    compile_to(path, compiler, files, [[FOR_THIS_PROCESSOR], []])
    return ctypes.CDLL(str(path))


def compile_to(path: Path, compiler: list[str], files: Sources, machines: Sequence[list[str]]) -> None:
    """Compile to `path` with the first of these lists of options that the compiler takes.

    Raises OSError where the folder of `path` does not let us, VariantError otherwise.
    """
    path.parent.chmod(0o700)  # whatever the umask
    for name, text in files.items():
        file = path.with_name(name)
        file.touch()
        file.chmod(0o600)
        file.write_text(text, encoding="utf-8")
    said = ""
    for machine in machines:
        flags = [*FLAGS, f"-DTINYCONV_SOURCES=0x{digest_of(*files, *files.values())}", *machine]
        # Names without a folder, so that the same compiler writes the same bytes anywhere.
        ended = _run(compiler, [*flags, "-o", path.name, UNIT, "-lm"], path.parent, TIMEOUT)
        if ended.code == 0 and path.is_file():
            return
        said = said or ended.said.strip() or f"it ended with {ended.code} and wrote no library"
    if os.strerror(errno.ENOSPC) in said:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path.parent))
    lines = "\n  ".join(printable(line, 200) for line in said.splitlines()[:5])
    raise VariantError(
        f"native: {printable(shlex.join(compiler))} failed on {UNIT} ({sys.platform}):\n  {lines}\n{HINT}"
    )
