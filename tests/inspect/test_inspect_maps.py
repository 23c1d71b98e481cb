"""Feature maps: that they are what the layers gave, that the field drawn is the one that counts, and the pictures."""

import json
import sys

import numpy as np
import pytest
from commands import run_here

import tinyconv as tc
from tinyconv import nn
from tinyconv.data import synthetic_digits
from tinyconv.errors import DataError
from tinyconv.inspect import pictures
from tinyconv.train import Recipe, new_run, start

pytest.importorskip("matplotlib")

DIGITS = synthetic_digits(30, seed=2)
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def model():
    tc.manual_seed(0)
    return tc.models.lenet5()


def image(i=0):
    return DIGITS.normalized()[i]


def test_maps_are_the_outputs_of_the_layers(model):
    found = tc.feature_maps(model, image(), ["conv1", "relu#2", "pool#2"])
    x = tc.tensor(image()[None])
    first = model.conv1(x)
    second = model.relu(model.conv2(model.pool(model.relu(first))))
    for name, expected in {"conv1": first, "relu#2": second, "pool#2": model.pool(second)}.items():
        np.testing.assert_array_equal(found[name].maps, expected.detach().numpy()[0])
    np.testing.assert_allclose(found.scores, model(x).detach().numpy()[0], rtol=1e-5)
    np.testing.assert_array_equal(found["conv1"].filters, model.conv1.weight.detach().numpy())
    assert found["relu#2"].filters is None


def test_a_model_on_a_gpu_is_looked_at_there(model, cuda):
    here = tc.feature_maps(model, image(), ["conv1", "pool#2"])
    there = tc.feature_maps(model.to(cuda), image(), ["conv1", "pool#2"])
    assert there.winner == here.winner
    np.testing.assert_allclose(there.gradient, here.gradient, rtol=1e-4, atol=1e-5)
    for name in ("conv1", "pool#2"):
        np.testing.assert_allclose(there[name].maps, here[name].maps, rtol=1e-4, atol=1e-5)
    summary = str(tc.summary(model, (1, 28, 28)))
    assert summary == str(tc.summary(model.cpu(), (1, 28, 28)))


def test_the_gradient_is_that_of_the_winning_score(model):
    found = tc.feature_maps(model, image(3))
    x = tc.tensor(image(3)[None], requires_grad=True)
    model(x)[0, found.winner].backward()
    np.testing.assert_allclose(found.gradient, x.grad.numpy()[0], rtol=1e-5, atol=1e-6)
    assert found.winner == int(found.scores.argmax())


@pytest.mark.parametrize("name", ["conv1", "pool", "conv2", "pool#2"])
def test_the_strongest_cell_depends_on_its_field_and_on_nothing_else(model, name):
    shown = image(5)
    found = tc.feature_maps(model, shown, name)[name]
    (top, bottom), (left, right) = found.rows, found.columns
    assert found.maps[found.cell] == found.maps.max()

    outside = np.full_like(shown, 3.0)  # all but the field is another
    outside[:, top:bottom, left:right] = shown[:, top:bottom, left:right]
    assert tc.feature_maps(model, outside, name)[name].maps[found.cell] == pytest.approx(found.maps[found.cell])

    inside = shown.copy()
    inside[:, top:bottom, left:right] += np.linspace(1, 2, (bottom - top) * (right - left)).reshape(bottom - top, -1)
    assert tc.feature_maps(model, inside, name)[name].maps[found.cell] != pytest.approx(found.maps[found.cell])


def test_all_convolutions_unless_named(model):
    assert [layer.name for layer in tc.feature_maps(model, image()).layers] == ["conv1", "conv2"]
    assert [layer.name for layer in tc.feature_maps(model, image(), "relu").layers] == ["relu"]


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(2 * 26**2, 10)
    )
    model.train()
    model[2].eval()
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    tc.feature_maps(model, tc.tensor(image()))
    assert [module.training for module in model] == [True, True, False, True, True]
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, t in model.state_dict().items():
        np.testing.assert_array_equal(t.numpy(), before[name])


def test_images_of_one_axis_more_and_of_doubles(model):
    expected = tc.feature_maps(model, image()).scores
    np.testing.assert_array_equal(tc.feature_maps(model, image()[None]).scores, expected)
    np.testing.assert_array_equal(tc.feature_maps(model, image().astype(np.float64)).scores, expected)
    np.testing.assert_array_equal(tc.feature_maps(nn.DataParallel(model), image()).scores, expected)


@pytest.mark.parametrize(
    ("make", "shape", "layers", "message"),
    [
        (tc.models.lenet5, (28, 28), None, "expected one image, (C, H, W) or (1, C, H, W), got (28, 28)"),
        (tc.models.lenet5, (2, 1, 28, 28), None, "got (2, 1, 28, 28)"),
        (tc.models.lenet5, (1, 28, 28), "conv3", "no layer 'conv3' has maps; these do: conv1, relu, pool, conv2"),
        (tc.models.lenet5, (1, 28, 28), "fc1", "no layer 'fc1' has maps"),
        (tc.models.lenet5, (3, 28, 28), None, "expected 1 channels, x is (N, C, H, W) = (1, 3, 28, 28)"),
        (lambda: nn.Conv2d(1, 2, 3), (1, 28, 28), None, "expected scores (1, classes) from the model, got (1, 2, 26"),
    ],
)
def test_bad_arguments(make, shape, layers, message):
    with pytest.raises(tc.ShapeError) as error:
        tc.feature_maps(make(), np.zeros(shape, np.float32), layers)
    assert message in str(error.value)


def test_a_layer_that_is_not_there_is_a_key_error(model):
    with pytest.raises(KeyError, match="no layer 'conv7' here; there are conv1, conv2"):
        tc.feature_maps(model, image())["conv7"]


# Pictures


def size_of(path):
    """Width and height of a PNG."""
    head = path.read_bytes()[:24]
    assert head[:8] == PNG
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("lenet5", {}, (1, 28, 28)),
        pytest.param("cifarnet", {"widths": [40, 8]}, (3, 32, 32), marks=pytest.mark.slow),
        pytest.param("resnet", {"widths": [4, 8]}, (1, 28, 28), marks=pytest.mark.slow),
        ("lenet_gap", {"num_classes": 100}, (1, 40, 20)),
    ],
)
def test_a_picture_of_any_model(name, options, shape, tmp_path):
    tc.manual_seed(0)
    x = tc.randn(*shape)
    found = tc.feature_maps(tc.models.create(name, **options), x)
    width, height = size_of(found.save(tmp_path / "new" / "maps.png"))
    assert width == 1320
    assert 400 < height < 6000
    assert found._repr_png_()[:8] == PNG


def test_only_the_strongest_of_many_maps_are_shown():
    tc.manual_seed(0)
    layer = tc.feature_maps(tc.models.cifarnet(widths=[40]), tc.randn(3, 32, 32)).layers[1]
    order = pictures._order(layer)
    assert len(order) == pictures.MOST_MAPS
    assert order[0] == layer.cell[0]
    peaks = layer.maps.max((1, 2))
    assert min(peaks[order]) >= max(np.delete(peaks, order))


def test_the_same_figure_is_the_same_file(model, tmp_path):
    found = tc.feature_maps(model, image())
    assert found.save(tmp_path / "a.png").read_bytes() == found.save(tmp_path / "b.png").read_bytes()


def test_a_sheet_puts_every_tile_in_its_place():
    tiles = np.arange(5 * 2 * 3, dtype=np.float32).reshape(5, 2, 3)
    sheet = pictures._sheet(tiles, 3)
    assert sheet.shape == (5, 11)
    np.testing.assert_array_equal(sheet[:2, 4:7], tiles[1])
    np.testing.assert_array_equal(sheet[3:, :3], tiles[3])
    assert np.isnan(sheet[2]).all()
    assert np.isnan(sheet[3:, 8:]).all()


def test_confusion_counts_stand_where_they_belong():
    figure = pictures.confusion(np.array([[7, 2], [0, 9]]), ["cat", "dog"])
    (axes,) = figure.axes
    texts = {text.get_text(): text.get_position() for text in axes.texts}
    assert texts == {"7": (0, 0), "2": (1, 0), "9": (1, 1)}  # x is what was said, y what it is
    assert axes.get_title(loc="left") == "2 of 18 wrong (88.89% right)"


def test_mistakes_show_the_surest_first():
    probabilities = np.full((4, 10), 0.01)
    for i, (said, p) in enumerate([(1, 0.5), (2, 0.9), (3, 0.8), (4, 0.99)]):
        probabilities[i, said] = p
    labels = np.array([0, 0, 0, 4])  # the last is right
    figure = pictures.mistakes(DIGITS.images[:4], labels, probabilities, DIGITS.classes)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["0, said 2\n90.0%, no. 1", "0, said 3\n80.0%, no. 2", "0, said 1\n50.0%, no. 0"]


def test_no_mistakes_is_a_picture_too(tmp_path):
    right = np.eye(10)[DIGITS.labels]
    figure = pictures.mistakes(DIGITS.images, DIGITS.labels, right, DIGITS.classes)
    assert size_of(pictures.save(figure, tmp_path / "none.png"))


def test_curves_of_several_runs():
    history = [{"epoch": e, "train_loss": 1 / e, "test_accuracy": 0.9 + e / 100, "seconds": 1.0} for e in (1, 2, 3)]
    loss, accuracy = pictures.curves({"a": history, "b": history[:1]}).axes
    assert list(loss.lines[0].get_ydata()) == [1, 1 / 2, 1 / 3]
    assert list(accuracy.lines[1].get_ydata()) == [91.0]
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["a: 93.00 %", "b: 91.00 %"]


@pytest.mark.parametrize("losses", [(1.69, 0.99), (2.3, 0.004), (2.0, 0.45), (0.4, 0.39), (9.0, 1.3), (1.0,)])
def test_the_losses_can_be_read_off(losses):
    history = [{"epoch": e, "train_loss": x, "test_accuracy": 0.9} for e, x in enumerate(losses, 1)]
    loss, _ = pictures.curves({"a": history}).axes
    low, high = loss.get_ylim()
    assert sum(low <= tick <= high for tick in loss.yaxis.get_majorticklocs()) >= 3


def test_nothing_is_cut_off_at_the_edges(tmp_path):
    from PIL import Image

    x = np.random.default_rng(0).standard_normal((3, 32, 32)).astype(np.float32)
    path = tc.feature_maps(tc.models.create("cifarnet"), x).save(tmp_path / "maps.png")
    assert (np.asarray(Image.open(path).convert("L"))[:, [0, -1]] == 255).all()


def test_a_format_that_there_is_not(model, tmp_path):
    with pytest.raises(DataError, match=r"cannot write the picture .*maps\.docx: Format 'docx' is not supported"):
        tc.feature_maps(model, image()).save(tmp_path / "maps.docx")


def test_without_matplotlib_there_is_a_message(model, monkeypatch):
    found = tc.feature_maps(model, image())
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DataError, match=r"pip install 'tinyconv\[pictures\]'"):
        found.figure()


# The commands


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of a short training on drawn digits."""
    session = start(new_run("lenet5", "synthetic", 0, Recipe(epochs=1, batch_size=500)))
    for _ in session.trainer.run():
        pass
    return session.save(tmp_path_factory.mktemp("trained") / "lenet.safetensors")


def test_tinyconv_maps(trained, tmp_path):
    done = run_here("maps", trained, "--layer", "conv1", "--digit", "7", "--number", 2, "--out", tmp_path / "m.png")
    assert "; its label is 7" in done.stdout
    assert "6x24x24" in done.stdout
    assert size_of(tmp_path / "m.png")


def test_tinyconv_maps_of_a_picture_of_the_users(trained, tmp_path):
    from PIL import Image

    Image.fromarray(DIGITS.images[0, 0]).save(tmp_path / "digit.png")
    assert "classified as" in run_here("maps", trained, "--image", tmp_path / "digit.png").stdout
    assert size_of(trained.with_name("lenet-maps.png"))


def test_tinyconv_report(trained):
    done = run_here("report", trained)
    assert "the most frequent mistakes" in done.stdout
    for name in ("confusion", "mistakes", "curves"):
        assert size_of(trained.with_name("lenet-report") / f"{name}.png")


def test_tinyconv_curves_of_a_checkpoint_and_a_log(trained, tmp_path):
    log = tmp_path / "other.log"
    entries = [{"epoch": 1, "train_loss": 2.0, "test_accuracy": 0.5, "seconds": 1.0}, {"final": True, "epochs": 1}]
    log.write_text("\n".join(map(json.dumps, entries)), encoding="utf-8")
    run_here("curves", trained, log, "--out", tmp_path / "c.png")
    assert size_of(tmp_path / "c.png")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["maps", "CHECKPOINT", "--layer", "conv9"], 1, "no layer 'conv9' has maps; these do: conv1"),
        (["maps", "CHECKPOINT", "--digit", "11"], 2, "no class '11'; there are 0, 1, 2"),
        (["maps", "CHECKPOINT", "--digit", "7", "--number", "9999"], 2, "there are 200 such images, numbered from 0"),
        (["maps", "CHECKPOINT", "--image", "x.png", "--digit", "7"], 2, "leave out --digit and --number"),
        (["maps", "CHECKPOINT", "--image", "x.png"], 1, "x.png: there is no such picture"),
        (["maps", "nowhere.safetensors"], 1, "no checkpoint at nowhere.safetensors"),
        (["curves", "nowhere.log"], 1, "there is no file nowhere.log"),
        (["curves", "CHECKPOINT", "CHECKPOINT"], 2, "two of these files have the same name"),
        (["report", "CHECKPOINT", "--out", "CHECKPOINT"], 1, "cannot write the picture"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(trained, args, code, message):
    done = run_here(*(trained if arg == "CHECKPOINT" else arg for arg in args), code=code)
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_a_log_without_an_epoch_or_that_is_none(tmp_path):
    (tmp_path / "a.log").write_text('{"final": true}\n', encoding="utf-8")
    (tmp_path / "b.log").write_text("epoch 1: fine\n", encoding="utf-8")
    assert "no epoch of this run was finished" in run_here("curves", tmp_path / "a.log", code=1).stderr
    assert "is not the output of one `tinyconv train --json`" in run_here("curves", tmp_path / "b.log", code=1).stderr
