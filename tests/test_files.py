"""Files that are whole or not there: whatever ends the writing."""

import os
import subprocess
import sys
import threading

import pytest

from tinyconv.host.files import atomic, check_writable, clear, held


def test_the_new_file_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with atomic(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
def test_whatever_ends_the_writing_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")

    def write():
        with atomic(path) as beside:
            beside.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_bytes_are_on_the_disk_before_the_name(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr("os.fsync", lambda _: done.append("fsync"))
    monkeypatch.setattr("os.replace", lambda *_: done.append("replace"))
    with atomic(tmp_path / "file") as beside:
        beside.write_text("new")
    assert done == ["fsync", "replace"]


def test_a_folder_is_made_and_left_empty(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        check_writable(tmp_path / "file" / "b")


def test_a_link_is_followed_and_the_mode_kept(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("this system does not let us make links")
    with atomic(link) as beside:
        beside.write_text("new")
        beside.chmod(0o600)  # as some writers leave it
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_in_a_cache_is_replaced(tmp_path, dangling):
    target, link = tmp_path / "target", tmp_path / "link"
    if not dangling:
        target.write_text("old")
        target.chmod(0o777)
    link.symlink_to(target)
    (tmp_path / "usual").touch()
    with atomic(link, follow=False) as beside:
        beside.write_text("new")
    assert not link.is_symlink()
    assert link.read_text() == "new"
    assert link.stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert not target.exists() if dangling else target.read_text() == "old"


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_in_the_place_of_the_part_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "urandom", bytes)
    (tmp_path / ".file.00000000.part").symlink_to(tmp_path / "target")

    def write():
        with atomic(tmp_path / "file") as beside:
            beside.write_text("new")

    with pytest.raises(OSError, match="symbolic links"):
        write()
    assert not (tmp_path / "target").exists()
    assert not (tmp_path / "file").exists()


@pytest.mark.skipif(os.name == "nt", reason="no modes there")
@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o666), (0o027, 0o640), (0o777, 0o600)])
def test_a_part_is_for_this_user_alone_and_no_umask_takes_a_file_from_its_owner(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with atomic(tmp_path / "file") as beside:
            beside.write_text("new")
            assert beside.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_a_new_file_has_the_usual_mode(tmp_path):
    (tmp_path / "usual").touch()
    with atomic(tmp_path / "file") as beside:
        beside.chmod(0o600)
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.skipif(os.name == "nt", reason="no named pipes in folders there")
def test_what_is_no_regular_file_is_left_alone(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    def write(path):
        with atomic(path):
            pass

    for name in ("pipe", "."):
        with pytest.raises(OSError, match="is not a regular file"):
            write(tmp_path / name)
    assert not (tmp_path / "pipe").is_file()


STAYS = """
import os, sys, time
from pathlib import Path
from tinyconv.host.files import atomic, held

with {what}:
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other():
    """A function that starts another process, which goes on and on in a `with` block of ours."""
    started = []

    def start(what):
        started.append(subprocess.Popen([sys.executable, "-c", STAYS.format(what=what)], stdout=subprocess.PIPE))
        assert started[-1].stdout.readline() == b"ready" + os.linesep.encode()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("name", ["file", "a[1] *?.png" if os.name != "nt" else "a[1].png"])
def test_what_a_killed_writer_left_goes_and_what_a_living_one_has_stays(tmp_path, other, name):
    path = tmp_path / name
    (tmp_path / f".{name}.x.0123abcd.part").write_text("of another name")
    killed, living = other(f"atomic(Path({str(path)!r}))"), other(f"atomic(Path({str(path)!r}))")
    killed.kill()
    killed.wait()
    with atomic(path) as beside:
        beside.write_text("new")
        clear(path)  # nor does a process remove what it is writing itself
        assert len(list(tmp_path.iterdir())) == 3
    assert path.read_text() == "new"
    living.kill()
    living.wait()
    assert len(list(tmp_path.iterdir())) == 3
    clear(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, f".{name}.x.0123abcd.part"])


def test_a_file_is_held_by_one_and_free_when_it_ends_however_it_ends(tmp_path, other):
    path = tmp_path / "lock"
    with held(path) as first, held(path) as second:
        assert first is not None
        assert second is None
    assert not path.exists()
    process = other(f"held(Path({str(path)!r}))")
    with held(path) as ours:
        assert ours is None
    assert path.exists()  # it is theirs
    process.kill()
    process.wait()
    assert path.exists()
    with held(path) as ours:
        assert ours is not None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="open files cannot be removed there")
def test_a_file_that_its_holder_removes_just_then_is_made_again(tmp_path, monkeypatch):
    import fcntl

    path, real = tmp_path / "lock", fcntl.flock

    def flock(file, how):
        monkeypatch.setattr(fcntl, "flock", real)
        path.unlink()
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with held(path) as ours:
        assert ours is not None
        with held(path) as again:
            assert again is None


@pytest.mark.skipif(os.name == "nt", reason="open files cannot be removed there")
def test_a_part_that_is_cleared_away_before_it_is_held_is_made_again(tmp_path, monkeypatch):
    import fcntl

    path, real, clearing = tmp_path / "file", fcntl.flock, []

    def flock(file, how):
        """As if another process cleared away between the making of a part and its lock, and took its time."""
        if not clearing:
            (part,) = tmp_path.iterdir()
            clearing.append(part.open("rb+"))
            real(clearing[0], fcntl.LOCK_EX)
            clearing.append(threading.Timer(0.1, lambda: (part.unlink(), clearing[0].close())))
            clearing[1].start()
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with atomic(path) as beside:
        clearing[1].join()
        beside.write_text("new")
        clear(path)
    assert path.read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="no flock there")
def test_without_locks_files_are_written_and_none_is_taken_from_anybody(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    (tmp_path / ".file.0123abcd.part").write_text("perhaps of a living process")
    with atomic(tmp_path / "file") as beside:
        beside.write_text("new")
    with held(tmp_path / "lock") as ours:
        assert ours is not None
    assert sorted(p.name for p in tmp_path.iterdir()) == [".file.0123abcd.part", "file"]
