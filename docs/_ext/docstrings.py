"""Docstrings for Sphinx: the plain text that `help` shows becomes reStructuredText, with links to public names.

Three forms are known, those that tests/test_docstrings.py asks for: paragraphs with `code` in them, indented lines
(an example, or a formula), and `Args:` with an entry for one or several names.
"""

import ast
import re
import textwrap

import names
from checkout import ROOT

CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
ITEM = re.compile(r"[*-] ")
AMBIGUOUS = re.compile(
    r"(?:\w{1,5}[.)]|\(\w+\)|[-+*•|]|\.\.|:\w+:|>>>)(?= |$)"
)  # a list, or worse, to reStructuredText


def inline(text, scope=""):
    """A paragraph on one line. `scope` is the name of what it describes, where short names are looked up first."""
    out = ""
    for i, part in enumerate(CODE.split(" ".join(text.split()))):
        if i % 2:
            joined = "\\ " if out and out[-1].isalnum() else ""
            target = names.found(part, scope)
            out += joined + (f":py:obj:`{part} <{target}>`" if target else f"``{part}``") + "\0"
        else:
            out += re.sub(r"([\\*|_`])", r"\\\1", part)
    return re.sub(r"\0(?=\w)", r"\\ ", out).replace("\0", "")


def blocks(doc):
    """The paragraphs of a docstring, and whether each is indented; indented ones that follow each other are one."""
    found = []
    for block in re.split(r"\n\s*\n", doc.strip("\n")):
        indented = block.startswith("    ")
        if indented and found and found[-1][0]:
            found[-1] = (True, f"{found[-1][1]}\n\n{block}")
        else:
            found.append((indented, block))
    return found


def items(block):
    """The items of a list, or the entries below `Args:`, each on one line."""
    lines = textwrap.dedent(block).splitlines()
    found = []
    for line in lines:
        if line.startswith(" ") and found:
            found[-1] += " " + line.strip()
        else:
            found.append(line)
    return found


def literal(block):
    """Indented lines: Python where they are that, else text."""
    code = textwrap.dedent(block)
    try:
        ast.parse(code)
        language = "python"
    except SyntaxError:
        language = "text"
    return [f".. code-block:: {language}", "", *textwrap.indent(code, "   ").splitlines(), ""]


def rest(doc, scope=""):
    """A docstring as lines of reStructuredText."""
    lines = []
    for indented, block in blocks(doc):
        if indented:
            lines += literal(block)
        elif block.startswith("Args:\n"):
            for entry in items(block.removeprefix("Args:\n")):
                given, _, text = entry.partition(": ")
                titles = ", ".join(f"``{name}``" for name in given.split(", "))
                lines.append(f"* {titles}: {inline(text, scope)}")
            lines.append("")
        elif ITEM.match(block):
            lines += [*(f"* {inline(ITEM.sub('', item), scope)}" for item in items(block)), ""]
        else:
            head, *tail = re.split(r"\n(?=[*-] )", block, maxsplit=1)  # a list right under its sentence
            text = inline(head, scope)
            lines += [f"\\{text}" if AMBIGUOUS.match(text) else text, ""]
            for rest_of_it in tail:
                lines += [*(f"* {inline(ITEM.sub('', item), scope)}" for item in items(rest_of_it)), ""]
    return lines


def process(app, what, name, obj, options, lines):
    lines[:] = rest("\n".join(lines), name)


def linkcode_resolve(domain, info):
    """Where the source of a name is to be read, as `checkout` knows it."""
    place = names.place(f"{info['module']}.{info['fullname']}" if info["module"] else info["fullname"])
    if place is None:
        return None
    path, line = place
    return f"checkout:{path.relative_to(ROOT).as_posix()}#L-{line}"


def setup(app):
    app.connect("autodoc-process-docstring", process)
    # Not sooner: a function among the options that were pickled looks like a change, and all would be read again.
    app.connect("builder-inited", lambda app: setattr(app.config, "linkcode_resolve", linkcode_resolve))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
