"""Links from a page to files of the checkout: each leads to a page of the site that shows the file.

Documents are written for readers of the checkout, where `../tinyconv/ops/conv.py` and `../benchmarks/README.md` are
there. In the site such a link becomes `checkout:PATH`, and that the address of a page: the file as a page of its own,
in colours and with an anchor for each line; a folder as a list; a document that the site has, as that.
"""

import os
import re
from pathlib import Path

from docutils import nodes
from sphinx.util.osutil import relative_uri

ROOT = Path(__file__).parents[2]
DOCUMENTS = {  # in the checkout, and in the site
    "README.md": "index",
    "benchmarks/README.md": "benchmarks",
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
}
LANGUAGES = {
    ".py": "python",
    ".c": "c",
    ".h": "c",
    ".cu": "cuda",
    ".cuh": "cuda",
    ".js": "javascript",
    ".md": "markdown",
}
CODE = r"^ *```.*?^ *```|`[^`\n]+`"
LINK = re.compile(
    CODE + r"|(!?\[(?:[^\[\]`]|`[^`]*`|\[[^\]]*\])*\]\()([^)\s:#]*)(#[^)\s]*)?\)", re.MULTILINE | re.DOTALL
)
STEP = "<!-- step.html stands here in the site -->"


def outside(text, folder):
    """The text with links to what is no page of the site as `checkout:PATH`; pictures are left. Code is no text."""

    def renamed(link):
        opening, target, anchor = link.groups()
        if not target or opening.startswith("!"):
            return link[0]
        path = os.path.relpath(os.path.normpath(folder / target), ROOT)
        if target.endswith(".md") and path.startswith("docs" + os.sep):
            return link[0]
        return f"{opening}checkout:{Path(path).as_posix()}{anchor or ''})"

    return LINK.sub(renamed, text)


def links(text):
    """The target and the anchor of each link to a file, or within the page."""
    return [(target, anchor or "") for opening, target, anchor in LINK.findall(text) if opening and (target or anchor)]


def read(app, docname, source):
    """On its way into Sphinx, a Markdown page gets its links to the checkout, and the recorded step in a frame."""
    path = Path(app.env.doc2path(docname))
    if path.suffix != ".md":
        return
    source[0] = outside(source[0], path.parent)
    frame = (
        f'<iframe class="step" src="{relative_uri(f"{docname}.html", "step.html")}" title="A recorded step"></iframe>'
    )
    source[0] = source[0].replace(STEP, frame)


def listed(path):
    """What a folder shows."""
    return sorted(p for p in path.iterdir() if not p.name.startswith((".", "__pycache__")))


def address(path):
    """Where in the site a file or folder of the checkout is to be seen, as a path from its root."""
    if path in DOCUMENTS:
        return f"{DOCUMENTS[path]}.html"
    if path == "docs/step.html":
        return "step.html"
    return f"_source/{path}" if not shown(ROOT / path) else f"_source/{path}.html"


def shown(path):
    """Whether it has a page; other files (records in JSON) are copied."""
    return path.is_dir() or path.suffix in LANGUAGES


def linked(doctree):
    """Each reference of a page to the checkout, with the path and the anchor."""
    for link in doctree.findall(nodes.reference):
        uri = link.get("refuri", "")
        if uri.startswith("checkout:"):
            path, _, anchor = uri.removeprefix("checkout:").partition("#")
            yield link, path, anchor


def collect(app, doctree):
    """Note which files and folders a page links to; kept from build to build, with what else is known of the page."""
    paths = {path for _, path, _ in linked(doctree)}
    for path in paths:
        if not (ROOT / path).exists():
            raise FileNotFoundError(f"{app.env.docname}: {path} is linked, and is not in the checkout")
    wanted(app.env)[app.env.docname] = paths


def wanted(env):
    """The files and folders that pages link to, by page."""
    if not hasattr(env, "wanted_of_checkout"):
        env.wanted_of_checkout = {}
    return env.wanted_of_checkout


def purge(app, env, docname):
    wanted(env).pop(docname, None)


def merge(app, env, docnames, other):
    wanted(env).update({name: paths for name, paths in wanted(other).items() if name in docnames})


def resolve(app, doctree, docname):
    """Turn `checkout:PATH#ANCHOR` into addresses."""
    here = app.builder.get_target_uri(docname)
    for link, path, anchor in linked(doctree):
        link["refuri"] = relative_uri(here, address(path)) + (f"#{anchor}" if anchor else "")
        link["internal"] = True


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{root}_static/pygments.css">
<link rel="stylesheet" href="{root}_static/source.css">
<p><a href="{root}index.html">tinyconv</a></p>
<h1>{title}</h1>
{body}
</html>
"""


def pages(app, exception):
    """When all is built, a page for each file and folder that is linked to, and for those in it."""
    if exception:
        return
    todo, done = sorted(set().union(*wanted(app.env).values())), set()
    while todo:
        path = todo.pop()
        here = address(path)
        if path in done or not here.startswith("_source/"):
            continue
        done.add(path)
        file = Path(app.outdir) / here
        file.parent.mkdir(parents=True, exist_ok=True)
        if not shown(ROOT / path):
            file.write_bytes((ROOT / path).read_bytes())
            continue
        if (ROOT / path).is_dir():
            inside = [child.relative_to(ROOT).as_posix() for child in listed(ROOT / path)]
            todo += inside
            rows = (
                f'<li><a href="{relative_uri(here, address(child))}">{Path(child).name}</a></li>' for child in inside
            )
            body = f"<ul>{''.join(rows)}</ul>"
        else:
            language = LANGUAGES[Path(path).suffix]
            text = (ROOT / path).read_text(encoding="utf-8")
            body = app.builder.highlighter.highlight_block(text, language, force=True, lineanchors="L")
        text = PAGE.format(title=path, body=body, root=relative_uri(here, ""))
        file.write_text(text, encoding="utf-8")


def setup(app):
    app.connect("source-read", read)
    app.connect("doctree-read", collect, priority=900)  # when linkcode has put its links in
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("doctree-resolved", resolve)
    app.connect("build-finished", pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
