"""`tinyconv predict`: good pictures and bad ones, doubt, and what the model saw."""

import json

import numpy as np
import pytest
from commands import run_here as run
from PIL import Image

from tinyconv.data import synthetic_digits
from tinyconv.train import RECIPES, new_run, start


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A model that has seen nothing, and is therefore always in doubt."""
    path = tmp_path_factory.mktemp("runs") / "lenet.safetensors"
    return start(new_run("lenet5", "synthetic", 0, RECIPES["lesson"])).save(path)


@pytest.fixture
def folder(tmp_path):
    for i, image in enumerate(synthetic_digits(2).images[:, 0]):
        Image.fromarray(image).save(tmp_path / f"good{i}.png")
    Image.new("L", (40, 40), 255).save(tmp_path / "blank.png")
    (tmp_path / "text.png").write_text("hello")
    return tmp_path


def test_bad_pictures_do_not_keep_the_good_ones_from_being_read(untrained, folder):
    names = ["blank.png", "good0.png", "none.png", "text.png", "good1.png"]
    done = run("predict", untrained, *names, code=1, cwd=folder)
    assert [line.split(":")[0] for line in done.stdout.splitlines() if ".png: " in line] == ["good0.png", "good1.png"]
    errors = done.stderr.splitlines()
    assert [line.split(": ")[1].split()[0] for line in errors] == ["blank.png", "none.png", "text.png"]
    assert "nothing is drawn on this picture" in errors[0]
    assert errors[1] == "error: none.png: there is no such picture"
    assert "is no picture that can be read: PNG, JPEG, GIF, BMP, WEBP and TIFF are" in errors[2]

    done = run("predict", untrained, *names, "--json", code=1, cwd=folder)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["image"] for line in lines] == names
    assert ["error" in line for line in lines] == [True, False, True, True, False]
    assert run("predict", untrained, "good0.png", "good1.png", cwd=folder).stderr == ""
    assert run("predict", untrained, "blank.png", "blank.png", code=1, cwd=folder).stdout == ""


def test_doubt_names_the_command_that_explains_it(untrained, folder):
    (folder / "a b.png").write_bytes((folder / "good0.png").read_bytes())
    said = run("predict", untrained, "a b.png", cwd=folder).stdout
    command = said.partition("is under 90%; see why with: tinyconv ")[2].strip()
    assert command == f"maps {untrained} --image 'a b.png'"
    assert "classified as" in run("maps", untrained, "--image", "a b.png", cwd=folder).stdout


def test_no_doubt_where_the_model_is_sure(untrained, folder, monkeypatch):
    sure = np.eye(10)[[3]] * 0.91 + 0.009
    monkeypatch.setattr("tinyconv.cli.evaluate.predict", lambda *args, **options: sure)
    assert "in doubt" not in run("predict", untrained, "good0.png", cwd=folder).stdout


def test_show_prints_the_image_that_the_model_saw(untrained, folder):
    rows = run("predict", untrained, "good0.png", "--show", cwd=folder).stdout.split("\n")[:28]
    image = synthetic_digits(2).images[0, 0]
    printed = np.array([list(f"{row:56}"[::2]) for row in rows])
    assert printed.shape == (28, 28)
    np.testing.assert_array_equal(printed != " ", image.astype(int) * 5 // 256 > 0)
    # With --json, standard output has the JSON alone.
    done = run("predict", untrained, "good0.png", "--show", "--json", cwd=folder)
    assert json.loads(done.stdout)["image"] == "good0.png"
    assert len(done.stderr.splitlines()) == 28
