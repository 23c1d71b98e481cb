"""Building the compiled pairs: once, whole, by the compiler that is meant, and only where nobody else can write.

The source is one line here: the kernels take seconds.
"""

import ctypes
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from messages import message

import tinyconv as tc

pytest.importorskip("tinyconv.fast", reason="the fast pairs were deleted, and nothing else needs them")

from tinyconv.engine import kernels
from tinyconv.engine.kernels import NoCompilerError
from tinyconv.fast.native import build
from tinyconv.host.files import held
from tinyconv.host.private import make_private

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="folders have no modes there"),
    pytest.mark.skipif(not any(map(shutil.which, build.COMPILERS)), reason="there is no C compiler"),
]

SOURCE = {build.UNIT: "int answer(void) { return 42; }"}
LOAD = f"""
import sys, pathlib
from tinyconv.engine import kernels
from tinyconv.engine.kernels import NoCompilerError
from tinyconv.fast.native import build
print(build.load({SOURCE!r}, pathlib.Path(sys.argv[1])).library.answer())
"""
FOR_THIS_PROCESS = "compiled for this process alone"


def answer(folder):
    return build.load(SOURCE, folder).library.answer()


def foreign(path, folder):
    """A library that says 13 and leaves a file behind as soon as it is loaded: nobody built it here."""
    source = f'__attribute__((constructor)) static void run(void) {{ __builtin_fopen("{folder}/ran", "w"); }}'
    file = folder / "foreign.c"
    file.write_text(f"#include <stdio.h>\n{source.replace('__builtin_', '')}\nint answer(void) {{ return 13; }}")
    subprocess.run([build.find_compiler()[0], "-shared", "-fPIC", "-o", path, file], check=True)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "native"


@pytest.fixture
def kept(cache):
    """A cache with the library in it: its path."""
    assert answer(cache) == 42
    (library,) = cache.glob("*.so")
    body = library.read_bytes()
    library.unlink()  # this process has it loaded, and would die where the file is cut
    library.write_bytes(body)
    library.chmod(0o600)
    return library


def no_build(monkeypatch):
    monkeypatch.setattr(build, "build", lambda *args: pytest.fail("built again"))


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_it_is_built_once_and_found_again(cache, monkeypatch):
    assert answer(cache) == 42
    names = sorted(path.name for path in cache.iterdir())
    assert names == [name := names[0], f"{name}.sha256"]
    no_build(monkeypatch)
    assert answer(cache) == 42


def test_its_sha256_is_beside_it_in_the_words_of_sha256sum(kept):
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum")
    subprocess.run(["sha256sum", "--check", f"{kept.name}.sha256"], cwd=kept.parent, check=True)


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077, 0o777])
def test_only_this_user_reads_and_writes_it_whatever_the_umask(cache, umask):
    before = os.umask(umask)
    try:
        assert answer(cache) == 42
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (cache, cache.parent)} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in cache.iterdir()} == {0o600}


def test_it_is_on_the_disk_before_it_has_its_name(cache, monkeypatch):
    done = []
    monkeypatch.setattr("os.fsync", lambda _: done.append("fsync"))
    replace = os.replace
    monkeypatch.setattr("os.replace", lambda *paths: (done.append("replace"), replace(*paths)))
    assert answer(cache) == 42
    assert done == ["fsync", "replace"] * 2


@pytest.mark.parametrize("cut", [0, 1, 5000, -1])
def test_a_truncated_one_is_built_anew(kept, cut):
    """In a process of its own: loading the start of a library ends in SIGBUS."""
    os.truncate(kept, cut % kept.stat().st_size)
    root = Path(tc.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", LOAD, kept.parent], cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr


def test_an_altered_one_is_built_anew(kept, tmp_path):
    foreign(kept, tmp_path)
    assert answer(kept.parent) == 42
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("digest", [b"", b"0" * 64, b"\xff", None])
def test_one_without_its_sha256_is_built_anew(kept, digest):
    file = kept.with_name(f"{kept.name}.sha256")
    before = file.read_bytes()
    file.unlink() if digest is None else file.write_bytes(digest)
    assert answer(kept.parent) == 42
    assert file.read_bytes() == before


@pytest.mark.parametrize("which", ["", ".sha256"])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_in_its_place_is_replaced_and_never_followed(kept, tmp_path, which, dangling):
    elsewhere, place = tmp_path / "elsewhere", kept.with_name(f"{kept.name}{which}")
    if not dangling:
        shutil.copy(place, elsewhere)
    place.unlink()
    place.symlink_to(elsewhere)
    assert answer(kept.parent) == 42
    assert not place.is_symlink()
    assert elsewhere.exists() == (not dangling)


def test_a_file_that_others_can_write_is_built_anew(kept, tmp_path):
    foreign(kept, tmp_path)
    file = kept.with_name(f"{kept.name}.sha256")
    file.write_text(f"{build.hashlib.sha256(kept.read_bytes()).hexdigest()}  {kept.name}\n")
    kept.chmod(0o666)
    assert answer(kept.parent) == 42
    assert not (tmp_path / "ran").exists()


def test_what_others_own_is_not_loaded(kept):
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(kept, 4321, 4321)
    assert answer(kept.parent) == 42
    assert kept.stat().st_uid == 0


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="only root becomes another user")
@pytest.mark.parametrize("umask", [0o000, 0o777], ids=oct)
@pytest.mark.usefixtures("kept")  # so that all is imported: Python may be where others cannot read
def test_another_user_under_a_strange_umask_does_the_same(umask):
    """Root passes every check of modes; this child does not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        home = Path(folder, "home")
        home.mkdir()
        os.chown(home, 4321, 4321)
        child = os.fork()
        if child == 0:
            try:
                os.setgid(4321)
                os.setuid(4321)
                os.umask(umask)
                cache = home / ".cache" / "native"
                os._exit(77 if not os.access(build.FOLDER / build.UNIT, os.R_OK) else answer(cache) - answer(cache))
            except BaseException as error:
                print(error, file=sys.stderr)
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 77:
            pytest.skip("the checkout is closed to others")
        assert code == 0
        assert len(list((home / ".cache" / "native").iterdir())) == 2


# --- folders that nobody else can write in --------------------------------------------------------------------------


def test_a_folder_that_others_can_write_in_is_not_used(kept, tmp_path, monkeypatch):
    kept.parent.chmod(0o777)
    foreign(kept, tmp_path)
    kept.with_name(f"{kept.name}.sha256").write_text(build.hashlib.sha256(kept.read_bytes()).hexdigest())
    with pytest.warns(UserWarning, match=FOR_THIS_PROCESS) as said:
        assert answer(kept.parent) == 42
    assert f"others can write in {kept.parent} (chmod 700 {kept.parent})" in str(said[0].message)
    assert "XDG_CACHE_HOME" in str(said[0].message)
    assert not (tmp_path / "ran").exists()


def test_a_folder_above_it_that_others_can_write_in_is_none_either(kept):
    above = kept.parents[1]
    above.chmod(0o775)
    with pytest.warns(UserWarning, match=rf"others can write in {above} \(chmod go-w {above}\)"):
        assert answer(kept.parent) == 42
    above.chmod(0o1777)  # as /tmp is
    assert answer(kept.parent) == 42


def test_a_folder_of_another_user_is_named_with_its_user(kept):
    if os.geteuid() != 0:
        pytest.skip("only root gives folders away")
    os.chown(kept.parent, 4321, 4321)
    with pytest.warns(UserWarning, match=rf"{kept.parent} belongs to user 4321"):
        assert answer(kept.parent) == 42


def test_a_link_to_the_folder_is_resolved_first(kept, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(kept.parent)
    no_build(monkeypatch)
    assert answer(tmp_path / "link") == 42


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    place = tmp_path / "file"
    place.write_text("in the way")
    with pytest.warns(UserWarning, match=r"alone, not kept: .*Not a directory.*; XDG_CACHE_HOME chooses another cache"):
        assert answer(place / "native") == 42


def test_a_full_disk_is_done_without(cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    built = []
    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(build, "build", lambda *args, build=build.build: built.append(args) or build(*args))
    with pytest.warns(UserWarning, match=r"not kept: .*No space left on device"):
        assert answer(cache) == 42
    assert len(built) == 1  # which takes a minute
    assert list(cache.iterdir()) == []


def test_a_compiler_for_which_the_disk_is_full_is_called_elsewhere(cache, tmp_path, monkeypatch):
    compiler(tmp_path, monkeypatch, f'case "$PWD" in {cache}*) echo "cc1: No space left on device"; exit 1;; esac\n')
    with pytest.warns(UserWarning, match=r"not kept: .*No space left on device"):
        assert answer(cache) == 42


def test_without_a_home_there_is_no_cache(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "relative")
    monkeypatch.setattr(build, "sources", lambda: SOURCE)
    with pytest.warns(UserWarning, match="not kept: there is no home folder for a cache; set HOME"):
        assert build.library().library.answer() == 42


# --- two at once, and those that were killed ------------------------------------------------------------------------


def compiler(folder, monkeypatch, script, name="mycc"):
    """Let CC be a script that goes on to the real compiler, unless it ends before."""
    path = folder / name
    path.write_text(f'#!/bin/sh\n{script}\nexec {shlex.join(build.find_compiler())} "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))
    return path


def test_many_at_once_build_once(cache, tmp_path, monkeypatch):
    compiler(tmp_path, monkeypatch, f'[ "$1" = --version ] || echo >> {tmp_path}/built; sleep 0.2')
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: answer(cache), range(4))) == [42] * 4
    assert (tmp_path / "built").read_text() == "\n"


def test_what_a_killed_build_left_is_removed_by_the_next(cache, tmp_path, monkeypatch):
    compiler(tmp_path, monkeypatch, f'[ "$1" = --version ] || {{ touch {tmp_path}/started; sleep 60; }}')
    code = (
        f"import pathlib; from tinyconv.fast.native import build; build.load({SOURCE!r}, pathlib.Path({str(cache)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=Path(tc.__file__).parents[1]) as process:
        while not (tmp_path / "started").exists():
            assert process.poll() is None
        process.kill()
    assert len(list(cache.glob("build-*"))) == 1
    monkeypatch.delenv("CC")
    assert answer(cache) == 42
    assert len(list(cache.iterdir())) == 2


def test_a_build_that_another_process_never_ends_is_not_waited_for(cache, monkeypatch):
    make_private(cache)
    monkeypatch.setattr(build, "TIMEOUT", 0.1)
    monkeypatch.setattr(build, "build", lambda *args: "built")
    with held(cache / "building"), pytest.warns(UserWarning, match=f"another process has held {cache}/building"):
        assert build.load(SOURCE, cache).library == "built"


# --- without a compiler, and other sources --------------------------------------------------------------------------


def test_one_that_is_kept_needs_no_compiler(kept, tmp_path, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = build.load(SOURCE, kept.parent)
    assert (found.library.answer(), found.how) == (42, f"from the cache {kept.parent}")
    with pytest.raises(NoCompilerError, match="no C compiler found"):
        build.load({build.UNIT: "int answer(void) { return 43; }"}, kept.parent)


def test_every_file_has_its_part_in_the_name(cache):
    """A header that changes makes another library, which is built."""
    files = {build.UNIT: '#include "number.h"\nint answer(void) { return NUMBER; }'}
    for number in (1, 2):
        assert build.load(files | {"number.h": f"#define NUMBER {number}"}, cache).library.answer() == number
    assert len(list(cache.glob("*.so"))) == 2


def test_a_build_is_announced_once_and_says_where_it_came_from(cache, monkeypatch):
    said = []
    monkeypatch.setattr(kernels, "announce", said.append)
    first, second = build.load(SOURCE, cache).how, build.load(SOURCE, cache).how
    (line,) = said
    assert line == f"compiling the kernels for this processor, once, with {build.find_compiler()[0]}"
    assert re.match(r"compiled now, by /\S+ \(", first)
    assert re.match(rf"from the cache {cache}, by /\S+ \(", second)


def test_without_a_compiler_nothing_is_made(tmp_path, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoCompilerError):
        build.load(SOURCE, tmp_path / "cache" / "native")
    assert list(tmp_path.iterdir()) == []


# --- shipped in a wheel ---------------------------------------------------------------------------------------------

ASKED = {**build.sources(), build.UNIT: '#include "abi.h"\nint answer(void) { return ANSWER; }'}
X86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="levels are for x86-64")


def ship(folder, level="", files=ASKED):
    """Put a library into `folder` that answers with its level."""
    machine = [f"-march={level}"] if level else []
    answer = level[-1:] or "0"
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "made.so")
        build.compile_to(made, build.find_compiler(), files, [[*machine, f"-DANSWER={answer}"]])
        folder.mkdir(exist_ok=True)
        shutil.copy(made, build.library_path(folder, level))


@pytest.fixture
def levels(tmp_path, monkeypatch):
    """A folder with the libraries of a wheel for x86-64, and the level that this machine can run."""
    monkeypatch.delenv(build.LEVEL_VARIABLE, raising=False)
    for level in build.LEVELS:
        ship(tmp_path / "shipped", level)
    return tmp_path / "shipped", ctypes.CDLL(str(tmp_path / "shipped" / "kernels-x86-64-v2.so")).tinyconv_level()


def flags_of_the_processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return pytest.skip("the system does not say what the processor has")


@X86
@pytest.mark.skipif(sys.platform != "linux", reason="/proc/cpuinfo is asked")
def test_the_level_is_the_one_that_the_system_says(levels):
    flags = flags_of_the_processor()
    v3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"} <= flags
    v4 = v3 and {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= flags
    assert levels[1] == 2 + v3 + v4


@X86
def test_the_best_library_that_runs_here_is_chosen(levels):
    folder, most = levels
    found = build.shipped(ASKED, folder)
    assert (found.library.answer(), found.how) == (most, f"shipped, x86-64-v{most}")


@X86
@pytest.mark.parametrize("level", [2, 3, 4])
def test_a_level_is_forced_or_refused(levels, monkeypatch, level):
    folder, most = levels
    monkeypatch.setenv(build.LEVEL_VARIABLE, f"v{level}")
    if level <= most:
        found = build.shipped(ASKED, folder)
        assert (found.library.answer(), found.how) == (level, f"shipped, x86-64-v{level}")
    else:
        assert message(tc.VariantError, build.shipped, ASKED, folder) == (
            f"TINYCONV_X86_LEVEL is v{level}, and this processor and system run x86-64-v{most} at most"
        )


@X86
def test_a_level_that_cannot_be_had(levels, tmp_path, monkeypatch):
    folder, _ = levels
    monkeypatch.setenv(build.LEVEL_VARIABLE, "v5")
    assert message(tc.VariantError, build.shipped, ASKED, folder) == "TINYCONV_X86_LEVEL is 'v5'; it takes v2, v3, v4"
    monkeypatch.setenv(build.LEVEL_VARIABLE, "v2")
    text = message(tc.VariantError, build.shipped, ASKED, tmp_path / "none")
    assert text.startswith(
        "TINYCONV_X86_LEVEL=v2 chooses among the libraries of a wheel for x86-64, and there are none"
    )
    text = message(tc.VariantError, build.shipped, ASKED | {"abi.h": ""}, folder)
    assert "TINYCONV_X86_LEVEL=v2: the shipped library cannot be used: kernels-x86-64-v2.so was made of other" in text


def test_other_machines_have_one_library(tmp_path):
    assert build.shipped(ASKED, tmp_path) == (None, "")
    ship(tmp_path)
    found = build.shipped(ASKED, tmp_path)
    assert (found.library.answer(), found.how) == (0, "shipped")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (ASKED | {"new.h": ""}, "kernels.so was made of other sources than those beside it"),
        (SOURCE, "kernels.so was made of other sources than those beside it"),
        (None, "file too short|invalid ELF|not a mach-o"),
    ],
    ids=["other sources", "says nothing", "no library"],
)
def test_a_library_of_another_version_is_refused_and_one_is_built(tmp_path, cache, monkeypatch, files, said):
    if files is None:
        build.library_path(tmp_path).write_bytes(b"no library")
    else:
        ship(tmp_path, files=files)
    monkeypatch.setattr(build, "SHIPPED", tmp_path)
    monkeypatch.setattr(build, "sources", lambda: ASKED | {build.UNIT: ASKED[build.UNIT].replace("ANSWER", "7")})
    monkeypatch.setattr(build, "cache_dir", lambda: cache)
    found = build.library()
    assert found.library.answer() == 7
    assert found.how.startswith("compiled now, by ")
    assert re.search(rf"; the shipped library cannot be used: .*({said})", found.how)


# --- compilers ------------------------------------------------------------------------------------------------------


def test_without_a_compiler_it_says_what_was_tried(tmp_path, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    text = message(tc.VariantError, build.load, SOURCE, tmp_path)
    assert "no C compiler found (tried cc, gcc, clang)" in text
    assert "name it in CC" in text


def test_a_compiler_that_fails_is_quoted(cache):
    text = message(tc.VariantError, build.load, {build.UNIT: "this is not C"}, cache)
    assert f"failed on {build.UNIT}" in text
    assert "error" in text
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("blank", ["", " ", "\t"])
def test_a_blank_cc_is_none(monkeypatch, blank):
    monkeypatch.setenv("CC", blank)
    assert Path(build.find_compiler()[0]).name == "cc"


def test_options_in_cc_are_kept(monkeypatch, cache):
    monkeypatch.setenv("CC", "cc -DX=1 '-DY=a b'")
    assert build.find_compiler()[1:] == ["-DX=1", "-DY=a b"]
    assert answer(cache) == 42


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('"', "which is no command (No closing quotation)"),
        ("''", "'' is no program"),
        ("/no/such/cc -O2", "'/no/such/cc' is no program"),
        ("{folder}", "is no program"),
        ("{folder}/plain", "is no program"),
        ("no-such-cc", "'no-such-cc' is no program"),
    ],
)
def test_a_cc_that_cannot_be_called(monkeypatch, tmp_path, value, said):
    (tmp_path / "plain").write_text("not executable")
    monkeypatch.setenv("CC", value.format(folder=tmp_path))
    text = message(tc.VariantError, build.load, SOURCE, tmp_path)
    assert said in text
    assert "CC" in text


GARBAGE = """[ $1 = --version ] && exit 0
while [ "$1" != -o ]; do shift; done
yes | head -c 9999 > "$2"
exit 0"""
SCRIPTS = {
    "hangs": ("sleep 60", "cannot be run: mycc did not end within"),
    "says no end": ("[ $1 = --version ] && exec yes; exit 3", "it ended with 3 and wrote no library"),
    "writes nothing": ("exit 0", "it ended with 0 and wrote no library"),
    "dies": ("kill -9 $$", "it ended with -9 and wrote no library"),
    "writes garbage": (GARBAGE, "cannot be built: .*kernels.*so"),
    "no program": (None, "Exec format error"),
}


@pytest.mark.parametrize(("script", "said"), SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.filterwarnings("ignore:the kernels")
def test_a_cc_that_is_no_compiler(monkeypatch, tmp_path, cache, script, said):
    monkeypatch.setattr(build, "VERSION_TIMEOUT", 1)
    path = compiler(tmp_path, monkeypatch, script)
    if script is None:
        path.write_bytes(bytes(100))
    text = message(tc.VariantError, build.load, SOURCE, cache)
    assert re.search(said, text)
    assert len(text) < 1000


def test_a_compiler_of_the_current_folder_is_not_called_unless_it_is_meant(monkeypatch, tmp_path, cache):
    path = compiler(tmp_path, monkeypatch, f"touch {tmp_path}/ran", "cc")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f":.:{os.environ['PATH']}")
    for value in ("", "cc"):
        monkeypatch.setenv("CC", value)
        assert build.find_compiler() != [str(path)]
    assert not (tmp_path / "ran").exists()
    monkeypatch.setenv("CC", "./cc")
    assert answer(cache) == 42
    assert (tmp_path / "ran").exists()


def test_what_a_build_left_that_was_killed_when_all_was_kept_is_removed(kept, cache):
    """The library is there, so nothing is built; the next process that loads it clears up all the same."""
    (cache / "build-killed").mkdir()
    (cache / "build-killed" / build.UNIT).write_text("int")
    with held(cache / "building"):  # somebody builds: what is there may be theirs
        assert answer(cache) == 42
    assert (cache / "build-killed").exists()
    assert answer(cache) == 42
    assert not (cache / "build-killed").exists()
