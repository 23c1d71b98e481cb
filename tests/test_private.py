"""Folders that nobody else can change, decided from what the system says of them."""

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from tinyconv.host.private import make_private, private_folder, read_own, refusal

pytestmark = pytest.mark.skipif(os.name == "nt", reason="folders have no such modes there")

ME, ROOT, OTHER = 1000, 0, 4321


@pytest.fixture
def tree(monkeypatch):
    """A tree that exists in a dict alone, seen by user 1000: a function that sets owners and modes."""
    places = {}
    monkeypatch.setattr(os, "geteuid", lambda: ME)
    monkeypatch.setattr(Path, "lstat", lambda path: SimpleNamespace(**places[str(path)]))

    def set(path, uid, mode):
        places[path] = {"st_uid": uid, "st_mode": stat.S_IFDIR | mode}

    for path, uid, mode in (
        ("/", ROOT, 0o755),
        ("/home", ROOT, 0o755),
        ("/home/me", ME, 0o750),
        ("/tmp", ROOT, 0o1777),
    ):
        set(path, uid, mode)
    for path in ("/home/me/x", "/tmp/x"):
        set(path, ME, 0o700)
    return set


@pytest.mark.parametrize("path", ["/home/me/x", "/tmp/x"])
def test_a_folder_of_mine_is_mine(tree, path):
    assert refusal(Path(path)) == ""


@pytest.mark.parametrize(
    ("place", "uid", "mode", "said"),
    [
        ("/home/me/x", OTHER, 0o700, "/home/me/x belongs to user 4321"),
        ("/home/me/x", ME, 0o770, "others can write in /home/me/x (chmod 700 /home/me/x)"),
        ("/home/me/x", ME, 0o702, "others can write in /home/me/x (chmod 700 /home/me/x)"),
        ("/home/me/x", ME, 0o1777, "others can write in /home/me/x (chmod 700 /home/me/x)"),
        ("/home/me", ME, 0o775, "others can write in /home/me (chmod go-w /home/me)"),
        ("/home/me", OTHER, 0o700, "/home/me belongs to user 4321"),
        ("/home", ROOT, 0o777, "others can write in /home (chmod go-w /home)"),
        ("/", OTHER, 0o755, "/ belongs to user 4321"),
        ("/home/me/x", ME, 0o755, ""),
        ("/home/me/x", ROOT, 0o755, ""),
        ("/home/me", ME, 0o1777, ""),
        ("/home", ROOT, 0o1775, ""),
    ],
)
def test_who_can_change_it(tree, place, uid, mode, said):
    tree(place, uid, mode)
    assert refusal(Path("/home/me/x")) == said


def test_a_known_user_is_named(tree, monkeypatch):
    import pwd

    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name="eve"))
    tree("/home/me/x", OTHER, 0o700)
    assert refusal(Path("/home/me/x")) == "/home/me/x belongs to eve (user 4321)"


def test_sticky_folders_of_others_are_no_shelter(tree):
    tree("/tmp", OTHER, 0o1777)
    assert refusal(Path("/tmp/x")) == "/tmp belongs to user 4321"


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o777])
def test_folders_are_made_for_this_user_alone_and_those_that_are_there_are_left(tmp_path, umask):
    (tmp_path / "there").mkdir(mode=0o755)
    before = os.umask(umask)
    try:
        make_private(tmp_path / "there" / "a" / "b")
    finally:
        os.umask(before)
    modes = [(tmp_path / "there" / name).stat().st_mode & 0o777 for name in (".", "a", "a/b")]
    assert modes == [0o755, 0o700, 0o700]


def test_links_on_the_way_are_resolved_before_the_look(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert private_folder(tmp_path / "link" / "x") == (tmp_path / "real" / "x").resolve()
    (tmp_path / "real").chmod(0o777)
    with pytest.raises(PermissionError, match=r"others can write in .*real"):
        private_folder(tmp_path / "link" / "x")


def test_a_file_is_read_if_it_is_ours_and_a_file(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    file.chmod(0o644)
    assert read_own(file, 2) == b"ab"
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "pipe")  # and no writer is waited for
    for name in ("link", "pipe", ".", "none"):
        with pytest.raises(OSError, match=r"symbolic|not a file|directory"):
            read_own(tmp_path / name, 2)
    file.chmod(0o664)
    with pytest.raises(PermissionError, match="is not a file that this user alone can write"):
        read_own(file, 2)
    file.chmod(0o644)
    if os.geteuid() == 0:
        os.chown(file, OTHER, OTHER)
        with pytest.raises(PermissionError, match="this user alone"):
            read_own(file, 2)
