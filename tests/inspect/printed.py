"""What the snippets of four pages print. `python tests/inspect/printed.py` writes it into the pages anew.

A block of text after a snippet is what the snippet prints in a terminal of 80 columns; lines are broken at 120.
"""

import io
import linecache
import os
import re
import textwrap
from contextlib import redirect_stdout
from math import isclose
from pathlib import Path
from unittest import mock

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = ("fast.md", "looking.md", "mistakes.md", "profile.md")
COLUMNS, WIDTH = 80, 120

FENCED = re.compile(r"^```(\w*)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)


def blocks(page):
    """Each snippet, and the block of text after it if there is one: (source, match of the block or None)."""
    found = []
    before = None
    for block in FENCED.finditer(page):
        if block[1] == "python":
            found.append((block[2], None))
        elif block[1] == "text" and before == "python":
            found[-1] = found[-1][0], block
        before = block[1]
    return found


def printed(page):
    """What each snippet of the page prints: they run in order, as parts of one program called train.py."""
    namespace = {}
    for source, _ in blocks(page):
        linecache.cache["train.py"] = len(source), None, source.splitlines(keepends=True), "train.py"
        out = io.StringIO()
        with redirect_stdout(out), mock.patch.dict(os.environ, COLUMNS=str(COLUMNS)):
            exec(compile(source, "train.py", "exec"), namespace)
        lines = (textwrap.wrap(line, WIDTH) if len(line) > WIDTH else [line] for line in out.getvalue().splitlines())
        yield "".join(f"{part}\n" for line in lines for part in line)


def stale(page):
    """The blocks that their snippets no longer print, with what is printed now, from the first to the last."""
    for (_, block), text in zip(blocks(page), printed(page), strict=True):
        if block is not None and not same(block[2], text):
            yield block, text


def filled(page):
    """The page with every stale block as it is printed now."""
    for block, text in reversed(list(stale(page))):
        page = page[: block.start(2)] + text + page[block.end(2) :]
    return page


NUMBER = re.compile(r"(?<![\w.])\d+\.\d+(?:e-\d+)?(?![\w.])")
TIMED = re.compile(r"^(\S.*?  +\d+)  +[\d.]+  +[\d.]+  +\d+%  +[\d.-]+(  .*)$")
MEASURED = re.compile(r"^[\d.]+ ms measured in (\d+ events); [\d.]+ ms of [\d.]+ outside of them$")
MEMORY = re.compile(r"^  memory: [\d.]+ MB in \d+ blocks?, .*$")  # it depends on the threads


def same(written, text):
    """Whether these are the same but for times, memory, and what rounding does to the third digit of a number."""
    (words, numbers), (other_words, other_numbers) = _parts(written), _parts(text)
    close = (isclose(a, b, rel_tol=0.02) for a, b in zip(numbers, other_numbers, strict=False))
    return words == other_words and all(close)


def _parts(text):
    """The text without times, which also order the rows of a table, and its numbers with a point, apart."""
    lines = [MEMORY.sub("memory", MEASURED.sub(r"\1", line)) for line in text.splitlines()]
    timed = iter(sorted(TIMED.sub(r"\1\2", line) for line in lines if TIMED.match(line)))
    lines = [next(timed) if TIMED.match(line) else line for line in lines]
    words = NUMBER.sub("0.0", "\n".join(re.sub(" +", " ", line) for line in lines))
    return words, [float(number) for number in NUMBER.findall("\n".join(lines))]


if __name__ == "__main__":
    for name in PAGES:
        path = DOCS / name
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
