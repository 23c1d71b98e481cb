"""tc.studio: models and images of every kind, the handle, and what is refused."""

import re
import sys
import urllib.request
import webbrowser
from types import SimpleNamespace

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import nn
from tinyconv.data import DataLoader, synthetic_digits
from tinyconv.errors import ShapeError
from tinyconv.web.door import subject_of
from tinyconv.web.subject import dataset_of


def net(scores=10, channels=1):
    return nn.Sequential(
        nn.Conv2d(channels, 2, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(32, scores)
    )


@pytest.fixture
def browsed(monkeypatch):
    pages = []
    monkeypatch.setattr(webbrowser, "open", lambda url: pages.append(url) or True)
    monkeypatch.setenv("DISPLAY", ":0")
    return pages


def test_a_model_of_ones_own_is_served_until_it_is_closed(browsed):
    model = net()
    with tc.studio(model, "synthetic", open_browser=False) as studio:
        with urllib.request.urlopen(studio.url) as answer:
            assert answer.status == 200
        assert repr(studio) == f"<studio of Sequential at {studio.url}>"
        assert studio.url in studio._repr_html_()
        assert studio.studio.subject.own is model
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(studio.url)
    studio.wait()  # it is closed: nothing to wait for
    assert browsed == []


def test_a_browser_is_opened_unless_a_notebook_shows_it(browsed, monkeypatch):
    with tc.studio("mlp", "synthetic") as studio:
        assert browsed == [studio.url]

    class ZMQInteractiveShell:
        pass

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=ZMQInteractiveShell))
    with tc.studio("mlp", "synthetic"):
        assert len(browsed) == 1
    with tc.studio("mlp", "synthetic", open_browser=True):
        assert len(browsed) == 2


PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8)
LABELS = np.arange(12) % 3


@pytest.mark.parametrize(
    "images",
    [
        PIXELS,
        PIXELS[:, 0],
        PIXELS.astype(np.float32) / 255,
        PIXELS.astype(np.float64) * np.array([0.5, 3, 0.01])[:, None, None] - 7,
        np.ones((12, 1, 8, 8), np.float32),
    ],
    ids=["bytes", "grey", "from 0 to 1", "of any range", "all the same"],
)
def test_arrays_are_what_a_loader_gives_of_them(images):
    """Bytes exactly; floats to a half of 256 steps."""
    found = dataset_of(images, LABELS.astype(np.uint8))
    pair = (images if images.ndim == 4 else images[:, None], LABELS)
    expected = np.concatenate([x.numpy() for x, _ in DataLoader(pair, 5)])
    steps = np.ptp(expected, axis=(0, 2, 3)).max() / 255 if images.dtype.kind == "f" else 0
    assert np.allclose(found.normalized(), expected, rtol=1e-6, atol=steps / 2 + 1e-5)
    assert found.labels.tolist() == LABELS.tolist()
    assert found.classes == ("0", "1", "2")


def test_classes_are_those_of_the_scores_unless_they_are_named():
    assert subject_of(net(5, 3), (PIXELS, LABELS)).classes == ("0", "1", "2", "3", "4")
    assert subject_of(net(3, 3), (PIXELS, LABELS), ["cat", "dog", "ox"]).classes == ("cat", "dog", "ox")


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_images_come_in_the_dtype_of_the_model(dtype):
    found = subject_of(net().to(np.dtype(dtype)), "synthetic")
    x = found.input(found.images[:2].images)
    assert x.dtype == dtype
    assert found.model(x).shape == (2, 10)


def test_images_without_a_name_are_those_that_the_model_takes():
    assert subject_of(net()).dataset == "mnist"
    assert subject_of(net(channels=3)).dataset == "cifar10"
    assert subject_of(net(), synthetic_digits(3)).images.labels.size == 3


def test_names_cakes_and_checkpoints(tmp_path):
    assert subject_of("lenet5").dataset == "mnist"
    assert subject_of("cifarnet").dataset == "cifar10"
    cake = subject_of("conv 2 5; flatten; fc 10", "cifar10")
    assert (cake.run.model, cake.shape, cake.trained) == ("cake", (3, 32, 32), False)
    with pytest.raises(tc.CheckpointError, match="no checkpoint at"):
        subject_of(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("model", "data", "error", "said"),
    [
        (net(), "mnst", tc.DataError, "did you mean 'mnist'?"),
        (net(), 3, tc.DataError, r"images as an ImageDataset, the name of one or \(images, labels\), got 3"),
        (net(), (PIXELS,), tc.DataError, "images as an ImageDataset"),
        (net(), (PIXELS[:, 0], LABELS[:5]), tc.DataError, r"expected images \(N, C, H, W\) and integer labels \(N,\)"),
        (net(), (LABELS, PIXELS), tc.DataError, "expected images"),
        (net(), (PIXELS[:, :1], LABELS / 2), tc.DataError, "expected images"),
        (net(), (PIXELS[:, :1] * np.nan, LABELS), tc.DataError, "the images have NaN or infinities"),
        (net(), (PIXELS, LABELS), tc.ShapeError, "Sequential does not take images of 3x8x8: it raised ShapeError"),
        (net(2, 3), (PIXELS, LABELS), tc.ShapeError, "Sequential gives 2 scores for 3 classes"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 7)), "synthetic", tc.ShapeError, "gives 7 scores for 10 classes"),
        ("lenet", "synthetic", tc.CakeError, "or was a model meant: lenet5"),
    ],
)
def test_what_does_not_fit_is_refused(model, data, error, said):
    with pytest.raises(error) as refused:
        tc.studio(model, data, open_browser=False)
    text = "\n".join([str(refused.value), *getattr(refused.value, "__notes__", [])])
    assert re.search(said, text), text


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=r"the studio needs uvicorn: pip install 'tinyconv\[studio\]'"):
        tc.studio(net(), "synthetic")


def test_a_model_that_gives_maps_is_refused():
    with pytest.raises(ShapeError, match=r"gives \(2, 26, 26\) for an image, .* end it in nn\.Flatten"):
        subject_of(nn.Conv2d(1, 2, 3), "synthetic")
