"""The pages whose snippets run from the top to the bottom, as notebooks: `.ipynb`, and `.py` in percent format.

The pages are the only source. `make notebooks` writes them into build/notebooks, with links into the checkout; a build
of the site writes them beside its pages, with links to these, and each page links to its own.
"""

import ast
import os
import re
import sys
from base64 import b64encode
from pathlib import Path

from checkout import LINK, ROOT, address
from sphinx.util.osutil import relative_uri

DOCS = ROOT / "docs"
PAGES = (
    "tour",
    *(f"lesson/{name}" for name in ("loops", "im2col", "tape", "lenet", "experiments")),
    *("backward", "tape", "higher_order", "fast", "looking", "mistakes", "gradcheck", "profile"),
)
PRINTED = {"tour", "fast", "looking", "mistakes", "profile"}  # where a block of text after a snippet is what it prints
NEEDS = "A page of tinyconv's documents; `pip install '.[train,pictures]'` in a checkout brings what it needs."
TITLE = re.compile(r"\A# .*\n", re.MULTILINE)
BLOCK = re.compile(r"\A```text\n(.*?)^```\n*", re.DOTALL | re.MULTILINE)


def in_checkout(folder):
    """Where the links of a notebook that lies in this folder lead: to the files themselves."""
    return lambda path: Path(os.path.relpath(ROOT / path, folder)).as_posix()


def in_site(page):
    """Where the links of a page's notebook lead: to the pages of the site that it lies in."""

    def to(path):
        if path.endswith((".png", ".svg")):
            there = f"_images/{Path(path).name}"
        elif path.startswith("docs/") and path.endswith(".md"):
            there = f"{path.removeprefix('docs/').removesuffix('.md')}.html"
        else:
            there = address(path)
        return Path(os.path.relpath(there, Path("notebooks", page).parent)).as_posix()

    return to


def notebook(page, to, embedded):
    """A page of docs as a notebook of jupytext's.

    Args:
        page: Its name: "lesson/tape".
        to: The address of a file of the checkout, by its path.
        embedded: Whether the notebook holds the pictures and what the page says is printed, and a cell that ends in
            `print(x)` ends in `x`, which shows itself.
    """
    import jupytext

    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    if "in a checkout\nbrings" not in text:
        text = TITLE.sub(lambda title: f"{title[0]}\n{NEEDS}\n", text, count=1)
    book = jupytext.reads(text, fmt="md")
    cells, before = [], None
    for cell in book.cells:
        if cell.cell_type == "markdown":
            found = BLOCK.match(cell.source + "\n") if page in PRINTED and before is not None else None
            if found:
                cell.source = (cell.source + "\n")[found.end() :].rstrip("\n")
                if embedded:
                    before.outputs = [_printed(found[1])]
            _link(cell, page, to, embedded)
        elif embedded:
            cell.source = displayed(cell.source)
        if cell.source:
            cells.append(cell)
        before = cell if cell.cell_type == "code" else None
    for i, cell in enumerate(cells):
        cell.id = f"{i}"
    book.cells = cells
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return book


def _printed(text):
    from nbformat.v4 import new_output

    return new_output("stream", name="stdout", text=text)


def _link(cell, page, to, embedded):
    """Turn links of a cell, which are written for readers of docs, into links from the notebook."""

    def moved(link):
        opening, target, anchor = link.groups()
        if not target:
            return link[0]
        path = os.path.relpath(os.path.normpath((DOCS / page).parent / target), ROOT).replace(os.sep, "/")
        if opening.startswith("!") and embedded:
            name = Path(path).name
            content = b64encode((ROOT / path).read_bytes()).decode()
            cell.attachments = {**cell.get("attachments", {}), name: {"image/png": content}}
            return f"{opening}attachment:{name})"
        return f"{opening}{to(path)}{anchor or ''})"

    cell.source = LINK.sub(moved, cell.source)


def displayed(source):
    """A snippet; in the place of a last `print(name)` or `print(tc.function(...))` that value, which shows itself."""
    last = ast.parse(source).body[-1]
    match last:
        case ast.Expr(ast.Call(ast.Name("print"), [ast.Name() | ast.Call() as value], [])):
            if isinstance(value, ast.Name) or ast.unparse(value.func).startswith("tc."):
                lines = source.splitlines()[: last.lineno - 1]
                return "\n".join([*lines, ast.get_source_segment(source, value)])
    return source


def write(folder, to=None):
    """Write all notebooks into a folder; `to(page)` gives what `notebook` takes as `to`."""
    import jupytext

    for page in PAGES:
        path = Path(folder) / page
        path.parent.mkdir(parents=True, exist_ok=True)
        there = in_checkout(path.parent) if to is None else to(page)
        for ending, form in ((".ipynb", "ipynb"), (".py", "py:percent")):
            text = jupytext.writes(notebook(page, there, ending == ".ipynb"), fmt=form)
            path.with_name(path.name + ending).write_text(text.rstrip("\n") + "\n", encoding="utf-8")


# --- in the site ------------------------------------------------------------------------------------------------------


def link(app, docname, source):
    """On its way into Sphinx, a page gets links to its notebook under its title."""
    if docname in PAGES:
        here = f"{docname}.html"
        ways = (
            f'<a href="{relative_uri(here, f"notebooks/{docname}{ending}")}" download>{ending}</a>'
            for ending in (".ipynb", ".py")
        )
        line = f'<p class="notebook">This page as a notebook: {", ".join(ways)}</p>'
        source[0] = TITLE.sub(lambda title: f"{title[0]}\n{line}\n", source[0], count=1)


def beside(app, exception):
    """When all is built, the notebooks."""
    if exception is None:
        write(Path(app.outdir) / "notebooks", in_site)


def setup(app):
    app.connect("source-read", link)
    app.connect("build-finished", beside)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    write(sys.argv[1])
