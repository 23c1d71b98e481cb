"""The pages that nobody writes: for each op, for each room of the reference, and copies of documents from elsewhere.

They are made when a build begins, into the folders that .gitignore names, and only written where they changed.
"""

import ast
import inspect
import os
import re
import sys
import textwrap
from collections import Counter
from functools import cache
from pathlib import Path
from types import ModuleType

import coverage
import names
from checkout import DOCUMENTS, LINK, ROOT
from docstrings import blocks, rest

import tinyconv as tc
from tinyconv import ops
from tinyconv.check.draw import RandomDraw
from tinyconv.engine.variants import op_name
from tinyconv.testing.case import SPACES, draw_case, find
from tinyconv.testing.decisions import DECISIONS
from tinyconv.testing.table import public_ops

DOCS = ROOT / "docs"
DRAWS = 8  # cases of each function that are run to see which ops it is made of
PLUMBING = {"Cast", "Copy", "Expand", "Permute", "Reshape"}  # what a function does beside its op


# Hundreds of pages in the margin of each would make the site large and the build slow: the two lists lead to them.
UNLISTED = "---\norphan: true\n---"


# --- copies -----------------------------------------------------------------------------------------------------------


def copied(path):
    """A document from elsewhere, with its links as from docs."""
    folder = (ROOT / path).parent

    def moved(link):
        opening, target, anchor = link.groups()
        return f"{opening}{os.path.relpath(folder / target, DOCS)}{anchor or ''})" if target else link[0]

    return LINK.sub(moved, (ROOT / path).read_text(encoding="utf-8"))


# --- ops --------------------------------------------------------------------------------------------------------------


@cache
def classes():
    """The ops by name, in the order of their files and places there."""
    found = [getattr(ops, name) for name in ops.__all__]
    return {op.__name__: op for op in sorted(found, key=lambda op: (op.__module__, names.place_of(op)[1]))}


@cache
def made_of():
    """For each function with an argument space, the ops that ran in some cases of it, the most frequent first."""
    return {name: _ops_of(name) for name in public_ops()}


def _ops_of(name):
    found = Counter()
    for seed in range(DRAWS):
        case = draw_case(name, RandomDraw(seed))
        inputs = [tc.tensor(array) for array in case.inputs]
        for i, x in enumerate(inputs):
            if case.differentiable and x.is_floating_point() and (case.needs is None or i in case.needs):
                x.requires_grad_()
        with tc.using("readable"):
            y = case.function()(*inputs)
        outputs = y if isinstance(y, tuple | list) else [y]
        nodes, seen = [t.grad_fn for t in outputs if isinstance(t, tc.Tensor) and t.grad_fn], set()
        ran = set()
        while nodes:
            node = nodes.pop()
            if node not in seen:
                seen.add(node)
                ran |= {node.op.__name__} if hasattr(node, "op") else set()
                nodes += [parent for parent in node.parents if parent is not None]
        found.update(ran)
    return [op for op, _ in found.most_common() if op in classes()]


def home(name):
    """The op whose page has what was found about a function: the one that it is, beside plumbing; or None."""
    ran = made_of()[name]
    at_heart = [op for op in ran if op not in PLUMBING] or ran
    return at_heart[0] if len(at_heart) == 1 else None


def function_of(name):
    """The function that users call by this name, and its full name; (None, None) where there is none."""
    for scope in ("", "functional.", "nn.", "Tensor."):
        try:
            value = find(tc, scope + name)
        except AttributeError:
            continue
        return value, f"tinyconv.{scope}{name}"
    return None, None


def of_reference(name, full):
    """A name as a link into the reference, where that has it."""
    method = full is not None and full.removeprefix("tinyconv.Tensor.") in dict(names.members(tc.Tensor))
    target = names.full_names().get(full) or (full if method else None)
    return f"{{py:obj}}`{name} <{target}>`" if target else f"`{name}`"


def explained(op):
    """The docstring of an op: its formulas as they are, a line each, and the rest as paragraphs."""
    for i, (indented, block) in enumerate(blocks(inspect.getdoc(op) or "")):
        if indented:
            yield text_block(textwrap.dedent(block))
        elif i == 0:
            lines = " ".join(block.split("\n")).split(";  ")
            yield text_block("\n".join(part for line in lines for part in textwrap.wrap(line, 90)))
        else:
            yield escaped(" ".join(block.split()))


def text_block(text):
    return f"```text\n{text.strip()}\n```"


def without_docstring(source, node):
    """The lines of a class or function without its docstring."""
    lines = source.splitlines()
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
        end = first.end_lineno
        while end < len(lines) and not lines[end].strip():
            end += 1
        lines[first.lineno - 1 : end] = []
    return "\n".join(lines)


def link_to(path, line, text):
    return f"[{text}](../../{path.relative_to(ROOT).as_posix()}#L-{line})"


def helpers(op, source):
    """The functions of the book that an op calls, each with where it is."""
    module = inspect.getmodule(op)
    called = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    for name in sorted(called):
        value = getattr(module, name, None)
        if inspect.isfunction(value) and value.__module__.startswith("tinyconv."):
            summary = (inspect.getdoc(value) or "").splitlines()
            yield f"* {link_to(*names.place_of(value), f'`{name}`')}{f': {escaped(summary[0])}' if summary else ''}"


def escaped(text):
    """Plain text of a docstring in Markdown."""
    return "".join(
        f"`{part}`" if i % 2 else re.sub(r"([\\*_<>\[\]|])", r"\\\1", part) for i, part in enumerate(text.split("`"))
    )


def arguments(op):
    """The arrays and the geometry of an op, as its forward takes them."""
    parameters = [*inspect.signature(op.forward).parameters.values()][1:]
    arrays = [f"`{p}`" for p in parameters if p.kind != p.KEYWORD_ONLY]
    options = [f"`{p}`" for p in parameters if p.kind == p.KEYWORD_ONLY]
    return f"Arrays: {', '.join(arrays)}. Geometry and options: {', '.join(options) or 'none'}."


@cache
def found_by_oracle():
    return coverage.record(coverage.RECORD)


def verdict(name, level):
    """What the oracle tried of a function and found, and where PyTorch differs."""
    record = found_by_oracle()
    head = f"{'#' * level} {{}}"
    parts = []
    if name in {row["name"] for row in record["rows"] if row["group"] == "ops"}:
        every = coverage.by_name(record["rows"], "ops")[name][0]
        ours = "the same bits" if not every["errors"].get("values") else "the same but for rounding"
        parts += [
            f"{every['examples']:,} random examples, PyTorch {record['versions']['torch']}, {record['date']}: {ours}. "
            "[Coverage](../coverage.md) says what the columns mean.",
            coverage.details(record, [name]).partition("\n\n")[2],
        ]
    else:
        parts.append("The last deep run was before this function; every run of the tests compares it.")
    if name in DECISIONS:
        parts += ["Where we differ from PyTorch on purpose:", "\n".join(f"* {why}" for why in DECISIONS[name])]
    return "\n\n".join([head.format(f"`{name}` beside PyTorch"), *parts])


def op_page(op):
    """The page of one op."""
    path, line = names.place_of(op)
    source = inspect.getsource(op)
    functions = [name for name, ran in made_of().items() if op.__name__ in ran]
    own = [name for name in functions if home(name) == op.__name__]
    others = [name for name in functions if name not in own]
    parts = [
        UNLISTED,
        f"# {op.__name__}",
        *explained(op),
        "## Forward, and backward right under it",
        f"{link_to(path, line, f'`{path.relative_to(ROOT).as_posix()}`, line {line}')}. For `tc.using` and in messages "
        f"it is `{op_name(op)}`.",
        f"```python\n{without_docstring(source, ast.parse(source).body[0])}\n```",
    ]
    bases = [base for base in op.__mro__[1:] if base.__module__.startswith("tinyconv.")]
    for base in bases:
        at, base_line = names.place_of(base)
        parts.append(f"What is not here is in `{base.__name__}`, {link_to(at, base_line, f'line {base_line}')}:")
        parts.append(f"```python\n{inspect.getsource(base).rstrip()}\n```")
    used = list(helpers(op, source))
    parts += ["It calls:", "\n".join(used)] if used else []
    parts += ["## Arguments", arguments(op)]
    if getattr(op, "parts", None):
        parts.append("Captured steps run it in the place of the ops that it stands for; eager code does not.")
    if own:
        links = [of_reference(name, function_of(name)[1]) for name in own]
        parts.append(f"Functions that are this op, and say what each argument means: {', '.join(links)}.")
    if others:
        parts.append(f"Functions that use it: {', '.join(f'{page_of(name)}' for name in others)}.")
    parts += [verdict(name, 2) for name in own]
    return "\n\n".join(parts) + "\n"


def page_of(name):
    """A function as a link to the page that has what was found about it; from a page of ops or of functions."""
    at = home(name)
    return f"[`{name}`](../ops/{at}.md)" if at else f"[`{name}`](../functions/{name}.md)"


def function_page(name):
    """The page of a function that is no single op."""
    value, full = function_of(name)
    ran = made_of()[name]
    parts = [UNLISTED, f"# {name}"]
    if value is not None:
        doc = (inspect.getdoc(value) or "").partition("\n\n")[0]
        parts.append(escaped(" ".join(doc.split())))
        parts.append(f"Its arguments are in the reference: {of_reference(name, full)}.")
        unwrapped = inspect.unwrap(value)
        if inspect.isfunction(unwrapped):
            path, line = names.place_of(unwrapped)
            parts += [
                "## Source",
                f"{link_to(path, line, f'`{path.relative_to(ROOT).as_posix()}`, line {line}')}.",
                f"```python\n{bare(unwrapped)}\n```",
            ]
    if ran:
        parts += ["## Ops", f"It ran these, whose backward passes make its gradient: {', '.join(map(op_link, ran))}."]
    else:
        parts += ["## Ops", "It runs none: nothing of it has a gradient, and the tape does not know of it."]
    parts.append(verdict(name, 2))
    return "\n\n".join(parts) + "\n"


def bare(function):
    """The source of a function without its docstring."""
    source = textwrap.dedent(inspect.getsource(function))
    return without_docstring(source, ast.parse(source).body[0]).rstrip()


def op_link(op):
    return f"[`{op}`](../ops/{op}.md)"


def formula(op):
    """The first line of the docstring of an op."""
    return (inspect.getdoc(op) or "").splitlines()[0]


def ops_index():
    """The list of ops by file, then that of functions that are made of several."""
    parts = [
        "# Ops",
        f"The {len(classes())} ops, by file: everything that is differentiated is made of these. Each page has the "
        "formula, forward and backward as they stand in the source, the arguments, what PyTorch answered to random "
        "questions, and where we differ on purpose. [Functions](../functions/index.md) lists what is made of them.",
    ]
    for file in dict.fromkeys(op.__module__ for op in classes().values()):
        path = Path(*file.split(".")).with_suffix(".py")
        rows = [op for op in classes().values() if op.__module__ == file]
        lines = "\n".join(f"| [{op.__name__}]({op.__name__}.md) | {escaped(formula(op))} |" for op in rows)
        parts += [
            f"## {path.stem}",
            f"[`{path.as_posix()}`](../../{path.as_posix()})",
            f"| op | |\n| :-- | :-- |\n{lines}",
        ]
    return "\n\n".join(parts) + "\n"


def functions_index():
    rows = []
    for name in public_ops():
        ran = ", ".join(f"[{op}](../ops/{op}.md)" for op in made_of()[name]) or "none"
        rows.append(f"| {page_of(name)} | {ran} |")
    table = "\n".join(["| function | ops that it runs |", "| :-- | :-- |", *rows])
    return (
        f"# Functions\n\nThe {len(rows)} functions that PyTorch is asked about, and the [ops](../ops/index.md) that "
        f"ran in {DRAWS} random calls of each. A function that is one op has its page there.\n\n{table}\n"
    )


# --- the reference ----------------------------------------------------------------------------------------------------


def heading(text, sign):
    return [text, sign * len(text), ""]


def entry(full, value):
    """A directive for autodoc, or for what no docstring is ours."""
    if not names.described(value) or value in names.FOREIGN:
        return [f".. py:data:: {full}", "", f"   ``{value!r}``", ""]
    if isinstance(value, type):
        listed = [name for name, base in names.members(value) if shown_member(value, name, base)]
        options = [f"   :members: {', '.join(dict.fromkeys(listed))}"] if listed else []
        return [f".. autoclass:: {full}", *options, ""]
    return [f".. autofunction:: {full}", ""]


def shown_member(cls, name, base):
    """A member is shown with the class that writes it, and with heirs of a class that has no entry of its own."""
    if issubclass(cls, tc.nn.Module) and cls is not tc.nn.Module and name == "forward":
        return False
    return base is cls or base not in names.homes().values()


def room_page(room):
    """The reference of one room, by the file in which names are defined."""
    module = names.ROOMS[room]
    lines = heading(room, "=")
    lines += rest(inspect.getdoc(module) or "", room)
    own = {full: value for full, value in names.homes().items() if full.rpartition(".")[0] == room}
    files = {}
    for full, value in own.items():
        file = getattr(inspect.unwrap(value), "__module__", "") if names.described(value) else ""
        files.setdefault(file if str(file).startswith("tinyconv") else "", []).append((full, value))
    for file in sorted(files):
        if len(files) > 1:
            lines += heading(file.rpartition(".")[2] if file else "constants", "-")
            lines += [file_summary(file, room), ""]
        for full, value in sorted(files[file]):
            lines += entry(full, value)
    elsewhere = []
    for name, value in sorted(names.exported(module).items()):
        full = f"{room}.{name}"
        if isinstance(value, ModuleType):
            title = value.__name__
            elsewhere.append(f"* ``{name}``: :doc:`{title}`" if title in names.ROOMS else module_line(name, value))
        elif full not in own and full in names.full_names():
            elsewhere.append(
                f"* ``{name}`` is :py:obj:`{names.full_names()[full].removeprefix('tinyconv.')} "
                f"<{names.full_names()[full]}>`"
            )
    if elsewhere:
        lines += [*heading("Also here", "-"), *elsewhere, ""]
    return "\n".join(lines)


def module_line(name, module):
    """A module without a page: what its docstring says first."""
    doc = rest((inspect.getdoc(module) or "").partition("\n\n")[0])
    return f"* ``{name}``: {doc[0] if doc else ''}"


def file_summary(file, room):
    """The first paragraph of a file's docstring."""
    doc = inspect.getdoc(sys.modules[file]) if file in sys.modules else None
    return "\n".join(rest((doc or "").partition("\n\n")[0], room)) if file and file != room else ""


def reference_index():
    lines = heading("Reference", "=")
    lines += [
        "Every public name, each on one page. Names and arguments are PyTorch's where the meaning is the same.",
        "",
    ]
    for room, module in names.ROOMS.items():
        doc = rest((inspect.getdoc(module) or "").partition("\n\n")[0], room)
        lines.append(f"* :doc:`{room}`: {doc[0]}")
    lines += ["", ".. toctree::", "   :hidden:", "", *(f"   {room}" for room in names.ROOMS), ""]
    return "\n".join(lines)


# --- all of them ------------------------------------------------------------------------------------------------------


def pages():
    """The text of every page that is made, by its path in docs."""
    made = {f"{page}.md": copied(path) for path, page in DOCUMENTS.items() if page != "index"}
    made["coverage.md"] = coverage.page(found_by_oracle(), coverage.record(coverage.JUDGES))
    made["ops/index.md"], made["functions/index.md"] = ops_index(), functions_index()
    made |= {f"ops/{name}.md": op_page(op) for name, op in classes().items()}
    made |= {f"functions/{name}.md": function_page(name) for name in public_ops() if home(name) is None}
    made["api/index.rst"] = reference_index()
    made |= {f"api/{room}.rst": room_page(room) for room in names.ROOMS}
    return made


def write(app=None):
    """Write what changed, and remove what is no page any more."""
    made = pages()
    for folder in ("ops", "functions", "api"):
        for old in (DOCS / folder).glob("*"):
            if f"{folder}/{old.name}" not in made:
                old.unlink()
    for name, text in made.items():
        path = DOCS / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app):
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


assert SPACES  # importing the table has filled it
