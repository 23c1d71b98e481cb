"""The jobs of the Draw page: what a drawing, a file and a test image become, and what is refused."""

import io

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.data.picture import place_ink, read_picture
from tinyconv.errors import DataError, ShapeError
from tinyconv.train import DOUBT, predict
from tinyconv.web import pages
from tinyconv.web.studio import Studio
from tinyconv.web.subject import Subject, of_name

assert pages


@pytest.fixture(scope="module")
def studio():
    found = Studio(of_name("lenet5", "synthetic"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def ask(studio):
    return lambda job, **arguments: studio.submit(job, arguments).result(30)


def seven(k=10):
    """A 7 in the upper left of a sheet, 28 k pixels a side."""
    sheet = np.zeros((1, 28 * k, 28 * k), np.uint8)
    sheet[0, 2 * k : 4 * k, 2 * k : 12 * k] = 255
    sheet[0, 4 * k : 16 * k, 10 * k : 12 * k] = 255
    return sheet


def test_maps_are_those_of_feature_maps(ask, studio):
    found = ask("draw.maps", pixels=seven(), place=True)
    assert found["image"].tolist() == place_ink(seven()[0]).tolist()
    subject = studio.subject
    names = [layer["name"] for layer in found["layers"] if len(layer["shape"]) == 3]
    maps = tc.feature_maps(subject.model, subject.input(found["image"][None]), names)
    for layer in found["layers"]:
        if len(layer["shape"]) == 3:
            assert np.array_equal(layer["maps"], maps[layer["name"]].maps)
            place = maps[layer["name"]]
            rows = tc.inspect.Field(**layer["field"][0]).span(place.cell[1], 28)
            assert rows == place.rows
    assert np.array_equal(found["scores"], maps.scores)
    assert np.array_equal(found["layers"][-1]["maps"], found["scores"])
    images = np.asarray(subject.input(found["image"][None]).numpy())
    assert np.allclose(found["probabilities"], predict(subject.model, images)[0], atol=1e-6)
    assert found["doubt"] == DOUBT


def test_all_steps_of_the_summary_are_there(ask, studio):
    found = ask("draw.maps", pixels=seven())
    rows = tc.summary(studio.subject.model, (1, 28, 28)).to_dict()["layers"]
    assert [(x["name"], x["shape"]) for x in found["layers"]] == [(r["name"], r["output_shape"]) for r in rows]


def test_without_placing_a_pixel_is_the_mean_of_its_square(ask):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 56, 56)).astype(np.uint8)
    image = ask("draw.maps", pixels=pixels)["image"]
    assert image[0, 3, 5] == round(pixels[0, 6:8, 10:12].mean())
    exact = pixels[:, :28, :28]
    assert np.array_equal(ask("draw.maps", pixels=exact)["image"], exact)


def test_placing_is_that_of_read_picture():
    """Drawn ink and a file of the same sheet give the same digit."""
    image = pytest.importorskip("PIL.Image")
    from_file = io.BytesIO()
    image.fromarray(seven()[0]).save(from_file, "PNG")
    assert np.abs(place_ink(seven()[0]).astype(int) - read_picture(from_file)).max() <= 1


def test_placing_does_not_depend_on_place_or_size():
    once = place_ink(seven()[0])
    assert np.array_equal(place_ink(np.roll(seven()[0], (60, 90), (0, 1))), once)
    ink = once.astype(float)[0]
    centre = (ink.sum(1) @ np.arange(28)) / ink.sum(), (ink.sum(0) @ np.arange(28)) / ink.sum()
    assert np.abs(np.array(centre) - 14).max() < 1
    assert np.ptp(np.flatnonzero(ink.any(1))) + 1 == 20


def test_an_empty_sheet_is_black(ask):
    blank = np.zeros((1, 280, 280), np.uint8)
    assert not ask("draw.maps", pixels=blank, place=True)["image"].any()


@pytest.mark.parametrize("shape", [(1, 28, 27), (3, 28, 28), (28, 28), (1, 0, 0), ()])
def test_what_is_no_drawing_is_refused(ask, shape):
    with pytest.raises(ShapeError, match=r"draw\.maps takes pixels of shape \(1, k \* 28, k \* 28\), got"):
        ask("draw.maps", pixels=np.zeros(shape, np.uint8))


def test_examples_go_round(ask, studio):
    labels = studio.subject.images.labels
    sevens = np.flatnonzero(labels == 7)
    first = ask("draw.example", start=0, label=7)
    assert (first["number"], first["label"]) == (sevens[0], 7)
    assert ask("draw.example", start=first["number"] + 1, label=7)["number"] == sevens[1]
    assert ask("draw.example", start=int(sevens[-1]) + 1, label=7)["number"] == sevens[0]
    assert np.array_equal(ask("draw.example", start=17)["pixels"], studio.subject.images.images[17])
    with pytest.raises(DataError, match="there is no test image 99999"):
        ask("draw.example", start=99999)
    with pytest.raises(DataError, match="no test image shows class 11"):
        ask("draw.example", start=0, label=11)


def test_a_file_is_read_as_predict_reads_it(ask, tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.fromarray(255 - seven()[0]).save(tmp_path / "seven.png")
    content = np.frombuffer((tmp_path / "seven.png").read_bytes(), np.uint8)
    assert np.array_equal(
        ask("draw.read", name="seven.png", content=content)["pixels"], read_picture(tmp_path / "seven.png")
    )


def test_a_bad_file_says_why(ask):
    with pytest.raises(DataError, match=r"^notes\.txt is no picture that can be read: PNG, JPEG, .* are$"):
        ask("draw.read", name="notes.txt", content=np.frombuffer(b"hello", np.uint8))
    image = pytest.importorskip("PIL.Image")
    white = io.BytesIO()
    image.new("L", (80, 80), 255).save(white, "PNG")
    with pytest.raises(DataError, match=r"white\.png: nothing is drawn on this picture"):
        ask("draw.read", name="white.png", content=np.frombuffer(white.getvalue(), np.uint8))


def test_colours_are_drawn_and_read():
    image = pytest.importorskip("PIL.Image")
    studio = Studio(of_name("cake", "cifar10", slices="conv 4 3; relu; gap; flatten; fc 10", in_channels=3, size=32))
    try:
        pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64)).astype(np.uint8)
        found = studio.submit("draw.maps", {"pixels": pixels}).result(30)
        assert found["image"].shape == (3, 32, 32)
        with pytest.raises(ShapeError, match="places grey and square images alone"):
            studio.submit("draw.maps", {"pixels": pixels, "place": True}).result(30)
        photo = io.BytesIO()
        image.new("RGB", (90, 60), (250, 10, 20)).save(photo, "PNG")
        content = np.frombuffer(photo.getvalue(), np.uint8)
        read = studio.submit("draw.read", {"name": "red.png", "content": content}).result(30)["pixels"]
        assert read[:, 0, 0].tolist() == [250, 10, 20]
    finally:
        studio.close()


def test_a_large_layer_is_cut_short(monkeypatch, ask):
    monkeypatch.setattr("tinyconv.web.layers.MOST_CELLS", 2000)
    layers = ask("draw.maps", pixels=seven())["layers"]
    assert layers[0]["shape"] == [6, 24, 24]
    assert layers[0]["maps"].shape == (3, 24, 24)


def test_a_model_without_scores_is_refused():
    studio = Studio(Subject(tc.nn.Conv2d(1, 2, 3), "maps", tc.data.synthetic_digits(2)))
    try:
        with pytest.raises(ShapeError, match=r"a model that gives scores \(N, classes\), got \(1, 2, 26, 26\)"):
            studio.submit("draw.maps", {"pixels": seven()}).result(30)
    finally:
        studio.close()
