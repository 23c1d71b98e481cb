"""Pictures from files: every kind shows the digit that is on it, MNIST's own placing, and clear refusals."""

import contextlib
import io
import os
import subprocess
import tempfile

import numpy as np
import pytest

from harness import sheets
from tinyconv.data import read_photograph, read_picture, synthetic_digits
from tinyconv.errors import DataError

PIL = pytest.importorskip("PIL")
from PIL import Image, ImageDraw  # noqa: E402

DIGITS = synthetic_digits(5, seed=2).images[:, 0]


def shown(image, tmp_path, name="digit.png"):
    path = tmp_path / name
    image.save(path)
    return read_picture(path)[0].astype(float)


def alike(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def page(ink=0, paper=255):
    sheet = Image.new("L", (400, 400), paper)
    ImageDraw.Draw(sheet).line([(120, 100), (280, 100), (180, 310)], fill=ink, width=26, joint="curve")
    return sheet


@pytest.mark.parametrize("kind", sheets.KINDS)
def test_every_kind_shows_the_digit(kind, tmp_path):
    for i, digit in enumerate(DIGITS):
        want = read_picture(sheets.save("white paper", digit, np.random.default_rng(i), tmp_path))
        found = read_picture(sheets.save(kind, digit, np.random.default_rng(i), tmp_path))
        assert found.dtype == np.uint8
        assert found.max() == 255
        # Ink that is fainter has an edge elsewhere, which may move the digit by a pixel.
        moved = [np.roll(found[0], (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        assert max(alike(one, want) for one in moved) > 0.9


def test_digits_come_back_from_paper_as_they_were(tmp_path):
    found = [read_picture(sheets.save("white paper", digit, np.random.default_rng(0), tmp_path))[0] for digit in DIGITS]
    # They are not placed as MNIST's are: the shift that fits best is looked for.
    for digit, seen in zip(DIGITS, found, strict=True):
        shifts = [np.roll(seen, (dy, dx), (0, 1)) for dy in range(-5, 6) for dx in range(-5, 6)]
        assert max(alike(digit, moved) for moved in shifts) > 0.6


@pytest.mark.mnist
def test_mnist_digits_come_back_from_paper_in_their_places(mnist_root, tmp_path):
    from tinyconv import data

    images = data.mnist("test", root=mnist_root).images[:60, 0]
    found = [
        read_picture(sheets.save("white paper", x, np.random.default_rng(i), tmp_path))[0] for i, x in enumerate(images)
    ]
    off = np.abs(np.array(found, float) - images).mean((1, 2))
    assert off.mean() < 9  # of 255; placed at 13.5 it was 15


@pytest.mark.parametrize("size", [28, 56])
def test_the_centre_of_mass_is_where_mnist_has_it(size, tmp_path):
    rng, centres = np.random.default_rng(0), []
    for _ in range(40):
        sheet = Image.new("L", (300, 300), 255)
        points = [tuple(map(int, rng.integers(60, 240, 2))) for _ in range(4)]
        ImageDraw.Draw(sheet).line(points, fill=0, width=18, joint="curve")
        sheet.save(tmp_path / "x.png")
        seen = read_picture(tmp_path / "x.png", size)[0].astype(float)
        assert seen.shape == (size, size)
        centres.append([(seen.sum(1 - axis) * np.arange(size)).sum() / seen.sum() for axis in (0, 1)])
    assert np.abs(np.mean(centres, 0) - size / 2).max() < 0.2


def test_a_picture_as_mnist_has_it_is_taken_as_it_is(tmp_path):
    digit = DIGITS[3]
    np.testing.assert_array_equal(shown(Image.fromarray(digit), tmp_path), digit)
    deep = Image.fromarray(digit.astype(np.uint16) * 257)
    assert np.abs(shown(deep, tmp_path) - digit * (255 / digit.max())).max() <= 1


@pytest.mark.parametrize("size", [(28, 28), (40, 40), (300, 20), (1, 1)])
@pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA", "P", "I;16", "I", "F"])
@pytest.mark.parametrize("shade", [0, 1])
def test_a_blank_picture_is_refused(size, mode, shade, tmp_path):
    full = {"1": 1, "I;16": 65535, "I": 65535, "F": 1.0}.get(mode, 255)
    picture = Image.new(mode, size, (full * shade,) * len(mode) if mode.startswith("RGB") else full * shade)
    with pytest.raises(DataError, match=r"nothing is drawn on this picture"):
        shown(picture, tmp_path, "blank.tif")


@pytest.mark.parametrize("noise", [0.5, 1.5])
def test_an_empty_sheet_in_uneven_light_is_refused(noise, tmp_path):
    y, x = np.mgrid[:300, :300] / 300
    light = 255 - 90 * x - 50 * y + np.random.default_rng(0).normal(0, noise, (300, 300))
    with pytest.raises(DataError, match="nothing is drawn"):
        shown(Image.fromarray(light.clip(0, 255).astype(np.uint8)), tmp_path)


def test_specks_do_not_count(tmp_path):
    want = shown(page(), tmp_path)
    for box in ((6, 6, 6, 6), (380, 380, 384, 384), (0, 200, 3, 203)):
        sheet = page()
        ImageDraw.Draw(sheet).rectangle(box, fill=0)
        assert alike(shown(sheet, tmp_path), want) > 0.97


def test_a_sheet_on_a_dark_table_and_the_table_at_its_edge(tmp_path):
    want = shown(page(), tmp_path)
    table = Image.new("L", (900, 700), 40)
    table.paste(page(), (200, 150))
    assert alike(shown(table, tmp_path), want) > 0.95
    edge = Image.new("L", (520, 420), 60)
    edge.paste(page(), (100, 0))
    assert alike(shown(edge, tmp_path), want) > 0.95


def test_a_bar_is_no_sheet_and_a_circle_no_frame(tmp_path):
    sheet = Image.new("L", (400, 400), 255)
    ImageDraw.Draw(sheet).rectangle((150, 20, 250, 380), fill=0)
    bar = shown(sheet, tmp_path)
    assert (bar > 200).sum() > 80
    sheet = Image.new("L", (400, 400), 255)
    ImageDraw.Draw(sheet).ellipse((60, 20, 340, 380), outline=0, width=30)
    want = shown(sheet, tmp_path)
    ImageDraw.Draw(sheet).ellipse((190, 190, 200, 200), fill=0)
    assert alike(shown(sheet, tmp_path), want) > 0.95


def test_a_digit_cut_by_the_edge_is_read_where_it_is_alone(tmp_path):
    cut = page().crop((0, 0, 400, 250))
    assert (shown(cut, tmp_path) > 200).sum() > 20


def test_rounded_corners_that_are_transparent_are_paper(tmp_path):
    want = shown(page(), tmp_path)
    alpha = Image.new("L", (400, 400), 0)
    ImageDraw.Draw(alpha).rounded_rectangle((0, 0, 399, 399), 90, fill=255)
    sheet = page().convert("RGBA")
    sheet.putalpha(alpha)
    assert alike(shown(sheet, tmp_path), want) > 0.97


@pytest.mark.parametrize("noisy", [(800, 800), (3000, 2000)])
def test_noise_is_answered_in_bounded_time(noisy, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, noisy).astype(np.uint8)
    with contextlib.suppress(DataError):
        assert shown(Image.fromarray(noise), tmp_path).shape == (28, 28)


def test_floats_that_are_no_numbers(tmp_path):
    values = np.asarray(page(), np.float32) / 255
    values[:5] = np.nan
    values[5:9] = np.inf
    assert shown(Image.fromarray(values), tmp_path, "odd.tif").shape == (28, 28)


@pytest.mark.parametrize("name", ["a.eps", "a.png", "a.pdf", "a.tif"])
def test_other_formats_are_refused_and_start_no_program(name, tmp_path, monkeypatch):
    def started(*_args, **_options):
        raise AssertionError("a program was started")

    for function in ("Popen", "check_call", "check_output", "run"):
        monkeypatch.setattr(subprocess, function, started)
    path = tmp_path / name
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n")
    for read in (read_picture, read_photograph):
        with pytest.raises(DataError, match=f"{name} is no picture that can be read: PNG, .* and TIFF are$"):
            read(path)
    page().save(tmp_path / "real.ppm")  # Pillow can read it, and no program is needed; but it is not in the list
    with pytest.raises(DataError, match="no picture that can be read"):
        read_picture(tmp_path / "real.ppm")


def test_an_open_file_that_is_no_picture_is_called_by_its_name_if_it_has_one(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    called = io.BytesIO(b"hello")
    called.name = "called.png"
    with open(tmp_path / "notes.txt", "rb") as named, tempfile.TemporaryFile() as numbered:
        for file, name in {named: str(named.name), called: "called.png", numbered: "the file"}.items():
            for read in (read_picture, read_photograph):
                with pytest.raises(DataError) as caught:
                    read(file)
                assert str(caught.value) == (
                    f"{name} is no picture that can be read: PNG, JPEG, GIF, BMP, WEBP and TIFF are"
                )


@pytest.mark.slow
def test_a_huge_picture_is_refused_before_it_is_unpacked(tmp_path):
    Image.new("1", (40_000, 30_000)).save(tmp_path / "huge.png")
    assert (tmp_path / "huge.png").stat().st_size < 1_000_000
    Image.new("1", (8000, 7000)).save(tmp_path / "large.png")
    for name, said in {"huge": "has too many pixels: 50 meg", "large": "8000x7000 pixels are too many: 50 meg"}.items():
        with pytest.raises(DataError, match=said):
            read_picture(tmp_path / f"{name}.png")


def test_photographs_of_every_depth(tmp_path):
    values = np.linspace(0, 1, 64 * 48).reshape(64, 48)
    for name, image in {
        "eight.png": Image.fromarray((values * 255).astype(np.uint8)),
        "deep.png": Image.fromarray((values * 65535).astype(np.uint16)),
        "floats.tif": Image.fromarray(values.astype(np.float32)),
    }.items():
        image.save(tmp_path / name)
        found = read_photograph(tmp_path / name)
        assert found.shape == (3, 32, 32)
        assert alike(found[0].astype(float), read_photograph(tmp_path / "eight.png")[0].astype(float)) > 0.99


@pytest.mark.parametrize("size", [(300, 300), (64, 64)])
def test_one_pixel_is_no_digit(size, tmp_path):
    sheet = Image.new("L", size, 255)
    sheet.putpixel((size[0] // 2, size[1] // 2), 0)
    with pytest.raises(DataError, match="nothing is drawn"):
        shown(sheet, tmp_path)


@pytest.mark.parametrize(
    ("dtype", "most", "hot"), [("uint16", 4095, 65535), ("float32", 1, 1e30), ("float32", 1, np.inf)]
)
def test_a_hot_pixel_does_not_decide_how_bright_white_is(dtype, most, hot, tmp_path):
    want = shown(page(), tmp_path)
    values = (np.asarray(page()) / 255 * most).astype(dtype)
    values[20, 30] = hot
    assert alike(shown(Image.fromarray(values), tmp_path, "hot.tif"), want) > 0.97


def test_colours_that_pillow_cannot_turn_into_red_green_and_blue(tmp_path, monkeypatch):
    page().save(tmp_path / "odd.tiff")

    def convert(self, mode, *args, **options):
        raise ValueError(f"conversion from LAB to {mode} not supported")

    monkeypatch.setattr(Image.Image, "convert", convert)
    for read in (read_picture, read_photograph):
        with pytest.raises(DataError, match=r"odd.tiff cannot be read as a picture .*conversion from LAB"):
            read(tmp_path / "odd.tiff")


@pytest.mark.skipif(os.name == "nt", reason="no pipes in folders")
def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"pipe.png is not a file$"):
        read_picture(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"is not a file: name the files in it, .*\*$"):
        read_picture(tmp_path)
