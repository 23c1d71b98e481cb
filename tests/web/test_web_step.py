"""The jobs of the Step page: what is recorded, and the sums behind its numbers."""

import numpy as np
import pytest

from tinyconv.web.jobs import JobError
from tinyconv.web.pages.step import coloured, step_record
from tinyconv.web.studio import Studio
from tinyconv.web.subject import of_name


@pytest.fixture(scope="module")
def studio():
    studio = Studio(of_name("lenet5", "synthetic"))
    yield studio
    studio.close()


def test_a_recording_holds_each_source_once_and_says_which_lines_ran(studio):
    result = step_record(studio, 3)
    frames, sources = result["recording"]["frames"], result["sources"]
    assert len({(s["file"], s["line"]) for s in sources}) == len(sources)
    for frame in frames:
        source = sources[frame["source"]["text"]]
        text = ["".join(part for _, part in line) for line in source["lines"]]
        assert text[[t.startswith("def ") for t in text].index(True)].startswith(f"def {frame['direction']}")
        assert frame["source"]["ran"]
        assert all(source["line"] <= line < source["line"] + len(text) for line in frame["source"]["ran"])
        assert frame["pair"] == "readable"
    assert {frame["usual"] for frame in frames if frame["op"] == "conv2d"} == {"tiled"}
    loops = sources[result["loops"]["conv2d"]["backward"]]
    assert loops["file"] == "tinyconv/ops/loops.py"
    assert "".join(part for _, part in loops["lines"][1]).startswith("def backward")


def test_an_image_is_found_by_number_and_by_class(studio):
    labels = studio.subject.images.labels
    first = int(np.flatnonzero(labels == 4)[0])
    assert step_record(studio, 0, among=4)["image"] == first
    assert step_record(studio, first + 1, among=4)["image"] == int(np.flatnonzero(labels == 4)[1])
    assert step_record(studio, len(labels), among=4)["image"] == first  # from the end on to the beginning
    assert step_record(studio, first)["target"] == step_record(studio, first)["label"] == 4
    assert step_record(studio, first, target=9)["target"] == 9


@pytest.mark.parametrize("arguments", [{"image": 2000}, {"image": -1}, {"target": 10}, {"among": -1}, {"drawn": True}])
def test_what_cannot_be_recorded_is_refused(studio, arguments):
    studio.state.clear()
    with pytest.raises(JobError):
        step_record(studio, **arguments)


def test_a_drawing_walks_back_from_the_class_that_the_model_sees(studio):
    studio.state["drawn"] = np.full((1, 1, 28, 28), 200, np.uint8)
    result = step_record(studio, drawn=True)
    assert result["target"] == result["probabilities"].argmax()
    assert (result["image"], result["label"]) == (None, None)
    assert (result["pixels"] == 200).all()


def test_code_is_coloured_without_losing_a_sign():
    text = 'def f(x):\n    """Doc."""\n\n    return x + 1  # one\n'
    lines = coloured(text)
    assert "\n".join("".join(part for _, part in line) for line in lines) == text.rstrip("\n")
    assert lines[0][:3] == [["k", "def"], ["", " "], ["f", "f"]]
    assert lines[3][-1] == ["c", "# one"]
