"""What a container leaves to a process, from the files of control groups, and what a device says of itself."""

from math import inf

import pytest

from tinyconv.errors import DeviceError
from tinyconv.host.environment import cores, cpu_limit, device_details, driver, processor


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
