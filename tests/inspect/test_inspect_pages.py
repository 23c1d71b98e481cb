"""What the pages on looking, mistakes and profiles show as printed is what is printed."""

import os

import printed
import pytest


@pytest.mark.skipif(os.environ.get("TINYCONV_FAST", "1") != "1", reason="the pages show what runs by default")
@pytest.mark.parametrize("name", printed.PAGES)
def test_a_page_shows_what_is_printed(name):
    page = (printed.DOCS / name).read_text(encoding="utf-8")
    shown = [block for _, block in printed.blocks(page) if block is not None]
    assert len(shown) == page.count("```text\n") > 0
    stale = [text for _, text in printed.stale(page)]
    assert not stale, f"docs/{name} is stale: run python tests/inspect/printed.py, which writes\n\n" + "\n".join(stale)


PAGE = """
```python
print("a  1.23\\n" + "word " * 40)
```

```text
{}```
"""
LINES = "a  {}\n" + "word " * 23 + "word\n" + "word " * 15 + "word\n"


@pytest.mark.parametrize("number", ["1.23", "1.24"])
def test_the_same_numbers_to_rounding_are_not_stale(number):
    page = PAGE.format(LINES.format(number))
    assert not list(printed.stale(page))
    assert printed.filled(page) == page


@pytest.mark.parametrize("written", [LINES.format("1.33"), LINES.format("1.23").replace("a", "b"), "", "a  1.23\n"])
def test_what_is_stale_is_written_anew(written):
    assert printed.filled(PAGE.format(written)) == PAGE.format(LINES.format("1.23"))


TABLE = """op               calls  forward  share  MB
linear (tiled)       5    1.106    0.185    12%     11.1   0.52  tinyconv/ops/linear.py:75
Adam.step            5    1.718    0.000    88%        -      -

2.82 ms measured in 75 events; 4.66 ms of 32.15 outside of them
"""


def test_of_a_profile_the_times_may_be_others():
    lines = TABLE.splitlines(keepends=True)
    slower = "".join([lines[0], *lines[2:0:-1], *lines[3:]]).replace("1.106", "901.106").replace("12%", "100%")
    assert printed.same(TABLE, slower.replace("2.82 ms", "902.82 ms"))
    for old, new in (("tiled", "loop"), ("0.52", "0.62"), (":75", ":76"), ("75 events", "76 events"), ("Adam", "SGD")):
        assert not printed.same(TABLE, TABLE.replace(old, new))
