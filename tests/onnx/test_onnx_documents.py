"""docs/onnx.md: its snippets run, and its list of operators is the table's."""

import re

import pytest
from test_package import ROOT, snippets

pytest.importorskip("onnx", reason="ONNX files need onnx")

from tinyconv.onnx.nodes import NODES

PAGE = "docs/onnx.md"


def test_the_snippets_of_the_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for snippet in snippets(PAGE):
        exec(compile(snippet, f"{PAGE}: {snippet.splitlines()[0]}", "exec"), namespace)
    assert [path.name for path in tmp_path.iterdir()] == ["lenet5.onnx"]


def test_the_page_lists_the_operators_that_are_loaded():
    (listed,) = re.findall(r"own\ncases:\n\n(.*?)\.\n\n", (ROOT / PAGE).read_text(encoding="utf-8"), re.DOTALL)
    assert re.findall(r"`(\w+)`", listed) == sorted(NODES)
