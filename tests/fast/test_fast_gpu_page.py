"""docs/gpu.md tells the truth: its snippets run on a GPU, or on the stand-in for one."""

import re
from pathlib import Path

import pytest

pytest.importorskip("tinyconv.fast", reason="the fast pairs were deleted, and nothing else needs them")

from tinyconv.fast import cuda

PAGE = Path(__file__).parents[2] / "docs" / "gpu.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.usefixtures("cuda")
def test_the_snippets_run():
    """In order, in one namespace, as a reader would type them; asserts say what comes out."""
    namespace = {}
    for snippet in SNIPPETS:
        exec(compile(snippet, f"docs/gpu.md: {snippet.splitlines()[0]}", "exec"), namespace)
    assert namespace["x"].device == "cuda:0"
    assert namespace["losses"][-1] < namespace["losses"][0]


def test_the_table_names_every_source():
    named = set(re.findall(r"^\| `(\w+\.cuh?)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert named == {path.name for path in Path(cuda.__file__).parent.glob("*.cu*")}
