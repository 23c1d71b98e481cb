"""What a container leaves to a process, from the files of control groups, and what a device says of itself."""

import os
import re
import shutil
import subprocess
import sys
from math import inf

import pytest

from tinyconv.errors import DeviceError
from tinyconv.host import environment, processes
from tinyconv.host.environment import cores, cpu_limit, device_details, driver, processor
from tinyconv.host.processes import run_child


def group(root, path, **files):
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="ascii")


@pytest.mark.parametrize(
    ("own", "above", "expected"),
    [("200000 100000", "max 100000", 2.0), ("max 100000", "150000 100000", 1.5), ("max 100000", "max 100000", inf)],
)
def test_the_smallest_limit_on_the_way_up_counts(tmp_path, own, above, expected):
    root = tmp_path / "cgroup"
    group(root, "pod/task", cpu__max=own)
    group(root, "pod", cpu__max=above)
    membership = tmp_path / "membership"
    membership.write_text("0::/pod/task\n", encoding="ascii")
    assert cpu_limit(root, membership) == expected


def test_the_first_version_has_two_files(tmp_path):
    group(tmp_path / "cgroup", "cpu", cpu__cfs_quota_us="300000", cpu__cfs_period_us="100000")
    assert cpu_limit(tmp_path / "cgroup", tmp_path / "none") == 3.0
    group(tmp_path / "cgroup", "cpu", cpu__cfs_quota_us="-1")
    assert cpu_limit(tmp_path / "cgroup", tmp_path / "none") == inf


def test_no_control_groups_no_limit(tmp_path):
    assert cpu_limit(tmp_path / "nowhere", tmp_path / "none") == inf
    assert cores() >= 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build", "580.65.06"),
        ("something else", "unknown"),
    ],
)
def test_the_driver_tells_its_version(tmp_path, line, expected):
    path = tmp_path / "version"
    path.write_text(f"{line}\nGCC version:  gcc version 12.2.0\n", encoding="utf-8")
    assert driver(path) == expected
    assert driver(tmp_path / "none") == "unknown"


def test_details_of_the_processor():
    assert device_details("cpu") == {"name": processor()}


@pytest.mark.usefixtures("standin_cuda")
def test_details_of_a_gpu():
    found = device_details("cuda:1")
    assert {name: found[name] for name in ("name", "compute_capability", "cuda", "driver_cuda")} == {
        "name": "stand-in",
        "compute_capability": "9.0",
        "cuda": "13.0",
        "driver_cuda": "13.0",
    }
    assert found["memory_mib"] == 16 << 10
    with pytest.raises(DeviceError, match="this machine has 2 GPU"):
        device_details("cuda:2")


# --- the commit, from a repository that nobody vouches for -----------------------------------------------------------


def repository(folder):
    def git(*arguments):
        options = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", "-C", folder, *options, *arguments], check=True, capture_output=True)

    folder.mkdir(parents=True, exist_ok=True)
    git("init")
    (folder / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "one")
    return git


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of its own in a temporary folder, as if the package were in it."""
    if shutil.which("git") is None:
        pytest.skip("no git")
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    git = repository(tmp_path / "checkout")
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "checkout" / "tinyconv" / "host" / "environment.py"))
    return git


def test_the_commit_and_whether_files_differ(checkout, tmp_path):
    found = environment.commit()
    assert re.fullmatch("[0-9a-f]{7,}", found)
    (tmp_path / "checkout" / "file").write_text("two")
    assert environment.commit() == f"{found}+"


@pytest.mark.skipif(os.name == "nt", reason="shell scripts")
@pytest.mark.parametrize("setting", ["core.fsmonitor", "core.pager", "core.hooksPath", "alias.describe"])
def test_a_program_that_a_repository_names_is_not_run(checkout, tmp_path, setting):
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("run", "post-index-change", "fsmonitor-watchman", "query-watchman"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (hooks / name).chmod(0o755)
    checkout("config", setting, str(hooks if setting.endswith("Path") else hooks / "run"))
    os.utime(tmp_path / "checkout" / "file", (1, 1))  # so that git looks, and would write its index
    assert environment.commit() != "unknown"
    assert not (tmp_path / "ran").exists()
    if setting == "core.fsmonitor":  # git alone runs it
        subprocess.run(["git", "-C", tmp_path / "checkout", "describe", "--always", "--dirty"], check=True)
        assert (tmp_path / "ran").exists()


def test_a_repository_around_the_package_is_not_asked(tmp_path, monkeypatch):
    """An installed package is in nobody's checkout, though the environment that it is in may be."""
    if shutil.which("git") is None:
        pytest.skip("no git")
    repository(tmp_path)
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "site" / "tinyconv" / "host" / "environment.py"))
    (tmp_path / "site").mkdir()
    assert environment.commit() == "unknown"


def test_where_git_is_not_or_does_not_end_the_commit_is_unknown(checkout, monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))  # as a hook has it
    assert environment.commit() != "unknown"
    with monkeypatch.context() as patch:
        patch.setattr(processes, "run_child", lambda *args, **options: exec("raise TimeoutError"))
        assert environment.commit() == "unknown"
    monkeypatch.setenv("PATH", "")
    assert environment.commit() == "unknown"


@pytest.mark.parametrize(
    ("version", "code", "said", "expected"),
    [
        ("not installed", 0, "", r"none: mpi4py is not installed: pip install 'tinyconv\[mpi\]', and mpich"),
        ("4.1.2", 0, "a note\nmpi4py 4.1.2, MPICH 5.0.2\n", r"mpi4py 4\.1\.2, MPICH 5\.0\.2; mpiexec: .+"),
        ("4.1.2", 1, "Traceback\nOSError: no libmpi.so", r"none: mpi4py 4\.1\.2 finds no MPI \(OSError: no libmpi\.so"),
        ("4.1.2", 1, "", r"none: mpi4py 4\.1\.2 finds no MPI \(it said nothing\): pip install mpich"),
    ],
    ids=["no mpi4py", "mpi", "no mpi", "silent"],
)  # fmt: skip
def test_which_mpi_was_found(version, code, said, expected, monkeypatch):
    monkeypatch.setattr(environment, "version_of", lambda name: version)
    monkeypatch.setattr(processes, "run_child", lambda *args, **options: processes.Ended(code, said))
    assert re.match(expected, environment.mpi())


def test_mpi_is_looked_for_elsewhere_and_not_for_ever(monkeypatch):
    before = "mpi4py" in sys.modules
    assert environment.mpi().startswith(("mpi4py ", "none: "))
    assert ("mpi4py" in sys.modules) == before
    monkeypatch.setattr(environment, "FIND_MPI", "import time; time.sleep(60)")
    monkeypatch.setattr(environment, "version_of", lambda name: "4.1.2")
    monkeypatch.setattr(processes, "run_child", lambda *args, **options: run_child(*args, **options | {"timeout": 0.5}))
    assert environment.mpi() == f"none: {os.path.basename(sys.executable)} did not end within 0.5 s"
