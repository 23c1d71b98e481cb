"""The pages as notebooks: every snippet in its order, text and links that lead somewhere, and they run."""

import ast
import re
import subprocess
import sys
from base64 import b64decode

import pytest
from test_package import DOCUMENTS, ROOT, snippets

pytest.importorskip("jupytext", reason="jupytext makes the notebooks: make .venv/.docs")
pytest.importorskip("sphinx", reason="the pages' links are those of the site: make .venv/.docs")

import checkout
import jupytext
import notebooks

RUN = {name.removeprefix("docs/").removesuffix(".md") for name in DOCUMENTS if name.startswith("docs/")}
RUN |= {"tour", "lesson/lenet", "lesson/experiments"}
NONE = {"index", "architecture", "scaling"}  # about the house, or of commands, with a snippet in passing


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    written = tmp_path_factory.mktemp("notebooks")
    notebooks.write(written)
    return written


def code(book):
    return [cell.source for cell in book.cells if cell.cell_type == "code"]


def words(book):
    return "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")


def test_every_page_that_runs_is_a_notebook():
    assert set(notebooks.PAGES) == RUN - NONE


@pytest.mark.parametrize("page", notebooks.PAGES)
def test_a_notebook_has_every_snippet_in_order(page, folder):
    fences = [snippet.rstrip("\n") for snippet in snippets(f"docs/{page}.md")]
    script = jupytext.read(folder / f"{page}.py")
    assert code(script) == fences
    book = jupytext.read(folder / f"{page}.ipynb")
    assert code(book) == [notebooks.displayed(fence) for fence in fences]
    for source in code(book):
        ast.parse(source)
    assert book.metadata["kernelspec"]["name"] == "python3"
    for made in (book, script):
        assert "```python" not in words(made)
        assert words(made).startswith(f"# {(ROOT / 'docs' / f'{page}.md').read_text().partition(chr(10))[0][2:]}\n")
    assert set(notebooks.PAGES) > notebooks.PRINTED
    if page in notebooks.PRINTED:
        outputs = [cell.outputs[0].text for cell in book.cells if cell.cell_type == "code" and cell.outputs]
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        assert outputs == re.findall(r"^```\n\n```text\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        assert not any(block in words(book) for block in outputs)


@pytest.mark.parametrize("page", notebooks.PAGES)
def test_links_and_pictures_are_there(page, folder):
    for ending in (".ipynb", ".py"):
        book = jupytext.read(folder / f"{page}{ending}")
        for cell in book.cells:
            for target, _ in checkout.links(cell.source if cell.cell_type == "markdown" else ""):
                assert target == "" or ((folder / page).parent / target).exists(), target
            for name in re.findall(r"\]\(attachment:([^)]*)\)", cell.source):
                assert b64decode(cell.attachments[name]["image/png"]).startswith(b"\x89PNG")


def test_pictures_are_in_the_notebook(folder):
    assert "(attachment:maps.png)" in words(jupytext.read(folder / "looking.ipynb"))


def test_a_last_print_of_a_value_shows_it():
    assert notebooks.displayed("x = 1\nprint(x)  # it") == "x = 1\nx"
    assert notebooks.displayed("print(tc.trace(\n    y))") == "tc.trace(\n    y)"
    for kept in ("print(x, y)", "print(f'{x}')", "print(x, end='')", "print(x)\ny = 1", "print(str(x))", "print(x.y)"):
        assert notebooks.displayed(kept) == kept


def test_links_in_the_site_lead_to_its_pages():
    to = notebooks.in_site("lesson/tape")
    assert to("docs/lesson/im2col.md") == "../../lesson/im2col.html"
    assert to("tinyconv/ops/conv.py") == "../../_source/tinyconv/ops/conv.py.html"
    assert to("docs/pictures/maps.png") == "../../_images/maps.png"
    assert notebooks.in_site("tour")("docs/step.html") == "../step.html"


def test_the_scripts_run_as_they_are(folder, tmp_path):
    script = folder / "lesson" / "tape.py"
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def executed(path, where):
    """A notebook after all of its cells ran in a kernel of their own."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient runs notebooks: make .venv/.test")
    pytest.importorskip("ipykernel", reason="ipykernel runs notebooks: make .venv/.test")
    import nbformat

    book = nbformat.read(path, as_version=4)
    return nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(where)}}).execute()


def shown(book):
    """The HTML that each code cell shows, or ""."""
    for cell in book.cells:
        if cell.cell_type == "code":
            yield "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)


@pytest.mark.slow
def test_a_notebook_runs(folder, tmp_path):
    pages = list(shown(executed(folder / "profile.ipynb", tmp_path)))
    assert "<b>profile</b>" in pages[0]


@pytest.mark.slow
@pytest.mark.mnist
def test_the_tour_runs_and_shows_itself(folder, tmp_path, mnist_root, monkeypatch):
    monkeypatch.setenv("TINYCONV_DATA", str(mnist_root))
    book = executed(folder / "tour.ipynb", tmp_path)
    pages = list(shown(book))
    assert "<svg" in pages[1]
    assert any("<b>LeNet5</b>" in page for page in pages)
    assert any("576 terms" in page for page in pages)
    (trained,) = re.findall(r"epoch 5: .* test accuracy ([\d.]+)%", str(book))
    assert float(trained) > 98.5
