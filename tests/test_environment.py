"""What a container leaves to a process, from the files of control groups."""

from math import inf

import pytest

from tinyconv.environment import cores, cpu_limit


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
