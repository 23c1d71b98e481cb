"""The site. `make docs` builds it into build/docs; nothing is fetched, and every warning is an error.

What is not written by hand is made by `_ext/generated.py` when a build begins: a page for each op, the reference, and
copies of the documents that lie elsewhere in the checkout.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "docs" / "_ext")]

import tinyconv  # noqa: E402

project, author = "tinyconv", "The tinyconv authors"
version = release = tinyconv.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.linkcode",
    "checkout",
    "docstrings",
    "generated",
    "notebooks",
]
exclude_patterns = ["_ext", "_build"]
myst_heading_anchors = 4
myst_url_schemes = {"http": None, "https": None, "mailto": None, "checkout": None}
highlight_language = "text"

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # the docstrings say types, shapes and dtypes
add_module_names = False
default_role = "code"
maximum_signature_line_length = 100
toc_object_entries = False  # the margin of every page would be made out of all public names: half of the time

html_theme = "furo"
html_title = f"tinyconv {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["step.html"]
html_show_sourcelink = html_copy_source = False
html_show_copyright = html_show_sphinx = False
