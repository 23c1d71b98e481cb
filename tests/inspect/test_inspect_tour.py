"""docs/tour.md and the pages of docs/lesson that train: drawn digits in the quick tests, MNIST in the slow one."""

import pytest
from printed import DOCS, blocks, stale
from test_package import ROOT, snippets

import tinyconv as tc

TRAINING = ["docs/tour.md", "docs/lesson/lenet.md", "docs/lesson/experiments.md"]


def run(name):
    namespace = {}
    for snippet in snippets(name):
        exec(compile(snippet, f"{name}: {snippet.splitlines()[0]}", "exec"), namespace)
    return namespace


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Drawn digits for MNIST's, and a folder of its own for what is saved."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tc.data, "mnist", lambda part: tc.data.synthetic_digits(1000, seed=int(part == "test")))


@pytest.mark.usefixtures("drawn")
def test_the_tour_prints_what_it_shows():
    page = (DOCS / "tour.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) <= 300
    assert sum(block is not None for _, block in blocks(page)) == page.count("```text\n") > 0
    assert [text for _, text in stale(page)] == []


@pytest.mark.parametrize("name", TRAINING[1:])
@pytest.mark.usefixtures("drawn")
def test_the_snippets_of_a_lesson_run(name):
    assert run(name)


def test_every_lesson_is_run():
    from test_package import DOCUMENTS

    lessons = {path.relative_to(ROOT).as_posix() for path in (DOCS / "lesson").glob("*.md")} - {"docs/lesson/index.md"}
    assert lessons == {name for name in [*DOCUMENTS, *TRAINING] if name.startswith("docs/lesson/")}


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.parametrize(("name", "least"), [("docs/tour.md", 0.99), ("docs/lesson/lenet.md", 0.99)])
def test_ninety_nine_per_cent_on_mnist(name, least, monkeypatch, tmp_path, mnist_root):
    monkeypatch.chdir(tmp_path)
    accuracy = run(name)["accuracy"]
    assert (accuracy() if callable(accuracy) else accuracy) > least
