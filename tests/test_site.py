"""The site: links lead somewhere, every op and every public name has one page, and it builds without a warning."""

import re
import subprocess
import sys
from urllib.parse import unquote

import pytest
from test_package import ROOT

pytest.importorskip("sphinx")

import checkout
import generated
import names
from docstrings import inline, rest

import tinyconv as tc
from tinyconv.testing.table import public_ops

# --- links ----------------------------------------------------------------------------------------------------------

MADE = re.compile(r"docs/(?:(?:ops|functions|api)/.*|(?:benchmarks|changelog|contributing|coverage)\.md)")
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md", *(ROOT / "docs").rglob("*.md")]
    if not MADE.fullmatch(path.relative_to(ROOT).as_posix())
)
FROM_THE_SITE_ALONE = {"docs/index.md"}


def anchors(text):
    """What `#...` may lead to in a document: its headings, in the letters that GitHub makes of them."""
    headings = re.findall(r"^#+ (.*)", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead(document, text):
    """The links of a document that lead nowhere."""
    path = ROOT / document
    for target, anchor in checkout.links(text):
        to = (path.parent / target).resolve() if target else path
        if MADE.fullmatch(to.relative_to(ROOT).as_posix()):
            if document not in FROM_THE_SITE_ALONE:
                yield target
            continue
        known = (
            anchors(text if to == path else to.read_text(encoding="utf-8"))
            if to.suffix == ".md" and to.exists()
            else ()
        )
        if not to.exists() or (anchor and anchor[1:] not in known):
            yield target + anchor


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document):
    assert list(dead(document, (ROOT / document).read_text(encoding="utf-8"))) == []


def test_dead_links_are_seen():
    text = (
        "# A b\n`x[3](none.md)` [1](tour.md) [2](#a-b) [3](http://x.y)\n```python\nx[4](no.md)\n```\n"
        "[5](none.md) [6](tour.md#no) [7](#no)"
    )
    assert list(dead("docs/index.md", text)) == ["none.md", "tour.md#no", "#no"]
    assert list(dead("docs/tape.md", "[made when the site is](ops/index.md)")) == ["ops/index.md"]


def test_links_to_the_checkout_become_pages():
    text = (
        "[a `b`](../tinyconv/ops/conv.py) [c](tape.md#x) ![d](../x.png) [e](../README.md#y) [f](http://z)\n"
        "```\n[g](../h)\n```"
    )
    assert checkout.outside(text, ROOT / "docs") == (
        "[a `b`](checkout:tinyconv/ops/conv.py) [c](tape.md#x) ![d](../x.png) [e](checkout:README.md#y) [f](http://z)\n"
        "```\n[g](../h)\n```"
    )
    assert checkout.address("tinyconv/ops/conv.py") == "_source/tinyconv/ops/conv.py.html"
    assert checkout.address("benchmarks/README.md") == "benchmarks.html"
    assert checkout.address("benchmarks/records/ops.json") == "_source/benchmarks/records/ops.json"


# --- public names ---------------------------------------------------------------------------------------------------


def entries():
    """The public names that the reference has an entry for, with the page of each, as often as it has one."""
    for room in names.ROOMS:
        for full in re.findall(
            r"^\.\. (?:autofunction|autoclass|py:data):: (\S+)", generated.room_page(room), re.MULTILINE
        ):
            yield full, room


def test_every_public_name_is_on_exactly_one_page():
    found = list(entries())
    assert len(found) == len({full for full, _ in found}) > 700
    values = [id(names.homes()[full]) for full, _ in found if names.described(names.homes()[full])]
    documented = set(values)
    assert len(values) == len(documented)
    for room, module in names.ROOMS.items():
        for name, value in names.exported(module).items():
            if not names.described(value):
                assert (f"{room}.{name}", room) in found
            elif isinstance(value, type(tc)):
                assert f"* ``{name}``: " in generated.room_page(room)
            else:
                assert id(value) in documented, f"{room}.{name}"


def test_methods_are_with_the_class_that_writes_them():
    page = generated.room_page("tinyconv.nn")
    (sequential,) = re.findall(r"autoclass:: tinyconv.nn.Sequential\n   :members: (.*)", page)
    assert "append" in sequential
    assert "forward" not in sequential
    (module,) = re.findall(r"autoclass:: tinyconv.nn.Module\n   :members: (.*)", page)
    assert {"forward", "parameters", "state_dict"} <= set(module.split(", "))


# --- docstrings -----------------------------------------------------------------------------------------------------


def test_docstrings_become_restructuredtext():
    doc = """Sum of `x` over `dim`, see `relu`; a*b_ and |c|.

        F.relu(x)  # an example

    Args:
        x, y: Both,
            on two lines.
        z: The third.

    * one `a`s
    * two
    """
    import inspect

    assert rest(inspect.cleandoc(doc), "tinyconv.functional.sum") == [
        r"Sum of ``x`` over ``dim``, see :py:obj:`relu <tinyconv.functional.relu>`; a\*b\_ and \|c\|.",
        "",
        *[".. code-block:: python", "", "   F.relu(x)  # an example", ""],
        "* ``x``, ``y``: Both, on two lines.",
        "* ``z``: The third.",
        "",
        r"* one ``a``\ s",
        "* two",
        "",
    ]
    assert rest("    y = 3 x!\n\n    z") == [".. code-block:: text", "", "   y = 3 x!", "", "   z", ""]
    assert rest("1. No list") == [r"\1. No list", ""]


def test_names_in_docstrings_are_found():
    assert names.found("conv2d", "tinyconv.functional.conv1d") == "tinyconv.functional.conv2d"
    assert (
        names.found("F.conv2d")
        == names.found("torch.conv2d".replace("torch", "functional"))
        == "tinyconv.functional.conv2d"
    )
    assert names.found("nn.Linear", "tinyconv.functional.linear") == "tinyconv.nn.Linear"
    assert names.found("tc.grad") == names.found("grad", "tinyconv.Tensor") == "tinyconv.grad"
    assert names.found("conv2d", "tinyconv.functional.conv2d") is None  # itself
    assert names.found("no_such") is names.found("x + y") is names.found("") is None
    assert inline("`x`") == "``x``"


# --- ops ------------------------------------------------------------------------------------------------------------


def test_every_op_has_a_page_and_every_function_is_on_one():
    made = generated.pages()
    for name, op in generated.classes().items():
        page = made[f"ops/{name}.md"]
        assert f"\n# {name}\n\n```text\n{generated.formula(op).split(';  ')[0][:60]}" in page
        assert re.search(r"forward = |def forward\(", page).start() < page.index("## Arguments")
        assert "backward = " in page or "def backward(" in page
    for name in public_ops():
        assert sum(f"## `{name}` beside PyTorch" in page for page in made.values()) == 1
        assert f"[`{name}`]" in made["functions/index.md"]
    conv = made["ops/Conv2d.md"]
    assert "y = weight (F, K) @ cols (K, P) + bias" in conv
    assert "[`im2col`](../../tinyconv/ops/conv.py#L-" in conv
    assert "Arrays: `x`, `weight`, `bias`. Geometry and options: `stride`, `padding`, `dilation`, `groups`." in conv
    assert "{py:obj}`conv2d <tinyconv.functional.conv2d>`" in conv
    assert "| depthwise | float32 float64 | " in conv
    assert "* a convolution of no channels is its bias; in PyTorch it has no channels either" in conv
    assert "[`Matmul`](../ops/Matmul.md)" in made["functions/addbmm.md"]


# --- the whole ------------------------------------------------------------------------------------------------------


def dead_in(site):
    """The links between pages of a built site that lead nowhere."""
    places = {}
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for href in re.findall(r'<a [^>]*href="([^":]+)"', text) if page.name != "step.html" else ():
            path, _, anchor = href.partition("#")
            to = (page.parent / unquote(path)).resolve() if path else page
            if to.suffix == ".html" and to.exists() and to not in places:
                places[to] = set(re.findall(r'(?:id|name)="([^"]+)"', to.read_text(encoding="utf-8")))
            if not to.exists() or (anchor and unquote(anchor) not in places.get(to, anchor)):
                yield page.name, href


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-d", tmp_path / "trees"]
    done = subprocess.run([*command, ROOT / "docs", tmp_path / "site"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "site"
    assert list(dead_in(site)) == []
    index, op, room = (
        (site / f"{page}.html").read_text(encoding="utf-8")
        for page in ("index", "ops/Conv2d", "api/tinyconv.functional")
    )
    assert index.index("<img") < index.index("What.") < index.index("Why.") < index.index("How.") < index.index("See.")
    assert '<a class="reference internal" href="../_source/tinyconv/ops/conv.py.html#L-' in op
    assert 'id="tinyconv.functional.conv2d"' in room
    assert "cross_entropy" in room
    assert 'src="step.html"' in (site / "tape.html").read_text(encoding="utf-8")
    assert (site / "step.html").read_bytes() == (ROOT / "docs" / "step.html").read_bytes()
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|iframe)[^>]*src=\"https?:|<link[^>]*href=\"https?:", text), page
