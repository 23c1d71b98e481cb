"""The jobs of the Step page: what is recorded, and the sums behind its numbers."""

import numpy as np
import pytest

from tinyconv.errors import DataError
from tinyconv.web.jobs import JobError
from tinyconv.web.pages.draw import maps
from tinyconv.web.pages.step import KEPT, coloured, step_explain, step_record
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
    with pytest.raises(JobError if "image" not in arguments else DataError):
        step_record(studio, **arguments)


def test_a_drawing_walks_back_from_the_class_that_the_model_sees(studio):
    pixels = np.zeros((1, 56, 56), np.uint8)
    pixels[0, 10:40, 20:28] = 250
    seen = maps(studio, pixels)
    result = step_record(studio, drawn=True)
    assert np.array_equal(result["pixels"], seen["image"])
    assert result["target"] == result["probabilities"].argmax() == np.argmax(seen["scores"])
    assert (result["image"], result["label"], result["drawing"]) == (None, None, True)


def test_code_is_coloured_without_losing_a_sign():
    text = 'def f(x):\n    """Doc."""\n\n    return x + 1  # one\n'
    lines = coloured(text)
    assert "\n".join("".join(part for _, part in line) for line in lines) == text.rstrip("\n")
    assert lines[0][:3] == [["k", "def"], ["", " "], ["f", "f"]]
    assert lines[3][-1] == ["c", "# one"]


def test_the_terms_of_a_cell_add_up_to_what_the_frame_shows(studio):
    result = step_record(studio, 3)
    arrays = result["recording"]["arrays"]
    for frame in result["recording"]["frames"]:
        for operand in frame["outputs"]:
            if operand["array"] is None or operand["argument"].startswith("y["):
                continue
            array = arrays[operand["array"]]
            place = np.unravel_index(np.abs(array).argmax(), array.shape) if array.ndim else ()
            cell = [int(i) for i in place]
            found = step_explain(studio, result["id"], frame["number"], operand["argument"], cell)
            shown = sum(float(part["product"].sum()) for part in found["parts"]) + found["remainder"]
            assert found["total"] == array[tuple(cell)]
            assert shown == pytest.approx(found["total"], rel=1e-4, abs=1e-9), (frame["number"], operand["argument"])
            for part in found["parts"]:
                assert np.allclose(part["product"], part["value"] * part["coefficient"])
                assert part["place"].shape == (len(part["value"]), len(part["place"][0]))
                assert (part["at"] is None) == (part["of"] is None)


def test_a_recording_stays_as_it_was_while_the_weights_change(studio):
    before = step_record(studio, 3)
    weight = studio.subject.model.conv1.weight
    kept = weight.numpy().copy()
    try:
        weight.array[...] = 0
        after = step_explain(studio, before["id"], 0, "y", [0, 1, 5, 5])
        first = before["recording"]["frames"][0]["outputs"][0]["array"]
        assert after["total"] == before["recording"]["arrays"][first][0, 1, 5, 5] != 0
    finally:
        weight.array[...] = kept


def test_recordings_of_several_tabs_are_told_apart_and_old_ones_forgotten(studio):
    first, second = step_record(studio, 0), step_record(studio, 1)
    totals = [step_explain(studio, r["id"], 12, "y", [])["total"] for r in (first, second)]
    assert totals[0] != totals[1]
    for _ in range(KEPT - 1):
        step_record(studio, 0)
    with pytest.raises(JobError, match="record again"):
        step_explain(studio, first["id"], 12, "y", [])
    assert step_explain(studio, second["id"], 12, "y", [])["total"] == totals[1]


def test_training_mode_is_offered_where_it_makes_a_difference():
    studio = Studio(of_name("lenet_bn", "synthetic"))
    try:
        plain = step_record(studio, 0)
        assert plain["modal"]
        assert not plain["recording"]["training"]
        assert not studio.subject.model.training
        with pytest.raises(ValueError, match="in layer '11'"):  # a batch norm of one number a channel
            step_record(studio, 0, training=True)
    finally:
        studio.close()
