"""What a release says of itself: one version in all places, a changelog of it, and addresses that lead somewhere."""

import re
import tomllib
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from test_package import ROOT

import tinyconv

PYPROJECT = ROOT / "pyproject.toml"
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.skipif(not PYPROJECT.exists(), reason="this is no checkout")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def without_code(text):
    return CODE.sub("", text)


def releases():
    """The releases of the changelog, newest first: their versions and dates."""
    return re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", read("CHANGELOG.md"), re.MULTILINE)


def test_the_version_is_written_in_the_package_alone():
    pyproject = tomllib.loads(read("pyproject.toml"))
    assert "version" in pyproject["project"]["dynamic"]
    assert pyproject["tool"]["hatch"]["version"] == {"path": "tinyconv/__init__.py"}


def test_changelog_and_citation_are_in_step_with_the_version():
    version, date = releases()[0]
    assert version == tinyconv.__version__
    assert re.findall(r"^version: (.*)$", read("CITATION.cff"), re.MULTILINE) == [version]
    assert re.findall(r"^date-released: (.*)$", read("CITATION.cff"), re.MULTILINE) == [date]


def test_releases_come_newest_first_and_each_has_its_link():
    found = releases()
    versions = [version for version, _ in found]
    assert versions == sorted(set(versions), key=lambda version: tuple(map(int, version.split("."))), reverse=True)
    assert [date for _, date in found] == sorted((date for _, date in found), reverse=True)
    source = tomllib.loads(read("pyproject.toml"))["project"]["urls"]["Source"]
    expected = [f"{source}/compare/v{before}...v{version}" for version, before in pairwise(versions)]
    links = dict(re.findall(r"^\[(\d[^]]*)\]: (\S+)$", read("CHANGELOG.md"), re.MULTILINE))
    assert list(links) == versions
    assert list(links.values()) == [*expected, f"{source}/releases/tag/v{versions[-1]}"]


def test_every_address_of_the_project_is_one_and_of_one_repository():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    assert {"Homepage", "Documentation", "Source", "Changelog", "Issues"} <= set(project["urls"])
    for url in project["urls"].values():
        parts = urlsplit(url)
        assert parts.scheme == "https"
        assert parts.netloc
        head, _, path = url.partition("/blob/main/")
        assert head in (project["urls"]["Source"], project["urls"]["Issues"])
        assert not path or (ROOT / path).exists()
    assert f"repository-code: {project['urls']['Source']}\n" in read("CITATION.cff")


def test_a_package_index_shows_the_readme_without_a_relative_link():
    pyproject = tomllib.loads(read("pyproject.toml"))
    text = read("README.md")
    relative = re.findall(r"\]\((?!https:|#)([^)\s]+)\)", without_code(text))
    for each in pyproject["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"].replace("$HFPR_VERSION", "1.2.3"), text)
    source = pyproject["project"]["urls"]["Source"]
    raw = source.replace("//github.com/", "//raw.githubusercontent.com/")
    links = re.findall(r"\]\(([^)\s]+)\)", without_code(text))
    assert all(link.startswith(("https://", "#")) for link in links)
    pictures = [f"{raw}/v1.2.3/{path}" for path in relative if path.endswith(".png")]
    others = [f"{source}/blob/v1.2.3/{path}" for path in relative if not path.endswith(".png")]
    assert pictures
    assert [link for link in links if link.startswith(f"{raw}/")] == pictures
    assert [link for link in links if link.startswith(f"{source}/blob/")] == others
    assert CODE.findall(text) == CODE.findall(read("README.md"))
    assert "<!--" not in text


def test_who_reports_something_is_led_to_the_same_repository():
    source = tomllib.loads(read("pyproject.toml"))["project"]["urls"]["Source"]
    for url in re.findall(r"https://github\.com/\S+", read(".github/ISSUE_TEMPLATE/config.yml")):
        assert url.startswith(f"{source}/")
        _, _, path = url.partition("/blob/main/")
        assert not path or (ROOT / path).exists()


def test_every_action_is_pinned_to_a_commit():
    used = [
        line.split("uses: ")[1]
        for path in (ROOT / ".github" / "workflows").glob("*.yml")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "uses: " in line
    ]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action) for action in used), used
    assert len({action.partition("@")[0] for action in used}) == len(set(used))  # each action at one version
